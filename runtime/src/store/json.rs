//! JSON as Java's Connect writes it, byte for byte, so that a topic looks the same whoever wrote it.

use std::collections::BTreeMap;
use std::io::{self, Write};

use serde::Serialize;
use serde_json::ser::{CharEscape, CompactFormatter, Formatter};
use serde_json::{Map, Value};

/// Serialises as Jackson does in Connect: compact, struct fields in order, `\u` escapes in upper case and also for
/// characters outside the basic plane.
pub fn to_vec(value: &impl Serialize) -> serde_json::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    value.serialize(&mut serde_json::Serializer::with_formatter(&mut bytes, Jackson))?;
    Ok(bytes)
}

struct Jackson;

impl Formatter for Jackson {
    fn write_string_fragment<W: ?Sized + Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        let mut plain_from = 0;
        for (at, char) in fragment.char_indices().filter(|(_, c)| u32::from(*c) > 0xFFFF) {
            writer.write_all(&fragment.as_bytes()[plain_from..at])?;
            for half in char.encode_utf16(&mut [0; 2]) {
                write!(writer, "\\u{half:04X}")?;
            }
            plain_from = at + char.len_utf8();
        }
        writer.write_all(&fragment.as_bytes()[plain_from..])
    }

    fn write_char_escape<W: ?Sized + Write>(&mut self, writer: &mut W, escape: CharEscape) -> io::Result<()> {
        match escape {
            CharEscape::AsciiControl(byte) => write!(writer, "\\u{byte:04X}"),
            other => CompactFormatter.write_char_escape(writer, other),
        }
    }
}

/// The entries in the order in which a Java `HashMap<String, _>` iterates over them: Connect copies properties into such
/// maps before it writes them, so this is the order seen in its topics.
#[must_use]
pub fn hash_map_order<V>(entries: &BTreeMap<String, V>) -> Vec<(&str, &V)> {
    let copied = (entries.len() as f32 / 0.75 + 1.0) as u32;
    in_buckets(entries.iter(), copied.next_power_of_two())
}

/// The same for a map that was filled entry by entry, in the order given: so Connect reads the partitions and offsets of sources.
#[must_use]
pub fn filled_hash_map_order(entries: &Map<String, Value>) -> Vec<(&str, &Value)> {
    let mut buckets = 16;
    // It doubles when more than three quarters are taken.
    while entries.len() > buckets as usize * 3 / 4 {
        buckets *= 2;
    }
    in_buckets(entries.iter(), buckets)
}

fn in_buckets<'e, V>(entries: impl Iterator<Item = (&'e String, &'e V)>, buckets: u32) -> Vec<(&'e str, &'e V)> {
    let mut ordered: Vec<_> = entries.map(|(key, value)| (key.as_str(), value)).collect();
    ordered.sort_by_key(|(key, _)| spread_hash(key) & (buckets - 1));
    ordered
}

/// `HashMap.hash(String)`.
fn spread_hash(key: &str) -> u32 {
    let hash = key.encode_utf16().fold(0u32, |hash, unit| hash.wrapping_mul(31).wrapping_add(u32::from(unit)));
    hash ^ (hash >> 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_escaped_as_by_jackson() {
        let check = |text: &str, expected: &str| assert_eq!(String::from_utf8(to_vec(&text).unwrap()).unwrap(), expected);
        check("Grüße \"q\" \\ / <x>", r#""Grüße \"q\" \\ / <x>""#);
        check("\u{1}\u{1f}\n\t\u{7f}", "\"\\u0001\\u001F\\n\\t\u{7f}\"");
        check("a😀b", r#""a\uD83D\uDE00b""#);
    }

    #[test]
    fn maps_are_ordered_as_by_java() {
        let keys = ["connector.class", "zeta", "file", "tasks.max", "topics", "alpha", "name", "value.converter", "task.class"];
        let props = keys.iter().map(|k| ((*k).to_owned(), ())).collect();
        let order: Vec<_> = hash_map_order(&props).into_iter().map(|(k, ())| k).collect();
        // As a Java worker wrote them.
        let java = ["connector.class", "zeta", "file", "task.class", "tasks.max", "topics", "alpha", "name", "value.converter"];
        assert_eq!(order, java);
    }

    #[test]
    fn maps_that_were_filled_are_ordered_as_by_java() {
        let map = serde_json::json!({"position": "x", "more": 1.5, "is": true, "none": null});
        let order: Vec<_> = filled_hash_map_order(map.as_object().unwrap()).into_iter().map(|(key, _)| key).collect();
        // As a Java worker wrote them.
        assert_eq!(order, ["more", "is", "position", "none"]);
    }
}
