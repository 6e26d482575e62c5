//! Converters whose bytes need no schema elsewhere: text, bytes, and single numbers as Kafka's own serializers write them.

use penstock_api::config::{Check, Width};
use penstock_api::schema::{OPTIONAL_BYTES, OPTIONAL_STRING};
use penstock_api::{
    Bytes, ConfigDef, ConfigKey, ConfigType, Converter, Error, Format, HeaderConverter, Importance, Kind, Part, Payload, Props,
    Record, Result, Schema, SchemaAndValue, SchemaRef, Value, async_trait,
};
use std::sync::Arc;

/// `ByteArrayConverter`: bytes, whatever they hold.
pub(super) struct ByteArrayConverter;

impl ByteArrayConverter {
    fn read(wire: Option<&Bytes>) -> Payload {
        match wire {
            Some(wire) => Payload::encoded(wire.clone(), Format::Bytes),
            None => null_under(&OPTIONAL_BYTES),
        }
    }

    fn write(payload: &Payload) -> Result<Option<Bytes>> {
        if let Some(encoded) = payload.wire()
            && matches!(encoded.format, Format::Bytes)
        {
            return Ok(Some(encoded.bytes.clone()));
        }
        let view = payload.view()?;
        if let Some(schema) = view.schema.as_ref().filter(|s| s.kind != Kind::Bytes) {
            let kind = schema.kind.name();
            return Err(Error::data(format!("Invalid schema type for ByteArrayConverter: {kind}")));
        }
        match &view.value {
            Value::Null => Ok(None),
            Value::Bytes(bytes) => Ok(Some(bytes.clone())),
            other => Err(Error::data(format!(
                "ByteArrayConverter is not compatible with objects of type class {}",
                other.java_class()
            ))),
        }
    }
}

/// `StringConverter`: text, UTF-8 unless `converter.encoding` says otherwise.
pub(super) struct StringConverter {
    reads: Charset,
    writes: Charset,
}

/// The character sets a JVM always has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Charset {
    Utf8,
    Ascii,
    Latin1,
    Utf16Be,
    Utf16Le,
    /// By its byte order mark; big-endian without one.
    Utf16,
}

/// Both a converter's and a header converter's.
pub(super) fn string_config() -> ConfigDef {
    // Java reads them, too, without declaring them.
    let encoding = |name: &str, doc: &str| ConfigKey { internal: true, ..ConfigKey::nullable(name, ConfigType::String, doc) };
    ConfigDef::new([
        ConfigKey::optional(
            "converter.encoding",
            ConfigType::String,
            "UTF-8",
            "The name of the Java character set to use for encoding strings as byte arrays.",
        )
        .importance(Importance::High)
        .shown_as(Width::Medium, "Encoding")
        .check(Check::Custom(|name| Charset::named(name).map(|_| ()).ok_or_else(|| CHARSETS.into()))),
        encoding("key.converter.encoding", "The character set of keys, where it is not converter.encoding."),
        encoding("value.converter.encoding", "The character set of values, where it is not converter.encoding."),
    ])
}

const CHARSETS: &str = "Must be one of UTF-8, US-ASCII, ISO-8859-1, UTF-16, UTF-16BE, UTF-16LE";

impl Charset {
    fn named(name: &str) -> Option<Self> {
        Some(match name.to_ascii_uppercase().as_str() {
            "UTF-8" | "UTF8" => Charset::Utf8,
            "US-ASCII" | "ASCII" => Charset::Ascii,
            "ISO-8859-1" | "LATIN1" | "ISO8859_1" => Charset::Latin1,
            "UTF-16" => Charset::Utf16,
            "UTF-16BE" => Charset::Utf16Be,
            "UTF-16LE" => Charset::Utf16Le,
            _ => return None,
        })
    }

    /// As `new String(bytes, charset)`: what cannot be read becomes U+FFFD.
    fn read(self, bytes: &[u8]) -> String {
        let units = |order: fn([u8; 2]) -> u16, bytes: &[u8]| {
            let (units, rest) = bytes.as_chunks::<2>();
            let units: Vec<u16> = units.iter().map(|unit| order(*unit)).collect();
            String::from_utf16_lossy(&units) + if rest.is_empty() { "" } else { "\u{fffd}" }
        };
        match self {
            Charset::Utf8 => String::from_utf8_lossy(bytes).into_owned(),
            Charset::Ascii => bytes.iter().map(|b| if b.is_ascii() { char::from(*b) } else { '\u{fffd}' }).collect(),
            Charset::Latin1 => bytes.iter().map(|b| char::from(*b)).collect(),
            Charset::Utf16Be => units(u16::from_be_bytes, bytes),
            Charset::Utf16Le => units(u16::from_le_bytes, bytes),
            Charset::Utf16 => match bytes {
                [0xff, 0xfe, rest @ ..] => units(u16::from_le_bytes, rest),
                [0xfe, 0xff, rest @ ..] => units(u16::from_be_bytes, rest),
                all => units(u16::from_be_bytes, all),
            },
        }
    }

    /// As `String.getBytes(charset)`: what cannot be written becomes `?`.
    fn write(self, text: &str) -> Bytes {
        let narrow = |max: u32| {
            text.chars().map(|c| u8::try_from(u32::from(c)).ok().filter(|b| u32::from(*b) < max).unwrap_or(b'?')).collect()
        };
        match self {
            Charset::Utf8 => Bytes::copy_from_slice(text.as_bytes()),
            Charset::Ascii => narrow(0x80),
            Charset::Latin1 => narrow(0x100),
            Charset::Utf16Be => text.encode_utf16().flat_map(u16::to_be_bytes).collect(),
            Charset::Utf16Le => text.encode_utf16().flat_map(u16::to_le_bytes).collect(),
            Charset::Utf16 => std::iter::once(0xfeff).chain(text.encode_utf16()).flat_map(u16::to_be_bytes).collect(),
        }
    }
}

impl StringConverter {
    /// `part` is `None` for headers.
    pub(super) fn new(props: &Props, part: Option<Part>) -> Result<Self> {
        let config = string_config().parse(props)?;
        let own = part.and_then(|part| config.text(&format!("{}.converter.encoding", part.name())).map(str::to_owned));
        let name = own.unwrap_or_else(|| config.string("converter.encoding").to_owned());
        let charset =
            Charset::named(&name).ok_or_else(|| Error::config(format!("`converter.encoding` is `{name}`. {CHARSETS}")))?;
        Ok(Self { reads: charset, writes: charset })
    }

    fn read(&self, wire: Option<&Bytes>) -> Payload {
        let Some(wire) = wire else { return null_under(&OPTIONAL_STRING) };
        if self.reads == Charset::Utf8 && std::str::from_utf8(wire).is_ok() {
            return Payload::encoded(wire.clone(), Format::String);
        }
        Payload::decoded(SchemaAndValue::new(OPTIONAL_STRING.clone(), Value::string(self.reads.read(wire))))
    }

    fn write(&self, payload: &Payload) -> Result<Option<Bytes>> {
        if let Some(encoded) = payload.wire()
            && self.writes == Charset::Utf8
            && matches!(encoded.format, Format::String)
        {
            return Ok(Some(encoded.bytes.clone()));
        }
        let view = payload.view()?;
        // Java writes whatever there is, by its `toString`.
        Ok(match &view.value {
            Value::Null => None,
            Value::String(text) => Some(self.writes.write(text)),
            other => Some(self.writes.write(&super::simple_header::to_text(other)?)),
        })
    }
}

/// `IntegerConverter` and its like: one big-endian number, or a boolean.
pub(super) struct NumberConverter {
    kind: Kind,
    schema: SchemaRef,
}

impl NumberConverter {
    pub(super) fn new(kind: Kind) -> Self {
        Self { kind, schema: Arc::new(Schema::new(kind).optional()) }
    }

    fn read(&self, topic: &str, wire: Option<&Bytes>) -> Result<Payload> {
        let Some(wire) = wire else { return Ok(null_under(&self.schema)) };
        let value = match (self.kind, &wire[..]) {
            (Kind::Boolean, [0]) => Some(Value::Boolean(false)),
            (Kind::Boolean, [1]) => Some(Value::Boolean(true)),
            (Kind::Int16, b) => b.try_into().ok().map(|b| Value::Int16(i16::from_be_bytes(b))),
            (Kind::Int32, b) => b.try_into().ok().map(|b| Value::Int32(i32::from_be_bytes(b))),
            (Kind::Int64, b) => b.try_into().ok().map(|b| Value::Int64(i64::from_be_bytes(b))),
            (Kind::Float32, b) => b.try_into().ok().map(|b| Value::Float32(f32::from_be_bytes(b))),
            (Kind::Float64, b) => b.try_into().ok().map(|b| Value::Float64(f64::from_be_bytes(b))),
            _ => None,
        };
        let value = value.ok_or_else(|| {
            Error::data(format!("{} bytes of topic {topic} are no {}", wire.len(), self.kind.name()))
                .context("Failed to deserialize data")
        })?;
        Ok(SchemaAndValue::new(self.schema.clone(), value).into())
    }

    fn write(&self, topic: &str, payload: &Payload) -> Result<Option<Bytes>> {
        let view = payload.view()?;
        let bytes: &[u8] = match (self.kind, &view.value) {
            (_, Value::Null) => return Ok(None),
            (Kind::Boolean, Value::Boolean(b)) => &[u8::from(*b)],
            (Kind::Int16, Value::Int16(n)) => &n.to_be_bytes(),
            (Kind::Int32, Value::Int32(n)) => &n.to_be_bytes(),
            (Kind::Int64, Value::Int64(n)) => &n.to_be_bytes(),
            (Kind::Float32, Value::Float32(x)) => &x.to_be_bytes(),
            (Kind::Float64, Value::Float64(x)) => &x.to_be_bytes(),
            (kind, other) => {
                return Err(Error::data(format!("{} for topic {topic} is no {}", other.java_class(), kind.name()))
                    .context("Failed to serialize data"));
            }
        };
        Ok(Some(Bytes::copy_from_slice(bytes)))
    }
}

fn null_under(schema: &SchemaRef) -> Payload {
    Payload::decoded(SchemaAndValue::new(schema.clone(), Value::Null))
}

#[async_trait]
impl Converter for ByteArrayConverter {
    fn to_connect(&mut self, _topic: &str, wire: Option<&Bytes>) -> Result<Payload> {
        Ok(Self::read(wire))
    }

    async fn from_connect(&mut self, records: &[&Record], part: Part) -> Vec<Result<Option<Bytes>>> {
        records.iter().map(|r| Self::write(part.of(r))).collect()
    }
}

#[async_trait]
impl Converter for StringConverter {
    fn to_connect(&mut self, _topic: &str, wire: Option<&Bytes>) -> Result<Payload> {
        Ok(self.read(wire))
    }

    async fn from_connect(&mut self, records: &[&Record], part: Part) -> Vec<Result<Option<Bytes>>> {
        records.iter().map(|r| self.write(part.of(r))).collect()
    }
}

#[async_trait]
impl Converter for NumberConverter {
    fn to_connect(&mut self, topic: &str, wire: Option<&Bytes>) -> Result<Payload> {
        self.read(topic, wire)
    }

    async fn from_connect(&mut self, records: &[&Record], part: Part) -> Vec<Result<Option<Bytes>>> {
        records.iter().map(|r| self.write(&r.topic, part.of(r))).collect()
    }
}

impl HeaderConverter for ByteArrayConverter {
    fn to_connect(&mut self, _topic: &str, _header: &str, wire: Option<&Bytes>) -> Result<Payload> {
        Ok(Self::read(wire))
    }

    fn from_connect(&mut self, _topic: &str, _header: &str, value: &Payload) -> Result<Option<Bytes>> {
        Self::write(value)
    }
}

impl HeaderConverter for StringConverter {
    fn to_connect(&mut self, _topic: &str, _header: &str, wire: Option<&Bytes>) -> Result<Payload> {
        Ok(self.read(wire))
    }

    fn from_connect(&mut self, _topic: &str, _header: &str, value: &Payload) -> Result<Option<Bytes>> {
        self.write(value)
    }
}

impl HeaderConverter for NumberConverter {
    fn to_connect(&mut self, topic: &str, _header: &str, wire: Option<&Bytes>) -> Result<Payload> {
        self.read(topic, wire)
    }

    fn from_connect(&mut self, topic: &str, _header: &str, value: &Payload) -> Result<Option<Bytes>> {
        self.write(topic, value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn props(given: &[(&str, &str)]) -> Props {
        given.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    fn read_back(charset: &str, bytes: &[u8], text: &str) {
        let converter = StringConverter::new(&props(&[("converter.encoding", charset)]), Some(Part::Value)).unwrap();
        let payload = converter.read(Some(&Bytes::copy_from_slice(bytes)));
        assert_eq!(payload.view().unwrap().value, Value::string(text), "{charset}");
    }

    #[test]
    fn text_is_read_in_its_character_set() {
        read_back("UTF-8", "é".as_bytes(), "é");
        read_back("UTF-8", b"a\xff", "a\u{fffd}");
        read_back("iso-8859-1", b"\xe9", "é");
        read_back("US-ASCII", b"a\xe9", "a\u{fffd}");
        read_back("UTF-16", &[0xff, 0xfe, 0xe9, 0], "é");
        read_back("UTF-16BE", &[0, 0xe9, 1], "é\u{fffd}");
        assert!(StringConverter::new(&props(&[("converter.encoding", "EBCDIC")]), None).is_err());
    }

    #[test]
    fn a_key_may_have_its_own_character_set() {
        let given = props(&[("converter.encoding", "UTF-16"), ("key.converter.encoding", "ISO-8859-1")]);
        assert_eq!(StringConverter::new(&given, Some(Part::Key)).unwrap().writes, Charset::Latin1);
        assert_eq!(StringConverter::new(&given, Some(Part::Value)).unwrap().writes, Charset::Utf16);
    }

    #[test]
    fn text_is_written_in_its_character_set() {
        assert_eq!(&Charset::Latin1.write("é€")[..], b"\xe9?");
        assert_eq!(&Charset::Ascii.write("é")[..], b"?");
        assert_eq!(&Charset::Utf16.write("é")[..], [0xfe, 0xff, 0, 0xe9]);
    }

    #[test]
    fn numbers_pass_both_ways_and_other_lengths_are_refused() {
        for (kind, bytes) in [
            (Kind::Boolean, &[1][..]),
            (Kind::Int16, &[0xff, 0xfe]),
            (Kind::Int32, &[0, 0, 1, 0]),
            (Kind::Int64, &[0x80, 0, 0, 0, 0, 0, 0, 1]),
            (Kind::Float32, &[0x3f, 0x80, 0, 0]),
            (Kind::Float64, &[0x3f, 0xf0, 0, 0, 0, 0, 0, 0]),
        ] {
            let converter = NumberConverter::new(kind);
            let payload = converter.read("t", Some(&Bytes::copy_from_slice(bytes))).unwrap();
            assert_eq!(converter.write("t", &payload).unwrap().as_deref(), Some(bytes), "{kind:?}");
            assert!(converter.read("t", Some(&Bytes::from_static(b"12345678901"))).is_err());
            assert!(converter.read("t", None).unwrap().is_null());
        }
    }

    #[test]
    fn bytes_stay_what_they_are() {
        let payload = ByteArrayConverter::read(Some(&Bytes::from_static(b"\xff\0")));
        assert_eq!(ByteArrayConverter::write(&payload).unwrap().as_deref(), Some(&b"\xff\0"[..]));
        assert!(ByteArrayConverter::write(&SchemaAndValue::schemaless(Value::Int32(1)).into()).is_err());
    }
}
