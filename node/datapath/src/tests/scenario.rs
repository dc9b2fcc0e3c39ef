//! A small language for fabric deltas, and the check that runs a scenario in every order.
//!
//! ```text
//! node b 10.0.0.2 10.244.1.0/24
//! service default/web 10.96.0.5 80>8080/TCP nodeport=30080 affinity=60 internal-local external-local external=1.2.3.4
//!   10.244.0.5@a draining
//! delete service default/web
//! ---
//! ```
//! `---` ends a delta. The first delta is a full one; `full` alone on a line makes any other one full.
use std::net::IpAddr;

use expect_test::Expect;
use wire::fabric::{Delta, Endpoint, EndpointPort, EndpointState, Node, Protocol, Service, ServicePort};

use crate::{Dns, Local, Observed, State, compile, diff, dump};

/// The node that all scenarios look at: `a`, 10.0.0.1, pods 10.244.0.0/24.
pub fn local() -> Local {
    Local {
        native: false,
        node_name: "a".into(),
        addresses: vec![ip("10.0.0.1")],
        pod_cidrs: vec!["10.244.0.0/24".parse().unwrap()],
        service_cidrs: vec!["10.96.0.0/16".parse().unwrap()],
        host_ports: Vec::new(),
        dns: vec![Dns { service: "10.96.0.10:53".parse().unwrap(), server: "169.254.1.1:53".parse().unwrap() }],
        config: abi::Config::default(),
    }
}

/// Runs the deltas as they stand and in every other order that means the same, each time plan by plan; all must end in
/// the expected tables, and planning again must plan nothing.
pub fn check(text: &str, expect: Expect) {
    let deltas = parse(text);
    let want = run(&deltas);
    expect.assert_eq(&want);
    let orders = [
        ("reversed", deltas.iter().map(reversed).collect()),
        ("split", deltas.iter().flat_map(split).collect()),
        ("squashed", vec![squash(&deltas)]),
        ("with empties", deltas.iter().flat_map(|delta| [delta.clone(), Delta::default()]).collect()),
        ("repeated in full", deltas.iter().cloned().chain([squash(&deltas)]).collect::<Vec<_>>()),
    ];
    for (name, order) in orders {
        assert_eq!(run(&renumbered(order)), want, "{name}");
    }
}

/// The tables after all deltas.
fn run(deltas: &[Delta]) -> String {
    let (mut state, mut observed) = (State::default(), Observed::default());
    for delta in deltas {
        state.apply(delta).unwrap();
        let desired = compile(&state, &local());
        let plan = diff(&desired, &observed);
        plan.steps.iter().for_each(|step| observed.apply(step));
        assert_eq!(plan.refused, []);
        // As after a restart: what stands is all that is known.
        let mut restarted = observed.clone();
        restarted.recover_cursors();
        assert_eq!(diff(&desired, &restarted).steps, [], "a restart plans something");
    }
    dump(&observed)
}

fn renumbered(deltas: Vec<Delta>) -> Vec<Delta> {
    let numbered = deltas.into_iter().enumerate();
    numbered.map(|(index, delta)| Delta { epoch: index as u64 + 1, full: delta.full, ..delta }).collect()
}

fn reversed(delta: &Delta) -> Delta {
    let mut delta = delta.clone();
    delta.nodes.reverse();
    delta.services.reverse();
    delta.deleted_nodes.reverse();
    delta.deleted_services.reverse();
    delta
}

/// One record a delta; deletes first, as in the whole.
fn split(delta: &Delta) -> Vec<Delta> {
    let mut out = Vec::new();
    if delta.full {
        out.push(Delta { full: true, ..Delta::default() });
    }
    out.extend(delta.deleted_nodes.iter().map(|n| Delta { deleted_nodes: vec![n.clone()], ..Delta::default() }));
    out.extend(delta.deleted_services.iter().map(|n| Delta { deleted_services: vec![n.clone()], ..Delta::default() }));
    out.extend(delta.nodes.iter().map(|n| Delta { nodes: vec![n.clone()], ..Delta::default() }));
    out.extend(delta.services.iter().map(|s| Delta { services: vec![s.clone()], ..Delta::default() }));
    out
}

/// One full delta with the state after all.
fn squash(deltas: &[Delta]) -> Delta {
    let mut whole = Delta { full: true, ..Delta::default() };
    let key = |s: &Service| format!("{}/{}", s.namespace, s.name);
    for delta in deltas {
        if delta.full {
            whole = Delta { full: true, ..Delta::default() };
        }
        whole.nodes.retain(|n| !delta.deleted_nodes.contains(&n.name));
        whole.services.retain(|s| !delta.deleted_services.contains(&key(s)));
        whole.nodes.retain(|n| delta.nodes.iter().all(|new| new.name != n.name));
        whole.services.retain(|s| delta.services.iter().all(|new| key(new) != key(s)));
        whole.nodes.extend(delta.nodes.iter().cloned());
        whole.services.extend(delta.services.iter().cloned());
    }
    whole.epoch = deltas.len() as u64 + 1;
    whole
}

/// Parses the language.
pub fn parse(text: &str) -> Vec<Delta> {
    let mut deltas = vec![Delta { full: true, epoch: 1, ..Delta::default() }];
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let number = deltas.len() as u64;
        let delta = deltas.last_mut().unwrap();
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["---"] => deltas.push(Delta { epoch: number + 1, ..Delta::default() }),
            ["full"] => delta.full = true,
            ["delete", "service", name] => delta.deleted_services.push((*name).into()),
            ["delete", "node", name] => delta.deleted_nodes.push((*name).into()),
            ["node", name, addresses, cidrs @ ..] => delta.nodes.push(Node {
                zone: cidrs.iter().find_map(|word| word.strip_prefix("zone=")).unwrap_or_default().into(),
                native: false,
                name: (*name).into(),
                internal_ips: addresses.split(',').map(str::to_owned).collect(),
                pod_cidrs: cidrs.iter().filter(|s| !s.starts_with("zone=")).map(|s| (*s).to_owned()).collect(),
            }),
            ["service", name, rest @ ..] => delta.services.push(service(name, rest)),
            [endpoint, rest @ ..] if line.starts_with(' ') => {
                let service = delta.services.last_mut().unwrap();
                service.endpoints.push(parse_endpoint(endpoint, rest));
            }
            _ => panic!("line {line:?}"),
        }
    }
    for service in deltas.iter_mut().flat_map(|delta| &mut delta.services) {
        fill_ports(service);
    }
    deltas
}

fn service(name: &str, words: &[&str]) -> Service {
    let (namespace, name) = name.split_once('/').unwrap();
    let mut service = Service { namespace: namespace.into(), name: name.into(), ..Service::default() };
    let mut node_port = 0;
    for word in words {
        match word.split_once('=') {
            None if *word == "internal-local" => service.internal_traffic_local = true,
            None if *word == "dns-only" => service.dns_only = true,
            None if *word == "external-local" => service.external_traffic_local = true,
            None if word.contains('>') => service.ports.push(parse_port(word)),
            None => service.cluster_ips.push((*word).into()),
            Some(("nodeport", value)) => node_port = value.parse().unwrap(),
            Some(("affinity", value)) => service.affinity_timeout_seconds = value.parse().unwrap(),
            Some(("external", value)) => service.external_ips.push(value.into()),
            Some(("balancer", value)) => {
                service.external_ips.push(value.into());
                service.balancer_ips.push(value.into());
            }
            Some(("health", value)) => service.health_check_node_port = value.parse().unwrap(),
            Some(("from", value)) => service.source_ranges.push(value.into()),
            Some(_) => panic!("word {word:?}"),
        }
    }
    service.ports.iter_mut().for_each(|port| port.node_port = node_port);
    service
}

/// `80>8080/TCP`; the target's number serves as the port's name until [`fill_ports`].
fn parse_port(word: &str) -> ServicePort {
    let (port, rest) = word.split_once('>').unwrap();
    let (target, protocol) = rest.split_once('/').unwrap();
    let protocol = match protocol {
        "TCP" => Protocol::Tcp,
        "UDP" => Protocol::Udp,
        "SCTP" => Protocol::Sctp,
        _ => panic!("protocol {protocol:?}"),
    };
    ServicePort { name: target.into(), protocol: protocol.into(), port: port.parse().unwrap(), node_port: 0 }
}

fn parse_endpoint(word: &str, flags: &[&str]) -> Endpoint {
    let (ip, node) = word.split_once('@').unwrap();
    let (hints, flags): (Vec<&str>, Vec<&str>) =
        flags.iter().copied().partition(|flag: &&str| flag.starts_with("for-"));
    let hinted = |prefix: &str| hints.iter().filter_map(|hint| hint.strip_prefix(prefix)).map(str::to_owned).collect();
    let state = match flags.as_slice() {
        [] => EndpointState::Ready,
        ["draining"] => EndpointState::Draining,
        ["not-ready"] => EndpointState::NotReady,
        _ => panic!("flags {flags:?}"),
    };
    Endpoint {
        ip: ip.into(),
        node: node.into(),
        state: state.into(),
        hint_zones: hinted("for-zone="),
        hint_nodes: hinted("for-node="),
        ..Endpoint::default()
    }
}

fn fill_ports(service: &mut Service) {
    let ports: Vec<EndpointPort> = service
        .ports
        .iter()
        .map(|port| EndpointPort { name: port.name.clone(), protocol: port.protocol, port: port.name.parse().unwrap() })
        .collect();
    service.endpoints.iter_mut().for_each(|endpoint| endpoint.ports = ports.clone());
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}
