//! `export_transforms!` and `export_predicates!`: a list of classes becomes what the contract wants exported.

use std::cell::RefCell;
use std::sync::Arc;

use penstock_api::config::{Check, ConfigKey, ConfigType, Default, Importance, Width};
use penstock_api::connector::TaskId;
use penstock_api::transform::TransformContext;
use penstock_api::{Error, Result};

use crate::class::{About, PredicateClass, RunningPredicate, RunningTransform, TransformClass, unknown};
use crate::records;
use crate::rows::{Batch, error_of};
use crate::wit::plugin::exports::penstock::connect::plugin;
use crate::wit::{batches, types};

/// Exports a component of transforms: `export_transforms!(classes)`, where `classes` is a `fn() -> Vec<TransformClass>`.
#[macro_export]
macro_rules! export_transforms {
    ($classes:expr) => {
        $crate::__export_plugin!($classes, transforms);

        impl $crate::wit::transform::exports::penstock::connect::transform::Guest for PenstockComponent {
            fn apply(batch: &$crate::wit::batches::Batch) -> ::core::result::Result<(), $crate::wit::types::Error> {
                $crate::export::apply(batch)
            }
        }

        #[cfg(target_family = "wasm")]
        $crate::wit::transform::export_transform!(PenstockComponent with_types_in $crate::wit::transform);
    };
}

/// Exports a component of predicates: `export_predicates!(classes)`, where `classes` is a `fn() -> Vec<PredicateClass>`.
#[macro_export]
macro_rules! export_predicates {
    ($classes:expr) => {
        $crate::__export_plugin!($classes, predicates);

        impl $crate::wit::predicate::exports::penstock::connect::predicate::Guest for PenstockComponent {
            fn test(
                batch: &$crate::wit::batches::Batch,
            ) -> ::core::result::Result<::std::vec::Vec<u8>, $crate::wit::types::Error> {
                $crate::export::test(batch)
            }
        }

        #[cfg(target_family = "wasm")]
        $crate::wit::predicate::export_predicate!(PenstockComponent with_types_in $crate::wit::predicate);
    };
}

/// Exports a component of sinks: `export_sinks!(classes)`, where `classes` is a `fn() -> Vec<SinkClass>`.
#[macro_export]
macro_rules! export_sinks {
    ($classes:expr) => {
        $crate::__export_plugin!($classes, sinks);
        $crate::__export_connector!($classes, sink);

        const _: () = {
            use $crate::sink::calls;
            use $crate::wit::sink::exports::penstock::connect::sink;
            use $crate::wit::types::Error;

            type Answer<T> = ::core::result::Result<T, Error>;

            impl sink::Guest for PenstockComponent {
                fn start() -> Answer<()> {
                    calls::start()
                }

                fn open(partitions: ::std::vec::Vec<sink::TopicPartition>) -> Answer<::std::vec::Vec<sink::Position>> {
                    calls::open(partitions)
                }

                fn put(batch: &$crate::wit::batches::Batch) -> Answer<()> {
                    calls::put(batch)
                }

                fn idle() -> Answer<()> {
                    calls::idle()
                }

                fn pre_commit(put: ::std::vec::Vec<sink::Position>) -> Answer<::std::vec::Vec<sink::Position>> {
                    calls::pre_commit(put)
                }

                fn flush(partitions: ::std::vec::Vec<sink::TopicPartition>) -> Answer<()> {
                    calls::flush(partitions)
                }

                fn close(partitions: ::std::vec::Vec<sink::TopicPartition>, lost: bool) {
                    calls::close(partitions, lost);
                }
            }
        };

        #[cfg(target_family = "wasm")]
        $crate::wit::sink::export_sink!(PenstockComponent with_types_in $crate::wit::sink);
    };
}

/// Exports a component of sources: `export_sources!(classes)`, where `classes` is a `fn() -> Vec<SourceClass>`.
#[macro_export]
macro_rules! export_sources {
    ($classes:expr) => {
        $crate::__export_plugin!($classes, sources);
        $crate::__export_connector!($classes, source);

        const _: () = {
            use $crate::source::calls;
            use $crate::wit::source::exports::penstock::connect::source;
            use $crate::wit::types::Error;

            type Answer<T> = ::core::result::Result<T, Error>;

            impl source::Guest for PenstockComponent {
                fn guarantee(
                    class: ::std::string::String,
                    properties: ::std::vec::Vec<(::std::string::String, ::std::string::String)>,
                ) -> source::Guarantees {
                    calls::guarantee($classes(), &class, properties)
                }

                fn start() -> Answer<source::Attention> {
                    calls::start()
                }

                fn poll(out: &$crate::wit::outgoing::Outbox) -> Answer<source::Next> {
                    calls::poll(out)
                }

                fn acknowledged(offsets: ::std::vec::Vec<(::std::string::String, ::std::string::String)>) -> Answer<()> {
                    calls::acknowledged(offsets)
                }
            }
        };

        #[cfg(target_family = "wasm")]
        $crate::wit::source::export_source!(PenstockComponent with_types_in $crate::wit::source);
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __export_connector {
    ($classes:expr, $kind:ident) => {
        const _: () = {
            use $crate::$kind::calls;
            use $crate::wit::connector::exports::penstock::connect::connector;

            type Properties = ::std::vec::Vec<(::std::string::String, ::std::string::String)>;

            impl connector::Guest for PenstockComponent {
                fn validate(class: ::std::string::String, properties: Properties) -> ::std::vec::Vec<connector::Problem> {
                    calls::validate($classes(), class, properties)
                }

                fn plan(
                    class: ::std::string::String,
                    properties: Properties,
                    tasks_max: u32,
                ) -> ::core::result::Result<::std::vec::Vec<Properties>, $crate::wit::types::Error> {
                    calls::plan($classes(), class, properties, tasks_max)
                }
            }
        };

        #[cfg(target_family = "wasm")]
        $crate::wit::connector::export_connector!(PenstockComponent with_types_in $crate::wit::connector);
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __export_plugin {
    ($classes:expr, $kind:ident) => {
        // Natively nothing is exported: names like these are none to a native linker.
        #[doc(hidden)]
        #[cfg_attr(not(target_family = "wasm"), allow(dead_code))]
        struct PenstockComponent;

        impl $crate::wit::plugin::exports::penstock::connect::plugin::Guest for PenstockComponent {
            fn describe() -> ::std::vec::Vec<$crate::wit::plugin::exports::penstock::connect::plugin::Class> {
                $crate::export::$kind::describe($classes())
            }

            fn configure(
                class: ::std::string::String,
                properties: ::std::vec::Vec<(::std::string::String, ::std::string::String)>,
                context: $crate::wit::plugin::exports::penstock::connect::plugin::Context,
            ) -> ::core::result::Result<(), $crate::wit::types::Error> {
                $crate::export::$kind::configure($classes(), class, properties, context)
            }

            fn stop() {
                $crate::export::$kind::stop();
            }
        }

        // Elsewhere nothing but an author's cases would use the classes.
        #[cfg(not(target_family = "wasm"))]
        const _: fn() = || {
            let _ = $classes;
        };

        #[cfg(target_family = "wasm")]
        $crate::wit::plugin::export_plugin!(PenstockComponent with_types_in $crate::wit::plugin);
    };
}

pub(crate) type Properties = Vec<(String, String)>;
pub(crate) type Answer<T> = std::result::Result<T, types::Error>;

/// What an instance has been configured as.
struct Configured {
    running: Running,
    context: TransformContext,
}

enum Running {
    Transform(RunningTransform),
    Predicate(RunningPredicate),
}

thread_local! {
    static CONFIGURED: RefCell<Option<Configured>> = const { RefCell::new(None) };
}

/// The calls of a component of sources.
pub mod sources {
    pub use crate::source::calls::{configure, describe, stop};
}

/// The calls of a component of sinks.
pub mod sinks {
    pub use crate::sink::calls::{configure, describe, stop};
}

/// The calls of a component of transforms.
pub mod transforms {
    pub use super::stop;
    use super::{Answer, Properties, Running, TransformClass, class_of, keep, plugin};

    #[must_use]
    #[expect(clippy::needless_pass_by_value, reason = "authors' functions answer a list that is used once")]
    pub fn describe(classes: Vec<TransformClass>) -> Vec<plugin::Class> {
        classes.iter().map(|class| class_of(&class.about)).collect()
    }

    pub fn configure(classes: Vec<TransformClass>, name: String, properties: Properties, context: plugin::Context) -> Answer<()> {
        let class = classes.into_iter().find(|class| class.about.name == name);
        keep(class.map(|class| move |props: &_| (class.make)(props).map(Running::Transform)), name, properties, context)
    }
}

/// The calls of a component of predicates.
pub mod predicates {
    pub use super::stop;
    use super::{Answer, PredicateClass, Properties, Running, class_of, keep, plugin};

    #[must_use]
    #[expect(clippy::needless_pass_by_value, reason = "authors' functions answer a list that is used once")]
    pub fn describe(classes: Vec<PredicateClass>) -> Vec<plugin::Class> {
        classes.iter().map(|class| class_of(&class.about)).collect()
    }

    pub fn configure(classes: Vec<PredicateClass>, name: String, properties: Properties, context: plugin::Context) -> Answer<()> {
        let class = classes.into_iter().find(|class| class.about.name == name);
        keep(class.map(|class| move |props: &_| (class.make)(props).map(Running::Predicate)), name, properties, context)
    }
}

/// Makes an instance of the class, starts it and keeps it.
fn keep(
    make: Option<impl FnOnce(&penstock_api::Props) -> Result<Running>>,
    name: String,
    properties: Properties,
    context: plugin::Context,
) -> Answer<()> {
    let start = || -> Result<Configured> {
        let make = make.ok_or_else(|| unknown(&name))?;
        let mut running = make(&properties.into_iter().collect())?;
        let task = TaskId { connector: context.connector.into(), task: context.task };
        let context = TransformContext { task, alias: context.alias.into(), class: Arc::from(name) };
        match &mut running {
            Running::Transform(RunningTransform::Columns(plugin)) => plugin.start(&context)?,
            Running::Transform(RunningTransform::Records(plugin)) => records::ready(plugin.start(&context))??,
            Running::Predicate(RunningPredicate::Columns(plugin)) => plugin.start(&context)?,
            Running::Predicate(RunningPredicate::Records(plugin)) => records::ready(plugin.start(&context))??,
        }
        Ok(Configured { running, context })
    };
    let configured = start().map_err(|error| error_of(&error))?;
    CONFIGURED.with(|kept| *kept.borrow_mut() = Some(configured));
    Ok(())
}

/// `transform.apply` of the contract.
pub fn apply(batch: &batches::Batch) -> Answer<()> {
    with(|configured| {
        let batch = Batch::new(batch);
        match &mut configured.running {
            Running::Transform(RunningTransform::Columns(plugin)) => plugin.apply(&batch),
            Running::Transform(RunningTransform::Records(plugin)) => records::apply(&mut **plugin, &batch, &configured.context),
            Running::Predicate(_) => Err(Error::fatal("a predicate was called as a transform")),
        }
    })
}

/// `predicate.test` of the contract.
pub fn test(batch: &batches::Batch) -> Answer<Vec<u8>> {
    with(|configured| {
        let batch = Batch::new(batch);
        let matches = match &mut configured.running {
            Running::Predicate(RunningPredicate::Columns(plugin)) => plugin.test(&batch)?,
            Running::Predicate(RunningPredicate::Records(plugin)) => records::test(&mut **plugin, &batch, &configured.context)?,
            Running::Transform(_) => return Err(Error::fatal("a transform was called as a predicate")),
        };
        let mut bitmap = vec![0; matches.len().div_ceil(8)];
        for (row, _) in matches.iter().enumerate().filter(|(_, matches)| **matches) {
            bitmap[row / 8] |= 1 << (row % 8);
        }
        Ok(bitmap)
    })
}

/// `plugin.stop` of the contract.
pub fn stop() {
    let waited = match CONFIGURED.with(|kept| kept.borrow_mut().take()).map(|configured| configured.running) {
        Some(Running::Transform(RunningTransform::Columns(mut plugin))) => return plugin.stop(),
        Some(Running::Predicate(RunningPredicate::Columns(mut plugin))) => return plugin.stop(),
        Some(Running::Transform(RunningTransform::Records(mut plugin))) => records::ready(plugin.stop()),
        Some(Running::Predicate(RunningPredicate::Records(mut plugin))) => records::ready(plugin.stop()),
        None => return,
    };
    if let Err(error) = waited {
        crate::log::warn(&format!("stop: {error:#}"));
    }
}

fn with<R>(work: impl FnOnce(&mut Configured) -> Result<R>) -> Answer<R> {
    CONFIGURED.with(|kept| match kept.borrow_mut().as_mut() {
        Some(configured) => work(configured).map_err(|error| error_of(&error)),
        None => Err(error_of(&Error::fatal("called before `configure`"))),
    })
}

pub(crate) fn class_of(about: &About) -> plugin::Class {
    plugin::Class {
        name: about.name.clone(),
        aliases: about.aliases.clone(),
        version: about.version.clone(),
        config: about.config.keys().iter().map(key_of).collect(),
        grants: about.wants.clone(),
    }
}

fn key_of(key: &ConfigKey) -> plugin::ConfigKey {
    plugin::ConfigKey {
        name: key.name.clone(),
        kind: match key.kind {
            ConfigType::Boolean => plugin::ConfigType::Boolean,
            ConfigType::String => plugin::ConfigType::Text,
            ConfigType::Short => plugin::ConfigType::Short,
            ConfigType::Int => plugin::ConfigType::Int,
            ConfigType::Long => plugin::ConfigType::Long,
            ConfigType::Double => plugin::ConfigType::Double,
            ConfigType::List => plugin::ConfigType::List,
            ConfigType::Class => plugin::ConfigType::Class,
            ConfigType::Password => plugin::ConfigType::Password,
        },
        default: match &key.default {
            Default::Required => plugin::ConfigDefault::Required,
            Default::Null => plugin::ConfigDefault::Null,
            Default::Value(text) => plugin::ConfigDefault::Value(text.clone()),
        },
        check: match &key.check {
            // Neither code crosses nor what the contract has no word for; `configure` runs the check.
            Check::Any | Check::NonNull | Check::List { .. } | Check::All(_) | Check::Custom(_) | Check::Within(_) => {
                plugin::ConfigCheck::Any
            }
            Check::NonEmpty => plugin::ConfigCheck::NonEmpty,
            Check::OneOf(texts) => plugin::ConfigCheck::OneOf(texts.clone()),
            Check::OneOfIgnoreCase(texts) => plugin::ConfigCheck::OneOfIgnoreCase(texts.clone()),
            Check::Min(min) => plugin::ConfigCheck::Min(*min),
            Check::Range(min, max) => plugin::ConfigCheck::Range((*min, *max)),
        },
        importance: match key.importance {
            Importance::High => plugin::Importance::High,
            Importance::Medium => plugin::Importance::Medium,
            Importance::Low => plugin::Importance::Low,
        },
        doc: key.doc.clone(),
        group: key.group.clone(),
        order: key.order,
        width: match key.width {
            Width::None => plugin::Width::None,
            Width::Short => plugin::Width::Short,
            Width::Medium => plugin::Width::Medium,
            Width::Long => plugin::Width::Long,
        },
        display_name: key.display_name.clone(),
        dependents: key.dependents.clone(),
        recommended: key.recommended.clone(),
        internal: key.internal,
    }
}
