//! What component sinks and sources share: a class as a connector, and how its tasks' instances begin.

use std::fmt::Display;
use std::sync::Arc;

use penstock_api::{ConfigDef, Error, Props, Result, TaskId};

use crate::contract::sources::exports::penstock::connect::source::Guarantees;
use crate::grants::{self, Grants};
use crate::guest_log::Owner;
use crate::instance::{Instance, Loaded, Stopped};

/// Properties as a user wrote them, with the defaults of keys that were left out; and the first thing that is wrong with them.
pub(crate) fn filled_in(config: &ConfigDef, given: &Props) -> (Props, Option<String>) {
    let (mut props, mut wrong) = (given.clone(), None);
    for value in config.validate(given) {
        wrong = wrong.or_else(|| value.errors.into_iter().next());
        if let Some(text) = value.value {
            props.insert(value.name, text);
        }
    }
    (props, wrong)
}

/// A class of a component whose classes are connectors.
#[derive(Clone)]
pub(crate) struct Component {
    pub loaded: Arc<Loaded>,
    pub class: Arc<str>,
    pub config: Arc<ConfigDef>,
}

impl Component {
    fn owner(&self, task: Option<&TaskId>) -> Owner {
        Owner {
            connector: task.map_or_else(|| "".into(), |task| task.connector.clone()),
            task: task.map_or(0, |task| task.task),
            class: self.class.clone(),
            file: self.loaded.file.clone(),
            ..Owner::default()
        }
    }

    /// A guest did not return, so a person must look at the plugin.
    fn stopped(&self, doing: &str, stopped: &impl Display) -> Error {
        Error::fatal(format!("{doing} plugin {}: {stopped}", self.class))
    }

    /// What a guest itself said, with its name.
    pub(crate) fn said(&self, doing: &str, error: Error) -> Error {
        error.context(format!("{doing} plugin {} ({})", self.class, self.loaded.file))
    }

    /// What a call has led to.
    pub(crate) fn settle<T>(
        &self,
        doing: &str,
        answer: std::result::Result<std::result::Result<T, Error>, Stopped>,
    ) -> Result<T> {
        match answer {
            Ok(answer) => answer.map_err(|error| self.said(doing, error)),
            Err(stopped) => Err(self.stopped(doing, &stopped)),
        }
    }

    /// With the defaults of keys that were left out, and without those of grants. What is wrong with them is told elsewhere.
    fn filled_in(&self, props: &Props) -> Props {
        grants::shown(&filled_in(&self.config, props).0)
    }

    fn grants(&self, props: &Props) -> Result<Arc<Grants>> {
        Grants::new(props, &self.loaded.engine.config.grants).map(Arc::new)
    }

    /// Asks a throw-away instance what is wrong with a configuration.
    pub(crate) async fn validate(&self, config: &Props) -> Vec<(String, String)> {
        // Grants that are wrong are told at their keys; without them it can still say what is wrong with others.
        let grants = self.grants(config).unwrap_or_default();
        let asked = async {
            let mut instance = self.loaded.instantiate(self.owner(None), &grants).await?;
            instance.validate(&self.class, &self.filled_in(config)).await
        };
        let found = asked.await.unwrap_or_else(|stopped| {
            let why = self.stopped("ask about the configuration of", &stopped);
            vec![("connector.class".to_owned(), format!("{why:#}"))]
        });
        grants::problems(config).into_iter().chain(found).collect()
    }

    /// Asks a throw-away instance for the tasks.
    pub(crate) async fn plan(&self, config: &Props, tasks_max: u32) -> Result<Vec<Props>> {
        let grants = self.grants(config)?;
        let asked = async {
            let mut instance = self.loaded.instantiate(self.owner(None), &grants).await?;
            instance.plan(&self.class, &self.filled_in(config), tasks_max).await
        };
        let tasks = self.settle("plan the tasks of", asked.await)?;
        // What a task may reach is its connector's to say, not the plugin's.
        let granted = config.iter().filter(|(key, _)| grants::is_grant(key));
        let with_grants = |task: Props| {
            let granted = granted.clone().map(|(key, value)| (key.clone(), value.clone()));
            grants::shown(&task).into_iter().chain(granted).collect()
        };
        Ok(tasks.into_iter().map(with_grants).collect())
    }

    /// Asks a throw-away instance what a source promises.
    pub(crate) async fn guarantees(&self, config: &Props) -> Result<Guarantees> {
        let grants = self.grants(config).unwrap_or_default();
        let asked = async {
            let mut instance = self.loaded.instantiate(self.owner(None), &grants).await?;
            instance.source_guarantees(&self.class, &self.filled_in(config)).await
        };
        asked.await.map_err(|stopped| self.stopped("ask for the guarantees of", &stopped))
    }

    /// An instance that works for a task.
    pub(crate) async fn configured(&self, config: &Props, task: &TaskId) -> Result<Instance> {
        let (props, owner) = (self.filled_in(config), self.owner(Some(task)));
        let instance = self.loaded.instantiate(owner.clone(), &self.grants(config)?).await;
        let mut instance = instance.map_err(|stopped| self.stopped("start", &stopped))?;
        let configured = instance.configure(&self.class, &props, &owner).await;
        self.settle("configure", configured)?;
        Ok(instance)
    }
}
