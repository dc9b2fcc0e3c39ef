//! Network policy: from the fabric's records to the two banks of the policy tables.
//!
//! [`compile`] makes the contents that one bank should have ([`Desired`]); a [`Compiler`] does it with a memory. [`diff`] compares them
//! with the bank that packets see; if it differs, the plan brings the *other* bank there and then publishes it, in one write.
//! Until that write every packet meets the old policy, after it every packet meets the new one, whatever peers, rules and pods have
//! changed. Contents are persistent maps: those of an epoch share what they have in common with those of the epoch before, so that
//! both compiling and comparing cost what has changed.
mod compile;
mod compiler;
mod diff;
mod differences;
mod ports;
mod state;

pub use compile::{Desired, SEATS, compile};
pub use compiler::Compiler;
pub use diff::{Bank, Observed, Step, diff};
pub use differences::differences;
pub use state::{Action, Direction, PodPolicy, Policy, Rule, Ruleset, concerns};

#[cfg(test)]
mod tests;
