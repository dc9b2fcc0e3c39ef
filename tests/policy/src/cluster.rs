//! Random clusters: namespaces, pods on two nodes, policies of every sort, and what may happen to them.

mod tiers;

use std::net::IpAddr;

use api::Revision;
use cache::{Kind, Object, View};
use packet::host::Dice;
use serde_json::{Value, json};

const NAMESPACES: [&str; 3] = ["alpha", "beta", "gamma"];
const VALUES: [&str; 3] = ["a", "b", "c"];
const NAMES: [&str; 2] = ["web", "dns"];
/// The node that the packets are looked at on, and another one.
pub const HERE: &str = "n1";
const THERE: &str = "n2";
/// Addresses that are no pod's: outside, in a pod range but unknown, a node's.
pub const STRANGERS: [&str; 6] =
    ["203.0.113.9", "198.51.100.1", "10.244.2.200", "192.0.2.2", "2001:db8:ffff::9", "fd00:2::99"];
/// Ports that attempts are made to.
pub const PORTS: [u16; 6] = [53, 80, 81, 90, 8080, 30_000];

/// A cluster as its objects.
#[derive(Clone, Debug)]
pub struct Cluster {
    pub objects: Vec<Value>,
    pods: usize,
    policies: usize,
}

impl Cluster {
    /// Namespaces, nodes, pods, policies.
    pub fn draw(dice: &mut Dice) -> Cluster {
        let mut cluster = Cluster { objects: Vec::new(), pods: 0, policies: 0 };
        for name in NAMESPACES {
            cluster.objects.push(json!({
                "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels(dice)}
            }));
        }
        for (node, cidr, ip) in [(HERE, "10.244.1.0/24", "192.0.2.1"), (THERE, "10.244.2.0/24", "192.0.2.2")] {
            cluster.objects.push(json!({
                "apiVersion": "v1", "kind": "Node", "metadata": {"name": node, "labels": labels(dice)}, "spec": {"podCIDR": cidr},
                "status": {"addresses": [{"type": "InternalIP", "address": ip}, {"type": "Hostname", "address": node}]},
            }));
        }
        (0..3 + dice.below(6)).for_each(|_| cluster.add_pod(dice));
        (0..dice.below(6)).for_each(|_| cluster.add_policy(dice));
        if dice.once_in(2) {
            (0..1 + dice.below(4)).for_each(|_| cluster.add_tier(dice));
        }
        cluster
    }

    /// One thing changes.
    pub fn change(&mut self, dice: &mut Dice) {
        let tiers = self.objects.iter().any(|object| tiers::KINDS.iter().any(|kind| object["kind"] == *kind));
        match dice.below(if tiers { 9 } else { 6 }) {
            0 => self.add_pod(dice),
            6 => self.add_tier(dice),
            7 => {
                let kind = dice.pick(&tiers::KINDS);
                self.remove(kind, dice);
            }
            1 => self.add_policy(dice),
            2 => self.remove("Pod", dice),
            3 => self.remove("NetworkPolicy", dice),
            n => {
                let kind = match n {
                    4 => "Pod",
                    5 => "Namespace",
                    _ => "Node",
                };
                if let Some(at) = self.any(kind, dice) {
                    self.objects[at]["metadata"]["labels"] = labels(dice);
                }
            }
        }
    }

    fn any(&self, kind: &str, dice: &mut Dice) -> Option<usize> {
        let all: Vec<usize> = (0..self.objects.len()).filter(|i| self.objects[*i]["kind"] == kind).collect();
        if all.is_empty() { None } else { Some(dice.pick(&all)) }
    }

    fn remove(&mut self, kind: &str, dice: &mut Dice) {
        if let Some(at) = self.any(kind, dice) {
            self.objects.remove(at);
        }
    }

    fn add_pod(&mut self, dice: &mut Dice) {
        self.pods += 1;
        let n = self.pods + 1;
        let (node, range) = dice.pick(&[(HERE, 1), (THERE, 2)]);
        let ips = json!([{"ip": format!("10.244.{range}.{n}")}, {"ip": format!("fd00:{range}::{n:x}")}]);
        let mut ports = Vec::new();
        for name in NAMES {
            if dice.once_in(2) {
                let protocol = if name == "dns" { "UDP" } else { "TCP" };
                ports.push(json!({"name": name, "protocol": protocol, "containerPort": dice.pick(&PORTS)}));
            }
        }
        // A pod that has no address yet is nobody's peer.
        let status = if dice.once_in(10) { json!({}) } else { json!({"phase": "Running", "podIPs": ips}) };
        self.objects.push(json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": format!("p{n}"), "namespace": dice.pick(&NAMESPACES), "uid": format!("u{n}"), "labels": labels(dice)},
            "spec": {"nodeName": node, "containers": [{"name": "c", "ports": ports}]},
            "status": status,
        }));
    }

    fn add_policy(&mut self, dice: &mut Dice) {
        self.policies += 1;
        let types = dice.pick(&[&["Ingress"][..], &["Egress"][..], &["Ingress", "Egress"][..]]);
        let mut spec = json!({"podSelector": selector(dice), "policyTypes": types});
        for (kind, rules, peers) in [("Ingress", "ingress", "from"), ("Egress", "egress", "to")] {
            if types.contains(&kind) {
                let list: Vec<Value> = (0..dice.below(3)).map(|_| self.rule(peers, dice)).collect();
                spec[rules] = list.into();
            }
        }
        self.objects.push(json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
            "metadata": {"name": format!("n{}", self.policies), "namespace": dice.pick(&NAMESPACES)}, "spec": spec,
        }));
    }

    fn rule(&self, peers: &str, dice: &mut Dice) -> Value {
        let mut rule = json!({});
        if !dice.once_in(4) {
            let list: Vec<Value> = (0..1 + dice.below(3)).map(|_| self.peer(dice)).collect();
            rule[peers] = list.into();
        }
        if !dice.once_in(3) {
            let list: Vec<Value> = (0..1 + dice.below(3)).map(|_| port(dice)).collect();
            rule["ports"] = list.into();
        }
        rule
    }

    fn peer(&self, dice: &mut Dice) -> Value {
        match dice.below(5) {
            0 => json!({"podSelector": selector(dice)}),
            1 => json!({"namespaceSelector": selector(dice)}),
            2 => json!({"namespaceSelector": selector(dice), "podSelector": selector(dice)}),
            _ => {
                let (cidr, except) = dice.pick(&[
                    ("0.0.0.0/0", "10.244.0.0/16"),
                    ("10.244.0.0/16", "10.244.1.0/24"),
                    ("10.244.1.0/24", "10.244.1.2/31"),
                    ("10.244.2.3/32", ""),
                    ("203.0.113.0/24", "203.0.113.8/29"),
                    ("192.0.2.0/24", ""),
                    ("::/0", "fd00:1::/64"),
                    ("fd00:2::/64", "fd00:2::4/126"),
                ]);
                let except: Vec<&str> = [except].into_iter().filter(|e| !e.is_empty() && !dice.once_in(2)).collect();
                json!({"ipBlock": {"cidr": cidr, "except": except}})
            }
        }
    }

    /// The View of it, in which what is as in an earlier one is shared.
    pub fn view(&self, revision: u64, earlier: Option<(&View, &Cluster)>) -> View {
        let (mut view, before) = match earlier {
            Some((view, cluster)) => (view.clone(), cluster.objects.as_slice()),
            None => (View::default(), [].as_slice()),
        };
        let name = |object: &Value| {
            (object["kind"].clone(), object["metadata"]["namespace"].clone(), object["metadata"]["name"].clone())
        };
        for gone in before.iter().filter(|old| !self.objects.iter().any(|new| name(new) == name(old))) {
            let text = |field: &Value| field.as_str().unwrap_or_default().to_owned();
            let (kind, namespace, name) = name(gone);
            let kind =
                Kind::from_api_version(&text(&gone["apiVersion"]), &text(&kind)).expect("the View holds the kind");
            view.remove(kind, &api::Key::new(&text(&namespace), &text(&name)));
        }
        for object in self.objects.iter().filter(|object| !before.contains(object)) {
            let text = |field: &str| object[field].as_str().expect("a text");
            let kind = Kind::from_api_version(text("apiVersion"), text("kind")).expect("the View holds the kind");
            let bytes = object.to_string();
            view.insert(Object::decode(kind, bytes.as_bytes(), Revision(revision)).expect("an object"));
        }
        view.revision = Revision(revision);
        view
    }

    /// Pods with their addresses of one family.
    pub fn pods(&self, v4: bool) -> Vec<(&Value, IpAddr)> {
        let pods = self.objects.iter().filter(|object| object["kind"] == "Pod");
        pods.filter_map(|pod| {
            let ips = pod["status"]["podIPs"].as_array()?;
            let ips = ips.iter().map(|ip| ip["ip"].as_str().expect("a text").parse::<IpAddr>().expect("an address"));
            Some((pod, ips.into_iter().find(|ip| ip.is_ipv4() == v4)?))
        })
        .collect()
    }
}

fn labels(dice: &mut Dice) -> Value {
    let mut labels = json!({});
    for key in ["app", "tier"] {
        if !dice.once_in(4) {
            labels[key] = dice.pick(&VALUES).into();
        }
    }
    labels
}

fn selector(dice: &mut Dice) -> Value {
    match dice.below(5) {
        0 => json!({}),
        1 => json!({"matchLabels": {"tier": dice.pick(&VALUES)}}),
        2 => json!({"matchExpressions": [{"key": "app", "operator": dice.pick(&["Exists", "DoesNotExist"])}]}),
        3 => {
            let operator = dice.pick(&["In", "NotIn"]);
            json!({"matchExpressions": [{"key": "tier", "operator": operator, "values": [dice.pick(&VALUES), "x"]}]})
        }
        _ => json!({"matchLabels": {"app": dice.pick(&VALUES)}}),
    }
}

fn port(dice: &mut Dice) -> Value {
    let protocol = dice.pick(&["TCP", "TCP", "UDP", "SCTP"]);
    match dice.below(4) {
        0 => json!({"protocol": protocol}),
        1 => json!({"protocol": protocol, "port": dice.pick(&NAMES)}),
        2 => json!({"protocol": protocol, "port": dice.pick(&[53, 79, 80]), "endPort": dice.pick(&[80, 90, 8080])}),
        _ => json!({"protocol": protocol, "port": dice.pick(&PORTS)}),
    }
}
