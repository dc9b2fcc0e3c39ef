//! Kinds of the smaller groups: defaults, rules and their wording, what may not change, columns.

use crate::fixture::*;
use serde_json::{Value, json};

const NETWORKING: &str = "/apis/networking.k8s.io/v1";
const STORAGE: &str = "/apis/storage.k8s.io/v1";
const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";
const ADMISSION: &str = "/apis/admissionregistration.k8s.io/v1";

/// Creates, and tells the message of the refusal.
async fn refusal(f: &Fixture, path: &str, object: Value) -> String {
    let (code, reason, message) = f.post(path, object).await.refused();
    assert_eq!((code, reason.as_str()), (422, "Invalid"), "{message}");
    message
}

#[tokio::test]
async fn networking() {
    let f = Fixture::new().await;
    let ingresses = format!("{NETWORKING}/namespaces/default/ingresses");
    let backend = json!({"service": {"name": "s", "port": {"number": 80}}});
    let ingress = json!({"metadata": {"name": "i"}, "spec": {"rules": [{"http": {"paths": [
        {"path": "/", "pathType": "Prefix", "backend": backend},
    ]}}]}});
    let made = f.post(&ingresses, ingress).await.ok();
    assert_eq!(made["metadata"]["generation"], 1);
    let message = refusal(&f, &ingresses, json!({"metadata": {"name": "x"}, "spec": {"defaultBackend": {}}})).await;
    assert_eq!(
        message,
        "Ingress.networking.k8s.io \"x\" is invalid: spec.defaultBackend: Invalid value: \"\": resource or service backend is required"
    );
    let changed = f.merge(&format!("{ingresses}/i"), json!({"spec": {"defaultBackend": backend}})).await.ok();
    assert_eq!(changed["metadata"]["generation"], 2);
    let status = json!({"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.7"}]}}});
    let changed = f.merge(&format!("{ingresses}/i/status"), status).await.ok();
    assert_eq!(
        (&changed["metadata"]["generation"], &changed["status"]["loadBalancer"]["ingress"][0]["ip"]),
        (&json!(2), &json!("192.0.2.7"))
    );

    let policies = format!("{NETWORKING}/namespaces/default/networkpolicies");
    let policy = json!({"metadata": {"name": "p"}, "spec": {"podSelector": {}, "egress": [{"ports": [{"port": 53}]}]}});
    let made = f.post(&policies, policy).await.ok();
    assert_eq!(made["spec"]["policyTypes"], json!(["Ingress", "Egress"]));
    assert_eq!(made["spec"]["egress"][0]["ports"][0]["protocol"], "TCP");
    let block = json!({"cidr": "10.0.0.0/8", "except": ["11.0.0.0/24"]});
    let policy =
        json!({"metadata": {"name": "q"}, "spec": {"podSelector": {}, "ingress": [{"from": [{"ipBlock": block}]}]}});
    assert!(refusal(&f, &policies, policy).await.ends_with(
        "spec.ingress[0].from[0].ipBlock.except[0]: Invalid value: \"11.0.0.0/24\": must be a strict subset of `cidr`"
    ));
}

#[tokio::test]
async fn storage_and_scheduling() {
    let f = Fixture::new().await;
    let classes = format!("{STORAGE}/storageclasses");
    let class = f.post(&classes, json!({"metadata": {"name": "c"}, "provisioner": "example.com/p"})).await.ok();
    assert_eq!((&class["reclaimPolicy"], &class["volumeBindingMode"]), (&json!("Delete"), &json!("Immediate")));
    let (code, _, message) = f.merge(&format!("{classes}/c"), json!({"parameters": {"a": "b"}})).await.refused();
    assert_eq!(code, 422);
    assert_eq!(
        message,
        "StorageClass.storage.k8s.io \"c\" is invalid: parameters: Forbidden: updates to parameters are forbidden."
    );
    let priorities = "/apis/scheduling.k8s.io/v1/priorityclasses";
    let message = refusal(&f, priorities, json!({"metadata": {"name": "system-x"}, "value": 1})).await;
    assert!(message.ends_with("reserved for system use only. error: system-x is not a known system priority class"));
    let message = refusal(&f, priorities, json!({"metadata": {"name": "x"}, "value": 2_000_000_000})).await;
    assert!(message.ends_with("value: Forbidden: maximum allowed value of a user defined priority is 1000000000"));
    let driver =
        f.post(&format!("{STORAGE}/csidrivers"), json!({"metadata": {"name": "d.example.com"}, "spec": {}})).await;
    assert_eq!(driver.ok()["spec"]["fsGroupPolicy"], "ReadWriteOnceWithFSType");
}

#[tokio::test]
async fn rbac() {
    let f = Fixture::new().await;
    let roles = format!("{RBAC}/namespaces/default/roles");
    let message = refusal(
        &f,
        &roles,
        json!({"metadata": {"name": "r"}, "rules": [{"resources": ["pods"], "apiGroups": [""], "verbs": []}]}),
    )
    .await;
    assert_eq!(
        message,
        "Role.rbac.authorization.k8s.io \"r\" is invalid: rules[0].verbs: Required value: verbs must contain at least one value"
    );
    // Names of roles may be anything that fits in a path.
    f.post(&roles, json!({"metadata": {"name": "system:A:b"}, "rules": []})).await.ok();
    let bindings = format!("{RBAC}/namespaces/default/rolebindings");
    let binding = json!({"metadata": {"name": "b"}, "roleRef": {"kind": "ClusterRole", "name": "x", "apiGroup": ""},
        "subjects": [{"kind": "User", "name": "u"}]});
    let made = f.post(&bindings, binding).await.ok();
    assert_eq!(made["subjects"][0]["apiGroup"], "rbac.authorization.k8s.io");
    let (code, _, message) = f.merge(&format!("{bindings}/b"), json!({"roleRef": {"name": "y"}})).await.refused();
    assert_eq!(code, 422);
    assert!(message.ends_with("cannot change roleRef"), "{message}");
}

#[tokio::test]
async fn admission_configurations() {
    let f = Fixture::new().await;
    let path = format!("{ADMISSION}/validatingwebhookconfigurations");
    let webhook = json!({
        "name": "a.example.com", "admissionReviewVersions": ["v1"], "sideEffects": "None",
        "clientConfig": {"service": {"name": "s", "namespace": "n"}},
        "rules": [{"apiGroups": ["none.example.com"], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["x"]}],
    });
    let made = f.post(&path, json!({"metadata": {"name": "w"}, "webhooks": [webhook]})).await.ok();
    let made = &made["webhooks"][0];
    assert_eq!(
        (&made["failurePolicy"], &made["matchPolicy"], &made["timeoutSeconds"]),
        (&json!("Fail"), &json!("Equivalent"), &json!(10))
    );
    assert_eq!((&made["clientConfig"]["service"]["port"], &made["rules"][0]["scope"]), (&json!(443), &json!("*")));
    let mut bad = webhook.clone();
    bad["name"] = json!("short");
    bad["timeoutSeconds"] = json!(31);
    let message = refusal(&f, &path, json!({"metadata": {"name": "v"}, "webhooks": [bad]})).await;
    for part in [
        "webhooks[0].name: Invalid value: \"short\": should be a domain with at least three segments separated by dots",
        "webhooks[0].timeoutSeconds: Invalid value: 31: the timeout value must be between 1 and 30 seconds",
    ] {
        assert!(message.contains(part), "{message}");
    }
}

#[tokio::test]
async fn certificate_requests_are_approved_on_their_own_path() {
    let f = Fixture::new().await;
    let path = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
    // "-----BEGIN CERTIFICATE REQUEST-----"
    let request = "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0K";
    let object = json!({"metadata": {"name": "c"}, "spec": {
        "request": request, "signerName": "example.com/s", "usages": ["client auth"], "username": "forged",
    }});
    let made = f.post(path, object).await.ok();
    assert_eq!(made["spec"]["username"], "admin");
    let mut approved = made.clone();
    let condition = json!({"type": "Approved", "status": "True", "reason": "Test", "message": "by a test"});
    approved["status"] = json!({"conditions": [condition]});
    approved["spec"]["signerName"] = json!("example.com/other");
    let by_status = f.put(&format!("{path}/c/status"), &approved).await.ok();
    assert!(by_status["status"]["conditions"].is_null(), "decisions are not a status");
    approved["metadata"]["resourceVersion"] = by_status["metadata"]["resourceVersion"].clone();
    let done = f.put(&format!("{path}/c/approval"), &approved).await.ok();
    assert_eq!(done["status"]["conditions"][0]["type"], "Approved");
    assert_eq!(done["spec"]["signerName"], "example.com/s");
    let selected = f.get(&format!("{path}?fieldSelector=spec.signerName%3Dexample.com/s")).await.ok();
    assert_eq!(selected["items"].as_array().unwrap().len(), 1);
}
