//! Row 30: reviews.

use crate::fixture::*;
use serde_json::{Value, json};

const AUTHZ: &str = "/apis/authorization.k8s.io/v1";
const AUTHN: &str = "/apis/authentication.k8s.io/v1";

#[tokio::test]
async fn row_30_access_reviews() {
    let f = Fixture::new().await;
    let user = f.as_user("u", &["g"]);
    let post = async |path: String, spec: Value| {
        call(&user, "POST", &path, Some("application/json"), json!({"spec": spec}).to_string()).await
    };
    let asked = json!({"resourceAttributes": {"verb": "get", "resource": "pods", "namespace": "default"}});
    let review = post(format!("{AUTHZ}/selfsubjectaccessreviews"), asked.clone()).await;
    assert_eq!(review.code, 201);
    assert_eq!(
        review.body,
        json!({"kind": "SelfSubjectAccessReview", "apiVersion": "authorization.k8s.io/v1", "metadata": {}, "spec": asked, "status": {"allowed": false}})
    );
    let discovery = post(
        format!("{AUTHZ}/selfsubjectaccessreviews"),
        json!({"nonResourceAttributes": {"path": "/api", "verb": "get"}}),
    )
    .await
    .ok();
    assert_eq!(
        discovery["status"],
        json!({"allowed": true, "reason": "RBAC: allowed by ClusterRoleBinding \"system:discovery\" of ClusterRole \"system:discovery\" to Group \"system:authenticated\""})
    );
    // Others are asked about by those who may.
    let other = json!({"user": "system:serviceaccount:a:b", "groups": ["system:masters"], "resourceAttributes": {"verb": "*", "resource": "*", "group": "*"}});
    assert_eq!(post(format!("{AUTHZ}/subjectaccessreviews"), other.clone()).await.code, 403);
    let review = f.post(&format!("{AUTHZ}/subjectaccessreviews"), json!({"spec": other})).await.ok();
    assert_eq!(review["status"], json!({"allowed": true}));
    let node = json!({"user": "system:node:n1", "groups": ["system:nodes"], "resourceAttributes": {"verb": "list", "resource": "pods",
        "fieldSelector": {"requirements": [{"key": "spec.nodeName", "operator": "In", "values": ["n1"]}]}}});
    let review = f.post(&format!("{AUTHZ}/subjectaccessreviews"), json!({"spec": node})).await.ok();
    assert_eq!(review["status"]["allowed"], true);
    let local = format!("{AUTHZ}/namespaces/default/localsubjectaccessreviews");
    let asks = |namespace: &str| json!({"spec": {"user": "u", "resourceAttributes": {"verb": "get", "resource": "pods", "namespace": namespace}}});
    assert_eq!(f.post(&local, asks("default")).await.code, 201);
    for (path, body, message) in [
        (
            local.clone(),
            asks("other"),
            "spec.resourceAttributes.namespace: Invalid value: \"other\": must match metadata.namespace",
        ),
        (
            format!("{AUTHZ}/selfsubjectaccessreviews"),
            json!({"spec": {}}),
            "exactly one of nonResourceAttributes or resourceAttributes must be specified",
        ),
        (
            format!("{AUTHZ}/subjectaccessreviews"),
            json!({"spec": {"nonResourceAttributes": {"path": "/", "verb": "get"}}}),
            "spec.user: Invalid value: \"\": at least one of user or group must be specified",
        ),
    ] {
        let (code, _, text) = f.post(&path, body).await.refused();
        assert_eq!(code, 422, "{text}");
        assert!(text.contains(message), "{text}");
    }
    for method in ["GET", "PUT", "DELETE", "PATCH"] {
        assert_eq!(
            f.call(method, &format!("{AUTHZ}/subjectaccessreviews"), Some("application/json"), "{}").await.code,
            405
        );
    }
}

#[tokio::test]
async fn row_30_rules_reviews() {
    let f = Fixture::new().await;
    let path = format!("{AUTHZ}/selfsubjectrulesreviews");
    let admin = f.post(&path, json!({"spec": {"namespace": "default"}})).await.ok();
    assert_eq!(admin["kind"], "SelfSubjectRulesReview");
    let all = json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]});
    assert!(admin["status"]["resourceRules"].as_array().unwrap().contains(&all), "{admin}");
    assert_eq!(admin["status"]["incomplete"], false);
    let user = f.as_user("u", &[]);
    let mine =
        call(&user, "POST", &path, Some("application/json"), json!({"spec": {"namespace": "default"}}).to_string())
            .await
            .ok();
    assert_eq!(
        mine["status"]["resourceRules"],
        json!([
            {"verbs": ["create"], "apiGroups": ["authorization.k8s.io"], "resources": ["selfsubjectaccessreviews", "selfsubjectrulesreviews"]},
            {"verbs": ["create"], "apiGroups": ["authentication.k8s.io"], "resources": ["selfsubjectreviews"]},
        ])
    );
    let (code, _, text) = f.post(&path, json!({"spec": {}})).await.refused();
    assert_eq!((code, text.as_str()), (400, "no namespace on request"));
    let node = f.as_user("system:node:n", &["system:nodes"]);
    let answer = call(&node, "POST", &path, Some("application/json"), json!({"spec": {"namespace": "x"}}).to_string())
        .await
        .ok();
    assert_eq!(answer["status"]["incomplete"], true);
}

#[tokio::test]
async fn row_30_token_and_self_reviews() {
    let f = Fixture::new().await;
    let who = call(&f.as_user("u", &["g"]), "POST", &format!("{AUTHN}/selfsubjectreviews"), None, "{}").await;
    assert_eq!(
        who.body,
        json!({"kind": "SelfSubjectReview", "apiVersion": "authentication.k8s.io/v1", "metadata": {},
            "status": {"userInfo": {"username": "u", "groups": ["g", "system:authenticated"]}}})
    );
    let made = f
        .post("/api/v1/namespaces/default/serviceaccounts/default/token", json!({"spec": {"audiences": ["a", "b"]}}))
        .await
        .ok();
    let token = made["status"]["token"].as_str().unwrap();
    let review = async |spec: Value| {
        f.post(&format!("{AUTHN}/tokenreviews"), json!({"spec": spec})).await.ok()["status"].clone()
    };
    let status = review(json!({"token": token, "audiences": ["b", "c"]})).await;
    assert_eq!((&status["authenticated"], &status["audiences"]), (&json!(true), &json!(["b"])));
    assert_eq!(status["user"]["username"], "system:serviceaccount:default:default");
    for spec in [json!({"token": token}), json!({"token": "x"}), json!({"token": token, "audiences": ["c"]})] {
        let status = review(spec).await;
        assert!(status["authenticated"].is_null() && status["user"] == json!({}), "{status}");
        assert!(status["error"].as_str().unwrap().contains("invalid bearer token"), "{status}");
    }
    assert_eq!(f.post(&format!("{AUTHN}/tokenreviews"), json!({"spec": {}})).await.code, 400);
}
