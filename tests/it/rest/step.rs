//! A request, and how alike the answers must be.

use reqwest::Method;
use serde_json::{Value, json};

/// Stands for the sink's class of either side.
pub(super) const SINK: &str = "SINK";

/// One request, and how alike the answers must be.
#[derive(Clone)]
pub(super) struct Step {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) body: Option<String>,
    pub(super) content_type: Option<&'static str>,
    pub(super) accept: Option<&'static str>,
    /// More headers.
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) like: Like,
    /// What both bodies must come to hold.
    pub(super) until: Option<&'static str>,
    /// A path whose answers change while earlier requests take effect: what is answered differently meanwhile is asked
    /// of both again when they have come to rest.
    pub(super) at_rest: Option<&'static str>,
}

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Like {
    /// Status, `Location` and body.
    Equal,
    /// Status and the body's keys; for texts that speak of Java's insides.
    Shape,
    /// Equal but for what the message goes on to say behind Java's.
    SaysMore,
    /// Not alike on purpose, as `runtime/DIFFERENCES.md` says: Java's status and ours.
    Differs(u16, u16),
    /// Definitions of keys: alike but for their documentation and what Java's plugins have besides.
    Definitions,
    /// Listings of plugins: what Connect itself brings is there, by the same kinds.
    Plugins,
    /// Answers of validation: each key of Java's is there with the same definition, value and errors.
    Validation,
}

pub(super) fn step(method: Method, path: impl Into<String>, body: Option<String>) -> Step {
    let content_type = body.is_some().then_some("application/json");
    Step {
        method,
        path: path.into(),
        body,
        content_type,
        accept: None,
        headers: Vec::new(),
        like: Like::Equal,
        until: None,
        at_rest: None,
    }
}

pub(super) fn get(path: impl Into<String>) -> Step {
    step(Method::GET, path, None)
}

pub(super) fn delete(path: impl Into<String>) -> Step {
    step(Method::DELETE, path, None)
}

pub(super) fn put(path: impl Into<String>, body: &Value) -> Step {
    step(Method::PUT, path, Some(body.to_string()))
}

pub(super) fn post(path: impl Into<String>, body: &Value) -> Step {
    step(Method::POST, path, Some(body.to_string()))
}

pub(super) fn patch(path: impl Into<String>, body: &Value) -> Step {
    step(Method::PATCH, path, Some(body.to_string()))
}

/// Without a body.
pub(super) fn bare(method: Method, path: impl Into<String>) -> Step {
    step(method, path, None)
}

pub(super) fn raw(method: Method, path: impl Into<String>, body: &str) -> Step {
    step(method, path, Some(body.to_owned()))
}

impl Step {
    pub(super) fn content_type(mut self, content_type: Option<&'static str>) -> Self {
        self.content_type = content_type;
        self
    }

    pub(super) fn accept(mut self, accept: &'static str) -> Self {
        self.accept = Some(accept);
        self
    }

    pub(super) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// A GET that is asked again until both answers hold this text.
    pub(super) fn until(mut self, text: &'static str) -> Self {
        self.until = Some(text);
        self
    }

    /// What may be asked twice, and hangs on the state that this path shows.
    pub(super) fn at_rest(mut self, path: &'static str) -> Self {
        self.at_rest = Some(path);
        self
    }

    pub(super) fn like(mut self, like: Like) -> Self {
        self.like = like;
        self
    }
}

/// The configuration of a sink, with changes; null takes a key away.
pub(super) fn sink(changes: &Value) -> Value {
    let mut config = json!({"connector.class": SINK, "topics": "rest-t1"});
    for (key, value) in changes.as_object().expect("an object") {
        match value {
            Value::Null => drop(config.as_object_mut().expect("an object").remove(key)),
            value => config[key] = value.clone(),
        }
    }
    config
}

pub(super) fn create(name: &str, changes: &Value) -> Step {
    post("/connectors", &json!({"name": name, "config": sink(changes)}))
}
