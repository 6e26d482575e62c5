//! Offsets of groups that nobody is in: list, alter, delete. rust-rdkafka has no calls for these.

use penstock_api::TopicPartition;
use rdkafka::bindings as rd;
use rdkafka::client::NativeClient;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::{Offset, TopicPartitionList};
use std::collections::BTreeMap;
use std::time::Duration;

use super::native::{Element, Failed, ask, c_string, check_answer, elements, first_failure};

/// What to do with the offsets.
#[derive(Clone, Copy)]
pub(super) enum Change {
    Alter,
    Delete,
}

/// What a group has committed for a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    pub offset: i64,
    /// A text of the group's own; empty when there is none.
    pub note: String,
}

impl From<i64> for Committed {
    fn from(offset: i64) -> Self {
        Self { offset, note: String::new() }
    }
}

/// What a group has committed, by partition.
pub type Commits = BTreeMap<TopicPartition, Committed>;

/// All offsets of a group. Blocks.
pub(super) fn list(client: &NativeClient, group: &str, timeout: Duration) -> Result<Commits, Failed> {
    let group = c_string(group);
    // SAFETY: without partitions librdkafka lists all; the request and its options are destroyed below, the event is read before.
    let found = unsafe {
        let mut request = rd::rd_kafka_ListConsumerGroupOffsets_new(group.as_ptr(), std::ptr::null());
        let found = ask(
            client,
            rd::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_LISTCONSUMERGROUPOFFSETS,
            timeout,
            |options, queue| {
                rd::rd_kafka_ListConsumerGroupOffsets(client.ptr(), &raw mut request, 1, options, queue);
            },
            |event| {
                let result = rd::rd_kafka_event_ListConsumerGroupOffsets_result(event);
                read(|count| rd::rd_kafka_ListConsumerGroupOffsets_result_groups(result, count))
            },
        );
        rd::rd_kafka_ListConsumerGroupOffsets_destroy(request);
        found?
    };
    first_failure(&found)?;
    let committed = found.into_iter().filter(|e| e.offset >= 0);
    let commit = |e: Element| {
        (TopicPartition { topic: e.topic.into(), partition: e.partition }, Committed { offset: e.offset, note: e.note })
    };
    Ok(committed.map(commit).collect())
}

/// Alters or deletes offsets of a group. Blocks.
pub(super) fn change(
    client: &NativeClient,
    group: &str,
    wanted: &[(TopicPartition, Option<Committed>)],
    change: Change,
    timeout: Duration,
) -> Result<(), Failed> {
    let group = c_string(group);
    let mut list = TopicPartitionList::with_capacity(wanted.len());
    for (partition, committed) in wanted {
        let offset = committed.as_ref().map_or(Offset::Invalid, |committed| Offset::Offset(committed.offset));
        let added = list.add_partition_offset(&partition.topic, partition.partition, offset);
        added.map_err(|e| Failed { code: RDKafkaErrorCode::InvalidArgument, message: e.to_string() })?;
        if let Some(note) = committed.as_ref().map(|committed| &committed.note).filter(|note| !note.is_empty())
            && let Some(mut element) = list.find_partition(&partition.topic, partition.partition)
        {
            element.set_metadata(note);
        }
    }
    use rd::rd_kafka_admin_op_t as Op;
    // SAFETY: librdkafka copies group and list; requests are destroyed below, events are read before they are destroyed.
    let found = unsafe {
        match change {
            Change::Alter => {
                let mut request = rd::rd_kafka_AlterConsumerGroupOffsets_new(group.as_ptr(), list.ptr());
                let found = ask(
                    client,
                    Op::RD_KAFKA_ADMIN_OP_ALTERCONSUMERGROUPOFFSETS,
                    timeout,
                    |options, queue| {
                        rd::rd_kafka_AlterConsumerGroupOffsets(client.ptr(), &raw mut request, 1, options, queue);
                    },
                    |event| {
                        let result = rd::rd_kafka_event_AlterConsumerGroupOffsets_result(event);
                        read(|count| rd::rd_kafka_AlterConsumerGroupOffsets_result_groups(result, count))
                    },
                );
                rd::rd_kafka_AlterConsumerGroupOffsets_destroy(request);
                found?
            }
            Change::Delete => {
                let mut request = rd::rd_kafka_DeleteConsumerGroupOffsets_new(group.as_ptr(), list.ptr());
                let found = ask(
                    client,
                    Op::RD_KAFKA_ADMIN_OP_DELETECONSUMERGROUPOFFSETS,
                    timeout,
                    |options, queue| {
                        rd::rd_kafka_DeleteConsumerGroupOffsets(client.ptr(), &raw mut request, 1, options, queue);
                    },
                    |event| {
                        let result = rd::rd_kafka_event_DeleteConsumerGroupOffsets_result(event);
                        read(|count| rd::rd_kafka_DeleteConsumerGroupOffsets_result_groups(result, count))
                    },
                );
                rd::rd_kafka_DeleteConsumerGroupOffsets_destroy(request);
                found?
            }
        }
    };
    first_failure(&found)
}

type Groups = *mut *const rd::rd_kafka_group_result_t;

/// The offsets of the one group that was asked about.
///
/// # Safety
/// `groups` reads an answer that lives as long as this call.
unsafe fn read(groups: impl FnOnce(*mut usize) -> Groups) -> Result<Vec<Element>, Failed> {
    // SAFETY: the caller's promise; librdkafka's texts and lists live as long as the answer.
    unsafe {
        let mut count = 0;
        let groups = groups(&raw mut count);
        if count == 0 {
            return Ok(Vec::new());
        }
        let group = *groups;
        check_answer(rd::rd_kafka_group_result_error(group))?;
        let list = rd::rd_kafka_group_result_partitions(group);
        Ok(if list.is_null() { Vec::new() } else { elements(list) })
    }
}
