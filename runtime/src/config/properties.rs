//! Layers of raw properties: a Java properties file, then the environment.

use config::{Config, ConfigError, Map, Source, Value, ValueKind};
use std::io::Read;
use std::path::Path;

use penstock_api::{Error, Props, Result};

/// What a variable of the environment that sets a worker key begins with.
pub const ENV_PREFIX: &str = "PENSTOCK_WORKER_";

/// Reads a Java properties file, in its ISO-8859-1 with `\u` escapes as Java's `Properties.load` does.
///
/// # Errors
/// `Config`, with the path and, where it is known, the line.
pub fn read(path: &Path) -> Result<Props> {
    let file = std::fs::File::open(path)
        .map_err(|e| Error::config(format!("could not open the worker file {}: {e}", path.display())))?;
    parse(file).map_err(|e| {
        let line = e.line_number().map(|n| format!(" at line {n}")).unwrap_or_default();
        Error::config(format!("{} is not a Java properties file{line}: {e}", path.display()))
    })
}

/// Parses the text of a Java properties file.
///
/// # Errors
/// When the text cannot be read or holds a broken `\u` escape.
pub fn parse(text: impl Read) -> std::result::Result<Props, java_properties::PropertiesError> {
    Ok(java_properties::read(text)?.into_iter().map(|(key, value)| (key, value.trim().to_owned())).collect())
}

/// The keys that the environment sets: `PENSTOCK_WORKER_GROUP_ID` is `group.id`. In a name `_` is a dot, `__` a dash and
/// `___` an underscore, as in the container images that Connect users know.
pub fn from_environment(variables: impl IntoIterator<Item = (String, String)>) -> Props {
    variables.into_iter().filter_map(|(name, value)| Some((key_of(name.strip_prefix(ENV_PREFIX)?), value))).collect()
}

/// Lays properties over each other, later layers over earlier ones.
///
/// # Errors
/// `Config`, should a layer not be readable as text.
pub fn layered(layers: impl IntoIterator<Item = Props>) -> Result<Props> {
    let builder = layers.into_iter().fold(Config::builder(), |builder, props| builder.add_source(Layer(props)));
    let wrong = |e: ConfigError| Error::config("the worker's properties cannot be laid over each other").with_source(e);
    let table = builder.build().map_err(wrong)?.get_table(ROOT).map_err(wrong)?;
    table.into_iter().map(|(key, value)| Ok((key, value.into_string().map_err(wrong)?))).collect()
}

/// Properties as a source of the `config` crate. That crate nests keys at their dots, but in Connect `key.converter` is both
/// a value and the beginning of other keys: so all of them stand, undivided, in one table.
#[derive(Clone, Debug)]
struct Layer(Props);

/// Where that table stands.
const ROOT: &str = "worker";

impl Source for Layer {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> std::result::Result<Map<String, Value>, ConfigError> {
        let origin = "properties".to_owned();
        let table: Map<String, Value> =
            self.0.iter().map(|(k, v)| (k.clone(), Value::new(Some(&origin), ValueKind::String(v.clone())))).collect();
        Ok([(ROOT.to_owned(), Value::new(Some(&origin), ValueKind::Table(table)))].into_iter().collect())
    }
}

fn key_of(name: &str) -> String {
    name.to_lowercase().replace("___", "\0").replace("__", "-").replace('_', ".").replace('\0', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_java_reads() {
        let props = parse(&b"# comment\ngroup.id = retail \nplugin.path=/a,\\\n   /b\nkey\\:x=\\u00fc\n! no\nempty=\n"[..])
            .expect("good");
        let expected = [("group.id", "retail"), ("plugin.path", "/a,/b"), ("key:x", "\u{fc}"), ("empty", "")];
        assert_eq!(props, expected.map(|(k, v)| (k.to_owned(), v.to_owned())).into());
    }

    #[test]
    fn later_layers_win_and_dots_are_no_nesting() {
        let props = |pairs: &[(&str, &str)]| -> Props { pairs.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect() };
        let file = props(&[("key.converter", "Json"), ("key.converter.schemas.enable", "true"), ("Group.ID", "a")]);
        let environment = props(&[("key.converter", "String"), ("listeners", "")]);
        let expected =
            props(&[("key.converter", "String"), ("key.converter.schemas.enable", "true"), ("Group.ID", "a"), ("listeners", "")]);
        assert_eq!(layered([file, environment]).expect("good"), expected);
    }

    #[test]
    fn says_where_a_file_is_broken() {
        let error = parse(&b"a=1\nb=\\u00zz\n"[..]).expect_err("broken escape");
        assert_eq!(error.line_number(), Some(2));
    }

    #[test]
    fn names_of_variables() {
        let variables =
            [("PENSTOCK_WORKER_GROUP_ID", "a"), ("PENSTOCK_WORKER_X_Y___Z__W", "b"), ("PENSTOCK_OTHER", "c"), ("HOME", "d")];
        let props = from_environment(variables.map(|(k, v)| (k.to_owned(), v.to_owned())));
        assert_eq!(props, [("group.id", "a"), ("x.y_z-w", "b")].map(|(k, v)| (k.to_owned(), v.to_owned())).into());
    }
}
