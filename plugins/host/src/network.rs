//! The way out for plugins: names are resolved, addresses checked against the grants, and the very address that was checked is connected to.

mod connector;
mod http;
mod lookup;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use penstock_api::async_trait;
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};

pub(crate) use http::Outgoing;
pub(crate) use lookup::{Lookup, add_to_linker};

/// Limits of what plugins do over the network, for each instance.
#[derive(Clone, Debug)]
pub struct NetworkConfig {
    /// How long one call may wait for the network in all, beside the time in which it works. Requests of a guest end somewhat earlier with an
    /// error. `penstock.plugin.network.timeout.ms` in the worker file, and in messages.
    pub wait_max: Duration,
    /// Requests that may be open at once, each with a connection: from sending until the response has been read or dropped.
    /// `penstock.plugin.network.connections.max` in the worker file, and in messages.
    pub connections_max: usize,
    /// Bytes of one response's body. `penstock.plugin.http.response.max.bytes` in the worker file, and in messages.
    pub response_bytes_max: u64,
    /// Certificates, in DER, whose signatures are trusted beside those of the public authorities.
    pub trusted: Vec<Vec<u8>>,
    /// Finds addresses of names.
    pub resolver: Arc<dyn Resolve>,
}

impl Default for NetworkConfig {
    fn default() -> Self {
        Self {
            wait_max: Duration::from_secs(30),
            connections_max: 16,
            response_bytes_max: 16 << 20,
            trusted: Vec::new(),
            resolver: Arc::new(System),
        }
    }
}

/// Finds addresses of names.
#[async_trait]
pub trait Resolve: fmt::Debug + Send + Sync {
    /// All addresses of a name, the best first. Asked once for each connection.
    async fn resolve(&self, name: &str, port: u16) -> io::Result<Vec<SocketAddr>>;
}

/// As the system does it.
#[derive(Debug)]
struct System;

#[async_trait]
impl Resolve for System {
    async fn resolve(&self, name: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        Ok(tokio::net::lookup_host((name, port)).await?.collect())
    }
}

/// What all instances share.
pub(crate) struct Network {
    pub config: NetworkConfig,
    tls: OnceLock<Arc<ClientConfig>>,
}

impl Network {
    pub(crate) fn new(config: NetworkConfig) -> Self {
        Self { config, tls: OnceLock::new() }
    }

    fn tls(&self) -> Arc<ClientConfig> {
        self.tls.get_or_init(|| Arc::new(client_config(&self.config.trusted))).clone()
    }
}

/// Trusts the public authorities, and those of the worker file.
fn client_config(trusted: &[Vec<u8>]) -> ClientConfig {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.into() };
    let (_added, ignored) = roots.add_parsable_certificates(trusted.iter().map(|der| CertificateDer::from(der.clone())));
    if ignored > 0 {
        tracing::warn!(
            ignored,
            "certificates that plugins should trust (penstock.plugin.ssl.truststore.location) cannot be used"
        );
    }
    ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider has the default versions")
        .with_root_certificates(roots)
        .with_no_client_auth()
}
