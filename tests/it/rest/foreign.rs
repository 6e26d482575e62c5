//! A connector whose class is not known here, as a cluster leaves it that had the class: listed, failed, its configuration untouched.

use std::time::Duration;

use anyhow::{Result, ensure};
use penstock_tests::kafka::NewRecord;
use penstock_tests::{Connect, Kafka, wait_until};
use reqwest::Method;
use serde_json::{Value, json};

use super::step::{Like, Step, bare, delete, get, patch, put};

const CLASS: &str = "com.example.MissingSinkConnector";

fn config() -> Value {
    json!({"connector.class": CLASS, "name": "foreign", "tasks.max": "2", "topics": "rest-t1"})
}

/// Writes it as a worker that knew the class would have.
pub(super) async fn appears(kafka: &Kafka, config_topic: &str) -> Result<()> {
    let mut task = config();
    task["task.class"] = "com.example.MissingSinkTask".into();
    let record = |key: &str, value: Value| NewRecord {
        key: Some(key.into()),
        value: Some(value.to_string().into_bytes()),
        ..NewRecord::default()
    };
    let records = [
        record("connector-foreign", json!({"properties": config()})),
        record("task-foreign-0", json!({"properties": task})),
        record("commit-foreign", json!({"tasks": 1})),
    ];
    kafka.produce(config_topic, records).await
}

pub(super) fn steps() -> Vec<Step> {
    vec![
        get("/connectors"),
        get("/connectors/foreign"),
        get("/connectors/foreign/config"),
        get("/connectors/foreign/status"),
        get("/connectors/foreign/tasks"),
        get("/connectors/foreign/tasks/0/status"),
        get("/connectors?expand=info&expand=status"),
        get("/connectors/foreign/topics"),
        get("/connectors/foreign/offsets").like(Like::Shape),
        put("/connectors/foreign/config", &config()).like(Like::Shape),
        patch("/connectors/foreign/config", &json!({"x": "y"})).like(Like::Shape),
        bare(Method::POST, "/connectors/foreign/restart").like(Like::Differs(500, 204)),
        get("/connectors/foreign/status"),
        bare(Method::PUT, "/connectors/foreign/pause"),
        get("/connectors/foreign/status"),
        bare(Method::PUT, "/connectors/foreign/resume"),
        get("/connectors/foreign/status"),
        get("/connectors/foreign/config"),
        bare(Method::POST, "/connectors/foreign/tasks/0/restart").like(Like::Differs(500, 204)),
        // From here on Java shows the task RESTARTING.
        bare(Method::POST, "/connectors/foreign/restart?includeTasks=true&onlyFailed=true").like(Like::Shape),
        bare(Method::PUT, "/connectors/foreign/stop"),
        get("/connectors/foreign/status"),
        delete("/connectors/foreign/offsets").like(Like::Shape),
        patch("/connectors/foreign/offsets", &json!({"offsets": [{"partition": {"a": 1}, "offset": null}]})).like(Like::Shape),
        get("/connectors/foreign/config"),
        delete("/connectors/foreign"),
        get("/connectors/foreign"),
        get("/connectors"),
    ]
}

/// The reason names the class, for people who look at the status.
pub(super) async fn says_which_class(ours: &Connect) -> Result<()> {
    let failed = async || {
        let status = ours.status("foreign").await?.ok()?;
        let units = [&status["connector"], &status["tasks"][0]];
        let traces = units.map(|unit| unit["trace"].as_str().unwrap_or_default().contains(CLASS));
        ensure!(traces == [true, true], "the status is {status}");
        Ok(true)
    };
    wait_until("the traces to name the class", Duration::from_secs(20), failed).await
}
