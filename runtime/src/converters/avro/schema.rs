//! An Avro schema with all its properties: names resolved, references to other schemas joined in, recursion by shared ids.
//!
//! `apache-avro`'s own `Schema` forgets the properties of primitive types (`connect.type`, `connect.parameters`), and what
//! AvroData writes stands there.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value as Json, json};

/// Names and unions nest no deeper than this; deeper schemas are refused.
const DEPTH_MAX: usize = 64;

/// A parsed schema.
#[derive(Debug)]
pub(super) struct AvroSchema {
    nodes: Vec<Node>,
    root: NodeId,
}

/// A node of one [`AvroSchema`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct NodeId(u32);

#[derive(Debug)]
pub(super) struct Node {
    pub(super) kind: NodeKind,
    /// All attributes that Avro itself gives no meaning to, `logicalType` among them.
    pub(super) props: Map<String, Json>,
    pub(super) doc: Option<String>,
}

#[derive(Debug)]
pub(super) enum NodeKind {
    Null,
    Boolean,
    Int,
    Long,
    Float,
    Double,
    Bytes,
    String,
    Array(NodeId),
    Map(NodeId),
    Union(Vec<NodeId>),
    Record { name: FullName, fields: Vec<AvroField> },
    Enum { name: FullName, symbols: Vec<String>, default: Option<String> },
    Fixed { name: FullName, size: usize },
}

#[derive(Debug)]
pub(super) struct AvroField {
    pub(super) name: String,
    pub(super) doc: Option<String>,
    /// `Some(null)` is a default of null.
    pub(super) default: Option<Json>,
    pub(super) node: NodeId,
}

/// A name with its namespace, which may be empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FullName {
    text: String,
}

impl FullName {
    fn new(name: &str, namespace: &str) -> Self {
        let text = if name.contains('.') || namespace.is_empty() { name.to_owned() } else { format!("{namespace}.{name}") };
        Self { text }
    }

    pub(super) fn full(&self) -> &str {
        &self.text
    }

    pub(super) fn simple(&self) -> &str {
        self.text.rsplit('.').next().unwrap_or(&self.text)
    }

    pub(super) fn namespace(&self) -> &str {
        self.text.rsplit_once('.').map_or("", |(namespace, _)| namespace)
    }
}

impl AvroSchema {
    /// Parses a schema; `references` are the schemas it names, those they name before them.
    pub(super) fn parse(text: &str, references: &[String]) -> Result<Self, String> {
        let mut parser = Parser { nodes: Vec::new(), names: HashMap::new() };
        for reference in references {
            parser.read(&json_of(reference)?, "", 0)?;
        }
        let root = parser.read(&json_of(text)?, "", 0)?;
        Ok(Self { nodes: parser.nodes, root })
    }

    pub(super) fn root(&self) -> NodeId {
        self.root
    }

    pub(super) fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.index()]
    }

    /// All nodes, by their ids.
    pub(super) fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// As JSON, all names defined inside.
    pub(super) fn to_json(&self) -> Json {
        self.json_of(self.root, &mut HashSet::new())
    }

    fn json_of(&self, id: NodeId, defined: &mut HashSet<NodeId>) -> Json {
        let node = self.node(id);
        let named = |kind: &str, name: &FullName| {
            // A name without namespace would else fall into its surroundings' namespace.
            let mut map = Map::from_iter([("type".into(), json!(kind)), ("name".into(), json!(name.simple()))]);
            map.insert("namespace".into(), json!(name.namespace()));
            if let Some(doc) = &node.doc {
                map.insert("doc".into(), json!(doc));
            }
            map
        };
        let mut map = match &node.kind {
            NodeKind::Record { name, .. } | NodeKind::Enum { name, .. } | NodeKind::Fixed { name, .. } if !defined.insert(id) => {
                return json!(name.full());
            }
            NodeKind::Union(branches) => return Json::Array(branches.iter().map(|b| self.json_of(*b, defined)).collect()),
            NodeKind::Array(items) => {
                Map::from_iter([("type".into(), json!("array")), ("items".into(), self.json_of(*items, defined))])
            }
            NodeKind::Map(values) => {
                Map::from_iter([("type".into(), json!("map")), ("values".into(), self.json_of(*values, defined))])
            }
            NodeKind::Record { name, fields } => {
                let mut map = named("record", name);
                let fields = fields.iter().map(|f| self.json_of_field(f, defined)).collect();
                map.insert("fields".into(), Json::Array(fields));
                map
            }
            NodeKind::Enum { name, symbols, default } => {
                let mut map = named("enum", name);
                map.insert("symbols".into(), json!(symbols));
                if let Some(default) = default {
                    map.insert("default".into(), json!(default));
                }
                map
            }
            NodeKind::Fixed { name, size } => {
                let mut map = named("fixed", name);
                map.insert("size".into(), json!(size));
                map
            }
            primitive if node.props.is_empty() => return json!(primitive.avro_name()),
            primitive => Map::from_iter([("type".into(), json!(primitive.avro_name()))]),
        };
        map.extend(node.props.iter().map(|(k, v)| (k.clone(), v.clone())));
        Json::Object(map)
    }

    fn json_of_field(&self, field: &AvroField, defined: &mut HashSet<NodeId>) -> Json {
        let mut map = Map::from_iter([("name".into(), json!(field.name)), ("type".into(), self.json_of(field.node, defined))]);
        if let Some(doc) = &field.doc {
            map.insert("doc".into(), json!(doc));
        }
        if let Some(default) = &field.default {
            map.insert("default".into(), default.clone());
        }
        Json::Object(map)
    }
}

impl NodeId {
    pub(super) fn index(self) -> usize {
        self.0 as usize
    }
}

impl Node {
    /// A property that is a string.
    pub(super) fn text(&self, prop: &str) -> Option<&str> {
        self.props.get(prop)?.as_str()
    }
}

impl NodeKind {
    /// Avro's name of the type.
    pub(super) fn avro_name(&self) -> &'static str {
        match self {
            NodeKind::Null => "null",
            NodeKind::Boolean => "boolean",
            NodeKind::Int => "int",
            NodeKind::Long => "long",
            NodeKind::Float => "float",
            NodeKind::Double => "double",
            NodeKind::Bytes => "bytes",
            NodeKind::String => "string",
            NodeKind::Array(_) => "array",
            NodeKind::Map(_) => "map",
            NodeKind::Union(_) => "union",
            NodeKind::Record { .. } => "record",
            NodeKind::Enum { .. } => "enum",
            NodeKind::Fixed { .. } => "fixed",
        }
    }

    fn primitive(name: &str) -> Option<NodeKind> {
        Some(match name {
            "null" => NodeKind::Null,
            "boolean" => NodeKind::Boolean,
            "int" => NodeKind::Int,
            "long" => NodeKind::Long,
            "float" => NodeKind::Float,
            "double" => NodeKind::Double,
            "bytes" => NodeKind::Bytes,
            "string" => NodeKind::String,
            _ => return None,
        })
    }
}

/// A bare name is a schema too, though not JSON: Java's parser takes `string` as well as `"string"`.
fn json_of(text: &str) -> Result<Json, String> {
    match serde_json::from_str(text) {
        Ok(json) => Ok(json),
        Err(_) if NodeKind::primitive(text.trim()).is_some() => Ok(Json::String(text.trim().to_owned())),
        Err(why) => Err(format!("the schema is not JSON: {why}")),
    }
}

struct Parser {
    nodes: Vec<Node>,
    names: HashMap<String, NodeId>,
}

impl Parser {
    fn read(&mut self, json: &Json, namespace: &str, depth: usize) -> Result<NodeId, String> {
        if depth > DEPTH_MAX {
            return Err(format!("the schema nests deeper than {DEPTH_MAX} levels"));
        }
        match json {
            Json::String(name) => match NodeKind::primitive(name) {
                Some(kind) => Ok(self.add(kind, Map::new(), None)),
                None => self.named(name, namespace),
            },
            Json::Array(branches) => {
                let branches: Vec<_> = branches.iter().map(|b| self.read(b, namespace, depth + 1)).collect::<Result<_, _>>()?;
                if branches.iter().any(|b| matches!(self.nodes[b.index()].kind, NodeKind::Union(_))) {
                    return Err("a union may not hold another union directly".into());
                }
                Ok(self.add(NodeKind::Union(branches), Map::new(), None))
            }
            Json::Object(map) => self.read_object(map, namespace, depth),
            other => Err(format!("a schema is a name, an object or a list, not {other}")),
        }
    }

    fn read_object(&mut self, map: &Map<String, Json>, namespace: &str, depth: usize) -> Result<NodeId, String> {
        let kind = match map.get("type") {
            Some(Json::String(kind)) => kind.as_str(),
            Some(nested @ (Json::Object(_) | Json::Array(_))) => return self.read(nested, namespace, depth + 1),
            _ => return Err(format!("a schema without \"type\": {}", Json::Object(map.clone()))),
        };
        match kind {
            "record" | "error" => self.read_record(map, namespace, depth),
            "enum" => {
                let symbols = map.get("symbols").and_then(Json::as_array).ok_or("an enum without \"symbols\"")?;
                let symbols = symbols.iter().map(|s| s.as_str().map(str::to_owned)).collect::<Option<Vec<_>>>();
                let default = map.get("default").and_then(Json::as_str).map(str::to_owned);
                let name = full_name(map, namespace)?;
                let symbols = symbols.ok_or_else(|| format!("symbols of enum {} that are not strings", name.full()))?;
                self.define(map, NodeKind::Enum { name, symbols, default })
            }
            "fixed" => {
                let name = full_name(map, namespace)?;
                let size = map.get("size").and_then(Json::as_u64).and_then(|size| usize::try_from(size).ok());
                let size = size.filter(|size| *size <= i32::MAX as usize);
                let size = size.ok_or_else(|| format!("fixed {} without a good \"size\"", name.full()))?;
                self.define(map, NodeKind::Fixed { name, size })
            }
            "array" => {
                let items = self.read(map.get("items").ok_or("an array without \"items\"")?, namespace, depth + 1)?;
                Ok(self.add(NodeKind::Array(items), props(map, &["items"]), None))
            }
            "map" => {
                let values = self.read(map.get("values").ok_or("a map without \"values\"")?, namespace, depth + 1)?;
                Ok(self.add(NodeKind::Map(values), props(map, &["values"]), None))
            }
            other => match NodeKind::primitive(other) {
                Some(kind) => Ok(self.add(kind, props(map, &[]), None)),
                None => self.named(other, namespace),
            },
        }
    }

    fn read_record(&mut self, map: &Map<String, Json>, namespace: &str, depth: usize) -> Result<NodeId, String> {
        let name = full_name(map, namespace)?;
        let inner = name.namespace().to_owned();
        let id = self.define(map, NodeKind::Record { name: name.clone(), fields: Vec::new() })?;
        let list = map.get("fields").and_then(Json::as_array).ok_or_else(|| format!("record {} without fields", name.full()))?;
        let mut fields = Vec::with_capacity(list.len());
        let mut seen = HashSet::new();
        for field in list {
            let text = |key: &str| field.get(key).and_then(Json::as_str).map(str::to_owned);
            let field_name = text("name").ok_or_else(|| format!("a field of record {} without name", name.full()))?;
            if !seen.insert(field_name.clone()) {
                return Err(format!("record {} has field {field_name} twice", name.full()));
            }
            let kind = field.get("type").ok_or_else(|| format!("field {field_name} of record {} without type", name.full()))?;
            let node = self.read(kind, &inner, depth + 1)?;
            fields.push(AvroField { name: field_name, doc: text("doc"), default: field.get("default").cloned(), node });
        }
        self.nodes[id.index()].kind = NodeKind::Record { name, fields };
        Ok(id)
    }

    fn define(&mut self, map: &Map<String, Json>, kind: NodeKind) -> Result<NodeId, String> {
        let (NodeKind::Record { name, .. } | NodeKind::Enum { name, .. } | NodeKind::Fixed { name, .. }) = &kind else {
            unreachable!("only named types are defined")
        };
        let name = name.full().to_owned();
        let structure: &[&str] = match &kind {
            NodeKind::Record { .. } => &["fields"],
            NodeKind::Enum { .. } => &["symbols", "default"],
            _ => &["size"],
        };
        let doc = map.get("doc").and_then(Json::as_str).map(str::to_owned);
        let id = self.add(kind, props(map, &[structure, &["name", "namespace", "doc", "aliases"]].concat()), doc);
        if self.names.insert(name.clone(), id).is_some() {
            return Err(format!("{name} is defined twice"));
        }
        Ok(id)
    }

    fn named(&self, name: &str, namespace: &str) -> Result<NodeId, String> {
        let found = self.names.get(FullName::new(name, namespace).full()).or_else(|| self.names.get(name));
        found.copied().ok_or_else(|| format!("{name} is not defined"))
    }

    fn add(&mut self, kind: NodeKind, props: Map<String, Json>, doc: Option<String>) -> NodeId {
        self.nodes.push(Node { kind, props, doc });
        NodeId(u32::try_from(self.nodes.len() - 1).expect("a schema text has fewer than 2^32 types"))
    }
}

fn full_name(map: &Map<String, Json>, surrounding: &str) -> Result<FullName, String> {
    let name = map.get("name").and_then(Json::as_str).ok_or("a named type without \"name\"")?;
    let namespace = map.get("namespace").and_then(Json::as_str).unwrap_or(surrounding);
    Ok(FullName::new(name, namespace))
}

fn props(map: &Map<String, Json>, structure: &[&str]) -> Map<String, Json> {
    map.iter().filter(|(k, _)| *k != "type" && !structure.contains(&k.as_str())).map(|(k, v)| (k.clone(), v.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_resolve_by_their_surroundings() {
        let text = r#"{"type":"record","name":"a.R","fields":[
            {"name":"e","type":{"type":"enum","name":"E","symbols":["X"]}},
            {"name":"again","type":"E"}, {"name":"full","type":"a.E"},
            {"name":"bare","type":{"type":"fixed","name":"F","namespace":"","size":2}},
            {"name":"next","type":["null","R"]}]}"#;
        let schema = AvroSchema::parse(text, &[]).unwrap();
        let again = AvroSchema::parse(&schema.to_json().to_string(), &[]).unwrap();
        assert_eq!(schema.to_json(), again.to_json());
        assert_eq!(schema.nodes().iter().filter(|n| matches!(n.kind, NodeKind::Enum { .. })).count(), 1);
        // What we write is Avro to others too.
        apache_avro::Schema::parse_str(&schema.to_json().to_string()).unwrap();
    }

    #[test]
    fn references_are_joined_in() {
        let item = r#"{"type":"record","name":"x.Item","fields":[{"name":"n","type":{"type":"int","connect.type":"int8"}}]}"#;
        let text = r#"{"type":"record","name":"x.Order","fields":[{"name":"one","type":"Item"},{"name":"two","type":"x.Item"}]}"#;
        let schema = AvroSchema::parse(text, &[item.into()]).unwrap();
        let json = schema.to_json();
        assert_eq!(json["fields"][0]["type"]["fields"][0]["type"]["connect.type"], "int8");
        assert_eq!(json["fields"][1]["type"], "x.Item");
        apache_avro::Schema::parse_str(&json.to_string()).unwrap();
    }

    #[test]
    fn what_is_wrong_is_said() {
        let check = |text: &str, why: &str| {
            let error = AvroSchema::parse(text, &[]).unwrap_err();
            assert!(error.contains(why), "{error}");
        };
        check("{", "not JSON");
        check(r#""Unknown""#, "Unknown is not defined");
        check(r#"[["null"]]"#, "another union");
        check(r#"{"type":"record","name":"R","fields":[{"name":"a","type":"int"},{"name":"a","type":"int"}]}"#, "twice");
        check(&format!("{}\"int\"{}", r#"{"type":"array","items":"#.repeat(100), "}".repeat(100)), "deeper");
    }
}
