//! Counts into a topic, and says on standard output what it sent and what Kafka has.

use penstock_api::{
    Connector, Delivered, Error, Headers, Kind, Map, Next, Pace, Payload, Polled, Props, Record, Result, Schema, SchemaAndValue,
    SchemaRef, SourceConnector, SourceContext, SourceMap, SourceOffset, SourcePosition, SourceRecord, SourceTask, Struct, Value,
    async_trait, schema,
};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use crate::{line, number, numbered};

/// Records of one poll at most.
const BATCH_MAX: u64 = 500;
const SEQNO: &str = "seqno";

pub(crate) struct VerifiableSource;

#[async_trait]
impl Connector for VerifiableSource {
    async fn task_configs(&self, config: &Props, tasks_max: u32) -> Result<Vec<Props>> {
        Ok(numbered(config, tasks_max))
    }
}

impl SourceConnector for VerifiableSource {
    fn task(&self) -> Box<dyn SourceTask> {
        Box::<VerifiableSourceTask>::default()
    }
}

#[derive(Default)]
struct VerifiableSourceTask {
    started: Option<Started>,
}

struct Started {
    name: String,
    id: i32,
    topic: Arc<str>,
    /// `None`: one record and no more, as Java does with a throughput of 0.
    pace: Option<Pace>,
    /// Values are structs of all that a line says, not just the number.
    is_complete: bool,
    partition: Arc<SourceMap>,
    seqno_name: Arc<str>,
    /// The next one.
    seqno: i64,
    is_first: bool,
    since: Instant,
}

#[async_trait]
impl SourceTask for VerifiableSourceTask {
    async fn start(&mut self, config: &Props, context: SourceContext) -> Result<()> {
        let invalid = |e: Error| e.context("Invalid VerifiableSourceTask configuration");
        let needed = |key: &str| invalid(Error::config(format!("{key} is missing")));
        let id: i32 = number(config, "id").map_err(invalid)?.ok_or_else(|| needed("id"))?;
        let throughput: i64 = number(config, "throughput").map_err(invalid)?.ok_or_else(|| needed("throughput"))?;
        let partition: SourceMap = [("id".to_owned(), id.into())].into_iter().collect();
        let stored = context.stored(std::slice::from_ref(&partition)).await?.into_iter().next().flatten();
        self.started = Some(Started {
            name: config.get("name").cloned().unwrap_or_default(),
            id,
            topic: config.get("topic").ok_or_else(|| needed("topic"))?.as_str().into(),
            pace: (throughput != 0).then(|| Pace::new((throughput > 0).then_some(throughput as f64))),
            is_complete: config.get("complete.record.data").is_some_and(|value| value.eq_ignore_ascii_case("true")),
            partition: Arc::new(partition),
            seqno_name: SEQNO.into(),
            seqno: stored.map_or(Ok(0), |stored| next_of(&stored))?,
            is_first: true,
            since: Instant::now(),
        });
        Ok(())
    }

    async fn poll(&mut self) -> Result<Polled> {
        let started = self.started.as_mut().ok_or_else(|| Error::fatal("poll was called before start"))?;
        Ok(started.poll(started.since.elapsed()))
    }

    fn wants_deliveries(&self) -> bool {
        true
    }

    async fn delivered(&mut self, records: &[Delivered]) -> Result<()> {
        let Some(started) = &self.started else { return Ok(()) };
        let committed = records.iter().filter_map(|record| {
            let SourceOffset::Count(_, seqno) = record.position.as_ref()?.offset else { return None };
            let mut line = started.line(seqno);
            line.insert("committed", Value::Boolean(true));
            Some(line)
        });
        line::print(&committed.collect::<Vec<_>>());
        Ok(())
    }
}

/// The number behind the stored one.
fn next_of(stored: &SourceMap) -> Result<i64> {
    let seqno = stored.get(SEQNO).and_then(serde_json::Value::as_i64);
    seqno.map(|seqno| seqno + 1).ok_or_else(|| {
        let stored = serde_json::Value::from(stored.clone());
        Error::config(format!("the stored offset {stored} has no number {SEQNO}: alter or reset the connector's offsets"))
    })
}

impl Started {
    /// What is due so long after the start.
    fn poll(&mut self, elapsed: Duration) -> Polled {
        let due = self.pace.as_ref().map_or(u64::from(self.is_first), |pace| pace.due(elapsed, BATCH_MAX));
        let (mut records, mut lines) = (Vec::new(), Vec::new());
        for _ in 0..due {
            let line = self.line(self.seqno);
            records.push(self.record(&line));
            lines.push(line);
            self.seqno += 1;
        }
        self.is_first = false;
        line::print(&lines);
        let next = match &mut self.pace {
            None => Next::Done,
            Some(pace) => {
                pace.sent(due);
                match pace.wait(elapsed) {
                    Duration::ZERO => Next::More,
                    wait => Next::Wait(wait),
                }
            }
        };
        Polled { records, next }
    }

    fn line(&self, seqno: i64) -> Map {
        let mut line = Map::with_capacity(6);
        line.insert("name", Value::string(&*self.name));
        line.insert("task", Value::Int32(self.id));
        line.insert("topic", Value::string(&*self.topic));
        line.insert("time_ms", Value::Int64(line::now_ms()));
        line.insert(SEQNO, Value::Int64(seqno));
        line
    }

    fn record(&self, line: &Map) -> SourceRecord {
        let seqno = Value::Int64(self.seqno);
        let value = if self.is_complete {
            let field = |name: &str| line.get(name).cloned().unwrap_or_default();
            let values = COMPLETE.fields.iter().map(|f| field(&f.name)).collect();
            SchemaAndValue::new(COMPLETE.clone(), Value::Struct(Struct::from_values(COMPLETE.clone(), values)))
        } else {
            SchemaAndValue::new(schema::INT64.clone(), seqno)
        };
        let record = Record {
            topic: self.topic.clone(),
            partition: None,
            key: Payload::decoded(SchemaAndValue::new(schema::INT32.clone(), Value::Int32(self.id))),
            value: Payload::decoded(value),
            headers: Headers::new(),
            timestamp: None,
            offset: None,
        };
        let offset = SourceOffset::Count(self.seqno_name.clone(), self.seqno);
        SourceRecord { record, position: Some(SourcePosition { partition: self.partition.clone(), offset }) }
    }
}

static COMPLETE: LazyLock<SchemaRef> = LazyLock::new(|| {
    let (text, int32, int64) = (Schema::new(Kind::String), Schema::new(Kind::Int32), Schema::new(Kind::Int64));
    let fields = [("name", text.clone()), ("task", int32), ("topic", text), ("time_ms", int64.clone()), (SEQNO, int64)];
    Arc::new(Schema::record(fields))
});

#[cfg(test)]
mod tests {
    use super::*;
    use penstock_api::{StoredOffsets, TaskId};

    struct Stored(Option<SourceMap>);

    #[async_trait]
    impl StoredOffsets for Stored {
        async fn stored(&self, partitions: &[SourceMap]) -> Result<Vec<Option<SourceMap>>> {
            assert_eq!(serde_json::Value::from(partitions[0].clone()).to_string(), r#"{"id":3}"#);
            Ok(vec![self.0.clone()])
        }
    }

    async fn task(throughput: &str, complete: &str, stored: Option<&str>) -> Result<VerifiableSourceTask> {
        let stored = stored.map(|text| serde_json::from_str(text).unwrap());
        let context = SourceContext::new(TaskId { connector: "v".into(), task: 3 }, Arc::new(Stored(stored)));
        let keys = [("name", "v"), ("id", "3"), ("topic", "t"), ("throughput", throughput), ("complete.record.data", complete)];
        let mut task = VerifiableSourceTask::default();
        task.start(&keys.map(|(key, value)| (key.to_owned(), value.to_owned())).into(), context).await.map(|()| task)
    }

    fn seqnos(polled: &Polled) -> Vec<i64> {
        let value = |record: &SourceRecord| record.record.value.peek().unwrap().value.as_i64().unwrap();
        polled.records.iter().map(value).collect()
    }

    #[tokio::test]
    async fn it_keeps_its_pace_and_goes_on_behind_what_is_stored() {
        let mut task = task("10", "false", Some(r#"{"seqno":41}"#)).await.unwrap();
        let started = task.started.as_mut().unwrap();
        let first = started.poll(Duration::ZERO);
        assert_eq!((seqnos(&first), first.next), (vec![42], Next::Wait(Duration::from_millis(100))));
        assert_eq!(first.records[0].position.as_ref().unwrap().offset, SourceOffset::Count(SEQNO.into(), 42));
        let second = started.poll(Duration::from_millis(350));
        assert_eq!((seqnos(&second), second.next), (vec![43, 44, 45], Next::Wait(Duration::from_millis(50))));
        assert!(started.poll(Duration::from_millis(399)).records.is_empty());
        // Java waits until it is stopped.
        let mut one = self::task("0", "", None).await.unwrap();
        let first = one.poll().await.unwrap();
        assert_eq!((seqnos(&first), first.next), (vec![0], Next::Done));
    }

    #[tokio::test]
    async fn values_are_complete_when_they_shall_be() {
        let mut task = task("-1", "True", None).await.unwrap();
        let polled = task.poll().await.unwrap();
        let Value::Struct(value) = &polled.records[1].record.value.peek().unwrap().value else { panic!("a struct") };
        assert_eq!((value.get(SEQNO), value.get("topic")), (Some(&Value::Int64(1)), Some(&Value::string("t"))));
        assert_eq!((polled.records.len() as u64, polled.next), (BATCH_MAX, Next::More));
    }

    #[tokio::test]
    async fn what_makes_no_sense_is_said() {
        let message = |result: Result<VerifiableSourceTask>| format!("{:#}", result.map(drop).unwrap_err());
        let expected = "Invalid VerifiableSourceTask configuration: throughput is fast, which is no number";
        assert_eq!(message(task("fast", "", None).await), expected);
        assert!(message(task("1", "", Some(r#"{"at":1}"#)).await).contains(r#"{"at":1} has no number seqno"#));
    }
}
