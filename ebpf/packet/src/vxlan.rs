//! VXLAN (RFC 7348) as the kernel's device makes it, for where there is no device: at XDP.

use abi::{Be16, Config, IPPROTO_UDP, VXLAN_PORT};

use crate::{
    Buffer, Scratch, checksum, nat,
    parse::{ETH_IPV4, ETH_IPV6, L3, Packet, Part, join},
    route, service,
};

/// Outer Ethernet, IPv4, UDP and VXLAN headers.
pub const OUTER_V4: usize = 50;
/// The same with IPv6.
pub const OUTER_V6: usize = 70;
/// UDP and VXLAN headers, the last of them.
const UDP_BYTES: usize = 16;
/// The flag that says that the network's number is valid.
const VALID: u32 = 0x0800_0000_u32.to_be();
const TTL: u8 = 64;
/// First source port, and bits of the flow's hash in it (RFC 7348 section 5: from the dynamic ports).
const FIRST_PORT: u16 = 0xc000;
const PORT_BITS: u32 = 14;

/// Bytes of the outer headers.
#[inline(always)]
pub fn outer(v6: bool) -> usize {
    if v6 { OUTER_V6 } else { OUTER_V4 }
}

/// The network of a packet for this node that has been parsed and is VXLAN; `None` if it is anything but what nodes send each other: without
/// options or extensions, whole, without a UDP checksum (which nobody has looked at yet; RFC 6935 section 5 allows it over IPv6), of
/// consistent lengths. `len` is that of the frame.
#[inline(always)]
pub fn network<B: Buffer>(b: &B, p: &Packet, cfg: &Config, len: usize) -> Option<u32> {
    let at = outer(p.v6) - UDP_BYTES;
    if p.l4 != at || p.part != Part::Whole || !route::is_own(cfg, &p.tuple.dst) {
        return None;
    }
    let [_, second, flags, vni] = b.words::<4>(at)?;
    let [high, low, sum_high, sum_low] = second.to_ne_bytes();
    let udp = u16::from_be_bytes([high, low]) as usize;
    if sum_high | sum_low != 0 || flags != VALID || at + udp != p.end || p.end > len {
        return None;
    }
    Some(u32::from_be(vni) >> 8)
}

/// Writes the outer headers before the packet in [`Scratch::packet`], for which there is room: [`Scratch::outer`] bytes of it. `bytes` is the
/// length of the inner frame; next hop, this node's address and the other's are in [`Scratch`].
#[inline(always)]
pub fn write<B: Buffer>(b: &mut B, cfg: &Config, s: &Scratch, vni: u32, bytes: usize) -> Option<()> {
    let (hop, v6) = (&s.next_hop, s.outer == OUTER_V6);
    let inner = outer(v6) + L3;
    // As the device does: the inner header's congestion bits (RFC 6040) and none of the rest. The identification repeats the inner one,
    // for a path that has to cut the outer packet.
    let [_, second, _, _] = b.word(inner)?.to_ne_bytes();
    let (ecn, id) = if s.packet.v6 { (second >> 4 & 3, 0) } else { (second & 3, b.half(inner + 4)?) };
    nat::ethernet(b, hop.to, hop.from)?;
    let [high, low] = ((bytes + outer(v6) - L3) as u16).to_be_bytes();
    let [udp_high, udp_low] = ((bytes + UDP_BYTES) as u16).to_be_bytes();
    if v6 {
        b.set_half(12, ETH_IPV6)?;
        let ([s0, s1, s2, s3], [d0, d1, d2, d3]) = (hop.src.0, hop.dst.0);
        let first = u32::from_ne_bytes([0x60, ecn << 4, 0, 0]);
        // What follows this header is as long as UDP says.
        let second = u32::from_ne_bytes([udp_high, udp_low, IPPROTO_UDP, TTL]);
        b.set_words::<10>(L3, [first, second, s0, s1, s2, s3, d0, d1, d2, d3])?;
    } else {
        b.set_half(12, ETH_IPV4)?;
        let [id_high, id_low] = id.to_ne_bytes();
        let words = [
            u32::from_ne_bytes([0x45, ecn, high, low]),
            u32::from_ne_bytes([id_high, id_low, 0, 0]),
            u32::from_ne_bytes([TTL, IPPROTO_UDP, 0, 0]),
            hop.src.0[3],
            hop.dst.0[3],
        ];
        let sum = checksum::add(
            checksum::add(words[0], words[1]),
            checksum::add(words[2], checksum::add(words[3], words[4])),
        );
        let checked = words[2] | (checksum::fold(sum) as u32) << 16;
        b.set_words::<5>(L3, [words[0], words[1], checked, words[3], words[4]])?;
    }
    let port = FIRST_PORT | (service::hash(&s.packet.tuple, cfg.seed) >> (32 - PORT_BITS)) as u16;
    let udp = [join(Be16::new(port), VXLAN_PORT), u32::from_ne_bytes([udp_high, udp_low, 0, 0]), VALID];
    b.set_words::<4>(outer(v6) - UDP_BYTES, [udp[0], udp[1], udp[2], (vni << 8).to_be()])
}
