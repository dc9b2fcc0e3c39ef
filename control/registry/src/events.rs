//! Events: one stored form, seen through the core group and through `events.k8s.io`.

pub mod convert;
pub mod event;
