//! What a component is, without a worker: for its author.

use std::path::Path;
use std::sync::Arc;

use penstock_api::Plugin;
use sha2::{Digest, Sha256};

use crate::cache::hex;
use crate::contract::{PACKAGE, VERSION};
use crate::engine::Engine;
use crate::grants::Wanted;
use crate::load;
use crate::manifest::Class;

/// A component that the worker can use.
pub struct Inspection {
    /// The size of the file.
    pub bytes: u64,
    /// The digest of the file, in hexadecimal digits.
    pub sha256: String,
    /// The world it was built for: `transforms`, `predicates`, `sinks` or `sources`.
    pub world: &'static str,
    /// The contract it was built for, `penstock:connect@0.1.0`.
    pub contract: String,
    /// The contract that this worker speaks.
    pub spoken: String,
    /// All interfaces that it imports, sorted.
    pub imports: Vec<String>,
    /// Its classes, each with what it says it needs of the world outside.
    pub classes: Vec<(Plugin, Vec<WantedGrant>)>,
}

/// Something that a class says it needs. It is granted by its connector, within what the worker grants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedGrant {
    /// The key that would grant it.
    pub key: &'static str,
    /// An entry as the key takes it; empty where it depends on the configuration.
    pub entry: String,
    /// What for.
    pub doc: String,
}

/// Looks at a component, which is compiled and asked what it holds as a worker does.
///
/// # Errors
/// Why a worker would not take it and what to do, for people.
pub(crate) async fn inspect(engine: &Arc<Engine>, file: &Path) -> Result<Inspection, String> {
    let (loaded, classes) = load::open(engine, file).await?;
    let bytes = load::read(file)?;
    let component = loaded.pre.component();
    let ty = component.component_type();
    let mut imports: Vec<String> = ty.imports(engine.wasmtime()).map(|(name, _)| name.to_owned()).collect();
    imports.sort();
    let version = load::version_of(engine, component).unwrap_or_else(|| VERSION.to_owned());
    let with_wishes = |class: Class| {
        let wish = |wanted: &Wanted| WantedGrant { key: wanted.key, entry: wanted.entry.clone(), doc: wanted.doc.clone() };
        let wishes = class.wanted.iter().map(wish).collect();
        (load::plugin(&loaded, class), wishes)
    };
    Ok(Inspection {
        bytes: bytes.len() as u64,
        sha256: hex(&Sha256::digest(&bytes)),
        world: loaded.kind.name(),
        contract: format!("{PACKAGE}@{version}"),
        spoken: format!("{PACKAGE}@{VERSION}"),
        imports,
        classes: classes.into_iter().map(with_wishes).collect(),
    })
}
