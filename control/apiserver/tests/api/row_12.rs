//! Row 12: lists in chunks.

use crate::fixture::*;
use serde_json::{Value, json};

fn names(list: &Value) -> String {
    let items = list["items"].as_array().unwrap().iter();
    items.map(|item| item["metadata"]["name"].as_str().unwrap()).collect::<Vec<_>>().join(",")
}

fn token(list: &Value) -> &str {
    list["metadata"]["continue"].as_str().unwrap()
}

#[tokio::test]
async fn row_12_pages_show_one_revision_and_count_what_is_left() {
    let f = Fixture::new().await;
    for name in ["a", "b", "c", "d", "e"] {
        f.post(MAPS, config_map(name, json!({"l": "v"}))).await.ok();
    }
    let first = f.get(&format!("{MAPS}?limit=2")).await.ok();
    assert_eq!((names(&first).as_str(), &first["metadata"]["remainingItemCount"]), ("a,b", &json!(3)));
    f.delete(&format!("{MAPS}/d"), json!({})).await.ok();
    f.post(MAPS, config_map("cc", json!({}))).await.ok();
    let second = f.get(&format!("{MAPS}?limit=2&continue={}", token(&first))).await.ok();
    assert_eq!((names(&second).as_str(), &second["metadata"]["remainingItemCount"]), ("c,d", &json!(1)));
    assert_eq!(second["metadata"]["resourceVersion"], first["metadata"]["resourceVersion"]);
    let third = f.get(&format!("{MAPS}?limit=2&continue={}", token(&second))).await.ok();
    assert_eq!((names(&third).as_str(), third["metadata"].get("continue")), ("e", None));
    assert_eq!(third["metadata"].get("remainingItemCount"), None);
    let selected = f.get(&format!("{MAPS}?limit=1&labelSelector=l%3Dv")).await.ok();
    assert_eq!(selected["metadata"].get("remainingItemCount"), None);
    assert!(selected["metadata"]["continue"].is_string());
    // A page that is exactly full has no successor.
    assert_eq!(f.get(&format!("{MAPS}?limit=5")).await.ok()["metadata"].get("continue"), None);
}

#[tokio::test]
async fn row_12_an_expired_token_brings_a_fresh_one() {
    let f = Fixture::new().await;
    for name in ["a", "b", "c", "d"] {
        f.post(MAPS, config_map(name, json!({}))).await.ok();
    }
    let first = f.get(&format!("{MAPS}?limit=2")).await.ok();
    f.post(MAPS, config_map("e", json!({}))).await.ok();
    f.store.compact(f.store.revision()).await.unwrap();
    let expired = f.get(&format!("{MAPS}?limit=1&continue={}", token(&first))).await;
    let fresh = token(&expired.body).to_owned();
    let (code, reason, message) = expired.refused();
    assert_eq!((code, reason.as_str()), (410, "Expired"));
    assert!(message.starts_with("The provided continue parameter is too old to display a consistent list result."));
    let rest = f.get(&format!("{MAPS}?limit=1&continue={fresh}")).await.ok();
    assert_eq!((names(&rest).as_str(), &rest["metadata"]["remainingItemCount"]), ("c", &json!(2)));
    assert_eq!(rest["metadata"]["resourceVersion"], f.store.revision().to_string());
    let all = f.get(&format!("{MAPS}?continue={fresh}")).await.ok();
    assert_eq!(names(&all), "c,d,e");
}

#[tokio::test]
async fn row_12_tokens_that_no_list_returned() {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    let f = Fixture::new().await;
    for name in ["a", "b"] {
        f.post(MAPS, config_map(name, json!({}))).await.ok();
    }
    let forged = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let ahead = f.store.revision().0 + 100;
    for bad in [
        "x".to_owned(),
        "%25".to_owned(),
        "a".repeat(5_000),
        forged(json!({})),
        forged(json!({"v": "meta.k8s.io/v1", "rv": 1, "start": "a"})),
        forged(json!({"v": "gannet/v1", "rv": -1, "start": "a"})),
        forged(json!({"v": "gannet/v1", "rv": ahead, "start": "a"})),
        forged(json!({"v": "gannet/v1", "rv": 0, "start": "../../secrets/"})),
        forged(json!({"v": "gannet/v1", "rv": 0, "start": "/registry/core/secrets/"})),
    ] {
        let (code, reason, _) = f.get(&format!("{MAPS}?limit=1&continue={bad}")).await.refused();
        assert_eq!((code, reason.as_str()), (400, "BadRequest"), "{bad}");
    }
    let good = f.get(&format!("{MAPS}?limit=1")).await.ok();
    for query in ["resourceVersion=5", "resourceVersion=5&resourceVersionMatch=Exact"] {
        let answer = f.get(&format!("{MAPS}?limit=1&continue={}&{query}", token(&good))).await;
        assert_eq!(answer.refused().0, 400, "{query}");
    }
}
