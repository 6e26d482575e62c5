//! Sets fields of decoded values: a value with a schema keeps it, and new fields extend it.

use std::collections::HashMap;
use std::sync::Arc;

use penstock_api::bigdecimal::{BigDecimal, FromPrimitive, RoundingMode};
use penstock_api::schema::logical;
use penstock_api::{Field, Kind, Map, Payload, Schema, SchemaAndValue, SchemaRef, Struct, Value, json};

use super::columns::{Values, is_present, is_set};
use super::path::Path;

/// Schemas with fields added, so that all records of one schema share the extended one, too.
#[derive(Default)]
pub(crate) struct SchemaExtensions {
    /// By the old schema's address, which is kept from reuse by the reference beside the new one.
    known: HashMap<(usize, Extension), (SchemaRef, SchemaRef)>,
    /// Schemas that JSON has shown, each once, so that their addresses can stand for them.
    shown: Vec<SchemaRef>,
}

/// How a struct's schema was changed.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Extension {
    /// A field was added.
    Added(String, FieldType),
    /// A field's own schema was extended to that at the address.
    Inner(usize, usize),
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum FieldType {
    Text,
    S64,
    F64,
    Bool,
    /// As JSON has shown: the schema at this address.
    Shown(usize),
}

/// Distinct extensions are few; a guest that makes ever new names must not fill the memory.
const EXTENSIONS_MAX: usize = 1024;
const SHOWN_MAX: usize = 256;

impl SchemaExtensions {
    /// The one shared schema that equals this.
    fn share(&mut self, schema: SchemaRef) -> SchemaRef {
        if let Some(shared) = self.shown.iter().find(|shared| **shared == schema) {
            return shared.clone();
        }
        if self.shown.len() >= SHOWN_MAX {
            self.shown.clear();
            self.known.clear();
        }
        self.shown.push(schema.clone());
        schema
    }

    fn get_or_make(&mut self, old: &SchemaRef, extension: Extension, make: impl FnOnce(&mut Vec<Field>)) -> SchemaRef {
        let key = (Arc::as_ptr(old) as usize, extension);
        if let Some((_, new)) = self.known.get(&key) {
            return new.clone();
        }
        if self.known.len() >= EXTENSIONS_MAX {
            self.known.clear();
        }
        let mut schema = Schema::clone(old);
        // A default of the old shape would not fit the new one.
        schema.default = None;
        make(&mut schema.fields);
        let new = Arc::new(schema);
        self.known.insert(key, (old.clone(), new.clone()));
        new
    }
}

/// Sets the field at the path to the `at`th value.
pub(super) fn set(
    payload: &mut Payload,
    path: &Path,
    values: &Values,
    at: usize,
    known: &mut SchemaExtensions,
) -> Result<(), String> {
    let decoded = payload.decode_mut().map_err(|e| format!("{e:#}"))?;
    let extended = set_in(&mut decoded.value, decoded.schema.as_ref(), path.steps(), values, at, known)?;
    if extended.is_some() {
        decoded.schema = extended;
    }
    Ok(())
}

/// Puts a JSON value in the place of one with a schema.
pub(super) fn replace(schema: &SchemaRef, text: &[u8], known: &mut SchemaExtensions) -> Result<SchemaAndValue, String> {
    let value = json::parse(text).map_err(|e| e.to_string())?;
    let (value, schema) = conform(value, schema, known)?;
    Ok(SchemaAndValue::new(schema, value))
}

/// Answers the value's schema when it had to be extended.
fn set_in(
    value: &mut Value,
    schema: Option<&SchemaRef>,
    steps: &[String],
    values: &Values,
    at: usize,
    known: &mut SchemaExtensions,
) -> Result<Option<SchemaRef>, String> {
    let Some((name, rest)) = steps.split_first() else {
        return match schema {
            Some(schema) => {
                let (new, extended) = fit(values, at, schema, known)?;
                *value = new;
                Ok((!Arc::ptr_eq(&extended, schema)).then_some(extended))
            }
            None => {
                *value = schemaless(values, at)?;
                Ok(None)
            }
        };
    };
    match value {
        Value::Struct(record) => set_in_struct(record, name, rest, values, at, known),
        Value::Map(map) => {
            let inner = schema.and_then(|schema| schema.value.as_ref());
            if rest.is_empty() && map.get(name).is_none() {
                map.insert(name.as_str(), Value::Null);
            }
            let field = map.get_mut(name).ok_or_else(|| not_there(name, rest))?;
            match set_in(field, inner, rest, values, at, known)? {
                Some(_) => Err(format!("cannot extend the schema of map entry {name}: other entries share it")),
                None => Ok(None),
            }
        }
        _ => Err(format!("cannot set field {name}: there is no object around it")),
    }
}

fn set_in_struct(
    record: &mut Struct,
    name: &str,
    rest: &[String],
    values: &Values,
    at: usize,
    known: &mut SchemaExtensions,
) -> Result<Option<SchemaRef>, String> {
    let schema = record.schema().clone();
    if let Some((index, field)) = schema.field(name) {
        let inner = set_in(&mut record.values_mut()[index], Some(&field.schema), rest, values, at, known)
            .map_err(|why| format!("{name}: {why}"))?;
        let Some(inner) = inner else { return Ok(None) };
        let extension = Extension::Inner(index, Arc::as_ptr(&inner) as usize);
        let extended = known.get_or_make(&schema, extension, |fields| fields[index].schema = inner);
        *record = Struct::from_values(extended.clone(), taken(record));
        return Ok(Some(extended));
    }
    if !rest.is_empty() {
        return Err(not_there(name, rest));
    }
    let (value, field_type, field_schema) = new_field(values, at, known)?;
    let extended = known.get_or_make(&schema, Extension::Added(name.to_owned(), field_type), |fields| {
        fields.push(Field { name: name.to_owned(), schema: field_schema });
    });
    let mut all = taken(record);
    all.push(value);
    *record = Struct::from_values(extended.clone(), all);
    Ok(Some(extended))
}

fn taken(record: &mut Struct) -> Vec<Value> {
    let mut values = Vec::with_capacity(record.values().len() + 1);
    values.extend(record.values_mut().iter_mut().map(std::mem::take));
    values
}

fn not_there(name: &str, rest: &[String]) -> String {
    let field = rest.last().map_or(name, String::as_str);
    format!("cannot add field {field}: {name} is not there")
}

/// A column's value without a schema.
fn schemaless(values: &Values, at: usize) -> Result<Value, String> {
    Ok(match values {
        Values::Text(blobs) => blobs.get_ref(at).map_or(Value::Null, text_value),
        Values::S64(column) if is_present(&column.present, at) => Value::Int64(column.values[at]),
        Values::F64(column) if is_present(&column.present, at) => Value::Float64(column.values[at]),
        Values::Bool(column) if is_present(&column.present, at) => Value::Boolean(is_set(&column.values, at)),
        Values::Json(blobs) => match blobs.get_ref(at) {
            Some(text) => json::parse(text).map_err(|e| e.to_string())?,
            None => Value::Null,
        },
        Values::S64(_) | Values::F64(_) | Values::Bool(_) => Value::Null,
    })
}

fn text_value(text: &[u8]) -> Value {
    Value::string(std::str::from_utf8(text).expect("text columns are checked"))
}

/// A column's value for a field that the schema does not have yet, and the field's schema.
fn new_field(values: &Values, at: usize, known: &mut SchemaExtensions) -> Result<(Value, FieldType, SchemaRef), String> {
    let value = schemaless(values, at)?;
    let (field_type, kind) = match values {
        Values::Text(_) => (FieldType::Text, Kind::String),
        Values::S64(_) => (FieldType::S64, Kind::Int64),
        Values::F64(_) => (FieldType::F64, Kind::Float64),
        Values::Bool(_) => (FieldType::Bool, Kind::Boolean),
        Values::Json(_) => {
            let (value, shown) = infer(value)?;
            let shown = known.share(shown);
            return Ok((value, FieldType::Shown(Arc::as_ptr(&shown) as usize), shown));
        }
    };
    Ok((value, field_type, Arc::new(Schema::new(kind).optional())))
}

/// The schema that JSON shows: optional throughout.
fn infer(value: Value) -> Result<(Value, SchemaRef), String> {
    let of_kind = |kind| Arc::new(Schema::new(kind).optional());
    Ok(match value {
        Value::Null => (Value::Null, of_kind(Kind::String)),
        Value::Array(items) => {
            let mut element: Option<SchemaRef> = None;
            let mut conformed = Vec::with_capacity(items.len());
            for item in items {
                let (item, shown) = infer(item)?;
                if element.as_ref().is_some_and(|element| **element != *shown) {
                    return Err("the elements of a new array are of different types".to_owned());
                }
                element.get_or_insert(shown);
                conformed.push(item);
            }
            let element = element.unwrap_or_else(|| of_kind(Kind::String));
            let conformed = conformed.into_iter().map(|item| adopt(item, &element)).collect();
            (Value::Array(conformed), Arc::new(Schema::array(element).optional()))
        }
        Value::Map(map) => {
            let mut fields = Vec::with_capacity(map.len());
            let mut values = Vec::with_capacity(map.len());
            for (key, value) in map.into_entries() {
                let (value, shown) = infer(value)?;
                fields.push((key.as_str().unwrap_or_default().to_owned(), shown));
                values.push(value);
            }
            let schema: SchemaRef = Arc::new(Schema::record(fields).optional());
            (Value::Struct(Struct::from_values(schema.clone(), values)), schema)
        }
        Value::Decimal(decimal) => {
            let scale = decimal.fractional_digit_count();
            (Value::Decimal(decimal), Arc::new(Schema::decimal(scale as i32).optional()))
        }
        value => {
            let kind = value.kind().unwrap_or(Kind::String);
            (value, of_kind(kind))
        }
    })
}

/// Lets equal structs share one schema.
fn adopt(value: Value, schema: &SchemaRef) -> Value {
    match value {
        Value::Struct(record) => Value::Struct(Struct::from_values(schema.clone(), record.into_values())),
        value => value,
    }
}

/// A column's value under a schema, which is answered extended where JSON shows more.
fn fit(values: &Values, at: usize, schema: &SchemaRef, known: &mut SchemaExtensions) -> Result<(Value, SchemaRef), String> {
    conform(schemaless(values, at)?, schema, known)
}

/// Puts a schemaless value under a schema, which is answered extended where the value has more fields.
fn conform(value: Value, schema: &SchemaRef, known: &mut SchemaExtensions) -> Result<(Value, SchemaRef), String> {
    let same = |value: Value| Ok((value, schema.clone()));
    if value.is_null() {
        return if value.fits(schema) { same(Value::Null) } else { Err("null is not allowed".to_owned()) };
    }
    if let Some(value) = conform_logical(&value, schema)? {
        return same(value);
    }
    match (schema.kind, value) {
        (Kind::Boolean, value @ Value::Boolean(_)) | (Kind::String, value @ Value::String(_)) => same(value),
        (Kind::Int8, Value::Int64(n)) => same(Value::Int8(in_range(n, schema)?)),
        (Kind::Int16, Value::Int64(n)) => same(Value::Int16(in_range(n, schema)?)),
        (Kind::Int32, Value::Int64(n)) => same(Value::Int32(in_range(n, schema)?)),
        (Kind::Int64, value @ Value::Int64(_)) => same(value),
        (Kind::Float64, value @ Value::Float64(_)) => same(value),
        (Kind::Float64, Value::Int64(n)) => same(Value::Float64(n as f64)),
        (Kind::Float32, Value::Float64(x)) => same(Value::Float32(x as f32)),
        (Kind::Float32, Value::Int64(n)) => same(Value::Float32(n as f32)),
        (Kind::Bytes, Value::String(text)) => same(Value::Bytes(from_base64(&text)?)),
        (Kind::Array, Value::Array(items)) => conform_array(items, schema, known),
        (Kind::Map, Value::Map(map)) => conform_map(map, schema, known),
        (Kind::Struct, Value::Map(map)) => conform_struct(map, schema, known),
        (_, value) => Err(format!("{} does not fit a field of type {}", shown(&value), schema.kind.name())),
    }
}

/// `None` when the schema is of no logical type.
fn conform_logical(value: &Value, schema: &SchemaRef) -> Result<Option<Value>, String> {
    let Some(logical @ (logical::DECIMAL | logical::DATE | logical::TIME | logical::TIMESTAMP)) = schema.name.as_deref() else {
        return Ok(None);
    };
    let wrong = || format!("{} does not fit a field of type {logical}", shown(value));
    Ok(Some(match (logical, value) {
        (logical::DECIMAL, value) => {
            let scale = schema.decimal_scale().ok_or("the field's schema has no scale")?;
            let decimal = match value {
                Value::Int64(n) => BigDecimal::from(*n),
                // By its shortest digits, so that 19.99 stays 19.99.
                Value::Float64(x) if x.is_finite() => x.to_string().parse().map_err(|_| wrong())?,
                Value::Float32(x) => BigDecimal::from_f32(*x).ok_or_else(wrong)?,
                Value::Decimal(decimal) => BigDecimal::clone(decimal),
                _ => return Err(wrong()),
            };
            Value::Decimal(Box::new(decimal.with_scale_round(scale.into(), RoundingMode::HalfUp)))
        }
        (logical::TIMESTAMP, Value::Int64(n)) => Value::Timestamp(*n),
        (logical::DATE, Value::Int64(n)) => Value::Date(in_range(*n, schema)?),
        (logical::TIME, Value::Int64(n)) => Value::Time(in_range(*n, schema)?),
        _ => return Err(wrong()),
    }))
}

fn conform_array(items: Vec<Value>, schema: &SchemaRef, known: &mut SchemaExtensions) -> Result<(Value, SchemaRef), String> {
    let element = schema.value.as_ref().ok_or("the field's schema has no element type")?;
    let mut conformed = Vec::with_capacity(items.len());
    for item in items {
        let (item, extended) = conform(item, element, known)?;
        if !Arc::ptr_eq(&extended, element) {
            return Err("cannot add fields to the elements of an array".to_owned());
        }
        conformed.push(item);
    }
    Ok((Value::Array(conformed), schema.clone()))
}

fn conform_map(map: Map, schema: &SchemaRef, known: &mut SchemaExtensions) -> Result<(Value, SchemaRef), String> {
    let inner = schema.value.as_ref().ok_or("the field's schema has no value type")?;
    if schema.key.as_ref().is_some_and(|key| key.kind != Kind::String) {
        return Err("JSON cannot name the keys of this map: they are no strings".to_owned());
    }
    let mut conformed = Vec::with_capacity(map.len());
    for (key, value) in map.into_entries() {
        let (value, extended) = conform(value, inner, known)?;
        if !Arc::ptr_eq(&extended, inner) {
            return Err("cannot add fields to the entries of a map".to_owned());
        }
        conformed.push((key, value));
    }
    Ok((Value::Map(Map::from_unique(conformed)), schema.clone()))
}

fn conform_struct(mut map: Map, schema: &SchemaRef, known: &mut SchemaExtensions) -> Result<(Value, SchemaRef), String> {
    let mut values = Vec::with_capacity(schema.fields.len());
    let mut extended = schema.clone();
    for (index, field) in schema.fields.iter().enumerate() {
        let given = map.remove(&field.name);
        let missing_has_default = given.is_none() && field.schema.default.is_some();
        let value = if missing_has_default { field.schema.default.clone() } else { None };
        let (value, inner) = match value {
            Some(default) => (default, field.schema.clone()),
            None => conform(given.unwrap_or_default(), &field.schema, known).map_err(|why| format!("{}: {why}", field.name))?,
        };
        if !Arc::ptr_eq(&inner, &field.schema) {
            let extension = Extension::Inner(index, Arc::as_ptr(&inner) as usize);
            extended = known.get_or_make(&extended, extension, |fields| fields[index].schema = inner);
        }
        values.push(value);
    }
    for (name, value) in map.into_entries() {
        let name = name.as_str().unwrap_or_default().to_owned();
        let (value, shown) = infer(value).map_err(|why| format!("{name}: {why}"))?;
        let shown = known.share(shown);
        let field_type = FieldType::Shown(Arc::as_ptr(&shown) as usize);
        extended = known.get_or_make(&extended, Extension::Added(name.clone(), field_type), |fields| {
            fields.push(Field { name, schema: shown });
        });
        values.push(value);
    }
    Ok((Value::Struct(Struct::from_values(extended.clone(), values)), extended))
}

fn in_range<N: TryFrom<i64>>(n: i64, schema: &Schema) -> Result<N, String> {
    N::try_from(n).map_err(|_| format!("{n} is out of range for a field of type {}", schema.kind.name()))
}

fn from_base64(text: &str) -> Result<bytes::Bytes, String> {
    use base64::Engine;
    let decoded = base64::engine::general_purpose::STANDARD.decode(text);
    decoded.map(Into::into).map_err(|e| format!("text is no base64 for a field of type BYTES: {e}"))
}

/// A value for messages, without its data.
fn shown(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Boolean(_) => "a truth value",
        Value::Int64(_) => "an integer",
        Value::Float64(_) | Value::Decimal(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "an array",
        _ => "an object",
    }
}

#[cfg(test)]
mod tests {
    use penstock_api::schema;

    use super::super::columns::Blobs;
    use super::*;
    use crate::contract::batches::{BoolColumn, BytesColumn, F64Column, S64Column};

    fn text(value: &str) -> Values {
        let column = BytesColumn { data: value.as_bytes().to_vec(), ends: vec![value.len() as u32], present: vec![] };
        Values::Text(Blobs::text(column, 1).unwrap())
    }

    fn json_column(value: &str) -> Values {
        let Values::Text(blobs) = text(value) else { unreachable!() };
        Values::Json(blobs)
    }

    fn s64(n: i64) -> Values {
        Values::S64(S64Column { values: vec![n], present: vec![] })
    }

    fn f64(x: f64) -> Values {
        Values::F64(F64Column { values: vec![x], present: vec![] })
    }

    fn null() -> Values {
        Values::Bool(BoolColumn { values: vec![0], present: vec![0] })
    }

    fn order() -> Payload {
        let customer =
            Arc::new(Schema::record([("email", schema::OPTIONAL_STRING.clone()), ("age", Arc::new(Schema::new(Kind::Int8)))]));
        let schema = Arc::new(Schema::record([
            ("customer", customer.clone()),
            ("price", Arc::new(Schema::decimal(2).optional())),
            ("at", schema::OPTIONAL_TIMESTAMP.clone()),
        ]));
        let customer = Struct::from_values(customer, vec![Value::string("a@b"), Value::Int8(7)]);
        let values = vec![Value::Struct(customer), Value::Null, Value::Null];
        Payload::decoded(SchemaAndValue::new(schema.clone(), Value::Struct(Struct::from_values(schema, values))))
    }

    /// What is at the path after setting it, or why it could not be set.
    fn check(path: &str, values: &Values, expected: &str) {
        let mut payload = order();
        let path = Path::parse(path).unwrap();
        let outcome = match set(&mut payload, &path, values, 0, &mut SchemaExtensions::default()) {
            Ok(()) => {
                let decoded = payload.peek().unwrap();
                assert_consistent(&decoded.value, decoded.schema.as_ref().unwrap());
                format!("{:?}", path.get(&decoded.value).unwrap())
            }
            Err(why) => why,
        };
        assert_eq!(outcome, expected, "{}", path.as_str());
    }

    fn assert_consistent(value: &Value, schema: &SchemaRef) {
        assert!(value.fits(schema), "{value:?} {schema:?}");
        if let Value::Struct(record) = value {
            assert!(Arc::ptr_eq(record.schema(), schema) || **record.schema() == **schema);
            for (field, value) in schema.fields.iter().zip(record.values()) {
                assert_consistent(value, &field.schema);
            }
        }
    }

    #[test]
    fn what_fits_is_set_under_the_fields_schema() {
        check("customer.email", &text("***"), r#"String("***")"#);
        check("customer.email", &null(), "Null");
        check("customer.age", &s64(8), "Int8(8)");
        check("at", &s64(5), "Timestamp(5)");
        let decimal = |digits: &str| format!("{:?}", Value::Decimal(Box::new(digits.parse().unwrap())));
        check("price", &f64(19.99), &decimal("19.99"));
        check("price", &f64(0.125), &decimal("0.13"));
        check("price", &s64(3), &decimal("3.00"));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        check("customer.email", &s64(1), "customer: email: an integer does not fit a field of type STRING");
        check("customer.age", &s64(300), "customer: age: 300 is out of range for a field of type INT8");
        check("customer.age", &null(), "customer: age: null is not allowed");
        check("nobody.age", &s64(1), "cannot add field age: nobody is not there");
        check("at.x", &s64(1), "at: cannot set field x: there is no object around it");
    }

    #[test]
    fn new_fields_extend_the_schema_once() {
        check("total", &f64(1.5), "Float64(1.5)");
        check("customer.flag", &s64(1), "Int64(1)");
        check("tags", &json_column(r#"["a","b"]"#), r#"Array([String("a"), String("b")])"#);

        let mut known = SchemaExtensions::default();
        let first = order();
        let (mut a, mut b) = (first.clone(), first);
        let path = Path::parse("customer.flag").unwrap();
        set(&mut a, &path, &s64(1), 0, &mut known).unwrap();
        set(&mut b, &path, &s64(2), 0, &mut known).unwrap();
        let schema_of = |payload: &Payload| payload.peek().unwrap().schema.clone().unwrap();
        assert!(Arc::ptr_eq(&schema_of(&a), &schema_of(&b)));
    }

    #[test]
    fn json_in_the_place_of_a_struct_keeps_its_schema() {
        let schema = order().peek().unwrap().schema.clone().unwrap();
        let mut known = SchemaExtensions::default();
        let replaced = replace(&schema, br#"{"customer":{"email":"x","age":1},"at":9,"note":"new"}"#, &mut known).unwrap();
        assert_consistent(&replaced.value, replaced.schema.as_ref().unwrap());
        let Value::Struct(record) = &replaced.value else { panic!("a struct") };
        assert_eq!((record.get("price"), record.get("at")), (Some(&Value::Null), Some(&Value::Timestamp(9))));
        assert_eq!(record.get("note"), Some(&Value::string("new")));
        assert_eq!(replace(&schema, b"{}", &mut known).unwrap_err(), "customer: null is not allowed");
        assert!(replace(&schema, b"{", &mut known).unwrap_err().starts_with("not valid JSON"));
    }
}
