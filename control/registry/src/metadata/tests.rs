use expect_test::expect;
use serde_json::json;

use super::*;
use crate::testing::{create_errors, created, lines, updated};

fn object(api_version: &str, kind: &str, rest: Value) -> Value {
    let mut object =
        json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": "x", "namespace": "default"}});
    object.as_object_mut().expect("object").extend(rest.as_object().expect("object").clone());
    if matches!(kind, "Namespace" | "Node") {
        meta::remove(&mut object, "namespace");
    }
    object
}

#[test]
fn small_kinds_are_checked() {
    let mut out = String::new();
    for bad in [
        object("v1", "ConfigMap", json!({"data": {"a b": "", "ok": ""}, "binaryData": {"ok": ""}})),
        object("v1", "Secret", json!({"type": "kubernetes.io/tls", "data": {"..": "", "tls.crt": ""}})),
        object("v1", "Namespace", json!({"metadata": {"name": "a.b", "namespace": "c"}})),
        object(
            "v1",
            "Node",
            json!({"spec": {"taints": [{"key": "a", "effect": "Go"}, {"key": "a", "effect": "Go"}], "podCIDRs": ["x"]}}),
        ),
        object(
            "v1",
            "Endpoints",
            json!({"subsets": [{}, {"addresses": [{"ip": "x"}], "ports": [{"port": 0}, {"port": 1}]}]}),
        ),
        object(
            "discovery.k8s.io/v1",
            "EndpointSlice",
            json!({"addressType": "IPv4", "endpoints": [{}, {"addresses": ["fd00::1", "x"]}], "ports": [{}, {"protocol": "Y"}]}),
        ),
        object("coordination.k8s.io/v1", "Lease", json!({"spec": {"leaseDurationSeconds": 0, "leaseTransitions": -1}})),
        object("v1", "Event", json!({"involvedObject": {"namespace": "other"}})),
        object("events.k8s.io/v1", "Event", json!({"regarding": {"namespace": "other"}, "type": "Odd"})),
        object("apps/v1", "ReplicaSet", json!({})),
    ] {
        out.push_str(&format!("# {}\n{}", bad["kind"], create_errors(bad.clone())));
    }
    expect![[r##"
        # "ConfigMap"
        data[a b]: Invalid value: "a b": a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')
        binaryData[ok]: Invalid value: "ok": duplicate of key present in data
        # "Secret"
        data[..]: Invalid value: "..": must not be '..'
        data[tls.key]: Required value
        # "Namespace"
        metadata.name: Invalid value: "a.b": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')
        # "Node"
        spec.taints[0].effect: Unsupported value: "Go": supported values: "NoExecute", "NoSchedule", "PreferNoSchedule"
        spec.taints[1].effect: Unsupported value: "Go": supported values: "NoExecute", "NoSchedule", "PreferNoSchedule"
        spec.taints[1]: Duplicate value: {"effect":"Go","key":"a"}: taints must be unique by key and effect pair
        spec.podCIDRs[0]: Invalid value: "x": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)
        # "Endpoints"
        subsets[0]: Required value: must specify `addresses` or `notReadyAddresses`
        subsets[1].addresses[0].ip: Invalid value: "x": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)
        subsets[1].ports[0].name: Required value
        subsets[1].ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive
        subsets[1].ports[1].name: Required value
        # "EndpointSlice"
        endpoints[0].addresses: Required value: must contain at least 1 address
        endpoints[1].addresses[0]: Invalid value: "fd00::1": must be an IPv4 address
        endpoints[1].addresses[1]: Invalid value: "x": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)
        ports[1].name: Duplicate value: ""
        ports[1].protocol: Unsupported value: "Y": supported values: "SCTP", "TCP", "UDP"
        # "Lease"
        spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0
        spec.leaseTransitions: Invalid value: -1: must be greater than or equal to 0
        # "Event"
        involvedObject.namespace: Invalid value: "other": does not match event.namespace
        # "Event"
        involvedObject.namespace: Invalid value: "other": does not match event.namespace
        eventTime: Required value
        type: Invalid value: "": has invalid value: Odd
        # "ReplicaSet"
        spec.selector: Required value
        spec.template: Required value
    "##]].assert_eq(&out);
}

fn deployment(spec: Value) -> Value {
    let mut whole = json!({"selector": {"matchLabels": {"app": "a"}}, "template": {"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "c", "image": "c"}]}}});
    whole.as_object_mut().expect("object").extend(spec.as_object().expect("object").clone());
    object("apps/v1", "Deployment", json!({"spec": whole}))
}

#[test]
fn deployments_are_checked() {
    let mut out = String::new();
    for bad in [
        deployment(json!({"replicas": -1})),
        deployment(json!({"selector": null})),
        deployment(json!({"selector": {}})),
        deployment(
            json!({"selector": {"matchLabels": {"app": "b"}, "matchExpressions": [{"key": "a", "operator": "In"}, {"key": "a", "operator": "Of"}]}}),
        ),
        deployment(json!({"strategy": {"type": "Recreate", "rollingUpdate": {"maxSurge": 1}}})),
        deployment(json!({"strategy": {"type": "BlueGreen"}})),
        deployment(json!({"strategy": {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": "0%"}}})),
        deployment(json!({"strategy": {"rollingUpdate": {"maxSurge": "x", "maxUnavailable": "200%"}}})),
        deployment(json!({"progressDeadlineSeconds": 5, "minReadySeconds": 10, "revisionHistoryLimit": -1})),
        deployment(
            json!({"template": {"metadata": {"labels": {"app": "a"}}, "spec": {"restartPolicy": "Never", "activeDeadlineSeconds": 3, "containers": []}}}),
        ),
        deployment(json!({"template": null})),
    ] {
        out.push_str(&format!("# {}\n", create_errors(bad)));
    }
    expect![[r##"
        # spec.replicas: Invalid value: -1: must be greater than or equal to 0

        # spec.selector: Required value
        spec.template.metadata.labels: Invalid value: {"app":"a"}: `selector` does not match template `labels`

        # spec.selector: Invalid value: {}: empty selector is invalid for deployment

        # spec.selector.matchExpressions[0].values: Required value: must be specified when `operator` is 'In' or 'NotIn'
        spec.selector.matchExpressions[1].operator: Invalid value: "Of": not a valid selector operator
        spec.template.metadata.labels: Invalid value: {"app":"a"}: `selector` does not match template `labels`

        # spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is 'Recreate'

        # spec.strategy.type: Unsupported value: "BlueGreen": supported values: "Recreate", "RollingUpdate"

        # spec.strategy.rollingUpdate.maxUnavailable: Invalid value: "0%": may not be 0 when `maxSurge` is 0

        # spec.strategy.rollingUpdate.maxSurge: Invalid value: "x": a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')
        spec.strategy.rollingUpdate.maxUnavailable: Invalid value: "200%": must not be greater than 100%

        # spec.revisionHistoryLimit: Invalid value: -1: must be greater than or equal to 0
        spec.progressDeadlineSeconds: Invalid value: 5: must be greater than minReadySeconds

        # spec.template.spec.containers: Required value
        spec.template.spec.restartPolicy: Unsupported value: "Never": supported values: "Always"
        spec.template.spec.activeDeadlineSeconds: Forbidden: activeDeadlineSeconds in ReplicaSet is not Supported

        # spec.template: Required value

    "##]].assert_eq(&out);
}

#[test]
fn deployment_defaults_and_generation() {
    let old = created(deployment(json!({})));
    expect![[r#"{"progressDeadlineSeconds":600,"replicas":1,"revisionHistoryLimit":10,"selector":{"matchLabels":{"app":"a"}},"strategy":{"rollingUpdate":{"maxSurge":"25%","maxUnavailable":"25%"},"type":"RollingUpdate"},"template":{"metadata":{"labels":{"app":"a"}},"spec":{"containers":[{"image":"c","imagePullPolicy":"Always","name":"c","resources":{},"terminationMessagePath":"/dev/termination-log","terminationMessagePolicy":"File"}],"dnsPolicy":"ClusterFirst","restartPolicy":"Always","schedulerName":"default-scheduler","securityContext":{},"terminationGracePeriodSeconds":30}}}"#]].assert_eq(&old["spec"].to_string());
    let (new, wrong) = updated(&old, |d| d["spec"]["replicas"] = 3.into());
    assert_eq!((wrong.as_str(), meta::generation(&new)), ("", 2));
    let (new, _) = updated(&old, |d| d["metadata"]["labels"] = json!({"a": "b"}));
    assert_eq!(meta::generation(&new), 1, "labels are no spec");
    let (new, _) = updated(&old, |d| d["status"] = json!({"replicas": 7}));
    assert_eq!(new.get("status"), Some(&json!({})), "an update does not write the status");
    let (_, wrong) = updated(&old, |d| {
        d["spec"]["selector"] = json!({"matchLabels": {"app": "b"}});
        d["spec"]["template"]["metadata"]["labels"] = json!({"app": "b"});
    });
    expect![[r#"
        spec.selector: Invalid value: {"matchLabels":{"app":"b"}}: field is immutable
    "#]]
    .assert_eq(&wrong);
}

#[test]
fn frozen_maps_and_types() {
    let mut out = String::new();
    let frozen = created(object("v1", "ConfigMap", json!({"immutable": true, "data": {"a": "b"}})));
    out += &updated(&frozen, |c| c["data"]["a"] = "c".into()).1;
    out += &updated(&frozen, |c| c["immutable"] = false.into()).1;
    let secret = created(object("v1", "Secret", json!({"stringData": {"a": "b"}})));
    assert_eq!(secret["data"]["a"], "Yg==");
    assert_eq!(secret.get("stringData"), None);
    out += &updated(&secret, |s| s["type"] = "x".into()).1;
    let node = created(object("v1", "Node", json!({"spec": {"podCIDRs": ["10.0.0.0/24"]}})));
    out += &updated(&node, |n| n["spec"]["podCIDRs"] = json!(["10.0.1.0/24"])).1;
    let slice = created(object("discovery.k8s.io/v1", "EndpointSlice", json!({"addressType": "IPv4"})));
    out += &updated(&slice, |n| n["addressType"] = "IPv6".into()).1;
    let mut dying = created(object("v1", "ConfigMap", json!({})));
    meta::set_deletion(&mut dying, crate::testing::now(), 0);
    meta::set_finalizers(&mut dying, &["a/b"]);
    out += &updated(&dying, |n| meta::set_finalizers(n, &["a/b", "c/d"])).1;
    assert_eq!(updated(&dying, |n| meta::set_finalizers(n, &[])).1, "");
    expect![[r#"
        data: Forbidden: field is immutable when `immutable` is set
        immutable: Forbidden: field is immutable when `immutable` is set
        type: Invalid value: "x": field is immutable
        spec.podCIDRs: Forbidden: node updates may not change podCIDR except from "" to valid
        addressType: Invalid value: "IPv6": field is immutable
        metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers []string{"c/d"}
    "#]].assert_eq(&out);
}

#[test]
fn namespaces() {
    let namespace = created(object("v1", "Namespace", json!({})));
    expect![[r#"{"apiVersion":"v1","kind":"Namespace","metadata":{"labels":{"kubernetes.io/metadata.name":"x"},"name":"x"},"spec":{"finalizers":["kubernetes"]},"status":{"phase":"Active"}}"#]].assert_eq(&namespace.to_string());
    let strategy = &crate::testing::resource(&namespace).strategy;
    assert!(strategy.is_held(&namespace));
    let (new, _) = updated(&namespace, |n| n["spec"] = json!({}));
    assert!(strategy.is_held(&new), "only finalize releases a namespace");
    let mut dying = new;
    meta::set_deletion(&mut dying, crate::testing::now(), 0);
    strategy.mark_deleting(&mut dying);
    assert_eq!(dying["status"]["phase"], "Terminating");
    assert_eq!(lines(strategy.validate_status_update(&dying, &namespace)), "");
}

#[test]
fn carry_over_fills_what_the_caller_left_out() {
    let old = json!({"metadata": {"name": "x", "namespace": "d", "uid": "u", "creationTimestamp": "t", "generation": 4, "deletionTimestamp": "d"}});
    let mut new = json!({"metadata": {"creationTimestamp": "other", "selfLink": "l"}});
    carry_over(&mut new, &old);
    assert_eq!(new, old);
}

#[test]
fn generate_name_is_checked() {
    let mut object = object("v1", "ConfigMap", json!({}));
    object["metadata"] = json!({"namespace": "default", "name": "ok-abcde", "generateName": "Bad_"});
    assert!(create_errors(object.clone()).starts_with("metadata.generateName: Invalid value: \"Bad_\""));
    object["metadata"]["generateName"] = "ok-".into();
    assert_eq!(create_errors(object), "");
}

#[test]
fn scale_view() {
    let mut deployment = created(deployment(json!({"replicas": 3})));
    deployment["status"] = json!({"replicas": 2});
    deployment["metadata"]["resourceVersion"] = "7".into();
    let mut scale = crate::scale::read(&deployment, &crate::scale::WORKLOAD).expect("fine");
    expect![[r#"{"apiVersion":"autoscaling/v1","kind":"Scale","metadata":{"name":"x","namespace":"default","resourceVersion":"7"},"spec":{"replicas":3},"status":{"replicas":2,"selector":"app=a"}}"#]].assert_eq(&scale.to_string());
    scale["spec"]["replicas"] = 5.into();
    let written = crate::scale::write(&deployment, &scale, &crate::scale::WORKLOAD).expect("fine");
    assert_eq!((&written["spec"]["replicas"], &written["metadata"]["resourceVersion"]), (&json!(5), &json!("7")));
    scale["spec"]["replicas"] = (-1).into();
    let refused = crate::scale::write(&deployment, &scale, &crate::scale::WORKLOAD).expect_err("negative");
    expect![[
        r#"Scale.autoscaling "x" is invalid: spec.replicas: Invalid value: -1: must be greater than or equal to 0"#
    ]]
    .assert_eq(&refused.message);
}
