//! Policies of the whole cluster: AdminNetworkPolicy and BaselineAdminNetworkPolicy (policy.networking.k8s.io/v1alpha1), and
//! ClusterNetworkPolicy (v1alpha2, which v1beta1 did not change). Source: the network-policy-api project's types and their documentation.
//!
//! What is not understood is a [`Warning`], and fails closed as those types ask: a rule that allows matches nothing, one that
//! denies or passes denies everything. So a definition newer than this program opens nothing.

use std::fmt;

use cache::View;
use ipnet::IpNet;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use serde_json::{Map, Value};

use super::rules::{Index, Namespaces, Pods, Port, Rule, Rules, SCTP, TCP, UDP, Whom, protocol};

/// Least important of the priorities that the API takes, for a policy that has none.
const LAST: i64 = 1_000;
/// Below every ClusterNetworkPolicy of its tier.
const BASELINE_LAST: i64 = LAST + 1;

/// Before or after the namespaces' own policies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tier {
    Admin,
    Baseline,
}

/// What a rule says of the connections that it matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Allow,
    Deny,
    /// The next tier decides.
    Pass,
}

/// One policy of a tier.
#[derive(Clone, Debug, PartialEq)]
pub struct Tiered {
    pub tier: Tier,
    /// Lower is judged first, then by name.
    pub priority: i64,
    /// `Kind name`.
    pub name: String,
    /// Whom it is for.
    pub subject: Pods,
    /// In the order in which they are judged; the first that matches counts.
    pub ingress: Vec<Ranked>,
    pub egress: Vec<Ranked>,
}

/// One rule of such a policy.
#[derive(Clone, Debug, PartialEq)]
pub struct Ranked {
    pub action: Action,
    pub rule: Rule,
}

/// Something in a policy that does not have the effect that its author wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// `Kind name`.
    pub policy: String,
    /// `ingress[0]`; empty if it is about the policy.
    pub rule: String,
    pub problem: Problem,
}

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    Tier,
    Subject,
    Action,
    Peers,
    DomainNames,
    Ports,
    /// A field that is not known.
    Field(String),
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.policy)?;
        if !self.rule.is_empty() {
            write!(f, " {}", self.rule)?;
        }
        write!(f, ": {}", self.problem)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const CLOSED: &str = "a rule that allows is left out, another one denies everything";
        match self {
            Problem::Tier => f.write_str("the tier is neither Admin nor Baseline; the policy has no effect"),
            Problem::Subject => f.write_str("the subject is not understood; the policy has no effect"),
            Problem::DomainNames => f.write_str("domainNames are not supported; the peer matches nothing"),
            Problem::Action => write!(f, "the action is not understood; {CLOSED}"),
            Problem::Peers => write!(f, "a peer is not understood; {CLOSED}"),
            Problem::Ports => write!(f, "a port is not understood; {CLOSED}"),
            Problem::Field(name) => write!(f, "the field {name:?} is not known; {CLOSED}"),
        }
    }
}

impl Rules {
    /// Reads the View's policies of the whole cluster.
    pub(super) fn read_tiers(&mut self, view: &View, index: &mut Index) {
        for object in view.all::<cache::AdminNetworkPolicy>() {
            let name = object.metadata.name.as_deref().unwrap_or_default();
            let priority = object.spec["priority"].as_i64().unwrap_or(LAST);
            self.tiered(Tier::Admin, priority, format!("AdminNetworkPolicy {name}"), &object.spec, index);
        }
        for object in view.all::<cache::BaselineAdminNetworkPolicy>() {
            let name = object.metadata.name.as_deref().unwrap_or_default();
            let name = format!("BaselineAdminNetworkPolicy {name}");
            self.tiered(Tier::Baseline, BASELINE_LAST, name, &object.spec, index);
        }
        for object in view.all::<cache::ClusterNetworkPolicy>() {
            let name = format!("ClusterNetworkPolicy {}", object.metadata.name.as_deref().unwrap_or_default());
            let tier = match object.spec["tier"].as_str() {
                Some("Admin") => Tier::Admin,
                Some("Baseline") => Tier::Baseline,
                Some(_) | None => {
                    self.warn(&name, String::new(), Problem::Tier);
                    continue;
                }
            };
            let priority = object.spec["priority"].as_i64().unwrap_or(LAST);
            self.tiered(tier, priority, name, &object.spec, index);
        }
        self.tiers.sort_by(|a, b| (a.tier, a.priority, &a.name).cmp(&(b.tier, b.priority, &b.name)));
    }

    fn tiered(&mut self, tier: Tier, priority: i64, name: String, spec: &Value, index: &mut Index) {
        let Some(subject) = one_field(&spec["subject"]).and_then(|(field, value)| pods(field, value)) else {
            return self.warn(&name, String::new(), Problem::Subject);
        };
        let ingress = self.list(&name, ("ingress", "from"), spec, index);
        let egress = self.list(&name, ("egress", "to"), spec, index);
        self.tiers.push(Tiered { tier, priority, name, subject, ingress, egress });
    }

    /// The rules of a direction.
    fn list(&mut self, policy: &str, fields: (&str, &str), spec: &Value, index: &mut Index) -> Vec<Ranked> {
        let mut list = Vec::new();
        for (number, rule) in spec[fields.0].as_array().into_iter().flatten().enumerate() {
            let place = format!("{}[{number}]", fields.0);
            match self.ranked((policy, &place), rule, fields.1, index) {
                Ok(ranked) => list.push(ranked),
                Err(problem) => {
                    self.warn(policy, place, problem);
                    if action(rule) != Some(Action::Allow) {
                        list.push(Ranked { action: Action::Deny, rule: Rule { peers: None, ports: None } });
                    }
                }
            }
        }
        list
    }

    fn ranked(&mut self, at: (&str, &str), rule: &Value, to: &str, index: &mut Index) -> Result<Ranked, Problem> {
        let action = action(rule).ok_or(Problem::Action)?;
        let fields = rule.as_object().map(Map::keys).into_iter().flatten();
        let known = ["name", "action", to, "ports", "protocols"];
        if let Some(strange) = fields.map(String::as_str).find(|field| !known.contains(field)) {
            return Err(Problem::Field(strange.to_owned()));
        }
        let list = rule[to].as_array().filter(|peers| !peers.is_empty()).ok_or(Problem::Peers)?;
        let mut peers = Vec::new();
        for peer in list {
            let (field, value) = one_field(peer).ok_or(Problem::Peers)?;
            match (field, to) {
                ("domainNames", "to") if action == Action::Allow => {
                    self.warn(at.0, at.1.to_owned(), Problem::DomainNames);
                }
                ("nodes", "to") => {
                    let nodes = selector(value).ok_or(Problem::Peers)?;
                    peers.push(self.term(Whom::Nodes(nodes), index));
                }
                ("networks", "to") => {
                    let nets: Option<Vec<IpNet>> = value.as_array().and_then(|nets| nets.iter().map(cidr).collect());
                    peers.extend(nets.ok_or(Problem::Peers)?.into_iter().map(|net| self.block(net, Vec::new(), index)));
                }
                (field, _) => {
                    let pods = pods(field, value).ok_or(Problem::Peers)?;
                    peers.push(self.term(Whom::Pods(pods), index));
                }
            }
        }
        let ports = [&rule["ports"], &rule["protocols"]].into_iter().find(|ports| !ports.is_null());
        let ports = ports.map(|ports| ports_of(ports).ok_or(Problem::Ports)).transpose()?;
        Ok(Ranked { action, rule: Rule { peers: Some(peers), ports } })
    }

    fn warn(&mut self, policy: &str, rule: String, problem: Problem) {
        self.warnings.push(Warning { policy: policy.to_owned(), rule, problem });
    }
}

fn action(rule: &Value) -> Option<Action> {
    match rule["action"].as_str()? {
        "Allow" | "Accept" => Some(Action::Allow),
        "Deny" => Some(Action::Deny),
        "Pass" => Some(Action::Pass),
        _ => None,
    }
}

/// The field of an object of which exactly one must be set.
fn one_field(value: &Value) -> Option<(&str, &Value)> {
    let mut fields = value.as_object()?.iter();
    fields.next().filter(|_| fields.next().is_none()).map(|(name, value)| (name.as_str(), value))
}

/// `namespaces` or `pods`.
fn pods(field: &str, value: &Value) -> Option<Pods> {
    match field {
        "namespaces" => {
            Some(Pods { namespaces: Namespaces::Matching(selector(value)?), pods: LabelSelector::default() })
        }
        "pods" => {
            has_only(value, &["namespaceSelector", "podSelector"])?;
            let of = |name: &str| value.get(name).map_or(Some(LabelSelector::default()), selector);
            Some(Pods { namespaces: Namespaces::Matching(of("namespaceSelector")?), pods: of("podSelector")? })
        }
        _ => None,
    }
}

/// A selector all of which is understood: what is not would match too much or too little.
fn selector(value: &Value) -> Option<LabelSelector> {
    has_only(value, &["matchLabels", "matchExpressions"])?;
    let selector: LabelSelector = serde_json::from_value(value.clone()).ok()?;
    let mut expressions = selector.match_expressions.iter().flatten();
    let known = ["In", "NotIn", "Exists", "DoesNotExist"];
    expressions.all(|expression| known.contains(&expression.operator.as_str())).then_some(selector)
}

fn has_only(value: &Value, known: &[&str]) -> Option<()> {
    value.as_object()?.keys().all(|field| known.contains(&field.as_str())).then_some(())
}

fn cidr(value: &Value) -> Option<IpNet> {
    value.as_str()?.parse::<IpNet>().ok().map(|net| net.trunc())
}

fn ports_of(list: &Value) -> Option<Vec<Port>> {
    let list = list.as_array().filter(|list| !list.is_empty())?;
    let ports: Option<Vec<Vec<Port>>> = list.iter().map(port).collect();
    Some(ports?.concat())
}

/// One entry of either API's list.
fn port(value: &Value) -> Option<Vec<Port>> {
    let range = |protocol, first: &Value, last: &Value| {
        let (first, last) = (number(first)?, number(last)?);
        (first <= last).then(|| vec![Port::Range { protocol, first, last }])
    };
    let (field, value) = one_field(value)?;
    let of = match field {
        "namedPort" | "destinationNamedPort" => {
            // Whatever protocol the port of this name is of.
            let name = value.as_str().filter(|name| !name.is_empty())?;
            return Some([TCP, UDP, SCTP].map(|protocol| Port::Named { protocol, name: name.to_owned() }).to_vec());
        }
        "portNumber" => return range(protocol(value["protocol"].as_str())?, &value["port"], &value["port"]),
        "portRange" => return range(protocol(value["protocol"].as_str())?, &value["start"], &value["end"]),
        "tcp" => TCP,
        "udp" => UDP,
        "sctp" => SCTP,
        _ => return None,
    };
    has_only(value, &["destinationPort"])?;
    let Some(port) = value.get("destinationPort") else {
        return Some(vec![Port::Range { protocol: of, first: 0, last: u16::MAX }]);
    };
    match one_field(port)? {
        ("number", number) => range(of, number, number),
        ("range", ports) => range(of, &ports["start"], &ports["end"]),
        _ => None,
    }
}

fn number(value: &Value) -> Option<u16> {
    value.as_u64().and_then(|number| u16::try_from(number).ok())
}
