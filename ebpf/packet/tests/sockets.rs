//! Socket-level balancing.

use abi::{
    Addr, BACKEND_DRAINING, Be16, IPPROTO_TCP, IPPROTO_UDP, SCOPE_CLUSTER, SCOPE_NODE_PORT, ServiceKey, SocketEntry,
    SocketValue,
};
use packet::{
    host::{Memory, v4, v6, world},
    socket::{self, Call, Choice, Given, Known, is_room, remember},
};

const NODE: u64 = 1;
const POD: u64 = 77;

/// A call and the socket that makes it.
#[derive(Clone, Copy)]
struct Ask {
    call: Call,
    netns: u64,
    random: u32,
}

impl Ask {
    fn caller(&self) -> Given {
        Given { netns: self.netns, random: self.random }
    }
}

fn call(addr: Addr, port: u16, proto: u8, netns: u64) -> Ask {
    Ask { call: Call { addr, port: Be16::new(port), proto }, netns, random: 0 }
}

fn connect(m: &Memory, ask: &Ask) -> Choice {
    socket::connect(m, &ask.caller(), &ask.call)
}

fn send(m: &Memory, ask: &Ask, more: Option<&SocketValue>) -> Choice {
    socket::send(m, &ask.caller(), &ask.call, || Known { peer: None, more })
}

fn reveal(known: &SocketValue, addr: &Addr, port: Be16) -> Option<(Addr, Be16)> {
    socket::reveal(Known { peer: None, more: Some(known) }, addr, port)
}

fn entry(choice: Choice) -> SocketEntry {
    match choice {
        Choice::Translate(entry) | Choice::Again(entry) => entry,
        other => panic!("{other:?}"),
    }
}

#[test]
fn tcp_is_translated_at_connect_udp_is_not_where_packets_can_be() {
    let m = world();
    let vip = v4("10.96.0.20");
    let chosen = entry(connect(&m, &call(vip, 80, IPPROTO_TCP, POD)));
    assert_eq!((chosen.service, chosen.service_port), (vip, Be16::new(80)));
    assert_eq!((chosen.backend, chosen.backend_port), (v4("10.244.1.2"), Be16::new(8080)));
    assert_eq!(connect(&m, &call(vip, 80, IPPROTO_UDP, POD)), Choice::Keep);
    assert_eq!(connect(&m, &call(vip, 80, IPPROTO_UDP, NODE)), Choice::Keep);
    // The node's own address has no path on which packets could be translated.
    assert!(matches!(connect(&m, &call(v4("127.0.0.1"), 30080, IPPROTO_UDP, NODE)), Choice::Translate(_)));
    assert_eq!(connect(&m, &call(vip, 81, IPPROTO_TCP, POD)), Choice::Keep);
    assert_eq!(connect(&m, &call(v4("10.96.0.21"), 80, IPPROTO_TCP, POD)), Choice::Refuse);
    assert_eq!(connect(&Memory::default(), &call(vip, 80, IPPROTO_TCP, POD)), Choice::Keep);
}

#[test]
fn node_ports_answer_on_the_nodes_addresses_and_on_its_own_loopback() {
    let m = world();
    for (addr, netns, expected) in [
        (v6("::"), NODE, false),
        (v4("192.0.2.1"), POD, true),
        (v4("169.254.1.1"), POD, true),
        (v4("127.0.0.1"), NODE, true),
        (v4("127.0.0.1"), POD, false),
        (v4("0.0.0.0"), NODE, true),
        // Its backends are of IPv4.
        (v6("::1"), NODE, false),
        (v4("192.0.2.2"), NODE, false),
        (v4("203.0.113.9"), NODE, false),
    ] {
        let choice = connect(&m, &call(addr, 30080, IPPROTO_TCP, netns));
        assert_eq!(matches!(choice, Choice::Translate(_)), expected, "{addr:?} {netns}");
    }
    for (addr, netns, expected) in [
        (v6("2001:db8::1"), POD, true),
        (v6("::1"), NODE, true),
        (v6("::"), NODE, true),
        (v6("::1"), POD, false),
        (v4("127.0.0.1"), NODE, false),
    ] {
        let choice = connect(&m, &call(addr, 30086, IPPROTO_TCP, netns));
        assert_eq!(matches!(choice, Choice::Translate(_)), expected, "{addr:?} {netns}");
    }
}

#[test]
fn a_datagram_to_the_same_service_keeps_its_backend() {
    let mut m = world();
    let vip = v4("10.96.0.20");
    let mut known = SocketValue::default();
    let first = entry(send(&m, &call(vip, 80, IPPROTO_UDP, POD), Some(&known)));
    remember(&mut known, &first);
    // Another number would have chosen another backend.
    let other = Ask { random: u32::MAX, ..call(vip, 80, IPPROTO_UDP, POD) };
    assert_ne!(entry(send(&m, &other, None)), first);
    assert_eq!(entry(send(&m, &other, Some(&known))), first);
    m.backends.get_mut(&first.backend_id).expect("it was chosen").flags |= BACKEND_DRAINING;
    assert_ne!(entry(send(&m, &other, Some(&known))), first);
}

#[test]
fn a_place_holds_one_service() {
    let mut m = world();
    let (one, other) = (v4("10.96.0.20"), v4("10.96.0.22"));
    let ask = |addr| call(addr, 80, IPPROTO_UDP, POD);
    let first = entry(send(&m, &ask(one), None));
    let apart = |addr| Ask { random: u32::MAX, ..ask(addr) };
    let second = entry(send(&m, &apart(other), None));
    assert_ne!((second.backend, second.backend_port), (first.backend, first.backend_port));
    assert!(is_room(&SocketEntry::default(), &first, IPPROTO_UDP));
    assert!(is_room(&first, &SocketEntry { backend_id: 99, ..first }, IPPROTO_UDP), "a new backend");
    assert!(!is_room(&first, &second, IPPROTO_UDP));
    assert!(is_room(&first, &second, IPPROTO_TCP), "a connection has one peer");

    let known = || Known { peer: Some(&first), more: None };
    let again = |m: &Memory, ask: Ask| socket::send(m, &ask.caller(), &ask.call, known);
    assert_eq!(again(&m, Ask { random: u32::MAX, ..ask(one) }), Choice::Again(first));
    assert_eq!(again(&m, apart(other)), Choice::Translate(second));
    assert_eq!(socket::reveal(known(), &first.backend, first.backend_port), Some((one, Be16::new(80))));
    assert_eq!(socket::reveal(known(), &first.backend, Be16::new(1)), None);
    // An empty place shows nothing, whatever the peer.
    let empty = SocketEntry::default();
    assert_eq!(socket::reveal(Known { peer: Some(&empty), more: None }, &first.backend, first.backend_port), None);
    m.services.clear();
    assert_eq!(again(&m, ask(one)), Choice::Keep, "the Service is gone");
}

#[test]
fn services_with_one_backend_do_not_share_a_socket() {
    let mut m = world();
    let (one, other) = (v4("10.96.0.20"), v4("10.96.0.22"));
    let key = |addr| ServiceKey { addr, port: Be16::new(80), proto: IPPROTO_UDP, scope: SCOPE_CLUSTER };
    let value = m.services[&key(one)];
    m.services.insert(key(other), value);
    let ask = |addr, netns| call(addr, 80, IPPROTO_UDP, netns);
    let first = entry(send(&m, &ask(one, POD), None));
    let known = || Known { peer: Some(&first), more: None };
    let then = |ask: Ask| socket::send(&m, &ask.caller(), &ask.call, known);
    assert_eq!(then(ask(other, POD)), Choice::Keep, "answers of both would look the same");
    assert_eq!(then(ask(other, NODE)), Choice::Keep, "the range of virtual addresses has a path");
    assert_eq!(then(ask(one, POD)), Choice::Again(first));
    let mut more = SocketValue::default();
    remember(&mut more, &first);
    assert_eq!(send(&m, &ask(other, POD), Some(&more)), Choice::Keep);
    assert!(matches!(then(Ask { random: u32::MAX, ..ask(other, POD) }), Choice::Translate(_)), "another backend");
}

#[test]
fn peers_show_the_service() {
    let m = world();
    let mut known = SocketValue::default();
    let vips = ["10.96.0.20", "10.96.0.22", "10.96.0.10"].map(v4);
    for (vip, port, random) in [(vips[0], 80, 0), (vips[1], 80, u32::MAX), (vips[2], 53, 0)] {
        let ask = Ask { random, ..call(vip, port, IPPROTO_UDP, POD) };
        let chosen = entry(send(&m, &ask, Some(&known)));
        remember(&mut known, &chosen);
        assert_eq!(reveal(&known, &chosen.backend, chosen.backend_port).map(|(_, port)| port), Some(Be16::new(port)));
    }
    assert_eq!(reveal(&known, &v4("169.254.1.1"), Be16::new(53)), Some((vips[2], Be16::new(53))));
    assert_eq!(reveal(&known, &v4("169.254.1.1"), Be16::new(54)), None);
    assert_eq!(reveal(&known, &v4("10.96.0.20"), Be16::new(80)), None);
}

#[test]
fn a_socket_remembers_its_latest_services() {
    let mut known = SocketValue::default();
    let at = |n: u16| SocketEntry {
        backend: v4("10.244.1.2"),
        service: v4("10.96.0.1"),
        backend_port: Be16::new(n),
        service_port: Be16::new(1_000 + n),
        backend_id: 1,
    };
    for n in 1..=6 {
        remember(&mut known, &at(n));
        remember(&mut known, &at(n));
    }
    let seen = |n: u16| reveal(&known, &v4("10.244.1.2"), Be16::new(n)).is_some();
    assert_eq!([1, 2, 3, 4, 5, 6].map(seen), [false, false, true, true, true, true]);
}

#[test]
fn a_host_port_on_loopback_is_for_the_nodes_own_sockets() {
    let mut m = world();
    let any = ServiceKey { addr: Addr::ANY_V4, port: Be16::new(30080), proto: IPPROTO_TCP, scope: SCOPE_NODE_PORT };
    let value = m.services[&any];
    let own = ServiceKey { addr: v4("127.0.0.1"), port: Be16::new(8443), ..any };
    m.services.insert(own, value);
    for (addr, netns, expected) in
        [("127.0.0.1", NODE, true), ("127.0.0.1", POD, false), ("127.0.0.2", NODE, false), ("192.0.2.1", NODE, false)]
    {
        let choice = connect(&m, &call(v4(addr), 8443, IPPROTO_TCP, netns));
        assert_eq!(matches!(choice, Choice::Translate(_)), expected, "{addr} {netns}");
    }
}

/// A client that has both families is remembered for a backend of each.
#[test]
fn affinity_of_sockets_is_of_one_family() {
    let mut m = world();
    let services: Vec<_> = m.services.iter().map(|(key, value)| (*key, *value)).collect();
    let of =
        |vip: Addr| *services.iter().find(|(key, _)| key.addr == vip && key.proto == IPPROTO_TCP).expect("it is there");
    let ((key4, four), (key6, six)) = (of(v4("10.96.0.20")), of(v6("fd00:96::14")));
    for (key, value) in [(key4, four), (key6, six)] {
        m.services.insert(key, abi::ServiceValue { id: four.id, affinity_s: 60, ..value });
    }
    for _ in 0..2 {
        let old = entry(connect(&m, &call(key4.addr, key4.port.get(), IPPROTO_TCP, POD)));
        let new = entry(connect(&m, &call(key6.addr, key6.port.get(), IPPROTO_TCP, POD)));
        assert!(old.backend.is_v4() && !new.backend.is_v4(), "{old:?} {new:?}");
    }
}

/// A frontend with local backends only (internalTrafficPolicy or externalTrafficPolicy Local) shares its port's number with others that have more.
#[test]
fn affinity_keeps_to_local_backends_where_the_frontend_does() {
    let mut m = world();
    let at = |m: &Memory, ip: &str| {
        let mut of_tcp = m.backends.iter().filter(|(_, backend)| backend.proto == IPPROTO_TCP);
        *of_tcp.find(|(_, backend)| backend.addr == v4(ip)).expect("it is there").0
    };
    let (here, there) = (at(&m, "10.244.1.2"), at(&m, "10.244.2.5"));
    m.backends.get_mut(&here).expect("it is there").flags |= abi::BACKEND_LOCAL;
    let vip = v4("10.96.0.20");
    let key = ServiceKey { addr: vip, port: Be16::new(80), proto: IPPROTO_TCP, scope: abi::SCOPE_CLUSTER };
    let value = abi::ServiceValue { affinity_s: 60, base: 5_000, len: 1, ..m.services[&key] };
    m.slots.insert(5_000, here);
    m.affinity.borrow_mut().insert(
        abi::AffinityKey { client: Addr([POD as u32, 0, 1, 0]), service: value.id },
        abi::AffinityValue { backend: there, seen_s: 1_000 },
    );
    m.services.insert(key, value);
    assert_eq!(entry(connect(&m, &call(vip, 80, IPPROTO_TCP, POD))).backend_id, there);
    m.services.insert(key, abi::ServiceValue { flags: value.flags | abi::SERVICE_NEAR, ..value });
    assert_eq!(entry(connect(&m, &call(vip, 80, IPPROTO_TCP, POD))).backend_id, here);
}
