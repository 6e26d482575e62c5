//! Java's way to write logins down: `module.Class required key="value" ...;`, in a file under the name of an entry in braces.
//!
//! What is wrong is said without the text itself, in which passwords stand.

use std::collections::BTreeMap;
use std::result::Result;

/// A class, when it counts, and its options.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct LoginModule {
    pub class: String,
    /// Of an option that is given twice, the last.
    pub options: BTreeMap<String, String>,
}

impl LoginModule {
    pub fn option(&self, key: &str) -> Option<&str> {
        self.options.get(key).map(String::as_str)
    }
}

/// The one module of a property such as `sasl.jaas.config`.
///
/// # Errors
/// What is wrong.
pub fn module(text: &str) -> Result<LoginModule, String> {
    let mut modules = modules(&tokens(text)?)?;
    match (modules.pop(), modules.len()) {
        (Some(module), 0) => Ok(module),
        (None, _) => Err("there is no login module".into()),
        (Some(_), more) => Err(format!("there are {} login modules, not one", more + 1)),
    }
}

/// The modules of an entry of a file: `Name { module; ... };`.
///
/// # Errors
/// What is wrong with what stands up to this entry.
pub fn entry(text: &str, name: &str) -> Result<Vec<LoginModule>, String> {
    let tokens = tokens(text)?;
    let mut rest = tokens.as_slice();
    while let [found, open, after @ ..] = rest {
        let found = found.text().ok_or("the name of an entry is expected")?;
        if *open != Token::Sign('{') {
            return Err(format!("`{{` is expected behind {found}"));
        }
        let end = after.iter().position(|token| *token == Token::Sign('}'));
        let end = end.ok_or_else(|| format!("the entry {found} has no end"))?;
        if found == name {
            return modules(&after[..end]);
        }
        rest = &after[end + 1..];
        rest = rest.strip_prefix(&[Token::Sign(';')]).unwrap_or(rest);
    }
    Err("there is no such entry".into())
}

/// Each ends with a semicolon.
fn modules(tokens: &[Token]) -> Result<Vec<LoginModule>, String> {
    let mut lines: Vec<_> = tokens.split(|token| *token == Token::Sign(';')).collect();
    if lines.pop().is_some_and(|behind| !behind.is_empty()) {
        return Err("a login module has no `;` at its end".into());
    }
    lines.into_iter().map(line).collect()
}

fn line(tokens: &[Token]) -> Result<LoginModule, String> {
    const FLAGS: [&str; 4] = ["required", "requisite", "sufficient", "optional"];
    let [class, flag, options @ ..] = tokens else { return Err("a login module has no flag such as `required`".into()) };
    let class = class.text().ok_or("the class of a login module is expected")?.to_owned();
    if !flag.text().is_some_and(|flag| FLAGS.iter().any(|known| flag.eq_ignore_ascii_case(known))) {
        return Err(format!("behind {class} stands none of {}", FLAGS.join(", ")));
    }
    let option = |option: &[Token]| match option {
        [key, Token::Sign('='), value] => Some((key.text()?.to_owned(), value.text()?.to_owned())),
        _ => None,
    };
    let options = options.chunks(3).map(option).collect::<Option<_>>();
    let options = options.ok_or_else(|| format!("an option of {class} is not written key=\"value\""))?;
    Ok(LoginModule { class, options })
}

#[derive(Debug, PartialEq)]
enum Token {
    /// Bare or in quotes.
    Text(String),
    /// One of [`SIGNS`].
    Sign(char),
}

const SIGNS: [char; 4] = ['{', '}', ';', '='];

impl Token {
    fn text(&self) -> Option<&str> {
        match self {
            Token::Text(text) => Some(text),
            Token::Sign(_) => None,
        }
    }
}

/// Without comments.
fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        if rest.starts_with("//") {
            rest = rest.split_once('\n').map_or("", |(_, after)| after);
        } else if rest.starts_with("/*") {
            rest = rest.split_once("*/").ok_or("a comment has no end")?.1;
        } else if first == '"' {
            let (quoted, after) = quoted(&rest[1..]).ok_or("a quoted text has no end")?;
            tokens.push(Token::Text(quoted));
            rest = after;
        } else if SIGNS.contains(&first) {
            tokens.push(Token::Sign(first));
            rest = &rest[1..];
        } else {
            let ends = |c: char| c.is_whitespace() || c == '"' || SIGNS.contains(&c);
            let (word, after) = rest.split_at(rest.find(ends).unwrap_or(rest.len()));
            tokens.push(Token::Text(word.to_owned()));
            rest = after;
        }
        rest = rest.trim_start();
    }
    Ok(tokens)
}

/// What stands before the closing quote, and what behind it. A backslash goes before a quote or another backslash, as in Java;
/// its letters for control characters (`\n`) are understood, too.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => value.push(match chars.next()?.1 {
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                other => other,
            }),
            c => value.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_bare_and_in_quotes() {
        let login = module(
            r#"a.B required user="al ice"  pass="a\"b;c=\\}" n=1 // of ours
            url=https://x/y ;"#,
        );
        let login = login.unwrap();
        assert_eq!(login.class, "a.B");
        let check = |key: &str, expected: Option<&str>| assert_eq!(login.option(key), expected, "{key}");
        check("user", Some("al ice"));
        check("pass", Some("a\"b;c=\\}"));
        check("n", Some("1"));
        check("url", Some("https://x/y"));
        check("none", None);
        assert!(module("a.B REQUIRED;").unwrap().options.is_empty());
    }

    #[test]
    fn what_is_wrong_is_said_without_what_stands_there() {
        let check = |text: &str, says: &str| {
            let why = module(text).unwrap_err();
            assert!(why.contains(says) && !why.contains("s3cret"), "{text}: {why}");
        };
        check("", "no login module");
        check("a.B required", "no `;` at its end");
        check("a.B;", "has no flag");
        check("a.B s3cret;", "behind a.B stands none of required");
        check("a.B required user=\"s3cret;", "has no end");
        check("a.B required user;", "an option of a.B is not written");
        check("a.B required user= ;", "an option of a.B is not written");
        check("a.B required password= two s3cret words;", "an option of a.B is not written");
        check("a.B required; c.D required;", "there are 2 login modules");
    }

    #[test]
    fn entries_of_files_are_told_apart() {
        let text = r#"
            // Of the brokers' clients; "quoted.
            KafkaClient { x.Y required password="};"; };
            /* Of REST. */
            KafkaConnect { a.B required file="f" debug=true; c.D optional; };"#;
        let classes = |name: &str| entry(text, name).map(|found| found.into_iter().map(|m| m.class).collect::<Vec<_>>());
        assert_eq!(classes("KafkaConnect").unwrap(), ["a.B", "c.D"]);
        assert_eq!(entry(text, "KafkaClient").unwrap()[0].option("password"), Some("};"));
        assert_eq!(classes("Other").unwrap_err(), "there is no such entry");
        assert!(entry("KafkaConnect { a.B required", "KafkaConnect").unwrap_err().contains("has no end"));
        assert!(entry("KafkaConnect a.B required;", "KafkaConnect").unwrap_err().contains("`{` is expected"));
    }
}
