//! What a transform, predicate or sink asks of its batch, and what it changes in it.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| penstock_host::fuzzing::batch(data));
