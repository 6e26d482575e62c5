//! What the demo runs on: broker, registry, Snowflake stand-in, helpdesk, cloud function, worker. All end with the value.

use std::path::Path;

use anyhow::{Context, Result};
use penstock_retail::order::{AVRO_SCHEMA, OrderAvro};
use penstock_tests::{CloudFunction, FakeSnowflake, Faults, Kafka, Registry, TicketApi, Worker, snowflake};

use crate::streams;

/// Tickets that wait at the helpdesk.
const TICKETS: u64 = 2_000;
/// The helpdesk's API fails, breaks off and refuses as such APIs do.
const HELPDESK: Faults = Faults { failing: 11, cut: 13, per_second: 20 };

/// What the worker must show both of them.
const HELPDESK_TOKEN: &str = "what-the-helpdesk-gave-the-shop";
const ALERTS_TOKEN: &str = "what-the-function-wants-to-see";

/// Partitions of each topic.
const PARTITIONS: i32 = 4;

pub(crate) struct Ground {
    // The worker is dropped first: it need not see the others go.
    pub(crate) worker: Worker,
    pub(crate) kafka: Kafka,
    pub(crate) registry: Registry,
    pub(crate) snowflake: FakeSnowflake,
    pub(crate) tickets: TicketApi,
    pub(crate) alerts: CloudFunction,
    pub(crate) avro: OrderAvro,
}

impl Ground {
    /// Starts all of it, as much at the same time as can be.
    pub(crate) async fn start() -> Result<Self> {
        let function =
            CloudFunction::start(Path::new("examples/retail/function/main.py"), "alert", &[("ALERTS_TOKEN", ALERTS_TOKEN)]);
        let helpdesk = TicketApi::start(HELPDESK, Some(HELPDESK_TOKEN));
        let (kafka, registry, snowflake, alerts, tickets) =
            tokio::try_join!(start_kafka(), Registry::start(), FakeSnowflake::start(), function, helpdesk)?;
        tickets.open(TICKETS);
        let schema = serde_json::from_str(AVRO_SCHEMA).context("read schemas/order.avsc")?;
        let id = registry.register(&format!("{}-value", streams::ORDERS.topic), &schema).await?;
        let worker = Worker::builder(&kafka)
            .property("config.providers", "env")
            .property("config.providers.env.class", "org.apache.kafka.common.config.provider.EnvVarConfigProvider")
            // The demo ends when all is committed: do not wait a minute for that.
            .property("offset.flush.interval.ms", 1000)
            .environment("SNOWFLAKE_URL", snowflake.url())
            .environment("SNOWFLAKE_ACCOUNT", snowflake::ACCOUNT)
            .environment("SNOWFLAKE_USER", snowflake::USER)
            .environment("SNOWFLAKE_ROLE", snowflake::ROLE)
            .environment("SNOWFLAKE_PRIVATE_KEY", &snowflake.private_key())
            .environment("SCHEMA_REGISTRY_URL", registry.url())
            // What components may reach and send at most; each connector asks for its own part of it.
            .property("plugin.grants.hosts", "127.0.0.0/8")
            .property("plugin.grants.secrets", "token")
            .environment("HELPDESK_URL", &tickets.url())
            .environment("HELPDESK_HOST", &tickets.host())
            .environment("HELPDESK_TOKEN", HELPDESK_TOKEN)
            .environment("ALERTS_TOKEN", ALERTS_TOKEN)
            .environment("ALERTS_URL", alerts.url())
            .environment("ALERTS_HOST", alerts.url().trim_start_matches("http://"))
            .with_test_components()?
            .start()
            .await?;
        Ok(Self { worker, kafka, registry, snowflake, tickets, alerts, avro: OrderAvro::new(id)? })
    }

    pub(crate) fn show(&self) {
        println!("    Kafka       {}", self.kafka.bootstrap());
        println!("    registry    {}", self.registry.url());
        println!(
            "    Snowflake   {} (fakesnow behind an adapter; read back with Snowflake's own Python connector)",
            self.snowflake.url()
        );
        println!("    helpdesk    {} (its tickets are polled by HTTP)", self.tickets.url());
        println!("    function    {} (takes alerts, served by functions-framework)", self.alerts.url());
        println!(
            "    worker      {} (first answer after {} ms)",
            self.worker.connect().url(),
            self.worker.first_answer.as_millis()
        );
        println!("    worker log  {}", self.worker.log_path().display());
    }

    pub(crate) fn show_kept(&self) {
        println!("\nAll of it runs until Ctrl-C:");
        self.show();
        println!("    try         curl -s {}/connectors?expand=status", self.worker.connect().url());
        println!("    log in      user {}, password `{}`", snowflake::USER, snowflake::PASSWORD);
    }
}

async fn start_kafka() -> Result<Kafka> {
    let kafka = Kafka::start().await?;
    for topic in streams::ALL.map(|stream| stream.topic).into_iter().chain([streams::TICKETS]) {
        kafka.create_topic(topic, PARTITIONS).await?;
    }
    Ok(kafka)
}
