//! The tables of the layer-4 balancer.

pub mod rows;

pub use rows::{Full, Rows, VipKey, vip};

#[cfg(test)]
mod tests;
