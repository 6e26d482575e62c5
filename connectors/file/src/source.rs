//! The source: each line of a file becomes a record, and the position behind it its offset.

use penstock_api::config::{Check, ConfigDef, ConfigKey, ConfigType, Importance};
use penstock_api::schema::STRING;
use penstock_api::{
    Connector, Constructor, Error, ExactlyOnceSupport, Headers, Next, Payload, Plugin, Polled, Props, Record, Result,
    SchemaAndValue, SourceConnector, SourceContext, SourceMap, SourceOffset, SourcePosition, SourceRecord, SourceTask, Value,
};
use std::io::SeekFrom;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::fs::File;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncSeekExt};

use crate::lines::Lines;

/// The full class name; `FileStreamSource` will do.
pub const CLASS: &str = "org.apache.kafka.connect.file.FileStreamSourceConnector";

/// How soon a file that has come to its end is looked at again.
const AT_END_WAIT: Duration = Duration::from_millis(100);
/// How soon it is looked for again when it is not there.
const MISSING_WAIT: Duration = Duration::from_secs(1);
/// What is read at once. A line may be longer; then more is read until its end is there.
const READ_BYTES: usize = 64 * 1024;

const FILENAME: &str = "filename";
const POSITION: &str = "position";

/// The source as a plugin.
#[must_use]
pub(crate) fn plugin() -> Plugin {
    Plugin {
        class: CLASS.into(),
        aliases: Vec::new(),
        version: env!("CARGO_PKG_VERSION").into(),
        config: Arc::new(definition()),
        construct: Constructor::Source(Arc::new(|| Box::new(FileStreamSource))),
    }
}

fn definition() -> ConfigDef {
    ConfigDef::new([
        ConfigKey::nullable("file", ConfigType::String, "Source filename. If not specified, the standard input will be used")
            .importance(Importance::High),
        ConfigKey::required("topic", ConfigType::String, "The topic to publish data to").check(Check::NonEmpty),
        ConfigKey::optional(
            "batch.size",
            ConfigType::Int,
            "2000",
            "The maximum number of records the source task can read from the file each time it is polled",
        )
        .importance(Importance::Low),
    ])
}

struct FileStreamSource;

#[penstock_api::async_trait]
impl Connector for FileStreamSource {
    /// There is one stream, and so one task.
    async fn task_configs(&self, config: &Props, _tasks_max: u32) -> Result<Vec<Props>> {
        definition().parse(config)?;
        Ok(vec![config.clone()])
    }
}

#[penstock_api::async_trait]
impl SourceConnector for FileStreamSource {
    fn task(&self) -> Box<dyn SourceTask> {
        Box::<FileStreamTask>::default()
    }

    async fn exactly_once_support(&self, config: &Props) -> Result<Option<ExactlyOnceSupport>> {
        let is_tracked = file_of(config).is_some();
        Ok(Some(if is_tracked { ExactlyOnceSupport::Supported } else { ExactlyOnceSupport::Unsupported }))
    }

    async fn alter_offsets(&self, config: &Props, changes: &[(SourceMap, Option<SourceMap>)]) -> Result<bool> {
        if file_of(config).is_none() {
            return Err(Error::config(
                "Offsets cannot be modified if the 'file' configuration is unspecified. This is because stdin is used for input and \
                 offsets are not tracked.",
            ));
        }
        changes.iter().try_for_each(|(partition, offset)| check_change(partition, offset.as_ref()))?;
        Ok(true)
    }
}

fn file_of(config: &Props) -> Option<&str> {
    config.get("file").map(String::as_str).filter(|file| !file.is_empty())
}

/// Anything may be forgotten, so that whatever is there can be cleaned up.
fn check_change(partition: &SourceMap, offset: Option<&SourceMap>) -> Result<()> {
    let Some(offset) = offset else { return Ok(()) };
    let refused = |why: &str| Err(Error::config(why));
    let Some(position) = offset.get(POSITION) else {
        return refused("Offset objects should either be null or contain the key 'position'");
    };
    match position.as_i64() {
        None => refused("The value for the 'position' key in the offset is expected to be a Long value"),
        Some(..0) => refused("The value for the 'position' key in the offset should be a non-negative value"),
        Some(_) if !partition.contains_key(FILENAME) => refused("Partition objects should contain the key 'filename'"),
        Some(_) => Ok(()),
    }
}

#[derive(Default)]
struct FileStreamTask {
    /// `None`: the standard input, of which no offset is kept.
    file: Option<String>,
    topic: Arc<str>,
    batch_size: usize,
    context: Option<SourceContext>,
    partition: Arc<SourceMap>,
    position_field: Arc<str>,
    stream: Option<Box<dyn AsyncRead + Send + Unpin>>,
    lines: Lines,
    /// In the file, of what was given last.
    position: i64,
}

#[penstock_api::async_trait]
impl SourceTask for FileStreamTask {
    async fn start(&mut self, config: &Props, context: SourceContext) -> Result<()> {
        let parsed = definition().parse(config)?;
        self.file = file_of(config).map(str::to_owned);
        self.topic = parsed.string("topic").into();
        // As in Java: with none or less a batch ends behind its first line.
        self.batch_size = usize::try_from(parsed.number::<i64>("batch.size")).unwrap_or(0).max(1);
        self.partition = Arc::new(self.file.iter().map(|file| (FILENAME.to_owned(), file.as_str().into())).collect());
        self.position_field = POSITION.into();
        self.context = Some(context);
        if self.file.is_none() {
            self.stream = Some(Box::new(tokio::io::stdin()));
        }
        Ok(())
    }

    /// Lines leave the buffer only behind the last wait, so that none is lost when the call is dropped.
    async fn poll(&mut self) -> Result<Polled> {
        let mut records = self.cut();
        let mut next = Next::More;
        if records.is_empty() {
            next = self.read().await?;
            records = self.cut();
        }
        Ok(Polled { records, next })
    }

    async fn stop(&mut self) {
        self.stream = None;
    }
}

impl FileStreamTask {
    /// Reads on once.
    async fn read(&mut self) -> Result<Next> {
        if self.stream.is_none() && !self.open().await? {
            return Ok(Next::Wait(MISSING_WAIT));
        }
        let Some(stream) = &mut self.stream else { return Ok(Next::Wait(MISSING_WAIT)) };
        let buffer = self.lines.buffer();
        buffer.reserve(READ_BYTES);
        let count =
            stream.read_buf(buffer).await.map_err(|e| Error::fatal(format!("read {}", shown(&self.file))).with_source(e))?;
        Ok(if count == 0 { Next::Wait(AT_END_WAIT) } else { Next::More })
    }

    /// Opens the file where the last line that is stored ended; `false` when it is not there.
    async fn open(&mut self) -> Result<bool> {
        let (Some(path), Some(context)) = (&self.file, &self.context) else { return Ok(false) };
        let failed = |error: std::io::Error| Error::fatal(format!("open the file {path}")).with_source(error);
        let mut file = match File::open(path).await {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                tracing::warn!(path, "the file is not there yet: looking for it again");
                return Ok(false);
            }
            Err(error) => return Err(failed(error)),
        };
        let stored = context.stored(std::slice::from_ref(&*self.partition)).await?;
        let position = match stored.into_iter().next().flatten().and_then(|mut offset| offset.remove(POSITION)) {
            None => 0,
            Some(position) => position.as_u64().ok_or_else(|| Error::fatal("Offset position is the incorrect type"))?,
        };
        file.seek(SeekFrom::Start(position)).await.map_err(failed)?;
        self.position = i64::try_from(position).unwrap_or(i64::MAX);
        self.stream = Some(Box::new(file));
        Ok(true)
    }

    /// The lines that are there, as far as a batch goes.
    fn cut(&mut self) -> Vec<SourceRecord> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
        let mut records = Vec::new();
        while records.len() < self.batch_size
            && let Some((line, took)) = self.lines.next()
        {
            self.position += took as i64;
            let value = SchemaAndValue::new(STRING.clone(), Value::string(String::from_utf8_lossy(line)));
            let record = Record {
                topic: self.topic.clone(),
                partition: None,
                key: Payload::null(),
                value: Payload::decoded(value),
                headers: Headers::new(),
                timestamp: i64::try_from(now).ok(),
                offset: None,
            };
            let position = self.file.is_some().then(|| SourcePosition {
                partition: self.partition.clone(),
                offset: SourceOffset::Count(self.position_field.clone(), self.position),
            });
            records.push(SourceRecord { record, position });
        }
        records
    }
}

fn shown(file: &Option<String>) -> &str {
    file.as_deref().unwrap_or("the standard input")
}

#[cfg(test)]
mod tests {
    use super::*;
    use penstock_api::{StoredOffsets, TaskId};
    use serde_json::json;
    use std::io::Write;

    struct Stored(Option<i64>);

    #[penstock_api::async_trait]
    impl StoredOffsets for Stored {
        async fn stored(&self, partitions: &[SourceMap]) -> Result<Vec<Option<SourceMap>>> {
            assert_eq!(partitions.len(), 1);
            Ok(vec![self.0.map(|at| [(POSITION.to_owned(), at.into())].into_iter().collect())])
        }
    }

    async fn started(path: &str, stored: Option<i64>, batch_size: &str) -> FileStreamTask {
        let config = [("file", path), ("topic", "lines"), ("batch.size", batch_size)];
        let config = config.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        let mut task = FileStreamTask::default();
        let context = SourceContext::new(TaskId { connector: "c".into(), task: 0 }, Arc::new(Stored(stored)));
        task.start(&config, context).await.expect("started");
        task
    }

    async fn lines(task: &mut FileStreamTask) -> Vec<(String, i64)> {
        let polled = task.poll().await.expect("polled");
        let line = |record: SourceRecord| {
            let text = record.record.value.view().expect("a value").value.as_str().expect("a text").to_owned();
            let at = record.position.expect("tracked").offset.to_map()[POSITION].as_i64().expect("a number");
            (text, at)
        };
        polled.records.into_iter().map(line).collect()
    }

    #[tokio::test]
    async fn reads_whole_lines_from_where_it_was_and_waits_for_the_rest() {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        write!(file, "one\ntwö\r\nthr").expect("written");
        let path = file.path().to_str().expect("a path").to_owned();
        let mut task = started(&path, None, "1").await;
        assert_eq!(lines(&mut task).await, [("one".to_owned(), 4)]);
        assert_eq!(lines(&mut task).await, [("twö".to_owned(), 10)]);
        assert!(lines(&mut task).await.is_empty());
        writeln!(file, "ee").expect("written");
        assert_eq!(lines(&mut task).await, [("three".to_owned(), 16)]);
        assert_eq!(lines(&mut started(&path, Some(4), "9").await).await, [("twö".to_owned(), 10), ("three".to_owned(), 16)]);
    }

    #[tokio::test]
    async fn waits_for_a_file_that_is_not_there() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("later");
        let mut task = started(path.to_str().expect("a path"), None, "9").await;
        assert_eq!(task.poll().await.expect("no error").next, Next::Wait(MISSING_WAIT));
        std::fs::write(&path, "a\n").expect("written");
        assert_eq!(lines(&mut task).await, [("a".to_owned(), 2)]);
    }

    #[test]
    fn changed_offsets_must_make_sense() {
        let map = |value: serde_json::Value| value.as_object().expect("a map").clone();
        let check = |partition, offset, says: &str| {
            let error = check_change(&map(partition), Some(&map(offset))).expect_err(says);
            assert!(error.message().contains(says), "{error}");
        };
        check(json!({"filename": "a"}), json!({"at": 1}), "contain the key 'position'");
        check(json!({"filename": "a"}), json!({"position": "1"}), "a Long value");
        check(json!({"filename": "a"}), json!({"position": -1}), "non-negative");
        check(json!({"file": "a"}), json!({"position": 1}), "contain the key 'filename'");
        assert!(check_change(&map(json!({})), None).is_ok());
    }
}
