//! What the tests, the demo and the benchmarks share: real brokers, registries and rivals, as values that clean up after themselves.
//!
//! ```no_run
//! # use std::time::Duration;
//! # use penstock_tests::{Fault, FakeSnowflake, Kafka, Worker, unique, wait_until};
//! # #[tokio::main] async fn main() -> anyhow::Result<()> {
//! let kafka = Kafka::shared().await?;                    // one broker for the whole test binary; `Kafka::start()` for one to kill
//! let topic = unique("orders");                          // names differ, so tests do not meet
//! kafka.create_topic(&topic, 4).await?;
//! kafka.produce_values(&topic, [r#"{"id":1}"#, r#"{"id":2}"#]).await?;
//!
//! let snowflake = FakeSnowflake::start().await?;         // its own account, empty
//! snowflake.set_faults(&[Fault::status(503).on_sql("^COPY").times(2)]).await?;
//!
//! let mut worker = Worker::builder(kafka).start().await?; // the real binary, in a process of its own
//! let mut config = snowflake.connector_config();
//! config.insert("topics".into(), topic.clone());
//! worker.connect().create("orders", &config).await?;
//! worker.connect().wait_running("orders", 1).await?;
//! worker.kill();                                          // as `kill -9` does
//! worker.restart().await?;
//! wait_until("two rows", Duration::from_secs(30), async || Ok(snowflake.count(&topic).await? == 2)).await?;
//! # Ok(()) }
//! ```
//!
//! - Servers are installed on first use by `tests/ground/setup.sh` (`make setup` does it ahead of time).
//! - Functions that start something return when it is ready, or fail after a bounded time with the end of its log.
//! - A server dies with its value, and with this process, however that ends (`PR_SET_PDEATHSIG`).
//! - Each server writes its output to `<target>/run/<pid>/logs`; when a test panics the ends of these logs are printed with it.
//! - [`Worker`] runs `$PENSTOCK_BIN`, else `<target>/release/penstock`: after a change of the worker run `make build`
//!   (or `cargo build --release -p penstock`) before `cargo test -p penstock-tests`.
//! - Components for tests come from [`guests::component`], which compiles them when they are out of date.

pub mod wait;
pub mod ground;
pub mod process;
pub mod connect;
pub mod tap;
pub mod kafka;
pub mod registry;
pub mod faulty_registry;
pub mod java;
pub mod guests;
pub mod certificates;
pub mod worker;
pub mod journal;
pub mod flow;
pub mod onlooker;
pub mod cluster;
pub mod snowflake;
pub mod tokens;
pub mod http_apis;
pub mod functions;
pub mod web;

pub use cluster::Cluster;
pub use connect::{Answer, Connect};
pub use faulty_registry::{FaultyRegistry, Mood};
pub use flow::Flow;
pub use functions::CloudFunction;
pub use http_apis::{AlertEndpoint, Faults, TicketApi};
pub use java::JavaConnect;
pub use journal::Journal;
pub use kafka::{Kafka, Message, unique};
pub use onlooker::Onlooker;
pub use process::Usage;
pub use registry::Registry;
pub use snowflake::{FakeSnowflake, Fault};
pub use tap::Tap;
pub use tokens::FakeTokenServer;
pub use wait::{eventually, wait_until};
pub use web::WebServer;
pub use worker::Worker;
