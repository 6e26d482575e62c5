//! The contract `penstock:connect@0.1.0` as generated code, and its plain types as those of `penstock-api`.
//!
//! One module for each published version; a later one makes this a thin layer onto the newest.

use penstock_api::{Error, ErrorKind, Part};

/// The package this worker speaks.
pub(crate) const PACKAGE: &str = "penstock:connect";
/// Its version.
pub(crate) const VERSION: &str = "0.1.0";

/// What all components import, and export whatever their kind.
pub(crate) mod common {
    wasmtime::component::bindgen!({
        path: "../../wit",
        inline: "
            package penstock:worker;
            world common {
                import penstock:connect/batches@0.1.0;
                import penstock:connect/log@0.1.0;
                import penstock:connect/secrets@0.1.0;
                import penstock:connect/metrics@0.1.0;
                export penstock:connect/plugin@0.1.0;
            }
        ",
        world: "penstock:worker/common",
        imports: { default: trappable },
        exports: { default: async },
        with: { "penstock:connect/batches.batch": crate::state::BatchHandle },
    });
}

/// What transforms export beside it.
pub(crate) mod transforms {
    wasmtime::component::bindgen!({
        path: "../../wit",
        inline: "
            package penstock:worker;
            world transforms {
                import penstock:connect/batches@0.1.0;
                export penstock:connect/transform@0.1.0;
            }
        ",
        world: "penstock:worker/transforms",
        imports: { default: trappable },
        exports: { default: async },
        with: {
            "penstock:connect/types": super::common::penstock::connect::types,
            "penstock:connect/columns": super::common::penstock::connect::columns,
            "penstock:connect/batches": super::common::penstock::connect::batches,
        },
    });
}

/// What predicates export beside it.
pub(crate) mod predicates {
    wasmtime::component::bindgen!({
        path: "../../wit",
        inline: "
            package penstock:worker;
            world predicates {
                import penstock:connect/batches@0.1.0;
                export penstock:connect/predicate@0.1.0;
            }
        ",
        world: "penstock:worker/predicates",
        imports: { default: trappable },
        exports: { default: async },
        with: {
            "penstock:connect/types": super::common::penstock::connect::types,
            "penstock:connect/columns": super::common::penstock::connect::columns,
            "penstock:connect/batches": super::common::penstock::connect::batches,
        },
    });
}

/// What the connectors of sinks and sources export beside it.
pub(crate) mod connectors {
    wasmtime::component::bindgen!({
        path: "../../wit",
        inline: "
            package penstock:worker;
            world connectors {
                export penstock:connect/connector@0.1.0;
            }
        ",
        world: "penstock:worker/connectors",
        exports: { default: async },
        with: { "penstock:connect/types": super::common::penstock::connect::types },
    });
}

/// What sinks export beside it.
pub(crate) mod sinks {
    wasmtime::component::bindgen!({
        path: "../../wit",
        inline: "
            package penstock:worker;
            world sinks {
                import penstock:connect/batches@0.1.0;
                export penstock:connect/sink@0.1.0;
            }
        ",
        world: "penstock:worker/sinks",
        imports: { default: trappable },
        exports: { default: async },
        with: {
            "penstock:connect/types": super::common::penstock::connect::types,
            "penstock:connect/columns": super::common::penstock::connect::columns,
            "penstock:connect/batches": super::common::penstock::connect::batches,
        },
    });
}

/// What sources import and export beside it.
pub(crate) mod sources {
    wasmtime::component::bindgen!({
        path: "../../wit",
        inline: "
            package penstock:worker;
            world sources {
                import penstock:connect/outgoing@0.1.0;
                import penstock:connect/offsets@0.1.0;
                import penstock:connect/reconfigure@0.1.0;
                export penstock:connect/source@0.1.0;
            }
        ",
        world: "penstock:worker/sources",
        imports: { "penstock:connect/offsets.stored": async | trappable, default: trappable },
        exports: { default: async },
        with: {
            "penstock:connect/types": super::common::penstock::connect::types,
            "penstock:connect/columns": super::common::penstock::connect::columns,
            "penstock:connect/outgoing.outbox": crate::outbox::OutboxHandle,
        },
    });
}

pub(crate) use common::exports::penstock::connect::plugin;
pub(crate) use common::penstock::connect::{batches, columns, log, metrics, secrets, types};

/// Messages of guests are cut to this many bytes.
pub(crate) const MESSAGE_BYTES_MAX: usize = 4096;

/// A guest's error as ours.
pub(crate) fn error(error: types::Error) -> Error {
    let kind = match error.kind {
        types::ErrorKind::Retriable => ErrorKind::Retriable,
        types::ErrorKind::Data => ErrorKind::Data,
        types::ErrorKind::Config => ErrorKind::Config,
        types::ErrorKind::Fatal => ErrorKind::Fatal,
    };
    Error::new(kind, cut(error.message, MESSAGE_BYTES_MAX))
}

/// An error of ours as a guest is told it.
pub(crate) fn told(error: &Error) -> types::Error {
    let kind = match error.kind() {
        ErrorKind::Retriable => types::ErrorKind::Retriable,
        ErrorKind::Data => types::ErrorKind::Data,
        ErrorKind::Config => types::ErrorKind::Config,
        ErrorKind::Fatal => types::ErrorKind::Fatal,
    };
    types::Error { kind, message: format!("{error:#}") }
}

/// Cuts a text to at most `bytes_max`, at a character.
pub(crate) fn cut(mut text: String, bytes_max: usize) -> String {
    if text.len() > bytes_max {
        text.truncate(text.floor_char_boundary(bytes_max));
    }
    text
}

impl From<types::Part> for Part {
    fn from(part: types::Part) -> Self {
        match part {
            types::Part::Key => Part::Key,
            types::Part::Value => Part::Value,
        }
    }
}
