//! Fragments in any order, at every hook that packets come in by.

use abi::{Counter, IPPROTO_UDP, fragment::HOLD_WAYS};
use packet::{
    Verdict,
    fragment::{HOLD_S, PORTS_S},
    host::{Frame, Hook, Memory, Spec, Step, again, apply, pod_mac, world},
};

const POD2: Hook = Hook::FromPod { ifindex: 12 };
const NODE2: Hook = Hook::FromOverlay { node: abi::Addr::v4([192, 0, 2, 2]), vni: 1 };

/// A datagram of three fragments.
fn datagram(src: &str, dst: &str, sport: u16, id: u32) -> Vec<Frame> {
    let ip = |text: &str| text.parse().expect("an address");
    let spec = Spec {
        payload: (0..60).collect(),
        from_mac: pod_mac(2),
        ..Spec::new(ip(src), ip(dst), IPPROTO_UDP, sport, 80)
    };
    spec.cut(id, 24).into_iter().map(Frame).collect()
}

/// Runs frames at a hook, and then what they let go; the verdicts of both, in order.
fn run(m: &Memory, hook: Hook, frames: &[Frame], now_s: u32) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    for frame in frames {
        verdicts.push(apply(m, &mut Step { hook, frame: frame.clone(), now_s }));
        while let Some((hold, frame)) = m.pen.next() {
            verdicts.push(apply(m, &mut again(&hold, frame, now_s)));
        }
    }
    verdicts
}

fn count(m: &Memory, counter: Counter) -> u64 {
    m.counters.borrow().get(&counter).copied().unwrap_or(0)
}

fn held(verdicts: &[Verdict]) -> usize {
    verdicts.iter().filter(|verdict| **verdict == Verdict::Hold).count()
}

/// Every order of three, at each hook: all three go where the first one goes, whatever came first.
#[test]
fn every_order_arrives_whole() {
    let orders = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
    let ways = [
        (POD2, "10.244.1.2", "10.96.0.20"),
        (POD2, "fd00:1::2", "fd00:96::14"),
        (POD2, "10.244.1.2", "203.0.113.9"),
        (Hook::FromUplink, "203.0.113.9", "10.96.0.20"),
        (NODE2, "10.244.2.5", "10.244.1.3"),
        (NODE2, "fd00:2::5", "fd00:1::3"),
    ];
    for (hook, src, dst) in ways {
        for (i, order) in orders.into_iter().enumerate() {
            let m = world();
            let all = datagram(src, dst, 5_000, i as u32);
            let frames = order.map(|at| all[at].clone());
            let verdicts = run(&m, hook, &frames, 1_000);
            let early = order.iter().take_while(|at| **at != 0).count();
            assert_eq!(held(&verdicts), early, "{src} to {dst}, {order:?}: {verdicts:?}");
            let out: Vec<&Verdict> = verdicts.iter().filter(|verdict| **verdict != Verdict::Hold).collect();
            assert_eq!(out.len(), 3, "{src} to {dst}, {order:?}: {verdicts:?}");
            assert!(
                out.iter().all(|verdict| *verdict == out[0] && !matches!(verdict, Verdict::Drop(_))),
                "{verdicts:?}"
            );
            assert_eq!(count(&m, Counter::FragmentReleased), early as u64);
        }
    }
}

/// Protocols without ports have fragments, too.
#[test]
fn a_protocol_without_ports_is_known_by_its_first() {
    let m = world();
    let ip = |text: &str| text.parse().expect("an address");
    let spec =
        Spec { from_mac: pod_mac(2), payload: vec![1; 60], ..Spec::new(ip("10.244.1.2"), ip("10.244.1.3"), 47, 1, 1) };
    let frames: Vec<Frame> = spec.cut(4, 24).into_iter().map(Frame).collect();
    let verdicts = run(&m, POD2, &frames, 1_000);
    assert_eq!(verdicts, [Verdict::Peer { ifindex: 13 }; 3]);
}

#[test]
fn ports_are_forgotten_in_time() {
    let m = world();
    let (old, new) = (datagram("10.244.1.2", "10.96.0.20", 1, 7), datagram("10.244.1.2", "10.96.0.20", 2, 7));
    run(&m, POD2, &old[..1], 1_000);
    assert_eq!(held(&run(&m, POD2, &new[1..2], 1_000 + PORTS_S)), 1, "the old datagram's ports are not the new one's");
    let verdicts = run(&m, POD2, &new[..1], 1_000 + PORTS_S);
    assert_eq!((verdicts.len(), held(&verdicts)), (2, 0));
}

#[test]
fn what_waits_too_long_is_not_let_go() {
    let m = world();
    let frames = datagram("10.244.1.2", "10.96.0.20", 1, 7);
    run(&m, POD2, &frames[2..], 1_000);
    assert_eq!(run(&m, POD2, &frames[..1], 1_001 + HOLD_S).len(), 1);
    assert_eq!(count(&m, Counter::FragmentReleased), 0);
}

/// What was seen elsewhere, under the same addresses, lends no ports.
#[test]
fn the_uplink_lends_no_ports_to_a_pod() {
    let m = world();
    let frames = datagram("10.244.1.2", "10.96.0.20", 1, 7);
    assert_eq!(run(&m, Hook::FromUplink, &frames[..1], 1_000), [Verdict::Drop(Counter::DropSpoofed)]);
    assert_eq!(held(&run(&m, POD2, &frames[1..2], 1_000)), 1);
    run(&m, Hook::FromUplink, &frames[..1], 1_000);
    assert_eq!(count(&m, Counter::FragmentReleased), 0);
}

/// The oldest gives way, and another pair of addresses has its own row or is one of an eighth.
#[test]
fn a_flood_keeps_to_its_room() {
    let m = world();
    let mine = datagram("10.244.1.2", "10.96.0.20", 1, 7);
    run(&m, POD2, &mine[1..2], 1_000);
    for id in 0..10 * HOLD_WAYS {
        let flood = datagram("203.0.113.9", "198.51.100.7", 1, id);
        assert_eq!(run(&m, Hook::FromUplink, &flood[1..2], 1_000), [Verdict::Hold]);
    }
    let slots = m.pen.slots();
    assert!(slots.len() <= HOLD_WAYS as usize + 1, "{} slots", slots.len());
    assert_eq!(run(&m, POD2, &mine[..1], 1_000).len(), 2, "mine was let go");
    // The newest of the flood still wait; those before gave way.
    let newest = datagram("203.0.113.9", "198.51.100.7", 1, 10 * HOLD_WAYS - 1);
    assert_eq!(run(&m, Hook::FromUplink, &newest[..1], 1_000).len(), 2);
    let oldest = datagram("203.0.113.9", "198.51.100.7", 1, 0);
    assert_eq!(run(&m, Hook::FromUplink, &oldest[..1], 1_000).len(), 1);
}

/// A datagram of 64 KiB in reverse, as an MTU of 1,280 cuts it.
#[test]
fn the_largest_datagram_arrives_in_reverse() {
    let m = world();
    let ip = |text: &str| text.parse().expect("an address");
    let spec = Spec {
        payload: vec![5; 65_000],
        from_mac: pod_mac(2),
        ..Spec::new(ip("10.244.1.2"), ip("10.96.0.20"), IPPROTO_UDP, 5_000, 80)
    };
    let mut frames: Vec<Frame> = spec.cut(9, 1_232).into_iter().map(Frame).collect();
    frames.reverse();
    let verdicts = run(&m, POD2, &frames, 1_000);
    assert_eq!((held(&verdicts), verdicts.len()), (frames.len() - 1, 2 * frames.len() - 1));
}

/// Whose sender does not own its source does not even wait.
#[test]
fn what_is_forged_does_not_wait() {
    let m = world();
    let frames = datagram("10.244.3.7", "10.244.1.3", 1, 7);
    assert_eq!(run(&m, NODE2, &frames[1..2], 1_000), [Verdict::Drop(Counter::DropOverlay)]);
    assert_eq!(run(&m, POD2, &frames[1..2], 1_000), [Verdict::Drop(Counter::DropSpoofed)]);
    assert!(m.pen.slots().is_empty());
}

/// The node's own tunnels may be fragmented below us; their ports say so, once they are known.
#[test]
fn tunnels_outer_fragments_pass() {
    let m = world();
    let ip = |text: &str| text.parse().expect("an address");
    let spec = Spec { payload: vec![3; 60], ..Spec::new(ip("192.0.2.2"), ip("192.0.2.1"), IPPROTO_UDP, 50_000, 4_789) };
    let mut frames: Vec<Frame> = spec.cut(3, 24).into_iter().map(Frame).collect();
    frames.reverse();
    let verdicts = run(&m, Hook::FromUplink, &frames, 1_000);
    assert_eq!(verdicts[2..], [Verdict::Pass; 3], "{verdicts:?}");
}

#[test]
fn frames_for_others_are_left_alone() {
    let m = world();
    let ip = |text: &str| text.parse().expect("an address");
    let spec = |to_mac| Spec { to_mac, ..Spec::new(ip("203.0.113.9"), ip("192.0.2.1"), IPPROTO_UDP, 1, 30_080) };
    let other = Frame(spec([2, 0, 0, 0, 9, 9]).build());
    let mut step = Step { hook: Hook::FromUplink, frame: other.clone(), now_s: 1_000 };
    assert_eq!(apply(&m, &mut step), Verdict::Pass);
    assert_eq!(step.frame, other);
    assert!(m.flows.is_empty());
    let own = spec(m.config.expect("the world has one").uplink_mac).build();
    assert_ne!(run(&m, Hook::FromUplink, &[Frame(own)], 1_000), [Verdict::Pass]);
}
