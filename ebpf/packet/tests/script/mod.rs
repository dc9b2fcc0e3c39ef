//! A language for packets: a line is `hook: proto[flags] from > to`; the answer is the verdict and the packet as it leaves. Hooks: `pod2`
//! and `pod3` (what these pods send), `uplink`, `node2` and `node3` (what they send over the overlay), `to_pod`, `to_uplink`,
//! `to_overlay`.

use std::fmt::Write as _;

use abi::{IPPROTO_ICMP, IPPROTO_SCTP, IPPROTO_TCP, IPPROTO_UDP};
use expect_test::Expect;
use packet::{
    Verdict,
    host::{Fragment, Frame, Hook, Memory, Spec, Step, again, apply, check as check_sums, icmp_error, pod_mac, v4},
};

/// Runs the packets one after the other.
pub fn check(m: &Memory, script: &str, expected: Expect) {
    let mut out = String::new();
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        writeln!(out, "{line}\n    {}", run(m, line)).expect("a String takes everything");
    }
    expected.assert_eq(&out);
}

/// Runs one packet.
pub fn run(m: &Memory, line: &str) -> String {
    let (hook, packet) = line.split_once(": ").expect("hook: packet");
    let (hook, mac) = match hook {
        "pod2" => (Hook::FromPod { ifindex: 12 }, pod_mac(2)),
        "pod3" => (Hook::FromPod { ifindex: 13 }, pod_mac(3)),
        "uplink" => (Hook::FromUplink, [0; 6]),
        "node2" => (Hook::FromOverlay { node: v4("192.0.2.2"), vni: 1 }, [0; 6]),
        "node3" => (Hook::FromOverlay { node: v4("192.0.2.3"), vni: 1 }, [0; 6]),
        "to_pod" => (Hook::ToPod, [0; 6]),
        "to_uplink" => (Hook::ToUplink, [0; 6]),
        "to_overlay" => (Hook::ToOverlay, [0; 6]),
        other => panic!("no hook {other}"),
    };
    let mut bytes = build(packet);
    bytes[6..12].copy_from_slice(&mac);
    let mut out = one(m, Step { hook, frame: Frame(bytes), now_s: m.now_s.get() }, line);
    while let Some((hold, frame)) = m.pen.next() {
        let next = one(m, again(&hold, frame, m.now_s.get()), line);
        write!(out, "\n    then {next}").expect("a String takes everything");
    }
    out
}

fn one(m: &Memory, mut it: Step, line: &str) -> String {
    let verdict = apply(m, &mut it);
    let what = match verdict {
        Verdict::Drop(counter) => return format!("{counter:?}"),
        Verdict::Pass => "pass".to_owned(),
        Verdict::Peer { ifindex } => format!("pod{}", ifindex - 10),
        Verdict::Redirect { ifindex } => format!("out to pod{}", ifindex - 10),
        Verdict::Neigh { .. } => "out by the uplink".to_owned(),
        Verdict::Tunnel { node, .. } => format!("tunnel to {}", octets(&node.v4_octets())),
        Verdict::Key { node, .. } => format!("key {}", octets(&node.v4_octets())),
        Verdict::Hold => return "waits".to_owned(),
        Verdict::Answer { .. } => "answer".to_owned(),
    };
    if !line.contains("frag") {
        assert_eq!(check_sums(&it.frame.0), Ok(()), "{line}");
    }
    format!("{what}: {}", show(&it.frame.0))
}

/// `tcp.S 10.0.0.1:1 > 10.0.0.2:2 [ttl=1] [frag=first|later] [about=proto a:p > b:q]`.
fn build(text: &str) -> Vec<u8> {
    let (text, about) = match text.split_once(" about=") {
        Some((text, about)) => (text, Some(about)),
        None => (text, None),
    };
    let mut words = text.split_whitespace();
    let kind = words.next().expect("a protocol");
    let from = endpoint(words.next().expect("a source"));
    assert_eq!(words.next(), Some(">"));
    let to = endpoint(words.next().expect("a destination"));
    if let Some(about) = about {
        return icmp_error(from.0, to.0, &build(about));
    }
    let (proto, flags) = match kind.split_once('.') {
        Some((proto, flags)) => (proto, flags),
        None => (kind, ""),
    };
    let proto = match proto {
        "tcp" => IPPROTO_TCP,
        "udp" => IPPROTO_UDP,
        "sctp" => IPPROTO_SCTP,
        "echo" | "reply" => IPPROTO_ICMP,
        other => other.parse().expect("a protocol number"),
    };
    let mut spec = Spec::new(from.0, to.0, proto, from.1, if kind == "reply" { 0 } else { to.1.max(1) });
    spec.tcp_flags = match flags {
        "S" => 2,
        "SA" => 0x12,
        "F" => 0x11,
        "R" => 4,
        _ => 0x10,
    };
    for word in words {
        match word.split_once('=').expect("name=value") {
            ("ttl", n) => spec.ttl = n.parse().expect("a number"),
            ("frag", "first") => spec.fragment = Some(Fragment { id: 7, offset: 0, more: true }),
            ("frag", "middle") => spec.fragment = Some(Fragment { id: 7, offset: 3, more: true }),
            ("frag", _) => spec.fragment = Some(Fragment { id: 7, offset: 6, more: false }),
            (other, _) => panic!("no option {other}"),
        }
    }
    spec.build()
}

fn endpoint(text: &str) -> (std::net::IpAddr, u16) {
    match text.split_once(':') {
        Some((ip, port)) => (ip.parse().expect("an address"), port.parse().expect("a port")),
        None => (text.parse().expect("an address"), 0),
    }
}

fn octets(bytes: &[u8]) -> String {
    bytes.iter().map(ToString::to_string).collect::<Vec<_>>().join(".")
}

fn show(frame: &[u8]) -> String {
    let l4 = 14 + usize::from(frame[14] & 15) * 4;
    let port = |at: usize| u16::from_be_bytes([frame[at], frame[at + 1]]);
    let (src, dst) = (octets(&frame[26..30]), octets(&frame[30..34]));
    let later = u16::from_be_bytes([frame[20], frame[21]]) & 0x1fff != 0;
    match frame[23] {
        _ if later => format!("{src} > {dst} later fragment"),
        IPPROTO_ICMP if frame[l4] == 3 => {
            let inner = l4 + 8;
            let (a, b) = (octets(&frame[inner + 12..inner + 16]), octets(&frame[inner + 16..inner + 20]));
            format!("{src} > {dst} about {a}:{} > {b}:{}", port(inner + 20), port(inner + 22))
        }
        IPPROTO_ICMP => format!("{src} > {dst} id {}", port(l4 + 4)),
        6 | 17 | 132 => format!("{src}:{} > {dst}:{}", port(l4), port(l4 + 2)),
        _ => format!("{src} > {dst}"),
    }
}
