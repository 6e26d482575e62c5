//! Every Avro type, from a producer's message into Connect and back, ours beside Java's.

use anyhow::{Context, Result, ensure};
use apache_avro::types::Value as Avro;
use penstock_api::bigdecimal::num_bigint::BigInt;
use penstock_api::{Map, SchemaAndValue, Value};
use penstock_tests::{Registry, unique};
use serde_json::Value as Json;

use super::cases::{self, Case, Java};
use super::oracle::Oracle;
use super::{Wire, envelope, id_of, message, schema_of};

#[tokio::test]
async fn every_type_passes_both_ways_as_through_javas_converter() -> Result<()> {
    let registry = Registry::shared().await?;
    let mut java = Oracle::start(registry).await?;
    let mut ours = Wire::avro(registry.url(), &[])?;
    let mut differences = Vec::new();
    for case in cases::all() {
        for datum in &case.data {
            if let Err(why) = passes(registry, &mut ours, &mut java, &case, datum).await {
                differences.push(format!("{} with {datum:?}: {why:#}", case.name));
            }
        }
    }
    ensure!(differences.is_empty(), "{} data differ:\n{}", differences.len(), differences.join("\n"));
    Ok(())
}

async fn passes(registry: &Registry, ours: &mut Wire, java: &mut Oracle, case: &Case, datum: &Avro) -> Result<()> {
    let topic = unique(case.name);
    let id = registry.register(&format!("{topic}-value"), &case.schema).await?;
    let sent = message(id, &case.schema, datum.clone())?;
    let value = ours.read(&sent).await.context("read the producer's message")?;
    let seen = envelope(&value).await?;

    // Back again: what a consumer with its own Avro library reads is what the producer wrote.
    let back = ours.write(&unique(case.name), value).await.context("write")?.context("a message")?;
    let schema = schema_of(registry, id_of(&back)?).await?;
    let again = ours.read(&back).await.context("read what we wrote")?;
    ensure!(payload(&envelope(&again).await?) == payload(&seen), "we read {again:?} from what we wrote");
    ensure!(same_body(case, &sent, &back, &schema)?, "we wrote {:?} by {schema}", &back[5..]);

    if case.java == Java::Alike {
        let theirs = java.read(&topic, &sent).await.context("let Java read the producer's message")?;
        ensure!(seen == theirs, "we read  {seen}\nJava reads {theirs}");
        let theirs = java.read(&unique(case.name), &back).await.context("let Java read what we wrote")?;
        ensure!(payload(&theirs) == payload(&seen), "Java reads {theirs} from what we wrote");
        let theirs = java.write(&unique(case.name), &seen).await.context("let Java write")?;
        let read = envelope(&ours.read(&theirs).await.context("read what Java wrote")?).await?;
        ensure!(payload(&read) == payload(&seen), "we read {read} from what Java wrote");
    }
    Ok(())
}

fn payload(envelope: &Json) -> &Json {
    &envelope["payload"]
}

/// Whether the bodies hold the same datum: bytes alike, unless the schema we wrote has another order of a union's branches, or
/// Connect's form of a type (a text for an enum) has replaced the type.
fn same_body(case: &Case, sent: &[u8], back: &[u8], written: &Json) -> Result<bool> {
    if sent[5..] == back[5..] {
        return Ok(true);
    }
    let written = apache_avro::Schema::parse(written)?;
    let read = |schema: &apache_avro::Schema, body: &[u8]| {
        let reader = apache_avro::reader::datum::GenericDatumReader::builder(schema).build()?;
        reader.read_value(&mut &body[..]).map(|value| plain(&value))
    };
    Ok(read(&apache_avro::Schema::parse(&case.schema)?, &sent[5..])? == read(&written, &back[5..])?)
}

/// A datum without its union branches, enums as texts, fixed as bytes, and decimals without needless bytes.
fn plain(value: &Avro) -> String {
    match value {
        Avro::Union(_, inner) => plain(inner),
        Avro::Enum(_, symbol) => format!("{:?}", Avro::String(symbol.clone())),
        Avro::Fixed(_, bytes) => format!("{:?}", Avro::Bytes(bytes.clone())),
        Avro::Duration(span) => format!("{:?}", Avro::Bytes(<[u8; 12]>::from(span).into())),
        Avro::Decimal(number) => BigInt::from(number.clone()).to_string(),
        Avro::Record(fields) => fields.iter().map(|(name, value)| format!("{name}:{};", plain(value))).collect(),
        Avro::Array(items) => items.iter().map(|item| format!("{},", plain(item))).collect(),
        other => format!("{other:?}"),
    }
}

#[tokio::test]
async fn enums_and_fixed_stay_what_they_are_when_asked_to() -> Result<()> {
    let registry = Registry::shared().await?;
    let mut ours = Wire::avro(registry.url(), &[("enhanced.avro.schema.support", "true")])?;
    for case in cases::enhanced() {
        for datum in &case.data {
            let id = registry.register(&format!("{}-value", unique(case.name)), &case.schema).await?;
            let sent = message(id, &case.schema, datum.clone())?;
            let value = ours.read(&sent).await.with_context(|| format!("read {datum:?}"))?;
            let back = ours.write(&unique(case.name), value).await?.context("a message")?;
            ensure!(sent[5..] == back[5..], "{} with {datum:?}: we wrote {:?}", case.name, &back[5..]);
        }
    }
    Ok(())
}

/// Values without a schema travel in AvroData's record `Anything`.
#[tokio::test]
async fn values_without_schema_pass_as_anything() -> Result<()> {
    let registry = Registry::shared().await?;
    let mut ours = Wire::avro(registry.url(), &[])?;
    let mut inner = Map::new();
    inner.insert("tags", Value::Array(vec![Value::string("a"), Value::Null, Value::Boolean(true)]));
    inner.insert("n", Value::Int64(5));
    inner.insert("x", Value::Float64(0.5));
    for value in [Value::Map(inner), Value::string("alone"), Value::Array(vec![])] {
        let value = SchemaAndValue::schemaless(value);
        let message = ours.write(&unique("anything"), value.clone()).await?.context("a message")?;
        ensure!(ours.read(&message).await? == value);
        ensure!(schema_of(registry, id_of(&message)?).await?["name"] == "Anything");
    }
    ensure!(ours.write("t", SchemaAndValue::default()).await?.is_none(), "null is a tombstone");
    Ok(())
}
