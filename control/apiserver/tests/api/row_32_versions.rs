//! Row 32: webhooks that ask for another version than the request's, and subresources.

use crate::{
    fixture::*,
    row_32::{MUTATING, VALIDATING, configure},
    row_33::{BETA, CRONTABS, convert, crontab, establish, two_versions},
    webhook_server::{Webhook, patched},
};
use serde_json::{Value, json};

fn rules(group: &str, versions: Value, resources: Value) -> Value {
    json!([{"operations": ["CREATE", "UPDATE"], "apiGroups": [group], "apiVersions": versions, "resources": resources}])
}

#[tokio::test]
async fn row_32_a_rule_for_another_version_is_asked_in_that_version() {
    let f = Fixture::new().await;
    let hook = Webhook::start(|_| patched(json!([{"op": "replace", "path": "/spec/maxReplicas", "value": 7}]))).await;
    let v2 = rules("autoscaling", json!(["v2"]), json!(["horizontalpodautoscalers"]));
    configure(&f, MUTATING, "m", json!([hook.hook("m.example.com", json!({"rules": v2}))])).await;
    let exact = Webhook::start(|_| json!({"allowed": false})).await;
    let only = json!({"rules": v2, "matchPolicy": "Exact"});
    configure(&f, VALIDATING, "v", json!([exact.hook("v.example.com", only)])).await;
    let wanted = json!({"metadata": {"name": "a"}, "spec": {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"},
        "maxReplicas": 3, "targetCPUUtilizationPercentage": 50,
    }});
    let path = "/apis/autoscaling/v1/namespaces/default/horizontalpodautoscalers";
    let made = f.post(path, wanted).await.ok();
    assert_eq!((&made["apiVersion"], &made["spec"]["maxReplicas"]), (&json!("autoscaling/v1"), &json!(7)));
    assert_eq!(made["spec"]["targetCPUUtilizationPercentage"], 50);
    let asked = hook.asked();
    assert_eq!(asked[0]["kind"], json!({"group": "autoscaling", "version": "v2", "kind": "HorizontalPodAutoscaler"}));
    assert_eq!(asked[0]["resource"]["version"], "v2");
    assert_eq!(
        (&asked[0]["requestKind"]["version"], &asked[0]["requestResource"]["version"]),
        (&json!("v1"), &json!("v1"))
    );
    assert_eq!(asked[0]["object"]["apiVersion"], "autoscaling/v2");
    assert_eq!(asked[0]["object"]["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"], 50);
    assert_eq!(exact.asked().len(), 0);
}

#[tokio::test]
async fn row_32_custom_objects_are_converted_for_webhooks() {
    let f = Fixture::new().await;
    let converter = Webhook::raw(convert).await;
    let config = json!({"strategy": "Webhook", "webhook": {"conversionReviewVersions": ["v1"],
        "clientConfig": {"url": converter.url, "caBundle": converter.ca_bundle}}});
    establish(&f, two_versions(config)).await;
    let hook = Webhook::start(|review| match review["request"]["object"]["spec"]["hostPort"].as_str() {
        Some("a:1") => patched(json!([{"op": "replace", "path": "/spec/hostPort", "value": "b:2"}])),
        _ => json!({"allowed": true}),
    })
    .await;
    let beta = rules("stable.example.com", json!(["v1beta1"]), json!(["crontabs"]));
    let conditions =
        json!([{"name": "c", "expression": "object.spec.hostPort != 'never' && request.kind.version == 'v1beta1'"}]);
    let hooks = json!([hook.hook("m.example.com", json!({"rules": beta, "matchConditions": conditions}))]);
    configure(&f, MUTATING, "m", hooks).await;
    let checker = Webhook::start(|_| json!({"allowed": true})).await;
    configure(&f, VALIDATING, "v", json!([checker.hook("v.example.com", json!({"rules": beta}))])).await;
    let made = f.post(CRONTABS, crontab("x", json!({"host": "a", "port": "1"}))).await.ok();
    assert_eq!(made["spec"], json!({"host": "b", "port": "2"}));
    assert_eq!(made["apiVersion"], "stable.example.com/v1");
    let asked = hook.asked();
    assert_eq!(asked[0]["object"]["apiVersion"], "stable.example.com/v1beta1");
    assert_eq!(asked[0]["kind"]["version"], "v1beta1");
    assert_eq!(checker.asked()[0]["object"]["spec"], json!({"hostPort": "b:2"}));
    f.merge(&format!("{CRONTABS}/x"), json!({"spec": {"port": "3"}})).await.ok();
    let asked = checker.asked();
    assert_eq!(asked[0]["object"]["spec"], json!({"hostPort": "b:3"}));
    assert_eq!(asked[0]["oldObject"]["spec"], json!({"hostPort": "b:2"}));
    // In its own version nothing is converted.
    f.merge(&format!("{BETA}/x"), json!({"spec": {"hostPort": "c:4"}})).await.ok();
    assert_eq!(checker.asked()[0]["object"]["spec"], json!({"hostPort": "c:4"}));
    // Without the converter nobody can ask, whatever the failure policy.
    let gone = json!({"spec": {"conversion": {"webhook": {"clientConfig": {"url": "https://127.0.0.1:1/"}}}}});
    let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/crontabs.stable.example.com";
    f.merge(path, gone).await.ok();
    f.delete(&format!("{MUTATING}/m"), json!({})).await.ok();
    f.delete(&format!("{VALIDATING}/v"), json!({})).await.ok();
    let ignore = json!({"rules": beta, "failurePolicy": "Ignore"});
    configure(&f, VALIDATING, "v", json!([checker.hook("v.example.com", ignore)])).await;
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(20);
    loop {
        let answer = f.merge(&format!("{CRONTABS}/x?dryRun=All"), json!({"spec": {"port": "5"}})).await;
        if answer.code == 500 {
            break;
        }
        assert!(tokio::time::Instant::now() < deadline, "{}", answer.body);
        tokio::time::sleep(std::time::Duration::from_millis(10)).await; // until the deadline
    }
}

#[tokio::test]
async fn row_32_webhooks_see_what_is_posted_to_subresources() {
    let f = Fixture::new().await;
    let hook = Webhook::start(|review| {
        let request = &review["request"];
        match request["kind"]["kind"].as_str() {
            Some("TokenRequest") => {
                patched(json!([{"op": "replace", "path": "/spec/expirationSeconds", "value": 1200}]))
            }
            Some("Binding") => patched(json!([{"op": "replace", "path": "/target/name", "value": "n2"}])),
            _ => json!({"allowed": true}),
        }
    })
    .await;
    let all = json!(["pods/binding", "bindings", "serviceaccounts/token"]);
    configure(&f, MUTATING, "m", json!([hook.hook("m.example.com", json!({"rules": rules("", json!(["v1"]), all)}))]))
        .await;
    for name in ["a", "b"] {
        f.post(PODS, pod(name)).await.ok();
    }
    let binding = |name: &str| json!({"metadata": {"name": name}, "target": {"kind": "Node", "name": "n1"}});
    f.post(&format!("{PODS}/a/binding"), binding("a")).await.ok();
    f.post("/api/v1/namespaces/default/bindings", binding("b")).await.ok();
    for name in ["a", "b"] {
        assert_eq!(f.get(&format!("{PODS}/{name}")).await.ok()["spec"]["nodeName"], "n2");
    }
    let asked = hook.asked();
    assert_eq!((&asked[0]["resource"]["resource"], &asked[0]["subResource"]), (&json!("pods"), &json!("binding")));
    assert_eq!((&asked[1]["resource"]["resource"], &asked[1]["subResource"]), (&json!("bindings"), &Value::Null));
    assert_eq!((&asked[1]["kind"]["kind"], &asked[1]["name"]), (&json!("Binding"), &json!("b")));
    let path = "/api/v1/namespaces/default/serviceaccounts/default/token";
    assert_eq!(f.post(path, json!({"spec": {}})).await.ok()["spec"]["expirationSeconds"], 1200);
    let asked = hook.asked();
    assert_eq!(asked[0]["kind"], json!({"group": "authentication.k8s.io", "version": "v1", "kind": "TokenRequest"}));
    assert_eq!(
        (&asked[0]["subResource"], &asked[0]["object"]["spec"]["expirationSeconds"]),
        (&json!("token"), &json!(3600))
    );
    let refusing = Webhook::start(|_| json!({"allowed": false})).await;
    configure(
        &f,
        VALIDATING,
        "v",
        json!([refusing.hook("v.example.com", json!({"rules": rules("", json!(["v1"]), json!(["*/token"]))}))]),
    )
    .await;
    let refused = f.post(path, json!({"spec": {}})).await.refused();
    assert_eq!(refused.2, "admission webhook \"v.example.com\" denied the request without explanation");
}

#[tokio::test]
async fn row_32_webhooks_see_scales_and_parts_of_pods() {
    let f = Fixture::new().await;
    let hook = Webhook::start(|review| match review["request"]["kind"]["kind"].as_str() {
        Some("Scale") => patched(json!([{"op": "replace", "path": "/spec/replicas", "value": 4}])),
        _ => json!({"allowed": true}),
    })
    .await;
    let everything = json!([{"operations": ["UPDATE"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*/scale", "pods/*"]}]);
    configure(&f, MUTATING, "m", json!([hook.hook("m.example.com", json!({"rules": everything}))])).await;
    f.post(DEPLOYMENTS, deployment("d")).await.ok();
    f.merge(&format!("{DEPLOYMENTS}/d"), json!({"metadata": {"labels": {"a": "b"}}})).await.ok();
    assert_eq!(hook.asked().len(), 0);
    let scaled = f.merge(&format!("{DEPLOYMENTS}/d/scale"), json!({"spec": {"replicas": 9}})).await.ok();
    assert_eq!(scaled["spec"]["replicas"], 4);
    assert_eq!(f.get(&format!("{DEPLOYMENTS}/d")).await.ok()["spec"]["replicas"], 4);
    let asked = hook.asked();
    assert_eq!(
        (&asked[0]["kind"]["kind"], &asked[0]["resource"]["resource"]),
        (&json!("Scale"), &json!("deployments"))
    );
    assert_eq!((&asked[0]["subResource"], &asked[0]["object"]["spec"]["replicas"]), (&json!("scale"), &json!(9)));
    assert_eq!(asked[0]["oldObject"]["spec"]["replicas"], 2);
    let mut wanted = pod("p");
    wanted["spec"]["containers"][0]["resources"] = json!({"requests": {"cpu": "1"}});
    f.post(PODS, wanted).await.ok();
    let debug = json!({"spec": {"ephemeralContainers": [{"name": "debug", "image": "i"}]}});
    let strategic = Some("application/strategic-merge-patch+json");
    f.call("PATCH", &format!("{PODS}/p/ephemeralcontainers"), strategic, debug.to_string()).await.ok();
    let resize = json!({"spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": "2"}}}]}});
    f.call("PATCH", &format!("{PODS}/p/resize"), strategic, resize.to_string()).await.ok();
    let asked: Vec<Value> = hook.asked().iter().map(|request| request["subResource"].clone()).collect();
    assert_eq!(asked, [json!("ephemeralcontainers"), json!("resize")]);
    let owners = f.get(&format!("{PODS}/p")).await.ok()["metadata"]["managedFields"].clone();
    let through: Vec<&Value> = owners.as_array().unwrap().iter().map(|entry| &entry["subresource"]).collect();
    assert!(through.contains(&&json!("resize")) && through.contains(&&json!("ephemeralcontainers")), "{owners}");
    // What a pod may not be made with, it may not be given later.
    let label = json!({"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "baseline"}}});
    f.merge("/api/v1/namespaces/default", label).await.ok();
    let debug = json!({"spec": {"ephemeralContainers": [{"name": "root", "image": "i", "securityContext": {"privileged": true}}]}});
    let (code, _, message) =
        f.call("PATCH", &format!("{PODS}/p/ephemeralcontainers"), strategic, debug.to_string()).await.refused();
    assert_eq!(code, 403);
    assert!(message.contains("violates PodSecurity \"baseline:latest\": privileged"), "{message}");
}

#[tokio::test]
async fn row_32_match_conditions_are_compiled_when_they_are_written() {
    let f = Fixture::new().await;
    let hook = Webhook::start(|_| json!({"allowed": true})).await;
    for (expression, wrong) in [("request.", "compilation failed: "), ("'text'", "must evaluate to bool")] {
        let conditions = json!({"matchConditions": [{"name": "c", "expression": expression}]});
        let configuration = json!({"metadata": {"name": "v"}, "webhooks": [hook.hook("v.example.com", conditions)]});
        let (code, _, message) = f.post(VALIDATING, configuration).await.refused();
        assert_eq!(code, 422);
        assert!(message.contains("webhooks[0].matchConditions[0].expression: Invalid value: "), "{message}");
        assert!(message.contains(wrong), "{message}");
    }
    let conditions = json!({"matchConditions": [{"name": "c", "expression": "object.data.absent == 'x'"}]});
    configure(&f, VALIDATING, "v", json!([hook.hook("v.example.com", conditions)])).await;
    let (code, _, message) = f.post(MAPS, config_map("a", json!({}))).await.refused();
    assert_eq!(code, 403);
    assert_eq!(
        message,
        "configmaps \"a\" is forbidden: expression 'object.data.absent == 'x'' resulted in error: no such key: absent"
    );
}
