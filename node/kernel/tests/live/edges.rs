//! Who talks to which Service, counted on live traffic; and clients that leave a backend which leaves their Service.
use std::collections::BTreeMap;
use std::net::UdpSocket;

use abi::edge::{CLIENT_OTHER, CLIENT_OUTSIDE};
use abi::{Addr, IPPROTO_TCP, IPPROTO_UDP};
use kernel::bpf::Edge;
use kernel::netns;

use crate::net::{DEADLINE, Server, ask, at, sock, spread, talk};
use crate::world::{World, node_port, service};

const ECHOED: u64 = 200_000;

/// The number of a port of the Service at an address.
fn number(world: &World, vip: &str, proto: u8) -> u32 {
    let observed = world.nodes[0].datapath().observe().unwrap();
    let vip = datapath::addr(vip.parse().unwrap());
    observed.services.iter().find(|(key, _)| key.addr == vip && key.proto == proto).unwrap().1.id
}

/// The edges of a Service port on the first node, by client.
fn edges(world: &World, service: u32) -> BTreeMap<Addr, Edge> {
    let table = world.nodes[0].datapath().edges().unwrap().read().unwrap();
    assert_eq!(table.lost, 0);
    table.edges.into_iter().filter(|edge| edge.service == service).map(|edge| (edge.client, edge)).collect()
}

#[test]
fn clients_are_counted_at_connect_and_packet_by_packet() {
    let mut world = World::new(2);
    let (client, backend) = (world.pod(0), world.pod(1));
    let _server = Server::start(&backend.netns, sock(backend.ip, 8080), "b");
    world.service(node_port(service("web", "10.96.7.7", &[&backend]), 30_123));
    let vip = at("10.96.7.7:80");
    let (tcp, udp) = (number(&world, "10.96.7.7", IPPROTO_TCP), number(&world, "10.96.7.7", IPPROTO_UDP));
    world.in_pod(&client, || {
        talk(vip).unwrap().echo(1_000).unwrap();
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        socket.connect(vip).unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        for _ in 0..5 {
            socket.send(b"?").unwrap();
            socket.recv(&mut [0; 64]).unwrap();
        }
    });
    let by_socket = edges(&world, tcp);
    let [(namespace, edge)] = by_socket.iter().collect::<Vec<_>>()[..] else { panic!("one client: {by_socket:?}") };
    assert_eq!((namespace.0[2..].to_vec(), edge.connections), (vec![0, 0], 1), "a namespace's cookie");
    let own = datapath::addr(client.ip);
    let datagrams = edges(&world, udp)[&own];
    let [to, from] = datagrams.traffic.ways;
    assert_eq!((datagrams.connections, to.packets, from.packets), (1, 5, 5));
    assert!(to.bytes == 5 * 29 && from.bytes > 5 * 28, "{to:?} {from:?}");
    // Without a socket hook its segments are translated, too; aggregates count as the segments that they are.
    netns::run_in(&client.netns, || talk(vip).unwrap().echo(ECHOED as usize).unwrap()).unwrap();
    let [to, from] = edges(&world, tcp)[&own].traffic.ways;
    for way in [to, from] {
        assert!((ECHOED..2 * ECHOED).contains(&way.bytes), "{way:?}");
        assert!(way.packets >= 4, "{way:?}");
    }
    assert!(to.bytes / to.packets < 1_500 && from.bytes / from.packets < 1_500, "{to:?} {from:?}");
    // From outside by a node port.
    let node = sock(world.nodes[0].ip, 30_123);
    netns::run_in(&world.outside, || talk(node).unwrap().echo(1_000).unwrap()).unwrap();
    let outside = edges(&world, tcp)[&CLIENT_OUTSIDE];
    assert!(outside.connections == 1 && outside.traffic.ways.iter().all(|way| way.bytes > 1_000), "{outside:?}");

    // The pod goes: what it did is its Service's others', also once its rows are free.
    let mut table = world.nodes[0].datapath().edges().unwrap();
    table.rest_clients(&[own]);
    let before = edges(&world, udp);
    assert_eq!(
        (before.keys().collect::<Vec<_>>(), before[&CLIENT_OTHER].traffic),
        (vec![&CLIENT_OTHER], datagrams.traffic)
    );
    let rows = table.read().unwrap().rows;
    for (row, ..) in table.activity().unwrap().into_iter().filter(|(_, row, _)| row.client == own) {
        let service = abi::edge::edge_service(table.row(row).unwrap().word);
        table.free(row, service).unwrap();
    }
    assert_eq!(edges(&world, udp), before);
    // Two rows went, and each Service port got one for its others.
    assert_eq!(table.read().unwrap().rows, rows);
    world.in_pod(&client, || ask(&UdpSocket::bind("0.0.0.0:0").unwrap(), vip).unwrap());
}

#[test]
fn clients_leave_a_backend_that_leaves_their_service() {
    let mut world = World::new(1);
    let (client, one, two) = (world.pod(0), world.pod(0), world.pod(0));
    let start = |pod: &crate::world::Pod, name| Server::start(&pod.netns, sock(pod.ip, 8080), name);
    let _servers = [start(&one, "b0"), start(&two, "b1")];
    let mut web = service("web", "10.96.7.7", &[&one]);
    web.affinity_timeout_seconds = 10_800;
    world.service(service("other", "10.96.7.8", &[&one]));
    world.service(web.clone());
    let vip = at("10.96.7.7:80");
    let who = |world: &World| {
        let by_socket = world.in_pod(&client, || spread(vip, 5));
        let by_packet = netns::run_in(&client.netns, || spread(vip, 5)).unwrap();
        [by_socket, by_packet].map(|counts| counts.into_keys().collect::<Vec<_>>())
    };
    assert_eq!(who(&world), [["b0"], ["b0"]]);
    world.service(node_port(web.clone(), 30_124));
    assert_eq!(who(&world), [["b0"], ["b0"]]);
    web.endpoints = service("web", "10.96.7.7", &[&one, &two]).endpoints;
    world.service(web.clone());
    assert_eq!(who(&world), [["b0"], ["b0"]], "the client is remembered");
    web.endpoints = service("web", "10.96.7.7", &[&two]).endpoints;
    world.service(web);
    assert_eq!(who(&world), [["b1"], ["b1"]], "the first lives on, but for another Service");
}
