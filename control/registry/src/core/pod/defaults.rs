//! Defaults of pods and of pod templates.

use api::Quantity;
use api::meta::{child_mut, object_mut};
use serde_json::{Value, json};

use crate::value::{entries, flag, has, items, items_mut, set, set_default, text};

const CONTAINER_LISTS: [&str; 3] = ["initContainers", "containers", "ephemeralContainers"];

/// Defaults of a pod's spec and of a template's.
pub fn pod_spec(spec: &mut Value) {
    if !spec.is_object() {
        return;
    }
    set_default(spec, "dnsPolicy", "ClusterFirst");
    set_default(spec, "restartPolicy", "Always");
    set_default(spec, "securityContext", json!({}));
    set_default(spec, "terminationGracePeriodSeconds", 30);
    set_default(spec, "schedulerName", "default-scheduler");
    let account = match (text(spec, "serviceAccountName"), text(spec, "serviceAccount")) {
        ("", name) | (name, _) => name.to_owned(),
    };
    if !account.is_empty() {
        set(spec, "serviceAccountName", account.as_str());
        set(spec, "serviceAccount", account);
    }
    for list in CONTAINER_LISTS {
        items_mut(spec, list).for_each(container);
    }
    items_mut(spec, "volumes").for_each(super::volumes::volume);
    if has(spec, "overhead") {
        resource_list(&mut spec["overhead"]);
    }
    for list in ["limits", "requests"] {
        if has(&spec["resources"], list) {
            resource_list(&mut spec["resources"][list]);
        }
    }
}

/// Defaults that pods get and templates do not.
pub fn pod_only(spec: &mut Value) {
    if !spec.is_object() {
        return;
    }
    set_default(spec, "enableServiceLinks", true);
    let host_network = flag(spec, "hostNetwork");
    for list in ["initContainers", "containers"] {
        for container in items_mut(spec, list) {
            requests_from_limits(container);
            if host_network {
                items_mut(container, "ports").for_each(|port| {
                    let number = port["containerPort"].clone();
                    if port["hostPort"].as_i64().unwrap_or(0) == 0 && number.is_number() {
                        set(port, "hostPort", number);
                    }
                });
            }
        }
    }
}

fn container(container: &mut Value) {
    if !container.is_object() {
        return;
    }
    set_default(container, "terminationMessagePath", "/dev/termination-log");
    set_default(container, "terminationMessagePolicy", "File");
    let policy = if is_latest(text(container, "image")) { "Always" } else { "IfNotPresent" };
    set_default(container, "imagePullPolicy", policy);
    set_default(container, "resources", json!({}));
    for list in ["limits", "requests"] {
        if has(&container["resources"], list) {
            resource_list(&mut container["resources"][list]);
        }
    }
    for port in items_mut(container, "ports") {
        set_default(port, "protocol", "TCP");
    }
    for variable in items_mut(container, "env") {
        if has(&variable["valueFrom"], "fieldRef") {
            set_default(&mut variable["valueFrom"]["fieldRef"], "apiVersion", "v1");
        }
        if has(&variable["valueFrom"], "resourceFieldRef") {
            set_default(&mut variable["valueFrom"]["resourceFieldRef"], "divisor", "0");
        }
        if has(&variable["valueFrom"], "fileKeyRef") {
            set_default(&mut variable["valueFrom"]["fileKeyRef"], "optional", false);
        }
    }
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(probe) = container.get_mut(name).filter(|p| p.is_object()) {
            default_probe(probe);
        }
    }
    for hook in ["postStart", "preStop"] {
        if has(&container["lifecycle"][hook], "httpGet") {
            http_get(&mut container["lifecycle"][hook]["httpGet"]);
        }
    }
}

fn default_probe(probe: &mut Value) {
    for (field, default) in
        [("timeoutSeconds", 1), ("periodSeconds", 10), ("successThreshold", 1), ("failureThreshold", 3)]
    {
        if probe[field].as_i64().unwrap_or(0) == 0 {
            set(probe, field, default);
        }
    }
    if has(probe, "httpGet") {
        http_get(&mut probe["httpGet"]);
    }
    if has(probe, "grpc") && !has(&probe["grpc"], "service") {
        set(&mut probe["grpc"], "service", "");
    }
}

fn http_get(action: &mut Value) {
    set_default(action, "path", "/");
    set_default(action, "scheme", "HTTP");
}

/// Whether an image is the newest one of its name: tagged `latest`, or neither tagged nor pinned by digest.
pub(super) fn is_latest(image: &str) -> bool {
    if image.contains('@') {
        return false;
    }
    let last = image.rsplit('/').next().unwrap_or(image);
    last.split_once(':').is_none_or(|(_, tag)| tag == "latest")
}

/// A container that limits a resource and does not say what it requests, requests the limit.
fn requests_from_limits(container: &mut Value) {
    let limits: Vec<(String, Value)> =
        entries(&container["resources"]["limits"]).map(|(k, v)| (k.clone(), v.clone())).collect();
    if limits.is_empty() {
        return;
    }
    let resources = child_mut(container, "resources");
    let requests = object_mut(resources.entry("requests").or_insert(Value::Null));
    for (name, amount) in limits {
        requests.entry(name).or_insert(amount);
    }
}

/// Rewrites the amounts of a resource list in canonical form, at most as fine as a thousandth.
pub fn resource_list(list: &mut Value) {
    list.as_object_mut().into_iter().flat_map(serde_json::Map::values_mut).for_each(amount);
}

/// Rewrites an amount in canonical form.
pub fn amount(amount: &mut Value) {
    let written = amount.as_str().map_or_else(|| amount.to_string(), |s| s.trim().to_owned());
    if let Ok(quantity) = Quantity::parse(&written) {
        *amount = quantity.round_up_to_milli().to_string().into();
    }
}

/// Defaults of a template within another kind's spec.
pub fn template(owner_spec: &mut Value) {
    if let Some(spec) = owner_spec.get_mut("template").and_then(|t| t.get_mut("spec")) {
        pod_spec(spec);
    }
}

/// Names and images of a template's containers, for tables.
#[must_use]
pub fn container_columns(owner: &Value) -> (String, String) {
    let containers = items(&owner["spec"]["template"]["spec"]["containers"]);
    let listed = |field: &str| containers.iter().map(|c| text(c, field)).collect::<Vec<_>>().join(",");
    (listed("name"), listed("image"))
}
