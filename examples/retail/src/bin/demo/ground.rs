//! What the demo runs on: broker, registry, Snowflake stand-in, worker. All end with the value.

use anyhow::{Context, Result};
use penstock_retail::order::{AVRO_SCHEMA, OrderAvro};
use penstock_tests::{FakeSnowflake, Kafka, Registry, Worker, snowflake};

use crate::streams;

/// Partitions of each topic.
const PARTITIONS: i32 = 4;

pub(crate) struct Ground {
    // The worker is dropped first: it need not see the others go.
    pub(crate) worker: Worker,
    pub(crate) kafka: Kafka,
    pub(crate) registry: Registry,
    pub(crate) snowflake: FakeSnowflake,
    pub(crate) avro: OrderAvro,
}

impl Ground {
    /// Starts all of it, as much at the same time as can be.
    pub(crate) async fn start() -> Result<Self> {
        let (kafka, registry, snowflake) = tokio::try_join!(start_kafka(), Registry::start(), FakeSnowflake::start())?;
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
            .with_test_components()?
            .start()
            .await?;
        Ok(Self { worker, kafka, registry, snowflake, avro: OrderAvro::new(id)? })
    }

    pub(crate) fn show(&self) {
        println!("    Kafka       {}", self.kafka.bootstrap());
        println!("    registry    {}", self.registry.url());
        println!(
            "    Snowflake   {} (fakesnow behind an adapter; read back with Snowflake's own Python connector)",
            self.snowflake.url()
        );
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
    for stream in streams::ALL {
        kafka.create_topic(stream.topic, PARTITIONS).await?;
    }
    Ok(kafka)
}
