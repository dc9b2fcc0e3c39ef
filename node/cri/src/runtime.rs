//! The client of a real runtime. The connection is made at the first call and again whenever it was lost, so the
//! runtime may start later and restart at any time; until then calls fail with [`Error::is_unavailable`].

use std::future::Future;
use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Response, Status};

use crate::v1::image_service_client::ImageServiceClient;
use crate::v1::runtime_service_client::RuntimeServiceClient;
use crate::{ConnectError, Error, ExecOutput, RuntimeApi, v1};

/// Limit of calls that only ask.
const ASK: Duration = Duration::from_secs(30);
/// Limit of calls that change something. The kubelet's `--runtime-request-timeout` has the same default.
const CHANGE: Duration = Duration::from_secs(120);
/// Limit of starting a sandbox, which includes its network.
const SANDBOX: Duration = Duration::from_secs(240);
/// Limit of fetching an image.
const PULL: Duration = Duration::from_secs(1800);
/// What is added to a limit that the runtime itself observes.
const MARGIN: Duration = Duration::from_secs(10);
/// Largest answer; the interface's own servers and clients use 16 MiB.
const MAX_MESSAGE_BYTES: usize = 16 * 1024 * 1024;

/// A runtime behind a unix socket. Cheap to clone; clones share the connection.
#[derive(Debug, Clone)]
pub struct Runtime {
    runtime: RuntimeServiceClient<Channel>,
    images: ImageServiceClient<Channel>,
}

impl Runtime {
    /// A client of the runtime that listens, or will listen, at `socket`. Call it within a tokio runtime.
    ///
    /// # Errors
    /// When the path cannot be written as a socket address.
    pub fn connect(socket: &Path) -> Result<Runtime, ConnectError> {
        let path = socket.display().to_string();
        let endpoint = Endpoint::from_shared(format!("unix:{path}"))
            .map_err(|source| ConnectError { path, source })?
            .connect_timeout(Duration::from_secs(5));
        let channel = endpoint.connect_lazy();
        Ok(Runtime {
            runtime: RuntimeServiceClient::new(channel.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES),
            images: ImageServiceClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES),
        })
    }
}

/// Awaits an answer for at most `limit`.
async fn within<T>(
    call: &'static str,
    limit: Duration,
    answer: impl Future<Output = Result<Response<T>, Status>>,
) -> Result<T, Error> {
    match tokio::time::timeout(limit, answer).await {
        Ok(Ok(response)) => Ok(response.into_inner()),
        Ok(Err(status)) => Err(Error::Call { call, status }),
        Err(_) => Err(Error::Timeout { call, limit_seconds: limit.as_secs() }),
    }
}

fn present<T>(call: &'static str, field: &'static str, value: Option<T>) -> Result<T, Error> {
    value.ok_or(Error::Incomplete { call, field })
}

fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}

fn image_spec(image: &str) -> v1::ImageSpec {
    v1::ImageSpec { image: image.to_owned(), ..Default::default() }
}

#[async_trait]
impl RuntimeApi for Runtime {
    async fn version(&self) -> Result<v1::VersionResponse, Error> {
        let request = Request::new(v1::VersionRequest { version: "v1".to_owned() });
        within("Version", ASK, self.runtime.clone().version(request)).await
    }

    async fn status(&self) -> Result<v1::RuntimeStatus, Error> {
        let request = v1::StatusRequest { verbose: false };
        let answer = within("Status", ASK, self.runtime.clone().status(request)).await?;
        present("Status", "status", answer.status)
    }

    async fn update_runtime_config(&self, pod_cidr: &str) -> Result<(), Error> {
        let network_config = Some(v1::NetworkConfig { pod_cidr: pod_cidr.to_owned() });
        let request = v1::UpdateRuntimeConfigRequest { runtime_config: Some(v1::RuntimeConfig { network_config }) };
        within("UpdateRuntimeConfig", CHANGE, self.runtime.clone().update_runtime_config(request)).await.map(drop)
    }

    async fn run_pod_sandbox(&self, config: &v1::PodSandboxConfig) -> Result<String, Error> {
        let request = v1::RunPodSandboxRequest { config: Some(config.clone()), ..Default::default() };
        let answer = within("RunPodSandbox", SANDBOX, self.runtime.clone().run_pod_sandbox(request)).await?;
        Ok(answer.pod_sandbox_id)
    }

    async fn stop_pod_sandbox(&self, id: &str) -> Result<(), Error> {
        let request = v1::StopPodSandboxRequest { pod_sandbox_id: id.to_owned() };
        within("StopPodSandbox", CHANGE, self.runtime.clone().stop_pod_sandbox(request)).await.map(drop)
    }

    async fn remove_pod_sandbox(&self, id: &str) -> Result<(), Error> {
        let request = v1::RemovePodSandboxRequest { pod_sandbox_id: id.to_owned() };
        within("RemovePodSandbox", CHANGE, self.runtime.clone().remove_pod_sandbox(request)).await.map(drop)
    }

    async fn pod_sandbox_status(&self, id: &str) -> Result<v1::PodSandboxStatus, Error> {
        let request = v1::PodSandboxStatusRequest { pod_sandbox_id: id.to_owned(), verbose: false };
        let answer = within("PodSandboxStatus", ASK, self.runtime.clone().pod_sandbox_status(request)).await?;
        present("PodSandboxStatus", "status", answer.status)
    }

    async fn list_pod_sandboxes(&self, filter: v1::PodSandboxFilter) -> Result<Vec<v1::PodSandbox>, Error> {
        let request = v1::ListPodSandboxRequest { filter: Some(filter) };
        Ok(within("ListPodSandbox", ASK, self.runtime.clone().list_pod_sandbox(request)).await?.items)
    }

    async fn create_container(
        &self,
        sandbox_id: &str,
        config: &v1::ContainerConfig,
        sandbox: &v1::PodSandboxConfig,
    ) -> Result<String, Error> {
        let request = v1::CreateContainerRequest {
            pod_sandbox_id: sandbox_id.to_owned(),
            config: Some(config.clone()),
            sandbox_config: Some(sandbox.clone()),
        };
        Ok(within("CreateContainer", CHANGE, self.runtime.clone().create_container(request)).await?.container_id)
    }

    async fn start_container(&self, id: &str) -> Result<(), Error> {
        let request = v1::StartContainerRequest { container_id: id.to_owned() };
        within("StartContainer", CHANGE, self.runtime.clone().start_container(request)).await.map(drop)
    }

    async fn stop_container(&self, id: &str, grace: Duration) -> Result<(), Error> {
        let request = v1::StopContainerRequest { container_id: id.to_owned(), timeout: seconds(grace) };
        let limit = grace.saturating_add(CHANGE);
        within("StopContainer", limit, self.runtime.clone().stop_container(request)).await.map(drop)
    }

    async fn remove_container(&self, id: &str) -> Result<(), Error> {
        let request = v1::RemoveContainerRequest { container_id: id.to_owned() };
        within("RemoveContainer", CHANGE, self.runtime.clone().remove_container(request)).await.map(drop)
    }

    async fn list_containers(&self, filter: v1::ContainerFilter) -> Result<Vec<v1::Container>, Error> {
        let request = v1::ListContainersRequest { filter: Some(filter) };
        Ok(within("ListContainers", ASK, self.runtime.clone().list_containers(request)).await?.containers)
    }

    async fn container_status(&self, id: &str) -> Result<v1::ContainerStatus, Error> {
        let request = v1::ContainerStatusRequest { container_id: id.to_owned(), verbose: false };
        let answer = within("ContainerStatus", ASK, self.runtime.clone().container_status(request)).await?;
        present("ContainerStatus", "status", answer.status)
    }

    async fn update_container_resources(&self, id: &str, resources: v1::LinuxContainerResources) -> Result<(), Error> {
        let request = v1::UpdateContainerResourcesRequest {
            container_id: id.to_owned(),
            linux: Some(resources),
            ..Default::default()
        };
        let mut client = self.runtime.clone();
        within("UpdateContainerResources", CHANGE, client.update_container_resources(request)).await.map(drop)
    }

    async fn reopen_container_log(&self, id: &str) -> Result<(), Error> {
        let request = v1::ReopenContainerLogRequest { container_id: id.to_owned() };
        within("ReopenContainerLog", CHANGE, self.runtime.clone().reopen_container_log(request)).await.map(drop)
    }

    async fn exec_sync(&self, id: &str, command: &[String], timeout: Duration) -> Result<ExecOutput, Error> {
        // The interface counts whole seconds, and 0 means no limit.
        let timeout =
            Duration::from_secs(timeout.as_secs() + u64::from(timeout.subsec_nanos() > 0)).max(Duration::from_secs(1));
        let request =
            v1::ExecSyncRequest { container_id: id.to_owned(), cmd: command.to_vec(), timeout: seconds(timeout) };
        let limit = timeout.saturating_add(MARGIN);
        let answer = within("ExecSync", limit, self.runtime.clone().exec_sync(request)).await?;
        Ok(ExecOutput { stdout: answer.stdout, stderr: answer.stderr, exit_code: answer.exit_code })
    }

    async fn exec(&self, request: v1::ExecRequest) -> Result<String, Error> {
        Ok(within("Exec", ASK, self.runtime.clone().exec(request)).await?.url)
    }

    async fn attach(&self, request: v1::AttachRequest) -> Result<String, Error> {
        Ok(within("Attach", ASK, self.runtime.clone().attach(request)).await?.url)
    }

    async fn port_forward(&self, request: v1::PortForwardRequest) -> Result<String, Error> {
        Ok(within("PortForward", ASK, self.runtime.clone().port_forward(request)).await?.url)
    }

    async fn container_stats(&self, id: &str) -> Result<v1::ContainerStats, Error> {
        let request = v1::ContainerStatsRequest { container_id: id.to_owned() };
        let answer = within("ContainerStats", ASK, self.runtime.clone().container_stats(request)).await?;
        present("ContainerStats", "stats", answer.stats)
    }

    async fn list_container_stats(&self, filter: v1::ContainerStatsFilter) -> Result<Vec<v1::ContainerStats>, Error> {
        let request = v1::ListContainerStatsRequest { filter: Some(filter) };
        Ok(within("ListContainerStats", ASK, self.runtime.clone().list_container_stats(request)).await?.stats)
    }

    async fn list_images(&self) -> Result<Vec<v1::Image>, Error> {
        let request = v1::ListImagesRequest { filter: None };
        Ok(within("ListImages", ASK, self.images.clone().list_images(request)).await?.images)
    }

    async fn image_status(&self, image: &str) -> Result<Option<v1::Image>, Error> {
        let request = v1::ImageStatusRequest { image: Some(image_spec(image)), verbose: false };
        Ok(within("ImageStatus", ASK, self.images.clone().image_status(request)).await?.image)
    }

    async fn pull_image(
        &self,
        image: &str,
        auth: Option<v1::AuthConfig>,
        sandbox: Option<&v1::PodSandboxConfig>,
    ) -> Result<String, Error> {
        let request = v1::PullImageRequest { image: Some(image_spec(image)), auth, sandbox_config: sandbox.cloned() };
        Ok(within("PullImage", PULL, self.images.clone().pull_image(request)).await?.image_ref)
    }

    async fn remove_image(&self, image: &str) -> Result<(), Error> {
        let request = v1::RemoveImageRequest { image: Some(image_spec(image)) };
        within("RemoveImage", CHANGE, self.images.clone().remove_image(request)).await.map(drop)
    }

    async fn image_fs_info(&self) -> Result<Vec<v1::FilesystemUsage>, Error> {
        let request = v1::ImageFsInfoRequest {};
        Ok(within("ImageFsInfo", ASK, self.images.clone().image_fs_info(request)).await?.image_filesystems)
    }
}
