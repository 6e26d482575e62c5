//! Components that are broken, wrong, greedy or endless, through a real worker: what users are told over REST, that only the task
//! concerned fails, and that no record is lost. The host alone is tried in `plugins.rs`.

mod network;
mod sinks;
mod sources;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use penstock_tests::connect::{Config, config};
use penstock_tests::{Connect, Kafka, Message, Worker, ground, guests, unique, wait_until};
use reqwest::Method;
use serde_json::{Value, json};

const LIMIT: Duration = Duration::from_secs(60);
const POISON: &str = r#"{"poison":"yes"}"#;

/// A worker whose components are compiled once for all tests, and whose calls may take a moment only.
fn worker(kafka: &Kafka) -> penstock_tests::worker::Builder {
    Worker::builder(kafka)
        .property("penstock.plugin.cache.dir", ground::target_dir().join("component-cache").display())
        .property("penstock.plugin.call.timeout.ms", 300)
        .property("offset.flush.interval.ms", 300)
}

/// Puts components of the tests into a folder.
fn install(folder: &Path, names: &[&str]) -> Result<()> {
    for name in names {
        fs::copy(guests::component(name)?, folder.join(name).with_extension("wasm"))?;
    }
    Ok(())
}

/// A sink that counts, behind one transform.
fn sink(topic: &str, class: &str, more: &[(&str, &str)]) -> Config {
    let mut sink = config([
        ("connector.class", "Blackhole"),
        ("topics", topic),
        ("transforms", "t"),
        ("transforms.t.type", class),
        ("errors.deadletterqueue.topic.replication.factor", "1"),
        ("errors.deadletterqueue.context.headers.enable", "true"),
    ]);
    sink.extend(more.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
    sink
}

/// The same, going on past records that fail, which are kept in a topic.
fn tolerant(topic: &str, class: &str, dead: &str) -> Config {
    sink(topic, class, &[("errors.tolerance", "all"), ("errors.deadletterqueue.topic.name", dead)])
}

/// A topic of one partition with these values.
async fn topic_of(kafka: &Kafka, values: &[&str]) -> Result<String> {
    let topic = unique("components");
    kafka.create_topic(&topic, 1).await?;
    kafka.produce_values(&topic, values).await?;
    Ok(topic)
}

async fn restart_task(connect: &Connect, name: &str) -> Result<()> {
    connect.send(Method::POST, &format!("/connectors/{name}/tasks/0/restart"), None).await?.ok().map(drop)
}

async fn wait_settled(kafka: &Kafka, connector: &str, topic: &str) -> Result<()> {
    penstock_tests::java::wait_drained(kafka, connector, topic, LIMIT).await
}

/// What validation says is wrong, by key.
async fn errors_of(connect: &Connect, config: &Config) -> Result<Vec<(String, String)>> {
    let mut config = config.clone();
    config.insert("name".into(), "validated".into());
    let answer = connect.put("/connector-plugins/Blackhole/config/validate", &json!(config)).await?.ok()?;
    let infos = answer["configs"].as_array().context("validation answers configs")?;
    let of_key = |info: &Value| -> Vec<(String, String)> {
        let name = info["value"]["name"].as_str().unwrap_or_default();
        let errors = info["value"]["errors"].as_array().into_iter().flatten();
        errors.map(|error| (name.to_owned(), error.as_str().unwrap_or_default().to_owned())).collect()
    };
    Ok(infos.iter().flat_map(of_key).collect())
}

fn has_all(text: &str, parts: &[&str]) -> Result<()> {
    for part in parts {
        ensure!(text.contains(part), "{part:?} is missing in: {text}");
    }
    Ok(())
}

#[tokio::test]
async fn files_that_are_no_plugins_are_named_to_whoever_misses_their_class() -> Result<()> {
    let kafka = Kafka::shared().await?;
    let folder = tempfile::tempdir()?;
    install(folder.path(), &["older-contract", "traps-at-start", "no-plugin", "predicates"])?;
    let whole = fs::read(guests::component("well-behaved")?)?;
    fs::write(folder.path().join("cut.wasm"), &whole[..whole.len() / 2])?;
    let (no_folder, gone) = (folder.path().join("notes.txt"), folder.path().join("gone"));
    fs::write(&no_folder, "no component")?;
    let started = worker(kafka).plugin_path(folder.path()).plugin_path(&no_folder).plugin_path(&gone).start().await?;
    let connect = started.connect();

    let log = started.log_text();
    for (file, reason) in [
        ("cut.wasm", "no valid WebAssembly component"),
        ("older-contract.wasm", "built for penstock:connect/transform@0.0.9, but this worker speaks penstock:connect@0.1.0"),
        ("traps-at-start.wasm", "no licence file found"),
        ("no-plugin.wasm", "a component, but no plugin"),
        ("notes.txt", "neither a folder nor a component"),
        ("gone", "it stands in plugin.path but cannot be read"),
    ] {
        let path = folder.path().join(file).display().to_string();
        let told =
            log.lines().any(|line| line.contains("a plugin was left out") && line.contains(&path) && line.contains(reason));
        ensure!(told, "no warning about {path} ({reason}) in: {log}");
    }

    let topic = topic_of(kafka, &[r#"{"country":"DE"}"#, r#"{"country":"FR"}"#]).await?;
    let missing = sink(&topic, "com.example.Missing", &[]);
    let said =
        "Invalid value com.example.Missing for configuration transforms.t.type: Class com.example.Missing could not be found.";
    let hints =
        ["it may be in a file of plugin.path that could not be used", "cut.wasm", "older-contract.wasm", "update the worker"];
    let errors = errors_of(connect, &missing).await?;
    let (_, error) = errors.iter().find(|(key, _)| key == "transforms.t.type").context("an error at the key")?;
    has_all(error, &[&[said], &hints[..]].concat())?;
    let refused = connect.post("/connectors", &json!({"name": "missing", "config": missing})).await?;
    ensure!(refused.status == 400, "{refused:?}");
    has_all(refused.message(), &[&[said], &hints[..]].concat())?;
    ensure!(connect.get("/connectors/missing").await?.status == 404);

    // The component beside them works.
    let name = unique("beside");
    let more = [
        ("transforms.t.predicate", "p"),
        ("predicates", "p"),
        ("predicates.p.type", "CountryIs"),
        ("predicates.p.country", "DE"),
    ];
    connect.create(&name, &sink(&topic, "org.apache.kafka.connect.transforms.Filter", &more)).await?;
    connect.wait_running(&name, 1).await?;
    wait_settled(kafka, &name, &topic).await
}

#[tokio::test]
async fn a_class_that_cannot_start_fails_its_own_task_alone() -> Result<()> {
    let kafka = Kafka::shared().await?;
    let worker = worker(kafka).property("penstock.plugin.memory.max.bytes", 16 << 20).with_test_components()?.start().await?;
    let connect = worker.connect();
    let topic = topic_of(kafka, &[r#"{"n":1}"#]).await?;
    let healthy = unique("healthy");
    connect.create(&healthy, &sink(&topic, "penstock.tests.Identity", &[])).await?;
    for (class, reasons) in [
        ("TrapAtConfigure", &["the plugin trapped", "its last words: ", "no licence for this task"][..]),
        ("LoopAtConfigure", &["did not return within 300 ms (penstock.plugin.call.timeout.ms)"]),
        ("RefuseConfiguration", &["configure plugin penstock.tests.RefuseConfiguration", "`mode` must not be `x`"]),
    ] {
        let name = unique(class);
        let began = Instant::now();
        connect.create(&name, &sink(&topic, class, &[])).await?;
        let trace = connect.wait_task_failed(&name).await?;
        println!("{class}: FAILED {:?} after it was created: {trace}", began.elapsed());
        has_all(&trace, reasons)?;
        has_all(&trace, &["start transform t", &format!("penstock.tests.{class}"), "hostile.wasm"])?;
        ensure!(kafka.committed(&format!("connect-{name}"), &topic).await?.is_empty(), "it has read nothing");
        // Said again after a restart, not forgotten.
        restart_task(connect, &name).await?;
        has_all(&connect.wait_task_failed(&name).await?, reasons)?;
    }
    connect.wait_running(&healthy, 1).await?;
    wait_settled(kafka, &healthy, &topic).await?;

    // The cap of the worker file holds.
    let (name, dead) = (unique("hoards"), unique("dead"));
    let poison = topic_of(kafka, &["{}", POISON]).await?;
    connect.create(&name, &tolerant(&poison, "HogOnPoison", &dead)).await?;
    wait_settled(kafka, &name, &poison).await?;
    let letters = kafka.read(&dead).await?;
    ensure!(letters.len() == 1, "{letters:?}");
    has_all(&reason(&letters[0]), &["more than the 16 MiB of memory", "penstock.plugin.memory.max.bytes"])
}

fn reason(letter: &Message) -> String {
    letter.header("__connect.errors.exception.message").unwrap_or_default()
}

#[tokio::test]
async fn records_that_break_a_plugin_are_dead_letters_and_neighbours_go_on() -> Result<()> {
    let kafka = Kafka::shared().await?;
    let worker = worker(kafka).with_test_components()?.start().await?;
    let connect = worker.connect();
    let mut values = vec!["{}"; 40];
    values[17] = POISON;
    let topic = topic_of(kafka, &values).await?;
    let cases: [(&str, &[&str]); 5] = [
        ("TrapOnPoison", &["the plugin trapped", "cannot stand poison"]),
        ("LoopOnPoison", &["did not return within", "penstock.plugin.call.timeout.ms"]),
        ("SleepOnPoison", &["did not return within", "penstock.plugin.call.timeout.ms"]),
        ("HogOnPoison", &["needs more than the 64 MiB of memory", "penstock.plugin.memory.max.bytes"]),
        ("MisuseOnPoison", &["the plugin misused batch.set-text: the last end offset is 4000000000"]),
    ];
    let began = Instant::now();
    let mut running = Vec::new();
    for (class, reasons) in cases {
        let (name, dead) = (unique(class), unique("dead"));
        connect.create(&name, &tolerant(&topic, class, &dead)).await?;
        running.push((class, reasons, name, dead));
    }
    let healthy = unique("healthy");
    connect.create(&healthy, &sink(&topic, "penstock.tests.Identity", &[])).await?;
    wait_settled(kafka, &healthy, &topic).await?;
    println!("the neighbour was through after {:?}", began.elapsed());
    for (class, reasons, name, dead) in running {
        wait_settled(kafka, &name, &topic).await?;
        println!("{class} was through after {:?}", began.elapsed());
        let letters = kafka.read(&dead).await?;
        ensure!(letters.len() == 1, "{class}: only the poison is a dead letter: {letters:?}");
        ensure!(letters[0].value.as_deref() == Some(POISON.as_bytes()), "{class}: {:?}", letters[0]);
        has_all(&reason(&letters[0]), reasons)?;
        has_all(&reason(&letters[0]), &["hostile.wasm"])?;
        let header = |name: &str| letters[0].header(&format!("__connect.errors.{name}")).unwrap_or_default();
        ensure!(header("stage") == "TRANSFORMATION" && header("class.name") == format!("penstock.tests.{class}"), "{letters:?}");
        ensure!(header("connector.name") == name && header("offset") == "17", "{letters:?}");
        connect.wait_running(&name, 1).await?;
    }
    Ok(())
}

#[tokio::test]
async fn without_tolerance_the_task_fails_and_the_record_waits() -> Result<()> {
    let kafka = Kafka::shared().await?;
    let worker = worker(kafka).with_test_components()?.start().await?;
    let connect = worker.connect();
    let topic = topic_of(kafka, &["{}", "{}", POISON, "{}"]).await?;
    for (class, reasons) in [
        ("TrapOnPoison", &["the plugin trapped", "cannot stand poison", "hostile.wasm", "errors.tolerance=all"][..]),
        ("LoopOnPoison", &["did not return within", "penstock.plugin.call.timeout.ms", "errors.tolerance=all"]),
        ("FailFatally", &["plugin penstock.tests.FailFatally", "hostile.wasm", "the disk is gone"]),
    ] {
        let name = unique(class);
        let began = Instant::now();
        connect.create(&name, &sink(&topic, class, &[])).await?;
        let trace = connect.wait_task_failed(&name).await?;
        println!("{class}: FAILED {:?} after it was created: {trace}", began.elapsed());
        has_all(&trace, reasons)?;
        if class != "FailFatally" {
            has_all(&trace, &[&format!("penstock.tests.{class} at TRANSFORMATION failed for the record at {topic}-0 offset 2")])?;
        }
        let committed = kafka.committed(&format!("connect-{name}"), &topic).await?;
        ensure!(committed.get(&0).is_none_or(|offset| *offset <= 2), "{class}: the poison was passed over: {committed:?}");
    }
    Ok(())
}

#[tokio::test]
async fn wrong_properties_are_refused_by_the_manifests_own_checks() -> Result<()> {
    let kafka = Kafka::shared().await?;
    let worker = worker(kafka).with_test_components()?.start().await?;
    let connect = worker.connect();

    let listed = connect.get("/connector-plugins?connectorsOnly=false").await?.ok()?;
    let listed = listed.as_array().context("a list")?;
    for (class, kind) in [("penstock.examples.RetailOrders", "transformation"), ("penstock.tests.CountryIs", "predicate")] {
        ensure!(listed.contains(&json!({"class": class, "type": kind, "version": "1.0.0"})), "{class} is not in {listed:?}");
    }
    let connectors = connect.get("/connector-plugins").await?.ok()?;
    ensure!(!connectors.to_string().contains("RetailOrders"), "only connectors are listed unless asked: {connectors}");
    for name in ["penstock.examples.RetailOrders", "RetailOrders"] {
        let keys = connect.get(&format!("/connector-plugins/{name}/config")).await?.ok()?;
        let keys = keys.as_array().context("a list of keys")?;
        let key = |name: &str| keys.iter().find(|key| key["name"] == name).with_context(|| format!("{name} in {keys:?}"));
        let threshold = key("fraud.total.threshold")?;
        let told = ["type", "default_value", "required", "importance", "documentation"].map(|field| &threshold[field]);
        let due =
            [json!("DOUBLE"), json!("5000"), json!(false), json!("MEDIUM"), json!("Orders with a higher total are flagged.")];
        ensure!(told.into_iter().eq(&due), "{threshold}");
        ensure!(key("currencies")?["type"] == "LIST" && key("mask.email")?["type"] == "BOOLEAN", "{keys:?}");
        let granting = keys.iter().filter(|key| key["name"].as_str().is_some_and(|name| name.starts_with("plugin.grants.")));
        ensure!((keys.len(), granting.count()) == (13, 4), "its own keys, those that grant, and no others: {keys:?}");
    }

    let topic = topic_of(kafka, &[]).await?;
    let bad = [
        ("transforms.t.fraud.quantity.threshold", "many", "Not a number of type INT"),
        ("transforms.t.fraud.total.threshold", "-1", "Value must be at least 0"),
        ("transforms.t.mask.email", "perhaps", "Expected value to be either true or false"),
        ("transforms.t.currencies", "", "must be non-empty"),
    ];
    let more: Vec<(&str, &str)> = bad.iter().map(|(key, value, _)| (*key, *value)).collect();
    let wrong = sink(&topic, "RetailOrders", &more);
    let errors = errors_of(connect, &wrong).await?;
    for (key, value, reason) in bad {
        let error = errors.iter().find(|(of, _)| of == key).with_context(|| format!("{key} in {errors:?}"))?;
        has_all(&error.1, &[key, value, reason])?;
    }
    ensure!(errors.iter().all(|(of, _)| bad.iter().any(|(key, _, _)| of == key)), "{errors:?}");
    let refused = connect.post("/connectors", &json!({"name": "wrong", "config": wrong})).await?;
    ensure!(refused.status == 400, "{refused:?}");
    has_all(refused.message(), &["contains the following 5 error(s)", "Not a number of type INT"])?;

    let missing =
        sink(&topic, "Filter", &[("transforms.t.predicate", "p"), ("predicates", "p"), ("predicates.p.type", "CountryIs")]);
    let errors = errors_of(connect, &missing).await?;
    let due = "Missing required configuration \"predicates.p.country\" which has no default value.";
    ensure!(errors == [("predicates.p.country".to_owned(), due.to_owned())], "{errors:?}");
    let good =
        sink(&topic, "RetailOrders", &[("transforms.t.fraud.total.threshold", "99.5"), ("transforms.t.own.key", "passed on")]);
    ensure!(errors_of(connect, &good).await?.is_empty());
    Ok(())
}

#[tokio::test]
async fn a_component_replaced_on_disk_takes_effect_at_the_next_start() -> Result<()> {
    let kafka = Kafka::shared().await?;
    let folder = tempfile::tempdir()?;
    install(folder.path(), &["well-behaved"])?;
    let file = folder.path().join("well-behaved.wasm");
    let mut worker = worker(kafka).plugin_path(folder.path()).start().await?;
    let connect = worker.connect().clone();
    let topic = topic_of(kafka, &["{}"]).await?;
    let name = unique("replaced");
    connect.create(&name, &sink(&topic, "penstock.tests.Identity", &[])).await?;
    wait_settled(kafka, &name, &topic).await?;

    fs::write(&file, "half a file")?;
    restart_task(&connect, &name).await?;
    kafka.produce_values(&topic, ["{}", "{}"]).await?;
    wait_settled(kafka, &name, &topic).await?;
    connect.wait_running(&name, 1).await?;

    worker.restart().await?;
    let trace = connect.wait_task_failed(&name).await?;
    has_all(
        &trace,
        &["penstock.tests.Identity", "transforms.t.type", "could not be found", "well-behaved.wasm", "not WebAssembly"],
    )?;
    kafka.produce_values(&topic, ["{}"]).await?;
    ensure!(kafka.lag(&format!("connect-{name}"), &topic).await? == 1, "nothing is passed over meanwhile");

    install(folder.path(), &["well-behaved"])?;
    worker.restart().await?;
    wait_settled(kafka, &name, &topic).await?;
    connect.wait_running(&name, 1).await
}

#[tokio::test]
async fn of_two_files_with_one_class_one_is_used_and_both_are_named() -> Result<()> {
    let kafka = Kafka::shared().await?;
    let folder = tempfile::tempdir()?;
    install(folder.path(), &["predicates"])?;
    fs::copy(guests::component("predicates")?, folder.path().join("again.wasm"))?;
    let worker = worker(kafka).plugin_path(folder.path()).start().await?;
    let path = |name: &str| folder.path().join(name).display().to_string();
    let told = format!(
        "class penstock.tests.CountryIs 1.0.0 is in two files of plugin.path: {} is used, {} is not; remove one",
        path("again.wasm"),
        path("predicates.wasm")
    );
    ensure!(worker.log_text().contains(&told), "{told:?} is missing in: {}", worker.log_text());
    let keys = worker.connect().get("/connector-plugins/CountryIs/config").await?.ok()?;
    ensure!(keys[0]["name"] == "country", "{keys}");
    Ok(())
}

#[tokio::test]
async fn without_a_usable_cache_components_work_all_the_same() -> Result<()> {
    let kafka = Kafka::shared().await?;
    let folder = tempfile::tempdir()?;
    install(folder.path(), &["predicates"])?;
    let cache = folder.path().join("cache");
    let mut worker =
        worker(kafka).plugin_path(folder.path()).property("penstock.plugin.cache.dir", cache.display()).start().await?;
    let connect = worker.connect().clone();
    let lists_it = async || -> Result<bool> {
        Ok(connect.get("/connector-plugins?connectorsOnly=false").await?.ok()?.to_string().contains("penstock.tests.CountryIs"))
    };
    let cached = cached_files(&cache)?;
    ensure!(cached.len() == 1 && lists_it().await?, "{cached:?}");

    fs::write(&cached[0], "no machine code")?;
    worker.restart().await?;
    ensure!(lists_it().await? && fs::metadata(&cached[0])?.len() > 1_000, "it was compiled anew and kept");
    has_all(&worker.log_text(), &["the cached code is damaged, so the plugin is compiled anew"])?;

    // A folder in the file's place: compiled code cannot be kept there, as on a full disk.
    fs::remove_file(&cached[0])?;
    fs::create_dir_all(cached[0].join("in the way"))?;
    worker.restart().await?;
    ensure!(lists_it().await?);
    has_all(&worker.log_text(), &["cannot keep compiled code", &cache.display().to_string()])?;

    fs::remove_dir_all(&cache)?;
    fs::write(&cache, "no folder")?;
    worker.restart().await?;
    ensure!(lists_it().await?);
    has_all(&worker.log_text(), &["no cache for compiled plugins", "penstock.plugin.cache.dir", &cache.display().to_string()])
}

fn cached_files(cache: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(cache).with_context(|| format!("read {}", cache.display()))?;
    Ok(entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>()?)
}

/// Time went on while the process stood still, so a call that it interrupted counted as endless and a good record failed.
#[tokio::test]
async fn a_worker_that_was_frozen_does_not_blame_its_plugins() -> Result<()> {
    let kafka = Kafka::shared().await?;
    let worker = worker(kafka).with_test_components()?.start().await?;
    let topic = topic_of(kafka, &["{}"; 12]).await?;
    let name = unique("frozen");
    // A call for each record, each of 100 of the 300 ms it may take.
    let config = sink(&topic, "penstock.tests.Linger", &[("consumer.override.max.poll.records", "1")]);
    worker.connect().create(&name, &config).await?;
    worker.connect().wait_running(&name, 1).await?;
    wait_until("the first call", LIMIT, async || Ok(kafka.lag(&format!("connect-{name}"), &topic).await? < 12)).await?;
    worker.signal(Signal::SIGSTOP)?;
    tokio::time::sleep(Duration::from_millis(900)).await;
    worker.signal(Signal::SIGCONT)?;
    wait_settled(kafka, &name, &topic).await?;
    worker.connect().wait_running(&name, 1).await
}
