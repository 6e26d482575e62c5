//! The worker file's keys beside those of Java's own worker.

use std::collections::BTreeMap;

use penstock::config::worker_keys::{Effect, keys};
use penstock_api::config::Default;
use penstock_tests::java;

/// Other defaults on purpose: `runtime/DIFFERENCES.md` says why.
const OTHER_DEFAULTS: &[&str] = &["scheduled.rebalance.max.delay.ms"];

#[test]
fn every_key_of_javas_worker_is_known_with_its_type_and_default() {
    let ours: BTreeMap<_, _> = keys().map(|(key, effect)| (key.name.clone(), (key, effect))).collect();
    let described = java::oracle();
    let javas: Vec<_> = described.iter().filter(|line| line[0] == "distributed").collect();
    assert!(javas.len() > 90, "the oracle lists Java's keys: {javas:?}");
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
    for (key, effect) in keys() {
        if let Effect::None(reason) = effect {
            assert!(reason.split_whitespace().count() > 3, "{}: {reason}", key.name);
        }
    }
}
