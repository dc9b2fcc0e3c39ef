//! Row 8: metadata alone.

use crate::{
    fixture::*,
    row_06::{PROTOBUF, body},
};
use http::Request;
use serde_json::json;

const ONE: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
const LIST: &str = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json";

#[tokio::test]
async fn row_08_metadata_of_every_verb() {
    let f = Fixture::new().await;
    f.post(MAPS, config_map("a", json!({"l": "v"}))).await.ok();
    let one = answer(f.fetch(&format!("{MAPS}/a"), ONE).await).await.ok();
    assert_eq!(
        (one["kind"].as_str(), one["apiVersion"].as_str()),
        (Some("PartialObjectMetadata"), Some("meta.k8s.io/v1"))
    );
    assert_eq!((one.get("data"), &one["metadata"]["labels"]["l"]), (None, &json!("v")));
    assert_eq!(one["metadata"]["resourceVersion"], f.store.revision().to_string());
    let list = answer(f.fetch(MAPS, LIST).await).await.ok();
    assert_eq!((list["kind"].as_str(), &list["items"][0]), (Some("PartialObjectMetadataList"), &one));
    let patch = Request::builder().method("PATCH").uri(format!("{MAPS}/a")).header("accept", ONE);
    let patch =
        patch.header("content-type", "application/merge-patch+json").body(r#"{"data":{"x":"y"}}"#.into()).unwrap();
    let patched = answer(f.admin.raw(patch).await.unwrap()).await.ok();
    assert_eq!((patched["kind"].as_str(), patched.get("data")), (Some("PartialObjectMetadata"), None));
    let mut events = Events::accepting(&f, &format!("{MAPS}?watch=1"), ONE).await;
    assert_eq!(events.next().await.unwrap()["object"]["kind"], "PartialObjectMetadata");
    f.merge(&format!("{MAPS}/a"), json!({"data": {"x": "z"}})).await.ok();
    let event = events.next().await.unwrap();
    assert_eq!((event["type"].as_str(), event["object"].get("data")), (Some("MODIFIED"), None));
}

#[tokio::test]
async fn row_08_metadata_in_protobuf() {
    let f = Fixture::new().await;
    f.post(MAPS, config_map("a", json!({}))).await.ok();
    // As the garbage collector asks.
    let accept = "application/vnd.kubernetes.protobuf;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,\
        application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
    let (code, media, bytes) = body(f.fetch(MAPS, accept).await).await;
    assert_eq!((code, media.as_str()), (200, PROTOBUF));
    assert_eq!(&bytes[..4], b"k8s\0");
    let text = String::from_utf8_lossy(&bytes);
    assert!(text.contains("PartialObjectMetadataList") && text.contains("default") && !text.contains("ConfigMap"));
}
