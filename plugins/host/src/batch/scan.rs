//! Finds fields in JSON text in one pass, without building a tree.
//!
//! Written here and not taken from a library because it must find *where* a value stands (to splice the text), must follow
//! the last of equal names as every decoder does (or a mask could be slipped past), and must look for several paths at
//! once; see decisions/0002. The text was checked as JSON before; on text that is none it stops with an error.

use std::borrow::Cow;

use super::path::Path;

/// Where a value stands in its text, and what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub kind: JsonKind,
    pub start: u32,
    pub end: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum JsonKind {
    Missing,
    Null,
    Boolean,
    Number,
    Text,
    Array,
    Object,
}

impl Span {
    pub(crate) const MISSING: Span = Span { kind: JsonKind::Missing, start: 0, end: 0 };

    /// The value's text.
    pub(crate) fn of<'t>(&self, text: &'t [u8]) -> &'t [u8] {
        &text[self.start as usize..self.end as usize]
    }
}

/// Fields to look for, as a tree; each node, inner ones too, gets a span. Node 0 is the value itself.
#[derive(Debug)]
pub(crate) struct Wanted {
    nodes: Vec<Node>,
}

#[derive(Debug, Default)]
struct Node {
    name: String,
    /// The node itself for the value itself.
    parent: usize,
    children: Vec<usize>,
}

/// The text is no JSON, from about this byte on.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Malformed {
    pub at: usize,
}

impl Wanted {
    pub(crate) fn new() -> Self {
        Self { nodes: vec![Node::default()] }
    }

    /// Adds a path; answers its node.
    pub(crate) fn add(&mut self, path: &Path) -> usize {
        path.steps().iter().fold(0, |parent, step| self.child_or_new(parent, step))
    }

    /// The object that a node is a member of, and its name there; `None` for the value itself.
    pub(crate) fn member_of(&self, node: usize) -> Option<(usize, &str)> {
        (node != 0).then(|| (self.nodes[node].parent, self.nodes[node].name.as_str()))
    }

    /// How many spans a scan gives.
    pub(crate) fn nodes(&self) -> usize {
        self.nodes.len()
    }

    fn child_or_new(&mut self, parent: usize, name: &str) -> usize {
        if let Some(child) = self.child(parent, name.as_bytes()) {
            return child;
        }
        let child = self.nodes.len();
        self.nodes.push(Node { name: name.to_owned(), parent, children: Vec::new() });
        self.nodes[parent].children.push(child);
        child
    }

    fn child(&self, parent: usize, name: &[u8]) -> Option<usize> {
        self.nodes[parent].children.iter().copied().find(|&child| self.nodes[child].name.as_bytes() == name)
    }
}

/// Looks for the wanted fields; `spans` gets one span for each node.
pub(crate) fn scan(text: &[u8], wanted: &Wanted, spans: &mut [Span]) -> Result<(), Malformed> {
    debug_assert_eq!(spans.len(), wanted.nodes());
    spans.fill(Span::MISSING);
    if u32::try_from(text.len()).is_err() {
        return Err(Malformed { at: text.len() });
    }
    let mut scan = Scan { text, wanted, spans };
    let start = scan.space(0);
    let end = scan.value(start, 0)?;
    let end = scan.space(end);
    if end == text.len() { Ok(()) } else { Err(Malformed { at: end }) }
}

struct Scan<'s> {
    text: &'s [u8],
    wanted: &'s Wanted,
    spans: &'s mut [Span],
}

impl Scan<'_> {
    /// Notes the value at `start` as the node's; answers where it ends.
    fn value(&mut self, start: usize, node: usize) -> Result<usize, Malformed> {
        let kind = match self.at(start)? {
            b'"' => JsonKind::Text,
            b'{' => JsonKind::Object,
            b'[' => JsonKind::Array,
            b't' | b'f' => JsonKind::Boolean,
            b'n' => JsonKind::Null,
            b'-' | b'0'..=b'9' => JsonKind::Number,
            _ => return Err(Malformed { at: start }),
        };
        let has_children = !self.wanted.nodes[node].children.is_empty();
        let end = if has_children && kind == JsonKind::Object { self.members(start, node)? } else { self.skip(start)? };
        self.spans[node] = Span { kind, start: start as u32, end: end as u32 };
        Ok(end)
    }

    /// Goes through the members of the object at `start`.
    fn members(&mut self, start: usize, node: usize) -> Result<usize, Malformed> {
        let mut at = self.space(start + 1);
        if self.at(at)? == b'}' {
            return Ok(at + 1);
        }
        loop {
            if self.at(at)? != b'"' {
                return Err(Malformed { at });
            }
            let (name_end, has_escapes) = self.skip_text(at)?;
            let name = &self.text[at + 1..name_end - 1];
            let child = if has_escapes { self.wanted.child(node, &unescaped(name)) } else { self.wanted.child(node, name) };
            at = self.space(name_end);
            if self.at(at)? != b':' {
                return Err(Malformed { at });
            }
            at = self.space(at + 1);
            at = match child {
                Some(child) => {
                    self.forget(child);
                    self.value(at, child)?
                }
                None => self.skip(at)?,
            };
            at = self.space(at);
            match self.at(at)? {
                b',' => at = self.space(at + 1),
                b'}' => return Ok(at + 1),
                _ => return Err(Malformed { at }),
            }
        }
    }

    /// An earlier member of the same name does not count, nor does what was in it.
    fn forget(&mut self, node: usize) {
        if self.spans[node].kind != JsonKind::Missing {
            self.spans[node] = Span::MISSING;
            for &child in &self.wanted.nodes[node].children {
                self.forget(child);
            }
        }
    }

    /// Where the value at `start` ends.
    fn skip(&self, start: usize) -> Result<usize, Malformed> {
        match self.at(start)? {
            b'"' => Ok(self.skip_text(start)?.0),
            b'{' | b'[' => self.skip_nested(start),
            b'-' | b'0'..=b'9' | b't' | b'f' | b'n' => {
                let rest = &self.text[start..];
                let len = rest.iter().position(|b| matches!(b, b',' | b'}' | b']' | b' ' | b'\n' | b'\r' | b'\t'));
                Ok(start + len.unwrap_or(rest.len()))
            }
            _ => Err(Malformed { at: start }),
        }
    }

    fn skip_nested(&self, start: usize) -> Result<usize, Malformed> {
        let mut depth = 1_usize;
        let mut at = start + 1;
        loop {
            match self.at(at)? {
                b'"' => at = self.skip_text(at)?.0,
                b'{' | b'[' => {
                    depth += 1;
                    at += 1;
                }
                b'}' | b']' => {
                    depth -= 1;
                    at += 1;
                    if depth == 0 {
                        return Ok(at);
                    }
                }
                _ => at += 1,
            }
        }
    }

    /// Where the text whose opening quote is at `start` ends, behind the closing one; and whether there are escapes in it.
    fn skip_text(&self, start: usize) -> Result<(usize, bool), Malformed> {
        let mut at = start + 1;
        let mut has_escapes = false;
        loop {
            if let Some(eight) = self.text.get(at..at + 8) {
                let stops = quotes_and_backslashes(u64::from_le_bytes(eight.try_into().expect("these are eight bytes")));
                if stops == 0 {
                    at += 8;
                    continue;
                }
                at += stops.trailing_zeros() as usize / 8;
            }
            match self.at(at)? {
                b'"' => return Ok((at + 1, has_escapes)),
                b'\\' => {
                    has_escapes = true;
                    at += 2;
                }
                _ => at += 1,
            }
        }
    }

    fn space(&self, mut at: usize) -> usize {
        while self.text.get(at).is_some_and(|b| matches!(b, b' ' | b'\n' | b'\r' | b'\t')) {
            at += 1;
        }
        at
    }

    fn at(&self, at: usize) -> Result<u8, Malformed> {
        self.text.get(at).copied().ok_or(Malformed { at })
    }
}

/// Which of eight bytes are a quote or a backslash. The lowest bit set lies in the first that is one; those above may err.
fn quotes_and_backslashes(bytes: u64) -> u64 {
    const EACH: u64 = 0x0101_0101_0101_0101;
    let zeros = |bytes: u64| bytes.wrapping_sub(EACH) & !bytes & (EACH << 7);
    zeros(bytes ^ (EACH * b'"' as u64)) | zeros(bytes ^ (EACH * b'\\' as u64))
}

/// The bytes of a text between its quotes, escapes resolved. What cannot be resolved stays as it is.
pub(crate) fn unescaped(inner: &[u8]) -> Cow<'_, [u8]> {
    if !inner.contains(&b'\\') {
        return Cow::Borrowed(inner);
    }
    let quoted = [b"\"", inner, b"\""].concat();
    serde_json::from_slice::<String>(&quoted).map_or(Cow::Borrowed(inner), |text| Cow::Owned(text.into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(text: &str, path: &str) -> String {
        let mut wanted = Wanted::new();
        wanted.add(&Path::parse("zzz.yyy").unwrap());
        let node = wanted.add(&Path::parse(path).unwrap());
        let mut spans = vec![Span::MISSING; wanted.nodes()];
        match scan(text.as_bytes(), &wanted, &mut spans) {
            Ok(()) if spans[node].kind == JsonKind::Missing => "missing".to_owned(),
            Ok(()) => String::from_utf8(spans[node].of(text.as_bytes()).to_vec()).unwrap(),
            Err(malformed) => format!("malformed at {}", malformed.at),
        }
    }

    #[test]
    fn fields_are_found_where_they_stand() {
        for (text, path, expected) in [
            (r#"{"a":1,"b":{"c":"x"}}"#, "b.c", r#""x""#),
            (r#" { "a" : [1, {"b": "]"}] , "b" : -1.5e3 } "#, "b", "-1.5e3"),
            (r#"{"a":[1,{"b":"]"}]}"#, "a", r#"[1,{"b":"]"}]"#),
            (r#"{"a":"q\"}","b":null}"#, "b", "null"),
            (r#"{"a":1}"#, "b", "missing"),
            (r#"{"a":1}"#, "a.b", "missing"),
            ("{}", "a", "missing"),
            ("[1]", "a", "missing"),
            ("true", "", "true"),
            (r#"{"\u0061":7}"#, "a", "7"),
            (r#"{"a.b":7}"#, "`a.b`", "7"),
            (r#"{"a":"long enough for several steps \\","b":"of eight \" bytes \\\""}"#, "b", r#""of eight \" bytes \\\"""#),
        ] {
            assert_eq!(find(text, path), expected, "{text} {path}");
        }
    }

    #[test]
    fn the_last_of_equal_names_counts() {
        assert_eq!(find(r#"{"a":1,"a":2}"#, "a"), "2");
        assert_eq!(find(r#"{"a":{"b":1},"a":{"c":2}}"#, "a.b"), "missing");
    }

    #[test]
    fn broken_text_ends_the_scan() {
        for text in
            ["", "{", r#"{"a"#, r#"{"a""#, r#"{"a":"#, r#"{"a":1"#, r#"{"a":1,"#, r#"{"a":1}}"#, r#"{"a\"#, "}", "[[", r#"{a:1}"#]
        {
            assert!(find(text, "a").starts_with("malformed"), "{text}: {}", find(text, "a"));
        }
    }
}
