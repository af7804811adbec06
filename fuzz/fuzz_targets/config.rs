#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| rumormill_lab::fuzz::config(bytes));
