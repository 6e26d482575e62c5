//! What became of every record: counted from Kafka and Snowflake, never from what was sent.
//!
//! A record of a topic is either a row in Snowflake, found by topic, partition and offset in `RECORD_METADATA`; or a dead letter, found
//! by its context headers; or an order of the shop's own tests (`"test": true`, or a customer `test-...`), which the transform drops by rule. What is none of
//! these is lost. What is there more often than once, or in two of these ways, is duplicated.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use anyhow::{Context, Result};
use penstock_retail::order::OrderAvro;
use penstock_tests::kafka::Message;

use crate::ground::Ground;
use crate::streams::{self, Stream};

/// A partition and an offset.
type Place = (i32, i64);

/// The account of all topics.
pub(crate) struct Account {
    pub(crate) topics: Vec<(Stream, Tally)>,
    /// Dead letters in Kafka.
    pub(crate) dead_letters: u64,
    /// How many of them for each stage and reason.
    pub(crate) reasons: BTreeMap<(String, String), u64>,
    /// Tickets of the helpdesk in their topic, by their ids.
    pub(crate) tickets: Road,
    /// Orders that are flagged in Snowflake at the function, by their idempotency keys.
    pub(crate) alerts: Road,
}

/// The account of what goes by HTTP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Road {
    /// What is there, each counted once.
    pub(crate) arrived: u64,
    pub(crate) lost: u64,
    /// There twice, or without being expected.
    pub(crate) duplicated: u64,
}

/// The account of one topic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) records: u64,
    pub(crate) rows: u64,
    pub(crate) dead: u64,
    /// Left out by the transform's rule.
    pub(crate) dropped: u64,
    pub(crate) lost: u64,
    pub(crate) duplicated: u64,
}

impl Account {
    pub(crate) async fn take(ground: &Ground) -> Result<Self> {
        let has_dead = ground.kafka.has_topic(streams::DEAD_LETTERS).await?;
        let dead = if has_dead { ground.kafka.read(streams::DEAD_LETTERS).await? } else { Vec::new() };
        let mut topics = Vec::new();
        for stream in streams::ALL {
            let messages = ground.kafka.read(stream.topic).await?;
            let rows = rows_by_place(ground, stream).await?;
            let dead = dead_by_place(&dead, stream.topic)?;
            let is_dropped = |message: &Message| stream == streams::ORDERS && is_test_order(&ground.avro, message);
            topics.push((stream, tally(&messages, &rows, &dead, is_dropped)));
        }
        let mut reasons = BTreeMap::new();
        for letter in &dead {
            let header = |name: &str| letter.header(&format!("__connect.errors.{name}")).unwrap_or_default();
            *reasons.entry((header("topic"), reason(&header("stage"), &header("exception.message")))).or_default() += 1;
        }
        let (tickets, alerts) = (tickets(ground).await?, alerts(ground).await?);
        Ok(Self { topics, dead_letters: dead.len() as u64, reasons, tickets, alerts })
    }

    pub(crate) fn lost(&self) -> u64 {
        self.topics.iter().map(|(_, tally)| tally.lost).sum::<u64>() + self.tickets.lost + self.alerts.lost
    }

    pub(crate) fn duplicated(&self) -> u64 {
        let of_topics: u64 = self.topics.iter().map(|(_, tally)| tally.duplicated).sum();
        of_topics + self.tickets.duplicated + self.alerts.duplicated
    }

    pub(crate) fn rows(&self) -> u64 {
        self.topics.iter().map(|(_, tally)| tally.rows).sum()
    }
}

/// Compares what must be there with what is.
fn road(expected: impl IntoIterator<Item = String>, there: impl IntoIterator<Item = String>) -> Road {
    let expected: BTreeSet<String> = expected.into_iter().collect();
    let (mut seen, mut all) = (BTreeSet::new(), 0);
    for name in there {
        all += 1;
        seen.insert(name);
    }
    let arrived = seen.intersection(&expected).count() as u64;
    Road { arrived, lost: expected.len() as u64 - arrived, duplicated: all - arrived }
}

async fn tickets(ground: &Ground) -> Result<Road> {
    let messages = ground.kafka.read(streams::TICKETS).await?;
    let there = messages.iter().map(|message| Ok(message.json()?["id"].as_str().unwrap_or_default().to_owned()));
    Ok(road(ground.tickets.ids(), there.collect::<Result<Vec<_>>>()?))
}

/// Keys are made of topic, partition and offset, which Snowflake has beside each row.
async fn alerts(ground: &Ground) -> Result<Road> {
    let topic = streams::ORDERS.topic;
    let sql = "SELECT RECORD_METADATA:partition::INT AS P, RECORD_METADATA:offset::INT AS O FROM ORDERS WHERE FRAUD_FLAG";
    let flagged = ground.snowflake.query(sql).await?;
    let key = |row: &serde_json::Map<String, serde_json::Value>| {
        Some(format!("{topic}-{}-{}", row.get("P")?.as_i64()?, row.get("O")?.as_i64()?))
    };
    let expected: Option<Vec<String>> = flagged.iter().map(key).collect();
    let function = ground.alerts.get().await?;
    let keys = function["keys"].as_array().context("read the function's keys")?;
    let taken = keys.iter().map(|key| key.as_str().unwrap_or_default().to_owned());
    Ok(road(expected.context("read the places of flagged orders")?, taken))
}

/// Compares what is in the topic with where it is now.
fn tally(
    messages: &[Message],
    rows: &HashMap<Place, u64>,
    dead: &HashMap<Place, u64>,
    is_dropped: impl Fn(&Message) -> bool,
) -> Tally {
    let mut tally = Tally { records: messages.len() as u64, rows: rows.values().sum(), ..Tally::default() };
    let mut known = 0;
    for message in messages {
        let place = (message.partition, message.offset);
        let (row_count, dead_count) = (rows.get(&place).copied().unwrap_or(0), dead.get(&place).copied().unwrap_or(0));
        known += row_count;
        tally.dead += u64::from(dead_count > 0);
        match row_count + dead_count {
            0 if is_dropped(message) => tally.dropped += 1,
            0 => tally.lost += 1,
            times => tally.duplicated += times - 1,
        }
    }
    // Rows of records that Kafka does not have: they came from nowhere, or twice under another name.
    tally.duplicated += tally.rows - known;
    tally
}

async fn rows_by_place(ground: &Ground, stream: Stream) -> Result<HashMap<Place, u64>> {
    if !ground.snowflake.has_table(stream.table).await? {
        return Ok(HashMap::new());
    }
    let sql = format!(
        "SELECT RECORD_METADATA:partition::INT AS P, RECORD_METADATA:offset::INT AS O, COUNT(*) AS N FROM \"{}\" \
         WHERE RECORD_METADATA:topic::VARCHAR = '{}' GROUP BY 1, 2",
        stream.table, stream.topic
    );
    let number = |row: &serde_json::Map<String, serde_json::Value>, name: &str| {
        row.get(name).and_then(serde_json::Value::as_i64).with_context(|| format!("read {name} of {row:?}"))
    };
    let place = |row| Ok(((i32::try_from(number(row, "P")?)?, number(row, "O")?), u64::try_from(number(row, "N")?)?));
    ground.snowflake.query(&sql).await?.iter().map(place).collect()
}

fn dead_by_place(dead: &[Message], topic: &str) -> Result<HashMap<Place, u64>> {
    let mut places = HashMap::new();
    for letter in dead {
        let header = |name: &str| {
            letter.header(&format!("__connect.errors.{name}")).with_context(|| format!("find {name} of a dead letter"))
        };
        if header("topic")? == topic {
            *places.entry((header("partition")?.parse()?, header("offset")?.parse()?)).or_default() += 1;
        }
    }
    Ok(places)
}

fn is_test_order(avro: &OrderAvro, message: &Message) -> bool {
    message
        .value
        .as_deref()
        .is_some_and(|bytes| avro.read(bytes).is_ok_and(|order| order.test || order.customer.id.starts_with("test-")))
}

/// A reason without what differs from record to record, so that equal ones can be counted together.
fn reason(stage: &str, message: &str) -> String {
    const SHOWN_MAX: usize = 70;
    let digits_gone: String = message.chars().map(|c| if c.is_ascii_digit() { '#' } else { c }).collect();
    let line = digits_gone.lines().next().unwrap_or_default();
    let short: String = line.chars().take(SHOWN_MAX).collect();
    format!("{stage}: {short}{}", if line.chars().count() > SHOWN_MAX { "..." } else { "" })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(offset: i64) -> Message {
        Message { partition: 0, offset, timestamp_ms: None, key: None, value: None, headers: Vec::new() }
    }

    fn check(rows: &[(i64, u64)], dead: &[(i64, u64)], dropped: &[i64], lost: u64, duplicated: u64) {
        let by_place = |list: &[(i64, u64)]| list.iter().map(|&(offset, times)| ((0, offset), times)).collect();
        let messages: Vec<Message> = (0..3).map(message).collect();
        let tally = tally(&messages, &by_place(rows), &by_place(dead), |m| dropped.contains(&m.offset));
        assert_eq!((tally.lost, tally.duplicated), (lost, duplicated), "{tally:?}");
    }

    #[test]
    fn what_goes_by_http_is_accounted_for() {
        let names = |text: &str| text.chars().map(String::from).collect::<Vec<_>>();
        assert_eq!(road(names("abc"), names("cab")), Road { arrived: 3, lost: 0, duplicated: 0 });
        assert_eq!(road(names("abc"), names("aab")), Road { arrived: 2, lost: 1, duplicated: 1 });
        assert_eq!(road(names("a"), names("ax")), Road { arrived: 1, lost: 0, duplicated: 1 });
    }

    #[test]
    fn every_record_is_accounted_for() {
        check(&[(0, 1), (1, 1), (2, 1)], &[], &[], 0, 0);
        check(&[(0, 1)], &[(1, 1)], &[2], 0, 0);
        check(&[(0, 1)], &[], &[], 2, 0);
        check(&[(0, 2), (1, 1), (2, 1)], &[], &[], 0, 1);
        check(&[(0, 1), (1, 1), (2, 1)], &[(1, 1)], &[], 0, 1);
        check(&[(0, 1), (1, 1), (2, 1), (9, 1)], &[], &[], 0, 1);
    }
}
