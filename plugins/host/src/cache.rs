//! Compiled components on disk, so that each is compiled once.
//!
//! What lies there is machine code that the worker will run, so the folder must be ours alone (mode 0700), and each file
//! begins with the digest of the rest: a damaged or cut file is compiled anew, never run. Writers do not disturb each
//! other: a file appears whole, by renaming.

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use sha2::{Digest, Sha256};

const MAGIC: &[u8; 8] = b"PENCODE1";
const HEADER_BYTES: usize = MAGIC.len() + 32;

/// A private folder of compiled code.
#[derive(Debug)]
pub(crate) struct Cache {
    dir: PathBuf,
}

impl Cache {
    /// Opens the folder, creating it if it is not there.
    ///
    /// # Errors
    /// When it cannot be made, or others may write to it.
    pub(crate) fn open(dir: &Path) -> io::Result<Self> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        // Only the owner can do this, so it also shows whose the folder is.
        fs::set_permissions(dir, fs::Permissions::from_mode(0o700))?;
        let probe = tempfile_in(dir)?;
        let ours = fs::metadata(&probe)?.uid();
        fs::remove_file(&probe)?;
        if fs::metadata(dir)?.uid() != ours {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, "the folder belongs to another user"));
        }
        Ok(Self { dir: dir.to_owned() })
    }

    /// The folder.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The code stored under a key; `None` when there is none, or it is damaged.
    pub(crate) fn load(&self, key: &str) -> Option<Vec<u8>> {
        let path = self.path(key);
        let mut bytes = Vec::new();
        fs::File::open(&path).ok()?.read_to_end(&mut bytes).ok()?;
        let code_is_whole = bytes.len() > HEADER_BYTES
            && bytes.starts_with(MAGIC)
            && Sha256::digest(&bytes[HEADER_BYTES..]).as_slice() == &bytes[MAGIC.len()..HEADER_BYTES];
        if !code_is_whole {
            tracing::warn!(file = %path.display(), "the cached code is damaged, so the plugin is compiled anew");
            return None;
        }
        bytes.drain(..HEADER_BYTES);
        Some(bytes)
    }

    /// Stores code under a key.
    pub(crate) fn store(&self, key: &str, code: &[u8]) -> io::Result<()> {
        let part = tempfile_in(&self.dir)?;
        let written = write(&part, code).and_then(|()| fs::rename(&part, self.path(key)));
        if written.is_err() {
            let _not_there = fs::remove_file(&part);
        }
        written
    }

    fn path(&self, key: &str) -> PathBuf {
        self.dir.join(format!("{key}.cwasm"))
    }
}

fn write(path: &Path, code: &[u8]) -> io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).truncate(true).open(path)?;
    file.write_all(MAGIC)?;
    file.write_all(&Sha256::digest(code))?;
    file.write_all(code)
}

/// A new empty file that nobody else writes to.
fn tempfile_in(dir: &Path) -> io::Result<PathBuf> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let path = dir.join(format!(".new-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed)));
        match fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
            Ok(_) => return Ok(path),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(e),
        }
    }
}

/// Where compiled code lies unless the worker is told otherwise: `$XDG_CACHE_HOME/penstock/components`, else under `~/.cache`.
pub(crate) fn default_dir() -> Option<PathBuf> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
    let base = absolute("XDG_CACHE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".cache")))?;
    Some(base.join("penstock").join("components"))
}

/// A digest in hexadecimal digits.
pub(crate) fn hex(digest: &[u8]) -> String {
    use std::fmt::Write;
    digest.iter().fold(String::with_capacity(digest.len() * 2), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a String cannot fail");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("penstock-cache-{}-{name}", std::process::id()));
        let _not_there = fs::remove_dir_all(&dir);
        dir
    }

    #[test]
    fn only_whole_code_comes_back() {
        let dir = scratch("whole");
        let cache = Cache::open(&dir).unwrap();
        assert_eq!(cache.load("k"), None);
        cache.store("k", b"machine code").unwrap();
        assert_eq!(cache.load("k").as_deref(), Some(&b"machine code"[..]));

        let path = cache.path("k");
        let whole = fs::read(&path).unwrap();
        for cut in [0, 5, HEADER_BYTES, whole.len() - 1] {
            fs::write(&path, &whole[..cut]).unwrap();
            assert_eq!(cache.load("k"), None, "cut at {cut}");
        }
        let mut flipped = whole.clone();
        *flipped.last_mut().unwrap() ^= 1;
        fs::write(&path, &flipped).unwrap();
        assert_eq!(cache.load("k"), None);

        cache.store("k", b"machine code").unwrap();
        assert!(cache.load("k").is_some());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(&dir).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 1, "no leftovers");
        fs::remove_dir_all(&dir).unwrap();
    }
}
