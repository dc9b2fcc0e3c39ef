use expect_test::expect;
use serde_json::json;

use super::*;
use crate::testing::row;

#[test]
fn rows_of_the_table_are_sound() {
    for resource in resources() {
        let gvk = resource.gvk();
        assert!(Schema::for_kind(&gvk).is_some(), "{gvk} has a schema");
        let list = Gvk::new(&resource.group, &resource.version, &resource.list_kind);
        assert!(Schema::for_kind(&list).is_some() || !resource.has_verb("list"), "{list} has a schema");
        assert_eq!(find(&resource.group, &resource.version, &resource.resource).map(|r| r.gvk()), Some(gvk.clone()));
        assert_eq!(find_kind(&gvk).map(|r| r.gvr()), Some(resource.gvr()));
        assert!(resource.columns.iter().any(|c| c.format == "name"), "{gvk} has a name column");
        assert!(resource.verbs.is_sorted() && resource.subresources.is_sorted_by_key(|s| s.name), "{gvk}");
        let empty = json!({"apiVersion": gvk.api_version(), "kind": gvk.kind});
        row(&empty);
        for label in resource.strategy.field_labels() {
            assert!(resource.strategy.fields(&empty).iter().any(|(l, _)| l == label), "{gvk} {label}");
        }
        assert_eq!(resource.strategy.fields(&empty).len(), resource.strategy.field_labels().len());
        assert_eq!(resource.subresource("status").is_some(), resource.strategy.has_status(), "{gvk}");
    }
    let sorted: Vec<_> = resources().iter().map(|r| (&r.group, &r.resource)).collect();
    assert!(sorted.is_sorted());
}

#[test]
fn storage_keys() {
    let pods = find("", "v1", "pods").expect("exists");
    assert_eq!(pods.storage_key(&Key::new("default", "x")), "/registry/core/pods/default/x");
    assert_eq!(pods.prefix("default"), "/registry/core/pods/default/");
    let nodes = find("", "v1", "nodes").expect("exists");
    assert_eq!(nodes.storage_key(&Key::new("", "n")), "/registry/core/nodes/n");
    assert!(pods.selects_by("spec.nodeName") && pods.selects_by("metadata.namespace") && !pods.selects_by("spec.x"));
    assert!(!nodes.selects_by("metadata.namespace"));
    let [a, b] = ["", "events.k8s.io"].map(|g| find(g, "v1", "events").expect("exists").prefix(""));
    assert_eq!(a, b, "both views of events are one store");
}

#[test]
fn kinds_print_as_kubectl_shows_them() {
    let created = "2026-01-01T11:00:00Z";
    let mut all = Vec::new();
    for (gvk, object) in [
        (
            ("v1", "Node"),
            json!({"metadata": {"labels": {"node-role.kubernetes.io/control-plane": "", "kubernetes.io/role": "db"}}, "spec": {"unschedulable": true},
            "status": {"conditions": [{"type": "Ready", "status": "True"}], "addresses": [{"type": "InternalIP", "address": "10.0.0.1"}], "nodeInfo": {"kubeletVersion": "v1", "osImage": "Debian", "kernelVersion": "6.1", "containerRuntimeVersion": "containerd://1.6"}}}),
        ),
        (("v1", "Node"), json!({"status": {"conditions": [{"type": "Ready", "status": "Unknown"}]}})),
        (("v1", "Node"), json!({})),
        (("v1", "Namespace"), json!({"status": {"phase": "Active"}})),
        (("v1", "ConfigMap"), json!({"data": {"a": "b"}, "binaryData": {"c": "ZA=="}})),
        (("v1", "Secret"), json!({"type": "Opaque", "data": {"a": "b"}})),
        (("v1", "ServiceAccount"), json!({})),
        (("v1", "Endpoints"), json!({})),
        (
            ("v1", "Endpoints"),
            json!({"subsets": [{"addresses": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}], "ports": [{"port": 80}, {"port": 81}]}]}),
        ),
        (
            ("discovery.k8s.io/v1", "EndpointSlice"),
            json!({"addressType": "IPv4", "ports": [{"port": 80}, {}], "endpoints": [{"addresses": ["10.0.0.1"]}, {"addresses": ["10.0.0.2"]}, {"addresses": ["10.0.0.3"]}, {"addresses": ["10.0.0.4"]}]}),
        ),
        (("discovery.k8s.io/v1", "EndpointSlice"), json!({"addressType": "IPv4"})),
        (("coordination.k8s.io/v1", "Lease"), json!({"spec": {"holderIdentity": "me"}})),
        (
            ("apps/v1", "Deployment"),
            json!({"spec": {"replicas": 3, "selector": {"matchLabels": {"app": "a"}}, "template": {"spec": {"containers": [{"name": "a", "image": "a:1"}, {"name": "b", "image": "b:1"}]}}}, "status": {"readyReplicas": 2, "updatedReplicas": 3, "availableReplicas": 1}}),
        ),
        (
            ("apps/v1", "ReplicaSet"),
            json!({"spec": {"replicas": 3, "selector": {"matchLabels": {"app": "a"}}}, "status": {"replicas": 2, "readyReplicas": 1}}),
        ),
        (
            ("v1", "Event"),
            json!({"lastTimestamp": "2026-01-01T11:59:00Z", "firstTimestamp": "2026-01-01T11:50:00Z", "count": 4, "type": "Warning", "reason": "BackOff", "message": " failed\n", "involvedObject": {"kind": "Pod", "name": "p", "fieldPath": "spec.containers{c}"}, "source": {"component": "node", "host": "n1"}}),
        ),
        (
            ("v1", "Event"),
            json!({"eventTime": "2026-01-01T11:59:30.000000Z", "reason": "Scheduled", "involvedObject": {"kind": "Pod", "name": "p"}, "reportingComponent": "scheduler"}),
        ),
        (
            ("events.k8s.io/v1", "Event"),
            json!({"eventTime": "2026-01-01T11:59:30.000000Z", "series": {"count": 3, "lastObservedTime": "2026-01-01T11:59:50.000000Z"}, "note": "hello", "regarding": {"kind": "Node", "name": "n"}, "reportingController": "x"}),
        ),
    ] {
        let mut object = object;
        object["apiVersion"] = gvk.0.into();
        object["kind"] = gvk.1.into();
        object["metadata"]["name"] = "x".into();
        object["metadata"]["creationTimestamp"] = created.into();
        all.push(row(&object));
    }
    expect![[r#"
        x | Ready,SchedulingDisabled | control-plane,db | 60m | v1 | 10.0.0.1 | <none> | Debian | 6.1 | containerd://1.6
        x | NotReady | <none> | 60m |  | <none> | <none> | <unknown> | <unknown> | <unknown>
        x | Unknown | <none> | 60m |  | <none> | <none> | <unknown> | <unknown> | <unknown>
        x | Active | 60m
        x | 2 | 60m
        x | Opaque | 1 | 60m
        x | 0 | 60m
        x | <none> | 60m
        x | 10.0.0.1:80,[fd00::1]:80,10.0.0.1:81 + 1 more... | 60m
        x | IPv4 | 80,* | 10.0.0.1,10.0.0.2,10.0.0.3 + 1 more... | 60m
        x | IPv4 | <unset> | <unset> | 60m
        x | me | 60m
        x | 2/3 | 3 | 1 | 60m | a,b | a:1,b:1 | app=a
        x | 3 | 2 | 1 | 60m |  |  | app=a
        60s | Warning | BackOff | pod/p | spec.containers{c} | node, n1 | failed | 10m | 4 | x
        30s |  | Scheduled | pod/p |  | scheduler |  | 30s | 1 | x
        10s |  |  | node/n |  | x | hello | 30s | 3 | x"#]]
    .assert_eq(&all.join("\n"));
}
