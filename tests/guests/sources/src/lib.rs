//! Sources in both forms, well-behaved and not: numbers from 0 on, which go on where they were.

mod typed;

use std::time::{Duration, Instant};

use penstock_plugin::http::Request;
use penstock_plugin::{
    Bytes, ColumnSource, ConfigDef, ConfigKey, ConfigType, Connector, Delivered, Error, ExactlyOnceSupport, Form, Format,
    Guarantees, Headers, Next, Outbox, OutgoingRow, OutgoingRows, Parsed, Payload, Polled, Props, Record, Result, SourceClass,
    SourceConnector, SourceContext, SourceMap, SourceOffset, SourcePosition, SourceRecord, SourceTask, SourceTaskContext,
    TransactionEnd, async_trait, log,
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
    url: String,
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
            url: config.string("url").to_owned(),
            topic: config.string("topic").to_owned(),
            records: config.number("records"),
            batch: config.number("batch"),
            next: 0,
            polls: 0,
        })
    }

    fn rows(&self, from: u64, to: u64) -> OutgoingRows {
        let mut rows = OutgoingRows::with_capacity(Form::Text, Form::Json, (to - from) as usize);
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
                "fetch" => drop(Request::get(&self.url).send()?),
                // As if nothing had happened.
                "swallow" => drop(Request::get(&self.url).send()),
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
        if self.mode == "groups" {
            self.next = add_groups(
                self.next,
                to,
                |from, to| out.add(self.rows(from, to)),
                |end| match end {
                    TransactionEnd::Commit => out.commit_transaction(),
                    TransactionEnd::Abort => out.abort_transaction(),
                },
            );
            return Ok(Next::More);
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

/// Numbers in groups of ten, each of one transaction, of which each third is aborted. Answers where it ended.
fn add_groups(mut from: u64, to: u64, mut add: impl FnMut(u64, u64), mut end: impl FnMut(TransactionEnd)) -> u64 {
    while from < to {
        let until = to.min((from / 10 + 1) * 10);
        add(from, until);
        if until % 10 == 0 {
            end(if from / 10 % 3 == 2 { TransactionEnd::Abort } else { TransactionEnd::Commit });
        }
        from = until;
    }
    from
}

fn guarantees(config: &Props) -> Guarantees {
    let mode = config.get("mode").map_or("well", String::as_str);
    assert!(mode != "trap-at-guarantee", "cannot promise anything");
    Guarantees { exactly_once: mode == "groups" || mode == "exactly-once", transaction_boundaries: mode == "groups" }
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

#[async_trait]
impl SourceConnector for CountRecords {
    fn task(&self) -> Box<dyn SourceTask> {
        Box::new(CountRecordsTask::default())
    }

    async fn exactly_once_support(&self, config: &Props) -> Result<Option<ExactlyOnceSupport>> {
        Ok(guarantees(config).exactly_once.then_some(ExactlyOnceSupport::Supported))
    }

    async fn can_define_transaction_boundaries(&self, config: &Props) -> Result<bool> {
        Ok(guarantees(config).transaction_boundaries)
    }
}

#[derive(Default)]
struct CountRecordsTask {
    topic: String,
    records: u64,
    next: u64,
    /// So many at a time, in groups.
    groups_of: Option<u64>,
    context: Option<SourceContext>,
}

impl CountRecordsTask {
    fn record(&self, number: u64) -> SourceRecord {
        let record = Record {
            topic: self.topic.as_str().into(),
            partition: None,
            key: Payload::encoded(Bytes::from(format!("k{number}")), Format::String),
            // Forms that differ from row to row.
            value: match number % 3 {
                _ if self.groups_of.is_some() => Payload::encoded(Bytes::from(format!(r#"{{"number":{number}}}"#)), Format::Json),
                0 => Payload::encoded(Bytes::from(format!(r#"{{"number":{number}}}"#)), Format::Json),
                1 => Payload::encoded(Bytes::from(number.to_string()), Format::Json),
                _ => Payload::null(),
            },
            headers: Headers::new(),
            timestamp: Some(1_000 + number as i64),
            offset: None,
        };
        let position =
            SourcePosition { partition: partition().into(), offset: SourceOffset::Count("next".into(), number as i64 + 1) };
        SourceRecord { record, position: Some(position) }
    }

    /// A poll of so many numbers, in transactions of its own.
    fn poll_groups(&mut self, count: u64) -> Polled {
        let (from, records) = (self.next, std::cell::RefCell::new(Vec::new()));
        let context = self.context.as_ref().expect("started");
        self.next = add_groups(
            from,
            self.records.min(from + count),
            |from, to| records.borrow_mut().extend((from..to).map(|number| self.record(number))),
            |end| match end {
                TransactionEnd::Commit => context.commit_transaction_behind(records.borrow().len()),
                TransactionEnd::Abort => context.abort_transaction_behind(records.borrow().len()),
            },
        );
        Polled { records: records.into_inner(), next: Next::More }
    }
}

#[async_trait]
impl SourceTask for CountRecordsTask {
    async fn start(&mut self, config: &Props, context: SourceContext) -> Result<()> {
        self.topic = config.get("topic").cloned().unwrap_or_default();
        self.records = config.get("records").and_then(|text| text.parse().ok()).unwrap_or_default();
        let stored = context.stored(&[partition()]).await?;
        self.next = next_number(stored[0].as_ref());
        let is_in_groups = config.get("mode").is_some_and(|mode| mode == "groups");
        self.groups_of = config.get("batch").and_then(|text| text.parse().ok()).filter(|_| is_in_groups);
        self.context = Some(context);
        Ok(())
    }

    async fn poll(&mut self) -> Result<Polled> {
        if let Some(count) = self.groups_of.filter(|_| self.next < self.records) {
            return Ok(self.poll_groups(count));
        }
        let Some(number) = Some(self.next).filter(|next| *next < self.records) else {
            return Ok(Polled { records: Vec::new(), next: Next::Done });
        };
        self.next += 1;
        Ok(Polled { records: vec![self.record(number)], next: Next::More })
    }

    async fn delivered(&mut self, _records: &[Delivered]) -> Result<()> {
        Ok(())
    }
}

/// Numbers for each of some shards, which are shared out over the tasks: the partition of the topic, too. So a number that is there twice, or
/// out of order, was written by tasks that did not know of each other.
struct Shards {
    topic: String,
    batch: u64,
    pause: Duration,
    /// The shard's source partition, and the number to go on with.
    shards: Vec<(i32, SourceMap, u64)>,
    /// The task that wants a new plan, and when.
    replan_task: i64,
    replan_at: Option<Instant>,
    task: Option<SourceTaskContext>,
}

impl Shards {
    fn new(config: &Parsed) -> Result<Self> {
        let shards = config.list("mine").into_iter().map(|text| {
            let shard: i32 = text.parse().map_err(|_| Error::config(format!("mine holds {text}, which is no shard")))?;
            Ok((shard, [("shard".to_owned(), shard.into())].into_iter().collect(), 0))
        });
        Ok(Self {
            topic: config.string("topic").to_owned(),
            batch: config.number("batch"),
            pause: config.millis("pause.ms"),
            shards: shards.collect::<Result<_>>()?,
            replan_task: config.number("replan.task"),
            replan_at: None,
            task: None,
        })
    }

    /// Shard by shard in turn. If a task asks for new plans, each is another one.
    fn plan(config: &Props, tasks_max: u32) -> Result<Vec<Props>> {
        let shards: u32 = config.get("shards").and_then(|text| text.parse().ok()).unwrap_or(1);
        let tasks = shards.min(tasks_max).max(1);
        let of_task = |task: u32| {
            let mine: Vec<String> = (task..shards).step_by(tasks as usize).map(|shard| shard.to_string()).collect();
            let mut props = config.clone();
            props.insert("mine".into(), mine.join(","));
            if config.get("replan.task").is_some_and(|task| task != "-1") {
                let now = std::time::SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_millis());
                props.insert("planned.at".into(), now.to_string());
            }
            props
        };
        Ok((0..tasks).map(of_task).collect())
    }
}

impl ColumnSource for Shards {
    fn start(&mut self, task: &SourceTaskContext) -> Result<()> {
        let partitions: Vec<SourceMap> = self.shards.iter().map(|(_, partition, _)| partition.clone()).collect();
        for (shard, stored) in self.shards.iter_mut().zip(task.stored(&partitions)?) {
            shard.2 = next_number(stored.as_ref());
        }
        let replans = self.replan_task == i64::from(task.task.task);
        self.replan_at = replans.then(|| Instant::now() + Duration::from_millis(300));
        self.task = Some(task.clone());
        Ok(())
    }

    fn poll(&mut self, out: &Outbox<'_>) -> Result<Next> {
        let mut rows = OutgoingRows::new(Form::Bytes, Form::Json);
        for (shard, partition, next) in &mut self.shards {
            let origin = serde_json::Value::from(partition.clone()).to_string();
            for number in *next..*next + self.batch {
                rows.push(&OutgoingRow {
                    topic: &self.topic,
                    partition: Some(*shard),
                    value: Some(number.to_string().as_bytes()),
                    origin: &origin,
                    offset: Some(&format!(r#"{{"next":{}}}"#, number + 1)),
                    ..OutgoingRow::default()
                });
            }
            *next += self.batch;
        }
        out.add(rows);
        if self.replan_at.take_if(|at| *at <= Instant::now()).is_some()
            && let Some(task) = &self.task
        {
            task.request_reconfiguration();
        }
        Ok(Next::Wait(self.pause))
    }
}

fn classes() -> Vec<SourceClass> {
    let shards = ConfigDef::new([
        ConfigKey::required("topic", ConfigType::String, "Where the numbers go."),
        ConfigKey::optional("shards", ConfigType::Int, "1", "How many."),
        ConfigKey::optional("batch", ConfigType::Long, "10", "Numbers of each shard at a time."),
        ConfigKey::optional("pause.ms", ConfigType::Long, "10", "Between polls."),
        ConfigKey::optional(
            "replan.task",
            ConfigType::Long,
            "-1",
            "The task that asks for a new plan soon after each of its starts.",
        ),
        ConfigKey::optional("mine", ConfigType::List, "", "Set for each task."),
    ]);
    let keys = || {
        ConfigDef::new([
            ConfigKey::required("topic", ConfigType::String, "Where the numbers go."),
            ConfigKey::optional("records", ConfigType::Long, "100", "How many."),
            ConfigKey::optional("batch", ConfigType::Long, "10", "How many at a time."),
            ConfigKey::optional("mode", ConfigType::String, "well", "What is to go wrong."),
            ConfigKey::optional("url", ConfigType::String, "", "What to ask for, with the mode fetch or swallow."),
        ])
    };
    let mut classes = vec![
        SourceClass::columns("penstock.tests.CountSource", "1.0.0", keys(), Count::new).guarantees(guarantees),
        SourceClass::columns("penstock.tests.ShardsSource", "1.0.0", shards, Shards::new)
            .plan(Shards::plan)
            .guarantees(|_| Guarantees { exactly_once: true, transaction_boundaries: false }),
        SourceClass::records("penstock.tests.CountRecordsSource", "1.0.0", keys(), || CountRecords),
    ];
    classes.extend(typed::classes());
    classes
}

penstock_plugin::export_sources!(classes);
