//! What a bank of the policy tables should hold.
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use abi::{
    Be16, DIRECTION_EGRESS, DIRECTION_INGRESS, IDENTITY_ANY, IdentityKey, MAX_IDENTITIES, MAX_RULES, MAX_SEATS,
    RULE_ALLOW, RULE_ANY_PORT, RULE_ANY_PROTOCOL, RULE_DENY, RuleKey, SEAT_EGRESS, SEAT_INGRESS, SeatValue,
};
use ipnet::IpNet;

use super::ports::prefixes;
use super::state::{Action, Direction, Policy, Rule, Ruleset};
use crate::address::route_key;

/// Seats are numbers from 1 to below this.
pub const SEATS: u32 = MAX_SEATS / 2;

/// Contents of one bank; every key's bank is 0.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Desired {
    pub identities: BTreeMap<IdentityKey, u32>,
    pub rules: BTreeMap<RuleKey, u32>,
    /// By seat.
    pub seats: BTreeMap<u32, SeatValue>,
    /// Rulesets without their rules, because the tables are full (limits: `abi::MAX_*`, half of them each bank). Their pods are cut
    /// off.
    pub refused: Vec<u32>,
}

/// Compiles the policy of the pods that have seats here (`namespace/name` to seat). `dns`: the node's DNS server. A pod of which the
/// fabric says nothing is cut off.
pub fn compile(policy: &Policy, seats: &BTreeMap<String, u32>, dns: Option<IpAddr>) -> Desired {
    let mut desired = Desired::default();
    let mut used = BTreeSet::new();
    for (pod, seat) in seats {
        let value = match policy.pods.get(pod) {
            Some(record) if record.ruleset == 0 => continue,
            Some(record) => {
                used.insert(record.ruleset);
                seat_value(record.ruleset, policy.rulesets.get(&record.ruleset))
            }
            None => seat_value(0, None),
        };
        if *seat < SEATS && value.flags != 0 {
            desired.seats.insert(*seat, value);
        }
    }
    if used.is_empty() {
        // Nobody asks for anybody's class.
        return desired;
    }
    let server = dns.map(|ip| (IpNet::from(ip), policy.dns));
    for (net, number) in policy.identities.iter().map(|(net, number)| (*net, *number)).chain(server) {
        // An address that finds no room is of no class, and is met by rules for everybody only.
        if desired.identities.len() < MAX_IDENTITIES as usize / 2 {
            desired.identities.insert(identity_key(net), number);
        }
    }
    // IPv4 lies within IPv6 in the tables; what is said of ::/0 is not said of it.
    if policy.identities.keys().any(|net| matches!(net, IpNet::V6(_)) && net.prefix_len() < 96) {
        let everything = IpNet::new_assert(IpAddr::from([0; 4]), 0);
        desired.identities.entry(identity_key(everything)).or_insert(IDENTITY_ANY);
    }
    for number in used {
        let Some(ruleset) = policy.rulesets.get(&number) else { continue };
        for rule in &ruleset.rules {
            put(number, rule, &mut desired.rules);
        }
        if desired.rules.len() > MAX_RULES as usize / 2 {
            desired.rules.retain(|key, _| key.ruleset != number);
            desired.refused.push(number);
        }
    }
    desired
}

/// A ruleset that is not there allows nothing.
fn seat_value(number: u32, ruleset: Option<&Ruleset>) -> SeatValue {
    let (ingress, egress) = ruleset.map_or((true, true), |ruleset| (ruleset.ingress, ruleset.egress));
    let flags = if ingress { SEAT_INGRESS } else { 0 } | if egress { SEAT_EGRESS } else { 0 };
    SeatValue { ruleset: number, flags }
}

fn identity_key(net: IpNet) -> IdentityKey {
    let key = route_key(net);
    IdentityKey { prefix_len: 32 + key.prefix_len, bank: 0, addr: key.addr }
}

fn put(ruleset: u32, rule: &Rule, rules: &mut BTreeMap<RuleKey, u32>) {
    let direction = match rule.direction {
        Direction::Ingress => DIRECTION_INGRESS,
        Direction::Egress => DIRECTION_EGRESS,
    };
    let action = match rule.action {
        Action::Allow => RULE_ALLOW,
        Action::Deny => RULE_DENY,
    };
    let mut insert = |prefix_len, port| {
        let (identity, proto, port) = (rule.identity, rule.protocol, Be16::new(port));
        let entry =
            rules.entry(RuleKey { prefix_len, bank: 0, ruleset, identity, direction, proto, port }).or_insert(action);
        // Two rules for the same packets are not sent; the stricter one would hold.
        *entry = action.max(*entry);
    };
    if rule.protocol == 0 {
        return insert(RULE_ANY_PROTOCOL, 0);
    }
    for (port, bits) in prefixes(rule.first_port, rule.last_port) {
        insert(RULE_ANY_PORT + bits, port);
    }
}
