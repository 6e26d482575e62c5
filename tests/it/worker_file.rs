//! The worker file's keys beside those of Java's own worker.

use std::collections::{BTreeMap, BTreeSet};

use penstock::config::WorkerConfig;
use penstock::config::common::{CONVERTERS, definition};
use penstock::config::worker_keys::{Effect, Mode, is_of_cluster, keys_of};
use penstock_api::config::{ConfigKey, Default};
use penstock_api::{ConfigDef, PluginKind, Props, Registry};
use penstock_tests::java;

/// Other defaults on purpose: `runtime/DIFFERENCES.md` says why.
const OTHER_DEFAULTS: &[&str] = &["scheduled.rebalance.max.delay.ms"];

#[test]
fn every_key_of_javas_workers_is_known_with_its_type_and_default() {
    let described = java::oracle();
    check(&described, "distributed", Mode::Distributed);
    check(&described, "standalone", Mode::Standalone);
    let of = |kind: &str| -> BTreeSet<_> { described.iter().filter(|l| l[0] == kind).map(|l| l[1].as_str()).collect() };
    let (distributed, standalone) = (of("distributed"), of("standalone"));
    assert!(distributed.len() > 90, "the oracle lists Java's keys: {distributed:?}");
    let unsaid: Vec<_> = standalone.iter().filter(|key| is_of_cluster(key)).collect();
    assert!(unsaid.is_empty(), "these say something to a standalone worker of Java's: {unsaid:?}");
}

#[test]
fn every_key_of_javas_connectors_is_known_with_its_type_and_default() {
    let required = ["bootstrap.servers", "group.id", "config.storage.topic", "offset.storage.topic", "status.storage.topic"];
    let mut worker: Props = required.map(|key| (key.to_owned(), key.to_owned())).into();
    worker.extend(["key.converter", "value.converter"].map(|key| (key.to_owned(), "x.Converter".to_owned())));
    let worker = WorkerConfig::new(&worker).expect("a good worker file");
    for (name, kind) in [("sink", PluginKind::Sink), ("source", PluginKind::Source)] {
        check_connectors(name, &definition(kind, None, &Registry::new(), &worker));
    }
}

fn check_connectors(name: &str, definition: &ConfigDef) {
    let mut ours: BTreeMap<_, _> = definition.keys().iter().map(|key| (key.name.clone(), (key.clone(), Effect::Works))).collect();
    for (converter, _) in CONVERTERS {
        let (key, _) = ours.get_mut(converter).expect("connectors choose converters");
        assert!(matches!(key.default, Default::Value(_)), "a connector that names none has the worker's");
        key.default = Default::Null;
    }
    compare(&java::oracle(), name, &ours, 20);
}

fn check(described: &[Vec<String>], kind: &str, mode: Mode) {
    let ours = keys_of(mode).map(|(key, effect)| (key.name.clone(), (key, effect))).collect();
    compare(described, kind, &ours, 40);
}

fn compare(described: &[Vec<String>], kind: &str, ours: &BTreeMap<String, (ConfigKey, Effect)>, at_least: usize) {
    let javas: Vec<_> = described.iter().filter(|line| line[0] == kind).collect();
    assert!(javas.len() > at_least, "the oracle lists Java's keys: {javas:?}");
    let mut problems = Vec::new();
    for line in javas {
        let [_, name, kind, default] = line.as_slice() else { panic!("four parts: {line:?}") };
        let Some((key, effect)) = ours.get(name) else {
            problems.push(format!("{name} is not known"));
            continue;
        };
        if !format!("{:?}", key.kind).eq_ignore_ascii_case(kind) {
            problems.push(format!("{name} is a {kind}, not a {:?}", key.kind));
        }
        let our_default = match &key.default {
            Default::Required => "REQUIRED",
            Default::Null => "null",
            Default::Value(value) => value,
        };
        // The defaults of client settings are the clients' own, and are checked there.
        let is_client = *effect == Effect::Client || key.doc.is_empty();
        if our_default != default && !is_client && !OTHER_DEFAULTS.contains(&name.as_str()) {
            problems.push(format!("{name} has the default {default}, not {our_default}"));
        }
    }
    assert!(problems.is_empty(), "{} problems:\n{}", problems.len(), problems.join("\n"));
}

#[test]
fn what_has_no_effect_says_why() {
    for (key, effect) in keys_of(Mode::Distributed).chain(keys_of(Mode::Standalone)) {
        if let Effect::None(reason) = effect {
            assert!(reason.split_whitespace().count() > 3, "{}: {reason}", key.name);
        }
    }
}
