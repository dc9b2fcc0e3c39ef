//! The status the API shows, computed from the state: the same phases, reasons and conditions as kubelet's.

mod conditions;
mod containers;
mod phase;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerStatus, HostIP, PodCondition, PodIP, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::lifecycle::{Life, Lifecycle};
use crate::qos;
use crate::spec::{self, Role};
use crate::state::{Container, State};

/// Condition types that the node writes; all others belong to somebody else.
pub const OWN_CONDITIONS: [&str; 4] = ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady"];

/// The pod's status at `now`. Fields and conditions that others own are taken over from the API object.
pub fn compute(state: &State, now: Timestamp) -> PodStatus {
    let base = state.pod.status.clone().unwrap_or_default();
    if is_settled(state) {
        return merge(&state.published, &base);
    }
    let init = containers::list(state, Role::Init, Role::Sidecar, now);
    let main = containers::list(state, Role::Main, Role::Main, now);
    let (phase, reason, message) = match &state.verdict {
        Some(verdict) => ("Failed", Some(verdict.reason.clone()), Some(verdict.message.clone())),
        None => (phase::of(state, &init, &main), None, None),
    };
    let host_ips: Vec<String> = state.facts.host_ips.iter().map(ToString::to_string).collect();
    let pod_ips = pod_ips(state);
    let rejected = state.verdict.is_some() && state.containers.iter().all(|c| c.instances == 0);
    let generation = state.pod.metadata.generation;
    let own = conditions::own(state, phase, &init, &main);
    let mut status = PodStatus {
        phase: Some(phase.to_owned()),
        reason,
        message,
        host_ip: host_ips.first().cloned(),
        host_ips: Some(host_ips.into_iter().map(|ip| HostIP { ip }).collect()),
        pod_ip: pod_ips.first().cloned(),
        pod_ips: (!pod_ips.is_empty()).then(|| pod_ips.into_iter().map(|ip| PodIP { ip }).collect()),
        start_time: state.start_time.map(Time),
        qos_class: Some(base.qos_class.clone().unwrap_or_else(|| qos::class(&state.pod).word().to_owned())),
        init_container_statuses: (!init.is_empty() && !rejected).then_some(init),
        container_statuses: (!rejected).then_some(main),
        observed_generation: generation,
        ..base
    };
    status.conditions = Some(conditions::dated(own, &state.published, status.conditions.take(), generation, now));
    status
}

/// Puts the node's status over what the API has now: conditions of others in `current` stay.
pub fn merge(own: &PodStatus, current: &PodStatus) -> PodStatus {
    let is_own = |c: &&PodCondition| OWN_CONDITIONS.contains(&c.type_.as_str());
    let mut conditions: Vec<PodCondition> = own.conditions.iter().flatten().filter(is_own).cloned().collect();
    conditions.extend(current.conditions.iter().flatten().filter(|c| !is_own(c)).cloned());
    PodStatus {
        conditions: Some(conditions),
        nominated_node_name: current.nominated_node_name.clone(),
        ephemeral_container_statuses: current.ephemeral_container_statuses.clone(),
        ..own.clone()
    }
}

/// Whether a container counts as started: it runs and its startup probe, if any, has succeeded.
pub fn is_started(state: &State, container: &Container) -> bool {
    let runs = matches!(container.life, Life::Running { .. } | Life::Stopping { .. });
    let probed = spec::container(&state.pod, &container.name).is_some_and(|c| c.startup_probe.is_some());
    runs && (!probed || container.probes.startup.verdict == Some(true))
}

/// Whether a container is ready: started, and its readiness probe, if any, succeeds.
pub fn is_ready(state: &State, container: &Container) -> bool {
    let probed = spec::container(&state.pod, &container.name).is_some_and(|c| c.readiness_probe.is_some());
    is_started(state, container) && (!probed || container.probes.readiness.verdict == Some(true))
}

/// The pod ended before this daemon saw it: its last status stands.
fn is_settled(state: &State) -> bool {
    let ended = matches!(state.published.phase.as_deref(), Some("Succeeded" | "Failed"));
    let unseen = state.containers.iter().all(|c| c.life == Life::Waiting && c.last.is_none());
    ended && unseen && state.verdict.is_none()
}

/// The pod's addresses; a pod on its way out keeps showing those it had.
fn pod_ips(state: &State) -> Vec<String> {
    match &state.sandbox {
        Some(sandbox) => sandbox.ips.iter().map(ToString::to_string).collect(),
        None if is_over(state) => state.published.pod_ips.iter().flatten().map(|p| p.ip.clone()).collect(),
        None => Vec::new(),
    }
}

/// Whether nothing of the pod will run again.
fn is_over(state: &State) -> bool {
    match state.lifecycle {
        Lifecycle::SandboxStopping
        | Lifecycle::Finished
        | Lifecycle::Removing
        | Lifecycle::TearingDown
        | Lifecycle::Deleting
        | Lifecycle::Gone => true,
        Lifecycle::New
        | Lifecycle::Preparing
        | Lifecycle::PrepareBackoff { .. }
        | Lifecycle::Sandboxing
        | Lifecycle::SandboxBackoff { .. }
        | Lifecycle::Running
        | Lifecycle::Stopping { .. } => false,
    }
}

fn find<'a>(list: &'a [ContainerStatus], name: &str) -> Option<&'a ContainerStatus> {
    list.iter().find(|status| status.name == name)
}
