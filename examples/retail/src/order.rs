//! Orders: their fields, and how they are written as JSON and as Avro.

use anyhow::{Context, Result};
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::writer::datum::GenericDatumWriter;
use serde::{Deserialize, Serialize};

/// The schema of orders, as it is registered.
pub const AVRO_SCHEMA: &str = include_str!("../schemas/order.avsc");

/// Something was bought.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Order {
    pub event_id: String,
    pub order_id: String,
    pub customer: Customer,
    pub items: Vec<Item>,
    pub currency: String,
    pub payment: String,
    /// Traffic of the shop's own tests, which must not reach the warehouse.
    pub test: bool,
    /// Milliseconds since 1970-01-01T00:00Z.
    pub ordered_at: i64,
}

/// Who bought it.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Customer {
    pub id: String,
    pub email: String,
    pub country: String,
}

/// A line of an order.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Item {
    pub sku: String,
    pub quantity: i32,
    pub unit_price: f64,
}

impl Order {
    /// The order as JSON: some 320 bytes on average.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("an order has a JSON form")
    }
}

/// Writes and reads orders as Avro in Confluent's framing: a zero, the schema's id in four bytes, the record.
pub struct OrderAvro {
    schema: apache_avro::Schema,
    id: u32,
}

const HEADER_LEN: usize = 5;

impl OrderAvro {
    /// For the schema's id in the registry.
    ///
    /// # Errors
    /// When the schema cannot be read.
    pub fn new(id: u32) -> Result<Self> {
        let schema = apache_avro::Schema::parse_str(AVRO_SCHEMA).context("read schemas/order.avsc")?;
        Ok(Self { schema, id })
    }

    /// Writes an order.
    ///
    /// # Errors
    /// When the order does not fit the schema.
    pub fn write(&self, order: &Order) -> Result<Vec<u8>> {
        let mut out = vec![0];
        out.extend(self.id.to_be_bytes());
        GenericDatumWriter::builder(&self.schema).build()?.write_ser(&mut out, order)?;
        Ok(out)
    }

    /// Reads an order.
    ///
    /// # Errors
    /// When it is not framed, or not of this schema.
    pub fn read(&self, bytes: &[u8]) -> Result<Order> {
        let mut body = bytes.get(HEADER_LEN..).context("read the framing")?;
        Ok(GenericDatumReader::builder(&self.schema).build()?.read_deser(&mut body)?)
    }
}
