//! `com.example.PluginName`: tidies text fields up, so that ` Ada@Example.ORG ` and `ada@example.org` are one and the same further down.

use penstock_plugin::{
    ConfigDef, ConfigKey, ConfigType, Error, Flow, Parsed, Record, Result, Transform, TransformClass, Value, async_trait,
};
use penstock_plugin::{Check, log};

/// The class, configured.
struct PluginName {
    fields: Vec<String>,
    lower_case: bool,
}

impl PluginName {
    fn new(config: &Parsed) -> Result<Self> {
        log::info(&format!("tidies {}", config.string("fields")));
        Ok(Self { fields: config.list("fields"), lower_case: config.boolean("lower.case") })
    }

    fn tidy(&self, text: &str) -> String {
        let trimmed = text.split_whitespace().collect::<Vec<_>>().join(" ");
        if self.lower_case { trimmed.to_lowercase() } else { trimmed }
    }
}

#[async_trait]
impl Transform for PluginName {
    /// Called for each record. An error of the kind `data` sends this record to the dead letters, the others pass.
    fn apply(&mut self, record: &mut Record) -> Result<Flow> {
        if record.value.is_null() {
            return Ok(Flow::Keep); // A tombstone means that a key is gone; it has no fields.
        }
        let Value::Map(fields) = &mut record.value.decode_mut()?.value else {
            return Err(Error::data("the value is no JSON object"));
        };
        for name in &self.fields {
            if let Some(text) = fields.get(name).and_then(Value::as_str) {
                let tidy = self.tidy(text);
                fields.insert(name.as_str(), Value::string(&tidy));
            }
        }
        Ok(Flow::Keep)
    }
}

/// The keys: the worker checks, documents and lists them.
fn keys() -> ConfigDef {
    ConfigDef::new([
        ConfigKey::required("fields", ConfigType::List, "The text fields to tidy up.").check(Check::NonEmpty),
        ConfigKey::optional("lower.case", ConfigType::Boolean, "true", "Whether they are written in lower case, too."),
    ])
}

fn classes() -> Vec<TransformClass> {
    vec![TransformClass::records("com.example.PluginName", env!("CARGO_PKG_VERSION"), keys(), PluginName::new)]
}

penstock_plugin::export_transforms!(classes);

#[cfg(test)]
mod tests {
    use penstock_plugin::testing::{Failure, FailureKind, Outcome, TestRecord, json, run};

    use super::*;

    fn customer(email: &str) -> TestRecord {
        TestRecord::new("customers").key("c-1").value(json!({"email": email, "visits": 3}))
    }

    #[test]
    fn named_fields_are_tidy() {
        run(classes, |plugins| {
            let mut task = plugins.transform("PluginName", &[("fields", "email")]).unwrap();
            let outcomes = task.apply([customer("  Ada@Example.ORG "), TestRecord::new("customers").key("c-1")]).unwrap();
            assert_eq!(outcomes[0], Outcome::Passed(customer("ada@example.org")));
            assert_eq!(outcomes[1], Outcome::Passed(TestRecord::new("customers").key("c-1")), "a tombstone passes");
        });
    }

    #[test]
    fn what_is_no_object_fails_alone() {
        run(classes, |plugins| {
            let mut task = plugins.transform("PluginName", &[("fields", "email"), ("lower.case", "false")]).unwrap();
            let outcomes = task.apply([TestRecord::new("customers").value(json!(7)), customer("Ada ")]).unwrap();
            let failure = Failure { kind: FailureKind::Data, message: "the value is no JSON object".to_owned() };
            assert_eq!(outcomes, [Outcome::Failed(failure), Outcome::Passed(customer("Ada"))]);
        });
    }

    #[test]
    fn the_fields_must_be_named() {
        run(classes, |plugins| {
            let failure = plugins.transform("PluginName", &[]).err().unwrap();
            assert_eq!(failure.kind, FailureKind::Config);
            assert!(failure.message.contains("fields"), "{}", failure.message);
        });
    }
}
