//! Cases, natively and inside wasmtime: the sink against an endpoint that is a little strict.

use penstock_plugin::testing::{FailureKind, HttpAnswer, HttpRequest, HttpServer, TestRecord, json, run};

use crate::classes;

const CLASS: &str = "penstock.examples.HttpSink";

fn alert(id: u64) -> TestRecord {
    TestRecord::new("alerts").value(json!({"id": id}))
}

fn keys_of(requests: &[HttpRequest]) -> Vec<&str> {
    requests.iter().map(|request| request.header("idempotency-key").unwrap()).collect()
}

#[test]
fn each_record_is_sent_with_its_key() {
    run(classes, |plugins| {
        let endpoint = HttpServer::start(|_| HttpAnswer::new(204, ""));
        let (url, host) = (endpoint.url("/alerts"), endpoint.host());
        let config = [("http.url", &*url), ("http.headers", "X-From: penstock"), ("plugin.grants.hosts", &*host)];
        let mut task = plugins.sink(CLASS, &config).unwrap();
        task.open(&[("alerts", 3)]).unwrap();
        let tombstone = TestRecord::new("alerts").at(3, 8);
        assert_eq!(task.put([alert(1).at(3, 7), tombstone, alert(2).at(3, 9)]).unwrap(), []);
        assert_eq!(task.pre_commit().unwrap(), [("alerts".to_owned(), 3, 10)]);
        let requests = endpoint.requests();
        assert_eq!(keys_of(&requests), ["alerts-3-7", "alerts-3-9"]);
        assert_eq!((requests[0].body.as_str(), requests[0].method.as_str()), (r#"{"id":1}"#, "POST"));
        assert_eq!(
            (requests[0].header("x-from"), requests[0].header("content-type")),
            (Some("penstock"), Some("application/json"))
        );
    });
}

/// The component sends a secret that it never holds; natively there is no worker that could put it in.
#[test]
fn a_secret_goes_into_a_header() {
    run(classes, |plugins| {
        let endpoint = HttpServer::start(|_| HttpAnswer::new(204, ""));
        let (url, host) = (endpoint.url("/alerts"), endpoint.host());
        let config = [
            ("http.url", &*url),
            ("http.headers", "Authorization: Bearer {secret:token}"),
            ("plugin.grants.hosts", &*host),
            ("plugin.grants.secrets", "token"),
            ("plugin.grants.secrets.token.value", "s3cret"),
            ("plugin.grants.secrets.token.hosts", &*host),
        ];
        let mut task = plugins.sink(CLASS, &config).unwrap();
        task.open(&[("alerts", 0)]).unwrap();
        task.put([alert(1)]).unwrap();
        let expected = if plugins.are_components() { "Bearer s3cret" } else { "Bearer {{secret:token}}" };
        assert_eq!(endpoint.requests()[0].header("authorization"), Some(expected));

        let unknown = plugins.sink(CLASS, &[&config[..1], &[("http.headers", "X-Token: {secret:other}")]].concat()).err();
        assert_eq!(unknown.is_some(), plugins.are_components(), "a secret that was not granted: {unknown:?}");
    });
}

#[test]
fn trouble_is_waited_out_with_the_same_key() {
    run(classes, |plugins| {
        let mut answers = 0;
        let endpoint = HttpServer::start(move |_| {
            answers += 1;
            match answers {
                1 => HttpAnswer::new(503, "busy"),
                2 => HttpAnswer::none(),
                4 => HttpAnswer::new(429, "").header("retry-after", "5"),
                _ => HttpAnswer::new(200, "{}"),
            }
        });
        let (url, host) = (endpoint.url("/alerts"), endpoint.host());
        let config = [("http.url", &*url), ("retry.backoff.initial.ms", "5"), ("plugin.grants.hosts", &*host)];
        let mut task = plugins.sink(CLASS, &config).unwrap();
        task.open(&[("alerts", 0)]).unwrap();
        let later = task.put([alert(1), alert(2)]).unwrap_err();
        assert_eq!(later.kind, FailureKind::Retriable, "{}", later.message);
        assert_eq!(task.pre_commit().unwrap(), [], "nothing of it may be committed");
        assert_eq!(keys_of(&endpoint.requests()), ["alerts-0-0", "alerts-0-0", "alerts-0-0", "alerts-0-1"]);
        assert_eq!(task.put([alert(1), alert(2)]).unwrap_err().kind, FailureKind::Retriable, "it is left alone for 5 s");
        assert_eq!(endpoint.requests().len(), 4);
    });
}

#[test]
fn what_is_refused_goes_to_the_dead_letters_alone() {
    run(classes, |plugins| {
        let endpoint = HttpServer::start(|request| match request.body.contains("\"id\":13") {
            true => HttpAnswer::new(422, "unlucky"),
            false => HttpAnswer::new(200, r#"{"errors": []}"#),
        });
        let (url, host) = (endpoint.url("/alerts"), endpoint.host());
        let config = [
            ("http.url", &*url),
            ("batch.max.records", "4"),
            ("idempotency.field", "key"),
            ("errors.field", "errors"),
            ("plugin.grants.hosts", &*host),
        ];
        let mut task = plugins.sink(CLASS, &config).unwrap();
        task.open(&[("alerts", 0)]).unwrap();
        let reports = task.put([11, 12, 13, 14, 15].map(alert)).unwrap();
        assert_eq!(reports.len(), 1);
        assert_eq!((reports[0].offset, reports[0].failure.kind), (2, FailureKind::Data));
        assert_eq!(reports[0].failure.message, "the answer was 422 (unlucky)");
        assert_eq!(task.pre_commit().unwrap(), [("alerts".to_owned(), 0, 5)]);
        let requests = endpoint.requests();
        let expected = ["alerts-0-0-3", "alerts-0-0-1", "alerts-0-2-3", "alerts-0-2", "alerts-0-3", "alerts-0-4"];
        assert_eq!(keys_of(&requests), expected);
        assert_eq!(requests[1].body, r#"[{"key":"alerts-0-0","id":11},{"key":"alerts-0-1","id":12}]"#);
    });
}

#[test]
fn an_answer_may_name_single_records() {
    run(classes, |plugins| {
        let endpoint = HttpServer::start(|_| HttpAnswer::new(207, r#"{"errors": [{"index": 1, "message": "no such order"}]}"#));
        let (url, host) = (endpoint.url("/alerts"), endpoint.host());
        let config = [
            ("http.url", &*url),
            ("batch.max.records", "10"),
            ("idempotency.field", "key"),
            ("errors.field", "errors"),
            ("plugin.grants.hosts", &*host),
        ];
        let mut task = plugins.sink(CLASS, &config).unwrap();
        task.open(&[("alerts", 0)]).unwrap();
        let reports = task.put([alert(1), alert(2), TestRecord::new("alerts").value("no object")]).unwrap();
        let told: Vec<_> = reports.iter().map(|report| (report.offset, report.failure.message.as_str())).collect();
        assert_eq!(told, [(1, "no such order"), (2, "the value is no JSON object, so it cannot carry idempotency.field")]);
    });
}

#[test]
fn what_only_a_person_can_mend_ends_the_task() {
    run(classes, |plugins| {
        let endpoint = HttpServer::start(|_| HttpAnswer::new(401, "who are you"));
        let (url, host) = (endpoint.url("/alerts"), endpoint.host());
        let mut task = plugins.sink(CLASS, &[("http.url", &*url), ("plugin.grants.hosts", &*host)]).unwrap();
        task.open(&[("alerts", 0)]).unwrap();
        let refused = task.put([alert(1)]).unwrap_err();
        assert_eq!(refused.kind, FailureKind::Config);
        assert!(refused.message.contains("401 (who are you)"), "{}", refused.message);

        let unsafe_batch = plugins.sink(CLASS, &[("http.url", "http://a"), ("batch.max.records", "2")]).err().unwrap();
        assert!(unsafe_batch.message.contains("idempotency.field"), "{}", unsafe_batch.message);
    });
}
