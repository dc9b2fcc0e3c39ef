//! The flow table: one record a connection, found by the tuple of either direction.
//!
//! A record's state is one word, changed by compare and swap only, and it alone decides: who swaps it to [`STATE_BUSY`] owns the
//! record until it is [`STATE_USED`], and from then on the record itself is never written until somebody swaps the state again.
//! Readers take what they copied only if the state's generation is the same afterwards. Nothing sweeps: a new flow looks at
//! [`make::CLAIM_LINES`] lines of states, which its hash names, and takes the record of a flow that is over, or else of the one that nobody
//! has answered for the longest time. A record whose opener has answered a reply is never taken before its time.
//!
//! No two living flows have a tuple in common. A writer puts its entries into the index first and then looks for others with the
//! same tuples: of two writers at least one sees the other. It withdraws before a valid one and before one of a lower record; one
//! of a higher record it dooms, which that one learns when it wants to become valid. The lowest of several therefore wins or
//! meets a valid one, and never two of them.

pub mod make;

use abi::{
    Addr, Be16, FlowKey,
    flow::{
        ENTRY_TAG_SHIFT, FLOW_LINE, FLOW_NOWHERE, STATE_BUSY, STATE_DOOMED, STATE_FIN_OPENER, STATE_FIN_OTHER,
        STATE_RESET, STATE_SURE, STATE_TCP, STATE_UDP, STATE_USED, entry_generation, entry_number, entry_way,
        flow_buckets, state, state_generation, state_seen_s,
    },
};

pub use self::make::make;
use crate::{parse::join, service};

/// Idle times after which a record is over (RFC 5382 section 5, RFC 4787 section 4.3, RFC 5508 section 3.2).
pub const TCP_IDLE_S: u32 = 7_440;
pub const UDP_IDLE_S: u32 = 120;
pub const OTHER_IDLE_S: u32 = 60;
/// Of a TCP connection that is not established yet, or that one end has closed (RFC 5382 section 5).
pub const TRANSIT_IDLE_S: u32 = 240;
/// Once an RST or both FINs were seen.
pub const CLOSING_IDLE_S: u32 = 10;
/// Words of a record: a tuple's, and after the two tuples the backend, the flags, and the places in the index.
const KEY_WORDS: usize = 10;
const BACKEND: usize = 2 * KEY_WORDS;
const FLAGS: usize = BACKEND + 1;
const AT: usize = BACKEND + 2;

/// The words that all CPUs share. Loads and stores of one word are whole and in order, as x86 has them (another machine would need barriers
/// in [`Cells::load`] and [`Cells::word`]); a swap is a full barrier.
pub trait Cells {
    /// A line of [`FLOW_LINE`] words.
    type Line: Copy;
    /// A record.
    type Record: Copy;

    /// Logarithm of the number of records.
    fn flow_bits(&self) -> u32;
    /// Makes tuples' places unpredictable.
    fn flow_seed(&self) -> u32;
    /// A line of the index, below [`flow_buckets`].
    fn bucket(&self, number: u32) -> Option<Self::Line>;
    /// A line of states, below [`flow_state_lines`].
    fn states(&self, number: u32) -> Option<Self::Line>;
    fn load(&self, line: Self::Line, slot: u32) -> u64;
    /// Replaces a word if it is still `old`; `false` if it is not.
    fn swap(&self, line: Self::Line, slot: u32, old: u64, new: u64) -> bool;
    fn record(&self, number: u32) -> Option<Self::Record>;
    /// A word of [`abi::flow::FlowRecord`], below 24.
    fn word(&self, record: Self::Record, index: usize) -> u32;
    fn set_word(&self, record: Self::Record, index: usize, value: u32);

    /// Not zero if the tuple that begins at a word of the record is another. Without a branch, since each would be another path to the
    /// verifier.
    #[inline(always)]
    fn differs(&self, record: Self::Record, from: usize, key: &FlowKey) -> u32 {
        let (word, mut index) = (|index: usize| self.word(record, from + index), 0);
        let mut apart = word(8) ^ join(key.sport, key.dport) | word(9) ^ u32::from_ne_bytes([key.proto, 0, 0, 0]);
        while index < 4 {
            apart |= word(index) ^ key.src.0[index] | word(4 + index) ^ key.dst.0[index];
            index += 1;
        }
        apart
    }
}

/// Where making a record may be cut into functions, as in [`crate::Steps`].
pub trait Cuts: Cells + Sized {
    /// [`read`].
    #[inline(always)]
    fn read(&self, entry: u64, key: &FlowKey, found: &mut Flow) -> bool {
        read(self, entry, key, found)
    }

    /// [`make::claim`].
    #[inline(always)]
    fn claim(&self, hash: u64, class: u64, now_s: u32) -> u32 {
        make::claim(self, hash, class, now_s)
    }

    /// [`make::claim_line`].
    #[inline(always)]
    fn claim_line(&self, line: u32, class: u64, now_s: u32) -> u64 {
        make::claim_line(self, line, class, now_s)
    }

    /// [`make::rank`].
    #[inline(always)]
    fn rank(&self, state: u64, now_s: u32) -> u32 {
        make::rank(state, now_s)
    }

    /// [`make::take`].
    #[inline(always)]
    fn take(&self, number: u32, old: u64, class: u64, now_s: u32) -> bool {
        make::take(self, number, old, class, now_s)
    }

    /// [`make::publish`].
    #[inline(always)]
    fn publish(&self, hash: u64, number: u32, way: u32) -> bool {
        make::publish(self, hash, number, way)
    }

    /// [`make::is_alone`].
    #[inline(always)]
    fn is_alone(&self, key: &FlowKey, number: u32, now_s: u32) -> bool {
        make::is_alone(self, key, number, now_s)
    }

    /// [`make::gives_way`].
    #[inline(always)]
    fn gives_way(&self, entry: u64, key: &FlowKey, number: u32, now_s: u32) -> bool {
        make::gives_way(self, entry, key, number, now_s)
    }
}

/// What the table says about a packet's tuple: what the packet becomes, and the record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flow {
    pub src: Addr,
    pub dst: Addr,
    pub sport: Be16,
    pub dport: Be16,
    /// Backend id, 0 if the flow is only masqueraded.
    pub backend: u32,
    /// Those of [`abi::flow::FlowRecord`].
    pub flags: u32,
    /// The packet's direction: 0 that of the opener.
    pub way: u32,
    pub number: u32,
    /// The record's state when it was read.
    pub state: u64,
}

impl Flow {
    /// Whether the packet goes to the connection's opener.
    #[inline(always)]
    pub fn is_reply(&self) -> bool {
        self.way != 0
    }
}

/// What came of the wish for a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Made {
    /// The record stands.
    New,
    /// The same, and it was that of a flow that nobody had answered.
    Replaced,
    /// Another flow has the reply's tuple.
    Taken,
    /// Another flow has the packet's tuple: most likely this flow's record was made on another CPU.
    Known,
    /// Every record that it may have is of a living flow.
    Full,
}

/// Finds the record of a tuple, also one that is over.
#[inline(always)]
pub fn look<C: Cuts>(c: &C, key: &FlowKey, found: &mut Flow) -> bool {
    let hash = service::wide_hash(key, c.flow_seed());
    let mut turn = 0;
    while turn < 2 {
        let Some(line) = c.bucket(bucket(hash, turn, c.flow_bits())) else { return false };
        let mut slot = 0;
        while slot < FLOW_LINE {
            let entry = c.load(line, slot);
            if (entry ^ hash) >> ENTRY_TAG_SHIFT == 0 && c.read(entry, key, found) {
                return true;
            }
            slot += 1;
        }
        turn += 1;
    }
    false
}

/// Copies the record of an entry if it is valid and has the tuple.
#[inline(always)]
pub fn read<C: Cells>(c: &C, entry: u64, key: &FlowKey, found: &mut Flow) -> bool {
    let number = entry_number(entry);
    let Some(line) = c.states(number / FLOW_LINE) else { return false };
    let Some(record) = c.record(number) else { return false };
    let state = c.load(line, number % FLOW_LINE);
    if state & STATE_USED == 0 || state_generation(state) != entry_generation(entry) {
        return false;
    }
    let way = entry_way(entry);
    if c.differs(record, KEY_WORDS * way as usize, key) != 0 {
        return false;
    }
    let from = KEY_WORDS * (way as usize ^ 1);
    let word = |index: usize| c.word(record, from + index);
    found.dst = Addr([word(0), word(1), word(2), word(3)]);
    found.src = Addr([word(4), word(5), word(6), word(7)]);
    (found.dport, found.sport) = crate::parse::split(word(8));
    found.backend = c.word(record, BACKEND);
    found.flags = c.word(record, FLAGS);
    found.way = way;
    found.number = number;
    found.state = state;
    let after = c.load(line, number % FLOW_LINE);
    after & STATE_USED != 0 && state_generation(after) == state_generation(state)
}

/// Ends a flow whose state is still `state`; `false` if it is not, because it had a packet meanwhile or is another's record.
#[inline(always)]
pub fn end<C: Cells>(c: &C, number: u32, state: u64) -> bool {
    let busy = state ^ STATE_USED ^ STATE_BUSY;
    if state & STATE_USED == 0 || !change(c, number, state, busy) {
        return false;
    }
    withdraw(c, number, busy);
    true
}

/// Notes that a packet was seen, and `marks` of its flow. Another CPU's note may win: then that one counts.
#[inline(always)]
pub fn touch<C: Cells>(c: &C, flow: &mut Flow, marks: u64, now_s: u32) {
    let new = state(now_s, state_generation(flow.state), flow.state | marks);
    if change(c, flow.number, flow.state, new) {
        flow.state = new;
    }
}

/// Replaces the state of a record if it is still `old`.
#[inline(always)]
fn change<C: Cells>(c: &C, number: u32, old: u64, new: u64) -> bool {
    let Some(line) = c.states(number / FLOW_LINE) else { return false };
    c.swap(line, number % FLOW_LINE, old, new)
}

/// Seconds since a record was refreshed. The clock of another CPU may be ahead.
#[inline(always)]
pub fn age_s(state: u64, now_s: u32) -> u32 {
    let age = now_s.wrapping_sub(state_seen_s(state));
    if age > u32::MAX / 2 { 0 } else { age }
}

/// Seconds without a packet after which a record is over.
#[inline(always)]
pub fn idle_s(state: u64) -> u32 {
    let fins = STATE_FIN_OPENER | STATE_FIN_OTHER;
    if state & STATE_RESET != 0 || state & fins == fins {
        CLOSING_IDLE_S
    } else if state & STATE_TCP == 0 {
        if state & STATE_UDP != 0 { UDP_IDLE_S } else { OTHER_IDLE_S }
    } else if state & STATE_SURE == 0 || state & fins != 0 {
        TRANSIT_IDLE_S
    } else {
        TCP_IDLE_S
    }
}

/// Whether a valid record is over.
#[inline(always)]
pub fn is_over(state: u64, now_s: u32) -> bool {
    age_s(state, now_s) > idle_s(state)
}

/// The two lines of the index where a tuple may be.
#[inline(always)]
fn bucket(hash: u64, turn: u32, bits: u32) -> u32 {
    (hash >> (20 * turn)) as u32 & (flow_buckets(bits) - 1)
}

/// Gives an owned record back.
#[inline(always)]
fn withdraw<C: Cells>(c: &C, number: u32, busy: u64) {
    let generation = state_generation(busy);
    clear(c, number, generation);
    let free = state(0, generation, 0);
    if !change(c, number, busy, free) {
        change(c, number, busy | STATE_DOOMED, free);
    }
}

/// Takes one use of a record, which the caller owns, out of the index.
#[inline(always)]
fn clear<C: Cells>(c: &C, number: u32, generation: u64) {
    let Some(record) = c.record(number) else { return };
    let mut way = 0;
    while way < 2 {
        let at = c.word(record, AT + way);
        if at != FLOW_NOWHERE
            && let Some(line) = c.bucket(at / FLOW_LINE)
        {
            let entry = c.load(line, at % FLOW_LINE);
            if entry_number(entry) == number && entry_generation(entry) == generation {
                c.swap(line, at % FLOW_LINE, entry, 0);
            }
        }
        way += 1;
    }
}
