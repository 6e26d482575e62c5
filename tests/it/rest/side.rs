//! The two workers that are asked, and whether their answers are alike.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use reqwest::Method;
use serde_json::Value;

use super::step::{Like, SINK, Step, get};

/// How long a GET may take to answer on both sides alike: what was asked for before it takes effect in its own time.
const SETTLE_LIMIT: Duration = Duration::from_secs(60);
const SETTLE_STEP: Duration = Duration::from_millis(200);

/// How often in a row an answer must be the same for its worker to be at rest.
const REST: usize = 10;

/// Stands for a text that differs from side to side.
pub(super) const SIDE: &str = "SIDE";

#[derive(Debug, PartialEq)]
pub(super) struct Answer {
    pub(super) status: u16,
    location: Option<String>,
    /// Those that the worker file asks for.
    headers: BTreeMap<String, String>,
    /// Null when empty; text when not JSON.
    pub(super) body: Value,
}

/// One of the two workers, with the names that stand for others in requests and answers.
pub(super) struct Side {
    url: String,
    sink: &'static str,
    /// Stands for what must differ, since both are on one broker: groups.
    label: &'static str,
    http: reqwest::Client,
}

impl Side {
    pub(super) fn java(url: &str) -> Result<Self> {
        Self::new(url, "penstock.bench.BlackholeSink", "side-of-java")
    }

    pub(super) fn ours(url: &str) -> Result<Self> {
        Self::new(url, "penstock.BlackholeSinkConnector", "side-of-ours")
    }

    fn new(url: &str, sink: &'static str, label: &'static str) -> Result<Self> {
        // A new connection each time: Java closes some of those that it answered.
        let http = reqwest::Client::builder().pool_max_idle_per_host(0).no_proxy().timeout(Duration::from_secs(100)).build()?;
        Ok(Self { url: url.to_owned(), sink, label, http })
    }

    /// A name of its own for each side, as requests get it by [`SIDE`].
    pub(super) fn named(&self, text: &str) -> String {
        text.replace(SIDE, self.label)
    }

    pub(super) async fn ask(&self, step: &Step) -> Result<Answer> {
        let url = format!("{}{}", self.url, step.path.replace(SINK, self.sink));
        let mut request = self.http.request(step.method.clone(), &url);
        if let Some(accept) = step.accept {
            request = request.header("Accept", accept);
        }
        if let Some(content_type) = step.content_type {
            request = request.header("Content-Type", content_type);
        }
        for (name, value) in &step.headers {
            request = request.header(*name, value);
        }
        if let Some(body) = &step.body {
            let body = body.replace(&format!("\"{SINK}\""), &format!("\"{}\"", self.sink));
            request = request.body(self.named(&body));
        }
        let response = request.send().await.with_context(|| format!("{} {url}", step.method))?;
        let status = response.status().as_u16();
        let location = response.headers().get("location").and_then(|l| l.to_str().ok()).map(|l| self.neutral(l));
        let headers = response.headers().iter().filter(|(name, _)| is_compared(name.as_str()));
        let headers = headers.fold(BTreeMap::new(), |mut all: BTreeMap<String, String>, (name, value)| {
            let values = all.entry(name.to_string()).or_default();
            // Methods stand in the order of a hash set.
            let mut parts: Vec<&str> = value.to_str().unwrap_or_default().split(',').collect();
            if name == "access-control-allow-methods" {
                parts.sort_unstable();
            }
            *values = format!("{values}|{}", parts.join(","));
            all
        });
        let text = response.text().await?;
        let body = match text.as_str() {
            "" => Value::Null,
            // In the order of a hash set.
            text if step.method == Method::OPTIONS && status == 200 => {
                let mut methods: Vec<&str> = text.split(", ").collect();
                methods.sort_unstable();
                methods.join(", ").into()
            }
            text => serde_json::from_str(text).unwrap_or_else(|_| text.into()),
        };
        Ok(Answer { status, location, headers, body: self.neutral_body(body) })
    }

    fn neutral(&self, text: &str) -> String {
        let address = self.url.trim_start_matches("http://");
        let text = text.replace(self.label, SIDE);
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
                        "version" | "commit" if value.is_string() => "VOLATILE".into(),
                        // The reasons are in the words of either side, and the class is that of each side's sink.
                        "trace" | "task.class" => "VOLATILE".into(),
                        "last_modified" if value.is_number() => "VOLATILE".into(),
                        // In Java's hash order.
                        "offsets" | "topics" | "tasks" if value.is_array() => sorted(self.neutral_body(value)),
                        _ => self.neutral_body(value),
                    };
                    (key, value)
                })
                .collect(),
            other => other,
        }
    }
}

/// Besides those of CORS and caches what [`guarded`](super::guarded) asks for.
fn is_compared(name: &str) -> bool {
    name.starts_with("access-control-") || name.starts_with("x-") || matches!(name, "vary" | "cache-control")
}

fn sorted(mut list: Value) -> Value {
    if let Some(items) = list.as_array_mut() {
        items.sort_by_key(ToString::to_string);
    }
    list
}

/// What is wrong, if anything.
fn difference(step: &Step, java: &Answer, ours: &Answer) -> Option<String> {
    let is_alike = match step.like {
        Like::Equal => java == ours,
        Like::Shape => java.status == ours.status && keys(&java.body) == keys(&ours.body),
        Like::SaysMore => {
            let message = |answer: &Answer| answer.body["message"].as_str().unwrap_or_default().to_owned();
            java.status == ours.status && keys(&java.body) == keys(&ours.body) && message(ours).starts_with(&message(java))
        }
        Like::Differs(theirs, our) => (java.status, ours.status) == (theirs, our),
        Like::Definitions => return definitions_difference(java, ours),
        Like::Plugins => return plugins_difference(java, ours),
        Like::Validation => return validation_difference(java, ours),
    };
    (!is_alike).then(|| format!("java {java:?}\n    ours {ours:?}"))
}

fn keys(body: &Value) -> Option<Vec<&String>> {
    body.as_object().map(|fields| fields.keys().collect())
}

fn differ(java: &Answer, ours: &Answer) -> Option<String> {
    Some(format!("java {java:?}\n    ours {ours:?}"))
}

/// As for validation: key by key of Java's.
fn definitions_difference(java: &Answer, ours: &Answer) -> Option<String> {
    if java.status != 200 || ours.status != 200 {
        return if java == ours { None } else { differ(java, ours) };
    }
    let by_name = |answer: &Answer| -> BTreeMap<String, Value> {
        let keys = answer.body.as_array().into_iter().flatten().cloned();
        // The kind of a converter is no key here: it is in the key's name.
        let keys = keys.filter(|key| key["name"] != "converter.type");
        keys.map(|mut key| {
            key["documentation"].take();
            if key["name"] == "connector.plugin.version" {
                key["default_value"].take();
            }
            (key["name"].as_str().unwrap_or_default().to_owned(), key)
        })
        .collect()
    };
    let ours = by_name(ours);
    by_name(java).into_iter().find_map(|(name, theirs)| match ours.get(&name) {
        Some(our) if *our == theirs => None,
        our => Some(format!("{name}:\n    java {theirs}\n    ours {our:?}")),
    })
}

/// Classes of Connect that are not here, each with its reason in `runtime/DIFFERENCES.md`.
const NOT_HERE: [&str; 2] = ["org.apache.kafka.connect.mirror.MirrorSource", "org.apache.kafka.connect.tools.SchemaSource"];

fn plugins_difference(java: &Answer, ours: &Answer) -> Option<String> {
    if java.status != 200 || ours.status != 200 {
        return if java == ours { None } else { differ(java, ours) };
    }
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let rows = |answer: &Answer| -> BTreeSet<(String, String)> {
        answer.body.as_array().into_iter().flatten().map(|row| (text(&row["class"]), text(&row["type"]))).collect()
    };
    let is_connects = |class: &str| class.starts_with("org.apache.kafka.") && !NOT_HERE.iter().any(|not| class.starts_with(not));
    let mut missing = &rows(java) - &rows(ours);
    missing.retain(|(class, kind)| is_connects(class) && !(class.ends_with(".JsonConverter") && kind == "header_converter"));
    (!missing.is_empty()).then(|| format!("not listed so: {missing:?}"))
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
    let both = [java, ours].map(|answer| order(&answer.body, &by_name(&java.body)));
    if both[0] != both[1] {
        return Some(format!("order: java {:?}, ours {:?}", both[0], both[1]));
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
            if name.contains(".override.") {
                side["definition"].take();
            }
            without_prefix(&name, &mut side["value"]["errors"]);
        }
        if theirs != our {
            return Some(format!("{name}:\n    java {theirs}\n    ours {our}"));
        }
    }
    None
}

/// The groups, sorted, for those of converters stand in Java's hash order, and the keys that Java declares for the connector itself.
fn order(body: &Value, known: &BTreeMap<String, Value>) -> (Vec<String>, Vec<String>) {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut groups: Vec<String> = body["groups"].as_array().into_iter().flatten().map(text).collect();
    groups.sort_unstable();
    let declared = body["configs"].as_array().into_iter().flatten().filter(|config| config["definition"].is_object());
    let keys = declared.map(|config| text(&config["value"]["name"]));
    let is_connectors = |key: &String| known.contains_key(key) && !key.contains(".converter.") && !key.contains(".override.");
    (groups, keys.filter(is_connectors).collect())
}

/// Java's checks say the keys of transforms and predicates without their prefixes.
fn without_prefix(name: &str, errors: &mut Value) {
    let parts: Vec<&str> = name.splitn(3, '.').collect();
    let ["transforms" | "predicates", _, short] = parts[..] else { return };
    for error in errors.as_array_mut().into_iter().flatten() {
        let said = error.as_str().unwrap_or_default();
        let said = said.replace(&format!("configuration {name}:"), &format!("configuration {short}:"));
        *error = said.replace(&format!("Configuration '{name}'"), &format!("Configuration '{short}'")).into();
    }
}

fn by_name(body: &Value) -> BTreeMap<String, Value> {
    let configs = body["configs"].as_array().into_iter().flatten();
    configs.map(|config| (config["value"]["name"].as_str().unwrap_or_default().to_owned(), config.clone())).collect()
}

fn too_early(step: &Step, java: &Answer, ours: &Answer) -> Option<String> {
    let text = step.until?;
    let both = [java, ours].iter().all(|answer| answer.body.to_string().contains(text));
    if both { None } else { differ(java, ours).map(|shown| format!("{text} is not there:\n    {shown}")) }
}

/// What Connect answers while tasks end in their own time, or while Java's workers agree anew on who does what: ask again.
const ASK_AGAIN: [&str; 3] = ["can be safely retried", "momentarily", "because a rebalance is expected"];

fn is_early(answer: &Answer) -> bool {
    answer.body["message"].as_str().is_some_and(|message| ASK_AGAIN.iter().any(|passing| message.contains(passing)))
}

/// Until what both answer there no longer changes.
async fn rest(java: &Side, ours: &Side, path: &str, deadline: Instant) -> Result<()> {
    let asked = get(path);
    let (mut last, mut same) = (None, 0);
    while same < REST && Instant::now() < deadline {
        tokio::time::sleep(SETTLE_STEP).await;
        let now = Some((java.ask(&asked).await?, ours.ask(&asked).await?));
        same = if now == last { same + 1 } else { 0 };
        last = now;
    }
    Ok(())
}

/// Both workers get the same requests, one after the other. What one of them has done is not asked of it again, but for
/// what [may be](Step::at_rest).
pub(super) async fn compare(java: &Side, ours: &Side, step: &Step) -> Result<Option<String>> {
    let deadline = Instant::now() + SETTLE_LIMIT;
    let (mut javas, mut our) = (java.ask(step).await?, ours.ask(step).await?);
    loop {
        let difference = difference(step, &javas, &our).or_else(|| too_early(step, &javas, &our));
        let again = [&javas, &our].map(|answer| step.at_rest.is_some() || step.method == Method::GET || is_early(answer));
        if difference.is_none() || again == [false, false] || Instant::now() > deadline {
            return Ok(difference);
        }
        match step.at_rest {
            Some(path) => rest(java, ours, path, deadline).await?,
            None => tokio::time::sleep(SETTLE_STEP).await,
        }
        if again[0] {
            javas = java.ask(step).await?;
        }
        if again[1] {
            our = ours.ask(step).await?;
        }
    }
}
