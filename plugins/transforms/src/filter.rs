//! `Filter`: drops every record its predicate selects.

use penstock_api::config::{ConfigDef, Parsed};
use penstock_api::{Flow, Record, Result, Transform};

/// See the module.
pub(crate) struct Filter;

pub(crate) fn config() -> ConfigDef {
    ConfigDef::default()
}

impl Filter {
    #[expect(clippy::unnecessary_wraps, reason = "all constructors have one form")]
    pub(crate) fn new(_config: &Parsed) -> Result<Self> {
        Ok(Self)
    }
}

impl Transform for Filter {
    fn apply(&mut self, _record: &mut Record) -> Result<Flow> {
        Ok(Flow::Drop)
    }
}
