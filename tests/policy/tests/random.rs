//! Random clusters that change: after every change each connection fares as the reference says, a compilation from scratch gives the
//! same, and while the tables are written it fares as before or as after.

use std::net::IpAddr;

use fabric::State;
use packet::host::Dice;
use policy_tests::cluster::{Cluster, HERE, PORTS, STRANGERS};
use policy_tests::node::{Fate, Node};
use policy_tests::reference::{Attempt, End, enters, leaves};
use serde_json::Value;

const SEEDS: u64 = 60;
const LONG_SEEDS: u64 = 2_000;
const CHANGES: u64 = 12;
const PROTOCOLS: [(&str, u8); 4] = [("TCP", 6), ("UDP", 17), ("SCTP", 132), ("none", 47)];

/// Every end of one family.
fn ends(cluster: &Cluster, v4: bool) -> Vec<(Option<Value>, IpAddr)> {
    let strangers = STRANGERS.iter().map(|ip| ip.parse::<IpAddr>().expect("an address"));
    let strangers = strangers.filter(|ip| ip.is_ipv4() == v4).map(|ip| (None, ip));
    cluster.pods(v4).into_iter().map(|(pod, ip)| (Some(pod.clone()), ip)).chain(strangers).collect()
}

/// What the reference says of a connection, as this node can see it.
fn expected(cluster: &Cluster, attempt: &Attempt<'_>) -> Fate {
    let here = |end: &End<'_>| end.pod.is_some_and(|pod| pod["spec"]["nodeName"] == HERE);
    if here(&attempt.from) && !leaves(&cluster.objects, attempt) {
        Fate::HeldAtSender
    } else if here(&attempt.to) && !enters(&cluster.objects, attempt) {
        Fate::HeldAtReceiver
    } else {
        Fate::Free
    }
}

/// Every connection between the ends of a family, some of the ports each.
fn attempts(ends: &[(Option<Value>, IpAddr)], dice: &mut Dice) -> Vec<(usize, usize, usize, u16)> {
    let pairs = (0..ends.len()).flat_map(|from| (0..ends.len()).map(move |to| (from, to)));
    pairs
        .filter(|(from, to)| from != to && (ends[*from].0.is_some() || ends[*to].0.is_some()))
        .flat_map(|(from, to)| [0, 1, 2].map(|_| (from, to, dice.below(PROTOCOLS.len()), dice.pick(&PORTS))))
        .collect()
}

fn hold_to_reference(cluster: &Cluster, node: &Node, dice: &mut Dice, at: &str, met: &mut [u32; 3]) {
    for v4 in [true, false] {
        let ends = ends(cluster, v4);
        for (from, to, protocol, port) in attempts(&ends, dice) {
            let (name, number) = PROTOCOLS[protocol];
            let end = |index: usize| End { ip: ends[index].1, pod: ends[index].0.as_ref() };
            let attempt = Attempt { from: end(from), to: end(to), protocol: name, port };
            let Some(got) = node.open(attempt.from.ip, attempt.to.ip, number, port) else { continue };
            let want = expected(cluster, &attempt);
            let objects = serde_json::Value::from(cluster.objects.clone());
            assert_eq!(got, want, "{name} {} > {}:{port} {at}: {objects}", attempt.from.ip, attempt.to.ip);
            met[want as usize] += 1;
        }
    }
}

#[test]
fn connections_fare_as_the_objects_say() {
    let long = std::env::var_os("GANNET_TEST_LONG").is_some();
    let mut met = [0_u32; 3];
    for seed in 0..if long { LONG_SEEDS } else { SEEDS } {
        let mut dice = Dice(seed);
        let mut cluster = Cluster::draw(&mut dice);
        let mut node = Node::default();
        let mut known = (cluster.view(1, None), State::default());
        known.1 = fabric::compile(&known.0, None);
        node.apply(&known.1.full_for(HERE), |_| {});
        for revision in 2..2 + CHANGES {
            hold_to_reference(&cluster, &node, &mut dice, &format!("seed {seed} before revision {revision}"), &mut met);
            let before = cluster.clone();
            (0..1 + dice.below(2)).for_each(|_| cluster.change(&mut dice));
            let view = cluster.view(revision, Some((&known.0, &before)));
            let state = fabric::compile(&view, Some((&known.0, &known.1)));
            assert_eq!(state, fabric::compile(&view, None), "seed {seed} revision {revision}");
            let shown = node.bank();
            let mut seen = Vec::new();
            node.apply(&state.diff_for(&known.1, HERE), |node| seen.push(node.bank()));
            // The bank in sight changes with the last write, if at all.
            if let Some((last, others)) = seen.split_last() {
                assert!(others.iter().all(|bank| *bank == shown) && *last != shown);
            }
            known = (view, state);
        }
        hold_to_reference(&cluster, &node, &mut dice, &format!("seed {seed} at the end"), &mut met);
    }
    println!("held at the sender, held at the receiver, free: {met:?}");
    assert!(met.iter().all(|n| *n > 1_000), "{met:?}");
}
