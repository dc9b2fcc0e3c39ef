//! Lives of packets, hook by hook: what goes in, what comes out.
//!
//! A line is `hook: proto[flags] from > to`; the answer is the verdict and the packet as it leaves. Hooks: `pod2` and `pod3` (what
//! these pods send), `uplink`, `node2` and `node3` (what they send over the overlay), `to_pod`, `to_uplink`, `to_overlay`.

use std::fmt::Write as _;

use abi::{BACKEND_ALIVE, BACKEND_DRAINING, IPPROTO_ICMP, IPPROTO_SCTP, IPPROTO_TCP, IPPROTO_UDP};
use expect_test::{Expect, expect};
use packet::{
    Verdict,
    host::{Fragment, Frame, Hook, Memory, Spec, Step, apply, check as check_sums, icmp_error, pod_mac, v4, world},
};

fn check(m: &Memory, script: &str, expected: Expect) {
    let mut out = String::new();
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        writeln!(out, "{line}\n    {}", run(m, line)).expect("a String takes everything");
    }
    expected.assert_eq(&out);
}

fn run(m: &Memory, line: &str) -> String {
    let (hook, packet) = line.split_once(": ").expect("hook: packet");
    let (hook, mac) = match hook {
        "pod2" => (Hook::FromPod { ifindex: 12 }, pod_mac(2)),
        "pod3" => (Hook::FromPod { ifindex: 13 }, pod_mac(3)),
        "uplink" => (Hook::FromUplink, [0; 6]),
        "node2" => (Hook::FromOverlay { node: v4("192.0.2.2"), vni: 1 }, [0; 6]),
        "node3" => (Hook::FromOverlay { node: v4("192.0.2.3"), vni: 1 }, [0; 6]),
        "to_pod" => (Hook::ToPod, [0; 6]),
        "to_uplink" => (Hook::ToUplink, [0; 6]),
        "to_overlay" => (Hook::ToOverlay, [0; 6]),
        other => panic!("no hook {other}"),
    };
    let mut bytes = build(packet);
    bytes[6..12].copy_from_slice(&mac);
    let mut it = Step { hook, frame: Frame(bytes), now_s: m.now_s.get() };
    let verdict = apply(m, &mut it);
    let what = match verdict {
        Verdict::Drop(counter) => return format!("{counter:?}"),
        Verdict::Pass => "pass".to_owned(),
        Verdict::Peer { ifindex } => format!("pod{}", ifindex - 10),
        Verdict::Redirect { ifindex } => format!("out to pod{}", ifindex - 10),
        Verdict::Neigh { .. } => "out by the uplink".to_owned(),
        Verdict::Tunnel { node, .. } => format!("tunnel to {}", octets(&node.v4_octets())),
        Verdict::Key { node, .. } => format!("key {}", octets(&node.v4_octets())),
    };
    if !packet.contains("frag") {
        assert_eq!(check_sums(&it.frame.0), Ok(()), "{line}");
    }
    format!("{what}: {}", show(&it.frame.0))
}

/// `tcp.S 10.0.0.1:1 > 10.0.0.2:2 [ttl=1] [frag=first|later] [about=proto a:p > b:q]`.
fn build(text: &str) -> Vec<u8> {
    let (text, about) = match text.split_once(" about=") {
        Some((text, about)) => (text, Some(about)),
        None => (text, None),
    };
    let mut words = text.split_whitespace();
    let kind = words.next().expect("a protocol");
    let from = endpoint(words.next().expect("a source"));
    assert_eq!(words.next(), Some(">"));
    let to = endpoint(words.next().expect("a destination"));
    if let Some(about) = about {
        return icmp_error(from.0, to.0, &build(about));
    }
    let (proto, flags) = match kind.split_once('.') {
        Some((proto, flags)) => (proto, flags),
        None => (kind, ""),
    };
    let proto = match proto {
        "tcp" => IPPROTO_TCP,
        "udp" => IPPROTO_UDP,
        "sctp" => IPPROTO_SCTP,
        "echo" | "reply" => IPPROTO_ICMP,
        other => other.parse().expect("a protocol number"),
    };
    let mut spec = Spec::new(from.0, to.0, proto, from.1, if kind == "reply" { 0 } else { to.1.max(1) });
    spec.tcp_flags = match flags {
        "S" => 2,
        "SA" => 0x12,
        "F" => 0x11,
        "R" => 4,
        _ => 0x10,
    };
    for word in words {
        match word.split_once('=').expect("name=value") {
            ("ttl", n) => spec.ttl = n.parse().expect("a number"),
            ("frag", "first") => spec.fragment = Some(Fragment { id: 7, offset: 0, more: true }),
            ("frag", _) => spec.fragment = Some(Fragment { id: 7, offset: 3, more: false }),
            (other, _) => panic!("no option {other}"),
        }
    }
    spec.build()
}

fn endpoint(text: &str) -> (std::net::IpAddr, u16) {
    match text.split_once(':') {
        Some((ip, port)) => (ip.parse().expect("an address"), port.parse().expect("a port")),
        None => (text.parse().expect("an address"), 0),
    }
}

fn octets(bytes: &[u8]) -> String {
    bytes.iter().map(ToString::to_string).collect::<Vec<_>>().join(".")
}

fn show(frame: &[u8]) -> String {
    let l4 = 14 + usize::from(frame[14] & 15) * 4;
    let port = |at: usize| u16::from_be_bytes([frame[at], frame[at + 1]]);
    let (src, dst) = (octets(&frame[26..30]), octets(&frame[30..34]));
    let later = u16::from_be_bytes([frame[20], frame[21]]) & 0x1fff != 0;
    match frame[23] {
        _ if later => format!("{src} > {dst} later fragment"),
        IPPROTO_ICMP if frame[l4] == 3 => {
            let inner = l4 + 8;
            let (a, b) = (octets(&frame[inner + 12..inner + 16]), octets(&frame[inner + 16..inner + 20]));
            format!("{src} > {dst} about {a}:{} > {b}:{}", port(inner + 20), port(inner + 22))
        }
        IPPROTO_ICMP => format!("{src} > {dst} id {}", port(l4 + 4)),
        6 | 17 | 132 => format!("{src}:{} > {dst}:{}", port(l4), port(l4 + 2)),
        _ => format!("{src} > {dst}"),
    }
}

/// One backend only, so that the choice is known.
fn only(m: &mut Memory, backend: u32) {
    for slot in m.slots.values_mut() {
        *slot = backend;
    }
}

fn backend(m: &Memory, text: &str) -> u32 {
    let (ip, port) = text.split_once(':').expect("address and port");
    let found =
        m.backends.iter().find(|(_, b)| b.addr == v4(ip) && b.port.get() == port.parse::<u16>().expect("a port"));
    *found.expect("the world has this backend").0
}

#[test]
fn cluster_ip() {
    let mut m = world();
    let id = backend(&m, "10.244.1.3:8080");
    only(&mut m, id);
    check(
        &m,
        "pod2: tcp.S 10.244.1.2:1000 > 10.96.0.20:80
         pod3: tcp.SA 10.244.1.3:8080 > 10.244.1.2:1000
         pod2: tcp 10.244.1.2:1000 > 10.96.0.20:80
         pod3: tcp.S 10.244.1.3:1000 > 10.96.0.20:80
         pod3: tcp.SA 10.244.1.3:8080 > 10.96.0.20:1000
         pod2: tcp.S 10.244.1.2:1000 > 10.244.1.3:8080 ttl=1
         pod2: tcp.S 10.244.1.2:1001 > 10.96.9.9:80
         pod2: tcp.S 10.244.1.2:1001 > 10.96.0.21:80
         pod2: sctp 10.244.1.2:1001 > 10.96.0.24:80",
        expect![[r#"
            pod2: tcp.S 10.244.1.2:1000 > 10.96.0.20:80
                pod3: 10.244.1.2:1000 > 10.244.1.3:8080
            pod3: tcp.SA 10.244.1.3:8080 > 10.244.1.2:1000
                pod2: 10.96.0.20:80 > 10.244.1.2:1000
            pod2: tcp 10.244.1.2:1000 > 10.96.0.20:80
                pod3: 10.244.1.2:1000 > 10.244.1.3:8080
            pod3: tcp.S 10.244.1.3:1000 > 10.96.0.20:80
                pod3: 10.96.0.20:1000 > 10.244.1.3:8080
            pod3: tcp.SA 10.244.1.3:8080 > 10.96.0.20:1000
                pod3: 10.96.0.20:80 > 10.244.1.3:1000
            pod2: tcp.S 10.244.1.2:1000 > 10.244.1.3:8080 ttl=1
                DropTtl
            pod2: tcp.S 10.244.1.2:1001 > 10.96.9.9:80
                DropNoBackend
            pod2: tcp.S 10.244.1.2:1001 > 10.96.0.21:80
                DropNoBackend
            pod2: sctp 10.244.1.2:1001 > 10.96.0.24:80
                pod3: 10.244.1.2:1001 > 10.244.1.3:8080
        "#]],
    );
}

#[test]
fn two_services_share_a_backend() {
    let mut m = world();
    let id = backend(&m, "10.244.1.3:8080");
    only(&mut m, id);
    check(
        &m,
        "pod2: tcp.S 10.244.1.2:1000 > 10.96.0.20:80
         pod2: tcp.S 10.244.1.2:1000 > 198.51.100.7:80
         pod3: tcp.SA 10.244.1.3:8080 > 10.244.1.2:1000
         pod3: tcp.SA 10.244.1.3:8080 > 10.244.1.2:40222",
        expect![[r#"
            pod2: tcp.S 10.244.1.2:1000 > 10.96.0.20:80
                pod3: 10.244.1.2:1000 > 10.244.1.3:8080
            pod2: tcp.S 10.244.1.2:1000 > 198.51.100.7:80
                pod3: 10.244.1.2:40222 > 10.244.1.3:8080
            pod3: tcp.SA 10.244.1.3:8080 > 10.244.1.2:1000
                pod2: 10.96.0.20:80 > 10.244.1.2:1000
            pod3: tcp.SA 10.244.1.3:8080 > 10.244.1.2:40222
                pod2: 198.51.100.7:80 > 10.244.1.2:1000
        "#]],
    );
}

#[test]
fn a_port_of_a_service_connection_serves_a_direct_one() {
    let mut m = world();
    let id = backend(&m, "10.244.1.3:8080");
    only(&mut m, id);
    check(
        &m,
        "pod2: tcp.S 10.244.1.2:1000 > 10.96.0.20:80
         pod2: tcp.S 10.244.1.2:1000 > 10.244.1.3:8080
         pod2: tcp 10.244.1.2:1000 > 10.244.1.3:8080
         pod3: tcp.SA 10.244.1.3:8080 > 10.244.1.2:1000
         pod2: tcp.S 10.244.1.2:1001 > 10.244.1.3:8080",
        expect![[r#"
            pod2: tcp.S 10.244.1.2:1000 > 10.96.0.20:80
                pod3: 10.244.1.2:1000 > 10.244.1.3:8080
            pod2: tcp.S 10.244.1.2:1000 > 10.244.1.3:8080
                pod3: 10.244.1.2:40033 > 10.244.1.3:8080
            pod2: tcp 10.244.1.2:1000 > 10.244.1.3:8080
                pod3: 10.244.1.2:40033 > 10.244.1.3:8080
            pod3: tcp.SA 10.244.1.3:8080 > 10.244.1.2:1000
                pod2: 10.96.0.20:80 > 10.244.1.2:1000
            pod2: tcp.S 10.244.1.2:1001 > 10.244.1.3:8080
                pod3: 10.244.1.2:1001 > 10.244.1.3:8080
        "#]],
    );
}

#[test]
fn a_service_on_the_node_itself() {
    let m = world();
    check(
        &m,
        "pod2: udp 10.244.1.2:1000 > 10.96.0.10:53
         to_pod: udp 169.254.1.1:53 > 10.244.1.2:1000
         to_pod: 3 169.254.1.1 > 10.244.1.2 about=udp 10.244.1.2:1000 > 169.254.1.1:53
         to_pod: udp 192.0.2.1:5 > 10.244.1.2:1000",
        expect![[r#"
            pod2: udp 10.244.1.2:1000 > 10.96.0.10:53
                pass: 10.244.1.2:1000 > 169.254.1.1:53
            to_pod: udp 169.254.1.1:53 > 10.244.1.2:1000
                pass: 10.96.0.10:53 > 10.244.1.2:1000
            to_pod: 3 169.254.1.1 > 10.244.1.2 about=udp 10.244.1.2:1000 > 169.254.1.1:53
                pass: 10.96.0.10 > 10.244.1.2 about 10.244.1.2:1000 > 10.96.0.10:53
            to_pod: udp 192.0.2.1:5 > 10.244.1.2:1000
                pass: 192.0.2.1:5 > 10.244.1.2:1000
        "#]],
    );
}

#[test]
fn remote_backends_and_remote_pods() {
    let mut m = world();
    let id = backend(&m, "10.244.2.5:8080");
    only(&mut m, id);
    check(
        &m,
        "pod2: tcp.S 10.244.1.2:1000 > 10.96.0.20:80
         node2: tcp.SA 10.244.2.5:8080 > 10.244.1.2:1000
         pod2: tcp.S 10.244.1.2:1001 > 10.244.2.5:8080
         node2: tcp.SA 10.244.2.5:8080 > 10.244.1.2:1001
         pod2: tcp.S 10.244.1.2:1001 > 192.0.2.2:10250
         node2: tcp.SA 192.0.2.2:10250 > 10.244.1.2:1001
         node2: tcp.S 10.244.2.5:1 > 192.0.2.1:6443
         to_overlay: tcp.SA 192.0.2.1:6443 > 10.244.2.5:1
         to_overlay: tcp.SA 192.0.2.1:6443 > 10.244.1.2:1
         node3: tcp.S 10.244.2.5:1 > 10.244.1.2:80
         node2: tcp.S 10.244.2.5:1 > 10.244.1.77:80
         node2: tcp.S 10.244.2.5:1 > 203.0.113.9:80",
        expect![[r#"
            pod2: tcp.S 10.244.1.2:1000 > 10.96.0.20:80
                tunnel to 192.0.2.2: 10.244.1.2:1000 > 10.244.2.5:8080
            node2: tcp.SA 10.244.2.5:8080 > 10.244.1.2:1000
                pod2: 10.96.0.20:80 > 10.244.1.2:1000
            pod2: tcp.S 10.244.1.2:1001 > 10.244.2.5:8080
                tunnel to 192.0.2.2: 10.244.1.2:1001 > 10.244.2.5:8080
            node2: tcp.SA 10.244.2.5:8080 > 10.244.1.2:1001
                pod2: 10.244.2.5:8080 > 10.244.1.2:1001
            pod2: tcp.S 10.244.1.2:1001 > 192.0.2.2:10250
                tunnel to 192.0.2.2: 10.244.1.2:1001 > 192.0.2.2:10250
            node2: tcp.SA 192.0.2.2:10250 > 10.244.1.2:1001
                pod2: 192.0.2.2:10250 > 10.244.1.2:1001
            node2: tcp.S 10.244.2.5:1 > 192.0.2.1:6443
                pass: 10.244.2.5:1 > 192.0.2.1:6443
            to_overlay: tcp.SA 192.0.2.1:6443 > 10.244.2.5:1
                key 192.0.2.2: 192.0.2.1:6443 > 10.244.2.5:1
            to_overlay: tcp.SA 192.0.2.1:6443 > 10.244.1.2:1
                DropNoRoute
            node3: tcp.S 10.244.2.5:1 > 10.244.1.2:80
                DropOverlay
            node2: tcp.S 10.244.2.5:1 > 10.244.1.77:80
                DropNoPod
            node2: tcp.S 10.244.2.5:1 > 203.0.113.9:80
                DropNoRoute
        "#]],
    );
}

#[test]
fn masquerade() {
    let m = world();
    check(
        &m,
        "pod2: udp 10.244.1.2:1000 > 203.0.113.9:53
         uplink: udp 203.0.113.9:53 > 192.0.2.1:40008
         pod3: udp 10.244.1.3:1000 > 203.0.113.9:53
         pod2: echo 10.244.1.2:77 > 203.0.113.9
         uplink: reply 203.0.113.9:40146 > 192.0.2.1
         uplink: 3 203.0.113.254 > 192.0.2.1 about=udp 192.0.2.1:40008 > 203.0.113.9:53
         uplink: 3 203.0.113.9 > 192.0.2.1 about=udp 192.0.2.1:40008 > 203.0.113.9:53
         pod2: 47 10.244.1.2 > 203.0.113.9
         to_uplink: udp 10.244.1.2:1000 > 203.0.113.9:53
         to_uplink: udp 192.0.2.1:1000 > 203.0.113.9:53
         pod2: udp 10.244.1.3:1000 > 203.0.113.9:53
         pod2: udp 10.244.1.2:1000 > 224.0.0.251:5353",
        expect![[r#"
            pod2: udp 10.244.1.2:1000 > 203.0.113.9:53
                out by the uplink: 192.0.2.1:40008 > 203.0.113.9:53
            uplink: udp 203.0.113.9:53 > 192.0.2.1:40008
                pod2: 203.0.113.9:53 > 10.244.1.2:1000
            pod3: udp 10.244.1.3:1000 > 203.0.113.9:53
                out by the uplink: 192.0.2.1:40193 > 203.0.113.9:53
            pod2: echo 10.244.1.2:77 > 203.0.113.9
                out by the uplink: 192.0.2.1 > 203.0.113.9 id 40146
            uplink: reply 203.0.113.9:40146 > 192.0.2.1
                pod2: 203.0.113.9 > 10.244.1.2 id 77
            uplink: 3 203.0.113.254 > 192.0.2.1 about=udp 192.0.2.1:40008 > 203.0.113.9:53
                pod2: 203.0.113.254 > 10.244.1.2 about 10.244.1.2:1000 > 203.0.113.9:53
            uplink: 3 203.0.113.9 > 192.0.2.1 about=udp 192.0.2.1:40008 > 203.0.113.9:53
                pod2: 203.0.113.9 > 10.244.1.2 about 10.244.1.2:1000 > 203.0.113.9:53
            pod2: 47 10.244.1.2 > 203.0.113.9
                out by the uplink: 192.0.2.1 > 203.0.113.9
            to_uplink: udp 10.244.1.2:1000 > 203.0.113.9:53
                pass: 192.0.2.1:40008 > 203.0.113.9:53
            to_uplink: udp 192.0.2.1:1000 > 203.0.113.9:53
                pass: 192.0.2.1:1000 > 203.0.113.9:53
            pod2: udp 10.244.1.3:1000 > 203.0.113.9:53
                DropSpoofed
            pod2: udp 10.244.1.2:1000 > 224.0.0.251:5353
                DropUnsupported
        "#]],
    );
}

#[test]
fn node_port_to_a_local_pod() {
    let mut m = world();
    let id = backend(&m, "10.244.1.2:8080");
    only(&mut m, id);
    check(
        &m,
        "uplink: tcp.S 203.0.113.9:5000 > 192.0.2.1:30080
         pod2: tcp.SA 10.244.1.2:8080 > 203.0.113.9:5000
         uplink: 3 203.0.113.9 > 192.0.2.1 about=tcp 192.0.2.1:30080 > 203.0.113.9:5000
         pod2: tcp.S 10.244.1.2:5000 > 192.0.2.1:30080
         pod2: tcp.SA 10.244.1.2:8080 > 192.0.2.1:5000
         uplink: tcp.S 203.0.113.9:5000 > 10.96.0.20:80
         uplink: tcp.S 203.0.113.9:5000 > 10.96.0.99:80
         uplink: tcp.S 203.0.113.9:5000 > 192.0.2.1:22
         uplink: tcp.S 203.0.113.9:5000 > 192.0.2.7:22",
        expect![[r#"
            uplink: tcp.S 203.0.113.9:5000 > 192.0.2.1:30080
                pod2: 203.0.113.9:5000 > 10.244.1.2:8080
            pod2: tcp.SA 10.244.1.2:8080 > 203.0.113.9:5000
                out by the uplink: 192.0.2.1:30080 > 203.0.113.9:5000
            uplink: 3 203.0.113.9 > 192.0.2.1 about=tcp 192.0.2.1:30080 > 203.0.113.9:5000
                pod2: 203.0.113.9 > 10.244.1.2 about 10.244.1.2:8080 > 203.0.113.9:5000
            pod2: tcp.S 10.244.1.2:5000 > 192.0.2.1:30080
                pod2: 192.0.2.1:5000 > 10.244.1.2:8080
            pod2: tcp.SA 10.244.1.2:8080 > 192.0.2.1:5000
                pod2: 192.0.2.1:30080 > 10.244.1.2:5000
            uplink: tcp.S 203.0.113.9:5000 > 10.96.0.20:80
                pod2: 203.0.113.9:40102 > 10.244.1.2:8080
            uplink: tcp.S 203.0.113.9:5000 > 10.96.0.99:80
                DropNoBackend
            uplink: tcp.S 203.0.113.9:5000 > 192.0.2.1:22
                pass: 203.0.113.9:5000 > 192.0.2.1:22
            uplink: tcp.S 203.0.113.9:5000 > 192.0.2.7:22
                pass: 203.0.113.9:5000 > 192.0.2.7:22
        "#]],
    );
}

#[test]
fn node_port_to_a_remote_pod() {
    let mut m = world();
    let id = backend(&m, "10.244.2.5:8080");
    only(&mut m, id);
    check(
        &m,
        "uplink: tcp.S 203.0.113.9:5000 > 192.0.2.1:30080
         node2: tcp.SA 10.244.2.5:8080 > 192.0.2.1:40113
         uplink: tcp 203.0.113.9:5000 > 192.0.2.1:30080
         node3: tcp.S 10.244.3.7:5000 > 192.0.2.1:30080
         node2: tcp.SA 10.244.2.5:8080 > 192.0.2.1:40041",
        expect![[r#"
            uplink: tcp.S 203.0.113.9:5000 > 192.0.2.1:30080
                tunnel to 192.0.2.2: 192.0.2.1:40113 > 10.244.2.5:8080
            node2: tcp.SA 10.244.2.5:8080 > 192.0.2.1:40113
                out by the uplink: 192.0.2.1:30080 > 203.0.113.9:5000
            uplink: tcp 203.0.113.9:5000 > 192.0.2.1:30080
                tunnel to 192.0.2.2: 192.0.2.1:40113 > 10.244.2.5:8080
            node3: tcp.S 10.244.3.7:5000 > 192.0.2.1:30080
                tunnel to 192.0.2.2: 192.0.2.1:40041 > 10.244.2.5:8080
            node2: tcp.SA 10.244.2.5:8080 > 192.0.2.1:40041
                tunnel to 192.0.2.3: 192.0.2.1:30080 > 10.244.3.7:5000
        "#]],
    );
}

#[test]
fn node_port_to_a_process_of_the_node() {
    let mut m = world();
    let id = backend(&m, "192.0.2.1:9000");
    only(&mut m, id);
    check(
        &m,
        "uplink: tcp.S 203.0.113.9:5000 > 192.0.2.1:30082
         to_uplink: tcp.SA 192.0.2.1:9000 > 203.0.113.9:5000
         node2: tcp.S 10.244.2.5:5000 > 192.0.2.1:30082
         to_overlay: tcp.SA 192.0.2.1:9000 > 10.244.2.5:5000",
        expect![[r#"
            uplink: tcp.S 203.0.113.9:5000 > 192.0.2.1:30082
                pass: 203.0.113.9:5000 > 192.0.2.1:9000
            to_uplink: tcp.SA 192.0.2.1:9000 > 203.0.113.9:5000
                pass: 192.0.2.1:30082 > 203.0.113.9:5000
            node2: tcp.S 10.244.2.5:5000 > 192.0.2.1:30082
                pass: 10.244.2.5:5000 > 192.0.2.1:9000
            to_overlay: tcp.SA 192.0.2.1:9000 > 10.244.2.5:5000
                key 192.0.2.2: 192.0.2.1:30082 > 10.244.2.5:5000
        "#]],
    );
}

#[test]
fn processes_of_the_node_reach_services() {
    let mut m = world();
    let id = backend(&m, "10.244.1.3:8080");
    only(&mut m, id);
    check(
        &m,
        "to_uplink: tcp.S 192.0.2.1:5000 > 10.96.0.20:80
         pod3: tcp.SA 10.244.1.3:8080 > 192.0.2.1:5000
         to_uplink: tcp 192.0.2.1:5000 > 10.96.0.20:80
         to_uplink: tcp.S 192.0.2.1:5000 > 10.96.0.99:80
         to_uplink: tcp.S 192.0.2.1:5000 > 203.0.113.9:80",
        expect![[r#"
            to_uplink: tcp.S 192.0.2.1:5000 > 10.96.0.20:80
                out to pod3: 192.0.2.1:5000 > 10.244.1.3:8080
            pod3: tcp.SA 10.244.1.3:8080 > 192.0.2.1:5000
                pass: 10.96.0.20:80 > 192.0.2.1:5000
            to_uplink: tcp 192.0.2.1:5000 > 10.96.0.20:80
                out to pod3: 192.0.2.1:5000 > 10.244.1.3:8080
            to_uplink: tcp.S 192.0.2.1:5000 > 10.96.0.99:80
                pass: 192.0.2.1:5000 > 10.96.0.99:80
            to_uplink: tcp.S 192.0.2.1:5000 > 203.0.113.9:80
                pass: 192.0.2.1:5000 > 203.0.113.9:80
        "#]],
    );
    let id = backend(&m, "10.244.2.5:8080");
    only(&mut m, id);
    check(
        &m,
        "to_uplink: tcp.S 192.0.2.1:5001 > 10.96.0.20:80
         node2: tcp.SA 10.244.2.5:8080 > 192.0.2.1:5001",
        expect![[r#"
            to_uplink: tcp.S 192.0.2.1:5001 > 10.96.0.20:80
                tunnel to 192.0.2.2: 192.0.2.1:5001 > 10.244.2.5:8080
            node2: tcp.SA 10.244.2.5:8080 > 192.0.2.1:5001
                pass: 10.96.0.20:80 > 192.0.2.1:5001
        "#]],
    );
    let id = backend(&m, "192.0.2.1:6443");
    only(&mut m, id);
    check(
        &m,
        "to_uplink: tcp.S 192.0.2.1:5002 > 10.96.0.1:443",
        expect![[r#"
        to_uplink: tcp.S 192.0.2.1:5002 > 10.96.0.1:443
            pass: 192.0.2.1:5002 > 10.96.0.1:443
    "#]],
    );
}

#[test]
fn pods_reached_from_outside() {
    let m = world();
    check(
        &m,
        "uplink: tcp.S 203.0.113.9:5000 > 10.244.1.2:80
         pod2: tcp.SA 10.244.1.2:80 > 203.0.113.9:5000
         uplink: echo 203.0.113.9:9 > 10.244.1.2
         pod2: reply 10.244.1.2:9 > 203.0.113.9
         uplink: tcp.S 203.0.113.9:5000 > 10.244.2.5:80
         node2: tcp.SA 10.244.2.5:80 > 192.0.2.1:40053
         uplink: tcp.S 203.0.113.9:5000 > 10.244.1.99:80",
        expect![[r#"
            uplink: tcp.S 203.0.113.9:5000 > 10.244.1.2:80
                pod2: 203.0.113.9:5000 > 10.244.1.2:80
            pod2: tcp.SA 10.244.1.2:80 > 203.0.113.9:5000
                out by the uplink: 10.244.1.2:80 > 203.0.113.9:5000
            uplink: echo 203.0.113.9:9 > 10.244.1.2
                pod2: 203.0.113.9 > 10.244.1.2 id 9
            pod2: reply 10.244.1.2:9 > 203.0.113.9
                out by the uplink: 10.244.1.2 > 203.0.113.9 id 9
            uplink: tcp.S 203.0.113.9:5000 > 10.244.2.5:80
                tunnel to 192.0.2.2: 192.0.2.1:40053 > 10.244.2.5:80
            node2: tcp.SA 10.244.2.5:80 > 192.0.2.1:40053
                out by the uplink: 10.244.2.5:80 > 203.0.113.9:5000
            uplink: tcp.S 203.0.113.9:5000 > 10.244.1.99:80
                DropNoPod
        "#]],
    );
}

#[test]
fn connections_end_and_backends_go() {
    let mut m = world();
    let (two, three) = (backend(&m, "10.244.1.2:8080"), backend(&m, "10.244.1.3:8080"));
    only(&mut m, three);
    check(
        &m,
        "pod2: tcp.S 10.244.1.2:1000 > 10.96.0.20:80\n pod2: udp 10.244.1.2:1000 > 10.96.0.20:80",
        expect![[r#"
        pod2: tcp.S 10.244.1.2:1000 > 10.96.0.20:80
            pod3: 10.244.1.2:1000 > 10.244.1.3:8080
        pod2: udp 10.244.1.2:1000 > 10.96.0.20:80
            pod3: 10.244.1.2:1000 > 10.244.1.3:8080
    "#]],
    );
    // Draining: the flow goes on, a new one goes elsewhere.
    only(&mut m, two);
    m.backends.get_mut(&three).expect("it is there").flags = BACKEND_ALIVE | BACKEND_DRAINING;
    check(
        &m,
        "pod2: tcp 10.244.1.2:1000 > 10.96.0.20:80
         pod2: udp 10.244.1.2:1000 > 10.96.0.20:80
         pod2: tcp.S 10.244.1.2:1001 > 10.96.0.20:80",
        expect![[r#"
            pod2: tcp 10.244.1.2:1000 > 10.96.0.20:80
                pod3: 10.244.1.2:1000 > 10.244.1.3:8080
            pod2: udp 10.244.1.2:1000 > 10.96.0.20:80
                pod3: 10.244.1.2:1000 > 10.244.1.3:8080
            pod2: tcp.S 10.244.1.2:1001 > 10.96.0.20:80
                pod2: 10.96.0.20:1001 > 10.244.1.2:8080
        "#]],
    );
    // Gone: a datagram finds another backend under a live socket, a segment does not.
    m.backends.remove(&three);
    check(
        &m,
        "pod2: tcp 10.244.1.2:1000 > 10.96.0.20:80
         pod2: udp 10.244.1.2:1000 > 10.96.0.20:80
         pod2: tcp.S 10.244.1.2:1000 > 10.96.0.20:80",
        expect![[r#"
            pod2: tcp 10.244.1.2:1000 > 10.96.0.20:80
                DropBackendGone
            pod2: udp 10.244.1.2:1000 > 10.96.0.20:80
                pod2: 10.96.0.20:1000 > 10.244.1.2:8080
            pod2: tcp.S 10.244.1.2:1000 > 10.96.0.20:80
                pod2: 10.96.0.20:1000 > 10.244.1.2:8080
        "#]],
    );
}

#[test]
fn a_closed_connection_chooses_again() {
    let mut m = world();
    let (two, three) = (backend(&m, "10.244.2.5:8080"), backend(&m, "10.244.1.3:8080"));
    only(&mut m, three);
    check(
        &m,
        "pod2: tcp.S 10.244.1.2:1000 > 10.96.0.20:80
         pod3: tcp.F 10.244.1.3:8080 > 10.244.1.2:1000",
        expect![[r#"
            pod2: tcp.S 10.244.1.2:1000 > 10.96.0.20:80
                pod3: 10.244.1.2:1000 > 10.244.1.3:8080
            pod3: tcp.F 10.244.1.3:8080 > 10.244.1.2:1000
                pod2: 10.96.0.20:80 > 10.244.1.2:1000
        "#]],
    );
    only(&mut m, two);
    check(
        &m,
        "pod2: tcp 10.244.1.2:1000 > 10.96.0.20:80
         pod2: tcp.S 10.244.1.2:1000 > 10.96.0.20:80",
        expect![[r#"
            pod2: tcp 10.244.1.2:1000 > 10.96.0.20:80
                pod3: 10.244.1.2:1000 > 10.244.1.3:8080
            pod2: tcp.S 10.244.1.2:1000 > 10.96.0.20:80
                tunnel to 192.0.2.2: 10.244.1.2:1000 > 10.244.2.5:8080
        "#]],
    );
    assert_eq!(m.flows.borrow().len(), 2, "the old records are gone");
}

#[test]
fn affinity_outlives_the_slots() {
    let mut m = world();
    let (two, three) = (backend(&m, "10.244.2.5:8080"), backend(&m, "10.244.1.3:8080"));
    only(&mut m, three);
    check(
        &m,
        "pod2: udp 10.244.1.2:1 > 10.96.0.22:80",
        expect![[r#"
        pod2: udp 10.244.1.2:1 > 10.96.0.22:80
            pod3: 10.244.1.2:1 > 10.244.1.3:8080
    "#]],
    );
    only(&mut m, two);
    m.now_s.set(1_050);
    check(
        &m,
        "pod2: udp 10.244.1.2:2 > 10.96.0.22:80",
        expect![[r#"
        pod2: udp 10.244.1.2:2 > 10.96.0.22:80
            pod3: 10.244.1.2:2 > 10.244.1.3:8080
    "#]],
    );
    m.now_s.set(1_120);
    check(
        &m,
        "pod2: udp 10.244.1.2:3 > 10.96.0.22:80",
        expect![[r#"
        pod2: udp 10.244.1.2:3 > 10.96.0.22:80
            tunnel to 192.0.2.2: 10.244.1.2:3 > 10.244.2.5:8080
    "#]],
    );
}

#[test]
fn fragments_follow_the_first() {
    let mut m = world();
    let id = backend(&m, "10.244.1.3:8080");
    only(&mut m, id);
    check(
        &m,
        "pod2: udp 10.244.1.2:1000 > 10.96.0.20:80 frag=later
         pod2: udp 10.244.1.2:1000 > 10.96.0.20:80 frag=first
         pod2: udp 10.244.1.2:1000 > 10.96.0.20:80 frag=later
         uplink: udp 203.0.113.9:1 > 192.0.2.1:1 frag=later",
        expect![[r#"
            pod2: udp 10.244.1.2:1000 > 10.96.0.20:80 frag=later
                DropFragment
            pod2: udp 10.244.1.2:1000 > 10.96.0.20:80 frag=first
                pod3: 10.244.1.2:1000 > 10.244.1.3:8080
            pod2: udp 10.244.1.2:1000 > 10.96.0.20:80 frag=later
                pod3: 10.244.1.2 > 10.244.1.3 later fragment
            uplink: udp 203.0.113.9:1 > 192.0.2.1:1 frag=later
                pass: 203.0.113.9 > 192.0.2.1 later fragment
        "#]],
    );
}

#[test]
fn source_ranges() {
    let mut m = world();
    let id = backend(&m, "10.244.1.3:8080");
    only(&mut m, id);
    check(
        &m,
        "uplink: tcp.S 203.0.113.9:1000 > 198.51.100.8:80
         uplink: tcp.S 203.0.112.9:1000 > 198.51.100.8:80
         pod2: tcp.S 10.244.1.2:1000 > 198.51.100.8:80
         node2: tcp.S 10.244.2.5:1000 > 198.51.100.8:80",
        expect![[r#"
            uplink: tcp.S 203.0.113.9:1000 > 198.51.100.8:80
                pod3: 203.0.113.9:1000 > 10.244.1.3:8080
            uplink: tcp.S 203.0.112.9:1000 > 198.51.100.8:80
                DropSource
            pod2: tcp.S 10.244.1.2:1000 > 198.51.100.8:80
                pod3: 10.244.1.2:1000 > 10.244.1.3:8080
            node2: tcp.S 10.244.2.5:1000 > 198.51.100.8:80
                pod3: 10.244.2.5:1000 > 10.244.1.3:8080
        "#]],
    );
}

#[test]
fn sctp_ports_are_rewritten() {
    let mut m = world();
    let id = backend(&m, "10.244.1.3:81");
    only(&mut m, id);
    check(
        &m,
        "pod2: sctp 10.244.1.2:1000 > 10.96.0.24:80
         pod3: sctp 10.244.1.3:81 > 10.244.1.2:1000
         pod2: sctp 10.244.1.2:1000 > 203.0.113.9:5000
         pod2: sctp 10.244.1.2:1001 > 10.96.0.24:80 frag=first",
        expect![[r#"
            pod2: sctp 10.244.1.2:1000 > 10.96.0.24:80
                pod3: 10.244.1.2:1000 > 10.244.1.3:81
            pod3: sctp 10.244.1.3:81 > 10.244.1.2:1000
                pod2: 10.96.0.24:80 > 10.244.1.2:1000
            pod2: sctp 10.244.1.2:1000 > 203.0.113.9:5000
                out by the uplink: 192.0.2.1:40125 > 203.0.113.9:5000
            pod2: sctp 10.244.1.2:1001 > 10.96.0.24:80 frag=first
                DropUnsupported
        "#]],
    );
}
