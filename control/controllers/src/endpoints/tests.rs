use expect_test::{Expect, expect};
use serde_json::json;

use super::*;
use crate::testing::World;

const SERVICE: &str = r#"
apiVersion: v1
kind: Service
metadata: {name: web, labels: {team: a}}
spec:
  selector: {app: web}
  ports: [{name: http, port: 80, targetPort: http}]
"#;

fn pod(name: &str, ip: &str, ready: &str) -> String {
    format!(
        "
---
apiVersion: v1
kind: Pod
metadata: {{name: {name}, labels: {{app: web}}}}
spec: {{nodeName: n1, containers: [{{name: c, ports: [{{name: http, containerPort: 8080}}]}}]}}
status: {{phase: Running, podIP: {ip}, conditions: [{{type: Ready, status: '{ready}'}}]}}
"
    )
}

fn check(yaml: &str, expected: Expect) {
    let mut world = World::new(yaml);
    world.settle(&[&EndpointsController]);
    let all: Vec<String> = world
        .view
        .all::<Endpoints>()
        .map(|endpoints| {
            serde_json::to_string_pretty(&json!([endpoints.metadata.labels, endpoints.subsets])).expect("JSON")
        })
        .collect();
    expected.assert_eq(&all.join("\n"));
}

#[test]
fn ready_and_not_ready() {
    let leaving = pod("c", "10.0.0.3", "True").replace("labels:", "deletionTimestamp: '2026-01-01T00:00:00Z', labels:");
    let yaml = [SERVICE, &pod("b", "10.0.0.2", "True"), &pod("a", "10.0.0.1", "False"), &leaving];
    check(
        &yaml.concat(),
        expect![[r#"
        [
          {
            "endpoints.kubernetes.io/managed-by": "endpoint-controller",
            "team": "a"
          },
          [
            {
              "addresses": [
                {
                  "ip": "10.0.0.2",
                  "nodeName": "n1",
                  "targetRef": {
                    "kind": "Pod",
                    "name": "b",
                    "namespace": "default",
                    "uid": "uid-b"
                  }
                }
              ],
              "notReadyAddresses": [
                {
                  "ip": "10.0.0.1",
                  "nodeName": "n1",
                  "targetRef": {
                    "kind": "Pod",
                    "name": "a",
                    "namespace": "default",
                    "uid": "uid-a"
                  }
                }
              ],
              "ports": [
                {
                  "name": "http",
                  "port": 8080,
                  "protocol": "TCP"
                }
              ]
            }
          ]
        ]"#]],
    );
}

#[test]
fn without_pods() {
    check(
        SERVICE,
        expect![[r#"
        [
          {
            "endpoints.kubernetes.io/managed-by": "endpoint-controller",
            "team": "a"
          },
          []
        ]"#]],
    );
}

#[test]
fn they_go_with_the_service_if_they_are_ours() {
    let ours = "
---
apiVersion: v1
kind: Endpoints
metadata: {name: web, labels: {endpoints.kubernetes.io/managed-by: endpoint-controller}}
---
apiVersion: v1
kind: Endpoints
metadata: {name: manual}
";
    let world = World::new(ours);
    expect![[r#"
        delete endpoints default/web
    "#]]
    .assert_eq(&world.plan(&EndpointsController, "default/web"));
    expect![[r#""#]].assert_eq(&world.plan(&EndpointsController, "default/manual"));
}

#[test]
fn at_most_a_thousand_addresses() {
    let mut yaml = SERVICE.to_owned();
    for index in 0..1001 {
        yaml += &pod(&format!("p{index}"), &format!("10.0.{}.{}", index / 250, index % 250), "True");
    }
    let mut world = World::new(&yaml);
    world.settle(&[&EndpointsController]);
    let endpoints = world.view.get::<Endpoints>("default", "web").expect("they are there");
    let count = endpoints.subsets.iter().flatten().flat_map(|subset| subset.addresses.iter().flatten()).count();
    assert_eq!(count, MAX_ADDRESSES);
    assert!(endpoints.metadata.annotations.as_ref().is_some_and(|annotations| annotations.contains_key(OVER_CAPACITY)));
}
