//! When rows of the table of edges ([`abi::edge`]) are taken out of use: the programs only take them.
//!
//! A row whose pair is no more rests first: flows that have it may still have packets. What was counted there then goes to the row of its
//! Service's other clients, so that sums only grow.
use std::collections::{BTreeMap, BTreeSet};

use abi::edge::{CLIENT_OTHER, CLIENT_OUTSIDE, EDGE_DEAD, EdgeRow, MAX_EDGES, edge_service};

/// Rows in use above which those that count nothing are given up.
pub const EDGES_FULL: usize = MAX_EDGES as usize / 4 * 3;
/// After so many seconds of it.
pub const EDGE_IDLE_S: u64 = 3_600;
/// Seconds of rest: longer than any flow's record without a packet (RFC 5382 section 5).
pub const EDGE_REST_S: u64 = 7_500;

/// What is remembered from one look to the next.
#[derive(Clone, Debug, Default)]
pub struct EdgeKeeper {
    /// What each row in use counted, and since when it has not changed.
    counted: BTreeMap<u32, (u64, u64)>,
    /// Since when rows rest.
    resting: BTreeMap<u32, u64>,
}

/// What is to be done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EdgeUpkeep {
    /// Rows that are to rest from now on.
    pub rest: Vec<u32>,
    /// The same, of Services that are no more: another one may have their number next.
    pub lost: Vec<u32>,
    /// Rows that have rested, with the Service that keeps what they counted; `None`: it is no more.
    pub free: Vec<(u32, Option<u32>)>,
}

impl EdgeKeeper {
    /// Looks at the rows in use, each with a number that changes when something is counted there. `is_live`: whether a Service port's
    /// number is in use.
    pub fn look(&mut self, rows: &[(u32, EdgeRow, u64)], now_s: u64, is_live: impl Fn(u32) -> bool) -> EdgeUpkeep {
        let mut upkeep = EdgeUpkeep::default();
        let present: BTreeSet<u32> = rows.iter().map(|(number, ..)| *number).collect();
        self.counted.retain(|number, _| present.contains(number));
        self.resting.retain(|number, _| present.contains(number));
        let is_full = rows.len() > EDGES_FULL;
        for (number, row, counted) in rows {
            let Some(service) = edge_service(row.word) else { continue };
            let live = is_live(service);
            if row.word & EDGE_DEAD != 0 {
                let since_s = *self.resting.entry(*number).or_insert(now_s);
                if now_s.saturating_sub(since_s) >= EDGE_REST_S {
                    upkeep.free.push((*number, live.then_some(service)));
                }
                continue;
            }
            let known = self.counted.entry(*number).or_insert((*counted, now_s));
            if known.0 != *counted {
                *known = (*counted, now_s);
            }
            let fixed = [CLIENT_OTHER, CLIENT_OUTSIDE].contains(&row.client);
            let idle = is_full && !fixed && now_s.saturating_sub(known.1) >= EDGE_IDLE_S;
            if !live || idle {
                self.resting.insert(*number, now_s);
                if live { &mut upkeep.rest } else { &mut upkeep.lost }.push(*number);
            }
        }
        upkeep
    }
}
