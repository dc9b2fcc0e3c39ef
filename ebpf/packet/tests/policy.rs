//! Network policy, packet by packet. Classes: 1 is pod 10.244.1.2, 2 is 10.244.2.5, 3 is 203.0.113.0/24.

mod script;

use abi::{Addr, IPPROTO_TCP, IPPROTO_UDP, RULE_ALLOW, SEAT_EGRESS, SEAT_INGRESS};
use expect_test::expect;
use packet::host::{Memory, Rule, guard, v4, world};
use packet::policy::Direction::{self, Egress, Ingress};
use script::check;

fn classes() -> [(Addr, u32, u32); 3] {
    [(v4("10.244.1.2"), 128, 1), (v4("10.244.2.5"), 128, 2), (v4("203.0.113.0"), 120, 3)]
}

fn rule(direction: Direction, identity: u32, proto: u8, port: u16) -> Rule {
    let bits = if port == 0 { 0 } else { 16 };
    Rule { direction, identity, proto, port, bits, action: RULE_ALLOW }
}

/// The world with policy on pod 3.
fn guarded(flags: u32, rules: &[Rule]) -> Memory {
    let mut m = world();
    guard(&mut m, &classes(), &[(3, flags, rules)]);
    m
}

#[test]
fn nothing_comes_in_but_the_nodes_own() {
    check(
        &guarded(SEAT_INGRESS, &[]),
        "pod2: tcp.S 10.244.1.2:1000 > 10.244.1.3:8080
         pod2: udp 10.244.1.2:1000 > 10.244.1.3:8080
         pod2: echo 10.244.1.2:7 > 10.244.1.3
         node2: tcp.S 10.244.2.5:1000 > 10.244.1.3:8080
         uplink: tcp.S 203.0.113.9:1000 > 10.244.1.3:8080
         uplink: tcp.S 203.0.113.9:1000 > 192.0.2.1:30081
         uplink: tcp.S 192.0.2.1:1000 > 10.244.1.3:8080
         to_pod: tcp.S 203.0.113.9:1000 > 10.244.1.3:8080
         to_pod: tcp.S 192.0.2.1:1000 > 10.244.1.3:8080
         pod3: tcp.SA 10.244.1.3:8080 > 192.0.2.1:1000
         to_pod: tcp 192.0.2.1:1000 > 10.244.1.3:8080
         pod2: 47 10.244.1.2 > 10.244.1.3",
        expect![[r#"
            pod2: tcp.S 10.244.1.2:1000 > 10.244.1.3:8080
                DropPolicyIngress
            pod2: udp 10.244.1.2:1000 > 10.244.1.3:8080
                DropPolicyIngress
            pod2: echo 10.244.1.2:7 > 10.244.1.3
                DropPolicyIngress
            node2: tcp.S 10.244.2.5:1000 > 10.244.1.3:8080
                DropPolicyIngress
            uplink: tcp.S 203.0.113.9:1000 > 10.244.1.3:8080
                DropPolicyIngress
            uplink: tcp.S 203.0.113.9:1000 > 192.0.2.1:30081
                DropPolicyIngress
            uplink: tcp.S 192.0.2.1:1000 > 10.244.1.3:8080
                DropPolicyIngress
            to_pod: tcp.S 203.0.113.9:1000 > 10.244.1.3:8080
                DropPolicyIngress
            to_pod: tcp.S 192.0.2.1:1000 > 10.244.1.3:8080
                pass: 192.0.2.1:1000 > 10.244.1.3:8080
            pod3: tcp.SA 10.244.1.3:8080 > 192.0.2.1:1000
                pass: 10.244.1.3:8080 > 192.0.2.1:1000
            to_pod: tcp 192.0.2.1:1000 > 10.244.1.3:8080
                pass: 192.0.2.1:1000 > 10.244.1.3:8080
            pod2: 47 10.244.1.2 > 10.244.1.3
                DropPolicyIngress
        "#]],
    );
}

#[test]
fn what_a_pod_asks_for_is_answered() {
    check(
        &guarded(SEAT_INGRESS, &[]),
        "pod3: tcp.S 10.244.1.3:1000 > 10.244.1.2:8080
         pod2: tcp.SA 10.244.1.2:8080 > 10.244.1.3:1000
         pod2: tcp.S 10.244.1.2:8080 > 10.244.1.3:1000
         pod3: udp 10.244.1.3:1001 > 10.96.0.10:53
         to_pod: udp 169.254.1.1:53 > 10.244.1.3:1001
         pod3: udp 10.244.1.3:1002 > 203.0.113.9:53
         uplink: udp 203.0.113.9:53 > 192.0.2.1:40169
         pod3: echo 10.244.1.3:7 > 10.244.1.2
         pod2: reply 10.244.1.2:7 > 10.244.1.3",
        expect![[r#"
            pod3: tcp.S 10.244.1.3:1000 > 10.244.1.2:8080
                pod2: 10.244.1.3:1000 > 10.244.1.2:8080
            pod2: tcp.SA 10.244.1.2:8080 > 10.244.1.3:1000
                pod3: 10.244.1.2:8080 > 10.244.1.3:1000
            pod2: tcp.S 10.244.1.2:8080 > 10.244.1.3:1000
                DropPolicyIngress
            pod3: udp 10.244.1.3:1001 > 10.96.0.10:53
                pass: 10.244.1.3:1001 > 169.254.1.1:53
            to_pod: udp 169.254.1.1:53 > 10.244.1.3:1001
                pass: 10.96.0.10:53 > 10.244.1.3:1001
            pod3: udp 10.244.1.3:1002 > 203.0.113.9:53
                out by the uplink: 192.0.2.1:40169 > 203.0.113.9:53
            uplink: udp 203.0.113.9:53 > 192.0.2.1:40169
                pod3: 203.0.113.9:53 > 10.244.1.3:1002
            pod3: echo 10.244.1.3:7 > 10.244.1.2
                pod2: 10.244.1.3 > 10.244.1.2 id 7
            pod2: reply 10.244.1.2:7 > 10.244.1.3
                pod3: 10.244.1.2 > 10.244.1.3 id 7
        "#]],
    );
}

#[test]
fn rules_are_by_peer_protocol_and_port() {
    let rules = [
        rule(Ingress, 1, IPPROTO_TCP, 8080),
        rule(Ingress, 2, 0, 0),
        Rule { bits: 12, ..rule(Ingress, 0, IPPROTO_UDP, 0x1230) },
    ];
    check(
        &guarded(SEAT_INGRESS, &rules),
        "pod2: tcp.S 10.244.1.2:1000 > 10.244.1.3:8080
         pod2: tcp.S 10.244.1.2:1000 > 10.244.1.3:8081
         pod2: udp 10.244.1.2:1000 > 10.244.1.3:8080
         pod2: echo 10.244.1.2:7 > 10.244.1.3
         node2: tcp.S 10.244.2.5:1000 > 10.244.1.3:22
         node2: echo 10.244.2.5:7 > 10.244.1.3
         node2: 47 10.244.2.5 > 10.244.1.3
         node2: tcp.S 10.244.2.6:1000 > 10.244.1.3:8080
         node2: udp 10.244.2.6:1000 > 10.244.1.3:4671
         node2: udp 10.244.2.6:1000 > 10.244.1.3:4672",
        expect![[r#"
            pod2: tcp.S 10.244.1.2:1000 > 10.244.1.3:8080
                pod3: 10.244.1.2:1000 > 10.244.1.3:8080
            pod2: tcp.S 10.244.1.2:1000 > 10.244.1.3:8081
                DropPolicyIngress
            pod2: udp 10.244.1.2:1000 > 10.244.1.3:8080
                DropPolicyIngress
            pod2: echo 10.244.1.2:7 > 10.244.1.3
                DropPolicyIngress
            node2: tcp.S 10.244.2.5:1000 > 10.244.1.3:22
                pod3: 10.244.2.5:1000 > 10.244.1.3:22
            node2: echo 10.244.2.5:7 > 10.244.1.3
                pod3: 10.244.2.5 > 10.244.1.3 id 7
            node2: 47 10.244.2.5 > 10.244.1.3
                pod3: 10.244.2.5 > 10.244.1.3
            node2: tcp.S 10.244.2.6:1000 > 10.244.1.3:8080
                DropPolicyIngress
            node2: udp 10.244.2.6:1000 > 10.244.1.3:4671
                pod3: 10.244.2.6:1000 > 10.244.1.3:4671
            node2: udp 10.244.2.6:1000 > 10.244.1.3:4672
                DropPolicyIngress
        "#]],
    );
}

#[test]
fn egress_is_judged_behind_the_service() {
    let mut m =
        guarded(SEAT_INGRESS | SEAT_EGRESS, &[rule(Egress, 1, IPPROTO_TCP, 8080), rule(Egress, 3, IPPROTO_TCP, 443)]);
    for slot in m.slots.values_mut() {
        *slot = 4;
    }
    check(
        &m,
        "pod3: tcp.S 10.244.1.3:1000 > 10.244.1.2:8080
         pod3: tcp.S 10.244.1.3:1000 > 10.96.0.20:80
         pod2: tcp.SA 10.244.1.2:8080 > 10.244.1.3:1000
         pod3: tcp.S 10.244.1.3:1000 > 10.244.2.5:8080
         pod3: udp 10.244.1.3:1000 > 10.96.0.10:53
         pod3: tcp.S 10.244.1.3:1001 > 203.0.113.9:443
         pod3: tcp.S 10.244.1.3:1002 > 203.0.113.9:80
         to_pod: tcp.S 192.0.2.1:1000 > 10.244.1.3:8080
         pod3: tcp.SA 10.244.1.3:8080 > 192.0.2.1:1000
         pod3: tcp.S 10.244.1.3:8080 > 192.0.2.1:1000",
        expect![[r#"
            pod3: tcp.S 10.244.1.3:1000 > 10.244.1.2:8080
                pod2: 10.244.1.3:1000 > 10.244.1.2:8080
            pod3: tcp.S 10.244.1.3:1000 > 10.96.0.20:80
                pod2: 10.244.1.3:1000 > 10.244.1.2:8080
            pod2: tcp.SA 10.244.1.2:8080 > 10.244.1.3:1000
                pod3: 10.96.0.20:80 > 10.244.1.3:1000
            pod3: tcp.S 10.244.1.3:1000 > 10.244.2.5:8080
                DropPolicyEgress
            pod3: udp 10.244.1.3:1000 > 10.96.0.10:53
                DropPolicyEgress
            pod3: tcp.S 10.244.1.3:1001 > 203.0.113.9:443
                out by the uplink: 192.0.2.1:40099 > 203.0.113.9:443
            pod3: tcp.S 10.244.1.3:1002 > 203.0.113.9:80
                DropPolicyEgress
            to_pod: tcp.S 192.0.2.1:1000 > 10.244.1.3:8080
                pass: 192.0.2.1:1000 > 10.244.1.3:8080
            pod3: tcp.SA 10.244.1.3:8080 > 192.0.2.1:1000
                pass: 10.244.1.3:8080 > 192.0.2.1:1000
            pod3: tcp.S 10.244.1.3:8080 > 192.0.2.1:1000
                DropPolicyEgress
        "#]],
    );
}

#[test]
fn a_change_reaches_established_connections() {
    let mut m = guarded(SEAT_INGRESS, &[rule(Ingress, 1, 0, 0)]);
    let before = "pod2: tcp.S 10.244.1.2:1000 > 10.244.1.3:8080
         pod3: tcp.SA 10.244.1.3:8080 > 10.244.1.2:1000
         pod3: tcp.S 10.244.1.3:1001 > 10.244.1.2:8080";
    check(
        &m,
        before,
        expect![[r#"
        pod2: tcp.S 10.244.1.2:1000 > 10.244.1.3:8080
            pod3: 10.244.1.2:1000 > 10.244.1.3:8080
        pod3: tcp.SA 10.244.1.3:8080 > 10.244.1.2:1000
            pod2: 10.244.1.3:8080 > 10.244.1.2:1000
        pod3: tcp.S 10.244.1.3:1001 > 10.244.1.2:8080
            pod2: 10.244.1.3:1001 > 10.244.1.2:8080
    "#]],
    );
    guard(&mut m, &classes(), &[(3, SEAT_INGRESS, &[rule(Ingress, 2, 0, 0)])]);
    let after = "pod3: tcp 10.244.1.3:8080 > 10.244.1.2:1000
         pod2: tcp 10.244.1.2:1000 > 10.244.1.3:8080
         pod3: tcp 10.244.1.3:8080 > 10.244.1.2:1000
         pod2: tcp 10.244.1.2:8080 > 10.244.1.3:1001";
    check(
        &m,
        after,
        expect![[r#"
        pod3: tcp 10.244.1.3:8080 > 10.244.1.2:1000
            DropPolicyEgress
        pod2: tcp 10.244.1.2:1000 > 10.244.1.3:8080
            DropPolicyIngress
        pod3: tcp 10.244.1.3:8080 > 10.244.1.2:1000
            DropPolicyEgress
        pod2: tcp 10.244.1.2:8080 > 10.244.1.3:1001
            pod3: 10.244.1.2:8080 > 10.244.1.3:1001
    "#]],
    );
    guard(&mut m, &classes(), &[]);
    check(
        &m,
        after,
        expect![[r#"
        pod3: tcp 10.244.1.3:8080 > 10.244.1.2:1000
            pod2: 10.244.1.3:8080 > 10.244.1.2:1000
        pod2: tcp 10.244.1.2:1000 > 10.244.1.3:8080
            pod3: 10.244.1.2:1000 > 10.244.1.3:8080
        pod3: tcp 10.244.1.3:8080 > 10.244.1.2:1000
            pod2: 10.244.1.3:8080 > 10.244.1.2:1000
        pod2: tcp 10.244.1.2:8080 > 10.244.1.3:1001
            pod3: 10.244.1.2:8080 > 10.244.1.3:1001
    "#]],
    );
}

/// A policy starts to select a pod that has connections: they have no record, and are what the rules allow both ways.
#[test]
fn segments_of_unknown_connections() {
    check(
        &guarded(SEAT_INGRESS, &[rule(Ingress, 1, 0, 0)]),
        "pod2: tcp 10.244.1.2:1000 > 10.244.1.3:8080
         pod3: tcp 10.244.1.3:8080 > 10.244.1.2:1000
         node2: tcp 10.244.2.5:1000 > 10.244.1.3:8080
         pod3: tcp 10.244.1.3:8080 > 10.244.2.5:1000
         node2: tcp 10.244.2.5:1000 > 10.244.1.3:8080",
        expect![[r#"
            pod2: tcp 10.244.1.2:1000 > 10.244.1.3:8080
                pod3: 10.244.1.2:1000 > 10.244.1.3:8080
            pod3: tcp 10.244.1.3:8080 > 10.244.1.2:1000
                pod2: 10.244.1.3:8080 > 10.244.1.2:1000
            node2: tcp 10.244.2.5:1000 > 10.244.1.3:8080
                DropPolicyIngress
            pod3: tcp 10.244.1.3:8080 > 10.244.2.5:1000
                DropPolicyEgress
            node2: tcp 10.244.2.5:1000 > 10.244.1.3:8080
                DropPolicyIngress
        "#]],
    );
}

#[test]
fn errors_follow_their_connection() {
    check(
        &guarded(SEAT_INGRESS | SEAT_EGRESS, &[rule(Egress, 3, IPPROTO_UDP, 53)]),
        "pod3: udp 10.244.1.3:1000 > 203.0.113.9:53
         to_pod: icmp 198.51.100.1 > 10.244.1.3 about=udp 10.244.1.3:1000 > 203.0.113.9:53
         to_pod: icmp 198.51.100.1 > 10.244.1.3 about=udp 10.244.1.3:1001 > 203.0.113.9:53
         to_pod: icmp 198.51.100.1 > 10.244.1.2 about=udp 10.244.1.3:1001 > 203.0.113.9:53
         uplink: icmp 198.51.100.1 > 192.0.2.1 about=udp 192.0.2.1:40193 > 203.0.113.9:53
         pod3: icmp 10.244.1.3 > 10.244.1.2 about=udp 10.244.1.2:1000 > 10.244.1.3:80",
        expect![[r#"
            pod3: udp 10.244.1.3:1000 > 203.0.113.9:53
                out by the uplink: 192.0.2.1:40193 > 203.0.113.9:53
            to_pod: icmp 198.51.100.1 > 10.244.1.3 about=udp 10.244.1.3:1000 > 203.0.113.9:53
                pass: 198.51.100.1 > 10.244.1.3 about 10.244.1.3:1000 > 203.0.113.9:53
            to_pod: icmp 198.51.100.1 > 10.244.1.3 about=udp 10.244.1.3:1001 > 203.0.113.9:53
                DropPolicyIngress
            to_pod: icmp 198.51.100.1 > 10.244.1.2 about=udp 10.244.1.3:1001 > 203.0.113.9:53
                pass: 198.51.100.1 > 10.244.1.2 about 10.244.1.3:1001 > 203.0.113.9:53
            uplink: icmp 198.51.100.1 > 192.0.2.1 about=udp 192.0.2.1:40193 > 203.0.113.9:53
                pod3: 198.51.100.1 > 10.244.1.3 about 10.244.1.3:1000 > 203.0.113.9:53
            pod3: icmp 10.244.1.3 > 10.244.1.2 about=udp 10.244.1.2:1000 > 10.244.1.3:80
                DropPolicyEgress
        "#]],
    );
}
