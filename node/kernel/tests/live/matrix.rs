//! Who reaches whom, and how: every client, by every sort of address, of both families, with every protocol, under a policy that allows
//! and under one that denies, at the server and at the client. Each cell is one probe with its expected outcome.
use std::fmt;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use kernel::netlink::{Netlink, Route};
use kernel::netns;
use wire::fabric::{
    Delta, Endpoint, EndpointPort, EndpointState, Identity, PodPolicy, Protocol, Rule, Ruleset, Service,
};
use wire::fabric::{ServicePort, ServiceType};

use crate::net::{DEADLINE, SILENCE, Server, ask, sock};
use crate::raw;
use crate::world::{OUTSIDE, OUTSIDE6, Pod, World};

/// Where the server listens, and its Services' ports.
const LISTENS: u16 = 8080;
const SERVES: u16 = 80;
/// Cells that are probed at the same time.
const WORKERS: usize = 16;

/// Where a probe comes from. The server is a pod of node 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Client {
    Pod(usize),
    Host(usize),
    /// The outside host, which has its routes to Services by this node.
    Outside(usize),
}

/// The address it goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Target {
    PodIp,
    ClusterIp,
    /// Of this node.
    NodePort(usize),
    BalancerIp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Tcp,
    Udp,
    Sctp,
    Icmp,
}

/// Whether sockets are in the node's control group, so that its hooks see them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sockets {
    Hooked,
    Plain,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Policy {
    /// Everybody may come in to the server.
    Allows,
    /// Nobody may.
    Denies,
    /// Clients that are pods may send to the server and to nothing else.
    LetsOut,
    /// They may send nowhere.
    KeepsIn,
}

/// The class of the server's addresses.
const SERVER_CLASS: u32 = 9;

#[derive(Clone, Copy, PartialEq, Eq)]
struct Cell {
    client: Client,
    target: Target,
    v6: bool,
    kind: Kind,
    sockets: Sockets,
    policy: Policy,
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Cell { client, target, v6, kind, sockets, policy } = self;
        let (client, target, family) = (format!("{client:?}"), format!("{target:?}"), if *v6 { "v6" } else { "v4" });
        write!(f, "{client:11} {target:12} {family} {kind:?} {sockets:?} policy {policy:?}")
    }
}

/// What is promised of a cell; `None`: nothing.
fn expected(cell: Cell) -> Option<bool> {
    let Cell { client, target, kind, sockets, policy, .. } = cell;
    // What no socket hook translates: what hooks do not see, and protocols that they do not know.
    let by_packets = sockets == Sockets::Plain || kind == Kind::Sctp;
    let allowed = match (policy, target) {
        (Policy::Allows, _) => true,
        (Policy::Denies, _) => false,
        (Policy::KeepsIn, _) => return Some(false),
        (Policy::LetsOut, Target::PodIp) => true,
        // What has no port goes to the address itself, which is not the server's.
        (Policy::LetsOut, _) if kind == Kind::Icmp => return Some(false),
        // The other node chooses the backend, so for this one its address is where the packet goes.
        (Policy::LetsOut, Target::NodePort(node)) => client == Client::Pod(node),
        (Policy::LetsOut, Target::ClusterIp | Target::BalancerIp) => true,
    };
    if kind == Kind::Icmp {
        // A node answers for its own address, whatever it serves there; virtual addresses have ports only, but those that the outside
        // knows tell it that they are there.
        return Some(match target {
            Target::PodIp => allowed || client == Client::Host(0),
            Target::NodePort(_) => true,
            Target::ClusterIp => false,
            Target::BalancerIp => matches!(client, Client::Outside(_)),
        });
    }
    match (client, target) {
        // It does not leave the node, so that no hook sees it.
        (Client::Host(own), Target::NodePort(node)) if own == node && by_packets => Some(false),
        // It leaves for wherever the network outside has the address.
        (Client::Host(_), Target::BalancerIp) if by_packets => None,
        // A node's own packets always come in, unless another node has sent them on.
        (Client::Host(0), Target::PodIp | Target::ClusterIp | Target::NodePort(0) | Target::BalancerIp) => Some(true),
        (Client::Host(_) | Client::Pod(_) | Client::Outside(_), _) => Some(allowed),
    }
}

/// Every cell of a policy and sort of sockets.
fn cells(policy: Policy, sockets: Sockets, clients: &[Client]) -> Vec<Cell> {
    let mut cells = Vec::new();
    for client in clients.iter().copied() {
        for target in [Target::PodIp, Target::ClusterIp, Target::NodePort(0), Target::NodePort(1), Target::BalancerIp] {
            for v6 in [false, true] {
                for kind in [Kind::Tcp, Kind::Udp, Kind::Sctp, Kind::Icmp] {
                    cells.push(Cell { client, target, v6, kind, sockets, policy });
                }
            }
        }
    }
    cells
}

/// The cluster of the test.
struct Town {
    world: World,
    server: Pod,
    clients: [Pod; 2],
}

impl Town {
    fn new() -> Town {
        let mut world = World::new(2);
        let (server, clients) = (world.dual_pod(0), [world.dual_pod(0), world.dual_pod(1)]);
        for via in [0, 1] {
            let service = service(via, &server);
            world.service(service);
        }
        // The outside host knows the way to the pods and to each Service.
        let outside = Netlink::in_netns(&world.outside).unwrap();
        let lead = |to: String, via: IpAddr| {
            outside.replace_route(&Route::through(to.parse().unwrap(), via, "eth0")).unwrap();
        };
        for (index, node) in world.nodes.iter().enumerate() {
            lead(node.cidr.to_string(), node.ip);
            lead(node.cidr6.to_string(), node.ip6);
            for target in [Target::ClusterIp, Target::BalancerIp] {
                lead(format!("{}/32", virtual_ip(target, index, false)), node.ip);
                lead(format!("{}/128", virtual_ip(target, index, true)), node.ip6);
            }
        }
        Town { world, server, clients }
    }

    /// Sets the policies of the server and of the clients.
    fn police(&mut self, policy: Policy) {
        let any = |egress, identity| Rule { egress, identity, protocol: 0, first_port: 0, last_port: 0, deny: false };
        let ingress = if policy == Policy::Denies { Vec::new() } else { vec![any(false, 0)] };
        let egress = if policy == Policy::LetsOut { vec![any(true, SERVER_CLASS)] } else { Vec::new() };
        let rulesets = vec![
            Ruleset { number: 1, ingress: true, egress: false, rules: ingress },
            Ruleset { number: 2, ingress: false, egress: true, rules: egress },
        ];
        let of_clients = if matches!(policy, Policy::LetsOut | Policy::KeepsIn) { 2 } else { 0 };
        let [near, far] = &self.clients;
        let pods = [("server", &self.server, 1), ("near", near, of_clients), ("far", far, of_clients)].map(
            |(name, pod, ruleset)| {
                let name = format!("default/{name}");
                self.world.nodes[pod.node].seats.insert(name.clone(), pod.link.seat);
                PodPolicy { pod: name, uid: "u".into(), ruleset, ips: Vec::new() }
            },
        );
        let server = [(self.server.ip, 32), (self.server.ip6.unwrap(), 128)];
        let identities =
            server.map(|(ip, bits)| Identity { prefix: format!("{ip}/{bits}"), number: SERVER_CLASS }).to_vec();
        let epoch = self.world.state.epoch.0 + 1;
        self.world.apply(Delta { epoch, identities, rulesets, pods: pods.to_vec(), ..Delta::default() });
    }

    fn netns(&self, client: Client) -> &PathBuf {
        match client {
            Client::Pod(node) => &self.clients[node].netns,
            Client::Host(node) => &self.world.nodes[node].netns,
            Client::Outside(_) => &self.world.outside,
        }
    }

    fn address(&self, cell: Cell) -> SocketAddr {
        let via = if let Client::Outside(node) = cell.client { node } else { 0 };
        match cell.target {
            Target::PodIp if cell.v6 => sock(self.server.ip6.unwrap(), LISTENS),
            Target::PodIp => sock(self.server.ip, LISTENS),
            Target::NodePort(node) => {
                let node = &self.world.nodes[node];
                sock(if cell.v6 { node.ip6 } else { node.ip }, 30_080 + via as u16)
            }
            Target::ClusterIp | Target::BalancerIp => sock(virtual_ip(cell.target, via, cell.v6), SERVES),
        }
    }

    /// Probes cells beside each other and returns those that came out otherwise.
    fn probe(&self, cells: &[Cell]) -> Vec<Cell> {
        let (next, wrong) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
        std::thread::scope(|scope| {
            for _ in 0..WORKERS {
                scope.spawn(|| {
                    while let Some(cell) = cells.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let Some(wanted) = expected(*cell) else { continue };
                        let (netns, to) = (self.netns(cell.client), self.address(*cell));
                        let came = netns::run_in(netns, || reaches(cell.kind, to, wanted)).unwrap();
                        if came != wanted {
                            wrong.lock().unwrap().push(*cell);
                        }
                    }
                });
            }
        });
        wrong.into_inner().unwrap()
    }
}

fn reaches(kind: Kind, to: SocketAddr, wanted: bool) -> bool {
    // What is to fail is given up sooner.
    let patience: Duration = if wanted { DEADLINE } else { SILENCE };
    match kind {
        Kind::Tcp => crate::net::talk_within(to, patience).is_ok(),
        Kind::Udp => {
            let any: IpAddr = if to.is_ipv6() { "::".parse().unwrap() } else { "0.0.0.0".parse().unwrap() };
            let socket = UdpSocket::bind((any, 0)).unwrap();
            crate::net::ask_within(&socket, to, patience).is_ok()
        }
        Kind::Sctp => raw::sctp_answers(to, patience),
        Kind::Icmp => raw::echo_answers(to.ip(), patience),
    }
}

/// The Services have an address of each sort for each node that the outside host reaches them by.
fn virtual_ip(target: Target, via: usize, v6: bool) -> IpAddr {
    let text = match (target, v6) {
        (Target::BalancerIp, false) => format!("198.51.100.{}", 1 + via),
        (Target::BalancerIp, true) => format!("2001:db8::{}", 1 + via),
        (_, false) => format!("10.96.3.{}", 1 + via),
        (_, true) => format!("fd10:96::3{}", 1 + via),
    };
    text.parse().unwrap()
}

fn service(via: usize, server: &Pod) -> Service {
    let protocols = [("tcp", Protocol::Tcp), ("udp", Protocol::Udp), ("sctp", Protocol::Sctp)];
    let both = |target| [false, true].map(|v6| virtual_ip(target, via, v6).to_string()).to_vec();
    let endpoint = |ip: IpAddr| Endpoint {
        ip: ip.to_string(),
        node: "node0".into(),
        state: EndpointState::Ready.into(),
        ports: protocols
            .map(|(name, protocol)| EndpointPort { name: name.into(), protocol: protocol.into(), port: LISTENS.into() })
            .into(),
        ..Endpoint::default()
    };
    Service {
        namespace: "default".into(),
        name: format!("by-node{via}"),
        r#type: ServiceType::LoadBalancer.into(),
        cluster_ips: both(Target::ClusterIp),
        external_ips: both(Target::BalancerIp),
        balancer_ips: both(Target::BalancerIp),
        ports: protocols
            .map(|(name, protocol)| ServicePort {
                name: name.into(),
                protocol: protocol.into(),
                port: SERVES.into(),
                node_port: 30_080 + via as u32,
            })
            .into(),
        endpoints: vec![endpoint(server.ip), endpoint(server.ip6.unwrap())],
        ..Service::default()
    }
}

#[test]
fn everybody_reaches_what_is_allowed_and_nothing_else() {
    let mut town = Town::new();
    let pod = &town.server;
    let _servers = [pod.ip, pod.ip6.unwrap()].map(|ip| Server::start(&pod.netns, sock(ip, LISTENS), "server"));
    let _sctp = [false, true].map(|v6| raw::sctp_server(&pod.netns, v6, LISTENS));
    let mut wrong = Vec::new();
    let mut count = 0;
    for policy in [Policy::Allows, Policy::Denies, Policy::LetsOut, Policy::KeepsIn] {
        town.police(policy);
        // Policies of clients are about pods alone.
        let of_pods = matches!(policy, Policy::LetsOut | Policy::KeepsIn);
        let chosen = |clients: &[Client]| -> Vec<Client> {
            clients.iter().copied().filter(|client| !of_pods || matches!(client, Client::Pod(_))).collect()
        };
        // All sockets of a process are in one control group, so each node's clients have their turn.
        for node in [0, 1] {
            let clients = chosen(&[Client::Pod(node), Client::Host(node)]);
            let cells = cells(policy, Sockets::Hooked, &clients);
            count += cells.len();
            wrong.extend(town.world.on_node(node, &town.world.nodes[node].netns, || town.probe(&cells)));
        }
        let everybody = [0, 1].map(|node| [Client::Pod(node), Client::Host(node), Client::Outside(node)]).concat();
        let cells = cells(policy, Sockets::Plain, &chosen(&everybody));
        count += cells.len();
        wrong.extend(town.probe(&cells));
    }
    let table: Vec<String> = wrong
        .iter()
        .map(|cell| format!("{cell}: {}", if expected(*cell) == Some(true) { "not reached" } else { "reached" }))
        .collect();
    assert!(table.is_empty(), "{} of {count} cells:\n{}", table.len(), table.join("\n"));
}

/// Pods go out with their node's address, of each family.
#[test]
fn the_outside_sees_the_node_by_both_families() {
    let mut world = World::new(2);
    let pod = world.dual_pod(1);
    for (outside, node) in [(OUTSIDE, world.nodes[1].ip), (OUTSIDE6, world.nodes[1].ip6)] {
        let to = sock(outside.parse().unwrap(), 7000);
        let _server = Server::start(&world.outside, to, "outside");
        world.in_pod(&pod, || {
            let mut open = crate::net::talk(to).unwrap();
            assert_eq!(open.seen.ip(), node);
            open.echo(200_000).unwrap();
            let socket = UdpSocket::bind(if to.is_ipv6() { "[::]:0" } else { "0.0.0.0:0" }).unwrap();
            assert_eq!(ask(&socket, to).unwrap().1.ip(), node);
        });
    }
}

/// Whole windows cross the tunnel, and a Service's address is what the client sees.
#[test]
fn the_second_family_carries_whole_segments() {
    let mut world = World::new(2);
    let (client, far) = (world.dual_pod(0), world.dual_pod(1));
    let to = sock(far.ip6.unwrap(), LISTENS);
    let _server = Server::start(&far.netns, to, "far");
    world.service(service(0, &far));
    world.in_pod(&client, || {
        for to in [to, sock(virtual_ip(Target::ClusterIp, 0, true), SERVES)] {
            let mut open = crate::net::talk(to).unwrap();
            assert_eq!(open.stream.peer_addr().unwrap(), to);
            assert_eq!(open.seen.ip(), client.ip6.unwrap());
            open.echo(1 << 20).unwrap();
        }
    });
    // The cluster's DNS address, which the node itself answers.
    let _dns = Server::start(&world.nodes[0].netns, sock(crate::world::GATEWAY6, 53), "dns");
    world.in_pod(&client, || {
        let socket = UdpSocket::bind("[::]:0").unwrap();
        assert_eq!(ask(&socket, "[fd10:96::a]:53".parse().unwrap()).unwrap().0, "dns");
    });
}
