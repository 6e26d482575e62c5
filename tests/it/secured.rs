//! A worker and its tasks on brokers that want a password or a certificate, told so by the keys that Java's clients have.

use std::time::Duration;

use anyhow::Result;
use penstock_tests::connect::config;
use penstock_tests::kafka::Secured;
use penstock_tests::{Worker, java, unique, wait_until};

const LIMIT: Duration = Duration::from_secs(40);

type Settings = Vec<(&'static str, String)>;

fn password(mechanism: &'static str, password: &str) -> Settings {
    let module = if mechanism == "PLAIN" { "plain.PlainLoginModule" } else { "scram.ScramLoginModule" };
    let login =
        format!("org.apache.kafka.common.security.{module} required username=\"{}\" password=\"{password}\";", Secured::USER);
    vec![("security.protocol", "SASL_PLAINTEXT".into()), ("sasl.mechanism", mechanism.into()), ("sasl.jaas.config", login)]
}

/// With a client's certificate of that file and type.
fn certificate(secured: &Secured, store: &str, kind: &str, authority: &str) -> Settings {
    vec![
        ("security.protocol", "SSL".into()),
        ("ssl.truststore.type", "PEM".into()),
        ("ssl.truststore.location", secured.file(authority).display().to_string()),
        ("ssl.keystore.type", kind.into()),
        ("ssl.keystore.location", secured.file(store).display().to_string()),
    ]
}

#[tokio::test]
async fn worker_and_tasks_log_in_as_javas_keys_say() -> Result<()> {
    let secured = Secured::start().await?;
    let key_password = |key: &'static str| vec![(key, Secured::KEY_PASSWORD.to_owned())];
    let cases: Vec<(&str, &str, Settings)> = vec![
        ("PLAIN", secured.sasl(), password("PLAIN", Secured::PASSWORD)),
        ("SCRAM-SHA-256", secured.sasl(), password("SCRAM-SHA-256", Secured::PASSWORD)),
        ("SCRAM-SHA-512", secured.sasl(), password("SCRAM-SHA-512", Secured::PASSWORD)),
        ("TLS with a PEM store", secured.tls(), certificate(&secured, "client.pem", "PEM", "ca.pem")),
        (
            "TLS with an encrypted key",
            secured.tls(),
            [certificate(&secured, "client-encrypted.pem", "PEM", "ca.pem"), key_password("ssl.key.password")].concat(),
        ),
        (
            "TLS with a PKCS12 store",
            secured.tls(),
            [certificate(&secured, "client.p12", "PKCS12", "ca.pem"), key_password("ssl.keystore.password")].concat(),
        ),
    ];
    for (case, address, settings) in cases {
        works(&secured, address, &settings).await.map_err(|error| error.context(case))?;
    }
    Ok(())
}

/// Runs a sink with dead letters, so that consumer, producer and admin client of the task log in, too.
async fn works(secured: &Secured, address: &str, settings: &[(&'static str, String)]) -> Result<()> {
    let kafka = &secured.kafka;
    let (topic, name, dead) = (unique("secured"), unique("sink"), unique("dead"));
    kafka.create_topic(&topic, 1).await?;
    kafka.produce_values(&topic, ["{}", "{"]).await?;
    let mut worker = Worker::builder(kafka).property("bootstrap.servers", address).property("offset.flush.interval.ms", 200);
    for (key, value) in settings {
        worker = worker.property(key, value);
    }
    let worker = worker.start().await?;
    let mut configuration = config([
        ("connector.class", "Blackhole"),
        ("errors.tolerance", "all"),
        ("errors.deadletterqueue.topic.replication.factor", "1"),
    ]);
    configuration.insert("topics".into(), topic.clone());
    configuration.insert("errors.deadletterqueue.topic.name".into(), dead.clone());
    worker.connect().create(&name, &configuration).await?;
    worker.connect().wait_running(&name, 1).await?;
    java::wait_drained(kafka, &name, &topic, LIMIT).await?;
    assert_eq!(kafka.read(&dead).await?.len(), 1);
    let log = worker.log_text();
    assert!(![Secured::PASSWORD, Secured::KEY_PASSWORD].iter().any(|secret| log.contains(secret)), "a secret stands in the log");
    Ok(())
}

#[tokio::test]
async fn who_is_not_let_in_is_told_why() -> Result<()> {
    let secured = Secured::start().await?;
    let bare = |authority: &str| -> Settings {
        let mut settings = certificate(&secured, "client.pem", "PEM", authority);
        settings.truncate(3);
        settings
    };
    let cases: Vec<(&str, Settings, &str)> = vec![
        (secured.sasl(), password("PLAIN", "wr0ng-one"), "uthentication failed"),
        (secured.sasl(), password("SCRAM-SHA-512", "wr0ng-one"), "uthentication failed"),
        (secured.tls(), bare("stranger.pem"), "certificate verify failed"),
        // The broker wants a certificate.
        (secured.tls(), bare("ca.pem"), "Kafka does not answer"),
    ];
    for (address, settings, expected) in cases {
        let mut worker = Worker::builder(&secured.kafka).property("bootstrap.servers", address);
        for (key, value) in &settings {
            worker = worker.property(key, value);
        }
        let worker = worker.launch()?;
        let what = format!("{settings:?} to be told {expected:?}; the log is {}", worker.log_path().display());
        wait_until(&what, LIMIT, async || Ok(worker.log_text().contains(expected))).await?;
        assert!(!worker.log_text().contains("wr0ng-one"), "the password stands in the log");
    }
    Ok(())
}
