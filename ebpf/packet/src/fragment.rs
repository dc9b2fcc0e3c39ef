//! Ports of fragments: only the first one carries them, so they are remembered for the rest of the datagram.

use abi::FragmentValue;

use crate::{
    Scratch, Tables,
    parse::{Kind, Part},
};

/// Completes the tuple of a fragment. `false`: a later fragment came without its first one having been seen.
#[inline(always)]
pub fn complete<T: Tables>(t: &T, s: &mut Scratch) -> bool {
    let (p, key) = (&mut s.packet, &mut s.fragment);
    if p.part == Part::Whole {
        return true;
    }
    key.src = p.tuple.src;
    key.dst = p.tuple.dst;
    key.id = p.id;
    key.proto = p.tuple.proto;
    if p.part == Part::First {
        if p.kind == Kind::Ports || p.kind == Kind::Echo {
            t.set_fragment(key, &FragmentValue { sport: p.tuple.sport, dport: p.tuple.dport });
        }
        return true;
    }
    let Some(ports) = t.fragment(key) else { return false };
    p.tuple.sport = ports.sport;
    p.tuple.dport = ports.dport;
    true
}
