//! What Snowflake answers to a statement: rows as text, or a failure sorted by what can be done about it.

use std::time::Duration;

use arrow_array::cast::AsArray;
use arrow_array::types::{Date32Type, Decimal128Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type};
use arrow_array::{Array, RecordBatch};
use arrow_schema::DataType;
use penstock_api::{Error, ErrorKind, Result};
use snowflake_api::QueryResult;

/// Rows by column name, all values as text.
#[derive(Debug, Default)]
pub struct Rows {
    columns: Vec<String>,
    rows: Vec<Vec<Option<String>>>,
}

/// One of [`Rows`].
#[derive(Clone, Copy)]
pub struct Row<'a> {
    columns: &'a [String],
    cells: &'a [Option<String>],
}

impl Rows {
    /// All rows.
    pub fn iter(&self) -> impl Iterator<Item = Row<'_>> {
        self.rows.iter().map(|cells| Row { columns: &self.columns, cells })
    }

    /// The first cell of the first row: the number of rows changed, a status.
    #[must_use]
    pub fn first_cell(&self) -> Option<&str> {
        self.rows.first()?.first()?.as_deref()
    }

    /// Reads an answer of the `snowflake-api` crate.
    ///
    /// # Errors
    /// `Protocol` when the answer has a form that is not known here.
    pub fn read(result: QueryResult) -> Result<Self, Failure> {
        match result {
            QueryResult::Empty => Ok(Self::default()),
            QueryResult::Json(json) => {
                let columns = json.schema.iter().map(|field| field.name.to_lowercase()).collect();
                let rows = json.value.as_array().ok_or_else(|| Failure::protocol("a rowset that is no list"))?;
                let rows = rows.iter().map(json_row).collect::<Result<_, _>>()?;
                Ok(Self { columns, rows })
            }
            QueryResult::Arrow(batches) => {
                let mut all = Self::default();
                for batch in &batches {
                    all.columns = batch.schema().fields().iter().map(|f| f.name().to_lowercase()).collect();
                    all.rows.extend(arrow_rows(batch)?);
                }
                Ok(all)
            }
        }
    }
}

impl<'a> Row<'a> {
    /// The value of a column, by its lower-case name; `None` when it is null or not there.
    #[must_use]
    pub fn get(&self, column: &str) -> Option<&'a str> {
        let at = self.columns.iter().position(|c| c == column)?;
        self.cells[at].as_deref()
    }

    /// The value of a column that must have one.
    ///
    /// # Errors
    /// `Fatal` when it has none.
    pub fn text(&self, column: &str) -> Result<&'a str> {
        self.get(column).ok_or_else(|| {
            Error::fatal(format!("Snowflake's answer has no column `{column}` (it has {})", self.columns.join(", ")))
        })
    }
}

fn json_row(row: &serde_json::Value) -> Result<Vec<Option<String>>, Failure> {
    let cells = row.as_array().ok_or_else(|| Failure::protocol("a row that is no list"))?;
    Ok(cells
        .iter()
        .map(|cell| match cell {
            serde_json::Value::Null => None,
            serde_json::Value::String(text) => Some(text.clone()),
            other => Some(other.to_string()),
        })
        .collect())
}

fn arrow_rows(batch: &RecordBatch) -> Result<Vec<Vec<Option<String>>>, Failure> {
    let columns = batch.columns().iter().map(|c| arrow_column(c)).collect::<Result<Vec<_>, _>>()?;
    Ok((0..batch.num_rows()).map(|row| columns.iter().map(|c| c[row].clone()).collect()).collect())
}

fn arrow_column(array: &dyn Array) -> Result<Vec<Option<String>>, Failure> {
    macro_rules! numbers {
        ($kind:ty) => {
            array.as_primitive::<$kind>().iter().map(|n| n.map(|n| n.to_string())).collect()
        };
    }
    Ok(match array.data_type() {
        DataType::Utf8 => array.as_string::<i32>().iter().map(|t| t.map(str::to_owned)).collect(),
        DataType::LargeUtf8 => array.as_string::<i64>().iter().map(|t| t.map(str::to_owned)).collect(),
        DataType::Boolean => array.as_boolean().iter().map(|b| b.map(|b| b.to_string())).collect(),
        DataType::Int8 => numbers!(Int8Type),
        DataType::Int16 => numbers!(Int16Type),
        DataType::Int32 => numbers!(Int32Type),
        DataType::Int64 => numbers!(Int64Type),
        DataType::Float64 => numbers!(Float64Type),
        DataType::Decimal128(_, 0) => numbers!(Decimal128Type),
        DataType::Date32 => numbers!(Date32Type),
        DataType::Null => vec![None; array.len()],
        // Timestamps come as structs, and nothing here reads one.
        _ => vec![None; array.len()],
    })
}

/// Why a request to Snowflake failed.
#[derive(Clone, Debug, PartialEq)]
pub enum Failure {
    /// Nobody there, or the connection broke: it is not known whether the statement was run.
    Unreachable(String),
    /// An HTTP status that is not 200.
    Status { status: u16, retry_after: Option<Duration> },
    /// Snowflake's own answer.
    Refused { code: String, sql_state: String, message: String },
    /// An answer that makes no sense.
    Protocol(String),
}

impl std::error::Error for Failure {}

/// What can be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// Try again later.
    Wait,
    /// Log in again, then try again.
    LogIn,
    /// A person must change who may do what.
    Authorize,
    /// Look at the table again: it is not as it was.
    LookAgain,
    /// Find the record that does not fit.
    FindRecord,
    /// None: the statement or its answer is wrong.
    None,
}

impl Failure {
    /// An answer that makes no sense.
    #[must_use]
    pub fn protocol(what: &str) -> Self {
        Self::Protocol(what.to_owned())
    }

    /// What can be done.
    #[must_use]
    pub fn remedy(&self) -> Remedy {
        match self {
            Self::Unreachable(_) => Remedy::Wait,
            Self::Status { status: 401, .. } => Remedy::LogIn,
            Self::Status { status: 403 | 404, .. } => Remedy::Authorize,
            Self::Status { .. } => Remedy::Wait,
            Self::Protocol(_) => Remedy::None,
            Self::Refused { code, sql_state, .. } => remedy_of(code.trim_start_matches('0'), sql_state),
        }
    }

    /// The failure as an error of the task; `doing` says what failed.
    #[must_use]
    pub fn into_error(self, doing: &str) -> Error {
        let kind = match self.remedy() {
            Remedy::Wait | Remedy::LogIn => ErrorKind::Retriable,
            Remedy::Authorize | Remedy::LookAgain => ErrorKind::Config,
            Remedy::FindRecord => ErrorKind::Data,
            Remedy::None => ErrorKind::Fatal,
        };
        let hint = self.hint();
        Error::new(kind, format!("cannot {doing}: {self}{hint}")).with_source(self)
    }

    /// What to do, in words.
    fn hint(&self) -> &'static str {
        match self {
            Self::Unreachable(_) => "; check `snowflake.url.name` and the network if this stays so",
            Self::Status { status: 403 | 404, .. } => {
                "; check that `snowflake.url.name` is the account's URL, and that a network policy lets this worker in"
            }
            Self::Refused { code, .. } => match code.trim_start_matches('0') {
                "390100" | "390101" | "390102" => {
                    "; check `snowflake.user.name`, `snowflake.password` and the account in `snowflake.url.name`"
                }
                "390144" | "394300" | "394301" | "394302" | "394303" | "394304" => {
                    "; check `snowflake.user.name`, that the user's RSA_PUBLIC_KEY belongs to `snowflake.private.key`, and this machine's clock"
                }
                "390186" | "390187" | "390188" | "390189" => {
                    "; check `snowflake.role.name`, and that the role is granted to the user"
                }
                "3001" => "; grant it to the role in `snowflake.role.name`",
                "2003" | "2043" => "; check the name and that the role in `snowflake.role.name` may see it",
                "606" => "; set `snowflake.warehouse.name`, or give the user a default warehouse",
                _ => "",
            },
            _ => "",
        }
    }
}

fn remedy_of(code: &str, sql_state: &str) -> Remedy {
    match code {
        // Session tokens that expired, sessions that are gone.
        "390104" | "390111" | "390112" | "390113" | "390114" | "390115" | "390195" => Remedy::LogIn,
        // 390100 to 390199 are log-ins refused, 394300 key-pair tokens refused.
        _ if code.len() == 6 && (code.starts_with("3901") || code.starts_with("3943") || code.starts_with("3904")) => {
            Remedy::Authorize
        }
        // Insufficient privileges; no warehouse.
        "3001" | "606" => Remedy::Authorize,
        // Unknown objects, columns and differing numbers of them.
        "2003" | "2043" | "904" | "1304" | "2029" => Remedy::LookAgain,
        // Statement canceled, timed out, lock waited for too long, internal errors.
        "604" | "630" | "625" | "609" | "300002" | "603" | "253006" => Remedy::Wait,
        _ if sql_state.starts_with("22") || (code.len() == 6 && code.starts_with("100")) => Remedy::FindRecord,
        _ if sql_state == "42501" => Remedy::Authorize,
        _ if matches!(sql_state, "42S02" | "02000") => Remedy::LookAgain,
        _ if sql_state.starts_with("08") || sql_state.starts_with("57") || sql_state == "40001" => Remedy::Wait,
        _ => Remedy::None,
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unreachable(why) => write!(f, "Snowflake cannot be reached ({why})"),
            Self::Status { status, .. } => write!(f, "Snowflake answers with HTTP status {status}"),
            Self::Refused { code, message, .. } => write!(f, "Snowflake says {code}: {}", message.trim()),
            Self::Protocol(what) => write!(f, "Snowflake's answer is not understood ({what})"),
        }
    }
}

impl From<reqwest_middleware::Error> for Failure {
    fn from(error: reqwest_middleware::Error) -> Self {
        match error {
            reqwest_middleware::Error::Middleware(any) => match any.downcast::<Failure>() {
                Ok(failure) => failure,
                Err(other) => Self::Protocol(format!("{other:#}")),
            },
            reqwest_middleware::Error::Reqwest(http) => Self::of_http(&http),
        }
    }
}

impl Failure {
    /// An error of the crate's that did not come from below it.
    #[must_use]
    pub fn of_crate(error: &snowflake_api::SnowflakeApiError) -> Self {
        Self::Protocol(chain(error))
    }

    /// An error of the HTTP client.
    #[must_use]
    pub fn of_http(error: &reqwest::Error) -> Self {
        if error.is_decode() {
            return Self::Protocol(chain(error));
        }
        // Without the URL in front, which is long and says nothing that the configuration does not.
        Self::Unreachable(std::error::Error::source(error).map_or_else(|| error.to_string(), chain))
    }
}

/// All causes in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.ends_with(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        cause = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(code: &str, sql_state: &str) -> Failure {
        Failure::Refused { code: code.into(), sql_state: sql_state.into(), message: "m".into() }
    }

    #[test]
    fn failures_are_sorted_by_what_can_be_done() {
        let check = |failure: Failure, remedy: Remedy| assert_eq!(failure.remedy(), remedy, "{failure:?}");
        check(refused("390112", ""), Remedy::LogIn);
        check(refused("390100", ""), Remedy::Authorize);
        check(refused("390144", ""), Remedy::Authorize);
        check(refused("003001", "42501"), Remedy::Authorize);
        check(refused("002003", "42S02"), Remedy::LookAgain);
        check(refused("000904", "42000"), Remedy::LookAgain);
        check(refused("100038", "22018"), Remedy::FindRecord);
        check(refused("000625", "57014"), Remedy::Wait);
        check(refused("001003", "42000"), Remedy::None);
        check(Failure::Status { status: 503, retry_after: None }, Remedy::Wait);
        check(Failure::Status { status: 403, retry_after: None }, Remedy::Authorize);
    }

    #[test]
    fn errors_name_the_property_to_look_at() {
        let text = |failure: Failure| failure.into_error("log in").to_string();
        assert!(text(refused("390100", "")).contains("snowflake.password"));
        assert!(text(refused("390189", "")).contains("snowflake.role.name"));
        assert!(text(Failure::Status { status: 403, retry_after: None }).contains("snowflake.url.name"));
    }
}
