//! From a file to plugins: reads, compiles and checks a component, and asks it what it holds.

use std::fs;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use penstock_api::{Constructor, Plugin, Predicate, Transform};

use crate::adapter::{ComponentPredicate, ComponentTransform, Guest};
use crate::component::Component;
use crate::contract::{PACKAGE, VERSION};
use crate::engine::Engine;
use crate::grants::{self, Grants};
use crate::guest_log::Owner;
use crate::instance::{Kind, Loaded};
use crate::manifest::{self, Class};
use crate::sink::ComponentSink;
use crate::source::ComponentSource;

/// Larger files are refused. Components of interpreted languages take some 20 MiB.
const FILE_BYTES_MAX: u64 = 256 << 20;

/// Loads all classes of a component.
///
/// # Errors
/// Why it cannot be used and what to do, for people.
pub(crate) async fn plugins(engine: &Arc<Engine>, file: &Path) -> Result<Vec<Plugin>, String> {
    let (loaded, classes) = open(engine, file).await?;
    Ok(classes.into_iter().map(|class| plugin(&loaded, class)).collect())
}

/// Compiles a component and asks it what it holds.
///
/// # Errors
/// As for [`plugins`].
pub(crate) async fn open(engine: &Arc<Engine>, file: &Path) -> Result<(Arc<Loaded>, Vec<Class>), String> {
    let component = compile(engine, &read(file)?)?;
    let kind = kind(engine, &component)?;
    let pre = engine.linker().instantiate_pre(&component).map_err(|e| {
        format!("it needs something this worker does not offer: {e:#}. Build it with {PACKAGE}@{VERSION} and WASI 0.2")
    })?;
    let file: Arc<str> = file.to_string_lossy().into();
    let loaded = Arc::new(Loaded { engine: engine.clone(), file: file.clone(), pre, kind });
    let owner = Owner { alias: file, ..Owner::default() };
    let mut instance = loaded
        .instantiate(owner, &Arc::<Grants>::default())
        .await
        .map_err(|stopped| format!("it cannot be started: {stopped}"))?;
    let described = instance.describe().await.map_err(|stopped| format!("it cannot say what it holds: {stopped}"))?;
    Ok((loaded, manifest::classes(described)?))
}

pub(crate) fn read(file: &Path) -> Result<Vec<u8>, String> {
    let cannot = |e: std::io::Error| format!("it cannot be read: {e}");
    let mut bytes = Vec::new();
    fs::File::open(file).map_err(cannot)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(cannot)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(format!("it is larger than {} MiB", FILE_BYTES_MAX >> 20));
    }
    Ok(bytes)
}

fn compile(engine: &Engine, bytes: &[u8]) -> Result<wasmtime::component::Component, String> {
    check_is_component(bytes)?;
    engine.compile(bytes).map_err(|e| format!("it is no valid WebAssembly component: {e:#}"))
}

/// The first eight bytes tell components and core modules from anything else.
fn check_is_component(bytes: &[u8]) -> Result<(), String> {
    match bytes.get(..8) {
        Some([0, b'a', b's', b'm', _, _, 1, 0]) => Ok(()),
        Some([0, b'a', b's', b'm', _, _, 0, 0]) => {
            Err("it is a core WebAssembly module, not a component. Build it for the target wasm32-wasip2".to_owned())
        }
        _ => Err("it is not WebAssembly. Remove it from plugin.path, or copy it anew if it was cut".to_owned()),
    }
}

/// Which version of the contract the component was built for.
pub(crate) fn version_of(engine: &Engine, component: &wasmtime::component::Component) -> Option<String> {
    let ty = component.component_type();
    let mut exports = ty.exports(engine.wasmtime());
    exports.find_map(|(name, _)| Some(name.strip_prefix(PACKAGE)?.split_once('@')?.1.to_owned()))
}

/// Which world the component was built for.
fn kind(engine: &Engine, component: &wasmtime::component::Component) -> Result<Kind, String> {
    let ty = component.component_type();
    let exports: Vec<&str> = ty.exports(engine.wasmtime()).map(|(name, _)| name).collect();
    let ours: Vec<&&str> = exports.iter().filter(|name| name.starts_with(PACKAGE)).collect();
    if ours.is_empty() {
        let shown = exports.iter().take(8).copied().collect::<Vec<_>>().join(", ");
        return Err(format!("it is a component, but no plugin: it exports nothing of {PACKAGE} (but: {shown})"));
    }
    let ours_is_compatible = |name: &str| name.split_once('@').is_some_and(|(_, version)| is_compatible(version));
    if let Some(other) = ours.iter().find(|name| !ours_is_compatible(name)) {
        return Err(format!(
            "it was built for {other}, but this worker speaks {PACKAGE}@{VERSION}. Build it with the SDK of this release, or update the worker"
        ));
    }
    let has =
        |interface: &str| ours.iter().any(|name| name.strip_prefix(PACKAGE).is_some_and(|rest| rest.starts_with(interface)));
    let kinds = [
        ("/transform@", Kind::Transforms),
        ("/predicate@", Kind::Predicates),
        ("/sink@", Kind::Sinks),
        ("/source@", Kind::Sources),
    ];
    let kinds: Vec<Kind> = kinds.into_iter().filter(|(interface, _)| has(interface)).map(|(_, kind)| kind).collect();
    match (&kinds[..], has("/plugin@"), has("/connector@")) {
        ([kind @ (Kind::Sinks | Kind::Sources)], true, true) => Ok(*kind),
        ([kind @ (Kind::Transforms | Kind::Predicates)], true, _) => Ok(*kind),
        ([_, _, ..], _, _) => {
            let kinds = kinds.iter().map(|kind| kind.name()).collect::<Vec<_>>().join(" and ");
            Err(format!("it holds {kinds}. Build one component for each kind"))
        }
        _ => Err(format!(
            "it lacks exports: build it for one of the worlds transforms, predicates, sinks and sources of {PACKAGE}"
        )),
    }
}

/// Versions `0.1.x` up to ours can be served.
fn is_compatible(version: &str) -> bool {
    let number = |text: &str| text.split('.').map(|n| n.parse::<u32>().ok()).collect::<Option<Vec<u32>>>();
    match (number(version), number(VERSION)) {
        (Some(theirs), Some(ours)) => theirs.len() == 3 && theirs[..2] == ours[..2] && theirs[2] <= ours[2],
        _ => false,
    }
}

pub(crate) fn plugin(loaded: &Arc<Loaded>, class: Class) -> Plugin {
    let Class { name, aliases, version, config, wanted } = class;
    let config = Arc::new(grants::with_keys(config, &wanted, &Arc::new(loaded.engine.config.grants.clone())));
    let of_class_name = Arc::<str>::from(name.as_str());
    let (made_from, of_class, checked_by) = (loaded.clone(), of_class_name.clone(), config.clone());
    let guest = move |props: &_| Guest::new(made_from.clone(), of_class.clone(), &checked_by, props);
    let component = Component { loaded: loaded.clone(), class: of_class_name.clone(), config: config.clone() };
    let construct = match loaded.kind {
        Kind::Transforms => Constructor::Transformation(Arc::new(move |props| {
            Ok(Box::new(ComponentTransform(guest(props)?)) as Box<dyn Transform>)
        })),
        Kind::Predicates => {
            Constructor::Predicate(Arc::new(move |props| Ok(Box::new(ComponentPredicate(guest(props)?)) as Box<dyn Predicate>)))
        }
        Kind::Sinks => Constructor::Sink(Arc::new(move || Box::new(ComponentSink(component.clone())))),
        Kind::Sources => Constructor::Source(Arc::new(move || Box::new(ComponentSource(component.clone())))),
    };
    Plugin { class: name, aliases, version, config, construct }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_versions_up_to_ours_are_compatible() {
        assert!(is_compatible("0.1.0"));
        for version in ["0.1.1", "0.2.0", "1.0.0", "0.1", "x", "0.1.0-rc"] {
            assert!(!is_compatible(version), "{version}");
        }
    }

    #[test]
    fn what_is_no_component_is_told() {
        assert!(check_is_component(b"\0asm\x0d\0\x01\0").is_ok());
        assert!(check_is_component(b"\0asm\x01\0\0\0").unwrap_err().contains("core WebAssembly module"));
        assert!(check_is_component(b"PK").unwrap_err().contains("not WebAssembly"));
    }
}
