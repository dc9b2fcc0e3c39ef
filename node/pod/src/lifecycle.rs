//! The two lifecycles, the pod's and the container's, each with its table of legal edges.

use jiff::Timestamp;

use crate::event::ImageFailure;

/// Where the pod as a whole stands on this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lifecycle {
    /// Nothing done yet.
    New,
    /// Volumes are being prepared.
    Preparing,
    /// Preparing failed; again at `until`.
    PrepareBackoff { until: Timestamp },
    /// The sandbox is being started.
    Sandboxing,
    /// The sandbox could not be started; again at `until`.
    SandboxBackoff { until: Timestamp },
    /// The sandbox stands; containers live their own lifecycles.
    Running,
    /// Containers are being stopped, first the main ones, then sidecars in reverse order; SIGKILL by `deadline`.
    Stopping { deadline: Timestamp },
    /// The sandbox is being stopped.
    SandboxStopping,
    /// Ended for good but still in the API: dead containers are kept for their logs.
    Finished,
    /// Sandbox and containers are being removed from the runtime.
    Removing,
    /// Volumes and directories are being removed.
    TearingDown,
    /// The API object is being deleted.
    Deleting,
    /// Nothing is left.
    Gone,
}

/// The name of a lifecycle's state, for the edge table and logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    New,
    Preparing,
    PrepareBackoff,
    Sandboxing,
    SandboxBackoff,
    Running,
    Stopping,
    SandboxStopping,
    Finished,
    Removing,
    TearingDown,
    Deleting,
    Gone,
}

/// Every legal edge of the pod's lifecycle.
pub const EDGES: &[(Stage, &[Stage])] = &[
    (Stage::New, &[Stage::Preparing, Stage::Finished, Stage::TearingDown]),
    (Stage::Preparing, &[Stage::PrepareBackoff, Stage::Sandboxing, Stage::TearingDown, Stage::Finished]),
    (Stage::PrepareBackoff, &[Stage::Preparing, Stage::TearingDown, Stage::Finished]),
    (Stage::Sandboxing, &[Stage::SandboxBackoff, Stage::Running, Stage::TearingDown, Stage::Finished]),
    (Stage::SandboxBackoff, &[Stage::Sandboxing, Stage::TearingDown, Stage::Finished]),
    (Stage::Running, &[Stage::Stopping, Stage::SandboxBackoff]),
    (Stage::Stopping, &[Stage::SandboxStopping]),
    (Stage::SandboxStopping, &[Stage::Finished, Stage::Removing]),
    (Stage::Finished, &[Stage::Removing, Stage::TearingDown]),
    (Stage::Removing, &[Stage::TearingDown]),
    (Stage::TearingDown, &[Stage::Deleting, Stage::Gone]),
    (Stage::Deleting, &[Stage::Gone]),
    (Stage::Gone, &[]),
];

impl Lifecycle {
    /// The state's name.
    pub fn stage(&self) -> Stage {
        match self {
            Lifecycle::New => Stage::New,
            Lifecycle::Preparing => Stage::Preparing,
            Lifecycle::PrepareBackoff { .. } => Stage::PrepareBackoff,
            Lifecycle::Sandboxing => Stage::Sandboxing,
            Lifecycle::SandboxBackoff { .. } => Stage::SandboxBackoff,
            Lifecycle::Running => Stage::Running,
            Lifecycle::Stopping { .. } => Stage::Stopping,
            Lifecycle::SandboxStopping => Stage::SandboxStopping,
            Lifecycle::Finished => Stage::Finished,
            Lifecycle::Removing => Stage::Removing,
            Lifecycle::TearingDown => Stage::TearingDown,
            Lifecycle::Deleting => Stage::Deleting,
            Lifecycle::Gone => Stage::Gone,
        }
    }
}

/// Whether the pod may go from one stage to the other.
pub fn legal(from: Stage, to: Stage) -> bool {
    EDGES.iter().any(|(f, tos)| *f == from && tos.contains(&to))
}

/// Where one container stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Life {
    /// Its turn has not come.
    Waiting,
    /// The image is being made present.
    Pulling,
    /// The image could not be had; shown as the error until `shown_until`, as backoff from then on, again at `until`.
    PullBackoff {
        shown_until: Timestamp,
        until: Timestamp,
        failure: ImageFailure,
        message: String,
    },
    /// The container is being created.
    Creating,
    /// Creation failed; again at `until`.
    CreateBackoff {
        until: Timestamp,
        reason: &'static str,
        message: String,
    },
    /// Created, being started.
    Starting {
        id: String,
    },
    /// Started, its postStart hook runs.
    PostStart {
        id: String,
        since: Timestamp,
    },
    Running {
        id: String,
        since: Timestamp,
    },
    /// Asked to stop with `grace_seconds`. `retry_at`: the runtime refused, ask again then.
    Stopping {
        id: String,
        since: Timestamp,
        grace_seconds: u32,
        retry_at: Option<Timestamp>,
    },
    /// Ended; how is in the container's `last`.
    Exited,
    /// Ended and waiting to be restarted at `until`.
    CrashBackoff {
        until: Timestamp,
    },
}

/// The name of a container's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LifeStage {
    Waiting,
    Pulling,
    PullBackoff,
    Creating,
    CreateBackoff,
    Starting,
    PostStart,
    Running,
    Stopping,
    Exited,
    CrashBackoff,
}

/// Every legal edge of a container's lifecycle. `Waiting` is also where a lost sandbox puts a container back.
pub const LIFE_EDGES: &[(LifeStage, &[LifeStage])] = &[
    (LifeStage::Waiting, &[LifeStage::Pulling]),
    (LifeStage::Pulling, &[LifeStage::PullBackoff, LifeStage::Creating, LifeStage::Waiting, LifeStage::Exited]),
    (LifeStage::PullBackoff, &[LifeStage::Pulling, LifeStage::Waiting, LifeStage::Exited]),
    (LifeStage::Creating, &[LifeStage::CreateBackoff, LifeStage::Starting, LifeStage::Waiting, LifeStage::Exited]),
    (LifeStage::CreateBackoff, &[LifeStage::Pulling, LifeStage::Waiting, LifeStage::Exited]),
    (LifeStage::Starting, &[LifeStage::PostStart, LifeStage::Running, LifeStage::Exited]),
    (LifeStage::PostStart, &[LifeStage::Running, LifeStage::Stopping, LifeStage::Exited]),
    (LifeStage::Running, &[LifeStage::Stopping, LifeStage::Exited]),
    (LifeStage::Stopping, &[LifeStage::Exited]),
    (LifeStage::Exited, &[LifeStage::CrashBackoff, LifeStage::Pulling, LifeStage::Waiting]),
    (LifeStage::CrashBackoff, &[LifeStage::Pulling, LifeStage::Exited, LifeStage::Waiting]),
];

impl Life {
    /// The state's name.
    pub fn stage(&self) -> LifeStage {
        match self {
            Life::Waiting => LifeStage::Waiting,
            Life::Pulling => LifeStage::Pulling,
            Life::PullBackoff { .. } => LifeStage::PullBackoff,
            Life::Creating => LifeStage::Creating,
            Life::CreateBackoff { .. } => LifeStage::CreateBackoff,
            Life::Starting { .. } => LifeStage::Starting,
            Life::PostStart { .. } => LifeStage::PostStart,
            Life::Running { .. } => LifeStage::Running,
            Life::Stopping { .. } => LifeStage::Stopping,
            Life::Exited => LifeStage::Exited,
            Life::CrashBackoff { .. } => LifeStage::CrashBackoff,
        }
    }

    /// The instance's id while the runtime has it and it has not ended.
    pub fn live_id(&self) -> Option<&str> {
        match self {
            Life::Starting { id }
            | Life::PostStart { id, .. }
            | Life::Running { id, .. }
            | Life::Stopping { id, .. } => Some(id),
            Life::Waiting
            | Life::Pulling
            | Life::PullBackoff { .. }
            | Life::Creating
            | Life::CreateBackoff { .. }
            | Life::Exited
            | Life::CrashBackoff { .. } => None,
        }
    }

    /// When the state wants to be looked at again.
    pub fn wakes(&self) -> impl Iterator<Item = Timestamp> {
        let (first, second) = match self {
            Life::PullBackoff { shown_until, until, .. } => (Some(*shown_until), Some(*until)),
            Life::CreateBackoff { until, .. } | Life::CrashBackoff { until } => (Some(*until), None),
            Life::Stopping { retry_at, .. } => (*retry_at, None),
            Life::Waiting
            | Life::Pulling
            | Life::Creating
            | Life::Starting { .. }
            | Life::PostStart { .. }
            | Life::Running { .. }
            | Life::Exited => (None, None),
        };
        first.into_iter().chain(second)
    }
}

/// Whether a container may go from one stage to the other.
pub fn legal_life(from: LifeStage, to: LifeStage) -> bool {
    LIFE_EDGES.iter().any(|(f, tos)| *f == from && tos.contains(&to))
}
