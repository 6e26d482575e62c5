//! Records on their way through the transforms, each with what has become of it.

use std::sync::Arc;

use crate::error::Error;
use crate::record::Record;

/// A batch passed by reference from stage to stage. Stages note verdicts; what a failure means is settled once, later.
#[derive(Debug, Default)]
pub struct Batch {
    rows: Vec<Row>,
}

/// One record of a [`Batch`].
#[derive(Debug)]
pub struct Row {
    pub record: Record,
    /// Which record of the fetched batch it stems from. Several rows may share one.
    pub origin: u32,
    /// Whether the stage that runs now applies to it: its predicate says so. Only the pipeline sets it.
    pub selected: bool,
    pub verdict: Verdict,
}

/// What has become of a record.
#[derive(Debug)]
pub enum Verdict {
    Keep,
    /// Filtered out on purpose; it counts as delivered.
    Drop,
    Fail(Box<Failure>),
}

/// Where and why a record failed.
#[derive(Debug)]
pub struct Failure {
    pub stage: Stage,
    /// The class that failed, as users name it in their configuration.
    pub class: Arc<str>,
    pub error: Error,
}

/// Connect's `Stage`: which step an operation belonged to. The names stand in dead-letter headers and logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    KeyConverter,
    ValueConverter,
    HeaderConverter,
    Transformation,
    TaskPut,
    TaskPoll,
    KafkaProduce,
    KafkaConsume,
}

impl Stage {
    /// Connect's name: `VALUE_CONVERTER`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Stage::KeyConverter => "KEY_CONVERTER",
            Stage::ValueConverter => "VALUE_CONVERTER",
            Stage::HeaderConverter => "HEADER_CONVERTER",
            Stage::Transformation => "TRANSFORMATION",
            Stage::TaskPut => "TASK_PUT",
            Stage::TaskPoll => "TASK_POLL",
            Stage::KafkaProduce => "KAFKA_PRODUCE",
            Stage::KafkaConsume => "KAFKA_CONSUME",
        }
    }
}

impl Batch {
    /// A batch with room for `capacity` rows.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Self {
        Self { rows: Vec::with_capacity(capacity) }
    }

    /// Appends a record that stems from the `origin`th fetched one.
    #[inline]
    pub fn push(&mut self, record: Record, origin: u32) {
        self.rows.push(Row { record, origin, selected: true, verdict: Verdict::Keep });
    }

    /// Appends a row as it is.
    pub fn push_row(&mut self, row: Row) {
        self.rows.push(row);
    }

    /// All rows, whatever became of them.
    #[must_use]
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// All rows, to change.
    pub fn rows_mut(&mut self) -> &mut [Row] {
        &mut self.rows
    }

    /// The rows, taken out.
    #[must_use]
    pub fn into_rows(self) -> Vec<Row> {
        self.rows
    }

    /// The rows the running stage applies to: kept so far and selected.
    pub fn live(&mut self) -> impl Iterator<Item = &mut Row> {
        self.rows.iter_mut().filter(|row| row.is_live())
    }

    /// Puts further records behind the rows they stem from. `emitted` holds (index of the row, record), rows ascending.
    ///
    /// The new rows are kept and selected, and share the row's origin.
    ///
    /// # Panics
    /// When an index is out of range; whoever takes indices from outside checks them first.
    pub fn insert_behind(&mut self, emitted: Vec<(usize, Record)>) {
        if emitted.is_empty() {
            return;
        }
        let old = std::mem::take(&mut self.rows);
        self.rows.reserve(old.len() + emitted.len());
        let mut emitted = emitted.into_iter().peekable();
        for (index, row) in old.into_iter().enumerate() {
            let origin = row.origin;
            self.rows.push(row);
            while let Some((_, record)) = emitted.next_if(|(at, _)| *at == index) {
                self.push(record, origin);
            }
        }
        assert!(emitted.next().is_none(), "emitted rows are ascending and in range");
    }
}

impl Row {
    /// Kept so far, and selected for the stage that runs now.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.selected && matches!(self.verdict, Verdict::Keep)
    }

    /// Notes a failure.
    pub fn fail(&mut self, stage: Stage, class: &Arc<str>, error: Error) {
        self.verdict = Verdict::Fail(Box::new(Failure { stage, class: class.clone(), error }));
    }
}
