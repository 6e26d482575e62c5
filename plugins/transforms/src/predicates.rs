//! Connect's three predicates.

use penstock_api::config::{Check, ConfigDef, ConfigKey, ConfigType, Importance, Parsed};
use penstock_api::{Error, Predicate, Record, Result};

use crate::java::regex::Pattern;
use crate::keys;

/// Whether a record has a header of that name.
pub(crate) struct HasHeaderKey {
    name: String,
}

/// Whether a record's value is null.
pub(crate) struct RecordIsTombstone;

/// Whether a record's topic matches a pattern as a whole.
pub(crate) struct TopicNameMatches {
    pattern: Pattern,
}

impl HasHeaderKey {
    pub(crate) fn config() -> ConfigDef {
        let name = ConfigKey::required("name", ConfigType::String, "The header name.").check(Check::NonEmpty);
        ConfigDef::new([name.importance(Importance::Medium)])
    }

    #[expect(clippy::unnecessary_wraps, reason = "all constructors have one form")]
    pub(crate) fn new(config: &Parsed) -> Result<Self> {
        Ok(Self { name: config.string("name").to_owned() })
    }
}

impl Predicate for HasHeaderKey {
    fn test(&mut self, record: &mut Record) -> Result<bool> {
        Ok(record.headers.iter().any(|header| header.key == self.name))
    }
}

impl RecordIsTombstone {
    #[expect(clippy::unnecessary_wraps, reason = "all constructors have one form")]
    pub(crate) fn new(_config: &Parsed) -> Result<Self> {
        Ok(Self)
    }
}

impl Predicate for RecordIsTombstone {
    fn test(&mut self, record: &mut Record) -> Result<bool> {
        Ok(record.value.is_null())
    }
}

impl TopicNameMatches {
    pub(crate) fn config() -> ConfigDef {
        let doc = "A Java regular expression for matching against the name of a record's topic.";
        let pattern = ConfigKey::required("pattern", ConfigType::String, doc)
            .check(Check::All(vec![Check::NonEmpty, Check::Custom(keys::regex)]));
        ConfigDef::new([pattern.importance(Importance::Medium)])
    }

    pub(crate) fn new(config: &Parsed) -> Result<Self> {
        let text = config.string("pattern");
        let pattern = Pattern::new(text).map_err(|why| {
            let what = "entry must be a Java-compatible regular expression";
            Error::config(format!("Invalid value {text} for configuration pattern: {what}: {why}"))
        })?;
        Ok(Self { pattern })
    }
}

impl Predicate for TopicNameMatches {
    fn test(&mut self, record: &mut Record) -> Result<bool> {
        let failed = |e| Error::data(format!("match topic {} with the pattern of `pattern`: {e}", record.topic));
        self.pattern.matches(&record.topic).map_err(failed)
    }
}
