//! What an object uses of a quota, and which quotas count it. Pure.

use crate::admission::{
    classes::class_of,
    is,
    limit_ranger::{amounts, of_pod},
};
use api::{Quantity, meta, time};
use jiff::{SignedDuration, Timestamp};
use registry::Resource;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};

pub(super) type Amounts = BTreeMap<String, Quantity>;

const ONE: i64 = 1;
/// Kinds of the core group that have a name of their own beside `count/`.
const COUNTED: [&str; 7] =
    ["configmaps", "persistentvolumeclaims", "pods", "replicationcontrollers", "resourcequotas", "secrets", "services"];
/// What each container must state where a quota bounds it.
const REQUIRED: [&str; 6] = ["cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory"];

fn one() -> Quantity {
    Quantity::new(ONE, api::quantity::Format::DecimalSi)
}

/// `count/deployments.apps`, `count/pods`.
pub(super) fn count_name(resource: &Resource) -> String {
    let dot = if resource.group.is_empty() { "" } else { "." };
    format!("count/{}{dot}{}", resource.resource, resource.group)
}

/// What an object uses.
pub(super) fn usage(resource: &Resource, object: &Value, now: Timestamp) -> Amounts {
    let mut used = Amounts::new();
    used.insert(count_name(resource), one());
    if resource.group.is_empty() && resource.resource != "pods" && COUNTED.contains(&resource.resource.as_str()) {
        used.insert(resource.resource.clone(), one());
    }
    if is(resource, "", "pods") {
        pod(object, now, &mut used);
    } else if is(resource, "", "services") {
        service(object, &mut used);
    } else if is(resource, "", "persistentvolumeclaims") {
        claim(object, &mut used);
    }
    used
}

/// A pod that should have ended by now (its node may be lost) takes nobody's place.
fn is_overdue(pod: &Value, now: Timestamp) -> bool {
    let grace = pod["metadata"]["deletionGracePeriodSeconds"].as_i64().map(SignedDuration::from_secs);
    let deleted = meta::deletion_timestamp(pod).and_then(time::parse);
    deleted.zip(grace).and_then(|(at, grace)| at.checked_add(grace).ok()).is_some_and(|ends| now > ends)
}

fn pod(pod: &Value, now: Timestamp, used: &mut Amounts) {
    if matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed")) || is_overdue(pod, now) {
        return;
    }
    used.insert("pods".to_owned(), one());
    for (name, amount) in of_pod(pod, "requests") {
        if !name.contains('/') || name.starts_with("hugepages-") {
            used.insert(name.clone(), amount);
        }
        used.insert(format!("requests.{name}"), amount);
    }
    for (name, amount) in of_pod(pod, "limits") {
        used.insert(format!("limits.{name}"), amount);
    }
}

fn service(service: &Value, used: &mut Amounts) {
    let spec = &service["spec"];
    let ports = i64::try_from(spec["ports"].as_array().map_or(0, Vec::len)).unwrap_or(i64::MAX);
    let number = |value| Quantity::new(value, api::quantity::Format::DecimalSi);
    let given = spec["ports"].as_array().into_iter().flatten().filter(|port| port["nodePort"].as_u64() > Some(0));
    match spec["type"].as_str() {
        Some("NodePort") => {
            used.insert("services.nodeports".to_owned(), number(ports));
        }
        Some("LoadBalancer") => {
            used.insert("services.loadbalancers".to_owned(), one());
            let ports = match spec["allocateLoadBalancerNodePorts"].as_bool() {
                Some(false) => i64::try_from(given.count()).unwrap_or(i64::MAX),
                Some(true) | None => ports,
            };
            used.insert("services.nodeports".to_owned(), number(ports));
        }
        Some(_) | None => {}
    }
}

fn claim(claim: &Value, used: &mut Amounts) {
    let class = class_of(claim);
    let prefix = format!("{class}.storageclass.storage.k8s.io/");
    if !class.is_empty() {
        used.insert(format!("{prefix}persistentvolumeclaims"), one());
    }
    let asked = amounts(&claim["spec"]["resources"]["requests"]).get("storage").copied();
    // While it grows, or where it could not, more may be set aside than is asked for.
    let given = amounts(&claim["status"]["allocatedResources"]).get("storage").copied();
    if let Some(asked) = asked {
        let storage = given.filter(|given| asked.sub(*given).is_negative()).unwrap_or(asked);
        // Whole bytes.
        let storage = Quantity::new(storage.value(), storage.format());
        used.insert("requests.storage".to_owned(), storage);
        if !class.is_empty() {
            used.insert(format!("{prefix}requests.storage"), storage);
        }
    }
}

/// Whether one of the quota's names is about this kind.
pub(super) fn concerns(name: &str, resource: &Resource) -> bool {
    if let Some(counted) = name.strip_prefix("count/") {
        let (kind, group) = counted.split_once('.').unwrap_or((counted, ""));
        return resource.resource == kind && resource.group == group;
    }
    if !resource.group.is_empty() {
        return false;
    }
    let storage = name == "requests.storage" || name.contains(".storageclass.storage.k8s.io/");
    match resource.resource.as_str() {
        "services" => name == "services" || name.starts_with("services."),
        "persistentvolumeclaims" => name == "persistentvolumeclaims" || storage,
        "pods" => !storage && !name.starts_with("services.") && (name == "pods" || !COUNTED.contains(&name)),
        other => name == other,
    }
}

/// Whether the quota's scopes let it count the object.
pub(super) fn in_scope(quota: &Value, resource: &Resource, object: &Value) -> bool {
    let scopes = quota["spec"]["scopes"].as_array().into_iter().flatten();
    let selected = quota["spec"]["scopeSelector"]["matchExpressions"].as_array().into_iter().flatten();
    let mut scopes =
        scopes.filter_map(Value::as_str).map(|scope| (scope, "Exists", &Value::Null)).chain(selected.map(|one| {
            let operator = one["operator"].as_str().unwrap_or_default();
            (one["scopeName"].as_str().unwrap_or_default(), operator, &one["values"])
        }));
    scopes.all(|(scope, operator, values)| {
        if is(resource, "", "persistentvolumeclaims") && scope == "VolumeAttributesClass" {
            return claim_in_scope(object, operator, values);
        }
        is(resource, "", "pods") && pod_in_scope(object, scope, operator, values)
    })
}

/// The classes a claim has, wants, or is on the way to.
fn claim_in_scope(claim: &Value, operator: &str, values: &Value) -> bool {
    let status = &claim["status"];
    let classes = [
        &claim["spec"]["volumeAttributesClassName"],
        &status["currentVolumeAttributesClassName"],
        &status["modifyVolumeStatus"]["targetVolumeAttributesClassName"],
    ];
    let mut classes = classes.into_iter().filter_map(Value::as_str).filter(|class| !class.is_empty()).peekable();
    match classes.peek() {
        None => selects(operator, values, None),
        Some(_) => classes.any(|class| selects(operator, values, Some(class))),
    }
}

fn pod_in_scope(pod: &Value, scope: &str, operator: &str, values: &Value) -> bool {
    let spec = &pod["spec"];
    let terminating = spec["activeDeadlineSeconds"].as_i64().is_some_and(|seconds| seconds >= 0);
    let containers = ["containers", "initContainers"].map(|field| spec[field].as_array());
    let whole = std::iter::once(spec);
    let best_effort = containers.into_iter().flatten().flatten().chain(whole).all(|part| {
        ["requests", "limits"].iter().all(|kind| {
            let amounts = amounts(&part["resources"][*kind]);
            !amounts.iter().any(|(name, amount)| matches!(name.as_str(), "cpu" | "memory") && !amount.is_zero())
        })
    });
    match scope {
        "Terminating" => terminating,
        "NotTerminating" => !terminating,
        "BestEffort" => best_effort,
        "NotBestEffort" => !best_effort,
        "PriorityClass" => selects(operator, values, spec["priorityClassName"].as_str()),
        "CrossNamespacePodAffinity" => ["podAffinity", "podAntiAffinity"].iter().any(|kind| {
            let affinity = &spec["affinity"][*kind];
            let required = affinity["requiredDuringSchedulingIgnoredDuringExecution"].as_array();
            let preferred = affinity["preferredDuringSchedulingIgnoredDuringExecution"].as_array();
            let preferred = preferred.into_iter().flatten().map(|one| &one["podAffinityTerm"]);
            required.into_iter().flatten().chain(preferred).any(|term| {
                term["namespaces"].as_array().is_some_and(|list| !list.is_empty())
                    || term["namespaceSelector"].is_object()
            })
        }),
        _ => false,
    }
}

fn selects(operator: &str, values: &Value, have: Option<&str>) -> bool {
    let have = have.filter(|have| !have.is_empty());
    let listed = || values.as_array().into_iter().flatten().any(|value| value.as_str() == have);
    match operator {
        "Exists" => have.is_some(),
        "DoesNotExist" => have.is_none(),
        "In" => have.is_some() && listed(),
        "NotIn" => !(have.is_some() && listed()),
        _ => false,
    }
}

/// What containers must state but do not: `limits.cpu for: a,b; memory for: a`.
pub(super) fn missing(pod: &Value, hard: &Amounts) -> Option<String> {
    if !amounts(&pod["spec"]["resources"]["requests"]).is_empty() {
        return None;
    }
    let mut by_name: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for field in ["containers", "initContainers"] {
        for container in pod["spec"][field].as_array().into_iter().flatten() {
            let states = |kind: &str, name: &str| container["resources"][kind].get(name).is_some();
            for name in REQUIRED.iter().filter(|name| hard.contains_key(**name)) {
                let stated = match name.split_once('.') {
                    Some((kind, name)) => states(kind, name),
                    None => states("requests", name),
                };
                if !stated {
                    by_name.entry(name).or_default().insert(container["name"].as_str().unwrap_or_default());
                }
            }
        }
    }
    let told = by_name
        .into_iter()
        .map(|(name, containers)| format!("{name} for: {}", containers.into_iter().collect::<Vec<_>>().join(",")));
    let told: Vec<String> = told.collect();
    (!told.is_empty()).then(|| told.join("; "))
}

pub(super) fn add(sum: &mut Amounts, more: &Amounts) {
    for (name, amount) in more {
        let present = sum.get(name).copied().unwrap_or(Quantity::ZERO);
        sum.insert(name.clone(), present.add(*amount));
    }
}

/// Not below zero in what is recorded, and no new names.
pub(super) fn subtract(sum: &mut Amounts, less: &Amounts) {
    for (name, amount) in less {
        if let Some(present) = sum.get_mut(name) {
            *present = present.sub(*amount);
        }
    }
}

pub(super) fn json(amounts: &Amounts) -> Value {
    Value::Object(amounts.iter().map(|(name, amount)| (name.clone(), amount.to_string().into())).collect::<Map<_, _>>())
}

/// The namespace an event of the store is about.
pub(super) fn namespace_of(key: &str) -> Option<&str> {
    let mut parts = key.strip_prefix("/registry/")?.split('/').skip(2);
    let namespace = parts.next()?;
    parts.next().map(|_| namespace)
}

/// An object that a delete has only marked is still counted.
pub(super) fn is_counted(object: &Value) -> bool {
    !meta::name(object).is_empty()
}
