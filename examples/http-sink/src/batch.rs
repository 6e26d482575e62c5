//! What goes into one request: records of one partition that follow each other, and the key that names them.

use std::sync::Arc;

use penstock_plugin::{Error, Format, Result, SinkRecord, Value};
use serde_json::value::RawValue;

/// A record to be sent.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub topic: Arc<str>,
    pub partition: i32,
    pub offset: i64,
    /// JSON.
    pub body: String,
}

impl Entry {
    /// `None` for a tombstone, which has nothing to send.
    ///
    /// # Errors
    /// `Data` when the value cannot be sent.
    pub(crate) fn of(record: &SinkRecord, key_field: Option<&str>) -> Result<Option<Self>> {
        let value = &record.record.value;
        if value.is_null() {
            return Ok(None);
        }
        let json = match value.wire() {
            Some(encoded) if matches!(encoded.format, Format::Json) => {
                let text =
                    std::str::from_utf8(&encoded.bytes).map_err(|e| Error::data("the value is not UTF-8").with_source(e))?;
                text.trim().to_owned()
            }
            _ => {
                let view = value.view()?;
                if let Value::Bytes(_) = &view.value {
                    return Err(Error::data("the value is bytes, which JSON cannot carry: use another converter"));
                }
                let mut text = Vec::new();
                penstock_plugin::json::write(&view.value, &mut text)?;
                String::from_utf8(text).map_err(|e| Error::data("the value cannot be written as JSON").with_source(e))?
            }
        };
        let (topic, partition, offset) = (record.origin.topic.clone(), record.origin.partition, record.origin.offset);
        let body = match key_field {
            Some(field) => with_field(&json, field, &format!("{topic}-{partition}-{offset}"))?,
            None => json,
        };
        Ok(Some(Self { topic, partition, offset, body }))
    }

    fn follows(&self, earlier: &Self) -> bool {
        self.partition == earlier.partition && self.topic == earlier.topic && self.offset > earlier.offset
    }
}

/// The object with a field more, in front of the others; one that it has already of that name stays behind it, and counts no more.
fn with_field(json: &str, field: &str, value: &str) -> Result<String> {
    let inner =
        json.strip_prefix('{').ok_or_else(|| Error::data("the value is no JSON object, so it cannot carry idempotency.field"))?;
    let has_more = inner.trim_start() != "}";
    let text = |text: &str| serde_json::Value::from(text).to_string();
    if has_more {
        let fields: std::collections::BTreeMap<String, &RawValue> =
            serde_json::from_str(json).map_err(|e| Error::data("the value is no JSON object").with_source(e))?;
        if fields.contains_key(field) {
            return Err(Error::data(format!("the value has a field {field} already: set idempotency.field to another name")));
        }
    }
    Ok(format!("{{{}:{}{}{inner}", text(field), text(value), if has_more { "," } else { "" }))
}

/// Entries for one request each, in their order.
pub(crate) fn batches(entries: Vec<Entry>, records_max: usize, bytes_max: usize) -> Vec<Vec<Entry>> {
    let mut batches: Vec<Vec<Entry>> = Vec::new();
    let mut bytes = 0;
    for entry in entries {
        let fits = batches.last().and_then(|batch| batch.last()).is_some_and(|last| entry.follows(last))
            && batches.last().is_some_and(|batch| batch.len() < records_max)
            && bytes + entry.body.len() <= bytes_max;
        if !fits {
            batches.push(Vec::new());
            bytes = 0;
        }
        bytes += entry.body.len() + 1;
        batches.last_mut().expect("there is one now").push(entry);
    }
    batches
}

/// The key of a request: the same for the same records.
pub(crate) fn key(batch: &[Entry]) -> String {
    match batch {
        [] => String::new(),
        [Entry { topic, partition, offset, .. }] => format!("{topic}-{partition}-{offset}"),
        [first, .., last] => format!("{}-{}-{}-{}", first.topic, first.partition, first.offset, last.offset),
    }
}

/// The body of a request.
pub(crate) fn body(batch: &[Entry], is_array: bool) -> String {
    match batch {
        [only] if !is_array => only.body.clone(),
        entries => format!("[{}]", entries.iter().map(|entry| entry.body.as_str()).collect::<Vec<_>>().join(",")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(partition: i32, offset: i64, body: &str) -> Entry {
        Entry { topic: "t".into(), partition, offset, body: body.to_owned() }
    }

    #[test]
    fn a_batch_is_of_one_partition_and_within_its_limits() {
        let entries = vec![entry(0, 1, "1"), entry(0, 2, "2"), entry(0, 4, "4"), entry(1, 5, "5"), entry(1, 6, "123456789")];
        let keys = |records_max, bytes_max| -> Vec<String> {
            batches(entries.clone(), records_max, bytes_max).iter().map(|batch| key(batch)).collect()
        };
        assert_eq!(keys(100, 1_000), ["t-0-1-4", "t-1-5-6"]);
        assert_eq!(keys(2, 1_000), ["t-0-1-2", "t-0-4", "t-1-5-6"]);
        assert_eq!(keys(100, 8), ["t-0-1-4", "t-1-5", "t-1-6"]);
        assert_eq!(body(&entries[..2], true), "[1,2]");
        assert_eq!((body(&entries[..1], true), body(&entries[..1], false)), ("[1]".to_owned(), "1".to_owned()));
    }

    #[test]
    fn each_record_carries_its_key() {
        assert_eq!(with_field(r#"{"a":1}"#, "key", "t-0-1").unwrap(), r#"{"key":"t-0-1","a":1}"#);
        assert_eq!(with_field("{ }", "key", "t-0-1").unwrap(), r#"{"key":"t-0-1" }"#);
        assert!(with_field("7", "key", "x").unwrap_err().to_string().contains("idempotency.field"));
        assert!(with_field(r#"{"key":1}"#, "key", "x").unwrap_err().to_string().contains("already"));
    }
}
