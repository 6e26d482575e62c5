//! A client of a Confluent-compatible Schema Registry: schemas by id, once each; schemas registered; failures sorted by what helps.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use penstock_api::{Error, ErrorKind, Result};
use schema_registry_converter::async_impl::schema_registry::{
    SrSettings, get_schema_by_id, get_schema_by_subject_and_version, perform_sr_call, post_schema,
};
use schema_registry_converter::error::SRCError;
use schema_registry_converter::schema_registry_common::{
    RawError, RegisteredReference, RegisteredSchema, SchemaType, SrCall, SuppliedSchema,
};

/// How many schemas are asked for at once.
const CALLS_AT_ONCE: usize = 8;
/// The wait after a first failure; it doubles up to [`BACKOFF_MAX`].
const BACKOFF_MIN: Duration = Duration::from_millis(250);
const BACKOFF_MAX: Duration = Duration::from_secs(10);
/// Failures remembered; when there are more, all are forgotten and asked for again.
const FAILURES_MAX: usize = 10_000;
/// References nest no deeper, and a schema has no more of them in all.
const REFERENCE_DEPTH_MAX: usize = 16;
const REFERENCES_MAX: usize = 500;

/// Where the registry is, and how to log in there.
#[derive(Clone)]
pub struct RegistryConfig {
    /// Asked in turn until one answers.
    pub urls: Vec<String>,
    pub login: Login,
    /// Of each HTTP call.
    pub timeout: Duration,
}

/// How to log in.
#[derive(Clone)]
pub enum Login {
    None,
    Basic { user: String, password: String },
    Bearer(String),
}

/// A schema of the registry, with the texts of those it names, in an order in which each comes after those it names itself.
pub struct Registered {
    pub id: u32,
    pub text: String,
    pub references: Vec<String>,
    pub kind: SchemaType,
    pub version: Option<u32>,
}

/// The registry.
#[derive(Clone)]
pub struct Client {
    settings: SrSettings,
    urls: Arc<str>,
}

impl Client {
    /// A client that has not yet called anybody.
    ///
    /// # Errors
    /// `Config` when the settings make no HTTP client.
    pub fn new(config: &RegistryConfig) -> Result<Self> {
        let (first, others) = config.urls.split_first().ok_or_else(|| Error::config("schema.registry.url is empty"))?;
        let mut builder = SrSettings::new_builder(first.clone());
        for url in others {
            builder.add_url(url.clone());
        }
        match &config.login {
            Login::None => {}
            Login::Basic { user, password } => {
                builder.set_basic_authorization(user, Some(password));
            }
            Login::Bearer(token) => {
                builder.set_token_authorization(token);
            }
        }
        builder.set_timeout(config.timeout);
        let settings = builder.build().map_err(|e| Error::config("set up the client of schema.registry.url").with_source(e))?;
        Ok(Self { settings, urls: config.urls.join(", ").into() })
    }

    /// The schema of this id, with all it refers to.
    ///
    /// # Errors
    /// `Data` when there is no such schema, `Retriable` when the registry cannot be reached, `Config` when it refuses us.
    pub async fn schema_by_id(&self, id: u32) -> Result<Registered> {
        let schema = get_schema_by_id(id, &self.settings).await.map_err(|e| self.error(&e, &format!("read schema {id}")))?;
        self.with_references(schema).await
    }

    /// The newest schema of a subject.
    ///
    /// # Errors
    /// As [`schema_by_id`](Self::schema_by_id).
    pub async fn latest(&self, subject: &str) -> Result<Registered> {
        let latest = get_schema_by_subject_and_version(&self.settings, subject, None).await;
        self.with_references(latest.map_err(|e| self.error(&e, &format!("read the latest schema of {subject}")))?).await
    }

    /// Registers an Avro schema under a subject; answers its id, the old one when it is there already.
    ///
    /// # Errors
    /// `Data` when the registry finds it incompatible, otherwise as [`schema_by_id`](Self::schema_by_id).
    pub async fn register(&self, subject: &str, schema: &str) -> Result<u32> {
        let supplied = SuppliedSchema::new(None, SchemaType::Avro, schema.to_owned());
        let registered = post_schema(&self.settings, subject.to_owned(), supplied).await;
        registered.map(|schema| schema.id).map_err(|e| self.error(&e, &format!("register a schema for {subject}")))
    }

    /// The id of an Avro schema that is registered under a subject.
    ///
    /// # Errors
    /// `Data` when it is not, otherwise as [`schema_by_id`](Self::schema_by_id).
    pub async fn look_up(&self, subject: &str, schema: &str) -> Result<u32> {
        let body = serde_json::json!({"schema": schema, "schemaType": "AVRO"}).to_string();
        let action = format!("look up a schema of {subject}");
        let answer = perform_sr_call(&self.settings, SrCall::PostForVersion(subject, &body)).await;
        let answer = answer.map_err(|e| self.error(&e, &action))?;
        answer.id.ok_or_else(|| Error::retriable(format!("failed to {action}: the answer of {} has no id", self.urls)))
    }

    async fn with_references(&self, schema: RegisteredSchema) -> Result<Registered> {
        let mut references = References { client: self, seen: Vec::new(), texts: Vec::new() };
        references.add(&schema.references, 0).await?;
        let texts = references.texts;
        Ok(Registered {
            id: schema.id,
            text: schema.schema,
            references: texts,
            kind: schema.schema_type,
            version: schema.version,
        })
    }

    /// Sorts a failure by what helps: trying again, another configuration, or nothing for this record.
    fn error(&self, error: &SRCError, action: &str) -> Error {
        let status = status_of(error);
        let said = std::error::Error::source(error).and_then(|e| e.downcast_ref::<RawError>());
        let urls = &self.urls;
        let why = match (status, said) {
            (Some(status), Some(said)) if said.error_code != 0 => format!("{status}, {} ({})", said.message, said.error_code),
            (Some(status), _) => status.to_string(),
            (None, _) => causes(error),
        };
        let failed = format!("failed to {action} at schema.registry.url {urls}: {why}");
        match status {
            Some(401 | 403) => Error::config(format!("{failed}; check schema.registry.url and basic.auth.user.info")),
            Some(404) if said.is_some_and(|said| is_unknown(said.error_code)) => {
                Error::data(format!("{failed}; is it the registry that the producer used?"))
            }
            Some(404) => Error::config(format!("{failed}; this is no answer of a Schema Registry: check the path of the URL")),
            Some(408 | 429 | 500..) => Error::retriable(failed),
            None if error.error.contains("http call") => Error::retriable(failed),
            None => Error::retriable(format!("{failed}; this is no answer of a Schema Registry: is the URL right?")),
            Some(_) => Error::data(failed),
        }
    }
}

/// What lies below the crate's own words: the connection refused, the answer that is no JSON.
fn causes(error: &SRCError) -> String {
    let first = std::error::Error::source(error);
    let causes: Vec<_> = std::iter::successors(first, |cause| cause.source()).map(ToString::to_string).collect();
    if causes.is_empty() { error.error.clone() } else { causes.join(": ") }
}

/// A Schema Registry's own "no such subject, version or schema". Others answer 404, too, when the URL leads elsewhere.
fn is_unknown(error_code: u32) -> bool {
    (40_401..=40_499).contains(&error_code)
}

/// The crate keeps the HTTP status in its message only.
fn status_of(error: &SRCError) -> Option<u16> {
    let (_, rest) = error.error.split_once("with status ")?;
    rest.split_whitespace().next()?.parse().ok()
}

/// Collects what a schema refers to, each once.
struct References<'c> {
    client: &'c Client,
    seen: Vec<(String, u32)>,
    texts: Vec<String>,
}

impl References<'_> {
    async fn add(&mut self, references: &[RegisteredReference], depth: usize) -> Result<()> {
        for reference in references {
            let key = (reference.subject.clone(), reference.version);
            if self.seen.contains(&key) {
                continue;
            }
            if depth == REFERENCE_DEPTH_MAX || self.seen.len() == REFERENCES_MAX {
                return Err(Error::data(format!(
                    "a schema with more than {REFERENCES_MAX} references, or more than {REFERENCE_DEPTH_MAX} levels of them"
                )));
            }
            self.seen.push(key);
            let action = format!("read version {} of {}, to which a schema refers", reference.version, reference.subject);
            let settings = &self.client.settings;
            let schema = get_schema_by_subject_and_version(settings, &reference.subject, Some(reference.version)).await;
            let schema = schema.map_err(|e| self.client.error(&e, &action))?;
            Box::pin(self.add(&schema.references, depth + 1)).await?;
            self.texts.push(schema.schema);
        }
        Ok(())
    }
}

/// What was made of answers of the registry, and the failures, kept for a while so that nobody asks for each record again.
pub struct Answers<K, T> {
    good: HashMap<K, T>,
    good_max: usize,
    failed: HashMap<K, Failed>,
}

struct Failed {
    kind: ErrorKind,
    message: String,
    wait: Duration,
    again_at: Instant,
}

impl<K: Eq + std::hash::Hash + Clone + fmt::Debug, T> Answers<K, T> {
    /// Keeps at most `good_max` answers; when there are more, all are forgotten and asked for again.
    #[must_use]
    pub fn new(good_max: usize) -> Self {
        Self { good: HashMap::new(), good_max: good_max.max(1), failed: HashMap::new() }
    }

    /// Whether it is time to ask (again).
    #[must_use]
    pub fn is_due(&self, key: &K) -> bool {
        !self.good.contains_key(key) && self.failed.get(key).is_none_or(|failed| Instant::now() >= failed.again_at)
    }

    /// The answer.
    ///
    /// # Errors
    /// The last failure; `Retriable` when nobody has asked.
    pub fn get(&self, key: &K) -> Result<&T> {
        if let Some(good) = self.good.get(key) {
            return Ok(good);
        }
        Err(match self.failed.get(key) {
            Some(failed) => Error::new(failed.kind, failed.message.clone()),
            None => Error::retriable(format!("{key:?} was not asked for at the schema registry yet")),
        })
    }

    /// Keeps an answer, or a failure with its back-off.
    pub fn put(&mut self, key: K, answer: Result<T>) {
        match answer {
            Ok(good) => {
                if self.good.len() >= self.good_max {
                    self.good.clear();
                }
                self.failed.remove(&key);
                self.good.insert(key, good);
            }
            Err(error) => {
                if self.failed.len() >= FAILURES_MAX {
                    self.failed.clear();
                }
                let wait = self.failed.get(&key).map_or(BACKOFF_MIN, |failed| (failed.wait * 2).min(BACKOFF_MAX));
                let failed = Failed { kind: error.kind(), message: format!("{error:#}"), wait, again_at: Instant::now() + wait };
                self.failed.insert(key, failed);
            }
        }
    }

    /// Asks for all of these that are due, several at once. Once the registry cannot be reached the others fail with that, unasked.
    pub async fn ask<F: Future<Output = Result<T>>>(&mut self, keys: impl IntoIterator<Item = K>, ask: impl Fn(K) -> F) {
        let due: Vec<_> = keys.into_iter().filter(|key| self.is_due(key)).collect();
        let mut calls = futures::stream::iter(due.iter().cloned().map(|key| {
            let call = ask(key.clone());
            async move { (key, call.await) }
        }))
        .buffer_unordered(CALLS_AT_ONCE);
        let mut unreachable = None;
        let mut answered = Vec::with_capacity(due.len());
        while let Some((key, answer)) = calls.next().await {
            unreachable = answer.as_ref().err().filter(|e| e.kind() == ErrorKind::Retriable).map(|e| format!("{e:#}"));
            answered.push((key, answer));
            if unreachable.is_some() {
                break;
            }
        }
        drop(calls);
        for (key, answer) in answered {
            self.put(key, answer);
        }
        if let Some(why) = unreachable {
            for key in due {
                if self.is_due(&key) {
                    self.put(key, Err(Error::retriable(why.clone())));
                }
            }
        }
    }
}
