//! Rows of one table on their way into one Parquet file: a builder for each column, encoded whenever enough rows wait.
//!
//! Parquet's columns are named `c0`, `c1`..: COPY reads them by position in the table's column list, so names that differ
//! in case only, or hold dots and quotes, meet no path syntax.

use std::sync::Arc;

use arrow_array::builder::{BooleanBuilder, Date32Builder, Decimal128Builder, Float64Builder, Int64Builder, StringBuilder};
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::{DataType, Field, Schema};
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterVersion};
use parquet::schema::types::ColumnPath;
use penstock_api::{Error, Result};
use sha2::{Digest, Sha256};

use crate::cells::{Cell, Span};
use crate::names::{Ident, TableName};
use crate::types::ColumnType;

/// Rows that wait in builders before they are encoded: what a row group holds at least.
const ROWS_PER_GROUP: usize = 16_384;
/// Bytes that wait in builders before they are encoded.
const BYTES_PER_GROUP: usize = 8 << 20;

/// A file in the making. All columns have as many cells as there are rows, or fewer: missing ones are null.
pub struct Segment {
    columns: Vec<Column>,
    writer: Option<ArrowWriter<Vec<u8>>>,
    /// Rows in the builders.
    waiting: usize,
    waiting_bytes: usize,
    rows: usize,
}

/// What a file's column is loaded into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    pub name: Ident,
    pub ty: ColumnType,
    /// The table had no such column when the file was begun.
    pub is_new: bool,
}

struct Column {
    target: Target,
    cells: Cells,
}

enum Cells {
    Int(Int64Builder),
    Decimal(Decimal128Builder),
    Float(Float64Builder),
    Bool(BooleanBuilder),
    Date(Date32Builder),
    Text(StringBuilder),
}

/// A finished file.
#[derive(Clone, Debug)]
pub struct File {
    pub targets: Vec<Target>,
    pub rows: usize,
    pub bytes: Bytes,
}

/// The texts that cells may point into.
#[derive(Clone, Copy)]
pub struct Texts<'a> {
    pub input: &'a [u8],
    pub scratch: &'a str,
}

impl Segment {
    /// An empty file of no columns.
    #[must_use]
    pub fn new() -> Self {
        Self { columns: Vec::new(), writer: None, waiting: 0, waiting_bytes: 0, rows: 0 }
    }

    /// Memory in use.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.waiting_bytes + self.writer.as_ref().map_or(0, |w| w.memory_size() + w.inner().len())
    }

    /// The column at an index.
    #[must_use]
    pub fn target(&self, column: usize) -> &Target {
        &self.columns[column].target
    }

    /// How many columns there are.
    #[must_use]
    pub fn width(&self) -> usize {
        self.columns.len()
    }

    /// Whether a column may still be added: nothing is encoded yet.
    #[must_use]
    pub fn is_open_to_columns(&self) -> bool {
        self.writer.is_none()
    }

    /// Adds a column, null in the rows so far, and answers its index.
    ///
    /// # Panics
    /// When the file is no longer open to columns.
    pub fn add_column(&mut self, target: Target) -> usize {
        assert!(self.is_open_to_columns(), "columns come before the first encoded rows");
        self.columns.push(Column { cells: Cells::new(&target.ty), target });
        self.columns.len() - 1
    }

    /// Whether the file must be cut before this cell: a number that needs more than 64 bits, when rows are encoded already.
    #[must_use]
    pub fn needs_cut(&self, column: usize, cell: Cell) -> bool {
        self.writer.is_some() && matches!((&self.columns[column].cells, cell), (Cells::Int(_), Cell::Decimal(_)))
    }

    /// Sets cells of the row that [`end_row`](Self::end_row) completes. Each column at most once.
    pub fn set(&mut self, column: usize, cell: Cell, texts: Texts<'_>) {
        let row = self.waiting;
        let column = &mut self.columns[column];
        column.cells.pad(row);
        if let (Cells::Int(ints), Cell::Decimal(_)) = (&mut column.cells, cell) {
            let widened = widen(ints);
            column.cells = Cells::Decimal(widened);
        }
        self.waiting_bytes += column.cells.append(cell, texts);
    }

    /// Completes a row.
    ///
    /// # Errors
    /// `Fatal` when the encoder refuses.
    pub fn end_row(&mut self) -> Result<()> {
        self.waiting += 1;
        self.rows += 1;
        if self.waiting >= ROWS_PER_GROUP || self.waiting_bytes >= BYTES_PER_GROUP {
            self.encode()?;
        }
        Ok(())
    }

    /// Completes the file; `None` when it has no rows.
    ///
    /// # Errors
    /// `Fatal` when the encoder refuses.
    pub fn finish(mut self) -> Result<Option<File>> {
        if self.rows == 0 {
            return Ok(None);
        }
        self.encode()?;
        let writer = self.writer.take().expect("a file with rows has a writer");
        let bytes = writer.into_inner().map_err(encoder_error)?;
        let targets = self.columns.into_iter().map(|c| c.target).collect();
        Ok(Some(File { targets, rows: self.rows, bytes: bytes.into() }))
    }

    fn encode(&mut self) -> Result<()> {
        let rows = std::mem::take(&mut self.waiting);
        self.waiting_bytes = 0;
        if rows == 0 {
            return Ok(());
        }
        let arrays: Vec<ArrayRef> = self.columns.iter_mut().map(|c| c.cells.finish(rows)).collect();
        let writer = match &mut self.writer {
            Some(writer) => writer,
            empty => {
                let fields: Vec<Field> =
                    arrays.iter().enumerate().map(|(at, a)| Field::new(field_name(at), a.data_type().clone(), true)).collect();
                let properties = properties(&self.columns);
                let writer = ArrowWriter::try_new(Vec::new(), Arc::new(Schema::new(fields)), Some(properties));
                empty.insert(writer.map_err(encoder_error)?)
            }
        };
        // A column that was widened for this group only cannot happen: `needs_cut` came before.
        let batch = RecordBatch::try_new(writer_schema(&arrays), arrays).map_err(|e| encoder_error(e.into()))?;
        writer.write(&batch).map_err(encoder_error)?;
        writer.flush().map_err(encoder_error)
    }
}

impl Default for Segment {
    fn default() -> Self {
        Self::new()
    }
}

impl File {
    /// A digest of table and columns: files of other columns get other names.
    #[must_use]
    pub fn schema_hash(&self, table: &TableName) -> String {
        let mut hash = Sha256::new();
        hash.update(table.to_string());
        for target in &self.targets {
            hash.update(format!("\n{} {:?}", target.name, target.ty));
        }
        hash.finalize()[..6].iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
    }
}

/// The name of a column inside the file.
#[must_use]
pub fn field_name(column: usize) -> String {
    format!("c{column}")
}

fn writer_schema(arrays: &[ArrayRef]) -> Arc<Schema> {
    let fields: Vec<Field> =
        arrays.iter().enumerate().map(|(at, a)| Field::new(field_name(at), a.data_type().clone(), true)).collect();
    Arc::new(Schema::new(fields))
}

/// No dictionaries for JSON text, where each cell differs; no statistics, which COPY does not read.
fn properties(columns: &[Column]) -> WriterProperties {
    let mut properties = WriterProperties::builder()
        .set_writer_version(WriterVersion::PARQUET_1_0)
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1).expect("zstd has a level 1")))
        .set_statistics_enabled(EnabledStatistics::None)
        .set_created_by("penstock".into())
        .set_max_row_group_size(usize::MAX);
    for (at, column) in columns.iter().enumerate() {
        if column.target.ty.is_semi_structured() {
            properties = properties.set_column_dictionary_enabled(ColumnPath::from(field_name(at)), false);
        }
    }
    properties.build()
}

fn encoder_error(error: parquet::errors::ParquetError) -> Error {
    Error::fatal("cannot write a Parquet file").with_source(error)
}

fn widen(ints: &mut Int64Builder) -> Decimal128Builder {
    let ints = ints.finish();
    let mut wide = Decimal128Builder::with_capacity(ints.len() + 1).with_data_type(DataType::Decimal128(38, 0));
    for n in &ints {
        wide.append_option(n.map(i128::from));
    }
    wide
}

impl Cells {
    fn new(ty: &ColumnType) -> Self {
        match ty {
            ColumnType::Number { scale: 0, .. } => Self::Int(Int64Builder::new()),
            ColumnType::Number { precision, scale } => {
                let ty = DataType::Decimal128(*precision, i8::try_from(*scale).unwrap_or(0));
                Self::Decimal(Decimal128Builder::new().with_data_type(ty))
            }
            ColumnType::TimestampNtz | ColumnType::TimestampLtz | ColumnType::TimestampTz => Self::Int(Int64Builder::new()),
            ColumnType::Float => Self::Float(Float64Builder::new()),
            ColumnType::Boolean => Self::Bool(BooleanBuilder::new()),
            ColumnType::Date => Self::Date(Date32Builder::new()),
            ColumnType::Text { .. }
            | ColumnType::Binary { .. }
            | ColumnType::Time
            | ColumnType::Variant
            | ColumnType::Array
            | ColumnType::Object
            | ColumnType::Other(_) => Self::Text(StringBuilder::new()),
        }
    }

    /// Fills up with nulls to that many cells.
    fn pad(&mut self, len: usize) {
        use arrow_array::builder::ArrayBuilder;
        macro_rules! pad {
            ($($kind:ident),*) => {
                match self { $(Self::$kind(cells) => if cells.len() < len { cells.append_nulls(len - cells.len()) }),* }
            };
        }
        pad!(Int, Decimal, Float, Bool, Date, Text);
    }

    /// Appends a cell that was made for this column's type; answers the bytes it takes.
    fn append(&mut self, cell: Cell, texts: Texts<'_>) -> usize {
        match (self, cell) {
            (Self::Int(cells), Cell::Int(n)) => cells.append_value(n),
            (Self::Decimal(cells), Cell::Int(n)) => cells.append_value(n.into()),
            (Self::Decimal(cells), Cell::Decimal(n)) => cells.append_value(n),
            (Self::Float(cells), Cell::Float(x)) => cells.append_value(x),
            (Self::Bool(cells), Cell::Bool(b)) => cells.append_value(b),
            (Self::Date(cells), Cell::Date(days)) => cells.append_value(days),
            (Self::Text(cells), Cell::Input(span)) => return append_text(cells, span, texts.input),
            (Self::Text(cells), Cell::Scratch(span)) => return append_text(cells, span, texts.scratch.as_bytes()),
            (_, cell) => unreachable!("{cell:?} was made for another column"),
        }
        8
    }

    fn finish(&mut self, rows: usize) -> ArrayRef {
        self.pad(rows);
        match self {
            Self::Int(cells) => Arc::new(cells.finish()),
            Self::Decimal(cells) => Arc::new(cells.finish()),
            Self::Float(cells) => Arc::new(cells.finish()),
            Self::Bool(cells) => Arc::new(cells.finish()),
            Self::Date(cells) => Arc::new(cells.finish()),
            Self::Text(cells) => Arc::new(cells.finish()),
        }
    }
}

fn append_text(cells: &mut StringBuilder, span: Span, text: &[u8]) -> usize {
    let part = span.get(text);
    cells.append_value(std::str::from_utf8(part).expect("spans hold text that was checked"));
    part.len() + 4
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{INTEGER, TEXT};
    use arrow_array::cast::AsArray;
    use arrow_array::types::{Decimal128Type, Int64Type};
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

    fn target(name: &str, ty: ColumnType) -> Target {
        Target { name: Ident::verbatim(name), ty, is_new: false }
    }

    fn read(file: File) -> Vec<RecordBatch> {
        ParquetRecordBatchReaderBuilder::try_new(file.bytes).unwrap().build().unwrap().map(Result::unwrap).collect()
    }

    const NO_TEXT: Texts<'_> = Texts { input: b"", scratch: "" };

    #[test]
    fn missing_cells_are_null_and_late_columns_too() {
        let mut segment = Segment::new();
        let a = segment.add_column(target("a", INTEGER));
        segment.set(a, Cell::Int(1), NO_TEXT);
        segment.end_row().unwrap();
        segment.end_row().unwrap();
        let b = segment.add_column(target("b", TEXT));
        segment.set(b, Cell::Input(Span { start: 1, len: 2 }), Texts { input: b"xyz", scratch: "" });
        segment.end_row().unwrap();
        let batches = read(segment.finish().unwrap().unwrap());
        let ints = batches[0].column(0).as_primitive::<Int64Type>();
        assert_eq!(ints.iter().collect::<Vec<_>>(), [Some(1), None, None]);
        let texts = batches[0].column(1).as_string::<i32>();
        assert_eq!(texts.iter().collect::<Vec<_>>(), [None, None, Some("yz")]);
    }

    #[test]
    fn numbers_beyond_64_bits_widen_their_column() {
        let mut segment = Segment::new();
        let a = segment.add_column(target("a", INTEGER));
        segment.set(a, Cell::Int(-1), NO_TEXT);
        segment.end_row().unwrap();
        assert!(!segment.needs_cut(a, Cell::Decimal(1 << 80)));
        segment.set(a, Cell::Decimal(1 << 80), NO_TEXT);
        segment.end_row().unwrap();
        let batches = read(segment.finish().unwrap().unwrap());
        let numbers = batches[0].column(0).as_primitive::<Decimal128Type>();
        assert_eq!(numbers.iter().collect::<Vec<_>>(), [Some(-1), Some(1 << 80)]);
    }

    #[test]
    fn the_same_rows_make_the_same_file() {
        let make = || {
            let mut segment = Segment::new();
            let a = segment.add_column(target("a", INTEGER));
            for n in 0..40_000 {
                segment.set(a, Cell::Int(n), NO_TEXT);
                segment.end_row().unwrap();
            }
            assert!(!segment.is_open_to_columns() && segment.needs_cut(a, Cell::Decimal(1 << 80)));
            segment.finish().unwrap().unwrap()
        };
        assert_eq!(make().bytes, make().bytes);
        assert_eq!(make().rows, 40_000);
    }

    #[test]
    fn no_rows_no_file() {
        assert!(Segment::new().finish().unwrap().is_none());
    }
}
