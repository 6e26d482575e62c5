//! The worker: Kafka Connect without the JVM.
