//! Poison, and a registry that is down, slow, silent, or refuses: nothing is lost, and the message names what to do.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use apache_avro::types::Value as Avro;
use penstock_tests::{FaultyRegistry, Kafka, Mood, Registry, unique, wait_until};
use serde_json::{Value as Json, json};

use super::{AVRO, framed, message};
use crate::sink::script::{Running, Script};

const SOON: Duration = Duration::from_secs(30);

/// A topic of one partition whose records are orders under their own schemas.
struct Topic<'k> {
    kafka: &'k Kafka,
    registry: &'k Registry,
    name: String,
}

impl<'k> Topic<'k> {
    async fn new() -> Result<Topic<'k>> {
        let (kafka, registry) = tokio::try_join!(Kafka::shared(), Registry::shared())?;
        let name = unique("avro-orders");
        kafka.create_topic(&name, 1).await?;
        Ok(Self { kafka, registry, name })
    }

    /// A message by a schema that nobody has used before.
    async fn order(&self, id: i64) -> Result<Vec<u8>> {
        let schema = order_schema(&unique("Order").replace('-', "_"));
        let schema_id = self.registry.register(&format!("{}-value", self.name), &schema).await?;
        message(schema_id, &schema, Avro::Record(vec![("id".into(), Avro::Long(id))]))
    }

    async fn append(&self, messages: &[Vec<u8>]) -> Result<()> {
        self.kafka.produce_values(&self.name, messages).await
    }

    /// A sink of that connector on this topic.
    fn sink(&self, connector: &str, script: &Script, url: &str, more: &[(&str, &str)]) -> Result<Running> {
        let own = [("topics", self.name.as_str()), ("value.converter", AVRO), ("value.converter.schema.registry.url", url)];
        Running::start_as(connector, self.kafka, script, &[&own, more].concat())
    }
}

fn order_schema(name: &str) -> Json {
    json!({"type": "record", "name": name, "namespace": "shop", "fields": [{"name": "id", "type": "long"}]})
}

fn offsets(script: &Script) -> Vec<i64> {
    script.delivered().iter().map(|d| d.offset).collect()
}

#[tokio::test]
async fn poison_goes_to_the_dead_letters_with_the_reason() -> Result<()> {
    let topic = Topic::new().await?;
    let good = topic.order(1).await?;
    let unknown_id = 987_654_321;
    let not_avro = json!({"$schema": "http://json-schema.org/draft-07/schema#", "type": "object"}).to_string();
    let not_avro = json!({"schema": not_avro, "schemaType": "JSON"});
    let answer = topic.registry.api().post(&format!("/subjects/{}-other/versions", topic.name), &not_avro).await?.ok()?;
    let not_avro = u32::try_from(answer["id"].as_u64().context("an id")?)?;
    let mut truncated = good.clone();
    truncated.truncate(5);
    let trailing = [good.as_slice(), b"more"].concat();
    let messages = vec![
        good.clone(),
        br#"{"id": 1}"#.to_vec(),
        Vec::new(),
        vec![0, 0, 0],
        framed(unknown_id, &[2]),
        truncated,
        framed(not_avro, b"{}"),
        // Java ignores what follows the body, and so do we.
        trailing,
        good,
    ];
    topic.append(&messages).await?;
    let (dead, script) = (unique("dead"), Script::new());
    let tolerant = [
        ("errors.tolerance", "all"),
        ("errors.deadletterqueue.topic.name", dead.as_str()),
        ("errors.deadletterqueue.topic.replication.factor", "1"),
        ("errors.deadletterqueue.context.headers.enable", "true"),
    ];
    let task = topic.sink(&unique("poisoned"), &script, topic.registry.url(), &tolerant)?;
    wait_until("the good ones", SOON, async || Ok(script.delivered().len() == 3)).await?;
    ensure!(task.stop().await);
    ensure!(offsets(&script) == [0, 7, 8], "{:?}", offsets(&script));

    let mut reasons = BTreeMap::new();
    for letter in topic.kafka.read(&dead).await? {
        let header = |name: &str| letter.header(&format!("__connect.errors.{name}")).unwrap_or_default();
        let offset: usize = header("offset").parse()?;
        ensure!(letter.value.as_ref() == Some(&messages[offset]), "the letter of offset {offset} was changed");
        ensure!(header("stage") == "VALUE_CONVERTER" && header("class.name") == AVRO);
        ensure!(header("exception.class.name") == "org.apache.kafka.connect.errors.DataException");
        reasons.insert(offset, header("exception.message"));
    }
    let unknown = format!("read schema {unknown_id} at schema.registry.url {}", topic.registry.url());
    for (offset, reason) in [
        (1, "0x7b as its first byte"),
        (2, "no byte"),
        (3, "only 3 bytes"),
        (4, unknown.as_str()),
        (5, "ends too early"),
        (6, "not Avro but Json"),
    ] {
        let found = reasons.remove(&offset).with_context(|| format!("a letter of offset {offset}"))?;
        ensure!(found.contains(reason), "offset {offset}: {found}");
    }
    ensure!(reasons.is_empty(), "{reasons:?}");
    Ok(())
}

#[tokio::test]
async fn records_wait_for_a_registry_that_is_away() -> Result<()> {
    let topic = Topic::new().await?;
    let registry = FaultyRegistry::start(topic.registry, Mood::Down).await?;
    let known = topic.order(1).await?;
    topic.append(&[known.clone(), known.clone()]).await?;
    let script = Script::new();
    let patient = [("errors.retry.timeout", "-1"), ("errors.retry.delay.max.ms", "300"), ("errors.tolerance", "all")];
    let task = topic.sink(&unique("patient"), &script, &registry.url(), &patient)?;
    let retries = || task.handle.metrics.retries.get();

    // At the start.
    wait_until("two tries", SOON, async || Ok(retries() >= 2)).await?;
    ensure!(script.delivered().is_empty());
    registry.set(Mood::Well).await?;
    wait_until("both", SOON, async || Ok(offsets(&script) == [0, 1])).await?;

    // In the middle: what is known goes on, what is new waits, and nothing overtakes it.
    for (mood, offset) in [(Mood::Down, 2), (Mood::HangsUp, 5), (Mood::refusal(503, 50_301, "restarting"), 8)] {
        registry.set(mood).await?;
        topic.append(std::slice::from_ref(&known)).await?;
        wait_until("the known one", SOON, async || Ok(script.delivered().len() == offset + 1)).await?;
        let before = retries();
        topic.append(&[topic.order(2).await?, known.clone()]).await?;
        wait_until("tries", SOON, async || Ok(retries() > before)).await?;
        ensure!(script.delivered().len() == offset + 1);
        registry.set(Mood::Well).await?;
        wait_until("the new one", SOON, async || Ok(script.delivered().len() == offset + 3)).await?;
    }
    ensure!(offsets(&script) == (0..11).collect::<Vec<_>>(), "{:?}", offsets(&script));
    ensure!(task.stop().await);
    ensure!(topic.kafka.lag(&format!("connect-{}", task.name), &topic.name).await? == 0);
    Ok(())
}

/// A tolerant connector once skipped all records while its registry was down.
#[tokio::test]
async fn a_registry_in_trouble_fails_the_task_and_loses_nothing() -> Result<()> {
    let topic = Topic::new().await?;
    topic.append(&[topic.order(1).await?, topic.order(2).await?]).await?;
    let registry = FaultyRegistry::start(topic.registry, Mood::Well).await?;
    let (url, dead) = (registry.url(), unique("dead"));
    let config = [
        ("errors.tolerance", "all"),
        ("errors.deadletterqueue.topic.name", dead.as_str()),
        ("errors.deadletterqueue.topic.replication.factor", "1"),
        ("value.converter.http.read.timeout.ms", "300"),
    ];
    let wait_longer = "errors.retry.timeout (0 ms) is over";
    let connector = unique("troubled");
    for (mood, texts) in [
        (Mood::Down, ["onnection refused", wait_longer]),
        (Mood::HangsUp, ["schema.registry.url", wait_longer]),
        (Mood::Silent, ["timed out", wait_longer]),
        (Mood::refusal(500, 50_001, "store is read-only"), ["store is read-only", wait_longer]),
        (Mood::Answers(502, "<html>Bad Gateway</html>".into()), ["502", wait_longer]),
        (Mood::refusal(429, 42_901, "slow down"), ["slow down", wait_longer]),
        (Mood::refusal(401, 40_101, "who are you?"), ["who are you?", "check schema.registry.url and basic.auth.user.info"]),
        (Mood::Answers(403, String::new()), ["403", "basic.auth.user.info"]),
        (Mood::Answers(404, "<html>Not here</html>".into()), ["404", "check the path of the URL"]),
        (Mood::Answers(200, "<html>Welcome!</html>".into()), ["is the URL right?", wait_longer]),
        (Mood::Answers(200, "{}".into()), ["is the URL right?", wait_longer]),
        (Mood::Answers(200, r#"{"schema": 5}"#.into()), ["is the URL right?", wait_longer]),
    ] {
        registry.set(mood.clone()).await?;
        let script = Script::new();
        let task = topic.sink(&connector, &script, &url, &config)?;
        let trace = task.failure(SOON).await.with_context(|| format!("{mood:?}"))?;
        for text in texts.into_iter().chain([url.as_str(), "offset 0", "No record is skipped"]) {
            ensure!(trace.contains(text), "{mood:?} should say {text:?}, but says {trace}");
        }
        ensure!(script.delivered().is_empty());
    }

    let script = Script::new();
    registry.set(Mood::Slow(Duration::from_millis(100))).await?;
    let task = topic.sink(&connector, &script, &url, &config)?;
    wait_until("both, once the registry is back", SOON, async || Ok(offsets(&script) == [0, 1])).await?;
    ensure!(task.stop().await);
    ensure!(topic.kafka.read(&dead).await?.is_empty(), "nothing was skipped");
    Ok(())
}

/// What a registry says of a schema that it has, but that is none.
#[tokio::test]
async fn a_schema_that_is_none_is_poison() -> Result<()> {
    let topic = Topic::new().await?;
    topic.append(&[topic.order(1).await?]).await?;
    let nonsense = json!({"schema": json!({"type": "recrod", "name": "x"}).to_string()}).to_string();
    let registry = FaultyRegistry::start(topic.registry, Mood::Answers(200, nonsense)).await?;
    let task = topic.sink(&unique("nonsense"), &Script::new(), &registry.url(), &[])?;
    let trace = task.failure(SOON).await?;
    ensure!(trace.contains("is not valid Avro: recrod is not defined") && trace.contains("errors.tolerance=all"), "{trace}");
    Ok(())
}
