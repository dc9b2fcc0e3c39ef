//! Making a record: claim one, write it, put it into the index, look for rivals, and let it be valid. See [`super`].

use abi::{
    FlowKey, IPPROTO_TCP, IPPROTO_UDP,
    flow::{
        ENTRY_TAG_SHIFT, ENTRY_USED_SHIFT, FLOW_LINE, FLOW_NOWHERE, FlowRecord, STATE_BUSY, STATE_DOOMED, STATE_SURE,
        STATE_TCP, STATE_UDP, STATE_USED, entry, entry_generation, entry_number, entry_way, flow_state_lines, state,
        state_generation,
    },
};

use super::{AT, BACKEND, Cells, Cuts, FLAGS, KEY_WORDS, Made, age_s, bucket, change, clear, end, is_over, withdraw};
use crate::{parse::join, service};

/// Lines of states that a new flow looks at before it is refused, and those after which an unanswered flow's record will do.
pub const CLAIM_LINES: u32 = 16;
pub const CLAIM_LINES_FLOODED: u32 = 4;

/// Of a record whose flow is over, and of a free one.
pub const RANK_OVER: u32 = u32::MAX;
/// Set in what [`claim`] gives if nobody had answered the flow that had the record.
pub const REPLACED: u32 = 1 << 31;

/// Makes a record with the tuples and the backend of `draft`.
#[inline(always)]
pub fn make<C: Cuts>(c: &C, draft: &FlowRecord, now_s: u32) -> Made {
    let seed = c.flow_seed();
    let [opener, other] = &draft.keys;
    let hash = service::wide_hash(opener, seed);
    let claimed = c.claim(hash, class(opener.proto), now_s);
    if claimed == FLOW_NOWHERE {
        return Made::Full;
    }
    let number = claimed & !REPLACED;
    let Some(line) = c.states(number / FLOW_LINE) else { return Made::Full };
    let busy = c.load(line, number % FLOW_LINE) & !STATE_DOOMED;
    write(c, number, draft);
    let mut made = if claimed & REPLACED != 0 { Made::Replaced } else { Made::New };
    if !c.publish(hash, number, 0) || !c.publish(service::wide_hash(other, seed), number, 1) {
        made = Made::Full;
    } else if !c.is_alone(opener, number, now_s) {
        made = Made::Known;
    } else if !c.is_alone(other, number, now_s) || !change(c, number, busy, busy ^ STATE_BUSY ^ STATE_USED) {
        made = Made::Taken;
    }
    if !matches!(made, Made::New | Made::Replaced) {
        withdraw(c, number, busy);
    }
    made
}

/// What times a protocol's records out.
#[inline(always)]
fn class(proto: u8) -> u64 {
    if proto == IPPROTO_TCP {
        STATE_TCP
    } else if proto == IPPROTO_UDP {
        STATE_UDP
    } else {
        0
    }
}

/// Takes a record that is free, over, or unanswered for the longest time among those that the hash names. Its number, perhaps with
/// [`REPLACED`], or [`FLOW_NOWHERE`].
#[inline(always)]
pub fn claim<C: Cuts>(c: &C, hash: u64, class: u64, now_s: u32) -> u32 {
    let mask = flow_state_lines(c.flow_bits()) - 1;
    let stride = (hash >> 10) as u32 | 1;
    let mut at = (hash >> 32) as u32;
    let mut best = 0;
    let mut turn = 0;
    while turn < CLAIM_LINES && !(turn >= CLAIM_LINES_FLOODED && best != 0) {
        let found = c.claim_line(at & mask, class, now_s);
        if (found >> 32) as u32 == RANK_OVER {
            return found as u32;
        }
        best = if found > best { found } else { best };
        at = at.wrapping_add(stride);
        turn += 1;
    }
    let number = best as u32;
    let Some(line) = c.states(number / FLOW_LINE) else { return FLOW_NOWHERE };
    let state = c.load(line, number % FLOW_LINE);
    // It may have had its answer meanwhile.
    if best != 0 && c.rank(state, now_s) != 0 && c.take(number, state, class, now_s) {
        number | REPLACED
    } else {
        FLOW_NOWHERE
    }
}

/// Takes the first record of a line that is free or over: its number, below [`RANK_OVER`] in the high half. If there is none, the
/// highest rank and its record's number.
#[inline(always)]
pub fn claim_line<C: Cuts>(c: &C, line: u32, class: u64, now_s: u32) -> u64 {
    let Some(states) = c.states(line) else { return 0 };
    let (mut slot, mut best) = (0, 0);
    while slot < FLOW_LINE {
        let number = line * FLOW_LINE + slot;
        let state = c.load(states, slot);
        let rank = c.rank(state, now_s);
        let found = (rank as u64) << 32 | number as u64;
        if rank == RANK_OVER {
            if c.take(number, state, class, now_s) {
                return found;
            }
        } else if rank != 0 && found > best {
            best = found;
        }
        slot += 1;
    }
    best
}

/// How soon a record may be another flow's: at once, [`RANK_OVER`]; never, 0; else the sooner the higher.
#[inline(always)]
pub fn rank(state: u64, now_s: u32) -> u32 {
    let over = state & STATE_USED == 0 || is_over(state, now_s);
    if state & STATE_BUSY != 0 {
        0
    } else if over {
        RANK_OVER
    } else if state & STATE_SURE != 0 {
        0
    } else {
        1 + age_s(state, now_s)
    }
}

/// Makes the caller the owner of a record whose state is still `old`, under its next generation, and takes the flow before out of
/// the index.
#[inline(always)]
pub fn take<C: Cells>(c: &C, number: u32, old: u64, class: u64, now_s: u32) -> bool {
    let next = state_generation(old) + 1 & 0xffff;
    let generation = if next == 0 { 1 } else { next };
    if !change(c, number, old, state(now_s, generation, STATE_BUSY | class)) {
        return false;
    }
    if old & STATE_USED != 0 {
        clear(c, number, state_generation(old));
    }
    true
}

/// Writes a record that is owned. It has no place in the index yet.
#[inline(always)]
fn write<C: Cells>(c: &C, number: u32, draft: &FlowRecord) {
    let Some(record) = c.record(number) else { return };
    let mut way = 0;
    while way < 2 {
        let (key, from) = (&draft.keys[way], KEY_WORDS * way);
        let mut word = 0;
        while word < 4 {
            c.set_word(record, from + word, key.src.0[word]);
            c.set_word(record, from + 4 + word, key.dst.0[word]);
            word += 1;
        }
        c.set_word(record, from + 8, join(key.sport, key.dport));
        c.set_word(record, from + 9, u32::from_ne_bytes([key.proto, 0, 0, 0]));
        c.set_word(record, AT + way, FLOW_NOWHERE);
        way += 1;
    }
    c.set_word(record, BACKEND, draft.backend);
    c.set_word(record, FLAGS, draft.flags);
}

/// Puts the tuple of one direction of an owned record into the index: into the first of its two lines as long as that has room, since look-ups
/// begin there, else into the emptier one. `false` if both are full.
#[inline(always)]
pub fn publish<C: Cells>(c: &C, hash: u64, number: u32, way: u32) -> bool {
    let (Some(record), Some(states)) = (c.record(number), c.states(number / FLOW_LINE)) else { return false };
    let bits = c.flow_bits();
    let (first, second) = (bucket(hash, 0, bits), bucket(hash, 1, bits));
    let room = free(c, first);
    let chosen = if room > FLOW_LINE / 4 || room >= free(c, second) { first } else { second };
    let Some(line) = c.bucket(chosen) else { return false };
    let new = entry(hash, way, state_generation(c.load(states, number % FLOW_LINE)), number);
    let mut slot = 0;
    while slot < FLOW_LINE {
        if c.load(line, slot) == 0 && c.swap(line, slot, 0, new) {
            c.set_word(record, AT + (way & 1) as usize, chosen * FLOW_LINE + slot);
            return true;
        }
        slot += 1;
    }
    false
}

/// Free words in a line of the index. Without a branch: eight of them are 256 paths to the verifier.
#[inline(always)]
fn free<C: Cells>(c: &C, number: u32) -> u32 {
    let Some(line) = c.bucket(number) else { return 0 };
    let (mut slot, mut free) = (0, FLOW_LINE);
    while slot < FLOW_LINE {
        free -= (c.load(line, slot) >> ENTRY_USED_SHIFT) as u32 & 1;
        slot += 1;
    }
    free
}

/// Whether no other flow has the tuple, which is in the index for the caller's record. Others that are over, or that came later, are
/// made to go.
#[inline(always)]
pub fn is_alone<C: Cuts>(c: &C, key: &FlowKey, number: u32, now_s: u32) -> bool {
    let hash = service::wide_hash(key, c.flow_seed());
    let mut turn = 0;
    while turn < 2 {
        let Some(line) = c.bucket(bucket(hash, turn, c.flow_bits())) else { return false };
        let mut slot = 0;
        while slot < FLOW_LINE {
            let entry = c.load(line, slot);
            if (entry ^ hash) >> ENTRY_TAG_SHIFT == 0 && !c.gives_way(entry, key, number, now_s) {
                return false;
            }
            slot += 1;
        }
        turn += 1;
    }
    true
}

/// Whether the flow of an entry is none, another tuple's, the caller's, or made to go.
#[inline(always)]
pub fn gives_way<C: Cells>(c: &C, entry: u64, key: &FlowKey, own: u32, now_s: u32) -> bool {
    let number = entry_number(entry);
    let (Some(line), Some(record)) = (c.states(number / FLOW_LINE), c.record(number)) else { return true };
    let slot = number % FLOW_LINE;
    let state = c.load(line, slot);
    if number == own || is_gone(state, entry) || c.differs(record, KEY_WORDS * entry_way(entry) as usize, key) != 0 {
        return true;
    }
    if state & STATE_BUSY == 0 {
        return is_over(state, now_s) && end(c, number, state);
    }
    if number < own {
        return false;
    }
    // If it is not doomed by this, it has become valid or has withdrawn.
    c.swap(line, slot, state, state | STATE_DOOMED) || is_gone(c.load(line, slot), entry)
}

/// Whether an entry is of no flow, or of one that withdraws.
#[inline(always)]
fn is_gone(state: u64, entry: u64) -> bool {
    state & (STATE_USED | STATE_BUSY) == 0
        || state & STATE_DOOMED != 0
        || state_generation(state) != entry_generation(entry)
}
