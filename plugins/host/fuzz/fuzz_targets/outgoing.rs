//! What a source adds to its outbox.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| penstock_host::fuzzing::outgoing(data));
