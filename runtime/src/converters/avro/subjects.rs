//! Which schema id a value is written under: its subject, its Avro schema, and what the registry says of them.

use std::collections::BTreeSet;
use std::sync::Arc;

use penstock_api::{Error, Part, Result, SchemaRef};

use super::config::{Strategy, Write};
use super::mapping::Options;
use super::to_avro;
use crate::converters::registry::{Answers, Client};

/// Connect schemas whose Avro form is remembered; when there are more, all are worked out again.
const FORMS_MAX: usize = 64;

/// The ids of what this task writes.
pub(super) struct Subjects {
    write: Write,
    options: Options,
    forms: Vec<Form>,
    ids: Answers<Wanted, u32>,
}

/// A Connect schema in Avro's form; `None` stands for no schema.
struct Form {
    schema: Option<SchemaRef>,
    avro: Result<Arc<str>, String>,
}

/// A schema under a subject.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Wanted {
    subject: String,
    avro: Arc<str>,
}

impl Subjects {
    pub(super) fn new(write: Write, options: Options, schemas_max: usize) -> Self {
        Self { write, options, forms: Vec::new(), ids: Answers::new(schemas_max) }
    }

    /// Asks the registry for the ids of all of these that are not known.
    pub(super) async fn prefetch<'v>(
        &mut self,
        client: &Client,
        part: Part,
        values: impl Iterator<Item = (&'v str, Option<&'v SchemaRef>)>,
    ) {
        let mut due = BTreeSet::new();
        let mut last: Option<(&str, Option<&SchemaRef>)> = None;
        for (topic, schema) in values {
            let is_as_last = last.is_some_and(|(t, s)| t == topic && is_same(s, schema));
            last = Some((topic, schema));
            // What has no Avro form fails in `id`, with the reason.
            if is_as_last {
                continue;
            } else if let Ok(wanted) = self.wanted(topic, schema, part) {
                due.insert(wanted);
            }
        }
        let write = self.write;
        self.ids.ask(due, async |wanted| ask(client, write, &wanted).await).await;
    }

    /// The id of a value's schema.
    ///
    /// # Errors
    /// `Data` when the schema has no Avro form or the registry refuses it, `Retriable` when the registry cannot be reached.
    pub(super) fn id(&mut self, topic: &str, schema: Option<&SchemaRef>, part: Part) -> Result<u32> {
        let wanted = self.wanted(topic, schema, part)?;
        self.ids.get(&wanted).copied()
    }

    fn wanted(&mut self, topic: &str, schema: Option<&SchemaRef>, part: Part) -> Result<Wanted> {
        let avro = self.form(schema)?;
        let name = || {
            schema.and_then(|schema| to_avro::record_name(schema)).ok_or_else(|| {
                let part = part.name();
                Error::data(format!("{part}.subject.name.strategy needs a record's name, and this {part} is no record"))
            })
        };
        let subject = match self.write.strategy {
            Strategy::Topic => format!("{topic}-{}", part.name()),
            Strategy::Record => name()?,
            Strategy::TopicRecord => format!("{topic}-{}", name()?),
        };
        Ok(Wanted { subject, avro })
    }

    fn form(&mut self, schema: Option<&SchemaRef>) -> Result<Arc<str>> {
        let known = self.forms.iter().position(|form| is_same(form.schema.as_ref(), schema));
        let known = known.or_else(|| self.forms.iter().position(|form| form.schema.as_ref() == schema));
        let index = match known {
            Some(index) => index,
            None => {
                if self.forms.len() >= FORMS_MAX {
                    self.forms.clear();
                }
                let avro = self.avro(schema).map(Into::into).map_err(|e| format!("{e:#}"));
                self.forms.push(Form { schema: schema.cloned(), avro });
                self.forms.len() - 1
            }
        };
        self.forms[index].avro.clone().map_err(Error::data)
    }

    /// The schema's Avro text, known to be Avro.
    fn avro(&self, schema: Option<&SchemaRef>) -> Result<String> {
        let Some(schema) = schema else { return Ok(to_avro::ANYTHING.to_owned()) };
        let text = to_avro::avro_schema(schema, self.options)?.to_string();
        let valid = apache_avro::Schema::parse_str(&text);
        valid.map_err(|why| Error::data("the schema cannot be written as Avro").with_source(why))?;
        Ok(text)
    }
}

fn is_same(one: Option<&SchemaRef>, other: Option<&SchemaRef>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => Arc::ptr_eq(one, other),
        (None, None) => true,
        _ => false,
    }
}

async fn ask(client: &Client, write: Write, wanted: &Wanted) -> Result<u32> {
    let Wanted { subject, avro } = wanted;
    if write.auto_register {
        return client.register(subject, avro).await;
    }
    if !write.use_latest {
        return client.look_up(subject, avro).await.map_err(|e| match e.kind() {
            penstock_api::ErrorKind::Data => e.context("auto.register.schemas is false and the schema is not registered"),
            _ => e,
        });
    }
    let latest = client.latest(subject).await?;
    let canonical = |text: &str, references: &[String]| {
        let parsed = apache_avro::Schema::parse_str_with_list(text, references);
        parsed.map(|(schema, _)| schema.canonical_form()).map_err(|why| Error::data("parse the latest schema").with_source(why))
    };
    if canonical(&latest.text, &latest.references)? == canonical(avro, &[])? {
        Ok(latest.id)
    } else {
        Err(Error::data(format!(
            "the latest schema of {subject}, {}, is not the schema of this record: set auto.register.schemas=true, or register it",
            latest.id
        )))
    }
}
