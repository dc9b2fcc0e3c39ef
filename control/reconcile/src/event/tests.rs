use expect_test::expect;
use k8s_openapi::api::core::v1::Pod;

use super::*;

fn record(message: &str) -> EventRecord {
    let pod = Pod {
        metadata: ObjectMeta {
            name: Some("web".to_owned()),
            namespace: Some("shop".to_owned()),
            uid: Some("u".to_owned()),
            ..ObjectMeta::default()
        },
        ..Pod::default()
    };
    EventRecord::warning(&pod, "FailedScheduling", message)
}

fn now() -> Timestamp {
    "2026-01-01T00:00:00Z".parse().expect("a time")
}

#[test]
fn the_first_is_created() {
    let EventWrite::Create(event) = Recorder::default().record(&record("no room"), "scheduler", now()) else {
        panic!("it was never seen before");
    };
    expect![[r#"
        {
          "apiVersion": "v1",
          "kind": "Event",
          "count": 1,
          "firstTimestamp": "2026-01-01T00:00:00Z",
          "involvedObject": {
            "apiVersion": "v1",
            "kind": "Pod",
            "name": "web",
            "namespace": "shop",
            "uid": "u"
          },
          "lastTimestamp": "2026-01-01T00:00:00Z",
          "message": "no room",
          "metadata": {
            "name": "web.18867251edfa0001",
            "namespace": "shop"
          },
          "reason": "FailedScheduling",
          "reportingComponent": "scheduler",
          "reportingInstance": "",
          "source": {
            "component": "scheduler"
          },
          "type": "Warning"
        }"#]]
    .assert_eq(&serde_json::to_string_pretty(&event).expect("JSON"));
}

#[test]
fn repetitions_are_counted() {
    let mut recorder = Recorder::default();
    let first = recorder.record(&record("no room"), "scheduler", now());
    let EventWrite::Create(event) = first else { panic!("it was never seen before") };
    for count in 2..5 {
        let again = recorder.record(&record("no room"), "scheduler", now());
        let name = event.metadata.name.clone().expect("a name");
        assert_eq!(again, EventWrite::Repeat { namespace: "shop".to_owned(), name, count, last: now() });
    }
    assert!(matches!(recorder.record(&record("other"), "scheduler", now()), EventWrite::Create(_)));
    recorder.forget(&record("no room"), "scheduler");
    assert!(matches!(recorder.record(&record("no room"), "scheduler", now()), EventWrite::Create(_)));
}

#[test]
fn names_differ_at_the_same_instant() {
    let mut recorder = Recorder::default();
    let mut names: Vec<String> = (0..10)
        .map(|index| match recorder.record(&record(&index.to_string()), "scheduler", now()) {
            EventWrite::Create(event) => event.metadata.name.clone().expect("a name"),
            EventWrite::Repeat { .. } => panic!("each is new"),
        })
        .collect();
    names.dedup();
    assert_eq!(names.len(), 10);
}

#[test]
fn memory_is_bounded() {
    let mut recorder = Recorder::default();
    for index in 0..=MAX_REMEMBERED {
        recorder.record(&record(&index.to_string()), "scheduler", now());
    }
    assert_eq!(recorder.remembered.len(), MAX_REMEMBERED);
    assert!(
        matches!(recorder.record(&record("0"), "scheduler", now()), EventWrite::Create(_)),
        "the oldest is forgotten"
    );
}

#[test]
fn long_messages_are_cut_between_characters() {
    let long = "ü".repeat(MAX_MESSAGE);
    let EventWrite::Create(event) = Recorder::default().record(&record(&long), "scheduler", now()) else {
        panic!("it was never seen before");
    };
    assert_eq!(event.message.map(|message| message.len()), Some(MAX_MESSAGE));
}
