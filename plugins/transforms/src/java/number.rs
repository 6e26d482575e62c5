//! Java's numbers as text, and text as numbers.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use penstock_api::{BigDecimal, Value, java};
use std::str::FromStr;

use super::calendar::DAY_MS;
use super::date_format::DateFormat;

/// `new BigDecimal(text)`; `None` where Java throws `NumberFormatException`.
pub(crate) fn parse_decimal(text: &str) -> Option<BigDecimal> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (digits, exponent) = match unsigned.find(['e', 'E']) {
        Some(at) => (&unsigned[..at], Some(&unsigned[at + 1..])),
        None => (unsigned, None),
    };
    let all_digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let has_exponent = exponent.is_none_or(|e| {
        let e = e.strip_prefix(['+', '-']).unwrap_or(e);
        !e.is_empty() && e.len() <= 10 && all_digits(e)
    });
    if whole.len() + fraction.len() == 0 || !all_digits(whole) || !all_digits(fraction) || !has_exponent {
        return None;
    }
    BigDecimal::from_str(text).ok()
}

/// `BigDecimal.longValue`: the fraction is cut off, and of what is left the lowest 64 bits.
pub(crate) fn decimal_to_long(decimal: &BigDecimal) -> i64 {
    let whole = decimal.with_scale_round(0, bigdecimal::RoundingMode::Down);
    let (digits, _) = whole.into_bigint_and_exponent();
    let bytes = digits.to_signed_bytes_le();
    let fill = if bytes.last().is_some_and(|b| b & 0x80 != 0) { 0xff } else { 0 };
    i64::from_le_bytes(std::array::from_fn(|at| bytes.get(at).copied().unwrap_or(fill)))
}

/// `BigDecimal.doubleValue`.
pub(crate) fn decimal_to_double(decimal: &BigDecimal) -> f64 {
    decimal.to_scientific_notation().parse().expect("scientific notation is a float's text")
}

/// `Double.parseDouble` or `Float.parseFloat`; `None` where Java throws `NumberFormatException`. Hexadecimal floats are not read.
pub(crate) fn parse_float<F: FromStr>(text: &str) -> Option<F> {
    let text = text.trim_matches(|c: char| c <= ' ');
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if matches!(unsigned, "NaN" | "Infinity") {
        return text.parse().ok();
    }
    let plain = unsigned.strip_suffix(['f', 'F', 'd', 'D']).unwrap_or(unsigned);
    let is_number = plain.bytes().all(|b| b.is_ascii_digit() || b"+-.eE".contains(&b));
    let with_sign = &text[..text.len() - unsigned.len() + plain.len()];
    if is_number { with_sign.parse().ok() } else { None }
}

/// `toString` of what Connect allows to be cast: dates as ISO 8601, bytes as base64.
pub(crate) fn to_text(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Boolean(b) => b.to_string(),
        Value::Int8(n) => n.to_string(),
        Value::Int16(n) => n.to_string(),
        Value::Int32(n) => n.to_string(),
        Value::Int64(n) => n.to_string(),
        Value::Float32(x) => java::float(*x),
        Value::Float64(x) => java::double(*x),
        Value::String(text) => text.to_string(),
        Value::Bytes(bytes) => BASE64.encode(bytes),
        Value::Decimal(decimal) => java::decimal(decimal),
        Value::Date(days) => date_text(i64::from(*days) * DAY_MS),
        Value::Time(millis) => date_text(i64::from(*millis)),
        Value::Timestamp(millis) => date_text(*millis),
        Value::Array(_) | Value::Map(_) | Value::Struct(_) => format!("{value:?}"),
    }
}

/// `Values.dateFormatFor(date).format(date)`, on a machine whose time zone is UTC.
fn date_text(millis: i64) -> String {
    let pattern = if millis < DAY_MS {
        "HH:mm:ss.SSS'Z'"
    } else if millis % DAY_MS == 0 {
        "yyyy-MM-dd"
    } else {
        "yyyy-MM-dd'T'HH:mm:ss.SSS'Z'"
    };
    DateFormat::new(pattern).expect("a pattern known to be good").format(millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_read_as_java_reads_them() {
        for good in ["1", "-1", "+1", ".5", "5.", "1e5", "1E-5", "123456789012345678901234567890.5"] {
            assert!(parse_decimal(good).is_some(), "{good}");
        }
        for bad in ["", " 1", "1 ", ".", "1_000", "0x1", "NaN", "1e", "1e1.5", "-", "--1", "1f"] {
            assert!(parse_decimal(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn texts_are_read_as_java_reads_them() {
        assert_eq!(parse_float::<f64>(" 1.5e3d "), Some(1500.0));
        assert_eq!(parse_float::<f64>("-Infinity"), Some(f64::NEG_INFINITY));
        for bad in ["", "inf", "infinity", "nan", "1_0", "d", "e5"] {
            assert_eq!(parse_float::<f64>(bad), None, "{bad}");
        }
    }

    #[test]
    fn decimals_are_cut_to_longs() {
        let check = |text: &str, long: i64| assert_eq!(decimal_to_long(&parse_decimal(text).unwrap()), long, "{text}");
        check("1.9", 1);
        check("-1.9", -1);
        check("1e3", 1000);
        check("9223372036854775808", i64::MIN);
        check("18446744073709551615", -1);
        check("-18446744073709551617", -1);
        assert_eq!(decimal_to_double(&parse_decimal("-12.50").unwrap()), -12.5);
    }
}
