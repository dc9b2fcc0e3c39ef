use std::fmt::Write as _;

use expect_test::{Expect, expect};
use serde_json::json;

use super::*;
use crate::replica_set::ReplicaSetController;
use crate::testing::World;

const WEB: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 4
  progressDeadlineSeconds: 600
  revisionHistoryLimit: 10
  selector: {matchLabels: {app: web}}
  strategy: {type: RollingUpdate, rollingUpdate: {maxSurge: 25%, maxUnavailable: 25%}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: c, image: "i:1"}]}
"#;

fn controllers() -> [&'static dyn Controller; 2] {
    [&DeploymentController, &ReplicaSetController]
}

/// Sizes of the ReplicaSets by image (asked, ready), and the conditions of the Deployment.
fn state(world: &World) -> String {
    let mut text = String::new();
    let mut sets: Vec<_> = world.view.list::<ReplicaSet>("default").collect();
    sets.sort_by_key(|set| sets::revision(&set.metadata));
    for set in sets {
        let status = set.status.clone().unwrap_or_default();
        let spec = set.spec.as_ref().and_then(|spec| spec.template.as_ref()?.spec.as_ref());
        let image = spec.and_then(|spec| spec.containers[0].image.as_deref()).unwrap_or_default();
        let ready = status.ready_replicas.unwrap_or(0);
        let _ = write!(text, "{image} r{} {}/{ready} | ", sets::revision(&set.metadata), sets::spec_replicas(&set));
    }
    let deployment = world.view.get::<Deployment>("default", "web").expect("the deployment");
    let status = deployment.status.clone().unwrap_or_default();
    for condition in status.conditions.iter().flatten() {
        let reason = condition.reason.as_deref().unwrap_or_default();
        let _ = write!(text, "{}={} {reason} ", condition.type_, condition.status);
    }
    text.trim_end().to_owned() + "\n"
}

/// Lets controllers and nodes work in turn until nothing changes, and prints each step.
fn roll_out(world: &mut World) -> String {
    let mut trace = String::new();
    loop {
        let before = world.view.revision;
        world.settle(&controllers());
        trace += &world.take_log();
        trace += &state(world);
        world.sleep(1);
        world.run_pods();
        if world.view.revision == before {
            return trace;
        }
    }
}

/// The events of a trace alone.
fn scaling(trace: &str) -> String {
    let lines = trace.lines().filter(|line| !line.starts_with("create pods") && !line.starts_with("delete pods"));
    lines.filter(|line| !line.contains("ReplicaSet/")).map(|line| format!("{line}\n")).collect()
}

fn set_image(world: &mut World, image: &str) {
    let template = json!({"spec": {"template": {"spec": {"containers": [{"name": "c", "image": image}]}}}});
    world.patch(Kind::Deployment, "default/web", template);
}

fn check(yaml: &str, change: impl FnOnce(&mut World), expected: Expect) {
    let mut world = World::new(yaml);
    roll_out(&mut world);
    change(&mut world);
    expected.assert_eq(&scaling(&roll_out(&mut world)));
}

#[test]
fn creation() {
    expect![[r#"
        create replicasets default/web-689f4c9fb8
          [Normal Deployment/web ScalingReplicaSet] Scaled up replica set web-689f4c9fb8 from 0 to 4
        create pods default/web-689f4c9fb8-* -> web-689f4c9fb8-1
          [Normal ReplicaSet/web-689f4c9fb8 SuccessfulCreate] Created pod: web-689f4c9fb8-1
        create pods default/web-689f4c9fb8-* -> web-689f4c9fb8-2
          [Normal ReplicaSet/web-689f4c9fb8 SuccessfulCreate] Created pod: web-689f4c9fb8-2
        create pods default/web-689f4c9fb8-* -> web-689f4c9fb8-3
          [Normal ReplicaSet/web-689f4c9fb8 SuccessfulCreate] Created pod: web-689f4c9fb8-3
        create pods default/web-689f4c9fb8-* -> web-689f4c9fb8-4
          [Normal ReplicaSet/web-689f4c9fb8 SuccessfulCreate] Created pod: web-689f4c9fb8-4
        i:1 r1 4/0 | Available=False MinimumReplicasUnavailable Progressing=True ReplicaSetUpdated
        i:1 r1 4/4 | Available=True MinimumReplicasAvailable Progressing=True NewReplicaSetAvailable
        i:1 r1 4/4 | Available=True MinimumReplicasAvailable Progressing=True NewReplicaSetAvailable
    "#]]
    .assert_eq(&roll_out(&mut World::new(WEB)));
}

#[test]
fn rolling_update() {
    check(
        WEB,
        |world| set_image(world, "i:2"),
        expect![[r#"
            create replicasets default/web-5db4b74489
              [Normal Deployment/web ScalingReplicaSet] Scaled up replica set web-5db4b74489 from 0 to 1
            patch replicasets default/web-689f4c9fb8 {"metadata":{"annotations":{"deployment.kubernetes.io/desired-replicas":"4","deployment.kubernetes.io/max-replicas":"5"}},"spec":{"replicas":3}}
              [Normal Deployment/web ScalingReplicaSet] Scaled down replica set web-689f4c9fb8 from 4 to 3
            patch replicasets default/web-5db4b74489 {"metadata":{"annotations":{"deployment.kubernetes.io/desired-replicas":"4","deployment.kubernetes.io/max-replicas":"5"}},"spec":{"replicas":2}}
              [Normal Deployment/web ScalingReplicaSet] Scaled up replica set web-5db4b74489 from 1 to 2
            i:1 r1 3/3 | i:2 r2 2/0 | Available=True MinimumReplicasAvailable Progressing=True ReplicaSetUpdated
            patch replicasets default/web-689f4c9fb8 {"metadata":{"annotations":{"deployment.kubernetes.io/desired-replicas":"4","deployment.kubernetes.io/max-replicas":"5"}},"spec":{"replicas":1}}
              [Normal Deployment/web ScalingReplicaSet] Scaled down replica set web-689f4c9fb8 from 3 to 1
            patch replicasets default/web-5db4b74489 {"metadata":{"annotations":{"deployment.kubernetes.io/desired-replicas":"4","deployment.kubernetes.io/max-replicas":"5"}},"spec":{"replicas":4}}
              [Normal Deployment/web ScalingReplicaSet] Scaled up replica set web-5db4b74489 from 2 to 4
            i:1 r1 1/1 | i:2 r2 4/2 | Available=True MinimumReplicasAvailable Progressing=True ReplicaSetUpdated
            patch replicasets default/web-689f4c9fb8 {"metadata":{"annotations":{"deployment.kubernetes.io/desired-replicas":"4","deployment.kubernetes.io/max-replicas":"5"}},"spec":{"replicas":0}}
              [Normal Deployment/web ScalingReplicaSet] Scaled down replica set web-689f4c9fb8 from 1 to 0
            i:1 r1 0/0 | i:2 r2 4/4 | Available=True MinimumReplicasAvailable Progressing=True NewReplicaSetAvailable
            i:1 r1 0/0 | i:2 r2 4/4 | Available=True MinimumReplicasAvailable Progressing=True NewReplicaSetAvailable
            i:1 r1 0/0 | i:2 r2 4/4 | Available=True MinimumReplicasAvailable Progressing=True NewReplicaSetAvailable
        "#]],
    );
}

#[test]
fn rolling_update_without_surge() {
    let yaml = WEB.replace("maxSurge: 25%, maxUnavailable: 25%", "maxSurge: 0, maxUnavailable: 1");
    check(
        &yaml,
        |world| set_image(world, "i:2"),
        expect![[r#"
            create replicasets default/web-5db4b74489
            patch replicasets default/web-689f4c9fb8 {"metadata":{"annotations":{"deployment.kubernetes.io/desired-replicas":"4","deployment.kubernetes.io/max-replicas":"4"}},"spec":{"replicas":3}}
              [Normal Deployment/web ScalingReplicaSet] Scaled down replica set web-689f4c9fb8 from 4 to 3
            patch replicasets default/web-5db4b74489 {"metadata":{"annotations":{"deployment.kubernetes.io/desired-replicas":"4","deployment.kubernetes.io/max-replicas":"4"}},"spec":{"replicas":1}}
              [Normal Deployment/web ScalingReplicaSet] Scaled up replica set web-5db4b74489 from 0 to 1
            i:1 r1 3/3 | i:2 r2 1/0 | Available=True MinimumReplicasAvailable Progressing=True ReplicaSetUpdated
            patch replicasets default/web-689f4c9fb8 {"metadata":{"annotations":{"deployment.kubernetes.io/desired-replicas":"4","deployment.kubernetes.io/max-replicas":"4"}},"spec":{"replicas":2}}
              [Normal Deployment/web ScalingReplicaSet] Scaled down replica set web-689f4c9fb8 from 3 to 2
            patch replicasets default/web-5db4b74489 {"metadata":{"annotations":{"deployment.kubernetes.io/desired-replicas":"4","deployment.kubernetes.io/max-replicas":"4"}},"spec":{"replicas":2}}
              [Normal Deployment/web ScalingReplicaSet] Scaled up replica set web-5db4b74489 from 1 to 2
            i:1 r1 2/2 | i:2 r2 2/1 | Available=True MinimumReplicasAvailable Progressing=True ReplicaSetUpdated
            patch replicasets default/web-689f4c9fb8 {"metadata":{"annotations":{"deployment.kubernetes.io/desired-replicas":"4","deployment.kubernetes.io/max-replicas":"4"}},"spec":{"replicas":1}}
              [Normal Deployment/web ScalingReplicaSet] Scaled down replica set web-689f4c9fb8 from 2 to 1
            patch replicasets default/web-5db4b74489 {"metadata":{"annotations":{"deployment.kubernetes.io/desired-replicas":"4","deployment.kubernetes.io/max-replicas":"4"}},"spec":{"replicas":3}}
              [Normal Deployment/web ScalingReplicaSet] Scaled up replica set web-5db4b74489 from 2 to 3
            i:1 r1 1/1 | i:2 r2 3/2 | Available=True MinimumReplicasAvailable Progressing=True ReplicaSetUpdated
            patch replicasets default/web-689f4c9fb8 {"metadata":{"annotations":{"deployment.kubernetes.io/desired-replicas":"4","deployment.kubernetes.io/max-replicas":"4"}},"spec":{"replicas":0}}
              [Normal Deployment/web ScalingReplicaSet] Scaled down replica set web-689f4c9fb8 from 1 to 0
            patch replicasets default/web-5db4b74489 {"metadata":{"annotations":{"deployment.kubernetes.io/desired-replicas":"4","deployment.kubernetes.io/max-replicas":"4"}},"spec":{"replicas":4}}
              [Normal Deployment/web ScalingReplicaSet] Scaled up replica set web-5db4b74489 from 3 to 4
            i:1 r1 0/0 | i:2 r2 4/3 | Available=True MinimumReplicasAvailable Progressing=True ReplicaSetUpdated
            i:1 r1 0/0 | i:2 r2 4/4 | Available=True MinimumReplicasAvailable Progressing=True NewReplicaSetAvailable
            i:1 r1 0/0 | i:2 r2 4/4 | Available=True MinimumReplicasAvailable Progressing=True NewReplicaSetAvailable
        "#]],
    );
}

#[test]
fn rolling_update_without_unavailability() {
    let yaml = WEB.replace("maxSurge: 25%, maxUnavailable: 25%", "maxSurge: 1, maxUnavailable: 0");
    check(
        &yaml,
        |world| set_image(world, "i:2"),
        expect![[r#"
            create replicasets default/web-5db4b74489
              [Normal Deployment/web ScalingReplicaSet] Scaled up replica set web-5db4b74489 from 0 to 1
            i:1 r1 4/4 | i:2 r2 1/0 | Available=True MinimumReplicasAvailable Progressing=True ReplicaSetUpdated
            patch replicasets default/web-689f4c9fb8 {"metadata":{"annotations":{"deployment.kubernetes.io/desired-replicas":"4","deployment.kubernetes.io/max-replicas":"5"}},"spec":{"replicas":3}}
              [Normal Deployment/web ScalingReplicaSet] Scaled down replica set web-689f4c9fb8 from 4 to 3
            patch replicasets default/web-5db4b74489 {"metadata":{"annotations":{"deployment.kubernetes.io/desired-replicas":"4","deployment.kubernetes.io/max-replicas":"5"}},"spec":{"replicas":2}}
              [Normal Deployment/web ScalingReplicaSet] Scaled up replica set web-5db4b74489 from 1 to 2
            i:1 r1 3/3 | i:2 r2 2/1 | Available=True MinimumReplicasAvailable Progressing=True ReplicaSetUpdated
            patch replicasets default/web-689f4c9fb8 {"metadata":{"annotations":{"deployment.kubernetes.io/desired-replicas":"4","deployment.kubernetes.io/max-replicas":"5"}},"spec":{"replicas":2}}
              [Normal Deployment/web ScalingReplicaSet] Scaled down replica set web-689f4c9fb8 from 3 to 2
            patch replicasets default/web-5db4b74489 {"metadata":{"annotations":{"deployment.kubernetes.io/desired-replicas":"4","deployment.kubernetes.io/max-replicas":"5"}},"spec":{"replicas":3}}
              [Normal Deployment/web ScalingReplicaSet] Scaled up replica set web-5db4b74489 from 2 to 3
            i:1 r1 2/2 | i:2 r2 3/2 | Available=True MinimumReplicasAvailable Progressing=True ReplicaSetUpdated
            patch replicasets default/web-689f4c9fb8 {"metadata":{"annotations":{"deployment.kubernetes.io/desired-replicas":"4","deployment.kubernetes.io/max-replicas":"5"}},"spec":{"replicas":1}}
              [Normal Deployment/web ScalingReplicaSet] Scaled down replica set web-689f4c9fb8 from 2 to 1
            patch replicasets default/web-5db4b74489 {"metadata":{"annotations":{"deployment.kubernetes.io/desired-replicas":"4","deployment.kubernetes.io/max-replicas":"5"}},"spec":{"replicas":4}}
              [Normal Deployment/web ScalingReplicaSet] Scaled up replica set web-5db4b74489 from 3 to 4
            i:1 r1 1/1 | i:2 r2 4/3 | Available=True MinimumReplicasAvailable Progressing=True ReplicaSetUpdated
            patch replicasets default/web-689f4c9fb8 {"metadata":{"annotations":{"deployment.kubernetes.io/desired-replicas":"4","deployment.kubernetes.io/max-replicas":"5"}},"spec":{"replicas":0}}
              [Normal Deployment/web ScalingReplicaSet] Scaled down replica set web-689f4c9fb8 from 1 to 0
            i:1 r1 0/0 | i:2 r2 4/4 | Available=True MinimumReplicasAvailable Progressing=True NewReplicaSetAvailable
            i:1 r1 0/0 | i:2 r2 4/4 | Available=True MinimumReplicasAvailable Progressing=True NewReplicaSetAvailable
            i:1 r1 0/0 | i:2 r2 4/4 | Available=True MinimumReplicasAvailable Progressing=True NewReplicaSetAvailable
        "#]],
    );
}

#[test]
fn recreate() {
    let yaml =
        WEB.replace("{type: RollingUpdate, rollingUpdate: {maxSurge: 25%, maxUnavailable: 25%}}", "{type: Recreate}");
    check(
        &yaml,
        |world| set_image(world, "i:2"),
        expect![[r#"
            patch replicasets default/web-689f4c9fb8 {"metadata":{"annotations":{"deployment.kubernetes.io/desired-replicas":"4","deployment.kubernetes.io/max-replicas":"4"}},"spec":{"replicas":0}}
              [Normal Deployment/web ScalingReplicaSet] Scaled down replica set web-689f4c9fb8 from 4 to 0
            i:1 r1 0/0 | Progressing=True NewReplicaSetAvailable Available=False MinimumReplicasUnavailable
            create replicasets default/web-5db4b74489
              [Normal Deployment/web ScalingReplicaSet] Scaled up replica set web-5db4b74489 from 0 to 4
            i:1 r1 0/0 | i:2 r2 4/0 | Available=False MinimumReplicasUnavailable Progressing=True ReplicaSetUpdated
            i:1 r1 0/0 | i:2 r2 4/4 | Available=True MinimumReplicasAvailable Progressing=True NewReplicaSetAvailable
            i:1 r1 0/0 | i:2 r2 4/4 | Available=True MinimumReplicasAvailable Progressing=True NewReplicaSetAvailable
        "#]],
    );
}

#[test]
fn rollback_makes_the_old_set_new() {
    let change = |world: &mut World| {
        set_image(world, "i:2");
        roll_out(world);
        set_image(world, "i:1");
    };
    check(
        WEB,
        change,
        expect![[r#"
            patch replicasets default/web-689f4c9fb8 {"metadata":{"annotations":{"deployment.kubernetes.io/revision":"3","deployment.kubernetes.io/revision-history":"1"}}}
            patch replicasets default/web-689f4c9fb8 {"metadata":{"annotations":{"deployment.kubernetes.io/desired-replicas":"4","deployment.kubernetes.io/max-replicas":"5"}},"spec":{"replicas":1}}
              [Normal Deployment/web ScalingReplicaSet] Scaled up replica set web-689f4c9fb8 from 0 to 1
            patch replicasets default/web-5db4b74489 {"metadata":{"annotations":{"deployment.kubernetes.io/desired-replicas":"4","deployment.kubernetes.io/max-replicas":"5"}},"spec":{"replicas":3}}
              [Normal Deployment/web ScalingReplicaSet] Scaled down replica set web-5db4b74489 from 4 to 3
            patch replicasets default/web-689f4c9fb8 {"metadata":{"annotations":{"deployment.kubernetes.io/desired-replicas":"4","deployment.kubernetes.io/max-replicas":"5"}},"spec":{"replicas":2}}
              [Normal Deployment/web ScalingReplicaSet] Scaled up replica set web-689f4c9fb8 from 1 to 2
            i:2 r2 3/3 | i:1 r3 2/0 | Available=True MinimumReplicasAvailable Progressing=True ReplicaSetUpdated
            patch replicasets default/web-5db4b74489 {"metadata":{"annotations":{"deployment.kubernetes.io/desired-replicas":"4","deployment.kubernetes.io/max-replicas":"5"}},"spec":{"replicas":1}}
              [Normal Deployment/web ScalingReplicaSet] Scaled down replica set web-5db4b74489 from 3 to 1
            patch replicasets default/web-689f4c9fb8 {"metadata":{"annotations":{"deployment.kubernetes.io/desired-replicas":"4","deployment.kubernetes.io/max-replicas":"5"}},"spec":{"replicas":4}}
              [Normal Deployment/web ScalingReplicaSet] Scaled up replica set web-689f4c9fb8 from 2 to 4
            i:2 r2 1/1 | i:1 r3 4/2 | Available=True MinimumReplicasAvailable Progressing=True ReplicaSetUpdated
            patch replicasets default/web-5db4b74489 {"metadata":{"annotations":{"deployment.kubernetes.io/desired-replicas":"4","deployment.kubernetes.io/max-replicas":"5"}},"spec":{"replicas":0}}
              [Normal Deployment/web ScalingReplicaSet] Scaled down replica set web-5db4b74489 from 1 to 0
            i:2 r2 0/0 | i:1 r3 4/4 | Available=True MinimumReplicasAvailable Progressing=True NewReplicaSetAvailable
            i:2 r2 0/0 | i:1 r3 4/4 | Available=True MinimumReplicasAvailable Progressing=True NewReplicaSetAvailable
            i:2 r2 0/0 | i:1 r3 4/4 | Available=True MinimumReplicasAvailable Progressing=True NewReplicaSetAvailable
        "#]],
    );
}

#[test]
fn rollover_leaves_a_broken_rollout() {
    let change = |world: &mut World| {
        set_image(world, "i:2");
        world.settle(&controllers());
        set_image(world, "i:3");
    };
    check(
        WEB,
        change,
        expect![[r#"
            create replicasets default/web-5db4b74489
              [Normal Deployment/web ScalingReplicaSet] Scaled up replica set web-5db4b74489 from 0 to 1
            patch replicasets default/web-689f4c9fb8 {"metadata":{"annotations":{"deployment.kubernetes.io/desired-replicas":"4","deployment.kubernetes.io/max-replicas":"5"}},"spec":{"replicas":3}}
              [Normal Deployment/web ScalingReplicaSet] Scaled down replica set web-689f4c9fb8 from 4 to 3
            patch replicasets default/web-5db4b74489 {"metadata":{"annotations":{"deployment.kubernetes.io/desired-replicas":"4","deployment.kubernetes.io/max-replicas":"5"}},"spec":{"replicas":2}}
              [Normal Deployment/web ScalingReplicaSet] Scaled up replica set web-5db4b74489 from 1 to 2
            create replicasets default/web-6649f4bf5d
            patch replicasets default/web-5db4b74489 {"metadata":{"annotations":{"deployment.kubernetes.io/desired-replicas":"4","deployment.kubernetes.io/max-replicas":"5"}},"spec":{"replicas":0}}
              [Normal Deployment/web ScalingReplicaSet] Scaled down replica set web-5db4b74489 from 2 to 0
            patch replicasets default/web-6649f4bf5d {"metadata":{"annotations":{"deployment.kubernetes.io/desired-replicas":"4","deployment.kubernetes.io/max-replicas":"5"}},"spec":{"replicas":2}}
              [Normal Deployment/web ScalingReplicaSet] Scaled up replica set web-6649f4bf5d from 0 to 2
            i:1 r1 3/3 | i:2 r2 0/0 | i:3 r3 2/0 | Available=True MinimumReplicasAvailable Progressing=True ReplicaSetUpdated
            patch replicasets default/web-689f4c9fb8 {"metadata":{"annotations":{"deployment.kubernetes.io/desired-replicas":"4","deployment.kubernetes.io/max-replicas":"5"}},"spec":{"replicas":1}}
              [Normal Deployment/web ScalingReplicaSet] Scaled down replica set web-689f4c9fb8 from 3 to 1
            patch replicasets default/web-6649f4bf5d {"metadata":{"annotations":{"deployment.kubernetes.io/desired-replicas":"4","deployment.kubernetes.io/max-replicas":"5"}},"spec":{"replicas":4}}
              [Normal Deployment/web ScalingReplicaSet] Scaled up replica set web-6649f4bf5d from 2 to 4
            i:1 r1 1/1 | i:2 r2 0/0 | i:3 r3 4/2 | Available=True MinimumReplicasAvailable Progressing=True ReplicaSetUpdated
            patch replicasets default/web-689f4c9fb8 {"metadata":{"annotations":{"deployment.kubernetes.io/desired-replicas":"4","deployment.kubernetes.io/max-replicas":"5"}},"spec":{"replicas":0}}
              [Normal Deployment/web ScalingReplicaSet] Scaled down replica set web-689f4c9fb8 from 1 to 0
            i:1 r1 0/0 | i:2 r2 0/0 | i:3 r3 4/4 | Available=True MinimumReplicasAvailable Progressing=True NewReplicaSetAvailable
            i:1 r1 0/0 | i:2 r2 0/0 | i:3 r3 4/4 | Available=True MinimumReplicasAvailable Progressing=True NewReplicaSetAvailable
            i:1 r1 0/0 | i:2 r2 0/0 | i:3 r3 4/4 | Available=True MinimumReplicasAvailable Progressing=True NewReplicaSetAvailable
        "#]],
    );
}

#[test]
fn scaling_alone() {
    check(
        WEB,
        |world| world.patch(Kind::Deployment, "default/web", json!({"spec": {"replicas": 7}})),
        expect![[r#"
        patch replicasets default/web-689f4c9fb8 {"metadata":{"annotations":{"deployment.kubernetes.io/desired-replicas":"7","deployment.kubernetes.io/max-replicas":"9"}},"spec":{"replicas":7}}
          [Normal Deployment/web ScalingReplicaSet] Scaled up replica set web-689f4c9fb8 from 4 to 7
        i:1 r1 7/4 | Progressing=True NewReplicaSetAvailable Available=False MinimumReplicasUnavailable
        i:1 r1 7/7 | Progressing=True NewReplicaSetAvailable Available=True MinimumReplicasAvailable
        i:1 r1 7/7 | Progressing=True NewReplicaSetAvailable Available=True MinimumReplicasAvailable
    "#]],
    );
}

#[test]
fn scaling_in_the_middle_is_proportional() {
    let change = |world: &mut World| {
        world.patch(Kind::Deployment, "default/web", json!({"spec": {"replicas": 10}}));
        roll_out(world);
        set_image(world, "broken");
        // The new pods do not become ready.
        world.settle(&controllers());
        world.take_log();
        world.patch(Kind::Deployment, "default/web", json!({"spec": {"replicas": 20}}));
        world.settle(&controllers());
    };
    let mut world = World::new(WEB);
    roll_out(&mut world);
    change(&mut world);
    expect![[r#"
        patch replicasets default/web-689f4c9fb8 {"metadata":{"annotations":{"deployment.kubernetes.io/desired-replicas":"20","deployment.kubernetes.io/max-replicas":"25"}},"spec":{"replicas":15}}
          [Normal Deployment/web ScalingReplicaSet] Scaled up replica set web-689f4c9fb8 from 8 to 15
        patch replicasets default/web-5b6db99b67 {"metadata":{"annotations":{"deployment.kubernetes.io/desired-replicas":"20","deployment.kubernetes.io/max-replicas":"25"}},"spec":{"replicas":10}}
          [Normal Deployment/web ScalingReplicaSet] Scaled up replica set web-5b6db99b67 from 5 to 10
        i:1 r1 15/8 | broken r2 10/0 | Available=False MinimumReplicasUnavailable Progressing=True ReplicaSetUpdated
    "#]].assert_eq(&(scaling(&world.take_log()) + &state(&world)));
}

#[test]
fn paused_changes_nothing_but_scales() {
    let change = |world: &mut World| {
        world.patch(Kind::Deployment, "default/web", json!({"spec": {"paused": true, "replicas": 2}}));
        set_image(world, "i:2");
    };
    check(
        WEB,
        change,
        expect![[r#"
        patch replicasets default/web-689f4c9fb8 {"metadata":{"annotations":{"deployment.kubernetes.io/desired-replicas":"2","deployment.kubernetes.io/max-replicas":"3"}},"spec":{"replicas":2}}
          [Normal Deployment/web ScalingReplicaSet] Scaled down replica set web-689f4c9fb8 from 4 to 2
        i:1 r1 2/2 | Available=True MinimumReplicasAvailable Progressing=Unknown DeploymentPaused
        i:1 r1 2/2 | Available=True MinimumReplicasAvailable Progressing=Unknown DeploymentPaused
        i:1 r1 2/2 | Available=True MinimumReplicasAvailable Progressing=Unknown DeploymentPaused
    "#]],
    );
}

#[test]
fn resumed_goes_on() {
    let change = |world: &mut World| {
        world.patch(Kind::Deployment, "default/web", json!({"spec": {"paused": true}}));
        set_image(world, "i:2");
        roll_out(world);
        world.patch(Kind::Deployment, "default/web", json!({"spec": {"paused": null}}));
    };
    check(
        WEB,
        change,
        expect![[r#"
            create replicasets default/web-5db4b74489
              [Normal Deployment/web ScalingReplicaSet] Scaled up replica set web-5db4b74489 from 0 to 1
            patch replicasets default/web-689f4c9fb8 {"metadata":{"annotations":{"deployment.kubernetes.io/desired-replicas":"4","deployment.kubernetes.io/max-replicas":"5"}},"spec":{"replicas":3}}
              [Normal Deployment/web ScalingReplicaSet] Scaled down replica set web-689f4c9fb8 from 4 to 3
            patch replicasets default/web-5db4b74489 {"metadata":{"annotations":{"deployment.kubernetes.io/desired-replicas":"4","deployment.kubernetes.io/max-replicas":"5"}},"spec":{"replicas":2}}
              [Normal Deployment/web ScalingReplicaSet] Scaled up replica set web-5db4b74489 from 1 to 2
            i:1 r1 3/3 | i:2 r2 2/0 | Available=True MinimumReplicasAvailable Progressing=True ReplicaSetUpdated
            patch replicasets default/web-689f4c9fb8 {"metadata":{"annotations":{"deployment.kubernetes.io/desired-replicas":"4","deployment.kubernetes.io/max-replicas":"5"}},"spec":{"replicas":1}}
              [Normal Deployment/web ScalingReplicaSet] Scaled down replica set web-689f4c9fb8 from 3 to 1
            patch replicasets default/web-5db4b74489 {"metadata":{"annotations":{"deployment.kubernetes.io/desired-replicas":"4","deployment.kubernetes.io/max-replicas":"5"}},"spec":{"replicas":4}}
              [Normal Deployment/web ScalingReplicaSet] Scaled up replica set web-5db4b74489 from 2 to 4
            i:1 r1 1/1 | i:2 r2 4/2 | Available=True MinimumReplicasAvailable Progressing=True ReplicaSetUpdated
            patch replicasets default/web-689f4c9fb8 {"metadata":{"annotations":{"deployment.kubernetes.io/desired-replicas":"4","deployment.kubernetes.io/max-replicas":"5"}},"spec":{"replicas":0}}
              [Normal Deployment/web ScalingReplicaSet] Scaled down replica set web-689f4c9fb8 from 1 to 0
            i:1 r1 0/0 | i:2 r2 4/4 | Available=True MinimumReplicasAvailable Progressing=True NewReplicaSetAvailable
            i:1 r1 0/0 | i:2 r2 4/4 | Available=True MinimumReplicasAvailable Progressing=True NewReplicaSetAvailable
            i:1 r1 0/0 | i:2 r2 4/4 | Available=True MinimumReplicasAvailable Progressing=True NewReplicaSetAvailable
        "#]],
    );
}

#[test]
fn history_limit() {
    let change = |world: &mut World| {
        for image in ["i:2", "i:3", "i:4"] {
            set_image(world, image);
            roll_out(world);
        }
        set_image(world, "i:5");
    };
    check(
        &WEB.replace("revisionHistoryLimit: 10", "revisionHistoryLimit: 2"),
        change,
        expect![[r#"
            create replicasets default/web-5fdf56c48d
              [Normal Deployment/web ScalingReplicaSet] Scaled up replica set web-5fdf56c48d from 0 to 1
            patch replicasets default/web-56f56b8675 {"metadata":{"annotations":{"deployment.kubernetes.io/desired-replicas":"4","deployment.kubernetes.io/max-replicas":"5"}},"spec":{"replicas":3}}
              [Normal Deployment/web ScalingReplicaSet] Scaled down replica set web-56f56b8675 from 4 to 3
            patch replicasets default/web-5fdf56c48d {"metadata":{"annotations":{"deployment.kubernetes.io/desired-replicas":"4","deployment.kubernetes.io/max-replicas":"5"}},"spec":{"replicas":2}}
              [Normal Deployment/web ScalingReplicaSet] Scaled up replica set web-5fdf56c48d from 1 to 2
            i:2 r2 0/0 | i:3 r3 0/0 | i:4 r4 3/3 | i:5 r5 2/0 | Available=True MinimumReplicasAvailable Progressing=True ReplicaSetUpdated
            patch replicasets default/web-56f56b8675 {"metadata":{"annotations":{"deployment.kubernetes.io/desired-replicas":"4","deployment.kubernetes.io/max-replicas":"5"}},"spec":{"replicas":1}}
              [Normal Deployment/web ScalingReplicaSet] Scaled down replica set web-56f56b8675 from 3 to 1
            patch replicasets default/web-5fdf56c48d {"metadata":{"annotations":{"deployment.kubernetes.io/desired-replicas":"4","deployment.kubernetes.io/max-replicas":"5"}},"spec":{"replicas":4}}
              [Normal Deployment/web ScalingReplicaSet] Scaled up replica set web-5fdf56c48d from 2 to 4
            i:2 r2 0/0 | i:3 r3 0/0 | i:4 r4 1/1 | i:5 r5 4/2 | Available=True MinimumReplicasAvailable Progressing=True ReplicaSetUpdated
            patch replicasets default/web-56f56b8675 {"metadata":{"annotations":{"deployment.kubernetes.io/desired-replicas":"4","deployment.kubernetes.io/max-replicas":"5"}},"spec":{"replicas":0}}
              [Normal Deployment/web ScalingReplicaSet] Scaled down replica set web-56f56b8675 from 1 to 0
            delete replicasets default/web-5db4b74489
            i:3 r3 0/0 | i:4 r4 0/0 | i:5 r5 4/4 | Available=True MinimumReplicasAvailable Progressing=True NewReplicaSetAvailable
            i:3 r3 0/0 | i:4 r4 0/0 | i:5 r5 4/4 | Available=True MinimumReplicasAvailable Progressing=True NewReplicaSetAvailable
            i:3 r3 0/0 | i:4 r4 0/0 | i:5 r5 4/4 | Available=True MinimumReplicasAvailable Progressing=True NewReplicaSetAvailable
        "#]],
    );
}

#[test]
fn progress_deadline() {
    let mut world = World::new(WEB);
    world.settle(&controllers());
    let mut text = state(&world) + &world.plan(&DeploymentController, "default/web");
    world.sleep(700);
    world.settle(&controllers());
    text += &state(&world);
    // Pods come after all.
    text += &scaling(&roll_out(&mut world));
    expect![[r#"
        i:1 r1 4/0 | Available=False MinimumReplicasUnavailable Progressing=True ReplicaSetUpdated
        again in 601s
        i:1 r1 4/0 | Available=False MinimumReplicasUnavailable Progressing=False ProgressDeadlineExceeded
        create replicasets default/web-689f4c9fb8
          [Normal Deployment/web ScalingReplicaSet] Scaled up replica set web-689f4c9fb8 from 0 to 4
        i:1 r1 4/0 | Available=False MinimumReplicasUnavailable Progressing=False ProgressDeadlineExceeded
        i:1 r1 4/4 | Available=True MinimumReplicasAvailable Progressing=True NewReplicaSetAvailable
        i:1 r1 4/4 | Available=True MinimumReplicasAvailable Progressing=True NewReplicaSetAvailable
    "#]]
    .assert_eq(&text);
}

#[test]
fn messages() {
    let mut world = World::new(WEB);
    roll_out(&mut world);
    let deployment = world.view.get::<Deployment>("default", "web").expect("the deployment");
    expect![[r#"
        {
          "availableReplicas": 4,
          "conditions": [
            {
              "lastTransitionTime": "2026-01-01T00:00:01Z",
              "lastUpdateTime": "2026-01-01T00:00:01Z",
              "message": "Deployment has minimum availability.",
              "reason": "MinimumReplicasAvailable",
              "status": "True",
              "type": "Available"
            },
            {
              "lastTransitionTime": "2026-01-01T00:00:00Z",
              "lastUpdateTime": "2026-01-01T00:00:01Z",
              "message": "ReplicaSet \"web-689f4c9fb8\" has successfully progressed.",
              "reason": "NewReplicaSetAvailable",
              "status": "True",
              "type": "Progressing"
            }
          ],
          "observedGeneration": 1,
          "readyReplicas": 4,
          "replicas": 4,
          "terminatingReplicas": 0,
          "updatedReplicas": 4
        }"#]]
    .assert_eq(&serde_json::to_string_pretty(&deployment.status).expect("JSON"));
    let set = world.view.list::<ReplicaSet>("default").next().expect("the set").clone();
    expect![[r#"
        {
          "annotations": {
            "deployment.kubernetes.io/desired-replicas": "4",
            "deployment.kubernetes.io/max-replicas": "5",
            "deployment.kubernetes.io/revision": "1"
          },
          "labels": {
            "app": "web",
            "pod-template-hash": "689f4c9fb8"
          },
          "name": "web-689f4c9fb8",
          "owners": [
            {
              "apiVersion": "apps/v1",
              "blockOwnerDeletion": true,
              "controller": true,
              "kind": "Deployment",
              "name": "web",
              "uid": "uid-web"
            }
          ],
          "selector": {
            "matchLabels": {
              "app": "web",
              "pod-template-hash": "689f4c9fb8"
            }
          }
        }"#]]
    .assert_eq(
        &serde_json::to_string_pretty(&json!({
            "name": set.metadata.name, "labels": set.metadata.labels, "annotations": set.metadata.annotations,
            "owners": set.metadata.owner_references, "selector": set.spec.as_ref().map(|spec| &spec.selector),
        }))
        .expect("JSON"),
    );
}

#[test]
fn a_name_that_is_taken_is_a_collision() {
    let mut world = World::new(WEB);
    world.settle(&controllers());
    let name = world.view.list::<ReplicaSet>("default").next().expect("the set").metadata.name.clone().expect("a name");
    let mut world = World::new(WEB);
    world.apply(&format!(
        "{{apiVersion: apps/v1, kind: ReplicaSet, metadata: {{name: {name}}}, spec: {{replicas: 0, selector: {{matchLabels: {{app: x}}}}}}}}"
    ));
    world.settle(&controllers());
    let deployment = world.view.get::<Deployment>("default", "web").expect("the deployment");
    assert_eq!(deployment.status.as_ref().and_then(|status| status.collision_count), Some(1));
    assert_eq!(world.view.list::<ReplicaSet>("default").count(), 2);
}

#[test]
fn adopts_an_orphaned_set() {
    let mut world = World::new(WEB);
    roll_out(&mut world);
    let set = world.view.list::<ReplicaSet>("default").next().expect("the set").metadata.name.clone().expect("a name");
    let key = format!("default/{set}");
    world.patch(Kind::ReplicaSet, &key, json!({"metadata": {"ownerReferences": null}}));
    expect![[r#"
        patch replicasets default/web-689f4c9fb8 {"metadata":{"ownerReferences":[{"apiVersion":"apps/v1","blockOwnerDeletion":true,"controller":true,"kind":"Deployment","name":"web","uid":"uid-web"}]}}
    "#]].assert_eq(&world.plan(&DeploymentController, "default/web"));
    world.settle(&controllers());
    assert_eq!(world.view.list::<ReplicaSet>("default").count(), 1);
}

type Order<'a> = dyn Fn(&mut Vec<(usize, Key)>) + 'a;

/// Whatever the order in which keys are looked at, and whichever pods run first, the end is the same.
#[test]
fn order_does_not_matter() {
    let end = |order: &Order<'_>, odd_pods_first: &dyn Fn(usize) -> bool| {
        let mut world = World::new(WEB);
        for image in ["i:1", "i:2", "i:3"] {
            set_image(&mut world, image);
            for step in 0..60 {
                world.round(&controllers(), &order);
                let pods = world.view.tables.keys(Kind::Pod, None);
                let some = pods.iter().enumerate().filter(|(index, _)| odd_pods_first(index + step));
                for (_, key) in some {
                    world.run_pod(key);
                }
            }
        }
        state(&world)
    };
    let rotate = |keys: &mut Vec<(usize, Key)>| {
        let by = 1.min(keys.len());
        keys.rotate_left(by);
    };
    let straight = end(&|_| {}, &|_| true);
    assert_eq!(straight, end(&|keys| keys.reverse(), &|_| true));
    assert_eq!(straight, end(&|keys| keys.sort_by_key(|(index, key)| (key.clone(), *index)), &|n| n % 2 == 1));
    assert_eq!(straight, end(&rotate, &|n| n % 5 == 0));
    expect![[r#"
        i:1 r1 0/0 | i:2 r2 0/0 | i:3 r3 4/4 | Available=True MinimumReplicasAvailable Progressing=True NewReplicaSetAvailable
    "#]].assert_eq(&straight);
}

/// At no point of a rolling update are there more pods than the surge allows, or fewer ready ones than promised.
#[test]
fn bounds_hold_at_every_step() {
    for (surge, unavailable, replicas) in [(1, 0, 3), (0, 1, 3), (2, 1, 5), (3, 3, 10), (0, 0, 4)] {
        let yaml = WEB
            .replace("maxSurge: 25%, maxUnavailable: 25%", &format!("maxSurge: {surge}, maxUnavailable: {unavailable}"))
            .replace("replicas: 4", &format!("replicas: {replicas}"));
        let mut world = World::new(&yaml);
        roll_out(&mut world);
        set_image(&mut world, "i:2");
        let unavailable = if surge + unavailable == 0 { 1 } else { unavailable };
        for step in 0..200_usize {
            world.round(&controllers(), &|_| {});
            let pods = world.view.tables.list(Kind::Pod, "default");
            let active: Vec<_> = pods.filter(|pod| !pod.is_terminal() && !pod.is_deleting()).collect();
            let ready = active.iter().filter(|pod| matches!(pod.ready(), cache::Ready::Yes(_))).count();
            assert!(active.len() <= replicas + surge, "{surge} {unavailable} {replicas}: {} pods", active.len());
            assert!(ready + unavailable >= replicas, "{surge} {unavailable} {replicas}: {ready} ready");
            let pods = world.view.tables.keys(Kind::Pod, None);
            world.run_pod(&pods[step % pods.len()]);
        }
        assert!(state(&world).contains("NewReplicaSetAvailable"), "{}", state(&world));
    }
}
