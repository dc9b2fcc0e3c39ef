use expect_test::expect;
use serde_json::json;

use super::*;
use crate::testing::World;

const NODE: &str = "
apiVersion: v1
kind: Node
metadata: {name: n1}
spec: {taints: [{key: mine, effect: NoSchedule}]}
status: {conditions: [{type: Ready, status: 'True', reason: KubeletReady}, {type: DiskPressure, status: 'False'}]}
---
apiVersion: coordination.k8s.io/v1
kind: Lease
metadata: {name: n1, namespace: kube-node-lease}
spec: {renewTime: '2026-01-01T00:00:00.000000Z'}
---
apiVersion: v1
kind: Pod
metadata: {name: p}
spec: {nodeName: n1, containers: []}
status: {phase: Running, conditions: [{type: Ready, status: 'True'}]}
";

fn controller() -> NodeLifecycleController {
    NodeLifecycleController { started: Timestamp::UNIX_EPOCH }
}

fn conditions(world: &World) -> String {
    let node = world.view.get::<Node>("", "n1").expect("the node");
    let pod = world.view.get::<Pod>("default", "p").expect("the pod");
    let node: Vec<String> = node
        .status
        .iter()
        .flat_map(|status| status.conditions.iter().flatten())
        .map(|condition| format!("{}={} ", condition.type_, condition.status))
        .collect();
    format!("{}| pod ready: {}\n", node.concat(), crate::pods::is_ready(&pod))
}

#[test]
fn a_node_that_is_heard_of_is_left_alone() {
    let mut world = World::new(NODE);
    world.sleep(39);
    expect![[r#"
        again in 1s
    "#]]
    .assert_eq(&world.plan(&controller(), "n1"));
}

#[test]
fn a_silent_node_is_unknown_and_tainted_and_comes_back() {
    let mut world = World::new(NODE);
    world.sleep(40);
    world.settle(&[&controller()]);
    let mut text = world.take_log() + &conditions(&world);
    world.patch(Kind::Lease, "kube-node-lease/n1", json!({"spec": {"renewTime": "2026-01-01T00:01:00.000000Z"}}));
    let ready = json!({"status": {"conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady"}]}});
    world.patch(Kind::Node, "n1", ready);
    world.settle(&[&controller()]);
    text += "-- the node is back\n";
    text += &world.take_log();
    text += &conditions(&world);
    expect![[r#"
        patch nodes n1 {"spec":{"taints":[{"effect":"NoSchedule","key":"mine"},{"effect":"NoSchedule","key":"node.kubernetes.io/unreachable","timeAdded":"2026-01-01T00:00:40Z"},{"effect":"NoExecute","key":"node.kubernetes.io/unreachable","timeAdded":"2026-01-01T00:00:40Z"}]}}
        Ready=Unknown DiskPressure=Unknown MemoryPressure=Unknown PIDPressure=Unknown | pod ready: false
        -- the node is back
        patch nodes n1 {"spec":{"taints":[{"effect":"NoSchedule","key":"mine"}]}}
        Ready=True | pod ready: false
    "#]].assert_eq(&text);
}

#[test]
fn a_control_plane_that_was_away_gives_every_node_its_grace() {
    let mut world = World::new(NODE);
    world.sleep(3600);
    let started = world.now;
    world.sleep(5);
    expect![[r#"
        again in 35s
    "#]]
    .assert_eq(&world.plan(&NodeLifecycleController { started }, "n1"));
}

#[test]
fn taints_follow_conditions() {
    let mut world = World::new(NODE);
    let status = json!({"spec": {"unschedulable": true}, "status": {"conditions": [
        {"type": "Ready", "status": "False"}, {"type": "DiskPressure", "status": "True"},
    ]}});
    world.patch(Kind::Node, "n1", status);
    world.settle(&[&controller()]);
    world.log += "-- all is well\n";
    world.patch(
        Kind::Node,
        "n1",
        json!({"spec": {"unschedulable": null}, "status": {"conditions": [{"type": "Ready", "status": "True"}]}}),
    );
    world.settle(&[&controller()]);
    expect![[r#"
        patch nodes n1 {"spec":{"taints":[{"effect":"NoSchedule","key":"mine"},{"effect":"NoSchedule","key":"node.kubernetes.io/not-ready","timeAdded":"2026-01-01T00:00:00Z"},{"effect":"NoExecute","key":"node.kubernetes.io/not-ready","timeAdded":"2026-01-01T00:00:00Z"},{"effect":"NoSchedule","key":"node.kubernetes.io/unschedulable","timeAdded":"2026-01-01T00:00:00Z"},{"effect":"NoSchedule","key":"node.kubernetes.io/disk-pressure","timeAdded":"2026-01-01T00:00:00Z"}]}}
        -- all is well
        patch nodes n1 {"spec":{"taints":[{"effect":"NoSchedule","key":"mine"}]}}
    "#]].assert_eq(&world.take_log());
}

#[test]
fn a_node_that_never_spoke() {
    let mut world = World::new("{apiVersion: v1, kind: Node, metadata: {name: n1}}");
    world.settle(&[&controller()]);
    world.sleep(41);
    world.log += "-- later\n";
    world.settle(&[&controller()]);
    expect![[r#"
        patch nodes n1 {"spec":{"taints":[{"effect":"NoSchedule","key":"node.kubernetes.io/not-ready","timeAdded":"2026-01-01T00:00:00Z"}]}}
        -- later
        patch nodes n1 {"spec":{"taints":[{"effect":"NoSchedule","key":"node.kubernetes.io/unreachable","timeAdded":"2026-01-01T00:00:41Z"},{"effect":"NoExecute","key":"node.kubernetes.io/unreachable","timeAdded":"2026-01-01T00:00:41Z"}]}}
    "#]].assert_eq(&world.take_log());
}
