//! Kinds of the group apiextensions.k8s.io.

pub mod conditions;
pub mod definition;
