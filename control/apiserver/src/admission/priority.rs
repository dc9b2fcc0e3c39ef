//! Priority: the two classes that every cluster has; everything else has priority 0 until PriorityClass is served.

use api::{Gvr, Status, meta};
use serde_json::{Value, json};

const CLUSTER_CRITICAL: (&str, i64) = ("system-cluster-critical", 2_000_000_000);
const NODE_CRITICAL: (&str, i64) = ("system-node-critical", 2_000_001_000);

pub(super) fn admit(pod: &mut Value) -> Result<(), Status> {
    let refuse = |what: &str| Status::forbidden(&Gvr::new("", "v1", "pods"), meta::name(pod), what);
    let priority = match pod["spec"]["priorityClassName"].as_str().unwrap_or_default() {
        "" => 0,
        class if class == CLUSTER_CRITICAL.0 => CLUSTER_CRITICAL.1,
        class if class == NODE_CRITICAL.0 => NODE_CRITICAL.1,
        class => return Err(refuse(&format!("no PriorityClass with name {class} was found"))),
    };
    if pod["spec"]["priority"].as_i64().is_some_and(|asked| asked != priority) {
        return Err(refuse(
            "the integer value of priority must not be provided in pod spec; priority admission controller computed \
             another one from the given PriorityClass name",
        ));
    }
    let spec = meta::child_mut(pod, "spec");
    spec.insert("priority".to_owned(), json!(priority));
    spec.entry("preemptionPolicy").or_insert_with(|| json!("PreemptLowerPriority"));
    Ok(())
}
