use crate::fixture::*;
use serde_json::{Value, json};

fn names(list: &Value) -> String {
    let names: Vec<&str> =
        list["items"].as_array().unwrap().iter().map(|item| item["metadata"]["name"].as_str().unwrap()).collect();
    names.join(",")
}

async fn filled() -> Fixture {
    let f = Fixture::new().await;
    for (name, tier) in [("a", "web"), ("b", "db"), ("c", "web"), ("d", "web"), ("e", "db")] {
        f.post(MAPS, config_map(name, json!({"tier": tier}))).await.ok();
    }
    f
}

#[tokio::test]
async fn selectors_select() {
    let f = filled().await;
    for (query, want) in [
        ("", "a,b,c,d,e"),
        ("labelSelector=tier%3Dweb", "a,c,d"),
        ("labelSelector=tier+in+(db),tier", "b,e"),
        ("labelSelector=!tier", ""),
        ("labelSelector=tier!%3Dweb", "b,e"),
        ("fieldSelector=metadata.name%3Dc", "c"),
        ("fieldSelector=metadata.name!%3Dc", "a,b,d,e"),
        ("fieldSelector=metadata.name%3Dc&labelSelector=tier%3Ddb", ""),
        ("fieldSelector=metadata.namespace%3Ddefault,metadata.name%3Da", "a"),
    ] {
        assert_eq!(names(&f.get(&format!("{MAPS}?{query}")).await.ok()), want, "{query}");
    }
    let all = f.get("/api/v1/configmaps?fieldSelector=metadata.name%3Dc").await.ok();
    assert_eq!((names(&all).as_str(), all["kind"].as_str()), ("c", Some("ConfigMapList")));
    let (code, _, message) = f.get(&format!("{MAPS}?fieldSelector=spec.x%3D1")).await.refused();
    assert_eq!((code, message.as_str()), (400, "field label not supported: spec.x"));
    assert_eq!(f.get(&format!("{MAPS}?labelSelector=a%3D%3D%3Db")).await.code, 400);
}

#[tokio::test]
async fn pages_show_one_revision() {
    let f = filled().await;
    let first = f.get(&format!("{MAPS}?limit=2")).await.ok();
    assert_eq!(names(&first), "a,b");
    assert_eq!(first["metadata"]["remainingItemCount"], 3);
    f.delete(&format!("{MAPS}/d"), json!({})).await.ok();
    f.post(MAPS, config_map("f", json!({}))).await.ok();
    let token = first["metadata"]["continue"].as_str().unwrap();
    let second = f.get(&format!("{MAPS}?limit=2&continue={token}")).await.ok();
    assert_eq!(names(&second), "c,d");
    assert_eq!(second["metadata"]["resourceVersion"], first["metadata"]["resourceVersion"]);
    let token = second["metadata"]["continue"].as_str().unwrap();
    let third = f.get(&format!("{MAPS}?limit=2&continue={token}")).await.ok();
    assert_eq!((names(&third).as_str(), third["metadata"].get("continue")), ("e", None));
}

#[tokio::test]
async fn pages_of_a_selection_are_full_pages() {
    let f = filled().await;
    let first = f.get(&format!("{MAPS}?limit=2&labelSelector=tier%3Dweb")).await.ok();
    assert_eq!((names(&first).as_str(), first["metadata"].get("remainingItemCount")), ("a,c", None));
    let token = first["metadata"]["continue"].as_str().unwrap();
    let second = f.get(&format!("{MAPS}?limit=2&labelSelector=tier%3Dweb&continue={token}")).await.ok();
    assert_eq!((names(&second).as_str(), second["metadata"].get("continue")), ("d", None));
}

#[tokio::test]
async fn an_expired_token_comes_back_with_a_fresh_one() {
    let f = filled().await;
    let first = f.get(&format!("{MAPS}?limit=2")).await.ok();
    f.delete(&format!("{MAPS}/c"), json!({})).await.ok();
    f.store.compact(f.store.revision()).await.unwrap();
    let token = first["metadata"]["continue"].as_str().unwrap();
    let expired = f.get(&format!("{MAPS}?limit=2&continue={token}")).await;
    let fresh = expired.body["metadata"]["continue"].as_str().unwrap().to_owned();
    let (code, reason, _) = expired.refused();
    assert_eq!((code, reason.as_str()), (410, "Expired"));
    assert_eq!(names(&f.get(&format!("{MAPS}?limit=2&continue={fresh}")).await.ok()), "d,e");
}

#[tokio::test]
async fn a_list_shows_the_revision_asked_for() {
    let f = filled().await;
    let before = f.store.revision();
    f.delete(&format!("{MAPS}/a"), json!({})).await.ok();
    let now = f.store.revision();
    for (query, want) in [
        (format!("resourceVersion={before}&resourceVersionMatch=Exact"), "a,b,c,d,e"),
        (format!("resourceVersion={before}&resourceVersionMatch=NotOlderThan"), "b,c,d,e"),
        (format!("resourceVersion={before}"), "b,c,d,e"),
        (format!("resourceVersion={before}&limit=9"), "a,b,c,d,e"),
        ("resourceVersion=0".to_owned(), "b,c,d,e"),
    ] {
        assert_eq!(names(&f.get(&format!("{MAPS}?{query}")).await.ok()), want, "{query}");
    }
    let future = f.get(&format!("{MAPS}?resourceVersion={}", now.0 + 100)).await;
    assert_eq!(future.body["details"]["causes"][0]["reason"], "ResourceVersionTooLarge");
    assert_eq!(future.refused().0, 504);
    f.store.compact(now).await.unwrap();
    let (code, reason, _) =
        f.get(&format!("{MAPS}?resourceVersion={before}&resourceVersionMatch=Exact")).await.refused();
    assert_eq!((code, reason.as_str()), (410, "Expired"));
    for bad in [
        "resourceVersion=x",
        "resourceVersionMatch=Exact",
        "resourceVersion=0&resourceVersionMatch=Exact",
        "resourceVersion=1&resourceVersionMatch=Newest",
        "continue=!!!",
        "limit=-1",
        "limit=x",
    ] {
        assert_eq!(f.get(&format!("{MAPS}?{bad}")).await.code, 400, "{bad}");
    }
}

#[tokio::test]
async fn tables_and_metadata_are_forms_of_the_same() {
    let f = filled().await;
    let table = answer(f.fetch(MAPS, "application/json;as=Table;v=v1;g=meta.k8s.io,application/json").await).await.ok();
    assert_eq!((table["kind"].as_str(), table["apiVersion"].as_str()), (Some("Table"), Some("meta.k8s.io/v1")));
    assert_eq!(table["columnDefinitions"][0]["name"], "Name");
    assert_eq!(table["rows"][0]["cells"][0], "a");
    assert_eq!(table["rows"][0]["object"]["kind"], "PartialObjectMetadata");
    let bare =
        answer(f.fetch(&format!("{MAPS}/a?includeObject=None"), "application/json;as=Table;v=v1;g=meta.k8s.io").await)
            .await
            .ok();
    assert_eq!((bare["rows"].as_array().unwrap().len(), &bare["rows"][0]["object"]), (1, &Value::Null));
    let metadata =
        answer(f.fetch(MAPS, "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io").await).await.ok();
    assert_eq!(metadata["kind"], "PartialObjectMetadataList");
    assert_eq!(metadata["items"][0].get("data"), None);
    assert_eq!(metadata["items"][0]["metadata"]["labels"]["tier"], "web");
    assert_eq!(answer(f.fetch(MAPS, "image/png").await).await.code, 406);
    let yaml = f.fetch(&format!("{MAPS}/a"), "application/yaml").await;
    let text = client::collect(yaml.into_body()).await.unwrap();
    assert!(String::from_utf8_lossy(&text).contains("kind: ConfigMap"));
}

#[tokio::test]
async fn events_have_two_views() {
    let f = Fixture::new().await;
    let event = json!({
        "metadata": {"name": "e"}, "type": "Normal", "reason": "Scheduled", "message": "m", "count": 1,
        "involvedObject": {"kind": "Pod", "name": "p", "namespace": "default"},
        "firstTimestamp": "2026-01-01T00:00:00Z", "lastTimestamp": "2026-01-01T00:00:00Z",
    });
    f.post("/api/v1/namespaces/default/events", event).await.ok();
    let selected =
        f.get("/api/v1/namespaces/default/events?fieldSelector=involvedObject.name%3Dp,reason%3DScheduled").await.ok();
    assert_eq!(names(&selected), "e");
    let view = f.get("/apis/events.k8s.io/v1/namespaces/default/events").await.ok();
    assert_eq!(
        (view["items"][0]["note"].as_str(), view["items"][0]["regarding"]["name"].as_str()),
        (Some("m"), Some("p"))
    );
}
