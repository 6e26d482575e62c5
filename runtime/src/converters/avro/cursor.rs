//! Reads the parts Avro's binary form is made of; trusts nothing in it.

use penstock_api::Error;

/// How deep values may nest; a schema that refers to itself lets a body nest without limit.
pub(super) const DEPTH_MAX: u32 = 256;

/// How many items without a single byte (nulls, empty records) one body may announce.
const EMPTY_ITEMS_MAX: u64 = 1 << 16;

/// What is wrong with a body, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed {
    what: &'static str,
    at: usize,
}

impl Malformed {
    /// As a data error; `header_len` bytes stood before the body.
    pub(super) fn into_error(self, header_len: usize) -> Error {
        Error::data(format!("malformed Avro: {} at byte {}", self.what, self.at + header_len))
    }
}

pub(super) type Read<T> = Result<T, Malformed>;

/// A position in a body.
pub(super) struct Cursor<'b> {
    body: &'b [u8],
    at: usize,
    empty_items_left: u64,
}

impl<'b> Cursor<'b> {
    pub(super) fn new(body: &'b [u8]) -> Self {
        Self { body, at: 0, empty_items_left: EMPTY_ITEMS_MAX }
    }

    #[cold]
    pub(super) fn fail<T>(&self, what: &'static str) -> Read<T> {
        Err(Malformed { what, at: self.at })
    }

    /// The next `length` bytes.
    #[inline]
    pub(super) fn take(&mut self, length: usize) -> Read<&'b [u8]> {
        let rest = &self.body[self.at..];
        if length > rest.len() {
            return self.fail("the record ends too early");
        }
        self.at += length;
        Ok(&rest[..length])
    }

    #[inline]
    pub(super) fn byte(&mut self) -> Read<u8> {
        match self.body.get(self.at) {
            Some(&byte) => {
                self.at += 1;
                Ok(byte)
            }
            None => self.fail("the record ends too early"),
        }
    }

    /// A zigzag number of at most 5 bytes.
    #[inline]
    pub(super) fn int(&mut self) -> Read<i32> {
        let raw = self.varint(5)? as u32;
        Ok((raw >> 1) as i32 ^ -((raw & 1) as i32))
    }

    /// A zigzag number of at most 10 bytes.
    #[inline]
    pub(super) fn long(&mut self) -> Read<i64> {
        let raw = self.varint(10)?;
        Ok((raw >> 1) as i64 ^ -((raw & 1) as i64))
    }

    #[inline]
    fn varint(&mut self, bytes_max: usize) -> Read<u64> {
        let first = self.byte()?;
        if first < 0x80 {
            return Ok(u64::from(first));
        }
        let mut value = u64::from(first & 0x7f);
        for index in 1..bytes_max {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << (7 * index);
            if byte < 0x80 {
                return Ok(value);
            }
        }
        self.fail("a number has too many bytes")
    }

    /// Bytes behind their length.
    #[inline]
    pub(super) fn sized(&mut self) -> Read<&'b [u8]> {
        let length = self.long()?;
        match usize::try_from(length) {
            Ok(length) => self.take(length),
            Err(_) => self.fail("a negative length"),
        }
    }

    /// An index below `count`.
    #[inline]
    pub(super) fn index(&mut self, count: usize, what: &'static str) -> Read<usize> {
        match usize::try_from(self.int()?) {
            Ok(index) if index < count => Ok(index),
            _ => self.fail(what),
        }
    }

    /// How many items follow in this block, each of at least `item_bytes_min` bytes; 0 ends the list.
    pub(super) fn block(&mut self, item_bytes_min: usize) -> Read<usize> {
        let mut count = self.long()?;
        if count < 0 {
            self.long()?; // The block's bytes, for those who skip it whole.
            count = count.checked_neg().unwrap_or(i64::MAX);
        }
        let count = count as u64;
        let room = match item_bytes_min {
            0 => self.empty_items_left,
            bytes => (self.body.len() - self.at) as u64 / bytes as u64,
        };
        if count > room {
            return self.fail("a block announces more items than can follow");
        }
        if item_bytes_min == 0 {
            self.empty_items_left -= count;
        }
        Ok(count as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_zigzag() {
        assert_eq!(Cursor::new(&[0x01]).int(), Ok(-1));
        assert_eq!(Cursor::new(&[0xfe, 0xff, 0xff, 0xff, 0x0f]).int(), Ok(i32::MAX));
        assert_eq!(Cursor::new(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]).long(), Ok(i64::MIN));
        assert!(Cursor::new(&[0xff; 5]).int().is_err());
        assert!(Cursor::new(&[0xff; 10]).long().is_err());
    }

    #[test]
    fn announced_sizes_are_checked_before_anything_is_made() {
        // A string of 2^40 bytes; a block of 2^40 items; one whose count has no absolute value.
        assert!(Cursor::new(&[0x80, 0x80, 0x80, 0x80, 0x80, 0x40]).sized().is_err());
        assert!(Cursor::new(&[0x80, 0x80, 0x80, 0x80, 0x80, 0x40]).block(1).is_err());
        assert!(Cursor::new(&[0x80, 0x80, 0x80, 0x80, 0x80, 0x40]).block(0).is_err());
        let lowest = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01, 0x00];
        assert!(Cursor::new(&lowest).block(0).is_err());
    }
}
