//! Connectors in files: the body of `POST /connectors`, a bare configuration in JSON, or Java properties, as Connect's standalone
//! worker takes them.

use std::io::Read;
use std::path::Path;

use penstock_api::{Error, Props, Result};
use serde_json::{Map, Value};

use super::properties;

/// What a file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectorFile {
    pub name: String,
    /// With the name in it.
    pub config: Props,
    /// RUNNING, PAUSED or STOPPED, for a connector that is not there yet.
    pub initial_state: Option<String>,
}

impl ConnectorFile {
    /// Reads a file; `-` is standard input. What begins with `{` is JSON, all else are properties.
    ///
    /// # Errors
    /// `Config`, with the path and what is wrong.
    pub fn read(path: &Path) -> Result<Self> {
        let mut bytes = Vec::new();
        let read = if path == Path::new("-") {
            std::io::stdin().read_to_end(&mut bytes).map(|_| ())
        } else {
            std::fs::read(path).map(|read| bytes = read)
        };
        let parsed = read.map_err(|error| error.to_string()).and_then(|()| parse(&bytes));
        parsed.map_err(|why| Error::config(format!("{}: {why}", path.display())))
    }
}

type Parsed<T> = std::result::Result<T, String>;

fn parse(bytes: &[u8]) -> Parsed<ConnectorFile> {
    if bytes.trim_ascii_start().starts_with(b"{") {
        return from_json(bytes);
    }
    let config = properties::parse(bytes).map_err(|error| {
        let line = error.line_number().map(|line| format!("line {line}: ")).unwrap_or_default();
        format!("neither a JSON object nor Java properties: {line}{error}")
    })?;
    named(None, config, None)
}

fn from_json(bytes: &[u8]) -> Parsed<ConnectorFile> {
    let mut body: Map<String, Value> = serde_json::from_slice(bytes).map_err(|error| format!("not JSON: {error}"))?;
    let Some(Value::Object(config)) = body.get("config").cloned() else { return named(None, texts(body)?, None) };
    let mut take = |key: &str| match body.remove(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(other) => Err(format!("`{key}` is {other}, a text is expected")),
    };
    let (name, initial_state) = (take("name")?, take("initial_state")?);
    named(name, texts(config)?, initial_state)
}

fn named(name: Option<String>, mut config: Props, initial_state: Option<String>) -> Parsed<ConnectorFile> {
    let name = match (name, config.get("name")) {
        (Some(name), Some(other)) if name != *other => {
            return Err(format!("`name` is {name}, and in its config it is {other}"));
        }
        (Some(name), _) => name,
        (None, Some(name)) => name.clone(),
        (None, None) => return Err("it has no `name`".into()),
    };
    config.insert("name".into(), name.clone());
    Ok(ConnectorFile { name, config, initial_state })
}

/// As Connect reads them: a scalar of any kind is its text.
fn texts(config: Map<String, Value>) -> Parsed<Props> {
    let text = |(key, value): (String, Value)| match value {
        Value::String(text) => Ok((key, text)),
        Value::Bool(_) | Value::Number(_) => Ok((key, value.to_string())),
        other => Err(format!("`{key}` is {other}, a text is expected")),
    };
    config.into_iter().map(text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(pairs: &[(&str, &str)], initial_state: Option<&str>) -> ConnectorFile {
        let config = pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        ConnectorFile { name: "a".into(), config, initial_state: initial_state.map(str::to_owned) }
    }

    #[test]
    fn three_ways_to_say_the_same() {
        let expected = file(&[("name", "a"), ("tasks.max", "2")], None);
        let check = |text: &str| assert_eq!(parse(text.as_bytes()).expect(text), expected, "{text}");
        check(r#"{"name": "a", "config": {"tasks.max": 2}}"#);
        check(r#" {"name": "a", "tasks.max": "2"}"#);
        check("# a sink\nname=a\ntasks.max = 2\n");
        let paused = r#"{"name": "a", "config": {"name": "a"}, "initial_state": "PAUSED"}"#;
        assert_eq!(parse(paused.as_bytes()).unwrap(), file(&[("name", "a")], Some("PAUSED")));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let check = |text: &str, expected: &str| {
            let error = parse(text.as_bytes()).expect_err(text);
            assert!(error.contains(expected), "{text}: {error}");
        };
        check("{", "not JSON");
        check(r#"{"tasks.max": "1"}"#, "no `name`");
        check("tasks.max=1", "no `name`");
        check(r#"{"name": "a", "config": {"name": "b"}}"#, "`name` is a, and in its config it is b");
        check(r#"{"name": "a", "x": {"y": 1}}"#, "`x` is");
        check(r#"{"name": 1, "config": {}}"#, "`name` is 1");
        check("a=\\u12", "line 1");
    }
}
