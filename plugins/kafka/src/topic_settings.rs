//! Settings of a topic: where each comes from, and changes of single ones. rust-rdkafka has no call for those.

use rdkafka::admin::{ConfigEntry, ConfigSource};
use rdkafka::bindings as rd;
use rdkafka::client::NativeClient;
use std::collections::BTreeMap;
use std::time::Duration;

use super::native::{Failed, ask, c_string, check_error, check_resource};

/// A setting that holds for a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicSetting {
    pub name: String,
    /// `None` when it is not told, or null.
    pub value: Option<String>,
    pub source: SettingSource,
    pub is_read_only: bool,
    pub is_sensitive: bool,
}

/// Who has set it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SettingSource {
    /// The topic's own.
    Topic,
    /// Set for a broker or for all of them while they ran.
    Broker,
    /// Stands in a broker's file.
    BrokerFile,
    Default,
    Unknown,
}

/// What is to become of a setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SettingChange {
    Set(String),
    /// What holds for all topics holds again.
    Unset,
}

impl From<ConfigEntry> for TopicSetting {
    fn from(entry: ConfigEntry) -> Self {
        let source = match entry.source {
            ConfigSource::DynamicTopic => SettingSource::Topic,
            ConfigSource::DynamicBroker | ConfigSource::DynamicDefaultBroker => SettingSource::Broker,
            ConfigSource::StaticBroker => SettingSource::BrokerFile,
            ConfigSource::Default => SettingSource::Default,
            ConfigSource::Unknown => SettingSource::Unknown,
        };
        let ConfigEntry { name, value, is_read_only, is_sensitive, .. } = entry;
        Self { name, value, source, is_read_only, is_sensitive }
    }
}

/// Changes single settings of a topic and leaves the others. Blocks.
pub(super) fn change(
    client: &NativeClient,
    topic: &str,
    changes: &BTreeMap<String, SettingChange>,
    timeout: Duration,
) -> Result<(), Failed> {
    use rd::rd_kafka_AlterConfigOpType_t as Op;
    let topic = c_string(topic);
    // SAFETY: librdkafka copies texts; the resource is destroyed below, and the answer is read before it is.
    unsafe {
        let mut resource = rd::rd_kafka_ConfigResource_new(rd::rd_kafka_ResourceType_t::RD_KAFKA_RESOURCE_TOPIC, topic.as_ptr());
        let mut added = Ok(());
        for (name, change) in changes {
            let name = c_string(name);
            let error = match change {
                SettingChange::Set(value) => {
                    let (op, value) = (Op::RD_KAFKA_ALTER_CONFIG_OP_TYPE_SET, c_string(value));
                    rd::rd_kafka_ConfigResource_add_incremental_config(resource, name.as_ptr(), op, value.as_ptr())
                }
                SettingChange::Unset => {
                    let op = Op::RD_KAFKA_ALTER_CONFIG_OP_TYPE_DELETE;
                    rd::rd_kafka_ConfigResource_add_incremental_config(resource, name.as_ptr(), op, std::ptr::null())
                }
            };
            added = added.and(check_error(error));
        }
        let changed = added.and_then(|()| {
            ask(
                client,
                rd::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_INCREMENTALALTERCONFIGS,
                timeout,
                |options, queue| rd::rd_kafka_IncrementalAlterConfigs(client.ptr(), &raw mut resource, 1, options, queue),
                |event| {
                    let result = rd::rd_kafka_event_IncrementalAlterConfigs_result(event);
                    let mut count = 0;
                    let resources = rd::rd_kafka_IncrementalAlterConfigs_result_resources(result, &raw mut count);
                    if count == 0 { Ok(()) } else { check_resource(*resources) }
                },
            )
        });
        rd::rd_kafka_ConfigResource_destroy(resource);
        changed
    }
}
