//! What a source adds to in a call: columns from the guest, checked, as records.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use penstock_api::json::typed::Room;
use penstock_api::{
    Bytes, Error, Format, Header, Headers, Next, Payload, Record, SchemaRef, SourceContext, SourceMap, SourceOffset,
    SourcePosition, SourceRecord, TransactionEnd,
};
use wasmtime::component::Resource;

use crate::batch::{Blobs, Misuse, check_json, check_names, check_s64};
use crate::contract::sources::penstock::connect::{offsets, outgoing, reconfigure};
use crate::contract::{columns, told, types};
use crate::row_schemas::{self, RowSchemas};
use crate::state::State;

/// Stands for the outbox of the running call, which lies in [`State::outbox`]: there is never more than one.
#[expect(unreachable_pub, reason = "generated code names it in public signatures")]
pub struct OutboxHandle;

/// Rows of one call.
const ROWS_MAX: usize = 10_000;
/// A call may give this part of an instance's memory.
const MEMORY_SHARE: usize = 4;
/// Values under schemas in one call: this part of an instance's memory, in bytes. Each takes 40 here.
const VALUES_SHARE: usize = 16;

/// What a source gives, and what it may ask.
pub(crate) struct Outbox {
    pub records: Vec<SourceRecord>,
    /// Where transactions end: behind so many of the records.
    pub boundaries: Vec<(usize, TransactionEnd)>,
    /// From `start` on.
    pub context: Option<SourceContext>,
    bytes_left: usize,
    bytes_max: usize,
    values_left: Room,
    values_max: usize,
    schemas: RowSchemas,
    /// Topics and source partitions by their text, so that records share them from call to call.
    topics: HashMap<String, Arc<str>>,
    origins: HashMap<String, Arc<SourceMap>>,
    /// Names of counting offsets.
    counts: Vec<Arc<str>>,
}

/// Texts that are kept from call to call; a source with more of them than that goes without.
const KEPT_MAX: usize = 10_000;

impl Outbox {
    pub(crate) fn new(memory_bytes_max: usize) -> Self {
        let (bytes_max, values_max) = (memory_bytes_max / MEMORY_SHARE, memory_bytes_max / VALUES_SHARE);
        Self {
            records: Vec::new(),
            boundaries: Vec::new(),
            context: None,
            bytes_left: bytes_max,
            bytes_max,
            values_left: Room::of(values_max),
            values_max,
            schemas: RowSchemas::new(memory_bytes_max),
            topics: HashMap::new(),
            origins: HashMap::new(),
            counts: Vec::new(),
        }
    }

    /// A call begins, or what the last one has added is void.
    pub(crate) fn clear(&mut self) {
        self.records.clear();
        self.boundaries.clear();
        self.bytes_left = self.bytes_max;
        self.values_left = Room::of(self.values_max);
    }

    /// Behind the rows added so far. The same again changes nothing, so that there are at most two for each row.
    fn end_transaction(&mut self, end: TransactionEnd) {
        let boundary = (self.records.len(), end);
        if !self.boundaries.iter().rev().take(2).any(|known| *known == boundary) {
            self.boundaries.push(boundary);
        }
    }

    fn add(&mut self, rows: outgoing::Rows, key_schema: Option<u32>, value_schema: Option<u32>) -> Result<(), String> {
        let outgoing::Rows { topics, partitions, keys, values, timestamps, headers, header_form, origins, offsets } = rows;
        let count = topics.index.len();
        let in_column = |column: &'static str| move |why: String| format!("{column}: {why}");
        if self.records.len() + count > ROWS_MAX {
            return Err(format!("there is room for {} rows more, not for {count}", ROWS_MAX - self.records.len()));
        }
        let bytes = keys.values.data.len() + values.values.data.len() + headers.values.data.len();
        let left = self.bytes_left.checked_sub(bytes);
        self.bytes_left = left.ok_or_else(|| format!("there is room for {} bytes more, not for {bytes}", self.bytes_left))?;
        check_names(&topics, count).map_err(in_column("topics"))?;
        check_names(&origins, count).map_err(in_column("origins"))?;
        check_s64(&timestamps, count).map_err(in_column("timestamps"))?;
        if !partitions.is_empty() && partitions.len() != count {
            return Err(format!("`partitions` has {} entries where {count} are due, or none", partitions.len()));
        }
        let schema = |number: Option<u32>| number.map(|number| self.schemas.get(number).cloned()).transpose();
        let keys = Column::new(keys, schema(key_schema)?, count).map_err(in_column("keys"))?;
        let values = Column::new(values, schema(value_schema)?, count).map_err(in_column("values"))?;
        let offsets = Blobs::text(offsets, count).map_err(in_column("offsets"))?;
        let headers = HeaderRows::new(headers, header_form, count).map_err(in_column("headers"))?;
        let topic_names: Vec<Arc<str>> =
            topics.names.into_iter().map(|name| kept(&mut self.topics, name, |n| Ok(n.into()))).collect::<Result<_, _>>()?;
        let partition_maps: Vec<Arc<SourceMap>> = origins
            .names
            .into_iter()
            .map(|text| kept(&mut self.origins, text, |text| map(text).map(Arc::new)))
            .collect::<Result<_, _>>()?;
        self.records.reserve(count);
        for row in 0..count {
            let position = match offsets.get_ref(row) {
                None => None,
                Some(text) => Some(SourcePosition {
                    partition: partition_maps[origins.index[row] as usize].clone(),
                    offset: self.offset(text).map_err(|why| format!("offsets: row {row}: {why}"))?,
                }),
            };
            let record = Record {
                topic: topic_names[topics.index[row] as usize].clone(),
                partition: partitions.get(row).copied().filter(|partition| *partition >= 0),
                key: keys.get(row, &self.values_left).map_err(in_column("keys"))?,
                value: values.get(row, &self.values_left).map_err(in_column("values"))?,
                headers: headers.get(row),
                timestamp: crate::batch::is_present(&timestamps.present, row).then(|| timestamps.values[row]),
                offset: None,
            };
            self.records.push(SourceRecord { record, position });
        }
        Ok(())
    }

    /// `{"name":12}`, which is what most sources say, needs no map.
    fn offset(&mut self, text: &[u8]) -> Result<SourceOffset, String> {
        let counted = || {
            let inner = text.strip_prefix(b"{\"")?.strip_suffix(b"}")?;
            let quote = inner.iter().position(|byte| *byte == b'"')?;
            let (name, rest) = inner.split_at(quote);
            let number = std::str::from_utf8(rest.strip_prefix(b"\":")?).ok()?.parse::<i64>().ok()?;
            (!name.contains(&b'\\')).then_some(())?;
            Some((std::str::from_utf8(name).ok()?, number))
        };
        let Some((name, number)) = counted() else {
            let text = std::str::from_utf8(text).map_err(|e| e.to_string())?;
            return map(text).map(SourceOffset::Map);
        };
        let known = self.counts.iter().find(|known| &***known == name).cloned();
        let name = known.unwrap_or_else(|| {
            let name: Arc<str> = name.into();
            if self.counts.len() < 16 {
                self.counts.push(name.clone());
            }
            name
        });
        Ok(SourceOffset::Count(name, number))
    }
}

/// What stands for a text, from the last time or made now.
fn kept<T: Clone>(
    known: &mut HashMap<String, T>,
    text: String,
    make: impl FnOnce(&str) -> Result<T, String>,
) -> Result<T, String> {
    if let Some(value) = known.get(&text) {
        return Ok(value.clone());
    }
    let value = make(&text)?;
    if known.len() < KEPT_MAX {
        known.insert(text, value.clone());
    }
    Ok(value)
}

/// A source partition or offset.
pub(crate) fn map(text: &str) -> Result<SourceMap, String> {
    let map: SourceMap = serde_json::from_str(text).map_err(|e| format!("{text:?} is no JSON object: {e}"))?;
    match map.iter().find(|(_, value)| value.is_object() || value.is_array()) {
        Some((key, _)) => Err(format!("{text:?}: `{key}` must be a primitive value")),
        None => Ok(map),
    }
}

/// Whole keys or values.
struct Column {
    format: Format,
    /// Of JSON: what its values are read under.
    schema: Option<SchemaRef>,
    values: Blobs,
}

impl Column {
    fn new(payloads: outgoing::Payloads, schema: Option<SchemaRef>, rows: usize) -> Result<Self, String> {
        let outgoing::Payloads { form, values } = payloads;
        let (format, values) = match form {
            outgoing::Form::Bytes => (Format::Bytes, Blobs::new(values, rows)?),
            outgoing::Form::Text => (Format::String, Blobs::text(values, rows)?),
            outgoing::Form::Json => (Format::Json, Blobs::text(values, rows)?),
        };
        if schema.is_some() && !matches!(format, Format::Json) {
            return Err("values under a schema are given in the form `json`".to_owned());
        }
        if matches!(format, Format::Json) {
            for row in 0..rows {
                if let Some(Err(why)) = values.get_ref(row).map(check_json) {
                    return Err(format!("row {row} is no JSON: {why}"));
                }
            }
        }
        Ok(Self { format, schema, values })
    }

    /// An error is want of room.
    fn get(&self, row: usize, room: &Room) -> Result<Payload, String> {
        match (self.values.get(row), &self.schema) {
            (None, _) => Ok(Payload::null()),
            (Some(text), Some(schema)) => row_schemas::under(schema, text, room).map_err(|why| format!("row {row}: {why}")),
            (Some(bytes), None) => Ok(Payload::encoded(bytes, self.format.clone())),
        }
    }
}

struct HeaderRows {
    ends: Vec<u32>,
    names: Vec<String>,
    index: Vec<u32>,
    values: Blobs,
    format: Format,
}

impl HeaderRows {
    fn new(headers: columns::HeaderColumns, form: outgoing::Form, rows: usize) -> Result<Self, String> {
        let columns::HeaderColumns { ends, names, index, values } = headers;
        let count = index.len();
        let (format, values) = match form {
            outgoing::Form::Bytes => (Format::Bytes, Blobs::new(values, count)?),
            outgoing::Form::Text => (Format::String, Blobs::text(values, count)?),
            outgoing::Form::Json => return Err("headers are given as bytes or text, not as JSON".to_owned()),
        };
        if !ends.is_empty() || count > 0 {
            if ends.len() != rows {
                return Err(format!("`ends` has {} entries where {rows} are due, or none", ends.len()));
            }
            if ends.windows(2).any(|pair| pair[0] > pair[1]) || ends.last().is_some_and(|last| *last as usize != count) {
                return Err(format!("`ends` must ascend to the number of headers, {count}"));
            }
        }
        if let Some(at) = index.iter().find(|&&at| at as usize >= names.len()) {
            return Err(format!("index {at} is beyond the {} names", names.len()));
        }
        Ok(Self { ends, names, index, values, format })
    }

    fn get(&self, row: usize) -> Headers {
        let Some(&end) = self.ends.get(row) else { return Headers::new() };
        let start = if row == 0 { 0 } else { self.ends[row - 1] };
        let value = |at: usize| {
            self.values.get(at).map_or_else(Payload::null, |bytes: Bytes| Payload::encoded(bytes, self.format.clone()))
        };
        let header = |at: usize| Header { key: self.names[self.index[at] as usize].as_str().into(), value: value(at) };
        (start as usize..end as usize).map(header).collect()
    }
}

/// A guest's word for what to do next.
pub(crate) fn next(next: crate::contract::sources::exports::penstock::connect::source::Next) -> Next {
    use crate::contract::sources::exports::penstock::connect::source::Next as Wit;
    match next {
        Wit::More => Next::More,
        Wit::Wait(ms) => Next::Wait(std::time::Duration::from_millis(ms.into())),
        Wit::Done => Next::Done,
    }
}

fn misuse(function: &str, why: impl fmt::Display) -> wasmtime::Error {
    wasmtime::Error::new(Misuse::of(format!("misused outbox.{function}: {why}")))
}

impl outgoing::Host for State {}

impl outgoing::HostOutbox for State {
    fn add(&mut self, _: Resource<OutboxHandle>, rows: outgoing::Rows) -> wasmtime::Result<()> {
        self.outbox.add(rows, None, None).map_err(|why| misuse("add", why))
    }

    fn declare_schema(&mut self, _: Resource<OutboxHandle>, schema: String) -> wasmtime::Result<u32> {
        self.outbox.schemas.declare(schema).map_err(|why| misuse("declare-schema", why))
    }

    fn add_with_schemas(
        &mut self,
        _: Resource<OutboxHandle>,
        rows: outgoing::Rows,
        keys: Option<u32>,
        values: Option<u32>,
    ) -> wasmtime::Result<()> {
        self.outbox.add(rows, keys, values).map_err(|why| misuse("add-with-schemas", why))
    }

    fn room(&mut self, _: Resource<OutboxHandle>) -> wasmtime::Result<(u32, u64)> {
        Ok(((ROWS_MAX - self.outbox.records.len()) as u32, self.outbox.bytes_left as u64))
    }

    fn commit_transaction(&mut self, _: Resource<OutboxHandle>) -> wasmtime::Result<()> {
        self.outbox.end_transaction(TransactionEnd::Commit);
        Ok(())
    }

    fn abort_transaction(&mut self, _: Resource<OutboxHandle>) -> wasmtime::Result<()> {
        self.outbox.end_transaction(TransactionEnd::Abort);
        Ok(())
    }

    fn drop(&mut self, _: Resource<OutboxHandle>) -> wasmtime::Result<()> {
        Ok(())
    }
}

impl offsets::Host for State {
    async fn stored(&mut self, partitions: Vec<String>) -> wasmtime::Result<Result<Vec<Option<String>>, types::Error>> {
        let Some(context) = self.outbox.context.clone() else {
            return Ok(Err(told(&Error::fatal("offsets can be looked up from `start` on"))));
        };
        let partitions: Vec<SourceMap> = partitions
            .iter()
            .map(|text| map(text))
            .collect::<Result<_, _>>()
            .map_err(|why| wasmtime::Error::new(Misuse::of(format!("misused offsets.stored: {why}"))))?;
        let text = |map: SourceMap| serde_json::Value::Object(map).to_string();
        Ok(match self.watch.clone().wait(context.stored(&partitions)).await {
            Ok(stored) => Ok(stored.into_iter().map(|offset| offset.map(text)).collect()),
            Err(error) => Err(told(&error)),
        })
    }
}

impl reconfigure::Host for State {
    fn ask(&mut self) -> wasmtime::Result<()> {
        self.outbox.context.iter().for_each(SourceContext::request_reconfiguration);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::columns::{BytesColumn, HeaderColumns, NameColumn, S64Column};

    fn column(values: &[&str]) -> BytesColumn {
        let mut end = 0;
        let ends = values.iter().map(|value| {
            end += value.len() as u32;
            end
        });
        BytesColumn { ends: ends.collect(), data: values.concat().into_bytes(), present: Vec::new() }
    }

    fn rows() -> outgoing::Rows {
        let payloads = |values: &[&str]| outgoing::Payloads { form: outgoing::Form::Json, values: column(values) };
        outgoing::Rows {
            topics: NameColumn { names: vec!["t".to_owned()], index: vec![0, 0] },
            partitions: Vec::new(),
            keys: payloads(&["1", "2"]),
            values: payloads(&["{}", "[]"]),
            timestamps: S64Column { values: vec![7, 0], present: vec![0b01] },
            headers: HeaderColumns { ends: vec![0, 1], names: vec!["h".to_owned()], index: vec![0], values: column(&["x"]) },
            header_form: outgoing::Form::Text,
            origins: NameColumn { names: vec![r#"{"file":"a"}"#.to_owned()], index: vec![0, 0] },
            offsets: column(&[r#"{"line":1}"#, r#"{"line":2,"byte":9}"#]),
        }
    }

    #[test]
    fn rows_become_records() {
        let mut outbox = Outbox::new(64 << 20);
        outbox.add(rows(), None, None).unwrap();
        outbox.add(rows(), None, None).unwrap();
        let [first, second, third, _] = &outbox.records[..] else { panic!("{:?}", outbox.records) };
        assert_eq!((first.record.timestamp, second.record.timestamp), (Some(7), None));
        assert_eq!((first.record.headers.len(), &*second.record.headers[0].key), (0, "h"));
        let (one, two) = (first.position.as_ref().unwrap(), second.position.as_ref().unwrap());
        assert_eq!(one.offset, SourceOffset::Count("line".into(), 1));
        assert_eq!(two.offset.to_map().len(), 2);
        assert!(Arc::ptr_eq(&one.partition, &third.position.as_ref().unwrap().partition), "shared from call to call");
    }

    #[test]
    fn values_under_a_schema_are_read_each_by_itself() {
        let mut outbox = Outbox::new(64 << 20);
        let of_keys = outbox.schemas.declare(r#"{"type":"int32"}"#.to_owned()).unwrap();
        let of_values = outbox.schemas.declare(r#"{"type":"struct","fields":[]}"#.to_owned()).unwrap();
        outbox.add(rows(), Some(of_keys), Some(of_values)).unwrap();
        let [first, second] = &outbox.records[..] else { panic!("{:?}", outbox.records) };
        assert_eq!(first.record.key.view().unwrap().value, penstock_api::Value::Int32(1));
        assert!(first.record.value.view().unwrap().schema.is_some());
        assert!(second.record.value.view().unwrap_err().to_string().contains("found ARRAY"), "this row, and no other");
        assert!(second.record.key.view().is_ok());
        let mut check = |form: outgoing::Form, number: u32, expected: &str| {
            let mut rows = rows();
            rows.values.form = form;
            let error = outbox.add(rows, None, Some(number)).unwrap_err();
            assert!(error.contains(expected), "{error} does not say {expected}");
        };
        check(outgoing::Form::Text, of_values, "values: values under a schema are given in the form `json`");
        check(outgoing::Form::Json, 7, "no schema has the number 7");
    }

    #[test]
    fn transactions_end_behind_the_rows_added_so_far() {
        let mut outbox = Outbox::new(64 << 20);
        outbox.add(rows(), None, None).unwrap();
        for end in [TransactionEnd::Commit, TransactionEnd::Abort, TransactionEnd::Commit] {
            outbox.end_transaction(end);
        }
        outbox.add(rows(), None, None).unwrap();
        outbox.end_transaction(TransactionEnd::Abort);
        let expected = [(2, TransactionEnd::Commit), (2, TransactionEnd::Abort), (4, TransactionEnd::Abort)];
        assert_eq!(outbox.boundaries, expected);
        outbox.clear();
        assert!(outbox.boundaries.is_empty(), "of the next call");
    }

    #[test]
    fn columns_that_lie_are_refused() {
        let check = |change: &dyn Fn(&mut outgoing::Rows), expected: &str| {
            let mut rows = rows();
            change(&mut rows);
            let error = Outbox::new(400).add(rows, None, None).unwrap_err();
            assert!(error.contains(expected), "{error} does not say {expected}");
        };
        check(&|rows| rows.topics.index[1] = 9, "topics: index 9 is beyond the 1 names");
        check(&|rows| rows.origins.index.truncate(1), "origins: `index` has 1 entries where 2 are due");
        check(&|rows| rows.origins.names[0] = "[1]".to_owned(), "is no JSON object");
        check(&|rows| rows.origins.names[0] = r#"{"a":{}}"#.to_owned(), "`a` must be a primitive value");
        check(&|rows| rows.offsets = column(&["{}", "nope"]), "offsets: row 1");
        check(&|rows| rows.values.values = column(&["{}", "{"]), "values: row 1 is no JSON");
        check(&|rows| rows.keys.values.ends[1] = 400_000, "keys: the last end offset is 400000");
        check(&|rows| rows.partitions = vec![1], "`partitions` has 1 entries where 2 are due, or none");
        check(&|rows| rows.headers.ends = vec![1, 0], "headers: `ends` must ascend");
        check(&|rows| rows.header_form = outgoing::Form::Json, "not as JSON");
        check(&|rows| rows.values.values = column(&["{}", &format!("{:>200}", "1")]), "there is room for 100 bytes more");
    }
}
