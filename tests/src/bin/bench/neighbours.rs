//! What components that go wrong cost others on the same worker.
//!
//! Ten connectors take a steady flow of records, half of them through a component of their own. Then, one after the other, connectors
//! are created beside them whose components loop, recurse, allocate, flood the log, trap, or give garbage. For each: how long from the
//! request that creates it to `FAILED`, and what the neighbour that suffered most delivered in the seconds from that request on, as a
//! share of what Kafka got for it in these seconds: a flow that falters is not the worker's doing. The same of a window as long before, when
//! nothing went wrong, is the control.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use penstock_tests::connect::{Config, Connect, config};
use penstock_tests::{Flow, Kafka, Worker, unique};
use serde::Serialize;

use crate::components::json;
use crate::report::save;
use crate::systems::COMMIT_INTERVAL_MS;

const NEIGHBOURS: usize = 10;
const PARTITIONS: i32 = 4;
/// To each partition a record in each of these.
const INTERVAL: Duration = Duration::from_millis(4);
const LINGER: Duration = Duration::from_millis(20);
/// What is compared is delivered in so long.
const WINDOW: Duration = Duration::from_secs(4);
/// The longest a call into a component may take on this worker.
const CALL_TIMEOUT_MS: u32 = 500;
const POISON: &str = r#"{"poison":"yes"}"#;

/// What goes wrong, and what that leads to.
struct Misdeed {
    what: &'static str,
    connector: &'static [(&'static str, &'static str)],
    fails: bool,
}

const fn failing(what: &'static str, connector: &'static [(&'static str, &'static str)]) -> Misdeed {
    Misdeed { what, connector, fails: true }
}

const MISDEEDS: &[Misdeed] = &[
    failing("a sink loops for ever", &[("connector.class", "penstock.tests.CountSink"), ("mode", "loop")]),
    failing("a sink allocates without bound", &[("connector.class", "penstock.tests.CountSink"), ("mode", "allocate")]),
    failing("a sink recurses", &[("connector.class", "penstock.tests.CountSink"), ("mode", "recurse")]),
    failing("a sink traps at start", &[("connector.class", "penstock.tests.CountSink"), ("mode", "trap-at-start")]),
    failing("a sink commits garbage", &[("connector.class", "penstock.tests.CountSink"), ("mode", "commit-garbage")]),
    failing("a transform loops for ever", &[("transforms.t.type", "penstock.tests.LoopOnPoison")]),
    failing("a transform sleeps", &[("transforms.t.type", "penstock.tests.SleepOnPoison")]),
    failing("a transform allocates without bound", &[("transforms.t.type", "penstock.tests.HogOnPoison")]),
    failing("a transform recurses", &[("transforms.t.type", "penstock.tests.Recurse")]),
    failing("a transform floods its changes", &[("transforms.t.type", "penstock.tests.FloodWithChanges")]),
    failing("a transform gives garbage lengths", &[("transforms.t.type", "penstock.tests.HeaderNotUtf8")]),
    Misdeed {
        what: "a transform floods the log",
        connector: &[("transforms.t.type", "penstock.tests.FloodTheLog"), ("errors.tolerance", "all")],
        fails: false,
    },
    Misdeed {
        what: "a transform traps on some records (tolerated)",
        connector: &[("transforms.t.type", "penstock.tests.TrapOnPoison"), ("errors.tolerance", "all")],
        fails: false,
    },
    failing("a source loops for ever", &[("connector.class", "penstock.tests.CountSource"), ("mode", "loop")]),
    failing("a source sleeps", &[("connector.class", "penstock.tests.CountSource"), ("mode", "sleep")]),
    failing("a source allocates without bound", &[("connector.class", "penstock.tests.CountSource"), ("mode", "allocate")]),
    failing("a source traps", &[("connector.class", "penstock.tests.CountSource"), ("mode", "trap")]),
    failing("a source gives too many records", &[("connector.class", "penstock.tests.CountSource"), ("mode", "too-many")]),
    failing("a source gives garbage", &[("connector.class", "penstock.tests.CountSource"), ("mode", "no-json")]),
    failing("a source gives garbage offsets", &[("connector.class", "penstock.tests.CountSource"), ("mode", "no-offset")]),
];

/// What one misdeed did.
#[derive(Debug, Serialize)]
struct Measured {
    what: &'static str,
    failed_after_s: Option<f64>,
    /// Of what Kafka got for them, in percent.
    worst_neighbour: f64,
    all_neighbours: f64,
    /// The same before.
    worst_before: f64,
    records_per_s: f64,
}

pub(crate) async fn measure(kafka: &Kafka, output: &Path) -> Result<()> {
    let worker = Worker::builder(kafka)
        .property("offset.flush.interval.ms", COMMIT_INTERVAL_MS)
        .property("penstock.plugin.call.timeout.ms", CALL_TIMEOUT_MS)
        .with_test_components()?
        .start()
        .await?;
    let connect = worker.connect();
    let topics: Vec<String> = (0..NEIGHBOURS).map(|n| format!("neighbour-{n}")).collect();
    for (n, topic) in topics.iter().enumerate() {
        kafka.create_topic(topic, PARTITIONS).await?;
        connect.create(topic, &neighbour(n, topic)).await?;
        connect.wait_running(topic, 1).await?;
    }
    let poison = unique("poison");
    kafka.create_topic(&poison, 1).await?;
    let values: Vec<&str> = (0..10_000).map(|n| if n % 1000 == 999 { POISON } else { r#"{"country":"DE"}"# }).collect();
    kafka.produce_values(&poison, &values).await?;

    let flow = Flow::begin_lingering(kafka, &topics, PARTITIONS, INTERVAL, LINGER)?;
    let mut found = Vec::new();
    for misdeed in MISDEEDS {
        let measured = try_one(kafka, connect, &flow, misdeed, &poison).await.with_context(|| misdeed.what)?;
        eprintln!("bench:   {measured:?}");
        found.push(measured);
    }
    flow.end().await?;
    save(output, serde_json::to_string_pretty(&found)?)?;
    print(&found);
    Ok(())
}

fn neighbour(n: usize, topic: &str) -> Config {
    let mut neighbour = json(config([("connector.class", "penstock.Blackhole"), ("topics", topic), ("tasks.max", "1")]));
    if n.is_multiple_of(2) {
        neighbour.insert("transforms".into(), "same".into());
        neighbour.insert("transforms.same.type".into(), "penstock.tests.Identity".into());
    }
    neighbour
}

async fn try_one(kafka: &Kafka, connect: &Connect, flow: &Flow, misdeed: &Misdeed, poison: &str) -> Result<Measured> {
    let mut wrong = json(config([("connector.class", "penstock.Blackhole"), ("tasks.max", "1")]));
    wrong.extend(misdeed.connector.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
    if wrong["connector.class"].ends_with("Source") {
        let topic = unique("wrong");
        kafka.create_topic(&topic, 1).await?;
        wrong.extend([("topic".to_owned(), topic), ("records".to_owned(), "500".to_owned())]);
    } else {
        wrong.insert("topics".into(), poison.into());
    }
    if wrong.contains_key("transforms.t.type") {
        wrong.insert("transforms".into(), "t".into());
    }
    let before = window(connect, flow, Instant::now()).await?;
    let (name, began) = (unique("wrong"), Instant::now());
    connect.create(&name, &wrong).await?;
    let failed = async {
        if !misdeed.fails {
            return Ok(None);
        }
        let trace = connect.wait_task_failed(&name).await?;
        let after = began.elapsed();
        eprintln!("bench: {}: {}", misdeed.what, trace.lines().next().unwrap_or_default());
        anyhow::Ok(Some(after.as_secs_f64()))
    };
    let (beside, failed_after_s) = tokio::try_join!(window(connect, flow, began), failed)?;
    connect.delete(&format!("/connectors/{name}")).await?.ok()?;
    Ok(Measured {
        what: misdeed.what,
        failed_after_s,
        worst_neighbour: beside.worst(),
        all_neighbours: beside.all(),
        worst_before: before.worst(),
        records_per_s: before.records_per_s,
    })
}

/// What neighbours delivered in a window, and Kafka got for them.
struct Window {
    delivered_and_got: Vec<(f64, f64)>,
    records_per_s: f64,
}

impl Window {
    fn worst(&self) -> f64 {
        self.delivered_and_got.iter().map(|(delivered, got)| delivered / got * 100.0).fold(f64::INFINITY, f64::min)
    }

    fn all(&self) -> f64 {
        let (delivered, got) =
            self.delivered_and_got.iter().fold((0.0, 0.0), |(d, g), (delivered, got)| (d + delivered, g + got));
        delivered / got * 100.0
    }
}

/// A window that began just now.
async fn window(connect: &Connect, flow: &Flow, began: Instant) -> Result<Window> {
    let (from, got_from, at) = (delivered(connect).await?, got(flow), Instant::now());
    tokio::time::sleep((began + WINDOW).saturating_duration_since(Instant::now())).await;
    let (to, got_to, seconds) = (delivered(connect).await?, got(flow), at.elapsed().as_secs_f64());
    ensure!(from.len() == NEIGHBOURS && to.len() == NEIGHBOURS, "the worker has no metrics of some neighbours: {to:?}");
    let pairs = to.iter().map(|(name, count)| Some((count - from[name], got_to.get(name)? - got_from.get(name).unwrap_or(&0.0))));
    let delivered_and_got: Vec<(f64, f64)> = pairs.collect::<Option<_>>().context("Kafka got nothing for a neighbour")?;
    ensure!(delivered_and_got.iter().all(|(_, got)| *got > 0.0), "Kafka got nothing for a neighbour: {delivered_and_got:?}");
    let records_per_s = delivered_and_got.iter().map(|(delivered, _)| delivered).sum::<f64>() / seconds;
    Ok(Window { delivered_and_got, records_per_s })
}

/// What Kafka has got for each neighbour.
fn got(flow: &Flow) -> BTreeMap<String, f64> {
    let mut got = BTreeMap::new();
    for ((topic, _), end) in flow.acknowledged() {
        *got.entry(topic.to_string()).or_default() += end as f64;
    }
    got
}

/// What each neighbour has been handed, by the worker's metrics.
async fn delivered(connect: &Connect) -> Result<BTreeMap<String, f64>> {
    let page = connect.get("/metrics").await?.body;
    let lines = page.as_str().context("the metrics are a text")?.lines().filter_map(|line| line.rsplit_once(' '));
    let of_neighbour = |(labels, value): (&str, &str)| {
        let (metric, labels) = labels.split_once('{')?;
        let (_, name) = labels.split_once("connector=\"neighbour-")?;
        let (number, _) = name.split_once('"')?;
        let is_wanted = metric.trim_end_matches("_total").ends_with("sink_record_send");
        is_wanted.then(|| Some((format!("neighbour-{number}"), value.parse().ok()?)))?
    };
    Ok(lines.filter_map(of_neighbour).collect())
}

fn print(found: &[Measured]) {
    let load = found.iter().map(|one| one.records_per_s).sum::<f64>() / found.len() as f64;
    println!("\nTen neighbours that take {load:.0} records/s; calls may take {CALL_TIMEOUT_MS} ms.\n");
    println!(
        "| what goes wrong | FAILED after, s (wanted: < 1) | worst neighbour, % (wanted: >= 95) | all neighbours, % | worst before, % |"
    );
    println!("| --- | ---: | ---: | ---: | ---: |");
    for one in found {
        let failed = one.failed_after_s.map_or("-".to_owned(), |seconds| format!("{seconds:.2}"));
        println!(
            "| {} | {failed} | {:.1} | {:.1} | {:.1} |",
            one.what, one.worst_neighbour, one.all_neighbours, one.worst_before
        );
    }
}
