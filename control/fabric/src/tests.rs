//! Scenarios as text: objects arrive one by one in every order, and the fabric at the end is the same.

use std::fmt::Write as _;

use api::Revision;
use cache::{Kind, Object, View};
use expect_test::{Expect, expect};
use wire::fabric::{Delta, EndpointState, Protocol, ServiceType};

use super::*;

const NODES: &str = "
apiVersion: v1
kind: Node
metadata: {name: n1}
spec: {podCIDR: 10.244.0.0/24, podCIDRs: [10.244.0.0/24]}
status: {addresses: [{type: InternalIP, address: 192.0.2.1}, {type: Hostname, address: n1}]}
---
apiVersion: v1
kind: Node
metadata: {name: n2}
spec: {podCIDR: 10.244.1.0/24}
status: {addresses: [{type: InternalIP, address: 192.0.2.2}]}
---
";

const SERVICE: &str = "
apiVersion: v1
kind: Service
metadata: {name: web, namespace: default}
spec:
  type: NodePort
  clusterIP: 10.96.0.7
  clusterIPs: [10.96.0.7]
  ports: [{name: http, port: 80, nodePort: 30080}]
---
";

fn slice(name: &str, endpoints: &str) -> String {
    format!(
        "
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: {name}, namespace: default, labels: {{kubernetes.io/service-name: web}}}}
addressType: IPv4
ports: [{{name: http, port: 8080, protocol: TCP}}]
endpoints: [{endpoints}]
---
"
    )
}

fn endpoint(ip: &str, conditions: &str) -> String {
    format!(
        "{{addresses: [{ip}], nodeName: n1, conditions: {{{conditions}}}, targetRef: {{kind: Pod, namespace: default, name: p-{ip}}}}}"
    )
}

pub(crate) fn objects(yaml: &str) -> Vec<Object> {
    let documents: Vec<serde_json::Value> = serde_saphyr::from_multiple(yaml).expect("the test's YAML parses");
    let documents = documents.into_iter().filter(|document| !document.is_null());
    documents
        .map(|document| {
            let text = |field: &str| document[field].as_str().expect("a text").to_owned();
            let kind = Kind::from_api_version(&text("apiVersion"), &text("kind")).expect("the View holds the kind");
            Object::decode(kind, document.to_string().as_bytes(), Revision(1)).expect("an object")
        })
        .collect()
}

pub(crate) fn view(objects: &[Object]) -> View {
    let mut view = View::default();
    for object in objects {
        view.insert(object.clone());
        view.revision.0 += 1;
    }
    view
}

fn dump(state: &State) -> String {
    let mut text = format!("epoch {}\n", state.epoch);
    for node in state.nodes.values() {
        let zone = if node.zone.is_empty() { String::new() } else { format!(" zone {}", node.zone) };
        let (ips, cidrs) = (node.internal_ips.join(","), node.pod_cidrs.join(","));
        let _ = writeln!(text, "node {} {ips} {cidrs}{zone}", node.name);
    }
    for (name, service) in &state.services {
        let _ = write!(text, "service {name} {:?} {}", service.r#type(), service.cluster_ips.join(","));
        let flags = [
            (service.headless, "headless".to_owned()),
            (service.dns_only, "dns-only".to_owned()),
            (!service.external_ips.is_empty(), format!("external {}", service.external_ips.join(","))),
            (!service.external_name.is_empty(), format!("cname {}", service.external_name)),
            (service.affinity_timeout_seconds > 0, format!("affinity {}s", service.affinity_timeout_seconds)),
            (!service.balancer_ips.is_empty(), format!("balancer {}", service.balancer_ips.join(","))),
            (!service.source_ranges.is_empty(), format!("from {}", service.source_ranges.join(","))),
            (service.algorithm != 0, format!("{:?} {}", service.algorithm(), service.maglev_size)),
            (!service.ignored.is_empty(), format!("({})", service.ignored)),
            (service.internal_traffic_local, "internal-local".to_owned()),
            (service.external_traffic_local, "external-local".to_owned()),
        ];
        for (_, flag) in flags.into_iter().filter(|(set, _)| *set) {
            let _ = write!(text, " {flag}");
        }
        for port in &service.ports {
            let protocol = Protocol::try_from(port.protocol).expect("a protocol");
            let _ = write!(text, " {}:{}/{protocol:?}", port.name, port.port);
            if port.node_port > 0 {
                let _ = write!(text, "@{}", port.node_port);
            }
        }
        text.push('\n');
        for endpoint in &service.endpoints {
            let ports: Vec<String> = endpoint.ports.iter().map(|port| format!("{}:{}", port.name, port.port)).collect();
            let _ = writeln!(
                text,
                "  {} {:?} {} {} {}{}{}{}",
                endpoint.ip,
                endpoint.state(),
                endpoint.node,
                endpoint.pod,
                ports.join(" "),
                endpoint.hint_zones.iter().map(|zone| format!(" for zone {zone}")).collect::<String>(),
                endpoint.hint_nodes.iter().map(|node| format!(" for node {node}")).collect::<String>(),
                endpoint.weight.map(|weight| format!(" weight {weight}")).unwrap_or_default(),
            );
        }
    }
    text
}

/// Compiles the objects, checks that every order of arrival (all rotations, forwards and backwards) compiles to the
/// same state step by step as at once, and that the deltas of each order lead a node there.
fn check(yaml: &str, expected: Expect) {
    let objects = objects(yaml);
    let whole = compile(&view(&objects), None);
    expected.assert_eq(&dump(&whole));
    for turn in 0..objects.len() {
        for backwards in [false, true] {
            let mut order = objects.clone();
            order.rotate_left(turn);
            if backwards {
                order.reverse();
            }
            follow(&order, &whole);
        }
    }
}

fn follow(order: &[Object], whole: &State) {
    let mut known = (View::default(), compile(&View::default(), None));
    let mut node = State::default();
    node.apply(known.1.full());
    for count in 1..=order.len() {
        let view = view(&order[..count]);
        let state = compile(&view, Some((&known.0, &known.1)));
        assert_eq!(state, compile(&view, None), "step by step as at once");
        node.apply(state.diff(&known.1));
        assert!(node.same_content(&state), "a node that applies deltas has the state");
        known = (view, state);
    }
    assert!(node.same_content(whole));
}

#[test]
fn services_and_nodes() {
    let endpoints = [
        endpoint("10.244.0.5", "ready: true, serving: true, terminating: false"),
        endpoint("10.244.0.6", "ready: false, serving: true, terminating: true"),
        endpoint("10.244.0.7", "ready: false, serving: false, terminating: false"),
        endpoint("10.244.0.8", "ready: false, serving: false, terminating: true"),
        endpoint("10.244.0.9", ""),
    ];
    check(
        &[NODES, SERVICE, &slice("web-1", &endpoints.join(", "))].concat(),
        expect![[r#"
        epoch 4
        node n1 192.0.2.1 10.244.0.0/24
        node n2 192.0.2.2 10.244.1.0/24
        service default/web NodePort 10.96.0.7 http:80/Tcp@30080
          10.244.0.5 Ready n1 default/p-10.244.0.5 http:8080
          10.244.0.6 Draining n1 default/p-10.244.0.6 http:8080
          10.244.0.7 NotReady n1 default/p-10.244.0.7 http:8080
          10.244.0.8 NotReady n1 default/p-10.244.0.8 http:8080
          10.244.0.9 Ready n1 default/p-10.244.0.9 http:8080
    "#]],
    );
}

/// A weight is known whether the pod or the slice comes first; one that is nonsense is none.
#[test]
fn algorithms_and_weights() {
    let pod = |ip: &str, weight: &str| {
        let labels = format!("{{gannet.io/lb-weight: \"{weight}\"}}");
        let meta = format!("{{name: p-{ip}, namespace: default, labels: {labels}}}");
        format!("apiVersion: v1\nkind: Pod\nmetadata: {meta}\nspec: {{containers: []}}\n---\n")
    };
    let endpoints = ["10.244.0.5", "10.244.0.6", "10.244.0.7", "10.244.0.8"].map(|ip| endpoint(ip, "ready: true"));
    let annotated = SERVICE.replace(
        "namespace: default}",
        "namespace: default, annotations: {gannet.io/lb-algorithm: maglev, gannet.io/maglev-size: \"1021\"}}",
    );
    let other = SERVICE.replace("name: web", "name: other").replace("10.96.0.7", "10.96.0.8").replace(
        "namespace: default}",
        "namespace: default, annotations: {gannet.io/lb-algorithm: quickest, gannet.io/maglev-size: \"1000\"}}",
    );
    check(
        &[
            annotated,
            other,
            slice("web-1", &endpoints.join(", ")),
            pod("10.244.0.5", "3"),
            pod("10.244.0.6", "0"),
            pod("10.244.0.7", "heavy"),
            pod("10.244.0.9", "2"),
        ]
        .concat(),
        expect![[r#"
            epoch 7
            service default/other NodePort 10.96.0.8 (annotation gannet.io/lb-algorithm "quickest" is none of even, random, maglev; annotation gannet.io/maglev-size "1000" is no prime from 251 to 65521) http:80/Tcp@30080
            service default/web NodePort 10.96.0.7 Maglev 1021 http:80/Tcp@30080
              10.244.0.5 Ready n1 default/p-10.244.0.5 http:8080 weight 3
              10.244.0.6 Ready n1 default/p-10.244.0.6 http:8080 weight 0
              10.244.0.7 Ready n1 default/p-10.244.0.7 http:8080
              10.244.0.8 Ready n1 default/p-10.244.0.8 http:8080
        "#]],
    );
}

#[test]
fn several_slices_come_together() {
    let slices = [
        slice("web-1", &endpoint("10.244.0.5", "ready: true")),
        slice("web-2", &endpoint("10.244.0.6", "ready: true")),
        slice("web-3", &endpoint("10.244.0.5", "ready: false"))
            .replace("name: http, port: 8080", "name: admin, port: 9000"),
        slice("other", &endpoint("10.244.0.99", "ready: true")).replace("service-name: web", "service-name: gone"),
    ];
    check(
        &[SERVICE, &slices.concat()].concat(),
        expect![[r#"
        epoch 5
        service default/web NodePort 10.96.0.7 http:80/Tcp@30080
          10.244.0.5 Ready n1 default/p-10.244.0.5 admin:9000 http:8080
          10.244.0.6 Ready n1 default/p-10.244.0.6 http:8080
    "#]],
    );
}

#[test]
fn kinds_of_services() {
    let services = "
apiVersion: v1
kind: Service
metadata: {name: headless, namespace: default}
spec: {clusterIP: None, clusterIPs: [None], publishNotReadyAddresses: true, ports: [{port: 53, protocol: UDP}]}
---
apiVersion: v1
kind: Service
metadata: {name: alias, namespace: default}
spec: {type: ExternalName, externalName: example.com}
---
apiVersion: v1
kind: Service
metadata: {name: balanced, namespace: default}
spec:
  type: LoadBalancer
  clusterIP: 10.96.0.8
  externalIPs: [198.51.100.2]
  sessionAffinity: ClientIP
  internalTrafficPolicy: Local
  externalTrafficPolicy: Local
  ports: [{port: 443}]
status: {loadBalancer: {ingress: [{ip: 198.51.100.1}, {ip: 198.51.100.3, ipMode: Proxy}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: headless-1, namespace: default, labels: {kubernetes.io/service-name: headless}}
addressType: IPv4
ports: [{port: 53, protocol: UDP}]
endpoints: [{addresses: [10.244.0.5], hostname: h, conditions: {ready: false}}]
";
    check(
        services,
        expect![[r#"
            epoch 4
            service default/alias ExternalName  dns-only cname example.com
            service default/balanced LoadBalancer 10.96.0.8 external 198.51.100.1,198.51.100.2 affinity 10800s balancer 198.51.100.1 internal-local external-local :443/Tcp
            service default/headless ClusterIp  headless dns-only :53/Udp
              10.244.0.5 Ready   :53
        "#]],
    );
}

#[test]
fn deltas_say_what_changed_and_no_more() {
    let shown = |delta: &Delta| {
        let services: Vec<&str> = delta.services.iter().map(|service| service.name.as_str()).collect();
        let nodes: Vec<&str> = delta.nodes.iter().map(|node| node.name.as_str()).collect();
        format!(
            "full={} nodes {} -{} services {} -{}",
            delta.full,
            nodes.join(" "),
            delta.deleted_nodes.join(" "),
            services.join(" "),
            delta.deleted_services.join(" ")
        )
    };
    let base = objects(&[NODES, SERVICE, &slice("web-1", &endpoint("10.244.0.5", "ready: true"))].concat());
    let mut now = view(&base);
    let first = compile(&now, None);
    assert_eq!(shown(&first.full()), "full=true nodes n1 n2 - services web -");
    // A heartbeat: the Node object changes, the fabric does not.
    now.insert(objects(&NODES.replace("name: n1}", "name: n1, annotations: {beat: '1'}}"))[0].clone());
    now.revision.0 += 1;
    let second = compile(&now, Some((&view(&base), &first)));
    assert!(second.same_content(&first));
    assert!(second.epoch > first.epoch);
    let mut later = now.clone();
    later.remove(Kind::Node, &api::Key::cluster("n2"));
    later.insert(objects(&slice("web-1", &endpoint("10.244.0.6", "ready: true")))[0].clone());
    later.revision.0 += 1;
    let third = compile(&later, Some((&now, &second)));
    assert_eq!(shown(&third.diff(&second)), "full=false nodes  -n2 services web -");
    let mut empty = later.clone();
    empty.remove(Kind::Service, &api::Key::new("default", "web"));
    let fourth = compile(&empty, Some((&later, &third)));
    assert_eq!(shown(&fourth.diff(&third)), "full=false nodes  - services  -default/web");
}

/// A replacement that is ready before the other drains, as the store saw it, is so at every epoch, whether each change
/// makes a delta or several make one.
#[test]
fn new_backends_never_come_after_the_drain_of_old_ones() {
    let old = |conditions| endpoint("10.244.0.5", conditions);
    let new = |conditions| endpoint("10.244.0.6", conditions);
    let (ready, unready, draining) = ("ready: true", "ready: false", "ready: false, serving: true, terminating: true");
    let history = [
        old(ready),
        format!("{}, {}", old(ready), new(unready)),
        format!("{}, {}", old(ready), new(ready)),
        format!("{}, {}", old(draining), new(ready)),
        new(ready),
    ];
    let views: Vec<View> = (1..)
        .zip(&history)
        .map(|(revision, endpoints)| {
            let mut view = view(&objects(&[SERVICE, &slice("web-1", endpoints)].concat()));
            view.revision = Revision(revision);
            view
        })
        .collect();
    // Every subset of the later Views: what a coalescing reader may see.
    for mask in 0..1_u32 << (views.len() - 1) {
        let seen = views.iter().enumerate().filter(|(index, _)| *index == 0 || mask >> (index - 1) & 1 == 1);
        let mut node = State::default();
        let mut last = State::default();
        for (_, view) in seen {
            let state = compile(view, None);
            node.apply(state.diff(&last));
            last = state;
            let endpoints = &node.services["default/web"].endpoints;
            assert!(endpoints.iter().any(|endpoint| endpoint.state() == EndpointState::Ready), "mask {mask:b}");
        }
    }
    assert_eq!(compile(&views[3], None).services["default/web"].endpoints[0].state(), EndpointState::Draining);
    assert_eq!(ServiceType::NodePort, compile(&views[0], None).services["default/web"].r#type());
}

#[test]
fn the_ledger_knows_who_has_what() {
    let mut ledger = Ledger::default();
    for node in ["a", "b"] {
        ledger.connect(node);
        ledger.acknowledge(node, Epoch(0), "");
        ledger.sent(node, Epoch(5));
    }
    ledger.acknowledge("a", Epoch(5), "");
    assert_eq!(ledger.applied_by_all(["a", "b"]), Some(Epoch(0)));
    ledger.acknowledge("b", Epoch(5), "no room in map SERVICES");
    assert_eq!(ledger.applied_by_all(["a", "b"]), Some(Epoch(0)), "an error applies nothing");
    ledger.acknowledge("b", Epoch(5), "");
    assert_eq!(ledger.applied_by_all(["a", "b"]), Some(Epoch(5)));
    assert_eq!(ledger.applied_by_all(["a", "c"]), None, "c has said nothing");
    ledger.disconnect("b");
    let lines: Vec<String> =
        ledger.nodes().map(|(name, progress)| format!("{name} {} {}", progress.applied, progress.connected)).collect();
    assert_eq!(lines, ["a 5 true", "b 5 false"]);
    ledger.remove("b");
    assert_eq!(ledger.nodes().count(), 1);
}

#[test]
fn load_balancers_zones_and_hints() {
    let service = SERVICE.replace(
        "spec:",
        "status: {loadBalancer: {ingress: [{ip: 192.0.2.9}, {ip: 192.0.2.8, ipMode: Proxy}]}}
spec:
  externalIPs: [192.0.2.7]
  loadBalancerSourceRanges: [' 203.0.113.0/24', 198.51.100.0/24]",
    );
    let hinted = endpoint("10.244.0.5", "ready: true")
        .replace("nodeName", "hints: {forZones: [{name: east}], forNodes: [{name: n1}]}, nodeName");
    // Only a Service that publishes what is not ready has such endpoints.
    let published = endpoint("10.244.0.6", "ready: true, serving: false, terminating: true");
    let nodes = NODES.replace("{name: n1}", "{name: n1, labels: {topology.kubernetes.io/zone: east}}");
    check(
        &[nodes, service, slice("web-1", &[hinted, published].join(", "))].concat(),
        expect![[r#"
        epoch 4
        node n1 192.0.2.1 10.244.0.0/24 zone east
        node n2 192.0.2.2 10.244.1.0/24
        service default/web NodePort 10.96.0.7 external 192.0.2.7,192.0.2.9 balancer 192.0.2.9 from 198.51.100.0/24,203.0.113.0/24 http:80/Tcp@30080
          10.244.0.5 Ready n1 default/p-10.244.0.5 http:8080 for zone east for node n1
          10.244.0.6 Ready n1 default/p-10.244.0.6 http:8080
    "#]],
    );
}

#[test]
fn what_is_another_proxys_is_in_dns_alone() {
    let labelled = |label: &str, name: &str| {
        SERVICE.replace("{name: web,", &format!("{{name: {name}, labels: {{service.kubernetes.io/{label}: ''}},"))
    };
    check(
        &[labelled("service-proxy-name", "a"), labelled("headless", "b"), labelled("other", "c")].concat(),
        expect![[r#"
            epoch 3
            service default/a NodePort 10.96.0.7 dns-only http:80/Tcp@30080
            service default/b NodePort 10.96.0.7 dns-only http:80/Tcp@30080
            service default/c NodePort 10.96.0.7 http:80/Tcp@30080
        "#]],
    );
}
