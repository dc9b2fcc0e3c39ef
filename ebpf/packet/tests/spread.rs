//! Which backend a packet that opens a connection goes to, by the Service's algorithm.

use std::collections::BTreeSet;

use abi::{Addr, Config, IPPROTO_TCP};
use packet::host::{Frame, Hook, Memory, Spec, Step, apply, pod_mac, v4, world};

/// A node of another seed.
fn node(seed: u32) -> Memory {
    let m = world();
    Memory { config: m.config.map(|config| Config { seed, ..config }), ..m }
}

/// Where a connection of pod 2 to a Service's port 80 goes.
fn backend(m: &Memory, service: &str, sport: u16) -> Addr {
    let (src, dst) = ("10.244.1.2".parse().unwrap(), service.parse().unwrap());
    let syn = Spec { tcp_flags: 2, from_mac: pod_mac(2), ..Spec::new(src, dst, IPPROTO_TCP, sport, 80) };
    let mut step = Step { hook: Hook::FromPod { ifindex: 12 }, frame: Frame(syn.build()), now_s: 1_000 };
    apply(m, &mut step);
    // The destination of its IPv4 header; that of a connection to itself is the pod's own.
    let octets: [u8; 4] = step.frame.0[30..34].try_into().expect("a whole header");
    assert_ne!(Addr::v4(octets), v4(service), "port {sport} is translated");
    Addr::v4(octets)
}

#[test]
fn maglev_is_the_same_on_every_node() {
    let (one, other) = (node(1), node(2));
    let mut met = BTreeSet::new();
    for sport in 1_000..1_200 {
        let here = backend(&one, "10.96.0.25", sport);
        assert_eq!(here, backend(&other, "10.96.0.25", sport), "port {sport}");
        met.insert(here);
    }
    assert_eq!(met.len(), 3, "every backend has connections");
    // Without it nodes choose for themselves.
    let differs = |sport| backend(&one, "10.96.0.20", sport) != backend(&other, "10.96.0.20", sport);
    assert!((1_000..1_200).any(differs));
}

/// Session affinity: the client's address alone chooses, so that it needs no memory of another node's.
#[test]
fn maglev_with_affinity_is_by_client() {
    let first = backend(&node(1), "10.96.0.26", 1_000);
    for sport in 1_001..1_050 {
        // Each on a node that has not seen the client.
        assert_eq!(backend(&node(u32::from(sport)), "10.96.0.26", sport), first, "port {sport}");
    }
}

#[test]
fn random_asks_for_a_number() {
    let m = node(1);
    let met: BTreeSet<Addr> = (1_000..1_200).map(|sport| backend(&m, "10.96.0.27", sport)).collect();
    assert_eq!(met.len(), 3);
}
