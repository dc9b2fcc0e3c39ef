//! XDP on the uplink beside tcx: NodePorts and load-balancer addresses whose backend is on another node, by both modes.
//!
//! On veth pairs XDP sends only if the other end has a program, too, and checksums have to be whole, because there is no hardware that
//! would complete them.
use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use kernel::bpf::{Balancer, Room, XdpMode, remove_balancer};
use kernel::netlink::{Netlink, Route};
use kernel::{LbMode, LoadBalancing, UplinkPath, UplinkXdp, netns};
use nix::libc;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

use crate::net::{Server, ask, at, sock, talk};
use crate::world::{OUTSIDE, Pod, World, node_port, service};

const ADDRESS: &str = "203.0.113.7:80";
/// Packets that may take the device although XDP is there: until the neighbours are known.
const FEW: u64 = 20;

/// Two nodes, a backend on the second, and a client outside that reaches the address by the first.
struct Scene {
    world: World,
    backend: Pod,
    _server: Server,
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
    fn new() -> Scene {
        let mut world = World::new(2);
        let backend = world.pod(1);
        let server = Server::start(&backend.netns, sock(backend.ip, 8080), "b");
        let mut web = node_port(service("web", "10.96.7.7", &[&backend]), 30080);
        web.external_ips = vec!["203.0.113.7".into()];
        world.service(web);
        let outside = Netlink::in_netns(&world.outside).unwrap();
        let route = Route::through("203.0.113.0/24".parse().unwrap(), world.nodes[0].ip, "eth0");
        outside.replace_route(&route).unwrap();
        let places = world.nodes.iter().map(|node| node.netns.clone()).chain([world.outside.clone()]);
        places.for_each(|netns| netns::run_in(&netns, || whole_checksums("eth0")).unwrap());
        let passing = (0..2).map(|i| pass(&world, &format!("pnode{i}"))).collect();
        Scene { world, backend, _server: server, passing }
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

    fn addresses(&self) -> [SocketAddr; 2] {
        [sock(self.world.nodes[0].ip, 30080), at(ADDRESS)]
    }

    /// Connections and datagrams to both addresses; the backend sees whom it should.
    fn exchange(&self, mode: LbMode) {
        let client = match mode {
            LbMode::Snat => self.world.nodes[0].ip,
            LbMode::Dsr => OUTSIDE.parse().unwrap(),
        };
        for to in self.addresses() {
            netns::run_in(&self.world.outside, || {
                let mut open = talk(to).unwrap_or_else(|error| panic!("{to}: {error}"));
                assert_eq!((open.server.as_str(), open.seen.ip()), ("b", client), "{to}");
                open.echo(300_000).unwrap();
                let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
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

/// Switches off what leaves transport checksums to the device (ethtool -K tx off).
fn whole_checksums(name: &str) {
    // SIOCETHTOOL and ETHTOOL_STXCSUM of include/uapi/linux/{sockios,ethtool}.h.
    const SIOCETHTOOL: libc::c_ulong = 0x8946;
    const SET_TX_CHECKSUM: u32 = 0x17;
    let any = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None).unwrap();
    let mut value = [SET_TX_CHECKSUM, 0];
    // SAFETY: all zero is a valid ifreq; both structs live for the call.
    let result = unsafe {
        let mut request: libc::ifreq = std::mem::zeroed();
        for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
            *to = from as libc::c_char;
        }
        request.ifr_ifru.ifru_data = value.as_mut_ptr().cast();
        libc::ioctl(any.as_raw_fd(), SIOCETHTOOL, &raw mut request)
    };
    assert_eq!(result, 0, "{name}: {}", std::io::Error::last_os_error());
}

fn both_modes_by(xdp: UplinkXdp) {
    let mut scene = Scene::new();
    for mode in [LbMode::Snat, LbMode::Dsr] {
        scene.set(0, xdp, mode);
        scene.exchange(mode);
        let before = scene.by_device(0);
        scene.exchange(mode);
        let after = scene.by_device(0);
        let (sent, received) = (after.0 - before.0, after.1 - before.1);
        if xdp != UplinkXdp::Off {
            assert!(sent < FEW && received < FEW, "{xdp:?}, {mode:?}: {sent} and {received} packets took the device");
        } else {
            assert!(sent > FEW, "tcx sends by the device");
        }
    }
    // The other node, too: what it answers and what it takes in is for its pods, and passes.
    scene.set(1, xdp, LbMode::Snat);
    scene.exchange(LbMode::Dsr);
    assert_eq!(scene.backend.node, 1);
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
    let mut scene = Scene::new();
    for mode in [LbMode::Snat, LbMode::Dsr] {
        scene.set(0, UplinkXdp::Native, mode);
        let addresses = scene.addresses();
        let mut open: Vec<_> =
            netns::run_in(&scene.world.outside, || addresses.map(|to| talk(to).unwrap())).unwrap().into();
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
    let mut scene = Scene::new();
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

/// A program of another owner on the uplink is no reason not to start.
#[test]
fn a_taken_interface_is_left_to_tcx() {
    let mut scene = Scene::new();
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
