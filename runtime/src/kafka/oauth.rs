//! OAUTHBEARER: tokens that an endpoint gives out for a client's id and secret, or for an assertion that the client has signed.
//! librdkafka asks for them, and again before they end.

use penstock_api::{Error, Props, Result};
use rdkafka::ClientConfig;

use super::jaas::Jaas;
use super::settings::wrong;

const HANDLER: &str = "sasl.login.callback.handler.class";
const RETRIEVER: &str = "sasl.oauthbearer.jwt.retriever.class";
const URL: &str = "sasl.oauthbearer.token.endpoint.url";
/// JAAS options that begin so travel beside the token (KIP-342).
const EXTENSION: &str = "extension_";

/// Keys of assertions, Java's and librdkafka's.
const ASSERTION: &[(&str, &str)] = &[
    ("sasl.oauthbearer.assertion.algorithm", "sasl.oauthbearer.assertion.algorithm"),
    ("sasl.oauthbearer.assertion.claim.aud", "sasl.oauthbearer.assertion.claim.aud"),
    ("sasl.oauthbearer.assertion.claim.exp.seconds", "sasl.oauthbearer.assertion.claim.exp.seconds"),
    ("sasl.oauthbearer.assertion.claim.iss", "sasl.oauthbearer.assertion.claim.iss"),
    ("sasl.oauthbearer.assertion.claim.jti.include", "sasl.oauthbearer.assertion.claim.jti.include"),
    ("sasl.oauthbearer.assertion.claim.nbf.seconds", "sasl.oauthbearer.assertion.claim.nbf.seconds"),
    ("sasl.oauthbearer.assertion.claim.sub", "sasl.oauthbearer.assertion.claim.sub"),
    ("sasl.oauthbearer.assertion.file", "sasl.oauthbearer.assertion.file"),
    ("sasl.oauthbearer.assertion.private.key.file", "sasl.oauthbearer.assertion.private.key.file"),
    ("sasl.oauthbearer.assertion.private.key.passphrase", "sasl.oauthbearer.assertion.private.key.passphrase"),
    ("sasl.oauthbearer.assertion.template.file", "sasl.oauthbearer.assertion.jwt.template.file"),
];

/// Translates Java's keys and the options of its login module.
///
/// # Errors
/// `Config` for what is missing, and for handlers that only a JVM can load.
pub(super) fn apply(who: &str, props: &Props, login: &Jaas, client: &mut ClientConfig) -> Result<()> {
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
    let extension = |(key, value): &(String, String)| Some(format!("{}={value}", key.strip_prefix(EXTENSION)?));
    let extensions: Vec<String> = login.options.iter().filter_map(extension).collect();
    if !extensions.is_empty() {
        client.set("sasl.oauthbearer.extensions", extensions.join(","));
    }
    match given(RETRIEVER).map_or("DefaultJwtRetriever", simple) {
        "DefaultJwtRetriever" | "ClientCredentialsJwtRetriever" => credentials(who, props, login, client),
        "JwtBearerJwtRetriever" => {
            client.set("sasl.oauthbearer.grant.type", "urn:ietf:params:oauth:grant-type:jwt-bearer");
            for (java, ours) in ASSERTION {
                if let Some(value) = given(java) {
                    client.set(*ours, value);
                }
            }
            Ok(())
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
fn credentials(who: &str, props: &Props, login: &Jaas, client: &mut ClientConfig) -> Result<()> {
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

fn no_url(who: &str, login: &Jaas) -> Error {
    let unsecured = login.options.iter().any(|(key, _)| key.starts_with("unsecuredLogin"));
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

    const BASE: &[(&str, &str)] = &[(URL, "https://idp/token")];

    fn translated(given: &[(&str, &str)], jaas: &str) -> Result<ClientConfig> {
        let props = given.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let mut client = ClientConfig::new();
        apply("x", &props, &Jaas::parse("x", &format!("a.B required {jaas};"))?, &mut client)?;
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

    #[test]
    fn assertions_are_signed_by_librdkafka() {
        let given = [
            (RETRIEVER, "org.apache.kafka.common.security.oauthbearer.JwtBearerJwtRetriever"),
            ("sasl.oauthbearer.assertion.file", "/assertion.jwt"),
        ];
        check(
            &given,
            "",
            &[
                ("sasl.oauthbearer.grant.type", "urn:ietf:params:oauth:grant-type:jwt-bearer"),
                ("sasl.oauthbearer.assertion.file", "/assertion.jwt"),
            ],
        );
    }

    #[test]
    fn what_is_missing_is_named() {
        let error = |given: &[(&str, &str)], jaas: &str| translated(given, jaas).map(drop).unwrap_err().to_string();
        assert!(error(&[], "clientId=a clientSecret=b").starts_with("`sasl.oauthbearer.token.endpoint.url` of x is missing"));
        assert!(error(&[], "unsecuredLoginStringClaim_sub=a").contains("for trials only"));
        assert!(error(BASE, "clientId=a").contains("`sasl.oauthbearer.client.credentials.client.secret` of x is missing"));
        assert!(error(&[(URL, "file:///token")], "clientId=a").contains("an http or https URL"));
        assert!(error(&[BASE, &[(HANDLER, "a.Mine")]].concat(), "").contains("OAuthBearerLoginCallbackHandler"));
        assert!(error(&[BASE, &[(RETRIEVER, "a.Mine")]].concat(), "").contains("JwtBearerJwtRetriever"));
    }
}
