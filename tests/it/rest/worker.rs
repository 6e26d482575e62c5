//! The worker itself, unusual HTTP, bodies that cannot be read.

use reqwest::Method;
use serde_json::json;

use super::step::{Like, Step, bare, delete, get, post, put, raw, sink};

pub(super) fn the_worker_itself() -> Vec<Step> {
    vec![
        get("/"),
        bare(Method::HEAD, "/"),
        get("/health"),
        get("/health/"),
        get("/connectors"),
        get("/connectors/"),
        get("/admin/loggers/no.such.logger"),
        put("/admin/loggers/x.y", &json!({"level": "FOO"})),
        put("/admin/loggers/x.y", &json!({"level": 5})),
        put("/admin/loggers/x.y", &json!({})),
        raw(Method::PUT, "/admin/loggers/x.y", "").like(Like::Shape),
        put("/admin/loggers/x.y", &json!({"level": "info"})),
        put("/admin/loggers/x.y?scope=foo", &json!({"level": "DEBUG"})),
        put("/admin/loggers/x.y?scope=cluster", &json!({"level": "DEBUG"})),
        get("/admin/loggers/x.y"),
        delete("/admin/loggers/x.y"),
        get("/admin"),
    ]
}

pub(super) fn unusual_http() -> Vec<Step> {
    vec![
        get("/nope"),
        get("/nope").accept("text/html"),
        bare(Method::PUT, "/connectors"),
        delete("/"),
        bare(Method::PATCH, "/connectors/zz"),
        bare(Method::PUT, "/health"),
        bare(Method::TRACE, "/"),
        bare(Method::from_bytes(b"FOO").expect("a method"), "/"),
        bare(Method::HEAD, "/connectors"),
        bare(Method::OPTIONS, "/nope"),
        post("/connector-plugins", &json!({})),
        bare(Method::POST, "/connectors/zz/topics/reset"),
        get("/connector-plugins/x"),
        get("/connector-plugins/x/config/validate"),
        get("/connectors").accept("text/plain"),
        get("/connectors").accept("text/html, */*;q=0.1"),
        get("/connectors").accept("application/*"),
        get("/connectors?foo=bar"),
        raw(Method::POST, "/connectors", "a=b").content_type(Some("text/plain")),
        raw(Method::POST, "/connectors", "{}").content_type(None),
        raw(Method::PUT, "/connectors/zz/pause", "x").content_type(Some("text/plain")),
        raw(Method::POST, "/connectors/zz", "x").content_type(Some("text/plain")),
        raw(Method::PUT, "/connectors/zz/config", "{}").content_type(Some("application/xml")),
        get("/connectors/zz/tasks-config"),
    ]
}

pub(super) fn unreadable_bodies() -> Vec<Step> {
    let mut steps = Vec::new();
    for body in ["{bad", "", "null", "5", "\"x\"", "[\"a\"]", "{} x", "{\"name\":\"b\"}"] {
        steps.push(raw(Method::POST, "/connectors", body).like(Like::Shape));
    }
    for body in ["{", "", "null", "[1]", "7"] {
        steps.push(raw(Method::PUT, "/connectors/zz/config", body).like(Like::Shape));
        steps.push(raw(Method::PUT, "/connector-plugins/x/config/validate", body).like(Like::Shape));
    }
    for body in ["{", "[1]", "7"] {
        steps.push(raw(Method::PATCH, "/connectors/zz/config", body).like(Like::Shape));
    }
    let bodies = [
        json!({"name": "b", "config": {}, "x": 1}),
        json!({"name": "b", "config": []}),
        json!({"name": "b", "config": sink(&json!({"tasks.max": {"a": 1}}))}),
        json!({"name": "b", "config": sink(&json!({"topics": ["a"]}))}),
        json!({"name": "b", "config": sink(&json!({})), "initial_state": "foo"}),
    ];
    steps.extend(bodies.iter().map(|body| post("/connectors", body).like(Like::Shape)));
    steps
}
