//! OAUTHBEARER: tokens that an endpoint gives out for a client's id and secret, or for an assertion that the client has signed.
//! librdkafka asks for them, and again before they end.

use penstock_api::{Error, Props, Result};
use rdkafka::ClientConfig;

use super::settings::wrong;
use crate::jaas::LoginModule;

const HANDLER: &str = "sasl.login.callback.handler.class";
const RETRIEVER: &str = "sasl.oauthbearer.jwt.retriever.class";
const URL: &str = "sasl.oauthbearer.token.endpoint.url";
/// JAAS options that begin so travel beside the token (KIP-342).
const EXTENSION: &str = "extension_";

/// A file with an assertion that somebody else renews; as in Java the keys below have no effect beside it.
const FILE: &str = "sasl.oauthbearer.assertion.file";
const KEY_FILE: &str = "sasl.oauthbearer.assertion.private.key.file";
const TEMPLATE_FILE: &str = "sasl.oauthbearer.assertion.template.file";

/// Keys of assertions that are signed here. librdkafka has them by the same names.
const SIGNED: &[&str] = &[
    "sasl.oauthbearer.assertion.algorithm",
    "sasl.oauthbearer.assertion.claim.aud",
    "sasl.oauthbearer.assertion.claim.exp.seconds",
    "sasl.oauthbearer.assertion.claim.iss",
    "sasl.oauthbearer.assertion.claim.jti.include",
    "sasl.oauthbearer.assertion.claim.nbf.seconds",
    "sasl.oauthbearer.assertion.claim.sub",
    KEY_FILE,
    "sasl.oauthbearer.assertion.private.key.passphrase",
];

/// Translates Java's keys and the options of its login module.
///
/// # Errors
/// `Config` for what is missing, and for handlers that only a JVM can load.
pub(super) fn apply(who: &str, props: &Props, login: &LoginModule, client: &mut ClientConfig) -> Result<()> {
    let given = |key: &str| props.get(key).map(|v| v.trim()).filter(|v| !v.is_empty());
    if let Some(class) = given(HANDLER).filter(|class| simple(class) != "OAuthBearerLoginCallbackHandler") {
        return Err(wrong(
            who,
            HANDLER,
            class,
            "Kafka's own OAuthBearerLoginCallbackHandler; other Java classes cannot be loaded",
        ));
    }
    let Some(url) = given(URL) else { return Err(no_url(who, login)) };
    if !url.starts_with("http://") && !url.starts_with("https://") {
        return Err(wrong(who, URL, url, "an http or https URL; tokens in files are not read"));
    }
    client.set("sasl.oauthbearer.method", "oidc").set(URL, url);
    // Of the endpoint, whose certificate need not be of the brokers' authority: Java's option, else the system's authorities.
    client.set("https.ca.location", login.option("ssl.truststore.location").unwrap_or("probe"));
    if let Some(scope) = given("sasl.oauthbearer.scope").or_else(|| login.option("scope")) {
        client.set("sasl.oauthbearer.scope", scope);
    }
    let extension = |(key, value): (&String, &String)| Some(format!("{}={value}", key.strip_prefix(EXTENSION)?));
    let extensions: Vec<String> = login.options.iter().filter_map(extension).collect();
    if !extensions.is_empty() {
        client.set("sasl.oauthbearer.extensions", extensions.join(","));
    }
    match given(RETRIEVER).map_or("DefaultJwtRetriever", simple) {
        "DefaultJwtRetriever" | "ClientCredentialsJwtRetriever" => credentials(who, props, login, client),
        "JwtBearerJwtRetriever" => {
            client.set("sasl.oauthbearer.grant.type", "urn:ietf:params:oauth:grant-type:jwt-bearer");
            assertion(who, props, client)
        }
        _ => Err(wrong(
            who,
            RETRIEVER,
            given(RETRIEVER).unwrap_or_default(),
            "ClientCredentialsJwtRetriever or JwtBearerJwtRetriever of Kafka; other Java classes cannot be loaded",
        )),
    }
}

/// The client's id and secret; Java's newer keys go before the options of its login module.
fn credentials(who: &str, props: &Props, login: &LoginModule, client: &mut ClientConfig) -> Result<()> {
    let pairs = [
        ("clientId", "sasl.oauthbearer.client.credentials.client.id", "sasl.oauthbearer.client.id"),
        ("clientSecret", "sasl.oauthbearer.client.credentials.client.secret", "sasl.oauthbearer.client.secret"),
    ];
    for (option, java, ours) in pairs {
        let value = props.get(java).map(|v| v.trim()).filter(|v| !v.is_empty()).or_else(|| login.option(option));
        let missing = || {
            Error::config(format!(
                "`{java}` of {who} is missing, and `sasl.jaas.config` has no {option}: OAUTHBEARER needs one of them"
            ))
        };
        client.set(ours, value.ok_or_else(missing)?);
    }
    Ok(())
}

/// What the client shows instead of a secret.
fn assertion(who: &str, props: &Props, client: &mut ClientConfig) -> Result<()> {
    let given = |key: &str| props.get(key).map(|v| v.trim()).filter(|v| !v.is_empty());
    // librdkafka would say nothing of the name.
    for (key, path) in [FILE, KEY_FILE, TEMPLATE_FILE].into_iter().filter_map(|key| Some((key, given(key)?))) {
        std::fs::File::open(path).map_err(|e| Error::config(format!("cannot read `{key}` of {who}, {path}: {e}")))?;
    }
    if let Some(path) = given(FILE) {
        client.set(FILE, path);
        return Ok(());
    }
    if given(KEY_FILE).is_none() {
        return Err(Error::config(format!(
            "`{KEY_FILE}` of {who} is missing: JwtBearerJwtRetriever needs the key that signs assertions, or an assertion in `{FILE}`"
        )));
    }
    for key in SIGNED {
        if let Some(value) = given(key) {
            client.set(*key, value);
        }
    }
    if let Some(path) = given(TEMPLATE_FILE) {
        client.set("sasl.oauthbearer.assertion.jwt.template.file", path);
    }
    Ok(())
}

fn no_url(who: &str, login: &LoginModule) -> Error {
    let unsecured = login.options.keys().any(|key| key.starts_with("unsecuredLogin"));
    let why =
        if unsecured { " Tokens that nobody has signed (unsecuredLogin...) are for trials only, and not made here." } else { "" };
    Error::config(format!("`{URL}` of {who} is missing: OAUTHBEARER needs the URL that gives out tokens.{why}"))
}

fn simple(class: &str) -> &str {
    class.rsplit('.').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jaas;

    const BASE: &[(&str, &str)] = &[(URL, "https://idp/token")];

    fn translated(given: &[(&str, &str)], jaas: &str) -> Result<ClientConfig> {
        let props = given.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let mut client = ClientConfig::new();
        apply("x", &props, &jaas::module(&format!("a.B required {jaas};")).unwrap(), &mut client)?;
        // librdkafka knows these keys and values.
        client.create_native_config().map_err(|e| Error::config(e.to_string()))?;
        Ok(client)
    }

    fn check(given: &[(&str, &str)], jaas: &str, expected: &[(&str, &str)]) {
        let client = translated(&[BASE, given].concat(), jaas).unwrap();
        for (key, value) in expected {
            assert_eq!(client.get(key), Some(*value), "{key}");
        }
    }

    #[test]
    fn credentials_come_from_the_login_module_or_from_newer_keys() {
        let of_module = "clientId=me clientSecret=\"s\" scope=\"a b\" extension_org=\"x\" extension_team=\"y\"";
        check(
            &[(HANDLER, "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginCallbackHandler")],
            of_module,
            &[
                ("sasl.oauthbearer.method", "oidc"),
                ("sasl.oauthbearer.client.id", "me"),
                ("sasl.oauthbearer.client.secret", "s"),
                ("sasl.oauthbearer.scope", "a b"),
                ("sasl.oauthbearer.extensions", "org=x,team=y"),
                ("https.ca.location", "probe"),
            ],
        );
        let newer = [
            ("sasl.oauthbearer.client.credentials.client.id", "you"),
            ("sasl.oauthbearer.client.credentials.client.secret", "t"),
        ];
        check(&newer, of_module, &[("sasl.oauthbearer.client.id", "you"), ("sasl.oauthbearer.client.secret", "t")]);
    }

    const BY_ASSERTION: (&str, &str) = (RETRIEVER, "org.apache.kafka.common.security.oauthbearer.JwtBearerJwtRetriever");

    #[test]
    fn assertions_are_signed_by_librdkafka() {
        // Some file that is there.
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
        let grant = ("sasl.oauthbearer.grant.type", "urn:ietf:params:oauth:grant-type:jwt-bearer");
        let signed = [
            BY_ASSERTION,
            (KEY_FILE, path),
            (TEMPLATE_FILE, path),
            ("sasl.oauthbearer.assertion.claim.sub", "me"),
            ("sasl.oauthbearer.assertion.algorithm", "ES256"),
        ];
        check(
            &signed,
            "",
            &[
                grant,
                (KEY_FILE, path),
                ("sasl.oauthbearer.assertion.jwt.template.file", path),
                ("sasl.oauthbearer.assertion.claim.sub", "me"),
                ("sasl.oauthbearer.assertion.algorithm", "ES256"),
            ],
        );
        let both = [&signed[..], &[(FILE, path)]].concat();
        check(&both, "", &[grant, (FILE, path)]);
        assert_eq!(translated(&[BASE, &both].concat(), "").unwrap().get(KEY_FILE), None);
    }

    #[test]
    fn what_is_missing_is_named() {
        let error = |given: &[(&str, &str)], jaas: &str| translated(given, jaas).map(drop).unwrap_err().to_string();
        assert!(error(&[], "clientId=a clientSecret=b").starts_with("`sasl.oauthbearer.token.endpoint.url` of x is missing"));
        assert!(error(&[], "unsecuredLoginStringClaim_sub=a").contains("for trials only"));
        assert!(error(BASE, "clientId=a").contains("`sasl.oauthbearer.client.credentials.client.secret` of x is missing"));
        assert!(error(&[(URL, "file:///token")], "clientId=a").contains("an http or https URL"));
        assert!(
            error(&[BASE, &[BY_ASSERTION]].concat(), "")
                .contains("`sasl.oauthbearer.assertion.private.key.file` of x is missing")
        );
        let nowhere = [BASE, &[BY_ASSERTION, (KEY_FILE, "/no/such.pem")]].concat();
        assert!(error(&nowhere, "").starts_with("cannot read `sasl.oauthbearer.assertion.private.key.file` of x, /no/such.pem"));
        assert!(error(&[BASE, &[(HANDLER, "a.Mine")]].concat(), "").contains("OAuthBearerLoginCallbackHandler"));
        assert!(error(&[BASE, &[(RETRIEVER, "a.Mine")]].concat(), "").contains("JwtBearerJwtRetriever"));
    }
}
