//! A cluster of namespaces: an underlay bridge, nodes on it, an outside host, pods on the nodes.
use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use datapath::{Dns, Local, Observed, State, policy};
use ipnet::IpNet;
use kernel::netlink::{Netlink, PeerPlace, Route, Veth};
use kernel::{Attached, Bandwidth, Datapath, LoadBalancing, Options, PodLink, cgroup, mount, netns};
use wire::fabric::{Delta, Endpoint, EndpointPort, EndpointState, Node as NodeRecord, Protocol, Service, ServicePort};

/// Gateways of pods, as everywhere in Gannet.
pub const GATEWAY: IpAddr = IpAddr::V4(Ipv4Addr::new(169, 254, 1, 1));
pub const GATEWAY6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfd67, 0x616e, 0x6e65, 0x74, 0, 0, 0, 1));
/// The outside host's addresses on the underlay.
pub const OUTSIDE: &str = "10.89.0.1";
pub const OUTSIDE6: &str = "fd10:89::1";

/// One world at a time: sockets take the process's cgroup, and there is only one process.
static ONE: Mutex<()> = Mutex::new(());
static COUNT: AtomicU32 = AtomicU32::new(0);

/// What carries packets between the nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Underlay {
    /// So many nodes, the first ones, do without tunnels between each other.
    pub native: usize,
    /// Nodes' first addresses, where tunnels end, are those of IPv6.
    pub six: bool,
    /// Of every interface; 0: what they have.
    pub mtu: u32,
}

/// Every namespace of one test.
pub struct World {
    pub nodes: Vec<Node>,
    pub outside: PathBuf,
    /// Where the bridge is.
    pub underlay: PathBuf,
    pub state: State,
    under: Underlay,
    prefix: String,
    namespaces: Vec<String>,
    home: PathBuf,
    _dir: tempfile::TempDir,
    _one: MutexGuard<'static, ()>,
}

/// A node: a namespace with an uplink and a data plane.
pub struct Node {
    pub name: String,
    pub netns: PathBuf,
    pub ip: IpAddr,
    pub ip6: IpAddr,
    pub cidr: IpNet,
    pub cidr6: IpNet,
    pub cgroup: PathBuf,
    pub options: Options,
    pub datapath: Option<Datapath>,
    pub observed: Observed,
    pub local: Local,
    /// Pods whose policy the fabric knows.
    pub seats: BTreeMap<String, u32>,
    pods: u8,
}

/// A pod: a namespace attached to a node.
#[derive(Clone, Debug)]
pub struct Pod {
    pub node: usize,
    pub ip: IpAddr,
    /// Of pods with both families.
    pub ip6: Option<IpAddr>,
    pub netns: PathBuf,
    pub link: PodLink,
    pub attached: Attached,
}

impl World {
    /// A world of `count` nodes that know each other, without pods and Services.
    pub fn new(count: usize) -> World {
        World::over(count, Underlay::default())
    }

    /// The same without tunnels between the nodes.
    pub fn native(count: usize) -> World {
        World::over(count, Underlay { native: count, ..Underlay::default() })
    }

    /// The same over a certain network.
    pub fn over(count: usize, under: Underlay) -> World {
        let one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let prefix = format!("gnt{}-{number}", std::process::id());
        let dir = tempfile::Builder::new().prefix(&prefix).tempdir().unwrap();
        let mut world = World {
            nodes: Vec::new(),
            outside: PathBuf::new(),
            underlay: PathBuf::new(),
            state: State::default(),
            under,
            prefix,
            namespaces: Vec::new(),
            home: own_cgroup(),
            _dir: dir,
            _one: one,
        };
        let underlay = world.namespace("underlay");
        let bridge = Netlink::in_netns(&underlay).unwrap();
        bridge.add_bridge("br0").unwrap();
        bridge.set_up("br0").unwrap();
        world.underlay = underlay;
        world.outside = world.plug(&bridge, "outside", [OUTSIDE, OUTSIDE6]);
        for index in 0..count {
            let (ip, ip6) = (format!("10.89.0.{}", 10 + index), format!("fd10:89::{}", 10 + index));
            let netns = world.plug(&bridge, &format!("node{index}"), [&ip, &ip6]);
            let node = world.node(index, netns, [ip.parse().unwrap(), ip6.parse().unwrap()]);
            world.nodes.push(node);
        }
        let nodes = world.nodes.iter().map(Node::record).collect();
        world.apply(Delta { epoch: 1, full: true, nodes, ..Delta::default() });
        world
    }

    /// Folds a delta into every node's tables.
    pub fn apply(&mut self, delta: Delta) {
        assert_eq!(self.state.apply(&delta).unwrap(), []);
        for node in &mut self.nodes {
            node.commit(&self.state);
        }
    }

    /// Adds or replaces a Service on every node.
    pub fn service(&mut self, service: Service) {
        let epoch = self.state.epoch.0 + 1;
        self.apply(Delta { epoch, services: vec![service], ..Delta::default() });
    }

    /// Makes a pod on a node, with an address of IPv4.
    pub fn pod(&mut self, node: usize) -> Pod {
        let (link, ..) = self.next_link(node);
        self.attach(node, link)
    }

    /// The same with a limited bandwidth.
    pub fn limited_pod(&mut self, node: usize, bandwidth: Bandwidth) -> Pod {
        let (link, ..) = self.next_link(node);
        self.attach(node, PodLink { bandwidth, ..link })
    }

    /// Makes a pod on a node, with an address of each family.
    pub fn dual_pod(&mut self, node: usize) -> Pod {
        let link = self.next_dual_link(node);
        self.attach(node, link)
    }

    /// What the next pod of both families will be attached as; its namespace exists already.
    pub fn next_dual_link(&mut self, node: usize) -> PodLink {
        let (mut link, serial) = self.next_link(node);
        let IpAddr::V6(first) = self.nodes[node].cidr6.network() else { panic!("the range is IPv6") };
        link.addresses.push(Ipv6Addr::from(u128::from(first) + 2 + u128::from(serial)).into());
        link
    }

    /// Attaches a pod.
    pub fn attach(&self, node: usize, link: PodLink) -> Pod {
        let attached = self.nodes[node].datapath().attach_pod(&link).unwrap();
        let (ip, ip6) = (link.addresses[0], link.addresses.get(1).copied());
        Pod { node, ip, ip6, netns: link.netns.clone(), link, attached }
    }

    fn next_link(&mut self, node: usize) -> (PodLink, u8) {
        let serial = self.nodes[node].pods;
        self.nodes[node].pods += 1;
        let netns = self.namespace(&format!("pod{node}{serial}"));
        let IpNet::V4(cidr) = self.nodes[node].cidr else { panic!("the test's pods are IPv4") };
        let ip = IpAddr::from(Ipv4Addr::from(u32::from(cidr.network()) + 2 + u32::from(serial)));
        let link = PodLink {
            host_ifname: format!("gn{:08x}{serial:03x}", std::process::id()),
            netns,
            ifname: "eth0".into(),
            addresses: vec![ip],
            seat: 1 + u32::from(serial),
            bandwidth: Bandwidth::default(),
        };
        (link, serial)
    }

    /// Opens a node's data plane again, otherwise.
    pub fn reopen(&mut self, node: usize, load_balancing: LoadBalancing) {
        self.nodes[node].options.load_balancing = load_balancing;
        self.restart(node);
    }

    /// Opens a node's data plane again with a flow table of another size.
    pub fn resize(&mut self, node: usize, flow_bits: u32) {
        self.nodes[node].options.flow_bits = flow_bits;
        self.restart(node);
    }

    fn restart(&mut self, node: usize) {
        let node = &mut self.nodes[node];
        node.datapath = None;
        let again = Datapath::open(node.options.clone()).unwrap();
        node.local.config = again.config();
        node.observed = again.observe().unwrap();
        node.datapath = Some(again);
    }

    /// Where a test keeps what goes with the world.
    pub fn dir(&self) -> &Path {
        self._dir.path()
    }

    /// Runs inside a namespace with sockets that belong to the node's cgroup, as those of its pods do.
    pub fn on_node<T: Send>(&self, node: usize, netns: &Path, work: impl FnOnce() -> T + Send) -> T {
        cgroup::add_process(&self.nodes[node].cgroup, std::process::id()).unwrap();
        // Also when `work` fails: the world's end kills what is left in its cgroups.
        let _home = Home(&self.home);
        netns::run_in(netns, work).unwrap()
    }

    /// Runs inside a pod, socket hooks included.
    pub fn in_pod<T: Send>(&self, pod: &Pod, work: impl FnOnce() -> T + Send) -> T {
        self.on_node(pod.node, &pod.netns, work)
    }

    fn namespace(&mut self, name: &str) -> PathBuf {
        let name = format!("{}-{name}", self.prefix);
        let path = netns::create(&name).unwrap();
        self.namespaces.push(name);
        Netlink::in_netns(&path).unwrap().set_up("lo").unwrap();
        path
    }

    /// A namespace with `eth0` on the bridge, with addresses of IPv4 and IPv6.
    fn plug(&mut self, bridge: &Netlink, name: &str, ips: [&str; 2]) -> PathBuf {
        let path = self.namespace(name);
        let port = format!("p{name}");
        bridge
            .add_veth(&Veth {
                name: &port,
                mac: None,
                peer_name: "eth0",
                peer_mac: None,
                peer: PeerPlace::Netns(&path),
                mtu: None,
            })
            .unwrap();
        if self.under.mtu > 0 {
            bridge.set_mtu(&port, self.under.mtu).unwrap();
            Netlink::in_netns(&path).unwrap().set_mtu("eth0", self.under.mtu).unwrap();
        }
        bridge.set_master(&port, "br0").unwrap();
        bridge.set_up(&port).unwrap();
        let inside = Netlink::in_netns(&path).unwrap();
        for (ip, bits) in ips.into_iter().zip([24, 64]) {
            inside.add_address("eth0", format!("{ip}/{bits}").parse().unwrap()).unwrap();
        }
        inside.set_up("eth0").unwrap();
        if !ips.contains(&OUTSIDE) {
            for (everywhere, outside) in [("0.0.0.0/0", OUTSIDE), ("::/0", OUTSIDE6)] {
                let route = Route::through(everywhere.parse().unwrap(), outside.parse().unwrap(), "eth0");
                inside.replace_route(&route).unwrap();
            }
        }
        path
    }

    fn node(&mut self, index: usize, netns: PathBuf, [ip, ip6]: [IpAddr; 2]) -> Node {
        let native = index < self.under.native;
        let node_ips = if self.under.six { vec![ip6, ip] } else { vec![ip, ip6] };
        let cgroup = cgroup::create(&format!("{}/node{index}", self.prefix)).unwrap();
        let options = Options {
            pin_dir: self._dir.path().join(format!("bpf{index}")),
            cgroup: cgroup.clone(),
            netns: netns.clone(),
            uplink: "eth0".into(),
            native,
            node_ips: node_ips.clone(),
            gateways: vec![GATEWAY, GATEWAY6],
            load_balancing: LoadBalancing::default(),
            flow_bits: 12,
        };
        let datapath = Datapath::open(options.clone()).unwrap();
        let cidr: IpNet = format!("10.244.{index}.0/24").parse().unwrap();
        let cidr6: IpNet = format!("fd10:244:{index}::/64").parse().unwrap();
        let local = Local {
            native,
            node_name: format!("node{index}"),
            addresses: node_ips,
            pod_cidrs: vec![cidr, cidr6],
            service_cidrs: vec!["10.96.0.0/16".parse().unwrap(), "fd10:96::/112".parse().unwrap()],
            host_ports: Vec::new(),
            dns: vec![
                Dns { service: "10.96.0.10:53".parse().unwrap(), server: SocketAddr::new(GATEWAY, 53) },
                Dns { service: "[fd10:96::a]:53".parse().unwrap(), server: SocketAddr::new(GATEWAY6, 53) },
            ],
            config: datapath.config(),
        };
        let observed = datapath.observe().unwrap();
        Node {
            name: format!("node{index}"),
            netns,
            ip,
            ip6,
            cidr,
            cidr6,
            cgroup,
            options,
            datapath: Some(datapath),
            observed,
            local,
            seats: BTreeMap::new(),
            pods: 0,
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for node in &mut self.nodes {
            node.datapath = None;
            let _ = mount::unmount_below(&node.options.pin_dir);
        }
        for name in &self.namespaces {
            let _ = netns::delete(name);
        }
        let _ = cgroup::remove(&self.prefix);
    }
}

/// Brings the process back to the cgroup it came from.
struct Home<'a>(&'a Path);

impl Drop for Home<'_> {
    fn drop(&mut self) {
        cgroup::add_process(self.0, std::process::id()).unwrap();
    }
}

impl Node {
    pub fn datapath(&self) -> &Datapath {
        self.datapath.as_ref().unwrap()
    }

    fn record(&self) -> NodeRecord {
        NodeRecord {
            name: self.name.clone(),
            internal_ips: self.options.node_ips.iter().map(ToString::to_string).collect(),
            pod_cidrs: vec![self.cidr.to_string(), self.cidr6.to_string()],
            native: self.options.native,
            ..NodeRecord::default()
        }
    }

    fn commit(&mut self, state: &State) {
        let desired = policy::compile(&state.policy, &self.seats, &[]);
        let steps = policy::diff(&desired, &self.datapath().observe_policy().unwrap());
        self.datapath().apply_policy(&steps).unwrap();
        let desired = datapath::compile(state, &self.local);
        let plan = datapath::diff(&desired, &self.observed);
        self.datapath().apply(&plan).unwrap();
        plan.steps.iter().for_each(|step| self.observed.apply(step));
    }
}

/// A Service on TCP and UDP port 80 whose endpoints listen on 8080.
pub fn service(name: &str, vip: &str, endpoints: &[&Pod]) -> Service {
    let protocols = [("tcp", Protocol::Tcp), ("udp", Protocol::Udp)];
    let ports = protocols.map(|(name, protocol)| ServicePort {
        name: name.into(),
        protocol: protocol.into(),
        port: 80,
        node_port: 0,
    });
    let endpoint = |pod: &&Pod| Endpoint {
        ip: pod.ip.to_string(),
        node: format!("node{}", pod.node),
        state: EndpointState::Ready.into(),
        ports: protocols
            .map(|(name, protocol)| EndpointPort { name: name.into(), protocol: protocol.into(), port: 8080 })
            .into(),
        ..Endpoint::default()
    };
    Service {
        namespace: "default".into(),
        name: name.into(),
        cluster_ips: vec![vip.into()],
        ports: ports.into(),
        endpoints: endpoints.iter().map(endpoint).collect(),
        ..Service::default()
    }
}

/// The same with a NodePort.
pub fn node_port(mut service: Service, port: u32) -> Service {
    for entry in &mut service.ports {
        entry.node_port = port;
    }
    service
}

/// The v2 cgroup this process is in.
fn own_cgroup() -> PathBuf {
    let text = fs::read_to_string("/proc/self/cgroup").unwrap();
    let path = text.lines().find_map(|line| line.strip_prefix("0::/")).unwrap();
    cgroup::v2_mount().unwrap().join(path)
}
