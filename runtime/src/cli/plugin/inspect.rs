//! `penstock plugin inspect`: what a component is, without a worker.

use std::path::{Path, PathBuf};

use clap::Args;
use penstock_api::config::{Check, Default as KeyDefault};
use penstock_api::{ConfigKey, Plugin};
use penstock_host::{HostConfig, Inspection, WantedGrant};
use serde_json::{Value, json};

use crate::cli::error::{CliError, Result};
use crate::cli::table::table;

#[derive(Args)]
pub(super) struct Inspect {
    /// The component, a .wasm file.
    file: PathBuf,
    /// Say it in JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn inspect(Inspect { file, json }: &Inspect, as_json: bool) -> Result<String> {
    let inspection = penstock_host::inspect(file, HostConfig::default())
        .map_err(|why| CliError::Usage(format!("{}: {why}", file.display())))?;
    Ok(if *json || as_json {
        serde_json::to_string_pretty(&document(file, &inspection)).expect("a document is JSON") + "\n"
    } else {
        readable(file, &inspection)
    })
}

fn readable(file: &Path, inspection: &Inspection) -> String {
    let row = |name: &str, value: String| [name.to_owned(), value];
    let mut about = vec![
        row("world", format!("{} of {}", inspection.world, inspection.contract)),
        row("size", format!("{} bytes", inspection.bytes)),
        row("sha256", inspection.sha256.clone()),
    ];
    let imports = inspection.imports.iter().enumerate();
    about.extend(imports.map(|(at, import)| row(if at == 0 { "imports" } else { "" }, import.clone())));
    let mut text = table(["COMPONENT", &file.display().to_string()], &about);
    for (plugin, wanted) in &inspection.classes {
        let aliases = plugin.aliases.iter().map(|alias| format!(", also {alias}")).collect::<String>();
        text.push_str(&format!("\n{} {} ({}{aliases})\n", plugin.class, plugin.version, plugin.kind().name()));
        for WantedGrant { key, entry, doc } in wanted {
            let entry = if entry.is_empty() { "an entry that depends on its keys" } else { entry };
            text.push_str(&format!("It wants {entry} in {key}: {doc}\n"));
        }
        let keys = plugin.config.keys();
        if keys.is_empty() {
            text.push_str("It has no keys.\n");
        } else {
            let rows: Vec<_> =
                keys.iter().map(|key| [key.name.clone(), type_of(key), default_of(key), key.doc.clone()]).collect();
            text.push_str(&table(["KEY", "TYPE", "DEFAULT", "MEANING"], &rows));
        }
    }
    text
}

fn type_of(key: &ConfigKey) -> String {
    let kind = key.kind.name().to_lowercase();
    match &key.check {
        Check::Any | Check::NonNull | Check::List { of: None, .. } | Check::All(_) | Check::Custom(_) | Check::Within(_) => kind,
        Check::List { of: Some(texts), .. } => format!("{kind} of {}", texts.join(", ")),
        Check::NonEmpty => format!("{kind}, not empty"),
        Check::OneOf(texts) | Check::OneOfIgnoreCase(texts) => format!("{kind}: {}", texts.join(", ")),
        Check::Min(min) => format!("{kind} >= {min}"),
        Check::Range(min, max) => format!("{kind}, {min} to {max}"),
    }
}

fn default_of(key: &ConfigKey) -> String {
    match &key.default {
        KeyDefault::Required => "(required)".to_owned(),
        KeyDefault::Null => "(none)".to_owned(),
        KeyDefault::Value(text) if text.is_empty() => "(empty)".to_owned(),
        KeyDefault::Value(text) => text.clone(),
    }
}

fn document(file: &Path, inspection: &Inspection) -> Value {
    json!({
        "file": file.display().to_string(),
        "bytes": inspection.bytes,
        "sha256": inspection.sha256,
        "world": inspection.world,
        "contract": inspection.contract,
        "worker_contract": inspection.spoken,
        "imports": inspection.imports,
        "classes": inspection.classes.iter().map(class).collect::<Vec<_>>(),
    })
}

fn class((plugin, wanted): &(Plugin, Vec<WantedGrant>)) -> Value {
    let wish = |wanted: &WantedGrant| json!({"key": wanted.key, "entry": wanted.entry, "documentation": wanted.doc});
    json!({
        "class": plugin.class,
        "aliases": plugin.aliases,
        "type": plugin.kind().name(),
        "version": plugin.version,
        "wants": wanted.iter().map(wish).collect::<Vec<_>>(),
        "config": plugin.config.keys().iter().map(key).collect::<Vec<_>>(),
    })
}

fn key(key: &ConfigKey) -> Value {
    let default = match &key.default {
        KeyDefault::Value(text) => Some(text),
        KeyDefault::Required | KeyDefault::Null => None,
    };
    json!({
        "name": key.name,
        "type": key.kind.name(),
        "required": key.default == KeyDefault::Required,
        "default_value": default,
        "values": match &key.check {
            Check::OneOf(texts) | Check::OneOfIgnoreCase(texts) => Some(texts),
            _ => None,
        },
        "minimum": match key.check {
            Check::Min(min) | Check::Range(min, _) => Some(min),
            _ => None,
        },
        "maximum": match key.check {
            Check::Range(_, max) => Some(max),
            _ => None,
        },
        "importance": key.importance.name(),
        "group": key.group,
        "documentation": key.doc,
    })
}
