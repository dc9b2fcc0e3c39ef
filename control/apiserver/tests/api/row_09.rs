//! Row 9: resourceVersion of reads.

use crate::fixture::*;
use api::Revision;
use serde_json::json;

fn names(list: &serde_json::Value) -> String {
    let items = list["items"].as_array().unwrap().iter();
    items.map(|item| item["metadata"]["name"].as_str().unwrap()).collect::<Vec<_>>().join(",")
}

#[tokio::test]
async fn row_09_exact_not_older_and_any() {
    let f = Fixture::new().await;
    f.post(MAPS, config_map("a", json!({}))).await.ok();
    let first = f.store.revision();
    f.post(MAPS, config_map("b", json!({}))).await.ok();
    let now = f.store.revision();
    for (query, want, at) in [
        (String::new(), "a,b", now),
        ("resourceVersion=0".to_owned(), "a,b", now),
        (format!("resourceVersion={first}"), "a,b", now),
        (format!("resourceVersion={first}&resourceVersionMatch=NotOlderThan"), "a,b", now),
        (format!("resourceVersion={first}&resourceVersionMatch=Exact"), "a", first),
        (format!("resourceVersion={first}&limit=5"), "a", first),
        ("resourceVersion=0&resourceVersionMatch=NotOlderThan".to_owned(), "a,b", now),
    ] {
        let list = f.get(&format!("{MAPS}?{query}")).await.ok();
        assert_eq!(names(&list), want, "{query}");
        assert_eq!(list["metadata"]["resourceVersion"], at.to_string(), "{query}");
    }
    assert_eq!(f.get(&format!("{MAPS}/a?resourceVersion={first}")).await.code, 200);
}

#[tokio::test]
async fn row_09_combinations_that_mean_nothing() {
    let f = Fixture::new().await;
    for (query, want) in [
        (
            "resourceVersionMatch=Exact",
            "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided",
        ),
        (
            "resourceVersion=0&resourceVersionMatch=Exact",
            "resourceVersionMatch: Forbidden: resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"",
        ),
        (
            "resourceVersion=1&resourceVersionMatch=Some",
            "resourceVersionMatch: Unsupported value: \"Some\": supported values: \"Exact\", \"NotOlderThan\"",
        ),
        (
            "resourceVersion=x",
            "resourceVersion: Invalid value: \"x\": strconv.ParseUint: parsing \"x\": invalid syntax",
        ),
        (
            "resourceVersion=-1",
            "resourceVersion: Invalid value: \"-1\": strconv.ParseUint: parsing \"-1\": invalid syntax",
        ),
        (
            "resourceVersion=99999999999999999999",
            "resourceVersion: Invalid value: \"99999999999999999999\": strconv.ParseUint: parsing \"99999999999999999999\": value out of range",
        ),
    ] {
        let (code, _, message) = f.get(&format!("{MAPS}?{query}")).await.refused();
        assert_eq!((code, message.as_str()), (400, want), "{query}");
    }
    assert_eq!(f.get(&format!("{MAPS}/a?resourceVersion=x")).await.refused().0, 400);
    assert_eq!(f.get(&format!("{MAPS}?watch=1&resourceVersion=x")).await.refused().0, 400);
}

#[tokio::test(start_paused = true)]
async fn row_09_the_future_is_waited_for_then_refused() {
    let f = Fixture::new().await;
    let ahead = Revision(f.store.revision().0 + 1_000);
    for path in [format!("{MAPS}?resourceVersion={ahead}"), format!("{MAPS}/a?resourceVersion={ahead}")] {
        let answer = f.get(&path).await;
        assert_eq!(answer.headers["retry-after"], "1");
        assert_eq!(answer.body["details"]["retryAfterSeconds"], 1);
        assert_eq!(
            answer.body["details"]["causes"],
            json!([{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}])
        );
        let (code, reason, message) = answer.refused();
        assert_eq!((code, reason.as_str()), (504, "Timeout"));
        assert_eq!(message, format!("Timeout: Too large resource version: {ahead}, current: {}", f.store.revision()));
    }
    // What is written while the read waits is what it shows.
    let next = Revision(f.store.revision().0 + 1);
    let path = format!("{MAPS}?resourceVersion={next}");
    let (list, _) = tokio::join!(f.get(&path), f.post(MAPS, config_map("late", json!({}))));
    assert_eq!(names(&list.ok()), "late");
}
