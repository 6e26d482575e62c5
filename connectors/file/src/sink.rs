//! Each record's value as a line, at the end of a file or on standard output.

use penstock_api::{Error, Format, Offsets, Payload, Props, Result, SinkContext, SinkRecord, SinkTask};
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::{config, text};

#[derive(Default)]
pub(crate) struct FileStreamSinkTask {
    output: Option<Output>,
    /// The last write broke off within a line: the next one begins on a line of its own.
    is_torn: bool,
}

#[derive(Clone)]
enum Output {
    Stdout,
    File(Arc<File>, Arc<Path>),
}

#[penstock_api::async_trait]
impl SinkTask for FileStreamSinkTask {
    async fn start(&mut self, config: &Props, _context: SinkContext) -> Result<()> {
        self.output = Some(match config::sink_file(config)? {
            None => Output::Stdout,
            Some(path) => open(path).await?,
        });
        Ok(())
    }

    async fn put(&mut self, records: &[SinkRecord]) -> Result<()> {
        let Some(output) = self.output.clone() else { return Err(Error::fatal("put was called before start")) };
        if records.is_empty() {
            return Ok(());
        }
        let mut lines = if self.is_torn { "\n".to_owned() } else { String::new() };
        for record in records {
            append_line(&record.record.value, &mut lines)?;
        }
        // Files may be pipes whose other end is slow.
        let (written, lines) = blocking(move || (output.write(lines.as_bytes()), lines)).await?;
        self.is_torn = match &written {
            Ok(()) => false,
            Err((0, _)) => self.is_torn,
            Err((length, _)) => lines.as_bytes()[length - 1] != b'\n',
        };
        written.map_err(|(_, error)| error)
    }

    /// What a crash of the machine would take away is not committed.
    async fn pre_commit(&mut self, put: &Offsets) -> Result<Offsets> {
        if let Some(Output::File(file, path)) = self.output.clone() {
            blocking(move || sync(&file, &path)).await??;
        }
        Ok(put.clone())
    }
}

fn append_line(value: &Payload, lines: &mut String) -> Result<()> {
    let written = value.wire().filter(|encoded| matches!(encoded.format, Format::String));
    match written.and_then(|encoded| std::str::from_utf8(&encoded.bytes).ok()) {
        Some(line) => lines.push_str(line),
        None => text::append(&value.view()?.value, lines),
    }
    lines.push('\n');
    Ok(())
}

async fn open(path: PathBuf) -> Result<Output> {
    // A named pipe opens when somebody reads it.
    let (opened, path) = blocking(move || (File::options().create(true).append(true).open(&path), path)).await?;
    let file = opened.map_err(|e| {
        // Java's words first: people search for them.
        Error::fatal(format!("Couldn't find or create file '{}' for FileStreamSinkTask", path.display())).with_source(e)
    })?;
    Ok(Output::File(Arc::new(file), path.into()))
}

impl Output {
    /// Writes all; else answers how many bytes were written, and the reason.
    fn write(&self, lines: &[u8]) -> Result<(), (usize, Error)> {
        match self {
            // Under its lock, so that lines of several tasks stay whole.
            Output::Stdout => write_all(io::stdout().lock(), lines).map_err(|(n, e)| (n, failed("standard output", e))),
            Output::File(file, path) => write_all(&**file, lines).map_err(|(n, e)| (n, failed(&path.display().to_string(), e))),
        }
    }
}

fn failed(what: &str, error: io::Error) -> Error {
    Error::retriable(format!("write to {what} (key file)")).with_source(error)
}

fn write_all(mut out: impl Write, bytes: &[u8]) -> Result<(), (usize, io::Error)> {
    let mut written = 0;
    while written < bytes.len() {
        match out.write(&bytes[written..]) {
            Ok(0) => return Err((written, io::ErrorKind::WriteZero.into())),
            Ok(length) => written += length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err((written, error)),
        }
    }
    out.flush().map_err(|e| (written, e))
}

fn sync(file: &File, path: &Path) -> Result<()> {
    // Pipes and devices cannot be.
    if file.metadata().is_ok_and(|metadata| metadata.is_file()) {
        file.sync_data().map_err(|e| Error::retriable(format!("sync {}", path.display())).with_source(e))?;
    }
    Ok(())
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(|e| Error::fatal("wait for a write").with_source(e))
}

#[cfg(test)]
mod tests {
    use super::*;
    use penstock_api::{Bytes, Headers, Origin, RawRecord, Record, SchemaAndValue, TaskId, TimestampType, Value, json};

    fn record(value: Payload) -> SinkRecord {
        let topic: Arc<str> = "t".into();
        let raw = RawRecord {
            topic: topic.clone(),
            partition: 0,
            offset: 0,
            timestamp: None,
            timestamp_type: TimestampType::NoTimestamp,
            key: None,
            value: None,
            headers: None,
        };
        let (partition, key, headers) = (None, Payload::null(), Headers::new());
        let record = Record { topic, partition, key, value, headers, timestamp: None, offset: None };
        SinkRecord { record, timestamp_type: raw.timestamp_type, origin: Origin::new(Arc::new(vec![raw]), 0) }
    }

    async fn task(file: &Path) -> Result<FileStreamSinkTask> {
        let mut task = FileStreamSinkTask::default();
        let config = [("file".to_owned(), file.display().to_string())].into();
        task.start(&config, SinkContext::new(TaskId { connector: "c".into(), task: 0 })).await.map(|()| task)
    }

    #[tokio::test]
    async fn lines_come_behind_those_that_are_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        std::fs::write(&path, "before\n").unwrap();
        let mut task = task(&path).await.unwrap();
        let text = record(Payload::encoded(Bytes::from_static("l\u{e4}1\nl2".as_bytes()), Format::String));
        let map = record(Payload::decoded(SchemaAndValue::schemaless(json::parse(br#"{"b": 1, "a": null}"#).unwrap())));
        task.put(&[text, map]).await.unwrap();
        task.put(&[record(Payload::decoded(SchemaAndValue::schemaless(Value::Null)))]).await.unwrap();
        let put: Offsets = [(penstock_api::TopicPartition { topic: "t".into(), partition: 0 }, 3)].into();
        assert_eq!(task.pre_commit(&put).await.unwrap(), put);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "before\nl\u{e4}1\nl2\n{a=null, b=1}\nnull\n");
    }

    #[tokio::test]
    async fn a_folder_is_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let Err(error) = task(folder.path()).await else { panic!("a folder cannot be written to") };
        assert!(error.message().starts_with("Couldn't find or create file '"), "{error:#}");
    }

    /// A device that is always full.
    #[tokio::test]
    async fn what_cannot_be_written_is_to_come_again() {
        let mut task = task(Path::new("/dev/full")).await.unwrap();
        let error = task.put(&[record(Payload::null())]).await.unwrap_err();
        assert_eq!(error.kind(), penstock_api::ErrorKind::Retriable);
        assert!(!task.is_torn, "nothing was written");
    }

    #[test]
    fn a_write_says_how_far_it_came() {
        struct Narrow(Vec<u8>);
        impl Write for Narrow {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                let room = 5 - self.0.len();
                self.0.extend(&bytes[..bytes.len().min(room)]);
                if room == 0 { Err(io::ErrorKind::StorageFull.into()) } else { Ok(bytes.len().min(room)) }
            }

            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let (written, error) = write_all(Narrow(Vec::new()), b"abc\ndef\n").unwrap_err();
        assert_eq!((written, error.kind()), (5, io::ErrorKind::StorageFull));
        assert!(write_all(Narrow(Vec::new()), b"abc\n").is_ok());
    }
}
