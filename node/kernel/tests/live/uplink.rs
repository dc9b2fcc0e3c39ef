//! XDP on the uplink beside tcx: NodePorts and load-balancer addresses whose backend is on another node, by both modes.
//!
//! On veth pairs XDP sends only if the other end has a program, too, and checksums have to be whole, because there is no hardware that
//! would complete them.
use std::fs;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::time::Instant;

use abi::{Counter, IPPROTO_UDP};
use kernel::bpf::{Balancer, Room, XdpMode, remove_balancer};
use kernel::netlink::{Netlink, Route, compute_checksums};
use kernel::{LbMode, LoadBalancing, UplinkPath, UplinkXdp, netns};
use packet::host::Spec;

use crate::net::{DEADLINE, Server, ask, at, sock, talk};
use crate::raw::Ear;
use crate::world::{OUTSIDE, OUTSIDE6, Pod, Underlay, World, node_port, service};

const ADDRESS: &str = "203.0.113.7:80";
const ADDRESS6: &str = "[2001:db8:7::7]:80";
/// What the nodes may have in between.
const UNDERLAYS: [Underlay; 4] = [
    Underlay { native: 0, six: false, mtu: 0 },
    Underlay { native: 0, six: true, mtu: 0 },
    Underlay { native: 2, six: false, mtu: 0 },
    // Frames of several pages.
    Underlay { native: 0, six: false, mtu: 9_000 },
];
/// Bytes of an exchange.
const MANY: usize = 300_000;
/// Packets that may take the device although XDP is there: until the neighbours are known.
const FEW: u64 = 20;
/// Frames of each family that a test sends by hand.
const FRAMES: u16 = 10;

/// Two nodes, a backend on the second, and a client outside that reaches the address by the first.
struct Scene {
    world: World,
    backend: Pod,
    _servers: [Server; 2],
    under: Underlay,
    passing: Vec<PathBuf>,
}

impl Drop for Scene {
    fn drop(&mut self) {
        for dir in &self.passing {
            let _ = remove_balancer(dir);
        }
    }
}

impl Scene {
    fn new(under: Underlay) -> Scene {
        let mut world = World::over(2, under);
        // Pods' MTU leaves room for the tunnel then, where all are reached natively.
        world.reopen(1, LoadBalancing { xdp: UplinkXdp::Off, mode: LbMode::Dsr });
        let backend = world.dual_pod(1);
        let ips = [backend.ip, backend.ip6.unwrap()];
        let servers = ips.map(|ip| Server::start(&backend.netns, sock(ip, 8080), "b"));
        let mut web = node_port(service("web", "10.96.7.7", &[&backend, &backend]), 30080);
        web.endpoints[1].ip = ips[1].to_string();
        web.cluster_ips.push("fd10:96::707".into());
        web.external_ips = [ADDRESS, ADDRESS6].map(|address| at(address).ip().to_string()).into();
        world.service(web);
        let outside = Netlink::in_netns(&world.outside).unwrap();
        for (range, node) in [("203.0.113.0/24", world.nodes[0].ip), ("2001:db8:7::/64", world.nodes[0].ip6)] {
            outside.replace_route(&Route::through(range.parse().unwrap(), node, "eth0")).unwrap();
        }
        let places = world.nodes.iter().map(|node| node.netns.clone()).chain([world.outside.clone()]);
        places.for_each(|netns| netns::run_in(&netns, || compute_checksums("eth0")).unwrap().unwrap());
        let passing = (0..2).map(|i| pass(&world, &format!("pnode{i}"))).collect();
        Scene { world, backend, _servers: servers, under, passing }
    }

    fn set(&mut self, node: usize, xdp: UplinkXdp, mode: LbMode) {
        self.world.reopen(node, LoadBalancing { xdp, mode });
        let path = match xdp {
            UplinkXdp::Native => UplinkPath::XdpNative,
            UplinkXdp::Generic => UplinkPath::XdpGeneric,
            UplinkXdp::Auto | UplinkXdp::Off => UplinkPath::Tcx,
        };
        assert_eq!(self.world.nodes[node].datapath().uplink_path(), path);
    }

    fn addresses(&self) -> [SocketAddr; 4] {
        let node = &self.world.nodes[0];
        [sock(node.ip, 30080), at(ADDRESS), sock(node.ip6, 30080), at(ADDRESS6)]
    }

    /// Connections and datagrams to both addresses; the backend sees whom it should.
    fn exchange(&self, mode: LbMode) {
        let node = &self.world.nodes[0];
        for to in self.addresses() {
            let client: IpAddr = match mode {
                LbMode::Snat if to.is_ipv6() => node.ip6,
                LbMode::Snat => node.ip,
                LbMode::Dsr => if to.is_ipv6() { OUTSIDE6 } else { OUTSIDE }.parse().unwrap(),
            };
            netns::run_in(&self.world.outside, || {
                let mut open = talk(to).unwrap_or_else(|error| panic!("{to}, {mode:?}, {:?}: {error}", self.under));
                assert_eq!((open.server.as_str(), open.seen.ip()), ("b", client), "{to}");
                open.echo(MANY).unwrap_or_else(|error| panic!("{to}, {:?}: {error}", self.under));
                let socket = UdpSocket::bind(if to.is_ipv6() { "[::]:0" } else { "0.0.0.0:0" }).unwrap();
                for _ in 0..10 {
                    assert_eq!(ask(&socket, to).unwrap().1.ip(), client, "{to}");
                }
            })
            .unwrap();
        }
    }

    /// Packets that a node's VXLAN device has sent and received: XDP goes past it.
    fn by_device(&self, node: usize) -> (u64, u64) {
        let read = || fs::read_to_string("/proc/thread-self/net/dev").unwrap();
        let text = netns::run_in(&self.world.nodes[node].netns, read).unwrap();
        let line = text.lines().find_map(|line| line.trim().strip_prefix("gannet.vxlan:")).unwrap();
        let numbers: Vec<u64> = line.split_whitespace().map(|number| number.parse().unwrap()).collect();
        (numbers[9], numbers[1])
    }
}

/// A program that does nothing on the bridge's end of a node's uplink.
fn pass(world: &World, port: &str) -> PathBuf {
    let dir = world.dir().join(port);
    netns::run_in(&world.underlay, || {
        let index = Netlink::here().unwrap().link(port).unwrap().index;
        // Without a configuration everything passes.
        let pass = Balancer::open(&dir, Room { slots: 2, flows: 1 }).unwrap();
        pass.attach(index, XdpMode::Driver).unwrap();
    })
    .unwrap();
    dir
}

fn both_modes_by(xdp: UplinkXdp) {
    for under in UNDERLAYS {
        let mut scene = Scene::new(under);
        for mode in [LbMode::Snat, LbMode::Dsr] {
            scene.set(0, xdp, mode);
            scene.exchange(mode);
            let before = scene.by_device(0);
            scene.exchange(mode);
            let after = scene.by_device(0);
            let (sent, received) = (after.0 - before.0, after.1 - before.1);
            let at = format!("{xdp:?}, {mode:?}, {under:?}: {sent} and {received} packets took the device");
            if xdp != UplinkXdp::Off {
                assert!(sent < FEW && received < FEW, "{at}");
            } else {
                assert_eq!(sent > FEW, under.native == 0 || mode == LbMode::Dsr, "{at}");
            }
        }
        // The other node, too: what it answers and what it takes in is for its pods, and passes.
        scene.set(1, xdp, LbMode::Dsr);
        scene.exchange(LbMode::Dsr);
        assert_eq!(scene.backend.node, 1);
    }
}

#[test]
fn by_tcx_alone() {
    both_modes_by(UplinkXdp::Off);
}

#[test]
fn in_the_driver() {
    both_modes_by(UplinkXdp::Native);
}

#[test]
fn in_the_stack() {
    both_modes_by(UplinkXdp::Generic);
}

#[test]
fn a_connection_survives_each_change() {
    UNDERLAYS.into_iter().for_each(survive_each_change);
}

fn survive_each_change(under: Underlay) {
    let mut scene = Scene::new(under);
    for mode in [LbMode::Snat, LbMode::Dsr] {
        scene.set(0, UplinkXdp::Native, mode);
        let addresses = scene.addresses();
        let mut open: Vec<_> = netns::run_in(&scene.world.outside, || {
            addresses.map(|to| talk(to).unwrap_or_else(|error| panic!("{to}, {mode:?}, {under:?}: {error}")))
        })
        .unwrap()
        .into();
        for xdp in [UplinkXdp::Off, UplinkXdp::Native, UplinkXdp::Generic, UplinkXdp::Native, UplinkXdp::Auto] {
            // Connections keep the mode that they were opened in.
            for other in [LbMode::Dsr, LbMode::Snat] {
                scene.set(0, xdp, other);
                open.iter_mut().for_each(|talk| talk.echo(50_000).unwrap());
            }
        }
    }
}

#[test]
fn a_restart_keeps_the_link() {
    let mut scene = Scene::new(Underlay::default());
    scene.set(0, UplinkXdp::Native, LbMode::Snat);
    let link = |scene: &Scene| {
        let links = scene.world.nodes[0].datapath().links().unwrap();
        links.into_iter().find(|link| link.name == "uplink_xdp_native")
    };
    let before = link(&scene);
    assert!(before.is_some());
    scene.set(0, UplinkXdp::Native, LbMode::Snat);
    assert_eq!(link(&scene), before);
    scene.set(0, UplinkXdp::Off, LbMode::Snat);
    assert_eq!(link(&scene), None);
}

/// A VLAN's frames are not the uplink's. That holds at tcx, which is told of tags that were taken off; XDP is not (a bridge takes them off
/// here as hardware does), and stays away from uplinks with VLANs.
#[test]
fn tagged_frames_are_of_another_network() {
    let mut scene = Scene::new(Underlay::default());
    scene.set(0, UplinkXdp::Off, LbMode::Snat);
    scene.exchange(LbMode::Snat);
    let node = &scene.world.nodes[0];
    let counters = || node.datapath().counters().unwrap();
    let grown = |before: &[u64], counter: Counter| counters()[counter as usize] - before[counter as usize];
    let sender = Ear::on(&scene.world.outside, "eth0");
    let to_mac = Netlink::in_netns(&node.netns).unwrap().link("eth0").unwrap().mac.0;
    let before = counters();
    // One after the other on one wire: when the plain ones are seen, the tagged ones are over.
    for (tagged, first) in [(true, 40_000), (false, 41_000)] {
        for (client, to) in [(OUTSIDE, node.ip), (OUTSIDE6, node.ip6)] {
            for port in first..first + FRAMES {
                let spec = Spec::new(client.parse().unwrap(), to, IPPROTO_UDP, port, 30_080);
                let mut frame = Spec { to_mac, ..spec }.build();
                if tagged {
                    // IEEE 802.1Q, VLAN 5.
                    frame.splice(12..12, [0x81, 0, 0, 5]);
                }
                sender.send(&frame);
            }
        }
    }
    let plain = 2 * u64::from(FRAMES);
    let deadline = Instant::now() + DEADLINE;
    while grown(&before, Counter::NewFlow) < plain && Instant::now() < deadline {
        std::thread::yield_now();
    }
    assert_eq!(grown(&before, Counter::NewFlow), plain);
}

/// A program of another owner on the uplink is no reason not to start.
#[test]
fn a_taken_interface_is_left_to_tcx() {
    let mut scene = Scene::new(Underlay::default());
    let other = scene.world.dir().join("other");
    netns::run_in(&scene.world.nodes[0].netns, || attach_here(&other, "eth0")).unwrap();
    scene.world.reopen(0, LoadBalancing { xdp: UplinkXdp::Native, mode: LbMode::Snat });
    assert_eq!(scene.world.nodes[0].datapath().uplink_path(), UplinkPath::Tcx);
    scene.exchange(LbMode::Snat);
    remove_balancer(&other).unwrap();
}

fn attach_here(dir: &Path, name: &str) {
    let index = Netlink::here().unwrap().link(name).unwrap().index;
    Balancer::open(dir, Room { slots: 2, flows: 1 }).unwrap().attach(index, XdpMode::Driver).unwrap();
}
