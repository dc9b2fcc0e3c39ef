//! A daemon that starts adopts what already runs: the state is rebuilt from the API object and from what the runtime
//! has, so that nothing is restarted and no restart count is lost.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{ContainerStatus, Pod};

use crate::backoff::{Backoff, CONTAINER};
use crate::event::{Observed, ObservedContainer, Phase};
use crate::lifecycle::{Life, Lifecycle};
use crate::probe::Probes;
use crate::spec::{self, Role};
use crate::state::{Container, Ended, Facts, Sandbox, State};

impl State {
    /// The state of a pod of which the runtime has `observed`. Send `Tick` next.
    pub fn recover(pod: Arc<Pod>, facts: Arc<Facts>, observed: Observed) -> State {
        let mut state = State::new(pod, facts);
        let Some(current) = observed.sandboxes.first() else {
            state.stale.containers.extend(observed.containers.into_iter().map(|c| c.id));
            return state;
        };
        state.sandbox_attempts = observed.sandboxes.iter().map(|s| s.attempt + 1).max().unwrap_or(0);
        state.stale.sandboxes.extend(observed.sandboxes.iter().skip(1).map(|s| s.id.clone()));
        let ips = if spec::host_network(&state.pod) { state.facts.host_ips.clone() } else { current.ips.clone() };
        state.sandbox = Some(Sandbox { id: current.id.clone(), ips });
        if state.lifecycle != Lifecycle::Finished {
            // A sandbox that has stopped is found so by the first look at the runtime.
            state.lifecycle = Lifecycle::Running;
        }
        let told: Vec<ContainerStatus> = statuses(&state).cloned().collect();
        let pod = state.pod.clone();
        for container in &mut state.containers {
            let mut own: Vec<&ObservedContainer> =
                observed.containers.iter().filter(|c| c.name == container.name && c.sandbox == current.id).collect();
            own.sort_by_key(|c| std::cmp::Reverse(c.attempt));
            let status = told.iter().find(|s| s.name == container.name);
            adopt(container, &own, status, &mut state.stale.containers);
            if let Some(image) = spec::container(&pod, &container.name).and_then(|c| c.image.clone())
                && container.id.is_some()
            {
                container.image = status.map_or(image, |s| s.image.clone());
            }
        }
        complete_init(&mut state);
        state
    }
}

fn statuses(state: &State) -> impl Iterator<Item = &ContainerStatus> {
    let lists = [&state.published.init_container_statuses, &state.published.container_statuses];
    lists.into_iter().flatten().flatten()
}

fn adopt(
    container: &mut Container,
    own: &[&ObservedContainer],
    status: Option<&ContainerStatus>,
    stale: &mut Vec<String>,
) {
    let mut ended = Vec::new();
    for (index, found) in own.iter().enumerate() {
        match &found.phase {
            Phase::Running { started_at } if index == 0 => {
                let same = |s: &&ContainerStatus| s.container_id.as_ref().is_some_and(|uri| uri.ends_with(&found.id));
                let known = status.filter(same);
                container.life = Life::Running { id: found.id.clone(), since: *started_at };
                container.probes =
                    Probes::adopted(known.is_some_and(|s| s.started == Some(true)), known.is_some_and(|s| s.ready));
            }
            // Never started, or a second instance that must not be: out.
            Phase::Created | Phase::Running { .. } => {
                stale.push(found.id.clone());
                continue;
            }
            Phase::Exited(exit) => ended.push(Ended { id: found.id.clone(), exit: exit.clone() }),
        }
        if container.id.is_none() {
            container.id = Some(found.id.clone());
            container.image_id = found.image_id.clone();
            container.instances = container.instances.max(found.attempt + 1);
        }
    }
    stale.extend(ended.iter().skip(2).map(|e| e.id.clone()));
    let mut ended = ended.into_iter();
    container.last = ended.next();
    container.previous = ended.next();
    if let Some(ended) = &container.last {
        // How long it has to wait is not remembered anywhere: as long as after that many restarts in a row.
        let restarts = container.instances.saturating_sub(1);
        container.crash = Backoff::after_attempts(restarts, ended.exit.finished_at, CONTAINER);
        if !container.is_live() {
            container.life = Life::Exited;
        }
    }
}

/// Init containers that the runtime has forgotten had succeeded, if a later container was created.
fn complete_init(state: &mut State) {
    let Some(newest) = state.containers.iter().rposition(|c| c.id.is_some()) else { return };
    for container in state.containers[..newest].iter_mut().filter(|c| c.role == Role::Init && c.id.is_none()) {
        let exit = crate::event::Exit {
            code: 0,
            signal: None,
            reason: "Completed".to_owned(),
            message: None,
            started_at: None,
            finished_at: state.start_time.unwrap_or_default(),
        };
        container.instances = container.instances.max(1);
        container.last = Some(Ended { id: String::new(), exit });
        container.life = Life::Exited;
    }
}
