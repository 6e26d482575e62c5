//! `JsonConverter`: JSON with its schema in an envelope, or without one.
//!
//! Without schemas nothing is decoded: a message is checked by one scan, and stays bytes until somebody looks. When it is known that
//! somebody will, the same scan notes where the fields are.

use penstock_api::config::Check;
use penstock_api::json::typed::{DecimalFormat, Rules};
use penstock_api::json::{self, schema as json_schema, typed};
use penstock_api::{
    Bytes, ConfigDef, ConfigKey, ConfigType, Converter, Error, Format, Importance, Part, Payload, Props, Record, Result, Schema,
    SchemaAndValue, SchemaRef, Value, async_trait,
};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::collections::HashMap;
use std::sync::Arc;

/// The converter.
pub(super) struct JsonConverter {
    schemas_enable: bool,
    /// A transform looks at each value.
    is_looked_at: bool,
    rules: Rules,
    /// `schema.content`: the schema of all messages, which then come without an envelope.
    content: Option<SchemaRef>,
    /// Schemas by the text they came as.
    read: Cache<String, Option<SchemaRef>>,
    /// The text of schemas, by their address; the entry keeps the schema alive, so the address stays its own.
    written: Cache<usize, (SchemaRef, Arc<str>)>,
}

/// The configuration of the converter, with Java's documentation.
pub(super) fn config() -> ConfigDef {
    ConfigDef::new([
        ConfigKey::optional("schemas.enable", ConfigType::Boolean, "true", "Include schemas within each of the serialized values and keys.")
            .importance(Importance::High)
            .shown("Schemas", 0, penstock_api::config::Width::Medium, "Enable Schemas"),
        ConfigKey::optional("schemas.cache.size", ConfigType::Int, "1000", "The maximum number of schemas that can be cached in this converter instance.")
            .importance(Importance::High)
            .shown("Schemas", 1, penstock_api::config::Width::Medium, "Schema Cache Size"),
        ConfigKey::nullable("schema.content", ConfigType::String, "When set, this is used as the schema for all messages, and the schemas within each of the message will be ignored. Otherwise, the schema should be in the contents of each message. This configuration applies only 'schemas.enable' is set to true, and it exclusively affects the sink connector.")
            .importance(Importance::High)
            .shown("Schemas", 2, penstock_api::config::Width::Medium, "Schema Content"),
        ConfigKey::optional("decimal.format", ConfigType::String, "BASE64", "Controls which format this converter will serialize decimals in. This value is case insensitive and can be either 'BASE64' (default) or 'NUMERIC'")
            .importance(Importance::Low)
            .check(Check::OneOfIgnoreCase(vec!["NUMERIC".into(), "BASE64".into()]))
            .shown("Serialization", 0, penstock_api::config::Width::Medium, "Decimal Format"),
        ConfigKey::optional("replace.null.with.default", ConfigType::Boolean, "true", "Whether to replace fields that have a default value and that are null to the default value. When set to true, the default value is used, otherwise null is used.")
            .importance(Importance::Low)
            .shown("Serialization", 1, penstock_api::config::Width::Medium, "Replace null with default"),
    ])
}

/// A value as JSON without its schema, for people and for what has no converter; `None` for null.
///
/// # Errors
/// `Data` when it cannot be read, or is none that JSON has.
pub fn as_json(payload: &Payload) -> Result<Option<Bytes>> {
    let props = [("schemas.enable".to_owned(), "false".to_owned())].into();
    JsonConverter::new(&props)?.write(payload)
}

impl JsonConverter {
    pub(super) fn new(props: &Props) -> Result<Self> {
        let config = config().parse(props)?;
        let numeric = config.string("decimal.format").eq_ignore_ascii_case("NUMERIC");
        let rules = Rules {
            decimal_format: if numeric { DecimalFormat::Numeric } else { DecimalFormat::Base64 },
            replace_null_with_default: config.boolean("replace.null.with.default"),
            is_exact: false,
        };
        let size = usize::try_from(config.number::<i64>("schemas.cache.size")).unwrap_or(0);
        let content = config.text("schema.content").filter(|c| !c.is_empty()).map(|text| schema_content(text, &rules));
        Ok(Self {
            schemas_enable: config.boolean("schemas.enable"),
            is_looked_at: false,
            content: content.transpose()?.flatten(),
            rules,
            read: Cache::new(size),
            written: Cache::new(size),
        })
    }

    fn enveloped(&mut self, json: &str) -> Result<SchemaAndValue> {
        let envelope: Envelope<'_> = serde_json::from_str(json).map_err(|_| Error::data(NO_ENVELOPE))?;
        let schema = match self.read.get(envelope.schema.get()) {
            Some(schema) => schema.clone(),
            None => {
                let text = envelope.schema.get();
                let parsed = serde_json::from_str(text).map_err(|e| Error::data("schema cannot be read").with_source(e))?;
                let schema = json_schema::read(&parsed, &self.rules)?;
                self.read.put(text.to_owned(), schema.clone());
                schema
            }
        };
        let value = typed::read(schema.as_ref(), envelope.payload.get(), &self.rules)?;
        Ok(SchemaAndValue { schema, value })
    }

    fn write(&mut self, payload: &Payload) -> Result<Option<Bytes>> {
        if !self.schemas_enable
            && let Some(encoded) = payload.wire()
            && matches!(encoded.format, Format::Json)
        {
            return Ok(Some(encoded.bytes.clone()));
        }
        let view = payload.view()?;
        let (schema, value) = (view.schema.as_ref(), &view.value);
        if schema.is_none() && value.is_null() {
            return Ok(None);
        }
        let mut out = Vec::with_capacity(256);
        if self.schemas_enable {
            out.extend_from_slice(br#"{"schema":"#);
            match schema {
                Some(schema) => out.extend_from_slice(self.schema_text(schema)?.as_bytes()),
                None => out.extend_from_slice(b"null"),
            }
            out.extend_from_slice(br#","payload":"#);
        }
        typed::write(schema.map(|s| &**s), value, &self.rules, &mut out)
            .map_err(|e| e.context("Converting Kafka Connect data to byte[] failed due to serialization error"))?;
        if self.schemas_enable {
            out.push(b'}');
        }
        Ok(Some(out.into()))
    }

    fn schema_text(&mut self, schema: &SchemaRef) -> Result<Arc<str>> {
        let address = Arc::as_ptr(schema).addr();
        if let Some((_, text)) = self.written.get(&address) {
            return Ok(text.clone());
        }
        let text: Arc<str> = json_schema::write(schema, &self.rules)?.to_string().into();
        self.written.put(address, (schema.clone(), text.clone()));
        Ok(text)
    }
}

const NO_ENVELOPE: &str = "JsonConverter with schemas.enable requires \"schema\" and \"payload\" fields and may not contain additional \
                           fields. If you are trying to deserialize plain JSON data, set schemas.enable=false in your converter \
                           configuration.";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Envelope<'j> {
    #[serde(borrow)]
    schema: &'j RawValue,
    #[serde(borrow)]
    payload: &'j RawValue,
}

fn schema_content(text: &str, rules: &Rules) -> Result<Option<SchemaRef>> {
    let wrong = || {
        Error::config("`schema.content` is no schema: give one as JsonConverter's envelopes hold it, as in {\"type\":\"int32\"}")
    };
    let json = serde_json::from_str(text).map_err(|e| wrong().with_source(e))?;
    json_schema::read(&json, rules).map_err(|e| wrong().with_source(e))
}

#[async_trait]
impl Converter for JsonConverter {
    fn expect_look(&mut self) {
        self.is_looked_at = true;
    }

    fn to_connect(&mut self, _topic: &str, wire: Option<&Bytes>) -> Result<Payload> {
        let Some(wire) = wire else { return Ok(Payload::null()) };
        let failed = |e: Error| e.context("Converting byte[] to Kafka Connect data failed due to serialization error");
        if !self.schemas_enable && self.is_looked_at {
            let opened = json::open(wire).map_err(failed)?;
            let payload = opened.map(|(text, value)| Payload::opened(text, Format::Json, SchemaAndValue::schemaless(value)));
            return Ok(payload.unwrap_or_default());
        }
        let json = json::check(wire).map_err(failed)?;
        if !self.schemas_enable {
            return Ok(json.map_or_else(Payload::null, |json| Payload::encoded(json, Format::Json)));
        }
        let json = json.unwrap_or_default();
        let json = std::str::from_utf8(&json).map_err(|e| Error::data("JSON is not UTF-8").with_source(e))?;
        if let Some(content) = &self.content {
            let value = if json.is_empty() { under_content(content)? } else { typed::read(Some(content), json, &self.rules)? };
            return Ok(SchemaAndValue::new(content.clone(), value).into());
        }
        let found = self.enveloped(json)?;
        Ok(if found == SchemaAndValue::default() { Payload::null() } else { found.into() })
    }

    async fn from_connect(&mut self, records: &[&Record], part: Part) -> Vec<Result<Option<Bytes>>> {
        records.iter().map(|record| self.write(part.of(record))).collect()
    }
}

fn under_content(schema: &Schema) -> Result<Value> {
    Err(Error::data(format!("an empty message is no {}", schema.kind.name())))
}

/// At most `size` entries; a full one is emptied, which is rare and simple.
struct Cache<K, V> {
    size: usize,
    entries: HashMap<K, V>,
}

impl<K: Eq + std::hash::Hash, V> Cache<K, V> {
    fn new(size: usize) -> Self {
        Self { size, entries: HashMap::new() }
    }

    fn get<Q: Eq + std::hash::Hash + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: std::borrow::Borrow<Q>,
    {
        self.entries.get(key)
    }

    fn put(&mut self, key: K, value: V) {
        if self.entries.len() >= self.size {
            self.entries.clear();
        }
        if self.size > 0 {
            self.entries.insert(key, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use penstock_api::{BigDecimal, Kind};

    fn converter(given: &[(&str, &str)]) -> JsonConverter {
        JsonConverter::new(&given.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()).unwrap()
    }

    fn read(converter: &mut JsonConverter, text: &str) -> Result<SchemaAndValue> {
        let payload = converter.to_connect("t", Some(&Bytes::copy_from_slice(text.as_bytes())))?;
        payload.view().map(std::borrow::Cow::into_owned)
    }

    /// Each answer is that of Java's JsonConverter 4.3.1.
    fn check(schema: &str, payload: &str, expected: Result<Value, &str>) {
        let found = read(&mut converter(&[]), &format!(r#"{{"schema":{schema},"payload":{payload}}}"#));
        match (found, expected) {
            (Ok(found), Ok(expected)) => assert_eq!(found.value, expected, "{schema} {payload}"),
            (Err(error), Err(message)) => assert!(error.to_string().contains(message), "{schema} {payload}: {error}"),
            (found, _) => panic!("{schema} {payload}: {found:?}"),
        }
    }

    fn write(converter: &mut JsonConverter, value: SchemaAndValue) -> String {
        String::from_utf8(converter.write(&value.into()).unwrap().unwrap().to_vec()).unwrap()
    }

    #[test]
    fn payloads_are_read_under_their_schema() {
        check("null", r#"{"a":1}"#, Ok(Value::Map(penstock_api::Map::from_unique(vec![(Value::string("a"), Value::Int64(1))]))));
        check("null", "null", Ok(Value::Null));
        check(r#"{"type":"int32"}"#, "7", Ok(Value::Int32(7)));
        check(r#"{"type":"int32"}"#, "007", Ok(Value::Int32(7)));
        check(r#"{"type":"int32"}"#, "null", Err("Invalid null value for required INT32 field"));
        check(r#"{"type":"int32","optional":true}"#, "null", Ok(Value::Null));
        check(r#"{"type":"int32","default":7}"#, "null", Ok(Value::Int32(7)));
        check(r#"{"type":"float"}"#, "1", Ok(Value::Float32(1.0)));
        check(r#"{"type":"bytes"}"#, r#""AQI=""#, Ok(Value::Bytes(Bytes::from_static(&[1, 2]))));
        check(r#"{"type":"bytes"}"#, r#""!!""#, Err("Invalid bytes field"));
        check(r#"{"type":"int32","name":"org.apache.kafka.connect.data.Date"}"#, "3", Ok(Value::Date(3)));
        check(r#"{"type":"int32","name":"org.apache.kafka.connect.data.Date"}"#, r#""x""#, Err("Invalid type for Date"));
        check(r#"{"type":"array","items":{"type":"int32"}}"#, "[1,2]", Ok(Value::Array(vec![Value::Int32(1), Value::Int32(2)])));
        let pairs = Value::Map(penstock_api::Map::from_unique(vec![(Value::Int32(1), Value::Int32(2))]));
        check(r#"{"type":"map","keys":{"type":"int32"},"values":{"type":"int32"}}"#, "[[1,2]]", Ok(pairs));
        check(r#"{"type":"map","keys":{"type":"string"},"values":{"type":"int32"}}"#, "[]", Err("Maps with string fields"));
        check(
            r#"{"type":"struct","fields":[{"field":"a","type":"int32"}]}"#,
            "[1]",
            Err("Structs should be encoded as JSON objects"),
        );
        check(r#"{"type":"foo"}"#, "1", Err("Unknown schema type: foo"));
        check("{}", "1", Err("Schema must contain 'type' field"));
        check(r#"{"type":"array"}"#, "[]", Err("Array schema did not specify the element type"));
        check(r#"{"type":"int32","parameters":{"a":1}}"#, "1", Err("Schema parameters must have string values."));
        // Here Java reads 0, null and 44.
        check(r#"{"type":"int32"}"#, r#""abc""#, Err("Invalid type for INT32"));
        check(r#"{"type":"string"}"#, "5", Err("Invalid type for STRING"));
        check(r#"{"type":"int8"}"#, "300", Err("300 does not fit into INT8"));
    }

    #[test]
    fn decimals_keep_all_digits() {
        let decimal = r#"{"type":"bytes","name":"org.apache.kafka.connect.data.Decimal","parameters":{"scale":"2"}}"#;
        let value = |text: &str| Ok(Value::Decimal(Box::new(text.parse::<BigDecimal>().unwrap())));
        check(decimal, r#""AQI=""#, value("2.58"));
        check(decimal, "12345678901234567890.12", value("12345678901234567890.12"));
        let big = SchemaAndValue::new(Schema::decimal(2), value("-2.58").unwrap());
        let envelope = r#"{"schema":{"type":"bytes","optional":false,"name":"org.apache.kafka.connect.data.Decimal","version":1,"parameters":{"scale":"2"}},"payload":"/v4="}"#;
        assert_eq!(write(&mut converter(&[]), big.clone()), envelope);
        let mut numeric = converter(&[("schemas.enable", "false"), ("decimal.format", "numeric")]);
        assert_eq!(write(&mut numeric, big), "-2.58");
    }

    #[test]
    fn structs_fill_in_defaults_and_pass_both_ways() {
        let schema = r#"{"type":"struct","fields":[{"type":"int32","optional":false,"default":5,"field":"a"},{"type":"string","optional":true,"field":"b"}],"optional":false,"name":"n","version":2,"doc":"d","parameters":{"p":"q"}}"#;
        let mut converter = converter(&[]);
        let full = format!(r#"{{"schema":{schema},"payload":{{"a":5,"b":null}}}}"#);
        for payload in ["{}", r#"{"b":null,"c":[{"x":1}],"a":5}"#] {
            let value = read(&mut converter, &format!(r#"{{"schema":{schema},"payload":{payload}}}"#)).unwrap();
            assert_eq!(write(&mut converter, value), full);
        }
        assert_eq!(converter.read.entries.len(), 1, "the schema was read once");
    }

    #[test]
    fn anything_but_an_envelope_is_refused_with_schemas() {
        for text in ["", "null", "1", "{}", r#"{"payload":1}"#, r#"{"schema":{"type":"int32"},"payload":1,"x":2}"#] {
            let error = read(&mut converter(&[]), text).unwrap_err().to_string();
            assert!(error.contains("may not contain additional fields"), "{text}: {error}");
        }
    }

    #[test]
    fn a_configured_schema_needs_no_envelope() {
        let content = r#"{"type":"struct","fields":[{"field":"a","type":"int32"}]}"#;
        let mut converter = converter(&[("schema.content", content)]);
        let Value::Struct(found) = read(&mut converter, r#"{"a":1}"#).unwrap().value else { panic!("a struct") };
        assert_eq!(found.get("a"), Some(&Value::Int32(1)));
        assert!(read(&mut converter, "null").unwrap_err().to_string().contains("required STRUCT"));
        assert!(JsonConverter::new(&[("schema.content".to_owned(), "{".to_owned())].into()).is_err());
    }

    #[test]
    fn without_schemas_bytes_pass_undecoded() {
        let mut converter = converter(&[("schemas.enable", "false")]);
        let wire = Bytes::from_static(br#"{"a": 1.50}"#);
        let payload = converter.to_connect("t", Some(&wire)).unwrap();
        assert!(payload.peek().is_none());
        assert_eq!(converter.write(&payload).unwrap().unwrap().as_ptr(), wire.as_ptr(), "not even copied");
        assert!(converter.to_connect("t", None).unwrap().is_null());
        assert!(converter.to_connect("t", Some(&Bytes::from_static(b" "))).unwrap().is_null());
        let error = converter.to_connect("t", Some(&Bytes::from_static(b"{"))).unwrap_err();
        assert!(
            format!("{error:#}")
                .starts_with("Converting byte[] to Kafka Connect data failed due to serialization error: expected")
        );
    }

    /// The scan that notes fields takes and refuses the same, with the same words.
    #[test]
    fn a_converter_that_expects_a_look_reads_the_same() {
        let (mut plain, mut looked_at) = (converter(&[("schemas.enable", "false")]), converter(&[("schemas.enable", "false")]));
        looked_at.expect_look();
        let object = looked_at.to_connect("t", Some(&Bytes::from_static(br#"{"a":1}"#))).unwrap();
        assert!(object.peek().is_some() && object.wire().is_some(), "decoded, and the bytes are there still");
        for text in [
            r#"{"a": 1.50, "b": {"c": [null]}}"#,
            r#"{"a":1,"a":2}"#,
            r#"{"\u0061":1}"#,
            "{\"a\":007} x",
            "\u{feff}{}",
            "[{\"a\":1},2]",
            "\"text\"",
            " ",
            "null",
            "{",
            "{\"a\":}",
            "{\"a\" 1}",
            "[1,]",
        ] {
            let [one, other] = [&mut plain, &mut looked_at].map(|converter| {
                let payload = converter.to_connect("t", Some(&Bytes::from(text.to_owned())));
                let wire = |payload: &Payload| payload.wire().map(|wire| wire.bytes.clone());
                payload.map(|p| (wire(&p), p.is_null(), p.view().unwrap().into_owned())).map_err(|e| format!("{e:#}"))
            });
            assert_eq!(one, other, "{text}");
        }
    }

    /// Jackson reads 1,000 levels; what is deeper is poison, found before anybody looks.
    #[test]
    fn a_message_deeper_than_jackson_reads_is_refused() {
        let mut converter = converter(&[("schemas.enable", "false")]);
        let nested = |depth| Bytes::from(["[".repeat(depth), "]".repeat(depth)].concat());
        assert!(converter.to_connect("t", Some(&nested(1_000))).unwrap().view().is_ok());
        assert!(converter.to_connect("t", Some(&nested(1_001))).is_err());
    }

    #[test]
    fn a_required_field_without_a_value_cannot_be_written() {
        let schema = Arc::new(Schema::record([("a", Schema::new(Kind::Int32))]));
        let value = SchemaAndValue::new(schema.clone(), Value::Struct(penstock_api::Struct::new(schema)));
        assert!(converter(&[]).write(&value.into()).is_err());
    }
}
