//! Rewrites: a packet gets another tuple, and every checksum that covers it follows.

use abi::{Addr, FlowKey, IPPROTO_TCP, IPPROTO_UDP, PodValue};

use crate::{
    Buffer, Flow, checksum,
    parse::{Kind, L3, Packet, Part, join},
    sctp,
};

/// Offsets in the IPv4 header.
const V4_TTL: usize = L3 + 8;
const V4_CHECKSUM: usize = L3 + 10;
const V4_SRC: usize = L3 + 12;
const V4_DST: usize = L3 + 16;
/// Offsets in the IPv6 header.
const V6_HOPS: usize = L3 + 7;
const V6_SRC: usize = L3 + 8;
const V6_DST: usize = L3 + 24;

/// Gives the packet the tuple of `to`. `None` if the packet ends before its headers do, or if its checksum cannot follow (other
/// ports for a fragmented SCTP packet).
#[inline(always)]
pub fn rewrite<B: Buffer>(b: &mut B, p: &Packet, to: &Flow) -> Option<()> {
    let from = &p.tuple;
    let pseudo = addresses(b, p, to)?;
    if p.part == Part::Later {
        return Some(());
    }
    match p.kind {
        Kind::Ports => {
            let (old, new) = (join(from.sport, from.dport), join(to.sport, to.dport));
            let rest = checksum::diff(old, new);
            if from.proto == IPPROTO_TCP {
                b.fix_transport(p.l4 + 16, pseudo, rest, false)?;
            } else if from.proto == IPPROTO_UDP {
                b.fix_transport(p.l4 + 6, pseudo, rest, true)?;
            } else if old != new {
                sctp::fix(b, p, old, new)?;
            }
            b.set_word(p.l4, new)
        }
        Kind::Echo => {
            let rest = checksum::diff(from.sport.0 as u32, to.sport.0 as u32);
            b.fix_transport(p.l4 + 2, if p.v6 { pseudo } else { 0 }, rest, false)?;
            b.set_half(p.l4 + 4, to.sport.0)
        }
        // ICMPv6 of any kind covers the pseudo-header (RFC 4443 section 2.3).
        Kind::Error | Kind::Other => {
            if p.v6 && from.proto == abi::IPPROTO_ICMPV6 {
                b.fix_transport(p.l4 + 2, pseudo, 0, false)?;
            }
            Some(())
        }
    }
}

/// Replaces the addresses of the IP header; returns what that adds to the sum of the pseudo-header.
#[inline(always)]
fn addresses<B: Buffer>(b: &mut B, p: &Packet, to: &Flow) -> Option<u32> {
    let from = &p.tuple;
    let pseudo =
        checksum::add(checksum::diff_addr(&from.src, &to.src, p.v6), checksum::diff_addr(&from.dst, &to.dst, p.v6));
    if p.v6 {
        b.set_words::<4>(V6_SRC, to.src.0)?;
        b.set_words::<4>(V6_DST, to.dst.0)?;
    } else {
        let sum = b.half(V4_CHECKSUM)?;
        b.set_half(V4_CHECKSUM, checksum::apply(sum, pseudo))?;
        b.set_word(V4_SRC, to.src.0[3])?;
        b.set_word(V4_DST, to.dst.0[3])?;
    }
    Some(pseudo)
}

/// Swaps the packet's ends, Ethernet's included, and gives it a new life.
#[inline(always)]
pub fn turn<B: Buffer>(b: &mut B, p: &Packet, ttl: u8) -> Option<()> {
    let [to, mixed, from] = b.words::<3>(0)?;
    let ([a, c, d, e], [f, g, h, i], [j, k, l, m]) = (to.to_ne_bytes(), mixed.to_ne_bytes(), from.to_ne_bytes());
    ethernet(b, [h, i, j, k, l, m], [a, c, d, e, f, g])?;
    if p.v6 {
        b.set_words::<4>(V6_SRC, p.tuple.dst.0)?;
        b.set_words::<4>(V6_DST, p.tuple.src.0)?;
        return b.set_byte(V6_HOPS, ttl);
    }
    b.set_word(V4_SRC, p.tuple.dst.0[3])?;
    b.set_word(V4_DST, p.tuple.src.0[3])?;
    live(b, p, ttl)
}

/// Takes one hop off the packet's life. The caller has seen that there is one to take.
#[inline(always)]
pub fn age<B: Buffer>(b: &mut B, p: &Packet) -> Option<()> {
    if p.v6 {
        return b.set_byte(V6_HOPS, p.ttl.wrapping_sub(1));
    }
    live(b, p, p.ttl.wrapping_sub(1))
}

/// Sets an IPv4 packet's time to live.
#[inline(always)]
fn live<B: Buffer>(b: &mut B, p: &Packet, ttl: u8) -> Option<()> {
    let old = u16::from_ne_bytes([p.ttl, p.tuple.proto]) as u32;
    let new = u16::from_ne_bytes([ttl, p.tuple.proto]) as u32;
    let sum = b.half(V4_CHECKSUM)?;
    b.set_half(V4_CHECKSUM, checksum::apply(sum, checksum::diff(old, new)))?;
    b.set_byte(V4_TTL, ttl)
}

/// Addresses the Ethernet frame to a pod.
#[inline(always)]
pub fn frame<B: Buffer>(b: &mut B, pod: &PodValue) -> Option<()> {
    ethernet(b, pod.mac, pod.host_mac)
}

/// Replaces the Ethernet addresses.
#[inline(always)]
pub fn ethernet<B: Buffer>(b: &mut B, to: [u8; 6], from: [u8; 6]) -> Option<()> {
    let words = [
        u32::from_ne_bytes([to[0], to[1], to[2], to[3]]),
        u32::from_ne_bytes([to[4], to[5], from[0], from[1]]),
        u32::from_ne_bytes([from[2], from[3], from[4], from[5]]),
    ];
    b.set_words::<3>(0, words)
}

/// What two addresses differ in: zero if in nothing. Without a branch, since each would be another path to the verifier.
#[inline(always)]
pub fn difference(a: &Addr, b: &Addr) -> u32 {
    (a.0[0] ^ b.0[0]) | (a.0[1] ^ b.0[1]) | (a.0[2] ^ b.0[2]) | (a.0[3] ^ b.0[3])
}

/// Makes `key` the tuple with which packets in the other direction of a translated flow arrive.
#[inline(always)]
pub fn reverse(key: &mut FlowKey, to: &Flow, proto: u8) {
    key.src = to.dst;
    key.dst = to.src;
    key.sport = to.dport;
    key.dport = to.sport;
    key.proto = proto;
}
