//! Connect's own transforms and predicates, under Java's class names, with Java's configuration, results and messages.
//!
//! The table below is the whole of it; each class has a file.

mod cast;
mod drop_headers;
mod extract_field;
mod filter;
mod flatten;
mod header_from;
mod hoist_field;
mod insert_field;
mod insert_header;
pub mod java;
mod keys;
mod mask_field;
mod names;
mod predicates;
mod regex_router;
mod replace_field;
mod schema_cache;
mod set_schema_metadata;
mod shape;
mod timestamp_converter;
mod timestamp_router;
mod value_to_key;

use penstock_api::config::{ConfigDef, Parsed};
use penstock_api::{Constructor, Part, Plugin, Predicate, Result, Transform};
use std::sync::Arc;

use crate::predicates::{HasHeaderKey, RecordIsTombstone, TopicNameMatches};

/// All classes, in alphabetical order within their kind.
#[must_use]
pub fn plugins() -> Vec<Plugin> {
    [
        by_part("Cast", &cast::config(), cast::Cast::new),
        vec![transform("DropHeaders", drop_headers::config(), drop_headers::DropHeaders::new)],
        by_part("ExtractField", &extract_field::config(), extract_field::ExtractField::new),
        vec![transform("Filter", filter::config(), filter::Filter::new)],
        by_part("Flatten", &flatten::config(), flatten::Flatten::new),
        by_part("HeaderFrom", &header_from::config(), header_from::HeaderFrom::new),
        by_part("HoistField", &hoist_field::config(), hoist_field::HoistField::new),
        by_part("InsertField", &insert_field::config(), insert_field::InsertField::new),
        vec![transform("InsertHeader", insert_header::config(), insert_header::InsertHeader::new)],
        by_part("MaskField", &mask_field::config(), mask_field::MaskField::new),
        vec![transform("RegexRouter", regex_router::config(), regex_router::RegexRouter::new)],
        by_part("ReplaceField", &replace_field::config(), replace_field::ReplaceField::new),
        by_part("SetSchemaMetadata", &set_schema_metadata::config(), set_schema_metadata::SetSchemaMetadata::new),
        by_part("TimestampConverter", &timestamp_converter::config(), timestamp_converter::TimestampConverter::new),
        vec![
            transform("TimestampRouter", timestamp_router::config(), timestamp_router::TimestampRouter::new),
            transform("ValueToKey", value_to_key::config(), value_to_key::ValueToKey::new),
        ],
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
