//! Transforms and predicates: what may happen to a record between Kafka and a connector.

use std::sync::Arc;

use crate::batch::{Batch, Stage, Verdict};
use crate::connector::TaskId;
use crate::error::Result;
use crate::payload::Payload;
use crate::record::Record;

/// What a transform decides about a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    Keep,
    /// Filtered out on purpose; it counts as delivered.
    Drop,
}

/// Whom a transform works for.
#[derive(Clone, Debug)]
pub struct TransformContext {
    pub task: TaskId,
    /// The alias in `transforms=` or `predicates=`.
    pub alias: Arc<str>,
    /// The class as the configuration names it; it stands in dead letters.
    pub class: Arc<str>,
}

/// A single message transform. One instance for each task; calls never overlap.
#[crate::async_trait]
pub trait Transform: Send {
    /// The first record that fails ends the task (`errors.tolerance=none`), and nobody asks then what became of those behind it in
    /// its batch: once one has failed, it need not go on. Said before [`start`](Self::start).
    fn fail_fast(&mut self) {}

    /// Called once before the first record.
    async fn start(&mut self, _context: &TransformContext) -> Result<()> {
        Ok(())
    }

    /// The half of a record that it looks at whatever the record holds; converters then need not go over it twice.
    fn looks_at(&self) -> Option<Part> {
        None
    }

    /// Changes a record in place, or drops it. After an error the record is not used again: a retry and a dead letter
    /// start from the raw one.
    fn apply(&mut self, record: &mut Record) -> Result<Flow>;

    /// Works on a whole batch; the default calls [`apply`](Self::apply) for each live row.
    ///
    /// Failures of single records are noted on their rows. An error returned here fails the task.
    async fn apply_batch(&mut self, batch: &mut Batch, context: &TransformContext) -> Result<()> {
        for row in batch.live() {
            match self.apply(&mut row.record) {
                Ok(Flow::Keep) => {}
                Ok(Flow::Drop) => row.verdict = Verdict::Drop,
                Err(error) => row.fail(Stage::Transformation, &context.class, error),
            }
        }
        Ok(())
    }

    /// Called once after the last record.
    async fn stop(&mut self) {}
}

/// Decides to which records a transform applies.
#[crate::async_trait]
pub trait Predicate: Send {
    /// The first record that fails ends the task (`errors.tolerance=none`), and nobody asks then what became of those behind it in
    /// its batch: once one has failed, it need not go on. Said before [`start`](Self::start).
    fn fail_fast(&mut self) {}

    /// Called once before the first record.
    async fn start(&mut self, _context: &TransformContext) -> Result<()> {
        Ok(())
    }

    /// Whether the record matches. It may be decoded for the answer, but not changed.
    fn test(&mut self, record: &mut Record) -> Result<bool>;

    /// Selects the rows of a batch that match, or with `negate` those that do not; the default calls
    /// [`test`](Self::test) for each live row.
    ///
    /// Failures of single records are noted on their rows. An error returned here fails the task.
    async fn select(&mut self, batch: &mut Batch, negate: bool, context: &TransformContext) -> Result<()> {
        for row in batch.live() {
            match self.test(&mut row.record) {
                Ok(matches) => row.selected = matches != negate,
                Err(error) => row.fail(Stage::Transformation, &context.class, error),
            }
        }
        Ok(())
    }

    /// Called once after the last record.
    async fn stop(&mut self) {}
}

/// The half of a record that a `$Key` or `$Value` class works on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Key,
    Value,
}

impl Part {
    /// That half.
    #[must_use]
    pub fn of(self, record: &Record) -> &Payload {
        match self {
            Part::Key => &record.key,
            Part::Value => &record.value,
        }
    }

    /// That half, to change.
    pub fn of_mut(self, record: &mut Record) -> &mut Payload {
        match self {
            Part::Key => &mut record.key,
            Part::Value => &mut record.value,
        }
    }

    /// `key` or `value`, for messages.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Part::Key => "key",
            Part::Value => "value",
        }
    }
}
