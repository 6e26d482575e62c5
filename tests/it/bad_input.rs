//! What a user gets wrong is said before anything runs, by its key, with what to do next.

use std::time::Duration;

use anyhow::{Context, Result};
use penstock_tests::{Kafka, Worker, unique, wait_until};
use serde_json::{Value, json};

const LIMIT: Duration = Duration::from_secs(30);

/// Starts a worker that shall not come up; answers its exit code and what it said.
async fn refused(
    kafka: &Kafka,
    change: impl FnOnce(penstock_tests::worker::Builder) -> penstock_tests::worker::Builder,
) -> Result<(i32, String)> {
    let mut worker = change(Worker::builder(kafka)).launch()?;
    let mut status = None;
    wait_until("the worker to end", LIMIT, async || {
        status = worker.exit_status();
        Ok(status.is_some())
    })
    .await?;
    let code = status.and_then(|s| s.code()).context("the worker was killed by a signal")?;
    Ok((code, worker.log_text()))
}

#[tokio::test]
async fn bad_worker_files() -> Result<()> {
    let kafka = Kafka::shared().await?;
    let taken = std::net::TcpListener::bind("127.0.0.1:0")?;
    let taken_url = format!("http://{}", taken.local_addr()?);
    let set = |key: &'static str, value: &str| {
        let value = value.to_owned();
        move |builder: penstock_tests::worker::Builder| builder.property(key, value)
    };
    let (code, said) = refused(kafka, |b| b.without("group.id").without("offset.storage.topic")).await?;
    assert_eq!(code, 2, "{said}");
    for key in ["group.id", "offset.storage.topic"] {
        assert!(said.contains(&format!("Missing required configuration \"{key}\" which has no default value.")), "{said}");
    }
    // (key, value, exit code, what is said)
    let cases: &[(&'static str, &str, i32, &[&str])] = &[
        (
            "offset.flush.interval.ms",
            "soon",
            2,
            &["Invalid value soon for configuration offset.flush.interval.ms: Not a number of type LONG"],
        ),
        ("status.storage.partitions", "0", 2, &["status.storage.partitions", "positive"]),
        ("listeners", "https://:8443", 2, &["an https listener needs a key: set ssl.keystore.location to"]),
        ("listeners", &taken_url, 1, &["`listeners`", "choose another address"]),
        (
            "connector.client.config.override.policy",
            "Some",
            2,
            &["connector.client.config.override.policy", "choose All, None, Principal or Allowlist"],
        ),
        ("config.providers", "vault", 2, &["config.providers.vault.class is missing"]),
        (
            "key.converter",
            "org.acme.Nope",
            1,
            &["configuration key.converter: Class org.acme.Nope could not be found", "JsonConverter"],
        ),
    ];
    for (key, value, expected, texts) in cases {
        let (code, said) = refused(kafka, set(key, value)).await?;
        assert_eq!(code, *expected, "{key}={value}: {said}");
        for text in *texts {
            assert!(said.contains(text), "{key}={value} should say {text:?}, but said: {said}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_worker_without_a_broker_answers_and_says_so() -> Result<()> {
    let kafka = Kafka::shared().await?;
    let dead = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let mut worker = Worker::builder(kafka).property("bootstrap.servers", dead).launch()?;
    let connect = worker.connect().clone();
    wait_until("REST to answer", LIMIT, async || Ok(connect.get("/").await.is_ok())).await?;
    let health = connect.get("/health").await?;
    assert_eq!((health.status, &health.body["status"]), (503, &json!("starting")), "{health:?}");
    assert!(health.message().starts_with("Worker is still starting up. The worker is currently "), "{health:?}");
    assert_eq!(connect.get("/").await?.body["kafka_cluster_id"], Value::Null);
    let speaks = || worker.log_text().contains(&format!("Kafka does not answer at {dead}"));
    wait_until("the log to say that Kafka is not there", LIMIT, async || Ok(speaks())).await?;
    let began = std::time::Instant::now();
    assert!(worker.stop().await?.success());
    assert!(began.elapsed() < LIMIT, "stopping took {:?}", began.elapsed());
    Ok(())
}

#[tokio::test]
async fn a_worker_is_told_what_has_no_effect() -> Result<()> {
    let kafka = Kafka::shared().await?;
    let worker = Worker::builder(kafka).property("connect.protocol", "eager").property("grup.id", "x").start().await?;
    let log = worker.log_text();
    assert_eq!(log.matches("connect.protocol is known and without effect here").count(), 1, "{log}");
    assert_eq!(log.matches("grup.id is not a key of a worker").count(), 1, "{log}");
    Ok(())
}

#[tokio::test]
async fn the_environment_goes_before_the_file() -> Result<()> {
    let kafka = Kafka::shared().await?;
    let group = unique("from-environment");
    let worker = Worker::builder(kafka).environment("PENSTOCK_WORKER_GROUP_ID", &group).start().await?;
    let ready = format!("group {group})");
    wait_until("the ready line", LIMIT, async || Ok(worker.log_text().contains(&ready))).await
}

#[tokio::test]
async fn variables_are_resolved_and_never_shown() -> Result<()> {
    let kafka = Kafka::shared().await?;
    let topic = unique("variables");
    kafka.create_topic(&topic, 1).await?;
    let worker = Worker::builder(kafka)
        .property("config.providers", "env")
        .property("config.providers.env.class", "org.apache.kafka.common.config.provider.EnvVarConfigProvider")
        .environment("TEST_SECRET", "s3cret-value")
        .start()
        .await?;
    let connect = worker.connect();
    let mut config = penstock_tests::connect::config([("connector.class", "Blackhole"), ("my.password", "${env:TEST_SECRET}")]);
    config.insert("topics".into(), topic);
    connect.create("with-secret", &config).await?;
    connect.wait_running("with-secret", 1).await?;
    for path in ["", "/config", "/tasks", "/status"] {
        let text = connect.get(&format!("/connectors/with-secret{path}")).await?.ok()?.to_string();
        assert!(!text.contains("s3cret-value"), "{path} shows it: {text}");
    }
    config.insert("my.password".into(), "${env:NO_SUCH_VARIABLE}".into());
    let refused = connect.put("/connectors/with-secret/config", &json!(config)).await?;
    assert_eq!(refused.status, 400);
    assert!(refused.message().contains("${env:NO_SUCH_VARIABLE}") && refused.message().contains("my.password"), "{refused:?}");
    assert!(!worker.log_text().contains("s3cret-value"));
    Ok(())
}
