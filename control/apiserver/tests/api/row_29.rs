//! Row 29: RBAC.

use crate::fixture::*;
use client::Client;
use serde_json::{Value, json};

const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";
const GROUP: &str = "rbac.authorization.k8s.io";

async fn grant(f: &Fixture, namespace: &str, name: &str, subject: &str, rules: Value) {
    let at = |resource: &str| match namespace {
        "" => format!("{RBAC}/cluster{resource}"),
        namespace => format!("{RBAC}/namespaces/{namespace}/{resource}"),
    };
    f.post(&at("roles"), json!({"metadata": {"name": name}, "rules": rules})).await.ok();
    let kind = if namespace.is_empty() { "ClusterRole" } else { "Role" };
    let binding = json!({"metadata": {"name": name}, "roleRef": {"apiGroup": GROUP, "kind": kind, "name": name},
        "subjects": [{"apiGroup": GROUP, "kind": "User", "name": subject}]});
    f.post(&at("rolebindings"), binding).await.ok();
}

async fn code(client: &Client, method: &str, path: &str, body: Value) -> u16 {
    call(client, method, path, Some("application/json"), body.to_string()).await.code
}

#[tokio::test]
async fn row_29_rules() {
    let f = Fixture::new().await;
    let user = f.as_user("u", &[]);
    f.post(MAPS, config_map("a", json!({}))).await.ok();
    f.post(PODS, pod("p")).await.ok();
    assert_eq!(code(&user, "GET", &format!("{MAPS}/a"), json!({})).await, 403);
    grant(&f, "default", "named", "u", json!([{"apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["a"], "verbs": ["get", "list", "watch"]}])).await;
    // A grant counts from the next request on.
    assert_eq!(code(&user, "GET", &format!("{MAPS}/a"), json!({})).await, 200);
    assert_eq!(code(&user, "GET", &format!("{MAPS}/b"), json!({})).await, 403);
    assert_eq!(code(&user, "GET", MAPS, json!({})).await, 403);
    assert_eq!(code(&user, "GET", &format!("{MAPS}?fieldSelector=metadata.name%3Da"), json!({})).await, 200);
    assert_eq!(code(&user, "GET", &format!("{MAPS}?fieldSelector=metadata.name!%3Da"), json!({})).await, 403);
    assert_eq!(code(&user, "DELETE", &format!("{MAPS}/a"), json!({})).await, 403);
    assert_eq!(code(&user, "GET", "/api/v1/namespaces/kube-system/configmaps/a", json!({})).await, 403);

    grant(
        &f,
        "",
        "wide",
        "w",
        json!([
            {"apiGroups": [""], "resources": ["pods", "pods/status"], "verbs": ["get"]},
            {"apiGroups": ["*"], "resources": ["*/scale"], "verbs": ["*"]},
            {"nonResourceURLs": ["/metrics", "/healthz/*"], "verbs": ["get"]},
        ]),
    )
    .await;
    let wide = f.as_user("w", &[]);
    f.post(DEPLOYMENTS, deployment("d")).await.ok();
    for (path, want) in [
        (format!("{PODS}/p"), 200),
        (format!("{PODS}/p/status"), 200),
        (format!("{PODS}/p/log"), 403),
        (format!("{DEPLOYMENTS}/d/scale"), 200),
        (format!("{DEPLOYMENTS}/d"), 403),
        ("/metrics".to_owned(), 200),
        ("/healthz/ping".to_owned(), 200),
        ("/healthz/store/x".to_owned(), 404),
        ("/livez/ping".to_owned(), 403),
    ] {
        let got = code(&wide, "GET", &path, json!({})).await;
        assert!(got == want || want == 200 && got != 403, "{path}: {got}");
    }
    // A namespace is in itself.
    grant(&f, "default", "own", "n", json!([{"apiGroups": [""], "resources": ["namespaces"], "verbs": ["get"]}])).await;
    let own = f.as_user("n", &[]);
    assert_eq!(code(&own, "GET", "/api/v1/namespaces/default", json!({})).await, 200);
    assert_eq!(code(&own, "GET", "/api/v1/namespaces/kube-system", json!({})).await, 403);
    // And gone with the binding.
    f.delete(&format!("{RBAC}/namespaces/default/rolebindings/named"), json!({})).await.ok();
    assert_eq!(code(&user, "GET", &format!("{MAPS}/a"), json!({})).await, 403);
    // A role that is not there is told.
    let binding = json!({"metadata": {"name": "x"}, "roleRef": {"apiGroup": GROUP, "kind": "ClusterRole", "name": "nope"}, "subjects": [{"kind": "User", "name": "u"}]});
    f.post(&format!("{RBAC}/clusterrolebindings"), binding).await.ok();
    let (_, _, text) = call(&user, "GET", &format!("{MAPS}/a"), None, "").await.refused();
    assert!(
        text.ends_with("in the namespace \"default\": RBAC: clusterrole.rbac.authorization.k8s.io \"nope\" not found"),
        "{text}"
    );
}

#[tokio::test]
async fn row_29_escalation() {
    let f = Fixture::new().await;
    let eve = f.as_user("eve", &[]);
    let roles = format!("{RBAC}/namespaces/default/roles");
    let bindings = format!("{RBAC}/namespaces/default/rolebindings");
    grant(&f, "default", "rbac", "eve", json!([
        {"apiGroups": [GROUP], "resources": ["roles", "rolebindings"], "verbs": ["get", "create", "update", "patch"]},
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]},
    ])).await;
    let role = |name: &str, verbs: Value| json!({"metadata": {"name": name}, "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": verbs}]});
    let post =
        async |path: &str, body: Value| call(&eve, "POST", path, Some("application/json"), body.to_string()).await;
    post(&roles, role("held", json!(["get"]))).await.ok();
    let (got, _, text) = post(&roles, role("more", json!(["get", "delete", "list"]))).await.refused();
    assert_eq!(
        (got, text.as_str()),
        (
            403,
            "roles.rbac.authorization.k8s.io \"more\" is forbidden: user \"eve\" (groups=[\"system:authenticated\"]) is attempting to grant RBAC permissions not currently held:\n{APIGroups:[\"\"], Resources:[\"pods\"], Verbs:[\"delete\" \"list\"]}"
        )
    );
    let update =
        call(&eve, "PUT", &format!("{roles}/held"), Some("application/json"), role("held", json!(["*"])).to_string())
            .await;
    assert_eq!(update.code, 403);
    let patch = json!({"rules": role("held", json!(["*"]))["rules"]});
    let patched =
        call(&eve, "PATCH", &format!("{roles}/held"), Some("application/merge-patch+json"), patch.to_string()).await;
    assert_eq!(patched.code, 403);
    // A label is no grant.
    let labelled = json!({"metadata": {"labels": {"a": "b"}}}).to_string();
    assert_eq!(
        call(&eve, "PATCH", &format!("{roles}/held"), Some("application/merge-patch+json"), labelled).await.code,
        200
    );
    let bind = |name: &str, kind: &str, role: &str| json!({"metadata": {"name": name}, "roleRef": {"apiGroup": GROUP, "kind": kind, "name": role}, "subjects": [{"kind": "User", "name": "eve"}]});
    assert_eq!(post(&bindings, bind("held", "Role", "held")).await.code, 201);
    let (got, _, text) = post(&bindings, bind("all", "ClusterRole", "cluster-admin")).await.refused();
    assert_eq!(got, 403);
    assert!(text.starts_with("rolebindings.rbac.authorization.k8s.io \"all\" is forbidden: user \"eve\" (groups=[\"system:authenticated\"]) is attempting to grant RBAC permissions not currently held:\n{APIGroups:[\"*\"], Resources:[\"*\"], Verbs:[\"*\"]}"), "{text}");
    assert_eq!(post(&bindings, bind("gone", "Role", "gone")).await.code, 404);
    // With the verbs escalate and bind one may.
    grant(&f, "default", "more", "eve", json!([{"apiGroups": [GROUP], "resources": ["roles"], "verbs": ["escalate"]}]))
        .await;
    assert_eq!(
        call(&eve, "PUT", &format!("{roles}/held"), Some("application/json"), role("held", json!(["*"])).to_string())
            .await
            .code,
        200
    );
    grant(
        &f,
        "default",
        "bind",
        "eve",
        json!([{"apiGroups": [GROUP], "resources": ["clusterroles"], "resourceNames": ["view"], "verbs": ["bind"]}]),
    )
    .await;
    assert_eq!(post(&bindings, bind("view", "ClusterRole", "view")).await.code, 201);
    assert_eq!(post(&bindings, bind("edit", "ClusterRole", "edit")).await.code, 403);
    // What a binding is to does not change.
    let moved = bind("held", "ClusterRole", "view").to_string();
    let (got, _, text) = f.call("PUT", &format!("{bindings}/held"), Some("application/json"), moved).await.refused();
    assert_eq!(got, 422);
    assert!(text.contains("cannot change roleRef"), "{text}");
    // Aggregation may come to hold anything.
    grant(
        &f,
        "",
        "aggregate",
        "eve",
        json!([{"apiGroups": [GROUP], "resources": ["clusterroles"], "verbs": ["create"]}]),
    )
    .await;
    let gathering = json!({"metadata": {"name": "g"}, "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"a": "b"}}]}, "rules": []});
    let (got, _, text) = post(&format!("{RBAC}/clusterroles"), gathering).await.refused();
    assert_eq!(
        (got, text.as_str()),
        (
            403,
            "clusterroles.rbac.authorization.k8s.io \"g\" is forbidden: must have cluster-admin privileges to use the aggregationRule"
        )
    );
}

#[tokio::test]
async fn row_29_bootstrap() {
    let f = Fixture::new().await;
    let roles = f.get(&format!("{RBAC}/clusterroles")).await.ok();
    let named = |name: &str| {
        roles["items"]
            .as_array()
            .unwrap()
            .iter()
            .find(|role| role["metadata"]["name"] == name)
            .cloned()
            .unwrap_or_default()
    };
    for name in [
        "cluster-admin",
        "admin",
        "edit",
        "view",
        "system:aggregate-to-view",
        "system:node",
        "system:kube-scheduler",
        "system:controller:deployment-controller",
    ] {
        let role = named(name);
        assert_eq!(role["metadata"]["labels"]["kubernetes.io/bootstrapping"], "rbac-defaults", "{name}");
        assert_eq!(role["metadata"]["annotations"]["rbac.authorization.kubernetes.io/autoupdate"], "true", "{name}");
        assert!(!role["rules"].as_array().unwrap().is_empty(), "{name}");
    }
    assert!(named("edit")["rules"].as_array().unwrap().len() > named("view")["rules"].as_array().unwrap().len());
    assert_eq!(
        named("view")["aggregationRule"]["clusterRoleSelectors"][0]["matchLabels"],
        json!({"rbac.authorization.k8s.io/aggregate-to-view": "true"})
    );
    let reader =
        f.get(&format!("{RBAC}/namespaces/kube-system/rolebindings/extension-apiserver-authentication-reader")).await;
    assert_eq!(reader.code, 200);
    // Damage is repaired at the next start, additions stay, and who does not want it says so.
    f.merge(
        &format!("{RBAC}/clusterroles/system:discovery"),
        json!({"rules": [{"nonResourceURLs": ["/mine"], "verbs": ["get"]}]}),
    )
    .await
    .ok();
    f.merge(&format!("{RBAC}/clusterrolebindings/system:discovery"), json!({"subjects": null})).await.ok();
    f.merge(
        &format!("{RBAC}/clusterroles/system:basic-user"),
        json!({"metadata": {"annotations": {"rbac.authorization.kubernetes.io/autoupdate": "false"}}, "rules": []}),
    )
    .await
    .ok();
    let store = f.store.clone();
    let g = Fixture::with(|config| config.store = store).await;
    let role = g.get(&format!("{RBAC}/clusterroles/system:discovery")).await.ok();
    let urls: Vec<&str> = role["rules"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|rule| rule["nonResourceURLs"].as_array().unwrap())
        .map(|url| url.as_str().unwrap())
        .collect();
    assert!(urls.contains(&"/mine") && urls.contains(&"/apis/*"), "{urls:?}");
    let binding = g.get(&format!("{RBAC}/clusterrolebindings/system:discovery")).await.ok();
    assert_eq!(binding["subjects"], json!([{"kind": "Group", "apiGroup": GROUP, "name": "system:authenticated"}]));
    let left = g.get(&format!("{RBAC}/clusterroles/system:basic-user")).await.ok();
    assert!(left["rules"].as_array().is_none_or(Vec::is_empty));
}

#[tokio::test]
async fn row_29_creating_needs_create() {
    let f = Fixture::new().await;
    let leases = "/apis/coordination.k8s.io/v1/namespaces/default/leases";
    grant(
        &f,
        "default",
        "w",
        "w",
        json!([{"apiGroups": ["", "coordination.k8s.io"], "resources": ["*"], "verbs": ["get", "update", "patch"]}]),
    )
    .await;
    let user = f.as_user("w", &[]);
    let lease = json!({"metadata": {"name": "l"}, "spec": {}});
    let put = call(&user, "PUT", &format!("{leases}/l"), Some("application/json"), lease.to_string()).await;
    assert_eq!(put.code, 403, "{}", put.body);
    let manifest = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"}}).to_string();
    let apply =
        call(&user, "PATCH", &format!("{MAPS}/m?fieldManager=x"), Some("application/apply-patch+yaml"), manifest).await;
    let (got, _, text) = apply.refused();
    assert_eq!(got, 403);
    assert!(text.contains("cannot create resource \"configmaps\""), "{text}");
}

#[tokio::test]
async fn row_29_nodes_keep_to_themselves() {
    let f = Fixture::new().await;
    let node = f.as_user("system:node:n1", &["system:nodes"]);
    let body = |name: &str, labels: Value| json!({"metadata": {"name": name, "labels": labels}});
    let send = async |method: &str, path: &str, body: Value| {
        let kind = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
        call(&node, method, path, Some(kind), body.to_string()).await
    };
    let refused = async |method: &str, path: &str, body: Value, want: &str| {
        let (code, _, text) = send(method, path, body).await.refused();
        assert_eq!(code, 403, "{method} {path}: {text}");
        assert!(text.contains(want), "{method} {path}: {text}");
    };
    let nodes = "/api/v1/nodes";
    refused("POST", nodes, body("n2", json!({})), "node \"n1\" is not allowed to modify node \"n2\"").await;
    refused(
        "POST",
        nodes,
        body("n1", json!({"node-restriction.kubernetes.io/a": "b"})),
        "is not allowed to set the following labels: node-restriction.kubernetes.io/a",
    )
    .await;
    send("POST", nodes, body("n1", json!({"kubernetes.io/hostname": "n1", "mine": "x", "node.kubernetes.io/x": "y"})))
        .await
        .ok();
    f.post(nodes, body("n2", json!({}))).await.ok();
    let own = "/api/v1/nodes/n1";
    refused(
        "PATCH",
        own,
        json!({"metadata": {"labels": {"foo.kubernetes.io/role": "x"}}}),
        "is not allowed to modify labels: foo.kubernetes.io/role",
    )
    .await;
    refused(
        "PATCH",
        own,
        json!({"spec": {"taints": [{"key": "a", "effect": "NoSchedule"}]}}),
        "is not allowed to modify taints",
    )
    .await;
    refused(
        "PATCH",
        own,
        json!({"metadata": {"ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": "x", "uid": "y"}]}}),
        "is not allowed to modify ownerReferences",
    )
    .await;
    assert_eq!(send("PATCH", own, json!({"metadata": {"annotations": {"a": "b"}}})).await.code, 200);
    refused("PATCH", "/api/v1/nodes/n2/status", json!({}), "node \"n1\" is not allowed to modify node \"n2\"").await;
    refused("GET", "/api/v1/nodes/n2", json!({}), "node 'n1' cannot read 'n2', only its own Node object").await;
    refused("DELETE", own, json!({}), "cannot delete resource \"nodes\"").await;
    refused("POST", PODS, pod("x"), "can only create mirror pods").await;
    let mut mirror = pod("m");
    mirror["metadata"]["annotations"] = json!({"kubernetes.io/config.mirror": "x"});
    mirror["spec"]["nodeName"] = json!("n2");
    refused("POST", PODS, mirror.clone(), "can only create pods with spec.nodeName set to itself").await;
    mirror["spec"]["nodeName"] = json!("n1");
    mirror["spec"]["volumes"] = json!([{"name": "v", "secret": {"secretName": "s"}}]);
    refused("POST", PODS, mirror, "can not create pods that reference secrets").await;
    refused(
        "POST",
        "/apis/storage.k8s.io/v1/csinodes",
        json!({"metadata": {"name": "n2"}, "spec": {"drivers": []}}),
        "can only access CSINode with the same name as the requesting node",
    )
    .await;
    // Claims, volumes, and accounts: what its pods refer to, and nothing else.
    let secret = |name: &str| json!({"metadata": {"name": name}});
    for name in ["used", "unused"] {
        f.post("/api/v1/namespaces/default/secrets", secret(name)).await.ok();
    }
    let mut bound = pod("b");
    bound["spec"]["nodeName"] = json!("n1");
    bound["spec"]["containers"][0]["envFrom"] = json!([{"secretRef": {"name": "used"}}]);
    f.post(PODS, bound).await.ok();
    let at = |name: &str| format!("/api/v1/namespaces/default/secrets/{name}");
    assert_eq!(send("GET", &at("used"), json!({})).await.code, 200);
    refused("GET", &at("unused"), json!({}), "no relationship found between node 'n1' and this object").await;
    refused("PUT", &at("used"), secret("used"), "can only read resources of this type").await;
    f.delete(&format!("{PODS}/b"), json!({"gracePeriodSeconds": 0})).await.ok();
    refused("GET", &at("used"), json!({}), "no relationship found").await;
}
