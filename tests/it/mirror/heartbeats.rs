//! Heartbeats, beside Java's.

use anyhow::{Result, ensure};
use penstock_tests::{Kafka, Message, eventually, unique};
use serde_json::Value;

use super::{Pair, SOON, between, pair, stop};

const CLASS: &str = "org.apache.kafka.connect.mirror.MirrorHeartbeatConnector";

#[tokio::test(flavor = "multi_thread")]
async fn heartbeats_are_javas_byte_for_byte() -> Result<()> {
    let kafka = Kafka::shared().await?;
    let [java, ours] = Pair::get().await?.both();
    // The first creates the topic.
    let ours_found = beats(kafka, ours, "ours").await?;
    let props = [("bootstrap.servers".to_owned(), kafka.bootstrap().to_owned())].into();
    let admin = penstock::kafka::Admin::new(penstock::kafka::settings::admin("test", &props)?)?;
    ensure!(admin.topic_configs("heartbeats").await?["cleanup.policy"] == "compact");
    ensure!(kafka.partitions("heartbeats").await?.len() == 1);
    let javas_found = beats(kafka, java, "java").await?;
    ensure!(ours_found == javas_found, "Java {javas_found:#?}\nours {ours_found:#?}");
    Ok(())
}

/// What a worker writes and says, without what must differ; both aliases are as long.
async fn beats(kafka: &Kafka, connect: &penstock_tests::Connect, alias: &str) -> Result<(Vec<String>, String, Vec<String>)> {
    let name = unique("heartbeat");
    let mut config = between(kafka, kafka, alias, "east");
    config.extend([("connector.class", CLASS), ("emit.heartbeats.interval.seconds", "1"), ("tasks.max", "2")].map(pair));
    connect.create(&name, &config).await?;
    let found = eventually("three heartbeats", SOON, async || {
        ensure!(kafka.has_topic("heartbeats").await?, "no topic yet");
        let all = kafka.read("heartbeats").await?.into_iter();
        let own: Vec<Message> =
            all.filter(|m| String::from_utf8_lossy(m.key.as_deref().unwrap_or_default()).contains(alias)).collect();
        Ok(Some(own).filter(|own| own.len() >= 3))
    });
    let found = found.await?;
    connect.wait_running(&name, 1).await?;
    let offsets = stop(connect, &name).await?.to_string().replace(alias, "SIDE");
    let codes = refusals(connect, &name, alias).await?;
    connect.delete(&format!("/connectors/{name}")).await?.ok()?;
    let gaps = found.windows(2).map(|pair| pair[1].timestamp_ms.unwrap_or(0) - pair[0].timestamp_ms.unwrap_or(0));
    ensure!(gaps.clone().all(|gap| (900..5_000).contains(&gap)), "{:?}", gaps.collect::<Vec<_>>());
    Ok((found.iter().take(3).map(|message| shown(message, alias)).collect(), offsets, codes))
}

/// The timestamp stands in the value, too.
fn shown(message: &Message, alias: &str) -> String {
    let value = message.value.clone().unwrap_or_default();
    let (version, timestamp) = value.split_at(value.len().min(2));
    let is_same = timestamp == message.timestamp_ms.unwrap_or_default().to_be_bytes();
    let key = String::from_utf8_lossy(message.key.as_deref().unwrap_or_default()).replace(alias, "SIDE");
    format!("{} {key:?} {version:?} {is_same} {:?}", message.partition, message.headers)
}

/// Which changes of offsets are taken.
async fn refusals(connect: &penstock_tests::Connect, name: &str, alias: &str) -> Result<Vec<String>> {
    let mut codes = Vec::new();
    for (partition, offset) in [
        (r#"{"sourceClusterAlias":"ALIAS","targetClusterAlias":"east"}"#, r#"{"offset":0}"#),
        (r#"{"sourceClusterAlias":"ALIAS","targetClusterAlias":"east"}"#, r#"{"offset":1}"#),
        (r#"{"sourceClusterAlias":"ALIAS"}"#, r#"{"offset":0}"#),
        (r#"{"sourceClusterAlias":"ALIAS"}"#, "null"),
    ] {
        let text = format!(r#"{{"offsets":[{{"partition":{partition},"offset":{offset}}}]}}"#).replace("ALIAS", alias);
        let body: Value = serde_json::from_str(&text)?;
        // Java refuses for a moment, while it takes in what was written before.
        let answer = eventually("an answer", SOON, async || {
            let answer = connect.send(reqwest::Method::PATCH, &format!("/connectors/{name}/offsets"), Some(&body)).await?;
            Ok(Some(answer).filter(|answer| answer.status != 409))
        });
        codes.push(format!("{partition} {offset}: {}", answer.await?.status).replace(alias, "SIDE"));
    }
    Ok(codes)
}
