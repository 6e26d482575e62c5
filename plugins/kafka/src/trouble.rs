//! What librdkafka's error codes mean to a task: it waits, it is told, or it fails.

use penstock_api::Error;
use rdkafka::error::RDKafkaErrorCode as Code;

/// What to do about an error that a consumer was told of.
#[derive(Debug)]
pub(super) enum Trouble {
    /// A broker cannot be reached. librdkafka goes on trying.
    Unreachable,
    /// Somebody may want to know, but it mends itself.
    Passing,
    /// The task cannot go on.
    Fails(Error),
}

/// Sorts what a consumer was told. `place` is the partition or broker, where one is known.
pub(super) fn of_consumer(code: Code, message: &str, group: &str, instance: Option<&str>, place: &str) -> Trouble {
    let fails = |error: Error| Trouble::Fails(error.with_source(message));
    match code {
        Code::AllBrokersDown | Code::BrokerTransportFailure | Code::Resolve | Code::OperationTimedOut | Code::RequestTimedOut => {
            Trouble::Unreachable
        }
        Code::Authentication | Code::SaslAuthenticationFailed | Code::UnsupportedSASLMechanism | Code::IllegalSASLState => {
            fails(Error::config("the broker refused the login: check sasl.mechanism and sasl.jaas.config"))
        }
        Code::SSL => fails(Error::config("no TLS connection to the broker: check security.protocol and the ssl.* settings")),
        Code::TopicAuthorizationFailed => {
            fails(Error::config(format!("not allowed to read {place}: grant READ and DESCRIBE on the topic to this principal")))
        }
        Code::GroupAuthorizationFailed => {
            fails(Error::config(format!("not allowed to use consumer group {group}: grant READ on the group to this principal")))
        }
        Code::ClusterAuthorizationFailed => fails(Error::config("the cluster does not allow this principal to do that")),
        Code::FencedInstanceId | Code::Fenced => fails(Error::fatal(format!(
            "another consumer has taken the place of {} in group {group}: the same task runs elsewhere",
            instance.unwrap_or("this one")
        ))),
        Code::InconsistentGroupProtocol => fails(Error::config(format!(
            "group {group} has members of another kind: a consumer with another partition.assignment.strategy, or no consumers \
             at all; stop them, or give the connector another group by consumer.override.group.id"
        ))),
        Code::InvalidSessionTimeout => fails(Error::config(
            "the broker refuses session.timeout.ms: keep within its group.min.session.timeout.ms and group.max.session.timeout.ms",
        )),
        Code::InvalidGroupId => fails(Error::config(format!("the broker refuses the group id `{group}`"))),
        Code::GroupMaxSizeReached => {
            fails(Error::fatal(format!("group {group} is full: lower tasks.max, or raise the broker's group.max.size")))
        }
        Code::AutoOffsetReset | Code::NoOffset => fails(Error::fatal(format!(
            "no offset to begin at in {place}, and auto.offset.reset=none: set it to earliest or latest"
        ))),
        Code::OffsetOutOfRange => fails(Error::fatal(format!("the committed offset of {place} is no longer there"))),
        Code::BadMessage | Code::BadCompression | Code::InvalidMessage | Code::Underflow => {
            fails(Error::fatal(format!("a batch of records in {place} is damaged, on the broker's disk or on the way here")))
        }
        Code::UnsupportedCompressionType | Code::UnsupportedFeature | Code::NotImplemented => {
            fails(Error::fatal(format!("records in {place} need something this client does not have")))
        }
        Code::InvalidTopic => fails(Error::config(format!("{place} is no name of a topic"))),
        Code::Fatal => fails(Error::fatal(format!("the Kafka client of group {group} cannot go on"))),
        _ => Trouble::Passing,
    }
}

/// What a refused commit means.
pub(super) fn of_commit(code: Code, message: &str, group: &str, instance: Option<&str>) -> Error {
    match code {
        Code::UnknownMemberId | Code::IllegalGeneration | Code::RebalanceInProgress | Code::AssignmentLost => {
            Error::retriable(format!("commit refused: group {group} has rebalanced, and the partitions may be others' now"))
                .with_source(message)
        }
        Code::OffsetMetadataTooLarge => {
            Error::data("commit refused: the broker takes no notes of this length (offset.metadata.max.bytes)")
                .with_source(message)
        }
        _ => match of_consumer(code, message, group, instance, "the partition") {
            Trouble::Fails(error) => error.context("commit offsets"),
            _ => Error::retriable("commit offsets").with_source(message),
        },
    }
}

/// What a failed request means: to look offsets up, to create a topic.
pub(super) fn of_request(code: Code, message: &str, what: &str) -> Error {
    match of_consumer(code, message, "", None, "the topic") {
        Trouble::Fails(error) => error.context(what),
        _ => Error::retriable(what).with_source(message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use penstock_api::ErrorKind;

    fn check(code: Code, expected: Option<ErrorKind>) {
        let kind = match of_consumer(code, "said so", "g", Some("orders-0"), "t-1") {
            Trouble::Fails(error) => Some(error.kind()),
            _ => None,
        };
        assert_eq!(kind, expected, "{code:?}");
    }

    #[test]
    fn only_what_cannot_mend_itself_fails_a_task() {
        check(Code::AllBrokersDown, None);
        check(Code::UnknownTopicOrPartition, None);
        check(Code::NotLeaderForPartition, None);
        check(Code::FencedInstanceId, Some(ErrorKind::Fatal));
        check(Code::Authentication, Some(ErrorKind::Config));
        check(Code::TopicAuthorizationFailed, Some(ErrorKind::Config));
    }

    #[test]
    fn a_rebalance_makes_a_commit_retriable() {
        assert_eq!(of_commit(Code::IllegalGeneration, "m", "g", None).kind(), ErrorKind::Retriable);
        assert_eq!(of_commit(Code::FencedInstanceId, "m", "g", None).kind(), ErrorKind::Fatal);
        assert_eq!(of_commit(Code::CoordinatorNotAvailable, "m", "g", None).kind(), ErrorKind::Retriable);
    }
}
