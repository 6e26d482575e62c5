//! What is answered while something in the worker does not get on.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use penstock_tests::{Connect, JavaConnect, Kafka, Worker, connect, eventually};
use reqwest::Method;

use super::inside::Inside;

const SOON: Duration = Duration::from_secs(120);

async fn create(inside: &Inside, name: &str) -> Result<()> {
    inside.connect.create(name, &connect::config([("connector.class", "Idle")])).await?;
    inside.connect.wait_running(name, 0).await
}

/// Asks in the background.
fn ask(connect: &Connect, method: Method, path: &str) -> tokio::task::JoinHandle<Result<connect::Answer>> {
    let (connect, path) = (connect.clone(), path.to_owned());
    tokio::spawn(async move { connect.send(method, &path, None).await })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_connector_that_is_deleted_while_it_is_listed_is_left_out() -> Result<()> {
    let inside = Inside::start(Kafka::shared().await?).await?;
    for name in ["first", "second", "third"] {
        create(&inside, name).await?;
    }
    for expansion in ["expand=status", "expand=info", "expand=info&expand=status"] {
        let mut held = inside.hold("first");
        let listing = ask(&inside.connect, Method::GET, &format!("/connectors?{expansion}"));
        held.reached().await?;
        inside.connect.delete("/connectors/second").await?.ok()?;
        held.go_on();
        let listed = listing.await??.ok()?;
        let names: Vec<_> = listed.as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect();
        ensure!(names == ["first", "third"], "{expansion}: {listed}");
        for (name, value) in [("first", &listed["first"]), ("third", &listed["third"])] {
            let has = |key: &str| expansion.contains(key) == (value[key]["name"] == name);
            ensure!(has("info") && has("status"), "{expansion}: {listed}");
        }
        create(&inside, "second").await?;
    }
    inside.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_worker_whose_loop_hangs_says_that_it_is_unhealthy() -> Result<()> {
    let inside = Inside::start(Kafka::shared().await?).await?;
    create(&inside, "hangs").await?;
    let mut held = inside.hold("hangs");
    let restart = ask(&inside.connect, Method::POST, "/connectors/hangs/restart");
    held.reached().await?;
    let health = inside.connect.get("/health").await?;
    ensure!(health.status == 500 && health.body["status"] == "unhealthy", "{health:?}");
    ensure!(health.message().starts_with(UNHEALTHY), "{health:?}");
    held.go_on();
    ensure!(restart.await??.status == 204);
    let health = inside.connect.get("/health").await?;
    ensure!(health.status == 200 && health.body["status"] == "healthy", "{health:?}");
    inside.stop().await
}

const UNHEALTHY: &str = "Worker was unable to handle this request and may be unable to handle other requests. The ";

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_without_its_group_says_that_it_is_unhealthy_as_java_does() -> Result<()> {
    let mut kafka = Kafka::start().await?;
    let ours = Worker::builder(&kafka).property("session.timeout.ms", 6000);
    let (java, ours) = tokio::join!(JavaConnect::builder(&kafka).lean().start(), ours.start());
    let (java, ours) = (java?, ours?);
    let workers = [java.connect(), ours.connect()];
    // What is answered, and what the worker does.
    let health = async |status: u16, begins: &str| {
        for connect in workers {
            let is_so = async || {
                let answer = connect.get("/health").await?;
                let body = answer.body.as_object().context("an object")?;
                ensure!(answer.status == status && body.keys().eq(["status", "message"]), "{answer:?}");
                ensure!(answer.message().starts_with(begins), "{answer:?}");
                Ok(Some(answer.body["status"].clone()))
            };
            let shown = eventually(&format!("{} to answer {status}", connect.url()), SOON, is_so).await?;
            ensure!(shown == if status == 200 { "healthy" } else { "unhealthy" }, "{shown}");
        }
        Ok(())
    };
    let well = "Worker has completed startup and is ready to handle requests.";
    let unwell = format!("{UNHEALTHY}worker is currently ensuring membership in the cluster, which began at ");
    health(200, well).await?;
    kafka.kill();
    health(500, &unwell).await?;
    kafka.restart().await?;
    health(200, well).await
}
