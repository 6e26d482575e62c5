//! A stand-in for an identity provider: it gives out signed tokens for a client's id and secret, as RFC 6749 says, or for an assertion
//! that the client has signed, as RFC 7523 says, and publishes the key by which a real broker checks them.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rsa::RsaPrivateKey;
use rsa::pkcs1v15::{Signature, SigningKey, VerifyingKey};
use rsa::pkcs8::{EncodePrivateKey, LineEnding};
use rsa::sha2::Sha256;
use rsa::signature::{SignatureEncoding, Signer, Verifier};
use rsa::traits::PublicKeyParts;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// Serves until it is dropped.
#[derive(Debug)]
pub struct FakeTokenServer {
    url: String,
    shared: Arc<Shared>,
    serving: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    url: String,
    key: RsaPrivateKey,
    /// With which the client signs what it asserts.
    clients_key: RsaPrivateKey,
    /// The assertions that have a number, none of which is taken twice.
    numbers: Mutex<BTreeSet<String>>,
    lifetime: Duration,
    given: AtomicUsize,
    /// Of `given`, those for an assertion.
    given_for_assertions: AtomicUsize,
}

impl FakeTokenServer {
    pub const CLIENT: &str = "penstock";
    pub const SECRET: &str = "t0ken-s3cret";
    pub const SCOPE: &str = "kafka";
    pub const AUDIENCE: &str = "brokers";

    /// Gives out tokens of this lifetime.
    pub async fn start(lifetime: Duration) -> Result<Self> {
        const BITS: usize = 2048;
        let key = || tokio::task::spawn_blocking(|| RsaPrivateKey::new(&mut rsa::rand_core::OsRng, BITS));
        let (key, clients_key) = tokio::try_join!(key(), key())?;
        let socket = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", socket.local_addr()?);
        let shared = Arc::new(Shared {
            url: url.clone(),
            key: key.context("make a key")?,
            clients_key: clients_key.context("make the client's key")?,
            numbers: Mutex::default(),
            lifetime,
            given: AtomicUsize::default(),
            given_for_assertions: AtomicUsize::default(),
        });
        let router = Router::new().route("/token", post(token)).route("/keys", get(keys)).with_state(shared.clone());
        let serving = tokio::spawn(async move {
            axum::serve(socket, router).await.expect("a socket that is bound can be served");
        });
        Ok(Self { url, shared, serving })
    }

    /// `sasl.oauthbearer.token.endpoint.url`.
    pub fn token_url(&self) -> String {
        format!("{}/token", self.url)
    }

    /// `sasl.oauthbearer.jwks.endpoint.url`, of a broker.
    pub fn keys_url(&self) -> String {
        format!("{}/keys", self.url)
    }

    /// How many tokens it has given out.
    pub fn given(&self) -> usize {
        self.shared.given.load(Ordering::Relaxed)
    }

    /// How many of them for an assertion.
    pub fn given_for_assertions(&self) -> usize {
        self.shared.given_for_assertions.load(Ordering::Relaxed)
    }

    /// The key that the client is known by, as a PEM file holds it.
    pub fn clients_key(&self) -> Result<String> {
        let pem = self.shared.clients_key.to_pkcs8_pem(LineEnding::LF).context("write the client's key")?;
        Ok(pem.as_str().to_owned())
    }
}

impl Drop for FakeTokenServer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// Who asks, or why not: a status and an error of RFC 6749, and for people the rule that is broken.
type Refusal = (StatusCode, &'static str, &'static str);

async fn token(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: String) -> Response {
    let form: Vec<(String, String)> = url::form_urlencoded::parse(body.as_bytes()).into_owned().collect();
    if let Err((status, error, why)) = shared.check(&headers, &form) {
        return (status, Json(json!({"error": error, "error_description": why}))).into_response();
    }
    shared.given.fetch_add(1, Ordering::Relaxed);
    let lifetime = shared.lifetime.as_secs();
    Json(json!({"access_token": shared.signed(), "token_type": "Bearer", "expires_in": lifetime})).into_response()
}

/// A parameter, which must not be given twice.
fn parameter<'f>(form: &'f [(String, String)], name: &str) -> Result<Option<&'f str>, Refusal> {
    let mut values = form.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_str());
    match (values.next(), values.next()) {
        (_, Some(_)) => Err((StatusCode::BAD_REQUEST, "invalid_request", "a parameter is given twice")),
        (value, None) => Ok(value),
    }
}

impl Shared {
    fn check(&self, headers: &HeaderMap, form: &[(String, String)]) -> Result<(), Refusal> {
        let header = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let bad = |error, why| Err((StatusCode::BAD_REQUEST, error, why));
        if header(header::CONTENT_TYPE).split(';').next() != Some("application/x-www-form-urlencoded") {
            return bad("invalid_request", "the parameters are no form");
        }
        match parameter(form, "grant_type")? {
            Some("client_credentials") => {
                let expected = STANDARD.encode(format!("{}:{}", FakeTokenServer::CLIENT, FakeTokenServer::SECRET));
                if header(header::AUTHORIZATION).strip_prefix("Basic ") != Some(&expected) {
                    return Err((StatusCode::UNAUTHORIZED, "invalid_client", "the client's id or secret is wrong"));
                }
            }
            Some("urn:ietf:params:oauth:grant-type:jwt-bearer") => {
                let Some(assertion) = parameter(form, "assertion")? else {
                    return bad("invalid_request", "there is no assertion");
                };
                if let Err(why) = self.check_assertion(assertion) {
                    return bad("invalid_grant", why);
                }
                self.given_for_assertions.fetch_add(1, Ordering::Relaxed);
            }
            _ => return bad("unsupported_grant_type", "neither client_credentials nor jwt-bearer"),
        }
        match parameter(form, "scope")? {
            Some(FakeTokenServer::SCOPE) => Ok(()),
            _ => bad("invalid_scope", "the scope is another"),
        }
    }

    /// RFC 7523, section 3, and what it leaves to the server: no number is taken twice, and none is good for longer than an hour.
    fn check_assertion(&self, assertion: &str) -> Result<(), &'static str> {
        const LONGEST: f64 = 3600.0;
        let parts: Vec<&str> = assertion.split('.').collect();
        let [header, claims, signature] = parts[..] else { return Err("the assertion is no JWT") };
        let decoded = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| "a part of the assertion is not base64url");
        let object =
            |part: &str| serde_json::from_slice::<Value>(&decoded(part)?).map_err(|_| "a part of the assertion is not JSON");
        let (header, claims_said) = (object(header)?, object(claims)?);
        if header["alg"] != "RS256" {
            return Err("the client is known by an RS256 key");
        }
        let signature = decoded(signature)?;
        let signature = Signature::try_from(signature.as_slice()).map_err(|_| "the signature has another length")?;
        let signed = assertion.rsplit_once('.').map_or("", |(signed, _)| signed);
        let known = VerifyingKey::<Sha256>::new(self.clients_key.to_public_key());
        known.verify(signed.as_bytes(), &signature).map_err(|_| "the signature is not that of the client's key")?;
        let claim = |name: &str| &claims_said[name];
        if [claim("iss"), claim("sub")].iter().any(|who| **who != FakeTokenServer::CLIENT) {
            return Err("iss and sub must name the client");
        }
        let here = format!("{}/token", self.url);
        let is_meant = match claim("aud") {
            Value::Array(audiences) => audiences.iter().any(|audience| *audience == here),
            audience => *audience == here,
        };
        if !is_meant {
            return Err("aud must name the token endpoint");
        }
        let now = seconds_now() as f64;
        match claim("exp").as_f64() {
            Some(end) if end > now && end <= now + LONGEST => {}
            _ => return Err("exp must be there, ahead, and within an hour"),
        }
        let is_ahead = |name: &str| !claim(name).is_null() && claim(name).as_f64().is_none_or(|time| time > now);
        if is_ahead("nbf") || is_ahead("iat") {
            return Err("nbf and iat must not be ahead");
        }
        match claim("jti") {
            Value::Null => Ok(()),
            Value::String(number) if self.numbers.lock().expect("nobody panics here").insert(number.clone()) => Ok(()),
            _ => Err("jti must be text, and not have been used"),
        }
    }
}

fn seconds_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

async fn keys(State(shared): State<Arc<Shared>>) -> Json<Value> {
    let number = |number: &rsa::BigUint| URL_SAFE_NO_PAD.encode(number.to_bytes_be());
    let key = shared.key.to_public_key();
    let key = json!({"kty": "RSA", "use": "sig", "alg": "RS256", "kid": KEY_ID, "n": number(key.n()), "e": number(key.e())});
    Json(json!({ "keys": [key] }))
}

const KEY_ID: &str = "test";

impl Shared {
    fn signed(&self) -> String {
        let now = seconds_now();
        let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let header = part(json!({"alg": "RS256", "typ": "JWT", "kid": KEY_ID}));
        let claims = part(json!({
            "iss": "fake", "sub": FakeTokenServer::CLIENT, "aud": FakeTokenServer::AUDIENCE, "scope": FakeTokenServer::SCOPE,
            "iat": now, "exp": now + self.lifetime.as_secs(),
        }));
        let signed = format!("{header}.{claims}");
        let signature = SigningKey::<Sha256>::new(self.key.clone()).sign(signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.to_bytes()))
    }
}
