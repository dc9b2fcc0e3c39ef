//! The meaning of kinds: THE table of resources (one row a kind) and a `Strategy` for each kind, which defaults,
//! prepares, validates and prints its objects. Pure: objects come in as JSON values, time as an argument.

pub mod admissionregistration;
pub mod apiextensions;
pub mod apiregistration;
pub mod apps;
pub mod autoscaling;
pub mod batch;
pub mod cel;
pub mod certificates;
pub mod columns;
pub mod coordination;
pub mod core;
pub mod custom;
pub mod discovery;
pub mod events;
pub mod flowcontrol;
pub mod metadata;
pub mod networking;
pub mod node;
pub mod policy;
pub mod rbac;
pub mod resource;
pub mod scale;
pub mod scheduling;
pub mod storage;
pub mod strategy;
pub mod table;
pub mod validate;
mod value;

#[cfg(test)]
mod testing;

pub use columns::Column;
pub use strategy::{Grace, Strategy};
pub use table::{
    Conversion, Converter, Resource, Row, StrategyRef, Subresource, delete_answers_with_object, find, find_kind,
    resources,
};
