//! Pods as the runtime wants them: pure functions from the Kubernetes objects, plus what the daemon resolved (mounts,
//! environment, image, addresses), to the interface's configurations.

mod container;
mod dns;
mod expand;
mod paths;
mod resources;
mod sandbox;
mod security;

pub use container::{ContainerOptions, container_config};
pub use dns::{DnsOptions, dns_config};
pub use expand::expand;
pub use paths::{container_log_path, log_path, pod_log_directory};
pub use resources::{oom_score_adj, resources};
pub use sandbox::{SandboxOptions, sandbox_config};
pub use security::{NonRootViolation, check_non_root};

/// Labels and annotations by which the daemon finds its sandboxes and containers again.
pub mod labels {
    /// The pod's name.
    pub const POD_NAME: &str = "io.kubernetes.pod.name";
    /// The pod's namespace.
    pub const POD_NAMESPACE: &str = "io.kubernetes.pod.namespace";
    /// The pod's uid.
    pub const POD_UID: &str = "io.kubernetes.pod.uid";
    /// The container's name.
    pub const CONTAINER_NAME: &str = "io.kubernetes.container.name";
    /// Annotation: which try of this container this is, from 0.
    pub const RESTART_COUNT: &str = "io.kubernetes.container.restartCount";
    /// Annotation: where the container may write its last words.
    pub const TERMINATION_MESSAGE_PATH: &str = "io.kubernetes.container.terminationMessagePath";
    /// Annotation: `File` or `FallbackToLogsOnError`.
    pub const TERMINATION_MESSAGE_POLICY: &str = "io.kubernetes.container.terminationMessagePolicy";
    /// Annotation: the pod's termination grace period in seconds.
    pub const GRACE_PERIOD: &str = "io.kubernetes.pod.terminationGracePeriod";
}

#[cfg(test)]
mod tests;
