//! The REST API, request by request beside the real Java worker: same status, same body, same `Location`.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result};
use penstock_tests::{JavaConnect, Kafka, Worker, ground};
use reqwest::Method;
use serde_json::{Value, json};

/// How long a GET may take to answer on both sides alike: what was asked for before it takes effect in its own time.
const SETTLE_LIMIT: Duration = Duration::from_secs(30);
const SETTLE_STEP: Duration = Duration::from_millis(200);

/// Stands for the sink's class of either side.
const SINK: &str = "SINK";
const JAVA_SINK: &str = "penstock.bench.BlackholeSink";
const OUR_SINK: &str = "penstock.BlackholeSinkConnector";

/// One request, and how alike the answers must be.
struct Step {
    method: Method,
    path: &'static str,
    body: Option<String>,
    content_type: Option<&'static str>,
    accept: Option<&'static str>,
    like: Like,
}

#[derive(Clone, Copy, PartialEq)]
enum Like {
    /// Status, `Location` and body.
    Equal,
    /// Status and the body's keys; for texts that speak of Java's insides.
    Shape,
    /// Not alike on purpose, as `runtime/DIFFERENCES.md` says: Java's status and ours.
    Differs(u16, u16),
    /// Answers of validation: each key of Java's is there with the same definition, value and errors.
    Validation,
}

fn step(method: Method, path: &'static str, body: Option<String>) -> Step {
    let content_type = body.is_some().then_some("application/json");
    Step { method, path, body, content_type, accept: None, like: Like::Equal }
}

fn get(path: &'static str) -> Step {
    step(Method::GET, path, None)
}

fn delete(path: &'static str) -> Step {
    step(Method::DELETE, path, None)
}

fn put(path: &'static str, body: &Value) -> Step {
    step(Method::PUT, path, Some(body.to_string()))
}

fn post(path: &'static str, body: &Value) -> Step {
    step(Method::POST, path, Some(body.to_string()))
}

fn patch(path: &'static str, body: &Value) -> Step {
    step(Method::PATCH, path, Some(body.to_string()))
}

/// Without a body.
fn bare(method: Method, path: &'static str) -> Step {
    step(method, path, None)
}

fn raw(method: Method, path: &'static str, body: &str) -> Step {
    step(method, path, Some(body.to_owned()))
}

impl Step {
    fn content_type(mut self, content_type: Option<&'static str>) -> Self {
        self.content_type = content_type;
        self
    }

    fn accept(mut self, accept: &'static str) -> Self {
        self.accept = Some(accept);
        self
    }

    fn like(mut self, like: Like) -> Self {
        self.like = like;
        self
    }
}

/// The configuration of a sink, with changes; null takes a key away.
fn sink(changes: &Value) -> Value {
    let mut config = json!({"connector.class": SINK, "topics": "rest-t1"});
    for (key, value) in changes.as_object().expect("an object") {
        match value {
            Value::Null => drop(config.as_object_mut().expect("an object").remove(key)),
            value => config[key] = value.clone(),
        }
    }
    config
}

fn create(name: &str, changes: &Value) -> Step {
    post("/connectors", &json!({"name": name, "config": sink(changes)}))
}

fn steps() -> Vec<Step> {
    let mut steps = Vec::new();
    steps.extend(the_worker_itself());
    steps.extend(unusual_http());
    steps.extend(unreadable_bodies());
    steps.extend(unknown_connectors());
    steps.extend(a_connectors_life());
    steps.extend(refused_configurations());
    steps.extend(odd_names());
    steps.extend(plugins_and_validation());
    steps
}

fn the_worker_itself() -> Vec<Step> {
    vec![
        get("/"),
        bare(Method::HEAD, "/"),
        get("/health"),
        get("/health/"),
        get("/connectors"),
        get("/connectors/"),
        get("/admin/loggers/no.such.logger"),
        put("/admin/loggers/x.y", &json!({"level": "FOO"})),
        put("/admin/loggers/x.y", &json!({"level": 5})),
        put("/admin/loggers/x.y", &json!({})),
        raw(Method::PUT, "/admin/loggers/x.y", "").like(Like::Shape),
        put("/admin/loggers/x.y", &json!({"level": "info"})),
        put("/admin/loggers/x.y?scope=foo", &json!({"level": "DEBUG"})),
        put("/admin/loggers/x.y?scope=cluster", &json!({"level": "DEBUG"})),
        get("/admin/loggers/x.y"),
        delete("/admin/loggers/x.y"),
        get("/admin"),
    ]
}

fn unusual_http() -> Vec<Step> {
    vec![
        get("/nope"),
        get("/nope").accept("text/html"),
        bare(Method::PUT, "/connectors"),
        delete("/"),
        bare(Method::PATCH, "/connectors/zz"),
        bare(Method::PUT, "/health"),
        bare(Method::TRACE, "/"),
        bare(Method::from_bytes(b"FOO").expect("a method"), "/"),
        bare(Method::HEAD, "/connectors"),
        bare(Method::OPTIONS, "/nope"),
        post("/connector-plugins", &json!({})),
        bare(Method::POST, "/connectors/zz/topics/reset"),
        get("/connector-plugins/x"),
        get("/connector-plugins/x/config/validate"),
        get("/connectors").accept("text/plain"),
        get("/connectors").accept("text/html, */*;q=0.1"),
        get("/connectors").accept("application/*"),
        get("/connectors?foo=bar"),
        raw(Method::POST, "/connectors", "a=b").content_type(Some("text/plain")),
        raw(Method::POST, "/connectors", "{}").content_type(None),
        raw(Method::PUT, "/connectors/zz/pause", "x").content_type(Some("text/plain")),
        raw(Method::POST, "/connectors/zz", "x").content_type(Some("text/plain")),
        raw(Method::PUT, "/connectors/zz/config", "{}").content_type(Some("application/xml")),
        get("/connectors/zz/tasks-config"),
    ]
}

fn unreadable_bodies() -> Vec<Step> {
    let mut steps = Vec::new();
    for body in ["{bad", "", "null", "5", "\"x\"", "[\"a\"]", "{} x", "{\"name\":\"b\"}"] {
        steps.push(raw(Method::POST, "/connectors", body).like(Like::Shape));
    }
    for body in ["{", "", "null", "[1]", "7"] {
        steps.push(raw(Method::PUT, "/connectors/zz/config", body).like(Like::Shape));
        steps.push(raw(Method::PUT, "/connector-plugins/x/config/validate", body).like(Like::Shape));
    }
    for body in ["{", "[1]", "7"] {
        steps.push(raw(Method::PATCH, "/connectors/zz/config", body).like(Like::Shape));
    }
    let bodies = [
        json!({"name": "b", "config": {}, "x": 1}),
        json!({"name": "b", "config": []}),
        json!({"name": "b", "config": sink(&json!({"tasks.max": {"a": 1}}))}),
        json!({"name": "b", "config": sink(&json!({"topics": ["a"]}))}),
        json!({"name": "b", "config": sink(&json!({})), "initial_state": "foo"}),
    ];
    steps.extend(bodies.iter().map(|body| post("/connectors", body).like(Like::Shape)));
    steps
}

fn unknown_connectors() -> Vec<Step> {
    vec![
        get("/connectors/zz"),
        get("/connectors/zz/"),
        get("/connectors/zz/config"),
        get("/connectors/zz/status"),
        get("/connectors/zz/tasks"),
        get("/connectors/zz/tasks/0/status"),
        get("/connectors/zz/tasks/-1/status"),
        get("/connectors/zz/tasks/x/status"),
        get("/connectors/zz/tasks/99999999999/status"),
        get("/connectors/zz/offsets"),
        get("/connectors/zz/topics"),
        bare(Method::PUT, "/connectors/zz/topics/reset"),
        bare(Method::PUT, "/connectors/zz/pause"),
        bare(Method::PUT, "/connectors/zz/resume"),
        bare(Method::PUT, "/connectors/zz/stop"),
        bare(Method::POST, "/connectors/zz/restart"),
        bare(Method::POST, "/connectors/zz/restart?includeTasks=true"),
        bare(Method::POST, "/connectors/zz/restart?onlyFailed=true"),
        bare(Method::POST, "/connectors/zz/tasks/0/restart"),
        patch("/connectors/zz/config", &json!({"x": "y"})),
        delete("/connectors/zz"),
    ]
}

fn a_connectors_life() -> Vec<Step> {
    vec![
        create("life", &json!({"tasks.max": 2})),
        get("/connectors"),
        get("/connectors/life"),
        get("/connectors/life/config"),
        get("/connectors/life/status"),
        get("/connectors/life/tasks/1/status"),
        get("/connectors/life/tasks/7/status"),
        get("/connectors/life/offsets"),
        get("/connectors/life/topics"),
        get("/connectors?expand=status"),
        get("/connectors?expand=info&expand=status"),
        get("/connectors?expand=foo"),
        get("/connectors?expand=info,status"),
        get("/connectors?expand="),
        create("life", &json!({})),
        put("/connectors/life/config", &sink(&json!({"topics": "rest-t1,rest-t2"}))),
        get("/connectors/life/config"),
        get("/connectors/life/status"),
        patch("/connectors/life/config", &json!({"tasks.max": 2, "x": "y"})),
        get("/connectors/life"),
        patch("/connectors/life/config", &json!({"x": null, "tasks.max": null})),
        get("/connectors/life"),
        patch("/connectors/life/config", &json!({"tasks.max": "x"})),
        patch("/connectors/life/config", &json!({"connector.class": null})),
        bare(Method::PUT, "/connectors/life/pause"),
        get("/connectors/life/status"),
        bare(Method::PUT, "/connectors/life/pause"),
        raw(Method::PUT, "/connectors/life/resume", "{bad"),
        get("/connectors/life/status"),
        bare(Method::POST, "/connectors/life/restart"),
        get("/connectors/life/status"),
        bare(Method::POST, "/connectors/life/restart?includeTasks=TRUE"),
        get("/connectors/life/status"),
        bare(Method::POST, "/connectors/life/restart?includeTasks=true&onlyFailed=true"),
        bare(Method::POST, "/connectors/life/restart?onlyFailed=true"),
        bare(Method::POST, "/connectors/life/restart?includeTasks=foo"),
        get("/connectors/life/status"),
        bare(Method::POST, "/connectors/life/tasks/0/restart"),
        bare(Method::POST, "/connectors/life/tasks/9/restart"),
        bare(Method::POST, "/connectors/life/tasks/-1/restart"),
        bare(Method::POST, "/connectors/life/tasks/x/restart"),
        get("/connectors/life/status"),
        bare(Method::PUT, "/connectors/life/stop"),
        get("/connectors/life/status"),
        get("/connectors/life"),
        get("/connectors/life/tasks"),
        bare(Method::PUT, "/connectors/life/resume"),
        get("/connectors/life/status"),
        delete("/connectors/life"),
        get("/connectors/life"),
        get("/connectors"),
        put("/connectors/other/config", &sink(&json!({}))),
        get("/connectors/other/status"),
        raw(Method::DELETE, "/connectors/other", "{\"x\": 1}"),
        post("/connectors", &json!({"name": "p", "initial_state": "PAUSED", "config": sink(&json!({}))})),
        get("/connectors/p/status"),
        post("/connectors", &json!({"name": "s", "initial_state": "stopped", "config": sink(&json!({}))})),
        get("/connectors/s/status"),
        get("/connectors/s/tasks"),
        post("/connectors", &json!({"name": 5, "initial_state": null, "config": sink(&json!({}))})),
        get("/connectors/5/status"),
        delete("/connectors/p"),
        delete("/connectors/s"),
        delete("/connectors/5"),
        get("/connectors"),
    ]
}

fn refused_configurations() -> Vec<Step> {
    let mut steps = vec![
        post("/connectors", &json!({"name": "b", "config": {}})),
        post("/connectors", &json!({"name": "b", "config": {"connector.class": "nope"}})).like(Like::Shape),
        post("/connectors", &json!({"config": sink(&json!({}))})),
        post("/connectors", &json!({"name": "  ", "config": sink(&json!({}))})),
        post("/connectors", &json!({"config": sink(&json!({"name": "d"}))})),
        put("/connectors/b/config", &json!({})),
        put("/connectors/b/config", &sink(&json!({"name": "q"}))),
        put("/connectors/b/config", &json!({"connector.class": SINK, "topics": true, "tasks.max": 1.5})),
        post("/connectors", &json!({"name": "b", "config": {"connector.class": SINK, "topics": "t", "tasks.max": null}})),
    ];
    for (changes, like) in [
        (json!({"name": "c"}), Like::Equal),
        (json!({"tasks.max": "x"}), Like::Equal),
        (json!({"tasks.max": "0", "errors.tolerance": "some"}), Like::Equal),
        (json!({"topics": null}), Like::Equal),
        (json!({"topics.regex": "x.*"}), Like::Equal),
        (json!({"errors.deadletterqueue.topic.name": "rest-t1"}), Like::Equal),
        (json!({"key.converter": "nope"}), Like::Equal),
        (json!({"transforms": "a,a", "transforms.a.type": "org.apache.kafka.connect.transforms.Filter"}), Like::Equal),
        (json!({"transforms": "a", "transforms.a.type": "nope"}), Like::Equal),
    ] {
        steps.push(create("b", &changes).like(like));
    }
    steps
}

fn odd_names() -> Vec<Step> {
    vec![
        create("x y", &json!({})),
        get("/connectors/x%20y"),
        get("/connectors/x+y"),
        delete("/connectors/x%20y"),
        create("\u{fc}", &json!({})),
        get("/connectors/%C3%BC"),
        delete("/connectors/%C3%BC"),
        create("a?b#c+", &json!({})),
        get("/connectors/a%3Fb%23c+"),
        get("/connectors/a%3Fb%23c%2B"),
        delete("/connectors/a%3Fb%23c+"),
        create(" t ", &json!({})),
        get("/connectors/t"),
        delete("/connectors/t"),
        create("a\u{1}b", &json!({})),
        get("/connectors/%zz").like(Like::Differs(400, 404)),
        get("/connectors/%ff").like(Like::Differs(400, 400)),
        create("a/b", &json!({})).like(Like::Differs(201, 201)),
        get("/connectors/a%2Fb").like(Like::Differs(400, 200)),
        delete("/connectors/a%2Fb").like(Like::Differs(400, 204)),
    ]
}

const VALIDATE: &str = "/connector-plugins/SINK/config/validate";

fn plugins_and_validation() -> Vec<Step> {
    let transforms = "org.apache.kafka.connect.transforms";
    let class = |name: &str| format!("{transforms}.{name}");
    let mask = json!({"transforms": "a", "transforms.a.type": class("MaskField$Value"), "transforms.a.fields": "x"});
    let with = |base: &Value, more: Value| {
        let mut base = base.clone();
        base.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        base
    };
    let predicate = json!({
        "transforms.a.predicate": "p", "predicates": "p",
        "predicates.p.type": "org.apache.kafka.connect.transforms.predicates.TopicNameMatches", "predicates.p.pattern": "x",
    });
    let mut steps = vec![
        get("/connector-plugins/nope/config"),
        get("/connector-plugins/SINK/config?version=99").like(Like::Shape),
        put("/connector-plugins/other/config/validate", &sink(&json!({"name": "b"}))),
        put(VALIDATE, &json!({"name": "b", "topics": "t"})),
        put("/connector-plugins/nope/config/validate", &json!({"connector.class": "nope", "name": "b"})).like(Like::Shape),
        put(VALIDATE, &sink(&json!({"name": "b", "connector.class": "nope"}))),
    ];
    for changes in [
        json!({}),
        json!({"name": ""}),
        json!({"name": "a\u{1}b"}),
        json!({"tasks.max": "0"}),
        json!({"tasks.max": ""}),
        json!({"tasks.max.enforce": "no"}),
        json!({"topics": null}),
        json!({"topics": "a,,b"}),
        json!({"topics": "a,a"}),
        json!({"topics": " a , b "}),
        json!({"topics.regex": "x.*"}),
        json!({"topics": null, "topics.regex": "rest-.*", "errors.deadletterqueue.topic.name": "rest-dlq"}),
        json!({"topics": null, "topics.regex": "rest", "errors.deadletterqueue.topic.name": "rest-dlq"}),
        json!({"errors.tolerance": "ALL"}),
        json!({"errors.retry.timeout": "x", "errors.log.enable": "x", "errors.retry.delay.max.ms": "-5"}),
        json!({"config.action.reload": "foo"}),
        json!({"key.converter": "nope", "value.converter": "", "header.converter": "x.Y"}),
        json!({"key.converter": class("Filter")}),
        json!({"value.converter": "JsonConverter"}),
        json!({"value.converter": "org.apache.kafka.connect.json.JsonConverter", "value.converter.schemas.enable": "maybe"}),
        json!({"transforms": "a"}),
        json!({"transforms": "a", "transforms.a.type": "nope"}),
        json!({"transforms": "a", "transforms.a.type": class("InsertField")}),
        json!({"transforms": "a", "transforms.a.type": class("InsertField$Value")}),
        json!({"transforms": "", "predicates": ""}),
        mask.clone(),
        with(&mask, json!({"transforms.a.negate": "true"})),
        with(&mask, predicate.clone()),
        with(&with(&mask, predicate), json!({"transforms.a.negate": "x"})),
        json!({"predicates": "p"}),
        json!({"predicates": "p", "predicates.p.type": class("Filter")}),
        json!({"unknown.key": "x"}),
        json!({"connector.plugin.version": "latest"}),
    ] {
        let mut config = sink(&changes);
        config["name"] = changes.get("name").cloned().unwrap_or_else(|| "b".into());
        steps.push(put(VALIDATE, &config).like(Like::Validation));
    }
    steps
}

#[derive(Debug, PartialEq)]
struct Answer {
    status: u16,
    location: Option<String>,
    /// Null when empty; text when not JSON.
    body: Value,
}

/// One of the two workers, with the names that stand for others in requests and answers.
struct Side {
    url: String,
    sink: &'static str,
    http: reqwest::Client,
}

impl Side {
    fn new(url: &str, sink: &'static str) -> Result<Self> {
        // A connection for each request: Java's server closes one behind a request that it cannot read, at times under the next one.
        let http = reqwest::Client::builder().pool_max_idle_per_host(0).no_proxy().timeout(Duration::from_secs(100)).build()?;
        Ok(Self { url: url.to_owned(), sink, http })
    }

    async fn ask(&self, step: &Step) -> Result<Answer> {
        let url = format!("{}{}", self.url, step.path.replace(SINK, self.sink));
        let mut request = self.http.request(step.method.clone(), &url);
        if let Some(accept) = step.accept {
            request = request.header("Accept", accept);
        }
        if let Some(content_type) = step.content_type {
            request = request.header("Content-Type", content_type);
        }
        if let Some(body) = &step.body {
            request = request.body(body.replace(&format!("\"{SINK}\""), &format!("\"{}\"", self.sink)));
        }
        let response = request.send().await.with_context(|| format!("{} {url}", step.method))?;
        let status = response.status().as_u16();
        let location = response.headers().get("location").and_then(|l| l.to_str().ok()).map(|l| self.neutral(l));
        let text = response.text().await?;
        let body = match text.as_str() {
            "" => Value::Null,
            text => serde_json::from_str(text).unwrap_or_else(|_| text.into()),
        };
        Ok(Answer { status, location, body: self.neutral_body(body) })
    }

    fn neutral(&self, text: &str) -> String {
        let address = self.url.trim_start_matches("http://");
        text.replace(address, "WORKER").replace(self.sink, SINK).replace(self.sink.rsplit('.').next().unwrap_or_default(), SINK)
    }

    fn neutral_body(&self, body: Value) -> Value {
        match body {
            Value::String(text) => self.neutral(&text).into(),
            Value::Array(items) => items.into_iter().map(|item| self.neutral_body(item)).collect(),
            Value::Object(fields) => fields
                .into_iter()
                .map(|(key, value)| {
                    let value = match key.as_str() {
                        "version" | "commit" => "VOLATILE".into(),
                        "last_modified" if value.is_number() => "VOLATILE".into(),
                        _ => self.neutral_body(value),
                    };
                    (key, value)
                })
                .collect(),
            other => other,
        }
    }
}

/// What is wrong, if anything.
fn difference(step: &Step, java: &Answer, ours: &Answer) -> Option<String> {
    let is_alike = match step.like {
        Like::Equal => java == ours,
        Like::Shape => java.status == ours.status && keys(&java.body) == keys(&ours.body),
        Like::Differs(theirs, our) => (java.status, ours.status) == (theirs, our),
        Like::Validation => return validation_difference(java, ours),
    };
    (!is_alike).then(|| format!("java {java:?}\n    ours {ours:?}"))
}

fn keys(body: &Value) -> Option<Vec<&String>> {
    body.as_object().map(|fields| fields.keys().collect())
}

/// Documentation is in our own words, offers differ with the plugins there are, and a sink may have keys of its own.
fn validation_difference(java: &Answer, ours: &Answer) -> Option<String> {
    if java.status != 200 || ours.status != 200 {
        return (java != ours).then(|| format!("java {java:?}\n    ours {ours:?}"));
    }
    for key in ["name", "error_count"] {
        if java.body[key] != ours.body[key] {
            return Some(format!("{key}: java {}, ours {}", java.body[key], ours.body[key]));
        }
    }
    let our_configs = by_name(&ours.body);
    for (name, mut theirs) in by_name(&java.body) {
        // The kind of a converter is no key here: it is in the key's name.
        if name.ends_with(".converter.type") {
            continue;
        }
        let Some(mut our) = our_configs.get(&name).cloned() else { return Some(format!("{name} is missing")) };
        for side in [&mut theirs, &mut our] {
            side["value"]["recommended_values"].take();
            if name.ends_with("plugin.version") {
                side["value"]["value"].take();
                side["value"]["visible"].take();
                side["definition"]["default_value"].take();
            }
            if side["definition"].is_object() {
                side["definition"]["documentation"].take();
            }
        }
        if theirs != our {
            return Some(format!("{name}:\n    java {theirs}\n    ours {our}"));
        }
    }
    None
}

fn by_name(body: &Value) -> BTreeMap<String, Value> {
    let configs = body["configs"].as_array().into_iter().flatten();
    configs.map(|config| (config["value"]["name"].as_str().unwrap_or_default().to_owned(), config.clone())).collect()
}

/// Both workers get the same requests, one after the other.
async fn compare(java: &Side, ours: &Side, step: &Step) -> Result<Option<String>> {
    let mut waited = Duration::ZERO;
    loop {
        let answers = (java.ask(step).await?, ours.ask(step).await?);
        let difference = difference(step, &answers.0, &answers.1);
        let may_settle = step.method == Method::GET && waited < SETTLE_LIMIT;
        if difference.is_none() || !may_settle {
            return Ok(difference);
        }
        tokio::time::sleep(SETTLE_STEP).await;
        waited += SETTLE_STEP;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_javas() -> Result<()> {
    let kafka = Kafka::shared().await?;
    for topic in ["rest-t1", "rest-t2"] {
        kafka.create_topic(topic, 2).await?;
    }
    let plugins = tokio::task::spawn_blocking(|| ground::part("blackhole-java")).await??.join("plugins");
    let (java, ours) =
        tokio::join!(JavaConnect::builder(kafka).lean().plugin_path(plugins).start(), Worker::builder(kafka).start());
    let (java, ours) = (java?, ours?);
    let java_side = Side::new(java.connect().url(), JAVA_SINK)?;
    let our_side = Side::new(ours.connect().url(), OUR_SINK)?;
    let (mut differences, steps) = (Vec::new(), steps());
    for step in &steps {
        if let Some(difference) = compare(&java_side, &our_side, step).await? {
            let body = step.body.as_deref().unwrap_or_default();
            differences.push(format!("{} {} {body}\n    {difference}", step.method, step.path));
        }
    }
    assert!(differences.is_empty(), "{} of {} requests differ:\n{}", differences.len(), steps.len(), differences.join("\n"));
    Ok(())
}
