//! Orders under a schema, in both forms: as columns of JSON written by hand, and as records of structs.

use std::sync::Arc;
use std::time::Duration;

use penstock_plugin::schema::{Schema, SchemaRef};
use penstock_plugin::{
    Bytes, ColumnSource, ConfigDef, ConfigKey, ConfigType, Connector, DeclaredSchema, Form, Headers, Kind, Map, Next, Outbox,
    OutgoingRow, OutgoingRows, Parsed, Payload, Polled, Props, Record, Result, SchemaAndValue, SourceClass, SourceConnector,
    SourceContext, SourceOffset, SourcePosition, SourceRecord, SourceTask, SourceTaskContext, Struct, Value, async_trait,
};

use crate::{next_number, partition};

/// What an order is.
fn order_schema() -> SchemaRef {
    let text = || Schema::new(Kind::String);
    let customer = Schema::record([("email", text().optional()), ("age", Schema::new(Kind::Int8))]).named("shop.Customer");
    let order = Schema::record([
        ("id", Schema::new(Kind::Int64)),
        ("customer", customer),
        ("total", Schema::decimal(2)),
        ("at", Schema::timestamp()),
        ("day", Schema::date().optional()),
        ("rate", Schema::new(Kind::Float64)),
        ("tags", Schema::array(text())),
        ("stock", Schema::map(text(), Schema::new(Kind::Int32))),
        ("by_number", Schema::map(Schema::new(Kind::Int32), text().optional()).optional()),
        ("raw", Schema::new(Kind::Bytes).optional()),
        ("state", Schema { default: Some(Value::string("new")), ..text() }),
    ]);
    Arc::new(Schema { version: Some(3), doc: Some("What somebody wants.".to_owned()), ..order.named("shop.Order") })
}

/// The order of that number.
fn order(schema: &SchemaRef, n: u64) -> Value {
    let mut customer = Struct::new(schema.fields[1].schema.clone());
    customer.values_mut()[0] = if n % 2 == 0 { Value::Null } else { Value::string(format!("j\u{f6}rg-{n}@example.org")) };
    customer.values_mut()[1] = Value::Int8((n % 100) as i8);
    let total = format!("{n}.{:02}", n % 100).parse().expect("a decimal");
    let mut stock = Map::new();
    stock.insert("hall \"a\"", Value::Int32(n as i32));
    let mut by_number = Map::new();
    by_number.insert_value(Value::Int32(-1), Value::Null);
    let values = vec![
        Value::Int64(n as i64),
        Value::Struct(customer),
        Value::Decimal(Box::new(total)),
        Value::Timestamp(1_760_000_000_000 + n as i64),
        if n % 3 == 0 { Value::Null } else { Value::Date(20_000) },
        Value::Float64(n as f64 / 8.0),
        Value::Array((0..n % 3).map(|tag| Value::string(format!("t{tag}"))).collect()),
        Value::Map(stock),
        if n % 2 == 0 { Value::Map(by_number) } else { Value::Null },
        Value::Bytes(Bytes::from(vec![n as u8, 0xff])),
        Value::string("new"),
    ];
    Value::Struct(Struct::from_values(schema.clone(), values))
}

/// The same as `source.wit` says it, by hand and in another order; what has a default is left out.
fn order_json(n: u64) -> String {
    let email = if n % 2 == 0 { "null".to_owned() } else { format!("\"j\\u00f6rg-{n}@example.org\"") };
    let day = if n % 3 == 0 { "" } else { r#""day":20000,"# };
    let tags: Vec<String> = (0..n % 3).map(|tag| format!("\"t{tag}\"")).collect();
    let by_number = if n % 2 == 0 { r#""by_number":[[-1,null]],"# } else { "" };
    let raw = base64(&[n as u8, 0xff]);
    format!(
        r#"{{"total":{n}.{:02},{day}{by_number}"id":{n},"customer":{{"age":{},"email":{email}}},"at":{},"rate":{},"tags":[{}],"raw":"{raw}","stock":{{"hall \"a\"":{n}}}}}"#,
        n % 100,
        n % 100,
        1_760_000_000_000 + n,
        n as f64 / 8.0,
        tags.join(","),
    )
}

/// Of two bytes.
fn base64(bytes: &[u8; 2]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let bits = u32::from(bytes[0]) << 10 | u32::from(bytes[1]) << 2;
    [12, 6, 0].map(|shift| char::from(LETTERS[(bits >> shift & 63) as usize])).iter().chain(&['=']).collect()
}

/// Orders as columns; what is told to go wrong goes wrong at the second poll.
struct TypedColumns {
    mode: String,
    topic: String,
    records: u64,
    batch: u64,
    next: u64,
    polls: u64,
    /// Of keys and values, from the first poll on.
    schemas: Option<(DeclaredSchema, DeclaredSchema)>,
}

impl TypedColumns {
    fn new(config: &Parsed) -> Result<Self> {
        Ok(Self {
            mode: config.string("mode").to_owned(),
            topic: config.string("topic").to_owned(),
            records: config.number("records"),
            batch: config.number("batch"),
            next: 0,
            polls: 0,
            schemas: None,
        })
    }

    fn push(&self, rows: &mut OutgoingRows, n: u64, value: &str) {
        rows.push(&OutgoingRow {
            topic: &self.topic,
            key: Some(n.to_string().as_bytes()),
            value: (self.mode != "tombstones" || n % 10 != 3).then_some(value.as_bytes()),
            origin: r#"{"numbers":"all"}"#,
            offset: Some(&format!(r#"{{"next":{}}}"#, n + 1)),
            ..OutgoingRow::default()
        });
    }
}

/// Declares what nobody can be meant by, or gives what nobody has room for.
fn misuse(mode: &str, out: &Outbox<'_>) -> Result<()> {
    match mode {
        "garbage-schema" => {
            out.raw().declare_schema(r#"{"type":"struct","fields":[{"field":"a","type":"text"}]}"#);
        }
        "schema-flood" => (0..1_000_000).for_each(|n| {
            out.raw().declare_schema(&format!(r#"{{"type":"int8","doc":"{n}"}}"#));
        }),
        "null-flood" => {
            let fields = (0..5_000).map(|n| (format!("f{n}"), Schema::new(Kind::Int8).optional()));
            let schema = out.declare_schema(&Schema::array(Schema::record(fields)))?;
            let mut rows = OutgoingRows::new(Form::Bytes, Form::Json).with_schemas(None, Some(schema));
            let value = format!("[{}]", vec!["{}"; 1_000_000].join(","));
            rows.push(&OutgoingRow { topic: "t", value: Some(value.as_bytes()), origin: "{}", ..OutgoingRow::default() });
            out.add(rows);
        }
        _ => {}
    }
    Ok(())
}

impl ColumnSource for TypedColumns {
    fn start(&mut self, task: &SourceTaskContext) -> Result<()> {
        self.next = next_number(task.stored(&[partition()])?[0].as_ref());
        Ok(())
    }

    fn poll(&mut self, out: &Outbox<'_>) -> Result<Next> {
        self.polls += 1;
        if self.polls == 2 {
            misuse(&self.mode, out)?;
        }
        if self.next == self.records {
            return Ok(Next::Done);
        }
        if self.mode == "slow" {
            std::thread::sleep(Duration::from_millis(20));
        }
        let (keys, values) = match self.schemas {
            Some(schemas) => schemas,
            None => *self.schemas.insert((out.declare_schema(&Schema::new(Kind::Int64))?, out.declare_schema(&order_schema())?)),
        };
        let to = self.records.min(self.next + self.batch);
        let mut rows = OutgoingRows::new(Form::Json, Form::Json).with_schemas(Some(keys), Some(values));
        for n in self.next..to {
            let is_misfit = self.mode == "misfit" && n % 10 == 7;
            let value = order_json(n);
            self.push(&mut rows, n, &if is_misfit { value.replace("\"id\":", "\"id\":\"x\",\"was\":") } else { value });
        }
        out.add(rows);
        self.next = to;
        Ok(Next::More)
    }
}

/// The same by the traits that built-in sources implement.
struct TypedRecords;

#[async_trait]
impl Connector for TypedRecords {
    async fn validate(&self, _config: &Props) -> Vec<(String, String)> {
        Vec::new()
    }

    async fn task_configs(&self, config: &Props, _tasks_max: u32) -> Result<Vec<Props>> {
        Ok(vec![config.clone()])
    }
}

#[async_trait]
impl SourceConnector for TypedRecords {
    fn task(&self) -> Box<dyn SourceTask> {
        Box::new(TypedRecordsTask {
            config: Props::new(),
            key: Arc::new(Schema::new(Kind::Int64)),
            schema: order_schema(),
            next: 0,
        })
    }
}

struct TypedRecordsTask {
    config: Props,
    key: SchemaRef,
    schema: SchemaRef,
    next: u64,
}

impl TypedRecordsTask {
    fn number(&self, key: &str) -> u64 {
        self.config.get(key).and_then(|text| text.parse().ok()).unwrap_or(10)
    }

    fn record(&self, n: u64) -> SourceRecord {
        let mode = self.config.get("mode").map_or("well", String::as_str);
        let mut value = order(&self.schema, n);
        if mode == "misfit"
            && n % 10 == 7
            && let Value::Struct(order) = &mut value
        {
            order.values_mut()[0] = Value::string("x");
        }
        let value = if mode == "tombstones" && n % 10 == 3 {
            Payload::null()
        } else {
            SchemaAndValue::new(self.schema.clone(), value).into()
        };
        let record = Record {
            topic: self.config.get("topic").map_or("", String::as_str).into(),
            partition: None,
            key: SchemaAndValue::new(self.key.clone(), Value::Int64(n as i64)).into(),
            value,
            headers: Headers::new(),
            timestamp: None,
            offset: None,
        };
        let offset = SourceOffset::Count("next".into(), n as i64 + 1);
        SourceRecord { record, position: Some(SourcePosition { partition: partition().into(), offset }) }
    }
}

#[async_trait]
impl SourceTask for TypedRecordsTask {
    async fn start(&mut self, config: &Props, context: SourceContext) -> Result<()> {
        self.config = config.clone();
        self.next = next_number(context.stored(&[partition()]).await?[0].as_ref());
        Ok(())
    }

    async fn poll(&mut self) -> Result<Polled> {
        let to = self.number("records").min(self.next + self.number("batch"));
        let records: Vec<SourceRecord> = (self.next..to).map(|n| self.record(n)).collect();
        self.next = to;
        Ok(Polled { next: if records.is_empty() { Next::Done } else { Next::More }, records })
    }
}

pub(crate) fn classes() -> [SourceClass; 2] {
    let keys = || {
        ConfigDef::new([
            ConfigKey::required("topic", ConfigType::String, "Where the orders go."),
            ConfigKey::optional("records", ConfigType::Long, "100", "How many."),
            ConfigKey::optional("batch", ConfigType::Long, "10", "How many at a time."),
            ConfigKey::optional("mode", ConfigType::String, "well", "What is to go wrong."),
        ])
    };
    [
        SourceClass::columns("penstock.tests.TypedSource", "1.0.0", keys(), TypedColumns::new),
        SourceClass::records("penstock.tests.TypedRecordsSource", "1.0.0", keys(), || TypedRecords),
    ]
}
