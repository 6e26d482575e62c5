//! What configurations and data expect of Java itself: its patterns, numbers and dates.

pub(crate) mod calendar;
pub(crate) mod date_format;
pub(crate) mod literal;
pub(crate) mod number;
pub mod regex;

/// `String.split` at a character: empty texts at the end are left out.
pub(crate) fn split(text: &str, at: char) -> Vec<&str> {
    let mut parts: Vec<&str> = text.split(at).collect();
    while parts.len() > 1 && parts.last().is_some_and(|part| part.is_empty()) {
        parts.pop();
    }
    parts
}
