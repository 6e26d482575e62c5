//! Schemas that a source has declared, and its values under them.

use std::collections::HashMap;
use std::sync::Arc;

use penstock_api::json::typed::{Room, Rules};
use penstock_api::json::{schema, typed};
use penstock_api::payload::Decode;
use penstock_api::{Bytes, Error, Format, Payload, Result, SchemaAndValue, SchemaRef};

/// All schemas of an instance may have this part of its memory as text: 4 MiB of 64.
const MEMORY_SHARE: usize = 16;
/// Values in the defaults of all schemas of an instance.
const DEFAULTS_MAX: usize = 100_000;

/// The schemas of one instance, each with its number.
pub(crate) struct RowSchemas {
    schemas: Vec<SchemaRef>,
    numbers: HashMap<String, u32>,
    bytes_left: usize,
    defaults: Room,
}

impl RowSchemas {
    pub(crate) fn new(memory_bytes_max: usize) -> Self {
        Self {
            schemas: Vec::new(),
            numbers: HashMap::new(),
            bytes_left: memory_bytes_max / MEMORY_SHARE,
            defaults: Room::of(DEFAULTS_MAX),
        }
    }

    /// The number of a schema as JSON text; the same text has the same number.
    pub(crate) fn declare(&mut self, text: String) -> std::result::Result<u32, String> {
        if let Some(number) = self.numbers.get(&text) {
            return Ok(*number);
        }
        let left = self.bytes_left.checked_sub(text.len());
        let left =
            left.ok_or_else(|| format!("there is room for schemas of {} bytes more, not of {}", self.bytes_left, text.len()))?;
        let json = serde_json::from_str(&text).map_err(|e| format!("the schema is no JSON: {e}"))?;
        let read =
            schema::read_within(&json, &Rules::EXACT, &self.defaults).map_err(|e| format!("the schema cannot be read: {e:#}"))?;
        let schema = read.ok_or("the schema is null")?;
        let number = self.schemas.len() as u32;
        self.schemas.push(schema);
        self.numbers.insert(text, number);
        self.bytes_left = left;
        Ok(number)
    }

    pub(crate) fn get(&self, number: u32) -> std::result::Result<&SchemaRef, String> {
        self.schemas.get(number as usize).ok_or_else(|| format!("no schema has the number {number}"))
    }
}

/// A JSON text as the value that it is under the schema. One that does not fit is a record that fails when somebody looks at it, as
/// bytes do that a converter cannot read; an error is want of room.
pub(crate) fn under(schema: &SchemaRef, text: Bytes, room: &Room) -> std::result::Result<Payload, String> {
    let json = std::str::from_utf8(&text).map_err(|e| e.to_string())?;
    match typed::read_within(Some(schema), json, &Rules::EXACT, room) {
        Ok(value) => Ok(SchemaAndValue::new(schema.clone(), value).into()),
        Err(why) if room.is_used_up() => Err(why.to_string()),
        Err(why) => {
            let name = schema.name.as_deref().unwrap_or_else(|| schema.kind.name());
            let why = format!("the plugin gave a value that does not fit its schema {name}: {why}");
            Ok(Payload::encoded(text, Format::Other(Arc::new(Unfit(why)))))
        }
    }
}

/// What cannot be read, and why.
struct Unfit(String);

impl Decode for Unfit {
    fn decode(&self, _: &Bytes) -> Result<SchemaAndValue> {
        Err(Error::data(&self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use penstock_api::Value;

    const ORDER: &str = r#"{"type":"struct","name":"shop.Order","fields":[
        {"field":"id","type":"int64"},
        {"field":"total","type":"bytes","name":"org.apache.kafka.connect.data.Decimal","parameters":{"scale":"2"}},
        {"field":"note","type":"string","optional":true,"default":"-"},
        {"field":"rate","type":"double","default":1.5},
        {"field":"tags","type":"map","keys":{"type":"int32"},"values":{"type":"boolean"},"optional":true}]}"#;

    fn declared(text: &str) -> std::result::Result<SchemaRef, String> {
        let mut schemas = RowSchemas::new(64 << 20);
        let number = schemas.declare(text.to_owned())?;
        schemas.get(number).cloned()
    }

    fn order(json: &str) -> Payload {
        under(&declared(ORDER).unwrap(), Bytes::from(json.to_owned()), &Room::of(1_000)).unwrap()
    }

    fn fields(json: &str) -> Vec<Value> {
        let payload = order(json);
        let view = payload.view().unwrap();
        assert_eq!(view.schema.as_ref().and_then(|schema| schema.name.as_deref()), Some("shop.Order"));
        let Value::Struct(record) = &view.value else { panic!("a struct") };
        record.values().to_vec()
    }

    #[test]
    fn values_are_read_under_their_schema() {
        let decimal = |text: &str| Value::Decimal(Box::new(text.parse().unwrap()));
        let found = fields(r#"{"id":7,"total":12.5,"note":null,"tags":[[1,true]]}"#);
        let tags = penstock_api::Map::from_unique(vec![(Value::Int32(1), Value::Boolean(true))]);
        assert_eq!(found, [Value::Int64(7), decimal("12.50"), Value::Null, Value::Float64(1.5), Value::Map(tags)]);
        let found = fields(r#"{"rate":"-Infinity","total":"AQI=","id":-1}"#);
        assert_eq!(found[1..4], [decimal("2.58"), Value::string("-"), Value::Float64(f64::NEG_INFINITY)]);
    }

    #[test]
    fn what_does_not_fit_fails_as_a_record() {
        for (json, why) in [
            ("7", "Structs should be encoded as JSON objects, but found NUMBER"),
            ("{}", "field id: Invalid null value for required INT64 field"),
            (r#"{"id":"7"}"#, "Invalid type for INT64: found STRING"),
            (r#"{"id":1.5}"#, "1.5 does not fit into INT64"),
            (r#"{"id":7,"total":1,"more":1}"#, "member more is no field of the schema"),
            (r#"{"id":7,"total":0.125}"#, "a Decimal of scale 2 cannot hold 0.125"),
            (r#"{"id":7,"total":1e999999999}"#, "exponent"),
            (r#"{"id":7,"total":1,"tags":{"1":true}}"#, "Maps with non-string fields should be encoded as JSON array of tuples"),
        ] {
            let payload = order(json);
            let error = payload.view().unwrap_err();
            assert_eq!(error.kind(), penstock_api::ErrorKind::Data, "{json}");
            let text = error.to_string();
            let begin = "the plugin gave a value that does not fit its schema shop.Order: ";
            assert!(text.starts_with(begin) && text.contains(why), "{json}: {text}");
            assert_eq!(payload.wire().unwrap().bytes, json.as_bytes(), "dead letters hold what was given");
        }
        let many = format!(r#"{{"id":7,"total":{}}}"#, "1".repeat(2_000));
        assert!(order(&many).view().unwrap_err().to_string().contains("more than 1000 digits"));
        let deep = format!(r#"{{"note":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
        assert!(order(&deep).view().is_err());
    }

    #[test]
    fn garbage_is_no_schema() {
        for (text, why) in [
            ("{", "no JSON"),
            ("null", "null"),
            ("7", "Schema must contain 'type' field"),
            (r#"{"type":"text"}"#, "Unknown schema type: text"),
            (r#"{"type":"map","keys":{"type":"string"}}"#, "did not specify the value type"),
            (r#"{"type":"struct","fields":[{"field":"a","type":"int8"},{"field":"a","type":"int8"}]}"#, "name duplication a"),
            (r#"{"type":"int8","default":"x"}"#, "Invalid type for INT8"),
            (format!(r#"{{"type":"int8","name":"{}"}}"#, "n".repeat(1_025)).as_str(), "a name of 1025 bytes: 1024 are allowed"),
            (r#"{"type":"string","name":"org.apache.kafka.connect.data.Date"}"#, "is a name for type int32, not for string"),
            (r#"{"type":"bytes","name":"org.apache.kafka.connect.data.Decimal"}"#, "needs the parameter scale"),
            (
                r#"{"type":"bytes","name":"org.apache.kafka.connect.data.Decimal","parameters":{"scale":"2000000000"}}"#,
                "needs the parameter scale",
            ),
        ] {
            let refused = declared(text).unwrap_err();
            assert!(refused.contains(why), "{text}: {refused}");
        }
    }

    /// A few bytes under a schema of very many optional fields would fill the worker's memory.
    #[test]
    fn values_that_nobody_wrote_need_room_too() {
        let fields: Vec<String> = (0..2_000).map(|n| format!(r#"{{"field":"f{n}","type":"int8","optional":true}}"#)).collect();
        let fields = fields.join(",");
        let text = format!(r#"{{"type":"array","items":{{"type":"struct","fields":[{fields}]}}}}"#);
        let schema = declared(&text).unwrap();
        let given = |rows: usize| Bytes::from(format!("[{}]", vec!["{}"; rows].join(",")));
        assert!(under(&schema, given(4), &Room::of(10_000)).unwrap().view().is_ok());
        assert!(under(&schema, given(5), &Room::of(10_000)).unwrap_err().contains("more values than there is room for"));
        // Members in another order than the schema's are found all the same.
        let backwards: Vec<String> = (0..2_000).rev().map(|n| format!(r#""f{n}":{}"#, n % 100)).collect();
        let backwards = Bytes::from(format!("[{{{}}}]", backwards.join(",")));
        let Value::Array(items) = under(&schema, backwards, &Room::of(10_000)).unwrap().view().unwrap().into_owned().value else {
            panic!("an array")
        };
        let Value::Struct(record) = &items[0] else { panic!("a struct") };
        assert_eq!(record.get("f1999"), Some(&Value::Int8(99)));

        let many = vec!["{}"; 51].join(",");
        let default = format!(r#"{{"type":"array","items":{{"type":"struct","fields":[{fields}]}},"default":[{many}]}}"#);
        assert!(declared(&default).unwrap_err().contains("more values than there is room for"));
        let mut few = RowSchemas::new(1 << 10);
        assert!(few.declare(text).unwrap_err().contains("there is room for schemas of 64 bytes more"));
    }

    #[test]
    fn a_schema_is_read_once() {
        let mut schemas = RowSchemas::new(64 << 20);
        let (one, other) =
            (schemas.declare(ORDER.to_owned()).unwrap(), schemas.declare(r#"{"type":"int8"}"#.to_owned()).unwrap());
        assert_ne!(one, other);
        assert_eq!(schemas.declare(ORDER.to_owned()), Ok(one));
        assert!(schemas.get(2).is_err());
    }
}
