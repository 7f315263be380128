#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ringbolt_runtime::fuzzing::timers(data));
