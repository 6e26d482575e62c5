//! All that is known of one schema id: how to check its records, and how to read them.

use std::sync::Arc;

use bytes::Bytes;
use penstock_api::payload::{AvroFormat, Decode};
use penstock_api::{Error, Format, Payload, Result, SchemaAndValue};
use schema_registry_converter::schema_registry_common::SchemaType;

use super::HEADER_LEN;
use super::check::Checker;
use super::mapping::{Mapping, Options, Unmapped};
use super::schema::{AvroSchema, NodeKind};
use crate::converters::registry::Registered;

/// Made once for each schema id; clones share it.
#[derive(Clone)]
pub(super) struct Plan {
    /// `None` when the body is one run of bytes as it is.
    checker: Option<Arc<Checker>>,
    format: Format,
}

impl Plan {
    /// Compiles a schema of the registry.
    ///
    /// # Errors
    /// `Data` when it is no Avro schema or has no form in Connect.
    pub(super) fn new(registered: &Registered, options: Options) -> Result<Self> {
        let id = registered.id;
        if registered.kind != SchemaType::Avro {
            return Err(Error::data(format!("schema {id} is not Avro but {:?}: use the converter for it", registered.kind)));
        }
        let schema = AvroSchema::parse(&registered.text, &registered.references)
            .map_err(|why| Error::data(format!("schema {id} is not valid Avro: {why}")))?;
        let version = registered.version.and_then(|version| i32::try_from(version).ok());
        let mapping = match Mapping::new(&schema, version, options) {
            Err(refused @ Unmapped::Refused(_)) => return Err(refused.to_error(id)),
            mapping => mapping,
        };
        if matches!(schema.node(schema.root()).kind, NodeKind::Bytes) {
            return Ok(Self { checker: None, format: Format::Other(Arc::new(Whole { id, mapping })) });
        }
        // The text of the registry itself, unless it needs others to be understood.
        let schema_json = if registered.references.is_empty() { registered.text.clone() } else { schema.to_json().to_string() };
        let checker = Arc::new(Checker::new(&schema));
        let decode = Box::new(Decoder { id, checker: checker.clone(), mapping });
        let format = Format::Avro(Arc::new(AvroFormat { id, schema_json, header_len: HEADER_LEN, decode }));
        Ok(Self { checker: Some(checker), format })
    }

    /// Checks a framed record of this schema.
    ///
    /// # Errors
    /// `Data` when the body is not what the schema says.
    pub(super) fn payload(&self, bytes: &Bytes) -> Result<Payload> {
        if let Some(checker) = &self.checker {
            checker.check(&bytes[HEADER_LEN..]).map_err(|why| why.into_error(HEADER_LEN))?;
        }
        Ok(Payload::encoded(bytes.clone(), self.format.clone()))
    }
}

/// Reads framed records.
struct Decoder {
    id: u32,
    checker: Arc<Checker>,
    mapping: Result<Mapping, Unmapped>,
}

impl Decode for Decoder {
    fn decode(&self, bytes: &Bytes) -> Result<SchemaAndValue> {
        let mapping = self.mapping.as_ref().map_err(|why| why.to_error(self.id))?;
        let value = mapping.reader.read(&bytes.slice(HEADER_LEN..)).map_err(|why| why.into_error(HEADER_LEN))?;
        Ok(SchemaAndValue { schema: mapping.schema.clone(), value })
    }

    fn check(&self, bytes: &Bytes) -> Result<()> {
        let body = bytes.get(HEADER_LEN..).unwrap_or_default();
        self.checker.check(body).map_err(|why| why.into_error(HEADER_LEN))
    }
}

/// Confluent's serializer writes a value that is nothing but bytes as it is, without its length.
struct Whole {
    id: u32,
    mapping: Result<Mapping, Unmapped>,
}

impl Decode for Whole {
    fn decode(&self, bytes: &Bytes) -> Result<SchemaAndValue> {
        let mapping = self.mapping.as_ref().map_err(|why| why.to_error(self.id))?;
        let value = mapping.reader.whole(&bytes.slice(HEADER_LEN..));
        Ok(SchemaAndValue { schema: mapping.schema.clone(), value })
    }
}
