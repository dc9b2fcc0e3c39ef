//! Pod to pod, pod to node, pod to the outside.
use std::net::UdpSocket;

use ipnet::IpNet;
use kernel::netlink::Netlink;
use kernel::netns;

use crate::net::{SILENCE, Server, ask, at, sock, talk};
use crate::world::{GATEWAY, OUTSIDE, World};

#[test]
fn pods_reach_each_other_with_their_own_addresses() {
    let mut world = World::new(2);
    let client = world.pod(0);
    for server in [world.pod(0), world.pod(1)] {
        let _server = Server::start(&server.netns, sock(server.ip, 8080), "s");
        world.in_pod(&client, || {
            let mut open = talk(sock(server.ip, 8080)).unwrap();
            assert_eq!(open.seen.ip(), client.ip, "to {}", server.ip);
            // More than a window and more than the overlay's MTU a segment.
            open.echo(1 << 20).unwrap();
            let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
            let (_, seen) = ask(&socket, sock(server.ip, 8080)).unwrap();
            assert_eq!(seen.ip(), client.ip);
        });
    }
}

#[test]
fn nodes_reach_all_pods_and_pods_reach_all_nodes() {
    let mut world = World::new(2);
    let pods = [world.pod(0), world.pod(1)];
    let _servers = pods.each_ref().map(|pod| Server::start(&pod.netns, sock(pod.ip, 8080), "pod"));
    let _nodes: Vec<Server> =
        world.nodes.iter().map(|node| Server::start(&node.netns, sock(node.ip, 9000), "node")).collect();
    for (index, node) in world.nodes.iter().enumerate() {
        for pod in &pods {
            let seen = netns::run_in(&node.netns, || {
                let mut open = talk(sock(pod.ip, 8080)).unwrap();
                open.echo(100_000).unwrap();
                open.seen
            })
            .unwrap();
            assert_eq!(seen.ip(), node.ip, "node{index} to {}", pod.ip);
            let mut open = netns::run_in(&pod.netns, || talk(sock(node.ip, 9000)).unwrap()).unwrap();
            open.echo(100_000).unwrap();
        }
    }
}

#[test]
fn the_gateway_address_is_the_nodes_own() {
    let mut world = World::new(1);
    let pod = world.pod(0);
    let _dns = Server::start(&world.nodes[0].netns, sock(GATEWAY, 53), "dns");
    world.in_pod(&pod, || {
        assert_eq!(talk(sock(GATEWAY, 53)).unwrap().server, "dns");
        // By the cluster's DNS address, through the synthetic backend.
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        assert_eq!(ask(&socket, at("10.96.0.10:53")).unwrap().0, "dns");
        assert_eq!(talk(at("10.96.0.10:53")).unwrap().server, "dns");
    });
    // The same without socket hooks.
    netns::run_in(&pod.netns, || {
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        assert_eq!(ask(&socket, at("10.96.0.10:53")).unwrap().0, "dns");
        assert_eq!(talk(at("10.96.0.10:53")).unwrap().server, "dns");
    })
    .unwrap();
}

#[test]
fn the_outside_sees_the_node() {
    let mut world = World::new(2);
    let pod = world.pod(1);
    let node = world.nodes[1].ip;
    let _server = Server::start(&world.outside, at("10.89.0.1:7000"), "outside");
    world.in_pod(&pod, || {
        let mut open = talk(at("10.89.0.1:7000")).unwrap();
        assert_eq!(open.seen.ip(), node);
        open.echo(200_000).unwrap();
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        assert_eq!(ask(&socket, sock(OUTSIDE.parse().unwrap(), 7000)).unwrap().1.ip(), node);
    });
}

#[test]
fn a_pod_cannot_send_from_another_address() {
    let mut world = World::new(1);
    let (liar, victim) = (world.pod(0), world.pod(0));
    let _server = Server::start(&victim.netns, sock(victim.ip, 8080), "victim");
    let inside = Netlink::in_netns(&liar.netns).unwrap();
    inside.add_address("eth0", IpNet::from(at("10.244.0.99:0").ip())).unwrap();
    netns::run_in(&liar.netns, || {
        let honest = UdpSocket::bind(sock(liar.ip, 0)).unwrap();
        ask(&honest, sock(victim.ip, 8080)).unwrap();
        let spoofed = UdpSocket::bind("10.244.0.99:0").unwrap();
        spoofed.set_read_timeout(Some(SILENCE)).unwrap();
        spoofed.send_to(b"?", sock(victim.ip, 8080)).unwrap();
        assert!(spoofed.recv_from(&mut [0; 64]).is_err(), "an answer came back");
    })
    .unwrap();
    let spoofed = world.nodes[0].datapath().counters().unwrap()[abi::Counter::DropSpoofed as usize];
    assert!(spoofed > 0, "the drop is counted");
}

#[test]
fn entries_of_pods_that_somebody_changed_are_found_and_mended() {
    let mut world = World::new(1);
    let (pod, other) = (world.pod(0), world.pod(0));
    let datapath = world.nodes[0].datapath();
    let links = [pod.link.clone(), other.link.clone()];
    let verify = |links: &[kernel::PodLink], repair| -> Vec<String> {
        let found = datapath.verify_pods(links, repair).unwrap();
        found.iter().map(|one| format!("{} {} {}", one.table, one.entry, one.problem)).collect()
    };
    assert_eq!(verify(&links, false), Vec::<String>::new());
    let moved = [kernel::PodLink { seat: 77, ..pod.link.clone() }];
    let expected = [
        format!("PODS {} differs", pod.ip),
        format!("PODS {} not wanted", other.ip),
        format!("VETHS {} differs", pod.link.host_ifname),
        format!("VETHS interface {} not wanted", other.attached.host_index),
    ];
    assert_eq!(verify(&moved, true), expected);
    let back = [
        format!("PODS {} differs", pod.ip),
        format!("PODS {} missing", other.ip),
        format!("VETHS {} differs", pod.link.host_ifname),
        format!("VETHS {} missing", other.link.host_ifname),
    ];
    assert_eq!(verify(&links, false), back);
    assert_eq!(verify(&links, true), back);
    assert_eq!(verify(&links, true), Vec::<String>::new());
    assert!(datapath.check_pod(&other.link).unwrap().is_some());
}
