//! Custom resource definitions at work: who gets which names, what is served, what goes with a definition that goes.

mod cleanup;
pub(crate) mod conform;
pub(crate) mod convert;
mod definitions;

pub(crate) use definitions::start;
