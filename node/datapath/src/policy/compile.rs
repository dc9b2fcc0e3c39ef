//! What a bank of the policy tables should hold.
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use abi::{
    Be16, DIRECTION_EGRESS, DIRECTION_INGRESS, IDENTITY_ANY, IdentityKey, MAX_IDENTITIES, MAX_RULES, MAX_SEATS,
    RULE_ALLOW, RULE_ANY_PORT, RULE_ANY_PROTOCOL, RULE_DENY, RuleKey, SEAT_EGRESS, SEAT_INGRESS, SeatValue,
};
use imbl::OrdMap;
use ipnet::IpNet;

use super::diff::Bank;
use super::ports::prefixes;
use super::state::{Action, Direction, Policy, Rule, Ruleset};
use crate::address::route_key;

/// Seats are numbers from 1 to below this.
pub const SEATS: u32 = MAX_SEATS / 2;
/// Prefixes that a bank takes; two more are the node's own.
pub(super) const IDENTITY_ROOM: usize = MAX_IDENTITIES as usize / 2 - 2;
/// Rules that a bank takes.
pub(super) const RULE_ROOM: usize = MAX_RULES as usize / 2;

/// What one bank should hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Desired {
    pub bank: Bank,
    /// Rulesets without their rules, because the tables are full (limits: `abi::MAX_*`, half of them each bank). Their pods are cut
    /// off.
    pub refused: Vec<u32>,
}

/// Compiles the policy of the pods that have seats here (`namespace/name` to seat). `dns`: the node's DNS servers. A pod of which the
/// fabric says nothing is cut off.
pub fn compile(policy: &Policy, seats: &BTreeMap<String, u32>, dns: &[IpAddr]) -> Desired {
    let mut desired = Desired::default();
    let (values, used) = seated(policy, seats);
    desired.bank.seats = values.into_iter().collect();
    if used.is_empty() {
        // Nobody asks for anybody's class.
        return desired;
    }
    desired.bank.identities = identities(policy, dns);
    (desired.bank.rules, desired.refused) = rules(policy, &used);
    desired
}

/// What stands on the seats, and which rulesets that needs.
pub(super) fn seated(policy: &Policy, seats: &BTreeMap<String, u32>) -> (BTreeMap<u32, SeatValue>, BTreeSet<u32>) {
    let (mut values, mut used) = (BTreeMap::new(), BTreeSet::new());
    for (pod, seat) in seats {
        let value = match policy.pods.get(pod) {
            Some(record) if record.ruleset == 0 => continue,
            Some(record) => {
                used.insert(record.ruleset);
                seat_value(record.ruleset, policy.rulesets.get(&record.ruleset).map(AsRef::as_ref))
            }
            None => seat_value(0, None),
        };
        if *seat < SEATS && value.flags != 0 {
            values.insert(*seat, value);
        }
    }
    (values, used)
}

/// Every address that has a class.
pub(super) fn identities(policy: &Policy, dns: &[IpAddr]) -> OrdMap<IdentityKey, u32> {
    let mut identities = OrdMap::new();
    for (net, number) in &policy.identities {
        // An address that finds no room is of no class, and is met by rules for everybody only.
        if identities.len() < IDENTITY_ROOM {
            identities.insert(identity_key(*net), *number);
        }
    }
    for ip in dns {
        identities.insert(identity_key(IpNet::from(*ip)), policy.dns);
    }
    // IPv4 lies within IPv6 in the tables; what is said of ::/0 is not said of it.
    if policy.identities.keys().any(is_around_v4) {
        identities.entry(identity_key(all_v4())).or_insert(IDENTITY_ANY);
    }
    identities
}

/// The rules of these rulesets, and the rulesets that found no room.
pub(super) fn rules(policy: &Policy, used: &BTreeSet<u32>) -> (OrdMap<RuleKey, u32>, Vec<u32>) {
    let (mut rules, mut refused) = (OrdMap::new(), Vec::new());
    for number in used {
        let Some(ruleset) = policy.rulesets.get(number) else { continue };
        let own = rules_of(*number, ruleset);
        if rules.len() + own.len() > RULE_ROOM {
            refused.push(*number);
        } else {
            rules.extend(own);
        }
    }
    (rules, refused)
}

/// The entries of one ruleset.
pub(super) fn rules_of(number: u32, ruleset: &Ruleset) -> BTreeMap<RuleKey, u32> {
    let mut rules = BTreeMap::new();
    ruleset.rules.iter().for_each(|rule| put(number, rule, &mut rules));
    rules
}

/// Whether the tables would take a prefix of IPv6 for one that has all of IPv4 in it.
pub(super) fn is_around_v4(net: &IpNet) -> bool {
    matches!(net, IpNet::V6(_)) && net.prefix_len() < 96
}

pub(super) fn all_v4() -> IpNet {
    IpNet::new_assert(IpAddr::from([0; 4]), 0)
}

/// A ruleset that is not there allows nothing.
fn seat_value(number: u32, ruleset: Option<&Ruleset>) -> SeatValue {
    let (ingress, egress) = ruleset.map_or((true, true), |ruleset| (ruleset.ingress, ruleset.egress));
    let flags = if ingress { SEAT_INGRESS } else { 0 } | if egress { SEAT_EGRESS } else { 0 };
    SeatValue { ruleset: number, flags }
}

pub(super) fn identity_key(net: IpNet) -> IdentityKey {
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
