//! The batch of one call, with Rust's types around what the contract offers.

use penstock_api::{Error, ErrorKind, Part};

use crate::columns::{BlobEdits, Blobs, Edits, HeaderColumns, Names, Scalars, TextEdits, Texts};
use crate::wit::batches::{self, Encoding, FieldKind, Format, HeaderForm};
use crate::wit::types;

/// The records of one call, kept by the worker.
///
/// Reads show the batch as it was when the call began. Changes are carried out when the call has returned `Ok`, in the order
/// they were made. Rows are numbered from 0.
pub struct Batch<'b> {
    inner: &'b batches::Batch,
    len: usize,
}

impl<'b> Batch<'b> {
    #[doc(hidden)]
    #[must_use]
    pub fn new(inner: &'b batches::Batch) -> Self {
        Self { inner, len: inner.len() as usize }
    }

    /// The contract's own resource, for what is not offered here.
    #[must_use]
    pub fn raw(&self) -> &'b batches::Batch {
        self.inner
    }

    /// How many rows there are; at least 1.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Never: a call has at least one row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The topic of each row.
    #[must_use]
    pub fn topics(&self) -> Names {
        Names(self.inner.topics())
    }

    /// The Kafka partition of each row, -1 for none.
    #[must_use]
    pub fn partitions(&self) -> Vec<i32> {
        self.inner.partitions()
    }

    /// Where Kafka keeps each row.
    #[must_use]
    pub fn offsets(&self) -> Scalars<i64> {
        let column = self.inner.offsets();
        Scalars::new(column.values, column.present)
    }

    /// Milliseconds since 1970-01-01T00:00Z.
    #[must_use]
    pub fn timestamps(&self) -> Scalars<i64> {
        let column = self.inner.timestamps();
        Scalars::new(column.values, column.present)
    }

    /// The headers of each row.
    #[must_use]
    pub fn headers(&self) -> HeaderColumns {
        HeaderColumns(self.inner.headers())
    }

    /// What each key or value is before anybody decodes it.
    #[must_use]
    pub fn formats(&self, part: Part) -> Vec<Format> {
        self.inner.formats(part_of(part))
    }

    /// All keys or values as bytes; `None` is null.
    #[must_use]
    pub fn payloads(&self, part: Part, encoding: Encoding) -> Blobs {
        Blobs(self.inner.payloads(part_of(part), encoding))
    }

    /// For each row a number of its Avro schema, 0 for none.
    #[must_use]
    pub fn schemas(&self, part: Part) -> Vec<u32> {
        self.inner.schemas(part_of(part))
    }

    /// The Avro schema of a number that [`schemas`](Self::schemas) gave. Ask once for each.
    #[must_use]
    pub fn schema(&self, number: u32) -> String {
        self.inner.schema(number)
    }

    /// Lets one scan find all these fields, which are read or set later.
    pub fn prefetch(&self, part: Part, paths: &[&str]) {
        let paths: Vec<String> = paths.iter().map(|path| (*path).to_owned()).collect();
        self.inner.prefetch(part_of(part), &paths);
    }

    /// What stands at a path in each row.
    #[must_use]
    pub fn kinds(&self, part: Part, path: &str) -> Vec<FieldKind> {
        self.inner.kinds(part_of(part), path)
    }

    /// The texts at a path.
    #[must_use]
    pub fn texts(&self, part: Part, path: &str) -> Texts {
        Texts(Blobs(self.inner.get_text(part_of(part), path)))
    }

    /// The integers at a path.
    #[must_use]
    pub fn integers(&self, part: Part, path: &str) -> Scalars<i64> {
        let column = self.inner.get_s64(part_of(part), path);
        Scalars::new(column.values, column.present)
    }

    /// The numbers at a path, integers too.
    #[must_use]
    pub fn numbers(&self, part: Part, path: &str) -> Scalars<f64> {
        let column = self.inner.get_f64(part_of(part), path);
        Scalars::new(column.values, column.present)
    }

    /// The truth values at a path.
    #[must_use]
    pub fn booleans(&self, part: Part, path: &str) -> Scalars<bool> {
        Scalars::from_bits(self.inner.get_bool(part_of(part), path), self.len)
    }

    /// Whatever stands at a path, as JSON text.
    #[must_use]
    pub fn json(&self, part: Part, path: &str) -> Blobs {
        Blobs(self.inner.get_json(part_of(part), path))
    }

    /// Sets a field to texts.
    pub fn set_texts(&self, part: Part, path: &str, edits: &TextEdits) {
        edits.0.cross(self.len, |rows, values| self.inner.set_text(part_of(part), path, rows, values));
    }

    /// Sets a field to integers.
    pub fn set_integers(&self, part: Part, path: &str, edits: &Edits<i64>) {
        edits.cross(self.len, |rows, values| self.inner.set_s64(part_of(part), path, rows, values));
    }

    /// Sets a field to numbers.
    pub fn set_numbers(&self, part: Part, path: &str, edits: &Edits<f64>) {
        edits.cross(self.len, |rows, values| self.inner.set_f64(part_of(part), path, rows, values));
    }

    /// Sets a field to truth values.
    pub fn set_booleans(&self, part: Part, path: &str, edits: &Edits<bool>) {
        edits.cross(self.len, |rows, values| self.inner.set_bool(part_of(part), path, rows, values));
    }

    /// Sets a field to any JSON.
    pub fn set_json(&self, part: Part, path: &str, edits: &BlobEdits) {
        edits.cross(self.len, |rows, values| self.inner.set_json(part_of(part), path, rows, values));
    }

    /// Replaces whole keys or values; null is a tombstone.
    pub fn replace(&self, part: Part, encoding: Encoding, edits: &BlobEdits) {
        edits.cross(self.len, |rows, values| self.inner.replace(part_of(part), encoding, rows, values));
    }

    /// Sends rows to other topics: pairs of row and topic, rows ascending.
    pub fn set_topics<'t>(&self, topics: impl IntoIterator<Item = (usize, &'t str)>) {
        let mut column = batches::NameColumn { names: Vec::new(), index: Vec::new() };
        let mut rows = Vec::new();
        for (row, topic) in topics {
            rows.push(row as u32);
            let known = column.names.iter().position(|name| name == topic);
            let at = known.unwrap_or_else(|| {
                column.names.push(topic.to_owned());
                column.names.len() - 1
            });
            column.index.push(at as u32);
        }
        if !rows.is_empty() {
            self.inner.set_topics(Some(&rows), &column);
        }
    }

    /// Sets timestamps, in milliseconds since 1970-01-01T00:00Z; null takes one away.
    pub fn set_timestamps(&self, edits: &Edits<i64>) {
        edits.cross(self.len, |rows, values| self.inner.set_timestamps(rows, values));
    }

    /// Sets a header to texts; null removes it.
    pub fn set_header_texts(&self, name: &str, edits: &TextEdits) {
        edits.0.cross(self.len, |rows, values| self.inner.set_header(name, HeaderForm::Text, rows, values));
    }

    /// Sets a header to bytes; null removes it.
    pub fn set_header_bytes(&self, name: &str, edits: &BlobEdits) {
        edits.cross(self.len, |rows, values| self.inner.set_header(name, HeaderForm::Bytes, rows, values));
    }

    /// Filters rows out. They count as delivered.
    pub fn discard(&self, rows: &[u32]) {
        if !rows.is_empty() {
            self.inner.discard(rows);
        }
    }

    /// Fails rows, each with its reason.
    pub fn fail(&self, failures: impl IntoIterator<Item = (usize, Error)>) {
        let failures: Vec<batches::Failure> =
            failures.into_iter().map(|(row, error)| batches::Failure { row: row as u32, error: error_of(&error) }).collect();
        if !failures.is_empty() {
            self.inner.fail(&failures);
        }
    }

    /// Makes a copy of each row, behind it, and answers the number of the first copy; see the contract.
    #[must_use]
    pub fn copy(&self, rows: &[u32]) -> usize {
        self.inner.copy(rows) as usize
    }
}

pub(crate) fn part_of(part: Part) -> types::Part {
    match part {
        Part::Key => types::Part::Key,
        Part::Value => types::Part::Value,
    }
}

/// An error as the contract says it, with all its causes.
pub(crate) fn error_of(error: &Error) -> types::Error {
    let kind = match error.kind() {
        ErrorKind::Retriable => types::ErrorKind::Retriable,
        ErrorKind::Data => types::ErrorKind::Data,
        ErrorKind::Config => types::ErrorKind::Config,
        ErrorKind::Fatal => types::ErrorKind::Fatal,
    };
    types::Error { kind, message: format!("{error:#}") }
}
