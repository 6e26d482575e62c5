//! What a case sees: the classes of its crate, and tasks of them.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use penstock_api::{Plugin, Props, SourceMap};

use crate::call::{Answer, Call, Failure, Outcome, Polled, Report};
use crate::place::{Built, Component, Place};
use crate::record::{TestRecord, map};

/// The answer that a call has; another one cannot be.
macro_rules! expect {
    ($reply:expr, $answer:pat => $value:expr) => {
        match $reply? {
            $answer => $value,
            other => unreachable!("a call is answered in its own words, not by {other:?}"),
        }
    };
}

/// A class of the crate under test.
pub enum Class {
    /// In the form of records: the traits that built-in classes have.
    Records(Plugin),
    /// In the form of columns, of this name: it works on a batch that only a worker has.
    Columns(String),
}

/// The classes of the crate under test, in one of the places where a case is run.
pub struct Plugins {
    classes: Vec<Class>,
    built: Option<Built>,
}

/// Runs a case natively and, under `penstock plugin test`, inside wasmtime.
///
/// What a task, a file or a server of the case keeps must not last from one run to the other: make it inside of the case.
///
/// # Panics
/// When the case does. When it uses a class in the form of columns natively, and there is no component to run it in instead.
pub fn run(classes: impl Fn() -> Vec<Class>, case: impl Fn(&Plugins)) {
    let built = Built::from_environment();
    eprintln!("natively:");
    let natively = catch_unwind(AssertUnwindSafe(|| case(&Plugins { classes: classes(), built: None })));
    match (natively, &built) {
        (Ok(()), _) => {}
        (Err(panic), Some(_)) if panic.is::<NeedsWorker>() => {
            eprintln!("(not natively: a class in the form of columns needs a worker)");
        }
        (Err(panic), None) if panic.is::<NeedsWorker>() => {
            let NeedsWorker(class) = *panic.downcast::<NeedsWorker>().expect("looked at above");
            panic!("{class} is in the form of columns, which only runs inside a worker: run `penstock plugin test`");
        }
        (Err(panic), _) => resume_unwind(panic),
    }
    if let Some(built) = built {
        eprintln!("inside wasmtime ({}):", built.component.display());
        case(&Plugins { classes: classes(), built: Some(built) });
    }
}

/// Leaves a native run that cannot go on.
struct NeedsWorker(String);

impl Plugins {
    /// Whether this is the run inside wasmtime.
    #[must_use]
    pub fn are_components(&self) -> bool {
        self.built.is_some()
    }

    /// Starts a transform.
    ///
    /// # Errors
    /// What the plugin, or the check of its keys, said.
    pub fn transform(&self, class: &str, config: &[(&str, &str)]) -> Result<TransformTask, Failure> {
        self.start(class, config, Vec::new()).map(TransformTask)
    }

    /// Starts a predicate.
    ///
    /// # Errors
    /// As for [`transform`](Self::transform).
    pub fn predicate(&self, class: &str, config: &[(&str, &str)]) -> Result<PredicateTask, Failure> {
        self.start(class, config, Vec::new()).map(PredicateTask)
    }

    /// Starts a task of a sink.
    ///
    /// # Errors
    /// As for [`transform`](Self::transform).
    pub fn sink(&self, class: &str, config: &[(&str, &str)]) -> Result<SinkTask, Failure> {
        self.start(class, config, Vec::new()).map(SinkTask)
    }

    /// Starts a task of a source of which the worker keeps no offsets.
    ///
    /// # Errors
    /// As for [`transform`](Self::transform).
    pub fn source(&self, class: &str, config: &[(&str, &str)]) -> Result<SourceTask, Failure> {
        self.source_from(class, config, &[])
    }

    /// Starts a task of a source with the offsets that the worker keeps: pairs of source partition and source offset.
    ///
    /// # Errors
    /// As for [`transform`](Self::transform).
    pub fn source_from(
        &self,
        class: &str,
        config: &[(&str, &str)],
        stored: &[(serde_json::Value, serde_json::Value)],
    ) -> Result<SourceTask, Failure> {
        let stored = stored.iter().map(|(partition, offset)| (map(partition.clone()), map(offset.clone()))).collect();
        let place = self.start(class, config, stored)?;
        Ok(SourceTask(place))
    }

    /// What is wrong with a configuration: pairs of key and message.
    ///
    /// # Errors
    /// When the plugin could not be asked.
    pub fn validate(&self, class: &str, config: &[(&str, &str)]) -> Result<Vec<(String, String)>, Failure> {
        let call = Call::Validate { class: class.to_owned(), config: self.props(config) };
        Ok(expect!(self.place(class).call(call), Answer::Problems(problems) => problems))
    }

    /// The configurations of a connector's tasks.
    ///
    /// # Errors
    /// What the connector said.
    pub fn plan(&self, class: &str, config: &[(&str, &str)], tasks_max: u32) -> Result<Vec<Props>, Failure> {
        let call = Call::Plan { class: class.to_owned(), config: self.props(config), tasks_max };
        Ok(expect!(self.place(class).call(call), Answer::Plan(tasks) => tasks))
    }

    fn start(&self, class: &str, config: &[(&str, &str)], stored: Vec<(SourceMap, SourceMap)>) -> Result<Place, Failure> {
        let mut place = self.place(class);
        place.call(Call::Start { class: class.to_owned(), config: self.props(config), stored })?;
        Ok(place)
    }

    /// A plugin does not get to see what it was granted; natively nothing holds it back.
    fn props(&self, config: &[(&str, &str)]) -> Props {
        let is_seen = |key: &str| self.are_components() || !key.starts_with("plugin.grants.");
        let seen = config.iter().filter(|(key, _)| is_seen(key));
        seen.map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn place(&self, class: &str) -> Place {
        if let Some(built) = &self.built {
            return Place::Component(Box::new(Component::start(built)));
        }
        let mut plugins = Vec::new();
        for known in &self.classes {
            match known {
                Class::Records(plugin) => plugins.push(plugin.clone()),
                Class::Columns(name) if name == class || name.rsplit('.').next() == Some(class) => {
                    let leaving: Box<dyn Any + Send> = Box::new(NeedsWorker(name.clone()));
                    resume_unwind(leaving);
                }
                Class::Columns(_) => {}
            }
        }
        Place::native(plugins)
    }
}

/// A transform that is running.
pub struct TransformTask(Place);

impl TransformTask {
    /// Lets it work on a batch: what became of each record, and behind it those that it made of it.
    ///
    /// # Errors
    /// An error that ends the task.
    pub fn apply(&mut self, records: impl IntoIterator<Item = TestRecord>) -> Result<Vec<Outcome>, Failure> {
        Ok(expect!(self.0.call(Call::Apply(records.into_iter().collect())), Answer::Outcomes(outcomes) => outcomes))
    }

    /// Ends the task.
    ///
    /// # Errors
    /// When the process that runs a component has ended.
    pub fn stop(mut self) -> Result<(), Failure> {
        self.0.call(Call::Stop).map(drop)
    }
}

/// A predicate that is running.
pub struct PredicateTask(Place);

impl PredicateTask {
    /// Says of each record whether it matches.
    ///
    /// # Errors
    /// An error that ends the task.
    pub fn test(&mut self, records: impl IntoIterator<Item = TestRecord>) -> Result<Vec<Result<bool, Failure>>, Failure> {
        Ok(expect!(self.0.call(Call::Test(records.into_iter().collect())), Answer::Matches(matches) => matches))
    }
}

/// A task of a sink.
pub struct SinkTask(Place);

impl SinkTask {
    /// Assigns partitions. Answers where the task wants to begin: topic, partition, offset.
    ///
    /// # Errors
    /// What the task said.
    pub fn open(&mut self, partitions: &[(&str, i32)]) -> Result<Vec<(String, i32, i64)>, Failure> {
        let partitions = partitions.iter().map(|(topic, partition)| ((*topic).to_owned(), *partition)).collect();
        Ok(expect!(self.0.call(Call::Open(partitions)), Answer::Offsets(begins) => begins))
    }

    /// Gives it records, or none, and answers those that it reports as failed. A record without a partition is of partition 0, one without
    /// an offset is the next of its partition.
    ///
    /// # Errors
    /// What the task said: after `Retriable` the worker gives it the same records again.
    pub fn put(&mut self, records: impl IntoIterator<Item = TestRecord>) -> Result<Vec<Report>, Failure> {
        Ok(expect!(self.0.call(Call::Put(records.into_iter().collect())), Answer::Reports(reports) => reports))
    }

    /// What may be committed of what was put: topic, partition, offset of the next record.
    ///
    /// # Errors
    /// What the task said.
    pub fn pre_commit(&mut self) -> Result<Vec<(String, i32, i64)>, Failure> {
        Ok(expect!(self.0.call(Call::PreCommit), Answer::Offsets(durable) => durable))
    }

    /// Has it write what it holds back.
    ///
    /// # Errors
    /// What the task said.
    pub fn flush(&mut self) -> Result<(), Failure> {
        self.0.call(Call::Flush).map(drop)
    }

    /// Takes its partitions away.
    ///
    /// # Errors
    /// When the process that runs a component has ended.
    pub fn close(&mut self, lost: bool) -> Result<(), Failure> {
        self.0.call(Call::Close { lost }).map(drop)
    }

    /// Ends the task.
    ///
    /// # Errors
    /// When the process that runs a component has ended.
    pub fn stop(mut self) -> Result<(), Failure> {
        self.0.call(Call::Stop).map(drop)
    }
}

/// A task of a source.
pub struct SourceTask(Place);

impl SourceTask {
    /// Asks it for records.
    ///
    /// # Errors
    /// What the task said: after `Retriable` the worker asks again.
    pub fn poll(&mut self) -> Result<Polled, Failure> {
        Ok(expect!(self.0.call(Call::Poll), Answer::Polled(polled) => polled))
    }

    /// Tells it that all it has given is in Kafka.
    ///
    /// # Errors
    /// What the task said.
    pub fn acknowledge(&mut self) -> Result<(), Failure> {
        self.0.call(Call::Acknowledge).map(drop)
    }

    /// Ends the task.
    ///
    /// # Errors
    /// When the process that runs a component has ended.
    pub fn stop(mut self) -> Result<(), Failure> {
        self.0.call(Call::Stop).map(drop)
    }
}
