//! Restarts, detaching, refusals.
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use kernel::bpf::Seen;
use kernel::netlink::Netlink;
use kernel::{Datapath, netns};

use crate::net::{Server, at, sock, talk};
use crate::world::{World, node_port, service};

#[test]
fn a_restart_changes_nothing_and_connections_live() {
    let mut world = World::new(2);
    let (client, backend) = (world.pod(0), world.pod(1));
    let _server = Server::start(&backend.netns, sock(backend.ip, 8080), "b");
    world.service(node_port(service("web", "10.96.7.7", &[&backend]), 30080));
    let node_port = sock(world.nodes[0].ip, 30080);
    let mut talks = vec![
        world.in_pod(&client, || talk(at("10.96.7.7:80")).unwrap()),
        netns::run_in(&client.netns, || talk(at("10.96.7.7:80")).unwrap()).unwrap(),
        netns::run_in(&world.outside, || talk(node_port).unwrap()).unwrap(),
    ];
    for node in &mut world.nodes {
        let before = links(node.datapath());
        node.datapath = None;
        for talk in &mut talks {
            talk.echo(10_000).unwrap();
        }
        let again = Datapath::open(node.options.clone()).unwrap();
        let (seen, known) = (again.observe().unwrap(), &node.observed);
        assert_eq!(
            datapath::dump(&seen).lines().filter(|l| !l.starts_with("pod")).collect::<Vec<_>>(),
            datapath::dump(known).lines().collect::<Vec<_>>()
        );
        let plan = datapath::diff(&datapath::compile(&world.state, &node.local), &seen);
        assert_eq!(plan.steps, []);
        assert_eq!(links(&again), before, "every link is the one it was");
        node.datapath = Some(again);
    }
    for talk in &mut talks {
        talk.echo(100_000).unwrap();
    }
    // Attaching a pod that stands is no change either.
    assert_eq!(world.nodes[0].datapath().attach_pod(&client.link).unwrap(), client.attached);
}

#[test]
fn connections_live_in_a_flow_table_of_another_size() {
    let mut world = World::new(2);
    let (client, backend) = (world.pod(0), world.pod(1));
    let _server = Server::start(&backend.netns, sock(backend.ip, 8080), "b");
    world.service(node_port(service("web", "10.96.7.7", &[&backend]), 30080));
    let node_port = sock(world.nodes[0].ip, 30080);
    let mut talks: Vec<_> = (0..20)
        .map(|n| match n % 2 {
            0 => netns::run_in(&client.netns, || talk(at("10.96.7.7:80")).unwrap()).unwrap(),
            _ => netns::run_in(&world.outside, || talk(node_port).unwrap()).unwrap(),
        })
        .collect();
    let table = |world: &World| {
        let maps = Seen::new(&world.nodes[0].options.pin_dir).maps().unwrap();
        let flows = maps.into_iter().find(|map| map.name == "FLOWS").unwrap();
        (flows.limit, flows.entries.unwrap())
    };
    let flows = table(&world).1;
    assert!((20..40).contains(&flows), "{flows} flows");
    for bits in [13, 9, 16, 12] {
        world.resize(0, bits);
        assert_eq!(table(&world), (1 << bits, flows));
        assert!(!world.nodes[0].options.pin_dir.join(abi::SCHEMA).join("resize").exists());
        for talk in &mut talks {
            talk.echo(10_000).unwrap();
        }
    }
    // New connections are made as before.
    netns::run_in(&client.netns, || talk(at("10.96.7.7:80")).unwrap().echo(1_000).unwrap()).unwrap();
    assert!(table(&world).1 > flows);
}

#[test]
fn a_detached_pod_leaves_nothing() {
    let mut world = World::new(1);
    let (pod, other) = (world.pod(0), world.pod(0));
    let datapath = world.nodes[0].datapath();
    datapath.detach_pod(&pod.link.host_ifname).unwrap();
    datapath.detach_pod(&pod.link.host_ifname).unwrap();
    let seen = datapath.observe().unwrap();
    assert_eq!(seen.pods.keys().copied().collect::<Vec<_>>(), [datapath::addr(other.ip)]);
    assert_eq!(seen.veths.len(), 1);
    let host = Netlink::in_netns(&world.nodes[0].netns).unwrap();
    assert_eq!(host.find_link(&pod.link.host_ifname).unwrap(), None);
    assert!(host.routes().unwrap().iter().all(|route| route.to.addr() != pod.ip));
    assert!(links(datapath).keys().all(|name| !name.contains(&pod.link.host_ifname)));
    // A namespace that died took its interface along; the next start forgets the pod.
    let name = other.netns.file_name().unwrap().to_str().unwrap().to_owned();
    netns::delete(&name).unwrap();
    let gone = || host.find_link(&other.link.host_ifname).unwrap().is_none();
    let deadline = std::time::Instant::now() + crate::net::DEADLINE;
    while !gone() && std::time::Instant::now() < deadline {
        std::thread::yield_now();
    }
    assert!(gone(), "the interface went with its namespace");
    world.nodes[0].datapath = None;
    let again = Datapath::open(world.nodes[0].options.clone()).unwrap();
    assert_eq!(again.observe().unwrap().veths.len(), 0);
    assert!(links(&again).keys().all(|name| !name.contains("pod-")));
    world.nodes[0].datapath = Some(again);
}

#[test]
fn a_missing_uplink_is_a_clear_error() {
    let world = World::new(1);
    let mut options = world.nodes[0].options.clone();
    options.uplink = "eth7".into();
    let error = Datapath::open(options).err().unwrap().to_string();
    assert_eq!(error, "network interface eth7 does not exist here");
}

#[test]
fn this_machine_has_what_a_node_needs() {
    assert_eq!(kernel::probe(), []);
}

/// Link and program id of every pinned link.
fn links(datapath: &Datapath) -> BTreeMap<String, (u32, u32)> {
    datapath.links().unwrap().into_iter().map(|link| (link.name, (link.id, link.program_id))).collect()
}

#[test]
fn nothing_is_left_of_a_world() {
    let (pins, cgroup) = {
        let world = World::new(1);
        (world.nodes[0].options.pin_dir.clone(), world.nodes[0].cgroup.clone())
    };
    assert!(!cgroup.exists());
    assert!(!pins.exists());
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(pins.to_str().unwrap()));
    let prefix = format!("gnt{}-", std::process::id());
    let names = netns::list().unwrap();
    assert!(names.iter().all(|name| !name.starts_with(&prefix)), "{names:?}");
    assert!(Path::new("/run/netns").exists());
}
