//! Frames with whole checksums, and the full recomputation that incremental updates are held against.

use std::net::IpAddr;

use abi::{IPPROTO_ICMP, IPPROTO_ICMPV6, IPPROTO_SCTP, IPPROTO_TCP, IPPROTO_UDP};

use crate::sctp;

/// Where a fragment lies in its datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragment {
    pub id: u32,
    /// In units of eight bytes.
    pub offset: u16,
    pub more: bool,
}

/// A packet to be built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    pub src: IpAddr,
    pub dst: IpAddr,
    pub proto: u8,
    /// For ICMP the identifier; echo requests are built, or replies if `dport` is 0.
    pub sport: u16,
    pub dport: u16,
    pub tcp_flags: u8,
    pub ttl: u8,
    /// Words of IPv4 options, or IPv6 destination options headers of eight bytes.
    pub options: u8,
    pub fragment: Option<Fragment>,
    pub payload: Vec<u8>,
    /// A UDP datagram without a checksum.
    pub no_checksum: bool,
    pub from_mac: [u8; 6],
    pub to_mac: [u8; 6],
}

impl Spec {
    /// A packet with nothing special.
    pub fn new(src: IpAddr, dst: IpAddr, proto: u8, sport: u16, dport: u16) -> Spec {
        Spec {
            src,
            dst,
            proto,
            sport,
            dport,
            tcp_flags: 0x10,
            ttl: 64,
            options: 0,
            fragment: None,
            payload: b"gannet".to_vec(),
            no_checksum: false,
            from_mac: [2, 0, 0, 0, 0, 1],
            to_mac: [2, 0, 0, 0, 0, 2],
        }
    }

    /// The whole frame.
    pub fn build(&self) -> Vec<u8> {
        let later = self.fragment.is_some_and(|f| f.offset != 0);
        self.frame(self.fragment, &if later { self.payload.clone() } else { self.transport() })
    }

    /// The packet in fragments of so many bytes, a multiple of eight, and the rest.
    pub fn cut(&self, id: u32, bytes: usize) -> Vec<Vec<u8>> {
        let transport = self.transport();
        let pieces = transport.chunks(bytes).enumerate().map(|(i, piece)| {
            let (offset, more) = ((i * bytes / 8) as u16, (i + 1) * bytes < transport.len());
            self.frame(Some(Fragment { id, offset, more }), piece)
        });
        pieces.collect()
    }

    fn frame(&self, fragment: Option<Fragment>, transport: &[u8]) -> Vec<u8> {
        let mut frame = [self.to_mac, self.from_mac].concat();
        match (self.src, self.dst) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => {
                frame.extend([8, 0]);
                let header_words = 5 + self.options.min(10);
                let len = u16::from(header_words) * 4 + transport.len() as u16;
                let fragment = fragment.map_or([0; 4], |f| {
                    let [i, d] = (f.id as u16).to_be_bytes();
                    let [h, l] = (f.offset | u16::from(f.more) << 13).to_be_bytes();
                    [i, d, h, l]
                });
                let mut header = vec![0x40 | header_words, 0];
                header.extend(len.to_be_bytes());
                header.extend(fragment);
                header.extend([self.ttl, self.proto, 0, 0]);
                header.extend(src.octets());
                header.extend(dst.octets());
                // No-operation options (RFC 791 section 3.1).
                header.resize(usize::from(header_words) * 4, 1);
                let sum = !sum(&header, 0);
                header[10..12].copy_from_slice(&sum.to_be_bytes());
                frame.extend(header);
            }
            (IpAddr::V6(src), IpAddr::V6(dst)) => {
                frame.extend([0x86, 0xdd]);
                let mut extensions = Vec::new();
                let mut kinds = vec![60; usize::from(self.options.min(3))];
                kinds.extend(fragment.map(|_| 44));
                let first = kinds.first().copied().unwrap_or(self.proto);
                for (i, kind) in kinds.iter().enumerate() {
                    let next = kinds.get(i + 1).copied().unwrap_or(self.proto);
                    match (kind, fragment) {
                        (44, Some(f)) => {
                            extensions.extend([next, 0]);
                            extensions.extend((f.offset << 3 | u16::from(f.more)).to_be_bytes());
                            extensions.extend(f.id.to_be_bytes());
                        }
                        // PadN of four bytes (RFC 8200 section 4.2).
                        _ => extensions.extend([next, 0, 1, 4, 0, 0, 0, 0]),
                    }
                }
                frame.extend([0x60, 0, 0, 0]);
                frame.extend(((extensions.len() + transport.len()) as u16).to_be_bytes());
                frame.extend([first, self.ttl]);
                frame.extend(src.octets());
                frame.extend(dst.octets());
                frame.extend(extensions);
            }
            (src, dst) => panic!("addresses of two families: {src} {dst}"),
        }
        frame.extend(transport);
        frame
    }

    fn transport(&self) -> Vec<u8> {
        let mut t = Vec::new();
        match self.proto {
            IPPROTO_ICMP | IPPROTO_ICMPV6 => {
                let request = if self.proto == IPPROTO_ICMP { 8 } else { 128 };
                let reply = if self.proto == IPPROTO_ICMP { 0 } else { 129 };
                t.extend([if self.dport == 0 { reply } else { request }, 0, 0, 0]);
                t.extend(self.sport.to_be_bytes());
                t.extend([0, 7]);
            }
            IPPROTO_TCP => {
                t.extend(self.sport.to_be_bytes());
                t.extend(self.dport.to_be_bytes());
                t.extend([0, 0, 0, 1, 0, 0, 0, 2, 0x50, self.tcp_flags, 0x20, 0, 0, 0, 0, 0]);
            }
            IPPROTO_SCTP => {
                t.extend(self.sport.to_be_bytes());
                t.extend(self.dport.to_be_bytes());
                t.extend([0, 0, 0, 9, 0, 0, 0, 0]);
            }
            _ => {
                t.extend(self.sport.to_be_bytes());
                t.extend(self.dport.to_be_bytes());
                t.extend((8 + self.payload.len() as u16).to_be_bytes());
                t.extend([0, 0]);
            }
        }
        t.extend(&self.payload);
        if self.proto == IPPROTO_SCTP && !self.no_checksum {
            let sum = crc32c(&t);
            t[8..12].copy_from_slice(&sum.to_le_bytes());
        }
        let at = match self.proto {
            IPPROTO_ICMP | IPPROTO_ICMPV6 => 2,
            IPPROTO_TCP => 16,
            IPPROTO_UDP if !self.no_checksum => 6,
            _ => return t,
        };
        let pseudo = if self.proto == IPPROTO_ICMP { 0 } else { pseudo(self.src, self.dst, self.proto, t.len()) };
        let mut value = !sum(&t, pseudo);
        if value == 0 && self.proto == IPPROTO_UDP {
            value = 0xffff;
        }
        t[at..at + 2].copy_from_slice(&value.to_be_bytes());
        t
    }
}

/// An ICMP destination-unreachable from `src` to the sender of `frame`, which it quotes (28 or 48 bytes of it).
pub fn icmp_error(src: IpAddr, dst: IpAddr, frame: &[u8]) -> Vec<u8> {
    let v6 = src.is_ipv6();
    let mut t = vec![if v6 { 1 } else { 3 }, if v6 { 4 } else { 3 }, 0, 0, 0, 0, 0, 0];
    t.extend(frame.iter().skip(14).take(if v6 { 48 } else { 60 }));
    let proto = if v6 { IPPROTO_ICMPV6 } else { IPPROTO_ICMP };
    let value = !sum(&t, if v6 { pseudo(src, dst, proto, t.len()) } else { 0 });
    t[2..4].copy_from_slice(&value.to_be_bytes());
    // Any protocol without a transport header of its own gives the IP header; then the message is put in.
    let mut out = Spec { payload: Vec::new(), ..Spec::new(src, dst, 255, 0, 0) }.build();
    out.truncate(out.len() - 8);
    let len = t.len() as u16 + if v6 { 0 } else { 20 };
    let at = if v6 { 18 } else { 16 };
    out[at..at + 2].copy_from_slice(&len.to_be_bytes());
    if v6 {
        out[20] = proto;
    } else {
        out[23] = proto;
        out[24..26].fill(0);
        let value = !sum(&out[14..34], 0);
        out[24..26].copy_from_slice(&value.to_be_bytes());
    }
    out.extend(t);
    out
}

/// Recomputes the checksums of an unfragmented packet; says which one is wrong.
pub fn check(frame: &[u8]) -> Result<(), String> {
    let (src, dst, proto, at): (IpAddr, IpAddr, u8, usize) = match frame.get(12..14) {
        Some([8, 0]) => {
            let header = usize::from(frame[14] & 15) * 4;
            if sum(&frame[14..14 + header], 0) != 0xffff {
                return Err("IPv4 header checksum".to_owned());
            }
            let octets = |i: usize| <[u8; 4]>::try_from(&frame[i..i + 4]).expect("four bytes were taken");
            (octets(26).into(), octets(30).into(), frame[23], 14 + header)
        }
        Some([0x86, 0xdd]) => {
            let octets = |i: usize| <[u8; 16]>::try_from(&frame[i..i + 16]).expect("sixteen bytes were taken");
            let (mut next, mut at) = (frame[20], 54);
            while next == 60 {
                next = frame[at];
                at += 8;
            }
            (octets(22).into(), octets(38).into(), next, at)
        }
        _ => return Err("not IP".to_owned()),
    };
    let t = &frame[at..];
    let pseudo = if proto == IPPROTO_ICMP { 0 } else { pseudo(src, dst, proto, t.len()) };
    match proto {
        IPPROTO_UDP if t[6..8] == [0, 0] => Ok(()),
        IPPROTO_SCTP if t[8..12] != [0; 4] => {
            let rest = [&t[..8], &[0; 4], &t[12..]].concat();
            if crc32c(&rest).to_le_bytes() == t[8..12] { Ok(()) } else { Err("SCTP checksum".to_owned()) }
        }
        IPPROTO_TCP | IPPROTO_UDP | IPPROTO_ICMP | IPPROTO_ICMPV6 if sum(t, pseudo) != 0xffff => {
            Err(format!("transport checksum of protocol {proto}"))
        }
        _ => Ok(()),
    }
}

/// The checksum of an SCTP packet whose own is zero, bit by bit.
fn crc32c(bytes: &[u8]) -> u32 {
    let step = |register: u32, _| (register >> 1) ^ if register & 1 == 1 { sctp::POLYNOMIAL } else { 0 };
    !bytes.iter().fold(u32::MAX, |register, byte| (0..8).fold(register ^ u32::from(*byte), step))
}

/// The sum of the pseudo-header (RFC 9293 section 3.1, RFC 8200 section 8.1).
fn pseudo(src: IpAddr, dst: IpAddr, proto: u8, len: usize) -> u16 {
    let mut bytes = Vec::new();
    for addr in [src, dst] {
        match addr {
            IpAddr::V4(a) => bytes.extend(a.octets()),
            IpAddr::V6(a) => bytes.extend(a.octets()),
        }
    }
    bytes.extend((len as u32).to_be_bytes());
    bytes.extend([0, 0, 0, proto]);
    sum(&bytes, 0)
}

/// One's complement sum of big-endian words, from `start`.
fn sum(bytes: &[u8], start: u16) -> u16 {
    let mut sum = u32::from(start);
    for pair in bytes.chunks(2) {
        sum += u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}
