//! What a store holds beside the guest: its limits, its log, its narrow view of the system, and the batch it works on.

use std::sync::Arc;
use std::time::Duration;

use wasmtime::ResourceLimiter;
use wasmtime::component::ResourceTable;
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};

use crate::batch::{AvroSchemas, Call, SchemaExtensions};
use crate::contract::{columns, log, types};
use crate::engine::Waits;
use crate::guest_log::GuestLog;
use crate::outbox::Outbox;

/// Stands for the batch of the running call, which lies in [`State::call`]: there is never more than one.
#[expect(unreachable_pub, reason = "generated code names it in public signatures")]
pub struct BatchHandle;

pub(crate) struct State {
    wasi: WasiCtx,
    table: ResourceTable,
    pub log: GuestLog,
    pub memory: Memory,
    /// Of a whole batch; parts of one have a share of it.
    pub call_deadline: Duration,
    /// The batch, while a call runs.
    pub call: Option<Call>,
    /// What a source gives.
    pub outbox: Outbox,
    /// What the deadline does not count.
    pub waits: Arc<Waits>,
    pub avro_schemas: AvroSchemas,
    pub schema_extensions: SchemaExtensions,
}

impl State {
    /// Nothing is granted: no file, variable, argument or address. Output goes to the log; clocks and chance are there.
    pub(crate) fn new(log: GuestLog, memory_bytes_max: usize, call_deadline: Duration) -> Self {
        let wasi = WasiCtxBuilder::new()
            .stdout(log.stdout())
            .stderr(log.stderr())
            .allow_tcp(false)
            .allow_udp(false)
            .allow_ip_name_lookup(false)
            .build();
        Self {
            wasi,
            table: ResourceTable::new(),
            log,
            memory: Memory { bytes: 0, bytes_max: memory_bytes_max, was_refused: false },
            call_deadline,
            call: None,
            outbox: Outbox::new(memory_bytes_max),
            waits: Arc::default(),
            avro_schemas: AvroSchemas::default(),
            schema_extensions: SchemaExtensions::default(),
        }
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl types::Host for State {}

impl columns::Host for State {}

impl log::Host for State {
    fn log(&mut self, level: log::Level, message: String, fields: Vec<(String, String)>) -> wasmtime::Result<()> {
        self.log.line(level, &message, &fields);
        Ok(())
    }
}

/// How much linear memory all memories of the instance hold.
pub(crate) struct Memory {
    bytes: usize,
    pub bytes_max: usize,
    /// Whether the guest was refused memory: explains the trap that mostly follows.
    pub was_refused: bool,
}

/// A table holds function pointers; this is far beyond any compiler's.
const TABLE_ELEMENTS_MAX: usize = 1 << 20;

impl ResourceLimiter for Memory {
    fn memory_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        let bytes = self.bytes.saturating_add(desired.saturating_sub(current));
        if bytes > self.bytes_max {
            self.was_refused = true;
            return Ok(false);
        }
        self.bytes = bytes;
        Ok(true)
    }

    fn table_growing(&mut self, _current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        Ok(desired <= TABLE_ELEMENTS_MAX)
    }
}
