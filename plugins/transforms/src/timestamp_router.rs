//! `TimestampRouter`: a topic for each stretch of time.

use penstock_api::config::{Check, ConfigDef, ConfigKey, ConfigType, Importance, Parsed};
use penstock_api::{Error, Flow, Record, Result, Transform};

use crate::java::date_format::DateFormat;

/// See the module.
pub(crate) struct TimestampRouter {
    topic: String,
    timestamp: DateFormat,
}

pub(crate) fn config() -> ConfigDef {
    ConfigDef::new([
        ConfigKey::optional(
            "topic.format",
            ConfigType::String,
            "${topic}-${timestamp}",
            "Format string which can contain <code>${topic}</code> and <code>${timestamp}</code> as placeholders for the topic and \
             timestamp, respectively.",
        )
        .importance(Importance::High),
        ConfigKey::optional(
            "timestamp.format",
            ConfigType::String,
            "yyyyMMdd",
            "Format string for the timestamp that is compatible with <code>java.text.SimpleDateFormat</code>.",
        )
        .importance(Importance::High)
        .check(Check::Custom(|text| DateFormat::new(text).map(|_| ()))),
    ])
}

impl TimestampRouter {
    pub(crate) fn new(config: &Parsed) -> Result<Self> {
        let timestamp = DateFormat::new(config.string("timestamp.format")).map_err(Error::config)?;
        Ok(Self { topic: config.string("topic.format").to_owned(), timestamp })
    }
}

impl Transform for TimestampRouter {
    fn apply(&mut self, record: &mut Record) -> Result<Flow> {
        let millis = record.timestamp.ok_or_else(|| {
            let (topic, partition) = (&record.topic, record.partition);
            Error::data(format!(
                "Timestamp missing on record: topic {topic}, partition {partition:?}, offset {:?}",
                record.offset
            ))
        })?;
        let named = self.topic.replace("${topic}", &record.topic);
        record.topic = named.replace("${timestamp}", &self.timestamp.format(millis)).into();
        Ok(Flow::Keep)
    }
}
