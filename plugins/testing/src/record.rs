//! Records as cases write them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use penstock_api::{Bytes, Format, Header, Payload, Record, Result, SourceMap, Value};
use serde::{Deserialize, Serialize};

/// A record that a plugin is given, or has given.
///
/// ```
/// use penstock_plugin_testing::{TestRecord, json};
///
/// let order = TestRecord::new("orders").key("o-1").value(json!({"total": 12.5})).at(0, 7);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TestRecord {
    pub topic: String,
    /// The Kafka partition; `None`: the producer decides by the key.
    pub partition: Option<i32>,
    /// Where Kafka keeps it; only records on their way to a sink have one.
    pub offset: Option<i64>,
    pub key: Content,
    pub value: Content,
    pub headers: Vec<(String, Content)>,
    /// Milliseconds since 1970-01-01T00:00Z.
    pub timestamp: Option<i64>,
    /// Of a source's record: its source partition and the source offset behind it.
    pub position: Option<(SourceMap, SourceMap)>,
}

/// A key, a value or a header's value.
///
/// A plugin gets JSON as the JSON converter without schemas gives it, text as the string converter and bytes as the byte converter do.
/// Values with schemas (Avro) cannot be written in cases.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Content {
    #[default]
    Null,
    Json(serde_json::Value),
    Text(String),
    Bytes(#[serde(with = "as_base64")] Vec<u8>),
}

impl TestRecord {
    /// A record without key and value.
    #[must_use]
    pub fn new(topic: &str) -> Self {
        Self { topic: topic.to_owned(), ..Self::default() }
    }

    /// The same with this key.
    #[must_use]
    pub fn key(self, key: impl Into<Content>) -> Self {
        Self { key: key.into(), ..self }
    }

    /// The same with this value.
    #[must_use]
    pub fn value(self, value: impl Into<Content>) -> Self {
        Self { value: value.into(), ..self }
    }

    /// The same with one header more.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<Content>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// The same with this timestamp, in milliseconds since 1970-01-01T00:00Z.
    #[must_use]
    pub fn timestamp(self, timestamp: i64) -> Self {
        Self { timestamp: Some(timestamp), ..self }
    }

    /// The same at this place in Kafka.
    #[must_use]
    pub fn at(self, partition: i32, offset: i64) -> Self {
        Self { partition: Some(partition), offset: Some(offset), ..self }
    }

    /// The same read from this source partition, with this source offset behind it; both are JSON objects.
    ///
    /// # Panics
    /// When one is no object.
    #[must_use]
    pub fn from(self, partition: serde_json::Value, offset: serde_json::Value) -> Self {
        Self { position: Some((map(partition), map(offset))), ..self }
    }

    pub(crate) fn to_record(&self) -> Record {
        let headers = self.headers.iter();
        Record {
            topic: self.topic.as_str().into(),
            partition: self.partition,
            key: self.key.to_payload(),
            value: self.value.to_payload(),
            headers: headers.map(|(name, value)| Header { key: name.into(), value: value.to_payload() }).collect(),
            timestamp: self.timestamp,
            offset: self.offset,
        }
    }

    pub(crate) fn of(record: &Record) -> Result<Self> {
        let headers = record.headers.iter();
        Ok(Self {
            topic: record.topic.to_string(),
            partition: record.partition,
            offset: record.offset,
            key: Content::of(&record.key)?,
            value: Content::of(&record.value)?,
            headers: headers.map(|header| Ok((header.key.to_string(), Content::of(&header.value)?))).collect::<Result<_>>()?,
            timestamp: record.timestamp,
            position: None,
        })
    }
}

/// A JSON object of a case.
///
/// # Panics
/// When it is none.
pub(crate) fn map(value: serde_json::Value) -> SourceMap {
    match value {
        serde_json::Value::Object(map) => map,
        other => panic!("source partitions and source offsets are JSON objects, not {other}"),
    }
}

impl Content {
    fn to_payload(&self) -> Payload {
        match self {
            Content::Null => Payload::null(),
            Content::Json(value) => Payload::encoded(Bytes::from(value.to_string()), Format::Json),
            Content::Text(text) => Payload::encoded(Bytes::copy_from_slice(text.as_bytes()), Format::String),
            Content::Bytes(bytes) => Payload::encoded(Bytes::copy_from_slice(bytes), Format::Bytes),
        }
    }

    fn of(payload: &Payload) -> Result<Self> {
        Ok(match &payload.view()?.value {
            Value::Null => Content::Null,
            Value::String(text) => Content::Text(text.to_string()),
            // Headers cross as bytes, which is no difference to whoever reads them.
            Value::Bytes(bytes) => std::str::from_utf8(bytes).map_or_else(|_| Content::Bytes(bytes.to_vec()), Content::from),
            value => {
                let mut text = Vec::new();
                penstock_api::json::write(value, &mut text)?;
                let parsed = serde_json::from_slice(&text);
                Content::Json(
                    parsed.map_err(|e| penstock_api::Error::data("the value cannot be written as JSON").with_source(e))?,
                )
            }
        })
    }

    /// A JSON text and a text are the same to a plugin, and so are a text and its bytes: which of them it is decides the converter.
    fn as_text(&self) -> Option<&str> {
        match self {
            Content::Json(serde_json::Value::String(text)) | Content::Text(text) => Some(text),
            Content::Bytes(bytes) => std::str::from_utf8(bytes).ok(),
            Content::Json(_) | Content::Null => None,
        }
    }
}

impl PartialEq for Content {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Content::Null | Content::Json(serde_json::Value::Null), Content::Null | Content::Json(serde_json::Value::Null)) => {
                true
            }
            (Content::Json(a), Content::Json(b)) => a == b,
            (Content::Bytes(a), Content::Bytes(b)) => a == b,
            _ => self.as_text().is_some() && self.as_text() == other.as_text(),
        }
    }
}

impl From<serde_json::Value> for Content {
    fn from(value: serde_json::Value) -> Self {
        Content::Json(value)
    }
}

impl From<&str> for Content {
    fn from(text: &str) -> Self {
        Content::Text(text.to_owned())
    }
}

impl From<&[u8]> for Content {
    fn from(bytes: &[u8]) -> Self {
        Content::Bytes(bytes.to_vec())
    }
}

mod as_base64 {
    use serde::{Deserialize, Deserializer, Serializer};

    use super::{Engine, STANDARD};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&STANDARD.encode(bytes))
    }

    pub(super) fn deserialize<'d, D: Deserializer<'d>>(from: D) -> Result<Vec<u8>, D::Error> {
        STANDARD.decode(String::deserialize(from)?).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_record_comes_back_as_it_was_written() {
        let record =
            TestRecord::new("t").key("k").value(json!({"a": [1, 2.5, null, "x"]})).header("h", "v").timestamp(3).at(1, 2);
        assert_eq!(TestRecord::of(&record.to_record()).unwrap(), record);
        let bytes = TestRecord::new("t").value(&[0xff, 0xfe][..]);
        assert_eq!(TestRecord::of(&bytes.to_record()).unwrap(), bytes);
        let crossed: TestRecord = serde_json::from_str(&serde_json::to_string(&bytes).unwrap()).unwrap();
        assert_eq!(crossed, bytes);
    }

    #[test]
    fn contents_differ_where_a_plugin_sees_a_difference() {
        assert_eq!(Content::from(json!("x")), Content::from("x"));
        assert_eq!(Content::Null, Content::from(json!(null)));
        assert_ne!(Content::from(json!(1)), Content::from("1"));
        assert_ne!(Content::Null, Content::from(""));
        assert_ne!(Content::from(&[0xff][..]), Content::from(&[0xfe][..]));
    }
}
