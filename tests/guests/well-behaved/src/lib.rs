//! Transforms that do as they should: one for each way to look at a batch and to change it.

mod avro;

use std::collections::HashMap;

use penstock_plugin::{
    Batch, BlobEdits, ColumnTransform, ConfigDef, ConfigKey, ConfigType, Edits, Encoding, Error, Flow, Part, Record, Result,
    TextEdits, Transform, TransformClass, Value, async_trait,
};

const EMAIL: &str = "customer.email";
const MASKED: &str = "***";

type Work = fn(&Batch<'_>) -> Result<()>;

struct Columns(Work);

impl ColumnTransform for Columns {
    fn apply(&mut self, batch: &Batch<'_>) -> Result<()> {
        (self.0)(batch)
    }
}

/// Looks at nothing but the length.
fn identity(batch: &Batch<'_>) -> Result<()> {
    assert!(batch.len() > 0);
    Ok(())
}

/// Reads all values in an encoding and puts them back.
fn rewrite(batch: &Batch<'_>, encoding: Encoding) -> Result<()> {
    let values = batch.payloads(Part::Value, encoding);
    let mut back = BlobEdits::new();
    for (row, value) in values.iter().enumerate() {
        match value {
            Some(value) => back.set(row, value),
            None => back.set_null(row),
        }
    }
    batch.replace(Part::Value, encoding, &back);
    Ok(())
}

/// Masks the address with a parser in the guest: what a plugin without columns would do.
fn mask_by_tree(batch: &Batch<'_>) -> Result<()> {
    let values = batch.payloads(Part::Value, Encoding::Json);
    let mut back = BlobEdits::new();
    for (row, value) in values.iter().enumerate() {
        let Some(value) = value else { continue };
        let mut tree: serde_json::Value =
            serde_json::from_slice(value).map_err(|e| Error::data(format!("not valid JSON: {e}")))?;
        if let Some(email) = tree.pointer_mut("/customer/email") {
            *email = MASKED.into();
        }
        back.write(row, |out| serde_json::to_writer(out, &tree)).map_err(|e| Error::data(e.to_string()))?;
    }
    batch.replace(Part::Value, Encoding::Json, &back);
    Ok(())
}

/// Masks the address in the bytes as they are: finds it and writes around it.
fn mask_by_bytes(batch: &Batch<'_>) -> Result<()> {
    let values = batch.payloads(Part::Value, Encoding::Raw);
    let mut back = BlobEdits::new();
    for (row, value) in values.iter().enumerate() {
        let text = value.and_then(|value| std::str::from_utf8(value).ok()).unwrap_or_default();
        let Some((before, rest)) = text.split_once(r#""email":""#) else { continue };
        let Some(end) = rest.find('"') else { continue };
        back.write(row, |out| [before, r#""email":""#, MASKED, &rest[end..]].map(|text| out.extend_from_slice(text.as_bytes())));
    }
    batch.replace(Part::Value, Encoding::Raw, &back);
    Ok(())
}

/// Masks the address in Avro bodies.
#[derive(Default)]
struct MaskByAvro {
    plans: HashMap<u32, avro::Plan>,
}

impl ColumnTransform for MaskByAvro {
    fn apply(&mut self, batch: &Batch<'_>) -> Result<()> {
        let schemas = batch.schemas(Part::Value);
        let values = batch.payloads(Part::Value, Encoding::Avro);
        let mut back = BlobEdits::new();
        for (row, (body, schema)) in values.iter().zip(schemas).enumerate() {
            let Some(body) = body else { continue };
            if !self.plans.contains_key(&schema) {
                let text = batch.schema(schema);
                let parsed = serde_json::from_str(&text).ok().and_then(|schema| avro::Plan::parse(&schema));
                self.plans.insert(schema, parsed.ok_or_else(|| Error::fatal(format!("cannot read the schema {text}")))?);
            }
            let Some(place) = self.plans[&schema].find(&["customer", "email"], body, 0) else { continue };
            back.write(row, |out| {
                out.extend_from_slice(&body[..place.start]);
                avro::write_text(MASKED, out);
                out.extend_from_slice(&body[place.end..]);
            });
        }
        batch.replace(Part::Value, Encoding::Avro, &back);
        Ok(())
    }
}

/// Numbers the rows that this instance has seen.
#[derive(Default)]
struct Count(i64);

impl ColumnTransform for Count {
    fn apply(&mut self, batch: &Batch<'_>) -> Result<()> {
        let mut numbers = Edits::<i64>::new();
        for row in 0..batch.len() {
            self.0 += 1;
            numbers.set(row, self.0);
        }
        batch.set_integers(Part::Value, "count", &numbers);
        Ok(())
    }
}

/// Takes a tenth of a second, in steps.
fn linger(_: &Batch<'_>) -> Result<()> {
    (0..10).for_each(|_| std::thread::sleep(std::time::Duration::from_millis(10)));
    Ok(())
}

/// Masks the address by column.
fn mask_by_column(batch: &Batch<'_>) -> Result<()> {
    let mut masked = TextEdits::new();
    for (row, email) in batch.texts(Part::Value, EMAIL).iter().enumerate() {
        if email.is_some() {
            masked.set(row, MASKED);
        }
    }
    batch.set_texts(Part::Value, EMAIL, &masked);
    Ok(())
}

/// A new number from two columns.
fn add_number(batch: &Batch<'_>) -> Result<()> {
    batch.prefetch(Part::Value, &["a", "b", "sum"]);
    let (a, b) = (batch.integers(Part::Value, "a"), batch.numbers(Part::Value, "b"));
    let mut sums = Edits::<f64>::new();
    for row in 0..batch.len() {
        match (a.get(row), b.get(row)) {
            (Some(a), Some(b)) => sums.set(row, a as f64 + b),
            _ => sums.set_null(row),
        }
    }
    batch.set_numbers(Part::Value, "sum", &sums);
    Ok(())
}

/// Drops rows of one country.
fn filter(batch: &Batch<'_>) -> Result<()> {
    let countries = batch.texts(Part::Value, "customer.country");
    let dropped: Vec<u32> =
        countries.iter().enumerate().filter(|(_, country)| *country == Some("DE")).map(|(row, _)| row as u32).collect();
    batch.discard(&dropped);
    Ok(())
}

/// Routes by topic: each to `routed.<topic>`.
fn route(batch: &Batch<'_>) -> Result<()> {
    let topics = batch.topics();
    let routed: Vec<String> = topics.names().iter().map(|name| format!("routed.{name}")).collect();
    batch.set_topics((0..batch.len()).map(|row| (row, routed[topics.index()[row] as usize].as_str())));
    Ok(())
}

/// One record for each entry of `parts`, and the whole is dropped; a row without parts fails.
fn explode(batch: &Batch<'_>) -> Result<()> {
    let parts = batch.json(Part::Value, "parts");
    let (mut sources, mut values, mut whole, mut failed) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for row in 0..batch.len() {
        let parsed = parts.get(row).and_then(|text| serde_json::from_slice::<Vec<serde_json::Value>>(text).ok());
        let Some(parsed) = parsed else {
            failed.push((row, Error::data("`parts` is no array")));
            continue;
        };
        sources.extend(parsed.iter().map(|_| row as u32));
        values.extend(parsed);
        whole.push(row as u32);
    }
    let first = if sources.is_empty() { 0 } else { batch.copy(&sources) };
    let mut edits = BlobEdits::new();
    for (at, value) in values.iter().enumerate() {
        edits.set(first + at, value.to_string().as_bytes());
    }
    batch.replace(Part::Value, Encoding::Json, &edits);
    batch.discard(&whole);
    batch.fail(failed);
    Ok(())
}

/// Puts what it sees into headers and the timestamp.
fn annotate(batch: &Batch<'_>) -> Result<()> {
    let (headers, timestamps, offsets) = (batch.headers(), batch.timestamps(), batch.offsets());
    let mut seen = TextEdits::new();
    let mut removed = TextEdits::new();
    let mut later = Edits::<i64>::new();
    for row in 0..batch.len() {
        let names: Vec<&str> = headers.get(row).map(|(name, _)| name).collect();
        seen.set(row, &format!("{}@{:?}", names.join("+"), offsets.get(row)));
        removed.set_null(row);
        match timestamps.get(row) {
            Some(timestamp) => later.set(row, timestamp + 1),
            None => later.set_null(row),
        }
    }
    batch.set_header_texts("seen", &seen);
    batch.set_header_texts("old", &removed);
    batch.set_timestamps(&later);
    Ok(())
}

/// The small form: masks, drops what says so, fails what is no object.
struct RecordMask {
    prefix: String,
}

#[async_trait]
impl Transform for RecordMask {
    fn apply(&mut self, record: &mut Record) -> Result<Flow> {
        let has_email = match &record.value.decode()?.value {
            Value::Map(map) if map.get("drop").is_some() => return Ok(Flow::Drop),
            Value::Map(map) => matches!(map.get("customer"), Some(Value::Map(c)) if c.get("email").is_some()),
            Value::Null => return Ok(Flow::Keep),
            _ => return Err(Error::data("the value is no object")),
        };
        if has_email
            && let Value::Map(map) = &mut record.value.decode_mut()?.value
            && let Some(Value::Map(customer)) = map.get_mut("customer")
        {
            customer.insert("email", Value::string(MASKED));
        }
        if !self.prefix.is_empty() {
            record.topic = format!("{}{}", self.prefix, record.topic).into();
        }
        Ok(Flow::Keep)
    }
}

/// The small form, passing records on.
struct RecordIdentity;

#[async_trait]
impl Transform for RecordIdentity {
    fn apply(&mut self, _record: &mut Record) -> Result<Flow> {
        Ok(Flow::Keep)
    }
}

fn classes() -> Vec<TransformClass> {
    let none = ConfigDef::default;
    let columns = |name: &str, work: Work| {
        let name = format!("penstock.tests.{name}");
        TransformClass::columns(&name, "1.0.0", ConfigDef::default(), move |_| Ok(Columns(work)))
    };
    let keys = ConfigDef::new([ConfigKey::optional("prefix", ConfigType::String, "masked.", "Stands before topics.")]);
    vec![
        columns("Identity", identity).alias("penstock.tests.Same"),
        columns("RewriteRaw", |batch| rewrite(batch, Encoding::Raw)),
        columns("RewriteJson", |batch| rewrite(batch, Encoding::Json)),
        columns("RewriteAvro", |batch| rewrite(batch, Encoding::Avro)),
        columns("MaskByTree", mask_by_tree),
        columns("MaskByColumn", mask_by_column),
        columns("MaskByBytes", mask_by_bytes),
        TransformClass::columns("penstock.tests.MaskByAvro", "1.0.0", none(), |_| Ok(MaskByAvro::default())),
        TransformClass::columns("penstock.tests.Count", "1.0.0", none(), |_| Ok(Count::default())),
        columns("Linger", linger),
        columns("AddNumber", add_number),
        columns("Filter", filter),
        columns("Route", route),
        columns("Explode", explode),
        columns("Annotate", annotate),
        TransformClass::records("penstock.tests.RecordIdentity", "1.0.0", none(), |_| Ok(RecordIdentity)),
        TransformClass::records("penstock.tests.RecordMask", "1.0.0", keys, |config| {
            Ok(RecordMask { prefix: config.string("prefix").to_owned() })
        }),
    ]
}

penstock_plugin::export_transforms!(classes);
