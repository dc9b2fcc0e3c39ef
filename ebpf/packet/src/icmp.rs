//! ICMP errors: they quote the packet that caused them as it was on the wire there, so a translated flow's error is
//! translated outside and inside (RFC 5508 section 4).
//!
//! The transport checksum inside the quote stays as it is: most quotes are cut before it, and hosts do not verify it.

use abi::{Addr, FlowKey, IPPROTO_ICMP, IPPROTO_ICMPV6, IPPROTO_SCTP, IPPROTO_TCP, IPPROTO_UDP};

use crate::{
    Buffer, Flow, Scratch, Tables, checksum, direct, nat,
    parse::{Kind, Packet, Part, icmp_kind, join, split},
};

/// Types of echo requests and their answers (RFC 792, RFC 4443 section 4).
const ECHO4: u8 = 8;
const REPLY4: u8 = 0;
const ECHO6: u8 = 128;
const REPLY6: u8 = 129;

/// Where the quoted packet lies.
struct Quote {
    l3: usize,
    /// Offset of the word with the ports, or of the echo identifier.
    ports: usize,
    echo: bool,
}

/// Translates an error about a translated flow; [`Scratch::to`] then has its new addresses. `false` if no record matches or the
/// quote is cut short, in which case the packet is as it was.
#[inline(always)]
pub fn error<B: Buffer, T: Tables>(b: &mut B, t: &T, s: &mut Scratch) -> bool {
    translate(b, t, s).is_some()
}

#[inline(always)]
fn translate<B: Buffer, T: Tables>(b: &mut B, t: &T, s: &mut Scratch) -> Option<()> {
    let (l4, v6) = (s.packet.l4, s.packet.v6);
    s.policy.quoted = false;
    s.policy.ends = s.packet.tuple;
    let quote = if v6 { quote6(b, &mut s.key, l4 + 8)? } else { quote4(b, &mut s.key, l4 + 8)? };
    s.policy.quoted = true;
    s.policy.ends = s.key;
    if !t.flow(&s.key, &mut s.to) {
        return None;
    }
    // Who translates the flow translates its errors.
    if direct::is(&s.to) {
        return Some(());
    }
    s.policy.ends.dst = s.to.dst;
    s.policy.ends.dport = s.to.dport;
    let (pseudo, rest) = inside(b, &s.key, &s.to, &quote, v6)?;
    b.fix_transport(l4 + 2, if v6 { pseudo } else { 0 }, rest, false)?;
    // A router in between keeps its own address; the flow's other end gets the one under which it is known.
    if nat::difference(&s.packet.tuple.src, &s.key.src) != 0 {
        s.to.src = s.packet.tuple.src;
    }
    nat::rewrite(b, &s.packet, &s.to)
}

/// Time to live of an answer made here.
const TTL: u8 = 64;

/// Turns an echo request into its answer, Ethernet addresses included: it goes back where it came from. `None` if it is none. A later
/// fragment of one is turned round as well, whose first one alone says what it is.
#[inline(always)]
pub fn answer<B: Buffer>(b: &mut B, p: &Packet) -> Option<()> {
    if p.part != Part::Later {
        let (request, reply) = if p.v6 { (ECHO6, REPLY6) } else { (ECHO4, REPLY4) };
        if b.byte(p.l4)? != request {
            return None;
        }
        let rest = checksum::diff(u16::from_ne_bytes([request, 0]) as u32, u16::from_ne_bytes([reply, 0]) as u32);
        // The pseudo-header's sum does not mind which address is whose.
        b.fix_transport(p.l4 + 2, 0, rest, false)?;
        b.set_byte(p.l4, reply)?;
    }
    nat::turn(b, p, TTL)
}

/// The tuple of the packet that an ICMP message quotes at `off`, turned round. `false` if the quote is cut short.
#[inline(always)]
pub fn quoted<B: Buffer>(b: &B, key: &mut FlowKey, off: usize, v6: bool) -> bool {
    if v6 { quote6(b, key, off).is_some() } else { quote4(b, key, off).is_some() }
}

/// Rewrites the quote to what its sender knows; returns what the addresses and the ports add to the ICMP checksum. `key` is the
/// quoted tuple turned round, `flow` its record.
#[inline(always)]
fn inside<B: Buffer>(b: &mut B, key: &FlowKey, flow: &Flow, quote: &Quote, v6: bool) -> Option<(u32, u32)> {
    let addresses =
        checksum::add(checksum::diff_addr(&key.dst, &flow.dst, v6), checksum::diff_addr(&key.src, &flow.src, v6));
    if v6 {
        b.set_words::<4>(quote.l3 + 8, flow.dst.0)?;
        b.set_words::<4>(quote.l3 + 24, flow.src.0)?;
    } else {
        // The header's own checksum makes up for the addresses, so the ICMP checksum does not see either.
        let sum = b.half(quote.l3 + 10)?;
        b.set_half(quote.l3 + 10, checksum::apply(sum, addresses))?;
        b.set_word(quote.l3 + 12, flow.dst.0[3])?;
        b.set_word(quote.l3 + 16, flow.src.0[3])?;
    }
    if quote.echo {
        b.set_half(quote.ports, flow.dport.0)?;
        return Some((addresses, checksum::diff(key.dport.0 as u32, flow.dport.0 as u32)));
    }
    let (old, new) = (join(key.dport, key.sport), join(flow.dport, flow.sport));
    b.set_word(quote.ports, new)?;
    Some((addresses, checksum::diff(old, new)))
}

#[inline(always)]
fn quote4<B: Buffer>(b: &B, key: &mut FlowKey, l3: usize) -> Option<Quote> {
    let [first, second, third, src, dst] = b.words::<5>(l3)?;
    let [version, ..] = first.to_ne_bytes();
    let header = ((version & 15) as usize) * 4;
    let [_, _, offset_high, offset_low] = second.to_ne_bytes();
    if version >> 4 != 4 || header < 20 || u16::from_be_bytes([offset_high, offset_low]) & 0x1fff != 0 {
        return None;
    }
    let [_, proto, _, _] = third.to_ne_bytes();
    key.src = Addr([0, 0, 0xffff_u32.to_be(), dst]);
    key.dst = Addr([0, 0, 0xffff_u32.to_be(), src]);
    key.proto = proto;
    ports(b, key, l3, l3 + header, false)
}

#[inline(always)]
fn quote6<B: Buffer>(b: &B, key: &mut FlowKey, l3: usize) -> Option<Quote> {
    let [_, second, s0, s1, s2, s3, d0, d1, d2, d3] = b.words::<10>(l3)?;
    let [_, _, proto, _] = second.to_ne_bytes();
    key.src = Addr([d0, d1, d2, d3]);
    key.dst = Addr([s0, s1, s2, s3]);
    key.proto = proto;
    ports(b, key, l3, l3 + 40, true)
}

/// Completes the key, which is turned round: the quoted source port is its destination port.
#[inline(always)]
fn ports<B: Buffer>(b: &B, key: &mut FlowKey, l3: usize, l4: usize, v6: bool) -> Option<Quote> {
    let [head, rest] = b.words::<2>(l4)?;
    let proto = key.proto;
    if proto == IPPROTO_TCP || proto == IPPROTO_UDP || proto == IPPROTO_SCTP {
        (key.dport, key.sport) = split(head);
        return Some(Quote { l3, ports: l4, echo: false });
    }
    let icmp = proto == IPPROTO_ICMP && !v6 || proto == IPPROTO_ICMPV6 && v6;
    if !icmp || icmp_kind(head.to_ne_bytes()[0], v6) != Kind::Echo {
        return None;
    }
    let (id, _) = split(rest);
    key.sport = id;
    key.dport = id;
    Some(Quote { l3, ports: l4 + 4, echo: true })
}
