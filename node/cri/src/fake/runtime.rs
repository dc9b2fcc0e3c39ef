//! The interface's calls on the fake's records.

use std::time::Duration;

use async_trait::async_trait;
use tonic::Status;

use super::records::{self, ContainerRecord, SandboxRecord};
use super::{Fake, Inner};
use crate::{Error, ExecOutput, RuntimeApi, v1};

fn failed(call: &'static str, status: Status) -> Error {
    Error::Call { call, status }
}

impl Inner {
    fn sandbox(&mut self, call: &'static str, id: &str) -> Result<&mut SandboxRecord, Error> {
        self.sandboxes.get_mut(id).ok_or_else(|| failed(call, Status::not_found(format!("sandbox {id}"))))
    }

    fn container(&mut self, call: &'static str, id: &str) -> Result<&mut ContainerRecord, Error> {
        self.containers.get_mut(id).ok_or_else(|| failed(call, Status::not_found(format!("container {id}"))))
    }

    fn running(&mut self, call: &'static str, id: &str) -> Result<&mut ContainerRecord, Error> {
        let container = self.container(call, id)?;
        if container.state == v1::ContainerState::ContainerRunning {
            Ok(container)
        } else {
            Err(failed(call, Status::failed_precondition(format!("container {id} is not running"))))
        }
    }
}

#[async_trait]
impl RuntimeApi for Fake {
    async fn version(&self) -> Result<v1::VersionResponse, Error> {
        self.ask("Version").map(drop)?;
        Ok(v1::VersionResponse {
            version: "0.1.0".to_owned(),
            runtime_name: "fake".to_owned(),
            runtime_version: "1".to_owned(),
            runtime_api_version: "v1".to_owned(),
        })
    }

    async fn status(&self) -> Result<v1::RuntimeStatus, Error> {
        self.ask("Status").map(drop)?;
        let ready = |kind: &str| v1::RuntimeCondition { r#type: kind.to_owned(), status: true, ..Default::default() };
        Ok(v1::RuntimeStatus { conditions: vec![ready("RuntimeReady"), ready("NetworkReady")] })
    }

    async fn update_runtime_config(&self, pod_cidr: &str) -> Result<(), Error> {
        self.change("UpdateRuntimeConfig", pod_cidr).map(drop)
    }

    async fn run_pod_sandbox(&self, config: &v1::PodSandboxConfig) -> Result<String, Error> {
        let name = config.metadata.as_ref().map(|metadata| metadata.name.clone()).unwrap_or_default();
        let mut inner = self.change("RunPodSandbox", &name)?;
        if inner.sandboxes.values().any(|sandbox| sandbox.config.metadata == config.metadata) {
            return Err(failed(
                "RunPodSandbox",
                Status::already_exists(format!("sandbox of {name} with that attempt")),
            ));
        }
        let id = inner.new_id('s');
        let ip = format!("10.244.0.{}", inner.ids % 250 + 1);
        let created_at = inner.now();
        inner.sandboxes.insert(id.clone(), SandboxRecord { config: config.clone(), ready: true, created_at, ip });
        Ok(id)
    }

    async fn stop_pod_sandbox(&self, id: &str) -> Result<(), Error> {
        let mut inner = self.change("StopPodSandbox", id)?;
        if let Some(sandbox) = inner.sandboxes.get_mut(id) {
            sandbox.ready = false;
        }
        let now = inner.now();
        inner.exit_all(id, now, 137);
        Ok(())
    }

    async fn remove_pod_sandbox(&self, id: &str) -> Result<(), Error> {
        let mut inner = self.change("RemovePodSandbox", id)?;
        inner.sandboxes.remove(id);
        inner.containers.retain(|_, container| container.sandbox_id != id);
        Ok(())
    }

    async fn pod_sandbox_status(&self, id: &str) -> Result<v1::PodSandboxStatus, Error> {
        Ok(self.ask("PodSandboxStatus")?.sandbox("PodSandboxStatus", id)?.status(id))
    }

    async fn list_pod_sandboxes(&self, filter: v1::PodSandboxFilter) -> Result<Vec<v1::PodSandbox>, Error> {
        let inner = self.ask("ListPodSandbox")?;
        let found = inner.sandboxes.iter().filter(|(id, sandbox)| sandbox.matches(id, &filter));
        Ok(found.map(|(id, sandbox)| sandbox.item(id)).collect())
    }

    async fn create_container(
        &self,
        sandbox_id: &str,
        config: &v1::ContainerConfig,
        _sandbox: &v1::PodSandboxConfig,
    ) -> Result<String, Error> {
        const CALL: &str = "CreateContainer";
        let name = config.metadata.as_ref().map(|metadata| metadata.name.clone()).unwrap_or_default();
        let mut inner = self.change(CALL, &name)?;
        if !inner.sandbox(CALL, sandbox_id)?.ready {
            return Err(failed(CALL, Status::failed_precondition(format!("sandbox {sandbox_id} is not ready"))));
        }
        let image = config.image.as_ref().map(|image| image.image.clone()).unwrap_or_default();
        if !inner.images.contains_key(&image) {
            return Err(failed(CALL, Status::not_found(format!("image {image}"))));
        }
        let taken = |container: &ContainerRecord| {
            container.sandbox_id == sandbox_id && container.config.metadata == config.metadata
        };
        if inner.containers.values().any(taken) {
            return Err(failed(CALL, Status::already_exists(format!("container {name} with that attempt"))));
        }
        let id = inner.new_id('c');
        let record = ContainerRecord::new(sandbox_id, config, inner.now());
        inner.containers.insert(id.clone(), record);
        Ok(id)
    }

    async fn start_container(&self, id: &str) -> Result<(), Error> {
        const CALL: &str = "StartContainer";
        let mut inner = self.change(CALL, id)?;
        let now = inner.now();
        let container = inner.container(CALL, id)?;
        if container.state != v1::ContainerState::ContainerCreated {
            return Err(failed(CALL, Status::failed_precondition(format!("container {id} was started before"))));
        }
        container.state = v1::ContainerState::ContainerRunning;
        container.started_at = now;
        Ok(())
    }

    async fn stop_container(&self, id: &str, grace: Duration) -> Result<(), Error> {
        let mut inner = self.change("StopContainer", &format!("{id} {}s", grace.as_secs()))?;
        let exit_code = if inner.ignores_stop.contains(id) { 137 } else { 0 };
        let now = inner.now();
        if let Some(container) = inner.containers.get_mut(id) {
            container.exit(now, exit_code, None);
        }
        Ok(())
    }

    async fn remove_container(&self, id: &str) -> Result<(), Error> {
        self.change("RemoveContainer", id)?.containers.remove(id);
        Ok(())
    }

    async fn list_containers(&self, filter: v1::ContainerFilter) -> Result<Vec<v1::Container>, Error> {
        let inner = self.ask("ListContainers")?;
        let found = inner.containers.iter().filter(|(id, container)| container.matches(id, &filter));
        Ok(found.map(|(id, container)| container.item(id)).collect())
    }

    async fn container_status(&self, id: &str) -> Result<v1::ContainerStatus, Error> {
        Ok(self.ask("ContainerStatus")?.container("ContainerStatus", id)?.status(id))
    }

    async fn update_container_resources(&self, id: &str, resources: v1::LinuxContainerResources) -> Result<(), Error> {
        let mut inner = self.change("UpdateContainerResources", id)?;
        let container = inner.container("UpdateContainerResources", id)?;
        container.config.linux.get_or_insert_default().resources = Some(resources);
        Ok(())
    }

    async fn reopen_container_log(&self, id: &str) -> Result<(), Error> {
        let mut inner = self.change("ReopenContainerLog", id)?;
        inner.running("ReopenContainerLog", id).map(drop)
    }

    async fn exec_sync(&self, id: &str, command: &[String], _timeout: Duration) -> Result<ExecOutput, Error> {
        let mut inner = self.ask("ExecSync")?;
        inner.running("ExecSync", id)?;
        Ok(inner.exec.get(command).cloned().unwrap_or_default())
    }

    async fn exec(&self, request: v1::ExecRequest) -> Result<String, Error> {
        self.ask("Exec")?.running("Exec", &request.container_id)?;
        Ok(format!("http://127.0.0.1:0/exec/{}", request.container_id))
    }

    async fn attach(&self, request: v1::AttachRequest) -> Result<String, Error> {
        self.ask("Attach")?.running("Attach", &request.container_id)?;
        Ok(format!("http://127.0.0.1:0/attach/{}", request.container_id))
    }

    async fn port_forward(&self, request: v1::PortForwardRequest) -> Result<String, Error> {
        self.ask("PortForward")?.sandbox("PortForward", &request.pod_sandbox_id)?;
        Ok(format!("http://127.0.0.1:0/portforward/{}", request.pod_sandbox_id))
    }

    async fn container_stats(&self, id: &str) -> Result<v1::ContainerStats, Error> {
        let mut inner = self.ask("ContainerStats")?;
        let now = inner.now();
        Ok(inner.container("ContainerStats", id)?.stats(id, now))
    }

    async fn list_container_stats(&self, filter: v1::ContainerStatsFilter) -> Result<Vec<v1::ContainerStats>, Error> {
        let inner = self.ask("ListContainerStats")?;
        let filter = v1::ContainerFilter {
            id: filter.id,
            pod_sandbox_id: filter.pod_sandbox_id,
            label_selector: filter.label_selector,
            state: None,
        };
        let found = inner.containers.iter().filter(|(id, container)| container.matches(id, &filter));
        Ok(found.map(|(id, container)| container.stats(id, inner.now())).collect())
    }

    async fn list_images(&self) -> Result<Vec<v1::Image>, Error> {
        Ok(self.ask("ListImages")?.images.values().cloned().collect())
    }

    async fn image_status(&self, image: &str) -> Result<Option<v1::Image>, Error> {
        Ok(self.ask("ImageStatus")?.images.get(image).cloned())
    }

    async fn pull_image(
        &self,
        image: &str,
        _auth: Option<v1::AuthConfig>,
        _sandbox: Option<&v1::PodSandboxConfig>,
    ) -> Result<String, Error> {
        let mut inner = self.change("PullImage", image)?;
        if !inner.registry.contains(image) {
            return Err(failed("PullImage", Status::not_found(format!("failed to pull image \"{image}\": not found"))));
        }
        inner.images.insert(image.to_owned(), records::image(image, None));
        Ok(image.to_owned())
    }

    async fn remove_image(&self, image: &str) -> Result<(), Error> {
        self.change("RemoveImage", image)?.images.remove(image);
        Ok(())
    }

    async fn image_fs_info(&self) -> Result<Vec<v1::FilesystemUsage>, Error> {
        let inner = self.ask("ImageFsInfo")?;
        let used = inner.images.values().map(|image| image.size).sum();
        Ok(vec![v1::FilesystemUsage {
            timestamp: inner.now(),
            fs_id: Some(v1::FilesystemIdentifier { mountpoint: "/fake".to_owned() }),
            used_bytes: Some(v1::UInt64Value { value: used }),
            inodes_used: None,
        }])
    }
}
