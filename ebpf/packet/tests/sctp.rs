//! SCTP's checksum follows a change of ports as if it had been computed anew.

use std::net::IpAddr;

use abi::IPPROTO_SCTP;
use packet::{
    Flow, Scratch,
    host::{Dice, Frame, Spec, check, v4, v6},
    nat, parse,
};

#[test]
fn any_change_of_ports_in_any_packet() {
    let mut dice = Dice(7);
    for _ in 0..3_000 {
        let six = dice.once_in(2);
        let (src, dst) = if six { ("fd00:1::2", "fd00:2::5") } else { ("10.244.1.2", "10.244.2.5") };
        let ip = |text: &str| text.parse::<IpAddr>().expect("an address");
        let addr = |text: &str| if six { v6(text) } else { v4(text) };
        let mut port = || dice.below(1 << 16) as u16;
        let mut spec = Spec::new(ip(src), ip(dst), IPPROTO_SCTP, port(), port());
        let (sport, dport) = (abi::Be16::new(port()), abi::Be16::new(port()));
        spec.payload = (0..dice.below(1_400)).map(|_| dice.below(256) as u8).collect();
        spec.options = dice.below(4) as u8;
        let (mut frame, mut s) = (Frame(spec.build()), Scratch::default());
        assert_eq!(check(&frame.0), Ok(()));
        assert!(parse::parse(&frame, &mut s));
        let to = Flow { src: addr(dst), dst: addr(src), sport, dport, ..Flow::default() };
        assert_eq!(nat::rewrite(&mut frame, &s.packet, &to), Some(()));
        assert_eq!(check(&frame.0), Ok(()), "{spec:?}");
    }
}

#[test]
fn lengths_up_to_the_longest() {
    let crc = |bytes: &[u8]| {
        let step = |register: u32, _| (register >> 1) ^ if register & 1 == 1 { packet::sctp::POLYNOMIAL } else { 0 };
        !bytes.iter().fold(u32::MAX, |register, byte| (0..8).fold(register ^ u32::from(*byte), step))
    };
    for len in [12, 13, 255, 256, 1_500, 9_000, 32_768, 65_535] {
        let (old, mut new) = (vec![0x5a; len], vec![0x5a; len]);
        new[..4].copy_from_slice(&[1, 2, 3, 4]);
        let word = |bytes: &[u8]| u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        let added = packet::sctp::difference(word(&old), word(&new), len as u32);
        assert_eq!(crc(&old).to_le() ^ added, crc(&new).to_le(), "{len}");
    }
}
