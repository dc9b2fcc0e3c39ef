//! The balancer on real packets: a client, the balancer, backends and a router between them, as network namespaces.
//!
//! Needs root and a binary with the BPF programs (`cargo xtask test` sees to both). Everything a test makes carries the
//! process id in its name and goes away with the test.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod world;

use std::collections::BTreeSet;
use std::time::Duration;

use kernel::bpf::XdpMode;
use world::{Connection, World};

/// Connections that stand over every change.
const CONNECTIONS: usize = 50;
const RELOADS: usize = 100;

/// New connections reach all backends of the file, and what was there before stays, through `mode`.
fn changes_lose_nothing(mode: XdpMode) {
    let world = World::new(3, mode);
    world.configure(&[0, 1, 2]);
    let mut daemon = world.start();
    world.wait("three backends", |report| report.services[0].state.backends.len() == 3);

    let mut old: Vec<Connection> = (0..CONNECTIONS).map(|_| world.connect()).collect();
    let names: BTreeSet<String> = old.iter().map(|connection| connection.server.clone()).collect();
    assert_eq!(names.len(), 3, "all backends have connections: {names:?}");

    world.configure(&[0, 1]);
    world.reload();
    world.wait("two backends", |report| report.services[0].state.backends.len() == 2);
    old.iter_mut().for_each(Connection::echo);
    let new: BTreeSet<String> = (0..CONNECTIONS).map(|_| world.connect().server).collect();
    assert_eq!(new, BTreeSet::from(["b0".to_owned(), "b1".to_owned()]), "new ones avoid who was removed");

    let mut datagrams = world.datagrams();
    let before = datagrams.echo();
    for turn in 0..RELOADS {
        let backends: &[usize] = [&[0, 1, 2][..], &[0, 1], &[1, 2], &[0, 2]][turn % 4];
        world.configure(backends);
        world.reload();
        world.wait("the new backends", |report| {
            let listed = &report.services[0].state.backends;
            old.iter_mut().for_each(Connection::echo);
            assert_eq!(datagrams.echo(), before, "datagrams stay, too");
            world.connect().echo();
            listed.len() == backends.len()
                && backends.iter().all(|b| listed.iter().any(|l| l.address == world.address(*b)))
        });
    }

    // The program goes on while no daemon runs, and the next one takes over what stands.
    daemon.stop();
    old.iter_mut().for_each(Connection::echo);
    world.connect().echo();
    let packets = world.report().unwrap().services[0].packets;
    daemon = world.start();
    world.reload();
    world.wait("counting goes on", |report| report.services[0].packets >= packets);
    old.iter_mut().for_each(Connection::echo);
    daemon.stop();
    assert_eq!(world.report().unwrap().drops.values().sum::<u64>(), 0, "nothing was dropped");

    lb::daemon::remove(&world.dir()).unwrap();
    assert!(world.report().is_err());
    assert!(world.try_connect(Duration::from_millis(300)).is_none(), "nobody answers for the address");
}

#[test]
fn in_the_driver_changes_lose_nothing() {
    changes_lose_nothing(XdpMode::Driver);
}

#[test]
fn in_the_stack_changes_lose_nothing() {
    changes_lose_nothing(XdpMode::Generic);
}

#[test]
fn a_backend_that_fails_gets_no_new_connections_until_it_is_back() {
    let mut world = World::new(2, XdpMode::Generic);
    world.configure_checked(&[0, 1]);
    let daemon = world.start();
    let healthy = |report: &lb::report::Report, want: [bool; 2]| {
        report.services[0].state.backends.iter().map(|backend| backend.healthy).eq(want)
    };
    world.wait("both backends", |report| report.services[0].state.backends.len() == 2);
    world.set_well(1, false);
    world.wait("one is unhealthy", |report| healthy(report, [true, false]));
    assert!((0..20).all(|_| world.connect().server == "b0"));
    world.set_well(1, true);
    world.wait("both are healthy", |report| healthy(report, [true, true]));
    assert!((0..60).any(|_| world.connect().server == "b1"));
    daemon.stop();
    lb::daemon::remove(&world.dir()).unwrap();
}
