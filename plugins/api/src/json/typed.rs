//! Values as JSON under a schema, by the rules of Connect's `JsonConverter`: the `payload` half of its envelope.

mod read;
mod write;

pub use read::{Room, read, read_within};
pub use write::write;

/// How decimals are written. Both forms are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecimalFormat {
    /// The unscaled number's bytes as base64.
    Base64,
    /// A JSON number.
    Numeric,
}

/// What of the rules can be chosen.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    pub decimal_format: DecimalFormat,
    /// A null becomes the default of its schema.
    pub replace_null_with_default: bool,
    /// Nothing is lost on the way. A member that is no field is refused, where Java ignores it; a decimal is brought to the scale of its
    /// schema, and refused if that took digits away; floats that JSON has no numbers for are the texts `NaN`, `Infinity` and
    /// `-Infinity`; of an optional schema null stays null, and a field that is left out is its default.
    pub is_exact: bool,
}

impl Rules {
    /// How values cross between a worker and its plugins.
    pub const EXACT: Self = Self { decimal_format: DecimalFormat::Numeric, replace_null_with_default: true, is_exact: true };
}
