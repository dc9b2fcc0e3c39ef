//! Kinds of the group autoscaling.

pub mod convert;
pub mod horizontalpodautoscaler;
mod rules;
