//! Addresses: parameters, and where the next page is.

/// `https://host:port` of a URL.
pub(crate) fn origin(url: &str) -> Option<&str> {
    let (scheme, rest) = url.split_once("://")?;
    let host_bytes = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    (matches!(scheme, "http" | "https") && host_bytes > 0).then(|| &url[..scheme.len() + 3 + host_bytes])
}

/// The URL with one parameter more.
pub(crate) fn with_parameter(url: &str, name: &str, value: &str) -> String {
    let pair = form_urlencoded::Serializer::new(String::new()).append_pair(name, value).finish();
    let (url, fragment) = url.split_once('#').map_or((url, None), |(url, fragment)| (url, Some(fragment)));
    let separator = match (url.contains('?'), url.ends_with(['?', '&'])) {
        (false, _) => "?",
        (true, true) => "",
        (true, false) => "&",
    };
    let fragment = fragment.map_or_else(String::new, |fragment| format!("#{fragment}"));
    format!("{url}{separator}{pair}{fragment}")
}

/// The target of `rel="next"` in the values of Link headers.
pub(crate) fn next_of<'h>(values: impl Iterator<Item = &'h str>) -> Option<String> {
    for value in values {
        let mut rest = value;
        while let Some(start) = rest.find('<') {
            let Some(length) = rest[start..].find('>') else { break };
            let (target, behind) = (&rest[start + 1..start + length], &rest[start + length + 1..]);
            let parameters = &behind[..behind.find(",<").or_else(|| behind.find(", <")).unwrap_or(behind.len())];
            let is_next = parameters.split(';').any(|parameter| {
                let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
                let relations = value.trim().trim_end_matches(',').trim_matches('"');
                name.trim().eq_ignore_ascii_case("rel") && relations.split_whitespace().any(|r| r.eq_ignore_ascii_case("next"))
            });
            if is_next {
                return Some(target.to_owned());
            }
            rest = &behind[parameters.len()..];
        }
    }
    None
}

/// An address that an answer to `base` names. `None`: it leads to another host, where this connector's headers have no business, or is
/// written in a way that is not understood.
pub(crate) fn resolve(base: &str, target: &str) -> Option<String> {
    let own = origin(base)?;
    if target.contains("://") {
        return (origin(target)?.eq_ignore_ascii_case(own)).then(|| target.to_owned());
    }
    if target.starts_with('/') && !target.starts_with("//") {
        return Some(format!("{own}{target}"));
    }
    let path = &base[..base.find(['?', '#']).unwrap_or(base.len())];
    target.starts_with('?').then(|| format!("{path}{target}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_added_and_escaped() {
        assert_eq!(with_parameter("http://a/b", "since", "1 & 2"), "http://a/b?since=1+%26+2");
        assert_eq!(
            with_parameter("http://a/b?x=1", "since", "2026-01-01T00:00:00Z"),
            "http://a/b?x=1&since=2026-01-01T00%3A00%3A00Z"
        );
        assert_eq!(with_parameter("http://a?", "p", "v"), "http://a?p=v");
    }

    #[test]
    fn the_next_link_is_found_among_others() {
        let next = |value: &str| next_of([value].into_iter());
        assert_eq!(next(r#"<http://a/?p=2>; rel="next", <http://a/?p=9>; rel="last""#).as_deref(), Some("http://a/?p=2"));
        assert_eq!(
            next(r#"<http://a/?p=1,2>; rel="prev", <http://a/?p=3,4>; title="x"; rel=next"#).as_deref(),
            Some("http://a/?p=3,4")
        );
        assert_eq!(next(r#"</b?p=2>; rel="last next""#).as_deref(), Some("/b?p=2"));
        for none in [r#"<http://a>; rel="prev""#, "", "<http://a", "rel=next"] {
            assert_eq!(next(none), None, "{none}");
        }
    }

    #[test]
    fn links_stay_with_their_host() {
        let base = "http://a:1/list?x=1";
        assert_eq!(resolve(base, "http://a:1/list?p=2").as_deref(), Some("http://a:1/list?p=2"));
        assert_eq!(resolve(base, "/list?p=2").as_deref(), Some("http://a:1/list?p=2"));
        assert_eq!(resolve(base, "?p=2").as_deref(), Some("http://a:1/list?p=2"));
        for other in ["http://b:1/list", "https://a:1/list", "//b/list", "http://a:1.evil/list", "list"] {
            assert_eq!(resolve(base, other), None, "{other}");
        }
    }
}
