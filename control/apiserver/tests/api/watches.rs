use crate::fixture::*;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::{collections::BTreeMap, time::Duration};

async fn revision(f: &Fixture) -> String {
    f.get(MAPS).await.ok()["metadata"]["resourceVersion"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn events_come_in_order_from_a_revision() {
    let f = Fixture::new().await;
    let from = revision(&f).await;
    f.post(MAPS, config_map("a", json!({}))).await.ok();
    f.merge(&format!("{MAPS}/a"), json!({"data": {"k": "w"}})).await.ok();
    f.post("/api/v1/namespaces/kube-system/configmaps", config_map("elsewhere", json!({}))).await.ok();
    let mut events = Events::open(&f, &format!("{MAPS}?watch=true&resourceVersion={from}")).await;
    assert_eq!(events.told().await, "ADDED a");
    assert_eq!(events.told().await, "MODIFIED a");
    let deleted = f.delete(&format!("{MAPS}/a"), json!({})).await.ok();
    assert_eq!(deleted["status"], "Success");
    let event = events.next().await.unwrap();
    assert_eq!((event["type"].as_str(), &event["object"]["data"]["k"]), (Some("DELETED"), &json!("w")));
    assert_eq!(event["object"]["metadata"]["resourceVersion"], f.store.revision().to_string());
}

#[tokio::test]
async fn without_a_revision_the_present_state_comes_first() {
    let f = Fixture::new().await;
    f.post(MAPS, config_map("a", json!({}))).await.ok();
    let mut events = Events::open(&f, &format!("{MAPS}?watch=1")).await;
    assert_eq!(events.told().await, "ADDED a");
    f.post(MAPS, config_map("b", json!({}))).await.ok();
    assert_eq!(events.told().await, "ADDED b");
    let mut one = Events::open(&f, &format!("{MAPS}/b?watch=1")).await;
    f.post(MAPS, config_map("ba", json!({}))).await.ok();
    f.merge(&format!("{MAPS}/b"), json!({"data": {"k": "w"}})).await.ok();
    assert_eq!(one.told().await, "ADDED b");
    assert_eq!(one.told().await, "MODIFIED b");
}

#[tokio::test]
async fn a_selection_is_entered_and_left() {
    let f = Fixture::new().await;
    let mut events = Events::open(&f, &format!("{MAPS}?watch=1&labelSelector=x%3D1")).await;
    f.post(MAPS, config_map("a", json!({}))).await.ok();
    f.merge(&format!("{MAPS}/a"), json!({"metadata": {"labels": {"x": "1"}}})).await.ok();
    assert_eq!(events.told().await, "ADDED a");
    f.merge(&format!("{MAPS}/a"), json!({"data": {"k": "w"}})).await.ok();
    assert_eq!(events.told().await, "MODIFIED a");
    f.merge(&format!("{MAPS}/a"), json!({"metadata": {"labels": {"x": "2"}}})).await.ok();
    let left = events.next().await.unwrap();
    assert_eq!(left["type"], "DELETED");
    assert_eq!(left["object"]["metadata"]["resourceVersion"], f.store.revision().to_string());
    f.delete(&format!("{MAPS}/a"), json!({})).await.ok();
    f.post(MAPS, config_map("b", json!({"x": "1"}))).await.ok();
    assert_eq!(events.told().await, "ADDED b");
}

#[tokio::test]
async fn a_compacted_revision_is_told_as_410() {
    let f = Fixture::new().await;
    let from = revision(&f).await;
    f.post(MAPS, config_map("a", json!({}))).await.ok();
    f.post(MAPS, config_map("b", json!({}))).await.ok();
    f.store.compact(f.store.revision()).await.unwrap();
    let mut events = Events::open(&f, &format!("{MAPS}?watch=1&resourceVersion={from}")).await;
    let event = events.next().await.unwrap();
    assert_eq!((event["type"].as_str(), &event["object"]["code"]), (Some("ERROR"), &json!(410)));
    assert_eq!(event["object"]["reason"], "Expired");
    assert!(event["object"]["message"].as_str().unwrap().starts_with("too old resource version: "));
    assert!(events.next().await.is_none());
}

#[tokio::test]
async fn initial_events_end_with_a_bookmark() {
    let f = Fixture::new().await;
    f.post(MAPS, config_map("a", json!({}))).await.ok();
    let query = "watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let mut events = Events::open(&f, &format!("{MAPS}?{query}")).await;
    assert_eq!(events.told().await, "ADDED a");
    let bookmark = events.next().await.unwrap();
    assert_eq!(bookmark["type"], "BOOKMARK");
    assert_eq!(bookmark["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
    f.post(MAPS, config_map("b", json!({}))).await.ok();
    assert_eq!(events.told().await, "ADDED b");
    for bad in [
        "sendInitialEvents=true",
        "resourceVersionMatch=NotOlderThan",
        "resourceVersion=x",
        "sendInitialEvents=true&resourceVersionMatch=NotOlderThan",
    ] {
        assert_eq!(f.get(&format!("{MAPS}?watch=1&{bad}")).await.code, 400, "{bad}");
    }
}

#[tokio::test(start_paused = true)]
async fn bookmarks_come_by_the_clock_and_at_the_end() {
    let f = Fixture::new().await;
    let from = revision(&f).await;
    let path = format!("{MAPS}?watch=1&allowWatchBookmarks=true&timeoutSeconds=90&resourceVersion={from}");
    let mut events = Events::open(&f, &path).await;
    f.post("/api/v1/namespaces/kube-system/configmaps", config_map("elsewhere", json!({}))).await.ok();
    for _ in 0..2 {
        let bookmark = events.next().await.unwrap();
        assert_eq!(bookmark["type"], "BOOKMARK");
        assert_eq!(bookmark["object"]["metadata"]["resourceVersion"], f.store.revision().to_string());
    }
    assert!(events.next().await.is_none());
    let mut silent = Events::open(&f, &format!("{MAPS}?watch=1&timeoutSeconds=90&resourceVersion={from}")).await;
    assert!(silent.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_is_never_quiet_ends_in_time() {
    let f = Fixture::new().await;
    let from = revision(&f).await;
    let mut events = Events::open(&f, &format!("{MAPS}?watch=1&timeoutSeconds=1&resourceVersion={from}")).await;
    let start = process::instant();
    let mut ticks = tokio::time::interval(Duration::from_millis(3));
    let writing = async {
        for number in 0..1000 {
            ticks.tick().await;
            f.post(MAPS, config_map(&format!("m{number}"), json!({}))).await.ok();
        }
    };
    let reading = async {
        let mut seen = Vec::new();
        while let Some(event) = events.next().await {
            seen.push(event["object"]["metadata"]["name"].as_str().unwrap().to_owned());
        }
        seen
    };
    let seen = tokio::select! {
        seen = reading => seen,
        () = writing => panic!("the watch outlived its time"),
    };
    assert!(start.elapsed() < Duration::from_millis(1500), "{:?}", start.elapsed());
    assert!(seen.len() > 100, "{}", seen.len());
    assert!(seen.iter().enumerate().all(|(number, name)| *name == format!("m{number}")), "in order, none left out");
}

#[tokio::test]
async fn tables_are_watched_as_tables() {
    let f = Fixture::new().await;
    f.post(MAPS, config_map("a", json!({}))).await.ok();
    let response =
        f.fetch(&format!("{MAPS}?watch=1&timeoutSeconds=1"), "application/json;as=Table;v=v1;g=meta.k8s.io").await;
    f.post(MAPS, config_map("b", json!({}))).await.ok();
    let bytes = client::collect(response.into_body()).await.unwrap();
    let events: Vec<Value> = bytes
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect();
    assert_eq!(events.len(), 2);
    assert_eq!(events[0]["object"]["kind"], "Table");
    assert!(!events[0]["object"]["columnDefinitions"].as_array().unwrap().is_empty());
    assert!(events[1]["object"]["columnDefinitions"].as_array().unwrap().is_empty());
    assert_eq!(events[1]["object"]["rows"][0]["cells"][0], "b");
}

/// What a client knows after a list and the events behind it, up to a revision.
fn fold(list: &Value, events: &[Value], upto: u64) -> BTreeMap<String, Value> {
    let mut known: BTreeMap<String, Value> = BTreeMap::new();
    let name = |object: &Value| object["metadata"]["name"].as_str().unwrap().to_owned();
    for item in list["items"].as_array().unwrap() {
        known.insert(name(item), item.clone());
    }
    for event in events {
        let object = &event["object"];
        if object["metadata"]["resourceVersion"].as_str().unwrap().parse::<u64>().unwrap() > upto {
            break;
        }
        match event["type"].as_str().unwrap() {
            "ADDED" => assert!(known.insert(name(object), object.clone()).is_none(), "ADDED twice: {object}"),
            "MODIFIED" => assert!(known.insert(name(object), object.clone()).is_some(), "MODIFIED unknown: {object}"),
            _ => assert!(known.remove(&name(object)).is_some(), "DELETED unknown: {object}"),
        }
    }
    known
}

#[derive(Debug, Clone)]
enum Step {
    Create(u8, u8),
    Label(u8, u8),
    Touch(u8, u8),
    Delete(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..6u8, 0..2u8).prop_map(|(name, label)| Step::Create(name, label)),
        (0..6u8, 0..2u8).prop_map(|(name, label)| Step::Label(name, label)),
        (0..6u8, 0..9u8).prop_map(|(name, data)| Step::Touch(name, data)),
        (0..6u8).prop_map(Step::Delete),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever is written, and wherever a client begins: its list and its events fold to the list at every later
    /// revision, with a selector and without.
    #[test]
    fn list_and_watch_fold_to_the_list_at_every_revision(steps in prop::collection::vec(step(), 1..30), begin in 0..30usize) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let f = Fixture::new().await;
            let selections = ["", "&labelSelector=l%3D1", "&labelSelector=l%3D1&fieldSelector=metadata.name!%3Dm3"];
            let mut starts = Vec::new();
            let mut history = Vec::new();
            for (index, step) in steps.iter().enumerate() {
                if index == begin.min(steps.len() - 1) {
                    for selection in selections {
                        starts.push(f.get(&format!("{MAPS}?{selection}")).await.ok());
                    }
                }
                match step {
                    Step::Create(name, label) => f.post(MAPS, config_map(&format!("m{name}"), json!({"l": label.to_string()}))).await,
                    Step::Label(name, label) => f.merge(&format!("{MAPS}/m{name}"), json!({"metadata": {"labels": {"l": label.to_string()}}})).await,
                    Step::Touch(name, data) => f.merge(&format!("{MAPS}/m{name}"), json!({"data": {"k": data.to_string()}})).await,
                    Step::Delete(name) => f.delete(&format!("{MAPS}/m{name}"), json!({})).await,
                };
                history.push(f.store.revision());
            }
            for (selection, start) in selections.iter().zip(&starts) {
                let from = start["metadata"]["resourceVersion"].as_str().unwrap();
                let mut stream = Events::open(&f, &format!("{MAPS}?watch=1&timeoutSeconds=1&resourceVersion={from}{selection}")).await;
                let mut events = Vec::new();
                while let Some(event) = stream.next().await {
                    events.push(event);
                }
                for revision in history.iter().filter(|revision| revision.0 >= from.parse::<u64>().unwrap()) {
                    let list = f.get(&format!("{MAPS}?resourceVersion={revision}&resourceVersionMatch=Exact{selection}")).await.ok();
                    assert_eq!(fold(start, &events, revision.0), fold(&list, &[], 0), "at {revision}");
                }
            }
        });
    }
}
