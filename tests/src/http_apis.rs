//! Two HTTP services as strict as real ones: a helpdesk's API that is polled for tickets, and an endpoint that takes alerts once by their
//! idempotency keys. Both limit, refuse and fail on demand, and remember what was done wrong to them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, Query, State};
use axum::http::{HeaderMap, Response, StatusCode, header};
use axum::routing::{any, get};
use futures::stream;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// What goes wrong by itself: one request in so many; 0 for none.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// Answered 500 or 503 before anything is done.
    pub failing: u64,
    /// The connection ends in the middle of the answer, after all has been done.
    pub cut: u64,
    /// So many requests are taken in any second; the rest get 429 with Retry-After.
    pub per_second: u32,
}

/// Requests of the last second, and until when the client was told to stay away.
#[derive(Default)]
struct Limiter {
    recent: Vec<Instant>,
    away_until: Option<Instant>,
    /// Where the client's connections come from, and where those of killed ones came from.
    peers: BTreeSet<SocketAddr>,
    gone: BTreeSet<SocketAddr>,
}

impl Limiter {
    /// Whether a request may come now. One that was told to stay away until later breaks the rules.
    fn admit(&mut self, peer: SocketAddr, per_second: u32, violations: &AtomicU64) -> bool {
        let now = Instant::now();
        // What a killed client has left behind on its way is not its successor's.
        let is_gone = self.gone.contains(&peer);
        if !is_gone {
            self.peers.insert(peer);
            // The clocks of both sides are the same, but for the time a packet takes.
            if self.away_until.take().is_some_and(|until| now + Duration::from_millis(50) < until) {
                violations.fetch_add(1, Ordering::Relaxed);
            }
        }
        self.recent.retain(|at| now.duration_since(*at) < Duration::from_secs(1));
        if per_second > 0 && self.recent.len() >= per_second as usize {
            if !is_gone {
                self.away_until = Some(now + Duration::from_secs(1));
            }
            return false;
        }
        self.recent.push(now);
        true
    }

    /// The client was killed: its successor knows nothing of what it was told.
    fn client_is_new(&mut self) {
        self.gone.append(&mut self.peers);
        self.away_until = None;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Every `share`th.
fn strikes(number: u64, share: u64) -> bool {
    share > 0 && number.is_multiple_of(share)
}

fn answer(status: StatusCode, body: impl Into<Body>) -> Response<Body> {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    response
}

/// Whether a request carries the token, where one is wanted.
fn is_known(headers: &HeaderMap, token: Option<&str>) -> bool {
    token.is_none_or(|token| headers.get(header::AUTHORIZATION).is_some_and(|given| *given == format!("Bearer {token}")))
}

fn unknown() -> Response<Body> {
    answer(StatusCode::UNAUTHORIZED, r#"{"error":"no token, or a wrong one"}"#)
}

fn too_many() -> Response<Body> {
    let mut response = answer(StatusCode::TOO_MANY_REQUESTS, r#"{"error":"too many requests"}"#);
    response.headers_mut().insert(header::RETRY_AFTER, header::HeaderValue::from_static("1"));
    response
}

/// Half of the answer, then the end of the connection.
fn cut(text: &str) -> Response<Body> {
    let half = Bytes::copy_from_slice(&text.as_bytes()[..text.len() / 2]);
    let parts = [Ok(half), Err(std::io::Error::other("the connection is cut on purpose"))];
    let mut response = answer(StatusCode::OK, Body::from_stream(stream::iter(parts)));
    response.headers_mut().insert(header::CONTENT_LENGTH, header::HeaderValue::from(text.len()));
    response
}

/// A router that is served until this is dropped.
struct Serving {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Serving {
    async fn start(router: Router) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.context("listen for HTTP")?;
        let address = listener.local_addr()?;
        let task = tokio::spawn(async move {
            let service = router.into_make_service_with_connect_info::<SocketAddr>();
            if let Err(error) = axum::serve(listener, service).await {
                eprintln!("an HTTP service of the tests has ended: {error}");
            }
        });
        Ok(Self { address, task })
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Tickets by the time of their last change, which some share: `GET /tickets?since=TIME&page=N` answers those at that time and later, a page
/// at a time with a Link to the next, and an ETag.
pub struct TicketApi {
    serving: Serving,
    desk: Arc<Desk>,
}

#[derive(Default)]
struct Desk {
    faults: Faults,
    token: Option<String>,
    tickets: Mutex<Vec<Value>>,
    limiter: Mutex<Limiter>,
    requests: AtomicU64,
    unchanged: AtomicU64,
    refused: AtomicU64,
    violations: AtomicU64,
}

/// So many tickets are on a page.
const PAGE: usize = 50;
/// So many tickets share a time.
const SHARING: u64 = 3;
/// The first ticket's time, milliseconds since 1970-01-01T00:00Z.
const FIRST_MS: u64 = 1_732_300_000_000;

impl TicketApi {
    /// Without tickets. With a token, requests must carry it: `Authorization: Bearer TOKEN`.
    pub async fn start(faults: Faults, token: Option<&str>) -> Result<Self> {
        let desk = Arc::new(Desk { faults, token: token.map(str::to_owned), ..Desk::default() });
        let router = Router::new().route("/tickets", get(tickets)).with_state(desk.clone());
        Ok(Self { serving: Serving::start(router).await?, desk })
    }

    pub fn url(&self) -> String {
        format!("http://{}/tickets", self.serving.address)
    }

    /// What a connector must be granted.
    pub fn host(&self) -> String {
        self.serving.address.to_string()
    }

    /// Opens so many tickets more.
    pub fn open(&self, count: u64) {
        let mut tickets = lock(&self.desk.tickets);
        for _ in 0..count {
            let number = tickets.len() as u64;
            let subjects = ["Where is my order?", "A part is missing", "Invoice", "Return"];
            tickets.push(json!({
                "id": format!("T-{number:06}"),
                "updated_at": FIRST_MS + number / SHARING * 1_000,
                "customer": {"id": format!("c-{}", number % 997), "email": format!("customer{}@example.org", number % 997)},
                "subject": subjects[number as usize % subjects.len()],
                "urgent": number.is_multiple_of(7),
            }));
        }
    }

    /// The client was killed: the next one knows nothing of what it was told.
    pub fn client_is_new(&self) {
        lock(&self.desk.limiter).client_is_new();
    }

    /// All tickets, in their order.
    pub fn tickets(&self) -> Vec<Value> {
        lock(&self.desk.tickets).clone()
    }

    /// Their ids.
    pub fn ids(&self) -> Vec<String> {
        lock(&self.desk.tickets).iter().map(|ticket| ticket["id"].as_str().unwrap_or_default().to_owned()).collect()
    }

    /// Requests so far, and how many of them were answered 304 and 429.
    pub fn requests(&self) -> (u64, u64, u64) {
        let Desk { requests, unchanged, refused, .. } = &*self.desk;
        (requests.load(Ordering::Relaxed), unchanged.load(Ordering::Relaxed), refused.load(Ordering::Relaxed))
    }

    /// Requests that came although a Retry-After said to stay away.
    pub fn violations(&self) -> u64 {
        self.desk.violations.load(Ordering::Relaxed)
    }
}

async fn tickets(
    State(desk): State<Arc<Desk>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    Query(query): Query<BTreeMap<String, String>>,
    headers: HeaderMap,
) -> Response<Body> {
    let number = desk.requests.fetch_add(1, Ordering::Relaxed) + 1;
    if !is_known(&headers, desk.token.as_deref()) {
        return unknown();
    }
    if !lock(&desk.limiter).admit(peer, desk.faults.per_second, &desk.violations) {
        desk.refused.fetch_add(1, Ordering::Relaxed);
        return too_many();
    }
    if strikes(number, desk.faults.failing) {
        return answer(StatusCode::INTERNAL_SERVER_ERROR, r#"{"error":"something is wrong here"}"#);
    }
    let as_number = |key: &str| query.get(key).map_or(Ok(0), |text| text.parse::<u64>());
    let unknown = query.keys().find(|key| !matches!(key.as_str(), "since" | "page"));
    let (Ok(since), Ok(page), None) = (as_number("since"), as_number("page"), unknown) else {
        return answer(StatusCode::BAD_REQUEST, format!(r#"{{"error":"a wrong parameter: {query:?}"}}"#));
    };
    let all = lock(&desk.tickets);
    let of_page = all.iter().filter(|ticket| ticket["updated_at"].as_u64() >= Some(since)).skip(page as usize * PAGE);
    let mut items: Vec<&Value> = of_page.take(PAGE + 1).collect();
    let has_more = items.len() > PAGE;
    items.truncate(PAGE);
    let last = items.last().map_or("none", |ticket| ticket["id"].as_str().unwrap_or_default());
    let tag = format!("\"{since}-{page}-{last}-{has_more}\"");
    if headers.get(header::IF_NONE_MATCH).is_some_and(|known| *known == tag) {
        desk.unchanged.fetch_add(1, Ordering::Relaxed);
        return answer(StatusCode::NOT_MODIFIED, Body::empty());
    }
    let text = json!({"tickets": items}).to_string();
    if strikes(number, desk.faults.cut) {
        return cut(&text);
    }
    let mut response = answer(StatusCode::OK, text);
    let value = |text: String| header::HeaderValue::from_str(&text).expect("the tag and the link are ASCII");
    response.headers_mut().insert(header::ETAG, value(tag));
    if has_more {
        let next = format!("</tickets?since={since}&page={}>; rel=\"next\"", page + 1);
        response.headers_mut().insert(header::LINK, value(next));
    }
    response
}

/// Takes `POST /alerts`: an object under the key of `Idempotency-Key`, or an array of objects each with its `key`. A key is taken once;
/// whatever comes under it again must be the same, and is answered as before.
pub struct AlertEndpoint {
    serving: Serving,
    counter: Arc<Counter>,
}

#[derive(Default)]
struct Counter {
    faults: Faults,
    token: Option<String>,
    limiter: Mutex<Limiter>,
    requests: AtomicU64,
    repeated: AtomicU64,
    violations: AtomicU64,
    taken: Mutex<BTreeMap<String, Value>>,
}

impl AlertEndpoint {
    /// With a token, requests must carry it: `Authorization: Bearer TOKEN`.
    pub async fn start(faults: Faults, token: Option<&str>) -> Result<Self> {
        let counter = Arc::new(Counter { faults, token: token.map(str::to_owned), ..Counter::default() });
        let router = Router::new().route("/alerts", any(alerts)).with_state(counter.clone());
        Ok(Self { serving: Serving::start(router).await?, counter })
    }

    pub fn url(&self) -> String {
        format!("http://{}/alerts", self.serving.address)
    }

    /// What a connector must be granted.
    pub fn host(&self) -> String {
        self.serving.address.to_string()
    }

    /// What was taken, by its key.
    pub fn taken(&self) -> BTreeMap<String, Value> {
        lock(&self.counter.taken).clone()
    }

    pub fn requests(&self) -> u64 {
        self.counter.requests.load(Ordering::Relaxed)
    }

    /// Records that came again under their key.
    pub fn repeated(&self) -> u64 {
        self.counter.repeated.load(Ordering::Relaxed)
    }

    /// Requests that broke the rules: another body under a known key, no key, no JSON, no respect for Retry-After.
    pub fn violations(&self) -> u64 {
        self.counter.violations.load(Ordering::Relaxed)
    }
}

async fn alerts(
    State(counter): State<Arc<Counter>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    let number = counter.requests.fetch_add(1, Ordering::Relaxed) + 1;
    if !is_known(&headers, counter.token.as_deref()) {
        return unknown();
    }
    if !lock(&counter.limiter).admit(peer, counter.faults.per_second, &counter.violations) {
        return too_many();
    }
    if strikes(number, counter.faults.failing) {
        return answer(StatusCode::SERVICE_UNAVAILABLE, r#"{"error":"busy"}"#);
    }
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let parsed: Option<Value> = serde_json::from_slice(&body).ok();
    let (Some(key), Some("application/json"), Some(parsed)) = (text("idempotency-key"), text("content-type"), parsed) else {
        counter.violations.fetch_add(1, Ordering::Relaxed);
        return answer(StatusCode::BAD_REQUEST, r#"{"error":"a key and JSON are wanted"}"#);
    };
    match counter.take(key, &parsed) {
        Ok(errors) => {
            let text = json!({"errors": errors}).to_string();
            if strikes(number, counter.faults.cut) { cut(&text) } else { answer(StatusCode::OK, text) }
        }
        Err(why) => answer(StatusCode::UNPROCESSABLE_ENTITY, json!({"error": why}).to_string()),
    }
}

impl Counter {
    /// The records of a batch that were not taken; an error refuses all of the request.
    fn take(&self, key: &str, body: &Value) -> Result<Vec<Value>, &'static str> {
        let mut taken = lock(&self.taken);
        let mut one = |key: &str, alert: &Value| {
            if alert["poison"] == true {
                return Err("poison is not taken");
            }
            match taken.get(key) {
                None => drop(taken.insert(key.to_owned(), alert.clone())),
                Some(known) => {
                    self.repeated.fetch_add(1, Ordering::Relaxed);
                    if known != alert {
                        self.violations.fetch_add(1, Ordering::Relaxed);
                        return Err("another alert came under this key");
                    }
                }
            }
            Ok(())
        };
        let Some(batch) = body.as_array() else { return one(key, body).map(|()| Vec::new()) };
        let mut errors = Vec::new();
        for (index, alert) in batch.iter().enumerate() {
            let key = alert["key"].as_str().unwrap_or_default();
            if key.is_empty() {
                self.violations.fetch_add(1, Ordering::Relaxed);
                return Err("each alert of a batch must have a key");
            }
            if let Err(message) = one(key, alert) {
                errors.push(json!({"index": index, "message": message}));
            }
        }
        Ok(errors)
    }
}
