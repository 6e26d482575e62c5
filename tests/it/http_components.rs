//! The two HTTP components of `examples/` against services as strict as real ones, while the worker is killed.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Result, ensure};
use penstock_tests::connect::{Config, config};
use penstock_tests::worker::Builder;
use penstock_tests::{AlertEndpoint, Faults, Kafka, TicketApi, Worker, unique, wait_until};
use serde_json::{Value, json};

const LIMIT: Duration = Duration::from_secs(120);
const PARTITIONS: i32 = 2;

/// What both services want to see in each request.
const TOKEN: &str = "only-the-services-know-me";

/// The worker grants what is on this machine, and a secret; each connector asks for its own part of that.
fn builder(kafka: &Kafka) -> Result<Builder> {
    let builder = Worker::builder(kafka)
        .property("plugin.grants.hosts", "127.0.0.0/8")
        .property("plugin.grants.secrets", "token")
        .property("config.providers", "env")
        .property("config.providers.env.class", "org.apache.kafka.common.config.provider.EnvVarConfigProvider")
        .environment("SERVICE_TOKEN", TOKEN)
        .property("offset.flush.interval.ms", 200);
    builder.with_test_components()
}

/// May reach this host, and sends it the token, which the component does not get to see.
fn granted(host: &str, mut config: Config) -> Config {
    let grants = [
        ("plugin.grants.hosts", host),
        ("plugin.grants.secrets", "token"),
        ("plugin.grants.secrets.token.value", "${env:SERVICE_TOKEN}"),
        ("plugin.grants.secrets.token.hosts", host),
        ("http.headers", "Authorization: Bearer {secret:token}"),
    ];
    config.extend(grants.map(|(key, value)| (key.to_owned(), value.into())));
    config
}

async fn ensure_nobody_sees_the_token(worker: &Worker, connector: &str) -> Result<()> {
    for path in ["/config", "/tasks", "/tasks-config", "/status", "/offsets"] {
        let answer = worker.connect().get(&format!("/connectors/{connector}{path}")).await?;
        ensure!(!answer.body.to_string().contains(TOKEN), "{path} shows the token: {}", answer.body);
    }
    ensure!(!worker.log_text().contains(TOKEN), "the worker's log shows the token");
    Ok(())
}

/// The tickets' ids in the topic, in their order.
async fn polled(kafka: &Kafka, topic: &str) -> Result<Vec<String>> {
    let messages = kafka.read(topic).await?;
    messages.iter().map(|message| Ok(message.json()?["id"].as_str().unwrap_or("no id").to_owned())).collect()
}

/// The offset behind the last ticket: as tickets share times, it is the last time but one, with all tickets from there on.
fn offset_behind(tickets: &[Value]) -> Value {
    let times: BTreeSet<u64> = tickets.iter().filter_map(|ticket| ticket["updated_at"].as_u64()).collect();
    let cursor = *times.iter().nth_back(1).expect("tickets of two times at least");
    let above = tickets.iter().filter(|ticket| ticket["updated_at"].as_u64() >= Some(cursor));
    let given: serde_json::Map<String, Value> = above
        .map(|ticket| (ticket["id"].as_str().unwrap_or_default().to_owned(), json!(ticket["updated_at"].to_string())))
        .collect();
    json!({"cursor": cursor.to_string(), "given": Value::from(given).to_string()})
}

/// An API that fails, breaks off and refuses; a worker that is killed three times; tickets that come all the while.
async fn poll_over_kills(properties: &[(&str, &str)]) -> Result<(TicketApi, Vec<String>)> {
    const TICKETS: u64 = 400;
    let kafka = Kafka::shared().await?;
    let api = TicketApi::start(Faults { failing: 7, cut: 5, per_second: 10 }, Some(TOKEN)).await?;
    let topic = unique("tickets");
    kafka.create_topic(&topic, 1).await?;
    let builder = properties.iter().fold(builder(kafka)?, |builder, (key, value)| builder.property(key, value));
    let mut worker = builder.start().await?;
    let connector = config([
        ("connector.class", "penstock.examples.HttpSource"),
        ("http.url", &api.url()),
        ("topic", &topic),
        ("items.field", "tickets"),
        ("key.field", "id"),
        ("cursor.field", "updated_at"),
        ("cursor.id.field", "id"),
        ("poll.interval.ms", "50"),
    ]);
    let connector = granted(&api.host(), connector);
    api.open(TICKETS);
    worker.connect().create(&topic, &connector).await?;
    for kill in 1..=3 {
        let enough = api.ids().len() * kill / 4;
        wait_until("some tickets", LIMIT, async || Ok(polled(kafka, &topic).await?.len() >= enough)).await?;
        worker.kill();
        api.client_is_new();
        api.open(TICKETS / 10);
        worker.restart().await?;
    }
    let all: BTreeSet<String> = api.ids().into_iter().collect();
    let mut ids = Vec::new();
    wait_until("all tickets", LIMIT, async || {
        ids = polled(kafka, &topic).await?;
        Ok(all.is_subset(&ids.iter().cloned().collect()))
    })
    .await?;
    let behind = offset_behind(&api.tickets());
    let offsets = format!("/connectors/{topic}/offsets");
    wait_until("the offset behind the last ticket", LIMIT, async || {
        Ok(worker.connect().get(&offsets).await?.ok()?["offsets"][0]["offset"] == behind)
    })
    .await?;
    // Nothing new is asked for by its tag.
    let (_, unchanged, _) = api.requests();
    wait_until("an answer that says so", LIMIT, async || Ok(api.requests().1 > unchanged)).await?;
    println!("tickets: {} in the API, {} in the topic; requests, unchanged, refused: {:?}", all.len(), ids.len(), api.requests());
    ensure!(api.violations() == 0, "{} requests came although the API asked to be left alone", api.violations());
    ensure!(api.requests().2 > 0, "the API had to refuse something, or nothing was tried");
    ensure_nobody_sees_the_token(&worker, &topic).await?;
    ensure!(worker.stop().await?.success());
    Ok((api, ids))
}

#[tokio::test]
async fn no_ticket_is_lost_over_kills() -> Result<()> {
    let (api, ids) = poll_over_kills(&[]).await?;
    let once: BTreeSet<&String> = ids.iter().collect();
    assert_eq!(once.len(), api.ids().len());
    Ok(())
}

#[tokio::test]
async fn each_ticket_is_there_once_and_in_order_where_sources_are_exactly_once() -> Result<()> {
    let (api, ids) = poll_over_kills(&[("exactly.once.source.support", "enabled")]).await?;
    assert_eq!(ids, api.ids());
    Ok(())
}

/// A worker that is killed three times, an endpoint that fails and breaks off after it has taken what came.
async fn send_over_kills(batch: &str) -> Result<()> {
    const ALERTS: usize = 600;
    let kafka = Kafka::shared().await?;
    let endpoint = AlertEndpoint::start(Faults { failing: 9, cut: 5, per_second: 0 }, Some(TOKEN)).await?;
    let (topic, letters) = (unique("alerts"), unique("letters"));
    kafka.create_topic(&topic, PARTITIONS).await?;
    kafka.create_topic(&letters, 1).await?;
    let mut worker = builder(kafka)?.start().await?;
    let connector = config([
        ("connector.class", "penstock.examples.HttpSink"),
        ("tasks.max", "2"),
        ("topics", &topic),
        ("http.url", &endpoint.url()),
        ("batch.max.records", batch),
        ("idempotency.field", "key"),
        ("errors.field", "errors"),
        ("retry.backoff.initial.ms", "20"),
        ("retry.backoff.max.ms", "200"),
        ("consumer.override.session.timeout.ms", "6000"),
        ("consumer.override.max.poll.records", "40"),
        ("errors.tolerance", "all"),
        ("errors.deadletterqueue.topic.name", &letters),
        ("errors.deadletterqueue.topic.replication.factor", "1"),
        ("errors.deadletterqueue.context.headers.enable", "true"),
    ]);
    let connector = granted(&endpoint.host(), connector);
    let alert = |number: usize| json!({"alert": number, "poison": number % 50 == 17}).to_string();
    kafka.produce_values(&topic, (0..ALERTS).map(alert)).await?;
    worker.connect().create(&topic, &connector).await?;
    for kill in 1..=3 {
        wait_until("some alerts", LIMIT, async || Ok(endpoint.taken().len() >= ALERTS * kill / 4 - 40)).await?;
        worker.kill();
        worker.restart().await?;
    }
    let group = format!("connect-{topic}");
    wait_until("everything is committed", LIMIT, async || Ok(kafka.lag(&group, &topic).await? == 0)).await?;

    let sent = kafka.read(&topic).await?;
    let place = |partition: &dyn std::fmt::Display, offset: &dyn std::fmt::Display| format!("{topic}-{partition}-{offset}");
    let poisonous = |message: &penstock_tests::Message| message.json().is_ok_and(|alert| alert["poison"] == true);
    let places = |poison: bool| -> BTreeSet<String> {
        let of_kind = sent.iter().filter(|message| poisonous(message) == poison);
        of_kind.map(|message| place(&message.partition, &message.offset)).collect()
    };
    let taken: BTreeSet<String> = endpoint.taken().into_keys().collect();
    println!("alerts: {} taken, {} came again, in {} requests", taken.len(), endpoint.repeated(), endpoint.requests());
    assert_eq!(taken, places(false), "each alert under its key, and nothing else");
    assert_eq!(endpoint.violations(), 0, "what came again was the same");
    assert!(endpoint.repeated() > 0, "answers were cut, so something must have come again");
    let dead: Vec<_> = kafka.read(&letters).await?;
    let header =
        |letter: &penstock_tests::Message, name: &str| letter.header(&format!("__connect.errors.{name}")).unwrap_or_default();
    let dead_places: BTreeSet<String> =
        dead.iter().map(|letter| place(&header(letter, "partition"), &header(letter, "offset"))).collect();
    assert_eq!(dead_places, places(true));
    assert!(dead.iter().all(|letter| header(letter, "exception.message").contains("poison is not taken")));
    ensure_nobody_sees_the_token(&worker, &topic).await?;
    ensure!(worker.stop().await?.success());
    Ok(())
}

#[tokio::test]
async fn each_alert_of_a_batch_is_taken_once_over_kills() -> Result<()> {
    send_over_kills("25").await
}

#[tokio::test]
async fn each_alert_alone_is_taken_once_over_kills() -> Result<()> {
    send_over_kills("1").await
}

#[tokio::test]
async fn a_host_that_was_not_granted_is_not_reached() -> Result<()> {
    let kafka = Kafka::shared().await?;
    let endpoint = AlertEndpoint::start(Faults::default(), None).await?;
    let topic = unique("alerts");
    kafka.create_topic(&topic, 1).await?;
    kafka.produce_values(&topic, ["{}"]).await?;
    let worker = builder(kafka)?.start().await?;
    let connector =
        config([("connector.class", "penstock.examples.HttpSink"), ("topics", &topic), ("http.url", &endpoint.url())]);
    worker.connect().create(&topic, &connector).await?;
    let why = worker.connect().wait_task_failed(&topic).await?;
    assert!(why.contains("plugin.grants.hosts"), "{why}");
    assert_eq!(endpoint.requests(), 0);
    Ok(())
}
