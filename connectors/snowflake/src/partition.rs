//! What a task knows of one partition: the rows that wait, those on their way, and which offsets are safe.
//!
//! Pure: no clock of its own, no client. An offset is safe when its row is loaded, or when it left no row: a tombstone that is
//! skipped, a record that a transform dropped or that went to the dead letters.

use std::sync::Arc;
use std::time::Instant;

use penstock_api::{Origin, Result, SinkRecord, TopicPartition};
use tokio::sync::oneshot;

use crate::config::{Config, Flush};
use crate::load::{Load, TableLoad};
use crate::rows::{Scratch, TableRows};
use crate::table::Table;

/// One partition.
pub struct Partition {
    pub id: TopicPartition,
    /// Which opening of the partition this is: loads of an earlier one say nothing about this one.
    pub opening: u64,
    /// The last offset that is loaded, as the offsets table says.
    pub durable: i64,
    /// The last offset that was taken from `put`, whatever became of it.
    pub taken: i64,
    /// No record was taken since the partition was opened.
    pub fresh: bool,
    pub filling: Buffer,
    pub sealed: Option<Sealed>,
    /// The offset it was sent back to, until a record from there arrives.
    pub rewound_to: Option<i64>,
    /// What else comes in this `put` was read before the partition was sent back, and will come again.
    pub ignoring: bool,
    /// How many rows may be loaded at once; fewer than configured while a row that Snowflake refuses is searched for.
    pub rows_max: usize,
    /// A row that Snowflake refuses is searched for.
    pub searching: bool,
    /// A record was reported in the call that runs: its dead letter is not safe yet, so nothing behind it may be loaded.
    pub reported: bool,
    /// Loads in a row that ended with nothing loaded because the table, or the offset, was not as expected.
    pub setbacks: u32,
}

/// Rows that wait for their load.
#[derive(Default)]
pub struct Buffer {
    pub tables: Vec<TableRows>,
    pub rows: usize,
    pub bytes: usize,
    /// First and last offset with a row.
    pub range: Option<(i64, i64)>,
    pub since: Option<Instant>,
    /// The first row's record, kept only while a refused row is searched for.
    pub suspect: Option<Origin>,
}

/// Rows on their way, or waiting to go again.
pub struct Sealed {
    pub first: i64,
    /// The row's record, if there is one offset only and it is suspected.
    pub suspect: Option<Origin>,
    pub state: SealedState,
}

/// Where sealed rows are.
pub enum SealedState {
    /// Waiting for a free session, or for the time to try again.
    Waiting { load: Box<Load>, not_before: Instant, attempts: u32 },
    Loading {
        /// Tells the load to roll back and end. Dropped, it does the same.
        give_up: oneshot::Sender<()>,
        attempts: u32,
    },
}

impl Partition {
    /// A partition that was just opened.
    #[must_use]
    pub fn new(id: TopicPartition, opening: u64, durable: i64, flush: &Flush) -> Self {
        Self {
            id,
            opening,
            durable,
            taken: durable,
            fresh: true,
            filling: Buffer::default(),
            sealed: None,
            rewound_to: None,
            ignoring: false,
            rows_max: flush.rows_max,
            searching: false,
            reported: false,
            setbacks: 0,
        }
    }

    /// The offset to commit, given the one behind the last record that `put` was given.
    #[must_use]
    pub fn safe(&self, put: i64) -> i64 {
        let unsafe_from = [self.sealed.as_ref().map(|s| s.first), self.filling.range.map(|(first, _)| first), self.rewound_to];
        unsafe_from.into_iter().flatten().fold(put, i64::min)
    }

    /// Whether the waiting rows have reached a limit that does not depend on time.
    #[must_use]
    pub fn is_full(&self, flush: &Flush) -> bool {
        self.filling.rows >= self.rows_max || self.filling.bytes >= flush.bytes_max
    }

    /// Whether the waiting rows should be loaded.
    #[must_use]
    pub fn is_due(&self, flush: &Flush, now: Instant) -> bool {
        let is_old = self.filling.since.is_some_and(|since| now.duration_since(since) >= flush.age_max);
        self.filling.rows > 0 && (is_old || self.is_full(flush))
    }

    /// Takes the waiting rows for a load.
    ///
    /// # Errors
    /// `Fatal` when a file cannot be finished.
    pub fn seal(&mut self, now: Instant) -> Result<()> {
        let buffer = std::mem::take(&mut self.filling);
        let Some((first, last)) = buffer.range else { return Ok(()) };
        let mut tables = Vec::with_capacity(buffer.tables.len());
        for rows in buffer.tables {
            let (table, drop_not_null, files) = rows.finish()?;
            if !files.is_empty() {
                tables.push(TableLoad { table, drop_not_null, files });
            }
        }
        let (partition, opening, previous) = (self.id.clone(), self.opening, self.durable);
        let load = Load { partition, opening, previous, first, last, rows: buffer.rows, tables };
        let suspect = buffer.suspect.filter(|_| first == last);
        self.sealed =
            Some(Sealed { first, suspect, state: SealedState::Waiting { load: Box::new(load), not_before: now, attempts: 0 } });
        Ok(())
    }

    /// Forgets all rows that are not loaded, and expects records from `offset` on.
    pub fn rewind(&mut self, offset: i64) {
        self.filling = Buffer::default();
        self.sealed = None;
        self.await_from(offset);
    }

    /// Keeps the rows, and expects records from `offset` on.
    pub fn await_from(&mut self, offset: i64) {
        self.taken = offset - 1;
        self.rewound_to = Some(offset);
        self.ignoring = true;
    }

    /// After a refused load of many rows: load fewer, until the one is found.
    pub fn search_closer(&mut self) {
        self.rows_max = (self.rows_max / 8).max(1);
        self.searching = true;
    }

    /// After a load that went through: load more again.
    pub fn search_wider(&mut self, flush: &Flush) {
        self.rows_max = self.rows_max.saturating_mul(4).min(flush.rows_max);
        self.searching &= self.rows_max < flush.rows_max;
    }
}

impl Buffer {
    /// Adds a record as a row of that table.
    ///
    /// # Errors
    /// `Data` when it does not fit; nothing was added then. `Fatal` when a file cannot be written.
    pub fn add(&mut self, record: &SinkRecord, table: &Arc<Table>, config: &Config, scratch: &mut Scratch) -> Result<()> {
        let known = self.tables.iter().position(|rows| Arc::ptr_eq(&rows.table, table) || rows.table.name == table.name);
        let at = known.unwrap_or_else(|| {
            self.tables.push(TableRows::new(table.clone()));
            self.tables.len() - 1
        });
        self.bytes += self.tables[at].add(record, config, scratch)?;
        self.rows += 1;
        let offset = record.origin.offset;
        let first = self.range.map_or(offset, |(first, _)| first);
        self.range = Some((first, offset));
        Ok(())
    }

    /// Bytes of memory in use.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.tables.iter().map(TableRows::memory).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const FLUSH: Flush =
        Flush { rows_max: 10, bytes_max: 1000, age_max: Duration::from_secs(5), task_bytes_max: 10_000, loads_max: 1 };

    fn partition() -> Partition {
        Partition::new(TopicPartition { topic: "t".into(), partition: 0 }, 1, 4, &FLUSH)
    }

    #[test]
    fn offsets_are_safe_up_to_the_first_row_in_flight() {
        let mut p = partition();
        assert_eq!(p.safe(20), 20);
        p.filling.range = Some((12, 18));
        assert_eq!(p.safe(20), 12);
        let load = Load { partition: p.id.clone(), opening: 1, previous: 4, first: 7, last: 11, rows: 1, tables: Vec::new() };
        let state = SealedState::Waiting { load: Box::new(load), not_before: Instant::now(), attempts: 0 };
        p.sealed = Some(Sealed { first: 7, suspect: None, state });
        assert_eq!(p.safe(20), 7);
        p.rewind(7);
        assert_eq!((p.safe(20), p.taken), (7, 6));
    }

    #[test]
    fn rows_are_due_by_number_size_or_age() {
        let now = Instant::now();
        let mut p = partition();
        assert!(!p.is_due(&FLUSH, now));
        p.filling = Buffer { rows: 1, since: Some(now), ..Buffer::default() };
        assert!(!p.is_due(&FLUSH, now) && p.is_due(&FLUSH, now + FLUSH.age_max));
        p.filling.bytes = 1000;
        assert!(p.is_full(&FLUSH));
        p.filling = Buffer { rows: 10, ..Buffer::default() };
        assert!(p.is_full(&FLUSH));
    }

    #[test]
    fn a_search_narrows_to_one_row_and_widens_again() {
        let mut p = partition();
        for _ in 0..5 {
            p.search_closer();
        }
        assert!(p.rows_max == 1 && p.searching);
        for _ in 0..5 {
            p.search_wider(&FLUSH);
        }
        assert!(!p.searching);
    }
}
