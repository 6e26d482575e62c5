//! Copies settings of topics from the source to the target, as MirrorMaker does: `sync.topic.configs.enabled`.

use penstock_api::Result;
use penstock_kafka_clients::Admin;
use penstock_kafka_clients::admin::{SettingChange, SettingSource, TopicSetting};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

use crate::policy::{Filter, Policy};

/// What a topic is created with: what differs from the source's defaults.
pub(crate) fn of_new(at_source: &[TopicSetting], properties: &Filter) -> BTreeMap<String, String> {
    let set = wanted(at_source, properties).filter(|setting| setting.source != SettingSource::Default);
    set.filter_map(|setting| Some((setting.name.clone(), setting.value.clone()?))).collect()
}

/// When the settings of a connector's topics were copied last, by the connector's name: it is planned anew more often than that is due.
#[derive(Default)]
pub(crate) struct Clock(Mutex<BTreeMap<String, Instant>>);

impl Clock {
    /// At once for one that has not been copied yet.
    pub(crate) fn next(&self, connector: &str, interval: Duration) -> Instant {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(connector).map_or_else(Instant::now, |last| *last + interval)
    }

    pub(crate) fn done(&self, connector: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(connector.to_owned(), Instant::now());
    }
}

/// Sets at the target what is set at the source, and unsets there what is not.
pub(crate) async fn sync(source: &Admin, target: &Admin, policy: &Policy, topics: &[String], properties: &Filter) -> Result<()> {
    let there = target.topics().await?;
    for topic in topics {
        let name = policy.name_here(topic);
        if !there.contains_key(&name) {
            continue;
        }
        let wanted = changes(&source.topic_settings(topic).await?, properties);
        let missing = missing(wanted, &target.topic_settings(&name).await?);
        if !missing.is_empty() {
            target.change_topic_settings(&name, &missing).await?;
            tracing::info!(topic = name, settings = ?missing.keys().collect::<Vec<_>>(), "copied settings of a topic");
        }
    }
    Ok(())
}

fn changes(at_source: &[TopicSetting], properties: &Filter) -> BTreeMap<String, SettingChange> {
    let change = |setting: &TopicSetting| match (&setting.value, setting.source) {
        (Some(value), source) if source != SettingSource::Default => SettingChange::Set(value.clone()),
        _ => SettingChange::Unset,
    };
    wanted(at_source, properties).map(|setting| (setting.name.clone(), change(setting))).collect()
}

/// What is not so yet.
fn missing(wanted: BTreeMap<String, SettingChange>, at_target: &[TopicSetting]) -> BTreeMap<String, SettingChange> {
    let is_missing = |name: &String, change: &SettingChange| {
        let found = at_target.iter().find(|setting| setting.name == *name);
        let own = found.filter(|setting| setting.source == SettingSource::Topic);
        match change {
            SettingChange::Set(value) => own.and_then(|setting| setting.value.as_ref()) != Some(value),
            SettingChange::Unset => own.is_some(),
        }
    };
    wanted.into_iter().filter(|(name, change)| is_missing(name, change)).collect()
}

/// What is the topic's own, or was set for all: not what somebody may not know or change, nor what a broker's file says.
fn wanted<'s>(at_source: &'s [TopicSetting], properties: &'s Filter) -> impl Iterator<Item = &'s TopicSetting> {
    let is_ours = |setting: &&TopicSetting| !setting.is_read_only && !setting.is_sensitive && properties.takes(&setting.name);
    at_source.iter().filter(is_ours).filter(|setting| setting.source != SettingSource::BrokerFile)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setting(name: &str, value: &str, source: SettingSource) -> TopicSetting {
        let (name, value) = (name.to_owned(), Some(value.to_owned()));
        TopicSetting { name, value, source, is_read_only: false, is_sensitive: false }
    }

    #[test]
    fn what_is_set_at_the_source_is_set_and_what_is_not_is_unset() {
        let properties = Filter::new(".*", "min.*").unwrap();
        let at_source = [
            setting("cleanup.policy", "compact", SettingSource::Topic),
            setting("retention.ms", "7", SettingSource::Broker),
            setting("segment.bytes", "9", SettingSource::BrokerFile),
            setting("min.insync.replicas", "2", SettingSource::Topic),
            setting("max.message.bytes", "1", SettingSource::Default),
        ];
        let new = of_new(&at_source, &properties);
        assert_eq!(
            new.into_iter().collect::<Vec<_>>(),
            [("cleanup.policy".to_owned(), "compact".to_owned()), ("retention.ms".to_owned(), "7".to_owned())]
        );
        let at_target = [
            setting("cleanup.policy", "compact", SettingSource::Topic),
            setting("max.message.bytes", "5", SettingSource::Topic),
            setting("retention.ms", "7", SettingSource::Default),
        ];
        let missing = missing(changes(&at_source, &properties), &at_target);
        let set = SettingChange::Set("7".to_owned());
        assert_eq!(missing, [("max.message.bytes".to_owned(), SettingChange::Unset), ("retention.ms".to_owned(), set)].into());
    }
}
