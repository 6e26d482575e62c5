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
use super::dead_letters::{self, DeadLetterSender, LETTERS_WAIT};
use super::errors::{Culprit, ErrorHandler, put_failure};
use super::pipeline::Pipeline;
use super::topics::TopicsUsed;
use super::unit::{self, Event, Reporter, TaskEvent, TaskHandle, TaskSpec, Wanted};
use crate::kafka::consumer::{Consumer, Departure, Polled};
use crate::kafka::settings;
use crate::metrics::{ActiveRecords, CommitOutcome, Doing, Stage, TaskMetrics};

/// How long a batch waits that the connector refused for now, unless the connector says so itself.
const PUT_RETRY_DEFAULT: Duration = Duration::from_secs(1);
/// Before a connector is asked again to open partitions.
const OPEN_RETRY: Duration = Duration::from_secs(1);
/// How often the task looks at every partition, for its metrics.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// After a dead letter a commit is due within this time, though `offset.flush.interval.ms` be longer: it notes the letter.
const LETTERS_COMMIT_INTERVAL: Duration = Duration::from_secs(1);
/// Before a last commit that failed is tried again.
const LAST_COMMIT_RETRY: Duration = Duration::from_millis(100);

/// Starts a sink task; what becomes of it goes to `events`.
#[must_use]
pub fn start(spec: TaskSpec, events: mpsc::UnboundedSender<TaskEvent>) -> TaskHandle {
    let kept = spec.clone();
    unit::supervise(&kept, events, move |wanted, reporter| async move {
        let mut task = SinkLoop::start(spec, wanted.clone(), reporter).await?;
        let outcome = task.run(wanted).await;
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
    metrics: Arc<TaskMetrics>,
    wanted: watch::Receiver<Wanted>,
    reporter: Reporter,
    topics_used: TopicsUsed,
    /// Partitions the task has open.
    open: BTreeSet<TopicPartition>,
    /// For each open partition, the offset behind the last record delivered or settled.
    put: Offsets,
    /// What was committed last, to commit only what is new.
    committed: Offsets,
    /// Where delivery began, for partitions of which nothing is committed yet.
    began_at: Offsets,
    /// Where a connector that keeps its offsets itself would begin.
    begins: Offsets,
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
    Delivering(Arc<Vec<SinkRecord>>),
}

impl SinkLoop {
    async fn start(spec: TaskSpec, wanted: watch::Receiver<Wanted>, reporter: Reporter) -> Result<Self> {
        let config = &spec.connector;
        let Constructor::Sink(make) = &config.plugin.construct else {
            return Err(Error::config(format!("connector.class {} is no sink", config.plugin.class)));
        };
        let pipeline = Pipeline::start(config, &spec.id).await?;
        let dead_letters = DeadLetterSender::start(config, &spec.id, spec.metrics.clone()).await?;
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
            reporter,
            topics_used: TopicsUsed::default(),
            open: BTreeSet::new(),
            put: Offsets::new(),
            committed: Offsets::new(),
            began_at: Offsets::new(),
            begins: Offsets::new(),
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
    async fn run(&mut self, mut wanted: watch::Receiver<Wanted>) -> Result<()> {
        let mut reported = None;
        loop {
            let now = *wanted.borrow_and_update();
            if now.is_end() {
                return Ok(());
            }
            if reported != Some(now) {
                reported = Some(now);
                self.reporter.report(if now == Wanted::Paused { Event::Paused } else { Event::Running });
                if now == Wanted::Paused {
                    self.settle_down().await?;
                }
            }
            self.hold_or_release(now == Wanted::Paused)?;
            let wait = self.poll_wait();
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
        } else if !self.open.is_empty() && self.last_put.elapsed() >= PUT_INTERVAL_MAX {
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
        if self.spec.track_topics {
            for topic in self.topics_used.news(&raws, &batch, now) {
                self.reporter.report(Event::TopicUsed { topic });
            }
        }
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
                    let records = Arc::new(records);
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
        if !self.letters_are_safe().await? {
            self.in_flight = Some(InFlight { stage: InFlightStage::Delivering(records), ..flight });
            return Ok(());
        }
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
        if let Some(sender) = &self.dead_letters {
            // Read before, and settled then: neither a second letter, nor a row beside the letter.
            for row in batch.rows_mut().iter_mut().filter(|row| sender.has(&raws[row.origin as usize])) {
                row.verdict = Verdict::Drop;
            }
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
        let (letter, outcome) = self.errors.give_up(Culprit::Consumed(raw), failure);
        // Of a partition that has left, the record is somebody else's to settle.
        let is_ours = self.open.iter().any(|p| p.partition == raw.partition && p.topic == raw.topic);
        if let (Some(sender), Some(letter)) = (&mut self.dead_letters, letter)
            && is_ours
            && !sender.has(raw)
        {
            sender.send(raw, letter).await?;
            if outcome.is_err() {
                sender.flush().await?;
            }
        }
        outcome
    }

    /// Whether all dead letters so far are acknowledged. Until they are the connector gets nothing to do: it might make durable what
    /// lies behind them, and the next task would begin there.
    async fn letters_are_safe(&mut self) -> Result<bool> {
        dead_letters::are_safe(&mut self.dead_letters).await
    }

    /// Hands records to the connector. `Some(wait)`: not now.
    async fn deliver(&mut self, records: &Arc<Vec<SinkRecord>>) -> Result<Option<Duration>> {
        self.last_put = Instant::now();
        self.metrics.progress.call(Doing::Put);
        let outcome = self.task.put_shared(records).await;
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
        if self.letters_are_safe().await? {
            self.deliver(&Arc::default()).await?;
        }
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
        self.begins.extend(requests.begins);
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
            // It may have left while the batch waited: then its offset is somebody else's to commit.
            if self.open.contains(&partition) && self.put.insert(partition.clone(), last.offset + 1).is_none() {
                self.began_at.insert(partition, run[0].offset);
            }
        }
        self.metrics.progress.got_on();
    }

    /// Opens new partitions in the connector, then fetches from where it wants to start.
    async fn opened(&mut self, partitions: Vec<TopicPartition>) -> Result<()> {
        // The consumer is not polled meanwhile, so this must end before its group gives it up.
        let until = Instant::now() + self.consumer.max_poll_interval() * 4 / 5;
        self.metrics.progress.call(Doing::Open);
        while let Err(error) = self.task.open(&partitions).await {
            let gives_up = error.kind() != ErrorKind::Retriable || Instant::now() + OPEN_RETRY >= until;
            if gives_up || self.wanted.borrow().is_end() {
                return Err(error.context(format!("open partitions of task {}", self.spec.id)));
            }
            tracing::warn!(
                retry_in_ms = OPEN_RETRY.as_millis() as u64,
                error = %format!("{error:#}"), "the connector cannot open partitions now: trying again"
            );
            tokio::time::sleep(OPEN_RETRY).await;
        }
        self.metrics.progress.returned();
        self.read_notes(&partitions).await?;
        let requests = self.context.take_requests();
        self.consumer.accept(&requests.seek)?;
        self.begins.extend(requests.begins);
        tracing::info!(partitions = shown(&partitions), "reading partitions");
        // Where the connector starts is delivered as far as it is concerned: it is offered for commit even if no record follows.
        self.put.extend(requests.seek.into_iter().filter(|(partition, _)| partitions.contains(partition)));
        if self.holding {
            self.consumer.pause(&partitions)?;
        }
        self.open.extend(partitions);
        Ok(())
    }

    /// Learns which records were given their dead letters already by whoever had the partitions before.
    async fn read_notes(&mut self, partitions: &[TopicPartition]) -> Result<()> {
        let Some(sender) = &mut self.dead_letters else { return Ok(()) };
        let (offsets, notes) = self
            .consumer
            .committed_with_notes(partitions)
            .await
            .map_err(|e| e.context(format!("look up where task {} begins", self.spec.id)))?;
        sender.read_notes(&notes);
        self.committed.extend(offsets);
        Ok(())
    }

    /// Partitions leave: what was delivered is made durable and committed, unless they already belong to somebody else.
    async fn closed(&mut self, partitions: &[TopicPartition], lost: bool) -> Result<()> {
        self.forget_in_flight(partitions);
        tracing::info!(
            partitions = shown(partitions),
            "{}",
            if lost { "lost partitions: they belong to others already" } else { "giving partitions up" }
        );
        if !lost {
            self.flush(partitions, self.spec.commit_timeout).await?;
            self.commit_last(partitions).await?;
        }
        self.task.close(partitions, lost).await;
        for partition in partitions {
            self.open.remove(partition);
            self.put.remove(partition);
            self.committed.remove(partition);
            self.began_at.remove(partition);
            self.begins.remove(partition);
            self.seek.remove(partition);
            if let Some(sender) = &mut self.dead_letters {
                sender.forget(partition);
            }
        }
        self.consumer.release()
    }

    /// Asks the connector to make durable what it holds of these partitions, and waits no longer than `within`. What it cannot is
    /// not committed, and delivered again to whoever reads the partitions next.
    async fn flush(&mut self, partitions: &[TopicPartition], within: Duration) -> Result<()> {
        if partitions.is_empty() || !self.letters_are_safe().await? {
            return Ok(());
        }
        let mut wanted = self.wanted.clone();
        let is_stopping = wanted.borrow().is_end();
        self.metrics.progress.call(Doing::Commit);
        let flushed = tokio::select! {
            flushed = self.task.flush(partitions) => flushed,
            () = tokio::time::sleep(within) => Err(Error::retriable(format!("it takes longer than {} ms", within.as_millis()))),
            // There is a time for that of its own.
            _ = wanted.wait_for(|wanted| wanted.is_end()), if !is_stopping => Err(Error::retriable("the task is to stop")),
        };
        self.metrics.progress.returned();
        self.serve_requests().await?;
        match flushed {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == ErrorKind::Retriable => {
                tracing::warn!(
                    error = %format!("{error:#}"),
                    "the connector could not make durable all that it holds: what is not will be delivered again"
                );
                Ok(())
            }
            Err(error) => Err(error.context(format!("flush task {}", self.spec.id))),
        }
    }

    /// The task is paused: nothing that it holds waits for as long as that may take.
    async fn settle_down(&mut self) -> Result<()> {
        let open: Vec<_> = self.open.iter().cloned().collect();
        self.flush(&open, self.spec.commit_timeout).await?;
        self.rewind().await?;
        self.commit(None, self.spec.commit_timeout).await?;
        Ok(())
    }

    /// Undelivered records of partitions that leave are somebody else's to deliver.
    fn forget_in_flight(&mut self, partitions: &[TopicPartition]) {
        let leaves = |raw: &RawRecord| partitions.iter().any(|p| p.partition == raw.partition && p.topic == raw.topic);
        let Some(flight) = &mut self.in_flight else { return };
        match &mut flight.stage {
            InFlightStage::Delivering(records) => Arc::make_mut(records).retain(|record| !leaves(&record.origin)),
            InFlightStage::Settling(batch) => {
                let rows = std::mem::take(batch).into_rows();
                for row in rows.into_iter().filter(|row| !leaves(&flight.raws[row.origin as usize])) {
                    batch.push_row(row);
                }
            }
        }
    }

    async fn commit_if_due(&mut self) -> Result<()> {
        if !self.commit_soon && self.last_commit.elapsed() < self.commit_interval() {
            return Ok(());
        }
        self.commit_soon = false;
        self.metrics.progress.call(Doing::Commit);
        let committed = self.commit(None, self.spec.commit_timeout).await;
        self.metrics.progress.returned();
        committed?;
        self.rewind().await
    }

    fn commit_interval(&self) -> Duration {
        let notes_are_due = self.dead_letters.as_ref().is_some_and(DeadLetterSender::has_news);
        if notes_are_due { self.spec.commit_interval.min(LETTERS_COMMIT_INTERVAL) } else { self.spec.commit_interval }
    }

    /// The last commit of these partitions: it is tried again for a while, since no later one makes up for it.
    async fn commit_last(&mut self, partitions: &[TopicPartition]) -> Result<()> {
        let until = Instant::now() + self.spec.commit_timeout;
        while !self.commit(Some(partitions), until.saturating_duration_since(Instant::now())).await? {
            if Instant::now() + LAST_COMMIT_RETRY >= until {
                break;
            }
            tokio::time::sleep(LAST_COMMIT_RETRY).await;
        }
        Ok(())
    }

    /// Commits what is durable, of all open partitions or of `only` these. Answers `false` when that could not be done now.
    async fn commit(&mut self, only: Option<&[TopicPartition]>, within: Duration) -> Result<bool> {
        let until = Instant::now() + within;
        if only.is_none() {
            self.last_commit = Instant::now();
        }
        let wanted = |partition: &TopicPartition| only.is_none_or(|only| only.contains(partition));
        let put: Offsets = self.put.iter().filter(|(p, _)| wanted(p)).map(|(p, o)| (p.clone(), *o)).collect();
        if put.is_empty() {
            return Ok(true);
        }
        let began = Instant::now();
        let durable = match self.task.pre_commit(&put).await {
            Ok(durable) => durable,
            Err(error) if error.kind() == ErrorKind::Retriable => return self.skip_commit(&error, began),
            Err(error) => return Err(error.context(format!("pre-commit offsets of task {}", self.spec.id))),
        };
        self.serve_requests().await?;
        let durable: Offsets =
            durable.into_iter().filter(|(p, offset)| put.get(p).is_some_and(|delivered| offset <= delivered)).collect();
        // Invariant 1: durable by the task's word, and no dead letter still under way.
        if let Some(sender) = &mut self.dead_letters
            && !sender.acknowledged(until.saturating_duration_since(Instant::now())).await?
        {
            return self.skip_commit(&Error::retriable("dead letters are not acknowledged yet"), began);
        }
        self.commit_offsets(durable, only.is_none(), until).await
    }

    /// Commits what is new of these offsets, or has a new note.
    async fn commit_offsets(&mut self, mut offsets: Offsets, all: bool, until: Instant) -> Result<bool> {
        let begin =
            |(p, offset): (&TopicPartition, &i64)| (p.clone(), self.begins.get(p).map_or(*offset, |begin| *offset.min(begin)));
        let begins: Offsets = offsets.iter().map(begin).collect();
        let notes = self.dead_letters.as_ref().map(|sender| sender.notes(&begins)).unwrap_or_default();
        let has_news = self.dead_letters.as_ref().is_some_and(DeadLetterSender::has_news);
        offsets.retain(|p, offset| self.committed.get(p) != Some(offset) || (has_news && notes.contains_key(p)));
        if offsets.is_empty() {
            return Ok(true);
        }
        let (began, left) = (Instant::now(), until.saturating_duration_since(Instant::now()));
        match tokio::time::timeout(left, self.consumer.commit_with_notes(&offsets, &notes)).await {
            Ok(Ok(())) => {
                self.metrics.committed(CommitOutcome::Done, began.elapsed());
                if let Some(sender) = &mut self.dead_letters {
                    sender.noted(&begins, all);
                }
                self.committed.extend(offsets);
                Ok(true)
            }
            Ok(Err(error)) if error.kind() == ErrorKind::Data => {
                if let Some(sender) = &mut self.dead_letters {
                    sender.write_no_notes();
                }
                self.skip_commit(&error, began)
            }
            Ok(Err(error)) if error.kind() == ErrorKind::Retriable => self.skip_commit(&error, began),
            Ok(Err(error)) => {
                self.metrics.committed(CommitOutcome::Failed, began.elapsed());
                Err(error.context(format!("commit offsets of task {}", self.spec.id)))
            }
            Err(_late) => {
                self.metrics.committed(CommitOutcome::Skipped, began.elapsed());
                tracing::warn!("brokers did not answer within offset.flush.timeout.ms; a later commit makes up for this one");
                Ok(false)
            }
        }
    }

    fn skip_commit(&self, error: &Error, began: Instant) -> Result<bool> {
        self.metrics.committed(CommitOutcome::Failed, began.elapsed());
        tracing::warn!(error = %format!("{error:#}"), "offsets were not committed this time; a later commit makes up for it");
        Ok(false)
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
    fn poll_wait(&self) -> Duration {
        let until_commit = self.commit_interval().saturating_sub(self.last_commit.elapsed());
        let until_work = match &self.in_flight {
            Some(flight) => flight.next_at.saturating_duration_since(Instant::now()),
            None if self.open.is_empty() => until_commit,
            None => PUT_INTERVAL_MAX.saturating_sub(self.last_put.elapsed()),
        };
        until_work.min(until_commit)
    }

    /// Ends the task: after a clean run what is held is made durable and committed, after a failure nothing but which records have
    /// their dead letters.
    async fn end(mut self, clean: bool) -> Result<()> {
        self.in_flight = None;
        let open: Vec<_> = self.open.iter().cloned().collect();
        let committed = if clean { self.commit_all(&open).await } else { self.commit_notes().await };
        self.task.close(&open, false).await;
        self.task.stop().await;
        self.pipeline.stop().await;
        let is_succeeded = *self.wanted.borrow() == Wanted::HandedOver;
        self.consumer.close(if is_succeeded { Departure::Stay } else { Departure::Leave }).await;
        committed
    }

    /// Commits the offsets of the last commit again, with the notes of the dead letters since.
    async fn commit_notes(&mut self) -> Result<()> {
        let Some(sender) = &mut self.dead_letters else { return Ok(()) };
        if sender.has_news() && sender.acknowledged(LETTERS_WAIT).await? {
            let offsets = self.committed.iter().filter(|(p, _)| self.open.contains(p)).map(|(p, o)| (p.clone(), *o)).collect();
            self.commit_offsets(offsets, true, Instant::now() + LETTERS_WAIT).await?;
        }
        Ok(())
    }

    /// Leaves time for the commit: the herder drops the task when its time is over.
    async fn commit_all(&mut self, open: &[TopicPartition]) -> Result<()> {
        self.flush(open, self.spec.commit_timeout.min(self.spec.stop_timeout / 2)).await?;
        self.commit_last(open).await
    }
}

/// `orders-0 orders-3`.
fn shown(partitions: &[TopicPartition]) -> String {
    partitions.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
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
