//! The calls of sink components: of their connectors, in throw-away instances, and of their tasks.

use std::sync::Arc;

use penstock_api::{Error, Offsets, Props, TopicPartition};

use super::{Exports, Instance, Stopped, bounded, explain};
use crate::contract;
use crate::contract::sinks::exports::penstock::connect::sink as wit;

/// The outer error is the host's, the inner one the guest's own.
type Answer<T> = Result<Result<T, Error>, Stopped>;

/// One call under the deadline of every call.
macro_rules! call {
    ($instance:ident, $interface:ident.$function:ident($($argument:expr),*)) => {{
        let deadline = $instance.begin($instance.engine.config.call_deadline);
        let Exports::Sinks(exports) = &$instance.exports else { unreachable!("only components of sinks are called as such") };
        let running = $instance.engine.running();
        let answer = bounded(&running, deadline, exports.$interface().$function(&mut $instance.store $(, $argument)*)).await;
        answer.map_err(|failure| explain(failure, &$instance.store, deadline))
    }};
}

impl Instance {
    /// What is wrong with a configuration: pairs of key and message.
    pub(crate) async fn validate(&mut self, class: &str, props: &Props) -> Result<Vec<(String, String)>, Stopped> {
        let problems = call!(self, penstock_connect_connector.call_validate(class, &pairs(props)))?;
        Ok(problems
            .into_iter()
            .map(|problem| (problem.key, contract::cut(problem.message, contract::MESSAGE_BYTES_MAX)))
            .collect())
    }

    /// The properties of each task.
    pub(crate) async fn plan(&mut self, class: &str, props: &Props, tasks_max: u32) -> Answer<Vec<Props>> {
        let planned = call!(self, penstock_connect_connector.call_plan(class, &pairs(props), tasks_max))?;
        let planned = planned.map(|tasks| tasks.into_iter().map(|task| task.into_iter().collect()).collect());
        Ok(planned.map_err(contract::error))
    }

    pub(crate) async fn sink_start(&mut self) -> Answer<()> {
        Ok(call!(self, penstock_connect_sink.call_start())?.map_err(contract::error))
    }

    /// Where to begin, as the guest says; not checked.
    pub(crate) async fn sink_open(&mut self, partitions: &[TopicPartition]) -> Answer<Offsets> {
        let answer = call!(self, penstock_connect_sink.call_open(&to_wit(partitions)))?;
        Ok(answer.map(offsets).map_err(contract::error))
    }

    pub(crate) async fn sink_idle(&mut self) -> Answer<()> {
        Ok(call!(self, penstock_connect_sink.call_idle())?.map_err(contract::error))
    }

    /// What is durable, as the guest says; not checked.
    pub(crate) async fn sink_pre_commit(&mut self, put: &Offsets) -> Answer<Offsets> {
        let put: Vec<_> =
            put.iter().map(|(partition, offset)| wit::Position { partition: one_to_wit(partition), offset: *offset }).collect();
        let answer = call!(self, penstock_connect_sink.call_pre_commit(&put))?;
        Ok(answer.map(offsets).map_err(contract::error))
    }

    pub(crate) async fn sink_flush(&mut self, partitions: &[TopicPartition]) -> Answer<()> {
        Ok(call!(self, penstock_connect_sink.call_flush(&to_wit(partitions)))?.map_err(contract::error))
    }

    pub(crate) async fn sink_close(&mut self, partitions: &[TopicPartition], lost: bool) -> Result<(), Stopped> {
        call!(self, penstock_connect_sink.call_close(&to_wit(partitions), lost))
    }
}

fn pairs(props: &Props) -> Vec<(String, String)> {
    props.iter().map(|(key, value)| (key.clone(), value.clone())).collect()
}

fn one_to_wit(partition: &TopicPartition) -> wit::TopicPartition {
    wit::TopicPartition { topic: partition.topic.to_string(), partition: partition.partition }
}

fn to_wit(partitions: &[TopicPartition]) -> Vec<wit::TopicPartition> {
    partitions.iter().map(one_to_wit).collect()
}

fn offsets(positions: Vec<wit::Position>) -> Offsets {
    let partition = |p: wit::TopicPartition| TopicPartition { topic: Arc::from(p.topic), partition: p.partition };
    positions.into_iter().map(|position| (partition(position.partition), position.offset)).collect()
}
