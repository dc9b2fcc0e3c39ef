//! XDP at the uplink does what tcx does, for what it does at all: random frames through both, on equal tables.

use abi::{Addr, Config, LB_DSR, LB_SNAT};
use packet::{
    Verdict,
    host::{Cable, Dice, Frame, Hook, Memory, Step, VNI, apply, at_uplink, cable, guard_at_random},
    host::{over_ipv6, v4, v6, world},
    verdict::Fate,
    vxlan::{OUTER_V4, OUTER_V6},
};

const SEEDS: u64 = 40;
const FRAMES: u32 = 2_000;

/// What the tcx hooks do with a frame: that of the uplink, and for VXLAN of this node what the device behind it gets.
fn by_tcx(m: &Memory, frame: &[u8], now_s: u32) -> (Verdict, Vec<u8>) {
    let run = |hook, frame: &[u8]| {
        let mut step = Step { hook, frame: Frame(frame.to_vec()), now_s };
        let verdict = apply(m, &mut step);
        (verdict, step.frame.0)
    };
    let Some((node, outer)) = tunnel(frame) else { return run(Hook::FromUplink, frame) };
    let vni = u32::from_be_bytes(frame[outer - 4..outer].try_into().expect("four bytes")) >> 8;
    run(Hook::FromOverlay { node, vni }, &frame[outer..])
}

/// Who sent a VXLAN packet without options, and the length of its outer headers.
fn tunnel(frame: &[u8]) -> Option<(Addr, usize)> {
    let (node, outer, proto) = if frame.get(12..14)? == [8, 0] && *frame.get(14)? == 0x45 {
        (Addr::v4(frame.get(26..30)?.try_into().ok()?), OUTER_V4, 23)
    } else if frame.get(12..14)? == [0x86, 0xdd] {
        (Addr::v6(frame.get(22..38)?.try_into().ok()?), OUTER_V6, 20)
    } else {
        return None;
    };
    let is_vxlan = *frame.get(proto)? == 17 && *frame.get(outer - 14..outer - 12)? == [0x12, 0xb5];
    (is_vxlan && frame.len() > outer).then_some((node, outer))
}

fn assert_equal(a: &Memory, b: &Memory, at: &str) {
    assert_eq!(a.flows, b.flows, "flows {at}");
    assert_eq!(a.affinity, b.affinity, "affinity {at}");
    assert_eq!(a.fragments, b.fragments, "fragments {at}");
    assert_eq!(a.connections, b.connections, "connections {at}");
    assert_eq!(a.edges, b.edges, "edges {at}");
}

/// What came of frames: passed, dropped, sent through a tunnel, the same untranslated, out, the same to native nodes, and of those sent
/// the ones of IPv6.
type Seen = [u32; 7];

fn same_as_tcx(mode: u8, six: bool) {
    let mut seen = Seen::default();
    for seed in 0..SEEDS {
        let mut m = world();
        m.config = m.config.map(|c| Config { seed: seed as u32, lb_mode: mode, ..c });
        if six {
            over_ipv6(&mut m);
        }
        if seed % 4 == 3 {
            // Backends of a node that is reached without a tunnel.
            let remote = m.backends.values_mut().filter(|backend| backend.addr == v4("10.244.2.5"));
            remote.for_each(|backend| backend.addr = v4("10.244.4.5"));
        }
        let mut dice = Dice(seed);
        if seed % 2 == 1 {
            guard_at_random(&mut m, &mut dice);
        }
        for i in 0..FRAMES {
            let now_s = 1_000 + i * (seed as u32 % 5);
            let given = cable(&m, &mut dice);
            let at = format!("at frame {i} of seed {seed}: {:02x?}", given.frame.0);
            let alone = m.clone();
            let mut cable = given.clone();
            let fate = at_uplink(&m, &mut cable, now_s);
            let tcx = by_tcx(&alone, &given.frame.0, now_s);
            match (fate, tcx.0) {
                (Fate::Pass, _) => {
                    assert_eq!(cable.frame, given.frame, "what passes is untouched {at}");
                    assert_eq!(by_tcx(&m, &cable.frame.0, now_s), tcx, "{at}");
                    seen[0] += 1;
                }
                (Fate::Drop(reason), verdict) => {
                    assert_eq!(Verdict::Drop(reason), verdict, "{at}");
                    seen[1] += 1;
                }
                (Fate::Send, Verdict::Tunnel { node, vni, .. }) => {
                    let outer = check_outer(&cable, node, vni, &at);
                    assert_eq!(cable.frame.0[outer..], tcx.1[..], "{at}");
                    seen[if vni == VNI { 2 } else { 3 }] += 1;
                    seen[6] += u32::from(tcx.1[12..14] == [0x86, 0xdd]);
                }
                (Fate::Send, Verdict::Neigh { .. }) => {
                    assert_eq!(cable.frame.0[..12], [[2, 0, 0, 0, 0, 7], [2, 0, 0, 0, 0, 9]].concat(), "{at}");
                    let inner = &cable.frame.0[12..];
                    // Whatever followed the outer packet on the wire follows the inner one now.
                    assert_eq!(inner, &tcx.1[12..], "{at}");
                    seen[if inner[18..22] == [10, 244, 4, 5] { 5 } else { 4 }] += 1;
                    seen[6] += u32::from(inner[..2] == [0x86, 0xdd]);
                }
                (fate, verdict) => panic!("{fate:?} where tcx says {verdict:?} {at}"),
            }
            assert_equal(&m, &alone, &at);
        }
    }
    println!("pass, drop, tunnel, direct, out, native, IPv6: {seen:?}");
    let met = |i: usize| seen[i] > 30;
    // Direct return leaves nothing that would go to native nodes as it is.
    assert!(met(0) && met(1) && met(4) && met(6) && (met(5) || mode == LB_DSR), "every fate is met often: {seen:?}");
    assert!(met(if mode == LB_DSR { 3 } else { 2 }), "backends of other nodes are reached: {seen:?}");
}

fn check_outer(cable: &Cable, node: Addr, vni: u32, at: &str) -> usize {
    let len = if node.is_v4() { OUTER_V4 } else { OUTER_V6 };
    let (outer, udp) = (&cable.frame.0[..len], len - 16);
    let half = |i: usize| usize::from(u16::from_be_bytes([outer[i], outer[i + 1]]));
    if node.is_v4() {
        let sum: u32 = (14..34).step_by(2).map(|i| half(i) as u32).sum();
        assert_eq!((sum & 0xffff) + (sum >> 16), 0xffff, "the outer checksum {at}");
        assert_eq!(half(16), cable.frame.0.len() - 14, "the outer length {at}");
        assert_eq!(outer[26..30], v4("192.0.2.1").v4_octets(), "from this node {at}");
        assert_eq!(outer[30..34], node.v4_octets(), "to the backend's {at}");
    } else {
        assert_eq!((outer[14] >> 4, outer[20], outer[21]), (6, 17, 64), "{at}");
        assert_eq!(half(18), cable.frame.0.len() - 54, "the outer length {at}");
        assert_eq!(Addr::v6(outer[22..38].try_into().unwrap()), v6("2001:db8::1"), "from this node {at}");
        assert_eq!(Addr::v6(outer[38..54].try_into().unwrap()), node, "to the backend's {at}");
    }
    assert_eq!(half(udp + 4), cable.frame.0.len() - udp, "UDP's length {at}");
    assert_eq!(outer[udp + 12..], (vni << 8).to_be_bytes(), "the network {at}");
    assert_eq!(outer[udp + 8..udp + 12], [8, 0, 0, 0], "{at}");
    assert!(half(udp) >= 0xc000 && half(udp + 2) == 4789 && half(udp + 6) == 0, "ports {at}");
    len
}

#[test]
fn it_does_what_tcx_does() {
    same_as_tcx(LB_SNAT, false);
}

#[test]
fn it_does_what_tcx_does_over_ipv6() {
    same_as_tcx(LB_SNAT, true);
}

#[test]
fn it_does_what_tcx_does_with_direct_return_over_ipv6() {
    same_as_tcx(LB_DSR, true);
}

#[test]
fn it_does_what_tcx_does_with_direct_return() {
    same_as_tcx(LB_DSR, false);
}
