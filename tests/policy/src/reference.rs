//! What NetworkPolicy means, read off the objects, with no regard to speed. Source: the API's documentation of
//! networking.k8s.io/v1. Policies of the whole cluster are in [`tiers`].

mod tiers;

use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::Value;

/// One end of a connection.
#[derive(Clone, Debug)]
pub struct End<'a> {
    pub ip: IpAddr,
    /// The pod, if it is one.
    pub pod: Option<&'a Value>,
}

/// A connection to be opened.
#[derive(Clone, Debug)]
pub struct Attempt<'a> {
    pub from: End<'a>,
    pub to: End<'a>,
    /// `TCP`, `UDP`, `SCTP`; anything else has no ports.
    pub protocol: &'static str,
    pub port: u16,
}

/// Whether the sender's policies let it out.
pub fn leaves(objects: &[Value], attempt: &Attempt<'_>) -> bool {
    judge(objects, attempt, "Egress", "egress", "to", &attempt.from, &attempt.to)
}

/// Whether the receiver's policies let it in.
pub fn enters(objects: &[Value], attempt: &Attempt<'_>) -> bool {
    judge(objects, attempt, "Ingress", "ingress", "from", &attempt.to, &attempt.from)
}

fn judge(
    objects: &[Value],
    attempt: &Attempt<'_>,
    kind: &str,
    rules: &str,
    peers: &str,
    own: &End<'_>,
    peer: &End<'_>,
) -> bool {
    let Some(pod) = own.pod else { return true };
    let inward = kind == "Ingress";
    if own.ip == peer.ip {
        return true;
    }
    if let Some(verdict) = tiers::verdict(objects, "Admin", attempt, inward) {
        return verdict;
    }
    let namespace = &pod["metadata"]["namespace"];
    let policies: Vec<&Value> = objects
        .iter()
        .filter(|o| o["kind"] == "NetworkPolicy" && o["metadata"]["namespace"] == *namespace)
        .filter(|o| selects(&o["spec"]["podSelector"], &pod["metadata"]["labels"]))
        .filter(|o| o["spec"]["policyTypes"].as_array().is_some_and(|types| types.iter().any(|t| t == kind)))
        .collect();
    if policies.is_empty() {
        return tiers::verdict(objects, "Baseline", attempt, inward).unwrap_or(true);
    }
    policies.iter().any(|policy| {
        let rules = policy["spec"][rules].as_array().map(Vec::as_slice).unwrap_or_default();
        rules.iter().any(|rule| {
            let by_peer = match rule[peers].as_array() {
                None => true,
                Some(list) if list.is_empty() => true,
                Some(list) => list.iter().any(|one| is_peer(objects, one, namespace, peer)),
            };
            let by_port = match rule["ports"].as_array() {
                None => true,
                Some(list) if list.is_empty() => true,
                Some(list) => list.iter().any(|one| is_port(one, attempt)),
            };
            by_peer && by_port
        })
    })
}

fn is_peer(objects: &[Value], term: &Value, namespace: &Value, peer: &End<'_>) -> bool {
    if let Some(cidr) = term["ipBlock"]["cidr"].as_str() {
        let within = |text: &str| text.parse::<IpNet>().expect("a prefix").contains(&peer.ip);
        let except = term["ipBlock"]["except"].as_array().map(Vec::as_slice).unwrap_or_default();
        return within(cidr) && !except.iter().any(|one| within(one.as_str().expect("a text")));
    }
    let Some(pod) = peer.pod else { return false };
    let (home, labels) = (&pod["metadata"]["namespace"], &pod["metadata"]["labels"]);
    let in_namespace = if term["namespaceSelector"].is_object() {
        selects(&term["namespaceSelector"], namespace_labels(objects, home))
    } else {
        home == namespace
    };
    in_namespace && (!term["podSelector"].is_object() || selects(&term["podSelector"], labels))
}

fn namespace_labels<'a>(objects: &'a [Value], name: &Value) -> &'a Value {
    let found = objects.iter().find(|o| o["kind"] == "Namespace" && o["metadata"]["name"] == *name);
    found.map_or(&Value::Null, |namespace| &namespace["metadata"]["labels"])
}

fn is_port(port: &Value, attempt: &Attempt<'_>) -> bool {
    if port["protocol"].as_str().unwrap_or("TCP") != attempt.protocol {
        return false;
    }
    if let Some(name) = port["port"].as_str() {
        let Some(pod) = attempt.to.pod else { return false };
        let containers = pod["spec"]["containers"].as_array().expect("a pod has containers");
        return containers.iter().flat_map(|c| c["ports"].as_array().into_iter().flatten()).any(|known| {
            known["name"] == name
                && known["protocol"].as_str().unwrap_or("TCP") == attempt.protocol
                && known["containerPort"] == attempt.port
        });
    }
    match (port["port"].as_u64(), port["endPort"].as_u64()) {
        (None, _) => true,
        (Some(first), None) => first == u64::from(attempt.port),
        (Some(first), Some(last)) => (first..=last).contains(&u64::from(attempt.port)),
    }
}

fn selects(selector: &Value, labels: &Value) -> bool {
    let pairs = selector["matchLabels"].as_object();
    let equal = pairs.into_iter().flatten().all(|(key, value)| labels[key] == *value);
    let expressions = selector["matchExpressions"].as_array();
    equal
        && expressions.into_iter().flatten().all(|expression| {
            let has = &labels[expression["key"].as_str().expect("a key")];
            let listed = || expression["values"].as_array().is_some_and(|values| values.contains(has));
            match expression["operator"].as_str() {
                Some("In") => listed(),
                Some("NotIn") => !listed(),
                Some("Exists") => has.is_string(),
                Some("DoesNotExist") => !has.is_string(),
                other => panic!("no operator {other:?}"),
            }
        })
}
