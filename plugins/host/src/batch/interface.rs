//! The resource `batch` as the guest calls it: each function finds the running call, and turns mistakes into traps.

use std::fmt;

use penstock_api::{Error, Part};
use wasmtime::component::Resource;

use super::Call;
use super::columns::TooLong;
use super::note::Unchecked;
use crate::contract::batches::{
    self, BoolColumn, BytesColumn, Encoding, F64Column, Failure, FieldKind, HeaderColumns, HeaderForm, NameColumn, S64Column,
};
use crate::contract::{self, types};
use crate::state::{BatchHandle, State};

/// A mistake of the guest, which ends its call.
#[derive(Debug)]
pub(crate) struct Misuse(String);

impl Misuse {
    /// What was misused, and how.
    pub(crate) fn of(what: String) -> Self {
        Self(what)
    }
}

impl fmt::Display for Misuse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Misuse {}

fn misuse(function: &str, why: impl fmt::Display) -> wasmtime::Error {
    wasmtime::Error::new(Misuse(format!("misused batch.{function}: {why}")))
}

impl State {
    fn call(&mut self) -> &mut Call {
        // A guest has the handle as a borrow that ends with the call, so it cannot be used at another time.
        self.call.as_mut().expect("a batch is at hand while a guest holds its handle")
    }

    fn set(
        &mut self,
        function: &str,
        part: types::Part,
        path: &str,
        rows: Option<Vec<u32>>,
        values: Unchecked,
    ) -> wasmtime::Result<()> {
        let part = Part::from(part);
        let call = self.call();
        let known = call.side(part).paths.get(path).map(|located| located.path.clone());
        let path = match known {
            Some(path) => path,
            None => super::path::Path::parse(path).map_err(|why| misuse(function, why))?.into(),
        };
        call.noted.field(part, path, rows, values).map_err(|why| misuse(function, why))
    }
}

fn too_long(function: &str) -> impl Fn(TooLong) -> wasmtime::Error + '_ {
    move |TooLong| misuse(function, "the column is longer than 4 GiB")
}

impl batches::Host for State {}

impl batches::HostBatch for State {
    fn len(&mut self, _: Resource<BatchHandle>) -> wasmtime::Result<u32> {
        Ok(self.call().len() as u32)
    }

    fn topics(&mut self, _: Resource<BatchHandle>) -> wasmtime::Result<NameColumn> {
        Ok(self.call().topics())
    }

    fn partitions(&mut self, _: Resource<BatchHandle>) -> wasmtime::Result<Vec<i32>> {
        Ok(self.call().partitions())
    }

    fn offsets(&mut self, _: Resource<BatchHandle>) -> wasmtime::Result<S64Column> {
        Ok(self.call().offsets())
    }

    fn timestamps(&mut self, _: Resource<BatchHandle>) -> wasmtime::Result<S64Column> {
        Ok(self.call().timestamps())
    }

    fn headers(&mut self, _: Resource<BatchHandle>) -> wasmtime::Result<HeaderColumns> {
        self.call().headers().map_err(too_long("headers"))
    }

    fn formats(&mut self, _: Resource<BatchHandle>, part: types::Part) -> wasmtime::Result<Vec<batches::Format>> {
        Ok(self.call().formats(part.into()))
    }

    fn payloads(&mut self, _: Resource<BatchHandle>, part: types::Part, encoding: Encoding) -> wasmtime::Result<BytesColumn> {
        self.call().payloads(part.into(), encoding).map_err(too_long("payloads"))
    }

    fn schemas(&mut self, _: Resource<BatchHandle>, part: types::Part) -> wasmtime::Result<Vec<u32>> {
        let mut schemas = std::mem::take(&mut self.avro_schemas);
        let numbers = self.call().schemas(part.into(), &mut schemas);
        self.avro_schemas = schemas;
        Ok(numbers)
    }

    fn schema(&mut self, _: Resource<BatchHandle>, id: u32) -> wasmtime::Result<String> {
        let text = self.avro_schemas.text(id).map(str::to_owned);
        text.ok_or_else(|| misuse("schema", format_args!("{id} is no number that `schemas` gave")))
    }

    fn prefetch(&mut self, _: Resource<BatchHandle>, part: types::Part, paths: Vec<String>) -> wasmtime::Result<()> {
        self.call().prefetch(part.into(), &paths).map_err(|why| misuse("prefetch", why))
    }

    fn kinds(&mut self, _: Resource<BatchHandle>, part: types::Part, path: String) -> wasmtime::Result<Vec<FieldKind>> {
        self.call().kinds(part.into(), &path).map_err(|why| misuse("kinds", why))
    }

    fn get_text(&mut self, _: Resource<BatchHandle>, part: types::Part, path: String) -> wasmtime::Result<BytesColumn> {
        self.call().get_text(part.into(), &path).map_err(|why| misuse("get-text", why))
    }

    fn get_s64(&mut self, _: Resource<BatchHandle>, part: types::Part, path: String) -> wasmtime::Result<S64Column> {
        self.call().get_s64(part.into(), &path).map_err(|why| misuse("get-s64", why))
    }

    fn get_f64(&mut self, _: Resource<BatchHandle>, part: types::Part, path: String) -> wasmtime::Result<F64Column> {
        self.call().get_f64(part.into(), &path).map_err(|why| misuse("get-f64", why))
    }

    fn get_bool(&mut self, _: Resource<BatchHandle>, part: types::Part, path: String) -> wasmtime::Result<BoolColumn> {
        self.call().get_bool(part.into(), &path).map_err(|why| misuse("get-bool", why))
    }

    fn get_json(&mut self, _: Resource<BatchHandle>, part: types::Part, path: String) -> wasmtime::Result<BytesColumn> {
        self.call().get_json(part.into(), &path).map_err(|why| misuse("get-json", why))
    }

    fn set_text(
        &mut self,
        _: Resource<BatchHandle>,
        part: types::Part,
        path: String,
        rows: Option<Vec<u32>>,
        values: BytesColumn,
    ) -> wasmtime::Result<()> {
        self.set("set-text", part, &path, rows, Unchecked::Text(values))
    }

    fn set_s64(
        &mut self,
        _: Resource<BatchHandle>,
        part: types::Part,
        path: String,
        rows: Option<Vec<u32>>,
        values: S64Column,
    ) -> wasmtime::Result<()> {
        self.set("set-s64", part, &path, rows, Unchecked::S64(values))
    }

    fn set_f64(
        &mut self,
        _: Resource<BatchHandle>,
        part: types::Part,
        path: String,
        rows: Option<Vec<u32>>,
        values: F64Column,
    ) -> wasmtime::Result<()> {
        self.set("set-f64", part, &path, rows, Unchecked::F64(values))
    }

    fn set_bool(
        &mut self,
        _: Resource<BatchHandle>,
        part: types::Part,
        path: String,
        rows: Option<Vec<u32>>,
        values: BoolColumn,
    ) -> wasmtime::Result<()> {
        self.set("set-bool", part, &path, rows, Unchecked::Bool(values))
    }

    fn set_json(
        &mut self,
        _: Resource<BatchHandle>,
        part: types::Part,
        path: String,
        rows: Option<Vec<u32>>,
        values: BytesColumn,
    ) -> wasmtime::Result<()> {
        self.set("set-json", part, &path, rows, Unchecked::Json(values))
    }

    fn replace(
        &mut self,
        _: Resource<BatchHandle>,
        part: types::Part,
        encoding: Encoding,
        rows: Option<Vec<u32>>,
        values: BytesColumn,
    ) -> wasmtime::Result<()> {
        self.call().noted.payload(part.into(), encoding, rows, values).map_err(|why| misuse("replace", why))
    }

    fn set_topics(&mut self, _: Resource<BatchHandle>, rows: Option<Vec<u32>>, topics: NameColumn) -> wasmtime::Result<()> {
        self.call().noted.topics(rows, topics).map_err(|why| misuse("set-topics", why))
    }

    fn set_timestamps(&mut self, _: Resource<BatchHandle>, rows: Option<Vec<u32>>, values: S64Column) -> wasmtime::Result<()> {
        self.call().noted.timestamps(rows, values).map_err(|why| misuse("set-timestamps", why))
    }

    fn set_header(
        &mut self,
        _: Resource<BatchHandle>,
        name: String,
        form: HeaderForm,
        rows: Option<Vec<u32>>,
        values: BytesColumn,
    ) -> wasmtime::Result<()> {
        self.call().noted.header(&name, form, rows, values).map_err(|why| misuse("set-header", why))
    }

    fn discard(&mut self, _: Resource<BatchHandle>, rows: Vec<u32>) -> wasmtime::Result<()> {
        self.call().noted.discard(&rows).map_err(|why| misuse("discard", why))
    }

    fn fail(&mut self, _: Resource<BatchHandle>, failures: Vec<Failure>) -> wasmtime::Result<()> {
        for Failure { row, error } in failures {
            let error: Error = contract::error(error);
            self.call().noted.fail(row, error).map_err(|why| misuse("fail", why))?;
        }
        Ok(())
    }

    fn copy(&mut self, _: Resource<BatchHandle>, rows: Vec<u32>) -> wasmtime::Result<u32> {
        self.call().noted.copy(rows).map_err(|why| misuse("copy", why))
    }

    fn drop(&mut self, _: Resource<BatchHandle>) -> wasmtime::Result<()> {
        // Guests only ever borrow the batch, so none can own, and drop, it.
        Ok(())
    }
}
