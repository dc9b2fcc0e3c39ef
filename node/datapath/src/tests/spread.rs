//! Algorithms and weights: who has which share of a Service's slots, and how little of that moves.
use std::collections::BTreeMap;

use abi::ServiceKey;
use wire::fabric::{Algorithm, Delta, Endpoint, EndpointPort, Protocol, Service, ServicePort};

use super::local;
use super::order::Running;
use crate::{Observed, Planner, Step, dump};

const VIP: &str = "10.96.0.5";

/// A Service of so many ports, with these hosts of 10.244.1.0/24 and their weights.
fn service(algorithm: Algorithm, size: u32, ports: u32, hosts: &[(u8, Option<u32>)]) -> Delta {
    let name = |i: u32| format!("p{i}");
    let port = |i: u32| ServicePort { name: name(i), protocol: Protocol::Tcp.into(), port: 80 + i, node_port: 0 };
    let served = |i: u32| EndpointPort { name: name(i), protocol: Protocol::Tcp.into(), port: 8_080 + i };
    let endpoint = |(host, weight): &(u8, Option<u32>)| Endpoint {
        ip: format!("10.244.1.{host}"),
        node: "b".into(),
        ports: (0..ports).map(served).collect(),
        weight: *weight,
        ..Endpoint::default()
    };
    let service = Service {
        namespace: "default".into(),
        name: "web".into(),
        cluster_ips: vec![VIP.into()],
        external_ips: vec!["198.51.100.7".into()],
        external_traffic_local: false,
        ports: (0..ports).map(port).collect(),
        endpoints: hosts.iter().map(endpoint).collect(),
        algorithm: algorithm.into(),
        maglev_size: size,
        ..Service::default()
    };
    Delta { services: vec![service], ..Delta::default() }
}

fn plain(hosts: impl IntoIterator<Item = u8>) -> Vec<(u8, Option<u32>)> {
    hosts.into_iter().map(|host| (host, None)).collect()
}

/// A planner with the programs that run on its tables.
struct Node {
    planner: Planner,
    running: Running,
}

impl Node {
    fn new() -> Node {
        Node { planner: Planner::new(local(), Observed::default()), running: Running::default() }
    }

    /// Plans and executes, checking every prefix, and sweeps.
    fn apply(&mut self, delta: Delta) -> Vec<Step> {
        let epoch = self.planner.state().epoch.0 + 1;
        assert_eq!(self.planner.apply(&Delta { epoch, ..delta }).unwrap(), vec![]);
        let plan = self.planner.plan();
        assert_eq!(plan.refused, vec![]);
        self.running.execute(&plan.steps);
        if self.planner.begin_sweep() {
            self.running.began();
            self.running.finished();
            self.running.execute(&self.planner.finish_sweep());
        }
        assert_eq!(&self.running.tables, self.planner.observed());
        plan.steps
    }

    /// The host of each slot of the first port.
    fn ring(&self) -> Vec<u8> {
        let tables = &self.running.tables;
        let vip: std::net::Ipv4Addr = VIP.parse().unwrap();
        let is_it = |key: &ServiceKey| key.port.get() == 80 && key.addr == abi::Addr::v4(vip.octets());
        let (_, value) = tables.services.iter().find(|(key, _)| is_it(key)).unwrap();
        tables.slots_of(value).iter().map(|id| tables.backends[id].addr.v4_octets()[3]).collect()
    }
}

fn shares(ring: &[u8]) -> BTreeMap<u8, f64> {
    let mut shares = BTreeMap::new();
    ring.iter().for_each(|host| *shares.entry(*host).or_default() += 1.0 / ring.len() as f64);
    shares
}

#[test]
fn maglev_gives_equal_shares_and_moves_few() {
    let mut node = Node::new();
    node.apply(service(Algorithm::Maglev, 2_039, 1, &plain(1..=8)));
    let before = node.ring();
    assert_eq!(before.len(), 2_039);
    assert!(shares(&before).values().all(|share| (share - 0.125).abs() < 0.005), "{:?}", shares(&before));
    // One leaves: its slots move, and few of the others' (Maglev's paper has some percent).
    let steps = node.apply(service(Algorithm::Maglev, 2_039, 1, &plain((1..=8).filter(|host| *host != 3))));
    let after = node.ring();
    let moved = before.iter().zip(&after).filter(|(old, new)| **old != 3 && old != new).count();
    assert!(moved < 2_039 / 20, "{moved} slots moved without need");
    assert!(shares(&after).values().all(|share| (share - 1.0 / 7.0).abs() < 0.01), "{:?}", shares(&after));
    // In place: the entry itself stays as it is.
    assert!(matches!(&steps[..], [Step::PutSlots { .. }, Step::RetireBackend(..)]), "{} steps", steps.len());
    // It comes back: the ring is what it was.
    node.apply(service(Algorithm::Maglev, 2_039, 1, &plain(1..=8)));
    assert_eq!(node.ring(), before);
}

/// Whatever happened before, and in whatever order endpoints are numbered here, all nodes have the same ring.
#[test]
fn every_node_has_the_same_ring() {
    let (mut one, mut other) = (Node::new(), Node::new());
    one.apply(service(Algorithm::Maglev, 0, 1, &plain(1..=5)));
    for hosts in [vec![9], vec![9, 4], vec![4, 2, 7, 1, 11, 12], vec![4, 1], vec![5, 3, 1, 4, 2]] {
        other.apply(service(Algorithm::Maglev, 0, 1, &plain(hosts)));
    }
    assert_eq!(one.ring().len(), 509);
    assert_eq!(one.ring(), other.ring());
}

#[test]
fn weights_are_shares_whatever_the_algorithm() {
    for algorithm in [Algorithm::Even, Algorithm::Random, Algorithm::Maglev] {
        let mut node = Node::new();
        node.apply(service(algorithm, 0, 1, &[(1, Some(8)), (2, None), (3, Some(1)), (4, Some(0))]));
        let shares = shares(&node.ring());
        for (host, share) in [(1, 0.8), (2, 0.1), (3, 0.1)] {
            assert!((shares[&host] - share).abs() < 0.01, "{algorithm:?}: {shares:?}");
        }
        assert!(!shares.contains_key(&4));
        // Where none has a weight, each has the same.
        node.apply(service(algorithm, 0, 1, &[(1, Some(0)), (2, Some(0))]));
        let slots = node.ring();
        assert!((slots.iter().filter(|host| **host == 1).count() as f64 / slots.len() as f64 - 0.5).abs() < 0.01);
    }
}

/// Endpoints come and go, weights, sizes and algorithms change: each slot is the old one or the new one, and nothing dangles.
#[test]
fn rings_change_under_running_programs() {
    let mut node = Node::new();
    for (turn, algorithm) in [Algorithm::Maglev, Algorithm::Even, Algorithm::Maglev, Algorithm::Random]
        .into_iter()
        .cycle()
        .take(24)
        .enumerate()
    {
        let turn = turn as u8;
        let hosts: Vec<(u8, Option<u32>)> =
            (0..turn % 7).map(|i| (1 + (turn + i) % 9, Some(u32::from(i % 3)))).collect();
        node.apply(service(algorithm, [0, 251, 509][usize::from(turn % 3)], 2, &hosts));
    }
    node.apply(Delta { deleted_services: vec!["default/web".into()], ..Delta::default() });
    assert_eq!(node.running.tables.slots.iter().filter(|id| **id != 0).count(), 1 + 1, "the DNS server's alone");
}

/// All ports share the computation of their ring, and are told apart.
#[test]
fn a_service_of_many_ports_rolls() {
    let mut node = Node::new();
    node.apply(service(Algorithm::Maglev, 0, 6, &plain(1..=4)));
    let steps = node.apply(service(Algorithm::Maglev, 0, 6, &plain(5..=8)));
    let count = |is_it: fn(&Step) -> bool| steps.iter().filter(|step| is_it(step)).count();
    assert_eq!(count(|step| matches!(step, Step::PutBackend(..))), 24);
    assert_eq!(count(|step| matches!(step, Step::PutSlots { .. })), 6, "the two addresses of a port share a ring");
    assert_eq!(count(|step| matches!(step, Step::RetireBackend(..))), 24);
    assert_eq!(steps.len(), 54);
    assert!(dump(&node.running.tables).contains("service 198.51.100.7:85/TCP cluster maglev -> 10.244.1.5:8085 1"));
}
