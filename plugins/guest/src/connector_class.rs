//! What classes of sinks and sources share: a connector that checks and plans, and how its calls are answered.

use std::sync::Arc;

use penstock_api::{ConfigDef, Connector, Constructor, Parsed, Props, Result, TaskId};

use crate::class::{About, unknown};
use crate::export::{Answer, Properties, class_of};
use crate::records::ready;
use crate::rows::error_of;
use crate::wit::connector::exports::penstock::connect::connector;
use crate::wit::plugin::exports::penstock::connect::plugin;

type Make<T> = Box<dyn Fn(&Props) -> Result<Box<T>>>;
type Validate = Box<dyn Fn(&Props) -> Vec<(String, String)>>;
type Plan = Box<dyn Fn(&Props, u32) -> Result<Vec<Props>>>;

/// A class whose tasks are `T`s.
pub(crate) struct ConnectorClass<T: ?Sized> {
    pub about: About,
    /// How a worker would make its connector if it were built in; `None` for the form of columns.
    #[cfg_attr(target_family = "wasm", expect(dead_code, reason = "only native cases make it so"))]
    pub native: Option<Constructor>,
    pub make: Make<T>,
    pub validate: Validate,
    pub plan: Plan,
}

impl<T: ?Sized> ConnectorClass<T> {
    /// Tasks made from the checked values of all keys.
    pub(crate) fn of_values(
        name: &str,
        version: &str,
        config: ConfigDef,
        make: impl Fn(&Parsed) -> Result<Box<T>> + 'static,
        plan: impl Fn(&Props, u32) -> Result<Vec<Props>> + 'static,
    ) -> Self {
        let checked_by = config.clone();
        Self {
            about: About::new(name, version, config),
            native: None,
            make: Box::new(move |props| make(&checked_by.parse(props)?)),
            validate: Box::new(|_| Vec::new()),
            plan: Box::new(plan),
        }
    }

    /// Checked and planned by a connector as built-in ones are.
    pub(crate) fn of_connector<C: Connector + 'static>(
        name: &str,
        version: &str,
        config: ConfigDef,
        connector: Arc<impl Fn() -> C + 'static>,
        native: Constructor,
        make: impl Fn(&C, &Props) -> Box<T> + 'static,
    ) -> Self {
        let (for_validate, for_plan) = (connector.clone(), connector.clone());
        Self {
            about: About::new(name, version, config),
            native: Some(native),
            make: Box::new(move |props| Ok(make(&connector(), props))),
            validate: Box::new(move |props| {
                let connector = for_validate();
                ready(connector.validate(props)).unwrap_or_else(|error| of_class(error.to_string()))
            }),
            plan: Box::new(move |props, tasks_max| ready(for_plan().task_configs(props, tasks_max))?),
        }
    }
}

/// A problem that no other key has.
fn of_class(message: String) -> Vec<(String, String)> {
    vec![("connector.class".to_owned(), message)]
}

/// `plugin.describe` of the contract.
pub(crate) fn describe<T: ?Sized>(classes: impl Iterator<Item = ConnectorClass<T>>) -> Vec<plugin::Class> {
    classes.map(|class| class_of(&class.about)).collect()
}

/// A task for `plugin.configure` of the contract.
pub(crate) fn make<T: ?Sized>(
    classes: impl Iterator<Item = ConnectorClass<T>>,
    name: &str,
    properties: Properties,
    context: plugin::Context,
) -> Answer<(Box<T>, TaskId)> {
    let made = find(classes, name).and_then(|class| (class.make)(&properties.into_iter().collect()));
    let task = made.map_err(|error| error_of(&error))?;
    Ok((task, TaskId { connector: context.connector.into(), task: context.task }))
}

/// `connector.validate` of the contract.
pub(crate) fn validate<T: ?Sized>(
    classes: impl Iterator<Item = ConnectorClass<T>>,
    name: &str,
    properties: Properties,
) -> Vec<connector::Problem> {
    let problems = match find(classes, name) {
        Ok(class) => (class.validate)(&properties.into_iter().collect()),
        Err(error) => of_class(error.to_string()),
    };
    problems.into_iter().map(|(key, message)| connector::Problem { key, message }).collect()
}

/// `connector.plan` of the contract.
pub(crate) fn plan<T: ?Sized>(
    classes: impl Iterator<Item = ConnectorClass<T>>,
    name: &str,
    properties: Properties,
    tasks_max: u32,
) -> Answer<Vec<Properties>> {
    let planned = find(classes, name).and_then(|class| (class.plan)(&properties.into_iter().collect(), tasks_max));
    let tasks = planned.map_err(|error| error_of(&error))?;
    Ok(tasks.into_iter().map(|task| task.into_iter().collect()).collect())
}

fn find<T: ?Sized>(mut classes: impl Iterator<Item = ConnectorClass<T>>, name: &str) -> Result<ConnectorClass<T>> {
    classes.find(|class| class.about.name == name).ok_or_else(|| unknown(name))
}
