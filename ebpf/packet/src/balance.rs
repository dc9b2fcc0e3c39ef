//! The layer-4 balancer: a packet for a virtual address goes to one of its servers inside another IP header, and the server answers
//! the client itself (RFC 2003, RFC 2473).
//!
//! The slot that a flow's hash falls into names the backend, so a flow needs no record and a flood of new ones writes nothing. Only
//! where a slot has changed do flows differ: those from before the change stay with the slot's previous backend, and there,
//! and only there, each flow gets a record when it is first seen.

use abi::{
    Addr, BACKEND_ALIVE, Be16, Counter, FlowKey, FragmentKey, FragmentValue, IPPROTO_TCP,
    balance::{
        Backend, Config, GATE_RECORDS, Gate, MAX_ROWS, OUTER_FIRST, OUTER_TTL, PROBES, Traffic, VIP_BY_CLIENT,
        VIP_LIVE, Vip,
    },
};

pub mod answer;

pub use crate::verdict::Fate;
use crate::{
    Buffer, checksum,
    fragment::PORTS_S,
    icmp,
    nat::difference,
    parse::{self, ETH_IPV4, ETH_IPV6, Kind, L3, Packet, Part},
};

/// Seconds after a change during which datagrams without a record count as flows from before it.
pub const UDP_WINDOW_S: u32 = 10;
/// Bytes of the outer headers.
const OUTER_V4: usize = 20;
const OUTER_V6: usize = 40;
/// IPv4 and IPv6 as payload (IANA protocol numbers).
const IPPROTO_IPIP: u8 = 4;
const IPPROTO_IPV6: u8 = 41;

/// A packet that can get longer at the front.
pub trait Frame: Buffer {
    /// Makes room for `N` bytes before the first; they are undefined.
    fn push<const N: usize>(&mut self) -> Option<()>;
    /// Bytes of the whole frame.
    fn len(&self) -> usize;
    /// Takes off what is behind the first `len` bytes, of which there are more.
    fn cut(&mut self, len: usize) -> Option<()>;

    /// Writes an Ethernet header, three words and its type, and the `N` words behind it, which `words` makes of the two bytes that
    /// follow them.
    #[inline(always)]
    fn set_front<const N: usize>(
        &mut self,
        ethernet: [u32; 3],
        kind: u16,
        words: impl FnOnce(u16) -> [u32; N],
    ) -> Option<()> {
        let next = self.half(L3 + 4 * N)?;
        self.set_words::<3>(0, ethernet)?;
        self.set_half(12, kind)?;
        self.set_words::<N>(L3, words(next))
    }
}

/// What the balancer knows: the maps of [`abi::balance::map`], and the clock. The tables that user space writes are read
/// in place; each value is one aligned word, or is not changed while its row is live.
pub trait Balancer {
    fn config(&self) -> Option<&Config>;
    /// Coarse monotonic seconds.
    fn now_s(&self) -> u32;
    fn count(&self, counter: Counter);
    /// A row of the table of virtual addresses.
    fn vip(&self, row: u32) -> Option<&Vip>;
    fn slot(&self, index: u32) -> Option<u32>;
    fn backend(&self, id: u32) -> Option<&Backend>;
    /// When a slot of a virtual address last changed, in seconds of [`Balancer::now_s`].
    fn changed_s(&self, number: u32) -> u32;
    /// The backend of a flow's record.
    fn flow(&self, key: &FlowKey) -> Option<u32>;
    fn set_flow(&self, key: &FlowKey, backend: u32);
    fn fragment(&self, key: &FragmentKey) -> Option<FragmentValue>;
    fn set_fragment(&self, key: &FragmentKey, value: &FragmentValue);
    /// This CPU's gate of a number (`GATE_*`).
    fn gate(&self, number: u32) -> Option<Gate>;
    fn set_gate(&self, number: u32, gate: &Gate);
    /// Adds to this CPU's traffic of a virtual address.
    fn account(&self, number: u32, traffic: Traffic);
}

/// Where the balancer may be cut into functions of their own, because they are rare and long.
pub trait Cold<T: Balancer>: Frame + Sized {
    /// [`of_error`].
    #[inline(always)]
    fn of_error(&mut self, p: &mut Packet) -> bool {
        of_error(self, p)
    }

    /// [`complete`].
    #[inline(always)]
    fn complete(&mut self, t: &T, p: &mut Packet) -> bool {
        complete(t, p)
    }

    /// [`choose`].
    #[inline(always)]
    fn choose(&mut self, t: &T, p: &Packet, slot: u32, changed_s: u32) -> u32 {
        choose(t, p, slot, changed_s)
    }

    /// [`answer::echo`].
    #[inline(always)]
    fn echo(&mut self, t: &T, p: &mut Packet) -> bool {
        answer::echo(self, t, p)
    }

    /// [`answer::too_big`].
    #[inline(always)]
    fn too_big(&mut self, t: &T, p: &mut Packet, most: u32) -> bool {
        answer::too_big(self, t, p, most)
    }
}

/// One packet from its Ethernet header on: what is not for a virtual address passes, the rest goes to the gateway in an outer header.
#[inline(always)]
pub fn balance<B: Cold<T>, T: Balancer>(b: &mut B, t: &T) -> Fate {
    let Some(cfg) = t.config() else { return Fate::Pass };
    let mut p = Packet::default();
    // A copy of the rest for each family: what is constant about IPv4 costs nothing.
    match b.half(12) {
        Some(ETH_IPV4) if parse::headers4(b, &mut p) => forward(b, t, cfg, p),
        Some(ETH_IPV6) if parse::headers6(b, &mut p) => forward(b, t, cfg, p),
        _ => Fate::Pass,
    }
}

/// A parsed packet. The rare functions get copies of it: one whose address nobody takes stays in registers.
#[inline(always)]
fn forward<B: Cold<T>, T: Balancer>(b: &mut B, t: &T, cfg: &Config, mut p: Packet) -> Fate {
    if p.kind == Kind::Error {
        // It belongs to the flow of the packet that it quotes, which a server sent.
        let mut told = p;
        if !b.of_error(&mut told) {
            return Fate::Pass;
        }
        (p.tuple.sport, p.tuple.dport, p.tuple.proto) = (told.tuple.sport, told.tuple.dport, told.tuple.proto);
        (p.tuple.src, p.tuple.dst) = (of_family(&told.tuple.src, p.v6), of_family(&told.tuple.dst, p.v6));
    } else if p.kind == Kind::Echo && p.part == Part::Whole {
        let mut asked = p;
        if !b.echo(t, &mut asked) {
            return Fate::Pass;
        }
        t.count(Counter::Answered);
        return Fate::Send;
    } else if p.kind != Kind::Ports {
        return Fate::Pass;
    } else if p.part != Part::Whole {
        let mut whole = p;
        if !b.complete(t, &mut whole) {
            return Fate::Drop(Counter::DropFragment);
        }
        (p.tuple.sport, p.tuple.dport) = (whole.tuple.sport, whole.tuple.dport);
    }
    let Some(vip) = find(t, &p) else { return Fate::Pass };
    let number = vip.number;
    let (base, len) = (vip.ring as u32, (vip.ring >> 32) as u32);
    let sport = p.tuple.sport;
    if vip.state & VIP_BY_CLIENT != 0 {
        // For the slot alone. A record is of one connection, or a client's older ones would move with its newest.
        p.tuple.sport = Be16(0);
    }
    let hash = hash(&p.tuple, cfg.seed);
    p.tuple.sport = sport;
    let index = ((hash as u64).wrapping_mul(len as u64) >> 32) as u32;
    let Some(slot) = t.slot(base.wrapping_add(index)) else { return Fate::Drop(Counter::DropNoBackend) };
    let id = if slot >> 16 == 0 {
        slot
    } else {
        let lasting = p;
        b.choose(t, &lasting, slot, t.changed_s(number))
    };
    let Some(to) = t.backend(id) else { return Fate::Drop(Counter::DropNoBackend) };
    if len == 0 || id == 0 || to.flags & BACKEND_ALIVE == 0 {
        return Fate::Drop(Counter::DropNoBackend);
    }
    let bytes = b.len().wrapping_sub(L3);
    let sent = if to.addr.is_v4() { outer4(b, cfg, to, &p, bytes) } else { outer6(b, cfg, to, &p, bytes) };
    match sent {
        Ok(()) => {
            t.account(number, Traffic { packets: 1, bytes: bytes as u64 });
            Fate::Send
        }
        // Its sender is told how large it may be; of what it quotes to us itself it is not.
        Err(Counter::DropTooBig) if p.kind == Kind::Ports && p.part != Part::Later => {
            let outer = if to.addr.is_v4() { OUTER_V4 } else { OUTER_V6 };
            let mut refused = p;
            if !b.too_big(t, &mut refused, cfg.mtu.wrapping_sub(outer as u32)) {
                return Fate::Drop(Counter::DropTooBig);
            }
            t.count(Counter::DropTooBig);
            Fate::Send
        }
        Err(counter) => Fate::Drop(counter),
    }
}

/// An address of the packet's family, as the compiler is to see it: three of four words are constants in IPv4.
#[inline(always)]
fn of_family(addr: &Addr, v6: bool) -> Addr {
    if v6 { *addr } else { Addr::v4(addr.0[3].to_ne_bytes()) }
}

/// The row of the packet's destination.
#[inline(always)]
pub fn find<'a, T: Balancer>(t: &'a T, p: &Packet) -> Option<&'a Vip> {
    let (addr, port, proto) = (&p.tuple.dst, p.tuple.dport, p.tuple.proto);
    let first = abi::balance::row_of(addr, port, proto);
    for i in 0..PROBES {
        let row = t.vip(first.wrapping_add(i) & (MAX_ROWS - 1))?;
        if row.state == 0 {
            return None;
        }
        let apart = difference(&row.addr, addr) | (row.port.0 ^ port.0) as u32 | (row.proto ^ proto) as u32;
        if apart == 0 && row.state & VIP_LIVE != 0 {
            return Some(row);
        }
    }
    None
}

/// A number from the flow, the same on every balancer with the same seed: virtual address and client.
#[inline(always)]
pub fn hash(tuple: &FlowKey, seed: u32) -> u32 {
    let (s, d) = (&tuple.src.0, &tuple.dst.0);
    let client = s[3] as u64 | (parse::join(tuple.sport, tuple.dport) as u64) << 32;
    let rest = (s[2] ^ d[2]) as u64 ^ (d[3] as u64) << 32 ^ (tuple.proto as u64) << 24;
    let mut h = (client ^ seed as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    h = (h ^ (h >> 32) ^ rest).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    h = (h ^ (h >> 29) ^ (s[0] as u64 | (s[1] as u64) << 32)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((h ^ (h >> 32)) >> 8) as u32
}

/// Backend of a flow whose slot has changed. A flow with a record keeps its backend while that lives. Without one, what
/// certainly began before the change (a segment that opens nothing), and datagrams for a little while, belong to the
/// previous backend, the rest to the current one. Either way the flow gets a record, as far as the gate allows.
#[inline(always)]
pub fn choose<T: Balancer>(t: &T, p: &Packet, slot: u32, changed_s: u32) -> u32 {
    let (current, previous) = (slot & 0xffff, slot >> 16);
    let tcp = p.tuple.proto == IPPROTO_TCP;
    // An error, and a later fragment, carry no flags and belong to what is there.
    let opens = tcp && p.kind == Kind::Ports && p.part != Part::Later && p.is_syn();
    if !opens
        && let Some(id) = t.flow(&p.tuple)
        && is_alive(t, id)
    {
        return id;
    }
    let now = t.now_s();
    let before = if tcp { !opens } else { now.wrapping_sub(changed_s) < UDP_WINDOW_S };
    let id = if before && is_alive(t, previous) { previous } else { current };
    if p.kind == Kind::Ports && pass_gate(t, now) {
        t.set_flow(&p.tuple, id);
    }
    id
}

#[inline(always)]
fn is_alive<T: Balancer>(t: &T, id: u32) -> bool {
    match t.backend(id) {
        Some(backend) => backend.flags & BACKEND_ALIVE != 0,
        None => false,
    }
}

/// Whether the gate of records lets one more through this second.
#[inline(always)]
fn pass_gate<T: Balancer>(t: &T, now: u32) -> bool {
    let Some(cfg) = t.config() else { return false };
    pass(t, GATE_RECORDS, now, cfg.gate_per_s)
}

/// Whether a gate lets one more through this second.
#[inline(always)]
fn pass<T: Balancer>(t: &T, number: u32, now: u32, most: u32) -> bool {
    let Some(mut gate) = t.gate(number) else { return false };
    if gate.second != now {
        gate = Gate { second: now, made: 0 };
    }
    gate.made = gate.made.wrapping_add(1);
    t.set_gate(number, &gate);
    gate.made <= most
}

/// Gives a fragment the ports of its datagram. `false`: they are not known.
#[inline(always)]
pub fn complete<T: Balancer>(t: &T, p: &mut Packet) -> bool {
    let key = FragmentKey { src: p.tuple.src, dst: p.tuple.dst, id: p.id, at: 0, proto: p.tuple.proto, pad: [0; 3] };
    let now = t.now_s();
    if p.part == Part::First {
        t.set_fragment(&key, &FragmentValue { sport: p.tuple.sport, dport: p.tuple.dport, seen_s: now });
        return true;
    }
    let Some(ports) = t.fragment(&key) else { return false };
    if now.wrapping_sub(ports.seen_s) >= PORTS_S {
        return false;
    }
    p.tuple.sport = ports.sport;
    p.tuple.dport = ports.dport;
    true
}

/// Gives an ICMP error the tuple of the flow it is about, as the client's packets have it. `false`: the quote tells none.
#[inline(always)]
pub fn of_error<B: Buffer>(b: &B, p: &mut Packet) -> bool {
    let (l4, v6) = (p.l4, p.v6);
    let own = p.tuple.dst;
    let key = &mut p.tuple;
    // The quote is of a server's answer; turned round it is the client's packet.
    icmp::quoted(b, key, l4 + 8, v6) && difference(&key.dst, &own) == 0
}

#[inline(always)]
fn outer4<B: Frame>(b: &mut B, cfg: &Config, to: &Backend, p: &Packet, bytes: usize) -> Result<(), Counter> {
    let total = bytes + OUTER_V4;
    if total > cfg.mtu as usize {
        return Err(Counter::DropTooBig);
    }
    b.push::<OUTER_V4>().ok_or(Counter::DropKernel)?;
    let proto = if p.v6 { IPPROTO_IPV6 } else { IPPROTO_IPIP };
    let [high, low] = (total as u16).to_be_bytes();
    let third = u32::from_ne_bytes([OUTER_TTL, proto, 0, 0]);
    let front = |inner| {
        let varying = u32::from_ne_bytes([0, traffic_class(inner, p.v6), high, low]);
        let sum = checksum::fold(checksum::add(checksum::add(to.sum, varying), third));
        [OUTER_FIRST | varying, 0, third | (sum as u32) << 16, cfg.source4.0[3], to.addr.0[3]]
    };
    b.set_front::<5>(addresses(cfg), ETH_IPV4, front).ok_or(Counter::DropKernel)
}

#[inline(always)]
fn outer6<B: Frame>(b: &mut B, cfg: &Config, to: &Backend, p: &Packet, bytes: usize) -> Result<(), Counter> {
    if bytes + OUTER_V6 > cfg.mtu as usize {
        return Err(Counter::DropTooBig);
    }
    b.push::<OUTER_V6>().ok_or(Counter::DropKernel)?;
    let proto = if p.v6 { IPPROTO_IPV6 } else { IPPROTO_IPIP };
    let [high, low] = (bytes as u16).to_be_bytes();
    let second = u32::from_ne_bytes([high, low, proto, OUTER_TTL]);
    let front = |inner| {
        let tos = traffic_class(inner, p.v6);
        let ([s0, s1, s2, s3], [d0, d1, d2, d3]) = (cfg.source6.0, to.addr.0);
        [u32::from_ne_bytes([0x60 | tos >> 4, tos << 4, 0, 0]), second, s0, s1, s2, s3, d0, d1, d2, d3]
    };
    b.set_front::<10>(addresses(cfg), ETH_IPV6, front).ok_or(Counter::DropKernel)
}

/// Of an IP header's first two bytes; the outer header repeats the inner one's (RFC 6040 section 4.1).
#[inline(always)]
fn traffic_class(first: u16, v6: bool) -> u8 {
    let [first, second] = first.to_ne_bytes();
    if v6 { first << 4 | second >> 4 } else { second }
}

/// Addresses of the Ethernet header.
#[inline(always)]
fn addresses(cfg: &Config) -> [u32; 3] {
    let (to, from) = (cfg.gateway_mac, cfg.own_mac);
    [
        u32::from_ne_bytes([to[0], to[1], to[2], to[3]]),
        u32::from_ne_bytes([to[4], to[5], from[0], from[1]]),
        u32::from_ne_bytes([from[2], from[3], from[4], from[5]]),
    ]
}

#[inline(always)]
fn ethernet<B: Buffer>(b: &mut B, cfg: &Config, kind: u16) -> Option<()> {
    b.set_words::<3>(0, addresses(cfg))?;
    b.set_half(12, kind)
}
