//! Row 28: impersonation.

use crate::{fixture::*, row_27::send};
use client::Client;
use http::Request;
use serde_json::{Value, json};

const WHO: &str = "/apis/authentication.k8s.io/v1/selfsubjectreviews";

async fn acting(client: &Client, path: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = Request::builder().method("POST").uri(path).header("content-type", "application/json");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    answer(client.raw(request.body("{}".into()).unwrap()).await.unwrap()).await
}

#[tokio::test]
async fn row_28_acting_as_another() {
    let f = Fixture::new().await;
    let who = async |headers: &[(&str, &str)]| acting(&f.admin, WHO, headers).await.ok()["status"]["userInfo"].clone();
    assert_eq!(
        who(&[("impersonate-user", "jane")]).await,
        json!({"username": "jane", "groups": ["system:authenticated"]})
    );
    assert_eq!(
        who(&[
            ("Impersonate-User", "jane"),
            ("Impersonate-Group", "devs"),
            ("Impersonate-Group", "ops"),
            ("Impersonate-Uid", "7"),
            ("Impersonate-Extra-Scopes", "a"),
            ("Impersonate-Extra-Scopes", "b"),
            ("Impersonate-Extra-acme.com%2fproject", "x"),
        ])
        .await,
        json!({
            "username": "jane", "uid": "7", "groups": ["devs", "ops", "system:authenticated"],
            "extra": {"scopes": ["a", "b"], "acme.com/project": ["x"]},
        })
    );
    assert_eq!(
        who(&[("impersonate-user", "system:serviceaccount:ns:sa")]).await["groups"],
        json!(["system:serviceaccounts", "system:serviceaccounts:ns", "system:authenticated"])
    );
    assert_eq!(acting(&f.admin, WHO, &[("impersonate-user", "system:anonymous")]).await.code, 403);
    // What the impersonated one may not, the request may not.
    let refused = acting(&f.admin, MAPS, &[("impersonate-user", "jane")]).await.refused();
    assert_eq!(
        refused.2,
        "configmaps is forbidden: User \"jane\" cannot create resource \"configmaps\" in API group \"\" in the namespace \"default\""
    );
    // Groups without a user are a mistake.
    assert_eq!(acting(&f.admin, WHO, &[("impersonate-group", "system:masters")]).await.code, 400);
    // Nobody may impersonate, neither on the API nor beside it.
    assert_eq!(send(&f, "GET", "/gannet/v1/status", &[("impersonate-user", "admin")], "").await.code, 403);
}

#[tokio::test]
async fn row_28_each_part_needs_the_right() {
    let f = Fixture::new().await;
    let role = |rules: Value| json!({"metadata": {"name": "r"}, "rules": rules});
    let path = "/apis/rbac.authorization.k8s.io/v1";
    f.post(
        &format!("{path}/clusterroles"),
        role(json!([
            {"apiGroups": [""], "resources": ["users"], "verbs": ["impersonate"], "resourceNames": ["jane"]},
            {"apiGroups": ["authentication.k8s.io"], "resources": ["userextras/scopes"], "verbs": ["impersonate"], "resourceNames": ["a"]},
        ])),
    )
    .await
    .ok();
    let binding = json!({"metadata": {"name": "r"}, "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "r"},
        "subjects": [{"kind": "User", "name": "alice"}]});
    f.post(&format!("{path}/clusterrolebindings"), binding).await.ok();
    let alice = f.as_user("alice", &[]);
    assert_eq!(acting(&alice, WHO, &[("impersonate-user", "jane")]).await.code, 201);
    assert_eq!(acting(&alice, WHO, &[("impersonate-user", "jane"), ("impersonate-extra-scopes", "a")]).await.code, 201);
    for (headers, message) in [
        (
            vec![("impersonate-user", "bob")],
            "users \"bob\" is forbidden: User \"alice\" cannot impersonate resource \"users\" in API group \"\" at the cluster scope",
        ),
        (
            vec![("impersonate-user", "jane"), ("impersonate-group", "system:masters")],
            "groups \"system:masters\" is forbidden: User \"alice\" cannot impersonate resource \"groups\" in API group \"\" at the cluster scope",
        ),
        (
            vec![("impersonate-user", "system:serviceaccount:ns:sa")],
            "serviceaccounts \"sa\" is forbidden: User \"alice\" cannot impersonate resource \"serviceaccounts\" in API group \"\" in the namespace \"ns\"",
        ),
        (
            vec![("impersonate-user", "jane"), ("impersonate-uid", "1")],
            "uids.authentication.k8s.io \"1\" is forbidden: User \"alice\" cannot impersonate resource \"uids\" in API group \"authentication.k8s.io\" at the cluster scope",
        ),
        (
            vec![("impersonate-user", "jane"), ("impersonate-extra-scopes", "b")],
            "userextras.authentication.k8s.io \"b\" is forbidden: User \"alice\" cannot impersonate resource \"userextras/scopes\" in API group \"authentication.k8s.io\" at the cluster scope",
        ),
    ] {
        let refused = acting(&alice, WHO, &headers).await.refused();
        assert_eq!((refused.0, refused.2.as_str()), (403, message));
    }
}
