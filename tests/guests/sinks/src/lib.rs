//! Sinks in both forms, well-behaved and not.

use penstock_plugin::http::Request;
use penstock_plugin::{
    Batch, ColumnSink, ConfigDef, ConfigKey, ConfigType, Connector, Error, Offsets, Parsed, Part, Props, Result, SinkClass,
    SinkConnector, SinkContext, SinkRecord, SinkTask, TaskId, TopicPartition, Value, async_trait, log, secrets,
};

/// Counts records and says so in the log; what is told to go wrong goes wrong.
struct Count {
    mode: String,
    url: String,
    name: String,
    records: u64,
}

impl Count {
    fn new(config: &Parsed) -> Result<Self> {
        Ok(Self { mode: config.string("mode").to_owned(), url: config.string("url").to_owned(), name: String::new(), records: 0 })
    }
}

impl ColumnSink for Count {
    fn start(&mut self, task: &TaskId) -> Result<()> {
        self.name = format!("{}-{}", task.connector, task.task);
        match &*self.mode {
            "trap-at-start" => panic!("no licence found"),
            "refuse-at-start" => Err(Error::config("mode is refuse-at-start: set another one")),
            _ => Ok(()),
        }
    }

    fn open(&mut self, partitions: &[TopicPartition]) -> Result<Offsets> {
        Ok(match &*self.mode {
            "begin-behind" => partitions.iter().map(|partition| (partition.clone(), 3)).collect(),
            "begin-elsewhere" => [(TopicPartition { topic: "elsewhere".into(), partition: 7 }, 3)].into(),
            _ => Offsets::new(),
        })
    }

    fn put(&mut self, batch: &Batch<'_>) -> Result<()> {
        match &*self.mode {
            "loop" => loop {
                std::hint::spin_loop();
            },
            "recurse" => self.records += deep(batch.len() as u64),
            "allocate" => self.records += vec![1_u8; 1 << 30].iter().map(|byte| u64::from(*byte)).sum::<u64>(),
            "discard" => batch.discard(&[0]),
            "fetch" => drop(Request::get(&self.url).header("authorization", secrets::placeholder("token")).send()?),
            // As if nothing had happened.
            "swallow" => drop(Request::get(&self.url).send()),
            "count-only" => {
                self.records += batch.len() as u64;
                return Ok(());
            }
            _ => {}
        }
        let texts = batch.texts(Part::Value, "");
        let poison = texts.iter().enumerate().filter(|(_, text)| *text == Some("poison"));
        let poison: Vec<usize> = poison.map(|(row, _)| row).collect();
        if self.mode == "trap-on-poison" {
            assert!(poison.is_empty(), "poison in row {}", poison[0]);
        }
        self.records += (batch.len() - poison.len()) as u64;
        batch.fail(poison.into_iter().map(|row| (row, Error::data("this is poison"))));
        Ok(())
    }

    fn pre_commit(&mut self, put: &Offsets) -> Result<Offsets> {
        log::info(&format!("{} has counted {}", self.name, self.records));
        Ok(match &*self.mode {
            "commit-ahead" => put.iter().map(|(partition, offset)| (partition.clone(), offset + 1_000)).collect(),
            "commit-garbage" => [(TopicPartition { topic: "elsewhere".into(), partition: 7 }, i64::MIN)].into(),
            "commit-nothing" => Offsets::new(),
            _ => put.clone(),
        })
    }

    fn stop(&mut self) {
        log::info(&format!("{} stops", self.name));
    }
}

fn deep(depth: u64) -> u64 {
    if std::hint::black_box(depth) == u64::MAX { 0 } else { deep(depth + 1) + std::hint::black_box(depth) }
}

/// The same by the trait that built-in sinks implement.
struct CountRecords;

#[async_trait]
impl Connector for CountRecords {
    async fn validate(&self, config: &Props) -> Vec<(String, String)> {
        let is_wrong = config.get("mode").is_some_and(|mode| mode == "wrong");
        is_wrong.then(|| ("mode".to_owned(), "mode is wrong: choose another one".to_owned())).into_iter().collect()
    }

    async fn task_configs(&self, config: &Props, tasks_max: u32) -> Result<Vec<Props>> {
        if config.get("mode").is_some_and(|mode| mode == "no-plan") {
            return Err(Error::config("mode is no-plan: there is nothing to plan"));
        }
        Ok(self.same_for_all(config, tasks_max.min(2)))
    }
}

impl SinkConnector for CountRecords {
    fn task(&self) -> Box<dyn SinkTask> {
        Box::new(CountRecordsTask::default())
    }
}

#[derive(Default)]
struct CountRecordsTask {
    context: Option<SinkContext>,
    records: u64,
}

#[async_trait]
impl SinkTask for CountRecordsTask {
    async fn start(&mut self, _config: &Props, context: SinkContext) -> Result<()> {
        self.context = Some(context);
        Ok(())
    }

    async fn put(&mut self, records: &[SinkRecord]) -> Result<()> {
        let context = self.context.as_ref().ok_or_else(|| Error::fatal("not started"))?;
        for record in records {
            let mut payload = record.record.value.clone();
            match &payload.decode()?.value {
                Value::String(text) if &**text == "poison" => {
                    context.report(record.origin.clone(), Error::data("this is poison"));
                }
                _ => self.records += 1,
            }
        }
        Ok(())
    }

    async fn pre_commit(&mut self, put: &Offsets) -> Result<Offsets> {
        if let Some(context) = &self.context {
            log::info(&format!("{} has counted {}", context.task, self.records));
        }
        Ok(put.clone())
    }
}

fn classes() -> Vec<SinkClass> {
    let keys = || {
        ConfigDef::new([
            ConfigKey::optional("mode", ConfigType::String, "well", "What is to go wrong."),
            ConfigKey::optional("url", ConfigType::String, "", "What to ask for, with the mode fetch or swallow."),
        ])
    };
    vec![
        SinkClass::columns("penstock.tests.CountSink", "1.0.0", keys(), Count::new),
        SinkClass::records("penstock.tests.CountRecordsSink", "1.0.0", keys(), || CountRecords),
    ]
}

penstock_plugin::export_sinks!(classes);
