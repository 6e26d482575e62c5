//! Convert and transform a batch into verdicts. Failures are noted, never decided upon.

use penstock_api::batch::{Failure, Stage};
use penstock_api::record::{Header, RawHeader};
use penstock_api::transform::TransformContext;
use penstock_api::{
    Batch, Bytes, Constructor, Converter, Error, HeaderConverter, Headers, Part, Predicate, RawRecord, Record, Result, Row,
    TaskId, Transform, Verdict,
};
use std::sync::Arc;

use crate::config::{ConnectorConfig, PluginUse, Tolerance};

/// The converters, predicates and transforms of one task.
pub struct Pipeline {
    key: Box<dyn Converter>,
    value: Box<dyn Converter>,
    header: Box<dyn HeaderConverter>,
    classes: ConverterClasses,
    predicates: Vec<(Box<dyn Predicate>, TransformContext)>,
    steps: Vec<Step>,
}

/// The converters' classes, as dead letters name them.
struct ConverterClasses {
    key: Arc<str>,
    value: Arc<str>,
    header: Arc<str>,
}

struct Step {
    transform: Box<dyn Transform>,
    context: TransformContext,
    predicate: Option<usize>,
    negate: bool,
}

impl Pipeline {
    /// Makes all instances the configuration names and starts them.
    ///
    /// # Errors
    /// `Config` when a plugin refuses its properties; the message names the alias.
    pub async fn start(config: &ConnectorConfig, task: &TaskId) -> Result<Self> {
        // With a topic for dead letters all are to be found: of records that have one already a task that is restarted goes past.
        let fails_fast = matches!(config.errors.tolerance, Tolerance::None) && config.errors.dead_letters.is_none();
        let mut predicates = Vec::new();
        for step in &config.predicates {
            let context = context_of(task, &step.alias, &step.used);
            let mut predicate = make_predicate(&step.used).map_err(|e| e.context(format!("predicates.{}", step.alias)))?;
            if fails_fast {
                predicate.fail_fast();
            }
            predicate.start(&context).await.map_err(|e| e.context(format!("start predicate {}", step.alias)))?;
            predicates.push((predicate, context));
        }
        let mut steps = Vec::new();
        for step in &config.transforms {
            let context = context_of(task, &step.alias, &step.used);
            let mut transform = make_transform(&step.used).map_err(|e| e.context(format!("transforms.{}", step.alias)))?;
            if fails_fast {
                transform.fail_fast();
            }
            transform.start(&context).await.map_err(|e| e.context(format!("start transform {}", step.alias)))?;
            steps.push(Step { transform, context, predicate: step.predicate, negate: step.negate });
        }
        let mut key = make_converter(&config.key_converter, Part::Key).map_err(|e| e.context("key.converter"))?;
        let mut value = make_converter(&config.value_converter, Part::Value).map_err(|e| e.context("value.converter"))?;
        for step in steps.iter().filter(|step| step.predicate.is_none()) {
            match step.transform.looks_at() {
                Some(Part::Key) => key.expect_look(),
                Some(Part::Value) => value.expect_look(),
                None => {}
            }
        }
        Ok(Self {
            key,
            value,
            header: make_header_converter(&config.header_converter).map_err(|e| e.context("header.converter"))?,
            classes: ConverterClasses {
                key: config.key_converter.class.clone(),
                value: config.value_converter.class.clone(),
                header: config.header_converter.class.clone(),
            },
            predicates,
            steps,
        })
    }

    /// Says what becomes of each fetched record. A row's origin is its record's index in `raws`.
    ///
    /// # Errors
    /// Only what fails the task, e.g. a plugin that cannot be started again.
    pub async fn run(&mut self, raws: &[RawRecord]) -> Result<Batch> {
        let mut batch = self.convert_batch(raws).await;
        self.transform(&mut batch).await?;
        Ok(batch)
    }

    /// The first half of [`run`](Self::run).
    pub async fn convert_batch(&mut self, raws: &[RawRecord]) -> Batch {
        self.key.prefetch(raws, Part::Key).await;
        self.value.prefetch(raws, Part::Value).await;
        let mut batch = Batch::with_capacity(raws.len());
        for (index, raw) in raws.iter().enumerate() {
            batch.push_row(self.convert(raw, index as u32));
        }
        batch
    }

    /// The second half of [`run`](Self::run).
    ///
    /// # Errors
    /// As for it.
    pub async fn transform(&mut self, batch: &mut Batch) -> Result<()> {
        for step in &mut self.steps {
            for row in batch.rows_mut() {
                row.selected = true;
            }
            if let Some(index) = step.predicate {
                let (predicate, context) = &mut self.predicates[index];
                predicate.select(batch, step.negate, context).await?;
            }
            step.transform.apply_batch(batch, &step.context).await?;
        }
        Ok(())
    }

    fn convert(&mut self, raw: &RawRecord, origin: u32) -> Row {
        let record = Record {
            topic: raw.topic.clone(),
            partition: Some(raw.partition),
            key: penstock_api::Payload::null(),
            value: penstock_api::Payload::null(),
            headers: Headers::new(),
            timestamp: raw.timestamp,
            offset: Some(raw.offset),
        };
        let mut row = Row { record, origin, selected: true, verdict: Verdict::Keep };
        if let Err(failure) = self.convert_into(raw, &mut row.record) {
            row.verdict = Verdict::Fail(failure);
        }
        row
    }

    fn convert_into(&mut self, raw: &RawRecord, record: &mut Record) -> Result<(), Box<Failure>> {
        let failure = |stage, class: &Arc<str>| {
            let class = class.clone();
            move |error: Error| Box::new(Failure { stage, class, error })
        };
        let (topic, classes) = (&*raw.topic, &self.classes);
        record.key = self.key.to_connect(topic, raw.key.as_ref()).map_err(failure(Stage::KeyConverter, &classes.key))?;
        record.value =
            self.value.to_connect(topic, raw.value.as_ref()).map_err(failure(Stage::ValueConverter, &classes.value))?;
        if let Some(headers) = &raw.headers {
            let mut converted = Vec::with_capacity(headers.len());
            for header in headers {
                let value = self.header.to_connect(topic, &header.key, header.value.as_ref());
                let value = value.map_err(failure(Stage::HeaderConverter, &classes.header))?;
                converted.push(Header { key: header.key.clone(), value });
            }
            record.headers = converted.into_iter().collect();
        }
        Ok(())
    }

    /// Writes the records of a source that are kept: for each such row, in order, its wire bytes, or why there are none.
    pub async fn write(&mut self, batch: &Batch) -> impl Iterator<Item = Result<Wire, Box<Failure>>> + use<'_> {
        let kept: Vec<&Record> = batch.rows().iter().filter(|row| is_kept(row)).map(|row| &row.record).collect();
        // As in Java headers come first, so that theirs is the failure that counts.
        let headers: Vec<Result<Vec<RawHeader>>> = kept.iter().map(|record| write_headers(&mut *self.header, record)).collect();
        let keys = self.key.from_connect(&kept, Part::Key).await;
        let values = self.value.from_connect(&kept, Part::Value).await;
        let classes = &self.classes;
        let failure = |stage, class: &Arc<str>, error| Err(Box::new(Failure { stage, class: class.clone(), error }));
        headers.into_iter().zip(keys).zip(values).map(move |((headers, key), value)| match (headers, key, value) {
            (Ok(headers), Ok(key), Ok(value)) => Ok(Wire { key, value, headers }),
            (Err(error), ..) => failure(Stage::HeaderConverter, &classes.header, error),
            (_, Err(error), _) => failure(Stage::KeyConverter, &classes.key, error),
            (.., Err(error)) => failure(Stage::ValueConverter, &classes.value, error),
        })
    }

    /// Stops all instances.
    pub async fn stop(&mut self) {
        for step in &mut self.steps {
            step.transform.stop().await;
        }
        for (predicate, _) in &mut self.predicates {
            predicate.stop().await;
        }
    }
}

/// A record as Kafka keeps it.
pub struct Wire {
    pub key: Option<Bytes>,
    pub value: Option<Bytes>,
    pub headers: Vec<RawHeader>,
}

fn is_kept(row: &Row) -> bool {
    matches!(row.verdict, Verdict::Keep)
}

fn write_headers(converter: &mut dyn HeaderConverter, record: &Record) -> Result<Vec<RawHeader>> {
    let write = |header: &Header| {
        let value = converter.from_connect(&record.topic, &header.key, &header.value)?;
        Ok(RawHeader { key: header.key.clone(), value })
    };
    record.headers.iter().map(write).collect()
}

fn context_of(task: &TaskId, alias: &Arc<str>, used: &PluginUse) -> TransformContext {
    TransformContext { task: task.clone(), alias: alias.clone(), class: used.class.clone() }
}

fn wrong_kind(used: &PluginUse, wanted: &str) -> Error {
    Error::config(format!("class {} is a {}, not a {wanted}", used.class, used.plugin.kind().name()))
}

fn make_transform(used: &PluginUse) -> Result<Box<dyn Transform>> {
    match &used.plugin.construct {
        Constructor::Transformation(make) => make(&used.props),
        _ => Err(wrong_kind(used, "transformation")),
    }
}

fn make_predicate(used: &PluginUse) -> Result<Box<dyn Predicate>> {
    match &used.plugin.construct {
        Constructor::Predicate(make) => make(&used.props),
        _ => Err(wrong_kind(used, "predicate")),
    }
}

fn make_converter(used: &PluginUse, part: Part) -> Result<Box<dyn Converter>> {
    match &used.plugin.construct {
        Constructor::Converter(make) => make(&used.props, part),
        _ => Err(wrong_kind(used, "converter")),
    }
}

fn make_header_converter(used: &PluginUse) -> Result<Box<dyn HeaderConverter>> {
    match &used.plugin.construct {
        Constructor::HeaderConverter(make) => make(&used.props),
        _ => Err(wrong_kind(used, "header converter")),
    }
}
