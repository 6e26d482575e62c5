//! Which topics a task uses, as Connect counts: those whose records a sink's converters could read, and those that have a source's.

use penstock_api::batch::Stage;
use penstock_api::{Batch, RawRecord, Verdict};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A topic in use is told again after so long: `PUT /connectors/{name}/topics/reset` forgets it, and the next record brings it back.
const TELL_AGAIN: Duration = Duration::from_secs(1);

/// The topics told of.
#[derive(Default)]
pub(super) struct TopicsUsed {
    told: HashMap<Arc<str>, Instant>,
}

impl TopicsUsed {
    /// The topics of a batch that are to be told of now.
    pub(super) fn news(&mut self, raws: &[RawRecord], batch: &Batch, now: Instant) -> Vec<Arc<str>> {
        let mut news = Vec::new();
        let mut last: Option<&Arc<str>> = None;
        for row in batch.rows() {
            let topic = &raws[row.origin as usize].topic;
            if last.is_some_and(|last| Arc::ptr_eq(last, topic)) || !was_read(&row.verdict) {
                continue;
            }
            last = Some(topic);
            if self.is_news(topic, now) {
                news.push(topic.clone());
            }
        }
        news
    }

    /// Whether a topic that is used is to be told of now.
    pub(super) fn is_news(&mut self, topic: &Arc<str>, now: Instant) -> bool {
        let is_news = self.told.get(topic).is_none_or(|told| now.duration_since(*told) >= TELL_AGAIN);
        if is_news {
            self.told.insert(topic.clone(), now);
        }
        is_news
    }
}

/// Whether the record got as far as the transforms, whatever became of it there.
fn was_read(verdict: &Verdict) -> bool {
    let Verdict::Fail(failure) = verdict else { return true };
    !matches!(failure.stage, Stage::KeyConverter | Stage::ValueConverter | Stage::HeaderConverter)
}

#[cfg(test)]
mod tests {
    use super::*;
    use penstock_api::{Error, Headers, Payload, Record, TimestampType};

    fn raw(topic: &Arc<str>) -> RawRecord {
        RawRecord {
            topic: topic.clone(),
            partition: 0,
            offset: 0,
            timestamp: None,
            timestamp_type: TimestampType::NoTimestamp,
            key: None,
            value: None,
            headers: None,
        }
    }

    /// A record of each topic; `failed` says in which stage it failed.
    fn batch(topics: &[(&Arc<str>, Option<Stage>)]) -> (Vec<RawRecord>, Batch) {
        let mut batch = Batch::default();
        for (origin, (topic, failed)) in (0..).zip(topics) {
            let record = Record {
                topic: (*topic).clone(),
                partition: None,
                offset: None,
                key: Payload::null(),
                value: Payload::null(),
                headers: Headers::new(),
                timestamp: None,
            };
            batch.push(record, origin);
            if let Some(stage) = failed {
                batch.rows_mut()[origin as usize].fail(*stage, &"class".into(), Error::data("no"));
            }
        }
        (topics.iter().map(|(topic, _)| raw(topic)).collect(), batch)
    }

    #[test]
    fn a_topic_is_told_once_in_a_while_and_only_when_a_record_could_be_read() {
        let (a, b, c): (Arc<str>, Arc<str>, Arc<str>) = ("a".into(), "b".into(), "c".into());
        let unread = Some(Stage::ValueConverter);
        let (raws, rows) = batch(&[(&a, None), (&b, unread), (&b, Some(Stage::Transformation)), (&c, unread), (&a, None)]);
        let mut used = TopicsUsed::default();
        let now = Instant::now();
        assert_eq!(used.news(&raws, &rows, now), [a.clone(), b.clone()]);
        assert!(used.news(&raws, &rows, now + TELL_AGAIN / 2).is_empty());
        assert_eq!(used.news(&raws, &rows, now + TELL_AGAIN), [a, b]);
    }
}
