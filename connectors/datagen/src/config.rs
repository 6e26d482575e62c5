//! The keys, typed, and how the work is split.

use penstock_api::config::{Check, split_list};
use penstock_api::{ConfigDef, ConfigKey, ConfigType, Error, Importance, Props, Result};
use std::fmt::Write;

use crate::events::Kind;

const EVENTS: &str = "datagen.events";
const TOPIC_PREFIX: &str = "datagen.topic.prefix";
const RATE: &str = "datagen.rate";
const RECORDS_MAX: &str = "datagen.records.max";
const SEED: &str = "datagen.seed";
const SKEW: &str = "datagen.keys.skew";
const MALFORMED: &str = "datagen.malformed.share";
const VALUES: &str = "datagen.values";
/// The connector's own, for its tasks: which kinds are theirs.
const TASK_EVENTS: &str = "datagen.task.events";

/// What a task makes.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) streams: Vec<Stream>,
    pub(crate) topic_prefix: String,
    pub(crate) seed: u64,
    /// 1: all keys come alike; the higher, the more of the records have few of the keys.
    pub(crate) skew: f64,
    /// How many of all records are malformed, from 0 to 1.
    pub(crate) malformed: f64,
    /// Values are JSON text instead of structs with a schema.
    pub(crate) is_text: bool,
}

/// Events of a kind.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Stream {
    pub(crate) kind: Kind,
    /// Records a second; `None`: as fast as can be.
    pub(crate) rate: Option<f64>,
    /// How many there are at all; `None`: no end.
    pub(crate) records_max: Option<u64>,
}

/// The keys.
pub(crate) fn def() -> ConfigDef {
    let key = |name, kind, default, doc| ConfigKey::optional(name, kind, default, doc);
    ConfigDef::new([
        key(
            EVENTS,
            ConfigType::List,
            "interactions:12,orders:4,inventory:3,support:1",
            "Which events: interactions, orders, inventory, support, each with a weight behind a colon (1 without): its part of the \
             rate and of the records.",
        )
        .check(Check::Custom(|text| weights(text).map(drop)))
        .importance(Importance::High),
        key(TOPIC_PREFIX, ConfigType::String, "retail.", "Events go to the topic that is named by this and their kind.")
            .importance(Importance::High),
        key(RATE, ConfigType::Double, "100", "Records a second, of all kinds together. 0: as fast as can be.")
            .check(Check::Min(0.0))
            .importance(Importance::High),
        key(RECORDS_MAX, ConfigType::Long, "0", "How many records there are, of all kinds together, then the tasks idle. 0: no end.")
            .check(Check::Min(0.0)),
        key(SEED, ConfigType::Long, "0", "The same seed makes the same events."),
        key(
            SKEW,
            ConfigType::Double,
            "2",
            "How unlike keys come: 1: each as often as others; 2: a tenth of the customers in a third of their records; 5: in two thirds.",
        )
        .check(Check::Range(1.0, 100.0)),
        key(MALFORMED, ConfigType::Double, "0", "The share of records that are malformed, from 0 to 1: broken JSON, as a text.")
            .check(Check::Range(0.0, 1.0)),
        key(
            VALUES,
            ConfigType::String,
            "struct",
            "struct: values have a schema, for any converter. json: they are JSON as text, for StringConverter; what is malformed \
             then is no JSON for those who read it.",
        )
        .check(Check::OneOf(vec!["struct".into(), "json".into()])),
    ])
}

/// Kinds with their weights.
fn weights(text: &str) -> Result<Vec<(Kind, u64)>, String> {
    let mut found: Vec<(Kind, u64)> = Vec::new();
    for item in split_list(text) {
        let (name, weight) = item.split_once(':').unwrap_or((&item, "1"));
        let kind = Kind::named(name.trim()).ok_or_else(|| format!("{name} is none of {}", Kind::NAMES.join(", ")))?;
        let weight = weight.trim().parse::<u32>().ok().filter(|weight| *weight > 0);
        let weight = weight.ok_or_else(|| format!("the weight of {name} must be a whole number above 0"))?;
        if found.iter().any(|(known, _)| *known == kind) {
            return Err(format!("{name} is there twice"));
        }
        found.push((kind, weight.into()));
    }
    if found.is_empty() { Err(format!("name some of {}", Kind::NAMES.join(", "))) } else { Ok(found) }
}

/// One configuration for each task: kinds are dealt out in turn.
pub(crate) fn tasks(config: &Props, tasks_max: u32) -> Result<Vec<Props>> {
    let parsed = def().parse(config)?;
    let kinds = weights(parsed.string(EVENTS)).map_err(Error::config)?;
    let mut shares = vec![String::new(); kinds.len().min(tasks_max as usize)];
    let count = shares.len().max(1);
    for (at, (kind, _)) in kinds.iter().enumerate() {
        let share = &mut shares[at % count];
        let comma = if share.is_empty() { "" } else { "," };
        write!(share, "{comma}{}", kind.name()).expect("a text takes everything");
    }
    let with = |share: String| {
        let mut task = config.clone();
        task.insert(TASK_EVENTS.into(), share);
        task
    };
    Ok(shares.into_iter().map(with).collect())
}

/// Reads a task's keys.
pub(crate) fn parse(props: &Props) -> Result<Settings> {
    let parsed = def().parse(props)?;
    let kinds = weights(parsed.string(EVENTS)).map_err(Error::config)?;
    let own = props.get(TASK_EVENTS).map(|names| split_list(names));
    let streams = streams(&kinds, parsed.number(RATE), parsed.number(RECORDS_MAX)).into_iter();
    Ok(Settings {
        streams: streams
            .filter(|stream| own.as_ref().is_none_or(|own| own.iter().any(|name| name == stream.kind.name())))
            .collect(),
        topic_prefix: parsed.string(TOPIC_PREFIX).to_owned(),
        seed: parsed.number::<i64>(SEED).cast_unsigned(),
        skew: parsed.number(SKEW),
        malformed: parsed.number(MALFORMED),
        is_text: parsed.string(VALUES) == "json",
    })
}

/// Shares rate and records out by weight, so that all records of the sum are in some share.
fn streams(kinds: &[(Kind, u64)], rate: f64, records_max: u64) -> Vec<Stream> {
    let all: u64 = kinds.iter().map(|(_, weight)| weight).sum();
    let part = |below: u64| (u128::from(records_max) * u128::from(below) / u128::from(all)) as u64;
    let mut below = 0;
    let stream = |&(kind, weight): &(Kind, u64)| {
        let records = part(below + weight) - part(below);
        below += weight;
        let rate = Some(rate * weight as f64 / all as f64).filter(|rate| *rate > 0.0);
        Stream { kind, rate, records_max: (records_max > 0).then_some(records) }
    };
    kinds.iter().map(stream).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn props<const N: usize>(pairs: [(&str, &str); N]) -> Props {
        pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).into()
    }

    #[test]
    fn each_kind_is_one_tasks() {
        let plan = tasks(&props([("name", "d")]), 3).unwrap();
        let kinds: Vec<_> = plan.iter().map(|task| task[TASK_EVENTS].as_str()).collect();
        assert_eq!(kinds, ["interactions,support", "orders", "inventory"]);
        assert_eq!(tasks(&props([(EVENTS, "orders")]), 9).unwrap().len(), 1);
        let first = parse(&plan[0]).unwrap();
        assert_eq!(
            first.streams.iter().map(|s| (s.kind.name(), s.rate)).collect::<Vec<_>>(),
            [("interactions", Some(60.0)), ("support", Some(5.0))]
        );
    }

    #[test]
    fn no_record_of_the_sum_is_missing() {
        for max in [1, 2, 3, 10, 999] {
            let kinds = weights("interactions:12,orders:4,inventory:3,support:1").unwrap();
            let sum: u64 = streams(&kinds, 0.0, max).iter().map(|stream| stream.records_max.unwrap()).sum();
            assert_eq!(sum, max);
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        let check = |events: &str, shown: &str, message: &str| {
            let error = tasks(&props([(EVENTS, events)]), 1).unwrap_err().to_string();
            assert_eq!(error, format!("Invalid value {shown} for configuration datagen.events: {message}"));
        };
        check("order", "[order]", "order is none of interactions, orders, inventory, support");
        check("orders,orders:2", "[orders, orders:2]", "orders is there twice");
        check("orders:x", "[orders:x]", "the weight of orders must be a whole number above 0");
        check("", "[]", "name some of interactions, orders, inventory, support");
    }
}
