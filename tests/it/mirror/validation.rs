//! The keys of MirrorMaker's connectors, and what is said of configurations, beside Java's.

use anyhow::{Context, Result, ensure};
use penstock_tests::Connect;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

use super::Pair;

const MIRROR: &str = "org.apache.kafka.connect.mirror";
const CLASSES: [&str; 3] = ["MirrorSourceConnector", "MirrorCheckpointConnector", "MirrorHeartbeatConnector"];

/// Keys that Java lists for clients; without the prefix of a cluster they do nothing there. See DIFFERENCES.md.
fn is_of_clients(key: &str) -> bool {
    ["ssl.", "sasl.", "security.", "config.providers"].iter().any(|prefix| key.starts_with(prefix))
}

/// By key: the definition, and what is said of the value.
async fn said(connect: &Connect, class: &str, config: &Value) -> Result<Map<String, Value>> {
    let path = format!("/connector-plugins/{MIRROR}.{class}/config/validate");
    let answer = connect.put(&path, config).await?.ok()?;
    let mut said = Map::new();
    for info in answer["configs"].as_array().context("a list of keys")? {
        let name = info["value"]["name"].as_str().unwrap_or_default();
        let own = info["definition"]["group"].is_null() && !is_of_clients(name) && name != "source.cluster.bootstrap.servers";
        if own {
            let mut info = info.clone();
            // The words are ours.
            info["definition"]["documentation"] = Value::Null;
            said.insert(name.to_owned(), info);
        }
    }
    Ok(said)
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_javas() -> Result<()> {
    let pair = Pair::get().await?;
    let mut problems = Vec::new();
    for class in CLASSES {
        for changes in [
            json!({}),
            json!({"target.cluster.alias": "", "enabled": "no"}),
            json!({"topics": "a, b.*", "topics.exclude": "", "groups": "g.*", "groups.exclude": "x", "config.properties.exclude": "a"}),
            json!({"replication.policy.class": format!("{MIRROR}.IdentityReplicationPolicy"), "replication.policy.separator": "_"}),
            json!({"offset-syncs.topic.location": "target", "emit.offset-syncs.enabled": "true", "offset.lag.max": "5"}),
            json!({"offset-syncs.topic.location": "elsewhere", "offset.lag.max": "x", "replication.factor": "x"}),
            json!({"emit.checkpoints.enabled": "false", "sync.group.offsets.enabled": "true"}),
            json!({"emit.checkpoints.enabled": "false"}),
            json!({"emit.offset-syncs.enabled": "false"}),
            json!({"emit.heartbeats.interval.seconds": "x", "heartbeats.topic.replication.factor": "99999"}),
            json!({"refresh.topics.interval.seconds": "7", "refresh.groups.interval.seconds": "7", "sync.topic.acls.enabled": "x"}),
            json!({"metric.names.formats": "legacy,new", "admin.timeout.ms": "5"}),
            json!({"metric.names.formats": "older"}),
        ] {
            let [java, ours] = ask(pair, class, &changes).await?;
            note(&java, &ours, &format!("{class} {changes}"), &mut problems);
        }
    }
    problems.dedup();
    ensure!(problems.is_empty(), "{} differences:\n{}", problems.len(), problems.join("\n"));
    Ok(())
}

const NULL: &str = "Null value can not be supplied as the configuration value.";

/// Nothing at all, what is no number, and lists that are none are worth the same on both sides, key by key, but for what DIFFERENCES.md
/// says: null is refused here, and names of classes are others.
#[tokio::test(flavor = "multi_thread")]
async fn odd_values_are_judged_as_by_java() -> Result<()> {
    let pair = Pair::get().await?;
    let mut problems = Vec::new();
    for class in CLASSES {
        let listed = pair.both()[1].get(&format!("/connector-plugins/{MIRROR}.{class}/config")).await?.ok()?;
        for key in listed.as_array().context("a list of keys")?.iter().filter(|key| key["group"].is_null()) {
            let name = key["name"].as_str().context("a key has a name")?;
            let mut values = vec![Value::Null, "".into(), " ".into(), "1.5".into()];
            if key["type"] == "LIST" {
                values.extend(["a,,b", "a, a", " a , b "].map(Value::from));
            }
            for value in values {
                let mut changes = json!({});
                changes[name] = value;
                let [mut java, mut ours] = ask(pair, class, &changes).await?;
                // Keys that not both have are not looked at.
                let Some(errors) = ours.get(name).and_then(|said| said["value"]["errors"].as_array()) else { continue };
                ensure!(errors.contains(&NULL.into()) == changes[name].is_null(), "{class} {changes}: {errors:?}");
                for said in [&mut java, &mut ours].into_iter().filter_map(|said| said.get_mut(name)) {
                    disregard(said)?;
                }
                note(&java, &ours, &format!("{class} {changes}"), &mut problems);
            }
        }
    }
    problems.dedup();
    ensure!(problems.is_empty(), "{} differences:\n{}", problems.len(), problems.join("\n"));
    Ok(())
}

/// Takes out of what is said of a key what is another thing here.
fn disregard(said: &mut Value) -> Result<()> {
    let is_class = said["definition"]["type"] == "CLASS";
    let value = &mut said["value"];
    let errors = value["errors"].as_array_mut().context("errors")?;
    errors.retain(|error| *error != NULL);
    if is_class && !errors.is_empty() {
        *errors = vec!["no such class".into()];
        value["value"] = Value::Null;
    }
    Ok(())
}

/// What both say of a good configuration with some changes, Java first.
async fn ask(pair: &Pair, class: &str, changes: &Value) -> Result<[Map<String, Value>; 2]> {
    let mut config = json!({
        "name": "mirror-validated", "connector.class": format!("{MIRROR}.{class}"), "source.cluster.alias": "west",
        "source.cluster.bootstrap.servers": "127.0.0.1:1", "target.cluster.bootstrap.servers": "127.0.0.1:1",
    });
    for (key, value) in changes.as_object().expect("an object") {
        config[key] = value.clone();
    }
    let [java, ours] = pair.both();
    Ok([said(java, class, &config).await?, said(ours, class, &config).await?])
}

/// Notes what they do not say alike.
fn note(java: &Map<String, Value>, ours: &Map<String, Value>, asked: &str, problems: &mut Vec<String>) {
    let names: BTreeSet<_> = java.keys().chain(ours.keys()).collect();
    for name in names {
        let (java, ours) = (java.get(name), ours.get(name));
        if java != ours {
            problems.push(format!("{asked} {name}:\n  Java {}\n  ours {}", text(java), text(ours)));
        }
    }
}

fn text(value: Option<&Value>) -> String {
    value.map_or_else(|| "does not know it".to_owned(), Value::to_string)
}
