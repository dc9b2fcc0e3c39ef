use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;

use expect_test::{Expect, expect};
use hickory_proto::op::{Message, MessageType, OpCode, Query};
use hickory_proto::rr::{Name, RecordType};
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use wire::fabric::{Endpoint, EndpointPort, EndpointState, Protocol, Service, ServicePort, ServiceType};

use crate::answer::{Carrier, Outcome, answer};
use crate::zone::Zone;
use crate::{Server, Table, forward};

fn clustered(namespace: &str, name: &str, ip: &str) -> Service {
    let port = ServicePort { name: "http".into(), protocol: Protocol::Tcp.into(), port: 80, node_port: 0 };
    Service {
        namespace: namespace.into(),
        name: name.into(),
        cluster_ips: vec![ip.into()],
        ports: vec![port],
        ..Service::default()
    }
}

fn endpoint(ip: &str, hostname: &str, state: EndpointState) -> Endpoint {
    let port = EndpointPort { name: "http".into(), protocol: Protocol::Tcp.into(), port: 8080 };
    Endpoint { ip: ip.into(), hostname: hostname.into(), state: state.into(), ports: vec![port], ..Endpoint::default() }
}

fn cluster() -> Zone {
    let mut zone = Zone::new("Cluster.Local.");
    zone.upsert(&clustered("default", "web", "10.96.0.7"));
    zone.upsert(&clustered("default", "dual", "fd00::7"));
    zone.upsert(&Service {
        namespace: "db".into(),
        name: "pg".into(),
        headless: true,
        endpoints: vec![
            endpoint("10.244.1.2", "pg-0", EndpointState::Ready),
            endpoint("10.244.2.3", "", EndpointState::Ready),
            endpoint("10.244.2.9", "pg-2", EndpointState::NotReady),
        ],
        ..Service::default()
    });
    for (name, target) in [("out", "www.example.com"), ("alias", "web.default.svc.cluster.local")] {
        zone.upsert(&Service {
            namespace: "default".into(),
            name: name.into(),
            r#type: ServiceType::ExternalName.into(),
            external_name: target.into(),
            ..Service::default()
        });
    }
    zone
}

fn query(name: &str, kind: RecordType) -> Vec<u8> {
    let mut message = Message::new(7, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
    message.to_vec().unwrap()
}

fn show(outcome: Outcome) -> String {
    let bytes = match outcome {
        Outcome::Forward => return "forward\n".into(),
        Outcome::Ignore => return "ignore\n".into(),
        Outcome::Reply(bytes) => bytes,
        Outcome::Alias(alias) => {
            let asked = Message::from_vec(&alias.question()).unwrap();
            return format!(
                "ask {} {}\n{}",
                asked.queries[0].name(),
                asked.queries[0].query_type(),
                dump(&alias.complete(None))
            );
        }
    };
    dump(&bytes)
}

fn dump(bytes: &[u8]) -> String {
    let message = Message::from_vec(bytes).unwrap();
    let mut out =
        format!("{}{}\n", message.metadata.response_code, if message.metadata.truncation { " truncated" } else { "" });
    for (section, records) in [("an", &message.answers), ("ns", &message.authorities), ("ar", &message.additionals)] {
        for record in records {
            writeln!(out, "{section} {record}").unwrap();
        }
    }
    out
}

fn check(name: &str, kind: RecordType, expected: Expect) {
    expected.assert_eq(&show(answer(&cluster(), &query(name, kind), Carrier::Udp)));
}

#[test]
fn cluster_ip_names() {
    check(
        "web.default.svc.cluster.local.",
        RecordType::A,
        expect![[r#"
        No Error
        an web.default.svc.cluster.local. 5 IN A 10.96.0.7
    "#]],
    );
    check(
        "WEB.Default.svc.CLUSTER.local.",
        RecordType::A,
        expect![[r#"
        No Error
        an WEB.Default.svc.CLUSTER.local. 5 IN A 10.96.0.7
    "#]],
    );
    check(
        "web.default.svc.cluster.local.",
        RecordType::AAAA,
        expect![[r#"
        No Error
        ns cluster.local. 5 IN SOA ns.dns.cluster.local. hostmaster.cluster.local. 1 7200 1800 86400 5
    "#]],
    );
    check(
        "dual.default.svc.cluster.local.",
        RecordType::AAAA,
        expect![[r#"
        No Error
        an dual.default.svc.cluster.local. 5 IN AAAA fd00::7
    "#]],
    );
    check(
        "_http._tcp.web.default.svc.cluster.local.",
        RecordType::SRV,
        expect![[r#"
        No Error
        an _http._tcp.web.default.svc.cluster.local. 5 IN SRV 0 100 80 web.default.svc.cluster.local.
        ar web.default.svc.cluster.local. 5 IN A 10.96.0.7
    "#]],
    );
    check(
        "7.0.96.10.in-addr.arpa.",
        RecordType::PTR,
        expect![[r#"
        No Error
        an 7.0.96.10.in-addr.arpa. 5 IN PTR web.default.svc.cluster.local.
    "#]],
    );
}

#[test]
fn headless_names() {
    check(
        "pg.db.svc.cluster.local.",
        RecordType::A,
        expect![[r#"
        No Error
        an pg.db.svc.cluster.local. 5 IN A 10.244.1.2
        an pg.db.svc.cluster.local. 5 IN A 10.244.2.3
    "#]],
    );
    check(
        "pg-0.pg.db.svc.cluster.local.",
        RecordType::A,
        expect![[r#"
        No Error
        an pg-0.pg.db.svc.cluster.local. 5 IN A 10.244.1.2
    "#]],
    );
    check(
        "10-244-2-3.pg.db.svc.cluster.local.",
        RecordType::A,
        expect![[r#"
        No Error
        an 10-244-2-3.pg.db.svc.cluster.local. 5 IN A 10.244.2.3
    "#]],
    );
    check(
        "pg-2.pg.db.svc.cluster.local.",
        RecordType::A,
        expect![[r#"
        Non-Existent Domain
        ns cluster.local. 5 IN SOA ns.dns.cluster.local. hostmaster.cluster.local. 1 7200 1800 86400 5
    "#]],
    );
    check(
        "_http._tcp.pg.db.svc.cluster.local.",
        RecordType::SRV,
        expect![[r#"
        No Error
        an _http._tcp.pg.db.svc.cluster.local. 5 IN SRV 0 100 8080 pg-0.pg.db.svc.cluster.local.
        an _http._tcp.pg.db.svc.cluster.local. 5 IN SRV 0 100 8080 10-244-2-3.pg.db.svc.cluster.local.
        ar pg-0.pg.db.svc.cluster.local. 5 IN A 10.244.1.2
        ar 10-244-2-3.pg.db.svc.cluster.local. 5 IN A 10.244.2.3
    "#]],
    );
    check(
        "2.1.244.10.in-addr.arpa.",
        RecordType::PTR,
        expect![[r#"
        No Error
        an 2.1.244.10.in-addr.arpa. 5 IN PTR pg-0.pg.db.svc.cluster.local.
    "#]],
    );
}

#[test]
fn aliases() {
    check(
        "alias.default.svc.cluster.local.",
        RecordType::A,
        expect![[r#"
        No Error
        an alias.default.svc.cluster.local. 5 IN CNAME web.default.svc.cluster.local.
        an web.default.svc.cluster.local. 5 IN A 10.96.0.7
    "#]],
    );
    check(
        "out.default.svc.cluster.local.",
        RecordType::A,
        expect![[r#"
        ask www.example.com. A
        Server Failure
        an out.default.svc.cluster.local. 5 IN CNAME www.example.com.
    "#]],
    );
    check(
        "out.default.svc.cluster.local.",
        RecordType::CNAME,
        expect![[r#"
        No Error
        an out.default.svc.cluster.local. 5 IN CNAME www.example.com.
    "#]],
    );
}

#[test]
fn absent_names() {
    check(
        "nope.default.svc.cluster.local.",
        RecordType::A,
        expect![[r#"
        Non-Existent Domain
        ns cluster.local. 5 IN SOA ns.dns.cluster.local. hostmaster.cluster.local. 1 7200 1800 86400 5
    "#]],
    );
    check(
        "web.default.svc.cluster.local.svc.cluster.local.",
        RecordType::A,
        expect![[r#"
        Non-Existent Domain
        ns cluster.local. 5 IN SOA ns.dns.cluster.local. hostmaster.cluster.local. 1 7200 1800 86400 5
    "#]],
    );
    // Names between a Service and the domain exist without records.
    check(
        "default.svc.cluster.local.",
        RecordType::A,
        expect![[r#"
        No Error
        ns cluster.local. 5 IN SOA ns.dns.cluster.local. hostmaster.cluster.local. 1 7200 1800 86400 5
    "#]],
    );
    check(
        "cluster.local.",
        RecordType::SOA,
        expect![[r#"
        No Error
        ns cluster.local. 5 IN SOA ns.dns.cluster.local. hostmaster.cluster.local. 1 7200 1800 86400 5
    "#]],
    );
    check(
        "dns-version.cluster.local.",
        RecordType::TXT,
        expect![[r#"
        No Error
        an dns-version.cluster.local. 5 IN TXT 1.1.0
    "#]],
    );
    check(
        "www.example.com.",
        RecordType::A,
        expect![[r#"
        forward
    "#]],
    );
    check(
        "notcluster.local.",
        RecordType::A,
        expect![[r#"
        forward
    "#]],
    );
}

#[test]
fn removal_leaves_nothing() {
    let mut zone = cluster();
    for key in ["default/web", "default/dual", "db/pg", "default/out", "default/alias", "default/never"] {
        zone.remove(key);
    }
    assert!(zone.is_empty());
    for name in ["web.default.svc.cluster.local", "default.svc.cluster.local", "7.0.96.10.in-addr.arpa"] {
        assert_eq!(zone.find(name), None, "{name}");
    }
    assert!(zone.find("svc.cluster.local").is_some());
}

#[test]
fn large_answers_are_cut_over_udp_only() {
    let endpoints = (0..200).map(|i| endpoint(&format!("10.244.3.{i}"), "", EndpointState::Ready)).collect();
    let mut zone = Zone::new("cluster.local");
    zone.upsert(&Service { namespace: "a".into(), name: "b".into(), headless: true, endpoints, ..Service::default() });
    let bytes = query("b.a.svc.cluster.local.", RecordType::A);
    let length = |carrier| match answer(&zone, &bytes, carrier) {
        Outcome::Reply(reply) => (reply.len(), Message::from_vec(&reply).unwrap()),
        other => panic!("{other:?}"),
    };
    let (udp, cut) = length(Carrier::Udp);
    assert!(udp <= 512 && cut.metadata.truncation && cut.answers.is_empty());
    let (_, whole) = length(Carrier::Tcp);
    assert!(!whole.metadata.truncation);
    assert_eq!(whole.answers.len(), 200);
}

#[test]
fn resolv_conf() {
    let text = "# x\nnameserver 127.0.0.1\nnameserver 9.9.9.9\nsearch a b\nnameserver fe80::1%eth0\nnameserver junk\n";
    let found = forward::upstreams(text, &["127.0.0.1".parse().unwrap()]);
    assert_eq!(found, ["9.9.9.9:53".parse().unwrap(), "[fe80::1]:53".parse::<SocketAddr>().unwrap()]);
}

proptest! {
    #[test]
    fn any_bytes_get_an_outcome(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let _ = answer(&cluster(), &bytes, Carrier::Udp);
    }

    #[test]
    fn a_damaged_query_gets_an_outcome(at in 0usize..50, value: u8) {
        let mut bytes = query("_http._tcp.pg.db.svc.cluster.local.", RecordType::SRV);
        let at = at % bytes.len();
        bytes[at] = value;
        if let Outcome::Reply(reply) = answer(&cluster(), &bytes, Carrier::Udp) {
            prop_assert!(reply.len() <= 1232);
            prop_assert_eq!(&reply[..2], &bytes[..2]);
        }
    }

    #[test]
    fn any_order_of_updates_ends_alike(order in Just((0..6usize).collect::<Vec<_>>()).prop_shuffle(), gone in 0usize..6) {
        let all: Vec<Service> = (0..6).map(|i| clustered("ns", &format!("s{i}"), &format!("10.96.1.{i}"))).collect();
        let mut zone = Zone::new("cluster.local");
        for i in &order {
            zone.upsert(&all[*i]);
            zone.upsert(&all[*i]);
        }
        zone.remove(&format!("ns/s{gone}"));
        for i in 0..6 {
            prop_assert_eq!(zone.find(&format!("s{i}.ns.svc.cluster.local")).is_some(), i != gone);
            prop_assert_eq!(zone.find(&format!("{i}.1.96.10.in-addr.arpa")).is_some(), i != gone);
        }
    }
}

async fn start(table: Arc<Table>, upstream: Vec<SocketAddr>) -> (SocketAddr, process::Shutdown) {
    let shutdown = process::Shutdown::new();
    let bind = vec!["127.0.0.1:0".parse().unwrap()];
    let server = Server::start(bind, table, upstream, shutdown.clone()).await.unwrap();
    (server.addresses()[0], shutdown)
}

#[tokio::test]
async fn over_both_carriers_and_forwarded() {
    let outside = Arc::new(Table::new("example.com"));
    outside.upsert(&clustered("default", "far", "192.0.2.9"));
    let (upstream, stop_upstream) = start(outside, vec![]).await;
    let table = Arc::new(Table::new("cluster.local"));
    table.replace([&clustered("default", "web", "10.96.0.7")]);
    table.upsert(&Service {
        namespace: "default".into(),
        name: "out".into(),
        r#type: ServiceType::ExternalName.into(),
        external_name: "far.default.svc.example.com".into(),
        ..Service::default()
    });
    let (server, stop) = start(table, vec![upstream]).await;
    let names = ["web.default.svc.cluster.local.", "far.default.svc.example.com.", "out.default.svc.cluster.local."];
    for name in names {
        let asked = query(name, RecordType::A);
        let udp = forward::ask(&[server], &asked, Carrier::Udp).await.unwrap();
        let tcp = forward::ask(&[server], &asked, Carrier::Tcp).await.unwrap();
        assert_eq!(udp, tcp);
        let last = Message::from_vec(&udp).unwrap().answers.pop().unwrap().to_string();
        assert!(last.ends_with(if name.starts_with("web") { "10.96.0.7" } else { "192.0.2.9" }), "{last}");
    }
    stop.cancel();
    stop_upstream.cancel();
}

#[tokio::test]
async fn without_upstream_the_failure_is_immediate() {
    let (server, stop) = start(Arc::new(Table::new("cluster.local")), vec![]).await;
    let reply = forward::ask(&[server], &query("www.example.com.", RecordType::A), Carrier::Udp).await.unwrap();
    expect![[r#"
        Server Failure
    "#]]
    .assert_eq(&dump(&reply));
    // A connection that sends half a message and leaves harms nobody.
    let mut half = tokio::net::TcpStream::connect(server).await.unwrap();
    half.write_all(&[0, 50, 1]).await.unwrap();
    half.shutdown().await.unwrap();
    assert_eq!(half.read(&mut [0; 8]).await.unwrap(), 0);
    let again = forward::ask(&[server], &query("www.example.com.", RecordType::A), Carrier::Tcp).await;
    assert!(again.is_some());
    stop.cancel();
}
