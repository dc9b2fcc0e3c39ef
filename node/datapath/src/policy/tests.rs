//! Packets meet one whole epoch or the next, at every step of a plan; what a bank holds is what the records say.
use std::collections::BTreeMap;

use abi::{Addr, Be16, IdentityKey, RuleKey, SeatValue, bank};
use expect_test::{Expect, expect};
use proptest::prelude::*;
use wire::fabric;

use super::{Bank, Desired, Observed, Policy, Step, compile, diff};
use crate::state::State;

fn desired() -> impl Strategy<Value = Desired> {
    let identity = (0_u8..6, 1_u32..4).prop_map(|(host, number)| {
        (IdentityKey { prefix_len: 160, bank: 0, addr: Addr::v4([10, 244, 0, host]) }, number)
    });
    let rule = (1_u32..3, 0_u32..3, 0_u16..4, 1_u32..3).prop_map(|(ruleset, identity, port, action)| {
        let port = Be16::new(port);
        (RuleKey { prefix_len: 128, bank: 0, ruleset, identity, direction: 0, proto: 6, port }, action)
    });
    let seat = (1_u32..5, 1_u32..3, 1_u32..4).prop_map(|(seat, ruleset, flags)| (seat, SeatValue { ruleset, flags }));
    let many = 0..8;
    (
        prop::collection::btree_map(identity.clone().prop_map(|i| i.0), 1_u32..4, many.clone()),
        prop::collection::vec(rule, many.clone()),
        prop::collection::vec(seat, many),
    )
        .prop_map(|(identities, rules, seats)| Desired {
            identities,
            rules: rules.into_iter().collect(),
            seats: seats.into_iter().collect(),
            refused: Vec::new(),
        })
}

fn shown(observed: &Observed) -> &Bank {
    &observed.banks[bank(observed.generation) as usize]
}

fn contents(desired: &Desired) -> Bank {
    Bank { identities: desired.identities.clone(), rules: desired.rules.clone(), seats: desired.seats.clone() }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn packets_meet_the_old_epoch_until_they_meet_the_new_one(
        epochs in prop::collection::vec(desired(), 1..8),
        cut in 0.0_f64..1.0,
    ) {
        let mut observed = Observed::default();
        for desired in epochs {
            let before = shown(&observed).clone();
            // A daemon that dies in the middle leaves tables from which the next one goes on.
            let plan = diff(&desired, &observed);
            let cut = (plan.len() as f64 * cut) as usize;
            for step in &plan[..cut] {
                observed.apply(step);
                prop_assert_eq!(shown(&observed), &before);
            }
            let plan = diff(&desired, &observed);
            if let Some((last, others)) = plan.split_last() {
                prop_assert_eq!(plan[0], Step::Settle);
                for step in others {
                    observed.apply(step);
                    prop_assert_eq!(shown(&observed), &before);
                }
                observed.apply(last);
            }
            prop_assert_eq!(shown(&observed), &contents(&desired));
            prop_assert_eq!(diff(&desired, &observed), vec![]);
        }
    }
}

fn tables(delta: fabric::Delta, expect: Expect) {
    let mut state = State::default();
    let mut out = String::new();
    for rejected in state.apply(&fabric::Delta { epoch: 1, full: true, ..delta }).unwrap() {
        out.push_str(&format!("refused: {rejected}\n"));
    }
    let seats = BTreeMap::from([("default/a".to_owned(), 1), ("default/b".to_owned(), 2), ("default/c".to_owned(), 3)]);
    out.push_str(&dump(&compile(&state.policy, &seats, Some("169.254.1.1".parse().unwrap()))));
    expect.assert_eq(&out);
}

fn dump(desired: &Desired) -> String {
    let mut out = String::new();
    for (key, number) in &desired.identities {
        out.push_str(&format!("{}/{} is {number}\n", crate::ip(key.addr), key.prefix_len - 32));
    }
    for (key, action) in &desired.rules {
        let RuleKey { ruleset, identity, direction, proto, port, prefix_len, .. } = key;
        let port = port.get();
        out.push_str(&format!("{ruleset}: {direction} {identity} {proto} {port}/{prefix_len} {action}\n"));
    }
    for (seat, value) in &desired.seats {
        out.push_str(&format!("seat {seat}: {} {}\n", value.ruleset, value.flags));
    }
    out
}

fn rule(egress: bool, identity: u32, protocol: u32, first_port: u32, last_port: u32) -> fabric::Rule {
    fabric::Rule { egress, identity, protocol, first_port, last_port, deny: false }
}

fn pod(name: &str, ruleset: u32) -> fabric::PodPolicy {
    fabric::PodPolicy { pod: name.into(), uid: "u".into(), ruleset, ips: Vec::new() }
}

fn identity(prefix: &str, number: u32) -> fabric::Identity {
    fabric::Identity { prefix: prefix.into(), number }
}

#[test]
fn records_become_tables() {
    let rules = vec![rule(false, 5, 6, 80, 83), rule(false, 0, 17, 0, 65_535), rule(true, 6, 0, 0, 65_535)];
    tables(
        fabric::Delta {
            identities: vec![identity("10.244.0.5/32", 5), identity("fd00::/64", 6), identity("dns", 7)],
            rulesets: vec![
                fabric::Ruleset { number: 9, ingress: true, egress: true, rules },
                fabric::Ruleset { number: 10, ingress: true, egress: false, rules: vec![rule(false, 0, 6, 1, 1)] },
            ],
            pods: vec![pod("default/a", 9), pod("default/b", 0)],
            ..fabric::Delta::default()
        },
        expect![[r#"
            fd00::/64 is 6
            0.0.0.0/96 is 0
            169.254.1.1/128 is 7
            10.244.0.5/128 is 5
            9: 1 6 0 0/104 1
            9: 0 0 17 0/112 1
            9: 0 5 6 80/126 1
            seat 1: 9 3
            seat 3: 0 3
        "#]],
    );
}

#[test]
fn nobody_pays_for_policies_elsewhere() {
    tables(
        fabric::Delta {
            identities: vec![identity("10.244.0.5/32", 5)],
            rulesets: vec![fabric::Ruleset { number: 9, ingress: true, egress: true, rules: Vec::new() }],
            pods: vec![pod("default/a", 0), pod("default/b", 0), pod("default/c", 0)],
            ..fabric::Delta::default()
        },
        expect![[""]],
    );
}

#[test]
fn bad_records_allow_nothing() {
    tables(
        fabric::Delta {
            identities: vec![identity("10.244.0.5", 5)],
            rulesets: vec![fabric::Ruleset {
                number: 9,
                ingress: true,
                egress: false,
                rules: vec![rule(false, 0, 6, 1, 70_000)],
            }],
            pods: vec![pod("default/a", 9), pod("default/b", 0), pod("", 0)],
            ..fabric::Delta::default()
        },
        expect![[r#"
            refused: identity of "10.244.0.5": prefix "10.244.0.5" is not a prefix
            refused: ruleset 9: last port 70000 is not a port number
            refused: policy of pod "": the name is empty or not of the form namespace/name
            169.254.1.1/128 is 0
            seat 1: 9 3
            seat 3: 0 3
        "#]],
    );
}

#[test]
fn a_full_table_cuts_off_and_says_so() {
    let rules = (0..300_000_u32).map(|n| rule(false, n, 6, 1, 1)).collect();
    let mut state = State::default();
    let delta = fabric::Delta {
        epoch: 1,
        rulesets: vec![fabric::Ruleset { number: 9, ingress: true, egress: false, rules }],
        pods: vec![pod("default/a", 9)],
        ..fabric::Delta::default()
    };
    state.apply(&delta).unwrap();
    let desired = compile(&state.policy, &BTreeMap::from([("default/a".to_owned(), 1)]), None);
    assert_eq!((desired.refused, desired.rules.len()), (vec![9], 0));
    assert_eq!(desired.seats[&1], SeatValue { ruleset: 9, flags: abi::SEAT_INGRESS });
    assert_eq!(Policy::default(), State::default().policy);
}
