//! RuntimeClass: a pod's overhead, and where its class can run.

use super::limit_ranger::amounts;
use crate::{
    generic::write::Write,
    informed::{Kind, Snapshot},
};
use api::{Status, meta};
use serde_json::{Value, json};

/// Gives a pod what its class says, or refuses it.
pub(super) fn admit(write: &Write<'_>, snapshot: &Snapshot, pod: &mut Value) -> Result<(), Status> {
    let refuse = |what: String| Err(Status::forbidden(&write.resource.gvr(), meta::name(pod), &what));
    let class = match pod["spec"]["runtimeClassName"].as_str() {
        None => None,
        Some(name) => match snapshot.get(Kind::RuntimeClasses, "", name) {
            Some(class) => Some(&class.value),
            None => return refuse(format!("pod rejected: RuntimeClass {name:?} not found")),
        },
    };
    let own = amounts(&pod["spec"]["overhead"]);
    match class.map(|class| &class["overhead"]).filter(|overhead| overhead.is_object()) {
        Some(overhead) => {
            let fixed = &overhead["podFixed"];
            if !own.is_empty() && own != amounts(fixed) {
                return refuse("pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead".to_owned());
            }
            if fixed.as_object().is_some_and(|fixed| !fixed.is_empty()) {
                meta::child_mut(pod, "spec").insert("overhead".to_owned(), fixed.clone());
            }
        }
        None if !own.is_empty() => {
            return refuse(
                "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead".to_owned(),
            );
        }
        None => {}
    }
    let scheduling = class.map_or(&Value::Null, |class| &class["scheduling"]);
    if let Err(conflict) = select(pod, &scheduling["nodeSelector"]) {
        return Err(Status::forbidden(&write.resource.gvr(), meta::name(pod), &conflict));
    }
    if let Some(more) = scheduling["tolerations"].as_array().filter(|more| !more.is_empty()) {
        let own = pod["spec"]["tolerations"].as_array().cloned().unwrap_or_default();
        let merged = merge(own.into_iter().chain(more.iter().cloned()).collect());
        meta::child_mut(pod, "spec").insert("tolerations".to_owned(), json!(merged));
    }
    Ok(())
}

/// Adds the class's labels to the pod's selector.
fn select(pod: &mut Value, wanted: &Value) -> Result<(), String> {
    let Some(wanted) = wanted.as_object().filter(|wanted| !wanted.is_empty()) else { return Ok(()) };
    let spec = meta::child_mut(pod, "spec");
    let selector = meta::object_mut(spec.entry("nodeSelector").or_insert(Value::Null));
    for (key, value) in wanted {
        if let Some(own) = selector.get(key).filter(|own| *own != value) {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            return Err(format!(
                "conflict: runtimeClass.scheduling.nodeSelector[{key}] = {}; pod.spec.nodeSelector[{key}] = {}",
                text(value),
                text(own)
            ));
        }
        selector.insert(key.clone(), value.clone());
    }
    Ok(())
}

/// The tolerations without those that another one includes; of equal ones the first stays.
fn merge(all: Vec<Value>) -> Vec<Value> {
    let mut merged: Vec<Value> = Vec::new();
    for (index, one) in all.iter().enumerate() {
        let later = || all[index + 1..].iter().any(|other| other != one && includes(other, one));
        if !merged.iter().any(|other| includes(other, one)) && !later() {
            merged.push(one.clone());
        }
    }
    merged
}

/// Whether `wide` tolerates all that `one` does.
fn includes(wide: &Value, one: &Value) -> bool {
    let text = |toleration: &Value, field: &str| toleration[field].as_str().unwrap_or_default().to_owned();
    let (key, operator, effect) = (text(wide, "key"), text(wide, "operator"), text(wide, "effect"));
    if wide == one {
        return true;
    }
    if key != text(one, "key") && (!key.is_empty() || operator != "Exists") {
        return false;
    }
    if effect != text(one, "effect") && !effect.is_empty() {
        return false;
    }
    if effect == "NoExecute"
        && let Some(limit) = wide["tolerationSeconds"].as_i64()
        && one["tolerationSeconds"].as_i64().is_none_or(|seconds| seconds > limit)
    {
        return false;
    }
    match operator.as_str() {
        "" | "Equal" => text(one, "operator") == "Equal" && text(one, "value") == text(wide, "value"),
        "Exists" => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wider_tolerations_replace_narrower_ones() {
        let one = |value: &str| json!({"key": "a", "operator": "Equal", "value": value, "effect": "NoSchedule"});
        let any = json!({"key": "a", "operator": "Exists"});
        assert_eq!(merge(vec![one("x"), one("y"), one("x")]), vec![one("x"), one("y")]);
        assert_eq!(merge(vec![one("x"), any.clone(), one("y")]), vec![any]);
        let until = |seconds: i64| json!({"key": "a", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": seconds});
        assert_eq!(merge(vec![until(5), until(9)]), vec![until(9)]);
    }
}
