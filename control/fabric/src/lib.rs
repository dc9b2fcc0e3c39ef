//! The fabric: the cluster's network state as one versioned artefact. [`compile`] makes it from a View, in a pure
//! function; [`State::diff`] gives the delta from one state to a later one; the [`Ledger`] knows which node has which
//! epoch live.
//!
//! Order: a state is the whole truth at one revision, and a delta carries whole Services. A backend that becomes ready
//! before another drains in the store is therefore never in a later delta than that drain.

pub mod compile;
pub mod ledger;
pub mod policy;
pub mod spread;
pub mod state;

pub use compile::compile;
pub use ledger::{Ledger, NodeProgress};
pub use state::{Epoch, State};

#[cfg(test)]
mod tests;
