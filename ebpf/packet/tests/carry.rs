//! Flows carried over into a table of another size, with packets and without.

use abi::{
    Addr, Be16, FlowKey, IPPROTO_TCP, IPPROTO_UDP,
    flow::{FlowRecord, STATE_FIN_OPENER, STATE_REPLIED, STATE_SURE, flow_records, state_seen_s},
};
use packet::{
    Flow,
    flows::{self, Made, TCP_IDLE_S},
    host::{Carried, Dice, FlowMemory, carry},
};

/// Flow `n` of a client to a backend; every third is UDP.
fn draft(n: u32) -> FlowRecord {
    let proto = if n % 3 == 0 { IPPROTO_UDP } else { IPPROTO_TCP };
    let key = |src: u32, dst: u32, sport, dport| {
        let addr = |n: u32| Addr::v4(n.to_be_bytes());
        FlowKey { src: addr(src), dst: addr(dst), sport: Be16::new(sport), dport: Be16::new(dport), proto, pad: [0; 3] }
    };
    let client = 0x0a00_0000 + n;
    FlowRecord { keys: [key(client, 1, 1_000, 80), key(2, client, 8_080, 1_000)], backend: n, ..FlowRecord::default() }
}

fn look(t: &FlowMemory, n: u32) -> Option<Flow> {
    let mut found = [Flow::default(); 2];
    let there = [0, 1].map(|way| flows::look(t, &draft(n).keys[way], &mut found[way]));
    assert_eq!(there[0], there[1], "flow {n} is found by one tuple only");
    there[0].then(|| {
        assert_eq!((found[0].number, found[0].way, found[1].way), (found[1].number, 0, 1));
        assert_eq!(found[0].backend, n);
        found[0]
    })
}

fn entries(t: &FlowMemory) -> usize {
    t.words().index.iter().filter(|word| **word != 0).count()
}

#[test]
fn what_lives_goes_into_a_table_of_any_size() {
    const NOW: u32 = 50_000;
    const FLOWS: u32 = 800;
    for (from, to) in [(10, 14), (14, 11), (12, 12), (14, 22)] {
        let (old, new) = (FlowMemory::new(from, 7), FlowMemory::new(to, 7));
        let mut dice = Dice(u64::from(from * 100 + to));
        for n in 0..FLOWS {
            assert_eq!(old.establish(draft(n).keys[0], draft(n).keys[1], n, NOW), Made::New);
        }
        for n in 0..FLOWS {
            // Some had no packet for so long that they are over.
            let seen_s = NOW - dice.below(2 * TCP_IDLE_S as usize) as u32;
            old.age(look(&old, n).map_or(0, |flow| flow.number), seen_s);
            let Some(mut found) = look(&old, n) else { panic!("flow {n} was made") };
            if dice.below(4) == 0 {
                flows::touch(&old, &mut found, STATE_FIN_OPENER, seen_s);
            }
        }
        let carried = carry(&old, &new, NOW);
        let mut kept = 0;
        for n in 0..FLOWS {
            let Some(was) = look(&old, n) else { panic!("flow {n} stays where it was") };
            let is = look(&new, n);
            assert_eq!(is.is_some(), !flows::is_over(was.state, NOW), "flow {n}");
            if let Some(is) = is {
                kept += 1;
                assert_eq!(state_seen_s(is.state), state_seen_s(was.state));
                assert_eq!(is.state & 0xffff, was.state & 0xffff, "marks and protocol of flow {n}");
                assert_eq!((is.dst, is.src, is.dport, is.sport), (was.dst, was.src, was.dport, was.sport));
            }
        }
        assert_eq!((carried, entries(&new)), (Carried { kept, lost: 0 }, 2 * kept as usize), "2^{from} to 2^{to}");
        // Again: nothing is made twice.
        assert_eq!(carry(&old, &new, NOW), carried);
        assert_eq!(entries(&new), 2 * kept as usize);
    }
}

#[test]
fn the_confirmed_and_the_latest_find_room_first() {
    let (old, new) = (FlowMemory::new(12, 7), FlowMemory::new(8, 7));
    let room = flow_records(8);
    for n in 0..4 * room {
        // The later their number, the later their last packet; every second is confirmed.
        let made = if n % 2 == 0 {
            old.establish(draft(n).keys[0], draft(n).keys[1], n, 1_000 + n)
        } else {
            flows::make(&old, &draft(n), 1_000 + n)
        };
        assert_eq!(made, Made::New);
    }
    let now = 1_000 + 4 * room;
    let living = old.flows().iter().filter(|(_, _, state)| !flows::is_over(*state, now)).count();
    let carried = carry(&old, &new, now);
    assert_eq!(carried.kept as usize, new.len());
    assert_eq!((carried.kept + carried.lost) as usize, living);
    let confirmed: Vec<u32> =
        (0..4 * room).filter(|n| look(&new, *n).is_some_and(|flow| flow.state & STATE_SURE != 0)).collect();
    assert!(confirmed.len() as u32 >= room / 10 * 9, "{} of {room} are confirmed", confirmed.len());
    // Of the confirmed, whose UDP flows are over sooner, mostly the old ones are missing.
    let alive = |n: &u32| look(&old, *n).is_some_and(|flow| !flows::is_over(flow.state, now));
    let latest: Vec<u32> = (3 * room..4 * room).filter(|n| n % 2 == 0).filter(alive).collect();
    let missing = latest.iter().filter(|n| !confirmed.contains(n)).count();
    assert!(missing * 20 <= latest.len(), "{missing} of the latest {} are missing", latest.len());
}

#[test]
fn a_second_copy_brings_what_changed_and_breaks_nothing() {
    let (old, new) = (FlowMemory::new(10, 7), FlowMemory::new(11, 7));
    for n in 0..10 {
        assert_eq!(flows::make(&old, &draft(n), 1_000), Made::New);
    }
    assert_eq!(carry(&old, &new, 1_001), Carried { kept: 10, lost: 0 });
    let touch = |t: &FlowMemory, n, marks, now_s| {
        let Some(mut found) = look(t, n) else { panic!("flow {n}") };
        flows::touch(t, &mut found, marks, now_s);
    };
    // Still in the old table: an answer, a new flow. In the new one already: a later packet, and another flow with a tuple of one that
    // the old one has opened since.
    touch(&old, 1, STATE_REPLIED, 1_010);
    touch(&new, 2, STATE_REPLIED | STATE_SURE, 1_020);
    assert_eq!(flows::make(&old, &draft(20), 1_011), Made::New);
    assert_eq!(flows::make(&old, &draft(21), 1_011), Made::New);
    let mut rival = draft(21);
    rival.keys[0].sport = Be16::new(2_000);
    assert_eq!(flows::make(&new, &rival, 1_012), Made::New);
    assert_eq!(carry(&old, &new, 1_021), Carried { kept: 11, lost: 1 });
    let state = |n| look(&new, n).map(|flow| (state_seen_s(flow.state), flow.state & (STATE_REPLIED | STATE_SURE)));
    assert_eq!(state(1), Some((1_010, STATE_REPLIED)));
    assert_eq!(state(2), Some((1_020, STATE_REPLIED | STATE_SURE)));
    assert_eq!(state(20), Some((1_011, 0)));
    let mut found = Flow::default();
    assert!(flows::look(&new, &rival.keys[0], &mut found), "who came first stays");
    assert!(!flows::look(&new, &draft(21).keys[0], &mut found));
    assert_eq!(new.len(), 12);
}

#[test]
fn packets_go_on_while_flows_are_carried() {
    let (old, new) = (FlowMemory::new(14, 7), FlowMemory::new(15, 7));
    for n in 0..10_000 {
        assert_eq!(old.establish(draft(n).keys[0], draft(n).keys[1], n, 1_000), Made::New);
    }
    std::thread::scope(|scope| {
        let packets = scope.spawn(|| {
            let mut dice = Dice(3);
            for turn in 0..30_000_u32 {
                let n = dice.below(10_000) as u32;
                let table = if turn % 2 == 0 { &old } else { &new };
                let mut found = Flow::default();
                if flows::look(table, &draft(n).keys[0], &mut found) {
                    assert_eq!(found.backend, n, "a torn record");
                    flows::touch(table, &mut found, 0, 1_000 + turn / 1_000);
                } else {
                    assert_eq!(turn % 2, 1, "flow {n} is gone from where it was");
                }
                // New ones as well, in both.
                flows::make(table, &draft(20_000 + turn % 2 * 50_000 + turn / 100), 1_000);
            }
        });
        carry(&old, &new, 1_000);
        packets.join().expect("the packets' thread");
    });
    let last = carry(&old, &new, 1_050);
    assert_eq!(last.lost, 0);
    for n in (0..10_000).chain(20_000..20_300) {
        let (Some(was), Some(is)) = (look(&old, n), look(&new, n)) else { panic!("flow {n}") };
        assert!(state_seen_s(is.state) >= state_seen_s(was.state), "flow {n}");
    }
}
