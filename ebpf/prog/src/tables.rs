//! `packet::Tables` over the maps. Values are copied out: a map's memory may change under a reference.

use core::{
    arch::asm,
    ptr::{read_volatile, write_volatile},
};

use abi::{
    Addr, AffinityKey, AffinityValue, Backend, Config, Connection, Counter, FlowKey, FragmentKey, FragmentValue, Hold,
    IdentityKey, PodValue, Rate, RouteKey, RouteValue, RuleKey, SeatValue, ServiceKey, ServiceValue, Source, SourceKey,
    VethValue,
    flow::{FLOW_LINE, FlowRecord},
};
use aya_ebpf::bindings::BPF_EXIST;
use aya_ebpf::helpers::{bpf_get_prandom_u32, bpf_ktime_get_coarse_ns, bpf_ktime_get_ns, bpf_map_lookup_elem};
use packet::{
    Cells, Flow, Scratch, Tables,
    conntrack::Attempt,
    flows::{Cuts, Made},
};

use crate::{
    access::{compare_exchange, opaque},
    maps::{self, Line},
    services, steps,
};

/// The maps of this object. `now_s` is not zero in test runs only.
pub struct Maps {
    pub now_s: u32,
}

/// Monotonic seconds without a division: 2^20 ns are 0.001048576 s, which is 1,125,900 / 2^30 to 7 digits.
#[inline(always)]
pub fn seconds(ns: u64) -> u32 {
    ((ns >> 20).wrapping_mul(1_125_900) >> 30) as u32
}

/// Copies what was found.
#[inline(always)]
fn copy<T: Copy>(value: &mut T, found: Option<&T>) -> bool {
    match found {
        Some(found) => *value = *found,
        None => return false,
    }
    true
}

impl Cuts for Maps {
    #[inline(always)]
    fn read(&self, entry: u64, key: &FlowKey, found: &mut Flow) -> bool {
        steps::read(entry, key, found)
    }

    #[inline(always)]
    fn claim(&self, hash: u64, class: u64, now_s: u32) -> u32 {
        steps::flow_claim(hash, class, now_s)
    }

    #[inline(always)]
    fn claim_line(&self, line: u32, class: u64, now_s: u32) -> u64 {
        steps::flow_claim_line(line, class, now_s)
    }

    #[inline(always)]
    fn rank(&self, state: u64, now_s: u32) -> u32 {
        steps::flow_rank(state, now_s)
    }

    #[inline(always)]
    fn take(&self, number: u32, old: u64, class: u64, now_s: u32) -> bool {
        steps::flow_take(number, old, class, now_s) != 0
    }

    #[inline(always)]
    fn publish(&self, hash: u64, number: u32, way: u32) -> bool {
        steps::flow_publish(hash, number, way) != 0
    }

    #[inline(always)]
    fn is_alone(&self, key: &FlowKey, number: u32, now_s: u32) -> bool {
        steps::flow_is_alone((&raw const *key).cast(), number, now_s) != 0
    }

    #[inline(always)]
    fn gives_way(&self, entry: u64, key: &FlowKey, number: u32, now_s: u32) -> bool {
        steps::flow_gives_way(entry, (&raw const *key).cast(), number, now_s) != 0
    }
}

impl Cells for Maps {
    type Line = *mut u64;
    type Record = *mut u32;

    #[inline(always)]
    fn flow_bits(&self) -> u32 {
        maps::flow_bits()
    }

    #[inline(always)]
    fn flow_seed(&self) -> u32 {
        maps::CONFIG.get(0).map_or(0, |config| config.seed)
    }

    #[inline(always)]
    fn bucket(&self, number: u32) -> Option<*mut u64> {
        maps::FLOW_INDEX.get_ptr_mut(number).map(|line: *mut Line| line.cast())
    }

    #[inline(always)]
    fn states(&self, number: u32) -> Option<*mut u64> {
        maps::FLOW_STATES.get_ptr_mut(number).map(|line: *mut Line| line.cast())
    }

    #[inline(always)]
    fn load(&self, line: *mut u64, slot: u32) -> u64 {
        // SAFETY: a line has that many words, is aligned, and lives as long as the program runs. Volatile, since others write it.
        unsafe { read_volatile(line.add((slot % FLOW_LINE) as usize)) }
    }

    #[inline(always)]
    fn swap(&self, line: *mut u64, slot: u32, old: u64, new: u64) -> bool {
        // SAFETY: as above.
        unsafe { compare_exchange(line.add((slot % FLOW_LINE) as usize), old, new) == old }
    }

    #[inline(always)]
    fn record(&self, number: u32) -> Option<*mut u32> {
        maps::FLOWS.get_ptr_mut(number).map(|record: *mut FlowRecord| record.cast())
    }

    #[inline(always)]
    fn word(&self, record: *mut u32, index: usize) -> u32 {
        // SAFETY: the packet code asks for words of the record only, and the verifier checks that.
        unsafe { read_volatile(record.add(index)) }
    }

    #[inline(always)]
    fn set_word(&self, record: *mut u32, index: usize, value: u32) {
        // SAFETY: as above; the caller owns the record.
        unsafe { write_volatile(record.add(index), value) };
    }

    /// Word by word: the compiler would read all of them first, and keep them on the stack.
    #[inline(always)]
    fn differs(&self, record: *mut u32, from: usize, key: &FlowKey) -> u32 {
        let key: *const u32 = (&raw const *key).cast();
        let (mut index, mut apart) = (0, 0);
        while index < size_of::<FlowKey>() / size_of::<u32>() {
            // SAFETY: a key is so many words, its padding among them, which is zero in every key.
            let word = unsafe { read_volatile(key.add(index)) } ^ self.word(record, from + index);
            apart = opaque(apart | word as usize);
            index += 1;
        }
        apart as u32
    }
}

impl Tables for Maps {
    #[inline(always)]
    fn config(&self) -> Option<&Config> {
        let config = maps::CONFIG.get(0)?;
        // An array element exists before it is written; no node has the unspecified address.
        if config.node4 == Addr::ANY && config.node6 == Addr::ANY { None } else { Some(config) }
    }

    #[inline(always)]
    fn now_s(&self) -> u32 {
        if crate::is_test_run() {
            return self.now_s;
        }
        // SAFETY: the helper has no preconditions.
        seconds(unsafe { bpf_ktime_get_coarse_ns() })
    }

    #[inline(always)]
    fn count(&self, counter: Counter) {
        if let Some(value) = maps::COUNTERS.get_ptr_mut(counter as u32) {
            // SAFETY: the element is this CPU's own, and the verifier knows its bounds.
            unsafe { *value = (*value).wrapping_add(1) };
        }
    }

    #[inline(always)]
    fn connected(&self, service: u32) {
        if let Some(value) = maps::CONNECTS.get_ptr_mut(service) {
            // SAFETY: the element is eight aligned bytes that live as long as the program runs. This target has no atomic types.
            unsafe { asm!("lock *(u64 *)({0} + 0) += {1}", in(reg) value, in(reg) 1_u64, options(nostack)) };
        }
    }

    #[inline(always)]
    fn random(&self, number: u32) -> u32 {
        if crate::is_test_run() {
            return number;
        }
        // SAFETY: the helper has no preconditions.
        unsafe { bpf_get_prandom_u32() }
    }

    #[inline(always)]
    fn service(&self, key: &ServiceKey, value: &mut ServiceValue) -> bool {
        services::find(key, value)
    }

    #[inline(always)]
    fn source(&self, source: &Source) -> bool {
        let key = SourceKey { prefix_len: 8 * size_of::<Source>() as u32, source: *source };
        let map = (&raw const maps::SOURCES).cast_mut().cast();
        // SAFETY: the map's key is SourceKey; the value is not read.
        unsafe { !bpf_map_lookup_elem(map, (&raw const key).cast_mut().cast()).is_null() }
    }

    #[inline(always)]
    fn slot(&self, index: u32) -> Option<u32> {
        maps::SLOTS.get(index).copied()
    }

    #[inline(always)]
    fn backend(&self, id: u32, value: &mut Backend) -> bool {
        copy(value, maps::BACKENDS.get(id))
    }

    #[inline(always)]
    fn affinity(&self, key: &AffinityKey) -> Option<AffinityValue> {
        // SAFETY: the value is copied at once; a torn copy of a replaced element is bounded by the checks on its use.
        unsafe { maps::AFFINITY.get(key) }.copied()
    }

    #[inline(always)]
    fn set_affinity(&self, key: &AffinityKey, value: &AffinityValue) {
        // A full table evicts; a lost entry costs one more choice.
        let _ = maps::AFFINITY.insert(key, value, 0);
    }

    #[inline(always)]
    fn keep_affinity(&self, key: &AffinityKey, value: &AffinityValue) {
        // As above.
        let _ = maps::AFFINITY.insert(key, value, BPF_EXIST as u64);
    }

    #[inline(always)]
    fn flow(&self, key: &FlowKey, found: &mut Flow) -> bool {
        steps::look(key, found)
    }

    #[inline(always)]
    fn make_flow(&self, draft: &FlowRecord, now_s: u32) -> Made {
        steps::make(draft, now_s)
    }

    #[inline(always)]
    fn end_flow(&self, number: u32, state: u64) -> bool {
        steps::end(number, state)
    }

    #[inline(always)]
    fn attempt(&self, s: &mut Scratch, number: u32, now_s: u32) -> Attempt {
        steps::attempt(s, number, now_s)
    }

    #[inline(always)]
    fn fragment(&self, key: &FragmentKey) -> Option<FragmentValue> {
        // SAFETY: as in `affinity`.
        unsafe { maps::FRAGMENTS.get(key) }.copied()
    }

    #[inline(always)]
    fn set_fragment(&self, key: &FragmentKey, value: &FragmentValue) {
        // A full table evicts; later fragments of that datagram are dropped and counted.
        let _ = maps::FRAGMENTS.insert(key, value, 0);
    }

    #[inline(always)]
    fn hold_row(&self, row: u32) -> u64 {
        // SAFETY: an aligned word that lives as long as the program runs. Volatile, since others write it.
        maps::HOLD_ROWS.get_ptr(row).map_or(0, |word| unsafe { read_volatile(word) })
    }

    #[inline(always)]
    fn swap_hold_row(&self, row: u32, old: u64, new: u64) -> bool {
        // SAFETY: as above.
        maps::HOLD_ROWS.get_ptr_mut(row).is_some_and(|word| unsafe { compare_exchange(word, old, new) } == old)
    }

    #[inline(always)]
    fn hold_state(&self, slot: u32) -> u64 {
        // SAFETY: as above: the state is the element's first word.
        maps::HOLDS.get_ptr(slot).map_or(0, |hold| unsafe { read_volatile(hold.cast()) })
    }

    #[inline(always)]
    fn swap_hold(&self, slot: u32, old: u64, new: u64) -> bool {
        // SAFETY: as above.
        maps::HOLDS.get_ptr_mut(slot).is_some_and(|hold| unsafe { compare_exchange(hold.cast(), old, new) } == old)
    }

    #[inline(always)]
    fn hold(&self, slot: u32, value: &mut Hold) -> bool {
        copy(value, maps::HOLDS.get(slot))
    }

    #[inline(always)]
    fn set_hold(&self, slot: u32, value: &Hold) {
        let Some(hold) = maps::HOLDS.get_ptr_mut(slot) else { return };
        // SAFETY: the caller owns the element; who does not may read it, and looks at the state again afterwards.
        unsafe {
            (*hold).key = value.key;
            (*hold).node = value.node;
            (*hold).vni = value.vni;
            (*hold).bytes = value.bytes;
        }
    }

    #[inline(always)]
    fn pod(&self, addr: &Addr, value: &mut PodValue) -> bool {
        // SAFETY: as in `affinity`.
        copy(value, unsafe { maps::PODS.get(addr) })
    }

    #[inline(always)]
    fn veth(&self, ifindex: u32, value: &mut VethValue) -> bool {
        // SAFETY: as in `affinity`.
        copy(value, unsafe { maps::VETHS.get(ifindex) })
    }

    #[inline(always)]
    fn route(&self, addr: &Addr, value: &mut RouteValue) -> bool {
        let key = RouteKey { prefix_len: 128, addr: *addr };
        let map = (&raw const maps::ROUTES).cast_mut().cast();
        // SAFETY: the map's key and value are RouteKey and RouteValue (aya's own key type is packed, which costs byte stores), and the
        // value is copied at once.
        let found =
            unsafe { bpf_map_lookup_elem(map, (&raw const key).cast_mut().cast()).cast::<RouteValue>().as_ref() };
        copy(value, found)
    }

    #[inline(always)]
    fn now_ns(&self) -> u64 {
        if crate::is_test_run() {
            return self.now_s as u64 * 1_000_000_000;
        }
        // SAFETY: the helper has no preconditions.
        unsafe { bpf_ktime_get_ns() }
    }

    #[inline(always)]
    fn rate(&self, index: u32, value: &mut Rate) -> bool {
        copy(value, maps::RATES.get(index))
    }

    #[inline(always)]
    fn set_full(&self, index: u32, before: u64, after: u64) -> bool {
        let Some(rate) = maps::RATES.get_ptr_mut(index) else { return false };
        // SAFETY: `full` is the first eight bytes of an aligned element.
        unsafe { compare_exchange(rate.cast(), before, after) == before }
    }

    #[inline(always)]
    fn generation(&self) -> u32 {
        maps::GENERATION.get(0).copied().unwrap_or(0)
    }

    #[inline(always)]
    fn seat(&self, index: u32, value: &mut SeatValue) -> bool {
        copy(value, maps::SEATS.get(index))
    }

    #[inline(always)]
    fn identity(&self, bank: u32, addr: &Addr) -> u32 {
        let key = IdentityKey { prefix_len: 160, bank, addr: *addr };
        let map = (&raw const maps::IDENTITIES).cast_mut().cast();
        // SAFETY: the map's key and value have the sizes of IdentityKey and u32, and the value is copied at once.
        unsafe { bpf_map_lookup_elem(map, (&raw const key).cast_mut().cast()).cast::<u32>().as_ref() }
            .copied()
            .unwrap_or(0)
    }

    #[inline(always)]
    fn rule(&self, key: &RuleKey) -> u32 {
        let map = (&raw const maps::RULES).cast_mut().cast();
        // SAFETY: as in `identity`, with RuleKey.
        unsafe { bpf_map_lookup_elem(map, (&raw const *key).cast_mut().cast()).cast::<u32>().as_ref() }
            .copied()
            .unwrap_or(0)
    }

    #[inline(always)]
    fn connection(&self, key: &FlowKey, value: &mut Connection) -> bool {
        // SAFETY: as in `affinity`.
        copy(value, unsafe { maps::CONNECTIONS.get(key) })
    }

    #[inline(always)]
    fn set_connection(&self, key: &FlowKey, value: &Connection) {
        // A full table evicts; the connection is then judged by its next opening packet.
        let _ = maps::CONNECTIONS.insert(key, value, 0);
    }
}
