//! Names of connectors that are odd in JSON, in paths, or in both.

use anyhow::Result;
use penstock_tests::Kafka;
use penstock_tests::kafka::NewRecord;
use serde_json::json;

use super::step::{Like, Step, create, delete, get, put, sink};

/// Each with its form in a path.
const NAMES: &[(&str, &str)] = &[
    ("quote\"", "quote%22"),
    ("<b>", "%3Cb%3E"),
    ("a:b@c", "a:b@c"),
    ("a&b=c", "a&b=c"),
    ("..a", "..a"),
    ("😀", "%F0%9F%98%80"),
    ("名前", "%E5%90%8D%E5%89%8D"),
    ("a|b^c`d", "a%7Cb%5Ec%60d"),
    ("-", "-"),
    ("config", "config"),
    ("CaSe", "CaSe"),
];

pub(super) fn that_are_odd() -> Vec<Step> {
    let mut steps = Vec::new();
    for (name, path) in NAMES {
        steps.push(create(name, &json!({})));
        steps.push(get(format!("/connectors/{path}")));
        steps.push(get(format!("/connectors/{path}/status")));
        steps.push(delete(format!("/connectors/{path}")));
    }
    // Java's HTTP server refuses the path.
    steps.extend([
        create("back\\slash", &json!({})),
        get("/connectors/back%5Cslash").like(Like::Differs(400, 200)),
        delete("/connectors/back%5Cslash").like(Like::Differs(400, 204)),
    ]);
    // Java makes it, and then cannot say where it is.
    steps.extend([
        create("{x}", &json!({})).like(Like::Differs(500, 201)),
        get("/connectors/%7Bx%7D/status"),
        delete("/connectors/%7Bx%7D"),
    ]);
    let long = "n".repeat(200);
    steps.extend([
        create(&long, &json!({})),
        get(format!("/connectors/{long}/status")),
        delete(format!("/connectors/{long}")),
        get("/connectors/case"),
        put("/connectors/%20", &sink(&json!({}))),
        put("/connectors/%20pad%20/config", &sink(&json!({}))),
        put("/connectors/tab%09/config", &sink(&json!({}))).like(Like::Differs(400, 201)),
        delete("/connectors/tab%09").like(Like::Differs(400, 204)),
        put("/connectors/new%0Aline/config", &sink(&json!({}))).like(Like::Differs(400, 400)),
        put("/connectors/nul%00/config", &sink(&json!({}))).like(Like::Differs(400, 400)),
        get("/connectors/%20pad%20"),
        delete("/connectors/%20pad%20"),
        get("/connectors//status").like(Like::Differs(400, 404)),
        get("/connectors/a//status").like(Like::Differs(400, 404)),
        get("//connectors").like(Like::Differs(400, 404)),
        get("/connectors/./a"),
        get("/CONNECTORS"),
        get("/connectors/a/Status"),
        get("/connectors/a/status/x"),
        get("/connectors/a/tasks/0"),
        get("/connectors/a/tasks/0/x"),
        get("/connector-plugins/a/b"),
        get("/connector-plugins/a"),
        get("/admin/loggers/a/b"),
    ]);
    steps
}

/// Takes away what Java has made and cannot address: the records of a deletion do.
pub(super) async fn clear(kafka: &Kafka, javas_config_topic: &str) -> Result<()> {
    let names = ["a/b", "back\\slash"];
    let records = names.map(|name| NewRecord { key: Some(format!("connector-{name}").into_bytes()), ..NewRecord::default() });
    kafka.produce(javas_config_topic, records).await
}
