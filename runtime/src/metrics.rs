//! Every metric in one table, by Connect's names.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident = $metric:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Default)]
        pub struct $name { $($(#[$field_doc])* pub $field: Counter,)* }

        impl $name {
            /// Each counter by its Connect name.
            #[must_use]
            pub fn read(&self) -> Vec<(&'static str, u64)> {
                vec![$(($metric, self.$field.get()),)*]
            }
        }
    };
}

counters! {
    /// What one sink task counts. Updated once for each batch.
    SinkTaskMetrics {
        /// Records fetched from Kafka.
        read = "sink-record-read-total",
        /// Records handed to the connector.
        sent = "sink-record-send-total",
        /// Commits that Kafka acknowledged.
        commits = "offset-commit-completion-total",
        /// Commits that failed and will be made up for by later ones.
        commits_skipped = "offset-commit-skip-total",
        /// Operations on records that failed, retries included.
        failures = "total-record-failures",
        /// Records that failed for good.
        errors = "total-record-errors",
        /// Records skipped because of their errors.
        skipped = "total-records-skipped",
        /// Operations tried again.
        retries = "total-retries",
        /// Errors written to the log.
        logged = "total-errors-logged",
        /// Records sent to the dead-letter topic.
        dead_letters = "deadletterqueue-produce-requests",
        /// Dead letters that Kafka refused.
        dead_letter_failures = "deadletterqueue-produce-failures",
    }
}

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`.
    pub fn add(&self, n: usize) {
        self.0.fetch_add(n as u64, Ordering::Relaxed);
    }

    /// The count so far.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
