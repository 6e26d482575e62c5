//! The table. What does not stand here cannot be served, and a test sees to it that what stands here is.
//!
//! A name is made as the Prometheus JMX exporter makes it when no rule says otherwise: domain, type and attribute of Connect's
//! bean, joined by `_`, with `_` for every other letter that Prometheus does not take. The other properties of the bean are labels.
//! `kafka.connect:type=sink-task-metrics,connector=orders,task=0` `sink-record-read-total` is
//! `kafka_connect_sink_task_metrics_sink_record_read_total{connector="orders",task="0"}`. An attribute that is text is a gauge of 1
//! with the text in a label of the attribute's name. What Connect does not have begins with `penstock_` and is in seconds.

use Kind::{Counter, Gauge, Histogram, Text};

/// What a metric measures is said of: one bean in Connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Group {
    /// The JMX domain; `penstock` for what is ours.
    pub domain: &'static str,
    /// The bean's type; empty for what is ours.
    pub bean: &'static str,
    pub labels: &'static [&'static str],
}

/// How Prometheus is to read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows, and begins anew with its task.
    Counter,
    Gauge,
    /// Always 1; what it says stands in a label.
    Text,
    Histogram,
}

/// A row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    pub group: Group,
    /// Connect's attribute.
    pub attribute: &'static str,
    pub kind: Kind,
    pub doc: &'static str,
}

macro_rules! table {
    ($($group:ident { $($name:ident $attribute:literal $kind:ident $doc:literal)* })*) => {
        /// A metric; its row says what it is.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(usize)]
        pub enum Metric { $($(#[doc = $doc] $name,)*)* }

        impl Metric {
            /// All, in the order of the page.
            pub const ALL: &'static [Metric] = &[$($(Metric::$name,)*)*];
        }

        const ROWS: &[Row] = &[$($(Row { group: $group, attribute: $attribute, kind: $kind, doc: $doc },)*)*];
    };
}

const fn connect(bean: &'static str, labels: &'static [&'static str]) -> Group {
    Group { domain: "kafka.connect", bean, labels }
}

const WORKER: Group = connect("connect-worker-metrics", &[]);
const WORKER_CONNECTOR: Group = connect("connect-worker-metrics", &["connector"]);
const REBALANCE: Group = connect("connect-worker-rebalance-metrics", &[]);
const CONNECTOR: Group = connect("connector-metrics", &["connector"]);
const TASK: Group = connect("connector-task-metrics", &["connector", "task"]);
const TRANSFORM: Group = connect("connector-transform-metrics", &["connector", "task", "transform"]);
const PREDICATE: Group = connect("connector-predicate-metrics", &["connector", "task", "predicate"]);
const SINK: Group = connect("sink-task-metrics", &["connector", "task"]);
const SOURCE: Group = connect("source-task-metrics", &["connector", "task"]);
const ERRORS: Group = connect("task-error-metrics", &["connector", "task"]);
const CONSUMER: Group = Group { domain: "kafka.consumer", bean: "consumer-fetch-manager-metrics", labels: &["client-id"] };
const PARTITION: Group =
    Group { domain: "kafka.consumer", bean: "consumer-fetch-manager-metrics", labels: &["client-id", "topic", "partition"] };
/// By partition of the target. Connector and task stand before MirrorMaker's own labels: two connectors may copy the same.
const MIRROR: Group = Group {
    domain: "kafka.connect.mirror",
    bean: "MirrorSourceConnector",
    labels: &["connector", "task", "source", "target", "topic", "partition"],
};
const STAGE: Group = Group { domain: "penstock", bean: "", labels: &["connector", "task", "stage"] };
const OURS_TASK: Group = Group { domain: "penstock", bean: "", labels: &["connector", "task"] };
const OURS_CONNECTOR: Group = Group { domain: "penstock", bean: "", labels: &["connector"] };
const BUILD: Group = Group { domain: "penstock", bean: "", labels: &["version"] };

#[rustfmt::skip]
table! {
    WORKER {
        ConnectorCount "connector-count" Gauge "Connectors that run on this worker."
        TaskCount "task-count" Gauge "Tasks that run on this worker."
        ConnectorStartupAttempts "connector-startup-attempts-total" Counter "Starts of connectors."
        ConnectorStartupSuccess "connector-startup-success-total" Counter "Starts of connectors that went well."
        ConnectorStartupSuccessShare "connector-startup-success-percentage" Gauge "Share of the last starts of connectors that went well, 0 to 1."
        ConnectorStartupFailure "connector-startup-failure-total" Counter "Starts of connectors that failed."
        ConnectorStartupFailureShare "connector-startup-failure-percentage" Gauge "Share of the last starts of connectors that failed, 0 to 1."
        TaskStartupAttempts "task-startup-attempts-total" Counter "Starts of tasks."
        TaskStartupSuccess "task-startup-success-total" Counter "Starts of tasks that went well."
        TaskStartupSuccessShare "task-startup-success-percentage" Gauge "Share of the last starts of tasks that went well, 0 to 1."
        TaskStartupFailure "task-startup-failure-total" Counter "Starts of tasks that failed."
        TaskStartupFailureShare "task-startup-failure-percentage" Gauge "Share of the last starts of tasks that failed, 0 to 1."
    }
    WORKER_CONNECTOR {
        ConnectorTotalTasks "connector-total-task-count" Gauge "Tasks of the connector on this worker."
        ConnectorRunningTasks "connector-running-task-count" Gauge "Those that are running."
        ConnectorPausedTasks "connector-paused-task-count" Gauge "Those that are paused."
        ConnectorFailedTasks "connector-failed-task-count" Gauge "Those that failed."
        ConnectorUnassignedTasks "connector-unassigned-task-count" Gauge "Those that wait for a worker."
        ConnectorDestroyedTasks "connector-destroyed-task-count" Gauge "Those that were taken away; always 0, for then they are not listed."
        ConnectorRestartingTasks "connector-restarting-task-count" Gauge "Those that are restarting."
    }
    REBALANCE {
        ConnectProtocol "connect-protocol" Text "How workers share their work; not one of Java's protocols."
        LeaderName "leader-name" Text "The worker that leads."
        Epoch "epoch" Gauge "Generation of the group."
        CompletedRebalances "completed-rebalances-total" Counter "Rebalances of the workers' group that this worker went through."
        Rebalancing "rebalancing" Gauge "1 while this worker has no settled place in the group."
        RebalanceMaxTime "rebalance-max-time-ms" Gauge "Longest of the last rebalances, in milliseconds; NaN: there was none."
        RebalanceAvgTime "rebalance-avg-time-ms" Gauge "Average of the last rebalances, in milliseconds; NaN: there was none."
        TimeSinceRebalance "time-since-last-rebalance-ms" Gauge "Milliseconds since the last rebalance."
    }
    CONNECTOR {
        ConnectorStatus "status" Text "The connector's status: running, paused, stopped, failed, restarting or unassigned."
        ConnectorType "connector-type" Text "Sink or source."
        ConnectorClass "connector-class" Text "The connector's class."
        ConnectorVersion "connector-version" Text "The version of its plugin."
    }
    TASK {
        TaskStatus "status" Text "The task's status: running, paused, failed or unassigned."
        RunningRatio "running-ratio" Gauge "Share of its time that the task was running, 0 to 1."
        PauseRatio "pause-ratio" Gauge "Share of its time that the task was paused, 0 to 1."
        CommitMaxTime "offset-commit-max-time-ms" Gauge "Longest of the last commits, in milliseconds."
        CommitAvgTime "offset-commit-avg-time-ms" Gauge "Average of the last commits, in milliseconds."
        BatchSizeMax "batch-size-max" Gauge "Records in the largest of the last batches."
        BatchSizeAvg "batch-size-avg" Gauge "Average records in the last batches."
        CommitFailureShare "offset-commit-failure-percentage" Gauge "Share of the last commits that failed, 0 to 1."
        CommitSuccessShare "offset-commit-success-percentage" Gauge "Share of the last commits that went well, 0 to 1."
        TaskConnectorClass "connector-class" Text "The class of the task's connector."
        TaskConnectorVersion "connector-version" Text "The version of its plugin."
        TaskConnectorType "connector-type" Text "Sink or source."
        TaskClass "task-class" Text "The task's class."
        TaskVersion "task-version" Text "The version of its plugin."
        KeyConverterClass "key-converter-class" Text "The key converter's class."
        KeyConverterVersion "key-converter-version" Text "The version of its plugin."
        ValueConverterClass "value-converter-class" Text "The value converter's class."
        ValueConverterVersion "value-converter-version" Text "The version of its plugin."
        HeaderConverterClass "header-converter-class" Text "The header converter's class."
        HeaderConverterVersion "header-converter-version" Text "The version of its plugin."
    }
    TRANSFORM {
        TransformClass "transform-class" Text "The class of the transform with that alias."
        TransformVersion "transform-version" Text "The version of its plugin."
    }
    PREDICATE {
        PredicateClass "predicate-class" Text "The class of the predicate with that alias."
        PredicateVersion "predicate-version" Text "The version of its plugin."
    }
    SINK {
        ReadRate "sink-record-read-rate" Gauge "Records fetched from Kafka each second, lately."
        ReadTotal "sink-record-read-total" Counter "Records fetched from Kafka."
        SendRate "sink-record-send-rate" Gauge "Records handed to the connector each second, lately."
        SendTotal "sink-record-send-total" Counter "Records handed to the connector."
        LagMax "sink-record-lag-max" Gauge "Records between what was delivered and what was committed, of the partition where they are most."
        PartitionCount "partition-count" Gauge "Partitions that the task has open."
        CommitSeqNo "offset-commit-seq-no" Counter "Commits begun."
        CommitRate "offset-commit-completion-rate" Gauge "Commits that went well each second, lately."
        CommitTotal "offset-commit-completion-total" Counter "Commits that went well."
        CommitSkipRate "offset-commit-skip-rate" Gauge "Commits not done in time each second, lately; a later one makes up for them."
        CommitSkipTotal "offset-commit-skip-total" Counter "Commits not done in time; a later one makes up for them."
        PutMaxTime "put-batch-max-time-ms" Gauge "Longest of the last puts, in milliseconds."
        PutAvgTime "put-batch-avg-time-ms" Gauge "Average of the last puts, in milliseconds."
        ActiveCount "sink-record-active-count" Gauge "Records fetched and not yet committed."
        ActiveCountMax "sink-record-active-count-max" Gauge "The most of them, lately."
        ActiveCountAvg "sink-record-active-count-avg" Gauge "Their average, lately."
    }
    SOURCE {
        PollRate "source-record-poll-rate" Gauge "Records that the connector gave each second, lately."
        PollTotal "source-record-poll-total" Counter "Records that the connector gave."
        WriteRate "source-record-write-rate" Gauge "Records that Kafka acknowledged each second, lately."
        WriteTotal "source-record-write-total" Counter "Records that Kafka acknowledged."
        PollMaxTime "poll-batch-max-time-ms" Gauge "Longest of the last polls that gave records, in milliseconds."
        PollAvgTime "poll-batch-avg-time-ms" Gauge "Average of the last polls that gave records, in milliseconds."
        SourceActiveCount "source-record-active-count" Gauge "Records polled and not yet acknowledged by Kafka."
        SourceActiveCountMax "source-record-active-count-max" Gauge "The most of them, lately."
        SourceActiveCountAvg "source-record-active-count-avg" Gauge "Their average, lately."
        TransactionSizeMin "transaction-size-min" Gauge "Records in the smallest of the last transactions."
        TransactionSizeMax "transaction-size-max" Gauge "Records in the largest of the last transactions."
        TransactionSizeAvg "transaction-size-avg" Gauge "Average records in the last transactions."
    }
    ERRORS {
        RecordFailures "total-record-failures" Counter "Operations on records that failed, retries included."
        RecordErrors "total-record-errors" Counter "Records that failed for good."
        RecordsSkipped "total-records-skipped" Counter "Records skipped because they failed."
        Retries "total-retries" Counter "Operations tried again."
        ErrorsLogged "total-errors-logged" Counter "Errors written to the log."
        DeadLetters "deadletterqueue-produce-requests" Counter "Records sent to the dead-letter topic."
        DeadLetterFailures "deadletterqueue-produce-failures" Counter "Dead letters that Kafka refused."
        LastError "last-error-timestamp" Gauge "When the last record failed, in milliseconds since 1970; 0: none has."
    }
    CONSUMER {
        RecordsLagMax "records-lag-max" Gauge "Records behind the end of the partition, of the partition where they are most, as far as fetches have told."
    }
    PARTITION {
        RecordsLag "records-lag" Gauge "Of a source that copies topics of another cluster: records of the partition there that are not read yet, as far as fetches have told."
    }
    MIRROR {
        MirrorRecordCount "record-count" Counter "Records of the partition that were copied."
        MirrorRecordRate "record-rate" Gauge "Records copied each second, lately."
        MirrorRecordAge "record-age-ms" Gauge "How old the last record was when it was read, in milliseconds."
        MirrorRecordAgeMax "record-age-ms-max" Gauge "The oldest of the last records."
        MirrorRecordAgeMin "record-age-ms-min" Gauge "The youngest of the last records."
        MirrorRecordAgeAvg "record-age-ms-avg" Gauge "Average age of the last records."
        MirrorByteCount "byte-count" Counter "Bytes of values that were read."
        MirrorByteRate "byte-rate" Gauge "Bytes of values read each second, lately."
        MirrorLatency "replication-latency-ms" Gauge "How old the last record was when its copy was acknowledged, in milliseconds."
        MirrorLatencyMax "replication-latency-ms-max" Gauge "The oldest of the last records that were acknowledged."
        MirrorLatencyMin "replication-latency-ms-min" Gauge "The youngest of the last records that were acknowledged."
        MirrorLatencyAvg "replication-latency-ms-avg" Gauge "Average age of the last records that were acknowledged."
    }
    STAGE {
        StageDuration "task_stage_duration_seconds" Histogram "How long a batch took in a stage: fetch or poll (with the wait for records), convert, transform, put, commit."
    }
    OURS_TASK {
        TaskStalled "task_stalled" Gauge "1 while the task does not get on though records wait, for longer than penstock.task.stalled.after.ms."
    }
    OURS_CONNECTOR {
        Restarts "automatic_restarts_total" Counter "Restarts of the connector and its tasks because errors.restart.* asks for them."
        CrashLoops "crash_loops" Gauge "The connector and those of its tasks that failed so often that they are not restarted any more."
    }
    BUILD {
        BuildInfo "build_info" Gauge "Always 1; the label is the version of this worker."
    }
}

impl Metric {
    /// What it is.
    #[must_use]
    pub fn row(self) -> &'static Row {
        &ROWS[self as usize]
    }

    /// The name that Prometheus sees.
    #[must_use]
    pub fn name(self) -> String {
        let Row { group, attribute, .. } = self.row();
        let parts = [group.domain, group.bean, attribute].into_iter().filter(|part| !part.is_empty());
        label_name(&parts.collect::<Vec<_>>().join("_"))
    }
}

/// Prometheus takes letters, digits and `_`.
pub(super) fn label_name(name: &str) -> String {
    name.chars().map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '_' }).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_made_by_the_rule() {
        assert_eq!(Metric::ReadTotal.name(), "kafka_connect_sink_task_metrics_sink_record_read_total");
        assert_eq!(Metric::ConnectorCount.name(), "kafka_connect_connect_worker_metrics_connector_count");
        assert_eq!(Metric::RecordsLagMax.name(), "kafka_consumer_consumer_fetch_manager_metrics_records_lag_max");
        assert_eq!(Metric::MirrorRecordCount.name(), "kafka_connect_mirror_MirrorSourceConnector_record_count");
        assert_eq!(Metric::StageDuration.name(), "penstock_task_stage_duration_seconds");
    }

    #[test]
    fn no_name_stands_twice_and_each_says_what_it_means() {
        let names: BTreeSet<_> = Metric::ALL.iter().map(|metric| metric.name()).collect();
        assert_eq!(names.len(), Metric::ALL.len());
        assert_eq!(ROWS.len(), Metric::ALL.len());
        for metric in Metric::ALL {
            assert!(metric.row().doc.ends_with('.'), "{metric:?}");
            let is_total = metric.row().attribute.ends_with("total");
            assert!(!is_total || metric.row().kind == Counter, "{metric:?} is a total and so a counter");
        }
    }
}
