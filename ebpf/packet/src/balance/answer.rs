//! What the balancer answers by itself: echo requests to its addresses, and packets too large for the outer header.

use abi::{
    Addr, Be16, IPPROTO_ICMP, IPPROTO_ICMPV6,
    balance::{ANSWERS_PER_S, Config, GATE_ANSWERS},
};

use super::{Balancer, ETH_IPV4, ETH_IPV6, Frame, OUTER_FIRST, OUTER_TTL, ethernet, find, pass};
use crate::{
    checksum, icmp,
    parse::{L3, Packet},
};

/// Words of the packet that an error quotes: the header with the longest options and the ports (RFC 792 asks for eight bytes behind the
/// header, RFC 4443 for what fits), and no more, since the sum is made here.
const QUOTE4: usize = 17;
const QUOTE6: usize = 24;
/// Bytes of the headers of an error.
const ERROR4: usize = 28;
const ERROR6: usize = 48;
/// Type and code of "fragmentation needed" and of "packet too big" (RFC 792, RFC 4443 section 3.2).
const NEEDED4: u32 = u32::from_ne_bytes([3, 4, 0, 0]);
const NEEDED6: u32 = u32::from_ne_bytes([2, 0, 0, 0]);

/// Answers an echo request to a virtual address; such an address has a row for ICMP without a port. `false` if it is none, and then
/// it is as it was.
#[inline(always)]
pub fn echo<B: Frame, T: Balancer>(b: &mut B, t: &T, p: &mut Packet) -> bool {
    p.tuple.sport = Be16(0);
    p.tuple.dport = Be16(0);
    let Some(cfg) = t.config() else { return false };
    let kind = if p.v6 { ETH_IPV6 } else { ETH_IPV4 };
    find(t, p).is_some() && icmp::answer(b, p).is_some() && ethernet(b, cfg, kind).is_some()
}

/// Tells the sender of a packet that is too large how large it may be: `most` bytes. Also if it may be fragmented, which is not done here:
/// the sender can. `false`: it is not told, because others were in this second, or the packet cannot be changed.
#[inline(always)]
pub fn too_big<B: Frame, T: Balancer>(b: &mut B, t: &T, p: &mut Packet, most: u32) -> bool {
    let Some(cfg) = t.config() else { return false };
    if !pass(t, GATE_ANSWERS, t.now_s(), ANSWERS_PER_S) {
        return false;
    }
    let told = if p.v6 { error6(b, cfg, p, most) } else { error4(b, cfg, p, most) };
    told.is_some()
}

#[inline(always)]
fn error4<B: Frame>(b: &mut B, cfg: &Config, p: &Packet, most: u32) -> Option<()> {
    const TOTAL: u16 = (ERROR4 + 4 * QUOTE4) as u16;
    let [high, low] = (most as u16).to_be_bytes();
    let size = u32::from_ne_bytes([0, 0, high, low]);
    let sum = checksum::fold(checksum::add(quoted::<B, QUOTE4>(b)?, checksum::add(NEEDED4, size)));
    b.cut(L3 + 4 * QUOTE4)?;
    b.push::<ERROR4>()?;
    ethernet(b, cfg, ETH_IPV4)?;
    let [high, low] = TOTAL.to_be_bytes();
    let first = OUTER_FIRST | u32::from_ne_bytes([0, 0, high, low]);
    let third = u32::from_ne_bytes([OUTER_TTL, IPPROTO_ICMP, 0, 0]);
    let (src, dst) = (p.tuple.dst.0[3], p.tuple.src.0[3]);
    let head = checksum::fold(checksum::add(checksum::add(first, third), checksum::add(src, dst)));
    b.set_words::<5>(L3, [first, 0, third | (head as u32) << 16, src, dst])?;
    b.set_words::<2>(L3 + 20, [NEEDED4 | (sum as u32) << 16, size])
}

#[inline(always)]
fn error6<B: Frame>(b: &mut B, cfg: &Config, p: &Packet, most: u32) -> Option<()> {
    const PAYLOAD: u16 = (ERROR6 - 40 + 4 * QUOTE6) as u16;
    let size = most.to_be();
    let [high, low] = PAYLOAD.to_be_bytes();
    let pseudo = checksum::add(u32::from_ne_bytes([0, 0, high, low]), u32::from_ne_bytes([0, 0, 0, IPPROTO_ICMPV6]));
    let ends = checksum::add(sum_of(&p.tuple.src), sum_of(&p.tuple.dst));
    let message = checksum::add(quoted::<B, QUOTE6>(b)?, checksum::add(NEEDED6, size));
    let sum = checksum::fold(checksum::add(message, checksum::add(pseudo, ends)));
    b.cut(L3 + 4 * QUOTE6)?;
    b.push::<ERROR6>()?;
    ethernet(b, cfg, ETH_IPV6)?;
    b.set_words::<2>(
        L3,
        [u32::from_ne_bytes([0x60, 0, 0, 0]), u32::from_ne_bytes([high, low, IPPROTO_ICMPV6, OUTER_TTL])],
    )?;
    b.set_words::<4>(L3 + 8, p.tuple.dst.0)?;
    b.set_words::<4>(L3 + 24, p.tuple.src.0)?;
    b.set_words::<2>(L3 + 40, [NEEDED6 | (sum as u32) << 16, size])
}

#[inline(always)]
fn sum_of(addr: &Addr) -> u32 {
    let [a, b, c, d] = addr.0;
    checksum::add(checksum::add(a, b), checksum::add(c, d))
}

/// The sum of the words that are quoted.
#[inline(always)]
fn quoted<B: Frame, const N: usize>(b: &B) -> Option<u32> {
    let (mut sum, mut i) = (0, 0);
    while i < N {
        sum = checksum::add(sum, b.word(L3 + 4 * i)?);
        i += 1;
    }
    Some(sum)
}
