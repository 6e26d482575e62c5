//! What a component says of its classes.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| penstock_host::fuzzing::describe(data));
