//! Carries out what a guest has noted, row by row, after its call has returned.

use std::sync::Arc;

use penstock_api::{
    Batch, Bytes, CompactString, Encoded, Error, ErrorKind, Format, Part, Payload, Record, SchemaAndValue, Value, schema,
};

use super::fields::{self, SchemaExtensions};
use super::note::{Change, Mark, Noted, Noting};
use super::path::Path;
use super::rows::Rows;
use super::scan::{Span, Wanted, scan};
use super::splice::{Splicer, check_json};
use super::{Call, Scanned, avro_body, json_text};
use crate::contract::batches::{Encoding, HeaderForm};

/// What a call has led to.
pub(crate) struct Done {
    pub batch: Batch,
    /// Rows of the batch that failed, with the reason.
    pub failed: Vec<(u32, Error)>,
    /// Rows of the batch to be filtered out.
    pub discarded: Vec<u32>,
    /// Further records, by ascending row of the batch.
    pub emitted: Vec<Emitted>,
    /// Why the task cannot go on.
    pub fatal: Option<Error>,
}

/// A record that stands behind one it was made from.
pub(crate) struct Emitted {
    /// The row of the batch.
    pub behind: u32,
    pub record: Record,
    pub outcome: Result<(), Error>,
}

impl Call {
    /// Carries out what was noted. Failed rows keep their records; nobody uses them again.
    pub(crate) fn carry_out(mut self, known: &mut SchemaExtensions) -> Done {
        let rows = self.len();
        if self.noted.is_empty() && self.broken.is_empty() {
            return self.done(Vec::new(), Vec::new(), &[]);
        }
        let mut copies: Vec<Record> = self.noted.copies.iter().map(|&row| self.record(row as usize).clone()).collect();
        let Noted { mut changes, mut marks, copies: sources, .. } = std::mem::replace(&mut self.noted, Noted::new(0, false, 0));
        let plans = [Plan::new(Part::Key, &changes, &self), Plan::new(Part::Value, &changes, &self)];
        let mut carrier = Carrier::new(plans, known);
        let mut outcomes = Vec::with_capacity(rows + copies.len());
        let mut wanted = Vec::new();
        for row in 0..rows + copies.len() {
            let mark = marks.get_mut(row).map_or(Mark::Keep, |mark| std::mem::replace(mark, Mark::Keep));
            let source = if row < rows { row } else { sources[row - rows] as usize };
            let broken = self.broken.get(&source).map(|error| Error::new(error.kind(), format!("{error:#}")));
            // Changes are asked for even when they are void, since each counts its rows as they pass.
            positions(&mut changes, row, rows, &mut wanted);
            let outcome = match (mark, broken) {
                (Mark::Discard, _) => Outcome::Discard,
                (Mark::Fail(error), _) => Outcome::Fail(error),
                (Mark::Keep, Some(error)) => Outcome::Fail(error),
                (Mark::Keep, None) => {
                    let record = record_of(&mut self.rows, &self.live, &mut copies, row);
                    let spans = |part: Part| self.sides[part as usize].scans.as_slice();
                    let of = RowChanges { row, source, changes: &changes, wanted: &wanted };
                    match carrier.change(record, &of, spans) {
                        Ok(()) => Outcome::Keep,
                        Err(why) => Outcome::Fail(Error::data(why)),
                    }
                }
            };
            outcomes.push(outcome);
        }
        for (row, part, text) in carrier.texts.finish() {
            *part.of_mut(record_of(&mut self.rows, &self.live, &mut copies, row)) = Payload::encoded(text, Format::Json);
        }
        self.done(outcomes, copies, &sources)
    }

    fn done(self, outcomes: Vec<Outcome>, copies: Vec<Record>, sources: &[u32]) -> Done {
        let (live, rows) = (self.live, outcomes.len() - copies.len());
        let mut done =
            Done { batch: self.rows.into_batch(), failed: Vec::new(), discarded: Vec::new(), emitted: Vec::new(), fatal: None };
        let mut copies = copies.into_iter();
        for (row, outcome) in outcomes.into_iter().enumerate() {
            if let Outcome::Fail(error) = &outcome
                && matches!(error.kind(), ErrorKind::Config | ErrorKind::Fatal)
            {
                done.fatal.get_or_insert_with(|| Error::new(error.kind(), error.message()));
            }
            if row < rows {
                match outcome {
                    Outcome::Keep => {}
                    Outcome::Discard => done.discarded.push(live[row]),
                    Outcome::Fail(error) => done.failed.push((live[row], error)),
                }
                continue;
            }
            let record = copies.next().expect("one record for each copy");
            let outcome = match outcome {
                Outcome::Keep => Ok(()),
                Outcome::Discard => continue,
                Outcome::Fail(error) => Err(error),
            };
            done.emitted.push(Emitted { behind: live[sources[row - rows] as usize], record, outcome });
        }
        done.emitted.sort_by_key(|emitted| emitted.behind);
        done
    }
}

enum Outcome {
    Keep,
    Discard,
    Fail(Error),
}

/// The record of a row, or of a copy behind the rows.
fn record_of<'b>(rows: &'b mut Rows, live: &[u32], copies: &'b mut [Record], row: usize) -> &'b mut Record {
    match live.get(row) {
        Some(&index) => rows.record_mut(index as usize),
        None => &mut copies[row - live.len()],
    }
}

/// Which changes concern a row, and which of their values.
fn positions(changes: &mut [Noting], row: usize, rows: usize, wanted: &mut Vec<(usize, usize)>) {
    wanted.clear();
    wanted.extend(changes.iter_mut().enumerate().filter_map(|(change, noting)| Some((change, noting.at(row, rows)?))));
}

/// How the fields of all keys, or all values, are set.
struct Plan {
    /// The scan of the call that holds all the paths, if there is one.
    scan: Option<usize>,
    /// Else: the paths to look for in each text.
    wanted: Wanted,
    /// For each change its node, in the scan or in `wanted`.
    nodes: Vec<usize>,
    /// Whether some path leads through another, so that each field must be set by itself.
    one_by_one: bool,
}

impl Plan {
    fn new(part: Part, changes: &[Noting], call: &Call) -> Self {
        let paths: Vec<Option<&Arc<Path>>> = changes
            .iter()
            .map(|noting| match &noting.change {
                Change::Field { part: of, path, .. } if *of == part => Some(path),
                _ => None,
            })
            .collect();
        let given = || paths.iter().flatten();
        let one_by_one = given().any(|a| given().any(|b| a.overlaps(b)));
        let located = |path: &Arc<Path>| call.side(part).paths.values().find(|located| Arc::ptr_eq(&located.path, path));
        let mut scans = given().map(|path| located(path).map(|located| located.scan));
        let first = scans.next().flatten();
        let scan = first.filter(|first| !one_by_one && scans.all(|scan| scan == Some(*first)));
        let mut wanted = Wanted::new();
        let mut node = |path: &Arc<Path>| match (scan, located(path)) {
            (Some(_), Some(located)) => located.node,
            _ => wanted.add(path),
        };
        let nodes = paths.iter().map(|path| path.map_or(0, &mut node)).collect();
        Self { scan, wanted, nodes, one_by_one }
    }
}

/// New texts of a batch in one buffer, which the records then share: an allocation for each would cost more than the splicing.
#[derive(Default)]
struct Texts {
    data: Vec<u8>,
    /// Row, half, and where the text ends.
    ends: Vec<(usize, Part, usize)>,
}

impl Texts {
    /// Notes for whom the text is that was written last, if one was.
    fn end(&mut self, row: usize, part: Part) {
        if self.data.len() > self.noted() {
            self.ends.push((row, part, self.data.len()));
        }
    }

    /// Takes the text that was written last and that nobody is noted for.
    fn take_written(&mut self) -> Option<Bytes> {
        let noted = self.noted();
        let written = Bytes::copy_from_slice(&self.data[noted..]);
        self.data.truncate(noted);
        (!written.is_empty()).then_some(written)
    }

    fn noted(&self) -> usize {
        self.ends.last().map_or(0, |(_, _, end)| *end)
    }

    /// Takes back what was written for a row that failed after all.
    fn undo(&mut self, row: usize) {
        while self.ends.pop_if(|(of, _, _)| *of == row).is_some() {}
        self.data.truncate(self.noted());
    }

    fn finish(self) -> impl Iterator<Item = (usize, Part, Bytes)> {
        let data = Bytes::from(self.data);
        let mut start = 0;
        self.ends.into_iter().map(move |(row, part, end)| (row, part, data.slice(std::mem::replace(&mut start, end)..end)))
    }
}

/// What one row, or copy, wants changed.
struct RowChanges<'c> {
    row: usize,
    /// The row whose spans describe its texts.
    source: usize,
    changes: &'c [Noting],
    /// Which of the changes, and which of their values.
    wanted: &'c [(usize, usize)],
}

struct Carrier<'k> {
    plans: [Plan; 2],
    known: &'k mut SchemaExtensions,
    texts: Texts,
    splicer: Splicer,
    /// Fields to set in the key and in the value of one record, reused.
    fields: [Vec<(usize, usize)>; 2],
    /// Spans of one text, reused.
    spans: Vec<Span>,
}

impl<'k> Carrier<'k> {
    fn new(plans: [Plan; 2], known: &'k mut SchemaExtensions) -> Self {
        let (texts, splicer) = (Texts::default(), Splicer::default());
        Self { plans, known, texts, splicer, fields: [Vec::new(), Vec::new()], spans: Vec::new() }
    }

    /// Changes one record. New JSON texts lie in `texts` for the end.
    fn change<'s>(
        &mut self,
        record: &mut Record,
        of: &RowChanges<'_>,
        scans: impl Fn(Part) -> &'s [Scanned],
    ) -> Result<(), String> {
        let mut fields = std::mem::take(&mut self.fields);
        fields.iter_mut().for_each(Vec::clear);
        let changed = self.change_with(&mut fields, record, of, scans);
        self.fields = fields;
        changed.inspect_err(|_| self.texts.undo(of.row))
    }

    fn change_with<'s>(
        &mut self,
        fields: &mut [Vec<(usize, usize)>; 2],
        record: &mut Record,
        of: &RowChanges<'_>,
        scans: impl Fn(Part) -> &'s [Scanned],
    ) -> Result<(), String> {
        let changes = of.changes;
        let mut is_replaced = [false; 2];
        for &(change, at) in of.wanted {
            match &changes[change].change {
                Change::Field { part, .. } => {
                    let side = *part as usize;
                    fields[side].push((change, at));
                    if self.plans[side].one_by_one {
                        self.set_fields(part.of_mut(record), *part, changes, &fields[side], None)?;
                        if let Some(text) = self.texts.take_written() {
                            *part.of_mut(record) = Payload::encoded(text, Format::Json);
                        }
                        fields[side].clear();
                        is_replaced[side] = true;
                    }
                }
                Change::Payload { part, encoding, values } => {
                    let side = *part as usize;
                    fields[side].clear();
                    is_replaced[side] = true;
                    let payload = part.of_mut(record);
                    *payload = replaced(payload, *encoding, values.get(at), self.known)
                        .map_err(|why| format!("replace {}: {why}", part.name()))?;
                }
                Change::Topic { names, index } => record.topic = names[index[at] as usize].clone()?,
                Change::Timestamp(values) => {
                    record.timestamp = super::columns::is_present(&values.present, at).then(|| values.values[at]);
                }
                Change::Header { name, form, values } => set_header(record, name, *form, values.get(at)),
            }
        }
        for part in [Part::Key, Part::Value] {
            let side = part as usize;
            if !fields[side].is_empty() {
                let scanned = self.plans[side].scan.filter(|_| !is_replaced[side]).and_then(|scan| scans(part).get(scan));
                let spans = scanned.map(|scanned| (&scanned.wanted, scanned.spans_of(of.source)));
                self.set_fields(part.of_mut(record), part, changes, &fields[side], spans)?;
                self.texts.end(of.row, part);
            }
        }
        Ok(())
    }

    /// Sets fields of one key or value. `scanned` says where they stand in its text, when that is known. The new text of JSON is
    /// appended to `texts`.
    fn set_fields(
        &mut self,
        payload: &mut Payload,
        part: Part,
        changes: &[Noting],
        fields: &[(usize, usize)],
        scanned: Option<(&Wanted, &[Span])>,
    ) -> Result<(), String> {
        let field = |change: usize| match &changes[change].change {
            Change::Field { path, values, .. } => (path, values),
            _ => unreachable!("only fields are gathered here"),
        };
        let named = |path: &Path, why: String| format!("set {} of {}: {why}", path.as_str(), part.name());
        let Some(text) = json_text(payload) else {
            for &(change, at) in fields {
                let (path, values) = field(change);
                fields::set(payload, path, values, at, self.known).map_err(|why| named(path, why))?;
            }
            return Ok(());
        };
        let plan = &self.plans[part as usize];
        let mut own = Wanted::new();
        self.splicer.clear();
        for &(change, at) in fields {
            let (path, values) = field(change);
            // The nodes of the plan belong to the call's scan, when there is one.
            let node = if plan.scan.is_some() && scanned.is_none() { own.add(path) } else { plan.nodes[change] };
            self.splicer.edit(node, values, at).map_err(|why| named(path, why))?;
        }
        let (wanted, spans) = match scanned {
            Some(known) => known,
            None => {
                let wanted = if plan.scan.is_some() { &own } else { &plan.wanted };
                self.spans.resize(wanted.nodes(), Span::MISSING);
                scan(text, wanted, &mut self.spans)
                    .map_err(|malformed| format!("set fields of {}: not valid JSON at byte {}", part.name(), malformed.at))?;
                (wanted, &self.spans[..])
            }
        };
        self.splicer
            .splice(text, wanted, spans, &mut self.texts.data)
            .map_err(|why| format!("set fields of {}: {why}", part.name()))
    }
}

/// The payload that takes another's place.
fn replaced(old: &Payload, encoding: Encoding, new: Option<Bytes>, known: &mut SchemaExtensions) -> Result<Payload, String> {
    let Some(bytes) = new else {
        return Ok(match schema_of(old) {
            Some(schema) if schema.optional => Payload::decoded(SchemaAndValue::new(schema, Value::Null)),
            _ => Payload::null(),
        });
    };
    match encoding {
        Encoding::Json => {
            if let Some(schema) = json_schema_of(old)? {
                return fields::replace(&schema, &bytes, known).map(Payload::decoded);
            }
            check_json(&bytes)?;
            Ok(Payload::encoded(bytes, Format::Json))
        }
        Encoding::Avro => {
            let (avro, _) = avro_body(old).ok_or("the row is not Avro")?;
            let framing = &old.wire().expect("Avro from the wire").bytes[..avro.header_len];
            checked([framing, &bytes].concat().into(), Format::Avro(avro.clone()))
        }
        Encoding::Raw => match old.wire() {
            None => Ok(Payload::encoded(bytes, Format::Bytes)),
            Some(Encoded { format: Format::Json, .. }) => {
                check_json(&bytes)?;
                Ok(Payload::encoded(bytes, Format::Json))
            }
            Some(Encoded { bytes: old, format: Format::Avro(avro) })
                if old.get(..avro.header_len) != bytes.get(..avro.header_len) =>
            {
                Err("the bytes are not framed for the row's own Avro schema".to_owned())
            }
            Some(Encoded { format, .. }) => checked(bytes, format.clone()),
        },
    }
}

/// Bytes that can be read by the format.
fn checked(bytes: Bytes, format: Format) -> Result<Payload, String> {
    let encoded = Encoded { bytes, format };
    encoded.check().map_err(|e| format!("{e:#}"))?;
    Ok(Payload::encoded(encoded.bytes, encoded.format))
}

/// The schema that JSON in the payload's place must follow.
fn json_schema_of(old: &Payload) -> Result<Option<penstock_api::SchemaRef>, String> {
    match old.wire().map(|encoded| &encoded.format) {
        // Their schemas say only that they were not JSON.
        Some(Format::Bytes | Format::String | Format::Json) => Ok(None),
        _ => Ok(old.view().map_err(|e| format!("{e:#}"))?.schema.clone()),
    }
}

fn schema_of(old: &Payload) -> Option<penstock_api::SchemaRef> {
    json_schema_of(old).ok().flatten()
}

fn set_header(record: &mut Record, name: &CompactString, form: HeaderForm, value: Option<Bytes>) {
    let Some(value) = value else { return record.headers.remove(name) };
    let value = match form {
        HeaderForm::Bytes => SchemaAndValue::new(schema::OPTIONAL_BYTES.clone(), Value::Bytes(value)),
        HeaderForm::Text => {
            let text = std::str::from_utf8(&value).expect("text columns are checked");
            SchemaAndValue::new(schema::STRING.clone(), Value::string(text))
        }
    };
    record.headers.set(name, value);
}
