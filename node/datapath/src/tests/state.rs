//! Bad input is refused record by record.
use expect_test::{Expect, expect};
use wire::fabric::Delta;

use super::{local, parse};
use crate::{Epoch, Observed, Planner, Record, Stale, State};

fn refused(text: &str, expect: Expect) {
    let mut state = State::default();
    let mut lines = String::new();
    for delta in parse(text) {
        for rejected in state.apply(&delta).unwrap() {
            lines.push_str(&format!("{rejected}\n"));
        }
    }
    for name in state.services.keys() {
        lines.push_str(&format!("kept {name}\n"));
    }
    for name in state.nodes.keys() {
        lines.push_str(&format!("kept node {name}\n"));
    }
    expect.assert_eq(&lines);
}

#[test]
fn bad_records_are_named_and_the_others_kept() {
    refused(
        "
node a 10.0.0.1 10.244.0.0/24
node b 10.0.0.300 10.244.1.0/24
node c 10.0.0.3 10.244.1.0/99
service default/good 10.96.0.5 80>8080/TCP
  10.244.0.5@a
service default/ip 10.96.0.x 80>8080/TCP
service default/port 10.96.0.6 70000>8080/TCP
service default/zero 10.96.0.6 0>8080/TCP
service default/target 10.96.0.6 80>0/TCP
  10.244.0.5@a
service default/nodeport 10.96.0.6 80>80/TCP nodeport=65536
service default/loop 10.96.0.6 80>80/TCP
  127.0.0.1@a
service default/any 0.0.0.0 80>80/TCP
service default/multicast 224.0.0.1 80>80/TCP
service default/mapped ::ffff:10.0.0.1 80>80/TCP
service /nameless 10.96.0.6 80>80/TCP
",
        expect![[r#"
            node "b": internal address "10.0.0.300" is not an address a packet can go to
            node "c": pod CIDR "10.244.1.0/99" is not a prefix
            service "default/ip": cluster address "10.96.0.x" is not an address a packet can go to
            service "default/port": port 70000 is not a port number
            service "default/zero": port 0 is not a port number
            service "default/target": endpoint port 0 is not a port number
            service "default/nodeport": node port 65536 is not a port number
            service "default/loop": endpoint address "127.0.0.1" is not an address a packet can go to
            service "default/any": cluster address "0.0.0.0" is not an address a packet can go to
            service "default/multicast": cluster address "224.0.0.1" is not an address a packet can go to
            service "default/mapped": cluster address "::ffff:10.0.0.1" is not an address a packet can go to
            service "/nameless": the name is empty or not of the form namespace/name
            kept default/good
            kept node a
        "#]],
    );
}

#[test]
fn the_last_good_version_stays() {
    refused(
        "
service default/web 10.96.0.5 80>8080/TCP
---
service default/web 10.96.0.x 80>8080/TCP
---
full
service default/web 10.96.0.y 80>8080/TCP
",
        expect![[r#"
            service "default/web": cluster address "10.96.0.x" is not an address a packet can go to
            service "default/web": cluster address "10.96.0.y" is not an address a packet can go to
            kept default/web
        "#]],
    );
}

#[test]
fn epochs_only_grow() {
    let mut state = State::default();
    let delta = |epoch, full| Delta { epoch, full, ..Delta::default() };
    state.apply(&delta(5, true)).unwrap();
    for epoch in [4, 5] {
        let stale = Stale { have: Epoch(5), got: Epoch(epoch) };
        assert_eq!(state.apply(&delta(epoch, false)), Err(stale));
    }
    state.apply(&delta(6, false)).unwrap();
    // A full state is taken whatever its number: the cluster's store may be a new one.
    state.apply(&delta(2, true)).unwrap();
    assert_eq!(state.epoch, Epoch(2));
}

#[test]
fn unknown_enums_are_refused() {
    let mut delta = parse("service default/web 10.96.0.5 80>8080/TCP\n  10.244.0.5@a").remove(0);
    delta.services[0].endpoints[0].state = 9;
    let rejected = State::default().apply(&delta).unwrap();
    assert_eq!(rejected[0].record, Record::Service("default/web".into()));
    delta.services[0].endpoints[0].state = 0;
    delta.services[0].ports[0].protocol = 7;
    assert_eq!(State::default().apply(&delta).unwrap().len(), 1);
}

#[test]
fn health_checks_count_ready_endpoints_here() {
    let text = "
service default/web 10.96.0.5 80>8080/TCP health=32000 external-local
  10.244.0.5@a
  10.244.0.6@a draining
  10.244.1.6@b
service default/gone 10.96.0.6 80>8080/TCP health=32001 external-local
  10.244.1.6@b
service default/left-alone 10.96.0.8 80>8080/TCP health=32002 dns-only
  10.244.0.5@a
service default/plain 10.96.0.7 80>8080/TCP
  10.244.0.5@a
";
    let mut planner = Planner::new(local(), Observed::default());
    let mut lines = |text: &str| -> Option<Vec<String>> {
        for delta in parse(text) {
            let epoch = planner.state().epoch.0 + 1;
            planner.apply(&Delta { epoch, full: epoch == 1, ..delta }).unwrap();
        }
        let line =
            |(port, check): (_, crate::HealthCheck)| format!("{port} {} {}", check.service, check.local_endpoints);
        Some(planner.take_health_checks()?.into_iter().map(line).collect())
    };
    assert_eq!(lines(text).unwrap(), ["32000 default/web 1", "32001 default/gone 0"]);
    assert_eq!(lines("service default/plain 10.96.0.7 80>8080/TCP\n  10.244.0.7@a"), None);
    // The first by name has the port, and leaves it to the next.
    let other =
        "service default/extra 10.96.0.9 80>8080/TCP health=32000 external-local\n  10.244.0.7@a\n  10.244.0.8@a";
    assert_eq!(lines(other).unwrap(), ["32000 default/extra 2", "32001 default/gone 0"]);
    assert_eq!(lines("delete service default/extra").unwrap(), ["32000 default/web 1", "32001 default/gone 0"]);
}

/// What stands beside a packet leaves the range of the backend's node out, so the programs are told it.
#[test]
fn the_programs_know_the_nodes_range_of_ipv6() {
    let plain = local();
    assert_eq!(crate::compile(&State::default(), &plain).config.pods6, abi::Addr::ANY);
    let mut planner = crate::Planner::new(plain.clone(), crate::Observed::default());
    let mut dual = plain;
    dual.pod_cidrs.push("fd00:7::/64".parse().unwrap());
    planner.set_local(dual);
    let config = planner.plan().steps.into_iter().find_map(|step| match step {
        crate::Step::SetConfig(config) => Some(config),
        _ => None,
    });
    assert_eq!(config.unwrap().pods6, crate::addr("fd00:7::".parse().unwrap()));
}
