use std::num::NonZeroU16;

use super::*;
use crate::network::host_port::{self, Protocol};

fn lease(ip: &str, id: &str) -> Lease {
    let port = |number| NonZeroU16::new(number).unwrap();
    let web = HostPort { ip: None, protocol: Protocol::Tcp, port: port(8080), container_port: port(80) };
    Lease {
        ips: vec![ip.parse().unwrap()],
        container_id: id.into(),
        pod: "default/web".into(),
        host_ports: vec![web],
        seat: 3,
        ingress_bits: 1_000_000,
        egress_bits: 0,
    }
}

#[test]
fn survives_a_restart_and_damage() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("network.json");
    assert_eq!(Leases::load(&path).unwrap(), Leases::default());
    let mut leases = Leases {
        pod_cidrs: vec!["10.244.1.0/24".parse().unwrap(), "fd00:1::/64".parse().unwrap()],
        last: vec!["10.244.1.9".parse().unwrap(), "fd00:1::9".parse().unwrap()],
        pods: BTreeMap::new(),
    };
    leases.pods.insert("gn00000000001".into(), lease("10.244.1.9", "abc"));
    leases.save(&path).unwrap();
    assert_eq!(Leases::load(&path).unwrap(), leases);
    fs::write(&path, b"{\"pods\":").unwrap();
    assert_eq!(Leases::load(&path).unwrap(), Leases::default());
}

#[test]
fn the_kernel_says_what_stands() {
    let mut leases = Leases::default();
    leases.pods.insert("gone".into(), lease("10.244.1.2", "a"));
    leases.pods.insert("stays".into(), lease("10.244.1.3", "b"));
    let standing = vec![
        ("stays".to_owned(), vec!["10.244.1.3".parse().unwrap()], 3),
        ("unknown".to_owned(), vec!["10.244.1.4".parse().unwrap()], 1),
    ];
    leases.reconcile(&standing);
    assert_eq!(leases.pods.keys().collect::<Vec<_>>(), ["stays", "unknown"]);
    assert_eq!(leases.pods["stays"].container_id, "b");
    let targets: Vec<String> = host_port::all(&leases).iter().map(|port| port.target.to_string()).collect();
    assert_eq!(targets, ["10.244.1.3:80"]);
    assert_eq!(leases.free_seat(), Some(2));
    assert!(leases.uses("10.244.1.4".parse().unwrap()));
    assert!(!leases.uses("10.244.1.2".parse().unwrap()));
}

#[test]
fn a_file_from_before_there_were_two_families() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("network.json");
    let old = r#"{"podCidr": "10.244.1.0/24", "last": "10.244.1.9",
        "pods": {"gn00000000001": {"ip": "10.244.1.9", "containerId": "abc", "pod": "default/web", "seat": 3}}}"#;
    fs::write(&path, old).unwrap();
    let mut leases = Leases::load(&path).unwrap();
    assert_eq!(leases.pod_cidrs, ["10.244.1.0/24".parse::<IpNet>().unwrap()]);
    assert_eq!(leases.last, ["10.244.1.9".parse::<IpAddr>().unwrap()]);
    assert_eq!(leases.pods["gn00000000001"].ips, ["10.244.1.9".parse::<IpAddr>().unwrap()]);
    leases.save(&path).unwrap();
    assert_eq!(Leases::load(&path).unwrap(), leases);
    leases.pods.clear();
    leases.pod_cidrs.clear();
    fs::write(&path, "{}").unwrap();
    assert_eq!(Leases::load(&path).unwrap(), Leases::default());
}

#[test]
fn a_lease_keeps_the_order_of_its_families() {
    let mut leases = Leases::default();
    let six_first: Vec<IpAddr> = ["fd00:1::2", "10.244.1.2"].map(|ip| ip.parse().unwrap()).into();
    leases.pods.insert("gn".into(), Lease { ips: six_first.clone(), ..lease("10.244.1.2", "a") });
    leases.reconcile(&[("gn".into(), vec![six_first[1], six_first[0]], 3)]);
    assert_eq!(leases.pods["gn"].ips, six_first);
    let targets: Vec<String> = host_port::all(&leases).iter().map(|port| port.target.to_string()).collect();
    assert_eq!(targets, ["10.244.1.2:80", "[fd00:1::2]:80"]);
}
