//! Who talks to which Service, and how much.

use abi::{
    Addr, Be16, IPPROTO_TCP,
    edge::{
        CLIENT_OTHER, CLIENT_OUTSIDE, EDGE_DEAD, EdgeRow, EdgeTraffic, MAX_EDGES, Way, edge_service, edge_word, home,
    },
};
use packet::{
    Edges, Verdict,
    edges::find,
    host::{Frame, Hook, Memory, Spec, Step, apply, pod_mac, v4, v6, world},
    socket::{Call, Given, connect},
};

fn row(m: &Memory, client: Addr) -> (u32, EdgeRow) {
    let rows = m.edges.rows.borrow();
    let found: Vec<_> = rows.iter().filter(|(_, row)| row.client == client && row.word != 0).collect();
    let [(number, row)] = found.as_slice() else { panic!("one row of {client:?}, not {found:?}") };
    (**number, **row)
}

fn traffic(m: &Memory, client: Addr) -> EdgeTraffic {
    m.edges.traffic.borrow().get(&row(m, client).0).copied().unwrap_or_default()
}

fn send(m: &Memory, hook: Hook, from: (&str, u16), to: (&str, u16), flags: u8) -> usize {
    let (src, dst) = (from.0.parse().expect("an address"), to.0.parse().expect("an address"));
    let mac = if let Hook::FromPod { ifindex } = hook { pod_mac(ifindex - 10) } else { [0; 6] };
    let spec = Spec { tcp_flags: flags, from_mac: mac, ..Spec::new(src, dst, IPPROTO_TCP, from.1, to.1) };
    let mut step = Step { hook, frame: Frame(spec.build()), now_s: 1_000 };
    let bytes = step.frame.0.len() - 14;
    let verdict = apply(m, &mut step);
    assert!(!matches!(verdict, Verdict::Drop(_)), "{verdict:?}");
    bytes
}

const POD: Hook = Hook::FromPod { ifindex: 12 };

/// All slots lead to pod 3.
fn one_backend() -> Memory {
    let mut m = world();
    let id = m.backends.iter().find(|(_, b)| b.addr == v4("10.244.1.3") && b.proto == IPPROTO_TCP).map(|(id, _)| *id);
    m.slots.values_mut().for_each(|slot| *slot = id.expect("the world has it"));
    m
}

#[test]
fn packets_of_both_directions_are_counted_where_they_are_translated() {
    let m = one_backend();
    let mut forth = send(&m, POD, ("10.244.1.2", 1_000), ("10.96.0.20", 80), 2);
    forth += send(&m, POD, ("10.244.1.2", 1_000), ("10.96.0.20", 80), 16);
    let back = send(&m, Hook::FromPod { ifindex: 13 }, ("10.244.1.3", 8080), ("10.244.1.2", 1_000), 18);
    let (_, found) = row(&m, v4("10.244.1.2"));
    assert_eq!((edge_service(found.word), found.connections), (Some(service(&m, "10.96.0.20")), 1));
    let ways = [Way { packets: 2, bytes: forth as u64 }, Way { packets: 1, bytes: back as u64 }];
    assert_eq!(traffic(&m, v4("10.244.1.2")), EdgeTraffic { ways });
    // What uses no Service is counted nowhere.
    send(&m, POD, ("10.244.1.2", 1_001), ("10.244.1.3", 8080), 2);
    send(&m, POD, ("10.244.1.2", 1_002), ("203.0.113.9", 80), 2);
    assert_eq!(m.edges.rows.borrow().len(), 1);
    assert_eq!(traffic(&m, v4("10.244.1.2")), EdgeTraffic { ways });
}

fn service(m: &Memory, vip: &str) -> u32 {
    let found = m.services.iter().find(|(key, _)| key.addr == v4(vip) && key.proto == IPPROTO_TCP);
    found.expect("the world has it").1.id
}

#[test]
fn whoever_is_outside_is_one_client() {
    let m = one_backend();
    for from in 1..=5_u16 {
        let client = format!("203.0.113.{from}");
        send(&m, Hook::FromUplink, (&client, 1_000 + from), ("192.0.2.1", 30080), 2);
    }
    assert_eq!(row(&m, CLIENT_OUTSIDE).1.connections, 5);
    assert_eq!(traffic(&m, CLIENT_OUTSIDE).ways[0].packets, 5);
}

#[test]
fn connections_of_sockets_are_counted_by_namespace() {
    let m = world();
    let call = Call { addr: v4("10.96.0.20"), port: Be16::new(80), proto: IPPROTO_TCP };
    for netns in [77, 77, 1 << 40] {
        connect(&m, &Given { netns, random: 0 }, &call);
    }
    assert_eq!(row(&m, Addr([77, 0, 0, 0])).1.connections, 2);
    assert_eq!(row(&m, Addr([0, 256, 0, 0])).1.connections, 1);
}

#[test]
fn who_finds_no_row_is_among_the_others() {
    let (m, client) = (Memory::default(), v6("fd00:1::2"));
    let first = home(&client, 9);
    let taken = EdgeRow { client: v4("192.0.2.77"), word: edge_word(1), ..EdgeRow::default() };
    let around = |i: u32| first.wrapping_add(i) & (MAX_EDGES - 1);
    m.edges.rows.borrow_mut().extend((0..8).map(|i| (around(i), taken)));
    let other = find(&m, &client, 9);
    assert_eq!(m.edges.rows.borrow()[&other].client, CLIENT_OTHER);
    // Neither a row at rest nor one of another Service is his.
    let own = EdgeRow { client, word: edge_word(9), ..EdgeRow::default() };
    m.edges.rows.borrow_mut().insert(around(3), EdgeRow { word: own.word | EDGE_DEAD, ..own });
    m.edges.rows.borrow_mut().insert(around(4), EdgeRow { word: edge_word(10), ..own });
    assert_eq!(find(&m, &client, 9), other);
    m.edges.rows.borrow_mut().insert(around(5), own);
    assert_eq!(find(&m, &client, 9), around(5));
    m.edges.rows.borrow_mut().insert(around(5), taken);
    let elsewhere = home(&CLIENT_OTHER, 9);
    m.edges.rows.borrow_mut().extend((0..8).map(|i| (elsewhere.wrapping_add(i) & (MAX_EDGES - 1), taken)));
    assert_eq!(find(&m, &client, 9), 0);
}

#[test]
fn the_row_of_nobody_is_not_taken() {
    let m = Memory::default();
    let at_the_end = |service: &u32| home(&v4("10.0.0.1"), *service) == 0;
    let service = (1..u32::MAX).find(at_the_end).expect("some Service's home is row 0");
    assert_eq!(find(&m, &v4("10.0.0.1"), service), 1);
    m.open_edge(0);
    assert_eq!(find(&m, &v4("10.0.0.1"), service), 1);
}

/// Rows spread: with half of the table in use hardly anybody is left without one.
#[test]
fn a_table_that_is_half_full_has_room() {
    let m = Memory::default();
    let clients = (0..MAX_EDGES / 32).flat_map(|host| (1..=16_u32).map(move |service| (host, service)));
    for (host, service) in clients {
        find(&m, &Addr::v4([10, 244, (host >> 8) as u8, host as u8]), service);
    }
    let others = m.edges.rows.borrow().values().filter(|row| row.client == CLIENT_OTHER).count();
    assert!(others < 16, "{others} of 16 Services have others");
}
