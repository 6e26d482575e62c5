//! `Values.parseString` for single values: what type a text seems to have.

use penstock_api::{BigDecimal, Kind, Schema, SchemaAndValue, Value};

use super::calendar::DAY_MS;
use super::date_format::DateFormat;
use super::number::{decimal_to_double, decimal_to_long, parse_decimal};

/// The text as null, a boolean, a date or time, the smallest number type that holds it, or else as it is.
///
/// # Errors
/// For lists and maps, which are not read yet.
pub(crate) fn parse(text: &str) -> Result<SchemaAndValue, String> {
    let of = |kind, value| Ok(SchemaAndValue::new(Schema::new(kind), value));
    let trimmed = text.trim_matches(|c: char| c <= ' ');
    match trimmed {
        "" => return of(Kind::String, Value::string(text)),
        "null" => return Ok(SchemaAndValue::default()),
        "true" => return of(Kind::Boolean, Value::Boolean(true)),
        "false" => return of(Kind::Boolean, Value::Boolean(false)),
        _ => {}
    }
    if is_closed(trimmed, '[', ']') || is_closed(trimmed, '{', '}') {
        return Err("lists and maps are not supported yet: give a single value".into());
    }
    let token = token(text);
    let word = token.trim_matches(|c: char| c <= ' ');
    let first = word.chars().next().unwrap_or_default();
    if word.is_empty() {
        return of(Kind::String, Value::string(token));
    }
    if first.is_ascii_digit()
        && let Some(temporal) = five_tokens(text).and_then(temporal).or_else(|| temporal(word))
    {
        return Ok(temporal);
    }
    // Java looks at the first token only: `12:30 PM` is the number 12.
    if (first.is_ascii_digit() || matches!(first, '+' | '-'))
        && let Some(decimal) = parse_decimal(word)
    {
        return Ok(number(decimal));
    }
    of(Kind::String, Value::string(text))
}

/// The text up to the first delimiter that has no backslash before it; or that delimiter alone when nothing stands before it.
fn token(text: &str) -> &str {
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        if !escaped && ":,{}[]\"".contains(c) {
            return &text[..at.max(1)];
        }
        escaped = c == '\\' && !escaped;
    }
    text
}

/// What five tokens cover: a time or timestamp has four parts of its own between colons. `None` when there are fewer.
fn five_tokens(text: &str) -> Option<&str> {
    let mut length = 0;
    for _ in 0..5 {
        let next = token(&text[length..]);
        if next.is_empty() {
            return None;
        }
        length += next.len();
    }
    Some(&text[..length])
}

fn is_closed(text: &str, open: char, close: char) -> bool {
    text.starts_with(open) && text.ends_with(close)
}

/// The three ISO 8601 forms that Connect writes, told apart by their length.
fn temporal(text: &str) -> Option<SchemaAndValue> {
    let text = text.replace("\\:", ":");
    let read = |pattern: &str| DateFormat::new(pattern).expect("a pattern known to be good").parse(&text);
    Some(match text.len() {
        10 => {
            let days = read("yyyy-MM-dd")?.div_euclid(DAY_MS);
            SchemaAndValue::new(Schema::date(), Value::Date(i32::try_from(days).ok()?))
        }
        13 => SchemaAndValue::new(Schema::time(), Value::Time(i32::try_from(read("HH:mm:ss.SSS'Z'")?).ok()?)),
        24 => SchemaAndValue::new(Schema::timestamp(), Value::Timestamp(read("yyyy-MM-dd'T'HH:mm:ss.SSS'Z'")?)),
        _ => return None,
    })
}

fn number(decimal: BigDecimal) -> SchemaAndValue {
    let of = |kind, value| SchemaAndValue::new(Schema::new(kind), value);
    if decimal.is_integer() && decimal == decimal_to_long(&decimal) {
        let long = decimal_to_long(&decimal);
        return if let Ok(n) = i8::try_from(long) {
            of(Kind::Int8, Value::Int8(n))
        } else if let Ok(n) = i16::try_from(long) {
            of(Kind::Int16, Value::Int16(n))
        } else if let Ok(n) = i32::try_from(long) {
            of(Kind::Int32, Value::Int32(n))
        } else {
            of(Kind::Int64, Value::Int64(long))
        };
    }
    let (_, scale) = decimal.as_bigint_and_exponent();
    let double = decimal_to_double(&decimal);
    let float = double as f32;
    if scale != 0 && float.is_finite() {
        of(Kind::Float32, Value::Float32(float))
    } else if scale != 0 && double.is_finite() {
        of(Kind::Float64, Value::Float64(double))
    } else {
        let scale = i32::try_from(scale).unwrap_or(0);
        SchemaAndValue::new(Schema::decimal(scale), Value::Decimal(Box::new(decimal)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Value) {
        assert_eq!(parse(text).unwrap().value, expected, "{text}");
    }

    #[test]
    fn a_text_gets_the_type_it_looks_like() {
        check("null", Value::Null);
        check(" true ", Value::Boolean(true));
        check("12", Value::Int8(12));
        check("-300", Value::Int16(-300));
        check("1e5", Value::Int32(100_000));
        check("3000000000", Value::Int64(3_000_000_000));
        check("1.5", Value::Float32(1.5));
        check("1e300", Value::Float64(1e300));
        check("2024-11-22", Value::Date(20_049));
        check("00:00:01.000Z", Value::Time(1000));
        check("1970-01-01T00:00:01.000Z", Value::Timestamp(1000));
        check("hello: world", Value::string("hello: world"));
        check("1x", Value::string("1x"));
        assert!(parse("[1, 2]").is_err());
    }
}
