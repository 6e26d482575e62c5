//! When to ask for what, and what an answer means. Decides only: requests are sent elsewhere.

use std::collections::VecDeque;
use std::time::{Duration, SystemTime};

use penstock_plugin::{Error, Result};

use crate::config::{Config, Pages};
use crate::link;
use crate::page::{self, Fields, Item};
use crate::progress::Progress;

/// An API that says 429 without saying for how long is asked again after this time, then after twice of it, and so on.
const REFUSED_WAIT_MIN: Duration = Duration::from_secs(1);
const REFUSED_WAIT_MAX: Duration = Duration::from_secs(60);
/// Whatever an answer says, it is asked again after an hour.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3_600);

/// A request to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    pub url: String,
    pub headers: Vec<(String, String)>,
}

/// An answer, whatever it says.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers(name).next()
    }

    fn headers(&self, name: &str) -> impl Iterator<Item = &str> {
        self.headers.iter().filter(move |(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

/// What is to be done next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Send(Request),
    Wait(Duration),
}

/// Where the source is in a listing, which is a request from the cursor on and all the pages behind it.
pub(crate) struct Poller {
    config: Config,
    progress: Progress,
    /// Items that were read and not given yet.
    waiting: VecDeque<Item>,
    /// The next page of the listing.
    next_page: Option<String>,
    /// The last item of the listing's pages so far: they must be sorted.
    last: Option<page::Cursor>,
    /// The first page's address and its tag, when nothing was new there.
    tag: Option<(String, String)>,
    not_before: Option<SystemTime>,
    refused: u32,
}

impl Poller {
    pub(crate) fn new(config: Config, progress: Progress) -> Self {
        Self { config, progress, waiting: VecDeque::new(), next_page: None, last: None, tag: None, not_before: None, refused: 0 }
    }

    /// The next items that were read, each with the progress behind it.
    ///
    /// # Errors
    /// `Fatal` when the answers do not fit the configuration.
    pub(crate) fn take(&mut self, items_max: usize) -> Result<Vec<(Item, Progress)>> {
        let mut taken = Vec::new();
        while taken.len() < items_max
            && let Some(item) = self.waiting.pop_front()
        {
            self.progress.pass(&item)?;
            taken.push((item, self.progress.clone()));
        }
        Ok(taken)
    }

    /// Whether all that was read has been given.
    pub(crate) fn is_drained(&self) -> bool {
        self.waiting.is_empty()
    }

    /// What to do when all that was read has been given.
    pub(crate) fn next(&mut self, now: SystemTime) -> Step {
        if let Some(wait) = self.not_before.and_then(|due| due.duration_since(now).ok()).filter(|wait| !wait.is_zero()) {
            return Step::Wait(wait);
        }
        self.not_before = Some(now + self.config.pace).filter(|_| !self.config.pace.is_zero());
        let url = self.next_page.clone().unwrap_or_else(|| self.first_page());
        let mut headers = self.config.headers.clone();
        headers.push(("accept".to_owned(), "application/json".to_owned()));
        if let Some((_, tag)) = self.tag.as_ref().filter(|(tagged, _)| *tagged == url) {
            headers.push(("if-none-match".to_owned(), tag.clone()));
        }
        Step::Send(Request { url, headers })
    }

    fn first_page(&self) -> String {
        let cursor = &self.config.cursor;
        self.progress
            .cursor
            .as_ref()
            .map_or_else(|| self.config.url.clone(), |from| link::with_parameter(&self.config.url, &cursor.parameter, from))
    }

    /// Takes an answer to `request`. What it holds comes with [`take`](Self::take).
    ///
    /// # Errors
    /// `Retriable` when the other side is in trouble, `Config` or `Fatal` when a person must look.
    pub(crate) fn answered(&mut self, request: &Request, answer: &Answer, now: SystemTime) -> Result<()> {
        let said = || format!("{} answered {}{}", request.url, answer.status, excerpt(&answer.body));
        match answer.status {
            200 => self.page(request, answer),
            304 => {
                self.end_of_listing();
                Ok(())
            }
            429 | 503 => match self.wait_for(answer, now) {
                Some(wait) => {
                    self.not_before = Some(now + wait);
                    Ok(())
                }
                None => Err(Error::retriable(said())),
            },
            408 | 425 | 500..=599 => Err(Error::retriable(said())),
            401 | 403 => Err(Error::config(format!("{}: look at http.headers and the secrets that are granted", said()))),
            300..=399 => {
                let target = answer.header("location").unwrap_or("nowhere");
                Err(Error::config(format!("{}: it leads to {target}; set http.url to that", said())))
            }
            _ => Err(Error::config(format!("{}: look at http.url", said()))),
        }
    }

    /// How long the API wants to be left alone; `None`: it is in trouble and does not say.
    fn wait_for(&mut self, answer: &Answer, now: SystemTime) -> Option<Duration> {
        let told = answer.header("retry-after").and_then(|text| retry_after(text, now));
        if answer.status == 503 {
            return told;
        }
        self.refused += 1;
        let doubled = REFUSED_WAIT_MIN.saturating_mul(2_u32.saturating_pow(self.refused - 1)).min(REFUSED_WAIT_MAX);
        Some(told.unwrap_or(doubled))
    }

    fn page(&mut self, request: &Request, answer: &Answer) -> Result<()> {
        let body = std::str::from_utf8(&answer.body).map_err(|e| Error::fatal("the answer is not UTF-8").with_source(e))?;
        let fields = Fields {
            items: &self.config.items_field,
            key: self.config.key_field.as_deref(),
            cursor: &self.config.cursor.field,
            id: self.config.cursor.id_field.as_deref(),
        };
        let items = page::items(body, &fields)?;
        self.check_order(&items)?;
        let next = self.next_of(request, answer, body)?;
        if next.as_ref().is_some_and(|next| *next == request.url) {
            return Err(Error::fatal(format!("{} says that it is its own next page", request.url)));
        }
        self.refused = 0;
        let is_first = self.next_page.is_none();
        self.last = items.last().map(|item| item.cursor.clone()).or(self.last.take());
        self.waiting.extend(items.into_iter().filter(|item| !self.progress.knows(item)));
        let nothing_new = self.waiting.is_empty();
        match next {
            Some(next) => self.next_page = Some(next),
            None => {
                self.end_of_listing();
                let tag = answer.header("etag").filter(|_| is_first && nothing_new);
                self.tag = tag.map(|tag| (request.url.clone(), tag.to_owned()));
            }
        }
        Ok(())
    }

    fn check_order(&self, items: &[Item]) -> Result<()> {
        let mut last = self.last.as_ref();
        for item in items {
            if let Some(last) = last.filter(|last| item.cursor.is_before(last)) {
                let (this, last) = (&item.cursor.0, &last.0);
                return Err(Error::fatal(format!(
                    "the answers are not sorted by cursor.field: an item with {this} came behind {last}"
                )));
            }
            last = Some(&item.cursor);
        }
        Ok(())
    }

    fn next_of(&self, request: &Request, answer: &Answer, body: &str) -> Result<Option<String>> {
        let (target, key) = match &self.config.pages {
            Pages::Link => (link::next_of(answer.headers("link")), "the header Link"),
            Pages::Field { path, parameter: None } => (page::text_at(body, path)?, "page.next.field"),
            Pages::Field { path, parameter: Some(parameter) } => {
                let token = page::text_at(body, path)?.filter(|token| !token.is_empty());
                return Ok(token.map(|token| link::with_parameter(&self.first_page(), parameter, &token)));
            }
        };
        let Some(target) = target.filter(|target| !target.is_empty()) else { return Ok(None) };
        let resolved = link::resolve(&request.url, &target);
        resolved.map(Some).ok_or_else(|| {
            Error::fatal(format!(
                "{key} leads to {target}: only pages of the same scheme, host and port as http.url are followed"
            ))
        })
    }

    fn end_of_listing(&mut self) {
        (self.next_page, self.last) = (None, None);
    }

    /// Whether a listing is under way, so that there is no need to wait for the next poll.
    pub(crate) fn is_in_listing(&self) -> bool {
        self.next_page.is_some()
    }

    /// How long to wait when there was nothing more.
    pub(crate) fn rest(&self, now: SystemTime) -> Duration {
        let due = self.not_before.and_then(|due| due.duration_since(now).ok()).unwrap_or_default();
        if self.is_in_listing() { due } else { due.max(self.config.poll_interval) }
    }
}

/// Seconds, or a date.
fn retry_after(text: &str, now: SystemTime) -> Option<Duration> {
    let wait = match text.trim().parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => httpdate::parse_http_date(text).ok()?.duration_since(now).unwrap_or_default(),
    };
    Some(wait.min(RETRY_AFTER_MAX))
}

/// The begin of a body, for messages.
fn excerpt(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(&body[..body.len().min(200)]);
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if text.is_empty() { String::new() } else { format!(" ({text})") }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;
    use crate::config::keys;

    fn poller(more: &[(&str, &str)]) -> Poller {
        let given = [("http.url", "http://api/tickets"), ("topic", "tickets"), ("cursor.field", "id")];
        let props = given.iter().chain(more).map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let config = Config::new(&keys().parse(&props).unwrap()).unwrap();
        let progress = Progress::from_start(config.cursor.initial.as_deref());
        Poller::new(config, progress)
    }

    fn ok(body: &str, headers: &[(&str, &str)]) -> Answer {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Answer { status: 200, headers, body: body.as_bytes().to_vec() }
    }

    fn send(poller: &mut Poller) -> Request {
        match poller.next(UNIX_EPOCH) {
            Step::Send(request) => request,
            Step::Wait(wait) => panic!("it waits for {wait:?}"),
        }
    }

    fn values(poller: &mut Poller) -> Vec<String> {
        poller.take(100).unwrap().into_iter().map(|(item, _)| item.value).collect()
    }

    #[test]
    fn it_asks_from_the_cursor_on_and_follows_links() {
        let mut poller = poller(&[("cursor.initial", "3")]);
        let first = send(&mut poller);
        assert_eq!(first.url, "http://api/tickets?since=3");
        poller
            .answered(&first, &ok(r#"[{"id":4},{"id":5}]"#, &[("Link", "</tickets?since=3&page=2>; rel=\"next\"")]), UNIX_EPOCH)
            .unwrap();
        assert_eq!(values(&mut poller), [r#"{"id":4}"#, r#"{"id":5}"#]);
        assert!(poller.is_in_listing());
        let second = send(&mut poller);
        assert_eq!(second.url, "http://api/tickets?since=3&page=2");
        poller.answered(&second, &ok(r#"[{"id":6}]"#, &[]), UNIX_EPOCH).unwrap();
        assert_eq!(values(&mut poller), [r#"{"id":6}"#]);
        assert!(!poller.is_in_listing());
        assert_eq!(send(&mut poller).url, "http://api/tickets?since=6");
    }

    #[test]
    fn a_token_of_the_answer_is_followed() {
        let mut poller = poller(&[("items.field", "data"), ("page.next.field", "meta.next"), ("page.next.parameter", "page")]);
        let first = send(&mut poller);
        poller.answered(&first, &ok(r#"{"data":[{"id":1}],"meta":{"next":"a b"}}"#, &[]), UNIX_EPOCH).unwrap();
        let second = send(&mut poller);
        assert_eq!(second.url, "http://api/tickets?page=a+b");
        poller.answered(&second, &ok(r#"{"data":[],"meta":{"next":null}}"#, &[]), UNIX_EPOCH).unwrap();
        assert!(!poller.is_in_listing());
    }

    #[test]
    fn nothing_new_is_asked_for_by_its_tag() {
        let mut poller = poller(&[]);
        let first = send(&mut poller);
        assert!(!first.headers.iter().any(|(name, _)| name == "if-none-match"));
        poller.answered(&first, &ok("[]", &[("ETag", "\"v1\"")]), UNIX_EPOCH).unwrap();
        let second = send(&mut poller);
        assert!(second.headers.contains(&("if-none-match".to_owned(), "\"v1\"".to_owned())), "{second:?}");
        poller.answered(&second, &Answer { status: 304, ..Answer::default() }, UNIX_EPOCH).unwrap();
        assert!(poller.is_drained() && send(&mut poller).headers.len() == second.headers.len());
    }

    #[test]
    fn a_tag_never_hides_items_that_were_not_given() {
        let mut poller = poller(&[]);
        let first = send(&mut poller);
        poller.answered(&first, &ok(r#"[{"id":1}]"#, &[("ETag", "\"v1\"")]), UNIX_EPOCH).unwrap();
        assert!(!send(&mut poller).headers.iter().any(|(name, _)| name == "if-none-match"));
    }

    #[test]
    fn a_refusal_is_obeyed() {
        let mut poller = poller(&[]);
        let request = send(&mut poller);
        let refused = |status, after: Option<&str>| {
            let headers = after.map(|after| ("Retry-After".to_owned(), after.to_owned())).into_iter().collect();
            Answer { status, headers, body: Vec::new() }
        };
        let mut waits = |answer: &Answer| {
            poller.not_before = None;
            poller.answered(&request, answer, UNIX_EPOCH).unwrap();
            poller.next(UNIX_EPOCH)
        };
        assert_eq!(waits(&refused(429, Some("7"))), Step::Wait(Duration::from_secs(7)));
        assert_eq!(waits(&refused(429, Some("Thu, 01 Jan 1970 00:01:40 GMT"))), Step::Wait(Duration::from_secs(100)));
        assert_eq!(waits(&refused(429, None)), Step::Wait(Duration::from_secs(4)));
        assert_eq!(waits(&refused(429, Some("soon"))), Step::Wait(Duration::from_secs(8)));
        assert_eq!(waits(&refused(503, Some("2"))), Step::Wait(Duration::from_secs(2)));
    }

    #[test]
    fn requests_keep_their_pace() {
        let mut poller = poller(&[("rate.limit.per.minute", "30")]);
        let request = send(&mut poller);
        poller.answered(&request, &ok(r#"[{"id":1}]"#, &[("link", "<?p=2>; rel=next")]), UNIX_EPOCH).unwrap();
        assert_eq!(poller.next(UNIX_EPOCH + Duration::from_millis(500)), Step::Wait(Duration::from_millis(1_500)));
        assert!(matches!(poller.next(UNIX_EPOCH + Duration::from_secs(2)), Step::Send(_)));
    }

    #[test]
    fn trouble_is_sorted_by_who_can_help() {
        use penstock_plugin::ErrorKind::{Config, Fatal, Retriable};
        let of_status = |status| {
            let mut poller = poller(&[]);
            let request = send(&mut poller);
            poller.answered(&request, &Answer { status, ..Answer::default() }, UNIX_EPOCH).unwrap_err().kind()
        };
        assert_eq!([500, 502, 503, 408].map(of_status), [Retriable; 4]);
        assert_eq!([400, 401, 403, 404, 302].map(of_status), [Config; 5]);
        let of_body = |body: &str, headers: &[(&str, &str)]| {
            let mut poller = poller(&[]);
            let request = send(&mut poller);
            poller.answered(&request, &ok(body, headers), UNIX_EPOCH).unwrap_err()
        };
        for (body, headers) in [
            ("<html>", &[][..]),
            (r#"[{"id":2},{"id":1}]"#, &[]),
            ("[]", &[("link", "<http://evil/steal>; rel=next")]),
            ("[]", &[("link", "<http://api/tickets>; rel=next")]),
        ] {
            assert_eq!(of_body(body, headers).kind(), Fatal, "{body} {headers:?}");
        }
    }
}
