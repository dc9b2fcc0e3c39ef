//! The table row of a pod.

use api::{meta, time};
use jiff::Timestamp;
use serde_json::Value;

use crate::columns::{age, or_none};
use crate::value::{flag, has, items, number, text};

pub(super) fn cells(pod: &Value, now: Timestamp) -> Vec<Value> {
    let (spec, status) = (&pod["spec"], &pod["status"]);
    let state = summarise(pod);
    let restarts = match state.last_restart {
        Some(at) if state.restarts != 0 => {
            format!("{} ({} ago)", state.restarts, time::human_duration(now.as_second() - at.as_second()))
        }
        _ => state.restarts.to_string(),
    };
    let gates = items(&spec["readinessGates"]);
    let open = gates.iter().filter(|g| condition_is_true(status, text(g, "conditionType"))).count();
    let gates = if gates.is_empty() { "<none>".to_owned() } else { format!("{open}/{}", gates.len()) };
    vec![
        meta::name(pod).into(),
        format!("{}/{}", state.ready, state.total).into(),
        state.reason.into(),
        restarts.into(),
        age(pod, now),
        or_none(text(status, "podIP").to_owned()).into(),
        or_none(text(spec, "nodeName").to_owned()).into(),
        or_none(text(status, "nominatedNodeName").to_owned()).into(),
        gates.into(),
    ]
}

struct Summary {
    ready: usize,
    total: usize,
    reason: String,
    restarts: i64,
    last_restart: Option<Timestamp>,
}

/// Restarts and the time of the last one.
#[derive(Clone, Copy, Default)]
struct Restarts {
    count: i64,
    last: Option<Timestamp>,
}

impl Restarts {
    fn add(&mut self, container: &Value) {
        self.count += number(container, "restartCount").unwrap_or(0);
        let ended = text(&container["lastState"]["terminated"], "finishedAt");
        self.last = self.last.max(time::parse(ended));
    }
}

fn condition_is_true(status: &Value, kind: &str) -> bool {
    items(&status["conditions"]).iter().any(|c| text(c, "type") == kind && text(c, "status") == "True")
}

fn summarise(pod: &Value) -> Summary {
    let (spec, status) = (&pod["spec"], &pod["status"]);
    let is_sidecar = |name: &str| {
        let found = items(&spec["initContainers"]).iter().find(|c| text(c, "name") == name);
        found.is_some_and(|c| text(c, "restartPolicy") == "Always")
    };
    let sidecars = items(&spec["initContainers"]).iter().filter(|c| is_sidecar(text(c, "name"))).count();
    let mut reason = match (text(status, "phase"), text(status, "reason")) {
        (phase, "") => phase.to_owned(),
        (_, reason) => reason.to_owned(),
    };
    let gated = |c: &Value| text(c, "type") == "PodScheduled" && text(c, "reason") == "SchedulingGated";
    if items(&status["conditions"]).iter().any(gated) {
        reason = "SchedulingGated".to_owned();
    }
    let (mut restarts, mut sidecar_restarts) = (Restarts::default(), Restarts::default());
    let (mut ready, mut initializing) = (0, false);
    for (i, container) in items(&status["initContainerStatuses"]).iter().enumerate() {
        restarts.add(container);
        let sidecar = is_sidecar(text(container, "name"));
        if sidecar {
            sidecar_restarts.add(container);
        }
        let (terminated, waiting) = (&container["state"]["terminated"], &container["state"]["waiting"]);
        if !terminated.is_null() && number(terminated, "exitCode").unwrap_or(0) == 0 {
            continue;
        }
        if sidecar && flag(container, "started") {
            ready += usize::from(flag(container, "ready"));
            continue;
        }
        let waits_for = text(waiting, "reason");
        reason = if !terminated.is_null() {
            format!("Init:{}", ended_reason(terminated))
        } else if !waits_for.is_empty() && waits_for != "PodInitializing" {
            format!("Init:{waits_for}")
        } else {
            format!("Init:{i}/{}", items(&spec["initContainers"]).len())
        };
        initializing = true;
        break;
    }
    if !initializing || condition_is_true(status, "Initialized") {
        restarts = sidecar_restarts;
        let mut running = false;
        for container in items(&status["containerStatuses"]).iter().rev() {
            restarts.add(container);
            let state = &container["state"];
            let waits_for = text(&state["waiting"], "reason");
            if !waits_for.is_empty() {
                reason = waits_for.to_owned();
            } else if has(state, "terminated") {
                reason = ended_reason(&state["terminated"]);
            } else if flag(container, "ready") && has(state, "running") {
                running = true;
                ready += 1;
            }
        }
        if reason == "Completed" && running {
            reason = if condition_is_true(status, "Ready") { "Running" } else { "NotReady" }.to_owned();
        }
    }
    if meta::is_deleting(pod) {
        if text(status, "reason") == "NodeLost" {
            reason = "Unknown".to_owned();
        } else if !matches!(text(status, "phase"), "Succeeded" | "Failed") {
            reason = "Terminating".to_owned();
        }
    }
    let total = items(&spec["containers"]).len() + sidecars;
    Summary { ready, total, reason, restarts: restarts.count, last_restart: restarts.last }
}

fn ended_reason(terminated: &Value) -> String {
    match (text(terminated, "reason"), number(terminated, "signal").unwrap_or(0)) {
        ("", 0) => format!("ExitCode:{}", number(terminated, "exitCode").unwrap_or(0)),
        ("", signal) => format!("Signal:{signal}"),
        (reason, _) => reason.to_owned(),
    }
}
