//! `com.example.PluginName`: sums a field up, for each topic, and writes the sums to the worker's log with each commit.

use std::collections::BTreeMap;

use penstock_plugin::{
    Check, ConfigDef, ConfigKey, ConfigType, Connector, Error, Offsets, Props, Result, SinkClass, SinkConnector, SinkContext,
    SinkRecord, SinkTask, Value, async_trait, log,
};

/// Plans the tasks: each gets the whole configuration, and Kafka shares the partitions out among them.
struct PluginName;

#[async_trait]
impl Connector for PluginName {
    async fn task_configs(&self, config: &Props, tasks_max: u32) -> Result<Vec<Props>> {
        Ok(self.same_for_all(config, tasks_max))
    }
}

impl SinkConnector for PluginName {
    fn task(&self) -> Box<dyn SinkTask> {
        Box::new(Task::default())
    }
}

#[derive(Default)]
struct Task {
    field: String,
    context: Option<SinkContext>,
    /// Records and their sum, by topic.
    sums: BTreeMap<String, (u64, f64)>,
}

fn number(record: &SinkRecord, field: &str) -> Result<f64> {
    let value = record.record.value.view()?;
    let Value::Map(fields) = &value.value else { return Err(Error::data("the value is no JSON object")) };
    fields.get(field).and_then(Value::as_f64).ok_or_else(|| Error::data(format!("the field {field} is no number")))
}

#[async_trait]
impl SinkTask for Task {
    async fn start(&mut self, config: &Props, context: SinkContext) -> Result<()> {
        self.field = keys().parse(config)?.string("field").to_owned();
        self.context = Some(context);
        Ok(())
    }

    /// Takes records. One that can never be taken is reported, and goes to the dead letters; the others go on.
    async fn put(&mut self, records: &[SinkRecord]) -> Result<()> {
        let context = self.context.as_ref().ok_or_else(|| Error::fatal("not started"))?;
        for record in records {
            match number(record, &self.field) {
                Ok(number) => {
                    let (count, sum) = self.sums.entry(record.record.topic.to_string()).or_default();
                    *count += 1;
                    *sum += number;
                }
                Err(error) => context.report(record.origin.clone(), error),
            }
        }
        Ok(())
    }

    /// Says what may be committed: here, all of it. A sink that holds records back answers how far it has written them.
    async fn pre_commit(&mut self, put: &Offsets) -> Result<Offsets> {
        for (topic, (count, sum)) in &self.sums {
            log::info(&format!("{topic}: {count} records, {} in all {sum}", self.field));
        }
        Ok(put.clone())
    }
}

/// The keys: the worker checks, documents and lists them.
fn keys() -> ConfigDef {
    ConfigDef::new([ConfigKey::required("field", ConfigType::String, "The field to sum up.").check(Check::NonEmpty)])
}

fn classes() -> Vec<SinkClass> {
    vec![SinkClass::records("com.example.PluginName", env!("CARGO_PKG_VERSION"), keys(), || PluginName)]
}

penstock_plugin::export_sinks!(classes);

#[cfg(test)]
mod tests {
    use penstock_plugin::testing::{FailureKind, TestRecord, json, run};

    use super::*;

    #[test]
    fn numbers_are_taken_and_the_rest_is_reported() {
        run(classes, |plugins| {
            let mut task = plugins.sink("PluginName", &[("field", "total")]).unwrap();
            task.open(&[("orders", 0)]).unwrap();
            let order = |value| TestRecord::new("orders").value(value);
            let reports = task.put([order(json!({"total": 3})), order(json!({"total": "many"})), order(json!({"total": 4.5}))]).unwrap();
            assert_eq!(reports.len(), 1);
            assert_eq!((reports[0].offset, reports[0].failure.kind), (1, FailureKind::Data));
            assert_eq!(reports[0].failure.message, "the field total is no number");
            assert_eq!(task.pre_commit().unwrap(), [("orders".to_owned(), 0, 3)]);
        });
    }
}
