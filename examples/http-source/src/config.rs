//! The keys, and what they mean, typed once.

use std::time::Duration;

use penstock_plugin::{Check, ConfigDef, ConfigKey, ConfigType, Error, Parsed, Result, secrets};

#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub url: String,
    /// With `{secret:NAME}` where a secret goes.
    pub headers: Vec<(String, String)>,
    pub topic: String,
    pub items_field: Vec<String>,
    pub key_field: Option<Vec<String>>,
    pub cursor: CursorConfig,
    pub pages: Pages,
    pub poll_interval: Duration,
    /// Between two requests at least.
    pub pace: Duration,
}

#[derive(Clone, Debug)]
pub(crate) struct CursorConfig {
    pub field: Vec<String>,
    pub parameter: String,
    pub initial: Option<String>,
    /// Where items name themselves, when several may have one cursor.
    pub id_field: Option<Vec<String>>,
}

/// How an answer says where the next page is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Pages {
    /// `Link: <...>; rel="next"`.
    Link,
    /// A field of the body: a URL or, with a parameter to carry it, a token.
    Field { path: Vec<String>, parameter: Option<String> },
}

impl Config {
    pub(crate) fn new(config: &Parsed) -> Result<Self> {
        let text = |key: &str| config.text(key).filter(|text| !text.is_empty());
        let url = config.string("http.url").to_owned();
        crate::link::origin(&url).ok_or_else(|| Error::config(format!("http.url is {url}: write it as https://host/path")))?;
        let id_field = text("cursor.id.field").map(path);
        let per_minute: f64 = config.number("rate.limit.per.minute");
        Ok(Self {
            url,
            headers: config.list("http.headers").iter().map(|line| header(line)).collect::<Result<_>>()?,
            topic: config.string("topic").to_owned(),
            items_field: text("items.field").map(path).unwrap_or_default(),
            key_field: text("key.field").map(path),
            cursor: CursorConfig {
                field: path(config.string("cursor.field")),
                parameter: config.string("cursor.parameter").to_owned(),
                initial: text("cursor.initial").map(str::to_owned),
                id_field,
            },
            pages: match text("page.next.field") {
                Some(field) => Pages::Field { path: path(field), parameter: text("page.next.parameter").map(str::to_owned) },
                None => Pages::Link,
            },
            poll_interval: config.millis("poll.interval.ms"),
            pace: if per_minute > 0.0 { Duration::from_secs_f64(60.0 / per_minute) } else { Duration::ZERO },
        })
    }

    /// For a task that starts: where headers name a secret they get what stands for it.
    pub(crate) fn with_secrets(mut self) -> Self {
        self.headers.iter_mut().for_each(|(_, value)| *value = secrets::placeholders_in(value));
        self
    }
}

fn path(text: &str) -> Vec<String> {
    text.split('.').map(str::to_owned).collect()
}

fn header(line: &str) -> Result<(String, String)> {
    let (name, value) = line
        .split_once(':')
        .ok_or_else(|| Error::config(format!("http.headers holds {line}: write headers as Name: value, separated by commas")))?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

pub(crate) fn keys() -> ConfigDef {
    use ConfigType::{Double, List, Long, String};
    ConfigDef::new([
        ConfigKey::required("http.url", String, "Where the list of items is asked for, with its fixed parameters.")
            .check(Check::NonEmpty),
        ConfigKey::optional("http.headers", List, "", "Headers for each request, as Name: value; {secret:NAME} is the secret of that name in plugin.grants.secrets."),
        ConfigKey::required("topic", String, "The topic that items are written to.").check(Check::NonEmpty),
        ConfigKey::optional("items.field", String, "", "Where the array of items is in an answer; empty: the answer is the array."),
        ConfigKey::nullable("key.field", String, "The field of an item that becomes the record's key; without it keys are null."),
        ConfigKey::required("cursor.field", String, "A field of each item by which the answers are sorted, upwards: an id, a time.")
            .check(Check::NonEmpty),
        ConfigKey::optional("cursor.parameter", String, "since", "The parameter that asks for items from a cursor on.")
            .check(Check::NonEmpty),
        ConfigKey::nullable("cursor.initial", String, "The cursor to begin with; without it the first request has none."),
        ConfigKey::nullable(
            "cursor.id.field",
            String,
            "The field that names an item, for cursors that several items may share, such as times. Then it does not matter whether the \
             API's answers begin at the cursor or behind it. Without this key a cursor must be of one item alone, and answers begin behind \
             it.",
        ),
        ConfigKey::nullable(
            "page.next.field",
            String,
            "The field of an answer that says where the next page is. Without it the header Link with rel=\"next\" is followed.",
        ),
        ConfigKey::nullable("page.next.parameter", String, "The parameter that carries page.next.field; without it that is a URL."),
        ConfigKey::optional("poll.interval.ms", Long, "5000", "How long to wait when there was nothing more.").check(Check::Min(1.0)),
        ConfigKey::optional(
            "rate.limit.per.minute",
            Double,
            "0",
            "At most so many requests a minute; 0: as many as the API takes. Its answers 429 and 503 with Retry-After are obeyed anyway.",
        )
        .check(Check::Min(0.0)),
    ])
}
