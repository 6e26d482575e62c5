#!/usr/bin/env bash
# Runs each fuzzer for a while, two at a time, from the corpus that earlier runs have left.
#
#   run.sh [SECONDS]     60 seconds for each, unless told
#
# What a fuzzer has learnt is kept in $CARGO_TARGET_DIR/fuzz, as is the input that made one fail; the message names it.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
seconds=${1:-60}
: "${CARGO_TARGET_DIR:=$HOME/.cache/penstock/target}"
export CARGO_TARGET_DIR
cargo_fuzz=${PENSTOCK_GROUND:-$HOME/.cache/penstock/ground}/cargo-fuzz/bin/cargo-fuzz
targets=(batch describe log outgoing)

# The address sanitizer wants a nightly compiler; Rust's own checks (bounds, overflows, assertions) are what is looked for here.
fuzz() { (cd "$here" && "$cargo_fuzz" "$1" --fuzz-dir "$here" --sanitizer none "${@:2}"); }

fuzz build

run() {
  local target=$1 corpus=$CARGO_TARGET_DIR/fuzz/corpus/$1 log=$CARGO_TARGET_DIR/fuzz/$1.log
  mkdir -p "$corpus"
  if fuzz run "$target" "$corpus" -- -max_total_time="$seconds" -max_len=4096 -timeout=10 -artifact_prefix="$CARGO_TARGET_DIR/fuzz/$target-" >"$log" 2>&1; then
    echo "fuzz: $target: $(grep -E '^(Done|stat::number_of_executed_units)' "$log" | tail -1)"
  else
    tail -40 "$log"
    echo "fuzz: $target FAILED: the input that did it is named above; cargo fuzz run $target FILE shows it again"
    return 1
  fi
}

failed=0
for ((at = 0; at < ${#targets[@]}; at += 2)); do
  run "${targets[at]}" &
  first=$!
  run "${targets[at + 1]}" || failed=1
  wait "$first" || failed=1
done
exit $failed
