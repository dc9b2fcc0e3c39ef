//! The fabric's state as this node knows it: the fold of all deltas, every record parsed once.
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroU16;
use std::sync::Arc;

use ipnet::IpNet;
use wire::fabric;

use crate::policy;

/// Number of a fabric state: the revision of the store it was compiled from. 0 is before the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u64);

/// Everything the fabric said, as of one epoch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    pub epoch: Epoch,
    pub nodes: BTreeMap<String, Node>,
    pub services: BTreeMap<ServiceName, Arc<Service>>,
    pub policy: policy::Policy,
}

/// A node as others reach it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    pub addresses: Vec<IpAddr>,
    pub pod_cidrs: Vec<IpNet>,
    /// Empty if it has none.
    pub zone: String,
    /// Needs no tunnel to and from nodes that need none either.
    pub native: bool,
}

/// Name of a Service.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceName {
    pub namespace: Arc<str>,
    pub name: Arc<str>,
}

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// A Service with its endpoints; headless and ExternalName Services have no addresses and no effect here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    pub cluster_ips: Vec<IpAddr>,
    pub external_ips: Vec<IpAddr>,
    /// Those of [`Service::external_ips`] that only `source_ranges` may reach from outside.
    pub balancer_ips: Vec<IpAddr>,
    pub source_ranges: Vec<IpNet>,
    pub ports: Vec<Port>,
    /// Session affinity in seconds; 0 for none.
    pub affinity_s: u32,
    pub internal: Reach,
    pub external: Reach,
    /// Where load balancers ask for this node's endpoints.
    pub health_port: Option<NonZeroU16>,
    pub algorithm: Algorithm,
    /// Slots of a ring, a prime of [`crate::maglev`]'s; 0: by the number of endpoints.
    pub ring_size: u32,
    pub endpoints: Vec<Endpoint>,
}

/// How new connections are spread over endpoints of equal weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// Packets by a hash of this node's own.
    Even,
    Random,
    /// Packets by a hash that is the same on every node, over rings that are, too.
    Maglev,
}

impl Service {
    /// The only ranges that may reach an address from outside; none: all may. As kube-proxy has it, ranges of the other family
    /// do not guard an address.
    pub fn sources(&self, ip: IpAddr) -> impl Iterator<Item = IpNet> {
        let guarded = self.balancer_ips.contains(&ip);
        self.source_ranges.iter().copied().filter(move |net| guarded && net.addr().is_ipv4() == ip.is_ipv4())
    }
}

/// Which endpoints take the traffic of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Endpoints of all nodes.
    Cluster,
    /// Endpoints of this node only.
    Local,
}

/// One port of a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    pub name: String,
    pub protocol: Protocol,
    pub port: NonZeroU16,
    pub node_port: Option<NonZeroU16>,
}

/// Transport protocol of a Service port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    Tcp,
    Udp,
    Sctp,
}

impl Protocol {
    /// IANA number.
    pub fn number(self) -> u8 {
        match self {
            Protocol::Tcp => abi::IPPROTO_TCP,
            Protocol::Udp => abi::IPPROTO_UDP,
            Protocol::Sctp => abi::IPPROTO_SCTP,
        }
    }
}

/// An address behind a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    pub ip: IpAddr,
    /// Node name, empty if unknown.
    pub node: String,
    pub state: EndpointState,
    /// Port number for each Service port it serves.
    pub ports: BTreeMap<(String, Protocol), NonZeroU16>,
    /// Zones and nodes that it is for.
    pub zones: Vec<String>,
    pub nodes: Vec<String>,
    /// Share of new connections beside the others; 0: none while others have one.
    pub weight: u32,
}

/// What an endpoint takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndpointState {
    /// New connections.
    Ready,
    /// Established flows; new connections only if no endpoint is ready.
    Draining,
    /// Nothing.
    NotReady,
}

/// A record of a delta that was refused; the others of the delta took effect, and of this one the last good version
/// stays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    pub record: Record,
    pub fault: Fault,
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.record {
            Record::Node(name) => write!(f, "node {name:?}: {}", self.fault),
            Record::Service(name) => write!(f, "service {name:?}: {}", self.fault),
            Record::Identity(prefix) => write!(f, "identity of {prefix:?}: {}", self.fault),
            Record::Ruleset(number) => write!(f, "ruleset {number}: {}", self.fault),
            Record::Pod(name) => write!(f, "policy of pod {name:?}: {}", self.fault),
        }
    }
}

/// Which record was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    Node(String),
    Service(String),
    /// By its prefix.
    Identity(String),
    /// By its number.
    Ruleset(u32),
    /// A pod's policy, by the pod.
    Pod(String),
}

/// Why a record was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("the name is empty or not of the form namespace/name")]
    Name,
    #[error("{field} {value:?} is not an address a packet can go to")]
    Address { field: &'static str, value: String },
    #[error("{field} {value:?} is not a prefix")]
    Prefix { field: &'static str, value: String },
    #[error("{field} {value} is not a port number")]
    Port { field: &'static str, value: u32 },
    #[error("{field} {value} is not known")]
    Enum { field: &'static str, value: i32 },
    #[error("{0} is no size of a Maglev ring")]
    RingSize(u32),
    /// The record took effect without them.
    #[error("ignored: {0}")]
    Annotations(String),
}

/// A delta that does not follow the state: it was applied before, or the stream lost its order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("delta of epoch {got} does not follow epoch {have}", got = .got.0, have = .have.0)]
pub struct Stale {
    pub have: Epoch,
    pub got: Epoch,
}

impl State {
    /// The Services that a delta names; names that are none are left out.
    pub(crate) fn named(delta: &fabric::Delta) -> BTreeSet<ServiceName> {
        let put = delta
            .services
            .iter()
            .filter_map(|service| service_name(&format!("{}/{}", service.namespace, service.name)));
        put.chain(delta.deleted_services.iter().filter_map(|name| service_name(name))).collect()
    }

    /// Folds one delta in. Deletes take effect before upserts. A full delta replaces everything, whatever its epoch.
    pub fn apply(&mut self, delta: &fabric::Delta) -> Result<Vec<Rejected>, Stale> {
        let got = Epoch(delta.epoch);
        if !delta.full && got <= self.epoch {
            return Err(Stale { have: self.epoch, got });
        }
        let before = if delta.full { std::mem::take(self) } else { State::default() };
        self.epoch = got;
        for name in &delta.deleted_nodes {
            self.nodes.remove(name);
        }
        for name in &delta.deleted_services {
            if let Some(name) = service_name(name) {
                self.services.remove(&name);
            }
        }
        let mut rejected = Vec::new();
        for node in &delta.nodes {
            match parse_node(node) {
                Ok(parsed) => {
                    self.nodes.insert(node.name.clone(), parsed);
                }
                Err(fault) => {
                    rejected.push(Rejected { record: Record::Node(node.name.clone()), fault });
                    if let Some(old) = before.nodes.get(&node.name) {
                        self.nodes.insert(node.name.clone(), old.clone());
                    }
                }
            }
        }
        for service in &delta.services {
            let text = format!("{}/{}", service.namespace, service.name);
            match service_name(&text).ok_or(Fault::Name).and_then(|n| Ok((n, parse_service(service)?))) {
                Ok((name, parsed)) => {
                    self.services.insert(name, Arc::new(parsed));
                    if !service.ignored.is_empty() {
                        let fault = Fault::Annotations(service.ignored.clone());
                        rejected.push(Rejected { record: Record::Service(text), fault });
                    }
                }
                Err(fault) => {
                    let old =
                        service_name(&text).and_then(|name| before.services.get(&name).cloned().map(|old| (name, old)));
                    self.services.extend(old);
                    rejected.push(Rejected { record: Record::Service(text), fault });
                }
            }
        }
        self.policy.apply(delta, &before.policy, &mut rejected);
        Ok(rejected)
    }
}

fn service_name(text: &str) -> Option<ServiceName> {
    let (namespace, name) = text.split_once('/')?;
    if namespace.is_empty() || name.is_empty() || name.contains('/') {
        return None;
    }
    Some(ServiceName { namespace: namespace.into(), name: name.into() })
}

fn parse_node(node: &fabric::Node) -> Result<Node, Fault> {
    if node.name.is_empty() {
        return Err(Fault::Name);
    }
    Ok(Node {
        addresses: addresses("internal address", &node.internal_ips)?,
        pod_cidrs: prefixes("pod CIDR", &node.pod_cidrs)?,
        zone: node.zone.clone(),
        native: node.native,
    })
}

fn parse_service(service: &fabric::Service) -> Result<Service, Fault> {
    let reach = |local| if local { Reach::Local } else { Reach::Cluster };
    // Without ports nothing comes of the rest.
    let ports = service.ports.iter().filter(|_| !service.dns_only);
    let ports = ports.map(parse_port).collect::<Result<_, _>>()?;
    Ok(Service {
        cluster_ips: addresses("cluster address", &service.cluster_ips)?,
        external_ips: addresses("external address", &service.external_ips)?,
        balancer_ips: addresses("load-balancer address", &service.balancer_ips)?,
        source_ranges: prefixes("source range", &service.source_ranges)?,
        ports,
        affinity_s: service.affinity_timeout_seconds,
        internal: reach(service.internal_traffic_local),
        external: reach(service.external_traffic_local),
        health_port: optional("health check port", service.health_check_node_port)?.filter(|_| !service.dns_only),
        algorithm: algorithm(service.algorithm)?,
        ring_size: match service.maglev_size {
            0 => 0,
            size if crate::maglev::is_size(size) => size,
            size => return Err(Fault::RingSize(size)),
        },
        endpoints: service.endpoints.iter().map(parse_endpoint).collect::<Result<_, _>>()?,
    })
}

fn parse_port(port: &fabric::ServicePort) -> Result<Port, Fault> {
    Ok(Port {
        name: port.name.clone(),
        protocol: protocol(port.protocol)?,
        port: number("port", port.port)?,
        node_port: optional("node port", port.node_port)?,
    })
}

fn parse_endpoint(endpoint: &fabric::Endpoint) -> Result<Endpoint, Fault> {
    let state = match fabric::EndpointState::try_from(endpoint.state) {
        Ok(fabric::EndpointState::Ready) => EndpointState::Ready,
        Ok(fabric::EndpointState::Draining) => EndpointState::Draining,
        Ok(fabric::EndpointState::NotReady) => EndpointState::NotReady,
        Err(_) => return Err(Fault::Enum { field: "endpoint state", value: endpoint.state }),
    };
    let mut ports = BTreeMap::new();
    for port in &endpoint.ports {
        let key = (port.name.clone(), protocol(port.protocol)?);
        ports.insert(key, number("endpoint port", port.port)?);
    }
    let ip = address("endpoint address", &endpoint.ip)?;
    let (zones, nodes) = (endpoint.hint_zones.clone(), endpoint.hint_nodes.clone());
    let weight = endpoint.weight.unwrap_or(1);
    Ok(Endpoint { ip, node: endpoint.node.clone(), state, ports, zones, nodes, weight })
}

fn algorithm(value: i32) -> Result<Algorithm, Fault> {
    match fabric::Algorithm::try_from(value) {
        Ok(fabric::Algorithm::Even) => Ok(Algorithm::Even),
        Ok(fabric::Algorithm::Random) => Ok(Algorithm::Random),
        Ok(fabric::Algorithm::Maglev) => Ok(Algorithm::Maglev),
        Err(_) => Err(Fault::Enum { field: "algorithm", value }),
    }
}

fn protocol(value: i32) -> Result<Protocol, Fault> {
    match fabric::Protocol::try_from(value) {
        Ok(fabric::Protocol::Tcp) => Ok(Protocol::Tcp),
        Ok(fabric::Protocol::Udp) => Ok(Protocol::Udp),
        Ok(fabric::Protocol::Sctp) => Ok(Protocol::Sctp),
        Err(_) => Err(Fault::Enum { field: "protocol", value }),
    }
}

fn optional(field: &'static str, value: u32) -> Result<Option<NonZeroU16>, Fault> {
    if value == 0 { Ok(None) } else { number(field, value).map(Some) }
}

fn number(field: &'static str, value: u32) -> Result<NonZeroU16, Fault> {
    u16::try_from(value).ok().and_then(NonZeroU16::new).ok_or(Fault::Port { field, value })
}

fn prefixes(field: &'static str, values: &[String]) -> Result<Vec<IpNet>, Fault> {
    let prefix = |value: &String| value.parse::<IpNet>().map(|net| net.trunc());
    let parsed = |value| prefix(value).map_err(|_| Fault::Prefix { field, value: value.clone() });
    values.iter().map(parsed).collect()
}

fn addresses(field: &'static str, values: &[String]) -> Result<Vec<IpAddr>, Fault> {
    values.iter().map(|value| address(field, value)).collect()
}

/// A v4-mapped IPv6 address would be taken for IPv4 in the tables, so it is no address here.
fn address(field: &'static str, value: &str) -> Result<IpAddr, Fault> {
    let fault = || Fault::Address { field, value: value.to_owned() };
    let ip: IpAddr = value.parse().map_err(|_| fault())?;
    let mapped = matches!(ip, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some());
    if ip.is_unspecified() || ip.is_multicast() || ip.is_loopback() || mapped {
        return Err(fault());
    }
    Ok(ip)
}
