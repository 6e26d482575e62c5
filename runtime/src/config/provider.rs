//! `${file:path:key}`, `${directory:path:file}` and `${env:name}`: resolved on the worker that runs the task, never stored or shown.

use std::path::{Component, Path, PathBuf};
use std::sync::LazyLock;

use fancy_regex::Regex;
use penstock_api::config::split_list;
use penstock_api::{Error, Props, Result};

use super::properties;
use super::worker::behind;

/// The config providers of a worker, by alias.
#[derive(Clone, Debug, Default)]
pub struct Providers {
    by_alias: Vec<(String, Provider)>,
}

#[derive(Clone, Debug)]
enum Provider {
    File(AllowedPaths),
    Directory(AllowedPaths),
    Environment { allowed: Option<Regex> },
}

/// Empty: all paths.
#[derive(Clone, Debug)]
struct AllowedPaths(Vec<PathBuf>);

/// Java's pattern: provider, perhaps a path, key.
static VARIABLE: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"\$\{([^}]*?):(?:([^}]*?):)?([^}]*?)\}").expect("the pattern is fixed and valid"));

impl Providers {
    /// Reads `config.providers` and what belongs to it.
    ///
    /// # Errors
    /// `Config`, with the key.
    pub fn new(props: &Props) -> Result<Self> {
        let aliases = split_list(props.get("config.providers").map_or("", String::as_str));
        let by_alias =
            aliases.into_iter().map(|alias| Ok((alias.clone(), Provider::new(&alias, props)?))).collect::<Result<_>>()?;
        Ok(Self { by_alias })
    }

    /// Replaces the variables in all values. What names no provider of this worker stays as it is, as in Connect.
    ///
    /// # Errors
    /// `Config`, with the key whose variable cannot be resolved.
    pub fn resolve(&self, props: &Props) -> Result<Props> {
        let resolved = props.iter().map(|(key, value)| Ok((key.clone(), self.resolve_value(key, value)?)));
        resolved.collect()
    }

    /// Replaces the variables in one value.
    ///
    /// # Errors
    /// `Config`, with the key.
    pub fn resolve_value(&self, key: &str, value: &str) -> Result<String> {
        if self.by_alias.is_empty() || !value.contains("${") {
            return Ok(value.to_owned());
        }
        let mut resolved = String::with_capacity(value.len());
        let mut end = 0;
        for found in VARIABLE.captures_iter(value) {
            let found = found.map_err(|e| Error::config(format!("could not look for variables in the value of {key}: {e}")))?;
            let part = |i: usize| found.get(i).map_or("", |m| m.as_str());
            let whole = found.get(0).expect("group 0 is the match");
            resolved.push_str(&value[end..whole.start()]);
            match self.by_alias.iter().find(|(alias, _)| alias == part(1)) {
                Some((_, provider)) => resolved.push_str(&provider.get(part(2), part(3)).map_err(|why| {
                    Error::config(format!("Could not resolve {} in the value of {key}: {why}", whole.as_str()))
                })?),
                None => resolved.push_str(whole.as_str()),
            }
            end = whole.end();
        }
        resolved.push_str(&value[end..]);
        Ok(resolved)
    }
}

impl Provider {
    fn new(alias: &str, props: &Props) -> Result<Self> {
        let key = format!("config.providers.{alias}.class");
        let class = props.get(&key).ok_or_else(|| {
            Error::config(format!(
                "{key} is missing: name the class of the provider {alias}, such as {PACKAGE}FileConfigProvider"
            ))
        })?;
        let params = behind(props, &format!("config.providers.{alias}.param."));
        let paths = || {
            AllowedPaths(
                split_list(params.get("allowed.paths").map_or("", String::as_str)).iter().map(|p| normal(Path::new(p))).collect(),
            )
        };
        match class.trim().trim_start_matches(PACKAGE) {
            "FileConfigProvider" => Ok(Provider::File(paths())),
            "DirectoryConfigProvider" => Ok(Provider::Directory(paths())),
            "EnvVarConfigProvider" => {
                let allowed = params.get("allowlist.pattern").map(|pattern| {
                    Regex::new(&format!("^(?:{pattern})$")).map_err(|e| {
                        Error::config(format!(
                            "config.providers.{alias}.param.allowlist.pattern is not a regular expression: {e}"
                        ))
                    })
                });
                Ok(Provider::Environment { allowed: allowed.transpose()? })
            }
            _ => Err(Error::config(format!(
                "{key} is {class}, which is not there: choose FileConfigProvider, DirectoryConfigProvider or EnvVarConfigProvider in {PACKAGE}*"
            ))),
        }
    }

    fn get(&self, path: &str, key: &str) -> std::result::Result<String, String> {
        match self {
            Provider::File(allowed) => {
                let path = allowed.check(path)?;
                let text = std::fs::read_to_string(&path)
                    .map_err(|e| format!("Could not read properties from file {}: {e}", path.display()))?;
                let props = properties::parse(escaped(&text).as_bytes())
                    .map_err(|e| format!("{} is not a properties file: {e}", path.display()))?;
                props.get(key).cloned().ok_or_else(|| format!("the file {} has no key {key}", path.display()))
            }
            Provider::Directory(allowed) => {
                let file = allowed.check(path)?.join(key);
                let inside = Path::new(key).components().all(|c| matches!(c, Component::Normal(_)));
                if !inside {
                    return Err(format!("{key} is not the name of a file in {path}"));
                }
                std::fs::read_to_string(&file).map_err(|e| format!("could not read {}: {e}", file.display()))
            }
            Provider::Environment { .. } if !path.is_empty() => {
                Err(format!("Path is not supported for EnvVarConfigProvider, invalid value '{path}'"))
            }
            Provider::Environment { allowed: Some(allowed) } if !allowed.is_match(key).unwrap_or(false) => {
                Err(format!("the variable {key} is not allowed by allowlist.pattern"))
            }
            Provider::Environment { .. } => {
                std::env::var(key).map_err(|_| format!("the environment of the worker has no variable {key}"))
            }
        }
    }
}

const PACKAGE: &str = "org.apache.kafka.common.config.provider.";

impl AllowedPaths {
    fn check(&self, path: &str) -> std::result::Result<PathBuf, String> {
        if path.is_empty() {
            return Err("the path is missing".to_owned());
        }
        let path = normal(Path::new(path));
        let is_allowed = self.0.is_empty() || (path.is_absolute() && self.0.iter().any(|allowed| path.starts_with(allowed)));
        if is_allowed { Ok(path) } else { Err(format!("the path {} is not below one of allowed.paths", path.display())) }
    }
}

/// The path without `.` and `..`, by its text as Java does it.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => drop(normal.pop()),
            other => normal.push(other),
        }
    }
    normal
}

/// Providers read files as UTF-8, unlike `Properties.load` of a stream: what is beyond ASCII becomes a `\u` escape.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_ascii() {
            escaped.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                escaped.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn providers(extra: &[(&str, &str)]) -> Providers {
        let mut props: Props = [
            ("config.providers", "file,env,dir"),
            ("config.providers.file.class", "org.apache.kafka.common.config.provider.FileConfigProvider"),
            ("config.providers.env.class", "org.apache.kafka.common.config.provider.EnvVarConfigProvider"),
            ("config.providers.dir.class", "org.apache.kafka.common.config.provider.DirectoryConfigProvider"),
        ]
        .map(|(k, v)| (k.to_owned(), v.to_owned()))
        .into();
        props.extend(extra.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())));
        Providers::new(&props).expect("good providers")
    }

    fn resolve(providers: &Providers, value: &str) -> std::result::Result<String, String> {
        providers.resolve_value("k", value).map_err(|e| e.message().to_owned())
    }

    #[test]
    fn resolves_as_java_does() {
        let dir = std::env::temp_dir().join(format!("penstock-provider-{}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("temporary folder");
        let file = dir.join("s.properties");
        std::fs::write(&file, "user=joe\npw=a:b\nname=J\u{fc}rgen\n").expect("write");
        let (dir, file) = (dir.display(), file.display());
        let all = providers(&[]);
        let home = std::env::var("PATH").expect("PATH is set");
        let check = |value: String, expected: &str| assert_eq!(resolve(&all, &value).as_deref(), Ok(expected), "{value}");
        check(format!("${{file:{file}:user}}"), "joe");
        check(format!("x${{file:{file}:pw}}y${{env:PATH}}"), &format!("xa:by{home}"));
        check(format!("${{file:{file}:name}}"), "J\u{fc}rgen");
        check("${env::PATH}".into(), &home);
        check("${zz:a:b} ${topic}-x".into(), "${zz:a:b} ${topic}-x");
        check(format!("$${{file:{file}:user}}"), "$joe");
        check(format!("${{file:{file}:user"), &format!("${{file:{file}:user"));
        check(format!("${{dir:{dir}:s.properties}}"), "user=joe\npw=a:b\nname=J\u{fc}rgen\n");

        let fails = |value: String, why: &str| {
            let error = resolve(&all, &value).expect_err(&value);
            assert!(
                error.starts_with("Could not resolve ${") && error.contains(" in the value of k: ") && error.contains(why),
                "{error}"
            );
        };
        fails("${env:x:PATH}".into(), "Path is not supported for EnvVarConfigProvider, invalid value 'x'");
        fails("${env:PENSTOCK_NO_SUCH}".into(), "has no variable PENSTOCK_NO_SUCH");
        fails(format!("${{file:{file}:nokey}}"), "has no key nokey");
        fails("${file:/nope:user}".into(), "Could not read properties from file /nope");
        fails(format!("${{dir:{dir}:../x}}"), "not the name of a file");

        let narrow = providers(&[
            ("config.providers.file.param.allowed.paths", "/etc"),
            ("config.providers.env.param.allowlist.pattern", "PA"),
        ]);
        assert!(resolve(&narrow, &format!("${{file:{file}:user}}")).expect_err("elsewhere").contains("allowed.paths"));
        assert!(resolve(&narrow, "${file:/etc/../tmp/x:user}").expect_err("dots").contains("allowed.paths"));
        assert!(resolve(&narrow, "${env:PATH}").expect_err("only PA").contains("allowlist.pattern"));
    }

    #[test]
    fn an_unknown_class_is_named() {
        let props = [("config.providers", "v"), ("config.providers.v.class", "com.acme.Vault")]
            .map(|(k, v)| (k.to_owned(), v.to_owned()));
        let error = Providers::new(&props.into()).expect_err("unknown");
        assert!(error.message().starts_with("config.providers.v.class is com.acme.Vault"), "{error}");
        let error = Providers::new(&[("config.providers".to_owned(), "v".to_owned())].into()).expect_err("missing");
        assert!(error.message().starts_with("config.providers.v.class is missing"), "{error}");
    }
}
