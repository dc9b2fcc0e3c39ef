use expect_test::expect;

use super::*;

fn report() -> Report {
    let backend = |last, healthy| BackendState { address: IpAddr::from([192, 0, 2, last]), weight: 10, healthy };
    let state = ServiceState {
        address: IpAddr::from([203, 0, 113, 10]),
        port: 443,
        protocol: "TCP".to_owned(),
        backends: vec![backend(20, true), backend(21, false)],
    };
    Report {
        interface: "eth0".to_owned(),
        services: vec![ServiceReport { state, packets: 12, bytes: 3_456, slots: 251, changed: 7 }],
        records: 3,
        drops: BTreeMap::from([("too-big".to_owned(), 2), ("no-backend".to_owned(), 0)]),
    }
}

#[test]
fn text_says_who_has_what() {
    expect![[r#"
        eth0: 1 services, 3 flows on record
        203.0.113.10:443 TCP: 12 packets, 3456 bytes; 7 of 251 slots remember a change
          192.0.2.20 weight 10 healthy
          192.0.2.21 weight 10 unhealthy
        dropped: too-big 2
    "#]]
    .assert_eq(&report().text());
}

#[test]
fn metrics_say_the_same() {
    let text = crate::metrics::text(&report());
    let mut lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    lines.sort_unstable();
    expect![[r#"
        gannet_lb_backend_healthy{address="203.0.113.10",port="443",protocol="TCP",backend="192.0.2.20"} 1
        gannet_lb_backend_healthy{address="203.0.113.10",port="443",protocol="TCP",backend="192.0.2.21"} 0
        gannet_lb_bytes_total{address="203.0.113.10",port="443",protocol="TCP"} 3456
        gannet_lb_drops_total{reason="no-backend"} 0
        gannet_lb_drops_total{reason="too-big"} 2
        gannet_lb_packets_total{address="203.0.113.10",port="443",protocol="TCP"} 12
        gannet_lb_records 3"#]]
    .assert_eq(&lines.join("\n"));
}
