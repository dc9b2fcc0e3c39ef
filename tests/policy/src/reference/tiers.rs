//! What the policies of the whole cluster mean, rule by rule. Source: the documentation of policy.networking.k8s.io's types.

use ipnet::IpNet;
use serde_json::Value;

use super::{Attempt, End, namespace_labels, selects};

/// What a tier says of a connection; `None` leaves it to the next one.
pub fn verdict(objects: &[Value], tier: &str, attempt: &Attempt<'_>, inward: bool) -> Option<bool> {
    let (own, peer) = if inward { (&attempt.to, &attempt.from) } else { (&attempt.from, &attempt.to) };
    let mut policies: Vec<&Value> = objects.iter().filter(|object| tier_of(object) == Some(tier)).collect();
    policies.sort_by_key(|policy| policy["spec"]["priority"].as_i64().unwrap_or(5_000));
    for policy in policies.into_iter().filter(|policy| is_one(objects, &policy["spec"]["subject"], own)) {
        let (rules, to) = if inward { ("ingress", "from") } else { ("egress", "to") };
        for rule in policy["spec"][rules].as_array().into_iter().flatten() {
            let action = rule["action"].as_str().expect("an action");
            let allows = action == "Allow" || action == "Accept";
            if !is_understood(rule, to) {
                if allows {
                    continue;
                }
                return Some(false);
            }
            let mut peers = rule[to].as_array().expect("peers").iter();
            if peers.any(|one| is_one(objects, one, peer)) && by_port(rule, attempt) {
                return match action {
                    "Pass" => None,
                    _ => Some(allows),
                };
            }
        }
    }
    None
}

fn tier_of(object: &Value) -> Option<&str> {
    match object["kind"].as_str()? {
        "AdminNetworkPolicy" => Some("Admin"),
        "BaselineAdminNetworkPolicy" => Some("Baseline"),
        "ClusterNetworkPolicy" => object["spec"]["tier"].as_str(),
        _ => None,
    }
}

fn is_understood(rule: &Value, to: &str) -> bool {
    let fields = rule.as_object().expect("a rule");
    let strange = fields.keys().any(|field| !["action", "ports", "protocols", to].contains(&field.as_str()));
    let peers = rule[to].as_array().expect("peers");
    !strange && peers.iter().all(|peer| peer["externalNetworks"].is_null())
}

fn is_one(objects: &[Value], term: &Value, end: &End<'_>) -> bool {
    if let Some(networks) = term["networks"].as_array() {
        let within = |net: &Value| net.as_str().expect("a text").parse::<IpNet>().expect("a prefix").contains(&end.ip);
        return networks.iter().any(within);
    }
    if term["nodes"].is_object() {
        let has = |node: &&Value| {
            let addresses = node["status"]["addresses"].as_array().into_iter().flatten();
            addresses.into_iter().any(|address| address["address"] == end.ip.to_string().as_str())
        };
        let nodes = objects.iter().filter(|object| object["kind"] == "Node").filter(has);
        return nodes.into_iter().any(|node| selects(&term["nodes"], &node["metadata"]["labels"]));
    }
    let Some(pod) = end.pod else { return false };
    let home = namespace_labels(objects, &pod["metadata"]["namespace"]);
    if term["namespaces"].is_object() {
        return selects(&term["namespaces"], home);
    }
    let both = &term["pods"];
    both.is_object()
        && selects(&both["namespaceSelector"], home)
        && selects(&both["podSelector"], &pod["metadata"]["labels"])
}

fn by_port(rule: &Value, attempt: &Attempt<'_>) -> bool {
    let lists = [&rule["ports"], &rule["protocols"]];
    let Some(list) = lists.into_iter().find_map(Value::as_array) else { return true };
    list.iter().any(|one| is_port(one, attempt))
}

fn is_port(port: &Value, attempt: &Attempt<'_>) -> bool {
    if let Some(name) = port["namedPort"].as_str().or(port["destinationNamedPort"].as_str()) {
        let Some(pod) = attempt.to.pod else { return false };
        let containers = pod["spec"]["containers"].as_array().expect("a pod has containers");
        return containers.iter().flat_map(|c| c["ports"].as_array().into_iter().flatten()).any(|known| {
            known["name"] == name
                && known["protocol"].as_str().unwrap_or("TCP") == attempt.protocol
                && known["containerPort"] == attempt.port
        });
    }
    let is = |number: &Value| *number == attempt.port;
    let among = |range: &Value| (range["start"].as_u64()..=range["end"].as_u64()).contains(&Some(attempt.port.into()));
    let (one, range) = (&port["portNumber"], &port["portRange"]);
    if one.is_object() {
        return one["protocol"] == attempt.protocol && is(&one["port"]);
    }
    if range.is_object() {
        return range["protocol"] == attempt.protocol && among(range);
    }
    let of = &port[attempt.protocol.to_lowercase()];
    if !of.is_object() {
        return false;
    }
    let number = &of["destinationPort"];
    number.is_null() || is(&number["number"]) || (number["range"].is_object() && among(&number["range"]))
}
