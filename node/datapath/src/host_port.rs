//! Ports of the node that lead to its own pods.
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU16;
use std::sync::Arc;

use abi::{Addr, Be16, ServiceKey};

use crate::address::addr;
use crate::desired::{BackendKey, Frontend, Part, PortName, Spread};
use crate::state::{Protocol, ServiceName};

/// A `hostPort` of a pod of this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPort {
    /// `namespace/name`.
    pub pod: String,
    /// The one address of the node that has the port; `None`: all of the pod's family.
    pub ip: Option<IpAddr>,
    pub protocol: Protocol,
    pub port: NonZeroU16,
    /// Where the pod listens.
    pub target: SocketAddr,
}

/// What pods ask for with their ports, under a name for each pod. A Service keeps what it has, as with kube-proxy's rules before those of
/// a port-mapping plugin: no namespace begins with `~`, which sorts behind all of them. Of two pods the first by name has a port.
pub(crate) fn parts(ports: &[HostPort]) -> BTreeMap<ServiceName, Part> {
    let mut parts: BTreeMap<ServiceName, Part> = BTreeMap::new();
    for port in ports {
        let Some(key) = frontend_key(port) else { continue };
        let service = ServiceName { namespace: "~".into(), name: format!("hostPort of {}", port.pod).into() };
        let part = parts.entry(service.clone()).or_default();
        let proto = port.protocol.number();
        let backend = BackendKey { addr: addr(port.target.ip()), port: Be16::new(port.target.port()), proto };
        // The pod may be a Service's backend as well, and draining there; that is not for its own port to say.
        part.backends.insert(backend, abi::BACKEND_LOCAL);
        let backends = [backend].into();
        let frontend = Frontend {
            backends,
            spread: Spread::Even,
            affinity_s: 0,
            flags: abi::SERVICE_LOCAL,
            sources: Arc::default(),
        };
        let name = PortName { service, protocol: port.protocol, port: port.port };
        match part.frontends.entry(key) {
            Entry::Vacant(place) => _ = place.insert((name, frontend)),
            Entry::Occupied(_) => part.conflicts.push(key),
        }
    }
    parts
}

/// `None` if the address is of another family than the pod's. A loopback address has the scope of NodePorts, in which packets look up
/// no single address: it is for the socket hooks of the node's own processes, and not for what comes by wire.
fn frontend_key(port: &HostPort) -> Option<ServiceKey> {
    let target = addr(port.target.ip());
    let (addr, scope) = match port.ip.filter(|ip| !ip.is_unspecified()) {
        None => (Addr::any_like(&target), abi::SCOPE_NODE_PORT),
        Some(ip) if ip.is_ipv4() != port.target.is_ipv4() => return None,
        Some(ip) if ip.is_loopback() => (addr(ip), abi::SCOPE_NODE_PORT),
        Some(ip) => (addr(ip), abi::SCOPE_CLUSTER),
    };
    Some(ServiceKey { addr, port: Be16::new(port.port.get()), proto: port.protocol.number(), scope })
}
