//! The Snowflake sink against an account that refuses, delays, forgets and dies; read back with Snowflake's own client.

mod driver;

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use driver::{Driver, Log, partition, refusal};
use penstock_api::{Offsets, Props, TopicPartition};
use penstock_tests::snowflake::When;
use penstock_tests::{FakeSnowflake, Fault, unique};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(60);

/// A connector that loads at once, small files, columns upper-case, tables evolving: the stand-in forgets
/// ENABLE_SCHEMA_EVOLUTION, so it is always on.
fn config(snowflake: &FakeSnowflake, more: &[(&str, &str)]) -> Props {
    let mut props: Props = snowflake.connector_config().into_iter().collect();
    let base = [
        ("name", "it"),
        ("penstock.snowflake.schema.evolution", "always"),
        ("buffer.count.records", "40"),
        ("buffer.flush.time", "1"),
    ];
    for (key, value) in base.iter().chain(more) {
        props.insert((*key).to_owned(), (*value).to_owned());
    }
    props
}

fn from_start(partitions: &[&TopicPartition]) -> Offsets {
    partitions.iter().map(|p| ((*p).clone(), 0)).collect()
}

fn table(topic: &str) -> String {
    topic.to_uppercase()
}

fn topic() -> String {
    unique("orders").replace('-', "_")
}

/// Loads all of a log with one task.
async fn load(config: &Props, log: &Log, committed: &Offsets) -> Result<Driver> {
    let mut driver = Driver::start(config, log, committed).await?;
    driver.drain(SOON).await?;
    Ok(driver)
}

/// Every offset of the partition that has a row stands in the table exactly once.
async fn exactly_once(snowflake: &FakeSnowflake, table: &str, expected: usize, what: &str) -> Result<()> {
    let sql = format!(
        "SELECT COUNT(*) AS ALL_ROWS, COUNT(DISTINCT RECORD_METADATA:partition::VARCHAR || '-' || RECORD_METADATA:offset::VARCHAR) AS \
         OFFSETS FROM \"{table}\""
    );
    let rows = snowflake.query(&sql).await?;
    let count = |name: &str| rows[0][name].as_u64().with_context(|| format!("{name} in {rows:?}"));
    let (all, distinct) = (count("ALL_ROWS")?, count("OFFSETS")?);
    ensure!(all == distinct && all == expected as u64, "{what}: {all} rows, {distinct} offsets, {expected} expected");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn content_and_metadata_are_loaded_as_the_official_connector_does() -> Result<()> {
    let snowflake = FakeSnowflake::start().await?;
    let (log, topic) = (Log::default(), topic());
    let p = partition(&topic, 3);
    log.append(&p, Some(r#"{"id": 1, "Who": {"name": "Jörg \"x\""}, "tags": ["a"]}"#));
    log.append_at(&p, 7, Some("[1, 2.25]"));
    log.append_at(&p, 9, None);
    let driver = load(&config(&snowflake, &[]), &log, &from_start(&[&p])).await?;
    assert_eq!(driver.committed[&p], 10);
    let sql = format!(
        "SELECT RECORD_CONTENT:Who.name::VARCHAR AS NAME, RECORD_CONTENT[1]::VARCHAR AS SECOND, RECORD_CONTENT IS NULL AS TOMB, \
         RECORD_METADATA:offset::INT AS O, RECORD_METADATA:partition::INT AS P, RECORD_METADATA:topic::VARCHAR AS T, \
         RECORD_METADATA:key::VARCHAR AS K, RECORD_METADATA:CreateTime::INT AS C FROM \"{}\" ORDER BY O",
        table(&topic)
    );
    let rows = snowflake.query(&sql).await?;
    assert_eq!(rows.len(), 3, "{rows:?}");
    assert_eq!(rows[0]["NAME"], json!("Jörg \"x\""));
    assert_eq!((&rows[0]["O"], &rows[0]["P"], &rows[0]["K"]), (&json!(0), &json!(3), &json!("k0")));
    assert_eq!((&rows[0]["T"], &rows[0]["C"]), (&json!(topic), &json!(1_700_000_000_000_i64)));
    assert_eq!((&rows[1]["SECOND"], &rows[1]["O"]), (&json!("2.25"), &json!(7)));
    assert_eq!((&rows[2]["TOMB"], &rows[2]["O"]), (&json!(true), &json!(9)));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_become_columns_and_new_fields_new_columns() -> Result<()> {
    let snowflake = FakeSnowflake::start().await?;
    let (log, topic) = (Log::default(), topic());
    let p = partition(&topic, 0);
    let config = config(&snowflake, &[("snowflake.enable.schematization", "true"), ("buffer.count.records", "1")]);
    log.append(&p, Some(r#"{"id": 1, "price": 9.5, "name": "a\nb", "ok": true, "tags": [1], "who": {"x": 1}, "later": null}"#));
    let mut driver = load(&config, &log, &from_start(&[&p])).await?;
    log.append(&p, Some(r#"{"later": "now", "id": 123456789012345678, "price": 1, "odd name": 5}"#));
    driver.drain(SOON).await?;
    let rows = snowflake.query(&format!("SELECT * FROM \"{}\" ORDER BY RECORD_METADATA:offset::INT", table(&topic))).await?;
    assert_eq!(rows.len(), 2);
    assert_eq!((&rows[0]["ID"], &rows[0]["PRICE"], &rows[0]["NAME"]), (&json!(1), &json!(9.5), &json!("a\nb")));
    assert_eq!((&rows[0]["OK"], &rows[0]["LATER"]), (&json!(true), &Value::Null));
    assert_eq!(rows[1]["ID"].to_string().trim_matches('"'), "123456789012345678");
    assert_eq!((&rows[1]["LATER"], &rows[1]["OK"], &rows[1]["ODD NAME"]), (&json!("now"), &Value::Null, &json!(5)));
    let types = snowflake.query(&format!("DESCRIBE TABLE \"{}\"", table(&topic))).await?;
    let ty = |column: &str| types.iter().find(|row| row["name"] == json!(column)).map(|row| row["type"].clone());
    assert_eq!(ty("ID"), Some(json!("NUMBER(38,0)")));
    assert_eq!(ty("WHO"), Some(json!("VARIANT")));
    assert_eq!(ty("PRICE"), Some(json!("FLOAT")));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn users_tables_keep_their_types_and_what_does_not_fit_is_reported() -> Result<()> {
    let snowflake = FakeSnowflake::start().await?;
    let (log, topic) = (Log::default(), topic());
    let p = partition(&topic, 0);
    let create = "CREATE TABLE \"{}\" (RECORD_METADATA VARIANT, PRICE NUMBER(6,2), DAY DATE, MOMENT TIMESTAMP_NTZ, CLOCK TIME, \
                  CODE VARCHAR(3), RAW BINARY)";
    snowflake.query(&create.replace("{}", &table(&topic))).await?;
    log.append(
        &p,
        Some(
            r#"{"price": 12.345, "day": "2026-11-23", "moment": "2026-11-23T12:00:00.5Z", "clock": "12:34:56", "code": "abc", "raw": "00FF"}"#,
        ),
    );
    for bad in [
        r#"{"price": 10000}"#,
        r#"{"day": "someday"}"#,
        r#"{"moment": "noon"}"#,
        r#"{"clock": 7}"#,
        r#"{"code": "abcd"}"#,
        r#"{"raw": "zz"}"#,
        "[1]",
        r#"{"unknown": 1}"#,
    ] {
        log.append(&p, Some(bad));
    }
    log.append(&p, Some("{}"));
    let config =
        config(&snowflake, &[("snowflake.enable.schematization", "true"), ("penstock.snowflake.schema.evolution", "never")]);
    let driver = load(&config, &log, &from_start(&[&p])).await?;
    let reported: Vec<i64> = driver.reports.iter().map(|(offset, _)| *offset).collect();
    assert_eq!(reported, (1..=8).collect::<Vec<_>>(), "{:?}", driver.reports);
    assert!(driver.reports[0].1.contains("\"PRICE\" NUMBER(6,2)"), "{}", driver.reports[0].1);
    let sql = format!(
        "SELECT PRICE::VARCHAR AS PRICE, DAY::VARCHAR AS DAY, MOMENT::VARCHAR AS MOMENT, CLOCK::VARCHAR AS CLOCK, CODE, \
         TO_VARCHAR(RAW, 'HEX') AS RAW FROM \"{}\" ORDER BY PRICE NULLS LAST",
        table(&topic)
    );
    let rows = snowflake.query(&sql).await?;
    assert_eq!(rows.len(), 2);
    assert_eq!((&rows[0]["PRICE"], &rows[0]["DAY"]), (&json!("12.35"), &json!("2026-11-23")), "{rows:?}");
    assert!(rows[0]["MOMENT"].as_str().is_some_and(|moment| moment.starts_with("2026-11-23 12:00:00.5")), "{rows:?}");
    assert!(rows[0]["CLOCK"].as_str().is_some_and(|clock| clock.starts_with("12:34:56")), "{rows:?}");
    // The stand-in writes bytes in DuckDB's way.
    assert_eq!(rows[0]["RAW"], json!(r"\x00\xFF"), "{rows:?}");
    assert_eq!(rows[1]["CODE"], Value::Null);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn tombstones_that_leave_no_row_are_committed_all_the_same() -> Result<()> {
    let snowflake = FakeSnowflake::start().await?;
    let (log, topic) = (Log::default(), topic());
    let p = partition(&topic, 0);
    for n in 0..20 {
        log.append(&p, (n % 2 == 0).then_some(r#"{"a": 1}"#));
    }
    let ignore = config(&snowflake, &[("behavior.on.null.values", "IGNORE")]);
    let driver = load(&ignore, &log, &from_start(&[&p])).await?;
    assert_eq!(driver.committed[&p], 20);
    exactly_once(&snowflake, &table(&topic), 10, "ignored tombstones").await
}

#[tokio::test(flavor = "multi_thread")]
async fn several_topics_can_share_a_table() -> Result<()> {
    let snowflake = FakeSnowflake::start().await?;
    let log = Log::default();
    let (eu, us) = (partition("orders.eu", 0), partition("orders.us", 0));
    for n in 0..30 {
        log.append(&eu, Some(&format!(r#"{{"n": {n}}}"#)));
        log.append(&us, Some(&format!(r#"{{"n": {n}}}"#)));
    }
    let config = config(&snowflake, &[("snowflake.topic2table.map", "orders\\..*:all_orders")]);
    load(&config, &log, &from_start(&[&eu, &us])).await?;
    let rows = snowflake
        .query("SELECT RECORD_METADATA:topic::VARCHAR AS T, COUNT(*) AS N FROM ALL_ORDERS GROUP BY 1 ORDER BY 1")
        .await?;
    assert_eq!(rows.len(), 2);
    assert_eq!((&rows[0]["T"], &rows[0]["N"], &rows[1]["N"]), (&json!("orders.eu"), &json!(30), &json!(30)));
    Ok(())
}

/// Kills the task while a request is held up before or after its work is done, for every kind of request it makes; a new task
/// goes on from what was committed. Offsets have gaps on purpose.
#[tokio::test(flavor = "multi_thread")]
async fn a_task_killed_at_any_step_loads_every_row_once() -> Result<()> {
    let snowflake = FakeSnowflake::start_with(json!({"idle_transaction_s": 0.5})).await?;
    let steps = [
        ("login", Fault::hold as fn(When) -> Fault, "", "login-request"),
        ("stage", Fault::hold, "^CREATE STAGE", ""),
        ("offsets table", Fault::hold, "^CREATE TABLE.*PENSTOCK_OFFSETS", ""),
        ("first rows", Fault::hold, "^INSERT INTO", ""),
        ("create table", Fault::hold, "^CREATE TABLE.*RECORD_CONTENT", ""),
        ("put", Fault::hold, "^PUT", ""),
        ("upload", Fault::hold, "", "fs_bucket"),
        ("begin", Fault::hold, "^BEGIN", ""),
        ("copy", Fault::hold, "^COPY", ""),
        ("advance", Fault::hold, "^UPDATE.*CURRENT_TIMESTAMP", ""),
        ("commit", Fault::hold, "^COMMIT", ""),
    ];
    for (step, fault, sql, path) in steps {
        for when in [When::Before, When::After] {
            for skip in [0, 1] {
                let name = format!("{step} {when:?} skipping {skip}");
                // The account's own tables are made once only.
                if skip == 1 && !matches!(step, "put" | "upload" | "begin" | "copy" | "advance" | "commit") {
                    continue;
                }
                if matches!(step, "stage" | "offsets table") {
                    snowflake.query("DROP TABLE IF EXISTS \"_PENSTOCK_OFFSETS\"").await?;
                }
                let strike = fault(when).on_sql(sql).on_path(path).after(skip);
                killed_there(&snowflake, strike).await.with_context(|| name.clone())?;
            }
        }
    }
    Ok(())
}

async fn killed_there(snowflake: &FakeSnowflake, strike: Fault) -> Result<()> {
    let (log, topic) = (Log::default(), topic());
    let p = partition(&topic, 0);
    for n in 0..100 {
        log.append_at(&p, n * 3 + 1, Some(&format!(r#"{{"n": {n}}}"#)));
    }
    let config = config(snowflake, &[("name", &topic)]);
    snowflake.set_faults(&[strike]).await?;
    let mut committed = from_start(&[&p]);
    // In a runtime of its own, which ends with it: tasks, sockets and all, as a process does.
    let (victim_config, victim_log, start) = (config.clone(), log.clone(), committed.clone());
    let (tell, told) = tokio::sync::watch::channel(committed.clone());
    let victim = std::thread::spawn(move || {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime can be made");
        let life = async move {
            let mut driver = Driver::start(&victim_config, &victim_log, &start).await?.batch_max(40);
            loop {
                driver.step().await?;
                tell.send_replace(driver.committed.clone());
            }
        };
        let handle = runtime.spawn(async move {
            let outcome: Result<()> = life.await;
            outcome
        });
        (runtime, handle)
    });
    let (runtime, handle) = victim.join().ok().context("the victim's thread panicked")?;
    let struck = snowflake.wait_fault(0, 1, SOON).await;
    runtime.shutdown_background();
    struck.with_context(|| format!("the victim: finished {}", handle.is_finished()))?;
    committed.clone_from(&told.borrow());
    snowflake.set_faults(&[]).await?;
    snowflake.release().await?;
    let driver = load(&config, &log, &committed).await?;
    assert_eq!(driver.committed[&p], log.end(&p));
    driver.stop().await;
    exactly_once(snowflake, &table(&topic), log.len(&p), "after the kill").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zombie_and_its_successor_load_every_row_once() -> Result<()> {
    let snowflake = FakeSnowflake::start_with(json!({"idle_transaction_s": 1})).await?;
    let (log, topic) = (Log::default(), topic());
    let p = partition(&topic, 0);
    for n in 0..400 {
        log.append(&p, Some(&format!(r#"{{"n": {n}}}"#)));
    }
    let config = config(&snowflake, &[]);
    let start = from_start(&[&p]);
    // The zombie is held in the middle of its transaction, wakes up after its successor has gone by, and goes on.
    snowflake.set_faults(&[Fault::hold(When::After).on_sql("^COPY")]).await?;
    let mut zombie = Driver::start(&config, &log, &start).await?.batch_max(50);
    zombie.step().await?;
    snowflake.wait_fault(0, 1, SOON).await?;
    let mut successor = Driver::start(&config, &log, &start).await?.batch_max(30);
    for _ in 0..3 {
        successor.step().await?;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    snowflake.release().await?;
    for _ in 0..20 {
        let (one, other) = tokio::join!(zombie.step(), successor.step());
        // Either may give up in the end, with words that say why; never both.
        if let Err(error) = one.and(other) {
            ensure!(error.to_string().contains("somebody else"), "{error:#}");
            break;
        }
    }
    drop(zombie);
    drop(successor);
    let driver = load(&config, &log, &start).await?;
    assert_eq!(driver.committed[&p], 400);
    exactly_once(&snowflake, &table(&topic), 400, "two at once").await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_is_down_slow_or_refusing_is_waited_for() -> Result<()> {
    let mut snowflake = FakeSnowflake::start_with(json!({"idle_transaction_s": 0.5})).await?;
    let (log, topic) = (Log::default(), topic());
    let p = partition(&topic, 0);
    let config = config(&snowflake, &[("snowflake.request.timeout.ms", "3000")]);
    let mut expected = 0;
    let mut more = |log: &Log| {
        for n in 0..50 {
            log.append(&p, Some(&format!(r#"{{"n": {n}}}"#)));
        }
        expected += 50;
        expected
    };
    // Down at the start.
    snowflake.kill();
    more(&log);
    let (later, from) = (config.clone(), from_start(&[&p]));
    let waiting = {
        let log = log.clone();
        tokio::spawn(async move { Driver::start(&later, &log, &from).await })
    };
    snowflake.restart().await?;
    let mut driver = waiting.await??;
    driver.drain(SOON).await?;
    // Each in the middle of the work.
    let troubles = [
        ("503", vec![Fault::status(503).on_sql("^COPY").times(2)]),
        ("429", vec![Fault::status(429).on_sql("^PUT").times(2)]),
        ("403", vec![Fault::status(403).on_sql("^BEGIN").times(2)]),
        ("upload refused", vec![Fault::status(403).on_path("fs_bucket")]),
        ("dropped before commit", vec![Fault::drop_connection(When::Before).on_sql("^COMMIT")]),
        ("dropped after commit", vec![Fault::drop_connection(When::After).on_sql("^COMMIT")]),
        ("lock", vec![Fault::error("000625", "57014", "lock waited for too long").on_sql("^UPDATE")]),
        ("slower than the time limit", vec![Fault::delay(Duration::from_secs(5)).on_sql("^COPY")]),
        ("privilege taken away for a while", vec![Fault::error("003001", "42501", "Insufficient privileges").on_sql("^COPY")]),
        ("dies with the commit", vec![Fault::exit(When::After).on_sql("^COMMIT")]),
    ];
    for (name, faults) in troubles {
        let dies = name.starts_with("dies");
        snowflake.set_faults(&faults).await?;
        let rows = more(&log);
        if dies {
            for _ in 0..20 {
                driver.step().await.context(name)?;
                tokio::time::sleep(Duration::from_millis(20)).await;
                if snowflake.fault_hits().await.is_err() {
                    break;
                }
            }
            snowflake.restart().await?;
        }
        driver.drain(SOON).await.context(name)?;
        if !dies {
            ensure!(snowflake.fault_hits().await?.iter().all(|hits| *hits > 0), "{name} did not strike");
        }
        exactly_once(&snowflake, &table(&topic), rows, name).await?;
    }
    snowflake.set_faults(&[]).await?;
    for (name, end) in [("expired", true), ("closed", false)] {
        if end {
            snowflake.expire_sessions().await?;
        } else {
            snowflake.close_sessions().await?;
        }
        let rows = more(&log);
        driver.drain(SOON).await.context(name)?;
        exactly_once(&snowflake, &table(&topic), rows, name).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_log_in_or_work_is_told_what_to_change() -> Result<()> {
    let snowflake = FakeSnowflake::start().await?;
    let (log, topic) = (Log::default(), topic());
    let p = partition(&topic, 0);
    log.append(&p, Some(r#"{"a": 1}"#));
    let start = from_start(&[&p]);
    let password = [("snowflake.authenticator", "snowflake"), ("snowflake.password", penstock_tests::snowflake::PASSWORD)];
    load(&config(&snowflake, &password), &log, &start).await.context("by password")?;

    let other_key = FakeSnowflake::start().await?.private_key();
    let cases: [(&[(&str, &str)], &str); 6] = [
        (&[password[0], ("snowflake.password", "wrong")], "snowflake.password"),
        (&[("snowflake.private.key", &other_key)], "snowflake.private.key"),
        (&[("snowflake.account.name", "OTHER")], "snowflake.user.name"),
        (&[("snowflake.role.name", "NOBODY")], "snowflake.role.name"),
        (&[("snowflake.private.key", "AAAA")], "snowflake.private.key"),
        (&[("penstock.snowflake.stage", "nowhere.nothing")], "NOTHING"),
    ];
    for (more, names) in cases {
        let more = [&[("name", "refused")], more].concat();
        let said = refusal(&config(&snowflake, &more), &log, &start).await?;
        assert!(said.contains(names), "{more:?}: {said}");
    }
    for (sql, names) in [("^CREATE STAGE", "penstock.snowflake.stage"), ("^CREATE TABLE.*RECORD_CONTENT", "snowflake.role.name")]
    {
        snowflake.set_faults(&[Fault::error("003001", "42501", "Insufficient privileges to operate").on_sql(sql)]).await?;
        let fresh = partition(&self::topic(), 0);
        log.append(&fresh, Some("{}"));
        let said = refusal(&config(&snowflake, &[]), &log, &from_start(&[&fresh])).await?;
        assert!(said.contains(names) && said.starts_with("Config") | said.contains("CREATE") | said.contains("create"), "{said}");
    }
    snowflake.set_faults(&[Fault::status(403).on_path("login")]).await?;
    let said = refusal(&config(&snowflake, &[]), &log, &start).await?;
    assert!(said.contains("snowflake.url.name"), "{said}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_that_do_not_fit_are_named_and_changed_ones_looked_at_again() -> Result<()> {
    let snowflake = FakeSnowflake::start().await?;
    let log = Log::default();
    let p = partition("mismatch", 0);
    log.append(&p, Some(r#"{"a": 1}"#));
    snowflake.query("CREATE TABLE MISMATCH (RECORD_METADATA VARCHAR, RECORD_CONTENT VARIANT)").await?;
    let said = refusal(&config(&snowflake, &[]), &log, &from_start(&[&p])).await?;
    assert!(said.contains("RECORD_METADATA") && said.contains("VARIANT"), "{said}");

    let p = partition("missing", 0);
    log.append(&p, Some(r#"{"a": 1}"#));
    let none = config(&snowflake, &[("snowflake.autocreate.table.type", "none")]);
    let said = refusal(&none, &log, &from_start(&[&p])).await?;
    assert!(said.contains("snowflake.autocreate.table.type"), "{said}");

    // A user takes a column away, and another makes one of another type, while rows wait.
    let p = partition("moving", 0);
    let config = config(&snowflake, &[("snowflake.enable.schematization", "true"), ("buffer.count.records", "2")]);
    log.append(&p, Some(r#"{"a": 1, "b": 1}"#));
    log.append(&p, Some(r#"{"a": 2, "b": 2}"#));
    let mut driver = load(&config, &log, &from_start(&[&p])).await?;
    log.append(&p, Some(r#"{"a": 3, "b": 3, "c": 3}"#));
    driver.step().await?;
    snowflake.query("ALTER TABLE MOVING DROP COLUMN B").await?;
    snowflake.query("ALTER TABLE MOVING ADD COLUMN C VARCHAR").await?;
    log.append(&p, Some(r#"{"a": 4, "b": 4, "c": 4}"#));
    driver.drain(SOON).await?;
    exactly_once(&snowflake, "MOVING", 4, "changed by others").await?;
    let rows = snowflake.query("SELECT B, C FROM MOVING WHERE A = 4").await?;
    assert_eq!((&rows[0]["B"], &rows[0]["C"]), (&json!(4), &json!("4")));
    // And then the table itself.
    snowflake.query("DROP TABLE MOVING").await?;
    log.append(&p, Some(r#"{"a": 5}"#));
    driver.drain(SOON).await?;
    exactly_once(&snowflake, "MOVING", 1, "dropped").await
}

/// A value that passes here and that the account refuses (the stand-in keeps NUMBER(38,0) in 64 bits): found by loading less
/// and less, and reported alone.
#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_only_snowflake_refuses_is_searched_for() -> Result<()> {
    let snowflake = FakeSnowflake::start().await?;
    let (log, topic) = (Log::default(), topic());
    let p = partition(&topic, 0);
    for n in 0..200 {
        let poison = matches!(n, 57 | 58 | 150);
        log.append(&p, Some(if poison { r#"{"a": 123456789012345678901234567890}"# } else { r#"{"a": 1}"# }));
    }
    let config = config(&snowflake, &[("snowflake.enable.schematization", "true")]);
    let driver = load(&config, &log, &from_start(&[&p])).await?;
    let reported: Vec<i64> = driver.reports.iter().map(|(offset, _)| *offset).collect();
    assert_eq!(reported, [57, 58, 150], "{:?}", driver.reports);
    exactly_once(&snowflake, &table(&topic), 197, "around the poison").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_made_anew_is_not_swallowed() -> Result<()> {
    let snowflake = FakeSnowflake::start().await?;
    let (log, topic) = (Log::default(), topic());
    let p = partition(&topic, 0);
    for _ in 0..10 {
        log.append(&p, Some("{}"));
    }
    let props = config(&snowflake, &[]);
    load(&props, &log, &from_start(&[&p])).await?;
    log.clear(&p);
    log.append(&p, Some(r#"{"again": 1}"#));
    // Kafka resets a position beyond the end to the beginning.
    let mut driver = Driver::start(&props, &log, &from_start(&[&p])).await?;
    driver.send_back(&p, 0);
    let said = driver.step().await.err().context("content with a topic made anew")?.to_string();
    let statement = said.split('`').nth(1).context("a statement to run")?;
    assert!(statement.starts_with("DELETE FROM"), "{said}");
    snowflake.query(statement).await?;
    load(&props, &log, &from_start(&[&p])).await?;
    assert_eq!(snowflake.count(&table(&topic)).await?, 11);
    Ok(())
}
