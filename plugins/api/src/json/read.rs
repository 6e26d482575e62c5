//! JSON text into [`Value`]s, in one pass that writes each value where it stays.
//!
//! A reader of our own because of what the libraries' ones cost here: see `decisions/0050-json-reader.md`.

use bigdecimal::BigDecimal;
use compact_str::CompactString;
use std::collections::HashMap;
use std::collections::hash_map::Entry;

use crate::map::Map;
use crate::value::Value;

/// How deep arrays and objects may lie in each other, as in Jackson.
const DEPTH_MAX: usize = 1_000;
/// How long a number may be, as in Jackson.
const NUMBER_BYTES_MAX: usize = 1_000;

/// Room that the outermost object begins with. Transforms may add some.
const OUTER_FIELDS: usize = 12;
/// Room that others begin with.
const INNER_FIELDS: usize = 4;
/// Up to so many keys are compared with each other; of more, equal ones are found by hashing, when all are read.
const COMPARED_MAX: usize = 64;

type Outcome<T> = Result<T, &'static str>;

/// Reads one value with white space around it.
pub(super) fn read(text: &[u8]) -> Result<Value, String> {
    let text = std::str::from_utf8(text).map_err(|e| format!("invalid UTF-8 at byte {}", e.valid_up_to()))?;
    let mut reader = Reader { text, at: 0, depth: 0 };
    reader.document().map_err(|what| format!("{what} at byte {}", reader.at))
}

struct Reader<'t> {
    text: &'t str,
    at: usize,
    depth: usize,
}

/// Everything is written where it will stay: moving values of 40 bytes about costs more here than reading the text does.
impl<'t> Reader<'t> {
    fn document(&mut self) -> Outcome<Value> {
        let mut value = Value::Null;
        self.skip_space();
        self.value(&mut value)?;
        self.skip_space();
        if self.at < self.text.len() { Err("expected nothing more") } else { Ok(value) }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while let Some(b' ' | b'\n' | b'\t' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    fn value(&mut self, out: &mut Value) -> Outcome<()> {
        match self.peek() {
            Some(b'"') => self.string(out),
            Some(b'-' | b'0'..=b'9') => self.number(out),
            Some(b'{') => self.nested(out, Self::object),
            Some(b'[') => self.nested(out, Self::array),
            Some(b't') => self.word("true", out, Value::Boolean(true)),
            Some(b'f') => self.word("false", out, Value::Boolean(false)),
            Some(b'n') => self.word("null", out, Value::Null),
            Some(_) => Err("expected a value"),
            None => Err("the text ends before its value does"),
        }
    }

    fn nested(&mut self, out: &mut Value, read: fn(&mut Self, &mut Value) -> Outcome<()>) -> Outcome<()> {
        if self.depth == DEPTH_MAX {
            return Err("arrays and objects lie more than 1000 deep in each other");
        }
        self.depth += 1;
        self.at += 1;
        self.skip_space();
        read(self, out)?;
        self.depth -= 1;
        Ok(())
    }

    fn object(&mut self, out: &mut Value) -> Outcome<()> {
        if self.peek() == Some(b'}') {
            self.at += 1;
            *out = Value::Map(Map::new());
            return Ok(());
        }
        let mut seen = Seen::default();
        let room = if self.depth == 1 { OUTER_FIELDS } else { INNER_FIELDS };
        let mut fields: Vec<(Value, Value)> = Vec::with_capacity(room);
        loop {
            if self.peek() != Some(b'"') {
                return Err("expected a key in double quotes");
            }
            fields.push((Value::Null, Value::Null));
            let at = fields.len() - 1;
            self.string(&mut fields[at].0)?;
            self.skip_space();
            self.expect(b':', "expected `:`")?;
            self.skip_space();
            self.value(&mut fields[at].1)?;
            if at < COMPARED_MAX && seen.may_hold(fields[at].0.as_str().unwrap_or_default().as_bytes()) {
                last_wins(&mut fields);
            }
            if !self.goes_on(b'}', "expected `,` or `}`")? {
                if fields.len() > COMPARED_MAX {
                    last_of_many_wins(&mut fields);
                }
                *out = Value::Map(Map::from_unique(fields));
                return Ok(());
            }
        }
    }

    fn array(&mut self, out: &mut Value) -> Outcome<()> {
        let mut items = Vec::new();
        if self.peek() == Some(b']') {
            self.at += 1;
            *out = Value::Array(items);
            return Ok(());
        }
        loop {
            items.push(Value::Null);
            self.value(items.last_mut().expect("pushed above"))?;
            if !self.goes_on(b']', "expected `,` or `]`")? {
                *out = Value::Array(items);
                return Ok(());
            }
        }
    }

    /// Whether another field or item follows; else the bracket has been closed.
    fn goes_on(&mut self, close: u8, otherwise: &'static str) -> Outcome<bool> {
        self.skip_space();
        if self.peek() == Some(close) {
            self.at += 1;
            return Ok(false);
        }
        self.expect(b',', otherwise)?;
        self.skip_space();
        Ok(true)
    }

    fn expect(&mut self, byte: u8, otherwise: &'static str) -> Outcome<()> {
        if self.peek() != Some(byte) {
            return Err(if self.peek().is_none() { "the text ends before its value does" } else { otherwise });
        }
        self.at += 1;
        Ok(())
    }

    fn word(&mut self, word: &str, out: &mut Value, value: Value) -> Outcome<()> {
        if !self.text.as_bytes()[self.at..].starts_with(word.as_bytes()) {
            return Err("unknown word");
        }
        self.at += word.len();
        *out = value;
        Ok(())
    }

    fn string(&mut self, value: &mut Value) -> Outcome<()> {
        self.at += 1;
        let start = self.at;
        self.at += plain_prefix(&self.text.as_bytes()[start..]);
        if self.peek() == Some(b'"') {
            self.at += 1;
            *value = Value::String(CompactString::new(&self.text[start..self.at - 1]));
            return Ok(());
        }
        let mut out = String::from(&self.text[start..self.at]);
        loop {
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    *value = Value::string(out);
                    return Ok(());
                }
                Some(b'\\') => out.push(self.escaped()?),
                Some(_) => return Err("a control character must be escaped"),
                None => return Err("the text ends within a string"),
            }
            let from = self.at;
            self.at += plain_prefix(&self.text.as_bytes()[from..]);
            out.push_str(&self.text[from..self.at]);
        }
    }

    fn escaped(&mut self) -> Outcome<char> {
        let letter = self.text.as_bytes().get(self.at + 1).copied();
        self.at += 2;
        Ok(match letter {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                let first = self.unit()?;
                if !(0xd800..0xdc00).contains(&first) {
                    return char::from_u32(first).ok_or("half of a surrogate pair stands alone");
                }
                if !self.text[self.at..].starts_with("\\u") {
                    return Err("half of a surrogate pair stands alone");
                }
                self.at += 2;
                let second = self.unit()?;
                if !(0xdc00..0xe000).contains(&second) {
                    return Err("half of a surrogate pair stands alone");
                }
                char::from_u32(0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00)).expect("a pair is a character")
            }
            _ => {
                self.at -= 2;
                return Err("unknown escape");
            }
        })
    }

    /// Four hexadecimal digits.
    fn unit(&mut self) -> Outcome<u32> {
        let digits = self.text.as_bytes().get(self.at..self.at + 4).ok_or("the text ends within an escape")?;
        let mut unit = 0;
        for digit in digits {
            unit = unit << 4 | char::from(*digit).to_digit(16).ok_or("expected four hexadecimal digits behind `\\u`")?;
        }
        self.at += 4;
        Ok(unit)
    }

    fn number(&mut self, out: &mut Value) -> Outcome<()> {
        let start = self.at;
        let is_negative = self.peek() == Some(b'-');
        self.at += usize::from(is_negative);
        let whole = self.at;
        let mut long: i64 = 0;
        let mut fits = true;
        while let Some(digit @ b'0'..=b'9') = self.peek() {
            let digit = i64::from(digit - b'0');
            // Counted downwards, where there is one number more.
            match long.checked_mul(10).and_then(|long| long.checked_sub(digit)) {
                Some(longer) => long = longer,
                None => fits = false,
            }
            self.at += 1;
        }
        match self.at - whole {
            0 => return Err("expected a digit"),
            1 => {}
            _ if self.text.as_bytes()[whole] == b'0' => return Err("a number begins with a needless zero"),
            _ => {}
        }
        if !matches!(self.peek(), Some(b'.' | b'e' | b'E')) {
            *out = match if is_negative { Some(long) } else { long.checked_neg() } {
                Some(long) if fits => Value::Int64(long),
                _ => self.beyond_long(start)?,
            };
        } else {
            *out = Value::Float64(self.fraction(start)?);
        }
        Ok(())
    }

    fn beyond_long(&self, start: usize) -> Outcome<Value> {
        let text = self.number_text(start)?;
        let number: BigDecimal = text.parse().map_err(|_| "expected a number")?;
        Ok(Value::Decimal(Box::new(number)))
    }

    fn fraction(&mut self, start: usize) -> Outcome<f64> {
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits("expected a digit behind the decimal point")?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            self.at += usize::from(matches!(self.peek(), Some(b'+' | b'-')));
            self.digits("expected a digit in the exponent")?;
        }
        // Beyond the range it is infinite, as in Java.
        self.number_text(start)?.parse().map_err(|_| "expected a number")
    }

    fn digits(&mut self, otherwise: &'static str) -> Outcome<()> {
        let start = self.at;
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
        if self.at == start { Err(otherwise) } else { Ok(()) }
    }

    fn number_text(&self, start: usize) -> Outcome<&'t str> {
        let text = &self.text[start..self.at];
        if text.len() > NUMBER_BYTES_MAX { Err("a number is longer than 1000 digits") } else { Ok(text) }
    }
}

/// Which keys an object may hold already: one bit for each of 64 sorts of keys. Most objects need no comparison of keys at all.
#[derive(Default)]
pub(super) struct Seen(u64);

impl Seen {
    /// Whether an equal key may have been asked for before.
    pub(super) fn may_hold(&mut self, bytes: &[u8]) -> bool {
        let (first, last) = (bytes.first().copied().unwrap_or(0), bytes.last().copied().unwrap_or(0));
        let sort = usize::from(first).wrapping_mul(7) ^ usize::from(last).wrapping_mul(13) ^ bytes.len();
        let bit = 1 << (sort % 64);
        let is_known = self.0 & bit != 0;
        self.0 |= bit;
        is_known
    }
}

/// Gives the last field to an earlier one of the same name, if there is one.
fn last_wins(fields: &mut Vec<(Value, Value)>) {
    let Some((last, before)) = fields.split_last_mut() else { return };
    if let Some(earlier) = before.iter_mut().find(|(key, _)| *key == last.0) {
        earlier.1 = std::mem::take(&mut last.1);
        fields.pop();
    }
}

/// [`last_wins`] for all fields of a large object.
fn last_of_many_wins(fields: &mut Vec<(Value, Value)>) {
    let mut places: HashMap<CompactString, usize> = HashMap::with_capacity(fields.len());
    let mut kept: Vec<(Value, Value)> = Vec::with_capacity(fields.len());
    for (key, value) in fields.drain(..) {
        match places.entry(CompactString::new(key.as_str().unwrap_or_default())) {
            Entry::Occupied(place) => kept[*place.get()].1 = value,
            Entry::Vacant(place) => {
                place.insert(kept.len());
                kept.push((key, value));
            }
        }
    }
    *fields = kept;
}

/// How many bytes lie before the first quote, backslash or control character; eight at a time.
pub(super) fn plain_prefix(text: &[u8]) -> usize {
    const ONES: u64 = u64::MAX / 255;
    const HIGHS: u64 = ONES * 0x80;
    // Marks zero bytes; a mark above the lowest one may be false, so that only the lowest counts.
    let zeros = |word: u64| word.wrapping_sub(ONES) & !word & HIGHS;
    let mut at = 0;
    while let Some(chunk) = text.get(at..at + 8) {
        let word = u64::from_le_bytes(chunk.try_into().expect("eight bytes"));
        let control = word.wrapping_sub(ONES * 0x20) & !word & HIGHS;
        let found = zeros(word ^ (ONES * u64::from(b'"'))) | zeros(word ^ (ONES * u64::from(b'\\'))) | control;
        if found != 0 {
            return at + found.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    let rest = text[at..].iter().position(|b| matches!(b, b'"' | b'\\' | 0..=0x1f));
    rest.map_or(text.len(), |rest| at + rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The same text as serde_json understands it.
    fn as_serde(value: &Value) -> serde_json::Value {
        match value {
            Value::Null => serde_json::Value::Null,
            Value::Boolean(b) => (*b).into(),
            Value::Int64(n) => (*n).into(),
            Value::Float64(x) => (*x).into(),
            Value::String(text) => text.as_str().into(),
            Value::Array(items) => items.iter().map(as_serde).collect(),
            Value::Map(map) => map.entries().iter().map(|(k, v)| (k.as_str().unwrap().to_owned(), as_serde(v))).collect(),
            other => panic!("{other:?} does not come from JSON"),
        }
    }

    fn json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            any::<f64>().prop_filter("finite", |x| x.is_finite()).prop_map(Into::into),
            ".{0,30}".prop_map(Into::into),
            "[a-z\\\\\"/\n\u{1}\u{1F69A}]{0,20}".prop_map(Into::into),
        ];
        leaf.prop_recursive(4, 64, 12, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..12).prop_map(Into::into),
                prop::collection::btree_map("[a-c]{0,3}", inner, 0..12)
                    .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_serde_writes_is_read_alike(value in json()) {
            for text in [value.to_string(), serde_json::to_string_pretty(&value).unwrap()] {
                prop_assert_eq!(as_serde(&read(text.as_bytes()).unwrap()), value.clone(), "{}", text);
            }
        }

        #[test]
        fn strings_are_skipped_to_the_right_place(text in "[ -~\u{80}-\u{2fff}\"\\\\\n]{0,60}") {
            let expected = text.bytes().position(|b| b == b'"' || b == b'\\' || b < 0x20).unwrap_or(text.len());
            prop_assert_eq!(plain_prefix(text.as_bytes()), expected);
        }

        /// Texts that are nearly JSON: both readers agree on which are.
        #[test]
        fn what_serde_refuses_is_refused(value in json(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
            let mut text = value.to_string().into_bytes();
            let at = at.index(text.len());
            text[at] = byte;
            let theirs = serde_json::from_slice::<serde_json::Value>(&text);
            match (read(&text), theirs) {
                // Numbers beyond a double are infinite here, and refused there.
                (Ok(_), Err(e)) => prop_assert!(e.to_string().contains("out of range"), "{}", String::from_utf8_lossy(&text)),
                (Err(e), Ok(_)) => prop_assert!(false, "{e}: {}", String::from_utf8_lossy(&text)),
                _ => {}
            }
        }
    }

    #[test]
    fn whole_numbers_keep_their_digits() {
        let check = |text: &str, expected: Value| assert_eq!(read(text.as_bytes()), Ok(expected), "{text}");
        check("9223372036854775807", Value::Int64(i64::MAX));
        check("-9223372036854775808", Value::Int64(i64::MIN));
        check("-0", Value::Int64(0));
        check("9223372036854775808", Value::Decimal(Box::new("9223372036854775808".parse().unwrap())));
        check("-123456789012345678901234567890", Value::Decimal(Box::new("-123456789012345678901234567890".parse().unwrap())));
        check("1e999", Value::Float64(f64::INFINITY));
        assert!(read("1".repeat(1001).as_bytes()).is_err());
    }

    #[test]
    fn surrogates_come_in_pairs() {
        assert_eq!(read(br#""\ud83d\ude9a\u00e4""#), Ok(Value::string("\u{1F69A}\u{e4}")));
        for lone in [r#""\ud83d""#, r#""\ude9a""#, r#""\ud83dx""#, r#""\ud83d\u0041""#] {
            assert!(read(lone.as_bytes()).is_err(), "{lone}");
        }
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(read(nested(DEPTH_MAX).as_bytes()).is_ok());
        assert!(read(nested(DEPTH_MAX + 1).as_bytes()).unwrap_err().contains("1000 deep"));
    }

    #[test]
    fn errors_say_what_and_where() {
        assert_eq!(read(br#"{"a":}"#).unwrap_err(), "expected a value at byte 5");
        assert_eq!(read(br#"{"a":1"#).unwrap_err(), "the text ends before its value does at byte 6");
        assert_eq!(read(b"{} x").unwrap_err(), "expected nothing more at byte 3");
        assert_eq!(read(b"\"\xff\"").unwrap_err(), "invalid UTF-8 at byte 1");
    }
}
