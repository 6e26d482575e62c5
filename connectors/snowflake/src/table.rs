//! What is known of a table, and the statements that make and change it.

use std::collections::HashMap;

use penstock_api::{Error, Result};

use crate::config::Config;
use crate::config::Evolution;
use crate::names::{Ident, TableName};
use crate::sql::Rows;
use crate::types::ColumnType;

/// The column with where a record came from.
pub const METADATA: &str = "RECORD_METADATA";
/// The column with all of a value, when there is not one for each field.
pub const CONTENT: &str = "RECORD_CONTENT";

/// A table as it was when somebody looked.
#[derive(Debug)]
pub struct Table {
    pub name: TableName,
    pub columns: Vec<TableColumn>,
    /// New columns may be added for new fields, and NOT NULL be dropped for missing ones.
    pub evolves: bool,
    index: HashMap<Ident, usize>,
}

/// One column.
#[derive(Clone, Debug)]
pub struct TableColumn {
    pub name: Ident,
    pub ty: ColumnType,
    /// Every row must have a value: NOT NULL without a default.
    pub required: bool,
}

impl Table {
    /// The table of `DESCRIBE TABLE`'s rows.
    ///
    /// # Errors
    /// `Fatal` when the answer has other columns than Snowflake documents.
    pub fn described(name: TableName, rows: &Rows, evolves: bool) -> Result<Self> {
        let mut columns = Vec::new();
        for row in rows.iter() {
            let column = row.text("name")?;
            let has_default = row.get("default").is_some_and(|d| !d.is_empty());
            columns.push(TableColumn {
                name: Ident::verbatim(column),
                ty: ColumnType::parse(row.text("type")?),
                required: row.text("null?")?.eq_ignore_ascii_case("n") && !has_default,
            });
        }
        Ok(Self::new(name, columns, evolves))
    }

    /// A table of these columns.
    #[must_use]
    pub fn new(name: TableName, columns: Vec<TableColumn>, evolves: bool) -> Self {
        let index = columns.iter().enumerate().map(|(at, c)| (c.name.clone(), at)).collect();
        Self { name, columns, evolves, index }
    }

    /// The column of that name.
    #[must_use]
    pub fn column(&self, name: &Ident) -> Option<&TableColumn> {
        self.index.get(name).map(|&at| &self.columns[at])
    }

    /// Refuses a table whose columns for metadata and content cannot hold them.
    ///
    /// # Errors
    /// `Config`, saying which statement would mend it.
    pub fn check(&self, config: &Config) -> Result<()> {
        for name in special_columns(config) {
            match self.column(&Ident::verbatim(name)) {
                Some(column) if matches!(column.ty, ColumnType::Variant) => {}
                Some(column) => {
                    return Err(Error::config(format!(
                        "column {name} of table {} is {}: it must be VARIANT; change it, or send the topic elsewhere with \
                         `snowflake.topic2table.map`",
                        self.name,
                        column.ty.ddl()
                    )));
                }
                None if self.evolves => {}
                None => {
                    return Err(Error::config(format!(
                        "table {} has no column {name}, and does not evolve: run `ALTER TABLE {} ADD COLUMN {name} VARIANT`, or set \
                         {}",
                        self.name,
                        self.name,
                        if name == METADATA {
                            "`snowflake.metadata.all=false`"
                        } else {
                            "`snowflake.enable.schematization=true`"
                        }
                    )));
                }
            }
        }
        Ok(())
    }
}

/// The columns that every record fills.
pub fn special_columns(config: &Config) -> impl Iterator<Item = &'static str> {
    [(METADATA, config.metadata.all), (CONTENT, !config.schematize)].into_iter().filter_map(|(name, used)| used.then_some(name))
}

/// Makes the table unless it is there.
#[must_use]
pub fn create(name: &TableName, config: &Config) -> String {
    let mut columns: Vec<String> = special_columns(config).map(|column| format!("\"{column}\" VARIANT")).collect();
    if columns.is_empty() {
        // A table needs a column; the official connector always makes this one.
        columns.push(format!("\"{METADATA}\" VARIANT"));
    }
    let evolves = if config.evolution == Evolution::Never { "FALSE" } else { "TRUE" };
    format!("CREATE TABLE IF NOT EXISTS {name} ({}) ENABLE_SCHEMA_EVOLUTION = {evolves}", columns.join(", "))
}

/// Shows the table's columns.
#[must_use]
pub fn describe(name: &TableName) -> String {
    format!("DESCRIBE TABLE {name}")
}

/// Shows whether the table evolves.
#[must_use]
pub fn show(name: &TableName) -> String {
    // In LIKE, `_` and `%` match anything: what comes back is compared again.
    format!("SHOW TABLES LIKE {} IN SCHEMA {}.{}", crate::names::literal(&name.name.0), name.database, name.schema)
}

/// Adds columns that are missing. Another task may add them at the same time.
#[must_use]
pub fn add_columns(name: &TableName, columns: &[(Ident, ColumnType)]) -> String {
    let columns: Vec<String> = columns.iter().map(|(column, ty)| format!("IF NOT EXISTS {column} {}", ty.ddl())).collect();
    format!("ALTER TABLE {name} ADD COLUMN {}", columns.join(", "))
}

/// Lets a column be null.
#[must_use]
pub fn drop_not_null(name: &TableName, column: &Ident) -> String {
    format!("ALTER TABLE {name} ALTER COLUMN {column} DROP NOT NULL")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name() -> TableName {
        TableName { database: Ident("DB".into()), schema: Ident("S".into()), name: Ident("t".into()) }
    }

    #[test]
    fn statements_quote_what_they_name() {
        let columns = [(Ident("a b".into()), crate::types::INTEGER), (Ident("C".into()), ColumnType::Variant)];
        assert_eq!(
            add_columns(&name(), &columns),
            r#"ALTER TABLE "DB"."S"."t" ADD COLUMN IF NOT EXISTS "a b" NUMBER(38,0), IF NOT EXISTS "C" VARIANT"#
        );
        assert_eq!(show(&name()), r#"SHOW TABLES LIKE 't' IN SCHEMA "DB"."S""#);
    }
}
