//! ClusterIP by socket hooks and by packets.
use std::net::UdpSocket;

use kernel::bpf::Seen;
use kernel::netns;

use crate::net::{Server, ask, at, sock, spread, talk};
use crate::world::{Pod, World, service};

fn serve(pods: &[&Pod]) -> Vec<Server> {
    let start = |(i, pod): (usize, &&Pod)| Server::start(&pod.netns, sock(pod.ip, 8080), &format!("b{i}"));
    pods.iter().enumerate().map(start).collect()
}

#[test]
fn sockets_are_balanced_and_show_the_service() {
    let mut world = World::new(2);
    let (client, one, two) = (world.pod(0), world.pod(0), world.pod(1));
    let _servers = serve(&[&one, &two]);
    world.service(service("web", "10.96.7.7", &[&one, &two]));
    let vip = at("10.96.7.7:80");
    world.in_pod(&client, || {
        let counts = spread(vip, 40);
        assert_eq!(counts.len(), 2, "{counts:?}");
        let mut open = talk(vip).unwrap();
        assert_eq!(open.stream.peer_addr().unwrap(), vip);
        assert_eq!(open.seen.ip(), client.ip, "the client's address is kept");
        open.echo(500_000).unwrap();

        let unconnected = UdpSocket::bind("0.0.0.0:0").unwrap();
        for _ in 0..10 {
            assert_eq!(ask(&unconnected, vip).unwrap().1.ip(), client.ip);
        }
        let connected = UdpSocket::bind("0.0.0.0:0").unwrap();
        connected.connect(vip).unwrap();
        assert_eq!(connected.peer_addr().unwrap(), vip);
        connected.set_read_timeout(Some(crate::net::DEADLINE)).unwrap();
        for _ in 0..10 {
            connected.send(b"?").unwrap();
            let mut buffer = [0; 64];
            let (count, from) = connected.recv_from(&mut buffer).unwrap();
            assert!(count > 0);
            assert_eq!(from, vip);
        }
    });
}

#[test]
fn a_socket_remembers_every_service_until_it_is_closed() {
    let mut world = World::new(1);
    let (client, backend, another) = (world.pod(0), world.pod(0), world.pod(0));
    let _servers = serve(&[&backend, &another]);
    // The second has the backend of the first, so only packets can keep their answers apart.
    let vips = ["10.96.7.7", "10.96.7.8", "10.96.7.9"];
    for (vip, pod) in vips.into_iter().zip([&backend, &backend, &another]) {
        world.service(service(&vip.replace('.', "-"), vip, &[pod]));
    }
    let places = |world: &World| {
        let maps = Seen::new(&world.nodes[0].options.pin_dir).maps().unwrap();
        maps.iter().find(|map| map.name == abi::map::PEERS).unwrap().entries
    };
    world.in_pod(&client, || {
        let mut open: Vec<_> = vips.iter().map(|vip| talk(at(&format!("{vip}:80"))).unwrap()).collect();
        let direct = talk(sock(backend.ip, 8080)).unwrap();
        let datagrams = UdpSocket::bind("0.0.0.0:0").unwrap();
        for _ in 0..3 {
            for vip in vips {
                // Asks from whom the answer came.
                ask(&datagrams, at(&format!("{vip}:80"))).unwrap();
            }
        }
        for (talk, vip) in open.iter().zip(vips) {
            assert_eq!(talk.stream.peer_addr().unwrap(), at(&format!("{vip}:80")));
        }
        assert_eq!(direct.stream.peer_addr().unwrap(), sock(backend.ip, 8080));
        assert_eq!(places(&world), Some(4), "three connections, and the first Service of the socket for datagrams");
        open.pop();
        assert_eq!(places(&world), Some(3));
        drop((open, datagrams));
        assert_eq!(places(&world), Some(0));
    });
}

#[test]
fn packets_are_balanced_where_no_socket_hook_is() {
    let mut world = World::new(2);
    let (client, one, two) = (world.pod(0), world.pod(0), world.pod(1));
    let _servers = serve(&[&one, &two]);
    world.service(service("web", "10.96.7.7", &[&one, &two]));
    let vip = at("10.96.7.7:80");
    // Not in the node's cgroup: as a socket made before the daemon first started.
    netns::run_in(&client.netns, || {
        let counts = spread(vip, 40);
        assert_eq!(counts.len(), 2, "{counts:?}");
        let mut open = talk(vip).unwrap();
        assert_eq!(open.seen.ip(), client.ip);
        open.echo(500_000).unwrap();
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        for _ in 0..10 {
            assert_eq!(ask(&socket, vip).unwrap().1.ip(), client.ip);
        }
    })
    .unwrap();
}

#[test]
fn connected_udp_sockets_follow_their_service() {
    let mut world = World::new(2);
    let (client, one, two, other) = (world.pod(0), world.pod(0), world.pod(1), world.pod(0));
    let _servers = serve(&[&one, &two]);
    let _bystander = Server::start(&other.netns, sock(other.ip, 8080), "other");
    let (vip, untouched) = (at("10.96.7.7:80"), at("10.96.7.8:80"));
    world.service(service("web", "10.96.7.7", &[&one]));
    world.service(service("other", "10.96.7.8", &[&other]));
    let node = world.nodes[0].netns.clone();
    let connect = |to| {
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        socket.connect(to).unwrap();
        socket.set_read_timeout(Some(crate::net::DEADLINE)).unwrap();
        socket
    };
    let of_pod = world.in_pod(&client, || [connect(vip), connect(untouched)]);
    let of_node = world.on_node(0, &node, || [connect(vip), connect(untouched)]);
    for [socket, bystander] in [&of_pod, &of_node] {
        assert_eq!(answer(socket), "b0");
        assert_eq!(answer(bystander), "other");
    }
    for (pods, want) in [(&two, "b1"), (&one, "b0"), (&two, "b1")] {
        world.service(service("web", "10.96.7.7", &[pods]));
        for [socket, bystander] in [&of_pod, &of_node] {
            // The first datagram after the tables were written: none is lost.
            assert_eq!(answer(socket), want);
            assert_eq!(socket.peer_addr().unwrap(), vip);
            assert_eq!(answer(bystander), "other", "a socket of another Service stays as it was");
        }
    }
}

/// Who answers a connected socket.
fn answer(socket: &UdpSocket) -> String {
    socket.send(b"?").unwrap();
    let mut buffer = [0; 64];
    let count = socket.recv(&mut buffer).unwrap();
    let text = String::from_utf8_lossy(&buffer[..count]);
    text.split(' ').next().unwrap_or_default().to_owned()
}

#[test]
fn a_pod_reaches_itself_through_its_service() {
    let mut world = World::new(1);
    let pod = world.pod(0);
    let _server = serve(&[&pod]);
    world.service(service("self", "10.96.7.8", &[&pod]));
    let vip = at("10.96.7.8:80");
    world.in_pod(&pod, || talk(vip).unwrap().echo(10_000).unwrap());
    netns::run_in(&pod.netns, || talk(vip).unwrap().echo(10_000).unwrap()).unwrap();
}

#[test]
fn nodes_reach_services() {
    let mut world = World::new(2);
    let backend = world.pod(1);
    let _server = serve(&[&backend]);
    world.service(service("web", "10.96.7.7", &[&backend]));
    for index in 0..2 {
        let netns = world.nodes[index].netns.clone();
        world.on_node(index, &netns, || talk(at("10.96.7.7:80")).unwrap().echo(10_000).unwrap());
    }
}

#[test]
fn a_service_without_endpoints_refuses_at_once() {
    let mut world = World::new(1);
    let pod = world.pod(0);
    world.service(service("empty", "10.96.7.9", &[]));
    let vip = at("10.96.7.9:80");
    let begin = std::time::Instant::now();
    assert!(world.in_pod(&pod, || talk(vip).is_err()));
    assert!(begin.elapsed() < crate::net::DEADLINE, "no timeout");
}

#[test]
fn endpoints_come_and_go() {
    let mut world = World::new(2);
    let (client, one, two) = (world.pod(0), world.pod(0), world.pod(1));
    let _servers = serve(&[&one, &two]);
    let vip = at("10.96.7.7:80");
    for turn in 0..3 {
        for (pods, want) in [(vec![&one], "b0"), (vec![&two], "b1")] {
            world.service(service("web", "10.96.7.7", &pods));
            let counts = world.in_pod(&client, || spread(vip, 5));
            assert_eq!(counts.keys().collect::<Vec<_>>(), [want], "turn {turn} by socket");
            let counts = netns::run_in(&client.netns, || spread(vip, 5)).unwrap();
            assert_eq!(counts.keys().collect::<Vec<_>>(), [want], "turn {turn} by packet");
        }
    }
}

#[test]
fn a_port_that_was_used_for_a_service_serves_a_direct_connection_next() {
    let mut world = World::new(1);
    let (client, backend) = (world.pod(0), world.pod(0));
    let _server = serve(&[&backend]);
    world.service(service("web", "10.96.7.7", &[&backend]));
    let (vip, direct) = (at("10.96.7.7:80"), sock(backend.ip, 8080));
    netns::run_in(&client.netns, || {
        for to in [vip, direct, vip, direct] {
            crate::net::talk_from(sock(client.ip, 40_000), to).unwrap().echo(1000).unwrap();
        }
    })
    .unwrap();
}
