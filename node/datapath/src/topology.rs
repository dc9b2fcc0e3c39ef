//! Which of a Service's endpoints take the new connections of this node, by kube-proxy's rules.
use std::collections::BTreeMap;

use abi::Be16;

use crate::address::addr;
use crate::desired::BackendKey;
use crate::state::{Endpoint, EndpointState, Port, Reach, Service};

/// Where this node is.
#[derive(Clone, Copy, Debug)]
pub struct Here<'a> {
    pub node: &'a str,
    /// Empty if it has none.
    pub zone: &'a str,
}

/// An IP version: packets of one go to backends of the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    V4,
    V6,
}

/// Backends for new connections: the ready endpoints within reach that hints leave, or if there are none the draining ones
/// (KEP-1669: terminating endpoints serve when nothing else does). Hints say nothing about the endpoints of one node, nor about
/// what is draining. Endpoints of weight 0 take none while another has a weight.
pub fn choose(service: &Service, port: &Port, reach: Reach, family: Family, here: Here<'_>) -> Vec<(BackendKey, u32)> {
    let within = |endpoint: &&Endpoint| match reach {
        Reach::Cluster => true,
        Reach::Local => endpoint.node == here.node,
    };
    let in_state = |state: EndpointState| -> Vec<(&Endpoint, BackendKey)> {
        let endpoints = service.endpoints.iter().filter(|endpoint| endpoint.state == state && is_of(endpoint, family));
        endpoints.filter(within).filter_map(|endpoint| Some((endpoint, backend_key(endpoint, port)?))).collect()
    };
    let mut chosen = in_state(EndpointState::Ready);
    if reach == Reach::Cluster {
        keep_near(&mut chosen, here);
    }
    if chosen.is_empty() {
        chosen = in_state(EndpointState::Draining);
    }
    let mut weights: BTreeMap<BackendKey, u32> = BTreeMap::new();
    for (endpoint, key) in chosen {
        let weight = weights.entry(key).or_default();
        *weight = endpoint.weight.max(*weight);
    }
    if weights.values().any(|weight| *weight > 0) {
        weights.retain(|_, weight| *weight > 0);
    }
    weights.into_iter().collect()
}

/// Keeps the endpoints for this node, else those for its zone (KEP-2433, KEP-3015). Hints count only if every ready endpoint has
/// them, and if they leave one.
fn keep_near(ready: &mut Vec<(&Endpoint, BackendKey)>, here: Here<'_>) {
    let for_node = |endpoint: &Endpoint| endpoint.nodes.iter().any(|node| node == here.node);
    let for_zone = |endpoint: &Endpoint| !here.zone.is_empty() && endpoint.zones.iter().any(|zone| zone == here.zone);
    let all = |is_hinted: fn(&Endpoint) -> bool| ready.iter().all(|(endpoint, _)| is_hinted(endpoint));
    if all(|endpoint| !endpoint.nodes.is_empty()) && ready.iter().any(|(endpoint, _)| for_node(endpoint)) {
        ready.retain(|(endpoint, _)| for_node(endpoint));
    } else if all(|endpoint| !endpoint.zones.is_empty()) && ready.iter().any(|(endpoint, _)| for_zone(endpoint)) {
        ready.retain(|(endpoint, _)| for_zone(endpoint));
    }
}

fn is_of(endpoint: &Endpoint, family: Family) -> bool {
    endpoint.ip.is_ipv4() == (family == Family::V4)
}

/// The backend that an endpoint is for a port; `None` if it does not serve it.
pub fn backend_key(endpoint: &Endpoint, port: &Port) -> Option<BackendKey> {
    let number = endpoint.ports.get(&(port.name.clone(), port.protocol))?;
    Some(BackendKey { addr: addr(endpoint.ip), port: Be16::new(number.get()), proto: port.protocol.number() })
}
