//! One value into one column: what fits and how, and what does not.
//!
//! A cell that does not fit is an error here, before anything is loaded, so that one bad record never holds up a file.

use std::borrow::Cow;
use std::fmt::Write;
use std::str::FromStr;

use bigdecimal::num_bigint::ToBigInt;
use bigdecimal::{BigDecimal, RoundingMode, ToPrimitive};
use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, NaiveTime, Timelike};
use penstock_api::value::Value;

use crate::json;
use crate::types::ColumnType;

/// A value in the form its Parquet column holds. Text lies in one of two places; copying it is left to the column.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Cell {
    Int(i64),
    /// Times ten to the column's scale.
    Decimal(i128),
    Float(f64),
    Bool(bool),
    /// Days since 1970-01-01.
    Date(i32),
    /// In the record's own bytes.
    Input(Span),
    /// In the row's scratch text.
    Scratch(Span),
}

/// A part of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub start: u32,
    pub len: u32,
}

impl Span {
    /// The part of `text` that `part` is; `part` must lie in it.
    #[must_use]
    pub fn of(part: &str, text: &[u8]) -> Self {
        let start = part.as_ptr() as usize - text.as_ptr() as usize;
        debug_assert!(start + part.len() <= text.len(), "a part lies in its text");
        Self { start: start as u32, len: part.len() as u32 }
    }

    /// The part of the text.
    #[must_use]
    pub fn get(self, text: &[u8]) -> &[u8] {
        &text[self.start as usize..(self.start + self.len) as usize]
    }
}

/// The most that a VARIANT may take, in bytes of JSON.
pub const VARIANT_BYTES_MAX: usize = 16_777_216;

type Fit = Result<Option<Cell>, String>;

/// A cell from JSON text; `None` for null. `input` is the text that `raw` is part of.
pub fn from_json(ty: &ColumnType, raw: &str, input: &[u8], scratch: &mut String) -> Fit {
    let first = raw.as_bytes().first().copied().unwrap_or(b'n');
    if first == b'n' {
        return Ok(None);
    }
    if ty.is_semi_structured() {
        return semi_structured(ty, raw, input, scratch).map(Some);
    }
    let scalar = match first {
        b't' => Scalar::Bool(true),
        b'f' => Scalar::Bool(false),
        b'"' => {
            let inner = &raw[1..raw.len() - 1];
            if inner.as_bytes().contains(&b'\\') {
                Scalar::Text(Cow::Owned(sonic_rs::from_str(raw).map_err(|e| e.to_string())?))
            } else if let ColumnType::Text { chars_max } = ty {
                check_chars(inner, *chars_max)?;
                return Ok(Some(Cell::Input(Span::of(inner, input))));
            } else {
                Scalar::Text(Cow::Borrowed(inner))
            }
        }
        b'{' | b'[' => Scalar::Nested(Cow::Borrowed(raw)),
        _ => Scalar::Number(raw),
    };
    fit(ty, &scalar, scratch).map(Some)
}

fn semi_structured(ty: &ColumnType, raw: &str, input: &[u8], scratch: &mut String) -> Result<Cell, String> {
    check_variant(raw.len())?;
    match (ty, raw.as_bytes()[0]) {
        (ColumnType::Array, b'[') | (ColumnType::Object, b'{') | (ColumnType::Variant, _) => {
            Ok(Cell::Input(Span::of(raw, input)))
        }
        // As the official connector does: a single value is an array of one.
        (ColumnType::Array, _) => Ok(scratched(scratch, |out| {
            out.push('[');
            out.push_str(raw);
            out.push(']');
        })),
        _ => Err("only an object fits".into()),
    }
}

/// A cell from a decoded value; `None` for null.
pub fn from_value(ty: &ColumnType, value: &Value, scratch: &mut String) -> Fit {
    if value.is_null() {
        return Ok(None);
    }
    if ty.is_semi_structured() {
        let is_array = matches!(value, Value::Array(_));
        if *ty == ColumnType::Object && !matches!(value, Value::Map(_) | Value::Struct(_)) {
            return Err("only an object fits".into());
        }
        let wrap = *ty == ColumnType::Array && !is_array;
        let cell = scratched(scratch, |out| {
            if wrap {
                out.push('[');
            }
            json::write(value, out);
            if wrap {
                out.push(']');
            }
        });
        if let Cell::Scratch(span) = cell {
            check_variant(span.len as usize)?;
        }
        return Ok(Some(cell));
    }
    let scalar = match value {
        Value::Boolean(b) => Scalar::Bool(*b),
        Value::Int8(_) | Value::Int16(_) | Value::Int32(_) | Value::Int64(_) => {
            Scalar::Int(value.as_i64().expect("an integer is one"))
        }
        Value::Float32(x) => Scalar::Float((*x).into()),
        Value::Float64(x) => Scalar::Float(*x),
        Value::String(text) => Scalar::Text(Cow::Borrowed(text)),
        Value::Bytes(bytes) => Scalar::Bytes(bytes),
        Value::Decimal(n) => Scalar::Decimal(n),
        Value::Date(days) => Scalar::Date(*days),
        Value::Time(ms) => Scalar::Time(*ms),
        Value::Timestamp(ms) => Scalar::Timestamp(*ms),
        Value::Array(_) | Value::Map(_) | Value::Struct(_) => {
            let mut text = String::new();
            json::write(value, &mut text);
            Scalar::Nested(Cow::Owned(text))
        }
        Value::Null => unreachable!("null was answered above"),
    };
    fit(ty, &scalar, scratch).map(Some)
}

/// Anything that is to become the cell of a structured column.
enum Scalar<'a> {
    Bool(bool),
    Int(i64),
    Float(f64),
    /// JSON's text of a number.
    Number(&'a str),
    Decimal(&'a BigDecimal),
    Text(Cow<'a, str>),
    Bytes(&'a [u8]),
    Date(i32),
    Time(i32),
    Timestamp(i64),
    /// JSON text of an object or array.
    Nested(Cow<'a, str>),
}

fn fit(ty: &ColumnType, scalar: &Scalar<'_>, scratch: &mut String) -> Result<Cell, String> {
    match ty {
        ColumnType::Number { precision, scale } => number(scalar, *precision, *scale),
        ColumnType::Float => float(scalar).map(Cell::Float),
        ColumnType::Boolean => boolean(scalar).map(Cell::Bool),
        ColumnType::Text { chars_max } => {
            let cell = scratched(scratch, |out| text(scalar, out));
            let Cell::Scratch(span) = cell else { unreachable!("text was written to the scratch") };
            check_chars(std::str::from_utf8(span.get(scratch.as_bytes())).unwrap_or_default(), *chars_max)?;
            Ok(cell)
        }
        ColumnType::Binary { bytes_max } => binary(scalar, *bytes_max, scratch),
        ColumnType::Date => Ok(Cell::Date(date(scalar)?)),
        ColumnType::Time => {
            let time = time(scalar)?;
            Ok(scratched(scratch, |out| write!(out, "{}", time.format("%H:%M:%S%.9f")).expect("text can be written")))
        }
        ColumnType::TimestampNtz => Ok(Cell::Int(timestamp(scalar, true)?)),
        ColumnType::TimestampLtz | ColumnType::TimestampTz => Ok(Cell::Int(timestamp(scalar, false)?)),
        ColumnType::Other(_) => Ok(scratched(scratch, |out| text(scalar, out))),
        ColumnType::Variant | ColumnType::Array | ColumnType::Object => {
            unreachable!("semi-structured columns take JSON, not scalars")
        }
    }
}

/// Appends to the scratch text; the cell is what was appended.
pub fn scratched(scratch: &mut String, write: impl FnOnce(&mut String)) -> Cell {
    let start = scratch.len();
    write(scratch);
    Cell::Scratch(Span { start: start as u32, len: (scratch.len() - start) as u32 })
}

fn number(scalar: &Scalar<'_>, precision: u8, scale: u8) -> Result<Cell, String> {
    let whole = match scalar {
        Scalar::Int(n) => Some(*n),
        Scalar::Bool(b) => Some((*b).into()),
        Scalar::Number(text) => text.parse().ok(),
        _ => None,
    };
    if let (Some(n), 0) = (whole, scale) {
        if precision < 19 && n.unsigned_abs() >= 10u64.pow(precision.into()) {
            return Err(too_large(precision, scale));
        }
        return Ok(Cell::Int(n));
    }
    let decimal = match scalar {
        Scalar::Int(n) => BigDecimal::from(*n),
        Scalar::Bool(b) => BigDecimal::from(u8::from(*b)),
        Scalar::Number(text) => BigDecimal::from_str(text).map_err(|e| e.to_string())?,
        Scalar::Text(text) => BigDecimal::from_str(text.trim()).map_err(|_| "text is no number".to_owned())?,
        // By its shortest text: 0.1 is 0.1 and not the nearest binary fraction.
        Scalar::Float(x) => BigDecimal::from_str(&x.to_string()).map_err(|_| format!("{x} is no number"))?,
        Scalar::Decimal(n) => (*n).clone(),
        _ => return Err("it is no number".into()),
    };
    scaled(&decimal, precision, scale)
}

/// The number as an integer of units of the last digit. Fractions are rounded half up where the column has a scale; where
/// it has none a fraction does not fit, as rounding would lose what the sender meant.
fn scaled(decimal: &BigDecimal, precision: u8, scale: u8) -> Result<Cell, String> {
    let (_, exponent) = decimal.as_bigint_and_exponent();
    let digits = i64::try_from(decimal.digits()).unwrap_or(i64::MAX);
    if digits.saturating_sub(exponent) > 40 {
        return Err(too_large(precision, scale));
    }
    let rounded = if exponent > 400 { BigDecimal::from(0) } else { decimal.with_scale_round(scale.into(), RoundingMode::HalfUp) };
    if scale == 0 && rounded != *decimal {
        return Err("its fraction would be lost: the column has no digits after the point".into());
    }
    let units = (&rounded * BigDecimal::from(10u64.pow(scale.min(19).into()))).with_scale(0);
    let units = if scale > 19 { (&rounded * BigDecimal::new(1.into(), -i64::from(scale))).with_scale(0) } else { units };
    let units = units.to_bigint().and_then(|n| n.to_i128()).ok_or_else(|| too_large(precision, scale))?;
    if units.unsigned_abs() >= 10u128.pow(precision.into()) {
        return Err(too_large(precision, scale));
    }
    Ok(match (scale, i64::try_from(units)) {
        (0, Ok(n)) => Cell::Int(n),
        _ => Cell::Decimal(units),
    })
}

fn too_large(precision: u8, scale: u8) -> String {
    format!("it does not fit NUMBER({precision},{scale})")
}

fn float(scalar: &Scalar<'_>) -> Result<f64, String> {
    match scalar {
        Scalar::Int(n) => Ok(*n as f64),
        Scalar::Float(x) => Ok(*x),
        Scalar::Bool(b) => Ok(f64::from(u8::from(*b))),
        Scalar::Number(text) => text.parse().map_err(|_| "it is no number".into()),
        Scalar::Text(text) => text.trim().parse().map_err(|_| "text is no number".into()),
        Scalar::Decimal(n) => n.to_f64().ok_or_else(|| "it does not fit a double".into()),
        _ => Err("it is no number".into()),
    }
}

fn boolean(scalar: &Scalar<'_>) -> Result<bool, String> {
    match scalar {
        Scalar::Bool(b) => Ok(*b),
        Scalar::Int(n) => Ok(*n != 0),
        Scalar::Number(text) => text.parse::<f64>().map(|x| x != 0.0).map_err(|_| "it is no number".into()),
        Scalar::Text(text) => match text.trim().to_ascii_lowercase().as_str() {
            "true" | "t" | "yes" | "y" | "on" | "1" => Ok(true),
            "false" | "f" | "no" | "n" | "off" | "0" => Ok(false),
            _ => Err("text is neither true nor false".into()),
        },
        _ => Err("it is neither true nor false".into()),
    }
}

/// As text columns show it, and as map keys and headers are written.
fn text(scalar: &Scalar<'_>, out: &mut String) {
    let written = match scalar {
        Scalar::Bool(b) => write!(out, "{b}"),
        Scalar::Int(n) => write!(out, "{n}"),
        Scalar::Float(x) => write!(out, "{}", json::float_text(*x)),
        Scalar::Number(text) => out.write_str(text),
        Scalar::Text(text) | Scalar::Nested(text) => out.write_str(text),
        Scalar::Decimal(n) => out.write_str(&n.to_plain_string()),
        Scalar::Bytes(bytes) => out.write_str(&json::base64_text(bytes)),
        Scalar::Date(days) => out.write_str(&json::date_text(*days)),
        Scalar::Time(ms) => out.write_str(&json::time_text(*ms)),
        Scalar::Timestamp(ms) => out.write_str(&json::timestamp_text(*ms)),
    };
    written.expect("text can be written");
}

fn binary(scalar: &Scalar<'_>, bytes_max: usize, scratch: &mut String) -> Result<Cell, String> {
    let length = |n: usize| if n > bytes_max { Err(format!("{n} bytes are more than the column's {bytes_max}")) } else { Ok(()) };
    match scalar {
        Scalar::Bytes(bytes) => {
            length(bytes.len())?;
            Ok(scratched(scratch, |out| {
                for byte in *bytes {
                    out.push(char::from(HEX[usize::from(byte >> 4)]));
                    out.push(char::from(HEX[usize::from(byte & 15)]));
                }
            }))
        }
        Scalar::Text(text) if text.len() % 2 == 0 && text.bytes().all(|b| b.is_ascii_hexdigit()) => {
            length(text.len() / 2)?;
            Ok(scratched(scratch, |out| out.push_str(text)))
        }
        _ => Err("only bytes, or text in hexadecimal digits, fit a binary column".into()),
    }
}

const HEX: &[u8; 16] = b"0123456789ABCDEF";

fn date(scalar: &Scalar<'_>) -> Result<i32, String> {
    if let Scalar::Date(days) = scalar {
        return Ok(*days);
    }
    let micros = timestamp(scalar, true).map_err(|_| "it is no date such as 2026-11-23".to_owned())?;
    i32::try_from(micros.div_euclid(86_400_000_000)).map_err(|_| "it is out of range".into())
}

fn time(scalar: &Scalar<'_>) -> Result<NaiveTime, String> {
    let of_ms = |ms: i64| {
        let ms = u32::try_from(ms).ok()?;
        NaiveTime::from_num_seconds_from_midnight_opt(ms / 1000, ms % 1000 * 1_000_000)
    };
    let time = match scalar {
        Scalar::Time(ms) => of_ms((*ms).into()),
        Scalar::Timestamp(ms) => of_ms(ms.rem_euclid(86_400_000)),
        Scalar::Text(text) => {
            let text = text.trim().trim_end_matches('Z');
            ["%H:%M:%S%.f", "%H:%M"].iter().find_map(|format| NaiveTime::parse_from_str(text, format).ok())
        }
        _ => None,
    };
    time.filter(|t| t.nanosecond() < 1_000_000_000).ok_or_else(|| "it is no time such as 12:34:56.789".into())
}

/// Microseconds since 1970. `wall_clock` keeps the clock that was written and drops its zone, as `TIMESTAMP_NTZ` does;
/// otherwise the instant is kept. Text without a zone is UTC. Bare numbers are seconds, milli-, micro- or nanoseconds by
/// their size, as Snowflake reads them.
fn timestamp(scalar: &Scalar<'_>, wall_clock: bool) -> Result<i64, String> {
    let wrong = || "it is no timestamp such as 2026-11-23T12:34:56Z".to_owned();
    match scalar {
        Scalar::Timestamp(ms) => ms.checked_mul(1000).ok_or_else(wrong),
        Scalar::Date(days) => Ok(i64::from(*days) * 86_400_000_000),
        Scalar::Int(n) => Ok(micros_of_epoch(*n)),
        Scalar::Number(text) => text.parse().map(micros_of_epoch).map_err(|_| wrong()),
        Scalar::Text(text) => {
            let text = text.trim();
            if let Ok(n) = text.parse() {
                return Ok(micros_of_epoch(n));
            }
            parse_timestamp(text, wall_clock)
                .filter(|t| (0..=9999).contains(&t.year()))
                .map(|t| t.and_utc().timestamp_micros())
                .ok_or_else(wrong)
        }
        _ => Err(wrong()),
    }
}

fn parse_timestamp(text: &str, wall_clock: bool) -> Option<NaiveDateTime> {
    let with_zone = DateTime::parse_from_rfc3339(text)
        .or_else(|_| DateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f%z"))
        .or_else(|_| DateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f %z"));
    if let Ok(t) = with_zone {
        return Some(if wall_clock { t.naive_local() } else { t.naive_utc() });
    }
    ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M"]
        .iter()
        .find_map(|format| NaiveDateTime::parse_from_str(text, format).ok())
        .or_else(|| NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?.and_hms_opt(0, 0, 0))
}

fn micros_of_epoch(n: i64) -> i64 {
    match n.unsigned_abs() {
        0..31_536_000_000 => n.saturating_mul(1_000_000),
        31_536_000_000..31_536_000_000_000 => n.saturating_mul(1000),
        31_536_000_000_000..31_536_000_000_000_000 => n,
        _ => n.div_euclid(1000),
    }
}

fn check_chars(text: &str, chars_max: usize) -> Result<(), String> {
    // A character takes a byte at least, so short texts need no counting.
    if text.len() <= chars_max {
        return Ok(());
    }
    let chars = text.chars().count();
    if chars > chars_max { Err(format!("{chars} characters are more than the column's {chars_max}")) } else { Ok(()) }
}

/// Refuses JSON that no VARIANT can hold.
pub fn check_variant(bytes: usize) -> Result<(), String> {
    if bytes > VARIANT_BYTES_MAX {
        Err(format!("{bytes} bytes of JSON are more than a VARIANT's {VARIANT_BYTES_MAX}"))
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{BINARY, INTEGER, TEXT};

    /// The cell as text, so that cases fit on one line.
    fn show(ty: &ColumnType, raw: &str) -> String {
        let mut scratch = String::from("before");
        match from_json(ty, raw, raw.as_bytes(), &mut scratch) {
            Ok(None) => "null".into(),
            Ok(Some(Cell::Input(span))) => String::from_utf8(span.get(raw.as_bytes()).to_vec()).unwrap(),
            Ok(Some(Cell::Scratch(span))) => String::from_utf8(span.get(scratch.as_bytes()).to_vec()).unwrap(),
            Ok(Some(cell)) => format!("{cell:?}"),
            Err(why) => format!("error: {why}"),
        }
    }

    fn check(ty: &ColumnType, raw: &str, expected: &str) {
        assert_eq!(show(ty, raw), expected, "{raw} into {ty:?}");
    }

    fn refused(ty: &ColumnType, raw: &str) {
        assert!(show(ty, raw).starts_with("error: "), "{raw} into {ty:?} gave {}", show(ty, raw));
    }

    const PRICE: ColumnType = ColumnType::Number { precision: 6, scale: 2 };

    #[test]
    fn numbers_are_checked_against_precision_and_scale() {
        check(&INTEGER, "12", "Int(12)");
        check(&INTEGER, "12.0", "Int(12)");
        check(&INTEGER, "1e3", "Int(1000)");
        check(&INTEGER, "\"-7\"", "Int(-7)");
        check(&INTEGER, "99999999999999999999", "Decimal(99999999999999999999)");
        check(&INTEGER, "null", "null");
        check(&PRICE, "12.345", "Decimal(1235)");
        check(&PRICE, "-9999.99", "Decimal(-999999)");
        check(&PRICE, "3", "Decimal(300)");
        for raw in ["12.5", "\"x\"", "{}", "1e400", "1e2000000000", "100000000000000000000000000000000000000"] {
            refused(&INTEGER, raw);
        }
        for raw in ["10000", "9999.999"] {
            refused(&PRICE, raw);
        }
        refused(&ColumnType::Number { precision: 3, scale: 0 }, "1000");
        check(&PRICE, "1e-2000000000", "Decimal(0)");
    }

    #[test]
    fn text_takes_anything_that_is_short_enough() {
        check(&TEXT, r#""a""#, "a");
        check(&TEXT, r#""a\u00e4\n""#, "a\u{e4}\n");
        check(&TEXT, "12.50", "12.50");
        check(&TEXT, r#"{"a": 1}"#, r#"{"a": 1}"#);
        check(&ColumnType::Text { chars_max: 2 }, "\"\u{e4}\u{e4}\"", "\u{e4}\u{e4}");
        refused(&ColumnType::Text { chars_max: 2 }, r#""abc""#);
    }

    #[test]
    fn times_are_read_as_snowflake_reads_them() {
        check(&ColumnType::Date, r#""2026-11-23""#, "Date(20780)");
        check(&ColumnType::Time, r#""12:34:56.7""#, "12:34:56.700000000");
        check(&ColumnType::TimestampNtz, r#""2026-01-01T10:00:00+02:00""#, &format!("Int({})", 1_767_261_600_000_000i64));
        check(&ColumnType::TimestampLtz, r#""2026-01-01T10:00:00+02:00""#, &format!("Int({})", 1_767_254_400_000_000i64));
        check(&ColumnType::TimestampNtz, "1700000000", "Int(1700000000000000)");
        check(&ColumnType::TimestampNtz, "1700000000123", "Int(1700000000123000)");
        for raw in [r#""yesterday""#, "{}", "true"] {
            refused(&ColumnType::TimestampNtz, raw);
            refused(&ColumnType::Date, raw);
        }
        refused(&ColumnType::Time, r#""25:00""#);
    }

    #[test]
    fn semi_structured_columns_take_json_as_it_is() {
        check(&ColumnType::Variant, r#"{"a": [1, 2]}"#, r#"{"a": [1, 2]}"#);
        check(&ColumnType::Variant, r#""x""#, r#""x""#);
        check(&ColumnType::Array, "5", "[5]");
        refused(&ColumnType::Object, "5");
    }

    #[test]
    fn bytes_become_hexadecimal() {
        let mut scratch = String::new();
        let cell = from_value(&BINARY, &Value::Bytes(vec![0, 255, 16].into()), &mut scratch).unwrap();
        assert_eq!((cell, scratch.as_str()), (Some(Cell::Scratch(Span { start: 0, len: 6 })), "00FF10"));
        check(&BINARY, r#""00ff""#, "00ff");
        refused(&BINARY, r#""xyz""#);
    }

    #[test]
    fn booleans_and_floats() {
        check(&ColumnType::Boolean, "true", "Bool(true)");
        check(&ColumnType::Boolean, r#""No""#, "Bool(false)");
        refused(&ColumnType::Boolean, r#""maybe""#);
        check(&ColumnType::Float, "1.5", "Float(1.5)");
        check(&ColumnType::Float, r#""NaN""#, "Float(NaN)");
        refused(&ColumnType::Float, r#""x""#);
    }
}
