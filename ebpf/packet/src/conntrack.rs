//! Flow records: two for each translated connection, made together by the first packet of the forward direction.

use abi::{
    Addr, BACKEND_ALIVE, BACKEND_DRAINING, Backend, Be16, Config, Counter, FLOW_CLOSING, FLOW_REPLY, FlowKey,
    FlowValue, IPPROTO_TCP, IPPROTO_UDP,
};

use crate::{
    Scratch, Tables,
    nat::{difference, reverse},
    parse::{Kind, Packet},
    service,
};

/// A record is written again when it was last seen this many seconds ago.
pub const REFRESH_S: u32 = 8;
/// Idle times after which a record may be taken over (RFC 5382 section 5, RFC 4787 section 4.3, RFC 5508 section 3.2).
pub const TCP_IDLE_S: u32 = 7_440;
pub const UDP_IDLE_S: u32 = 120;
pub const OTHER_IDLE_S: u32 = 60;
/// The same once a FIN or RST was seen.
pub const CLOSING_IDLE_S: u32 = 10;
/// Source ports tried for a new translation before the packet is dropped.
pub const PORT_TRIES: u32 = 32;

/// What a record says about a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// Rewrite to [`Scratch::to`].
    Use,
    /// A new connection: no record, or one that is over.
    New,
    /// A segment of a connection whose backend is gone.
    Gone,
}

/// Finds the record of a packet, refreshes it and notes the end of the connection.
#[inline(always)]
pub fn find<T: Tables>(t: &T, s: &mut Scratch) -> Found {
    let p = &s.packet;
    if !t.flow(&p.tuple, &mut s.to) {
        return Found::New;
    }
    let now = t.now_s();
    let age = now.wrapping_sub(s.to.seen_s);
    if s.to.flags & FLOW_REPLY == 0 {
        match judge(t, p, &s.to, &mut s.backend, age) {
            Found::Use => {}
            Found::Gone => return Found::Gone,
            Found::New => {
                forget(t, s);
                return Found::New;
            }
        }
    }
    let closing = p.is_closing() && s.to.flags & FLOW_CLOSING == 0;
    if closing || age >= REFRESH_S {
        s.to.seen_s = now;
        if closing {
            s.to.flags |= FLOW_CLOSING;
        }
        t.set_flow(&p.tuple, &s.to);
        if closing {
            reverse(&mut s.key, &s.to, p.tuple.proto);
            if t.flow(&s.key, &mut s.back) {
                s.back.flags |= FLOW_CLOSING;
                s.back.seen_s = now;
                t.set_flow(&s.key, &s.back);
            }
        }
    }
    Found::Use
}

/// Whether a record of the forward direction still holds.
#[inline(always)]
fn judge<T: Tables>(t: &T, p: &Packet, flow: &FlowValue, b: &mut Backend, age_s: u32) -> Found {
    let syn = p.is_syn();
    if syn && flow.flags & FLOW_CLOSING != 0 {
        return Found::New;
    }
    if flow.backend == 0 {
        return Found::Use;
    }
    // A number may have been given to another backend since.
    let alive = t.backend(flow.backend, b)
        && b.flags & BACKEND_ALIVE != 0
        && difference(&b.addr, &flow.dst) | (b.port.0 ^ flow.dport.0) as u32 == 0;
    let draining = alive && b.flags & BACKEND_DRAINING != 0;
    let tcp = p.tuple.proto == IPPROTO_TCP;
    if !alive && tcp && !syn {
        return Found::Gone;
    }
    if !alive || draining && syn || !tcp && age_s > UDP_IDLE_S {
        return Found::New;
    }
    Found::Use
}

/// Takes away the record that was found, in both directions.
#[inline(always)]
pub fn forget<T: Tables>(t: &T, s: &mut Scratch) {
    reverse(&mut s.key, &s.to, s.packet.tuple.proto);
    t.remove_flow(&s.key);
    t.remove_flow(&s.packet.tuple);
}

/// Where a new flow is to go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Target {
    pub dst: Addr,
    pub dport: Be16,
    /// Backend id, 0 for none.
    pub backend: u32,
    /// New source address, [`Addr::ANY`] to keep the packet's.
    pub snat: Addr,
    /// `FLOW_*` bits for both records.
    pub flags: u32,
    /// The source port comes from the node's range; else the packet's own is tried first.
    pub from_range: bool,
}

/// Whether answers to a packet that nothing translates would be taken for those of a translated flow: the client's port serves, or
/// has just served, for a Service with the same backend. Such a connection needs records of its own.
#[inline(always)]
pub fn is_answer_taken<T: Tables>(t: &T, p: &Packet, key: &mut FlowKey, found: &mut FlowValue) -> bool {
    key.src = p.tuple.dst;
    key.dst = p.tuple.src;
    key.sport = p.tuple.dport;
    key.dport = p.tuple.sport;
    key.proto = p.tuple.proto;
    t.flow(key, found) && found.flags & FLOW_REPLY != 0
}

/// Makes both records of a new flow to [`Scratch::target`]; [`Scratch::to`] is what the packet is to be rewritten to. If it cannot,
/// [`Scratch::refused`] says why.
#[inline(always)]
pub fn open<T: Tables>(t: &T, cfg: &Config, s: &mut Scratch) -> bool {
    let (tuple, target) = (&s.packet.tuple, &s.target);
    let (proto, echo) = (tuple.proto, s.packet.kind == Kind::Echo);
    let now = t.now_s();
    s.to.src = if difference(&target.snat, &Addr::ANY) == 0 { tuple.src } else { target.snat };
    s.to.dst = target.dst;
    s.to.sport = tuple.sport;
    s.to.dport = target.dport;
    s.to.backend = target.backend;
    s.to.seen_s = now;
    s.to.flags = target.flags;
    s.back.src = tuple.dst;
    s.back.dst = tuple.src;
    s.back.sport = tuple.dport;
    s.back.dport = tuple.sport;
    s.back.backend = target.backend;
    s.back.seen_s = now;
    s.back.flags = target.flags | FLOW_REPLY;
    if difference(&s.to.src, &s.to.dst) == 0 {
        // Only a forged source does: a pod that is its own backend gets another one.
        s.refused = Counter::DropSpoofed;
        return false;
    }
    let fixed = s.packet.kind != Kind::Ports && !echo;
    if fixed && target.dport != tuple.dport {
        s.refused = Counter::DropUnsupported;
        return false;
    }
    let from_range = target.from_range;
    let start = service::hash(tuple, cfg.seed ^ 0x5bd1_e995);
    let range = (cfg.snat_max as u32).wrapping_sub(cfg.snat_min as u32).wrapping_add(1) & 0xffff;
    for i in 0..PORT_TRIES {
        if i > 0 && fixed {
            break;
        }
        if (from_range || i > 0) && !fixed {
            // Each try steps by the golden ratio of 2^32, so that the tries spread evenly over the range.
            let number = start.wrapping_add(i.wrapping_mul(0x9e37_79b9));
            let offset = ((number as u64).wrapping_mul(range as u64) >> 32) as u32;
            s.to.sport = Be16::new((cfg.snat_min as u32).wrapping_add(offset) as u16);
            if echo {
                s.to.dport = s.to.sport;
            }
        }
        reverse(&mut s.key, &s.to, proto);
        if claim(t, s, now) {
            if t.set_flow(&s.packet.tuple, &s.to) {
                t.count(Counter::NewFlow);
                return true;
            }
            t.remove_flow(&s.key);
            s.refused = Counter::DropFlowTable;
            return false;
        }
    }
    s.refused = Counter::DropNoNatPort;
    false
}

/// Takes the reply tuple `s.key` for `s.back`, unless a living flow has it.
#[inline(always)]
fn claim<T: Tables>(t: &T, s: &mut Scratch, now: u32) -> bool {
    if t.add_flow(&s.key, &s.back) {
        return true;
    }
    let (old, back) = (&mut s.old, &s.back);
    if !t.flow(&s.key, old) {
        return false;
    }
    let apart = difference(&old.dst, &back.dst)
        | difference(&old.src, &back.src)
        | (old.dport.0 ^ back.dport.0) as u32
        | (old.sport.0 ^ back.sport.0) as u32
        | (old.flags ^ back.flags) & FLOW_REPLY;
    if apart != 0 {
        if now.wrapping_sub(old.seen_s) <= idle_s(old, s.key.proto) {
            return false;
        }
        reverse(&mut s.other, old, s.key.proto);
        t.remove_flow(&s.other);
    }
    t.set_flow(&s.key, back)
}

/// Seconds without a packet after which a record is over.
#[inline(always)]
pub fn idle_s(flow: &FlowValue, proto: u8) -> u32 {
    if flow.flags & FLOW_CLOSING != 0 {
        CLOSING_IDLE_S
    } else if proto == IPPROTO_TCP {
        TCP_IDLE_S
    } else if proto == IPPROTO_UDP {
        UDP_IDLE_S
    } else {
        OTHER_IDLE_S
    }
}
