//! What the worker is doing, for the text of a request that timed out.

use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, SecondsFormat, Utc};

/// The newest operation of the worker and when it began. Shared by all who work and all who wait.
#[derive(Clone, Debug)]
pub struct Stages {
    newest: Arc<Mutex<Stage>>,
}

#[derive(Clone, Debug)]
struct Stage {
    what: String,
    began: DateTime<Utc>,
    completed: Option<DateTime<Utc>>,
}

/// Ends its stage when dropped.
#[must_use]
pub struct StageGuard {
    stages: Stages,
    began: DateTime<Utc>,
}

impl Default for Stages {
    fn default() -> Self {
        let stage = Stage { what: "awaiting startup".into(), began: Utc::now(), completed: None };
        Self { newest: Arc::new(Mutex::new(stage)) }
    }
}

impl Stages {
    /// Says that the worker is `what` ("reading to the end of the config topic") from now until the guard is dropped.
    pub fn enter(&self, what: impl Into<String>) -> StageGuard {
        let began = Utc::now();
        *self.lock() = Stage { what: what.into(), began, completed: None };
        StageGuard { stages: self.clone(), began }
    }

    /// The same, if there is something to say.
    pub fn enter_if(&self, is_so: bool, what: &str) -> Option<StageGuard> {
        is_so.then(|| self.enter(what))
    }

    /// Java's sentence; clients show it to people.
    #[must_use]
    pub fn summary(&self) -> String {
        let stage = self.lock().clone();
        let (what, began) = (&stage.what, shown(stage.began));
        match stage.completed {
            None => format!("The worker is currently {what}, which began at {began}."),
            Some(completed) => format!(
                "The last operation the worker completed was {what}, which began at {began} and completed at {}.",
                shown(completed)
            ),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Stage> {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for StageGuard {
    fn drop(&mut self) {
        let mut newest = self.stages.lock();
        // A stage entered meanwhile by somebody else stands.
        if newest.began == self.began && newest.completed.is_none() {
            newest.completed = Some(Utc::now());
        }
    }
}

fn shown(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_are_javas() {
        let stages = Stages::default();
        assert!(stages.summary().starts_with("The worker is currently awaiting startup, which began at 20"));
        let guard = stages.enter("writing a config for connector orders to the config topic");
        assert!(stages.summary().starts_with("The worker is currently writing a config for connector orders"));
        drop(guard);
        let summary = stages.summary();
        assert!(summary.starts_with("The last operation the worker completed was writing a config"), "{summary}");
        assert!(summary.contains(" and completed at "), "{summary}");
    }
}
