//! Names of tables and columns: Snowflake's quoting, and the official connector's rules.

use fancy_regex::Regex;
use std::fmt;

/// A name as Snowflake stores it; written in SQL it is quoted, so case and odd characters survive.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ident(pub String);

/// A table with its database and schema.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TableName {
    pub database: Ident,
    pub schema: Ident,
    pub name: Ident,
}

impl Ident {
    /// Reads a name as SQL would: `"as it is"`, or unquoted and so upper-cased.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        match unquoted(text) {
            Some(inner) => Self(inner),
            None => Self(text.to_uppercase()),
        }
    }

    /// Takes the name as it is stored.
    pub fn verbatim(name: impl Into<String>) -> Self {
        Self(name.into())
    }
}

/// Quoted, for SQL.
impl fmt::Display for Ident {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.replace('"', "\"\""))
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.database, self.schema, self.name)
    }
}

/// A string literal for SQL. Snowflake reads backslashes in literals as escapes.
#[must_use]
pub fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

/// The inside of `"quoted"`, doubled quotes undone; `None` when the text is not quoted.
fn unquoted(text: &str) -> Option<String> {
    let inner = text.strip_prefix('"')?.strip_suffix('"')?;
    (!inner.is_empty() && text.len() >= 2).then(|| inner.replace("\"\"", "\""))
}

/// The table of a topic that the map does not mention: its name as it is (v4), or made valid and upper-cased (v3).
#[must_use]
pub fn table_for_topic(topic: &str, sanitize: bool) -> Ident {
    if !sanitize {
        return Ident::verbatim(topic);
    }
    if is_plain(topic) {
        return Ident(topic.to_uppercase());
    }
    let mut name = String::with_capacity(topic.len() + 12);
    for (at, c) in topic.replace(".*", "").chars().enumerate() {
        let fits = c == '_' || c.is_ascii_alphabetic() || (at > 0 && (c == '$' || c.is_ascii_digit()));
        name.push(if fits { c } else { '_' });
    }
    Ident(format!("{name}_{}", i64::from(java_hash(topic)).abs()).to_uppercase())
}

/// The column of a field: its name as it is (v4), or read as SQL would (v3).
#[must_use]
pub fn column_for_field(field: &str, normalize: bool) -> Ident {
    if normalize { Ident::parse(&field.replace("\\ ", " ")) } else { Ident::verbatim(field) }
}

/// `[_a-zA-Z][_$a-zA-Z0-9]+`, what needs no quotes; two characters at least, as in the official connector.
fn is_plain(name: &str) -> bool {
    let mut chars = name.chars();
    let first = chars.next().is_some_and(|c| c == '_' || c.is_ascii_alphabetic());
    first && name.len() >= 2 && chars.all(|c| c == '_' || c == '$' || c.is_ascii_alphanumeric())
}

/// Java's `String.hashCode`, which the official connector appends to names it had to change.
fn java_hash(text: &str) -> i32 {
    text.encode_utf16().fold(0i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)))
}

/// `snowflake.topic2table.map`: which topics go to which table.
#[derive(Debug, Default)]
pub struct TopicMap {
    entries: Vec<Entry>,
    expand: bool,
}

#[derive(Debug)]
struct Entry {
    topic: String,
    pattern: Regex,
    table: String,
}

impl TopicMap {
    /// Reads `topic:table,..`. The topic side is a regular expression that must match the whole name; either side may be
    /// quoted. With `expand` the table side may name groups: `$1`, `${name}`.
    ///
    /// # Errors
    /// What is wrong: a pair that is none, a topic mapped twice, patterns that overlap.
    pub fn parse(text: &str, expand: bool) -> Result<Self, String> {
        let mut entries: Vec<Entry> = Vec::new();
        for pair in split_outside_quotes(text, ',').into_iter().map(str::trim).filter(|p| !p.is_empty()) {
            let sides = split_outside_quotes(pair, ':');
            let [topic, table] = sides.as_slice() else {
                return Err(format!("`{pair}` is not of the form topic:table"));
            };
            let (topic, table) = (topic.trim(), table.trim());
            let topic = unquoted(topic).unwrap_or_else(|| topic.to_owned());
            if topic.is_empty() || table.is_empty() {
                return Err(format!("`{pair}` is not of the form topic:table"));
            }
            let pattern =
                Regex::new(&format!("^(?:{topic})$")).map_err(|e| format!("`{topic}` is no regular expression: {e}"))?;
            for other in &entries {
                let overlaps = other.topic == topic || matches(&other.pattern, &topic) || matches(&pattern, &other.topic);
                if overlaps {
                    return Err(format!("topics `{}` and `{topic}` overlap: a topic can go to one table only", other.topic));
                }
            }
            entries.push(Entry { topic, pattern, table: table.to_owned() });
        }
        Ok(Self { entries, expand })
    }

    /// The table side for a topic, if it is mapped: up to three names, `database.schema.table`.
    #[must_use]
    pub fn table(&self, topic: &str) -> Option<Vec<Ident>> {
        let entry = self.entries.iter().find(|e| matches(&e.pattern, topic))?;
        let mut table = entry.table.clone();
        if self.expand
            && let Ok(Some(groups)) = entry.pattern.captures(topic)
        {
            table.clear();
            groups.expand(&entry.table, &mut table);
        }
        Some(split_outside_quotes(&table, '.').into_iter().map(Ident::parse).collect())
    }
}

fn matches(pattern: &Regex, text: &str) -> bool {
    pattern.is_match(text).unwrap_or(false)
}

fn split_outside_quotes(text: &str, separator: char) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut start, mut quoted) = (0, false);
    for (at, c) in text.char_indices() {
        if c == '"' {
            quoted = !quoted;
        } else if c == separator && !quoted {
            parts.push(&text[start..at]);
            start = at + c.len_utf8();
        }
    }
    parts.push(&text[start..]);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_are_read_as_sql_reads_them() {
        assert_eq!(Ident::parse("orders"), Ident("ORDERS".into()));
        assert_eq!(Ident::parse("\"or\"\"ders\""), Ident("or\"ders".into()));
        assert_eq!(Ident("or\"ders".into()).to_string(), "\"or\"\"ders\"");
        assert_eq!(literal(r"a'b\c"), r"'a''b\\c'");
    }

    #[test]
    fn table_names_follow_the_official_connector() {
        assert_eq!(table_for_topic("retail.orders", false).0, "retail.orders");
        assert_eq!(table_for_topic("orders", true).0, "ORDERS");
        assert_eq!(table_for_topic("ab.cd", true).0, format!("AB_CD_{}", i64::from(java_hash("ab.cd")).abs()));
        assert_eq!(java_hash("ab.cd"), 92_548_430);
        assert_eq!(table_for_topic("1x", true).0, format!("_X_{}", java_hash("1x")));
    }

    #[test]
    fn columns_are_normalised_only_on_request() {
        assert_eq!(column_for_field("userId", false).0, "userId");
        assert_eq!(column_for_field("userId", true).0, "USERID");
        assert_eq!(column_for_field("\"userId\"", true).0, "userId");
    }

    fn table(map: &str, topic: &str) -> Option<String> {
        let names = TopicMap::parse(map, false).unwrap().table(topic)?;
        Some(names.iter().map(|n| n.0.as_str()).collect::<Vec<_>>().join("."))
    }

    #[test]
    fn topics_are_mapped_by_whole_name() {
        let map = r#"orders:sales, "a:b":"Low", events-.*:raw.landing.events"#;
        assert_eq!(table(map, "orders").as_deref(), Some("SALES"));
        assert_eq!(table(map, "orders2"), None);
        assert_eq!(table(map, "a:b").as_deref(), Some("Low"));
        assert_eq!(table(map, "events-eu").as_deref(), Some("RAW.LANDING.EVENTS"));
    }

    #[test]
    fn groups_are_expanded_only_on_request() {
        let expanded = TopicMap::parse("ev-(.*):t_$1", true).unwrap();
        assert_eq!(expanded.table("ev-eu").unwrap(), [Ident("T_EU".into())]);
        assert_eq!(TopicMap::parse("ev-(.*):t$1", false).unwrap().table("ev-eu").unwrap(), [Ident("T$1".into())]);
    }

    #[test]
    fn overlaps_are_refused() {
        for map in ["a:x,a:y", "a.*:x,ab:y", "ab:x,a.*:y", "a", "a:b:c", "(:x", ":x"] {
            assert!(TopicMap::parse(map, false).is_err(), "{map}");
        }
        assert!(TopicMap::parse("", false).unwrap().entries.is_empty());
    }
}
