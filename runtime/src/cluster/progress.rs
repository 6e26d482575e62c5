//! How far a connector is.

use penstock_api::Props;
use serde_json::{Value, json};

use super::error::{HerderError, Result};
use super::herder::Shared;
use super::view::{ConnectorOffset, ConnectorType};
use crate::store::Read;
use crate::store::offsets::{SourceOffset, SourceOffsets};

/// What a sink's consumer group has committed, or what a source's tasks have stored.
pub(super) async fn offsets(shared: &Shared, name: &str, props: &Props) -> Result<Vec<ConnectorOffset>> {
    let answer = match shared.starter.describe(props).kind {
        ConnectorType::Sink => of_sink(shared, name, props).await,
        ConnectorType::Source | ConnectorType::Unknown => of_source(shared, name).await,
    };
    answer.map_err(|error| HerderError::Internal(format!("Failed to retrieve offsets for connector {name}: {error:#}")))
}

async fn of_sink(shared: &Shared, name: &str, props: &Props) -> penstock_api::Result<Vec<ConnectorOffset>> {
    let group = props.get("consumer.override.group.id").cloned().unwrap_or_else(|| format!("connect-{name}"));
    let committed = shared.clients.admin()?.group_offsets(&group).await?;
    let offset = |(at, offset): (penstock_api::TopicPartition, i64)| ConnectorOffset {
        partition: json!({"kafka_partition": at.partition, "kafka_topic": &*at.topic}),
        offset: json!({ "kafka_offset": offset }),
    };
    Ok(committed.into_iter().map(offset).collect())
}

/// Read for the occasion: nothing here needs source offsets all the time.
async fn of_source(shared: &Shared, name: &str) -> penstock_api::Result<Vec<ConnectorOffset>> {
    let mut reader = shared.clients.reader(&shared.offset_topic).await?;
    let mut offsets = SourceOffsets::default();
    while let Read::Record { at, key, value } = reader.next().await {
        match SourceOffset::parse(&key, value.as_deref()) {
            Ok(record) if &*record.connector == name => offsets.apply(record),
            Ok(_) => {}
            Err(why) => tracing::error!(topic = %shared.offset_topic, %at, "skipped a record: {why}"),
        }
    }
    let stored = offsets.of(name).map(|(partition, offset)| ConnectorOffset {
        partition: Value::Object(partition.clone()),
        offset: Value::Object(offset.clone()),
    });
    Ok(stored.collect())
}
