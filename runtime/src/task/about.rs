//! What a task is made of, for its metrics.

use penstock_api::{Props, TaskId};

use crate::config::{ConnectorConfig, PluginUse};
use crate::metrics::{About, Class};

/// The classes and versions of a task's parts. `props` are the task's own.
#[must_use]
pub fn about(id: &TaskId, connector: &ConnectorConfig, props: &Props) -> About {
    let plugin = &connector.plugin;
    let version = plugin.version.clone();
    About {
        connector: Class { class: plugin.class.clone(), version: version.clone() },
        connector_type: plugin.kind().name(),
        task: Class { class: props.get("task.class").cloned().unwrap_or_default(), version },
        key_converter: class(&connector.key_converter),
        value_converter: class(&connector.value_converter),
        header_converter: class(&connector.header_converter),
        transforms: connector.transforms.iter().map(|step| (step.alias.to_string(), class(&step.used))).collect(),
        predicates: connector.predicates.iter().map(|step| (step.alias.to_string(), class(&step.used))).collect(),
        client_id: connector.consumer.get("client.id").cloned().unwrap_or_else(|| client_id(id)),
    }
}

/// The name of a source task's producer, as Java's workers make it.
pub(super) fn producer_client_id(id: &TaskId) -> String {
    format!("connector-producer-{id}")
}

/// The name of a task's consumer, as Java's workers make it.
pub(super) fn client_id(id: &TaskId) -> String {
    format!("connector-consumer-{id}")
}

fn class(used: &PluginUse) -> Class {
    Class { class: used.class.to_string(), version: used.plugin.version.clone() }
}
