//! `com.example.PluginName`: chooses the records whose field has one of some values.

use penstock_plugin::{
    Check, ConfigDef, ConfigKey, ConfigType, Parsed, Predicate, PredicateClass, Record, Result, Value, async_trait,
};

/// The class, configured.
struct PluginName {
    field: String,
    values: Vec<String>,
}

impl PluginName {
    fn new(config: &Parsed) -> Result<Self> {
        Ok(Self { field: config.string("field").to_owned(), values: config.list("values") })
    }
}

#[async_trait]
impl Predicate for PluginName {
    /// Called for each record.
    fn test(&mut self, record: &mut Record) -> Result<bool> {
        let Value::Map(fields) = &record.value.decode()?.value else { return Ok(false) };
        let text = fields.get(&self.field).and_then(Value::as_str);
        Ok(text.is_some_and(|text| self.values.iter().any(|value| value == text)))
    }
}

/// The keys: the worker checks, documents and lists them.
fn keys() -> ConfigDef {
    ConfigDef::new([
        ConfigKey::required("field", ConfigType::String, "The text field to look at.").check(Check::NonEmpty),
        ConfigKey::required("values", ConfigType::List, "Records with one of these match.").check(Check::NonEmpty),
    ])
}

fn classes() -> Vec<PredicateClass> {
    vec![PredicateClass::records("com.example.PluginName", env!("CARGO_PKG_VERSION"), keys(), PluginName::new)]
}

penstock_plugin::export_predicates!(classes);

#[cfg(test)]
mod tests {
    use penstock_plugin::testing::{TestRecord, json, run};

    use super::*;

    #[test]
    fn records_with_one_of_the_values_match() {
        run(classes, |plugins| {
            let mut task = plugins.predicate("PluginName", &[("field", "country"), ("values", "DE, AT")]).unwrap();
            let of = |country: &str| TestRecord::new("orders").value(json!({"country": country}));
            let matches = task.test([of("DE"), of("FR"), of("AT"), TestRecord::new("orders"), TestRecord::new("orders").value("DE")]);
            assert_eq!(matches.unwrap(), [true, false, true, false, false].map(Ok));
        });
    }
}
