//! Services.

use api::{FieldError, meta};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::Strategy;
use crate::columns::{AGE, Column, NAME, age, labels, or_none, text as column, wide};
use crate::strategy::copy_field;
use crate::validate::names;
use crate::value::{has, items, items_mut, number, remove, set, set_default, text};

mod families;
mod rules;
#[cfg(test)]
mod tests;

/// Strategy of Services. ClusterIPs and node ports are given by the allocator, not here.
pub struct Service;

pub const COLUMNS: &[Column] = &[
    NAME,
    column("Type", "How the Service is reached"),
    column("Cluster-IP", "Its address within the cluster"),
    column("External-IP", "Its addresses outside the cluster"),
    column("Port(s)", "Its ports"),
    AGE,
    wide("Selector", "Labels of its pods"),
];

/// Seconds a client stays with a backend under `sessionAffinity: ClientIP`.
const AFFINITY_SECONDS: i64 = 10_800;

impl Strategy for Service {
    fn default(&self, service: &mut Value) {
        let Some(spec) = service.get_mut("spec").filter(|s| s.is_object()) else { return };
        set_default(spec, "type", "ClusterIP");
        set_default(spec, "sessionAffinity", "None");
        match text(spec, "sessionAffinity") {
            "None" => {
                remove(spec, "sessionAffinityConfig");
            }
            "ClientIP" if !has(&spec["sessionAffinityConfig"]["clientIP"], "timeoutSeconds") => {
                set(spec, "sessionAffinityConfig", json!({"clientIP": {"timeoutSeconds": AFFINITY_SECONDS}}));
            }
            _ => {}
        }
        for port in items_mut(spec, "ports") {
            set_default(port, "protocol", "TCP");
            if port["targetPort"] == 0 || port["targetPort"] == "" || !has(port, "targetPort") {
                let number = port["port"].clone();
                set(port, "targetPort", number);
            }
        }
        if text(spec, "type") == "ExternalName" {
            return;
        }
        set_default(spec, "internalTrafficPolicy", "Cluster");
        if rules::is_external(spec) {
            set_default(spec, "externalTrafficPolicy", "Cluster");
        }
        if text(spec, "type") == "LoadBalancer" {
            set_default(spec, "allocateLoadBalancerNodePorts", true);
        }
        mirror_cluster_ip(spec);
    }

    fn has_status(&self) -> bool {
        true
    }

    fn prepare_create(&self, service: &mut Value) {
        set(service, "status", json!({"loadBalancer": {}}));
        meta::remove(service, "generation");
        if let Some(spec) = service.get_mut("spec").filter(|s| s.is_object()) {
            families::settle(spec, &Value::Null);
        }
    }

    /// Keeps the status and what was allocated, and drops what the new type does not have.
    fn prepare_update(&self, new: &mut Value, old: &Value) {
        copy_field(new, old, "status");
        if let Some(spec) = new.get_mut("spec") {
            keep_allocated(spec, &old["spec"]);
            drop_unused(spec, &old["spec"]);
            families::settle(spec, &old["spec"]);
        }
    }

    fn create_on_update(&self) -> bool {
        true
    }

    fn validate_name(&self, name: &str) -> Vec<String> {
        names::dns_1035_label(name)
    }

    fn validate(&self, service: &Value) -> Vec<FieldError> {
        rules::service(&service["spec"])
    }

    fn warnings(&self, service: &Value, _old: Option<&Value>) -> Vec<String> {
        let annotations = &service["metadata"]["annotations"];
        let ignored = api::spread::spread(|name| annotations[name].as_str()).ignored;
        ignored.into_iter().map(|what| format!("metadata.annotations: {what}; it is left out")).collect()
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<FieldError> {
        rules::update(&new["spec"], &old["spec"])
    }

    fn field_labels(&self) -> &'static [&'static str] {
        &["spec.clusterIP", "spec.type"]
    }

    fn fields(&self, service: &Value) -> Vec<(&'static str, String)> {
        let spec = &service["spec"];
        vec![("spec.clusterIP", text(spec, "clusterIP").to_owned()), ("spec.type", text(spec, "type").to_owned())]
    }

    fn row(&self, service: &Value, now: Timestamp) -> Vec<Value> {
        let spec = &service["spec"];
        vec![
            meta::name(service).into(),
            text(spec, "type").into(),
            or_none(text(spec, "clusterIP").to_owned()).into(),
            external(service).into(),
            ports(spec).into(),
            age(service, now),
            labels(&spec["selector"]).into(),
        ]
    }
}

/// `clusterIP` is the first of `clusterIPs`; whichever is missing follows the other.
fn mirror_cluster_ip(spec: &mut Value) {
    let (one, first) = (text(spec, "clusterIP").to_owned(), items(&spec["clusterIPs"]).first().cloned());
    match (one.as_str(), first) {
        ("", Some(first)) => set(spec, "clusterIP", first),
        ("", None) => {}
        (_, None) => set(spec, "clusterIPs", vec![one]),
        (_, Some(_)) => {}
    }
}

/// An update that leaves out what the server allocated keeps it.
fn keep_allocated(spec: &mut Value, old: &Value) {
    let had_ip = text(old, "type") != "ExternalName" && has(old, "clusterIP");
    let wants_ip = text(spec, "type") != "ExternalName";
    if had_ip && wants_ip && text(spec, "clusterIP").is_empty() {
        for field in ["clusterIP", "clusterIPs"] {
            copy_field(spec, old, field);
        }
    }
    if rules::has_node_ports(spec) && rules::has_node_ports(old) {
        let used: Vec<i64> = items(&spec["ports"]).iter().filter_map(|p| number(p, "nodePort")).collect();
        for port in items_mut(spec, "ports").filter(|p| number(p, "nodePort").unwrap_or(0) == 0) {
            let same = |o: &&Value| o["port"] == port["port"] && o["protocol"] == port["protocol"];
            let kept = items(&old["ports"]).iter().find(same).and_then(|o| number(o, "nodePort"));
            if let Some(kept) = kept.filter(|n| !used.contains(n)) {
                set(port, "nodePort", kept);
            }
        }
    }
    if has(old, "healthCheckNodePort") && rules::needs_health_check(spec) && !has(spec, "healthCheckNodePort") {
        copy_field(spec, old, "healthCheckNodePort");
    }
}

/// A type change drops what only the old type had, as far as the update did not set it anew.
fn drop_unused(spec: &mut Value, old: &Value) {
    let unchanged = |spec: &Value, field: &str| spec[field] == old[field];
    if text(spec, "type") == "ExternalName" && text(old, "type") != "ExternalName" {
        for field in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy", "internalTrafficPolicy"] {
            if unchanged(spec, field) {
                remove(spec, field);
            }
        }
    }
    if text(old, "type") == "ExternalName" && text(spec, "type") != "ExternalName" && unchanged(spec, "externalName") {
        remove(spec, "externalName");
    }
    if rules::has_node_ports(old) && !rules::has_node_ports(spec) {
        let before: Vec<Value> = items(&old["ports"]).iter().map(|p| p["nodePort"].clone()).collect();
        let now: Vec<Value> = items(&spec["ports"]).iter().map(|p| p["nodePort"].clone()).collect();
        if before == now {
            items_mut(spec, "ports").for_each(|p| {
                remove(p, "nodePort");
            });
        }
    }
    if rules::is_external(old) && !rules::is_external(spec) && unchanged(spec, "externalTrafficPolicy") {
        remove(spec, "externalTrafficPolicy");
    }
    if text(old, "type") == "LoadBalancer" && text(spec, "type") != "LoadBalancer" {
        for field in ["allocateLoadBalancerNodePorts", "loadBalancerClass", "loadBalancerIP"] {
            if unchanged(spec, field) {
                remove(spec, field);
            }
        }
    }
    if !rules::needs_health_check(spec) && unchanged(spec, "healthCheckNodePort") {
        remove(spec, "healthCheckNodePort");
    }
}

fn external(service: &Value) -> String {
    let spec = &service["spec"];
    let texts = |list: &Value| items(list).iter().filter_map(|v| v.as_str().map(str::to_owned)).collect::<Vec<_>>();
    let mut addresses = texts(&spec["externalIPs"]);
    match text(spec, "type") {
        "ExternalName" => text(spec, "externalName").to_owned(),
        "LoadBalancer" => {
            let points = items(&service["status"]["loadBalancer"]["ingress"]);
            let given = points.iter().map(|p| match text(p, "ip") {
                "" => text(p, "hostname").to_owned(),
                ip => ip.to_owned(),
            });
            let mut all: Vec<String> = given.filter(|g| !g.is_empty()).collect();
            all.append(&mut addresses);
            if all.is_empty() { "<pending>".to_owned() } else { all.join(",") }
        }
        _ => or_none(addresses.join(",")),
    }
}

fn ports(spec: &Value) -> String {
    let listed: Vec<String> = items(&spec["ports"])
        .iter()
        .map(|p| {
            let (port, protocol) = (number(p, "port").unwrap_or(0), text(p, "protocol"));
            match number(p, "nodePort").unwrap_or(0) {
                0 => format!("{port}/{protocol}"),
                node => format!("{port}:{node}/{protocol}"),
            }
        })
        .collect();
    or_none(listed.join(","))
}
