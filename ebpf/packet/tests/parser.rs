//! The parser against a plain reader of the same formats, on every combination of the fields that decide where it looks: what it
//! takes for ports lies in the packet, by the packet's own account and by the frame's.

use packet::{
    Scratch,
    host::Frame,
    parse::{self, Kind, Packet, Part},
};

/// What the plain reader finds: protocol, ports, part.
#[derive(Debug, PartialEq, Eq)]
struct Read {
    proto: u8,
    ports: (u16, u16),
    part: Part,
    kind: Kind,
}

/// RFC 791, byte by byte.
fn read4(ip: &[u8]) -> Option<Read> {
    let total = usize::from(u16::from_be_bytes([*ip.get(2)?, *ip.get(3)?]));
    let header = usize::from(ip.first()? & 15) * 4;
    if ip.len() < 20 || ip[0] >> 4 != 4 || header < 20 || total < header {
        return None;
    }
    let place = u16::from_be_bytes([ip[6], ip[7]]);
    let later = place & 0x1fff != 0;
    if ip[9] == 6 && place & 0x1fff == 1 {
        return None;
    }
    let part = if later {
        Part::Later
    } else if place & 0x2000 != 0 {
        Part::First
    } else {
        Part::Whole
    };
    transport(ip, total, header, ip[9], part, 1)
}

/// RFC 8200, byte by byte: extension headers in a chain of at most five.
fn read6(ip: &[u8]) -> Option<Read> {
    if ip.len() < 40 || ip[0] >> 4 != 6 {
        return None;
    }
    let len = usize::from(u16::from_be_bytes([ip[4], ip[5]]));
    let end = if len == 0 && ip[6] == 0 { usize::MAX } else { 40 + len };
    let (mut next, mut at, mut part) = (ip[6], 40, Part::Whole);
    for _ in 0..5 {
        match next {
            44 => {
                let head = ip.get(at..at + 8)?;
                next = head[0];
                at += 8;
                let place = u16::from_be_bytes([head[2], head[3]]);
                if place >> 3 != 0 {
                    part = Part::Later;
                    break;
                }
                if place & 1 != 0 {
                    part = Part::First;
                }
            }
            0 | 43 | 60 => {
                let head = ip.get(at..at + 2)?;
                next = head[0];
                at += (usize::from(head[1]) + 1) * 8;
            }
            _ => break,
        }
    }
    transport(ip, end, at, next, part, 58)
}

fn transport(packet: &[u8], end: usize, at: usize, proto: u8, part: Part, icmp: u8) -> Option<Read> {
    let none = Read { proto, ports: (0, 0), part, kind: Kind::Other };
    let need = match proto {
        6 => 20,
        17 => 8,
        132 => 12,
        other if other == icmp => 8,
        _ => return Some(none),
    };
    if part == Part::Later {
        return Some(Read { kind: if proto == icmp { Kind::Other } else { Kind::Ports }, ..none });
    }
    // The frame may have been cut short behind what is read.
    if at + need > end {
        return None;
    }
    let t = packet.get(at..at + if proto == 6 { 20 } else { 8 })?;
    let word = |i: usize| u16::from_be_bytes([t[i], t[i + 1]]);
    if proto != icmp {
        return Some(Read { ports: (word(0), word(2)), kind: Kind::Ports, ..none });
    }
    let kind = parse::icmp_kind(t[0], icmp == 58);
    Some(Read { ports: if kind == Kind::Echo { (word(4), word(4)) } else { (0, 0) }, kind, ..none })
}

fn ours(frame: &[u8]) -> Option<Read> {
    let mut s = Scratch::default();
    if !parse::parse(&Frame(frame.to_vec()), &mut s) {
        return None;
    }
    let Packet { tuple, part, kind, .. } = s.packet;
    Some(Read { proto: tuple.proto, ports: (tuple.sport.get(), tuple.dport.get()), part, kind })
}

/// Bytes that differ from their neighbours, so that a look at the wrong place shows.
fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 37 + 11) as u8).collect()
}

#[test]
fn every_ipv4_header_is_read_as_the_plain_reader_does() {
    let (mut read, mut refused) = (0, 0);
    for len in 0..=84_usize {
        for first in [0x35, 0x40, 0x44, 0x45, 0x46, 0x4a, 0x4f, 0x65] {
            for total in (0..=len + 4).chain([1_500, 65_535]) {
                for proto in [1, 6, 17, 47, 132] {
                    for place in [0_u16, 0x2000, 0x2001, 0x0001, 0x0003, 0x4000] {
                        let mut frame = pattern(14 + len);
                        frame[12..14].copy_from_slice(&[8, 0]);
                        let fields = [
                            (0, first),
                            (2, (total >> 8) as u8),
                            (3, total as u8),
                            (6, (place >> 8) as u8),
                            (7, place as u8),
                            (9, proto),
                        ];
                        for (at, value) in fields {
                            if let Some(byte) = frame.get_mut(14 + at) {
                                *byte = value;
                            }
                        }
                        let expected = read4(&frame[14..]);
                        if expected.is_some() {
                            read += 1
                        } else {
                            refused += 1
                        }
                        assert_eq!(ours(&frame), expected, "{frame:02x?}");
                    }
                }
            }
        }
    }
    assert!(read > 100_000 && refused > 100_000, "{read} read, {refused} refused");
}

#[test]
fn every_chain_of_ipv6_headers_is_read_as_the_plain_reader_does() {
    let kinds = [0, 6, 17, 43, 44, 58, 59, 60, 132];
    let (mut read, mut refused) = (0, 0);
    for one in kinds {
        for two in kinds {
            for three in kinds {
                for len in (40..=92_usize).step_by(4) {
                    for payload in [0, 8, len.saturating_sub(40), len.saturating_sub(41), 1_400] {
                        for more in [0, 1, 8] {
                            let mut frame = pattern(14 + len);
                            frame[12..14].copy_from_slice(&[0x86, 0xdd]);
                            let fields = [
                                (0, 0x60),
                                (4, (payload >> 8) as u8),
                                (5, payload as u8),
                                (6, one),
                                (40, two),
                                (41, 0),
                                (42, 0),
                                (43, more),
                                (48, three),
                                (49, 1),
                                (50, 0),
                                (51, more),
                                (64, 17),
                                (65, 0),
                            ];
                            for (at, value) in fields {
                                if let Some(byte) = frame.get_mut(14 + at) {
                                    *byte = value;
                                }
                            }
                            let expected = read6(&frame[14..]);
                            if expected.is_some() {
                                read += 1
                            } else {
                                refused += 1
                            }
                            assert_eq!(ours(&frame), expected, "{frame:02x?}");
                        }
                    }
                }
            }
        }
    }
    assert!(read > 10_000 && refused > 10_000, "{read} read, {refused} refused");
}

#[test]
fn what_is_not_ip_is_told_from_what_is_broken() {
    let mut s = Scratch::default();
    let mut tagged = pattern(60);
    tagged[12..14].copy_from_slice(&[0x81, 0]);
    assert!(!parse::parse(&Frame(tagged), &mut s));
    assert_eq!(s.unparsed, parse::Unparsed::NotIp);
    let mut runt = pattern(20);
    runt[12..14].copy_from_slice(&[8, 0]);
    assert!(!parse::parse(&Frame(runt), &mut s));
    assert_eq!(s.unparsed, parse::Unparsed::Malformed);
}
