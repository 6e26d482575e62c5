//! Connections: from a host that was asked for to a stream, over addresses that the grants permit.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use ::http::Uri;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tower::Service;

use super::Network;
use super::lookup::Found;
use crate::contract::cut;
use crate::grants::{Asked, Grants};
use crate::watch::Watch;

/// Opens the connections of one instance.
#[derive(Clone)]
pub(crate) struct Connector {
    pub network: Arc<Network>,
    pub grants: Arc<Grants>,
    pub watch: Arc<Watch>,
}

/// Why there is no connection.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The grants forbid it; the watch knows.
    Refused,
    /// The name has no address, or nobody can say.
    Name(io::Error),
    Connect(io::Error),
    Tls(io::Error),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Refused => f.write_str("not granted"),
            Failure::Name(error) => write!(f, "resolve the name: {error}"),
            Failure::Connect(error) => write!(f, "connect: {error}"),
            Failure::Tls(error) => write!(f, "agree on TLS: {error}"),
        }
    }
}

impl std::error::Error for Failure {}

impl Connector {
    /// Whether the guest may ask for this host; if not, that ends its call.
    pub(crate) fn may_ask(&self, asked: &Asked, port: u16) -> bool {
        let may = self.grants.hosts.allow(asked, port);
        if !may {
            let granted = match self.grants.hosts.is_empty() {
                true => "it was granted no host: its configuration has no plugin.grants.hosts".to_owned(),
                false => format!("plugin.grants.hosts is {}", self.grants.hosts),
            };
            self.watch.broke(format!("asked for {asked}:{port}, which it was not granted ({granted})"));
        }
        may
    }

    /// Whether the guest may ask for the addresses of a name; if not, that ends its call.
    pub(crate) fn may_look_up(&self, name: &str) -> bool {
        let may = self.grants.hosts.allow_name(name);
        if !may {
            self.watch.broke(format!("looked up {}, which plugin.grants.hosts does not grant", cut(name.to_owned(), 256)));
        }
        may
    }

    /// Whether a socket of the guest may connect: to an address that is granted as such, or that a granted name was found to have.
    pub(crate) fn may_connect(&self, address: SocketAddr, found: &Found) -> bool {
        let (ip, port) = (address.ip(), address.port());
        for name in found.names(ip) {
            let asked = Asked::Name(name);
            if self.grants.hosts.allow(&asked, port) {
                match self.grants.hosts.permit(&asked, ip, port) {
                    Ok(()) => return true,
                    Err(kind) => self.refuse(&asked, &address, kind),
                }
            }
        }
        self.may_ask(&Asked::Address(ip), port)
    }

    /// Ends the call: a name that was granted has an address that was not.
    fn refuse(&self, asked: &Asked, address: &SocketAddr, kind: &str) {
        let (ip, port) = (address.ip(), address.port());
        self.watch.broke(format!(
            "asked for {asked}:{port}, which is at {ip}: such an address ({kind}) must itself be granted by plugin.grants.hosts"
        ));
    }

    /// Connects to an address that was found and checked here, so that a name cannot become another one in between.
    pub(crate) async fn connect(&self, asked: &Asked, port: u16) -> Result<TcpStream, Failure> {
        let addresses = self.permitted(asked, port).await?;
        let stream = TcpStream::connect(addresses.as_slice()).await.map_err(Failure::Connect)?;
        // Small writes must not wait for acknowledgements; without it things are only slower.
        let _slower = stream.set_nodelay(true);
        Ok(stream)
    }

    async fn permitted(&self, asked: &Asked, port: u16) -> Result<Vec<SocketAddr>, Failure> {
        let found = match asked {
            Asked::Address(address) => vec![SocketAddr::new(*address, port)],
            Asked::Name(name) => self.network.config.resolver.resolve(name, port).await.map_err(Failure::Name)?,
        };
        let refused = |address: &SocketAddr| self.grants.hosts.permit(asked, address.ip(), port).err();
        let permitted: Vec<SocketAddr> = found.iter().filter(|address| refused(address).is_none()).copied().collect();
        if let Some((address, kind)) = found.iter().find_map(|address| Some((address, refused(address)?)))
            && permitted.is_empty()
        {
            self.refuse(asked, address, kind);
            return Err(Failure::Refused);
        }
        match permitted.is_empty() {
            true => Err(Failure::Name(io::Error::new(io::ErrorKind::NotFound, "it has no address"))),
            false => Ok(permitted),
        }
    }

    async fn open(self, uri: Uri) -> Result<Line, Failure> {
        let (asked, port, is_https) = target(&uri).ok_or(Failure::Refused)?;
        let stream = self.connect(&asked, port).await?;
        if !is_https {
            return Ok(Line(Box::new(stream)));
        }
        let name = match &asked {
            Asked::Address(address) => ServerName::from(*address),
            Asked::Name(name) => ServerName::try_from(name.clone()).map_err(|e| Failure::Tls(io::Error::other(e)))?,
        };
        let connector = tokio_rustls::TlsConnector::from(self.network.tls());
        Ok(Line(Box::new(connector.connect(name, stream).await.map_err(Failure::Tls)?)))
    }
}

/// Host, port and whether TLS is spoken.
pub(crate) fn target(uri: &Uri) -> Option<(Asked, u16, bool)> {
    let is_https = uri.scheme_str() != Some("http");
    let port = uri.port_u16().unwrap_or(if is_https { 443 } else { 80 });
    let host = uri.host().filter(|host| !host.is_empty())?;
    Some((Asked::new(host), port, is_https))
}

impl Service<Uri> for Connector {
    type Response = TokioIo<Line>;
    type Error = Failure;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Failure>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connector = self.clone();
        Box::pin(async move { connector.open(uri).await.map(TokioIo::new) })
    }
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// A connection, with or without TLS.
pub(crate) struct Line(Box<dyn Stream>);

impl Connection for Line {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl AsyncRead for Line {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Line {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
