//! What a transform derived from a schema, so that it is derived once and not for each record.

use penstock_api::{Result, SchemaRef};
use std::sync::Arc;

/// As many as Java's transforms keep; the one not used for longest goes first.
const SCHEMAS_MAX: usize = 16;

/// The newest [`SCHEMAS_MAX`] schemas with what was made of each.
///
/// Found by pointer, which is the common case, or else by equality.
#[derive(Debug)]
pub(crate) struct SchemaCache<T> {
    /// Most recently used first.
    entries: Vec<(SchemaRef, T)>,
}

impl<T> Default for SchemaCache<T> {
    fn default() -> Self {
        Self { entries: Vec::new() }
    }
}

impl<T> SchemaCache<T> {
    /// What was made of `schema`, made now if it was not; a failure to make it is not kept.
    pub(crate) fn get_or_make(&mut self, schema: &SchemaRef, make: impl FnOnce(&SchemaRef) -> Result<T>) -> Result<&T> {
        match self.position(schema) {
            Some(0) => {}
            Some(at) => self.entries[..=at].rotate_right(1),
            None => {
                let made = make(schema)?;
                self.entries.truncate(SCHEMAS_MAX - 1);
                self.entries.insert(0, (schema.clone(), made));
            }
        }
        Ok(&self.entries[0].1)
    }

    fn position(&self, schema: &SchemaRef) -> Option<usize> {
        let same = self.entries.iter().position(|(known, _)| Arc::ptr_eq(known, schema));
        same.or_else(|| self.entries.iter().position(|(known, _)| known == schema))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use penstock_api::{Kind, Schema};

    #[test]
    fn a_schema_is_made_once_and_the_oldest_goes() {
        let schema = |n: usize| SchemaRef::new(Schema::new(Kind::Int32).named(format!("s{n}")));
        let mut cache = SchemaCache::default();
        let made = std::cell::Cell::new(0);
        let mut ask = |n: usize| {
            cache
                .get_or_make(&schema(n), |s| {
                    made.set(made.get() + 1);
                    Ok(s.name.clone())
                })
                .unwrap()
                .clone()
        };
        for n in 0..SCHEMAS_MAX {
            assert_eq!(ask(n), Some(format!("s{n}")));
        }
        ask(0);
        assert_eq!(made.get(), SCHEMAS_MAX);
        ask(99);
        ask(0);
        assert_eq!(made.get(), SCHEMAS_MAX + 1, "0 was used lately, so it is still there");
        ask(1);
        assert_eq!(made.get(), SCHEMAS_MAX + 2, "1 was not, so it is gone");
    }
}
