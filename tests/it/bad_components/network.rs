//! Components that reach out, through a real worker: what is granted works, what is not fails the task, and nobody sees a secret.

use penstock_tests::WebServer;

use super::*;

const SECRET: &str = "s3cret-that-nobody-sees";

/// A worker that grants much, with a secret in a file.
async fn granting(kafka: &Kafka, folder: &Path) -> Result<Worker> {
    fs::write(folder.join("secrets.properties"), format!("token={SECRET}\n"))?;
    worker(kafka)
        .property("plugin.grants.hosts", "*, 127.0.0.1, localhost")
        .property("plugin.grants.secrets", "to*")
        .property("penstock.plugin.http.response.max.bytes", 1 << 20)
        .property("penstock.plugin.network.connections.max", 4)
        .property("penstock.plugin.network.timeout.ms", 2_000)
        .property("config.providers", "file")
        .property("config.providers.file.class", "org.apache.kafka.common.config.provider.FileConfigProvider")
        .with_test_components()?
        .start()
        .await
}

fn fetching(topic: &str, url: &str, mode: &str, hosts: &str, more: &[(&str, &str)]) -> Config {
    let own = [("transforms.t.url", url), ("transforms.t.mode", mode), ("transforms.t.plugin.grants.hosts", hosts)];
    // Tolerance is for records; no record is to blame here.
    sink(topic, "penstock.tests.Fetch", &[&own[..], &[("errors.tolerance", "all")], more].concat())
}

#[tokio::test]
async fn what_reaches_for_more_than_it_was_granted_fails_its_task_alone() -> Result<()> {
    let (kafka, folder) = (Kafka::shared().await?, tempfile::tempdir()?);
    let worker = granting(kafka, folder.path()).await?;
    let connect = worker.connect();
    let (server, other) = (WebServer::start().await?, WebServer::start().await?);
    let topic = topic_of(kafka, &["{}"; 10]).await?;
    let healthy = unique("healthy");
    connect.create(&healthy, &sink(&topic, "penstock.tests.Identity", &[])).await?;
    let url = |host: &str, path: &str| format!("http://{host}:{}/{path}", server.port());
    let redirect = url("127.0.0.1", &format!("redirect?to=http://127.0.0.1:{}/hello", other.port()));
    let own = format!("127.0.0.1:{}", server.port());
    let cases = [
        ("by address", url("127.0.0.1", "hello"), "swallow", "api.example.com", "asked for 127.0.0.1:"),
        ("by name", url("localhost", "hello"), "fetch", "api.example.com", "asked for localhost:"),
        ("by a name that is loopback", url("2130706433", "hello"), "swallow", "*", "such an address (loopback) must itself be"),
        ("by redirect", redirect, "follow", own.as_str(), "which it was not granted"),
        ("without end", url("127.0.0.1", "endless"), "swallow", "127.0.0.1", "more than the 1048576 bytes"),
        ("too many at once", url("127.0.0.1", "silent"), "many", "127.0.0.1", "more than the 4 requests open"),
        ("a socket", own.clone(), "socket", "api.example.com", "asked for 127.0.0.1:"),
        ("a secret", url("127.0.0.1", "hello"), "secret", "127.0.0.1", "plugin.grants.secrets does not name"),
    ];
    for (what, url, mode, hosts, reason) in cases {
        let name = unique("reaches");
        let began = Instant::now();
        connect.create(&name, &fetching(&topic, &url, mode, hosts, &[])).await?;
        let trace = connect.wait_task_failed(&name).await?;
        println!("{what}: FAILED {:?} after it was created: {trace}", began.elapsed());
        has_all(&trace, &["plugin penstock.tests.Fetch", "network.wasm", reason])?;
        ensure!(kafka.committed(&format!("connect-{name}"), &topic).await?.values().all(|offset| *offset == 0), "{what}");
    }
    ensure!(other.seen().is_empty(), "{:?}", other.seen());
    connect.wait_running(&healthy, 1).await?;
    kafka.produce_values(&topic, &["{}"; 10]).await?;
    wait_settled(kafka, &healthy, &topic).await
}

#[tokio::test]
async fn sinks_and_sources_that_reach_out_fail_with_the_reason() -> Result<()> {
    let (kafka, folder) = (Kafka::shared().await?, tempfile::tempdir()?);
    let worker = granting(kafka, folder.path()).await?;
    let connect = worker.connect();
    let topic = topic_of(kafka, &["a", "b"]).await?;
    for mode in ["fetch", "swallow"] {
        let (sink, source) = (unique("sink"), unique("source"));
        let common = [("url", "http://127.0.0.1:9/"), ("mode", mode), ("tasks.max", "1"), ("topics", &topic), ("topic", &topic)];
        let text = ("value.converter", "org.apache.kafka.connect.storage.StringConverter");
        let mut config = config(common);
        config.extend([(text.0.to_owned(), text.1.to_owned()), ("connector.class".to_owned(), "CountSink".to_owned())]);
        config.remove("topic");
        connect.create(&sink, &config).await?;
        config.insert("connector.class".into(), "CountSource".into());
        config.remove("topics");
        config.insert("topic".into(), unique("elsewhere"));
        connect.create(&source, &config).await?;
        let reason =
            if mode == "fetch" { "asked for the secret \"token\"" } else { "asked for 127.0.0.1:9, which it was not granted" };
        has_all(&connect.wait_task_failed(&sink).await?, &["put records to plugin", reason])?;
        let reason = "asked for 127.0.0.1:9, which it was not granted";
        has_all(&connect.wait_task_failed(&source).await?, &["poll plugin", reason])?;
    }
    Ok(())
}

#[tokio::test]
async fn a_secret_is_sent_and_shown_to_nobody() -> Result<()> {
    let (kafka, folder) = (Kafka::shared().await?, tempfile::tempdir()?);
    let worker = granting(kafka, folder.path()).await?;
    let connect = worker.connect();
    let server = WebServer::start().await?;
    let topic = topic_of(kafka, &["a"]).await?;
    let (url, hosts) = (format!("http://127.0.0.1:{}/hello", server.port()), format!("127.0.0.1:{}", server.port()));
    let variable = format!("${{file:{}:token}}", folder.path().join("secrets.properties").display());
    let config = config([
        ("connector.class", "CountSink"),
        ("topics", &topic),
        ("mode", "fetch"),
        ("url", &url),
        ("value.converter", "org.apache.kafka.connect.storage.StringConverter"),
        ("plugin.grants.hosts", &hosts),
        ("plugin.grants.secrets", "token"),
        ("plugin.grants.secrets.token.value", &variable),
        ("plugin.grants.secrets.token.hosts", &hosts),
    ]);
    let name = unique("secret");
    connect.create(&name, &config).await?;
    wait_settled(kafka, &name, &topic).await?;
    ensure!(server.seen()[0].headers["authorization"] == SECRET, "{:?}", server.seen());
    for path in ["", "/config", "/tasks", "/status"] {
        let shown = connect.get(&format!("/connectors/{name}{path}")).await?.ok()?.to_string();
        ensure!(!shown.contains(SECRET), "{path} shows the secret");
        ensure!(path == "/status" || shown.contains(&variable), "{path} does not show what was written: {shown}");
    }
    let mut validated = config.clone();
    validated.insert("name".into(), name.clone());
    let infos = connect.put("/connector-plugins/CountSink/config/validate", &json!(validated)).await?.ok()?;
    ensure!(infos["error_count"] == 0 && !infos.to_string().contains(SECRET), "{infos}");
    ensure!(!worker.log_text().contains(SECRET), "the log shows the secret");

    // What is missing or beyond the ceiling is told at its key.
    let refused = |change: (&str, &str)| {
        let (mut changed, connect) = (config.clone(), connect.clone());
        changed.insert(change.0.into(), change.1.into());
        async move { connect.post("/connectors", &json!({"name": unique("refused"), "config": changed})).await }
    };
    for (change, says) in [
        (
            ("plugin.grants.secrets", "token, topsecret"),
            "secret topsecret has no value: set plugin.grants.secrets.topsecret.value",
        ),
        (
            ("plugin.grants.secrets", "password"),
            "password is beyond what this worker grants: plugin.grants.secrets in its worker file is to*",
        ),
        (
            ("plugin.grants.hosts", "10.0.0.0/8"),
            "10.0.0.0/8 is beyond what this worker grants: plugin.grants.hosts in its worker file is",
        ),
        (("plugin.grants.folders", "/etc"), "its worker file has no plugin.grants.folders, so it grants none"),
    ] {
        let answer = refused(change).await?;
        ensure!(answer.status == 400, "{answer:?}");
        has_all(answer.message(), &[says])?;
    }
    Ok(())
}

#[tokio::test]
async fn only_components_have_keys_for_grants() -> Result<()> {
    let kafka = Kafka::shared().await?;
    let worker = worker(kafka).with_test_components()?.start().await?;
    let keys = async |class: &str| -> Result<Vec<String>> {
        let listed = worker.connect().get(&format!("/connector-plugins/{class}/config")).await?.ok()?;
        let names = listed.as_array().context("a list")?.iter().filter_map(|key| key["name"].as_str());
        Ok(names.filter(|name| name.starts_with("plugin.grants.")).map(str::to_owned).collect())
    };
    ensure!(keys("Blackhole").await?.is_empty());
    let own = ["plugin.grants.hosts", "plugin.grants.secrets", "plugin.grants.folders", "plugin.grants.env"];
    for class in ["CountSink", "CountSource", "penstock.tests.Fetch"] {
        ensure!(keys(class).await? == own, "{class}: {:?}", keys(class).await?);
    }
    Ok(())
}
