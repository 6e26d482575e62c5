//! The connectors that a standalone worker is started with: read, checked and created one after the other, or none of them.

use std::fmt;
use std::path::{Path, PathBuf};

use penstock_api::Registry;

use crate::cluster::view::TargetState;
use crate::cluster::{Herder, HerderError};
use crate::config::{ConnectorFile, RawConfig, WorkerConfig, validate};

/// A connector and the file it comes from.
#[derive(Clone, Debug)]
pub struct Connector {
    path: PathBuf,
    file: ConnectorFile,
    initial_state: Option<TargetState>,
}

/// A file whose connector cannot be created; Java's standalone worker ends with 3 then.
#[derive(Debug)]
pub struct Refused(String);

impl Connector {
    /// Reads a file.
    ///
    /// # Errors
    /// With the path and what is wrong.
    pub fn read(path: &Path) -> Result<Self, Refused> {
        let file = ConnectorFile::read(path).map_err(|error| Refused(format!("{error:#}")))?;
        let state = |name: &String| {
            let choose = "choose RUNNING, PAUSED or STOPPED";
            let wrong = || Refused(format!("{}: `initial_state` is {name}: {choose}", path.display()));
            TargetState::of_request(name).ok_or_else(wrong)
        };
        let initial_state = file.initial_state.as_ref().map(state).transpose()?;
        Ok(Self { path: path.to_owned(), file, initial_state })
    }

    /// Checks the configuration, starting nothing.
    ///
    /// # Errors
    /// What a worker would say.
    pub async fn check(&self, worker: &WorkerConfig, registry: &Registry) -> Result<(), Refused> {
        let raw: RawConfig = self.file.config.iter().map(|(key, value)| (key.clone(), Some(value.clone()))).collect();
        let infos = validate(&raw, registry, worker).await.map_err(|error| self.refused(&error))?;
        infos.refusal().map_or(Ok(()), |refusal| Err(self.refused(&refusal)))
    }

    fn refused(&self, why: &dyn fmt::Display) -> Refused {
        Refused(format!("{self}: {why:#}"))
    }
}

/// Creates them in this order, and tells the herder that all are there.
///
/// # Errors
/// At the first that cannot be created or does not start.
pub async fn create(herder: &Herder, connectors: Vec<Connector>) -> Result<(), Refused> {
    for connector in connectors {
        let ConnectorFile { name, config, .. } = &connector.file;
        let created = herder.put_config(name, config.clone(), true, connector.initial_state).await;
        let (_, info) = created.map_err(|error: HerderError| connector.refused(&error))?;
        tracing::info!(connector = %name, tasks = info.tasks.len(), file = %connector.path.display(), "created the connector");
    }
    herder.filled();
    Ok(())
}

impl fmt::Display for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: connector {}", self.path.display(), self.file.name)
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refused {}
