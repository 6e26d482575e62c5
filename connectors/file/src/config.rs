//! The keys, typed.

use penstock_api::{ConfigDef, ConfigKey, ConfigType, Importance, Props, Result};
use std::path::PathBuf;

const FILE: &str = "file";

/// The sink's keys.
pub(crate) fn sink() -> ConfigDef {
    ConfigDef::new([ConfigKey::nullable(FILE, ConfigType::String, "The file to write to. Without it, standard output.")
        .importance(Importance::High)])
}

/// Where the sink writes; `None`: to standard output.
pub(crate) fn sink_file(props: &Props) -> Result<Option<PathBuf>> {
    let parsed = sink().parse(props)?;
    Ok(parsed.text(FILE).filter(|path| !path.is_empty()).map(PathBuf::from))
}
