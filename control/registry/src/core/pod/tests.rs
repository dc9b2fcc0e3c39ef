use expect_test::{Expect, expect};
use serde_json::json;

use super::*;
use crate::testing::{create_errors, created, now, row, updated};

fn pod(spec: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "default"}, "spec": spec})
}

/// A pod with one container of the given fields beside name and image.
fn with(container: Value) -> Value {
    let mut whole = json!({"name": "c", "image": "c:1"});
    whole.as_object_mut().expect("object").extend(container.as_object().expect("object").clone());
    pod(json!({"containers": [whole], "volumes": [{"name": "v"}]}))
}

fn errors(object: Value, want: Expect) {
    want.assert_eq(&create_errors(object));
}

#[test]
fn defaults_of_a_small_pod() {
    let mut made = created(pod(json!({
        "containers": [{"name": "c", "image": "nginx", "ports": [{"containerPort": 80}],
            "resources": {"limits": {"cpu": "1000m", "memory": "1024Mi"}, "requests": {"cpu": "0.1"}},
            "livenessProbe": {"httpGet": {"port": 80}},
            "env": [{"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}]}],
        "initContainers": [{"name": "i", "image": "reg:5000/a/b"}],
        "volumes": [{"name": "e"}, {"name": "h", "hostPath": {"path": "/x"}}, {"name": "s", "secret": {"secretName": "s"}}],
    })));
    Pod.admit(&mut made);
    expect![[r#"
        {
          "apiVersion": "v1",
          "kind": "Pod",
          "metadata": {
            "generation": 1,
            "name": "p",
            "namespace": "default"
          },
          "spec": {
            "containers": [
              {
                "env": [
                  {
                    "name": "IP",
                    "valueFrom": {
                      "fieldRef": {
                        "apiVersion": "v1",
                        "fieldPath": "status.podIP"
                      }
                    }
                  }
                ],
                "image": "nginx",
                "imagePullPolicy": "Always",
                "livenessProbe": {
                  "failureThreshold": 3,
                  "httpGet": {
                    "path": "/",
                    "port": 80,
                    "scheme": "HTTP"
                  },
                  "periodSeconds": 10,
                  "successThreshold": 1,
                  "timeoutSeconds": 1
                },
                "name": "c",
                "ports": [
                  {
                    "containerPort": 80,
                    "protocol": "TCP"
                  }
                ],
                "resources": {
                  "limits": {
                    "cpu": "1",
                    "memory": "1Gi"
                  },
                  "requests": {
                    "cpu": "100m",
                    "memory": "1Gi"
                  }
                },
                "terminationMessagePath": "/dev/termination-log",
                "terminationMessagePolicy": "File"
              }
            ],
            "dnsPolicy": "ClusterFirst",
            "enableServiceLinks": true,
            "initContainers": [
              {
                "image": "reg:5000/a/b",
                "imagePullPolicy": "Always",
                "name": "i",
                "resources": {},
                "terminationMessagePath": "/dev/termination-log",
                "terminationMessagePolicy": "File"
              }
            ],
            "preemptionPolicy": "PreemptLowerPriority",
            "priority": 0,
            "restartPolicy": "Always",
            "schedulerName": "default-scheduler",
            "securityContext": {},
            "serviceAccount": "default",
            "serviceAccountName": "default",
            "terminationGracePeriodSeconds": 30,
            "tolerations": [
              {
                "effect": "NoExecute",
                "key": "node.kubernetes.io/not-ready",
                "operator": "Exists",
                "tolerationSeconds": 300
              },
              {
                "effect": "NoExecute",
                "key": "node.kubernetes.io/unreachable",
                "operator": "Exists",
                "tolerationSeconds": 300
              }
            ],
            "volumes": [
              {
                "emptyDir": {},
                "name": "e"
              },
              {
                "hostPath": {
                  "path": "/x",
                  "type": ""
                },
                "name": "h"
              },
              {
                "name": "s",
                "secret": {
                  "defaultMode": 420,
                  "secretName": "s"
                }
              }
            ]
          },
          "status": {
            "phase": "Pending",
            "qosClass": "Burstable"
          }
        }"#]]
    .assert_eq(&serde_json::to_string_pretty(&made).expect("serialises"));
}

#[test]
fn defaulting_again_changes_nothing() {
    let once = created(with(
        json!({"readinessProbe": {"grpc": {"port": 1}}, "lifecycle": {"preStop": {"httpGet": {"port": "x"}}}}),
    ));
    let mut twice = once.clone();
    Pod.default(&mut twice);
    assert_eq!(once, twice);
    let (mut admitted, mut again) = (once.clone(), once);
    Pod.admit(&mut admitted);
    Pod.admit(&mut again);
    Pod.admit(&mut again);
    assert_eq!(admitted, again);
}

#[test]
fn priorities_of_system_classes() {
    let mut made = created(pod(json!({"priorityClassName": "system-node-critical", "containers": []})));
    Pod.admit(&mut made);
    assert_eq!(made["spec"]["priority"], 2_000_001_000);
}

#[test]
fn pull_policies() {
    for (image, want) in [
        ("nginx", "Always"),
        ("nginx:latest", "Always"),
        ("nginx:1.2", "IfNotPresent"),
        ("host:5000/nginx", "Always"),
        ("host:5000/nginx:1", "IfNotPresent"),
        ("nginx@sha256:abc", "IfNotPresent"),
        ("nginx:latest@sha256:abc", "IfNotPresent"),
    ] {
        let made = created(pod(json!({"containers": [{"name": "c", "image": image}]})));
        assert_eq!(made["spec"]["containers"][0]["imagePullPolicy"], want, "{image}");
    }
}

#[test]
fn refused_containers() {
    errors(
        pod(json!({"containers": []})),
        expect![[r#"
        spec.containers: Required value
    "#]],
    );
    errors(
        pod(
            json!({"containers": [{"name": "A_b", "image": ""}, {"image": " x "}, {"name": "c", "image": "c"}, {"name": "c", "image": "c"}]}),
        ),
        expect![[r#"
        spec.containers[0].name: Invalid value: "A_b": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')
        spec.containers[0].image: Required value
        spec.containers[1].name: Required value
        spec.containers[1].image: Invalid value: " x ": must not have leading or trailing whitespace
        spec.containers[3].name: Duplicate value: "c"
    "#]],
    );
    errors(
        with(json!({"imagePullPolicy": "Sometimes", "terminationMessagePolicy": "None"})),
        expect![[r#"
        spec.containers[0].terminationMessagePolicy: Unsupported value: "None": supported values: "FallbackToLogsOnError", "File"
        spec.containers[0].imagePullPolicy: Unsupported value: "Sometimes": supported values: "Always", "IfNotPresent", "Never"
    "#]],
    );
    errors(
        with(
            json!({"ports": [{"containerPort": 0}, {"containerPort": 70000, "protocol": "ICMP"}, {"containerPort": 1, "name": "Web"}, {"containerPort": 2, "name": "a", "hostPort": 5}, {"containerPort": 3, "name": "a", "hostPort": 5}]}),
        ),
        expect![[r#"
        spec.containers[0].ports[0].containerPort: Required value
        spec.containers[0].ports[1].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive
        spec.containers[0].ports[1].protocol: Unsupported value: "ICMP": supported values: "SCTP", "TCP", "UDP"
        spec.containers[0].ports[2].name: Invalid value: "Web": must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)
        spec.containers[0].ports[4].name: Duplicate value: "a"
        spec.containers[0].ports[4].hostPort: Duplicate value: "TCP//5"
    "#]],
    );
    errors(
        with(
            json!({"env": [{"name": ""}, {"name": "a=b"}, {"name": "x", "valueFrom": {}}, {"name": "x", "value": "1", "valueFrom": {"fieldRef": {"fieldPath": "metadata.nope"}}}, {"name": "x", "valueFrom": {"configMapKeyRef": {"name": "n"}, "secretKeyRef": {"name": "n", "key": "k"}}}]}),
        ),
        expect![[r#"
        spec.containers[0].env[0].name: Required value
        spec.containers[0].env[1].name: Invalid value: "a=b": a valid environment variable name must consist only of printable ASCII characters other than '='
        spec.containers[0].env[2].valueFrom: Invalid value: "": must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`
        spec.containers[0].env[3].valueFrom: Invalid value: "": may not be specified when `value` is not empty
        spec.containers[0].env[3].valueFrom.fieldRef.fieldPath: Invalid value: "metadata.nope": error converting fieldPath: field label not supported: metadata.nope
        spec.containers[0].env[4].valueFrom: Invalid value: "": may not have more than one field specified at a time
        spec.containers[0].env[4].valueFrom.configMapKeyRef.key: Required value
    "#]],
    );
    errors(
        with(
            json!({"volumeMounts": [{"name": "v", "mountPath": "/a"}, {"name": "w", "mountPath": "/a"}, {"name": "v", "mountPath": "", "subPath": "../x"}]}),
        ),
        expect![[r#"
        spec.containers[0].volumeMounts[1].name: Not found: "w"
        spec.containers[0].volumeMounts[1].mountPath: Invalid value: "/a": must be unique
        spec.containers[0].volumeMounts[2].mountPath: Required value
        spec.containers[0].volumeMounts[2].subPath: Invalid value: "../x": must not contain '..'
    "#]],
    );
}

#[test]
fn refused_resources() {
    let fits =
        json!({"resources": {"limits": {"cpu": "1", "x.io/gpu": "2"}, "requests": {"cpu": "1000m", "x.io/gpu": "2"}}});
    assert_eq!(create_errors(with(fits)), "");
    errors(
        with(json!({"resources": {"limits": {"cpu": "-1", "foo": "1"}}})),
        expect![[r#"
        spec.containers[0].resources.limits[cpu]: Invalid value: "-1": must be greater than or equal to 0
        spec.containers[0].resources.limits[foo]: Invalid value: "foo": must be a standard resource type or fully qualified
        spec.containers[0].resources.limits[foo]: Invalid value: "foo": must be a standard resource for containers
        spec.containers[0].resources.requests[cpu]: Invalid value: "-1": must be greater than or equal to 0
        spec.containers[0].resources.requests[foo]: Invalid value: "foo": must be a standard resource type or fully qualified
        spec.containers[0].resources.requests[foo]: Invalid value: "foo": must be a standard resource for containers
    "#]],
    );
    errors(
        with(json!({"resources": {"limits": {"cpu": "1"}, "requests": {"cpu": "2"}}})),
        expect![[r#"
        spec.containers[0].resources.requests: Invalid value: "2": must be less than or equal to cpu limit of 1
    "#]],
    );
    errors(
        with(json!({"resources": {"limits": {"cpu": "1x"}}})),
        expect![[r#"
        spec.containers[0].resources.limits[cpu]: Invalid value: "1x": quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'
        spec.containers[0].resources.requests[cpu]: Invalid value: "1x": quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'
    "#]],
    );
    errors(
        with(json!({"resources": {"requests": {"x.io/gpu": "1500m"}}})),
        expect![[r#"
        spec.containers[0].resources.requests[x.io/gpu]: Invalid value: "1500m": must be an integer
        spec.containers[0].resources.limits: Required value: Limit must be set for non overcommitable resources
    "#]],
    );
}

#[test]
fn refused_probes() {
    errors(
        with(
            json!({"livenessProbe": {}, "readinessProbe": {"exec": {}, "tcpSocket": {"port": 1}, "periodSeconds": -1}}),
        ),
        expect![[r#"
        spec.containers[0].livenessProbe: Required value: must specify a handler type
        spec.containers[0].readinessProbe.tcpSocket: Forbidden: may not specify more than 1 handler type
        spec.containers[0].readinessProbe.exec.command: Required value
        spec.containers[0].readinessProbe.periodSeconds: Invalid value: -1: must be greater than or equal to 0
    "#]],
    );
    errors(
        with(
            json!({"livenessProbe": {"httpGet": {"port": 0, "scheme": "FTP"}, "successThreshold": 2}, "startupProbe": {"tcpSocket": {"port": "Name_Bad"}}}),
        ),
        expect![[r#"
        spec.containers[0].livenessProbe.httpGet.port: Invalid value: 0: must be between 1 and 65535, inclusive
        spec.containers[0].livenessProbe.httpGet.scheme: Unsupported value: "FTP": supported values: "HTTP", "HTTPS"
        spec.containers[0].livenessProbe.successThreshold: Invalid value: 2: must be 1
        spec.containers[0].startupProbe.tcpSocket.port: Invalid value: "Name_Bad": must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)
    "#]],
    );
    errors(
        pod(
            json!({"containers": [{"name": "c", "image": "c"}], "initContainers": [{"name": "i", "image": "i", "livenessProbe": {"tcpSocket": {"port": 1}}}, {"name": "s", "image": "s", "restartPolicy": "Always", "livenessProbe": {"tcpSocket": {"port": 1}}}]}),
        ),
        expect![[r#"
        spec.initContainers[0].livenessProbe: Forbidden: may not be set for init containers without restartPolicy=Always
    "#]],
    );
}

#[test]
fn refused_specs() {
    let one = json!([{"name": "c", "image": "c"}]);
    errors(
        pod(
            json!({"containers": one, "restartPolicy": "Maybe", "dnsPolicy": "None", "activeDeadlineSeconds": 0, "hostname": "A.b"}),
        ),
        expect![[r#"
        spec.restartPolicy: Unsupported value: "Maybe": supported values: "Always", "Never", "OnFailure"
        spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None
        spec.hostname: Invalid value: "A.b": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')
        spec.activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647, inclusive
    "#]],
    );
    errors(
        pod(
            json!({"containers": one, "volumes": [{"name": "Bad"}, {"name": "a", "emptyDir": {}, "hostPath": {"path": "/../x"}}, {"name": "a", "secret": {"defaultMode": 1000}}, {"name": "p", "projected": {"sources": [{"serviceAccountToken": {"path": "/t", "expirationSeconds": 1}}]}}]}),
        ),
        expect![[r#"
        spec.volumes[0].name: Invalid value: "Bad": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')
        spec.volumes[1].hostPath: Forbidden: may not specify more than 1 volume type
        spec.volumes[2].secret.secretName: Required value
        spec.volumes[2].secret.defaultMode: Invalid value: 1000: must be a number between 0 and 0777 (octal), both inclusive
        spec.volumes[2].name: Duplicate value: "a"
        spec.volumes[3].projected.sources[0].serviceAccountToken.expirationSeconds: Invalid value: 1: may not specify a duration less than 10 minutes
        spec.volumes[3].projected.sources[0].serviceAccountToken.path: Invalid value: "/t": must be a relative path
    "#]],
    );
    errors(
        pod(
            json!({"containers": one, "tolerations": [{"operator": "Equal"}, {"key": "a", "operator": "Exists", "value": "v"}, {"key": "a", "effect": "NoSchedule", "tolerationSeconds": 1}, {"key": "a", "operator": "Is"}], "nodeSelector": {"a b": "c d"}}),
        ),
        expect![[r#"
        spec.nodeSelector: Invalid value: "a b": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')
        spec.nodeSelector: Invalid value: "c d": a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')
        spec.tolerations[0].operator: Invalid value: "Equal": operator must be Exists when `key` is empty, which means "match all values and all keys"
        spec.tolerations[1].operator: Invalid value: "v": value must be empty when `operator` is 'Exists'
        spec.tolerations[2].effect: Invalid value: "NoSchedule": effect must be 'NoExecute' when `tolerationSeconds` is set
        spec.tolerations[3].operator: Unsupported value: "Is": supported values: "Equal", "Exists"
    "#]],
    );
    errors(
        pod(
            json!({"containers": one, "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{"matchExpressions": [{"key": "a", "operator": "In"}]}]}}, "podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 0, "podAffinityTerm": {}}]}}, "topologySpreadConstraints": [{"maxSkew": 0}]}),
        ),
        expect![[r#"
        spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchExpressions[0].values: Required value: must be specified when `operator` is 'In' or 'NotIn'
        spec.affinity.podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].weight: Invalid value: 0: must be in the range 1-100
        spec.affinity.podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].podAffinityTerm.topologyKey: Required value: can not be empty
        spec.topologySpreadConstraints[0].maxSkew: Invalid value: 0: must be greater than zero
        spec.topologySpreadConstraints[0].topologyKey: Required value: can not be empty
        spec.topologySpreadConstraints[0].whenUnsatisfiable: Unsupported value: "": supported values: "DoNotSchedule", "ScheduleAnyway"
    "#]],
    );
}

#[test]
fn refused_metadata() {
    let mut bad = with(json!({}));
    bad["metadata"] = json!({"name": "Bad_Name", "namespace": "x", "labels": {"a": "b c", "/x": "y"}, "annotations": {"a b": "c"},
        "ownerReferences": [{"apiVersion": "v1", "kind": "K", "name": "n", "uid": "", "controller": true}, {"apiVersion": "v1", "kind": "K", "name": "m", "uid": "u", "controller": true}], "finalizers": ["a b"]});
    errors(
        bad,
        expect![[r#"
        metadata.name: Invalid value: "Bad_Name": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
        metadata.labels: Invalid value: "/x": prefix part must be non-empty
        metadata.labels: Invalid value: "b c": a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')
        metadata.annotations: Invalid value: "a b": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')
        metadata.ownerReferences[0].uid: Invalid value: "": must not be empty
        metadata.ownerReferences: Invalid value: [{"apiVersion":"v1","controller":true,"kind":"K","name":"n","uid":""},{"apiVersion":"v1","controller":true,"kind":"K","name":"m","uid":"u"}]: Only one reference can have Controller set to true. Found "true" in references for K/n and K/m
        metadata.finalizers: Invalid value: "a b": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')
    "#]],
    );
    errors(
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {}, "spec": {"containers": [{"name": "c", "image": "c"}]}}),
        expect![[r#"
        metadata.name: Required value: name or generateName is required
        metadata.namespace: Required value
    "#]],
    );
}

#[test]
fn updates() {
    let mut old = created(with(json!({})));
    Pod.admit(&mut old);
    let (new, wrong) = updated(&old, |p| {
        p["spec"]["containers"][0]["image"] = "c:2".into();
        p["status"] = json!({"phase": "Running"});
        p["metadata"]["generation"] = 9.into();
    });
    assert_eq!(wrong, "");
    assert_eq!((meta::generation(&new), &new["status"]["phase"]), (2, &json!("Pending")));
    let (new, wrong) = updated(&old, |p| p["metadata"]["labels"] = json!({"a": "b"}));
    assert_eq!((wrong.as_str(), meta::generation(&new)), ("", 1));
    let (_, wrong) = updated(&old, |p| {
        p["spec"]["hostNetwork"] = true.into();
        p["spec"]["containers"][0]["command"] = json!(["x"]);
        p["spec"]["tolerations"] = json!([]);
    });
    expect![[r#"
        spec.tolerations: Forbidden: existing toleration can not be modified except its tolerationSeconds
        spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)
        changed: spec.containers, spec.hostNetwork
    "#]].assert_eq(&wrong);
    let (_, wrong) = updated(&old, |p| p["spec"]["containers"] = json!([]));
    expect![[r#"
        spec.containers: Forbidden: pod updates may not add or remove containers
    "#]]
    .assert_eq(&wrong);
    let (_, wrong) = updated(&old, |p| p["metadata"]["name"] = "q".into());
    expect![[r#"
        metadata.name: Invalid value: "q": field is immutable
    "#]]
    .assert_eq(&wrong);
}

#[test]
fn status_updates_keep_the_rest() {
    let old = created(with(json!({})));
    let mut new = old.clone();
    new["spec"] = json!({});
    new["extra"] = 1.into();
    new["metadata"]["labels"] = json!({"a": "b"});
    new["status"] = json!({"phase": "Running"});
    Pod.prepare_status_update(&mut new, &old);
    assert_eq!(new["spec"], old["spec"]);
    assert_eq!(new["status"], json!({"phase": "Running", "qosClass": "BestEffort"}));
    assert_eq!((meta::label(&new, "a"), meta::generation(&new)), (Some("b"), 1));
    assert!(new.get("extra").is_none());
}

#[test]
fn service_account_volume() {
    let mut made = created(pod(
        json!({"volumes": [{"name": "own"}], "containers": [{"name": "c", "image": "c"}, {"name": "d", "image": "d", "volumeMounts": [{"name": "own", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"}]}]}),
    ));
    crate::core::inject_service_account(&mut made, "abcde");
    let mut again = made.clone();
    crate::core::inject_service_account(&mut again, "fghij");
    assert_eq!(made, again, "an injected pod stays as it is");
    assert_eq!(made["spec"]["serviceAccountName"], "default");
    assert_eq!(made["spec"]["containers"][0]["volumeMounts"][0]["name"], "kube-api-access-abcde");
    assert_eq!(made["spec"]["containers"][1]["volumeMounts"].as_array().map(Vec::len), Some(1));
    assert_eq!(made["spec"]["volumes"][1]["projected"]["sources"][0]["serviceAccountToken"]["expirationSeconds"], 3607);
    let mut refuses =
        created(pod(json!({"automountServiceAccountToken": false, "containers": [{"name": "c", "image": "c"}]})));
    crate::core::inject_service_account(&mut refuses, "abcde");
    assert!(refuses["spec"].get("volumes").is_none());
    let (_, wrong) = updated(&made, |_| {});
    assert_eq!(wrong, "");
}

#[test]
fn qos_classes() {
    let class = |resources: Value| qos::class(&created(with(json!({"resources": resources})))["spec"]);
    assert_eq!(class(json!({})), "BestEffort");
    assert_eq!(class(json!({"requests": {"cpu": "1"}})), "Burstable");
    assert_eq!(class(json!({"limits": {"cpu": "1"}})), "Burstable");
    assert_eq!(class(json!({"limits": {"cpu": "1", "memory": "1Gi"}})), "Guaranteed");
    assert_eq!(
        class(json!({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1000m", "memory": "1Gi"}})),
        "Guaranteed"
    );
    assert_eq!(class(json!({"limits": {"cpu": "2", "memory": "1Gi"}, "requests": {"cpu": "1"}})), "Burstable");
}

#[test]
fn grace() {
    let mut running = created(with(json!({})));
    assert_eq!(Pod.graceful_delete(&running, Some(5)), Grace::Immediate, "not on a node yet");
    running["spec"]["nodeName"] = "n".into();
    assert_eq!(Pod.graceful_delete(&running, None), Grace::Graceful { seconds: 30 });
    assert_eq!(Pod.graceful_delete(&running, Some(5)), Grace::Graceful { seconds: 5 });
    assert_eq!(Pod.graceful_delete(&running, Some(0)), Grace::Immediate);
    assert_eq!(Pod.graceful_delete(&running, Some(-3)), Grace::Graceful { seconds: 1 });
    running["status"]["phase"] = "Failed".into();
    assert_eq!(Pod.graceful_delete(&running, Some(5)), Grace::Immediate);
}

#[test]
fn rows() {
    let base = || {
        let mut p = created(with(json!({})));
        p["metadata"]["creationTimestamp"] = "2026-01-01T11:57:00Z".into();
        p["spec"]["nodeName"] = "n1".into();
        p
    };
    let status = |status: Value| {
        let mut p = base();
        p["status"] = status;
        row(&p)
    };
    let waiting = |reason: &str| json!({"name": "c", "restartCount": 0, "state": {"waiting": {"reason": reason}}});
    let ended = |state: Value| json!({"name": "c", "restartCount": 0, "state": {"terminated": state}});
    let mut all = vec![
        row(&base()),
        status(
            json!({"phase": "Running", "podIP": "10.244.0.2", "containerStatuses": [{"name": "c", "ready": true, "restartCount": 0, "state": {"running": {}}}]}),
        ),
        status(json!({"phase": "Pending", "containerStatuses": [waiting("ContainerCreating")]})),
        status(json!({"phase": "Pending", "containerStatuses": [waiting("ErrImagePull")]})),
        status(
            json!({"phase": "Running", "containerStatuses": [{"name": "c", "restartCount": 2, "state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": {"terminated": {"exitCode": 1, "finishedAt": "2026-01-01T11:59:55Z"}}}]}),
        ),
        status(
            json!({"phase": "Succeeded", "containerStatuses": [ended(json!({"exitCode": 0, "reason": "Completed"}))]}),
        ),
        status(json!({"phase": "Failed", "containerStatuses": [ended(json!({"exitCode": 1, "reason": "Error"}))]})),
        status(json!({"phase": "Failed", "containerStatuses": [ended(json!({"exitCode": 3}))]})),
        status(json!({"phase": "Failed", "containerStatuses": [ended(json!({"exitCode": 0, "signal": 9}))]})),
        status(json!({"phase": "Failed", "reason": "Evicted"})),
        status(
            json!({"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}]}),
        ),
    ];
    let mut with_init = base();
    with_init["spec"]["initContainers"] = json!([{"name": "i"}, {"name": "s", "restartPolicy": "Always"}]);
    for (init, main) in [
        (json!([{"name": "i", "state": {"running": {}}}]), json!([])),
        (json!([{"name": "i", "restartCount": 1, "state": {"terminated": {"exitCode": 2}}}]), json!([])),
        (json!([{"name": "i", "state": {"waiting": {"reason": "CrashLoopBackOff"}}}]), json!([])),
        (json!([{"name": "i", "state": {"waiting": {"reason": "PodInitializing"}}}]), json!([])),
        (
            json!([{"name": "i", "restartCount": 3, "state": {"terminated": {"exitCode": 0}}}, {"name": "s", "restartCount": 2, "started": true, "ready": true, "state": {"running": {}}}]),
            json!([{"name": "c", "ready": true, "state": {"running": {}}}]),
        ),
    ] {
        with_init["status"] = json!({"phase": "Running", "initContainerStatuses": init, "containerStatuses": main});
        all.push(row(&with_init));
    }
    let mut deleting = base();
    deleting["status"] =
        json!({"phase": "Running", "nominatedNodeName": "n2", "conditions": [{"type": "g", "status": "True"}]});
    deleting["spec"]["readinessGates"] = json!([{"conditionType": "g"}, {"conditionType": "h"}]);
    meta::set_deletion(&mut deleting, now(), 30);
    all.push(row(&deleting));
    expect![[r#"
        p | 0/1 | Pending | 0 | 3m | <none> | n1 | <none> | <none>
        p | 1/1 | Running | 0 | 3m | 10.244.0.2 | n1 | <none> | <none>
        p | 0/1 | ContainerCreating | 0 | 3m | <none> | n1 | <none> | <none>
        p | 0/1 | ErrImagePull | 0 | 3m | <none> | n1 | <none> | <none>
        p | 0/1 | CrashLoopBackOff | 2 (5s ago) | 3m | <none> | n1 | <none> | <none>
        p | 0/1 | Completed | 0 | 3m | <none> | n1 | <none> | <none>
        p | 0/1 | Error | 0 | 3m | <none> | n1 | <none> | <none>
        p | 0/1 | ExitCode:3 | 0 | 3m | <none> | n1 | <none> | <none>
        p | 0/1 | Signal:9 | 0 | 3m | <none> | n1 | <none> | <none>
        p | 0/1 | Evicted | 0 | 3m | <none> | n1 | <none> | <none>
        p | 0/1 | SchedulingGated | 0 | 3m | <none> | n1 | <none> | <none>
        p | 0/2 | Init:0/2 | 0 | 3m | <none> | n1 | <none> | <none>
        p | 0/2 | Init:ExitCode:2 | 1 | 3m | <none> | n1 | <none> | <none>
        p | 0/2 | Init:CrashLoopBackOff | 0 | 3m | <none> | n1 | <none> | <none>
        p | 0/2 | Init:0/2 | 0 | 3m | <none> | n1 | <none> | <none>
        p | 2/2 | Running | 2 | 3m | <none> | n1 | <none> | <none>
        p | 0/1 | Terminating | 0 | 3m | <none> | n1 | n2 | 1/2"#]]
    .assert_eq(&all.join("\n"));
}

#[test]
fn a_weight_that_is_none_is_told() {
    let mut heavy = with(json!({}));
    heavy["metadata"]["labels"] = json!({"gannet.io/lb-weight": "5"});
    let about_weights = |object: &Value| {
        let all = Pod.warnings(object, None);
        all.into_iter().filter(|warning| warning.contains("lb-weight")).collect::<Vec<_>>()
    };
    assert_eq!(about_weights(&heavy), Vec::<String>::new());
    heavy["metadata"]["labels"] = json!({"gannet.io/lb-weight": "2000"});
    assert_eq!(
        about_weights(&heavy),
        ["metadata.labels: label gannet.io/lb-weight \"2000\" is no number from 0 to 1000; it counts as 1"]
    );
}
