//! Row 32: admission webhooks, against servers with real TLS.

use crate::{
    fixture::*,
    webhook_server::{Webhook, patched},
};
use serde_json::{Value, json};

pub const MUTATING: &str = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations";
pub const VALIDATING: &str = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations";

pub async fn configure(f: &Fixture, path: &str, name: &str, hooks: Value) {
    let made = f.post(path, json!({"metadata": {"name": name}, "webhooks": hooks})).await;
    assert_eq!(made.code, 201, "{}", made.body);
}

fn set(field: &'static str, value: &'static str) -> impl Fn(&Value) -> Value {
    move |_| patched(json!([{"op": "add", "path": format!("/data/{field}"), "value": value}]))
}

#[tokio::test]
async fn row_32_a_mutating_webhook_patches_and_sees_the_request() {
    let f = Fixture::new().await;
    let hook = Webhook::start(set("added", "yes")).await;
    configure(&f, MUTATING, "m", json!([hook.hook("m.example.com", json!({}))])).await;
    let made = f.post(&format!("{MAPS}?fieldManager=me"), config_map("a", json!({}))).await.ok();
    assert_eq!(made["data"], json!({"k": "v", "added": "yes"}));
    let asked = hook.asked();
    let [request] = &asked[..] else { panic!("{asked:?}") };
    assert_eq!(request["kind"], json!({"group": "", "version": "v1", "kind": "ConfigMap"}));
    assert_eq!(request["requestResource"], json!({"group": "", "version": "v1", "resource": "configmaps"}));
    assert_eq!((&request["operation"], &request["name"]), (&json!("CREATE"), &json!("a")));
    assert_eq!((&request["namespace"], &request["dryRun"]), (&json!("default"), &json!(false)));
    assert_eq!(request["userInfo"]["username"], "admin");
    assert_eq!((&request["object"]["kind"], &request["oldObject"]), (&json!("ConfigMap"), &Value::Null));
    assert_eq!(request["options"]["fieldManager"], "me");
    f.merge(&format!("{MAPS}/a"), json!({"data": {"k": "w"}})).await.ok();
    let asked = hook.asked();
    assert_eq!(asked[0]["operation"], "UPDATE");
    assert_eq!((&asked[0]["oldObject"]["data"]["k"], &asked[0]["object"]["data"]["k"]), (&json!("v"), &json!("w")));
    assert_eq!(asked[0]["oldObject"]["metadata"]["resourceVersion"], made["metadata"]["resourceVersion"]);
}

#[tokio::test]
async fn row_32_a_refusal_carries_the_webhooks_words() {
    let f = Fixture::new().await;
    let hook = Webhook::start(|review| match review["request"]["object"]["metadata"]["name"].as_str().unwrap() {
        "message" => json!({"allowed": false, "status": {"message": "no way", "code": 403, "reason": "Forbidden"}}),
        "reason" => json!({"allowed": false, "status": {"reason": "NotAcceptable"}}),
        "bare" => json!({"allowed": false}),
        _ => json!({"allowed": true, "warnings": ["careful", "now"]}),
    })
    .await;
    configure(&f, VALIDATING, "v", json!([hook.hook("v.example.com", json!({}))])).await;
    let denied = "admission webhook \"v.example.com\" denied the request";
    for (name, code, reason, message) in [
        ("message", 403, "Forbidden", format!("{denied}: no way")),
        ("reason", 400, "NotAcceptable", format!("{denied}: NotAcceptable")),
        ("bare", 400, "", format!("{denied} without explanation")),
    ] {
        let answer = f.post(MAPS, config_map(name, json!({}))).await;
        assert_eq!(answer.refused(), (code, reason.to_owned(), message));
        assert_eq!(f.get(&format!("{MAPS}/{name}")).await.code, 404);
    }
    let answer = f.post(MAPS, config_map("fine", json!({}))).await;
    let warnings: Vec<&str> = answer.headers.get_all("warning").iter().map(|text| text.to_str().unwrap()).collect();
    assert_eq!(warnings, ["299 - \"careful\"", "299 - \"now\""]);
}

#[tokio::test]
async fn row_32_failure_policy_decides_when_a_webhook_does_not_answer() {
    let f = Fixture::new().await;
    let hook = Webhook::raw(|_| json!({"kind": "Nonsense"})).await;
    let gone = json!({"url": "https://127.0.0.1:1/", "caBundle": hook.ca_bundle});
    let ignore = hook.hook("i.example.com", json!({"failurePolicy": "Ignore", "clientConfig": gone}));
    configure(&f, VALIDATING, "ignored", json!([ignore])).await;
    f.post(MAPS, config_map("a", json!({}))).await.ok();
    let fail = hook.hook("f.example.com", json!({"clientConfig": gone, "timeoutSeconds": 5}));
    configure(&f, VALIDATING, "v", json!([fail])).await;
    let (code, reason, message) = f.post(MAPS, config_map("b", json!({}))).await.refused();
    assert_eq!((code, reason.as_str()), (500, "InternalError"));
    assert_eq!(
        message,
        "Internal error occurred: failed calling webhook \"f.example.com\": failed to call webhook: \
         Post \"https://127.0.0.1:1/?timeout=5s\": dial tcp 127.0.0.1:1: connect: connection refused"
    );
    f.delete(&format!("{VALIDATING}/v"), json!({})).await.ok();
    configure(&f, VALIDATING, "bad", json!([hook.hook("b.example.com", json!({}))])).await;
    let (_, _, message) = f.post(MAPS, config_map("b", json!({}))).await.refused();
    assert!(message.contains("received invalid webhook response: expected webhook response of"), "{message}");
    // A webhook cannot keep its own configuration from being removed.
    let all = json!({"rules": [{
        "operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*/*"],
    }]});
    configure(&f, VALIDATING, "all", json!([hook.hook("all.example.com", all)])).await;
    f.delete(&format!("{VALIDATING}/all"), json!({})).await.ok();
}

#[tokio::test]
async fn row_32_selectors_rules_and_order() {
    let f = Fixture::new().await;
    let first = Webhook::start(set("order", "first")).await;
    let second = Webhook::start(set("order", "second")).await;
    configure(&f, MUTATING, "b", json!([second.hook("b.example.com", json!({}))])).await;
    let chosen = json!({"objectSelector": {"matchLabels": {"seen": "yes"}}, "reinvocationPolicy": "IfNeeded"});
    configure(&f, MUTATING, "a", json!([first.hook("a.example.com", chosen)])).await;
    let made = f.post(MAPS, config_map("a", json!({}))).await.ok();
    assert_eq!((&made["data"]["order"], first.asked().len()), (&json!("second"), 0));
    second.asked();
    // `b` changes what `a` did, so `a` is asked once more, and `b` is not.
    let made = f.post(MAPS, config_map("b", json!({"seen": "yes"}))).await.ok();
    assert_eq!((first.asked().len(), second.asked().len()), (2, 1));
    assert_eq!(made["data"]["order"], "first");
    let elsewhere = Webhook::start(|_| json!({"allowed": false})).await;
    let namespaces = json!({"namespaceSelector": {"matchExpressions": [
        {"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": ["default"]},
    ]}});
    configure(&f, VALIDATING, "v", json!([elsewhere.hook("v.example.com", namespaces)])).await;
    f.post(MAPS, config_map("c", json!({}))).await.ok();
    assert_eq!(f.post("/api/v1/namespaces/kube-public/configmaps", config_map("c", json!({}))).await.code, 400);
}

#[tokio::test]
async fn row_32_dry_run_asks_only_webhooks_without_side_effects() {
    let f = Fixture::new().await;
    let hook = Webhook::start(set("dry", "asked")).await;
    configure(&f, MUTATING, "m", json!([hook.hook("m.example.com", json!({"sideEffects": "NoneOnDryRun"}))])).await;
    let made = f.post(&format!("{MAPS}?dryRun=All"), config_map("a", json!({}))).await.ok();
    assert_eq!((&made["data"]["dry"], &hook.asked()[0]["dryRun"]), (&json!("asked"), &json!(true)));
    assert_eq!(f.get(&format!("{MAPS}/a")).await.code, 404);
}

#[tokio::test]
async fn row_32_delete_and_status_have_webhooks_too() {
    let f = Fixture::new().await;
    let hook = Webhook::start(|review| {
        let request = &review["request"];
        json!({"allowed": request["operation"] != "DELETE" || request["oldObject"]["data"]["k"] != "v"})
    })
    .await;
    let rules = json!({"rules": [
        {"operations": ["DELETE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]},
        {"operations": ["UPDATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods/status"]},
    ]});
    configure(&f, VALIDATING, "v", json!([hook.hook("v.example.com", rules)])).await;
    f.post(MAPS, config_map("a", json!({}))).await.ok();
    let (_, _, message) = f.delete(&format!("{MAPS}/a"), json!({})).await.refused();
    assert_eq!(message, "admission webhook \"v.example.com\" denied the request without explanation");
    let asked = hook.asked();
    assert_eq!((&asked[0]["object"], &asked[0]["name"]), (&Value::Null, &json!("a")));
    f.post(PODS, pod("p")).await.ok();
    f.merge(&format!("{PODS}/p"), json!({"metadata": {"labels": {"x": "y"}}})).await.ok();
    assert_eq!(hook.asked().len(), 0);
    f.merge(&format!("{PODS}/p/status"), json!({"status": {"phase": "Running"}})).await.ok();
    assert_eq!(hook.asked()[0]["subResource"], "status");
}

#[tokio::test]
async fn row_32_a_webhook_behind_a_service_is_found() {
    let f = Fixture::new().await;
    let hook = Webhook::start(set("by", "service")).await;
    let service = json!({"metadata": {"name": "hook"}, "spec": {"type": "ExternalName", "externalName": "localhost"}});
    f.post(SERVICES, service).await.ok();
    let client = json!({"clientConfig": {
        "service": {"namespace": "default", "name": "hook", "path": "/mutate", "port": hook.port},
        "caBundle": hook.ca_bundle,
    }});
    configure(&f, MUTATING, "m", json!([hook.hook("m.example.com", client)])).await;
    let made = f.post(MAPS, config_map("a", json!({}))).await.ok();
    assert_eq!(made["data"]["by"], "service");
}

#[tokio::test]
async fn row_32_pod_security_is_enforced_by_labels() {
    let f = Fixture::new().await;
    let label = |mode: &str, level: &str| json!({"metadata": {"labels": {format!("pod-security.kubernetes.io/{mode}"): level}}});
    let namespace = "/api/v1/namespaces/default";
    f.post(PODS, pod("before")).await.ok();
    f.merge(namespace, label("warn", "restricted")).await.ok();
    let violations = "allowPrivilegeEscalation != false (container \"c\" must set \
        securityContext.allowPrivilegeEscalation=false), unrestricted capabilities (container \"c\" must set \
        securityContext.capabilities.drop=[\"ALL\"]), runAsNonRoot != true (pod or container \"c\" must set \
        securityContext.runAsNonRoot=true), seccompProfile (pod or container \"c\" must set \
        securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\")";
    let warned = f.post(PODS, pod("warned")).await;
    assert_eq!(warned.code, 201);
    let warning = warned.headers["warning"].to_str().unwrap().replace('\\', "");
    assert_eq!(warning, format!("299 - \"would violate PodSecurity \"restricted:latest\": {violations}\""));
    let enforced = f.merge(namespace, label("enforce", "restricted")).await;
    let warnings: Vec<&str> = enforced.headers.get_all("warning").iter().map(|text| text.to_str().unwrap()).collect();
    assert!(warnings[0].contains("existing pods in namespace"), "{warnings:?}");
    assert!(
        warnings[1].starts_with("299 - \"before (and 1 other pod): allowPrivilegeEscalation != false"),
        "{warnings:?}"
    );
    assert_eq!(
        f.post(PODS, pod("refused")).await.refused(),
        (
            403,
            "Forbidden".to_owned(),
            format!("pods \"refused\" is forbidden: violates PodSecurity \"restricted:latest\": {violations}")
        )
    );
    f.merge(namespace, label("enforce", "baseline")).await.ok();
    let mut host = pod("host");
    host["spec"]["hostNetwork"] = json!(true);
    host["spec"]["containers"][0]["securityContext"] = json!({"privileged": true});
    let refused = f.post(PODS, host).await.refused().2;
    assert_eq!(
        refused,
        "pods \"host\" is forbidden: violates PodSecurity \"baseline:latest\": host namespaces (hostNetwork=true), \
         privileged (container \"c\" must not set securityContext.privileged=true)"
    );
    assert_eq!(
        f.merge(namespace, label("enforce", "strict")).await.refused().2,
        "Namespace \"default\" is invalid: metadata.labels[pod-security.kubernetes.io/enforce]: Invalid value: \
         \"strict\": must be one of privileged, baseline, restricted"
    );
}

#[tokio::test]
async fn row_32_classes_give_pods_their_priority() {
    let f = Fixture::new().await;
    let classes = "/apis/scheduling.k8s.io/v1/priorityclasses";
    let class = |name: &str, value: i64, default: bool| json!({"metadata": {"name": name}, "value": value, "globalDefault": default});
    f.post(classes, class("high", 1000, false)).await.ok();
    f.post(classes, class("usual", 7, true)).await.ok();
    assert_eq!(
        f.post(classes, class("other", 8, true)).await.refused().2,
        "priorityclasses.scheduling.k8s.io \"other\" is forbidden: PriorityClass usual is already marked as default. \
         Only one default can exist"
    );
    let made = f.post(PODS, pod("a")).await.ok();
    assert_eq!((&made["spec"]["priority"], &made["spec"]["priorityClassName"]), (&json!(7), &json!("usual")));
    let mut named = pod("b");
    named["spec"]["priorityClassName"] = json!("high");
    assert_eq!(f.post(PODS, named).await.ok()["spec"]["priority"], 1000);
    let mut missing = pod("c");
    missing["spec"]["priorityClassName"] = json!("none");
    assert_eq!(
        f.post(PODS, missing).await.refused(),
        (403, "Forbidden".to_owned(), "pods \"c\" is forbidden: no PriorityClass with name none was found".to_owned())
    );
}

#[tokio::test]
async fn row_32_webhooks_see_evictions_and_connections() {
    let f = Fixture::new().await;
    let hook = Webhook::start(|_| json!({"allowed": false, "status": {"message": "not now", "code": 403}})).await;
    let rules = json!({"rules": [
        {"operations": ["CREATE"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["pods/eviction"]},
        {"operations": ["CONNECT"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods/exec"]},
    ]});
    f.post(PODS, pod("p")).await.ok();
    configure(&f, VALIDATING, "v", json!([hook.hook("v.example.com", rules)])).await;
    let denied = "admission webhook \"v.example.com\" denied the request: not now";
    let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p"}});
    assert_eq!(f.post(&format!("{PODS}/p/eviction"), eviction).await.refused().2, denied);
    let asked = hook.asked();
    assert_eq!((&asked[0]["kind"]["kind"], &asked[0]["subResource"]), (&json!("Eviction"), &json!("eviction")));
    let exec = f.post(&format!("{PODS}/p/exec?command=ls&command=-l&stdout=true"), json!({})).await;
    assert_eq!(exec.refused().2, denied);
    let asked = hook.asked();
    assert_eq!(asked[0]["operation"], "CONNECT");
    assert_eq!(
        asked[0]["object"],
        json!({"apiVersion": "v1", "kind": "PodExecOptions", "command": ["ls", "-l"], "stdout": true})
    );
}

#[tokio::test]
async fn row_32_match_conditions_choose_requests() {
    let f = Fixture::new().await;
    let hook = Webhook::start(|_| json!({"allowed": false})).await;
    let conditions = json!({"matchConditions": [
        {"name": "not-mine", "expression": "request.userInfo.username != 'me'"},
        {"name": "labelled", "expression": "has(object.metadata.labels) && object.metadata.labels['x'] == 'y'"},
    ]});
    configure(&f, VALIDATING, "v", json!([hook.hook("v.example.com", conditions)])).await;
    f.post(MAPS, config_map("a", json!({"x": "z"}))).await.ok();
    assert_eq!(f.post(MAPS, config_map("b", json!({"x": "y"}))).await.code, 400);
    let me = f.as_user("me", &["system:masters"]);
    call(&me, "POST", MAPS, Some("application/json"), config_map("b", json!({"x": "y"})).to_string()).await.ok();
    assert_eq!(hook.asked().len(), 1);
}
