//! Whether records wait that are not fetched. Whoever is idle asks now and then where its partitions end: over a connection of its own,
//! for the consumer's own may be what is stuck.

use penstock_api::{Error, Offsets, Result, TopicPartition};
use rdkafka::ClientConfig;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::admin::Admin;
use super::settings::{ConsumerSettings, Reset};

/// Where partitions end, as far as was asked.
pub(super) struct Ends {
    client: ClientConfig,
    timeout: Duration,
    reads_committed: bool,
    group: String,
    reset: Reset,
    admin: Option<Admin>,
    asking: Option<JoinHandle<Result<Answer>>>,
    asked: Instant,
    answer: Answer,
}

/// So many questions are under way at once, whoever asks: each holds up a thread until it is answered, and hundreds of tasks that were
/// started together become idle together. The others wait their turn.
static QUESTIONS: Semaphore = Semaphore::const_new(2);
/// Brokers that answer do so at once.
const TIMEOUT_MAX: Duration = Duration::from_secs(10);

#[derive(Default)]
struct Answer {
    ends: Offsets,
    /// What the group has committed, if somebody wanted to know.
    committed: Offsets,
}

impl Ends {
    /// As a consumer of these settings sees them.
    pub(super) fn new(settings: &ConsumerSettings) -> Self {
        Self {
            client: connection(&settings.client),
            timeout: settings.api_timeout.min(TIMEOUT_MAX),
            reads_committed: settings.client.get("isolation.level") == Some("read_committed"),
            group: settings.group.clone(),
            reset: settings.reset,
            admin: None,
            asking: None,
            asked: Instant::now(),
            answer: Answer::default(),
        }
    }

    /// Whether transactions that are not committed, or were aborted, are passed over.
    pub(super) fn reads_committed(&self) -> bool {
        self.reads_committed
    }

    /// Takes in an answer that has come, and asks again once `every` has passed. Does not wait. `all_placed`: it is known of each
    /// partition where its reading stands.
    pub(super) async fn look(&mut self, partitions: impl Iterator<Item = &TopicPartition>, all_placed: bool, every: Duration) {
        if let Some(asking) = self.asking.take_if(|asking| asking.is_finished()) {
            match asking.await {
                Ok(Ok(answer)) => self.answer = answer,
                Ok(Err(error)) => tracing::debug!("cannot ask where partitions end: {error:#}"),
                Err(error) => tracing::debug!("cannot ask where partitions end: {error}"),
            }
        }
        if self.asking.is_some() || self.asked.elapsed() < every {
            return;
        }
        self.asked = Instant::now();
        let admin = match self.admin() {
            Ok(admin) => admin,
            Err(error) => return tracing::debug!("cannot ask where partitions end: {error:#}"),
        };
        let (partitions, reads_committed) = (partitions.cloned().collect::<Vec<_>>(), self.reads_committed);
        let group = (!all_placed).then(|| self.group.clone());
        self.asking = Some(tokio::spawn(async move {
            let _turn = QUESTIONS.acquire().await.map_err(|closed| Error::fatal("wait for a turn").with_source(closed))?;
            let ends = admin.read_ends(&partitions, reads_committed).await?;
            let committed = match group {
                Some(group) => admin.group_offsets(&group).await?,
                None => Offsets::new(),
            };
            Ok(Answer { ends, committed })
        }));
    }

    /// The end of a partition, when it was asked for last.
    pub(super) fn of(&self, partition: &TopicPartition) -> Option<i64> {
        self.answer.ends.get(partition).copied()
    }

    /// Where reading began that has brought nothing yet, not even the news that it is at the end. What has no committed offset is
    /// read from its first record, be it the first that was ever there: whoever reads it at all soon knows better.
    pub(super) fn start_of(&self, partition: &TopicPartition) -> i64 {
        let fallback = if self.reset == Reset::Earliest { 0 } else { i64::MAX };
        self.answer.committed.get(partition).copied().unwrap_or(fallback)
    }

    fn admin(&mut self) -> Result<Admin> {
        if self.admin.is_none() {
            self.admin = Some(Admin::shared(&self.client, self.timeout)?);
        }
        Ok(self.admin.clone().expect("it was made above"))
    }
}

impl Drop for Ends {
    fn drop(&mut self) {
        if let Some(asking) = &self.asking {
            asking.abort();
        }
    }
}

/// What of a client's settings says which brokers it talks to, and how.
fn connection(client: &ClientConfig) -> ClientConfig {
    const PREFIXES: [&str; 8] =
        ["bootstrap.servers", "security.", "sasl.", "ssl.", "https.", "socket.", "broker.address.", "client.dns."];
    let mut connection = ClientConfig::new();
    for (key, value) in client.config_map().iter().filter(|(key, _)| PREFIXES.iter().any(|prefix| key.starts_with(prefix))) {
        connection.set(*key, *value);
    }
    connection
}
