//! The calls of sinks' tasks.

use std::sync::Arc;

use penstock_api::{Offsets, TopicPartition};

use super::connector::{Answer, call};
use super::{Exports, Instance, Stopped};
use crate::contract;
use crate::contract::sinks::exports::penstock::connect::sink as wit;

impl Instance {
    pub(crate) async fn sink_start(&mut self) -> Answer<()> {
        Ok(call!(self, exports in Exports::Sinks(_, exports), penstock_connect_sink.call_start())?.map_err(contract::error))
    }

    /// Where to begin, as the guest says; not checked.
    pub(crate) async fn sink_open(&mut self, partitions: &[TopicPartition]) -> Answer<Offsets> {
        let answer = call!(self, exports in Exports::Sinks(_, exports), penstock_connect_sink.call_open(&to_wit(partitions)))?;
        Ok(answer.map(offsets).map_err(contract::error))
    }

    pub(crate) async fn sink_idle(&mut self) -> Answer<()> {
        Ok(call!(self, exports in Exports::Sinks(_, exports), penstock_connect_sink.call_idle())?.map_err(contract::error))
    }

    /// What is durable, as the guest says; not checked.
    pub(crate) async fn sink_pre_commit(&mut self, put: &Offsets) -> Answer<Offsets> {
        let put: Vec<_> =
            put.iter().map(|(partition, offset)| wit::Position { partition: one_to_wit(partition), offset: *offset }).collect();
        let answer = call!(self, exports in Exports::Sinks(_, exports), penstock_connect_sink.call_pre_commit(&put))?;
        Ok(answer.map(offsets).map_err(contract::error))
    }

    pub(crate) async fn sink_flush(&mut self, partitions: &[TopicPartition]) -> Answer<()> {
        Ok(call!(self, exports in Exports::Sinks(_, exports), penstock_connect_sink.call_flush(&to_wit(partitions)))?
            .map_err(contract::error))
    }

    pub(crate) async fn sink_close(&mut self, partitions: &[TopicPartition], lost: bool) -> Result<(), Stopped> {
        call!(self, exports in Exports::Sinks(_, exports), penstock_connect_sink.call_close(&to_wit(partitions), lost))
    }
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
