//! `penstock.examples.HttpSource`: polls an HTTP API for a list of items, and writes each to a topic.
//!
//! The items are sorted by a cursor - an id, a time - and the API answers those from a cursor on. The cursor is the source offset, so that the
//! source goes on where it was, item for item, whenever and wherever it stops. Pages are followed by Link headers or a field of the answer;
//! a list without anything new is asked for by its ETag; `429` and `503` with `Retry-After` are obeyed; other trouble of the API is waited out
//! with back-off, and what only a person can mend ends the task with the reason.
//!
//! In reading order: the keys; addresses; what an answer holds; how far the source is; when to ask for what; the task.

mod config;
mod link;
mod page;
mod progress;
mod poller;

use std::sync::Arc;
use std::time::SystemTime;

use penstock_plugin::{
    Bytes, Connector, Error, Format, Grant, Headers, Next, Payload, Polled, Props, Record, Result, SourceClass, SourceConnector,
    SourceContext, SourceMap, SourceOffset, SourcePosition, SourceRecord, SourceTask, async_trait, http, log,
};

use config::{Config, keys};
use page::Item;
use poller::{Answer, Poller, Request, Step};
use progress::Progress;

/// In one poll at most; a page with more is given in several.
const ITEMS_MAX: usize = 1_000;

struct HttpSource;

#[async_trait]
impl Connector for HttpSource {
    async fn validate(&self, config: &Props) -> Vec<(String, String)> {
        let checked = keys().parse(config).and_then(|config| Config::new(&config));
        match checked {
            Ok(_) => Vec::new(),
            // What a key's own check has found, the worker tells by itself.
            Err(_) if keys().parse(config).is_err() => Vec::new(),
            Err(error) => {
                let message = error.to_string();
                let key = if message.starts_with("http.headers") { "http.headers" } else { "http.url" };
                vec![(key.to_owned(), message)]
            }
        }
    }

    /// There is one list, so there is one task.
    async fn task_configs(&self, config: &Props, _tasks_max: u32) -> Result<Vec<Props>> {
        Ok(vec![config.clone()])
    }
}

impl SourceConnector for HttpSource {
    fn task(&self) -> Box<dyn SourceTask> {
        Box::new(HttpSourceTask { running: None })
    }
}

struct HttpSourceTask {
    running: Option<Running>,
}

struct Running {
    poller: Poller,
    topic: Arc<str>,
    /// The list: `{"url": ...}`.
    partition: Arc<SourceMap>,
}

#[async_trait]
impl SourceTask for HttpSourceTask {
    async fn start(&mut self, config: &Props, context: SourceContext) -> Result<()> {
        let config = Config::new(&keys().parse(config)?)?.with_secrets();
        let partition: SourceMap = [("url".to_owned(), config.url.as_str().into())].into_iter().collect();
        let stored = context.stored(std::slice::from_ref(&partition)).await?.remove(0);
        let progress = match &stored {
            Some(offset) => Progress::from_map(offset)?,
            None => Progress::from_start(config.cursor.initial.as_deref()),
        };
        log::info(&format!("reads {} from {} on", config.url, progress.cursor.as_deref().unwrap_or("the begin")));
        let topic = config.topic.as_str().into();
        self.running = Some(Running { poller: Poller::new(config, progress), topic, partition: Arc::new(partition) });
        Ok(())
    }

    /// Gives what was read, and asks for more when that is done: one request a call, so that a call is short.
    async fn poll(&mut self) -> Result<Polled> {
        let running = self.running.as_mut().ok_or_else(|| Error::fatal("not started"))?;
        if running.poller.is_drained() {
            match running.poller.next(SystemTime::now()) {
                Step::Wait(wait) => return Ok(Polled { records: Vec::new(), next: Next::Wait(wait) }),
                Step::Send(request) => {
                    let answer = send(&request)?;
                    running.poller.answered(&request, &answer, SystemTime::now())?;
                }
            }
        }
        let items = running.poller.take(ITEMS_MAX)?;
        let records = items.into_iter().map(|(item, progress)| running.record(item, &progress)).collect();
        let next = match running.poller.is_drained() {
            true => Next::Wait(running.poller.rest(SystemTime::now())),
            false => Next::More,
        };
        Ok(Polled { records, next })
    }
}

impl Running {
    fn record(&self, item: Item, progress: &Progress) -> SourceRecord {
        let record = Record {
            topic: self.topic.clone(),
            partition: None,
            key: item.key.map_or_else(Payload::null, |key| Payload::encoded(Bytes::from(key), Format::String)),
            value: Payload::encoded(Bytes::from(item.value), Format::Json),
            headers: Headers::new(),
            timestamp: None,
            offset: None,
        };
        let position = SourcePosition { partition: self.partition.clone(), offset: SourceOffset::Map(progress.to_map()) };
        SourceRecord { record, position: Some(position) }
    }
}

fn send(request: &Request) -> Result<Answer> {
    let asked = request.headers.iter().fold(http::Request::get(&request.url), |asked, (name, value)| asked.header(name, value));
    let http::Response { status, headers, body } = asked.send()?;
    // A header that is no text is none that is looked at.
    let text = |(name, value): (String, Vec<u8>)| Some((name, String::from_utf8(value).ok()?));
    Ok(Answer { status, headers: headers.into_iter().filter_map(text).collect(), body })
}

fn classes() -> Vec<SourceClass> {
    let class = SourceClass::records("penstock.examples.HttpSource", env!("CARGO_PKG_VERSION"), keys(), || HttpSource);
    let class = class.wants(Grant::Hosts, "", "the host of http.url");
    vec![class.wants(Grant::Secrets, "", "what http.headers name as {secret:NAME}")]
}

penstock_plugin::export_sources!(classes);

#[cfg(test)]
mod cases;
