//! Kinds of the core group.

pub mod configmap;
pub mod endpoints;
pub mod namespace;
pub mod node;
pub mod pod;
pub mod secret;
pub mod service;
pub mod service_account_volume;
pub mod serviceaccount;

pub use service_account_volume::inject_service_account;
