//! The flow table in ordinary memory: the same arrays, shared by as many threads as want to.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use abi::{
    Addr, FlowKey,
    flow::{FLOW_LINE, FlowRecord, STATE_SURE, STATE_USED, flow_buckets, flow_records, flow_state_lines, state},
};

use crate::{
    Cells,
    flows::{self, Cuts},
};

/// Words of a record.
const WORDS: usize = size_of::<FlowRecord>() / 4;

/// A flow table.
#[derive(Debug)]
pub struct FlowMemory {
    bits: u32,
    /// See [`Cells::flow_seed`].
    pub seed: u32,
    records: Vec<AtomicU32>,
    states: Vec<AtomicU64>,
    index: Vec<AtomicU64>,
}

/// All words of a table, as they lie in the maps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowWords {
    pub records: Vec<FlowRecord>,
    pub states: Vec<u64>,
    pub index: Vec<u64>,
}

impl FlowMemory {
    /// An empty table of 2^`bits` records.
    pub fn new(bits: u32, seed: u32) -> FlowMemory {
        let zeroes = |lines| (0..lines * FLOW_LINE).map(|_| AtomicU64::new(0)).collect();
        FlowMemory {
            bits,
            seed,
            records: (0..flow_records(bits) as usize * WORDS).map(|_| AtomicU32::new(0)).collect(),
            states: zeroes(flow_state_lines(bits)),
            index: zeroes(flow_buckets(bits)),
        }
    }

    /// The table of these words; `None` if they are not those of a table.
    pub fn of_words(words: &FlowWords, seed: u32) -> Option<FlowMemory> {
        let bits = words.records.len().checked_ilog2()?;
        let lines = |words: &[u64]| words.len() as u64 / u64::from(FLOW_LINE);
        let fits = words.records.len() == 1 << bits
            && bits >= abi::flow::FLOW_BITS_MIN
            && lines(&words.states) == u64::from(flow_state_lines(bits))
            && lines(&words.index) == u64::from(flow_buckets(bits));
        let atomics = |words: &[u64]| words.iter().map(|word| AtomicU64::new(*word)).collect();
        fits.then(|| FlowMemory {
            bits,
            seed,
            records: words.records.iter().flat_map(record_words).map(AtomicU32::new).collect(),
            states: atomics(&words.states),
            index: atomics(&words.index),
        })
    }

    /// Forgets every flow.
    pub fn clear(&self) {
        self.states.iter().chain(&self.index).for_each(|word| word.store(0, Ordering::SeqCst));
    }

    /// Every word.
    pub fn words(&self) -> FlowWords {
        let load = |words: &[AtomicU64]| words.iter().map(|word| word.load(Ordering::Relaxed)).collect();
        FlowWords {
            records: (0..flow_records(self.bits)).map(|number| self.copy(number)).collect(),
            states: load(&self.states),
            index: load(&self.index),
        }
    }

    /// The records that are valid, by number, with their states.
    pub fn flows(&self) -> Vec<(u32, FlowRecord, u64)> {
        let states = self.states.iter().map(|word| word.load(Ordering::Acquire));
        let used = (0..).zip(states).filter(|(_, state)| state & STATE_USED != 0);
        used.map(|(number, state)| (number, self.copy(number), state)).collect()
    }

    /// Valid records.
    pub fn len(&self) -> usize {
        self.states.iter().filter(|word| word.load(Ordering::Relaxed) & STATE_USED != 0).count()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Makes a flow that is established.
    pub fn establish(&self, forward: FlowKey, reply: FlowKey, backend: u32, now_s: u32) -> flows::Made {
        let draft = FlowRecord { keys: [forward, reply], backend, ..FlowRecord::default() };
        let made = flows::make(self, &draft, now_s);
        let mut found = flows::Flow::default();
        if matches!(made, flows::Made::New | flows::Made::Replaced) && flows::look(self, &forward, &mut found) {
            flows::touch(self, &mut found, STATE_SURE | abi::flow::STATE_REPLIED, now_s);
        }
        made
    }

    /// Lets a flow be as if its last packet had been at another time.
    pub fn age(&self, number: u32, seen_s: u32) {
        let Some(word) = self.states.get(number as usize) else { return };
        let old = word.load(Ordering::Relaxed);
        word.store(state(seen_s, abi::flow::state_generation(old), old & 0xffff), Ordering::Relaxed);
    }

    /// Records that were ever written.
    fn touched(&self) -> impl Iterator<Item = u32> + '_ {
        (0..).zip(&self.states).filter(|(_, word)| word.load(Ordering::Relaxed) != 0).map(|(number, _)| number)
    }

    fn copy(&self, number: u32) -> FlowRecord {
        record(self, number as usize * WORDS)
    }
}

/// A copy of a record.
pub(super) fn record<C: Cells>(c: &C, record: C::Record) -> FlowRecord {
    let word = |index: usize| c.word(record, index);
    let key = |from: usize| {
        let (sport, dport) = crate::parse::split(word(from + 8));
        let [proto, pad @ ..] = word(from + 9).to_ne_bytes();
        let addr = |from: usize| Addr([word(from), word(from + 1), word(from + 2), word(from + 3)]);
        FlowKey { src: addr(from), dst: addr(from + 4), sport, dport, proto, pad }
    };
    FlowRecord { keys: [key(0), key(10)], backend: word(20), flags: word(21), at: [word(22), word(23)] }
}

/// A record as it lies in memory.
fn record_words(record: &FlowRecord) -> [u32; WORDS] {
    let mut words = [0; WORDS];
    for (key, to) in record.keys.iter().zip(words.chunks_exact_mut(10)) {
        to[..4].copy_from_slice(&key.src.0);
        to[4..8].copy_from_slice(&key.dst.0);
        to[8] = crate::parse::join(key.sport, key.dport);
        let [a, b, c] = key.pad;
        to[9] = u32::from_ne_bytes([key.proto, a, b, c]);
    }
    words[20..].copy_from_slice(&[record.backend, record.flags, record.at[0], record.at[1]]);
    words
}

impl PartialEq for FlowMemory {
    fn eq(&self, other: &FlowMemory) -> bool {
        let load = |words: &[AtomicU64]| words.iter().map(|word| word.load(Ordering::Relaxed)).collect::<Vec<_>>();
        self.bits == other.bits
            && load(&self.states) == load(&other.states)
            && load(&self.index) == load(&other.index)
            && self.touched().all(|number| self.copy(number) == other.copy(number))
    }
}

impl Clone for FlowMemory {
    fn clone(&self) -> FlowMemory {
        let copy = FlowMemory::new(self.bits, self.seed);
        for (from, to) in self.states.iter().zip(&copy.states).chain(self.index.iter().zip(&copy.index)) {
            to.store(from.load(Ordering::Relaxed), Ordering::Relaxed);
        }
        for number in self.touched() {
            for index in (0..WORDS).map(|index| number as usize * WORDS + index) {
                copy.records[index].store(self.records[index].load(Ordering::Relaxed), Ordering::Relaxed);
            }
        }
        copy
    }
}

impl Cuts for FlowMemory {}

impl Cells for FlowMemory {
    /// Its number.
    type Line = Line;
    type Record = usize;

    fn flow_bits(&self) -> u32 {
        self.bits
    }

    fn flow_seed(&self) -> u32 {
        self.seed
    }

    fn bucket(&self, number: u32) -> Option<Line> {
        (number < flow_buckets(self.bits)).then_some(Line::Index(number))
    }

    fn states(&self, number: u32) -> Option<Line> {
        (number < flow_state_lines(self.bits)).then_some(Line::States(number))
    }

    fn load(&self, line: Line, slot: u32) -> u64 {
        self.at(line, slot).load(Ordering::Acquire)
    }

    fn swap(&self, line: Line, slot: u32, old: u64, new: u64) -> bool {
        self.at(line, slot).compare_exchange(old, new, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }

    fn record(&self, number: u32) -> Option<usize> {
        (number < flow_records(self.bits)).then_some(number as usize * WORDS)
    }

    fn word(&self, record: usize, index: usize) -> u32 {
        self.records[record + index].load(Ordering::Acquire)
    }

    fn set_word(&self, record: usize, index: usize, value: u32) {
        self.records[record + index].store(value, Ordering::Release);
    }
}

/// A line of either array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line {
    Index(u32),
    States(u32),
}

impl FlowMemory {
    fn at(&self, line: Line, slot: u32) -> &AtomicU64 {
        let (words, line) = match line {
            Line::Index(line) => (&self.index, line),
            Line::States(line) => (&self.states, line),
        };
        &words[(line * FLOW_LINE + slot % FLOW_LINE) as usize]
    }
}
