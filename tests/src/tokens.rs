//! A stand-in for an identity provider: it gives out signed tokens for a client's id and secret, as RFC 6749 says, and publishes the
//! key by which a real broker checks them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
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
use rsa::pkcs1v15::SigningKey;
use rsa::sha2::Sha256;
use rsa::signature::{SignatureEncoding, Signer};
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
    key: RsaPrivateKey,
    lifetime: Duration,
    given: AtomicUsize,
}

impl FakeTokenServer {
    pub const CLIENT: &str = "penstock";
    pub const SECRET: &str = "t0ken-s3cret";
    pub const SCOPE: &str = "kafka";
    pub const AUDIENCE: &str = "brokers";

    /// Gives out tokens of this lifetime.
    pub async fn start(lifetime: Duration) -> Result<Self> {
        const BITS: usize = 2048;
        let key = tokio::task::spawn_blocking(|| RsaPrivateKey::new(&mut rsa::rand_core::OsRng, BITS)).await?;
        let shared = Arc::new(Shared { key: key.context("make a key")?, lifetime, given: AtomicUsize::new(0) });
        let router = Router::new().route("/token", post(token)).route("/keys", get(keys)).with_state(shared.clone());
        let socket = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", socket.local_addr()?);
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
}

impl Drop for FakeTokenServer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn token(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: String) -> Response {
    let refused = |status: StatusCode, error: &str| (status, Json(json!({ "error": error }))).into_response();
    let expected = STANDARD.encode(format!("{}:{}", FakeTokenServer::CLIENT, FakeTokenServer::SECRET));
    let login = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if login.strip_prefix("Basic ") != Some(&expected) {
        return refused(StatusCode::UNAUTHORIZED, "invalid_client");
    }
    let form: Vec<_> = url::form_urlencoded::parse(body.as_bytes()).collect();
    let says = |key: &str, value: &str| form.iter().any(|(name, given)| name == key && given == value);
    if !says("grant_type", "client_credentials") {
        return refused(StatusCode::BAD_REQUEST, "unsupported_grant_type");
    }
    if !says("scope", FakeTokenServer::SCOPE) {
        return refused(StatusCode::BAD_REQUEST, "invalid_scope");
    }
    shared.given.fetch_add(1, Ordering::Relaxed);
    let lifetime = shared.lifetime.as_secs();
    Json(json!({"access_token": shared.signed(), "token_type": "Bearer", "expires_in": lifetime})).into_response()
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
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
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
