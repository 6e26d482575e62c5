//! `penstock plugin new` and `penstock plugin sdk`: a crate to begin with, and the SDK it is built on.

use std::path::{Path, PathBuf};
use std::{fs, io};

use clap::{Args, ValueEnum};
use penstock_sdk::{Crate, Kind};

use crate::cli::error::{CliError, Result};

#[derive(Args)]
pub(super) struct New {
    /// The crate's name: letters, digits and dashes.
    name: String,
    /// What kind of plugin it holds.
    #[arg(long, value_enum)]
    kind: KindArgument,
    /// The language. Others need only the WIT files (`penstock plugin sdk` writes them, too).
    #[arg(long, value_enum, default_value_t = Language::Rust)]
    lang: Language,
    /// The full name of the class; by default com.example.NAME in capitals and small letters.
    #[arg(long)]
    class: Option<String>,
    /// The folder to write; by default NAME.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Where the SDK is: a checkout of Penstock, or a version to take from the registry of crates. By default the SDK of this binary is
    /// written into the crate, as its folder `sdk`, so that it builds wherever it is copied to.
    #[arg(long, env = "PENSTOCK_SDK", value_name = "PATH|VERSION")]
    sdk: Option<String>,
}

#[derive(Args)]
pub(super) struct Sdk {
    /// The folder to write. The SDK that is there already is replaced.
    #[arg(default_value = "sdk")]
    dir: PathBuf,
}

#[derive(Clone, Copy, ValueEnum)]
enum KindArgument {
    /// Changes, drops or fails records.
    Transform,
    /// Chooses which records a transform sees.
    Predicate,
    /// Brings records into Kafka.
    Source,
    /// Takes records from Kafka.
    Sink,
}

#[derive(Clone, Copy, ValueEnum)]
enum Language {
    Rust,
}

pub(super) fn new(arguments: &New) -> Result<String> {
    let New { name, kind, lang: Language::Rust, class, dir, sdk } = arguments;
    check_name(name)?;
    let class = class.clone().unwrap_or_else(|| format!("com.example.{}", pascal(name)));
    check_class(&class)?;
    let dir = dir.clone().unwrap_or_else(|| PathBuf::from(name));
    if fs::read_dir(&dir).is_ok_and(|mut entries| entries.next().is_some()) || dir.is_file() {
        return Err(CliError::Usage(format!("{} is there already: choose another name, or --dir", dir.display())));
    }
    let kind = match kind {
        KindArgument::Transform => Kind::Transform,
        KindArgument::Predicate => Kind::Predicate,
        KindArgument::Source => Kind::Source,
        KindArgument::Sink => Kind::Sink,
    };
    let (location, note) = match sdk.as_deref() {
        None => (r#"path = "sdk/plugins/guest""#.to_owned(), OWN_NOTE.to_owned()),
        Some(place) => elsewhere(place)?,
    };
    let files = Crate { kind, name, class: &class, sdk: &location, sdk_note: &note }.files();
    write_all(&dir, files).map_err(|error| cannot_write(&dir, &error))?;
    if sdk.is_none() {
        write_sdk(&dir.join("sdk"))?;
    }
    let shown = dir.display();
    Ok(format!(
        "{shown} holds the class {class}. Next:\n  cd {shown}\n  penstock plugin test     # its cases, natively and inside wasmtime\n  penstock plugin \
         build    # the component\nREADME.md goes on from there.\n"
    ))
}

const OWN_NOTE: &str = "The folder `sdk` is the SDK of the worker that wrote this crate. `penstock plugin sdk` writes that of another \
                        version in its place; commit it, so that the crate builds everywhere.";

/// The SDK's place as a dependency says it: a checkout, or a version.
fn elsewhere(place: &str) -> Result<(String, String)> {
    let path = Path::new(place);
    if path.is_dir() {
        let guest = [path.join("plugins/guest"), path.to_owned()].into_iter().find(|dir| {
            fs::read_to_string(dir.join("Cargo.toml")).is_ok_and(|manifest| manifest.contains("name = \"penstock-plugin\""))
        });
        let guest = guest.ok_or_else(|| {
            CliError::Usage(format!("--sdk {place} is neither a checkout of Penstock nor its folder plugins/guest"))
        })?;
        let guest = guest.canonicalize().map_err(|error| CliError::Usage(format!("--sdk {place}: {error}")))?;
        // TOML's own way to quote what may hold anything.
        let location = format!("path = {}", serde_json::Value::from(guest.display().to_string()));
        return Ok((location, format!("The SDK is that of the checkout at `{place}`.")));
    }
    if place.starts_with(|first: char| first.is_ascii_digit()) && !place.contains(['/', '"']) {
        return Ok((format!("version = \"{place}\""), format!("The SDK is version {place} of the crate penstock-plugin.")));
    }
    Err(CliError::Usage(format!("--sdk {place} is neither a folder nor a version")))
}

pub(super) fn sdk(Sdk { dir }: &Sdk) -> Result<String> {
    if dir.is_dir() && !is_sdk(dir) && fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(CliError::Usage(format!("{} holds something else than an SDK: choose another folder", dir.display())));
    }
    write_sdk(dir)?;
    Ok(format!("{} holds the SDK of Penstock {}\n", dir.display(), penstock_sdk::VERSION))
}

fn is_sdk(dir: &Path) -> bool {
    fs::read_to_string(dir.join("Cargo.toml")).is_ok_and(|text| text.starts_with("# The SDK of Penstock "))
}

/// An older one goes first: a file that is no longer part of it must not stay. Build products do.
fn write_sdk(dir: &Path) -> Result<()> {
    let written = || {
        for old in ["plugins", "wit"] {
            match fs::remove_dir_all(dir.join(old)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        write_all(dir, penstock_sdk::files())
    };
    written().map_err(|error| cannot_write(dir, &error))
}

fn write_all(dir: &Path, files: impl IntoIterator<Item = (&'static str, String)>) -> io::Result<()> {
    for (path, text) in files {
        let path = dir.join(path);
        fs::create_dir_all(path.parent().unwrap_or(dir))?;
        fs::write(path, text)?;
    }
    Ok(())
}

fn cannot_write(dir: &Path, error: &io::Error) -> CliError {
    CliError::Failed(format!("cannot write {}: {error}", dir.display()))
}

fn check_name(name: &str) -> Result<()> {
    let is_name = name.starts_with(|first: char| first.is_ascii_alphabetic())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
        && !name.ends_with('-');
    let is_taken = matches!(name, "test" | "core" | "std" | "alloc" | "proc-macro" | "penstock-plugin");
    match is_name && !is_taken {
        true => Ok(()),
        false => Err(CliError::Usage(format!(
            "{name} is no name for a crate: begin with a letter, go on with letters, digits and dashes (test, core and std are taken)"
        ))),
    }
}

fn check_class(class: &str) -> Result<()> {
    let is_word = |word: &str| {
        word.starts_with(|first: char| first.is_ascii_alphabetic()) && word.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    // The last part becomes a type, and so must not have the name of one that the crate uses.
    let simple = class.rsplit('.').next().unwrap_or(class);
    let is_taken = TAKEN.contains(&simple);
    match class.contains('.')
        && class.split('.').all(is_word)
        && simple.starts_with(|c: char| c.is_ascii_uppercase())
        && !is_taken
    {
        true => Ok(()),
        false => Err(CliError::Usage(format!(
            "{class} is no name for a class: write it as com.example.TidyText, with --class (the SDK has a {simple}, if that is a word of its own)"
        ))),
    }
}

const TAKEN: [&str; 29] = [
    "Arc",
    "BTreeMap",
    "Box",
    "Check",
    "ConfigDef",
    "ConfigKey",
    "ConfigType",
    "Connector",
    "Duration",
    "Error",
    "Flow",
    "Headers",
    "Map",
    "Next",
    "Offsets",
    "Option",
    "Parsed",
    "Payload",
    "Polled",
    "Predicate",
    "Props",
    "Record",
    "Result",
    "Source",
    "String",
    "Task",
    "Transform",
    "Value",
    "Vec",
];

/// `tidy-text` as `TidyText`.
fn pascal(name: &str) -> String {
    let capital = |word: &str| {
        let mut letters = word.chars();
        letters.next().map_or_else(String::new, |first| first.to_ascii_uppercase().to_string() + letters.as_str())
    };
    name.split('-').map(capital).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_classes() {
        assert_eq!(pascal("tidy-text"), "TidyText");
        assert_eq!(pascal("shout2"), "Shout2");
        for (name, is_good) in
            [("tidy-text", true), ("2nd", false), ("a b", false), ("../x", false), ("a-", false), ("std", false)]
        {
            assert_eq!(check_name(name).is_ok(), is_good, "{name}");
        }
        for (class, is_good) in
            [("com.example.Shout", true), ("Shout", false), ("com.example.Record", false), ("com..Shout", false)]
        {
            assert_eq!(check_class(class).is_ok(), is_good, "{class}");
        }
    }
}
