//! The end of the demo: tables read back from Snowflake by SQL.

use anyhow::Result;
use penstock_tests::Usage;
use serde_json::{Map, Value};

use crate::account::{Account, Road, Tally};
use crate::ground::Ground;
use crate::table::{Table, thousands};

/// Prints all tables.
pub(crate) async fn show(ground: &Ground, account: &Account, memory: &Usage) -> Result<()> {
    show_account(account);
    let orders = "FROM ORDERS GROUP BY 1 ORDER BY 3 DESC";
    query(
        ground,
        "Revenue by country",
        ["COUNTRY", "ORDERS", "REVENUE"],
        &format!(
            "SELECT CUSTOMER:country::VARCHAR AS COUNTRY, COUNT(*) AS ORDERS, ROUND(SUM(TOTAL), 2)::DOUBLE AS REVENUE {orders}"
        ),
    )
    .await?;
    query(
        ground,
        "Orders flagged as fraud",
        ["FRAUD_FLAG", "ORDERS", "REVENUE"],
        &format!(
            "SELECT FRAUD_FLAG::VARCHAR AS FRAUD_FLAG, COUNT(*) AS ORDERS, ROUND(SUM(TOTAL), 2)::DOUBLE AS REVENUE {orders}"
        ),
    )
    .await?;
    query(
        ground,
        "What customers do (addresses masked by MaskField, source added by InsertField)",
        ["ACTION", "EVENTS", "IP", "SOURCE"],
        "SELECT ACTION, COUNT(*) AS EVENTS, MAX(IP) AS IP, MAX(SOURCE) AS SOURCE FROM INTERACTIONS GROUP BY 1 ORDER BY 2 DESC",
    )
    .await?;
    query(
        ground,
        "Counted stock by zone (a field that came later: the table grew with it)",
        ["ZONE", "COUNTS", "ON_HAND"],
        "SELECT COALESCE(ZONE, '(none)') AS ZONE, COUNT(*) AS COUNTS, SUM(ON_HAND)::INT AS ON_HAND FROM INVENTORY GROUP BY 1 ORDER BY 1",
    )
    .await?;
    let (requests, unchanged, refused) = ground.tickets.requests();
    let function = ground.alerts.get().await?;
    let mut roads = Table::new(["by HTTP", "arrived", "lost", "duplicated", "on the way"]);
    let cells = |road: &Road| [road.arrived, road.lost, road.duplicated].map(thousands);
    let [arrived, lost, duplicated] = cells(&account.tickets);
    let way = format!("{requests} requests, {unchanged} answered 304 and {refused} 429");
    roads.row(["tickets polled from the helpdesk".into(), arrived, lost, duplicated, way]);
    let [arrived, lost, duplicated] = cells(&account.alerts);
    let way = format!(
        "{} requests, {} failed, {} alerts came again under their key",
        function["requests"], function["failed"], function["again"]
    );
    roads.row(["alerts at the cloud function".into(), arrived, lost, duplicated, way]);
    println!("\n  Two components over HTTP");
    roads.print();
    let mut dead = Table::new(["dead letters of", "stage and reason", "count"]);
    for ((topic, reason), count) in &account.reasons {
        dead.row([topic.clone(), reason.clone(), thousands(*count)]);
    }
    println!("\n  Dead letters");
    dead.print();
    println!(
        "\n  Worker memory: {:.0} MB resident, {:.0} MB at most; {:.1} s of processor time",
        memory.rss_mb(),
        memory.rss_peak_mb(),
        memory.cpu.as_secs_f64()
    );
    Ok(())
}

fn show_account(account: &Account) {
    println!("\n  What became of every record (test orders are dropped by the transform's rule)");
    let mut table = Table::new(["topic", "table", "in Kafka", "rows", "dead letters", "test orders", "lost", "duplicated"]);
    let mut sum = Tally::default();
    let cells = |t: &Tally| [t.records, t.rows, t.dead, t.dropped, t.lost, t.duplicated].map(thousands);
    for (stream, tally) in &account.topics {
        let [records, rows, dead, dropped, lost, duplicated] = cells(tally);
        table.row([stream.topic.into(), stream.table.into(), records, rows, dead, dropped, lost, duplicated]);
        sum.records += tally.records;
        sum.rows += tally.rows;
        sum.dead += tally.dead;
        sum.dropped += tally.dropped;
        sum.lost += tally.lost;
        sum.duplicated += tally.duplicated;
    }
    let [records, rows, dead, dropped, lost, duplicated] = cells(&sum);
    table.row(["all".into(), String::new(), records, rows, dead, dropped, lost, duplicated]);
    table.print();
}

/// Runs a statement and prints its answer.
async fn query<const N: usize>(ground: &Ground, title: &str, columns: [&str; N], sql: &str) -> Result<()> {
    println!("\n  {title}\n    > {sql}");
    let mut table = Table::new(columns);
    for row in ground.snowflake.query(sql).await? {
        table.row(columns.map(|column| shown(&row, column)));
    }
    table.print();
    Ok(())
}

fn shown(row: &Map<String, Value>, column: &str) -> String {
    match row.get(column) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(n)) => match n.as_u64() {
            Some(n) => thousands(n),
            None => {
                let x = n.as_f64().unwrap_or_default();
                format!("{}.{:02}", thousands(x as u64), (x * 100.0).round() as u64 % 100)
            }
        },
        Some(other) => other.to_string(),
        None => "?".to_owned(),
    }
}
