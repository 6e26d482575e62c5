//! A worker in this process, with a real API and real topics, whose connectors do nothing and can be held up.

use std::future::IntoFuture;
use std::sync::{Arc, Mutex, mpsc as blocking};

use anyhow::{Context, Result};
use penstock::cluster::starter::{Description, Launch, StartedTask, Starter};
use penstock::cluster::view::ConnectorType;
use penstock::cluster::{HerderError, Herding, Setup};
use penstock::config::{Scheme, WorkerConfig};
use penstock::logging::Loggers;
use penstock::rest::{Paths, Rest, router};
use penstock::task::TaskEvent;
use penstock_api::{Error, Props, Registry, async_trait};
use penstock_tests::{Connect, Kafka, unique};
use tokio::sync::{mpsc, oneshot};

/// The worker.
pub(super) struct Inside {
    pub(super) connect: Connect,
    herding: Herding,
    connectors: Arc<Idle>,
}

/// Whoever asked about a connector first, and does not get on.
pub(super) struct Held {
    reached: oneshot::Receiver<()>,
    go_on: blocking::Sender<()>,
}

/// Connectors without tasks.
#[derive(Default)]
struct Idle {
    hold: Mutex<Option<Hold>>,
}

struct Hold {
    connector: String,
    reached: oneshot::Sender<()>,
    wait: blocking::Receiver<()>,
}

impl Inside {
    pub(super) async fn start(kafka: &Kafka) -> Result<Self> {
        let (worker, registry) = (Arc::new(WorkerConfig::new(&properties(kafka))?), Arc::new(Registry::new()));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?.to_string();
        let connectors = Arc::new(Idle::default());
        let mut setup = Setup::new(worker.clone(), registry.clone(), &address);
        setup.starter = connectors.clone();
        let (herder, herding) = setup.start();
        let (loggers, cluster_id) = (Loggers::detached(), Arc::default());
        let rest = Rest { herder, registry, worker, loggers, cluster_id, scheme: Scheme::Http };
        tokio::spawn(axum::serve(listener, router(rest, Paths::All)).into_future());
        Ok(Self { connect: Connect::new(format!("http://{address}")), herding, connectors })
    }

    /// From now on the first who asks what this connector is waits, and a thread with it: as in a plugin that hangs.
    pub(super) fn hold(&self, connector: &str) -> Held {
        let (reached, is_reached) = oneshot::channel();
        let (go_on, wait) = blocking::channel();
        let hold = Hold { connector: connector.into(), reached, wait };
        *self.connectors.hold.lock().expect("nobody panics there") = Some(hold);
        Held { reached: is_reached, go_on }
    }

    pub(super) async fn stop(self) -> Result<()> {
        Ok(self.herding.stop().await?)
    }
}

impl Held {
    /// Answers when somebody waits.
    pub(super) async fn reached(&mut self) -> Result<()> {
        (&mut self.reached).await.context("somebody asks about the connector")
    }

    pub(super) fn go_on(self) {
        self.go_on.send(()).expect("somebody waits for this");
    }
}

#[async_trait]
impl Starter for Idle {
    fn describe(&self, props: &Props) -> Description {
        let is_meant = |hold: &mut Hold| props.get("name") == Some(&hold.connector);
        let hold = self.hold.lock().expect("nobody panics here").take_if(is_meant);
        if let Some(hold) = hold {
            hold.reached.send(()).ok();
            hold.wait.recv().ok();
        }
        Description { class: props.get("connector.class").cloned(), kind: ConnectorType::Sink, version: Some("1".into()) }
    }

    async fn validate(&self, _props: &Props) -> Result<(), HerderError> {
        Ok(())
    }

    async fn plan(&self, _props: &Props) -> penstock_api::Result<Vec<Props>> {
        Ok(Vec::new())
    }

    fn start(&self, _launch: Launch, _events: mpsc::UnboundedSender<TaskEvent>) -> penstock_api::Result<Box<dyn StartedTask>> {
        Err(Error::config("no task runs here"))
    }
}

fn properties(kafka: &Kafka) -> Props {
    let group = unique("inside");
    let converter = "org.apache.kafka.connect.storage.StringConverter";
    let topics = ["config", "offset", "status"].into_iter().flat_map(|kind| {
        let key = |name: &str| format!("{kind}.storage.{name}");
        [(key("topic"), format!("{group}-{kind}")), (key("replication.factor"), "1".into()), (key("partitions"), "2".into())]
    });
    let mut props: Props = topics.filter(|(key, _)| key != "config.storage.partitions").collect();
    let more = [("bootstrap.servers", kafka.bootstrap()), ("key.converter", converter), ("value.converter", converter)];
    props.extend(more.map(|(key, value)| (key.to_owned(), value.to_owned())));
    props.insert("group.id".into(), group);
    props
}
