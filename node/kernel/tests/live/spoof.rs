//! What a pod with raw sockets cannot do: speak for others, or reach a pod before its policy stands.
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::Path;
use std::time::{Duration, Instant};

use abi::{Counter, IPPROTO_ICMPV6, IPPROTO_TCP, IPPROTO_UDP};
use kernel::netns;
use packet::host::Spec;
use wire::fabric::{Delta, PodPolicy, Rule, Ruleset};

use crate::net::{DEADLINE, SILENCE, Server, ask, sock};
use crate::raw::{Ear, Task};
use crate::world::{GATEWAY, GATEWAY6, OUTSIDE, Pod, World};

/// Stands in every forged frame, so that it is known wherever it is heard.
const MARK: [u8; 8] = *b"\x02\xf0forged";
/// Neighbour solicitation and advertisement, router advertisement (RFC 4861 section 4).
const ROUTER_ADVERTISEMENT: u8 = 134;
const NEIGHBOUR_SOLICITATION: u8 = 135;
const NEIGHBOUR_ADVERTISEMENT: u8 = 136;

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// A UDP or TCP packet with the mark in it.
fn packet(from: IpAddr, to: IpAddr, proto: u8, port: u16, from_mac: [u8; 6]) -> Vec<u8> {
    Spec { payload: MARK.to_vec(), from_mac, ..Spec::new(from, to, proto, 68, port) }.build()
}

/// An ICMPv6 message about `about`, with the mark as link-layer address. Echo requests have the same header, so one is changed.
fn neighbour(from: IpAddr, to: IpAddr, kind: u8, about: IpAddr, from_mac: [u8; 6]) -> Vec<u8> {
    let IpAddr::V6(about) = about else { panic!("neighbours of IPv6") };
    let mut payload = about.octets().to_vec();
    payload.extend(MARK);
    let spec = Spec { payload, ttl: 255, from_mac, ..Spec::new(from, to, IPPROTO_ICMPV6, 0, 1) };
    let mut frame = spec.build();
    let at = frame.len() - 8 - 16 - MARK.len();
    frame[at] = kind;
    // The type is the high byte of the message's first word, so the sum changes by as much.
    let sum = u32::from(u16::from_be_bytes([frame[at + 2], frame[at + 3]])) + (u32::from(128_u8) << 8) + 0xffff
        - (u32::from(kind) << 8);
    let sum = ((sum & 0xffff) + (sum >> 16)) as u16;
    frame[at + 2..at + 4].copy_from_slice(&sum.to_be_bytes());
    frame
}

/// An ARP packet (RFC 826) that says `ip` is at the mark's address.
fn arp(operation: u8, ip: IpAddr, asks: IpAddr, from_mac: [u8; 6]) -> Vec<u8> {
    let (IpAddr::V4(ip), IpAddr::V4(asks)) = (ip, asks) else { panic!("ARP is of IPv4") };
    let mut frame = [[0xff; 6], from_mac].concat();
    frame.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, operation]);
    frame.extend(&MARK[..6]);
    frame.extend(ip.octets());
    frame.extend([0; 6]);
    frame.extend(asks.octets());
    frame.extend(MARK);
    frame
}

#[test]
fn nothing_forged_leaves_a_pod() {
    let mut world = World::new(2);
    let (liar, near, far, old) = (world.dual_pod(0), world.dual_pod(0), world.dual_pod(1), world.pod(0));
    let mac = liar.attached.pod_mac.0;
    let (own4, own6) = (liar.ip, liar.ip6.unwrap());
    let (near4, near6, far6) = (near.ip, near.ip6.unwrap(), far.ip6.unwrap());
    let (everybody, router) = (address("ff02::1"), address("fe80::1"));
    let to_near = |from, proto| packet(from, near4, proto, 8080, mac);
    let mut ragged = to_near(own4, IPPROTO_TCP);
    ragged.truncate(14 + 20 + 6);
    ragged[16..18].copy_from_slice(&[0, 26]);
    ragged[34..].copy_from_slice(&MARK[..6]);
    let mut unknown = [[0xff; 6], mac].concat();
    unknown.extend([0x88, 0xcc]);
    unknown.extend([MARK; 6].concat());
    use Counter::{DropMalformed, DropSpoofed, DropUnsupported};
    let forged: Vec<(&str, Vec<u8>, Counter)> = vec![
        ("another pod's address", to_near(far.ip, IPPROTO_UDP), DropSpoofed),
        ("the receiver's address", to_near(near4, IPPROTO_TCP), DropSpoofed),
        ("an outside address", to_near(address("203.0.113.9"), IPPROTO_UDP), DropSpoofed),
        ("the node's address", to_near(world.nodes[0].ip, IPPROTO_TCP), DropSpoofed),
        ("the gateway's address", to_near(GATEWAY, IPPROTO_UDP), DropSpoofed),
        ("loopback", to_near(address("127.0.0.1"), IPPROTO_UDP), DropSpoofed),
        ("another MAC", packet(own4, near4, IPPROTO_UDP, 8080, near.attached.pod_mac.0), DropSpoofed),
        ("out with another's address", packet(near4, address(OUTSIDE), IPPROTO_UDP, 7, mac), DropSpoofed),
        ("another pod's v6 address", packet(far6, near6, IPPROTO_UDP, 8080, mac), DropSpoofed),
        ("the node's v6 address", packet(world.nodes[0].ip6, near6, IPPROTO_TCP, 8080, mac), DropSpoofed),
        ("a link-local address", packet(address("fe80::5"), near6, IPPROTO_UDP, 8080, mac), DropSpoofed),
        ("v6, another MAC", packet(own6, near6, IPPROTO_UDP, 8080, near.attached.pod_mac.0), DropSpoofed),
        ("ARP: I am the gateway", arp(2, GATEWAY, near4, mac), DropUnsupported),
        ("ARP: who is this? I am another", arp(1, near4, near4, mac), DropUnsupported),
        (
            "to all: another's address is mine",
            neighbour(near6, everybody, NEIGHBOUR_ADVERTISEMENT, near6, mac),
            DropUnsupported,
        ),
        ("to one: another's address is mine", neighbour(far6, near6, NEIGHBOUR_ADVERTISEMENT, far6, mac), DropSpoofed),
        (
            "to one: the gateway is mine",
            neighbour(GATEWAY6, near6, NEIGHBOUR_ADVERTISEMENT, GATEWAY6, mac),
            DropSpoofed,
        ),
        ("who is this? I am another", neighbour(far6, near6, NEIGHBOUR_SOLICITATION, near6, mac), DropSpoofed),
        ("to all: I am a router", neighbour(router, everybody, ROUTER_ADVERTISEMENT, near6, mac), DropUnsupported),
        ("to one: I am a router", neighbour(router, near6, ROUTER_ADVERTISEMENT, near6, mac), DropSpoofed),
        (
            "DHCP discover",
            packet(address("0.0.0.0"), address("255.255.255.255"), IPPROTO_UDP, 67, mac),
            DropUnsupported,
        ),
        ("DHCP offer", packet(GATEWAY, address("255.255.255.255"), IPPROTO_UDP, 68, mac), DropUnsupported),
        ("DHCPv6 solicit", packet(address("fe80::5"), address("ff02::1:2"), IPPROTO_UDP, 547, mac), DropUnsupported),
        ("multicast DNS", packet(own4, address("224.0.0.251"), IPPROTO_UDP, 5353, mac), DropUnsupported),
        ("not IP", unknown, DropUnsupported),
        ("half a header", ragged, DropMalformed),
    ];
    let mouth = Ear::on(&liar.netns, "eth0");
    let ears = [
        ("the near pod", Ear::on(&near.netns, "eth0")),
        ("the far pod", Ear::on(&far.netns, "eth0")),
        ("the uplink", Ear::on(&world.nodes[0].netns, "eth0")),
        ("the overlay", Ear::on(&world.nodes[0].netns, "gannet.vxlan")),
        ("the underlay", Ear::on(&world.underlay, "br0")),
    ];
    let count = |counter: Counter| world.nodes[0].datapath().counters().unwrap()[counter as usize];
    for (what, frame, reason) in &forged {
        let before = count(*reason);
        mouth.send(frame);
        assert_eq!(count(*reason), before + 1, "{what}: {reason:?}");
    }
    // A pod of one family has no address of the other to speak from.
    let before = count(DropSpoofed);
    Ear::on(&old.netns, "eth0").send(&packet(own6, near6, IPPROTO_UDP, 8080, old.attached.pod_mac.0));
    assert_eq!(count(DropSpoofed), before + 1);
    let marked = |frame: &Vec<u8>| frame.windows(6).any(|bytes| bytes == &MARK[..6]);
    for (place, ear) in &ears {
        let heard: Vec<Vec<u8>> = ear.heard(SILENCE).into_iter().filter(marked).collect();
        assert!(heard.is_empty(), "{place} heard {heard:02x?}");
    }
    // What is honest is heard.
    mouth.send(&to_near(own4, IPPROTO_UDP));
    mouth.send(&packet(own6, far6, IPPROTO_UDP, 8080, mac));
    for (place, ear) in &ears[..2] {
        assert!(ear.heard(SILENCE).iter().any(marked), "{place} is deaf");
    }
    // And the pods still talk to whom they talked.
    let _server = [near4, near6].map(|ip| Server::start(&near.netns, sock(ip, 8080), "near"));
    world.in_pod(&far, || {
        for to in [near4, near6] {
            let socket = UdpSocket::bind(if to.is_ipv6() { "[::]:0" } else { "0.0.0.0:0" }).unwrap();
            assert_eq!(ask(&socket, sock(to, 8080)).unwrap().0, "near");
        }
    });
}

/// Packets a turn and pause between turns: ten thousand a second.
const BURST: usize = 10;
const PAUSE: Duration = Duration::from_millis(1);

/// Sends datagrams to addresses that nobody may have yet.
fn knock(netns: &Path, targets: Vec<SocketAddr>) -> Task {
    let sockets = || ["0.0.0.0:0", "[::]:0"].map(|any| UdpSocket::bind(any).unwrap());
    Task::start(netns, sockets, move |[v4, v6]| {
        for target in targets.iter().cycle().take(BURST) {
            // There may be no way yet, or an error about an earlier one.
            let _ = if target.is_ipv4() { v4.send_to(b"?", target) } else { v6.send_to(b"?", target) };
        }
        std::thread::park_timeout(PAUSE);
    })
}

/// Datagrams that came to a pod, whether anybody listened or not.
fn received(pod: &Pod) -> u64 {
    netns::run_in(&pod.netns, || {
        let read = |name: &str| std::fs::read_to_string(format!("/proc/thread-self/net/{name}")).unwrap();
        let snmp = read("snmp");
        let mut lines = snmp.lines().filter_map(|line| line.strip_prefix("Udp: "));
        let (names, values) = (lines.next().unwrap(), lines.next().unwrap());
        let v4 = names.split(' ').zip(values.split(' ')).filter(|(name, _)| matches!(*name, "InDatagrams" | "NoPorts"));
        let snmp6 = read("snmp6");
        let lines = snmp6.lines().filter_map(|line| line.split_once(char::is_whitespace));
        let v6 = lines.filter(|(name, _)| matches!(*name, "Udp6InDatagrams" | "Udp6NoPorts"));
        v4.chain(v6).map(|(_, value)| value.trim().parse::<u64>().unwrap()).sum()
    })
    .unwrap()
}

/// Looks until a number is more than this.
fn grows(what: &str, least: u64, look: impl Fn() -> u64) {
    let deadline = Instant::now() + DEADLINE;
    while look() <= least {
        assert!(Instant::now() < deadline, "{what}: only {}", look());
        std::thread::park_timeout(PAUSE);
    }
}

#[test]
fn no_packet_comes_before_the_policy() {
    let mut world = World::new(2);
    let (near, far) = (world.dual_pod(0), world.dual_pod(1));
    for round in 0..4 {
        let link = world.next_dual_link(0);
        let targets: Vec<SocketAddr> = link.addresses.iter().map(|ip| sock(*ip, 8080)).collect();
        let _knocking = [&near, &far].map(|pod| knock(&pod.netns, targets.clone()));
        let name = format!("default/{}", link.host_ifname);
        world.nodes[0].seats.insert(name.clone(), link.seat);
        let police = |world: &mut World, rules: Vec<Rule>| {
            let ruleset = Ruleset { number: 1 + round, ingress: true, egress: false, rules };
            let record = PodPolicy { pod: name.clone(), uid: "u".into(), ruleset: 1 + round, ips: Vec::new() };
            let epoch = world.state.epoch.0 + 1;
            world.apply(Delta { epoch, rulesets: vec![ruleset], pods: vec![record], ..Delta::default() });
        };
        police(&mut world, Vec::new());
        let count = |counter: Counter| world.nodes[0].datapath().counters().unwrap()[counter as usize];
        grows("knocks at nobody's door", count(Counter::DropNoPod) + 100, || count(Counter::DropNoPod));
        let pod = world.attach(0, link);
        grows("knocks that are refused", count(Counter::DropPolicyIngress) + 1000, || {
            assert_eq!(received(&pod), 0, "round {round}");
            count(Counter::DropPolicyIngress)
        });
        // They do knock.
        let anybody = Rule { egress: false, identity: 0, protocol: 0, first_port: 0, last_port: 0, deny: false };
        police(&mut world, vec![anybody]);
        grows("knocks that are let in", 100, || received(&pod));
    }
}
