//! Our transforms beside Connect's own: the same seeded random records and configurations through both, and the results compared.

mod cases;
mod envelope;

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};

use penstock_api::bytes::Bytes;
use penstock_api::{Constructor, Flow, Format, Header, Payload, Plugin, Record, Result, SchemaAndValue};
use penstock_tests::ground;
use serde_json::{Value as Json, json};

use cases::{Case, Data};

/// Enough to meet every branch of every class many times; both sides together take some seconds.
const CASES: u64 = 20_000;

#[test]
fn transforms_do_what_javas_do() {
    // Always the same cases, unless somebody looks for new ones.
    let seed: u64 = match std::env::var("PENSTOCK_SEED").as_deref() {
        Ok("random") => rand::random(),
        Ok(seed) => seed.parse().expect("PENSTOCK_SEED is a number, or `random`"),
        Err(_) => 1,
    };
    println!("run again with PENSTOCK_SEED={seed}");
    let cases: Vec<Case> = (0..CASES).map(|n| cases::case(seed.wrapping_add(n))).collect();
    let plugins = penstock_transforms::plugins();
    let theirs = Oracle::start().ask(&cases);
    let mut differences = Vec::new();
    let mut passed = 0;
    for (case, theirs) in cases.iter().zip(&theirs) {
        let [ours, opened] = [Form::Bytes, Form::Opened].map(|form| ours(&plugins, case, form));
        passed += u32::from(ours.get("error").is_none());
        let differs = difference(case, &ours, theirs);
        if let Some(what) = differs.or_else(|| (ours != opened).then(|| format!("opened it is {opened}"))) {
            differences.push(format!("{what}\n  case:  {}\n  ours:  {ours}\n  java:  {theirs}", question(case)));
        }
    }
    let shown = differences.iter().take(12).map(String::as_str).collect::<Vec<_>>().join("\n");
    assert!(differences.is_empty(), "{} of {CASES} cases differ (seed {seed}):\n{shown}", differences.len());
    // A generator that only makes errors would prove little.
    assert!(u64::from(passed) > CASES / 2, "only {passed} of {CASES} cases passed without an error");
}

/// The Java side: a process that answers a line with a line.
struct Oracle {
    process: Child,
}

impl Oracle {
    fn start() -> Self {
        let lib = ground::part("connect").expect("Java Connect is installed").join("lib/*");
        let source = ground::tree().join("tests/ground/java/transform-oracle/TransformOracle.java");
        let process = Command::new("java")
            .args(["-Xmx512m", "-XX:+UseSerialGC", "-Duser.timezone=UTC", "-Duser.language=en", "-Duser.country=US", "-cp"])
            .arg(lib)
            .arg(source)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("java runs");
        Self { process }
    }

    fn ask(mut self, cases: &[Case]) -> Vec<Json> {
        let mut input = self.process.stdin.take().expect("stdin is a pipe");
        let output = BufReader::new(self.process.stdout.take().expect("stdout is a pipe"));
        let answers = std::thread::scope(|scope| {
            scope.spawn(move || {
                for case in cases {
                    writeln!(input, "{}", question(case)).expect("the oracle reads on");
                }
            });
            output.lines().map(|line| serde_json::from_str(&line.expect("UTF-8")).expect("JSON")).collect::<Vec<Json>>()
        });
        self.process.wait().expect("the oracle ends");
        assert_eq!(answers.len(), cases.len(), "the oracle answers every line");
        answers
    }
}

fn question(case: &Case) -> Json {
    json!({
        "class": case.class, "config": case.config, "topic": case.topic, "partition": case.partition, "offset": case.offset,
        "timestamp": case.timestamp, "key": case.key.to_json(), "value": case.value.to_json(),
        "headers": case.headers.iter().map(|(name, data)| json!([name, data.to_json()])).collect::<Vec<_>>(),
    })
}

/// How schemaless data comes from a converter: as bytes that were checked, or with its fields noted, when a transform is expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Bytes,
    Opened,
}

/// What ours make of the case, in the oracle's form.
fn ours(plugins: &[Plugin], case: &Case, form: Form) -> Json {
    answer(plugins, case, form).unwrap_or_else(|e| json!({"error": e.java_class(), "message": format!("{e:#}")}))
}

fn answer(plugins: &[Plugin], case: &Case, form: Form) -> Result<Json> {
    let plugin = plugins.iter().find(|p| p.class == case.class).expect("a class of ours");
    let mut record = record(case, form);
    match &plugin.construct {
        Constructor::Predicate(make) => Ok(json!({"matches": make(&case.config)?.test(&mut record)?})),
        Constructor::Transformation(make) => match make(&case.config)?.apply(&mut record)? {
            Flow::Drop => Ok(json!({"dropped": true})),
            Flow::Keep => shown(&record),
        },
        _ => unreachable!("transforms and predicates only"),
    }
}

fn record(case: &Case, form: Form) -> Record {
    Record {
        topic: case.topic.as_str().into(),
        partition: Some(case.partition),
        key: payload(&case.key, form),
        value: payload(&case.value, form),
        headers: case.headers.iter().map(|(name, data)| Header { key: name.into(), value: payload(data, form) }).collect(),
        timestamp: case.timestamp,
        offset: Some(case.offset),
    }
}

fn payload(data: &Data, form: Form) -> Payload {
    match data {
        Data::Null => Payload::null(),
        Data::Plain(text) => {
            let text = Bytes::copy_from_slice(text.as_bytes());
            match form {
                Form::Bytes => Payload::encoded(text, Format::Json),
                Form::Opened => {
                    let (text, value) = penstock_api::json::open(&text).expect("data is JSON").expect("and not empty");
                    Payload::opened(text, Format::Json, SchemaAndValue::schemaless(value))
                }
            }
        }
        Data::WithSchema(value) => Payload::decoded(value.clone()),
    }
}

fn shown(record: &Record) -> Result<Json> {
    let data = |payload: &Payload| Ok(data_json(&*payload.view()?));
    let headers: Result<Vec<Json>> = record.headers.iter().map(|h| Ok(json!([h.key.as_str(), data(&h.value)?]))).collect();
    Ok(json!({
        "topic": record.topic.as_ref(), "partition": record.partition, "offset": record.offset, "timestamp": record.timestamp,
        "key": data(&record.key)?, "value": data(&record.value)?, "headers": headers?,
    }))
}

fn data_json(data: &SchemaAndValue) -> Json {
    match &data.schema {
        None if data.value.is_null() => Json::Null,
        None => json!({"json": envelope::plain(&data.value).to_string()}),
        Some(schema) => json!({"envelope": envelope::envelope(schema, &data.value).to_string()}),
    }
}

/// What differs, if anything. Errors are compared by their text where Java gives a reason for people.
fn difference(case: &Case, ours: &Json, theirs: &Json) -> Option<String> {
    if let (Some(_), Some(class)) = (ours.get("error"), theirs.get("error").and_then(Json::as_str)) {
        let has_text = class == "org.apache.kafka.connect.errors.DataException";
        let differs = has_text && !fails_of_many(case) && !same_message(&ours["message"], &theirs["message"]);
        return differs.then(|| "another message".to_owned());
    }
    // What no converter of Java's can write cannot be compared.
    if theirs.get("unwritable").is_some() && ours.get("error").is_none() {
        return None;
    }
    if is_wanted(case, ours, theirs) {
        return None;
    }
    (!same(ours, theirs)).then(|| "another result".to_owned())
}

/// Where we differ on purpose.
fn is_wanted(case: &Case, ours: &Json, theirs: &Json) -> bool {
    let says = |answer: &Json, text: &str| answer["message"].as_str().is_some_and(|message| message.contains(text));
    // A replacement that cannot work is refused at the start, by Java at the first topic that matches.
    let is_early = case.class.ends_with("RegexRouter") && says(ours, "for configuration replacement");
    // Java cannot rename schemas that are no structs: it trips over their missing fields.
    let is_renamed = case.class.contains("SetSchemaMetadata") && says(theirs, "Cannot list fields on non-struct type");
    // It keeps a logical type's name on what it cast to another type, and then refuses the default.
    let is_cast = case.class.contains("Cast") && says(theirs, "Invalid default value");
    // A day that a Date cannot hold is refused, where Java lets the number wrap around.
    let is_too_far = says(ours, "lies beyond what a Date can hold");
    // Two fields under one name: which of them stays depends on the order of Java's hash map; here it is the later one.
    let is_plain_dotted = matches!(case.data(), Data::Plain(text) if text.contains("a.b"));
    let meets = case.class.contains("Flatten") && is_plain_dotted && !case.config.contains_key("delimiter")
        || case.class.contains("ReplaceField") && renames_onto_another(case);
    is_early || is_renamed || is_cast || is_too_far || meets
}

/// Whether two fields get one name.
fn renames_onto_another(case: &Case) -> bool {
    let (Data::Plain(text), Some(renames)) = (case.data(), case.config.get("renames")) else { return false };
    let data: Json = serde_json::from_str(text).expect("data is JSON");
    let has = |name: &str| data.get(name).is_some();
    renames.split(',').filter_map(|pair| pair.split_once(':')).any(|(old, new)| has(old) && has(new.trim_end_matches(':')))
}

/// Whether which of several fields fails first depends on the order of Java's hash map.
fn fails_of_many(case: &Case) -> bool {
    let fields = case.config.get("fields").or_else(|| case.config.get("spec"));
    matches!(case.data(), Data::Plain(_)) && fields.is_some_and(|fields| fields.contains(','))
}

/// Equal but for what a JVM says of its own objects: classes that hold bytes, and whole records.
fn same_message(ours: &Json, theirs: &Json) -> bool {
    let (ours, theirs) = (ours.as_str().expect("a message"), theirs.as_str().expect("a message"));
    let missing = "Timestamp missing on record: ";
    ours == theirs.replace("class [B", "class java.nio.ByteBuffer") || ours.starts_with(missing) && theirs.starts_with(missing)
}

/// Equal as JSON, the texts of data read as JSON too; numbers by their value and fields of objects in any order.
fn same(a: &Json, b: &Json) -> bool {
    match (a, b) {
        (Json::Object(a), Json::Object(b)) => {
            a.len() == b.len()
                && a.iter().all(|(name, value)| {
                    b.get(name).is_some_and(|other| match (name.as_str(), value, other) {
                        ("json" | "envelope", Json::String(value), Json::String(other)) => {
                            let read = |text: &str| serde_json::from_str::<Json>(text).expect("data is JSON");
                            same(&read(value), &read(other))
                        }
                        _ => same(value, other),
                    })
                })
        }
        (Json::Array(a), Json::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Json::Number(a), Json::Number(b)) => a == b || (a.is_f64() || b.is_f64()) && close(a.as_f64(), b.as_f64()),
        _ => a == b,
    }
}

/// Java writes a 32-bit float with its own shortest digits.
fn close(a: Option<f64>, b: Option<f64>) -> bool {
    a.zip(b).is_some_and(|(a, b)| a == b || a as f32 == b as f32)
}
