//! Generated traffic: packets for every hook, drawn from a seed, half of them belonging to flows that exist.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use abi::{
    Addr, Be16, FlowKey, Hold, IPPROTO_ICMP, IPPROTO_ICMPV6, IPPROTO_SCTP, IPPROTO_TCP, IPPROTO_UDP,
    fragment::{AT_FROM_OVERLAY, AT_FROM_UPLINK},
};

use super::{Fragment, Frame, Memory, Spec, VNI, icmp_error, pod_mac};
use crate::{Flow, Scratch, Tables as _, Verdict, direct, pipeline};

/// A seeded source of numbers (SplitMix64).
#[derive(Clone, Debug)]
pub struct Dice(pub u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `n`.
    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    /// True once in `n` throws.
    pub fn once_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    /// One of a choice.
    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }
}

/// A hook and what it gets besides the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    FromPod { ifindex: u32 },
    ToPod,
    FromUplink,
    ToUplink,
    FromOverlay { node: Addr, vni: u32 },
    ToOverlay,
}

/// One packet at one hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    pub hook: Hook,
    pub frame: Frame,
    pub now_s: u32,
}

/// Runs a step on the host, and counts it as the hook does; the frame is rewritten in place.
pub fn apply(m: &Memory, step: &mut Step) -> Verdict {
    m.now_s.set(step.now_s);
    let (b, s) = (&mut step.frame, &mut Scratch::default());
    let verdict = match step.hook {
        Hook::FromPod { ifindex } => pipeline::from_pod(b, m, s, ifindex),
        Hook::ToPod => pipeline::to_pod(b, m, s),
        Hook::FromUplink => pipeline::from_uplink(b, m, s),
        Hook::ToUplink => pipeline::to_uplink(b, m, s),
        Hook::FromOverlay { node, vni } => pipeline::from_overlay(b, m, s, &node, vni),
        Hook::ToOverlay => pipeline::to_overlay(b, m, s),
    };
    m.count(verdict.counter());
    verdict
}

/// The addresses of [`super::world`], by what they are to it.
struct Addresses {
    local: &'static [&'static str],
    remote: &'static [&'static str],
    /// Other nodes' that need no tunnel.
    native: &'static [&'static str],
    outside: &'static [&'static str],
    service: &'static [&'static str],
    node: &'static [&'static str],
    odd: &'static [&'static str],
}

const FOUR: Addresses = Addresses {
    local: &["10.244.1.2", "10.244.1.3"],
    remote: &["10.244.2.5", "10.244.3.7", "192.0.2.2", "192.0.2.3"],
    native: &["10.244.4.5", "192.0.2.4"],
    outside: &["203.0.113.9", "198.51.100.99", "8.8.4.4"],
    service: &[
        "10.96.0.1",
        "10.96.0.10",
        "10.96.0.20",
        "10.96.0.21",
        "10.96.0.22",
        "10.96.0.23",
        "10.96.0.24",
        "10.96.0.25",
        "10.96.0.26",
        "10.96.0.27",
        "10.96.0.29",
        "10.96.9.9",
        "198.51.100.7",
        "198.51.100.8",
        "198.51.100.10",
    ],
    node: &["192.0.2.1", "169.254.1.1"],
    odd: &["10.244.1.99", "224.0.0.1", "255.255.255.255", "0.0.0.0"],
};
const SIX: Addresses = Addresses {
    local: &["fd00:1::2", "fd00:1::3"],
    remote: &["fd00:2::5", "2001:db8::2"],
    native: &["fd00:4::5", "2001:db8::4"],
    outside: &["2001:db8:ffff::9", "2001:db8:ffff::a"],
    service: &["fd00:96::14", "fd00:96::ff", "2001:db8:100::7", "2001:db8:100::10"],
    node: &["2001:db8::1"],
    odd: &["fd00:1::99", "ff02::1", "::"],
};
const PORTS: [u16; 13] = [80, 53, 443, 8080, 6443, 9000, 30080, 30081, 30082, 30083, 30086, 40_001, 4789];

/// Draws the next packet for a node in state `m`.
pub fn step(m: &Memory, dice: &mut Dice, now_s: u32) -> Step {
    if !dice.once_in(4)
        && let Some((hold, frame)) = m.pen.next()
    {
        return again(&hold, frame, now_s);
    }
    let hook = match dice.below(15) {
        0..=4 => Hook::FromPod { ifindex: dice.pick(&[12, 13]) },
        5..=7 => Hook::FromUplink,
        8..=9 => Hook::FromOverlay {
            node: super::v4(dice.pick(&["192.0.2.2", "192.0.2.2", "192.0.2.3"])),
            vni: if dice.once_in(8) { VNI + 1 } else { VNI },
        },
        10..=11 => dice.pick(&[Hook::ToPod, Hook::ToOverlay]),
        _ => Hook::ToUplink,
    };
    let mut bytes = if dice.once_in(2) { follow(m, dice) } else { None }.unwrap_or_else(|| fresh(dice, hook));
    if let Hook::FromPod { ifindex } = hook
        && !dice.once_in(40)
        && bytes.len() >= 12
    {
        bytes[6..12].copy_from_slice(&pod_mac(ifindex - 10));
    }
    if matches!(hook, Hook::FromOverlay { vni, .. } if vni != VNI) && dice.once_in(2) {
        bytes = beside(dice);
    }
    if hook == Hook::FromUplink && dice.once_in(20) {
        // Another's, or a group's.
        bytes[dice.pick(&[0, 5])] ^= 1;
    }
    damage(dice, &mut bytes);
    Step { hook, frame: Frame(bytes), now_s }
}

/// A fragment that waited, at its hook again.
pub fn again(hold: &Hold, frame: Vec<u8>, now_s: u32) -> Step {
    let hook = match hold.key.at {
        AT_FROM_UPLINK => Hook::FromUplink,
        AT_FROM_OVERLAY => Hook::FromOverlay { node: hold.node, vni: hold.vni },
        ifindex => Hook::FromPod { ifindex },
    };
    Step { hook, frame: Frame(frame), now_s }
}

/// A packet with the tuple of a record that exists, or an error about one.
pub(super) fn follow(m: &Memory, dice: &mut Dice) -> Option<Vec<u8>> {
    let flows = m.flows.flows();
    if flows.is_empty() {
        return None;
    }
    let (_, record, _) = flows[dice.below(flows.len())];
    let key = record.keys[dice.below(2)];
    let quoted = dice.once_in(8);
    let tuple =
        if quoted { FlowKey { src: key.dst, dst: key.src, sport: key.dport, dport: key.sport, ..key } } else { key };
    let mut spec = Spec::new(ip(&tuple.src), ip(&tuple.dst), key.proto, tuple.sport.get(), tuple.dport.get());
    vary(dice, &mut spec);
    let frame = spec.build();
    if !quoted {
        return Some(frame);
    }
    let by = if dice.once_in(2) { ip(&key.src) } else { router(key.src.is_v4()) };
    Some(icmp_error(by, ip(&key.dst), &frame))
}

fn router(v4: bool) -> IpAddr {
    if v4 {
        Ipv4Addr::new(203, 0, 113, 254).into()
    } else {
        Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 0xfe).into()
    }
}

fn ip(addr: &Addr) -> IpAddr {
    let octets: Vec<u8> = addr.0.iter().flat_map(|word| word.to_ne_bytes()).collect();
    if addr.is_v4() {
        Ipv4Addr::from(addr.v4_octets()).into()
    } else {
        Ipv6Addr::from(<[u8; 16]>::try_from(octets).expect("four words are sixteen bytes")).into()
    }
}

/// A packet of a flow that need not exist.
pub(super) fn fresh(dice: &mut Dice, hook: Hook) -> Vec<u8> {
    let six = dice.once_in(4);
    let Addresses { local, remote, native, outside, service, node, odd } = if six { SIX } else { FOUR };
    let src = match hook {
        Hook::FromPod { ifindex } if !dice.once_in(20) => local[ifindex as usize - 12],
        Hook::FromUplink if dice.once_in(20) => dice.pick(&[local[0], remote[0], native[0], native[1], service[0]]),
        Hook::FromPod { .. } | Hook::FromUplink => dice.pick(outside),
        Hook::FromOverlay { .. } => dice.pick(remote),
        Hook::ToPod | Hook::ToOverlay => dice.pick(node),
        Hook::ToUplink if dice.once_in(2) => dice.pick(node),
        Hook::ToUplink => dice.pick(local),
    };
    let dst = match (hook, dice.below(12)) {
        (Hook::ToOverlay, 0..=4) => dice.pick(remote),
        (Hook::ToUplink, 0..=6) | (_, 5..=8) => dice.pick(service),
        (Hook::ToPod, 0..=7) | (_, 0..=1) => dice.pick(local),
        (_, 2) if dice.once_in(2) => dice.pick(native),
        (_, 2) => dice.pick(remote),
        (_, 3..=4) => dice.pick(outside),
        (_, 9..=10) => dice.pick(node),
        (_, _) => dice.pick(odd),
    };
    let icmp = if six { IPPROTO_ICMPV6 } else { IPPROTO_ICMP };
    let proto = dice.pick(&[IPPROTO_TCP, IPPROTO_TCP, IPPROTO_TCP, IPPROTO_UDP, IPPROTO_UDP, icmp, IPPROTO_SCTP, 47]);
    let sport = if dice.once_in(3) { dice.pick(&PORTS) } else { 50_000 + dice.below(8) as u16 };
    let dport = if dice.once_in(3) { 80 } else { dice.pick(&PORTS) };
    let parse = |text: &str| text.parse().expect("the tables hold addresses");
    let mut spec = Spec::new(parse(src), parse(dst), proto, sport, dport);
    if hook == Hook::FromUplink && dice.once_in(20) {
        // Is the Service there?
        spec.proto = icmp;
        spec.dst = parse(service[service.len() - 1 - dice.below(2)]);
    }
    vary(dice, &mut spec);
    spec.build()
}

/// What another node sends on untranslated, a local pod beside it.
fn beside(dice: &mut Dice) -> Vec<u8> {
    let bytes = fresh(dice, Hook::FromUplink);
    let (pod, port) = (dice.pick(&[2, 3, 3, 99]), dice.pick(&[8080_u16, 8080, 9090]));
    let dst = if bytes.get(12..14) == Some(&[8, 0]) {
        super::v4(&format!("10.244.1.{pod}"))
    } else {
        super::v6(&format!("fd00:1::{pod}"))
    };
    let mut frame = Frame(bytes);
    let marked = direct::mark(&mut frame, &Flow { dst, dport: Be16::new(port), ..Flow::default() });
    marked.expect("a whole frame has room for two addresses");
    frame.0
}

/// Options, fragments, flags, life times.
fn vary(dice: &mut Dice, spec: &mut Spec) {
    spec.tcp_flags = dice.pick(&[2, 2, 0x10, 0x10, 0x12, 0x18, 0x11, 4]);
    spec.ttl = dice.pick(&[64, 64, 64, 64, 255, 2, 1, 0]);
    spec.payload = (0..dice.below(40)).map(|i| i as u8).collect();
    spec.no_checksum = dice.once_in(10);
    if dice.once_in(12) {
        spec.options = 1 + dice.below(10) as u8;
    }
    if dice.once_in(10) {
        let offset = dice.pick(&[0, 0, 3, 3, 9]);
        spec.fragment = Some(Fragment { id: dice.below(3) as u32, offset, more: offset != 9 });
    }
}

/// Now and then a packet is broken: cut short or with a byte changed, mostly in the headers.
pub(super) fn damage(dice: &mut Dice, bytes: &mut Vec<u8>) {
    if dice.once_in(15) {
        bytes.truncate(14 + dice.below(bytes.len().saturating_sub(13).max(1)));
    }
    if dice.once_in(40) && bytes.len() > 14 {
        // A tag that nobody took off (IEEE 802.1Q).
        let tag = [0x81, 0, 0, dice.below(8) as u8];
        bytes.splice(12..12, tag);
    }
    if dice.once_in(40) {
        // Padding after the packet's own end.
        bytes.resize(bytes.len() + dice.below(20), 0x50);
    }
    if dice.once_in(30) && bytes.len() > 20 {
        // A length that is not the frame's.
        bytes[16..18].copy_from_slice(&(dice.below(90) as u16).to_be_bytes());
    }
    if dice.once_in(15) && !bytes.is_empty() {
        let at = dice.below(bytes.len().min(80));
        bytes[at] ^= 1 << dice.below(8);
    }
    // The kernel runs no program on less than an Ethernet header and, for IP, less than its fixed header.
    let least = match bytes.get(12..14) {
        Some([8, 0]) => 34,
        Some([0x86, 0xdd]) => 54,
        _ => 14,
    };
    if bytes.len() < least {
        bytes.resize(least, 0);
    }
}
