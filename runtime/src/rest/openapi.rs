//! `/openapi.json`: what the routes are, for tools and for people who read.

use axum::Router;
use axum::http::header;
use axum::routing::get;

use super::Rest;

/// Written by hand; the tests below hold it to the routes, and the integration tests to the answers.
const DESCRIPTION: &str = include_str!("openapi.json");

pub(super) fn routes() -> Router<Rest> {
    Router::new().route("/openapi.json", get(|| async { ([(header::CONTENT_TYPE, "application/json")], DESCRIPTION) }))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use fancy_regex::Regex;
    use serde_json::Value;

    use super::*;

    /// Routes that others than clients call.
    const NOT_DESCRIBED: &[(&str, &str)] = &[
        ("/connectors/{connector}/tasks", "post"),
        ("/connectors/{connector}/fence", "put"),
        ("/connectors/{connector}/plan", "put"),
    ];

    fn described() -> BTreeSet<(String, String)> {
        let description: Value = serde_json::from_str(DESCRIPTION).expect("JSON");
        let paths = description["paths"].as_object().expect("paths").clone();
        paths
            .into_iter()
            .flat_map(|(path, operations)| {
                let operations = operations.as_object().expect("operations").clone();
                operations.into_iter().map(move |(method, _)| (path.clone(), method))
            })
            .collect()
    }

    /// As the code of this folder says: `.route("/path", get(..).put(..))`.
    fn routed() -> BTreeSet<(String, String)> {
        let method = Regex::new(r"\b(get|put|post|patch|delete)\(").expect("a pattern");
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/rest");
        let files = std::fs::read_dir(folder).expect("the sources").flatten().map(|entry| entry.path());
        let mut routes = BTreeSet::new();
        for file in files.filter(|file| file.extension().is_some_and(|e| e == "rs")) {
            let code = std::fs::read_to_string(&file).expect("a source");
            // What stands in tests is no route.
            let code = code.split("#[cfg(test)]").next().unwrap_or_default();
            for route in code.split(".route(").skip(1) {
                let route = route.split("\n}").next().unwrap_or_default();
                let path = route.split('"').nth(1).expect("a route begins with its path");
                routes.extend(method.captures_iter(route).flatten().map(|found| (path.to_owned(), found[1].to_owned())));
            }
        }
        routes
    }

    #[test]
    fn every_route_is_described_and_every_description_is_a_route() {
        let (described, mut routed) = (described(), routed());
        assert!(routed.len() > 25, "the routes were not found in the code: {routed:?}");
        routed.retain(|(path, method)| !NOT_DESCRIBED.contains(&(path.as_str(), method.as_str())));
        let missing: Vec<_> = routed.difference(&described).collect();
        let gone: Vec<_> = described.difference(&routed).collect();
        assert!(missing.is_empty(), "describe these routes in rest/openapi.json: {missing:?}");
        assert!(gone.is_empty(), "rest/openapi.json describes what is no route: {gone:?}");
    }

    #[test]
    fn everything_that_is_referred_to_is_there() {
        let description: Value = serde_json::from_str(DESCRIPTION).expect("JSON");
        let references = Regex::new(r##""\$ref": "#([^"]+)""##).expect("a pattern");
        let mut count = 0;
        for found in references.captures_iter(DESCRIPTION).flatten() {
            count += 1;
            assert!(description.pointer(&found[1]).is_some(), "{} is not there", &found[1]);
        }
        assert!(count > 100);
    }
}
