use expect_test::expect;
use serde_json::json;

use super::*;
use crate::testing::World;

#[test]
fn a_role_follows_its_parts() {
    let mut world = World::new(
        r#"
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: whole}
aggregationRule: {clusterRoleSelectors: [{matchLabels: {part: "yes"}}]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: b, labels: {part: "yes"}}
rules: [{apiGroups: [""], resources: [pods], verbs: [get]}, {apiGroups: [""], resources: [nodes], verbs: [get]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: a, labels: {part: "yes"}}
rules: [{apiGroups: [""], resources: [nodes], verbs: [get]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: other}
rules: [{apiGroups: ["*"], resources: ["*"], verbs: ["*"]}]
"#,
    );
    world.settle(&[&ClusterRoleAggregationController]);
    let resources = |world: &World| {
        let role = world.view.get::<ClusterRole>("", "whole").expect("it is there");
        let rules = role.rules.clone().unwrap_or_default();
        rules.into_iter().flat_map(|rule| rule.resources.unwrap_or_default()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(resources(&world), "nodes pods");
    world.patch(Kind::ClusterRole, "b", json!({"metadata": {"labels": null}}));
    world.settle(&[&ClusterRoleAggregationController]);
    assert_eq!(resources(&world), "nodes");
    expect![[r#"
        patch clusterroles whole {"rules":[{"apiGroups":[""],"resources":["nodes"],"verbs":["get"]},{"apiGroups":[""],"resources":["pods"],"verbs":["get"]}]}
        patch clusterroles whole {"rules":[{"apiGroups":[""],"resources":["nodes"],"verbs":["get"]}]}
    "#]]
    .assert_eq(&world.take_log());
}
