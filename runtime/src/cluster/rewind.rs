//! Offsets changed by request: altered or reset while the connector is stopped (KIP-875).

use std::time::Duration;

use penstock_api::{OffsetChanges, Props, TopicPartition};
use serde_json::Value;

use super::error::{HerderError, Result};
use super::progress::Progress;
use super::starter::Sink;
use super::view::{ConnectorType, OffsetPatch};
use crate::kafka::admin::GroupChange;
use crate::store::offsets::{SourceMap, SourceOffset, SourceOffsets};

/// How long all of a change may take; the writing lane waits for it, so that nobody resumes the connector meanwhile.
const CHANGE_TIMEOUT: Duration = Duration::from_secs(30);

impl Progress {
    /// Alters offsets, or with `None` resets them all. The caller has seen that the connector is stopped.
    ///
    /// Answers what Connect says about it.
    pub(super) async fn change(&self, name: &str, props: &Props, patch: Option<&[OffsetPatch]>) -> Result<String> {
        let change = async {
            match self.starter.describe(props).kind {
                ConnectorType::Sink => self.change_sink(name, props, patch).await,
                ConnectorType::Source => self.change_source(name, props, patch).await,
                ConnectorType::Unknown => Err(self.unknown(props)),
            }
        };
        let complete = tokio::time::timeout(CHANGE_TIMEOUT, change).await.map_err(|_| {
            let seconds = CHANGE_TIMEOUT.as_secs();
            HerderError::Internal(format!("Failed to modify offsets for connector {name}: it took longer than {seconds} s"))
        })??;
        let done = if patch.is_none() { "reset" } else { "altered" };
        Ok(if complete {
            format!("The offsets for this connector have been {done} successfully")
        } else {
            format!(
                "The Connect framework-managed offsets for this connector have been {done} successfully. However, if this connector \
                 manages offsets externally, they will need to be manually {done} in the system that the connector uses."
            )
        })
    }

    /// Answers whether the connector knows that nothing else is to be done.
    async fn change_sink(&self, name: &str, props: &Props, patch: Option<&[OffsetPatch]>) -> Result<bool> {
        let failed =
            |what: &str, error: &penstock_api::Error| HerderError::Internal(format!("Failed to {what} {name}: {error:#}"));
        let sink = self.starter.sink(props).map_err(|e| failed("modify offsets for sink connector", &e))?;
        let changes = match patch {
            Some(patch) => sink_changes(patch)?,
            None => {
                let committed = sink.admin.group_offsets(&sink.group).await;
                let committed =
                    committed.map_err(|e| failed("list offsets prior to resetting offsets for sink connector", &e))?;
                committed.into_keys().map(|partition| (partition, None)).collect()
            }
        };
        let told = sink.connector.alter_offsets(&sink.props, &changes).await;
        let complete = told.map_err(|e| failed("modify offsets for sink connector", &e))?;
        let (verb, changed) = match patch {
            Some(_) => ("alter", alter_group(&sink, &changes).await),
            None => ("reset", sink.admin.delete_group(&sink.group).await),
        };
        match changed.map_err(|e| failed(&format!("{verb} consumer group offsets for connector"), &e))? {
            GroupChange::Done => Ok(complete),
            GroupChange::HasMembers => Err(HerderError::Internal(zombies(name, verb))),
        }
    }

    /// The records are written though no task reads them before it starts again. Answers whether the connector knows that nothing else
    /// is to be done.
    async fn change_source(&self, name: &str, props: &Props, patch: Option<&[OffsetPatch]>) -> Result<bool> {
        let failed = |error: penstock_api::Error| {
            HerderError::Internal(format!("Failed to modify offsets for source connector {name}: {error:#}"))
        };
        let source = self.starter.source(props).map_err(failed)?;
        source.offsets.ensure().await.map_err(failed)?;
        let stored = source.offsets.read().await.map_err(failed)?;
        let changes: Vec<SourceOffset> = match patch {
            Some(patch) => patch.iter().map(|entry| source_change(name, entry, &stored)).collect::<Result<_>>()?,
            None => {
                let forget =
                    |partition: &SourceMap| SourceOffset { connector: name.into(), partition: partition.clone(), offset: None };
                stored.of(name).map(|(partition, _)| forget(partition)).collect()
            }
        };
        let pairs: Vec<_> = changes.iter().map(|change| (change.partition.clone(), change.offset.clone())).collect();
        // In the connector's own words, as Java says it of sources.
        let told = source.connector.alter_offsets(&source.props, &pairs).await;
        let complete = told.map_err(|error| HerderError::Internal(format!("{error:#}")))?;
        if !changes.is_empty() {
            source.offsets.write(changes).await.map_err(failed)?;
        }
        Ok(complete)
    }
}

async fn alter_group(sink: &Sink, changes: &OffsetChanges) -> penstock_api::Result<GroupChange> {
    let moved = changes.iter().filter_map(|(partition, offset)| Some((partition.clone(), (*offset)?))).collect();
    let forgotten: Vec<TopicPartition> = changes.iter().filter(|(_, o)| o.is_none()).map(|(p, _)| p.clone()).collect();
    match sink.admin.alter_group_offsets(&sink.group, &moved).await? {
        GroupChange::Done => sink.admin.delete_group_offsets(&sink.group, &forgotten).await,
        GroupChange::HasMembers => Ok(GroupChange::HasMembers),
    }
}

/// Java's words, whoever it is that is still in the group.
fn zombies(name: &str, verb: &str) -> String {
    format!(
        "Failed to {verb} consumer group offsets for connector {name} either because its tasks haven't stopped completely yet or the \
         connector was resumed before the request to {verb} its offsets could be successfully completed. If the connector is in a \
         stopped state, this operation can be safely retried. If it doesn't eventually succeed, the Connect cluster may need to be \
         restarted to get rid of the zombie sink tasks."
    )
}

fn sink_changes(patch: &[OffsetPatch]) -> Result<OffsetChanges> {
    patch.iter().map(sink_change).collect()
}

fn sink_change(entry: &OffsetPatch) -> Result<(TopicPartition, Option<i64>)> {
    let bad = |text: String| Err(HerderError::BadRequest(text));
    let Some(partition) = &entry.partition else {
        return bad("The partition for a sink connector offset cannot be null or missing".into());
    };
    let (Some(topic), Some(number)) = (partition.get("kafka_topic"), partition.get("kafka_partition")) else {
        return bad("The partition for a sink connector offset must contain the keys 'kafka_topic' and 'kafka_partition'".into());
    };
    if topic.is_null() {
        return bad("Kafka topic names must be valid strings and may not be null".into());
    }
    if number.is_null() {
        return bad("Kafka partitions must be valid numbers and may not be null".into());
    }
    let (topic, number) = (as_java(topic), as_java(number));
    let Ok(partition) = number.parse() else {
        return bad(format!(
            "Failed to parse the following Kafka partition value in the provided offsets: '{number}'. Partition values for sink \
             connectors need to be integers."
        ));
    };
    let partition = TopicPartition { topic: topic.into(), partition };
    let Some(offset) = &entry.offset else { return Ok((partition, None)) };
    let Some(offset) = offset.get("kafka_offset") else {
        return bad("The offset for a sink connector should either be null or contain the key 'kafka_offset'".into());
    };
    let offset = as_java(offset);
    match offset.parse() {
        Ok(offset @ 0..) => Ok((partition, Some(offset))),
        Ok(_) => bad(format!("The Kafka offset {offset} for {partition} is negative; to begin anew give null")),
        Err(_) => bad(format!(
            "Failed to parse the following Kafka offset value in the provided offsets: '{offset}'. Offset values for sink \
             connectors need to be integers."
        )),
    }
}

fn source_change(name: &str, entry: &OffsetPatch, stored: &SourceOffsets) -> Result<SourceOffset> {
    let Some(partition) = &entry.partition else {
        return Err(HerderError::BadRequest("The partition for a source connector offset cannot be null or missing".into()));
    };
    let parts = partition.iter().chain(entry.offset.iter().flatten());
    if let Some((field, value)) = parts.into_iter().find(|(_, value)| value.is_array() || value.is_object()) {
        let kind = if value.is_array() { "ARRAY" } else { "MAP" };
        return Err(HerderError::Internal(format!(
            "Offsets may only contain primitive types as values, but field {field} contains {kind}"
        )));
    }
    Ok(SourceOffset::asked_for(name, partition, entry.offset.as_ref(), stored))
}

/// `String.valueOf` of what was read from JSON.
fn as_java(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => format!("[{}]", items.iter().map(as_java).collect::<Vec<_>>().join(", ")),
        Value::Object(fields) => {
            let fields: Vec<_> = fields.iter().map(|(key, value)| format!("{key}={}", as_java(value))).collect();
            format!("{{{}}}", fields.join(", "))
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn entry(json: Value) -> OffsetPatch {
        serde_json::from_value(json).expect("an entry")
    }

    #[test]
    fn offsets_of_sinks_are_numbers_or_texts_that_hold_them() {
        let check = |json: Value, expected: (&str, i32, Option<i64>)| {
            let (partition, offset) = sink_change(&entry(json)).expect("good");
            assert_eq!((&*partition.topic, partition.partition, offset), expected);
        };
        check(json!({"partition": {"kafka_topic": "t", "kafka_partition": 1}, "offset": {"kafka_offset": 5}}), ("t", 1, Some(5)));
        check(
            json!({"partition": {"kafka_topic": 7, "kafka_partition": "1"}, "offset": {"kafka_offset": "5"}}),
            ("7", 1, Some(5)),
        );
        check(json!({"partition": {"kafka_topic": "t", "kafka_partition": 1, "x": 0}, "offset": null}), ("t", 1, None));
        check(json!({"partition": {"kafka_topic": "t", "kafka_partition": 1}}), ("t", 1, None));
    }

    #[test]
    fn what_is_wrong_is_said() {
        let check = |json: Value, says: &str| {
            let error = sink_change(&entry(json)).expect_err(says);
            assert_eq!(error.status(), 400);
            assert!(error.to_string().contains(says), "{error}");
        };
        check(json!({"offset": {"kafka_offset": 5}}), "cannot be null or missing");
        check(json!({"partition": {"kafka_topic": "t"}}), "must contain the keys");
        check(
            json!({"partition": {"kafka_topic": "t", "kafka_partition": 1.0}}),
            "partition value in the provided offsets: '1.0'",
        );
        check(json!({"partition": {"kafka_topic": "t", "kafka_partition": 1}, "offset": {}}), "the key 'kafka_offset'");
        let offset =
            |offset: Value| json!({"partition": {"kafka_topic": "t", "kafka_partition": 1}, "offset": {"kafka_offset": offset}});
        check(offset(json!({"a": [1, null]})), "offset value in the provided offsets: '{a=[1, null]}'");
        check(offset(json!(-1)), "-1 for t-1 is negative");
    }

    #[test]
    fn offsets_of_sources_hold_primitives_only() {
        let change = |json: Value| source_change("c", &entry(json), &SourceOffsets::default());
        let good = change(json!({"partition": {"file": "a", "n": null}, "offset": {"position": 5}})).expect("good");
        assert_eq!(good.record().key, r#"["c",{"file":"a","n":null}]"#);
        let error = change(json!({"partition": {"file": "a"}, "offset": {"position": [5]}})).expect_err("an array");
        assert_eq!(error.to_string(), "Offsets may only contain primitive types as values, but field position contains ARRAY");
        assert_eq!(change(json!({"offset": {}})).expect_err("no partition").status(), 400);
    }
}
