//! The pod's phase, by kubelet's rules over the container statuses.

use k8s_openapi::api::core::v1::ContainerStatus;

use super::{find, is_over};
use crate::spec::{self, RestartPolicy, Role};
use crate::state::State;

/// `Pending`, `Running`, `Succeeded` or `Failed`.
pub(super) fn of(state: &State, init: &[ContainerStatus], main: &[ContainerStatus]) -> &'static str {
    let policy = spec::pod_restart_policy(&state.pod);
    let init = count_init(state, init);
    let main = count_main(main);
    if init.failed > 0 && (policy == RestartPolicy::Never || is_over(state)) {
        return "Failed";
    }
    if (init.pending > 0 || init.pending_sidecars > 0) && !is_over(state) && main.running == 0 && main.stopped == 0 {
        return "Pending";
    }
    if main.waiting > 0 && !is_over(state) {
        return "Pending";
    }
    if main.running > 0 {
        return "Running";
    }
    let all_succeeded = main.stopped > 0 && main.stopped == main.succeeded && main.waiting == 0;
    if is_over(state) {
        return if all_succeeded { "Succeeded" } else { "Failed" };
    }
    match policy {
        _ if main.stopped == 0 => "Pending",
        RestartPolicy::Always => "Running",
        RestartPolicy::OnFailure | RestartPolicy::Never if all_succeeded => "Succeeded",
        RestartPolicy::Never => "Failed",
        RestartPolicy::OnFailure => "Running",
    }
}

#[derive(Default)]
struct InitCount {
    failed: usize,
    pending: usize,
    pending_sidecars: usize,
}

fn count_init(state: &State, statuses: &[ContainerStatus]) -> InitCount {
    let mut count = InitCount::default();
    for (role, container) in spec::containers(&state.pod) {
        let Some(status) = find(statuses, &container.name) else { continue };
        let now = status.state.as_ref();
        let ended = now.and_then(|s| s.terminated.as_ref());
        let ended_before = status.last_state.as_ref().and_then(|s| s.terminated.as_ref());
        match role {
            Role::Init => match (ended, ended_before) {
                (Some(ended), _) if ended.exit_code == 0 => {}
                (Some(_), _) => count.failed += 1,
                (None, Some(before)) if now.is_some_and(|s| s.waiting.is_some()) && before.exit_code != 0 => {
                    count.failed += 1;
                }
                (None, _) => count.pending += 1,
            },
            Role::Sidecar => {
                let unstarted = now.is_some_and(|s| s.running.is_some()) && status.started != Some(true);
                let waiting = now.is_some_and(|s| s.waiting.is_some()) && ended_before.is_none();
                count.pending_sidecars += usize::from(unstarted || waiting);
            }
            Role::Main => {}
        }
    }
    count
}

#[derive(Default)]
struct MainCount {
    running: usize,
    waiting: usize,
    stopped: usize,
    succeeded: usize,
}

fn count_main(statuses: &[ContainerStatus]) -> MainCount {
    let mut count = MainCount::default();
    for status in statuses {
        let now = status.state.as_ref();
        let ended_before = status.last_state.as_ref().and_then(|s| s.terminated.as_ref());
        if now.is_some_and(|s| s.running.is_some()) {
            count.running += 1;
        } else if let Some(ended) = now.and_then(|s| s.terminated.as_ref()) {
            count.stopped += 1;
            count.succeeded += usize::from(ended.exit_code == 0);
        } else if ended_before.is_some() {
            count.stopped += 1;
        } else {
            count.waiting += 1;
        }
    }
    count
}
