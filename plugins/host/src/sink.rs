//! A component's class as a sink connector and its tasks.
//!
//! Unlike a transform a sink holds what cannot be made again from the batch alone, so a trap ends the task: its successor gets from Kafka
//! what was not called durable.

use std::fmt::Display;
use std::sync::Arc;

use penstock_api::{
    Batch, ConfigDef, Connector, Error, Offsets, Props, Result, SinkConnector, SinkContext, SinkRecord, SinkTask, TaskId,
    TopicPartition, async_trait,
};

use crate::batch::Done;
use crate::guest_log::Owner;
use crate::instance::{Answer, Instance, Loaded, Stopped};

/// A class of a component of sinks.
#[derive(Clone)]
pub(crate) struct ComponentSink {
    pub loaded: Arc<Loaded>,
    pub class: Arc<str>,
    pub config: Arc<ConfigDef>,
}

struct ComponentSinkTask {
    sink: ComponentSink,
    /// From `start` on, until a call did not return.
    running: Option<Running>,
}

struct Running {
    instance: Instance,
    context: SinkContext,
}

impl ComponentSink {
    fn owner(&self, task: Option<&TaskId>) -> Owner {
        Owner {
            connector: task.map_or_else(|| "".into(), |task| task.connector.clone()),
            task: task.map_or(0, |task| task.task),
            class: self.class.clone(),
            file: self.loaded.file.clone(),
            ..Owner::default()
        }
    }

    /// What stands in for `Stopped`: a person must look at the plugin.
    fn stopped(&self, doing: &str, stopped: &impl Display) -> Error {
        Error::fatal(format!("{doing} plugin {}: {stopped}", self.class))
    }

    fn said(&self, doing: &str, error: Error) -> Error {
        error.context(format!("{doing} plugin {} ({})", self.class, self.loaded.file))
    }

    /// With the defaults of keys that were left out.
    fn filled_in(&self, props: &Props) -> Props {
        let mut props = props.clone();
        for value in self.config.validate(&props) {
            if let Some(text) = value.value {
                props.insert(value.name, text);
            }
        }
        props
    }
}

#[async_trait]
impl Connector for ComponentSink {
    async fn validate(&self, config: &Props) -> Vec<(String, String)> {
        let asked = async {
            let mut instance = self.loaded.instantiate(self.owner(None)).await?;
            instance.validate(&self.class, &self.filled_in(config)).await
        };
        asked.await.unwrap_or_else(|stopped| {
            let why = self.stopped("ask about the configuration of", &stopped);
            vec![("connector.class".to_owned(), format!("{why:#}"))]
        })
    }

    async fn task_configs(&self, config: &Props, tasks_max: u32) -> Result<Vec<Props>> {
        let asked = async {
            let mut instance = self.loaded.instantiate(self.owner(None)).await?;
            instance.plan(&self.class, &self.filled_in(config), tasks_max).await
        };
        match asked.await {
            Ok(planned) => planned.map_err(|error| self.said("plan the tasks of", error)),
            Err(stopped) => Err(self.stopped("plan the tasks of", &stopped)),
        }
    }
}

#[async_trait]
impl SinkConnector for ComponentSink {
    fn task(&self) -> Box<dyn SinkTask> {
        Box::new(ComponentSinkTask { sink: self.clone(), running: None })
    }
}

impl ComponentSinkTask {
    fn running(&mut self) -> Result<&mut Running> {
        self.running.as_mut().ok_or_else(|| Error::fatal(format!("plugin {} has ended", self.sink.class)))
    }

    /// What a call has led to; an instance that did not return is not called again.
    fn settle<T>(&mut self, doing: &str, answer: std::result::Result<std::result::Result<T, Error>, Stopped>) -> Result<T> {
        match answer {
            Ok(answer) => answer.map_err(|error| self.sink.said(doing, error)),
            Err(stopped) => {
                self.running = None;
                Err(self.sink.stopped(doing, &stopped))
            }
        }
    }
}

#[async_trait]
impl SinkTask for ComponentSinkTask {
    async fn start(&mut self, config: &Props, context: SinkContext) -> Result<()> {
        let (props, owner) = (self.sink.filled_in(config), self.sink.owner(Some(&context.task)));
        let instance = self.sink.loaded.instantiate(owner.clone()).await;
        let mut instance = instance.map_err(|stopped| self.sink.stopped("start", &stopped))?;
        let configured = instance.configure(&self.sink.class, &props, &owner).await;
        self.settle("configure", configured)?;
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
                    self.sink.class
                )));
            }
            running.context.begins_at(partition.clone(), offset);
            running.context.seek(partition, offset);
        }
        Ok(())
    }

    async fn put(&mut self, records: &[SinkRecord]) -> Result<()> {
        if records.is_empty() {
            let answer = self.running()?.instance.sink_idle().await;
            return self.settle("run", answer);
        }
        let mut batch = Batch::with_capacity(records.len());
        let mut rows = Vec::with_capacity(records.len());
        for (row, sink_record) in records.iter().enumerate() {
            let mut record = sink_record.record.clone();
            // Where it was consumed, whatever transforms made of it.
            (record.partition, record.offset) = (Some(sink_record.origin.partition), Some(sink_record.origin.offset));
            batch.push(record, row as u32);
            rows.push(row as u32);
        }
        let instance = &mut self.running()?.instance;
        let deadline = instance.deadline();
        let (call, answer) = instance.work(batch, &rows, deadline).await;
        match answer {
            Ok(Answer::Refused(error)) => Err(self.sink.said("put records to", error)),
            Ok(_) => {
                let Running { instance, context } = self.running()?;
                let Done { failed, fatal, .. } = instance.carry_out(call);
                for (row, error) in failed {
                    context.report(records[row as usize].origin.clone(), error);
                }
                fatal.map_or(Ok(()), |error| Err(self.sink.said("put records to", error)))
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
                    self.sink.class,
                    put.get(partition).map_or_else(|| "nothing of it".to_owned(), |put| format!("only up to {put}"))
                )));
            }
        }
        Ok(durable)
    }

    async fn flush(&mut self, partitions: &[TopicPartition]) -> Result<()> {
        let answer = self.running()?.instance.sink_flush(partitions).await;
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
