//! What the control loops decode: of many pods, only those that a decision is about.

use std::collections::BTreeSet;

use api::Key;
use cache::{Kind, Object, Ready, View};
use reconcile::Controller;
use serde_json::{Value, json};

use crate::testing::World;

const SETS: usize = 20;
const PODS: usize = 10;

/// Twenty Services and ReplicaSets of ten pods each on ten nodes, settled; read anew, so that nothing is decoded.
fn world() -> World {
    let mut yaml = String::from("---\napiVersion: v1\nkind: Namespace\nmetadata: {name: default}\n");
    for node in 0..10 {
        yaml += &format!(
            "---\napiVersion: v1\nkind: Node\nmetadata: {{name: n{node}}}\nspec: {{podCIDR: 10.0.{node}.0/24}}\n\
             status: {{conditions: [{{type: Ready, status: 'True'}}]}}\n"
        );
    }
    for set in 0..SETS {
        yaml += &format!(
            "---\napiVersion: v1\nkind: Service\nmetadata: {{name: s{set}}}\n\
             spec: {{selector: {{app: a{set}}}, ports: [{{port: 80}}]}}\n\
             ---\napiVersion: apps/v1\nkind: ReplicaSet\nmetadata: {{name: r{set}}}\n\
             spec: {{replicas: {PODS}, selector: {{matchLabels: {{app: a{set}}}}}, template: {{metadata: {{labels: \
             {{app: a{set}, tier: x}}}}, spec: {{containers: [{{name: c}}]}}}}}}\n"
        );
    }
    let mut world = World::new(&yaml);
    settle(&mut world);
    for (index, key) in world.view.tables.keys(Kind::Pod, None).iter().enumerate() {
        let ready = json!({"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"});
        let ip = format!("10.0.{}.{}", index % 10, index / 10 + 1);
        let status = json!({"phase": "Running", "podIP": ip, "conditions": [ready]});
        world.patch(
            Kind::Pod,
            &key.to_string(),
            json!({"spec": {"nodeName": format!("n{}", index % 10)}, "status": status}),
        );
    }
    settle(&mut world);
    world.view = anew(&world.view);
    world
}

fn loops() -> Vec<Box<dyn Controller>> {
    let config =
        crate::Config { cluster_cidrs: Vec::new(), ca_pem: String::new(), started: jiff::Timestamp::UNIX_EPOCH };
    // The runners of these two do without a View.
    let left_out = ["garbage-collector-controller", "namespace-controller"];
    crate::all(&config).into_iter().filter(|one| !left_out.contains(&one.name())).collect()
}

fn settle(world: &mut World) {
    let loops = loops();
    world.settle(&loops.iter().map(AsRef::as_ref).collect::<Vec<_>>());
}

fn anew(view: &View) -> View {
    let mut fresh = View::default();
    for object in Kind::ALL.iter().flat_map(|kind| view.tables.all(*kind)) {
        let bytes = serde_json::to_vec(&object.to_value()).expect("JSON");
        fresh.insert(Object::decode(object.kind(), &bytes, object.revision()).expect("it was one"));
    }
    fresh.revision = view.revision;
    fresh
}

/// Lets every controller look at what differs from `old`; names of the pods that were decoded for it.
fn look(world: &World, old: &View) -> BTreeSet<String> {
    for controller in loops() {
        let changes = world.view.changes_since(old);
        let keys: BTreeSet<Key> = changes.flat_map(|change| controller.keys(&change, &world.view)).collect();
        for key in keys {
            let plan = controller.reconcile(&key, &world.view, world.now);
            assert!(plan.writes.is_empty(), "{} {key}: {:?}", controller.name(), plan.writes);
        }
    }
    decoded(&world.view, Kind::Pod)
}

fn decoded(view: &View, kind: Kind) -> BTreeSet<String> {
    view.tables.all(kind).filter(|object| object.was_decoded()).map(|object| object.name().to_owned()).collect()
}

fn touch(world: &mut World, pod: &str, patch: Value) {
    world.patch(Kind::Pod, &format!("default/{pod}"), patch);
}

#[test]
fn of_a_change_of_one_pod_nobody_decodes_any_pod() {
    let mut world = world();
    let (old, pod) = (world.view.clone(), world.view.tables.keys(Kind::Pod, None)[0].name.clone());
    touch(&mut world, &pod, json!({"metadata": {"annotations": {"a": "b"}}}));
    assert_eq!(look(&world, &old), BTreeSet::new());
    assert_eq!(decoded(&world.view, Kind::ReplicaSet).len(), 1);
    assert_eq!(decoded(&world.view, Kind::Service).len(), 1);
}

#[test]
fn at_the_start_nobody_decodes_a_pod() {
    let world = world();
    assert_eq!(look(&world, &View::default()), BTreeSet::new());
    assert!(world.view.tables.all(Kind::Pod).all(|pod| matches!(pod.ready(), Ready::Yes(_))));
    assert_eq!(world.view.tables.count(Kind::Pod), SETS * PODS);
}
