//! `DropHeaders`: headers of certain names go.

use penstock_api::config::{ConfigDef, Parsed};
use penstock_api::{Flow, Headers, Record, Result, Transform};

use crate::keys;
use crate::names::Names;

/// See the module.
pub(crate) struct DropHeaders {
    names: Names,
}

pub(crate) fn config() -> ConfigDef {
    ConfigDef::new([keys::names("headers", "The name of the headers to be removed.")])
}

impl DropHeaders {
    #[expect(clippy::unnecessary_wraps, reason = "all constructors have one form")]
    pub(crate) fn new(config: &Parsed) -> Result<Self> {
        Ok(Self { names: Names::new(config.list("headers")) })
    }
}

impl Transform for DropHeaders {
    fn apply(&mut self, record: &mut Record) -> Result<Flow> {
        if record.headers.iter().any(|header| self.names.contains(&header.key)) {
            let kept: Headers = record.headers.iter().filter(|header| !self.names.contains(&header.key)).cloned().collect();
            record.headers = kept;
        }
        Ok(Flow::Keep)
    }
}
