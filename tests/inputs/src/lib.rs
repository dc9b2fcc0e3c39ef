//! Entry points that take bytes from strangers, as functions of bytes: each parser, each kind of patch, whole requests,
//! and definitions of custom resources with their rules. Each panics if the code behind it panics, forgets what it
//! parsed, or answers 500. `fuzz/` drives them with libFuzzer, `tests/bounded.rs` with a fixed number of seeded
//! mutations.

mod mutate;
mod server;
mod targets;

pub use mutate::Mutator;
pub use targets::{TARGETS, Target};

/// Runs the target of this name.
///
/// # Panics
/// When the input shows a fault, or there is no such target.
pub fn run(name: &str, input: &[u8]) {
    let target = TARGETS.iter().find(|target| target.name == name).expect("a target of this name");
    (target.run)(input);
}
