//! Changes one text within Avro bodies and leaves the rest as it is: what an author does who works on Avro as bytes.

use std::ops::Range;

use serde_json::Value;

/// How to get past a value. Named types that are used twice are not followed.
pub(crate) enum Plan {
    Fixed(usize),
    /// Integers and enums.
    Varint,
    /// Bytes and text.
    Blob,
    Array(Box<Plan>),
    Map(Box<Plan>),
    Union(Vec<Plan>),
    Record(Vec<(String, Plan)>),
}

impl Plan {
    pub(crate) fn parse(schema: &Value) -> Option<Plan> {
        let inner = |key: &str| Plan::parse(&schema[key]).map(Box::new);
        match schema {
            Value::Array(branches) => Some(Plan::Union(branches.iter().map(Plan::parse).collect::<Option<_>>()?)),
            Value::Object(_) => match schema["type"].as_str() {
                Some("array") => Some(Plan::Array(inner("items")?)),
                Some("map") => Some(Plan::Map(inner("values")?)),
                Some("enum") => Some(Plan::Varint),
                Some("fixed") => Some(Plan::Fixed(schema["size"].as_u64()? as usize)),
                Some("record") => {
                    let field = |field: &Value| Some((field["name"].as_str()?.to_owned(), Plan::parse(&field["type"])?));
                    Some(Plan::Record(schema["fields"].as_array()?.iter().map(field).collect::<Option<_>>()?))
                }
                _ => Plan::parse(&schema["type"]),
            },
            Value::String(name) => match name.as_str() {
                "null" => Some(Plan::Fixed(0)),
                "boolean" => Some(Plan::Fixed(1)),
                "float" => Some(Plan::Fixed(4)),
                "double" => Some(Plan::Fixed(8)),
                "int" | "long" => Some(Plan::Varint),
                "bytes" | "string" => Some(Plan::Blob),
                _ => None,
            },
            _ => None,
        }
    }

    /// Where the text at the path stands, its length included.
    pub(crate) fn find(&self, path: &[&str], body: &[u8], mut at: usize) -> Option<Range<usize>> {
        let Some((name, rest)) = path.split_first() else {
            return matches!(self, Plan::Blob).then_some(at..self.end(body, at)?);
        };
        let Plan::Record(fields) = self else { return None };
        for (field, plan) in fields {
            if field == name {
                return plan.find(rest, body, at);
            }
            at = plan.end(body, at)?;
        }
        None
    }

    fn end(&self, body: &[u8], at: usize) -> Option<usize> {
        match self {
            Plan::Fixed(size) => Some(at + size),
            Plan::Varint => Some(varint(body, at)?.1),
            Plan::Blob => blob_end(body, at),
            Plan::Array(item) => blocks_end(body, at, |body, at| item.end(body, at)),
            Plan::Map(value) => blocks_end(body, at, |body, at| value.end(body, blob_end(body, at)?)),
            Plan::Union(branches) => {
                let (branch, at) = varint(body, at)?;
                branches.get(usize::try_from(branch).ok()?)?.end(body, at)
            }
            Plan::Record(fields) => fields.iter().try_fold(at, |at, (_, plan)| plan.end(body, at)),
        }
    }
}

fn blob_end(body: &[u8], at: usize) -> Option<usize> {
    let (len, at) = varint(body, at)?;
    at.checked_add(usize::try_from(len).ok()?)
}

fn blocks_end(body: &[u8], mut at: usize, item_end: impl Fn(&[u8], usize) -> Option<usize>) -> Option<usize> {
    loop {
        let (count, next) = varint(body, at)?;
        at = next;
        if count == 0 {
            return Some(at);
        }
        if count < 0 {
            // The block's size in bytes follows.
            let (bytes, next) = varint(body, at)?;
            at = next.checked_add(usize::try_from(bytes).ok()?)?;
            continue;
        }
        for _ in 0..count {
            at = item_end(body, at)?;
        }
    }
}

/// A zigzag number and where it ends.
fn varint(body: &[u8], mut at: usize) -> Option<(i64, usize)> {
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let byte = *body.get(at)?;
        at += 1;
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(((number >> 1) as i64 ^ -((number & 1) as i64), at));
        }
    }
    None
}

/// Appends a text as Avro has it.
pub(crate) fn write_text(text: &str, out: &mut Vec<u8>) {
    let mut length = (text.len() as u64) << 1;
    while length >= 0x80 {
        out.push(length as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
    out.extend_from_slice(text.as_bytes());
}
