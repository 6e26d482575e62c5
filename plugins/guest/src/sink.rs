//! Sinks: the traits in their two forms, and the class that a component lists.

use std::cell::RefCell;
use std::sync::Arc;

use penstock_api::{
    ConfigDef, Constructor, Error, Offsets, Origin, Props, RawRecord, Result, SinkConnector, SinkContext, SinkRecord, SinkTask,
    TaskId, TimestampType, TopicPartition,
};

use crate::class::Grant;
use crate::connector_class::ConnectorClass;
use crate::records::{read, ready};
use crate::rows::Batch;

/// A task of a sink that works on columns of a batch. What the calls promise stands in `sink.wit`.
pub trait ColumnSink {
    /// Called once before anything else.
    ///
    /// # Errors
    /// Fails the task.
    fn start(&mut self, _task: &TaskId) -> Result<()> {
        Ok(())
    }

    /// Partitions are assigned. Answers where to begin, for those that shall not begin at the committed offset.
    ///
    /// # Errors
    /// `Retriable` is tried again; any other error fails the task.
    fn open(&mut self, _partitions: &[TopicPartition]) -> Result<Offsets> {
        Ok(Offsets::new())
    }

    /// Takes records. Rows that can never be taken are reported with [`Batch::fail`].
    ///
    /// # Errors
    /// `Retriable`: the same batch comes again; any other error fails the task.
    fn put(&mut self, batch: &Batch<'_>) -> Result<()>;

    /// There is nothing to take: time to do what is due by the clock.
    ///
    /// # Errors
    /// As for [`put`](Self::put).
    fn idle(&mut self) -> Result<()> {
        Ok(())
    }

    /// Answers what is durable, at most what was `put`.
    ///
    /// # Errors
    /// `Retriable`: nothing is committed this time; any other error fails the task.
    fn pre_commit(&mut self, put: &Offsets) -> Result<Offsets> {
        Ok(put.clone())
    }

    /// Makes durable what is held back of these partitions.
    ///
    /// # Errors
    /// As for [`pre_commit`](Self::pre_commit).
    fn flush(&mut self, _partitions: &[TopicPartition]) -> Result<()> {
        Ok(())
    }

    /// Partitions leave; with `lost` another task may have them already.
    fn close(&mut self, _partitions: &[TopicPartition], _lost: bool) {}

    /// Called once, last.
    fn stop(&mut self) {}
}

/// A class of sinks.
pub struct SinkClass(pub(crate) ConnectorClass<dyn ColumnSink>);

impl SinkClass {
    /// A class in the form of columns. `make` makes a task from the checked values of all keys; every task gets all of the configuration.
    pub fn columns<T: ColumnSink + 'static>(
        name: &str,
        version: &str,
        config: ConfigDef,
        make: impl Fn(&penstock_api::Parsed) -> Result<T> + 'static,
    ) -> Self {
        let make = move |values: &penstock_api::Parsed| Ok(Box::new(make(values)?) as Box<dyn ColumnSink>);
        Self(ConnectorClass::of_values(name, version, config, make, |props, tasks_max| {
            Ok(vec![props.clone(); tasks_max as usize])
        }))
    }

    /// A class in the form of records: the trait that built-in sinks implement, too.
    pub fn records<C: SinkConnector + 'static>(
        name: &str,
        version: &str,
        config: ConfigDef,
        make: impl Fn() -> C + Send + Sync + 'static,
    ) -> Self {
        let make = Arc::new(make);
        let native = make.clone();
        let native = Constructor::Sink(Arc::new(move || Box::new(native())));
        let task = |connector: &C, props: &Props| {
            Box::new(Records { task: connector.task(), props: props.clone(), context: None }) as Box<dyn ColumnSink>
        };
        Self(ConnectorClass::of_connector(name, version, config, make, native, task))
    }

    /// The same, answering to another full name, too.
    #[must_use]
    pub fn alias(mut self, name: &str) -> Self {
        self.0.about.aliases.push(name.to_owned());
        self
    }

    /// The same, telling people what it needs of the world outside: an entry as the key of that grant takes it (`api.example.com:443`), and
    /// what for. An empty entry: it depends on the configuration, as `doc` explains. This grants nothing.
    #[must_use]
    pub fn wants(mut self, grant: Grant, entry: &str, doc: &str) -> Self {
        self.0.about.want(grant, entry, doc);
        self
    }
}

/// The form of records over the form of columns.
struct Records {
    task: Box<dyn SinkTask>,
    props: Props,
    context: Option<SinkContext>,
}

impl Records {
    fn context(&self) -> Result<&SinkContext> {
        self.context.as_ref().ok_or_else(|| Error::fatal("called before `start`"))
    }

    /// What the task asked for outside of `open` and `put` has no way across.
    fn drop_requests(&self, during: &str) -> Result<()> {
        let requests = self.context()?.take_requests();
        if !requests.seek.is_empty() || !requests.reports.is_empty() {
            return Err(Error::fatal(format!(
                "a component can seek in `open` and report records in `put` only, not in `{during}`"
            )));
        }
        Ok(())
    }
}

impl ColumnSink for Records {
    fn start(&mut self, task: &TaskId) -> Result<()> {
        let context = self.context.insert(SinkContext::new(task.clone())).clone();
        ready(self.task.start(&self.props, context))?
    }

    fn open(&mut self, partitions: &[TopicPartition]) -> Result<Offsets> {
        ready(self.task.open(partitions))??;
        Ok(self.context()?.take_requests().seek)
    }

    fn put(&mut self, batch: &Batch<'_>) -> Result<()> {
        let records = sink_records(batch);
        ready(self.task.put(&records))??;
        let requests = self.context()?.take_requests();
        if !requests.seek.is_empty() {
            return Err(Error::fatal("a component can seek in `open` only, not in `put`"));
        }
        // Reports name a record of this batch by its place; one of an earlier batch is not there to be failed any more.
        let row_of = |origin: &Origin| {
            records.iter().position(|r| {
                (r.origin.offset, r.origin.partition, &r.origin.topic) == (origin.offset, origin.partition, &origin.topic)
            })
        };
        let mut failures = Vec::with_capacity(requests.reports.len());
        for (origin, error) in requests.reports {
            let row = row_of(&origin);
            let row = row.ok_or_else(|| Error::fatal("a component can report records of the running `put` only"))?;
            failures.push((row, error));
        }
        batch.fail(failures);
        Ok(())
    }

    fn idle(&mut self) -> Result<()> {
        ready(self.task.put(&[]))??;
        self.drop_requests("put without records")
    }

    fn pre_commit(&mut self, put: &Offsets) -> Result<Offsets> {
        let durable = ready(self.task.pre_commit(put))??;
        self.drop_requests("pre_commit")?;
        Ok(durable)
    }

    fn flush(&mut self, partitions: &[TopicPartition]) -> Result<()> {
        ready(self.task.flush(partitions))??;
        self.drop_requests("flush")
    }

    fn close(&mut self, partitions: &[TopicPartition], lost: bool) {
        if let Err(error) = ready(self.task.close(partitions, lost)) {
            crate::log::warn(&format!("close: {error:#}"));
        }
    }

    fn stop(&mut self) {
        if let Err(error) = ready(self.task.stop()) {
            crate::log::warn(&format!("stop: {error:#}"));
        }
    }
}

/// The rows as the trait of records has them. Their raw bytes stay with the worker.
fn sink_records(batch: &Batch<'_>) -> Vec<SinkRecord> {
    let rows = read(batch).1.into_rows();
    let raw = |record: &penstock_api::Record| RawRecord {
        topic: record.topic.clone(),
        partition: record.partition.unwrap_or_default(),
        offset: record.offset.unwrap_or_default(),
        timestamp: record.timestamp,
        timestamp_type: TimestampType::NoTimestamp,
        key: None,
        value: None,
        headers: None,
    };
    let raws = Arc::new(rows.iter().map(|row| raw(&row.record)).collect::<Vec<_>>());
    let records = rows.into_iter().enumerate();
    records
        .map(|(at, row)| SinkRecord {
            record: row.record,
            timestamp_type: TimestampType::CreateTime,
            origin: Origin::new(raws.clone(), at),
        })
        .collect()
}

thread_local! {
    static TASK: RefCell<Option<(Box<dyn ColumnSink>, TaskId)>> = const { RefCell::new(None) };
}

/// What `export_sinks!` calls.
pub mod calls {
    use penstock_api::connector::TaskId;
    use penstock_api::{Error, Offsets, Result, TopicPartition};

    use super::{ColumnSink, SinkClass, TASK};
    use crate::connector_class::{self as connector, ConnectorClass};
    use crate::export::{Answer, Properties};
    use crate::rows::{Batch, error_of};
    use crate::wit::batches;
    use crate::wit::connector::exports::penstock::connect::connector::Problem;
    use crate::wit::plugin::exports::penstock::connect::plugin;
    use crate::wit::sink::exports::penstock::connect::sink;

    fn inner(classes: Vec<SinkClass>) -> impl Iterator<Item = ConnectorClass<dyn ColumnSink>> {
        classes.into_iter().map(|class| class.0)
    }

    #[must_use]
    pub fn describe(classes: Vec<SinkClass>) -> Vec<plugin::Class> {
        connector::describe(inner(classes))
    }

    pub fn configure(classes: Vec<SinkClass>, name: String, properties: Properties, context: plugin::Context) -> Answer<()> {
        let (task, id) = connector::make(inner(classes), &name, properties, context)?;
        TASK.with(|kept| *kept.borrow_mut() = Some((task, id)));
        Ok(())
    }

    pub fn stop() {
        if let Some((mut task, _)) = TASK.with(|kept| kept.borrow_mut().take()) {
            task.stop();
        }
    }

    #[must_use]
    pub fn validate(classes: Vec<SinkClass>, name: String, properties: Properties) -> Vec<Problem> {
        connector::validate(inner(classes), &name, properties)
    }

    pub fn plan(classes: Vec<SinkClass>, name: String, properties: Properties, tasks_max: u32) -> Answer<Vec<Properties>> {
        connector::plan(inner(classes), &name, properties, tasks_max)
    }

    fn with<R>(work: impl FnOnce(&mut dyn ColumnSink, &TaskId) -> Result<R>) -> Answer<R> {
        TASK.with(|kept| match kept.borrow_mut().as_mut() {
            Some((task, id)) => work(&mut **task, id).map_err(|error| error_of(&error)),
            None => Err(error_of(&Error::fatal("called before `configure`"))),
        })
    }

    pub fn start() -> Answer<()> {
        with(|task, id| task.start(id))
    }

    pub fn open(partitions: Vec<sink::TopicPartition>) -> Answer<Vec<sink::Position>> {
        with(|task, _| task.open(&from_wit(partitions)).map(positions))
    }

    pub fn put(batch: &batches::Batch) -> Answer<()> {
        with(|task, _| task.put(&Batch::new(batch)))
    }

    pub fn idle() -> Answer<()> {
        with(|task, _| task.idle())
    }

    pub fn pre_commit(put: Vec<sink::Position>) -> Answer<Vec<sink::Position>> {
        let put: Offsets = put.into_iter().map(|p| (one_from_wit(p.partition), p.offset)).collect();
        with(|task, _| task.pre_commit(&put).map(positions))
    }

    pub fn flush(partitions: Vec<sink::TopicPartition>) -> Answer<()> {
        with(|task, _| task.flush(&from_wit(partitions)))
    }

    pub fn close(partitions: Vec<sink::TopicPartition>, lost: bool) {
        let partitions = from_wit(partitions);
        let closed = with(|task, _| {
            task.close(&partitions, lost);
            Ok(())
        });
        if let Err(error) = closed {
            crate::log::warn(&format!("close: {}", error.message));
        }
    }

    fn one_from_wit(partition: sink::TopicPartition) -> TopicPartition {
        TopicPartition { topic: partition.topic.into(), partition: partition.partition }
    }

    fn from_wit(partitions: Vec<sink::TopicPartition>) -> Vec<TopicPartition> {
        partitions.into_iter().map(one_from_wit).collect()
    }

    fn positions(offsets: Offsets) -> Vec<sink::Position> {
        let partition = |p: TopicPartition| sink::TopicPartition { topic: p.topic.to_string(), partition: p.partition };
        offsets.into_iter().map(|(p, offset)| sink::Position { partition: partition(p), offset }).collect()
    }
}
