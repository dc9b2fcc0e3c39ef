//! Carrying the flows of one table over into another, of any size. Both may be in use meanwhile.

use abi::{
    FlowKey,
    flow::{
        FlowRecord, STATE_FIN_OPENER, STATE_FIN_OTHER, STATE_REPLIED, STATE_RESET, STATE_SURE, STATE_USED,
        flow_records, state, state_generation, state_seen_s,
    },
};

use super::table::record;
use crate::{
    Cells, Flow,
    flows::{self, Cuts, Made, age_s},
};

/// What a packet leaves in a state.
const MARKS: u64 = STATE_REPLIED | STATE_SURE | STATE_FIN_OPENER | STATE_FIN_OTHER | STATE_RESET;
/// Packets that may change a state while it is brought up to date, before they are left to have the last word.
const TRIES: u32 = 8;

/// What became of the flows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Carried {
    /// The other table has them.
    pub kept: u32,
    /// It has no room for them, or somebody else has a tuple of theirs there by now.
    pub lost: u32,
}

/// Makes every flow of `from` that is not over one of `to` as well, or brings it up to date there. If there is not room for all, those that
/// both ends have confirmed go before others, and those that had a packet lately before those that had none.
pub fn carry<A: Cells, B: Cuts>(from: &A, to: &B, now_s: u32) -> Carried {
    let living = |number: u32| {
        let state = valid(from, number)?;
        (!flows::is_over(state, now_s)).then_some((state & STATE_SURE != 0, age_s(state, now_s), number))
    };
    let mut order: Vec<(bool, u32, u32)> = (0..flow_records(from.flow_bits())).filter_map(living).collect();
    // The unconfirmed first, since whoever comes after them may take their place; of them the last to come stay. Of the confirmed
    // the first to come do.
    order.sort_unstable_by_key(|(sure, age, number)| (*sure, if *sure { *age } else { u32::MAX - age }, *number));
    let mut carried = Carried::default();
    for (.., number) in order {
        // It may have ended meanwhile.
        let Some((record, state)) = whole(from, number) else { continue };
        match put(to, &record, state, now_s) {
            Made::New | Made::Known => carried.kept += 1,
            Made::Replaced | Made::Taken | Made::Full => carried.lost += 1,
        }
    }
    carried
}

/// The state of a record, if it is valid.
fn valid<C: Cells>(c: &C, number: u32) -> Option<u64> {
    let state = c.load(c.states(number / abi::flow::FLOW_LINE)?, number % abi::flow::FLOW_LINE);
    (state & STATE_USED != 0).then_some(state)
}

/// A record and its state, if the record was the state's all the while.
fn whole<C: Cells>(c: &C, number: u32) -> Option<(FlowRecord, u64)> {
    let before = valid(c, number)?;
    let record = record(c, c.record(number)?);
    let after = valid(c, number)?;
    (state_generation(before) == state_generation(after)).then_some((record, after))
}

/// Puts a flow into a table: [`Made::Known`] if it is there already.
fn put<C: Cuts>(to: &C, flow: &FlowRecord, state: u64, now_s: u32) -> Made {
    let mut found = Flow::default();
    if flows::look(to, &flow.keys[0], &mut found) {
        if !is_of(&found, flow) {
            return Made::Taken;
        }
        update(to, &flow.keys[0], state, false);
        return Made::Known;
    }
    let made = flows::make(to, flow, now_s);
    if matches!(made, Made::New | Made::Replaced) {
        update(to, &flow.keys[0], state, true);
    }
    // Another has one of its tuples.
    if made == Made::Known { Made::Taken } else { made }
}

/// Whether what was found by the opener's tuple is this flow.
fn is_of(found: &Flow, flow: &FlowRecord) -> bool {
    let other = &flow.keys[1];
    let addresses = found.dst == other.src && found.src == other.dst;
    let ports = found.dport == other.sport && found.sport == other.dport;
    found.way == 0 && addresses && ports && found.backend == flow.backend
}

/// Adds what an old state says to the flow's own. The time of a `fresh` one, which is when it was copied, is replaced; else the later
/// counts.
fn update<C: Cuts>(to: &C, opener: &FlowKey, old: u64, fresh: bool) {
    let mut fresh = fresh;
    for _ in 0..TRIES {
        let mut found = Flow::default();
        if !flows::look(to, opener, &mut found) {
            return;
        }
        let behind = fresh || age_s(found.state, state_seen_s(old)) > 0;
        let seen_s = state_seen_s(if behind { old } else { found.state });
        let wanted = state(seen_s, state_generation(found.state), found.state | old & MARKS);
        if found.state != wanted {
            flows::touch(to, &mut found, old & MARKS, seen_s);
        }
        if found.state == wanted {
            return;
        }
        // A packet came between.
        fresh = false;
    }
}
