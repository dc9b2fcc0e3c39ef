//! The life of a translated connection: its first packet makes a record, packets of both directions keep it, its end shortens it.

use abi::{
    Addr, BACKEND_ALIVE, BACKEND_DRAINING, BACKEND_GONE, Backend, Be16, Config, Counter, FlowKey, IPPROTO_TCP,
    flow::{FLOW_DIRECT, STATE_FIN_OPENER, STATE_FIN_OTHER, STATE_REPLIED, STATE_RESET, STATE_SURE},
};

pub use crate::flows::{OTHER_IDLE_S, TCP_IDLE_S, UDP_IDLE_S};
use crate::{
    Scratch, Tables,
    flows::{self, Flow, Made},
    nat::{difference, reverse},
    parse::{Kind, Packet, TCP_FIN, TCP_RST},
    service,
};

/// A record is written again when it was last seen this many seconds ago.
pub const REFRESH_S: u32 = 8;
/// Source ports tried for a new translation before the packet is dropped. With 95 % of the ports toward a destination in use the
/// twentieth is free on average, and one flow in 10^11 finds none.
pub const PORT_TRIES: u32 = 512;

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

/// Finds the record of a packet, refreshes it and notes how far the connection is.
#[inline(always)]
pub fn find<T: Tables>(t: &T, s: &mut Scratch) -> Found {
    let p = &s.packet;
    if !t.flow(&p.tuple, &mut s.to) {
        return Found::New;
    }
    let now = t.now_s();
    let found = judge(t, p, &s.to, &mut s.backend, now);
    match found {
        Found::Use => note(t, p, &mut s.to, now),
        Found::Gone => {}
        Found::New => forget(t, s),
    }
    found
}

/// Whether a packet is an answer of a translated flow; [`Scratch::to`] is then what it becomes.
#[inline(always)]
pub fn answered<T: Tables>(t: &T, s: &mut Scratch) -> bool {
    let p = &s.packet;
    if !t.flow(&p.tuple, &mut s.to) || !s.to.is_reply() {
        return false;
    }
    let now = t.now_s();
    if is_stale(p, &s.to, now) {
        return false;
    }
    note(t, p, &mut s.to, now);
    true
}

/// Whether a packet is too late for its record. A segment of an open connection never is: as long as nobody needed its record, the
/// connection goes on.
#[inline(always)]
fn is_stale(p: &Packet, flow: &Flow, now: u32) -> bool {
    flows::is_over(flow.state, now) && (p.tuple.proto != IPPROTO_TCP || p.is_syn())
}

/// Writes the record's state if the packet says something new.
#[inline(always)]
fn note<T: Tables>(t: &T, p: &Packet, flow: &mut Flow, now: u32) {
    let fin = p.tcp & TCP_FIN != 0;
    let mut marks = if p.tcp & TCP_RST != 0 { STATE_RESET } else { 0 };
    if flow.is_reply() {
        marks |= STATE_REPLIED | if fin { STATE_FIN_OTHER } else { 0 };
    } else {
        // Answers of a direct flow do not come by here.
        if (flow.state & STATE_REPLIED != 0 || flow.flags & FLOW_DIRECT != 0) && !p.is_syn() {
            marks |= STATE_SURE;
        }
        marks |= if fin { STATE_FIN_OPENER } else { 0 };
    }
    if marks & !flow.state != 0 || flows::age_s(flow.state, now) >= REFRESH_S {
        flows::touch(t, flow, marks, now);
    }
}

/// Whether a record still holds for a packet.
#[inline(always)]
fn judge<T: Tables>(t: &T, p: &Packet, flow: &Flow, b: &mut Backend, now: u32) -> Found {
    let syn = p.is_syn();
    let closing = flow.state & (STATE_FIN_OPENER | STATE_FIN_OTHER | STATE_RESET) != 0;
    if is_stale(p, flow, now) || !flow.is_reply() && syn && closing {
        return Found::New;
    }
    if flow.is_reply() || flow.backend == 0 {
        return Found::Use;
    }
    // A number may have been given to another backend since.
    let alive = t.backend(flow.backend, b)
        && b.flags & (BACKEND_ALIVE | BACKEND_GONE) == BACKEND_ALIVE
        && difference(&b.addr, &flow.dst) | (b.port.0 ^ flow.dport.0) as u32 == 0;
    let draining = alive && b.flags & BACKEND_DRAINING != 0;
    let tcp = p.tuple.proto == IPPROTO_TCP;
    if !alive && tcp && !syn {
        return Found::Gone;
    }
    if !alive || draining && syn {
        return Found::New;
    }
    Found::Use
}

/// Ends the flow that was found.
#[inline(always)]
pub fn forget<T: Tables>(t: &T, s: &Scratch) {
    // If it had a packet meanwhile, it goes on, and a new flow with its tuple has to wait.
    t.end_flow(s.to.number, s.to.state);
}

/// Where a new flow is to go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Target {
    pub dst: Addr,
    pub dport: Be16,
    /// Backend id, 0 for none.
    pub backend: u32,
    /// Number of the Service port, 0 for none, and whose connection to it this counts as ([`abi::edge`]).
    pub service: u32,
    pub client: Addr,
    /// New source address, [`Addr::ANY`] to keep the packet's.
    pub snat: Addr,
    /// `FLOW_*` bits.
    pub flags: u32,
    /// The source port comes from the node's range; else the packet's own is tried first.
    pub from_range: bool,
}

/// Whether answers to a packet that nothing translates would be taken for those of a translated flow: the client's port serves, or
/// has just served, for a Service with the same backend. Such a connection needs a record of its own, and so do such datagrams.
#[inline(always)]
pub fn is_answer_taken<T: Tables>(t: &T, p: &Packet, key: &mut FlowKey, found: &mut Flow) -> bool {
    key.src = p.tuple.dst;
    key.dst = p.tuple.src;
    key.sport = p.tuple.dport;
    key.dport = p.tuple.sport;
    key.proto = p.tuple.proto;
    t.flow(key, found) && found.is_reply()
}

/// Makes the record of a new flow to [`Scratch::target`]; [`Scratch::to`] is what the packet is to be rewritten to. If it cannot,
/// [`Scratch::refused`] says why.
#[inline(always)]
pub fn open<T: Tables>(t: &T, s: &mut Scratch) -> bool {
    let (tuple, target) = (&s.packet.tuple, &s.target);
    s.to.src = if difference(&target.snat, &Addr::ANY) == 0 { tuple.src } else { target.snat };
    s.to.dst = target.dst;
    s.to.sport = tuple.sport;
    s.to.dport = target.dport;
    s.to.backend = target.backend;
    s.to.way = 0;
    s.to.flags = target.flags;
    s.draft.keys[0] = *tuple;
    s.draft.backend = target.backend;
    s.draft.flags = target.flags;
    if difference(&s.to.src, &s.to.dst) == 0 {
        // Only a forged source does: a pod that is its own backend gets another one.
        s.refused = Counter::DropSpoofed;
        return false;
    }
    let now = t.now_s();
    let mut number = 0;
    while number < PORT_TRIES {
        match t.attempt(s, number, now) {
            Attempt::Next => number += 1,
            Attempt::Done => return true,
            Attempt::Refused => return false,
        }
    }
    s.refused = Counter::DropNoNatPort;
    false
}

/// What came of one source port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempt {
    Done,
    /// The reply's tuple is taken.
    Next,
    /// For the reason in [`Scratch::refused`].
    Refused,
}

/// Tries the source port of a number for the new flow of [`open`].
#[inline(always)]
pub fn attempt<T: Tables>(t: &T, s: &mut Scratch, number: u32, now: u32) -> Attempt {
    let tuple = &s.packet.tuple;
    let echo = s.packet.kind == Kind::Echo;
    if s.packet.kind == Kind::Ports || echo {
        if s.target.from_range || number > 0 {
            let Some(cfg) = t.config() else { return Attempt::Next };
            s.to.sport = port(cfg, tuple, number);
        }
        if echo {
            s.to.dport = s.to.sport;
        }
    } else if number > 0 {
        s.refused = Counter::DropNoNatPort;
        return Attempt::Refused;
    } else if s.target.dport != tuple.dport {
        s.refused = Counter::DropUnsupported;
        return Attempt::Refused;
    }
    reverse(&mut s.draft.keys[1], &s.to, tuple.proto);
    // A look costs a tenth of an attempt, which a port that was drawn may well need; a client's own is seldom taken.
    let drawn = s.target.from_range || number > 0;
    if drawn && t.flow(&s.draft.keys[1], &mut s.other) && !flows::is_over(s.other.state, now) {
        return if is_this(tuple, &s.other) { Attempt::Done } else { Attempt::Next };
    }
    s.refused = Counter::DropFlowTable;
    match t.make_flow(&s.draft, now) {
        Made::Taken => return Attempt::Next,
        Made::Full => return Attempt::Refused,
        Made::Known => return if t.flow(tuple, &mut s.to) { Attempt::Done } else { Attempt::Refused },
        Made::Replaced => t.count(Counter::FlowReplaced),
        Made::New => {}
    }
    t.count(Counter::NewFlow);
    Attempt::Done
}

/// The port of a number from the node's range. All flows to one destination want a place in the same range: if their tries followed
/// one another in a pattern, those of one would meet those of another again and again, so each is drawn anew.
#[inline(always)]
fn port(cfg: &Config, tuple: &FlowKey, number: u32) -> Be16 {
    let mut drawn = service::hash(tuple, cfg.seed ^ 0x5bd1_e995).wrapping_add(number.wrapping_mul(0x9e37_79b9));
    if number > 0 {
        // MurmurHash3's finalizer.
        drawn = (drawn ^ drawn >> 16).wrapping_mul(0x85eb_ca6b);
        drawn = (drawn ^ drawn >> 13).wrapping_mul(0xc2b2_ae35);
        drawn ^= drawn >> 16;
    }
    let range = (cfg.snat_max as u32).wrapping_sub(cfg.snat_min as u32).wrapping_add(1) & 0xffff;
    let offset = ((drawn as u64).wrapping_mul(range as u64) >> 32) as u32;
    Be16::new((cfg.snat_min as u32).wrapping_add(offset) as u16)
}

/// Whether a reply's record is that of the packet with this tuple: another CPU has made it just now.
#[inline(always)]
fn is_this(tuple: &FlowKey, reply: &Flow) -> bool {
    let addresses = difference(&tuple.src, &reply.dst) | difference(&tuple.dst, &reply.src);
    let ports = (tuple.sport.0 ^ reply.dport.0) | (tuple.dport.0 ^ reply.sport.0);
    reply.is_reply() && addresses | ports as u32 == 0
}
