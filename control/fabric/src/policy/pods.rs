//! What policies see of each pod, and of each node where they name nodes.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use api::Key;
use cache::selector::{Labels, matches};
use cache::{Kind, Object, View};
use imbl::OrdMap;
use serde::Deserialize;

use super::rules::{Rules, Whom, protocol};

/// The cluster's DNS is served by each node, but policies know it as these pods.
const DNS_NAMESPACE: &str = "kube-system";
const DNS_NAME: &str = "kube-dns";
const DNS_PORTS: [(&str, u8, u16); 2] = [("dns", 17, 53), ("dns-tcp", 6, 53)];

/// What matters of a pod, and what it matches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    pub uid: String,
    /// Where it is bound, empty if nowhere.
    pub node: String,
    /// Its own addresses; none if it is over.
    pub ips: Vec<IpAddr>,
    /// It is the nodes' DNS server.
    pub is_dns: bool,
    pub is_terminating: bool,
    /// Name, protocol and number of its ports that have names, sorted.
    pub ports: Vec<(String, u8, u16)>,
    /// The terms that it matches, in order.
    pub terms: Vec<usize>,
    /// The policies that select it, in order.
    pub policies: Vec<usize>,
    /// The policies of the tiers that select it, in order.
    pub tiers: Vec<usize>,
}

/// What of a pod or a namespace is read.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Part {
    metadata: Meta,
    spec: Spec,
    status: Status,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Meta {
    uid: Option<String>,
    labels: Option<Labels>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Spec {
    node_name: Option<String>,
    host_network: Option<bool>,
    containers: Option<Vec<Container>>,
    /// Sidecars are init containers that stay.
    init_containers: Option<Vec<Container>>,
}

#[derive(Deserialize)]
struct Container {
    ports: Option<Vec<Port>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Port {
    name: Option<String>,
    protocol: Option<String>,
    container_port: i32,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Status {
    /// A node's.
    addresses: Option<Vec<Address>>,
    #[serde(rename = "podIP")]
    pod_ip: Option<String>,
    #[serde(rename = "podIPs")]
    pod_ips: Option<Vec<PodIp>>,
}

#[derive(Deserialize)]
struct Address {
    address: String,
}

#[derive(Deserialize)]
struct PodIp {
    ip: Option<String>,
}

/// Labels of each namespace, read once.
pub type Homes = BTreeMap<String, Labels>;

/// Reads a namespace's labels into [`Homes`].
pub fn home<'a>(homes: &'a mut Homes, view: &View, namespace: &str) -> &'a Labels {
    homes.entry(namespace.to_owned()).or_insert_with(|| {
        let object = view.object(Kind::Namespace, &Key::new("", namespace));
        object.and_then(Object::part::<Part>).and_then(|part| part.metadata.labels).unwrap_or_default()
    })
}

/// Of every pod that has an interface of its own, and of the cluster's DNS.
pub fn all(view: &View, rules: &Rules) -> OrdMap<Key, Arc<Facts>> {
    let mut homes = Homes::new();
    let mut all: OrdMap<Key, Arc<Facts>> = view
        .tables
        .all(Kind::Pod)
        .filter_map(|pod| Some((pod.key(), Arc::new(facts(pod, home(&mut homes, view, pod.namespace()), rules)?))))
        .collect();
    let labels = Labels::from([("k8s-app".to_owned(), DNS_NAME.to_owned())]);
    let dns = Facts {
        is_dns: true,
        ports: DNS_PORTS.iter().map(|(name, protocol, port)| ((*name).to_owned(), *protocol, *port)).collect(),
        terms: terms(rules, DNS_NAMESPACE, home(&mut homes, view, DNS_NAMESPACE), Some(&labels)),
        ..Facts::default()
    };
    // No pod has an empty name.
    all.insert(Key::new(DNS_NAMESPACE, ""), Arc::new(dns));
    if rules.name_nodes() {
        let nodes = view.tables.all(Kind::Node);
        all.extend(nodes.filter_map(|node| Some((node.key(), Arc::new(node_facts(node, rules)?)))));
    }
    all
}

/// Of one node, as a peer; `None` if no rule names nodes. No pod has its key, which has no namespace.
pub fn node_facts(node: &Object, rules: &Rules) -> Option<Facts> {
    if !rules.name_nodes() {
        return None;
    }
    let Part { metadata, status, .. } = node.part()?;
    let labels = metadata.labels.as_ref();
    let terms = rules.terms.iter().enumerate().filter(|(_, term)| match &term.whom {
        Whom::Nodes(selector) => matches(selector, labels),
        Whom::Pods(_) => false,
    });
    let addresses = status.addresses.iter().flatten();
    let mut ips: Vec<IpAddr> = addresses.filter_map(|address| address.address.parse().ok()).collect();
    ips.sort();
    ips.dedup();
    Some(Facts { ips, terms: terms.map(|(index, _)| index).collect(), ..Facts::default() })
}

/// Of one pod; `None` if it uses its node's network, which no policy governs. `home`: its namespace's labels.
pub fn facts(pod: &Object, home: &Labels, rules: &Rules) -> Option<Facts> {
    let Part { metadata, spec, status } = pod.part()?;
    if spec.host_network == Some(true) {
        return None;
    }
    let (namespace, labels) = (pod.namespace(), metadata.labels.as_ref());
    let selected = rules.policies.iter().enumerate();
    let selected = selected.filter(|(_, policy)| policy.namespace == namespace && matches(&policy.pods, labels));
    let tiers = rules.tiers.iter().enumerate();
    let tiers = tiers.filter(|(_, policy)| policy.subject.matches(namespace, Some(home), labels));
    Some(Facts {
        uid: metadata.uid.unwrap_or_default(),
        terms: terms(rules, namespace, home, labels),
        policies: selected.map(|(index, _)| index).collect(),
        tiers: tiers.map(|(index, _)| index).collect(),
        // The address of a pod that is over may be another pod's by now.
        ips: if pod.is_terminal() { Vec::new() } else { ips(&status) },
        is_dns: false,
        is_terminating: pod.is_deleting(),
        ports: ports(&spec),
        node: spec.node_name.unwrap_or_default(),
    })
}

fn terms(rules: &Rules, namespace: &str, home: &Labels, labels: Option<&Labels>) -> Vec<usize> {
    let matching = rules.terms.iter().enumerate().filter(|(_, term)| match &term.whom {
        Whom::Pods(pods) => pods.matches(namespace, Some(home), labels),
        Whom::Nodes(_) => false,
    });
    matching.map(|(index, _)| index).collect()
}

fn ips(status: &Status) -> Vec<IpAddr> {
    let many = status.pod_ips.iter().flatten().filter_map(|one| one.ip.as_deref());
    let mut ips: Vec<IpAddr> = many.chain(status.pod_ip.as_deref()).filter_map(|ip| ip.parse().ok()).collect();
    ips.sort();
    ips.dedup();
    ips
}

fn ports(spec: &Spec) -> Vec<(String, u8, u16)> {
    let containers = spec.containers.iter().chain(&spec.init_containers).flatten();
    let named = containers.flat_map(|container| container.ports.iter().flatten()).filter_map(|port| {
        let name = port.name.clone().filter(|name| !name.is_empty())?;
        Some((name, protocol(port.protocol.as_deref())?, u16::try_from(port.container_port).ok()?))
    });
    let mut ports: Vec<_> = named.collect();
    ports.sort();
    ports.dedup();
    ports
}
