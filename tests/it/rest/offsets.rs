//! Offsets of sinks: shown, altered, reset (KIP-875).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use penstock_tests::{Kafka, wait_until};
use rdkafka::consumer::{BaseConsumer, Consumer};
use reqwest::Method;
use serde_json::{Value, json};

use super::differences;
use super::side::{SIDE, Side};
use super::step::{Like, Step, bare, create, delete, get, patch, raw};

const OFFSETS: &str = "/connectors/offs/offsets";

fn group() -> String {
    format!("rest-offs-{SIDE}")
}

fn entry(topic: Value, partition: Value, offset: Value) -> Value {
    json!({"partition": {"kafka_topic": topic, "kafka_partition": partition}, "offset": offset})
}

fn at(partition: i32, offset: i64) -> Value {
    entry("rest-t1".into(), partition.into(), json!({"kafka_offset": offset}))
}

fn alter(entries: Vec<Value>) -> Step {
    patch(OFFSETS, &json!({"offsets": entries}))
}

pub(super) fn of_a_sink() -> Vec<Step> {
    let mut steps = vec![
        patch("/connectors/zz/offsets", &json!({"offsets": [at(0, 1)]})),
        patch("/connectors/zz/offsets", &json!({"offsets": []})),
        delete("/connectors/zz/offsets"),
        create("offs", &json!({"consumer.override.group.id": group()})),
        get("/connectors/offs/status"),
        get(OFFSETS),
        alter(vec![at(0, 1)]),
        delete(OFFSETS),
        bare(Method::PUT, "/connectors/offs/pause"),
        get("/connectors/offs/status"),
        alter(vec![at(0, 1)]),
        delete(OFFSETS),
        bare(Method::PUT, "/connectors/offs/stop"),
        get("/connectors/offs/status"),
        get("/connectors/offs/tasks"),
    ];
    steps.extend(bodies());
    steps.extend(alterations());
    steps.extend(resets());
    steps
}

/// None of these changes anything.
fn bodies() -> Vec<Step> {
    let mut steps = Vec::new();
    for body in ["", "null", "{", "[]", "7", "{\"offsets\": {}}", "{\"offsets\": [null]}", "{\"offsets\": [7]}"] {
        steps.push(raw(Method::PATCH, OFFSETS, body).like(Like::Shape));
    }
    for body in [
        json!({"offsets": [{"partition": 5}]}),
        json!({"offsets": [{"partition": {"a": 1}, "offset": 7}]}),
        json!({"offsets": [{"partition": {"a": 1}, "offset": [7]}]}),
        json!({"offsets": [at(0, 1)], "x": 1}),
        json!({"offsets": [{"partition": {}, "offset": {}, "x": 1}]}),
    ] {
        steps.push(patch(OFFSETS, &body).like(Like::Shape));
    }
    steps.extend([
        patch(OFFSETS, &json!({})),
        patch(OFFSETS, &json!({"offsets": null})),
        patch(OFFSETS, &json!({"offsets": []})),
        raw(Method::PATCH, OFFSETS, "x").content_type(Some("text/plain")),
        bare(Method::PUT, OFFSETS),
        bare(Method::POST, OFFSETS),
    ]);
    let t1 = || json!("rest-t1");
    for wrong in [
        json!({}),
        json!({"offset": {"kafka_offset": 1}}),
        json!({"partition": null, "offset": {"kafka_offset": 1}}),
        json!({"partition": {}, "offset": null}),
        json!({"partition": {"kafka_topic": "rest-t1"}, "offset": null}),
        json!({"partition": {"kafka_partition": 1}, "offset": null}),
        entry(t1(), json!("x"), Value::Null),
        entry(t1(), json!(null), Value::Null),
        entry(t1(), json!(1.0), Value::Null),
        entry(t1(), json!(true), Value::Null),
        entry(t1(), json!([1]), Value::Null),
        entry(t1(), json!({"a": 1}), Value::Null),
        entry(t1(), json!(3_000_000_000_i64), Value::Null),
        entry(t1(), json!(0), json!({})),
        entry(t1(), json!(0), json!({"offset": 1})),
        entry(t1(), json!(0), json!({"kafka_offset": null})),
        entry(t1(), json!(0), json!({"kafka_offset": "x"})),
        entry(t1(), json!(0), json!({"kafka_offset": 1.5})),
        entry(t1(), json!(0), json!({"kafka_offset": ""})),
    ] {
        steps.push(alter(vec![wrong]));
    }
    steps.push(get(OFFSETS));
    steps
}

fn alterations() -> Vec<Step> {
    vec![
        // There is no such group yet.
        alter(vec![entry("rest-t1".into(), 0.into(), Value::Null)]).like(Like::SaysMore),
        alter(vec![at(0, 5), at(1, 0)]),
        get(OFFSETS),
        alter(vec![entry("rest-t1".into(), "1".into(), json!({"kafka_offset": "7", "x": 1}))]),
        get(OFFSETS),
        // A topic that the connector does not read.
        alter(vec![entry("rest-t2".into(), 0.into(), json!({"kafka_offset": 2}))]),
        get(OFFSETS),
        alter(vec![entry("rest-t1".into(), 0.into(), Value::Null), at(1, 3)]),
        get(OFFSETS),
        alter(vec![entry("rest-t2".into(), 0.into(), Value::Null)]),
        get(OFFSETS),
        // No offset there.
        alter(vec![entry("rest-t2".into(), 1.into(), Value::Null)]),
        alter(vec![at(9, 5)]).like(Like::SaysMore),
        alter(vec![entry("rest-none".into(), 0.into(), json!({"kafka_offset": 2}))]).like(Like::SaysMore),
        alter(vec![entry("rest-none".into(), 0.into(), Value::Null)]).like(Like::SaysMore),
        alter(vec![at(-1, 5)]).like(Like::SaysMore),
        alter(vec![entry("rest/t".into(), 0.into(), json!({"kafka_offset": 2}))]).like(Like::SaysMore),
        alter(vec![at(0, -5)]).like(Like::Differs(500, 400)),
        get(OFFSETS),
    ]
}

fn resets() -> Vec<Step> {
    vec![
        raw(Method::DELETE, OFFSETS, "{bad"),
        get(OFFSETS),
        delete(OFFSETS),
        alter(vec![at(0, 1)]),
        bare(Method::PUT, "/connectors/offs/resume"),
        get("/connectors/offs/status"),
        alter(vec![at(0, 2)]),
        delete(OFFSETS),
        bare(Method::PUT, "/connectors/offs/stop"),
        get("/connectors/offs/status"),
        get("/connectors/offs/tasks"),
    ]
}

/// A member of the connector's group that the worker knows nothing of: a zombie task, for all it can tell.
struct Zombie {
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
    owns: Arc<AtomicBool>,
}

impl Zombie {
    fn start(kafka: &Kafka, group: &str) -> Result<Self> {
        let consumer: BaseConsumer = kafka.client().set("group.id", group).set("enable.auto.commit", "false").create()?;
        consumer.subscribe(&["rest-t1"])?;
        let (stop, owns) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let (stopped, owned) = (stop.clone(), owns.clone());
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::SeqCst) {
                drop(consumer.poll(Duration::from_millis(50)));
                owned.store(consumer.assignment().is_ok_and(|a| a.count() > 0), Ordering::SeqCst);
            }
        });
        Ok(Self { stop, thread: Some(thread), owns })
    }
}

impl Drop for Zombie {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

/// The connector stands still since [`of_a_sink`]; the last steps wait until its own tasks have left.
pub(super) async fn while_somebody_is_in_the_group(kafka: &Kafka, java: &Side, ours: &Side) -> Result<Vec<String>> {
    for side in [java, ours] {
        let reset = async || Ok(side.ask(&delete(OFFSETS)).await?.status == 200);
        wait_until("the tasks to leave the group", Duration::from_secs(30), reset).await?;
        let again = side.ask(&alter(vec![at(0, 1), at(1, 1)])).await?;
        anyhow::ensure!(again.status == 200, "{again:?}");
    }
    let zombies = [java, ours].map(|side| Zombie::start(kafka, &side.named(&group())));
    let zombies: Vec<Zombie> = zombies.into_iter().collect::<Result<_>>().context("start members of the groups")?;
    let owning = async || Ok(zombies.iter().all(|zombie| zombie.owns.load(Ordering::SeqCst)));
    wait_until("the members own their partitions", Duration::from_secs(30), owning).await?;
    let steps = [
        alter(vec![at(0, 2)]),
        alter(vec![entry("rest-t1".into(), 0.into(), Value::Null)]),
        alter(vec![at(0, 2), entry("rest-t1".into(), 1.into(), Value::Null)]),
        delete(OFFSETS),
        get(OFFSETS),
    ];
    let found = differences(java, ours, &steps).await?;
    drop(zombies);
    let last = [delete("/connectors/offs"), get("/connectors/offs")];
    Ok([found, differences(java, ours, &last).await?].concat())
}
