use std::fmt::Write as _;

use expect_test::{Expect, expect};
use serde_json::json;

use super::*;
use crate::testing::{World, keys};

const SERVICE: &str = r#"
apiVersion: v1
kind: Service
metadata: {name: web, labels: {team: a}}
spec:
  clusterIP: 10.96.0.7
  ipFamilies: [IPv4]
  selector: {app: web}
  ports: [{name: http, port: 80, targetPort: http}, {name: metrics, port: 9090, protocol: TCP}]
"#;

fn pod(name: &str, ip: &str, port: i32, more: &str) -> String {
    format!(
        "
---
apiVersion: v1
kind: Pod
metadata: {{name: {name}, labels: {{app: web}}}}
spec: {{nodeName: n1, containers: [{{name: c, ports: [{{name: http, containerPort: {port}}}]}}]}}
status: {{phase: Running, podIPs: [{{ip: {ip}}}], conditions: [{{type: Ready, status: 'True'}}]{more}}}
"
    )
}

/// Every slice as a line a port list and a line an endpoint.
fn dump(world: &World) -> String {
    let mut text = String::new();
    for slice in world.view.all::<EndpointSlice>() {
        let ports: Vec<String> = slice
            .ports
            .iter()
            .flatten()
            .map(|port| format!("{}:{}", port.name.as_deref().unwrap_or_default(), port.port.unwrap_or(0)))
            .collect();
        let name = slice.metadata.name.as_deref().unwrap_or_default();
        let _ = writeln!(text, "{name} {} {}", slice.address_type, ports.join(" "));
        for endpoint in slice.endpoints.iter().flatten() {
            let conditions = endpoint.conditions.clone().unwrap_or_default();
            let named = |name: &'static str, set: Option<bool>| if set == Some(true) { name } else { "-" };
            let target = endpoint.target_ref.as_ref().and_then(|target| target.name.clone()).unwrap_or_default();
            let hints = endpoint.hints.clone().unwrap_or_default();
            let zones = hints.for_zones.into_iter().flatten().map(|zone| format!(" zone={}", zone.name));
            let nodes = hints.for_nodes.into_iter().flatten().map(|node| format!(" node={}", node.name));
            let _ = writeln!(
                text,
                "  {} {target}@{} {} {} {} {}{}",
                endpoint.addresses.join(","),
                endpoint.node_name.as_deref().unwrap_or("?"),
                named("ready", conditions.ready),
                named("serving", conditions.serving),
                named("terminating", conditions.terminating),
                endpoint.hostname.as_deref().unwrap_or_default(),
                zones.chain(nodes).collect::<String>(),
            );
        }
    }
    text
}

fn check(yaml: &str, expected: Expect) {
    let mut world = World::new(yaml);
    world.settle(&[&EndpointSliceController]);
    expected.assert_eq(&dump(&world));
}

#[test]
fn endpoints_follow_pods() {
    let yaml = [
        SERVICE.to_owned(),
        pod("ready", "10.0.0.1", 8080, ""),
        pod("unready", "10.0.0.2", 8080, "").replace("'True'", "'False'"),
        pod("leaving", "10.0.0.3", 8080, "").replace("labels:", "deletionTimestamp: '2026-01-01T00:00:00Z', labels:"),
        pod("ended", "10.0.0.4", 8080, "").replace("Running", "Succeeded"),
        pod("other", "10.0.0.5", 8080, "").replace("{app: web}", "{app: other}"),
        pod("no-address", "10.0.0.6", 8080, "").replace("podIPs: [{ip: 10.0.0.6}], ", ""),
    ];
    check(
        &yaml.concat(),
        expect![[r#"
        web-1 IPv4 http:8080 metrics:9090
          10.0.0.1 ready@n1 ready serving - 
          10.0.0.2 unready@n1 - - - 
          10.0.0.3 leaving@n1 - serving terminating 
    "#]],
    );
}

#[test]
fn a_service_without_pods_has_an_empty_slice() {
    check(
        SERVICE,
        expect![[r#"
        web-1 IPv4 
    "#]],
    );
}

#[test]
fn named_ports_may_differ_between_pods() {
    let yaml = [SERVICE.to_owned(), pod("a", "10.0.0.1", 8080, ""), pod("b", "10.0.0.2", 8081, "")];
    check(
        &yaml.concat(),
        expect![[r#"
        web-1 IPv4 http:8080 metrics:9090
          10.0.0.1 a@n1 ready serving - 
        web-2 IPv4 http:8081 metrics:9090
          10.0.0.2 b@n1 ready serving - 
    "#]],
    );
}

#[test]
fn dual_stack_has_slices_for_both_families() {
    let service = SERVICE.replace("[IPv4]", "[IPv4, IPv6]");
    let both = pod("both", "10.0.0.1}, {ip: 'fd00::1'", 8080, "");
    check(
        &[service, both, pod("v4", "10.0.0.2", 8080, "")].concat(),
        expect![[r#"
        web-1 IPv4 http:8080 metrics:9090
          10.0.0.1 both@n1 ready serving - 
          10.0.0.2 v4@n1 ready serving - 
        web-2 IPv6 http:8080 metrics:9090
          fd00::1 both@n1 ready serving - 
    "#]],
    );
}

#[test]
fn unready_addresses_may_be_published() {
    let service = SERVICE.replace("clusterIP: 10.96.0.7", "clusterIP: None\n  publishNotReadyAddresses: true");
    let unready = pod("unready", "10.0.0.2", 8080, "").replace("'True'", "'False'");
    let named = pod("named", "10.0.0.3", 8080, "").replace("nodeName: n1", "nodeName: n1, hostname: h, subdomain: web");
    check(
        &[service, unready, named].concat(),
        expect![[r#"
        web-1 IPv4 http:8080 metrics:9090
          10.0.0.2 unready@n1 ready - - 
          10.0.0.3 named@n1 ready serving - h
    "#]],
    );
}

#[test]
fn services_without_a_selector_are_somebody_elses() {
    check(&SERVICE.replace("selector: {app: web}", "selector: {}"), expect![[r#""#]]);
}

#[test]
fn metadata() {
    let mut world = World::new(SERVICE);
    world.settle(&[&EndpointSliceController]);
    let slice = world.view.all::<EndpointSlice>().next().expect("a slice");
    expect![[r#"[{"endpointslice.kubernetes.io/managed-by":"endpointslice-controller.k8s.io","kubernetes.io/service-name":"web","team":"a"},[{"apiVersion":"v1","blockOwnerDeletion":true,"controller":true,"kind":"Service","name":"web","uid":"uid-web"}]]"#]].assert_eq(&json!([slice.metadata.labels, slice.metadata.owner_references]).to_string());
    // Labels follow the Service, and a Service that becomes headless says so.
    let labels = json!({"metadata": {"labels": {"team": "b"}}, "spec": {"clusterIP": "None"}});
    world.patch(Kind::Service, "default/web", labels);
    world.settle(&[&EndpointSliceController]);
    let slice = world.view.all::<EndpointSlice>().next().expect("a slice");
    expect![[r#"{"endpointslice.kubernetes.io/managed-by":"endpointslice-controller.k8s.io","kubernetes.io/service-name":"web","service.kubernetes.io/headless":"","team":"b"}"#]].assert_eq(&json!(slice.metadata.labels).to_string());
}

#[test]
fn at_most_a_hundred_endpoints_a_slice() {
    let mut yaml = SERVICE.to_owned();
    for index in 0..250 {
        yaml += &pod(&format!("p{index:03}"), &format!("10.0.{}.{}", index / 200, index % 200 + 1), 8080, "");
    }
    let mut world = World::new(&yaml);
    world.settle(&[&EndpointSliceController]);
    let sizes = |world: &World| -> Vec<usize> {
        world.view.all::<EndpointSlice>().map(|slice| slice.endpoints.as_ref().map_or(0, Vec::len)).collect()
    };
    assert_eq!(sizes(&world), [100, 100, 50]);
    // New ones fill what has room; nothing moves.
    for index in 0..10 {
        world.remove(Kind::Pod, &format!("default/p{index:03}"));
    }
    world.apply(&pod("late", "10.0.9.9", 8080, ""));
    world.take_log();
    world.settle(&[&EndpointSliceController]);
    let mut after = sizes(&world);
    after.sort_unstable();
    assert_eq!(after.iter().sum::<usize>(), 241);
    assert!(after.iter().all(|size| *size <= 100));
    assert_eq!(world.take_log().lines().count(), 2, "one slice lost ten, one got one");
}

#[test]
fn additions_come_before_removals() {
    let mut world = World::new(&[SERVICE.to_owned(), pod("a", "10.0.0.1", 8080, "")].concat());
    world.settle(&[&EndpointSliceController]);
    world.take_log();
    // The target port moves: the new slice is there before the old one goes.
    world.remove(Kind::Pod, "default/a");
    world.apply(&pod("b", "10.0.0.2", 9999, ""));
    world.settle(&[&EndpointSliceController]);
    expect![[r#"
        create endpointslices default/web-* -> web-2
        delete endpointslices default/web-1
    "#]]
    .assert_eq(&world.take_log());
}

#[test]
fn a_strangers_slice_is_left_alone() {
    let manual = "
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: manual, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
endpoints: [{addresses: [192.0.2.1]}]
";
    check(
        &[SERVICE, manual].concat(),
        expect![[r#"
        manual IPv4 
          192.0.2.1 @? - - - 
        web-1 IPv4 
    "#]],
    );
}

#[test]
fn a_relabelled_pod_concerns_both_services() {
    let other = SERVICE.replace("name: web,", "name: other,").replace("{app: web}", "{app: other}");
    let mut world = World::new(&[SERVICE, "---", &other, &pod("a", "10.0.0.1", 8080, "")].concat());
    let before = world.view.clone();
    world.patch(Kind::Pod, "default/a", json!({"metadata": {"labels": {"app": "other"}}}));
    expect!["default/other default/web"].assert_eq(&keys(&EndpointSliceController, &before, &world.view).join(" "));
}

#[test]
fn traffic_distribution_hints_at_zones_and_nodes() {
    const NODES: &str = "
---
apiVersion: v1
kind: Node
metadata: {name: n1, labels: {topology.kubernetes.io/zone: east}}
";
    let pods = [pod("ready", "10.0.0.1", 8080, ""), pod("unready", "10.0.0.2", 8080, "").replace("'True'", "'False'")];
    let yaml = |preference: &str, nodes: &str| {
        let service = SERVICE.replace("spec:", &format!("spec:\n  trafficDistribution: {preference}"));
        [&service, nodes, &pods.concat()].concat()
    };
    check(
        &yaml("PreferClose", NODES),
        expect![[r#"
        web-1 IPv4 http:8080 metrics:9090
          10.0.0.1 ready@n1 ready serving -  zone=east
          10.0.0.2 unready@n1 - - - 
    "#]],
    );
    check(
        &yaml("PreferSameZone", ""),
        expect![[r#"
        web-1 IPv4 http:8080 metrics:9090
          10.0.0.1 ready@n1 ready serving - 
          10.0.0.2 unready@n1 - - - 
    "#]],
    );
    check(
        &yaml("PreferSameNode", NODES),
        expect![[r#"
        web-1 IPv4 http:8080 metrics:9090
          10.0.0.1 ready@n1 ready serving -  zone=east node=n1
          10.0.0.2 unready@n1 - - - 
    "#]],
    );
}
