//! The one fuzz binary: which of the targets of `tests/inputs` it runs is said by `GANNET_FUZZ_TARGET`.
#![no_main]

use std::sync::LazyLock;

static TARGET: LazyLock<String> =
    LazyLock::new(|| std::env::var("GANNET_FUZZ_TARGET").expect("GANNET_FUZZ_TARGET is the name of a target"));

libfuzzer_sys::fuzz_target!(|input: &[u8]| inputs::run(&TARGET, input));
