//! `metrics` of the contract: what a guest counts, kept for the page that Prometheus reads.

use penstock_api::PluginMetrics;
use penstock_api::metrics::{MetricKind, MetricOwner, OwnMetrics};

use crate::batch::Misuse;
use crate::contract::{cut, log, metrics};
use crate::state::State;

/// Of its text on the page.
const DOC_BYTES_MAX: usize = 512;
/// Stands for a series that is not kept.
const NOT_KEPT: u32 = u32::MAX;

/// The metrics of one instance, kept from its first one on.
pub(crate) struct GuestMetrics {
    all: PluginMetrics,
    /// `None` for instances that work for no task.
    owner: Option<MetricOwner>,
    own: Option<OwnMetrics>,
}

impl GuestMetrics {
    pub(crate) fn new(all: PluginMetrics, owner: Option<MetricOwner>) -> Self {
        Self { all, owner, own: None }
    }

    fn own(&mut self) -> Option<&OwnMetrics> {
        let owner = self.owner.as_ref()?;
        Some(self.own.get_or_insert_with(|| self.all.begin(owner.clone())))
    }
}

fn misused(function: &str) -> impl FnOnce(String) -> wasmtime::Error {
    move |why| wasmtime::Error::new(Misuse::of(format!("misused metrics.{function}: {why}")))
}

impl metrics::Host for State {
    fn declare(
        &mut self,
        name: String,
        kind: metrics::Kind,
        doc: String,
        labels: Vec<(String, String)>,
    ) -> wasmtime::Result<u32> {
        let kind = match kind {
            metrics::Kind::Counter => MetricKind::Counter,
            metrics::Kind::Gauge => MetricKind::Gauge,
            metrics::Kind::Histogram(bounds) => MetricKind::Histogram(bounds),
        };
        let Some(own) = self.metrics.own() else { return Ok(NOT_KEPT) };
        let declared = own.declare(&name, kind, &cut(doc, DOC_BYTES_MAX), labels).map_err(misused("declare"))?;
        if own.take_left_out() > 0 {
            let message = format!("the metric {name} is not kept: an instance has no room for more");
            self.log.line(log::Level::Warn, &message, &[]);
        }
        Ok(declared.unwrap_or(NOT_KEPT))
    }

    fn update(&mut self, metric: u32, value: f64) -> wasmtime::Result<()> {
        match self.metrics.own() {
            Some(own) if metric != NOT_KEPT => own.update(metric, value).map_err(misused("update")),
            _ => Ok(()),
        }
    }
}
