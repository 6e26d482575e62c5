//! Converters: between wire bytes and payloads.

/// All converters that are built in.
#[must_use]
pub fn plugins() -> Vec<penstock_api::Plugin> {
    Vec::new()
}
