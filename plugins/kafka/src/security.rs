//! TLS and SASL: from Java's key stores and login modules to PEM files and credentials.

use penstock_api::{Error, Props, Result};
use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::producer::BaseProducer;
use std::sync::OnceLock;

use super::oauth;
use super::settings::{notice, wrong};
use crate::jaas::{self, LoginModule};

/// Translates `security.protocol`, `ssl.*` and `sasl.*`.
///
/// # Errors
/// `Config` for what only a JVM can do (JKS stores, Kerberos login, callback handlers), with what to do instead.
pub(super) fn apply(who: &str, props: &Props, client: &mut ClientConfig) -> Result<()> {
    let given = |key: &str| props.get(key).map(|v| v.trim()).filter(|v| !v.is_empty());
    let protocol = given("security.protocol").unwrap_or("PLAINTEXT").to_lowercase();
    if !["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"].contains(&protocol.as_str()) {
        return Err(wrong(who, "security.protocol", &protocol, "one of PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL"));
    }
    client.set("security.protocol", &protocol);
    // A shared set of properties may hold keys of a protocol that is not in use; Java does not look at them either.
    if protocol.ends_with("ssl") {
        tls(who, props, client)?;
    }
    if protocol.starts_with("sasl") {
        sasl(who, props, client)?;
    }
    for key in props.keys().filter(|k| WITHOUT_EFFECT.contains(&k.as_str())) {
        notice(key, &format!("{key} has no effect: TLS comes from OpenSSL here; see librdkafka.ssl.*"));
    }
    Ok(())
}

const WITHOUT_EFFECT: &[&str] = &[
    "ssl.cipher.suites",
    "ssl.enabled.protocols",
    "ssl.engine.factory.class",
    "ssl.keymanager.algorithm",
    "ssl.protocol",
    "ssl.provider",
    "ssl.secure.random.implementation",
    "ssl.trustmanager.algorithm",
];

fn tls(who: &str, props: &Props, client: &mut ClientConfig) -> Result<()> {
    let given = |key: &str| props.get(key).map(|v| v.trim()).filter(|v| !v.is_empty());
    match given("ssl.truststore.certificates") {
        Some(pem) => {
            client.set("ssl.ca.pem", pem);
        }
        None => match given("ssl.truststore.location") {
            Some(path) => {
                pem_store(who, props, "ssl.truststore", path, &["PEM"])?;
                client.set("ssl.ca.location", path);
            }
            // The system's certificates, wherever this system keeps them.
            None => {
                client.set("ssl.ca.location", "probe");
            }
        },
    }
    if let (Some(chain), Some(key)) = (given("ssl.keystore.certificate.chain"), given("ssl.keystore.key")) {
        client.set("ssl.certificate.pem", chain);
        client.set("ssl.key.pem", key);
    } else if let Some(path) = given("ssl.keystore.location") {
        if pem_store(who, props, "ssl.keystore", path, &["PEM", "PKCS12"])? == "PKCS12" {
            client.set("ssl.keystore.location", path);
            if let Some(password) = given("ssl.keystore.password") {
                client.set("ssl.keystore.password", password);
            }
        } else {
            // Java's PEM store is one file with the key and its chain.
            client.set("ssl.certificate.location", path);
            client.set("ssl.key.location", path);
        }
    }
    if let Some(password) = given("ssl.key.password") {
        client.set("ssl.key.password", password);
    }
    // An empty value is how Java switches the check of the host's name off.
    let checks_name = props.get("ssl.endpoint.identification.algorithm").is_none_or(|v| !v.trim().is_empty());
    client.set("ssl.endpoint.identification.algorithm", if checks_name { "https" } else { "none" });
    Ok(())
}

/// The type of a store, if it is one of those that can be read.
fn pem_store(who: &str, props: &Props, store: &str, path: &str, readable: &[&'static str]) -> Result<&'static str> {
    let key = format!("{store}.type");
    let kind = props.get(&key).map_or("JKS", |v| v.trim()).to_uppercase();
    if let Some(found) = readable.iter().find(|r| **r == kind) {
        return Ok(found);
    }
    let to_pkcs12 = format!("keytool -importkeystore -srckeystore {path} -destkeystore store.p12 -deststoretype PKCS12");
    let to_pem = if store == "ssl.truststore" {
        "openssl pkcs12 -in store.p12 -nokeys -out store.pem"
    } else {
        "openssl pkcs12 -in store.p12 -nodes -out store.pem"
    };
    let convert = if kind == "PKCS12" { to_pem.replace("store.p12", path) } else { format!("{to_pkcs12} && {to_pem}") };
    Err(Error::config(format!(
        "`{store}.location` of {who} is a {kind} store, which only Java reads: convert it with `{convert}`, then set \
         {store}.location=store.pem and {key}=PEM"
    )))
}

fn sasl(who: &str, props: &Props, client: &mut ClientConfig) -> Result<()> {
    let given = |key: &str| props.get(key).map(|v| v.trim()).filter(|v| !v.is_empty());
    for key in ["sasl.client.callback.handler.class", "sasl.login.class"] {
        if let Some(class) = given(key) {
            return Err(wrong(who, key, class, "no class: Java classes cannot be loaded; use PLAIN, SCRAM or OAUTHBEARER"));
        }
    }
    // Java's default, too.
    let mechanism = given("sasl.mechanism").unwrap_or("GSSAPI").to_uppercase();
    client.set("sasl.mechanism", &mechanism);
    let login = given("sasl.jaas.config").map(|text| login_module(who, text)).transpose()?.unwrap_or_default();
    let option = |key: &str| login.option(key);
    match mechanism.as_str() {
        "OAUTHBEARER" => return oauth::apply(who, props, &login, client),
        "GSSAPI" => return kerberos(who, props, &login, client),
        _ => {}
    }
    let missing = || {
        let module = if mechanism == "PLAIN" { "plain.PlainLoginModule" } else { "scram.ScramLoginModule" };
        let example = format!("org.apache.kafka.common.security.{module} required username=\"...\" password=\"...\";");
        Error::config(format!("`sasl.jaas.config` of {who} has no username and password for {mechanism}: give `{example}`"))
    };
    let (Some(username), Some(password)) = (option("username"), option("password")) else { return Err(missing()) };
    client.set("sasl.username", username).set("sasl.password", password);
    Ok(())
}

fn login_module(who: &str, text: &str) -> Result<LoginModule> {
    let cannot =
        |why| format!("`sasl.jaas.config` of {who} cannot be read: {why}; give `<login module> required key=\"value\" ...;`");
    jaas::module(text).map_err(|why| Error::config(cannot(why)))
}

/// Kerberos, where librdkafka was built with it.
fn kerberos(who: &str, props: &Props, login: &LoginModule, client: &mut ClientConfig) -> Result<()> {
    let given = |key: &str| props.get(key).map(|v| v.trim()).filter(|v| !v.is_empty());
    if !has_kerberos() {
        let said = if given("sasl.mechanism").is_some() { "is GSSAPI" } else { "is not given, which stands for GSSAPI" };
        return Err(Error::config(format!(
            "`sasl.mechanism` of {who} {said}, that is Kerberos, which is not built into this worker: give PLAIN, SCRAM-SHA-256, \
             SCRAM-SHA-512 or OAUTHBEARER, or build penstock with its feature gssapi, which needs libsasl2"
        )));
    }
    let pairs = [
        ("sasl.kerberos.service.name", given("sasl.kerberos.service.name").or_else(|| login.option("serviceName"))),
        ("sasl.kerberos.principal", login.option("principal")),
        ("sasl.kerberos.keytab", login.option("keyTab")),
        ("sasl.kerberos.min.time.before.relogin", given("sasl.kerberos.min.time.before.relogin")),
    ];
    for (key, value) in pairs {
        if let Some(value) = value {
            client.set(key, value);
        }
    }
    Ok(())
}

/// Whether librdkafka was built with Kerberos. Its list of features says so in any case: it is made to begin with it, reaching nobody.
fn has_kerberos() -> bool {
    static HAS: OnceLock<bool> = OnceLock::new();
    *HAS.get_or_init(|| {
        let mut client = ClientConfig::new();
        client.set_log_level(RDKafkaLogLevel::Emerg).set("security.protocol", "sasl_plaintext").set("sasl.mechanism", "GSSAPI");
        // Without renewals it asks nobody for a ticket.
        client.set("sasl.kerberos.min.time.before.relogin", "0").create::<BaseProducer>().is_ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn translated(given: &[(&str, &str)]) -> Result<ClientConfig> {
        let mut client = ClientConfig::new();
        let props = given.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        apply("x", &props, &mut client)?;
        Ok(client)
    }

    fn check(given: &[(&str, &str)], expected: &[(&str, Option<&str>)]) {
        let client = translated(given).unwrap();
        for (key, value) in expected {
            assert_eq!(client.get(key), *value, "{key}");
        }
    }

    fn error(given: &[(&str, &str)]) -> String {
        translated(given).unwrap_err().to_string()
    }

    #[test]
    fn logins_are_read() {
        let module = "org.apache.kafka.common.security.plain.PlainLoginModule required";
        let login = format!("{module} username=\"al ice\"  password=\"a\\\"b;c\" ;");
        let base = [("security.protocol", "SASL_SSL"), ("sasl.mechanism", "PLAIN"), ("sasl.jaas.config", &login)];
        check(
            &base,
            &[
                ("sasl.username", Some("al ice")),
                ("sasl.password", Some("a\"b;c")),
                ("ssl.ca.location", Some("probe")),
                ("ssl.endpoint.identification.algorithm", Some("https")),
            ],
        );
        let oauth = [
            ("security.protocol", "SASL_PLAINTEXT"),
            ("sasl.mechanism", "OAUTHBEARER"),
            ("sasl.oauthbearer.token.endpoint.url", "https://idp/token"),
            ("sasl.jaas.config", "a.B required clientId=me clientSecret=\"s\";"),
        ];
        check(&oauth, &[("sasl.oauthbearer.method", Some("oidc")), ("sasl.oauthbearer.client.id", Some("me"))]);
    }

    #[test]
    fn pem_stores_are_used_as_they_are() {
        let stores = [
            ("security.protocol", "SSL"),
            ("ssl.truststore.type", "PEM"),
            ("ssl.truststore.location", "/ca.pem"),
            ("ssl.keystore.type", "PEM"),
            ("ssl.keystore.location", "/me.pem"),
            ("ssl.key.password", "k"),
            ("ssl.endpoint.identification.algorithm", ""),
        ];
        check(
            &stores,
            &[
                ("ssl.ca.location", Some("/ca.pem")),
                ("ssl.certificate.location", Some("/me.pem")),
                ("ssl.key.location", Some("/me.pem")),
                ("ssl.key.password", Some("k")),
                ("ssl.endpoint.identification.algorithm", Some("none")),
            ],
        );
    }

    #[test]
    fn keys_of_a_protocol_that_is_not_used_are_ignored() {
        check(&[("ssl.truststore.location", "/ca.jks")], &[("ssl.ca.location", None), ("security.protocol", Some("plaintext"))]);
    }

    #[test]
    fn what_only_java_can_do_says_what_to_do_instead() {
        let jks = error(&[("security.protocol", "SSL"), ("ssl.truststore.location", "/ca.jks")]);
        assert!(jks.contains("keytool -importkeystore -srckeystore /ca.jks") && jks.contains("ssl.truststore.type=PEM"), "{jks}");
        assert!(error(&[("security.protocol", "SASL_SSL")]).contains("is not given, which stands for GSSAPI, that is Kerberos"));
        let kerberos = [("security.protocol", "SASL_SSL"), ("sasl.mechanism", "GSSAPI")];
        assert!(error(&kerberos).contains("is not built into this worker: give PLAIN"), "{}", error(&kerberos));
        let no_login = error(&[("security.protocol", "SASL_SSL"), ("sasl.mechanism", "SCRAM-SHA-512")]);
        assert!(no_login.contains("ScramLoginModule required"), "{no_login}");
        assert!(error(&[("security.protocol", "tls")]).contains("SASL_SSL"));
        let broken = [("security.protocol", "SASL_SSL"), ("sasl.mechanism", "PLAIN"), ("sasl.jaas.config", "a.B required x=\"")];
        assert!(error(&broken).contains("cannot be read"));
    }
}
