//! Who is in a group: members with their static ids. rust-rdkafka's own list has no static ids.

use rdkafka::bindings as rd;
use rdkafka::client::NativeClient;
use std::time::Duration;

use super::native::{Failed, ask, c_string, check_answer, text};

/// A member of a group of consumers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupMember {
    /// Changes with each start, and after an expulsion.
    pub member_id: String,
    /// `group.instance.id`; empty for a dynamic member.
    pub instance_id: String,
    pub client_id: String,
}

/// The members of a group; none when there is no such group. Blocks.
pub(super) fn describe(client: &NativeClient, group: &str, timeout: Duration) -> Result<Vec<GroupMember>, Failed> {
    let group = c_string(group);
    let mut groups = [group.as_ptr()];
    let op = rd::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBECONSUMERGROUPS;
    // SAFETY: librdkafka copies the group's name; the answer is read before it is destroyed.
    unsafe {
        ask(
            client,
            op,
            timeout,
            |options, queue| {
                rd::rd_kafka_DescribeConsumerGroups(client.ptr(), groups.as_mut_ptr(), groups.len(), options, queue);
            },
            |event| read(event),
        )
    }
}

/// # Safety
/// The event is the answer to a description of one group.
unsafe fn read(event: *mut rd::rd_kafka_event_t) -> Result<Vec<GroupMember>, Failed> {
    // SAFETY: the caller's promise; texts live as long as the event.
    unsafe {
        let mut count = 0;
        let result = rd::rd_kafka_event_DescribeConsumerGroups_result(event);
        let described = rd::rd_kafka_DescribeConsumerGroups_result_groups(result, &raw mut count);
        if count == 0 {
            return Ok(Vec::new());
        }
        let group = *described;
        check_answer(rd::rd_kafka_ConsumerGroupDescription_error(group))?;
        let members = 0..rd::rd_kafka_ConsumerGroupDescription_member_count(group);
        let member = |at| {
            let member = rd::rd_kafka_ConsumerGroupDescription_member(group, at);
            GroupMember {
                member_id: text(rd::rd_kafka_MemberDescription_consumer_id(member)),
                instance_id: text(rd::rd_kafka_MemberDescription_group_instance_id(member)),
                client_id: text(rd::rd_kafka_MemberDescription_client_id(member)),
            }
        };
        Ok(members.map(member).collect())
    }
}
