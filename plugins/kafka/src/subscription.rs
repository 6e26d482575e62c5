//! Which topics a consumer reads: a list, or those that match Java's `topics.regex`, looked up again and again.
//!
//! librdkafka's own patterns are of another dialect than Java's, so names are matched here.

use fancy_regex::Regex;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::native::{Failed, Handle};

/// `topics` or `topics.regex`.
#[derive(Clone)]
pub enum TopicSelection {
    List(Vec<Arc<str>>),
    /// The pattern as written, and ready to use; it must match the whole topic name.
    Regex(String, Arc<Regex>),
}

/// Topics that brokers keep for themselves; Java's `exclude.internal.topics`.
const INTERNAL: [&str; 3] = ["__consumer_offsets", "__share_group_state", "__transaction_state"];
/// After a failed lookup.
const RETRY: Duration = Duration::from_secs(1);
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(10);

pub(super) struct Subscription {
    topics: TopicSelection,
    exclude_internal: bool,
    max_age: Duration,
    /// What librdkafka was told last.
    current: Option<BTreeSet<String>>,
    lookup: Option<JoinHandle<Result<Vec<String>, Failed>>>,
    next_lookup: Instant,
}

impl Subscription {
    pub(super) fn new(topics: TopicSelection, exclude_internal: bool, max_age: Duration) -> Self {
        Self { topics, exclude_internal, max_age, current: None, lookup: None, next_lookup: Instant::now() }
    }

    /// Nothing is subscribed to from now on.
    pub(super) fn end(&mut self) {
        (self.topics, self.current) = (TopicSelection::List(Vec::new()), Some(BTreeSet::new()));
    }

    /// Whether there is something to look at soon, without a sign from librdkafka's queue.
    pub(super) fn is_looking(&self) -> bool {
        self.lookup.is_some()
    }

    /// Tells librdkafka what changed. Does not wait.
    pub(super) async fn refresh(&mut self, handle: &Arc<Handle>) -> Result<(), Failed> {
        let wanted = match &self.topics {
            TopicSelection::List(_) if self.current.is_some() => return Ok(()),
            TopicSelection::List(topics) => topics.iter().map(ToString::to_string).collect(),
            TopicSelection::Regex(..) => match self.look(handle).await {
                Some(found) => self.matching(found),
                None => return Ok(()),
            },
        };
        if self.current.as_ref() == Some(&wanted) {
            return Ok(());
        }
        if wanted.is_empty() {
            if self.current.is_some() {
                handle.unsubscribe()?;
            }
        } else {
            handle.subscribe(wanted.iter().map(String::as_str))?;
        }
        tracing::info!(topics = ?wanted, "subscribed");
        self.current = Some(wanted);
        Ok(())
    }

    /// The cluster's topics, if a lookup has just ended; begins one when it is time.
    async fn look(&mut self, handle: &Arc<Handle>) -> Option<Vec<String>> {
        if let Some(lookup) = self.lookup.take_if(|l| l.is_finished()) {
            let found = lookup.await.unwrap_or_else(|_| Ok(Vec::new()));
            self.next_lookup = Instant::now() + if found.is_ok() { self.max_age } else { RETRY };
            return found.map_err(|failed| tracing::debug!(error = failed.message, "look topics up")).ok();
        }
        if self.lookup.is_none() && Instant::now() >= self.next_lookup {
            let handle = handle.clone();
            self.lookup = Some(tokio::task::spawn_blocking(move || {
                handle.topics(LOOKUP_TIMEOUT).map(|topics| topics.into_iter().map(|(name, _)| name).collect())
            }));
        }
        None
    }

    fn matching(&self, found: Vec<String>) -> BTreeSet<String> {
        let TopicSelection::Regex(_, regex) = &self.topics else { return BTreeSet::new() };
        let internal = |name: &str| self.exclude_internal && INTERNAL.contains(&name);
        found.into_iter().filter(|name| !internal(name) && regex.is_match(name).unwrap_or(false)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn internal_topics_match_only_when_asked_for() {
        let regex = Arc::new(Regex::new("^(?:.*)$").unwrap());
        let found = || vec!["a".to_owned(), "__consumer_offsets".to_owned(), "__mine".to_owned()];
        let of = |exclude| {
            Subscription::new(TopicSelection::Regex(".*".into(), regex.clone()), exclude, RETRY).matching(found()).len()
        };
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
            assert_eq!((of(true), of(false)), (2, 3));
        });
    }
}
