//! What the machine asks the node daemon to do. Each action that takes time answers with an [`Event`](crate::Event).

use std::borrow::Cow;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{PodStatus, Probe};

/// One thing to do for one pod. Actions of one step are carried out in order; long ones run beside later steps.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Fetch the sources of the pod's volumes and write them. Answers `VolumesReady` or `VolumesFailed`.
    PrepareVolumes,
    /// Unmount and remove the pod's volumes, logs and directory. Answers `VolumesGone`.
    TeardownVolumes,
    /// Start the pod's sandbox. `attempt` counts sandboxes of this pod. Answers `SandboxReady` or `SandboxFailed`.
    RunSandbox { attempt: u32 },
    /// Stop the sandbox and with it the pod's network. Answers `SandboxStopped`.
    StopSandbox { id: String },
    /// Remove the stopped sandbox and every container left in it. Answers `SandboxRemoved`.
    RemoveSandbox { id: String },
    /// Make the image present, following the container's pull policy. Answers `ImagePulled` or `ImageFailed`.
    PullImage { container: String },
    /// Create the container in sandbox `sandbox`. Answers `ContainerCreated` or `ContainerCreateFailed`.
    CreateContainer { container: String, attempt: u32, sandbox: String, image_id: String },
    /// Start it. Answers `ContainerStarted` or `ContainerStartFailed`.
    StartContainer { container: String, id: String },
    /// Run the preStop hook if `pre_stop`, then SIGTERM, after what is left of `grace_seconds` SIGKILL. The end shows as
    /// `ContainerExited`; if the runtime refuses, `ContainerStopFailed`.
    StopContainer { container: String, id: String, grace_seconds: u32, pre_stop: bool },
    /// Remove a dead container of an earlier attempt, with its log. No answer.
    RemoveContainer { id: String },
    /// Run the postStart hook. Answers `PostStartDone`.
    RunPostStart { container: String, id: String },
    /// Probe periodically until stopped. Each try answers `ProbeResult`.
    StartProbe { container: String, id: String, kind: ProbeKind, probe: Box<Probe> },
    /// Stop that probe.
    StopProbe { container: String, kind: ProbeKind },
    /// Make this the pod's status in the API; a later one supersedes it.
    UpdateStatus(Box<PodStatus>),
    /// Delete the pod from the API with grace 0 and its uid as precondition. Answers `PodDeleted`.
    DeleteFromApi,
    /// Record a Kubernetes Event about the pod.
    Emit(Note),
    /// Send `Tick` at this time (an earlier wake-up is harmless; only the latest request counts).
    WakeAt(Timestamp),
}

/// The three probes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ProbeKind {
    Startup,
    Liveness,
    Readiness,
}

impl ProbeKind {
    /// All, in the order they take effect.
    pub const ALL: [ProbeKind; 3] = [ProbeKind::Startup, ProbeKind::Liveness, ProbeKind::Readiness];

    /// The word in event messages: `Liveness probe failed: ..`.
    pub fn word(self) -> &'static str {
        match self {
            ProbeKind::Startup => "Startup",
            ProbeKind::Liveness => "Liveness",
            ProbeKind::Readiness => "Readiness",
        }
    }
}

/// Severity of a Kubernetes Event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoteKind {
    Normal,
    Warning,
}

/// A Kubernetes Event to record about the pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    pub kind: NoteKind,
    pub reason: Cow<'static, str>,
    pub message: String,
    /// Container the event is about, with the field path prefix: `spec.containers{web}`.
    pub field_path: Option<String>,
}
