//! The rows in which the programs count who talks to which Service: read by anybody, freed by the owner of the data plane alone.
use std::collections::BTreeMap;
use std::io;
use std::mem::offset_of;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;
use std::sync::atomic::Ordering;

use abi::edge::{
    CLIENT_OTHER, EDGE_BUSY, EDGE_DEAD, EDGE_REACH, EdgeRow, EdgeTraffic, MAX_EDGES, edge_service, edge_word, home,
};
use abi::{Addr, map};

use super::{Error, Mapped, object, sys};

/// A client and a Service port, and what went between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edge {
    /// As in [`EdgeRow::client`].
    pub client: Addr,
    /// [`abi::ServiceValue::id`].
    pub service: u32,
    pub connections: u64,
    pub traffic: EdgeTraffic,
}

/// All edges of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EdgeTable {
    /// Sorted by client and Service.
    pub edges: Vec<Edge>,
    /// Rows in use, of [`MAX_EDGES`].
    pub rows: u32,
    /// Connections that found no row.
    pub lost: u64,
}

/// The table.
pub struct Edges {
    rows: Mapped<EdgeRow>,
    traffic: OwnedFd,
}

impl Edges {
    /// Opens the pinned tables.
    pub(super) fn open(pins: &Path) -> Result<Edges, Error> {
        let rows = Mapped::new(object::open_map(pins, map::EDGES)?, MAX_EDGES as usize);
        let rows = rows.map_err(|source| Error::Map { what: "map", map: map::EDGES, source })?;
        Ok(Edges { rows, traffic: object::open_map(pins, map::TRAFFIC)? })
    }

    /// What stands, rows of one pair added up. Those at rest count among their Service's others, where they will go.
    pub fn read(&self) -> Result<EdgeTable, Error> {
        let mut sums: BTreeMap<(Addr, u32), Edge> = BTreeMap::new();
        let mut rows = 0;
        for (number, row) in self.used() {
            rows += 1;
            let Some(service) = edge_service(row.word) else { continue };
            // Another pod may have the address by now.
            let client = if row.word & EDGE_DEAD == 0 { row.client } else { CLIENT_OTHER };
            let none = Edge { client, service, connections: 0, traffic: EdgeTraffic::default() };
            let sum = sums.entry((client, service)).or_insert(none);
            sum.connections += row.connections;
            add(&mut sum.traffic, row.before);
            add(&mut sum.traffic, self.passed(number)?);
        }
        let lost = self.rows.get(0).map_or(0, |row| row.connections);
        Ok(EdgeTable { edges: sums.into_values().collect(), rows, lost })
    }

    /// A copy of a row.
    pub fn row(&self, number: u32) -> Option<EdgeRow> {
        self.rows.get(number as usize)
    }

    /// Rows in use, also those at rest, each with a number that changes when something is counted there.
    pub fn activity(&self) -> Result<Vec<(u32, EdgeRow, u64)>, Error> {
        let of = |(number, row): (u32, EdgeRow)| {
            let ways = self.passed(number)?.ways;
            Ok((number, row, row.connections + ways[0].packets + ways[1].packets))
        };
        self.used().map(of).collect()
    }

    /// Lets a row rest: no connection is counted there any more, though packets of flows that have it may be.
    pub fn rest(&mut self, number: u32) {
        let Some(row) = self.rows.get(number as usize) else { return };
        if edge_service(row.word).is_some() {
            self.rows.set_word(number as usize, offset_of!(EdgeRow, word), row.word | EDGE_DEAD);
        }
    }

    /// The same for a row whose Service is no more: it keeps no number that another one may have next.
    pub fn lose(&mut self, number: u32) {
        self.rows.set_word(number as usize, offset_of!(EdgeRow, word), edge_word(0) | EDGE_DEAD);
    }

    /// Lets all rows of these clients rest.
    pub fn rest_clients(&mut self, clients: &[Addr]) {
        let rows: Vec<u32> =
            self.used().filter(|(_, row)| clients.contains(&row.client)).map(|(number, _)| number).collect();
        rows.into_iter().for_each(|number| self.rest(number));
    }

    /// Frees a row that has rested. What it counted goes to the row of the Service's other clients; if there is no room for that, it
    /// rests on.
    pub fn free(&mut self, number: u32, service: Option<u32>) -> Result<(), Error> {
        if let Some(service) = service {
            let Some(others) = self.others(service) else { return Ok(()) };
            self.fold(number, others)?;
        }
        let fail = |source| Error::Map { what: "clear an entry of", map: map::TRAFFIC, source };
        sys::clear_per_cpu(self.traffic.as_fd(), number, size_of::<EdgeTraffic>()).map_err(fail)?;
        let Some(row) = self.rows.get(number as usize) else { return Ok(()) };
        // The word last: it says that the rest is free to be written.
        self.rows.set(number as usize, &EdgeRow { word: row.word, ..EdgeRow::default() });
        self.rows.set_word(number as usize, offset_of!(EdgeRow, word), 0);
        Ok(())
    }

    /// The row of a Service's other clients, taken as the programs take it.
    fn others(&mut self, service: u32) -> Option<u32> {
        let (first, wanted) = (home(&CLIENT_OTHER, service), edge_word(service));
        let around = (0..EDGE_REACH).map(|i| first.wrapping_add(i) & (MAX_EDGES - 1)).filter(|number| *number != 0);
        for number in around {
            let row = self.rows.get(number as usize)?;
            if row.word == wanted && row.client == CLIENT_OTHER {
                return Some(number);
            }
            // A free row's client is the unspecified address, which is theirs.
            if row.word == 0 && self.swap(number, 0, wanted) {
                return Some(number);
            }
        }
        None
    }

    fn fold(&mut self, from: u32, into: u32) -> Result<(), Error> {
        let Some(row) = self.rows.get(from as usize) else { return Ok(()) };
        let mut sum = row.before;
        add(&mut sum, self.passed(from)?);
        let before = offset_of!(EdgeRow, before);
        let words = [sum.ways[0].packets, sum.ways[0].bytes, sum.ways[1].packets, sum.ways[1].bytes];
        self.add(into, offset_of!(EdgeRow, connections), row.connections);
        for (index, word) in words.into_iter().enumerate() {
            self.add(into, before + index * size_of::<u64>(), word);
        }
        Ok(())
    }

    /// Adds to a word of a row, whoever else does.
    fn add(&self, number: u32, offset: usize, amount: u64) {
        self.rows.word(number as usize, offset).map(|word| word.fetch_add(amount, Ordering::Relaxed));
    }

    /// Replaces the word of a row if it is still `old`.
    fn swap(&self, number: u32, old: u64, new: u64) -> bool {
        let word = self.rows.word(number as usize, offset_of!(EdgeRow, word));
        word.is_some_and(|word| word.compare_exchange(old, new, Ordering::SeqCst, Ordering::SeqCst).is_ok())
    }

    fn used(&self) -> impl Iterator<Item = (u32, EdgeRow)> {
        let all = (1..MAX_EDGES).filter_map(|number| Some((number, self.rows.get(number as usize)?)));
        all.filter(|(_, row)| row.word & !EDGE_BUSY != 0)
    }

    fn passed(&self, number: u32) -> Result<EdgeTraffic, Error> {
        let fail = |source: io::Error| Error::Map { what: "read", map: map::TRAFFIC, source };
        let words = sys::lookup_cpus(self.traffic.as_fd(), number, size_of::<EdgeTraffic>()).map_err(fail)?;
        let mut sum = EdgeTraffic::default();
        for cpu in words.chunks_exact(4) {
            for (way, words) in sum.ways.iter_mut().zip(cpu.chunks_exact(2)) {
                way.packets += words[0];
                way.bytes += words[1];
            }
        }
        Ok(sum)
    }
}

fn add(sum: &mut EdgeTraffic, more: EdgeTraffic) {
    for (way, more) in sum.ways.iter_mut().zip(more.ways) {
        way.packets += more.packets;
        way.bytes += more.bytes;
    }
}
