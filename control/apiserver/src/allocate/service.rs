//! What a Service needs of the pools, and where it writes it.

use super::{IpPools, Numbers, Pools, refusal};
use api::{FieldError, meta};
use serde_json::{Map, Value, json};
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
    let health = spec["healthCheckNodePort"].as_u64().and_then(|port| u16::try_from(port).ok());
    for port in ports(spec).filter_map(node_port).chain(health.filter(|port| *port > 0)) {
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
    } else if cluster_ip(&service["spec"]) == NONE && !is_external_name(&service["spec"]) {
        choose_families(&pools.ips, meta::child_mut(service, "spec"));
    }
    if needs_node_ports(&service["spec"]) {
        allocate_ports(pools, service, held, taken, errors);
    }
    if needs_health_check(&service["spec"]) {
        allocate_health_check(pools, service, held, taken, errors);
    }
}

fn allocate_ip(
    pools: &mut Pools,
    service: &mut Value,
    held: &Numbers,
    taken: &mut Numbers,
    errors: &mut Vec<FieldError>,
) {
    let Some(families) = families(&pools.ips, &service["spec"], errors) else { return };
    let spec = &service["spec"];
    let listed = spec["clusterIPs"].as_array().map(Vec::as_slice).unwrap_or_default();
    let asked: Vec<String> = if listed.is_empty() || listed[0] != cluster_ip(spec) {
        vec![cluster_ip(spec).to_owned()]
    } else {
        listed.iter().map(|ip| ip.as_str().unwrap_or_default().to_owned()).collect()
    };
    let mut ips = Vec::new();
    for (index, v4) in families.iter().enumerate() {
        match asked.get(index).filter(|asked| !asked.is_empty()) {
            Some(asked) => match take_asked(pools, asked, held, taken) {
                Ok(ip) => ips.push(ip),
                Err(why) => {
                    let shown = if listed.is_empty() { json!([asked]) } else { json!(listed) };
                    return errors.push(refusal(
                        "spec.clusterIPs".to_owned(),
                        shown,
                        format!("failed to allocate IP {asked}: {why}"),
                    ));
                }
            },
            None => match pools.ips.take_any(*v4, process::seed()) {
                Some(ip) => {
                    taken.ips.push(ip);
                    ips.push(ip);
                }
                None => {
                    return errors.push(refusal(
                        "spec.clusterIPs".to_owned(),
                        json!([]),
                        format!("failed to allocate an IP: the range {} is full", pools.ips.shown()),
                    ));
                }
            },
        }
    }
    let names: Vec<&str> = families.iter().map(|v4| family(*v4)).collect();
    let spec = meta::child_mut(service, "spec");
    spec.insert("clusterIP".to_owned(), json!(ips[0]));
    spec.insert("clusterIPs".to_owned(), json!(ips));
    spec.insert("ipFamilies".to_owned(), json!(names));
    spec.entry("ipFamilyPolicy").or_insert_with(|| json!("SingleStack"));
}

/// The families of a headless Service that names none: the cluster's first, and by its policy the other. Without a selector its
/// endpoints are made by somebody who knows their family.
fn choose_families(pools: &IpPools, spec: &mut Map<String, Value>) {
    if spec.get("ipFamilies").and_then(Value::as_array).is_some_and(|listed| !listed.is_empty()) {
        return;
    }
    let selects = spec.get("selector").and_then(Value::as_object).is_some_and(|pairs| !pairs.is_empty());
    let single = spec.get("ipFamilyPolicy").is_none_or(|policy| policy == "SingleStack");
    let (first, dual) = (pools.prefers_v4(), pools.has_family(true) && pools.has_family(false));
    let both = !single && (dual || !selects);
    let families: Vec<&str> = [Some(first), both.then_some(!first)].into_iter().flatten().map(family).collect();
    spec.insert("ipFamilies".to_owned(), json!(families));
}

/// One address that was asked for, unless the Service has it already.
fn take_asked(pools: &mut Pools, asked: &str, held: &Numbers, taken: &mut Numbers) -> Result<IpAddr, String> {
    match asked.parse::<IpAddr>() {
        Err(_) => Err("it is not an IP address".to_owned()),
        Ok(ip) if held.ips.contains(&ip) => Ok(ip),
        Ok(ip) if !pools.ips.contains(ip) => Err(format!(
            "the provided IP ({ip}) is not in the valid range. The range of valid IPs is {}",
            pools.ips.shown()
        )),
        Ok(ip) if pools.ips.take(ip) => {
            taken.ips.push(ip);
            Ok(ip)
        }
        Ok(_) => Err("provided IP is already allocated".to_owned()),
    }
}

/// The families of a Service, true for IPv4, in order. `None`: they cannot be had.
fn families(pools: &IpPools, spec: &Value, errors: &mut Vec<FieldError>) -> Option<Vec<bool>> {
    let named = spec["ipFamilies"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let mut families: Vec<bool> = named.map(|family| family == "IPv4").collect();
    let policy = spec["ipFamilyPolicy"].as_str().unwrap_or("SingleStack");
    let dual = pools.has_family(true) && pools.has_family(false);
    if policy == "RequireDualStack" && !dual {
        let what = "this cluster is not configured for dual-stack services";
        errors.push(FieldError::invalid("spec.ipFamilyPolicy", policy, what));
        return None;
    }
    for (index, v4) in families.iter().enumerate().filter(|(_, v4)| !pools.has_family(**v4)) {
        let field = format!("spec.ipFamilies[{index}]");
        errors.push(FieldError::invalid(field, family(*v4), "not configured on this cluster"));
    }
    if !errors.is_empty() {
        return None;
    }
    if families.is_empty() {
        let given = cluster_ip(spec).parse::<IpAddr>().ok().map(|ip| ip.is_ipv4());
        families.push(given.unwrap_or_else(|| pools.prefers_v4()));
    }
    match policy {
        "SingleStack" => families.truncate(1),
        _ if dual && families.len() == 1 => families.push(!families[0]),
        _ => {}
    }
    Some(families)
}

fn family(v4: bool) -> &'static str {
    if v4 { "IPv4" } else { "IPv6" }
}

fn needs_health_check(spec: &Value) -> bool {
    service_type(spec) == "LoadBalancer" && spec["externalTrafficPolicy"] == "Local"
}

fn allocate_health_check(
    pools: &mut Pools,
    service: &mut Value,
    held: &Numbers,
    taken: &mut Numbers,
    errors: &mut Vec<FieldError>,
) {
    const FIELD: &str = "spec.healthCheckNodePort";
    let asked = service["spec"]["healthCheckNodePort"].as_u64().and_then(|port| u16::try_from(port).ok());
    match asked.filter(|port| *port > 0) {
        Some(asked) if held.ports.contains(&asked) => {}
        Some(asked) if !pools.ports.range.contains(&asked) => {
            let (first, last) = (pools.ports.range.start(), pools.ports.range.end());
            let why = format!(
                "failed to allocate requested HealthCheck NodePort {asked}: provided port is not in the valid range. \
                 The range of valid ports is {first}-{last}"
            );
            errors.push(refusal(FIELD.to_owned(), asked, why));
        }
        Some(asked) if pools.ports.take(asked) => taken.ports.push(asked),
        Some(asked) => {
            let why = format!(
                "failed to allocate requested HealthCheck NodePort {asked}: provided port is already allocated"
            );
            errors.push(refusal(FIELD.to_owned(), asked, why));
        }
        None => match pools.ports.take_any(process::seed()) {
            Some(free) => {
                taken.ports.push(free);
                meta::child_mut(service, "spec").insert("healthCheckNodePort".to_owned(), json!(free));
            }
            None => errors.push(refusal(
                FIELD.to_owned(),
                0,
                "failed to allocate a HealthCheck NodePort: range is full".to_owned(),
            )),
        },
    }
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
    // One family only: the second address goes.
    if needs_ip && new["spec"]["ipFamilyPolicy"] == "SingleStack" && old["spec"]["ipFamilyPolicy"] != "SingleStack" {
        for field in ["clusterIPs", "ipFamilies"] {
            if let Some(list) = new["spec"][field].as_array_mut() {
                list.truncate(1);
            }
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
