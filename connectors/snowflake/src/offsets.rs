//! The table that says how far each partition is loaded: a row for each connector, topic and partition.
//!
//! `OFF` is the last offset that is loaded, -1 for none. It moves in the transaction that loads the rows, by an UPDATE that
//! names the value it expects: the fence against everybody else who may load the same partition (see decisions/0002).

use std::collections::BTreeMap;

use penstock_api::{Error, Result, TopicPartition};

use crate::client::Session;
use crate::config::Config;
use crate::names::{TableName, literal};
use crate::sql::{Failure, Remedy, Rows};

/// Nothing is loaded yet.
pub const NONE: i64 = -1;

/// Statements on the table, for one connector.
pub struct Offsets<'a> {
    table: TableName,
    connector: &'a str,
}

impl<'a> Offsets<'a> {
    /// The offsets of this connector.
    #[must_use]
    pub fn of(config: &'a Config) -> Self {
        Self { table: config.offsets_table(), connector: &config.connector }
    }

    /// Reads how far the partitions are loaded, and makes the rows and the table that are missing.
    ///
    /// # Errors
    /// `Config` without the privileges, `Retriable` when Snowflake is out of reach, `Fatal` when the table is damaged.
    pub async fn open(&self, session: &mut Session, partitions: &[TopicPartition]) -> Result<BTreeMap<TopicPartition, i64>> {
        let doing = format!("read the offsets from {}", self.table);
        let mut found = match self.read(session).await {
            Ok(found) => found?,
            Err(failure) if failure.remedy() == Remedy::LookAgain => {
                let doing = format!("create table {}", self.table);
                session.run(&self.create()).await.map_err(|f| f.into_error(&doing))?;
                BTreeMap::new()
            }
            Err(failure) => return Err(failure.into_error(&doing)),
        };
        if partitions.iter().any(|p| !found.contains_key(p)) {
            found = self.add_missing(session, partitions).await?;
        }
        partitions
            .iter()
            .map(|p| {
                let offset = found.get(p).copied();
                Ok((p.clone(), offset.ok_or_else(|| Error::retriable(format!("{doing}: the row of {p} is gone")))?))
            })
            .collect()
    }

    /// How far one partition is loaded.
    ///
    /// # Errors
    /// Any [`Failure`].
    pub async fn current(&self, session: &mut Session, partition: &TopicPartition) -> Result<Option<i64>, Failure> {
        let sql = format!("SELECT TO_VARCHAR(OFF) AS O FROM {} WHERE {}", self.table, self.row(partition));
        let rows = session.run(&sql).await?;
        rows.first_cell().map(|text| text.parse().map_err(|_| Failure::protocol("an offset that is no number"))).transpose()
    }

    /// Moves a partition from `previous` to `last`, if it still is where it is thought to be.
    #[must_use]
    pub fn advance(&self, partition: &TopicPartition, previous: i64, last: i64) -> String {
        format!(
            "UPDATE {} SET OFF = {last}, UPDATED_AT = CURRENT_TIMESTAMP() WHERE {} AND OFF = {previous}",
            self.table,
            self.row(partition)
        )
    }

    /// The statement that lets a partition be loaded from the beginning, for people.
    #[must_use]
    pub fn forget(&self, partition: &TopicPartition) -> String {
        format!("DELETE FROM {} WHERE {}", self.table, self.row(partition))
    }

    fn row(&self, partition: &TopicPartition) -> String {
        let (connector, topic) = (literal(self.connector), literal(&partition.topic));
        format!("CONNECTOR = {connector} AND TOPIC = {topic} AND PART = {}", partition.partition)
    }

    fn create(&self) -> String {
        format!(
            "CREATE TABLE IF NOT EXISTS {} (CONNECTOR VARCHAR NOT NULL, TOPIC VARCHAR NOT NULL, PART NUMBER(10,0) NOT NULL, \
             OFF NUMBER(19,0) NOT NULL, UPDATED_AT TIMESTAMP_LTZ)",
            self.table
        )
    }

    async fn read(&self, session: &mut Session) -> Result<Result<BTreeMap<TopicPartition, i64>>, Failure> {
        let sql = format!(
            "SELECT TOPIC, TO_VARCHAR(PART) AS P, TO_VARCHAR(OFF) AS O FROM {} WHERE CONNECTOR = {}",
            self.table,
            literal(self.connector)
        );
        Ok(self.parse(&session.run(&sql).await?))
    }

    fn parse(&self, rows: &Rows) -> Result<BTreeMap<TopicPartition, i64>> {
        let mut offsets = BTreeMap::new();
        for row in rows.iter() {
            let damaged = |what: &str| Error::fatal(format!("table {} holds {what}", self.table));
            let partition = row.text("p")?.parse().map_err(|_| damaged("a partition that is no number"))?;
            let offset = row.text("o")?.parse().map_err(|_| damaged("an offset that is no number"))?;
            let partition = TopicPartition { topic: row.text("topic")?.into(), partition };
            if offsets.insert(partition.clone(), offset).is_some() {
                return Err(damaged(&format!(
                    "two rows for {partition} of connector {}: delete the one with the smaller OFF",
                    self.connector
                )));
            }
        }
        Ok(offsets)
    }

    /// Makes the rows that are missing. Snowflake enforces no keys and runs INSERTs side by side, so two tasks could make
    /// one row twice; but an UPDATE locks the table, so each first updates a row that belongs to nobody.
    async fn add_missing(&self, session: &mut Session, partitions: &[TopicPartition]) -> Result<BTreeMap<TopicPartition, i64>> {
        let doing = format!("add the partitions to {}", self.table);
        let done = self.try_add_missing(session, partitions).await;
        done.map_err(|failure| failure.into_error(&doing))?
    }

    async fn try_add_missing(
        &self,
        session: &mut Session,
        partitions: &[TopicPartition],
    ) -> Result<Result<BTreeMap<TopicPartition, i64>>, Failure> {
        self.lock(session).await?;
        let mut found = match self.read(session).await? {
            Ok(found) => found,
            Err(damaged) => return Ok(Err(damaged)),
        };
        let missing: Vec<&TopicPartition> = partitions.iter().filter(|p| !found.contains_key(*p)).collect();
        if !missing.is_empty() {
            let rows: Vec<String> = missing
                .iter()
                .map(|p| format!("({}, {}, {}, {NONE})", literal(self.connector), literal(&p.topic), p.partition))
                .collect();
            let sql = format!("INSERT INTO {} (CONNECTOR, TOPIC, PART, OFF) VALUES {}", self.table, rows.join(", "));
            session.run(&sql).await?;
        }
        session.run("COMMIT").await?;
        found.extend(missing.into_iter().map(|p| (p.clone(), NONE)));
        Ok(Ok(found))
    }

    /// Begins a transaction that holds the table's lock.
    async fn lock(&self, session: &mut Session) -> Result<(), Failure> {
        let update = format!("UPDATE {} SET OFF = OFF WHERE CONNECTOR = '' AND PART = -1", self.table);
        session.run("BEGIN").await?;
        if session.run(&update).await?.first_cell() == Some("0") {
            // Two tasks may both make it: one row or two, an UPDATE locks the table.
            let insert = format!("INSERT INTO {} (CONNECTOR, TOPIC, PART, OFF) VALUES ('', '', -1, {NONE})", self.table);
            session.run(&insert).await?;
            session.run("COMMIT").await?;
            session.run("BEGIN").await?;
            session.run(&update).await?;
        }
        Ok(())
    }
}
