//! The keys, and what they mean, typed once.

use std::time::Duration;

use penstock_plugin::{Check, ConfigDef, ConfigKey, ConfigType, Error, Parsed, Result, secrets};

#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub url: String,
    pub method: String,
    /// With `{secret:NAME}` where a secret goes.
    pub headers: Vec<(String, String)>,
    pub key_header: String,
    /// Where each record carries its own key in a batch.
    pub key_field: Option<String>,
    pub batch_records_max: usize,
    pub batch_bytes_max: usize,
    pub errors_field: Option<String>,
    pub backoff_initial: Duration,
    pub backoff_max: Duration,
    /// `None`: for ever.
    pub retry_timeout: Option<Duration>,
    pub request_timeout: Duration,
}

impl Config {
    pub(crate) fn new(config: &Parsed) -> Result<Self> {
        let text = |key: &str| config.text(key).filter(|text| !text.is_empty()).map(str::to_owned);
        let url = config.string("http.url").to_owned();
        if !["http://", "https://"].iter().any(|scheme| url.starts_with(scheme) && url.len() > scheme.len()) {
            return Err(Error::config(format!("http.url is {url}: write it as https://host/path")));
        }
        let batch_records_max: usize = config.number("batch.max.records");
        let key_field = text("idempotency.field");
        if batch_records_max > 1 && key_field.is_none() {
            return Err(Error::config(
                "batch.max.records is above 1 without idempotency.field: which records share a request may differ after a restart, so each \
                 must carry its own key (or set batch.max.records=1)",
            ));
        }
        let retry_timeout: i64 = config.number("retry.timeout.ms");
        Ok(Self {
            url,
            method: config.string("http.method").to_owned(),
            headers: config.list("http.headers").iter().map(|line| header(line)).collect::<Result<_>>()?,
            key_header: config.string("idempotency.header").to_owned(),
            key_field,
            batch_records_max,
            batch_bytes_max: config.number("batch.max.bytes"),
            errors_field: text("errors.field"),
            backoff_initial: config.millis("retry.backoff.initial.ms"),
            backoff_max: config.millis("retry.backoff.max.ms"),
            retry_timeout: u64::try_from(retry_timeout).ok().map(Duration::from_millis),
            request_timeout: config.millis("request.timeout.ms"),
        })
    }

    /// For a task that starts: where headers name a secret they get what stands for it.
    pub(crate) fn with_secrets(mut self) -> Self {
        self.headers.iter_mut().for_each(|(_, value)| *value = secrets::placeholders_in(value));
        self
    }
}

fn header(line: &str) -> Result<(String, String)> {
    let (name, value) = line
        .split_once(':')
        .ok_or_else(|| Error::config(format!("http.headers holds {line}: write headers as Name: value, separated by commas")))?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

pub(crate) fn keys() -> ConfigDef {
    use ConfigType::{Int, List, Long, String};
    ConfigDef::new([
        ConfigKey::required("http.url", String, "Where records are sent to.").check(Check::NonEmpty),
        ConfigKey::optional("http.method", String, "POST", "How.").check(Check::OneOf(vec!["POST".into(), "PUT".into()])),
        ConfigKey::optional("http.headers", List, "", "Headers for each request, as Name: value; {secret:NAME} is the secret of that name in plugin.grants.secrets."),
        ConfigKey::optional(
            "idempotency.header",
            String,
            "Idempotency-Key",
            "The header with the request's key, made of topic, partition and offsets. It is the same whenever the same records are sent.",
        )
        .check(Check::NonEmpty),
        ConfigKey::nullable(
            "idempotency.field",
            String,
            "The field that is added to each record, a JSON object, with its own key: topic, partition, offset. Needed for batches.",
        ),
        ConfigKey::optional(
            "batch.max.records",
            Int,
            "1",
            "1: each record is a request of its own, the value as it is. More: a request is a JSON array of so many records at most.",
        )
        .check(Check::Range(1.0, 10_000.0)),
        ConfigKey::optional("batch.max.bytes", Int, "1048576", "A batch is closed before its body grows beyond this.")
            .check(Check::Min(1.0)),
        ConfigKey::nullable(
            "errors.field",
            String,
            "The field of an answer with status 200 to 299 that lists the records of the batch which were not taken: objects with index (from \
             0) and message.",
        ),
        ConfigKey::optional("retry.backoff.initial.ms", Long, "200", "How long to wait before the first retry; then twice as long each time.")
            .check(Check::Min(1.0)),
        ConfigKey::optional("retry.backoff.max.ms", Long, "30000", "How long to wait at most.").check(Check::Min(1.0)),
        ConfigKey::optional("retry.timeout.ms", Long, "-1", "The task fails when a request was retried for so long; -1: never.")
            .check(Check::Min(-1.0)),
        ConfigKey::optional("request.timeout.ms", Long, "10000", "How long to wait for an answer.").check(Check::Min(1.0)),
    ])
}
