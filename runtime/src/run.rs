//! A worker's life: opens the rooms in order, waits for the stop, closes them in reverse.

use std::future::Future;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use axum::serve::ListenerExt;
use penstock_api::{PluginKind, Registry};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::cluster::{Herder, Setup};
use crate::config::{ConverterChoice, Listener, Scheme, TlsConfig, WorkerConfig};
use crate::fill::{self, Connector};
use crate::kafka::admin::Admin;
use crate::kafka::settings;
use crate::logging::Loggers;
use crate::rest::tls::{self, TlsListener};
use crate::rest::{self, Paths, Rest, tls_client};

/// How long requests under way may take to end when the worker stops.
const REST_CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// How long Kafka may take to answer until the log says that it does not.
const ASK_TIMEOUT: Duration = Duration::from_secs(3);

/// Wait between two questions for what only Kafka knows.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// Runs a worker until `stop` completes, or until it cannot go on. It begins with these connectors, if there are any.
///
/// # Errors
/// When the worker cannot start, or cannot go on; the text says what to do. [`fill::Refused`] when a connector cannot be created.
pub async fn run(
    worker: WorkerConfig,
    registry: Registry,
    loggers: Loggers,
    connectors: Vec<Connector>,
    stop: impl Future<Output = ()>,
) -> Result<()> {
    for remark in &worker.remarks {
        tracing::warn!("{remark}");
    }
    check_converters(&worker, &registry)?;
    let (worker, registry) = (Arc::new(worker), Arc::new(registry));
    let sockets = Sockets::open(&worker).await?;
    let worker_id = sockets.worker_id(&worker);

    let mut setup = Setup { is_filled_later: true, ..Setup::new(worker.clone(), registry.clone(), &worker_id) };
    setup.loggers = loggers.clone();
    setup.peers_tls = peers_tls(&worker)?;
    let (herder, mut herding) = setup.start();
    let scheme = worker.rest.advertised_scheme;
    let rest = Rest { herder: herder.clone(), registry, worker, loggers, cluster_id: Arc::new(OnceLock::new()), scheme };
    let announced = tokio::spawn(announce(rest.clone(), worker_id));
    let server = Server::start(sockets, &rest);

    let mut refused = None;
    let run_on = async {
        match fill::create(&herder, connectors).await {
            Ok(()) => std::future::pending().await,
            Err(refusal) => refused = Some(refusal),
        }
    };
    let ended_by_itself = tokio::select! {
        () = stop => None,
        () = run_on => None,
        ended = herding.ended() => Some(ended),
    };
    tracing::info!("stopping");
    announced.abort();
    server.close().await;
    let ended = match ended_by_itself {
        Some(ended) => ended.context("the worker cannot go on"),
        None => herding.stop().await.context("stop the worker"),
    };
    tracing::info!("stopped");
    refused.map_or(ended, |refusal| Err(refusal.into()))
}

/// A converter that is not there would fail every connector: better said at once.
fn check_converters(worker: &WorkerConfig, registry: &Registry) -> Result<()> {
    let check = |key: &str, choice: &ConverterChoice, kind: PluginKind| {
        if registry.find(&[kind], &choice.class).is_some() {
            return Ok(());
        }
        let mut classes: Vec<&str> = registry.plugins().iter().filter(|p| p.kind() == kind).map(|p| p.class.as_str()).collect();
        classes.sort_unstable();
        bail!(
            "Invalid value {} for configuration {key}: Class {} could not be found. There are: {}",
            choice.class,
            choice.class,
            classes.join(", ")
        )
    };
    check("key.converter", &worker.key_converter, PluginKind::Converter)?;
    check("value.converter", &worker.value_converter, PluginKind::Converter)?;
    check("header.converter", &worker.header_converter, PluginKind::HeaderConverter)
}

/// Open sockets, before anything is served: the port that was given by the system is part of the worker's name.
struct Sockets {
    public: Vec<Socket>,
    /// `None`: `/admin` is served with everything else.
    admin: Option<Vec<Socket>>,
}

struct Socket {
    tcp: TcpListener,
    /// `None`: http.
    tls: Option<Arc<rustls::ServerConfig>>,
}

impl Sockets {
    async fn open(worker: &WorkerConfig) -> Result<Self> {
        let public = listen("listeners", &worker.rest.listeners, worker.rest.tls.as_ref()).await?;
        let admin = match &worker.rest.admin_listeners {
            None => None,
            Some(listeners) => Some(listen("admin.listeners", listeners, worker.rest.admin_tls.as_ref()).await?),
        };
        Ok(Self { public, admin })
    }

    /// `host:port` by which others reach this worker.
    fn worker_id(&self, worker: &WorkerConfig) -> String {
        let rest = &worker.rest;
        let configured = rest.advertised().and_then(|l| l.host.clone());
        let host = rest.advertised_host.clone().or(configured).unwrap_or_else(own_address);
        let at = rest.listeners.iter().position(|listener| listener.scheme == rest.advertised_scheme).unwrap_or(0);
        let bound = self.public.get(at).and_then(|socket| socket.tcp.local_addr().ok()).map_or(0, |address| address.port());
        let port = rest.advertised_port.unwrap_or(bound);
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }
}

async fn listen(key: &str, listeners: &[Listener], tls: Option<&TlsConfig>) -> Result<Vec<Socket>> {
    let tls =
        tls.map(tls::server_config).transpose().with_context(|| format!("serve https, as `{key}` of the worker file asks"))?;
    let mut sockets = Vec::new();
    for listener in listeners {
        let (host, port) = listener.bind_address();
        let tcp = TcpListener::bind((host, port)).await;
        let tcp =
            tcp.with_context(|| format!("listen on {host}:{port}: choose another address in `{key}` of the worker file"))?;
        sockets.push(Socket { tcp, tls: tls.clone().filter(|_| listener.scheme == Scheme::Https) });
    }
    Ok(sockets)
}

/// What calls to other workers trust. A worker that serves https itself has workers beside it that do; others may never meet one,
/// and have their `ssl.*` for Kafka: what is wrong there stops no start.
fn peers_tls(worker: &WorkerConfig) -> Result<Option<rustls::ClientConfig>> {
    match tls_client::client_config(&worker.rest.peers_tls) {
        Err(error) if worker.rest.tls.is_none() => {
            tracing::warn!("calls to workers whose listeners are https will not work: {error:#}");
            Ok(None)
        }
        read => read.context("call other workers by https, as `listeners` of the worker file asks"),
    }
}

/// The address that this machine's name stands for, as Java's `getLocalHost`; the loopback address if it has none.
fn own_address() -> String {
    let name = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
    let mut addresses = name.and_then(|name| (name, 0).to_socket_addrs().ok()).into_iter().flatten().map(|a: SocketAddr| a.ip());
    addresses.find(IpAddr::is_ipv4).unwrap_or(IpAddr::from([127, 0, 0, 1])).to_string()
}

/// The REST server: one task for each socket.
struct Server {
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Server {
    fn start(sockets: Sockets, rest: &Rest) -> Self {
        let (stop, stopped) = watch::channel(false);
        let public_paths = if sockets.admin.is_some() { Paths::Public } else { Paths::All };
        let public = sockets.public.into_iter().map(|socket| (socket, public_paths));
        let admin = sockets.admin.into_iter().flatten().map(|socket| (socket, Paths::Admin));
        let tasks = public
            .chain(admin)
            .map(|(socket, paths)| tokio::spawn(serve(socket, rest.clone(), paths, stopped.clone())))
            .collect();
        Self { stop, tasks }
    }

    async fn close(self) {
        let _none_served = self.stop.send(true).is_err();
        for mut task in self.tasks {
            if tokio::time::timeout(REST_CLOSE_TIMEOUT, &mut task).await.is_err() {
                task.abort();
            }
        }
    }
}

async fn serve(socket: Socket, rest: Rest, paths: Paths, mut stopped: watch::Receiver<bool>) {
    let stop = async move {
        let _sender_is_gone = stopped.wait_for(|stop| *stop).await.is_err();
    };
    let scheme = if socket.tls.is_some() { Scheme::Https } else { Scheme::Http };
    let router = rest::router(Rest { scheme, ..rest }, paths);
    let tcp = socket.tcp.tap_io(|stream| {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "could not set TCP_NODELAY");
        }
    });
    let ended = match socket.tls {
        None => axum::serve(tcp, router).with_graceful_shutdown(stop).await,
        Some(config) => axum::serve(TlsListener::new(tcp, config), router).with_graceful_shutdown(stop).await,
    };
    if let Err(error) = ended {
        tracing::error!(%error, "REST is not served any more");
    }
}

/// Asks Kafka who it is, then waits until the worker is ready, and says so in one line.
async fn announce(rest: Rest, worker_id: String) {
    let cluster_id = cluster_id(&rest.worker).await;
    let cluster_id = rest.cluster_id.get_or_init(|| cluster_id);
    until_ready(&rest.herder).await;
    let version = env!("CARGO_PKG_VERSION");
    let group = match rest.worker.standalone {
        Some(_) => "standalone".to_owned(),
        None => format!("group {}", rest.worker.group_id),
    };
    println!("penstock {version} ready: {}://{worker_id} (Kafka cluster {cluster_id}, {group})", rest.scheme.name());
    tracing::info!(version, worker_id, cluster_id, group, "ready");
}

async fn cluster_id(worker: &WorkerConfig) -> String {
    let mut props = worker.clients.common.clone();
    props.insert("default.api.timeout.ms".into(), ASK_TIMEOUT.as_millis().to_string());
    let bootstrap = props.get("bootstrap.servers").cloned().unwrap_or_default();
    loop {
        let asked = async { Admin::new(settings::admin("worker", &props)?)?.cluster_id().await };
        match asked.await {
            Ok(id) => return id,
            Err(error) => tracing::warn!(
                "Kafka does not answer at {bootstrap}, trying again: {error:#}; look at bootstrap.servers and security.protocol"
            ),
        }
        tokio::time::sleep(ASK_AGAIN).await;
    }
}

async fn until_ready(herder: &Herder) {
    while !herder.is_ready() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
