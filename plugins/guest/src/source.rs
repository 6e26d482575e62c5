//! Sources: the traits in their two forms, the rows they give, and the class that a component lists.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use penstock_api::json::typed::{self, Rules};
use penstock_api::schema::{OPTIONAL_BYTES, OPTIONAL_STRING};
use penstock_api::{
    ConfigDef, Constructor, Delivered, Error, ErrorKind, ExactlyOnceSupport, Format, Headers, Next, Payload, Props, Result,
    Schema, SchemaRef, SourceConnector, SourceContext, SourceMap, SourceOffset, SourcePosition, SourceRecord, SourceTask,
    StoredOffsets, TaskId, TransactionBoundary, TransactionEnd, Value, async_trait,
};

use crate::class::Grant;
use crate::columns::Bits;
use crate::connector_class::ConnectorClass;
use crate::records::ready;
use crate::wit::columns::{BytesColumn, HeaderColumns, NameColumn, S64Column};
use crate::wit::outgoing::{self, Form};
use crate::wit::{offsets, reconfigure, types};

/// A task of a source that gives rows by column. What the calls promise stands in `source.wit`.
pub trait ColumnSource {
    /// Called once before the first poll.
    ///
    /// # Errors
    /// Fails the task.
    fn start(&mut self, _task: &SourceTaskContext) -> Result<()> {
        Ok(())
    }

    /// Reads what there is and adds it to the outbox.
    ///
    /// # Errors
    /// `Retriable` drops what this call has added and calls again later; any other error fails the task.
    fn poll(&mut self, out: &Outbox<'_>) -> Result<Next>;

    /// Whether [`acknowledged`](Self::acknowledged) is to be called; asked once, after `start`.
    fn wants_acknowledgements(&self) -> bool {
        false
    }

    /// Kafka has all rows up to these offsets: pairs of source partition and offset.
    ///
    /// # Errors
    /// Logged; the task goes on.
    fn acknowledged(&mut self, _offsets: &[(SourceMap, SourceMap)]) -> Result<()> {
        Ok(())
    }

    /// Called once, last.
    fn stop(&mut self) {}
}

/// What a source task may ask of the worker.
#[derive(Clone, Debug)]
pub struct SourceTaskContext {
    pub task: TaskId,
}

impl SourceTaskContext {
    /// The stored offset of each source partition, in the same order.
    ///
    /// # Errors
    /// `Retriable` when the worker's storage is not reached in time.
    pub fn stored(&self, partitions: &[SourceMap]) -> Result<Vec<Option<SourceMap>>> {
        let partitions: Vec<String> = partitions.iter().map(text).collect();
        let stored = offsets::stored(&partitions).map_err(error_from)?;
        stored.into_iter().map(|offset| offset.map(|text| map(&text)).transpose()).collect()
    }

    /// Has the connector plan its tasks anew. Tasks restart only if the plan differs.
    pub fn request_reconfiguration(&self) {
        reconfigure::ask();
    }
}

fn error_from(error: types::Error) -> Error {
    let kind = match error.kind {
        types::ErrorKind::Retriable => ErrorKind::Retriable,
        types::ErrorKind::Data => ErrorKind::Data,
        types::ErrorKind::Config => ErrorKind::Config,
        types::ErrorKind::Fatal => ErrorKind::Fatal,
    };
    Error::new(kind, error.message)
}

fn text(map: &SourceMap) -> String {
    serde_json::to_string(map).expect("a map of JSON values is JSON")
}

fn map(text: &str) -> Result<SourceMap> {
    serde_json::from_str(text)
        .map_err(|e| Error::fatal(format!("the worker gave an offset that is no JSON object: {text}")).with_source(e))
}

/// What a poll adds to.
pub struct Outbox<'o>(&'o outgoing::Outbox);

impl<'o> Outbox<'o> {
    /// The contract's own resource, for what is not offered here.
    #[must_use]
    pub fn raw(&self) -> &'o outgoing::Outbox {
        self.0
    }

    /// Adds rows, behind those added before; nothing for none.
    pub fn add(&self, rows: OutgoingRows) {
        let schemas = [rows.key_schema, rows.value_schema].map(|schema| schema.map(|DeclaredSchema(number)| number));
        match (rows.finish(), schemas) {
            (None, _) => {}
            (Some(rows), [None, None]) => self.0.add(&rows),
            (Some(rows), [keys, values]) => self.0.add_with_schemas(&rows, keys, values),
        }
    }

    /// Declares a schema for keys or values, which are then given as [`json::typed`](penstock_api::json::typed) writes them by
    /// [`Rules::EXACT`](penstock_api::json::typed::Rules::EXACT), or by hand as `source.wit` describes it. Do so once, and keep the answer.
    ///
    /// # Errors
    /// `Data` when a default has no JSON form.
    pub fn declare_schema(&self, schema: &Schema) -> Result<DeclaredSchema> {
        let text = penstock_api::json::schema::write(schema, &Rules::EXACT)?.to_string();
        Ok(DeclaredSchema(self.0.declare_schema(&text)))
    }

    /// How many more rows, and bytes of keys, values and headers, fit.
    #[must_use]
    pub fn room(&self) -> (usize, u64) {
        let (rows, bytes) = self.0.room();
        (rows as usize, bytes)
    }

    /// With `transaction.boundary=connector`: commits the open transaction behind the rows added so far; rows added later are of the next
    /// one. A call that fails has asked for nothing.
    pub fn commit_transaction(&self) {
        self.0.commit_transaction();
    }

    /// With `transaction.boundary=connector`: undoes the open transaction, with the rows added so far. Their offsets are stored all the same.
    pub fn abort_transaction(&self) {
        self.0.abort_transaction();
    }
}

/// A schema that the worker has been told; it knows it as long as the task runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeclaredSchema(u32);

/// Rows to be added: columns that grow.
pub struct OutgoingRows {
    topics: NameBuilder,
    partitions: Vec<i32>,
    keys: BytesBuilder,
    values: BytesBuilder,
    timestamps: Vec<i64>,
    timestamps_present: Bits,
    header_ends: Vec<u32>,
    header_names: NameBuilder,
    header_values: BytesBuilder,
    header_form: Form,
    origins: NameBuilder,
    offsets: BytesBuilder,
    key_form: Form,
    value_form: Form,
    key_schema: Option<DeclaredSchema>,
    value_schema: Option<DeclaredSchema>,
}

/// One row.
#[derive(Clone, Copy, Debug, Default)]
pub struct OutgoingRow<'r> {
    pub topic: &'r str,
    /// `None`: the producer decides by the key.
    pub partition: Option<i32>,
    pub key: Option<&'r [u8]>,
    pub value: Option<&'r [u8]>,
    /// Milliseconds since 1970-01-01T00:00Z; `None`: the time of producing.
    pub timestamp: Option<i64>,
    pub headers: &'r [(&'r str, Option<&'r [u8]>)],
    /// The source partition, a JSON object.
    pub origin: &'r str,
    /// The source offset behind this row, a JSON object; `None`: the row moves no offset.
    pub offset: Option<&'r str>,
}

impl OutgoingRows {
    /// No rows yet; their keys and values are given in these forms, and their headers as text.
    #[must_use]
    pub fn new(key_form: Form, value_form: Form) -> Self {
        Self::with_capacity(key_form, value_form, 0)
    }

    /// The same with room for so many rows, which spares columns that grow.
    #[must_use]
    pub fn with_capacity(key_form: Form, value_form: Form, rows: usize) -> Self {
        Self {
            topics: NameBuilder::with_capacity(rows),
            partitions: Vec::with_capacity(rows),
            keys: BytesBuilder::with_capacity(rows),
            values: BytesBuilder::with_capacity(rows),
            timestamps: Vec::with_capacity(rows),
            timestamps_present: Bits::default(),
            header_ends: Vec::with_capacity(rows),
            header_names: NameBuilder::default(),
            header_values: BytesBuilder::default(),
            header_form: Form::Text,
            origins: NameBuilder::with_capacity(rows),
            offsets: BytesBuilder::with_capacity(rows),
            key_form,
            value_form,
            key_schema: None,
            value_schema: None,
        }
    }

    /// The same with keys and values under these schemas, whose form must be JSON. A value that does not fit its schema fails its record
    /// alone, as one that a converter cannot write.
    #[must_use]
    pub fn with_schemas(self, keys: Option<DeclaredSchema>, values: Option<DeclaredSchema>) -> Self {
        Self { key_schema: keys, value_schema: values, ..self }
    }

    /// The same with headers given as bytes.
    #[must_use]
    pub fn with_header_bytes(self) -> Self {
        Self { header_form: Form::Bytes, ..self }
    }

    /// Adds a row.
    pub fn push(&mut self, row: &OutgoingRow<'_>) {
        self.topics.push(row.topic);
        self.partitions.push(row.partition.unwrap_or(-1));
        self.keys.push(row.key);
        self.values.push(row.value);
        self.timestamps.push(row.timestamp.unwrap_or_default());
        self.timestamps_present.push(row.timestamp.is_some());
        for (name, value) in row.headers {
            self.header_names.push(name);
            self.header_values.push(*value);
        }
        self.header_ends.push(self.header_names.index.len() as u32);
        self.origins.push(row.origin);
        self.offsets.push(row.offset.map(str::as_bytes));
    }

    /// How many rows there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.topics.index.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.topics.index.is_empty()
    }

    fn finish(self) -> Option<outgoing::Rows> {
        if self.is_empty() {
            return None;
        }
        let has_headers = !self.header_names.index.is_empty();
        let (names, index) = (self.header_names.names, self.header_names.index);
        Some(outgoing::Rows {
            topics: self.topics.finish(),
            partitions: if self.partitions.iter().all(|partition| *partition < 0) { Vec::new() } else { self.partitions },
            keys: outgoing::Payloads { form: self.key_form, values: self.keys.finish() },
            values: outgoing::Payloads { form: self.value_form, values: self.values.finish() },
            timestamps: S64Column { values: self.timestamps, present: self.timestamps_present.into_present() },
            headers: HeaderColumns {
                ends: if has_headers { self.header_ends } else { Vec::new() },
                names,
                index,
                values: self.header_values.finish(),
            },
            header_form: self.header_form,
            origins: self.origins.finish(),
            offsets: self.offsets.finish(),
        })
    }
}

/// Values for which there is room are taken to be so long.
const VALUE_BYTES: usize = 16;

#[derive(Default)]
struct BytesBuilder {
    data: Vec<u8>,
    ends: Vec<u32>,
    present: Bits,
}

impl BytesBuilder {
    fn with_capacity(rows: usize) -> Self {
        Self { data: Vec::with_capacity(rows * VALUE_BYTES), ends: Vec::with_capacity(rows), present: Bits::default() }
    }

    fn push(&mut self, value: Option<&[u8]>) {
        self.data.extend_from_slice(value.unwrap_or_default());
        self.ends.push(u32::try_from(self.data.len()).expect("a call gives less than 4 GiB"));
        self.present.push(value.is_some());
    }

    fn finish(self) -> BytesColumn {
        BytesColumn { data: self.data, ends: self.ends, present: self.present.into_present() }
    }
}

#[derive(Default)]
struct NameBuilder {
    names: Vec<String>,
    known: HashMap<String, u32>,
    index: Vec<u32>,
}

impl NameBuilder {
    fn with_capacity(rows: usize) -> Self {
        Self { index: Vec::with_capacity(rows), ..Self::default() }
    }

    fn push(&mut self, name: &str) {
        // The one before is the likely one.
        let before = self.index.last().copied().filter(|at| self.names[*at as usize] == name);
        let at = before.or_else(|| self.known.get(name).copied()).unwrap_or_else(|| {
            let at = self.names.len() as u32;
            self.names.push(name.to_owned());
            self.known.insert(name.to_owned(), at);
            at
        });
        self.index.push(at);
    }

    fn finish(self) -> NameColumn {
        NameColumn { names: self.names, index: self.index }
    }
}

/// What a connector promises of its tasks; see `source.wit`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Guarantees {
    /// A task that starts at a stored offset gives the next row, and none again.
    pub exactly_once: bool,
    /// Its tasks end transactions themselves.
    pub transaction_boundaries: bool,
}

type Guarantee = Box<dyn Fn(&Props) -> Result<Guarantees>>;

/// A class of sources.
pub struct SourceClass {
    pub(crate) inner: ConnectorClass<dyn ColumnSource>,
    guarantee: Guarantee,
}

impl SourceClass {
    /// A class in the form of columns, of one task. `make` makes it from the checked values of all keys; see [`plan`](Self::plan).
    pub fn columns<T: ColumnSource + 'static>(
        name: &str,
        version: &str,
        config: ConfigDef,
        make: impl Fn(&penstock_api::Parsed) -> Result<T> + 'static,
    ) -> Self {
        let make = move |values: &penstock_api::Parsed| Ok(Box::new(make(values)?) as Box<dyn ColumnSource>);
        Self {
            inner: ConnectorClass::of_values(name, version, config, make, |props, _| Ok(vec![props.clone()])),
            guarantee: Box::new(|_| Ok(Guarantees::default())),
        }
    }

    /// The same with tasks as `plan` gives them: the properties of each, at most so many.
    #[must_use]
    pub fn plan(mut self, plan: impl Fn(&Props, u32) -> Result<Vec<Props>> + 'static) -> Self {
        self.inner.plan = Box::new(plan);
        self
    }

    /// The same with these promises; a class of the form of columns makes none by itself.
    #[must_use]
    pub fn guarantees(mut self, guarantees: impl Fn(&Props) -> Guarantees + 'static) -> Self {
        self.guarantee = Box::new(move |props| Ok(guarantees(props)));
        self
    }

    /// A class in the form of records: the trait that built-in sources implement, too.
    pub fn records<C: SourceConnector + 'static>(
        name: &str,
        version: &str,
        config: ConfigDef,
        make: impl Fn() -> C + Send + Sync + 'static,
    ) -> Self {
        let make = Arc::new(make);
        let native = make.clone();
        let native = Constructor::Source(Arc::new(move || Box::new(native())));
        let task = |connector: &C, props: &Props| {
            let (task, props) = (connector.task(), props.clone());
            Box::new(Records { task, props, context: None, declared: Declared::default() }) as Box<dyn ColumnSource>
        };
        let asked = make.clone();
        let guarantee = move |props: &Props| {
            let connector = asked();
            let once = ready(connector.exactly_once_support(props))??;
            Ok(Guarantees {
                exactly_once: once == Some(ExactlyOnceSupport::Supported),
                transaction_boundaries: ready(connector.can_define_transaction_boundaries(props))??,
            })
        };
        Self { inner: ConnectorClass::of_connector(name, version, config, make, native, task), guarantee: Box::new(guarantee) }
    }

    /// The same, answering to another full name, too.
    #[must_use]
    pub fn alias(mut self, name: &str) -> Self {
        self.inner.about.aliases.push(name.to_owned());
        self
    }

    /// The same, telling people what it needs of the world outside: an entry as the key of that grant takes it (`api.example.com:443`), and
    /// what for. An empty entry: it depends on the configuration, as `doc` explains. This grants nothing.
    #[must_use]
    pub fn wants(mut self, grant: Grant, entry: &str, doc: &str) -> Self {
        self.inner.about.want(grant, entry, doc);
        self
    }
}

/// The form of records over the form of columns.
struct Records {
    task: Box<dyn SourceTask>,
    props: Props,
    context: Option<SourceContext>,
    declared: Declared,
}

/// Schemas that were declared, the newest last.
#[derive(Default)]
struct Declared(Vec<(SchemaRef, DeclaredSchema)>);

/// So many are remembered; to declare one again is no more than some work.
const DECLARED_MAX: usize = 256;

struct Stored(SourceTaskContext);

#[async_trait]
impl StoredOffsets for Stored {
    async fn stored(&self, partitions: &[SourceMap]) -> Result<Vec<Option<SourceMap>>> {
        self.0.stored(partitions)
    }
}

impl Records {
    /// What the task has asked for; answers where it ends transactions.
    fn serve_requests(&self) -> Vec<TransactionBoundary> {
        let requests = self.context.as_ref().map(SourceContext::take_requests).unwrap_or_default();
        if requests.reconfigure {
            reconfigure::ask();
        }
        requests.boundaries
    }
}

impl ColumnSource for Records {
    fn start(&mut self, task: &SourceTaskContext) -> Result<()> {
        let context = self.context.insert(SourceContext::new(task.task.clone(), Arc::new(Stored(task.clone())))).clone();
        ready(self.task.start(&self.props, context))?
    }

    fn poll(&mut self, out: &Outbox<'_>) -> Result<Next> {
        let polled = ready(self.task.poll())?;
        let mut boundaries = self.serve_requests();
        let polled = polled?;
        let (records, count) = (&polled.records, polled.records.len());
        boundaries.sort_by_key(|boundary| boundary.behind.unwrap_or(count));
        let mut added = 0;
        for TransactionBoundary { end, behind } in boundaries {
            let behind = behind.unwrap_or(count);
            let part = records.get(added..behind).ok_or_else(|| {
                Error::fatal(format!("a transaction is to end behind record {behind} of a poll that gave {count}"))
            })?;
            self.declared.add(out, part)?;
            added = behind;
            match end {
                TransactionEnd::Commit => out.commit_transaction(),
                TransactionEnd::Abort => out.abort_transaction(),
            }
        }
        self.declared.add(out, &records[added..])?;
        Ok(polled.next)
    }

    fn wants_acknowledgements(&self) -> bool {
        self.task.wants_deliveries()
    }

    /// One record for each partition, the newest; where Kafka keeps it is not known here.
    fn acknowledged(&mut self, offsets: &[(SourceMap, SourceMap)]) -> Result<()> {
        let delivered: Vec<Delivered> = offsets
            .iter()
            .map(|(partition, offset)| Delivered {
                position: Some(SourcePosition {
                    partition: Arc::new(partition.clone()),
                    offset: SourceOffset::Map(offset.clone()),
                }),
                kept: None,
            })
            .collect();
        ready(self.task.delivered(&delivered))??;
        if !self.serve_requests().is_empty() {
            crate::log::warn("a component can end a transaction in `poll` only");
        }
        Ok(())
    }

    fn stop(&mut self) {
        if let Err(error) = ready(self.task.stop()) {
            crate::log::warn(&format!("stop: {error:#}"));
        }
    }
}

impl Declared {
    /// Adds records, those of equal forms and schemas that follow each other at once.
    fn add(&mut self, out: &Outbox<'_>, records: &[SourceRecord]) -> Result<()> {
        let mut rows: Option<OutgoingRows> = None;
        // The partition of the record before, as text.
        let mut origin: Option<(Arc<SourceMap>, String)> = None;
        for record in records {
            let (key_schema, (key_form, key)) = self.content(out, &record.record.key)?;
            let (value_schema, (value_form, value)) = self.content(out, &record.record.value)?;
            let fits = |rows: &OutgoingRows| {
                (key.is_none() || (rows.key_form, rows.key_schema) == (key_form, key_schema))
                    && (value.is_none() || (rows.value_form, rows.value_schema) == (value_form, value_schema))
            };
            if rows.as_ref().is_some_and(|rows| !fits(rows)) {
                rows.take().into_iter().for_each(|rows| out.add(rows));
            }
            let headers = header_texts(&record.record.headers)?;
            let headers: Vec<(&str, Option<&[u8]>)> = headers.iter().map(|(name, value)| (*name, value.as_deref())).collect();
            let origin = match (&record.position, &mut origin) {
                (None, _) => "{}",
                (Some(position), Some((partition, origin))) if Arc::ptr_eq(partition, &position.partition) => &*origin,
                (Some(position), origin) => &*origin.insert((position.partition.clone(), text(&position.partition))).1,
            };
            let offset = record.position.as_ref().map(|position| text(&position.offset.to_map()));
            let begin = || OutgoingRows::new(key_form, value_form).with_schemas(key_schema, value_schema);
            rows.get_or_insert_with(begin).push(&OutgoingRow {
                topic: &record.record.topic,
                partition: record.record.partition,
                key: key.as_deref(),
                value: value.as_deref(),
                timestamp: record.record.timestamp,
                headers: &headers,
                origin,
                offset: offset.as_deref(),
            });
        }
        rows.into_iter().for_each(|rows| out.add(rows));
        Ok(())
    }

    /// A key or value as it crosses, and what it is under: what the converters of text and bytes give by themselves needs no schema.
    fn content<'p>(&mut self, out: &Outbox<'_>, payload: &'p Payload) -> Result<(Option<DeclaredSchema>, Content<'p>)> {
        if payload.wire().is_some_and(|encoded| matches!(encoded.format, Format::Bytes | Format::String | Format::Json)) {
            return Ok((None, content(payload)?));
        }
        let view = payload.view()?;
        match &view.schema {
            Some(schema) if **schema != **OPTIONAL_STRING && **schema != **OPTIONAL_BYTES => {
                let mut text = Vec::new();
                // What does not fit crosses all the same: the worker fails the record, and not this call.
                if typed::write(Some(&**schema), &view.value, &Rules::EXACT, &mut text).is_err() {
                    text.clear();
                    penstock_api::json::write(&view.value, &mut text)?;
                }
                Ok((Some(self.declare(out, schema)?), (Form::Json, Some(text.into()))))
            }
            _ => Ok((None, content(payload)?)),
        }
    }

    fn declare(&mut self, out: &Outbox<'_>, schema: &SchemaRef) -> Result<DeclaredSchema> {
        if let Some((_, declared)) = self.0.iter().rev().find(|(known, _)| Arc::ptr_eq(known, schema)) {
            return Ok(*declared);
        }
        let declared = out.declare_schema(schema)?;
        if self.0.len() >= DECLARED_MAX {
            self.0.clear();
        }
        self.0.push((schema.clone(), declared));
        Ok(declared)
    }
}

/// A form, and the bytes in it; `None` for null.
type Content<'p> = (Form, Option<Cow<'p, [u8]>>);

/// A payload without its schema.
fn content(payload: &Payload) -> Result<Content<'_>> {
    if let Some(encoded) = payload.wire() {
        let form = match encoded.format {
            Format::Bytes => Some(Form::Bytes),
            Format::String => Some(Form::Text),
            Format::Json => Some(Form::Json),
            Format::Avro(_) | Format::Other(_) => None,
        };
        if let Some(form) = form {
            return Ok((form, Some(Cow::Borrowed(&encoded.bytes))));
        }
    }
    Ok(match &payload.view()?.value {
        Value::Null => (Form::Bytes, None),
        Value::Bytes(bytes) => (Form::Bytes, Some(bytes.to_vec().into())),
        Value::String(text) => (Form::Text, Some(text.as_bytes().to_vec().into())),
        value => {
            let mut text = Vec::new();
            penstock_api::json::write(value, &mut text)?;
            (Form::Json, Some(text.into()))
        }
    })
}

/// Headers as text: JSON for what is none.
fn header_texts(headers: &Headers) -> Result<Vec<(&str, Option<Cow<'_, [u8]>>)>> {
    headers
        .iter()
        .map(|header| match content(&header.value)? {
            (Form::Bytes, Some(bytes)) if std::str::from_utf8(&bytes).is_err() => {
                Err(Error::data(format!("header {} holds bytes that are not UTF-8, which this form cannot carry", header.key)))
            }
            (_, value) => Ok((header.key.as_str(), value)),
        })
        .collect()
}

thread_local! {
    static TASK: RefCell<Option<(Box<dyn ColumnSource>, SourceTaskContext)>> = const { RefCell::new(None) };
}

/// What `export_sources!` calls.
pub mod calls {
    use penstock_api::{Error, Next, Result};

    use super::{ColumnSource, Outbox, SourceClass, SourceTaskContext, TASK, map};
    use crate::class::unknown;
    use crate::connector_class::{self as connector, ConnectorClass};
    use crate::export::{Answer, Properties};
    use crate::rows::error_of;
    use crate::wit::connector::exports::penstock::connect::connector::Problem;
    use crate::wit::outgoing;
    use crate::wit::plugin::exports::penstock::connect::plugin;
    use crate::wit::source::exports::penstock::connect::source;

    fn inner(classes: Vec<SourceClass>) -> impl Iterator<Item = ConnectorClass<dyn ColumnSource>> {
        classes.into_iter().map(|class| class.inner)
    }

    /// What cannot be said is a bug of the plugin: it traps, and the worker tells it with the message.
    #[must_use]
    pub fn guarantee(classes: Vec<SourceClass>, name: &str, properties: Properties) -> source::Guarantees {
        let class = classes.into_iter().find(|class| class.inner.about.name == name);
        let class = class.unwrap_or_else(|| panic!("{:#}", unknown(name)));
        let given = (class.guarantee)(&properties.into_iter().collect()).unwrap_or_else(|error| panic!("{error:#}"));
        let when = |is_given: bool, flag| if is_given { flag } else { source::Guarantees::empty() };
        when(given.exactly_once, source::Guarantees::EXACTLY_ONCE)
            | when(given.transaction_boundaries, source::Guarantees::TRANSACTION_BOUNDARIES)
    }

    #[must_use]
    pub fn describe(classes: Vec<SourceClass>) -> Vec<plugin::Class> {
        connector::describe(inner(classes))
    }

    pub fn configure(classes: Vec<SourceClass>, name: String, properties: Properties, context: plugin::Context) -> Answer<()> {
        let (task, id) = connector::make(inner(classes), &name, properties, context)?;
        TASK.with(|kept| *kept.borrow_mut() = Some((task, SourceTaskContext { task: id })));
        Ok(())
    }

    pub fn stop() {
        if let Some((mut task, _)) = TASK.with(|kept| kept.borrow_mut().take()) {
            task.stop();
        }
    }

    #[must_use]
    pub fn validate(classes: Vec<SourceClass>, name: String, properties: Properties) -> Vec<Problem> {
        connector::validate(inner(classes), &name, properties)
    }

    pub fn plan(classes: Vec<SourceClass>, name: String, properties: Properties, tasks_max: u32) -> Answer<Vec<Properties>> {
        connector::plan(inner(classes), &name, properties, tasks_max)
    }

    fn with<R>(work: impl FnOnce(&mut dyn ColumnSource, &SourceTaskContext) -> Result<R>) -> Answer<R> {
        TASK.with(|kept| match kept.borrow_mut().as_mut() {
            Some((task, context)) => work(&mut **task, context).map_err(|error| error_of(&error)),
            None => Err(error_of(&Error::fatal("called before `configure`"))),
        })
    }

    pub fn start() -> Answer<source::Attention> {
        with(|task, context| {
            task.start(context)?;
            let wants = task.wants_acknowledgements();
            Ok(if wants { source::Attention::ACKNOWLEDGEMENTS } else { source::Attention::empty() })
        })
    }

    pub fn poll(out: &outgoing::Outbox) -> Answer<source::Next> {
        with(|task, _| {
            Ok(match task.poll(&Outbox(out))? {
                Next::More => source::Next::More,
                Next::Wait(wait) => source::Next::Wait(u32::try_from(wait.as_millis()).unwrap_or(u32::MAX)),
                Next::Done => source::Next::Done,
            })
        })
    }

    pub fn acknowledged(offsets: Properties) -> Answer<()> {
        with(|task, _| {
            let offsets: Vec<_> =
                offsets.iter().map(|(partition, offset)| Ok((map(partition)?, map(offset)?))).collect::<Result<_>>()?;
            task.acknowledged(&offsets)
        })
    }
}
