//! Fragments in any order, through every hook that packets come in by; and what is for nobody here.
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::Path;

use abi::{Counter, IPPROTO_UDP};
use kernel::netlink::{Netlink, Route};
use kernel::netns;
use packet::host::Spec;
use wire::fabric::{Rule, Ruleset};

use crate::net::{DEADLINE, SILENCE, Server, sock};
use crate::policy::guard;
use crate::raw::{Ear, echo_answers, unique};
use crate::world::{OUTSIDE, OUTSIDE6, Pod, World, node_port, service};

const THREE: [&[usize]; 6] = [&[0, 1, 2], &[0, 2, 1], &[1, 0, 2], &[1, 2, 0], &[2, 0, 1], &[2, 1, 0]];
const EIGHT: &[usize] = &[7, 6, 5, 4, 3, 2, 1, 0];
/// Duplicates, early and late.
const AGAIN: &[usize] = &[2, 2, 1, 0, 0, 1, 2];
/// Bytes of a fragment.
const PIECE: usize = 400;

/// Where frames are sent, and the socket that hears the answers.
struct Sender<'a> {
    netns: &'a Path,
    ear: Ear,
    ip: IpAddr,
    from_mac: [u8; 6],
    to_mac: [u8; 6],
}

impl Sender<'_> {
    fn of_pod(pod: &Pod, ip: IpAddr) -> Sender<'_> {
        let (from_mac, to_mac) = (pod.attached.pod_mac.0, pod.attached.host_mac.0);
        Sender { netns: &pod.netns, ear: Ear::on(&pod.netns, "eth0"), ip, from_mac, to_mac }
    }

    /// Of the outside host, to a node.
    fn outside(world: &World, node: usize, v6: bool) -> Sender<'_> {
        let mac = |netns: &Path| Netlink::in_netns(netns).unwrap().link("eth0").unwrap().mac.0;
        let ip = if v6 { OUTSIDE6 } else { OUTSIDE }.parse().unwrap();
        let (from_mac, to_mac) = (mac(&world.outside), mac(&world.nodes[node].netns));
        Sender { netns: &world.outside, ear: Ear::on(&world.outside, "eth0"), ip, from_mac, to_mac }
    }

    fn spec(&self, to: SocketAddr, sport: u16, pieces: usize) -> Spec {
        let payload = (0..pieces * PIECE - 100).map(|i| i as u8).collect();
        let (from_mac, to_mac) = (self.from_mac, self.to_mac);
        Spec { payload, from_mac, to_mac, ..Spec::new(self.ip, to.ip(), IPPROTO_UDP, sport, to.port()) }
    }

    /// Sends a datagram in fragments of this order, wrapped as `wrap` says; who answers, and whom it saw.
    fn ask(&self, to: SocketAddr, order: &[usize], wrap: &dyn Fn(Vec<u8>) -> Vec<u8>) -> Option<(String, SocketAddr)> {
        let sport = unique();
        let socket = netns::run_in(self.netns, || UdpSocket::bind(sock(self.ip, sport)).unwrap()).unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        let count = order.iter().max().unwrap() + 1;
        let frames = self.spec(to, sport, count).cut(u32::from(sport), PIECE);
        assert_eq!(frames.len(), count);
        order.iter().for_each(|at| self.ear.send(&wrap(frames[*at].clone())));
        let mut buffer = [0; 256];
        let (count, from) = socket.recv_from(&mut buffer).ok()?;
        assert_eq!(from, to, "address of the answer");
        let text = String::from_utf8_lossy(&buffer[..count]).into_owned();
        let (name, seen) = text.split_once(' ')?;
        Some((name.to_owned(), seen.parse().unwrap()))
    }

    /// Every order arrives.
    fn ask_all(&self, to: SocketAddr, wrap: &dyn Fn(Vec<u8>) -> Vec<u8>) {
        for order in THREE.into_iter().chain([EIGHT, AGAIN]) {
            let answer = self.ask(to, order, wrap);
            assert!(answer.is_some(), "{} to {to} in the order {order:?}", self.ip);
        }
    }
}

fn plain(frame: Vec<u8>) -> Vec<u8> {
    frame
}

/// A Service on UDP of each family for each backend.
fn serve(world: &mut World, name: &str, last: u8, port: u32, pod: &Pod) -> [SocketAddr; 2] {
    let addresses: [IpAddr; 2] =
        [format!("10.96.9.{last}").parse().unwrap(), format!("fd10:96::9{last}").parse().unwrap()];
    let mut web = node_port(service(name, &addresses[0].to_string(), &[pod]), port);
    web.cluster_ips.push(addresses[1].to_string());
    let mut second = web.endpoints[0].clone();
    second.ip = pod.ip6.unwrap().to_string();
    web.endpoints.push(second);
    world.service(web);
    addresses.map(|ip| sock(ip, 80))
}

fn counter(world: &World, node: usize, counter: Counter) -> u64 {
    world.nodes[node].datapath().counters().unwrap()[counter as usize]
}

#[test]
fn datagrams_arrive_in_any_order_of_their_fragments() {
    let mut world = World::new(2);
    let (client, near, far) = (world.dual_pod(0), world.dual_pod(0), world.dual_pod(1));
    let mut servers = Vec::new();
    for pod in [&near, &far] {
        servers.extend([pod.ip, pod.ip6.unwrap()].map(|ip| Server::start(&pod.netns, sock(ip, 8080), "s")));
    }
    let addresses = [serve(&mut world, "near", 1, 30_001, &near), serve(&mut world, "far", 2, 30_002, &far)];
    for (i, ip) in [client.ip, client.ip6.unwrap()].into_iter().enumerate() {
        let sender = Sender::of_pod(&client, ip);
        addresses.iter().for_each(|families| sender.ask_all(families[i], &plain));
    }
    for v6 in [false, true] {
        let sender = Sender::outside(&world, 0, v6);
        let node = if v6 { world.nodes[0].ip6 } else { world.nodes[0].ip };
        [30_001, 30_002].iter().for_each(|port| sender.ask_all(sock(node, *port), &plain));
    }
    assert!(counter(&world, 0, Counter::FragmentHeld) > 0);
    assert_eq!(counter(&world, 0, Counter::DropFragment), 0);
}

/// Out of the tunnel to a pod whose policy goes by ports; who the sender is stays known while a fragment waits.
#[test]
fn fragments_of_the_overlay_wait_for_their_first() {
    let mut world = World::new(2);
    let (server, client, stranger) = (world.dual_pod(0), world.dual_pod(1), world.dual_pod(1));
    let _servers = [server.ip, server.ip6.unwrap()].map(|ip| Server::start(&server.netns, sock(ip, 8080), "s"));
    let rule = Rule { egress: false, identity: 7, protocol: 17, first_port: 8080, last_port: 8080, deny: false };
    let ruleset = Ruleset { number: 1, ingress: true, egress: false, rules: vec![rule] };
    guard(&mut world, &server, ruleset, &[(client.ip, 7), (client.ip6.unwrap(), 7)]);
    let (inner, outer) = (&world.nodes[0], &world.nodes[1]);
    let mac = |netns: &Path| Netlink::in_netns(netns).unwrap().link("eth0").unwrap().mac.0;
    let (from_mac, to_mac, vni) = (mac(&outer.netns), mac(&inner.netns), inner.datapath().config().vni);
    let wrap = |frame: Vec<u8>| {
        let payload = [&[8, 0, 0, 0][..], &(vni << 8).to_be_bytes(), &frame].concat();
        let spec = Spec::new(outer.ip, inner.ip, IPPROTO_UDP, 50_000, 4789);
        Spec { payload, from_mac, to_mac, no_checksum: true, ..spec }.build()
    };
    for (ip, to) in [(client.ip, server.ip), (client.ip6.unwrap(), server.ip6.unwrap())] {
        let sender = Sender { ear: Ear::on(&outer.netns, "eth0"), ..Sender::of_pod(&client, ip) };
        sender.ask_all(sock(to, 8080), &wrap);
    }
    assert!(counter(&world, 0, Counter::FragmentReleased) > 0);
    let denied = counter(&world, 0, Counter::DropPolicyIngress);
    let sender = Sender { ear: Ear::on(&outer.netns, "eth0"), ..Sender::of_pod(&stranger, stranger.ip) };
    let socket = netns::run_in(sender.netns, || UdpSocket::bind(sock(sender.ip, 7_777)).unwrap()).unwrap();
    socket.set_read_timeout(Some(SILENCE)).unwrap();
    let frames = sender.spec(sock(server.ip, 8080), 7_777, 3).cut(77, PIECE);
    frames.iter().rev().for_each(|frame| sender.ear.send(&wrap(frame.clone())));
    assert!(socket.recv_from(&mut [0; 64]).is_err(), "a stranger is not let in piece by piece");
    assert_eq!(counter(&world, 0, Counter::DropPolicyIngress) - denied, 3);
}

/// What no port of a Service takes does not go back to the router.
#[test]
fn service_addresses_answer_echoes_and_swallow_the_rest() {
    let mut world = World::new(1);
    let pod = world.dual_pod(0);
    let mut web = service("web", "10.96.7.7", &[&pod]);
    web.external_ips = vec!["203.0.113.7".into(), "2001:db8:77::7".into()];
    web.cluster_ips.push("fd10:96::77".into());
    world.service(web);
    let outside = Netlink::in_netns(&world.outside).unwrap();
    let node = &world.nodes[0];
    for (to, via) in [("203.0.113.0/24", node.ip), ("2001:db8:77::/64", node.ip6)] {
        outside.replace_route(&Route::through(to.parse().unwrap(), via, "eth0")).unwrap();
    }
    for text in ["203.0.113.7", "2001:db8:77::7"] {
        let ip: IpAddr = text.parse().unwrap();
        assert!(netns::run_in(&world.outside, || echo_answers(ip, DEADLINE)).unwrap(), "{text}");
    }
    assert_eq!(counter(&world, 0, Counter::Answered), 2);
    let ear = Ear::on(&node.netns, "eth0");
    netns::run_in(&world.outside, || {
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        socket.send_to(b"nowhere to go", "203.0.113.7:81").unwrap();
    })
    .unwrap();
    let heard = ear.heard(SILENCE);
    let rounds = heard.iter().filter(|frame| frame.windows(13).any(|bytes| bytes == b"nowhere to go")).count();
    assert_eq!(rounds, 1, "it came in once, and did not go out");
    assert_eq!(counter(&world, 0, Counter::DropNoPort), 1);
    // Once the node itself has the address, its stack answers.
    Netlink::in_netns(&node.netns).unwrap().add_address("lo", "203.0.113.7/32".parse().unwrap()).unwrap();
    let _own = Server::start(&node.netns, "203.0.113.7:81".parse().unwrap(), "own");
    netns::run_in(&world.outside, || crate::net::talk("203.0.113.7:81".parse().unwrap()).unwrap()).unwrap();
}

/// A frame that a promiscuous uplink lets in though it is for another MAC.
#[test]
fn frames_for_another_mac_are_nobodys() {
    let mut world = World::new(1);
    let pod = world.dual_pod(0);
    let _server = Server::start(&pod.netns, sock(pod.ip, 8080), "s");
    world.service(node_port(service("web", "10.96.7.7", &[&pod]), 30_001));
    let to = sock(world.nodes[0].ip, 30_001);
    let sender = Sender::outside(&world, 0, false);
    let whole = [0];
    assert!(sender.ask(to, &whole, &plain).is_some());
    let flows = counter(&world, 0, Counter::NewFlow);
    let spec = Spec { to_mac: [2, 0, 0, 0, 9, 9], ..sender.spec(to, unique(), 1) };
    sender.ear.send(&spec.build());
    assert!(sender.ask(to, &whole, &plain).is_some());
    assert_eq!(counter(&world, 0, Counter::NewFlow) - flows, 1, "only the second one has opened a flow");
}
