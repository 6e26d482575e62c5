//! What validation says, in the shape and key order of Connect's `ConfigInfos`.

use penstock_api::config::{ConfigKey, ConfigType, ConfigValue, Default};
use serde::Serialize;

/// The answer of `PUT /connector-plugins/{class}/config/validate`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ConfigInfos {
    pub name: String,
    pub error_count: usize,
    pub groups: Vec<String>,
    pub configs: Vec<ConfigInfo>,
}

/// One key.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ConfigInfo {
    /// `None` for a key that has a value but is declared nowhere.
    pub definition: Option<Definition>,
    pub value: Value,
}

/// What a key is.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Definition {
    pub name: String,
    #[serde(rename = "type")]
    pub kind: &'static str,
    pub required: bool,
    pub default_value: Option<String>,
    pub importance: &'static str,
    pub documentation: String,
    pub group: Option<String>,
    pub order_in_group: i32,
    pub width: &'static str,
    pub display_name: String,
    pub dependents: Vec<String>,
}

/// What it is set to, and what is wrong with that.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Value {
    pub name: String,
    pub value: Option<String>,
    pub recommended_values: Vec<String>,
    pub errors: Vec<String>,
    pub visible: bool,
}

/// What stands for a password.
pub const HIDDEN: &str = "[hidden]";

impl ConfigInfos {
    /// The text with which Connect refuses a configuration; `None` when nothing is wrong.
    #[must_use]
    pub fn refusal(&self) -> Option<String> {
        let errors: Vec<&str> = self.configs.iter().flat_map(|c| &c.value.errors).map(String::as_str).collect();
        if errors.is_empty() {
            return None;
        }
        Some(format!(
            "Connector configuration is invalid and contains the following {} error(s):\n{}\nYou can also find the above list of errors at \
             the endpoint `/connector-plugins/{{connectorType}}/config/validate`",
            errors.len(),
            errors.join("\n")
        ))
    }
}

impl Definition {
    /// The definition of a key.
    #[must_use]
    pub fn of(key: &ConfigKey) -> Self {
        let default_value = match &key.default {
            Default::Value(_) if key.kind == ConfigType::Password => Some(HIDDEN.to_owned()),
            Default::Value(value) => Some(value.clone()),
            Default::Null | Default::Required => None,
        };
        Self {
            name: key.name.clone(),
            kind: key.kind.name(),
            required: key.default == Default::Required,
            default_value,
            importance: key.importance.name(),
            documentation: key.doc.clone(),
            group: key.group.clone(),
            order_in_group: key.order,
            width: key.width.name(),
            display_name: key.display_name.clone(),
            dependents: key.dependents.clone(),
        }
    }
}

impl ConfigInfo {
    /// A declared key with what validation found.
    #[must_use]
    pub fn new(key: &ConfigKey, found: ConfigValue) -> Self {
        let value = found.value.map(|text| shown(key.kind, text));
        let value = Value {
            name: found.name,
            value,
            recommended_values: key.recommended.clone(),
            errors: found.errors,
            visible: found.visible,
        };
        Self { definition: Some(Definition::of(key)), value }
    }

    /// A key that is declared nowhere.
    #[must_use]
    pub fn undeclared(name: &str, value: Option<String>, errors: Vec<String>) -> Self {
        let value = Value { name: name.to_owned(), value, recommended_values: Vec::new(), errors, visible: true };
        Self { definition: None, value }
    }
}

fn shown(kind: ConfigType, text: String) -> String {
    match kind {
        ConfigType::Password => HIDDEN.to_owned(),
        ConfigType::Boolean => text.to_lowercase(),
        ConfigType::List => penstock_api::config::split_list(&text).join(","),
        _ => text,
    }
}
