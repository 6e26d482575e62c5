//! The Avro converter: Confluent's framing, schemas from a registry, values by AvroData's mapping, read only when asked for.

mod names;
mod schema;
mod cursor;
mod check;
mod reader;
mod mapping;
mod config;
mod plan;
mod to_avro;
mod writer;
mod subjects;

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use penstock_api::{
    Constructor, Converter, Error, Kind, Part, Payload, Plugin, RawRecord, Record, Result, Schema, SchemaAndValue, Value,
};
use schema_registry_converter::schema_registry_common::{BytesResult, get_bytes_result};

use self::config::AvroConfig;
use self::mapping::Options;
use self::plan::Plan;
use self::subjects::Subjects;
use super::registry::{Answers, Client};

/// The magic byte and the schema's id.
const HEADER_LEN: usize = 5;

/// `AvroConverter` under Confluent's name.
pub(super) fn plugin() -> Plugin {
    Plugin {
        class: "io.confluent.connect.avro.AvroConverter".into(),
        aliases: Vec::new(),
        version: env!("CARGO_PKG_VERSION").into(),
        config: Arc::new(config::definition()),
        construct: Constructor::Converter(Arc::new(|props, part| Ok(Box::new(AvroConverter::new(props, part)?)))),
    }
}

/// Reads and writes the keys or the values of one task.
struct AvroConverter {
    client: Client,
    config: AvroConfig,
    plans: Answers<u32, Plan>,
    /// The plan of the last record: nearly always the next one's too.
    last: Option<(u32, Plan)>,
    subjects: Subjects,
}

impl AvroConverter {
    fn new(props: &penstock_api::Props, part: Part) -> Result<Self> {
        let config = AvroConfig::new(props, part.name())?;
        let client = Client::new(&config.registry)?;
        let subjects = Subjects::new(config.write, config.options, config.schemas_max);
        Ok(Self { client, plans: Answers::new(config.schemas_max), last: None, subjects, config })
    }
}

#[penstock_api::async_trait]
impl Converter for AvroConverter {
    async fn prefetch(&mut self, records: &[RawRecord], part: Part) {
        let mut last = self.last.as_ref().map(|(id, _)| *id);
        let mut due = BTreeSet::new();
        for record in records {
            let bytes = match part {
                Part::Key => &record.key,
                Part::Value => &record.value,
            };
            let BytesResult::Valid(id, _) = get_bytes_result(bytes.as_deref()) else { continue };
            if last.replace(id) != Some(id) && self.plans.is_due(&id) {
                due.insert(id);
            }
        }
        if !due.is_empty() {
            let (client, options) = (&self.client, self.config.options);
            self.plans.ask(due, async |id| Plan::new(&client.schema_by_id(id).await?, options)).await;
        }
    }

    fn to_connect(&mut self, _topic: &str, wire: Option<&Bytes>) -> Result<Payload> {
        let Some(bytes) = wire else { return Ok(Payload::null()) };
        let BytesResult::Valid(id, _) = get_bytes_result(Some(bytes)) else { return Err(unframed(bytes)) };
        if self.last.as_ref().is_none_or(|(last, _)| *last != id) {
            self.last = Some((id, self.plans.get(&id)?.clone()));
        }
        let (_, plan) = self.last.as_ref().expect("set above");
        plan.payload(bytes)
    }

    async fn from_connect(&mut self, records: &[&Record], part: Part) -> Vec<Result<Option<Bytes>>> {
        let views: Vec<_> = records.iter().map(|record| part.of(record).view()).collect();
        let wanted = records.iter().zip(&views).filter_map(|(record, view)| {
            let view = view.as_ref().ok().filter(|view| !view.value.is_null())?;
            Some((&*record.topic, view.schema.as_ref()))
        });
        self.subjects.prefetch(&self.client, part, wanted).await;
        let one = |(record, view): (&&Record, Result<Cow<'_, SchemaAndValue>>)| {
            let view = view?;
            if view.value.is_null() {
                let required = view.schema.as_ref().filter(|schema| !schema.optional);
                return required.map_or(Ok(None), |_| Err(Error::data("found null value for non-optional schema")));
            }
            let id = self.subjects.id(&record.topic, view.schema.as_ref(), part)?;
            encode(id, &view, self.config.options).map(Some)
        };
        records.iter().zip(views).map(one).collect()
    }
}

/// Frames and writes a value that is not null.
fn encode(id: u32, view: &SchemaAndValue, options: Options) -> Result<Bytes> {
    let mut out = BytesMut::with_capacity(128);
    out.put_u8(0);
    out.put_u32(id);
    match (&view.schema, &view.value) {
        (None, value) => writer::write_anything(value, &mut out)?,
        // Confluent's serializer writes a value that is nothing but bytes as it is, without its length.
        (Some(schema), Value::Bytes(bytes)) if is_whole(schema, options) => out.put_slice(bytes),
        (Some(schema), Value::Decimal(decimal)) if is_whole(schema, options) => {
            out.put_slice(&writer::unscaled(decimal, schema)?);
        }
        (Some(schema), value) => writer::write(schema, value, options, &mut out)?,
    }
    Ok(out.freeze())
}

/// Whether the Avro schema is `bytes` and nothing around it.
fn is_whole(schema: &Schema, options: Options) -> bool {
    schema.kind == Kind::Bytes && !schema.optional && !(options.enhanced && to_avro::fixed_size(schema).is_some())
}

/// What is wrong with bytes that have no header.
fn unframed(bytes: &Bytes) -> Error {
    let what = match bytes.first() {
        None => "no byte".to_owned(),
        Some(0) => format!("only {} bytes", bytes.len()),
        Some(first) => format!("{first:#04x} as its first byte"),
    };
    Error::data(format!(
        "not Avro in Confluent's framing: the message has {what} instead of 0x00 and a schema id of 4 bytes; \
         was it written by a serializer with a Schema Registry?"
    ))
}
