//! Paths as guests write them: KIP-821's, and the empty one for the value itself.

use penstock_api::{FieldPath, Value};

/// A checked path.
#[derive(Clone, Debug)]
pub(crate) struct Path {
    /// `None` for the value itself.
    field: Option<FieldPath>,
}

/// Longer paths are refused.
const PATH_BYTES_MAX: usize = 1024;

impl Path {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if text.len() > PATH_BYTES_MAX {
            return Err(format!("a path of {} bytes is too long: at most {PATH_BYTES_MAX}", text.len()));
        }
        if text.is_empty() {
            return Ok(Self { field: None });
        }
        FieldPath::v2(text).map(|field| Self { field: Some(field) }).map_err(|e| e.to_string())
    }

    /// The names from the outside in; none for the value itself.
    pub(crate) fn steps(&self) -> &[String] {
        self.field.as_ref().map_or(&[], FieldPath::steps)
    }

    /// The path for messages.
    pub(crate) fn as_str(&self) -> &str {
        self.field.as_ref().map_or("(the value itself)", FieldPath::as_str)
    }

    /// What stands there.
    pub(crate) fn get<'v>(&self, root: &'v Value) -> Option<&'v Value> {
        match &self.field {
            Some(field) => field.get(root),
            None => Some(root),
        }
    }

    /// Whether one path leads through the other, so that setting both depends on the order.
    pub(crate) fn overlaps(&self, other: &Path) -> bool {
        let (a, b) = (self.steps(), other.steps());
        a.len() != b.len() && a.iter().zip(b).all(|(x, y)| x == y)
    }
}
