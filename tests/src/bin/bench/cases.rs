//! What is done with a record between topic and sink: a connector's configuration for each case and system.

use std::fmt;

use clap::ValueEnum;
use penstock_tests::Registry;
use penstock_tests::connect::Config;

pub(crate) const IDENTITY_COMPONENT: &str = "penstock.tests.Identity";
pub(crate) const RETAIL_COMPONENT: &str = "penstock.examples.RetailOrders";

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(crate) enum Case {
    /// Bytes through, nothing decoded.
    Bytes,
    /// JSON without schemas.
    Json,
    /// JSON, then InsertField, MaskField and ReplaceField.
    #[value(name = "json_3smt")]
    Json3Smt,
    /// JSON, then a component that passes records on.
    JsonIdentityComponent,
    /// JSON, then the retail example's component.
    JsonRetailComponent,
    /// Avro with a Schema Registry.
    Avro,
    /// Copied to another topic, as from another cluster.
    Mirror,
}

impl Case {
    pub(crate) const ALL: [Case; 7] = [
        Case::Bytes,
        Case::Json,
        Case::Json3Smt,
        Case::JsonIdentityComponent,
        Case::JsonRetailComponent,
        Case::Avro,
        Case::Mirror,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Case::Bytes => "bytes",
            Case::Json => "json",
            Case::Json3Smt => "json_3smt",
            Case::JsonIdentityComponent => "json_identity_component",
            Case::JsonRetailComponent => "json_retail_component",
            Case::Avro => "avro",
            Case::Mirror => "mirror",
        }
    }

    pub(crate) fn needs_component(self) -> bool {
        matches!(self, Case::JsonIdentityComponent | Case::JsonRetailComponent)
    }

    /// Converters and transforms, alike for both systems where they are.
    pub(crate) fn stages(self, components: &Components<'_>) -> Config {
        let bytes = "org.apache.kafka.connect.converters.ByteArrayConverter";
        let json = "org.apache.kafka.connect.json.JsonConverter";
        let mut config = Config::new();
        let mut set = |key: &str, value: &str| config.insert(key.into(), value.into());
        set("key.converter", bytes);
        match self {
            Case::Bytes => set("value.converter", bytes),
            Case::Avro => None,
            _ => {
                set("value.converter", json);
                set("value.converter.schemas.enable", "false")
            }
        };
        match self {
            Case::Json3Smt => {
                set("transforms", "insert,mask,replace");
                set("transforms.insert.type", "org.apache.kafka.connect.transforms.InsertField$Value");
                set("transforms.insert.static.field", "source");
                set("transforms.insert.static.value", "bench");
                set("transforms.mask.type", "org.apache.kafka.connect.transforms.MaskField$Value");
                set("transforms.mask.fields", "payment");
                set("transforms.mask.replacement", "hidden");
                set("transforms.replace.type", "org.apache.kafka.connect.transforms.ReplaceField$Value");
                set("transforms.replace.exclude", "event_id");
                set("transforms.replace.renames", "ordered_at:ts");
            }
            Case::JsonIdentityComponent => {
                set("transforms", "component");
                set("transforms.component.type", components.identity);
            }
            Case::JsonRetailComponent => {
                set("transforms", "component");
                set("transforms.component.type", components.retail);
            }
            _ => {}
        }
        config
    }
}

/// The Avro converter that each side has: Apicurio's in Java (Confluent's is not published where jars are), our own here.
pub(crate) fn avro_converter(java: bool, registry: &Registry) -> Config {
    let mut config = Config::new();
    let mut set = |key: &str, value: &str| config.insert(format!("value.converter{key}"), value.into());
    if java {
        set("", "io.apicurio.registry.utils.converter.AvroConverter");
        set(".apicurio.registry.url", &registry.apicurio_url());
        set(".apicurio.registry.as-confluent", "true");
        set(".apicurio.registry.use-id", "contentId");
    } else {
        set("", "io.confluent.connect.avro.AvroConverter");
        set(".schema.registry.url", registry.url());
    }
    config
}

/// Class names of the components.
pub(crate) struct Components<'a> {
    pub(crate) identity: &'a str,
    pub(crate) retail: &'a str,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
