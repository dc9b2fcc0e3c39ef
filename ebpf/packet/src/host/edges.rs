//! Who talks to which Service, in ordinary memory.

use std::{cell::RefCell, collections::BTreeMap};

use abi::{
    Addr,
    edge::{EdgeRow, EdgeTraffic},
};

use super::Memory;
use crate::{Edges, nat::difference};

/// Rows that are not all zero, and what went by in those that had packets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EdgeMemory {
    pub rows: RefCell<BTreeMap<u32, EdgeRow>>,
    pub traffic: RefCell<BTreeMap<u32, EdgeTraffic>>,
}

impl Edges for Memory {
    fn edge_word(&self, row: u32) -> u64 {
        self.edges.rows.borrow().get(&row).map_or(0, |row| row.word)
    }

    fn edge_apart(&self, row: u32, client: &Addr) -> u32 {
        self.edges.rows.borrow().get(&row).map_or(1, |row| difference(&row.client, client))
    }

    fn take_edge(&self, row: u32, client: &Addr, word: u64) -> bool {
        let mut rows = self.edges.rows.borrow_mut();
        let row = rows.entry(row).or_default();
        if row.word != 0 {
            return false;
        }
        (row.client, row.word) = (*client, word);
        true
    }

    fn open_edge(&self, row: u32) {
        self.edges.rows.borrow_mut().entry(row).or_default().connections += 1;
    }

    fn pass_edge(&self, row: u32, way: u32, packets: u32, bytes: u32) {
        let mut traffic = self.edges.traffic.borrow_mut();
        let way = &mut traffic.entry(row).or_default().ways[way as usize & 1];
        way.packets += u64::from(packets);
        way.bytes += u64::from(bytes);
    }
}
