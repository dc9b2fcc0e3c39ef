use crate::fixture::*;
use client::Client;
use serde_json::{Value, json};

/// Every resource path of our own discovery, with every verb it has.
async fn routes(f: &Fixture) -> Vec<(String, String)> {
    let mut routes = Vec::new();
    let groups = f.get("/apis").await.ok();
    let mut roots = vec!["/api/v1".to_owned()];
    for group in groups["groups"].as_array().unwrap() {
        roots.push(format!("/apis/{}", group["preferredVersion"]["groupVersion"].as_str().unwrap()));
    }
    for root in roots {
        for resource in f.get(&root).await.ok()["resources"].as_array().unwrap() {
            let (name, sub) =
                resource["name"].as_str().unwrap().split_once('/').unwrap_or((resource["name"].as_str().unwrap(), ""));
            let scope = if resource["namespaced"] == true { "/namespaces/kube-system" } else { "" };
            let collection = format!("{root}{scope}/{name}");
            let object = if sub.is_empty() { format!("{collection}/x") } else { format!("{collection}/x/{sub}") };
            for verb in resource["verbs"].as_array().unwrap() {
                let (method, path) = match verb.as_str().unwrap() {
                    "list" => ("GET", collection.clone()),
                    "watch" => ("GET", format!("{collection}?watch=1&timeoutSeconds=1")),
                    "create" if sub.is_empty() => ("POST", collection.clone()),
                    "create" => ("POST", object.clone()),
                    "deletecollection" => ("DELETE", collection.clone()),
                    "get" => ("GET", object.clone()),
                    "update" => ("PUT", object.clone()),
                    "patch" => ("PATCH", object.clone()),
                    _ => ("DELETE", object.clone()),
                };
                routes.push((method.to_owned(), path));
            }
        }
    }
    for path in ["/", "/api", "/apis", "/metrics", "/openapi/v2", "/openapi/v3", "/nonsense", "/healthz", "/version"] {
        routes.push(("GET".to_owned(), path.to_owned()));
    }
    assert!(routes.len() > 150, "{}", routes.len());
    routes
}

async fn allowed(f: &Fixture, client: &Client) -> Vec<String> {
    let mut allowed = Vec::new();
    for (method, path) in routes(f).await {
        let answer = call(client, &method, &path, Some("application/json"), "{}").await;
        if answer.code != 403 {
            allowed.push(format!("{method} {path} {}", answer.code));
        }
    }
    allowed
}

#[tokio::test]
async fn nobody_may_do_nothing() {
    let f = Fixture::new().await;
    assert_eq!(allowed(&f, &f.anonymous()).await, ["GET /healthz 200", "GET /version 200"]);
}

#[tokio::test]
async fn everybody_known_may_discover_and_ask_about_himself() {
    let f = Fixture::new().await;
    let user = f.as_user("system:serviceaccount:a:b", &["system:serviceaccounts"]);
    assert_eq!(
        allowed(&f, &user).await,
        [
            "POST /apis/authentication.k8s.io/v1/selfsubjectreviews 201",
            "POST /apis/authorization.k8s.io/v1/selfsubjectaccessreviews 422",
            "POST /apis/authorization.k8s.io/v1/selfsubjectrulesreviews 400",
            "GET /api 200",
            "GET /apis 200",
            "GET /openapi/v2 200",
            "GET /openapi/v3 200",
            "GET /healthz 200",
            "GET /version 200",
        ]
    );
    let (code, reason, message) = call(&user, "GET", "/api/v1/namespaces/kube-system/pods/x", None, "").await.refused();
    assert_eq!((code, reason.as_str()), (403, "Forbidden"));
    assert_eq!(
        message,
        "pods \"x\" is forbidden: User \"system:serviceaccount:a:b\" cannot get resource \"pods\" in API group \"\" in the \
         namespace \"kube-system\""
    );
    let (_, _, message) = call(&user, "GET", "/apis/apps/v1/deployments", None, "").await.refused();
    assert!(
        message.ends_with("cannot list resource \"deployments\" in API group \"apps\" at the cluster scope"),
        "{message}"
    );
    let (_, _, message) = call(&user, "GET", "/metrics", None, "").await.refused();
    assert!(message.contains("cannot get path \"/metrics\""), "{message}");
}

#[tokio::test]
async fn a_node_sees_its_own_pods_and_what_they_mention() {
    let f = Fixture::new().await;
    let mut uids = Vec::new();
    for (name, node, secret) in [("mine", "n1", "s1"), ("theirs", "n2", "s2")] {
        let mut object = pod(name);
        object["spec"]["volumes"] = json!([
            {"name": "v", "secret": {"secretName": secret}},
            {"name": "t", "projected": {"sources": [{"serviceAccountToken": {"audience": "vault", "path": "t"}}]}},
            {"name": "d", "csi": {"driver": "disk.example.com"}},
        ]);
        uids.push(f.post(PODS, object).await.ok()["metadata"]["uid"].clone());
        let target = json!({"metadata": {"name": name}, "target": {"kind": "Node", "name": node}});
        f.post(&format!("{PODS}/{name}/binding"), target).await.ok();
        f.post("/api/v1/namespaces/default/secrets", json!({"metadata": {"name": secret}})).await.ok();
        f.post("/api/v1/nodes", json!({"metadata": {"name": node}})).await.ok();
    }
    let driver = json!({"metadata": {"name": "disk.example.com"}, "spec": {"tokenRequests": [{"audience": "disk"}]}});
    f.post("/apis/storage.k8s.io/v1/csidrivers", driver).await.ok();
    let rules =
        json!([{"apiGroups": [""], "resources": ["granted"], "verbs": ["request-serviceaccounts-token-audience"]}]);
    let rbac = "/apis/rbac.authorization.k8s.io/v1";
    f.post(&format!("{rbac}/clusterroles"), json!({"metadata": {"name": "granted"}, "rules": rules})).await.ok();
    let binding = json!({"metadata": {"name": "granted"}, "subjects": [{"kind": "Group", "name": "system:nodes",
        "apiGroup": "rbac.authorization.k8s.io"}], "roleRef": {"apiGroup": "rbac.authorization.k8s.io",
        "kind": "ClusterRole", "name": "granted"}});
    f.post(&format!("{rbac}/clusterrolebindings"), binding).await.ok();
    let node = f.as_user("system:node:n1", &["system:nodes"]);
    let leases = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";
    let lease = |name: &str| json!({"metadata": {"name": name}, "spec": {}});
    let token =
        json!({"spec": {"boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": "mine", "uid": uids[0]}}});
    let audience = |name: &str| {
        let mut asked = token.clone();
        asked["spec"]["audiences"] = json!([name]);
        asked
    };
    let stolen =
        json!({"spec": {"boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": "theirs", "uid": uids[1]}}});
    let accounts = "/api/v1/namespaces/default/serviceaccounts";
    let status = json!({"status": {"phase": "Running"}});
    for (method, path, body, want) in [
        ("GET", format!("{PODS}?fieldSelector=spec.nodeName%3Dn1"), Value::Null, 200),
        ("GET", "/api/v1/pods?watch=1&timeoutSeconds=1&fieldSelector=spec.nodeName%3Dn1".to_owned(), Value::Null, 200),
        ("GET", "/api/v1/pods?fieldSelector=spec.nodeName%3Dn2".to_owned(), Value::Null, 403),
        ("GET", "/api/v1/pods?fieldSelector=spec.nodeName!%3Dn1".to_owned(), Value::Null, 403),
        ("GET", PODS.to_owned(), Value::Null, 403),
        ("GET", format!("{PODS}/mine"), Value::Null, 200),
        ("GET", format!("{PODS}/theirs"), Value::Null, 403),
        ("PATCH", format!("{PODS}/mine/status"), status.clone(), 200),
        ("PATCH", format!("{PODS}/theirs/status"), status, 403),
        ("PATCH", format!("{PODS}/mine"), json!({}), 403),
        ("POST", PODS.to_owned(), pod("x"), 403),
        ("GET", "/api/v1/namespaces/default/secrets/s1".to_owned(), Value::Null, 200),
        ("GET", "/api/v1/namespaces/default/secrets/s2".to_owned(), Value::Null, 403),
        ("GET", "/api/v1/namespaces/default/secrets".to_owned(), Value::Null, 403),
        ("GET", "/api/v1/namespaces/default/secrets?fieldSelector=metadata.name%3Ds1".to_owned(), Value::Null, 200),
        ("POST", format!("{accounts}/default/token"), token.clone(), 201),
        ("POST", format!("{accounts}/default/token"), audience("vault"), 201),
        ("POST", format!("{accounts}/default/token"), audience("disk"), 201),
        ("POST", format!("{accounts}/default/token"), audience("granted"), 201),
        ("POST", format!("{accounts}/default/token"), audience("other"), 403),
        ("POST", format!("{accounts}/default/token"), stolen, 403),
        ("POST", format!("{accounts}/default/token"), json!({"spec": {}}), 403),
        ("POST", leases.to_owned(), lease("n1"), 201),
        ("POST", leases.to_owned(), lease("n2"), 403),
        ("PUT", format!("{leases}/n2"), lease("n2"), 403),
        ("GET", "/api/v1/nodes".to_owned(), Value::Null, 403),
        ("GET", "/api/v1/nodes?fieldSelector=metadata.name%3Dn1".to_owned(), Value::Null, 200),
        ("GET", "/api/v1/nodes/n1".to_owned(), Value::Null, 200),
        ("GET", "/api/v1/nodes/n2".to_owned(), Value::Null, 403),
        ("PATCH", "/api/v1/nodes/n1/status".to_owned(), json!({"status": {}}), 200),
        ("PATCH", "/api/v1/nodes/n2/status".to_owned(), json!({"status": {}}), 403),
        ("POST", "/api/v1/nodes".to_owned(), json!({"metadata": {"name": "n3"}}), 403),
        ("DELETE", format!("{PODS}/theirs"), json!({"gracePeriodSeconds": 0}), 403),
        ("DELETE", format!("{PODS}/mine"), json!({"gracePeriodSeconds": 0}), 200),
        ("GET", "/api/v1/services".to_owned(), Value::Null, 200),
        ("GET", "/apis/apps/v1/deployments".to_owned(), Value::Null, 403),
    ] {
        let kind = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let answer = call(&node, method, &path, Some(kind), body).await;
        assert_eq!(answer.code, want, "{method} {path}: {}", answer.body);
    }
    // A name alone makes no node.
    let pretender = f.as_user("system:node:n1", &[]);
    assert_eq!(call(&pretender, "GET", "/api/v1/nodes", None, "").await.code, 403);
}

#[tokio::test]
async fn reviews_tell_what_authorization_would() {
    let f = Fixture::new().await;
    let user = f.as_user("u", &[]);
    let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let question = json!({"spec": {"resourceAttributes": {"verb": "get", "resource": "pods", "namespace": "default"}}});
    let asked = async |client: &Client| {
        call(client, "POST", path, None, question.to_string()).await.ok()["status"]["allowed"].clone()
    };
    assert_eq!((asked(&user).await, asked(&f.admin).await), (json!(false), json!(true)));
    let who = call(&user, "POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", None, "{}").await.ok();
    assert_eq!(who["status"]["userInfo"]["username"], "u");
}

#[tokio::test]
async fn a_token_is_believed_while_its_account_and_pod_live() {
    let f = Fixture::new().await;
    let pod_made = f.post(PODS, pod("a")).await.ok();
    let accounts = "/api/v1/namespaces/default/serviceaccounts";
    let bound = json!({"spec": {"expirationSeconds": 600, "boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": "a", "uid": pod_made["metadata"]["uid"]}}});
    let token = f.post(&format!("{accounts}/default/token"), bound).await.ok();
    let token = token["status"]["token"].as_str().unwrap().to_owned();
    let review = async |token: &str, audiences: Value| {
        let review = json!({"spec": {"token": token, "audiences": audiences}});
        f.post("/apis/authentication.k8s.io/v1/tokenreviews", review).await.ok()["status"].clone()
    };
    let status = review(&token, json!([])).await;
    assert_eq!(status["authenticated"], true, "{status}");
    assert_eq!(status["user"]["username"], "system:serviceaccount:default:default");
    assert_eq!(status["user"]["extra"]["authentication.kubernetes.io/pod-name"], json!(["a"]));
    assert_eq!(review(&token, json!(["vault"])).await["authenticated"], Value::Null);
    for index in [10, token.len() / 2, token.len() - 3] {
        let mut damaged = token.clone().into_bytes();
        damaged[index] = if damaged[index] == b'A' { b'B' } else { b'A' };
        assert_eq!(review(&String::from_utf8(damaged).unwrap(), json!([])).await["authenticated"], Value::Null);
    }
    f.delete(&format!("{PODS}/a"), json!({"gracePeriodSeconds": 0})).await.ok();
    assert_eq!(review(&token, json!([])).await["authenticated"], Value::Null);
    assert_eq!(f.post(&format!("{accounts}/default/token"), json!({"spec": {"expirationSeconds": 5}})).await.code, 422);
    let gone = json!({"spec": {"boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": "a"}}});
    assert_eq!(f.post(&format!("{accounts}/default/token"), gone).await.code, 404);
}
