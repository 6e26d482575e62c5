//! The REST API against its own description: schemathesis asks what the description allows, and what it does not.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use penstock_tests::{Kafka, Worker, connect, ground, unique};

/// How long schemathesis may go on asking; it then says what it found.
const FUZZ_TIME_S: &str = "20";
/// What it asks when nobody chooses (`PENSTOCK_FUZZ_SEED=$RANDOM make test`): the same each time, so that a change is judged by itself.
const SEED: &str = "20261128";

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_as_described_whatever_is_asked() -> Result<()> {
    let kafka = Kafka::shared().await?;
    let topic = unique("fuzzed");
    kafka.create_topic(&topic, 1).await?;
    let worker = Worker::builder(kafka).start().await?;
    let config = connect::config([("connector.class", "Blackhole"), ("topics", &topic)]);
    worker.connect().create("fuzzed", &config).await?;
    worker.connect().wait_running("fuzzed", 1).await?;
    let seed = std::env::var("PENSTOCK_FUZZ_SEED").unwrap_or_else(|_| SEED.to_owned());
    let url = worker.connect().url().to_owned();
    let fuzzed = tokio::task::spawn_blocking({
        let seed = seed.clone();
        move || fuzz(&url, &seed)
    });
    let (ended_well, said) = fuzzed.await??;
    ensure!(ended_well, "PENSTOCK_FUZZ_SEED={seed} repeats this:\n{said}");
    ensure!(worker.connect().get("/health").await?.status == 200, "PENSTOCK_FUZZ_SEED={seed}: the worker is not well afterwards");
    ensure!(!worker.log_text().contains("panicked"), "PENSTOCK_FUZZ_SEED={seed}: {}", worker.log_text());
    Ok(())
}

/// Whether nothing was found, and what schemathesis said.
fn fuzz(url: &str, seed: &str) -> Result<(bool, String)> {
    let installed = ground::part("schemathesis")?;
    let python = ground::tree().join("tests/ground/python");
    // It keeps what it has learned in the folder it runs in.
    let folder = ground::data_dir("schemathesis")?;
    let checks = "only_the_server_errors_of_connect,status_code_conformance,content_type_conformance,response_headers_conformance,\
                  response_schema_conformance,use_after_free";
    let mut command = Command::new(installed.join("bin/schemathesis"));
    command.current_dir(&folder).env("PYTHONPATH", python).env("SCHEMATHESIS_HOOKS", "rest_checks").env_remove("http_proxy");
    command.args([
        "--no-color",
        "run",
        &format!("{url}/openapi.json"),
        "--checks",
        checks,
        "--seed",
        seed,
        "--max-time",
        FUZZ_TIME_S,
    ]);
    command.args(["--phases", "coverage,fuzzing", "--max-examples", "30", "--request-timeout", "100", "--warnings", "off"]);
    let output = command.output().context("run schemathesis")?;
    std::fs::remove_dir_all(folder).ok();
    let said = [output.stdout, output.stderr].concat();
    Ok((output.status.success(), String::from_utf8_lossy(&said).into_owned()))
}
