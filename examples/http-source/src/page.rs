//! What an answer holds.

use std::collections::HashMap;

use penstock_plugin::{Error, Result};
use serde_json::value::RawValue;

/// An item as it came, and what is needed of it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Item {
    /// JSON, byte for byte.
    pub value: String,
    pub key: Option<String>,
    pub cursor: Cursor,
    /// Its name, where cursors may be shared.
    pub id: Option<String>,
}

/// Where an item stands in the API's order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cursor(pub String);

impl Cursor {
    /// Numbers by size, all else as text. Times of one format sort as text, too.
    pub(crate) fn is_before(&self, other: &Self) -> bool {
        // Long ids are whole numbers that an f64 does not tell apart.
        if let (Ok(own), Ok(other)) = (self.0.parse::<i128>(), other.0.parse::<i128>()) {
            return own < other;
        }
        let number = |cursor: &Self| cursor.0.parse::<f64>().ok().filter(|number| number.is_finite());
        match (number(self), number(other)) {
            (Some(a), Some(b)) => a < b,
            _ => self.0 < other.0,
        }
    }
}

/// Where to look in an answer.
pub(crate) struct Fields<'f> {
    pub items: &'f [String],
    pub key: Option<&'f [String]>,
    pub cursor: &'f [String],
    pub id: Option<&'f [String]>,
}

/// The items of an answer, in its order.
///
/// # Errors
/// `Fatal`: going on would lose what this answer holds.
pub(crate) fn items(body: &str, fields: &Fields<'_>) -> Result<Vec<Item>> {
    let whole: &RawValue = serde_json::from_str(body).map_err(|e| {
        let shown: String = body.chars().take(80).collect();
        Error::fatal(format!("the answer is no JSON: {shown}")).with_source(e)
    })?;
    let array = find(whole, fields.items)?.ok_or_else(|| missing("items.field", fields.items, "answer"))?;
    let array: Vec<&RawValue> = serde_json::from_str(array.get()).map_err(|e| {
        let place = if fields.items.is_empty() { "the answer".to_owned() } else { fields.items.join(".") };
        Error::fatal(format!("{place} is no array of items (items.field)")).with_source(e)
    })?;
    array.into_iter().map(|value| item(value, fields)).collect()
}

fn item(value: &RawValue, fields: &Fields<'_>) -> Result<Item> {
    let text = |path: &[String]| find(value, path).map(|found| found.and_then(scalar));
    let cursor = text(fields.cursor)?.ok_or_else(|| missing("cursor.field", fields.cursor, "item"))?;
    let id = match fields.id {
        Some(path) => Some(text(path)?.ok_or_else(|| missing("cursor.id.field", path, "item"))?),
        None => None,
    };
    let key = fields.key.map_or(Ok(None), text)?;
    Ok(Item { value: value.get().to_owned(), key, cursor: Cursor(cursor), id })
}

/// A text or a number at a path of the answer.
pub(crate) fn text_at(body: &str, path: &[String]) -> Result<Option<String>> {
    let whole: &RawValue = serde_json::from_str(body).map_err(|e| Error::fatal("the answer is no JSON").with_source(e))?;
    Ok(find(whole, path)?.and_then(scalar))
}

fn missing(key: &str, path: &[String], what: &str) -> Error {
    Error::fatal(format!("{key} is {}, but an {what} has no text or number there", path.join(".")))
}

/// What stands at a path.
fn find<'v>(value: &'v RawValue, path: &[String]) -> Result<Option<&'v RawValue>> {
    let Some((name, rest)) = path.split_first() else { return Ok(Some(value)) };
    if !value.get().trim_start().starts_with('{') {
        return Ok(None);
    }
    let fields: HashMap<String, &RawValue> =
        serde_json::from_str(value.get()).map_err(|e| Error::fatal("an object of the answer cannot be read").with_source(e))?;
    fields.get(name).map_or(Ok(None), |inner| find(inner, rest))
}

/// Numbers as they are written.
fn scalar(value: &RawValue) -> Option<String> {
    match value.get().as_bytes().first()? {
        b'"' => serde_json::from_str(value.get()).ok(),
        b'-' | b'0'..=b'9' => Some(value.get().to_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> Vec<String> {
        text.split('.').map(str::to_owned).collect()
    }

    #[test]
    fn items_keep_their_bytes() {
        let (items_path, cursor) = (path("data.list"), path("at.ms"));
        let fields = Fields { items: &items_path, key: Some(&[]), cursor: &cursor, id: None };
        let body = r#"{"data": {"list": [{"at": {"ms": 10},  "price": 1.10}, {"at":{"ms":"x"}}]}}"#;
        let found = items(body, &Fields { key: None, ..fields }).unwrap();
        assert_eq!(found[0].value, r#"{"at": {"ms": 10},  "price": 1.10}"#);
        assert_eq!((found[0].cursor.0.as_str(), found[1].cursor.0.as_str()), ("10", "x"));
    }

    #[test]
    fn what_cannot_be_read_is_told_with_its_key() {
        let (none, cursor) = (Vec::new(), path("id"));
        let fields = || Fields { items: &none, key: None, cursor: &cursor, id: None };
        let why = |body: &str| format!("{:#}", items(body, &fields()).unwrap_err());
        assert!(why("<html>busy</html>").starts_with("the answer is no JSON: <html>busy"), "{}", why("<html>busy</html>"));
        assert!(why(r#"{"a":1}"#).starts_with("the answer is no array of items (items.field)"));
        assert!(why(r#"[{"id":{}}]"#).starts_with("cursor.field is id, but an item has no text or number there"));
        assert!(why("[7]").starts_with("cursor.field is id"));
    }

    #[test]
    fn cursors_are_ordered_as_numbers_or_as_text() {
        let is_before = |a: &str, b: &str| Cursor(a.into()).is_before(&Cursor(b.into()));
        assert!(is_before("9", "10") && !is_before("10", "9") && is_before("-1.5", "0.25"));
        assert!(is_before("9007199254740992", "9007199254740993"));
        assert!(is_before("2026-01-09T00:00:00Z", "2026-01-10T00:00:00Z"));
        assert!(!is_before("a", "a"));
    }
}
