//! Predicates in both forms, and one that answers nonsense.

use penstock_plugin::{
    Batch, ColumnPredicate, ConfigDef, ConfigKey, ConfigType, Error, Part, Predicate, PredicateClass, Record, Result, Value,
    async_trait,
};

/// Matches values whose field `country` is the configured one.
struct CountryIs(String);

impl ColumnPredicate for CountryIs {
    fn test(&mut self, batch: &Batch<'_>) -> Result<Vec<bool>> {
        Ok(batch.texts(Part::Value, "country").iter().map(|country| country == Some(&self.0)).collect())
    }
}

/// The same, record by record; fails where there is no country.
struct CountryIsRecord(String);

#[async_trait]
impl Predicate for CountryIsRecord {
    fn test(&mut self, record: &mut Record) -> Result<bool> {
        match &record.value.decode()?.value {
            Value::Map(map) => match map.get("country").and_then(Value::as_str) {
                Some(country) => Ok(country == self.0),
                None => Err(Error::data("no country")),
            },
            _ => Ok(false),
        }
    }
}

/// Answers one bit too many, or changes what it must not.
struct Nonsense;

impl ColumnPredicate for Nonsense {
    fn test(&mut self, batch: &Batch<'_>) -> Result<Vec<bool>> {
        if batch.topics().get(0) == "change" {
            batch.discard(&[0]);
        }
        Ok(vec![true; batch.len() + 8])
    }
}

fn classes() -> Vec<PredicateClass> {
    let keys = || ConfigDef::new([ConfigKey::required("country", ConfigType::String, "The country to match.")]);
    vec![
        PredicateClass::columns("penstock.tests.CountryIs", "1.0.0", keys(), |config| {
            Ok(CountryIs(config.string("country").to_owned()))
        }),
        PredicateClass::records("penstock.tests.CountryIsRecord", "1.0.0", keys(), |config| {
            Ok(CountryIsRecord(config.string("country").to_owned()))
        }),
        PredicateClass::columns("penstock.tests.NonsensePredicate", "1.0.0", ConfigDef::default(), |_| Ok(Nonsense)),
    ]
}

penstock_plugin::export_predicates!(classes);
