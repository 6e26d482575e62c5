//! How topics are called here, and which are copied: MirrorMaker's replication policies and its filters.

use fancy_regex::Regex;
use penstock_api::config::split_list;

/// `replication.policy.class` and what it is configured with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Policy {
    kind: Kind,
    separator: String,
    /// In the names of MirrorMaker's own topics.
    internal_separator: String,
    /// The source cluster's.
    alias: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// `us-west.orders`, by the separator.
    Default,
    /// `orders`; the alias of its source is told apart by nobody, so that circles are not found.
    Identity,
}

const HEARTBEATS: &str = "heartbeats";
const DEFAULT_SEPARATOR: &str = ".";

impl Policy {
    /// The policy of a class; `None` for one of the user's own.
    pub(crate) fn of_class(class: &str, separator: &str, alias: &str) -> Option<Self> {
        let kind = match class.rsplit('.').next()? {
            "DefaultReplicationPolicy" => Kind::Default,
            "IdentityReplicationPolicy" => Kind::Identity,
            _ => return None,
        };
        let separator = separator.to_owned();
        Some(Self { kind, internal_separator: separator.clone(), separator, alias: alias.to_owned() })
    }

    /// The same, whose own topics are named with dots whatever the separator is.
    pub(crate) fn with_dots_in_internal_topics(self) -> Self {
        Self { internal_separator: DEFAULT_SEPARATOR.into(), ..self }
    }

    /// The name at the target of a topic of the source.
    pub(crate) fn name_here(&self, topic: &str) -> String {
        if self.is_default_for(topic) { format!("{}{}{topic}", self.alias, self.separator) } else { topic.to_owned() }
    }

    /// Which cluster the topic came from last, and what it is called there.
    pub(crate) fn upstream<'t>(&'t self, topic: &'t str) -> Option<(&'t str, &'t str)> {
        if !self.is_default_for(topic) {
            return Some((&self.alias, topic));
        }
        let (source, upstream) = topic.split_once(self.separator.as_str()).filter(|_| !self.separator.is_empty())?;
        // As Java splits: separators at the end separate nothing.
        let is_named = !upstream.replace(self.separator.as_str(), "").is_empty();
        is_named.then_some((source, upstream))
    }

    /// What the topic is called where it came from at first.
    pub(crate) fn original<'t>(&'t self, topic: &'t str) -> &'t str {
        match self.upstream(topic) {
            Some((_, upstream)) if upstream != topic => self.original(upstream),
            _ => topic,
        }
    }

    /// Whether the topic has come from that cluster, over whatever others.
    pub(crate) fn comes_from(&self, cluster: &str, topic: &str) -> bool {
        match self.upstream(topic) {
            None => false,
            Some((source, _)) if source == cluster => true,
            Some((_, upstream)) => upstream != topic && self.comes_from(cluster, upstream),
        }
    }

    pub(crate) fn heartbeats_topic(&self) -> &'static str {
        HEARTBEATS
    }

    /// Where offset syncs are kept for the cluster at the other end.
    pub(crate) fn offset_syncs_topic(&self, other: &str) -> String {
        format!("mm2-offset-syncs{0}{other}{0}internal", self.internal_separator)
    }

    pub(crate) fn checkpoints_topic(&self) -> String {
        format!("{}{}", self.alias, self.checkpoints_suffix())
    }

    fn checkpoints_suffix(&self) -> String {
        format!("{0}checkpoints{0}internal", self.internal_separator)
    }

    fn is_heartbeats(&self, topic: &str) -> bool {
        self.original(topic) == HEARTBEATS
    }

    /// MirrorMaker's own topics, the brokers', and others that nobody wants to see.
    fn is_internal(&self, topic: &str) -> bool {
        let is_mirrormakers = topic.starts_with("mm2") && topic.ends_with(&format!("{}internal", self.internal_separator));
        topic.starts_with("__") || topic.starts_with('.') || is_mirrormakers || topic.ends_with(&self.checkpoints_suffix())
    }

    /// Heartbeats say whose they are by their topic's name, whatever the policy is.
    fn is_default_for(&self, topic: &str) -> bool {
        self.kind == Kind::Default || topic.ends_with(HEARTBEATS)
    }
}

/// Names and patterns of what is taken, and of what is not.
#[derive(Clone, Debug)]
pub(crate) struct Filter {
    include: Vec<Regex>,
    exclude: Vec<Regex>,
}

impl Filter {
    /// # Errors
    /// The pattern that cannot be read, and why.
    pub(crate) fn new(include: &str, exclude: &str) -> Result<Self, (String, String)> {
        Ok(Self { include: patterns(include)?, exclude: patterns(exclude)? })
    }

    pub(crate) fn takes(&self, name: &str) -> bool {
        let matches = |patterns: &[Regex]| patterns.iter().any(|pattern| pattern.is_match(name).unwrap_or(false));
        matches(&self.include) && !matches(&self.exclude)
    }
}

/// Which topics of the source are copied.
#[derive(Clone, Debug)]
pub(crate) struct TopicFilter {
    pub(crate) by_name: Filter,
    /// `heartbeats.replication.enabled`
    pub(crate) heartbeats: bool,
}

impl TopicFilter {
    /// Whether a topic of the source is copied to a cluster of that alias.
    pub(crate) fn takes(&self, policy: &Policy, target: &str, topic: &str) -> bool {
        let is_wanted = self.by_name.takes(topic) || (self.heartbeats && policy.is_heartbeats(topic));
        is_wanted && !policy.is_internal(topic) && !policy.comes_from(target, topic)
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

    fn policy(class: &str, separator: &str) -> Policy {
        Policy::of_class(&format!("org.apache.kafka.connect.mirror.{class}"), separator, "west").unwrap()
    }

    #[test]
    fn names_are_mirrormakers() {
        let default = policy("DefaultReplicationPolicy", "_");
        assert_eq!(default.name_here("orders"), "west_orders");
        assert_eq!(default.offset_syncs_topic("east"), "mm2-offset-syncs_east_internal");
        assert_eq!(default.checkpoints_topic(), "west_checkpoints_internal");
        assert_eq!(default.with_dots_in_internal_topics().checkpoints_topic(), "west.checkpoints.internal");
        let identity = policy("IdentityReplicationPolicy", ".");
        assert_eq!((identity.name_here("orders"), identity.name_here("heartbeats")), ("orders".into(), "west.heartbeats".into()));
        assert_eq!(Policy::of_class("com.example.MyPolicy", ".", "west"), None);
    }

    #[test]
    fn topics_are_traced_back_as_java_splits_their_names() {
        let default = policy("DefaultReplicationPolicy", ".");
        let check = |topic: &str, upstream: Option<(&str, &str)>, original: &str| {
            assert_eq!((default.upstream(topic), default.original(topic)), (upstream, original), "{topic}");
        };
        check("orders", None, "orders");
        check("a.b.orders", Some(("a", "b.orders")), "orders");
        check("a.", None, "a.");
        check("a..", None, "a..");
        check(".a", Some(("", "a")), "a");
        let identity = policy("IdentityReplicationPolicy", ".");
        assert_eq!((identity.upstream("a.b"), identity.original("a.b")), (Some(("west", "a.b")), "a.b"));
        assert_eq!(identity.upstream("south.heartbeats"), Some(("south", "heartbeats")));
    }

    #[test]
    fn what_matches_is_taken_but_for_circles_and_internal_topics() {
        let filter =
            |include: &str, exclude: &str| TopicFilter { by_name: Filter::new(include, exclude).unwrap(), heartbeats: true };
        let (policy, some) = (policy("DefaultReplicationPolicy", "."), filter("orders, re.*,[a-z]+\\.x", "re.*-test"));
        let check = |topic: &str, taken: bool| assert_eq!(some.takes(&policy, "east", topic), taken, "{topic}");
        check("orders", true);
        check("orders2", false);
        check("returns", true);
        check("returns-test", false);
        check("west.x", true);
        check("east.x", false);
        check("heartbeats", true);
        check("south.heartbeats", true);
        check("east.heartbeats", false);
        let all = filter(".*", "");
        for topic in
            ["east.x", "south.east.x", "__consumer_offsets", "__mine", ".x", "mm2-a.west.internal", "west.checkpoints.internal"]
        {
            assert!(!all.takes(&policy, "east", topic), "{topic}");
        }
        let quiet = TopicFilter { heartbeats: false, ..some };
        assert!(!quiet.takes(&policy, "east", "heartbeats"));
        let identity = Policy { kind: Kind::Identity, ..policy };
        assert!(all.takes(&identity, "east", "east.x"));
        assert_eq!(Filter::new("a(", "").unwrap_err().0, "a(");
    }
}
