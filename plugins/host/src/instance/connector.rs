//! The calls of a component's connectors, in throw-away instances, and how any call of a kind's own interfaces is made.

use penstock_api::{Error, Props};

use super::{Exports, Instance, Stopped};
use crate::contract;

/// The outer error is the host's, the inner one the guest's own.
pub(super) type Answer<T> = Result<Result<T, Error>, Stopped>;

/// One call under the deadline of every call: `call!(self, pattern, interface.function(arguments))`. The pattern of [`Exports`] names the
/// `exports` that are called.
macro_rules! call {
    ($instance:ident, $exports:ident in $pattern:pat, $interface:ident.$function:ident($($argument:expr),*)) => {{
        let deadline = $instance.begin($instance.engine.config.call_deadline);
        let $pattern = &$instance.exports else { unreachable!("only components of a kind are called as such") };
        let running = $instance.engine.running(&$instance.watch);
        let answer = $crate::instance::bounded(
            &running,
            deadline,
            $exports.$interface().$function(&mut $instance.store $(, $argument)*),
        )
        .await;
        answer.map_err(|failure| $crate::instance::explain(failure, &$instance.store, deadline))
    }};
}
pub(super) use call;

impl Instance {
    /// What is wrong with a configuration: pairs of key and message.
    pub(crate) async fn validate(&mut self, class: &str, props: &Props) -> Result<Vec<(String, String)>, Stopped> {
        let pairs = pairs(props);
        let problems = call!(
            self,
            connector in (Exports::Sinks(connector, _) | Exports::Sources(connector, _)),
            penstock_connect_connector.call_validate(class, &pairs)
        )?;
        let cut = |message| contract::cut(message, contract::MESSAGE_BYTES_MAX);
        Ok(problems.into_iter().map(|problem| (problem.key, cut(problem.message))).collect())
    }

    /// The properties of each task.
    pub(crate) async fn plan(&mut self, class: &str, props: &Props, tasks_max: u32) -> Answer<Vec<Props>> {
        let pairs = pairs(props);
        let planned = call!(
            self,
            connector in (Exports::Sinks(connector, _) | Exports::Sources(connector, _)),
            penstock_connect_connector.call_plan(class, &pairs, tasks_max)
        )?;
        let planned = planned.map(|tasks| tasks.into_iter().map(|task| task.into_iter().collect()).collect());
        Ok(planned.map_err(contract::error))
    }
}

pub(super) fn pairs(props: &Props) -> Vec<(String, String)> {
    props.iter().map(|(key, value)| (key.clone(), value.clone())).collect()
}
