//! Version requirements in Maven's range syntax, as `connector.plugin.version` takes them (KIP-891).

use std::cmp::Ordering;

/// Whether a version is within a requirement: `1.2` (exactly), `latest`, `[1,2)`, `(,3]`.
///
/// # Errors
/// The requirement as messages show it, when the version is not within or the requirement makes no sense.
pub fn satisfies(version: &str, requirement: &str) -> Result<(), String> {
    if requirement.is_empty() || requirement.eq_ignore_ascii_case("latest") {
        return Ok(());
    }
    let Some((open, inner, close)) = bracketed(requirement) else {
        let is_same = compare(version, requirement) == Ordering::Equal;
        return if is_same { Ok(()) } else { Err(format!("[{requirement},{requirement}]")) };
    };
    let (low, high) = inner.split_once(',').unwrap_or((inner, inner));
    let above = low.trim().is_empty() || within(compare(version, low.trim()), Ordering::Greater, open == '[');
    let below = high.trim().is_empty() || within(compare(version, high.trim()), Ordering::Less, close == ']');
    if above && below { Ok(()) } else { Err(requirement.to_owned()) }
}

fn bracketed(text: &str) -> Option<(char, &str, char)> {
    let open = text.chars().next().filter(|c| matches!(c, '[' | '('))?;
    let close = text.chars().next_back().filter(|c| matches!(c, ']' | ')'))?;
    Some((open, text.get(1..text.len() - 1)?, close))
}

fn within(found: Ordering, wanted: Ordering, inclusive: bool) -> bool {
    found == wanted || (inclusive && found == Ordering::Equal)
}

/// By numbers where both parts are numbers; a missing part counts as 0.
fn compare(a: &str, b: &str) -> Ordering {
    let parts = |text: &str| text.split(['.', '-']).map(str::to_owned).collect::<Vec<_>>();
    let (a, b) = (parts(a), parts(b));
    for i in 0..a.len().max(b.len()) {
        let (x, y) = (a.get(i).map_or("0", String::as_str), b.get(i).map_or("0", String::as_str));
        let order = match (x.parse::<u64>(), y.parse::<u64>()) {
            (Ok(x), Ok(y)) => x.cmp(&y),
            _ => x.cmp(y),
        };
        if order != Ordering::Equal {
            return order;
        }
    }
    Ordering::Equal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        let check = |version, requirement, good: bool| {
            assert_eq!(satisfies(version, requirement).is_ok(), good, "{version} in {requirement}");
        };
        check("4.3.1", "4.3.1", true);
        check("4.3.0", "4.3", true);
        check("4.3.1", "9", false);
        check("4.3.1", "[1,5)", true);
        check("5.0", "[1,5)", false);
        check("4.10", "(4.9,)", true);
        check("4.10", "(,4.9]", false);
        check("1", "latest", true);
        assert_eq!(satisfies("4.3.1", "9"), Err("[9,9]".into()));
    }
}
