//! NodePorts and ClusterIPs from outside.
use std::net::UdpSocket;

use kernel::netlink::{Netlink, Route};
use kernel::netns;

use crate::net::{Server, ask, at, sock, spread, talk};
use crate::world::{World, node_port, service};

#[test]
fn every_node_serves_every_backend() {
    let mut world = World::new(2);
    let (one, two) = (world.pod(0), world.pod(1));
    let _servers =
        [Server::start(&one.netns, sock(one.ip, 8080), "b0"), Server::start(&two.netns, sock(two.ip, 8080), "b1")];
    world.service(node_port(service("web", "10.96.7.7", &[&one, &two]), 30080));
    let nodes: Vec<_> = world.nodes.iter().map(|node| sock(node.ip, 30080)).collect();
    netns::run_in(&world.outside, || {
        for node in nodes {
            let counts = spread(node, 40);
            assert_eq!(counts.len(), 2, "{node}: {counts:?}");
            talk(node).unwrap().echo(500_000).unwrap();
            for _ in 0..10 {
                ask(&UdpSocket::bind("0.0.0.0:0").unwrap(), node).unwrap();
            }
        }
    })
    .unwrap();
}

#[test]
fn local_policy_keeps_the_client_and_stays_on_the_node() {
    let mut world = World::new(2);
    let (one, two) = (world.pod(0), world.pod(1));
    let _servers =
        [Server::start(&one.netns, sock(one.ip, 8080), "b0"), Server::start(&two.netns, sock(two.ip, 8080), "b1")];
    let mut web = node_port(service("web", "10.96.7.7", &[&one, &two]), 30080);
    web.external_traffic_local = true;
    world.service(web);
    let nodes: Vec<_> = world.nodes.iter().map(|node| sock(node.ip, 30080)).collect();
    netns::run_in(&world.outside, || {
        for (index, node) in nodes.into_iter().enumerate() {
            let mut open = talk(node).unwrap();
            assert_eq!(open.server, format!("b{index}"));
            assert_eq!(open.seen.ip(), at("10.89.0.1:0").ip());
            open.echo(100_000).unwrap();
        }
    })
    .unwrap();
}

#[test]
fn the_node_and_its_pods_use_node_ports() {
    let mut world = World::new(2);
    let (client, backend) = (world.pod(0), world.pod(1));
    let _server = Server::start(&backend.netns, sock(backend.ip, 8080), "b");
    world.service(node_port(service("web", "10.96.7.7", &[&backend]), 30080));
    let (mine, other) = (sock(world.nodes[0].ip, 30080), sock(world.nodes[1].ip, 30080));
    for to in [mine, other] {
        world.in_pod(&client, || talk(to).unwrap().echo(10_000).unwrap());
        let node = world.nodes[0].netns.clone();
        world.on_node(0, &node, || talk(to).unwrap().echo(10_000).unwrap());
    }
}

#[test]
fn a_host_that_routes_the_service_range_reaches_cluster_addresses() {
    let mut world = World::new(2);
    let (one, two) = (world.pod(0), world.pod(1));
    let _servers =
        [Server::start(&one.netns, sock(one.ip, 8080), "b0"), Server::start(&two.netns, sock(two.ip, 8080), "b1")];
    world.service(service("web", "10.96.7.7", &[&one, &two]));
    let outside = Netlink::in_netns(&world.outside).unwrap();
    let node = world.nodes[0].ip;
    outside.replace_route(&Route::through("10.96.0.0/16".parse().unwrap(), node, "eth0")).unwrap();
    outside.replace_route(&Route::through("10.244.0.0/16".parse().unwrap(), node, "eth0")).unwrap();
    netns::run_in(&world.outside, || {
        let counts = spread(at("10.96.7.7:80"), 40);
        assert_eq!(counts.len(), 2, "{counts:?}");
        for pod in [one.ip, two.ip] {
            talk(sock(pod, 8080)).unwrap().echo(10_000).unwrap();
        }
    })
    .unwrap();
}
