//! Random records and configurations that go together often enough to be worth asking about. Each follows from its seed.

use penstock_api::{BigDecimal, Kind, Map, Props, Schema, SchemaAndValue, SchemaRef, Struct, Value};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use serde_json::{Value as Json, json};

use super::envelope;

/// One question.
pub(super) struct Case {
    pub(super) class: String,
    pub(super) config: Props,
    pub(super) topic: String,
    pub(super) partition: i32,
    pub(super) offset: i64,
    pub(super) timestamp: Option<i64>,
    pub(super) key: Data,
    pub(super) value: Data,
    pub(super) headers: Vec<(String, Data)>,
}

/// A key, a value or a header's value.
pub(super) enum Data {
    Null,
    /// Text of a JSON value.
    Plain(String),
    WithSchema(SchemaAndValue),
}

impl Case {
    /// The half that the class works on.
    pub(super) fn data(&self) -> &Data {
        if self.class.ends_with("$Key") { &self.key } else { &self.value }
    }
}

impl Data {
    pub(super) fn to_json(&self) -> Json {
        match self {
            Data::Null => Json::Null,
            Data::Plain(text) => json!({"json": text}),
            Data::WithSchema(SchemaAndValue { schema, value }) => {
                let schema = schema.as_deref().expect("made with a schema");
                json!({"envelope": envelope::envelope(schema, value).to_string()})
            }
        }
    }
}

const FIELDS: [&str; 8] = ["a", "b", "c", "d", "a.b", "ts", "name", "nested"];
const TOPICS: [&str; 6] = ["orders", "orders-eu", "shop.orders.v1", "ab", "a_1", "test-orders"];
const TEXTS: [&str; 22] = [
    "",
    "x",
    "12",
    "-7",
    "+5",
    "1.5",
    "1e3",
    "300",
    "99999999999",
    "true",
    "TRUE",
    "no",
    "hello world",
    " 1 ",
    "2024-11-22",
    "2024-11-22 10:11:12",
    "20241122101112",
    "24-1-2",
    "2024-13-45",
    "Fri, 22 Nov 2024",
    "12:30 PM",
    "1970-01-01T01:00:00.5+01",
];
const LONGS: [i64; 16] = [
    0,
    1,
    -1,
    7,
    127,
    128,
    -129,
    32_768,
    86_400_000,
    1_732_300_000,
    1_732_300_000_123,
    -62_135_596_800_000,
    -12_219_292_800_001,
    4_294_967_296,
    i64::MAX,
    i64::MIN,
];
const DOUBLES: [f64; 12] = [0.0, 1.5, -2.25, 1e10, 1e-5, 123_456.125, 1e300, -0.001, 9_999_999.0, 10_000_000.0, 1e19, 0.1];
const PATTERNS: [&str; 12] = [
    "yyyy-MM-dd",
    "yyyy-MM-dd HH:mm:ss",
    "yyyyMMddHHmmss",
    "EEE, d MMM yyyy",
    "hh:mm a",
    "yy-M-d",
    "yyyy-MM-dd'T'HH:mm:ss.SX",
    "D yyyy",
    "k:m:s.S",
    "G yyyyy EEEE MMMM u F",
    "''yyyy''",
    "yyyy-MM-dd'T'HH:mm:ss.SSS'Z'",
];

/// The case of a seed.
pub(super) fn case(seed: u64) -> Case {
    let mut chance = Chance(StdRng::seed_from_u64(seed));
    let (class, config, whole) = chance.plugin();
    let data = chance.data(whole);
    let other = if chance.one_in(2) { Data::Null } else { Data::Plain(r#"{"id":1}"#.into()) };
    let (key, value) = if class.ends_with("$Key") { (data, other) } else { (other, data) };
    let header = |chance: &mut Chance| {
        let name = chance.of(&["h1", "h2", "trace"]);
        let schema = chance.schema(0);
        let value = chance.value(&schema);
        (name, Data::WithSchema(SchemaAndValue::new(schema, value)))
    };
    Case {
        class: format!("org.apache.kafka.connect.transforms.{class}"),
        config,
        topic: chance.of(&TOPICS),
        partition: chance.0.random_range(0..9),
        offset: chance.0.random_range(0..1_000_000_000_000),
        timestamp: (!chance.one_in(8)).then(|| chance.0.random_range(-1_000_000_000_000..3_000_000_000_000)),
        key,
        value,
        headers: (0..chance.0.random_range(0..3)).map(|_| header(&mut chance)).collect(),
    }
}

struct Chance(StdRng);

impl Chance {
    fn one_in(&mut self, n: u32) -> bool {
        self.0.random_ratio(1, n)
    }

    fn of(&mut self, texts: &[&str]) -> String {
        (*texts.choose(&mut self.0).expect("a choice of some")).to_owned()
    }

    /// One to three field names, with commas.
    fn fields(&mut self) -> String {
        let count = self.0.random_range(1..4);
        (0..count).map(|_| self.of(&FIELDS)).collect::<Vec<_>>().join(",")
    }

    /// A class, its configuration, and whether it works on wholes that are no objects.
    fn plugin(&mut self) -> (String, Props, bool) {
        let mut props = Props::new();
        let half = if self.one_in(4) { "$Key" } else { "$Value" };
        let mut whole = false;
        if self.one_in(3) {
            props.insert("replace.null.with.default".into(), "false".into());
        }
        let mut set = |key: &str, value: String| props.insert(key.into(), value);
        let class = match self.0.random_range(0..19) {
            0 => {
                whole = self.one_in(3);
                let kinds = ["int8", "int16", "int32", "int64", "float32", "float64", "boolean", "string", "bytes", "odd"];
                let spec = if whole {
                    self.of(&kinds)
                } else {
                    let count = self.0.random_range(1..4);
                    let pair = |chance: &mut Self| format!("{}:{}", chance.of(&FIELDS), chance.of(&kinds[..8]));
                    (0..count).map(|_| pair(self)).collect::<Vec<_>>().join(", ")
                };
                set("spec", spec);
                format!("Cast{half}")
            }
            1 => {
                set("headers", self.of(&["h1", "h1,h2", "none", "trace , h2"]));
                "DropHeaders".into()
            }
            2 => {
                let is_v2 = self.one_in(2);
                if is_v2 {
                    set("field.syntax.version", self.of(&["V2", "v2"]));
                }
                let deep = ["nested.a", "nested.b", "nested.nested.a", "`a.b`", "nested.`a.b`", "a.b", "`a", "nested.", "b.c"];
                set("field", if is_v2 { self.of(&deep) } else { self.of(&FIELDS) });
                format!("ExtractField{half}")
            }
            3 => "Filter".into(),
            4 => {
                if self.one_in(2) {
                    set("delimiter", self.of(&["_", "", "::"]));
                }
                format!("Flatten{half}")
            }
            5 => {
                let fields = self.fields();
                let count = fields.split(',').count() + usize::from(self.one_in(20));
                set("fields", fields);
                set("headers", (0..count).map(|n| format!("h{n}")).collect::<Vec<_>>().join(","));
                set("operation", self.of(&["move", "copy"]));
                format!("HeaderFrom{half}")
            }
            6 => {
                whole = self.one_in(2);
                set("field", self.of(&FIELDS));
                format!("HoistField{half}")
            }
            7 | 8 => {
                for (key, name) in
                    [("topic.field", "topic"), ("partition.field", "a"), ("offset.field", "off"), ("timestamp.field", "ts")]
                {
                    if self.one_in(2) {
                        set(key, format!("{name}{}", self.of(&["", "!", "?"])));
                    }
                }
                if self.one_in(2) {
                    set("static.field", self.of(&["site", "name", "site!"]));
                    if !self.one_in(10) {
                        set("static.value", self.of(&["berlin", "", " x "]));
                    }
                }
                format!("InsertField{half}")
            }
            9 => {
                set("header", self.of(&["h1", "new"]));
                set("value.literal", self.of(&TEXTS));
                "InsertHeader".into()
            }
            10 | 11 => {
                set("fields", self.fields());
                if self.one_in(2) {
                    set("replacement", self.of(&["xxx", "0", "-17", "3.75", "99999999999999999999", "1e2"]));
                }
                format!("MaskField{half}")
            }
            12 => {
                set(
                    "regex",
                    self.of(&[
                        "(.*)-(.*)",
                        "[a-z]+",
                        r"(\w+)\.(\w+)\.v\d",
                        "a|ab",
                        "(?<n>[^-]*).*",
                        ".*",
                        "(x)",
                        "(",
                        r"\p{Lower}+",
                    ]),
                );
                set("replacement", self.of(&["$1", "$2-$1", "x", "${n}_", r"\$1", "", "$0$0", "a$10", "$"]));
                "RegexRouter".into()
            }
            13 | 14 => {
                if self.one_in(3) {
                    set("include", self.fields());
                }
                if self.one_in(2) {
                    set("exclude", self.fields());
                }
                if self.one_in(2) {
                    set("renames", self.of(&["a:x", "a:x,b:y", "a:b", "name:a", "a:b,b:a", "c", "c::", "d:e:", "nested:n"]));
                }
                format!("ReplaceField{half}")
            }
            15 => {
                whole = self.one_in(3);
                if !self.one_in(4) {
                    set("schema.name", self.of(&["New", "com.shop.Order"]));
                }
                if self.one_in(2) {
                    set("schema.version", self.of(&["7", "0", "x"]));
                }
                format!("SetSchemaMetadata{half}")
            }
            16 => {
                whole = self.one_in(3);
                if !whole {
                    set("field", self.of(&FIELDS));
                }
                set("target.type", self.of(&["string", "unix", "Date", "Time", "Timestamp"]));
                set("format", self.of(&PATTERNS));
                if self.one_in(2) {
                    set("unix.precision", self.of(&["seconds", "milliseconds", "microseconds", "nanoseconds"]));
                }
                format!("TimestampConverter{half}")
            }
            17 => {
                if self.one_in(2) {
                    set("topic.format", self.of(&["${topic}", "x-${timestamp}-${topic}-${topic}", "$1"]));
                }
                if self.one_in(2) {
                    set("timestamp.format", self.of(&PATTERNS));
                }
                "TimestampRouter".into()
            }
            _ => match self.0.random_range(0..4) {
                0 => {
                    set("name", self.of(&["h1", "trace", ""]));
                    "predicates.HasHeaderKey".into()
                }
                1 => "predicates.RecordIsTombstone".into(),
                2 => {
                    set("pattern", self.of(&["orders.*", ".*-eu", "", "[a-z_1]+", "(?i)ORDERS"]));
                    "predicates.TopicNameMatches".into()
                }
                _ => {
                    set("fields", self.fields());
                    "ValueToKey".into()
                }
            },
        };
        (class, props, whole)
    }

    fn data(&mut self, whole: bool) -> Data {
        match self.0.random_range(0..20) {
            0 => Data::Null,
            1..9 => {
                let value = if whole { self.plain(2) } else { self.plain_object(0) };
                Data::Plain(envelope::plain(&value).to_string())
            }
            _ => {
                let schema = if whole { self.schema(0) } else { self.struct_schema(0) };
                let value = self.value(&schema);
                Data::WithSchema(SchemaAndValue::new(schema, value))
            }
        }
    }

    fn plain_object(&mut self, depth: u32) -> Value {
        let mut map = Map::new();
        for _ in 0..self.0.random_range(0..6) {
            let name = self.of(&FIELDS);
            let value = if name == "nested" && depth < 2 { self.plain_object(depth + 1) } else { self.plain(depth) };
            map.insert(name, value);
        }
        Value::Map(map)
    }

    fn plain(&mut self, depth: u32) -> Value {
        match self.0.random_range(0..12) {
            0 => Value::Null,
            1 => Value::Boolean(self.one_in(2)),
            2..5 => Value::Int64(self.long()),
            5 | 6 => Value::Float64(self.double()),
            7 if depth < 2 => self.plain_object(depth + 1),
            8 => Value::Array((0..self.0.random_range(0..3)).map(|_| Value::Int64(1)).collect()),
            _ => Value::string(self.of(&TEXTS)),
        }
    }

    fn struct_schema(&mut self, depth: u32) -> SchemaRef {
        let mut names: Vec<&str> = FIELDS.to_vec();
        let mut fields = Vec::new();
        for _ in 0..self.0.random_range(1..6) {
            let name = names.swap_remove(self.0.random_range(0..names.len()));
            let schema = if name == "nested" && depth < 2 { self.struct_schema(depth + 1) } else { self.schema(depth + 1) };
            fields.push((name, schema));
        }
        let mut schema = Schema::record(fields);
        self.adorn(&mut schema);
        schema.into()
    }

    fn schema(&mut self, depth: u32) -> SchemaRef {
        let mut schema = match self.0.random_range(0..18) {
            0 => Schema::new(Kind::Int8),
            1 => Schema::new(Kind::Int16),
            2 => Schema::new(Kind::Int32),
            3 | 4 => Schema::new(Kind::Int64),
            5 => Schema::new(Kind::Float32),
            6 => Schema::new(Kind::Float64),
            7 => Schema::new(Kind::Boolean),
            8 => Schema::new(Kind::Bytes),
            9 => Schema::timestamp(),
            10 => Schema::date(),
            11 => Schema::time(),
            12 => Schema::decimal(2),
            13 if depth < 2 => Schema::array(self.schema(depth + 1)),
            14 if depth < 2 && self.one_in(3) => Schema::map(Schema::new(Kind::String), self.schema(depth + 1)),
            15 if depth < 2 => return self.struct_schema(depth + 1),
            _ => Schema::new(Kind::String),
        };
        if schema.name.is_none() {
            self.adorn(&mut schema);
        }
        schema.optional = self.one_in(2);
        if schema.kind.is_primitive() && self.one_in(4) {
            schema.default = Some(self.leaf(&schema));
        }
        schema.into()
    }

    fn adorn(&mut self, schema: &mut Schema) {
        schema.optional = self.one_in(4);
        if self.one_in(4) {
            schema.name = Some(self.of(&["Order", "x.Y"]));
        }
        if self.one_in(6) {
            schema.version = Some(3);
        }
        if self.one_in(8) {
            schema.doc = Some("what it is".into());
        }
        if self.one_in(8) {
            schema.parameters.insert("p".into(), "1".into());
        }
    }

    fn value(&mut self, schema: &SchemaRef) -> Value {
        if schema.optional && self.one_in(4) {
            return Value::Null;
        }
        let part = |schema: &Option<SchemaRef>| schema.clone().expect("arrays and maps have schemas inside");
        match schema.kind {
            Kind::Struct => {
                let values = schema.fields.iter().map(|field| self.value(&field.schema)).collect();
                Value::Struct(Struct::from_values(schema.clone(), values))
            }
            Kind::Array => {
                let item = part(&schema.value);
                Value::Array((0..self.0.random_range(0..3)).map(|_| self.value(&item)).collect())
            }
            Kind::Map => {
                let item = part(&schema.value);
                let mut map = Map::new();
                for _ in 0..self.0.random_range(0..3) {
                    map.insert(self.of(&FIELDS), self.value(&item));
                }
                Value::Map(map)
            }
            _ => self.leaf(schema),
        }
    }

    fn leaf(&mut self, schema: &Schema) -> Value {
        let name = schema.name.as_deref().unwrap_or_default();
        match (schema.kind, name.rsplit('.').next().unwrap_or_default()) {
            (Kind::Bytes, "Decimal") => Value::Decimal(Box::new(BigDecimal::new(self.0.random_range(-99_999..99_999).into(), 2))),
            (Kind::Int32, "Date") => Value::Date(self.0.random_range(-200_000..60_000)),
            (Kind::Int32, "Time") => Value::Time(self.0.random_range(0..86_400_000)),
            (Kind::Int64, "Timestamp") => Value::Timestamp(self.0.random_range(-70_000_000_000_000..9_000_000_000_000)),
            (Kind::Int8, _) => Value::Int8(self.long() as i8),
            (Kind::Int16, _) => Value::Int16(self.long() as i16),
            (Kind::Int32, _) => Value::Int32(self.long() as i32),
            (Kind::Int64, _) => Value::Int64(self.long()),
            (Kind::Float32, _) => Value::Float32(if self.one_in(5) { 3.4e38 } else { self.double().min(1e10) as f32 }),
            (Kind::Float64, _) => Value::Float64(self.double()),
            (Kind::Boolean, _) => Value::Boolean(self.one_in(2)),
            (Kind::Bytes, _) => Value::Bytes(vec![7; self.0.random_range(0..4)].into()),
            _ => Value::string(self.of(&TEXTS)),
        }
    }

    fn long(&mut self) -> i64 {
        *LONGS.choose(&mut self.0).expect("a choice of some")
    }

    fn double(&mut self) -> f64 {
        *DOUBLES.choose(&mut self.0).expect("a choice of some")
    }
}
