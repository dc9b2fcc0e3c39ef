//! The BPF object on the running kernel: loading, filling its maps, and running single packets through it.
//!
//! `tests/` holds the object against `packet` on the host, packet by packet; `verify` is what `cargo xtask ebpf` runs.

pub mod load;
pub mod run;
pub mod stack;
pub mod tables;
