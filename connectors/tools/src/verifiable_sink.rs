//! Says on standard output which records came, and which of them were committed.

use penstock_api::{
    Connector, Error, Map, Offsets, Props, Result, SinkConnector, SinkContext, SinkRecord, SinkTask, TopicPartition, Value,
    async_trait,
};
use std::collections::BTreeMap;

use crate::{line, number, numbered};

pub(crate) struct VerifiableSink;

#[async_trait]
impl Connector for VerifiableSink {
    async fn task_configs(&self, config: &Props, tasks_max: u32) -> Result<Vec<Props>> {
        Ok(numbered(config, tasks_max))
    }
}

impl SinkConnector for VerifiableSink {
    fn task(&self) -> Box<dyn SinkTask> {
        Box::<VerifiableSinkTask>::default()
    }
}

#[derive(Default)]
struct VerifiableSinkTask {
    name: String,
    id: i32,
    /// What was said of records that are not committed yet: as many as come between two commits.
    unflushed: BTreeMap<TopicPartition, Vec<Map>>,
}

#[async_trait]
impl SinkTask for VerifiableSinkTask {
    async fn start(&mut self, config: &Props, _context: SinkContext) -> Result<()> {
        self.name = config.get("name").cloned().unwrap_or_default();
        self.id = number(config, "id")?.ok_or_else(|| Error::config("id is missing: the connector numbers its tasks by it"))?;
        Ok(())
    }

    async fn put(&mut self, records: &[SinkRecord]) -> Result<()> {
        let lines = records.iter().map(|record| self.line(record)).collect::<Result<Vec<_>>>()?;
        line::print(&lines);
        for (record, line) in records.iter().zip(lines) {
            let partition = TopicPartition { topic: record.record.topic.clone(), partition: record.origin.partition };
            self.unflushed.entry(partition).or_default().push(line);
        }
        Ok(())
    }

    async fn pre_commit(&mut self, put: &Offsets) -> Result<Offsets> {
        let now_ms = Value::Int64(line::now_ms());
        let mut flushed: Vec<Map> = put.keys().filter_map(|partition| self.unflushed.remove(partition)).flatten().collect();
        for line in &mut flushed {
            line.insert("time_ms", now_ms.clone());
            line.insert("flushed", Value::Boolean(true));
        }
        line::print(&flushed);
        Ok(put.clone())
    }

    async fn close(&mut self, partitions: &[TopicPartition], _lost: bool) {
        for partition in partitions {
            self.unflushed.remove(partition);
        }
    }
}

impl VerifiableSinkTask {
    fn line(&self, record: &SinkRecord) -> Result<Map> {
        let SinkRecord { record, origin, .. } = record;
        let mut line = Map::with_capacity(8);
        line.insert("name", Value::string(&*self.name));
        line.insert("task", record.key.view()?.value.clone());
        line.insert("sinkTask", Value::Int32(self.id));
        line.insert("topic", Value::string(&*record.topic));
        line.insert("time_ms", Value::Int64(line::now_ms()));
        line.insert("seqno", record.value.view()?.value.clone());
        line.insert("offset", Value::Int64(origin.offset));
        Ok(line)
    }
}
