use std::collections::BTreeMap;
use std::net::IpAddr;

use abi::balance::{Backend, Config, VIP_LIVE, outer_sum};
use abi::{Addr, Be16, IPPROTO_TCP, IPPROTO_UDP};
use packet::balance::Fate;
use packet::host::{BalancerMemory, Frame, Spec, balance};
use proptest::prelude::*;

use crate::addr;
use crate::balancer::*;

const SOURCE: Addr = Addr::v4([192, 0, 2, 1]);
const SLOTS: usize = 20_000;
const SYN: u8 = 2;
const ACK: u8 = 0x10;
const DRAIN_S: u32 = 1_000;

fn vip_ip(i: u8) -> IpAddr {
    IpAddr::from([203, 0, 113, i])
}

/// Addresses 1 and 2 are TCP, 3 is UDP.
fn key(i: u8) -> VipKey {
    let proto = if i == 3 { IPPROTO_UDP } else { IPPROTO_TCP };
    VipKey { addr: addr(vip_ip(i)), port: Be16::new(80), proto }
}

fn server(i: u8, weight: u32, healthy: bool) -> Server {
    Server { addr: Addr::v4([192, 0, 2, 100 + i]), weight, healthy }
}

fn desired(services: &[(u8, Vec<Server>)]) -> Desired {
    let service = |servers: &Vec<Server>| Service { by_client: false, servers: servers.clone() };
    let services = services.iter().map(|(i, servers)| (key(*i), service(servers))).collect();
    Desired { source4: SOURCE, services }
}

fn all(servers: std::ops::Range<u8>) -> Vec<Server> {
    servers.map(|i| server(i, 1, true)).collect()
}

/// The tables, and what stands in them.
struct World {
    memory: BalancerMemory,
    standing: Standing,
}

impl World {
    fn new(gate_per_s: u32) -> World {
        let config = Config { source4: SOURCE, mtu: 1_500, ready: 1, gate_per_s, ..Config::default() };
        let memory = BalancerMemory { config: Some(config), slots: vec![0; SLOTS], ..BalancerMemory::default() };
        let standing = Standing::recover(&content(&memory));
        World { memory, standing }
    }

    fn plan(&mut self, desired: &Desired) -> Vec<Write> {
        let plan = self.standing.plan(desired, self.memory.now_s.get(), DRAIN_S);
        assert_eq!(plan.faults, []);
        plan.writes
    }

    fn apply(&mut self, desired: &Desired) {
        for write in self.plan(desired) {
            store(&mut self.memory, write);
        }
    }

    fn later(&self, seconds: u32) {
        self.memory.now_s.set(self.memory.now_s.get() + seconds);
    }
}

fn content(m: &BalancerMemory) -> Content {
    Content {
        rows: m.vips.iter().map(|(row, vip)| (*row, *vip)).collect(),
        slots: m.slots.clone(),
        backends: m.backends.iter().map(|(id, backend)| (*id, *backend)).collect(),
        changed_s: m.changed_s.clone(),
    }
}

fn store(m: &mut BalancerMemory, write: Write) {
    match write {
        Write::Backend(id, backend) if backend == Backend::default() => drop(m.backends.remove(&id)),
        Write::Backend(id, backend) => drop(m.backends.insert(id, backend)),
        Write::Changed(number, second) => drop(m.changed_s.insert(number, second)),
        Write::Slot(index, value) => m.slots[index as usize] = value,
        Write::Row(row, vip) => drop(m.vips.insert(row, vip)),
        Write::Ring(row, ring) => m.vips.get_mut(&row).expect("the row is live").ring = ring,
        Write::Forget(key) => {
            let of = |flow: &abi::FlowKey| (flow.dst, flow.dport, flow.proto) == (key.addr, key.port, key.proto);
            m.flows.borrow_mut().retain(|flow, _| !of(flow));
        }
        Write::Barrier | Write::ClearTraffic(_) => {}
    }
}

/// The backend's last octet; 0 for a dropped packet, 1 for one that is not for the balancer.
fn answer(m: &BalancerMemory, vip: u8, sport: u16, flags: u8) -> u8 {
    let proto = key(vip).proto;
    let spec = Spec::new(IpAddr::from([198, 18, 0, 1]), vip_ip(vip), proto, sport, 80);
    let mut frame = Frame(Spec { tcp_flags: flags, ..spec }.build());
    match balance(m, &mut frame) {
        Fate::Send => frame.0[33],
        Fate::Drop(_) => 0,
        Fate::Pass => 1,
    }
}

/// Of [`answers`] those of the addresses for TCP.
const CONNECTIONS: usize = 160;

/// What packets of many flows get, opening ones and others.
fn answers(m: &BalancerMemory) -> Vec<u8> {
    let of = |vip| (1_000..1_040).flat_map(move |sport| [SYN, ACK].map(|flags| answer(m, vip, sport, flags)));
    [1, 2, 3].into_iter().flat_map(of).collect()
}

fn servers() -> impl Strategy<Value = Vec<Server>> {
    let one = (0_u32..3, prop::bool::weighted(0.8));
    let some = prop::collection::btree_map(0_u8..6, one, 0..6);
    some.prop_map(|some| some.into_iter().map(|(i, (weight, healthy))| server(i, weight, healthy)).collect())
}

/// Services, and seconds until the next change.
fn steps() -> impl Strategy<Value = Vec<(BTreeMap<u8, Vec<Server>>, u32)>> {
    let services = prop::collection::btree_map(1_u8..4, servers(), 0..4);
    prop::collection::vec((services, prop_oneof![Just(1), Just(30), Just(DRAIN_S)]), 1..7)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn after_every_write_a_packet_goes_as_before_or_as_after(steps in steps()) {
        // Without records, so that looking changes nothing.
        let mut world = World::new(0);
        world.later(5_000);
        for (services, seconds) in steps {
            let desired = desired(&services.into_iter().collect::<Vec<_>>());
            let writes = world.plan(&desired);
            let before = answers(&world.memory);
            // A server that comes back to life gets the connections again that slots remember as his, until these change.
            let dead = |id: &u32| world.memory.backends.get(id).is_some_and(|backend| backend.flags == 0);
            let revived: Vec<u8> = writes
                .iter()
                .filter_map(|write| match write {
                    Write::Backend(id, backend) if dead(id) => Some(backend.addr.v4_octets()[3]),
                    _ => None,
                })
                .collect();
            let mut seen = Vec::new();
            for write in &writes {
                store(&mut world.memory, *write);
                // A look takes its time: one at each kind of write's every seventeenth.
                let look = !matches!(write, Write::Slot(index, _) if index % 17 != 0);
                seen.extend(look.then(|| (*write, answers(&world.memory))));
            }
            let after = answers(&world.memory);
            for (write, seen) in seen {
                // The third address is for datagrams: while a second change is written within the time in which they
                // count as from before the first, those without a record may go a third way.
                for (i, got) in seen.iter().enumerate().take(CONNECTIONS) {
                    let fits = *got == before[i] || *got == after[i] || revived.contains(got);
                    prop_assert!(fits, "{got} of {i} after {write:?}");
                }
            }
            prop_assert!(world.plan(&desired).is_empty(), "a second plan has nothing to do");
            // Datagrams that were seen first within ten seconds of one change may go a third way in another.
            world.later(seconds.max(30));
        }
    }

    #[test]
    fn what_was_written_is_what_is_read_back(steps in steps()) {
        let mut world = World::new(100);
        for (services, seconds) in steps {
            let services: Vec<_> = services.into_iter().collect();
            world.apply(&desired(&services));
            let mut again = Standing::recover(&content(&world.memory));
            prop_assert_eq!(&again.backends, &world.standing.backends);
            for (key, placed) in &world.standing.vips {
                prop_assert!(again.vips[key].named.is_superset(&placed.named) || !placed.remembers());
                prop_assert_eq!(&again.vips[key].slots, &placed.slots);
            }
            let plan = again.plan(&desired(&services), world.memory.now_s.get(), DRAIN_S);
            prop_assert_eq!(plan, Plan::default());
            world.later(seconds);
        }
    }

    #[test]
    fn connections_stay_while_their_server_lives(steps in steps()) {
        let mut world = World::new(u32::MAX);
        world.apply(&desired(&[(1, all(0..4)), (2, all(0..6)), (3, all(1..3))]));
        // Half of the connections are idle over all changes.
        let home: Vec<(u8, u16, u8)> = [1, 2].into_iter().flat_map(|vip| (1_000..1_050).map(move |port| (vip, port)))
            .map(|(vip, port)| (vip, port, answer(&world.memory, vip, port, SYN))).collect();
        let mut held: Vec<bool> = vec![true; home.len()];
        for (services, _) in steps {
            let mut services = services;
            for vip in [1, 2] {
                services.entry(vip).or_insert_with(|| all(2..5));
            }
            let has_ring = |vip: &u8| services[vip].iter().any(|server| server.weight > 0);
            for (i, (vip, _, to)) in home.iter().enumerate() {
                let listed = services.values().flatten().filter(|server| server.addr.0[3].to_ne_bytes()[3] == *to);
                let listed: Vec<&Server> = listed.collect();
                // A server that fails loses his connections, and so does a service without any.
                held[i] &= has_ring(vip) && listed.iter().all(|server| server.healthy && server.weight > 0);
            }
            world.apply(&desired(&services.into_iter().collect::<Vec<_>>()));
            world.later(1);
            for (i, (vip, port, to)) in home.iter().enumerate().filter(|(i, _)| i % 2 == 0) {
                let got = answer(&world.memory, *vip, *port, ACK);
                prop_assert!(!held[i] || got == *to, "{vip}:{port} went from {to} to {got}");
            }
        }
        for (i, (vip, port, to)) in home.iter().enumerate() {
            let got = answer(&world.memory, *vip, *port, ACK);
            prop_assert!(!held[i] || got == *to, "{vip}:{port} was idle and went from {to} to {got}");
        }
    }
}

#[test]
fn a_removed_server_keeps_its_connections_until_the_service_was_quiet() {
    let mut world = World::new(u32::MAX);
    world.apply(&desired(&[(1, all(0..4))]));
    let home: Vec<u8> = (0..200).map(|port| answer(&world.memory, 1, port, SYN)).collect();
    world.later(1);
    world.apply(&desired(&[(1, all(0..3))]));
    let stays = (0..200).all(|port| answer(&world.memory, 1, port, ACK) == home[usize::from(port)]);
    assert!(stays, "connections stay");
    assert!(home.contains(&103), "the server that goes had some");
    assert!((1_000..1_200).all(|port| answer(&world.memory, 1, port, SYN) != 103), "no new ones");
    world.later(DRAIN_S - 1);
    assert_eq!(world.plan(&desired(&[(1, all(0..3))])), []);
    world.later(1);
    world.apply(&desired(&[(1, all(0..3))]));
    assert!(world.memory.flows.borrow().is_empty(), "records are gone");
    assert_eq!(world.memory.backends.len(), 3, "its number is free");
    assert!(world.memory.slots.iter().all(|slot| slot >> 16 == 0), "slots forget");
    assert!((0..200).all(|port| answer(&world.memory, 1, port, ACK) != 103));
}

#[test]
fn a_server_that_fails_hands_over_and_comes_back() {
    let mut world = World::new(0);
    world.apply(&desired(&[(1, all(0..3)), (2, all(0..3))]));
    let failing = |healthy| vec![server(0, 1, true), server(1, 1, true), server(2, 1, healthy)];
    let before = answers(&world.memory);
    world.apply(&desired(&[(1, failing(false)), (2, failing(true))]));
    let hits = |world: &World, vip, flags| (0..300).any(|port| answer(&world.memory, vip, port, flags) == 102);
    assert!(!hits(&world, 1, SYN) && hits(&world, 2, SYN), "another service's check is its own");
    assert!(hits(&world, 1, ACK), "he lives, says the other service");
    world.apply(&desired(&[(1, failing(false)), (2, failing(false))]));
    assert!(!hits(&world, 1, ACK) && !hits(&world, 2, ACK), "dead, and nobody stays with him");
    world.apply(&desired(&[(1, failing(true)), (2, failing(true))]));
    assert_eq!(answers(&world.memory), before, "all is as it was");
}

#[test]
fn where_every_check_fails_all_servers_stay() {
    let mut world = World::new(u32::MAX);
    world.apply(&desired(&[(1, all(0..3))]));
    let before = answers(&world.memory);
    world.apply(&desired(&[(1, (0..3).map(|i| server(i, 1, false)).collect())]));
    assert_eq!(answers(&world.memory), before);
}

#[test]
fn a_ring_that_grows_takes_most_connections_along() {
    let mut world = World::new(u32::MAX);
    world.apply(&desired(&[(1, all(0..2))]));
    let home: Vec<u8> = (0..2_000).map(|port| answer(&world.memory, 1, port, SYN)).collect();
    world.apply(&desired(&[(1, all(0..40))]));
    assert_eq!(world.standing.vips[&key(1)].slots.len(), 4_093);
    let moved = (0..2_000).filter(|port| answer(&world.memory, 1, *port, ACK) != home[usize::from(*port)]).count();
    println!("{moved} of 2,000 connections moved");
    assert!(moved < 60, "{moved} of 2,000 moved");
    assert!((5_000..6_000).any(|port| answer(&world.memory, 1, port, SYN) >= 110), "new servers have new flows");
}

#[test]
fn without_room_a_service_is_refused_and_the_others_stand() {
    let mut world = World::new(0);
    let crowd: Vec<Server> = (0..120).map(|i| server(i, 1, true)).collect();
    let plan = world.standing.plan(&desired(&[(1, all(0..2)), (2, crowd.clone()), (3, crowd)]), 0, DRAIN_S);
    assert_eq!(plan.faults, [(key(3), Fault::Slots { len: 16_381 })]);
    for write in plan.writes {
        store(&mut world.memory, write);
    }
    assert_eq!(world.memory.vips.values().filter(|vip| vip.state & VIP_LIVE != 0).count(), 2);
    assert_ne!(answer(&world.memory, 1, 1, SYN), 1);
    assert_eq!(answer(&world.memory, 3, 1, SYN), 1, "not for the balancer");
}

#[test]
fn another_source_is_in_every_header() {
    let mut world = World::new(0);
    world.apply(&desired(&[(1, all(0..2))]));
    let source4 = Addr::v4([192, 0, 2, 9]);
    world.apply(&Desired { source4, ..desired(&[(1, all(0..2))]) });
    assert!(world.memory.backends.values().all(|backend| backend.sum == outer_sum(&source4, &backend.addr)));
}
