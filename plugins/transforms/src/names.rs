//! A set of field names, asked for every field of every record.

use std::collections::HashSet;

/// Up to this many names a scan is faster than hashing.
const SCAN_MAX: usize = 8;

/// Field names from a configuration.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    list: Vec<String>,
    /// Filled only when there are more than [`SCAN_MAX`].
    hashed: HashSet<String>,
}

impl Names {
    /// The set of these names; later ones that are equal to earlier ones are left out.
    pub(crate) fn new(names: impl IntoIterator<Item = String>) -> Self {
        let mut seen = HashSet::new();
        let list: Vec<String> = names.into_iter().filter(|name| seen.insert(name.clone())).collect();
        let hashed = if list.len() > SCAN_MAX { seen } else { HashSet::new() };
        Self { list, hashed }
    }

    pub(crate) fn contains(&self, name: &str) -> bool {
        if self.hashed.is_empty() { self.list.iter().any(|n| n == name) } else { self.hashed.contains(name) }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The names in the order given.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &str> {
        self.list.iter().map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_and_many_names_answer_alike() {
        for count in [0, 3, SCAN_MAX, SCAN_MAX + 1, 40] {
            let names = Names::new((0..count).map(|n| format!("f{n}")));
            assert_eq!(names.is_empty(), count == 0);
            assert!((0..count).all(|n| names.contains(&format!("f{n}"))));
            assert!(!names.contains("g"));
        }
    }
}
