//! What Java 4.3.1 answered to the same configurations, key by key, but where `runtime/DIFFERENCES.md` says otherwise.

use penstock_api::config::{Check, Importance, Width};
use penstock_api::{Connector, SinkConnector, SinkTask};

use super::*;
use crate::config::ConnectorConfig;
use crate::config::worker::tests::minimal;

const SINK: &str = "org.acme.FakeSinkConnector";
const MASK: &str = "org.acme.Mask$Value";
const NAMED: &str = "org.acme.Named";
const JSON: &str = "org.apache.kafka.connect.json.JsonConverter";

struct Fake;

#[penstock_api::async_trait]
impl Connector for Fake {
    async fn validate(&self, config: &Props) -> Vec<(String, String)> {
        let is_wrong = config.get("url").is_some_and(|u| u == "ftp");
        is_wrong.then(|| ("url".to_owned(), "url is ftp: give http".to_owned())).into_iter().collect()
    }

    async fn task_configs(&self, config: &Props, tasks_max: u32) -> Result<Vec<Props>> {
        Ok(self.same_for_all(config, tasks_max))
    }
}

impl SinkConnector for Fake {
    fn task(&self) -> Box<dyn SinkTask> {
        unreachable!("validation starts no task")
    }
}

fn registry() -> Registry {
    let plugin = |class: &str, keys: Vec<ConfigKey>, construct: Constructor| Plugin {
        class: class.into(),
        aliases: Vec::new(),
        version: "1.0".into(),
        config: Arc::new(ConfigDef::new(keys)),
        construct,
    };
    let never = || Error::fatal("validation makes no instance");
    let mut registry = Registry::new();
    registry.extend([
        plugin(
            SINK,
            vec![
                ConfigKey::nullable("url", ConfigType::String, ""),
                ConfigKey::nullable("password", ConfigType::Password, ""),
                ConfigKey::optional("retries", ConfigType::Int, "3", "").check(Check::Min(0.0)),
                ConfigKey::optional("topics", ConfigType::List, "", "declared again"),
            ],
            Constructor::Sink(Arc::new(|| Box::new(Fake))),
        ),
        plugin(
            MASK,
            vec![
                ConfigKey::optional("replacement", ConfigType::String, "", "").importance(Importance::Low),
                ConfigKey::required("fields", ConfigType::List, ""),
            ],
            Constructor::Transformation(Arc::new(move |_| Err(never()))),
        ),
        plugin(
            NAMED,
            vec![ConfigKey::required("pattern", ConfigType::String, "")],
            Constructor::Predicate(Arc::new(move |_| Err(never()))),
        ),
        plugin(
            JSON,
            vec![
                ConfigKey::optional("schemas.enable", ConfigType::Boolean, "true", "").shown("Schemas", 0, Width::Medium, ""),
                ConfigKey::optional("decimal.format", ConfigType::String, "BASE64", "")
                    .check(Check::OneOfIgnoreCase(vec!["BASE64".into(), "NUMERIC".into()])),
            ],
            Constructor::Converter(Arc::new(move |_, _| Err(never()))),
        ),
        plugin(
            "org.apache.kafka.connect.storage.SimpleHeaderConverter",
            Vec::new(),
            Constructor::HeaderConverter(Arc::new(move |_| Err(never()))),
        ),
    ]);
    registry
}

fn worker(extra: &[(&str, &str)]) -> WorkerConfig {
    let mut props = minimal();
    props.extend(extra.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())));
    WorkerConfig::new(&props).expect("good worker file")
}

fn config(extra: &[(&str, &str)]) -> RawConfig {
    let mut config: RawConfig =
        [("name", "a"), ("connector.class", SINK), ("topics", "t1")].map(|(k, v)| (k.to_owned(), Some(v.to_owned()))).into();
    for (key, value) in extra {
        match *value {
            "-" => drop(config.remove(*key)),
            value => drop(config.insert((*key).to_owned(), Some(value.to_owned()))),
        }
    }
    config
}

fn infos(config: &RawConfig, worker: &WorkerConfig) -> ConfigInfos {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("runtime");
    runtime.block_on(validate(config, &registry(), worker)).expect("a known connector")
}

fn errors(infos: &ConfigInfos) -> Vec<(&str, &str)> {
    infos.configs.iter().flat_map(|c| c.value.errors.iter().map(|e| (c.value.name.as_str(), e.as_str()))).collect()
}

/// `-` as a value takes the key away.
fn check(extra: &[(&str, &str)], expected: &[(&str, &str)]) {
    let infos = infos(&config(extra), &worker(&[]));
    assert_eq!(errors(&infos), expected, "{extra:?}");
    assert_eq!(infos.error_count, expected.len());
}

const NONE: &str = "Must configure one of topics or topics.regex";
const BOTH: &str = "topics and topics.regex are mutually exclusive options, but both are set.";

#[test]
fn common_keys() {
    check(&[], &[]);
    check(&[("connector.class", "FakeSink")], &[]);
    check(&[("name", "")], &[("name", "Invalid value  for configuration name: String may not be empty")]);
    check(
        &[("name", "a\u{1}b")],
        &[(
            "name",
            "Invalid value a\u{1}b for configuration name: String may not contain control sequences but had the following ASCII chars: 1",
        )],
    );
    check(
        &[("tasks.max", "1.5")],
        &[
            ("tasks.max", "Invalid value 1.5 for configuration tasks.max: Not a number of type INT"),
            ("tasks.max", "Invalid value null for configuration tasks.max: Value must be non-null"),
        ],
    );
    check(&[("tasks.max", "0")], &[("tasks.max", "Invalid value 0 for configuration tasks.max: Value must be at least 1")]);
    check(
        &[("errors.tolerance", "ALL")],
        &[("errors.tolerance", "Invalid value ALL for configuration errors.tolerance: String must be one of: none, all")],
    );
    check(&[("url", "ftp")], &[("url", "url is ftp: give http")]);
    check(
        &[("connector.plugin.version", "9")],
        &[
            (
                "connector.class",
                "Plugin org.acme.FakeSinkConnector has version 1.0 which does not match the required version range [9,9]",
            ),
            (
                "connector.plugin.version",
                "Plugin org.acme.FakeSinkConnector has version 1.0 which does not match the required version range [9,9]",
            ),
        ],
    );
}

#[test]
fn topics() {
    check(&[("topics", "-")], &[("topics", NONE), ("topics.regex", NONE)]);
    check(&[("topics", "")], &[("topics", NONE), ("topics.regex", NONE)]);
    check(&[("topics.regex", "x.*")], &[("topics", BOTH), ("topics.regex", BOTH)]);
    check(&[("topics", "-"), ("topics.regex", "x.*")], &[]);
    check(&[("topics", "a,a")], &[("topics", "Configuration 'topics' values must not be duplicated.")]);
    check(&[("topics", "a,,b")], &[("topics", "Configuration 'topics' values must not be empty.")]);
    let dlq = ("errors.deadletterqueue.topic.name", "t1");
    check(
        &[dlq],
        &[("topics", "The DLQ topic 't1' may not be included in the list of topics ('topics=[t1]') consumed by the connector")],
    );
    check(
        &[dlq, ("topics", "-"), ("topics.regex", "t.*")],
        &[(
            "topics.regex",
            "The DLQ topic 't1' may not be matched by the regex for the topics ('topics.regex=t.*') consumed by the connector",
        )],
    );
    check(&[dlq, ("topics", "-"), ("topics.regex", "t")], &[]);
    let infos = infos(&config(&[("topics", "-"), ("topics.regex", "(")]), &worker(&[]));
    assert!(errors(&infos)[0].1.starts_with("Invalid value ( for configuration topics.regex: Invalid regex: "), "{infos:?}");
}

#[test]
fn converters() {
    check(&[("key.converter", "JsonConverter")], &[]);
    check(
        &[("key.converter", "nope")],
        &[("key.converter", "Invalid value nope for configuration key.converter: Class nope could not be found.")],
    );
    check(
        &[("key.converter", NAMED)],
        &[("key.converter", "Class class org.acme.Named does not implement the Converter interface")],
    );
    check(
        &[("key.converter", JSON), ("key.converter.schemas.enable", "maybe")],
        &[(
            "key.converter.schemas.enable",
            "Invalid value maybe for configuration schemas.enable: Expected value to be either true or false",
        )],
    );
}

#[test]
fn transforms_and_predicates() {
    check(
        &[("transforms", "m")],
        &[("transforms.m.type", "Missing required configuration \"transforms.m.type\" which has no default value.")],
    );
    check(
        &[("transforms", "m"), ("transforms.m.type", "nope")],
        &[("transforms.m.type", "Invalid value nope for configuration transforms.m.type: Class nope could not be found.")],
    );
    check(
        &[("transforms", "m"), ("transforms.m.type", "org.acme.Mask")],
        &[("transforms.m.type", "This class is abstract and cannot be created. Did you mean org.acme.Mask$Value?")],
    );
    check(
        &[("transforms", "m,m"), ("transforms.m.type", MASK), ("transforms.m.fields", "x")],
        &[("transforms", "Invalid value [m, m] for configuration transforms: Duplicate alias provided.")],
    );
    check(
        &[("transforms", "m"), ("transforms.m.type", MASK)],
        &[("transforms.m.fields", "Missing required configuration \"transforms.m.fields\" which has no default value.")],
    );
    let masked = [("transforms", "m"), ("transforms.m.type", MASK), ("transforms.m.fields", "x")];
    let with = |extra: &[(&'static str, &'static str)], expected: &[(&str, &str)]| check(&[&masked, extra].concat(), expected);
    with(
        &[("transforms.m.negate", "true")],
        &[(
            "transforms.m.type",
            "Config 'transforms.m.negate' was provided but there is no config 'transforms.m.predicate' defining a predicate to be negated.",
        )],
    );
    with(
        &[("transforms.m.predicate", "p")],
        &[(
            "transforms.m.predicate",
            "Invalid value p for configuration transforms.m.predicate: there is no such alias in predicates",
        )],
    );
    let predicate = [("transforms.m.predicate", "p"), ("predicates", "p"), ("predicates.p.type", NAMED)];
    with(&[&predicate[..], &[("predicates.p.pattern", "x")]].concat(), &[]);
    check(
        &[("predicates", "p"), ("predicates.p.type", MASK)],
        &[("predicates.p.type", "Class class org.acme.Mask$Value does not implement the Predicate interface")],
    );
}

#[test]
fn overrides_and_groups() {
    check(
        &[("consumer.override.group.id", "test")],
        &[("consumer.override.group.id", "Consumer group test conflicts with Connect worker group test")],
    );
    let none = worker(&[("connector.client.config.override.policy", "None"), ("group.id", "connect-a")]);
    let refused = infos(&config(&[("consumer.override.sasl.jaas.config", "secret"), ("consumer.override.group.id", "g")]), &none);
    let expected =
        |setting: &str| format!("The 'None' policy does not allow '{setting}' to be overridden in the connector configuration.");
    assert_eq!(
        errors(&refused),
        [
            ("consumer.override.group.id", expected("group.id").as_str()),
            ("consumer.override.sasl.jaas.config", expected("sasl.jaas.config").as_str())
        ]
    );
    assert!(!serde_json::to_string(&refused).expect("json").contains("secret"));
    let infos = infos(&config(&[]), &none);
    assert_eq!(
        errors(&infos),
        [("name", "Consumer group for sink connector named a conflicts with Connect worker group connect-a")]
    );
}

#[test]
fn the_answer_has_connects_shape() {
    let mut config =
        config(&[("password", "s3cret"), ("transforms", "m"), ("transforms.m.type", MASK), ("transforms.m.fields", " x , y")]);
    config.insert("tasks.max".into(), None);
    let infos = infos(&config, &worker(&[]));
    assert_eq!(infos.name, SINK);
    assert_eq!(infos.groups, ["Common", "Transforms", "Predicates", "Error Handling", "Transforms: m"]);
    let null = "Invalid value null for configuration tasks.max: Value must be non-null";
    assert_eq!(
        errors(&infos),
        [("tasks.max", null), ("tasks.max", "Null value can not be supplied as the configuration value.")]
    );
    let json = serde_json::to_value(&infos).expect("json");
    let find =
        |name: &str| json["configs"].as_array().expect("list").iter().find(|c| c["value"]["name"] == name).expect(name).clone();
    assert_eq!(find("password")["value"]["value"], "[hidden]");
    assert_eq!(find("transforms.m.fields")["value"]["value"], "x,y");
    assert_eq!(find("transforms.m.fields")["definition"]["order_in_group"], 2);
    assert_eq!(find("transforms.m.negate")["definition"]["order_in_group"], 3);
    assert_eq!(find("key.converter")["value"]["recommended_values"], serde_json::json!([JSON]));
    let keys = |value: &serde_json::Value| value.as_object().expect("object").keys().cloned().collect::<Vec<_>>().join(" ");
    let name = find("name");
    assert_eq!(
        keys(&name["definition"]),
        "name type required default_value importance documentation group order_in_group width display_name dependents"
    );
    assert_eq!(keys(&name["value"]), "name value recommended_values errors visible");
    assert_eq!(json["configs"].as_array().expect("list").iter().filter(|c| c["value"]["name"] == "topics").count(), 1);
}

#[test]
fn variables_are_checked_resolved_and_shown_unresolved() {
    let worker = worker(&[
        ("config.providers", "env"),
        ("config.providers.env.class", "org.apache.kafka.common.config.provider.EnvVarConfigProvider"),
    ]);
    let good = infos(&config(&[("url", "${env:PATH}")]), &worker);
    assert_eq!(good.error_count, 0);
    let shown = good.configs.iter().find(|c| c.value.name == "url").and_then(|c| c.value.value.clone());
    assert_eq!(shown.as_deref(), Some("${env:PATH}"));
    let bad = infos(&config(&[("tasks.max", "${env:PATH}"), ("url", "${env:NO_SUCH_THING}")]), &worker);
    assert_eq!(errors(&bad)[0].1, "Invalid value ${env:PATH} for configuration tasks.max: Not a number of type INT");
    assert!(bad.configs.iter().any(|c| c.value.name == "url" && c.value.errors[0].contains("${env:NO_SUCH_THING}")));
}

/// A key of the connector's own lost its definition, and with it its place on a form.
#[test]
fn null_is_refused_and_leaves_the_definition() {
    const NULL: &str = "Null value can not be supplied as the configuration value.";
    let mut config = config(&[]);
    for key in ["url", "retries", "nothing.known"] {
        config.insert(key.into(), None);
    }
    let found = infos(&config, &worker(&[]));
    let least = "Invalid value null for configuration retries: Value must be non-null";
    assert_eq!(errors(&found), [("nothing.known", NULL), ("url", NULL), ("retries", least), ("retries", NULL)]);
    for (key, is_defined) in [("retries", true), ("url", true), ("nothing.known", false)] {
        let of_key: Vec<_> = found.configs.iter().filter(|c| c.value.name == key).collect();
        assert_eq!(of_key.len(), 1, "{key}");
        assert_eq!((of_key[0].definition.is_some(), &of_key[0].value.value), (is_defined, &None), "{key}");
    }
}

#[test]
fn without_a_known_class_nothing_is_said_by_key() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("runtime");
    let fails = |config: &RawConfig| {
        let result = runtime.block_on(validate(config, &registry(), &worker(&[])));
        result.expect_err("refused").message().to_owned()
    };
    assert_eq!(fails(&config(&[("connector.class", "-")])), "Connector config {name=a, topics=t1} contains no connector type");
    assert_eq!(
        fails(&config(&[("connector.class", "nope")])),
        "Failed to find any class that implements Connector and which name matches nope, available connectors are: org.acme.FakeSinkConnector"
    );
}

#[test]
fn typed_settings_are_layered() {
    let worker = worker(&[
        ("security.protocol", "SSL"),
        ("ssl.truststore.location", "/ca.pem"),
        ("consumer.max.poll.records", "5"),
        ("consumer.fetch.min.bytes", "1"),
        ("key.converter.schemas.enable", "false"),
    ]);
    let props: Props = config(&[
        ("consumer.override.max.poll.records", "7"),
        ("producer.override.bootstrap.servers", "other:9092"),
        ("value.converter", "JsonConverter"),
        ("value.converter.decimal.format", "numeric"),
        ("transforms", "m"),
        ("transforms.m.type", MASK),
        ("transforms.m.fields", "x"),
        ("transforms.m.predicate", "p"),
        ("transforms.m.negate", "TRUE"),
        ("predicates", "p"),
        ("predicates.p.type", NAMED),
        ("predicates.p.pattern", "x"),
        ("errors.retry.timeout", "-1"),
        ("errors.deadletterqueue.topic.name", "dlq"),
    ])
    .into_iter()
    .filter_map(|(k, v)| Some((k, v?)))
    .collect();
    let typed = ConnectorConfig::new(&props, &registry(), &worker).expect("good");
    assert_eq!(typed.consumer["max.poll.records"], "7");
    assert_eq!(typed.consumer["fetch.min.bytes"], "1");
    assert_eq!(typed.consumer["group.id"], "connect-a");
    assert_eq!(typed.consumer["security.protocol"], "SSL");
    assert_eq!(typed.producer["bootstrap.servers"], "other:9092");
    assert!(!typed.producer.keys().any(|k| k.starts_with("ssl.") || k.starts_with("security.")));
    assert_eq!(typed.key_converter.props["schemas.enable"], "false");
    assert_eq!(typed.value_converter.props, [("decimal.format".to_owned(), "numeric".to_owned())].into());
    assert_eq!(&*typed.value_converter.class, JSON);
    let [step] = typed.transforms.as_slice() else { panic!("one transform") };
    assert_eq!((step.predicate, step.negate), (Some(0), true));
    assert_eq!(step.used.props, [("fields".to_owned(), "x".to_owned())].into());
    assert_eq!(typed.errors.retry_timeout, None);
    assert_eq!(typed.errors.dead_letters.map(|d| (d.topic, d.replication_factor)), Some(("dlq".to_owned(), 3)));

    let refused = ConnectorConfig::new(&Props::from([("connector.class".to_owned(), SINK.to_owned())]), &registry(), &worker);
    let message = refused.err().expect("no name, no topics").message().to_owned();
    assert!(
        message.starts_with("Connector configuration is invalid and contains the following 3 error(s):\nMissing required"),
        "{message}"
    );
}
