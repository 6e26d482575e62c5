//! `HoistField`: the whole becomes the only field of a new object.

use penstock_api::config::{ConfigDef, ConfigKey, ConfigType, Importance, Parsed};
use penstock_api::{Field, Flow, Map, Part, Record, Result, Schema, SchemaAndValue, SchemaRef, Struct, Transform, Value};

use crate::schema_cache::SchemaCache;
use crate::shape::settle;

/// See the module.
pub(crate) struct HoistField {
    part: Part,
    name: String,
    schemas: SchemaCache<SchemaRef>,
}

pub(crate) fn config() -> ConfigDef {
    let doc = "Field name for the single field that will be created in the resulting Struct or Map.";
    ConfigDef::new([ConfigKey::required("field", ConfigType::String, doc).importance(Importance::Medium)])
}

impl HoistField {
    #[expect(clippy::unnecessary_wraps, reason = "all constructors have one form")]
    pub(crate) fn new(config: &Parsed, part: Part) -> Result<Self> {
        Ok(Self { part, name: config.string("field").to_owned(), schemas: SchemaCache::default() })
    }
}

impl Transform for HoistField {
    fn apply(&mut self, record: &mut Record) -> Result<Flow> {
        let data = self.part.of_mut(record).decode_mut()?;
        let SchemaAndValue { schema, mut value } = std::mem::take(data);
        *data = match schema {
            None => {
                let name = Value::string(self.name.as_str());
                SchemaAndValue::schemaless(Value::Map(Map::from_unique(vec![(name, value)])))
            }
            Some(inner) => {
                let name = &self.name;
                let outer = self.schemas.get_or_make(&inner, |inner| Ok(Schema::record([(name, inner.clone())]).into()))?;
                settle(&Field { name: name.clone(), schema: inner }, &mut value, false)?;
                SchemaAndValue::new(outer.clone(), Value::Struct(Struct::from_values(outer.clone(), vec![value])))
            }
        };
        Ok(Flow::Keep)
    }
}
