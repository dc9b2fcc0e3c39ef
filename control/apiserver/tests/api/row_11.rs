//! Row 11: bookmarks, and lists that come as watches.

use crate::fixture::*;
use serde_json::json;

const INITIAL: &str = "watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";

#[tokio::test]
async fn row_11_initial_events_end_with_a_bookmark_in_every_form() {
    let f = Fixture::new().await;
    for name in ["a", "b"] {
        f.post(MAPS, config_map(name, json!({}))).await.ok();
    }
    let at = f.store.revision().to_string();
    let plain = "application/json";
    let metadata = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
    for (accept, kind) in [(plain, "ConfigMap"), (metadata, "PartialObjectMetadata")] {
        let mut events = Events::accepting(&f, &format!("{MAPS}?{INITIAL}"), accept).await;
        assert_eq!((events.told().await, events.told().await), ("ADDED a".to_owned(), "ADDED b".to_owned()));
        let end = events.next().await.unwrap();
        assert_eq!((end["type"].as_str(), end["object"]["kind"].as_str()), (Some("BOOKMARK"), Some(kind)));
        assert_eq!(end["object"]["metadata"]["resourceVersion"], at);
        assert_eq!(end["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
    }
    let mut table =
        Events::accepting(&f, &format!("{MAPS}?{INITIAL}"), "application/json;as=Table;v=v1;g=meta.k8s.io").await;
    table.next().await.unwrap();
    table.next().await.unwrap();
    let end = table.next().await.unwrap();
    let row = &end["object"]["rows"][0]["object"]["metadata"];
    assert_eq!(
        (end["type"].as_str(), &row["annotations"]["k8s.io/initial-events-end"]),
        (Some("BOOKMARK"), &json!("true"))
    );
}

#[tokio::test]
async fn row_11_a_long_state_comes_whole_and_in_order() {
    let f = Fixture::new().await;
    for n in 0..300 {
        f.post(MAPS, config_map(&format!("c{n:03}"), json!({}))).await.ok();
    }
    let mut events = Events::open(&f, &format!("{MAPS}?{INITIAL}")).await;
    f.post(MAPS, config_map("later", json!({}))).await.ok();
    for n in 0..300 {
        assert_eq!(events.told().await, format!("ADDED c{n:03}"));
    }
    assert_eq!(events.told().await, "BOOKMARK ");
    assert_eq!(events.told().await, "ADDED later");
}

#[tokio::test(start_paused = true)]
async fn row_11_bookmarks_come_each_minute_and_before_the_end() {
    let f = Fixture::new().await;
    let from = f.store.revision();
    let path = format!("{MAPS}?watch=1&allowWatchBookmarks=true&timeoutSeconds=150&resourceVersion={from}");
    let start = tokio::time::Instant::now();
    let mut events = Events::open(&f, &path).await;
    let mut at = Vec::new();
    while let Some(event) = events.next().await {
        assert_eq!(event["type"], "BOOKMARK");
        at.push(start.elapsed().as_secs());
    }
    assert_eq!(at, [60, 120, 150]);
}

#[tokio::test]
async fn row_11_combinations_that_mean_nothing() {
    let f = Fixture::new().await;
    for query in [
        "watch=1&sendInitialEvents=true",
        "watch=1&sendInitialEvents=true&resourceVersionMatch=Exact&allowWatchBookmarks=true",
        "watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan",
        "watch=1&resourceVersionMatch=NotOlderThan&resourceVersion=1",
        "sendInitialEvents=true&resourceVersionMatch=NotOlderThan",
    ] {
        assert_eq!(f.get(&format!("{MAPS}?{query}")).await.refused().0, 400, "{query}");
    }
}
