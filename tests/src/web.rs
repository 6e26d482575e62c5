//! A web server for plugins to talk to: real sockets, with or without TLS, that remembers what it was asked.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Result;
use axum::body::{Body, Bytes};
use axum::extract::connect_info::{ConnectInfo, Connected};
use axum::extract::{Query, Request, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use axum::serve::{IncomingStream, Listener};
use axum::{Json, Router};
use futures::stream;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::certificates::Identity;

/// Serves until it is dropped.
///
/// `/hello` greets; `/echo` answers what it got, as JSON; `/redirect?to=URL` sends elsewhere; `/endless` never ends; `/silent` never
/// answers; `/slow?ms=N` takes its time.
#[derive(Debug)]
pub struct WebServer {
    address: SocketAddr,
    seen: Arc<Seen>,
    serving: JoinHandle<()>,
}

/// One request.
#[derive(Clone, Debug)]
pub struct Asked {
    pub uri: Uri,
    pub headers: HeaderMap,
    /// The client's end of the connection.
    pub from: Option<SocketAddr>,
}

type Seen = Mutex<Vec<Asked>>;

impl WebServer {
    /// On a free port of 127.0.0.1.
    pub async fn start() -> Result<Self> {
        let socket = TcpListener::bind("127.0.0.1:0").await?;
        Self::serve(socket.local_addr()?, socket)
    }

    /// The same, speaking TLS.
    pub async fn start_tls(identity: &Identity) -> Result<Self> {
        let chain = CertificateDer::pem_slice_iter(identity.chain_pem()?.as_bytes()).collect::<Result<Vec<_>, _>>()?;
        let key = PrivateKeyDer::from_pem_slice(identity.key_pem()?.as_bytes())?;
        let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, key)?;
        let socket = TcpListener::bind("127.0.0.1:0").await?;
        Self::serve(socket.local_addr()?, TlsListener { socket, acceptor: TlsAcceptor::from(Arc::new(config)) })
    }

    fn serve<L>(address: SocketAddr, listener: L) -> Result<Self>
    where
        L: Listener<Addr = SocketAddr>,
        Client: for<'s> Connected<IncomingStream<'s, L>>,
    {
        let seen = Arc::<Seen>::default();
        let router = Router::new()
            .route("/hello", any(async || "hello"))
            .route("/echo", any(echo))
            .route("/redirect", any(redirect))
            .route("/endless", any(async || Body::from_stream(stream::repeat_with(|| Ok::<_, std::io::Error>(PIECE)))))
            .route("/silent", any(async || std::future::pending::<()>().await))
            .route("/slow", any(slow))
            .layer(axum::middleware::from_fn_with_state(seen.clone(), remember));
        let service = router.into_make_service_with_connect_info::<Client>();
        let serving = tokio::spawn(async move {
            axum::serve(listener, service).await.expect("a socket that is bound can be served");
        });
        Ok(Self { address, seen, serving })
    }

    /// Of 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// What came so far.
    #[must_use]
    pub fn seen(&self) -> Vec<Asked> {
        lock(&self.seen).clone()
    }
}

impl Drop for WebServer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

const PIECE: Bytes = Bytes::from_static(&[b'x'; 8192]);

/// The client's end.
#[derive(Clone)]
struct Client(SocketAddr);

impl Connected<IncomingStream<'_, TcpListener>> for Client {
    fn connect_info(stream: IncomingStream<'_, TcpListener>) -> Self {
        Client(*stream.remote_addr())
    }
}

impl Connected<IncomingStream<'_, TlsListener>> for Client {
    fn connect_info(stream: IncomingStream<'_, TlsListener>) -> Self {
        Client(*stream.remote_addr())
    }
}

struct TlsListener {
    socket: TcpListener,
    acceptor: TlsAcceptor,
}

impl Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, SocketAddr) {
        loop {
            // A client that trusts somebody else goes away; the next one may stay.
            if let Ok((stream, from)) = self.socket.accept().await
                && let Ok(stream) = self.acceptor.accept(stream).await
            {
                return (stream, from);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.socket.local_addr()
    }
}

fn lock(seen: &Seen) -> MutexGuard<'_, Vec<Asked>> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn remember(State(seen): State<Arc<Seen>>, request: Request, next: axum::middleware::Next) -> Response {
    let from = request.extensions().get::<ConnectInfo<Client>>().map(|info| info.0.0);
    lock(&seen).push(Asked { uri: request.uri().clone(), headers: request.headers().clone(), from });
    next.run(request).await
}

async fn echo(method: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> Json<Value> {
    let headers: serde_json::Map<String, Value> = headers
        .iter()
        .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned().into()))
        .collect();
    Json(json!({
        "method": method.as_str(), "path": uri.to_string(), "headers": headers, "body": String::from_utf8_lossy(&body),
    }))
}

type Params = Query<std::collections::HashMap<String, String>>;

async fn redirect(Query(params): Params) -> Response {
    let to = params.get("to").cloned().unwrap_or_default();
    (StatusCode::FOUND, [(header::LOCATION, to)]).into_response()
}

async fn slow(Query(params): Params) -> &'static str {
    let millis = params.get("ms").and_then(|text| text.parse().ok()).unwrap_or_default();
    tokio::time::sleep(Duration::from_millis(millis)).await;
    "at last"
}
