//! Rows of the table of edges come out of use when their pairs have.
use abi::Addr;
use abi::edge::{CLIENT_OTHER, EDGE_DEAD, EdgeRow, edge_word};

use crate::edges::{EDGE_IDLE_S, EDGE_REST_S, EDGES_FULL, EdgeKeeper, EdgeUpkeep};

type Row = (u32, EdgeRow, u64);

fn row(number: u32, client: Addr, service: u32) -> Row {
    (number, EdgeRow { client, word: edge_word(service), ..EdgeRow::default() }, 0)
}

fn dead((number, row, counted): Row) -> Row {
    (number, EdgeRow { word: row.word | EDGE_DEAD, ..row }, counted)
}

const POD: Addr = Addr::v4([10, 244, 0, 5]);

#[test]
fn a_row_rests_before_it_is_freed() {
    let mut keeper = EdgeKeeper::default();
    let rows = [row(1, POD, 7), row(2, POD, 8), row(3, CLIENT_OTHER, 7)];
    let nothing = EdgeUpkeep::default();
    assert_eq!(keeper.look(&rows, 100, |_| true), nothing);
    // Service 8 goes, then the pod, whose row its owner has let rest.
    let only = |number| EdgeUpkeep { lost: vec![number], ..EdgeUpkeep::default() };
    assert_eq!(keeper.look(&rows, 200, |service| service == 7), only(2));
    let rows = [dead(rows[0]), dead(row(2, POD, 0)), rows[2]];
    assert_eq!(keeper.look(&rows, 300, |service| service == 7), nothing);
    assert_eq!(keeper.look(&rows, 199 + EDGE_REST_S, |service| service == 7), nothing);
    let freed = |free| EdgeUpkeep { free, ..EdgeUpkeep::default() };
    let seven = |service| service == 7;
    assert_eq!(keeper.look(&rows, 200 + EDGE_REST_S, seven), freed(vec![(2, None)]));
    let rows = [rows[0], rows[2]];
    assert_eq!(keeper.look(&rows, 300 + EDGE_REST_S, seven), freed(vec![(1, Some(7))]));
}

/// Rows at rest that an earlier daemon left rest anew.
#[test]
fn rest_begins_when_it_is_first_seen() {
    let mut keeper = EdgeKeeper::default();
    let rows = [dead(row(1, POD, 7))];
    assert_eq!(keeper.look(&rows, EDGE_REST_S * 2, |_| true), EdgeUpkeep::default());
    let free = vec![(1, Some(7))];
    assert_eq!(keeper.look(&rows, EDGE_REST_S * 3, |_| true).free, free);
}

#[test]
fn a_full_table_gives_up_what_counts_nothing() {
    let mut keeper = EdgeKeeper::default();
    let mut rows: Vec<Row> = (1..=EDGES_FULL as u32 + 1).map(|number| row(number, POD, number)).collect();
    rows[5].1.client = CLIENT_OTHER;
    keeper.look(&rows, 100, |_| true);
    rows[9].2 = 1;
    keeper.look(&rows, 200, |_| true);
    let found = keeper.look(&rows, 100 + EDGE_IDLE_S, |_| true).rest;
    assert_eq!(found.len(), rows.len() - 2);
    assert!(!found.contains(&6) && !found.contains(&10), "the Service's others, and one that counted");
    rows.truncate(EDGES_FULL);
    let mut keeper = EdgeKeeper::default();
    keeper.look(&rows, 100, |_| true);
    assert_eq!(keeper.look(&rows, 100 + EDGE_IDLE_S, |_| true), EdgeUpkeep::default());
}
