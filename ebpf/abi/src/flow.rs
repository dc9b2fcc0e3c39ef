//! The flow table: an array of records, one a connection; an array of their states, eight a line; and an index, eight entries a line,
//! with two entries for each record. All three are written by the programs, and by nobody else.

use crate::FlowKey;

/// Logarithm of the number of records, unless the node is told another.
pub const FLOW_BITS: u32 = 18;
/// The least and the most of it: 64 records in 9 KB, 4,194,304 in 570 MB.
pub const FLOW_BITS_MIN: u32 = 6;
pub const FLOW_BITS_MAX: u32 = 22;
/// Words of an element of [`crate::map::FLOW_STATES`] and [`crate::map::FLOW_INDEX`]: a cache line.
pub const FLOW_LINE: u32 = 8;

/// Bytes of memory that a table of 2^`bits` records takes: 136 a record.
#[inline(always)]
pub const fn flow_bytes(bits: u32) -> u64 {
    (size_of::<FlowRecord>() as u64 + 8 + 32) << bits
}

/// Elements of [`crate::map::FLOWS`].
#[inline(always)]
pub const fn flow_records(bits: u32) -> u32 {
    1 << bits
}

/// Elements of [`crate::map::FLOW_STATES`].
#[inline(always)]
pub const fn flow_state_lines(bits: u32) -> u32 {
    1 << (bits - 3)
}

/// Elements of [`crate::map::FLOW_INDEX`]: half of the entries are used when all records are.
#[inline(always)]
pub const fn flow_buckets(bits: u32) -> u32 {
    1 << (bits - 1)
}

/// Value of [`crate::map::FLOWS`]. It is written before its state says that it is valid, and not again until the record is another
/// flow's.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlowRecord {
    /// The tuples with which packets arrive, of the direction that opened the connection and of the other one. A packet leaves
    /// with the other direction's tuple, turned round.
    pub keys: [FlowKey; 2],
    /// Backend id, 0 if the flow is only masqueraded.
    pub backend: u32,
    /// `FLOW_*` bits, and from [`EDGE_SHIFT`] on the row of [`crate::edge`] that counts the flow; 0: none does.
    pub flags: u32,
    /// Where the index has the two tuples: eight times the line, plus the word; [`FLOW_NOWHERE`] if it has not.
    pub at: [u32; 2],
}

/// The opener is a client outside, which answers reach by the uplink.
pub const FLOW_EXTERNAL: u32 = 1;
/// Packets go to the backend's node as they came, with the backend named beside them; that node translates, and answers the client
/// itself ([`crate::LB_DSR`]).
pub const FLOW_DIRECT: u32 = 2;

/// See [`FlowRecord::flags`].
pub const EDGE_SHIFT: u32 = 16;

/// No place in the index.
pub const FLOW_NOWHERE: u32 = u32::MAX;

/// Bits of a state, the value of a word of [`crate::map::FLOW_STATES`]: a program is writing the record.
pub const STATE_BUSY: u64 = 1;
/// The record is valid.
pub const STATE_USED: u64 = 2;
/// Another writer, which came first, wants the tuple: this one has to withdraw.
pub const STATE_DOOMED: u64 = 4;
/// A packet of the direction that did not open the connection was seen.
pub const STATE_REPLIED: u64 = 1 << 4;
/// The opener has answered a reply, so that its address is not forged.
pub const STATE_SURE: u64 = 1 << 5;
/// The opener, or the other end, has sent a FIN.
pub const STATE_FIN_OPENER: u64 = 1 << 6;
pub const STATE_FIN_OTHER: u64 = 1 << 7;
/// An RST was seen.
pub const STATE_RESET: u64 = 1 << 8;
/// What times the record out: neither of these bits is any other protocol.
pub const STATE_TCP: u64 = 1 << 9;
pub const STATE_UDP: u64 = 1 << 10;

/// Number of the record's current use: never 0, and another one for the next flow.
#[inline(always)]
pub const fn state_generation(state: u64) -> u64 {
    state >> 16 & 0xffff
}

/// Coarse monotonic seconds of the last packet that refreshed the record.
#[inline(always)]
pub const fn state_seen_s(state: u64) -> u32 {
    (state >> 32) as u32
}

/// A state from its parts.
#[inline(always)]
pub const fn state(seen_s: u32, generation: u64, bits: u64) -> u64 {
    (seen_s as u64) << 32 | (generation & 0xffff) << 16 | bits & 0xffff
}

/// Bits of an entry, a word of [`crate::map::FLOW_INDEX`], above which it has the hash of the tuple.
pub const ENTRY_TAG_SHIFT: u32 = 41;
/// The bit that every entry has, and a free word has not.
pub const ENTRY_USED_SHIFT: u32 = 23;

/// An entry of the index: where the tuple of direction `way` (0 the opener's) of a record's current use is. A free one is 0.
#[inline(always)]
pub const fn entry(hash: u64, way: u32, generation: u64, number: u32) -> u64 {
    (hash >> ENTRY_TAG_SHIFT) << ENTRY_TAG_SHIFT
        | (way as u64) << 40
        | (generation & 0xffff) << 24
        | 1 << ENTRY_USED_SHIFT
        | number as u64
}

/// The direction of an entry.
#[inline(always)]
pub const fn entry_way(entry: u64) -> u32 {
    (entry >> 40) as u32 & 1
}

/// The use of the record that an entry is of.
#[inline(always)]
pub const fn entry_generation(entry: u64) -> u64 {
    entry >> 24 & 0xffff
}

/// The record of an entry.
#[inline(always)]
pub const fn entry_number(entry: u64) -> u32 {
    entry as u32 & 0x7f_ffff
}

/// The only value of `FLOW_RUN` (ARRAY of one), by which measurements tell the program that they run what to do.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowRun {
    /// `RUN_*`.
    pub what: u32,
    /// Number of the next run.
    pub next: u32,
    /// How many flows there are, visited in an order that no cache foresees; 0: flows are numbered as the runs are.
    pub flows: u32,
    /// 1: every other flow is looked up by its reply's tuple.
    pub ways: u32,
    /// Coarse monotonic seconds.
    pub now_s: u32,
    /// Runs that did what was asked, counted by the program.
    pub good: u32,
}

/// [`FlowRun::what`]: nothing, to be taken off.
pub const RUN_NOTHING: u32 = 0;
/// Find a flow, and refresh it as packets do.
pub const RUN_LOOK: u32 = 1;
/// Find a key in an LRU hash map.
pub const RUN_HASH_LOOK: u32 = 2;
/// Make a flow.
pub const RUN_MAKE: u32 = 3;
/// The same, and let both ends have answered.
pub const RUN_ESTABLISH: u32 = 4;
/// Insert a key of each direction into an LRU hash map.
pub const RUN_HASH_MAKE: u32 = 5;

const _: () = {
    assert!(size_of::<FlowRecord>() == 96);
    assert!(FLOW_BITS_MAX <= ENTRY_USED_SHIFT);
};
