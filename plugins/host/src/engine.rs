//! The one wasmtime engine: how components are compiled, what they may import, and the clock that interrupts them.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::thread::{self, Thread};
use std::time::Duration;

use penstock_api::PluginMetrics;
use sha2::{Digest, Sha256};
use wasmtime::EngineWeak;
use wasmtime::component::{Component, HasSelf, Linker};

use crate::cache::{Cache, default_dir, hex};
use crate::contract::{common, sources};
use crate::grants::Ceiling;
use crate::network::{Network, NetworkConfig, add_to_linker};
use crate::state::State;
use crate::watch::Watch;

/// What the worker sets for all components.
#[derive(Clone, Debug)]
pub struct HostConfig {
    /// Linear memory that one instance may use, in bytes. At the limit its allocation fails, and it usually traps.
    /// `penstock.plugin.memory.max.bytes` in the worker file, and in messages.
    pub memory_bytes_max: usize,
    /// How long one call may take. Then the instance is ended as if it had trapped. While the whole process stands still, as on a
    /// machine that is suspended, time does not count. `penstock.plugin.call.timeout.ms` in the worker file, and in messages.
    pub call_deadline: Duration,
    /// Where compiled code is kept; `None` is `$XDG_CACHE_HOME/penstock/components`, else the same under `~/.cache`.
    pub cache_dir: Option<PathBuf>,
    /// The most that connectors may ask for; nothing by default.
    pub grants: Ceiling,
    pub network: NetworkConfig,
    /// Where plugins' own metrics are found.
    pub metrics: PluginMetrics,
}

impl Default for HostConfig {
    fn default() -> Self {
        Self {
            memory_bytes_max: 64 << 20,
            call_deadline: Duration::from_secs(1),
            cache_dir: None,
            grants: Ceiling::default(),
            network: NetworkConfig::default(),
            metrics: PluginMetrics::default(),
        }
    }
}

/// How often a running guest lets others run. A deadline is noticed within this time.
const TICK: Duration = Duration::from_millis(10);

pub(crate) struct Engine {
    engine: wasmtime::Engine,
    linker: Linker<State>,
    cache: Option<Cache>,
    clock: Clock,
    pub network: Arc<Network>,
    pub config: HostConfig,
}

impl Engine {
    pub(crate) fn new(config: HostConfig) -> wasmtime::Result<Arc<Self>> {
        let mut settings = wasmtime::Config::new();
        settings.epoch_interruption(true);
        // Backtraces are not shown, so code need not carry the tables for them.
        settings.generate_address_map(false);
        let engine = wasmtime::Engine::new(&settings)?;
        let mut linker = Linker::new(&engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
        wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)?;
        add_to_linker(&mut linker)?;
        common::Common::add_to_linker::<_, HasSelf<State>>(&mut linker, |state| state)?;
        sources::Sources::add_to_linker::<_, HasSelf<State>>(&mut linker, |state| state)?;
        let clock = Clock::start(&engine);
        let network = Arc::new(Network::new(config.network.clone()));
        Ok(Arc::new(Self { cache: open_cache(&config), engine, linker, clock, network, config }))
    }

    pub(crate) fn wasmtime(&self) -> &wasmtime::Engine {
        &self.engine
    }

    pub(crate) fn linker(&self) -> &Linker<State> {
        &self.linker
    }

    /// Compiles a component, or takes what was compiled before.
    pub(crate) fn compile(&self, bytes: &[u8]) -> wasmtime::Result<Component> {
        let key = self.key(bytes);
        if let Some(code) = self.cache.as_ref().and_then(|cache| cache.load(&key)) {
            // SAFETY: the code came from `serialize` of a worker of the same user: the cache folder is private, and the file's
            // digest has been checked. Code of another engine version or configuration is refused by `deserialize` itself.
            match unsafe { Component::deserialize(&self.engine, &code) } {
                Ok(component) => return Ok(component),
                Err(error) => tracing::debug!(%error, "cached code is of another engine, so the plugin is compiled anew"),
            }
        }
        let component = self.compile_anew(bytes)?;
        if let Some(cache) = &self.cache {
            let stored = component.serialize().map_err(std::io::Error::other).and_then(|code| cache.store(&key, &code));
            if let Err(error) = stored {
                let dir = cache.dir().display();
                tracing::warn!(%error, "cannot keep compiled code in {dir} (penstock.plugin.cache.dir), so the next start compiles again");
            }
        }
        Ok(component)
    }

    /// Compiles on threads that end with it: the compiler's working memory, tens of MB, stays with the thread that used it.
    fn compile_anew(&self, bytes: &[u8]) -> wasmtime::Result<Component> {
        let threads = rayon::ThreadPoolBuilder::new().thread_name(|n| format!("compile-{n}")).build()?;
        threads.install(|| Component::new(&self.engine, bytes))
    }

    /// Marks the time of a call into a guest; without one the clock stands still.
    pub(crate) fn running(&self, watch: &Arc<Watch>) -> Running<'_> {
        self.clock.running(watch.clone())
    }

    fn key(&self, bytes: &[u8]) -> String {
        let mut engine = DefaultHasher::new();
        self.engine.precompile_compatibility_hash().hash(&mut engine);
        format!("{}-{:016x}", hex(&Sha256::digest(bytes)), engine.finish())
    }
}

fn open_cache(config: &HostConfig) -> Option<Cache> {
    let dir = config.cache_dir.clone().or_else(default_dir)?;
    Cache::open(&dir)
        .inspect_err(|error| {
            let dir = dir.display();
            tracing::warn!(%error, "no cache for compiled plugins in {dir} (penstock.plugin.cache.dir), so each start compiles them");
        })
        .ok()
}

/// Counts epochs while a guest runs, so that an idle worker sleeps.
struct Clock {
    hands: Arc<Hands>,
    thread: Thread,
}

#[derive(Default)]
struct Hands {
    /// Calls that are under way.
    calls: AtomicUsize,
    ticks: AtomicU32,
}

/// A call that is under way.
pub(crate) struct Running<'c> {
    clock: &'c Clock,
    since: u32,
    pub watch: Arc<Watch>,
}

impl Clock {
    fn start(engine: &wasmtime::Engine) -> Self {
        let hands = Arc::<Hands>::default();
        let (weak, turned) = (engine.weak(), hands.clone());
        let handle = thread::Builder::new()
            .name("plugin-clock".into())
            .spawn(move || tick(&weak, &turned))
            .expect("a thread can be started when the worker starts");
        Self { hands, thread: handle.thread().clone() }
    }

    fn running(&self, watch: Arc<Watch>) -> Running<'_> {
        if self.hands.calls.fetch_add(1, Ordering::AcqRel) == 0 {
            self.thread.unpark();
        }
        watch.begin();
        Running { clock: self, since: self.hands.ticks.load(Ordering::Relaxed), watch }
    }
}

impl Running<'_> {
    /// For how long, counted in ticks: less than the time on the wall when the machine stood still or was short of time. Without the time
    /// that the guest has waited for the worker or the network.
    pub(crate) fn elapsed(&self) -> Duration {
        let ticked = TICK * self.clock.hands.ticks.load(Ordering::Relaxed).wrapping_sub(self.since);
        ticked.saturating_sub(self.watch.waited())
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.clock.hands.calls.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Drop for Clock {
    fn drop(&mut self) {
        // The thread looks whether the engine is still there, and ends.
        self.thread.unpark();
    }
}

fn tick(engine: &EngineWeak, hands: &Hands) {
    loop {
        if hands.calls.load(Ordering::Acquire) == 0 {
            thread::park();
        }
        thread::sleep(TICK);
        let Some(engine) = engine.upgrade() else { return };
        hands.ticks.fetch_add(1, Ordering::Relaxed);
        engine.increment_epoch();
    }
}
