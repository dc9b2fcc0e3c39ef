//! Whether an eviction goes through: the arithmetic of disruption budgets, on objects as they are.

use api::{LabelSelector, meta, time};
use jiff::Timestamp;
use serde_json::Value;

use crate::value::{entries, has, items, number, set, text};

/// Disruptions of a budget that are remembered at most; more means that its controller has stopped.
pub const MAX_DISRUPTED: usize = 2_000;

/// What a budget says of one eviction.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// It may go; the budget does not count it.
    Free,
    /// It may go once the budget has this status.
    Spend(Value),
    /// It may not go, for this reason.
    Refuse(Refusal),
}

/// Why a budget refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Its controller has not seen the budget's newest spec.
    NotObserved { name: String },
    /// It allows no further disruption: needs so many healthy pods, has so many.
    Exhausted { name: String, needed: i64, healthy: i64, reason: String },
    /// Its count is below zero.
    Negative { name: String },
    /// Its controller does not follow.
    TooMany { name: String },
}

/// Whether a pod's end needs nobody's leave: it has ended, is ending, or has not begun.
#[must_use]
pub fn is_free(pod: &Value) -> bool {
    let phase = text(&pod["status"], "phase");
    matches!(phase, "Succeeded" | "Failed" | "Pending") || meta::is_deleting(pod)
}

/// Whether a pod is ready.
#[must_use]
pub fn is_ready(pod: &Value) -> bool {
    items(&pod["status"]["conditions"]).iter().any(|c| text(c, "type") == "Ready" && text(c, "status") == "True")
}

/// Whether a budget is about a pod of its namespace. One without a selector is about none.
#[must_use]
pub fn covers(budget: &Value, pod: &Value) -> bool {
    let selector = &budget["spec"]["selector"];
    has(&budget["spec"], "selector")
        && LabelSelector::from_json(selector).is_ok_and(|selector| selector.matches(&meta::labels(pod)))
}

/// What the budget says, and the status it has after.
#[must_use]
pub fn judge(budget: &Value, pod: &Value, now: Timestamp) -> Verdict {
    let (spec, status) = (&budget["spec"], &budget["status"]);
    let count = |field: &str| number(status, field).unwrap_or(0);
    // A pod that is not healthy takes nothing away.
    if !is_ready(pod) {
        let always = text(spec, "unhealthyPodEvictionPolicy") == "AlwaysAllow";
        let enough = count("currentHealthy") >= count("desiredHealthy") && count("desiredHealthy") > 0;
        if always || enough {
            return Verdict::Free;
        }
    }
    let name = meta::name(budget).to_owned();
    if number(status, "observedGeneration").unwrap_or(0) < meta::generation(budget) {
        return Verdict::Refuse(Refusal::NotObserved { name });
    }
    let allowed = count("disruptionsAllowed");
    if allowed < 0 {
        return Verdict::Refuse(Refusal::Negative { name });
    }
    if entries(&status["disruptedPods"]).count() > MAX_DISRUPTED {
        return Verdict::Refuse(Refusal::TooMany { name });
    }
    if allowed == 0 {
        let failed = items(&status["conditions"]).iter().find(|c| {
            text(c, "type") == "DisruptionAllowed" && text(c, "status") == "False" && text(c, "reason") == "SyncFailed"
        });
        let reason = failed.map(|c| text(c, "message").to_owned()).unwrap_or_default();
        let (needed, healthy) = (count("desiredHealthy"), count("currentHealthy"));
        return Verdict::Refuse(Refusal::Exhausted { name, needed, healthy, reason });
    }
    let mut status = status.clone();
    set(&mut status, "disruptionsAllowed", allowed - 1);
    if allowed == 1
        && let Some(condition) =
            crate::value::items_mut(&mut status, "conditions").find(|c| text(c, "type") == "DisruptionAllowed")
    {
        set(condition, "status", "False");
        set(condition, "reason", "InsufficientPods");
        set(condition, "lastTransitionTime", time::format(now));
    }
    meta::child_mut(&mut status, "disruptedPods").insert(meta::name(pod).to_owned(), time::format(now).into());
    Verdict::Spend(status)
}

impl Refusal {
    /// What the client is told.
    #[must_use]
    pub fn message(&self) -> &'static str {
        "Cannot evict pod as it would violate the pod's disruption budget."
    }

    /// The cause, in detail.
    #[must_use]
    pub fn cause(&self) -> String {
        match self {
            Self::NotObserved { name } => {
                format!("The disruption budget {name} is still being processed by the server.")
            }
            Self::Exhausted { name, reason, .. } if !reason.is_empty() => {
                format!(
                    "The disruption budget {name} does not allow evicting pods currently because it failed sync: {reason}"
                )
            }
            Self::Exhausted { name, needed, healthy, .. } => {
                format!("The disruption budget {name} needs {needed} healthy pods and has {healthy} currently")
            }
            Self::Negative { .. } => "pdb disruptions allowed is negative".to_owned(),
            Self::TooMany { .. } => {
                "DisruptedPods map too big - too many evictions not confirmed by PDB controller".to_owned()
            }
        }
    }
}
