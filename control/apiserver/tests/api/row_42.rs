//! Events: two views of one object, series, how long they are kept.

use crate::{fixture::*, streams::serve};
use serde_json::json;

const CORE: &str = "/api/v1/namespaces/default/events";
const NEW: &str = "/apis/events.k8s.io/v1/namespaces/default/events";

#[tokio::test]
async fn row_42_one_event_in_two_views() {
    let f = Fixture::new().await;
    let involved = json!({"kind": "Pod", "namespace": "default", "name": "p"});
    f.post(CORE, json!({"metadata": {"name": "e"}, "involvedObject": involved, "reason": "R", "message": "m", "type": "Normal", "source": {"component": "c"}, "count": 2,
        "firstTimestamp": "2026-01-01T00:00:00Z", "lastTimestamp": "2026-01-01T00:01:00Z"})).await.ok();
    let seen = f.get(&format!("{NEW}/e")).await.ok();
    assert_eq!(
        (&seen["apiVersion"], &seen["note"], &seen["regarding"]),
        (&json!("events.k8s.io/v1"), &json!("m"), &involved)
    );
    assert_eq!((&seen["deprecatedCount"], &seen["deprecatedSource"]), (&json!(2), &json!({"component": "c"})));
    let made = f.post(NEW, json!({
        "metadata": {"name": "n"}, "regarding": involved, "reason": "R", "note": "text", "type": "Warning", "action": "Act",
        "eventTime": "2026-01-01T00:00:00.000000Z", "reportingController": "example.com/c", "reportingInstance": "c-1",
    })).await;
    assert_eq!(made.code, 201, "{}", made.body);
    let seen = f.get(&format!("{CORE}/n")).await.ok();
    assert_eq!(
        (&seen["message"], &seen["reportingComponent"], &seen["involvedObject"]),
        (&json!("text"), &json!("example.com/c"), &involved)
    );
    // A series counts on.
    let series = json!({"series": {"count": 2, "lastObservedTime": "2026-01-01T00:05:00.000000Z"}});
    let kind = Some("application/strategic-merge-patch+json");
    let after = f.call("PATCH", &format!("{NEW}/n"), kind, series.to_string()).await.ok();
    assert_eq!(after["series"]["count"], 2);
    assert_eq!(f.get(&format!("{CORE}/n")).await.ok()["series"]["count"], 2);
    assert_eq!(f.get(CORE).await.ok()["items"].as_array().unwrap().len(), 2);
    assert_eq!(
        f.get("/apis/events.k8s.io/v1/events?fieldSelector=regarding.name%3Dp").await.ok()["items"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
}

#[tokio::test]
async fn row_42_new_events_are_complete_and_do_not_change() {
    let f = Fixture::new().await;
    let (code, _, message) = f
        .post(NEW, json!({"metadata": {"name": "n"}, "regarding": {"namespace": "default"}, "deprecatedCount": 1}))
        .await
        .refused();
    assert_eq!(code, 422);
    for wanted in [
        "eventTime: Required value",
        "type: Invalid value: \"\": has invalid value: ",
        "count: Invalid value: \"\": needs to be unset",
    ] {
        assert!(message.contains(wanted), "{wanted}: {message}");
    }
    let whole = json!({
        "metadata": {"name": "n"}, "regarding": {"kind": "Pod", "namespace": "default", "name": "p"}, "reason": "R", "type": "Normal", "action": "A",
        "eventTime": "2026-01-01T00:00:00.000000Z", "reportingController": "c", "reportingInstance": "c-1",
    });
    f.post(NEW, whole).await.ok();
    let (code, _, message) = f.merge(&format!("{NEW}/n"), json!({"reason": "Other"})).await.refused();
    assert_eq!(code, 422);
    assert!(message.contains("reason: Invalid value: \"Other\": field is immutable"), "{message}");
    let (code, _, message) =
        f.post(CORE, json!({"metadata": {"name": "x"}, "involvedObject": {"namespace": "other"}})).await.refused();
    assert_eq!(code, 422);
    assert!(
        message.contains("involvedObject.namespace: Invalid value: \"other\": does not match event.namespace"),
        "{message}"
    );
}

#[tokio::test]
async fn row_42_events_go_after_their_time() {
    let f = Fixture::with(|config| config.event_ttl = std::time::Duration::from_secs(1)).await;
    let (_, shutdown, task) = serve(&f).await;
    let mut events = Events::open(&f, &format!("{CORE}?watch=1")).await;
    let involved = json!({"kind": "Pod", "namespace": "default", "name": "p"});
    // Its last time is a clock's that goes ahead.
    f.post(
        CORE,
        json!({"metadata": {"name": "e"}, "involvedObject": involved, "reason": "R", "message": "m",
        "lastTimestamp": "2999-01-01T00:00:00Z"}),
    )
    .await
    .ok();
    assert_eq!(events.told().await, "ADDED e");
    assert_eq!(events.told().await, "DELETED e");
    assert_eq!(f.get(&format!("{NEW}/e")).await.code, 404);
    shutdown.cancel();
    task.await.unwrap();
}
