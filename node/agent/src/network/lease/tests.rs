use std::num::NonZeroU16;

use super::*;
use crate::network::host_port::{self, Protocol};

fn lease(ip: &str, id: &str) -> Lease {
    let port = |number| NonZeroU16::new(number).unwrap();
    let web = HostPort { ip: None, protocol: Protocol::Tcp, port: port(8080), container_port: port(80) };
    Lease {
        ip: ip.parse().unwrap(),
        container_id: id.into(),
        pod: "default/web".into(),
        host_ports: vec![web],
        seat: 3,
    }
}

#[test]
fn survives_a_restart_and_damage() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("network.json");
    assert_eq!(Leases::load(&path).unwrap(), Leases::default());
    let mut leases = Leases {
        pod_cidr: Some("10.244.1.0/24".parse().unwrap()),
        last: Some("10.244.1.9".parse().unwrap()),
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
