//! Configuration keys as data: one list validates, documents and answers REST.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::error::{Error, Result};

/// Properties as a user wrote them, variables resolved.
pub type Props = BTreeMap<String, String>;

/// Connect's `ConfigDef.Type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigType {
    Boolean,
    String,
    Short,
    Int,
    Long,
    Double,
    /// Values separated by commas.
    List,
    /// The name of a plugin class.
    Class,
    /// A string that is never shown.
    Password,
}

impl ConfigType {
    /// Connect's upper-case name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            ConfigType::Boolean => "BOOLEAN",
            ConfigType::String => "STRING",
            ConfigType::Short => "SHORT",
            ConfigType::Int => "INT",
            ConfigType::Long => "LONG",
            ConfigType::Double => "DOUBLE",
            ConfigType::List => "LIST",
            ConfigType::Class => "CLASS",
            ConfigType::Password => "PASSWORD",
        }
    }
}

/// How much a key matters to users.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Importance {
    High,
    Medium,
    Low,
}

impl Importance {
    /// Connect's upper-case name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Importance::High => "HIGH",
            Importance::Medium => "MEDIUM",
            Importance::Low => "LOW",
        }
    }
}

/// How much room a key's value wants on a form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    None,
    Short,
    Medium,
    Long,
}

impl Width {
    /// Connect's upper-case name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Width::None => "NONE",
            Width::Short => "SHORT",
            Width::Medium => "MEDIUM",
            Width::Long => "LONG",
        }
    }
}

/// What holds when a key is not given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Default {
    /// It must be given.
    Required,
    /// It is null.
    Null,
    /// As if this had been written.
    Value(String),
}

/// What a value must satisfy beyond its type.
#[derive(Clone)]
pub enum Check {
    Any,
    /// Not empty after trimming.
    NonEmpty,
    /// One of these.
    OneOf(Vec<String>),
    /// One of these, in any case.
    OneOfIgnoreCase(Vec<String>),
    /// At least.
    Min(f64),
    /// Between, both included.
    Range(f64, f64),
    /// Anything else: answers what is wrong.
    Custom(fn(&str) -> std::result::Result<(), String>),
    /// The same, for whoever must know more than the value: within what a worker grants, for example.
    Within(Arc<dyn Fn(&str) -> std::result::Result<(), String> + Send + Sync>),
}

impl fmt::Debug for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Check::Any => f.write_str("Any"),
            Check::NonEmpty => f.write_str("NonEmpty"),
            Check::OneOf(values) => write!(f, "OneOf({values:?})"),
            Check::OneOfIgnoreCase(values) => write!(f, "OneOfIgnoreCase({values:?})"),
            Check::Min(min) => write!(f, "Min({min})"),
            Check::Range(min, max) => write!(f, "Range({min}, {max})"),
            Check::Custom(_) => f.write_str("Custom"),
            Check::Within(_) => f.write_str("Within"),
        }
    }
}

/// One key.
#[derive(Clone, Debug)]
pub struct ConfigKey {
    pub name: String,
    pub kind: ConfigType,
    pub default: Default,
    pub check: Check,
    pub importance: Importance,
    pub doc: String,
    /// The heading under which forms show the key.
    pub group: Option<String>,
    /// The place within the group, from 1; -1 without a group.
    pub order: i32,
    pub width: Width,
    pub display_name: String,
    pub dependents: Vec<String>,
    /// Values to offer.
    pub recommended: Vec<String>,
    /// Left out of listings.
    pub internal: bool,
}

impl ConfigKey {
    /// A key that must be given.
    pub fn required(name: impl Into<String>, kind: ConfigType, doc: impl Into<String>) -> Self {
        let name = name.into();
        Self {
            display_name: name.clone(),
            name,
            kind,
            default: Default::Required,
            check: Check::Any,
            importance: Importance::High,
            doc: doc.into(),
            group: None,
            order: -1,
            width: Width::None,
            dependents: Vec::new(),
            recommended: Vec::new(),
            internal: false,
        }
    }

    /// A key that is null when not given.
    pub fn nullable(name: impl Into<String>, kind: ConfigType, doc: impl Into<String>) -> Self {
        Self { default: Default::Null, importance: Importance::Medium, ..Self::required(name, kind, doc) }
    }

    /// A key with a default.
    pub fn optional(name: impl Into<String>, kind: ConfigType, default: impl Into<String>, doc: impl Into<String>) -> Self {
        Self { default: Default::Value(default.into()), ..Self::nullable(name, kind, doc) }
    }

    /// The same, with a check.
    #[must_use]
    pub fn check(mut self, check: Check) -> Self {
        self.check = check;
        self
    }

    /// The same, with an importance.
    #[must_use]
    pub fn importance(mut self, importance: Importance) -> Self {
        self.importance = importance;
        self
    }

    /// The same, shown by a width and a display name.
    #[must_use]
    pub fn shown_as(mut self, width: Width, display_name: &str) -> Self {
        self.width = width;
        display_name.clone_into(&mut self.display_name);
        self
    }

    /// The same, shown in a group at a place, under a display name.
    #[must_use]
    pub fn shown(mut self, group: &str, order: i32, width: Width, display_name: &str) -> Self {
        self.group = Some(group.to_owned());
        self.order = order;
        self.width = width;
        display_name.clone_into(&mut self.display_name);
        self
    }
}

/// The keys of a plugin, in order.
#[derive(Clone, Debug, std::default::Default)]
pub struct ConfigDef {
    keys: Vec<ConfigKey>,
}

/// What validation says of one key.
#[derive(Clone, Debug, PartialEq)]
pub struct ConfigValue {
    pub name: String,
    /// As written, or the default; `None` for null.
    pub value: Option<String>,
    pub errors: Vec<String>,
    pub visible: bool,
}

impl ConfigDef {
    /// The definition of these keys.
    ///
    /// # Panics
    /// When a key is declared twice.
    pub fn new(keys: impl IntoIterator<Item = ConfigKey>) -> Self {
        let mut def = Self::default();
        for key in keys {
            def.add(key);
        }
        def
    }

    /// Appends a key.
    ///
    /// # Panics
    /// When a key of that name is there.
    pub fn add(&mut self, key: ConfigKey) {
        assert!(self.get(&key.name).is_none(), "configuration key {} is declared twice", key.name);
        self.keys.push(key);
    }

    /// The keys, in order.
    #[must_use]
    pub fn keys(&self) -> &[ConfigKey] {
        &self.keys
    }

    /// The key of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&ConfigKey> {
        self.keys.iter().find(|k| k.name == name)
    }

    /// The groups, in the order of their first key.
    #[must_use]
    pub fn groups(&self) -> Vec<&str> {
        let mut groups = Vec::new();
        for group in self.keys.iter().filter_map(|k| k.group.as_deref()) {
            if !groups.contains(&group) {
                groups.push(group);
            }
        }
        groups
    }

    /// Says of every key what it is and what is wrong, with Java's messages.
    #[must_use]
    pub fn validate(&self, props: &Props) -> Vec<ConfigValue> {
        self.keys.iter().map(|key| key.validate(props.get(&key.name).map(String::as_str))).collect()
    }

    /// Reads all keys, once; further in nobody asks for a raw string.
    ///
    /// # Errors
    /// `Config` with the first thing that is wrong.
    pub fn parse(&self, props: &Props) -> Result<Parsed> {
        let mut values = BTreeMap::new();
        for value in self.validate(props) {
            if let Some(message) = value.errors.into_iter().next() {
                return Err(Error::config(message));
            }
            values.insert(value.name, value.value);
        }
        Ok(Parsed { values })
    }
}

impl ConfigKey {
    /// Says what a given text is worth, with Java's messages.
    #[must_use]
    pub fn validate(&self, given: Option<&str>) -> ConfigValue {
        let trimmed = given.map(|text| if self.kind == ConfigType::Password { text } else { text.trim() });
        let (value, errors) = match (given.zip(trimmed), &self.default) {
            (Some((written, text)), _) => match type_check(self.kind, text) {
                Ok(()) => (Some(text.to_owned()), self.errors_of(text)),
                // As in Java, what is of another type counts as null from here on, and null is checked like any value.
                Err(why) => (None, std::iter::once(self.wrong(written, why)).chain(self.null_error()).collect()),
            },
            (None, Default::Value(default)) => (Some(default.clone()), Vec::new()),
            (None, Default::Null) => (None, Vec::new()),
            (None, Default::Required) => {
                let missing = format!("Missing required configuration \"{}\" which has no default value.", self.name);
                (None, std::iter::once(missing).chain(self.null_error()).collect())
            }
        };
        ConfigValue { name: self.name.clone(), value, errors, visible: true }
    }

    fn wrong(&self, text: &str, why: &str) -> String {
        let shown = if self.kind == ConfigType::Password { "[hidden]" } else { text };
        format!("Invalid value {shown} for configuration {}: {why}", self.name)
    }

    /// What Java's check says of null.
    #[must_use]
    pub fn null_error(&self) -> Option<String> {
        match &self.check {
            Check::Min(_) | Check::Range(..) => Some(self.wrong("null", "Value must be non-null")),
            Check::OneOf(_) | Check::OneOfIgnoreCase(_) => self.check.run("\0").err().map(|why| self.wrong("null", &why)),
            Check::Any | Check::NonEmpty | Check::Custom(_) | Check::Within(_) => None,
        }
    }

    fn errors_of(&self, text: &str) -> Vec<String> {
        self.check.run(text).err().map(|why| self.wrong(text, &why)).into_iter().collect()
    }
}

fn type_check(kind: ConfigType, text: &str) -> std::result::Result<(), &'static str> {
    match kind {
        ConfigType::Boolean if !text.eq_ignore_ascii_case("true") && !text.eq_ignore_ascii_case("false") => {
            Err("Expected value to be either true or false")
        }
        ConfigType::Short if text.parse::<i16>().is_err() => Err("Not a number of type SHORT"),
        ConfigType::Int if text.parse::<i32>().is_err() => Err("Not a number of type INT"),
        ConfigType::Long if text.parse::<i64>().is_err() => Err("Not a number of type LONG"),
        ConfigType::Double if text.parse::<f64>().is_err() => Err("Not a number of type DOUBLE"),
        _ => Ok(()),
    }
}

impl Check {
    fn run(&self, text: &str) -> std::result::Result<(), String> {
        match self {
            Check::Any => Ok(()),
            Check::NonEmpty if text.trim().is_empty() => Err("String must be non-empty".into()),
            Check::NonEmpty => Ok(()),
            Check::OneOf(values) if values.iter().any(|v| v == text) => Ok(()),
            Check::OneOfIgnoreCase(values) if values.iter().any(|v| v.eq_ignore_ascii_case(text)) => Ok(()),
            Check::OneOf(values) => Err(format!("String must be one of: {}", values.join(", "))),
            Check::OneOfIgnoreCase(values) => Err(format!("String must be one of (case insensitive): {}", values.join(", "))),
            Check::Min(min) => match text.parse::<f64>() {
                Ok(n) if n >= *min => Ok(()),
                _ => Err(format!("Value must be at least {min}")),
            },
            Check::Range(min, max) => match text.parse::<f64>() {
                Ok(n) if n < *min => Err(format!("Value must be at least {min}")),
                Ok(n) if n > *max => Err(format!("Value must be no more than {max}")),
                Ok(_) => Ok(()),
                Err(_) => Err(format!("Value must be at least {min}")),
            },
            Check::Custom(check) => check(text),
            Check::Within(check) => check(text),
        }
    }
}

/// Values of all keys of a [`ConfigDef`], known to be good.
///
/// The getters panic on a key that the definition does not have, or has with another type: a mistake of the caller.
#[derive(Clone, Debug)]
pub struct Parsed {
    values: BTreeMap<String, Option<String>>,
}

impl Parsed {
    /// The text of a key; `None` for null.
    #[must_use]
    pub fn text(&self, key: &str) -> Option<&str> {
        self.values.get(key).unwrap_or_else(|| panic!("{key} is not a declared configuration key")).as_deref()
    }

    /// The text of a key that has a default or is required.
    #[must_use]
    pub fn string(&self, key: &str) -> &str {
        self.text(key).unwrap_or_else(|| panic!("{key} may be null: ask for its text"))
    }

    /// A `Boolean`.
    #[must_use]
    pub fn boolean(&self, key: &str) -> bool {
        self.string(key).eq_ignore_ascii_case("true")
    }

    /// A number, of whatever type was declared.
    #[must_use]
    pub fn number<N: std::str::FromStr>(&self, key: &str) -> N {
        self.string(key).parse().unwrap_or_else(|_| panic!("{key} is not declared as such a number"))
    }

    /// A number of milliseconds; a negative one counts as zero.
    #[must_use]
    pub fn millis(&self, key: &str) -> Duration {
        Duration::from_millis(u64::try_from(self.number::<i64>(key)).unwrap_or(0))
    }

    /// A `List`: trimmed items; null and the empty text have none.
    #[must_use]
    pub fn list(&self, key: &str) -> Vec<String> {
        split_list(self.text(key).unwrap_or_default())
    }
}

/// Splits a `List` as Kafka does: at commas, trimmed; an empty text has no items.
#[must_use]
pub fn split_list(text: &str) -> Vec<String> {
    let text = text.trim();
    if text.is_empty() {
        return Vec::new();
    }
    text.split(',').map(|item| item.trim().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errors(key: ConfigKey, given: Option<&str>) -> Vec<String> {
        key.validate(given).errors
    }

    #[test]
    fn messages_are_javas() {
        let key = || ConfigKey::required("tasks.max", ConfigType::Int, "Tasks.").check(Check::Min(1.0));
        let null = "Invalid value null for configuration tasks.max: Value must be non-null";
        assert_eq!(errors(key(), None), ["Missing required configuration \"tasks.max\" which has no default value.", null]);
        assert_eq!(errors(key(), Some("x")), ["Invalid value x for configuration tasks.max: Not a number of type INT", null]);
        assert_eq!(errors(key(), Some("0")), ["Invalid value 0 for configuration tasks.max: Value must be at least 1"]);
        assert_eq!(errors(key(), Some(" x")), ["Invalid value  x for configuration tasks.max: Not a number of type INT", null]);
        assert!(errors(key(), Some(" 2 ")).is_empty());
    }

    #[test]
    fn passwords_are_never_shown() {
        let key = ConfigKey::required("secret", ConfigType::Password, "").check(Check::Custom(|_| Err("too short".into())));
        assert_eq!(errors(key, Some("abc")), ["Invalid value [hidden] for configuration secret: too short"]);
    }
}
