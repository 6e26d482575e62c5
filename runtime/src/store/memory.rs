//! Internal topics in memory: where a standalone worker keeps configurations and statuses, as Java's does.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;

use super::event::Record;
use super::log::{Position, Read};

/// All topics of one worker, each of one partition, and compacted at once. Clones share them; they end with the last one.
#[derive(Clone, Default)]
pub(super) struct Memory {
    topics: Arc<Mutex<BTreeMap<String, Topic>>>,
}

#[derive(Default)]
struct Topic {
    next_offset: i64,
    /// The newest value of each key, with its offset: no more than there are keys.
    newest: BTreeMap<String, (i64, Vec<u8>)>,
    /// Whoever reads along. They are parts of this worker that take in what comes, so what they have not read yet needs no bound.
    readers: Vec<mpsc::UnboundedSender<(i64, Record)>>,
}

/// A topic from its beginning, for ever.
pub(super) struct MemoryReader {
    /// What was there when it began, oldest first.
    before: VecDeque<(i64, Record)>,
    since: mpsc::UnboundedReceiver<(i64, Record)>,
}

impl Memory {
    /// Appends records in this order, all at once.
    pub(super) fn append(&self, topic: &str, records: Vec<Record>) -> Vec<Position> {
        let mut topics = self.lock();
        let topic = topics.entry(topic.to_owned()).or_default();
        records.into_iter().map(|record| Position { partition: 0, offset: topic.append(record) }).collect()
    }

    pub(super) fn reader(&self, topic: &str) -> MemoryReader {
        let mut topics = self.lock();
        let topic = topics.entry(topic.to_owned()).or_default();
        let record = |(key, (offset, value)): (&String, &(i64, Vec<u8>))| {
            (*offset, Record { key: key.clone(), value: Some(value.clone()) })
        };
        let mut before: Vec<_> = topic.newest.iter().map(record).collect();
        before.sort_unstable_by_key(|(offset, _)| *offset);
        let (reader, since) = mpsc::unbounded_channel();
        topic.readers.push(reader);
        MemoryReader { before: before.into(), since }
    }

    /// The newest value of each key of a topic, oldest first.
    pub(super) fn newest(&self, topic: &str) -> Vec<(String, Vec<u8>)> {
        let topics = self.lock();
        let mut newest: Vec<_> = topics.get(topic).into_iter().flat_map(|topic| &topic.newest).collect();
        newest.sort_unstable_by_key(|(_, (offset, _))| *offset);
        newest.into_iter().map(|(key, (_, value))| (key.clone(), value.clone())).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Topic>> {
        self.topics.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Topic {
    fn append(&mut self, record: Record) -> i64 {
        let offset = self.next_offset;
        self.next_offset += 1;
        match &record.value {
            Some(value) => drop(self.newest.insert(record.key.clone(), (offset, value.clone()))),
            None => drop(self.newest.remove(&record.key)),
        }
        self.readers.retain(|reader| reader.send((offset, record.clone())).is_ok());
        offset
    }
}

impl MemoryReader {
    /// Whether all that was there at the beginning has been read.
    pub(super) fn is_at_end(&self) -> bool {
        self.before.is_empty()
    }

    /// The next record, waiting for it. May be dropped while waiting.
    pub(super) async fn next(&mut self) -> Read {
        let next = match self.before.pop_front() {
            Some(next) => Some(next),
            None => self.since.recv().await,
        };
        match next {
            Some((offset, Record { key, value })) => Read::Record { at: Position { partition: 0, offset }, key, value },
            // The topics have ended, and nothing comes any more.
            None => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(key: &str, value: Option<&str>) -> Record {
        Record { key: key.into(), value: value.map(|value| value.as_bytes().to_vec()) }
    }

    async fn read(reader: &mut MemoryReader) -> (i64, String, Option<Vec<u8>>) {
        match reader.next().await {
            Read::Record { at, key, value } => (at.offset, key, value),
            Read::End => panic!("topics in memory do not end"),
        }
    }

    #[tokio::test]
    async fn readers_see_the_newest_of_each_key_and_then_all_that_comes() {
        let topics = Memory::default();
        let written = topics.append("t", vec![record("a", Some("1")), record("b", Some("2")), record("a", Some("3"))]);
        assert_eq!(written.iter().map(|at| at.offset).collect::<Vec<_>>(), [0, 1, 2]);
        let mut reader = topics.reader("t");
        assert!(!reader.is_at_end());
        assert_eq!(read(&mut reader).await, (1, "b".into(), Some(b"2".to_vec())));
        assert_eq!(read(&mut reader).await, (2, "a".into(), Some(b"3".to_vec())));
        assert!(reader.is_at_end());
        topics.append("t", vec![record("b", None)]);
        assert_eq!(read(&mut reader).await, (3, "b".into(), None));
        assert_eq!(read(&mut topics.reader("t")).await.1, "a");
        assert!(topics.reader("other").is_at_end());
    }

    #[test]
    fn a_reader_that_has_gone_is_forgotten() {
        let topics = Memory::default();
        drop(topics.reader("t"));
        topics.append("t", vec![record("a", None)]);
        assert!(topics.lock()["t"].readers.is_empty());
    }
}
