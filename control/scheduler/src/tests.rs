//! Tables: nodes and pods as YAML, decisions out.

use api::{Key, Revision};
use cache::{Change, Kind, Object, View};
use expect_test::{Expect, expect};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use proptest::prelude::*;

use super::*;

fn objects(yaml: &str) -> Vec<Object> {
    let documents: Vec<serde_json::Value> = serde_saphyr::from_multiple(yaml).expect("the test's YAML parses");
    let documents = documents.into_iter().filter(|document| !document.is_null());
    documents
        .map(|mut document| {
            let text = |field: &str| document[field].as_str().expect("a text").to_owned();
            let kind = Kind::from_api_version(&text("apiVersion"), &text("kind")).expect("the View holds the kind");
            if kind.namespaced() {
                document["metadata"]["namespace"] = "default".into();
            }
            let uid = format!("uid-{}", document["metadata"]["name"].as_str().expect("a name"));
            document["metadata"]["uid"] = uid.into();
            Object::decode(kind, document.to_string().as_bytes(), Revision(1)).expect("an object")
        })
        .collect()
}

fn view(yaml: &str) -> View {
    let mut view = View::default();
    for object in objects(yaml) {
        view.insert(object);
    }
    view
}

fn node(name: &str, more: &str) -> String {
    sized(name, "cpu: '4', memory: 8Gi, pods: '110'", more)
}

fn sized(name: &str, allocatable: &str, more: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: Node\nmetadata: {{name: {name}{more}\nstatus: {{allocatable: {{{allocatable}}}}}\n"
    )
}

/// Nodes a and b, whose metadata and spec go on as given.
fn two(a: &str, b: &str) -> String {
    node("a", a) + &node("b", b)
}

fn pod(name: &str, spec: &str) -> Pod {
    let yaml = format!(
        "{{apiVersion: v1, kind: Pod, metadata: {{name: {name}}}, spec: {{containers: [{{name: c}}], {spec}}}}}"
    );
    pod_of(&yaml)
}

fn pod_of(yaml: &str) -> Pod {
    objects(yaml)[0].typed::<Pod>().expect("a pod").as_ref().clone()
}

fn requesting(amounts: &str) -> Pod {
    pod_of(&format!(
        "{{apiVersion: v1, kind: Pod, metadata: {{name: p}}, spec: {{containers: [{{name: c, resources: {{requests: {{{amounts}}}}}}}]}}}}"
    ))
}

fn decide(world: &str, pod: &Pod) -> String {
    match schedule(pod, &Snapshot::of(&view(world)), &Profile::default(), 7) {
        Decision::Bind(node) => node,
        Decision::Unschedulable(refusal) => refusal.to_string(),
    }
}

fn check(world: &str, pod: &Pod, expected: Expect) {
    expected.assert_eq(&decide(world, pod));
}

const PLAIN: &str = "}";

#[test]
fn without_nodes() {
    check("", &pod("p", ""), expect!["no nodes available to schedule pods"]);
}

#[test]
fn resources() {
    let small =
        sized("a", "cpu: '1', memory: 1Gi, pods: '110'", "}") + &sized("b", "cpu: 500m, memory: 8Gi, pods: '110'", "}");
    check(&small, &requesting("cpu: 600m"), expect!["a"]);
    check(&small, &requesting("memory: 2Gi"), expect!["b"]);
    check(
        &small,
        &requesting("cpu: '2', memory: 2Gi"),
        expect!["0/2 nodes are available: 1 Insufficient memory, 2 Insufficient cpu."],
    );
    check(
        &small,
        &requesting("example.com/gpu: '1'"),
        expect!["0/2 nodes are available: 2 Insufficient example.com/gpu."],
    );
}

#[test]
fn bound_pods_take_room_and_ended_ones_do_not() {
    let taken = |phase: &str| {
        node("a", PLAIN)
            + &format!(
                "---\n{{apiVersion: v1, kind: Pod, metadata: {{name: other}}, spec: {{nodeName: a, containers: [{{name: c, resources: {{requests: {{cpu: '3'}}}}}}]}}, status: {{phase: {phase}}}}}\n"
            )
    };
    check(&taken("Running"), &requesting("cpu: '2'"), expect!["0/1 nodes are available: 1 Insufficient cpu."]);
    check(&taken("Succeeded"), &requesting("cpu: '2'"), expect!["a"]);
}

#[test]
fn too_many_pods() {
    let full = sized("a", "cpu: '4', memory: 8Gi, pods: '1'", PLAIN)
        + "---\n{apiVersion: v1, kind: Pod, metadata: {name: other}, spec: {nodeName: a, containers: []}}\n";
    check(&full, &pod("p", ""), expect!["0/1 nodes are available: 1 Too many pods."]);
}

#[test]
fn init_containers_sidecars_and_overhead() {
    let requests = |yaml: &str| {
        let amounts = resources::requests(&pod_of(yaml));
        amounts.iter().map(|(name, amount)| format!("{name}={amount}")).collect::<Vec<_>>().join(" ")
    };
    let container = |cpu: &str, more: &str| format!("{{name: c, resources: {{requests: {{cpu: {cpu}}}}}{more}}}");
    let yaml = |inits: &[String], containers: &[String], more: &str| {
        format!(
            "{{apiVersion: v1, kind: Pod, metadata: {{name: p}}, spec: {{initContainers: [{}], containers: [{}]{more}}}}}",
            inits.join(", "),
            containers.join(", ")
        )
    };
    let main = [container("100m", ""), container("200m", "")];
    let sidecar = container("50m", ", restartPolicy: Always");
    assert_eq!(requests(&yaml(&[], &main, "")), "cpu=300");
    assert_eq!(requests(&yaml(&[container("250m", "")], &main, "")), "cpu=300");
    assert_eq!(requests(&yaml(&[container("400m", "")], &main, "")), "cpu=400");
    assert_eq!(requests(&yaml(&[sidecar.clone(), container("400m", "")], &main, "")), "cpu=450");
    assert_eq!(requests(&yaml(&[container("400m", ""), sidecar.clone()], &main, "")), "cpu=400");
    assert_eq!(requests(&yaml(&[sidecar], &main, "")), "cpu=350");
    assert_eq!(requests(&yaml(&[], &main, ", overhead: {cpu: 10m}")), "cpu=310");
    assert_eq!(requests(&yaml(&[], &main, ", resources: {requests: {cpu: '1', memory: 1Ki}}")), "cpu=1000 memory=1024");
}

#[test]
fn cordoned_nodes() {
    let cordoned = two("}\nspec: {unschedulable: true}", "}\nspec: {unschedulable: true}");
    check(&cordoned, &pod("p", ""), expect!["0/2 nodes are available: 2 node(s) were unschedulable."]);
    let tolerant = pod("p", "tolerations: [{key: node.kubernetes.io/unschedulable, operator: Exists}]");
    check(&node("a", "}\nspec: {unschedulable: true}"), &tolerant, expect!["a"]);
}

#[test]
fn taints() {
    let tainted = two(
        "}\nspec: {taints: [{key: gpu, value: 'yes', effect: NoSchedule}]}",
        "}\nspec: {taints: [{key: node.kubernetes.io/not-ready, effect: NoExecute}]}",
    );
    check(
        &tainted,
        &pod("p", ""),
        expect![
            "0/2 nodes are available: 1 node(s) had untolerated taint {gpu: yes}, 1 node(s) had untolerated taint {node.kubernetes.io/not-ready: }."
        ],
    );
    check(&tainted, &pod("p", "tolerations: [{key: gpu, value: 'yes'}]"), expect!["a"]);
    check(
        &tainted,
        &pod("p", "tolerations: [{key: gpu, value: 'no'}]"),
        expect![
            "0/2 nodes are available: 1 node(s) had untolerated taint {gpu: yes}, 1 node(s) had untolerated taint {node.kubernetes.io/not-ready: }."
        ],
    );
    check(&tainted, &pod("p", "tolerations: [{operator: Exists, effect: NoExecute}]"), expect!["b"]);
    let avoided = two("}\nspec: {taints: [{key: a, effect: PreferNoSchedule}]}", PLAIN);
    check(&avoided, &pod("p", ""), expect!["b"]);
}

#[test]
fn selectors_and_affinity() {
    let zones = two(", labels: {zone: east, size: '8'}}", ", labels: {zone: west, size: '16'}}");
    let required = |expression: &str| {
        pod(
            "p",
            &format!(
                "affinity: {{nodeAffinity: {{requiredDuringSchedulingIgnoredDuringExecution: {{nodeSelectorTerms: [{{{expression}}}]}}}}}}"
            ),
        )
    };
    check(&zones, &pod("p", "nodeSelector: {zone: west}"), expect!["b"]);
    check(
        &zones,
        &pod("p", "nodeSelector: {zone: north}"),
        expect!["0/2 nodes are available: 2 node(s) didn't match Pod's node affinity/selector."],
    );
    check(&zones, &required("matchExpressions: [{key: zone, operator: In, values: [west, north]}]"), expect!["b"]);
    check(&zones, &required("matchExpressions: [{key: zone, operator: NotIn, values: [east]}]"), expect!["b"]);
    check(&zones, &required("matchExpressions: [{key: size, operator: Gt, values: ['9']}]"), expect!["b"]);
    check(&zones, &required("matchExpressions: [{key: size, operator: Lt, values: ['9']}]"), expect!["a"]);
    check(&zones, &required("matchFields: [{key: metadata.name, operator: In, values: [b]}]"), expect!["b"]);
    check(
        &zones,
        &required(""),
        expect!["0/2 nodes are available: 2 node(s) didn't match Pod's node affinity/selector."],
    );
    let preferred = "affinity: {nodeAffinity: {preferredDuringSchedulingIgnoredDuringExecution: [\
        {weight: 10, preference: {matchExpressions: [{key: zone, operator: In, values: [east]}]}}, \
        {weight: 90, preference: {matchExpressions: [{key: zone, operator: In, values: [west]}]}}]}}";
    check(&zones, &pod("p", preferred), expect!["b"]);
}

#[test]
fn host_ports() {
    let taken = node("a", PLAIN)
        + "---\n{apiVersion: v1, kind: Pod, metadata: {name: other}, spec: {nodeName: a, containers: [{name: c, ports: [{containerPort: 80, hostPort: 8080, hostIP: 127.0.0.1}]}]}}\n";
    let wanting = |port: &str| {
        pod_of(&format!(
            "{{apiVersion: v1, kind: Pod, metadata: {{name: p}}, spec: {{containers: [{{name: c, ports: [{{containerPort: 80, {port}}}]}}]}}}}"
        ))
    };
    check(
        &taken,
        &wanting("hostPort: 8080"),
        expect!["0/1 nodes are available: 1 node(s) didn't have free ports for the requested pod ports."],
    );
    check(&taken, &wanting("hostPort: 8080, hostIP: 127.0.0.2"), expect!["a"]);
    check(&taken, &wanting("hostPort: 8080, protocol: UDP"), expect!["a"]);
    check(&taken, &wanting("hostPort: 8081"), expect!["a"]);
}

#[test]
fn the_emptier_node() {
    let loaded = two(PLAIN, PLAIN)
        + "---\n{apiVersion: v1, kind: Pod, metadata: {name: other}, spec: {nodeName: a, containers: [{name: c, resources: {requests: {cpu: '1', memory: 1Gi}}}]}}\n";
    check(&loaded, &pod("p", ""), expect!["b"]);
}

fn replica(name: &str) -> Pod {
    pod_of(&format!(
        "{{apiVersion: v1, kind: Pod, metadata: {{name: {name}, ownerReferences: [{{apiVersion: apps/v1, kind: ReplicaSet, name: rs, uid: rs, controller: true}}]}}, spec: {{containers: [{{name: c}}]}}}}"
    ))
}

#[test]
fn replicas_are_spread_whatever_the_seed() {
    for seed in 0..50 {
        let mut snapshot = Snapshot::of(&view(&["a", "b", "c"].map(|name| node(name, PLAIN)).concat()));
        let mut used = std::collections::BTreeMap::<String, usize>::new();
        for index in 0..6 {
            let pod = replica(&format!("p{index}"));
            let Decision::Bind(node) = schedule(&pod, &snapshot, &Profile::default(), seed) else {
                panic!("there is room");
            };
            snapshot.assume(&pod, &node);
            *used.entry(node).or_default() += 1;
            if index == 2 {
                assert_eq!(used.len(), 3, "three replicas on three nodes");
            }
        }
        assert!(used.values().all(|count| *count == 2), "{used:?}");
    }
}

#[test]
fn assumed_pods_count_until_they_are_forgotten() {
    let mut snapshot = Snapshot::of(&view(&node("a", PLAIN)));
    let mut first = requesting("cpu: '3'");
    first.metadata.name = Some("first".to_owned());
    let second = requesting("cpu: '3'");
    let decide = |snapshot: &Snapshot| schedule(&second, snapshot, &Profile::default(), 0);
    snapshot.assume(&first, "a");
    assert!(matches!(decide(&snapshot), Decision::Unschedulable(_)));
    snapshot.forget(&Key::new("default", "first"));
    assert_eq!(decide(&snapshot), Decision::Bind("a".to_owned()));
}

/// Random comings and goings: a snapshot that follows changes is the snapshot of the View at the end.
#[derive(Clone, Debug)]
enum Step {
    Bind(u8, u8),
    End(u8),
    Remove(u8),
    Node(u8),
    DropNode(u8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        (0..6_u8, 0..3_u8).prop_map(|(pod, node)| Step::Bind(pod, node)),
        (0..6_u8).prop_map(Step::End),
        (0..6_u8).prop_map(Step::Remove),
        (0..3_u8).prop_map(Step::Node),
        (0..3_u8).prop_map(Step::DropNode),
    ];
    proptest::collection::vec(step, 0..40)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn following_changes_is_starting_anew(steps in steps()) {
        let bound = |pod: u8, node: u8, phase: &str| format!(
            "{{apiVersion: v1, kind: Pod, metadata: {{name: p{pod}}}, spec: {{nodeName: n{node}, containers: [{{name: c, resources: {{requests: {{cpu: {pod}00m}}}}, ports: [{{containerPort: 1, hostPort: {}}}]}}]}}, status: {{phase: {phase}}}}}", pod + 1
        );
        let mut view = View::default();
        let mut snapshot = Snapshot::default();
        for step in steps {
            let before = view.clone();
            match step {
                Step::Bind(pod, node) => { view.insert(objects(&bound(pod, node, "Running")).remove(0)); }
                Step::End(pod) => { view.insert(objects(&bound(pod, 0, "Failed")).remove(0)); }
                Step::Remove(pod) => { view.remove(Kind::Pod, &Key::new("default", &format!("p{pod}"))); }
                Step::Node(name) => { view.insert(objects(&node(&format!("n{name}"), PLAIN)).remove(0)); }
                Step::DropNode(name) => { view.remove(Kind::Node, &Key::cluster(&format!("n{name}"))); }
            }
            for change in view.changes_since(&before) {
                snapshot.apply(&change);
            }
        }
        prop_assert_eq!(format!("{snapshot:?}"), format!("{:?}", Snapshot::of(&view)));
    }
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).expect("a time")
}

fn change(old: Option<&Object>, new: Option<&Object>) -> Change {
    let any = new.or(old).expect("one side");
    Change { kind: any.kind(), key: any.key(), old: old.cloned(), new: new.cloned() }
}

fn unbound(name: &str, priority: i32) -> Object {
    objects(&format!(
        "{{apiVersion: v1, kind: Pod, metadata: {{name: {name}}}, spec: {{priority: {priority}, containers: []}}}}"
    ))
    .remove(0)
}

fn popped(queue: &mut Queue, second: i64) -> String {
    let mut names = Vec::new();
    while let Some(key) = queue.pop(at(second)) {
        names.push(key.name);
    }
    names.join(" ")
}

#[test]
fn the_queue_goes_by_priority_then_arrival() {
    let mut queue = Queue::default();
    for (name, priority) in [("a", 0), ("b", 5), ("c", 0), ("d", 5)] {
        queue.apply(&change(None, Some(&unbound(name, priority))), at(0));
    }
    assert_eq!(popped(&mut queue, 0), "b d a c");
}

#[test]
fn pods_of_others_are_not_ours() {
    let others = [
        "spec: {nodeName: node, containers: []}",
        "spec: {schedulerName: other, containers: []}",
        "spec: {schedulingGates: [{name: g}], containers: []}",
        "status: {phase: Failed}, spec: {containers: []}",
    ];
    let mut queue = Queue::default();
    for other in others {
        let pod = objects(&format!("{{apiVersion: v1, kind: Pod, metadata: {{name: p}}, {other}}}")).remove(0);
        queue.apply(&change(None, Some(&pod)), at(0));
        assert!(queue.is_empty(), "{other}");
    }
}

#[test]
fn an_unschedulable_pod_waits_for_something_that_may_help() {
    let mut queue = Queue::default();
    let waiting = unbound("p", 0);
    queue.apply(&change(None, Some(&waiting)), at(0));
    assert_eq!(popped(&mut queue, 0), "p");
    queue.unschedulable(&waiting.key(), at(0));
    // Its own new condition does not help it.
    queue.apply(&change(Some(&waiting), Some(&waiting)), at(5));
    assert_eq!(popped(&mut queue, 5), "");
    // A heartbeat does not either; a label may.
    let plain = objects(&node("a", PLAIN)).remove(0);
    queue.apply(&change(Some(&plain), Some(&plain)), at(6));
    assert_eq!(popped(&mut queue, 6), "");
    let labelled = objects(&node("a", ", labels: {disk: ssd}}")).remove(0);
    queue.apply(&change(Some(&plain), Some(&labelled)), at(7));
    assert_eq!(popped(&mut queue, 7), "p");
    // Nor before its backoff is over.
    queue.unschedulable(&waiting.key(), at(7));
    queue.apply(&change(None, Some(&plain)), at(8));
    assert_eq!(popped(&mut queue, 8), "");
    assert_eq!(queue.next_due(), Some(at(9)));
    assert_eq!(popped(&mut queue, 9), "p");
    // Room that a pod leaves.
    queue.unschedulable(&waiting.key(), at(9));
    let bound =
        objects("{apiVersion: v1, kind: Pod, metadata: {name: b}, spec: {nodeName: a, containers: []}}").remove(0);
    queue.apply(&change(Some(&bound), None), at(100));
    assert_eq!(popped(&mut queue, 100), "p");
    // In the end, time.
    queue.unschedulable(&waiting.key(), at(100));
    let due = at(100) + queue::FLUSH;
    assert_eq!(queue.next_due(), Some(due));
    assert_eq!(queue.pop(due), Some(waiting.key()));
}

#[test]
fn a_pod_that_could_not_be_bound_backs_off() {
    let mut queue = Queue::default();
    let pod = unbound("p", 0);
    queue.apply(&change(None, Some(&pod)), at(0));
    let mut now = at(0);
    let mut waits = Vec::new();
    for _ in 0..6 {
        assert!(queue.pop(now).is_some());
        queue.failed(&pod.key(), now);
        let due = queue.next_due().expect("it is tried again");
        waits.push(due.duration_since(now).as_secs());
        now = due;
    }
    assert_eq!(waits, [1, 2, 4, 8, 10, 10]);
    assert_eq!(queue::LAST_BACKOFF, SignedDuration::from_secs(10));
    // Bound after all, or gone.
    queue.apply(&change(Some(&pod), None), now);
    assert!(queue.is_empty());
    assert_eq!(queue.next_due(), None);
}
