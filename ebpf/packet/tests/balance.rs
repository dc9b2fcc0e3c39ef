//! The balancer on the host.

use std::net::IpAddr;

use abi::balance::{OUTER_TTL, slot};
use abi::{Counter, IPPROTO_TCP, IPPROTO_UDP};
use packet::balance::Fate;
use packet::host::{BalancerMemory, Dice, Frame, Spec, balance, balancer_frame, balancer_world, vip_address};

fn client(i: u8) -> IpAddr {
    IpAddr::from([198, 18, 0, i])
}

fn tcp(vip: u8, from: u8, sport: u16, flags: u8) -> Frame {
    let spec = Spec::new(client(from), vip_address(vip, false), IPPROTO_TCP, sport, 80);
    Frame(Spec { tcp_flags: flags, ..spec }.build())
}

/// The outer destination's last octet: backend 11, 12, or 3 for the one with an IPv6 address.
fn backend(m: &BalancerMemory, mut frame: Frame) -> u8 {
    assert_eq!(balance(m, &mut frame), Fate::Send, "{:02x?}", frame.0);
    if frame.0[12..14] == [8, 0] { frame.0[33] } else { frame.0[53] }
}

#[test]
fn the_outer_header_is_whole() {
    let m = balancer_world();
    let mut outers = std::collections::BTreeSet::new();
    for sport in 1_000..1_100 {
        let inner = tcp(1, 1, sport, 0x10);
        let mut frame = inner.clone();
        assert_eq!(balance(&m, &mut frame), Fate::Send);
        let v4 = frame.0[12..14] == [8, 0];
        let outer = if v4 { 20 } else { 40 };
        assert_eq!(frame.0.len(), inner.0.len() + outer);
        assert_eq!(frame.0[14 + outer..], inner.0[14..], "the inner packet travels as it was");
        assert_eq!(frame.0[..12], [2, 0, 0, 0, 0, 9, 2, 0, 0, 0, 0, 1]);
        if v4 {
            let header = &frame.0[14..34];
            let sum: u32 = header.chunks(2).map(|w| u32::from(u16::from_be_bytes([w[0], w[1]]))).sum();
            assert_eq!((sum & 0xffff) + (sum >> 16), 0xffff, "the checksum covers the header: {header:02x?}");
            assert_eq!((header[8], header[9]), (OUTER_TTL, 4));
            assert_eq!(u16::from_be_bytes([header[2], header[3]]) as usize, inner.0.len() - 14 + 20);
        } else {
            assert_eq!((frame.0[20], frame.0[21]), (4, OUTER_TTL));
        }
        outers.insert(frame.0[14..14 + outer].to_vec());
    }
    assert!(outers.len() >= 3, "all backends have flows");
    assert!(m.flows.borrow().is_empty(), "steady slots need no record");
}

#[test]
fn a_flow_from_before_a_change_stays_and_a_new_one_goes_on() {
    let mut m = balancer_world();
    m.slots = vec![slot(1, 0)];
    for vip in m.vips.values_mut() {
        vip.ring = abi::balance::Vip::pack_ring(0, 1);
    }
    assert_eq!(backend(&m, tcp(1, 1, 1_000, 2)), 11);
    // The slot's backend goes from 1 to 2.
    m.slots = vec![slot(2, 1)];
    assert_eq!(backend(&m, tcp(1, 1, 1_000, 0x10)), 11, "established before");
    assert_eq!(backend(&m, tcp(1, 1, 1_001, 2)), 12, "opened after");
    assert_eq!(backend(&m, tcp(1, 1, 1_001, 0x10)), 12, "and stays there");
    // The same port is used for another connection.
    assert_eq!(backend(&m, tcp(1, 1, 1_000, 2)), 12);
    assert_eq!(backend(&m, tcp(1, 1, 1_000, 0x10)), 12);
    // Another change: who has a record keeps it.
    m.slots = vec![slot(3, 2)];
    assert_eq!(backend(&m, tcp(1, 1, 1_000, 0x10)), 12);
    assert_eq!(backend(&m, tcp(1, 1, 1_002, 0x10)), 12, "no record: the previous one");
    assert_eq!(backend(&m, tcp(1, 1, 1_003, 2)), 3);
    // Backend 2 dies: nobody is sent to the dead.
    m.backends.get_mut(&2).expect("backend 2").flags = 0;
    assert_eq!(backend(&m, tcp(1, 1, 1_000, 0x10)), 3);
}

#[test]
fn datagrams_stay_for_a_while() {
    let mut m = balancer_world();
    m.slots = vec![slot(2, 1)];
    for vip in m.vips.values_mut() {
        vip.ring = abi::balance::Vip::pack_ring(0, 1);
    }
    let udp = |sport| Frame(Spec::new(client(1), vip_address(1, false), IPPROTO_UDP, sport, 80).build());
    m.now_s.set(1_005);
    assert_eq!(backend(&m, udp(1)), 11, "within the window of the change at 1,000");
    m.now_s.set(1_011);
    assert_eq!(backend(&m, udp(1)), 11, "it has a record");
    assert_eq!(backend(&m, udp(2)), 12);
}

#[test]
fn the_gate_bounds_records_and_nothing_else() {
    let mut m = balancer_world();
    m.slots = vec![slot(2, 1)];
    for vip in m.vips.values_mut() {
        vip.ring = abi::balance::Vip::pack_ring(0, 1);
    }
    m.now_s.set(2_000);
    for sport in 0..200 {
        assert_eq!(backend(&m, tcp(1, 1, sport, 2)), 12);
    }
    assert_eq!(m.flows.borrow().len(), 40, "the gate's number a second");
    m.now_s.set(2_001);
    assert_eq!(backend(&m, tcp(1, 1, 500, 2)), 12);
    assert_eq!(m.flows.borrow().len(), 41);
}

#[test]
fn affinity_goes_by_client() {
    let m = balancer_world();
    for from in 0..20 {
        let all: Vec<u8> = (1_000..1_020).map(|sport| backend(&m, tcp(3, from, sport, 2))).collect();
        assert!(all.iter().all(|one| *one == all[0]), "{all:?}");
    }
}

/// A client's connections from before its slot changed stay, whatever it opens afterwards.
#[test]
fn with_affinity_older_connections_stay_when_the_slot_changes() {
    let mut m = balancer_world();
    m.slots = vec![slot(2, 1)];
    for vip in m.vips.values_mut() {
        vip.ring = abi::balance::Vip::pack_ring(0, 1);
    }
    m.now_s.set(2_000);
    let old = backend(&m, tcp(3, 1, 1_000, 0x10));
    let new = backend(&m, tcp(3, 1, 1_001, 2));
    assert_ne!(old, new);
    for _ in 0..2 {
        assert_eq!(backend(&m, tcp(3, 1, 1_000, 0x10)), old, "the older connection");
        assert_eq!(backend(&m, tcp(3, 1, 1_001, 0x10)), new, "the newer one");
        assert_eq!(backend(&m, tcp(3, 1, 1_002, 0x10)), old, "one that had no packet in between");
    }
}

#[test]
fn what_is_not_ours_passes_as_it_was() {
    let m = balancer_world();
    for (vip, port) in [(1, 81), (5, 80), (9, 80)] {
        let before = Frame(Spec::new(client(1), vip_address(vip, false), IPPROTO_TCP, 1, port).build());
        let mut frame = before.clone();
        assert_eq!(balance(&m, &mut frame), Fate::Pass);
        assert_eq!(frame, before);
    }
    assert_eq!(balance(&m, &mut tcp(4, 1, 1, 2)), Fate::Drop(Counter::DropNoBackend));
}

/// Every packet has one fate, and a packet of a flow and the error about an answer to it go the same way.
#[test]
fn fates_add_up_and_errors_follow_their_flow() {
    let (m, mut dice) = (balancer_world(), Dice(1));
    let mut fates = [0_u64; 3];
    for _ in 0..20_000 {
        let mut frame = balancer_frame(&mut dice);
        let before = frame.clone();
        match balance(&m, &mut frame) {
            Fate::Pass => {
                assert_eq!(frame, before);
                fates[0] += 1;
            }
            Fate::Drop(_) => fates[1] += 1,
            Fate::Send => fates[2] += 1,
        }
    }
    let counted: u64 = m.counters.borrow().values().sum();
    let sent: u64 = m.traffic.borrow().values().map(|traffic| traffic.packets).sum();
    assert_eq!((counted, sent), (fates[1], fates[2]));
    assert!(fates.iter().all(|n| *n > 500), "{fates:?}");

    for sport in 1_000..1_200 {
        let answer = Spec::new(vip_address(1, false), client(3), IPPROTO_TCP, 80, sport).build();
        let error = packet::host::icmp_error(IpAddr::from([198, 51, 100, 1]), vip_address(1, false), &answer);
        assert_eq!(backend(&m, Frame(error)), backend(&m, tcp(1, 3, sport, 0x10)));
    }
}
