//! The file of a standalone worker's source offsets: a `java.util.HashMap<byte[], byte[]>` as Java serializes it.
//!
//! No more of Java's serialization is known here than it takes to read what Java's `FileOffsetBackingStore` writes, and to write the same.

/// What the file holds, in its order. A value may be null.
pub(super) type Entries = Vec<(Vec<u8>, Option<Vec<u8>>)>;

/// Up to the fields of the map: magic, version, an object of the class with its two fields.
const HASH_MAP: &[u8] = b"\xac\xed\x00\x05sr\x00\x11java.util.HashMap\x05\x07\xda\xc1\xc3\x16\x60\xd1\x03\x00\x02F\x00\x0aloadFactorI\x00\x09thresholdxp";
/// The class of byte arrays.
const BYTES_CLASS: &[u8] = b"r\x00\x02[B\xac\xf3\x17\xf8\x06\x08\x54\xe0\x02\x00\x00xp";
const LOAD_FACTOR: f32 = 0.75;
const TC_NULL: u8 = b'p';
const TC_REFERENCE: u8 = b'q';
const TC_ARRAY: u8 = b'u';
const TC_BLOCK: u8 = b'w';
const TC_END: u8 = b'x';
/// The map's class is the first thing that can be referred to, the map the second, the class of byte arrays the third.
const BYTES_CLASS_HANDLE: u32 = 0x007e_0002;

/// Reads such a file.
///
/// # Errors
/// Why it is none.
pub(super) fn read(file: &[u8]) -> Result<Entries, String> {
    let mut input = Input(file);
    input.expect(HASH_MAP, "a serialized java.util.HashMap")?;
    let _load_factor_and_threshold = input.take(8)?;
    input.expect(&[TC_BLOCK, 8], "the size of the map")?;
    let _capacity = input.number()?;
    let size = input.number()?;
    let mut arrays: Vec<Vec<u8>> = Vec::new();
    let mut entries = Entries::new();
    for _ in 0..size {
        let key = input.bytes(&mut arrays)?.ok_or("a key is null")?;
        entries.push((key, input.bytes(&mut arrays)?));
    }
    input.expect(&[TC_END], "the end of the map")?;
    Ok(entries)
}

/// Writes such a file.
#[must_use]
pub(super) fn write<'e>(entries: impl ExactSizeIterator<Item = (&'e [u8], Option<&'e [u8]>)>) -> Vec<u8> {
    let size = entries.len();
    // As many buckets as a map has that has grown to that size.
    let mut capacity = 16usize;
    while (capacity as f32 * LOAD_FACTOR) < size as f32 {
        capacity *= 2;
    }
    let mut out = HASH_MAP.to_vec();
    out.extend(LOAD_FACTOR.to_be_bytes());
    let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX).to_be_bytes();
    out.extend(number(capacity * 3 / 4));
    out.extend([TC_BLOCK, 8]);
    out.extend(number(capacity));
    out.extend(number(size));
    let mut is_first = true;
    let mut array = |bytes: Option<&[u8]>| {
        let Some(bytes) = bytes else { return out.push(TC_NULL) };
        out.push(TC_ARRAY);
        if std::mem::take(&mut is_first) {
            out.extend(BYTES_CLASS);
        } else {
            out.push(TC_REFERENCE);
            out.extend(BYTES_CLASS_HANDLE.to_be_bytes());
        }
        out.extend(number(bytes.len()));
        out.extend(bytes);
    };
    for (key, value) in entries {
        array(Some(key));
        array(value);
    }
    out.push(TC_END);
    out
}

struct Input<'f>(&'f [u8]);

impl<'f> Input<'f> {
    fn take(&mut self, count: usize) -> Result<&'f [u8], String> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or("it ends too early")?;
        self.0 = rest;
        Ok(taken)
    }

    fn expect(&mut self, expected: &[u8], what: &str) -> Result<(), String> {
        if self.take(expected.len())? == expected { Ok(()) } else { Err(format!("{what} was expected")) }
    }

    fn byte(&mut self) -> Result<u8, String> {
        Ok(self.take(1)?[0])
    }

    fn number(&mut self) -> Result<usize, String> {
        let bytes = self.take(4)?.try_into().expect("four were taken");
        usize::try_from(i32::from_be_bytes(bytes)).map_err(|_| "a length is negative".to_owned())
    }

    /// An array of bytes, perhaps one that was there before.
    fn bytes(&mut self, arrays: &mut Vec<Vec<u8>>) -> Result<Option<Vec<u8>>, String> {
        match self.byte()? {
            TC_NULL => Ok(None),
            TC_REFERENCE => {
                let handle = self.number()?;
                let known = handle.checked_sub(BYTES_CLASS_HANDLE as usize + 1).and_then(|place| arrays.get(place));
                known.cloned().map(Some).ok_or_else(|| "it refers to something that is not there".to_owned())
            }
            TC_ARRAY => {
                if arrays.is_empty() {
                    self.expect(BYTES_CLASS, "an array of bytes")?;
                } else {
                    self.expect(&[TC_REFERENCE], "the class of an array of bytes")?;
                    self.expect(&BYTES_CLASS_HANDLE.to_be_bytes(), "the class of an array of bytes")?;
                }
                let length = self.number()?;
                let bytes = self.take(length)?.to_vec();
                arrays.push(bytes.clone());
                Ok(Some(bytes))
            }
            other => Err(format!("an array of bytes was expected, and there is {other:#04x}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(entries: &Entries) -> Vec<u8> {
        write(entries.iter().map(|(key, value)| (key.as_slice(), value.as_deref())))
    }

    #[test]
    fn what_is_no_map_is_refused_and_says_why() {
        for (file, says) in [(&b""[..], "ends too early"), (&[0u8; 200][..], "HashMap was expected")] {
            assert!(read(file).expect_err("refused").contains(says));
        }
        let whole = written(&vec![(b"k".to_vec(), Some(b"v".to_vec())), (b"l".to_vec(), None)]);
        for end in 0..whole.len() {
            assert!(read(&whole[..end]).is_err(), "cut at {end}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(entries in prop::collection::vec((any::<Vec<u8>>(), any::<Option<Vec<u8>>>()), 0..40)) {
            prop_assert_eq!(read(&written(&entries)), Ok(entries));
        }

        #[test]
        fn garbage_never_panics(mut file in any::<Vec<u8>>(), keeps in 0usize..120) {
            let whole = written(&vec![(b"k".to_vec(), Some(b"v".to_vec()))]);
            file.splice(0..0, whole[..keeps.min(whole.len())].iter().copied());
            let _any_answer = read(&file);
        }
    }
}
