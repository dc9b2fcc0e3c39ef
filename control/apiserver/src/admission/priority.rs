//! Priority: what a pod's class is worth.

use crate::informed::{Kind, Snapshot};
use api::{Gvr, Status, meta};
use serde_json::{Value, json};

/// The classes every cluster has, should their objects be missing.
const SYSTEM: [(&str, i64); 2] = [("system-cluster-critical", 2_000_000_000), ("system-node-critical", 2_000_001_000)];
const PREEMPT: &str = "PreemptLowerPriority";

pub(super) fn admit(snapshot: &Snapshot, pod: &mut Value) -> Result<(), Status> {
    let refuse = |what: &str| Status::forbidden(&Gvr::new("", "v1", "pods"), meta::name(pod), what);
    let asked = pod["spec"]["priorityClassName"].as_str().unwrap_or_default();
    let of_class = |class: &Value| {
        let policy = class["preemptionPolicy"].as_str().unwrap_or(PREEMPT).to_owned();
        (class["value"].as_i64().unwrap_or(0), policy)
    };
    let (name, (priority, policy)) = if asked.is_empty() {
        let classes = snapshot.all(Kind::PriorityClasses).map(|class| &class.value);
        match classes.filter(|class| class["globalDefault"] == true).min_by_key(|class| class["value"].as_i64()) {
            Some(class) => (meta::name(class).to_owned(), of_class(class)),
            None => (String::new(), (0, PREEMPT.to_owned())),
        }
    } else {
        let class = snapshot.get(Kind::PriorityClasses, "", asked).map(|class| of_class(&class.value));
        let system = || SYSTEM.iter().find(|(name, _)| *name == asked).map(|(_, value)| (*value, PREEMPT.to_owned()));
        let found = class.or_else(system);
        (asked.to_owned(), found.ok_or_else(|| refuse(&format!("no PriorityClass with name {asked} was found")))?)
    };
    if let Some(own) = pod["spec"]["priority"].as_i64().filter(|own| *own != priority) {
        return Err(refuse(&format!(
            "the integer value of priority ({own}) must not be provided in pod spec; priority admission controller \
             computed {priority} from the given PriorityClass name"
        )));
    }
    if let Some(own) = pod["spec"]["preemptionPolicy"].as_str().filter(|own| *own != policy) {
        return Err(refuse(&format!(
            "the string value of PreemptionPolicy ({own}) must not be provided in pod spec; priority admission \
             controller computed {policy} from the given PriorityClass name"
        )));
    }
    let spec = meta::child_mut(pod, "spec");
    if !name.is_empty() {
        spec.insert("priorityClassName".to_owned(), json!(name));
    }
    spec.insert("priority".to_owned(), json!(priority));
    spec.insert("preemptionPolicy".to_owned(), json!(policy));
    Ok(())
}

/// Only one class is everybody's.
pub(super) fn check_class(snapshot: &Snapshot, class: &Value) -> Result<(), Status> {
    if class["globalDefault"] != true {
        return Ok(());
    }
    let others = snapshot.all(Kind::PriorityClasses).map(|other| &other.value);
    let other = others.filter(|other| meta::name(other) != meta::name(class));
    match other.filter(|other| other["globalDefault"] == true).map(meta::name).next() {
        None => Ok(()),
        Some(other) => Err(Status::forbidden(
            &Gvr::new("scheduling.k8s.io", "v1", "priorityclasses"),
            meta::name(class),
            &format!("PriorityClass {other} is already marked as default. Only one default can exist"),
        )),
    }
}
