//! Converters: between wire bytes and payloads.
