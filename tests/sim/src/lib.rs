//! A seeded simulation of the control plane: the real verbs over the store in memory, the real controllers, their
//! queues and executor, the real scheduler, all on one thread. Everything that a real cluster leaves to chance is
//! drawn from a seed: who reads how much of his watch, who writes next, which request or answer is lost, who crashes
//! between two writes, when time passes, what users do, which node falls silent.
//!
//! - [`World`] holds the parts and takes the steps.
//! - [`Check`] sees every write to the store and knows what must never happen ([`check`]).
//! - [`settle`] ends the faults and says what must come true at last.
//!
//! A failing seed says how to run it again; it belongs into `seeds.txt`.

mod actor;
mod check;
mod feed;
mod gate;
mod kubelet;
mod plant;
mod rng;
mod schedule;
mod settle;
mod user;
mod world;

pub use plant::Bug;
pub use world::{Failure, Plan, Report, run};
