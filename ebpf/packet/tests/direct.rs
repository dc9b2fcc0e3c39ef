//! Direct server return, from both nodes' sides: `world` is node 1, once as the one whose uplink the client's packet meets, once as the
//! backend's.

use abi::{Addr, Be16, Config, Counter, IPPROTO_TCP, IPPROTO_UDP, LB_DSR, SEAT_INGRESS};
use packet::{
    Verdict,
    host::{Fragment, Frame, Hook, Memory, Rule, Spec, Step, VNI, apply, check, guard, icmp_error, over_ipv6, pod_mac},
    host::{v4, v6, world},
    policy::Direction,
};

const CLIENT: &str = "203.0.113.9";
const OTHER: &str = "192.0.2.2";

fn tcp(src: &str, sport: u16, dst: &str, dport: u16, flags: u8) -> Spec {
    let ip = |text: &str| text.parse().expect("an address");
    Spec { tcp_flags: flags, ..Spec::new(ip(src), ip(dst), IPPROTO_TCP, sport, dport) }
}

fn run(m: &Memory, hook: Hook, frame: Vec<u8>) -> (Verdict, Vec<u8>) {
    let mut step = Step { hook, frame: Frame(frame), now_s: m.now_s.get() };
    (apply(m, &mut step), step.frame.0)
}

/// As another node sends it: the backend beside the packet.
fn beside(mut frame: Vec<u8>, backend: &str, port: u16) -> Vec<u8> {
    frame[..4].copy_from_slice(&v4(backend).v4_octets());
    frame[4..6].copy_from_slice(&port.to_be_bytes());
    frame
}

fn from(node: &str) -> Hook {
    Hook::FromOverlay { node: v4(node), vni: VNI + 1 }
}

fn from_pod3(frame: Vec<u8>) -> (Hook, Vec<u8>) {
    let mut frame = frame;
    frame[6..12].copy_from_slice(&pod_mac(3));
    (Hook::FromPod { ifindex: 13 }, frame)
}

fn ends(frame: &[u8]) -> (Addr, Be16, Addr, Be16) {
    let addr = |at: usize| Addr::v4(frame[at..at + 4].try_into().expect("four bytes"));
    let port = |at: usize| Be16::new(u16::from_be_bytes([frame[at], frame[at + 1]]));
    (addr(26), port(34), addr(30), port(36))
}

fn told(src: &str, sport: u16, dst: &str, dport: u16) -> (Addr, Be16, Addr, Be16) {
    (v4(src), Be16::new(sport), v4(dst), Be16::new(dport))
}

/// The node at whose uplink clients are, with one remote backend.
fn ingress() -> Memory {
    let mut m = world();
    m.config = m.config.map(|c| Config { lb_mode: LB_DSR, ..c });
    let remote = *m.backends.iter().find(|(_, b)| b.addr == v4("10.244.2.5")).expect("a remote backend").0;
    m.backends.values_mut().for_each(|backend| backend.flags = abi::BACKEND_ALIVE);
    m.slots.values_mut().for_each(|slot| *slot = remote);
    m
}

#[test]
fn the_packet_goes_as_it_came_with_the_backend_beside_it() {
    let m = ingress();
    for (flags, dst, port) in [(2, "192.0.2.1", 30080), (16, "192.0.2.1", 30080), (2, "198.51.100.8", 80)] {
        let sent = tcp(CLIENT, 5000, dst, port, flags).build();
        let (verdict, frame) = run(&m, Hook::FromUplink, sent.clone());
        let (node, ifindex) = (v4(OTHER), m.config.expect("a configuration").overlay_ifindex);
        assert_eq!(verdict, Verdict::Tunnel { ifindex, node, vni: VNI + 1 });
        assert_eq!(frame[..6], [10, 244, 2, 5, 0x1f, 0x90]);
        assert_eq!(check(&frame), Ok(()));
        // But for one hop of its life.
        assert_eq!(frame[22], sent[22] - 1);
        assert_eq!(frame[26..], sent[26..]);
    }
    // A router's complaint about an answer of the backend's goes the same way, and so does a fragment.
    let answer = tcp("192.0.2.1", 30080, CLIENT, 5000, 16).build();
    let error = icmp_error("203.0.113.254".parse().unwrap(), "192.0.2.1".parse().unwrap(), &answer);
    let (verdict, frame) = run(&m, Hook::FromUplink, error.clone());
    assert!(matches!(verdict, Verdict::Tunnel { vni, .. } if vni == VNI + 1), "{verdict:?}");
    assert_eq!(frame[26..], error[26..]);
}

/// Runs a packet at the uplink of the node that has no backend, and checks that it comes out as it came; returns the way it goes.
fn straight(m: &Memory, sent: Vec<u8>) -> (Verdict, Vec<u8>) {
    let (verdict, frame) = run(m, Hook::FromUplink, sent.clone());
    assert_eq!(check(&frame), Ok(()));
    // But for one hop of its life, and of IPv4 the checksum of that.
    let from = if sent[12..14] == [8, 0] { 26 } else { 22 };
    assert_eq!(frame[from..], sent[from..]);
    (verdict, frame)
}

#[test]
fn native_nodes_use_their_tunnel_for_it() {
    let mut m = ingress();
    m.backends.values_mut().for_each(|backend| backend.addr = v4("10.244.4.5"));
    let (verdict, frame) = straight(&m, tcp(CLIENT, 5000, "192.0.2.1", 30080, 2).build());
    let ifindex = m.config.expect("a configuration").overlay_ifindex;
    assert_eq!(verdict, Verdict::Tunnel { ifindex, node: v4("192.0.2.4"), vni: VNI + 1 });
    assert_eq!(frame[..6], [10, 244, 4, 5, 0x1f, 0x90]);
    // The other side: a sender that is reached without a tunnel is a node like others.
    let packet = beside(tcp(CLIENT, 5000, "192.0.2.4", 30080, 2).build(), "10.244.1.3", 8080);
    assert_eq!(run(&world(), from("192.0.2.4"), packet).0, Verdict::Peer { ifindex: 13 });
}

#[test]
fn a_backend_of_ipv6_is_named_by_what_its_range_does_not_say() {
    const CLIENT6: &str = "2001:db8:ffff::9";
    for six in [false, true] {
        let mut m = ingress();
        let backend = v6("fd00:2::77:1:2:5");
        let of_ipv6 = |addr: &Addr| !addr.is_v4();
        m.backends.values_mut().filter(|one| of_ipv6(&one.addr)).for_each(|one| one.addr = backend);
        let number = *m.backends.iter().find(|(_, one)| one.addr == backend).expect("a backend").0;
        m.slots.values_mut().for_each(|slot| *slot = number);
        let mut other = world();
        other.config = other.config.map(|config| Config { pods6: v6("fd00:2::"), ..config });
        let pod = *other.pods.get(&v6("fd00:1::3")).expect("a pod");
        other.pods.insert(backend, pod);
        if six {
            over_ipv6(&mut m);
            over_ipv6(&mut other);
        }
        let (verdict, frame) = straight(&m, tcp(CLIENT6, 5000, "2001:db8::1", 30086, 2).build());
        let sender = if six { v6("2001:db8::2") } else { v4(OTHER) };
        assert!(
            matches!(verdict, Verdict::Tunnel { node, vni, .. } if node == sender && vni == VNI + 1),
            "{verdict:?}"
        );
        assert_eq!(frame[..12], [0, 2, 0, 5, 0x1f, 0x90, 2, 0, 0, 0x77, 0, 1]);
        // The other node takes it from any node that it knows; here both are node 1, so the sender is its second.
        let (verdict, frame) = run(&other, Hook::FromOverlay { node: sender, vni: VNI + 1 }, frame);
        assert_eq!(verdict, Verdict::Peer { ifindex: 13 });
        assert_eq!(check(&frame), Ok(()));
        assert_eq!((frame[22..38].to_vec(), frame[38..54].to_vec()), (octets(v6(CLIENT6)), octets(backend)));
    }
}

fn octets(addr: Addr) -> Vec<u8> {
    addr.0.iter().flat_map(|word| word.to_ne_bytes()).collect()
}

#[test]
fn clients_of_the_cluster_are_served_as_ever() {
    let m = ingress();
    let (verdict, frame) = run(&m, Hook::FromUplink, tcp("192.0.2.3", 5000, "192.0.2.1", 30080, 2).build());
    assert!(matches!(verdict, Verdict::Tunnel { vni: VNI, .. }), "{verdict:?}");
    assert_eq!(ends(&frame).0, v4("192.0.2.1"));
}

#[test]
fn the_backend_sees_the_client_and_answers_as_the_service() {
    let m = world();
    // Two Services, one backend, one port of the client.
    for (vip, port) in [("192.0.2.2", 30080), ("198.51.100.7", 80)] {
        let packet = beside(tcp(CLIENT, 5000, vip, port, 2).build(), "10.244.1.3", 8080);
        let (verdict, frame) = run(&m, from(OTHER), packet);
        assert_eq!(verdict, Verdict::Peer { ifindex: 13 });
        assert_eq!(check(&frame), Ok(()));
        let (src, sport, dst, dport) = ends(&frame);
        assert_eq!((src, dst, dport), (v4(CLIENT), v4("10.244.1.3"), Be16::new(8080)));
        let (hook, answer) = from_pod3(tcp("10.244.1.3", 8080, CLIENT, sport.get(), 0x12).build());
        let (verdict, frame) = run(&m, hook, answer);
        assert!(matches!(verdict, Verdict::Neigh { .. }), "{verdict:?}");
        assert_eq!(ends(&frame), told(vip, port, CLIENT, 5000));
        assert_eq!(check(&frame), Ok(()));
    }
}

#[test]
fn a_backend_that_the_other_node_chose_anew_takes_the_flow() {
    let m = world();
    for pod in [2, 3] {
        let packet = beside(tcp(CLIENT, 5000, "192.0.2.2", 30080, 16).build(), &format!("10.244.1.{pod}"), 8080);
        let (verdict, _) = run(&m, from(OTHER), packet);
        assert_eq!(verdict, Verdict::Peer { ifindex: 10 + pod });
    }
}

#[test]
fn only_nodes_send_so_for_outside_clients_and_own_pods() {
    let m = world();
    let web = |src: &str, backend: &str| beside(tcp(src, 5000, "192.0.2.2", 30080, 2).build(), backend, 8080);
    let dropped = |node: &str, frame: Vec<u8>| match run(&m, from(node), frame).0 {
        Verdict::Drop(counter) => counter,
        verdict => panic!("{verdict:?}"),
    };
    assert_eq!(dropped("192.0.2.77", web(CLIENT, "10.244.1.3")), Counter::DropOverlay);
    assert_eq!(dropped("192.0.2.1", web(CLIENT, "10.244.1.3")), Counter::DropOverlay);
    for forged in ["10.244.1.2", "10.244.2.5", "192.0.2.1", "192.0.2.3", "10.96.0.1"] {
        assert_eq!(dropped(OTHER, web(forged, "10.244.1.3")), Counter::DropOverlay, "{forged}");
    }
    assert_eq!(dropped(OTHER, web(CLIENT, "10.244.2.5")), Counter::DropNoPod);
    assert_eq!(dropped(OTHER, web(CLIENT, "10.244.1.99")), Counter::DropNoPod);
    let later =
        Spec { fragment: Some(Fragment { id: 9, offset: 3, more: false }), ..tcp(CLIENT, 1, "192.0.2.2", 2, 16) };
    assert_eq!(run(&m, from(OTHER), beside(later.build(), "10.244.1.3", 8080)).0, Verdict::Hold);
    assert_eq!(dropped("192.0.2.77", beside(later.build(), "10.244.1.3", 8080)), Counter::DropOverlay);
    assert!(m.flows.is_empty());
}

#[test]
fn fragments_follow_their_first() {
    let m = world();
    let ip = |text: &str| text.parse().expect("an address");
    for (offset, more) in [(0, true), (3, false)] {
        let fragment = Some(Fragment { id: 7, offset, more });
        let spec = Spec { fragment, ..Spec::new(ip(CLIENT), ip("192.0.2.2"), IPPROTO_UDP, 5000, 30080) };
        let (verdict, frame) = run(&m, from(OTHER), beside(spec.build(), "10.244.1.3", 8080));
        assert_eq!(verdict, Verdict::Peer { ifindex: 13 });
        assert_eq!(frame[30..34], [10, 244, 1, 3]);
    }
}

#[test]
fn policy_judges_the_client() {
    let mut m = world();
    let rule = Rule {
        direction: Direction::Ingress,
        identity: 5,
        proto: IPPROTO_TCP,
        port: 8080,
        bits: 16,
        action: abi::RULE_ALLOW,
    };
    guard(&mut m, &[(v4("203.0.113.0"), 96 + 24, 5)], &[(3, SEAT_INGRESS, &[rule])]);
    let web = |src: &str| beside(tcp(src, 5000, "192.0.2.2", 30080, 2).build(), "10.244.1.3", 8080);
    assert_eq!(run(&m, from(OTHER), web(CLIENT)).0, Verdict::Peer { ifindex: 13 });
    assert_eq!(run(&m, from(OTHER), web("198.51.100.99")).0, Verdict::Drop(Counter::DropPolicyIngress));
}
