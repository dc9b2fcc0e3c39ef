use expect_test::{Expect, expect};
use serde_json::json;

use super::*;
use crate::testing::{create_errors, created, row, updated};

fn service(spec: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s", "namespace": "default"}, "spec": spec})
}

fn errors(spec: Value, want: Expect) {
    want.assert_eq(&create_errors(service(spec)));
}

#[test]
fn defaults() {
    let spec = |s: Value| created(service(s))["spec"].to_string();
    expect![[r#"{"internalTrafficPolicy":"Cluster","ipFamilyPolicy":"SingleStack","ports":[{"port":80,"protocol":"TCP","targetPort":80}],"selector":{"app":"a"},"sessionAffinity":"None","type":"ClusterIP"}"#]].assert_eq(&spec(json!({"ports": [{"port": 80}], "selector": {"app": "a"}})));
    expect![[r#"{"externalTrafficPolicy":"Cluster","internalTrafficPolicy":"Cluster","ipFamilyPolicy":"SingleStack","ports":[{"port":80,"protocol":"TCP","targetPort":"http"}],"sessionAffinity":"ClientIP","sessionAffinityConfig":{"clientIP":{"timeoutSeconds":10800}},"type":"NodePort"}"#]].assert_eq(&spec(json!({"type": "NodePort", "sessionAffinity": "ClientIP", "ports": [{"port": 80, "targetPort": "http"}]})));
    expect![[r#"{"clusterIP":"None","clusterIPs":["None"],"internalTrafficPolicy":"Cluster","ipFamilyPolicy":"RequireDualStack","sessionAffinity":"None","type":"ClusterIP"}"#]].assert_eq(&spec(json!({"clusterIP": "None"})));
    expect![[r#"{"externalName":"a.b","sessionAffinity":"None","type":"ExternalName"}"#]]
        .assert_eq(&spec(json!({"type": "ExternalName", "externalName": "a.b"})));
    expect![[r#"{"allocateLoadBalancerNodePorts":true,"clusterIP":"fd00::1","clusterIPs":["fd00::1"],"externalTrafficPolicy":"Cluster","internalTrafficPolicy":"Cluster","ipFamilies":["IPv6"],"ipFamilyPolicy":"SingleStack","ports":[{"port":1,"protocol":"UDP","targetPort":1}],"sessionAffinity":"None","type":"LoadBalancer"}"#]].assert_eq(&spec(json!({"type": "LoadBalancer", "clusterIPs": ["fd00::1"], "ports": [{"port": 1, "protocol": "UDP"}]})));
}

#[test]
fn refused() {
    errors(
        json!({}),
        expect![[r#"
        spec.ports: Required value
    "#]],
    );
    errors(
        json!({"type": "Odd", "ports": [{"port": 0}, {"port": 80, "name": "A"}, {"port": 80, "name": "b", "protocol": "X", "nodePort": 30000}]}),
        expect![[r#"
        spec.ports[0].name: Required value
        spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive
        spec.ports[0].targetPort: Invalid value: 0: must be between 1 and 65535, inclusive
        spec.ports[1].name: Invalid value: "A": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')
        spec.ports[2].protocol: Unsupported value: "X": supported values: "SCTP", "TCP", "UDP"
        spec.type: Unsupported value: "Odd": supported values: "ClusterIP", "ExternalName", "LoadBalancer", "NodePort"
    "#]],
    );
    errors(
        json!({"ports": [{"port": 80, "name": "a"}, {"port": 80, "name": "a", "targetPort": "-"}]}),
        expect![[r#"
        spec.ports[1].name: Duplicate value: "a"
        spec.ports[1].targetPort: Invalid value: "-": must contain at least one letter (a-z)
        spec.ports[1].targetPort: Invalid value: "-": must not begin or end with a hyphen
        spec.ports[1]: Duplicate value: {"port":80,"protocol":"TCP"}
    "#]],
    );
    errors(
        json!({"type": "ExternalName", "clusterIP": "10.0.0.1"}),
        expect![[r#"
        spec.clusterIP: Forbidden: may not be set for ExternalName services
        spec.externalName: Required value
    "#]],
    );
    errors(
        json!({"type": "NodePort", "clusterIP": "None", "ports": [{"port": 1, "nodePort": 70000}]}),
        expect![[r#"
            spec.clusterIPs[0]: Invalid value: "None": may not be set to 'None' for NodePort services
            spec.ports[0].nodePort: Invalid value: 70000: must be between 1 and 65535, inclusive
        "#]],
    );
    errors(
        json!({"clusterIP": "x", "ports": [{"port": 1}], "externalTrafficPolicy": "Local", "sessionAffinity": "Sticky", "selector": {"a": "b c"}, "externalIPs": ["x"]}),
        expect![[r#"
        spec.selector: Invalid value: "b c": a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')
        spec.sessionAffinity: Unsupported value: "Sticky": supported values: "ClientIP", "None"
        spec.clusterIPs[0]: Invalid value: "x": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)
        spec.externalIPs[0]: Invalid value: "x": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)
    "#]],
    );
    errors(
        json!({"ports": [{"port": 1}], "sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 0}}, "loadBalancerClass": "a"}),
        expect![[r#"
        spec.sessionAffinityConfig.clientIP.timeoutSeconds: Invalid value: 0: must be greater than 0 and less than 86400
        spec.loadBalancerClass: Forbidden: may only be used when `type` is 'LoadBalancer'
    "#]],
    );
    let mut named = service(json!({"ports": [{"port": 1}]}));
    named["metadata"]["name"] = "1a".into();
    expect![[r#"
        metadata.name: Invalid value: "1a": a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')
    "#]].assert_eq(&create_errors(named));
}

#[test]
fn updates_keep_what_was_allocated() {
    let mut old = created(service(json!({"type": "NodePort", "ports": [{"port": 80}]})));
    old["spec"]["clusterIP"] = "10.96.0.5".into();
    old["spec"]["clusterIPs"] = json!(["10.96.0.5"]);
    old["spec"]["ports"][0]["nodePort"] = 30001.into();
    let (new, wrong) = updated(&old, |s| {
        s["spec"] = json!({"type": "NodePort", "ports": [{"port": 80, "targetPort": 8080}]});
    });
    assert_eq!(wrong, "");
    assert_eq!((&new["spec"]["clusterIP"], &new["spec"]["ports"][0]["nodePort"]), (&json!("10.96.0.5"), &json!(30001)));
    let (new, wrong) = updated(&old, |s| {
        s["spec"]["ports"] = json!([{"name": "a", "port": 80}, {"name": "b", "port": 81, "nodePort": 30001}]);
    });
    assert_eq!(wrong, "");
    assert_eq!(new["spec"]["ports"][0].get("nodePort"), None, "a port that moved to another entry is not kept");
    let (new, wrong) = updated(&old, |s| s["spec"]["type"] = "ClusterIP".into());
    assert_eq!(wrong, "");
    assert_eq!((new["spec"]["ports"][0].get("nodePort"), new["spec"].get("externalTrafficPolicy")), (None, None));
    let (new, wrong) = updated(&old, |s| {
        s["spec"]["type"] = "ExternalName".into();
        s["spec"]["externalName"] = "a.b".into();
    });
    assert_eq!(wrong, "");
    assert_eq!(new["spec"].get("clusterIP"), None);
    let (_, wrong) = updated(&old, |s| s["spec"]["clusterIP"] = "10.96.0.6".into());
    expect![[r#"
        spec.clusterIPs[0]: Invalid value: ["10.96.0.6"]: may not change once set
    "#]]
    .assert_eq(&wrong);
    let (_, wrong) = updated(&old, |s| s["spec"]["clusterIPs"] = json!(["10.96.0.6"]));
    expect![[r#"
        spec.clusterIPs[0]: Invalid value: ["10.96.0.6"]: may not change once set
    "#]]
    .assert_eq(&wrong);
}

#[test]
fn rows() {
    let mut all = Vec::new();
    for spec in [
        json!({"ports": [{"port": 80}, {"port": 53, "protocol": "UDP"}], "clusterIP": "10.96.0.1", "selector": {"app": "a", "b": "c"}}),
        json!({"clusterIP": "None"}),
        json!({"type": "NodePort", "clusterIP": "10.96.0.2", "ports": [{"port": 80, "nodePort": 30080}], "externalIPs": ["1.2.3.4"]}),
        json!({"type": "LoadBalancer", "clusterIP": "10.96.0.3", "ports": [{"port": 80, "nodePort": 30081}]}),
        json!({"type": "ExternalName", "externalName": "a.b"}),
    ] {
        let mut made = created(service(spec));
        made["metadata"]["creationTimestamp"] = "2026-01-01T11:00:00Z".into();
        all.push(row(&made));
    }
    expect![[r#"
        s | ClusterIP | 10.96.0.1 | <none> | 80/TCP,53/UDP | 60m | app=a,b=c
        s | ClusterIP | None | <none> | <none> | 60m | <none>
        s | NodePort | 10.96.0.2 | 1.2.3.4 | 80:30080/TCP | 60m | <none>
        s | LoadBalancer | 10.96.0.3 | <pending> | 80:30081/TCP | 60m | <none>
        s | ExternalName | <none> | a.b | <none> | 60m | <none>"#]]
    .assert_eq(&all.join("\n"));
}

#[test]
fn annotations_that_are_not_understood_are_told() {
    let mut odd = service(json!({"ports": [{"port": 80}]}));
    assert_eq!(Service.warnings(&odd, None), Vec::<String>::new());
    odd["metadata"]["annotations"] = json!({"gannet.io/lb-algorithm": "fastest", "gannet.io/maglev-size": "1000"});
    expect![[r#"
        metadata.annotations: annotation gannet.io/lb-algorithm "fastest" is none of even, random, maglev; it is left out
        metadata.annotations: annotation gannet.io/maglev-size "1000" is no prime from 251 to 65521; it is left out"#]]
    .assert_eq(&Service.warnings(&odd, None).join("\n"));
}
