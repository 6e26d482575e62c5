//! Which plugins there are: built in and loaded, indistinguishable here.

use std::sync::Arc;

use crate::config::{ConfigDef, Props};
use crate::connector::SinkConnector;
use crate::converter::{Converter, HeaderConverter};
use crate::error::Result;
use crate::metrics::PluginMetrics;
use crate::source::SourceConnector;
use crate::transform::{Part, Predicate, Transform};

/// One class that configurations can name.
#[derive(Clone)]
pub struct Plugin {
    /// The full name: Connect's own for what Connect has (`org.apache.kafka.connect.transforms.InsertField$Value`).
    pub class: String,
    /// Other full names it answers to.
    pub aliases: Vec<String>,
    /// As a listing shows it.
    pub version: String,
    pub config: Arc<ConfigDef>,
    pub construct: Constructor,
}

/// Connect's plugin types.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PluginKind {
    Sink,
    Source,
    Converter,
    HeaderConverter,
    Transformation,
    Predicate,
}

impl PluginKind {
    /// The `type` in REST listings.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            PluginKind::Sink => "sink",
            PluginKind::Source => "source",
            PluginKind::Converter => "converter",
            PluginKind::HeaderConverter => "header_converter",
            PluginKind::Transformation => "transformation",
            PluginKind::Predicate => "predicate",
        }
    }
}

type Make<T> = Arc<dyn Fn(&Props) -> Result<T> + Send + Sync>;

/// Makes one instance from checked properties without their prefix. A `Config` error names the key.
#[derive(Clone)]
pub enum Constructor {
    Sink(Arc<dyn Fn() -> Box<dyn SinkConnector> + Send + Sync>),
    Source(Arc<dyn Fn() -> Box<dyn SourceConnector> + Send + Sync>),
    Transformation(Make<Box<dyn Transform>>),
    Predicate(Make<Box<dyn Predicate>>),
    /// Gets which half of a record it is for.
    Converter(Arc<dyn Fn(&Props, Part) -> Result<Box<dyn Converter>> + Send + Sync>),
    HeaderConverter(Make<Box<dyn HeaderConverter>>),
}

impl Plugin {
    /// Which kind it is.
    #[must_use]
    pub fn kind(&self) -> PluginKind {
        match self.construct {
            Constructor::Sink(_) => PluginKind::Sink,
            Constructor::Source(_) => PluginKind::Source,
            Constructor::Transformation(_) => PluginKind::Transformation,
            Constructor::Predicate(_) => PluginKind::Predicate,
            Constructor::Converter(_) => PluginKind::Converter,
            Constructor::HeaderConverter(_) => PluginKind::HeaderConverter,
        }
    }

    /// Whether a configuration that says `name` means this class: its full name, its simple name (`InsertField$Value`), or
    /// for connectors the simple name without `Connector`, as `Plugins.java` allows.
    #[must_use]
    pub fn answers_to(&self, name: &str) -> bool {
        std::iter::once(&self.class).chain(&self.aliases).any(|class| {
            let simple = class.rsplit('.').next().unwrap_or(class);
            name == class || name == simple || self.pruned(simple) == Some(name)
        })
    }

    /// The simple name without the word that says its kind.
    fn pruned<'n>(&self, simple: &'n str) -> Option<&'n str> {
        let suffix = match self.kind() {
            PluginKind::Sink | PluginKind::Source => "Connector",
            PluginKind::Converter | PluginKind::HeaderConverter => "Converter",
            PluginKind::Transformation | PluginKind::Predicate => return None,
        };
        simple.strip_suffix(suffix).filter(|rest| !rest.is_empty())
    }
}

/// All plugins of a worker.
#[derive(Clone, Default)]
pub struct Registry {
    plugins: Vec<Arc<Plugin>>,
    missing: Option<String>,
    metrics: PluginMetrics,
}

impl Registry {
    /// An empty registry.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds plugins; of equal names the one added first is found.
    pub fn extend(&mut self, plugins: impl IntoIterator<Item = Plugin>) {
        self.plugins.extend(plugins.into_iter().map(Arc::new));
    }

    /// Notes where a class that is not found may be: a file that could not be used, for example.
    pub fn explain_missing(&mut self, why: Option<String>) {
        self.missing = why;
    }

    /// What to add for people to the message that a class was not found: empty, or in parentheses after a space.
    #[must_use]
    pub fn missing_hint(&self) -> String {
        self.missing.as_ref().map_or_else(String::new, |why| format!(" ({why})"))
    }

    /// What plugins count for themselves.
    #[must_use]
    pub fn metrics(&self) -> &PluginMetrics {
        &self.metrics
    }

    /// All plugins, in the order added.
    #[must_use]
    pub fn plugins(&self) -> &[Arc<Plugin>] {
        &self.plugins
    }

    /// The plugins of that class and kind, one for each version; the one that a name finds comes first.
    pub fn versions<'r>(&'r self, plugin: &'r Plugin) -> impl Iterator<Item = &'r Arc<Plugin>> {
        self.plugins.iter().filter(|other| other.class == plugin.class && other.kind() == plugin.kind())
    }

    /// The plugin of one of these kinds that a configuration means by `name`; full names go before simple ones.
    #[must_use]
    pub fn find(&self, kinds: &[PluginKind], name: &str) -> Option<&Arc<Plugin>> {
        let of_kind = || self.plugins.iter().filter(|p| kinds.contains(&p.kind()));
        of_kind().find(|p| p.class == name).or_else(|| of_kind().find(|p| p.answers_to(name)))
    }
}
