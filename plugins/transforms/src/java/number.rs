//! Java's numbers as text, and text as numbers.

use penstock_api::BigDecimal;
use std::str::FromStr;

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
