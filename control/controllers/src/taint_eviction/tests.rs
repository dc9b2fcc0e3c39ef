use expect_test::{Expect, expect};

use super::*;
use crate::testing::World;

const NODE: &str = "
apiVersion: v1
kind: Node
metadata: {name: n1}
spec: {taints: [{key: node.kubernetes.io/unreachable, effect: NoExecute, timeAdded: '2026-01-01T00:00:00Z'}]}
---
";

fn pod(tolerations: &str) -> String {
    format!(
        "
apiVersion: v1
kind: Pod
metadata: {{name: p}}
spec: {{nodeName: n1, containers: [], tolerations: [{tolerations}]}}
status: {{phase: Running}}
"
    )
}

fn check(node: &str, tolerations: &str, seconds: i64, expected: Expect) {
    let mut world = World::new(&[node, &pod(tolerations)].concat());
    world.sleep(seconds);
    let plan = world.plan(&TaintEvictionController, "default/p");
    world.settle(&[&TaintEvictionController]);
    expected.assert_eq(&(plan + "-- in all\n" + &world.take_log()));
}

#[test]
fn a_pod_without_tolerations_stays_five_minutes() {
    check(
        NODE,
        "",
        10,
        expect![[r#"
        again in 290s
        -- in all
    "#]],
    );
    check(
        NODE,
        "",
        300,
        expect![[r#"
        patch status pods default/p {"status":{"conditions":[{"lastTransitionTime":"2026-01-01T00:05:00Z","message":"Taint manager: deleting due to NoExecute taint","reason":"DeletionByTaintManager","status":"True","type":"DisruptionTarget"}]}}
        -- in all
        patch status pods default/p {"status":{"conditions":[{"lastTransitionTime":"2026-01-01T00:05:00Z","message":"Taint manager: deleting due to NoExecute taint","reason":"DeletionByTaintManager","status":"True","type":"DisruptionTarget"}]}}
        delete pods default/p
          [Normal Pod/p TaintManagerEviction] Marking for deletion Pod default/p
    "#]],
    );
}

#[test]
fn the_shortest_toleration_counts() {
    let tolerations = "{operator: Exists, tolerationSeconds: 60}, \
        {key: node.kubernetes.io/unreachable, operator: Exists, effect: NoExecute, tolerationSeconds: 20}";
    check(
        NODE,
        tolerations,
        10,
        expect![[r#"
        again in 10s
        -- in all
    "#]],
    );
    check(
        NODE,
        tolerations,
        20,
        expect![[r#"
        patch status pods default/p {"status":{"conditions":[{"lastTransitionTime":"2026-01-01T00:00:20Z","message":"Taint manager: deleting due to NoExecute taint","reason":"DeletionByTaintManager","status":"True","type":"DisruptionTarget"}]}}
        -- in all
        patch status pods default/p {"status":{"conditions":[{"lastTransitionTime":"2026-01-01T00:00:20Z","message":"Taint manager: deleting due to NoExecute taint","reason":"DeletionByTaintManager","status":"True","type":"DisruptionTarget"}]}}
        delete pods default/p
          [Normal Pod/p TaintManagerEviction] Marking for deletion Pod default/p
    "#]],
    );
}

#[test]
fn tolerated_for_ever() {
    check(
        NODE,
        "{operator: Exists}",
        100_000,
        expect![[r#"
        -- in all
    "#]],
    );
}

#[test]
fn a_users_taint_drives_out_at_once() {
    let node = NODE.replace("node.kubernetes.io/unreachable", "drain");
    check(
        &node,
        "",
        0,
        expect![[r#"
        patch status pods default/p {"status":{"conditions":[{"lastTransitionTime":"2026-01-01T00:00:00Z","message":"Taint manager: deleting due to NoExecute taint","reason":"DeletionByTaintManager","status":"True","type":"DisruptionTarget"}]}}
        -- in all
        patch status pods default/p {"status":{"conditions":[{"lastTransitionTime":"2026-01-01T00:00:00Z","message":"Taint manager: deleting due to NoExecute taint","reason":"DeletionByTaintManager","status":"True","type":"DisruptionTarget"}]}}
        delete pods default/p
          [Normal Pod/p TaintManagerEviction] Marking for deletion Pod default/p
    "#]],
    );
    check(
        &node,
        "{key: other, operator: Exists}",
        0,
        expect![[r#"
        patch status pods default/p {"status":{"conditions":[{"lastTransitionTime":"2026-01-01T00:00:00Z","message":"Taint manager: deleting due to NoExecute taint","reason":"DeletionByTaintManager","status":"True","type":"DisruptionTarget"}]}}
        -- in all
        patch status pods default/p {"status":{"conditions":[{"lastTransitionTime":"2026-01-01T00:00:00Z","message":"Taint manager: deleting due to NoExecute taint","reason":"DeletionByTaintManager","status":"True","type":"DisruptionTarget"}]}}
        delete pods default/p
          [Normal Pod/p TaintManagerEviction] Marking for deletion Pod default/p
    "#]],
    );
}
