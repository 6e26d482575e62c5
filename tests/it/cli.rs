//! The command line's client, against our worker and against Java's: the same commands, what they say, and their exit codes.

use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context, Result};
use penstock_tests::worker::binary;
use penstock_tests::{JavaConnect, Kafka, Worker, ground, unique};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// What a command said.
struct Said {
    code: i32,
    out: String,
    err: String,
}

/// The worker that is asked, and the class of its sink.
struct Side {
    url: String,
    sink: &'static str,
    folder: tempfile::TempDir,
}

impl Side {
    fn new(url: &str, sink: &'static str) -> Result<Self> {
        Ok(Self { url: url.to_owned(), sink, folder: tempfile::tempdir()? })
    }

    async fn run(&self, line: &str) -> Result<Said> {
        self.run_with(line, "").await
    }

    async fn run_with(&self, line: &str, input: &str) -> Result<Said> {
        let mut command = Command::new(binary()?);
        command.args(line.split_whitespace()).env("PENSTOCK_URL", &self.url).kill_on_drop(true);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        child.stdin.take().context("stdin is a pipe")?.write_all(input.as_bytes()).await?;
        let output = child.wait_with_output().await?;
        Ok(Said {
            code: output.status.code().context("killed by a signal")?,
            out: String::from_utf8(output.stdout)?,
            err: String::from_utf8(output.stderr)?,
        })
    }

    /// Runs a command that goes well, and says these.
    async fn good(&self, line: &str, expected: &[&str]) -> Result<String> {
        let said = self.run(line).await?;
        assert_eq!(said.code, 0, "{} `penstock {line}`: {}{}", self.url, said.out, said.err);
        for text in expected {
            assert!(said.out.contains(text), "`penstock {line}` should say {text:?}, but said:\n{}", said.out);
        }
        Ok(said.out)
    }

    /// Runs a command that does not go well, and says these.
    async fn bad(&self, line: &str, code: i32, expected: &[&str]) -> Result<()> {
        let said = self.run(line).await?;
        assert_eq!(said.code, code, "{} `penstock {line}`: {}{}", self.url, said.out, said.err);
        for text in expected {
            assert!(said.err.contains(text), "`penstock {line}` should say {text:?}, but said:\n{}", said.err);
        }
        Ok(())
    }

    fn write(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text)?;
        Ok(path)
    }
}

#[tokio::test]
async fn the_command_line_steers_our_worker_and_javas() -> Result<()> {
    let kafka = Kafka::shared().await?;
    let plugins = tokio::task::spawn_blocking(|| ground::part("blackhole-java")).await??.join("plugins");
    let (java, ours) =
        tokio::join!(JavaConnect::builder(kafka).lean().plugin_path(plugins).start(), Worker::builder(kafka).start());
    let (java, ours) = (java?, ours?);
    for side in [
        Side::new(ours.connect().url(), "penstock.BlackholeSinkConnector")?,
        Side::new(java.connect().url(), "penstock.bench.BlackholeSink")?,
    ] {
        let topic = unique("cli");
        kafka.create_topic(&topic, 1).await?;
        apply(&side, &topic).await?;
        steer(&side, &topic).await?;
        look(&side).await?;
        delete(&side).await?;
    }
    Ok(())
}

async fn apply(side: &Side, topic: &str) -> Result<()> {
    let body =
        |tasks: u32| json!({"name": "orders", "config": {"connector.class": side.sink, "topics": topic, "tasks.max": tasks}});
    let file = side.write("orders.json", &body(1).to_string())?;
    let file = file.display();
    let is_new = format!("+ topics={topic}");
    side.good("connector list", &["NAME", "STATE"]).await?;
    side.good(&format!("connector apply -f {file} --dry-run"), &["orders would be created", &is_new]).await?;
    assert!(!side.good("connector list", &[]).await?.contains("orders"), "a dry run creates nothing");
    side.good(&format!("connector apply -f {file} --wait"), &["orders created", &is_new]).await?;
    side.good(&format!("connector apply -f {file}"), &["orders unchanged"]).await?;
    side.bad(&format!("connector create -f {file}"), 1, &["already exists"]).await?;

    side.write("orders.json", &body(2).to_string())?;
    side.good(&format!("connector apply -f {file} --dry-run"), &["would be changed", "~ tasks.max: 1 -> 2"]).await?;
    let changed = side.good(&format!("connector apply -f {file} --wait -o json"), &[]).await?;
    let changed: Value = serde_json::from_str(&changed)?;
    assert_eq!(changed, json!([{"name": "orders", "outcome": "changed", "changes": ["~ tasks.max: 1 -> 2"]}]));
    // What `get` writes, `apply` reads.
    let got = side.good("connector get orders -o json", &[topic]).await?;
    let said = side.run_with("connector apply -f -", &got).await?;
    assert_eq!((said.code, said.out.as_str()), (0, "orders unchanged\n"), "{}", said.err);

    let wrong =
        side.write("wrong.properties", &format!("name=wrong\nconnector.class={}\ntopics={topic}\ntasks.max=many\n", side.sink))?;
    let wrong = wrong.display();
    side.bad(&format!("connector apply -f {wrong} --dry-run"), 1, &["wrong: the worker would refuse it", "tasks.max: "]).await?;
    side.bad(&format!("connector apply -f {file} {wrong}"), 1, &["wrong: ", "tasks.max", "before that:\norders unchanged"])
        .await?;
    side.bad(&format!("plugin validate -f {wrong}"), 1, &["wrong has ", "tasks.max"]).await?;
    side.good(&format!("plugin validate -f {file}"), &["orders is good"]).await?;
    side.bad("connector apply -f no-such-file.json", 2, &["no-such-file.json"]).await?;
    side.bad(&format!("connector apply -f {file} {file}"), 2, &["another file names the connector orders"]).await
}

async fn steer(side: &Side, topic: &str) -> Result<()> {
    side.good("connector status orders --check", &["orders (sink)", "task 1", "RUNNING"]).await?;
    side.good("connector pause orders --wait", &["orders paused"]).await?;
    side.bad("connector status orders --check", 4, &["orders is PAUSED"]).await?;
    side.good("connector resume orders --wait", &["orders resumed"]).await?;
    side.good("connector restart orders --include-tasks --wait", &["orders restarted"]).await?;
    side.good("connector restart orders --include-tasks --only-failed", &["orders restarted"]).await?;
    side.good("task list orders", &["TASK", "RUNNING"]).await?;
    side.good("task status orders 0", &["RUNNING"]).await?;
    side.good("task get orders 0", &["topics", topic]).await?;
    side.good("task restart orders 0", &["orders-0 restarted"]).await?;
    side.bad("task restart orders 9", 3, &["orders-9"]).await?;
    side.bad("task get orders 9", 3, &["orders has no task 9"]).await?;
    side.good("connector offsets get orders", &["TOPIC", "OFFSET"]).await?;
    side.good("connector topics orders", &["TOPIC"]).await?;
    side.good("connector topics orders --reset", &["topics forgotten"]).await?;
    side.good("connector stop orders --wait", &["orders stopped"]).await.map(|_| ())
}

async fn look(side: &Side) -> Result<()> {
    side.good("connector list", &["orders", "STOPPED", side.sink]).await?;
    side.good("plugin list", &["sink", side.sink]).await?;
    let masks = "org.apache.kafka.connect.transforms.MaskField$Value";
    side.good("plugin list --all", &["transformation", masks]).await?;
    side.good(&format!("plugin describe {masks}"), &["fields", "LIST", "(required)"]).await?;
    side.bad("plugin describe org.acme.Nope", 3, &["org.acme.Nope"]).await?;
    let listed: Value = serde_json::from_str(&side.good("connector list -o json", &[]).await?)?;
    assert_eq!(listed["orders"]["status"]["connector"]["state"], "STOPPED");
    Ok(())
}

async fn delete(side: &Side) -> Result<()> {
    side.good("connector delete orders", &["orders deleted"]).await?;
    side.bad("connector get orders", 3, &["orders"]).await?;
    side.bad("connector delete orders", 3, &["orders"]).await
}

#[tokio::test]
async fn a_failed_task_is_told_with_its_reason() -> Result<()> {
    let kafka = Kafka::shared().await?;
    let topic = unique("cli-failed");
    kafka.create_topic(&topic, 1).await?;
    kafka.produce_values(&topic, ["{}"]).await?;
    let worker = Worker::builder(kafka).start().await?;
    let side = Side::new(worker.connect().url(), "Blackhole")?;
    let config = json!({"name": "f", "connector.class": "Blackhole", "topics": topic, "blackhole.fail.at.record": 1});
    let file = side.write("f.json", &config.to_string())?;
    worker
        .connect()
        .create(
            "f",
            &serde_json::from_value(json!({"connector.class": "Blackhole", "topics": topic, "blackhole.fail.at.record": "1"}))?,
        )
        .await?;
    worker.connect().wait_task_failed("f").await?;
    side.good("connector status f", &["FAILED", "task 0: org.apache.kafka.connect.errors.ConnectException"]).await?;
    side.good("connector status f --trace", &["told to fail at record 1"]).await?;
    side.bad("connector status f --check", 4, &["task 0 failed"]).await?;
    side.good("connector list", &["(1 FAILED)"]).await?;
    side.bad("connector restart f --include-tasks --wait", 4, &["f: task 0 failed"]).await?;
    side.good(&format!("connector apply -f {}", file.display()), &["f unchanged"]).await.map(|_| ())
}

#[tokio::test]
async fn a_worker_that_is_not_there_is_told_by_its_address() -> Result<()> {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let side = Side::new(&format!("http://{nobody}"), "")?;
    side.bad("connector list", 1, &["cannot reach the worker", &nobody.to_string(), "--url"]).await?;
    side.bad("connector list --url localhost", 2, &["--url localhost", "http://host:8083"]).await?;
    side.bad("connector list --user me", 2, &["NAME:PASSWORD"]).await?;
    side.bad("connector list --cacert /no/such/file", 2, &["--cacert /no/such/file"]).await
}

/// Every command says what it does, and those that do something show an example.
#[tokio::test]
async fn every_command_has_help() -> Result<()> {
    let side = Side::new("http://127.0.0.1:1", "")?;
    let mut waiting = vec![String::new()];
    let mut leaves = 0;
    while let Some(path) = waiting.pop() {
        let help = side.good(&format!("{path} --help"), &["Usage:"]).await?;
        let commands: Vec<&str> = help
            .lines()
            .skip_while(|line| !line.starts_with("Commands:"))
            .skip(1)
            .take_while(|line| !line.is_empty())
            .filter_map(|line| line.strip_prefix("  ").filter(|line| !line.starts_with(' '))?.split_whitespace().next())
            .filter(|command| *command != "help")
            .collect();
        waiting.extend(commands.iter().map(|command| format!("{path} {command}")));
        if commands.is_empty() {
            leaves += 1;
            assert!(help.contains("Example"), "`penstock{path} --help` shows no example:\n{help}");
        }
    }
    assert!(leaves > 15, "commands were found: {leaves}");
    Ok(())
}
