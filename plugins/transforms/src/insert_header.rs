//! `InsertHeader`: the same header for every record.

use penstock_api::config::{Check, ConfigDef, ConfigKey, ConfigType, Parsed};
use penstock_api::{Error, Flow, Record, Result, SchemaAndValue, Transform};

use crate::java::literal;

/// See the module.
pub(crate) struct InsertHeader {
    name: String,
    value: SchemaAndValue,
}

pub(crate) fn config() -> ConfigDef {
    ConfigDef::new([
        ConfigKey::required("header", ConfigType::String, "The name of the header.").check(Check::NonNull),
        ConfigKey::required(
            "value.literal",
            ConfigType::String,
            "The literal value that is to be set as the header value on all records.",
        )
        .check(Check::NonNull),
    ])
}

impl InsertHeader {
    pub(crate) fn new(config: &Parsed) -> Result<Self> {
        let text = config.string("value.literal");
        let value = literal::parse(text)
            .map_err(|why| Error::config(format!("Invalid value {text} for configuration value.literal: {why}")))?;
        Ok(Self { name: config.string("header").to_owned(), value })
    }
}

impl Transform for InsertHeader {
    fn apply(&mut self, record: &mut Record) -> Result<Flow> {
        record.headers.add(self.name.as_str(), self.value.clone());
        Ok(Flow::Keep)
    }
}
