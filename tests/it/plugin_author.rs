//! What a plugin author meets: a crate to begin with, its cases natively and inside wasmtime, and a look at a component.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, Result};
use penstock_tests::worker::binary;
use penstock_tests::{ground, guests};
use serde_json::Value;

/// An author's folder, and the program.
struct Author {
    folder: tempfile::TempDir,
    program: PathBuf,
}

/// What a command said.
struct Said {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Author {
    fn new() -> Result<Self> {
        Ok(Self { folder: tempfile::tempdir()?, program: binary()? })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn run(&self, arguments: &[&str]) -> Result<Said> {
        self.run_in(self.folder.path(), arguments, &[])
    }

    fn run_in(&self, folder: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Result<Said> {
        let mut command = Command::new(&self.program);
        command.arg("plugin").args(arguments).current_dir(folder).envs(environment.iter().copied());
        // Built as quickly as can be, and what it depends on once for all tests.
        command.env("CARGO_TARGET_DIR", ground::target_dir().join("authors"));
        command.env("CARGO_PROFILE_RELEASE_LTO", "off").env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1").env_remove("PENSTOCK_SDK");
        let Output { status, stdout, stderr } = command.output().with_context(|| format!("run {command:?}"))?;
        Ok(Said { code: status.code(), out: String::from_utf8(stdout)?, err: String::from_utf8(stderr)? })
    }

    fn good(&self, arguments: &[&str]) -> Result<String> {
        let said = self.run(arguments)?;
        assert_eq!(said.code, Some(0), "{arguments:?}: {}{}", said.out, said.err);
        Ok(said.out)
    }

    fn bad(&self, arguments: &[&str], code: i32, expected: &str) -> Result<()> {
        let said = self.run(arguments)?;
        assert_eq!(said.code, Some(code), "{arguments:?}: {}{}", said.out, said.err);
        assert!(said.err.contains(expected), "{arguments:?} should say {expected:?}, but said {}", said.err);
        Ok(())
    }

    /// A new crate whose cases pass in both places, and whose component is what it should be.
    fn begins(&self, kind: &str, world: &str, class: &str) -> Result<()> {
        let name = format!("my-{kind}");
        let said = self.good(&["new", &name, "--kind", kind])?;
        assert!(said.contains(class), "{said}");
        let tested = self.run_in(&self.path(&name), &["test", "--", "--nocapture"], &[])?;
        let said = format!("{}{}", tested.out, tested.err);
        assert_eq!(tested.code, Some(0), "{said}");
        for place in ["natively:", "inside wasmtime (", "test result: ok", "is good, natively and inside wasmtime"] {
            assert!(said.contains(place), "the cases should run in {place:?}: {said}");
        }
        assert!(!said.contains("warning"), "a new crate is as the compiler likes it: {said}");
        let component = self.path(&name).join(format!("target/plugin/{name}.wasm"));
        let about: Value = serde_json::from_str(&self.good(&["inspect", "--json", &component.to_string_lossy()])?)?;
        assert_eq!((about["world"].as_str(), about["classes"][0]["class"].as_str()), (Some(world), Some(class)), "{about:#}");
        Ok(())
    }
}

#[test]
fn a_new_transform_is_good_in_both_places() -> Result<()> {
    Author::new()?.begins("transform", "transforms", "com.example.MyTransform")
}

#[test]
fn a_new_predicate_is_good_in_both_places() -> Result<()> {
    Author::new()?.begins("predicate", "predicates", "com.example.MyPredicate")
}

#[test]
fn a_new_source_is_good_in_both_places() -> Result<()> {
    Author::new()?.begins("source", "sources", "com.example.MySource")
}

#[test]
fn a_new_sink_is_good_in_both_places() -> Result<()> {
    Author::new()?.begins("sink", "sinks", "com.example.MySink")
}

#[test]
fn the_examples_pass_their_cases() -> Result<()> {
    let author = Author::new()?;
    for example in ["http-source", "http-sink"] {
        let folder = ground::tree().join("examples").join(example);
        let said = author.run_in(&folder, &["test"], &[])?;
        assert_eq!(said.code, Some(0), "{example}: {}{}", said.out, said.err);
    }
    Ok(())
}

/// A case that holds natively alone must fail: the component is really what runs.
#[test]
fn a_case_that_fails_inside_wasmtime_alone_fails() -> Result<()> {
    let author = Author::new()?;
    author.good(&["new", "two-faced", "--kind", "predicate", "--class", "org.acme.TwoFaced"])?;
    let source = author.path("two-faced/src/lib.rs");
    let text = std::fs::read_to_string(&source)?;
    let honest = "Ok(text.is_some_and(";
    assert!(text.contains(honest), "the template has changed: {text}");
    std::fs::write(&source, text.replace(honest, "Ok(cfg!(not(target_family = \"wasm\")) && text.is_some_and("))?;
    let said = author.run(&["test", "two-faced"])?;
    assert_eq!(said.code, Some(1), "{}{}", said.out, said.err);
    assert!(said.out.contains("inside wasmtime ("), "{}", said.out);
    assert!(said.err.contains("the tests above failed"), "{}", said.err);
    Ok(())
}

#[test]
fn components_are_shown_as_their_authors_know_them() -> Result<()> {
    let author = Author::new()?;
    let retail = guests::component("retail-transform")?.to_string_lossy().into_owned();
    let shown = author.good(&["inspect", &retail])?;
    for text in [
        "transforms of penstock:connect@0.1.0",
        "penstock:connect/batches@0.1.0",
        "penstock.examples.RetailOrders 1.0.0 (transformation)",
        "fraud.total.threshold",
        "double >= 0",
        "Orders with a higher total are flagged.",
    ] {
        assert!(shown.contains(text), "{text:?} should be shown: {shown}");
    }
    let about: Value = serde_json::from_str(&author.good(&["inspect", "--json", &retail])?)?;
    assert_eq!(about["bytes"].as_u64(), Some(std::fs::metadata(&retail)?.len()));
    let keys = about["classes"][0]["config"].as_array().context("keys")?;
    let key = keys.iter().find(|key| key["name"] == "fraud.quantity.threshold").context("the key")?;
    assert_eq!((key["default_value"].as_str(), key["minimum"].as_f64()), (Some("100"), Some(1.0)), "{key}");
    Ok(())
}

#[test]
fn what_no_worker_can_use_is_told() -> Result<()> {
    let author = Author::new()?;
    std::fs::write(author.path("text.wasm"), "not at all")?;
    std::fs::write(author.path("core.wasm"), b"\0asm\x01\0\0\0")?;
    author.bad(&["inspect", "nowhere.wasm"], 2, "nowhere.wasm: it cannot be read")?;
    author.bad(&["inspect", "text.wasm"], 2, "text.wasm: it is not WebAssembly")?;
    author.bad(&["inspect", "core.wasm"], 2, "core WebAssembly module, not a component")?;
    let older = guests::component("older-contract")?.to_string_lossy().into_owned();
    author.bad(&["inspect", &older], 2, "but this worker speaks penstock:connect@0.1.0")?;
    let foreign = guests::component("no-plugin")?.to_string_lossy().into_owned();
    author.bad(&["inspect", &foreign], 2, "it is a component, but no plugin")
}

#[test]
fn mistakes_of_an_author_are_told() -> Result<()> {
    let author = Author::new()?;
    author.bad(&["new", "2nd", "--kind", "sink"], 2, "2nd is no name for a crate")?;
    author.bad(&["new", "x", "--kind", "sink", "--class", "Record"], 2, "Record is no name for a class")?;
    author.bad(&["new", "x", "--kind", "sink", "--sdk", "nowhere"], 2, "neither a folder nor a version")?;
    author.bad(&["test"], 2, "holds no Cargo.toml")?;
    author.good(&["new", "twice", "--kind", "sink"])?;
    author.bad(&["new", "twice", "--kind", "sink"], 2, "twice is there already")?;
    author.bad(&["sdk", "twice"], 2, "holds something else than an SDK")?;
    author.good(&["sdk", "twice/sdk"])?;

    let empty = author.path("empty");
    std::fs::create_dir(&empty)?;
    let no_cargo = author.run_in(&author.path("twice"), &["build"], &[("PATH", &empty.to_string_lossy())])?;
    assert_eq!(no_cargo.code, Some(2), "{}", no_cargo.err);
    assert!(no_cargo.err.contains("cargo is not on PATH: install Rust"), "{}", no_cargo.err);
    Ok(())
}

/// A toolchain without the target, and no rustup that could add it.
#[test]
fn a_missing_target_is_told_with_both_ways_to_get_it() -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let author = Author::new()?;
    author.good(&["new", "lonely", "--kind", "transform"])?;
    let tools = author.path("tools");
    std::fs::create_dir(&tools)?;
    for (name, script) in [("cargo", "#!/bin/sh\necho cargo 1.95.0\n"), ("rustc", "#!/bin/sh\necho /nowhere\n")] {
        std::fs::write(tools.join(name), script)?;
        std::fs::set_permissions(tools.join(name), std::fs::Permissions::from_mode(0o755))?;
    }
    let said =
        author.run_in(&author.path("lonely"), &["build"], &[("PATH", &tools.to_string_lossy()), ("PENSTOCK_WASM", "rustup")])?;
    assert_eq!(said.code, Some(2), "{}", said.err);
    for text in [
        "nothing here compiles for wasm32-wasip2 (there is no rustup)",
        "rustup target add wasm32-wasip2",
        "apt-get install rustc-web",
    ] {
        assert!(said.err.contains(text), "{text:?} should be said: {}", said.err);
    }
    Ok(())
}
