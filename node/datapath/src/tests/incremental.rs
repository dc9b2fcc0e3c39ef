//! A planner that carries its indexes along ends where planning from the beginning does, and its writes are as safe.
use std::num::NonZeroU16;

use proptest::prelude::*;

use super::local;
use super::order::{Running, delta};
use crate::{HostPort, Observed, Planner, Protocol, Record, compile, diff, dump};
use wire::fabric::{Delta, Node};

/// What happens to a planner besides deltas.
#[derive(Clone, Debug)]
enum Event {
    Delta(Delta),
    /// A grace period begins, or ends if one runs.
    Sweep,
    /// A plan could not be executed to its end.
    Reread,
    /// Another pod range.
    Local(u8),
    /// Pods with host ports, some of which a Service or another pod has: name, port and address.
    HostPorts(Vec<(u8, u16, u8)>),
}

fn event() -> impl Strategy<Value = Event> {
    let node = (0_u8..3, 1_u8..4).prop_map(|(name, address)| {
        // The node itself among them: its zone decides where Services with hints lead.
        let name = ["a", "n", "o"][usize::from(name)];
        let nodes = vec![Node {
            name: name.into(),
            zone: format!("z{}", address % 2),
            native: address == 3,
            internal_ips: vec![format!("10.0.0.{address}")],
            pod_cidrs: vec![format!("10.244.{address}.0/24")],
        }];
        Event::Delta(Delta {
            nodes,
            deleted_nodes: vec![if address == 1 { "a" } else { "n" }.into()],
            ..Delta::default()
        })
    });
    prop_oneof![
        8 => delta().prop_map(Event::Delta),
        1 => node,
        5 => Just(Event::Sweep),
        1 => Just(Event::Reread),
        1 => (0_u8..3).prop_map(Event::Local),
        2 => prop::collection::vec((0_u8..3, prop::sample::select(vec![80_u16, 30_080, 30_081]), 2_u8..6), 0..4)
            .prop_map(Event::HostPorts),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn changes_alone_give_the_same_tables(events in prop::collection::vec(event(), 1..30)) {
        let mut planner = Planner::new(local(), Observed::default());
        let mut running = Running::default();
        let (mut epoch, mut sweeping) = (0, false);
        for event in events {
            match event {
                Event::Delta(delta) => {
                    epoch += 1;
                    let rejected = planner.apply(&Delta { epoch, ..delta }).unwrap();
                    prop_assert!(rejected.iter().all(|one| matches!(one.record, Record::Service(_))));
                }
                Event::Sweep if sweeping => {
                    running.finished();
                    running.execute(&planner.finish_sweep());
                    sweeping = false;
                }
                Event::Sweep => {
                    sweeping = planner.begin_sweep();
                    running.began();
                }
                Event::Reread => {
                    planner.plan();
                    planner.reread(running.tables.clone());
                    sweeping = false;
                }
                Event::Local(number) => {
                    let pod_cidrs = vec![format!("10.244.{number}.0/24").parse().unwrap()];
                    planner.set_local(crate::Local { pod_cidrs, ..planner.local().clone() });
                }
                Event::HostPorts(ports) => {
                    let host_ports = ports.into_iter().map(|(pod, port, host)| HostPort {
                        pod: format!("default/p{pod}"),
                        ip: None,
                        protocol: Protocol::Tcp,
                        port: NonZeroU16::new(port).unwrap(),
                        target: ([10, 244, 0, host], 8080).into(),
                    });
                    planner.set_local(crate::Local { host_ports: host_ports.collect(), ..planner.local().clone() });
                }
            }
            let plan = planner.plan();
            prop_assert_eq!(&plan.refused, &vec![]);
            running.execute(&plan.steps);
            prop_assert_eq!(&running.tables, planner.observed());
            if epoch == 0 {
                continue;
            }
            let desired = compile(planner.state(), planner.local());
            let rest = diff(&desired, &running.tables);
            // All that is left to do is to clear what the next sweep clears.
            prop_assert_eq!(rest.clone().additions().steps, vec![]);
            let mut swept = running.tables.clone();
            rest.steps.iter().for_each(|step| swept.apply(step));
            let mut whole = Observed::default();
            diff(&desired, &Observed::default()).steps.iter().for_each(|step| whole.apply(step));
            prop_assert_eq!(dump(&swept), dump(&whole));
        }
        for _ in 0..2 {
            if planner.begin_sweep() {
                running.began();
                running.finished();
                running.execute(&planner.finish_sweep());
            }
        }
        if epoch > 0 {
            prop_assert_eq!(diff(&compile(planner.state(), planner.local()), &running.tables).steps, vec![]);
        }
    }
}

/// One endpoint of one Service costs the writes of that Service, and nothing is cleared on the way.
#[test]
fn one_endpoint_is_a_few_writes() {
    let web = |endpoints: &str, epoch| {
        let text = format!("service default/web 10.96.0.5 80>8080/TCP\n  10.244.0.5@a\n{endpoints}");
        Delta { epoch, full: false, ..super::parse(&text).remove(0) }
    };
    let mut planner = Planner::new(local(), Observed::default());
    for number in 0..50 {
        let text = format!("service default/s{number} 10.96.1.{number} 80>8080/TCP\n  10.244.0.9@a");
        planner.apply(&Delta { epoch: number + 1, full: false, ..super::parse(&text).remove(0) }).unwrap();
    }
    planner.apply(&web("  10.244.0.6@a\n", 60)).unwrap();
    planner.plan();
    planner.begin_sweep();
    planner.finish_sweep();
    planner.apply(&web("  10.244.0.7@a\n", 61)).unwrap();
    let plan = planner.plan();
    assert!(
        matches!(
            &plan.steps[..],
            [
                crate::Step::PutBackend(..),
                crate::Step::PutSlots { .. },
                crate::Step::PutService { .. },
                crate::Step::RetireBackend(_, gone)
            ] if gone.flags & abi::BACKEND_GONE != 0
        ),
        "{plan:?}"
    );
    assert!(planner.begin_sweep());
    // Wanted again before the grace period is over: it has its number still, and is not cleared.
    planner.apply(&web("  10.244.0.6@a\n  10.244.0.7@a\n", 62)).unwrap();
    let plan = planner.plan();
    let back =
        |step: &&crate::Step| matches!(step, crate::Step::PutBackend(_, back) if back.flags & abi::BACKEND_GONE == 0);
    assert_eq!(plan.steps.iter().filter(back).count(), 1, "{plan:?}");
    assert!(planner.finish_sweep().iter().all(|step| !matches!(step, crate::Step::ClearBackend(_))));
}

/// Frontends go to the first by name, and to the next one when it leaves.
#[test]
fn claims_change_hands() {
    let mut planner = Planner::new(local(), Observed::default());
    let mut seen = Observed::default();
    let mut step = |text: &str, epoch| {
        planner.apply(&Delta { epoch, full: false, ..super::parse(text).remove(0) }).unwrap();
        let plan = planner.plan();
        plan.steps.iter().for_each(|step| seen.apply(step));
        let found = dump(&seen).lines().find(|line| line.contains("10.96.0.5:80")).map(str::to_owned);
        (found, plan.conflicts.iter().map(|conflict| conflict.service.to_string()).collect::<Vec<_>>())
    };
    let to = |ip: &str| Some(format!("service 10.96.0.5:80/TCP cluster -> {ip}:8080 here"));
    let service = |name: &str, ip: &str| format!("service default/{name} 10.96.0.5 80>8080/TCP\n  {ip}@a");
    assert_eq!(step(&service("b", "10.244.0.2"), 1), (to("10.244.0.2"), vec![]));
    assert_eq!(step(&service("c", "10.244.0.3"), 2), (to("10.244.0.2"), vec!["default/c".into()]));
    assert_eq!(step(&service("a", "10.244.0.1"), 3), (to("10.244.0.1"), vec!["default/b".into()]));
    assert_eq!(step(&service("c", "10.244.0.4"), 4), (to("10.244.0.1"), vec![]));
    assert_eq!(step("delete service default/a\ndelete service default/b", 5), (to("10.244.0.4"), vec![]));
    assert_eq!(step("delete service default/c", 6), (None, vec![]));
}
