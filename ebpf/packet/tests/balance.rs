//! The balancer on the host.

use std::net::IpAddr;

use abi::balance::{OUTER_TTL, slot};
use abi::{Counter, IPPROTO_TCP, IPPROTO_UDP};
use packet::balance::Fate;
use packet::host::{
    BalancerMemory, Dice, Frame, Spec, balance, balancer_frame, balancer_world, check, icmp_error, vip_address,
};

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
    let (mut fates, mut answers) = ([0_u64; 3], 0);
    for _ in 0..20_000 {
        let mut frame = balancer_frame(&mut dice);
        let before = frame.clone();
        match balance(&m, &mut frame) {
            Fate::Pass => {
                assert_eq!(frame, before);
                fates[0] += 1;
            }
            Fate::Drop(_) => fates[1] += 1,
            // What is answered has no outer header, and comes from the address.
            Fate::Send if frame.0.len() <= before.0.len() => answers += 1,
            Fate::Send => fates[2] += 1,
        }
    }
    let counted: u64 = m.counters.borrow().values().sum();
    let sent: u64 = m.traffic.borrow().values().map(|traffic| traffic.packets).sum();
    assert_eq!((counted, sent), (fates[1] + answers, fates[2]));
    assert!(answers > 500, "{answers} answers");
    assert!(fates.iter().all(|n| *n > 500), "{fates:?}");

    for sport in 1_000..1_200 {
        let answer = Spec::new(vip_address(1, false), client(3), IPPROTO_TCP, 80, sport).build();
        let error = icmp_error(IpAddr::from([198, 51, 100, 1]), vip_address(1, false), &answer);
        assert_eq!(backend(&m, Frame(error)), backend(&m, tcp(1, 3, sport, 0x10)));
    }
}

fn client_of(v6: bool) -> IpAddr {
    if v6 { "2001:db8:1::5".parse().expect("an address") } else { client(5) }
}

#[test]
fn an_address_answers_echoes() {
    let m = balancer_world();
    for v6 in [false, true] {
        let proto = if v6 { abi::IPPROTO_ICMPV6 } else { abi::IPPROTO_ICMP };
        let echo = |vip: u8, kind: u16| Frame(Spec::new(client_of(v6), vip_address(vip, v6), proto, 77, kind).build());
        let request = echo(1, 1);
        let mut answer = request.clone();
        assert_eq!(balance(&m, &mut answer), Fate::Send);
        assert_eq!(check(&answer.0), Ok(()));
        let reply = Spec { ttl: OUTER_TTL, ..Spec::new(vip_address(1, v6), client_of(v6), proto, 77, 0) };
        assert_eq!(answer.0[14..], reply.build()[14..]);
        assert_eq!(answer.0[..6], [2, 0, 0, 0, 0, 9], "by the gateway");
        // No request, or no address of ours.
        for mut other in [echo(1, 0), echo(9, 1)] {
            let before = other.clone();
            assert_eq!(balance(&m, &mut other), Fate::Pass);
            assert_eq!(other, before);
        }
    }
}

#[test]
fn who_sends_too_much_is_told_how_much_is_not() {
    let m = balancer_world();
    for (v6, sport) in [(false, 1_u16), (false, 2), (false, 3), (true, 1), (true, 2), (true, 3)] {
        let spec = Spec::new(client_of(v6), vip_address(1, v6), IPPROTO_TCP, sport, 80);
        let before = Frame(Spec { payload: vec![7; 1_460], ..spec }.build());
        let mut error = before.clone();
        assert_eq!(balance(&m, &mut error), Fate::Send);
        assert_eq!(check(&error.0), Ok(()), "{:02x?}", error.0);
        let (head, kind) = if v6 { (40, [2, 0]) } else { (20, [3, 4]) };
        let message = &error.0[14 + head..];
        assert_eq!(message[..2], kind);
        let most = u16::from_be_bytes([message[6], message[7]]);
        assert!([1_460, 1_480].contains(&most), "MTU less the outer header of either family: {most}");
        assert_eq!(message[8..], before.0[14..14 + message.len() - 8], "it quotes the packet");
        let (from, to) = if v6 { (8, 24) } else { (12, 16) };
        let (ends, size) =
            (|at: usize, frame: &Frame, size| frame.0[14 + at..14 + at + size].to_vec(), if v6 { 16 } else { 4 });
        assert_eq!(ends(from, &error, size), ends(to, &before, size), "from the address that was asked");
        assert_eq!(ends(to, &error, size), ends(from, &before, size));
    }
    // So many a second, and no answer to an error.
    let large = |sport| {
        Frame(
            Spec { payload: vec![7; 1_460], ..Spec::new(client(5), vip_address(1, false), IPPROTO_UDP, sport, 80) }
                .build(),
        )
    };
    m.now_s.set(5_000);
    let told = (0..2_000).filter(|i| balance(&m, &mut large(*i)) == Fate::Send).count();
    assert_eq!(told, abi::balance::ANSWERS_PER_S as usize);
    assert_eq!(m.counters.borrow()[&Counter::DropTooBig], 2_006);
    let answer = Spec::new(vip_address(1, false), client(3), IPPROTO_TCP, 80, 9).build();
    let mut error = icmp_error(IpAddr::from([198, 51, 100, 1]), vip_address(1, false), &answer);
    error.resize(1_600, 0);
    assert_eq!(balance(&m, &mut Frame(error)), Fate::Drop(Counter::DropTooBig));
}
