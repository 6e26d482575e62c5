//! A batch of a source between poll and Kafka: transformed, converted, its failures settled, sent as far as there is room.

use penstock_api::{
    Batch, Bytes, ErrorKind, Failure, Payload, RawRecord, Record, Result, SourcePosition, SourceRecord, TimestampType,
    TransactionEnd, Value, Verdict,
};
use std::collections::BTreeSet;
use std::time::Instant;

use super::boundaries::Part;
use super::errors::PolledRecord;
use super::pipeline::{Pipeline, Wire};
use crate::converters::as_json;
use crate::kafka::Outgoing;
use crate::store::offsets::SourceMap;

/// A batch on its way.
pub(super) struct Outbound {
    /// As they were polled; `None` when nobody would look at them again.
    records: Option<Vec<SourceRecord>>,
    pub(super) positions: Vec<Option<SourcePosition>>,
    /// How the connector ends the transaction behind them, if it does.
    pub(super) end: Option<TransactionEnd>,
    pub(super) stage: OutboundStage,
    /// When it is gone on with, and how often it was.
    pub(super) next_at: Instant,
    pub(super) attempt: u32,
    pub(super) since: Instant,
}

pub(super) enum OutboundStage {
    /// Failures are yet to be settled.
    Settling(Vec<Row>),
    /// Settled; dead letters are on their way.
    Settled(Vec<Row>),
    /// In flight, but for these.
    Sending(Waiting),
}

/// What is to be sent.
#[derive(Default)]
pub(super) struct Waiting {
    rows: std::vec::IntoIter<Row>,
    /// Under which the batch's first record is in flight; the others follow.
    first: usize,
}

/// What a record became, or one of several that it became.
pub(super) struct Row {
    /// Index of the polled record.
    pub(super) origin: usize,
    pub(super) outcome: RowOutcome,
}

pub(super) enum RowOutcome {
    Send(Outgoing),
    /// Dropped on purpose, or given up.
    Nothing,
    /// As it failed, and as far as it got.
    Failed(Box<Failure>, Box<Record>),
}

impl Outbound {
    /// Transforms and converts what was polled. `keep`: records may be looked at again, after a failure.
    ///
    /// # Errors
    /// What fails the task.
    pub(super) async fn new(part: Part, keep: bool, pipeline: &mut Pipeline) -> Result<Self> {
        let Part { records, end } = part;
        let mut positions = Vec::with_capacity(records.len());
        let mut batch = Batch::with_capacity(records.len());
        let mut take = |record, position, origin| {
            batch.push(record, origin);
            positions.push(position);
        };
        let records = if keep {
            let copies = records.iter().cloned().zip(0..);
            copies.for_each(|(SourceRecord { record, position }, origin)| take(record, position, origin));
            Some(records)
        } else {
            let all = records.into_iter().zip(0..);
            all.for_each(|(SourceRecord { record, position }, origin)| take(record, position, origin));
            None
        };
        let stage = OutboundStage::Settling(run(pipeline, batch).await?);
        let now = Instant::now();
        Ok(Self { records, positions, end, stage, next_at: now, attempt: 0, since: now })
    }

    /// Runs those again of which something failed for now, from what was polled.
    pub(super) async fn run_failed_again(&mut self, rows: Vec<Row>, pipeline: &mut Pipeline) -> Result<Vec<Row>> {
        let Some(records) = &self.records else { return Ok(rows) };
        let again: BTreeSet<usize> = rows.iter().filter(|row| row.is_retriable()).map(|row| row.origin).collect();
        let mut batch = Batch::with_capacity(again.len());
        for origin in &again {
            batch.push(records[*origin].record.clone(), *origin as u32);
        }
        let mut merged = run(pipeline, batch).await?;
        merged.extend(rows.into_iter().filter(|row| !again.contains(&row.origin)));
        // Stable: what a record became stays in its order.
        merged.sort_by_key(|row| row.origin);
        Ok(merged)
    }

    /// The record behind a row that failed, for messages and dead letters.
    pub(super) fn culprit(&self, origin: usize, failed: &Record) -> PolledRecord {
        let record = self.records.as_ref().map_or(failed, |records| &records[origin].record);
        let position = self.positions[origin].as_ref().map(|at| (text(&at.partition), text(&at.offset.to_map())));
        PolledRecord { raw: in_bytes(record), position }
    }
}

impl Row {
    pub(super) fn is_sent(&self) -> bool {
        matches!(self.outcome, RowOutcome::Send(_))
    }

    fn is_retriable(&self) -> bool {
        matches!(&self.outcome, RowOutcome::Failed(failure, _) if failure.error.kind() == ErrorKind::Retriable)
    }
}

impl Waiting {
    pub(super) fn new(rows: Vec<Row>, first: usize) -> Self {
        Self { rows: rows.into_iter(), first }
    }

    /// What is to be sent next, and under which number.
    pub(super) fn front(&mut self) -> Option<(usize, &Outgoing)> {
        let others = self.rows.as_slice().iter().take_while(|row| !row.is_sent()).count();
        self.rows.by_ref().take(others).for_each(drop);
        match self.rows.as_slice().first() {
            Some(Row { origin, outcome: RowOutcome::Send(outgoing) }) => Some((self.first + origin, outgoing)),
            _ => None,
        }
    }

    /// Takes out what is to be sent next.
    pub(super) fn pop_front(&mut self) -> Option<Outgoing> {
        self.rows.find_map(|row| match row.outcome {
            RowOutcome::Send(outgoing) => Some(outgoing),
            _ => None,
        })
    }
}

async fn run(pipeline: &mut Pipeline, mut batch: Batch) -> Result<Vec<Row>> {
    pipeline.transform(&mut batch).await?;
    let mut written = pipeline.write(&batch).await;
    let row = |row: penstock_api::Row| {
        let outcome = match row.verdict {
            Verdict::Keep => match written.next().expect("each kept row was written") {
                Ok(wire) => RowOutcome::Send(outgoing(row.record, wire)),
                Err(failure) => RowOutcome::Failed(failure, Box::new(row.record)),
            },
            Verdict::Drop => RowOutcome::Nothing,
            Verdict::Fail(failure) => RowOutcome::Failed(failure, Box::new(row.record)),
        };
        Row { origin: row.origin as usize, outcome }
    };
    Ok(batch.into_rows().into_iter().map(row).collect())
}

fn outgoing(record: Record, wire: Wire) -> Outgoing {
    Outgoing {
        topic: record.topic,
        partition: record.partition,
        key: wire.key,
        value: wire.value,
        headers: wire.headers,
        // As in Java -1 means that there is none.
        timestamp: record.timestamp.filter(|timestamp| *timestamp >= 0),
    }
}

/// A record of a source as far as it can be put into bytes without its converters: bytes and text as they are, else as JSON.
fn in_bytes(record: &Record) -> RawRecord {
    RawRecord {
        topic: record.topic.clone(),
        partition: record.partition.unwrap_or(-1),
        offset: -1,
        timestamp: record.timestamp,
        timestamp_type: TimestampType::NoTimestamp,
        key: payload_bytes(&record.key),
        value: payload_bytes(&record.value),
        headers: None,
    }
}

fn payload_bytes(payload: &Payload) -> Option<Bytes> {
    if let Some(encoded) = payload.wire() {
        return Some(encoded.bytes.clone());
    }
    match &payload.view().ok()?.value {
        Value::Null => None,
        Value::Bytes(bytes) => Some(bytes.clone()),
        Value::String(text) => Some(Bytes::copy_from_slice(text.as_bytes())),
        _ => as_json(payload).ok().flatten(),
    }
}

/// For messages and headers.
pub(super) fn text(map: &SourceMap) -> String {
    serde_json::to_string(map).unwrap_or_default()
}
