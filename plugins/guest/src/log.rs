//! The worker's log. Lines appear there beside the connector, the task and the class; a flood of them is cut.

pub use crate::wit::log::Level;

/// Writes a line with fields. In a native test it goes to standard error.
pub fn log(level: Level, message: &str, fields: &[(String, String)]) {
    if cfg!(target_family = "wasm") {
        crate::wit::log::log(level, message, fields);
    } else {
        let fields: String = fields.iter().map(|(name, value)| format!(" {name}={value}")).collect();
        eprintln!("{level:?} {message}{fields}");
    }
}

/// Something unexpected happened, and the plugin went on.
pub fn warn(message: &str) {
    log(Level::Warn, message, &[]);
}

/// A state has changed, not: a record has passed.
pub fn info(message: &str) {
    log(Level::Info, message, &[]);
}

/// Only of use to who looks for a fault.
pub fn debug(message: &str) {
    log(Level::Debug, message, &[]);
}
