//! Kinds of the group `admissionregistration.k8s.io`: who is asked before an object is written. What expressions mean,
//! and the calls themselves, are the API server's.

pub mod binding;
pub mod policy;
pub mod rules;
pub mod webhook;
