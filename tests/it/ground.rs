//! The ground itself: the servers that all other tests stand on do what these tests believe of them.

use std::time::Duration;

use anyhow::Result;
use penstock_tests::connect::config;
use penstock_tests::java::wait_drained;
use penstock_tests::kafka::NewRecord;
use penstock_tests::snowflake::{PASSWORD, ROLE, USER, When};
use penstock_tests::{Connect, FakeSnowflake, Fault, JavaConnect, Kafka, Registry, unique};
use serde_json::{Value, json};

const LIMIT: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_broker_gives_back_what_it_got() -> Result<()> {
    let kafka = Kafka::shared().await?;
    let topic = unique("there-and-back");
    kafka.create_topic(&topic, 2).await?;
    let record = NewRecord {
        key: Some(b"k".to_vec()),
        value: Some(b"{\"a\":1}".to_vec()),
        headers: vec![("h".into(), Some(b"1".to_vec())), ("none".into(), None)],
        partition: Some(1),
        timestamp_ms: Some(1_700_000_000_000),
    };
    kafka.produce(&topic, [record.clone(), NewRecord { partition: Some(0), ..NewRecord::default() }]).await?;

    let messages = kafka.read(&topic).await?;
    assert_eq!(messages.len(), 2);
    assert_eq!((messages[0].partition, &messages[0].key, &messages[0].value), (0, &None, &None));
    let full = &messages[1];
    assert_eq!((&full.key, &full.value, &full.headers), (&record.key, &record.value, &record.headers));
    assert_eq!(
        (full.timestamp_ms, full.header("h"), full.json()?["a"].clone()),
        (record.timestamp_ms, Some("1".into()), json!(1))
    );
    assert_eq!(kafka.end_offsets(&topic).await?, [(0, 1), (1, 1)].into());
    assert!(!kafka.has_topic(&unique("never-made")).await?);
    Ok(())
}

#[tokio::test]
async fn a_killed_broker_comes_back_with_its_records() -> Result<()> {
    let mut kafka = Kafka::start().await?;
    kafka.create_topic("kept", 1).await?;
    kafka.produce_values("kept", (0..1000).map(|n| n.to_string())).await?;
    kafka.kill();
    kafka.restart().await?;
    assert_eq!(kafka.read("kept").await?.len(), 1000);
    Ok(())
}

#[tokio::test]
async fn a_killed_registry_comes_back_with_its_schemas() -> Result<()> {
    let mut registry = Registry::start().await?;
    let schema = json!({"type": "record", "name": "Order", "fields": [{"name": "id", "type": "long"}]});
    let id = registry.register("orders-value", &schema).await?;
    registry.kill();
    registry.restart().await?;
    let found = registry.api().get(&format!("/schemas/ids/{id}")).await?.ok()?;
    let found: Value = serde_json::from_str(found["schema"].as_str().unwrap_or_default())?;
    assert_eq!(found["name"], "Order");
    Ok(())
}

#[tokio::test]
async fn java_connect_runs_its_own_file_sink() -> Result<()> {
    let kafka = Kafka::shared().await?;
    let topic = unique("to-file");
    kafka.create_topic(&topic, 1).await?;
    kafka.produce_values(&topic, ["\"one\"", "\"two\""]).await?;
    let java = JavaConnect::builder(kafka).lean().start().await?;
    let file = tempfile::NamedTempFile::new()?;
    let name = unique("file-sink");
    let sink = config([
        ("connector.class", "org.apache.kafka.connect.file.FileStreamSinkConnector"),
        ("topics", &topic),
        ("file", &file.path().to_string_lossy()),
    ]);
    java.connect().create(&name, &sink).await?;
    java.connect().wait_running(&name, 1).await?;
    wait_drained(kafka, &name, &topic, LIMIT).await?;
    assert_eq!(std::fs::read_to_string(file.path())?, "one\ntwo\n");

    let twice = java.connect().post("/connectors", &json!({"name": name, "config": sink})).await?;
    assert_eq!((twice.status, twice.message()), (409, format!("Connector {name} already exists").as_str()));
    assert!(java.usage()?.cpu > Duration::ZERO && java.first_answer > Duration::ZERO);
    Ok(())
}

#[tokio::test]
async fn a_killed_snowflake_comes_back_with_its_tables() -> Result<()> {
    let mut snowflake = FakeSnowflake::start().await?;
    snowflake.query("CREATE TABLE orders (id INT, content VARIANT)").await?;
    snowflake.query("INSERT INTO orders SELECT 1, PARSE_JSON('{\"total\": 9.5}')").await?;
    snowflake.query("CREATE STAGE loading").await?;
    snowflake.kill();
    snowflake.restart().await?;
    assert_eq!(snowflake.count("ORDERS").await?, 1);
    assert_eq!(snowflake.query_one("SELECT content:total::FLOAT FROM orders").await?, json!(9.5));
    assert_eq!(snowflake.query("SHOW STAGES").await?.len(), 1);
    assert!(snowflake.has_table("ORDERS").await? && !snowflake.has_table("PAYMENTS").await?);
    Ok(())
}

#[tokio::test]
async fn snowflake_goes_wrong_on_demand() -> Result<()> {
    let mut snowflake = FakeSnowflake::start().await?;
    let session = Session::log_in(&snowflake).await?;
    session.run("CREATE TABLE t (id INT)").await?.ok()?;

    // An HTTP refusal, for the second of two matching statements only.
    snowflake.set_faults(&[Fault::status(503).on_sql("^insert").after(1)]).await?;
    assert_eq!(session.run("INSERT INTO t VALUES (1)").await?.status, 200);
    assert_eq!(session.run("INSERT INTO t VALUES (2)").await?.status, 503);
    assert_eq!(snowflake.fault_hits().await?, [1]);

    snowflake.set_faults(&[Fault::error("003001", "42501", "Insufficient privileges").on_sql("insert")]).await?;
    let refused = session.run("INSERT INTO t VALUES (2)").await?;
    assert_eq!((refused.status, &refused.body["success"], &refused.body["code"]), (200, &json!(false), &json!("003001")));
    assert_eq!(refused.body["data"]["sqlState"], "42501");

    // The connection drops: before the work is done, and after.
    snowflake
        .set_faults(&[
            Fault::drop_connection(When::Before).on_sql("\\(3\\)"),
            Fault::drop_connection(When::After).on_sql("\\(4\\)"),
        ])
        .await?;
    assert!(session.run("INSERT INTO t VALUES (3)").await.is_err());
    assert!(session.run("INSERT INTO t VALUES (4)").await.is_err());
    assert_eq!(ids(&snowflake).await?, [1, 4]);

    // Held until the client is gone: the work is not done.
    snowflake.set_faults(&[Fault::hold(When::Before).on_sql("insert")]).await?;
    let held = tokio::time::timeout(Duration::from_millis(300), session.run("INSERT INTO t VALUES (5)")).await;
    assert!(held.is_err(), "the request hangs");
    snowflake.release().await?;
    assert_eq!(ids(&snowflake).await?, [1, 4]);

    // DDL commits what is open before it, as in Snowflake.
    for sql in ["BEGIN", "INSERT INTO t VALUES (0)", "CREATE TABLE u (id INT)", "ROLLBACK"] {
        session.run(sql).await?;
    }
    assert_eq!(ids(&snowflake).await?, [0, 1, 4]);
    session.run("DELETE FROM t WHERE id = 0").await?.ok()?;

    // Slow.
    snowflake.set_faults(&[Fault::delay(Duration::from_millis(300)).on_sql("insert")]).await?;
    let began = std::time::Instant::now();
    session.run("INSERT INTO t VALUES (6)").await?.ok()?;
    assert!(began.elapsed() >= Duration::from_millis(300));

    // Dead, once the work is done.
    snowflake.set_faults(&[Fault::exit(When::After).on_sql("insert")]).await?;
    assert!(session.run("INSERT INTO t VALUES (7)").await.is_err());
    snowflake.restart().await?;
    assert_eq!(ids(&snowflake).await?, [1, 4, 6, 7]);
    Ok(())
}

#[tokio::test]
async fn snowflake_checks_who_logs_in() -> Result<()> {
    let snowflake = FakeSnowflake::start().await?;
    let no = |answer: &penstock_tests::Answer| (answer.body["success"].clone(), answer.body["code"].clone());
    let wrong = Session::ask(&snowflake, ROLE, json!({"LOGIN_NAME": USER, "PASSWORD": "guess"})).await?;
    assert_eq!(no(&wrong), (json!(false), json!("390100")));
    let wrong = Session::ask(&snowflake, "SYSADMIN", json!({"LOGIN_NAME": USER, "PASSWORD": PASSWORD})).await?;
    assert_eq!(no(&wrong), (json!(false), json!("390189")));
    let forged = json!({"LOGIN_NAME": USER, "AUTHENTICATOR": "SNOWFLAKE_JWT", "TOKEN": "e30.e30.e30"});
    assert_eq!(no(&Session::ask(&snowflake, ROLE, forged).await?), (json!(false), json!("390144")));

    let session = Session::log_in(&snowflake).await?;
    let answer = session.run("SELECT 1").await?;
    for field in ["returned", "version", "finalRoleName", "numberOfBinds", "queryId"] {
        assert!(!answer.body["data"][field].is_null(), "{field} is missing in {}", answer.body);
    }
    snowflake.expire_sessions().await?;
    assert_eq!(no(&session.run("SELECT 1").await?), (json!(false), json!("390112")));
    let session = Session::log_in(&snowflake).await?;
    snowflake.close_sessions().await?;
    assert_eq!(no(&session.run("SELECT 1").await?), (json!(false), json!("390111")));
    Ok(())
}

/// A client that was killed inside a transaction must not hold up its successor for ever.
#[tokio::test]
async fn snowflake_rolls_back_what_is_left_open() -> Result<()> {
    let snowflake = FakeSnowflake::start_with(json!({"idle_transaction_s": 0.5})).await?;
    let left = Session::log_in(&snowflake).await?;
    for sql in ["CREATE TABLE t (id INT)", "INSERT INTO t VALUES (1)", "BEGIN", "UPDATE t SET id = 2"] {
        left.run(sql).await?.ok()?;
    }
    let closed = async || Ok(snowflake.log_text().contains("closed a session"));
    penstock_tests::wait_until("the session to be closed", LIMIT, closed).await?;
    assert_eq!(left.run("COMMIT").await?.body["code"], "390111");
    assert_eq!(ids(&snowflake).await?, [1]);
    Ok(())
}

async fn ids(snowflake: &FakeSnowflake) -> Result<Vec<i64>> {
    let rows = snowflake.query("SELECT id FROM t ORDER BY id").await?;
    Ok(rows.iter().filter_map(|row| row["ID"].as_i64()).collect())
}

/// A bare client, which sees answers as they are.
struct Session {
    http: reqwest::Client,
    url: String,
    token: String,
}

impl Session {
    async fn ask(snowflake: &FakeSnowflake, role: &str, mut data: Value) -> Result<penstock_tests::Answer> {
        data["ACCOUNT_NAME"] = json!(penstock_tests::snowflake::ACCOUNT);
        let path = format!("/session/v1/login-request?databaseName=RETAIL&schemaName=PUBLIC&roleName={role}");
        Connect::new(snowflake.url()).post(&path, &json!({"data": data})).await
    }

    async fn log_in(snowflake: &FakeSnowflake) -> Result<Self> {
        let body = Self::ask(snowflake, ROLE, json!({"LOGIN_NAME": USER, "PASSWORD": PASSWORD})).await?.ok()?;
        for field in ["sessionId", "masterToken", "validityInSeconds", "masterValidityInSeconds"] {
            assert!(!body["data"][field].is_null(), "{field} is missing in {body}");
        }
        let token = body["data"]["token"].as_str().unwrap_or_default().to_owned();
        Ok(Self { http: reqwest::Client::builder().no_proxy().build()?, url: snowflake.url().into(), token })
    }

    async fn run(&self, sql: &str) -> Result<penstock_tests::Answer> {
        let url = format!("{}/queries/v1/query-request?requestId={}", self.url, uuid::Uuid::new_v4());
        let request = self.http.post(url).header("Authorization", format!("Snowflake Token=\"{}\"", self.token));
        let response = request.json(&json!({"sqlText": sql})).send().await?;
        let status = response.status().as_u16();
        let body = serde_json::from_str(&response.text().await?).unwrap_or_default();
        Ok(penstock_tests::Answer { status, body })
    }
}
