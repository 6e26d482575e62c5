//! Sources that are components, in the host alone.

use penstock_api::{Next, Polled, SourceContext, SourceMap, SourceTask, StoredOffsets, async_trait};

use super::*;

/// How long the storage takes to answer.
const STORAGE: Duration = Duration::from_millis(20);

/// The worker's offsets: one for whatever is asked.
struct StoredAt(Option<u64>, Duration);

#[async_trait]
impl StoredOffsets for StoredAt {
    async fn stored(&self, partitions: &[SourceMap]) -> Result<Vec<Option<SourceMap>>> {
        tokio::time::sleep(self.1).await;
        let offset = self.0.map(|next| [("next".to_owned(), next.into())].into_iter().collect());
        Ok(vec![offset; partitions.len()])
    }
}

async fn source(host: &Host, class: &str, props: &[(&str, &str)], stored: Option<u64>) -> Result<Box<dyn SourceTask>> {
    let plugin = host.registry.find(&[PluginKind::Source], class).unwrap_or_else(|| panic!("no {class}: {:?}", host.problems));
    let Constructor::Source(make) = &plugin.construct else { panic!("{class} is no source") };
    let connector = make();
    let mut props = props_of(props);
    props.insert("topic".into(), "numbers".into());
    let planned = connector.task_configs(&props, 3).await?;
    assert_eq!(planned.len(), 1, "one task is planned");
    let mut task = connector.task();
    let id = TaskId { connector: "numbers".into(), task: 0 };
    task.start(&planned[0], SourceContext::new(id, Arc::new(StoredAt(stored, STORAGE)))).await?;
    Ok(task)
}

/// Polls until nothing more comes.
async fn all(task: &mut dyn SourceTask) -> Result<Vec<penstock_api::SourceRecord>> {
    let mut records = Vec::new();
    loop {
        let Polled { records: more, next } = task.poll().await?;
        records.extend(more);
        if next == Next::Done {
            return Ok(records);
        }
    }
}

fn text(payload: &Payload) -> String {
    payload.wire().map_or_else(|| "null".to_owned(), |encoded| String::from_utf8_lossy(&encoded.bytes).into_owned())
}

#[tokio::test]
async fn both_forms_give_records_and_go_on_where_they_were() {
    let host = host(&["sources"]);
    let mut task = source(&host, "CountSource", &[("records", "25")], Some(5)).await.unwrap();
    let records = all(&mut *task).await.unwrap();
    assert_eq!(records.len(), 20);
    let first = &records[0];
    assert_eq!((text(&first.record.key), text(&first.record.value)), ("k5".to_owned(), r#"{"number":5}"#.to_owned()));
    assert_eq!(text(&first.record.headers.last("from").unwrap().value), "count");
    let position = |at: usize| records[at].position.as_ref().unwrap();
    assert_eq!(position(19).offset.to_map()["next"], 25);
    assert!(Arc::ptr_eq(&position(0).partition, &position(19).partition), "shared from poll to poll");
    task.stop().await;

    let mut task = source(&host, "CountRecordsSource", &[("records", "4")], None).await.unwrap();
    let records = all(&mut *task).await.unwrap();
    let values: Vec<_> = records.iter().map(|record| text(&record.record.value)).collect();
    assert_eq!(values, [r#"{"number":0}"#, "1", "null", r#"{"number":3}"#]);
    assert_eq!(records[3].record.timestamp, Some(1_003));
    task.stop().await;
}

/// The worker drops a poll that waits, to stop or to tell something; a guest that was in it must not be lost.
#[tokio::test]
async fn a_poll_that_is_dropped_goes_on_with_the_next_one() {
    let host = host(&["sources"]);
    let mut task = source(&host, "CountSource", &[("records", "30"), ("mode", "slow")], None).await.unwrap();
    assert!(task.wants_deliveries());
    let (mut records, mut dropped) = (0, 0);
    while records < 30 {
        // Not long enough: the guest sleeps in its call.
        if let Ok(polled) = tokio::time::timeout(Duration::from_millis(1), task.poll()).await {
            records += polled.unwrap().records.len();
        } else {
            dropped += 1;
            task.delivered(&[]).await.unwrap();
        }
    }
    assert!(dropped >= 3, "each poll was dropped");
    assert_eq!(task.poll().await.unwrap().next, Next::Done);
    task.stop().await;
}

#[tokio::test]
async fn what_a_source_does_wrong_ends_its_task_with_the_reason() {
    let host = host_with(&["sources"], |config| config.call_deadline = Duration::from_secs(2));
    for (mode, reasons) in [
        ("trap-at-start", &["the plugin trapped", "no licence found", "sources.wasm"][..]),
        ("refuse-at-start", &["mode is refuse-at-start: set another one"]),
        ("loop", &["did not return within 2000 ms (penstock.plugin.call.timeout.ms)"]),
        ("sleep", &["did not return within 2000 ms"]),
        ("recurse", &["the plugin trapped"]),
        ("allocate", &["more than the 64 MiB of memory"]),
        ("trap", &["the plugin trapped", "cannot stand the number 10"]),
        ("fail", &["the other side is gone for good"]),
        ("too-many", &["misused outbox.add: there is room for 10000 rows more, not for 10001"]),
        ("no-json", &["misused outbox.add: values: row 0 is no JSON"]),
        ("no-offset", &["misused outbox.add: offsets: row 0", "is no JSON object"]),
    ] {
        let run = async {
            let mut task = source(&host, "CountSource", &[("mode", mode)], None).await?;
            all(&mut *task).await
        };
        let error = format!("{:#}", run.await.expect_err(mode));
        for reason in reasons {
            assert!(error.contains(reason), "{mode}: {error} does not say {reason}");
        }
    }
}

/// What the columns of one source and the records of another say of the same orders.
#[tokio::test]
async fn rows_under_a_schema_are_typed_in_both_forms() {
    let host = host(&["sources"]);
    let mut found = Vec::new();
    for class in ["TypedSource", "TypedRecordsSource"] {
        let mut task = source(&host, class, &[("records", "60")], None).await.unwrap();
        let records = all(&mut *task).await.unwrap();
        let of = |payload: &Payload| payload.view().unwrap().into_owned();
        let of = records.iter().map(|given| (of(&given.record.key), of(&given.record.value)));
        found.push(of.collect::<Vec<(SchemaAndValue, SchemaAndValue)>>());
    }
    assert_eq!((found[0].len(), &found[0]), (60, &found[1]));
    let (key, order) = &found[0][7];
    assert_eq!(*key, SchemaAndValue::new(Schema::new(Kind::Int64), Value::Int64(7)));
    let schema = order.schema.as_ref().unwrap();
    let about = (schema.name.as_deref(), schema.version, schema.doc.as_deref());
    assert_eq!(about, (Some("shop.Order"), Some(3), Some("What somebody wants.")));
    assert!(Arc::ptr_eq(schema, found[0][47].1.schema.as_ref().unwrap()), "shared from poll to poll");
    let Value::Struct(order) = &order.value else { panic!("{order:?}") };
    let Some(Value::Struct(customer)) = order.get("customer") else { panic!("{order:?}") };
    let (email, age) = (customer.get("email"), customer.get("age"));
    assert_eq!((email, age), (Some(&Value::string("j\u{f6}rg-7@example.org")), Some(&Value::Int8(7))));
    for (field, expected) in [
        ("total", Value::Decimal(Box::new("7.07".parse().unwrap()))),
        ("at", Value::Timestamp(1_760_000_000_007)),
        ("day", Value::Date(20_000)),
        ("rate", Value::Float64(0.875)),
        ("tags", Value::Array(vec![Value::string("t0")])),
        ("by_number", Value::Null),
        ("raw", Value::Bytes(Bytes::from_static(&[7, 0xff]))),
        ("state", Value::string("new")),
    ] {
        assert_eq!(order.get(field), Some(&expected), "{field}");
    }
}

#[tokio::test]
async fn a_value_that_does_not_fit_its_schema_is_a_record_that_fails() {
    let host = host(&["sources"]);
    for class in ["TypedSource", "TypedRecordsSource"] {
        let mut task = source(&host, class, &[("records", "30"), ("mode", "misfit")], None).await.unwrap();
        for (n, given) in all(&mut *task).await.unwrap().iter().enumerate() {
            match given.record.value.view() {
                Ok(_) => assert_ne!(n % 10, 7, "{class}: a value that does not fit was taken"),
                Err(error) => {
                    assert_eq!((n % 10, error.kind()), (7, ErrorKind::Data), "{class}: {error:#}");
                    let why =
                        "the plugin gave a value that does not fit its schema shop.Order: Invalid type for INT64: found STRING";
                    assert_eq!(error.to_string(), why);
                }
            }
        }
    }
}

#[tokio::test]
async fn garbage_for_a_schema_and_floods_of_values_end_the_task() {
    let host = host(&["sources"]);
    for (mode, reasons) in [
        ("garbage-schema", &["misused outbox.declare-schema: the schema cannot be read: Unknown schema type: text"][..]),
        ("schema-flood", &["misused outbox.declare-schema: there is room for schemas of", "bytes more"]),
        ("null-flood", &["misused outbox.add-with-schemas: values: row 0: more values than there is room for"]),
    ] {
        let mut task = source(&host, "TypedSource", &[("mode", mode)], None).await.unwrap();
        let error = format!("{:#}", all(&mut *task).await.expect_err(mode));
        for reason in reasons {
            assert!(error.contains(reason), "{mode}: {error} does not say {reason}");
        }
    }
}

#[tokio::test]
async fn a_poll_that_cannot_now_leaves_nothing_behind() {
    let host = host(&["sources"]);
    let mut task = source(&host, "CountSource", &[("records", "30"), ("mode", "retry")], None).await.unwrap();
    assert_eq!(task.poll().await.unwrap().records.len(), 10);
    let error = task.poll().await.unwrap_err();
    assert_eq!((error.kind(), format!("{error:#}").contains("the other side is away")), (ErrorKind::Retriable, true));
    assert_eq!(all(&mut *task).await.unwrap().len(), 20, "what the failed call had added came once");
}

#[tokio::test]
async fn waiting_for_the_storage_is_not_the_plugins_time() {
    let host = host_with(&["sources"], |config| config.call_deadline = Duration::from_millis(500));
    let plugin = host.registry.find(&[PluginKind::Source], "CountSource").unwrap();
    let Constructor::Source(make) = &plugin.construct else { panic!("a source") };
    let mut task = make().task();
    let offsets = Arc::new(StoredAt(Some(95), Duration::from_millis(1_500)));
    let id = TaskId { connector: "numbers".into(), task: 0 };
    task.start(&props_of(&[("topic", "numbers")]), SourceContext::new(id, offsets)).await.unwrap();
    assert_eq!(all(&mut *task).await.unwrap().len(), 5);
}
