//! Row 7: tables.

use crate::fixture::*;
use serde_json::json;

const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";

#[tokio::test]
async fn row_07_tables_of_lists_objects_and_watches() {
    let f = Fixture::new().await;
    f.post(PODS, pod("a")).await.ok();
    let table = answer(f.fetch(PODS, TABLE).await).await.ok();
    assert_eq!((table["kind"].as_str(), table["apiVersion"].as_str()), (Some("Table"), Some("meta.k8s.io/v1")));
    let columns = table["columnDefinitions"].as_array().unwrap();
    assert!(columns.iter().any(|column| column["priority"] == 1), "{columns:?}");
    assert_eq!(table["rows"][0]["cells"].as_array().unwrap().len(), columns.len());
    assert_eq!(table["rows"][0]["object"]["kind"], "PartialObjectMetadata");
    assert_eq!(table["metadata"]["resourceVersion"], f.store.revision().to_string());
    let one = answer(f.fetch(&format!("{PODS}/a?includeObject=Object"), TABLE).await).await.ok();
    assert_eq!(one["rows"][0]["object"]["kind"], "Pod");
    let none = answer(f.fetch(&format!("{PODS}?includeObject=None"), TABLE).await).await.ok();
    assert_eq!(none["rows"][0]["object"], json!(null));
    let beta = answer(f.fetch(PODS, "application/json;as=Table;v=v1beta1;g=meta.k8s.io").await).await.ok();
    assert_eq!(beta["apiVersion"], "meta.k8s.io/v1beta1");
    assert_eq!(beta["rows"][0]["object"]["apiVersion"], "meta.k8s.io/v1beta1");
    let bad = answer(f.fetch(&format!("{PODS}?includeObject=Some"), TABLE).await).await;
    assert_eq!(bad.refused().0, 400);

    let mut events = Events::accepting(&f, &format!("{PODS}?watch=1"), TABLE).await;
    let first = events.next().await.unwrap();
    assert_eq!((first["type"].as_str(), first["object"]["kind"].as_str()), (Some("ADDED"), Some("Table")));
    assert!(!first["object"]["columnDefinitions"].as_array().unwrap().is_empty());
    f.post(PODS, pod("b")).await.ok();
    let second = events.next().await.unwrap();
    assert!(second["object"]["columnDefinitions"].as_array().unwrap().is_empty());
    assert_eq!(second["object"]["rows"][0]["object"]["metadata"]["name"], "b");
    assert_eq!(second["object"]["rows"][0]["cells"][0], "b");
}

#[tokio::test]
async fn row_07_an_empty_table_has_columns() {
    let f = Fixture::new().await;
    let table = answer(f.fetch(PODS, TABLE).await).await.ok();
    assert!(!table["columnDefinitions"].as_array().unwrap().is_empty());
    assert_eq!(table["rows"], json!([]));
}
