//! Shows how the rows arrive, until every consumed offset is committed.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::ground::Ground;
use crate::streams::{self, Stream};
use crate::table;

const LOOK_EVERY: Duration = Duration::from_millis(1000);

/// Waits until the connectors have committed all that is in their topics: rows are in Snowflake, dead letters in Kafka.
///
/// # Errors
/// When a task fails, or the limit has passed.
pub(crate) async fn until_all_committed(ground: &Ground, limit: Duration) -> Result<()> {
    let began = Instant::now();
    loop {
        let mut lag = 0;
        let mut rows = Vec::new();
        for stream in streams::ALL {
            lag += ground.kafka.lag(&format!("connect-{}", stream.connector), stream.topic).await?;
            rows.push(format!("{} {}", stream.table.to_lowercase(), table::thousands(rows_in(ground, stream).await?)));
        }
        let tickets_to_come =
            ground.tickets.ids().len() as i64 - ground.kafka.end_offsets(streams::TICKETS).await?.values().sum::<i64>();
        lag += ground.kafka.lag(&format!("connect-{}", streams::ALERTS_CONNECTOR), streams::ORDERS.topic).await?;
        lag += tickets_to_come.max(0);
        println!(
            "    {:>5.1} s  {}  (to do: {})",
            began.elapsed().as_secs_f64(),
            rows.join(", "),
            table::thousands(lag.unsigned_abs())
        );
        if lag == 0 {
            return Ok(());
        }
        for (connector, _) in streams::connectors() {
            fail_with(ground, connector).await?;
        }
        if began.elapsed() > limit {
            bail!(
                "{lag} records are not committed after {} s; the worker's log: {}",
                limit.as_secs(),
                ground.worker.log_path().display()
            );
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Rows so far; none while there is no table.
async fn rows_in(ground: &Ground, stream: Stream) -> Result<u64> {
    if ground.snowflake.has_table(stream.table).await? { ground.snowflake.count(stream.table).await } else { Ok(0) }
}

/// An error when the connector or a task of it has failed, with the reason.
async fn fail_with(ground: &Ground, connector: &str) -> Result<()> {
    let status = ground.worker.connect().status(connector).await?.ok()?;
    let units = std::iter::once(&status["connector"]).chain(status["tasks"].as_array().into_iter().flatten());
    for unit in units {
        if unit["state"] == "FAILED" {
            bail!("{connector} has failed: {}", unit["trace"].as_str().unwrap_or("no reason given"));
        }
    }
    Ok(())
}
