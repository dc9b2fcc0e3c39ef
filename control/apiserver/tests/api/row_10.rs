//! Row 10: watches.

use crate::{fixture::*, row_06::PROTOBUF};
use api::protobuf;
use http_body_util::BodyExt;
use serde_json::{Value, json};

#[tokio::test]
async fn row_10_protobuf_frames_have_their_length() {
    let f = Fixture::new().await;
    f.post(MAPS, config_map("a", json!({}))).await.ok();
    let accept = "application/vnd.kubernetes.protobuf;stream=watch,application/json";
    let mut response = f.fetch(&format!("{MAPS}?watch=1&timeoutSeconds=1&allowWatchBookmarks=true"), accept).await;
    assert_eq!(response.headers()["content-type"], format!("{PROTOBUF};stream=watch"));
    let mut all = Vec::new();
    while let Some(frame) = response.body_mut().frame().await {
        all.extend_from_slice(&frame.unwrap().into_data().unwrap());
    }
    let mut told = Vec::new();
    let mut rest = &all[..];
    while let Some((length, more)) = rest.split_first_chunk::<4>() {
        let (event, more) = more.split_at(u32::from_be_bytes(*length) as usize);
        rest = more;
        // A WatchEvent: its type, then a RawExtension that holds a body of its own.
        let kind_length = usize::from(event[1]);
        let kind = String::from_utf8(event[2..2 + kind_length].to_vec()).unwrap();
        let at = event.windows(4).position(|four| four == protobuf::MAGIC).unwrap();
        let object = protobuf::decode(&event[at..]).unwrap();
        told.push(format!(
            "{kind} {} {}",
            object["kind"].as_str().unwrap(),
            object["metadata"]["name"].as_str().unwrap_or("")
        ));
    }
    assert_eq!(told, ["ADDED ConfigMap a", "BOOKMARK ConfigMap "]);
}

#[tokio::test]
async fn row_10_selector_transitions_and_deletions() {
    let f = Fixture::new().await;
    f.post(MAPS, config_map("a", json!({"in": "no"}))).await.ok();
    let mut events = Events::open(&f, &format!("{MAPS}?watch=1&labelSelector=in%3Dyes")).await;
    f.merge(&format!("{MAPS}/a"), json!({"metadata": {"labels": {"in": "yes"}}})).await.ok();
    assert_eq!(events.told().await, "ADDED a");
    f.merge(&format!("{MAPS}/a"), json!({"metadata": {"labels": {"in": "no"}}})).await.ok();
    let left = events.next().await.unwrap();
    assert_eq!((left["type"].as_str(), &left["object"]["metadata"]["labels"]["in"]), (Some("DELETED"), &json!("yes")));
    assert_eq!(left["object"]["metadata"]["resourceVersion"], f.store.revision().to_string());
    f.merge(&format!("{MAPS}/a"), json!({"metadata": {"labels": {"in": "yes"}}})).await.ok();
    assert_eq!(events.told().await, "ADDED a");
    f.delete(&format!("{MAPS}/a"), json!({})).await.ok();
    let gone = events.next().await.unwrap();
    assert_eq!(gone["type"], "DELETED");
    assert_eq!(gone["object"]["metadata"]["resourceVersion"], f.store.revision().to_string());
}

#[tokio::test]
async fn row_10_over_a_websocket() {
    let f = Fixture::new().await;
    f.post(MAPS, config_map("a", json!({}))).await.ok();
    let (url, shutdown, task) = crate::streams::serve(&f).await;
    let request = format!(
        "GET {MAPS}?watch=1&timeoutSeconds=1 HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    let text = crate::row_38::raw(&f, &url, request.as_bytes(), false).await;
    // The key and its answer are those of RFC 6455.
    assert!(text.starts_with("HTTP/1.1 101") && text.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{text}");
    assert!(text.contains("{\"type\":\"ADDED\",\"object\":{"), "{text}");
    shutdown.cancel();
    task.await.unwrap();
}

#[tokio::test]
async fn row_10_old_watch_paths() {
    let f = Fixture::new().await;
    f.post(MAPS, config_map("a", json!({}))).await.ok();
    f.post(MAPS, config_map("b", json!({}))).await.ok();
    let mut all = Events::open(&f, "/api/v1/watch/namespaces/default/configmaps").await;
    assert_eq!((all.told().await, all.told().await), ("ADDED a".to_owned(), "ADDED b".to_owned()));
    let mut one = Events::open(&f, "/api/v1/watch/namespaces/default/configmaps/b").await;
    assert_eq!(one.told().await, "ADDED b");
    let nobody = f.as_user("nobody", &[]);
    assert_eq!(call(&nobody, "GET", "/api/v1/watch/configmaps", None, "").await.code, 403);
}

#[tokio::test]
async fn row_10_watches_of_one_event_share_and_agree() {
    let f = Fixture::new().await;
    let table = "application/json;as=Table;v=v1;g=meta.k8s.io";
    let from = f.store.revision();
    let path = format!("{MAPS}?watch=1&resourceVersion={from}");
    let mut watches = Vec::new();
    for accept in ["application/json", "application/json", table, table] {
        watches.push(Events::accepting(&f, &path, accept).await);
    }
    for n in 0..20 {
        f.post(MAPS, config_map(&format!("c{n:02}"), json!({}))).await.ok();
    }
    let mut seen: Vec<Vec<Value>> = Vec::new();
    for watch in &mut watches {
        let mut events = Vec::new();
        for _ in 0..20 {
            events.push(watch.next().await.unwrap());
        }
        seen.push(events);
    }
    assert_eq!((&seen[0], &seen[2]), (&seen[1], &seen[3]));
    let names: Vec<&str> = seen[0].iter().map(|e| e["object"]["metadata"]["name"].as_str().unwrap()).collect();
    assert!(names.is_sorted() && names.len() == 20);
}
