//! What the tables should hold, without node-local numbers: a function of the fabric's state and the node's own facts.
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU16;
use std::sync::Arc;

use abi::{Addr, Be16, RouteKey, RouteValue, ServiceKey, SourceKey};
use ipnet::IpNet;

use crate::address::{addr, route_key, source_key};
use crate::compiler::Compiler;
use crate::host_port::HostPort;
use crate::maglev;
use crate::state::{Algorithm, EndpointState, Port, Protocol, Reach, Service, ServiceName, State};
use crate::topology::{Family, Here, backend_key, choose};

/// What a node knows of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Local {
    pub node_name: String,
    /// The network between the nodes carries pods' addresses: no tunnel to nodes that say the same.
    pub native: bool,
    /// Addresses of this node, the one that masquerades first.
    pub addresses: Vec<IpAddr>,
    /// Pod ranges of this node, as far as it knows them; the fabric's record of the node adds to them.
    pub pod_cidrs: Vec<IpNet>,
    pub service_cidrs: Vec<IpNet>,
    /// Ports of the node that lead to its pods.
    pub host_ports: Vec<HostPort>,
    /// The DNS servers of the node: one a family that it serves.
    pub dns: Vec<Dns>,
    /// Written as it is, but for [`abi::Config::pods6`], which follows from the ranges.
    pub config: abi::Config,
}

/// The cluster's DNS address is answered on the node itself, by UDP and TCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dns {
    pub service: SocketAddr,
    pub server: SocketAddr,
}

/// Tables that should stand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Desired {
    pub config: abi::Config,
    pub ports: BTreeMap<PortName, DesiredPort>,
    /// Every backend with its `BACKEND_*` bits, also those that take no new connections.
    pub backends: BTreeMap<BackendKey, u8>,
    pub routes: BTreeMap<RouteKey, RouteValue>,
    /// Who may come in by the frontends that have `SERVICE_RANGES`.
    pub sources: BTreeSet<SourceKey>,
}

/// One port of one Service: the unit that has a number and session affinity.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PortName {
    pub service: ServiceName,
    pub protocol: Protocol,
    pub port: NonZeroU16,
}

/// The frontends of a port.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DesiredPort {
    pub frontends: BTreeMap<ServiceKey, Frontend>,
}

/// Where one address and port leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frontend {
    /// Backends that take new connections, sorted; empty: reject.
    pub backends: Arc<[BackendKey]>,
    pub spread: Spread,
    pub affinity_s: u32,
    /// `SERVICE_*` bits.
    pub flags: u32,
    /// With `SERVICE_RANGES`, who may come in.
    pub sources: Arc<[SourceKey]>,
}

/// Which slots backends have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Spread {
    /// One each.
    #[default]
    Even,
    /// Those of a Maglev ring of so many slots, by these weights, one a backend.
    Ring { size: u32, weights: Arc<[u32]> },
}

/// A backend as packets see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BackendKey {
    pub addr: Addr,
    pub port: Be16,
    pub proto: u8,
}

/// A frontend that a Service does not get because another has it: the first by name does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    pub key: ServiceKey,
    pub service: ServiceName,
}

/// Compiles the tables of one node from the beginning.
pub fn compile(state: &State, local: &Local) -> Desired {
    Compiler::new(local.clone(), state.clone()).into_desired()
}

/// What one Service asks for, whatever others ask for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Part {
    pub frontends: BTreeMap<ServiceKey, (PortName, Frontend)>,
    /// Every backend with its `BACKEND_*` bits.
    pub backends: BTreeMap<BackendKey, u8>,
    /// Frontends that two ports of the Service claim; the first has them.
    pub conflicts: Vec<ServiceKey>,
}

/// Compiles one Service, as seen from here.
pub(crate) fn part(name: &ServiceName, service: &Service, here: Here<'_>) -> Part {
    let mut part = Part::default();
    for port in &service.ports {
        compile_port(name, service, port, here, &mut part);
    }
    part
}

/// Session affinity, policies and the address decide a frontend; the endpoints decide its backends.
fn compile_port(name: &ServiceName, service: &Service, port: &Port, here: Here<'_>, part: &mut Part) {
    let proto = port.protocol.number();
    for endpoint in &service.endpoints {
        let Some(key) = backend_key(endpoint, port) else { continue };
        let flags = match endpoint.state {
            EndpointState::Ready => abi::BACKEND_ALIVE,
            EndpointState::Draining => abi::BACKEND_ALIVE | abi::BACKEND_DRAINING,
            EndpointState::NotReady => continue,
        };
        let place = if endpoint.node == here.node { abi::BACKEND_LOCAL } else { 0 };
        let entry = part.backends.entry(key).or_insert(flags | place);
        // Ready once is ready: only new flows care, and the slots decide those.
        if flags & abi::BACKEND_DRAINING == 0 {
            *entry &= !abi::BACKEND_DRAINING;
        }
        *entry |= place;
    }
    let key = |ip: Addr, port: NonZeroU16, scope| ServiceKey { addr: ip, port: Be16::new(port.get()), proto, scope };
    let mut frontends: Vec<(ServiceKey, Frontend)> = Vec::new();
    for family in [Family::V4, Family::V6] {
        let of_family = |ip: &&IpAddr| ip.is_ipv4() == (family == Family::V4);
        let frontend = |reach, flags| {
            let chosen = choose(service, port, reach, family, here);
            // Clients are remembered for the whole port, of which another frontend may have more backends.
            let near = if service.affinity_s != 0 && reach == Reach::Local { abi::SERVICE_NEAR } else { 0 };
            Frontend {
                spread: spread(service, &chosen),
                backends: chosen.into_iter().map(|(key, _)| key).collect(),
                affinity_s: service.affinity_s,
                flags: flags | near | algorithm_flag(service.algorithm),
                sources: Arc::default(),
            }
        };
        let flags = match service.external {
            Reach::Local => abi::SERVICE_LOCAL,
            Reach::Cluster => 0,
        };
        for ip in service.cluster_ips.iter().filter(of_family) {
            frontends.push((key(addr(*ip), port.port, abi::SCOPE_CLUSTER), frontend(service.internal, 0)));
            if let Some(node_port) = port.node_port {
                let any = Addr::any_like(&addr(*ip));
                frontends.push((key(any, node_port, abi::SCOPE_NODE_PORT), frontend(service.external, flags)));
            }
        }
        for ip in service.external_ips.iter().filter(of_family) {
            // From inside, an external address reaches all endpoints whatever the external policy says.
            frontends.push((key(addr(*ip), port.port, abi::SCOPE_CLUSTER), frontend(Reach::Cluster, 0)));
            let key = key(addr(*ip), port.port, abi::SCOPE_EXTERNAL);
            let sources: Arc<[SourceKey]> = service.sources(*ip).map(|net| source_key(key, net)).collect();
            let ranges = if sources.is_empty() { 0 } else { abi::SERVICE_RANGES };
            if flags | ranges != 0 {
                frontends.push((key, Frontend { sources, ..frontend(service.external, flags | ranges) }));
            }
        }
    }
    let port_name = PortName { service: name.clone(), protocol: port.protocol, port: port.port };
    for (key, frontend) in frontends {
        match part.frontends.get(&key) {
            None => _ = part.frontends.insert(key, (port_name.clone(), frontend)),
            Some((other, _)) if *other == port_name => {}
            Some(_) => part.conflicts.push(key),
        }
    }
}

/// Unequal weights are shares of a ring, whatever the algorithm.
fn spread(service: &Service, chosen: &[(BackendKey, u32)]) -> Spread {
    let equal = chosen.iter().all(|(_, weight)| *weight == chosen[0].1);
    if chosen.len() < 2 || equal && service.algorithm != Algorithm::Maglev {
        return Spread::Even;
    }
    let size = if service.ring_size == 0 { maglev::default_size(chosen.len()) } else { service.ring_size };
    // Weights that are all alike count as one, also if that is zero.
    let weights = chosen.iter().map(|(_, weight)| if equal { 1 } else { *weight });
    Spread::Ring { size, weights: weights.collect() }
}

fn algorithm_flag(algorithm: Algorithm) -> u32 {
    match algorithm {
        Algorithm::Even => 0,
        Algorithm::Random => abi::SERVICE_RANDOM,
        Algorithm::Maglev => abi::SERVICE_MAGLEV,
    }
}

/// Whether the node answers this frontend itself: the cluster's DNS Service is in the API for its name and address.
pub(crate) fn is_dns(local: &Local, key: &ServiceKey) -> bool {
    local.dns.iter().any(|dns| addr(dns.service.ip()) == key.addr && dns.service.port() == key.port.get())
}

/// The node's own DNS as a Service that comes before all others. No Service can have its name: names are never empty.
pub(crate) fn dns_part(dns: &Dns) -> Part {
    let mut part = Part::default();
    let Some(port) = NonZeroU16::new(dns.service.port()) else { return part };
    for protocol in [Protocol::Tcp, Protocol::Udp] {
        let proto = protocol.number();
        let backend = BackendKey { addr: addr(dns.server.ip()), port: Be16::new(dns.server.port()), proto };
        let key =
            ServiceKey { addr: addr(dns.service.ip()), port: Be16::new(port.get()), proto, scope: abi::SCOPE_CLUSTER };
        part.backends.insert(backend, abi::BACKEND_ALIVE | abi::BACKEND_LOCAL);
        let frontend = Frontend {
            backends: [backend].into(),
            spread: Spread::Even,
            affinity_s: 0,
            flags: 0,
            sources: Arc::default(),
        };
        let service = ServiceName { namespace: "".into(), name: "dns".into() };
        part.frontends.insert(key, (PortName { service, protocol, port }, frontend));
    }
    part
}

/// The programs' configuration.
pub(crate) fn config(local: &Local) -> abi::Config {
    let six = local.pod_cidrs.iter().find(|net| net.addr().is_ipv6());
    abi::Config { pods6: six.map_or(Addr::ANY, |net| addr(net.network())), ..local.config }
}

/// Whether the routes say already whose an address is: a node's, a pod's, or a Service's by its range.
pub(crate) fn is_routed(routes: &BTreeMap<RouteKey, RouteValue>, address: IpNet) -> bool {
    let around = (0..=address.max_prefix_len()).filter_map(|bits| IpNet::new(address.addr(), bits).ok());
    let mut found = around.filter_map(|net| routes.get(&route_key(net.trunc())));
    found.any(|route| route.kind != abi::ROUTE_SERVICE_ADDRESS)
}

/// The routes of one node, but for those of single addresses of Services.
pub(crate) fn routes(state: &State, local: &Local) -> BTreeMap<RouteKey, RouteValue> {
    let mut out = BTreeMap::new();
    let mut put = |net: IpNet, kind: u32, node: Addr| {
        out.insert(route_key(net), RouteValue { kind, node });
    };
    for (name, node) in &state.nodes {
        if *name == local.node_name {
            for net in &node.pod_cidrs {
                put(*net, abi::ROUTE_LOCAL_PODS, Addr::ANY);
            }
            continue;
        }
        // One tunnel carries both families: the receiver knows the sender by the outer address, and pods' MTU allows for one header.
        let Some(tunnel) = node.addresses.first().copied() else { continue };
        // Without a tunnel the next hop is of the packet's own family.
        let hop = |v4: bool| {
            let hop = node.addresses.iter().copied().find(|ip| local.native && node.native && ip.is_ipv4() == v4);
            hop.map_or((0, addr(tunnel)), |hop| (abi::ROUTE_NATIVE, addr(hop)))
        };
        for net in &node.pod_cidrs {
            let (native, hop) = hop(net.addr().is_ipv4());
            put(*net, abi::ROUTE_OVERLAY | native, hop);
        }
        for ip in &node.addresses {
            let (native, hop) = hop(ip.is_ipv4());
            put(IpNet::from(*ip), abi::ROUTE_NODE | native, hop);
        }
    }
    // What the node knows of itself stands above what others say.
    for net in &local.service_cidrs {
        put(*net, abi::ROUTE_SERVICE_RANGE, Addr::ANY);
    }
    for net in &local.pod_cidrs {
        put(*net, abi::ROUTE_LOCAL_PODS, Addr::ANY);
    }
    for ip in local.addresses.iter().copied().chain(local.dns.iter().map(|dns| dns.server.ip())) {
        put(IpNet::from(ip), abi::ROUTE_THIS_NODE, Addr::ANY);
    }
    out
}
