//! Who may call the REST API: Connect's basic-auth extension with its JAAS file and the property file of users it names.

use std::collections::BTreeMap;
use std::path::Path;

use penstock_api::{Error, Props, Result};
use penstock_kafka_clients::jaas;

use super::properties;

/// The extension's class in `rest.extension.classes`.
pub const EXTENSION: &str = "org.apache.kafka.connect.rest.basic.auth.extension.BasicAuthSecurityRestExtension";

/// Our key for the JAAS file; without it the option of the JVM is looked for in `KAFKA_OPTS`.
pub const JAAS_KEY: &str = "penstock.rest.jaas.config";
const JVM_OPTION: &str = "-Djava.security.auth.login.config=";

/// The entry of the JAAS file that Connect looks for, and the module it may name.
const ENTRY: &str = "KafkaConnect";
const MODULE: &str = "org.apache.kafka.connect.rest.basic.auth.extension.PropertyFileLoginModule";

/// Names with passwords. Each file is asked in turn, and an empty one lets everybody in, as in Java.
#[derive(Clone, PartialEq, Eq)]
pub struct Users {
    files: Vec<BTreeMap<String, String>>,
}

impl std::fmt::Debug for Users {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Users")
    }
}

impl Users {
    /// Those of the extension, if `classes` names it.
    ///
    /// # Errors
    /// `Config` when another extension is asked for, or when the files cannot be used: an API that was to be closed must not be
    /// served open.
    pub fn of_extensions(classes: &[String], jaas_file: Option<&str>) -> Result<Option<Self>> {
        if let Some(other) = classes.iter().find(|class| *class != EXTENSION) {
            return Err(Error::config(format!(
                "Invalid value {other} for configuration rest.extension.classes: Java classes cannot be loaded; there is {EXTENSION}"
            )));
        }
        if classes.is_empty() {
            return Ok(None);
        }
        let path = jaas_file.ok_or_else(|| {
            Error::config(format!(
                "rest.extension.classes asks for basic authentication: name its JAAS file by {JAAS_KEY}, or by {JVM_OPTION}FILE in the \
                 environment's KAFKA_OPTS"
            ))
        })?;
        Self::load(Path::new(path)).map(Some)
    }

    fn load(jaas_file: &Path) -> Result<Self> {
        let at = |what: &str| format!("{what} of the JAAS file {}", jaas_file.display());
        let text = std::fs::read_to_string(jaas_file)
            .map_err(|e| Error::config(format!("cannot read the JAAS file {}: {e}", jaas_file.display())))?;
        let modules =
            jaas::entry(&text, ENTRY).map_err(|why| Error::config(format!("{}: {why}", at(&format!("entry {ENTRY}")))))?;
        let mut files = Vec::new();
        for module in &modules {
            if module.class != MODULE {
                let class = &module.class;
                return Err(Error::config(format!("{} names the class {class}: there is only {MODULE}", at("an entry"))));
            }
            let file = module.option("file").filter(|file| !file.trim().is_empty());
            let file =
                file.ok_or_else(|| Error::config(format!("Property Credentials file must be specified: {}", at("`file`"))))?;
            let users = properties::read(Path::new(file))
                .map_err(|e| Error::config(format!("cannot read the users of the REST API: {}", e.message())))?;
            if users.is_empty() {
                tracing::warn!("Credential properties file '{file}' is empty; all requests will be permitted");
            }
            files.push(users);
        }
        Ok(Self { files })
    }

    /// Whether these credentials are good; `None`: there were none that could be read.
    #[must_use]
    pub fn allow(&self, credentials: Option<(&str, &str)>) -> bool {
        let is_good = |users: &BTreeMap<String, String>| match credentials {
            _ if users.is_empty() => true,
            Some((name, password)) => users.get(name).is_some_and(|known| same(known.as_bytes(), password.as_bytes())),
            None => false,
        };
        self.files.iter().any(is_good)
    }
}

/// The JAAS file that Connect's users name by the JVM's options, as a property beneath the worker file.
#[must_use]
pub fn jaas_of_environment(kafka_opts: Option<&str>) -> Props {
    let path = kafka_opts.and_then(|options| options.split_whitespace().find_map(|option| option.strip_prefix(JVM_OPTION)));
    path.map(|path| (JAAS_KEY.to_owned(), path.trim_matches(['"', '\'']).to_owned())).into_iter().collect()
}

/// In a time that does not tell how much was right.
fn same(known: &[u8], given: &[u8]) -> bool {
    known.len() == given.len() && openssl::memcmp::eq(known, given)
}

#[cfg(test)]
mod tests {
    use super::*;

    const JAAS: &str = r#"
        // Of the brokers' clients.
        KafkaClient { x.Y required; };
        /* Of REST. */
        KafkaConnect {
            org.apache.kafka.connect.rest.basic.auth.extension.PropertyFileLoginModule required
            file="FILE" debug=true;
        };"#;

    fn users(jaas: &str, properties: &str) -> Result<Users> {
        let dir = std::env::temp_dir().join(format!("penstock-users-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir_all(&dir).expect("a folder");
        let (jaas_file, file) = (dir.join("jaas.conf"), dir.join("users.properties"));
        std::fs::write(&file, properties).expect("a file");
        std::fs::write(&jaas_file, jaas.replace("FILE", &file.to_string_lossy())).expect("a file");
        let users = Users::load(&jaas_file);
        std::fs::remove_dir_all(&dir).ok();
        users
    }

    #[test]
    fn users_are_those_of_the_property_file() {
        let known = users(JAAS, "admin=s3cret\nfred: with space\n").expect("good");
        let check =
            |name: &str, password: &str, expected: bool| assert_eq!(known.allow(Some((name, password))), expected, "{name}");
        check("admin", "s3cret", true);
        check("admin", "s3cre", false);
        check("admin", "s3crets", false);
        check("admin", "", false);
        check("fred", "with space", true);
        check("nobody", "s3cret", false);
        assert!(!known.allow(None));
        assert!(users(JAAS, "# nobody\n").expect("good").allow(None), "as in Java, an empty file lets everybody in");
    }

    #[test]
    fn what_is_wrong_with_the_jaas_file_is_said() {
        let check = |jaas: &str, says: &str| {
            let error = users(jaas, "a=b").expect_err(says).to_string();
            assert!(error.contains(says), "{error}");
        };
        check("Other { x.Y required; };", "entry KafkaConnect of the JAAS file");
        check("KafkaConnect { com.example.Ldap required; };", "names the class com.example.Ldap");
        check(&JAAS.replace("file=", "path="), "Property Credentials file must be specified");
        check(&JAAS.replace("FILE", "/no/such"), "/no/such");
        check("KafkaConnect { x.Y sometimes; };", "behind x.Y stands none of required");
        check("KafkaConnect { x.Y required", "has no end");
    }

    #[test]
    fn other_extensions_are_refused() {
        let of = |classes: &[&str], jaas: Option<&str>| {
            Users::of_extensions(&classes.iter().map(|c| (*c).to_owned()).collect::<Vec<_>>(), jaas)
        };
        assert!(matches!(of(&[], None), Ok(None)));
        assert!(of(&[EXTENSION], None).expect_err("no file").to_string().contains(JAAS_KEY));
        assert!(of(&["com.example.Sso"], None).expect_err("unknown").to_string().contains("com.example.Sso"));
    }

    #[test]
    fn the_jvms_option_is_understood() {
        let found = jaas_of_environment(Some("-Xmx1g -Djava.security.auth.login.config=/etc/jaas.conf -Da=b"));
        assert_eq!(found.get(JAAS_KEY).map(String::as_str), Some("/etc/jaas.conf"));
        assert!(jaas_of_environment(Some("-Xmx1g")).is_empty() && jaas_of_environment(None).is_empty());
    }
}
