//! Kinds of the core group.

pub mod binding;
pub mod componentstatus;
pub mod configmap;
pub mod endpoints;
pub mod limitrange;
pub mod namespace;
pub mod node;
pub mod persistentvolume;
pub mod persistentvolumeclaim;
pub mod pod;
pub mod podtemplate;
pub mod replicationcontroller;
pub mod resourcequota;
pub mod secret;
pub mod service;
pub mod service_account_volume;
pub mod serviceaccount;

pub use service_account_volume::inject_service_account;
