//! Where REST is served and to whom: https with keys in every form, certificates on either side, admin listeners.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use penstock::config::TlsConfig;
use penstock::rest::tls_client;
use penstock_tests::certificates::{Authority, Identity};
use penstock_tests::{Kafka, Worker, ground, unique, wait_until};
use reqwest::Method;
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(60);

/// A folder for one test's keys.
struct Files(PathBuf);

impl Files {
    fn new() -> Result<Self> {
        Ok(Self(ground::data_dir("keys")?))
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> Result<String> {
        let path = self.0.join(name);
        std::fs::write(&path, content)?;
        Ok(path.to_string_lossy().into_owned())
    }

    /// What a Java user has: a store made by keytool.
    fn keytool(&self, name: &str, kind: &str) -> Result<String> {
        let path = self.0.join(name).to_string_lossy().into_owned();
        let arguments = [
            "-genkeypair",
            "-alias",
            "worker",
            "-keyalg",
            "EC",
            "-dname",
            "CN=localhost",
            "-ext",
            "san=ip:127.0.0.1",
            "-keystore",
            &path,
            "-storetype",
            kind,
            "-storepass",
            "changeit",
            "-keypass",
            "changeit",
        ];
        let made = Command::new("keytool").args(arguments).output().context("run keytool")?;
        ensure!(made.status.success(), "keytool: {}", String::from_utf8_lossy(&made.stdout));
        Ok(path)
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

/// A worker with http, by which tests wait for it, and https; answers the address of the second.
async fn start(keys: &[(&str, &str)]) -> Result<(Worker, String)> {
    let (plain, secure) = (ground::free_port()?, ground::free_port()?);
    let listeners = format!("http://127.0.0.1:{plain},https://127.0.0.1:{secure}");
    let mut builder = Worker::builder(Kafka::shared().await?).property("listeners", listeners);
    for (key, value) in keys {
        builder = builder.property(key, value);
    }
    Ok((builder.start().await?, format!("https://127.0.0.1:{secure}")))
}

/// A client that trusts `authority` and, with `identity`, shows who it is.
fn client(authority: &str, identity: Option<&Identity>) -> Result<reqwest::Client> {
    let builder = reqwest::Client::builder().no_proxy().use_rustls_tls().timeout(Duration::from_secs(20));
    let builder =
        builder.tls_built_in_root_certs(false).add_root_certificate(reqwest::Certificate::from_pem(authority.as_bytes())?);
    let builder = match identity {
        Some(identity) => {
            let pem = identity.key_pem()? + &identity.chain_pem()?;
            builder.identity(reqwest::Identity::from_pem(pem.as_bytes())?)
        }
        None => builder,
    };
    Ok(builder.build()?)
}

async fn status(client: &reqwest::Client, url: &str) -> Result<u16> {
    Ok(client.get(url).send().await?.status().as_u16())
}

#[tokio::test(flavor = "multi_thread")]
async fn https_is_served_with_keys_in_every_form() -> Result<()> {
    let files = Files::new()?;
    let authority = Authority::new("authority")?;
    let identity = authority.sign("worker")?;
    let trusted = client(&authority.pem()?, None)?;
    let stranger = client(&Authority::new("another")?.pem()?, None)?;
    let plain = files.write("plain.pem", identity.key_pem()? + &identity.chain_pem()?)?;
    let locked = files.write("locked.pem", identity.encrypted_key_pem("open sesame")? + &identity.chain_pem()?)?;
    // Whatever it is called: this is what keytool writes into files of that name.
    let store = files.write("worker.jks", identity.pkcs12("changeit")?)?;
    let (key, chain) = (identity.key_pem()?, identity.chain_pem()?);
    let forms: [&[(&str, &str)]; 4] = [
        &[("ssl.keystore.type", "PEM"), ("ssl.keystore.location", &plain)],
        &[
            ("ssl.keystore.location", "/no/such/file"),
            ("listeners.https.ssl.keystore.type", "PEM"),
            ("listeners.https.ssl.keystore.location", &locked),
            ("listeners.https.ssl.key.password", "open sesame"),
        ],
        &[("ssl.keystore.location", &store), ("ssl.keystore.password", "changeit")],
        &[("ssl.keystore.type", "PEM"), ("ssl.keystore.key", &key), ("ssl.keystore.certificate.chain", &chain)],
    ];
    let (mut workers, mut addresses) = (Vec::new(), Vec::new());
    for form in forms {
        let (worker, address) = start(form).await?;
        ensure!(status(&trusted, &address).await? == 200, "{form:?}");
        ensure!(stranger.get(&address).send().await.is_err(), "a client that trusts others must not trust this one");
        workers.push(worker);
        addresses.push(address);
    }
    let name = unique("secure");
    let config = json!({"connector.class": "Blackhole", "topics": "nothing"});
    let made = trusted.post(format!("{}/connectors", addresses[0])).json(&json!({"name": name, "config": config})).send().await?;
    ensure!(made.status().as_u16() == 201);
    let location = made.headers()["location"].to_str()?;
    ensure!(location == format!("{}/connectors/{name}", addresses[0]), "{location}");
    ensure!(status(&trusted, location).await? == 200);
    // http spoken to https, and a client that says nothing, hold up nobody.
    let silent = tokio::net::TcpStream::connect(addresses[0].trim_start_matches("https://")).await?;
    ensure!(trusted.get(addresses[0].replace("https", "http")).send().await.is_err());
    ensure!(status(&trusted, location).await? == 200);
    drop(silent);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_show_certificates_where_they_must() -> Result<()> {
    let files = Files::new()?;
    let (authority, of_clients, another) = (Authority::new("authority")?, Authority::new("clients")?, Authority::new("another")?);
    let identity = authority.sign("worker")?;
    let keys = files.write("keys.pem", identity.key_pem()? + &identity.chain_pem()?)?;
    let trust = files.write("trust.pem", of_clients.pem()?)?;
    let pem = authority.pem()?;
    let nobody = client(&pem, None)?;
    let known = client(&pem, Some(&of_clients.sign("me")?))?;
    let unknown = client(&pem, Some(&another.sign("me")?))?;
    for (wanted, nobody_may) in [("required", false), ("requested", true)] {
        let keys = [
            ("ssl.keystore.location", keys.as_str()),
            ("ssl.truststore.location", &trust),
            ("ssl.client.auth", wanted),
            ("ssl.enabled.protocols", "TLSv1.2,TLSv1.3"),
            ("ssl.cipher.suites", "TLS_AES_256_GCM_SHA384,TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"),
        ];
        let (_worker, address) = start(&keys).await?;
        ensure!(status(&known, &address).await? == 200, "{wanted}");
        ensure!(status(&nobody, &address).await.is_ok() == nobody_may, "{wanted}");
        ensure!(status(&unknown, &address).await.is_err(), "{wanted}: whoever signs it must be trusted");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn stores_of_javas_own_format_are_refused_with_what_to_do() -> Result<()> {
    let files = Files::new()?;
    let (old, new) = (files.keytool("old.jks", "JKS")?, files.keytool("new.p12", "PKCS12")?);
    let refused = async |store: &str, password: &str| {
        let listeners = format!("https://127.0.0.1:{}", ground::free_port()?);
        let builder = Worker::builder(Kafka::shared().await?).property("listeners", listeners);
        let worker = builder.property("ssl.keystore.location", store).property("ssl.keystore.password", password).launch()?;
        ended(worker).await
    };
    let text = refused(&old, "changeit").await?;
    ensure!(text.contains(&format!("keytool -importkeystore -srckeystore {old} -destkeystore")), "{text}");
    let text = refused(&new, "wrong").await?;
    ensure!(
        text.contains(&format!("ssl.keystore.location={new} cannot be used")) && text.contains("password is wrong"),
        "{text}"
    );
    let text = refused("/no/such/store", "changeit").await?;
    ensure!(text.contains("cannot read ssl.keystore.location=/no/such/store"), "{text}");
    let (_worker, address) = start(&[("ssl.keystore.location", &new), ("ssl.keystore.password", "changeit")]).await?;
    let any = reqwest::Client::builder().no_proxy().danger_accept_invalid_certs(true).build()?;
    ensure!(status(&any, &address).await? == 200, "what keytool writes by default is read");
    Ok(())
}

async fn ended(mut worker: Worker) -> Result<String> {
    wait_until("the worker to end", Duration::from_secs(20), async || Ok(worker.exit_status().is_some())).await?;
    Ok(worker.log_text())
}

#[tokio::test(flavor = "multi_thread")]
async fn admin_listeners_take_the_loggers_away_from_the_others() -> Result<()> {
    let kafka = Kafka::shared().await?;
    let admin = format!("http://127.0.0.1:{}", ground::free_port()?);
    let apart = Worker::builder(kafka).property("admin.listeners", &admin).start().await?;
    let client = reqwest::Client::builder().no_proxy().build()?;
    ensure!(apart.connect().get("/admin/loggers").await?.status == 404);
    ensure!(status(&client, &format!("{admin}/admin/loggers")).await? == 200);
    ensure!(status(&client, &format!("{admin}/connectors")).await? == 404);
    let nowhere = Worker::builder(kafka).property("admin.listeners", "").property("topic.tracking.allow.reset", false);
    let nowhere = nowhere.start().await?;
    ensure!(nowhere.connect().get("/admin/loggers").await?.status == 404);
    ensure!(nowhere.connect().get("/connectors").await?.status == 200);
    let reset = nowhere.connect().send(Method::PUT, "/connectors/any/topics/reset", None).await?;
    ensure!((reset.status, reset.message()) == (403, "Topic tracking reset is disabled."), "{reset:?}");
    Ok(())
}

/// Workers of one cluster that speak nothing but https to clients with certificates, and so to each other.
#[tokio::test(flavor = "multi_thread")]
async fn workers_forward_requests_by_https() -> Result<()> {
    let files = Files::new()?;
    let authority = Authority::new("authority")?;
    let trust = files.write("trust.pem", authority.pem()?)?;
    let ours = client(&authority.pem()?, Some(&authority.sign("me")?))?;
    // Clones share the group.
    let builder = Worker::builder(Kafka::shared().await?);
    let (mut workers, mut addresses) = (Vec::new(), Vec::new());
    for name in ["first", "second"] {
        let identity = authority.sign(name)?;
        let keys = files.write(&format!("{name}.pem"), identity.key_pem()? + &identity.chain_pem()?)?;
        let address = format!("https://127.0.0.1:{}", ground::free_port()?);
        let builder = builder.clone().property("listeners", &address).property("listeners.https.ssl.keystore.location", keys);
        let builder = builder.property("listeners.https.ssl.truststore.location", &trust);
        workers.push(builder.property("listeners.https.ssl.client.auth", "required").launch()?);
        let healthy = async || Ok(status(&ours, &format!("{address}/health")).await? == 200);
        wait_until("the worker to be ready", SOON, healthy).await?;
        addresses.push(address);
    }
    // One of them leads, and the other one asks it.
    for address in &addresses {
        let name = unique("forwarded");
        let config = json!({"connector.class": "Blackhole", "topics": "nothing"});
        let made = ours.post(format!("{address}/connectors")).json(&json!({"name": name, "config": config})).send().await?;
        ensure!(made.status().as_u16() == 201, "{address}: {}", made.text().await?);
        ensure!(made.headers()["location"].to_str()? == format!("{address}/connectors/{name}"), "{:?}", made.headers());
        let state = async |unit: &str| -> Result<bool> {
            let shown: Value = ours.get(format!("{address}/connectors/{name}/status")).send().await?.json().await?;
            Ok(shown.pointer(unit).is_some_and(|state| state == "RUNNING"))
        };
        // The tasks are planned at one of them, and written at the leader.
        wait_until("the task to run", SOON, async || state("/tasks/0/state").await).await?;
        ensure!(ours.delete(format!("{address}/connectors/{name}")).send().await?.status().as_u16() == 204);
    }
    Ok(())
}

/// A certificate that `listeners.https.ssl.*` gives: trusted if it is known or signed by a known one, and for the host.
#[tokio::test(flavor = "multi_thread")]
async fn calls_to_workers_trust_what_the_worker_file_says() -> Result<()> {
    let files = Files::new()?;
    let (authority, another) = (Authority::new("authority")?, Authority::new("another")?);
    let identity = authority.sign("worker")?;
    let keys = files.write("keys.pem", identity.key_pem()? + &identity.chain_pem()?)?;
    let leaf = files.write("leaf.pem", identity.certificate_pem()?)?;
    let trusted = files.write("trusted.pem", authority.pem()?)?;
    let other = files.write("other.pem", another.pem()?)?;
    let alone = files.keytool("alone.p12", "PKCS12")?;
    let (_worker, signed) = start(&[("ssl.keystore.location", &keys)]).await?;
    let (_worker, by_itself) = start(&[("ssl.keystore.location", &alone), ("ssl.keystore.password", "changeit")]).await?;
    let check = async |address: &str, settings: &[(&str, &str)], expected: bool| -> Result<()> {
        let props = settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let tls = tls_client::client_config(&TlsConfig::new(&props, "listeners.https.")?)?.context("there are stores")?;
        let client = reqwest::Client::builder().no_proxy().use_preconfigured_tls(tls).build()?;
        let answer = client.get(address).send().await;
        ensure!(answer.is_ok() == expected, "{address} with {settings:?}: {answer:?}");
        Ok(())
    };
    // Its certificate is for the address alone.
    let elsewhere = by_itself.replace("127.0.0.1", "localhost");
    let itself = [("ssl.keystore.location", alone.as_str()), ("ssl.keystore.password", "changeit")];
    check(&signed, &[("ssl.truststore.location", &trusted)], true).await?;
    check(&signed, &[("ssl.truststore.location", &leaf)], true).await?;
    check(&signed, &[("ssl.keystore.location", &keys)], true).await?;
    check(&signed, &[("ssl.truststore.location", &other)], false).await?;
    check(&signed, &[("ssl.truststore.location", &other), ("ssl.keystore.location", &keys)], false).await?;
    check(&signed, &[("ssl.truststore.location", &trusted), ("listeners.https.ssl.truststore.location", &other)], false).await?;
    check(&by_itself, &itself, true).await?;
    check(&signed, &itself, false).await?;
    check(&elsewhere, &itself, false).await?;
    let any_host = ("ssl.endpoint.identification.algorithm", "");
    check(&elsewhere, &[itself[0], itself[1], any_host], true).await?;
    check(&elsewhere, &[("ssl.truststore.location", &other), any_host], false).await
}
