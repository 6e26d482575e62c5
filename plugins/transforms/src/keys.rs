//! Configuration keys that several transforms share, and checks with Java's words.

use penstock_api::config::{Check, ConfigKey, ConfigType, Importance, split_list};

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

/// A required list with at least one item, none of them empty (KIP-1161).
pub(crate) fn names(name: &str, doc: &str) -> ConfigKey {
    ConfigKey::required(name, ConfigType::List, doc).check(Check::Custom(|text| {
        if text.trim().is_empty() {
            return Err("must not be empty. Valid values include: any non-empty value".into());
        }
        no_empty_item(text)
    }))
}

/// A list that may be left out or empty, but has no empty item.
pub(crate) fn optional_names(name: &str, doc: &str) -> ConfigKey {
    ConfigKey::optional(name, ConfigType::List, "", doc).check(Check::Custom(no_empty_item))
}

fn no_empty_item(text: &str) -> Result<(), String> {
    if split_list(text).iter().any(String::is_empty) {
        return Err("values must not be empty.".into());
    }
    Ok(())
}
