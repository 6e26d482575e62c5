//! What a component holds: classes, each with its keys and how it is made.

use std::sync::Arc;

use penstock_api::transform::TransformContext;
use penstock_api::{ConfigDef, Constructor, Error, Parsed, Plugin, Predicate, Props, Result, Transform};

use crate::rows::Batch;
use crate::wit::plugin::exports::penstock::connect::plugin;
pub use crate::wit::plugin::exports::penstock::connect::plugin::Grant;

/// A transform that works on columns of a batch.
pub trait ColumnTransform {
    /// Called once before the first batch.
    ///
    /// # Errors
    /// Fails the task.
    fn start(&mut self, _context: &TransformContext) -> Result<()> {
        Ok(())
    }

    /// Notes on the batch what shall become of its rows.
    ///
    /// # Errors
    /// One of the kinds `Data` and `Retriable` fails all rows, any other the task. Use [`Batch::fail`] for single rows.
    fn apply(&mut self, batch: &Batch<'_>) -> Result<()>;

    /// Called once after the last batch.
    fn stop(&mut self) {}
}

/// A predicate that works on columns of a batch.
pub trait ColumnPredicate {
    /// Called once before the first batch.
    ///
    /// # Errors
    /// Fails the task.
    fn start(&mut self, _context: &TransformContext) -> Result<()> {
        Ok(())
    }

    /// Says of each row whether it matches, in order.
    ///
    /// # Errors
    /// As for [`ColumnTransform::apply`].
    fn test(&mut self, batch: &Batch<'_>) -> Result<Vec<bool>>;

    /// Called once after the last batch.
    fn stop(&mut self) {}
}

/// A class of transforms.
pub struct TransformClass {
    pub(crate) about: About,
    /// How a worker would make it if it were built in; `None` for the form of columns.
    #[cfg_attr(target_family = "wasm", expect(dead_code, reason = "only native cases make it so"))]
    pub(crate) native: Option<Constructor>,
    pub(crate) make: Box<dyn Fn(&Props) -> Result<RunningTransform>>,
}

/// A class of predicates.
pub struct PredicateClass {
    pub(crate) about: About,
    /// How a worker would make it if it were built in; `None` for the form of columns.
    #[cfg_attr(target_family = "wasm", expect(dead_code, reason = "only native cases make it so"))]
    pub(crate) native: Option<Constructor>,
    pub(crate) make: Box<dyn Fn(&Props) -> Result<RunningPredicate>>,
}

pub(crate) enum RunningTransform {
    Columns(Box<dyn ColumnTransform>),
    Records(Box<dyn Transform>),
}

pub(crate) enum RunningPredicate {
    Columns(Box<dyn ColumnPredicate>),
    Records(Box<dyn Predicate>),
}

pub(crate) struct About {
    pub name: String,
    pub aliases: Vec<String>,
    pub version: String,
    pub config: ConfigDef,
    /// What it needs of the world outside.
    pub wants: Vec<plugin::WantedGrant>,
}

impl TransformClass {
    /// A class in the form of columns. `make` gets the checked values of all keys.
    pub fn columns<T: ColumnTransform + 'static>(
        name: &str,
        version: &str,
        config: ConfigDef,
        make: impl Fn(&Parsed) -> Result<T> + 'static,
    ) -> Self {
        let checked_by = config.clone();
        let make = move |props: &Props| Ok(RunningTransform::Columns(Box::new(make(&checked_by.parse(props)?)?)));
        Self { about: About::new(name, version, config), native: None, make: Box::new(make) }
    }

    /// A class in the form of records. `make` gets the checked values of all keys.
    pub fn records<T: Transform + 'static>(
        name: &str,
        version: &str,
        config: ConfigDef,
        make: impl Fn(&Parsed) -> Result<T> + Send + Sync + 'static,
    ) -> Self {
        let checked_by = config.clone();
        let construct = move |props: &Props| Ok(Box::new(make(&checked_by.parse(props)?)?) as Box<dyn Transform>);
        Self::constructed(About::new(name, version, config), Arc::new(construct))
    }

    /// The same, answering to another full name, too.
    #[must_use]
    pub fn alias(mut self, name: &str) -> Self {
        self.about.aliases.push(name.to_owned());
        self
    }

    /// The same, telling people what it needs of the world outside: an entry as the key of that grant takes it (`api.example.com:443`), and
    /// what for. An empty entry: it depends on the configuration, as `doc` explains. This grants nothing.
    #[must_use]
    pub fn wants(mut self, grant: Grant, entry: &str, doc: &str) -> Self {
        self.about.want(grant, entry, doc);
        self
    }

    /// A native transform as a class of a component; `None` when the plugin is of another kind.
    #[must_use]
    pub fn native(plugin: &Plugin) -> Option<Self> {
        let Constructor::Transformation(construct) = plugin.construct.clone() else { return None };
        Some(Self::constructed(About::of(plugin), construct))
    }

    fn constructed(about: About, construct: Arc<dyn Fn(&Props) -> Result<Box<dyn Transform>> + Send + Sync>) -> Self {
        let native = Some(Constructor::Transformation(construct.clone()));
        Self { about, native, make: Box::new(move |props| Ok(RunningTransform::Records(construct(props)?))) }
    }
}

impl PredicateClass {
    /// A class in the form of columns. `make` gets the checked values of all keys.
    pub fn columns<T: ColumnPredicate + 'static>(
        name: &str,
        version: &str,
        config: ConfigDef,
        make: impl Fn(&Parsed) -> Result<T> + 'static,
    ) -> Self {
        let checked_by = config.clone();
        let make = move |props: &Props| Ok(RunningPredicate::Columns(Box::new(make(&checked_by.parse(props)?)?)));
        Self { about: About::new(name, version, config), native: None, make: Box::new(make) }
    }

    /// A class in the form of records. `make` gets the checked values of all keys.
    pub fn records<T: Predicate + 'static>(
        name: &str,
        version: &str,
        config: ConfigDef,
        make: impl Fn(&Parsed) -> Result<T> + Send + Sync + 'static,
    ) -> Self {
        let checked_by = config.clone();
        let construct = move |props: &Props| Ok(Box::new(make(&checked_by.parse(props)?)?) as Box<dyn Predicate>);
        Self::constructed(About::new(name, version, config), Arc::new(construct))
    }

    /// The same, answering to another full name, too.
    #[must_use]
    pub fn alias(mut self, name: &str) -> Self {
        self.about.aliases.push(name.to_owned());
        self
    }

    /// The same, telling people what it needs of the world outside: an entry as the key of that grant takes it (`api.example.com:443`), and
    /// what for. An empty entry: it depends on the configuration, as `doc` explains. This grants nothing.
    #[must_use]
    pub fn wants(mut self, grant: Grant, entry: &str, doc: &str) -> Self {
        self.about.want(grant, entry, doc);
        self
    }

    /// A native predicate as a class of a component; `None` when the plugin is of another kind.
    #[must_use]
    pub fn native(plugin: &Plugin) -> Option<Self> {
        let Constructor::Predicate(construct) = plugin.construct.clone() else { return None };
        Some(Self::constructed(About::of(plugin), construct))
    }

    fn constructed(about: About, construct: Arc<dyn Fn(&Props) -> Result<Box<dyn Predicate>> + Send + Sync>) -> Self {
        let native = Some(Constructor::Predicate(construct.clone()));
        Self { about, native, make: Box::new(move |props| Ok(RunningPredicate::Records(construct(props)?))) }
    }
}

impl About {
    pub(crate) fn new(name: &str, version: &str, config: ConfigDef) -> Self {
        Self { name: name.to_owned(), aliases: Vec::new(), version: version.to_owned(), config, wants: Vec::new() }
    }

    fn of(plugin: &Plugin) -> Self {
        let Plugin { class, aliases, version, config, .. } = plugin;
        Self {
            name: class.clone(),
            aliases: aliases.clone(),
            version: version.clone(),
            config: ConfigDef::clone(config),
            wants: Vec::new(),
        }
    }

    pub(crate) fn want(&mut self, grant: Grant, entry: &str, doc: &str) {
        self.wants.push(plugin::WantedGrant { grant, entry: entry.to_owned(), doc: doc.to_owned() });
    }

    /// The class as cases use it.
    #[cfg(not(target_family = "wasm"))]
    pub(crate) fn class(self, native: Option<Constructor>) -> penstock_plugin_testing::Class {
        use penstock_plugin_testing::Class;
        let Self { name, aliases, version, config, wants: _ } = self;
        match native {
            Some(construct) => Class::Records(Plugin { class: name, aliases, version, config: Arc::new(config), construct }),
            None => Class::Columns(name),
        }
    }
}

pub(crate) fn unknown(name: &str) -> Error {
    Error::fatal(format!("this component has no class {name}"))
}
