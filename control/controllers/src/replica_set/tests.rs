use expect_test::{Expect, expect};
use serde_json::json;

use super::*;
use crate::testing::{World, keys};

const SET: &str = r#"
apiVersion: apps/v1
kind: ReplicaSet
metadata: {name: web}
spec:
  replicas: 3
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}, annotations: {note: hi}}
    spec: {containers: [{name: c, image: i}]}
"#;

fn pod(name: &str, more: &str) -> String {
    format!(
        "
---
apiVersion: v1
kind: Pod
metadata: {{name: {name}, labels: {{app: web}}, ownerReferences: [{{apiVersion: apps/v1, kind: ReplicaSet, name: web, uid: uid-web, controller: true}}]}}
{more}"
    )
}

fn ready(name: &str, node: &str, since: &str) -> String {
    pod(
        name,
        &format!(
            "spec: {{nodeName: {node}, containers: []}}
status: {{phase: Running, conditions: [{{type: Ready, status: 'True', lastTransitionTime: '{since}'}}]}}"
        ),
    )
}

fn check(yaml: &str, expected: Expect) {
    expected.assert_eq(&World::new(yaml).plan(&ReplicaSetController, "default/web"));
}

#[test]
fn creates_what_is_missing() {
    check(
        SET,
        expect![[r#"
        create pods default/web-*
          [Normal ReplicaSet/web SuccessfulCreate] Created pod: {}
        create pods default/web-*
          [Normal ReplicaSet/web SuccessfulCreate] Created pod: {}
        create pods default/web-*
          [Normal ReplicaSet/web SuccessfulCreate] Created pod: {}
        status replicasets default/web
    "#]],
    );
}

#[test]
fn creates_follow_the_template() {
    let mut world = World::new(SET);
    world.settle(&[&ReplicaSetController]);
    let pod = world.view.list::<Pod>("default").next().expect("a pod");
    let mut meta = pod.metadata.clone();
    (meta.creation_timestamp, meta.resource_version) = (None, None);
    expect![[r#"
        {
          "annotations": {
            "note": "hi"
          },
          "generateName": "web-",
          "generation": 1,
          "labels": {
            "app": "web"
          },
          "name": "web-1",
          "namespace": "default",
          "ownerReferences": [
            {
              "apiVersion": "apps/v1",
              "blockOwnerDeletion": true,
              "controller": true,
              "kind": "ReplicaSet",
              "name": "web",
              "uid": "uid-web"
            }
          ],
          "uid": "uid-web-1-1"
        }"#]]
    .assert_eq(&serde_json::to_string_pretty(&meta).expect("JSON"));
    expect![[r#"
        create pods default/web-* -> web-1
          [Normal ReplicaSet/web SuccessfulCreate] Created pod: web-1
        create pods default/web-* -> web-2
          [Normal ReplicaSet/web SuccessfulCreate] Created pod: web-2
        create pods default/web-* -> web-3
          [Normal ReplicaSet/web SuccessfulCreate] Created pod: web-3
    "#]]
    .assert_eq(&world.take_log());
}

#[test]
fn deletes_the_least_useful_first() {
    let pods = [
        SET.replace("replicas: 3", "replicas: 1"),
        ready("old", "n1", "2025-12-01T00:00:00Z"),
        ready("young", "n2", "2025-12-31T23:59:00Z"),
        ready("crowded", "n1", "2025-12-01T00:00:00Z"),
        pod("unbound", "status: {phase: Pending}"),
        pod("pending", "spec: {nodeName: n3, containers: []}\nstatus: {phase: Pending}"),
    ];
    check(
        &pods.concat(),
        expect![[r#"
        delete pods default/unbound
          [Normal ReplicaSet/web SuccessfulDelete] Deleted pod: {}
        delete pods default/pending
          [Normal ReplicaSet/web SuccessfulDelete] Deleted pod: {}
        delete pods default/crowded
          [Normal ReplicaSet/web SuccessfulDelete] Deleted pod: {}
        delete pods default/old
          [Normal ReplicaSet/web SuccessfulDelete] Deleted pod: {}
        status replicasets default/web
    "#]],
    );
}

#[test]
fn deletion_cost_counts_before_age() {
    let cheap = ready("cheap", "n1", "2025-12-01T00:00:00Z")
        .replace("labels:", "annotations: {controller.kubernetes.io/pod-deletion-cost: '-5'}, labels:");
    let pods = [SET.replace("replicas: 3", "replicas: 1"), cheap, ready("young", "n2", "2025-12-31T23:59:00Z")];
    check(
        &pods.concat(),
        expect![[r#"
        delete pods default/cheap
          [Normal ReplicaSet/web SuccessfulDelete] Deleted pod: {}
        status replicasets default/web
    "#]],
    );
}

#[test]
fn adopts_orphans_and_releases_strangers() {
    let orphan = "
---
apiVersion: v1
kind: Pod
metadata: {name: orphan, labels: {app: web}}
---
apiVersion: v1
kind: Pod
metadata: {name: foreign, labels: {app: web}, ownerReferences: [{apiVersion: v1, kind: Job, name: j, uid: uid-j, controller: true}]}
";
    let relabelled = pod("relabelled", "").replace("{app: web}", "{app: other}");
    check(
        &[SET, orphan, &relabelled].concat(),
        expect![[r#"
        patch pods default/orphan {"metadata":{"ownerReferences":[{"apiVersion":"apps/v1","blockOwnerDeletion":true,"controller":true,"kind":"ReplicaSet","name":"web","uid":"uid-web"}]}}
        patch pods default/relabelled {"metadata":{"ownerReferences":[]}}
        create pods default/web-*
          [Normal ReplicaSet/web SuccessfulCreate] Created pod: {}
        create pods default/web-*
          [Normal ReplicaSet/web SuccessfulCreate] Created pod: {}
        status replicasets default/web
    "#]],
    );
}

#[test]
fn ended_and_terminating_pods_are_replaced() {
    let ended = pod("ended", "status: {phase: Failed}");
    let leaving = pod("leaving", "status: {phase: Running}")
        .replace("labels:", "deletionTimestamp: '2026-01-01T00:00:00Z', labels:");
    let mut world = World::new(&[SET, &ended, &leaving].concat());
    world.settle(&[&ReplicaSetController]);
    expect![[r#"
        create pods default/web-* -> web-1
          [Normal ReplicaSet/web SuccessfulCreate] Created pod: web-1
        create pods default/web-* -> web-2
          [Normal ReplicaSet/web SuccessfulCreate] Created pod: web-2
        create pods default/web-* -> web-3
          [Normal ReplicaSet/web SuccessfulCreate] Created pod: web-3
    "#]]
    .assert_eq(&world.take_log());
    let set = world.view.get::<ReplicaSet>("default", "web").expect("the set");
    expect![[r#"{"fullyLabeledReplicas":3,"observedGeneration":1,"replicas":3,"terminatingReplicas":1}"#]]
        .assert_eq(&json!(set.status).to_string());
}

#[test]
fn available_after_min_ready_seconds() {
    let set = SET
        .replace("replicas: 3", "replicas: 1")
        .replace("spec:\n  replicas", "spec:\n  minReadySeconds: 30\n  replicas");
    let mut world = World::new(&[set, ready("a", "n1", "2026-01-01T00:00:00Z")].concat());
    let status = |world: &mut World| {
        let plan = world.plan(&ReplicaSetController, "default/web");
        world.settle(&[&ReplicaSetController]);
        let set = world.view.get::<ReplicaSet>("default", "web").expect("the set");
        format!("{plan}{}\n", json!(set.status))
    };
    let mut text = status(&mut world);
    world.sleep(30);
    text += &status(&mut world);
    expect![[r#"
        status replicasets default/web
        again in 30s
        {"fullyLabeledReplicas":1,"observedGeneration":1,"readyReplicas":1,"replicas":1,"terminatingReplicas":0}
        status replicasets default/web
        {"availableReplicas":1,"fullyLabeledReplicas":1,"observedGeneration":1,"readyReplicas":1,"replicas":1,"terminatingReplicas":0}
    "#]].assert_eq(&text);
}

#[test]
fn a_set_being_deleted_makes_no_pods() {
    let set = SET.replace("name: web}", "name: web, deletionTimestamp: '2026-01-01T00:00:00Z', finalizers: [x]}");
    check(
        &set,
        expect![[r#"
        status replicasets default/web
    "#]],
    );
}

#[test]
fn a_pod_concerns_its_controller_or_who_may_adopt_it() {
    let mut world = World::new(SET);
    let before = world.view.clone();
    world.apply(&pod("mine", ""));
    world.apply("{apiVersion: v1, kind: Pod, metadata: {name: orphan, labels: {app: web}}}");
    world.apply("{apiVersion: v1, kind: Pod, metadata: {name: other, labels: {app: other}}}");
    expect!["default/web"].assert_eq(&keys(&ReplicaSetController, &before, &world.view).join(" "));
}

#[test]
fn bursts_are_bounded() {
    let set = World::new(&SET.replace("replicas: 3", "replicas: 2000"));
    let plan = ReplicaSetController.reconcile(&Key::new("default", "web"), &set.view, set.now);
    assert_eq!(plan.writes.len(), MAX_BURST + 1, "creates and the status");
}
