#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| rumormill::fuzz::frames(bytes));
