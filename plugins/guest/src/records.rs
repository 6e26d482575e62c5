//! The form of records over the form of columns: a batch is read into records, and what has changed is written back.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use penstock_api::transform::TransformContext;
use penstock_api::{
    Bytes, Encoded, Error, Format, Header, Headers, Part, Payload, Predicate, Record, Result, Row, Transform, Value, Verdict,
};

use crate::columns::{BlobEdits, Edits, HeaderColumns, Scalars};
use crate::rows::Batch;
use crate::wit::batches::{self, Encoding};

/// Runs what an author wrote as `async` but must not wait: a component has nothing to wait for.
pub(crate) fn ready<T>(future: impl Future<Output = T>) -> Result<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Ok(value),
        Poll::Pending => Err(Error::fatal("the plugin waits for something, which a component cannot")),
    }
}

pub(crate) fn apply(transform: &mut dyn Transform, batch: &Batch<'_>, context: &TransformContext) -> Result<()> {
    let (before, mut records) = read(batch);
    ready(transform.apply_batch(&mut records, context))??;
    write_back(batch, &before, records.into_rows());
    Ok(())
}

pub(crate) fn test(predicate: &mut dyn Predicate, batch: &Batch<'_>, context: &TransformContext) -> Result<Vec<bool>> {
    let (_, mut records) = read(batch);
    ready(predicate.select(&mut records, false, context))??;
    let failed = records.rows().iter().enumerate().filter_map(|(at, row)| Some((at, failure(row)?)));
    batch.fail(failed);
    Ok(records.rows().iter().map(|row| row.selected).collect())
}

/// What records were when they came, as far as it must be known to see what has changed.
pub(crate) struct Before {
    topics: Vec<Arc<str>>,
    /// For each row one of `topics`.
    topic: Vec<u32>,
    timestamps: Scalars<i64>,
    headers: HeaderColumns,
    formats: [Vec<batches::Format>; 2],
    payloads: [Vec<Payload>; 2],
}

/// The records, and what they were.
pub(crate) fn read(batch: &Batch<'_>) -> (Before, penstock_api::Batch) {
    let topics = batch.topics().0;
    let formats = [batch.formats(Part::Key), batch.formats(Part::Value)];
    let before = Before {
        topics: topics.names.iter().map(|name| name.as_str().into()).collect(),
        topic: topics.index,
        timestamps: batch.timestamps(),
        headers: batch.headers(),
        payloads: [payloads(batch, Part::Key, &formats[0]), payloads(batch, Part::Value, &formats[1])],
        formats,
    };
    let partitions = batch.partitions();
    let offsets = batch.offsets();
    let mut records = penstock_api::Batch::with_capacity(batch.len());
    for (row, partition) in partitions.into_iter().enumerate() {
        let record = Record {
            topic: before.topics[before.topic[row] as usize].clone(),
            partition: Some(partition).filter(|partition| *partition >= 0),
            offset: offsets.get(row),
            key: before.payloads[0][row].clone(),
            value: before.payloads[1][row].clone(),
            headers: before
                .headers
                .get(row)
                .map(|(name, value)| Header { key: name.into(), value: header_value(value) })
                .collect(),
            timestamp: before.timestamps.get(row),
        };
        records.push(record, row as u32);
    }
    (before, records)
}

fn header_value(value: Option<&[u8]>) -> Payload {
    value.map_or_else(Payload::null, |bytes| Payload::encoded(Bytes::copy_from_slice(bytes), Format::Bytes))
}

/// JSON, text and bytes cross as they are, all else as JSON. One buffer holds them all.
fn payloads(batch: &Batch<'_>, part: Part, formats: &[batches::Format]) -> Vec<Payload> {
    use batches::Format as F;
    let mut payloads = vec![Payload::null(); formats.len()];
    let encoding_of = |format: &F| if matches!(format, F::Bytes | F::Text) { Encoding::Raw } else { Encoding::Json };
    for encoding in [Encoding::Raw, Encoding::Json] {
        if !formats.iter().any(|format| encoding_of(format) == encoding && *format != F::Null) {
            continue;
        }
        let column = batch.payloads(part, encoding).0;
        let data = Bytes::from(column.data);
        let mut start = 0;
        for (row, format) in formats.iter().enumerate() {
            let end = column.ends[row] as usize;
            let present = column.present.is_empty() || column.present[row / 8] & (1 << (row % 8)) != 0;
            if present && encoding_of(format) == encoding {
                let read_as = match format {
                    F::Bytes => Format::Bytes,
                    F::Text => Format::String,
                    _ => Format::Json,
                };
                payloads[row] = Payload::encoded(data.slice(start..end), read_as);
            }
            start = end;
        }
    }
    payloads
}

fn failure(row: &Row) -> Option<Error> {
    match &row.verdict {
        Verdict::Fail(failure) => Some(Error::new(failure.error.kind(), format!("{:#}", failure.error))),
        _ => None,
    }
}

/// Everything that shall change, gathered by column.
#[derive(Default)]
struct Changes {
    topics: Vec<(usize, Arc<str>)>,
    timestamps: Edits<i64>,
    /// By part, then raw and JSON.
    payloads: [[BlobEdits; 2]; 2],
    headers: BTreeMap<String, BlobEdits>,
    discarded: Vec<u32>,
    failed: Vec<(usize, Error)>,
}

fn write_back(batch: &Batch<'_>, before: &Before, rows: Vec<Row>) {
    let mut changes = Changes::default();
    let mut emitted: Vec<Row> = Vec::new();
    let mut next = 0;
    for row in rows {
        // The first row of an origin is the record itself; what follows it was emitted.
        if row.origin as usize == next {
            changes.note(next, row, next, before);
            next += 1;
        } else {
            emitted.push(row);
        }
    }
    if !emitted.is_empty() {
        let sources: Vec<u32> = emitted.iter().map(|row| row.origin).collect();
        let first = batch.copy(&sources);
        for (at, row) in emitted.into_iter().enumerate() {
            let source = row.origin as usize;
            changes.note(first + at, row, source, before);
        }
    }
    changes.carry_over(batch);
}

impl Changes {
    fn note(&mut self, row_number: usize, row: Row, source: usize, before: &Before) {
        match &row.verdict {
            Verdict::Keep => {}
            Verdict::Drop => return self.discarded.push(row_number as u32),
            Verdict::Fail(_) => {
                self.failed.extend(failure(&row).map(|error| (row_number, error)));
                return;
            }
        }
        let new = row.record;
        if !Arc::ptr_eq(&before.topics[before.topic[source] as usize], &new.topic) {
            self.topics.push((row_number, new.topic.clone()));
        }
        if before.timestamps.get(source) != new.timestamp {
            match new.timestamp {
                Some(timestamp) => self.timestamps.set(row_number, timestamp),
                None => self.timestamps.set_null(row_number),
            }
        }
        for part in [Part::Key, Part::Value] {
            let (old, format) = (&before.payloads[part as usize][source], before.formats[part as usize][source]);
            if let Err(error) = self.note_payload(row_number, part, old, part.of(&new), format) {
                self.failed.push((row_number, error));
            }
        }
        self.note_headers(row_number, &before.headers, source, &new.headers);
    }

    fn note_payload(&mut self, row: usize, part: Part, old: &Payload, new: &Payload, format: batches::Format) -> Result<()> {
        let [raw, json] = &mut self.payloads[part as usize];
        if let Some(encoded) = new.wire() {
            if old.wire().is_none_or(|old| !same_bytes(old, encoded)) {
                if matches!(encoded.format, Format::Json) { json } else { raw }.set(row, &encoded.bytes);
            }
            return Ok(());
        }
        let Some(decoded) = new.peek() else {
            if !old.is_null() {
                json.set_null(row);
            }
            return Ok(());
        };
        match (&decoded.value, format) {
            (Value::Null, _) => json.set_null(row),
            (Value::Bytes(bytes), batches::Format::Bytes) => raw.set(row, bytes),
            (Value::String(text), batches::Format::Text) => raw.set(row, text.as_bytes()),
            (value, _) => {
                let mut text = Vec::new();
                penstock_api::json::write(value, &mut text)?;
                json.set(row, &text);
            }
        }
        Ok(())
    }

    fn note_headers(&mut self, row: usize, before: &HeaderColumns, source: usize, new: &Headers) {
        let old = || before.get(source);
        if old().count() == new.len()
            && old().zip(new.iter()).all(|((name, value), new)| *name == *new.key && is_same(value, &new.value))
        {
            return;
        }
        for (name, _) in old().filter(|(name, _)| new.last(name).is_none()) {
            let edits = self.headers.entry(name.to_owned()).or_default();
            if !edits.ends_with(row) {
                edits.set_null(row);
            }
        }
        for header in new.iter() {
            let is_last = new.last(&header.key).is_some_and(|last| std::ptr::eq(last, header));
            let last_old = old().filter(|(name, _)| **name == *header.key).last();
            let is_unchanged = last_old.is_some_and(|(_, value)| is_same(value, &header.value));
            if is_last && !is_unchanged {
                let edits = self.headers.entry(header.key.to_string()).or_default();
                edits.write(row, |out| header_bytes(&header.value, out));
            }
        }
    }

    fn carry_over(self, batch: &Batch<'_>) {
        batch.set_topics(self.topics.iter().map(|(row, topic)| (*row, &**topic)));
        batch.set_timestamps(&self.timestamps);
        for part in [Part::Key, Part::Value] {
            let [raw, json] = &self.payloads[part as usize];
            batch.replace(part, Encoding::Raw, raw);
            batch.replace(part, Encoding::Json, json);
        }
        for (name, edits) in &self.headers {
            batch.set_header_bytes(name, edits);
        }
        batch.discard(&self.discarded);
        batch.fail(self.failed);
    }
}

fn same_bytes(a: &Encoded, b: &Encoded) -> bool {
    a.bytes.as_ptr() == b.bytes.as_ptr() && a.bytes.len() == b.bytes.len()
}

/// Whether a header still has the value it came with.
fn is_same(old: Option<&[u8]>, new: &Payload) -> bool {
    match old {
        Some(old) => matches!(new.wire(), Some(Encoded { bytes, format: Format::Bytes }) if bytes[..] == *old),
        None => new.is_null(),
    }
}

/// A header's value as bytes: text as UTF-8, all else as JSON.
fn header_bytes(value: &Payload, out: &mut Vec<u8>) {
    match (value.wire(), value.peek().map(|decoded| &decoded.value)) {
        (Some(encoded), _) => out.extend_from_slice(&encoded.bytes),
        (None, Some(Value::String(text))) => out.extend_from_slice(text.as_bytes()),
        (None, Some(Value::Bytes(bytes))) => out.extend_from_slice(bytes),
        (None, Some(value)) => {
            if penstock_api::json::write(value, out).is_err() {
                out.extend_from_slice(b"null");
            }
        }
        (None, None) => {}
    }
}
