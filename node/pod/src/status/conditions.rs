//! The conditions the node owns, with kubelet's reasons and messages.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerStatus, PodCondition, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{OWN_CONDITIONS, find};
use crate::lifecycle::Stage;
use crate::spec::{self, Role};
use crate::state::State;

/// A condition before its transition time is known.
struct Verdict {
    kind: &'static str,
    holds: bool,
    reason: Option<&'static str>,
    message: Option<String>,
}

impl Verdict {
    fn holds(kind: &'static str, reason: Option<&'static str>) -> Verdict {
        Verdict { kind, holds: true, reason, message: None }
    }

    fn fails(kind: &'static str, reason: &'static str, message: Option<String>) -> Verdict {
        Verdict { kind, holds: false, reason: Some(reason), message }
    }
}

/// The node's own conditions, without times.
pub(super) fn own(state: &State, phase: &str, init: &[ContainerStatus], main: &[ContainerStatus]) -> Vec<PodCondition> {
    let stands = state.sandbox.as_ref().is_some_and(|s| !s.ips.is_empty());
    let stopped = matches!(state.lifecycle.stage(), Stage::Finished | Stage::Removing);
    let sandbox = Verdict { kind: OWN_CONDITIONS[0], holds: stands && !stopped, reason: None, message: None };
    let containers = containers_ready(state, phase, init, main);
    let ready = ready(state, &containers);
    let list = [sandbox, initialized(state, phase, init), ready, containers];
    list.into_iter().map(condition).collect()
}

/// Gives each condition its transition time and appends the conditions of others.
pub(super) fn dated(
    own: Vec<PodCondition>,
    before: &PodStatus,
    api: Option<Vec<PodCondition>>,
    generation: Option<i64>,
    now: Timestamp,
) -> Vec<PodCondition> {
    let mut list = own;
    for condition in &mut list {
        let old = before.conditions.iter().flatten().find(|c| c.type_ == condition.type_);
        let kept = old.filter(|old| old.status == condition.status).and_then(|old| old.last_transition_time.clone());
        condition.last_transition_time = Some(kept.unwrap_or(Time(now)));
        condition.observed_generation = generation;
    }
    let others = api.into_iter().flatten().filter(|c| !OWN_CONDITIONS.contains(&c.type_.as_str()));
    list.extend(others);
    list
}

fn condition(verdict: Verdict) -> PodCondition {
    PodCondition {
        type_: verdict.kind.to_owned(),
        status: if verdict.holds { "True" } else { "False" }.to_owned(),
        reason: verdict.reason.map(str::to_owned),
        message: verdict.message,
        ..PodCondition::default()
    }
}

fn initialized(state: &State, phase: &str, init: &[ContainerStatus]) -> Verdict {
    let kind = OWN_CONDITIONS[1];
    if phase == "Succeeded" {
        return Verdict::holds(kind, Some("PodCompleted"));
    }
    let incomplete: Vec<&str> = spec::containers(&state.pod)
        .filter(|(role, c)| match (role, find(init, &c.name)) {
            (Role::Main, _) => false,
            (Role::Init, status) => !status.is_some_and(|s| s.ready),
            (Role::Sidecar, status) => status.is_none_or(|s| s.started != Some(true)),
        })
        .map(|(_, c)| c.name.as_str())
        .collect();
    // Once the main containers run, a restarting sidecar does not take initialization back.
    let begun = state.containers.iter().any(|c| c.role == Role::Main && c.instances > 0);
    if incomplete.is_empty() || begun {
        return Verdict::holds(kind, None);
    }
    let message = format!("containers with incomplete status: [{}]", incomplete.join(" "));
    Verdict::fails(kind, "ContainersNotInitialized", Some(message))
}

fn containers_ready(state: &State, phase: &str, init: &[ContainerStatus], main: &[ContainerStatus]) -> Verdict {
    let kind = OWN_CONDITIONS[3];
    match phase {
        "Succeeded" => return Verdict::fails(kind, "PodCompleted", None),
        "Failed" => return Verdict::fails(kind, "PodFailed", None),
        _ => {}
    }
    let unready: Vec<&str> = spec::containers(&state.pod)
        .filter(|(role, c)| match role {
            Role::Init => false,
            Role::Sidecar => !find(init, &c.name).is_some_and(|s| s.ready),
            Role::Main => !find(main, &c.name).is_some_and(|s| s.ready),
        })
        .map(|(_, c)| c.name.as_str())
        .collect();
    if unready.is_empty() {
        return Verdict::holds(kind, None);
    }
    let message = format!("containers with unready status: [{}]", unready.join(" "));
    Verdict::fails(kind, "ContainersNotReady", Some(message))
}

fn ready(state: &State, containers: &Verdict) -> Verdict {
    let kind = OWN_CONDITIONS[2];
    if !containers.holds {
        return Verdict::fails(kind, containers.reason.unwrap_or("ContainersNotReady"), containers.message.clone());
    }
    let told = state.pod.status.as_ref().and_then(|s| s.conditions.as_ref());
    let gates = spec::spec(&state.pod).readiness_gates.iter().flatten();
    for gate in gates {
        let found = told.into_iter().flatten().find(|c| c.type_ == gate.condition_type);
        let message = match found.map(|c| c.status.as_str()) {
            Some("True") => continue,
            Some(status) => {
                format!("the status of pod readiness gate \"{}\" is not \"True\", but {status}", gate.condition_type)
            }
            None => {
                format!("corresponding condition of pod readiness gate \"{}\" does not exist.", gate.condition_type)
            }
        };
        return Verdict::fails(kind, "ReadinessGatesNotReady", Some(message));
    }
    Verdict::holds(kind, None)
}
