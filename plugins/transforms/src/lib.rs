//! Connect's own transforms and predicates, under Java's class names, with Java's configuration, results and messages.
//!
//! The table below is the whole of it; each class has a file.

mod filter;
mod insert_field;
pub mod java;
mod keys;
mod mask_field;
mod names;
mod predicates;
mod regex_router;
mod replace_field;
mod schema_cache;
mod shape;

use penstock_api::config::{ConfigDef, Parsed};
use penstock_api::{Constructor, Part, Plugin, Predicate, Result, Transform};
use std::sync::Arc;

use crate::predicates::{HasHeaderKey, RecordIsTombstone, TopicNameMatches};

/// All classes, in alphabetical order within their kind.
#[must_use]
pub fn plugins() -> Vec<Plugin> {
    [
        vec![transform("Filter", filter::config(), filter::Filter::new)],
        by_part("InsertField", &insert_field::config(), insert_field::InsertField::new),
        by_part("MaskField", &mask_field::config(), mask_field::MaskField::new),
        vec![transform("RegexRouter", regex_router::config(), regex_router::RegexRouter::new)],
        by_part("ReplaceField", &replace_field::config(), replace_field::ReplaceField::new),
        vec![
            predicate("HasHeaderKey", HasHeaderKey::config(), HasHeaderKey::new),
            predicate("RecordIsTombstone", ConfigDef::default(), RecordIsTombstone::new),
            predicate("TopicNameMatches", TopicNameMatches::config(), TopicNameMatches::new),
        ],
    ]
    .concat()
}

const PACKAGE: &str = "org.apache.kafka.connect.transforms";

/// The twin classes `NAME$Key` and `NAME$Value`.
fn by_part<T: Transform + 'static>(name: &str, config: &ConfigDef, new: fn(&Parsed, Part) -> Result<T>) -> Vec<Plugin> {
    [(Part::Key, "Key"), (Part::Value, "Value")]
        .into_iter()
        .map(|(part, suffix)| transform(&format!("{name}${suffix}"), config.clone(), move |parsed: &Parsed| new(parsed, part)))
        .collect()
}

fn transform<T: Transform + 'static>(
    name: &str,
    config: ConfigDef,
    new: impl Fn(&Parsed) -> Result<T> + Send + Sync + 'static,
) -> Plugin {
    let config = Arc::new(config);
    let keys = config.clone();
    let make = move |props: &_| Ok(Box::new(new(&keys.parse(props)?)?) as Box<dyn Transform>);
    plugin(format!("{PACKAGE}.{name}"), config, Constructor::Transformation(Arc::new(make)))
}

fn predicate<P: Predicate + 'static>(name: &str, config: ConfigDef, new: fn(&Parsed) -> Result<P>) -> Plugin {
    let config = Arc::new(config);
    let keys = config.clone();
    let make = move |props: &_| Ok(Box::new(new(&keys.parse(props)?)?) as Box<dyn Predicate>);
    plugin(format!("{PACKAGE}.predicates.{name}"), config, Constructor::Predicate(Arc::new(make)))
}

fn plugin(class: String, config: Arc<ConfigDef>, construct: Constructor) -> Plugin {
    Plugin { class, aliases: Vec::new(), version: env!("CARGO_PKG_VERSION").to_owned(), config, construct }
}
