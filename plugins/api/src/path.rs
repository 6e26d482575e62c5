//! Paths to nested fields, as KIP-821 writes them.

use crate::error::{Error, Result};
use crate::value::Value;

/// A field name, or names of nested fields from the outside in.
///
/// In syntax V1 the whole text is one name. In V2 a dot separates names; a name with dots stands in backticks, and a
/// backtick before a dot inside such a name is written `\``.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FieldPath {
    steps: Vec<String>,
    text: String,
}

impl FieldPath {
    /// One name, dots and all (V1).
    pub fn v1(name: impl Into<String>) -> Self {
        let text = name.into();
        Self { steps: vec![text.clone()], text }
    }

    /// Dotted names (V2).
    ///
    /// # Errors
    /// `Config` when a backtick is not closed or stands where it cannot.
    pub fn v2(text: &str) -> Result<Self> {
        let mut steps = Vec::new();
        let mut rest = text;
        loop {
            let (step, after) =
                if let Some(quoted) = rest.strip_prefix('`') { quoted_step(quoted, text)? } else { plain_step(rest) };
            steps.push(step);
            match after {
                Some(next) => rest = next,
                None => {
                    return Ok(Self { steps, text: text.to_owned() });
                }
            }
        }
    }

    /// The names, from the outside in; never empty.
    #[must_use]
    pub fn steps(&self) -> &[String] {
        &self.steps
    }

    /// The text it was written as.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The value at the path; `None` when a step is missing or no struct or map.
    #[must_use]
    pub fn get<'v>(&self, root: &'v Value) -> Option<&'v Value> {
        self.steps.iter().try_fold(root, |value, step| match value {
            Value::Map(map) => map.get(step),
            Value::Struct(record) => record.get(step),
            _ => None,
        })
    }
}

fn plain_step(rest: &str) -> (String, Option<&str>) {
    match rest.split_once('.') {
        Some((step, after)) => (step.to_owned(), Some(after)),
        None => (rest.to_owned(), None),
    }
}

/// Reads up to the closing backtick: the first that ends the path or stands before a dot, and has no backslash before it. Others
/// belong to the name as they are, but for the backslash of one that would have closed it.
fn quoted_step<'t>(quoted: &'t str, whole: &str) -> Result<(String, Option<&'t str>)> {
    let mut step = String::new();
    let mut rest = quoted;
    while let Some(at) = rest.find('`') {
        let (before, after) = (&rest[..at], &rest[at + 1..]);
        let closes = after.is_empty() || after.starts_with('.');
        match before.strip_suffix('\\') {
            Some(_) if after.is_empty() => break,
            Some(unescaped) if closes => step.push_str(unescaped),
            None if closes => {
                step.push_str(before);
                return Ok((step, after.strip_prefix('.')));
            }
            _ => step.push_str(before),
        }
        step.push('`');
        rest = after;
    }
    let at = whole.len() - quoted.len() - 1;
    Err(Error::config(format!(
        "Incomplete backtick pair in path: [{whole}], consider adding a backslash before backtick at position {at} to escape it"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, steps: &[&str]) {
        assert_eq!(FieldPath::v2(text).unwrap().steps(), steps, "{text}");
    }

    #[test]
    fn paths_are_split_as_kip_821_says() {
        check("a", &["a"]);
        check("a.b.c", &["a", "b", "c"]);
        check("`a.b`.c", &["a.b", "c"]);
        check(r"`a\`.b`.c", &["a`.b", "c"]);
        check("a.`b.c`", &["a", "b.c"]);
        check("a.", &["a", ""]);
        check("`a`.", &["a", ""]);
        check("`a`b`.c", &["a`b", "c"]);
        check(r"`a\`b`", &[r"a\`b"]);
        assert!(FieldPath::v2("a.`b").is_err());
        assert!(FieldPath::v2(r"`a\`").is_err());
    }
}
