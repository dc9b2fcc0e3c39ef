//! Network policy on real packets.
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use kernel::netns;
use wire::fabric::{Delta, Identity, PodPolicy, Rule, Ruleset};

use crate::net::{SILENCE, Server, ask, sock, talk};
use crate::world::{Pod, World, service};

const TCP: u32 = 6;

/// Gives a pod a policy of its own, and addresses their classes.
pub fn guard(world: &mut World, pod: &Pod, ruleset: Ruleset, classes: &[(IpAddr, u32)]) {
    let name = format!("default/{}", pod.link.host_ifname);
    world.nodes[pod.node].seats.insert(name.clone(), pod.link.seat);
    let record = PodPolicy { pod: name, uid: "u".into(), ruleset: ruleset.number, ips: vec![pod.ip.to_string()] };
    let identities =
        classes.iter().map(|(ip, number)| Identity { prefix: format!("{ip}/32"), number: *number }).collect();
    let epoch = world.state.epoch.0 + 1;
    world.apply(Delta { epoch, identities, rulesets: vec![ruleset], pods: vec![record], ..Delta::default() });
}

fn rule(egress: bool, identity: u32, port: u32) -> Rule {
    Rule { egress, identity, protocol: TCP, first_port: port, last_port: port, deny: false }
}

fn is_open(to: SocketAddr) -> bool {
    TcpStream::connect_timeout(&to, SILENCE).is_ok()
}

#[test]
fn only_the_allowed_come_in() {
    let mut world = World::new(2);
    let (server, friend, far_friend) = (world.pod(0), world.pod(0), world.pod(1));
    let (stranger, far_stranger) = (world.pod(0), world.pod(1));
    let to = sock(server.ip, 8080);
    let _server = Server::start(&server.netns, to, "s");
    let rules = vec![rule(false, 7, 8080)];
    let ruleset = Ruleset { number: 1, ingress: true, egress: false, rules };
    guard(&mut world, &server, ruleset, &[(friend.ip, 7), (far_friend.ip, 7), (stranger.ip, 8)]);
    for pod in [&friend, &far_friend] {
        world.in_pod(pod, || talk(to).unwrap().echo(100_000).unwrap());
    }
    for pod in [&stranger, &far_stranger] {
        assert!(!world.in_pod(pod, || is_open(to)), "{} came in", pod.ip);
        let asked = world.in_pod(pod, || {
            let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
            socket.set_read_timeout(Some(SILENCE)).unwrap();
            socket.send_to(b"?", to).unwrap();
            socket.recv_from(&mut [0; 64]).is_ok()
        });
        assert!(!asked, "{} was answered", pod.ip);
    }
    // The node itself, for its probes; not another node.
    assert!(netns::run_in(&world.nodes[0].netns, || is_open(to)).unwrap());
    assert!(!netns::run_in(&world.nodes[1].netns, || is_open(to)).unwrap());
    // What the guarded pod asks for is answered.
    let _other = Server::start(&stranger.netns, sock(stranger.ip, 8080), "o");
    world.in_pod(&server, || {
        talk(sock(stranger.ip, 8080)).unwrap().echo(100_000).unwrap();
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        assert_eq!(ask(&socket, sock(stranger.ip, 8080)).unwrap().0, "o");
    });
}

#[test]
fn egress_is_judged_by_the_backend() {
    let mut world = World::new(2);
    let (client, near, far, other) = (world.pod(0), world.pod(0), world.pod(1), world.pod(1));
    let _servers = [&near, &far, &other].map(|pod| Server::start(&pod.netns, sock(pod.ip, 8080), "s"));
    world.service(service("both", "10.96.0.5", &[&near, &far]));
    world.service(service("other", "10.96.0.6", &[&other]));
    let ruleset = Ruleset { number: 1, ingress: true, egress: true, rules: vec![rule(true, 7, 8080)] };
    guard(&mut world, &client, ruleset, &[(near.ip, 7), (far.ip, 7), (other.ip, 8)]);
    world.in_pod(&client, || {
        for _ in 0..8 {
            talk("10.96.0.5:80".parse().unwrap()).unwrap().echo(10_000).unwrap();
        }
        assert!(!is_open("10.96.0.6:80".parse().unwrap()));
        assert!(!is_open(sock(other.ip, 8080)));
    });
    // Outside the socket hooks' cgroup, packets are translated.
    netns::run_in(&client.netns, || {
        talk("10.96.0.5:80".parse().unwrap()).unwrap().echo(10_000).unwrap();
        assert!(!is_open("10.96.0.6:80".parse().unwrap()));
    })
    .unwrap();
}

#[test]
fn a_change_cuts_what_is_established() {
    let mut world = World::new(2);
    let (server, kept, cut) = (world.pod(0), world.pod(1), world.pod(1));
    let to = sock(server.ip, 8080);
    let _server = Server::start(&server.netns, to, "s");
    let open = |pod: &Pod| world.in_pod(pod, || talk(to).unwrap());
    // One connection is older than the first policy.
    let (mut kept_talk, mut cut_talk, mut old_talk) = (open(&kept), open(&cut), open(&cut));
    let classes = [(kept.ip, 7), (cut.ip, 8)];
    let both = vec![rule(false, 7, 8080), rule(false, 8, 8080)];
    let ruleset = |rules| Ruleset { number: 1, ingress: true, egress: false, rules };
    guard(&mut world, &server, ruleset(both), &classes);
    let mut new_talk = world.in_pod(&cut, || talk(to).unwrap());
    for talk in [&mut kept_talk, &mut cut_talk, &mut new_talk] {
        talk.echo(10_000).unwrap();
    }
    guard(&mut world, &server, ruleset(vec![rule(false, 7, 8080)]), &classes);
    kept_talk.echo(10_000).unwrap();
    for talk in [&mut cut_talk, &mut new_talk, &mut old_talk] {
        talk.stream.set_read_timeout(Some(Duration::from_millis(700))).unwrap();
        talk.stream.write_all(b"hello").unwrap();
        let answer = talk.stream.read(&mut [0; 8]);
        assert!(answer.is_err(), "still answered: {answer:?}");
    }
    kept_talk.echo(10_000).unwrap();
    let counters = world.nodes[0].datapath().counters().unwrap();
    assert!(counters[abi::Counter::DropPolicyIngress as usize] > 0);
}

#[test]
fn what_is_older_than_the_first_policy_is_judged_by_who_opened_it() {
    let mut world = World::new(2);
    let (guarded, other) = (world.pod(0), world.pod(1));
    let (inward, outward) = (sock(guarded.ip, 8080), sock(other.ip, 8080));
    let _servers = [Server::start(&guarded.netns, inward, "g"), Server::start(&other.netns, outward, "o")];
    let mut opened = world.in_pod(&guarded, || talk(outward).unwrap());
    let mut accepted = world.in_pod(&other, || talk(inward).unwrap());
    let folder = guarded.netns.parent().unwrap();
    let datapath = world.nodes[0].datapath();
    let stands = kernel::sockets::connections(folder, &[guarded.ip].into());
    // Other tests may have pods with the same addresses on this machine.
    assert!(stands.len() >= 2, "{stands:?}");
    let generation = datapath.observe_policy().unwrap().generation;
    datapath.remember(&stands, generation).unwrap();
    guard(&mut world, &guarded, Ruleset { number: 1, ingress: true, egress: false, rules: Vec::new() }, &[]);
    opened.echo(10_000).unwrap();
    accepted.stream.set_read_timeout(Some(Duration::from_millis(700))).unwrap();
    accepted.stream.write_all(b"hello").unwrap();
    let answer = accepted.stream.read(&mut [0; 8]);
    assert!(answer.is_err(), "still answered: {answer:?}");
}
