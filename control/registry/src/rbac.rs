//! Kinds of the group `rbac.authorization.k8s.io`.

pub mod binding;
pub mod role;

/// The group's name, which its objects also carry as a field.
pub const GROUP: &str = "rbac.authorization.k8s.io";
