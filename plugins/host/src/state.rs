//! What a store holds beside the guest: its limits, its log, its narrow view of the system, and the batch it works on.

use std::sync::Arc;
use std::time::Duration;

use penstock_api::metrics::MetricOwner;
use wasmtime::ResourceLimiter;
use wasmtime::component::{Resource, ResourceTable};
use wasmtime_wasi::p2::bindings::sockets::network::{ErrorCode, Network};
use wasmtime_wasi::{FsPerms, WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use crate::batch::{AvroSchemas, Call, SchemaExtensions};
use crate::contract::{columns, log, secrets, types};
use crate::engine::HostConfig;
use crate::grants::Grants;
use crate::guest_log::GuestLog;
use crate::metrics::GuestMetrics;
use crate::network::{self, Lookup, Outgoing};
use crate::outbox::Outbox;
use crate::watch::Watch;

/// Requests, bodies, streams, files and the like that an instance may hold at once. More, and the function that would add one traps.
const RESOURCES_MAX: usize = 512;
/// Of the headers of one request or response.
const FIELDS_BYTES_MAX: usize = 32 << 10;

/// Stands for the batch of the running call, which lies in [`State::call`]: there is never more than one.
#[expect(unreachable_pub, reason = "generated code names it in public signatures")]
pub struct BatchHandle;

pub(crate) struct State {
    wasi: WasiCtx,
    http: WasiHttpCtx,
    outgoing: Outgoing,
    table: ResourceTable,
    pub log: GuestLog,
    pub metrics: GuestMetrics,
    pub memory: Memory,
    /// Of a whole batch; parts of one have a share of it.
    pub call_deadline: Duration,
    pub network_wait_max: Duration,
    /// The batch, while a call runs.
    pub call: Option<Call>,
    /// What a source gives.
    pub outbox: Outbox,
    /// What the deadline does not count, and what was broken.
    pub watch: Arc<Watch>,
    pub avro_schemas: AvroSchemas,
    pub schema_extensions: SchemaExtensions,
}

impl State {
    /// What is not granted is not there: no file, variable, argument or address. Output goes to the log; clocks and chance are there.
    pub(crate) fn new(
        log: GuestLog,
        config: &HostConfig,
        network: &Arc<network::Network>,
        grants: &Arc<Grants>,
        owner: Option<MetricOwner>,
    ) -> Self {
        let memory_bytes_max = config.memory_bytes_max;
        let watch = Watch::new(config.network.wait_max);
        let mut table = ResourceTable::new();
        table.set_max_capacity(RESOURCES_MAX);
        let mut http = WasiHttpCtx::new();
        http.set_field_size_limit(FIELDS_BYTES_MAX);
        let outgoing = Outgoing::new(network.clone(), grants.clone(), watch.clone());
        let mut wasi = WasiCtxBuilder::new();
        wasi.stdout(log.stdout())
            .stderr(log.stderr())
            .allow_tcp(true)
            .socket_addr_check(outgoing.socket_check())
            .allow_udp(false)
            .allow_ip_name_lookup(false)
            .envs(&grants.environment);
        for (path, folder) in &grants.folders {
            let perms = if folder.may_write { FsPerms::ReadWrite } else { FsPerms::ReadOnly };
            if let Err(error) = wasi.preopened_dir(path, folder.path.to_string_lossy(), perms) {
                watch.broke(format!("could not be given the folder {folder} (plugin.grants.folders): {error:#}"));
            }
        }
        let wasi = wasi.build();
        Self {
            wasi,
            http,
            outgoing,
            table,
            log,
            metrics: GuestMetrics::new(config.metrics.clone(), owner),
            memory: Memory { bytes: 0, bytes_max: memory_bytes_max, was_refused: false },
            call_deadline: config.call_deadline,
            network_wait_max: config.network.wait_max,
            call: None,
            outbox: Outbox::new(memory_bytes_max),
            watch,
            avro_schemas: AvroSchemas::default(),
            schema_extensions: SchemaExtensions::default(),
        }
    }
}

impl State {
    /// What the guest holds of the host.
    pub(crate) fn table(&mut self) -> &mut ResourceTable {
        &mut self.table
    }

    /// Begins to look for the addresses of a name. The network stands for the right to do so.
    pub(crate) fn look_up(
        &mut self,
        network: &Resource<Network>,
        name: &str,
    ) -> wasmtime::Result<Result<Resource<Lookup>, ErrorCode>> {
        self.table.get(network)?;
        match self.outgoing.look_up(name) {
            Ok(lookup) => Ok(Ok(self.table.push(lookup)?)),
            Err(code) => Ok(Err(code)),
        }
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for State {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { hooks: &mut self.outgoing, table: &mut self.table, ctx: &mut self.http }
    }
}

impl types::Host for State {}

impl columns::Host for State {}

impl secrets::Host for State {
    fn placeholder(&mut self, name: String) -> wasmtime::Result<String> {
        self.outgoing.placeholder(&name).ok_or_else(|| wasmtime::format_err!("the secret was not granted"))
    }
}

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
