//! Warning headers: each once, cut when they are too much.

use crate::fixture::*;
use serde_json::json;

#[tokio::test]
async fn row_20_warnings_are_bounded() {
    let f = Fixture::new().await;
    let mut object = config_map("a", json!({}));
    for i in 0..100 {
        object[format!("{}{i}", "x".repeat(100))] = 1.into();
    }
    let told = f.post(MAPS, object).await;
    assert_eq!(told.code, 201);
    let warnings: Vec<&str> = told.headers.get_all("warning").iter().map(|v| v.to_str().unwrap()).collect();
    assert!(!warnings.is_empty());
    assert!(warnings.iter().map(|w| w.len()).sum::<usize>() < 5 * 1024);
    assert!(warnings.iter().all(|w| w.starts_with("299 - \"") && w.ends_with('"')));
}
