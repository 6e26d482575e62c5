//! What a guest reads: columns of whole payloads and of fields.

use std::borrow::Cow;
use std::sync::Arc;

use penstock_api::{Error, Format, Part, Payload, Value};

use super::columns::{BytesBuilder, TooLong, booleans, numbers};
use super::path::Path;
use super::scan::{JsonKind, Span, Wanted, scan, unescaped};
use super::{AvroSchemas, Call, Located, Scanned, avro_body, json_text};
use crate::contract::batches::{
    self, BoolColumn, BytesColumn, Encoding, F64Column, FieldKind, HeaderColumns, NameColumn, S64Column,
};

/// Different paths of one call.
const PATHS_MAX: usize = 1024;

/// What stands at a path.
enum Seen<'c> {
    Missing,
    Json(JsonKind, &'c [u8]),
    Value(&'c Value),
}

impl Call {
    pub(super) fn topics(&self) -> NameColumn {
        let mut names: Vec<&Arc<str>> = Vec::new();
        let index = (0..self.len()).map(|row| index_of(&mut names, &self.record(row).topic)).collect();
        NameColumn { names: names.iter().map(ToString::to_string).collect(), index }
    }

    pub(super) fn partitions(&self) -> Vec<i32> {
        self.live.iter().map(|at| self.rows.partition(*at as usize).unwrap_or(-1)).collect()
    }

    pub(super) fn offsets(&self) -> S64Column {
        let (values, present) = numbers(self.len(), self.live.iter().map(|at| self.rows.offset(*at as usize)));
        S64Column { values, present }
    }

    pub(super) fn timestamps(&self) -> S64Column {
        let (values, present) = numbers(self.len(), (0..self.len()).map(|row| self.record(row).timestamp));
        S64Column { values, present }
    }

    pub(super) fn headers(&mut self) -> Result<HeaderColumns, TooLong> {
        let mut ends = Vec::with_capacity(self.len());
        let mut names: Vec<String> = Vec::new();
        let mut index = Vec::new();
        let mut values = BytesBuilder::with_capacity(0, 0);
        let mut broken = Vec::new();
        for row in 0..self.len() {
            for header in self.record(row).headers.iter() {
                let at = names.iter().position(|name| *name == header.key).unwrap_or_else(|| {
                    names.push(header.key.to_string());
                    names.len() - 1
                });
                index.push(at as u32);
                match write_raw(&header.value, &mut values.data) {
                    Ok(present) => values.end(present),
                    Err(error) => {
                        values.end(false);
                        broken.push((row, error));
                    }
                }
            }
            ends.push(index.len() as u32);
        }
        for (row, error) in broken {
            self.note_broken(row, error.context("read header"));
        }
        Ok(HeaderColumns { ends, names, index, values: values.finish()? })
    }

    pub(super) fn formats(&self, part: Part) -> Vec<batches::Format> {
        (0..self.len()).map(|row| format(self.payload(part, row))).collect()
    }

    pub(super) fn schemas(&self, part: Part, schemas: &mut AvroSchemas) -> Vec<u32> {
        (0..self.len()).map(|row| avro_body(self.payload(part, row)).map_or(0, |(schema, _)| schemas.number(schema))).collect()
    }

    pub(super) fn payloads(&mut self, part: Part, encoding: Encoding) -> Result<BytesColumn, TooLong> {
        let bytes = (0..self.len()).filter_map(|row| self.payload(part, row).wire()).map(|encoded| encoded.bytes.len()).sum();
        let mut column = BytesBuilder::with_capacity(self.len(), bytes);
        for row in 0..self.len() {
            let before = column.data.len();
            let written = match encoding {
                Encoding::Raw => write_raw(self.payload(part, row), &mut column.data),
                Encoding::Json => write_json(self.payload(part, row), &mut column.data),
                Encoding::Avro => {
                    let body = avro_body(self.payload(part, row)).map(|(_, body)| body);
                    column.data.extend_from_slice(body.unwrap_or_default());
                    Ok(body.is_some())
                }
            };
            match written {
                Ok(present) => column.end(present),
                Err(error) => {
                    column.data.truncate(before);
                    column.end(false);
                    self.note_broken(row, error.context(format!("read {}", part.name())));
                }
            }
        }
        column.finish()
    }

    /// Looks for all these paths in one pass.
    pub(super) fn prefetch(&mut self, part: Part, paths: &[String]) -> Result<(), String> {
        self.decode_what_is_no_text(part);
        let mut wanted = Wanted::new();
        let scan_number = self.side(part).scans.len();
        for text in paths {
            let side = self.side_mut(part);
            if side.paths.contains_key(text) {
                continue;
            }
            if side.paths.len() >= PATHS_MAX {
                return Err(format!("more than {PATHS_MAX} different paths"));
            }
            let path = Path::parse(text)?;
            let node = wanted.add(&path);
            side.paths.insert(text.clone(), Located { scan: scan_number, node, path: Arc::new(path) });
        }
        self.scan(part, wanted);
        Ok(())
    }

    fn scan(&mut self, part: Part, wanted: Wanted) {
        let nodes = wanted.nodes();
        let mut spans = vec![Span::MISSING; nodes * self.len()];
        for (row, spans) in spans.chunks_exact_mut(nodes).enumerate() {
            let Some(text) = json_text(self.payload(part, row)) else { continue };
            if let Err(malformed) = scan(text, &wanted, spans) {
                spans.fill(Span::MISSING);
                let message = format!("read {}: not valid JSON at byte {}", part.name(), malformed.at);
                self.note_broken(row, Error::data(message));
            }
        }
        self.side_mut(part).scans.push(Scanned { wanted, spans });
    }

    /// Decodes what has no JSON text, once for each side.
    fn decode_what_is_no_text(&mut self, part: Part) {
        if std::mem::replace(&mut self.side_mut(part).is_decoded, true) {
            return;
        }
        for row in 0..self.len() {
            if json_text(self.payload(part, row)).is_none()
                && let Err(error) = self.payload_mut(part, row).decode().map(|_| ())
            {
                self.note_broken(row, error.context(format!("read {}", part.name())));
            }
        }
    }

    pub(super) fn locate(&mut self, part: Part, path: &str) -> Result<Located, String> {
        if !self.side(part).paths.contains_key(path) {
            self.prefetch(part, &[path.to_owned()])?;
        }
        Ok(self.side(part).paths[path].clone())
    }

    fn column<'c>(&'c self, part: Part, at: &'c Located) -> impl Iterator<Item = Seen<'c>> {
        let scanned = &self.side(part).scans[at.scan];
        let nodes = scanned.wanted.nodes();
        (0..self.len()).map(move |row| {
            let payload = self.payload(part, row);
            if let Some(text) = json_text(payload) {
                let span = scanned.spans[row * nodes + at.node];
                return if span.kind == JsonKind::Missing { Seen::Missing } else { Seen::Json(span.kind, span.of(text)) };
            }
            let value = payload.peek().and_then(|decoded| at.path.get(&decoded.value));
            value.map_or(Seen::Missing, Seen::Value)
        })
    }

    pub(super) fn kinds(&mut self, part: Part, path: &str) -> Result<Vec<FieldKind>, String> {
        let at = self.locate(part, path)?;
        Ok(self.column(part, &at).map(|seen| seen.kind()).collect())
    }

    pub(super) fn get_text(&mut self, part: Part, path: &str) -> Result<BytesColumn, String> {
        let at = self.locate(part, path)?;
        let mut column = BytesBuilder::with_capacity(self.len(), self.len() * 16);
        for seen in self.column(part, &at) {
            column.push(seen.text().as_deref());
        }
        column.finish().map_err(|TooLong| "the column is longer than 4 GiB".to_owned())
    }

    pub(super) fn get_s64(&mut self, part: Part, path: &str) -> Result<S64Column, String> {
        let at = self.locate(part, path)?;
        let (values, present) = numbers(self.len(), self.column(part, &at).map(|seen| seen.s64()));
        Ok(S64Column { values, present })
    }

    pub(super) fn get_f64(&mut self, part: Part, path: &str) -> Result<F64Column, String> {
        let at = self.locate(part, path)?;
        let (values, present) = numbers(self.len(), self.column(part, &at).map(|seen| seen.f64()));
        Ok(F64Column { values, present })
    }

    pub(super) fn get_bool(&mut self, part: Part, path: &str) -> Result<BoolColumn, String> {
        let at = self.locate(part, path)?;
        Ok(booleans(self.len(), self.column(part, &at).map(|seen| seen.boolean())))
    }

    pub(super) fn get_json(&mut self, part: Part, path: &str) -> Result<BytesColumn, String> {
        let at = self.locate(part, path)?;
        let mut column = BytesBuilder::with_capacity(self.len(), self.len() * 32);
        let mut broken = Vec::new();
        for (row, seen) in self.column(part, &at).enumerate() {
            match seen {
                Seen::Missing => column.push(None),
                Seen::Json(_, text) => column.push(Some(text)),
                Seen::Value(value) => match penstock_api::json::write(value, &mut column.data) {
                    Ok(()) => column.end(true),
                    Err(error) => {
                        column.end(false);
                        broken.push((row, error));
                    }
                },
            }
        }
        for (row, error) in broken {
            self.note_broken(row, error.context(format!("read {path} as JSON")));
        }
        column.finish().map_err(|TooLong| "the column is longer than 4 GiB".to_owned())
    }
}

impl<'c> Seen<'c> {
    fn kind(&self) -> FieldKind {
        match self {
            Seen::Missing => FieldKind::Missing,
            Seen::Json(JsonKind::Number, _) if self.s64().is_some() => FieldKind::Integer,
            Seen::Json(kind, _) => match kind {
                JsonKind::Missing => FieldKind::Missing,
                JsonKind::Null => FieldKind::Null,
                JsonKind::Boolean => FieldKind::Boolean,
                JsonKind::Number => FieldKind::Number,
                JsonKind::Text => FieldKind::Text,
                JsonKind::Array => FieldKind::Array,
                JsonKind::Object => FieldKind::Object,
            },
            Seen::Value(value) => match value {
                Value::Null => FieldKind::Null,
                Value::Boolean(_) => FieldKind::Boolean,
                Value::String(_) => FieldKind::Text,
                Value::Bytes(_) => FieldKind::Bytes,
                Value::Array(_) => FieldKind::Array,
                Value::Map(_) | Value::Struct(_) => FieldKind::Object,
                Value::Float32(_) | Value::Float64(_) | Value::Decimal(_) => FieldKind::Number,
                _ => FieldKind::Integer,
            },
        }
    }

    fn text(&self) -> Option<Cow<'c, [u8]>> {
        match *self {
            Seen::Json(JsonKind::Text, text) => Some(unescaped(&text[1..text.len() - 1])),
            Seen::Value(value) => value.as_str().map(|text| Cow::Borrowed(text.as_bytes())),
            _ => None,
        }
    }

    fn s64(&self) -> Option<i64> {
        match self {
            Seen::Json(JsonKind::Number, text) => std::str::from_utf8(text).ok()?.parse().ok(),
            Seen::Value(Value::Date(n) | Value::Time(n)) => Some((*n).into()),
            Seen::Value(Value::Timestamp(n)) => Some(*n),
            Seen::Value(value) => value.as_i64(),
            _ => None,
        }
    }

    fn f64(&self) -> Option<f64> {
        match self {
            Seen::Json(JsonKind::Number, text) => std::str::from_utf8(text).ok()?.parse().ok(),
            Seen::Value(Value::Decimal(d)) => d.to_string().parse().ok(),
            Seen::Value(value) => value.as_f64(),
            _ => None,
        }
    }

    fn boolean(&self) -> Option<bool> {
        match self {
            Seen::Json(JsonKind::Boolean, text) => Some(text.starts_with(b"t")),
            Seen::Value(Value::Boolean(b)) => Some(*b),
            _ => None,
        }
    }
}

fn index_of<'c>(names: &mut Vec<&'c Arc<str>>, name: &'c Arc<str>) -> u32 {
    // Records of a batch mostly share the topic's allocation, so pointers decide before texts.
    let known = names.iter().position(|known| Arc::ptr_eq(known, name) || *known == name);
    known.unwrap_or_else(|| {
        names.push(name);
        names.len() - 1
    }) as u32
}

fn format(payload: &Payload) -> batches::Format {
    match (payload.wire().map(|encoded| &encoded.format), payload.peek()) {
        (Some(Format::Bytes), _) => batches::Format::Bytes,
        (Some(Format::String), _) => batches::Format::Text,
        (Some(Format::Json), _) => batches::Format::Json,
        (Some(Format::Avro(_)), _) => batches::Format::Avro,
        (Some(Format::Other(_)), _) => batches::Format::Structured,
        (None, Some(decoded)) if decoded.value.is_null() => batches::Format::Null,
        (None, Some(decoded)) if decoded.schema.is_some() => batches::Format::Structured,
        (None, Some(_)) => batches::Format::Json,
        (None, None) => batches::Format::Null,
    }
}

/// Appends the payload in the encoding `raw`; answers whether there is one.
fn write_raw(payload: &Payload, out: &mut Vec<u8>) -> Result<bool, Error> {
    if let Some(encoded) = payload.wire() {
        out.extend_from_slice(&encoded.bytes);
        return Ok(true);
    }
    match payload.peek().map(|decoded| &decoded.value) {
        None | Some(Value::Null) => return Ok(false),
        Some(Value::Bytes(bytes)) => out.extend_from_slice(bytes),
        Some(Value::String(text)) => out.extend_from_slice(text.as_bytes()),
        Some(value) => penstock_api::json::write(value, out)?,
    }
    Ok(true)
}

/// Appends the payload in the encoding `json`; answers whether there is one.
fn write_json(payload: &Payload, out: &mut Vec<u8>) -> Result<bool, Error> {
    if let Some(text) = json_text(payload) {
        out.extend_from_slice(text);
        return Ok(!payload.is_null());
    }
    let decoded = payload.view()?;
    if decoded.value.is_null() {
        return Ok(false);
    }
    penstock_api::json::write(&decoded.value, out)?;
    Ok(true)
}
