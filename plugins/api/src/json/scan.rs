//! Whether bytes are JSON as Java's `JsonConverter` takes it, found in one pass without decoding; and where an object's fields lie.
//!
//! Jackson reads the first value and stops there, takes leading zeros (Connect asks it to) and lone surrogates. What it takes and
//! RFC 8259 does not is rewritten, so that everything behind this scan reads plain JSON. The differences that remain are in
//! `decisions/0021-json-scan.md` of the runtime.

use bytes::Bytes;
use std::borrow::Cow;

use super::object::{Field, FieldSpan, Span};
use super::read::{Seen, plain_prefix};

/// How deep arrays and objects may lie in each other, as in Jackson.
const DEPTH_MAX: usize = 1_000;
/// How long a number may be, as in Jackson.
const NUMBER_BYTES_MAX: usize = 1_000;
/// Room that an outline begins with, and the most it may have: keys are compared with each other.
const FIELDS: usize = 12;
const FIELDS_MAX: usize = 64;

/// A message's value as plain JSON.
pub(super) struct Plain {
    pub(super) text: Bytes,
    /// The fields of an object. `None` for other values, and for objects that must be read as a whole: with very many keys, equal ones, or
    /// escapes in them. Only if asked for.
    pub(super) fields: Option<Vec<Field>>,
}

/// Checks a message and answers its value as plain JSON; `None` when there is nothing but white space, which is null.
///
/// # Errors
/// What is wrong, and at which byte.
pub(super) fn check(message: &Bytes) -> Result<Option<Bytes>, String> {
    Ok(scan::<false>(message)?.map(|plain| plain.text))
}

/// [`check`], and where the fields of an object lie.
pub(super) fn outline(message: &Bytes) -> Result<Option<Plain>, String> {
    scan::<true>(message)
}

fn scan<const OUTLINE: bool>(message: &Bytes) -> Result<Option<Plain>, String> {
    let text = std::str::from_utf8(message).map_err(|e| format!("invalid UTF-8 at byte {}", e.valid_up_to()))?;
    let start = if text.starts_with('\u{feff}') { 3 } else { 0 };
    let start = start + text.as_bytes()[start..].iter().take_while(|b| is_space(**b)).count();
    if start == message.len() {
        return Ok(None);
    }
    let outline = Outline { is_blurred: text.as_bytes()[start] != b'{', ..Outline::default() };
    let mut scan = Scan::<OUTLINE> { text: &text.as_bytes()[start..], at: 0, odd: false, key: Span::default(), outline };
    scan.value().map_err(|what| format!("{what} at byte {}", start + scan.at))?;
    let end = start + scan.at;
    if scan.odd {
        return Ok(Some(Plain { text: Bytes::from(rewrite(&text[start..end]).into_owned()), fields: None }));
    }
    let text = if start == 0 && end == message.len() { message.clone() } else { message.slice(start..end) };
    let is_outlined = OUTLINE && !scan.outline.is_blurred;
    Ok(Some(Plain { text, fields: is_outlined.then_some(scan.outline.fields) }))
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\n' | b'\t' | b'\r')
}

struct Scan<'t, const OUTLINE: bool> {
    /// From the value's first byte on.
    text: &'t [u8],
    at: usize,
    /// A leading zero or a lone surrogate was met.
    odd: bool,
    /// The key that was read last, whatever object it belongs to.
    key: Span,
    outline: Outline,
}

/// The outermost object's fields.
#[derive(Default)]
struct Outline {
    fields: Vec<Field>,
    /// The field whose value is being scanned.
    open: Option<FieldSpan>,
    seen: Seen,
    /// It is no object, or has too many keys, equal ones, or escapes in them.
    is_blurred: bool,
}

type Outcome = Result<(), &'static str>;

impl<const OUTLINE: bool> Scan<'_, OUTLINE> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while self.peek().is_some_and(is_space) {
            self.at += 1;
        }
    }

    /// One value with all that lies in it. No recursion, so that no message can exhaust the stack.
    fn value(&mut self) -> Outcome {
        let mut nesting = Nesting::default();
        loop {
            if OUTLINE && nesting.depth == 1 {
                self.begin_field();
            }
            match self.peek() {
                Some(b'{') => {
                    nesting.push(true)?;
                    self.at += 1;
                    self.skip_space();
                    if self.peek() != Some(b'}') {
                        self.key()?;
                        continue;
                    }
                }
                Some(b'[') => {
                    nesting.push(false)?;
                    self.at += 1;
                    self.skip_space();
                    if self.peek() != Some(b']') {
                        continue;
                    }
                }
                Some(b'"') => self.string()?,
                Some(b'-' | b'0'..=b'9') => self.number(nesting.depth == 0)?,
                Some(b't') => self.word(b"true")?,
                Some(b'f') => self.word(b"false")?,
                Some(b'n') => self.word(b"null")?,
                Some(_) => return Err("expected a value"),
                None => return Err("the message ends before its value does"),
            }
            if self.after_value(&mut nesting)? {
                return Ok(());
            }
        }
    }

    /// Closes what ends here. Answers whether that was all; else the next value follows.
    fn after_value(&mut self, nesting: &mut Nesting) -> Result<bool, &'static str> {
        while nesting.depth > 0 {
            if OUTLINE && nesting.depth == 1 {
                self.end_field();
            }
            self.skip_space();
            let in_object = nesting.in_object();
            match self.peek() {
                Some(b',') => {
                    self.at += 1;
                    self.skip_space();
                    if in_object {
                        self.key()?;
                    }
                    return Ok(false);
                }
                Some(b'}') if in_object => nesting.depth -= 1,
                Some(b']') if !in_object => nesting.depth -= 1,
                Some(_) => return Err(if in_object { "expected `,` or `}`" } else { "expected `,` or `]`" }),
                None => return Err("the message ends before its value does"),
            }
            self.at += 1;
        }
        Ok(true)
    }

    /// Notes where a value begins that lies in the outermost object.
    fn begin_field(&mut self) {
        let Outline { fields, open, seen, is_blurred } = &mut self.outline;
        if *is_blurred {
            return;
        }
        let (text, key) = (self.text, self.key.of(self.text));
        let is_twin = |before: &Field| matches!(before, Field::Text(span) if span.key.of(text) == key);
        *is_blurred =
            fields.len() == FIELDS_MAX || (seen.may_hold(key) && fields.iter().any(is_twin)) || plain_prefix(key) < key.len();
        *open = Some(FieldSpan { key: self.key, value: Span { start: self.at as u32, end: 0 } });
    }

    /// Notes where it ends; called again at the end of the object itself, when none is open.
    fn end_field(&mut self) {
        let Outline { fields, open, .. } = &mut self.outline;
        if let Some(mut span) = open.take() {
            span.value.end = self.at as u32;
            if fields.is_empty() {
                fields.reserve(FIELDS);
            }
            fields.push(Field::Text(span));
        }
    }

    /// A key and its colon.
    fn key(&mut self) -> Outcome {
        if self.peek() != Some(b'"') {
            return Err("expected a key in double quotes");
        }
        let start = self.at + 1;
        self.string()?;
        if OUTLINE {
            self.key = Span { start: start as u32, end: (self.at - 1) as u32 };
        }
        self.skip_space();
        if self.peek() != Some(b':') {
            return Err("expected `:`");
        }
        self.at += 1;
        self.skip_space();
        Ok(())
    }

    fn string(&mut self) -> Outcome {
        self.at += 1;
        loop {
            self.at += plain_prefix(&self.text[self.at..]);
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(b'\\') => self.escape()?,
                Some(_) => return Err("a control character must be escaped"),
                None => return Err("the message ends within a string"),
            }
        }
    }

    fn escape(&mut self) -> Outcome {
        match self.text.get(self.at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                self.at += 2;
                Ok(())
            }
            Some(b'u') => {
                let unit = hex(self.text, self.at + 2).ok_or("expected four hexadecimal digits behind `\\u`")?;
                self.at += 6;
                let is_pair = is_high(unit) && pair_follows(self.text, self.at);
                if is_pair {
                    self.at += 6;
                } else if (0xd800..0xe000).contains(&unit) {
                    self.odd = true;
                }
                Ok(())
            }
            _ => Err("unknown escape"),
        }
    }

    fn number(&mut self, at_root: bool) -> Outcome {
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        let whole = self.at;
        if self.digits() == 0 {
            return Err("expected a digit");
        }
        if self.text[whole] == b'0' && self.at > whole + 1 {
            self.odd = true;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            if self.digits() == 0 {
                return Err("expected a digit behind the decimal point");
            }
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            if self.digits() == 0 {
                return Err("expected a digit in the exponent");
            }
        }
        if self.at - start > NUMBER_BYTES_MAX {
            return Err("a number is longer than 1000 digits");
        }
        if at_root && self.peek().is_some_and(|b| !b.is_ascii_whitespace()) {
            return Err("expected white space behind the number");
        }
        Ok(())
    }

    fn digits(&mut self) -> usize {
        let start = self.at;
        while self.peek().is_some_and(|b| b.is_ascii_digit()) {
            self.at += 1;
        }
        self.at - start
    }

    fn word(&mut self, word: &[u8]) -> Outcome {
        let rest = &self.text[self.at..];
        let goes_on = rest.get(word.len()).is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'_' || *b == b'$' || *b >= 0x80);
        if !rest.starts_with(word) || goes_on {
            return Err("unknown word");
        }
        self.at += word.len();
        Ok(())
    }
}

/// Which of the open brackets are objects, one bit each.
struct Nesting {
    objects: [u64; DEPTH_MAX.div_ceil(64)],
    depth: usize,
}

impl Default for Nesting {
    fn default() -> Self {
        Self { objects: [0; DEPTH_MAX.div_ceil(64)], depth: 0 }
    }
}

impl Nesting {
    fn push(&mut self, object: bool) -> Outcome {
        if self.depth == DEPTH_MAX {
            return Err("arrays and objects lie more than 1000 deep in each other");
        }
        let (word, bit) = (self.depth / 64, self.depth % 64);
        self.objects[word] = self.objects[word] & !(1 << bit) | u64::from(object) << bit;
        self.depth += 1;
        Ok(())
    }

    fn in_object(&self) -> bool {
        let last = self.depth - 1;
        self.objects[last / 64] >> (last % 64) & 1 == 1
    }
}

fn hex(text: &[u8], at: usize) -> Option<u16> {
    let digits = text.get(at..at + 4)?;
    digits.iter().try_fold(0, |unit: u16, digit| Some(unit << 4 | u16::try_from(char::from(*digit).to_digit(16)?).ok()?))
}

fn is_high(unit: u16) -> bool {
    (0xd800..0xdc00).contains(&unit)
}

/// Whether the second half of a surrogate pair stands here.
fn pair_follows(text: &[u8], at: usize) -> bool {
    text.get(at..at + 2) == Some(br"\u") && hex(text, at + 2).is_some_and(|low| (0xdc00..0xe000).contains(&low))
}

/// Scanned JSON without leading zeros, and with `?` for lone surrogates, which is what Java writes for them.
fn rewrite(json: &str) -> Cow<'_, str> {
    let text = json.as_bytes();
    let mut out = String::with_capacity(json.len());
    let (mut at, mut kept) = (0, 0);
    while at < text.len() {
        match text[at] {
            b'"' => at = rewrite_string(json, at, &mut kept, &mut out),
            b'-' | b'0'..=b'9' => {
                let whole = at + usize::from(text[at] == b'-');
                let end = |from: usize| text[from..].iter().position(|b| !b.is_ascii_digit()).map_or(text.len(), |n| from + n);
                let zeros = text[whole..end(whole)].iter().take_while(|b| **b == b'0').count();
                let dropped = if whole + zeros == end(whole) { zeros.saturating_sub(1) } else { zeros };
                out.push_str(&json[kept..whole]);
                kept = whole + dropped;
                let number = |b: &u8| matches!(b, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-');
                at = text[whole..].iter().position(|b| !number(b)).map_or(text.len(), |n| whole + n);
            }
            _ => at += 1,
        }
    }
    out.push_str(&json[kept..]);
    Cow::Owned(out)
}

/// Rewrites the string at `at`; answers where it ends.
fn rewrite_string(json: &str, at: usize, kept: &mut usize, out: &mut String) -> usize {
    let text = json.as_bytes();
    let mut at = at + 1;
    while text[at] != b'"' {
        match (text[at], text[at + 1]) {
            (b'\\', b'u') => {
                let unit = hex(text, at + 2).expect("scanned");
                if is_high(unit) && pair_follows(text, at + 6) {
                    at += 12;
                } else {
                    if (0xd800..0xe000).contains(&unit) {
                        out.push_str(&json[*kept..at]);
                        out.push('?');
                        *kept = at + 6;
                    }
                    at += 6;
                }
            }
            (b'\\', _) => at += 2,
            _ => at += 1,
        }
    }
    at + 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// `Ok(text)`: taken as this plain JSON; `Err(part)`: refused with this in the message.
    fn check(text: &[u8], expected: Result<&str, &str>) {
        let shown = String::from_utf8_lossy(&text[..text.len().min(40)]).into_owned();
        match (super::check(&Bytes::copy_from_slice(text)), expected) {
            (Ok(plain), Ok(expected)) => assert_eq!(plain.as_deref().unwrap_or_default(), expected.as_bytes(), "{shown}"),
            (Err(message), Err(part)) => assert!(message.contains(part), "{shown}: {message}"),
            (got, _) => panic!("{shown}: {got:?}"),
        }
    }

    // Each of these was asked of Java's own JsonConverter 4.3.1.
    #[test]
    fn what_java_takes_is_taken() {
        let same = [
            "null",
            "{}",
            "1e5",
            "1E+5",
            "1.0",
            r#"{"a":1,"a":2}"#,
            "true",
            "-0",
            "0.1e-2",
            "9223372036854775808",
            "1e400",
            r#""\u00e9""#,
            "\"\u{7f}\"",
            r#""\/""#,
            r#"{"":1}"#,
            r#""\ud83d\ude00""#,
            r#""\u0000""#,
            "\"\u{ffff}\"",
            "1e0005",
        ];
        for text in same {
            check(text.as_bytes(), Ok(text));
        }
        for empty in ["", " ", "\n", "   "] {
            check(empty.as_bytes(), Ok(""));
        }
    }

    #[test]
    fn only_the_first_value_counts() {
        for text in ["{}x", "{} {}", r#"{}}"#, "{}\0"] {
            check(text.as_bytes(), Ok("{}"));
        }
        check(b"\"a\"x", Ok("\"a\""));
        check(b" 1 x", Ok("1"));
        check(b"null x", Ok("null"));
        check(b"[1]]", Ok("[1]"));
        check("\u{feff}{}".as_bytes(), Ok("{}"));
    }

    #[test]
    fn leading_zeros_and_lone_surrogates_are_rewritten() {
        check(b"007", Ok("7"));
        check(b"00", Ok("0"));
        check(b"-01", Ok("-1"));
        check(br#"{"a":00.5,"b":-007.50,"c":"007\"08","d":10,"e":0}"#, Ok(r#"{"a":0.5,"b":-7.50,"c":"007\"08","d":10,"e":0}"#));
        check(
            br#"["\ud800","\udc00x","\ud800\u0041","\ud83d\ude00","\\ud800"]"#,
            Ok(r#"["?","?x","?\u0041","\ud83d\ude00","\\ud800"]"#),
        );
    }

    #[test]
    fn what_java_refuses_is_refused() {
        let cases: &[(&[u8], &str)] = &[
            (b"nul", "unknown word"),
            (b"{", "expected a key"),
            (b"[", "ends"),
            (b"[1,]", "expected a value"),
            (br#"{"a":}"#, "expected a value"),
            (b"+1", "expected a value"),
            (b"1.", "decimal point"),
            (b".5", "expected a value"),
            (b"NaN", "expected a value"),
            (b"-Infinity", "expected a digit"),
            (b"\"a\tb\"", "control character"),
            (b"\"a\nb\"", "control character"),
            (b"\"\xff\"", "invalid UTF-8 at byte 1"),
            (b"\"\xed\xa0\x80\"", "invalid UTF-8"),
            (b"\"\xe2\x82\"", "invalid UTF-8"),
            (br#""\x""#, "escape"),
            (br#""\u12""#, "hexadecimal"),
            (b"'a'", "expected a value"),
            (b"{a:1}", "double quotes"),
            (b"/*c*/1", "expected a value"),
            (b"truex", "unknown word"),
            (b"true1", "unknown word"),
            (b"1x", "white space"),
            (b"12,", "white space"),
            (b"0x1", "white space"),
            (br#"{"a":1 "b":2}"#, "expected `,` or `}`"),
            (b"[1 2]", "expected `,` or `]`"),
            (b"\x0c1", "expected a value"),
            (b"-", "expected a digit"),
            (b"1e", "exponent"),
            (b"\"open", "within a string"),
            (b"\x00{}", "expected a value"),
        ];
        for (text, part) in cases {
            check(text, Err(part));
        }
    }

    #[test]
    fn limits_are_javas() {
        let nested = |depth: usize| ["[".repeat(depth), "]".repeat(depth)].concat();
        check(nested(1_000).as_bytes(), Ok(&nested(1_000)));
        check(nested(1_001).as_bytes(), Err("1000 deep"));
        check("[".repeat(2_000_000).as_bytes(), Err("1000 deep"));
        check("1".repeat(1_000).as_bytes(), Ok(&"1".repeat(1_000)));
        check("1".repeat(1_001).as_bytes(), Err("longer than 1000"));
    }

    proptest! {
        /// Whatever serde_json takes, which is plain JSON, is taken unchanged; whatever is answered, serde_json takes.
        #[test]
        fn answers_are_plain_json(text in r#"[\[\]{}",:\\u0-9a-f.eE+\- dnultrs\n]{0,40}"#) {
            let strict = serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok();
            let ours = super::check(&Bytes::from(text.clone()));
            match ours {
                Ok(Some(plain)) => prop_assert!(serde_json::from_slice::<serde::de::IgnoredAny>(&plain).is_ok(), "{text} -> {plain:?}"),
                Ok(None) => prop_assert!(text.trim().is_empty()),
                Err(what) => prop_assert!(!strict, "{text}: {what}"),
            }
        }

        /// Whatever passes can be read, as a whole and field by field.
        #[test]
        fn what_passes_can_be_read(text in r#"\{("[a-c\\n"]{0,2}" ?: ?([-0-9.e]{1,4}|"[^"]{0,4}"|\[[0-9, \[\]]{0,5}\]|true|null|\{\}),? ?){0,4}\}?"#) {
            let Ok(Some(plain)) = outline(&Bytes::from(text.clone())) else { return Ok(()) };
            let whole = crate::json::read::read(&plain.text);
            prop_assert!(whole.is_ok(), "{text}: {whole:?}");
            let Some(fields) = plain.fields else { return Ok(()) };
            let Ok(crate::Value::Map(map)) = whole else { panic!("{text} is no object") };
            let read: Vec<_> = fields.iter().map(|field| {
                let Field::Text(field) = field else { panic!("nothing was changed") };
                let key = String::from_utf8(field.key.of(&plain.text).to_vec()).unwrap();
                (crate::Value::string(key), crate::json::read::read(field.value.of(&plain.text)).unwrap())
            }).collect();
            prop_assert_eq!(&read[..], map.entries(), "{}", text);
        }
    }

    #[test]
    fn an_outline_tells_where_the_fields_lie() {
        let fields = |text: &'static str| {
            let plain = outline(&Bytes::from_static(text.as_bytes())).unwrap().unwrap();
            let shown = |span: Span| String::from_utf8(span.of(&plain.text).to_vec()).unwrap();
            let field = |field: &Field| match field {
                Field::Text(span) => format!("{}={}", shown(span.key), shown(span.value)),
                Field::Own(_) => panic!("nothing was changed"),
            };
            plain.fields.map(|fields| fields.iter().map(field).collect::<Vec<_>>())
        };
        let own = |fields: &[&str]| Some(fields.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(
            fields(r#" { "a" : {"b":[{}]} ,"c":"x\"}", "d": -1.5e3 } "#),
            own(&[r#"a={"b":[{}]}"#, r#"c="x\"}""#, "d=-1.5e3"])
        );
        assert_eq!(fields("{}"), own(&[]));
        assert_eq!(fields("{ }x"), own(&[]));
        let wide: String = (0..=FIELDS_MAX).map(|n| format!("\"k{n}\":1,")).collect();
        let wide: &'static str = format!("{{{}}}", wide.trim_end_matches(',')).leak();
        for whole in [wide, r#"[{"a":1}]"#, r#"{"a":1,"b":2,"a":3}"#, r#"{"\u0061":1}"#, r#"{"a":07}"#, "1"] {
            assert_eq!(fields(whole), None, "{whole}");
        }
    }
}
