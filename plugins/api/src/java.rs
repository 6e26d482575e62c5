//! How Java writes what it holds, for texts that have to be the same here: `toString` of numbers, and the order of a `HashMap`.

use bigdecimal::BigDecimal;

use crate::value::Value;

/// `Float.toString`.
#[must_use]
pub fn float(x: f32) -> String {
    float_text(f64::from(x), &format!("{x:e}"))
}

/// `Double.toString`: plain from a thousandth to ten millions, else with an exponent; always with a point.
#[must_use]
pub fn double(x: f64) -> String {
    float_text(x, &format!("{x:e}"))
}

/// `scientific` holds the shortest digits that tell the number from its neighbours, as Rust writes them.
fn float_text(x: f64, scientific: &str) -> String {
    if x.is_nan() {
        return "NaN".to_owned();
    }
    let sign = if x.is_sign_negative() { "-" } else { "" };
    if x.is_infinite() {
        return format!("{sign}Infinity");
    }
    if x == 0.0 {
        return format!("{sign}0.0");
    }
    let (digits, exponent) = scientific.trim_start_matches('-').split_once('e').expect("scientific notation has an exponent");
    let exponent: i32 = exponent.parse().expect("an exponent is a number");
    let digits = digits.replace('.', "");
    if (-3..7).contains(&exponent) {
        if exponent < 0 {
            return format!("{sign}0.{}{digits}", "0".repeat((-exponent - 1) as usize));
        }
        let whole = exponent as usize + 1;
        let padded = format!("{digits:0<whole$}");
        let (before, after) = padded.split_at(whole);
        return format!("{sign}{before}.{}", if after.is_empty() { "0" } else { after });
    }
    let (first, others) = digits.split_at(1);
    format!("{sign}{first}.{}E{exponent}", if others.is_empty() { "0" } else { others })
}

/// `BigDecimal.toString`.
#[must_use]
pub fn decimal(decimal: &BigDecimal) -> String {
    let (unscaled, scale) = decimal.as_bigint_and_exponent();
    let text = unscaled.to_string();
    let (sign, digits) = text.strip_prefix('-').map_or(("", text.as_str()), |digits| ("-", digits));
    if scale == 0 {
        return text;
    }
    let length = digits.len() as i64;
    let adjusted = length - 1 - scale;
    if scale > 0 && adjusted >= -6 {
        let width = scale as usize + 1;
        let padded = format!("{digits:0>width$}");
        let (whole, fraction) = padded.split_at(padded.len() - scale as usize);
        return format!("{sign}{whole}.{fraction}");
    }
    let (first, others) = digits.split_at(1);
    let point = if others.is_empty() { "" } else { "." };
    let exponent = if adjusted == 0 { String::new() } else { format!("E{adjusted:+}") };
    format!("{sign}{first}{point}{others}{exponent}")
}

/// The entries in the order in which a `HashMap` gives them, to which they were added one by one, as converters do. With keys that are
/// neither texts nor integers they stay as they are.
#[must_use]
pub fn hash_order(entries: &[(Value, Value)]) -> Vec<&(Value, Value)> {
    const BUCKETS_AT_FIRST: usize = 16;
    let mut buckets = BUCKETS_AT_FIRST;
    while entries.len() > buckets / 4 * 3 {
        buckets *= 2;
    }
    let place = |key: &Value| hash_code(key).map(|hash| (hash ^ (hash >> 16)) as usize & (buckets - 1));
    let mut order: Vec<_> = entries.iter().collect();
    if entries.iter().all(|(key, _)| hash_code(key).is_some()) {
        order.sort_by_key(|(key, _)| place(key));
    }
    order
}

/// `Object.hashCode`; `None` for what it is not needed for.
fn hash_code(value: &Value) -> Option<u32> {
    match value {
        Value::String(text) => {
            Some(text.encode_utf16().fold(0, |hash: u32, unit| hash.wrapping_mul(31).wrapping_add(unit.into())))
        }
        Value::Int64(n) => Some((n ^ (n >> 32)) as u32),
        other => other.as_i64().map(|n| n as u32),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::str::FromStr;

    #[test]
    fn numbers_are_written_as_java_writes_them() {
        let check = |x: f64, text: &str| assert_eq!(double(x), text);
        check(1.0, "1.0");
        check(-0.0, "-0.0");
        check(0.001, "0.001");
        check(0.000_95, "9.5E-4");
        check(1_234_567.0, "1234567.0");
        check(12_345_678.0, "1.2345678E7");
        check(1e21, "1.0E21");
        check(f64::NEG_INFINITY, "-Infinity");
        assert_eq!(float(0.1), "0.1");
        let check = |text: &str, expected: &str| assert_eq!(decimal(&BigDecimal::from_str(text).unwrap()), expected);
        check("12.50", "12.50");
        check("0.0000012", "0.0000012");
        check("0.00000012", "1.2E-7");
        check("1e3", "1E+3");
        check("-0.5", "-0.5");
        check("12e3", "1.2E+4");
    }

    /// What Java 17 printed for a `HashMap` with these keys, put in this order.
    #[test]
    fn maps_are_in_the_order_of_their_hashes() {
        let check = |keys: &str, expected: &str| {
            let entries: Vec<_> = keys.split(' ').map(|key| (Value::string(key), Value::Null)).collect();
            let found: Vec<_> = hash_order(&entries).into_iter().filter_map(|(key, _)| key.as_str()).collect();
            assert_eq!(found.join(" "), expected);
        };
        check("name task sinkTask topic time_ms seqno offset flushed", "task seqno offset time_ms name topic sinkTask flushed");
        check("name task topic time_ms seqno committed", "committed task seqno time_ms name topic");
        check(MANY, MANY_IN_JAVA);
    }

    const MANY: &str = "event_id session customer_id action sku device ip duration_ms experiment occurred_at \u{e4}\u{1F69A} a b c AaAa BBBB AaBB";
    const MANY_IN_JAVA: &str = "a b c session ip duration_ms occurred_at event_id experiment action customer_id sku device \u{e4}\u{1F69A} AaAa BBBB AaBB";
}
