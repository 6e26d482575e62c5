//! WebAssembly components as plugins: the only crate that knows wasmtime.
