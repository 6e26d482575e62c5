//! Makes events: each kind is a partition of the source, its offset the number of the event that was made last.

use penstock_api::{
    Error, Headers, Next, Pace, Payload, Polled, Props, Record, Result, SchemaAndValue, SourceContext, SourceMap, SourceOffset,
    SourcePosition, SourceRecord, SourceTask, Value, async_trait, json, schema,
};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::chance::Chance;
use crate::config::{self, Settings, Stream};
use crate::events::{self, Event, Kind};

/// Records of one kind in a poll at most.
const BATCH_MAX: u64 = 1000;
const EVENTS: &str = "events";
const RECORD: &str = "record";

#[derive(Default)]
pub(crate) struct DatagenTask {
    started: Option<Started>,
}

struct Started {
    settings: Settings,
    makers: Vec<Maker>,
    since: Instant,
}

/// Makes the events of one kind.
struct Maker {
    stream: Stream,
    topic: Arc<str>,
    partition: Arc<SourceMap>,
    offset_name: Arc<str>,
    /// The number of the next event.
    next: u64,
    pace: Pace,
}

#[async_trait]
impl SourceTask for DatagenTask {
    async fn start(&mut self, config: &Props, context: SourceContext) -> Result<()> {
        let settings = config::parse(config)?;
        let partitions: Vec<SourceMap> = settings.streams.iter().map(|stream| partition_of(stream.kind)).collect();
        let stored = context.stored(&partitions).await?;
        let mut makers = Vec::new();
        for ((&stream, partition), stored) in settings.streams.iter().zip(partitions).zip(stored) {
            makers.push(Maker {
                topic: format!("{}{}", settings.topic_prefix, stream.kind.name()).into(),
                partition: Arc::new(partition),
                offset_name: RECORD.into(),
                next: stored.map_or(Ok(0), |stored| next_of(&stored))?,
                pace: Pace::new(stream.rate),
                stream,
            });
        }
        self.started = Some(Started { settings, makers, since: Instant::now() });
        Ok(())
    }

    async fn poll(&mut self) -> Result<Polled> {
        let started = self.started.as_mut().ok_or_else(|| Error::fatal("poll was called before start"))?;
        started.poll(started.since.elapsed())
    }
}

impl Started {
    /// What is due so long after the start.
    fn poll(&mut self, elapsed: Duration) -> Result<Polled> {
        let mut records = Vec::new();
        for maker in &mut self.makers {
            maker.make(&self.settings, elapsed, &mut records)?;
        }
        let waits = self.makers.iter().filter(|maker| maker.left() > 0).map(|maker| maker.pace.wait(elapsed));
        let next = match waits.min() {
            None => Next::Done,
            Some(wait) if wait.is_zero() => Next::More,
            Some(wait) => Next::Wait(wait),
        };
        Ok(Polled { records, next })
    }
}

impl Maker {
    /// How many events are still to be made.
    fn left(&self) -> u64 {
        self.stream.records_max.map_or(u64::MAX, |max| max.saturating_sub(self.next))
    }

    fn make(&mut self, settings: &Settings, elapsed: Duration, records: &mut Vec<SourceRecord>) -> Result<()> {
        let count = self.pace.due(elapsed, BATCH_MAX.min(self.left()));
        self.pace.sent(count);
        records.reserve(count as usize);
        for _ in 0..count {
            records.push(self.record(settings)?);
            self.next += 1;
        }
        Ok(())
    }

    fn record(&self, settings: &Settings) -> Result<SourceRecord> {
        let kind = self.stream.kind;
        let mut chance = Chance::new(settings.seed, kind as u64, self.next);
        // Before the event, so that another share leaves the events as they are.
        let is_malformed = chance.share() < settings.malformed;
        let Event { key, at_ms, value } = kind.event(&mut chance, self.next, settings.skew);
        let schema = value.schema().clone();
        let mut value = SchemaAndValue::new(schema, Value::Struct(value));
        if is_malformed || settings.is_text {
            let text = json_text(&value.value)?;
            let text = if is_malformed { events::spoiled(&mut chance, &text) } else { text };
            value = SchemaAndValue::new(schema::STRING.clone(), Value::string(text));
        }
        let record = Record {
            topic: self.topic.clone(),
            partition: None,
            key: Payload::decoded(SchemaAndValue::new(schema::STRING.clone(), Value::string(key))),
            value: Payload::decoded(value),
            headers: Headers::new(),
            timestamp: Some(at_ms),
            offset: None,
        };
        let offset = SourceOffset::Count(self.offset_name.clone(), self.next.cast_signed());
        Ok(SourceRecord { record, position: Some(SourcePosition { partition: self.partition.clone(), offset }) })
    }
}

fn json_text(value: &Value) -> Result<String> {
    let mut out = Vec::new();
    json::write(value, &mut out)?;
    String::from_utf8(out).map_err(|e| Error::fatal("write an event as JSON").with_source(e))
}

fn partition_of(kind: Kind) -> SourceMap {
    [(EVENTS.to_owned(), kind.name().into())].into_iter().collect()
}

/// The kind that a partition holds; `None` when it is no partition of this source.
pub(crate) fn kind_of(partition: &SourceMap) -> Option<Kind> {
    partition.get(EVENTS).filter(|_| partition.len() == 1)?.as_str().and_then(Kind::named)
}

/// The number of the event behind a stored offset.
pub(crate) fn next_of(stored: &SourceMap) -> Result<u64> {
    let number = stored.get(RECORD).and_then(serde_json::Value::as_u64).filter(|number| *number < i64::MAX.cast_unsigned());
    number.map(|number| number + 1).ok_or_else(|| {
        let stored = serde_json::Value::from(stored.clone());
        Error::config(format!("{stored} is no offset: expected {{\"{RECORD}\": N}}, the number of the last event, from 0"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use penstock_api::{StoredOffsets, TaskId};
    use std::collections::BTreeMap;

    struct Stored(BTreeMap<String, u64>);

    #[async_trait]
    impl StoredOffsets for Stored {
        async fn stored(&self, partitions: &[SourceMap]) -> Result<Vec<Option<SourceMap>>> {
            let offset = |partition: &SourceMap| {
                let number = *self.0.get(partition[EVENTS].as_str().unwrap())?;
                Some([(RECORD.to_owned(), number.into())].into_iter().collect())
            };
            Ok(partitions.iter().map(offset).collect())
        }
    }

    async fn task(keys: &[(&str, &str)], stored: &[(&str, u64)]) -> DatagenTask {
        let stored = Stored(stored.iter().map(|(kind, number)| ((*kind).to_owned(), *number)).collect());
        let context = SourceContext::new(TaskId { connector: "d".into(), task: 0 }, Arc::new(stored));
        let mut task = DatagenTask::default();
        let config = keys.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        task.start(&config, context).await.unwrap();
        task
    }

    fn shown(record: &SourceRecord) -> String {
        let SourceRecord { record, position } = record;
        format!("{} {:?} {:?} {:?} {position:?}", record.topic, record.timestamp, record.key.peek(), record.value.peek())
    }

    async fn all(mut task: DatagenTask) -> Vec<String> {
        let mut found = Vec::new();
        loop {
            let polled = task.poll().await.unwrap();
            found.extend(polled.records.iter().map(shown));
            match polled.next {
                Next::More => {}
                Next::Wait(wait) => panic!("it is not to wait, but does for {wait:?}"),
                Next::Done => return found,
            }
        }
    }

    #[tokio::test]
    async fn whoever_goes_on_gets_the_next_record() {
        let keys = [("datagen.events", "orders"), ("datagen.records.max", "2500"), ("datagen.rate", "0"), ("datagen.seed", "-5")];
        let whole = all(task(&keys, &[]).await).await;
        assert_eq!(whole.len(), 2500);
        assert_eq!(all(task(&keys, &[("orders", 1233)]).await).await, whole[1234..]);
        assert!(all(task(&keys, &[("orders", 2499)]).await).await.is_empty());
    }

    #[tokio::test]
    async fn kinds_come_by_their_weights() {
        let mut task = task(&[("datagen.rate", "200")], &[]).await;
        let started = task.started.as_mut().unwrap();
        let first = started.poll(Duration::ZERO).unwrap();
        assert_eq!((first.records.len(), first.next), (4, Next::Wait(Duration::from_secs_f64(1.0 / 120.0))));
        let polled = started.poll(Duration::from_secs(10)).unwrap();
        let count = |topic: &str| polled.records.iter().filter(|record| *record.record.topic == *topic).count();
        // Of the most frequent kind there is more than a poll takes.
        assert_eq!(
            ["interactions", "orders", "inventory", "support"].map(|kind| count(&format!("retail.{kind}"))),
            [1000, 400, 300, 100]
        );
    }

    #[tokio::test]
    async fn so_many_are_malformed_and_the_others_are_as_they_were() {
        let keys = |share| {
            [
                ("datagen.events", "support"),
                ("datagen.records.max", "1000"),
                ("datagen.rate", "0"),
                ("datagen.malformed.share", share),
            ]
        };
        let (good, some) = (all(task(&keys("0"), &[]).await).await, all(task(&keys("0.1"), &[]).await).await);
        let malformed = good.iter().zip(&some).filter(|(good, some)| good != some).count();
        assert!((70..130).contains(&malformed), "{malformed}");
    }

    #[tokio::test]
    async fn values_may_be_json_as_text() {
        let mut task = task(&[("datagen.values", "json")], &[]).await;
        let polled = task.poll().await.unwrap();
        let value = polled.records[0].record.value.peek().unwrap();
        assert!(value.value.as_str().unwrap().starts_with("{\"event_id\":\""), "{value:?}");
    }
}
