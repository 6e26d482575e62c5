//! Configurations by chance, of keys that both workers know, most of them wrong somewhere: both must say the same of each.
//!
//! Left out is what `runtime/DIFFERENCES.md` lists. `PENSTOCK_SEED` repeats a run, `PENSTOCK_CONFIGS` makes it longer or shorter.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Map, Value, json};

use super::side::Side;
use super::step::{Like, Step, get, put};

const SINKS: [&str; 3] = [
    "org.apache.kafka.connect.file.FileStreamSinkConnector",
    "org.apache.kafka.connect.tools.MockSinkConnector",
    "org.apache.kafka.connect.tools.VerifiableSinkConnector",
];
const SOURCES: [&str; 3] = [
    "org.apache.kafka.connect.file.FileStreamSourceConnector",
    "org.apache.kafka.connect.tools.MockSourceConnector",
    "org.apache.kafka.connect.tools.VerifiableSourceConnector",
];

/// What keys may be given whose other values are judged differently on purpose, or make Java's worker stumble. A key of a plugin stands by
/// its name without a prefix.
const TAME: [(&str, &[&str]); 14] = [
    ("name", &["b", "", " "]),
    ("connector.plugin.version", &["4.3.1", "latest"]),
    ("plugin.version", &["4.3.1"]),
    ("topics.regex", &["t.*", "", " "]),
    ("errors.deadletterqueue.topic.name", &["letters", "t", ""]),
    ("regex", &["(.*)"]),
    ("pattern", &["a.*", "", " "]),
    ("spec", &["int32", " a:int8 "]),
    ("timestamp.format", &["yyyy"]),
    ("converter.encoding", &["UTF-8", "US-ASCII"]),
    ("renames", &["a:b", "a", " a : b , c:d", ""]),
    (
        "key.converter",
        &["nope", "", "org.apache.kafka.connect.converters.LongConverter", "org.apache.kafka.connect.transforms.Filter"],
    ),
    (
        "value.converter",
        &["org.apache.kafka.connect.json.JsonConverter", "org.apache.kafka.connect.storage.StringConverter", "x.Y "],
    ),
    (
        "header.converter",
        &["org.apache.kafka.connect.storage.StringConverter", "org.apache.kafka.connect.converters.ByteArrayConverter"],
    ),
];

/// Where Java's checks stumble over null, or over a required key that is missing.
const NEVER_NULL: [&str; 7] =
    ["regex", "pattern", "spec", "renames", "topics.regex", "errors.deadletterqueue.topic.name", "offsets.storage.topic"];

const ANY: [&str; 12] = ["", " ", "x", " a ", "1.5", "0", "-5", "99999999999", "true", "a,b", "a,,b", "a,a"];

/// What the classes must be given, by the beginnings of their simple names.
const NEEDED: [(&str, &[(&str, &str)]); 13] = [
    ("Cast", &[("spec", "int32")]),
    ("DropHeaders", &[("headers", "a,b")]),
    ("ExtractField", &[("field", "a")]),
    ("HeaderFrom", &[("fields", "a"), ("headers", "b"), ("operation", "move")]),
    ("HoistField", &[("field", "a")]),
    ("InsertHeader", &[("header", "h"), ("value.literal", "1")]),
    ("MaskField", &[("fields", "a")]),
    ("RegexRouter", &[("regex", "(.*)"), ("replacement", "$1")]),
    ("TimestampConverter", &[("target.type", "unix")]),
    ("ValueToKey", &[("fields", "a")]),
    ("HasHeaderKey", &[("name", "n")]),
    ("TopicNameMatches", &[("pattern", "a.*")]),
    ("FileStreamSource", &[("topic", "t")]),
];

/// The classes and their keys, as Java lists them.
pub(super) struct Known {
    keys: BTreeMap<String, Vec<String>>,
    transforms: Vec<String>,
    predicates: Vec<String>,
}

impl Known {
    pub(super) async fn ask(java: &Side) -> Result<Self> {
        let listed = java.ask(&get("/connector-plugins?connectorsOnly=false")).await?.body;
        let of_kind = |kind: &str| -> Vec<String> {
            let rows = listed.as_array().into_iter().flatten().filter(|row| row["type"] == kind);
            let classes = rows.filter_map(|row| row["class"].as_str()).filter(|class| class.starts_with("org.apache."));
            let mut classes: Vec<String> = classes.map(str::to_owned).collect();
            // A seed stands for the same configurations whatever the order.
            classes.sort_unstable();
            classes
        };
        let (transforms, predicates) = (of_kind("transformation"), of_kind("predicate"));
        ensure!(!transforms.is_empty() && !predicates.is_empty(), "nothing is listed: {listed}");
        let mut keys = BTreeMap::new();
        for class in SINKS.into_iter().chain(SOURCES).map(str::to_owned).chain(transforms.clone()).chain(predicates.clone()) {
            let of_class = java.ask(&get(format!("/connector-plugins/{}/config", class.replace('$', "%24")))).await?.body;
            let of_class = of_class.as_array().with_context(|| format!("the keys of {class}"))?;
            keys.insert(class, of_class.iter().filter_map(|key| key["name"].as_str()).map(str::to_owned).collect());
        }
        Ok(Self { keys, transforms, predicates })
    }

    fn of(&self, class: &str) -> &[String] {
        self.keys.get(class).map_or(&[], Vec::as_slice)
    }
}

/// As many configurations as asked for.
pub(super) fn steps(known: &Known) -> Result<Vec<Step>> {
    let number = |name: &str, default: u64| std::env::var(name).map_or(Ok(default), |text| text.parse());
    let (seed, count) = (number("PENSTOCK_SEED", 20_261_129)?, number("PENSTOCK_CONFIGS", 100)?);
    println!("validation: PENSTOCK_SEED={seed} PENSTOCK_CONFIGS={count}");
    let mut chance = Chance { random: StdRng::seed_from_u64(seed), known };
    Ok((0..count).map(|_| chance.step()).collect())
}

struct Chance<'k> {
    random: StdRng,
    known: &'k Known,
}

type Config = Map<String, Value>;

impl Chance<'_> {
    fn one_in(&mut self, times: u32) -> bool {
        self.random.random_range(0..times) == 0
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.random.random_range(0..from.len())]
    }

    fn step(&mut self) -> Step {
        let is_sink = self.one_in(2);
        let class = *self.pick(if is_sink { &SINKS } else { &SOURCES });
        let mut config = Config::new();
        config.insert("name".into(), "b".into());
        config.insert("connector.class".into(), class.into());
        if is_sink {
            config.insert("topics".into(), "t".into());
        }
        self.keys(&mut config, class, "", 8);
        self.aliases(&mut config, "transforms", &self.known.transforms, &self.known.predicates);
        self.aliases(&mut config, "predicates", &self.known.predicates, &self.known.transforms);
        for (key, value) in [
            ("topic.creation.g.partitions", json!("x")),
            ("topic.creation.g.include", Value::Null),
            ("nobody.knows", Value::Null),
            ("consumer.override.group.id", json!("g")),
            ("consumer.override.group.id", Value::Null),
            ("value.converter.schemas.enable", json!("maybe")),
            ("value.converter.decimal.format", Value::Null),
        ] {
            if self.one_in(12) {
                config.insert(key.into(), value);
            }
        }
        put(format!("/connector-plugins/{class}/config/validate"), &Value::Object(config)).like(Like::Validation)
    }

    /// Gives keys of a class: what it needs, and now and then a value by chance to one of the others.
    fn keys(&mut self, config: &mut Config, class: &str, prefix: &str, seldom: u32) {
        let simple = class.rsplit('.').next().unwrap_or_default();
        let needed = NEEDED.iter().filter(|(begin, _)| simple.starts_with(begin)).flat_map(|(_, needed)| *needed);
        for (key, value) in needed {
            config.insert(format!("{prefix}{key}"), (*value).into());
        }
        let is_own = |key: &str| prefix.is_empty() && ["file", "topic", "batch.size"].contains(&key);
        for key in self.known.of(class) {
            // The lists of HeaderFrom are of those that Java stumbles over.
            let is_left = key == "connector.class" || (simple.starts_with("HeaderFrom") && key != "operation");
            if is_left || !self.one_in(seldom) {
                continue;
            }
            let value = self.value(key, !is_own(key));
            config.insert(format!("{prefix}{key}"), value);
        }
        let missing: Vec<String> = config.keys().filter(|key| key.starts_with(prefix)).cloned().collect();
        for key in missing {
            let name = key.strip_prefix(prefix).unwrap_or(&key);
            let may_miss = name != "connector.class" && !NEVER_NULL.contains(&name) && !simple.starts_with("HeaderFrom");
            if may_miss && self.one_in(20) {
                config.remove(&key);
            }
        }
    }

    fn value(&mut self, key: &str, may_be_null: bool) -> Value {
        if may_be_null && !NEVER_NULL.contains(&key) && self.one_in(4) {
            return Value::Null;
        }
        let tame = TAME.iter().find(|(tame, _)| key == *tame || (*tame == "plugin.version" && key.ends_with(".plugin.version")));
        let values = tame.map_or(&ANY[..], |(_, values)| values);
        (*self.pick(values)).into()
    }

    /// Transforms or predicates with all that belongs to them.
    fn aliases(&mut self, config: &mut Config, list: &str, classes: &[String], others: &[String]) {
        const LISTS: [&[&str]; 6] = [&["a"], &["a"], &["a", "b"], &["b", "a", "b"], &[], &["", "a"]];
        if self.one_in(3) {
            return;
        }
        let aliases = *self.pick(&LISTS);
        config.insert(list.into(), aliases.join(" , ").into());
        for alias in aliases {
            let prefix = format!("{list}.{alias}.");
            let class = self.pick(classes).clone();
            let named: Value = match self.random.random_range(0..12) {
                0 => Value::Null,
                1 => "".into(),
                2 => " no.Such ".into(),
                3 => self.pick(others).as_str().into(),
                4 => "org.apache.kafka.connect.transforms.Cast".into(),
                _ => class.as_str().into(),
            };
            config.insert(format!("{prefix}type"), named);
            self.keys(config, &class, &prefix, 4);
            for (key, value) in [
                ("negate", json!("true")),
                ("negate", json!("maybe")),
                ("negate", Value::Null),
                ("predicate", Value::Null),
                ("plugin.version", json!("4.3.1")),
                ("plugin.version", Value::Null),
            ] {
                if self.one_in(8) {
                    config.insert(format!("{prefix}{key}"), value);
                }
            }
        }
    }
}
