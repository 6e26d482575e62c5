//! Schemas as a registry keeps them: several in one topic, referring to each other, under subjects of many names.

use anyhow::{Context, Result, ensure};
use apache_avro::types::Value as Avro;
use penstock_api::{ErrorKind, Kind, Schema, SchemaAndValue, Struct, Value};
use penstock_tests::{Registry, unique};
use serde_json::{Value as Json, json};

use super::{Wire, framed, id_of, message, schema_of};

#[tokio::test]
async fn each_record_is_read_by_the_schema_it_was_written_with() -> Result<()> {
    let registry = Registry::shared().await?;
    let subject = format!("{}-value", unique("evolving"));
    let of = |more: &[Json]| {
        let fields = [&[json!({"name": "id", "type": "long"})], more].concat();
        json!({"type": "record", "name": "Order", "namespace": "shop", "fields": fields})
    };
    let (old, new) = (of(&[]), of(&[json!({"name": "note", "type": ["null", "string"], "default": null})]));
    let (old_id, new_id) = (registry.register(&subject, &old).await?, registry.register(&subject, &new).await?);
    let with_note =
        Avro::Record(vec![("id".into(), Avro::Long(2)), ("note".into(), Avro::Union(1, Box::new(Avro::String("ring".into()))))]);
    let mut ours = Wire::avro(registry.url(), &[])?;
    for _ in 0..2 {
        let first = ours.read(&message(old_id, &old, Avro::Record(vec![("id".into(), Avro::Long(1))]))?).await?;
        let second = ours.read(&message(new_id, &new, with_note.clone())?).await?;
        let (Value::Struct(first), Value::Struct(second)) = (first.value, second.value) else { anyhow::bail!("two structs") };
        ensure!(first.get("id") == Some(&Value::Int64(1)) && first.get("note").is_none());
        ensure!(second.get("id") == Some(&Value::Int64(2)) && second.get("note") == Some(&Value::string("ring")));
    }
    Ok(())
}

#[tokio::test]
async fn schemas_may_refer_to_others() -> Result<()> {
    let registry = Registry::shared().await?;
    let (money, item, order) = (unique("money"), unique("item"), unique("order-value"));
    let post = async |subject: &str, schema: Json, references: Json| -> Result<u32> {
        let body = json!({"schema": schema.to_string(), "schemaType": "AVRO", "references": references});
        let answer = registry.api().post(&format!("/subjects/{subject}/versions"), &body).await?.ok()?;
        Ok(u32::try_from(answer["id"].as_u64().context("an id")?)?)
    };
    let refer = |name: &str, subject: &str| json!([{"name": name, "subject": subject, "version": 1}]);
    let decimal = json!({"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2});
    let money_schema =
        json!({"type": "record", "name": "Money", "namespace": "shop", "fields": [{"name": "amount", "type": decimal}]});
    post(&money, money_schema, json!([])).await?;
    let item_schema = json!({"type": "record", "name": "Item", "namespace": "shop", "fields": [
        {"name": "sku", "type": "string"}, {"name": "price", "type": "shop.Money"}]});
    post(&item, item_schema, refer("shop.Money", &money)).await?;
    let order_schema = json!({"type": "record", "name": "Order", "namespace": "shop", "fields": [
        {"name": "first", "type": "Item"}, {"name": "second", "type": "shop.Item"}]});
    let id = post(&order, order_schema, refer("shop.Item", &item)).await?;

    // Two items: a text of one byte, then a decimal of two.
    let body = [2, b'm', 4, 0x04, 0xd2, 2, b'n', 4, 0xfb, 0x2e];
    let mut ours = Wire::avro(registry.url(), &[])?;
    let read = ours.read(&framed(id, &body)).await?;
    let Value::Struct(read) = read.value else { anyhow::bail!("a struct") };
    let price = |field: &str| -> Option<String> {
        let Some(Value::Struct(item)) = read.get(field) else { return None };
        let Some(Value::Struct(price)) = item.get("price") else { return None };
        let Some(Value::Decimal(amount)) = price.get("amount") else { return None };
        Some(amount.to_string())
    };
    ensure!((price("first"), price("second")) == (Some("12.34".into()), Some("-12.34".into())), "{read:?}");
    Ok(())
}

/// A struct `{id}` of that record name.
fn order(name: &str) -> SchemaAndValue {
    let schema = std::sync::Arc::new(Schema::record([("id", Schema::new(Kind::Int64))]).named(name));
    SchemaAndValue::new(schema.clone(), Value::Struct(Struct::from_values(schema, vec![Value::Int64(7)])))
}

async fn has_subject(registry: &Registry, subject: &str) -> Result<bool> {
    Ok(registry.api().get(&format!("/subjects/{subject}/versions")).await?.status == 200)
}

#[tokio::test]
async fn subjects_are_called_as_the_strategy_says() -> Result<()> {
    let registry = Registry::shared().await?;
    let strategy = |name: &str| format!("io.confluent.kafka.serializers.subject.{name}");
    let (topic, name) = (unique("orders"), unique("shop.Order").replace('-', "_"));
    for (class, subject) in [
        ("TopicNameStrategy", format!("{topic}-value")),
        ("RecordNameStrategy", name.clone()),
        ("TopicRecordNameStrategy", format!("{topic}-{name}")),
    ] {
        let mut ours = Wire::avro(registry.url(), &[("value.subject.name.strategy", &strategy(class))])?;
        ensure!(!has_subject(registry, &subject).await?);
        let message = ours.write(&topic, order(&name)).await?.context("a message")?;
        ensure!(has_subject(registry, &subject).await?, "{class}: no subject {subject}");
        ensure!(ours.read(&message).await?.value == order(&name).value);
    }
    let mut ours = Wire::avro(registry.url(), &[("value.subject.name.strategy", &strategy("RecordNameStrategy"))])?;
    let nameless = SchemaAndValue::new(Schema::new(Kind::Int64), Value::Int64(1));
    let error = ours.write(&topic, nameless).await.unwrap_err();
    ensure!(error.to_string().contains("needs a record's name"), "{error:#}");
    Ok(())
}

#[tokio::test]
async fn nothing_is_registered_when_that_is_forbidden() -> Result<()> {
    let registry = Registry::shared().await?;
    let topic = unique("orders");
    let subject = format!("{topic}-value");
    let mut ours = Wire::avro(registry.url(), &[("auto.register.schemas", "false")])?;
    let error = ours.write(&topic, order("shop.Order")).await.unwrap_err();
    ensure!(error.kind() == ErrorKind::Data, "{error:#}");
    let said = format!("{error:#}");
    ensure!(
        said.contains("auto.register.schemas is false") && said.contains(&subject) && said.contains(registry.url()),
        "{said}"
    );
    ensure!(!has_subject(registry, &subject).await?);

    let registered = Wire::avro(registry.url(), &[])?.write(&topic, order("shop.Order")).await?.context("a message")?;
    // The failure is remembered for a moment only; a fresh task asks at once.
    let mut ours = Wire::avro(registry.url(), &[("auto.register.schemas", "false")])?;
    ensure!(ours.write(&topic, order("shop.Order")).await?.context("a message")? == registered);
    Ok(())
}

#[tokio::test]
async fn the_latest_version_is_used_when_it_says_the_same() -> Result<()> {
    let registry = Registry::shared().await?;
    let topic = unique("orders");
    let subject = format!("{topic}-value");
    let latest = [("auto.register.schemas", "false"), ("use.latest.version", "true")];
    // What Connect would not write itself: docs.
    let documented = json!({"type": "record", "name": "Order", "namespace": "shop", "doc": "by hand", "fields": [
        {"name": "id", "type": "long", "doc": "the number"}]});
    let id = registry.register(&subject, &documented).await?;
    let written = Wire::avro(registry.url(), &latest)?.write(&topic, order("shop.Order")).await?.context("a message")?;
    ensure!(id_of(&written)? == id && schema_of(registry, id).await?["doc"] == "by hand");

    let other = json!({"type": "record", "name": "Order", "namespace": "shop", "fields": [{"name": "id", "type": "string"}]});
    let id = registry.register(&subject, &other).await?;
    let error = Wire::avro(registry.url(), &latest)?.write(&topic, order("shop.Order")).await.unwrap_err();
    let said = format!("{error:#}");
    ensure!(error.kind() == ErrorKind::Data && said.contains(&id.to_string()) && said.contains("register"), "{said}");
    Ok(())
}
