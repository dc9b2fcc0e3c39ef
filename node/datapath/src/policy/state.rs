//! The fabric's policy records as this node knows them.
use std::net::IpAddr;
use std::sync::Arc;

use imbl::OrdMap;
use ipnet::IpNet;
use wire::fabric;

use crate::state::{Fault, Record, Rejected};

/// Name of the identity record of the node's own DNS server.
const DNS: &str = "dns";

/// Every policy record. Clones share what they have in common, and are compared in the size of their difference.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Classes of peers by prefix, 0 for none.
    pub identities: OrdMap<IpNet, u32>,
    /// Class of the node's DNS server.
    pub dns: u32,
    pub rulesets: OrdMap<u32, Arc<Ruleset>>,
    /// Pods of this node by `namespace/name`.
    pub pods: OrdMap<String, PodPolicy>,
}

/// What the fabric says of one pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodPolicy {
    pub uid: String,
    /// 0 for none.
    pub ruleset: u32,
    /// As far as the API knows them.
    pub ips: Vec<IpAddr>,
}

/// What the policies of a pod allow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ruleset {
    /// Whether the rules judge what comes in.
    pub ingress: bool,
    pub egress: bool,
    pub rules: Vec<Rule>,
}

/// One rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    pub direction: Direction,
    /// The peer's class, 0 for any peer.
    pub identity: u32,
    /// IANA number, 0 for any.
    pub protocol: u8,
    pub first_port: u16,
    pub last_port: u16,
    pub action: Action,
}

/// Which way connections are opened that a rule is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    Ingress,
    Egress,
}

/// What a rule says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Allow,
    Deny,
}

impl Policy {
    /// Folds a delta's policy records in. `before`: what a full delta replaces.
    pub(crate) fn apply(&mut self, delta: &fabric::Delta, before: &Policy, rejected: &mut Vec<Rejected>) {
        for prefix in &delta.deleted_identities {
            match parse_prefix(prefix) {
                Ok(Some(net)) => _ = self.identities.remove(&net),
                Ok(None) => self.dns = 0,
                Err(_) => {}
            }
        }
        for number in &delta.deleted_rulesets {
            self.rulesets.remove(number);
        }
        for name in &delta.deleted_pods {
            self.pods.remove(name);
        }
        for identity in &delta.identities {
            match parse_prefix(&identity.prefix) {
                Ok(Some(net)) => _ = self.identities.insert(net, identity.number),
                Ok(None) => self.dns = identity.number,
                Err(fault) => rejected.push(Rejected { record: Record::Identity(identity.prefix.clone()), fault }),
            }
        }
        for ruleset in &delta.rulesets {
            match parse_ruleset(ruleset) {
                Ok(parsed) => _ = self.rulesets.insert(ruleset.number, Arc::new(parsed)),
                Err(fault) => {
                    let old = before.rulesets.get(&ruleset.number);
                    self.rulesets.extend(old.map(|old| (ruleset.number, old.clone())));
                    rejected.push(Rejected { record: Record::Ruleset(ruleset.number), fault });
                }
            }
        }
        for pod in &delta.pods {
            if pod.pod.is_empty() {
                rejected.push(Rejected { record: Record::Pod(pod.pod.clone()), fault: Fault::Name });
                continue;
            }
            let ips = pod.ips.iter().filter_map(|ip| ip.parse().ok()).collect();
            self.pods.insert(pod.pod.clone(), PodPolicy { uid: pod.uid.clone(), ruleset: pod.ruleset, ips });
        }
    }
}

/// Whether a delta says anything about policy.
pub fn concerns(delta: &fabric::Delta) -> bool {
    delta.full
        || !delta.identities.is_empty()
        || !delta.deleted_identities.is_empty()
        || !delta.rulesets.is_empty()
        || !delta.deleted_rulesets.is_empty()
        || !delta.pods.is_empty()
        || !delta.deleted_pods.is_empty()
}

/// `None` is the node's DNS server.
fn parse_prefix(text: &str) -> Result<Option<IpNet>, Fault> {
    if text == DNS {
        return Ok(None);
    }
    let fault = || Fault::Prefix { field: "prefix", value: text.to_owned() };
    let net = text.parse::<IpNet>().map_err(|_| fault())?.trunc();
    // A v4-mapped prefix would be taken for one of IPv4 in the tables.
    match net {
        IpNet::V6(v6) if v6.prefix_len() >= 96 && v6.network().to_ipv4_mapped().is_some() => Err(fault()),
        IpNet::V4(_) | IpNet::V6(_) => Ok(Some(net)),
    }
}

fn parse_ruleset(ruleset: &fabric::Ruleset) -> Result<Ruleset, Fault> {
    let rules = ruleset.rules.iter().map(parse_rule).collect::<Result<_, _>>()?;
    Ok(Ruleset { ingress: ruleset.ingress, egress: ruleset.egress, rules })
}

fn parse_rule(rule: &fabric::Rule) -> Result<Rule, Fault> {
    let port = |field, value: u32| u16::try_from(value).map_err(|_| Fault::Port { field, value });
    let protocol = u8::try_from(rule.protocol);
    Ok(Rule {
        direction: if rule.egress { Direction::Egress } else { Direction::Ingress },
        identity: rule.identity,
        protocol: protocol.map_err(|_| Fault::Port { field: "protocol", value: rule.protocol })?,
        first_port: port("first port", rule.first_port)?,
        last_port: port("last port", rule.last_port)?,
        action: if rule.deny { Action::Deny } else { Action::Allow },
    })
}
