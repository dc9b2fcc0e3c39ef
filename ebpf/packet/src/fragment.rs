//! Ports of fragments: only the first one carries them, so they are remembered for the rest of the datagram.

use abi::{FragmentKey, FragmentValue};

use crate::{
    Tables,
    parse::{Kind, Packet, Part},
};

/// Completes the tuple of a fragment. `None`: a later fragment came without its first one having been seen.
#[inline(always)]
pub fn complete<T: Tables>(t: &T, p: &mut Packet) -> Option<()> {
    if p.part == Part::Whole {
        return Some(());
    }
    let key = FragmentKey { src: p.tuple.src, dst: p.tuple.dst, id: p.id, proto: p.tuple.proto, pad: [0; 3] };
    if p.part == Part::First {
        if p.kind == Kind::Ports || p.kind == Kind::Echo {
            t.set_fragment(&key, &FragmentValue { sport: p.tuple.sport, dport: p.tuple.dport });
        }
        return Some(());
    }
    let ports = t.fragment(&key)?;
    p.tuple.sport = ports.sport;
    p.tuple.dport = ports.dport;
    Some(())
}
