//! Where partitions end, as a reader of all records or of committed ones only sees it: one question for any number of partitions.

use penstock_api::{Offsets, TopicPartition};
use rdkafka::bindings as rd;
use rdkafka::client::NativeClient;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::{Offset, TopicPartitionList};
use std::ffi::CStr;
use std::time::Duration;

use super::native::{Failed, ask, check_error};

/// The ends of those partitions whose leader answers. Blocks.
pub(super) fn list(
    client: &NativeClient,
    partitions: &[TopicPartition],
    reads_committed: bool,
    timeout: Duration,
) -> Result<Offsets, Failed> {
    let mut list = TopicPartitionList::with_capacity(partitions.len());
    for partition in partitions {
        let added = list.add_partition_offset(&partition.topic, partition.partition, Offset::End);
        added.map_err(|e| Failed { code: RDKafkaErrorCode::InvalidArgument, message: e.to_string() })?;
    }
    use rd::rd_kafka_IsolationLevel_t as Level;
    let level = match reads_committed {
        true => Level::RD_KAFKA_ISOLATION_LEVEL_READ_COMMITTED,
        false => Level::RD_KAFKA_ISOLATION_LEVEL_READ_UNCOMMITTED,
    };
    let mut refused = Ok(());
    // SAFETY: librdkafka copies the list and reads the options before the call ends; the answer is read before it is destroyed.
    let ends = unsafe {
        ask(
            client,
            rd::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_LISTOFFSETS,
            timeout,
            |options, queue| {
                refused = check_error(rd::rd_kafka_AdminOptions_set_isolation_level(options, level));
                rd::rd_kafka_ListOffsets(client.ptr(), list.ptr(), options, queue);
            },
            |event| Ok(read(event)),
        )
    };
    refused.and(ends)
}

/// # Safety
/// The event is the answer to such a question.
unsafe fn read(event: *mut rd::rd_kafka_event_t) -> Offsets {
    // SAFETY: the caller's promise; infos and texts live as long as the event.
    unsafe {
        let mut count = 0;
        let result = rd::rd_kafka_event_ListOffsets_result(event);
        let infos = rd::rd_kafka_ListOffsets_result_infos(result, &raw mut count);
        let element = |at| &*rd::rd_kafka_ListOffsetsResultInfo_topic_partition(*infos.add(at));
        let known = (0..count)
            .map(element)
            .filter(|element| element.err == rd::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR && element.offset >= 0);
        known
            .map(|element| {
                let topic = CStr::from_ptr(element.topic).to_string_lossy();
                (TopicPartition { topic: topic.as_ref().into(), partition: element.partition }, element.offset)
            })
            .collect()
    }
}
