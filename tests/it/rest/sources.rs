//! Offsets of a source that leaves all about them to its worker: stored ones are shown, altered and reset as Java does it.

use anyhow::{Result, ensure};
use penstock_tests::Kafka;
use reqwest::Method;
use serde_json::{Value, json};

use super::step::{Like, Step, bare, delete, get, patch, post, raw};
use super::{Pair, differences, none};
use crate::records::{records, same};

const OFFSETS: &str = "/connectors/src/offsets";

const CLASS: &str = "org.apache.kafka.connect.tools.VerifiableSourceConnector";

fn entry(partition: Value, offset: Value) -> Value {
    json!({"partition": partition, "offset": offset})
}

fn alter(entries: Vec<Value>) -> Step {
    patch(OFFSETS, &json!({"offsets": entries}))
}

fn steps() -> Vec<Step> {
    let config = json!({"connector.class": CLASS, "topic": "rest-t1", "id": "1", "throughput": "1"});
    let file = |name: &str| json!({"file": name});
    let at = |position: i64| json!({"position": position});
    vec![
        post("/connectors", &json!({"name": "src", "config": config, "initial_state": "STOPPED"})),
        get("/connectors/src"),
        get("/connectors/src/status"),
        get(OFFSETS),
        alter(vec![entry(file("a"), at(5)), entry(file("b"), json!({"position": "x", "more": 1.5, "is": true, "none": null}))]),
        get(OFFSETS),
        alter(vec![entry(file("a"), at(7)), entry(json!({"file": "c", "part": 1, "none": null}), json!({}))]),
        get(OFFSETS),
        // The order of a partition's keys says nothing.
        raw(
            Method::PATCH,
            OFFSETS,
            r#"{"offsets": [{"partition": {"none": null, "part": 1, "file": "c"}, "offset": {"n": 1}}]}"#,
        ),
        get(OFFSETS),
        alter(vec![entry(file("b"), Value::Null)]),
        get(OFFSETS),
        // One that there is not.
        alter(vec![entry(file("z"), Value::Null)]),
        alter(vec![json!({"partition": {"file": "a"}})]),
        get(OFFSETS),
        alter(vec![entry(json!({}), at(1))]),
        get(OFFSETS),
        // Java stores what no task will ask for.
        alter(vec![json!({"offset": {"position": 1}})]).like(Like::Differs(200, 400)),
        alter(vec![entry(Value::Null, at(1))]).like(Like::Differs(200, 400)),
        get(OFFSETS),
        alter(vec![entry(file("a"), json!({"position": [1]}))]).like(Like::Shape),
        alter(vec![entry(json!({"file": {"a": 1}}), at(1))]).like(Like::Shape),
        patch(OFFSETS, &json!({"offsets": []})),
        get(OFFSETS),
        delete(OFFSETS),
        get(OFFSETS),
        delete(OFFSETS),
        bare(Method::PUT, "/connectors/src/pause"),
        get("/connectors/src/status").until("PAUSED"),
        alter(vec![entry(file("a"), at(5))]),
        delete(OFFSETS),
        delete("/connectors/src"),
        get(OFFSETS),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn offsets_of_sources() -> Result<()> {
    let pair = Pair::get().await?;
    let (java, ours) = pair.sides()?;
    none(&differences(&java, &ours, &steps()).await?, steps().len())?;
    let kafka = Kafka::shared().await?;
    let [mut theirs, mut ours] = [records(kafka, super::OFFSETS[0]).await?, records(kafka, super::OFFSETS[1]).await?];
    // Of the offsets that are for no partition.
    theirs.retain(|record| record.key != r#"["src",null]"#);
    // A reset forgets the partitions one by one, in no order that says anything; of one key the order counts.
    for side in [&mut theirs, &mut ours] {
        side.sort_by(|one, other| one.key.cmp(&other.key));
    }
    ensure!(theirs.len() > 10, "Java writes offsets: {theirs:?}");
    same(&theirs, &ours)
}
