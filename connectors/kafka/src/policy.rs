//! How topics are called here, and which are copied: MirrorMaker's replication policies and topic filter.

use fancy_regex::Regex;
use penstock_api::config::split_list;

/// `replication.policy.class`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Policy {
    /// `us-west.orders`, by the separator.
    Default(String),
    /// `orders`; the alias of its source is told apart by nobody, so that circles are not found.
    Identity,
}

/// Topics that brokers keep for themselves.
const BROKERS_OWN: [&str; 3] = ["__consumer_offsets", "__share_group_state", "__transaction_state"];

impl Policy {
    /// The policy of a class; `None` for one of the user's own.
    pub(crate) fn of_class(class: &str, separator: &str) -> Option<Self> {
        match class.rsplit('.').next()? {
            "DefaultReplicationPolicy" => Some(Policy::Default(separator.to_owned())),
            "IdentityReplicationPolicy" => Some(Policy::Identity),
            _ => None,
        }
    }

    /// The name here of a topic of that cluster.
    pub(crate) fn name_here(&self, alias: &str, topic: &str) -> String {
        match self {
            Policy::Default(separator) => format!("{alias}{separator}{topic}"),
            // Heartbeats say whose they are by their topic's name.
            Policy::Identity if is_heartbeats(topic) => format!("{alias}.{topic}"),
            Policy::Identity => topic.to_owned(),
        }
    }

    /// Whether the topic has come from that cluster, over whatever others.
    fn comes_from(&self, cluster: &str, topic: &str) -> bool {
        let Policy::Default(separator) = self else { return false };
        let mut rest = topic;
        while let Some((alias, upstream)) = rest.split_once(separator.as_str()).filter(|_| !separator.is_empty()) {
            if alias == cluster {
                return true;
            }
            rest = upstream;
        }
        false
    }
}

fn is_heartbeats(topic: &str) -> bool {
    topic == "heartbeats"
}

/// MirrorMaker's own topics and the brokers'.
fn is_internal(topic: &str) -> bool {
    BROKERS_OWN.contains(&topic)
        || (topic.starts_with("mm2") && topic.ends_with(".internal"))
        || topic.ends_with(".checkpoints.internal")
}

/// `topics` and `topics.exclude`: names and patterns.
#[derive(Clone, Debug)]
pub(crate) struct TopicFilter {
    include: Vec<Regex>,
    exclude: Vec<Regex>,
}

impl TopicFilter {
    /// # Errors
    /// The pattern that cannot be read, and why.
    pub(crate) fn new(include: &str, exclude: &str) -> Result<Self, (String, String)> {
        Ok(Self { include: patterns(include)?, exclude: patterns(exclude)? })
    }

    /// Whether a topic of the source is copied to a cluster of that alias.
    pub(crate) fn takes(&self, policy: &Policy, target: &str, topic: &str) -> bool {
        let matches = |patterns: &[Regex]| patterns.iter().any(|pattern| pattern.is_match(topic).unwrap_or(false));
        matches(&self.include) && !matches(&self.exclude) && !is_internal(topic) && !policy.comes_from(target, topic)
    }
}

/// Patterns that match names as a whole.
pub(crate) fn patterns(list: &str) -> Result<Vec<Regex>, (String, String)> {
    let read = |pattern: String| Regex::new(&format!("^(?:{pattern})$")).map_err(|e| (pattern, e.to_string()));
    split_list(list).into_iter().filter(|pattern| !pattern.is_empty()).map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_mirrormakers() {
        let default = Policy::of_class("org.apache.kafka.connect.mirror.DefaultReplicationPolicy", "_").unwrap();
        assert_eq!(default.name_here("west", "orders"), "west_orders");
        let identity = Policy::of_class("org.apache.kafka.connect.mirror.IdentityReplicationPolicy", ".").unwrap();
        assert_eq!(
            (identity.name_here("west", "orders"), identity.name_here("west", "heartbeats")),
            ("orders".into(), "west.heartbeats".into())
        );
        assert_eq!(Policy::of_class("com.example.MyPolicy", "."), None);
    }

    #[test]
    fn what_matches_is_taken_but_for_circles_and_internal_topics() {
        let (policy, filter) = (Policy::Default(".".into()), TopicFilter::new("orders, re.*,[a-z]+\\.x", "re.*-test").unwrap());
        let check = |topic: &str, taken: bool| assert_eq!(filter.takes(&policy, "east", topic), taken, "{topic}");
        check("orders", true);
        check("orders2", false);
        check("returns", true);
        check("returns-test", false);
        check("west.x", true);
        check("east.x", false);
        let all = TopicFilter::new(".*", "").unwrap();
        for topic in ["east.x", "south.east.x", "__consumer_offsets", "mm2-offsets.west.internal", "west.checkpoints.internal"] {
            assert!(!all.takes(&policy, "east", topic), "{topic}");
        }
        assert!(all.takes(&Policy::Identity, "east", "east.x"));
        assert_eq!(TopicFilter::new("a(", "").unwrap_err().0, "a(");
    }
}
