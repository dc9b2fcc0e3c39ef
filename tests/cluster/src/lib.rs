//! What tests of a whole cluster stand on: a cluster of `gannet dev` under a name and ranges of its own, the real
//! kubectl, and waits that end; or a control plane alone, for what needs no node.

mod cluster;
mod command;
mod kubectl;
mod machine;
mod plane;
mod wait;

pub use cluster::Cluster;
pub use command::{Background, output, output_within};
pub use kubectl::Kubectl;
pub use machine::Traces;
pub use plane::Plane;
pub use wait::{eventually, eventually_within};
