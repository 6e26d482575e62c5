//! Connect's maps: entries in order, of which a JSON object's are read when somebody asks.

use compact_str::CompactString;
use std::borrow::Cow;
use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::fmt;

use crate::json::object::JsonObject;
use crate::value::Value;

/// A map in insertion order. Keys are unique; those of schemaless data are strings.
///
/// Kept as a list: messages have few fields, where a scan beats hashing. One that came as a JSON object may keep its fields as text:
/// what takes one key reads that field alone, what takes entries reads all. Nobody can tell the difference but by the time it takes.
#[derive(Clone)]
pub struct Map(Entries);

#[derive(Clone)]
enum Entries {
    Read(Vec<(Value, Value)>),
    Json(Box<JsonObject>),
}

impl Map {
    /// An empty map.
    #[must_use]
    pub fn new() -> Self {
        Self::from_unique(Vec::new())
    }

    /// An empty map with room for `capacity` entries.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Self {
        Self::from_unique(Vec::with_capacity(capacity))
    }

    /// Takes entries whose keys the caller knows to be unique.
    #[must_use]
    pub fn from_unique(entries: Vec<(Value, Value)>) -> Self {
        Self(Entries::Read(entries))
    }

    /// Takes entries of which several may have one key: the last one counts, in the place of the first.
    #[must_use]
    pub fn from_entries(entries: Vec<(Value, Value)>) -> Self {
        Self::from_unique(if has_twins(&entries) { without_twins(entries) } else { entries })
    }

    pub(crate) fn from_json(object: JsonObject) -> Self {
        Self(Entries::Json(Box::new(object)))
    }

    /// The object that still holds fields as text.
    pub(crate) fn as_json(&self) -> Option<&JsonObject> {
        match &self.0 {
            Entries::Json(object) => Some(object),
            Entries::Read(_) => None,
        }
    }

    /// The value under a string key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Value> {
        match &self.0 {
            Entries::Json(object) if !object.has(key) => None,
            _ => self.entries().iter().find(|(k, _)| k.as_str() == Some(key)).map(|(_, v)| v),
        }
    }

    /// Whether there is such a string key.
    #[must_use]
    pub fn has(&self, key: &str) -> bool {
        match &self.0 {
            Entries::Json(object) => object.has(key),
            Entries::Read(entries) => position(entries, key).is_some(),
        }
    }

    /// The value under a string key, to change.
    pub fn get_mut(&mut self, key: &str) -> Option<&mut Value> {
        match &mut self.0 {
            Entries::Json(object) => object.get_mut(key),
            Entries::Read(entries) => {
                let at = position(entries, key)?;
                Some(&mut entries[at].1)
            }
        }
    }

    /// Sets the value under a string key; an existing key keeps its place.
    pub fn insert(&mut self, key: impl Into<CompactString>, value: Value) {
        let key = key.into();
        match &mut self.0 {
            Entries::Json(object) => object.insert(key, value),
            Entries::Read(entries) => match position(entries, &key) {
                Some(at) => entries[at].1 = value,
                None => entries.push((Value::String(key), value)),
            },
        }
    }

    /// Sets the value under any key; an existing key keeps its place.
    pub fn insert_value(&mut self, key: Value, value: Value) {
        let entries = self.read();
        match entries.iter_mut().find(|(k, _)| *k == key) {
            Some((_, old)) => *old = value,
            None => entries.push((key, value)),
        }
    }

    /// Takes the value under a string key out; the order of the others stays.
    pub fn remove(&mut self, key: &str) -> Option<Value> {
        match &mut self.0 {
            Entries::Json(object) => object.remove(key),
            Entries::Read(entries) => {
                let at = position(entries, key)?;
                Some(entries.remove(at).1)
            }
        }
    }

    /// Drops what is under a string key, unread; the order of the others stays.
    pub fn discard(&mut self, key: &str) {
        match &mut self.0 {
            Entries::Json(object) => object.discard(key),
            Entries::Read(entries) => {
                if let Some(at) = position(entries, key) {
                    entries.remove(at);
                }
            }
        }
    }

    /// Gives each string key that is the first of a pair the second's name, all at once. Values keep their places. The caller sees to
    /// it that keys stay unique.
    pub fn rename(&mut self, renames: &[(String, String)]) {
        match &mut self.0 {
            Entries::Json(object) => object.rename(renames),
            Entries::Read(entries) => {
                for (key, _) in entries {
                    if let Some((_, new)) = renames.iter().find(|(old, _)| key.as_str() == Some(old)) {
                        *key = Value::string(new.as_str());
                    }
                }
            }
        }
    }

    /// Keeps the entries for which `keep` says so.
    pub fn retain(&mut self, mut keep: impl FnMut(&Value, &Value) -> bool) {
        self.read().retain(|(k, v)| keep(k, v));
    }

    /// The entries, in order.
    #[must_use]
    pub fn entries(&self) -> &[(Value, Value)] {
        match &self.0 {
            Entries::Json(object) => object.entries(),
            Entries::Read(entries) => entries,
        }
    }

    /// The entries, in order, taken out.
    #[must_use]
    pub fn into_entries(mut self) -> Vec<(Value, Value)> {
        std::mem::take(self.read())
    }

    /// Keys and values to change in place; the caller keeps keys unique.
    pub fn entries_mut(&mut self) -> &mut [(Value, Value)] {
        self.read()
    }

    /// How many entries there are.
    #[must_use]
    pub fn len(&self) -> usize {
        match &self.0 {
            Entries::Json(object) => object.len(),
            Entries::Read(entries) => entries.len(),
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Reads all fields that are text still.
    fn read(&mut self) -> &mut Vec<(Value, Value)> {
        if let Entries::Json(object) = &mut self.0 {
            self.0 = Entries::Read(object.take_entries());
        }
        match &mut self.0 {
            Entries::Read(entries) => entries,
            Entries::Json(_) => unreachable!("read above"),
        }
    }
}

fn position(entries: &[(Value, Value)], key: &str) -> Option<usize> {
    entries.iter().position(|(k, _)| k.as_str() == Some(key))
}

/// Up to so many keys are compared with each other; of more, equal ones are found by hashing.
const COMPARED_MAX: usize = 16;

fn has_twins(entries: &[(Value, Value)]) -> bool {
    if entries.len() <= COMPARED_MAX {
        return entries.iter().enumerate().any(|(at, (key, _))| entries[..at].iter().any(|(before, _)| before == key));
    }
    let mut seen = HashSet::with_capacity(entries.len());
    entries.iter().any(|(key, _)| !seen.insert(identity(key)))
}

fn without_twins(entries: Vec<(Value, Value)>) -> Vec<(Value, Value)> {
    let mut places = HashMap::<(bool, String), usize>::with_capacity(entries.len());
    let mut kept: Vec<(Value, Value)> = Vec::with_capacity(entries.len());
    for (key, value) in entries {
        let (is_text, text) = identity(&key);
        match places.entry((is_text, text.into_owned())) {
            Entry::Occupied(place) => kept[*place.get()].1 = value,
            Entry::Vacant(place) => {
                place.insert(kept.len());
                kept.push((key, value));
            }
        }
    }
    kept
}

/// Something to hash a key by: whether it is a text, and the text. Equal keys have equal identities.
fn identity(key: &Value) -> (bool, Cow<'_, str>) {
    match key {
        Value::String(text) => (true, Cow::Borrowed(text)),
        other => (false, Cow::Owned(format!("{other:?}"))),
    }
}

impl Default for Map {
    fn default() -> Self {
        Self::new()
    }
}

impl PartialEq for Map {
    fn eq(&self, other: &Self) -> bool {
        self.entries() == other.entries()
    }
}

impl fmt::Debug for Map {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.entries().iter().map(|(k, v)| (k, v))).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json;
    use bytes::Bytes;
    use proptest::prelude::*;

    #[test]
    fn a_map_keeps_its_order() {
        let mut map = Map::new();
        map.insert("b", Value::Int32(1));
        map.insert("a", Value::Int32(2));
        map.insert("b", Value::Int32(3));
        assert_eq!(map.get("b"), Some(&Value::Int32(3)));
        assert_eq!(map.remove("b"), Some(Value::Int32(3)));
        assert_eq!(map.len(), 1);
    }

    #[test]
    fn of_equal_keys_the_last_one_counts_where_the_first_one_was() {
        for count in [3, 40] {
            let entry = |n: usize, value: i64| (Value::Int32(n as i32), Value::Int64(value));
            let mut entries: Vec<_> = (0..count).map(|n| entry(n, 0)).collect();
            entries.extend([entry(1, 7), (Value::string("Int32(1)"), Value::Int64(8))]);
            let map = Map::from_entries(entries);
            assert_eq!((map.len(), &map.entries()[1]), (count + 1, &entry(1, 7)));
            assert_eq!(map.get("Int32(1)"), Some(&Value::Int64(8)), "a text is no number");
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        Get(&'static str),
        Change(&'static str, i64),
        Insert(&'static str, i64),
        Remove(&'static str),
        Discard(&'static str),
        Rename(&'static str, &'static str),
        Retain(&'static str),
        Look,
        Clone,
    }

    fn step() -> impl Strategy<Value = Step> {
        let key = prop::sample::select(vec!["a", "b", "c", "d", "e\u{e4}"]);
        let number = any::<i64>();
        prop_oneof![
            key.clone().prop_map(Step::Get),
            (key.clone(), number).prop_map(|(k, n)| Step::Change(k, n)),
            (key.clone(), number).prop_map(|(k, n)| Step::Insert(k, n)),
            key.clone().prop_map(Step::Remove),
            key.clone().prop_map(Step::Discard),
            (key.clone(), key.clone()).prop_map(|(k, l)| Step::Rename(k, l)),
            key.prop_map(Step::Retain),
            Just(Step::Look),
            Just(Step::Clone),
        ]
    }

    /// What a step answers, to compare.
    fn take(step: &Step, map: &mut Map) -> String {
        match step {
            Step::Get(key) => return format!("{:?} {}", map.get(key), map.has(key)),
            Step::Change(key, n) => return format!("{:?}", map.get_mut(key).map(|v| std::mem::replace(v, Value::Int64(*n)))),
            Step::Insert(key, n) => map.insert(*key, Value::Int64(*n)),
            Step::Remove(key) => return format!("{:?}", map.remove(key)),
            Step::Discard(key) => map.discard(key),
            Step::Rename(old, new) if !map.has(new) => map.rename(&[((*old).to_owned(), (*new).to_owned())]),
            Step::Rename(..) => {}
            Step::Retain(key) => map.retain(|k, _| k.as_str() != Some(key)),
            Step::Look => return format!("{map:?} {} {}", map.len(), map.is_empty()),
            Step::Clone => *map = map.clone(),
        }
        String::new()
    }

    proptest! {
        /// Text or read: whatever is done to a map, nobody can tell.
        #[test]
        fn an_unread_map_is_a_map(
            fields in prop::collection::btree_map("[abc]|e\u{e4}", "-?[1-9]{1,5}|\"[a-z\\\\\\\\]{0,30}\"|\\[1, \\{\\}\\]", 0..5),
            steps in prop::collection::vec(step(), 0..12),
        ) {
            let text = fields.iter().map(|(k, v)| format!("\"{k}\": {v}")).collect::<Vec<_>>().join(" , ");
            let text = Bytes::from(format!("{{{text}}}"));
            let Ok(Some((plain, Value::Map(mut unread)))) = json::open(&text) else { return Ok(()) };
            prop_assert!(unread.as_json().is_some() && plain == text);
            let Value::Map(mut read) = json::parse(&text).unwrap() else { panic!("an object") };
            for step in &steps {
                prop_assert_eq!(take(step, &mut unread), take(step, &mut read), "{:?}", step);
            }
            let written = |map: &Map| {
                let mut out = Vec::new();
                json::write(&Value::Map(map.clone()), &mut out).unwrap();
                json::parse(&out).unwrap()
            };
            prop_assert_eq!(written(&unread), written(&read));
            prop_assert_eq!(&unread, &read);
            prop_assert_eq!(unread.into_entries(), read.into_entries());
        }
    }
}
