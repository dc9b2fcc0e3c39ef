use expect_test::expect;

use super::*;
use crate::testing::World;

const NAMESPACE: &str = "
apiVersion: v1
kind: Namespace
metadata: {name: shop, deletionTimestamp: '2026-01-01T00:00:00Z'}
spec: {finalizers: [kubernetes]}
";

fn object(kind: &str, name: &str, more: &str) -> String {
    format!("---\n{{apiVersion: v1, kind: {kind}, metadata: {{name: {name}, namespace: shop{more}}}}}\n")
}

#[test]
fn pods_first_then_the_rest_then_the_namespace() {
    let yaml = [
        NAMESPACE.to_owned(),
        object("Pod", "p", ""),
        object("Secret", "s", ""),
        object("ServiceAccount", "default", ""),
        object("ConfigMap", "held", ", finalizers: [x/y]"),
    ];
    let mut world = World::new(&yaml.concat());
    world.settle(&[&NamespaceController]);
    world.log += "-- the node lets the pod go\n";
    world.run_pods();
    world.settle(&[&NamespaceController]);
    world.log += "-- somebody releases the config map\n";
    world.remove(Kind::ConfigMap, "shop/held");
    world.settle(&[&NamespaceController]);
    expect![[r#"
        delete pods shop/p
        patch status namespaces shop {"status":{"conditions":[{"lastTransitionTime":"2026-01-01T00:00:00Z","message":"All resources successfully discovered","reason":"ResourcesDiscovered","status":"False","type":"NamespaceDeletionDiscoveryFailure"},{"lastTransitionTime":"2026-01-01T00:00:00Z","message":"All legacy kube types successfully parsed","reason":"ParsedGroupVersions","status":"False","type":"NamespaceDeletionGroupVersionParsingFailure"},{"lastTransitionTime":"2026-01-01T00:00:00Z","message":"All content successfully deleted, may be waiting on finalization","reason":"ContentDeleted","status":"False","type":"NamespaceDeletionContentFailure"},{"lastTransitionTime":"2026-01-01T00:00:00Z","message":"Some resources are remaining: pods. has 1 resource instances, configmaps. has 1 resource instances, secrets. has 1 resource instances, serviceaccounts. has 1 resource instances","reason":"SomeResourcesRemain","status":"True","type":"NamespaceContentRemaining"},{"lastTransitionTime":"2026-01-01T00:00:00Z","message":"Some content in the namespace has finalizers remaining: x/y in 1 resource instances","reason":"SomeFinalizersRemain","status":"True","type":"NamespaceFinalizersRemaining"}]}}
        -- the node lets the pod go
        delete configmaps shop/held
        delete secrets shop/s
        delete serviceaccounts shop/default
        patch status namespaces shop {"status":{"conditions":[{"lastTransitionTime":"2026-01-01T00:00:00Z","message":"All resources successfully discovered","reason":"ResourcesDiscovered","status":"False","type":"NamespaceDeletionDiscoveryFailure"},{"lastTransitionTime":"2026-01-01T00:00:00Z","message":"All legacy kube types successfully parsed","reason":"ParsedGroupVersions","status":"False","type":"NamespaceDeletionGroupVersionParsingFailure"},{"lastTransitionTime":"2026-01-01T00:00:00Z","message":"All content successfully deleted, may be waiting on finalization","reason":"ContentDeleted","status":"False","type":"NamespaceDeletionContentFailure"},{"lastTransitionTime":"2026-01-01T00:00:00Z","message":"Some resources are remaining: configmaps. has 1 resource instances, secrets. has 1 resource instances, serviceaccounts. has 1 resource instances","reason":"SomeResourcesRemain","status":"True","type":"NamespaceContentRemaining"},{"lastTransitionTime":"2026-01-01T00:00:00Z","message":"Some content in the namespace has finalizers remaining: x/y in 1 resource instances","reason":"SomeFinalizersRemain","status":"True","type":"NamespaceFinalizersRemaining"}]}}
        patch status namespaces shop {"status":{"conditions":[{"lastTransitionTime":"2026-01-01T00:00:00Z","message":"All resources successfully discovered","reason":"ResourcesDiscovered","status":"False","type":"NamespaceDeletionDiscoveryFailure"},{"lastTransitionTime":"2026-01-01T00:00:00Z","message":"All legacy kube types successfully parsed","reason":"ParsedGroupVersions","status":"False","type":"NamespaceDeletionGroupVersionParsingFailure"},{"lastTransitionTime":"2026-01-01T00:00:00Z","message":"All content successfully deleted, may be waiting on finalization","reason":"ContentDeleted","status":"False","type":"NamespaceDeletionContentFailure"},{"lastTransitionTime":"2026-01-01T00:00:00Z","message":"Some resources are remaining: configmaps. has 1 resource instances","reason":"SomeResourcesRemain","status":"True","type":"NamespaceContentRemaining"},{"lastTransitionTime":"2026-01-01T00:00:00Z","message":"Some content in the namespace has finalizers remaining: x/y in 1 resource instances","reason":"SomeFinalizersRemain","status":"True","type":"NamespaceFinalizersRemaining"}]}}
        -- somebody releases the config map
        delete all events shop/
        finalize namespaces shop
    "#]].assert_eq(&world.take_log());
}

#[test]
fn a_living_namespace_is_left_alone() {
    let world = World::new(&NAMESPACE.replace(", deletionTimestamp: '2026-01-01T00:00:00Z'", ""));
    expect![[r#""#]].assert_eq(&world.plan(&NamespaceController, "shop"));
}

#[test]
fn it_looks_again_at_what_stays() {
    let held = object("ConfigMap", "held", ", finalizers: [x/y], deletionTimestamp: '2026-01-01T00:00:00Z'");
    let world = World::new(&[NAMESPACE, &held].concat());
    expect![[r#"
        patch status namespaces shop {"status":{"conditions":[{"lastTransitionTime":"2026-01-01T00:00:00Z","message":"All resources successfully discovered","reason":"ResourcesDiscovered","status":"False","type":"NamespaceDeletionDiscoveryFailure"},{"lastTransitionTime":"2026-01-01T00:00:00Z","message":"All legacy kube types successfully parsed","reason":"ParsedGroupVersions","status":"False","type":"NamespaceDeletionGroupVersionParsingFailure"},{"lastTransitionTime":"2026-01-01T00:00:00Z","message":"All content successfully deleted, may be waiting on finalization","reason":"ContentDeleted","status":"False","type":"NamespaceDeletionContentFailure"},{"lastTransitionTime":"2026-01-01T00:00:00Z","message":"Some resources are remaining: configmaps. has 1 resource instances","reason":"SomeResourcesRemain","status":"True","type":"NamespaceContentRemaining"},{"lastTransitionTime":"2026-01-01T00:00:00Z","message":"Some content in the namespace has finalizers remaining: x/y in 1 resource instances","reason":"SomeFinalizersRemain","status":"True","type":"NamespaceFinalizersRemaining"}]}}
        again in 5s
    "#]].assert_eq(&world.plan(&NamespaceController, "shop"));
}

#[test]
fn the_last_look_is_over_every_kind() {
    let world = World::new(NAMESPACE);
    let plan = NamespaceController.reconcile(&Key::cluster("shop"), &world.view, world.now);
    let gone = plan.writes.iter().find_map(|write| match &write.action {
        reconcile::Action::Finalize { gone, .. } => Some(gone.iter().map(Gvr::qualified).collect::<Vec<_>>().join(" ")),
        _ => None,
    });
    expect!["pods services endpoints endpointslices.discovery.k8s.io configmaps secrets serviceaccounts leases.coordination.k8s.io deployments.apps replicasets.apps networkpolicies.networking.k8s.io events"].assert_eq(&gone.expect("it is finalized"));
}
