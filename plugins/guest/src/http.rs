//! Requests to hosts that the plugin's connector was granted (`plugin.grants.hosts`).
//!
//! ```no_run
//! # fn main() -> penstock_plugin::Result<()> {
//! use penstock_plugin::http::Request;
//!
//! let response = Request::get("https://api.example.com/tickets?after=17").header("accept", "application/json").send()?;
//! if response.status == 200 {
//!     penstock_plugin::log::info(&format!("{} bytes", response.body.len()));
//! }
//! # Ok(())
//! # }
//! ```
//!
//! A call waits until the response has been read, and the worker does not count that as the plugin's time. Connections are kept and used
//! again. Redirects are not followed: they come back as responses, and a new request to where they lead needs its own grant. **A request to
//! a host that was not granted fails the task,** whatever the plugin makes of the [`Refused`](Kind::Refused) it gets.
//!
//! A native test sends requests by itself, over `http` alone and to any host.

#[cfg(not(target_family = "wasm"))]
mod native;

use std::fmt;
use std::time::Duration;

use crate::wit::http::wasi::http::outgoing_handler::handle;
use crate::wit::http::wasi::http::types::{
    ErrorCode, Fields, IncomingBody, Method, OutgoingBody, OutgoingRequest, RequestOptions, Scheme,
};
use crate::wit::http::wasi::io::streams::StreamError;

/// A request, to be [sent](Request::send).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// `GET`, `POST` and so on, in capitals.
    pub method: String,
    /// `https://host:port/path?query`, or with `http`. Percent-encoded by the caller.
    pub url: String,
    /// In this order; names may stand there several times. The host and the length of the body are added.
    pub headers: Vec<(String, Vec<u8>)>,
    pub body: Vec<u8>,
    /// How long to wait for the head of the response, and then for each further piece of it. `None`: as long as the worker allows.
    pub timeout: Option<Duration>,
}

/// What came back, whatever its status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    pub status: u16,
    /// Names in lower case, as they came.
    pub headers: Vec<(String, Vec<u8>)>,
    pub body: Vec<u8>,
}

/// Why there is no response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    pub kind: Kind,
    /// For people, with the URL without its query.
    pub message: String,
}

/// What can be done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The URL, method or a header is wrong.
    Request,
    /// The host was not granted, or a limit of the worker was passed. The task ends.
    Refused,
    /// The name could not be resolved, nobody answered, or TLS could not be agreed upon.
    Connection,
    /// Nothing came in time.
    Timeout,
    /// The connection broke, or what came is no HTTP. The request may have been carried out.
    Response,
}

impl Request {
    /// A request without headers and body.
    #[must_use]
    pub fn new(method: &str, url: &str) -> Self {
        Self { method: method.to_owned(), url: url.to_owned(), headers: Vec::new(), body: Vec::new(), timeout: None }
    }

    #[must_use]
    pub fn get(url: &str) -> Self {
        Self::new("GET", url)
    }

    #[must_use]
    pub fn post(url: &str, body: impl Into<Vec<u8>>) -> Self {
        Self { body: body.into(), ..Self::new("POST", url) }
    }

    /// The same, with a further header.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers.push((name.to_owned(), value.as_ref().to_vec()));
        self
    }

    /// The same, with a timeout.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Sends it and reads the whole response.
    ///
    /// # Errors
    /// When there is no response; one with a bad status is none.
    pub fn send(&self) -> Result<Response, Error> {
        let target = Target::of(&self.url).map_err(|why| self.error(Kind::Request, why))?;
        #[cfg(not(target_family = "wasm"))]
        let answer = native::exchange(self, &target);
        #[cfg(target_family = "wasm")]
        let answer = self.exchange(&target);
        answer.map_err(|failure| match failure {
            Failure::Code(code) => self.error(kind(&code), &told(&code)),
            Failure::Other(kind, why) => self.error(kind, &why),
        })
    }

    #[cfg_attr(not(target_family = "wasm"), expect(dead_code, reason = "native tests have no worker that sends requests"))]
    fn exchange(&self, target: &Target<'_>) -> Result<Response, Failure> {
        let wrong = |what: &str| Failure::Other(Kind::Request, what.to_owned());
        let mut headers: Vec<(String, Vec<u8>)> = self.headers.clone();
        if !self.body.is_empty() || matches!(self.method.as_str(), "POST" | "PUT" | "PATCH") {
            headers.push(("content-length".to_owned(), self.body.len().to_string().into_bytes()));
        }
        let fields =
            Fields::from_list(&headers).map_err(|e| Failure::Other(Kind::Request, format!("a header is wrong: {e:?}")))?;
        let request = OutgoingRequest::new(fields);
        let scheme = if target.is_https { Scheme::Https } else { Scheme::Http };
        request.set_method(&method(&self.method)).map_err(|()| wrong("the method is none"))?;
        request.set_scheme(Some(&scheme)).map_err(|()| wrong("the scheme is none"))?;
        request.set_authority(Some(target.authority)).map_err(|()| wrong("the host or port is none"))?;
        request.set_path_with_query(Some(&target.path)).map_err(|()| wrong("the path or query is none"))?;
        let body = request.body().map_err(|()| wrong("the body was taken"))?;
        let response = handle(request, self.options()).map_err(Failure::Code)?;
        let answered = || response.get().and_then(Result::ok);
        let sent = send_body(body, &self.body);
        let response = loop {
            match answered() {
                // A server that answers before it has read everything may close the connection: its answer counts.
                Some(response) => break response?,
                None => response.subscribe().block(),
            }
        };
        let (status, headers) = (response.status(), response.headers().entries());
        let body = response.consume().map_err(|()| Failure::Other(Kind::Response, "the body was taken".to_owned()))?;
        let body = read_body(&body)?;
        sent.or_else(|failure| if status >= 300 { Ok(()) } else { Err(failure) })?;
        Ok(Response { status, headers, body })
    }

    fn options(&self) -> Option<RequestOptions> {
        let nanos = u64::try_from(self.timeout?.as_nanos()).unwrap_or(u64::MAX);
        let options = RequestOptions::new();
        // A worker that knows no such timeout has its own.
        let _known = options.set_first_byte_timeout(Some(nanos));
        let _known = options.set_between_bytes_timeout(Some(nanos));
        Some(options)
    }

    fn error(&self, kind: Kind, why: &str) -> Error {
        let url = self.url.split(['?', '#']).next().unwrap_or_default();
        Error { kind, message: format!("{} {url}: {why}", self.method) }
    }
}

impl Response {
    /// The first header of that name, in any case, if it is text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(value).ok()
    }

    /// The body as text; what is not UTF-8 is replaced.
    #[must_use]
    pub fn text(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(&self.body)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

/// `?` in a plugin: what may pass with time is `Retriable`, the rest `Config`.
impl From<Error> for penstock_api::Error {
    fn from(error: Error) -> Self {
        match error.kind {
            Kind::Connection | Kind::Timeout | Kind::Response => Self::retriable(error.message),
            Kind::Request | Kind::Refused => Self::config(error.message),
        }
    }
}

enum Failure {
    Code(ErrorCode),
    Other(Kind, String),
}

impl From<ErrorCode> for Failure {
    fn from(code: ErrorCode) -> Self {
        Failure::Code(code)
    }
}

/// The parts of a URL.
#[derive(Debug, PartialEq, Eq)]
struct Target<'u> {
    is_https: bool,
    authority: &'u str,
    /// With its query.
    path: String,
}

impl<'u> Target<'u> {
    fn of(url: &'u str) -> Result<Self, &'static str> {
        let (scheme, rest) = url.split_once("://").ok_or("the URL has no scheme: it begins with https:// or http://")?;
        let is_https = match scheme.to_ascii_lowercase().as_str() {
            "https" => true,
            "http" => false,
            _ => return Err("the URL's scheme is neither https nor http"),
        };
        let rest = rest.split('#').next().unwrap_or_default();
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        if authority.is_empty() {
            return Err("the URL has no host");
        }
        if authority.contains('@') {
            return Err("the URL holds a user: give an authorization header instead");
        }
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        Ok(Self { is_https, authority, path })
    }
}

fn method(name: &str) -> Method {
    match name {
        "GET" => Method::Get,
        "HEAD" => Method::Head,
        "POST" => Method::Post,
        "PUT" => Method::Put,
        "DELETE" => Method::Delete,
        "OPTIONS" => Method::Options,
        "PATCH" => Method::Patch,
        other => Method::Other(other.to_owned()),
    }
}

const READ_BYTES: u64 = 64 << 10;

fn send_body(body: OutgoingBody, bytes: &[u8]) -> Result<(), Failure> {
    let broken = |error: StreamError| Failure::Other(Kind::Response, format!("the request could not be sent: {error:?}"));
    {
        let stream = body.write().map_err(|()| Failure::Other(Kind::Request, "the body was taken".to_owned()))?;
        let mut left = bytes;
        while !left.is_empty() {
            let room = usize::try_from(stream.check_write().map_err(broken)?).unwrap_or(usize::MAX);
            if room == 0 {
                stream.subscribe().block();
                continue;
            }
            let (piece, rest) = left.split_at(room.min(left.len()));
            stream.write(piece).map_err(broken)?;
            left = rest;
        }
    }
    OutgoingBody::finish(body, None).map_err(Failure::Code)
}

fn read_body(body: &IncomingBody) -> Result<Vec<u8>, Failure> {
    let stream = body.stream().map_err(|()| Failure::Other(Kind::Response, "the body was taken".to_owned()))?;
    let mut bytes = Vec::new();
    loop {
        match stream.blocking_read(READ_BYTES) {
            Ok(piece) => bytes.extend_from_slice(&piece),
            Err(StreamError::Closed) => return Ok(bytes),
            Err(StreamError::LastOperationFailed(error)) => {
                let code = crate::wit::http::wasi::http::types::http_error_code(&error);
                return Err(code.map_or_else(|| Failure::Other(Kind::Response, error.to_debug_string()), Failure::Code));
            }
        }
    }
}

fn kind(code: &ErrorCode) -> Kind {
    match code {
        ErrorCode::HttpRequestDenied
        | ErrorCode::DestinationIpProhibited
        | ErrorCode::ConnectionLimitReached
        | ErrorCode::HttpResponseBodySize(_) => Kind::Refused,
        ErrorCode::HttpRequestMethodInvalid | ErrorCode::HttpRequestUriInvalid | ErrorCode::HttpRequestBodySize(_) => {
            Kind::Request
        }
        ErrorCode::DnsTimeout
        | ErrorCode::DnsError(_)
        | ErrorCode::DestinationNotFound
        | ErrorCode::DestinationUnavailable
        | ErrorCode::ConnectionRefused
        | ErrorCode::TlsProtocolError
        | ErrorCode::TlsCertificateError
        | ErrorCode::TlsAlertReceived(_) => Kind::Connection,
        ErrorCode::ConnectionTimeout | ErrorCode::ConnectionReadTimeout | ErrorCode::HttpResponseTimeout => Kind::Timeout,
        _ => Kind::Response,
    }
}

fn told(code: &ErrorCode) -> String {
    match code {
        ErrorCode::InternalError(Some(why)) => why.clone(),
        ErrorCode::DnsError(payload) => {
            format!("the name cannot be resolved: {}", payload.rcode.as_deref().unwrap_or("no reason was given"))
        }
        ErrorCode::HttpRequestDenied => "the host is not among plugin.grants.hosts".to_owned(),
        ErrorCode::DestinationIpProhibited => "the host's address is not among plugin.grants.hosts".to_owned(),
        ErrorCode::HttpResponseTimeout | ErrorCode::ConnectionReadTimeout => "no answer in time".to_owned(),
        ErrorCode::ConnectionRefused => "nobody listens there".to_owned(),
        other => format!("{other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        let target = |is_https, authority, path: &str| Ok(Target { is_https, authority, path: path.to_owned() });
        for (url, expected) in [
            ("https://api.example.com", target(true, "api.example.com", "/")),
            ("HTTP://127.0.0.1:80/a/b?c=d#e", target(false, "127.0.0.1:80", "/a/b?c=d")),
            ("https://[::1]:8443?q", target(true, "[::1]:8443", "/?q")),
            ("api.example.com/a", Err("the URL has no scheme: it begins with https:// or http://")),
            ("ftp://a/b", Err("the URL's scheme is neither https nor http")),
            ("https:///a", Err("the URL has no host")),
            ("https://me:secret@a/b", Err("the URL holds a user: give an authorization header instead")),
        ] {
            assert_eq!(Target::of(url), expected, "{url}");
        }
    }

    #[test]
    fn errors_hide_what_stands_in_a_query() {
        let error = Request::get("nowhere?token=secret").send().expect_err("no URL");
        assert_eq!((error.kind, error.message.contains("secret")), (Kind::Request, false), "{error}");
    }
}
