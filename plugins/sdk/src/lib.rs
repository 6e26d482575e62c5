//! The SDK of plugin authors as files, so that whoever has the binary has the SDK that fits it.
//!
//! [`files`] is a workspace of its own with the crates `penstock-api`, `penstock-plugin` and `penstock-plugin-testing` and the WIT files,
//! laid out as in the tree: a plugin depends on its folder `plugins/guest`.

mod template;

pub use template::{Crate, Kind};

/// Path and text of every file as it stands in the tree.
const TREE: &[(&str, &str)] = &include!(concat!(env!("OUT_DIR"), "/files.rs"));

/// The version of the SDK, which is that of the worker.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The crates of the SDK, by folder.
const CRATES: [&str; 3] = ["plugins/api", "plugins/guest", "plugins/testing"];

/// Path and text of every file.
pub fn files() -> impl Iterator<Item = (&'static str, String)> {
    TREE.iter().map(|(path, text)| (*path, if *path == "Cargo.toml" { workspace(text) } else { (*text).to_owned() }))
}

/// The root manifest with the SDK's crates alone: the tree's profiles and other crates are not there.
fn workspace(root: &str) -> String {
    let members = CRATES.map(|member| format!("\"{member}\"")).join(", ");
    let mut text = format!(
        "# The SDK of Penstock {VERSION}, written by `penstock plugin new` or `penstock plugin sdk`: do not edit, write it anew.\n\
         [workspace]\nresolver = \"3\"\nmembers = [{members}]\n"
    );
    let mut is_kept = false;
    for line in root.lines() {
        if let Some(section) = line.strip_prefix('[') {
            is_kept =
                ["workspace.package]", "workspace.dependencies]", "workspace.lints"].iter().any(|kept| section.starts_with(kept));
            if is_kept {
                text.push('\n');
            }
        }
        let is_foreign = line.contains("{ path = ") && !CRATES.iter().any(|member| line.contains(&format!("\"{member}\"")));
        if is_kept && !is_foreign && !line.trim().is_empty() {
            text.push_str(line);
            text.push('\n');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sdk_is_whole_and_alone() {
        let files: Vec<_> = files().collect();
        let text = |path: &str| &files.iter().find(|(known, _)| *known == path).unwrap_or_else(|| panic!("{path} is missing")).1;
        for path in
            ["plugins/api/src/lib.rs", "plugins/guest/src/export.rs", "plugins/testing/Cargo.toml", "wit/world.wit", "LICENSE"]
        {
            assert!(!text(path).is_empty(), "{path}");
        }
        let root = text("Cargo.toml");
        assert!(root.contains("members = [\"plugins/api\", \"plugins/guest\", \"plugins/testing\"]"), "{root}");
        assert!(root.contains("penstock-api = { path = \"plugins/api\" }"), "{root}");
        assert!(!root.contains("path = \"runtime") && !root.contains("[profile"), "{root}");
    }
}
