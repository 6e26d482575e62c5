//! Where the partitions of a topic end, for all records or for settled ones. rust-rdkafka has no call for it.

use rdkafka::bindings as rd;
use rdkafka::client::NativeClient;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::{Offset, TopicPartitionList};
use std::collections::BTreeMap;
use std::time::Duration;

use super::native::{Element, Failed, ask, check_error, element, first_failure};

/// Which end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Behind the last record, whatever becomes of it.
    Written,
    /// Before the first record whose transaction is open; behind the last one if there is none.
    Settled,
}

/// The ends of the first so many partitions, by one request to each broker. Blocks.
pub(super) fn of_topic(
    client: &NativeClient,
    topic: &str,
    partitions: i32,
    end: End,
    timeout: Duration,
) -> Result<BTreeMap<i32, i64>, Failed> {
    let mut wanted = TopicPartitionList::new();
    for partition in 0..partitions {
        // As a question it means the latest.
        let added = wanted.add_partition_offset(topic, partition, Offset::End);
        added.map_err(|e| Failed { code: RDKafkaErrorCode::InvalidArgument, message: e.to_string() })?;
    }
    let isolation = match end {
        End::Written => rd::rd_kafka_IsolationLevel_t::RD_KAFKA_ISOLATION_LEVEL_READ_UNCOMMITTED,
        End::Settled => rd::rd_kafka_IsolationLevel_t::RD_KAFKA_ISOLATION_LEVEL_READ_COMMITTED,
    };
    let mut refused = Ok(());
    // SAFETY: librdkafka copies the list; the options are those of this request; what an answer holds lives as long as its event.
    let found = unsafe {
        ask(
            client,
            rd::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_LISTOFFSETS,
            timeout,
            |options, queue| {
                refused = check_error(rd::rd_kafka_AdminOptions_set_isolation_level(options, isolation));
                rd::rd_kafka_ListOffsets(client.ptr(), wanted.ptr(), options, queue);
            },
            |event| {
                let mut count = 0;
                let infos = rd::rd_kafka_ListOffsets_result_infos(rd::rd_kafka_event_ListOffsets_result(event), &raw mut count);
                let of = |at| element(&*rd::rd_kafka_ListOffsetsResultInfo_topic_partition(*infos.add(at)));
                Ok((0..count).map(of).collect::<Vec<Element>>())
            },
        )
    };
    refused?;
    let found = found?;
    first_failure(&found)?;
    Ok(found.into_iter().map(|e| (e.partition, e.offset)).collect())
}
