//! Which groups of consumers a cluster knows. rust-rdkafka lists those of the old protocol alone.

use rdkafka::bindings as rd;
use rdkafka::client::NativeClient;
use std::time::Duration;

use super::native::{Failed, ask, check_answer, text};

/// The names of all groups of consumers, of both protocols, and of those that have committed without members. Blocks.
pub(super) fn list(client: &NativeClient, timeout: Duration) -> Result<Vec<String>, Failed> {
    let op = rd::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_LISTCONSUMERGROUPS;
    // SAFETY: the answer is read before it is destroyed.
    unsafe {
        ask(
            client,
            op,
            timeout,
            |options, queue| rd::rd_kafka_ListConsumerGroups(client.ptr(), options, queue),
            |event| read(event),
        )
    }
}

/// # Safety
/// The event is the answer to a listing of groups.
unsafe fn read(event: *mut rd::rd_kafka_event_t) -> Result<Vec<String>, Failed> {
    // SAFETY: the caller's promise; texts live as long as the event.
    unsafe {
        let result = rd::rd_kafka_event_ListConsumerGroups_result(event);
        let mut count = 0;
        let errors = rd::rd_kafka_ListConsumerGroups_result_errors(result, &raw mut count);
        if count > 0 {
            check_answer(*errors)?;
        }
        let groups = rd::rd_kafka_ListConsumerGroups_result_valid(result, &raw mut count);
        Ok((0..count).map(|at| text(rd::rd_kafka_ConsumerGroupListing_group_id(*groups.add(at)))).collect())
    }
}
