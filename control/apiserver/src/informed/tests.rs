use super::*;
use serde_json::json;
use store::{Expect, Op};

async fn put(store: &dyn Backend, name: &str, phase: &str) -> Revision {
    let key = storage::core_key("namespaces", "", name);
    let value = json!({"metadata": {"name": name, "managedFields": []}, "status": {"phase": phase}});
    store.commit(&key, Expect::Any, Op::Put(storage::write(&value))).await.unwrap()
}

#[tokio::test]
async fn a_read_has_every_write_before_it() {
    let store = store::memory();
    put(store.as_ref(), "a", "Active").await;
    let informed = Informed::start(store.clone()).await.unwrap();
    for round in 0..5_000 {
        let revision = put(store.as_ref(), "a", &round.to_string()).await;
        // Rarely read, the watch is lost once its queue is full: then it is listed anew.
        if round % 2_500 == 0 {
            let latest = informed.latest().await.unwrap();
            let object = latest.get(Kind::Namespaces, "", "a").unwrap();
            assert_eq!(object.value["status"]["phase"], round.to_string());
            assert_eq!((object.revision, latest.changed(Kind::Namespaces)), (revision, revision));
            assert!(object.value["metadata"].get("managedFields").is_none());
        }
    }
    store.commit(&storage::core_key("namespaces", "", "a"), Expect::Any, Op::Delete).await.unwrap();
    assert!(informed.latest().await.unwrap().is_empty(Kind::Namespaces));
}

#[tokio::test]
async fn a_list_is_of_one_namespace() {
    let store = store::memory();
    for (namespace, name) in [("a", "x"), ("b", "y"), ("b", "z"), ("c", "x")] {
        let key = storage::core_key("limitranges", namespace, name);
        let value = json!({"metadata": {"namespace": namespace, "name": name}});
        store.commit(&key, Expect::Absent, Op::Put(storage::write(&value))).await.unwrap();
    }
    let informed = Informed::start(store).await.unwrap();
    let latest = informed.latest().await.unwrap();
    let names: Vec<&str> = latest.list(Kind::LimitRanges, "b").map(|one| meta::name(&one.value)).collect();
    assert_eq!(names, ["y", "z"]);
    assert_eq!(latest.all(Kind::LimitRanges).count(), 4);
    assert_eq!(latest.get(Kind::LimitRanges, "c", "x").unwrap().value["metadata"]["namespace"], "c");
}
