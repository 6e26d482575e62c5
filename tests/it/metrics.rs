//! `/metrics` of a real worker; its names beside Java's, and the dashboard beside the table.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context, Result};
use penstock::metrics::Metric;
use penstock::metrics::table::Kind;
use penstock_tests::connect::config;
use penstock_tests::kafka::NewRecord;
use penstock_tests::{Connect, Kafka, Worker, ground, java, unique, wait_until};
use serde_json::Value as Json;

const LIMIT: Duration = Duration::from_secs(30);

/// A page, parsed.
struct Page {
    text: String,
    samples: Vec<Sample>,
}

#[derive(Debug)]
struct Sample {
    metric: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

impl Sample {
    /// A line of Prometheus' text format: `name{label="value",...} number`.
    fn parse(line: &str) -> Option<Self> {
        let (head, value) = line.rsplit_once(' ')?;
        let (metric, mut rest) = head.split_at(head.find('{').unwrap_or(head.len()));
        let mut labels = BTreeMap::new();
        while !rest.is_empty() && rest != "}" {
            let (name, after) = rest[1..].split_once("=\"")?;
            let mut value = String::new();
            let mut letters = after.char_indices();
            let end = loop {
                match letters.next()? {
                    (at, '"') => break at,
                    (_, '\\') => match letters.next()?.1 {
                        'n' => value.push('\n'),
                        escaped @ ('"' | '\\') => value.push(escaped),
                        _ => return None,
                    },
                    (_, '\n') => return None,
                    (_, letter) => value.push(letter),
                }
            };
            let is_name = !name.is_empty() && name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_');
            if !is_name || labels.insert(name.to_owned(), value).is_some() {
                return None;
            }
            rest = &after[end + 1..];
        }
        let value = match value {
            "NaN" => f64::NAN,
            "+Inf" => f64::INFINITY,
            "-Inf" => f64::NEG_INFINITY,
            number => number.parse().ok()?,
        };
        Some(Self { metric: metric.to_owned(), labels, value })
    }

    fn is_of(&self, connector: &str) -> bool {
        self.labels.get("connector").is_some_and(|of| of == connector)
    }
}

impl Page {
    async fn of(connect: &Connect) -> Result<Self> {
        let answer = connect.get("/metrics").await?;
        assert_eq!(answer.status, 200);
        let text = answer.body.as_str().context("a text")?.to_owned();
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let samples = lines.map(|line| Sample::parse(line).with_context(|| format!("not a sample: {line}")));
        Ok(Self { samples: samples.collect::<Result<_>>()?, text })
    }

    fn samples(&self, metric: Metric) -> impl Iterator<Item = &Sample> {
        let name = metric.name();
        self.samples.iter().filter(move |sample| sample.metric == name)
    }

    /// The metric of a connector, of all its tasks together.
    fn sum(&self, metric: Metric, connector: &str) -> f64 {
        self.samples(metric).filter(|sample| sample.is_of(connector)).map(|sample| sample.value).sum()
    }

    /// What a text metric says of a connector.
    fn text_of(&self, metric: Metric, connector: &str) -> BTreeSet<String> {
        let label = metric.row().attribute.replace('-', "_");
        let of_connector = self.samples(metric).filter(|sample| sample.is_of(connector));
        of_connector.filter_map(|sample| sample.labels.get(&label).cloned()).collect()
    }
}

#[tokio::test]
async fn every_metric_of_the_table_is_served_and_says_what_happened() -> Result<()> {
    let kafka = Kafka::shared().await?;
    let (topic, name) = (unique("metrics"), unique("measured"));
    kafka.create_topic(&topic, 2).await?;
    let worker = Worker::builder(kafka).property("offset.flush.interval.ms", 500).start().await?;
    let connect = worker.connect();
    let mut configuration = config([
        ("connector.class", "Blackhole"),
        ("tasks.max", "2"),
        ("blackhole.report.every.records", "10"),
        ("errors.tolerance", "all"),
        ("errors.log.enable", "true"),
        ("transforms", "mask"),
        ("transforms.mask.type", "org.apache.kafka.connect.transforms.MaskField$Value"),
        ("transforms.mask.fields", "email"),
        ("transforms.mask.predicate", "all"),
        ("predicates", "all"),
        ("predicates.all.type", "org.apache.kafka.connect.transforms.predicates.TopicNameMatches"),
        ("predicates.all.pattern", ".*"),
    ]);
    configuration.insert("topics".into(), topic.clone());
    connect.create(&name, &configuration).await?;
    connect.wait_running(&name, 2).await?;
    // Before it has a partition each, one task may read for both, and count another tenth.
    wait_until("each task to have a partition", LIMIT, async || {
        let page = Page::of(connect).await?;
        Ok(page.samples(Metric::PartitionCount).filter(|sample| sample.is_of(&name) && sample.value == 1.0).count() == 2)
    })
    .await?;
    let (file, source) = (tempfile::NamedTempFile::new()?, unique("measured-source"));
    std::fs::write(file.path(), "a\nb\nc\n")?;
    let mut of_source = config([("connector.class", "FileStreamSource")]);
    let lines = unique("measured-lines");
    kafka.create_topic(&lines, 1).await?;
    of_source.insert("topic".into(), lines);
    of_source.insert("file".into(), file.path().display().to_string());
    connect.create(&source, &of_source).await?;
    wait_until("the source's records to be counted", LIMIT, async || {
        Ok(Page::of(connect).await?.sum(Metric::WriteTotal, &source) == 3.0)
    })
    .await?;
    let (copied, mirror) = (unique("measured-copies"), unique("measured-mirror"));
    kafka.create_topic(&copied, 2).await?;
    kafka.produce_values(&copied, ["12345"; 20]).await?;
    connect.create(&mirror, &mirror_config(kafka, &copied)).await?;
    wait_until("the copies to be counted", LIMIT, async || {
        let page = Page::of(connect).await?;
        let lags = page.samples(Metric::RecordsLag).filter(|sample| sample.labels["topic"] == copied).map(|sample| sample.value);
        Ok(page.sum(Metric::MirrorRecordCount, &mirror) == 20.0 && lags.collect::<Vec<_>>() == [0.0, 0.0])
    })
    .await?;
    let values = (0..100).map(|n| format!(r#"{{"n":{n},"email":"a@b.c"}}"#)).chain(["{".to_owned()]);
    // Half of them to each task: each reports every tenth of its own.
    let record =
        |(n, value): (i32, String)| NewRecord { value: Some(value.into_bytes()), partition: Some(n % 2), ..NewRecord::default() };
    kafka.produce(&topic, (0..).zip(values).map(record)).await?;
    java::wait_drained(kafka, &name, &topic, LIMIT).await?;
    wait_until("the records to be counted", LIMIT, async || {
        let page = Page::of(connect).await?;
        let counted = page.sum(Metric::PartitionCount, &name) == 2.0 && page.sum(Metric::ActiveCount, &name) == 0.0;
        Ok(counted && page.sum(Metric::CommitTotal, &name) >= 1.0)
    })
    .await?;

    let page = Page::of(connect).await?;
    for (metric, expected) in [
        (Metric::ReadTotal, 101.0),
        (Metric::SendTotal, 100.0),
        (Metric::RecordErrors, 11.0),
        (Metric::RecordsSkipped, 11.0),
        (Metric::ErrorsLogged, 11.0),
        (Metric::DeadLetters, 0.0),
        (Metric::ConnectorTotalTasks, 2.0),
        (Metric::ConnectorRunningTasks, 2.0),
        (Metric::ConnectorFailedTasks, 0.0),
        (Metric::LagMax, 0.0),
    ] {
        assert_eq!(page.sum(metric, &name), expected, "{metric:?}\n{}", page.text);
    }
    for (metric, expected) in [(Metric::PollTotal, 3.0), (Metric::SourceActiveCount, 0.0), (Metric::BatchSizeMax, 3.0)] {
        assert_eq!(page.sum(metric, &source), expected, "{metric:?}\n{}", page.text);
    }
    assert_eq!(page.text_of(Metric::TaskConnectorType, &source), ["source".to_owned()].into());
    assert_eq!((page.sum(Metric::ReadTotal, &source), page.sum(Metric::PollTotal, &name)), (0.0, 0.0));
    for (metric, expected) in [
        (Metric::ConnectorStatus, "running"),
        (Metric::TaskStatus, "running"),
        (Metric::ConnectorClass, "penstock.BlackholeSinkConnector"),
        (Metric::ConnectorType, "sink"),
        (Metric::ValueConverterClass, "org.apache.kafka.connect.json.JsonConverter"),
        (Metric::TransformClass, "org.apache.kafka.connect.transforms.MaskField$Value"),
        (Metric::PredicateClass, "org.apache.kafka.connect.transforms.predicates.TopicNameMatches"),
    ] {
        assert_eq!(page.text_of(metric, &name), [expected.to_owned()].into(), "{metric:?}\n{}", page.text);
    }
    let epochs: Vec<_> = page.samples(Metric::Epoch).map(|sample| sample.value).collect();
    assert!(matches!(epochs[..], [epoch] if epoch >= 0.0), "{epochs:?}");
    let leader = page.samples(Metric::LeaderName).next().and_then(|sample| sample.labels.get("leader_name"));
    assert!(leader.is_some_and(|leader| leader.contains(':')), "{leader:?}");
    assert!(page.sum(Metric::ReadRate, &name) > 0.0 && page.sum(Metric::PutMaxTime, &name) >= 0.0);
    assert_eq!(page.sum(Metric::MirrorByteCount, &mirror), 100.0);
    for sample in page.samples(Metric::MirrorRecordAgeMax).chain(page.samples(Metric::MirrorLatencyMax)) {
        assert!(sample.value >= 0.0 && sample.value < 60_000.0, "{sample:?}");
        let label = |name: &str| sample.labels[name].clone();
        assert_eq!([label("source"), label("target"), label("topic")], ["west".into(), "east".into(), format!("west.{copied}")]);
    }
    for (metric, expected) in [(Metric::TaskStartupSuccess, 4.0), (Metric::ConnectorStartupAttempts, 3.0)] {
        assert_eq!(page.samples(metric).map(|sample| sample.value).collect::<Vec<_>>(), [expected], "{metric:?}");
    }
    for stage in ["fetch", "convert", "transform", "put", "commit"] {
        assert!(stage_count(&page, &name, stage) > 0.0, "nothing was measured of {stage}:\n{}", page.text);
    }
    all_of_the_table_and_nothing_else(&page);

    connect.put(&format!("/connectors/{name}/pause"), &Json::Null).await?.ok()?;
    wait_until("the metrics to say paused", LIMIT, async || {
        let page = Page::of(connect).await?;
        let paused = page.sum(Metric::ConnectorPausedTasks, &name) == 2.0 && page.sum(Metric::PauseRatio, &name) > 0.0;
        Ok(paused && page.text_of(Metric::ConnectorStatus, &name) == ["paused".to_owned()].into())
    })
    .await?;
    connect.delete(&format!("/connectors/{name}")).await?.ok()?;
    wait_until("the metrics to end with the connector", LIMIT, async || Ok(!Page::of(connect).await?.text.contains(&name))).await
}

fn mirror_config(kafka: &Kafka, topic: &str) -> penstock_tests::connect::Config {
    let bytes = "org.apache.kafka.connect.converters.ByteArrayConverter";
    config([
        ("connector.class", "KafkaSource"),
        ("topics", topic),
        ("source.cluster.alias", "west"),
        ("target.cluster.alias", "east"),
        ("source.cluster.bootstrap.servers", kafka.bootstrap()),
        ("target.cluster.bootstrap.servers", kafka.bootstrap()),
        ("replication.factor", "1"),
        ("emit.offset-syncs.enabled", "false"),
        ("heartbeats.replication.enabled", "false"),
        ("key.converter", bytes),
        ("value.converter", bytes),
        ("header.converter", bytes),
    ])
}

fn stage_count(page: &Page, connector: &str, stage: &str) -> f64 {
    let counts = page.samples.iter().filter(|sample| sample.metric == format!("{}_count", Metric::StageDuration.name()));
    counts.filter(|sample| sample.is_of(connector) && sample.labels["stage"] == stage).map(|sample| sample.value).sum()
}

fn all_of_the_table_and_nothing_else(page: &Page) {
    let described = |prefix: &str| -> BTreeMap<String, String> {
        let lines = page.text.lines().filter_map(|line| line.strip_prefix(prefix)?.split_once(' '));
        lines.map(|(name, rest)| (name.to_owned(), rest.to_owned())).collect()
    };
    let kind = |kind: Kind| match kind {
        Kind::Counter => "counter",
        Kind::Gauge | Kind::Text => "gauge",
        Kind::Histogram => "histogram",
    };
    let table = |of: &dyn Fn(Metric) -> String| -> BTreeMap<String, String> {
        Metric::ALL.iter().map(|metric| (metric.name(), of(*metric))).collect()
    };
    assert_eq!(described("# TYPE "), table(&|metric| kind(metric.row().kind).to_owned()));
    assert_eq!(described("# HELP "), table(&|metric| metric.row().doc.to_owned()));
    for sample in &page.samples {
        let name =
            ["_bucket", "_sum", "_count"].iter().find_map(|suffix| sample.metric.strip_suffix(suffix)).unwrap_or(&sample.metric);
        let known = Metric::ALL.iter().any(|metric| [name, sample.metric.as_str()].contains(&metric.name().as_str()));
        assert!(known, "{sample:?} is not in the table");
    }
}

#[tokio::test]
async fn metrics_are_served_where_rest_is_and_to_whoever_asks() -> Result<()> {
    let kafka = Kafka::shared().await?;
    let admin = format!("http://127.0.0.1:{}", ground::free_port()?);
    let worker = Worker::builder(kafka).property("admin.listeners", &admin).start().await?;
    let http = reqwest::Client::builder().no_proxy().build()?;
    for url in [worker.connect().url(), &admin] {
        let request = http.get(format!("{url}/metrics")).header("Accept", "application/openmetrics-text;version=1.0.0");
        let response = request.send().await?;
        assert_eq!(response.status(), 200, "{url}");
        assert_eq!(response.headers()["content-type"], "text/plain; version=0.0.4; charset=utf-8");
        assert!(response.text().await?.contains(&Metric::ConnectorCount.name()));
    }
    Ok(())
}

#[test]
fn the_table_has_every_metric_that_java_has() {
    let described = java::oracle();
    let javas = described.iter().filter(|line| line[0] == "metric");
    let javas: BTreeSet<_> = javas
        .map(|line| (line[1].as_str(), line[2].as_str(), line[3].split(',').filter(|tag| !tag.is_empty()).collect()))
        .collect();
    let ours: BTreeSet<(&str, &str, BTreeSet<&str>)> = Metric::ALL
        .iter()
        .map(|metric| metric.row())
        .filter(|row| row.group.domain == "kafka.connect")
        .map(|row| (row.group.bean, row.attribute, row.group.labels.iter().copied().collect()))
        .collect();
    assert!(javas.len() > 80, "the oracle lists Java's metrics: {javas:?}");
    let missing: Vec<_> = javas.iter().filter(|metric| !ours.contains(metric)).collect();
    let invented: Vec<_> = ours.iter().filter(|metric| !javas.contains(metric)).collect();
    assert!(missing.is_empty() && invented.is_empty(), "missing: {missing:#?}\nnot Java's: {invented:#?}");
}

#[test]
fn the_dashboard_asks_only_for_what_is_there() {
    let text = std::fs::read_to_string(ground::tree().join("runtime/dashboards/worker.json")).expect("the dashboard is there");
    let dashboard: Json = serde_json::from_str(&text).expect("the dashboard is JSON");
    let mut asked = Vec::new();
    collect(&dashboard, &["expr", "definition"], &mut asked);
    assert!(asked.len() > 20, "the dashboard asks for something: {asked:?}");
    let known: BTreeMap<String, Metric> = Metric::ALL
        .iter()
        .flat_map(|metric| match metric.row().kind {
            Kind::Histogram => ["_bucket", "_sum", "_count"].map(|suffix| (metric.name() + suffix, *metric)).to_vec(),
            _ => vec![(metric.name(), *metric)],
        })
        .collect();
    for query in asked {
        for name in metric_names(&query) {
            let metric = known.get(name).unwrap_or_else(|| panic!("{name} is not served: {query}"));
            let labels: BTreeSet<String> = metric.row().group.labels.iter().map(|label| label.replace('-', "_")).collect();
            assert!(!query.contains("connector=~") || labels.contains("connector"), "{name} has no label connector: {query}");
        }
    }
}

fn metric_names(query: &str) -> impl Iterator<Item = &str> {
    let words = query.split(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '_'));
    words.filter(|word| word.starts_with("kafka_") || word.starts_with("penstock_"))
}

fn collect(json: &Json, keys: &[&str], found: &mut Vec<String>) {
    match json {
        Json::Object(members) => {
            for (key, value) in members {
                match value {
                    Json::String(text) if keys.contains(&key.as_str()) => found.push(text.clone()),
                    other => collect(other, keys, found),
                }
            }
        }
        Json::Array(items) => items.iter().for_each(|item| collect(item, keys, found)),
        _ => {}
    }
}

/// What a task, its Kafka clients and its connector log says whose it is, in both formats.
#[tokio::test]
async fn every_line_of_a_task_names_its_connector_and_task() -> Result<()> {
    let kafka = Kafka::shared().await?;
    for format in ["json", "text"] {
        let (topic, name) = (unique("logged"), unique("talkative"));
        kafka.create_topic(&topic, 1).await?;
        let worker = Worker::builder(kafka)
            .property("penstock.log.format", format)
            .environment("RUST_LOG", "debug,hyper=warn,h2=warn")
            .start()
            .await?;
        let connect = worker.connect();
        let mut configuration = config([
            ("connector.class", "Blackhole"),
            ("errors.tolerance", "all"),
            ("errors.log.enable", "true"),
            ("blackhole.fail.at.record", "2"),
        ]);
        configuration.insert("topics".into(), topic.clone());
        connect.create(&name, &configuration).await?;
        connect.wait_running(&name, 1).await?;
        kafka.produce_values(&topic, ["{", "{}", "{}"]).await?;
        connect.wait_task_failed(&name).await?;
        let log = worker.log_text();
        let lines: Vec<&str> = log.lines().filter(|line| is_of_a_task(line)).collect();
        for spoken in ["Error encountered in task", "task failed and will not go on", "subscribed"] {
            assert!(lines.iter().any(|line| line.contains(spoken)), "nobody says {spoken:?}:\n{log}");
        }
        for line in lines {
            if format == "json" {
                let line: Json = serde_json::from_str(line).with_context(|| line.to_owned())?;
                assert_eq!((&line["connector"], &line["task"]), (&name.as_str().into(), &0.into()), "{line}");
            } else {
                assert!(line.contains(&format!("connector={name}")) && line.contains("task=0"), "{line}");
            }
        }
    }
    Ok(())
}

/// Lines from the rooms where tasks live, and from the Kafka clients made for them.
fn is_of_a_task(line: &str) -> bool {
    let rooms = ["penstock::task", "penstock_kafka_clients::subscription", "penstock_kafka_clients::consumer"];
    rooms.iter().any(|room| line.contains(room)) || line.contains("librdkafka") && line.contains("task talkative")
}
