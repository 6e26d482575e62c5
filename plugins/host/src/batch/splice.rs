//! Changes fields within JSON text and leaves the rest of it as it is, byte for byte.

use super::columns::{Values, is_present, is_set};
use super::scan::{JsonKind, Span, Wanted};

/// One field's new text, as JSON.
pub(super) struct Edit {
    pub node: usize,
    pub json: Vec<u8>,
}

/// Sets fields; of two edits of one field the later counts. The fields do not lie within each other.
///
/// # Errors
/// When the object around a new field is not there.
pub(super) fn splice(text: &[u8], wanted: &Wanted, spans: &[Span], mut edits: Vec<Edit>) -> Result<Vec<u8>, String> {
    keep_last_of_each(&mut edits);
    let mut places = edits.iter().map(|edit| place(text, wanted, spans, edit.node)).collect::<Result<Vec<_>, _>>()?;
    let mut order: Vec<usize> = (0..edits.len()).collect();
    order.sort_by_key(|&at| places[at].start);
    let added: usize = edits.iter().map(|edit| edit.json.len() + 32).sum();
    let mut out = Vec::with_capacity(text.len() + added);
    let mut copied = 0;
    let mut filled_object = None;
    for at in order {
        let place = &mut places[at];
        out.extend_from_slice(&text[copied..place.start]);
        copied = place.end;
        if let Some(name) = place.new_member {
            if !place.is_first || filled_object == Some(place.start) {
                out.push(b',');
            }
            filled_object = Some(place.start);
            write_text(name.as_bytes(), &mut out);
            out.push(b':');
        }
        out.extend_from_slice(&edits[at].json);
    }
    out.extend_from_slice(&text[copied..]);
    Ok(out)
}

struct Place<'w> {
    start: usize,
    end: usize,
    /// The name, when the field is not there yet.
    new_member: Option<&'w str>,
    /// Whether the object it is added to is empty.
    is_first: bool,
}

fn place<'w>(text: &[u8], wanted: &'w Wanted, spans: &[Span], node: usize) -> Result<Place<'w>, String> {
    let span = spans[node];
    let Some((parent, name)) = wanted.member_of(node) else {
        return Ok(Place { start: span.start as usize, end: span.end as usize, new_member: None, is_first: false });
    };
    if span.kind != JsonKind::Missing {
        return Ok(Place { start: span.start as usize, end: span.end as usize, new_member: None, is_first: false });
    }
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
    Ok(Place { start, end: start, new_member: Some(name), is_first: members.is_empty() })
}

fn keep_last_of_each(edits: &mut Vec<Edit>) {
    let mut at = 0;
    while at < edits.len() {
        let node = edits[at].node;
        if edits[at + 1..].iter().any(|later| later.node == node) {
            edits.remove(at);
        } else {
            at += 1;
        }
    }
}

/// A column's value as JSON text; absent is null.
///
/// # Errors
/// When it has no JSON form.
pub(super) fn json_of(values: &Values, at: usize) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    match values {
        Values::Text(blobs) => match blobs.get_ref(at) {
            Some(text) => write_text(text, &mut out),
            None => out.extend_from_slice(b"null"),
        },
        Values::Json(blobs) => match blobs.get_ref(at) {
            Some(text) => {
                check_json(text)?;
                out.extend_from_slice(text.trim_ascii());
            }
            None => out.extend_from_slice(b"null"),
        },
        Values::S64(column) if is_present(&column.present, at) => out.extend_from_slice(column.values[at].to_string().as_bytes()),
        Values::F64(column) if is_present(&column.present, at) => {
            let number = column.values[at];
            if !number.is_finite() {
                return Err(format!("{number} is no JSON number"));
            }
            serde_json::to_writer(&mut out, &number).expect("a finite number is JSON, and a Vec takes it");
        }
        Values::Bool(column) if is_present(&column.present, at) => {
            out.extend_from_slice(if is_set(&column.values, at) { b"true" } else { b"false" });
        }
        Values::S64(_) | Values::F64(_) | Values::Bool(_) => out.extend_from_slice(b"null"),
    }
    Ok(out)
}

/// Whether the bytes are one JSON value.
pub(super) fn check_json(text: &[u8]) -> Result<(), String> {
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
    use super::super::path::Path;
    use super::super::scan::scan;
    use super::*;

    fn check(text: &str, edits: &[(&str, &str)], expected: &str) {
        let mut wanted = Wanted::new();
        let edits: Vec<Edit> = edits
            .iter()
            .map(|(path, json)| Edit { node: wanted.add(&Path::parse(path).unwrap()), json: json.as_bytes().to_vec() })
            .collect();
        let mut spans = vec![Span::MISSING; wanted.nodes()];
        scan(text.as_bytes(), &wanted, &mut spans).unwrap();
        let out = splice(text.as_bytes(), &wanted, &spans, edits).unwrap_or_else(String::into_bytes);
        assert_eq!(String::from_utf8(out).unwrap(), expected, "{text}");
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
