//! `com.example.PluginName`: a heartbeat. It writes a numbered record to a topic at an interval, and goes on counting after a restart.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use penstock_plugin::{
    Check, ConfigDef, ConfigKey, ConfigType, Connector, Headers, Map, Next, Payload, Polled, Props, Record, Result,
    SchemaAndValue, SourceClass, SourceConnector, SourceContext, SourceMap, SourceOffset, SourcePosition, SourceRecord, SourceTask,
    Value, async_trait,
};

/// Plans the tasks: there is only one thing to do, so one task.
struct PluginName;

#[async_trait]
impl Connector for PluginName {
    async fn task_configs(&self, config: &Props, _tasks_max: u32) -> Result<Vec<Props>> {
        Ok(vec![config.clone()])
    }
}

impl SourceConnector for PluginName {
    fn task(&self) -> Box<dyn SourceTask> {
        Box::new(Task::default())
    }
}

#[derive(Default)]
struct Task {
    topic: Arc<str>,
    interval: Duration,
    /// Of what is read: the worker keeps one offset for each source partition.
    partition: Arc<SourceMap>,
    /// The last number that was given.
    beat: i64,
}

#[async_trait]
impl SourceTask for Task {
    /// Looks up where to go on.
    async fn start(&mut self, config: &Props, context: SourceContext) -> Result<()> {
        let config = keys().parse(config)?;
        self.topic = config.string("topic").into();
        self.interval = config.millis("interval.ms");
        self.partition = Arc::new([("topic".to_owned(), self.topic.to_string().into())].into_iter().collect());
        let stored = context.stored(&[SourceMap::clone(&self.partition)]).await?;
        self.beat = stored[0].as_ref().and_then(|offset| offset.get("beat")?.as_i64()).unwrap_or(0);
        Ok(())
    }

    /// Gives what there is, and says when to ask again.
    async fn poll(&mut self) -> Result<Polled> {
        self.beat += 1;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_millis() as i64);
        let mut value = Map::default();
        value.insert("beat", Value::Int64(self.beat));
        value.insert("at", Value::Int64(now));
        let record = Record {
            topic: self.topic.clone(),
            partition: None,
            key: Payload::null(),
            value: SchemaAndValue::schemaless(Value::Map(value)).into(),
            headers: Headers::new(),
            timestamp: Some(now),
            offset: None,
        };
        // Reading on from this offset gives the next beat.
        let position = SourcePosition { partition: self.partition.clone(), offset: SourceOffset::Count("beat".into(), self.beat) };
        let records = vec![SourceRecord { record, position: Some(position) }];
        Ok(Polled { records, next: Next::Wait(self.interval) })
    }
}

/// The keys: the worker checks, documents and lists them.
fn keys() -> ConfigDef {
    ConfigDef::new([
        ConfigKey::required("topic", ConfigType::String, "The topic to write to.").check(Check::NonEmpty),
        ConfigKey::optional("interval.ms", ConfigType::Long, "1000", "The time between two records.").check(Check::Min(1.0)),
    ])
}

fn classes() -> Vec<SourceClass> {
    vec![SourceClass::records("com.example.PluginName", env!("CARGO_PKG_VERSION"), keys(), || PluginName)]
}

penstock_plugin::export_sources!(classes);

#[cfg(test)]
mod tests {
    use penstock_plugin::testing::{Content, Next, TestRecord, json, run};

    use super::*;

    fn beat_of(record: &TestRecord) -> i64 {
        let Content::Json(value) = &record.value else { panic!("the value is {:?}", record.value) };
        value["beat"].as_i64().unwrap()
    }

    #[test]
    fn it_beats() {
        run(classes, |plugins| {
            let mut task = plugins.source("PluginName", &[("topic", "beats"), ("interval.ms", "50")]).unwrap();
            let beats = [(); 3].map(|()| {
                let polled = task.poll().unwrap();
                assert_eq!(polled.next, Next::Wait(Duration::from_millis(50)));
                beat_of(&polled.records[0])
            });
            assert_eq!(beats, [1, 2, 3]);
        });
    }

    #[test]
    fn it_goes_on_from_the_stored_offset() {
        run(classes, |plugins| {
            let stored = [(json!({"topic": "beats"}), json!({"beat": 41}))];
            let mut task = plugins.source_from("PluginName", &[("topic", "beats")], &stored).unwrap();
            let record = task.poll().unwrap().records.remove(0);
            assert_eq!(beat_of(&record), 42);
            let (partition, offset) = record.position.unwrap();
            assert_eq!((json!(partition), json!(offset)), (json!({"topic": "beats"}), json!({"beat": 42})));
        });
    }
}
