//! Row 26: errors are Statuses, with Kubernetes' codes, reasons, details and words.

use crate::fixture::*;
use crate::row_27::send;
use serde_json::{Value, json};

#[tokio::test]
async fn row_26_statuses() {
    let f = Fixture::new().await;
    f.post(MAPS, config_map("m", json!({}))).await.ok();
    let nobody = f.as_user("u", &[]);
    let by = |client: &client::Client, method: &str, path: &str, body: Value| {
        let (client, method, path) = (client.clone(), method.to_owned(), path.to_owned());
        async move {
            let kind = if method == "PATCH" { "application/json-patch+json" } else { "application/json" };
            let answer = call(&client, &method, &path, Some(kind), body.to_string()).await.body;
            assert_eq!((&answer["kind"], &answer["apiVersion"]), (&json!("Status"), &json!("v1")), "{answer}");
            assert_eq!((&answer["status"], &answer["metadata"]), (&json!("Failure"), &json!({})), "{answer}");
            answer
        }
    };
    let rbac = "/apis/rbac.authorization.k8s.io/v1";
    for (client, method, path, body, code, reason, message, details) in [
        (
            &f.admin,
            "GET",
            format!("{MAPS}/x"),
            json!({}),
            404,
            "NotFound",
            "configmaps \"x\" not found",
            json!({"kind": "configmaps", "name": "x"}),
        ),
        (
            &f.admin,
            "GET",
            format!("{DEPLOYMENTS}/x"),
            json!({}),
            404,
            "NotFound",
            "deployments.apps \"x\" not found",
            json!({"group": "apps", "kind": "deployments", "name": "x"}),
        ),
        (
            &f.admin,
            "POST",
            MAPS.into(),
            config_map("m", json!({})),
            409,
            "AlreadyExists",
            "configmaps \"m\" already exists",
            json!({"kind": "configmaps", "name": "m"}),
        ),
        (
            &f.admin,
            "GET",
            "/api/v1/nonsense".into(),
            json!({}),
            404,
            "NotFound",
            "the server could not find the requested resource",
            json!({}),
        ),
        (
            &f.admin,
            "GET",
            "/apis/no.such.group/v1/things".into(),
            json!({}),
            404,
            "NotFound",
            "the server could not find the requested resource",
            json!({}),
        ),
        (
            &nobody,
            "GET",
            format!("{PODS}/p"),
            json!({}),
            403,
            "Forbidden",
            "pods \"p\" is forbidden: User \"u\" cannot get resource \"pods\" in API group \"\" in the namespace \"default\"",
            json!({"kind": "pods", "name": "p"}),
        ),
        (
            &nobody,
            "GET",
            "/api/v1/pods".into(),
            json!({}),
            403,
            "Forbidden",
            "pods is forbidden: User \"u\" cannot list resource \"pods\" in API group \"\" at the cluster scope",
            json!({"kind": "pods"}),
        ),
        (
            &nobody,
            "GET",
            format!("{PODS}/p/log"),
            json!({}),
            403,
            "Forbidden",
            "pods \"p\" is forbidden: User \"u\" cannot get resource \"pods/log\" in API group \"\" in the namespace \"default\"",
            json!({"kind": "pods", "name": "p"}),
        ),
        (
            &nobody,
            "DELETE",
            "/api/v1/namespaces/x".into(),
            json!({}),
            403,
            "Forbidden",
            "namespaces \"x\" is forbidden: User \"u\" cannot delete resource \"namespaces\" in API group \"\" in the namespace \"x\"",
            json!({"kind": "namespaces", "name": "x"}),
        ),
        (
            &nobody,
            "PATCH",
            format!("{rbac}/clusterroles/x"),
            json!([]),
            403,
            "Forbidden",
            "clusterroles.rbac.authorization.k8s.io \"x\" is forbidden: User \"u\" cannot patch resource \"clusterroles\" in API group \"rbac.authorization.k8s.io\" at the cluster scope",
            json!({"group": "rbac.authorization.k8s.io", "kind": "clusterroles", "name": "x"}),
        ),
        (
            &nobody,
            "GET",
            "/metrics".into(),
            json!({}),
            403,
            "Forbidden",
            "forbidden: User \"u\" cannot get path \"/metrics\"",
            json!({}),
        ),
        (
            &f.admin,
            "POST",
            format!("{MAPS}/m"),
            json!({}),
            405,
            "MethodNotAllowed",
            "the server does not allow this method on the requested resource",
            json!({}),
        ),
    ] {
        let answer = by(client, method, &path, body).await;
        assert_eq!(
            (&answer["code"], &answer["reason"], &answer["message"], &answer["details"]),
            (&json!(code), &json!(reason), &json!(message), &details),
            "{method} {path}"
        );
    }
    // Without details.
    for (method, path, headers, body, code, reason, message) in [
        ("GET", PODS, vec![("authorization", "Bearer x")], "", 401, "Unauthorized", "Unauthorized"),
        ("GET", PODS, vec![("authorization", "Digest x")], "", 401, "Unauthorized", "Unauthorized"),
        ("GET", PODS, vec![("authorization", "Bearer")], "", 401, "Unauthorized", "Unauthorized"),
    ] {
        let answer = send(&f, method, path, &headers, body).await;
        assert_eq!(
            (answer.code, &answer.body["reason"], &answer.body["message"]),
            (code, &json!(reason), &json!(message))
        );
        assert!(answer.body["details"].is_null(), "{}", answer.body);
    }
    let strange = call(&f.admin, "POST", MAPS, Some("image/png"), "x").await;
    assert_eq!((strange.code, &strange.body["reason"]), (415, &json!("UnsupportedMediaType")));
    let text = strange.body["message"].as_str().unwrap();
    assert!(
        text.starts_with(
            "the body of the request was in an unknown format - accepted media types include: application/json"
        ),
        "{text}"
    );
    let response = f.fetch(&format!("{MAPS}/m"), "image/png").await;
    let answer = answer(response).await;
    assert_eq!((answer.code, &answer.body["reason"]), (406, &json!("NotAcceptable")));
    assert!(
        answer.body["message"]
            .as_str()
            .unwrap()
            .starts_with("only the following media types are accepted: application/json")
    );
    let large = f.call("POST", MAPS, Some("application/json"), vec![b' '; (3 << 20) + 1]).await;
    assert_eq!((large.code, &large.body["reason"]), (413, &json!("RequestEntityTooLarge")));
    let stale = json!({"metadata": {"name": "m", "resourceVersion": "1"}});
    let (code, reason, message) = f.put(&format!("{MAPS}/m"), &stale).await.refused();
    assert_eq!(
        (code, reason.as_str(), message.as_str()),
        (
            409,
            "Conflict",
            "Operation cannot be fulfilled on configmaps \"m\": the object has been modified; please apply your changes to the latest version and try again"
        )
    );
}
