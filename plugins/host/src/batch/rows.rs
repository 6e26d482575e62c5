//! Where the records of a call lie: in a batch that is the call's own, or in one that a sink's worker shares.

use std::sync::Arc;

use penstock_api::{Batch, Record, SinkRecord};

pub(super) enum Rows {
    Own(Batch),
    /// Only what has to be changed in order to be read is copied.
    Shared {
        records: Arc<Vec<SinkRecord>>,
        /// Empty until there is one.
        copies: Vec<Option<Box<Record>>>,
    },
}

impl Rows {
    pub(super) fn shared(records: Arc<Vec<SinkRecord>>) -> Self {
        Rows::Shared { records, copies: Vec::new() }
    }

    pub(super) fn record(&self, at: usize) -> &Record {
        match self {
            Rows::Own(batch) => &batch.rows()[at].record,
            Rows::Shared { records, copies } => copies.get(at).and_then(Option::as_deref).unwrap_or_else(|| &records[at].record),
        }
    }

    pub(super) fn record_mut(&mut self, at: usize) -> &mut Record {
        match self {
            Rows::Own(batch) => &mut batch.rows_mut()[at].record,
            Rows::Shared { records, copies } => {
                copies.resize_with(records.len(), || None);
                copies[at].get_or_insert_with(|| Box::new(records[at].record.clone()))
            }
        }
    }

    /// For sinks: where the record was consumed, whatever transforms made of it.
    pub(super) fn partition(&self, at: usize) -> Option<i32> {
        match self {
            Rows::Own(batch) => batch.rows()[at].record.partition,
            Rows::Shared { records, .. } => Some(records[at].origin.partition),
        }
    }

    /// As for the partition.
    pub(super) fn offset(&self, at: usize) -> Option<i64> {
        match self {
            Rows::Own(batch) => batch.rows()[at].record.offset,
            Rows::Shared { records, .. } => Some(records[at].origin.offset),
        }
    }

    /// The call's own batch; none of what is shared.
    pub(super) fn into_batch(self) -> Batch {
        match self {
            Rows::Own(batch) => batch,
            Rows::Shared { .. } => Batch::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use penstock_api::{Format, Headers, Origin, Payload, RawRecord, TimestampType};

    #[test]
    fn what_is_shared_is_copied_when_it_is_changed_and_only_then() {
        let raw = RawRecord {
            topic: "consumed".into(),
            partition: 3,
            offset: 7,
            timestamp: None,
            timestamp_type: TimestampType::NoTimestamp,
            key: None,
            value: None,
            headers: None,
        };
        let record = Record {
            topic: "renamed".into(),
            partition: Some(0),
            key: Payload::null(),
            value: Payload::encoded("text".into(), Format::String),
            headers: Headers::new(),
            timestamp: None,
            offset: None,
        };
        let origin = Origin::new(Arc::new(vec![raw]), 0);
        let shown = SinkRecord { record, timestamp_type: TimestampType::NoTimestamp, origin };
        let shared = Arc::new(vec![shown.clone(), shown]);
        let mut rows = Rows::shared(shared.clone());
        rows.record_mut(1).value.decode().unwrap();
        assert!(rows.record(1).value.peek().is_some() && shared[1].record.value.peek().is_none());
        assert!(std::ptr::eq(rows.record(0), &shared[0].record), "not copied");
        assert_eq!((rows.partition(0), rows.offset(1)), (Some(3), Some(7)));
        drop(rows);
        assert_eq!(Arc::strong_count(&shared), 1);
    }
}
