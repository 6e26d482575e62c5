//! One instance of a component for one task: a store with its limits, and calls that end in time.

mod connector;
mod sink;
pub(crate) mod source;

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use penstock_api::metrics::MetricOwner;
use penstock_api::{Batch, Error, Props, SinkRecord};
use wasmtime::Store;
use wasmtime::component::{InstancePre, Resource};

use crate::batch::{Call, Misuse};
use crate::contract::common::Common;
use crate::contract::connectors::Connectors;
use crate::contract::predicates::Predicates;
use crate::contract::sinks::Sinks;
use crate::contract::sources::Sources;
use crate::contract::transforms::Transforms;
use crate::contract::{self, plugin, types};
use crate::engine::{Engine, Running};
use crate::grants::Grants;
use crate::guest_log::{GuestLog, Owner};
use crate::state::{BatchHandle, State};
use crate::watch::{Broken, Watch};

/// What kind of classes a component holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Transforms,
    Predicates,
    Sinks,
    Sources,
}

impl Kind {
    /// For people.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Transforms => "transforms",
            Kind::Predicates => "predicates",
            Kind::Sinks => "sinks",
            Kind::Sources => "sources",
        }
    }
}

/// A component that can be instantiated.
pub(crate) struct Loaded {
    pub engine: Arc<Engine>,
    /// Where it was loaded from; messages name it.
    pub file: Arc<str>,
    pub pre: InstancePre<State>,
    pub kind: Kind,
}

/// A running guest. After it was [`Stopped`] it must not be called again.
pub(crate) struct Instance {
    engine: Arc<Engine>,
    store: Store<State>,
    common: Common,
    exports: Exports,
    watch: Arc<Watch>,
}

enum Exports {
    Transforms(Transforms),
    Predicates(Predicates),
    Sinks(Connectors, Sinks),
    Sources(Connectors, Sources),
}

/// A guest did not return: it trapped, took too long, or misused the contract. For people.
#[derive(Debug)]
pub(crate) struct Stopped {
    pub(crate) why: String,
    /// It did not return in time; what of that time was its own.
    pub(crate) late: Option<Duration>,
    /// It reached for what it was not granted, or beyond a limit of the network: no record is to blame, so the task ends.
    pub(crate) broke_a_limit: bool,
}

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

/// What a call on a batch has answered.
pub(crate) enum Answer {
    /// The transform, or the sink, is done.
    Applied,
    /// The predicate's bitmap, not yet checked.
    Matches(Vec<u8>),
    /// An error that concerns all rows.
    Refused(Error),
}

impl Loaded {
    /// Whose metrics those of an instance are, as Connect's tags say it.
    fn metric_owner(&self, owner: &Owner) -> Option<MetricOwner> {
        let part = match self.kind {
            Kind::Transforms => Some(("transformation", owner.alias.clone())),
            Kind::Predicates => Some(("predicate", owner.alias.clone())),
            Kind::Sinks | Kind::Sources => None,
        };
        let works = !owner.connector.is_empty();
        works.then(|| MetricOwner { connector: owner.connector.clone(), task: owner.task, part })
    }

    /// Makes an instance that is not configured yet.
    pub(crate) async fn instantiate(&self, owner: Owner, grants: &Arc<Grants>) -> Result<Instance, Stopped> {
        let engine = self.engine.clone();
        let deadline = engine.config.call_deadline;
        let metrics = self.metric_owner(&owner);
        let state = State::new(GuestLog::new(owner), &engine.config, &engine.network, grants, metrics);
        let watch = state.watch.clone();
        let mut store = Store::new(engine.wasmtime(), state);
        store.limiter(|state| &mut state.memory);
        store.epoch_deadline_async_yield_and_update(1);
        store.set_epoch_deadline(1);
        let instance = bounded(&engine.running(&watch), deadline, self.pre.instantiate_async(&mut store)).await;
        let instance = instance.map_err(|failure| explain(failure, &store, deadline))?;
        let exported =
            |e: wasmtime::Error| Stopped { why: format!("it lacks an export: {e:#}"), late: None, broke_a_limit: false };
        let common = Common::new(&mut store, &instance).map_err(exported)?;
        let exports = match self.kind {
            Kind::Transforms => Exports::Transforms(Transforms::new(&mut store, &instance).map_err(exported)?),
            Kind::Predicates => Exports::Predicates(Predicates::new(&mut store, &instance).map_err(exported)?),
            Kind::Sinks => {
                let connector = Connectors::new(&mut store, &instance).map_err(exported)?;
                Exports::Sinks(connector, Sinks::new(&mut store, &instance).map_err(exported)?)
            }
            Kind::Sources => {
                let connector = Connectors::new(&mut store, &instance).map_err(exported)?;
                Exports::Sources(connector, Sources::new(&mut store, &instance).map_err(exported)?)
            }
        };
        Ok(Instance { engine, store, common, exports, watch })
    }
}

impl Instance {
    pub(crate) async fn describe(&mut self) -> Result<Vec<plugin::Class>, Stopped> {
        let deadline = self.begin(self.engine.config.call_deadline);
        let call = self.common.penstock_connect_plugin().call_describe(&mut self.store);
        bounded(&self.engine.running(&self.watch), deadline, call)
            .await
            .map_err(|failure| explain(failure, &self.store, deadline))
    }

    /// Makes it work as a class. The inner error is the guest's own.
    pub(crate) async fn configure(&mut self, class: &str, props: &Props, owner: &Owner) -> Result<Result<(), Error>, Stopped> {
        let deadline = self.begin(self.engine.config.call_deadline);
        let properties: Vec<(String, String)> = props.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
        let context =
            plugin::Context { connector: owner.connector.to_string(), task: owner.task, alias: owner.alias.to_string() };
        let call = self.common.penstock_connect_plugin().call_configure(&mut self.store, class, &properties, &context);
        let answer = bounded(&self.engine.running(&self.watch), deadline, call).await;
        let answer = answer.map_err(|failure| explain(failure, &self.store, deadline))?;
        Ok(answer.map_err(contract::error))
    }

    /// Shows rows of a batch to the guest. What it notes lies in the call that comes back.
    pub(crate) async fn work(&mut self, batch: Batch, rows: &[u32], deadline: Duration) -> (Call, Result<Answer, Stopped>) {
        let may_change = matches!(self.exports, Exports::Transforms(_));
        let call = Call::new(batch, rows, may_change, self.engine.config.memory_bytes_max);
        self.carry(call, deadline).await
    }

    /// Gives records to a sink. What it notes lies in the call that comes back.
    pub(crate) async fn put(&mut self, records: Arc<Vec<SinkRecord>>) -> (Call, Result<Answer, Stopped>) {
        let config = &self.engine.config;
        let (call, deadline) = (Call::of_sink(records, config.memory_bytes_max), config.call_deadline);
        self.carry(call, deadline).await
    }

    async fn carry(&mut self, call: Call, deadline: Duration) -> (Call, Result<Answer, Stopped>) {
        self.store.data_mut().call = Some(call);
        let deadline = self.begin(deadline);
        let running = self.engine.running(&self.watch);
        let handle = Resource::<BatchHandle>::new_borrow(0);
        let answer = match &self.exports {
            Exports::Transforms(exports) => {
                let call = exports.penstock_connect_transform().call_apply(&mut self.store, handle);
                bounded(&running, deadline, call).await.map(|answer| answer.map(|()| Answer::Applied))
            }
            Exports::Predicates(exports) => {
                let call = exports.penstock_connect_predicate().call_test(&mut self.store, handle);
                bounded(&running, deadline, call).await.map(|answer| answer.map(Answer::Matches))
            }
            Exports::Sinks(_, exports) => {
                let call = exports.penstock_connect_sink().call_put(&mut self.store, handle);
                bounded(&running, deadline, call).await.map(|answer| answer.map(|()| Answer::Applied))
            }
            Exports::Sources(..) => unreachable!("sources are shown no batch"),
        };
        let answer = match answer {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(refusal)) => Ok(Answer::Refused(refused(refusal))),
            Err(failure) => Err(explain(failure, &self.store, deadline)),
        };
        let call = self.store.data_mut().call.take().expect("put there above, and only taken here");
        (call, answer)
    }

    /// Tells the guest that it is not needed any more. What goes wrong only goes to the log.
    pub(crate) async fn stop(mut self) {
        let deadline = self.begin(self.engine.config.call_deadline);
        let call = self.common.penstock_connect_plugin().call_stop(&mut self.store);
        if let Err(failure) = bounded(&self.engine.running(&self.watch), deadline, call).await {
            let why = explain(failure, &self.store, deadline);
            self.store.data().log.line(contract::log::Level::Warn, &format!("stopping the plugin: {why}"), &[]);
        }
    }

    /// Writes a line to this task's plugin log, at its bounded rate.
    pub(crate) fn warn(&self, message: &str) {
        self.store.data().log.line(contract::log::Level::Warn, message, &[]);
    }

    /// Carries out what a call noted.
    pub(crate) fn carry_out(&mut self, call: Call) -> crate::batch::Done {
        call.carry_out(&mut self.store.data_mut().schema_extensions)
    }

    fn begin(&mut self, deadline: Duration) -> Duration {
        self.store.set_epoch_deadline(1);
        let state = self.store.data_mut();
        state.memory.was_refused = false;
        state.log.take_last_words();
        deadline
    }
}

fn refused(refusal: types::Error) -> Error {
    contract::error(refusal)
}

enum Failure {
    /// With what of the time was its own.
    TooLate(Duration),
    /// It waited too long for the network.
    WaitedTooLong,
    /// The watch knows what.
    BrokeALimit,
    Trap(wasmtime::Error),
}

/// Lets a guest run until the deadline. It yields at each tick of the clock, so the timer gets its turn; ticks decide whether the
/// time is up.
async fn bounded<T>(
    running: &Running<'_>,
    deadline: Duration,
    call: impl Future<Output = wasmtime::Result<T>>,
) -> Result<T, Failure> {
    let mut call = std::pin::pin!(call);
    loop {
        let left = deadline.saturating_sub(running.elapsed());
        let network_left = running.watch.network_wait_left();
        if left.is_zero() {
            // While the process stands still the guest does not sleep either.
            return Err(Failure::TooLate(running.watch.own().min(running.elapsed())));
        }
        if network_left.is_zero() {
            return Err(Failure::WaitedTooLong);
        }
        let going_on = std::future::poll_fn(|cx| running.watch.poll(call.as_mut(), cx));
        match tokio::time::timeout(left.min(network_left), going_on).await {
            Ok(Ok(answer)) => return answer.map_err(Failure::Trap),
            Ok(Err(Broken)) => return Err(Failure::BrokeALimit),
            Err(_) => {}
        }
    }
}

/// What happened and what to do, with the guest's last words and the file it came from.
fn explain(failure: Failure, store: &Store<State>, deadline: Duration) -> Stopped {
    let state = store.data();
    let late = if let Failure::TooLate(own) = failure { Some(own) } else { None };
    let broke_a_limit = matches!(failure, Failure::BrokeALimit);
    let why = match failure {
        Failure::TooLate(_) if deadline < state.call_deadline => {
            let (had, all) = (deadline.as_millis(), state.call_deadline.as_millis());
            format!(
                "did not return within {had} ms, which is the share of so few records in penstock.plugin.call.timeout.ms ({all})"
            )
        }
        Failure::TooLate(_) => {
            format!("did not return within {} ms (penstock.plugin.call.timeout.ms)", deadline.as_millis())
        }
        Failure::WaitedTooLong => {
            let waited = state.network_wait_max.as_millis();
            format!("waited for the network for {waited} ms in one call (penstock.plugin.network.timeout.ms)")
        }
        Failure::BrokeALimit => state.watch.breach().unwrap_or("broke a limit").to_owned(),
        Failure::Trap(error) => why_it_trapped(&error, state),
    };
    let words = state.log.take_last_words();
    let said = if words.is_empty() { String::new() } else { format!("; its last words: {words}") };
    let mut told = contract::cut(format!("the plugin {why}{said}"), contract::MESSAGE_BYTES_MAX);
    let file = state.log.file();
    if !file.is_empty() {
        told.push_str(&format!(" ({file})"));
    }
    Stopped { why: told, late, broke_a_limit }
}

fn why_it_trapped(error: &wasmtime::Error, state: &State) -> String {
    if let Some(misuse) = error.downcast_ref::<Misuse>() {
        return misuse.to_string();
    }
    if state.memory.was_refused {
        let mib = state.memory.bytes_max >> 20;
        return format!("needs more than the {mib} MiB of memory that an instance may use (penstock.plugin.memory.max.bytes)");
    }
    let trap = error.downcast_ref::<wasmtime::Trap>().map_or_else(|| format!("{error:#}"), ToString::to_string);
    format!("trapped: {}", trap.strip_prefix("wasm trap: ").unwrap_or(&trap))
}
