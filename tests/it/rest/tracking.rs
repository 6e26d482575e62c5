//! The topics that a connector has used (KIP-558).

use anyhow::Result;
use penstock_tests::Kafka;
use reqwest::Method;
use serde_json::json;

use super::side::SIDE;
use super::step::{Step, bare, create, delete, get};

const TOPICS: [&str; 2] = ["rest-used-1", "rest-used-2"];

/// Records that both read.
pub(super) async fn produce(kafka: &Kafka) -> Result<()> {
    for topic in TOPICS {
        kafka.create_topic(topic, 1).await?;
        kafka.produce_values(topic, ["{}"]).await?;
    }
    Ok(())
}

pub(super) fn steps() -> Vec<Step> {
    let topics = || get("/connectors/uses/topics");
    vec![
        // In groups of their own: in one, only one side would get the records.
        create("uses", &json!({"topics": TOPICS.join(","), "consumer.override.group.id": format!("rest-uses-{SIDE}")})),
        // Neither has used any at first, which is alike too early.
        topics().until(TOPICS[0]),
        topics().until(TOPICS[1]),
        bare(Method::PUT, "/connectors/uses/pause"),
        get("/connectors/uses/status"),
        topics(),
        bare(Method::PUT, "/connectors/uses/topics/reset"),
        topics(),
        bare(Method::PUT, "/connectors/uses/topics/reset"),
        bare(Method::PUT, "/connectors/uses/resume"),
        get("/connectors/uses/status"),
        topics(),
        delete("/connectors/uses"),
        get("/connectors/uses"),
        topics(),
    ]
}
