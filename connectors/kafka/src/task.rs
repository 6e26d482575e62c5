//! Reads partitions of the source cluster on from the stored offsets.

use penstock_api::{
    Error, Format, Headers, Next, Payload, Polled, Props, RawRecord, Record, Result, SourceContext, SourceMap, SourceOffset,
    SourcePosition, SourceRecord, SourceTask, TopicPartition, async_trait,
};
use penstock_kafka_clients::{Consumer, Polled as Fetched, settings};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::config::{Settings, TASK_PARTITIONS};
use crate::{plan, position};

#[derive(Default)]
pub(crate) struct KafkaSourceTask {
    started: Option<Started>,
}

struct Started {
    consumer: Consumer,
    poll_timeout: Duration,
    offset_name: Arc<str>,
    /// Of each partition at the source, by topic and number.
    routes: BTreeMap<Arc<str>, BTreeMap<i32, Route>>,
}

struct Route {
    /// What the topic is called here.
    topic: Arc<str>,
    partition: Arc<SourceMap>,
}

#[async_trait]
impl SourceTask for KafkaSourceTask {
    async fn start(&mut self, config: &Props, context: SourceContext) -> Result<()> {
        let mut settings = Settings::parse(config)?;
        let own = plan::partitions_of(config.get(TASK_PARTITIONS).map_or("", String::as_str))?;
        let source: Vec<SourceMap> =
            own.iter().map(|partition| position::partition_of(&settings.source_alias, partition)).collect();
        let stored = context.stored(&source).await?;
        let mut starts = BTreeMap::new();
        for (partition, stored) in own.iter().zip(stored) {
            let next = stored.map(|stored| position::next_of(&stored)).transpose();
            starts.insert(partition.clone(), next.map_err(|e| e.context(format!("go on with {partition}")))?);
        }
        // It is no member of a group and commits nothing; librdkafka asks for a name all the same.
        settings.consumer.insert("group.id".into(), format!("penstock-{}", context.task));
        let client = settings::consumer(&format!("task {}", context.task), &settings.consumer)?;
        let consumer = Consumer::of_partitions(client, &starts)?;
        let routes = routes(&settings, own, source);
        self.started =
            Some(Started { consumer, poll_timeout: settings.poll_timeout, offset_name: position::OFFSET.into(), routes });
        Ok(())
    }

    async fn poll(&mut self) -> Result<Polled> {
        let started = self.started.as_mut().ok_or_else(|| Error::fatal("poll was called before start"))?;
        // Nothing is awaited once records are taken.
        let Fetched::Records(raws) = started.consumer.poll(started.poll_timeout).await? else { return Ok(Polled::default()) };
        let records = Arc::unwrap_or_clone(raws).into_iter().map(|raw| started.record(raw)).collect::<Result<_>>()?;
        Ok(Polled { records, next: Next::More })
    }

    async fn stop(&mut self) {
        self.started = None;
    }
}

fn routes(settings: &Settings, own: Vec<TopicPartition>, source: Vec<SourceMap>) -> BTreeMap<Arc<str>, BTreeMap<i32, Route>> {
    let mut routes: BTreeMap<Arc<str>, BTreeMap<i32, Route>> = BTreeMap::new();
    for (TopicPartition { topic, partition }, source) in own.into_iter().zip(source) {
        let name: Arc<str> = settings.policy.name_here(&settings.source_alias, &topic).into();
        routes.entry(topic).or_default().insert(partition, Route { topic: name, partition: Arc::new(source) });
    }
    routes
}

impl Started {
    fn record(&self, raw: RawRecord) -> Result<SourceRecord> {
        let route = self.routes.get(&raw.topic).and_then(|partitions| partitions.get(&raw.partition));
        let route = route
            .ok_or_else(|| Error::fatal(format!("a record of {}-{}, which is not this task's", raw.topic, raw.partition)))?;
        let bytes = |bytes| Payload::encoded(bytes, Format::Bytes);
        let mut headers = Headers::new();
        for header in raw.headers.into_iter().flatten() {
            headers.add(header.key, header.value.map_or(Payload::null(), bytes));
        }
        let record = Record {
            topic: route.topic.clone(),
            partition: Some(raw.partition),
            key: raw.key.map_or(Payload::null(), bytes),
            value: raw.value.map_or(Payload::null(), bytes),
            headers,
            timestamp: raw.timestamp,
            offset: None,
        };
        let offset = SourceOffset::Count(self.offset_name.clone(), raw.offset);
        Ok(SourceRecord { record, position: Some(SourcePosition { partition: route.partition.clone(), offset }) })
    }
}
