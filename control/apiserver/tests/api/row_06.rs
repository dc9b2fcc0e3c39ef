//! Row 6: content types. Protobuf both ways, YAML, q values, 406 and 415.

use crate::fixture::*;
use api::protobuf;
use bytes::Bytes;
use http::{Request, Response};
use serde_json::{Value, json};

pub const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";
/// What core Go components say.
const GO: &str = "application/vnd.kubernetes.protobuf,application/json";

/// The media type and bytes of an answer.
pub async fn body(response: Response<client::Body>) -> (u16, String, Bytes) {
    let code = response.status().as_u16();
    let media = response.headers()["content-type"].to_str().unwrap().to_owned();
    (code, media, client::collect(response.into_body()).await.unwrap())
}

async fn send(f: &Fixture, method: &str, path: &str, content: Vec<u8>) -> (u16, String, Value) {
    let request = Request::builder().method(method).uri(path).header("accept", GO).header("content-type", PROTOBUF);
    let (code, media, bytes) = body(f.admin.raw(request.body(content.into()).unwrap()).await.unwrap()).await;
    assert_eq!(media, PROTOBUF, "{}", String::from_utf8_lossy(&bytes));
    (code, media, protobuf::decode(&bytes).unwrap())
}

#[tokio::test]
async fn row_06_go_components_speak_protobuf_only() {
    let f = Fixture::new().await;
    let mut pod = pod("p");
    pod["apiVersion"] = "v1".into();
    pod["kind"] = "Pod".into();
    pod["spec"]["containers"][0]["resources"] = json!({"limits": {"cpu": "100m"}});
    let (code, _, created) = send(&f, "POST", PODS, protobuf::encode(&pod).unwrap()).await;
    assert_eq!((code, created["metadata"]["name"].as_str()), (201, Some("p")), "{created}");
    let as_json = f.get(&format!("{PODS}/p")).await.ok();
    let (_, _, got) = send(&f, "GET", &format!("{PODS}/p"), Vec::new()).await;
    assert_eq!(got, as_json);
    let (_, _, updated) = send(&f, "PUT", &format!("{PODS}/p"), protobuf::encode(&got).unwrap()).await;
    assert_eq!(updated["metadata"]["resourceVersion"], got["metadata"]["resourceVersion"], "a no-op");
    let (_, media, bytes) = body(f.fetch(PODS, GO).await).await;
    let list = protobuf::decode(&bytes).unwrap();
    assert_eq!((media.as_str(), list["kind"].as_str()), (PROTOBUF, Some("PodList")));
    // Items of a list have no kind of their own in protobuf.
    let mut item = as_json.clone();
    item.as_object_mut().unwrap().retain(|field, _| field != "kind" && field != "apiVersion");
    assert_eq!(list["items"], json!([item]));
    assert_eq!(list["metadata"]["resourceVersion"], f.store.revision().to_string());
    let (code, _, missing) = send(&f, "GET", &format!("{PODS}/q"), Vec::new()).await;
    assert_eq!((code, missing["reason"].as_str(), missing["kind"].as_str()), (404, Some("NotFound"), Some("Status")));
    let review = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": {"verb": "get", "resource": "pods"}}});
    let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let (code, _, answer) = send(&f, "POST", path, protobuf::encode(&review).unwrap()).await;
    assert_eq!((code, &answer["status"]["allowed"]), (201, &json!(true)));
    let options = json!({"apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0,
        "preconditions": {"uid": "other"}});
    let (code, _, conflict) = send(&f, "DELETE", &format!("{PODS}/p"), protobuf::encode(&options).unwrap()).await;
    assert_eq!((code, conflict["reason"].as_str()), (409, Some("Conflict")));
}

#[tokio::test]
async fn row_06_a_long_protobuf_list_is_one_message() {
    let f = Fixture::new().await;
    for n in 0..40 {
        let mut map = config_map(&format!("c{n:02}"), json!({}));
        map["data"]["long"] = "x".repeat(8_000).into();
        f.post(MAPS, map).await.ok();
    }
    let (_, media, bytes) = body(f.fetch(MAPS, GO).await).await;
    assert_eq!(media, PROTOBUF);
    let list = protobuf::decode(&bytes).unwrap();
    let got: Vec<&str> =
        list["items"].as_array().unwrap().iter().map(|i| i["metadata"]["name"].as_str().unwrap()).collect();
    assert_eq!((got.len(), got[0], got[39]), (40, "c00", "c39"));
    let (_, _, page) = body(f.fetch(&format!("{MAPS}?limit=3"), GO).await).await;
    let page = protobuf::decode(&page).unwrap();
    assert_eq!((page["items"].as_array().unwrap().len(), &page["metadata"]["remainingItemCount"]), (3, &json!(37)));
}

#[tokio::test]
async fn row_06_what_is_accepted() {
    let f = Fixture::new().await;
    f.post(MAPS, config_map("a", json!({}))).await.ok();
    let path = format!("{MAPS}/a");
    for (accept, want) in [
        ("application/yaml", "application/yaml"),
        ("application/json;q=0.1, application/yaml;q=0.9", "application/yaml"),
        ("application/vnd.kubernetes.protobuf;q=0.4,application/json;q=0.5", "application/json"),
        ("text/html,application/xhtml+xml,*/*;q=0.8", "application/json"),
        ("application/*", "application/json"),
    ] {
        let (code, media, _) = body(f.fetch(&path, accept).await).await;
        assert_eq!((code, media.as_str()), (200, want), "{accept}");
    }
    for accept in [
        "text/html",
        "application/json;as=Nothing;g=meta.k8s.io;v=v1",
        "application/vnd.kubernetes.protobuf;as=Table;g=meta.k8s.io;v=v1",
    ] {
        let (code, reason, message) = answer(f.fetch(&path, accept).await).await.refused();
        let want = "only the following media types are accepted: application/json, application/yaml, application/vnd.kubernetes.protobuf";
        assert_eq!((code, reason.as_str(), message.as_str()), (406, "NotAcceptable", want));
    }
    let (code, reason, message) = answer(f.fetch(&format!("{MAPS}?watch=1"), "application/yaml").await).await.refused();
    let want = "only the following media types are accepted: application/json, application/vnd.kubernetes.protobuf";
    assert_eq!((code, reason.as_str(), message.as_str()), (406, "NotAcceptable", want));
    let refused = f.call("POST", MAPS, Some("application/xml"), "<a/>").await.refused();
    let want = "the body of the request was in an unknown format - accepted media types include: application/json, application/yaml, application/vnd.kubernetes.protobuf";
    assert_eq!(refused, (415, "UnsupportedMediaType".to_owned(), want.to_owned()));
}
