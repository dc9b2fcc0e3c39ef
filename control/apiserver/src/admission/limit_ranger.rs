//! LimitRanger: defaults for containers, and bounds for containers, pods and claims.

use super::{Call, Operation, is};
use crate::informed::{Kind, Snapshot};
use api::{Quantity, Status, meta};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

const ANNOTATION: &str = "kubernetes.io/limit-ranger";

type Amounts = BTreeMap<String, Quantity>;

/// Whether a request is bounded: pods when they come and when their resources change, claims always; what goes is not.
fn concerns(call: &Call<'_>) -> bool {
    if call.old.is_some_and(meta::is_deleting) {
        return false;
    }
    let resource = call.write.resource;
    match (call.operation, call.subresource) {
        (Operation::Create, "") => is(resource, "", "pods") || is(resource, "", "persistentvolumeclaims"),
        (Operation::Update, "") => is(resource, "", "persistentvolumeclaims"),
        (Operation::Update, "resize") => is(resource, "", "pods"),
        (Operation::Create | Operation::Update | Operation::Delete | Operation::Connect, _) => false,
    }
}

/// Gives a pod's containers what they do not ask for.
pub(super) fn set_defaults(call: &Call<'_>, snapshot: &Snapshot, pod: &mut Value) {
    if !concerns(call) || !is(call.write.resource, "", "pods") {
        return;
    }
    let mut told = Vec::new();
    for range in snapshot.list(Kind::LimitRanges, call.write.namespace) {
        let limits = range.value["spec"]["limits"].as_array().into_iter().flatten();
        for limit in limits.filter(|limit| limit["type"] == "Container") {
            for (field, what) in [("containers", "container"), ("initContainers", "init container")] {
                for container in pod["spec"][field].as_array_mut().into_iter().flatten() {
                    let name = container["name"].as_str().unwrap_or_default().to_owned();
                    for (kind, source) in [("requests", "defaultRequest"), ("limits", "default")] {
                        let set = fill(container, kind, &limit[source]);
                        if !set.is_empty() {
                            let kind = kind.trim_end_matches('s');
                            told.push(format!("{} {kind} for {what} {name}", set.join(", ")));
                        }
                    }
                }
            }
        }
    }
    if !told.is_empty() {
        meta::set_annotation(pod, ANNOTATION, &format!("LimitRanger plugin set: {}", told.join("; ")));
    }
}

/// Sets what is missing; returns the names.
fn fill(container: &mut Value, kind: &str, defaults: &Value) -> Vec<String> {
    let Some(defaults) = defaults.as_object().filter(|defaults| !defaults.is_empty()) else { return Vec::new() };
    let resources = meta::child_mut(container, "resources");
    let amounts = meta::object_mut(resources.entry(kind).or_insert_with(|| Value::Object(Map::new())));
    let mut set = Vec::new();
    for (name, amount) in defaults {
        if !amounts.contains_key(name) {
            amounts.insert(name.clone(), amount.clone());
            set.push(name.clone());
        }
    }
    set.sort_unstable();
    set
}

/// Refuses what is out of bounds.
pub(super) fn check(call: &Call<'_>, snapshot: &Snapshot, object: &Value) -> Result<(), Status> {
    if !concerns(call) {
        return Ok(());
    }
    let mut errors = Vec::new();
    for range in snapshot.list(Kind::LimitRanges, call.write.namespace) {
        for limit in range.value["spec"]["limits"].as_array().into_iter().flatten() {
            let bounds = Bounds::read(limit);
            match (bounds.kind.as_str(), is(call.write.resource, "", "pods")) {
                ("PersistentVolumeClaim", false) => {
                    let requests = amounts(&object["spec"]["resources"]["requests"]);
                    bounds.check_claim(&requests, &mut errors);
                }
                ("Container", true) => {
                    for field in ["containers", "initContainers"] {
                        for container in object["spec"][field].as_array().into_iter().flatten() {
                            let resources = &container["resources"];
                            let (requests, limits) = (amounts(&resources["requests"]), amounts(&resources["limits"]));
                            bounds.check(&requests, &limits, &mut errors);
                        }
                    }
                }
                ("Pod", true) => {
                    let (requests, limits) = (of_pod(object, "requests"), of_pod(object, "limits"));
                    bounds.check(&requests, &limits, &mut errors);
                }
                _ => {}
            }
        }
    }
    let what = match &errors[..] {
        [] => return Ok(()),
        [one] => one.clone(),
        more => format!("[{}]", more.join(", ")),
    };
    Err(Status::forbidden(&call.write.resource.gvr(), meta::name(object), &what))
}

struct Bounds {
    kind: String,
    min: Amounts,
    max: Amounts,
    ratio: Amounts,
}

impl Bounds {
    fn read(limit: &Value) -> Self {
        Self {
            kind: limit["type"].as_str().unwrap_or_default().to_owned(),
            min: amounts(&limit["min"]),
            max: amounts(&limit["max"]),
            ratio: amounts(&limit["maxLimitRequestRatio"]),
        }
    }

    fn check(&self, requests: &Amounts, limits: &Amounts, errors: &mut Vec<String>) {
        let kind = &self.kind;
        for (name, min) in &self.min {
            let text = format!("minimum {name} usage per {kind} is {min}");
            match (requests.get(name), limits.get(name)) {
                (None, _) => errors.push(format!("{text}.  No request is specified")),
                (Some(request), _) if less(request, min) => errors.push(format!("{text}, but request is {request}")),
                (_, Some(limit)) if less(limit, min) => errors.push(format!("{text}, but limit is {limit}")),
                (Some(_), _) => {}
            }
        }
        for (name, max) in &self.max {
            let text = format!("maximum {name} usage per {kind} is {max}");
            match (limits.get(name), requests.get(name)) {
                (None, _) => errors.push(format!("{text}.  No limit is specified")),
                (Some(limit), _) if less(max, limit) => errors.push(format!("{text}, but limit is {limit}")),
                (_, Some(request)) if less(max, request) => errors.push(format!("{text}, but request is {request}")),
                (Some(_), _) => {}
            }
        }
        for (name, ratio) in &self.ratio {
            let text = format!("{name} max limit to request ratio per {kind} is {ratio}");
            let known = |amount: Option<&Quantity>| amount.map(Quantity::milli_value).filter(|amount| *amount > 0);
            match (known(requests.get(name)), known(limits.get(name))) {
                (None, _) => errors.push(format!("{text}, but no request is specified or request is 0")),
                (_, None) => errors.push(format!("{text}, but no limit is specified or limit is 0")),
                #[expect(clippy::cast_precision_loss, reason = "the ratio is shown with six digits")]
                (Some(request), Some(limit)) => {
                    let provided = limit as f64 / request as f64;
                    if provided * 1000.0 > ratio.milli_value() as f64 {
                        errors.push(format!("{text}, but provided ratio is {provided:.6}"));
                    }
                }
            }
        }
    }

    fn check_claim(&self, requests: &Amounts, errors: &mut Vec<String>) {
        let kind = &self.kind;
        for (bounds, word) in [(&self.min, "minimum"), (&self.max, "maximum")] {
            for (name, bound) in bounds {
                let text = format!("{word} {name} usage per {kind} is {bound}");
                match requests.get(name) {
                    None => errors.push(format!("{text}.  No request is specified")),
                    Some(request) => {
                        let (low, high) = if word == "minimum" { (request, bound) } else { (bound, request) };
                        if less(low, high) {
                            errors.push(format!("{text}, but request is {request}"));
                        }
                    }
                }
            }
        }
    }
}

fn less(a: &Quantity, b: &Quantity) -> bool {
    a.sub(*b).is_negative()
}

pub(super) fn amounts(list: &Value) -> Amounts {
    let entries = list.as_object().into_iter().flatten();
    let read = |amount: &Value| match amount {
        Value::String(text) => Quantity::parse(text).ok(),
        other => Quantity::parse(&other.to_string()).ok(),
    };
    entries.filter_map(|(name, amount)| Some((name.clone(), read(amount)?))).collect()
}

/// What a pod needs as a whole: its containers and sidecars together, or the neediest init container; and its overhead.
pub(super) fn of_pod(pod: &Value, kind: &str) -> Amounts {
    let spec = &pod["spec"];
    let containers = |field: &str| spec[field].as_array().map(Vec::as_slice).unwrap_or_default();
    let add = |sum: &mut Amounts, more: &Amounts| {
        for (name, amount) in more {
            let present = sum.get(name).copied().unwrap_or(Quantity::ZERO);
            sum.insert(name.clone(), present.add(*amount));
        }
    };
    let raise = |sum: &mut Amounts, other: &Amounts| {
        for (name, amount) in other {
            if sum.get(name).is_none_or(|present| less(present, amount)) {
                sum.insert(name.clone(), *amount);
            }
        }
    };
    let mut sum = Amounts::new();
    for container in containers("containers") {
        add(&mut sum, &amounts(&container["resources"][kind]));
    }
    let (mut sidecars, mut peak) = (Amounts::new(), Amounts::new());
    for container in containers("initContainers") {
        let own = amounts(&container["resources"][kind]);
        if container["restartPolicy"] == "Always" {
            add(&mut sum, &own);
            add(&mut sidecars, &own);
            raise(&mut peak, &sidecars);
        } else {
            let mut with_sidecars = own;
            add(&mut with_sidecars, &sidecars);
            raise(&mut peak, &with_sidecars);
        }
    }
    raise(&mut sum, &peak);
    for (name, amount) in amounts(&spec["resources"][kind]) {
        sum.insert(name, amount);
    }
    if kind == "requests" || !sum.is_empty() {
        let overhead = amounts(&spec["overhead"]);
        let overhead = overhead.into_iter().filter(|(name, _)| kind == "requests" || sum.contains_key(name)).collect();
        add(&mut sum, &overhead);
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_pod_needs_its_containers_or_its_neediest_init_container() {
        let container = |cpu: &str| json!({"resources": {"requests": {"cpu": cpu}}});
        let mut sidecar = container("50m");
        sidecar["restartPolicy"] = json!("Always");
        let pod = json!({"spec": {
            "containers": [container("100m"), container("200m")],
            "initContainers": [sidecar, container("400m")],
            "overhead": {"cpu": "10m"},
        }});
        assert_eq!(of_pod(&pod, "requests")["cpu"].to_string(), "460m");
    }
}
