//! Changes fields within JSON text and leaves the rest of it as it is, byte for byte.

use std::ops::Range;

use super::columns::{Values, is_present, is_set};
use super::scan::{JsonKind, Span, Wanted};

/// Sets fields of one text after another; its buffers are kept from text to text.
#[derive(Debug, Default)]
pub(super) struct Splicer {
    /// The new values, one behind the other.
    json: Vec<u8>,
    edits: Vec<Edit>,
    places: Vec<Place>,
}

/// One field's new value.
#[derive(Debug)]
struct Edit {
    node: usize,
    json: Range<usize>,
}

/// Where an edit goes in the text.
#[derive(Debug)]
struct Place {
    start: usize,
    end: usize,
    json: Range<usize>,
    /// The node, when the field is not there yet.
    new_member: Option<usize>,
    /// Whether the object it is added to is empty.
    is_first: bool,
}

impl Splicer {
    /// Forgets the edits of the last text.
    pub(super) fn clear(&mut self) {
        self.json.clear();
        self.edits.clear();
    }

    /// The field gets a column's value; absent is null. Of two edits of one field the later counts.
    ///
    /// # Errors
    /// When the value has no JSON form.
    pub(super) fn edit(&mut self, node: usize, values: &Values, at: usize) -> Result<(), String> {
        let start = self.json.len();
        write_value(values, at, &mut self.json)?;
        self.edits.retain(|edit| edit.node != node);
        self.edits.push(Edit { node, json: start..self.json.len() });
        Ok(())
    }

    /// Appends the text with its fields set to `out`. The fields do not lie within each other.
    ///
    /// # Errors
    /// When the object around a new field is not there; `out` is as before.
    pub(super) fn splice(&mut self, text: &[u8], wanted: &Wanted, spans: &[Span], out: &mut Vec<u8>) -> Result<(), String> {
        self.places.clear();
        for edit in &self.edits {
            self.places.push(place(text, wanted, spans, edit)?);
        }
        // Fields added in one place keep their order.
        self.places.sort_by_key(|place| place.start);
        let mut copied = 0;
        let mut filled_object = None;
        for place in &self.places {
            out.extend_from_slice(&text[copied..place.start]);
            copied = place.end;
            if let Some((_, name)) = place.new_member.and_then(|node| wanted.member_of(node)) {
                if !place.is_first || filled_object == Some(place.start) {
                    out.push(b',');
                }
                filled_object = Some(place.start);
                write_text(name.as_bytes(), out);
                out.push(b':');
            }
            out.extend_from_slice(&self.json[place.json.clone()]);
        }
        out.extend_from_slice(&text[copied..]);
        Ok(())
    }
}

fn place(text: &[u8], wanted: &Wanted, spans: &[Span], edit: &Edit) -> Result<Place, String> {
    let (span, json) = (spans[edit.node], edit.json.clone());
    let there = (span.kind != JsonKind::Missing).then_some((span.start as usize, span.end as usize));
    let (Some((parent, name)), None) = (wanted.member_of(edit.node), there) else {
        return Ok(Place { start: span.start as usize, end: span.end as usize, json, new_member: None, is_first: false });
    };
    let object = spans[parent];
    if object.kind != JsonKind::Object {
        let around = wanted.member_of(parent).map_or("the value", |(_, name)| name);
        let what = if object.kind == JsonKind::Missing { "is not there" } else { "is no object" };
        return Err(format!("cannot add field {name}: {around} {what}"));
    }
    let brace = object.end as usize - 1;
    let inside = &text[object.start as usize + 1..brace];
    let members = inside.trim_ascii_end();
    let start = object.start as usize + 1 + members.len();
    Ok(Place { start, end: start, json, new_member: Some(edit.node), is_first: members.is_empty() })
}

/// Appends a column's value as JSON text; absent is null.
fn write_value(values: &Values, at: usize, out: &mut Vec<u8>) -> Result<(), String> {
    match values {
        Values::Text(blobs) => match blobs.get_ref(at) {
            Some(text) => write_text(text, out),
            None => out.extend_from_slice(b"null"),
        },
        Values::Json(blobs) => match blobs.get_ref(at) {
            Some(text) => {
                check_json(text)?;
                out.extend_from_slice(text.trim_ascii());
            }
            None => out.extend_from_slice(b"null"),
        },
        Values::S64(column) if is_present(&column.present, at) => {
            serde_json::to_writer(out, &column.values[at]).expect("a number is JSON, and a Vec takes it");
        }
        Values::F64(column) if is_present(&column.present, at) => {
            let number = column.values[at];
            if !number.is_finite() {
                return Err(format!("{number} is no JSON number"));
            }
            serde_json::to_writer(out, &number).expect("a finite number is JSON, and a Vec takes it");
        }
        Values::Bool(column) if is_present(&column.present, at) => {
            out.extend_from_slice(if is_set(&column.values, at) { b"true" } else { b"false" });
        }
        Values::S64(_) | Values::F64(_) | Values::Bool(_) => out.extend_from_slice(b"null"),
    }
    Ok(())
}

/// Whether the bytes are one JSON value.
pub(crate) fn check_json(text: &[u8]) -> Result<(), String> {
    match serde_json::from_slice::<serde::de::IgnoredAny>(text) {
        Ok(_) if std::str::from_utf8(text).is_ok() => Ok(()),
        Ok(_) => Err("not valid JSON: not UTF-8".to_owned()),
        Err(e) => Err(format!("not valid JSON: {e}")),
    }
}

/// Appends UTF-8 text as a JSON string.
fn write_text(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    if text.iter().any(|&b| b < 0x20 || b == b'"' || b == b'\\') {
        let text = std::str::from_utf8(text).expect("text columns are checked");
        let quoted = serde_json::to_string(text).expect("any text is a JSON string");
        out.extend_from_slice(&quoted.as_bytes()[1..quoted.len() - 1]);
    } else {
        out.extend_from_slice(text);
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::super::columns::Blobs;
    use super::super::path::Path;
    use super::super::scan::scan;
    use super::*;
    use crate::contract::batches::BytesColumn;

    fn check(text: &str, edits: &[(&str, &str)], expected: &str) {
        let mut wanted = Wanted::new();
        let mut splicer = Splicer::default();
        for (path, json) in edits {
            let column = BytesColumn { data: json.as_bytes().to_vec(), ends: vec![json.len() as u32], present: vec![] };
            let values = Values::Json(Blobs::new(column, 1).unwrap());
            splicer.edit(wanted.add(&Path::parse(path).unwrap()), &values, 0).unwrap();
        }
        let mut spans = vec![Span::MISSING; wanted.nodes()];
        scan(text.as_bytes(), &wanted, &mut spans).unwrap();
        let mut out = b"before ".to_vec();
        let out = match splicer.splice(text.as_bytes(), &wanted, &spans, &mut out) {
            Ok(()) => String::from_utf8(out).unwrap(),
            Err(why) => {
                assert_eq!(out, b"before ");
                format!("before {why}")
            }
        };
        assert_eq!(out, format!("before {expected}"), "{text}");
    }

    #[test]
    fn only_the_field_changes() {
        check(r#"{"a": 1, "b" : {"c":"x"} }"#, &[("b.c", "2")], r#"{"a": 1, "b" : {"c":2} }"#);
        check(r#"{"a":1,"b":2}"#, &[("b", "null"), ("a", r#""y""#)], r#"{"a":"y","b":null}"#);
        check(r#"{"a":1}"#, &[("a", "2"), ("a", "3")], r#"{"a":3}"#);
        check("[1]", &[("", "7")], "7");
    }

    #[test]
    fn new_fields_stand_last() {
        check("{}", &[("a", "1"), ("b", "2")], r#"{"a":1,"b":2}"#);
        check("{ \n }", &[("a", "1")], "{\"a\":1 \n }");
        check(r#"{"a":{"x":1} }"#, &[("n", "1"), ("a.y", "2"), ("m", "3")], r#"{"a":{"x":1,"y":2},"n":1,"m":3 }"#);
        check(r#"{"a":1}"#, &[(r#"`q"x`"#, "1")], r#"{"a":1,"q\"x":1}"#);
        check(r#"{"a":1}"#, &[("b.c", "1")], "cannot add field c: b is not there");
        check(r#"{"a":1}"#, &[("a.c", "1")], "cannot add field c: a is no object");
        check("null", &[("a", "1")], "cannot add field a: the value is no object");
    }
}
