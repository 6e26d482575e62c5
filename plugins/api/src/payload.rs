//! What a record's key or value is until somebody looks: bytes with a known format, or a decoded value.

use bytes::Bytes;
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::schema;
use crate::value::{SchemaAndValue, Value};

/// A key, value or header value, decoded at most once, and only when asked for.
///
/// While nobody has changed it, the bytes from the wire stay at hand and can pass through untouched.
#[derive(Clone, Debug, Default)]
pub struct Payload {
    /// The wire's bytes; `None` once the value was changed, or was never bytes.
    encoded: Option<Encoded>,
    decoded: Option<Box<SchemaAndValue>>,
}

/// Bytes whose format the converter has checked.
#[derive(Clone, Debug)]
pub struct Encoded {
    pub bytes: Bytes,
    pub format: Format,
}

/// How to read the bytes of an [`Encoded`].
#[derive(Clone)]
pub enum Format {
    /// Opaque bytes (`ByteArrayConverter`).
    Bytes,
    /// UTF-8 text, checked (`StringConverter`).
    String,
    /// One JSON value without schema, checked (`JsonConverter`, `schemas.enable=false`).
    Json,
    /// Avro binary behind `header_len` bytes of framing.
    Avro(Arc<AvroFormat>),
    /// Anything else a converter can read later.
    Other(Arc<dyn Decode>),
}

/// A writer's schema and what reads its records; one shared by all records of a schema id.
pub struct AvroFormat {
    /// The registry's id.
    pub id: u32,
    /// The schema as JSON text, references resolved.
    pub schema_json: String,
    /// Bytes of framing before the Avro body: 5 in Confluent's.
    pub header_len: usize,
    /// Reads a whole payload, framing included.
    pub decode: Box<dyn Decode>,
}

/// Reads bytes that were checked before; what it cannot read is a `Data` error.
pub trait Decode: Send + Sync {
    fn decode(&self, bytes: &Bytes) -> Result<SchemaAndValue>;

    /// Whether bytes that were not checked yet can be read, which may cost less than to read them.
    ///
    /// # Errors
    /// `Data` when they cannot.
    fn check(&self, bytes: &Bytes) -> Result<()> {
        self.decode(bytes).map(drop)
    }
}

impl Payload {
    /// No bytes on the wire: a tombstone's value, a missing key.
    #[must_use]
    pub const fn null() -> Self {
        Self { encoded: None, decoded: None }
    }

    /// Bytes of a format that was checked.
    #[must_use]
    pub const fn encoded(bytes: Bytes, format: Format) -> Self {
        Self { encoded: Some(Encoded { bytes, format }), decoded: None }
    }

    /// Bytes of a format that was checked, and the value they hold.
    #[must_use]
    pub fn opened(bytes: Bytes, format: Format, value: SchemaAndValue) -> Self {
        Self { encoded: Some(Encoded { bytes, format }), decoded: Some(Box::new(value)) }
    }

    /// A value that never was bytes, or no longer is.
    #[must_use]
    pub fn decoded(value: SchemaAndValue) -> Self {
        Self { encoded: None, decoded: Some(Box::new(value)) }
    }

    /// Whether the value is null, with or without a schema. Undecoded JSON `null` counts, as in Connect.
    #[must_use]
    pub fn is_null(&self) -> bool {
        match (&self.decoded, &self.encoded) {
            (Some(decoded), _) => decoded.value.is_null(),
            (None, Some(encoded)) => match encoded.format {
                Format::Json => is_json_null(&encoded.bytes),
                Format::Bytes | Format::String => false,
                Format::Avro(_) | Format::Other(_) => self.view().is_ok_and(|v| v.value.is_null()),
            },
            (None, None) => true,
        }
    }

    /// The wire's bytes, as long as nobody has changed the value.
    #[must_use]
    pub fn wire(&self) -> Option<&Encoded> {
        self.encoded.as_ref()
    }

    /// The decoded value if somebody has looked already.
    #[must_use]
    pub fn peek(&self) -> Option<&SchemaAndValue> {
        self.decoded.as_deref()
    }

    /// The value, decoded now if it was not, without keeping it.
    ///
    /// # Errors
    /// `Data` when the bytes cannot be read.
    pub fn view(&self) -> Result<Cow<'_, SchemaAndValue>> {
        match (&self.decoded, &self.encoded) {
            (Some(decoded), _) => Ok(Cow::Borrowed(decoded)),
            (None, Some(encoded)) => encoded.decode().map(Cow::Owned),
            (None, None) => Ok(Cow::Owned(SchemaAndValue::default())),
        }
    }

    /// The value, decoded once; the wire's bytes stay.
    ///
    /// # Errors
    /// `Data` when the bytes cannot be read.
    pub fn decode(&mut self) -> Result<&SchemaAndValue> {
        self.ensure_decoded().map(|value| &*value)
    }

    /// The value, to change; the wire's bytes no longer stand for it.
    ///
    /// # Errors
    /// `Data` when the bytes cannot be read.
    pub fn decode_mut(&mut self) -> Result<&mut SchemaAndValue> {
        self.ensure_decoded()?;
        self.encoded = None;
        self.ensure_decoded()
    }

    fn ensure_decoded(&mut self) -> Result<&mut SchemaAndValue> {
        if self.decoded.is_none() {
            let value = self.encoded.as_ref().map_or_else(|| Ok(SchemaAndValue::default()), Encoded::decode)?;
            self.decoded = Some(Box::new(value));
        }
        Ok(self.decoded.as_mut().expect("decoded above"))
    }
}

impl From<SchemaAndValue> for Payload {
    fn from(value: SchemaAndValue) -> Self {
        Self::decoded(value)
    }
}

impl Encoded {
    /// Whether the bytes are what the format says, without reading more than that takes.
    ///
    /// # Errors
    /// `Data` when they are not.
    pub fn check(&self) -> Result<()> {
        match &self.format {
            Format::Bytes => Ok(()),
            Format::String | Format::Json => self.decode().map(drop),
            Format::Avro(avro) => avro.decode.check(&self.bytes),
            Format::Other(decode) => decode.check(&self.bytes),
        }
    }

    /// Reads the bytes.
    ///
    /// # Errors
    /// `Data` when they are not what the format says.
    pub fn decode(&self) -> Result<SchemaAndValue> {
        match &self.format {
            Format::Bytes => Ok(SchemaAndValue::new(schema::OPTIONAL_BYTES.clone(), Value::Bytes(self.bytes.clone()))),
            Format::String => {
                let text = std::str::from_utf8(&self.bytes).map_err(|e| Error::data("string is not UTF-8").with_source(e))?;
                Ok(SchemaAndValue::new(schema::OPTIONAL_STRING.clone(), Value::string(text)))
            }
            Format::Json => crate::json::parse(&self.bytes).map(SchemaAndValue::schemaless),
            Format::Avro(avro) => avro.decode.decode(&self.bytes),
            Format::Other(decode) => decode.decode(&self.bytes),
        }
    }
}

fn is_json_null(text: &[u8]) -> bool {
    text.trim_ascii() == b"null"
}

impl fmt::Debug for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Format::Bytes => f.write_str("Bytes"),
            Format::String => f.write_str("String"),
            Format::Json => f.write_str("Json"),
            Format::Avro(avro) => write!(f, "Avro({})", avro.id),
            Format::Other(_) => f.write_str("Other"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_pass_until_somebody_changes_the_value() {
        let mut payload = Payload::encoded(Bytes::from_static(br#"{"a":1}"#), Format::Json);
        payload.decode().unwrap();
        assert!(payload.wire().is_some());
        let Value::Map(map) = &mut payload.decode_mut().unwrap().value else { panic!("an object") };
        map.insert("a", Value::Int64(2));
        assert!(payload.wire().is_none());
        let Value::Map(map) = &payload.decode().unwrap().value else { panic!("an object") };
        assert_eq!(map.get("a"), Some(&Value::Int64(2)));
    }

    #[test]
    fn null_is_null_however_it_is_written() {
        assert!(Payload::null().is_null());
        assert!(Payload::encoded(Bytes::from_static(b" null\n"), Format::Json).is_null());
        assert!(Payload::decoded(SchemaAndValue::default()).is_null());
        assert!(!Payload::encoded(Bytes::new(), Format::Bytes).is_null());
    }
}
