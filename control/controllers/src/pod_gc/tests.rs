use expect_test::expect;

use super::*;
use crate::testing::World;

const POD: &str = "
apiVersion: v1
kind: Pod
metadata: {name: p}
spec: {nodeName: n1, containers: []}
status: {phase: Running}
";

#[test]
fn pods_of_a_vanished_node_go_after_a_while() {
    let mut world = World::new(POD);
    world.settle(&[&PodGarbageCollector]);
    world.log += &world.plan(&PodGarbageCollector, "default/p");
    world.sleep(40);
    world.settle(&[&PodGarbageCollector]);
    expect![[r#"
        patch status pods default/p {"status":{"conditions":[{"lastTransitionTime":"2026-01-01T00:00:00Z","message":"PodGC: node no longer exists","reason":"DeletionByPodGC","status":"True","type":"DisruptionTarget"}]}}
        again in 40s
        delete pods default/p grace 0
    "#]].assert_eq(&world.take_log());
}

#[test]
fn a_node_that_returns_keeps_its_pods() {
    let mut world = World::new(POD);
    world.settle(&[&PodGarbageCollector]);
    world.apply("{apiVersion: v1, kind: Node, metadata: {name: n1}}");
    world.settle(&[&PodGarbageCollector]);
    world.sleep(100);
    world.settle(&[&PodGarbageCollector]);
    expect![[r#"
        patch status pods default/p {"status":{"conditions":[{"lastTransitionTime":"2026-01-01T00:00:00Z","message":"PodGC: node no longer exists","reason":"DeletionByPodGC","status":"True","type":"DisruptionTarget"}]}}
        patch status pods default/p {"status":{"conditions":[]}}
    "#]].assert_eq(&world.take_log());
}

#[test]
fn a_pod_deleted_before_it_had_a_node_goes_at_once() {
    let pod =
        POD.replace("nodeName: n1, ", "").replace("name: p", "name: p, deletionTimestamp: '2026-01-01T00:00:00Z'");
    expect![[r#"
        delete pods default/p grace 0
    "#]]
    .assert_eq(&World::new(&pod).plan(&PodGarbageCollector, "default/p"));
}
