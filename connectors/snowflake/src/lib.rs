//! The Snowflake sink.
