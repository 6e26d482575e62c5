//! From an Avro schema to Connect's schema and the reader of its values, as AvroData maps them.

use std::sync::Arc;

use penstock_api::schema::logical;
use penstock_api::{Error, Field, Kind, Map, Result, Schema, SchemaRef, Struct, Value};
use serde_json::Value as Json;

use super::check::bytes_min;
use super::names;
use super::reader::{self, Reader};
use super::schema::{AvroField, AvroSchema, Node, NodeId, NodeKind};

/// What of AvroData's behaviour users can choose.
#[derive(Clone, Copy, Debug)]
pub(super) struct Options {
    /// `enhanced.avro.schema.support`: union fields by full names, enums written back as enums.
    pub(super) enhanced: bool,
    /// `connect.meta.data`: docs, versions, parameters, defaults as properties.
    pub(super) meta_data: bool,
}

/// What a schema's records become.
#[derive(Debug)]
pub(super) struct Mapping {
    /// `None` for values without schema.
    pub(super) schema: Option<SchemaRef>,
    pub(super) reader: Reader,
}

/// Why a schema has no mapping.
#[derive(Debug)]
pub(super) enum Unmapped {
    /// AvroData refuses it too.
    Refused(String),
    /// Connect's Java classes can refer to themselves; ours cannot.
    Recursive(String),
}

impl Unmapped {
    pub(super) fn to_error(&self, id: u32) -> Error {
        match self {
            Unmapped::Refused(why) => Error::data(format!("schema {id} has no form in Connect: {why}")),
            Unmapped::Recursive(name) => Error::data(format!(
                "schema {id} has record {name} inside itself, which cannot be decoded here; only sinks and transforms that \
                 take Avro bytes as they are can handle it"
            )),
        }
    }
}

impl Mapping {
    pub(super) fn new(avro: &AvroSchema, version: Option<i32>, options: Options) -> Result<Self, Unmapped> {
        if is_anything(avro, avro.root()) {
            return Ok(Self { schema: None, reader: Reader::Anything });
        }
        let mut builder = Builder { avro, options, inside: Vec::new(), bytes_min: bytes_min(avro) };
        let (schema, reader) = builder.build(avro.root(), Place { version, ..Place::default() })?;
        Ok(Self { schema: Some(schema), reader })
    }
}

/// Where a schema stands, as far as that changes it.
#[derive(Clone, Copy, Default)]
struct Place<'j> {
    optional: bool,
    /// The field's default; `Some(null)` is one too.
    default: Option<&'j Json>,
    /// The registry's version, for the outermost schema.
    version: Option<i32>,
}

struct Builder<'a> {
    avro: &'a AvroSchema,
    options: Options,
    /// The records we are inside of.
    inside: Vec<NodeId>,
    bytes_min: Vec<usize>,
}

type Built<T> = Result<T, Unmapped>;

fn refuse<T>(why: impl Into<String>) -> Built<T> {
    Err(Unmapped::Refused(why.into()))
}

impl Builder<'_> {
    fn build(&mut self, id: NodeId, place: Place<'_>) -> Built<(SchemaRef, Reader)> {
        if let Some((null, other)) = self.nullable(id) {
            // As in Java the default of a nullable field is lost: null in nearly all schemas, and null counts as no default.
            let (schema, value) = self.build(other, Place { optional: true, default: None, version: place.version })?;
            return Ok((schema, Reader::Nullable { null, value: Box::new(value) }));
        }
        let node = self.avro.node(id);
        let (mut schema, shape) = self.bare(id, node)?;
        self.annotate(&mut schema, node, place)?;
        if place.optional {
            schema.optional = true;
        }
        let reader = reader_of(&mut schema, shape)?;
        if let Some(default) = self.default_of(&mut schema, node, place)? {
            schema.default = default_value(self.avro, id, &schema, &default).map_err(Unmapped::Refused)?;
        }
        let schema = Arc::new(schema);
        Ok((schema.clone(), reader.finish(&schema)))
    }

    /// For a union of null and one other: where null stands, and the other.
    fn nullable(&self, id: NodeId) -> Option<(usize, NodeId)> {
        let NodeKind::Union(branches) = &self.avro.node(id).kind else { return None };
        let is_null = |b: &NodeId| matches!(self.avro.node(*b).kind, NodeKind::Null);
        match branches.as_slice() {
            [null, other] if is_null(null) && !is_null(other) => Some((0, *other)),
            [other, null] if is_null(null) && !is_null(other) => Some((1, *other)),
            _ => None,
        }
    }

    /// The schema without properties, and what is needed for its reader.
    fn bare(&mut self, id: NodeId, node: &Node) -> Built<(Schema, Shape)> {
        let logical_type = node.text("logicalType").map(str::to_ascii_lowercase);
        let logical_type = logical_type.as_deref();
        let simple = |kind| Ok((Schema::new(kind), Shape::Simple));
        match &node.kind {
            NodeKind::Null => refuse("a null that is not part of a union"),
            NodeKind::Boolean => simple(Kind::Boolean),
            NodeKind::Float => simple(Kind::Float32),
            NodeKind::Double => simple(Kind::Float64),
            NodeKind::String => simple(Kind::String),
            NodeKind::Int => match (logical_type, node.text(names::CONNECT_TYPE)) {
                (Some("date"), _) => Ok((Schema::date(), Shape::Simple)),
                (Some("time-millis"), _) => Ok((Schema::time(), Shape::Simple)),
                (Some(_), _) | (None, None) => simple(Kind::Int32),
                (None, Some("int8")) => simple(Kind::Int8),
                (None, Some("int16")) => simple(Kind::Int16),
                (None, Some(other)) => refuse(format!("connect.type {other} on an int: give int8 or int16")),
            },
            NodeKind::Long if logical_type == Some("timestamp-millis") => Ok((Schema::timestamp(), Shape::Simple)),
            NodeKind::Long => simple(Kind::Int64),
            NodeKind::Bytes => Ok((bytes_schema(node, logical_type)?, Shape::Simple)),
            NodeKind::Fixed { size, .. } => {
                let mut schema = bytes_schema(node, logical_type)?;
                schema.parameters.insert(names::FIXED_SIZE.into(), size.to_string());
                Ok((schema, Shape::Fixed(*size)))
            }
            NodeKind::Enum { name, symbols, default } => {
                let mut schema = Schema::new(Kind::String);
                let parameters = &mut schema.parameters;
                if self.options.meta_data {
                    if let Some(doc) = &node.doc {
                        parameters.insert(format!("{}{}", names::ENUM_DOC_PREFIX, name.simple()), doc.clone());
                    }
                    if let Some(default) = default {
                        parameters.insert(format!("{}{}", names::ENUM_DEFAULT_PREFIX, name.simple()), default.clone());
                    }
                }
                parameters.insert(names::ENUM.into(), name.full().into());
                parameters.extend(symbols.iter().map(|symbol| (format!("{}.{symbol}", names::ENUM), symbol.clone())));
                Ok((schema, Shape::Ready(Reader::Enum(symbols.iter().map(Into::into).collect()))))
            }
            NodeKind::Array(items) => self.array(*items),
            NodeKind::Map(values) => {
                let (value, reader) = self.build(*values, Place::default())?;
                let schema = Schema::map(Schema::new(Kind::String), value);
                Ok((schema, Shape::Ready(Reader::Map(Box::new(reader)))))
            }
            NodeKind::Record { name, fields } => {
                if self.inside.contains(&id) {
                    return Err(Unmapped::Recursive(name.full().into()));
                }
                self.inside.push(id);
                let built = self.record(node, fields);
                self.inside.pop();
                built
            }
            NodeKind::Union(branches) => self.union(branches),
        }
    }

    fn array(&mut self, items: NodeId) -> Built<(Schema, Shape)> {
        let item = self.avro.node(items);
        let item_bytes_min = self.bytes_min[items.index()];
        let NodeKind::Record { name, fields } = &item.kind else { return self.plain_array(items, item_bytes_min) };
        let is_entry = (name.namespace() == names::NAMESPACE && name.simple() == names::MAP_ENTRY)
            || item.text(names::CONNECT_INTERNAL_TYPE) == Some(names::MAP_ENTRY);
        if !is_entry {
            return self.plain_array(items, item_bytes_min);
        }
        let (key, value, key_first) = match fields.as_slice() {
            [key, value] if key.name == "key" && value.name == "value" => (key, value, true),
            [value, key] if key.name == "key" && value.name == "value" => (key, value, false),
            _ => return refuse("a map as a list of entries whose fields are not key and value"),
        };
        let (key_schema, key) = self.build(key.node, Place::default())?;
        let (value_schema, value) = self.build(value.node, Place::default())?;
        let reader = Reader::Entries { key: Box::new(key), value: Box::new(value), key_first, entry_bytes_min: item_bytes_min };
        Ok((Schema::map(key_schema, value_schema), Shape::Ready(reader)))
    }

    fn plain_array(&mut self, items: NodeId, item_bytes_min: usize) -> Built<(Schema, Shape)> {
        let (item, reader) = self.build(items, Place::default())?;
        Ok((Schema::array(item), Shape::Ready(Reader::Array { item: Box::new(reader), item_bytes_min })))
    }

    fn record(&mut self, node: &Node, fields: &[AvroField]) -> Built<(Schema, Shape)> {
        let mut schema = Schema::new(Kind::Struct);
        if let (true, Some(doc)) = (self.options.meta_data, &node.doc) {
            schema.parameters.insert(names::RECORD_DOC.into(), doc.clone());
        }
        let mut readers = Vec::with_capacity(fields.len());
        for field in fields {
            if let (true, Some(doc)) = (self.options.meta_data, &field.doc) {
                schema.parameters.insert(format!("{}{}", names::FIELD_DOC_PREFIX, field.name), doc.clone());
            }
            let place = Place { default: field.default.as_ref(), ..Place::default() };
            let (field_schema, reader) = self.build(field.node, place)?;
            schema.fields.push(Field { name: field.name.clone(), schema: field_schema });
            readers.push(reader);
        }
        Ok((schema, Shape::Struct(readers.into())))
    }

    fn union(&mut self, branches: &[NodeId]) -> Built<(Schema, Shape)> {
        let mut schema = Schema::new(Kind::Struct).named(names::UNION);
        let mut readers = Vec::with_capacity(branches.len());
        for branch in branches {
            if matches!(self.avro.node(*branch).kind, NodeKind::Null) {
                schema.optional = true;
                readers.push(None);
                continue;
            }
            let name = self.union_field(*branch);
            if schema.field(&name).is_some() {
                return refuse(format!(
                    "two types of a union would both be field {name}: set enhanced.avro.schema.support=true to tell them apart"
                ));
            }
            let (field, reader) = self.build(*branch, Place { optional: true, ..Place::default() })?;
            readers.push(Some((schema.fields.len(), reader)));
            schema.fields.push(Field { name, schema: field });
        }
        Ok((schema, Shape::Union(readers.into())))
    }

    /// The field of a union's struct that holds this branch.
    fn union_field(&self, branch: NodeId) -> String {
        match &self.avro.node(branch).kind {
            NodeKind::Record { name, .. } | NodeKind::Enum { name, .. } | NodeKind::Fixed { name, .. } => {
                if self.options.enhanced { name.full().into() } else { name.simple().into() }
            }
            primitive => primitive.avro_name().into(),
        }
    }

    /// Doc, version, parameters and name, from the properties.
    fn annotate(&self, schema: &mut Schema, node: &Node, place: Place<'_>) -> Built<()> {
        if self.options.meta_data {
            schema.doc = node.text(names::CONNECT_DOC).map(str::to_owned);
        }
        let version = match node.props.get(names::CONNECT_VERSION) {
            None => place.version,
            Some(given) => match given.as_i64().and_then(|n| i32::try_from(n).ok()) {
                Some(version) => Some(version),
                None => return refuse(format!("connect.version {given} is no number")),
            },
        };
        // A logical type brings its version along.
        if schema.version.is_none() {
            schema.version = version.filter(|v| *v >= 0);
        }
        match node.props.get(names::CONNECT_PARAMETERS) {
            Some(Json::Object(parameters)) if self.options.meta_data => {
                for (key, value) in parameters {
                    let Some(text) = value.as_str() else {
                        return refuse(format!("connect.parameters {key} is {value}, not a string"));
                    };
                    schema.parameters.insert(key.clone(), text.to_owned());
                }
            }
            Some(other) if self.options.meta_data => return refuse(format!("connect.parameters is {other}, not an object")),
            _ => {}
        }
        for (key, value) in node.props.iter().filter(|(key, _)| key.starts_with(names::AVRO_PROP_PREFIX)) {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            schema.parameters.insert(key.clone(), text);
        }
        if schema.name.is_none() {
            let own = match &node.kind {
                NodeKind::Record { name, .. } | NodeKind::Enum { name, .. } | NodeKind::Fixed { name, .. } => Some(name.full()),
                _ => None,
            };
            let name = node.text(names::CONNECT_NAME).or(own);
            schema.name = name.filter(|name| *name != names::DEFAULT_FULL_NAME).map(str::to_owned);
        }
        Ok(())
    }

    /// The default as JSON: the field's, else the one in the properties.
    fn default_of(&self, schema: &mut Schema, node: &Node, place: Place<'_>) -> Built<Option<Json>> {
        let own = node.props.get(names::CONNECT_DEFAULT);
        if place.default.is_some() && own.is_none() {
            schema.parameters.insert(names::FIELD_DEFAULT.into(), "true".into());
        }
        Ok(place.default.or(own).filter(|default| !default.is_null()).cloned())
    }
}

fn bytes_schema(node: &Node, logical_type: Option<&str>) -> Built<Schema> {
    if logical_type != Some("decimal") {
        return Ok(Schema::new(Kind::Bytes));
    }
    let number = |prop: &str| match node.props.get(prop) {
        None => Ok(None),
        Some(given) => {
            given.as_i64().map(Some).ok_or_else(|| Unmapped::Refused(format!("{prop} {given} of a decimal is no number")))
        }
    };
    let scale = number("scale")?.unwrap_or(0);
    let scale = i32::try_from(scale).map_err(|_| Unmapped::Refused(format!("scale {scale} of a decimal is too large")))?;
    let mut schema = Schema::decimal(scale);
    if let Some(precision) = number("precision")?.filter(|p| *p != names::DECIMAL_PRECISION_DEFAULT) {
        schema.parameters.insert(names::DECIMAL_PRECISION.into(), precision.to_string());
    }
    Ok(schema)
}

/// What a reader needs beside the finished schema.
enum Shape {
    /// The schema says it all.
    Simple,
    Fixed(usize),
    Ready(Reader),
    Struct(Box<[Reader]>),
    Union(Box<[Option<(usize, Reader)>]>),
}

/// A reader that may still lack its struct's schema.
enum Unfinished {
    Ready(Reader),
    Struct(Box<[Reader]>),
    Union(Box<[Option<(usize, Reader)>]>),
}

impl Unfinished {
    fn finish(self, schema: &SchemaRef) -> Reader {
        match self {
            Unfinished::Ready(reader) => reader,
            Unfinished::Struct(fields) => Reader::Struct { schema: schema.clone(), fields },
            Unfinished::Union(branches) => Reader::Union { schema: schema.clone(), branches },
        }
    }
}

/// The reader by kind and logical name: a name alone makes a logical type, as in Java.
fn reader_of(schema: &mut Schema, shape: Shape) -> Built<Unfinished> {
    let name = schema.name.as_deref().unwrap_or_default();
    let decimal_scale = || match schema.decimal_scale() {
        Some(scale) => Ok(i64::from(scale)),
        None => refuse("a decimal without scale"),
    };
    let reader = match (shape, schema.kind) {
        (Shape::Struct(fields), _) => return Ok(Unfinished::Struct(fields)),
        (Shape::Union(branches), _) => return Ok(Unfinished::Union(branches)),
        (Shape::Ready(reader), _) => reader,
        (Shape::Fixed(size), _) if name == logical::DECIMAL => Reader::FixedDecimal { size, scale: decimal_scale()? },
        (Shape::Fixed(size), _) => Reader::Fixed(size),
        (Shape::Simple, Kind::Bytes) if name == logical::DECIMAL => Reader::Decimal { scale: decimal_scale()? },
        (Shape::Simple, Kind::Int32) if name == logical::DATE => Reader::Date,
        (Shape::Simple, Kind::Int32) if name == logical::TIME => Reader::Time,
        (Shape::Simple, Kind::Int64) if name == logical::TIMESTAMP => Reader::Timestamp,
        (Shape::Simple, kind) => match kind {
            Kind::Int8 => Reader::Int8,
            Kind::Int16 => Reader::Int16,
            Kind::Int32 => Reader::Int32,
            Kind::Int64 => Reader::Int64,
            Kind::Float32 => Reader::Float32,
            Kind::Float64 => Reader::Float64,
            Kind::Boolean => Reader::Boolean,
            Kind::String => Reader::String,
            Kind::Bytes => Reader::Bytes,
            Kind::Array | Kind::Map | Kind::Struct => unreachable!("these have shapes of their own"),
        },
    };
    Ok(Unfinished::Ready(reader))
}

/// Whether it is AvroData's record for values without schema, as AvroData writes it.
fn is_anything(avro: &AvroSchema, id: NodeId) -> bool {
    const FIELDS: [&str; 9] = ["boolean", "bytes", "double", "float", "int", "long", "string", "array", "map"];
    let NodeKind::Record { name, fields } = &avro.node(id).kind else { return false };
    let null_first = |field: &AvroField| match &avro.node(field.node).kind {
        NodeKind::Union(branches) => branches.len() == 2 && matches!(avro.node(branches[0]).kind, NodeKind::Null),
        _ => false,
    };
    name.full() == names::ANYTHING && fields.iter().map(|f| f.name.as_str()).eq(FIELDS) && fields.iter().all(null_first)
}

/// Reads a default from its JSON form.
fn default_value(avro: &AvroSchema, id: NodeId, schema: &Schema, json: &Json) -> Result<Option<Value>, String> {
    if json.is_null() {
        return Ok(None);
    }
    let node = avro.node(id);
    let wrong = || format!("default {json} is no {}", node.kind.avro_name());
    let list = || json.as_array().ok_or_else(wrong);
    let value = match &node.kind {
        NodeKind::Null => return Ok(None),
        NodeKind::Boolean => Value::Boolean(json.as_bool().ok_or_else(wrong)?),
        NodeKind::Int => integer(schema, i32::try_from(json.as_i64().ok_or_else(wrong)?).map_err(|_| wrong())?),
        NodeKind::Long => {
            let number = json.as_i64().ok_or_else(wrong)?;
            if schema.is_logical(logical::TIMESTAMP) { Value::Timestamp(number) } else { Value::Int64(number) }
        }
        NodeKind::Float => Value::Float32(float(json).ok_or_else(wrong)? as f32),
        NodeKind::Double => Value::Float64(float(json).ok_or_else(wrong)?),
        NodeKind::String | NodeKind::Enum { .. } => Value::string(json.as_str().ok_or_else(wrong)?),
        NodeKind::Bytes | NodeKind::Fixed { .. } => {
            // Each character is one byte.
            let bytes = json.as_str().ok_or_else(wrong)?.chars().map(|c| u8::try_from(u32::from(c)));
            let bytes = bytes.collect::<Result<Vec<u8>, _>>().map_err(|_| wrong())?;
            match schema.decimal_scale().filter(|_| schema.is_logical(logical::DECIMAL)) {
                Some(_) if bytes.is_empty() => return Err(wrong()),
                Some(scale) => reader::decimal(&bytes, scale.into()),
                None => Value::Bytes(bytes.into()),
            }
        }
        NodeKind::Array(items) if schema.kind == Kind::Map => entries(avro, *items, schema, list()?)?,
        NodeKind::Array(items) => {
            let item = schema.value.as_ref().ok_or_else(wrong)?;
            let values = list()?.iter().map(|json| or_null(default_value(avro, *items, item, json)));
            Value::Array(values.collect::<Result<_, _>>()?)
        }
        NodeKind::Map(values) => {
            let value = schema.value.as_ref().ok_or_else(wrong)?;
            let mut map = Map::new();
            for (key, json) in json.as_object().ok_or_else(wrong)? {
                map.insert(key.as_str(), or_null(default_value(avro, *values, value, json))?);
            }
            Value::Map(map)
        }
        NodeKind::Record { fields, .. } => {
            let object = json.as_object().ok_or_else(wrong)?;
            let mut values = Vec::with_capacity(fields.len());
            for (field, of) in fields.iter().zip(&schema.fields) {
                let given = object.get(&field.name).or(field.default.as_ref());
                let json = given.ok_or_else(|| format!("default {json} lacks field {}", field.name))?;
                values.push(or_null(default_value(avro, field.node, &of.schema, json))?);
            }
            Value::Struct(Struct::from_values(Arc::new(Schema { default: None, ..schema.clone() }), values))
        }
        NodeKind::Union(branches) => return union_default(avro, branches, schema, json),
    };
    Ok(Some(value))
}

fn or_null(value: Result<Option<Value>, String>) -> Result<Value, String> {
    Ok(value?.unwrap_or(Value::Null))
}

/// A default of a union is one of its first branch; of a nullable, of the branch that is not null.
fn union_default(avro: &AvroSchema, branches: &[NodeId], schema: &Schema, json: &Json) -> Result<Option<Value>, String> {
    if !schema.is_logical(names::UNION) {
        let other = branches.iter().find(|b| !matches!(avro.node(**b).kind, NodeKind::Null));
        return other.map_or(Ok(None), |other| default_value(avro, *other, schema, json));
    }
    let mut at = 0;
    for branch in branches {
        if matches!(avro.node(*branch).kind, NodeKind::Null) {
            continue;
        }
        if let Ok(Some(value)) = default_value(avro, *branch, &schema.fields[at].schema, json) {
            let mut union = Struct::new(Arc::new(Schema { default: None, ..schema.clone() }));
            union.values_mut()[at] = value;
            return Ok(Some(Value::Struct(union)));
        }
        at += 1;
    }
    Err(format!("default {json} fits no branch of its union"))
}

/// A map's default as a list of `[key, value]` pairs.
fn entries(avro: &AvroSchema, items: NodeId, schema: &Schema, list: &[Json]) -> Result<Value, String> {
    let (NodeKind::Record { fields, .. }, Some(key), Some(value)) = (&avro.node(items).kind, &schema.key, &schema.value) else {
        return Err("a default of a map that is none".into());
    };
    let node = |name: &str| fields.iter().find(|f| f.name == name).map(|f| f.node).ok_or("a map entry without key or value");
    let mut map = Map::new();
    for entry in list {
        let (k, v) = match (entry, entry.as_array().map(Vec::as_slice)) {
            (_, Some([k, v])) => (k, v),
            (Json::Object(object), _) => (object.get("key").unwrap_or(&Json::Null), object.get("value").unwrap_or(&Json::Null)),
            _ => return Err(format!("default {entry} is no map entry")),
        };
        let k = or_null(default_value(avro, node("key")?, key, k))?;
        map.insert_value(k, or_null(default_value(avro, node("value")?, value, v))?);
    }
    Ok(Value::Map(map))
}

fn integer(schema: &Schema, number: i32) -> Value {
    match schema.kind {
        Kind::Int8 => Value::Int8(number as i8),
        Kind::Int16 => Value::Int16(number as i16),
        _ if schema.is_logical(logical::DATE) => Value::Date(number),
        _ if schema.is_logical(logical::TIME) => Value::Time(number),
        _ => Value::Int32(number),
    }
}

/// JSON has no NaN; Java writes and reads it as text.
fn float(json: &Json) -> Option<f64> {
    match json.as_str() {
        Some("NaN") => Some(f64::NAN),
        Some("Infinity") => Some(f64::INFINITY),
        Some("-Infinity") => Some(f64::NEG_INFINITY),
        _ => json.as_f64(),
    }
}
