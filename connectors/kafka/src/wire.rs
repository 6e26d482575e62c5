//! MirrorMaker's own records, byte for byte: Kafka's protocol types, numbers big-endian and texts behind a length of two bytes.

use penstock_api::{Bytes, TopicPartition};

/// Says that a cluster could be reached from another: a record of the topic `heartbeats`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Heartbeat {
    pub(crate) source: String,
    pub(crate) target: String,
    /// Milliseconds since 1970.
    pub(crate) timestamp: i64,
}

/// Says where the target keeps a record of the source: a record of the offset-syncs topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OffsetSync {
    /// At the source.
    pub(crate) partition: TopicPartition,
    pub(crate) upstream: i64,
    pub(crate) downstream: i64,
}

/// Says where a group of the source would go on at the target: a record of the checkpoints topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Checkpoint {
    pub(crate) group: String,
    /// At the target.
    pub(crate) partition: TopicPartition,
    pub(crate) upstream: i64,
    pub(crate) downstream: i64,
    /// What the group has noted beside its offset.
    pub(crate) metadata: String,
}

/// Of heartbeats and checkpoints; offset syncs have none.
const VERSION: i16 = 0;

impl Heartbeat {
    pub(crate) fn key(&self) -> Bytes {
        Writer::default().text(&self.source).text(&self.target).end()
    }

    pub(crate) fn value(&self) -> Bytes {
        Writer::default().int16(VERSION).int64(self.timestamp).end()
    }
}

impl OffsetSync {
    pub(crate) fn key(&self) -> Bytes {
        Writer::default().partition(&self.partition).end()
    }

    pub(crate) fn value(&self) -> Bytes {
        Writer::default().int64(self.upstream).int64(self.downstream).end()
    }

    /// `None` when it is none.
    pub(crate) fn read(key: &[u8], value: &[u8]) -> Option<Self> {
        let (mut key, mut value) = (Reader(key), Reader(value));
        Some(Self { partition: key.partition()?, upstream: value.int64()?, downstream: value.int64()? })
    }
}

impl Checkpoint {
    pub(crate) fn key(&self) -> Bytes {
        Writer::default().text(&self.group).partition(&self.partition).end()
    }

    pub(crate) fn value(&self) -> Bytes {
        Writer::default().int16(VERSION).int64(self.upstream).int64(self.downstream).text(&self.metadata).end()
    }

    /// `None` when it is none, or of a version that is not known here.
    pub(crate) fn read(key: &[u8], value: &[u8]) -> Option<Self> {
        let (mut key, mut value) = (Reader(key), Reader(value));
        if value.int16()? != VERSION {
            return None;
        }
        Some(Self {
            group: key.text()?,
            partition: key.partition()?,
            upstream: value.int64()?,
            downstream: value.int64()?,
            metadata: value.text()?,
        })
    }
}

#[derive(Default)]
struct Writer(Vec<u8>);

impl Writer {
    fn int16(mut self, number: i16) -> Self {
        self.0.extend(number.to_be_bytes());
        self
    }

    fn int64(mut self, number: i64) -> Self {
        self.0.extend(number.to_be_bytes());
        self
    }

    /// Brokers take no names and notes that are longer than a length can say.
    fn text(self, text: &str) -> Self {
        let end = text.floor_char_boundary(text.len().min(i16::MAX.unsigned_abs().into()));
        let mut with_length = self.int16(i16::try_from(end).unwrap_or(i16::MAX));
        with_length.0.extend(&text.as_bytes()[..end]);
        with_length
    }

    fn partition(self, of: &TopicPartition) -> Self {
        let mut with_topic = self.text(&of.topic);
        with_topic.0.extend(of.partition.to_be_bytes());
        with_topic
    }

    fn end(self) -> Bytes {
        self.0.into()
    }
}

struct Reader<'b>(&'b [u8]);

impl Reader<'_> {
    fn int16(&mut self) -> Option<i16> {
        self.take().map(i16::from_be_bytes)
    }

    fn int32(&mut self) -> Option<i32> {
        self.take().map(i32::from_be_bytes)
    }

    fn int64(&mut self) -> Option<i64> {
        self.take().map(i64::from_be_bytes)
    }

    fn text(&mut self) -> Option<String> {
        let length = usize::try_from(self.int16()?).ok()?;
        let (text, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        String::from_utf8(text.to_vec()).ok()
    }

    fn partition(&mut self) -> Option<TopicPartition> {
        Some(TopicPartition { topic: self.text()?.into(), partition: self.int32()? })
    }

    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partition() -> TopicPartition {
        TopicPartition { topic: "t".into(), partition: 258 }
    }

    #[test]
    fn records_are_javas_bytes() {
        let beat = Heartbeat { source: "we".into(), target: "e".into(), timestamp: 1 };
        assert_eq!(&beat.key()[..], b"\0\x02we\0\x01e");
        assert_eq!(&beat.value()[..], b"\0\0\0\0\0\0\0\0\0\x01");
        let sync = OffsetSync { partition: partition(), upstream: 2, downstream: -1 };
        assert_eq!(&sync.key()[..], b"\0\x01t\0\0\x01\x02");
        assert_eq!(&sync.value()[..], b"\0\0\0\0\0\0\0\x02\xff\xff\xff\xff\xff\xff\xff\xff");
    }

    #[test]
    fn what_was_written_is_read() {
        let sync = OffsetSync { partition: partition(), upstream: i64::MAX, downstream: 7 };
        assert_eq!(OffsetSync::read(&sync.key(), &sync.value()), Some(sync));
        let (group, metadata) = ("g\u{e4}".to_owned(), "note".to_owned());
        let checkpoint = Checkpoint { group, partition: partition(), upstream: 3, downstream: 4, metadata };
        assert_eq!(Checkpoint::read(&checkpoint.key(), &checkpoint.value()), Some(checkpoint));
    }

    #[test]
    fn what_is_no_record_is_told_apart() {
        let sync = OffsetSync { partition: partition(), upstream: 1, downstream: 7 };
        for end in 0..sync.key().len() {
            assert_eq!(OffsetSync::read(&sync.key()[..end], &sync.value()), None, "{end}");
        }
        assert_eq!(OffsetSync::read(&sync.key(), b"1234567"), None);
        assert_eq!(OffsetSync::read(b"\xff\xfft", b""), None);
        assert_eq!(Checkpoint::read(b"\0\x01g\0\x01t\0\0\0\0", b"\0\x01"), None);
    }
}
