//! Connectors: unknown ones, the life of one, refused configurations, odd names.

use reqwest::Method;
use serde_json::json;

use super::step::{Like, SINK, Step, bare, create, delete, get, patch, post, put, raw, sink};

pub(super) fn unknown_connectors() -> Vec<Step> {
    vec![
        get("/connectors/zz"),
        get("/connectors/zz/"),
        get("/connectors/zz/config"),
        get("/connectors/zz/status"),
        get("/connectors/zz/tasks"),
        get("/connectors/zz/tasks/0/status"),
        get("/connectors/zz/tasks/-1/status"),
        get("/connectors/zz/tasks/x/status"),
        get("/connectors/zz/tasks/99999999999/status"),
        get("/connectors/zz/offsets"),
        get("/connectors/zz/topics"),
        bare(Method::PUT, "/connectors/zz/topics/reset"),
        bare(Method::PUT, "/connectors/zz/pause"),
        bare(Method::PUT, "/connectors/zz/resume"),
        bare(Method::PUT, "/connectors/zz/stop"),
        bare(Method::POST, "/connectors/zz/restart"),
        bare(Method::POST, "/connectors/zz/restart?includeTasks=true"),
        bare(Method::POST, "/connectors/zz/restart?onlyFailed=true"),
        bare(Method::POST, "/connectors/zz/tasks/0/restart"),
        patch("/connectors/zz/config", &json!({"x": "y"})),
        delete("/connectors/zz"),
    ]
}

pub(super) fn a_connectors_life() -> Vec<Step> {
    vec![
        create("life", &json!({"tasks.max": 2})),
        get("/connectors"),
        get("/connectors/life"),
        get("/connectors/life/config"),
        get("/connectors/life/status"),
        get("/connectors/life/tasks"),
        get("/connectors/life/tasks/1/status"),
        get("/connectors/life/tasks/7/status"),
        get("/connectors/life/offsets"),
        get("/connectors/life/topics"),
        get("/connectors?expand=status"),
        get("/connectors?expand=info&expand=status"),
        get("/connectors?expand=foo"),
        get("/connectors?expand=info,status"),
        get("/connectors?expand="),
        create("life", &json!({})),
        put("/connectors/life/config", &sink(&json!({"topics": "rest-t1,rest-t2"}))),
        get("/connectors/life/config"),
        get("/connectors/life/status"),
        patch("/connectors/life/config", &json!({"tasks.max": 2, "x": "y"})),
        get("/connectors/life"),
        patch("/connectors/life/config", &json!({"x": null, "tasks.max": null})),
        get("/connectors/life"),
        patch("/connectors/life/config", &json!({"tasks.max": "x"})),
        patch("/connectors/life/config", &json!({"connector.class": null})),
        bare(Method::PUT, "/connectors/life/pause"),
        get("/connectors/life/status"),
        bare(Method::PUT, "/connectors/life/pause"),
        raw(Method::PUT, "/connectors/life/resume", "{bad"),
        get("/connectors/life/status"),
        bare(Method::POST, "/connectors/life/restart"),
        get("/connectors/life/status"),
        bare(Method::POST, "/connectors/life/restart?includeTasks=TRUE"),
        get("/connectors/life/status"),
        bare(Method::POST, "/connectors/life/restart?includeTasks=true&onlyFailed=true"),
        bare(Method::POST, "/connectors/life/restart?onlyFailed=true"),
        bare(Method::POST, "/connectors/life/restart?includeTasks=foo"),
        get("/connectors/life/status"),
        bare(Method::POST, "/connectors/life/tasks/0/restart"),
        bare(Method::POST, "/connectors/life/tasks/9/restart"),
        bare(Method::POST, "/connectors/life/tasks/-1/restart"),
        bare(Method::POST, "/connectors/life/tasks/x/restart"),
        get("/connectors/life/status"),
        bare(Method::PUT, "/connectors/life/stop"),
        get("/connectors/life/status"),
        get("/connectors/life"),
        get("/connectors/life/tasks"),
        bare(Method::PUT, "/connectors/life/resume"),
        get("/connectors/life/status"),
        delete("/connectors/life"),
        get("/connectors/life"),
        get("/connectors"),
        put("/connectors/other/config", &sink(&json!({}))),
        get("/connectors/other/status"),
        raw(Method::DELETE, "/connectors/other", "{\"x\": 1}"),
        post("/connectors", &json!({"name": "p", "initial_state": "PAUSED", "config": sink(&json!({}))})),
        get("/connectors/p/status"),
        post("/connectors", &json!({"name": "s", "initial_state": "stopped", "config": sink(&json!({}))})),
        get("/connectors/s/status"),
        get("/connectors/s/tasks"),
        post("/connectors", &json!({"name": 5, "initial_state": null, "config": sink(&json!({}))})),
        get("/connectors/5/status"),
        delete("/connectors/p"),
        delete("/connectors/s"),
        delete("/connectors/5"),
        get("/connectors"),
    ]
}

pub(super) fn refused_configurations() -> Vec<Step> {
    let mut steps = vec![
        post("/connectors", &json!({"name": "b", "config": {}})),
        post("/connectors", &json!({"name": "b", "config": {"connector.class": "nope"}})).like(Like::Shape),
        post("/connectors", &json!({"config": sink(&json!({}))})),
        post("/connectors", &json!({"name": "  ", "config": sink(&json!({}))})),
        post("/connectors", &json!({"config": sink(&json!({"name": "d"}))})),
        put("/connectors/b/config", &json!({})),
        put("/connectors/b/config", &sink(&json!({"name": "q"}))),
        put("/connectors/b/config", &json!({"connector.class": SINK, "topics": true, "tasks.max": 1.5})),
        post("/connectors", &json!({"name": "b", "config": {"connector.class": SINK, "topics": "t", "tasks.max": null}})),
    ];
    for (changes, like) in [
        (json!({"name": "c"}), Like::Equal),
        (json!({"tasks.max": "x"}), Like::Equal),
        (json!({"tasks.max": "0", "errors.tolerance": "some"}), Like::Equal),
        (json!({"topics": null}), Like::Equal),
        (json!({"topics.regex": "x.*"}), Like::Equal),
        (json!({"errors.deadletterqueue.topic.name": "rest-t1"}), Like::Equal),
        (json!({"key.converter": "nope"}), Like::Equal),
        (json!({"transforms": "a,a", "transforms.a.type": "org.apache.kafka.connect.transforms.Filter"}), Like::Equal),
        (json!({"transforms": "a", "transforms.a.type": "nope"}), Like::Equal),
    ] {
        steps.push(create("b", &changes).like(like));
    }
    steps
}

pub(super) fn odd_names() -> Vec<Step> {
    vec![
        create("x y", &json!({})),
        get("/connectors/x%20y"),
        get("/connectors/x+y"),
        delete("/connectors/x%20y"),
        create("\u{fc}", &json!({})),
        get("/connectors/%C3%BC"),
        delete("/connectors/%C3%BC"),
        create("a?b#c+", &json!({})),
        get("/connectors/a%3Fb%23c+"),
        get("/connectors/a%3Fb%23c%2B"),
        delete("/connectors/a%3Fb%23c+"),
        create(" t ", &json!({})),
        get("/connectors/t"),
        delete("/connectors/t"),
        create("a\u{1}b", &json!({})),
        get("/connectors/%zz").like(Like::Differs(400, 404)),
        get("/connectors/%ff").like(Like::Differs(400, 400)),
        create("a/b", &json!({})).like(Like::Differs(201, 201)),
        get("/connectors/a%2Fb").like(Like::Differs(400, 200)),
        delete("/connectors/a%2Fb").like(Like::Differs(400, 204)),
    ]
}
