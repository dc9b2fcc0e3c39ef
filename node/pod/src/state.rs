//! The machine's memory of one pod.

use std::net::IpAddr;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, PodStatus};

use crate::backoff::Backoff;
use crate::event::Exit;
use crate::lifecycle::{Life, Lifecycle, legal, legal_life};
use crate::probe::Probes;
use crate::spec::{self, Role};

/// What is the same for all pods of the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The node's addresses, first is `hostIP`.
    pub host_ips: Vec<IpAddr>,
    /// Scheme of container ids: `containerd` gives `containerd://<id>`.
    pub runtime: String,
}

/// Everything known of one pod.
#[derive(Clone, Debug)]
pub struct State {
    /// The newest API object.
    pub pod: Arc<Pod>,
    /// The API object no longer exists.
    pub deleted_from_api: bool,
    pub facts: Arc<Facts>,
    pub lifecycle: Lifecycle,
    pub sandbox: Option<Sandbox>,
    /// Attempt number of the next sandbox.
    pub sandbox_attempts: u32,
    /// Init containers in order, then the others.
    pub containers: Vec<Container>,
    /// A terminal verdict that does not come from the containers: rejected, deadline exceeded.
    pub verdict: Option<Verdict>,
    /// When the node first saw the pod.
    pub start_time: Option<Timestamp>,
    /// The status last handed to the status writer.
    pub published: PodStatus,
    /// Failures of preparing volumes and of starting the sandbox.
    pub setup: Backoff,
    /// Found in the runtime but not part of the pod any more; removed in the first step.
    pub stale: Stale,
    /// The wake-up last asked for.
    pub wake_at: Option<Timestamp>,
}

/// A sandbox that stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sandbox {
    pub id: String,
    pub ips: Vec<IpAddr>,
}

/// Leftovers in the runtime.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stale {
    pub sandboxes: Vec<String>,
    pub containers: Vec<String>,
}

/// Why a pod failed as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub reason: String,
    pub message: String,
}

/// One container of the pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    pub name: String,
    pub role: Role,
    pub life: Life,
    /// Instances created so far; restarts are one less.
    pub instances: u32,
    /// The newest instance's id, alive or dead.
    pub id: Option<String>,
    /// Image name the newest instance was made from, and the runtime's id of it.
    pub image: String,
    pub image_id: String,
    /// The newest ended instance and the one before it.
    pub last: Option<Ended>,
    pub previous: Option<Ended>,
    pub probes: Probes,
    /// What last went wrong on the way to a running instance; shown until one runs.
    pub trouble: Option<Trouble>,
    /// Restarts, pulls and creations that failed.
    pub crash: Backoff,
    pub pull: Backoff,
    pub create: Backoff,
}

/// A waiting state's reason and message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    pub reason: &'static str,
    pub message: String,
}

/// An instance that ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    pub id: String,
    pub exit: Exit,
}

impl State {
    /// A pod seen for the first time, of which the runtime has nothing.
    pub fn new(pod: Arc<Pod>, facts: Arc<Facts>) -> State {
        let published = pod.status.clone().unwrap_or_default();
        let containers = spec::containers(&pod).map(|(role, c)| Container::new(&c.name, role)).collect();
        let start_time = published.start_time.as_ref().map(|t| t.0);
        let ended = matches!(published.phase.as_deref(), Some("Succeeded" | "Failed"));
        let mut state = State {
            pod,
            deleted_from_api: false,
            facts,
            lifecycle: if ended { Lifecycle::Finished } else { Lifecycle::New },
            sandbox: None,
            sandbox_attempts: 0,
            containers,
            verdict: None,
            start_time,
            published,
            setup: Backoff::default(),
            stale: Stale::default(),
            wake_at: None,
        };
        state.seed_restarts();
        state
    }

    /// Whether the pod is on its way out: deleted, or asked to be.
    pub fn is_deleting(&self) -> bool {
        self.deleted_from_api || self.pod.metadata.deletion_timestamp.is_some()
    }

    /// The container of that name.
    pub fn container(&self, name: &str) -> Option<&Container> {
        self.containers.iter().find(|c| c.name == name)
    }

    /// Restart counts continue from what the API knows, also when the runtime forgot the instances.
    fn seed_restarts(&mut self) {
        let lists = [&self.published.init_container_statuses, &self.published.container_statuses];
        let told = lists.into_iter().flatten().flatten();
        for status in told {
            if status.container_id.is_none() {
                continue;
            }
            if let Some(container) = self.containers.iter_mut().find(|c| c.name == status.name) {
                container.instances = u32::try_from(status.restart_count).unwrap_or(0).saturating_add(1);
            }
        }
    }

    pub(crate) fn go(&mut self, next: Lifecycle) {
        let (from, to) = (self.lifecycle.stage(), next.stage());
        assert!(legal(from, to), "pod lifecycle has no edge {from:?} -> {to:?}");
        self.lifecycle = next;
    }
}

impl Container {
    pub(crate) fn new(name: &str, role: Role) -> Container {
        Container {
            name: name.to_owned(),
            role,
            life: Life::Waiting,
            instances: 0,
            id: None,
            image: String::new(),
            image_id: String::new(),
            last: None,
            previous: None,
            probes: Probes::default(),
            trouble: None,
            crash: Backoff::default(),
            pull: Backoff::default(),
            create: Backoff::default(),
        }
    }

    pub(crate) fn go(&mut self, next: Life) {
        let (from, to) = (self.life.stage(), next.stage());
        assert!(legal_life(from, to), "container {} has no edge {from:?} -> {to:?}", self.name);
        self.life = next;
    }

    /// Whether the runtime has an instance that has not ended.
    pub fn is_live(&self) -> bool {
        self.life.live_id().is_some()
    }

    /// Ended with success.
    pub fn succeeded(&self) -> bool {
        self.life == Life::Exited && self.last.as_ref().is_some_and(|ended| ended.exit.code == 0)
    }
}
