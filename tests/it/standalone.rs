//! `penstock standalone` beside Java's `connect-standalone`: files, REST, exit codes, and what is left when it has ended.

use std::time::Duration;

use anyhow::{Context, Result};
use penstock_tests::{Connect, JavaConnect, Kafka, Worker, ground, java, unique, wait_until};
use reqwest::Method;
use serde_json::{Value, json};

const LIMIT: Duration = Duration::from_secs(30);
const JAVA_SINK: &str = "penstock.bench.BlackholeSink";
const OUR_SINK: &str = "penstock.BlackholeSinkConnector";

/// The three ways to write a connector down.
fn files(sink: &str, topic: &str) -> Vec<(&'static str, String)> {
    let config = json!({"connector.class": sink, "topics": topic, "tasks.max": 2});
    let mut bare = config.clone();
    bare["name"] = "bare".into();
    vec![
        ("props.properties", format!("# a sink\nname=props\nconnector.class={sink}\ntopics={topic}\n")),
        ("bare.json", bare.to_string()),
        ("whole.json", json!({"name": "whole", "config": config, "initial_state": "PAUSED", "unknown": 1}).to_string()),
    ]
}

/// One request, and whether Java's text is its own.
struct Step(Method, &'static str, Option<Value>, Like);

#[derive(Clone, Copy, PartialEq)]
enum Like {
    Equal,
    Status,
    /// On purpose not alike, as `runtime/DIFFERENCES.md` says: Java's status and ours.
    Differs(u16, u16),
}

fn steps(topic: &str) -> Vec<Step> {
    use Like::{Differs, Equal, Status};
    let get = |path| Step(Method::GET, path, None, Equal);
    let put = |path, like| Step(Method::PUT, path, None, like);
    let post = |path, body, like| Step(Method::POST, path, body, like);
    let offsets = |offset: i64| json!({"offsets": [{"partition": {"kafka_topic": topic, "kafka_partition": 0}, "offset": {"kafka_offset": offset}}]});
    let config = |tasks: &str| json!({"connector.class": "SINK", "topics": topic, "tasks.max": tasks});
    vec![
        get("/health"),
        get("/connectors"),
        get("/connectors/props"),
        get("/connectors/bare/status"),
        get("/connectors/whole"),
        get("/connectors/whole/status"),
        // Unlike in a cluster, an answer comes when the connector has started, with its tasks.
        post("/connectors", Some(json!({"name": "new", "config": config("2")})), Equal),
        post("/connectors", Some(json!({"name": "new", "config": config("2")})), Equal),
        post("/connectors", Some(json!({"name": "idle", "config": config("1"), "initial_state": "STOPPED"})), Equal),
        post("/connectors", Some(json!({"name": "bad", "config": config("many")})), Equal),
        post("/connectors", Some(json!({"name": "none", "config": {"connector.class": "no.Such"}})), Status),
        get("/connectors/idle/status"),
        get("/connectors/new/tasks"),
        Step(Method::PUT, "/connectors/new/config", Some(config("1")), Equal),
        Step(Method::PUT, "/connectors/new/config", Some(config("1")), Equal),
        Step(Method::PUT, "/connectors/fresh/config", Some(config("1")), Equal),
        Step(Method::PATCH, "/connectors/new/config", Some(json!({"tasks.max": "3"})), Equal),
        get("/connectors/new/status"),
        put("/connectors/new/pause", Equal),
        get("/connectors/new/status"),
        put("/connectors/new/resume", Equal),
        get("/connectors/new/status"),
        post("/connectors/new/tasks/0/restart", None, Equal),
        post("/connectors/new/restart", None, Equal),
        post("/connectors/new/restart?includeTasks=true", None, Status),
        get("/connectors/new/status"),
        Step(Method::PATCH, "/connectors/new/offsets", Some(offsets(0)), Equal),
        put("/connectors/new/stop", Equal),
        get("/connectors/new/status"),
        get("/connectors/new/tasks"),
        Step(Method::PATCH, "/connectors/new/offsets", Some(offsets(1)), Equal),
        get("/connectors/new/offsets"),
        Step(Method::DELETE, "/connectors/new/offsets", None, Equal),
        get("/connectors/new/offsets"),
        Step(Method::DELETE, "/connectors/new", None, Equal),
        get("/connectors/new/status"),
        Step(Method::DELETE, "/connectors/new", None, Equal),
        get("/connectors/zz"),
        put("/connectors/zz/pause", Equal),
        // Java's answers to these come from exceptions that nobody foresaw.
        put("/connectors/zz/stop", Differs(500, 404)),
        post("/connectors/zz/restart", None, Differs(500, 404)),
        post("/connectors/zz/tasks/0/restart", None, Differs(500, 404)),
        post("/connectors/props/tasks", Some(json!([])), Equal),
        put("/connectors/props/fence", Equal),
        Step(Method::PUT, "/admin/loggers/x.y?scope=cluster", Some(json!({"level": "DEBUG"})), Equal),
        get("/connectors"),
    ]
}

#[tokio::test]
async fn a_standalone_worker_answers_as_javas_does() -> Result<()> {
    let kafka = Kafka::shared().await?;
    let topic = unique("standalone");
    kafka.create_topic(&topic, 2).await?;
    kafka.produce_values(&topic, ["{}", "{}"]).await?;
    let plugins = tokio::task::spawn_blocking(|| ground::part("blackhole-java")).await??.join("plugins");
    // One after the other: the names, and so the consumer groups, are the same.
    let java = JavaConnect::builder(kafka).lean().plugin_path(plugins).standalone(&files(JAVA_SINK, &topic));
    let mut java = java.start().await?;
    let javas = answers(java.connect(), JAVA_SINK, &topic, None).await.context("Java")?;
    java.stop().await?;
    let ours = Worker::builder(kafka).standalone(&files(OUR_SINK, &topic)).start().await?;
    let ours = answers(ours.connect(), OUR_SINK, &topic, Some(&javas)).await.context("ours")?;
    let mut problems = Vec::new();
    for ((step, java), ours) in steps(&topic).iter().zip(&javas).zip(&ours) {
        let is_alike = match step.3 {
            Like::Equal => java == ours,
            Like::Status => java.0 == ours.0,
            Like::Differs(of_java, of_ours) => (java.0, ours.0) == (of_java, of_ours),
        };
        if !is_alike {
            problems.push(format!("{} {}\n  Java {java:?}\n  ours {ours:?}", step.0, step.1));
        }
    }
    assert!(problems.is_empty(), "{} answers differ:\n{}", problems.len(), problems.join("\n"));
    Ok(())
}

type Answers = Vec<(u16, Value)>;

/// Status and body of each answer; a GET is asked again until its answer stays the same for a while, and is what it should be, if that is
/// known: the workers are not equally quick.
async fn answers(connect: &Connect, sink: &str, topic: &str, expected: Option<&Answers>) -> Result<Answers> {
    let mut answers = Vec::new();
    for name in ["props", "bare"] {
        java::wait_drained(Kafka::shared().await?, name, topic, LIMIT).await.ok();
    }
    for (at, Step(method, path, body, like)) in steps(topic).into_iter().enumerate() {
        let body = body.map(|body| with_class(&body, "SINK", sink));
        let mut answer = ask(connect, &method, path, body.as_ref(), sink).await?;
        if method == Method::GET {
            let expected = expected.filter(|_| matches!(like, Like::Equal)).map(|expected| &expected[at]);
            let began = std::time::Instant::now();
            let mut since = began;
            while since.elapsed() < SETTLED_AFTER || (expected.is_some_and(|e| *e != answer) && began.elapsed() < LIMIT) {
                tokio::time::sleep(Duration::from_millis(50)).await;
                let again = ask(connect, &method, path, None, sink).await?;
                if again != answer {
                    (answer, since) = (again, std::time::Instant::now());
                }
            }
        }
        answers.push(answer);
    }
    Ok(answers)
}

const SETTLED_AFTER: Duration = Duration::from_millis(700);

async fn ask(connect: &Connect, method: &Method, path: &str, body: Option<&Value>, sink: &str) -> Result<(u16, Value)> {
    let answer = connect.send(method.clone(), path, body).await?;
    Ok((answer.status, sorted(with_class(&answer.body, sink, "SINK"))))
}

/// The same with another class; what differs by nature is taken out.
fn with_class(value: &Value, class: &str, other: &str) -> Value {
    match value {
        Value::String(text) => Value::String(text.replace(class, other)),
        Value::Array(values) => values.iter().map(|value| with_class(value, class, other)).collect(),
        Value::Object(fields) => {
            let kept = fields.iter().filter(|(key, _)| !["worker_id", "version", "task.class"].contains(&key.as_str()));
            Value::Object(kept.map(|(key, value)| (key.clone(), with_class(value, class, other))).collect())
        }
        other => other.clone(),
    }
}

/// Names of connectors and offsets come in Java's hash order.
fn sorted(mut value: Value) -> Value {
    if let Some(offsets) = value.get_mut("offsets").and_then(Value::as_array_mut) {
        offsets.sort_by_key(ToString::to_string);
    }
    match value {
        Value::Array(mut values) if values.iter().all(Value::is_string) => {
            values.sort_by_key(ToString::to_string);
            Value::Array(values)
        }
        value => value,
    }
}

#[tokio::test]
async fn configurations_end_with_the_process_and_offsets_do_not() -> Result<()> {
    let kafka = Kafka::shared().await?;
    let (topic, name) = (unique("alone"), unique("sink"));
    kafka.create_topic(&topic, 1).await?;
    kafka.produce_values(&topic, ["{}", "{}"]).await?;
    let file = |name: &str| format!("name={name}\nconnector.class=Blackhole\ntopics={topic}\n");
    let flush = |worker: penstock_tests::worker::Builder| worker.property("offset.flush.interval.ms", 200);
    let mut worker = flush(Worker::builder(kafka)).standalone(&[("sink.properties", file(&name))]).start().await?;
    worker.connect().wait_running(&name, 1).await?;
    java::wait_drained(kafka, &name, &topic, LIMIT).await?;
    let second = unique("second");
    worker
        .connect()
        .create(&second, &penstock_tests::connect::config([("connector.class", "Blackhole"), ("topics", &topic)]))
        .await?;
    assert!(worker.stop().await?.success());
    kafka.produce_values(&topic, ["{}"]).await?;

    worker.restart().await?;
    worker.connect().wait_running(&name, 1).await?;
    assert_eq!(worker.connect().get("/connectors").await?.ok()?, json!([name]), "what came over REST ended with the process");
    java::wait_drained(kafka, &name, &topic, LIMIT).await?;
    let page = worker.connect().get("/metrics").await?.ok()?;
    let read = format!("sink_record_read_total{{connector=\"{name}\",task=\"0\"}} 1\n");
    assert!(page.as_str().context("a text")?.contains(&read), "only the new record was read:\n{page}");
    let offsets = worker.connect().get(&format!("/connectors/{name}/offsets")).await?.ok()?;
    assert_eq!(offsets["offsets"][0]["offset"]["kafka_offset"], 3);
    // None but the shared topics of tests: a standalone worker makes none.
    let log = worker.log_text();
    assert!(!log.contains("created the topic for"), "{log}");
    Ok(())
}

#[tokio::test]
async fn a_connector_that_cannot_be_created_ends_the_worker() -> Result<()> {
    let kafka = Kafka::shared().await?;
    let good = |name: &str| format!("name={name}\nconnector.class=Blackhole\ntopics=t\n");
    let cases: Vec<(&str, String, &[&str])> = vec![
        ("typo.properties", good("typo") + "tasks.max=many\n", &["connector typo: ", "tasks.max", "many", "Not a number"]),
        ("class.properties", "name=x\nconnector.class=no.Such\ntopics=t\n".into(), &["connector x: ", "no.Such"]),
        ("nameless.json", r#"{"connector.class": "Blackhole"}"#.into(), &["nameless.json: it has no `name`"]),
        ("broken.json", r#"{"name": "x", "#.into(), &["broken.json: not JSON"]),
        ("other.json", r#"{"name": "x", "config": {"name": "y"}}"#.into(), &["other.json: `name` is x", "it is y"]),
        ("twice.properties", good("first"), &["twice.properties: connector first: ", "already exists"]),
        ("state.json", json!({"name": "x", "config": {}, "initial_state": "ASLEEP"}).to_string(), &["ASLEEP", "PAUSED"]),
    ];
    for (file, text, expected) in cases {
        let connectors = [("first.properties", good("first")), (file, text)];
        let mut worker = Worker::builder(kafka).standalone(&connectors).launch()?;
        let code = worker.ended().await?;
        let log = worker.log_text();
        assert_eq!(code, Some(3), "{file} ends the worker as Java's ends:\n{log}");
        for text in expected {
            assert!(log.contains(text), "{file} should say {text:?}:\n{log}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn javas_standalone_worker_ends_with_the_same_code() -> Result<()> {
    let kafka = Kafka::shared().await?;
    let plugins = tokio::task::spawn_blocking(|| ground::part("blackhole-java")).await??.join("plugins");
    let text = format!("name=typo\nconnector.class={JAVA_SINK}\ntopics=t\ntasks.max=many\n");
    let java = JavaConnect::builder(kafka).lean().plugin_path(plugins).standalone(&[("typo.properties", text)]);
    assert_eq!(java.launch().await?.ended().await?, Some(3));
    Ok(())
}

#[tokio::test]
async fn a_worker_file_is_checked_and_what_means_nothing_is_said() -> Result<()> {
    let kafka = Kafka::shared().await?;
    let mut without = Worker::builder(kafka).standalone(&[]).property("offset.storage.file.filename", "").launch()?;
    assert_eq!(without.ended().await?, Some(2));
    assert!(without.log_text().contains("offset.storage.file.filename"), "{}", without.log_text());

    let worker = Worker::builder(kafka).standalone(&[]).property("group.id", "g").property("status.storage.topic", "s");
    let worker = worker.start().await?;
    for key in ["group.id", "status.storage.topic"] {
        let remark = format!("{key} is known and without effect here: a standalone worker");
        wait_until(&remark, LIMIT, async || Ok(worker.log_text().contains(&remark))).await?;
    }
    assert_eq!(worker.connect().get("/connectors").await?.ok()?, json!([]));
    wait_until("the ready line", LIMIT, async || Ok(worker.log_text().contains(", standalone)"))).await
}
