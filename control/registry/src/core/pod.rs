//! Pods.

use api::{FieldError, meta};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::columns::{AGE, Column, NAME, text as column, wide};
use crate::validate::update;
use crate::value::{self, flag, number, text};
use crate::{Grace, Strategy, validate};

pub mod defaults;
pub mod ephemeral;
pub mod qos;
pub mod resize;
mod row;
#[cfg(test)]
mod tests;
pub mod volumes;
pub mod warnings;

/// Strategy of pods.
pub struct Pod;

pub const COLUMNS: &[Column] = &[
    NAME,
    column("Ready", "Ready containers of all containers"),
    column("Status", "What the pod is doing"),
    column("Restarts", "Restarts of its containers, and when the last one was"),
    AGE,
    wide("IP", "Address of the pod"),
    wide("Node", "Node the pod runs on"),
    wide("Nominated Node", "Node that room is being made on"),
    wide("Readiness Gates", "Readiness gates that are open"),
];

/// Seconds a pod stays on a node that is not ready or unreachable, unless it says otherwise.
const DEFAULT_TOLERATION_SECONDS: i64 = 300;

impl Strategy for Pod {
    fn default(&self, pod: &mut Value) {
        if let Some(spec) = pod.get_mut("spec") {
            defaults::pod_spec(spec);
            defaults::pod_only(spec);
        }
    }

    /// Default tolerations, priority, and the name of the service account.
    fn admit(&self, pod: &mut Value) {
        let spec = Value::Object(std::mem::take(meta::child_mut(pod, "spec")));
        pod["spec"] = admitted(spec);
    }

    fn has_status(&self) -> bool {
        true
    }

    fn has_generation(&self) -> bool {
        true
    }

    fn prepare_create(&self, pod: &mut Value) {
        let class = qos::class(&pod["spec"]);
        let mut status = json!({"phase": "Pending", "qosClass": class});
        if !value::items(&pod["spec"]["schedulingGates"]).is_empty() {
            status["conditions"] = json!([{
                "type": "PodScheduled",
                "status": "False",
                "reason": "SchedulingGated",
                "message": "Scheduling is blocked due to non-empty scheduling gates",
                "lastProbeTime": null,
                "lastTransitionTime": null,
            }]);
        }
        value::set(pod, "status", status);
        meta::set_generation(pod, 1);
    }

    fn prepare_status_update(&self, new: &mut Value, old: &Value) {
        crate::strategy::keep_all_but_status(self, new, old);
        if !value::has(&new["status"], "qosClass") {
            let class = old["status"]["qosClass"].clone();
            meta::child_mut(new, "status").insert("qosClass".to_owned(), class);
        }
    }

    fn status_keeps(&self, metadata_field: &str) -> bool {
        metadata_field == "ownerReferences"
    }

    fn validate(&self, pod: &Value) -> Vec<FieldError> {
        let mut errors = validate::pod::spec(&pod["spec"], "spec");
        let gated = !value::items(&pod["spec"]["schedulingGates"]).is_empty();
        if gated && !text(&pod["spec"], "nodeName").is_empty() {
            let what = "cannot be set until all schedulingGates have been cleared";
            errors.push(FieldError::forbidden("spec.nodeName", what));
        }
        errors
    }

    fn validate_create(&self, pod: &Value) -> Vec<FieldError> {
        if value::items(&pod["spec"]["ephemeralContainers"]).is_empty() {
            return Vec::new();
        }
        vec![FieldError::forbidden("spec.ephemeralContainers", "cannot be set on create")]
    }

    fn warnings(&self, new: &Value, old: Option<&Value>) -> Vec<String> {
        // A pod's spec hardly changes: who created it has been told.
        if old.is_some() { Vec::new() } else { warnings::pod(new) }
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<FieldError> {
        update::pod(&new["spec"], &old["spec"])
    }

    fn validate_status_update(&self, new: &Value, old: &Value) -> Vec<FieldError> {
        update::pod_status(&new["status"], &old["status"])
    }

    fn field_labels(&self) -> &'static [&'static str] {
        &[
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.podIPs",
            "status.nominatedNodeName",
        ]
    }

    fn fields(&self, pod: &Value) -> Vec<(&'static str, String)> {
        let (spec, status) = (&pod["spec"], &pod["status"]);
        let own = |v: &Value, f: &str| text(v, f).to_owned();
        vec![
            ("spec.nodeName", own(spec, "nodeName")),
            ("spec.restartPolicy", own(spec, "restartPolicy")),
            ("spec.schedulerName", own(spec, "schedulerName")),
            ("spec.serviceAccountName", own(spec, "serviceAccountName")),
            ("spec.hostNetwork", flag(spec, "hostNetwork").to_string()),
            ("status.phase", own(status, "phase")),
            ("status.podIP", own(status, "podIP")),
            ("status.podIPs", own(status, "podIP")),
            ("status.nominatedNodeName", own(status, "nominatedNodeName")),
        ]
    }

    fn row(&self, pod: &Value, now: Timestamp) -> Vec<Value> {
        row::cells(pod, now)
    }

    fn graceful_delete(&self, pod: &Value, asked_seconds: Option<i64>) -> Grace {
        let finished = matches!(text(&pod["status"], "phase"), "Failed" | "Succeeded");
        if finished || text(&pod["spec"], "nodeName").is_empty() {
            return Grace::Immediate;
        }
        match asked_seconds.or_else(|| number(&pod["spec"], "terminationGracePeriodSeconds")).unwrap_or(0) {
            0 => Grace::Immediate,
            negative @ ..0 => {
                debug_assert!(negative < 0, "a negative grace counts as one second");
                Grace::Graceful { seconds: 1 }
            }
            seconds => Grace::Graceful { seconds },
        }
    }
}

fn admitted(mut spec: Value) -> Value {
    value::set_default(&mut spec, "serviceAccountName", "default");
    let account = spec["serviceAccountName"].clone();
    value::set(&mut spec, "serviceAccount", account);
    let priority = match text(&spec, "priorityClassName") {
        "system-node-critical" => 2_000_001_000,
        "system-cluster-critical" => 2_000_000_000,
        _ => 0,
    };
    value::set_default(&mut spec, "priority", priority);
    value::set_default(&mut spec, "preemptionPolicy", "PreemptLowerPriority");
    for key in ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"] {
        let tolerated = value::items(&spec["tolerations"]).iter().any(|t| {
            let key_fits = text(t, "key") == key || text(t, "key").is_empty();
            key_fits && matches!(text(t, "effect"), "NoExecute" | "")
        });
        if !tolerated {
            let toleration = json!({
                "key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": DEFAULT_TOLERATION_SECONDS,
            });
            match spec["tolerations"].as_array_mut() {
                Some(list) => list.push(toleration),
                None => value::set(&mut spec, "tolerations", vec![toleration]),
            }
        }
    }
    spec
}
