//! Settings of clients, as MirrorMaker finds them: behind the prefix of their cluster, then of their kind, then of both.

use penstock_api::Props;

/// Keys behind the prefix of a cluster that are none of its clients' settings.
const OF_NO_CLIENT: [&str; 2] = ["alias", "poll.timeout.ms"];

/// One of the two clusters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cluster {
    Source,
    Target,
}

impl Cluster {
    fn name(self) -> &'static str {
        match self {
            Cluster::Source => "source",
            Cluster::Target => "target",
        }
    }
}

/// What a consumer of that cluster is made from.
pub(crate) fn consumer(config: &Props, of: Cluster) -> Props {
    client(config, of, "consumer")
}

/// What a producer to that cluster is made from.
pub(crate) fn producer(config: &Props, of: Cluster) -> Props {
    client(config, of, "producer")
}

/// What an admin client of that cluster is made from; `None` when nothing says where it is.
pub(crate) fn admin(config: &Props, of: Cluster) -> Option<Props> {
    Some(client(config, of, "admin")).filter(|props| props.contains_key("bootstrap.servers"))
}

/// Later prefixes win.
fn client(config: &Props, cluster: Cluster, kind: &str) -> Props {
    let cluster = cluster.name();
    let mut found = Props::new();
    for prefix in [format!("{cluster}.cluster."), format!("{kind}."), format!("{cluster}.{kind}.")] {
        for (key, value) in config {
            if let Some(key) =
                key.strip_prefix(&prefix).filter(|key| !OF_NO_CLIENT.contains(key) && !key.starts_with("override."))
            {
                found.insert(key.to_owned(), value.clone());
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_of_clients_stand_behind_mirrormakers_prefixes() {
        let config: Props = [
            ("source.cluster.alias", "west"),
            ("source.cluster.bootstrap.servers", "w:9092"),
            ("source.cluster.security.protocol", "SSL"),
            ("source.consumer.max.poll.records", "10"),
            ("consumer.max.poll.records", "20"),
            ("consumer.poll.timeout.ms", "1000"),
            ("consumer.override.fetch.min.bytes", "1"),
            ("target.producer.linger.ms", "7"),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into();
        let shown = |props: Props| props.into_iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>();
        assert_eq!(
            shown(consumer(&config, Cluster::Source)),
            ["bootstrap.servers=w:9092", "max.poll.records=10", "security.protocol=SSL"]
        );
        assert_eq!(shown(producer(&config, Cluster::Target)), ["linger.ms=7"]);
        assert!(admin(&config, Cluster::Source).is_some() && admin(&config, Cluster::Target).is_none());
    }
}
