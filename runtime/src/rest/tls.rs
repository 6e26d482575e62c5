//! Listeners that speak TLS, and shake hands beside accepting.

use std::io;
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::serve::Listener;
use penstock_api::{Error, Result};
use rustls::crypto::{CryptoProvider, ring};
use rustls::server::WebPkiClientVerifier;
use rustls::{ServerConfig, SupportedProtocolVersion, version};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, mpsc};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::keys::{self, Keys};
use crate::config::{ClientAuth, TlsConfig};

/// A client that takes longer to shake hands is dropped.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Handshakes at a time; further clients wait to be accepted.
const HANDSHAKES_MAX: usize = 100;

/// Reads keys and certificates.
///
/// # Errors
/// `Config`: which file or setting cannot be used, and what to do.
pub fn server_config(tls: &TlsConfig) -> Result<Arc<ServerConfig>> {
    let setting = |key: &str| format!("{}{key}", tls.prefix);
    let keys = keys::of(tls)?.unwrap_or(Keys { key: None, certificates: Vec::new() });
    let wrong = |what: &str, error: rustls::Error| {
        Error::config(format!("{what} of {} cannot be used", setting("ssl.keystore"))).with_source(error)
    };
    let missing = |what: &str| Error::config(format!("{} holds no {what}", setting("ssl.keystore")));
    let key = keys.key.ok_or_else(|| missing("private key"))?;
    if keys.certificates.is_empty() {
        return Err(missing("certificates of the key"));
    }
    let provider = Arc::new(provider(tls)?);
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&versions(tls)?)
        .map_err(|e| wrong("the protocols and cipher suites", e))?;
    let builder = match (&tls.truststore, tls.client_auth) {
        (Some(store), ClientAuth::Requested | ClientAuth::Required) => {
            let verifier = WebPkiClientVerifier::builder_with_provider(
                Arc::new(keys::trusted(store, &setting("ssl.truststore"))?),
                provider,
            );
            let verifier = if tls.client_auth == ClientAuth::Requested { verifier.allow_unauthenticated() } else { verifier };
            let verifier = verifier.build();
            builder.with_client_cert_verifier(
                verifier.map_err(|e| Error::config(format!("{} cannot be used", setting("ssl.truststore"))).with_source(e))?,
            )
        }
        _ => builder.with_no_client_auth(),
    };
    let mut config = builder.with_single_cert(keys.certificates, key).map_err(|e| wrong("the key and its certificates", e))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

pub(super) fn versions(tls: &TlsConfig) -> Result<Vec<&'static SupportedProtocolVersion>> {
    if tls.protocols.is_empty() {
        return Ok(vec![&version::TLS13, &version::TLS12]);
    }
    let known = |name: &String| match name.as_str() {
        "TLSv1.3" => Some(&version::TLS13),
        "TLSv1.2" => Some(&version::TLS12),
        _ => None,
    };
    let versions: Vec<_> = tls.protocols.iter().filter_map(known).collect();
    if versions.is_empty() {
        let shown = tls.protocols.join(",");
        return Err(Error::config(format!(
            "Invalid value {shown} for configuration {}ssl.enabled.protocols: give TLSv1.2, TLSv1.3 or both",
            tls.prefix
        )));
    }
    Ok(versions)
}

pub(super) fn provider(tls: &TlsConfig) -> Result<CryptoProvider> {
    let mut provider = ring::default_provider();
    if tls.cipher_suites.is_empty() {
        return Ok(provider);
    }
    // Ours are called TLS13_..., IANA's and Java's TLS_...
    let name = |suite: &rustls::SupportedCipherSuite| format!("{:?}", suite.suite()).replacen("TLS13_", "TLS_", 1);
    let all: Vec<String> = provider.cipher_suites.iter().map(name).collect();
    provider.cipher_suites.retain(|suite| tls.cipher_suites.contains(&name(suite)));
    if provider.cipher_suites.is_empty() {
        return Err(Error::config(format!(
            "Invalid value {} for configuration {}ssl.cipher.suites: none of them is there; choose from {}",
            tls.cipher_suites.join(","),
            tls.prefix,
            all.join(", ")
        )));
    }
    Ok(provider)
}

/// Hands out connections whose handshake is done. One client that is slow at it holds up no other.
pub struct TlsListener<L> {
    ready: mpsc::Receiver<Accepted>,
    /// The accepting task has the listener itself.
    local: io::Result<SocketAddr>,
    of: PhantomData<L>,
}

type Accepted = (TlsStream<TcpStream>, SocketAddr);

impl<L: Listener<Io = TcpStream, Addr = SocketAddr>> TlsListener<L> {
    /// Accepts from now on, until dropped.
    pub fn new(listener: L, config: Arc<ServerConfig>) -> Self {
        let local = listener.local_addr();
        let (sender, ready) = mpsc::channel(1);
        tokio::spawn(accept_all(listener, config.into(), sender));
        Self { ready, local, of: PhantomData }
    }
}

async fn accept_all(
    mut listener: impl Listener<Io = TcpStream, Addr = SocketAddr>,
    acceptor: TlsAcceptor,
    ready: mpsc::Sender<Accepted>,
) {
    let handshakes = Arc::new(Semaphore::new(HANDSHAKES_MAX));
    loop {
        let place = handshakes.clone().acquire_owned().await.expect("the semaphore is never closed");
        let (stream, from) = tokio::select! {
            () = ready.closed() => return,
            accepted = listener.accept() => accepted,
        };
        let (acceptor, ready) = (acceptor.clone(), ready.clone());
        tokio::spawn(async move {
            match tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await {
                Ok(Ok(stream)) => drop(ready.send((stream, from)).await),
                Ok(Err(error)) => tracing::debug!(%from, %error, "a client could not be served by TLS"),
                Err(_) => tracing::debug!(%from, "a client took too long to begin with TLS"),
            }
            drop(place);
        });
    }
}

impl<L: Listener<Io = TcpStream, Addr = SocketAddr>> Listener for TlsListener<L> {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        match self.ready.recv().await {
            Some(accepted) => accepted,
            // The accepting task ends only after this listener.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        match &self.local {
            Ok(address) => Ok(*address),
            Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
        }
    }
}
