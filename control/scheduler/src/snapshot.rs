//! Nodes and their load, kept up to date change by change, with the pods that are assumed to be bound.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use api::Key;
use cache::{Change, Kind, Object, Uid, View};
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::resources::{self, Resources};

/// A port of the node that a pod takes: address, protocol, number.
pub type HostPort = (String, String, i32);

/// A node with what its pods ask of it.
#[derive(Clone, Debug, Default)]
pub struct NodeLoad {
    /// The node, as far as decisions read it; `None` while pods are bound to a node that is not there.
    pub node: Option<Arc<Node>>,
    /// What its pods may ask for in all; `pods` among it.
    pub allocatable: Resources,
    /// What its pods ask for.
    pub requested: Resources,
    /// The same, with assumed amounts for pods that ask for none.
    pub assumed: Resources,
    /// The ports its pods take, each with how many take it.
    pub ports: BTreeMap<HostPort, usize>,
    /// How many pods of each controller (by uid) it has.
    pub replicas: BTreeMap<String, usize>,
    /// How many pods it has.
    pub pods: i64,
}

/// One pod on its node.
#[derive(Clone, Debug)]
struct Share {
    node: Arc<str>,
    uid: Uid,
    asks: Arc<Asks>,
}

/// What a pod takes from its node. Replicas take the same, and share it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Asks {
    requested: Resources,
    assumed: Resources,
    ports: Vec<HostPort>,
    controller: Option<String>,
}

/// Every node with its load.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    nodes: BTreeMap<Arc<str>, NodeLoad>,
    /// By the pod's key as text.
    shares: BTreeMap<Box<str>, Share>,
    asks: BTreeSet<Arc<Asks>>,
}

impl Snapshot {
    /// The snapshot of a whole View.
    pub fn of(view: &View) -> Snapshot {
        let mut snapshot = Snapshot::default();
        for change in view.changes_since(&View::default()) {
            snapshot.apply(&change);
        }
        snapshot
    }

    /// Follows one change of the View.
    pub fn apply(&mut self, change: &Change) {
        match (change.kind, &change.old, &change.new) {
            (Kind::Node, _, Some(node)) => {
                if let Some(node) = node.typed() {
                    self.set_node(&change.key.name, &node);
                }
            }
            (Kind::Node, Some(_), None) => self.remove_node(&change.key.name),
            (Kind::Pod, _, Some(pod)) => self.see_pod(&change.key, pod),
            (Kind::Pod, Some(pod), None) => {
                // An assumed pod of the same name but another uid is a later one.
                if self.share(&change.key).is_some_and(|share| share.uid == *pod.uid()) {
                    self.release(&change.key);
                }
            }
            _ => {}
        }
    }

    /// Counts a pod as bound to a node before the View shows it.
    pub fn assume(&mut self, pod: &Pod, node: &str) {
        let key = cache::key_of(&pod.metadata);
        self.release(&key);
        self.take(&key, pod, node);
    }

    /// Takes back an assumption: the pod could not be bound.
    pub fn forget(&mut self, key: &Key) {
        self.release(key);
    }

    /// The nodes that exist, by name.
    pub fn nodes(&self) -> impl Iterator<Item = (&str, &Arc<Node>, &NodeLoad)> {
        self.nodes.iter().filter_map(|(name, load)| Some((name.as_ref(), load.node.as_ref()?, load)))
    }

    fn share(&self, key: &Key) -> Option<&Share> {
        self.shares.get(key.to_string().as_str())
    }

    fn set_node(&mut self, name: &str, node: &Node) {
        let load = self.nodes.entry(Arc::from(name)).or_default();
        let status = node.status.as_ref();
        let amounts = status.and_then(|status| status.allocatable.as_ref().or(status.capacity.as_ref()));
        load.allocatable = Resources::of(amounts);
        load.node = Some(Arc::new(decisive(node)));
    }

    fn remove_node(&mut self, name: &str) {
        if let Some(load) = self.nodes.get_mut(name) {
            load.node = None;
            load.allocatable = Resources::default();
            self.drop_if_bare(name);
        }
    }

    fn see_pod(&mut self, key: &Key, pod: &Object) {
        match pod.node() {
            Some(node) if !pod.is_terminal() => {
                self.release(key);
                if let Some(pod) = pod.typed::<Pod>() {
                    self.take(key, &pod, node);
                }
            }
            Some(_) => self.release(key),
            // Not bound in the View: an assumption for this very pod stands, one for a former pod does not.
            None if self.share(key).is_some_and(|share| share.uid != *pod.uid()) => self.release(key),
            None => {}
        }
    }

    fn take(&mut self, key: &Key, pod: &Pod, node: &str) {
        let asks = Arc::new(asks(pod));
        let asks = self.asks.get(&asks).cloned().unwrap_or(asks);
        self.asks.insert(asks.clone());
        let node = self.nodes.get_key_value(node).map_or_else(|| Arc::from(node), |(known, _)| known.clone());
        let load = self.nodes.entry(node.clone()).or_default();
        load.requested += &asks.requested;
        load.assumed += &asks.assumed;
        load.pods += 1;
        for port in &asks.ports {
            *load.ports.entry(port.clone()).or_default() += 1;
        }
        if let Some(controller) = &asks.controller {
            *load.replicas.entry(controller.clone()).or_default() += 1;
        }
        let uid = Uid::of(pod.metadata.uid.as_deref().unwrap_or_default());
        self.shares.insert(key.to_string().into(), Share { node, uid, asks });
    }

    fn release(&mut self, key: &Key) {
        let Some(Share { node, asks, .. }) = self.shares.remove(key.to_string().as_str()) else { return };
        let load = self.nodes.get_mut(&node).expect("a share's node has a load");
        load.requested -= &asks.requested;
        load.assumed -= &asks.assumed;
        load.pods -= 1;
        for port in &asks.ports {
            decrement(&mut load.ports, port);
        }
        if let Some(controller) = &asks.controller {
            decrement(&mut load.replicas, controller);
        }
        // The set's own, and this one.
        if Arc::strong_count(&asks) == 2 {
            self.asks.remove(&asks);
        }
        self.drop_if_bare(&node);
    }

    fn drop_if_bare(&mut self, name: &str) {
        if self.nodes.get(name).is_some_and(|load| load.node.is_none() && load.pods == 0) {
            self.nodes.remove(name);
        }
    }
}

fn decrement<K: Ord>(counts: &mut BTreeMap<K, usize>, key: &K) {
    let Some(count) = counts.get_mut(key) else { return };
    *count -= 1;
    if *count == 0 {
        counts.remove(key);
    }
}

/// What decisions read of a node. Its status is most of it, and read by then.
fn decisive(node: &Node) -> Node {
    let ObjectMeta { name, labels, .. } = node.metadata.clone();
    Node { metadata: ObjectMeta { name, labels, ..ObjectMeta::default() }, spec: node.spec.clone(), status: None }
}

fn asks(pod: &Pod) -> Asks {
    Asks {
        requested: resources::requests(pod),
        assumed: resources::assumed_requests(pod),
        ports: host_ports(pod),
        controller: controller(pod),
    }
}

/// The ports of the node that a pod takes.
pub fn host_ports(pod: &Pod) -> Vec<HostPort> {
    let Some(spec) = &pod.spec else { return Vec::new() };
    let sidecars =
        spec.init_containers.iter().flatten().filter(|init| init.restart_policy.as_deref() == Some("Always"));
    let ports = spec.containers.iter().chain(sidecars).flat_map(|container| container.ports.iter().flatten());
    ports
        .filter_map(|port| {
            // On the host network every container port is a port of the host.
            let number = port.host_port.or((spec.host_network == Some(true)).then_some(port.container_port));
            let number = number.filter(|number| *number != 0)?;
            let ip = port.host_ip.clone().filter(|ip| !ip.is_empty()).unwrap_or_else(|| "0.0.0.0".to_owned());
            Some((ip, port.protocol.clone().unwrap_or_else(|| "TCP".to_owned()), number))
        })
        .collect()
}

/// The uid of the pod's controller: pods of one controller are replicas of each other.
pub fn controller(pod: &Pod) -> Option<String> {
    let owners = pod.metadata.owner_references.iter().flatten();
    owners.filter(|owner| owner.controller == Some(true)).map(|owner| owner.uid.clone()).next()
}
