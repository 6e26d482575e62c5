//! Configuration keys that several transforms share, and checks with Java's words.

use penstock_api::config::{Check, ConfigKey, ConfigType, Importance};

use crate::java::regex::Pattern;

pub(crate) const REPLACE_NULL_WITH_DEFAULT: &str = "replace.null.with.default";

/// `replace.null.with.default` (KIP-1040).
pub(crate) fn replace_null_with_default() -> ConfigKey {
    ConfigKey::optional(
        REPLACE_NULL_WITH_DEFAULT,
        ConfigType::Boolean,
        "true",
        "Whether to replace fields that have a default value and that are null to the default value. When set to true, the default \
         value is used, otherwise null is used.",
    )
    .importance(Importance::Medium)
}

/// A required list with at least one item.
pub(crate) fn names(name: &str, doc: &str) -> ConfigKey {
    ConfigKey::required(name, ConfigType::List, doc).check(Check::List { of: None, may_be_empty: false })
}

/// A list that may be left out or empty.
pub(crate) fn optional_names(name: &str, doc: &str) -> ConfigKey {
    ConfigKey::optional(name, ConfigType::List, "", doc).check(Check::List { of: None, may_be_empty: true })
}

/// For checks.
pub(crate) fn regex(text: &str) -> Result<(), String> {
    Pattern::new(text).map(drop).map_err(|why| format!("Invalid regex: {why}"))
}
