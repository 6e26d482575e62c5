//! The file in which a standalone worker keeps source offsets over its end: Java's, so that either can go on from the other's.

use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use penstock_api::{Error, Result};

use super::event::Record;
use super::java_map;
use super::memory::Memory;

/// `offset.storage.file.filename`, and the topic in memory that it is a copy of. Clones share it.
#[derive(Clone)]
pub(super) struct OffsetFile {
    path: Arc<PathBuf>,
    topic: Arc<str>,
    /// One write after the other.
    writing: Arc<Mutex<()>>,
}

impl OffsetFile {
    pub(super) fn new(path: &Path, topic: &str) -> Self {
        Self { path: Arc::new(path.to_owned()), topic: topic.into(), writing: Arc::default() }
    }

    pub(super) fn is_of(&self, topic: &str) -> bool {
        *self.topic == *topic
    }

    /// Fills the topic with what the file holds; one that is not there holds nothing, as in Java.
    pub(super) fn load(&self, memory: &Memory) -> Result<()> {
        let path = self.path.display();
        let file = match fs::read(&*self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(Error::config(format!("read offset.storage.file.filename={path}")).with_source(error)),
        };
        // As in Java an empty one holds nothing, too.
        if file.is_empty() {
            return Ok(());
        }
        let entries = java_map::read(&file).map_err(|why| {
            Error::config(format!("offset.storage.file.filename={path} holds no offsets as Java's workers write them"))
                .with_source(why)
        })?;
        let records = entries.into_iter().filter_map(|(key, value)| {
            let key =
                String::from_utf8(key).inspect_err(|_| tracing::error!(%path, "skipped an offset whose key is no text")).ok()?;
            Some(Record { key, value: Some(value?) })
        });
        memory.append(&self.topic, records.collect());
        Ok(())
    }

    /// Writes all of the topic, in place of what was there: who reads the file, or finds it after a crash, sees all of either.
    pub(super) fn save(&self, memory: &Memory) -> Result<()> {
        let _one_after_the_other = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let newest = memory.newest(&self.topic);
        let bytes = java_map::write(newest.iter().map(|(key, value)| (key.as_bytes(), Some(value.as_slice()))));
        let beside = self.path.with_extension("new");
        let write = || {
            let mut file = fs::File::create(&beside)?;
            file.write_all(&bytes)?;
            file.sync_all()?;
            fs::rename(&beside, &*self.path)
        };
        write().map_err(|error| {
            Error::retriable(format!("write offset.storage.file.filename={}", self.path.display())).with_source(error)
        })
    }
}
