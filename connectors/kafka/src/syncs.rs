//! Notes where records of the source are at the target: MirrorMaker's `OffsetSyncWriter`.

use penstock_api::{Result, TopicPartition};
use penstock_kafka_clients::{Outgoing, Producer, settings};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

use crate::config::Syncs;
use crate::wire::OffsetSync;

/// Syncs on their way at most; others wait, the newest of each partition.
const UNDER_WAY_MAX: usize = 10;
/// How long the last ones may take when the task ends.
const LAST_WITHIN: Duration = Duration::from_secs(2);

pub(crate) struct SyncWriter {
    producer: Producer,
    topic: Arc<str>,
    /// At the source.
    partitions: Vec<TopicPartition>,
    due: Due,
    under_way: JoinSet<Result<()>>,
    /// The last could not be written: said once.
    is_failing: bool,
}

impl SyncWriter {
    /// # Errors
    /// `Config`, when no such producer can be made.
    pub(crate) fn new(who: &str, settings: &Syncs, partitions: Vec<TopicPartition>) -> Result<Self> {
        let producer = Producer::new(settings::producer(&format!("offset syncs of {who}"), &settings.producer)?)?;
        let topic = settings.topic.as_str().into();
        let due = Due::new(settings.lag_max, partitions.len());
        Ok(Self { producer, topic, partitions, due, under_way: JoinSet::new(), is_failing: false })
    }

    /// A record of the partition at that place was delivered.
    pub(crate) async fn delivered(&mut self, partition: usize, upstream: i64, downstream: i64) {
        if self.due.delivered(partition, At { upstream, downstream }) {
            self.send().await;
        }
    }

    /// Offsets were stored: what waited for that is due, too.
    pub(crate) fn stored(&mut self) {
        self.due.promote();
    }

    /// Sends what is due, as far as there is room.
    pub(crate) async fn send(&mut self) {
        while let Some(done) = self.under_way.try_join_next() {
            self.note(done);
        }
        while self.under_way.len() < UNDER_WAY_MAX {
            let Some((partition, At { upstream, downstream })) = self.due.next() else { return };
            self.send_one(&OffsetSync { partition: self.partitions[partition].clone(), upstream, downstream }).await;
        }
    }

    /// Waits for what is under way, for a while.
    pub(crate) async fn close(mut self) {
        let last = async {
            loop {
                self.send().await;
                match self.under_way.join_next().await {
                    Some(done) => self.note(done),
                    None => return,
                }
            }
        };
        if tokio::time::timeout(LAST_WITHIN, last).await.is_err() {
            tracing::debug!(topic = %self.topic, "the last offset syncs were not acknowledged");
        }
    }

    async fn send_one(&mut self, sync: &OffsetSync) {
        let record = Outgoing {
            topic: self.topic.clone(),
            partition: Some(0),
            key: Some(sync.key()),
            value: Some(sync.value()),
            headers: Vec::new(),
            timestamp: None,
        };
        match self.producer.send(&record).await {
            Ok(ack) => drop(self.under_way.spawn(async move { ack.await.map(drop) })),
            Err(error) => self.note(Ok(Err(error))),
        }
    }

    /// One that is lost is made up for by the next of its partition.
    fn note(&mut self, done: std::result::Result<Result<()>, tokio::task::JoinError>) {
        let error = match done {
            Ok(Ok(())) => {
                self.is_failing = false;
                return;
            }
            Ok(Err(error)) => format!("{error:#}"),
            Err(error) => error.to_string(),
        };
        if !std::mem::replace(&mut self.is_failing, true) {
            tracing::warn!(topic = %self.topic, error, "offset syncs cannot be written: groups are not translated; records are copied all the same");
        }
    }
}

/// Which syncs are to be written, and which wait until offsets are stored; by the partitions' places in the task's list.
struct Due {
    lag_max: i64,
    partitions: Vec<Option<Seen>>,
    now: BTreeMap<usize, At>,
}

/// Where a record is at the source and at the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct At {
    upstream: i64,
    downstream: i64,
}

/// What was seen last, and what was written last.
#[derive(Clone, Copy)]
struct Seen {
    last: At,
    synced_downstream: i64,
    /// The last is to be written when offsets are stored.
    is_delayed: bool,
}

impl Due {
    fn new(lag_max: i64, partitions: usize) -> Self {
        Self { lag_max, partitions: vec![None; partitions], now: BTreeMap::new() }
    }

    /// Answers whether there is something to write at once.
    fn delivered(&mut self, partition: usize, at: At) -> bool {
        let seen = &mut self.partitions[partition];
        let is_due = seen.is_none_or(|seen| seen.is_due(at, self.lag_max));
        let synced_downstream = seen.filter(|_| !is_due).map_or(at.downstream, |seen| seen.synced_downstream);
        *seen = Some(Seen { last: at, synced_downstream, is_delayed: !is_due });
        if is_due {
            self.now.insert(partition, at);
        }
        is_due
    }

    fn promote(&mut self) {
        for (partition, seen) in self.partitions.iter_mut().enumerate() {
            if let Some(seen) = seen.as_mut()
                && std::mem::take(&mut seen.is_delayed)
            {
                self.now.insert(partition, seen.last);
            }
        }
    }

    fn next(&mut self) -> Option<(usize, At)> {
        self.now.pop_first()
    }
}

impl Seen {
    /// At once when what is translated by the last sync would be too far behind, or wrong.
    fn is_due(&self, at: At, lag_max: i64) -> bool {
        // A group at the end is translated to one step behind the last sync.
        let is_stale = at.downstream - (self.synced_downstream + 1) >= lag_max;
        let has_skipped = at.upstream - self.last.upstream != 1;
        let was_truncated = at.downstream < self.last.downstream;
        is_stale || has_skipped || was_truncated
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(lag_max: i64, delivered: &[(i64, i64)]) -> (Vec<(i64, i64)>, Due) {
        let mut due = Due::new(lag_max, 1);
        let mut written = Vec::new();
        for (upstream, downstream) in delivered {
            due.delivered(0, At { upstream: *upstream, downstream: *downstream });
            written.extend(due.next().map(|(_, at)| (at.upstream, at.downstream)));
        }
        (written, due)
    }

    #[test]
    fn syncs_are_written_when_the_last_tells_too_little() {
        let straight: Vec<(i64, i64)> = (0..250).map(|n| (n, n + 7)).collect();
        assert_eq!(run(100, &straight).0, [(0, 7), (101, 108), (202, 209)]);
        assert_eq!(run(0, &straight[..4]).0, [(0, 7), (1, 8), (2, 9), (3, 10)]);
        // Behind a gap at the source, and behind a topic that began anew at the target.
        assert_eq!(run(100, &[(0, 0), (1, 1), (5, 2), (6, 3), (7, 0)]).0, [(0, 0), (5, 2), (7, 0)]);
    }

    #[test]
    fn the_newest_of_the_others_is_written_when_offsets_are_stored() {
        let (_, mut due) = run(100, &[(0, 0), (1, 1), (2, 2)]);
        assert_eq!(due.next(), None);
        due.promote();
        assert_eq!(due.next(), Some((0, At { upstream: 2, downstream: 2 })));
        due.promote();
        assert_eq!(due.next(), None);
    }
}
