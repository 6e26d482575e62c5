//! What a component says of its classes, as data of ours. Everything in it is bounded and checked.

use penstock_api::config::{Check, Default, Width};
use penstock_api::{ConfigDef, ConfigKey, ConfigType, Importance};

use crate::contract::plugin;
use crate::grants::{self, Wanted};

const CLASSES_MAX: usize = 64;
const KEYS_MAX: usize = 512;
const WISHES_MAX: usize = 64;
const NAME_BYTES_MAX: usize = 256;
const TEXT_BYTES_MAX: usize = 1 << 20;

/// One class, checked.
#[derive(Debug)]
pub(crate) struct Class {
    pub name: String,
    pub aliases: Vec<String>,
    pub version: String,
    pub config: ConfigDef,
    pub wanted: Vec<Wanted>,
}

/// Checks what `describe` has answered.
///
/// # Errors
/// What is wrong with it, for people.
pub(crate) fn classes(described: Vec<plugin::Class>) -> Result<Vec<Class>, String> {
    if described.is_empty() || described.len() > CLASSES_MAX {
        return Err(format!("it describes {} classes: 1 to {CLASSES_MAX} are allowed", described.len()));
    }
    let bytes: usize = described.iter().map(text_bytes).sum();
    if bytes > TEXT_BYTES_MAX {
        return Err(format!("its description takes {bytes} bytes: at most {TEXT_BYTES_MAX} are allowed"));
    }
    let classes = described.into_iter().map(class).collect::<Result<Vec<_>, _>>()?;
    for (at, class) in classes.iter().enumerate() {
        if classes[..at].iter().any(|other| other.name == class.name) {
            return Err(format!("it describes class {} twice", class.name));
        }
    }
    Ok(classes)
}

fn text_bytes(class: &plugin::Class) -> usize {
    let of_key = |key: &plugin::ConfigKey| {
        let check = match &key.check {
            plugin::ConfigCheck::OneOf(texts) | plugin::ConfigCheck::OneOfIgnoreCase(texts) => bytes_of(texts),
            _ => 0,
        };
        let default = if let plugin::ConfigDefault::Value(text) = &key.default { text.len() } else { 0 };
        let group = key.group.as_ref().map_or(0, String::len);
        key.name.len()
            + key.doc.len()
            + key.display_name.len()
            + group
            + default
            + check
            + bytes_of(&key.dependents)
            + bytes_of(&key.recommended)
    };
    let of_wish = |wish: &plugin::WantedGrant| wish.entry.len() + wish.doc.len() + size_of::<Wanted>();
    class.name.len()
        + class.version.len()
        + bytes_of(&class.aliases)
        + class.config.iter().map(of_key).sum::<usize>()
        + class.grants.iter().map(of_wish).sum::<usize>()
}

fn bytes_of(texts: &[String]) -> usize {
    texts.iter().map(|text| text.len() + size_of::<String>()).sum()
}

fn class(class: plugin::Class) -> Result<Class, String> {
    for name in std::iter::once(&class.name).chain(&class.aliases) {
        check_class_name(name)?;
    }
    let plugin::Class { name, aliases, version, config, grants } = class;
    if version.is_empty() || version.len() > NAME_BYTES_MAX || version.chars().any(char::is_control) {
        return Err(format!("class {name} has no version of 1 to {NAME_BYTES_MAX} characters"));
    }
    if config.len() > KEYS_MAX {
        return Err(format!("class {name} has {} configuration keys: at most {KEYS_MAX} are allowed", config.len()));
    }
    let mut def = ConfigDef::default();
    for described in config {
        let key = key(described);
        if key.name.is_empty() || key.name.len() > NAME_BYTES_MAX || key.name.chars().any(|c| c.is_control() || c.is_whitespace())
        {
            return Err(format!("class {name} has a configuration key without a proper name: {:?}", key.name));
        }
        if def.get(&key.name).is_some() {
            return Err(format!("class {name} has configuration key {} twice", key.name));
        }
        if grants::is_grant(&key.name) {
            return Err(format!("class {name} has configuration key {}: such keys are the worker's", key.name));
        }
        check_default(&name, &key)?;
        def.add(key);
    }
    if grants.len() > WISHES_MAX {
        return Err(format!("class {name} wants {} grants: at most {WISHES_MAX} are allowed", grants.len()));
    }
    Ok(Class { name, aliases, version, config: def, wanted: grants.into_iter().map(wanted).collect() })
}

fn check_class_name(name: &str) -> Result<(), String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '$' | '.' | '-');
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.chars().all(allowed) || name.split('.').any(str::is_empty) {
        return Err(format!("{:?} is no class name", crate::contract::cut(name.to_owned(), 80)));
    }
    Ok(())
}

fn wanted(wish: plugin::WantedGrant) -> Wanted {
    let key = match wish.grant {
        plugin::Grant::Hosts => grants::HOSTS,
        plugin::Grant::Secrets => grants::SECRETS,
        plugin::Grant::Folders => grants::FOLDERS,
        plugin::Grant::Environment => grants::ENVIRONMENT,
    };
    Wanted { key, entry: wish.entry, doc: wish.doc }
}

/// A default that its own key refuses would fail every connector.
fn check_default(class: &str, key: &ConfigKey) -> Result<(), String> {
    let Default::Value(default) = &key.default else { return Ok(()) };
    let def = ConfigDef::new([key.clone()]);
    let as_given = std::iter::once((key.name.clone(), default.clone())).collect();
    match def.parse(&as_given) {
        Ok(_) => Ok(()),
        Err(error) => Err(format!("the default of class {class} is wrong: {error}")),
    }
}

fn key(key: plugin::ConfigKey) -> ConfigKey {
    ConfigKey {
        name: key.name,
        kind: match key.kind {
            plugin::ConfigType::Boolean => ConfigType::Boolean,
            plugin::ConfigType::Text => ConfigType::String,
            plugin::ConfigType::Short => ConfigType::Short,
            plugin::ConfigType::Int => ConfigType::Int,
            plugin::ConfigType::Long => ConfigType::Long,
            plugin::ConfigType::Double => ConfigType::Double,
            plugin::ConfigType::List => ConfigType::List,
            plugin::ConfigType::Class => ConfigType::Class,
            plugin::ConfigType::Password => ConfigType::Password,
        },
        default: match key.default {
            plugin::ConfigDefault::Required => Default::Required,
            plugin::ConfigDefault::Null => Default::Null,
            plugin::ConfigDefault::Value(text) => Default::Value(text),
        },
        check: match key.check {
            plugin::ConfigCheck::Any => Check::Any,
            plugin::ConfigCheck::NonEmpty => Check::NonEmpty,
            plugin::ConfigCheck::OneOf(texts) => Check::OneOf(texts),
            plugin::ConfigCheck::OneOfIgnoreCase(texts) => Check::OneOfIgnoreCase(texts),
            plugin::ConfigCheck::Min(min) => Check::Min(min),
            plugin::ConfigCheck::Range((min, max)) => Check::Range(min, max),
        },
        importance: match key.importance {
            plugin::Importance::High => Importance::High,
            plugin::Importance::Medium => Importance::Medium,
            plugin::Importance::Low => Importance::Low,
        },
        doc: key.doc,
        group: key.group,
        order: key.order,
        width: match key.width {
            plugin::Width::None => Width::None,
            plugin::Width::Short => Width::Short,
            plugin::Width::Medium => Width::Medium,
            plugin::Width::Long => Width::Long,
        },
        display_name: key.display_name,
        dependents: key.dependents,
        recommended: key.recommended,
        internal: key.internal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described(name: &str) -> plugin::Class {
        plugin::Class { name: name.into(), aliases: vec![], version: "1.0".into(), config: vec![], grants: vec![] }
    }

    fn described_key(name: &str, default: plugin::ConfigDefault) -> plugin::ConfigKey {
        plugin::ConfigKey {
            name: name.into(),
            kind: plugin::ConfigType::Int,
            default,
            check: plugin::ConfigCheck::Min(1.0),
            importance: plugin::Importance::Low,
            doc: String::new(),
            group: None,
            order: -1,
            width: plugin::Width::None,
            display_name: String::new(),
            dependents: vec![],
            recommended: vec![],
            internal: false,
        }
    }

    fn check(described: Vec<plugin::Class>, expected: &str) {
        let why = classes(described).unwrap_err();
        assert!(why.contains(expected), "{why}");
    }

    #[test]
    fn hostile_manifests_are_refused() {
        check(vec![], "describes 0 classes");
        check(vec![described("a"), described("a")], "class a twice");
        check(vec![described("../etc")], "is no class name");
        check(vec![described(&"x".repeat(300))], "is no class name");
        check(vec![plugin::Class { version: "1\n2".into(), ..described("a") }], "no version");
        let keys = |keys| vec![plugin::Class { config: keys, ..described("a") }];
        let value = |text: &str| plugin::ConfigDefault::Value(text.into());
        check(keys(vec![described_key("k", plugin::ConfigDefault::Null); 2]), "key k twice");
        check(keys(vec![described_key("a b", plugin::ConfigDefault::Null)]), "without a proper name");
        check(keys(vec![described_key("k", value("0"))]), "default of class a is wrong");
        check(keys(vec![described_key("plugin.grants.hosts", plugin::ConfigDefault::Null)]), "such keys are the worker's");
        let long = plugin::ConfigKey { doc: "x".repeat(2 << 20), ..described_key("k", value("1")) };
        check(keys(vec![long]), "its description takes");
        check((0..65).map(|n| described(&format!("c{n}"))).collect(), "describes 65 classes");
    }

    #[test]
    fn a_proper_manifest_is_taken_over() {
        let key = described_key("k", plugin::ConfigDefault::Value("3".into()));
        let classes = classes(vec![plugin::Class { config: vec![key], ..described("com.example.Mask$Value") }]).unwrap();
        assert_eq!(classes[0].config.keys()[0].kind, ConfigType::Int);
    }
}
