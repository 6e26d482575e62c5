//! Every path with every method, and every body's path with bodies and media types that are wrong in every way.

use reqwest::Method;
use serde_json::json;

use super::step::{Like, Step, bare, get, raw, sink};

/// Table 1.1 of the contract; the methods are those of Connect.
const PATHS: &[(&str, &str)] = &[
    ("/", "GET"),
    ("/health", "GET"),
    ("/connectors", "GET POST"),
    ("/connectors/zz", "GET DELETE"),
    ("/connectors/zz/config", "GET PUT PATCH"),
    ("/connectors/zz/status", "GET"),
    ("/connectors/zz/tasks", "GET POST"),
    ("/connectors/zz/fence", "PUT"),
    ("/connectors/zz/tasks/0/status", "GET"),
    ("/connectors/zz/tasks/0/restart", "POST"),
    ("/connectors/zz/restart", "POST"),
    ("/connectors/zz/pause", "PUT"),
    ("/connectors/zz/resume", "PUT"),
    ("/connectors/zz/stop", "PUT"),
    ("/connectors/zz/offsets", "GET PATCH DELETE"),
    ("/connectors/zz/topics", "GET"),
    ("/connectors/zz/topics/reset", "PUT"),
    ("/connector-plugins", "GET"),
    ("/connector-plugins/zz/config", "GET"),
    ("/connector-plugins/zz/config/validate", "PUT"),
    ("/admin/loggers", "GET"),
    ("/admin/loggers/zz", "GET PUT"),
];

/// Those whose body is read.
const WITH_BODY: &[(&str, &str)] = &[
    ("POST", "/connectors"),
    ("PUT", "/connectors/zz/config"),
    ("PATCH", "/connectors/zz/config"),
    ("PATCH", "/connectors/zz/offsets"),
    ("PUT", "/connector-plugins/zz/config/validate"),
    ("PUT", "/admin/loggers/zz"),
];

/// No JSON, or not the JSON that is wanted.
const BODIES: [&str; 24] = [
    "",
    " ",
    "{",
    "}",
    "{}x",
    "[]",
    "[{}]",
    "\"text\"",
    "true",
    "1.5",
    "null",
    "{\"a\":}",
    "{\"a\" 1}",
    "{a: 1}",
    "{'a': 1}",
    "{\"a\": 1,}",
    "{\"a\": NaN}",
    "{\"a\": 01}",
    "{\"a\": \"\\x\"}",
    "{\"a\": \"\u{1}\"}",
    "{\"a\": [1]}",
    "{\"a\": {\"b\": 1}}",
    "/* c */ {}",
    "\u{feff}{}",
];

fn method(name: &str) -> Method {
    name.parse().expect("a method")
}

/// Methods that a path does not have, and what it says of those it has.
pub(super) fn methods() -> Vec<Step> {
    let mut steps = Vec::new();
    for (path, has) in PATHS {
        for name in ["GET", "PUT", "POST", "PATCH", "DELETE"].into_iter().filter(|name| !has.split(' ').any(|h| h == *name)) {
            steps.push(bare(method(name), *path));
        }
        steps.push(bare(Method::OPTIONS, *path));
        if has.contains("GET") {
            steps.push(bare(Method::HEAD, *path));
            steps.push(get(*path).accept("text/html"));
            // Listed with what differs from side to side.
            if !matches!(*path, "/admin/loggers" | "/connector-plugins") {
                steps.push(get(format!("{path}?forward=true&unknown=1")));
            }
        }
    }
    steps
}

/// Bodies that are no JSON, or not the JSON that is wanted. Texts are in the words of either side.
pub(super) fn bodies() -> Vec<Step> {
    let mut steps = Vec::new();
    for (name, path) in WITH_BODY {
        for body in BODIES {
            steps.push(raw(method(name), *path, body).like(Like::Shape));
        }
        for content_type in
            ["text/plain", "application/xml", "application/x-www-form-urlencoded", "application/json5", "text/json", "*/*"]
        {
            steps.push(raw(method(name), *path, "{}").content_type(Some(content_type)).like(Like::Shape));
        }
        for content_type in ["application/json; charset=utf-8", "application/json;charset=ISO-8859-1", "APPLICATION/JSON"] {
            steps.push(raw(method(name), *path, "{\"a\": [").content_type(Some(content_type)).like(Like::Shape));
        }
        steps.push(raw(method(name), *path, "{}").content_type(Some("json")).like(Like::Differs(400, 415)));
        steps.push(raw(method(name), *path, "{}").content_type(None));
    }
    steps
}

/// Calls between workers that nobody has signed, or not with the cluster's key.
pub(super) fn unsigned() -> Vec<Step> {
    let mut steps = Vec::new();
    for (name, path) in [("POST", "/connectors/zz/tasks"), ("PUT", "/connectors/zz/fence")] {
        let ask = |body: &str| raw(method(name), path, body);
        let signed = |signature: &str, algorithm: &str| {
            ask("[]").header("X-Connect-Authorization", signature).header("X-Connect-Request-Signature-Algorithm", algorithm)
        };
        steps.extend([
            ask("[]"),
            ask("[{}]"),
            ask("[]").header("X-Connect-Authorization", "AAAA"),
            ask("[]").header("X-Connect-Request-Signature-Algorithm", "HmacSHA256"),
            signed("AAAA", "HmacSHA256"),
            signed("", "HmacSHA256"),
            signed("no base64!", "HmacSHA256").like(Like::Shape),
            signed("AAAA", "HmacSHA512"),
            signed("AAAA", "HmacNope"),
            signed("AAAA", ""),
            raw(method(name), format!("{path}?forward=false"), "[]"),
            ask("[]").content_type(Some("text/plain")),
            ask("[]").content_type(None),
        ]);
    }
    steps.extend(BODIES.map(|body| raw(Method::POST, "/connectors/zz/tasks", body).like(Like::Shape)));
    steps
}

/// What a body of `POST /connectors` may hold.
pub(super) fn creations() -> Vec<Step> {
    let good = || sink(&json!({}));
    let post = |body: serde_json::Value| super::step::post("/connectors", &body);
    let shape = |body: serde_json::Value| post(body).like(Like::Shape);
    let mut steps = vec![
        shape(json!({"name": {}, "config": good()})),
        shape(json!({"name": [], "config": good()})),
        shape(json!({"name": "c1", "config": "x"})),
        shape(json!({"name": "c1", "config": null})),
        shape(json!({"name": "c1"})),
        shape(json!({"name": "c1", "config": good(), "initial_offsets": []})),
        post(json!({"name": "", "config": good()})),
        post(json!({"name": null, "config": good()})),
        post(json!({"name": "c1", "config": sink(&json!({"name": "c2"}))})),
        post(json!({"name": "c1", "config": sink(&json!({"name": " c1"}))})),
        post(json!({"name": "c1", "config": sink(&json!({"tasks.max": -1}))})),
        post(json!({"name": "c1", "config": sink(&json!({"topics": ""}))})),
        post(json!({"name": "c1", "config": sink(&json!({"topics": " , "}))})),
        shape(json!({"name": "c1", "config": sink(&json!({"topics.regex": "("}))})),
    ];
    for state in ["", " ", "running ", "DESTROYED", "UNASSIGNED"] {
        steps.push(shape(json!({"name": "c1", "config": good(), "initial_state": state})));
    }
    for state in [json!(5), json!(true), json!({}), json!([])] {
        steps.push(shape(json!({"name": "c1", "config": good(), "initial_state": state})));
    }
    for (state, shown) in [("RUNNING", "c2"), ("running", "c3"), ("Paused", "c4"), ("STOPPED", "c5")] {
        steps.push(post(json!({"name": shown, "config": good(), "initial_state": state})));
        steps.push(get(format!("/connectors/{shown}/status")));
        steps.push(get(format!("/connectors/{shown}")));
    }
    steps.push(get("/connectors?expand=info"));
    for name in ["c2", "c3", "c4", "c5"] {
        steps.push(super::step::delete(format!("/connectors/{name}")));
    }
    steps
}
