//! Version requirements in Maven's range syntax, as `connector.plugin.version` takes them (KIP-891).

use std::cmp::Ordering;
use std::sync::Arc;

use penstock_api::{Plugin, Registry};

const CONNECTS_OWN: &str = "org.apache.kafka.connect.";

/// The version of a plugin that a configuration wants: the first one, which is the highest, within the requirement. Connect's own
/// classes are there once and do what any version of Connect's does, so a requirement written for Java's worker does not matter.
///
/// # Errors
/// When none is, with the versions there are.
pub fn choose<'r>(registry: &'r Registry, plugin: &'r Arc<Plugin>, requirement: Option<&str>) -> Result<&'r Arc<Plugin>, String> {
    let Some(requirement) = requirement.map(str::trim).filter(|_| !plugin.class.starts_with(CONNECTS_OWN)) else {
        return Ok(plugin);
    };
    let mut refused = Vec::new();
    let mut range = requirement.to_owned();
    for version in registry.versions(plugin) {
        match satisfies(&version.version, requirement) {
            Ok(()) => return Ok(version),
            Err(wanted) => {
                refused.push(version.version.as_str());
                range = wanted;
            }
        }
    }
    let has = if refused.len() == 1 { "version" } else { "versions" };
    let does = if refused.len() == 1 { "does" } else { "do" };
    let class = &plugin.class;
    Err(format!("Plugin {class} has {has} {} which {does} not match the required version range {range}", refused.join(", ")))
}

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
    use penstock_api::{Constructor, Error};

    use super::*;

    #[test]
    fn the_highest_version_within_the_requirement_is_chosen() {
        let of_version = |version: &str| Plugin {
            class: "com.example.Mask".into(),
            aliases: Vec::new(),
            version: version.into(),
            config: Arc::default(),
            construct: Constructor::Transformation(Arc::new(|_| Err(Error::fatal("not made in this test")))),
        };
        let mut registry = Registry::new();
        registry.extend(["2.1.0", "1.9.0", "1.0.0"].map(of_version));
        let plugin = &registry.plugins()[0];
        let check = |requirement| choose(&registry, plugin, requirement).map(|chosen| chosen.version.as_str());
        assert_eq!(check(None), Ok("2.1.0"));
        assert_eq!(check(Some("[1,2)")), Ok("1.9.0"));
        assert_eq!(check(Some("1.0.0")), Ok("1.0.0"));
        let told = check(Some("[3,)")).unwrap_err();
        assert!(told.ends_with("has versions 2.1.0, 1.9.0, 1.0.0 which do not match the required version range [3,)"), "{told}");
    }

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
