//! The truth table of restarts (KIP-745), on a connector one of whose tasks fails, and on one that cannot even plan.

use anyhow::Result;
use penstock_tests::Kafka;
use reqwest::Method;
use serde_json::json;

use super::side::SIDE;
use super::step::{Like, Step, bare, create, delete, get, put, sink};

const TOPIC: &str = "rest-poison";

/// A record that no JSON converter reads.
pub(super) async fn poison(kafka: &Kafka) -> Result<()> {
    kafka.create_topic(TOPIC, 1).await?;
    kafka.produce_values(TOPIC, ["{bad"]).await
}

pub(super) fn truth_table() -> Vec<Step> {
    // A task may still be shown as FAILED that is about to be restarted, by the request before.
    let restart =
        |query: &str| bare(Method::POST, format!("/connectors/fails/restart{query}")).at_rest("/connectors/fails/status");
    let status = || get("/connectors/fails/status");
    let failed = || get("/connectors/fails/tasks/0/status").until("FAILED");
    // In groups of their own: in one, only one side would get the record.
    let group = format!("rest-fails-{SIDE}");
    // The one partition goes to the first task.
    let mut steps = vec![
        create("fails", &json!({"topics": TOPIC, "tasks.max": 2, "consumer.override.group.id": group})),
        status(),
        failed(),
        status(),
    ];
    for query in [
        "",
        "?includeTasks=false&onlyFailed=false",
        "?onlyFailed=true",
        "?includeTasks=true",
        "?includeTasks=true&onlyFailed=true",
        "?includeTasks=TRUE&onlyFailed=True",
        "?includeTasks=1",
        "?includeTasks",
        "?includeTasks=",
        "?includeTasks=true&includeTasks=false",
        "?INCLUDETASKS=true",
    ] {
        steps.extend([restart(query), failed(), status()]);
    }
    steps.extend([
        bare(Method::POST, "/connectors/fails/tasks/0/restart"),
        failed(),
        bare(Method::POST, "/connectors/fails/tasks/1/restart"),
        status(),
        // Failed tasks do not become paused.
        bare(Method::PUT, "/connectors/fails/pause"),
        status(),
        restart("?includeTasks=true"),
        status(),
        bare(Method::POST, "/connectors/fails/tasks/0/restart"),
        bare(Method::PUT, "/connectors/fails/resume"),
        failed(),
        bare(Method::PUT, "/connectors/fails/stop"),
        status(),
        restart(""),
        restart("?includeTasks=true"),
        restart("?onlyFailed=true"),
        // It had that task; Java remembers it, and finds nobody who has it.
        bare(Method::POST, "/connectors/fails/tasks/0/restart").like(Like::Differs(409, 404)),
        status(),
        put(
            "/connectors/fails/config",
            &sink(&json!({"topics": TOPIC, "errors.tolerance": "all", "consumer.override.group.id": group})),
        ),
        bare(Method::PUT, "/connectors/fails/resume"),
        status(),
        delete("/connectors/fails"),
    ]);
    steps
}
