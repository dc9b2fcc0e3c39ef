//! Row 32: the built-in plugins for classes, claims and certificate requests.

use crate::fixture::*;
use rcgen::{CertificateParams, DnType, KeyPair};
use serde_json::{Value, json};

const CLAIMS: &str = "/api/v1/namespaces/default/persistentvolumeclaims";
const STORAGE_CLASSES: &str = "/apis/storage.k8s.io/v1/storageclasses";
const REQUESTS: &str = "/apis/certificates.k8s.io/v1/certificatesigningrequests";

fn claim(name: &str, size: &str) -> Value {
    json!({"metadata": {"name": name}, "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}}})
}

#[tokio::test]
async fn row_32_a_runtime_class_says_what_a_pod_costs_and_where_it_runs() {
    let f = Fixture::new().await;
    let classes = "/apis/node.k8s.io/v1/runtimeclasses";
    let toleration = json!({"key": "sandbox", "operator": "Exists", "effect": "NoSchedule"});
    f.post(classes, json!({
        "metadata": {"name": "sandboxed"}, "handler": "runsc", "overhead": {"podFixed": {"cpu": "10m", "memory": "64Mi"}},
        "scheduling": {"nodeSelector": {"sandbox": "yes"}, "tolerations": [toleration]},
    }))
    .await
    .ok();
    f.post(classes, json!({"metadata": {"name": "plain"}, "handler": "runc"})).await.ok();
    let of = |name: &str, class: &str, more: Value| {
        let mut pod = pod(name);
        pod["spec"]["runtimeClassName"] = json!(class);
        for (field, value) in more.as_object().into_iter().flatten() {
            pod["spec"][field] = value.clone();
        }
        pod
    };
    let narrow = json!({"key": "sandbox", "operator": "Equal", "value": "x", "effect": "NoSchedule"});
    let more = json!({"nodeSelector": {"disk": "ssd", "sandbox": "yes"}, "tolerations": [narrow]});
    let made = f.post(PODS, of("a", "sandboxed", more)).await.ok();
    assert_eq!(made["spec"]["overhead"], json!({"cpu": "10m", "memory": "64Mi"}));
    assert_eq!(made["spec"]["nodeSelector"], json!({"disk": "ssd", "sandbox": "yes"}));
    let tolerations = made["spec"]["tolerations"].as_array().unwrap();
    assert!(tolerations.contains(&toleration) && !tolerations.contains(&narrow), "{tolerations:?}");
    let same = json!({"overhead": {"cpu": "0.01", "memory": "64Mi"}});
    f.post(PODS, of("b", "sandboxed", same)).await.ok();
    assert!(f.post(PODS, of("c", "plain", json!({}))).await.ok()["spec"].get("overhead").is_none());
    let mut without = pod("x");
    without["spec"]["overhead"] = json!({"cpu": "1"});
    let unfounded = "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead";
    for (pod, what) in [
        (of("x", "none", json!({})), "pod rejected: RuntimeClass \"none\" not found"),
        (without, unfounded),
        (of("x", "plain", json!({"overhead": {"cpu": "1"}})), unfounded),
        (
            of("x", "sandboxed", json!({"overhead": {"cpu": "1"}})),
            "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead",
        ),
        (
            of("x", "sandboxed", json!({"nodeSelector": {"sandbox": "no"}})),
            "conflict: runtimeClass.scheduling.nodeSelector[sandbox] = yes; pod.spec.nodeSelector[sandbox] = no",
        ),
    ] {
        let wanted = (403, "Forbidden".to_owned(), format!("pods \"x\" is forbidden: {what}"));
        assert_eq!(f.post(PODS, pod).await.refused(), wanted);
    }
}

#[tokio::test]
async fn row_32_claims_get_the_newest_default_class() {
    let f = Fixture::new().await;
    let of = async |name: &str| f.post(CLAIMS, claim(name, "1Gi")).await.ok()["spec"]["storageClassName"].clone();
    assert_eq!(of("none").await, Value::Null);
    let class = |name: &str, annotation: &str| json!({"metadata": {"name": name, "annotations": {annotation: "true"}}, "provisioner": "x.example.com"});
    f.post(STORAGE_CLASSES, class("b", "storageclass.beta.kubernetes.io/is-default-class")).await.ok();
    f.post(STORAGE_CLASSES, json!({"metadata": {"name": "0"}, "provisioner": "x.example.com"})).await.ok();
    assert_eq!(of("first").await, "b");
    // Newer, or made in the same second and first by name.
    f.post(STORAGE_CLASSES, class("a", "storageclass.kubernetes.io/is-default-class")).await.ok();
    assert_eq!(of("second").await, "a");
    let mut stated = claim("stated", "1Gi");
    stated["spec"]["storageClassName"] = json!("");
    assert_eq!(f.post(CLAIMS, stated).await.ok()["spec"]["storageClassName"], "");
    let mut annotated = claim("annotated", "1Gi");
    annotated["metadata"]["annotations"] = json!({"volume.beta.kubernetes.io/storage-class": "0"});
    assert_eq!(f.post(CLAIMS, annotated).await.ok()["spec"].get("storageClassName"), None);
}

#[tokio::test]
async fn row_32_claims_grow_where_their_class_lets_them() {
    let f = Fixture::new().await;
    for (name, grows) in [("grows", true), ("stays", false)] {
        let class = json!({"metadata": {"name": name}, "provisioner": "x.example.com", "allowVolumeExpansion": grows});
        f.post(STORAGE_CLASSES, class).await.ok();
    }
    for (name, class) in [("a", "grows"), ("b", "stays"), ("c", "gone"), ("d", "")] {
        let mut wanted = claim(name, "1Gi");
        wanted["spec"]["storageClassName"] = json!(class);
        f.post(CLAIMS, wanted).await.ok();
    }
    let size = |size: &str| json!({"spec": {"resources": {"requests": {"storage": size}}}});
    let (code, _, message) = f.merge(&format!("{CLAIMS}/a"), size("2Gi")).await.refused();
    assert_eq!(code, 422, "not bound yet");
    assert!(message.contains("spec is immutable after creation except resources.requests"), "{message}");
    for name in ["a", "b", "c", "d"] {
        f.merge(&format!("{CLAIMS}/{name}/status"), json!({"status": {"phase": "Bound"}})).await.ok();
    }
    assert_eq!(
        f.merge(&format!("{CLAIMS}/a"), size("2Gi")).await.ok()["spec"]["resources"]["requests"]["storage"],
        "2Gi"
    );
    for name in ["b", "c", "d"] {
        let what = format!(
            "persistentvolumeclaims {name:?} is forbidden: only dynamically provisioned pvc can be resized and the \
             storageclass that provisions the pvc must support resize"
        );
        let refused = f.merge(&format!("{CLAIMS}/{name}"), size("2Gi")).await.refused();
        assert_eq!(refused, (403, "Forbidden".to_owned(), what));
    }
}

#[tokio::test]
async fn row_32_ingresses_get_the_newest_default_class() {
    let f = Fixture::new().await;
    let ingresses = "/apis/networking.k8s.io/v1/namespaces/default/ingresses";
    let classes = "/apis/networking.k8s.io/v1/ingressclasses";
    let backend = json!({"service": {"name": "s", "port": {"number": 80}}});
    let ingress =
        |name: &str| json!({"metadata": {"name": name, "annotations": {}}, "spec": {"defaultBackend": backend}});
    assert_eq!(f.post(ingresses, ingress("none")).await.ok()["spec"].get("ingressClassName"), None);
    for name in ["b", "a"] {
        let annotations = json!({"ingressclass.kubernetes.io/is-default-class": "true"});
        let class =
            json!({"metadata": {"name": name, "annotations": annotations}, "spec": {"controller": "example.com/c"}});
        f.post(classes, class).await.ok();
    }
    assert_eq!(f.post(ingresses, ingress("given")).await.ok()["spec"]["ingressClassName"], "a");
    let mut stated = ingress("stated");
    stated["spec"]["ingressClassName"] = json!("other");
    assert_eq!(f.post(ingresses, stated).await.ok()["spec"]["ingressClassName"], "other");
    let mut old = ingress("old");
    old["metadata"]["annotations"] = json!({"kubernetes.io/ingress.class": "nginx"});
    assert_eq!(f.post(ingresses, old).await.ok()["spec"].get("ingressClassName"), None);
}

/// A PEM request for this CN and O, in base64.
fn request(name: &str, organization: &str) -> String {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.distinguished_name.push(DnType::OrganizationName, organization);
    api::base64::encode(params.serialize_request(&key).unwrap().pem().unwrap().as_bytes())
}

fn signing(name: &str, signer: &str, organization: &str) -> Value {
    json!({"metadata": {"name": name}, "spec": {
        "request": request("x", organization), "signerName": signer, "usages": ["client auth"],
    }})
}

#[tokio::test]
async fn row_32_nobody_asks_to_be_an_administrator() {
    let f = Fixture::new().await;
    let client = "kubernetes.io/kube-apiserver-client";
    let refused = f.post(REQUESTS, signing("c", client, "system:masters")).await.refused();
    let what = "certificatesigningrequests.certificates.k8s.io \"c\" is forbidden: use of \
                kubernetes.io/kube-apiserver-client signer with system:masters group is not allowed";
    assert_eq!(refused, (403, "Forbidden".to_owned(), what.to_owned()));
    f.post(REQUESTS, signing("d", client, "developers")).await.ok();
    f.post(REQUESTS, signing("e", "example.com/own", "system:masters")).await.ok();
    let mut broken = signing("f", client, "x");
    broken["spec"]["request"] =
        json!(api::base64::encode(b"-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n"));
    let answer = f.post(REQUESTS, broken).await;
    assert!(matches!(answer.code, 403 | 422), "{}", answer.body);
}

#[tokio::test]
async fn row_32_signers_are_approved_and_signed_for_by_permission() {
    let f = Fixture::new().await;
    let rbac = "/apis/rbac.authorization.k8s.io/v1";
    let rule = |verbs: Value, resources: Value, names: Value| json!({"apiGroups": ["certificates.k8s.io"], "verbs": verbs, "resources": resources, "resourceNames": names});
    let paths = || json!(["certificatesigningrequests/approval", "certificatesigningrequests/status"]);
    for (user, signers) in [
        ("nobody", json!(["example.com/other"])),
        ("one", json!(["example.com/s"])),
        ("domain", json!(["example.com/*"])),
    ] {
        let rules = json!([
            rule(json!(["update"]), paths(), json!([])),
            rule(json!(["approve", "sign"]), json!(["signers"]), signers)
        ]);
        f.post(&format!("{rbac}/clusterroles"), json!({"metadata": {"name": user}, "rules": rules})).await.ok();
        f.post(&format!("{rbac}/clusterrolebindings"), json!({
            "metadata": {"name": user}, "subjects": [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": user}],
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": user},
        }))
        .await
        .ok();
    }
    for user in ["nobody", "one", "domain"] {
        let made = f.post(REQUESTS, signing(user, "example.com/s", "x")).await.ok();
        let client = f.as_user(user, &[]);
        let put = async |part: &str, object: &Value| {
            let path = format!("{REQUESTS}/{user}/{part}");
            call(&client, "PUT", &path, Some("application/json"), object.to_string()).await
        };
        let condition = |kind: &str| json!({"type": kind, "status": "True", "reason": "Test", "message": "m"});
        let mut approved = made.clone();
        approved["status"] = json!({"conditions": [condition("Approved")]});
        let mut failed = made.clone();
        failed["status"] = json!({"conditions": [condition("Failed")]});
        let mut signed = made.clone();
        signed["status"] = json!({"certificate": api::base64::encode(f.pki.issue("x", "x").0.as_bytes())});
        if user == "nobody" {
            for (part, object, verb) in
                [("approval", &approved, "approve"), ("status", &signed, "sign"), ("status", &failed, "sign")]
            {
                let what = format!(
                    "certificatesigningrequests.certificates.k8s.io \"nobody\" is forbidden: user not permitted to \
                     {verb} requests with signerName \"example.com/s\""
                );
                assert_eq!(put(part, object).await.refused(), (403, "Forbidden".to_owned(), what));
            }
            // What changes nothing that a signer says is nobody's secret.
            put("status", &made).await.ok();
            continue;
        }
        let done = put("approval", &approved).await.ok();
        assert_eq!(done["status"]["conditions"][0]["type"], "Approved");
        let mut signed = done.clone();
        signed["status"]["certificate"] = json!(api::base64::encode(f.pki.issue("x", "x").0.as_bytes()));
        assert!(put("status", &signed).await.ok()["status"]["certificate"].is_string());
    }
}
