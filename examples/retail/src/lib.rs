//! The retail example: what happens in a shop, as events, and a demo that takes them from Kafka to Snowflake.

pub mod order;

pub mod events;
