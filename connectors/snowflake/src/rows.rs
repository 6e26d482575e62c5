//! Records into rows of one table: metadata, and content in one column or one for each field.
//!
//! A row is decided completely before its first cell is set, so a record that does not fit leaves nothing behind. JSON that
//! nobody has decoded is read in one scan of its top level; nested values and plain text are copied as they are.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use compact_str::CompactString;
use penstock_api::payload::Format;
use penstock_api::value::Value;
use penstock_api::{Error, Payload, Result, SinkRecord, compact_str};

use crate::cells::{self, Cell, Span};
use crate::config::Config;
use crate::json;
use crate::metadata;
use crate::names::{Ident, column_for_field};
use crate::segment::{File, Segment, Target, Texts};
use crate::table::{CONTENT, METADATA, Table};
use crate::types::{self, ColumnType};

/// Rows of one table from one partition, as one or more files.
pub struct TableRows {
    pub table: Arc<Table>,
    /// Columns whose NOT NULL stands in the way, to be dropped before loading.
    pub drop_not_null: BTreeSet<Ident>,
    segment: Segment,
    fields: Fields,
    /// The first and last offset in the segment.
    range: Option<(i64, i64)>,
    files: Vec<PlacedFile>,
}

/// A finished file with the offsets it covers.
#[derive(Clone, Debug)]
pub struct PlacedFile {
    pub first: i64,
    pub last: i64,
    pub file: File,
}

/// Room for the row that is being made; one for a task, used again for each record.
#[derive(Default)]
pub struct Scratch {
    text: String,
    cells: Vec<(usize, Cell)>,
    new: Vec<(Field, Target)>,
    /// When rows are made: `SnowflakeConnectorPushTime`.
    pub now_ms: i64,
}

type Field = CompactString;

/// Which column each field goes to, in the running segment.
#[derive(Default)]
struct Fields {
    columns: HashMap<Field, usize>,
    /// The fields of the row before, in order: mostly the next row's, too.
    order: Vec<(Field, usize)>,
    by_name: HashMap<Ident, usize>,
    /// For each column, the last row that set it.
    set_by: Vec<u64>,
    row: u64,
}

/// Why a row was not made.
enum Stop {
    /// The record does not fit.
    Data(Error),
    /// The row needs columns that the running file can no longer get.
    Cut,
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Stop::Data(error)
    }
}

impl TableRows {
    /// No rows yet.
    #[must_use]
    pub fn new(table: Arc<Table>) -> Self {
        Self {
            table,
            drop_not_null: BTreeSet::new(),
            segment: Segment::new(),
            fields: Fields::default(),
            range: None,
            files: Vec::new(),
        }
    }

    /// Bytes of memory in use.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.segment.memory() + self.files.iter().map(|f| f.file.bytes.len()).sum::<usize>()
    }

    /// Adds the record as a row; answers the bytes it takes before compression.
    ///
    /// # Errors
    /// `Data` when the record does not fit: nothing was added. `Fatal` when the encoder refuses.
    pub fn add(&mut self, record: &SinkRecord, config: &Config, scratch: &mut Scratch) -> Result<usize> {
        match self.make(record, config, scratch) {
            Ok(()) => {}
            Err(Stop::Data(error)) => return Err(error),
            Err(Stop::Cut) => {
                self.cut()?;
                match self.make(record, config, scratch) {
                    Ok(()) => {}
                    Err(Stop::Data(error)) => return Err(error),
                    Err(Stop::Cut) => return Err(Error::fatal("an empty file cannot take a row's columns")),
                }
            }
        }
        self.commit(record, scratch)
    }

    /// The finished files.
    ///
    /// # Errors
    /// `Fatal` when the encoder refuses.
    pub fn finish(mut self) -> Result<(Arc<Table>, BTreeSet<Ident>, Vec<PlacedFile>)> {
        self.cut()?;
        Ok((self.table, self.drop_not_null, self.files))
    }

    fn cut(&mut self) -> Result<()> {
        let segment = std::mem::take(&mut self.segment);
        self.fields = Fields { row: self.fields.row, ..Fields::default() };
        if let (Some(file), Some((first, last))) = (segment.finish()?, self.range.take()) {
            self.files.push(PlacedFile { first, last, file });
        }
        Ok(())
    }

    /// Decides all cells of the row; changes nothing that a failure would have to undo.
    fn make(&mut self, record: &SinkRecord, config: &Config, scratch: &mut Scratch) -> Result<(), Stop> {
        scratch.text.clear();
        scratch.cells.clear();
        scratch.new.clear();
        self.fields.row += 1;
        self.fields.set_by.truncate(self.segment.width());
        if config.metadata.all {
            let cell = cells::scratched(&mut scratch.text, |out| metadata::write(record, &config.metadata, scratch.now_ms, out));
            self.put_special(METADATA, cell, scratch);
        }
        let value = &record.record.value;
        if !value.is_null() {
            if config.schematize {
                self.make_fields(value, config, scratch)?;
            } else {
                let cell = content(value, scratch)?;
                self.put_special(CONTENT, cell, scratch);
            }
        }
        self.check_required(scratch)?;
        let open = self.segment.is_open_to_columns();
        let width = self.segment.width();
        let wants_cut = |&(column, cell): &(usize, Cell)| column < width && self.segment.needs_cut(column, cell);
        if (!open && !scratch.new.is_empty()) || scratch.cells.iter().any(wants_cut) {
            return Err(Stop::Cut);
        }
        Ok(())
    }

    fn make_fields(&mut self, value: &Payload, config: &Config, scratch: &mut Scratch) -> Result<(), Stop> {
        if let Some(input) = json_bytes(value) {
            if input.trim_ascii_start().first() != Some(&b'{') {
                return Err(no_object("a JSON value that is no object").into());
            }
            for (at, field) in sonic_rs::to_object_iter(&input[..]).enumerate() {
                let (name, raw) = field.map_err(|e| Error::data(format!("value is not valid JSON: {e}")))?;
                let raw = raw.as_raw_cow();
                self.put_field(
                    at,
                    &name,
                    config,
                    scratch,
                    || types::for_json(&raw),
                    |ty, text| cells::from_json(ty, &raw, input, text),
                )?;
            }
            return Ok(());
        }
        let decoded = value.view()?;
        match &decoded.value {
            Value::Struct(record) => {
                for (at, (field, value)) in record.schema().fields.iter().zip(record.values()).enumerate() {
                    let value = json::or_default(value, field.schema.default.as_ref());
                    let ty = || Some(types::for_schema(&field.schema));
                    self.put_field(at, &field.name, config, scratch, ty, |ty, text| cells::from_value(ty, value, text))?;
                }
            }
            Value::Map(map) => {
                for (at, (key, value)) in map.entries().iter().enumerate() {
                    let name = json::plain(key);
                    let schema = decoded.schema.as_ref().and_then(|s| s.value.clone());
                    let ty = || schema.as_ref().map_or_else(|| types::for_value(value), |s| Some(types::for_schema(s)));
                    self.put_field(at, &name, config, scratch, ty, |ty, text| cells::from_value(ty, value, text))?;
                }
            }
            other => return Err(no_object(other.java_class()).into()),
        }
        Ok(())
    }

    /// Decides the cell of one field.
    fn put_field(
        &mut self,
        at: usize,
        name: &str,
        config: &Config,
        scratch: &mut Scratch,
        ty_if_new: impl FnOnce() -> Option<ColumnType>,
        cell: impl FnOnce(&ColumnType, &mut String) -> Result<Option<Cell>, String>,
    ) -> Result<(), Stop> {
        let column = match self.fields.column(at, name) {
            Some(column) => column,
            None => match self.column_for_new_field(name, config, scratch, ty_if_new)? {
                Some(column) => column,
                None => return Ok(()),
            },
        };
        let width = self.segment.width();
        let ty = if column < width { &self.segment.target(column).ty } else { &scratch.new[column - width].1.ty };
        let cell = cell(ty, &mut scratch.text).map_err(|why| {
            let target = if column < width { self.segment.target(column) } else { &scratch.new[column - width].1 };
            let hint =
                format!("field `{name}` does not fit column {} {} of table {}", target.name, target.ty.ddl(), self.table.name);
            Error::data(format!("{hint}: {why}"))
        })?;
        self.put(column, cell, scratch);
        Ok(())
    }

    /// Finds or plans the column for a field that this file has not met. `None`: there is nothing to store.
    fn column_for_new_field(
        &mut self,
        name: &str,
        config: &Config,
        scratch: &mut Scratch,
        ty_if_new: impl FnOnce() -> Option<ColumnType>,
    ) -> Result<Option<usize>, Stop> {
        let ident = column_for_field(name, config.normalize_columns);
        let width = self.segment.width();
        if let Some(&column) = self.fields.by_name.get(&ident) {
            self.fields.columns.insert(name.into(), column);
            return Ok(Some(column));
        }
        if let Some(at) = scratch.new.iter().position(|(_, target)| target.name == ident) {
            return Ok(Some(width + at));
        }
        let target = match self.table.column(&ident) {
            Some(column) => Target { name: ident, ty: column.ty.clone(), is_new: false },
            None => {
                let Some(ty) = ty_if_new() else { return Ok(None) };
                if !self.table.evolves {
                    return Err(Error::data(format!(
                        "field `{name}` has no column in table {}, and the table does not evolve (ENABLE_SCHEMA_EVOLUTION is off, \
                         or `penstock.snowflake.schema.evolution` forbids it)",
                        self.table.name
                    ))
                    .into());
                }
                Target { name: ident, ty, is_new: true }
            }
        };
        scratch.new.push((name.into(), target));
        Ok(Some(width + scratch.new.len() - 1))
    }

    fn put_special(&mut self, name: &'static str, cell: Cell, scratch: &mut Scratch) {
        let ident = Ident::verbatim(name);
        let column = match self.fields.by_name.get(&ident) {
            Some(&column) => column,
            None => {
                let is_new = self.table.column(&ident).is_none();
                scratch.new.push((Field::default(), Target { name: ident, ty: ColumnType::Variant, is_new }));
                self.segment.width() + scratch.new.len() - 1
            }
        };
        self.put(column, Some(cell), scratch);
    }

    /// Notes a cell; of equal keys the last one wins.
    fn put(&mut self, column: usize, cell: Option<Cell>, scratch: &mut Scratch) {
        let set_by = &mut self.fields.set_by;
        if set_by.len() <= column {
            set_by.resize(column + 1, 0);
        }
        if set_by[column] == self.fields.row {
            scratch.cells.retain(|(other, _)| *other != column);
        }
        set_by[column] = self.fields.row;
        if let Some(cell) = cell {
            scratch.cells.push((column, cell));
        }
    }

    /// Rows without a value for a required column fail, or the requirement falls where the table evolves.
    fn check_required(&mut self, scratch: &Scratch) -> Result<(), Stop> {
        for column in self.table.columns.iter().filter(|c| c.required) {
            if self.drop_not_null.contains(&column.name) {
                continue;
            }
            let at = self.fields.by_name.get(&column.name).copied().or_else(|| {
                let planned = scratch.new.iter().position(|(_, target)| target.name == column.name)?;
                Some(self.segment.width() + planned)
            });
            if at.is_some_and(|at| scratch.cells.iter().any(|(set, _)| *set == at)) {
                continue;
            }
            if !self.table.evolves {
                let message = format!("no value for column {} of table {}, which is NOT NULL", column.name, self.table.name);
                return Err(Error::data(message).into());
            }
            self.drop_not_null.insert(column.name.clone());
        }
        Ok(())
    }

    /// Sets the cells that were decided.
    fn commit(&mut self, record: &SinkRecord, scratch: &mut Scratch) -> Result<usize> {
        for (field, target) in scratch.new.drain(..) {
            let name = target.name.clone();
            let column = self.segment.add_column(target);
            self.fields.by_name.insert(name, column);
            if !field.is_empty() {
                self.fields.columns.insert(field, column);
            }
        }
        if self.segment.width() == 0 {
            // A row without any value, e.g. `{}` without metadata: a file needs a column to count it.
            let column = self.table.columns.first().ok_or_else(|| Error::fatal("a table without columns"))?;
            let target = Target { name: column.name.clone(), ty: column.ty.clone(), is_new: false };
            let at = self.segment.add_column(target);
            self.fields.by_name.insert(column.name.clone(), at);
        }
        let empty = Bytes::new();
        let input = json_bytes(&record.record.value).unwrap_or(&empty);
        let texts = Texts { input, scratch: &scratch.text };
        let mut bytes = 0;
        for &(column, cell) in &scratch.cells {
            bytes += match cell {
                Cell::Input(span) | Cell::Scratch(span) => span.len as usize + 4,
                _ => 8,
            };
            self.segment.set(column, cell, texts);
        }
        self.segment.end_row()?;
        let offset = record.origin.offset;
        let first = self.range.map_or(offset, |(first, _)| first);
        self.range = Some((first, offset));
        Ok(bytes)
    }
}

impl Fields {
    /// The column of a field that was met before; `at` is its place in the record.
    fn column(&mut self, at: usize, name: &str) -> Option<usize> {
        if let Some((_, column)) = self.order.get(at).filter(|(known, _)| known == name) {
            return Some(*column);
        }
        let column = *self.columns.get(name)?;
        let entry = (Field::from(name), column);
        if at < self.order.len() {
            self.order[at] = entry;
        } else if at == self.order.len() {
            self.order.push(entry);
        }
        Some(column)
    }
}

/// The bytes of a JSON value that nobody has changed.
fn json_bytes(value: &Payload) -> Option<&Bytes> {
    value.wire().filter(|wire| matches!(wire.format, Format::Json)).map(|wire| &wire.bytes)
}

/// All of a value as JSON: the wire's own bytes where they are JSON.
fn content(value: &Payload, scratch: &mut Scratch) -> Result<Cell> {
    let too_large = |why: String| Error::data(format!("value does not fit column {CONTENT}: {why}"));
    if let Some(input) = json_bytes(value) {
        cells::check_variant(input.len()).map_err(too_large)?;
        return Ok(Cell::Input(Span { start: 0, len: input.len() as u32 }));
    }
    let decoded = value.view()?;
    let cell = cells::scratched(&mut scratch.text, |out| json::write(&decoded.value, out));
    if let Cell::Scratch(span) = cell {
        cells::check_variant(span.len as usize).map_err(too_large)?;
    }
    Ok(cell)
}

fn no_object(what: &str) -> Error {
    Error::data(format!(
        "value is {what}: a column for each field needs an object (or set `snowflake.enable.schematization=false`)"
    ))
}
