//! A JSON object whose fields are read one by one, when somebody asks for them.

use bytes::Bytes;
use compact_str::CompactString;
use std::sync::OnceLock;

use super::read;
use crate::value::Value;

/// Fields in order, with unique keys. Of those that are text still the scan has checked that they can be read.
#[derive(Clone)]
pub(crate) struct JsonObject {
    text: Bytes,
    fields: Vec<Field>,
    /// All of it, for those who may only look. Nothing is changed while it is there: see [`JsonObject::fields_mut`].
    whole: OnceLock<Vec<(Value, Value)>>,
}

#[derive(Clone)]
pub(super) enum Field {
    Text(FieldSpan),
    /// Changed, renamed or new.
    Own(Box<(CompactString, Value)>),
}

/// Where a field lies in its text: the key without its quotes, and the value.
#[derive(Clone, Copy, Debug)]
pub(super) struct FieldSpan {
    pub(super) key: Span,
    pub(super) value: Span,
}

/// Bytes `start` to `end` of a text.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Span {
    pub(super) start: u32,
    pub(super) end: u32,
}

impl Span {
    pub(super) fn of(self, text: &[u8]) -> &[u8] {
        &text[self.start as usize..self.end as usize]
    }
}

impl JsonObject {
    /// The object that lies in a text at these places.
    pub(super) fn new(text: Bytes, fields: Vec<Field>) -> Self {
        Self { text, fields, whole: OnceLock::new() }
    }

    pub(crate) fn len(&self) -> usize {
        self.fields.len()
    }

    pub(crate) fn has(&self, key: &str) -> bool {
        self.position(key).is_some()
    }

    pub(crate) fn get_mut(&mut self, key: &str) -> Option<&mut Value> {
        let at = self.position(key)?;
        let own = match &self.fields[at] {
            Field::Own(_) => None,
            Field::Text(span) => Some(Box::new((CompactString::new(key), read_value(&self.text, span.value)))),
        };
        let field = &mut self.fields_mut()[at];
        if let Some(own) = own {
            *field = Field::Own(own);
        }
        match field {
            Field::Own(own) => Some(&mut own.1),
            Field::Text(_) => unreachable!("read above"),
        }
    }

    pub(crate) fn insert(&mut self, key: CompactString, value: Value) {
        let at = self.position(&key);
        let own = Field::Own(Box::new((key, value)));
        match at {
            Some(at) => self.fields_mut()[at] = own,
            None => self.fields_mut().push(own),
        }
    }

    pub(crate) fn remove(&mut self, key: &str) -> Option<Value> {
        let at = self.position(key)?;
        Some(match self.fields_mut().remove(at) {
            Field::Own(own) => own.1,
            Field::Text(span) => read_value(&self.text, span.value),
        })
    }

    pub(crate) fn discard(&mut self, key: &str) {
        if let Some(at) = self.position(key) {
            self.fields_mut().remove(at);
        }
    }

    pub(crate) fn rename(&mut self, renames: &[(String, String)]) {
        for at in 0..self.fields.len() {
            let key = key_of(&self.text, &self.fields[at]);
            let Some((_, new)) = renames.iter().find(|(old, _)| old.as_bytes() == key) else { continue };
            let renamed = match &mut self.fields_mut()[at] {
                Field::Own(own) => {
                    own.0 = CompactString::new(new);
                    continue;
                }
                Field::Text(span) => span.value,
            };
            let value = read_value(&self.text, renamed);
            self.fields[at] = Field::Own(Box::new((CompactString::new(new), value)));
        }
    }

    /// All entries, read if they were not.
    pub(crate) fn entries(&self) -> &[(Value, Value)] {
        self.whole.get_or_init(|| self.fields.iter().map(|field| self.entry(field)).collect())
    }

    /// All entries, taken out.
    pub(crate) fn take_entries(&mut self) -> Vec<(Value, Value)> {
        match self.whole.take() {
            Some(whole) => whole,
            None => {
                let text = self.text.clone();
                let own = |field| match field {
                    Field::Own(own) => (Value::String(own.0), own.1),
                    Field::Text(span) => entry(&text, span),
                };
                std::mem::take(&mut self.fields).into_iter().map(own).collect()
            }
        }
    }

    /// Each field: its key as JSON text without quotes or as it is, and its value as text or read.
    pub(super) fn parts(&self) -> impl Iterator<Item = Part<'_>> {
        self.fields.iter().map(|field| match field {
            Field::Text(span) => Part::Text { key: span.key.of(&self.text), value: span.value.of(&self.text) },
            Field::Own(own) => Part::Own(&own.0, &own.1),
        })
    }

    fn entry(&self, field: &Field) -> (Value, Value) {
        match field {
            Field::Text(span) => entry(&self.text, *span),
            Field::Own(own) => (Value::String(own.0.clone()), own.1.clone()),
        }
    }

    fn position(&self, key: &str) -> Option<usize> {
        self.fields.iter().position(|field| key_of(&self.text, field) == key.as_bytes())
    }

    /// The fields, to change: what was read of all of them no longer holds.
    fn fields_mut(&mut self) -> &mut Vec<Field> {
        self.whole.take();
        &mut self.fields
    }
}

/// A field as it stands.
pub(super) enum Part<'o> {
    /// Plain JSON; the key has no escapes.
    Text {
        key: &'o [u8],
        value: &'o [u8],
    },
    Own(&'o str, &'o Value),
}

fn key_of<'o>(text: &'o Bytes, field: &'o Field) -> &'o [u8] {
    match field {
        Field::Text(span) => span.key.of(text),
        Field::Own(own) => own.0.as_bytes(),
    }
}

fn entry(text: &Bytes, span: FieldSpan) -> (Value, Value) {
    let key = std::str::from_utf8(span.key.of(text)).expect("a scanned text is UTF-8");
    (Value::string(key), read_value(text, span.value))
}

fn read_value(text: &Bytes, span: Span) -> Value {
    read::read(span.of(text)).expect("a scanned value can be read")
}
