//! What happens to a pod, as its state machine hears of it.

use std::net::IpAddr;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;

use crate::action::ProbeKind;

/// One occurrence. Events about containers name the runtime's id, so that late news of an old instance is ignored.
#[derive(Clone, Debug)]
pub enum Event {
    /// The API object is new or changed (spec, metadata, conditions of others, deletion timestamp).
    PodUpdated(Arc<Pod>),
    /// The API object is gone.
    PodDeleted,
    /// The node has no room for the pod or it clashes with another one; the pod fails.
    Rejected {
        reason: String,
        message: String,
    },
    VolumesReady,
    VolumesFailed {
        message: String,
    },
    VolumesGone,
    SandboxReady {
        id: String,
        ips: Vec<IpAddr>,
    },
    SandboxFailed {
        message: String,
    },
    /// The sandbox was found stopped or missing although nobody asked for it.
    SandboxLost {
        id: String,
    },
    SandboxStopped {
        id: String,
    },
    SandboxRemoved {
        id: String,
    },
    ImagePulled {
        container: String,
        image_id: String,
        message: String,
    },
    ImageFailed {
        container: String,
        failure: ImageFailure,
        message: String,
    },
    ContainerCreated {
        container: String,
        id: String,
    },
    /// `reason` is `CreateContainerConfigError`, `CreateContainerError` or `RunContainerError`.
    ContainerCreateFailed {
        container: String,
        reason: &'static str,
        message: String,
    },
    ContainerStarted {
        container: String,
        id: String,
        at: Timestamp,
    },
    ContainerStartFailed {
        container: String,
        id: String,
        message: String,
    },
    ContainerStopFailed {
        container: String,
        id: String,
        message: String,
    },
    ContainerExited {
        container: String,
        id: String,
        exit: Exit,
    },
    /// The runtime no longer knows the container.
    ContainerLost {
        container: String,
        id: String,
    },
    PostStartDone {
        container: String,
        id: String,
        failure: Option<String>,
    },
    PreStopFailed {
        container: String,
        id: String,
        message: String,
    },
    ProbeResult {
        container: String,
        id: String,
        kind: ProbeKind,
        success: bool,
        message: String,
    },
    /// Time passed.
    Tick,
}

/// How a container ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exit {
    pub code: i32,
    pub signal: Option<i32>,
    /// `Completed`, `Error`, `OOMKilled`, ... as the runtime says.
    pub reason: String,
    /// Termination message, or the log tail with `FallbackToLogsOnError`.
    pub message: Option<String>,
    pub started_at: Option<Timestamp>,
    pub finished_at: Timestamp,
}

/// Why there is no image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageFailure {
    /// The registry did not give it: `ErrImagePull`, later `ImagePullBackOff`.
    Pull,
    /// Policy `Never` and not present: `ErrImageNeverPull`.
    NeverPull,
    /// The name does not parse: `InvalidImageName`.
    InvalidName,
}

/// What the runtime has of one pod when the daemon starts.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// Sandboxes of this pod's uid, newest first.
    pub sandboxes: Vec<ObservedSandbox>,
    /// Containers of those sandboxes, in any order.
    pub containers: Vec<ObservedContainer>,
}

/// A sandbox found in the runtime.
#[derive(Clone, Debug)]
pub struct ObservedSandbox {
    pub id: String,
    pub attempt: u32,
    pub ready: bool,
    pub ips: Vec<IpAddr>,
}

/// A container found in the runtime.
#[derive(Clone, Debug)]
pub struct ObservedContainer {
    pub id: String,
    pub sandbox: String,
    pub name: String,
    pub attempt: u32,
    pub image_id: String,
    pub phase: Phase,
}

/// Where the runtime says a container is.
#[derive(Clone, Debug)]
pub enum Phase {
    Created,
    Running { started_at: Timestamp },
    Exited(Exit),
}
