//! Avro with a real Schema Registry: every type both ways, beside Java's converter; schemas that change; poison; a registry in trouble.

mod cases;
mod components;
mod oracle;
mod schemas;
mod trouble;
mod types;
mod worker;

use anyhow::{Context, Result};
use apache_avro::types::Value as Avro;
use apache_avro::writer::datum::GenericDatumWriter;
use penstock_api::{
    Bytes, Constructor, Converter, Headers, Part, Payload, Props, RawRecord, Record, SchemaAndValue, TimestampType,
};
use penstock_tests::Registry;
use serde_json::Value as Json;

const AVRO: &str = "io.confluent.connect.avro.AvroConverter";
const JSON: &str = "org.apache.kafka.connect.json.JsonConverter";

/// A converter for values, as a task has one.
struct Wire(Box<dyn Converter>);

impl Wire {
    /// The Avro converter before this registry, with further keys.
    fn avro(url: &str, more: &[(&str, &str)]) -> penstock_api::Result<Self> {
        Self::new(AVRO, &[&[("schema.registry.url", url)], more].concat())
    }

    fn new(class: &str, config: &[(&str, &str)]) -> penstock_api::Result<Self> {
        let props: Props = config.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let plugins = penstock::converters::plugins();
        let is_converter = |p: &&penstock_api::Plugin| p.class == class && matches!(p.construct, Constructor::Converter(_));
        let plugin = plugins.iter().find(is_converter).expect("a class of ours");
        let Constructor::Converter(make) = &plugin.construct else { unreachable!("looked for above") };
        Ok(Self(make(&props, Part::Value)?))
    }

    /// What the worker makes of a message: schemas fetched, the message checked, then read.
    async fn read(&mut self, message: &[u8]) -> penstock_api::Result<SchemaAndValue> {
        let raw = raw(message);
        self.0.prefetch(std::slice::from_ref(&raw), Part::Value).await;
        let payload = self.0.to_connect(&raw.topic, raw.value.as_ref())?;
        payload.view().map(std::borrow::Cow::into_owned)
    }

    async fn write(&mut self, topic: &str, value: SchemaAndValue) -> penstock_api::Result<Option<Bytes>> {
        let record = Record {
            topic: topic.into(),
            partition: None,
            key: Payload::null(),
            value: value.into(),
            headers: Headers::new(),
            timestamp: None,
            offset: None,
        };
        self.0.from_connect(&[&record], Part::Value).await.pop().expect("one answer for one record")
    }
}

fn raw(message: &[u8]) -> RawRecord {
    RawRecord {
        topic: "t".into(),
        partition: 0,
        offset: 0,
        timestamp: None,
        timestamp_type: TimestampType::NoTimestamp,
        key: None,
        value: Some(Bytes::copy_from_slice(message)),
        headers: None,
    }
}

/// A value as JsonConverter writes it with its schema, in which all that Connect knows of it is seen.
async fn envelope(value: &SchemaAndValue) -> Result<Json> {
    let text = Wire::new(JSON, &[])?.write("t", value.clone()).await?.context("a value")?;
    Ok(serde_json::from_slice(&text)?)
}

/// A message in Confluent's framing, as `apache-avro` writes its body.
fn message(id: u32, schema: &Json, datum: Avro) -> Result<Vec<u8>> {
    let schema = apache_avro::Schema::parse(schema)?;
    let body = GenericDatumWriter::builder(&schema).build()?.write_value_to_vec(datum)?;
    Ok(framed(id, &body))
}

fn framed(id: u32, body: &[u8]) -> Vec<u8> {
    [&[0], &id.to_be_bytes()[..], body].concat()
}

/// The id that a message bears.
fn id_of(message: &[u8]) -> Result<u32> {
    let header = message.get(1..5).context("a header")?;
    Ok(u32::from_be_bytes(header.try_into()?))
}

/// A schema as the registry has it.
async fn schema_of(registry: &Registry, id: u32) -> Result<Json> {
    let answer = registry.api().get(&format!("/schemas/ids/{id}")).await?.ok()?;
    Ok(serde_json::from_str(answer["schema"].as_str().context("a schema's text")?)?)
}
