//! A packet and the tables in ordinary memory.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet},
};

use abi::{
    Addr, AffinityKey, AffinityValue, Backend, Config, Connection, Counter, FlowKey, FragmentKey, FragmentValue, Hold,
    IdentityKey, PodValue, RULE_ANY_PROTOCOL, RULE_ONE_PORT, Rate, RouteKey, RouteValue, RuleKey, SeatValue,
    ServiceKey, ServiceValue, Source, SourceKey, VethValue, flow::FLOW_BITS_MIN,
};

use super::{
    edges::EdgeMemory,
    pen::Pen,
    table::{FlowMemory, Line},
};
use crate::{Buffer, Cells, Tables, checksum, flows::Cuts};

/// A frame in memory, its checksums complete.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frame(pub Vec<u8>);

impl Frame {
    fn get<const N: usize>(&self, off: usize) -> Option<[u8; N]> {
        self.0.get(off..off.checked_add(N)?)?.try_into().ok()
    }

    fn put(&mut self, off: usize, bytes: &[u8]) -> Option<()> {
        self.0.get_mut(off..off.checked_add(bytes.len())?)?.copy_from_slice(bytes);
        Some(())
    }
}

impl Buffer for Frame {
    fn size(&self) -> usize {
        self.0.len()
    }

    fn byte(&self, off: usize) -> Option<u8> {
        self.0.get(off).copied()
    }

    fn half(&self, off: usize) -> Option<u16> {
        self.get(off).map(u16::from_ne_bytes)
    }

    fn words<const N: usize>(&self, off: usize) -> Option<[u32; N]> {
        let bytes = self.0.get(off..off.checked_add(4 * N)?)?;
        let mut words = [0; N];
        for (word, chunk) in words.iter_mut().zip(bytes.chunks_exact(4)) {
            *word = u32::from_ne_bytes([chunk[0], chunk[1], chunk[2], chunk[3]]);
        }
        Some(words)
    }

    fn set_byte(&mut self, off: usize, value: u8) -> Option<()> {
        self.put(off, &[value])
    }

    fn set_half(&mut self, off: usize, value: u16) -> Option<()> {
        self.put(off, &value.to_ne_bytes())
    }

    fn set_words<const N: usize>(&mut self, off: usize, value: [u32; N]) -> Option<()> {
        let bytes: Vec<u8> = value.iter().flat_map(|word| word.to_ne_bytes()).collect();
        self.put(off, &bytes)
    }

    fn fix_transport(&mut self, off: usize, pseudo: u32, rest: u32, udp: bool) -> Option<()> {
        let mut sum = self.half(off)?;
        for diff in [pseudo, rest] {
            if diff != 0 && !(udp && sum == 0) {
                sum = checksum::apply(sum, diff);
                // RFC 768: a computed zero is sent as all ones.
                if udp && sum == 0 {
                    sum = 0xffff;
                }
            }
        }
        self.set_half(off, sum)
    }
}

/// The tables in memory. Interior mutability stands in for maps that all CPUs share.
#[derive(Clone, Debug)]
pub struct Memory {
    pub config: Option<Config>,
    pub now_s: Cell<u32>,
    pub services: BTreeMap<ServiceKey, ServiceValue>,
    pub slots: BTreeMap<u32, u32>,
    pub backends: BTreeMap<u32, Backend>,
    pub affinity: RefCell<BTreeMap<AffinityKey, AffinityValue>>,
    pub flows: FlowMemory,
    pub fragments: RefCell<BTreeMap<FragmentKey, FragmentValue>>,
    pub pen: Pen,
    pub pods: BTreeMap<Addr, PodValue>,
    pub veths: BTreeMap<u32, VethValue>,
    pub routes: BTreeMap<RouteKey, RouteValue>,
    pub sources: BTreeSet<SourceKey>,
    pub rates: RefCell<BTreeMap<u32, Rate>>,
    pub generation: u32,
    pub seats: BTreeMap<u32, SeatValue>,
    pub identities: BTreeMap<IdentityKey, u32>,
    pub rules: BTreeMap<RuleKey, u32>,
    pub connections: RefCell<BTreeMap<FlowKey, Connection>>,
    pub counters: RefCell<BTreeMap<Counter, u64>>,
    pub edges: EdgeMemory,
}

/// Copies what was found.
fn fill<T>(value: &mut T, found: Option<T>) -> bool {
    let Some(found) = found else { return false };
    *value = found;
    true
}

/// The first `bits` of an address.
fn mask(addr: &Addr, bits: u32) -> Addr {
    let mut words = addr.0;
    for (i, word) in words.iter_mut().enumerate() {
        let kept = bits.saturating_sub(32 * i as u32).min(32);
        let mask = u32::MAX.checked_shl(32 - kept).unwrap_or(0);
        *word &= mask.to_be();
    }
    Addr(words)
}

/// A rule's key shortened as the map compares it.
fn shorten(key: &RuleKey, prefix_len: u32) -> RuleKey {
    let proto = if prefix_len > RULE_ANY_PROTOCOL { key.proto } else { 0 };
    let port = key.port.get() & u16::MAX.checked_shl(RULE_ONE_PORT - prefix_len).unwrap_or(0);
    RuleKey { prefix_len, proto, port: abi::Be16::new(port), ..*key }
}

/// Whether an address lies in a prefix.
fn contains(key: &RouteKey, addr: &Addr) -> bool {
    let bits = |a: &Addr| a.0.iter().fold(0_u128, |n, word| n << 32 | u128::from(u32::from_be(*word)));
    let shift = 128 - key.prefix_len.min(128);
    shift == 128 || bits(&key.addr) >> shift == bits(addr) >> shift
}

impl Default for Memory {
    /// Empty tables, the smallest flow table.
    fn default() -> Memory {
        Memory {
            config: None,
            now_s: Cell::default(),
            services: BTreeMap::new(),
            slots: BTreeMap::new(),
            backends: BTreeMap::new(),
            affinity: RefCell::default(),
            flows: FlowMemory::new(FLOW_BITS_MIN, 0),
            fragments: RefCell::default(),
            pen: Pen::default(),
            pods: BTreeMap::new(),
            veths: BTreeMap::new(),
            routes: BTreeMap::new(),
            sources: BTreeSet::new(),
            rates: RefCell::default(),
            generation: 0,
            seats: BTreeMap::new(),
            identities: BTreeMap::new(),
            rules: BTreeMap::new(),
            connections: RefCell::default(),
            counters: RefCell::default(),
            edges: EdgeMemory::default(),
        }
    }
}

impl Cuts for Memory {}

impl Cells for Memory {
    type Line = Line;
    type Record = usize;

    fn flow_bits(&self) -> u32 {
        self.flows.flow_bits()
    }

    fn flow_seed(&self) -> u32 {
        self.config.map_or(0, |config| config.seed)
    }

    fn bucket(&self, number: u32) -> Option<Line> {
        self.flows.bucket(number)
    }

    fn states(&self, number: u32) -> Option<Line> {
        self.flows.states(number)
    }

    fn load(&self, line: Line, slot: u32) -> u64 {
        self.flows.load(line, slot)
    }

    fn swap(&self, line: Line, slot: u32, old: u64, new: u64) -> bool {
        self.flows.swap(line, slot, old, new)
    }

    fn record(&self, number: u32) -> Option<usize> {
        self.flows.record(number)
    }

    fn word(&self, record: usize, index: usize) -> u32 {
        self.flows.word(record, index)
    }

    fn set_word(&self, record: usize, index: usize, value: u32) {
        self.flows.set_word(record, index, value);
    }
}

impl Tables for Memory {
    fn config(&self) -> Option<&Config> {
        self.config.as_ref()
    }

    fn now_s(&self) -> u32 {
        self.now_s.get()
    }

    fn count(&self, counter: Counter) {
        *self.counters.borrow_mut().entry(counter).or_default() += 1;
    }

    fn service(&self, key: &ServiceKey, value: &mut ServiceValue) -> bool {
        fill(value, self.services.get(key).copied())
    }

    fn source(&self, source: &Source) -> bool {
        let holds = |key: &SourceKey| {
            let bits = key.prefix_len.saturating_sub(8 * size_of::<ServiceKey>() as u32);
            contains(&RouteKey { prefix_len: bits, addr: key.source.client }, &source.client)
        };
        self.sources.iter().any(|key| key.source.service == source.service && holds(key))
    }

    /// As in an array map, an unwritten slot holds zero.
    fn slot(&self, index: u32) -> Option<u32> {
        (index < abi::MAX_SLOTS).then(|| self.slots.get(&index).copied().unwrap_or_default())
    }

    /// As in an array map, an unwritten backend is all zero.
    fn backend(&self, id: u32, value: &mut Backend) -> bool {
        fill(value, (id < abi::MAX_BACKENDS).then(|| self.backends.get(&id).copied().unwrap_or_default()))
    }

    fn affinity(&self, key: &AffinityKey) -> Option<AffinityValue> {
        self.affinity.borrow().get(key).copied()
    }

    fn set_affinity(&self, key: &AffinityKey, value: &AffinityValue) {
        self.affinity.borrow_mut().insert(*key, *value);
    }

    fn keep_affinity(&self, key: &AffinityKey, value: &AffinityValue) {
        self.affinity.borrow_mut().entry(*key).and_modify(|known| *known = *value);
    }

    fn fragment(&self, key: &FragmentKey) -> Option<FragmentValue> {
        self.fragments.borrow().get(key).copied()
    }

    fn set_fragment(&self, key: &FragmentKey, value: &FragmentValue) {
        self.fragments.borrow_mut().insert(*key, *value);
    }

    fn hold_row(&self, row: u32) -> u64 {
        self.pen.row(row)
    }

    fn swap_hold_row(&self, row: u32, old: u64, new: u64) -> bool {
        self.pen.swap_row(row, old, new)
    }

    fn hold_state(&self, slot: u32) -> u64 {
        self.pen.state(slot)
    }

    fn swap_hold(&self, slot: u32, old: u64, new: u64) -> bool {
        self.pen.swap(slot, old, new)
    }

    fn hold(&self, slot: u32, value: &mut Hold) -> bool {
        fill(value, Some(self.pen.hold(slot)))
    }

    fn set_hold(&self, slot: u32, value: &Hold) {
        self.pen.set_hold(slot, value);
    }

    fn pod(&self, addr: &Addr, value: &mut PodValue) -> bool {
        fill(value, self.pods.get(addr).copied())
    }

    fn veth(&self, ifindex: u32, value: &mut VethValue) -> bool {
        fill(value, self.veths.get(&ifindex).copied())
    }

    fn route(&self, addr: &Addr, value: &mut RouteValue) -> bool {
        let matching = self.routes.iter().filter(|(key, _)| contains(key, addr));
        fill(value, matching.max_by_key(|(key, _)| key.prefix_len).map(|(_, route)| *route))
    }

    fn now_ns(&self) -> u64 {
        u64::from(self.now_s.get()) * 1_000_000_000
    }

    fn rate(&self, index: u32, value: &mut Rate) -> bool {
        fill(value, self.rates.borrow().get(&index).copied())
    }

    fn set_full(&self, index: u32, before: u64, after: u64) -> bool {
        let mut rates = self.rates.borrow_mut();
        let Some(rate) = rates.get_mut(&index).filter(|rate| rate.full == before) else { return false };
        rate.full = after;
        true
    }

    fn generation(&self) -> u32 {
        self.generation
    }

    /// As in an array map, an unwritten seat is all zero.
    fn seat(&self, index: u32, value: &mut SeatValue) -> bool {
        fill(value, (index < abi::MAX_SEATS).then(|| self.seats.get(&index).copied().unwrap_or_default()))
    }

    fn identity(&self, bank: u32, addr: &Addr) -> u32 {
        let key = |bits| IdentityKey { prefix_len: 32 + bits, bank, addr: mask(addr, bits) };
        (0..=128).rev().find_map(|bits| self.identities.get(&key(bits))).copied().unwrap_or(0)
    }

    fn rule(&self, key: &RuleKey) -> u32 {
        let mut lengths = (RULE_ANY_PROTOCOL..=RULE_ONE_PORT).rev();
        lengths.find_map(|bits| self.rules.get(&shorten(key, bits))).copied().unwrap_or(0)
    }

    fn connection(&self, key: &FlowKey, value: &mut Connection) -> bool {
        fill(value, self.connections.borrow().get(key).copied())
    }

    fn set_connection(&self, key: &FlowKey, value: &Connection) {
        self.connections.borrow_mut().insert(*key, *value);
    }
}
