//! Sources in both forms, well-behaved and not: numbers from 0 on, which go on where they were.

use std::time::Duration;

use penstock_plugin::{
    Bytes, ColumnSource, ConfigDef, ConfigKey, ConfigType, Connector, Delivered, Error, Form, Format, Headers, Next, Outbox,
    OutgoingRow, OutgoingRows, Parsed, Payload, Polled, Props, Record, Result, SourceClass, SourceConnector, SourceContext,
    SourceMap, SourceOffset, SourcePosition, SourceRecord, SourceTask, SourceTaskContext, async_trait, log,
};

fn partition() -> SourceMap {
    [("numbers".to_owned(), "all".into())].into_iter().collect()
}

/// The number to go on with.
fn next_number(stored: Option<&SourceMap>) -> u64 {
    stored.and_then(|offset| offset.get("next")).and_then(serde_json::Value::as_u64).unwrap_or_default()
}

/// Gives `records` numbers, `batch` at a time; what is told to go wrong goes wrong at the second poll.
struct Count {
    mode: String,
    topic: String,
    records: u64,
    batch: u64,
    next: u64,
    polls: u64,
}

impl Count {
    fn new(config: &Parsed) -> Result<Self> {
        Ok(Self {
            mode: config.string("mode").to_owned(),
            topic: config.string("topic").to_owned(),
            records: config.number("records"),
            batch: config.number("batch"),
            next: 0,
            polls: 0,
        })
    }

    fn rows(&self, from: u64, to: u64) -> OutgoingRows {
        let mut rows = OutgoingRows::new(Form::Text, Form::Json);
        let origin = r#"{"numbers":"all"}"#;
        for number in from..to {
            let (key, value) = (format!("k{number}"), format!(r#"{{"number":{number}}}"#));
            rows.push(&OutgoingRow {
                topic: &self.topic,
                key: Some(key.as_bytes()),
                value: (self.mode != "tombstones").then_some(value.as_bytes()),
                headers: &[("from", Some(b"count"))],
                origin,
                offset: Some(&format!(r#"{{"next":{}}}"#, number + 1)),
                ..OutgoingRow::default()
            });
        }
        rows
    }
}

impl ColumnSource for Count {
    fn start(&mut self, task: &SourceTaskContext) -> Result<()> {
        match &*self.mode {
            "trap-at-start" => panic!("no licence found"),
            "refuse-at-start" => return Err(Error::config("mode is refuse-at-start: set another one")),
            _ => {}
        }
        let stored = task.stored(&[partition()])?;
        self.next = next_number(stored[0].as_ref());
        log::info(&format!("{} begins at {}", task.task, self.next));
        Ok(())
    }

    fn poll(&mut self, out: &Outbox<'_>) -> Result<Next> {
        self.polls += 1;
        if self.mode == "slow" {
            std::thread::sleep(Duration::from_millis(50));
        }
        let to = self.records.min(self.next + self.batch);
        if self.polls == 2 {
            match &*self.mode {
                "loop" => loop {
                    std::hint::spin_loop();
                },
                "sleep" => std::thread::sleep(Duration::from_secs(3600)),
                "recurse" => self.next += deep(1),
                "allocate" => self.next += vec![1_u8; 1 << 30].iter().map(|byte| u64::from(*byte)).sum::<u64>(),
                "trap" => panic!("cannot stand the number {}", self.next),
                "fail" => return Err(Error::fatal("the other side is gone for good")),
                "retry" => {
                    out.add(self.rows(self.next, to));
                    return Err(Error::retriable("the other side is away"));
                }
                "too-many" => out.add(self.rows(0, 10_001)),
                "no-json" => {
                    let mut rows = OutgoingRows::new(Form::Text, Form::Json);
                    rows.push(&OutgoingRow { topic: &self.topic, value: Some(b"{"), origin: "{}", ..OutgoingRow::default() });
                    out.add(rows);
                }
                "no-offset" => {
                    let mut rows = OutgoingRows::new(Form::Text, Form::Json);
                    rows.push(&OutgoingRow { topic: &self.topic, origin: "{}", offset: Some("[]"), ..OutgoingRow::default() });
                    out.add(rows);
                }
                _ => {}
            }
        }
        if self.next == self.records {
            return Ok(if self.mode == "wait" { Next::Wait(Duration::from_millis(20)) } else { Next::Done });
        }
        out.add(self.rows(self.next, to));
        self.next = to;
        Ok(Next::More)
    }

    fn wants_acknowledgements(&self) -> bool {
        matches!(&*self.mode, "acknowledge" | "slow")
    }

    fn acknowledged(&mut self, offsets: &[(SourceMap, SourceMap)]) -> Result<()> {
        for (partition, offset) in offsets {
            log::info(&format!("acknowledged {partition:?} up to {}", next_number(Some(offset))));
        }
        Ok(())
    }

    fn stop(&mut self) {
        log::info(&format!("stops before {}", self.next));
    }
}

fn deep(depth: u64) -> u64 {
    if std::hint::black_box(depth) == u64::MAX { 0 } else { deep(depth + 1) + std::hint::black_box(depth) }
}

/// The same by the traits that built-in sources implement.
struct CountRecords;

#[async_trait]
impl Connector for CountRecords {
    async fn validate(&self, config: &Props) -> Vec<(String, String)> {
        let is_wrong = config.get("mode").is_some_and(|mode| mode == "wrong");
        is_wrong.then(|| ("mode".to_owned(), "mode is wrong: choose another one".to_owned())).into_iter().collect()
    }

    async fn task_configs(&self, config: &Props, _tasks_max: u32) -> Result<Vec<Props>> {
        Ok(vec![config.clone()])
    }
}

impl SourceConnector for CountRecords {
    fn task(&self) -> Box<dyn SourceTask> {
        Box::new(CountRecordsTask::default())
    }
}

#[derive(Default)]
struct CountRecordsTask {
    topic: String,
    records: u64,
    next: u64,
}

#[async_trait]
impl SourceTask for CountRecordsTask {
    async fn start(&mut self, config: &Props, context: SourceContext) -> Result<()> {
        self.topic = config.get("topic").cloned().unwrap_or_default();
        self.records = config.get("records").and_then(|text| text.parse().ok()).unwrap_or_default();
        let stored = context.stored(&[partition()]).await?;
        self.next = next_number(stored[0].as_ref());
        Ok(())
    }

    async fn poll(&mut self) -> Result<Polled> {
        let Some(number) = Some(self.next).filter(|next| *next < self.records) else {
            return Ok(Polled { records: Vec::new(), next: Next::Done });
        };
        self.next += 1;
        let record = Record {
            topic: self.topic.as_str().into(),
            partition: None,
            key: Payload::encoded(Bytes::from(format!("k{number}")), Format::String),
            // Forms that differ from row to row.
            value: match number % 3 {
                0 => Payload::encoded(Bytes::from(format!(r#"{{"number":{number}}}"#)), Format::Json),
                1 => Payload::encoded(Bytes::from(number.to_string()), Format::Json),
                _ => Payload::null(),
            },
            headers: Headers::new(),
            timestamp: Some(1_000 + number as i64),
            offset: None,
        };
        let position =
            SourcePosition { partition: partition().into(), offset: SourceOffset::Count("next".into(), self.next as i64) };
        Ok(Polled { records: vec![SourceRecord { record, position: Some(position) }], next: Next::More })
    }

    async fn delivered(&mut self, _records: &[Delivered]) -> Result<()> {
        Ok(())
    }
}

fn classes() -> Vec<SourceClass> {
    let keys = || {
        ConfigDef::new([
            ConfigKey::required("topic", ConfigType::String, "Where the numbers go."),
            ConfigKey::optional("records", ConfigType::Long, "100", "How many."),
            ConfigKey::optional("batch", ConfigType::Long, "10", "How many at a time."),
            ConfigKey::optional("mode", ConfigType::String, "well", "What is to go wrong."),
        ])
    };
    vec![
        SourceClass::columns("penstock.tests.CountSource", "1.0.0", keys(), Count::new),
        SourceClass::records("penstock.tests.CountRecordsSource", "1.0.0", keys(), || CountRecords),
    ]
}

penstock_plugin::export_sources!(classes);
