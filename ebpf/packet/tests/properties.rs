//! What holds for every packet and every sequence of packets.

use std::collections::BTreeSet;

use abi::{Addr, Counter, FlowKey, IPPROTO_TCP, IPPROTO_UDP};
use packet::{
    Flow, Tables as _, Verdict,
    host::{Dice, Frame, Hook, Memory, Spec, Step, apply, check, limit, pod_mac, step, v4, world},
};
use proptest::prelude::*;

/// Each tuple leads to its record, and no two living flows have one in common.
fn pairs(m: &Memory) -> Result<(), TestCaseError> {
    let mut seen = BTreeSet::new();
    for (number, record, _) in m.flows.flows() {
        for (way, key) in (0..).zip(record.keys) {
            let mut found = Flow::default();
            prop_assert!(m.flow(&key, &mut found), "{:?} is not found", record);
            prop_assert_eq!((found.number, found.way), (number, way));
            let other = record.keys[way as usize ^ 1];
            let to = FlowKey { src: other.dst, dst: other.src, sport: other.dport, dport: other.sport, ..key };
            prop_assert_eq!(
                FlowKey { src: found.src, dst: found.dst, sport: found.sport, dport: found.dport, ..key },
                to
            );
            prop_assert!(seen.insert(key), "{:?} twice", key);
        }
    }
    Ok(())
}

/// Whether a frame is a whole packet with right checksums, so that the result must be one too.
fn is_sound(frame: &[u8]) -> bool {
    let fragment = match frame.get(12..14) {
        Some([8, 0]) => {
            frame.len() < 34
                || u16::from_be_bytes([frame[20], frame[21]]) & 0x3fff != 0
                || usize::from(u16::from_be_bytes([frame[16], frame[17]])) + 14 != frame.len()
                || frame[14] < 0x45
                || frame.len() < 14 + usize::from(frame[14] & 15) * 4 + 8
        }
        Some([0x86, 0xdd]) => {
            frame.len() < 62
                || usize::from(u16::from_be_bytes([frame[18], frame[19]])) + 54 != frame.len()
                || ![6, 17, 58, 132].contains(&frame[20])
        }
        _ => true,
    };
    !fragment && check(frame).is_ok()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(96) })]

    #[test]
    fn sequences_keep_checksums_and_pairs(seed: u64, pace in 0_u32..20, limited: bool) {
        let mut m = world();
        if limited {
            limit(&mut m);
        }
        let mut dice = Dice(seed);
        for i in 0..400 {
            let mut it = step(&m, &mut dice, 1_000 + i * pace);
            let before = it.clone();
            let verdict = apply(&m, &mut it);
            prop_assert_eq!(it.frame.0.len(), before.frame.0.len());
            match verdict {
                Verdict::Drop(_) | Verdict::Hold => {}
                Verdict::Pass | Verdict::Peer { .. } | Verdict::Redirect { .. } | Verdict::Neigh { .. } | Verdict::Tunnel { .. } | Verdict::Key { .. } | Verdict::Answer { .. } => {
                    if is_sound(&before.frame.0) {
                        prop_assert_eq!(check(&it.frame.0), Ok(()), "{:?}", before);
                    }
                }
            }
        }
        pairs(&m)?;
        // In = passed + dropped + redirected.
        let extra = [Counter::NewFlow, Counter::FragmentReleased, Counter::SocketTranslated, Counter::SocketNoBackend];
        let counted: u64 = m.counters.borrow().iter().filter(|(c, _)| !extra.contains(c)).map(|(_, n)| n).sum();
        prop_assert_eq!(counted, 400);
    }

    #[test]
    fn random_bytes_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..200), ip in any::<bool>()) {
        let m = world();
        let mut bytes = bytes;
        if ip && bytes.len() > 34 {
            bytes[12..14].copy_from_slice(&[8, 0]);
            bytes[14] = bytes[14] & 0x0f | 0x40;
        }
        for hook in [
            Hook::FromPod { ifindex: 12 },
            Hook::ToPod,
            Hook::FromUplink,
            Hook::ToUplink,
            Hook::FromOverlay { node: v4("192.0.2.2"), vni: 1 },
            Hook::ToOverlay,
        ] {
            let mut it = Step { hook, frame: Frame(bytes.clone()), now_s: 5 };
            let verdict = apply(&m, &mut it);
            if let Hook::FromPod { .. } = hook {
                prop_assert!(matches!(verdict, Verdict::Drop(_)), "a random source is no pod's: {:?}", verdict);
            }
        }
    }

    #[test]
    fn answers_restore_the_tuple(client in 2_u32..4, sport in 1024_u16.., udp: bool, which in 0_usize..4) {
        let m = world();
        let proto = if udp { IPPROTO_UDP } else { IPPROTO_TCP };
        let (dst, dport) = [("10.96.0.20", 80), ("192.0.2.1", 30080), ("203.0.113.9", 443), ("10.96.0.23", 80)][which];
        prop_assume!(!(udp && which == 3));
        let out = Spec {
            tcp_flags: 2,
            from_mac: pod_mac(client),
            ..Spec::new(format!("10.244.1.{client}").parse().expect("an address"), dst.parse().expect("an address"), proto, sport, dport)
        };
        let mut sent = Step { hook: Hook::FromPod { ifindex: 10 + client }, frame: Frame(out.build()), now_s: 1_000 };
        let verdict = apply(&m, &mut sent);
        let (to_addr, to_port, from_addr, from_port) = tuple(&sent.frame.0);
        // The other end turns the tuple round.
        let mut back = Spec { tcp_flags: 0x12, ..Spec::new(from_addr, to_addr, proto, from_port, to_port) };
        let hook = match verdict {
            Verdict::Peer { ifindex } => {
                back.from_mac = pod_mac(ifindex - 10);
                Hook::FromPod { ifindex }
            }
            Verdict::Neigh { .. } => Hook::FromUplink,
            Verdict::Tunnel { node, .. } => Hook::FromOverlay { node, vni: 1 },
            other => return Err(TestCaseError::fail(format!("{other:?}"))),
        };
        let mut got = Step { hook, frame: Frame(back.build()), now_s: 1_001 };
        prop_assert_eq!(apply(&m, &mut got), Verdict::Peer { ifindex: 10 + client });
        prop_assert_eq!(check(&got.frame.0), Ok(()));
        prop_assert_eq!(tuple(&got.frame.0), (out.dst, dport, out.src, sport));
    }

    #[test]
    fn masqueraded_ports_are_unique(ports in prop::collection::btree_set(1024_u16.., 100)) {
        let m = world();
        let mut used = BTreeSet::new();
        for client in [2, 3] {
            for sport in &ports {
                let spec = Spec {
                    from_mac: pod_mac(client),
                    ..Spec::new(format!("10.244.1.{client}").parse().expect("an address"), "203.0.113.9".parse().expect("an address"), IPPROTO_UDP, *sport, 53)
                };
                let mut it = Step { hook: Hook::FromPod { ifindex: 10 + client }, frame: Frame(spec.build()), now_s: 1_000 };
                if let Verdict::Neigh { .. } = apply(&m, &mut it) {
                    let (src, port, ..) = tuple(&it.frame.0);
                    prop_assert_eq!(src.to_string(), "192.0.2.1");
                    prop_assert!((40_000..=40_255).contains(&port));
                    prop_assert!(used.insert(port), "port {} twice", port);
                }
            }
        }
        prop_assert!(used.len() > 190, "only {} of 200 flows found one of 256 ports", used.len());
        pairs(&m)?;
    }
}

/// Source and destination of an IPv4 packet without options.
fn tuple(frame: &[u8]) -> (std::net::IpAddr, u16, std::net::IpAddr, u16) {
    let addr = |at: usize| std::net::Ipv4Addr::new(frame[at], frame[at + 1], frame[at + 2], frame[at + 3]).into();
    let port = |at: usize| u16::from_be_bytes([frame[at], frame[at + 1]]);
    (addr(26), port(34), addr(30), port(36))
}

#[test]
fn v4_mapped_is_one_key_for_both_families() {
    assert_eq!(Addr::v4([10, 0, 0, 1]), Addr::v6([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 0, 1]));
}
