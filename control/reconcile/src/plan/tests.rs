use k8s_openapi::api::core::v1::{ConfigMap, Pod};

use super::*;

fn creates(count: usize) -> Vec<Write> {
    vec![Write::create(&Pod::default()); count]
}

fn sizes(writes: &[Write]) -> Vec<usize> {
    batches(writes).into_iter().map(|batch| batch.len()).collect()
}

#[test]
fn creates_start_slowly() {
    assert_eq!(sizes(&creates(20)), [1, 2, 4, 8, 5]);
    assert_eq!(sizes(&creates(300)), [1, 2, 4, 8, 16, 32, 64, 64, 64, 45]);
}

#[test]
fn deletes_go_together() {
    let delete = Write::delete(Kind::Pod, &Key::cluster("p"), Preconditions::default());
    assert_eq!(sizes(&vec![delete; 100]), [64, 36]);
}

#[test]
fn everything_else_goes_alone_and_in_order() {
    let mut writes = creates(3);
    writes.push(Write::create(&ConfigMap::default()));
    writes.push(Write::patch(Kind::Pod, &Key::cluster("p"), serde_json::json!({})));
    writes.push(Write::update_status(&Pod::default()));
    writes.extend(creates(2));
    assert_eq!(sizes(&writes), [1, 2, 1, 1, 1, 1, 1]);
    let batches = batches(&writes);
    assert!(batches.windows(2).all(|pair| pair[0].end == pair[1].start), "no write is left out or sent twice");
}

#[test]
fn the_earliest_look_counts() {
    let mut plan = Plan::none();
    let at = |second| Timestamp::from_second(second).expect("a time");
    for second in [30, 10, 20] {
        plan.requeue(at(second));
    }
    assert_eq!(plan.requeue_at, Some(at(10)));
}
