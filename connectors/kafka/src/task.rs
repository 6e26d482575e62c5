//! Reads partitions of the source cluster on from the stored offsets.

use penstock_api::record::RawHeader;
use penstock_api::{
    Bytes, CopiedPartition, CopyMetrics, Delivered, Error, Format, Header, Headers, Next, Payload, Polled, Props, RawRecord,
    Record, Result, SourceContext, SourceMap, SourceOffset, SourcePosition, SourceRecord, SourceTask, Spread, TopicPartition,
    async_trait,
};
use penstock_kafka_clients::{Consumer, Polled as Fetched, settings};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::time::Instant;

use crate::config::{Settings, TASK_PARTITIONS};
use crate::keys::Shared;
use crate::syncs::SyncWriter;
use crate::under_way::{Counted, UnderWay};
use crate::{plan, position, record};

/// How often it is looked how far behind the ends of its partitions the task is.
const LAG_INTERVAL: Duration = Duration::from_secs(1);

#[derive(Default)]
pub(crate) struct KafkaSourceTask {
    started: Option<Started>,
}

struct Started {
    consumer: Consumer,
    poll_timeout: Duration,
    offset_name: Arc<str>,
    routes: Routes,
    under_way: UnderWay,
    syncs: Option<SyncWriter>,
    metrics: Arc<dyn CopyMetrics>,
    next_lag_at: Instant,
}

/// The task's partitions.
struct Routes {
    all: Vec<Route>,
    /// By topic and number at the source.
    by_name: BTreeMap<Arc<str>, BTreeMap<i32, usize>>,
    /// By the address of the map that stands for the partition.
    by_map: HashMap<usize, usize>,
    /// The map that was looked up last, and its place: records of a partition mostly come together.
    last: Option<(usize, usize)>,
}

struct Route {
    at_source: TopicPartition,
    /// What the topic is called at the target.
    topic: Arc<str>,
    map: Arc<SourceMap>,
}

#[async_trait]
impl SourceTask for KafkaSourceTask {
    async fn start(&mut self, config: &Props, context: SourceContext) -> Result<()> {
        let mut settings = Settings::parse(config)?;
        let own = plan::partitions_of(config.get(TASK_PARTITIONS).map_or("", String::as_str))?;
        let alias = &settings.shared.source_alias;
        let source: Vec<SourceMap> = own.iter().map(|partition| position::partition_of(alias, partition)).collect();
        let stored = context.stored(&source).await?;
        let mut starts = BTreeMap::new();
        for (partition, stored) in own.iter().zip(stored) {
            let next = stored.map(|stored| position::next_of(&stored)).transpose();
            starts.insert(partition.clone(), next.map_err(|e| e.context(format!("go on with {partition}")))?);
        }
        // It is no member of a group and commits nothing; librdkafka asks for a name all the same.
        settings.consumer.insert("group.id".into(), format!("penstock-{}", context.task));
        settings.consumer.entry("librdkafka.enable.partition.eof".into()).or_insert_with(|| "true".into());
        let client_id = client_id(&mut settings, &context);
        let who = format!("task {}", context.task);
        let consumer = Consumer::of_partitions(settings::consumer(&who, &settings.consumer)?, &starts)?;
        let new_writer = |syncs| SyncWriter::new(&who, syncs, own.clone());
        let syncs = settings.syncs.as_ref().map(new_writer).transpose()?;
        let routes = Routes::new(&settings, own, source);
        let copied = |route: &Route| CopiedPartition { at_source: route.at_source.clone(), topic: route.topic.clone() };
        let Shared { source_alias, target_alias, .. } = &settings.shared;
        context.copies.begin(source_alias, target_alias, &client_id, routes.all.iter().map(copied).collect());
        self.started = Some(Started {
            consumer,
            poll_timeout: settings.poll_timeout,
            offset_name: position::OFFSET.into(),
            under_way: UnderWay::new(routes.all.len()),
            routes,
            syncs,
            metrics: context.copies,
            next_lag_at: Instant::now(),
        });
        Ok(())
    }

    async fn poll(&mut self) -> Result<Polled> {
        let started = self.started.as_mut().ok_or_else(|| Error::fatal("poll was called before start"))?;
        // Nothing is awaited once records are taken.
        let fetched = started.consumer.poll(started.poll_timeout).await?;
        started.look_how_far_behind();
        let Fetched::Records(raws) = fetched else { return Ok(Polled::default()) };
        Ok(Polled { records: started.records(Arc::unwrap_or_clone(raws))?, next: Next::More })
    }

    fn wants_deliveries(&self) -> bool {
        true
    }

    async fn delivered(&mut self, records: &[Delivered]) -> Result<()> {
        let Some(Started { routes, under_way, syncs, metrics, .. }) = &mut self.started else { return Ok(()) };
        let now = record::now_ms(SystemTime::now());
        let mut latencies = Counted::default();
        for Delivered { position, kept } in records {
            let Some(SourcePosition { partition, offset: SourceOffset::Count(_, upstream) }) = position else { continue };
            let Some(place) = routes.place_of(partition) else { continue };
            let timestamp = under_way.end(place, *upstream);
            // What a transform has dropped is nowhere.
            let Some((_, _, downstream)) = kept else { continue };
            if let Some(timestamp) = timestamp {
                latencies.of(place, |place, spread| metrics.copied(place, spread)).add((now - timestamp) as f64);
            }
            if let Some(syncs) = syncs {
                syncs.delivered(place, *upstream, *downstream).await;
            }
        }
        latencies.end(|place, spread| metrics.copied(place, spread));
        if let Some(syncs) = syncs {
            syncs.send().await;
        }
        Ok(())
    }

    async fn commit(&mut self) -> Result<()> {
        if let Some(Started { syncs: Some(syncs), .. }) = &mut self.started {
            syncs.stored();
            syncs.send().await;
        }
        Ok(())
    }

    async fn stop(&mut self) {
        if let Some(Started { syncs: Some(syncs), .. }) = self.started.take() {
            syncs.close().await;
        }
    }
}

impl Routes {
    fn new(settings: &Settings, own: Vec<TopicPartition>, source: Vec<SourceMap>) -> Self {
        let mut routes = Self { all: Vec::new(), by_name: BTreeMap::new(), by_map: HashMap::new(), last: None };
        for (at, (at_source, map)) in own.into_iter().zip(source).enumerate() {
            let (topic, map) = (settings.shared.policy.name_here(&at_source.topic).into(), Arc::new(map));
            routes.by_name.entry(at_source.topic.clone()).or_default().insert(at_source.partition, at);
            routes.by_map.insert(Arc::as_ptr(&map) as usize, at);
            routes.all.push(Route { at_source, topic, map });
        }
        routes
    }

    /// Of a partition at the source.
    fn place(&self, topic: &Arc<str>, partition: i32) -> Result<usize> {
        let place = self.by_name.get(topic).and_then(|partitions| partitions.get(&partition));
        place.copied().ok_or_else(|| Error::fatal(format!("a record of {topic}-{partition}, which is not this task's")))
    }

    /// Of the partition of a position that was given out.
    fn place_of(&mut self, map: &Arc<SourceMap>) -> Option<usize> {
        let map = Arc::as_ptr(map) as usize;
        if let Some((_, place)) = self.last.filter(|(last, _)| *last == map) {
            return Some(place);
        }
        let place = *self.by_map.get(&map)?;
        self.last = Some((map, place));
        Some(place)
    }
}

impl Started {
    /// Records of one partition mostly come one after the other: each partition is looked up once for all of them.
    fn records(&mut self, raws: Vec<RawRecord>) -> Result<Vec<SourceRecord>> {
        let now = record::now_ms(SystemTime::now());
        let mut records = Vec::with_capacity(raws.len());
        let mut raws = raws.into_iter().peekable();
        while let Some(first) = raws.peek() {
            let (topic, partition) = (first.topic.clone(), first.partition);
            let place = self.routes.place(&topic, partition)?;
            let (mut bytes, mut ages) = (0, Spread::NONE);
            while let Some(raw) = raws.next_if(|raw| raw.partition == partition && Arc::ptr_eq(&raw.topic, &topic)) {
                bytes += raw.value.as_ref().map_or(0, Bytes::len) as u64;
                // Records without a timestamp are as old as can be, in Java, too.
                let timestamp = raw.timestamp.unwrap_or(-1);
                ages.add((now - timestamp) as f64);
                self.under_way.begin(place, raw.offset, timestamp);
                records.push(self.record(raw, &self.routes.all[place]));
            }
            self.metrics.read(place, bytes, ages);
        }
        Ok(records)
    }

    fn look_how_far_behind(&mut self) {
        let now = Instant::now();
        if now < self.next_lag_at {
            return;
        }
        self.next_lag_at = now + LAG_INTERVAL;
        for (partition, lag) in self.consumer.lags() {
            if let Ok(place) = self.routes.place(&partition.topic, partition.partition) {
                self.metrics.behind(place, lag);
            }
        }
    }

    fn record(&self, raw: RawRecord, route: &Route) -> SourceRecord {
        let bytes = |bytes| Payload::encoded(bytes, Format::Bytes);
        let header = |header: RawHeader| Header { key: header.key, value: header.value.map_or(Payload::null(), bytes) };
        let headers = raw.headers.map_or(Headers::new(), |headers| headers.into_iter().map(header).collect());
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
        SourceRecord { record, position: Some(SourcePosition { partition: route.map.clone(), offset }) }
    }
}

/// As MirrorMaker calls the consumer, unless it is told otherwise.
fn client_id(settings: &mut Settings, context: &SourceContext) -> String {
    let Shared { source_alias, target_alias, .. } = &settings.shared;
    let client_id = format!("{source_alias}->{target_alias}|{}|replication-consumer", context.task);
    settings.consumer.entry("client.id".into()).or_insert(client_id).clone()
}
