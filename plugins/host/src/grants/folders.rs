//! Folders that a plugin may read, or read and write.
//!
//! `plugin.grants.folders` lists absolute paths; with `:rw` behind one the plugin may write there, else it may only read. The plugin finds
//! them under the same paths. What lies below a folder belongs to it; links that lead out of it are not followed.

use std::fmt;
use std::path::{Component, Path, PathBuf};

use penstock_api::config::split_list;

const FOLDERS_MAX: usize = 16;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Folders(Vec<Folder>);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Folder {
    pub path: PathBuf,
    pub may_write: bool,
}

impl Folders {
    /// Reads a list.
    ///
    /// # Errors
    /// Which path is wrong, and how it should look.
    pub(crate) fn parse(list: &str) -> Result<Self, String> {
        let folders = split_list(list);
        if folders.len() > FOLDERS_MAX {
            return Err(format!("{} folders: at most {FOLDERS_MAX} are allowed", folders.len()));
        }
        folders.iter().map(|folder| Folder::parse(folder)).collect::<Result<_, _>>().map(Self)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Folder> {
        self.0.iter()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The first folder that does not lie within the ceiling, as paths are written.
    pub(crate) fn beyond(&self, ceiling: &Folders) -> Option<String> {
        self.iter().find(|folder| !ceiling.hold(folder)).map(ToString::to_string)
    }

    /// The same folders with all links followed, as they are now: a link must not lead out of the ceiling.
    ///
    /// # Errors
    /// Which folder is not there, or lies elsewhere than it seems.
    pub(crate) fn resolved(&self, ceiling: &Folders) -> Result<Vec<(PathBuf, Folder)>, String> {
        let real = |folder: &Folder| Some(Folder { path: folder.path.canonicalize().ok()?, ..folder.clone() });
        let ceiling = Folders(ceiling.iter().filter_map(real).collect());
        let resolve = |folder: &Folder| {
            let path = folder.path.canonicalize().map_err(|error| format!("{folder} cannot be opened: {error}"))?;
            if !path.is_dir() {
                return Err(format!("{folder} is no folder"));
            }
            let found = Folder { path, ..folder.clone() };
            match ceiling.hold(&found) {
                true => Ok((found.path, folder.clone())),
                false => Err(format!("{folder} leads to {found}, which is beyond what this worker grants")),
            }
        };
        self.iter().map(resolve).collect()
    }

    fn hold(&self, folder: &Folder) -> bool {
        self.iter().any(|own| folder.path.starts_with(&own.path) && (own.may_write || !folder.may_write))
    }
}

impl Folder {
    fn parse(text: &str) -> Result<Self, String> {
        let (path, may_write) = match text.rsplit_once(':') {
            Some((path, "rw")) => (path, true),
            Some((path, "ro")) => (path, false),
            _ => (text, false),
        };
        let path = Path::new(path);
        let is_plain = path.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
        if !path.is_absolute() || !is_plain {
            return Err(format!(
                "{text}: a folder is an absolute path without .., with :rw behind it if the plugin may write there"
            ));
        }
        Ok(Self { path: path.to_owned(), may_write })
    }
}

impl fmt::Display for Folder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.path.display(), if self.may_write { ":rw" } else { "" })
    }
}

impl fmt::Display for Folders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folders(list: &str) -> Folders {
        Folders::parse(list).expect(list)
    }

    #[test]
    fn a_ceiling_holds_what_lies_below_it() {
        for (ceiling, wanted, beyond) in [
            ("/data", "/data/in", None),
            ("/data", "/data:rw", Some("/data:rw")),
            ("/data:rw", "/data/out:rw, /data/in", None),
            ("/data", "/database", Some("/database")),
            ("", "/data", Some("/data")),
            ("/", "/etc", None),
        ] {
            assert_eq!(folders(wanted).beyond(&folders(ceiling)).as_deref(), beyond, "{ceiling}: {wanted}");
        }
        for wrong in ["data", "/data/../etc", "./x", ""] {
            assert!(Folders::parse(&format!("/a, {wrong}")).is_err(), "{wrong}");
        }
    }

    #[test]
    fn links_do_not_lead_out_of_the_ceiling() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().canonicalize().expect("a path");
        let (granted, other) = (path.join("granted"), path.join("other"));
        std::fs::create_dir_all(granted.join("in")).expect("folders");
        std::fs::create_dir(&other).expect("a folder");
        std::os::unix::fs::symlink(&other, granted.join("out")).expect("a link");
        let ceiling = folders(&granted.display().to_string());
        let resolve = |name: &str| folders(&granted.join(name).display().to_string()).resolved(&ceiling);
        assert!(resolve("in").is_ok());
        assert!(resolve("out").expect_err("it leads out").contains("beyond what this worker grants"));
        assert!(resolve("none").expect_err("it is not there").contains("cannot be opened"));
    }
}
