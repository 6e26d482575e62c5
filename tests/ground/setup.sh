#!/usr/bin/env bash
# Installs what the tests, the demo and the benchmarks run against, once: a Kafka broker, Java Connect, a Schema Registry,
# a Snowflake stand-in, a fuzzer of REST APIs, one of our own code, a server of cloud functions, and the compiler for guests. Everything comes from public package registries.
#
#   setup.sh                 all parts
#   setup.sh kafka wasm ...  some of: build kafka connect avro-converter blackhole-java registry snowflake schemathesis functions cargo-fuzz wasm
#
# Parts go to $PENSTOCK_GROUND (default ~/.cache/penstock/ground), one folder each. A part holds a stamp, the digest of what it was
# made from (its pom, its requirements, its sources): nothing is done while the stamp fits, and a changed pom installs anew.
# Safe to run many times at once: one run installs, the others wait for it.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
ground=${PENSTOCK_GROUND:-$HOME/.cache/penstock/ground}
fetch_timeout_s=${PENSTOCK_FETCH_TIMEOUT_S:-900}
all_parts=(build kafka connect avro-converter blackhole-java registry snowflake schemathesis functions cargo-fuzz wasm)

main() {
  local parts=("$@")
  [ ${#parts[@]} -gt 0 ] || parts=("${all_parts[@]}")
  local part todo=()
  for part in "${parts[@]}"; do
    known "$part" || fail "there is no part \`$part\`" "choose from: ${all_parts[*]}"
    is_done "$part" || todo+=("$part")
  done
  [ ${#todo[@]} -gt 0 ] || return 0
  mkdir -p "$ground/logs"
  # The lock lies on a descriptor, so it goes with the process, however that ends.
  exec 9>"$ground/.lock"
  flock 9
  for part in "${todo[@]}"; do
    is_done "$part" || install "$part"
  done
}

known() {
  local part
  for part in "${all_parts[@]}"; do [ "$part" != "$1" ] || return 0; done
  return 1
}

install() {
  local part=$1 began=$SECONDS
  say "$part: $(describe "$part")"
  log=$ground/logs/$part.log
  : >"$log"
  "install_${part//-/_}" "$ground/$part"
  mkdir -p "$ground/$part"
  stamp "$part" >"$ground/$part/.stamp"
  say "$part: ready after $((SECONDS - began)) s"
}

is_done() { [ -f "$ground/$1/.stamp" ] && [ "$(cat "$ground/$1/.stamp")" = "$(stamp "$1")" ]; }

# What a part is made from, as one digest.
stamp() {
  case $1 in
    build) cat "$here/setup.sh" ;;
    kafka | connect) cat "$here/maven/$1.xml" ;;
    avro-converter) cat "$here/maven/$1.xml" && echo "with a service file" ;;
    blackhole-java) cat "$here/maven/connect.xml" "$here"/java/*.java ;;
    registry) echo "$registry_artifact" ;;
    snowflake) cat "$here/python/requirements.txt" ;;
    schemathesis | functions) cat "$here/python/$1.txt" ;;
    cargo-fuzz) echo "$cargo_fuzz_version" ;;
    wasm) echo "target wasm32-wasip2, ${PENSTOCK_WASM:-any way}" ;;
  esac | sha256sum | cut -d' ' -f1
}

describe() {
  case $1 in
    build) echo "what compiling needs (C compiler, cmake, perl, JDK, Maven, Python)" ;;
    kafka) echo "Apache Kafka's broker from Maven Central (44 MB)" ;;
    connect) echo "Java Kafka Connect from Maven Central (37 MB)" ;;
    avro-converter) echo "Apicurio's Avro converter from Maven Central (15 MB)" ;;
    blackhole-java) echo "the benchmark's sink for Java Connect, compiled with javac" ;;
    registry) echo "Apicurio's Schema Registry from Maven Central (109 MB)" ;;
    snowflake) echo "fakesnow and Snowflake's Python connector from PyPI, in a virtual environment" ;;
    schemathesis) echo "Schemathesis from PyPI, in a virtual environment" ;;
    functions) echo "Google's Functions Framework from PyPI, in a virtual environment" ;;
    cargo-fuzz) echo "cargo-fuzz from crates.io, compiled" ;;
    wasm) echo "a compiler for the wasm32-wasip2 target" ;;
  esac
}

# ---- the parts --------------------------------------------------------------------------------------------------------

install_build() {
  need cc gcc
  need c++ g++
  need make make
  need cmake cmake
  need perl perl
  need pkg-config pkg-config
  need curl curl
  need javac openjdk-17-jdk-headless
  need mvn maven
  need python3 python3
  command -v cargo >/dev/null || fail "cargo is not on PATH" "install Rust 1.95 or later with rustup"
}

install_kafka() { jars "$1" kafka.xml; }

install_connect() { jars "$1" connect.xml; }

# Without Kafka's own jars: as a plugin folder it must not bring an older JsonConverter along. With the service file that Apicurio
# leaves out, without which a worker that discovers plugins by service files only does not see the converter.
install_avro_converter() {
  local services=$1.new-services
  jars "$1" avro-converter.xml -DexcludeGroupIds=org.apache.kafka
  rm -rf "$services" && mkdir -p "$services/META-INF/services"
  echo io.apicurio.registry.utils.converter.AvroConverter >"$services/META-INF/services/org.apache.kafka.connect.storage.Converter"
  logged "pack the converter's service file" "look at the message of jar" jar --create --file "$1/lib/services.jar" -C "$services" .
  rm -rf "$services"
}

install_blackhole_java() {
  is_done connect || install connect
  local fresh=$1.new
  rm -rf "$fresh" && mkdir -p "$fresh/classes/META-INF/services" "$fresh/plugins/blackhole"
  logged "compile the Java sink" "look at the compiler's message" \
    javac --release 17 -cp "$ground/connect/lib/*" -d "$fresh/classes" "$here"/java/*.java
  printf '%s\n' penstock.bench.BlackholeSink penstock.BlackholeSinkConnector >"$fresh/classes/META-INF/services/org.apache.kafka.connect.sink.SinkConnector"
  logged "pack the Java sink" "look at the message of jar" \
    jar --create --file "$fresh/plugins/blackhole/blackhole.jar" -C "$fresh/classes" .
  replace "$fresh" "$1"
}

registry_artifact=io.apicurio:apicurio-registry-app:3.0.9:tar.gz:all

# The plugin's version is pinned: later ones insist on a parent pom that was never published.
install_registry() {
  local fresh=$1.new
  rm -rf "$fresh" && mkdir -p "$fresh"
  maven "org.apache.maven.plugins:maven-dependency-plugin:2.10:copy" -Dartifact="$registry_artifact" -DoutputDirectory="$fresh"
  tar -xzf "$fresh"/*.tar.gz -C "$fresh" && rm "$fresh"/*.tar.gz
  replace "$fresh" "$1"
}

install_snowflake() { virtual_environment "$1" requirements.txt fakesnow; }

install_schemathesis() { virtual_environment "$1" schemathesis.txt schemathesis; }

install_functions() { virtual_environment "$1" functions.txt functions-framework; }

cargo_fuzz_version=0.13.1

# Compiled quickly: it only starts other programs.
install_cargo_fuzz() {
  logged "compile cargo-fuzz" "look at cargo's message" env -u CARGO_TARGET_DIR -u RUSTFLAGS CARGO_PROFILE_RELEASE_OPT_LEVEL=0 \
    cargo install --locked --root "$1" --version "$cargo_fuzz_version" cargo-fuzz
}

# Two ways; the way that worked is remembered in the file \`way\` for plugins/guest/build.sh.
install_wasm() {
  local way=${PENSTOCK_WASM:-}
  mkdir -p "$1"
  if [ "$way" != debian ] && with_rustup; then
    echo rustup >"$1/way"
    return
  fi
  [ "$way" != rustup ] || fail "rustup could not add the target wasm32-wasip2" "see $log, or use PENSTOCK_WASM=debian"
  apt_install rustc-web cargo-web rust-web-src wasi-libc
  echo debian >"$1/way"
}

with_rustup() {
  command -v rustup >/dev/null || return 1
  rustup target list --installed 2>>"$log" | grep -qx wasm32-wasip2 && return 0
  timeout 60 rustup target add wasm32-wasip2 >>"$log" 2>&1
}

# ---- tools ------------------------------------------------------------------------------------------------------------

# A virtual environment holds its own path, so it is made where it will stay.
virtual_environment() {
  local dir=$1 requirements=$2 what=$3 python
  python=$(usable_python "$what")
  rm -rf "$dir"
  if ! "$python" -m venv "$dir" >>"$log" 2>&1; then
    rm -rf "$dir"
    apt_install python3-venv
    logged "make a virtual environment" "install Python's venv module" "$python" -m venv "$dir"
  fi
  logged "install $what" "check the network to PyPI, or pip's index setting (pip config list)" \
    timeout "$fetch_timeout_s" "$dir/bin/pip" install --quiet -r "$here/python/$requirements"
}

usable_python() {
  local python
  for python in python3 python3.11 python3.12 python3.13 python3.10; do
    if "$python" -c 'import sys; sys.exit(not ((3, 10) <= sys.version_info < (3, 14)))' 2>/dev/null; then
      echo "$python"
      return
    fi
  done
  fail "$1 needs Python 3.10 to 3.13" "install one, such as Debian's python3"
}

# The jars of a pom and all they need at run time, in DIR/lib.
jars() {
  local dir=$1 pom=$2 fresh=$1.new
  shift 2
  rm -rf "$fresh" && mkdir -p "$fresh"
  maven -f "$here/maven/$pom" dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$fresh/lib" "$@"
  replace "$fresh" "$dir"
}

maven() {
  command -v mvn >/dev/null && command -v javac >/dev/null || install_build
  logged "fetch with Maven" "check the network to Maven Central, or the mirror in ~/.m2/settings.xml" \
    timeout "$fetch_timeout_s" mvn -q -B "$@"
}

replace() {
  rm -rf "$2"
  mv "$1" "$2"
}

need() {
  command -v "$1" >/dev/null || apt_install "$2"
}

apt_install() {
  command -v apt-get >/dev/null || fail "the package $* is missing" "install it with this system's package manager"
  local sudo=()
  [ "$(id -u)" = 0 ] || sudo=(sudo -n)
  say "installing $* with apt-get"
  if ! "${sudo[@]}" apt-get install -y --no-install-recommends "$@" >>"$log" 2>&1; then
    logged "refresh the list of packages" "install by hand: $*" "${sudo[@]}" apt-get update
    logged "install $*" "install by hand: $*" "${sudo[@]}" apt-get install -y --no-install-recommends "$@"
  fi
}

# logged WHAT WHAT_NEXT COMMAND...: runs the command with its output in the part's log, and shows the log's end if it fails.
logged() {
  local what=$1 next=$2
  shift 2
  if ! "$@" >>"$log" 2>&1; then
    tail -n 20 "$log" >&2
    fail "could not $what ($log has it all)" "$next, then run \`make setup\` again"
  fi
}

say() { echo "setup: $*" >&2; }

fail() {
  echo "setup: $1" >&2
  echo "setup: what to do: $2" >&2
  exit 1
}

log=/dev/null
main "$@"
