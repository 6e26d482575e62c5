//! One plugin that is called as a worker calls it. In the test's process it works on an author's traits; in the process that runs a
//! component on the same traits as the host gives them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use penstock_api::batch::{Batch, Verdict};
use penstock_api::transform::TransformContext;
use penstock_api::{
    Constructor, Delivered, Error, Offsets, Origin, Plugin, Predicate, Props, RawRecord, Result, SinkContext, SinkRecord,
    SinkTask, SourceContext, SourceMap, SourcePosition, SourceTask, StoredOffsets, TaskId, TimestampType, TopicPartition,
    Transform, async_trait,
};

use crate::call::{Answer, Call, Failure, Next, Outcome, Polled, Reply, Report};
use crate::record::TestRecord;

/// One plugin, of which one task at most is running.
pub struct Session {
    plugins: Vec<Plugin>,
    running: Running,
    tell: fn(&Error) -> Failure,
}

enum Running {
    Nothing,
    Transform(Box<dyn Transform>, TransformContext),
    Predicate(Box<dyn Predicate>, TransformContext),
    Sink(Sink),
    Source(Source),
}

struct Sink {
    task: Box<dyn SinkTask>,
    context: SinkContext,
    open: Vec<TopicPartition>,
    /// Behind the last record given of each partition.
    put: Offsets,
}

struct Source {
    task: Box<dyn SourceTask>,
    /// Given, and not yet acknowledged.
    given: Vec<SourcePosition>,
    unpositioned: usize,
}

impl Session {
    /// Classes that live in this process.
    #[must_use]
    pub fn native(plugins: Vec<Plugin>) -> Self {
        Self { plugins, running: Running::Nothing, tell: Failure::of }
    }

    /// Classes of a component, as the host gives them.
    #[must_use]
    pub fn component(plugins: Vec<Plugin>) -> Self {
        Self { plugins, running: Running::Nothing, tell: Failure::of_component }
    }

    /// Carries out a call.
    ///
    /// # Errors
    /// What the plugin said, or that the call does not fit what is running.
    pub async fn answer(&mut self, call: Call) -> Reply {
        let tell = self.tell;
        self.carry_out(call).await.map_err(|error| tell(&error))
    }

    async fn carry_out(&mut self, call: Call) -> Result<Answer> {
        let tell = self.tell;
        match (call, &mut self.running) {
            (Call::Validate { class, config }, _) => {
                let plugin = self.plugin(&class)?;
                let mut problems: Vec<(String, String)> =
                    plugin.config.validate(&config).into_iter().flat_map(problems).collect();
                problems.extend(match &plugin.construct {
                    Constructor::Sink(make) => make().validate(&config).await,
                    Constructor::Source(make) => make().validate(&config).await,
                    _ => Vec::new(),
                });
                Ok(Answer::Problems(problems))
            }
            (Call::Plan { class, config, tasks_max }, _) => {
                let plugin = self.plugin(&class)?;
                let config = filled_in(plugin, &config)?;
                let tasks = match &plugin.construct {
                    Constructor::Sink(make) => make().task_configs(&config, tasks_max).await,
                    Constructor::Source(make) => make().task_configs(&config, tasks_max).await,
                    _ => Err(Error::fatal(format!("{class} is no connector"))),
                };
                Ok(Answer::Plan(tasks?))
            }
            (Call::Start { class, config, stored }, _) => {
                self.running = start(self.plugin(&class)?, &config, stored).await?;
                Ok(Answer::Done)
            }
            (Call::Apply(records), Running::Transform(transform, context)) => {
                let mut batch = batch(&records);
                transform.apply_batch(&mut batch, context).await?;
                outcomes(batch, tell).map(Answer::Outcomes)
            }
            (Call::Test(records), Running::Predicate(predicate, context)) => {
                let mut batch = batch(&records);
                predicate.select(&mut batch, false, context).await?;
                let rows = batch.into_rows().into_iter();
                Ok(Answer::Matches(rows.map(|row| verdict(row.verdict, tell).map(|_| row.selected)).collect()))
            }
            (Call::Open(partitions), Running::Sink(sink)) => sink.open(partitions).await.map(Answer::Offsets),
            (Call::Put(records), Running::Sink(sink)) => sink.put(&records, tell).await.map(Answer::Reports),
            (Call::PreCommit, Running::Sink(sink)) => Ok(Answer::Offsets(listed(sink.task.pre_commit(&sink.put).await?))),
            (Call::Flush, Running::Sink(sink)) => sink.task.flush(&sink.open).await.map(|()| Answer::Done),
            (Call::Close { lost }, Running::Sink(sink)) => {
                sink.task.close(&std::mem::take(&mut sink.open), lost).await;
                Ok(Answer::Done)
            }
            (Call::Poll, Running::Source(source)) => source.poll().await.map(Answer::Polled),
            (Call::Acknowledge, Running::Source(source)) => source.acknowledge().await.map(|()| Answer::Done),
            (Call::Stop, _) => {
                self.stop().await;
                Ok(Answer::Done)
            }
            (call, _) => Err(Error::fatal(format!("no task is running that could be asked to {call:?}"))),
        }
    }

    fn plugin(&self, class: &str) -> Result<&Plugin> {
        let found = self.plugins.iter().find(|plugin| plugin.answers_to(class));
        found.ok_or_else(|| {
            let there: Vec<&str> = self.plugins.iter().map(|plugin| plugin.class.as_str()).collect();
            Error::config(format!("there is no class {class}: there are {}", there.join(", ")))
        })
    }

    async fn stop(&mut self) {
        match std::mem::replace(&mut self.running, Running::Nothing) {
            Running::Nothing => {}
            Running::Transform(mut transform, _) => transform.stop().await,
            Running::Predicate(mut predicate, _) => predicate.stop().await,
            Running::Sink(mut sink) => sink.task.stop().await,
            Running::Source(mut source) => source.task.stop().await,
        }
    }
}

fn problems(value: penstock_api::config::ConfigValue) -> impl Iterator<Item = (String, String)> {
    value.errors.into_iter().map(move |error| (value.name.clone(), error))
}

/// With the defaults of keys that were left out, as the worker gives a configuration.
fn filled_in(plugin: &Plugin, given: &Props) -> Result<Props> {
    let mut props = given.clone();
    for value in plugin.config.validate(given) {
        if let Some(wrong) = value.errors.into_iter().next() {
            return Err(Error::config(wrong));
        }
        if let Some(text) = value.value {
            props.insert(value.name, text);
        }
    }
    Ok(props)
}

async fn start(plugin: &Plugin, given: &Props, stored: Vec<(SourceMap, SourceMap)>) -> Result<Running> {
    let config = filled_in(plugin, given)?;
    let id = TaskId { connector: "test".into(), task: 0 };
    let context = TransformContext { task: id.clone(), alias: "test".into(), class: plugin.class.as_str().into() };
    Ok(match &plugin.construct {
        Constructor::Transformation(make) => {
            let mut transform = make(given)?;
            transform.start(&context).await?;
            Running::Transform(transform, context)
        }
        Constructor::Predicate(make) => {
            let mut predicate = make(given)?;
            predicate.start(&context).await?;
            Running::Predicate(predicate, context)
        }
        Constructor::Sink(make) => {
            let (mut task, context) = (make().task(), SinkContext::new(id));
            task.start(&config, context.clone()).await?;
            Running::Sink(Sink { task, context, open: Vec::new(), put: Offsets::new() })
        }
        Constructor::Source(make) => {
            let mut task = make().task();
            task.start(&config, SourceContext::new(id, Arc::new(Stored(Mutex::new(stored))))).await?;
            Running::Source(Source { task, given: Vec::new(), unpositioned: 0 })
        }
        Constructor::Converter(_) | Constructor::HeaderConverter(_) => {
            return Err(Error::fatal(format!("{} is a converter, which cases cannot call", plugin.class)));
        }
    })
}

fn batch(records: &[TestRecord]) -> Batch {
    let mut batch = Batch::with_capacity(records.len());
    for (row, record) in records.iter().enumerate() {
        batch.push(record.to_record(), row as u32);
    }
    batch
}

fn outcomes(batch: Batch, tell: fn(&Error) -> Failure) -> Result<Vec<Outcome>> {
    let outcome = |row: penstock_api::Row| {
        Ok(match verdict(row.verdict, tell) {
            Ok(true) => Outcome::Passed(TestRecord::of(&row.record)?),
            Ok(false) => Outcome::Dropped,
            Err(failure) => Outcome::Failed(failure),
        })
    };
    batch.into_rows().into_iter().map(outcome).collect()
}

/// Whether it is kept.
fn verdict(verdict: Verdict, tell: fn(&Error) -> Failure) -> std::result::Result<bool, Failure> {
    match verdict {
        Verdict::Keep => Ok(true),
        Verdict::Drop => Ok(false),
        Verdict::Fail(failure) => Err(tell(&failure.error)),
    }
}

impl Sink {
    async fn open(&mut self, partitions: Vec<(String, i32)>) -> Result<Vec<(String, i32, i64)>> {
        let opened: Vec<TopicPartition> =
            partitions.into_iter().map(|(topic, partition)| TopicPartition { topic: topic.into(), partition }).collect();
        self.task.open(&opened).await?;
        self.open.extend(opened);
        Ok(listed(self.context.take_requests().seek))
    }

    async fn put(&mut self, records: &[TestRecord], tell: fn(&Error) -> Failure) -> Result<Vec<Report>> {
        let mut raws = Vec::with_capacity(records.len());
        for (at, record) in records.iter().enumerate() {
            // A record without a place is the next one of its partition.
            let partition = TopicPartition { topic: record.topic.as_str().into(), partition: record.partition.unwrap_or(0) };
            let earlier = raws[..at]
                .iter()
                .rev()
                .find(|raw: &&RawRecord| raw.topic == partition.topic && raw.partition == partition.partition);
            let next = earlier.map_or_else(|| self.put.get(&partition).copied().unwrap_or(0), |raw| raw.offset + 1);
            raws.push(RawRecord {
                topic: partition.topic,
                partition: partition.partition,
                offset: record.offset.unwrap_or(next),
                timestamp: record.timestamp,
                timestamp_type: TimestampType::CreateTime,
                key: None,
                value: None,
                headers: None,
            });
        }
        let raws = Arc::new(raws);
        let given: Vec<SinkRecord> = records
            .iter()
            .enumerate()
            .map(|(at, record)| {
                let mut record = record.to_record();
                (record.partition, record.offset) = (Some(raws[at].partition), Some(raws[at].offset));
                SinkRecord { record, timestamp_type: TimestampType::CreateTime, origin: Origin::new(raws.clone(), at) }
            })
            .collect();
        self.task.put(&given).await?;
        for raw in raws.iter() {
            self.put.insert(TopicPartition { topic: raw.topic.clone(), partition: raw.partition }, raw.offset + 1);
        }
        let reports = self.context.take_requests().reports.into_iter();
        Ok(reports
            .map(|(origin, error)| Report {
                topic: origin.topic.to_string(),
                partition: origin.partition,
                offset: origin.offset,
                failure: tell(&error),
            })
            .collect())
    }
}

fn listed(offsets: Offsets) -> Vec<(String, i32, i64)> {
    offsets.into_iter().map(|(partition, offset)| (partition.topic.to_string(), partition.partition, offset)).collect()
}

impl Source {
    async fn poll(&mut self) -> Result<Polled> {
        let polled = self.task.poll().await?;
        let mut records = Vec::with_capacity(polled.records.len());
        for given in polled.records {
            let mut record = TestRecord::of(&given.record)?;
            match given.position {
                Some(position) => {
                    record.position = Some((SourceMap::clone(&position.partition), position.offset.to_map()));
                    self.given.push(position);
                }
                None => self.unpositioned += 1,
            }
            records.push(record);
        }
        let next = match polled.next {
            penstock_api::Next::More => Next::More,
            penstock_api::Next::Wait(time) => Next::Wait(time),
            penstock_api::Next::Done => Next::Done,
        };
        Ok(Polled { records, next })
    }

    async fn acknowledge(&mut self) -> Result<()> {
        let unpositioned = std::mem::take(&mut self.unpositioned);
        let given = std::mem::take(&mut self.given).into_iter().map(Some).chain((0..unpositioned).map(|_| None));
        let delivered: Vec<Delivered> = given.map(|position| Delivered { position, kept: None }).collect();
        if self.task.wants_deliveries() && !delivered.is_empty() {
            self.task.delivered(&delivered).await?;
        }
        self.task.commit().await
    }
}

/// What the worker keeps, as a case says it.
struct Stored(Mutex<Vec<(SourceMap, SourceMap)>>);

#[async_trait]
impl StoredOffsets for Stored {
    async fn stored(&self, partitions: &[SourceMap]) -> Result<Vec<Option<SourceMap>>> {
        let kept = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        // The order of a map's entries says nothing.
        let sorted =
            |map: &SourceMap| map.clone().into_iter().map(|(key, value)| (key, value.to_string())).collect::<BTreeMap<_, _>>();
        let find = |partition: &SourceMap| kept.iter().rev().find(|(known, _)| sorted(known) == sorted(partition));
        Ok(partitions.iter().map(|partition| find(partition).map(|(_, offset)| offset.clone())).collect())
    }
}
