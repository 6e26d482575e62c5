//! The Avro converter's keys, and what they say.

use penstock_api::config::{Check, Parsed};
use penstock_api::{ConfigDef, ConfigKey, ConfigType, Error, Importance, Props, Result};

use super::mapping::Options;
use crate::converters::registry::{Login, RegistryConfig};

/// The typed configuration.
pub(super) struct AvroConfig {
    pub(super) registry: RegistryConfig,
    pub(super) options: Options,
    /// At most so many schemas are remembered.
    pub(super) schemas_max: usize,
    pub(super) write: Write,
}

/// How schemas for writing get their ids.
#[derive(Clone, Copy, Debug)]
pub(super) struct Write {
    pub(super) strategy: Strategy,
    pub(super) auto_register: bool,
    pub(super) use_latest: bool,
}

/// How subjects are called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Strategy {
    Topic,
    Record,
    TopicRecord,
}

const STRATEGY_TOPIC: &str = "io.confluent.kafka.serializers.subject.TopicNameStrategy";

/// Accepted for Java's sake: their defaults are what this converter does.
const FIXED: &[(&str, ConfigType, &str)] = &[
    ("normalize.schemas", ConfigType::Boolean, "false"),
    ("use.schema.id", ConfigType::Int, "-1"),
    ("id.compatibility.strict", ConfigType::Boolean, "true"),
    ("latest.compatibility.strict", ConfigType::Boolean, "true"),
    ("max.schemas.per.subject", ConfigType::Int, "1000"),
    ("generalized.sum.type.support", ConfigType::Boolean, "false"),
    ("ignore.default.for.nullables", ConfigType::Boolean, "false"),
    ("discard.type.doc.default", ConfigType::Boolean, "false"),
    ("allow.optional.map.keys", ConfigType::Boolean, "false"),
    ("flatten.singleton.unions", ConfigType::Boolean, "false"),
    ("scrub.invalid.names", ConfigType::Boolean, "false"),
];

/// The keys.
pub(super) fn definition() -> ConfigDef {
    let part = |part: &str| {
        let doc =
            format!("How the subject of {part}s is called: TopicNameStrategy, RecordNameStrategy or TopicRecordNameStrategy.");
        ConfigKey::optional(format!("{part}.subject.name.strategy"), ConfigType::Class, STRATEGY_TOPIC, doc)
            .check(Check::Custom(|class| strategy(class).map(drop)))
    };
    let mut def = ConfigDef::new([
        ConfigKey::required(
            "schema.registry.url",
            ConfigType::List,
            "URLs of the Schema Registry, asked in turn until one answers. A path belongs to it: http://host/apis/ccompat/v7.",
        )
        .check(Check::Custom(urls)),
        ConfigKey::optional(
            "basic.auth.credentials.source",
            ConfigType::String,
            "URL",
            "Where user and password stand: URL, in schema.registry.url; USER_INFO, in basic.auth.user.info.",
        )
        .check(Check::OneOf(vec!["URL".into(), "USER_INFO".into(), "SASL_INHERIT".into()])),
        ConfigKey::nullable("basic.auth.user.info", ConfigType::Password, "user:password, for the source USER_INFO."),
        ConfigKey::nullable(
            "schema.registry.basic.auth.user.info",
            ConfigType::Password,
            "An older name of basic.auth.user.info.",
        ),
        ConfigKey::nullable("bearer.auth.credentials.source", ConfigType::String, "STATIC_TOKEN: log in by bearer.auth.token.")
            .check(Check::OneOf(vec!["STATIC_TOKEN".into()])),
        ConfigKey::nullable("bearer.auth.token", ConfigType::Password, "The token for the source STATIC_TOKEN."),
        part("key"),
        part("value"),
        ConfigKey::optional(
            "auto.register.schemas",
            ConfigType::Boolean,
            "true",
            "Whether unknown schemas are registered on writing.",
        ),
        ConfigKey::optional(
            "use.latest.version",
            ConfigType::Boolean,
            "false",
            "Whether the subject's latest schema is used for writing; takes effect with auto.register.schemas=false.",
        ),
        ConfigKey::optional("schemas.cache.config", ConfigType::Int, "1000", "How many schemas are remembered.")
            .check(Check::Min(1.0)),
        ConfigKey::nullable("schemas.cache.size", ConfigType::Int, "Another name of schemas.cache.config."),
        ConfigKey::optional(
            "http.read.timeout.ms",
            ConfigType::Int,
            "10000",
            "How long the Schema Registry may take for an answer, in milliseconds.",
        )
        .check(Check::Min(1.0)),
        ConfigKey::optional(
            "enhanced.avro.schema.support",
            ConfigType::Boolean,
            "false",
            "Whether enums are written back as enums, and fields of unions are called by full names.",
        ),
        ConfigKey::optional(
            "connect.meta.data",
            ConfigType::Boolean,
            "true",
            "Whether Connect's docs, versions, parameters, defaults and names are kept in the Avro schema, and read from it.",
        ),
    ]);
    for (name, kind, default) in FIXED {
        let doc = format!("Known from Java's converter. Only its default, {default}, has an effect here.");
        def.add(ConfigKey::optional(*name, *kind, *default, doc).importance(Importance::Low));
    }
    def
}

impl AvroConfig {
    /// Reads the properties of a converter for keys or values.
    pub(super) fn new(props: &Props, part: &str) -> Result<Self> {
        let definition = definition();
        let parsed = definition.parse(props)?;
        for (name, _, default) in FIXED {
            let given = parsed.text(name).unwrap_or(default);
            if !given.eq_ignore_ascii_case(default) {
                tracing::warn!(
                    key = name,
                    value = given,
                    "this key of the Avro converter has no effect but by its default, {default}"
                );
            }
        }
        for key in props.keys().filter(|key| key.starts_with("schema.registry.ssl.")) {
            tracing::warn!(
                key,
                "this key of the Avro converter has no effect yet: a registry needs a certificate that is trusted as it is"
            );
        }
        let strategy = strategy(parsed.string(&format!("{part}.subject.name.strategy"))).map_err(Error::config)?;
        let schemas_max = parsed.text("schemas.cache.size").and_then(|n| n.parse().ok());
        let (urls, login) = login(&parsed)?;
        Ok(Self {
            registry: RegistryConfig { urls, login, timeout: parsed.millis("http.read.timeout.ms") },
            options: Options {
                enhanced: parsed.boolean("enhanced.avro.schema.support"),
                meta_data: parsed.boolean("connect.meta.data"),
            },
            schemas_max: schemas_max.unwrap_or_else(|| parsed.number("schemas.cache.config")),
            write: Write {
                strategy,
                auto_register: parsed.boolean("auto.register.schemas"),
                use_latest: parsed.boolean("use.latest.version"),
            },
        })
    }
}

/// The URLs, without what stands in them about the user, and the login.
fn login(parsed: &Parsed) -> Result<(Vec<String>, Login)> {
    let mut bare = Vec::new();
    let mut in_url = None;
    for text in parsed.list("schema.registry.url") {
        let mut url = url::Url::parse(&text).map_err(|why| Error::config(format!("schema.registry.url {text}: {why}")))?;
        if !url.username().is_empty() {
            in_url.get_or_insert((decoded(url.username()), decoded(url.password().unwrap_or_default())));
            // Fails only for URLs that cannot have a user, and this one had one.
            url.set_username("").and_then(|()| url.set_password(None)).map_err(|()| Error::config("schema.registry.url"))?;
        }
        bare.push(url.as_str().trim_end_matches('/').to_owned());
    }
    let user_info = parsed.text("basic.auth.user.info").or(parsed.text("schema.registry.basic.auth.user.info"));
    let login = match (parsed.text("bearer.auth.credentials.source"), parsed.string("basic.auth.credentials.source")) {
        (Some(_), _) => Login::Bearer(
            parsed
                .text("bearer.auth.token")
                .ok_or_else(|| Error::config("bearer.auth.token is missing: STATIC_TOKEN needs it"))?
                .into(),
        ),
        (None, "USER_INFO") => {
            let text = user_info.ok_or_else(|| Error::config("basic.auth.user.info is missing: USER_INFO needs it"))?;
            let Some((user, password)) = text.split_once(':') else {
                return Err(Error::config("basic.auth.user.info has no colon: give user:password"));
            };
            Login::Basic { user: user.into(), password: password.into() }
        }
        (None, "SASL_INHERIT") => {
            return Err(Error::config("basic.auth.credentials.source SASL_INHERIT is not supported: give USER_INFO"));
        }
        (None, _) => in_url.map_or(Login::None, |(user, password)| Login::Basic { user, password }),
    };
    Ok((bare, login))
}

fn decoded(percent: &str) -> String {
    let pairs = format!("x={}", percent.replace('+', "%2B"));
    url::form_urlencoded::parse(pairs.as_bytes()).next().map(|(_, text)| text.into_owned()).unwrap_or_default()
}

fn urls(text: &str) -> Result<(), String> {
    let list = penstock_api::config::split_list(text);
    if list.is_empty() {
        return Err("give the URL of the Schema Registry".into());
    }
    for item in list {
        let url = url::Url::parse(&item).map_err(|why| format!("{why} (an example: http://localhost:8081)"))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(format!("{} is not supported: give http or https", url.scheme()));
        }
    }
    Ok(())
}

fn strategy(class: &str) -> Result<Strategy, String> {
    match class.rsplit('.').next().unwrap_or(class) {
        "TopicNameStrategy" => Ok(Strategy::Topic),
        "RecordNameStrategy" => Ok(Strategy::Record),
        "TopicRecordNameStrategy" => Ok(Strategy::TopicRecord),
        _ => Err("give TopicNameStrategy, RecordNameStrategy or TopicRecordNameStrategy".into()),
    }
}
