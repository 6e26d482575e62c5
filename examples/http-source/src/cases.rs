//! Cases, natively and inside wasmtime: the source against an API that is a little strict.

use std::time::Duration;

use penstock_plugin::testing::{FailureKind, HttpAnswer, HttpServer, Next, TestRecord, json, run};

use crate::classes;

const CLASS: &str = "penstock.examples.HttpSource";

/// Tickets 1 to `last`, two on a page, by the parameter `since`, with an ETag.
fn tickets(last: u64) -> HttpServer {
    HttpServer::start(move |request| {
        let number = |name| request.parameter(name).map_or(0, |text| text.parse::<u64>().unwrap());
        let first = number("since").max(number("page")) + 1;
        let items: Vec<_> = (first..=last.min(first + 1)).map(|id| json!({"id": id, "text": format!("ticket {id}")})).collect();
        let tag = format!("\"{first}-{last}\"");
        if request.header("if-none-match") == Some(&tag) {
            return HttpAnswer::new(304, "").header("etag", &tag);
        }
        let answer = HttpAnswer::new(200, json!(items)).header("etag", &tag);
        if first + 1 < last { answer.header("link", &format!("</tickets?page={}>; rel=\"next\"", first + 1)) } else { answer }
    })
}

fn config<'c>(url: &'c str, host: &'c str) -> Vec<(&'c str, &'c str)> {
    vec![("http.url", url), ("topic", "tickets"), ("cursor.field", "id"), ("key.field", "id"), ("plugin.grants.hosts", host)]
}

fn ticket(url: &str, id: u64) -> TestRecord {
    let value = json!({"id": id, "text": format!("ticket {id}")});
    TestRecord::new("tickets").key(&*id.to_string()).value(value).from(json!({"url": url}), json!({"cursor": id.to_string()}))
}

#[test]
fn pages_are_followed_and_nothing_new_costs_nothing() {
    run(classes, |plugins| {
        let api = tickets(5);
        let (url, host) = (api.url("/tickets"), api.host());
        let mut task = plugins.source(CLASS, &config(&url, &host)).unwrap();
        let mut given = Vec::new();
        for _ in 0..3 {
            given.extend(task.poll().unwrap().records);
        }
        assert_eq!(given, [1, 2, 3, 4, 5].map(|id| ticket(&url, id)));
        for _ in 0..2 {
            let polled = task.poll().unwrap();
            assert_eq!((polled.records.len(), polled.next), (0, Next::Wait(Duration::from_secs(5))));
        }
        let asked = api.requests();
        assert_eq!(asked[3].target, "/tickets?since=5");
        assert_eq!(asked[4].header("if-none-match"), Some("\"6-5\""), "the second time by its tag");
    });
}

#[test]
fn it_goes_on_from_the_stored_cursor() {
    run(classes, |plugins| {
        let api = tickets(5);
        let (url, host) = (api.url("/tickets"), api.host());
        let stored = [(json!({"url": url}), json!({"cursor": "3"}))];
        let mut task = plugins.source_from(CLASS, &config(&url, &host), &stored).unwrap();
        assert_eq!(task.poll().unwrap().records, [4, 5].map(|id| ticket(&url, id)));
    });
}

#[test]
fn limits_are_obeyed_and_trouble_is_retriable() {
    run(classes, |plugins| {
        let mut answers = 0;
        let api = HttpServer::start(move |_| {
            answers += 1;
            match answers {
                1 => HttpAnswer::new(500, "on fire"),
                2 => HttpAnswer::none(),
                3 => HttpAnswer::new(429, "").header("retry-after", "9"),
                _ => HttpAnswer::new(403, "no"),
            }
        });
        let (url, host) = (api.url("/tickets"), api.host());
        let mut task = plugins.source(CLASS, &config(&url, &host)).unwrap();
        let burning = task.poll().unwrap_err();
        assert_eq!(burning.kind, FailureKind::Retriable);
        assert!(burning.message.contains("answered 500 (on fire)"), "{}", burning.message);
        assert_eq!(task.poll().unwrap_err().kind, FailureKind::Retriable, "a connection that breaks");
        let Next::Wait(wait) = task.poll().unwrap().next else { panic!("it does not wait") };
        assert!(wait > Duration::from_secs(7), "{wait:?}");
        assert!(matches!(task.poll().unwrap().next, Next::Wait(_)));
        assert_eq!(api.requests().len(), 3, "it leaves the API alone");

        let mut task = plugins.source(CLASS, &config(&url, &host)).unwrap();
        let forbidden = task.poll().unwrap_err();
        assert_eq!(forbidden.kind, FailureKind::Config);
        assert!(forbidden.message.contains("403"), "{}", forbidden.message);
    });
}

#[test]
fn wrong_configurations_are_told_at_their_keys() {
    run(classes, |plugins| {
        let keys = |more: &[(&str, &str)]| {
            let given = [("topic", "t"), ("cursor.field", "id")];
            let problems = plugins.validate(CLASS, &[&given, more].concat()).unwrap();
            problems.into_iter().map(|(key, _)| key).collect::<Vec<_>>()
        };
        assert_eq!(keys(&[("http.url", "http://a/b")]), Vec::<String>::new());
        assert_eq!(keys(&[("http.url", "a/b")]), ["http.url"]);
        assert_eq!(keys(&[("http.url", "http://a"), ("http.headers", "nonsense")]), ["http.headers"]);
        assert_eq!(plugins.plan(CLASS, &[("http.url", "http://a"), ("topic", "t"), ("cursor.field", "id")], 4).unwrap().len(), 1);
    });
}
