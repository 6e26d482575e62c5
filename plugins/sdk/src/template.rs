//! The crate that `penstock plugin new` writes.

/// What kind of plugin an author begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Transform,
    Predicate,
    Source,
    Sink,
}

/// A crate to be written.
#[derive(Clone, Debug)]
pub struct Crate<'c> {
    pub kind: Kind,
    /// The crate's name: letters, digits and dashes.
    pub name: &'c str,
    /// The full name of the class, `com.example.TidyText`.
    pub class: &'c str,
    /// How the crate depends on the SDK, as in a manifest: `path = "sdk/plugins/guest"`.
    pub sdk: &'c str,
    /// A paragraph on that for whoever reads the crate.
    pub sdk_note: &'c str,
}

impl Kind {
    fn source(self) -> &'static str {
        match self {
            Kind::Transform => include_str!("../templates/kinds/transform.rs"),
            Kind::Predicate => include_str!("../templates/kinds/predicate.rs"),
            Kind::Source => include_str!("../templates/kinds/source.rs"),
            Kind::Sink => include_str!("../templates/kinds/sink.rs"),
        }
    }

    /// A connector that uses the class, to be sent to a worker.
    fn example(self) -> &'static str {
        match self {
            Kind::Transform => {
                r#""connector.class": "Blackhole", "topics": "customers", "transforms": "t",
    "transforms.t.type": "com.example.PluginName", "transforms.t.fields": "email""#
            }
            Kind::Predicate => {
                r#""connector.class": "Blackhole", "topics": "orders", "predicates": "p", "transforms": "drop",
    "predicates.p.type": "com.example.PluginName", "predicates.p.field": "country", "predicates.p.values": "DE, AT",
    "transforms.drop.type": "org.apache.kafka.connect.transforms.Filter", "transforms.drop.predicate": "p""#
            }
            Kind::Source => r#""connector.class": "com.example.PluginName", "topic": "beats""#,
            Kind::Sink => r#""connector.class": "com.example.PluginName", "topics": "orders", "field": "total""#,
        }
    }
}

impl Crate<'_> {
    /// Path and text of each file.
    #[must_use]
    pub fn files(&self) -> Vec<(&'static str, String)> {
        let source = self.kind.source();
        let purpose = source.lines().next().unwrap_or_default().trim_start_matches("//! ");
        let example = format!(
            "curl localhost:8083/connectors -H 'Content-Type: application/json' -d '{{\n  \"name\": \"plugin-name\", \"config\": {{\n    {} }} }}'",
            self.kind.example()
        );
        let readme = include_str!("../templates/common/README.md");
        let readme = readme.replace("PURPOSE", purpose).replace("EXAMPLE", &example).replace("SDK_NOTE", self.sdk_note);
        let manifest = include_str!("../templates/common/Cargo.toml").replace("SDK_LOCATION", self.sdk);
        let files = [
            ("Cargo.toml", manifest),
            ("README.md", readme),
            (".gitignore", include_str!("../templates/common/gitignore").to_owned()),
            ("src/lib.rs", source.to_owned()),
        ];
        files.into_iter().map(|(path, text)| (path, self.named(&text))).collect()
    }

    /// With the names of this crate in the place of the template's.
    fn named(&self, text: &str) -> String {
        let simple = self.class.rsplit('.').next().unwrap_or(self.class);
        text.replace("com.example.PluginName", self.class).replace("PluginName", simple).replace("plugin-name", self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_word_of_the_template_is_left() {
        for kind in [Kind::Transform, Kind::Predicate, Kind::Source, Kind::Sink] {
            let class = "org.acme.Shout";
            let files =
                Crate { kind, name: "shout", class, sdk: r#"path = "sdk/plugins/guest""#, sdk_note: "The SDK is here." }.files();
            for (path, text) in &files {
                for left in ["PluginName", "plugin-name", "SDK_", "PURPOSE", "EXAMPLE", "com.example"] {
                    assert!(!text.contains(left), "{kind:?} {path} still says {left}");
                }
            }
            assert!(files.iter().any(|(path, text)| *path == "src/lib.rs" && text.contains("struct Shout")), "{kind:?}");
        }
    }
}
