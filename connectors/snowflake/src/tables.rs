//! What a task needs in Snowflake before the first load: its stage, its offsets, and tables that fit.

use std::collections::BTreeMap;

use penstock_api::{Error, Result, TopicPartition};

use crate::client::Session;
use crate::config::{Config, Evolution};
use crate::names::TableName;
use crate::offsets::Offsets;
use crate::sql::{Remedy, Rows};
use crate::table::{self, Table, special_columns};
use crate::types::ColumnType;

/// Makes the stage, and reads how far the partitions are loaded.
///
/// # Errors
/// `Config` when a name, a role or a privilege is wrong, `Retriable` when Snowflake is out of reach.
pub async fn open(
    session: &mut Session,
    config: &Config,
    partitions: &[TopicPartition],
) -> Result<BTreeMap<TopicPartition, i64>> {
    session.run("SELECT 1").await.map_err(|f| f.into_error("log in to Snowflake"))?;
    if config.stage.create {
        // Encrypted by Snowflake, so that files need no keys of their own.
        let sql = format!("CREATE STAGE IF NOT EXISTS {} ENCRYPTION = (TYPE = 'SNOWFLAKE_SSE')", config.stage.name);
        let doing = format!(
            "create stage {} (or name one with `penstock.snowflake.stage`; check `snowflake.database.name` and `snowflake.schema.name`)",
            config.stage.name
        );
        session.run(&sql).await.map_err(|f| f.into_error(&doing))?;
    }
    Offsets::of(config).open(session, partitions).await
}

/// Looks at a table; makes it if it is missing and may be made.
///
/// # Errors
/// `Config` when it is missing, out of reach, or has columns that do not fit.
pub async fn ensure(session: &mut Session, config: &Config, name: TableName) -> Result<Table> {
    let (rows, created) = match session.run(&table::describe(&name)).await {
        Ok(rows) => (rows, false),
        Err(failure) if failure.remedy() == Remedy::LookAgain && config.create_tables => {
            let doing = format!("create table {name}");
            session.run(&table::create(&name, config)).await.map_err(|f| f.into_error(&doing))?;
            tracing::info!(table = %name, "created");
            let doing = format!("describe table {name}");
            (session.run(&table::describe(&name)).await.map_err(|f| f.into_error(&doing))?, true)
        }
        Err(failure) if failure.remedy() == Remedy::LookAgain => {
            return Err(Error::config(format!(
                "table {name} does not exist or the role may not see it, and `snowflake.autocreate.table.type` is none: create it, or \
                 send its topic elsewhere with `snowflake.topic2table.map`"
            ))
            .with_source(failure));
        }
        Err(failure) => return Err(failure.into_error(&format!("describe table {name}"))),
    };
    let evolves = match config.evolution {
        Evolution::Always => true,
        Evolution::Never => false,
        Evolution::Table => created || evolves(session, &name).await?,
    };
    let table = Table::described(name, &rows, evolves)?;
    table.check(config)?;
    add_special(session, config, table).await
}

/// Whether the table has `ENABLE_SCHEMA_EVOLUTION`.
async fn evolves(session: &mut Session, name: &TableName) -> Result<bool> {
    let doing = format!("look at the properties of table {name}");
    let rows: Rows = session.run(&table::show(name)).await.map_err(|f| f.into_error(&doing))?;
    let row = rows.iter().find(|row| row.get("name") == Some(name.name.0.as_str()));
    Ok(row
        .and_then(|row| row.get("enable_schema_evolution"))
        .is_some_and(|v| v.eq_ignore_ascii_case("y") || v.eq_ignore_ascii_case("true")))
}

/// Adds the columns for metadata and content to a table that evolves and has them not.
async fn add_special(session: &mut Session, config: &Config, table: Table) -> Result<Table> {
    let missing: Vec<_> = special_columns(config)
        .map(crate::names::Ident::verbatim)
        .filter(|name| table.column(name).is_none())
        .map(|name| (name, ColumnType::Variant))
        .collect();
    if missing.is_empty() {
        return Ok(table);
    }
    let doing = format!("add columns to table {}", table.name);
    session.run(&table::add_columns(&table.name, &missing)).await.map_err(|f| f.into_error(&doing))?;
    let rows = session.run(&table::describe(&table.name)).await.map_err(|f| f.into_error(&doing))?;
    Table::described(table.name, &rows, table.evolves)
}
