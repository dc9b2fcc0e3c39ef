//! Leases: how clients elect a leader.

use crate::fixture::*;
use serde_json::{Value, json};

const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/default/leases";

fn lease(holder: &str) -> Value {
    json!({"metadata": {"name": "l"}, "spec": {
        "holderIdentity": holder, "leaseDurationSeconds": 15, "leaseTransitions": 0,
        "acquireTime": "2026-01-01T00:00:00.000000Z", "renewTime": "2026-01-01T00:00:00.000000Z"}})
}

#[tokio::test]
async fn row_43_one_of_two_candidates_gets_the_lease() {
    let f = Fixture::new().await;
    let (one, other) = tokio::join!(f.post(LEASES, lease("a")), f.post(LEASES, lease("b")));
    let mut codes = [one.code, other.code];
    codes.sort_unstable();
    assert_eq!(codes, [201, 409]);
    let path = format!("{LEASES}/l");
    let mut held = f.get(&path).await.ok();
    held["spec"]["renewTime"] = json!("2026-01-01T00:00:02.123456Z");
    let renewed = f.put(&path, &held).await.ok();
    assert_eq!(renewed["spec"]["renewTime"], "2026-01-01T00:00:02.123456Z");
    // A candidate that saw the older state loses.
    held["spec"]["holderIdentity"] = json!("b");
    let (code, reason, message) = f.put(&path, &held).await.refused();
    assert_eq!((code, reason.as_str()), (409, "Conflict"));
    assert_eq!(
        message,
        "Operation cannot be fulfilled on leases.coordination.k8s.io \"l\": the object has been modified; please apply your changes to the latest version and try again"
    );
}

#[tokio::test]
async fn row_43_leases_are_checked() {
    let f = Fixture::new().await;
    let mut wrong = lease("a");
    wrong["spec"]["leaseDurationSeconds"] = json!(0);
    wrong["spec"]["leaseTransitions"] = json!(-1);
    let (code, _, message) = f.post(LEASES, wrong).await.refused();
    assert_eq!(code, 422);
    assert!(message.contains("spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0"), "{message}");
    assert!(
        message.contains("spec.leaseTransitions: Invalid value: -1: must be greater than or equal to 0"),
        "{message}"
    );
    f.post(LEASES, lease("a")).await.ok();
    let mut blind = lease("b");
    blind["metadata"]["name"] = json!("l");
    let (code, _, message) = f.put(&format!("{LEASES}/l"), &blind).await.refused();
    assert_eq!(code, 422);
    assert!(message.contains("metadata.resourceVersion: Invalid value: "), "{message}");
    assert!(message.contains("must be specified for an update"), "{message}");
    // An update of one that is not there makes it.
    let mut fresh = lease("b");
    fresh["metadata"]["name"] = json!("m");
    assert_eq!(f.put(&format!("{LEASES}/m"), &fresh).await.code, 201);
}
