//! One partition's rows into their tables, exactly once: ALTER, PUT, then COPY and the guarded offset in one transaction.
//!
//! However a load ends - done, refused, cut off by a crash at any step - doing it again is safe: nothing is visible before
//! COMMIT, and the guard lets only one COMMIT pass for each stretch of offsets (see decisions/0002).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use penstock_api::{Error, ErrorKind, Result, TopicPartition};
use tokio::sync::oneshot;

use crate::client::{Client, Session, stage_path};
use crate::config::Config;
use crate::names::Ident;
use crate::offsets::Offsets;
use crate::rows::PlacedFile;
use crate::segment::{Target, field_name};
use crate::sql::{Failure, Remedy, Rows};
use crate::table::{self, Table};

/// Attempts of one load before the worker hears of it.
const ATTEMPTS_MAX: u32 = 4;
const BACK_OFF_MIN: Duration = Duration::from_millis(200);
const BACK_OFF_MAX: Duration = Duration::from_secs(10);
/// How long the session of a load that was given up may take to end.
const FAREWELL_MAX: Duration = Duration::from_secs(10);

/// What is to be loaded.
pub struct Load {
    pub partition: TopicPartition,
    /// Which opening of the partition by this task it belongs to.
    pub opening: u64,
    /// The last offset loaded before; what the guard expects.
    pub previous: i64,
    pub first: i64,
    pub last: i64,
    pub rows: usize,
    pub tables: Vec<TableLoad>,
}

/// The files of one table.
pub struct TableLoad {
    pub table: Arc<Table>,
    pub drop_not_null: BTreeSet<Ident>,
    pub files: Vec<PlacedFile>,
}

/// How a load ended.
#[derive(Debug)]
pub enum Outcome {
    /// All rows are in. Tables that were changed on the way are as they are now.
    Done { changed: Vec<Table> },
    /// Somebody else has moved the partition to that offset: nothing was loaded.
    Moved(i64),
    /// A table is not as it was thought to be: nothing was loaded.
    TableChanged(Error),
    /// Snowflake refuses some value: nothing was loaded.
    Unfit(Error),
}

/// Loads, trying again a few times. `given_up` (also when its sender is dropped) ends it: on Snowflake a session that nobody ends keeps
/// its transaction, and so the lock on the offsets that whoever has the partition next needs.
///
/// # Errors
/// `Retriable` when it is worth trying again later, `Config` and `Fatal` when it is not.
pub async fn run(client: &Client, config: &Config, load: &Load, mut given_up: oneshot::Receiver<()>) -> Result<Outcome> {
    let gone = || Err(Error::retriable(format!("the load of {} was given up", load.partition)));
    let mut attempt = 1;
    loop {
        let mut session = client.session()?;
        let ended = tokio::select! {
            ended = attempt_load(&mut session, config, load) => Some(ended),
            _ = &mut given_up => None,
        };
        let stopped = match ended {
            Some(Ok(outcome)) => {
                client.give_back(session);
                return Ok(outcome);
            }
            Some(Err(stopped)) => stopped,
            None => {
                if tokio::time::timeout(FAREWELL_MAX, session.close()).await.is_err() {
                    tracing::debug!(partition = %load.partition, "could not end the session of a load that was given up");
                }
                return gone();
            }
        };
        // Whatever the session has open must end before another one tries: on Snowflake it may hold the offsets' lock.
        session.close().await;
        let remedy = stopped.failure.remedy();
        if matches!(remedy, Remedy::Wait | Remedy::LogIn) && attempt < ATTEMPTS_MAX {
            let wait = back_off(attempt, &stopped.failure);
            tracing::warn!(
                partition = %load.partition, attempt, error = %stopped.failure, wait_ms = wait.as_millis() as u64,
                "cannot {}, trying again", stopped.doing
            );
            if tokio::time::timeout(wait, &mut given_up).await.is_ok() {
                return gone();
            }
            attempt += 1;
            continue;
        }
        return stopped.settle(config);
    }
}

/// How long to wait before an attempt: twice as long each time, a random part of it, and not less than the server asks for.
#[must_use]
pub fn back_off(attempt: u32, failure: &Failure) -> Duration {
    let ceiling = BACK_OFF_MIN.saturating_mul(1 << attempt.min(16)).min(BACK_OFF_MAX);
    let jittered = ceiling.mul_f64(rand::random_range(0.5..1.0));
    match failure {
        Failure::Status { retry_after: Some(wait), .. } => jittered.max((*wait).min(BACK_OFF_MAX * 6)),
        _ => jittered,
    }
}

/// A load that was stopped at some step.
struct Stopped {
    failure: Failure,
    doing: String,
    copying: bool,
}

impl Stopped {
    fn settle(self, config: &Config) -> Result<Outcome> {
        let remedy = self.failure.remedy();
        let error = self.failure.into_error(&self.doing);
        match remedy {
            Remedy::FindRecord if self.copying => Ok(Outcome::Unfit(error)),
            Remedy::LookAgain => Ok(Outcome::TableChanged(error)),
            Remedy::Authorize if !config.fail_on_authorization => Err(Error::new(
                ErrorKind::Retriable,
                format!("{error} (trying again: `enable.task.fail.on.authorization.errors` is false)"),
            )
            .with_source(error)),
            _ => Err(error),
        }
    }
}

trait Doing<T> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, Stopped>;
    fn copying(self, what: impl FnOnce() -> String) -> Result<T, Stopped>;
}

impl<T> Doing<T> for Result<T, Failure> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, Stopped> {
        self.map_err(|failure| Stopped { failure, doing: what(), copying: false })
    }

    fn copying(self, what: impl FnOnce() -> String) -> Result<T, Stopped> {
        self.map_err(|failure| Stopped { failure, doing: what(), copying: true })
    }
}

async fn attempt_load(session: &mut Session, config: &Config, load: &Load) -> Result<Outcome, Stopped> {
    let mut changed = Vec::new();
    for table in &load.tables {
        // Before BEGIN: a change of a table commits the transaction it stands in.
        match alter(session, table).await? {
            Altered::Not => {}
            Altered::As(table) => changed.push(table),
            Altered::Otherwise(error) => return Ok(Outcome::TableChanged(error)),
        }
    }
    let folder = format!("{}/{}/{:05}", path_part(&config.connector), path_part(&load.partition.topic), load.partition.partition);
    let files: Vec<(&TableLoad, &PlacedFile, String)> = load
        .tables
        .iter()
        .flat_map(|table| table.files.iter().map(move |file| (table, file, file_name(&table.table, file))))
        .collect();
    for (_, file, name) in &files {
        let bytes = file.file.bytes.clone();
        session
            .put(&config.stage.name, &folder, name, bytes)
            .await
            .doing(|| format!("put {name} into stage {}", config.stage.name))?;
    }
    session.run("BEGIN").await.doing(|| "begin a transaction".into())?;
    for (table, file, name) in &files {
        let path = stage_path(&config.stage.name, &format!("{folder}/{name}"));
        let doing = || format!("load {} rows of {} into table {}", file.file.rows, load.partition, table.table.name);
        let rows = session.run(&copy(&table.table, &file.file.targets, &path)).await.copying(doing)?;
        check_loaded(&rows, file.file.rows).copying(doing)?;
    }
    let offsets = Offsets::of(config);
    let advance = offsets.advance(&load.partition, load.previous, load.last);
    let moved = session.run(&advance).await.doing(|| format!("advance the offset of {}", load.partition))?;
    match moved.first_cell() {
        Some("1") => {
            session.run("COMMIT").await.doing(|| format!("commit the load of {}", load.partition))?;
            Ok(Outcome::Done { changed })
        }
        Some("0") => {
            session.run("ROLLBACK").await.doing(|| "roll back".into())?;
            let current =
                offsets.current(session, &load.partition).await.doing(|| format!("read the offset of {}", load.partition))?;
            let gone = || Failure::Protocol("its row is gone: restart the task, and it is made anew".into());
            current.map(Outcome::Moved).ok_or_else(gone).doing(|| format!("read the offset of {}", load.partition))
        }
        other => {
            let what = format!("UPDATE of the offset of {} changed {} rows", load.partition, other.unwrap_or("unknown"));
            Err(Failure::Protocol(what)).doing(|| format!("advance the offset of {}", load.partition))
        }
    }
}

enum Altered {
    Not,
    As(Table),
    Otherwise(Error),
}

/// Adds the columns that files bring, and drops NOT NULL where rows lack a value.
async fn alter(session: &mut Session, load: &TableLoad) -> Result<Altered, Stopped> {
    let name = &load.table.name;
    let mut new = Vec::new();
    for target in load.files.iter().flat_map(|f| &f.file.targets).filter(|t| t.is_new) {
        if !new.iter().any(|(known, _)| *known == target.name) {
            new.push((target.name.clone(), target.ty.clone()));
        }
    }
    if new.is_empty() && load.drop_not_null.is_empty() {
        return Ok(Altered::Not);
    }
    let doing = || format!("change table {name} (schema evolution)");
    if !new.is_empty() {
        let columns = new.iter().map(|(column, ty)| format!("{column} {}", ty.ddl())).collect::<Vec<_>>().join(", ");
        tracing::info!(table = %name, %columns, "adding columns");
        session.run(&table::add_columns(name, &new)).await.doing(doing)?;
    }
    for column in &load.drop_not_null {
        tracing::info!(table = %name, %column, "dropping NOT NULL");
        session.run(&table::drop_not_null(name, column)).await.doing(doing)?;
    }
    let rows = session.run(&table::describe(name)).await.doing(doing)?;
    let table = match Table::described(name.clone(), &rows, load.table.evolves) {
        Ok(table) => table,
        Err(error) => return Ok(Altered::Otherwise(error)),
    };
    // Another task, or a user, may have been first, with another type.
    let clash = load.files.iter().flat_map(|f| &f.file.targets).find(|target| {
        let column = table.column(&target.name);
        !column.is_some_and(|column| target.ty.loads_into(&column.ty))
    });
    if let Some(target) = clash {
        let message = format!("column {} of table {name} is not {} any more", target.name, target.ty.ddl());
        return Ok(Altered::Otherwise(Error::config(message)));
    }
    Ok(Altered::As(table))
}

/// FORCE, since the guard alone decides what is loaded twice: COPY's own memory of files would skip a file whose first load was
/// rolled back, or that was asked for anew, and say nothing. PURGE, so that the stage stays empty.
fn copy(table: &Table, targets: &[Target], path: &str) -> String {
    let names: Vec<String> = targets.iter().map(|t| t.name.to_string()).collect();
    let reads: Vec<String> = targets.iter().enumerate().map(|(at, t)| t.ty.read_expression(&field_name(at))).collect();
    format!(
        "COPY INTO {} ({}) FROM (SELECT {} FROM {path}) FILE_FORMAT = (TYPE = PARQUET) ON_ERROR = ABORT_STATEMENT FORCE = TRUE PURGE = TRUE",
        table.name,
        names.join(", "),
        reads.join(", ")
    )
}

/// A file that COPY did not find, or loaded in part, must not count as loaded.
fn check_loaded(rows: &Rows, expected: usize) -> Result<(), Failure> {
    let loaded: usize = rows.iter().filter_map(|row| row.get("rows_loaded")?.parse::<usize>().ok()).sum();
    if loaded == expected {
        Ok(())
    } else {
        Err(Failure::Unreachable(format!(
            "COPY loaded {loaded} of {expected} rows: the file in the stage is gone or another one"
        )))
    }
}

/// The same rows into the same columns have the same name, whoever loads them and when.
fn file_name(table: &Table, file: &PlacedFile) -> String {
    format!("{:020}-{:020}-{}.parquet", file.first, file.last, file.file.schema_hash(&table.name))
}

/// A name as a folder of a stage, in characters that need no quoting anywhere.
fn path_part(name: &str) -> String {
    let mut part = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.') {
            part.push(char::from(byte));
        } else {
            part.push_str(&format!("={byte:02x}"));
        }
    }
    part
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::TableName;
    use crate::types::{ColumnType, INTEGER};

    #[test]
    fn copy_reads_columns_by_position() {
        let name = TableName { database: Ident("D".into()), schema: Ident("S".into()), name: Ident("t".into()) };
        let table = Table::new(name, Vec::new(), true);
        let target = |name: &str, ty| Target { name: Ident(name.into()), ty, is_new: false };
        let targets = [target("a b", INTEGER), target("V", ColumnType::Variant)];
        assert_eq!(
            copy(&table, &targets, "@s/f.parquet"),
            "COPY INTO \"D\".\"S\".\"t\" (\"a b\", \"V\") FROM (SELECT $1:c0::NUMBER(38,0), PARSE_JSON($1:c1::VARCHAR, 'd') FROM \
             @s/f.parquet) FILE_FORMAT = (TYPE = PARQUET) ON_ERROR = ABORT_STATEMENT FORCE = TRUE PURGE = TRUE"
        );
    }

    #[test]
    fn folders_need_no_quotes() {
        assert_eq!(path_part("retail.orders-1"), "retail.orders-1");
        assert_eq!(path_part("a b/é"), "a=20b=2f=c3=a9");
    }

    #[test]
    fn waiting_grows_and_is_bounded() {
        let failure = Failure::protocol("x");
        for attempt in 1..100 {
            assert!(back_off(attempt, &failure) <= BACK_OFF_MAX);
        }
        let asked = Failure::Status { status: 429, retry_after: Some(Duration::from_secs(20)) };
        assert_eq!(back_off(1, &asked), Duration::from_secs(20));
    }
}
