#!/usr/bin/env bash
# Builds a guest crate, or a workspace of guest crates, to WebAssembly components.
#
#   plugins/guest/build.sh CRATE_DIR OUT
#
# CRATE_DIR  a folder with a Cargo.toml: a crate with `crate-type = ["cdylib"]`, or a workspace of such crates. It is a workspace of its
#            own (`[workspace]` in its Cargo.toml) and chooses its release profile there: opt-level, lto, strip, panic = "abort".
# OUT        ends in .wasm: the file to write (the crate must then give exactly one component).
#            Else a folder: each component is written as OUT/<crate-name>.wasm, with dashes as in the package's name.
#
# Files that have not changed are not touched, so that whoever caches them by time or digest keeps them.
#
# There are two ways to compile for wasm32-wasip2, and guests must build either way:
#   rustup   the toolchain's own target, when rustup can add it (seconds)
#   debian   Debian's rustc-web, which builds std along (a minute, once for each target folder)
# `tests/ground/setup.sh wasm` finds out which one this machine can have. PENSTOCK_WASM=debian (or =rustup) forces one: test both.
# Neither may use nightly features, and std is that of Rust 1.95 or 1.96. Each way has a target folder of its own,
# $CARGO_TARGET_DIR/guests-<way> (CARGO_TARGET_DIR defaults to ~/.cache/penstock/target).
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
if [ $# != 2 ] || [ ! -f "$1/Cargo.toml" ]; then
  echo "usage: build.sh CRATE_DIR OUT    (CRATE_DIR holds a Cargo.toml; OUT is a .wasm file or a folder)" >&2
  exit 2
fi
crate=$(cd "$1" && pwd)
out=$2

"$root/tests/ground/setup.sh" wasm
way=${PENSTOCK_WASM:-$(cat "${PENSTOCK_GROUND:-$HOME/.cache/penstock/ground}/wasm/way")}
target_dir=${CARGO_TARGET_DIR:-$HOME/.cache/penstock/target}/guests-$way

cargo=(cargo)
flags=(--release --target wasm32-wasip2 --manifest-path "$crate/Cargo.toml" --target-dir "$target_dir")
if [ "$way" = debian ]; then
  # Debian's rustc has neither rust-lld nor wasm-component-ld: the toolchain that builds the host lends them.
  sysroot=$(rustc --print sysroot)
  export PATH=$PATH:$sysroot/lib/rustlib/x86_64-unknown-linux-gnu/bin
  export RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1 RUSTFLAGS="-L /usr/lib/wasm32-wasi"
  cargo=(/usr/bin/cargo)
  flags+=(-Zbuild-std=std,panic_abort)
else
  unset RUSTC RUSTFLAGS
fi

mkdir -p "$target_dir"
messages=$target_dir/messages.$$
trap 'rm -f "$messages"' EXIT
"${cargo[@]}" build "${flags[@]}" --message-format=json-render-diagnostics >"$messages"

python3 - "$messages" "$crate" "$out" <<'PYTHON'
"""Copies the components that cargo reports to where they are wanted."""
import filecmp, json, os, shutil, sys

messages, crate, out = sys.argv[1:]
components = {}
for line in open(messages, encoding="utf-8"):
    message = json.loads(line)
    built_here = message.get("manifest_path", "").startswith(crate + os.sep)
    if message.get("reason") == "compiler-artifact" and built_here and "cdylib" in message["target"]["crate_types"]:
        for file in message["filenames"]:
            if file.endswith(".wasm"):
                components[message["target"]["name"].replace("_", "-")] = file
if not components:
    sys.exit(f'build.sh: {crate} gave no component: does its Cargo.toml say crate-type = ["cdylib"]?')
if out.endswith(".wasm") and len(components) > 1:
    sys.exit(f"build.sh: {crate} gave {len(components)} components, so OUT must be a folder: {', '.join(sorted(components))}")
for name, built in sorted(components.items()):
    wanted = out if out.endswith(".wasm") else os.path.join(out, name + ".wasm")
    os.makedirs(os.path.dirname(os.path.abspath(wanted)), exist_ok=True)
    if not (os.path.exists(wanted) and filecmp.cmp(built, wanted, shallow=False)):
        shutil.copyfile(built, wanted + ".new")
        os.replace(wanted + ".new", wanted)
PYTHON
