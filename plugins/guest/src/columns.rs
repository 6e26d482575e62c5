//! Columns: what is read of a batch, and what is set on it.

use crate::wit::batches;

fn is_set(bitmap: &[u8], row: usize) -> bool {
    bitmap[row / 8] & (1 << (row % 8)) != 0
}

fn is_present(present: &[u8], row: usize) -> bool {
    present.is_empty() || is_set(present, row)
}

/// Byte strings, one for each row.
#[derive(Debug)]
pub struct Blobs(pub(crate) batches::BytesColumn);

impl Blobs {
    /// How many rows there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.ends.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.ends.is_empty()
    }

    /// The value of a row.
    ///
    /// # Panics
    /// When there is no such row.
    #[must_use]
    pub fn get(&self, row: usize) -> Option<&[u8]> {
        let start = if row == 0 { 0 } else { self.0.ends[row - 1] as usize };
        is_present(&self.0.present, row).then(|| &self.0.data[start..self.0.ends[row] as usize])
    }

    /// The values of all rows.
    pub fn iter(&self) -> impl Iterator<Item = Option<&[u8]>> {
        (0..self.len()).map(|row| self.get(row))
    }
}

/// Texts, one for each row.
#[derive(Debug)]
pub struct Texts(pub(crate) Blobs);

impl Texts {
    /// How many rows there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The text of a row; `None` where there is none.
    ///
    /// # Panics
    /// When there is no such row.
    #[must_use]
    pub fn get(&self, row: usize) -> Option<&str> {
        self.0.get(row).map(|text| std::str::from_utf8(text).expect("the worker gives texts in UTF-8"))
    }

    /// The texts of all rows.
    pub fn iter(&self) -> impl Iterator<Item = Option<&str>> {
        (0..self.len()).map(|row| self.get(row))
    }
}

/// Numbers or truth values, one for each row.
#[derive(Debug)]
pub struct Scalars<T> {
    values: Vec<T>,
    present: Vec<u8>,
}

impl<T: Copy> Scalars<T> {
    pub(crate) fn new(values: Vec<T>, present: Vec<u8>) -> Self {
        Self { values, present }
    }

    /// How many rows there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The value of a row; `None` where there is none.
    ///
    /// # Panics
    /// When there is no such row.
    #[must_use]
    pub fn get(&self, row: usize) -> Option<T> {
        is_present(&self.present, row).then(|| self.values[row])
    }

    /// The values of all rows.
    pub fn iter(&self) -> impl Iterator<Item = Option<T>> {
        (0..self.len()).map(|row| self.get(row))
    }
}

impl Scalars<bool> {
    pub(crate) fn from_bits(column: batches::BoolColumn, rows: usize) -> Self {
        Self { values: (0..rows).map(|row| is_set(&column.values, row)).collect(), present: column.present }
    }
}

/// Names that repeat, one for each row.
#[derive(Debug)]
pub struct Names(pub(crate) batches::NameColumn);

impl Names {
    /// Each name once.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.0.names
    }

    /// For each row, which of [`names`](Self::names) it has.
    #[must_use]
    pub fn index(&self) -> &[u32] {
        &self.0.index
    }

    /// The name of a row.
    ///
    /// # Panics
    /// When there is no such row.
    #[must_use]
    pub fn get(&self, row: usize) -> &str {
        &self.0.names[self.0.index[row] as usize]
    }
}

/// The headers of all rows.
#[derive(Debug)]
pub struct HeaderColumns(pub(crate) batches::HeaderColumns);

impl HeaderColumns {
    /// The headers of a row, in order: name and bytes.
    ///
    /// # Panics
    /// When there is no such row.
    pub fn get(&self, row: usize) -> impl Iterator<Item = (&str, Option<&[u8]>)> {
        let start = if row == 0 { 0 } else { self.0.ends[row - 1] as usize };
        (start..self.0.ends[row] as usize).map(|at| {
            let values = &self.0.values;
            let begin = if at == 0 { 0 } else { values.ends[at - 1] as usize };
            let value = is_present(&values.present, at).then(|| &values.data[begin..values.ends[at] as usize]);
            (self.0.names[self.0.index[at] as usize].as_str(), value)
        })
    }
}

/// One bit for each change.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bits {
    bytes: Vec<u8>,
    len: usize,
    has_gaps: bool,
}

impl Bits {
    pub(crate) fn push(&mut self, bit: bool) {
        if self.len.is_multiple_of(8) {
            self.bytes.push(0);
        }
        self.bytes[self.len / 8] |= u8::from(bit) << (self.len % 8);
        self.len += 1;
        self.has_gaps |= !bit;
    }

    /// As a column says which rows have a value: nothing when all have.
    pub(crate) fn into_present(self) -> Vec<u8> {
        if self.has_gaps { self.bytes } else { Vec::new() }
    }
}

/// Which rows are changed, in ascending order.
#[derive(Clone, Debug, Default)]
struct Rows(Vec<u32>);

impl Rows {
    fn push(&mut self, row: usize) {
        let row = u32::try_from(row).expect("a batch has fewer than 2^32 rows");
        assert!(self.0.last().is_none_or(|last| *last < row), "rows are changed in ascending order, each once; this is {row}");
        self.0.push(row);
    }

    /// `None` says that all of so many rows are changed.
    fn for_batch(&self, rows: usize) -> Option<&[u32]> {
        let all = self.0.len() == rows && self.0.last().is_none_or(|last| *last as usize == rows - 1);
        (!all).then_some(&self.0[..])
    }
}

/// New byte strings for some rows, in ascending order of rows.
#[derive(Clone, Debug)]
pub struct BlobEdits {
    rows: Rows,
    column: batches::BytesColumn,
    present: Bits,
}

impl Default for BlobEdits {
    fn default() -> Self {
        let column = batches::BytesColumn { data: Vec::new(), ends: Vec::new(), present: Vec::new() };
        Self { rows: Rows::default(), column, present: Bits::default() }
    }
}

impl BlobEdits {
    /// No changes yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The row gets this value.
    ///
    /// # Panics
    /// When a row comes out of order.
    pub fn set(&mut self, row: usize, value: &[u8]) {
        self.column.data.extend_from_slice(value);
        self.end(row, true);
    }

    /// The row gets what `write` appends.
    ///
    /// # Panics
    /// When a row comes out of order.
    pub fn write<R>(&mut self, row: usize, write: impl FnOnce(&mut Vec<u8>) -> R) -> R {
        let result = write(&mut self.column.data);
        self.end(row, true);
        result
    }

    /// The row becomes null.
    ///
    /// # Panics
    /// When a row comes out of order.
    pub fn set_null(&mut self, row: usize) {
        self.end(row, false);
    }

    /// Whether no row is changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.0.is_empty()
    }

    /// Whether the row was the last one changed.
    pub(crate) fn ends_with(&self, row: usize) -> bool {
        self.rows.0.last().is_some_and(|last| *last as usize == row)
    }

    fn end(&mut self, row: usize, present: bool) {
        self.rows.push(row);
        self.column.ends.push(u32::try_from(self.column.data.len()).expect("a component has less than 4 GiB of memory"));
        self.present.push(present);
    }

    pub(crate) fn cross(&self, rows: usize, cross: impl FnOnce(Option<&[u32]>, &batches::BytesColumn)) {
        if !self.is_empty() {
            let column = batches::BytesColumn { present: self.present.bytes.clone(), ..self.column.clone() };
            cross(self.rows.for_batch(rows), &column);
        }
    }
}

/// New texts for some rows, in ascending order of rows.
#[derive(Clone, Debug, Default)]
pub struct TextEdits(pub(crate) BlobEdits);

impl TextEdits {
    /// No changes yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The row gets this text.
    ///
    /// # Panics
    /// When a row comes out of order.
    pub fn set(&mut self, row: usize, text: &str) {
        self.0.set(row, text.as_bytes());
    }

    /// The row becomes null.
    ///
    /// # Panics
    /// When a row comes out of order.
    pub fn set_null(&mut self, row: usize) {
        self.0.set_null(row);
    }
}

/// New numbers or truth values for some rows, in ascending order of rows.
#[derive(Clone, Debug)]
pub struct Edits<T> {
    rows: Rows,
    values: Vec<T>,
    present: Bits,
}

impl<T> Default for Edits<T> {
    fn default() -> Self {
        Self { rows: Rows::default(), values: Vec::new(), present: Bits::default() }
    }
}

impl<T: Copy + Default> Edits<T> {
    /// No changes yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The row gets this value.
    ///
    /// # Panics
    /// When a row comes out of order.
    pub fn set(&mut self, row: usize, value: T) {
        self.rows.push(row);
        self.values.push(value);
        self.present.push(true);
    }

    /// The row becomes null.
    ///
    /// # Panics
    /// When a row comes out of order.
    pub fn set_null(&mut self, row: usize) {
        self.rows.push(row);
        self.values.push(T::default());
        self.present.push(false);
    }

    /// Whether no row is changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.0.is_empty()
    }
}

impl Edits<i64> {
    pub(crate) fn cross(&self, rows: usize, cross: impl FnOnce(Option<&[u32]>, &batches::S64Column)) {
        if !self.is_empty() {
            let column = batches::S64Column { values: self.values.clone(), present: self.present.bytes.clone() };
            cross(self.rows.for_batch(rows), &column);
        }
    }
}

impl Edits<f64> {
    pub(crate) fn cross(&self, rows: usize, cross: impl FnOnce(Option<&[u32]>, &batches::F64Column)) {
        if !self.is_empty() {
            let column = batches::F64Column { values: self.values.clone(), present: self.present.bytes.clone() };
            cross(self.rows.for_batch(rows), &column);
        }
    }
}

impl Edits<bool> {
    pub(crate) fn cross(&self, rows: usize, cross: impl FnOnce(Option<&[u32]>, &batches::BoolColumn)) {
        if !self.is_empty() {
            let mut bits = Bits::default();
            self.values.iter().for_each(|value| bits.push(*value));
            let column = batches::BoolColumn { values: bits.bytes, present: self.present.bytes.clone() };
            cross(self.rows.for_batch(rows), &column);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_of_all_rows_need_no_numbers() {
        let mut edits = Edits::<i64>::new();
        edits.set(0, 7);
        edits.set_null(1);
        edits.cross(2, |rows, column| {
            assert_eq!((rows, &column.values[..], &column.present[..]), (None, &[7, 0][..], &[0b01][..]));
        });
        edits.cross(3, |rows, _| assert_eq!(rows, Some(&[0, 1][..])));
        Edits::<bool>::new().cross(3, |_, _| panic!("nothing to cross"));
    }

    #[test]
    fn blobs_read_what_edits_wrote() {
        let mut edits = BlobEdits::new();
        edits.set(0, b"ab");
        edits.set_null(1);
        edits.write(2, |out| out.push(b'c'));
        edits.cross(3, |rows, column| {
            assert_eq!(rows, None);
            let blobs = Blobs(column.clone());
            assert_eq!(blobs.iter().collect::<Vec<_>>(), [Some(&b"ab"[..]), None, Some(b"c")]);
        });
    }

    #[test]
    #[should_panic(expected = "ascending")]
    fn rows_out_of_order_are_told_at_once() {
        let mut edits = TextEdits::new();
        edits.set(1, "a");
        edits.set(0, "b");
    }
}
