//! Columns as they cross: built for the guest, and checked when they come from it.

use bytes::Bytes;

use crate::contract::batches::{BoolColumn, BytesColumn, F64Column, NameColumn, S64Column};

/// One bit for each row, from the lowest of each byte.
#[derive(Debug, Default)]
pub(crate) struct Bitmap {
    bytes: Vec<u8>,
    len: usize,
    set: usize,
}

impl Bitmap {
    pub(crate) fn with_capacity(rows: usize) -> Self {
        Self { bytes: Vec::with_capacity(rows.div_ceil(8)), len: 0, set: 0 }
    }

    pub(crate) fn push(&mut self, bit: bool) {
        if self.len.is_multiple_of(8) {
            self.bytes.push(0);
        }
        self.bytes[self.len / 8] |= u8::from(bit) << (self.len % 8);
        self.len += 1;
        self.set += usize::from(bit);
    }

    /// The bitmap, or nothing when all bits are set.
    fn into_present(self) -> Vec<u8> {
        if self.set == self.len { Vec::new() } else { self.bytes }
    }
}

/// Whether a row's bit is set; an empty bitmap means all.
pub(crate) fn is_present(present: &[u8], row: usize) -> bool {
    present.is_empty() || is_set(present, row)
}

/// Whether a row's bit is set.
pub(crate) fn is_set(bitmap: &[u8], row: usize) -> bool {
    bitmap[row / 8] & (1 << (row % 8)) != 0
}

/// Builds a column of bytes.
#[derive(Debug)]
pub(crate) struct BytesBuilder {
    pub data: Vec<u8>,
    ends: Vec<u32>,
    present: Bitmap,
}

/// A column for the guest grew beyond what it can address.
#[derive(Debug)]
pub(crate) struct TooLong;

impl BytesBuilder {
    pub(crate) fn with_capacity(rows: usize, bytes: usize) -> Self {
        Self { data: Vec::with_capacity(bytes), ends: Vec::with_capacity(rows), present: Bitmap::with_capacity(rows) }
    }

    pub(crate) fn push(&mut self, value: Option<&[u8]>) {
        self.data.extend_from_slice(value.unwrap_or_default());
        self.end(value.is_some());
    }

    /// Ends a value that the caller has appended to `data`.
    pub(crate) fn end(&mut self, present: bool) {
        self.ends.push(u32::try_from(self.data.len()).unwrap_or(u32::MAX));
        self.present.push(present);
    }

    pub(crate) fn finish(self) -> Result<BytesColumn, TooLong> {
        if self.data.len() >= u32::MAX as usize {
            return Err(TooLong);
        }
        Ok(BytesColumn { data: self.data, ends: self.ends, present: self.present.into_present() })
    }
}

/// Builds a column of numbers from what is there for each row.
pub(crate) fn numbers<N: Default>(rows: usize, values: impl Iterator<Item = Option<N>>) -> (Vec<N>, Vec<u8>) {
    let mut numbers = Vec::with_capacity(rows);
    let mut present = Bitmap::with_capacity(rows);
    for value in values {
        present.push(value.is_some());
        numbers.push(value.unwrap_or_default());
    }
    (numbers, present.into_present())
}

/// Builds a column of truth values.
pub(crate) fn booleans(rows: usize, values: impl Iterator<Item = Option<bool>>) -> BoolColumn {
    let mut bits = Bitmap::with_capacity(rows);
    let mut present = Bitmap::with_capacity(rows);
    for value in values {
        present.push(value.is_some());
        bits.push(value.unwrap_or_default());
    }
    BoolColumn { values: bits.bytes, present: present.into_present() }
}

/// Field values from a guest, checked: one for each of the rows they are for.
#[derive(Debug)]
pub(crate) enum Values {
    Text(Blobs),
    S64(S64Column),
    F64(F64Column),
    Bool(BoolColumn),
    Json(Blobs),
}

/// Byte strings from a guest, checked.
#[derive(Debug)]
pub(crate) struct Blobs {
    data: Bytes,
    ends: Vec<u32>,
    present: Vec<u8>,
}

impl Blobs {
    /// Checks end offsets and presence marks for so many rows.
    pub(crate) fn new(column: BytesColumn, rows: usize) -> Result<Self, String> {
        let BytesColumn { data, ends, present } = column;
        check_len("ends", ends.len(), rows)?;
        check_bitmap("present", &present, rows)?;
        let mut before = 0;
        for &end in &ends {
            if end < before {
                return Err(format!("an end offset descends from {before} to {end}"));
            }
            before = end;
        }
        if before as usize != data.len() {
            return Err(format!("the last end offset is {before}, but there are {} bytes of data", data.len()));
        }
        Ok(Self { data: data.into(), ends, present })
    }

    /// The same for text: each value must be UTF-8.
    pub(crate) fn text(column: BytesColumn, rows: usize) -> Result<Self, String> {
        let blobs = Self::new(column, rows)?;
        let text = std::str::from_utf8(&blobs.data).map_err(|e| format!("text is not UTF-8: {e}"))?;
        match blobs.ends.iter().find(|&&end| !text.is_char_boundary(end as usize)) {
            Some(end) => Err(format!("text is not UTF-8: offset {end} lies within a character")),
            None => Ok(blobs),
        }
    }

    /// The `at`th value; `None` when it is absent.
    pub(crate) fn get(&self, at: usize) -> Option<Bytes> {
        is_present(&self.present, at).then(|| {
            let start = if at == 0 { 0 } else { self.ends[at - 1] as usize };
            self.data.slice(start..self.ends[at] as usize)
        })
    }

    /// The `at`th value, borrowed.
    pub(crate) fn get_ref(&self, at: usize) -> Option<&[u8]> {
        is_present(&self.present, at).then(|| {
            let start = if at == 0 { 0 } else { self.ends[at - 1] as usize };
            &self.data[start..self.ends[at] as usize]
        })
    }
}

/// Checks a column of integers for so many rows.
pub(crate) fn check_s64(column: &S64Column, rows: usize) -> Result<(), String> {
    check_len("values", column.values.len(), rows)?;
    check_bitmap("present", &column.present, rows)
}

/// Checks a column of floats for so many rows.
pub(crate) fn check_f64(column: &F64Column, rows: usize) -> Result<(), String> {
    check_len("values", column.values.len(), rows)?;
    check_bitmap("present", &column.present, rows)
}

/// Checks a column of truth values for so many rows.
pub(crate) fn check_bool(column: &BoolColumn, rows: usize) -> Result<(), String> {
    check_len("values", column.values.len(), rows.div_ceil(8))?;
    check_bitmap("present", &column.present, rows)
}

/// Checks a column of names for so many rows.
pub(crate) fn check_names(column: &NameColumn, rows: usize) -> Result<(), String> {
    check_len("index", column.index.len(), rows)?;
    match column.index.iter().find(|&&at| at as usize >= column.names.len()) {
        Some(at) => Err(format!("index {at} is beyond the {} names", column.names.len())),
        None => Ok(()),
    }
}

fn check_len(what: &str, len: usize, rows: usize) -> Result<(), String> {
    if len == rows { Ok(()) } else { Err(format!("`{what}` has {len} entries where {rows} are due")) }
}

fn check_bitmap(what: &str, bitmap: &[u8], rows: usize) -> Result<(), String> {
    if bitmap.is_empty() { Ok(()) } else { check_len(what, bitmap.len(), rows.div_ceil(8)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blobs(data: &[u8], ends: &[u32], present: &[u8], rows: usize) -> Result<Blobs, String> {
        Blobs::text(BytesColumn { data: data.to_vec(), ends: ends.to_vec(), present: present.to_vec() }, rows)
    }

    #[test]
    fn what_goes_out_comes_back() {
        let mut builder = BytesBuilder::with_capacity(3, 8);
        builder.push(Some(b"ab"));
        builder.push(None);
        builder.push(Some(b""));
        let column = builder.finish().unwrap();
        assert_eq!(column.present, [0b101]);
        let blobs = Blobs::text(column, 3).unwrap();
        assert_eq!((blobs.get_ref(0), blobs.get_ref(1), blobs.get_ref(2)), (Some(&b"ab"[..]), None, Some(&b""[..])));
    }

    #[test]
    fn columns_that_lie_are_refused() {
        for (data, ends, present, rows, expected) in [
            (&b"ab"[..], &[1][..], &[][..], 1, "the last end offset is 1, but there are 2 bytes of data"),
            (b"ab", &[3], &[], 1, "the last end offset is 3, but there are 2 bytes of data"),
            (b"ab", &[2, 1], &[], 2, "an end offset descends from 2 to 1"),
            (b"ab", &[2], &[], 2, "`ends` has 1 entries where 2 are due"),
            (b"ab", &[2], &[1, 1], 1, "`present` has 2 entries where 1 are due"),
            ("ä".as_bytes(), &[1, 2], &[], 2, "text is not UTF-8: offset 1 lies within a character"),
        ] {
            assert_eq!(blobs(data, ends, present, rows).unwrap_err(), expected);
        }
        assert!(blobs(b"\xff", &[1], &[], 1).unwrap_err().starts_with("text is not UTF-8"));
    }
}
