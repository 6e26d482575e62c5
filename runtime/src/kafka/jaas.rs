//! Java's way to write a login down.

use penstock_api::{Error, Result};

/// The options of a login: `module.Class required key="value" ...;`.
#[derive(Default)]
pub(super) struct Jaas {
    pub(super) options: Vec<(String, String)>,
}

impl Jaas {
    /// Reads the value of `sasl.jaas.config`.
    ///
    /// # Errors
    /// `Config`, naming whose it is and not what stands in it.
    pub(super) fn parse(who: &str, text: &str) -> Result<Self> {
        let broken = || {
            Error::config(format!(
                "`sasl.jaas.config` of {who} cannot be read: give `<login module> required key=\"value\" ...;`"
            ))
        };
        let body = text.trim().strip_suffix(';').ok_or_else(broken)?;
        let mut rest = body.trim_start();
        for _ in 0..2 {
            let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
            if end == 0 {
                return Err(broken());
            }
            rest = rest[end..].trim_start();
        }
        let mut options = Vec::new();
        while !rest.is_empty() {
            let (key, after) = rest.split_once('=').ok_or_else(broken)?;
            let (value, after) = Self::value(after.trim_start()).ok_or_else(broken)?;
            options.push((key.trim().trim_matches('"').to_owned(), value));
            rest = after.trim_start();
        }
        Ok(Self { options })
    }

    /// A value, in quotes or bare, and what comes behind it.
    fn value(text: &str) -> Option<(String, &str)> {
        let Some(quoted) = text.strip_prefix('"') else {
            let end = text.find(char::is_whitespace).unwrap_or(text.len());
            return Some((text[..end].to_owned(), &text[end..]));
        };
        let mut value = String::new();
        let mut chars = quoted.char_indices();
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => return Some((value, &quoted[at + 1..])),
                '\\' => value.push(chars.next()?.1),
                c => value.push(c),
            }
        }
        None
    }

    pub(super) fn option(&self, key: &str) -> Option<&str> {
        self.options.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_and_broken_ones_refused() {
        let login = Jaas::parse("x", "a.B required user=\"al ice\"  pass=\"a\\\"b;c\" n=1 ;").unwrap();
        assert_eq!((login.option("user"), login.option("pass"), login.option("n")), (Some("al ice"), Some("a\"b;c"), Some("1")));
        for broken in ["", "a.B required", "a.B;", "a.B required user=\"al;", "a.B required user;"] {
            assert!(Jaas::parse("x", broken).is_err(), "{broken}");
        }
        assert!(Jaas::parse("x", "a.B required;").unwrap().options.is_empty());
    }
}
