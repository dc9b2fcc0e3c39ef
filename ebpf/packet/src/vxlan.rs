//! VXLAN (RFC 7348) as the kernel's device makes it, for where there is no device: at XDP.

use abi::{Addr, Be16, Config, IPPROTO_UDP, VXLAN_PORT};

use crate::{
    Buffer, Scratch, checksum, nat,
    parse::{ETH_IPV4, L3, Packet, Part, join},
    service,
};

/// Outer Ethernet, IPv4, UDP and VXLAN headers.
pub const OUTER: usize = 50;
/// Where UDP begins in them.
const UDP: usize = L3 + 20;
/// The flag that says that the network's number is valid.
const VALID: u32 = 0x0800_0000_u32.to_be();
const TTL: u8 = 64;
/// First source port, and bits of the flow's hash in it (RFC 7348 section 5: from the dynamic ports).
const FIRST_PORT: u16 = 0xc000;
const PORT_BITS: u32 = 14;

/// The network of a packet for `own` that has been parsed and is VXLAN; `None` if it is anything but what nodes send each other: IPv4
/// without options, whole, without a UDP checksum (which nobody has looked at yet), of consistent lengths. `len` is that of the frame.
#[inline(always)]
pub fn network<B: Buffer>(b: &B, p: &Packet, own: &Addr, len: usize) -> Option<u32> {
    let apart = nat::difference(&p.tuple.dst, own);
    if p.v6 || p.l4 != UDP || p.part != Part::Whole || apart != 0 {
        return None;
    }
    let total = u16::from_be(b.half(L3 + 2)?) as usize;
    let [_, second, flags, vni] = b.words::<4>(UDP)?;
    let [high, low, sum_high, sum_low] = second.to_ne_bytes();
    let udp = u16::from_be_bytes([high, low]) as usize;
    if sum_high | sum_low != 0 || flags != VALID || udp + 20 != total || total + L3 > len {
        return None;
    }
    Some(u32::from_be(vni) >> 8)
}

/// Writes the outer headers before the packet in [`Scratch::packet`], for which there is room. `bytes` is the length of the inner frame;
/// next hop and other node are in [`Scratch`].
#[inline(always)]
pub fn write<B: Buffer>(b: &mut B, cfg: &Config, s: &Scratch, vni: u32, bytes: usize) -> Option<()> {
    let (hop, inner) = (&s.next_hop, OUTER + L3);
    // As the device does: the inner header's congestion bits (RFC 6040) and none of the rest. The identification repeats the inner one,
    // for a path that has to cut the outer packet.
    let head = b.word(inner)?;
    let [_, second, _, _] = head.to_ne_bytes();
    let (ecn, id) = if s.packet.v6 { (second >> 4 & 3, 0) } else { (second & 3, b.half(inner + 4)?) };
    nat::ethernet(b, hop.to, hop.from)?;
    b.set_half(12, ETH_IPV4)?;
    let [high, low] = ((bytes + OUTER - L3) as u16).to_be_bytes();
    let [id_high, id_low] = id.to_ne_bytes();
    let words = [
        u32::from_ne_bytes([0x45, ecn, high, low]),
        u32::from_ne_bytes([id_high, id_low, 0, 0]),
        u32::from_ne_bytes([TTL, IPPROTO_UDP, 0, 0]),
        cfg.node4.0[3],
        hop.dst.0[3],
    ];
    let sum =
        checksum::add(checksum::add(words[0], words[1]), checksum::add(words[2], checksum::add(words[3], words[4])));
    let checked = words[2] | (checksum::fold(sum) as u32) << 16;
    b.set_words::<5>(L3, [words[0], words[1], checked, words[3], words[4]])?;
    let port = FIRST_PORT | (service::hash(&s.packet.tuple, cfg.seed) >> (32 - PORT_BITS)) as u16;
    let [udp_high, udp_low] = ((bytes + OUTER - UDP) as u16).to_be_bytes();
    let ports = join(Be16::new(port), VXLAN_PORT);
    b.set_words::<4>(UDP, [ports, u32::from_ne_bytes([udp_high, udp_low, 0, 0]), VALID, (vni << 8).to_be()])
}
