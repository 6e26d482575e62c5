//! What a guest wants changed: checked at once, carried out when its call has returned.

use std::sync::Arc;

use penstock_api::{CompactString, Error, Part};

use super::columns::{Blobs, Values, check_bool, check_f64, check_names, check_s64};
use super::path::Path;
use crate::contract::batches::{Encoding, HeaderForm, NameColumn, S64Column};

/// Copies a call may make, for each row of the batch on average.
const COPIES_PER_ROW_MAX: usize = 64;
/// Failures and changes cost host memory beyond their data.
const CHANGE_BYTES: usize = 256;

pub(super) struct Noted {
    rows: usize,
    may_change: bool,
    pub changes: Vec<Noting>,
    /// What becomes of each row, copies behind the others.
    pub marks: Vec<Mark>,
    /// Of which row each copy is one.
    pub copies: Vec<u32>,
    bytes: usize,
    bytes_max: usize,
}

/// One call of a function that changes, for some rows.
pub(super) struct Noting {
    pub change: Change,
    /// The rows, ascending; `None` for all but copies.
    rows: Option<Vec<u32>>,
    /// How many of `rows` have been passed; they are asked for in order.
    passed: usize,
}

pub(super) enum Change {
    Field { part: Part, path: Arc<Path>, values: Values },
    Payload { part: Part, encoding: Encoding, values: Blobs },
    Topic { names: Vec<Result<Arc<str>, String>>, index: Vec<u32> },
    Timestamp(S64Column),
    Header { name: CompactString, form: HeaderForm, values: Blobs },
}

pub(super) enum Mark {
    Keep,
    Discard,
    Fail(Error),
}

impl Noting {
    /// Which of the values is for this row. Ask for rows in ascending order.
    pub(super) fn at(&mut self, row: usize, rows: usize) -> Option<usize> {
        let Some(list) = &self.rows else { return (row < rows).then_some(row) };
        if list.get(self.passed).is_some_and(|&next| next as usize == row) {
            self.passed += 1;
            return Some(self.passed - 1);
        }
        None
    }
}

impl Noted {
    pub(super) fn new(rows: usize, may_change: bool, bytes_max: usize) -> Self {
        let marks = Vec::new();
        Self { rows, may_change, changes: Vec::new(), marks, copies: Vec::new(), bytes: 0, bytes_max }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.marks.is_empty() && self.copies.is_empty()
    }

    /// Rows and copies.
    pub(super) fn rows(&self) -> usize {
        self.rows + self.copies.len()
    }

    fn note(
        &mut self,
        rows: Option<Vec<u32>>,
        bytes: usize,
        check: impl FnOnce(usize) -> Result<Change, String>,
    ) -> Result<(), String> {
        self.check_may_change()?;
        let count = match &rows {
            None => self.rows,
            Some(list) => {
                self.check_rows(list)?;
                list.len()
            }
        };
        self.spend(CHANGE_BYTES + bytes + rows.as_ref().map_or(0, |list| list.len() * 4))?;
        let change = check(count)?;
        self.changes.push(Noting { change, rows, passed: 0 });
        Ok(())
    }

    pub(super) fn field(&mut self, part: Part, path: Arc<Path>, rows: Option<Vec<u32>>, values: Unchecked) -> Result<(), String> {
        self.note(rows, values.bytes(), |count| Ok(Change::Field { part, path, values: values.check(count)? }))
    }

    pub(super) fn payload(
        &mut self,
        part: Part,
        encoding: Encoding,
        rows: Option<Vec<u32>>,
        values: crate::contract::batches::BytesColumn,
    ) -> Result<(), String> {
        let bytes = values.data.len();
        self.note(rows, bytes, |count| Ok(Change::Payload { part, encoding, values: Blobs::new(values, count)? }))
    }

    pub(super) fn topics(&mut self, rows: Option<Vec<u32>>, topics: NameColumn) -> Result<(), String> {
        let bytes = topics.names.iter().map(String::len).sum::<usize>() + topics.index.len() * 4;
        self.note(rows, bytes, |count| {
            check_names(&topics, count)?;
            let names = topics.names.into_iter().map(|name| check_topic(&name).map(|()| name.into())).collect();
            Ok(Change::Topic { names, index: topics.index })
        })
    }

    pub(super) fn timestamps(&mut self, rows: Option<Vec<u32>>, values: S64Column) -> Result<(), String> {
        self.note(rows, values.values.len() * 8, |count| {
            check_s64(&values, count)?;
            Ok(Change::Timestamp(values))
        })
    }

    pub(super) fn header(
        &mut self,
        name: &str,
        form: HeaderForm,
        rows: Option<Vec<u32>>,
        values: crate::contract::batches::BytesColumn,
    ) -> Result<(), String> {
        let bytes = name.len() + values.data.len();
        self.note(rows, bytes, |count| {
            let values = match form {
                HeaderForm::Bytes => Blobs::new(values, count)?,
                HeaderForm::Text => Blobs::text(values, count)?,
            };
            Ok(Change::Header { name: name.into(), form, values })
        })
    }

    pub(super) fn discard(&mut self, rows: &[u32]) -> Result<(), String> {
        self.check_may_change()?;
        for &row in rows {
            *self.mark(row)? = Mark::Discard;
        }
        Ok(())
    }

    pub(super) fn fail(&mut self, row: u32, error: Error) -> Result<(), String> {
        self.spend(CHANGE_BYTES + error.message().len())?;
        *self.mark(row)? = Mark::Fail(error);
        Ok(())
    }

    pub(super) fn copy(&mut self, rows: Vec<u32>) -> Result<u32, String> {
        self.check_may_change()?;
        if let Some(row) = rows.iter().find(|&&row| row as usize >= self.rows) {
            return Err(format!("row {row} is none of the {} rows", self.rows));
        }
        if self.copies.len() + rows.len() > self.rows * COPIES_PER_ROW_MAX {
            return Err(format!("more than {COPIES_PER_ROW_MAX} copies for each row"));
        }
        let first = self.rows();
        self.copies.extend(rows);
        Ok(first as u32)
    }

    /// Row numbers must be ascending, each once, and in range.
    fn check_rows(&self, rows: &[u32]) -> Result<(), String> {
        if let Some(pair) = rows.windows(2).find(|pair| pair[0] >= pair[1]) {
            return Err(format!("rows are not ascending: {} before {}", pair[0], pair[1]));
        }
        match rows.last() {
            Some(&last) if last as usize >= self.rows() => Err(format!("row {last} is none of the {} rows", self.rows())),
            _ => Ok(()),
        }
    }

    fn mark(&mut self, row: u32) -> Result<&mut Mark, String> {
        let rows = self.rows();
        if row as usize >= rows {
            return Err(format!("row {row} is none of the {rows} rows"));
        }
        if self.marks.len() < rows {
            self.marks.resize_with(rows, || Mark::Keep);
        }
        Ok(&mut self.marks[row as usize])
    }

    fn check_may_change(&self) -> Result<(), String> {
        if self.may_change { Ok(()) } else { Err("predicates and sinks cannot change records".to_owned()) }
    }

    fn spend(&mut self, bytes: usize) -> Result<(), String> {
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes <= self.bytes_max {
            return Ok(());
        }
        Err(format!("the changes of one call take more than the {} MiB an instance may use", self.bytes_max >> 20))
    }
}

/// A column of fields as it came.
pub(super) enum Unchecked {
    Text(crate::contract::batches::BytesColumn),
    Json(crate::contract::batches::BytesColumn),
    S64(S64Column),
    F64(crate::contract::batches::F64Column),
    Bool(crate::contract::batches::BoolColumn),
}

impl Unchecked {
    fn bytes(&self) -> usize {
        match self {
            Unchecked::Text(column) | Unchecked::Json(column) => column.data.len() + column.ends.len() * 4,
            Unchecked::S64(column) => column.values.len() * 8,
            Unchecked::F64(column) => column.values.len() * 8,
            Unchecked::Bool(column) => column.values.len(),
        }
    }

    fn check(self, rows: usize) -> Result<Values, String> {
        Ok(match self {
            Unchecked::Text(column) => Values::Text(Blobs::text(column, rows)?),
            Unchecked::Json(column) => Values::Json(Blobs::new(column, rows)?),
            Unchecked::S64(column) => {
                check_s64(&column, rows)?;
                Values::S64(column)
            }
            Unchecked::F64(column) => {
                check_f64(&column, rows)?;
                Values::F64(column)
            }
            Unchecked::Bool(column) => {
                check_bool(&column, rows)?;
                Values::Bool(column)
            }
        })
    }
}

/// Kafka's rule for topic names.
fn check_topic(name: &str) -> Result<(), String> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    if name.is_empty() || name.len() > 249 || name == "." || name == ".." || !name.bytes().all(allowed) {
        let shown: String = name.chars().take(60).collect();
        return Err(format!("{shown:?} is no topic name: 1 to 249 letters, digits, dots, underscores or hyphens"));
    }
    Ok(())
}
