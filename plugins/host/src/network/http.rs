//! `wasi:http`: requests of a guest, sent within its grants and limits.

use std::error::Error as _;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use ::http::{HeaderMap, HeaderValue, Method, Request, Response, header};
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper_util::client::legacy::{self, Client};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time::{Instant, Sleep};
use uuid::Uuid;
use wasmtime_wasi::p2::bindings::sockets::network::ErrorCode;
use wasmtime_wasi::sockets::SocketAddrUse;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

use super::Network;
use super::connector::{Connector, Failure, target};
use super::lookup::{Found, Lookup};
use crate::contract::cut;
use crate::grants::{Asked, Grants};
use crate::watch::{Expected, Watch};

/// Connections that nobody uses stay open for so long, at most so many for each host.
const IDLE: Duration = Duration::from_secs(15);
const IDLE_MAX: usize = 2;

/// A guest is told that its time for the network is up so much before its call would end for it.
const HEAD_START: Duration = Duration::from_millis(100);

type Sending = Box<dyn Future<Output = Result<(Response<WasiBody>, Driving), Error>> + Send>;
/// Whether a socket may be used.
type Checking = Pin<Box<dyn Future<Output = bool> + Send + Sync>>;
type Driving = Box<dyn Future<Output = Result<(), Error>> + Send>;

/// The way out of one instance.
pub(crate) struct Outgoing {
    connector: Connector,
    /// Made with the first request, since most instances send none.
    client: Option<Client<Connector, WasiBody>>,
    open: Arc<AtomicUsize>,
    /// What the guest holds in place of secrets, with their names.
    placeholders: Vec<(String, String)>,
    found: Found,
}

impl Outgoing {
    pub(crate) fn new(network: Arc<Network>, grants: Arc<Grants>, watch: Arc<Watch>) -> Self {
        Self {
            connector: Connector { network, grants, watch },
            client: None,
            open: Arc::default(),
            placeholders: Vec::new(),
            found: Found::default(),
        }
    }

    fn client(&mut self) -> Client<Connector, WasiBody> {
        let make = || {
            Client::builder(TokioExecutor::new())
                .pool_timer(TokioTimer::new())
                .pool_idle_timeout(IDLE)
                .pool_max_idle_per_host(IDLE_MAX)
                .build(self.connector.clone())
        };
        self.client.get_or_insert_with(make).clone()
    }

    /// What stands for a secret in headers: made by chance for each instance, so that no record can hold it. `None`: it was not granted, which
    /// ends the call.
    pub(crate) fn placeholder(&mut self, name: &str) -> Option<String> {
        if let Some((placeholder, _)) = self.placeholders.iter().find(|(_, known)| known == name) {
            return Some(placeholder.clone());
        }
        let secrets = &self.connector.grants.secrets;
        if secrets.get(name).is_none() {
            let (name, granted) = (cut(name.to_owned(), 128), secrets.names());
            let granted = if granted.is_empty() { "it was granted none".to_owned() } else { format!("it has {granted}") };
            self.connector
                .watch
                .broke(format!("asked for the secret {name:?}, which plugin.grants.secrets does not name ({granted})"));
            return None;
        }
        let placeholder = format!("{{{{secret:{name}:{}}}}}", Uuid::new_v4().simple());
        self.placeholders.push((placeholder.clone(), name.to_owned()));
        Some(placeholder)
    }

    /// Puts secrets where their placeholders stand in the headers.
    fn fill_in(&self, asked: &Asked, port: u16, headers: &mut HeaderMap) -> Result<(), Error> {
        for (placeholder, name) in &self.placeholders {
            let Some(secret) = self.connector.grants.secrets.get(name) else { continue };
            for header in headers.values_mut() {
                let Some(filled) = with_secret(header.as_bytes(), placeholder.as_bytes(), || secret.for_host(asked, port)) else {
                    continue;
                };
                let Some(filled) = filled else {
                    self.connector.watch.broke(format!(
                        "would send the secret {name} to {asked}:{port}, which plugin.grants.secrets.{name}.hosts does not allow ({})",
                        secret.hosts()
                    ));
                    return Err(Error::HttpRequestDenied);
                };
                *header = HeaderValue::from_bytes(&filled)
                    .map_err(|_| Error::HttpRequestHeaderSize { field_name: None, field_size: None })?;
                header.set_sensitive(true);
            }
        }
        Ok(())
    }

    /// Begins to look for the addresses of a name.
    pub(crate) fn look_up(&self, name: &str) -> Result<Lookup, ErrorCode> {
        Lookup::begin(&self.connector, &self.found, name)
    }

    /// Whether a socket of the guest may be used so; what must not be ends its call.
    pub(crate) fn socket_check(&self) -> impl Fn(SocketAddr, SocketAddrUse) -> Checking + Send + Sync + 'static {
        let (connector, found) = (self.connector.clone(), self.found.clone());
        // What a socket waits for is not seen, so that from its first one on a guest may always be waiting for the network.
        let expected = OnceLock::new();
        move |address, usage| {
            let may = match usage {
                // What the system does itself before it connects.
                SocketAddrUse::TcpBind if address.ip().is_unspecified() && address.port() == 0 => {
                    return Box::pin(std::future::ready(true));
                }
                SocketAddrUse::TcpConnect => connector.may_connect(address, &found),
                _ => {
                    connector.watch.broke(format!("wants to listen at {address}: plugins only connect"));
                    false
                }
            };
            if may {
                expected.get_or_init(|| connector.watch.expect());
            }
            Box::pin(std::future::ready(may))
        }
    }

    /// What stands in the way of a request, or its place among the open ones.
    fn admit(&self, request: &mut Request<WasiBody>) -> Result<Open, Error> {
        let (asked, port, _) = target(request.uri()).ok_or(Error::HttpRequestUriInvalid)?;
        let has_user = request.uri().authority().is_some_and(|authority| authority.as_str().contains('@'));
        if has_user {
            return Err(Error::HttpRequestUriInvalid);
        }
        if request.method() == Method::CONNECT {
            return Err(Error::HttpRequestMethodInvalid);
        }
        if !self.connector.may_ask(&asked, port) {
            return Err(Error::HttpRequestDenied);
        }
        let authority = request.uri().authority().map_or("", |authority| authority.as_str());
        let host = HeaderValue::from_str(authority).map_err(|_| Error::HttpRequestUriInvalid)?;
        request.headers_mut().insert(header::HOST, host);
        self.fill_in(&asked, port, request.headers_mut())?;
        let open = Open::new(&self.open);
        let max = self.connector.network.config.connections_max;
        if open.all() > max {
            self.connector.watch.broke(format!(
                "has more than the {max} requests open that it may have at once (penstock.plugin.network.connections.max)"
            ));
            return Err(Error::ConnectionLimitReached);
        }
        Ok(open)
    }
}

impl WasiHttpHooks for Outgoing {
    fn send_request(&mut self, mut request: Request<WasiBody>, options: Option<RequestOptions>, _: Driving) -> Sending {
        let open = match self.admit(&mut request) {
            Ok(open) => open,
            Err(error) => return Box::new(async { Err(error) }),
        };
        let watch = self.connector.watch.clone();
        let budget = watch.network_wait_left().saturating_sub(HEAD_START);
        let options = options.unwrap_or_default();
        // Without a timeout of its own, connecting is a part of waiting for the first byte.
        let until_head =
            options.connect_timeout.unwrap_or_default().saturating_add(options.first_byte_timeout.unwrap_or(budget)).min(budget);
        let between_bytes = options.between_bytes_timeout;
        let bytes_max = self.connector.network.config.response_bytes_max;
        let expected = watch.expect();
        let client = self.client();
        Box::new(async move {
            let answer = tokio::time::timeout(until_head, client.request(request)).await;
            drop(expected);
            let response = answer.map_err(|_| Error::HttpResponseTimeout)?.map_err(|error| told(&error))?;
            let answer = |incoming| {
                let body = Answer { incoming, watch, open, bytes_max, bytes: 0, between_bytes, timer: None };
                body.boxed_unsync()
            };
            Ok((response.map(answer), Box::new(std::future::ready(Ok(()))) as Driving))
        })
    }
}

/// The header with the secret in place of its placeholder. `None`: the placeholder is not in it; `Some(None)`: the secret is not for that.
fn with_secret<'s>(header: &[u8], placeholder: &[u8], secret: impl FnOnce() -> Option<&'s [u8]>) -> Option<Option<Vec<u8>>> {
    let at = |rest: &[u8]| rest.windows(placeholder.len()).position(|window| window == placeholder);
    let mut next = at(header)?;
    let Some(secret) = secret() else { return Some(None) };
    let (mut filled, mut rest) = (Vec::new(), header);
    loop {
        filled.extend_from_slice(&rest[..next]);
        filled.extend_from_slice(secret);
        rest = &rest[next + placeholder.len()..];
        match at(rest) {
            Some(further) => next = further,
            None => break,
        }
    }
    filled.extend_from_slice(rest);
    Some(Some(filled))
}

/// A failure as the guest is told it.
fn told(error: &legacy::Error) -> Error {
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(failure) = cause.downcast_ref::<Failure>() {
            return match failure {
                Failure::Refused => Error::DestinationIpProhibited,
                Failure::Name(why) => Error::DnsError { rcode: Some(why.to_string()), info_code: None },
                Failure::Connect(why) if why.kind() == std::io::ErrorKind::ConnectionRefused => Error::ConnectionRefused,
                Failure::Connect(_) | Failure::Tls(_) => Error::InternalError(Some(failure.to_string())),
            };
        }
        source = cause.source();
    }
    let cause = error.source().map_or_else(|| error.to_string(), ToString::to_string);
    Error::InternalError(Some(cause))
}

/// A place among the requests that are open at once.
struct Open(Arc<AtomicUsize>);

impl Open {
    fn new(open: &Arc<AtomicUsize>) -> Self {
        open.fetch_add(1, Ordering::AcqRel);
        Self(open.clone())
    }

    fn all(&self) -> usize {
        self.0.load(Ordering::Acquire)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// The body of a response, bounded in size and time.
struct Answer {
    incoming: Incoming,
    watch: Arc<Watch>,
    #[expect(dead_code, reason = "holds its place until the body is dropped")]
    open: Open,
    bytes_max: u64,
    bytes: u64,
    between_bytes: Option<Duration>,
    /// While the guest waits for more.
    timer: Option<(Pin<Box<Sleep>>, Expected)>,
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = &mut *self;
        match pin!(&mut this.incoming).poll_frame(cx) {
            Poll::Ready(frame) => {
                this.timer = None;
                Poll::Ready(frame.map(|frame| this.count(frame.map_err(Error::from)?)))
            }
            Poll::Pending => {
                let (watch, between_bytes) = (&this.watch, this.between_bytes);
                let begin = || {
                    let budget = watch.network_wait_left().saturating_sub(HEAD_START);
                    let left = between_bytes.map_or(budget, |asked| asked.min(budget));
                    (Box::pin(tokio::time::sleep_until(Instant::now() + left)), watch.expect())
                };
                let (timer, _) = this.timer.get_or_insert_with(begin);
                timer.as_mut().poll(cx).map(|()| Some(Err(Error::ConnectionReadTimeout)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

impl Answer {
    fn count(&mut self, frame: Frame<Bytes>) -> Result<Frame<Bytes>, Error> {
        self.bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
        if self.bytes <= self.bytes_max {
            return Ok(frame);
        }
        self.watch.broke(format!(
            "reads a response of more than the {} bytes that one may have (penstock.plugin.http.response.max.bytes)",
            self.bytes_max
        ));
        Err(Error::HttpResponseBodySize(None))
    }
}
