//! What the fake remembers, and how it shows.

use crate::convert::labels;
use crate::v1;

#[derive(Debug)]
pub(super) struct SandboxRecord {
    pub(super) config: v1::PodSandboxConfig,
    pub(super) ready: bool,
    pub(super) created_at: i64,
    pub(super) ip: String,
}

#[derive(Debug)]
pub(super) struct ContainerRecord {
    pub(super) sandbox_id: String,
    pub(super) config: v1::ContainerConfig,
    pub(super) state: v1::ContainerState,
    pub(super) created_at: i64,
    pub(super) started_at: i64,
    pub(super) finished_at: i64,
    pub(super) exit_code: i32,
    pub(super) reason: &'static str,
}

impl SandboxRecord {
    fn state(&self) -> i32 {
        let state = if self.ready { v1::PodSandboxState::SandboxReady } else { v1::PodSandboxState::SandboxNotready };
        state.into()
    }

    pub(super) fn status(&self, id: &str) -> v1::PodSandboxStatus {
        v1::PodSandboxStatus {
            id: id.to_owned(),
            metadata: self.config.metadata.clone(),
            state: self.state(),
            created_at: self.created_at,
            network: Some(v1::PodSandboxNetworkStatus { ip: self.ip.clone(), additional_ips: Vec::new() }),
            labels: self.config.labels.clone(),
            annotations: self.config.annotations.clone(),
            ..Default::default()
        }
    }

    pub(super) fn item(&self, id: &str) -> v1::PodSandbox {
        v1::PodSandbox {
            id: id.to_owned(),
            metadata: self.config.metadata.clone(),
            state: self.state(),
            created_at: self.created_at,
            labels: self.config.labels.clone(),
            annotations: self.config.annotations.clone(),
            ..Default::default()
        }
    }

    pub(super) fn matches(&self, id: &str, filter: &v1::PodSandboxFilter) -> bool {
        (filter.id.is_empty() || filter.id == id)
            && filter.state.as_ref().is_none_or(|wanted| wanted.state == self.state())
            && has_labels(&self.config.labels, &filter.label_selector)
    }
}

impl ContainerRecord {
    pub(super) fn new(sandbox_id: &str, config: &v1::ContainerConfig, created_at: i64) -> ContainerRecord {
        ContainerRecord {
            sandbox_id: sandbox_id.to_owned(),
            config: config.clone(),
            state: v1::ContainerState::ContainerCreated,
            created_at,
            started_at: 0,
            finished_at: 0,
            exit_code: 0,
            reason: "",
        }
    }

    /// Ends it if it runs; says whether it did.
    pub(super) fn exit(&mut self, now: i64, exit_code: i32, reason: Option<&'static str>) -> bool {
        if self.state != v1::ContainerState::ContainerRunning {
            return false;
        }
        self.state = v1::ContainerState::ContainerExited;
        self.finished_at = now;
        self.exit_code = exit_code;
        self.reason = reason.unwrap_or(if exit_code == 0 { "Completed" } else { "Error" });
        true
    }

    pub(super) fn belongs_to(&self, pod_uid: &str, name: &str) -> bool {
        let is = |label: &str, value: &str| self.config.labels.get(label).is_some_and(|found| found == value);
        is(labels::POD_UID, pod_uid) && is(labels::CONTAINER_NAME, name)
    }

    pub(super) fn status(&self, id: &str) -> v1::ContainerStatus {
        v1::ContainerStatus {
            id: id.to_owned(),
            metadata: self.config.metadata.clone(),
            state: self.state.into(),
            created_at: self.created_at,
            started_at: self.started_at,
            finished_at: self.finished_at,
            exit_code: self.exit_code,
            image: self.config.image.clone(),
            image_ref: self.image(),
            reason: self.reason.to_owned(),
            labels: self.config.labels.clone(),
            annotations: self.config.annotations.clone(),
            mounts: self.config.mounts.clone(),
            log_path: self.config.log_path.clone(),
            ..Default::default()
        }
    }

    pub(super) fn item(&self, id: &str) -> v1::Container {
        v1::Container {
            id: id.to_owned(),
            pod_sandbox_id: self.sandbox_id.clone(),
            metadata: self.config.metadata.clone(),
            image: self.config.image.clone(),
            image_ref: self.image(),
            state: self.state.into(),
            created_at: self.created_at,
            labels: self.config.labels.clone(),
            annotations: self.config.annotations.clone(),
            ..Default::default()
        }
    }

    pub(super) fn stats(&self, id: &str, now: i64) -> v1::ContainerStats {
        let value = |value| Some(v1::UInt64Value { value });
        v1::ContainerStats {
            attributes: Some(v1::ContainerAttributes {
                id: id.to_owned(),
                metadata: self.config.metadata.clone(),
                labels: self.config.labels.clone(),
                annotations: self.config.annotations.clone(),
            }),
            cpu: Some(v1::CpuUsage { timestamp: now, usage_core_nano_seconds: value(1_000_000), ..Default::default() }),
            memory: Some(v1::MemoryUsage { timestamp: now, working_set_bytes: value(1 << 20), ..Default::default() }),
            ..Default::default()
        }
    }

    pub(super) fn matches(&self, id: &str, filter: &v1::ContainerFilter) -> bool {
        (filter.id.is_empty() || filter.id == id)
            && filter.state.as_ref().is_none_or(|wanted| wanted.state == i32::from(self.state))
            && (filter.pod_sandbox_id.is_empty() || filter.pod_sandbox_id == self.sandbox_id)
            && has_labels(&self.config.labels, &filter.label_selector)
    }

    fn image(&self) -> String {
        self.config.image.as_ref().map(|image| image.image.clone()).unwrap_or_default()
    }
}

/// An image's record; its id is its name.
pub(super) fn image(name: &str, uid: Option<i64>) -> v1::Image {
    v1::Image {
        id: name.to_owned(),
        repo_tags: vec![name.to_owned()],
        size: 1024,
        uid: uid.map(|value| v1::Int64Value { value }),
        ..Default::default()
    }
}

pub(super) fn has_labels(
    labels: &std::collections::BTreeMap<String, String>,
    wanted: &std::collections::BTreeMap<String, String>,
) -> bool {
    wanted.iter().all(|(name, value)| labels.get(name) == Some(value))
}
