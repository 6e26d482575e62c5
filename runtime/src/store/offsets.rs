//! The offset topic: how far source connectors are. Sinks have their consumer groups instead.

use std::collections::BTreeMap;
use std::sync::Arc;

pub use penstock_api::SourceMap;
use serde_json::Value;

use super::event::Record;
use super::json;

/// The newest offset of each source partition.
#[derive(Clone, Debug, Default)]
pub struct SourceOffsets {
    /// By connector, then by the partition in JSON with sorted keys: equal maps are one partition however they were written.
    partitions: BTreeMap<Arc<str>, BTreeMap<String, (SourceMap, SourceMap)>>,
}

/// A record of the offset topic; `offset: None` forgets the partition.
#[derive(Clone, Debug, PartialEq)]
pub struct SourceOffset {
    pub connector: Arc<str>,
    pub partition: SourceMap,
    pub offset: Option<SourceMap>,
}

impl SourceOffset {
    /// Reads a record.
    ///
    /// # Errors
    /// Why it makes no sense; such a record is to be logged and skipped.
    pub fn parse(key: &str, value: Option<&[u8]>) -> Result<Self, String> {
        let key: Value = serde_json::from_str(key).map_err(|e| format!("the key is not JSON: {e}"))?;
        let (connector, partition) = match key.as_array().map(Vec::as_slice) {
            Some([Value::String(connector), Value::Object(partition)]) => (connector.as_str().into(), partition.clone()),
            _ => return Err("the key is not a connector's name and a partition".into()),
        };
        let offset = match value.map(serde_json::from_slice).transpose() {
            Ok(None | Some(Value::Null)) => None,
            Ok(Some(Value::Object(offset))) => Some(offset),
            Ok(Some(_)) => return Err("the value is not a map".into()),
            Err(error) => return Err(format!("the value is not JSON: {error}")),
        };
        Ok(Self { connector, partition, offset })
    }

    /// What a user asks for. A partition that has an offset keeps its key as that was written, for one key in another order is
    /// another key to Kafka; else maps stand in the order in which Java writes what it is asked for.
    #[must_use]
    pub fn asked_for(connector: &str, partition: &SourceMap, offset: Option<&SourceMap>, stored: &SourceOffsets) -> Self {
        let known = stored.partitions.get(connector).and_then(|partitions| partitions.get(&canonical(partition)));
        let partition = known.map_or_else(|| in_javas_order(partition), |(partition, _)| partition.clone());
        Self { connector: connector.into(), partition, offset: offset.map(in_javas_order) }
    }

    /// Its bytes, as Java writes them but for the order within the maps, which is kept.
    #[must_use]
    pub fn record(&self) -> Record {
        let bytes = |value: &Value| json::to_vec(value).expect("JSON values always become JSON");
        let key = bytes(&Value::from(vec![Value::from(&*self.connector), Value::Object(self.partition.clone())]));
        Record {
            key: String::from_utf8(key).expect("JSON is text"),
            value: self.offset.clone().map(|offset| bytes(&Value::Object(offset))),
        }
    }
}

impl SourceOffsets {
    /// Takes in a record; later ones go before earlier ones.
    pub fn apply(&mut self, record: SourceOffset) {
        let partitions = self.partitions.entry(record.connector).or_default();
        let key = canonical(&record.partition);
        match record.offset {
            Some(offset) => drop(partitions.insert(key, (record.partition, offset))),
            None => drop(partitions.remove(&key)),
        }
    }

    /// The partitions of a connector with their offsets.
    pub fn of(&self, connector: &str) -> impl Iterator<Item = (&SourceMap, &SourceMap)> {
        self.partitions.get(connector).into_iter().flatten().map(|(_, (partition, offset))| (partition, offset))
    }

    /// The offset of one partition.
    #[must_use]
    pub fn get(&self, connector: &str, partition: &SourceMap) -> Option<&SourceMap> {
        self.partitions.get(connector)?.get(&canonical(partition)).map(|(_, offset)| offset)
    }
}

/// JSON with sorted keys: equal maps have it in common however they were written.
#[must_use]
pub fn canonical(map: &SourceMap) -> String {
    let sorted: BTreeMap<_, _> = map.iter().map(|(key, value)| (key, value.to_string())).collect();
    format!("{sorted:?}")
}

fn in_javas_order(map: &SourceMap) -> SourceMap {
    json::filled_hash_map_order(map).into_iter().map(|(key, value)| (key.to_owned(), value.clone())).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn map(value: Value) -> SourceMap {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn javas_records_are_read_and_written_again() {
        let lines = include_str!("recorded/offsets.tsv").lines().filter(|line| !line.starts_with('#'));
        let mut offsets = SourceOffsets::default();
        let partition = map(json!({"filename": "in.txt"}));
        for (line, expected) in lines.zip([Some(8), Some(3), None]) {
            let columns: Vec<_> = line.splitn(4, '\t').collect();
            let value = Some(columns[3].as_bytes()).filter(|v| *v != b"NULL");
            let record = SourceOffset::parse(columns[2], value).unwrap();
            assert_eq!(record.record().key, columns[2]);
            assert_eq!(record.record().value.as_deref(), value);
            offsets.apply(record);
            assert_eq!(offsets.get("src", &partition).map(|o| o["position"].as_i64()), expected.map(Some));
        }
        assert_eq!(offsets.of("src").count(), 0);
    }

    #[test]
    fn equal_partitions_are_one_whatever_their_order() {
        let mut offsets = SourceOffsets::default();
        for (partition, at) in [(json!({"a": 1, "b": "x"}), 1), (json!({"b": "x", "a": 1}), 2)] {
            let offset = Some(map(json!({ "at": at })));
            offsets.apply(SourceOffset { connector: "c".into(), partition: map(partition), offset });
        }
        let all: Vec<_> = offsets.of("c").map(|(_, offset)| offset["at"].as_i64()).collect();
        assert_eq!(all, [Some(2)]);
    }

    #[test]
    fn equal_partitions_have_one_key_whatever_their_order() {
        let mut stored = SourceOffsets::default();
        let key =
            |partition: Value, stored: &SourceOffsets| SourceOffset::asked_for("src", &map(partition), None, stored).record().key;
        for partition in [json!({"none": null, "part": 1, "file": "c"}), json!({"part": 1, "file": "c", "none": null})] {
            assert_eq!(key(partition, &stored), r#"["src",{"file":"c","part":1,"none":null}]"#);
        }
        let written = r#"["src",{"none":null,"part":1,"file":"c"}]"#;
        stored.apply(SourceOffset::parse(written, Some(b"{}")).unwrap());
        assert_eq!(key(json!({"file": "c", "none": null, "part": 1}), &stored), written);
    }

    #[test]
    fn garbage_is_refused_with_a_reason() {
        let check = |key: &str, value: &str, reason: &str| {
            let error = SourceOffset::parse(key, Some(value.as_bytes())).unwrap_err();
            assert!(error.contains(reason), "{error}");
        };
        check("src", "{}", "key is not JSON");
        check(r#"["src"]"#, "{}", "partition");
        check(r#"["src",{}]"#, "[1]", "not a map");
    }
}
