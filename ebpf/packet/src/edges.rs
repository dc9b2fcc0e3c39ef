//! Counting who talks to which Service. See [`abi::edge`].

use abi::{
    Addr,
    edge::{CLIENT_OTHER, EDGE_REACH, MAX_EDGES, edge_word, home},
    flow::EDGE_SHIFT,
};

use crate::{Buffer, Flow, parse::L3};

/// The table, and what went by. Shared by all CPUs.
pub trait Edges {
    /// [`abi::edge::EdgeRow::word`] of a row.
    fn edge_word(&self, row: u32) -> u64;
    /// Not zero if the row is another client's.
    fn edge_apart(&self, row: u32, client: &Addr) -> u32;
    /// Makes a free row the client's and then its word `word`; `false` if somebody else was faster.
    fn take_edge(&self, row: u32, client: &Addr, word: u64) -> bool;
    /// Adds a connection to a row.
    fn open_edge(&self, row: u32);
    /// Adds to what went by in direction `way` (0 from the client).
    fn pass_edge(&self, row: u32, way: u32, packets: u32, bytes: u32);

    /// [`find`].
    #[inline(always)]
    fn edge(&self, client: &Addr, service: u32) -> u32 {
        find(self, client, service)
    }
}

/// The row of a client and a Service, which it takes if there is none yet; that of the Service's other clients if no row is free; 0 if
/// they have none either.
#[inline(always)]
pub fn find<T: Edges + ?Sized>(t: &T, client: &Addr, service: u32) -> u32 {
    let row = probe(t, client, service);
    if row != 0 { row } else { probe(t, &CLIENT_OTHER, service) }
}

#[inline(always)]
fn probe<T: Edges + ?Sized>(t: &T, client: &Addr, service: u32) -> u32 {
    let (first, wanted) = (home(client, service), edge_word(service));
    let mut i = 0;
    while i < EDGE_REACH {
        let row = first.wrapping_add(i) & (MAX_EDGES - 1);
        let word = t.edge_word(row);
        let known = word == wanted && t.edge_apart(row, client) == 0;
        if row != 0 && (known || word == 0 && t.take_edge(row, client, wanted)) {
            return row;
        }
        i += 1;
    }
    0
}

/// Counts a packet of a translated flow, whose record has the row.
#[inline(always)]
pub fn count<B: Buffer, T: Edges>(b: &B, t: &T, flow: &Flow) {
    let row = flow.flags >> EDGE_SHIFT;
    if row != 0 {
        t.pass_edge(row, flow.way & 1, b.segments(), b.rest().wrapping_sub(L3) as u32);
    }
}
