//! The REST API, request by request beside the real Java worker: same status, same body, same `Location`.

mod connectors;
mod foreign;
mod guarded;
mod held;
mod inside;
mod matrix;
mod names;
mod offsets;
mod plugins;
mod restarts;
mod side;
mod sources;
mod step;
mod tracking;
mod variety;
mod worker;

use anyhow::{Result, ensure};
use penstock_tests::{Connect, JavaConnect, Kafka, Worker, ground};
use tokio::sync::{Mutex, MutexGuard, OnceCell};

use side::{Side, compare};
use step::Step;

/// A Java worker and one of ours on one broker, for all tests of this file; each has them for itself while it runs.
struct Pair {
    java: JavaConnect,
    ours: Worker,
}

/// Their config topics.
const CONFIGS: [&str; 2] = ["rest-configs-java", "rest-configs-ours"];

/// Their offset topics.
const OFFSETS: [&str; 2] = ["rest-offsets-java", "rest-offsets-ours"];

impl Pair {
    async fn get() -> Result<MutexGuard<'static, Pair>> {
        static PAIR: OnceCell<Mutex<Pair>> = OnceCell::const_new();
        Ok(PAIR.get_or_try_init(Pair::start).await?.lock().await)
    }

    async fn start() -> Result<Mutex<Pair>> {
        let kafka = Kafka::shared().await?;
        for topic in ["rest-t1", "rest-t2"] {
            kafka.create_topic(topic, 2).await?;
        }
        let topics = ["config.storage.topic", "offset.storage.topic"];
        let plugins = tokio::task::spawn_blocking(|| ground::part("blackhole-java")).await??.join("plugins");
        let (mut java, mut ours) = (JavaConnect::builder(kafka).lean().plugin_path(plugins), Worker::builder(kafka));
        for (key, [of_java, of_ours]) in topics.into_iter().zip([CONFIGS, OFFSETS]) {
            (java, ours) = (java.property(key, of_java), ours.property(key, of_ours));
        }
        let (java, ours) = tokio::join!(java.start(), ours.start());
        Ok(Mutex::new(Pair { java: java?, ours: ours? }))
    }

    fn sides(&self) -> Result<(Side, Side)> {
        Ok((Side::java(self.java.connect().url())?, Side::ours(self.ours.connect().url())?))
    }

    fn ours(&self) -> &Connect {
        self.ours.connect()
    }
}

/// What differs; empty when nothing does.
async fn differences(java: &Side, ours: &Side, steps: &[Step]) -> Result<Vec<String>> {
    let mut differences = Vec::new();
    for step in steps {
        if let Some(difference) = compare(java, ours, step).await? {
            let body = step.body.as_deref().unwrap_or_default();
            let difference = format!("{} {} {body}\n    {difference}", step.method, step.path);
            eprintln!("{difference}");
            differences.push(difference);
        }
    }
    Ok(differences)
}

fn none(differences: &[String], asked: usize) -> Result<()> {
    eprintln!("{asked} requests compared");
    ensure!(differences.is_empty(), "{} of {asked} requests differ:\n{}", differences.len(), differences.join("\n"));
    Ok(())
}

/// Sends the requests to both, one after the other.
async fn same(steps: &[Step]) -> Result<()> {
    let pair = Pair::get().await?;
    let (java, ours) = pair.sides()?;
    none(&differences(&java, &ours, steps).await?, steps.len())
}

fn all<const N: usize>(steps: [Vec<Step>; N]) -> Vec<Step> {
    steps.concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_worker_and_http_itself() -> Result<()> {
    same(&all([worker::the_worker_itself(), worker::unusual_http(), worker::unreadable_bodies()])).await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_path_with_every_method_and_body() -> Result<()> {
    same(&all([matrix::methods(), matrix::bodies(), matrix::unsigned(), matrix::creations()])).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_life_of_connectors() -> Result<()> {
    same(&all([connectors::unknown_connectors(), connectors::a_connectors_life(), connectors::refused_configurations()])).await
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_are_odd() -> Result<()> {
    let pair = Pair::get().await?;
    let (java, ours) = pair.sides()?;
    let steps = all([connectors::odd_names(), names::that_are_odd()]);
    let mut found = differences(&java, &ours, &steps).await?;
    names::clear(Kafka::shared().await?, CONFIGS[0]).await?;
    found.extend(differences(&java, &ours, &[step::get("/connectors")]).await?);
    none(&found, steps.len() + 1)
}

#[tokio::test(flavor = "multi_thread")]
async fn plugins_and_validation() -> Result<()> {
    same(&all([plugins::plugins_and_validation(), plugins::definitions(), plugins::validation_of_every_plugin()])).await
}

#[tokio::test(flavor = "multi_thread")]
async fn validation_of_what_chance_makes() -> Result<()> {
    let pair = Pair::get().await?;
    let (java, ours) = pair.sides()?;
    let steps = variety::steps(&variety::Known::ask(&java).await?)?;
    none(&differences(&java, &ours, &steps).await?, steps.len())
}

#[tokio::test(flavor = "multi_thread")]
async fn restarts() -> Result<()> {
    restarts::poison(Kafka::shared().await?).await?;
    same(&restarts::truth_table()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_that_were_used() -> Result<()> {
    tracking::produce(Kafka::shared().await?).await?;
    same(&tracking::steps()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn offsets_of_sinks() -> Result<()> {
    let pair = Pair::get().await?;
    let (java, ours) = pair.sides()?;
    let steps = offsets::of_a_sink();
    let mut found = differences(&java, &ours, &steps).await?;
    found.extend(offsets::while_somebody_is_in_the_group(Kafka::shared().await?, &java, &ours).await?);
    none(&found, steps.len())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connector_of_a_class_that_is_not_there() -> Result<()> {
    let pair = Pair::get().await?;
    let (java, ours) = pair.sides()?;
    for topic in CONFIGS {
        foreign::appears(Kafka::shared().await?, topic).await?;
    }
    foreign::says_which_class(pair.ours()).await?;
    none(&differences(&java, &ours, &foreign::steps()).await?, foreign::steps().len())
}
