//! Policies for the pods of [`super::world`].

use abi::{
    Addr, Be16, DIRECTION_EGRESS, DIRECTION_INGRESS, IPPROTO_SCTP, IPPROTO_TCP, IPPROTO_UDP, IdentityKey, LIMIT_EGRESS,
    LIMIT_INGRESS, RATE_SCALE_BITS, RULE_ALLOW, RULE_ANY_PORT, RULE_ANY_PROTOCOL, RULE_DENY, RULE_ONE_PORT, Rate,
    RuleKey, SEAT_EGRESS, SEAT_INGRESS, SeatValue, bank, rate_index,
};

use super::{Dice, Memory, v4, v6};
use crate::policy::Direction;

/// One rule of a pod: a class of peers (0 for all), a protocol (0 for any), the first `bits` of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    pub direction: Direction,
    pub identity: u32,
    pub proto: u8,
    pub port: u16,
    pub bits: u32,
    /// `RULE_*`.
    pub action: u32,
}

/// Replaces every policy: the classes of addresses, and of each seat its `SEAT_*` bits and rules. The bank that packets did not see
/// takes it, and then the generation changes.
pub fn guard(m: &mut Memory, classes: &[(Addr, u32, u32)], seats: &[(u32, u32, &[Rule])]) {
    m.generation += 1;
    let bank = bank(m.generation);
    m.identities.retain(|key, _| key.bank != bank);
    m.rules.retain(|key, _| key.bank != bank);
    m.seats.retain(|index, _| index & 1 != bank);
    for (addr, bits, number) in classes {
        m.identities.insert(IdentityKey { prefix_len: 32 + bits, bank, addr: *addr }, *number);
    }
    for (seat, flags, rules) in seats {
        m.seats.insert(seat * 2 | bank, SeatValue { ruleset: 100 + seat, flags: *flags });
        for rule in *rules {
            m.rules.insert(key(bank, 100 + seat, rule), rule.action);
        }
    }
}

fn key(bank: u32, ruleset: u32, rule: &Rule) -> RuleKey {
    let prefix_len = match rule.proto {
        0 => RULE_ANY_PROTOCOL,
        _ => RULE_ANY_PORT + rule.bits.min(RULE_ONE_PORT - RULE_ANY_PORT),
    };
    let mask = u16::MAX.checked_shl(RULE_ONE_PORT - prefix_len).unwrap_or(0);
    let direction = match rule.direction {
        Direction::Ingress => DIRECTION_INGRESS,
        Direction::Egress => DIRECTION_EGRESS,
    };
    let port = Be16::new(rule.port & mask);
    RuleKey { prefix_len, bank, ruleset, identity: rule.identity, direction, proto: rule.proto, port }
}

/// Policies drawn from a seed: half of what the traffic meets is allowed.
pub fn guard_at_random(m: &mut Memory, dice: &mut Dice) {
    let places = [
        (v4("10.244.1.2"), 128),
        (v4("10.244.1.3"), 128),
        (v4("10.244.0.0"), 96 + 16),
        (v4("10.244.2.5"), 128),
        (v4("192.0.2.0"), 96 + 24),
        (v4("203.0.113.0"), 96 + 24),
        (v4("0.0.0.0"), 96),
        (v6("fd00:1::2"), 128),
        (v6("fd00:2::"), 64),
        (v6("::"), 0),
    ];
    let mut classes = Vec::new();
    for (addr, bits) in places {
        if dice.once_in(2) {
            classes.push((addr, bits, dice.below(4) as u32));
        }
    }
    let draw = |dice: &mut Dice| -> Vec<Rule> {
        (0..dice.below(12))
            .map(|_| Rule {
                direction: dice.pick(&[Direction::Ingress, Direction::Egress]),
                identity: dice.below(4) as u32,
                proto: dice.pick(&[0, IPPROTO_TCP, IPPROTO_TCP, IPPROTO_UDP, IPPROTO_SCTP]),
                port: dice.pick(&[80, 53, 8080, 6443, 9000, 50_000, 50_004]),
                bits: dice.pick(&[0, 4, 12, 13, 16, 16]),
                action: if dice.once_in(4) { RULE_DENY } else { RULE_ALLOW },
            })
            .collect()
    };
    let (two, three) = (draw(dice), draw(dice));
    let flags = [0, SEAT_INGRESS, SEAT_EGRESS, SEAT_INGRESS | SEAT_EGRESS];
    let seats = [(2, dice.pick(&flags), two.as_slice()), (3, dice.pick(&flags), three.as_slice())];
    guard(m, &classes, &seats);
}

/// Limits the bandwidth of the pod on seat 3 to so little that generated traffic goes beyond it.
pub fn limit(m: &mut Memory) {
    for egress in [false, true] {
        let rate = Rate { burst: 2_000_000_000 << RATE_SCALE_BITS, ..Rate::of_bits(1_000) };
        m.rates.borrow_mut().insert(rate_index(3, egress), rate);
    }
    for pod in m.pods.values_mut().filter(|pod| pod.seat == 3) {
        pod.limits = LIMIT_INGRESS | LIMIT_EGRESS;
    }
    for veth in m.veths.values_mut().filter(|veth| veth.seat == 3) {
        veth.limits = LIMIT_INGRESS | LIMIT_EGRESS;
    }
}
