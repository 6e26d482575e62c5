//! What a configuration would change.

use penstock_api::Props;

/// One line for each key that changes: `+ key=new`, `- key=old`, `~ key: old -> new`. Empty when nothing does.
pub(super) fn diff(old: &Props, new: &Props) -> Vec<String> {
    let mut keys: Vec<&String> = old.keys().chain(new.keys()).collect();
    keys.sort_unstable();
    keys.dedup();
    let line = |key: &String| match (old.get(key), new.get(key)) {
        (Some(old), Some(new)) if old == new => None,
        (Some(old), Some(new)) => Some(format!("~ {key}: {} -> {}", shown(key, old), shown(key, new))),
        (Some(old), None) => Some(format!("- {key}={}", shown(key, old))),
        (None, new) => Some(format!("+ {key}={}", shown(key, new.map_or("", String::as_str)))),
    };
    keys.into_iter().filter_map(line).collect()
}

/// A value on a terminal, which somebody may be looking at.
pub(super) fn shown<'v>(key: &str, value: &'v str) -> &'v str {
    const SECRET: [&str; 7] = ["password", "passphrase", "secret", "token", "jaas", "credential", "private.key"];
    let key = key.to_lowercase();
    // A variable is no secret, what it stands for is.
    let is_secret = SECRET.iter().any(|word| key.contains(word)) && !value.starts_with("${");
    if is_secret { "[hidden]" } else { value }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(pairs: &[(&str, &str)]) -> Props {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn only_what_changes_is_listed_and_secrets_are_not_shown() {
        let old = config(&[("a", "1"), ("b", "2"), ("c", "3"), ("my.password", "x")]);
        let new = config(&[("a", "1"), ("b", "20"), ("d", "4"), ("my.password", "y"), ("api.token", "${env:T}")]);
        let expected = ["+ api.token=${env:T}", "~ b: 2 -> 20", "- c=3", "+ d=4", "~ my.password: [hidden] -> [hidden]"];
        assert_eq!(diff(&old, &new), expected);
        assert!(diff(&old, &old).is_empty());
    }
}
