//! `ReplaceField`: fields left out or renamed.

use penstock_api::config::{Check, ConfigDef, ConfigKey, ConfigType, Importance, Parsed, split_list};
use penstock_api::{Error, Flow, Kind, Map, Part, Record, Result, SchemaAndValue, SchemaRef, Struct, Transform, Value};

use crate::java;
use crate::keys;
use crate::names::Names;
use crate::schema_cache::SchemaCache;
use crate::shape::{add_field, require_fit, require_map, settle, take_struct, with_basics_of};

const PURPOSE: &str = "field replacement";

/// See the module.
pub(crate) struct ReplaceField {
    part: Part,
    choice: Choice,
    replace_null: bool,
    plans: SchemaCache<Plan>,
}

/// Which fields stay, under which names.
struct Choice {
    exclude: Names,
    include: Names,
    /// Old names, each once, with the new ones.
    renames: Vec<(String, String)>,
}

/// What becomes of structs of one schema.
struct Plan {
    schema: SchemaRef,
    /// For each field of the new schema, the index of the old one.
    sources: Vec<usize>,
}

pub(crate) fn config() -> ConfigDef {
    ConfigDef::new([
        keys::optional_names("exclude", "Fields to exclude. This takes precedence over the fields to include."),
        keys::optional_names("include", "Fields to include. If specified, only these fields will be used."),
        ConfigKey::optional("renames", ConfigType::List, "", "Field rename mappings.")
            .importance(Importance::Medium)
            .check(Check::Custom(|text| parse_renames(text).map(|_| ()))),
        keys::replace_null_with_default(),
    ])
}

impl ReplaceField {
    pub(crate) fn new(config: &Parsed, part: Part) -> Result<Self> {
        let choice = Choice {
            exclude: Names::new(config.list("exclude")),
            include: Names::new(config.list("include")),
            renames: parse_renames(config.string("renames")).map_err(Error::config)?,
        };
        let replace_null = config.boolean(keys::REPLACE_NULL_WITH_DEFAULT);
        Ok(Self { part, choice, replace_null, plans: SchemaCache::default() })
    }

    fn with_schema(&mut self, data: &mut SchemaAndValue) -> Result<()> {
        let record = take_struct(&mut data.value, PURPOSE)?;
        let plan = self.plans.get_or_make(record.schema(), |schema| Plan::new(schema, &self.choice))?;
        let schema = record.schema().clone();
        let mut old = record.into_values();
        let mut values = Vec::with_capacity(plan.sources.len() + 1);
        for (field, &source) in plan.schema.fields.iter().zip(&plan.sources) {
            let mut value = std::mem::take(&mut old[source]);
            // A default is that of the field the value came from.
            if self.replace_null && value.is_null() {
                value = schema.fields[source].schema.default.clone().unwrap_or_default();
            }
            settle(field, &mut value, false)?;
            require_fit(field, &value)?;
            values.push(value);
        }
        data.schema = Some(plan.schema.clone());
        data.value = Value::Struct(Struct::from_values(plan.schema.clone(), values));
        Ok(())
    }
}

impl Transform for ReplaceField {
    fn looks_at(&self) -> Option<Part> {
        Some(self.part)
    }

    fn apply(&mut self, record: &mut Record) -> Result<Flow> {
        let payload = self.part.of_mut(record);
        if payload.decode()?.value.is_null() {
            return Ok(Flow::Keep);
        }
        let data = payload.decode_mut()?;
        if data.schema.is_some() {
            self.with_schema(data)?;
        } else {
            self.choice.apply(require_map(&mut data.value, PURPOSE)?);
        }
        Ok(Flow::Keep)
    }
}

impl Choice {
    fn keeps(&self, name: &str) -> bool {
        !self.exclude.contains(name) && (self.include.is_empty() || self.include.contains(name))
    }

    fn renamed<'n>(&'n self, name: &'n str) -> &'n str {
        self.renames.iter().find(|(old, _)| old == name).map_or(name, |(_, new)| new)
    }

    /// The name a field had before, as far as the new one tells.
    fn former<'n>(&'n self, name: &'n str) -> &'n str {
        self.renames.iter().find(|(_, new)| *new == name).map_or(name, |(old, _)| old)
    }

    fn apply(&self, map: &mut Map) {
        if self.include.is_empty() {
            self.exclude.iter().for_each(|name| map.discard(name));
        } else {
            map.retain(|key, _| key.as_str().is_none_or(|name| self.keeps(name)));
        }
        if self.renames.iter().any(|(old, new)| map.has(old) && map.has(new)) {
            self.rename_onto_others(map);
        } else {
            map.rename(&self.renames);
        }
    }

    /// For new names that other fields have: the later field wins.
    fn rename_onto_others(&self, map: &mut Map) {
        for (key, value) in std::mem::take(map).into_entries() {
            match key.as_str() {
                Some(name) => map.insert(self.renamed(name), value),
                None => map.insert_value(key, value),
            }
        }
    }
}

impl Plan {
    fn new(schema: &SchemaRef, choice: &Choice) -> Result<Self> {
        let mut updated = with_basics_of(schema, Kind::Struct);
        let mut sources = Vec::new();
        for field in schema.fields.iter().filter(|f| choice.keeps(&f.name)) {
            let name = choice.renamed(&field.name);
            add_field(&mut updated, name, field.schema.clone())?;
            // Java looks the value up by the inverted renames and not by the field at hand.
            let former = choice.former(name);
            let (source, _) = schema.field(former).ok_or_else(|| Error::data(format!("{former} is not a valid field name")))?;
            sources.push(source);
        }
        Ok(Self { schema: updated.into(), sources })
    }
}

fn parse_renames(text: &str) -> std::result::Result<Vec<(String, String)>, String> {
    let mut renames: Vec<(String, String)> = Vec::new();
    for mapping in split_list(text) {
        match java::split(&mapping, ':')[..] {
            [old, new] => {
                renames.retain(|(known, _)| known != old);
                renames.push((old.to_owned(), new.to_owned()));
            }
            _ => return Err(format!("Invalid rename mapping: {mapping}")),
        }
    }
    Ok(renames)
}
