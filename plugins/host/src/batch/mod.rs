//! The batch as a guest sees it during one call: `batches` of the contract over `penstock_api::Batch`.
//!
//! [`Call`] owns the batch while the guest runs, or shares a sink's ([`rows`]). Reads ([`read`]) answer columns of the batch as it was; changes are noted
//! ([`note`]) and carried out afterwards ([`commit`]), so that a call that traps leaves nothing behind. [`scan`] and
//! [`splice`] work on JSON text, [`fields`] on decoded values, [`columns`] holds what crosses.

mod columns;
mod commit;
mod fields;
mod interface;
mod note;
mod path;
mod read;
mod rows;
mod scan;
mod splice;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use penstock_api::payload::AvroFormat;
use penstock_api::{Batch, Encoded, Error, Format, Part, Payload, Record, SinkRecord};

pub(crate) use columns::{Blobs, check_names, check_s64, is_present, is_set};
pub(crate) use commit::{Done, Emitted};
pub(crate) use fields::SchemaExtensions;
pub(crate) use interface::Misuse;
pub(crate) use splice::check_json;

use note::Noted;
use path::Path;
use rows::Rows;
use scan::{Span, Wanted};

/// One call into a guest: the batch, which of its rows are shown, what was looked at and what shall change.
pub(crate) struct Call {
    rows: Rows,
    /// The rows shown, by their index in the batch, ascending.
    live: Vec<u32>,
    /// What was looked for in keys and in values.
    sides: [Side; 2],
    /// Rows that could not be read, with the reason.
    broken: BTreeMap<usize, Error>,
    noted: Noted,
}

/// What was looked for in all keys, or in all values.
#[derive(Default)]
struct Side {
    scans: Vec<Scanned>,
    paths: HashMap<String, Located>,
    /// Whether what is no JSON text has been decoded.
    is_decoded: bool,
}

/// Spans of the wanted fields of all rows: those of row 0, then those of row 1, and so on.
struct Scanned {
    wanted: Wanted,
    spans: Vec<Span>,
}

impl Scanned {
    /// Those of one row.
    fn spans_of(&self, row: usize) -> &[Span] {
        let nodes = self.wanted.nodes();
        &self.spans[row * nodes..][..nodes]
    }
}

/// A path that has been looked for: in which scan, as which node.
#[derive(Clone)]
struct Located {
    scan: usize,
    node: usize,
    path: Arc<Path>,
}

impl Call {
    /// A call that shows these rows of the batch. A predicate's may not change them.
    pub(crate) fn new(batch: Batch, live: &[u32], may_change: bool, noted_bytes_max: usize) -> Self {
        Self::of(Rows::Own(batch), live.to_vec(), may_change, noted_bytes_max)
    }

    /// A call that shows records to a sink, which may not change them.
    pub(crate) fn of_sink(records: Arc<Vec<SinkRecord>>, noted_bytes_max: usize) -> Self {
        let live = (0..records.len() as u32).collect();
        Self::of(Rows::shared(records), live, false, noted_bytes_max)
    }

    fn of(rows: Rows, live: Vec<u32>, may_change: bool, noted_bytes_max: usize) -> Self {
        let noted = Noted::new(live.len(), may_change, noted_bytes_max);
        Self { rows, live, sides: [Side::default(), Side::default()], broken: BTreeMap::new(), noted }
    }

    /// The batch as it was, with nothing carried out.
    pub(crate) fn abandon(self) -> Batch {
        self.rows.into_batch()
    }

    pub(crate) fn len(&self) -> usize {
        self.live.len()
    }

    fn record(&self, row: usize) -> &Record {
        self.rows.record(self.live[row] as usize)
    }

    fn payload(&self, part: Part, row: usize) -> &Payload {
        part.of(self.record(row))
    }

    fn payload_mut(&mut self, part: Part, row: usize) -> &mut Payload {
        part.of_mut(self.rows.record_mut(self.live[row] as usize))
    }

    fn side(&self, part: Part) -> &Side {
        &self.sides[part as usize]
    }

    fn side_mut(&mut self, part: Part) -> &mut Side {
        &mut self.sides[part as usize]
    }

    /// Notes that a row cannot be read; the first reason counts.
    fn note_broken(&mut self, row: usize, error: Error) {
        self.broken.entry(row).or_insert(error);
    }
}

/// The text of a payload that is JSON from the wire, decoded or not.
fn json_text(payload: &Payload) -> Option<&[u8]> {
    payload.wire().filter(|encoded| matches!(encoded.format, Format::Json)).map(|encoded| &encoded.bytes[..])
}

/// The schema and body of a payload that is Avro from the wire.
fn avro_body(payload: &Payload) -> Option<(&Arc<AvroFormat>, &[u8])> {
    match payload.wire() {
        Some(Encoded { bytes, format: Format::Avro(avro) }) => Some((avro, bytes.get(avro.header_len..)?)),
        _ => None,
    }
}

/// Numbers for Avro schemas, given in the order they are met, from 1.
#[derive(Default)]
pub(crate) struct AvroSchemas(Vec<Arc<AvroFormat>>);

impl AvroSchemas {
    fn number(&mut self, schema: &Arc<AvroFormat>) -> u32 {
        // The one met last is the likely one, and there are few.
        let known = self.0.iter().rposition(|known| Arc::ptr_eq(known, schema));
        let at = known.unwrap_or_else(|| {
            self.0.push(schema.clone());
            self.0.len() - 1
        });
        at as u32 + 1
    }

    fn text(&self, number: u32) -> Option<&str> {
        let at = usize::try_from(number).ok()?.checked_sub(1)?;
        self.0.get(at).map(|schema| schema.schema_json.as_str())
    }
}
