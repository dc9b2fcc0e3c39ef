//! What the tables should hold, without node-local numbers: a function of the fabric's state and the node's own facts.
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU16;

use abi::{Addr, Be16, RouteKey, RouteValue, ServiceKey, SourceKey};
use ipnet::IpNet;

use crate::address::{addr, ip, route_key, source_key};
use crate::host_port::{self, HostPort};
use crate::state::{EndpointState, Port, Protocol, Reach, Service, ServiceName, State};
use crate::topology::{Family, Here, backend_key, choose};

/// What a node knows of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Local {
    pub node_name: String,
    /// Addresses of this node, the one that masquerades first.
    pub addresses: Vec<IpAddr>,
    /// Pod ranges of this node, as far as it knows them; the fabric's record of the node adds to them.
    pub pod_cidrs: Vec<IpNet>,
    pub service_cidrs: Vec<IpNet>,
    /// Ports of the node that lead to its pods.
    pub host_ports: Vec<HostPort>,
    /// The DNS server of the node.
    pub dns: Option<Dns>,
    /// Written as it is.
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
    /// Frontends that two Services claim; the first by name has it.
    pub conflicts: Vec<Conflict>,
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
    pub backends: Vec<BackendKey>,
    pub affinity_s: u32,
    /// `SERVICE_*` bits.
    pub flags: u32,
}

/// A backend as packets see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BackendKey {
    pub addr: Addr,
    pub port: Be16,
    pub proto: u8,
}

/// A frontend that was not compiled because another Service has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    pub key: ServiceKey,
    pub service: ServiceName,
}

/// Compiles the tables of one node.
pub fn compile(state: &State, local: &Local) -> Desired {
    let mut desired = Desired { config: local.config, ..Desired::default() };
    routes(state, local, &mut desired.routes);
    let mut taken = BTreeSet::new();
    if let Some(dns) = &local.dns {
        synthesize_dns(dns, &mut desired, &mut taken);
    }
    let zone = state.nodes.get(&local.node_name).map_or("", |node| node.zone.as_str());
    let here = Here { node: &local.node_name, zone };
    for (name, service) in &state.services {
        for port in &service.ports {
            compile_port(name, service, port, (local, here), &mut desired, &mut taken);
        }
    }
    host_port::compile(&local.host_ports, &mut desired, &mut taken);
    desired
}

/// Session affinity, policies and the address decide a frontend; the endpoints decide its backends.
fn compile_port(
    name: &ServiceName,
    service: &Service,
    port: &Port,
    (local, here): (&Local, Here<'_>),
    desired: &mut Desired,
    taken: &mut BTreeSet<ServiceKey>,
) {
    let proto = port.protocol.number();
    for endpoint in &service.endpoints {
        let Some(key) = backend_key(endpoint, port) else { continue };
        let flags = match endpoint.state {
            EndpointState::Ready => abi::BACKEND_ALIVE,
            EndpointState::Draining => abi::BACKEND_ALIVE | abi::BACKEND_DRAINING,
            EndpointState::NotReady => continue,
        };
        let place = if endpoint.node == local.node_name { abi::BACKEND_LOCAL } else { 0 };
        let entry = desired.backends.entry(key).or_insert(flags | place);
        // Ready for one Service is ready: only new flows care, and the slots decide those.
        if flags & abi::BACKEND_DRAINING == 0 {
            *entry &= !abi::BACKEND_DRAINING;
        }
        *entry |= place;
    }
    let key = |ip: Addr, port: NonZeroU16, scope| ServiceKey { addr: ip, port: Be16::new(port.get()), proto, scope };
    let mut frontends: Vec<(ServiceKey, Frontend)> = Vec::new();
    for family in [Family::V4, Family::V6] {
        let of_family = |ip: &&IpAddr| ip.is_ipv4() == (family == Family::V4);
        let choose = |reach| choose(service, port, reach, family, here);
        let frontend = |reach, flags| Frontend { backends: choose(reach), affinity_s: service.affinity_s, flags };
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
            let ranges = if service.sources(*ip).next().is_some() { abi::SERVICE_RANGES } else { 0 };
            if flags | ranges != 0 {
                let external = frontend(service.external, flags | ranges);
                frontends.push((key(addr(*ip), port.port, abi::SCOPE_EXTERNAL), external));
            }
        }
    }
    let port_name = PortName { service: name.clone(), protocol: port.protocol, port: port.port };
    for (key, frontend) in frontends {
        if taken.insert(key) {
            let entry = desired.ports.entry(port_name.clone()).or_default();
            if frontend.flags & abi::SERVICE_RANGES != 0 {
                desired.sources.extend(service.sources(ip(key.addr)).map(|net| source_key(key, net)));
            }
            entry.frontends.insert(key, frontend);
        } else if !desired.ports.get(&port_name).is_some_and(|p| p.frontends.contains_key(&key)) && !is_dns(local, &key)
        {
            desired.conflicts.push(Conflict { key, service: name.clone() });
        }
    }
}

/// Whether the node answers this frontend itself: the cluster's DNS Service is in the API for its name and address.
fn is_dns(local: &Local, key: &ServiceKey) -> bool {
    local.dns.is_some_and(|dns| addr(dns.service.ip()) == key.addr && dns.service.port() == key.port.get())
}

fn synthesize_dns(dns: &Dns, desired: &mut Desired, taken: &mut BTreeSet<ServiceKey>) {
    let Some(port) = NonZeroU16::new(dns.service.port()) else { return };
    for protocol in [Protocol::Tcp, Protocol::Udp] {
        let proto = protocol.number();
        let backend = BackendKey { addr: addr(dns.server.ip()), port: Be16::new(dns.server.port()), proto };
        let key =
            ServiceKey { addr: addr(dns.service.ip()), port: Be16::new(port.get()), proto, scope: abi::SCOPE_CLUSTER };
        desired.backends.insert(backend, abi::BACKEND_ALIVE | abi::BACKEND_LOCAL);
        taken.insert(key);
        let frontend = Frontend { backends: vec![backend], affinity_s: 0, flags: 0 };
        // No Service can have this name: names are never empty.
        let service = ServiceName { namespace: String::new(), name: "dns".into() };
        let name = PortName { service, protocol, port };
        desired.ports.entry(name).or_default().frontends.insert(key, frontend);
    }
}

fn routes(state: &State, local: &Local, out: &mut BTreeMap<RouteKey, RouteValue>) {
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
        for net in &node.pod_cidrs {
            // The tunnel endpoint is of the pods' family where the node has one, else whatever it has.
            let same = |ip: &&IpAddr| ip.is_ipv4() == net.addr().is_ipv4();
            let Some(remote) = node.addresses.iter().find(same).or(node.addresses.first()) else { continue };
            put(*net, abi::ROUTE_OVERLAY, addr(*remote));
        }
        for ip in &node.addresses {
            put(IpNet::from(*ip), abi::ROUTE_NODE, addr(*ip));
        }
    }
    // What the node knows of itself stands above what others say.
    for net in &local.service_cidrs {
        put(*net, abi::ROUTE_SERVICE_RANGE, Addr::ANY);
    }
    for net in &local.pod_cidrs {
        put(*net, abi::ROUTE_LOCAL_PODS, Addr::ANY);
    }
    for ip in local.addresses.iter().copied().chain(local.dns.map(|dns| dns.server.ip())) {
        put(IpNet::from(ip), abi::ROUTE_THIS_NODE, Addr::ANY);
    }
}
