//! Source partitions and offsets as MirrorMaker keeps them: `{"cluster", "partition", "topic"}` and `{"offset"}`, the last one copied.

use penstock_api::{Error, Result, SourceMap, TopicPartition};
use serde_json::Value;

const CLUSTER: &str = "cluster";
const PARTITION: &str = "partition";
const TOPIC: &str = "topic";
pub(crate) const OFFSET: &str = "offset";

/// The source partition of a partition of that cluster.
pub(crate) fn partition_of(cluster: &str, partition: &TopicPartition) -> SourceMap {
    let fields = [(CLUSTER, cluster.into()), (PARTITION, partition.partition.into()), (TOPIC, (*partition.topic).into())];
    fields.map(|(key, value): (&str, Value)| (key.to_owned(), value)).into_iter().collect()
}

/// The offset to go on from.
pub(crate) fn next_of(stored: &SourceMap) -> Result<i64> {
    let offset = stored.get(OFFSET).and_then(Value::as_i64).filter(|offset| (0..i64::MAX).contains(offset));
    offset.map(|offset| offset + 1).ok_or_else(|| {
        let stored = Value::from(stored.clone());
        Error::config(format!("{stored} is no offset: expected {{\"{OFFSET}\": N}}, that of the last record copied, from 0"))
    })
}

/// Whether a user's change makes sense. To forget anything does.
pub(crate) fn check(partition: &SourceMap, offset: Option<&SourceMap>) -> Result<()> {
    let Some(offset) = offset else { return Ok(()) };
    if partition.len() != 3 || !has_texts(partition, &[CLUSTER, TOPIC]) || !has_number(partition) {
        let shown = Value::from(partition.clone());
        return Err(Error::config(format!(
            "{shown} is no partition: expected {{\"{CLUSTER}\": its alias, \"{PARTITION}\": N, \"{TOPIC}\": its name}}"
        )));
    }
    next_of(offset).map(drop)
}

/// The same for connectors that note offsets without a meaning: partitions with these texts, and a number if `is_numbered`.
pub(crate) fn check_fixed(partition: &SourceMap, offset: Option<&SourceMap>, texts: &[&str], is_numbered: bool) -> Result<()> {
    let Some(offset) = offset else { return Ok(()) };
    if !has_texts(partition, texts) || (is_numbered && !has_number(partition)) {
        let (shown, numbered) = (Value::from(partition.clone()), if is_numbered { " and a number `partition`" } else { "" });
        return Err(Error::config(format!("{shown} is no partition: expected texts {texts:?}{numbered}")));
    }
    if offset.get(OFFSET).and_then(Value::as_i64) == Some(0) {
        return Ok(());
    }
    let shown = Value::from(offset.clone());
    Err(Error::config(format!("{shown} is no offset: expected {{\"{OFFSET}\": 0}}, for nothing is read from where it says")))
}

fn has_texts(partition: &SourceMap, keys: &[&str]) -> bool {
    keys.iter().all(|key| partition.get(*key).is_some_and(Value::is_string))
}

fn has_number(partition: &SourceMap) -> bool {
    partition.get(PARTITION).and_then(Value::as_i64).is_some_and(|number| (0..=i32::MAX.into()).contains(&number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_mirrormakers() {
        let partition = partition_of("west", &TopicPartition { topic: "t".into(), partition: 3 });
        assert_eq!(Value::from(partition.clone()).to_string(), r#"{"cluster":"west","partition":3,"topic":"t"}"#);
        let offset = |text: &str| serde_json::from_str::<SourceMap>(text).unwrap();
        assert_eq!(next_of(&offset(r#"{"offset":41}"#)).unwrap(), 42);
        check(&partition, Some(&offset(r#"{"offset":0}"#))).unwrap();
        check(&partition, None).unwrap();
        for wrong in [r#"{"offset":-1}"#, r#"{"offset":"1"}"#, "{}"] {
            assert!(check(&partition, Some(&offset(wrong))).is_err(), "{wrong}");
        }
        let incomplete = offset(r#"{"topic":"t","partition":0}"#);
        assert!(check(&incomplete, Some(&offset(r#"{"offset":0}"#))).is_err());
        check(&incomplete, None).unwrap();
    }

    #[test]
    fn offsets_without_a_meaning_are_zero() {
        let map = |text: &str| serde_json::from_str::<SourceMap>(text).unwrap();
        let check = |partition: &str, offset: &str| check_fixed(&map(partition), Some(&map(offset)), &["group"], true).is_ok();
        assert!(check(r#"{"group":"g","partition":0}"#, r#"{"offset":0}"#));
        assert!(!check(r#"{"group":"g","partition":0}"#, r#"{"offset":1}"#));
        assert!(!check(r#"{"group":"g"}"#, r#"{"offset":0}"#));
        assert!(!check(r#"{"group":1,"partition":0}"#, r#"{"offset":0}"#));
    }
}
