//! The maps, by the names of `abi::map`.

use abi::{
    AffinityKey, AffinityValue, Backend, Config, Connection, FlowKey, FragmentKey, FragmentValue, Hold, Peer, PodValue,
    Rate, RouteValue, SeatValue, SocketValue, VethValue,
    edge::{EdgeRow, EdgeTraffic, MAX_EDGES},
    flow::{FLOW_BITS, FLOW_LINE, FlowRecord, flow_buckets, flow_records, flow_state_lines},
    service::{SERVICE_ROWS, ServiceRow},
};
use aya_ebpf::{
    bindings::BPF_F_MMAPABLE,
    btf_maps::SkStorage,
    macros::{btf_map, map},
    maps::{Array, HashMap, LpmTrie, LruHashMap, PerCpuArray, RingBuf},
};

#[map]
pub static CONFIG: Array<Config> = Array::with_max_entries(1, 0);
#[map]
pub static SERVICES: Array<ServiceRow> = Array::with_max_entries(SERVICE_ROWS, BPF_F_MMAPABLE);
#[map]
pub static SLOTS: Array<u32> = Array::with_max_entries(abi::MAX_SLOTS, BPF_F_MMAPABLE);
#[map]
pub static BACKENDS: Array<Backend> = Array::with_max_entries(abi::MAX_BACKENDS, BPF_F_MMAPABLE);
/// The flow table's arrays are for mapping, which also puts each line of words into one cache line. The loader sets their sizes, and
/// [`FLOW_TABLE_BITS`] with them.
#[map]
pub static FLOWS: Array<FlowRecord> = Array::with_max_entries(flow_records(FLOW_BITS), BPF_F_MMAPABLE);
#[map]
pub static FLOW_STATES: Array<Line> = Array::with_max_entries(flow_state_lines(FLOW_BITS), BPF_F_MMAPABLE);
#[map]
pub static FLOW_INDEX: Array<Line> = Array::with_max_entries(flow_buckets(FLOW_BITS), BPF_F_MMAPABLE);
#[map]
pub static AFFINITY: LruHashMap<AffinityKey, AffinityValue> = LruHashMap::with_max_entries(abi::MAX_AFFINITY, 0);
#[map]
pub static FRAGMENTS: LruHashMap<FragmentKey, FragmentValue> = LruHashMap::with_max_entries(abi::MAX_FRAGMENTS, 0);
#[map]
pub static HOLD_ROWS: Array<u64> = Array::with_max_entries(abi::fragment::HOLD_ROWS, 0);
#[map]
pub static HOLDS: Array<Hold> = Array::with_max_entries(abi::fragment::MAX_HOLDS, 0);
#[map]
pub static HELD: Array<Held> = Array::with_max_entries(abi::fragment::MAX_HOLDS, 0);
/// Where a first fragment's own bytes are while copies of it carry those of others; in the kernel's memory for each CPU, as [`SCRATCH`].
#[map]
pub static ASIDE: PerCpuArray<Held> = PerCpuArray::with_max_entries(1, 0);
#[map]
pub static PODS: HashMap<abi::Addr, PodValue> = HashMap::with_max_entries(abi::MAX_PODS, 0);
#[map]
pub static VETHS: HashMap<u32, VethValue> = HashMap::with_max_entries(abi::MAX_PODS, 0);
#[map]
pub static ROUTES: LpmTrie<abi::Addr, RouteValue> = LpmTrie::with_max_entries(abi::MAX_ROUTES, 0);
#[map]
pub static SOURCES: LpmTrie<abi::Source, u32> = LpmTrie::with_max_entries(abi::MAX_SOURCES, 0);
#[map]
pub static COUNTERS: PerCpuArray<u64> = PerCpuArray::with_max_entries(abi::COUNTERS, 0);
/// In the form without BTF, which bpftool cannot make a map of this kind from.
#[map]
pub static EVENTS: RingBuf = RingBuf::with_byte_size(abi::event::EVENTS_BYTES, 0);
#[map]
pub static GATES: PerCpuArray<abi::event::Gate> = PerCpuArray::with_max_entries(abi::event::GATES, 0);
#[map]
pub static CONNECTS: Array<u64> = Array::with_max_entries(abi::MAX_CONNECTS, 0);
#[map]
pub static EDGES: Array<EdgeRow> = Array::with_max_entries(MAX_EDGES, BPF_F_MMAPABLE);
#[map]
pub static TRAFFIC: PerCpuArray<EdgeTraffic> = PerCpuArray::with_max_entries(MAX_EDGES, 0);
#[map]
pub static RATES: Array<Rate> = Array::with_max_entries(abi::MAX_RATES, 0);
#[map]
pub static GENERATION: Array<u32> = Array::with_max_entries(1, 0);
#[map]
pub static SEATS: Array<SeatValue> = Array::with_max_entries(abi::MAX_SEATS, 0);
/// The keys' words after the prefix length: bank and address.
#[map]
pub static IDENTITIES: LpmTrie<[u32; 5], u32> = LpmTrie::with_max_entries(abi::MAX_IDENTITIES, 0);
/// The keys' words after the prefix length: bank, ruleset, identity, and the packet's.
#[map]
pub static RULES: LpmTrie<[u32; 4], u32> = LpmTrie::with_max_entries(abi::MAX_RULES, 0);
#[map]
pub static CONNECTIONS: LruHashMap<FlowKey, Connection> = LruHashMap::with_max_entries(abi::MAX_CONNECTIONS, 0);
/// Working memory: programs at tc run to their end on one CPU with bottom halves off, so one element a CPU is enough.
#[map]
pub static SCRATCH: PerCpuArray<packet::Scratch> = PerCpuArray::with_max_entries(1, 0);
#[map]
pub static PEERS: Array<Peer> = Array::with_max_entries(abi::MAX_PEERS, 0);
#[btf_map]
pub static SOCKETS: SkStorage<SocketValue> = SkStorage::new();

/// A frame.
pub type Held = [u8; abi::fragment::HELD_BYTES as usize];

/// Words that the programs change by compare and swap.
pub type Line = [u64; FLOW_LINE as usize];

/// Logarithm of the number of records. Constant once the programs are loaded.
#[unsafe(no_mangle)]
static FLOW_TABLE_BITS: u32 = FLOW_BITS;

/// Reads [`FLOW_TABLE_BITS`].
#[inline(always)]
pub fn flow_bits() -> u32 {
    // SAFETY: a static is valid for reads; volatile because the loader may replace the value in the object.
    unsafe { core::ptr::read_volatile(&raw const FLOW_TABLE_BITS) }
}
