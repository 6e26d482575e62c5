//! The source loop: poll, transforms, convert, settle failures, produce, acknowledged heads, store offsets; exactly once: produce and
//! offsets in one transaction.

use futures::future::BoxFuture;
use penstock_api::batch::Stage as FailedStage;
use penstock_api::{
    Constructor, Error, ErrorKind, Failure, Next, Polled, RawRecord, Result, SourceContext, SourceTask, TimestampType,
    TransactionBoundary, TransactionEnd,
};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};

use super::about::producer_client_id;
use super::boundaries::{Part, cut};
use super::dead_letters::{self, DeadLetterSender};
use super::errors::{Culprit, ErrorHandler, PolledRecord};
use super::in_flight::{Head, InFlight};
use super::outbound::{Outbound, OutboundStage, Row, RowOutcome, Waiting, text};
use super::pipeline::Pipeline;
use super::topic_creation::TopicCreator;
use super::topics::TopicsUsed;
use super::transaction::{COMMIT_TIMEOUT, ExactlyOnce, OFFSETS, Transactions, committed};
use super::unit::{self, Event, Reporter, TaskEvent, TaskHandle, TaskSpec, Wanted};
use crate::config::Boundary;
use crate::kafka::{Outcome, Outgoing, StreamProducer, Undelivered, settings};
use crate::metrics::{ActiveRecords, CommitOutcome, Doing, Stage, TaskMetrics};
use crate::store::OffsetStore;
use crate::store::offsets::SourceOffset;

/// Records under way at most, those included that wait behind one that is not acknowledged; then the task does not poll.
const IN_FLIGHT_MAX: usize = 100_000;
/// The wait behind a poll that failed for now; it doubles up to the longest.
const POLL_RETRY_MIN: Duration = Duration::from_millis(100);
const POLL_RETRY_MAX: Duration = Duration::from_secs(10);
/// Before a topic that could not be created for now is tried again.
const TOPIC_RETRY: Duration = Duration::from_secs(1);
/// How soon a record is offered again to a full queue, should no acknowledgement say that there is room.
const FULL_RETRY: Duration = Duration::from_millis(20);
/// How often the task tells how many records are under way.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// How long others wait for a thread that always has something to do; to let them have it for each poll would cost small ones dear.
const YIELD_INTERVAL: Duration = Duration::from_millis(1);
/// As Java names who produces.
const PRODUCER_CLASS: &str = "org.apache.kafka.connect.runtime.WorkerSourceTask";

/// Starts a source task; what becomes of it goes to `events`. Without `once` it is at least once.
#[must_use]
pub fn start(
    spec: TaskSpec,
    offsets: OffsetStore,
    once: Option<ExactlyOnce>,
    events: mpsc::UnboundedSender<TaskEvent>,
) -> TaskHandle {
    let kept = spec.clone();
    unit::supervise(&kept, events, move |mut wanted, reporter| async move {
        let Some(producer) = producer(&spec, once.as_ref(), &mut wanted).await? else { return Ok(()) };
        let starting = SourceLoop::start(spec, offsets, once.is_some(), producer, reporter);
        let mut source = tokio::select! {
            started = starting => started?,
            // Nothing was read yet, and brokers may let it wait for long.
            _ = wanted.wait_for(|wanted| wanted.is_end()) => return Ok(()),
        };
        let outcome = source.run(wanted).await;
        let ended = source.end(outcome.is_ok()).await;
        outcome.and(ended)
    })
}

/// One source task at work: the connector's task, and all that may go on while it polls.
struct SourceLoop {
    task: Box<dyn SourceTask>,
    work: Work,
}

struct Work {
    spec: TaskSpec,
    context: SourceContext,
    pipeline: Pipeline,
    errors: ErrorHandler,
    dead_letters: Option<DeadLetterSender>,
    topics: Option<TopicCreator>,
    producer: StreamProducer,
    offsets: OffsetStore,
    metrics: Arc<TaskMetrics>,
    reporter: Reporter,
    topics_used: TopicsUsed,
    /// Records may be looked at again after they were transformed.
    keeps_records: bool,
    /// Nothing is polled as long as one is there.
    outbound: Option<Outbound>,
    /// The rest of a poll that a connector has cut into transactions; nor as long as one of these is.
    parts: VecDeque<Part>,
    /// It was said that the connector's boundaries do not count.
    boundaries_told: bool,
    flight: InFlight,
    /// Empty; kept for its room.
    outcomes: Vec<Outcome>,
    storing: Option<Storing>,
    /// Exactly once: offsets go with the records.
    transactions: Option<Transactions>,
    /// A transaction failed.
    failure: Option<Error>,
    last_stored: Instant,
    /// It is time to tell the connector that it may commit; when offsets were stored since it was told last, that does not wait for
    /// the end of a poll.
    commit_to_tell: bool,
    has_stored: bool,
    poll_at: Instant,
    polls_failed: u32,
    is_done: bool,
    last_look: Instant,
}

/// Offsets on their way to their topic.
struct Storing {
    heads: Vec<Head>,
    began: Instant,
    written: BoxFuture<'static, Result<()>>,
}

/// Why sending stops.
enum Stop {
    All,
    Full,
    /// It is to be seen to that this topic is there.
    NewTopic(Arc<str>),
    /// The record with that number cannot be sent.
    Refused(usize, Error),
}

impl SourceLoop {
    async fn start(
        spec: TaskSpec,
        offsets: OffsetStore,
        is_once: bool,
        producer: StreamProducer,
        reporter: Reporter,
    ) -> Result<Self> {
        let config = &spec.connector;
        let Constructor::Source(make) = &config.plugin.construct else {
            return Err(Error::config(format!("connector.class {} is no source", config.plugin.class)));
        };
        offsets.ensure().await.map_err(|e| e.context(format!("offsets of task {}", spec.id)))?;
        let pipeline = Pipeline::start(config, &spec.id).await?;
        let dead_letters = DeadLetterSender::start(config, &spec.id, spec.metrics.clone()).await?;
        let boundary = config.source.as_ref().and_then(|source| source.boundary).unwrap_or(Boundary::Poll);
        let context = SourceContext::new(spec.id.clone(), Arc::new(offsets.clone())).counting(spec.metrics.clone());
        let mut task = make().task();
        task.start(&spec.props, context.clone()).await.map_err(|e| e.context(format!("start task {}", spec.id)))?;
        let errors = &config.errors;
        let now = Instant::now();
        let work = Work {
            topics: TopicCreator::start(config, &spec.id)?,
            keeps_records: errors.retry_timeout != Some(Duration::ZERO) || errors.dead_letters.is_some() || errors.log_messages,
            errors: ErrorHandler::new(spec.id.clone(), errors.clone(), spec.metrics.clone()),
            metrics: spec.metrics.clone(),
            flight: InFlight::new(task.wants_deliveries()),
            context,
            pipeline,
            dead_letters,
            producer,
            offsets,
            reporter,
            topics_used: TopicsUsed::default(),
            outbound: None,
            parts: VecDeque::new(),
            boundaries_told: false,
            outcomes: Vec::new(),
            storing: None,
            transactions: is_once.then(|| Transactions::new(boundary)),
            failure: None,
            last_stored: now,
            commit_to_tell: false,
            has_stored: false,
            poll_at: now,
            polls_failed: 0,
            is_done: false,
            last_look: now,
            spec,
        };
        Ok(Self { task, work })
    }

    /// Moves batches until told to stop.
    async fn run(&mut self, mut wanted: watch::Receiver<Wanted>) -> Result<()> {
        let mut reported = None;
        let mut yielded = Instant::now();
        loop {
            let now = *wanted.borrow_and_update();
            if now.is_end() {
                return Ok(());
            }
            if reported != Some(now) {
                reported = Some(now);
                self.work.reporter.report(if now == Wanted::Paused { Event::Paused } else { Event::Running });
            }
            self.work.step().await?;
            self.tell_task().await;
            if now == Wanted::Running && self.work.may_poll() {
                self.poll(&mut wanted).await?;
            } else {
                tokio::select! {
                    biased;
                    changed = wanted.changed() => changed.map_err(|_| dropped())?,
                    () = self.work.something_happens() => {}
                }
            }
            // A connector that always has something would keep its thread to itself.
            if yielded.elapsed() > YIELD_INTERVAL {
                tokio::task::yield_now().await;
                yielded = Instant::now();
            }
        }
    }

    /// Polls once, moving on meanwhile what is under way. Gives the poll up for what cannot wait: an order from above, and news for
    /// the connector.
    async fn poll(&mut self, wanted: &mut watch::Receiver<Wanted>) -> Result<()> {
        let Self { task, work } = self;
        let asked = Instant::now();
        let mut polling = task.poll();
        let polled = loop {
            tokio::select! {
                biased;
                changed = wanted.changed() => return changed.map_err(|_| dropped()),
                polled = &mut polling => break polled,
                () = work.something_happens() => {
                    work.step().await?;
                    if work.has_news_for_task() {
                        return Ok(());
                    }
                }
            }
        };
        drop(polling);
        work.polled(polled, asked.elapsed()).await
    }

    /// Tells the connector what has become of its records.
    async fn tell_task(&mut self) {
        let failed = |what: &str, error: &Error| {
            tracing::error!(error = %format!("{error:#}"), "the connector failed to {what}; the task goes on");
        };
        // In a transaction nobody has them before it is committed.
        if self.work.flight.has_delivered() && (self.work.transactions.is_none() || self.work.has_stored) {
            if let Err(error) = self.task.delivered(self.work.flight.delivered()).await {
                failed("take note of delivered records", &error);
            }
            self.work.flight.delivered_are_told();
        }
        self.work.has_stored = false;
        if std::mem::take(&mut self.work.commit_to_tell)
            && let Err(error) = self.task.commit().await
        {
            failed("commit", &error);
        }
        // Behind what was polled already.
        let boundaries = self.work.take_requests();
        self.work.parts.extend(boundaries.into_iter().map(|boundary| Part { records: Vec::new(), end: Some(boundary.end) }));
    }

    /// Ends the task: what was sent gets some time to be acknowledged, and what is, is stored; after a failure as well, for the
    /// connector has given these records and Kafka has them.
    async fn end(mut self, clean: bool) -> Result<()> {
        let work = &mut self.work;
        let until = tokio::time::Instant::now() + work.spec.commit_timeout.min(work.spec.stop_timeout / 2);
        let outcome = match tokio::time::timeout_at(until, work.settle_down(clean)).await {
            Ok(outcome) => outcome,
            Err(_late) => {
                let count = work.flight.len();
                tracing::warn!("{count} records were not acknowledged in time; they will be read again");
                Ok(())
            }
        };
        let stored = tokio::time::timeout(work.spec.commit_timeout, work.store_last()).await;
        if stored.is_err() {
            tracing::warn!("offsets could not be stored in time; what lies behind those stored before will be read again");
        }
        self.tell_task().await;
        self.task.stop().await;
        self.work.pipeline.stop().await;
        self.work.producer.close().await;
        outcome
    }
}

impl Work {
    /// Whether the connector may give records now.
    fn may_poll(&self) -> bool {
        let is_free = self.transactions.as_ref().is_none_or(Transactions::is_idle);
        let has_sent = self.outbound.is_none() && self.parts.is_empty();
        !self.is_done && is_free && has_sent && self.flight.len() < IN_FLIGHT_MAX && self.poll_at <= Instant::now()
    }

    fn has_news_for_task(&self) -> bool {
        // Never for what goes on without records: a poll that takes longer than that is apart would never end.
        self.has_stored || (self.transactions.is_none() && self.flight.has_delivered() && self.flight.is_empty())
    }

    /// Takes in what a poll came to.
    async fn polled(&mut self, polled: Result<Polled>, took: Duration) -> Result<()> {
        let boundaries = self.take_requests();
        let polled = match polled {
            Ok(polled) => polled,
            Err(error) if error.kind() == ErrorKind::Retriable => {
                let wait = POLL_RETRY_MIN.saturating_mul(2u32.saturating_pow(self.polls_failed)).min(POLL_RETRY_MAX);
                self.polls_failed += 1;
                self.poll_at = Instant::now() + wait;
                tracing::warn!(
                    retry_in_ms = wait.as_millis() as u64, error = %format!("{error:#}"),
                    "the connector cannot read now: trying again"
                );
                return Ok(());
            }
            Err(error) => return Err(error.context(format!("poll task {}", self.spec.id))),
        };
        self.polls_failed = 0;
        match polled.next {
            Next::More => {}
            Next::Wait(wait) => self.poll_at = Instant::now() + wait,
            Next::Done => {
                tracing::info!("the source has been read to its end");
                self.is_done = true;
            }
        }
        if !polled.records.is_empty() {
            self.metrics.polled(polled.records.len(), took);
        }
        self.parts = cut(polled.records, &boundaries)?;
        self.next_part().await
    }

    /// Begins with the next part of what was polled, unless something is to be done before.
    async fn next_part(&mut self) -> Result<()> {
        let is_free = self.transactions.as_ref().is_none_or(Transactions::is_idle);
        let Some(part) = (is_free && self.outbound.is_none()).then(|| self.parts.pop_front()).flatten() else { return Ok(()) };
        if part.records.is_empty() {
            self.transactions.iter_mut().for_each(|transactions| transactions.ending = part.end);
            return Ok(());
        }
        let began = Instant::now();
        self.outbound = Some(Outbound::new(part, self.keeps_records, &mut self.pipeline).await?);
        self.metrics.stage(Stage::Convert, began.elapsed());
        Ok(())
    }

    /// One turn: take acknowledgements in, move the batch on, store offsets when it is time.
    async fn step(&mut self) -> Result<()> {
        self.take_outcomes().await?;
        self.next_part().await?;
        self.advance().await?;
        self.end_transaction()?;
        self.store_if_due();
        self.look_around();
        Ok(())
    }

    /// Waits until there is something to do. May be dropped while waiting.
    async fn something_happens(&mut self) {
        let until = tokio::time::Instant::from_std(self.next_deadline());
        tokio::select! {
            () = self.producer.news() => {}
            written = finished(&mut self.storing) => self.stored(written),
            committed = committed(&mut self.transactions) => self.committed(committed),
            () = tokio::time::sleep_until(until) => {}
        }
    }

    fn next_deadline(&self) -> Instant {
        let now = Instant::now();
        let mut until = now + LOOK_INTERVAL;
        if let Some(transactions) = &self.transactions {
            until = until.min(transactions.deadline().unwrap_or(until));
        } else if self.storing.is_none() {
            until = until.min(self.last_stored + self.spec.commit_interval);
        }
        match &self.outbound {
            Some(outbound) if outbound.next_at > now => until.min(outbound.next_at),
            Some(_) => until.min(now + FULL_RETRY),
            None if self.poll_at > now => until.min(self.poll_at),
            None => until,
        }
    }

    /// Takes in what became of the records that were sent.
    async fn take_outcomes(&mut self) -> Result<()> {
        let mut outcomes = std::mem::take(&mut self.outcomes);
        self.producer.take(&mut outcomes);
        if !outcomes.is_empty() {
            self.note_outcomes(&mut outcomes).await?;
        }
        self.outcomes = outcomes;
        Ok(())
    }

    async fn note_outcomes(&mut self, outcomes: &mut Vec<Outcome>) -> Result<()> {
        self.metrics.progress.got_on();
        let mut acknowledged = 0;
        let mut last: Option<Arc<str>> = None;
        for Outcome { number, topic, result } in outcomes.drain(..) {
            match result {
                _ if number == OFFSETS => {}
                Ok(at) => {
                    acknowledged += 1;
                    if last.as_ref().is_none_or(|last| !Arc::ptr_eq(last, &topic)) {
                        self.use_topic(&topic);
                        last = Some(topic.clone());
                    }
                    self.flight.acknowledged(number, Some((topic, at.partition, at.offset)));
                }
                Err(undelivered) => self.refused(number, topic, *undelivered).await?,
            }
        }
        self.metrics.sent(acknowledged);
        Ok(())
    }

    /// Kafka, or the client, refused a record.
    async fn refused(&mut self, number: usize, topic: Arc<str>, undelivered: Undelivered) -> Result<()> {
        let Undelivered { error, key, value, headers, timestamp } = undelivered;
        let failure = Failure { stage: FailedStage::KafkaProduce, class: PRODUCER_CLASS.into(), error };
        let headers = Some(headers.into_boxed_slice()).filter(|headers| !headers.is_empty());
        let raw = RawRecord {
            topic,
            partition: -1,
            offset: -1,
            timestamp,
            timestamp_type: TimestampType::NoTimestamp,
            key,
            // It was too large, and would be so for the dead letters' topic, too.
            value: value.filter(|_| failure.error.kind() != ErrorKind::Data),
            headers,
        };
        let position = self.flight.position(number).map(|at| (text(&at.partition), text(&at.offset.to_map())));
        self.give_up(&PolledRecord { raw, position }, &failure).await?;
        while !self.letters_are_safe().await? {}
        self.flight.acknowledged(number, None);
        Ok(())
    }

    /// Gives a record up: dead letter, log, or the end of the task. The dead letter of a record that ends the task is acknowledged
    /// before the task fails.
    async fn give_up(&mut self, culprit: &PolledRecord, failure: &Failure) -> Result<()> {
        let (letter, outcome) = self.errors.give_up(Culprit::Polled(culprit), failure);
        if let (Some(sender), Some(letter)) = (&mut self.dead_letters, letter) {
            sender.post(letter).await?;
            if outcome.is_err() {
                sender.flush().await?;
            }
        }
        outcome
    }

    async fn letters_are_safe(&mut self) -> Result<bool> {
        dead_letters::are_safe(&mut self.dead_letters).await
    }

    /// Moves the batch on, as far as it goes now.
    async fn advance(&mut self) -> Result<()> {
        if self.transactions.as_ref().is_some_and(|transactions| transactions.committing.is_some()) {
            return Ok(());
        }
        let Some(mut outbound) = self.outbound.take_if(|outbound| outbound.next_at <= Instant::now()) else { return Ok(()) };
        let stage = match take_stage(&mut outbound) {
            OutboundStage::Settling(rows) => self.settle(&mut outbound, rows).await?,
            stage => stage,
        };
        let stage = match stage {
            // What lies behind a dead letter's record is stored only when the letter is safe.
            OutboundStage::Settled(rows) if self.letters_are_safe().await? => {
                OutboundStage::Sending(self.launch(&mut outbound, rows)?)
            }
            stage => stage,
        };
        outbound.stage = match stage {
            OutboundStage::Sending(mut waiting) => match self.send(&mut waiting).await? {
                None => return Ok(()),
                Some(wait) => {
                    outbound.next_at = Instant::now() + wait;
                    OutboundStage::Sending(waiting)
                }
            },
            stage => stage,
        };
        self.outbound = Some(outbound);
        Ok(())
    }

    /// Decides on every failure of a batch: the one place that does.
    async fn settle(&mut self, outbound: &mut Outbound, mut rows: Vec<Row>) -> Result<OutboundStage> {
        if outbound.attempt > 0 {
            rows = outbound.run_failed_again(rows, &mut self.pipeline).await?;
        }
        let (attempt, since) = (outbound.attempt, outbound.since.elapsed());
        let waits = rows.iter().filter_map(|row| match &row.outcome {
            RowOutcome::Failed(failure, _) => self.errors.retry_after(&failure.error, attempt, since),
            _ => None,
        });
        if let Some(wait) = waits.min() {
            self.metrics.retries.add(1);
            outbound.attempt += 1;
            outbound.next_at = Instant::now() + wait;
            return Ok(OutboundStage::Settling(rows));
        }
        for row in &mut rows {
            if let RowOutcome::Failed(failure, record) = &row.outcome {
                self.give_up(&outbound.culprit(row.origin, record), failure).await?;
                row.outcome = RowOutcome::Nothing;
            }
        }
        Ok(OutboundStage::Settled(rows))
    }

    /// Takes the batch into the books; answers what is to be sent.
    fn launch(&mut self, outbound: &mut Outbound, rows: Vec<Row>) -> Result<Waiting> {
        let mut became = vec![0u32; outbound.positions.len()];
        let mut sent = 0;
        let own = self.transactions.is_some().then(|| self.offsets.primary().name());
        for row in &rows {
            let RowOutcome::Send(record) = &row.outcome else { continue };
            became[row.origin] += 1;
            sent += 1;
            if own.is_some_and(|own| *record.topic == *own) {
                return Err(Error::fatal(format!(
                    "Source tasks may not produce to their own offsets topics when exactly-once support is enabled, and this one gave a \
                     record for {}",
                    record.topic
                )));
            }
        }
        if let Some(transactions) = &mut self.transactions {
            transactions.add(sent, outbound.end, &self.producer)?;
        }
        let first = self.flight.next_number();
        for (position, became) in std::mem::take(&mut outbound.positions).into_iter().zip(became) {
            self.flight.add(position, became);
        }
        Ok(Waiting::new(rows, first))
    }

    /// Ends the transaction if it is to end and nothing of it is under way any more.
    fn end_transaction(&mut self) -> Result<()> {
        if let Some(failure) = self.failure.take() {
            return Err(failure.context(format!("write transactions of task {}", self.spec.id)));
        }
        let Some(transactions) = &mut self.transactions else { return Ok(()) };
        transactions.look_at_the_clock();
        if self.outbound.is_some() || !self.flight.is_empty() || transactions.committing.is_some() {
            return Ok(());
        }
        let Some(end) = transactions.ending else { return Ok(()) };
        // Everything is acknowledged, and so the heads are all that was read.
        let offsets = stored_form(&self.spec.id.connector, &self.flight.take_heads());
        if offsets.is_empty() && !transactions.is_open {
            transactions.nothing_to_end();
            self.has_stored = true;
        } else {
            transactions.end(end, offsets, &self.producer, &self.offsets);
        }
        Ok(())
    }

    /// A transaction has ended.
    fn committed(&mut self, outcome: Result<()>) {
        let Some(committing) = self.transactions.as_mut().and_then(|transactions| transactions.committing.take()) else { return };
        match outcome {
            Ok(()) => {
                self.metrics.transaction(committing.records);
                self.metrics.committed(CommitOutcome::Done, committing.began.elapsed());
                self.commit_to_tell = true;
                self.has_stored = true;
                self.flight.forget_idle();
            }
            Err(error) => {
                self.metrics.committed(CommitOutcome::Failed, committing.began.elapsed());
                // It is aborted as far as that can be done, so that readers need not wait until brokers do so.
                if let Some(transactions) = &mut self.transactions {
                    transactions.is_open = true;
                }
                self.failure = Some(error);
            }
        }
    }

    /// Sends what there is room for. `Some`: the rest waits so long, or until something is acknowledged.
    async fn send(&mut self, waiting: &mut Waiting) -> Result<Option<Duration>> {
        loop {
            match self.send_on(waiting) {
                Stop::All => return Ok(None),
                Stop::Full => return Ok(Some(Duration::ZERO)),
                Stop::NewTopic(topic) => {
                    if let Some(topics) = &mut self.topics
                        && let Err(error) = topics.ensure(&topic).await
                    {
                        if error.kind() != ErrorKind::Retriable {
                            return Err(error.context(format!("create a topic for task {}", self.spec.id)));
                        }
                        tracing::warn!(%topic, error = %format!("{error:#}"), "cannot see to the topic now: trying again");
                        return Ok(Some(TOPIC_RETRY));
                    }
                }
                Stop::Refused(number, error) => {
                    let Outgoing { topic, key, value, headers, timestamp, .. } =
                        waiting.pop_front().expect("it was looked at just now");
                    self.refused(number, topic, Undelivered { error, key, value, headers, timestamp }).await?;
                }
            }
        }
    }

    /// Sends records until something else is to be done.
    fn send_on(&mut self, waiting: &mut Waiting) -> Stop {
        let mut sending = self.producer.sending();
        while let Some((number, record)) = waiting.front() {
            if let Some(topics) = &mut self.topics
                && !topics.knows(&record.topic)
            {
                return Stop::NewTopic(record.topic.clone());
            }
            match sending.try_send(number, record) {
                Ok(true) => {
                    self.metrics.progress.waits(Doing::Produce);
                    waiting.pop_front();
                }
                Ok(false) => return Stop::Full,
                Err(error) => return Stop::Refused(number, error),
            }
        }
        Stop::All
    }

    fn use_topic(&mut self, topic: &Arc<str>) {
        if self.spec.track_topics && self.topics_used.is_news(topic, Instant::now()) {
            self.reporter.report(Event::TopicUsed { topic: topic.clone() });
        }
    }

    fn store_if_due(&mut self) {
        if self.transactions.is_some() || self.storing.is_some() || self.last_stored.elapsed() < self.spec.commit_interval {
            return;
        }
        self.last_stored = Instant::now();
        let heads = self.flight.take_heads();
        if heads.is_empty() {
            // As in Java, for connectors that do other things then.
            self.commit_to_tell = true;
            self.metrics.committed(CommitOutcome::Done, Duration::ZERO);
            return;
        }
        self.storing = Some(self.store(heads));
    }

    /// Invariant 1, of sources: only what Kafka has acknowledged is in the heads.
    fn store(&self, heads: Vec<Head>) -> Storing {
        let offsets = stored_form(&self.spec.id.connector, &heads);
        let (store, within) = (self.offsets.clone(), self.spec.commit_timeout);
        let late = || Error::retriable("it took longer than offset.flush.timeout.ms");
        let written = async move { tokio::time::timeout(within, store.write(offsets)).await.unwrap_or_else(|_| Err(late())) };
        Storing { heads, began: Instant::now(), written: Box::pin(written) }
    }

    fn stored(&mut self, written: Result<()>) {
        let Some(Storing { heads, began, .. }) = self.storing.take() else { return };
        match written {
            Ok(()) => {
                self.metrics.committed(CommitOutcome::Done, began.elapsed());
                self.commit_to_tell = true;
                self.has_stored = true;
                self.flight.forget_idle();
            }
            Err(error) => {
                self.metrics.committed(CommitOutcome::Failed, began.elapsed());
                tracing::warn!(error = %format!("{error:#}"), "offsets were not stored this time; a later attempt makes up for it");
                self.flight.give_back(heads);
            }
        }
    }

    /// Waits for acknowledgements; `clean`: the rest of a batch of which something was sent is sent first.
    async fn settle_down(&mut self, clean: bool) -> Result<()> {
        if let Some(transactions) = &mut self.transactions {
            if !clean {
                return self.abort().await;
            }
            // Where the connector would end it nobody knows: what it has not bounded is read again.
            if transactions.boundary != Boundary::Connector {
                transactions.ending = Some(TransactionEnd::Commit);
            }
        }
        let is_sending = |outbound: &Outbound| matches!(outbound.stage, OutboundStage::Sending(_));
        self.parts.clear();
        if !clean || !self.outbound.as_ref().is_some_and(is_sending) {
            self.outbound = None;
        }
        loop {
            self.take_outcomes().await?;
            self.advance().await?;
            self.end_transaction()?;
            let is_free = self.transactions.as_ref().is_none_or(Transactions::is_idle);
            if self.outbound.is_none() && self.flight.is_empty() && is_free {
                return self.abort().await;
            }
            self.something_happens().await;
        }
    }

    /// Aborts a transaction that is left open.
    async fn abort(&mut self) -> Result<()> {
        let Some(transactions) = self.transactions.as_mut().filter(|transactions| transactions.is_open) else { return Ok(()) };
        transactions.is_open = false;
        if let Err(error) = self.producer.abort(self.spec.commit_timeout).await {
            tracing::warn!(error = %format!("{error:#}"), "a transaction was not aborted; brokers will do so");
        }
        Ok(())
    }

    /// Stores what is acknowledged, for the last time.
    async fn store_last(&mut self) {
        if self.transactions.is_some() {
            return;
        }
        loop {
            if self.storing.is_some() {
                let written = finished(&mut self.storing).await;
                self.stored(written);
            }
            let heads = self.flight.take_heads();
            if heads.is_empty() {
                return;
            }
            self.storing = Some(self.store(heads));
        }
    }

    /// Serves what the connector has asked for; answers where it ends transactions, if it may.
    fn take_requests(&mut self) -> Vec<TransactionBoundary> {
        let requests = self.context.take_requests();
        if requests.reconfigure {
            self.reporter.report(Event::Reconfigure);
        }
        let Some(transactions) = &self.transactions else { return Vec::new() };
        if transactions.boundary == Boundary::Connector {
            return requests.boundaries;
        }
        if !requests.boundaries.is_empty() && !std::mem::replace(&mut self.boundaries_told, true) {
            tracing::warn!(
                "the connector ends transactions, which only transaction.boundary=connector lets it do: that is ignored"
            );
        }
        Vec::new()
    }

    fn look_around(&mut self) {
        if self.last_look.elapsed() < LOOK_INTERVAL {
            return;
        }
        self.last_look = Instant::now();
        if self.flight.is_empty() {
            self.metrics.progress.got_on();
        }
        self.metrics.active(ActiveRecords { count: self.flight.len() as u64, ..ActiveRecords::default() });
    }
}

/// The outcome of what is being stored; waits for ever when nothing is.
async fn finished(storing: &mut Option<Storing>) -> Result<()> {
    match storing {
        Some(storing) => (&mut storing.written).await,
        None => std::future::pending().await,
    }
}

fn take_stage(outbound: &mut Outbound) -> OutboundStage {
    std::mem::replace(&mut outbound.stage, OutboundStage::Sending(Waiting::default()))
}

fn dropped() -> Error {
    Error::fatal("the worker dropped this task")
}

fn stored_form(connector: &Arc<str>, heads: &[Head]) -> Vec<SourceOffset> {
    let offset = |head: &Head| SourceOffset {
        connector: connector.clone(),
        partition: (*head.partition).clone(),
        offset: Some(head.offset.to_map()),
    };
    heads.iter().map(offset).collect()
}

/// The task's producer. Invariant 4: when it is exactly once, older generations were fenced before it begins, and it is of the newest
/// after it has begun; what could begin in between is then known to have been fenced.
///
/// `None`: it was told to end before. One that has started to begin is waited for: dropped, it might begin behind its successor's back.
async fn producer(
    spec: &TaskSpec,
    once: Option<&ExactlyOnce>,
    wanted: &mut watch::Receiver<Wanted>,
) -> Result<Option<StreamProducer>> {
    let mut props = spec.connector.producer.clone();
    props.entry("client.id".into()).or_insert_with(|| producer_client_id(&spec.id));
    let who = format!("task {}", spec.id);
    let Some(once) = once else { return StreamProducer::new(settings::producer(&who, &props)?).map(Some) };
    if !fenced(once, wanted).await? {
        return Ok(None);
    }
    props.insert("transactional.id".into(), once.transactional_id.clone());
    props.insert("enable.idempotence".into(), "true".into());
    // librdkafka takes none that is longer than a transaction may be.
    let timeout = props.entry("transaction.timeout.ms".into()).or_insert_with(|| COMMIT_TIMEOUT.as_millis().to_string()).clone();
    props.insert("delivery.timeout.ms".into(), timeout);
    let producer = StreamProducer::new(settings::producer(&who, &props)?)?;
    let begun = producer.init_transactions(|| wanted.borrow().is_end()).await?;
    if begun && fenced(once, wanted).await? {
        return Ok(Some(producer));
    }
    producer.close().await;
    Ok(None)
}

/// Has older generations fenced; `false` when the task was told to end meanwhile.
async fn fenced(once: &ExactlyOnce, wanted: &mut watch::Receiver<Wanted>) -> Result<bool> {
    tokio::select! {
        fenced = (once.fence)() => fenced.map(|()| true),
        _ = wanted.wait_for(|wanted| wanted.is_end()) => Ok(false),
    }
}
