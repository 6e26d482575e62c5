//! What compiles components on this machine. There are two ways for the target wasm32-wasip2: rustup's own target, or Debian's compiler,
//! which builds std along. `plugins/guest/build.sh` does the same for the tree.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::cli::error::{CliError, Result};

pub(super) const TARGET: &str = "wasm32-wasip2";
/// Forces a way: `rustup` or `debian`.
const WAY_VARIABLE: &str = "PENSTOCK_WASM";
/// A registry that does not answer must not hold an author up.
const ADD_TARGET_LIMIT: Duration = Duration::from_secs(60);
const DEBIAN_COMMAND: &str = "apt-get install rustc-web cargo-web rust-web-src wasi-libc";

/// How components are compiled here.
pub(super) enum Toolchain {
    /// Cargo's toolchain has the target.
    Native,
    /// Debian's compiler, which lacks a linker: that of cargo's toolchain is lent to it.
    Debian { linkers: PathBuf },
}

impl Toolchain {
    /// Looks for one, and adds rustup's target if that is all that is missing.
    pub(super) fn find() -> Result<Self> {
        if output("cargo", &["--version"]).is_none() {
            return Err(CliError::Usage(
                "cargo is not on PATH: install Rust 1.95 or later (https://rustup.rs), then try again".to_owned(),
            ));
        }
        let way = env::var(WAY_VARIABLE).unwrap_or_default();
        if !matches!(&*way, "" | "rustup" | "debian") {
            return Err(CliError::Usage(format!("{WAY_VARIABLE} is {way}: say rustup or debian, or nothing")));
        }
        let mut added = String::new();
        if way != "debian" {
            if has_target() {
                return Ok(Toolchain::Native);
            }
            added = add_target();
            if has_target() {
                return Ok(Toolchain::Native);
            }
        }
        if way != "rustup"
            && let Some(debian) = debian()
        {
            return Ok(debian);
        }
        Err(CliError::Usage(format!(
            "nothing here compiles for {TARGET}{added}: run `rustup target add {TARGET}`, or on Debian `{DEBIAN_COMMAND}`"
        )))
    }

    /// `cargo build` for components, with what stands before and behind it. Build products lie in the crate's own target folder.
    pub(super) fn build(&self, manifest: &Path) -> Command {
        let mut command = match self {
            Toolchain::Native => Command::new("cargo"),
            Toolchain::Debian { linkers } => {
                let mut command = Command::new("/usr/bin/cargo");
                let path = env::var_os("PATH").unwrap_or_default();
                let paths = env::split_paths(&path).chain([linkers.clone()]);
                command.env("PATH", env::join_paths(paths).unwrap_or(path));
                command.env("RUSTC", "/usr/bin/rustc").env("RUSTC_BOOTSTRAP", "1").env("RUSTFLAGS", "-L /usr/lib/wasm32-wasi");
                command
            }
        };
        command.args(["build", "--release", "--target", TARGET, "--message-format=json-render-diagnostics", "--manifest-path"]);
        command.arg(manifest);
        if let Toolchain::Debian { .. } = self {
            // The two compilers must not take each other's products for their own.
            let target_dir = env::var_os("CARGO_TARGET_DIR").map_or_else(|| manifest.with_file_name("target"), PathBuf::from);
            command.arg("-Zbuild-std=std,panic_abort").arg("--target-dir").arg(target_dir.join("debian"));
        }
        command
    }
}

/// Whether cargo's own compiler has the target's std.
fn has_target() -> bool {
    let Some(folder) = output("rustc", &["--print", "target-libdir", "--target", TARGET]) else { return false };
    let files = std::fs::read_dir(folder.trim()).into_iter().flatten().flatten();
    files.into_iter().any(|file| file.file_name().to_string_lossy().starts_with("libstd-"))
}

/// What became of it, for a message that it did not help.
fn add_target() -> String {
    eprintln!("penstock: adding the target {TARGET} with rustup");
    let adding = Command::new("rustup").args(["target", "add", TARGET]).stdin(Stdio::null()).stdout(Stdio::null()).spawn();
    let Ok(mut adding) = adding else { return " (there is no rustup)".to_owned() };
    let began = Instant::now();
    loop {
        match adding.try_wait() {
            Ok(Some(status)) if status.success() => return String::new(),
            Ok(Some(_)) => return " (rustup could not add it)".to_owned(),
            Ok(None) if began.elapsed() < ADD_TARGET_LIMIT => std::thread::sleep(Duration::from_millis(100)),
            Ok(None) | Err(_) => {
                let _ended = adding.kill().and_then(|()| adding.wait());
                return format!(" (rustup did not add it within {} s)", ADD_TARGET_LIMIT.as_secs());
            }
        }
    }
}

/// Debian's compiler with the sources of std and the C library, when all of it is there.
fn debian() -> Option<Toolchain> {
    let sysroot = output("/usr/bin/rustc", &["--print", "sysroot"])?;
    let sources = Path::new(sysroot.trim()).join("lib/rustlib/src/rust/library/std");
    let is_whole = Path::new("/usr/bin/cargo").exists() && Path::new("/usr/lib/wasm32-wasi").is_dir() && sources.is_dir();
    let (own, host) = (output("rustc", &["--print", "sysroot"])?, output("rustc", &["--print", "host-tuple"])?);
    let linkers = Path::new(own.trim()).join("lib/rustlib").join(host.trim()).join("bin");
    (is_whole && linkers.join("wasm-component-ld").exists()).then_some(Toolchain::Debian { linkers })
}

fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let arguments: Vec<OsString> = arguments.iter().map(Into::into).collect();
    let output = Command::new(program).args(arguments).stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}
