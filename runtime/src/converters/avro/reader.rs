//! A schema compiled for reading: from Avro binary straight into Connect values, without a value tree in between.

use bytes::Bytes;
use compact_str::CompactString;
use penstock_api::bigdecimal::num_bigint::BigInt;
use penstock_api::{BigDecimal, Map, SchemaRef, Struct, Value};

use super::cursor::{Cursor, DEPTH_MAX, Read};

/// Room is made for so many items at once; longer lists grow as they are read.
const ITEMS_AT_ONCE_MAX: usize = 256;

/// How to read one value.
#[derive(Debug)]
pub(super) enum Reader {
    Boolean,
    Int8,
    Int16,
    Int32,
    Int64,
    Float32,
    Float64,
    Date,
    Time,
    Timestamp,
    String,
    Bytes,
    Decimal {
        scale: i64,
    },
    Fixed(usize),
    FixedDecimal {
        size: usize,
        scale: i64,
    },
    Enum(Box<[CompactString]>),
    Array {
        item: Box<Reader>,
        item_bytes_min: usize,
    },
    Map(Box<Reader>),
    /// A map as a list of its entries, for keys that are not strings.
    Entries {
        key: Box<Reader>,
        value: Box<Reader>,
        key_first: bool,
        entry_bytes_min: usize,
    },
    Struct {
        schema: SchemaRef,
        fields: Box<[Reader]>,
    },
    /// A union of null and one other.
    Nullable {
        null: usize,
        value: Box<Reader>,
    },
    /// Any other union: a struct with one field set; a branch without reader is null.
    Union {
        schema: SchemaRef,
        branches: Box<[Option<(usize, Reader)>]>,
    },
    /// AvroData's record for values without schema.
    Anything,
}

impl Reader {
    /// Reads a value. Byte fields share the body's memory.
    pub(super) fn read(&self, body: &Bytes) -> Read<Value> {
        self.value(body, &mut Cursor::new(body), 0)
    }

    /// The value of bytes that stand without their length.
    pub(super) fn whole(&self, body: &Bytes) -> Value {
        match self {
            Reader::Decimal { scale } => decimal(body, *scale),
            _ => Value::Bytes(body.clone()),
        }
    }

    fn value(&self, body: &Bytes, cursor: &mut Cursor<'_>, depth: u32) -> Read<Value> {
        Ok(match self {
            // Any other byte is false to Java.
            Reader::Boolean => Value::Boolean(cursor.byte()? == 1),
            Reader::Int8 => Value::Int8(cursor.int()? as i8),
            Reader::Int16 => Value::Int16(cursor.int()? as i16),
            Reader::Int32 => Value::Int32(cursor.int()?),
            Reader::Int64 => Value::Int64(cursor.long()?),
            Reader::Float32 => Value::Float32(f32::from_le_bytes(array(cursor.take(4)?))),
            Reader::Float64 => Value::Float64(f64::from_le_bytes(array(cursor.take(8)?))),
            Reader::Date => Value::Date(cursor.int()?),
            Reader::Time => Value::Time(cursor.int()?),
            Reader::Timestamp => Value::Timestamp(cursor.long()?),
            Reader::String => Value::String(CompactString::from_utf8_lossy(cursor.sized()?)),
            Reader::Bytes => Value::Bytes(body.slice_ref(cursor.sized()?)),
            Reader::Decimal { scale } => decimal(cursor.sized()?, *scale),
            Reader::Fixed(size) => Value::Bytes(body.slice_ref(cursor.take(*size)?)),
            Reader::FixedDecimal { size, scale } => decimal(cursor.take(*size)?, *scale),
            Reader::Enum(symbols) => {
                Value::String(symbols[cursor.index(symbols.len(), "an enum symbol that does not exist")?].clone())
            }
            Reader::Nullable { null, value } => {
                if cursor.index(2, "a union branch that does not exist")? == *null {
                    Value::Null
                } else {
                    value.value(body, cursor, depth)?
                }
            }
            Reader::Struct { schema, fields } => {
                let mut values = Vec::with_capacity(fields.len());
                for field in fields {
                    values.push(field.value(body, cursor, depth)?);
                }
                Value::Struct(Struct::from_values(schema.clone(), values))
            }
            Reader::Union { schema, branches } => {
                let branch = cursor.index(branches.len(), "a union branch that does not exist")?;
                match &branches[branch] {
                    None => Value::Null,
                    Some((field, reader)) => {
                        let mut one = Struct::new(schema.clone());
                        one.values_mut()[*field] = reader.value(body, cursor, depth)?;
                        Value::Struct(one)
                    }
                }
            }
            Reader::Array { item, item_bytes_min } => {
                Value::Array(list(cursor, *item_bytes_min, |cursor| item.value(body, cursor, depth))?)
            }
            Reader::Map(value) => {
                let entries = list(cursor, 1, |cursor| {
                    let key = Value::String(CompactString::from_utf8_lossy(cursor.sized()?));
                    Ok((key, value.value(body, cursor, depth)?))
                })?;
                Value::Map(Map::from_entries(entries))
            }
            Reader::Entries { key, value, key_first, entry_bytes_min } => {
                let entries = list(cursor, *entry_bytes_min, |cursor| {
                    if *key_first {
                        Ok((key.value(body, cursor, depth)?, value.value(body, cursor, depth)?))
                    } else {
                        let value = value.value(body, cursor, depth)?;
                        Ok((key.value(body, cursor, depth)?, value))
                    }
                })?;
                Value::Map(Map::from_entries(entries))
            }
            Reader::Anything => anything(body, cursor, depth)?,
        })
    }
}

/// Reads blocks until the empty one.
fn list<T>(cursor: &mut Cursor<'_>, item_bytes_min: usize, mut item: impl FnMut(&mut Cursor<'_>) -> Read<T>) -> Read<Vec<T>> {
    let mut items = Vec::new();
    loop {
        let count = cursor.block(item_bytes_min)?;
        if count == 0 {
            return Ok(items);
        }
        items.reserve(count.min(ITEMS_AT_ONCE_MAX));
        for _ in 0..count {
            items.push(item(cursor)?);
        }
    }
}

fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.try_into().expect("taken with this length")
}

/// A decimal from its unscaled number, big-endian.
pub(super) fn decimal(unscaled: &[u8], scale: i64) -> Value {
    let unscaled = match unscaled.len() {
        // Eight bytes hold what most amounts of money need; sign-extended they are a number without any allocation.
        1..=8 => {
            let sign = if unscaled[0] & 0x80 == 0 { 0 } else { 0xff };
            let mut bytes = [sign; 8];
            bytes[8 - unscaled.len()..].copy_from_slice(unscaled);
            BigInt::from(i64::from_be_bytes(bytes))
        }
        _ => BigInt::from_signed_bytes_be(unscaled),
    };
    Value::Decimal(Box::new(BigDecimal::new(unscaled, scale)))
}

/// Reads the record `Anything`: nine nullable fields, of which the first that is set counts.
fn anything(body: &Bytes, cursor: &mut Cursor<'_>, depth: u32) -> Read<Value> {
    if depth >= DEPTH_MAX {
        return cursor.fail("values nest too deep");
    }
    let mut found = Value::Null;
    for field in 0..9 {
        if cursor.index(2, "a union branch that does not exist")? == 0 {
            continue;
        }
        let value = match field {
            0 => Reader::Boolean.value(body, cursor, depth)?,
            1 => Reader::Bytes.value(body, cursor, depth)?,
            2 => Reader::Float64.value(body, cursor, depth)?,
            3 => Reader::Float32.value(body, cursor, depth)?,
            4 => Reader::Int32.value(body, cursor, depth)?,
            5 => Reader::Int64.value(body, cursor, depth)?,
            6 => Reader::String.value(body, cursor, depth)?,
            7 => Value::Array(list(cursor, 9, |cursor| anything(body, cursor, depth + 1))?),
            _ => Value::Map(Map::from_entries(list(cursor, 18, |cursor| {
                Ok((anything(body, cursor, depth + 1)?, anything(body, cursor, depth + 1)?))
            })?)),
        };
        if found.is_null() {
            found = value;
        }
    }
    Ok(found)
}
