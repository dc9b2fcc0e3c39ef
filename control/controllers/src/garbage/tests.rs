use expect_test::{Expect, expect};

use super::*;
use crate::testing::{World, keys};

fn object(kind: &str, name: &str, more: &str) -> String {
    let api_version = if kind == "ReplicaSet" || kind == "Deployment" { "apps/v1" } else { "v1" };
    let spec = if api_version == "v1" { "" } else { "spec: {selector: {matchLabels: {a: b}}, template: {}}" };
    format!("---\napiVersion: {api_version}\nkind: {kind}\nmetadata: {{name: {name}{more}}}\n{spec}\n")
}

fn owned(kind: &str, name: &str, owners: &[(&str, &str)]) -> String {
    let references: Vec<String> = owners
        .iter()
        .map(|(kind, name)| {
            let api_version = if *kind == "Pod" || *kind == "ConfigMap" || *kind == "Node" { "v1" } else { "apps/v1" };
            format!(
                "{{apiVersion: {api_version}, kind: {kind}, name: {name}, uid: uid-{name}, blockOwnerDeletion: true}}"
            )
        })
        .collect();
    object(kind, name, &format!(", ownerReferences: [{}]", references.join(", ")))
}

const DELETING: &str = ", deletionTimestamp: '2026-01-01T00:00:00Z'";

fn check(parts: &[String], expected: Expect) {
    let mut world = World::new(&parts.concat());
    world.settle(&[&GarbageCollector]);
    expected.assert_eq(&world.take_log());
}

#[test]
fn dependents_of_nobody_go() {
    check(
        &[owned("ReplicaSet", "rs", &[("Deployment", "gone")]), owned("Pod", "p", &[("ReplicaSet", "rs")])],
        expect![[r#"
            delete replicasets default/rs Background
            delete pods default/p Background
        "#]],
    );
}

#[test]
fn dependents_of_somebody_stay() {
    check(&[object("ReplicaSet", "rs", ""), owned("Pod", "p", &[("ReplicaSet", "rs")])], expect![[r#""#]]);
}

#[test]
fn an_owner_of_another_uid_is_another_owner() {
    let owner = object("ReplicaSet", "rs", ", uid: uid-new");
    check(
        &[owner, owned("ConfigMap", "c", &[("ReplicaSet", "rs")])],
        expect![[r#"
        delete configmaps default/c Background
    "#]],
    );
}

#[test]
fn one_of_two_owners_gone() {
    let owners = [("ReplicaSet", "rs"), ("ReplicaSet", "gone")];
    check(
        &[object("ReplicaSet", "rs", ""), owned("ConfigMap", "c", &owners)],
        expect![[r#"
        patch configmaps default/c {"metadata":{"ownerReferences":[{"apiVersion":"apps/v1","blockOwnerDeletion":true,"kind":"ReplicaSet","name":"rs","uid":"uid-rs"}]}}
    "#]],
    );
}

#[test]
fn foreground_waits_for_dependents() {
    let owner = object("ReplicaSet", "rs", &format!("{DELETING}, finalizers: [foregroundDeletion]"));
    let mut world = World::new(&[owner, owned("Pod", "p", &[("ReplicaSet", "rs")])].concat());
    world.settle(&[&GarbageCollector]);
    world.log += "-- the node lets the pod go\n";
    let before = world.view.clone();
    world.run_pods();
    expect!["default/apps/replicasets/rs"].assert_eq(&keys(&GarbageCollector, &before, &world.view).join(" "));
    world.settle(&[&GarbageCollector]);
    expect![[r#"
        delete pods default/p Background
        -- the node lets the pod go
        patch replicasets default/rs {"metadata":{"finalizers":[]}}
    "#]]
    .assert_eq(&world.take_log());
    assert_eq!(world.view.tables.count(Kind::ReplicaSet), 0);
}

#[test]
fn foreground_goes_down_the_tree() {
    let deployment = object("Deployment", "d", &format!("{DELETING}, finalizers: [foregroundDeletion]"));
    let set = owned("ReplicaSet", "rs", &[("Deployment", "d")]);
    let mut world = World::new(&[deployment, set, owned("Pod", "p", &[("ReplicaSet", "rs")])].concat());
    for _ in 0..3 {
        world.settle(&[&GarbageCollector]);
        world.log += "-- nodes\n";
        world.run_pods();
    }
    expect![[r#"
        delete replicasets default/rs Foreground
        delete pods default/p Background
        -- nodes
        patch replicasets default/rs {"metadata":{"finalizers":[]}}
        patch deployments default/d {"metadata":{"finalizers":[]}}
        -- nodes
        -- nodes
    "#]]
    .assert_eq(&world.take_log());
    assert_eq!(world.view.tables.count(Kind::Deployment), 0);
}

#[test]
fn orphans_stay() {
    let owner = object("ReplicaSet", "rs", &format!("{DELETING}, finalizers: [orphan, other]"));
    check(
        &[owner, owned("Pod", "p", &[("ReplicaSet", "rs")])],
        expect![[r#"
        patch pods default/p {"metadata":{"ownerReferences":[]}}
        patch replicasets default/rs {"metadata":{"finalizers":["other"]}}
    "#]],
    );
}

#[test]
fn owners_of_unknown_kinds_are_left_in_peace() {
    let owners = ", ownerReferences: [{apiVersion: example.com/v1, kind: Widget, name: w, uid: uid-w}]";
    check(&[object("ConfigMap", "c", owners)], expect![[r#""#]]);
}

#[test]
fn an_owner_in_another_namespace_is_no_owner() {
    let owner = object("ConfigMap", "far", ", namespace: other");
    check(
        &[owner, owned("ConfigMap", "c", &[("ConfigMap", "far")])],
        expect![[r#"
        delete configmaps default/c Background
          [Warning ConfigMap/c OwnerRefInvalidNamespace] ownerRef [v1/ConfigMap, namespace: default, name: far, uid: uid-far] does not exist in namespace "default"
    "#]],
    );
}

#[test]
fn a_node_is_never_collected() {
    check(&[owned("Node", "node", &[("Node", "gone")])], expect![[r#""#]]);
}

#[test]
fn cycles_end() {
    let first = owned("ConfigMap", "a", &[("ConfigMap", "b")])
        .replace("metadata: {", &format!("metadata: {{finalizers: [foregroundDeletion]{DELETING}, "));
    let mut world = World::new(&[first, owned("ConfigMap", "b", &[("ConfigMap", "a")])].concat());
    world.settle(&[&GarbageCollector]);
    expect![[r#"
        patch configmaps default/b {"metadata":{"ownerReferences":[{"apiVersion":"v1","blockOwnerDeletion":false,"kind":"ConfigMap","name":"a","uid":"uid-a"}]}}
        patch configmaps default/a {"metadata":{"finalizers":[]}}
        delete configmaps default/b Background
    "#]].assert_eq(&world.take_log());
    assert_eq!(world.view.tables.count(Kind::ConfigMap), 0);
}

#[test]
fn the_end_of_an_owner_concerns_its_dependents() {
    let mut world = World::new(&[object("ReplicaSet", "rs", ""), owned("Pod", "p", &[("ReplicaSet", "rs")])].concat());
    let before = world.view.clone();
    world.remove(Kind::ReplicaSet, "default/rs");
    expect!["default//pods/p"].assert_eq(&keys(&GarbageCollector, &before, &world.view).join(" "));
}
