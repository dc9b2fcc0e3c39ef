//! Fabric in, tables out.
use std::num::NonZeroU16;

use expect_test::expect;

use super::{check, local, parse};
use crate::compiler::Compiler;
use crate::{HostPort, Local, Observed, Protocol, State, compile, diff, dump};

#[test]
fn nothing() {
    check(
        "",
        expect![[r#"
        route 10.96.0.0/16 services
        route 10.244.0.0/24 local pods
        route 10.0.0.1/32 this node
        route 169.254.1.1/32 this node
        service 10.96.0.10:53/TCP cluster -> 169.254.1.1:53 here
        service 10.96.0.10:53/UDP cluster -> 169.254.1.1:53 here
    "#]],
    );
}

#[test]
fn nodes() {
    check(
        "
node a 10.0.0.1 10.244.0.0/24
node b 10.0.0.2,fd00::2 10.244.1.0/24 fd01:1::/64
node c 10.0.0.3 10.244.2.0/24
---
delete node c
node d 10.0.0.4
",
        expect![[r#"
            route fd01:1::/64 overlay 10.0.0.2
            route 10.96.0.0/16 services
            route 10.244.0.0/24 local pods
            route 10.244.1.0/24 overlay 10.0.0.2
            route 10.0.0.1/32 this node
            route 169.254.1.1/32 this node
            route 10.0.0.2/32 node 10.0.0.2
            route 10.0.0.4/32 node 10.0.0.4
            route fd00::2/128 node 10.0.0.2
            service 10.96.0.10:53/TCP cluster -> 169.254.1.1:53 here
            service 10.96.0.10:53/UDP cluster -> 169.254.1.1:53 here
        "#]],
    );
}

#[test]
fn cluster_ip() {
    check(
        "
service default/web 10.96.0.5 80>8080/TCP 53>5353/UDP
  10.244.0.5@a
  10.244.1.6@b
",
        expect![[r#"
            route 10.96.0.0/16 services
            route 10.244.0.0/24 local pods
            route 10.0.0.1/32 this node
            route 169.254.1.1/32 this node
            service 10.96.0.5:53/UDP cluster -> 10.244.0.5:5353 here, 10.244.1.6:5353
            service 10.96.0.5:80/TCP cluster -> 10.244.0.5:8080 here, 10.244.1.6:8080
            service 10.96.0.10:53/TCP cluster -> 169.254.1.1:53 here
            service 10.96.0.10:53/UDP cluster -> 169.254.1.1:53 here
        "#]],
    );
}

#[test]
fn every_scope_and_policy() {
    check(
        "
service default/cluster 10.96.0.5 80>8080/TCP nodeport=30080 external=192.0.2.1 affinity=10800
  10.244.0.5@a
  10.244.1.6@b
service default/local 10.96.0.6 80>8080/TCP nodeport=30081 external=192.0.2.2 external-local
  10.244.0.5@a
  10.244.1.6@b
service default/inside 10.96.0.7 80>8080/TCP nodeport=30082 internal-local
  10.244.0.5@a
  10.244.1.6@b
service default/elsewhere 10.96.0.8 80>8080/TCP nodeport=30083 external=192.0.2.3 internal-local external-local
  10.244.1.6@b
",
        expect![[r#"
            route 10.96.0.0/16 services
            route 10.244.0.0/24 local pods
            route 10.0.0.1/32 this node
            route 169.254.1.1/32 this node
            route 192.0.2.1/32 of a service
            route 192.0.2.2/32 of a service
            route 192.0.2.3/32 of a service
            service *:30080/TCP nodeport affinity 10800s -> 10.244.0.5:8080 here, 10.244.1.6:8080
            service *:30081/TCP nodeport local -> 10.244.0.5:8080 here
            service *:30082/TCP nodeport -> 10.244.0.5:8080 here, 10.244.1.6:8080
            service *:30083/TCP nodeport local -> reject
            service 192.0.2.1:80/TCP cluster affinity 10800s -> 10.244.0.5:8080 here, 10.244.1.6:8080
            service 192.0.2.2:80/TCP cluster -> 10.244.0.5:8080 here, 10.244.1.6:8080
            service 192.0.2.2:80/TCP external local -> 10.244.0.5:8080 here
            service 192.0.2.3:80/TCP cluster -> 10.244.1.6:8080
            service 192.0.2.3:80/TCP external local -> reject
            service 10.96.0.5:80/TCP cluster affinity 10800s -> 10.244.0.5:8080 here, 10.244.1.6:8080
            service 10.96.0.6:80/TCP cluster -> 10.244.0.5:8080 here, 10.244.1.6:8080
            service 10.96.0.7:80/TCP cluster -> 10.244.0.5:8080 here
            service 10.96.0.8:80/TCP cluster -> reject
            service 10.96.0.10:53/TCP cluster -> 169.254.1.1:53 here
            service 10.96.0.10:53/UDP cluster -> 169.254.1.1:53 here
        "#]],
    );
}

#[test]
fn a_rollout() {
    check(
        "
service default/web 10.96.0.5 80>8080/TCP
  10.244.0.5@a
  10.244.1.6@b
---
service default/web 10.96.0.5 80>8080/TCP
  10.244.0.5@a
  10.244.1.6@b
  10.244.0.7@a
---
service default/web 10.96.0.5 80>8080/TCP
  10.244.0.5@a draining
  10.244.1.6@b
  10.244.0.7@a
  10.244.0.8@a not-ready
",
        expect![[r#"
            route 10.96.0.0/16 services
            route 10.244.0.0/24 local pods
            route 10.0.0.1/32 this node
            route 169.254.1.1/32 this node
            service 10.96.0.5:80/TCP cluster -> 10.244.0.7:8080 here, 10.244.1.6:8080
            service 10.96.0.10:53/TCP cluster -> 169.254.1.1:53 here
            service 10.96.0.10:53/UDP cluster -> 169.254.1.1:53 here
            backend 10.244.0.5:8080 here draining
        "#]],
    );
}

#[test]
fn draining_endpoints_serve_when_nothing_else_does() {
    check(
        "
service default/web 10.96.0.5 80>8080/TCP
  10.244.0.5@a draining
  10.244.1.6@b draining
service default/none 10.96.0.6 80>8080/TCP
",
        expect![[r#"
            route 10.96.0.0/16 services
            route 10.244.0.0/24 local pods
            route 10.0.0.1/32 this node
            route 169.254.1.1/32 this node
            service 10.96.0.5:80/TCP cluster -> 10.244.0.5:8080 here draining, 10.244.1.6:8080 draining
            service 10.96.0.6:80/TCP cluster -> reject
            service 10.96.0.10:53/TCP cluster -> 169.254.1.1:53 here
            service 10.96.0.10:53/UDP cluster -> 169.254.1.1:53 here
        "#]],
    );
}

#[test]
fn endpoints_shared_by_services_are_one_backend() {
    check(
        "
service default/one 10.96.0.5 80>8080/TCP
  10.244.0.5@a draining
  10.244.0.6@a
service default/two 10.96.0.6 81>8080/TCP
  10.244.0.5@a
",
        expect![[r#"
            route 10.96.0.0/16 services
            route 10.244.0.0/24 local pods
            route 10.0.0.1/32 this node
            route 169.254.1.1/32 this node
            service 10.96.0.5:80/TCP cluster -> 10.244.0.6:8080 here
            service 10.96.0.6:81/TCP cluster -> 10.244.0.5:8080 here
            service 10.96.0.10:53/TCP cluster -> 169.254.1.1:53 here
            service 10.96.0.10:53/UDP cluster -> 169.254.1.1:53 here
        "#]],
    );
}

#[test]
fn the_first_by_name_has_an_address() {
    check(
        "
service default/b 10.96.0.5 80>8080/TCP
  10.244.0.5@a
service default/a 10.96.0.5 80>9090/TCP
  10.244.0.6@a
service default/dns 10.96.0.10 53>5353/UDP
  10.244.0.7@a
",
        expect![[r#"
            route 10.96.0.0/16 services
            route 10.244.0.0/24 local pods
            route 10.0.0.1/32 this node
            route 169.254.1.1/32 this node
            service 10.96.0.5:80/TCP cluster -> 10.244.0.6:9090 here
            service 10.96.0.10:53/TCP cluster -> 169.254.1.1:53 here
            service 10.96.0.10:53/UDP cluster -> 169.254.1.1:53 here
            backend 10.244.0.5:8080 here
            backend 10.244.0.7:5353 here
        "#]],
    );
}

#[test]
fn services_go_and_come() {
    check(
        "
service default/one 10.96.0.5 80>8080/TCP
  10.244.0.5@a
service default/two 10.96.0.6 80>8080/TCP
  10.244.0.6@a
---
delete service default/one
service default/three 10.96.0.7 80>8080/TCP nodeport=30080
  10.244.0.5@a
---
full
service default/three 10.96.0.7 80>8080/TCP
  10.244.0.5@a
",
        expect![[r#"
            route 10.96.0.0/16 services
            route 10.244.0.0/24 local pods
            route 10.0.0.1/32 this node
            route 169.254.1.1/32 this node
            service 10.96.0.7:80/TCP cluster -> 10.244.0.5:8080 here
            service 10.96.0.10:53/TCP cluster -> 169.254.1.1:53 here
            service 10.96.0.10:53/UDP cluster -> 169.254.1.1:53 here
        "#]],
    );
}

#[test]
fn source_ranges_guard_load_balancers_from_outside() {
    check(
        "
service default/cluster 10.96.0.5 80>8080/TCP nodeport=30080 balancer=192.0.2.1 external=192.0.2.9 from=203.0.113.0/24 from=198.51.100.0/25
  10.244.0.5@a
service default/local 10.96.0.6 80>8080/TCP balancer=192.0.2.2 external-local from=203.0.113.0/24
  10.244.1.6@b
service default/other 10.96.0.7 80>8080/TCP balancer=192.0.2.3 from=2001:db8::/32
  10.244.0.5@a
service default/opened 10.96.0.8 80>8080/TCP balancer=192.0.2.4 from=203.0.113.0/24
  10.244.0.5@a
---
service default/opened 10.96.0.8 80>8080/TCP balancer=192.0.2.4
  10.244.0.5@a
",
        expect![[r#"
            route 10.96.0.0/16 services
            route 10.244.0.0/24 local pods
            route 10.0.0.1/32 this node
            route 169.254.1.1/32 this node
            route 192.0.2.1/32 of a service
            route 192.0.2.2/32 of a service
            route 192.0.2.3/32 of a service
            route 192.0.2.4/32 of a service
            route 192.0.2.9/32 of a service
            service *:30080/TCP nodeport -> 10.244.0.5:8080 here
            service 192.0.2.1:80/TCP cluster -> 10.244.0.5:8080 here
            service 192.0.2.1:80/TCP external guarded -> 10.244.0.5:8080 here
            service 192.0.2.2:80/TCP cluster -> 10.244.1.6:8080
            service 192.0.2.2:80/TCP external local guarded -> reject
            service 192.0.2.3:80/TCP cluster -> 10.244.0.5:8080 here
            service 192.0.2.4:80/TCP cluster -> 10.244.0.5:8080 here
            service 10.96.0.5:80/TCP cluster -> 10.244.0.5:8080 here
            service 10.96.0.6:80/TCP cluster -> 10.244.1.6:8080
            service 10.96.0.7:80/TCP cluster -> 10.244.0.5:8080 here
            service 10.96.0.8:80/TCP cluster -> 10.244.0.5:8080 here
            service 192.0.2.9:80/TCP cluster -> 10.244.0.5:8080 here
            service 10.96.0.10:53/TCP cluster -> 169.254.1.1:53 here
            service 10.96.0.10:53/UDP cluster -> 169.254.1.1:53 here
            source 203.0.113.0/24 -> 192.0.2.1:80/TCP external
            source 203.0.113.0/24 -> 192.0.2.2:80/TCP external
            source 198.51.100.0/25 -> 192.0.2.1:80/TCP external
        "#]],
    );
}

#[test]
fn hints_keep_connections_near() {
    check(
        "
node a 10.0.0.1 zone=east
service near/zone 10.96.1.1 80>8080/TCP nodeport=30080
  10.244.0.5@a for-zone=east
  10.244.1.5@b for-zone=east
  10.244.2.5@c for-zone=west
  10.244.3.5@d draining
service near/node 10.96.1.2 80>8080/TCP
  10.244.0.5@a for-zone=east for-node=a
  10.244.1.5@b for-zone=east for-node=b
service near/node-elsewhere 10.96.1.3 80>8080/TCP
  10.244.1.5@b for-zone=east for-node=b
  10.244.2.5@c for-zone=west for-node=c
service far/one-without 10.96.1.4 80>8080/TCP
  10.244.0.5@a for-zone=east
  10.244.2.5@c
service far/no-endpoint-in-zone 10.96.1.5 80>8080/TCP
  10.244.2.5@c for-zone=west
service far/all-draining 10.96.1.6 80>8080/TCP
  10.244.0.5@a draining for-zone=east
  10.244.2.5@c draining for-zone=west
service far/local 10.96.1.7 80>8080/TCP internal-local
  10.244.0.5@a for-zone=west
  10.244.0.6@a for-zone=east
---
node a 10.0.0.1 zone=west
---
node a 10.0.0.1 zone=east
",
        expect![[r#"
            route 10.96.0.0/16 services
            route 10.244.0.0/24 local pods
            route 10.0.0.1/32 this node
            route 169.254.1.1/32 this node
            service *:30080/TCP nodeport -> 10.244.0.5:8080 here, 10.244.1.5:8080
            service 10.96.1.1:80/TCP cluster -> 10.244.0.5:8080 here, 10.244.1.5:8080
            service 10.96.1.2:80/TCP cluster -> 10.244.0.5:8080 here
            service 10.96.1.3:80/TCP cluster -> 10.244.1.5:8080
            service 10.96.1.4:80/TCP cluster -> 10.244.0.5:8080 here, 10.244.2.5:8080
            service 10.96.1.5:80/TCP cluster -> 10.244.2.5:8080
            service 10.96.1.6:80/TCP cluster -> 10.244.0.5:8080 here, 10.244.2.5:8080
            service 10.96.1.7:80/TCP cluster -> 10.244.0.5:8080 here, 10.244.0.6:8080 here
            service 10.96.0.10:53/TCP cluster -> 169.254.1.1:53 here
            service 10.96.0.10:53/UDP cluster -> 169.254.1.1:53 here
            backend 10.244.3.5:8080 draining
        "#]],
    );
}

#[test]
fn two_families_in_one_service() {
    check(
        "
service default/both 10.96.0.5 fd00:96::5 80>8080/TCP nodeport=30080 external=192.0.2.1 external=2001:db8::1 external-local
  10.244.0.5@a
  fd00:1::5@a
  10.244.1.6@b
  fd00:2::6@b
service default/six fd00:96::6 80>8080/TCP nodeport=30081
  fd00:1::5@a
service default/four-is-draining 10.96.0.7 fd00:96::7 80>8080/TCP
  10.244.0.5@a draining
  fd00:1::5@a
",
        expect![[r#"
            route 10.96.0.0/16 services
            route 10.244.0.0/24 local pods
            route 10.0.0.1/32 this node
            route 169.254.1.1/32 this node
            route 192.0.2.1/32 of a service
            route fd00:96::5/128 of a service
            route fd00:96::6/128 of a service
            route fd00:96::7/128 of a service
            route 2001:db8::1/128 of a service
            service [*]:30080/TCP nodeport local -> [fd00:1::5]:8080 here
            service [*]:30081/TCP nodeport -> [fd00:1::5]:8080 here
            service *:30080/TCP nodeport local -> 10.244.0.5:8080 here
            service 192.0.2.1:80/TCP cluster -> 10.244.0.5:8080 here, 10.244.1.6:8080
            service 192.0.2.1:80/TCP external local -> 10.244.0.5:8080 here
            service 10.96.0.5:80/TCP cluster -> 10.244.0.5:8080 here, 10.244.1.6:8080
            service 10.96.0.7:80/TCP cluster -> 10.244.0.5:8080 here
            service 10.96.0.10:53/TCP cluster -> 169.254.1.1:53 here
            service 10.96.0.10:53/UDP cluster -> 169.254.1.1:53 here
            service [fd00:96::5]:80/TCP cluster -> [fd00:1::5]:8080 here, [fd00:2::6]:8080
            service [fd00:96::6]:80/TCP cluster -> [fd00:1::5]:8080 here
            service [fd00:96::7]:80/TCP cluster -> [fd00:1::5]:8080 here
            service [2001:db8::1]:80/TCP cluster -> [fd00:1::5]:8080 here, [fd00:2::6]:8080
            service [2001:db8::1]:80/TCP external local -> [fd00:1::5]:8080 here
        "#]],
    );
}

#[test]
fn host_ports_lead_to_pods_of_this_node() {
    let port = |pod: &str, ip: Option<&str>, protocol, port, target: &str| HostPort {
        pod: pod.to_owned(),
        ip: ip.map(|ip| ip.parse().unwrap()),
        protocol,
        port: NonZeroU16::new(port).unwrap(),
        target: target.parse().unwrap(),
    };
    let host_ports = vec![
        port("default/web", None, Protocol::Tcp, 8080, "10.244.0.5:80"),
        port("default/web", Some("0.0.0.0"), Protocol::Udp, 8080, "10.244.0.5:80"),
        port("default/web", Some("10.0.0.1"), Protocol::Tcp, 8443, "10.244.0.5:443"),
        port("default/loop", Some("127.0.0.1"), Protocol::Tcp, 8443, "10.244.0.6:443"),
        port("default/late", None, Protocol::Tcp, 30080, "10.244.0.7:80"),
        port("default/six", None, Protocol::Tcp, 8080, "[fd00:1::5]:80"),
        port("default/mixed", Some("10.0.0.1"), Protocol::Tcp, 9090, "[fd00:1::5]:80"),
    ];
    let text = "
service default/web 10.96.0.5 80>80/TCP nodeport=30080
  10.244.0.5@a draining
  10.244.1.6@b
";
    let mut state = State::default();
    for delta in parse(text) {
        state.apply(&delta).unwrap();
    }
    let local = Local { host_ports, dns: Vec::new(), ..local() };
    let desired = compile(&state, &local);
    let mut observed = Observed::default();
    diff(&desired, &observed.clone()).steps.iter().for_each(|step| observed.apply(step));
    expect![[r#"
        route 10.96.0.0/16 services
        route 10.244.0.0/24 local pods
        route 10.0.0.1/32 this node
        service [*]:8080/TCP nodeport local -> [fd00:1::5]:80 here
        service *:30080/TCP nodeport -> 10.244.1.6:80
        service *:8080/TCP nodeport local -> 10.244.0.5:80 here draining
        service *:8080/UDP nodeport local -> 10.244.0.5:80 here
        service 10.0.0.1:8443/TCP cluster local -> 10.244.0.5:443 here
        service 127.0.0.1:8443/TCP nodeport local -> 10.244.0.6:443 here
        service 10.96.0.5:80/TCP cluster -> 10.244.1.6:80
        backend 10.244.0.7:80 here
    "#]]
    .assert_eq(&dump(&observed));
    let conflicts = Compiler::new(local, state).take_changes().1.conflicts;
    let refused: Vec<&str> = conflicts.iter().map(|conflict| &*conflict.service.name).collect();
    assert_eq!(refused, ["hostPort of default/late"]);
}

#[test]
fn what_is_in_dns_alone_has_no_frontends() {
    check(
        "
service default/web 10.96.0.5 80>8080/TCP nodeport=30080 external=192.0.2.1
  10.244.0.5@a
---
service default/web 10.96.0.5 80>8080/TCP nodeport=30080 external=192.0.2.1 dns-only
  10.244.0.5@a
",
        expect![[r#"
            route 10.96.0.0/16 services
            route 10.244.0.0/24 local pods
            route 10.0.0.1/32 this node
            route 169.254.1.1/32 this node
            service 10.96.0.10:53/TCP cluster -> 169.254.1.1:53 here
            service 10.96.0.10:53/UDP cluster -> 169.254.1.1:53 here
        "#]],
    );
}
