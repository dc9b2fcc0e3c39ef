//! Packets meet one whole epoch or the next, at every step of a plan; what a bank holds is what the records say.
use std::collections::BTreeMap;
use std::net::IpAddr;

use abi::{Addr, Be16, IdentityKey, RuleKey, SeatValue, bank};
use expect_test::{Expect, expect};
use proptest::prelude::*;
use wire::fabric;

use super::{Bank, Compiler, Desired, Observed, Policy, Step, compile, diff};
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
            bank: Bank {
                identities: identities.into_iter().collect(),
                rules: rules.into_iter().collect(),
                seats: seats.into_iter().collect(),
            },
            refused: Vec::new(),
        })
}

fn shown(observed: &Observed) -> &Bank {
    &observed.banks[bank(observed.generation) as usize]
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
                let mut whole = observed.clone();
                whole.publish(&desired);
                prop_assert_eq!(plan[0], Step::Settle);
                for step in others {
                    observed.apply(step);
                    prop_assert_eq!(shown(&observed), &before);
                }
                observed.apply(last);
                prop_assert_eq!(&whole, &observed);
            }
            prop_assert_eq!(shown(&observed), &desired.bank);
            prop_assert_eq!(diff(&desired, &observed), vec![]);
        }
    }
}

/// What one epoch may say: some identities, rulesets and pods, and some of each that are gone.
fn delta() -> impl Strategy<Value = fabric::Delta> {
    let prefix = prop::sample::select(vec![
        "10.244.0.1/32",
        "10.244.0.2/32",
        "10.0.0.0/8",
        "0.0.0.0/0",
        "::/0",
        "fd00::/16",
        "fd00::1/128",
        "169.254.1.1/32",
        "dns",
    ]);
    let identities =
        prop::collection::vec((prefix.clone(), 0_u32..4).prop_map(|(net, number)| identity(net, number)), 0..4);
    let rules = prop::collection::vec(
        (any::<bool>(), 0_u32..3, 0_u32..3).prop_map(|(egress, class, port)| rule(egress, class, 6, port, port + 5)),
        0..4,
    );
    let rulesets = prop::collection::vec(
        (1_u32..5, any::<bool>(), rules).prop_map(|(number, egress, rules)| fabric::Ruleset {
            number,
            ingress: true,
            egress,
            rules,
        }),
        0..3,
    );
    let name = prop::sample::select(vec!["default/a", "default/b", "default/c", "default/d"]);
    let pods = prop::collection::vec((name.clone(), 0_u32..5).prop_map(|(name, ruleset)| pod(name, ruleset)), 0..3);
    let gone =
        (prop::collection::vec(prefix, 0..3), prop::collection::vec(1_u32..5, 0..2), prop::collection::vec(name, 0..2));
    (identities, rulesets, pods, gone, prop::bool::weighted(0.1)).prop_map(
        |(identities, rulesets, pods, gone, full)| fabric::Delta {
            full,
            identities,
            rulesets,
            pods,
            deleted_identities: gone.0.into_iter().map(str::to_owned).collect(),
            deleted_rulesets: gone.1,
            deleted_pods: gone.2.into_iter().map(str::to_owned).collect(),
            ..fabric::Delta::default()
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_compiler_with_a_memory_gives_the_same(
        deltas in prop::collection::vec((delta(), 0_usize..4, any::<bool>()), 1..20),
    ) {
        let (mut state, mut compiler) = (State::default(), Compiler::default());
        for (epoch, (delta, attached, server)) in (1..).zip(deltas) {
            state.apply(&fabric::Delta { epoch, ..delta }).unwrap();
            let names = ["default/a", "default/b", "default/x"].into_iter().take(attached);
            let seats = names.map(str::to_owned).zip(1..).collect();
            let dns: Vec<IpAddr> = server.then(|| "169.254.1.1".parse().unwrap()).into_iter().collect();
            prop_assert_eq!(compiler.update(&state.policy, &seats, &dns), &compile(&state.policy, &seats, &dns));
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
    out.push_str(&dump(&compile(&state.policy, &seats, &["169.254.1.1".parse().unwrap()])));
    expect.assert_eq(&out);
}

fn dump(desired: &Desired) -> String {
    let mut out = String::new();
    for (key, number) in &desired.bank.identities {
        out.push_str(&format!("{}/{} is {number}\n", crate::ip(key.addr), key.prefix_len - 32));
    }
    for (key, action) in &desired.bank.rules {
        let RuleKey { ruleset, identity, direction, proto, port, prefix_len, .. } = key;
        let port = port.get();
        out.push_str(&format!("{ruleset}: {direction} {identity} {proto} {port}/{prefix_len} {action}\n"));
    }
    for (seat, value) in &desired.bank.seats {
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
    let desired = compile(&state.policy, &BTreeMap::from([("default/a".to_owned(), 1)]), &[]);
    assert_eq!((desired.refused, desired.bank.rules.len()), (vec![9], 0));
    assert_eq!(desired.bank.seats[&1], SeatValue { ruleset: 9, flags: abi::SEAT_INGRESS });
    assert_eq!(Policy::default(), State::default().policy);
}

#[test]
fn what_somebody_else_wrote_is_named() {
    let seats = BTreeMap::from([("default/a".to_owned(), 1)]);
    let mut written = Observed::default();
    let identities = [(IdentityKey { prefix_len: 160, bank: 0, addr: Addr::v4([10, 244, 0, 7]) }, 5_u32)];
    let rules: [(RuleKey, u32); 1] = [(
        RuleKey {
            prefix_len: 128,
            ruleset: 9,
            identity: 5,
            direction: 1,
            proto: 6,
            port: Be16::new(80),
            ..RuleKey::default()
        },
        1,
    )];
    let bank = Bank {
        identities: identities.into_iter().collect(),
        rules: rules.into_iter().collect(),
        seats: [(1_u32, SeatValue { ruleset: 9, flags: 3 })].into_iter().collect(),
    };
    written.publish(&Desired { bank, refused: Vec::new() });
    let mut found = written.clone();
    found.apply(&Step::DeleteRule(RuleKey { bank: 1, ..rules[0].0 }));
    found.apply(&Step::PutIdentity(IdentityKey { bank: 1, ..identities[0].0 }, 6));
    found.apply(&Step::PutSeat(3, SeatValue::default()));
    found.apply(&Step::PutRule(RuleKey { prefix_len: 104, ruleset: 8, ..RuleKey::default() }, 2));
    let list = super::differences(&written, &found, &seats);
    let lines: Vec<String> = list.iter().map(|one| format!("{} {}: {}\n", one.table, one.entry, one.problem)).collect();
    expect![[r#"
        IDENTITIES 10.244.0.7/32: differs
        RULES ruleset 8: deny anything from class 0 (bank out of sight): not wanted
        RULES ruleset 9: allow protocol 6 port 80/16 to class 5: missing
        SEATS pod default/a: missing
    "#]]
    .assert_eq(&lines.concat());
}
