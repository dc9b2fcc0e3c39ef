use expect_test::expect;
use serde_json::{Value, json};

use super::*;

fn pod() -> Schema {
    Schema::for_kind(&Gvk::new("", "v1", "Pod")).expect("pods are built in")
}

#[test]
fn every_served_kind_has_a_schema() {
    for (group, kind) in [
        ("", "Namespace"),
        ("", "Node"),
        ("", "PodList"),
        ("", "Service"),
        ("", "Endpoints"),
        ("", "ConfigMap"),
        ("", "Secret"),
        ("", "ServiceAccount"),
        ("", "Event"),
        ("", "Status"),
        ("", "DeleteOptions"),
        ("", "Binding"),
        ("events.k8s.io", "Event"),
        ("discovery.k8s.io", "EndpointSlice"),
        ("coordination.k8s.io", "Lease"),
        ("apps", "Deployment"),
        ("apps", "ReplicaSetList"),
        ("apps", "DeleteOptions"),
        ("autoscaling", "Scale"),
        ("policy", "Eviction"),
        ("authentication.k8s.io", "TokenRequest"),
    ] {
        assert!(Schema::for_kind(&Gvk::new(group, "v1", kind)).is_some(), "{group}/{kind}");
    }
    assert!(definitions().is_sorted_by_key(|d| d.name));
    for definition in definitions() {
        if let Body::Object(fields) = &definition.body {
            assert!(fields.is_sorted_by_key(|f| f.name), "{}", definition.name);
        }
    }
}

#[test]
fn merge_facts() {
    let spec = Schema::named("io.k8s.api.core.v1.PodSpec").expect("exists");
    let containers = spec.field("containers").expect("exists");
    assert_eq!((containers.merge_key, containers.merges(), containers.required), (Some("name"), true, true));
    let volumes = spec.field("volumes").expect("exists");
    assert_eq!(volumes.patch_strategy, Some("merge,retainKeys"));
    let container = containers.kind.element().and_then(Type::schema).expect("named");
    assert_eq!(container.field("ports").expect("exists").map_keys, ["containerPort", "protocol"]);
    assert_eq!(
        container.field("resources").and_then(|f| f.kind.schema()).expect("named").definition().name,
        "io.k8s.api.core.v1.ResourceRequirements"
    );
}

#[test]
fn unknown_fields_have_paths() {
    let mut object = json!({"apiVersion": "v1", "kind": "Pod", "nope": 1, "metadata": {"labels": {"any": "x"}, "creationTimestamp": null},
        "spec": {"foo": 1, "nodeSelector": {"a": "b", "n": null}, "containers": [{"name": "a", "imagee": "b", "env": [{"name": "x", "valu": "y"}]}]}});
    let paths = prune(&pod(), &mut object);
    assert_eq!(paths, ["nope", "spec.containers[0].env[0].valu", "spec.containers[0].imagee", "spec.foo"]);
    assert_eq!(
        object,
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"labels": {"any": "x"}},
            "spec": {"nodeSelector": {"a": "b", "n": ""}, "containers": [{"name": "a", "env": [{"name": "x"}]}]}})
    );
}

#[test]
fn wrong_types() {
    let mut out = String::new();
    for bad in [
        json!({"spec": "x"}),
        json!({"spec": {"containers": {}}}),
        json!({"spec": {"containers": [1]}}),
        json!({"spec": {"containers": [{"name": 1}]}}),
        json!({"spec": {"terminationGracePeriodSeconds": "1"}}),
        json!({"spec": {"terminationGracePeriodSeconds": 1.5}}),
        json!({"spec": {"hostNetwork": "true"}}),
        json!({"spec": {"priority": 5_000_000_000_i64}}),
        json!({"spec": {"containers": [{"resources": {"limits": {"cpu": "1x"}}}]}}),
        json!({"spec": {"containers": [{"resources": {"limits": {"cpu": true}}}]}}),
        json!({"metadata": {"labels": {"a": 1}}}),
        json!({"metadata": {"creationTimestamp": "today"}}),
        json!({"metadata": []}),
        Value::from(3),
    ] {
        let error = type_check(&pod(), &bad).expect_err("wrong").to_string();
        out.push_str(&error);
        out.push('\n');
    }
    expect![[r#"
        json: cannot unmarshal string into field spec of type object
        json: cannot unmarshal object into field spec.containers of type list
        json: cannot unmarshal number into field spec.containers[0] of type object
        json: cannot unmarshal number into field spec.containers[0].name of type string
        json: cannot unmarshal string into field spec.terminationGracePeriodSeconds of type int64
        json: cannot unmarshal number 1.5 into field spec.terminationGracePeriodSeconds of type int64
        json: cannot unmarshal string into field spec.hostNetwork of type bool
        json: cannot unmarshal number 5000000000 into field spec.priority of type int32
        spec.containers[0].resources.limits[cpu]: quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'
        json: cannot unmarshal bool into field spec.containers[0].resources.limits[cpu] of type quantity
        json: cannot unmarshal number into field metadata.labels[a] of type string
        metadata.creationTimestamp: cannot parse "today" as an RFC 3339 time
        json: cannot unmarshal array into field metadata of type object
        json: cannot unmarshal number into field  of type object
    "#]]
    .assert_eq(&out);
    let good = json!({"spec": {"containers": [{"resources": {"limits": {"cpu": 1, "memory": "1Gi"}}, "livenessProbe": {"httpGet": {"port": "http"}}}]}});
    assert_eq!(type_check(&pod(), &good), Ok(()));
}
