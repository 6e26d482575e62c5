//! What the fuzzers of `plugins/host/fuzz` call: their bytes become what a guest may give, mostly well-formed, and go where a guest's
//! would go. Only built with the feature `fuzzing`.
//!
//! Whatever comes, nothing may panic; and what is checked here beside that is what the worker relies on: an answer that is taken has
//! as many records as it said, JSON stays JSON, and rows are neither lost nor doubled.

use std::collections::BTreeSet;
use std::sync::Arc;

use arbitrary::{Result, Unstructured};
use penstock_api::{Batch, Bytes, Format, Headers, Kind, Payload, Record, Schema, SchemaAndValue, SchemaRef, Value};
use wasmtime::component::Resource;

use crate::batch::{Call, check_json};
use crate::contract::batches::{BoolColumn, Encoding, F64Column, Failure, HeaderForm, HostBatch};
use crate::contract::columns::{BytesColumn, HeaderColumns, NameColumn, S64Column};
use crate::contract::sources::penstock::connect::outgoing::{self, HostOutbox};
use crate::contract::{log, plugin, types};
use crate::engine::HostConfig;
use crate::guest_log::{GuestLog, Owner};
use crate::manifest;
use crate::network::Network;
use crate::state::State;

const MEMORY_BYTES_MAX: usize = 4 << 20;

/// What a component says of its classes.
pub fn describe(data: &[u8]) {
    with(data, |u| {
        let described: Vec<plugin::Class> = some(u, 4, class)?;
        let names: Vec<String> = described.iter().map(|class| class.name.clone()).collect();
        if let Ok(classes) = manifest::classes(described) {
            let distinct: BTreeSet<&String> = names.iter().collect();
            assert_eq!(distinct.len(), classes.len(), "a class was lost or doubled");
            for class in &classes {
                // A default that its own key refuses would fail every connector.
                let missing =
                    class.config.keys().iter().filter(|key| matches!(key.default, penstock_api::config::Default::Required));
                let given = missing.map(|key| (key.name.clone(), String::new())).collect();
                drop(class.config.parse(&given));
            }
        }
        Ok(())
    });
}

/// What a source adds to its outbox.
pub fn outgoing(data: &[u8]) {
    with(data, |u| {
        let mut state = state();
        for _ in 0..=u.int_in_range(0..=2)? {
            let (schemas, is_given) = (some(u, 2, schema)?, u.ratio(2, 3)?);
            let mut declared = Vec::new();
            for text in schemas {
                declared.extend(HostOutbox::declare_schema(&mut state, Resource::new_own(0), text));
            }
            let number = |u: &mut Unstructured<'_>| -> Result<Option<u32>> {
                let is_any = u.ratio(1, 40)?;
                if is_any { u.arbitrary() } else { Ok(u.choose(&declared).ok().copied().filter(|_| is_given)) }
            };
            let schemas = (number(u)?, number(u)?);
            let rows = rows(u)?;
            let count = rows.topics.index.len();
            let before = state.outbox.records.len();
            let added = match schemas {
                (None, None) => HostOutbox::add(&mut state, Resource::new_own(0), rows),
                (keys, values) => HostOutbox::add_with_schemas(&mut state, Resource::new_own(0), rows, keys, values),
            };
            if added.is_err() {
                // Such a call ends like a trap, and what it gave is void.
                state.outbox.clear();
                continue;
            }
            let added = &state.outbox.records[before..];
            assert_eq!(added.len(), count, "as many records as the guest has told");
            for record in added {
                for payload in [&record.record.key, &record.record.value] {
                    is_readable(payload);
                    is_of_its_schema(payload);
                }
            }
        }
        drop(HostOutbox::room(&mut state, Resource::new_own(0)));
        Ok(())
    });
}

/// What a transform, predicate or sink asks of its batch, and what it changes in it.
pub fn batch(data: &[u8]) {
    with(data, |u| {
        let records = some(u, 5, record)?;
        let mut batch = Batch::with_capacity(records.len());
        let mut live = Vec::new();
        for (row, record) in records.into_iter().enumerate() {
            batch.push(record, row as u32);
            if u.ratio(4, 5)? {
                live.push(row as u32);
            }
        }
        let (all, shown) = (batch.rows().len(), live.len());
        let mut state = state();
        state.call = Some(Call::new(batch, &live, u.ratio(9, 10)?, MEMORY_BYTES_MAX));
        let mut copies = 0;
        for _ in 0..u.int_in_range(0..=12)? {
            if ask(u, &mut state, &mut copies)?.is_err() {
                let kept = state.call.take().map(Call::abandon).expect("the call is there");
                assert_eq!(kept.rows().len(), all, "a call that was given up leaves the batch as it was");
                return Ok(());
            }
        }
        let call = state.call.take().expect("the call is there");
        let done = call.carry_out(&mut state.schema_extensions);
        assert_eq!(done.batch.rows().len(), all, "rows stay where they are");
        let mut gone: Vec<u32> = done.failed.iter().map(|(row, _)| *row).chain(done.discarded.iter().copied()).collect();
        assert!(gone.iter().all(|row| live.contains(row)), "only rows that were shown fail or go");
        let told = gone.len();
        gone.sort_unstable();
        gone.dedup();
        assert_eq!(gone.len(), told, "a row fails or goes once");
        assert!(gone.len() <= shown && done.emitted.len() <= copies, "no row from nowhere");
        for (row, shown) in done.batch.rows().iter().enumerate() {
            if !gone.contains(&(row as u32)) {
                is_readable(&shown.record.key);
                is_readable(&shown.record.value);
            }
        }
        for emitted in done.emitted.iter().filter(|emitted| emitted.outcome.is_ok()) {
            is_readable(&emitted.record.value);
        }
        Ok(())
    });
}

/// What a guest writes to its log.
pub fn log(data: &[u8]) {
    with(data, |u| {
        let mut state = state();
        for _ in 0..=u.int_in_range(0..=3)? {
            let level =
                *u.choose(&[log::Level::Trace, log::Level::Debug, log::Level::Info, log::Level::Warn, log::Level::Error])?;
            let message = text(u)?;
            let fields = some(u, 20, |u| Ok((text(u)?, text(u)?)))?;
            drop(log::Host::log(&mut state, level, message, fields));
        }
        Ok(())
    });
}

/// What was taken from a guest as JSON or text must be that, for whoever reads it next.
fn is_readable(payload: &Payload) {
    let Some(encoded) = payload.wire() else { return };
    match encoded.format {
        Format::Json => assert!(check_json(&encoded.bytes).is_ok(), "no JSON: {:?}", encoded.bytes),
        Format::String => assert!(std::str::from_utf8(&encoded.bytes).is_ok(), "no text: {:?}", encoded.bytes),
        _ => {}
    }
}

/// What converters and transforms trust in: a value that was taken fits its schema, on all levels. What was not taken says why.
fn is_of_its_schema(payload: &Payload) {
    if let Some(Format::Other(_)) = payload.wire().map(|encoded| &encoded.format) {
        let error = payload.view().expect_err("it was not taken");
        assert!(error.to_string().contains("does not fit its schema"), "{error:#}");
    } else if let Some(decoded) = payload.peek() {
        decoded.schema.iter().for_each(|schema| fits(&decoded.value, schema));
    }
}

fn fits(value: &Value, schema: &SchemaRef) {
    assert!(value.fits(schema), "{value:?} under {schema:?}");
    match value {
        Value::Struct(record) => {
            // A default is under its schema without the default; and NaN is not equal to itself.
            let names = |schema: &SchemaRef| schema.fields.iter().map(|field| field.name.clone()).collect::<Vec<_>>();
            assert_eq!(names(record.schema()), names(schema), "another schema");
            schema.fields.iter().zip(record.values()).for_each(|(field, value)| fits(value, &field.schema));
        }
        Value::Array(items) => items.iter().for_each(|item| fits(item, schema.value.as_ref().expect("of an array"))),
        Value::Map(map) => map.entries().iter().for_each(|(key, value)| {
            fits(key, schema.key.as_ref().expect("of a map"));
            fits(value, schema.value.as_ref().expect("of a map"));
        }),
        Value::Decimal(number) => assert_eq!(Some(number.fractional_digit_count()), schema.decimal_scale().map(i64::from)),
        _ => {}
    }
}

/// Where the bytes are too few, nothing is left to try.
fn with(data: &[u8], work: impl FnOnce(&mut Unstructured<'_>) -> Result<()>) {
    work(&mut Unstructured::new(data)).ok();
}

fn state() -> State {
    let config = HostConfig { memory_bytes_max: MEMORY_BYTES_MAX, ..HostConfig::default() };
    let network = Arc::new(Network::new(config.network.clone()));
    State::new(GuestLog::new(Owner::default()), &config, &network, &Arc::default(), None)
}

/// One call of the guest; an error ends it.
fn ask(u: &mut Unstructured<'_>, state: &mut State, copies: &mut usize) -> Result<wasmtime::Result<()>> {
    let this = || Resource::new_own(0);
    let rows = state.call.as_ref().map_or(0, Call::len);
    let side = if u.ratio(3, 4)? { types::Part::Value } else { types::Part::Key };
    let encoding = *u.choose(&[Encoding::Raw, Encoding::Json, Encoding::Avro])?;
    Ok(match u.int_in_range(0..=24)? {
        0 => state.topics(this()).map(drop),
        1 => state.headers(this()).map(drop),
        2 => state.payloads(this(), side, encoding).map(drop),
        3 => state.schemas(this(), side).map(drop),
        4 => state.schema(this(), u.arbitrary()?).map(drop),
        5 => state.prefetch(this(), side, some(u, 4, path)?),
        6 => state.kinds(this(), side, path(u)?).map(drop),
        7 => state.get_text(this(), side, path(u)?).map(drop),
        8 => state.get_s64(this(), side, path(u)?).map(drop),
        9 => state.get_f64(this(), side, path(u)?).map(drop),
        10 => state.get_bool(this(), side, path(u)?).map(drop),
        11 => state.get_json(this(), side, path(u)?).map(drop),
        12 => state.formats(this(), side).map(drop),
        13 | 14 => {
            let (path, (rows, count)) = (path(u)?, which(u, rows)?);
            state.set_text(this(), side, path, rows, bytes(u, count, text)?)
        }
        15 => {
            let (path, (rows, count)) = (path(u)?, which(u, rows)?);
            state.set_s64(this(), side, path, rows, integers(u, count)?)
        }
        16 => {
            let (path, (rows, count)) = (path(u)?, which(u, rows)?);
            state.set_f64(this(), side, path, rows, floats(u, count)?)
        }
        17 => {
            let (path, (rows, count)) = (path(u)?, which(u, rows)?);
            let values = (0..off(u, count.div_ceil(8))?).map(|_| u.arbitrary()).collect::<Result<_>>()?;
            state.set_bool(this(), side, path, rows, BoolColumn { values, present: present(u, count)? })
        }
        18 => {
            let (path, (rows, count)) = (path(u)?, which(u, rows)?);
            state.set_json(this(), side, path, rows, bytes(u, count, json)?)
        }
        19 => {
            let (rows, count) = which(u, rows)?;
            state.replace(this(), side, encoding, rows, bytes(u, count, json)?)
        }
        20 => {
            let (rows, count) = which(u, rows)?;
            state.set_topics(this(), rows, names(u, count, text)?)
        }
        21 => {
            let (rows, count) = which(u, rows)?;
            state.set_timestamps(this(), rows, integers(u, count)?)
        }
        22 => {
            let (name, (rows, count)) = (text(u)?, which(u, rows)?);
            let form = *u.choose(&[HeaderForm::Bytes, HeaderForm::Text])?;
            state.set_header(this(), name, form, rows, bytes(u, count, text)?)
        }
        23 => {
            let rows = which(u, rows)?.0.unwrap_or_default();
            if u.arbitrary()? {
                state.discard(this(), rows)
            } else {
                let failures = rows.into_iter().map(|row| Ok(Failure { row, error: error(u)? })).collect::<Result<_>>()?;
                state.fail(this(), failures)
            }
        }
        _ => {
            let rows = which(u, rows)?.0.unwrap_or_default();
            *copies += rows.len();
            state.copy(this(), rows).map(drop)
        }
    })
}

/// Up to so many of a thing.
fn some<T>(u: &mut Unstructured<'_>, max: usize, mut one: impl FnMut(&mut Unstructured<'_>) -> Result<T>) -> Result<Vec<T>> {
    (0..u.int_in_range(0..=max)?).map(|_| one(u)).collect()
}

/// The number, now and then another one.
fn off(u: &mut Unstructured<'_>, number: usize) -> Result<usize> {
    Ok(if u.ratio(1, 40)? { u.int_in_range(0..=number + 2)? } else { number })
}

/// An index below `len`, now and then any.
fn index(u: &mut Unstructured<'_>, len: usize) -> Result<u32> {
    Ok(if len == 0 || u.ratio(1, 40)? { u.arbitrary()? } else { u.int_in_range(0..=len - 1)? as u32 })
}

/// Which rows, and how many that are.
fn which(u: &mut Unstructured<'_>, rows: usize) -> Result<(Option<Vec<u32>>, usize)> {
    if u.ratio(1, 3)? {
        return Ok((None, rows));
    }
    let mut list = Vec::new();
    for row in 0..rows as u32 {
        if u.arbitrary()? {
            list.push(row);
        }
    }
    if u.ratio(1, 40)? {
        list.push(u.arbitrary()?);
    }
    let count = list.len();
    Ok((Some(list), count))
}

fn text(u: &mut Unstructured<'_>) -> Result<String> {
    const USUAL: [&str; 8] = ["a", "b", "id", "orders", "ä\u{1F600}", "", "x.y", "k$Value"];
    Ok(if u.ratio(2, 3)? { (*u.choose(&USUAL)?).to_owned() } else { u.arbitrary::<&str>()?.to_owned() })
}

fn path(u: &mut Unstructured<'_>) -> Result<String> {
    const USUAL: [&str; 8] = ["", "a", "a.b", "a.b.a", "id", "`a.b`", "a.`", "b"];
    Ok(if u.ratio(4, 5)? { (*u.choose(&USUAL)?).to_owned() } else { text(u)? })
}

fn json(u: &mut Unstructured<'_>) -> Result<String> {
    const USUAL: [&str; 12] = [
        "{}",
        r#"{"a":1}"#,
        r#"{"a":{"b":"x"},"id":7}"#,
        r#"{"a":{"b":{"a":[1,2,{"a":null}]}}, "b" : -1.5e3}"#,
        r#"{"a":1,"a":"2"}"#,
        r#"{"a\u0062":"\ud83d\ude00","b":"\\\"\n"}"#,
        "[1,[2]]",
        "null",
        "\"text\"",
        " 12 ",
        "true",
        "1e400",
    ];
    Ok(if u.ratio(4, 5)? { (*u.choose(&USUAL)?).to_owned() } else { text(u)? })
}

/// A schema of Connect as JSON, mostly well-formed, mostly one that some of [`json`] fits.
fn schema(u: &mut Unstructured<'_>) -> Result<String> {
    const NAMES: [&str; 5] = ["Decimal", "Date", "Time", "Timestamp", "Other"];
    fn part(u: &mut Unstructured<'_>, depth: u32) -> Result<String> {
        const LEAVES: [&str; 9] = ["int8", "int16", "int32", "int64", "float", "double", "boolean", "string", "bytes"];
        let kind = if depth == 3 { 0 } else { u.int_in_range(0..=5)? };
        let mut text = match kind {
            0 | 1 => format!(r#"{{"type":"{}""#, u.choose(&LEAVES)?),
            2 => format!(r#"{{"type":"array","items":{}"#, part(u, depth + 1)?),
            3 => format!(r#"{{"type":"map","keys":{},"values":{}"#, part(u, depth + 1)?, part(u, depth + 1)?),
            _ => {
                let mut fields = Vec::new();
                for name in ["a", "b", "id"] {
                    let schema = part(u, depth + 1)?;
                    fields.push(schema.replacen('{', &format!(r#"{{"field":"{name}","#), 1));
                }
                format!(r#"{{"type":"struct","fields":[{}]"#, fields.join(","))
            }
        };
        if u.ratio(2, 3)? {
            text += r#","optional":true"#;
        }
        if u.ratio(1, 4)? {
            text += &format!(r#","name":"org.apache.kafka.connect.data.{}""#, u.choose(&NAMES)?);
        }
        if u.ratio(1, 4)? {
            text += &format!(r#","parameters":{{"scale":"{}"}}"#, u.int_in_range(-3..=1_001)?);
        }
        if u.ratio(1, 8)? {
            text += &format!(r#","default":{}"#, json(u)?);
        }
        Ok(text + "}")
    }
    if u.ratio(19, 20)? { part(u, 0) } else { text(u) }
}

fn present(u: &mut Unstructured<'_>, rows: usize) -> Result<Vec<u8>> {
    if u.ratio(1, 2)? {
        return Ok(Vec::new());
    }
    (0..off(u, rows.div_ceil(8))?).map(|_| u.arbitrary()).collect()
}

fn bytes(
    u: &mut Unstructured<'_>,
    rows: usize,
    mut one: impl FnMut(&mut Unstructured<'_>) -> Result<String>,
) -> Result<BytesColumn> {
    let present = present(u, rows)?;
    let (mut data, mut ends) = (Vec::new(), Vec::new());
    for row in 0..off(u, rows)? {
        if present.is_empty() || present.get(row / 8).is_some_and(|byte| byte & (1 << (row % 8)) != 0) || u.ratio(1, 40)? {
            data.extend(one(u)?.into_bytes());
        }
        ends.push(if u.ratio(1, 60)? { u.arbitrary()? } else { data.len() as u32 });
    }
    if u.ratio(1, 40)? {
        data.extend(u.arbitrary::<&[u8]>()?);
    }
    Ok(BytesColumn { data, ends, present })
}

fn integers(u: &mut Unstructured<'_>, rows: usize) -> Result<S64Column> {
    let values = (0..off(u, rows)?).map(|_| u.arbitrary()).collect::<Result<_>>()?;
    Ok(S64Column { values, present: present(u, rows)? })
}

fn floats(u: &mut Unstructured<'_>, rows: usize) -> Result<F64Column> {
    let values = (0..off(u, rows)?).map(|_| u.arbitrary()).collect::<Result<_>>()?;
    Ok(F64Column { values, present: present(u, rows)? })
}

fn names(u: &mut Unstructured<'_>, rows: usize, one: impl FnMut(&mut Unstructured<'_>) -> Result<String>) -> Result<NameColumn> {
    let names = some(u, 3, one)?;
    let index = (0..off(u, rows)?).map(|_| index(u, names.len())).collect::<Result<_>>()?;
    Ok(NameColumn { names, index })
}

fn error(u: &mut Unstructured<'_>) -> Result<types::Error> {
    use types::ErrorKind::{Config, Data, Fatal, Retriable};
    Ok(types::Error { kind: *u.choose(&[Retriable, Data, Config, Fatal])?, message: text(u)? })
}

fn rows(u: &mut Unstructured<'_>) -> Result<outgoing::Rows> {
    let count = u.int_in_range(0..=5)?;
    let form = |u: &mut Unstructured<'_>| u.choose(&[outgoing::Form::Bytes, outgoing::Form::Text, outgoing::Form::Json]).copied();
    let payloads = |u: &mut Unstructured<'_>| Ok(outgoing::Payloads { form: form(u)?, values: bytes(u, count, json)? });
    let topics = names(u, count, text)?;
    let partitions =
        if u.arbitrary()? { Vec::new() } else { (0..off(u, count)?).map(|_| u.arbitrary()).collect::<Result<_>>()? };
    let (keys, values, timestamps) = (payloads(u)?, payloads(u)?, integers(u, count)?);
    let mut ends = Vec::new();
    let mut headers = 0;
    for _ in 0..off(u, count)? {
        headers += u.int_in_range(0..=2)?;
        ends.push(if u.ratio(1, 60)? { u.arbitrary()? } else { headers as u32 });
    }
    let header_names = names(u, headers, text)?;
    let header_values = bytes(u, headers, text)?;
    let headers = HeaderColumns { ends, names: header_names.names, index: header_names.index, values: header_values };
    let header_form = form(u)?;
    let origins = names(u, count, json)?;
    let offsets = bytes(u, count, json)?;
    Ok(outgoing::Rows { topics, partitions, keys, values, timestamps, headers, header_form, origins, offsets })
}

fn record(u: &mut Unstructured<'_>) -> Result<Record> {
    let mut headers = Headers::new();
    for _ in 0..u.int_in_range(0..=2)? {
        headers.add(text(u)?, payload(u)?);
    }
    Ok(Record {
        topic: text(u)?.into(),
        partition: u.arbitrary()?,
        key: payload(u)?,
        value: payload(u)?,
        headers,
        timestamp: u.arbitrary()?,
        offset: u.arbitrary()?,
    })
}

/// As converters and earlier stages leave them.
fn payload(u: &mut Unstructured<'_>) -> Result<Payload> {
    let given = |text: String, format| Payload::encoded(Bytes::from(text), format);
    Ok(match u.int_in_range(0..=5)? {
        0 => Payload::null(),
        1 => given(text(u)?, Format::Bytes),
        2 => given(text(u)?, Format::String),
        3 => Payload::decoded(SchemaAndValue::new(Schema::new(Kind::String), Value::String(text(u)?.into()))),
        _ => {
            let text = json(u)?;
            if check_json(text.as_bytes()).is_err() { Payload::null() } else { given(text, Format::Json) }
        }
    })
}

fn class(u: &mut Unstructured<'_>) -> Result<plugin::Class> {
    Ok(plugin::Class {
        name: text(u)?,
        aliases: some(u, 2, text)?,
        version: text(u)?,
        config: some(u, 4, key)?,
        grants: some(u, 2, wish)?,
    })
}

fn wish(u: &mut Unstructured<'_>) -> Result<plugin::WantedGrant> {
    use plugin::Grant;
    const GRANTS: [Grant; 4] = [Grant::Hosts, Grant::Secrets, Grant::Folders, Grant::Environment];
    Ok(plugin::WantedGrant { grant: *u.choose(&GRANTS)?, entry: text(u)?, doc: text(u)? })
}

fn key(u: &mut Unstructured<'_>) -> Result<plugin::ConfigKey> {
    use plugin::{ConfigCheck, ConfigDefault, ConfigType, Importance, Width};
    const KINDS: [ConfigType; 9] = [
        ConfigType::Boolean,
        ConfigType::Text,
        ConfigType::Short,
        ConfigType::Int,
        ConfigType::Long,
        ConfigType::Double,
        ConfigType::List,
        ConfigType::Class,
        ConfigType::Password,
    ];
    let default = match u.int_in_range(0..=2)? {
        0 => ConfigDefault::Required,
        1 => ConfigDefault::Null,
        _ => ConfigDefault::Value(if u.arbitrary()? { u.arbitrary::<i16>()?.to_string() } else { text(u)? }),
    };
    let check = match u.int_in_range(0..=5)? {
        0 => ConfigCheck::NonEmpty,
        1 => ConfigCheck::OneOf(some(u, 3, text)?),
        2 => ConfigCheck::OneOfIgnoreCase(some(u, 3, text)?),
        3 => ConfigCheck::Min(u.arbitrary()?),
        4 => ConfigCheck::Range((u.arbitrary()?, u.arbitrary()?)),
        _ => ConfigCheck::Any,
    };
    Ok(plugin::ConfigKey {
        name: text(u)?,
        kind: *u.choose(&KINDS)?,
        default,
        check,
        importance: *u.choose(&[Importance::High, Importance::Medium, Importance::Low])?,
        doc: text(u)?,
        group: if u.arbitrary()? { Some(text(u)?) } else { None },
        order: u.arbitrary()?,
        width: *u.choose(&[Width::None, Width::Short, Width::Medium, Width::Long])?,
        display_name: text(u)?,
        dependents: some(u, 2, text)?,
        recommended: some(u, 2, text)?,
        internal: u.arbitrary()?,
    })
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    #[test]
    fn nothing_a_guest_gives_breaks_the_host() {
        let seed: u64 = match std::env::var("PENSTOCK_SEED").as_deref() {
            Err(_) => 1,
            Ok("random") => rand::random(),
            Ok(seed) => seed.parse().expect("PENSTOCK_SEED is a number, or `random`"),
        };
        println!("run again with PENSTOCK_SEED={seed}");
        let mut rng = StdRng::seed_from_u64(seed);
        for fuzzer in [super::describe, super::outgoing, super::batch, super::log] {
            for _ in 0..3_000 {
                let data: Vec<u8> = (0..rng.random_range(0..600)).map(|_| rng.random()).collect();
                fuzzer(&data);
            }
        }
    }
}
