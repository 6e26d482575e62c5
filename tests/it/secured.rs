//! A worker and its tasks on brokers that want a password or a certificate, told so by the keys that Java's clients have.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use penstock_tests::connect::config;
use penstock_tests::kafka::Secured;
use penstock_tests::{FakeTokenServer, JavaConnect, Kafka, Worker, ground, java, unique, wait_until};
use serde_json::{Value, json};

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
        works(&secured.kafka, address, &settings).await.map_err(|error| error.context(case))?;
    }
    Ok(())
}

/// Runs a sink with dead letters, so that consumer, producer and admin client of the task log in, too.
async fn works(kafka: &Kafka, address: &str, settings: &[(&'static str, String)]) -> Result<()> {
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
    assert!(
        ![Secured::PASSWORD, Secured::KEY_PASSWORD, FakeTokenServer::SECRET].iter().any(|secret| log.contains(secret)),
        "a secret stands in the log"
    );
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

/// A broker that lets in whoever brings a token of that server.
async fn with_tokens(tokens: &FakeTokenServer) -> Result<Kafka> {
    let package = "org.apache.kafka.common.security.oauthbearer";
    let of_listener = |key: &str| format!("listener.name.tokens.oauthbearer.{key}");
    Kafka::builder()
        .listener("TOKENS", "SASL_PLAINTEXT")
        .jvm(format!("-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls={}", tokens.keys_url()))
        .property("sasl.enabled.mechanisms", "OAUTHBEARER")
        .property(&of_listener("sasl.jaas.config"), format!("{package}.OAuthBearerLoginModule required;"))
        .property(&of_listener("sasl.server.callback.handler.class"), format!("{package}.OAuthBearerValidatorCallbackHandler"))
        .property(&of_listener("sasl.oauthbearer.jwks.endpoint.url"), tokens.keys_url())
        .property(&of_listener("sasl.oauthbearer.expected.audience"), FakeTokenServer::AUDIENCE)
        // Who is let in with a token is let in again with the next one.
        .property(&of_listener("connections.max.reauth.ms"), "60000")
        .start()
        .await
}

fn token(tokens: &FakeTokenServer, secret: &str) -> Settings {
    let package = "org.apache.kafka.common.security.oauthbearer";
    let (client, scope) = (FakeTokenServer::CLIENT, FakeTokenServer::SCOPE);
    let login =
        format!("{package}.OAuthBearerLoginModule required clientId=\"{client}\" clientSecret=\"{secret}\" scope=\"{scope}\";");
    vec![
        ("security.protocol", "SASL_PLAINTEXT".into()),
        ("sasl.mechanism", "OAUTHBEARER".into()),
        ("sasl.login.callback.handler.class", format!("{package}.OAuthBearerLoginCallbackHandler")),
        ("sasl.oauthbearer.token.endpoint.url", tokens.token_url()),
        ("sasl.jaas.config", login),
    ]
}

/// With an assertion, signed with the key in that file, for that audience.
fn assertion(tokens: &FakeTokenServer, key: &Path, audience: &str) -> Settings {
    let package = "org.apache.kafka.common.security.oauthbearer";
    let of_assertion = |key: &str| -> &'static str { format!("sasl.oauthbearer.assertion.{key}").leak() };
    vec![
        ("security.protocol", "SASL_PLAINTEXT".into()),
        ("sasl.mechanism", "OAUTHBEARER".into()),
        ("sasl.login.callback.handler.class", format!("{package}.OAuthBearerLoginCallbackHandler")),
        ("sasl.oauthbearer.jwt.retriever.class", format!("{package}.JwtBearerJwtRetriever")),
        ("sasl.oauthbearer.token.endpoint.url", tokens.token_url()),
        ("sasl.oauthbearer.scope", FakeTokenServer::SCOPE.into()),
        ("sasl.jaas.config", format!("{package}.OAuthBearerLoginModule required;")),
        (of_assertion("private.key.file"), key.display().to_string()),
        (of_assertion("claim.iss"), FakeTokenServer::CLIENT.into()),
        (of_assertion("claim.sub"), FakeTokenServer::CLIENT.into()),
        (of_assertion("claim.aud"), audience.into()),
        (of_assertion("claim.jti.include"), "true".into()),
    ]
}

#[tokio::test]
async fn worker_and_tasks_log_in_by_tokens_and_are_told_when_they_get_none() -> Result<()> {
    let tokens = FakeTokenServer::start(Duration::from_secs(600)).await?;
    let kafka = with_tokens(&tokens).await?;
    let address = kafka.address("TOKENS").to_owned();
    works(&kafka, &address, &token(&tokens, FakeTokenServer::SECRET)).await?;
    assert!(tokens.given() > 2, "worker and task ask for tokens of their own");

    let folder = tempfile::tempdir()?;
    let (own, others) = (folder.path().join("own.pem"), folder.path().join("others.pem"));
    std::fs::write(&own, tokens.clients_key()?)?;
    std::fs::write(&others, FakeTokenServer::start(Duration::from_secs(600)).await?.clients_key()?)?;
    let by_assertion = assertion(&tokens, &own, &tokens.token_url());
    works(&kafka, &address, &by_assertion).await?;
    assert!(tokens.given_for_assertions() > 2, "worker and task sign assertions of their own");
    let given = tokens.given_for_assertions();
    let mut java = JavaConnect::builder(&kafka)
        .lean()
        .jvm(format!("-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls={}", tokens.token_url()))
        .jvm(format!("-Dorg.apache.kafka.sasl.oauthbearer.allowed.files={}", own.display()))
        .property("bootstrap.servers", &address);
    for (key, value) in &by_assertion {
        for prefix in ["", "producer.", "consumer.", "admin."] {
            java = java.property(&format!("{prefix}{key}"), value);
        }
    }
    java.start().await.context("a Java worker with the same file")?;
    assert!(tokens.given_for_assertions() > given, "Java's worker signs assertions, too");

    for (settings, expected) in [
        (token(&tokens, "wr0ng-one"), "invalid_client"),
        (assertion(&tokens, &others, &tokens.token_url()), "not that of the client's key"),
        (assertion(&tokens, &own, "https://elsewhere"), "aud must name the token endpoint"),
    ] {
        let mut worker = Worker::builder(&kafka).property("bootstrap.servers", &address);
        for (key, value) in settings {
            worker = worker.property(key, value);
        }
        let worker = worker.launch()?;
        let what = format!("the refusal to be told: {expected}; the log is {}", worker.log_path().display());
        wait_until(&what, LIMIT, async || Ok(worker.log_text().contains(expected))).await?;
        assert!(!worker.log_text().contains("wr0ng-one"), "the secret stands in the log");
    }
    Ok(())
}

/// A sink that overrides who it is, how it reads, and what nobody's policy minds.
fn overriding(class: &str, topic: &str, overrides: &[&str], has_dead_letters: bool) -> Value {
    let mut config = json!({"connector.class": class, "topics": topic, "tasks.max": "1"});
    if has_dead_letters {
        config["errors.deadletterqueue.topic.name"] = format!("{topic}-dead").into();
        config["errors.deadletterqueue.topic.replication.factor"] = "1".into();
    }
    for key in overrides {
        config[*key] = match *key {
            "consumer.override.max.poll.records" => "7".into(),
            "admin.override.request.timeout.ms" => "20000".into(),
            "consumer.override.security.protocol" => "PLAINTEXT".into(),
            _ => "all".into(),
        };
    }
    config
}

#[tokio::test]
async fn connectors_override_what_the_policy_allows_as_in_java() -> Result<()> {
    const JAVA_SINK: &str = "penstock.bench.BlackholeSink";
    const OUR_SINK: &str = "penstock.BlackholeSinkConnector";
    let all = [
        "admin.override.request.timeout.ms",
        "consumer.override.max.poll.records",
        "consumer.override.security.protocol",
        "producer.override.acks",
    ];
    let (principal, allowed) = (["consumer.override.security.protocol"], ["consumer.override.max.poll.records"]);
    let kafka = Kafka::shared().await?;
    let topic = unique("overrides");
    kafka.create_topic(&topic, 1).await?;
    let plugins = tokio::task::spawn_blocking(|| ground::part("blackhole-java")).await??.join("plugins");
    for policy in ["All", "None", "Principal", "Allowlist"] {
        let key = "connector.client.config.override.policy";
        let allowlist = "connector.client.config.override.allowlist";
        let java = JavaConnect::builder(kafka).lean().plugin_path(plugins.clone()).property(key, policy);
        let ours = Worker::builder(kafka).property(key, policy);
        let (java, ours) = tokio::try_join!(
            java.property(allowlist, "max.poll.records").start(),
            ours.property(allowlist, "max.poll.records").start()
        )?;
        // Producer and admin client are there for dead letters alone.
        for (overrides, has_dead_letters) in [
            (&all[..], true),
            (&all, false),
            (&principal, false),
            (&allowed, true),
            (&all[3..], true),
            (&all[3..], false),
            (&[], false),
        ] {
            let name = unique("overriding");
            let (mut status, mut messages) = (Vec::new(), Vec::new());
            for (connect, class) in [(java.connect(), JAVA_SINK), (ours.connect(), OUR_SINK)] {
                let config = overriding(class, &topic, overrides, has_dead_letters);
                let body = json!({"name": name, "config": config});
                let answer = connect.post("/connectors", &body).await?;
                status.push(answer.status);
                let mut lines: Vec<_> = answer.message().lines().map(str::to_owned).collect();
                lines.sort_unstable();
                messages.push(lines);
                let path = format!("/connector-plugins/{class}/config/validate");
                let infos = connect.put(&path, &config).await?.ok()?;
                let of_overrides = |info: &&Value| info["value"]["name"].as_str().is_some_and(|name| name.contains(".override."));
                let wrong = |info: &Value| (info["value"]["name"].clone(), info["value"]["errors"].clone());
                let mut wrong: Vec<_> =
                    infos["configs"].as_array().into_iter().flatten().filter(of_overrides).map(wrong).collect();
                wrong.sort_by_key(|(name, _)| name.to_string());
                messages.push(wrong.into_iter().map(|(name, errors)| format!("{name}: {errors}")).collect());
            }
            let case = format!("{policy} {overrides:?} {has_dead_letters}");
            assert_eq!(status[0], status[1], "{case}: {messages:?}");
            assert_eq!((&messages[0], &messages[1]), (&messages[2], &messages[3]), "{case}");
            if status[1] == 201 {
                ours.connect().wait_running(&name, 1).await?;
                ours.connect().delete(&format!("/connectors/{name}")).await?.ok()?;
                java.connect().delete(&format!("/connectors/{name}")).await?.ok()?;
            }
        }
    }
    Ok(())
}
