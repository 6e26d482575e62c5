//! TLS and SASL: from Java's key stores and login modules to PEM files and credentials.

use penstock_api::{Error, Props, Result};
use rdkafka::ClientConfig;

use super::settings::{notice, wrong};

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
    let mechanism = given("sasl.mechanism").unwrap_or("GSSAPI").to_uppercase();
    if mechanism == "GSSAPI" {
        return Err(wrong(
            who,
            "sasl.mechanism",
            &mechanism,
            "PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER (no Kerberos yet)",
        ));
    }
    client.set("sasl.mechanism", &mechanism);
    let login = given("sasl.jaas.config").map(|text| Jaas::parse(who, text)).transpose()?;
    let option = |key: &str| login.as_ref().and_then(|l| l.option(key));
    if mechanism == "OAUTHBEARER" {
        return oauth(who, props, &option, client);
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

fn oauth<'o>(who: &str, props: &'o Props, option: &dyn Fn(&str) -> Option<&'o str>, client: &mut ClientConfig) -> Result<()> {
    const HANDLER: &str = "sasl.login.callback.handler.class";
    let given = |key: &str| props.get(key).map(|v| v.trim()).filter(|v| !v.is_empty());
    if let Some(class) = given(HANDLER)
        && !class.ends_with(".OAuthBearerLoginCallbackHandler")
    {
        return Err(wrong(
            who,
            HANDLER,
            class,
            "Kafka's own OAuthBearerLoginCallbackHandler; other Java classes cannot be loaded",
        ));
    }
    let Some(url) = given("sasl.oauthbearer.token.endpoint.url") else {
        return Err(Error::config(format!("`sasl.oauthbearer.token.endpoint.url` of {who} is missing, which OAUTHBEARER needs")));
    };
    client.set("sasl.oauthbearer.method", "oidc").set("sasl.oauthbearer.token.endpoint.url", url);
    let pairs = [
        ("clientId", "sasl.oauthbearer.client.credentials.client.id", "sasl.oauthbearer.client.id"),
        ("clientSecret", "sasl.oauthbearer.client.credentials.client.secret", "sasl.oauthbearer.client.secret"),
        ("scope", "sasl.oauthbearer.scope", "sasl.oauthbearer.scope"),
    ];
    for (jaas, java, ours) in pairs {
        if let Some(value) = given(java).or_else(|| option(jaas)) {
            client.set(ours, value);
        }
    }
    Ok(())
}

/// A login: `module.Class required key="value" ...;`.
struct Jaas {
    options: Vec<(String, String)>,
}

impl Jaas {
    fn parse(who: &str, text: &str) -> Result<Self> {
        let broken = || {
            Error::config(format!(
                "`sasl.jaas.config` of {who} cannot be read: give `<login module> required key=\"value\" ...;`"
            ))
        };
        let body = text.trim().strip_suffix(';').ok_or_else(broken)?;
        let mut rest = body.trim_start();
        for _ in 0..2 {
            let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
            if end == 0 {
                return Err(broken());
            }
            rest = rest[end..].trim_start();
        }
        let mut options = Vec::new();
        while !rest.is_empty() {
            let (key, after) = rest.split_once('=').ok_or_else(broken)?;
            let (value, after) = Self::value(after.trim_start()).ok_or_else(broken)?;
            options.push((key.trim().trim_matches('"').to_owned(), value));
            rest = after.trim_start();
        }
        Ok(Self { options })
    }

    /// A value, in quotes or bare, and what comes behind it.
    fn value(text: &str) -> Option<(String, &str)> {
        let Some(quoted) = text.strip_prefix('"') else {
            let end = text.find(char::is_whitespace).unwrap_or(text.len());
            return Some((text[..end].to_owned(), &text[end..]));
        };
        let mut value = String::new();
        let mut chars = quoted.char_indices();
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => return Some((value, &quoted[at + 1..])),
                '\\' => value.push(chars.next()?.1),
                c => value.push(c),
            }
        }
        None
    }

    fn option(&self, key: &str) -> Option<&str> {
        self.options.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str())
    }
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
        assert!(error(&[("security.protocol", "SASL_SSL")]).contains("no Kerberos yet"));
        let no_login = error(&[("security.protocol", "SASL_SSL"), ("sasl.mechanism", "SCRAM-SHA-512")]);
        assert!(no_login.contains("ScramLoginModule required"), "{no_login}");
        assert!(error(&[("security.protocol", "tls")]).contains("SASL_SSL"));
        let broken = [("security.protocol", "SASL_SSL"), ("sasl.mechanism", "PLAIN"), ("sasl.jaas.config", "a.B required x=\"")];
        assert!(error(&broken).contains("cannot be read"));
    }
}
