//! What a guest writes to its log.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| penstock_host::fuzzing::log(data));
