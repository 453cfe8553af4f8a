//! See [`chronon_fuzz`]: the target itself is a function there, which the replay of the corpora calls too.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| chronon_fuzz::checkpoint::snapshot(bytes));
