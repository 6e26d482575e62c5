//! `access.control.allow.origin`: patterns of origins, separated by commas, as Java's server reads them.

use std::sync::Arc;

use fancy_regex::Regex;

/// Origins that browsers may call from.
#[derive(Clone, Debug)]
pub struct Origins {
    text: Arc<str>,
    /// `None`: all.
    patterns: Option<Arc<[Regex]>>,
}

impl Origins {
    /// Reads the patterns; `*` is all origins, and nothing is `None`.
    ///
    /// # Errors
    /// The pattern that is no regular expression, and why.
    pub fn parse(text: &str) -> Result<Option<Self>, String> {
        let parts: Vec<&str> = text.split(',').map(str::trim).filter(|part| !part.is_empty()).collect();
        if parts.is_empty() {
            return Ok(None);
        }
        let patterns = if parts.contains(&"*") {
            None
        } else {
            let compile = |part: &&str| Regex::new(&format!("(?i)^(?:{part})$")).map_err(|e| format!("{part}: {e}"));
            Some(parts.iter().map(compile).collect::<Result<Vec<_>, _>>()?.into())
        };
        Ok(Some(Self { text: text.into(), patterns }))
    }

    /// Whether one of the origins in the header's value is among them.
    #[must_use]
    pub fn hold(&self, origins: &str) -> bool {
        let Some(patterns) = &self.patterns else { return true };
        origins.split_whitespace().any(|origin| patterns.iter().any(|pattern| pattern.is_match(origin).unwrap_or(false)))
    }
}

impl PartialEq for Origins {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Origins {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_patterns() {
        let check = |text: &str, origin: &str, expected: bool| {
            let origins = Origins::parse(text).expect("good").expect("some");
            assert_eq!(origins.hold(origin), expected, "{text} and {origin}");
        };
        check("*", "http://a", true);
        check("http://a,https://b", "https://B", true);
        check("http://a,https://b", "http://c http://a", true);
        check("http://a", "http://a.evil", false);
        check(r"https://.*\.shop\.example", "https://de.shop.example", true);
        check(r"https://.*\.shop\.example", "https://shopXexample", false);
        assert_eq!(Origins::parse(" , "), Ok(None));
        assert!(Origins::parse("http://(").expect_err("no pattern").starts_with("http://(: "));
    }
}
