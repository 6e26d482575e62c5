//! Kafka clients: settings, batches of records, producing, administration.
