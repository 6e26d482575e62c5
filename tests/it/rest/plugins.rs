//! What can be configured, and validation.

use serde_json::{Value, json};

use super::step::{Like, Step, get, put, sink};

const VALIDATE: &str = "/connector-plugins/SINK/config/validate";

pub(super) fn plugins_and_validation() -> Vec<Step> {
    let transforms = "org.apache.kafka.connect.transforms";
    let class = |name: &str| format!("{transforms}.{name}");
    let mask = json!({"transforms": "a", "transforms.a.type": class("MaskField$Value"), "transforms.a.fields": "x"});
    let with = |base: &Value, more: Value| {
        let mut base = base.clone();
        base.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        base
    };
    let predicate = json!({
        "transforms.a.predicate": "p", "predicates": "p",
        "predicates.p.type": "org.apache.kafka.connect.transforms.predicates.TopicNameMatches", "predicates.p.pattern": "x",
    });
    let mut steps = vec![
        get("/connector-plugins/nope/config"),
        get("/connector-plugins/SINK/config?version=99").like(Like::Shape),
        put("/connector-plugins/other/config/validate", &sink(&json!({"name": "b"}))),
        put(VALIDATE, &json!({"name": "b", "topics": "t"})),
        put("/connector-plugins/nope/config/validate", &json!({"connector.class": "nope", "name": "b"})).like(Like::Shape),
        put(VALIDATE, &sink(&json!({"name": "b", "connector.class": "nope"}))),
    ];
    for changes in [
        json!({}),
        json!({"name": ""}),
        json!({"name": "a\u{1}b"}),
        json!({"tasks.max": "0"}),
        json!({"tasks.max": ""}),
        json!({"tasks.max.enforce": "no"}),
        json!({"topics": null}),
        json!({"topics": "a,,b"}),
        json!({"topics": "a,a"}),
        json!({"topics": " a , b "}),
        json!({"topics.regex": "x.*"}),
        json!({"topics": null, "topics.regex": "rest-.*", "errors.deadletterqueue.topic.name": "rest-dlq"}),
        json!({"topics": null, "topics.regex": "rest", "errors.deadletterqueue.topic.name": "rest-dlq"}),
        json!({"errors.tolerance": "ALL"}),
        json!({"errors.retry.timeout": "x", "errors.log.enable": "x", "errors.retry.delay.max.ms": "-5"}),
        json!({"config.action.reload": "foo"}),
        json!({"key.converter": "nope", "value.converter": "", "header.converter": "x.Y"}),
        json!({"key.converter": class("Filter")}),
        json!({"value.converter": "JsonConverter"}),
        json!({"value.converter": "org.apache.kafka.connect.json.JsonConverter", "value.converter.schemas.enable": "maybe"}),
        json!({"transforms": "a"}),
        json!({"transforms": "a", "transforms.a.type": "nope"}),
        json!({"transforms": "a", "transforms.a.type": class("InsertField")}),
        json!({"transforms": "a", "transforms.a.type": class("InsertField$Value")}),
        json!({"transforms": "", "predicates": ""}),
        mask.clone(),
        with(&mask, json!({"transforms.a.negate": "true"})),
        with(&mask, predicate.clone()),
        with(&with(&mask, predicate), json!({"transforms.a.negate": "x"})),
        json!({"predicates": "p"}),
        json!({"predicates": "p", "predicates.p.type": class("Filter")}),
        json!({"unknown.key": "x"}),
        json!({"connector.plugin.version": "latest"}),
    ] {
        let mut config = sink(&changes);
        config["name"] = changes.get("name").cloned().unwrap_or_else(|| "b".into());
        steps.push(put(VALIDATE, &config).like(Like::Validation));
    }
    steps
}

const TRANSFORMS: &str = "org.apache.kafka.connect.transforms";

/// Each with the properties it must be given.
const ALL_TRANSFORMS: &[(&str, &[(&str, &str)])] = &[
    ("Cast$Value", &[("spec", "int32")]),
    ("Cast$Key", &[("spec", "a:int8,b:string")]),
    ("DropHeaders", &[("headers", "a,b")]),
    ("ExtractField$Value", &[("field", "a")]),
    ("ExtractField$Key", &[("field", "a.b"), ("field.syntax.version", "V2")]),
    ("Filter", &[]),
    ("Flatten$Value", &[("delimiter", "_")]),
    ("Flatten$Key", &[]),
    ("HeaderFrom$Value", &[("fields", "a"), ("headers", "b"), ("operation", "move")]),
    ("HeaderFrom$Key", &[("fields", "a"), ("headers", "b"), ("operation", "copy")]),
    ("HoistField$Value", &[("field", "a")]),
    ("HoistField$Key", &[("field", "a")]),
    ("InsertField$Value", &[("topic.field", "t")]),
    ("InsertField$Key", &[("static.field", "s"), ("static.value", "v")]),
    ("InsertHeader", &[("header", "h"), ("value.literal", "1")]),
    ("MaskField$Value", &[("fields", "a"), ("replacement", "x")]),
    ("MaskField$Key", &[("fields", "a")]),
    ("RegexRouter", &[("regex", "(.*)"), ("replacement", "$1")]),
    ("ReplaceField$Value", &[("exclude", "a"), ("renames", "b:c")]),
    ("ReplaceField$Key", &[("include", "a")]),
    ("SetSchemaMetadata$Value", &[("schema.name", "n"), ("schema.version", "1")]),
    ("SetSchemaMetadata$Key", &[]),
    ("TimestampConverter$Value", &[("target.type", "unix")]),
    ("TimestampConverter$Key", &[("target.type", "string"), ("format", "yyyy")]),
    ("TimestampRouter", &[]),
    ("ValueToKey", &[("fields", "a")]),
];

const PREDICATES: &[(&str, &[(&str, &str)])] =
    &[("HasHeaderKey", &[("name", "n")]), ("RecordIsTombstone", &[]), ("TopicNameMatches", &[("pattern", "a.*")])];

const CONVERTERS: &[&str] = &[
    "org.apache.kafka.connect.json.JsonConverter",
    "org.apache.kafka.connect.storage.StringConverter",
    "org.apache.kafka.connect.converters.ByteArrayConverter",
    "org.apache.kafka.connect.converters.BooleanConverter",
    "org.apache.kafka.connect.converters.ShortConverter",
    "org.apache.kafka.connect.converters.IntegerConverter",
    "org.apache.kafka.connect.converters.LongConverter",
    "org.apache.kafka.connect.converters.FloatConverter",
    "org.apache.kafka.connect.converters.DoubleConverter",
];

const CONNECTORS: &[&str] = &[
    "org.apache.kafka.connect.file.FileStreamSinkConnector",
    "org.apache.kafka.connect.file.FileStreamSourceConnector",
    "org.apache.kafka.connect.tools.MockSinkConnector",
    "org.apache.kafka.connect.tools.MockSourceConnector",
    "org.apache.kafka.connect.tools.VerifiableSinkConnector",
    "org.apache.kafka.connect.tools.VerifiableSourceConnector",
];

/// The keys of every plugin of Connect, asked for by full name, by simple name and with versions.
pub(super) fn definitions() -> Vec<Step> {
    let keys = |class: &str| get(format!("/connector-plugins/{}/config", class.replace('$', "%24"))).like(Like::Definitions);
    let mut steps =
        vec![get("/connector-plugins").like(Like::Plugins), get("/connector-plugins?connectorsOnly=false").like(Like::Plugins)];
    for query in [
        "connectorsOnly=true",
        "connectorsOnly=",
        "connectorsOnly",
        "connectorsOnly=foo",
        "connectorsOnly=FALSE",
        "connectorsonly=false",
    ] {
        steps.push(get(format!("/connector-plugins?{query}")).like(Like::Plugins));
    }
    steps.push(keys(super::step::SINK));
    steps.extend(ALL_TRANSFORMS.iter().map(|(class, _)| keys(&format!("{TRANSFORMS}.{class}"))));
    steps.extend(PREDICATES.iter().map(|(class, _)| keys(&format!("{TRANSFORMS}.predicates.{class}"))));
    steps.extend(CONVERTERS.iter().map(|class| keys(class)));
    steps.extend(CONNECTORS.iter().map(|class| keys(class)));
    steps.extend(
        ["HasHeaderKey", "JsonConverter", "Json", "RegexRouter", "org.apache.kafka.connect.storage.SimpleHeaderConverter"]
            .map(keys),
    );
    steps.push(get(format!("/connector-plugins/{TRANSFORMS}.Cast/config")).like(Like::Differs(500, 404)));
    for version in ["", "latest", "1", "[1,2]", "[0,)", "(,0)", "[9,)", "[1", "x y"] {
        let version = version.replace('[', "%5B").replace(' ', "%20").replace(']', "%5D");
        steps.push(get(format!("/connector-plugins/RegexRouter/config?version={version}")).like(Like::Shape));
    }
    steps
}

/// Every plugin in a configuration: as it should be, and with nothing that it needs.
pub(super) fn validation_of_every_plugin() -> Vec<Step> {
    let validate = |changes: Value| {
        let mut config = sink(&changes);
        config["name"] = "b".into();
        put(VALIDATE, &config).like(Like::Validation)
    };
    let with = |list: &str, alias: &str, class: String, props: &[(&str, &str)]| {
        let mut config = json!({});
        config[list] = alias.into();
        config[format!("{list}.{alias}.type")] = class.into();
        for (key, value) in props {
            config[format!("{list}.{alias}.{key}")] = (*value).into();
        }
        config
    };
    let mut steps = Vec::new();
    for (class, props) in ALL_TRANSFORMS {
        let class = format!("{TRANSFORMS}.{class}");
        steps.push(validate(with("transforms", "t", class.clone(), props)));
        // Where Java's check stumbles over what is missing it is wrong twice there, and once here: see DIFFERENCES.md.
        let stumbles = ["Cast", "HeaderFrom", "RegexRouter"].iter().any(|simple| class.contains(simple));
        let like = if stumbles { Like::Shape } else { Like::Validation };
        steps.push(validate(with("transforms", "t", class, &[])).like(like));
    }
    for (class, props) in PREDICATES {
        steps.push(validate(with("predicates", "p", format!("{TRANSFORMS}.predicates.{class}"), props)));
    }
    for class in CONNECTORS {
        let config =
            json!({"name": "b", "connector.class": class, "topics": "t", "file": " x ", "mock_mode": "none", "delay_ms": "x"});
        steps.push(put(format!("/connector-plugins/{class}/config/validate"), &config).like(Like::Validation));
    }
    for class in CONVERTERS {
        steps.push(validate(json!({"key.converter": class, "value.converter": class})));
        steps.push(validate(
            json!({"value.converter": class, "value.converter.schemas.enable": "maybe", "value.converter.x": "y"}),
        ));
    }
    steps
}
