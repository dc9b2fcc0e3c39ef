//! The flow table in our own memory, for the code that the programs run: both write it at once, by the same rules.

use std::os::fd::AsFd;
use std::path::Path;
use std::sync::atomic::Ordering;

use abi::flow::{
    FLOW_BITS_MAX, FLOW_BITS_MIN, FLOW_LINE, FlowRecord, flow_buckets, flow_bytes, flow_records, flow_state_lines,
};
use abi::map;
use nix::sys::sysinfo::sysinfo;
use packet::Cells;
use packet::flows::Cuts;

use super::object::{self, Line};
use super::{Error, Mapped, sys};

/// Of the machine's memory, one part in so many is the flow table's unless the administrator says a size.
const MEMORY_SHARE: u64 = 400;
/// The sizes that follow from memory: 65,536 records (9 MB) and 1,048,576 (143 MB).
const BITS_BY_MEMORY: std::ops::RangeInclusive<u32> = 16..=20;

/// Logarithm of the flow table's records if nobody says it: a quarter of a percent of the machine's memory, between 65,536 and 1,048,576
/// records.
pub fn default_flow_bits() -> u32 {
    let bytes = sysinfo().map_or(0, |info| info.ram_total());
    let fits = |bits: &u32| flow_bytes(*bits) <= bytes / MEMORY_SHARE;
    BITS_BY_MEMORY.rev().find(fits).unwrap_or(*BITS_BY_MEMORY.start())
}

/// Logarithm of a number of records, if it is one that a table can have.
pub fn flow_bits(records: u64) -> Option<u32> {
    let bits = records.is_power_of_two().then(|| records.trailing_zeros())?;
    (FLOW_BITS_MIN..=FLOW_BITS_MAX).contains(&bits).then_some(bits)
}

/// A table of the programs.
pub struct FlowTable {
    bits: u32,
    seed: u32,
    records: Mapped<FlowRecord>,
    states: Mapped<Line>,
    index: Mapped<Line>,
}

/// A line of the states or of the index, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    States(u32),
    Index(u32),
}

impl FlowTable {
    /// Maps the table pinned below `dir`, of 2^`bits` records.
    pub fn open(dir: &Path, bits: u32, seed: u32) -> Result<FlowTable, Error> {
        Ok(FlowTable {
            bits,
            seed,
            records: mapped(dir, map::FLOWS, flow_records(bits))?,
            states: mapped(dir, map::FLOW_STATES, flow_state_lines(bits))?,
            index: mapped(dir, map::FLOW_INDEX, flow_buckets(bits))?,
        })
    }

    fn at(&self, line: Place, slot: u32) -> Option<&std::sync::atomic::AtomicU64> {
        let offset = size_of::<u64>() * (slot % FLOW_LINE) as usize;
        match line {
            Place::States(number) => self.states.word(number as usize, offset),
            Place::Index(number) => self.index.word(number as usize, offset),
        }
    }
}

fn mapped<T: super::Plain>(dir: &Path, name: &'static str, entries: u32) -> Result<Mapped<T>, Error> {
    let fail = |source| Error::Map { what: "map", map: name, source };
    let fd = object::open_map(dir, name)?;
    let found = sys::map_info(fd.as_fd()).map_err(fail)?.max_entries;
    if found != entries {
        return Err(fail(std::io::ErrorKind::InvalidData.into()));
    }
    Mapped::new(fd, entries as usize).map_err(fail)
}

impl Cuts for FlowTable {}

/// Lines and records that were given are within the arrays, so that there is a word at each place; none reads as zero.
impl Cells for FlowTable {
    type Line = Place;
    type Record = u32;

    fn flow_bits(&self) -> u32 {
        self.bits
    }

    fn flow_seed(&self) -> u32 {
        self.seed
    }

    fn bucket(&self, number: u32) -> Option<Place> {
        (number < flow_buckets(self.bits)).then_some(Place::Index(number))
    }

    fn states(&self, number: u32) -> Option<Place> {
        (number < flow_state_lines(self.bits)).then_some(Place::States(number))
    }

    fn load(&self, line: Place, slot: u32) -> u64 {
        self.at(line, slot).map_or(0, |word| word.load(Ordering::Acquire))
    }

    fn swap(&self, line: Place, slot: u32, old: u64, new: u64) -> bool {
        let swap = |word: &std::sync::atomic::AtomicU64| {
            word.compare_exchange(old, new, Ordering::SeqCst, Ordering::SeqCst).is_ok()
        };
        self.at(line, slot).is_some_and(swap)
    }

    fn record(&self, number: u32) -> Option<u32> {
        (number < flow_records(self.bits)).then_some(number)
    }

    fn word(&self, record: u32, index: usize) -> u32 {
        self.records.half(record as usize, index * size_of::<u32>()).map_or(0, |word| word.load(Ordering::Acquire))
    }

    fn set_word(&self, record: u32, index: usize, value: u32) {
        if let Some(word) = self.records.half(record as usize, index * size_of::<u32>()) {
            word.store(value, Ordering::Release);
        }
    }
}
