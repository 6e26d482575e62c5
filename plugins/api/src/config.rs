//! Configuration keys as data: one list validates, documents and answers REST.

use std::collections::{BTreeMap, BTreeSet};
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

/// What a value must satisfy beyond its type. Each says what Java's of its kind says, also of null: of a key that was given as null, or
/// whose text is not of the key's type.
#[derive(Clone)]
pub enum Check {
    Any,
    /// Not null. (Whether a key may be left out is a matter of its default.)
    NonNull,
    /// Not empty after trimming; null is not looked at.
    NonEmpty,
    /// One of these.
    OneOf(Vec<String>),
    /// One of these, in any case.
    OneOfIgnoreCase(Vec<String>),
    /// At least.
    Min(f64),
    /// Between, both included.
    Range(f64, f64),
    /// A list, not null, whose items are neither empty nor there twice.
    List {
        /// What an item may be; `None`: anything.
        of: Option<Vec<String>>,
        may_be_empty: bool,
    },
    /// All of these; the first that is not satisfied counts.
    All(Vec<Check>),
    /// Anything else: answers what is wrong, to stand behind the key and its value. Null is not looked at.
    Custom(fn(&str) -> std::result::Result<(), String>),
    /// The same, for whoever must know more than the value: within what a worker grants, for example.
    Within(Arc<dyn Fn(&str) -> std::result::Result<(), String> + Send + Sync>),
}

impl fmt::Debug for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Check::Any => f.write_str("Any"),
            Check::NonNull => f.write_str("NonNull"),
            Check::NonEmpty => f.write_str("NonEmpty"),
            Check::OneOf(values) => write!(f, "OneOf({values:?})"),
            Check::OneOfIgnoreCase(values) => write!(f, "OneOfIgnoreCase({values:?})"),
            Check::Min(min) => write!(f, "Min({min})"),
            Check::Range(min, max) => write!(f, "Range({min}, {max})"),
            Check::List { of, may_be_empty } => write!(f, "List({of:?}, may_be_empty: {may_be_empty})"),
            Check::All(checks) => write!(f, "All({checks:?})"),
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

    /// Reads all keys, once; further in nobody asks for a raw string. What a list has twice is a mistake only to
    /// [`validate`](Self::validate), as in Java (KIP-1161): what was stored before somebody minded goes on.
    ///
    /// # Errors
    /// `Config` with the first thing that is wrong.
    pub fn parse(&self, props: &Props) -> Result<Parsed> {
        let mut values = BTreeMap::new();
        for key in &self.keys {
            let given = props.get(&key.name).map(String::as_str);
            let ConfigValue { name, value, mut errors, .. } = key.validate(given);
            if let Some(given) = given.filter(|_| !errors.is_empty() && key.check.is_of_lists()) {
                errors = key.validate(Some(&listed_once(given))).errors;
            }
            if let Some(message) = errors.into_iter().next() {
                return Err(Error::config(message));
            }
            values.insert(name, value);
        }
        Ok(Parsed { values })
    }
}

impl ConfigKey {
    /// Says what a given text is worth, with Java's messages; `None`: the key is not given.
    #[must_use]
    pub fn validate(&self, given: Option<&str>) -> ConfigValue {
        let trimmed = given.map(|text| if self.kind == ConfigType::Password { text } else { text.trim() });
        let (value, errors) = match (given.zip(trimmed), &self.default) {
            (Some((written, text)), _) => match type_check(self.kind, text) {
                Ok(()) => (Some(text), self.check.error(self, Some(text)).into_iter().collect()),
                // As in Java, what is of another type counts as null from here on, and null is checked like any value.
                Err(why) => (None, std::iter::once(self.wrong(Some(written), why)).chain(self.null_error()).collect()),
            },
            (None, Default::Value(default)) => (Some(default.as_str()), Vec::new()),
            (None, Default::Null) => (None, Vec::new()),
            (None, Default::Required) => {
                let missing = format!("Missing required configuration \"{}\" which has no default value.", self.name);
                (None, std::iter::once(missing).chain(self.null_error()).collect())
            }
        };
        self.found(value, errors)
    }

    /// Says the same of a null that somebody gave: no default stands in for it.
    #[must_use]
    pub fn validate_null(&self) -> ConfigValue {
        self.found(None, self.null_error().into_iter().collect())
    }

    fn found(&self, value: Option<&str>, errors: Vec<String>) -> ConfigValue {
        ConfigValue { name: self.name.clone(), value: value.map(str::to_owned), errors, visible: true }
    }

    fn null_error(&self) -> Option<String> {
        self.check.error(self, None)
    }

    fn wrong(&self, value: Option<&str>, why: impl fmt::Display) -> String {
        let shown = match (value, self.kind) {
            (None, _) => "null".to_owned(),
            (Some(_), ConfigType::Password) => "[hidden]".to_owned(),
            (Some(text), ConfigType::List) => format!("[{}]", split_list(text).join(", ")),
            (Some(text), _) => text.to_owned(),
        };
        format!("Invalid value {shown} for configuration {}: {why}", self.name)
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
    fn is_of_lists(&self) -> bool {
        match self {
            Check::List { .. } => true,
            Check::All(checks) => checks.iter().any(Check::is_of_lists),
            _ => false,
        }
    }

    /// The whole message of what is wrong with a key's value; `None` as a value is null.
    fn error(&self, key: &ConfigKey, value: Option<&str>) -> Option<String> {
        let why = match (self, value) {
            (Check::All(checks), _) => return checks.iter().find_map(|check| check.error(key, value)),
            (Check::List { of, may_be_empty }, _) => return list_error(key, value, of.as_deref(), *may_be_empty),
            (Check::NonNull, None) => "entry must be non null".to_owned(),
            (Check::Min(_) | Check::Range(..), None) => "Value must be non-null".to_owned(),
            (Check::OneOf(values), text) if !text.is_some_and(|text| values.iter().any(|v| v == text)) => {
                format!("String must be one of: {}", values.join(", "))
            }
            (Check::OneOfIgnoreCase(values), text)
                if !text.is_some_and(|text| values.iter().any(|v| v.eq_ignore_ascii_case(text))) =>
            {
                format!("String must be one of (case insensitive): {}", values.join(", "))
            }
            (Check::NonEmpty, Some(text)) if text.trim().is_empty() => "String must be non-empty".to_owned(),
            (Check::Min(min), Some(text)) => out_of_range(text, *min, f64::INFINITY)?,
            (Check::Range(min, max), Some(text)) => out_of_range(text, *min, *max)?,
            (Check::Custom(check), Some(text)) => check(text).err()?,
            (Check::Within(check), Some(text)) => check(text).err()?,
            _ => return None,
        };
        Some(key.wrong(value, why))
    }
}

/// The list without what stands in it before.
fn listed_once(text: &str) -> String {
    let mut items: Vec<String> = Vec::new();
    for item in split_list(text) {
        if !items.contains(&item) {
            items.push(item);
        }
    }
    items.join(",")
}

fn out_of_range(text: &str, min: f64, max: f64) -> Option<String> {
    match text.parse::<f64>() {
        Ok(n) if n > max => Some(format!("Value must be no more than {max}")),
        Ok(n) if n >= min => None,
        _ => Some(format!("Value must be at least {min}")),
    }
}

/// In words of its own, as Java's `ValidList` has them (KIP-1161).
fn list_error(key: &ConfigKey, value: Option<&str>, of: Option<&[String]>, may_be_empty: bool) -> Option<String> {
    let name = &key.name;
    let Some(text) = value else { return Some(format!("Configuration '{name}' values must not be null.")) };
    let items = split_list(text);
    if items.is_empty() && !may_be_empty {
        let valid = of.map_or("any non-empty value".to_owned(), |of| format!("[{}]", of.join(", ")));
        return Some(format!("Configuration '{name}' must not be empty. Valid values include: {valid}"));
    }
    if items.iter().collect::<BTreeSet<_>>().len() < items.len() {
        return Some(format!("Configuration '{name}' values must not be duplicated."));
    }
    items.iter().find_map(|item| match of {
        _ if item.is_empty() => Some(format!("Configuration '{name}' values must not be empty.")),
        Some(of) if !of.contains(item) => {
            Some(format!("Invalid value {item} for configuration {name}: String must be one of: {}", of.join(", ")))
        }
        _ => None,
    })
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
    fn null_is_checked_where_java_does() {
        let check = |check: Check, expected: &[&str]| {
            let key = ConfigKey::optional("k", ConfigType::String, "x", "").check(check);
            assert_eq!(key.validate_null().errors, expected);
            assert_eq!(key.validate_null().value, None);
        };
        let one_of = || vec!["a".to_owned(), "b".to_owned()];
        let of = || Check::List { of: Some(one_of()), may_be_empty: true };
        check(Check::Any, &[]);
        check(Check::NonEmpty, &[]);
        check(Check::Custom(|_| Err("never asked".into())), &[]);
        check(Check::NonNull, &["Invalid value null for configuration k: entry must be non null"]);
        check(Check::OneOf(one_of()), &["Invalid value null for configuration k: String must be one of: a, b"]);
        check(Check::Range(1.0, 2.0), &["Invalid value null for configuration k: Value must be non-null"]);
        check(of(), &["Configuration 'k' values must not be null."]);
        check(Check::All(vec![Check::NonNull, of()]), &["Invalid value null for configuration k: entry must be non null"]);
    }

    #[test]
    fn lists_have_words_of_their_own() {
        let check = |of: &[&str], may_be_empty: bool, text: &str, expected: &[&str]| {
            let of = (!of.is_empty()).then(|| of.iter().map(|item| (*item).to_owned()).collect());
            let key = ConfigKey::required("k", ConfigType::List, "").check(Check::List { of, may_be_empty });
            assert_eq!(errors(key, Some(text)), expected, "{text}");
        };
        check(&[], true, "", &[]);
        check(&[], false, " ", &["Configuration 'k' must not be empty. Valid values include: any non-empty value"]);
        check(&["a", "b"], false, "", &["Configuration 'k' must not be empty. Valid values include: [a, b]"]);
        check(&[], false, "a, ,b", &["Configuration 'k' values must not be empty."]);
        check(&[], false, "a,b , a", &["Configuration 'k' values must not be duplicated."]);
        check(&["a", "b"], false, "b,a", &[]);
        check(&["a", "b"], false, "b,c", &["Invalid value c for configuration k: String must be one of: a, b"]);
        // Whoever reads it goes on.
        let key = ConfigKey::required("k", ConfigType::List, "").check(Check::List { of: None, may_be_empty: false });
        let parsed = |text: &str| ConfigDef::new([key.clone()]).parse(&Props::from([("k".to_owned(), text.to_owned())]));
        assert_eq!(parsed("a,b , a").unwrap().list("k"), ["a", "b", "a"]);
        assert!(parsed("a,,a").is_err() && parsed("").is_err());
        let key = ConfigKey::required("k", ConfigType::List, "").check(Check::Custom(|_| Err("no".into())));
        assert_eq!(errors(key, Some("a,b ")), ["Invalid value [a, b] for configuration k: no"]);
    }

    #[test]
    fn passwords_are_never_shown() {
        let key = ConfigKey::required("secret", ConfigType::Password, "").check(Check::Custom(|_| Err("too short".into())));
        assert_eq!(errors(key, Some("abc")), ["Invalid value [hidden] for configuration secret: too short"]);
    }
}
