//! The sink loop: fetch, convert, transform, settle failures, put, pre-commit, commit.

use penstock_api::{
    Batch, Constructor, Error, ErrorKind, Offsets, Origin, RawRecord, Result, SinkContext, SinkRecord, SinkTask, TopicPartition,
    Verdict, connector::PUT_INTERVAL_MAX,
};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};

use super::about::client_id;
use super::dead_letters::DeadLetterSender;
use super::errors::{ErrorHandler, put_failure};
use super::pipeline::Pipeline;
use super::unit::{self, Event, Reporter, TaskEvent, TaskHandle, TaskSpec, Wanted};
use crate::kafka::consumer::{Consumer, Departure, Polled};
use crate::kafka::settings;
use crate::metrics::{ActiveRecords, CommitOutcome, Doing, SinkTaskMetrics, Stage};

/// How long a batch waits that the connector refused for now, unless the connector says so itself.
const PUT_RETRY_DEFAULT: Duration = Duration::from_secs(1);
/// How often a connector is asked to open partitions before the task fails, and the wait between.
const OPEN_ATTEMPTS_MAX: u32 = 30;
const OPEN_RETRY: Duration = Duration::from_secs(1);
/// How often the task looks at every partition, for its metrics.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Starts a sink task; what becomes of it goes to `events`.
#[must_use]
pub fn start(spec: TaskSpec, events: mpsc::UnboundedSender<TaskEvent>) -> TaskHandle {
    let kept = spec.clone();
    unit::supervise(&kept, events, move |wanted, reporter| async move {
        let mut task = SinkLoop::start(spec, wanted.clone()).await?;
        let outcome = task.run(wanted, &reporter).await;
        let ended = task.end(outcome.is_ok()).await;
        outcome.and(ended)
    })
}

/// One sink task at work.
struct SinkLoop {
    spec: TaskSpec,
    consumer: Consumer,
    pipeline: Pipeline,
    errors: ErrorHandler,
    dead_letters: Option<DeadLetterSender>,
    task: Box<dyn SinkTask>,
    context: SinkContext,
    metrics: Arc<SinkTaskMetrics>,
    wanted: watch::Receiver<Wanted>,
    /// Partitions the task has open.
    open: BTreeSet<TopicPartition>,
    /// For each open partition, the offset behind the last record delivered or settled.
    put: Offsets,
    /// What was committed last, to commit only what is new.
    committed: Offsets,
    /// Where delivery began, for partitions of which nothing is committed yet.
    began_at: Offsets,
    in_flight: Option<InFlight>,
    /// What the connector asked for in its last call.
    seek: Offsets,
    commit_soon: bool,
    /// Fetching is held back, because the task is paused or a batch waits to be tried again.
    holding: bool,
    last_commit: Instant,
    last_put: Instant,
    last_look: Instant,
}

/// A batch between fetch and delivery. Nothing else is fetched meanwhile, so order within a partition holds.
struct InFlight {
    raws: Arc<Vec<RawRecord>>,
    stage: InFlightStage,
    /// When it is tried again, and how often it was.
    next_at: Instant,
    attempt: u32,
    since: Instant,
}

enum InFlightStage {
    /// Verdicts are noted; failures are yet to be settled.
    Settling(Batch),
    /// Ready for the connector.
    Delivering(Vec<SinkRecord>),
}

impl SinkLoop {
    async fn start(spec: TaskSpec, wanted: watch::Receiver<Wanted>) -> Result<Self> {
        let config = &spec.connector;
        let Constructor::Sink(make) = &config.plugin.construct else {
            return Err(Error::config(format!("connector.class {} is no sink", config.plugin.class)));
        };
        let pipeline = Pipeline::start(config, &spec.id).await?;
        let dead_letters = DeadLetterSender::start(config, &spec.id).await?;
        let mut task = make().task();
        let context = SinkContext::new(spec.id.clone());
        task.start(&spec.props, context.clone()).await.map_err(|e| e.context(format!("start task {}", spec.id)))?;
        let settings = settings::consumer(&format!("task {}", spec.id), &consumer_props(&spec))?;
        let consumer = Consumer::new(settings, config.topics.clone())?;
        Ok(Self {
            errors: ErrorHandler::new(spec.id.clone(), config.errors.clone(), spec.metrics.clone()),
            consumer,
            pipeline,
            dead_letters,
            task,
            context,
            metrics: spec.metrics.clone(),
            wanted,
            open: BTreeSet::new(),
            put: Offsets::new(),
            committed: Offsets::new(),
            began_at: Offsets::new(),
            in_flight: None,
            seek: Offsets::new(),
            commit_soon: false,
            holding: false,
            last_commit: Instant::now(),
            last_put: Instant::now(),
            last_look: Instant::now(),
            spec,
        })
    }

    /// Moves batches until told to stop.
    async fn run(&mut self, mut wanted: watch::Receiver<Wanted>, reporter: &Reporter) -> Result<()> {
        let mut reported = None;
        loop {
            let now = *wanted.borrow_and_update();
            if now.is_end() {
                return Ok(());
            }
            if reported != Some(now) {
                reported = Some(now);
                reporter.report(if now == Wanted::Paused { Event::Paused } else { Event::Running });
            }
            self.hold_or_release(now == Wanted::Paused)?;
            let wait = self.poll_wait(now == Wanted::Paused);
            let asked = Instant::now();
            tokio::select! {
                biased;
                changed = wanted.changed() => changed.map_err(|_| Error::fatal("the worker dropped this task"))?,
                polled = self.consumer.poll(wait) => self.step(polled?, now == Wanted::Paused, asked.elapsed()).await?,
            }
        }
    }

    /// One turn: take what the consumer has, move the batch in flight on, commit when it is time.
    async fn step(&mut self, polled: Polled, paused: bool, took: Duration) -> Result<()> {
        match polled {
            Polled::Records(raws) => self.fetched(raws, took).await?,
            Polled::Assigned(partitions) => self.opened(partitions).await?,
            Polled::Revoked(partitions) => self.closed(&partitions, false).await?,
            Polled::Lost(partitions) => self.closed(&partitions, true).await?,
            Polled::Nothing => {}
        }
        if self.in_flight.is_some() {
            self.advance().await?;
        } else if !paused && !self.open.is_empty() && self.last_put.elapsed() >= PUT_INTERVAL_MAX {
            self.put_nothing().await?;
        }
        self.commit_if_due().await?;
        self.look_around(paused);
        Ok(())
    }

    async fn fetched(&mut self, raws: Arc<Vec<RawRecord>>, took: Duration) -> Result<()> {
        self.metrics.fetched(raws.len(), took);
        self.metrics.progress.got_on();
        self.metrics.progress.waits(Doing::Deliver);
        let fetched = Instant::now();
        let mut batch = self.pipeline.convert_batch(&raws).await;
        let converted = Instant::now();
        self.pipeline.transform(&mut batch).await?;
        let now = Instant::now();
        self.metrics.stage(Stage::Convert, converted - fetched);
        self.metrics.stage(Stage::Transform, now - converted);
        let stage = InFlightStage::Settling(batch);
        self.in_flight = Some(InFlight { raws, stage, next_at: now, attempt: 0, since: now });
        Ok(())
    }

    /// Moves the batch in flight on, as far as it goes now.
    async fn advance(&mut self) -> Result<()> {
        let Some(mut flight) = self.in_flight.take_if(|flight| flight.next_at <= Instant::now()) else {
            return Ok(());
        };
        if let InFlightStage::Settling(batch) = flight.stage {
            match self.settle(&flight.raws, batch, flight.attempt, flight.since.elapsed()).await? {
                Settled::Ready(records) => {
                    flight = InFlight { stage: InFlightStage::Delivering(records), attempt: 0, since: Instant::now(), ..flight };
                }
                Settled::TryAgain(batch, wait) => {
                    let next_at = Instant::now() + wait;
                    self.in_flight =
                        Some(InFlight { stage: InFlightStage::Settling(batch), next_at, attempt: flight.attempt + 1, ..flight });
                    return Ok(());
                }
            }
        }
        let InFlightStage::Delivering(records) = flight.stage else { unreachable!("settled above") };
        match self.deliver(&records).await? {
            None => self.note_delivered(&flight.raws),
            Some(wait) => {
                let next_at = Instant::now() + wait;
                flight = InFlight { stage: InFlightStage::Delivering(records), next_at, attempt: flight.attempt + 1, ..flight };
                self.in_flight = Some(flight);
            }
        }
        self.rewind().await
    }

    /// Decides on every failure of a batch: the one place that does.
    ///
    /// On a second visit the rows that failed for now are run again from their raw records first.
    async fn settle(&mut self, raws: &Arc<Vec<RawRecord>>, mut batch: Batch, attempt: u32, since: Duration) -> Result<Settled> {
        if attempt > 0 {
            batch = self.run_failed_again(raws, batch).await?;
        }
        let mut wait: Option<Duration> = None;
        for row in batch.rows_mut() {
            let Verdict::Fail(failure) = &row.verdict else { continue };
            if let Some(again) = self.errors.retry_after(&failure.error, attempt, since) {
                wait = Some(wait.map_or(again, |w| w.min(again)));
            }
        }
        if let Some(wait) = wait {
            self.metrics.retries.add(1);
            return Ok(Settled::TryAgain(batch, wait));
        }
        let mut records = Vec::with_capacity(batch.rows().len());
        for row in batch.into_rows() {
            match row.verdict {
                Verdict::Keep => {
                    let origin = Origin::new(raws.clone(), row.origin as usize);
                    records.push(SinkRecord { record: row.record, timestamp_type: origin.timestamp_type, origin });
                }
                Verdict::Drop => {}
                Verdict::Fail(failure) => self.give_up(&raws[row.origin as usize], &failure).await?,
            }
        }
        Ok(Settled::Ready(records))
    }

    async fn run_failed_again(&mut self, raws: &[RawRecord], batch: Batch) -> Result<Batch> {
        let mut merged = Batch::with_capacity(batch.rows().len());
        for row in batch.into_rows() {
            if !matches!(&row.verdict, Verdict::Fail(failure) if failure.error.kind() == ErrorKind::Retriable) {
                merged.push_row(row);
                continue;
            }
            let origin = row.origin;
            let again = self.pipeline.run(std::slice::from_ref(&raws[origin as usize])).await?;
            for mut row in again.into_rows() {
                row.origin = origin;
                merged.push_row(row);
            }
        }
        Ok(merged)
    }

    /// Gives a record up: dead letter, log, or the end of the task. The dead letter of a record that ends the task is
    /// acknowledged before the task fails.
    async fn give_up(&mut self, raw: &RawRecord, failure: &penstock_api::Failure) -> Result<()> {
        let (letter, outcome) = self.errors.give_up(raw, failure);
        if let (Some(sender), Some(letter)) = (&mut self.dead_letters, letter) {
            sender.send(letter).await?;
            if outcome.is_err() {
                sender.flush().await.inspect_err(|_| self.metrics.dead_letter_failures.add(1))?;
            }
        }
        outcome
    }

    /// Hands records to the connector. `Some(wait)`: not now.
    async fn deliver(&mut self, records: &[SinkRecord]) -> Result<Option<Duration>> {
        self.last_put = Instant::now();
        self.metrics.progress.call(Doing::Put);
        let outcome = self.task.put(records).await;
        self.metrics.progress.returned();
        if !records.is_empty() {
            self.metrics.put(self.last_put.elapsed());
        }
        let retry_after = self.serve_requests().await?;
        match outcome {
            Ok(()) => {
                self.metrics.sent(records.len());
                Ok(None)
            }
            Err(error) if error.kind() == ErrorKind::Retriable => {
                self.metrics.retries.add(1);
                let wait = retry_after.unwrap_or(PUT_RETRY_DEFAULT);
                tracing::warn!(
                    retry_in_ms = wait.as_millis() as u64, error = %format!("{error:#}"),
                    "the connector cannot take records now: trying the same batch again"
                );
                Ok(Some(wait))
            }
            Err(error) => Err(error.context(format!("put records of task {}", self.spec.id))),
        }
    }

    /// Lets the connector do time-based work.
    async fn put_nothing(&mut self) -> Result<()> {
        self.deliver(&[]).await?;
        self.rewind().await
    }

    /// Does what the connector asked for during its last call. Answers the wait it asked for, should its put be tried again.
    async fn serve_requests(&mut self) -> Result<Option<Duration>> {
        let requests = self.context.take_requests();
        for (origin, error) in requests.reports {
            let failure = put_failure(&self.spec.connector.plugin.class.as_str().into(), error);
            self.give_up(&origin, &failure).await?;
        }
        self.seek.extend(requests.seek);
        self.commit_soon |= requests.commit;
        Ok(requests.retry_after)
    }

    /// Reads on from where the connector asked to, after its call is settled.
    async fn rewind(&mut self) -> Result<()> {
        let mut wanted = Offsets::new();
        for (partition, offset) in std::mem::take(&mut self.seek) {
            if !self.open.contains(&partition) {
                continue;
            }
            self.forget_in_flight(std::slice::from_ref(&partition));
            wanted.insert(partition.clone(), offset);
            self.put.insert(partition, offset);
        }
        if wanted.is_empty() {
            return Ok(());
        }
        self.consumer.seek(&wanted).await.map_err(|e| e.context(format!("seek for task {}", self.spec.id)))
    }

    /// All records of the batch are delivered, dropped on purpose, or given up.
    fn note_delivered(&mut self, raws: &[RawRecord]) {
        // Invariant 2: offsets stem from the fetched records, whatever transforms made of them.
        for run in raws.chunk_by(|a, b| a.partition == b.partition && Arc::ptr_eq(&a.topic, &b.topic)) {
            let last = &run[run.len() - 1];
            let partition = TopicPartition { topic: last.topic.clone(), partition: last.partition };
            if self.put.insert(partition.clone(), last.offset + 1).is_none() {
                self.began_at.insert(partition, run[0].offset);
            }
        }
        self.metrics.progress.got_on();
    }

    /// Opens new partitions in the connector, then fetches from where it wants to start.
    async fn opened(&mut self, partitions: Vec<TopicPartition>) -> Result<()> {
        let mut attempt = 0;
        self.metrics.progress.call(Doing::Open);
        while let Err(error) = self.task.open(&partitions).await {
            attempt += 1;
            let gives_up = error.kind() != ErrorKind::Retriable || attempt >= OPEN_ATTEMPTS_MAX;
            if gives_up || self.wanted.borrow().is_end() {
                return Err(error.context(format!("open partitions of task {}", self.spec.id)));
            }
            tokio::time::sleep(OPEN_RETRY).await;
        }
        self.metrics.progress.returned();
        let requests = self.context.take_requests();
        self.consumer.accept(&requests.seek)?;
        // Where the connector starts is delivered as far as it is concerned: it is offered for commit even if no record follows.
        self.put.extend(requests.seek.into_iter().filter(|(partition, _)| partitions.contains(partition)));
        if self.holding {
            self.consumer.pause(&partitions)?;
        }
        self.open.extend(partitions);
        Ok(())
    }

    /// Partitions leave: what was delivered is committed, unless they already belong to somebody else.
    async fn closed(&mut self, partitions: &[TopicPartition], lost: bool) -> Result<()> {
        self.forget_in_flight(partitions);
        if !lost {
            self.commit(Some(partitions)).await?;
        }
        self.task.close(partitions, lost).await;
        for partition in partitions {
            self.open.remove(partition);
            self.put.remove(partition);
            self.committed.remove(partition);
            self.began_at.remove(partition);
        }
        self.consumer.release()
    }

    /// Undelivered records of partitions that leave are somebody else's to deliver.
    fn forget_in_flight(&mut self, partitions: &[TopicPartition]) {
        let leaves = |raw: &RawRecord| partitions.iter().any(|p| p.partition == raw.partition && p.topic == raw.topic);
        let Some(flight) = &mut self.in_flight else { return };
        match &mut flight.stage {
            InFlightStage::Delivering(records) => records.retain(|record| !leaves(&record.origin)),
            InFlightStage::Settling(batch) => {
                let rows = std::mem::take(batch).into_rows();
                for row in rows.into_iter().filter(|row| !leaves(&flight.raws[row.origin as usize])) {
                    batch.push_row(row);
                }
            }
        }
    }

    async fn commit_if_due(&mut self) -> Result<()> {
        if !self.commit_soon && self.last_commit.elapsed() < self.spec.commit_interval {
            return Ok(());
        }
        self.commit_soon = false;
        self.last_commit = Instant::now();
        self.metrics.progress.call(Doing::Commit);
        let outcome = self.commit(None).await;
        self.metrics.progress.returned();
        outcome
    }

    /// Commits what is durable, of all open partitions or of `only` these.
    async fn commit(&mut self, only: Option<&[TopicPartition]>) -> Result<()> {
        let wanted = |partition: &TopicPartition| only.is_none_or(|only| only.contains(partition));
        let put: Offsets = self.put.iter().filter(|(p, _)| wanted(p)).map(|(p, o)| (p.clone(), *o)).collect();
        if put.is_empty() {
            return Ok(());
        }
        let began = Instant::now();
        let durable = match self.task.pre_commit(&put).await {
            Ok(durable) => durable,
            Err(error) if error.kind() == ErrorKind::Retriable => return self.skip_commit(&error, began),
            Err(error) => return Err(error.context(format!("pre-commit offsets of task {}", self.spec.id))),
        };
        self.serve_requests().await?;
        // Invariant 1: durable by the task's word, and no dead letter still under way.
        if let Some(sender) = &mut self.dead_letters {
            sender.flush().await.inspect_err(|_| self.metrics.dead_letter_failures.add(1))?;
        }
        let news: Offsets = durable
            .into_iter()
            .filter(|(p, offset)| put.get(p).is_some_and(|delivered| offset <= delivered))
            .filter(|(p, offset)| self.committed.get(p) != Some(offset))
            .collect();
        if news.is_empty() {
            return Ok(());
        }
        match tokio::time::timeout(self.spec.commit_timeout, self.consumer.commit(&news)).await {
            Ok(Ok(())) => {
                self.metrics.committed(CommitOutcome::Done, began.elapsed());
                self.committed.extend(news);
                Ok(())
            }
            Ok(Err(error)) if error.kind() == ErrorKind::Retriable => self.skip_commit(&error, began),
            Ok(Err(error)) => {
                self.metrics.committed(CommitOutcome::Failed, began.elapsed());
                Err(error.context(format!("commit offsets of task {}", self.spec.id)))
            }
            Err(_late) => {
                self.metrics.committed(CommitOutcome::Skipped, began.elapsed());
                tracing::warn!("brokers did not answer within offset.flush.timeout.ms; a later commit makes up for this one");
                Ok(())
            }
        }
    }

    fn skip_commit(&self, error: &Error, began: Instant) -> Result<()> {
        self.metrics.committed(CommitOutcome::Failed, began.elapsed());
        tracing::warn!(error = %format!("{error:#}"), "offsets were not committed this time; a later commit makes up for it");
        Ok(())
    }

    /// Every now and then: counts the records under way, and sees whether some wait in Kafka.
    fn look_around(&mut self, paused: bool) {
        if self.last_look.elapsed() < LOOK_INTERVAL {
            return;
        }
        self.last_look = Instant::now();
        if self.in_flight.is_none() {
            let records_wait = !paused && !self.open.is_empty() && self.consumer.is_behind();
            if records_wait { self.metrics.progress.waits(Doing::Fetch) } else { self.metrics.progress.got_on() }
        }
        let uncommitted = |(partition, put): (&TopicPartition, &i64)| {
            let done = self.committed.get(partition).or_else(|| self.began_at.get(partition)).unwrap_or(put);
            u64::try_from(put - done).unwrap_or(0)
        };
        let (sum, lag_max) = self.put.iter().map(uncommitted).fold((0, 0), |(sum, max), lag| (sum + lag, max.max(lag)));
        let in_flight = self.in_flight.as_ref().map_or(0, |flight| flight.raws.len());
        self.metrics.active(ActiveRecords {
            count: sum + in_flight as u64,
            lag_max,
            behind_end_max: self.consumer.lag_max().and_then(|lag| u64::try_from(lag).ok()),
            partitions: self.open.len() as u64,
        });
    }

    /// Fetching rests while the task is paused or a batch waits.
    fn hold_or_release(&mut self, paused: bool) -> Result<()> {
        let hold = paused || self.in_flight.is_some();
        if hold != self.holding && !self.open.is_empty() {
            let open: Vec<_> = self.open.iter().cloned().collect();
            if hold {
                self.consumer.pause(&open)?;
            } else {
                self.consumer.resume(&open)?;
            }
            self.holding = hold;
        }
        Ok(())
    }

    /// How long the consumer may wait for something to happen.
    fn poll_wait(&self, paused: bool) -> Duration {
        let until_commit = self.spec.commit_interval.saturating_sub(self.last_commit.elapsed());
        let until_work = match &self.in_flight {
            Some(flight) => flight.next_at.saturating_duration_since(Instant::now()),
            None if paused || self.open.is_empty() => until_commit,
            None => PUT_INTERVAL_MAX.saturating_sub(self.last_put.elapsed()),
        };
        until_work.min(until_commit)
    }

    /// Ends the task: after a clean run with a last commit, after a failure without one.
    async fn end(mut self, clean: bool) -> Result<()> {
        self.in_flight = None;
        let committed = if clean { self.commit(None).await } else { Ok(()) };
        let open: Vec<_> = std::mem::take(&mut self.open).into_iter().collect();
        self.task.close(&open, false).await;
        self.task.stop().await;
        self.pipeline.stop().await;
        let is_succeeded = *self.wanted.borrow() == Wanted::HandedOver;
        self.consumer.close(if is_succeeded { Departure::Stay } else { Departure::Leave }).await;
        committed
    }
}

/// What settling a batch came to.
enum Settled {
    Ready(Vec<SinkRecord>),
    TryAgain(Batch, Duration),
}

/// The consumer's settings: what the connector overrides, above what makes it this task's.
fn consumer_props(spec: &TaskSpec) -> penstock_api::Props {
    let mut props = spec.connector.consumer.clone();
    let mut default = |key: &str, value: String| {
        props.entry(key.into()).or_insert(value);
    };
    default("group.id", format!("connect-{}", spec.id.connector));
    default("client.id", client_id(&spec.id));
    // A successor takes a dead task's place at once, and its siblings are not disturbed.
    default("group.instance.id", spec.id.to_string());
    props
}
