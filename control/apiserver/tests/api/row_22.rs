//! Row 22: finalizers. What the garbage collector makes of owners is tested with the control plane.

use crate::fixture::*;
use serde_json::json;

#[tokio::test]
async fn row_22_no_finalizer_comes_after_the_deletion() {
    let f = Fixture::new().await;
    let path = format!("{MAPS}/a");
    f.post(MAPS, json!({"metadata": {"name": "a", "finalizers": ["x.io/a", "x.io/b"]}})).await.ok();
    let marked = f.delete(&path, json!({"propagationPolicy": "Foreground"})).await.ok();
    assert_eq!(marked["metadata"]["finalizers"], json!(["x.io/a", "x.io/b", "foregroundDeletion"]));
    let more = json!({"metadata": {"finalizers": ["x.io/a", "x.io/b", "foregroundDeletion", "x.io/c"]}});
    assert_eq!(
        f.merge(&path, more).await.refused(),
        (
            422,
            "Invalid".to_owned(),
            "ConfigMap \"a\" is invalid: metadata.finalizers: Forbidden: no new finalizers can be added if the object \
             is being deleted, found new finalizers []string{\"x.io/c\"}"
                .to_owned()
        )
    );
    f.merge(&path, json!({"metadata": {"finalizers": ["x.io/b"]}})).await.ok();
    // A write of what is left keeps it; the last one gone, so is the object.
    assert_eq!(f.get(&path).await.code, 200);
    let last = f.merge(&path, json!({"metadata": {"finalizers": []}})).await.ok();
    assert_eq!(last["metadata"]["name"], "a");
    assert_eq!(f.get(&path).await.code, 404);
}
