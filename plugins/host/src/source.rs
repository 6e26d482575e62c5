//! A component's class as a source connector and its tasks.
//!
//! A trap ends the task: what the instance knew of the other side is lost with it, and its successor reads on from the offsets that are stored.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use penstock_api::{
    Connector, Delivered, Error, ExactlyOnceSupport, Polled, Props, Result, SourceConnector, SourceContext, SourceMap,
    SourcePosition, SourceTask, TransactionEnd, async_trait,
};

use crate::component::Component;
use crate::contract::sources::exports::penstock::connect::source::Guarantees;
use crate::instance::{Instance, Stopped, source};

type BoxFuture<'f, T> = Pin<Box<dyn Future<Output = T> + Send + 'f>>;

/// A class of a component of sources.
#[derive(Clone)]
pub(crate) struct ComponentSource(pub Component);

struct ComponentSourceTask {
    component: Component,
    state: State,
    /// From `start` on.
    context: Option<SourceContext>,
    wants_acknowledgements: bool,
}

/// What the instance does.
enum State {
    /// Not started, or a call did not return.
    Ended,
    Idle(Instance),
    /// A poll is under way. It outlives the worker's call, which may be dropped where it waits: a guest that was interrupted could not be
    /// called again.
    Polling(BoxFuture<'static, (Instance, Given)>),
    /// The worker had something else to say when the poll was done.
    Polled(Instance, Given),
}

/// What a poll came to.
type Given = std::result::Result<Result<source::Given>, Stopped>;

#[async_trait]
impl Connector for ComponentSource {
    async fn validate(&self, config: &Props) -> Vec<(String, String)> {
        self.0.validate(config).await
    }

    async fn task_configs(&self, config: &Props, tasks_max: u32) -> Result<Vec<Props>> {
        self.0.plan(config, tasks_max).await
    }
}

#[async_trait]
impl SourceConnector for ComponentSource {
    fn task(&self) -> Box<dyn SourceTask> {
        let component = self.0.clone();
        Box::new(ComponentSourceTask { component, state: State::Ended, context: None, wants_acknowledgements: false })
    }

    async fn exactly_once_support(&self, config: &Props) -> Result<Option<ExactlyOnceSupport>> {
        let is_once = self.0.guarantees(config).await?.contains(Guarantees::EXACTLY_ONCE);
        Ok(Some(if is_once { ExactlyOnceSupport::Supported } else { ExactlyOnceSupport::Unsupported }))
    }

    async fn can_define_transaction_boundaries(&self, config: &Props) -> Result<bool> {
        Ok(self.0.guarantees(config).await?.contains(Guarantees::TRANSACTION_BOUNDARIES))
    }
}

impl ComponentSourceTask {
    fn ended(&self) -> Error {
        Error::fatal(format!("plugin {} has ended", self.component.class))
    }

    /// The instance, when it is not in a call, and what a poll gave that the worker does not have yet.
    async fn at_rest(&mut self) -> Option<(Instance, Option<Given>)> {
        // Stays where it is while it is awaited, should the worker drop the call.
        if let State::Polling(polling) = &mut self.state {
            let (instance, given) = polling.await;
            self.state = State::Polled(instance, given);
        }
        match std::mem::replace(&mut self.state, State::Ended) {
            State::Idle(instance) => Some((instance, None)),
            State::Polled(instance, given) => Some((instance, Some(given))),
            State::Ended | State::Polling(_) => None,
        }
    }
}

#[async_trait]
impl SourceTask for ComponentSourceTask {
    async fn start(&mut self, config: &Props, context: SourceContext) -> Result<()> {
        let mut instance = self.component.configured(config, &context.task).await?;
        self.context = Some(context.clone());
        let started = instance.source_start(context).await;
        self.wants_acknowledgements = self.component.settle("start", started)?;
        self.state = State::Idle(instance);
        Ok(())
    }

    async fn poll(&mut self) -> Result<Polled> {
        if let State::Idle(_) = self.state
            && let State::Idle(mut instance) = std::mem::replace(&mut self.state, State::Ended)
        {
            self.state = State::Polling(Box::pin(async move {
                let given = instance.source_poll().await;
                (instance, given)
            }));
        }
        let (instance, given) = self.at_rest().await.ok_or_else(|| self.ended())?;
        let given = given.ok_or_else(|| self.ended())?;
        if given.is_ok() {
            self.state = State::Idle(instance);
        }
        let source::Given { polled, boundaries } = self.component.settle("poll", given)?;
        // Only now, for the worker takes them with the records.
        for (behind, end) in boundaries {
            let Some(context) = &self.context else { break };
            match end {
                TransactionEnd::Commit => context.commit_transaction_behind(behind),
                TransactionEnd::Abort => context.abort_transaction_behind(behind),
            }
        }
        Ok(polled)
    }

    fn wants_deliveries(&self) -> bool {
        self.wants_acknowledgements
    }

    async fn delivered(&mut self, records: &[Delivered]) -> Result<()> {
        let newest = newest(records);
        let (mut instance, given) = self.at_rest().await.ok_or_else(|| self.ended())?;
        let answer = instance.source_acknowledged(&newest).await;
        if answer.is_ok() {
            self.state = match given {
                Some(given) => State::Polled(instance, given),
                None => State::Idle(instance),
            };
        }
        self.component.settle("acknowledge records to", answer)
    }

    async fn stop(&mut self) {
        if let Some((instance, _)) = self.at_rest().await {
            instance.stop().await;
        }
    }
}

/// Of each partition the newest offset, both as JSON.
fn newest(records: &[Delivered]) -> Vec<(String, String)> {
    let mut newest: Vec<&SourcePosition> = Vec::new();
    for position in records.iter().rev().filter_map(|record| record.position.as_ref()) {
        if !newest.iter().any(|known| Arc::ptr_eq(&known.partition, &position.partition)) {
            newest.push(position);
        }
    }
    let text = |map: &SourceMap| serde_json::to_string(map).expect("a map of primitives is JSON");
    newest.iter().map(|at| (text(&at.partition), text(&at.offset.to_map()))).collect()
}
