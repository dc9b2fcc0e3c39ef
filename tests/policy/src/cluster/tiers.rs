//! Random policies of the whole cluster, some of them with what no version of their API has.

use packet::host::Dice;
use serde_json::{Value, json};

use super::{Cluster, NAMES, PORTS, VALUES, selector};

/// Kinds of policies of the whole cluster.
pub const KINDS: [&str; 3] = ["AdminNetworkPolicy", "BaselineAdminNetworkPolicy", "ClusterNetworkPolicy"];

impl Cluster {
    /// Another one; of the baseline's old kind there is one at most.
    pub(super) fn add_tier(&mut self, dice: &mut Dice) {
        // No two have the same priority: nobody says which of those would count.
        self.policies += 1;
        let priority = (self.policies * 7) % 1_000;
        let mut kind = dice.pick(&[
            "AdminNetworkPolicy",
            "BaselineAdminNetworkPolicy",
            "ClusterNetworkPolicy",
            "ClusterNetworkPolicy",
        ]);
        if kind == "BaselineAdminNetworkPolicy" && self.objects.iter().any(|object| object["kind"] == kind) {
            kind = "ClusterNetworkPolicy";
        }
        let cluster = kind == "ClusterNetworkPolicy";
        let tier = dice.pick(&["Admin", "Baseline"]);
        let mut spec = json!({"subject": pods(dice)});
        if cluster {
            spec["tier"] = tier.into();
        }
        if kind != "BaselineAdminNetworkPolicy" {
            spec["priority"] = priority.into();
        }
        for (rules, to) in [("ingress", "from"), ("egress", "to")] {
            if !dice.once_in(3) {
                let list: Vec<Value> = (0..1 + dice.below(4)).map(|_| rule(to, cluster, kind, dice)).collect();
                spec[rules] = list.into();
            }
        }
        let name =
            if kind == "BaselineAdminNetworkPolicy" { "default".to_owned() } else { format!("t{}", self.policies) };
        let version = if cluster { "v1alpha2" } else { "v1alpha1" };
        self.objects.push(json!({
            "apiVersion": format!("policy.networking.k8s.io/{version}"), "kind": kind, "metadata": {"name": name}, "spec": spec,
        }));
    }
}

fn rule(to: &str, cluster: bool, kind: &str, dice: &mut Dice) -> Value {
    let allow = if cluster { "Accept" } else { "Allow" };
    let action = match dice.below(if kind == "BaselineAdminNetworkPolicy" { 4 } else { 6 }) {
        0 | 1 => allow,
        2 | 3 => "Deny",
        _ => "Pass",
    };
    let peers: Vec<Value> = (0..1 + dice.below(2)).map(|_| peer(to, action == allow, dice)).collect();
    let mut rule = json!({"action": action, to: peers});
    if !dice.once_in(3) {
        let list: Vec<Value> =
            (0..1 + dice.below(3)).map(|_| if cluster { protocol(dice) } else { port(dice) }).collect();
        rule[if cluster { "protocols" } else { "ports" }] = list.into();
    }
    if dice.once_in(40) {
        rule["serviceAccounts"] = json!({});
    }
    rule
}

fn peer(to: &str, allows: bool, dice: &mut Dice) -> Value {
    if dice.once_in(40) {
        return json!({"externalNetworks": {}});
    }
    match dice.below(if to == "to" { 8 } else { 4 }) {
        0..4 => pods(dice),
        4 => json!({"nodes": selector(dice)}),
        5 if allows => json!({"domainNames": ["*.example.com"]}),
        _ => {
            let nets = [
                "0.0.0.0/0",
                "10.244.0.0/16",
                "10.244.2.0/24",
                "10.244.1.2/31",
                "203.0.113.0/24",
                "192.0.2.0/24",
                "::/0",
                "fd00:2::/64",
            ];
            let nets: Vec<&str> = (0..1 + dice.below(2)).map(|_| dice.pick(&nets)).collect();
            json!({"networks": nets})
        }
    }
}

fn pods(dice: &mut Dice) -> Value {
    match dice.below(3) {
        0 => json!({"namespaces": selector(dice)}),
        1 => json!({"namespaces": {"matchLabels": {"app": dice.pick(&VALUES)}}}),
        _ => json!({"pods": {"namespaceSelector": selector(dice), "podSelector": selector(dice)}}),
    }
}

fn port(dice: &mut Dice) -> Value {
    let protocol = dice.pick(&["TCP", "TCP", "UDP", "SCTP"]);
    match dice.below(4) {
        0 => json!({"namedPort": dice.pick(&NAMES)}),
        1 => {
            json!({"portRange": {"protocol": protocol, "start": dice.pick(&[53, 79, 80]), "end": dice.pick(&[80, 90, 8080])}})
        }
        _ => json!({"portNumber": {"protocol": protocol, "port": dice.pick(&PORTS)}}),
    }
}

fn protocol(dice: &mut Dice) -> Value {
    let protocol = dice.pick(&["tcp", "tcp", "udp", "sctp"]);
    match dice.below(5) {
        0 => json!({"destinationNamedPort": dice.pick(&NAMES)}),
        1 => json!({protocol: {}}),
        2 => {
            json!({protocol: {"destinationPort": {"range": {"start": dice.pick(&[53, 79, 80]), "end": dice.pick(&[80, 90, 8080])}}}})
        }
        _ => json!({protocol: {"destinationPort": {"number": dice.pick(&PORTS)}}}),
    }
}
