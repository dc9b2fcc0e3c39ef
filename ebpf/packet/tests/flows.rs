//! The flow table: what it holds at its limits, under a flood, and when several CPUs write it at once.

mod baton;

use std::sync::atomic::{AtomicU32, Ordering};

use abi::{
    Addr, Be16, Config, Counter, FlowKey, IPPROTO_TCP, IPPROTO_UDP,
    flow::{FlowRecord, STATE_SURE, STATE_USED, flow_records},
};
use baton::{race, schedules};
use packet::{
    Flow, Verdict,
    flows::{self, Cuts, Made},
    host::{Dice, FlowMemory, Hook, Memory, Spec, Step, apply, pod_mac, v4, world},
};

/// A tuple between two addresses made of numbers.
fn key(src: u32, dst: u32, sport: u16, proto: u8) -> FlowKey {
    let addr = |n: u32| Addr::v4(n.to_be_bytes());
    FlowKey { src: addr(src), dst: addr(dst), sport: Be16::new(sport), dport: Be16::new(80), proto, pad: [0; 3] }
}

/// A flow of client `n` to its own backend.
fn draft(n: u32) -> FlowRecord {
    let client = 0x0a00_0000 + n;
    let keys = [key(client, 1, 1000, IPPROTO_TCP), key(2, client, 1000, IPPROTO_TCP)];
    FlowRecord { keys, backend: n, ..FlowRecord::default() }
}

fn look<C: Cuts>(t: &C, key: &FlowKey) -> Option<Flow> {
    let mut found = Flow::default();
    flows::look(t, key, &mut found).then_some(found)
}

/// Every valid record is found by both tuples, and the index holds nothing else.
fn is_sound(t: &FlowMemory) {
    is_sound_to(t, t);
}

/// The same, with the seed of `c`.
fn is_sound_to<C: Cuts>(c: &C, t: &FlowMemory) {
    let valid = t.flows();
    for (number, record, _) in &valid {
        for (way, key) in (0..).zip(&record.keys) {
            let found = look(c, key).expect("a valid record is found");
            assert_eq!((found.number, found.way), (*number, way));
        }
    }
    let entries = t.words().index.iter().filter(|word| **word != 0).count();
    assert_eq!(entries, 2 * valid.len(), "entries of the index");
}

#[test]
fn a_full_table_takes_new_flows_for_old_ones() {
    let t = FlowMemory::new(12, 7);
    let mut n = 0;
    // Four tables full, one after the other: as many flows as records, all of which are over when the next ones come.
    for round in 0..4 {
        let now = 1_000 + round * 10_000;
        let refused = (0..flow_records(12))
            .filter(|_| {
                n += 1;
                t.establish(draft(n).keys[0], draft(n).keys[1], 1, now) == Made::Full
            })
            .count();
        assert!(refused < 200, "{refused} of 4,096 were refused in round {round}");
        is_sound(&t);
    }
}

#[test]
fn nine_tenths_living_leave_room() {
    for bits in [10, 14, 18] {
        let t = FlowMemory::new(bits, 7);
        let full = flow_records(bits) / 10 * 9;
        let establish = |n: &u32| t.establish(draft(*n).keys[0], draft(*n).keys[1], 1, 5);
        let refused = (0..full).filter(|n| establish(n) != Made::New).count();
        assert!(refused as u32 <= full / 2_000, "{refused} of {full} were refused");
        is_sound(&t);
    }
}

#[test]
fn a_flood_ends_no_established_connection() {
    for bits in [8, 12, 16] {
        let t = FlowMemory::new(bits, 7);
        let (size, established) = (flow_records(bits), flow_records(bits) / 4);
        for n in 0..established {
            assert_eq!(t.establish(draft(n).keys[0], draft(n).keys[1], n, 100), Made::New);
        }
        let (mut refused, mut replaced) = (0, 0);
        for n in 0..10 * size {
            match flows::make(&t, &draft(established + n), 100 + n * 4 / size) {
                Made::Full => refused += 1,
                Made::Replaced => replaced += 1,
                Made::New => {}
                other => panic!("{other:?}"),
            }
        }
        for n in 0..established {
            for (way, key) in (0..).zip(draft(n).keys) {
                let found = look(&t, &key).expect("an established connection stays");
                assert_eq!((found.backend, found.way), (n, way));
            }
        }
        assert_eq!(refused, 0, "newer ones take the place of older ones");
        assert!(replaced > 8 * size, "{replaced}");
        is_sound(&t);
    }
}

#[test]
fn a_table_of_living_connections_refuses() {
    let t = FlowMemory::new(6, 7);
    for n in 0..flow_records(6) {
        assert_eq!(t.establish(draft(n).keys[0], draft(n).keys[1], 1, 100), Made::New, "{n}");
    }
    assert_eq!(flows::make(&t, &draft(1_000), 101), Made::Full);
    assert_eq!(t.len(), 64);
    is_sound(&t);
}

/// A node with this many ports for masquerade, and 2^`bits` records.
fn node(first: u16, last: u16, bits: u32) -> Memory {
    let mut m = world();
    m.config = m.config.map(|c| Config { snat_min: first, snat_max: last, ..c });
    m.flows = FlowMemory::new(bits, 0);
    m
}

/// What becomes of a datagram of pod 2 or 3 to a port outside: the source port that it leaves with.
fn send(m: &Memory, pod: u32, sport: u16, dport: u16, now_s: u32) -> Result<u16, Counter> {
    let spec = Spec {
        from_mac: pod_mac(pod),
        ..Spec::new([10, 244, 1, pod as u8].into(), [203, 0, 113, 9].into(), IPPROTO_UDP, sport, dport)
    };
    let mut it = Step { hook: Hook::FromPod { ifindex: 10 + pod }, frame: packet::host::Frame(spec.build()), now_s };
    match apply(m, &mut it) {
        Verdict::Neigh { .. } => Ok(u16::from_be_bytes([it.frame.0[34], it.frame.0[35]])),
        Verdict::Drop(reason) => Err(reason),
        other => panic!("{other:?}"),
    }
}

#[test]
fn ports_toward_one_destination_are_used_up() {
    let m = node(10_000, 59_999, 17);
    let mut taken = vec![false; 65_536];
    for i in 0..47_500_u32 {
        let (pod, sport) = (2 + i % 2, 1_024 + (i / 2) as u16);
        let port = send(&m, pod, sport, 53, 1_000).unwrap_or_else(|reason| panic!("{reason:?} at flow {i}"));
        assert!((10_000..60_000).contains(&port));
        assert!(!std::mem::replace(&mut taken[usize::from(port)], true), "port {port} twice");
    }
    // Toward another port all of them are free.
    assert!(send(&m, 2, 1_024, 54, 1_000).is_ok());
    assert_eq!(m.counters.borrow().get(&Counter::FlowReplaced), None);
}

#[test]
fn a_datagram_stream_that_nobody_answers_keeps_its_port() {
    let m = node(40_000, 40_063, 10);
    let kept = send(&m, 2, 5_000, 53, 1_000).expect("a port");
    let mut dice = Dice(1);
    for minute in 1..60 {
        let now = 1_000 + 60 * minute;
        assert_eq!(send(&m, 2, 5_000, 53, now), Ok(kept), "minute {minute}");
        // Others ask for all the ports there are.
        let others = (0..80).filter(|_| send(&m, 3, 1_024 + dice.below(60_000) as u16, 53, now) == Ok(kept)).count();
        assert_eq!(others, 0, "minute {minute}");
    }
}

#[test]
fn two_services_one_backend_one_client_port() {
    let mut m = world();
    let one = *m.backends.iter().find(|(_, b)| b.addr == v4("10.244.1.3")).expect("pod 3 is a backend").0;
    m.slots.values_mut().for_each(|id| *id = one);
    let mut replies = std::collections::BTreeSet::new();
    for vip in [[10, 96, 0, 20], [198, 51, 100, 7], [198, 51, 100, 8]] {
        for sport in 2_000..2_050 {
            let spec = Spec {
                tcp_flags: 2,
                from_mac: pod_mac(2),
                ..Spec::new([10, 244, 1, 2].into(), vip.into(), IPPROTO_TCP, sport, 80)
            };
            let frame = packet::host::Frame(spec.build());
            let mut it = Step { hook: Hook::FromPod { ifindex: 12 }, frame, now_s: 1_000 };
            assert_eq!(apply(&m, &mut it), Verdict::Peer { ifindex: 13 });
            assert!(replies.insert(it.frame.0[26..38].to_vec()), "{vip:?} from {sport} is another's");
        }
    }
    is_sound_to(&m, &m.flows);
}

#[test]
fn many_threads_own_what_they_made() {
    /// Threads, flows of each, and tuples that they fight for.
    const THREADS: u32 = 4;
    const ROUNDS: u32 = 20_000;
    const TUPLES: usize = 24;
    let t = FlowMemory::new(6, 7);
    let owners: Vec<AtomicU32> = (0..TUPLES).map(|_| AtomicU32::new(0)).collect();
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (t, owners) = (&t, &owners);
            scope.spawn(move || {
                let mut dice = Dice(u64::from(thread));
                let mut own: Vec<(usize, FlowKey)> = Vec::new();
                for round in 0..ROUNDS {
                    let tuple = dice.below(TUPLES);
                    let keys = [
                        key(1_000 * (thread + 1) + round % 500, 1, 9, IPPROTO_TCP),
                        key(2, tuple as u32, 9, IPPROTO_TCP),
                    ];
                    let made = flows::make(t, &FlowRecord { keys, ..FlowRecord::default() }, 100);
                    // Nobody is sure here, so a full window would give the record of a flow that somebody owns.
                    assert!(!matches!(made, Made::Replaced | Made::Full), "{made:?}");
                    if made == Made::New {
                        assert_eq!(owners[tuple].fetch_add(1, Ordering::SeqCst), 0, "tuple {tuple} has two flows");
                        own.push((tuple, keys[0]));
                    }
                    if own.len() > 4 || made != Made::New && !own.is_empty() {
                        let (tuple, opener) = own.swap_remove(dice.below(own.len()));
                        let found = look(t, &opener).expect("what one made is found");
                        assert_eq!(owners[tuple].fetch_sub(1, Ordering::SeqCst), 1);
                        assert!(flows::end(t, found.number, found.state), "nobody else ends it");
                    }
                }
            });
        }
    });
    is_sound(&t);
}

#[test]
fn of_two_writers_one_wins_in_every_order() {
    // Same reply; same opener; both.
    let cases = [
        [[key(1, 9, 1, 6), key(8, 7, 1, 6)], [key(2, 9, 1, 6), key(8, 7, 1, 6)]],
        [[key(1, 9, 1, 6), key(8, 7, 1, 6)], [key(1, 9, 1, 6), key(8, 7, 2, 6)]],
        [[key(1, 9, 1, 6), key(8, 7, 1, 6)], [key(1, 9, 1, 6), key(8, 7, 1, 6)]],
    ];
    for [a, b] in cases {
        for schedule in schedules([90; 2]) {
            let t = FlowMemory::new(6, 7);
            let make = |keys: [FlowKey; 2]| {
                move |cells: &baton::Shared<'_>| flows::make(cells, &FlowRecord { keys, ..FlowRecord::default() }, 100)
            };
            let (first, second) = race(&t, schedule, make(a), make(b));
            let won = [first, second].iter().filter(|made| **made == Made::New).count();
            assert_eq!(won, 1, "{schedule:?}: {first:?}, {second:?}");
            assert_eq!(t.len(), 1, "{schedule:?}");
            is_sound(&t);
        }
    }
}

#[test]
fn a_record_is_revived_or_taken_and_never_both() {
    let full = FlowMemory::new(6, 7);
    for n in 0..flow_records(6) {
        assert_eq!(full.establish(draft(n).keys[0], draft(n).keys[1], n, 20_000), Made::New);
    }
    let mut revivals = 0;
    // The claimer may look at all 64 states before it finds the one, and then needs some 40 accesses more.
    let orders = schedules([24, 160]);
    for schedule in orders {
        let t = full.clone();
        let late = look(&t, &draft(5).keys[0]).expect("flow 5");
        t.age(late.number, 100);
        let revive = |cells: &baton::Shared<'_>| {
            let mut found = Flow::default();
            let there = flows::look(cells, &draft(5).keys[0], &mut found);
            assert!(!there || found.backend == 5 && found.dst == draft(5).keys[1].src, "a torn record: {found:?}");
            if there {
                flows::touch(cells, &mut found, 0, 20_000);
            }
            there && flows::age_s(found.state, 20_000) == 0
        };
        let make = |cells: &baton::Shared<'_>| flows::make(cells, &draft(1_000), 20_000);
        let (revived, made) = race(&t, schedule, revive, make);
        revivals += u32::from(revived);
        assert_eq!(made, if revived { Made::Full } else { Made::New }, "{schedule:?}");
        assert_eq!(look(&t, &draft(5).keys[1]).is_some(), revived, "{schedule:?}");
        assert_eq!(t.len(), 64);
        is_sound(&t);
        assert!(t.flows().iter().all(|(_, _, state)| state & STATE_USED != 0));
        assert!(t.flows().iter().filter(|(_, _, state)| state & STATE_SURE == 0).count() <= 1);
    }
    assert!((100..7_000).contains(&revivals), "both were first: {revivals}");
}
