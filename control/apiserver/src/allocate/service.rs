//! What a Service needs of the pools, and where it writes it.

use super::{Numbers, Pools, refusal};
use api::{FieldError, meta};
use serde_json::{Value, json};
use std::net::IpAddr;

const NONE: &str = "None";

/// What the Service holds now.
pub(crate) fn numbers(service: &Value) -> Numbers {
    let spec = &service["spec"];
    let mut numbers = Numbers::default();
    let listed = spec["clusterIPs"].as_array().into_iter().flatten().filter_map(Value::as_str);
    for ip in listed.chain(spec["clusterIP"].as_str()).filter_map(|ip| ip.parse::<IpAddr>().ok()) {
        if !numbers.ips.contains(&ip) {
            numbers.ips.push(ip);
        }
    }
    for port in ports(spec).filter_map(node_port) {
        if !numbers.ports.contains(&port) {
            numbers.ports.push(port);
        }
    }
    numbers
}

/// Takes what the Service needs and does not hold already, and writes it into the Service.
pub(crate) fn allocate(
    pools: &mut Pools,
    service: &mut Value,
    held: &Numbers,
    taken: &mut Numbers,
    errors: &mut Vec<FieldError>,
) {
    if needs_cluster_ip(&service["spec"]) {
        allocate_ip(pools, service, held, taken, errors);
    }
    if needs_node_ports(&service["spec"]) {
        allocate_ports(pools, service, held, taken, errors);
    }
}

fn allocate_ip(
    pools: &mut Pools,
    service: &mut Value,
    held: &Numbers,
    taken: &mut Numbers,
    errors: &mut Vec<FieldError>,
) {
    let asked = cluster_ip(&service["spec"]).to_owned();
    let ip = if asked.is_empty() {
        match pools.ips.take_any(process::seed()) {
            Some(ip) => {
                taken.ips.push(ip);
                ip
            }
            None => {
                return errors.push(refusal(
                    "spec.clusterIPs".to_owned(),
                    json!([]),
                    format!("failed to allocate an IP: the range {} is full", pools.ips.range()),
                ));
            }
        }
    } else {
        let mut refuse = |why: String| {
            errors.push(refusal(
                "spec.clusterIPs".to_owned(),
                json!([asked]),
                format!("failed to allocate IP {asked}: {why}"),
            ));
        };
        match asked.parse::<IpAddr>() {
            Err(_) => return refuse("it is not an IP address".to_owned()),
            Ok(ip) if held.ips.contains(&ip) => ip,
            Ok(ip) if !pools.ips.contains(ip) => {
                let range = pools.ips.range();
                return refuse(format!(
                    "the provided IP ({ip}) is not in the valid range. The range of valid IPs is {range}"
                ));
            }
            Ok(ip) if pools.ips.take(ip) => {
                taken.ips.push(ip);
                ip
            }
            Ok(_) => return refuse("provided IP is already allocated".to_owned()),
        }
    };
    let family = if ip.is_ipv4() { "IPv4" } else { "IPv6" };
    let spec = meta::child_mut(service, "spec");
    spec.insert("clusterIP".to_owned(), json!(ip));
    spec.insert("clusterIPs".to_owned(), json!([ip]));
    spec.insert("ipFamilies".to_owned(), json!([family]));
    spec.entry("ipFamilyPolicy").or_insert_with(|| json!("SingleStack"));
}

fn allocate_ports(
    pools: &mut Pools,
    service: &mut Value,
    held: &Numbers,
    taken: &mut Numbers,
    errors: &mut Vec<FieldError>,
) {
    let Some(list) = service["spec"]["ports"].as_array_mut() else { return };
    // Those asked for go first, so that no port given out at will takes the number of a later one.
    for (index, port) in list.iter().enumerate() {
        let Some(asked) = node_port(port) else { continue };
        // One number may serve TCP and UDP of the same Service.
        if held.ports.contains(&asked) || taken.ports.contains(&asked) {
            continue;
        }
        let field = format!("spec.ports[{index}].nodePort");
        if !pools.ports.range.contains(&asked) {
            let (first, last) = (pools.ports.range.start(), pools.ports.range.end());
            let why = format!("provided port is not in the valid range. The range of valid ports is {first}-{last}");
            errors.push(refusal(field, asked, why));
        } else if pools.ports.take(asked) {
            taken.ports.push(asked);
        } else {
            errors.push(refusal(field, asked, "provided port is already allocated".to_owned()));
        }
    }
    for (index, port) in list.iter_mut().enumerate().filter(|(_, port)| node_port(port).is_none()) {
        match pools.ports.take_any(process::seed()) {
            Some(free) => {
                taken.ports.push(free);
                port["nodePort"] = json!(free);
            }
            None => errors.push(refusal(
                format!("spec.ports[{index}].nodePort"),
                0,
                "failed to allocate a nodePort: range is full".to_owned(),
            )),
        }
    }
}

/// An update that leaves out what was given to the Service means to keep it; one that changes the type gives it up.
/// Runs before validation, which refuses changes of the ClusterIP.
pub(crate) fn carry_over(new: &mut Value, old: &Value) {
    let (needs_ip, had_ip) = (needs_cluster_ip(&new["spec"]), needs_cluster_ip(&old["spec"]));
    if needs_ip && had_ip && cluster_ip(&new["spec"]).is_empty() {
        for field in ["clusterIP", "clusterIPs"] {
            meta::child_mut(new, "spec").insert(field.to_owned(), old["spec"][field].clone());
        }
    }
    if is_external_name(&new["spec"]) && !is_external_name(&old["spec"]) {
        let unchanged = new["spec"]["clusterIP"] == old["spec"]["clusterIP"];
        let spec = meta::child_mut(new, "spec");
        for field in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"].iter().filter(|_| unchanged) {
            spec.remove(*field);
        }
    }
    // clusterIP alone changed or cleared: clusterIPs follows it.
    if new["spec"]["clusterIP"] != old["spec"]["clusterIP"] && new["spec"]["clusterIPs"] == old["spec"]["clusterIPs"] {
        meta::child_mut(new, "spec").remove("clusterIPs");
    }
    let keeps_ports = needs_node_ports(&new["spec"]);
    let had_ports = needs_node_ports(&old["spec"]);
    let Some(list) = new["spec"]["ports"].as_array_mut() else { return };
    for port in list {
        let same = |other: &&Value| other["port"] == port["port"] && protocol(other) == protocol(port);
        let before = ports(&old["spec"]).find(same).and_then(node_port);
        match (keeps_ports, node_port(port)) {
            (true, None) if had_ports => {
                if let Some(before) = before {
                    port["nodePort"] = json!(before);
                }
            }
            (false, Some(own)) if before == Some(own) => {
                meta::object_mut(port).remove("nodePort");
            }
            (true | false, _) => {}
        }
    }
}

fn service_type(spec: &Value) -> &str {
    spec["type"].as_str().filter(|kind| !kind.is_empty()).unwrap_or("ClusterIP")
}

fn is_external_name(spec: &Value) -> bool {
    service_type(spec) == "ExternalName"
}

/// `clusterIP`, or the first of `clusterIPs`.
fn cluster_ip(spec: &Value) -> &str {
    let single = spec["clusterIP"].as_str().unwrap_or_default();
    if single.is_empty() { spec["clusterIPs"][0].as_str().unwrap_or_default() } else { single }
}

fn needs_cluster_ip(spec: &Value) -> bool {
    !is_external_name(spec) && cluster_ip(spec) != NONE
}

fn needs_node_ports(spec: &Value) -> bool {
    match service_type(spec) {
        "NodePort" => true,
        "LoadBalancer" => spec["allocateLoadBalancerNodePorts"].as_bool().unwrap_or(true),
        _ => false,
    }
}

fn ports(spec: &Value) -> impl Iterator<Item = &Value> {
    spec["ports"].as_array().into_iter().flatten()
}

fn node_port(port: &Value) -> Option<u16> {
    port["nodePort"].as_u64().and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0)
}

fn protocol(port: &Value) -> &str {
    port["protocol"].as_str().unwrap_or("TCP")
}
