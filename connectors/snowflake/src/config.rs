//! The properties: Snowflake's own names where there is one, typed once, and a word about those that do nothing here.

use std::sync::Arc;
use std::time::Duration;

use penstock_api::config::{Check, ConfigDef, ConfigKey, ConfigType, Importance, Width};
use penstock_api::{Error, Props, Result};
use url::Url;

use crate::names::{Ident, TableName, TopicMap};

/// Everything a task needs to know, read once.
#[derive(Debug)]
pub struct Config {
    /// The connector's name; it is part of the key of every row in the offsets table, and of every file name.
    pub connector: Arc<str>,
    pub account: Account,
    pub database: Ident,
    pub schema: Ident,
    pub topics: TopicMap,
    /// Make table names valid and upper-case, as version 3 did.
    pub sanitize_tables: bool,
    /// Read field names as unquoted identifiers, as version 3 did.
    pub normalize_columns: bool,
    /// A column for each field; otherwise all of a value in `RECORD_CONTENT`.
    pub schematize: bool,
    pub create_tables: bool,
    pub evolution: Evolution,
    /// Tombstones leave no row.
    pub skip_nulls: bool,
    pub metadata: Metadata,
    pub flush: Flush,
    pub stage: Stage,
    /// Fail when Snowflake refuses a role or key in the middle of the work; otherwise wait for it to be mended.
    pub fail_on_authorization: bool,
    pub topic_recreated: TopicRecreated,
}

/// Where to log in, and as whom.
#[derive(Clone)]
pub struct Account {
    pub url: Url,
    /// As key-pair tokens and log-ins name it: upper-case, without region.
    pub name: String,
    pub user: String,
    pub role: Option<String>,
    pub warehouse: Option<String>,
    /// As users gave it: quoted or not.
    pub database: String,
    pub schema: String,
    pub login: Login,
    pub request_timeout: Duration,
}

/// How to prove it.
#[derive(Clone)]
pub enum Login {
    KeyPair { key: String, passphrase: Option<String> },
    Password(String),
}

/// Who may change tables when records have fields that they have not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evolution {
    /// Tables with `ENABLE_SCHEMA_EVOLUTION`, and those made here.
    Table,
    Always,
    Never,
}

/// What goes into `RECORD_METADATA`.
#[derive(Clone, Copy, Debug)]
pub struct Metadata {
    pub all: bool,
    pub create_time: bool,
    pub topic: bool,
    pub offset_and_partition: bool,
    pub push_time: bool,
    pub structured_headers: bool,
}

/// When a partition's rows are loaded, and what may wait in memory.
#[derive(Clone, Copy, Debug)]
pub struct Flush {
    pub rows_max: usize,
    pub bytes_max: usize,
    pub age_max: Duration,
    /// Of all partitions of a task together; beyond it the fullest are loaded early.
    pub task_bytes_max: usize,
    /// Loads of one task that run at the same time, each in its own session.
    pub loads_max: usize,
}

/// Where files are put for COPY.
#[derive(Clone, Debug)]
pub struct Stage {
    pub name: TableName,
    /// Made here, with server-side encryption only; otherwise the user's.
    pub create: bool,
}

/// What to do when a topic's offsets begin below what is loaded already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TopicRecreated {
    Fail,
    Skip,
}

const CONNECTION: &str = "Connection";
const TABLES: &str = "Tables";
const ROWS: &str = "Rows";
const LOADING: &str = "Loading";
const NO_EFFECT: &str = "Without effect";

/// The name of the table that holds the offsets, in the connector's schema.
pub const OFFSETS_TABLE: &str = "_PENSTOCK_OFFSETS";
/// The name of the stage that is made when none is given.
pub const STAGE: &str = "_PENSTOCK_STAGE";
const V3_CLASS: &str = "com.snowflake.kafka.connector.SnowflakeSinkConnector";

/// All keys.
#[must_use]
pub fn definition() -> ConfigDef {
    let mut def = ConfigDef::default();
    for (group, keys) in [
        (CONNECTION, connection_keys()),
        (TABLES, table_keys()),
        (ROWS, row_keys()),
        (LOADING, loading_keys()),
        (NO_EFFECT, ineffective_keys()),
    ] {
        for (at, key) in (1..).zip(keys) {
            let shown = key.name.clone();
            def.add(key.shown(group, at, Width::Medium, &shown));
        }
    }
    def
}

fn text(name: &str, default: &str, doc: &str) -> ConfigKey {
    ConfigKey::optional(name, ConfigType::String, default, doc)
}

fn flag(name: &str, default: bool, doc: &str) -> ConfigKey {
    ConfigKey::optional(name, ConfigType::Boolean, default.to_string(), doc)
}

fn choice(name: &str, default: &str, of: &[&str], doc: &str) -> ConfigKey {
    text(name, default, doc).check(Check::OneOfIgnoreCase(of.iter().map(|&v| v.to_owned()).collect()))
}

fn number(name: &str, default: u64, min: f64, doc: &str) -> ConfigKey {
    ConfigKey::optional(name, ConfigType::Long, default.to_string(), doc).check(Check::Min(min))
}

fn connection_keys() -> Vec<ConfigKey> {
    vec![
        ConfigKey::required(
            "snowflake.url.name",
            ConfigType::String,
            "The account's URL: [https://]ACCOUNT[.REGION].snowflakecomputing.com[:443].",
        )
        .check(Check::Custom(|url| parse_url(url).map(|_| ()))),
        ConfigKey::required("snowflake.user.name", ConfigType::String, "The user to log in as.").check(Check::NonEmpty),
        ConfigKey::nullable("snowflake.role.name", ConfigType::String, "The role to work in; the user's default role otherwise."),
        ConfigKey::required("snowflake.database.name", ConfigType::String, "The database of the tables.").check(Check::NonEmpty),
        ConfigKey::required("snowflake.schema.name", ConfigType::String, "The schema of the tables.").check(Check::NonEmpty),
        ConfigKey::nullable(
            "snowflake.warehouse.name",
            ConfigType::String,
            "The warehouse that runs COPY; the user's default warehouse otherwise.",
        ),
        choice(
            "snowflake.authenticator",
            "snowflake_jwt",
            &["snowflake_jwt", "snowflake"],
            "How to log in: snowflake_jwt with a key pair, snowflake with a password.",
        ),
        ConfigKey::nullable(
            "snowflake.private.key",
            ConfigType::Password,
            "The user's private key, PKCS#8: the PEM text, or its body alone in one line.",
        ),
        ConfigKey::nullable("snowflake.private.key.passphrase", ConfigType::Password, "What decrypts an encrypted private key."),
        ConfigKey::nullable(
            "snowflake.password",
            ConfigType::Password,
            "The user's password, for snowflake.authenticator=snowflake.",
        ),
        ConfigKey::nullable(
            "snowflake.account.name",
            ConfigType::String,
            "The account, where the URL does not begin with it (private links, test servers).",
        )
        .importance(Importance::Low),
        number(
            "snowflake.request.timeout.ms",
            120_000,
            1_000.0,
            "How long one HTTP request may take. Statements that take longer are polled for.",
        )
        .importance(Importance::Low),
        flag(
            "enable.task.fail.on.authorization.errors",
            false,
            "Fail the task when Snowflake refuses the user or role in the middle of the work; otherwise try again until it is mended.",
        ),
    ]
}

fn table_keys() -> Vec<ConfigKey> {
    vec![
        text(
            "snowflake.topic2table.map",
            "",
            "topic:table,... The topic side is a regular expression for the whole name. Tables are upper-cased unless quoted.",
        )
        .check(Check::Custom(|map| TopicMap::parse(map, false).map(|_| ()))),
        flag(
            "snowflake.topic2table.map.regex.replacement",
            false,
            "Let the table side use groups of the topic side: $1, ${name}.",
        ),
        ConfigKey::nullable(
            "snowflake.enable.schematization",
            ConfigType::Boolean,
            "A column for each field (true, the default), or RECORD_CONTENT for all of the value (false, the default of version 3's class).",
        ),
        ConfigKey::nullable(
            "snowflake.compatibility.enable.autogenerated.table.name.sanitization",
            ConfigType::Boolean,
            "Make the names of tables valid and upper-case, as version 3 did (true for its class); otherwise a table is named like its topic.",
        ),
        ConfigKey::nullable(
            "snowflake.compatibility.enable.column.identifier.normalization",
            ConfigType::Boolean,
            "Read field names as unquoted identifiers, so upper-case, as version 3 did (true for its class); otherwise take them as they are.",
        ),
        choice(
            "snowflake.autocreate.table.type",
            "snowflake",
            &["snowflake", "none"],
            "Make missing tables (snowflake), or fail when one is missing (none).",
        ),
        choice(
            "penstock.snowflake.schema.evolution",
            "table",
            &["table", "always", "never"],
            "Which tables get new columns: those with ENABLE_SCHEMA_EVOLUTION (table), all, or none.",
        ),
    ]
}

fn row_keys() -> Vec<ConfigKey> {
    vec![
        choice(
            "behavior.on.null.values",
            "DEFAULT",
            &["DEFAULT", "IGNORE"],
            "Tombstones become rows with metadata only (DEFAULT), or no row (IGNORE). Either way they count as delivered.",
        ),
        flag("snowflake.metadata.all", true, "Write RECORD_METADATA at all."),
        flag("snowflake.metadata.createtime", true, "Write the record's timestamp into RECORD_METADATA."),
        flag("snowflake.metadata.topic", true, "Write the topic into RECORD_METADATA."),
        flag("snowflake.metadata.offset.and.partition", true, "Write offset and partition into RECORD_METADATA."),
        flag("snowflake.streaming.metadata.connectorPushTime", true, "Write SnowflakeConnectorPushTime into RECORD_METADATA."),
        flag("snowflake.feature.structured.headers", false, "Keep the JSON types of header values; otherwise all are strings."),
    ]
}

fn loading_keys() -> Vec<ConfigKey> {
    vec![
        choice("penstock.snowflake.mode", "stage_copy", &["stage_copy"], "How rows get in: Parquet files, PUT and COPY INTO."),
        number("buffer.count.records", 250_000, 1.0, "Load a partition when so many rows wait."),
        number("buffer.size.bytes", 67_108_864, 1.0, "Load a partition when its rows take so many bytes, before compression."),
        number("buffer.flush.time", 120, 1.0, "Load a partition when its oldest row has waited so many seconds."),
        number(
            "penstock.snowflake.task.buffer.bytes",
            268_435_456,
            1_048_576.0,
            "The memory that waiting rows of all partitions of a task may take; beyond it the fullest are loaded early.",
        ),
        ConfigKey::optional(
            "penstock.snowflake.task.loads",
            ConfigType::Int,
            "2",
            "How many loads of one task run at the same time, each in a session of its own.",
        )
        .check(Check::Range(1.0, 16.0)),
        ConfigKey::nullable(
            "penstock.snowflake.stage",
            ConfigType::String,
            "An internal stage that exists, [database.[schema.]]name; otherwise one with server-side encryption is made.",
        ),
        choice(
            "penstock.snowflake.topic.recreated",
            "fail",
            &["fail", "skip"],
            "When Kafka delivers offsets below those loaded already (a topic made anew, offsets reset): fail, or skip those records.",
        ),
    ]
}

/// Official properties that change nothing here, each with the reason that is logged.
const INEFFECTIVE: &[(&str, &str)] = &[
    ("snowflake.ingestion.method", "rows go in by stage and COPY (penstock.snowflake.mode)"),
    ("snowflake.validation", "values are always checked against the table before they are loaded"),
    ("snowflake.streaming.validate.compatibility.with.classic", "there is no classic mode to be compatible with"),
    ("snowflake.streaming.classic.offset.migration", "offsets stand in a table, not in channels"),
    ("snowflake.streaming.classic.offset.migration.include.connector.name", "offsets stand in a table, not in channels"),
    ("snowflake.streaming.client.provider.override.map", "Snowflake's streaming SDK is not used"),
    ("snowflake.streaming.enable.single.buffer", "there is one buffer only"),
    ("snowflake.streaming.max.client.lag", "buffer.flush.time says when rows are loaded"),
    ("snowflake.streaming.max.memory.limit.bytes", "penstock.snowflake.task.buffer.bytes bounds the memory"),
    ("snowflake.streaming.iceberg.enabled", "Iceberg tables are not made here; existing ones are loaded like others"),
    ("snowflake.iceberg.create.table.options", "Iceberg tables are not made here"),
    ("snowflake.open.channel.io.threads", "there are no channels to open"),
    ("snowflake.cache.table.exists", "tables are looked at once and again when a load is refused"),
    ("snowflake.cache.table.exists.expire.ms", "tables are looked at once and again when a load is refused"),
    ("snowflake.cache.pipe.exists", "no pipes are used"),
    ("snowflake.cache.pipe.exists.expire.ms", "no pipes are used"),
    ("snowflake.streaming.metrics.prometheus.enable", "the worker serves its own metrics"),
    ("snowflake.streaming.metrics.prometheus.host", "the worker serves its own metrics"),
    ("snowflake.streaming.metrics.prometheus.port", "the worker serves its own metrics"),
    ("jmx", "there is no JVM; the worker serves its own metrics"),
    ("enable.mdc.logging", "log lines always name connector and task"),
    ("snowflake.jdbc.map", "JDBC is not used"),
    ("jvm.proxy.host", "there is no JVM; set HTTPS_PROXY for the worker"),
    ("jvm.proxy.port", "there is no JVM; set HTTPS_PROXY for the worker"),
    ("jvm.nonProxy.hosts", "there is no JVM; set NO_PROXY for the worker"),
    ("jvm.proxy.username", "there is no JVM; set HTTPS_PROXY for the worker"),
    ("jvm.proxy.password", "there is no JVM; set HTTPS_PROXY for the worker"),
    ("enable.streaming.client.optimization", "Snowflake's streaming SDK is not used"),
    ("snowflake.streaming.closeChannelsInParallel.enabled", "there are no channels"),
    ("enable.streaming.channel.offset.migration", "there are no channels"),
    ("enable.streaming.channel.offset.verification", "there are no channels"),
    (
        "snowflake.streaming.channel.name.include.connector.name",
        "there are no channels; the connector's name is always part of the key",
    ),
    ("snowflake.snowpipe.v2CleanerEnabled", "files are removed by the COPY that loads them"),
    ("snowflake.snowpipe.v2CleanerThreads", "files are removed by the COPY that loads them"),
    ("snowflake.snowpipe.v2CleanerIntervalSeconds", "files are removed by the COPY that loads them"),
    ("snowflake.snowpipe.stageFileNameExtensionEnabled", "file names are .parquet"),
    ("provider", "it is for Snowflake's statistics"),
];

/// Refused by name: staying silent would break what the user asked for.
const REFUSED: &[(&str, &str)] = &[
    ("snowflake.oauth.client.id", "OAuth is not supported: use a key pair (snowflake.private.key)"),
    ("snowflake.oauth.refresh.token", "OAuth is not supported: use a key pair (snowflake.private.key)"),
];

fn ineffective_keys() -> Vec<ConfigKey> {
    INEFFECTIVE
        .iter()
        .map(|(name, why)| {
            let kind = if name.ends_with("password") { ConfigType::Password } else { ConfigType::String };
            ConfigKey::nullable(*name, kind, format!("Accepted, without effect: {why}.")).importance(Importance::Low)
        })
        .collect()
}

/// The properties given that change nothing, each with the reason.
pub fn ineffective(props: &Props) -> impl Iterator<Item = (&'static str, &'static str)> {
    INEFFECTIVE.iter().filter(|(key, _)| props.contains_key(*key)).copied()
}

/// What is wrong between keys, or cannot be said key by key: (key, message) pairs.
#[must_use]
pub fn check(props: &Props) -> Vec<(String, String)> {
    let mut errors = Vec::new();
    let mut wrong = |key: &str, message: String| errors.push((key.to_owned(), message));
    let given = |key: &str| props.get(key).is_some_and(|v| !v.trim().is_empty());
    let value = |key: &str, default: &str| props.get(key).map_or(default, |v| v.trim()).to_ascii_lowercase();

    for (key, why) in REFUSED.iter().filter(|(key, _)| given(key)) {
        wrong(key, (*why).to_owned());
    }
    if value("snowflake.authenticator", "snowflake_jwt") == "snowflake" {
        if !given("snowflake.password") {
            wrong("snowflake.password", "snowflake.authenticator=snowflake needs `snowflake.password`".into());
        }
    } else {
        match props.get("snowflake.private.key").filter(|k| !k.trim().is_empty()) {
            None => wrong("snowflake.private.key", "logging in with a key pair needs `snowflake.private.key`".into()),
            Some(key) => {
                let passphrase = props.get("snowflake.private.key.passphrase").map(String::as_str);
                if let Err(why) = crate::auth::private_key(key, passphrase) {
                    wrong("snowflake.private.key", why.message().to_owned());
                }
            }
        }
    }
    if let Some(url) = props.get("snowflake.url.name").and_then(|url| parse_url(url).ok())
        && account_of(&url).is_none()
        && !given("snowflake.account.name")
    {
        wrong("snowflake.account.name", format!("`{url}` does not begin with an account's name: give `snowflake.account.name`"));
    }
    let expand = value("snowflake.topic2table.map.regex.replacement", "false") == "true";
    if let Some(Err(why)) = props.get("snowflake.topic2table.map").map(|map| TopicMap::parse(map, expand)) {
        wrong("snowflake.topic2table.map", why);
    }
    errors
}

impl Config {
    /// Reads and checks all of it.
    ///
    /// # Errors
    /// `Config`, naming the key.
    pub fn read(props: &Props) -> Result<Self> {
        let parsed = definition().parse(props)?;
        if let Some((key, why)) = check(props).into_iter().next() {
            return Err(Error::config(format!("`{key}`: {why}")));
        }
        let connector = props.get("name").map(|n| n.trim()).filter(|n| !n.is_empty());
        let connector = connector.ok_or_else(|| Error::config("`name` is missing: the connector needs one"))?;
        let is_v3 = props.get("connector.class").is_some_and(|class| class.trim() == V3_CLASS);
        let flag = |key: &str, v4: bool, v3: bool| match parsed.text(key) {
            Some(text) => text.eq_ignore_ascii_case("true"),
            None if is_v3 => v3,
            None => v4,
        };
        let given = |key: &str| parsed.text(key).filter(|t| !t.is_empty()).map(str::to_owned);
        let is = |key: &str, value: &str| parsed.string(key).eq_ignore_ascii_case(value);
        let url =
            parse_url(parsed.string("snowflake.url.name")).map_err(|e| Error::config(format!("`snowflake.url.name`: {e}")))?;
        let account_name = given("snowflake.account.name").or_else(|| account_of(&url)).expect("checked above");
        let database = Ident::parse(parsed.string("snowflake.database.name"));
        let schema = Ident::parse(parsed.string("snowflake.schema.name"));
        let login = if is("snowflake.authenticator", "snowflake") {
            Login::Password(parsed.text("snowflake.password").expect("checked above").to_owned())
        } else {
            Login::KeyPair {
                key: parsed.text("snowflake.private.key").expect("checked above").to_owned(),
                passphrase: given("snowflake.private.key.passphrase"),
            }
        };
        Ok(Self {
            connector: connector.into(),
            account: Account {
                url,
                name: account_name.split('.').next().unwrap_or_default().to_uppercase(),
                user: parsed.string("snowflake.user.name").to_owned(),
                role: given("snowflake.role.name"),
                warehouse: given("snowflake.warehouse.name"),
                database: parsed.string("snowflake.database.name").to_owned(),
                schema: parsed.string("snowflake.schema.name").to_owned(),
                login,
                request_timeout: parsed.millis("snowflake.request.timeout.ms"),
            },
            topics: TopicMap::parse(
                parsed.string("snowflake.topic2table.map"),
                parsed.boolean("snowflake.topic2table.map.regex.replacement"),
            )
            .map_err(|e| Error::config(format!("`snowflake.topic2table.map`: {e}")))?,
            sanitize_tables: flag("snowflake.compatibility.enable.autogenerated.table.name.sanitization", false, true),
            normalize_columns: flag("snowflake.compatibility.enable.column.identifier.normalization", false, true),
            schematize: flag("snowflake.enable.schematization", true, false),
            create_tables: is("snowflake.autocreate.table.type", "snowflake"),
            evolution: match parsed.string("penstock.snowflake.schema.evolution").to_ascii_lowercase().as_str() {
                "always" => Evolution::Always,
                "never" => Evolution::Never,
                _ => Evolution::Table,
            },
            skip_nulls: is("behavior.on.null.values", "IGNORE"),
            metadata: Metadata {
                all: parsed.boolean("snowflake.metadata.all"),
                create_time: parsed.boolean("snowflake.metadata.createtime"),
                topic: parsed.boolean("snowflake.metadata.topic"),
                offset_and_partition: parsed.boolean("snowflake.metadata.offset.and.partition"),
                push_time: parsed.boolean("snowflake.streaming.metadata.connectorPushTime"),
                structured_headers: parsed.boolean("snowflake.feature.structured.headers"),
            },
            flush: Flush {
                rows_max: parsed.number("buffer.count.records"),
                bytes_max: parsed.number("buffer.size.bytes"),
                age_max: Duration::from_secs(parsed.number("buffer.flush.time")),
                task_bytes_max: parsed.number("penstock.snowflake.task.buffer.bytes"),
                loads_max: parsed.number("penstock.snowflake.task.loads"),
            },
            stage: stage(given("penstock.snowflake.stage").as_deref(), &database, &schema),
            database,
            schema,
            fail_on_authorization: parsed.boolean("enable.task.fail.on.authorization.errors"),
            topic_recreated: if is("penstock.snowflake.topic.recreated", "skip") {
                TopicRecreated::Skip
            } else {
                TopicRecreated::Fail
            },
        })
    }

    /// The table that holds the offsets.
    #[must_use]
    pub fn offsets_table(&self) -> TableName {
        TableName { database: self.database.clone(), schema: self.schema.clone(), name: Ident::verbatim(OFFSETS_TABLE) }
    }

    /// The table of a topic.
    #[must_use]
    pub fn table_for(&self, topic: &str) -> TableName {
        match self.topics.table(topic) {
            Some(parts) => qualify(parts, &self.database, &self.schema),
            None => qualify(vec![crate::names::table_for_topic(topic, self.sanitize_tables)], &self.database, &self.schema),
        }
    }
}

fn qualify(mut parts: Vec<Ident>, database: &Ident, schema: &Ident) -> TableName {
    let name = parts.pop().expect("a name has at least one part");
    let schema = parts.pop().unwrap_or_else(|| schema.clone());
    let database = parts.pop().unwrap_or_else(|| database.clone());
    TableName { database, schema, name }
}

fn stage(given: Option<&str>, database: &Ident, schema: &Ident) -> Stage {
    let parts = given.unwrap_or(STAGE).trim_start_matches('@').split('.').map(Ident::parse).collect();
    Stage { name: qualify(parts, database, schema), create: given.is_none() }
}

/// Accepts a URL with or without scheme, as the official connector does.
fn parse_url(text: &str) -> std::result::Result<Url, String> {
    let text = text.trim();
    let with_scheme = if text.contains("://") { text.to_owned() } else { format!("https://{text}") };
    let url = Url::parse(&with_scheme).map_err(|e| format!("not an account URL: {e}"))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err("not an account URL such as ACCOUNT.snowflakecomputing.com".into());
    }
    Ok(url)
}

/// The account's name, if the host begins with one.
fn account_of(url: &Url) -> Option<String> {
    let host = url.host_str()?;
    let (account, domain) = host.split_once('.')?;
    (domain.contains("snowflakecomputing.")).then(|| account.to_owned())
}

impl std::fmt::Debug for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} as {} at {}", self.name, self.user, self.url)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn props(more: &[(&str, &str)]) -> Props {
        let base = [
            ("name", "orders"),
            ("snowflake.url.name", "acme.eu-central-1.snowflakecomputing.com:443"),
            ("snowflake.user.name", "loader"),
            ("snowflake.database.name", "retail"),
            ("snowflake.schema.name", "\"Raw\""),
            ("snowflake.authenticator", "snowflake"),
            ("snowflake.password", "secret"),
        ];
        base.iter().chain(more).map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn the_account_is_read_from_the_url() {
        let config = Config::read(&props(&[])).unwrap();
        assert_eq!(config.account.name, "ACME");
        assert_eq!(config.account.url.as_str(), "https://acme.eu-central-1.snowflakecomputing.com/");
        assert_eq!(config.offsets_table().to_string(), r#""RETAIL"."Raw"."_PENSTOCK_OFFSETS""#);
        assert_eq!(config.table_for("orders").to_string(), r#""RETAIL"."Raw"."orders""#);
    }

    #[test]
    fn the_older_class_keeps_its_defaults() {
        let config = Config::read(&props(&[("connector.class", V3_CLASS)])).unwrap();
        assert!(config.sanitize_tables && config.normalize_columns && !config.schematize);
        assert_eq!(config.table_for("orders").name.0, "ORDERS");
        let config = Config::read(&props(&[("connector.class", V3_CLASS), ("snowflake.enable.schematization", "true")])).unwrap();
        assert!(config.schematize);
    }

    fn wrong(more: &[(&str, &str)]) -> String {
        Config::read(&props(more)).expect_err("wrong").to_string()
    }

    #[test]
    fn what_is_wrong_is_named() {
        assert!(wrong(&[("snowflake.authenticator", "snowflake_jwt")]).contains("snowflake.private.key"));
        assert!(wrong(&[("snowflake.authenticator", "snowflake_jwt"), ("snowflake.private.key", "AAAA")]).contains("PKCS#8"));
        assert!(wrong(&[("snowflake.authenticator", "oauth")]).contains("snowflake.authenticator"));
        assert!(wrong(&[("snowflake.url.name", "http://127.0.0.1:1")]).contains("snowflake.account.name"));
        assert!(wrong(&[("snowflake.topic2table.map", "a:x,a:y")]).contains("overlap"));
        assert!(wrong(&[("snowflake.oauth.client.id", "x")]).contains("OAuth"));
        assert!(wrong(&[("buffer.count.records", "0")]).contains("buffer.count.records"));
    }

    #[test]
    fn official_properties_without_effect_are_accepted_with_a_reason() {
        let props = props(&[("snowflake.ingestion.method", "SNOWPIPE"), ("jmx", "true")]);
        assert!(Config::read(&props).is_ok());
        assert_eq!(ineffective(&props).map(|(key, _)| key).collect::<Vec<_>>(), ["snowflake.ingestion.method", "jmx"]);
    }
}
