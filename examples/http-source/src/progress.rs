//! How far the source is: the offset that the worker keeps.

use std::collections::BTreeMap;

use penstock_plugin::{Error, Result, SourceMap};

use crate::page::{Cursor, Item};

/// So many items may share a cursor: their names stand in each offset.
const SHARING_MAX: usize = 1_000;

/// Asking from the cursor on, without what was given already, gives the rest.
///
/// Where a cursor is of one item alone, it is that of the last item. Where items share cursors, it lags behind: it is the last but one that was
/// seen, so that nothing is lost whether answers begin at a cursor or behind it, and `given` holds the items at and above it that were given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    pub cursor: Option<String>,
    /// Names with their cursors.
    given: BTreeMap<String, String>,
}

impl Progress {
    pub(crate) fn from_start(initial: Option<&str>) -> Self {
        Self { cursor: initial.map(str::to_owned), given: BTreeMap::new() }
    }

    /// As the worker keeps it: `{"cursor": "17"}`, and with shared cursors `given`, JSON in a text.
    pub(crate) fn to_map(&self) -> SourceMap {
        let mut map = SourceMap::new();
        if let Some(cursor) = &self.cursor {
            map.insert("cursor".to_owned(), cursor.as_str().into());
        }
        if !self.given.is_empty() {
            map.insert("given".to_owned(), serde_json::to_string(&self.given).expect("texts are JSON").into());
        }
        map
    }

    /// # Errors
    /// `Config` when somebody has written an offset of another kind.
    pub(crate) fn from_map(map: &SourceMap) -> Result<Self> {
        let wrong = |key: &str| Error::config(format!("the stored offset's {key} is {}: alter or reset the offsets", map[key]));
        let text = |key: &str| map.get(key).map(|value| value.as_str().ok_or_else(|| wrong(key))).transpose();
        let given = text("given")?.map(|given| serde_json::from_str(given).map_err(|_| wrong("given"))).transpose()?;
        Ok(Self { cursor: text("cursor")?.map(str::to_owned), given: given.unwrap_or_default() })
    }

    /// Whether the item has been given already.
    pub(crate) fn knows(&self, item: &Item) -> bool {
        match &item.id {
            Some(id) => self.given.get(id) == Some(&item.cursor.0),
            None => self.cursor.as_ref() == Some(&item.cursor.0),
        }
    }

    /// Goes behind an item.
    ///
    /// # Errors
    /// `Fatal` when nobody can say how far the source is then.
    pub(crate) fn pass(&mut self, item: &Item) -> Result<()> {
        let Some(id) = &item.id else {
            if self.cursor.as_ref().is_some_and(|cursor| item.cursor.is_before(&Cursor(cursor.clone()))) {
                let asked = self.cursor.as_deref().unwrap_or_default();
                return Err(Error::fatal(format!("an item has the cursor {}, which is not behind {asked}", item.cursor.0)));
            }
            self.cursor = Some(item.cursor.0.clone());
            return Ok(());
        };
        let newest = self.given.values().cloned().map(Cursor).reduce(|a, b| if a.is_before(&b) { b } else { a });
        if let Some(newest) = newest.filter(|newest| newest.is_before(&item.cursor)) {
            // All below the item has been given, so the cursor before it is where to ask from.
            self.given.retain(|_, cursor| !Cursor(cursor.clone()).is_before(&newest));
            self.cursor = Some(newest.0);
        }
        self.given.insert(id.clone(), item.cursor.0.clone());
        if self.given.len() > SHARING_MAX {
            return Err(Error::fatal(format!("more than {SHARING_MAX} items share the cursor {}", item.cursor.0)));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(cursor: &str, id: Option<&str>) -> Item {
        Item { value: "{}".into(), key: None, cursor: Cursor(cursor.into()), id: id.map(str::to_owned) }
    }

    /// What an API gives that has these items, from the cursor on.
    fn answer<'i>(items: &'i [Item], cursor: Option<&str>, begins_at: bool) -> impl Iterator<Item = &'i Item> {
        let cursor = cursor.map(|cursor| Cursor(cursor.to_owned()));
        items.iter().filter(move |item| match &cursor {
            Some(cursor) => cursor.is_before(&item.cursor) || (begins_at && *cursor == item.cursor),
            None => true,
        })
    }

    fn take(items: &[Item], begins_at: bool, progress: &mut Progress, given: &mut Vec<*const Item>, at_most: usize) {
        let asked_from = progress.cursor.clone();
        let answered = answer(items, asked_from.as_deref(), begins_at);
        let new: Vec<&Item> = answered.filter(|item| !progress.knows(item)).take(at_most).collect();
        for item in new {
            progress.pass(item).unwrap();
            given.push(std::ptr::from_ref(item));
        }
    }

    /// Whatever the place where the source dies, its successor gives the rest, and nothing twice.
    #[test]
    fn nothing_is_lost_nor_twice_wherever_it_stops() {
        let shared: Vec<Item> = [("1", "a"), ("2", "b"), ("2", "c"), ("2", "d"), ("3", "e"), ("3", "f"), ("10", "g")]
            .map(|(cursor, id)| item(cursor, Some(id)))
            .into();
        let alone: Vec<Item> = ["1", "2", "3", "9", "10"].map(|cursor| item(cursor, None)).into();
        for (items, begins_at) in [(&shared, true), (&shared, false), (&alone, true), (&alone, false)] {
            for dies_behind in 0..=items.len() {
                let (mut progress, mut given) = (Progress::default(), Vec::new());
                take(items, begins_at, &mut progress, &mut given, dies_behind);
                let mut successor = Progress::from_map(&progress.to_map()).unwrap();
                assert_eq!(successor, progress);
                take(items, begins_at, &mut successor, &mut given, usize::MAX);
                take(items, begins_at, &mut successor, &mut given, usize::MAX);
                let all: Vec<*const Item> = items.iter().map(std::ptr::from_ref).collect();
                assert_eq!(given, all, "begins at the cursor: {begins_at}, dies behind {dies_behind}");
            }
        }
    }

    #[test]
    fn an_item_that_comes_late_is_given_once() {
        let mut progress = Progress::default();
        for (cursor, id) in [("1", "a"), ("2", "b"), ("3", "c")] {
            progress.pass(&item(cursor, Some(id))).unwrap();
        }
        let late = item("2", Some("late"));
        assert_eq!((progress.cursor.as_deref(), progress.knows(&late)), (Some("2"), false));
        progress.pass(&late).unwrap();
        assert!(progress.knows(&late) && progress.knows(&item("3", Some("c"))));
        assert_eq!(progress.cursor.as_deref(), Some("2"));
    }

    #[test]
    fn what_cannot_be_told_ends_the_task() {
        let mut progress = Progress::from_start(Some("5"));
        assert!(progress.pass(&item("4", None)).unwrap_err().to_string().contains("which is not behind 5"));
        let map: SourceMap = serde_json::from_str(r#"{"cursor": 5}"#).unwrap();
        assert!(Progress::from_map(&map).unwrap_err().to_string().contains("cursor is 5"));
    }
}
