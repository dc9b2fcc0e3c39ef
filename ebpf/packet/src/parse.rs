//! From bytes to a five-tuple: Ethernet, IPv4 with options, IPv6 with extension headers, TCP, UDP, SCTP, ICMP.

use abi::{Addr, Be16, Counter, FlowKey, IPPROTO_ICMP, IPPROTO_ICMPV6, IPPROTO_SCTP, IPPROTO_TCP, IPPROTO_UDP};

use crate::{Buffer, Scratch};

/// Offset of the IP header: tags are taken off by the driver, so it follows the plain Ethernet header.
pub const L3: usize = 14;
/// TCP flag bits (RFC 9293 section 3.1).
pub const TCP_FIN: u8 = 1;
pub const TCP_SYN: u8 = 2;
pub const TCP_RST: u8 = 4;
pub const TCP_ACK: u8 = 16;

/// EtherType of IPv4 as it lies in memory.
pub const ETH_IPV4: u16 = 0x0800_u16.to_be();
/// EtherType of IPv6 as it lies in memory.
pub const ETH_IPV6: u16 = 0x86dd_u16.to_be();
/// IPv6 extension headers followed before the packet is given up (RFC 8200 section 4.1 knows at most five before the payload).
const MAX_EXTENSIONS: usize = 5;

/// What the transport header looks like to a translator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// Ports at the start of the transport header.
    Ports,
    /// ICMP echo: the identifier stands for both ports.
    Echo,
    /// An ICMP error that quotes the packet which caused it.
    Error,
    /// No ports.
    #[default]
    Other,
}

/// Which part of a datagram this is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Part {
    #[default]
    Whole,
    First,
    Later,
}

/// A parsed packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Packet {
    pub tuple: FlowKey,
    /// Offset of the transport header.
    pub l4: usize,
    /// Offset at which the IP packet ends by its own account; what follows pads the frame. [`usize::MAX`] if it does not say.
    pub end: usize,
    /// Identification of a fragment.
    pub id: u32,
    pub v6: bool,
    pub kind: Kind,
    pub part: Part,
    pub ttl: u8,
    /// TCP flags, zero for everything else.
    pub tcp: u8,
}

impl Packet {
    /// Whether this opens a TCP connection.
    #[inline(always)]
    pub fn is_syn(&self) -> bool {
        self.tcp & (TCP_SYN | TCP_ACK) == TCP_SYN
    }

    /// Whether this ends a TCP connection.
    #[inline(always)]
    pub fn is_closing(&self) -> bool {
        self.tcp & (TCP_FIN | TCP_RST) != 0
    }
}

/// Why a packet has no tuple.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unparsed {
    #[default]
    NotIp,
    Malformed,
}

impl Unparsed {
    /// The counter of a drop for this reason.
    #[inline(always)]
    pub fn counter(self) -> Counter {
        match self {
            Unparsed::NotIp => Counter::DropUnsupported,
            Unparsed::Malformed => Counter::DropMalformed,
        }
    }
}

/// Parses a packet into [`Scratch::packet`]; if there is none, [`Scratch::unparsed`] says why.
#[inline(always)]
pub fn parse<B: Buffer>(b: &B, s: &mut Scratch) -> bool {
    s.unparsed = Unparsed::Malformed;
    let Some(kind) = b.half(12) else { return false };
    // What a driver took a tag off belongs to the VLAN's own device, not to this one.
    if b.is_tagged() || (kind != ETH_IPV4 && kind != ETH_IPV6) {
        s.unparsed = Unparsed::NotIp;
        return false;
    }
    headers(b, &mut s.packet)
}

/// Parses a packet; `false` if it is not IP or ends before its headers do.
#[inline(always)]
pub fn headers<B: Buffer>(b: &B, p: &mut Packet) -> bool {
    let Some(kind) = b.half(12) else { return false };
    if kind == ETH_IPV4 {
        headers4(b, p)
    } else if kind == ETH_IPV6 {
        headers6(b, p)
    } else {
        false
    }
}

/// Parses a packet whose EtherType is IPv4's; `false` if it is not or ends before its headers do.
#[inline(always)]
pub fn headers4<B: Buffer>(b: &B, p: &mut Packet) -> bool {
    ipv4(b, p).is_some() && transport(b, p).is_some()
}

/// Parses a packet whose EtherType is IPv6's; `false` if it is not or ends before its headers do.
#[inline(always)]
pub fn headers6<B: Buffer>(b: &B, p: &mut Packet) -> bool {
    ipv6(b, p).is_some() && transport(b, p).is_some()
}

#[inline(always)]
fn ipv4<B: Buffer>(b: &B, p: &mut Packet) -> Option<()> {
    let [first, second, third, src, dst] = b.words::<5>(L3)?;
    let [version, _, len_high, len_low] = first.to_ne_bytes();
    let header = ((version & 15) as usize) * 4;
    let len = u16::from_be_bytes([len_high, len_low]) as usize;
    // An aggregate of more than 64 KiB has no length (BIG TCP, ip_set_totlen in the kernel).
    let endless = len == 0 && b.segment() != 0;
    if version >> 4 != 4 || header < 20 || len < header && !endless {
        return None;
    }
    p.end = if endless { usize::MAX } else { L3 + len };
    let [_, _, offset_high, offset_low] = second.to_ne_bytes();
    let offset = u16::from_be_bytes([offset_high, offset_low]);
    p.part = if offset & 0x1fff != 0 {
        Part::Later
    } else if offset & 0x2000 != 0 {
        Part::First
    } else {
        Part::Whole
    };
    let [ttl, proto, _, _] = third.to_ne_bytes();
    // It would overwrite the flags that the first fragment was judged by (RFC 1858 section 4).
    if proto == IPPROTO_TCP && offset & 0x1fff == 1 {
        return None;
    }
    p.tuple.src = Addr([0, 0, 0xffff_u32.to_be(), src]);
    p.tuple.dst = Addr([0, 0, 0xffff_u32.to_be(), dst]);
    p.tuple.proto = proto;
    p.l4 = L3 + header;
    p.id = split(second).0.0 as u32;
    p.v6 = false;
    p.ttl = ttl;
    Some(())
}

#[inline(always)]
fn ipv6<B: Buffer>(b: &B, p: &mut Packet) -> Option<()> {
    let [first, second, s0, s1, s2, s3, d0, d1, d2, d3] = b.words::<10>(L3)?;
    if first.to_ne_bytes()[0] >> 4 != 6 {
        return None;
    }
    let [len_high, len_low, mut next, ttl] = second.to_ne_bytes();
    let len = u16::from_be_bytes([len_high, len_low]) as usize;
    // A jumbogram says its length in its first option (RFC 2675 section 2).
    p.end = if len == 0 && next == 0 { usize::MAX } else { L3 + 40 + len };
    let mut off = L3 + 40;
    p.part = Part::Whole;
    p.id = 0;
    for _ in 0..MAX_EXTENSIONS {
        // RFC 8200 section 4: hop-by-hop 0, routing 43, fragment 44, destination options 60.
        if next == 44 {
            let [head, ident] = b.words::<2>(off)?;
            let [following, _, offset_high, offset_low] = head.to_ne_bytes();
            let offset = u16::from_be_bytes([offset_high, offset_low]);
            p.id = ident;
            next = following;
            off += 8;
            if offset & 0xfff8 != 0 {
                p.part = Part::Later;
                break;
            }
            if offset & 1 != 0 {
                p.part = Part::First;
            }
        } else if next == 0 || next == 43 || next == 60 {
            let [following, len] = b.half(off)?.to_ne_bytes();
            next = following;
            off += (len as usize + 1) * 8;
        } else {
            break;
        }
    }
    p.tuple.src = Addr([s0, s1, s2, s3]);
    p.tuple.dst = Addr([d0, d1, d2, d3]);
    p.tuple.proto = next;
    p.l4 = off;
    p.v6 = true;
    p.ttl = ttl;
    Some(())
}

/// Fills in kind, ports and flags. A later fragment has no transport header.
#[inline(always)]
fn transport<B: Buffer>(b: &B, p: &mut Packet) -> Option<()> {
    let proto = p.tuple.proto;
    p.tuple.sport = Be16(0);
    p.tuple.dport = Be16(0);
    p.tcp = 0;
    p.kind = Kind::Other;
    if proto == IPPROTO_TCP || proto == IPPROTO_UDP || proto == IPPROTO_SCTP {
        p.kind = Kind::Ports;
        if p.part != Part::Later {
            let header = if proto == IPPROTO_TCP {
                20
            } else if proto == IPPROTO_SCTP {
                12
            } else {
                8
            };
            whole(p, header)?;
            let [ports, _] = b.words::<2>(p.l4)?;
            (p.tuple.sport, p.tuple.dport) = split(ports);
            if proto == IPPROTO_TCP {
                let [head, _] = b.words::<2>(p.l4 + 12)?;
                p.tcp = head.to_ne_bytes()[1];
            }
        }
    } else if proto == IPPROTO_ICMP && !p.v6 || proto == IPPROTO_ICMPV6 && p.v6 {
        if p.part == Part::Later {
            return Some(());
        }
        whole(p, 8)?;
        let [head, rest] = b.words::<2>(p.l4)?;
        p.kind = icmp_kind(head.to_ne_bytes()[0], p.v6);
        if p.kind == Kind::Echo {
            let (id, _) = split(rest);
            p.tuple.sport = id;
            p.tuple.dport = id;
        }
    }
    Some(())
}

/// Whether so many bytes of transport header are in the packet, and not only in the frame.
#[inline(always)]
fn whole(p: &Packet, bytes: usize) -> Option<()> {
    if p.l4 + bytes > p.end { None } else { Some(()) }
}

/// What kind of ICMP message a type is (RFC 792, RFC 4443 section 2.1).
#[inline(always)]
pub fn icmp_kind(kind: u8, v6: bool) -> Kind {
    let (echo, error) = if v6 {
        (kind == 128 || kind == 129, matches!(kind, 1..=4))
    } else {
        (kind == 8 || kind == 0, kind == 3 || kind == 11 || kind == 12)
    };
    if echo {
        Kind::Echo
    } else if error {
        Kind::Error
    } else {
        Kind::Other
    }
}

/// Source and destination port from the word that holds both.
#[inline(always)]
pub fn split(ports: u32) -> (Be16, Be16) {
    let [a, b, c, d] = ports.to_ne_bytes();
    (Be16(u16::from_ne_bytes([a, b])), Be16(u16::from_ne_bytes([c, d])))
}

/// The word that holds both ports.
#[inline(always)]
pub fn join(sport: Be16, dport: Be16) -> u32 {
    let ([a, b], [c, d]) = (sport.0.to_ne_bytes(), dport.0.to_ne_bytes());
    u32::from_ne_bytes([a, b, c, d])
}
