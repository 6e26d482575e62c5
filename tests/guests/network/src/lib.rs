//! Transforms that reach out over the network, well-behaved and not: what they got goes into the field `got` of each row.

use std::io::{Read, Write};
use std::time::Duration;

use penstock_plugin::http::{Request, Response};
use penstock_plugin::metrics::{Counter, Gauge, Histogram};
use penstock_plugin::wit::http::wasi::http::outgoing_handler::handle;
use penstock_plugin::wit::http::wasi::http::types::{Fields, FutureIncomingResponse, OutgoingRequest, Scheme};
use penstock_plugin::{
    Batch, ColumnTransform, ConfigDef, ConfigKey, ConfigType, Error, Grant, Parsed, Part, Result, TextEdits, TransformClass,
    secrets,
};

struct Fetch {
    url: String,
    mode: String,
    body: String,
    timeout: Option<Duration>,
    held: Vec<FutureIncomingResponse>,
    fetched: Counter,
    bytes: Histogram,
}

impl Fetch {
    fn new(config: &Parsed) -> Result<Self> {
        Ok(Self {
            url: config.string("url").to_owned(),
            mode: config.string("mode").to_owned(),
            body: config.string("body").to_owned(),
            timeout: config.text("timeout.ms").map(|_| config.millis("timeout.ms")),
            held: Vec::new(),
            fetched: Counter::new("fetched-total", "Batches that fetched something.", &[("mode", config.string("mode"))]),
            bytes: Histogram::new("fetched-bytes", "Bytes of what was got.", &[8.0, 1024.0], &[]),
        })
    }

    fn request(&self, url: &str) -> Request {
        let request = if self.body.is_empty() { Request::get(url) } else { Request::post(url, self.body.as_str()) };
        Request { timeout: self.timeout, ..request.header("x-from", "a component") }
    }

    fn got(&mut self) -> Result<String> {
        let url = self.url.clone();
        match &*self.mode {
            // Goes on as if nothing had happened.
            "swallow" => Ok(self.request(&url).send().map_or_else(|error| error.to_string(), shown)),
            "follow" => {
                let response = self.request(&url).send()?;
                let to = response.header("location").ok_or_else(|| Error::data("there is no redirect"))?;
                Ok(shown(self.request(to).send()?))
            }
            "secret" => {
                let bearer = format!("Bearer {}", secrets::placeholder(&self.body));
                // What it holds itself is told, too.
                Ok(format!("{} {bearer}", shown(Request::get(&url).header("authorization", &bearer).send()?)))
            }
            "swallow-secret" => {
                let bearer = secrets::placeholder(&self.body);
                Ok(Request::get(&url).header("x-token", bearer).send().map_or_else(|error| error.to_string(), shown))
            }
            "read" => Ok(std::fs::read_to_string(&url).map_or_else(|error| format!("cannot read: {error}"), |text| text)),
            "write" => {
                Ok(std::fs::write(&url, &self.body).map_or_else(|error| format!("cannot write: {error}"), |()| "written".into()))
            }
            "env" => {
                let mut all: Vec<String> = std::env::vars().map(|(name, value)| format!("{name}={value}")).collect();
                all.sort();
                Ok(all.join(" "))
            }
            "socket" => {
                let failed = |error: std::io::Error| Error::retriable(error.to_string());
                let mut stream = std::net::TcpStream::connect(&url).map_err(failed)?;
                stream.write_all(b"GET /hello HTTP/1.0\r\n\r\n").map_err(failed)?;
                let mut answer = String::new();
                stream.read_to_string(&mut answer).map_err(failed)?;
                Ok(answer.lines().last().unwrap_or_default().to_owned())
            }
            "too-many-metrics" => {
                for number in 0..1_000 {
                    Gauge::new("numbered", "One of many.", &[("number", &number.to_string())]).set(1.0);
                }
                Ok("kept going".to_owned())
            }
            "bad-metric" => {
                Gauge::new("no name", "", &[]).set(1.0);
                Ok("unreachable".to_owned())
            }
            "listen" => Ok(std::net::TcpListener::bind(&url).map_or_else(|error| error.to_string(), |_| "listens".to_owned())),
            "many" => {
                for _ in 0..1_000 {
                    self.held.push(begin(&url)?);
                }
                Ok("many".to_owned())
            }
            "work-and-wait" => {
                let waiting = begin(&url)?;
                while waiting.get().is_none() {
                    std::hint::black_box(());
                }
                Ok("worked".to_owned())
            }
            _ => Ok(shown(self.request(&url).send()?)),
        }
    }
}

fn shown(response: Response) -> String {
    format!("{} {}", response.status, response.text())
}

/// A request that is sent and not waited for.
fn begin(url: &str) -> Result<FutureIncomingResponse> {
    let wrong = |()| Error::config("url is wrong");
    let (authority, path) = url.strip_prefix("http://").and_then(|rest| rest.split_once('/')).ok_or_else(|| wrong(()))?;
    let request = OutgoingRequest::new(Fields::new());
    request.set_scheme(Some(&Scheme::Http)).map_err(wrong)?;
    request.set_authority(Some(authority)).map_err(wrong)?;
    request.set_path_with_query(Some(&format!("/{path}"))).map_err(wrong)?;
    handle(request, None).map_err(|code| Error::fatal(format!("{code:?}")))
}

impl ColumnTransform for Fetch {
    fn apply(&mut self, batch: &Batch<'_>) -> Result<()> {
        let got = self.got()?;
        self.fetched.add(1);
        self.bytes.record(got.len() as f64);
        let mut edits = TextEdits::new();
        (0..batch.len()).for_each(|row| edits.set(row, &got));
        batch.set_texts(Part::Value, "got", &edits);
        Ok(())
    }
}

fn classes() -> Vec<TransformClass> {
    let keys = ConfigDef::new([
        ConfigKey::required("url", ConfigType::String, "What to ask for."),
        ConfigKey::optional("mode", ConfigType::String, "fetch", "What is to go wrong."),
        ConfigKey::optional("body", ConfigType::String, "", "What to post."),
        ConfigKey::nullable("timeout.ms", ConfigType::Long, "How long to wait."),
    ]);
    vec![
        TransformClass::columns("penstock.tests.Fetch", "1.0.0", keys, Fetch::new)
            .wants(Grant::Hosts, "", "the host of url")
            .wants(Grant::Hosts, "api.example.com:443", "nothing in fact"),
    ]
}

penstock_plugin::export_transforms!(classes);
