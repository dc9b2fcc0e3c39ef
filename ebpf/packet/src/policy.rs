//! Network policy: may this packet leave its pod, and may it enter its pod?
//!
//! A packet is judged by its real ends: the source as it was before translation, the destination as it is after it. Both are the same
//! for a connection's two directions, wherever Services and masquerade stand in between. A connection that is allowed in the direction
//! in which it was opened has its answers allowed; that is what a [`Connection`] record says. A record that was judged by an older
//! generation of the tables is judged again.
//!
//! A TCP segment in the middle of a connection that has no record may be of either direction, so both must allow it. What this
//! node itself sends to its pods is always allowed (the node's probes), and so is what a pod sends to itself.

use abi::{
    CONNECTION_DENIED, CONNECTION_EGRESS, Connection, Counter, DIRECTION_EGRESS, DIRECTION_INGRESS, FlowKey,
    IDENTITY_ANY, IPPROTO_TCP, ROUTE_THIS_NODE, RULE_ALLOW, RULE_ONE_PORT, RouteValue, RuleKey, SEAT_EGRESS,
    SEAT_INGRESS, SeatValue, bank,
};

use crate::{
    Scratch, Steps, Tables,
    conntrack::{OTHER_IDLE_S, REFRESH_S, TCP_IDLE_S, UDP_IDLE_S},
    nat::difference,
    parse::Kind,
    pipeline::Origin,
    route::Hop,
};

/// Which way a packet goes, seen from the pod.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Direction {
    #[default]
    Ingress,
    Egress,
}

impl Direction {
    /// The other one.
    #[inline(always)]
    pub fn opposite(self) -> Direction {
        match self {
            Direction::Ingress => Direction::Egress,
            Direction::Egress => Direction::Ingress,
        }
    }

    #[inline(always)]
    fn seat(self) -> u32 {
        match self {
            Direction::Ingress => SEAT_INGRESS,
            Direction::Egress => SEAT_EGRESS,
        }
    }
}

/// What judging needs room for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Work {
    /// The packet's real ends. Of an ICMP error, those of the quoted packet, turned round.
    pub ends: FlowKey,
    /// An ICMP error's quote was readable, and `ends` are from it.
    pub quoted: bool,
    /// The node's own stack sent it, and its source is not known to be another's.
    pub own: bool,
    /// Generation of the tables; the same for all look-ups of one packet.
    pub generation: u32,
    /// The policy of the pod in question.
    pub seat: SeatValue,
    /// Its connection: the pod first.
    pub key: FlowKey,
    pub connection: Connection,
    pub rule: RuleKey,
    pub route: RouteValue,
}

/// Whether a packet whose place is known may go there. `translated`: [`Scratch::to`] holds its new tuple. If not,
/// [`Scratch::refused`] says why.
#[inline(always)]
pub fn admit<B: Steps<T>, T: Tables>(b: &mut B, t: &T, s: &mut Scratch, origin: Origin, translated: bool) -> bool {
    let w = &mut s.policy;
    if s.packet.kind != Kind::Error {
        w.ends = s.packet.tuple;
        w.quoted = false;
        if translated {
            w.ends.dst = s.to.dst;
            w.ends.dport = s.to.dport;
        }
    }
    w.generation = t.generation();
    w.own = origin == Origin::Stack;
    let half = bank(w.generation);
    let (own, to) = (&s.packet.tuple.src, if translated { &s.to.dst } else { &s.packet.tuple.dst });
    if difference(own, to) == 0 {
        return true;
    }
    // An error that quotes somebody else's packet is about no connection of this pod.
    let about = if origin == Origin::Pod { difference(own, &w.ends.src) } else { difference(to, &w.ends.dst) };
    w.quoted = w.quoted && about == 0;
    if origin == Origin::Pod
        && t.seat(s.veth.seat.wrapping_mul(2) | half, &mut w.seat)
        && w.seat.flags != 0
        && !b.judge(t, s, Direction::Egress)
    {
        s.refused = Counter::DropPolicyEgress;
        return false;
    }
    let w = &mut s.policy;
    if s.place.hop == Hop::Pod
        && t.seat(s.place.pod.seat.wrapping_mul(2) | half, &mut w.seat)
        && w.seat.flags != 0
        && !b.judge(t, s, Direction::Ingress)
    {
        s.refused = Counter::DropPolicyIngress;
        return false;
    }
    true
}

/// Whether a policy selects the local pod in [`Scratch::place`].
#[inline(always)]
pub fn is_guarded<T: Tables>(t: &T, s: &mut Scratch) -> bool {
    s.place.hop == Hop::Pod
        && t.seat(s.place.pod.seat.wrapping_mul(2) | bank(t.generation()), &mut s.policy.seat)
        && s.policy.seat.flags != 0
}

/// Judges a packet at a pod whose policy is in [`Work::seat`].
#[inline(always)]
pub fn judge<T: Tables>(t: &T, s: &mut Scratch, direction: Direction) -> bool {
    let (w, p) = (&mut s.policy, &s.packet);
    turn(w, direction);
    let error = p.kind == Kind::Error;
    let now = t.now_s();
    let mut known = (!error || w.quoted) && t.connection(&w.key, &mut w.connection);
    if known {
        known = now.wrapping_sub(w.connection.seen_s) <= idle_s(w.key.proto);
    }
    let opener = if w.connection.flags & CONNECTION_EGRESS != 0 { Direction::Egress } else { Direction::Ingress };
    // A connection may be opened the other way by the same ports once it is over.
    if known && !(p.is_syn() && opener != direction) {
        if w.connection.generation != w.generation {
            let allowed = is_allowed(t, w, opener, true);
            keep(t, w, opener, allowed, now);
        } else if now.wrapping_sub(w.connection.seen_s) >= REFRESH_S {
            w.connection.seen_s = now;
            t.set_connection(&w.key, &w.connection);
        }
        return w.connection.flags & CONNECTION_DENIED == 0;
    }
    if error {
        return w.seat.flags & direction.seat() == 0;
    }
    if !is_allowed(t, w, direction, w.own) {
        return false;
    }
    if w.key.proto == IPPROTO_TCP && !p.is_syn() {
        // No record is made of it: it would name the wrong opener as often as the right one.
        return w.own || is_allowed(t, w, direction.opposite(), false);
    }
    keep(t, w, direction, true, now);
    true
}

/// Writes the record of a connection.
#[inline(always)]
fn keep<T: Tables>(t: &T, w: &mut Work, opener: Direction, allowed: bool, now: u32) {
    let opened = if opener == Direction::Egress { CONNECTION_EGRESS } else { 0 };
    w.connection.generation = w.generation;
    w.connection.seen_s = now;
    w.connection.flags = if allowed { opened } else { opened | CONNECTION_DENIED };
    t.set_connection(&w.key, &w.connection);
}

/// The packet's ends with the pod first.
#[inline(always)]
fn turn(w: &mut Work, direction: Direction) {
    w.key.proto = w.ends.proto;
    if direction == Direction::Egress {
        w.key.src = w.ends.src;
        w.key.dst = w.ends.dst;
        w.key.sport = w.ends.sport;
        w.key.dport = w.ends.dport;
    } else {
        w.key.src = w.ends.dst;
        w.key.dst = w.ends.src;
        w.key.sport = w.ends.dport;
        w.key.dport = w.ends.sport;
    }
}

/// Whether the rules allow the connection to be opened in a direction. `own`: an address of this node really is this node.
#[inline(always)]
fn is_allowed<T: Tables>(t: &T, w: &mut Work, direction: Direction, own: bool) -> bool {
    if w.seat.flags & direction.seat() == 0 {
        return true;
    }
    let half = bank(w.generation);
    let egress = direction == Direction::Egress;
    if !egress && t.route(&w.key.dst, &mut w.route) && w.route.kind == ROUTE_THIS_NODE {
        return own;
    }
    w.own = false;
    w.rule.prefix_len = RULE_ONE_PORT;
    w.rule.bank = half;
    w.rule.ruleset = w.seat.ruleset;
    w.rule.identity = t.identity(half, &w.key.dst);
    w.rule.direction = if egress { DIRECTION_EGRESS } else { DIRECTION_INGRESS };
    w.rule.proto = w.key.proto;
    w.rule.port = if egress { w.key.dport } else { w.key.sport };
    let mut rule = t.rule(&w.rule);
    if rule == 0 && w.rule.identity != IDENTITY_ANY {
        w.rule.identity = IDENTITY_ANY;
        rule = t.rule(&w.rule);
    }
    rule == RULE_ALLOW
}

/// Seconds without a packet after which a record says nothing any more.
#[inline(always)]
fn idle_s(proto: u8) -> u32 {
    if proto == IPPROTO_TCP {
        TCP_IDLE_S
    } else if proto == abi::IPPROTO_UDP {
        UDP_IDLE_S
    } else {
        OTHER_IDLE_S
    }
}
