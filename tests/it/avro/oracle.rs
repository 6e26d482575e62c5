//! Java's side: Apicurio's converter, which is Confluent's with another client, with the same registry.

use std::process::Stdio;

use anyhow::{Context, Result, bail, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use penstock_tests::{Registry, ground};
use serde_json::{Value as Json, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

/// A process that answers a line with a line.
pub(super) struct Oracle {
    _process: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

impl Oracle {
    pub(super) async fn start(registry: &Registry) -> Result<Self> {
        let parts =
            tokio::task::spawn_blocking(|| Ok::<_, anyhow::Error>((ground::part("connect")?, ground::part("avro-converter")?)));
        let (connect, converter) = parts.await??;
        let source = ground::tree().join("tests/ground/java/avro-oracle/AvroOracle.java");
        let mut process = Command::new("java")
            .args(["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp"])
            .arg(format!("{}/lib/*:{}/lib/*", connect.display(), converter.display()))
            .arg(source)
            .arg(registry.apicurio_url())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .context("start java")?;
        let input = process.stdin.take().context("take the oracle's input")?;
        let output = BufReader::new(process.stdout.take().context("take the oracle's output")?).lines();
        Ok(Self { _process: process, input, output })
    }

    /// What Java reads: an envelope with schema and payload.
    pub(super) async fn read(&mut self, topic: &str, message: &[u8]) -> Result<Json> {
        let answer = self.ask(&json!({"topic": topic, "read": BASE64.encode(message)})).await?;
        Ok(serde_json::from_str(answer["envelope"].as_str().context("an envelope")?)?)
    }

    /// The message that Java writes for an envelope; its schema is registered.
    pub(super) async fn write(&mut self, topic: &str, envelope: &Json) -> Result<Vec<u8>> {
        let answer = self.ask(&json!({"topic": topic, "write": envelope.to_string()})).await?;
        Ok(BASE64.decode(answer["message"].as_str().context("a message")?)?)
    }

    async fn ask(&mut self, question: &Json) -> Result<Json> {
        self.input.write_all(format!("{question}\n").as_bytes()).await?;
        self.input.flush().await?;
        let line = self.output.next_line().await?.context("the oracle has ended")?;
        let answer: Json = serde_json::from_str(&line)?;
        if let Some(error) = answer.get("error") {
            bail!("Java says {error}: {} to {question}", answer["why"]);
        }
        ensure!(answer.is_object(), "Java says {answer}");
        Ok(answer)
    }
}
