//! Fragments, in any order. Only the first one of a datagram carries the ports, by which everything is decided, so they are remembered for
//! the others; one that comes before it waits, and comes to its hook again once the ports are known.
//!
//! Who waits is a copy of the frame in a slot ([`abi::fragment::Hold`]), its buffer is given up. The first fragment writes the ports,
//! then looks for waiting ones and sends copies of itself with their bytes into the same interface, behind itself. One that comes to wait
//! writes its slot and then looks for the ports once more, so that of two CPUs at least one sees the other.
//!
//! A flood of fragments without a first one costs a copy each and never more room: a row of slots, which source and destination
//! choose, is a ring in which the oldest gives way. That is the policy, rather than to refuse the newest, because what is in the right
//! order but for the network waits for milliseconds: to push it out somebody must fill a row within that time, while slots that are
//! kept for [`HOLD_S`] could be kept occupied with a few packets a second. No sender fills another pair's row but by the hash's chance.

use abi::{
    Addr, Counter, FragmentKey, FragmentValue,
    fragment::{AT_FROM_OVERLAY, HOLD_BUSY, HOLD_FREE, HOLD_KIND, HOLD_ROWS, HOLD_WAITS, HOLD_WAYS, hold_state},
};

use crate::{
    Scratch, Steps, Tables,
    nat::difference,
    parse::{Packet, Part},
    service,
};

/// Seconds for which a first fragment's ports hold. An identification comes again sooner only where datagrams are sent so fast
/// (65,536 in this time, RFC 4963) that the stale ports are those of the same two sockets.
pub const PORTS_S: u32 = 5;
/// Seconds for which a fragment waits for its first one, by a clock of whole seconds.
pub const HOLD_S: u32 = 2;
/// CPUs that may want a row's next number at once before one of them gives up.
const ROW_TRIES: u32 = 4;

/// What is known of a fragment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ports {
    /// Its ports are in the packet's tuple.
    Known,
    /// It is a later one, and its first one was not seen.
    Unknown,
    /// The kernel could not make the packet what it was.
    Lost,
}

/// What became of a fragment without ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// It waits.
    Held,
    /// The first one came meanwhile; the ports are in the packet's tuple.
    Known,
    /// There is no room for it.
    Refused,
}

/// Gives a fragment its ports. The first one of a datagram leaves them for the others, and lets go those that wait at its hook.
#[inline(always)]
pub fn ports<B: Steps<T>, T: Tables>(b: &mut B, t: &T, s: &mut Scratch, at: u32) -> Ports {
    name(&s.packet, &mut s.fragment, at);
    let now = t.now_s();
    if s.packet.part != Part::First {
        return if recall(t, s, now) { Ports::Known } else { Ports::Unknown };
    }
    let p = &s.packet;
    t.set_fragment(&s.fragment, &FragmentValue { sport: p.tuple.sport, dport: p.tuple.dport, seen_s: now });
    if release(b, t, s, now) { Ports::Known } else { Ports::Lost }
}

/// The key of the packet's datagram.
#[inline(always)]
fn name(p: &Packet, key: &mut FragmentKey, at: u32) {
    key.src = p.tuple.src;
    key.dst = p.tuple.dst;
    key.id = p.id;
    key.at = at;
    key.proto = p.tuple.proto;
}

/// Takes the ports that the first fragment left.
#[inline(always)]
fn recall<T: Tables>(t: &T, s: &mut Scratch, now: u32) -> bool {
    let Some(ports) = t.fragment(&s.fragment) else { return false };
    if now.wrapping_sub(ports.seen_s) >= PORTS_S {
        return false;
    }
    s.packet.tuple.sport = ports.sport;
    s.packet.tuple.dport = ports.dport;
    true
}

/// Makes the fragment, which [`ports`] has seen, wait for its first one.
#[inline(always)]
pub fn hold<B: Steps<T>, T: Tables>(b: &mut B, t: &T, s: &mut Scratch) -> Waiting {
    let now = t.now_s();
    let row = row_of(t, s);
    let mut tries = 0;
    let number = loop {
        let word = t.hold_row(row);
        let number = word as u32;
        if t.swap_hold_row(row, word, (now as u64) << 32 | number.wrapping_add(1) as u64) {
            break number;
        }
        tries += 1;
        if tries == ROW_TRIES {
            return Waiting::Refused;
        }
    };
    let slot = row * HOLD_WAYS + number % HOLD_WAYS;
    let (before, busy) = (t.hold_state(slot), hold_state(now, number, HOLD_BUSY));
    if before & HOLD_KIND == HOLD_BUSY || !t.swap_hold(slot, before, busy) {
        return Waiting::Refused;
    }
    s.hold.state = busy;
    s.hold.key = s.fragment;
    let tunnelled = s.fragment.at == AT_FROM_OVERLAY;
    s.hold.node = if tunnelled { s.tunnel.0 } else { Addr::ANY };
    s.hold.vni = if tunnelled { s.tunnel.1 } else { 0 };
    s.hold.bytes = b.size() as u32;
    t.set_hold(slot, &s.hold);
    if !b.keep(t, slot) {
        t.swap_hold(slot, busy, HOLD_FREE);
        return Waiting::Refused;
    }
    let waits = hold_state(now, number, HOLD_WAITS);
    t.swap_hold(slot, busy, waits);
    if recall(t, s, now) && t.swap_hold(slot, waits, HOLD_FREE) {
        return Waiting::Known;
    }
    Waiting::Held
}

/// The row in which the packet's fragments wait.
#[inline(always)]
fn row_of<T: Tables>(t: &T, s: &mut Scratch) -> u32 {
    let seed = match t.config() {
        Some(cfg) => cfg.seed,
        None => 0,
    };
    s.key.src = s.fragment.src;
    s.key.dst = s.fragment.dst;
    s.key.sport = abi::Be16(0);
    s.key.dport = abi::Be16(0);
    s.key.proto = s.fragment.proto;
    (service::hash(&s.key, seed) >> 8) % HOLD_ROWS
}

/// Sends the fragments that wait for this one to the hook again. `false` if the packet is not what it was.
#[inline(always)]
fn release<B: Steps<T>, T: Tables>(b: &mut B, t: &T, s: &mut Scratch, now: u32) -> bool {
    let row = row_of(t, s);
    let last = (t.hold_row(row) >> 32) as u32;
    // So it is for everybody whose network keeps the order.
    if last == 0 || now.wrapping_sub(last) > HOLD_S {
        return true;
    }
    // Tested at its end: Linux 6.1 takes a loop that is entered in its middle for one without an end.
    let (mut way, mut aside) = (0, false);
    loop {
        let slot = row * HOLD_WAYS + way;
        if b.take(t, s, slot, now) {
            if !aside && !b.set_aside() {
                // Too large to be put aside: those who wait for it wait in vain.
                t.swap_hold(slot, s.hold.state, HOLD_FREE);
                return true;
            }
            aside = true;
            if b.send_again(t, slot) {
                t.count(Counter::FragmentReleased);
            }
            t.swap_hold(slot, s.hold.state, HOLD_FREE);
        }
        way += 1;
        if way == HOLD_WAYS {
            break;
        }
    }
    !aside || b.put_back()
}

/// Takes a slot if a fragment of this datagram waits there; [`Scratch::hold`] is then what it holds.
#[inline(always)]
pub fn take<T: Tables>(t: &T, s: &mut Scratch, slot: u32, now: u32) -> bool {
    let state = t.hold_state(slot);
    let fresh = now.wrapping_sub((state >> 32) as u32) <= HOLD_S;
    if state & HOLD_KIND != HOLD_WAITS || !fresh || !t.hold(slot, &mut s.hold) {
        return false;
    }
    let (a, b) = (&s.hold.key, &s.fragment);
    let ends = difference(&a.src, &b.src) | difference(&a.dst, &b.dst);
    if ends | (a.id ^ b.id) | (a.at ^ b.at) | (a.proto ^ b.proto) as u32 != 0 {
        return false;
    }
    // Whoever swaps first has it; the key is then the one that was read, since it changes only in a busy slot.
    let busy = state & !HOLD_KIND | HOLD_BUSY;
    if !t.swap_hold(slot, state, busy) {
        return false;
    }
    s.hold.state = busy;
    true
}
