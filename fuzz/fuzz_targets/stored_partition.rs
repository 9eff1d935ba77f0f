//! Hands libFuzzer's inputs to `invariants::stored_partition`.
#![no_main]

#[path = "../invariants.rs"]
#[allow(dead_code)]
mod invariants;

libfuzzer_sys::fuzz_target!(|input: &[u8]| invariants::stored_partition(input));
