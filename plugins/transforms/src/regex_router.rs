//! `RegexRouter`: another topic for records whose topic matches a pattern.

use penstock_api::config::{Check, ConfigDef, ConfigKey, ConfigType, Parsed};
use penstock_api::{Error, Flow, Record, Result, Transform};
use std::collections::HashMap;
use std::sync::Arc;

use crate::java::regex::{Pattern, Replacement};
use crate::keys;

/// Topics whose new name is remembered; a task reads few, but a transform before this one may make up many.
const TOPICS_MAX: usize = 1024;

/// See the module.
pub(crate) struct RegexRouter {
    pattern: Pattern,
    replacement: Replacement,
    /// By old name the new one, or `None` when the pattern does not match.
    routes: HashMap<Arc<str>, Option<Arc<str>>>,
}

pub(crate) fn config() -> ConfigDef {
    ConfigDef::new([
        ConfigKey::required("regex", ConfigType::String, "Regular expression to use for matching.")
            .check(Check::Custom(keys::regex)),
        ConfigKey::required("replacement", ConfigType::String, "Replacement string."),
    ])
}

impl RegexRouter {
    pub(crate) fn new(config: &Parsed) -> Result<Self> {
        let wrong = |key: &str, why: String| {
            Error::config(format!("Invalid value {} for configuration {key}: {why}", config.string(key)))
        };
        let pattern = Pattern::new(config.string("regex")).map_err(|why| wrong("regex", why))?;
        let replacement = Replacement::new(config.string("replacement"), &pattern).map_err(|why| wrong("replacement", why))?;
        Ok(Self { pattern, replacement, routes: HashMap::new() })
    }

    fn route(&self, topic: &str) -> Result<Option<Arc<str>>> {
        let failed = |e: String| Error::data(format!("match topic {topic} with the pattern of `regex`: {e}"));
        if !self.pattern.matches(topic).map_err(failed)? {
            return Ok(None);
        }
        self.pattern.replace_first(topic, &self.replacement).map(|name| Some(name.into())).map_err(failed)
    }
}

impl Transform for RegexRouter {
    fn apply(&mut self, record: &mut Record) -> Result<Flow> {
        if let Some(route) = self.routes.get(&record.topic) {
            if let Some(topic) = route {
                record.topic = topic.clone();
            }
            return Ok(Flow::Keep);
        }
        let route = self.route(&record.topic)?;
        if self.routes.len() >= TOPICS_MAX {
            self.routes.clear();
        }
        let from = match &route {
            Some(topic) => std::mem::replace(&mut record.topic, topic.clone()),
            None => record.topic.clone(),
        };
        self.routes.insert(from, route);
        Ok(Flow::Keep)
    }
}
