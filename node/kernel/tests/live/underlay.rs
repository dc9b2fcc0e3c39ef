//! Nodes without a tunnel in between, sizes of packets, limits of bandwidth.
use std::net::{IpAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::Instant;

use kernel::netlink::Netlink;
use kernel::{Bandwidth, netns};
use nix::libc;

use crate::net::{Server, at, sock, talk};
use crate::world::{OUTSIDE, Underlay, World, node_port, service};

#[test]
fn native_nodes_carry_pods_packets_as_they_are() {
    let mut world = World::native(2);
    let (client, server) = (world.pod(0), world.pod(1));
    let uplink = Netlink::in_netns(&world.nodes[0].netns).unwrap().link("eth0").unwrap().mtu;
    assert_eq!(client.attached.mtu, uplink, "nothing is taken from the size of packets");
    let _servers =
        [&client, &server].map(|pod| Server::start(&pod.netns, sock(pod.ip, 8080), &format!("pod{}", pod.node)));
    let _nodes: Vec<Server> =
        world.nodes.iter().map(|node| Server::start(&node.netns, sock(node.ip, 9000), "node")).collect();
    world.service(node_port(service("web", "10.96.7.7", &[&server]), 30_007));
    // Without the overlay's device nothing can have gone through it.
    for node in &world.nodes {
        Netlink::in_netns(&node.netns).unwrap().set_down("gannet.vxlan").unwrap();
    }
    world.in_pod(&client, || {
        for to in [sock(server.ip, 8080), at("10.96.7.7:80")] {
            let mut open = talk(to).unwrap();
            assert_eq!(open.seen.ip(), client.ip, "{to}");
            open.echo(1 << 20).unwrap();
        }
        assert_eq!(talk(sock(world.nodes[1].ip, 9000)).unwrap().seen.ip(), client.ip);
    });
    netns::run_in(&client.netns, || talk(at("10.96.7.7:80")).unwrap().echo(100_000).unwrap()).unwrap();
    let node = &world.nodes[0];
    netns::run_in(&node.netns, || talk(sock(server.ip, 8080)).unwrap().echo(100_000).unwrap()).unwrap();
    // A NodePort of the node that has no backend.
    netns::run_in(&world.outside, || talk(sock(node.ip, 30_007)).unwrap().echo(100_000).unwrap()).unwrap();
    let _outside = Server::start(&world.outside, at("10.89.0.1:7000"), "outside");
    let seen = world.in_pod(&client, || talk(sock(OUTSIDE.parse().unwrap(), 7000)).unwrap().seen.ip());
    assert_eq!(seen, node.ip, "the outside sees the node");
}

/// A pod of a node that routes natively sends packets of the uplink's size, also to a node that wants a tunnel: the stack says what fits.
#[test]
fn a_native_pod_learns_what_a_tunnel_takes() {
    let mut world = World::over(2, Underlay { native: 1, ..Underlay::default() });
    let (near, far) = (world.dual_pod(0), world.dual_pod(1));
    assert_eq!((near.attached.mtu, far.attached.mtu), (1500, 1450));
    // A pod that asks for more than its tunnel takes.
    Netlink::in_netns(&far.netns).unwrap().set_mtu("eth0", 1500).unwrap();
    for ip in [far.ip, far.ip6.unwrap()] {
        let to = sock(ip, 8080);
        let _server = Server::start(&far.netns, to, "far");
        world.in_pod(&near, || {
            let mut open = talk(to).unwrap();
            open.echo(1 << 20).unwrap();
            let any: IpAddr = if ip.is_ipv6() { "::".parse().unwrap() } else { "0.0.0.0".parse().unwrap() };
            let whole = UdpSocket::bind((any, 0)).unwrap();
            never_cut(&whole, ip.is_ipv6());
            whole.connect(to).unwrap();
            let headers = if ip.is_ipv6() { 48 } else { 28 };
            // Learnt by the connection already.
            let refused = whole.send(&vec![0; 1451 - headers]).unwrap_err();
            assert_eq!(refused.raw_os_error(), Some(libc::EMSGSIZE), "{refused}");
            assert_eq!(whole.send(&vec![0; 1450 - headers]).unwrap(), 1450 - headers, "{to}");
        });
    }
}

/// Datagrams that are larger than the path are refused to the sender (ip(7), ipv6(7)).
fn never_cut(socket: &UdpSocket, v6: bool) {
    let (level, name, value) = if v6 {
        (libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, libc::IPV6_PMTUDISC_DO)
    } else {
        (libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_DO)
    };
    // SAFETY: the value lives for the call, and its size is said.
    let result = unsafe {
        libc::setsockopt(socket.as_raw_fd(), level, name, (&raw const value).cast(), size_of_val(&value) as u32)
    };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
}

#[test]
fn a_pods_bandwidth_is_limited_in_each_direction() {
    const BITS: u64 = 20_000_000;
    let mut world = World::new(1);
    let free = world.pod(0);
    let slow = world.limited_pod(0, Bandwidth { ingress: BITS, egress: BITS });
    for (from, to) in [(&slow, &free), (&free, &slow)] {
        let sink = netns::run_in(&to.netns, || UdpSocket::bind(sock(to.ip, 9_000)).unwrap()).unwrap();
        sink.set_nonblocking(true).unwrap();
        let socket = netns::run_in(&from.netns, || UdpSocket::bind("0.0.0.0:0").unwrap()).unwrap();
        let (begin, mut sent, mut got) = (Instant::now(), 0_u64, 0_u64);
        let mut buffer = [0; 2_000];
        // Several times what the bucket and the rate give meanwhile.
        while sent < 4_000_000 || begin.elapsed().as_millis() < 200 {
            sent += socket.send_to(&[0; 1_400], sock(to.ip, 9_000)).unwrap_or(0) as u64;
            while let Ok(count) = sink.recv(&mut buffer) {
                got += count as u64;
            }
        }
        let seconds = begin.elapsed().as_secs_f64();
        // The bucket holds 256 KiB.
        let most = BITS as f64 / 8.0 * seconds * 1.1 + 270_000.0;
        assert!((got as f64) < most, "{got} of {sent} bytes in {seconds} s");
        assert!(got > 250_000, "{got} bytes: less than the bucket holds");
        assert!(sent > 2 * got, "the test offers more than the limit");
    }
    // A connection finds its pace.
    let _server = Server::start(&free.netns, sock(free.ip, 8080), "free");
    world.in_pod(&slow, || talk(sock(free.ip, 8080)).unwrap().echo(1_000_000).unwrap());
}
