//! What the node daemon asks of a runtime. [`crate::Runtime`] asks a real one, [`crate::fake::Fake`] pretends.

use std::time::Duration;

use async_trait::async_trait;

use crate::{Error, v1};

/// The output of a command that ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExecOutput {
    /// Standard output, cut by the runtime at 16 MiB.
    pub stdout: Vec<u8>,
    /// Standard error, likewise.
    pub stderr: Vec<u8>,
    /// The exit status.
    pub exit_code: i32,
}

/// The calls of the Container Runtime Interface, one method each. Ids are the runtime's. Stop and remove succeed on
/// what is stopped or gone already.
#[async_trait]
pub trait RuntimeApi: Send + Sync {
    /// Name and version.
    async fn version(&self) -> Result<v1::VersionResponse, Error>;
    /// Conditions `RuntimeReady` and `NetworkReady`.
    async fn status(&self) -> Result<v1::RuntimeStatus, Error>;
    /// Tells the runtime the node's pod range.
    async fn update_runtime_config(&self, pod_cidr: &str) -> Result<(), Error>;

    /// Creates and starts a sandbox, including its network; returns its id.
    async fn run_pod_sandbox(&self, config: &v1::PodSandboxConfig) -> Result<String, Error>;
    /// Stops its containers and gives back its network.
    async fn stop_pod_sandbox(&self, id: &str) -> Result<(), Error>;
    /// Removes it with all its containers.
    async fn remove_pod_sandbox(&self, id: &str) -> Result<(), Error>;
    /// Its state and addresses.
    async fn pod_sandbox_status(&self, id: &str) -> Result<v1::PodSandboxStatus, Error>;
    /// All sandboxes that match.
    async fn list_pod_sandboxes(&self, filter: v1::PodSandboxFilter) -> Result<Vec<v1::PodSandbox>, Error>;

    /// Creates a container; returns its id.
    async fn create_container(
        &self,
        sandbox_id: &str,
        config: &v1::ContainerConfig,
        sandbox: &v1::PodSandboxConfig,
    ) -> Result<String, Error>;
    /// Starts a created container.
    async fn start_container(&self, id: &str) -> Result<(), Error>;
    /// The stop signal, and after `grace` SIGKILL; returns when it is dead.
    async fn stop_container(&self, id: &str, grace: Duration) -> Result<(), Error>;
    /// Removes it, killing it first if need be.
    async fn remove_container(&self, id: &str) -> Result<(), Error>;
    /// All containers that match.
    async fn list_containers(&self, filter: v1::ContainerFilter) -> Result<Vec<v1::Container>, Error>;
    /// Everything about one.
    async fn container_status(&self, id: &str) -> Result<v1::ContainerStatus, Error>;
    /// Changes its cgroup limits.
    async fn update_container_resources(&self, id: &str, resources: v1::LinuxContainerResources) -> Result<(), Error>;
    /// Makes the runtime open the log file anew, after a rotation.
    async fn reopen_container_log(&self, id: &str) -> Result<(), Error>;

    /// Runs a command in a container to its end.
    async fn exec_sync(&self, id: &str, command: &[String], timeout: Duration) -> Result<ExecOutput, Error>;
    /// URL of the streaming server for an interactive command.
    async fn exec(&self, request: v1::ExecRequest) -> Result<String, Error>;
    /// URL of the streaming server for a container's own streams.
    async fn attach(&self, request: v1::AttachRequest) -> Result<String, Error>;
    /// URL of the streaming server for ports of a sandbox.
    async fn port_forward(&self, request: v1::PortForwardRequest) -> Result<String, Error>;

    /// Usage of one container.
    async fn container_stats(&self, id: &str) -> Result<v1::ContainerStats, Error>;
    /// Usage of all containers that match.
    async fn list_container_stats(&self, filter: v1::ContainerStatsFilter) -> Result<Vec<v1::ContainerStats>, Error>;

    /// All images.
    async fn list_images(&self) -> Result<Vec<v1::Image>, Error>;
    /// The image, if present.
    async fn image_status(&self, image: &str) -> Result<Option<v1::Image>, Error>;
    /// Fetches an image; returns the reference to create containers with.
    async fn pull_image(
        &self,
        image: &str,
        auth: Option<v1::AuthConfig>,
        sandbox: Option<&v1::PodSandboxConfig>,
    ) -> Result<String, Error>;
    /// Removes an image.
    async fn remove_image(&self, image: &str) -> Result<(), Error>;
    /// Space used by images.
    async fn image_fs_info(&self) -> Result<Vec<v1::FilesystemUsage>, Error>;
}
