//! Somebody who looks at the sinks' committed offsets all the time: they are never ahead of what was delivered, and never go back.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use penstock_tests::journal::Offsets;
use penstock_tests::{Journal, Kafka};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{Offset, TopicPartitionList};

const INTERVAL: Duration = Duration::from_millis(200);
const ASK_LIMIT: Duration = Duration::from_secs(3);

/// Looks until it is ended; what it found wrong stays.
pub(super) struct Audit {
    shared: Arc<Shared>,
    looking: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    looks: AtomicUsize,
    committed: Mutex<Offsets>,
    wrong: Mutex<Option<String>>,
}

impl Audit {
    /// Begins, for connectors that read topics of their names.
    pub(super) fn begin(kafka: &Kafka, names: &[String], partitions: i32, journal: &Path) -> Result<Self> {
        let mut groups = Vec::new();
        for name in names {
            let mut client = kafka.client();
            client.set("group.id", format!("connect-{name}")).set("reconnect.backoff.max.ms", "500");
            let client: BaseConsumer = client.set_log_level(RDKafkaLogLevel::Emerg).create()?;
            let mut wanted = TopicPartitionList::new();
            for partition in 0..partitions {
                wanted.add_partition(name, partition);
            }
            groups.push((client, wanted));
        }
        let shared = Arc::new(Shared::default());
        let (mut journal, seen) = (Journal::new(journal), shared.clone());
        let looking = std::thread::Builder::new().name("audit".into()).spawn(move || {
            while !seen.stop.load(Ordering::SeqCst) {
                for (client, wanted) in &groups {
                    // A broker that is down will be asked again.
                    let Ok(committed) = client.committed_offsets(wanted.clone(), ASK_LIMIT) else { continue };
                    seen.take(&offsets(&committed), &mut journal);
                }
                std::thread::sleep(INTERVAL);
            }
        })?;
        Ok(Self { shared, looking: Some(looking) })
    }

    /// What was committed when it looked last.
    pub(super) fn committed(&self) -> Result<Offsets> {
        self.is_content()?;
        Ok(self.shared.committed.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    /// An error that says what was wrong, if something was.
    pub(super) fn is_content(&self) -> Result<()> {
        match &*self.shared.wrong.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(wrong) => bail!("{wrong}"),
            None => Ok(()),
        }
    }

    /// Answers how often it looked at a group.
    pub(super) fn end(mut self) -> Result<usize> {
        self.shared.stop.store(true, Ordering::SeqCst);
        let looking = self.looking.take().context("it ends once")?;
        looking.join().map_err(|_| anyhow::anyhow!("the audit panicked"))?;
        self.is_content()?;
        Ok(self.shared.looks.load(Ordering::SeqCst))
    }
}

impl Drop for Audit {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
    }
}

impl Shared {
    /// The journal is read after the offsets: what was delivered before they were committed is in it.
    fn take(&self, committed: &Offsets, journal: &mut Journal) {
        if let Err(error) = journal.read_on() {
            return self.is_wrong(format!("{error:#}"));
        }
        let ahead = journal.missing(committed);
        if !ahead.is_empty() {
            self.is_wrong(format!("committed are {committed:?}, of which so many records were never delivered: {ahead:?}"));
        }
        let mut known = self.committed.lock().unwrap_or_else(PoisonError::into_inner);
        for (place, offset) in committed {
            let before = known.insert(place.clone(), *offset).unwrap_or(0);
            if before > *offset {
                self.is_wrong(format!("the offset of {place:?} went back from {before} to {offset}"));
            }
        }
        self.looks.fetch_add(1, Ordering::SeqCst);
    }

    fn is_wrong(&self, what: String) {
        self.wrong.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(what);
    }
}

/// Partitions without a commit are left out.
fn offsets(list: &TopicPartitionList) -> Offsets {
    let offset = |element: rdkafka::topic_partition_list::TopicPartitionListElem<'_>| match (element.error(), element.offset()) {
        (Ok(()), Offset::Offset(offset)) => Some(((element.topic().into(), element.partition()), offset)),
        _ => None,
    };
    list.elements().into_iter().filter_map(offset).collect()
}
