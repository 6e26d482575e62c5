//! A component's class as a sink connector and its tasks.
//!
//! Unlike a transform a sink holds what cannot be made again from the batch alone, so a trap ends the task: its successor gets from Kafka
//! what was not called durable.

use std::sync::Arc;

use penstock_api::{
    Connector, Error, Offsets, Props, Result, SinkConnector, SinkContext, SinkRecord, SinkTask, TopicPartition, async_trait,
};

use crate::batch::Done;
use crate::component::Component;
use crate::instance::{Answer, Instance, Stopped};

/// A class of a component of sinks.
#[derive(Clone)]
pub(crate) struct ComponentSink(pub Component);

struct ComponentSinkTask {
    component: Component,
    /// From `start` on, until a call did not return.
    running: Option<Running>,
}

struct Running {
    instance: Instance,
    context: SinkContext,
}

#[async_trait]
impl Connector for ComponentSink {
    async fn validate(&self, config: &Props) -> Vec<(String, String)> {
        self.0.validate(config).await
    }

    async fn task_configs(&self, config: &Props, tasks_max: u32) -> Result<Vec<Props>> {
        self.0.plan(config, tasks_max).await
    }
}

#[async_trait]
impl SinkConnector for ComponentSink {
    fn task(&self) -> Box<dyn SinkTask> {
        Box::new(ComponentSinkTask { component: self.0.clone(), running: None })
    }
}

impl ComponentSinkTask {
    fn running(&mut self) -> Result<&mut Running> {
        self.running.as_mut().ok_or_else(|| Error::fatal(format!("plugin {} has ended", self.component.class)))
    }

    /// What a call has led to; an instance that did not return is not called again.
    fn settle<T>(&mut self, doing: &str, answer: std::result::Result<std::result::Result<T, Error>, Stopped>) -> Result<T> {
        if answer.is_err() {
            self.running = None;
        }
        self.component.settle(doing, answer)
    }
}

#[async_trait]
impl SinkTask for ComponentSinkTask {
    async fn start(&mut self, config: &Props, context: SinkContext) -> Result<()> {
        let mut instance = self.component.configured(config, &context.task).await?;
        let started = instance.sink_start().await;
        self.settle("start", started)?;
        self.running = Some(Running { instance, context });
        Ok(())
    }

    async fn open(&mut self, partitions: &[TopicPartition]) -> Result<()> {
        let answer = self.running()?.instance.sink_open(partitions).await;
        let begins = self.settle("open partitions of", answer)?;
        let running = self.running()?;
        for (partition, offset) in begins {
            if !partitions.contains(&partition) || offset < 0 {
                return Err(Error::fatal(format!(
                    "plugin {} wants to begin at offset {offset} of {partition}, which is not among the partitions that were opened, or \
                     no offset",
                    self.component.class
                )));
            }
            running.context.begins_at(partition.clone(), offset);
            running.context.seek(partition, offset);
        }
        Ok(())
    }

    async fn put(&mut self, records: &[SinkRecord]) -> Result<()> {
        self.put_shared(&Arc::new(records.to_vec())).await
    }

    async fn put_shared(&mut self, records: &Arc<Vec<SinkRecord>>) -> Result<()> {
        if records.is_empty() {
            let answer = self.running()?.instance.sink_idle().await;
            return self.settle("run", answer);
        }
        let (call, answer) = self.running()?.instance.put(records.clone()).await;
        match answer {
            Ok(Answer::Refused(error)) => Err(self.component.said("put records to", error)),
            Ok(_) => {
                let Running { instance, context } = self.running()?;
                let Done { failed, fatal, .. } = instance.carry_out(call);
                for (row, error) in failed {
                    context.report(records[row as usize].origin.clone(), error);
                }
                fatal.map_or(Ok(()), |error| Err(self.component.said("put records to", error)))
            }
            Err(stopped) => self.settle("put records to", Err(stopped)),
        }
    }

    async fn pre_commit(&mut self, put: &Offsets) -> Result<Offsets> {
        let answer = self.running()?.instance.sink_pre_commit(put).await;
        let durable = self.settle("ask what is durable of", answer)?;
        for (partition, offset) in &durable {
            // A guest must not commit what it never got.
            if put.get(partition).is_none_or(|put| offset > put) || *offset < 0 {
                return Err(Error::fatal(format!(
                    "plugin {} calls offset {offset} of {partition} durable, but got {}",
                    self.component.class,
                    put.get(partition).map_or_else(|| "nothing of it".to_owned(), |put| format!("only up to {put}"))
                )));
            }
        }
        Ok(durable)
    }

    async fn flush(&mut self, partitions: &[TopicPartition]) -> Result<()> {
        // The worker may drop this call where it waits, and a guest that was interrupted cannot be called again.
        self.running()?;
        let Some(mut running) = self.running.take() else { return Ok(()) };
        let answer = running.instance.sink_flush(partitions).await;
        self.running = Some(running);
        self.settle("flush", answer)
    }

    async fn close(&mut self, partitions: &[TopicPartition], lost: bool) {
        let Ok(running) = self.running() else { return };
        let answer = running.instance.sink_close(partitions, lost).await;
        if let Err(error) = self.settle("close partitions of", answer.map(Ok)) {
            tracing::warn!("{error:#}");
        }
    }

    async fn stop(&mut self) {
        if let Some(running) = self.running.take() {
            running.instance.stop().await;
        }
    }
}
