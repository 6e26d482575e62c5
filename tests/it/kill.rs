//! The worker is killed, again and again, while orders flow to Snowflake: each arrives exactly once.
//!
//! `PENSTOCK_SEED` repeats a run's moments, `PENSTOCK_KILL_ORDERS` makes it longer or shorter.

use anyhow::{Context, Result, ensure};
use penstock_tests::{FakeSnowflake, Kafka, Worker, unique, wait_until};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::time::{Duration, Instant};

const KILLS: usize = 20;
const PARTITIONS: i32 = 4;
const LIMIT: Duration = Duration::from_secs(300);

fn from_environment(name: &str, default: u64) -> Result<u64> {
    std::env::var(name).ok().map_or(Ok(default), |text| text.parse().with_context(|| format!("{name}={text}")))
}

fn order(number: usize) -> String {
    let (cents, country) = (number % 100, ["DE", "FR", "US", "JP"][number % 4]);
    format!(
        r#"{{"order_id":"o-{number:07}","customer":{{"id":"c-{}","country":"{country}"}},"quantity":{},"total":{}.{cents:02},"test":false}}"#,
        number % 5_000,
        1 + number % 9,
        number % 300,
    )
}

#[tokio::test]
async fn every_order_arrives_exactly_once_over_twenty_kills() -> Result<()> {
    let seed = from_environment("PENSTOCK_SEED", 20_261_123)?;
    let orders = from_environment("PENSTOCK_KILL_ORDERS", 200_000)? as usize;
    println!("kill: PENSTOCK_SEED={seed} PENSTOCK_KILL_ORDERS={orders}");
    let mut moments = StdRng::seed_from_u64(seed);

    let kafka = Kafka::shared().await?;
    let snowflake = FakeSnowflake::start().await?;
    let topic = unique("orders").replace('-', "_");
    kafka.create_topic(&topic, PARTITIONS).await?;
    let mut worker = Worker::builder(kafka).property("offset.flush.interval.ms", 1_000).start().await?;
    let name = unique("kill");
    let mut config = snowflake.connector_config();
    for (key, value) in [
        ("topics", topic.as_str()),
        ("tasks.max", "2"),
        ("buffer.flush.time", "1"),
        ("buffer.count.records", "20000"),
        ("consumer.override.session.timeout.ms", "6000"),
    ] {
        config.insert(key.into(), value.into());
    }
    worker.connect().create(&name, &config).await?;

    let began = Instant::now();
    for kill in 0..KILLS {
        let (first, last) = (kill * orders / KILLS, (kill + 1) * orders / KILLS);
        let after = Duration::from_millis(moments.random_range(100..2_500));
        let killing = async {
            tokio::time::sleep(after).await;
            worker.kill();
            worker.restart().await
        };
        tokio::try_join!(kafka.produce_values(&topic, (first..last).map(order)), killing)?;
    }
    println!("kill: {KILLS} kills while {orders} orders were produced, {:.1} s", began.elapsed().as_secs_f64());

    worker.connect().wait_running(&name, 2).await?;
    let group = format!("connect-{name}");
    wait_until("everything is committed", LIMIT, async || Ok(kafka.lag(&group, &topic).await? == 0)).await?;
    let counted = snowflake
        .query(&format!(
            r#"select count(*) as n, count(distinct record_content:order_id::varchar) as orders,
                      count(distinct (record_metadata:partition::int * 100000000 + record_metadata:offset::int)) as places
               from "{}""#,
            topic.to_uppercase()
        ))
        .await?;
    println!("kill: {counted:?}, {:.1} s", began.elapsed().as_secs_f64());
    let number = |key: &str| counted[0].get(key).and_then(|v| v.as_u64().or_else(|| v.as_str()?.parse().ok()));
    for key in ["N", "ORDERS", "PLACES"] {
        ensure!(number(key) == Some(orders as u64), "{key} is not {orders}: {counted:?}; repeat with PENSTOCK_SEED={seed}");
    }
    ensure!(worker.stop().await?.success());
    Ok(())
}
