//! Session affinity: nobody is kept at a backend that has left the Service, also if it lives for another one.
use std::collections::BTreeMap;

use abi::{AffinityKey, AffinityValue};
use proptest::prelude::*;
use wire::fabric::Delta;

use super::local;
use super::order::delta;
use crate::{Observed, Planner, Step};

type Affinity = BTreeMap<AffinityKey, AffinityValue>;

/// Does a plan to the tables and to what the programs remember.
fn execute(steps: &[Step], tables: &mut Observed, affinity: &mut Affinity) {
    for step in steps {
        tables.apply(step);
        if let Step::ForgetAffinity(forget) = step {
            affinity.retain(|key, value| !forget.concerns(key.service, value.backend));
        }
    }
}

/// Each client opens a connection to each frontend, and is remembered as the packet path does it.
fn connect(tables: &Observed, affinity: &mut Affinity, clients: u8) {
    for (client, value) in (0..clients).flat_map(|client| tables.services.values().map(move |value| (client, value))) {
        let slots = tables.slots_of(value);
        if value.affinity_s == 0 || slots.is_empty() {
            continue;
        }
        let key = AffinityKey { client: abi::Addr::v4([10, 0, 0, client]), service: value.id };
        let is_open = |value: &AffinityValue| {
            let flags = tables.backends.get(&value.backend).map_or(0, |backend| backend.flags);
            flags & (abi::BACKEND_ALIVE | abi::BACKEND_DRAINING | abi::BACKEND_GONE) == abi::BACKEND_ALIVE
        };
        if !affinity.get(&key).is_some_and(is_open) {
            let backend = slots[usize::from(client) % slots.len()];
            affinity.insert(key, AffinityValue { backend, seen_s: 1 });
        }
    }
}

/// Everything remembered is of a Service that has the backend.
fn assert_members(tables: &Observed, affinity: &Affinity) {
    for (key, value) in affinity {
        let mut of = tables.services.values().filter(|service| service.id == key.service && service.affinity_s != 0);
        let is_member = of.any(|service| tables.slots_of(service).contains(&value.backend));
        assert!(is_member, "{key:?} is kept at backend {}", value.backend);
    }
}

fn sweep(planner: &mut Planner, tables: &mut Observed, affinity: &mut Affinity) {
    for _ in 0..2 {
        if planner.begin_sweep() {
            execute(&planner.finish_sweep(), tables, affinity);
        }
    }
}

#[test]
fn a_backend_that_lives_for_another_service_keeps_no_client() {
    let mut planner = Planner::new(local(), Observed::default());
    let (mut tables, mut affinity) = (Observed::default(), Affinity::new());
    let state = |web: &str, epoch| {
        let text = format!(
            "service default/other 10.96.0.6 80>8080/TCP\n  10.244.0.5@a\n  10.244.0.6@a\nservice default/web 10.96.0.5 80>8080/TCP\n{web}"
        );
        let mut delta = Delta { epoch, ..super::parse(&text).remove(0) };
        delta.services[1].affinity_timeout_seconds = 10_800;
        delta
    };
    planner.apply(&state("  10.244.0.5@a\n  10.244.0.6@a", 1)).unwrap();
    execute(&planner.plan().steps, &mut tables, &mut affinity);
    connect(&tables, &mut affinity, 4);
    sweep(&mut planner, &mut tables, &mut affinity);
    assert_eq!(affinity.len(), 4, "members keep their clients");
    planner.apply(&state("  10.244.0.6@a", 2)).unwrap();
    execute(&planner.plan().steps, &mut tables, &mut affinity);
    // Programs that began before the plan may still remember somebody.
    connect(&tables, &mut affinity, 8);
    sweep(&mut planner, &mut tables, &mut affinity);
    assert_members(&tables, &affinity);
    assert_eq!(affinity.len(), 6, "the clients of the one that stays, and new ones");
}

/// A daemon that comes back does not know what happened to the tables in between.
#[test]
fn a_restart_looks_at_everything_remembered() {
    let mut planner = Planner::new(local(), Observed::default());
    let (mut tables, mut affinity) = (Observed::default(), Affinity::new());
    let mut delta = super::parse("service default/web 10.96.0.5 80>8080/TCP\n  10.244.0.5@a").remove(0);
    delta.services[0].affinity_timeout_seconds = 60;
    planner.apply(&Delta { epoch: 1, ..delta.clone() }).unwrap();
    execute(&planner.plan().steps, &mut tables, &mut affinity);
    connect(&tables, &mut affinity, 2);
    let stray = AffinityKey { service: 77, ..AffinityKey::default() };
    affinity.insert(stray, AffinityValue { backend: 1, seen_s: 1 });
    let mut planner = Planner::new(local(), tables.clone());
    planner.apply(&Delta { epoch: 2, full: true, ..delta }).unwrap();
    execute(&planner.plan().steps, &mut tables, &mut affinity);
    sweep(&mut planner, &mut tables, &mut affinity);
    assert_members(&tables, &affinity);
    assert_eq!(affinity.len(), 2);
    assert!(!planner.begin_sweep(), "nothing is left to look at");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whoever_is_remembered_is_a_member(deltas in prop::collection::vec((delta(), prop::bool::ANY), 1..12)) {
        let mut planner = Planner::new(local(), Observed::default());
        let (mut tables, mut affinity) = (Observed::default(), Affinity::new());
        for (index, (delta, swept)) in deltas.into_iter().enumerate() {
            planner.apply(&Delta { epoch: index as u64 + 1, ..delta }).unwrap();
            execute(&planner.plan().steps, &mut tables, &mut affinity);
            connect(&tables, &mut affinity, 4);
            if swept {
                sweep(&mut planner, &mut tables, &mut affinity);
                assert_members(&tables, &affinity);
            }
        }
    }
}
