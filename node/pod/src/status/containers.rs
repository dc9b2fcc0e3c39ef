//! `containerStatuses` and `initContainerStatuses`.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting, ContainerStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{is_over, is_ready, is_started};
use crate::event::ImageFailure;
use crate::lifecycle::Life;
use crate::spec::{self, Role};
use crate::state::{Container, Ended, State};

/// Statuses of the containers with one of the two roles, in the spec's order.
pub(super) fn list(state: &State, a: Role, b: Role, now: Timestamp) -> Vec<ContainerStatus> {
    let wanted = |c: &&Container| c.role == a || c.role == b;
    state.containers.iter().filter(wanted).map(|c| one(state, c, now)).collect()
}

fn one(state: &State, container: &Container, now: Timestamp) -> ContainerStatus {
    let (now_state, last_state) = states(state, container, now);
    let image = spec::container(&state.pod, &container.name).and_then(|c| c.image.clone()).unwrap_or_default();
    let ran = container.instances > 0;
    ContainerStatus {
        name: container.name.clone(),
        image: if ran && !container.image.is_empty() { container.image.clone() } else { image },
        image_id: if ran { container.image_id.clone() } else { String::new() },
        container_id: container.id.as_ref().map(|id| uri(state, id)),
        restart_count: i32::try_from(container.instances.saturating_sub(1)).unwrap_or(i32::MAX),
        ready: match container.role {
            Role::Init => container.succeeded(),
            Role::Sidecar | Role::Main => is_ready(state, container),
        },
        started: Some(is_started(state, container)),
        state: Some(now_state),
        last_state: Some(last_state.unwrap_or_default()),
        resources: spec::container(&state.pod, &container.name).and_then(|c| c.resources.clone()).filter(|_| ran),
        ..ContainerStatus::default()
    }
}

/// The current state and the one before it.
fn states(state: &State, container: &Container, now: Timestamp) -> (ContainerState, Option<ContainerState>) {
    let last = container.last.as_ref().map(|ended| terminated(state, ended));
    let previous = container.previous.as_ref().map(|ended| terminated(state, ended));
    match &container.life {
        Life::Running { since, .. } | Life::Stopping { since, .. } => (running(*since), last),
        Life::PullBackoff { shown_until, failure: ImageFailure::Pull, message, .. } if now < *shown_until => {
            (waiting("ErrImagePull", Some(message.clone())), last)
        }
        Life::CrashBackoff { .. } | Life::PullBackoff { .. } | Life::CreateBackoff { .. } => {
            (troubled(container), last)
        }
        Life::Exited => (last.unwrap_or_default(), previous),
        Life::Pulling | Life::Creating | Life::Starting { .. } if container.trouble.is_some() => {
            (troubled(container), last)
        }
        Life::Pulling | Life::Creating | Life::Starting { .. } if last.is_some() => {
            (last.unwrap_or_default(), previous)
        }
        Life::Waiting | Life::Pulling | Life::Creating | Life::Starting { .. } | Life::PostStart { .. } => {
            if is_over(state) && state.is_deleting() {
                return (never_ran(), last);
            }
            let has_init = state.containers.iter().any(|c| c.role != Role::Main);
            (waiting(if has_init { "PodInitializing" } else { "ContainerCreating" }, None), last)
        }
    }
}

fn troubled(container: &Container) -> ContainerState {
    let trouble = container.trouble.as_ref().expect("a container backs off because of some trouble");
    waiting(trouble.reason, Some(trouble.message.clone()))
}

fn waiting(reason: &str, message: Option<String>) -> ContainerState {
    let waiting = ContainerStateWaiting { reason: Some(reason.to_owned()), message };
    ContainerState { waiting: Some(waiting), ..ContainerState::default() }
}

fn running(since: Timestamp) -> ContainerState {
    let running = ContainerStateRunning { started_at: Some(Time(since)) };
    ContainerState { running: Some(running), ..ContainerState::default() }
}

fn terminated(state: &State, ended: &Ended) -> ContainerState {
    let exit = &ended.exit;
    let terminated = ContainerStateTerminated {
        container_id: (!ended.id.is_empty()).then(|| uri(state, &ended.id)),
        exit_code: exit.code,
        signal: exit.signal,
        reason: Some(exit.reason.clone()),
        message: exit.message.clone(),
        started_at: exit.started_at.map(Time),
        finished_at: Some(Time(exit.finished_at)),
    };
    ContainerState { terminated: Some(terminated), ..ContainerState::default() }
}

/// What a container shows that never ran in a pod that is gone.
fn never_ran() -> ContainerState {
    let terminated = ContainerStateTerminated {
        exit_code: 137,
        reason: Some("ContainerStatusUnknown".to_owned()),
        message: Some("The container could not be located when the pod was terminated".to_owned()),
        ..ContainerStateTerminated::default()
    };
    ContainerState { terminated: Some(terminated), ..ContainerState::default() }
}

fn uri(state: &State, id: &str) -> String {
    format!("{}://{id}", state.facts.runtime)
}
