//! Real components in the real host: what they may do, and what happens when they do what they must not. No Kafka.

mod network;
mod sources;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use penstock_api::connector::TaskId;
use penstock_api::payload::{AvroFormat, Decode};
use penstock_api::transform::TransformContext;
use penstock_api::{
    Batch, Bytes, Constructor, Error, ErrorKind, Format, Header, Kind, Payload, Plugin, PluginKind, Predicate, Props, Record,
    Registry, Result, Schema, SchemaAndValue, Struct, Transform, Value, Verdict,
};
use penstock_host::{HostConfig, ScanProblem, explain_missing, scan};

/// A component of tests/guests.
fn component(name: &str) -> PathBuf {
    penstock_tests::guests::component(name).unwrap()
}

fn config(cache: &Path) -> HostConfig {
    // Generous: a loaded machine must not look like a plugin that loops. Tests about deadlines set their own.
    HostConfig { cache_dir: Some(cache.to_owned()), call_deadline: Duration::from_secs(30), ..HostConfig::default() }
}

struct Host {
    registry: Registry,
    metrics: penstock_api::PluginMetrics,
    problems: Vec<ScanProblem>,
    _cache: tempfile::TempDir,
}

fn host(components: &[&str]) -> Host {
    host_with(components, |_| {})
}

fn host_with(components: &[&str], change: impl FnOnce(&mut HostConfig)) -> Host {
    let cache = tempfile::tempdir().unwrap();
    let mut config = config(cache.path());
    change(&mut config);
    let metrics = config.metrics.clone();
    let paths: Vec<PathBuf> = components.iter().map(|name| component(name)).collect();
    let (plugins, problems) = scan(&paths, config);
    let mut registry = Registry::new();
    registry.extend(plugins);
    Host { registry, metrics, problems, _cache: cache }
}

fn context(class: &str) -> TransformContext {
    TransformContext { task: TaskId { connector: "orders".into(), task: 0 }, alias: "t".into(), class: class.into() }
}

impl Host {
    fn plugin(&self, class: &str) -> &Arc<Plugin> {
        let kinds = [PluginKind::Transformation, PluginKind::Predicate];
        self.registry.find(&kinds, class).unwrap_or_else(|| panic!("no class {class}; problems: {:?}", self.problems))
    }

    async fn transform(&self, class: &str, props: &[(&str, &str)]) -> Result<Box<dyn Transform>> {
        let Constructor::Transformation(construct) = &self.plugin(class).construct else { panic!("{class} is no transform") };
        let mut transform = construct(&props_of(props))?;
        transform.start(&context(class)).await?;
        Ok(transform)
    }

    async fn predicate(&self, class: &str, props: &[(&str, &str)]) -> Result<Box<dyn Predicate>> {
        let Constructor::Predicate(construct) = &self.plugin(class).construct else { panic!("{class} is no predicate") };
        let mut predicate = construct(&props_of(props))?;
        predicate.start(&context(class)).await?;
        Ok(predicate)
    }

    /// What becomes of JSON values: their text, `dropped`, or `failed: ` and why; each with its topic before it when it changed.
    async fn run(&self, class: &str, values: &[&str]) -> Result<Vec<String>> {
        let mut transform = self.transform(class, &[]).await?;
        let mut batch = json_batch(values);
        transform.apply_batch(&mut batch, &context(class)).await?;
        transform.stop().await;
        Ok(shown(&batch))
    }
}

fn props_of(props: &[(&str, &str)]) -> Props {
    props.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn record(value: Payload) -> Record {
    Record {
        topic: "orders".into(),
        partition: Some(0),
        offset: Some(7),
        key: Payload::null(),
        value,
        headers: std::iter::empty::<Header>().collect(),
        timestamp: Some(1_000),
    }
}

fn json(text: &str) -> Payload {
    Payload::encoded(Bytes::copy_from_slice(text.as_bytes()), Format::Json)
}

fn json_batch(values: &[&str]) -> Batch {
    batch(values.iter().map(|value| json(value)))
}

fn batch(values: impl IntoIterator<Item = Payload>) -> Batch {
    let mut batch = Batch::default();
    for (origin, value) in values.into_iter().enumerate() {
        batch.push(record(value), origin as u32);
    }
    batch
}

fn shown(batch: &Batch) -> Vec<String> {
    let outcome = |row: &penstock_api::Row| match &row.verdict {
        Verdict::Keep => {
            let mut text = Vec::new();
            let decoded = row.record.value.view().unwrap();
            match row.record.value.wire() {
                Some(encoded) => text.extend_from_slice(&encoded.bytes),
                None => penstock_api::json::write(&decoded.value, &mut text).unwrap(),
            }
            let topic = if &*row.record.topic == "orders" { String::new() } else { format!("{} ", row.record.topic) };
            format!("{topic}{}", String::from_utf8_lossy(&text))
        }
        Verdict::Drop => "dropped".to_owned(),
        Verdict::Fail(failure) => format!("failed: {:#}", failure.error),
    };
    batch.rows().iter().map(outcome).collect()
}

#[tokio::test]
async fn components_are_listed_like_built_in_classes() {
    let host = host(&["well-behaved", "predicates"]);
    assert_eq!(host.problems, []);
    let mask = host.plugin("RecordMask");
    assert_eq!(
        (mask.class.as_str(), mask.version.as_str(), mask.kind()),
        ("penstock.tests.RecordMask", "1.0.0", PluginKind::Transformation)
    );
    let key = &mask.config.keys()[0];
    assert_eq!((key.name.as_str(), key.doc.as_str()), ("prefix", "Stands before topics."));
    assert_eq!(host.plugin("penstock.tests.Same").class, "penstock.tests.Identity");
    assert_eq!(host.plugin("CountryIs").kind(), PluginKind::Predicate);

    let missing = host.predicate("CountryIs", &[]).await.err().expect("a required key is missing");
    assert_eq!(missing.kind(), ErrorKind::Config);
    assert_eq!(missing.to_string(), "Missing required configuration \"country\" which has no default value.");
}

#[tokio::test]
async fn every_way_to_change_a_field_gives_the_same() {
    let host = host(&["well-behaved"]);
    let orders =
        [r#"{"customer":{"email":"a@b.c","id":1},"x":[1,{"y":"}"}]}"#, r#"{"customer":{"id":2}}"#, "{\"no\":\"customer\"}"];
    let masked = [r#"{"customer":{"email":"***","id":1},"x":[1,{"y":"}"}]}"#, orders[1], orders[2]];
    assert_eq!(host.run("MaskByColumn", &orders).await.unwrap(), masked);
    assert_eq!(host.run("MaskByBytes", &orders).await.unwrap(), masked);
    assert_eq!(host.run("RecordIdentity", &orders).await.unwrap(), orders);
    assert_eq!(host.run("Identity", &orders).await.unwrap(), orders);
    assert_eq!(host.run("RewriteRaw", &orders).await.unwrap(), orders);
    assert_eq!(host.run("RewriteJson", &orders).await.unwrap(), orders);
    let with_topic: Vec<String> = masked.iter().map(|text| format!("masked.orders {text}")).collect();
    assert_eq!(host.run("RecordMask", &orders).await.unwrap(), with_topic);
}

#[tokio::test]
async fn what_a_guest_notes_is_carried_out() {
    let host = host(&["well-behaved"]);
    let sums = host.run("AddNumber", &[r#"{"a":1,"b":0.5}"#, r#"{"a":"1","b":2,"sum":7}"#, "{}", "[]"]).await.unwrap();
    assert_eq!(sums[..3], [r#"{"a":1,"b":0.5,"sum":1.5}"#, r#"{"a":"1","b":2,"sum":null}"#, r#"{"sum":null}"#]);
    assert_eq!(sums[3], "failed: set fields of value: cannot add field sum: the value is no object");

    let filtered = host.run("Filter", &[r#"{"customer":{"country":"DE"}}"#, r#"{"customer":{"country":"FR"}}"#]).await.unwrap();
    assert_eq!(filtered, ["dropped", r#"{"customer":{"country":"FR"}}"#]);
    assert_eq!(host.run("Route", &["1"]).await.unwrap(), ["routed.orders 1"]);

    let exploded = host.run("Explode", &[r#"{"parts":[1,{"a":2}]}"#, "{}", r#"{"parts":[3]}"#]).await.unwrap();
    assert_eq!(exploded, ["dropped", "1", r#"{"a":2}"#, "failed: `parts` is no array", "dropped", "3"]);

    let small = host.run("RecordMask", &[r#"{"drop":true}"#, "7"]).await.unwrap();
    assert_eq!(small, ["dropped", "failed: the value is no object"]);
}

#[tokio::test]
async fn each_task_has_an_instance_of_its_own_and_a_trap_ends_only_that() {
    let host = host(&["well-behaved", "hostile"]);
    let mut both = [host.transform("Count", &[]).await.unwrap(), host.transform("Count", &[]).await.unwrap()];
    let mut trapping = host.transform("TrapOnPoison", &[]).await.unwrap();
    for (which, counted) in [(0, 1), (0, 2), (1, 1), (0, 3), (1, 2)] {
        let mut batch = json_batch(&["{}"]);
        both[which].apply_batch(&mut batch, &context("Count")).await.unwrap();
        assert_eq!(shown(&batch), [format!("{{\"count\":{counted}}}")]);
        let mut batch = json_batch(&[POISON]);
        trapping.apply_batch(&mut batch, &context("TrapOnPoison")).await.unwrap();
        assert!(shown(&batch)[0].starts_with("failed: the plugin trapped"));
    }
}

#[tokio::test]
async fn headers_and_timestamps_cross() {
    let host = host(&["well-behaved"]);
    let mut transform = host.transform("Annotate", &[]).await.unwrap();
    let mut batch = json_batch(&["1", "2"]);
    let headers = &mut batch.rows_mut()[1].record.headers;
    headers.add("old", Payload::encoded(Bytes::from_static(b"x"), Format::Bytes));
    headers.add("kept", Payload::encoded(Bytes::from_static(b"y"), Format::Bytes));
    batch.rows_mut()[0].record.timestamp = None;
    transform.apply_batch(&mut batch, &context("Annotate")).await.unwrap();
    let rows = batch.rows();
    let header = |row: usize, name: &str| rows[row].record.headers.last(name).map(|h| h.value.view().unwrap().value.clone());
    assert_eq!(header(0, "seen"), Some(Value::string("@Some(7)")));
    assert_eq!(header(1, "seen"), Some(Value::string("old+kept@Some(7)")));
    assert_eq!((header(1, "old"), header(1, "kept").is_some()), (None, true));
    assert_eq!((rows[0].record.timestamp, rows[1].record.timestamp), (None, Some(1_001)));
}

#[tokio::test]
async fn values_with_schemas_keep_them() {
    let host = host(&["well-behaved"]);
    let customer = Arc::new(Schema::record([("email", Arc::new(Schema::new(Kind::String)))]));
    let schema = Arc::new(Schema::record([
        ("a", Arc::new(Schema::new(Kind::Int32))),
        ("b", Arc::new(Schema::new(Kind::Float32).optional())),
        ("customer", customer.clone()),
    ]));
    let order = |b: Value| {
        let customer = Value::Struct(Struct::from_values(customer.clone(), vec![Value::string("a@b.c")]));
        let order = Struct::from_values(schema.clone(), vec![Value::Int32(1), b, customer]);
        Payload::decoded(SchemaAndValue::new(schema.clone(), Value::Struct(order)))
    };
    for class in ["MaskByColumn", "MaskByTree", "RecordMask"] {
        let mut transform = host.transform(class, &[]).await.unwrap();
        let mut rows = batch([order(Value::Float32(0.5))]);
        transform.apply_batch(&mut rows, &context(class)).await.unwrap();
        let value = rows.rows()[0].record.value.view().unwrap();
        assert_eq!(value.schema.as_ref(), Some(&schema), "{class}");
        let Value::Struct(order) = &value.value else { panic!("a struct: {value:?}") };
        let Some(Value::Struct(customer)) = order.get("customer") else { panic!("a struct: {order:?}") };
        assert_eq!(customer.get("email"), Some(&Value::string("***")), "{class}");
    }

    let mut transform = host.transform("AddNumber", &[]).await.unwrap();
    let mut rows = batch([order(Value::Float32(0.5)), order(Value::Null)]);
    transform.apply_batch(&mut rows, &context("AddNumber")).await.unwrap();
    let values: Vec<_> = rows.rows().iter().map(|row| row.record.value.view().unwrap().into_owned()).collect();
    let sum = |at: usize| match &values[at].value {
        Value::Struct(order) => order.get("sum").cloned(),
        other => panic!("a struct: {other:?}"),
    };
    assert_eq!((sum(0), sum(1)), (Some(Value::Float64(1.5)), Some(Value::Null)));
    let (a, b) = (values[0].schema.as_ref().unwrap(), values[1].schema.as_ref().unwrap());
    assert!(Arc::ptr_eq(a, b), "records of one schema share the extended one");
    assert_eq!(a.fields.len(), 4);
}

/// Reads a body of one byte as an integer field; anything else is no such record.
struct OneByte(Arc<Schema>);

impl Decode for OneByte {
    fn decode(&self, bytes: &Bytes) -> Result<SchemaAndValue> {
        let [0, 0, 0, 0, 1, n] = bytes[..] else { return Err(Error::data("not one byte")) };
        let value = Struct::from_values(self.0.clone(), vec![Value::Int32(n.into())]);
        Ok(SchemaAndValue::new(self.0.clone(), Value::Struct(value)))
    }
}

#[tokio::test]
async fn avro_crosses_without_its_framing_and_unreadable_rows_fail_alone() {
    let host = host(&["well-behaved"]);
    let schema = Arc::new(Schema::record([("a", Arc::new(Schema::new(Kind::Int32)))]));
    let avro = Arc::new(AvroFormat { id: 1, schema_json: "{}".into(), header_len: 5, decode: Box::new(OneByte(schema)) });
    let framed = |body: &[u8]| Payload::encoded([&[0, 0, 0, 0, 1], body].concat().into(), Format::Avro(avro.clone()));
    for class in ["RewriteAvro", "RewriteRaw"] {
        let mut transform = host.transform(class, &[]).await.unwrap();
        let mut rows = batch([framed(b"x"), framed(b"too long")]);
        transform.apply_batch(&mut rows, &context(class)).await.unwrap();
        assert_eq!(&rows.rows()[0].record.value.wire().unwrap().bytes[..], b"\0\0\0\0\x01x");
        assert_eq!(shown(&rows)[1], "failed: replace value: not one byte", "{class}");
    }
    let mut transform = host.transform("AddNumber", &[]).await.unwrap();
    let mut rows = batch([framed(b"x"), framed(b"too long"), json(r#"{"a":1,"b":1}"#)]);
    transform.apply_batch(&mut rows, &context("AddNumber")).await.unwrap();
    assert_eq!(shown(&rows), [r#"{"a":120,"sum":null}"#, "failed: read value: not one byte", r#"{"a":1,"b":1,"sum":2.0}"#]);
}

#[tokio::test]
async fn predicates_select() {
    let host = host(&["predicates"]);
    let values = [r#"{"country":"DE"}"#, r#"{"country":"FR"}"#, "{}"];
    for (class, fails) in [("CountryIs", false), ("CountryIsRecord", true)] {
        for negate in [false, true] {
            let mut predicate = host.predicate(class, &[("country", "DE")]).await.unwrap();
            let mut batch = json_batch(&values);
            predicate.select(&mut batch, negate, &context(class)).await.unwrap();
            let selected: Vec<bool> = batch.rows()[..2].iter().map(|row| row.selected).collect();
            assert_eq!(selected, [!negate, negate], "{class}");
            assert_eq!(matches!(batch.rows()[2].verdict, Verdict::Fail(_)), fails, "{class}");
        }
    }
    let mut predicate = host.predicate("NonsensePredicate", &[]).await.unwrap();
    let mut batch = json_batch(&["1"]);
    predicate.select(&mut batch, false, &context("n")).await.unwrap();
    assert_eq!(shown(&batch), ["failed: the plugin answered 2 bytes for 1 records where 1 are due"]);
    let mut batch = json_batch(&["1"]);
    batch.rows_mut()[0].record.topic = "change".into();
    predicate.select(&mut batch, false, &context("n")).await.unwrap();
    let outcome = shown(&batch);
    assert!(
        outcome[0].starts_with("failed: the plugin misused batch.discard: predicates and sinks cannot change records"),
        "{outcome:?}"
    );
}

#[tokio::test]
async fn only_live_rows_are_shown() {
    let host = host(&["well-behaved"]);
    let mut transform = host.transform("Route", &[]).await.unwrap();
    let mut batch = json_batch(&["1", "2", "3"]);
    batch.rows_mut()[0].verdict = Verdict::Drop;
    batch.rows_mut()[2].selected = false;
    transform.apply_batch(&mut batch, &context("Route")).await.unwrap();
    assert_eq!(shown(&batch), ["dropped", "routed.orders 2", "3"]);
}

const POISON: &str = r#"{"poison":"yes"}"#;

/// Only poison rows fail, with this in the reason; the others are worked on, once.
async fn check_poison(host: &Host, class: &str, reason: &str) {
    let mut values = vec!["{}"; 40];
    for at in [3, 17, 18] {
        values[at] = POISON;
    }
    let outcome = host.run(class, &values).await.unwrap();
    for (at, outcome) in outcome.iter().enumerate() {
        if values[at] == POISON {
            assert!(outcome.starts_with("failed: ") && outcome.contains(reason), "{class}: {outcome}");
        } else {
            assert_eq!(outcome, r#"{"marked":"yes"}"#, "{class}: row {at}");
        }
    }
}

#[tokio::test]
async fn a_trap_fails_only_the_rows_that_cause_it() {
    check_poison(&host(&["hostile"]), "TrapOnPoison", "cannot stand poison").await;
}

#[tokio::test]
async fn memory_beyond_the_cap_fails_only_the_rows_that_need_it() {
    check_poison(&host(&["hostile"]), "HogOnPoison", "more than the 64 MiB of memory").await;
}

#[tokio::test]
async fn loops_and_sleeps_end_at_the_deadline_and_others_go_on() {
    for class in ["LoopOnPoison", "SleepOnPoison"] {
        // One poison row.
        let host = host_with(&["hostile"], |config| config.call_deadline = Duration::from_millis(300));
        let mut values = vec!["{}"; 8];
        values[5] = POISON;
        let started = Instant::now();
        let ticks = tokio::spawn(async {
            let mut ticks = 0;
            loop {
                tokio::time::sleep(Duration::from_millis(10)).await;
                ticks += 1;
                if ticks == 3 {
                    return Instant::now();
                }
            }
        });
        let outcome = host.run(class, &values).await.unwrap();
        let ended = Instant::now();
        assert!(outcome[5].starts_with("failed: the plugin did not return within"), "{class}: {outcome:?}");
        assert_eq!(outcome.iter().filter(|outcome| *outcome == r#"{"marked":"yes"}"#).count(), 7, "{class}: {outcome:?}");
        assert!(started.elapsed() < Duration::from_secs(20), "{class}: {:?}", started.elapsed());
        // On the one thread of this test the neighbour got its turns while the guest looped.
        assert!(ticks.is_finished(), "{class}: the neighbour had no turn");
        assert!(ticks.await.unwrap() < ended, "{class}: the neighbour had to wait");
    }
}

#[tokio::test]
async fn a_good_row_that_needs_more_than_its_share_of_the_deadline_has_it() {
    // The poison breaks the batch up; the slow row needs more than a fortieth of the deadline, or a twentieth.
    let host = host_with(&["hostile"], |config| config.call_deadline = Duration::from_secs(2));
    let mut values = vec!["{}"; 40];
    values[7] = POISON;
    values[31] = r#"{"slow":"yes"}"#;
    let outcome = host.run("TrapOnPoisonAndDawdle", &values).await.unwrap();
    assert!(outcome[7].starts_with("failed: ") && outcome[7].contains("cannot stand poison"), "{outcome:?}");
    assert_eq!(outcome[31], r#"{"slow":"yes","marked":"yes"}"#);
    assert_eq!(outcome.iter().filter(|outcome| outcome.starts_with("failed")).count(), 1, "{outcome:?}");
}

#[tokio::test]
async fn where_the_first_failure_ends_the_task_rows_behind_it_are_not_tried() {
    let host = host(&["hostile"]);
    let mut transform = host.transform("TrapOnPoison", &[]).await.unwrap();
    transform.fail_fast();
    let mut values = vec!["{}"; 40];
    (values[17], values[33]) = (POISON, POISON);
    let mut batch = json_batch(&values);
    transform.apply_batch(&mut batch, &context("TrapOnPoison")).await.unwrap();
    let outcome = shown(&batch);
    assert!(outcome[..17].iter().all(|outcome| outcome == r#"{"marked":"yes"}"#), "{outcome:?}");
    assert!(outcome[17].contains("cannot stand poison"), "{}", outcome[17]);
    assert!(outcome[18..].iter().all(|outcome| outcome.contains("not tried: one before it ends the task")), "{outcome:?}");
}

#[tokio::test]
async fn endless_trouble_is_bounded() {
    let host = host_with(&["hostile"], |config| config.call_deadline = Duration::from_millis(100));
    let values = vec![POISON; 200];
    let started = Instant::now();
    let outcome = host.run("LoopOnPoison", &values).await.unwrap();
    assert!(outcome.iter().all(|outcome| outcome.starts_with("failed: ")), "{outcome:?}");
    assert!(outcome[199].contains("not tried"), "{}", outcome[199]);
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
}

#[tokio::test]
async fn misuse_of_the_contract_is_told_and_fails_the_rows() {
    let host = host(&["hostile"]);
    for (class, reason) in [
        ("EndsBeyond", "misused batch.set-text: the last end offset is 4000000000, but there are 1 bytes of data"),
        ("EndsDescend", "misused batch.set-text"),
        ("EndsMissing", "misused batch.replace: `ends` has 0 entries where 1 are due"),
        ("BitmapShort", "misused batch.set-s64: `present` has 9999 entries where 1 are due"),
        ("NotUtf8", "misused batch.set-text: text is not UTF-8"),
        ("RowBeyond", "misused batch.discard: row 4294967295 is none of the 1 rows"),
        ("RowsOutOfOrder", "misused batch.set-text: rows are not ascending: 1 before 0"),
        ("RowsTwice", "misused batch.set-text: rows are not ascending: 0 before 0"),
        ("NameBeyond", "misused batch.set-topics: index 7 is beyond the 1 names"),
        ("NoPath", "misused batch.get-text"),
        ("LongPath", "misused batch.get-text: a path of 5000 bytes is too long"),
        ("ManyPaths", "misused batch.get-text: more than 1024 different paths"),
        ("ManyCopies", "misused batch.copy: more than 64 copies"),
        ("NoSchema", "misused batch.schema: 99 is no number that `schemas` gave"),
        ("HeaderNotUtf8", "misused batch.set-header: text is not UTF-8"),
        ("FloodWithChanges", "misused batch.set-text: the changes of one call take more than the 64 MiB"),
        ("Recurse", "the plugin trapped: call stack exhausted"),
        ("BadTopic", "is no topic name"),
        ("RefuseAll", "none of these"),
        ("ReachOut", "reached: nothing"),
    ] {
        let outcome = host.run(class, &["{}", "{}"]).await.unwrap();
        assert!(outcome[0].starts_with("failed: ") && outcome[0].contains(reason), "{class}: {outcome:?}");
    }
    assert!(!Path::new("/tmp/penstock-was-here").exists());
    assert_eq!(host.run("FloodTheLog", &["1"]).await.unwrap(), ["1"]);
    let fatal = host.run("FailFatally", &["1"]).await.unwrap_err();
    let told = format!("{fatal:#}");
    assert!(told.starts_with("plugin penstock.tests.FailFatally") && told.ends_with("cannot go on: the disk is gone"), "{told}");
    assert_eq!(fatal.kind(), ErrorKind::Fatal);
}

#[tokio::test]
async fn a_plugin_that_cannot_be_configured_says_why() {
    let host = host_with(&["hostile"], |config| config.call_deadline = Duration::from_millis(500));
    for (class, kind, reason) in [
        ("TrapAtConfigure", ErrorKind::Fatal, "no licence for this task"),
        ("LoopAtConfigure", ErrorKind::Fatal, "did not return within 500 ms"),
        ("RefuseConfiguration", ErrorKind::Config, "`mode` must not be `x`"),
    ] {
        let error = host.transform(class, &[]).await.err().expect("it cannot be configured");
        let message = format!("{error:#}");
        assert!(error.kind() == kind && message.contains(reason) && message.contains(class), "{class}: {error:?}");
    }
}

#[tokio::test]
async fn files_that_are_no_plugins_are_named_and_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let garbage = [("text.wasm", &b"hello"[..]), ("module.wasm", b"\0asm\x01\0\0\0"), ("cut.wasm", b"\0asm\x0d\0\x01\0\x07\xff")];
    for (name, bytes) in garbage {
        std::fs::write(dir.path().join(name), bytes).unwrap();
    }
    std::fs::write(dir.path().join("readme.txt"), "not looked at").unwrap();
    let nested = dir.path().join("nested");
    std::fs::create_dir(&nested).unwrap();
    for name in ["older-contract", "no-plugin", "traps-at-start", "well-behaved"] {
        std::fs::copy(component(name), nested.join(format!("{name}.wasm"))).unwrap();
    }
    let cache = tempfile::tempdir().unwrap();
    let (plugins, problems) = scan(&[dir.path().to_owned()], config(cache.path()));
    assert!(plugins.iter().any(|plugin| plugin.class == "penstock.tests.Identity"), "the good one is there");
    for (name, reason) in [
        ("text.wasm", "not WebAssembly"),
        ("module.wasm", "a core WebAssembly module, not a component. Build it for the target wasm32-wasip2"),
        ("cut.wasm", "no valid WebAssembly component"),
        ("older-contract.wasm", "built for penstock:connect/transform@0.0.9, but this worker speaks penstock:connect@0.1.0"),
        ("no-plugin.wasm", "a component, but no plugin"),
        ("traps-at-start.wasm", "no licence file found"),
    ] {
        let problem =
            problems.iter().find(|problem| problem.path.ends_with(name)).unwrap_or_else(|| panic!("{name}: {problems:?}"));
        assert!(problem.message.contains(reason), "{problem}");
    }
    assert_eq!(problems.len(), 6, "{problems:?}");
    let told = explain_missing(&problems).unwrap();
    assert!(told.contains("older-contract.wasm") && told.contains("and 1 more"), "{told}");
}

#[tokio::test]
async fn a_component_is_compiled_once_by_its_digest() {
    let (folder, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (first, same) = (folder.path().join("first.wasm"), folder.path().join("same.wasm"));
    let code = std::fs::read(component("predicates")).unwrap();
    std::fs::write(&first, &code).unwrap();
    let cached = || {
        let files = std::fs::read_dir(cache.path()).unwrap().map(|file| file.unwrap());
        let mut files: Vec<_> = files.map(|file| (file.path(), file.metadata().unwrap().modified().unwrap())).collect();
        files.sort();
        files
    };
    assert!(!scan(std::slice::from_ref(&first), config(cache.path())).0.is_empty());
    let once = cached();
    assert_eq!(once.len(), 1);
    // The name does not matter, nor that another process starts.
    std::fs::write(&same, &code).unwrap();
    assert!(!scan(&[first.clone(), same], config(cache.path())).0.is_empty());
    assert_eq!(cached(), once, "the same bytes are not compiled again");
    // Other bytes are.
    std::fs::copy(component("well-behaved"), &first).unwrap();
    assert!(!scan(&[first], config(cache.path())).0.is_empty());
    assert_eq!(cached().len(), 2);
}

#[tokio::test]
async fn damaged_cached_code_is_compiled_anew() {
    let cache = tempfile::tempdir().unwrap();
    let paths = [component("predicates")];
    let scan = || scan(&paths, config(cache.path())).0.len();
    let found = scan();
    let file = std::fs::read_dir(cache.path()).unwrap().next().expect("compiled code is kept").unwrap().path();
    let whole = std::fs::read(&file).unwrap();
    for damage in [&whole[..whole.len() / 2], b"", b"PENCODE1 and then nothing that is code, for more than forty bytes"] {
        std::fs::write(&file, damage).unwrap();
        assert_eq!(scan(), found);
        assert_eq!(std::fs::read(&file).unwrap().len(), whole.len(), "it was stored again");
    }
    let concurrently: Vec<usize> = std::thread::scope(|scope| {
        std::fs::remove_file(&file).unwrap();
        let scans: Vec<_> = (0..4).map(|_| scope.spawn(scan)).collect();
        scans.into_iter().map(|scan| scan.join().unwrap()).collect()
    });
    assert_eq!(concurrently, [found; 4]);
}

const ORDER: &str = r#"{"event_id":"e","order_id":"o-1","customer":{"id":"c-1","email":"anna@example.org","country":"DE"},"items":[{"sku":"a","quantity":2,"unit_price":19.99}],"currency":"EUR","payment":"card","test":false,"ordered_at":1732300000000}"#;

#[tokio::test]
async fn the_retail_transform_checks_masks_totals_and_flags() {
    let host = host(&["retail-transform"]);
    let masked = ORDER.replace("anna@", "a***@");
    let with = |added: &str| format!("{}{added}}}", &masked[..masked.len() - 1]);
    let outcome = host
        .run(
            "RetailOrders",
            &[
                ORDER,
                &ORDER.replace("\"quantity\":2", "\"quantity\":500"),
                &ORDER.replace("\"test\":false", "\"test\":true"),
                &ORDER.replace("c-1", "test-1"),
                &ORDER.replace("EUR", "XXX"),
                &ORDER.replace("\"quantity\":2", "\"quantity\":0"),
                r#"{"session":"s","email":"bob@example.org","page":"/"}"#,
                r#"{"sku":"a"}"#,
            ],
        )
        .await
        .unwrap();
    assert_eq!(outcome[0], with(r#","total":39.98,"fraud_flag":false,"fraud_reason":null"#));
    let many = with(r#","total":9995.0,"fraud_flag":true,"fraud_reason":"total above 5000""#);
    assert_eq!(outcome[1], many.replace("\"quantity\":2", "\"quantity\":500"));
    assert_eq!(outcome[2..4], ["dropped", "dropped"]);
    let known = "EUR, USD, GBP, CHF, PLN, SEK, JPY";
    assert_eq!(outcome[4], format!("failed: order o-1: currency \"XXX\" is unknown: known are {known}"));
    assert_eq!(outcome[5], "failed: order o-1: the quantity of item 1 is 0: it must be positive");
    assert_eq!(outcome[6], r#"{"session":"s","email":"b***@example.org","page":"/"}"#);
    assert_eq!(outcome[7], r#"{"sku":"a"}"#);
}

#[tokio::test]
async fn the_retail_transform_works_on_values_with_schemas() {
    let host = host(&["retail-transform"]);
    let kind = |kind| Arc::new(Schema::new(kind));
    let customer = Arc::new(Schema::record([("id", kind(Kind::String)), ("email", kind(Kind::String))]));
    let item = Arc::new(Schema::record([("quantity", kind(Kind::Int32)), ("unit_price", kind(Kind::Float64))]));
    let schema = Arc::new(Schema::record([
        ("order_id", kind(Kind::String)),
        ("customer", customer.clone()),
        ("items", Arc::new(Schema::array(item.clone()))),
        ("currency", kind(Kind::String)),
        ("test", kind(Kind::Boolean)),
        ("ordered_at", kind(Kind::Int64)),
    ]));
    let order = |quantity: i32| {
        let line = Struct::from_values(item.clone(), vec![Value::Int32(quantity), Value::Float64(19.99)]);
        let customer = Struct::from_values(customer.clone(), vec![Value::string("c-1"), Value::string("anna@example.org")]);
        let values = vec![
            Value::string("o-1"),
            Value::Struct(customer),
            Value::Array(vec![Value::Struct(line)]),
            Value::string("EUR"),
            Value::Boolean(false),
            Value::Int64(1_732_300_000_000),
        ];
        Payload::decoded(SchemaAndValue::new(schema.clone(), Value::Struct(Struct::from_values(schema.clone(), values))))
    };
    let mut transform = host.transform("RetailOrders", &[("fraud.total.threshold", "100")]).await.unwrap();
    let mut rows = batch([order(2), order(20)]);
    transform.apply_batch(&mut rows, &context("RetailOrders")).await.unwrap();
    let schemas: Vec<_> = rows.rows().iter().map(|row| row.record.value.view().unwrap().schema.clone().unwrap()).collect();
    assert!(Arc::ptr_eq(&schemas[0], &schemas[1]), "flagged or not, orders share one schema");
    let names: Vec<&str> = schemas[0].fields[6..].iter().map(|field| field.name.as_str()).collect();
    assert_eq!(names, ["total", "fraud_flag", "fraud_reason"]);
    let shown = shown(&rows);
    assert!(
        shown[0].contains("a***@example.org") && shown[0].ends_with(r#""total":39.98,"fraud_flag":false,"fraud_reason":null}"#)
    );
    assert!(shown[1].ends_with(r#""total":399.8,"fraud_flag":true,"fraud_reason":"total above 100"}"#), "{}", shown[1]);
}
