//! Converters: between wire bytes and payloads.

mod json;
mod plain;
mod simple_header;
pub mod registry;
mod avro;

use penstock_api::{ConfigDef, Constructor, Converter, HeaderConverter, Kind, Part, Plugin, Props, Result};
use std::sync::Arc;

pub use json::as_json;

/// All converters, under Connect's class names.
#[must_use]
pub fn plugins() -> Vec<Plugin> {
    let mut all = vec![
        converter("org.apache.kafka.connect.json.JsonConverter", json::config(), |p, _| {
            Ok(Box::new(json::JsonConverter::new(p)?))
        }),
        converter("org.apache.kafka.connect.storage.StringConverter", plain::string_config(), |p, part| {
            Ok(Box::new(plain::StringConverter::new(p, Some(part))?))
        }),
        header_converter("org.apache.kafka.connect.storage.StringConverter", plain::string_config(), |p| {
            Ok(Box::new(plain::StringConverter::new(p, None)?))
        }),
        header_converter("org.apache.kafka.connect.storage.SimpleHeaderConverter", ConfigDef::default(), |_| {
            Ok(Box::new(simple_header::SimpleHeaderConverter::new()))
        }),
    ];
    all.push(avro::plugin());
    all.extend(both("ByteArrayConverter", || plain::ByteArrayConverter));
    all.extend(both("BooleanConverter", || plain::NumberConverter::new(Kind::Boolean)));
    all.extend(both("ShortConverter", || plain::NumberConverter::new(Kind::Int16)));
    all.extend(both("IntegerConverter", || plain::NumberConverter::new(Kind::Int32)));
    all.extend(both("LongConverter", || plain::NumberConverter::new(Kind::Int64)));
    all.extend(both("FloatConverter", || plain::NumberConverter::new(Kind::Float32)));
    all.extend(both("DoubleConverter", || plain::NumberConverter::new(Kind::Float64)));
    all
}

/// A converter without settings, for records and for headers.
fn both<C: Converter + HeaderConverter + 'static>(name: &str, make: fn() -> C) -> [Plugin; 2] {
    let class = format!("org.apache.kafka.connect.converters.{name}");
    [
        converter(&class, ConfigDef::default(), move |_, _| Ok(Box::new(make()))),
        header_converter(&class, ConfigDef::default(), move |_| Ok(Box::new(make()))),
    ]
}

fn converter(
    class: &str,
    config: ConfigDef,
    make: impl Fn(&Props, Part) -> Result<Box<dyn Converter>> + Send + Sync + 'static,
) -> Plugin {
    plugin(class, config, Constructor::Converter(Arc::new(make)))
}

fn header_converter(
    class: &str,
    config: ConfigDef,
    make: impl Fn(&Props) -> Result<Box<dyn HeaderConverter>> + Send + Sync + 'static,
) -> Plugin {
    plugin(class, config, Constructor::HeaderConverter(Arc::new(make)))
}

fn plugin(class: &str, config: ConfigDef, construct: Constructor) -> Plugin {
    Plugin {
        class: class.to_owned(),
        aliases: Vec::new(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        config: Arc::new(config),
        construct,
    }
}
