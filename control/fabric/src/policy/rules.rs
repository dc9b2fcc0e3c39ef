//! The cluster's policies, parsed: what selects pods, and rules whose peers are numbers of distinct terms and blocks. Those of the
//! tiers above and below the namespaces' own are read by [`super::tiers`].

use std::collections::BTreeMap;
use std::net::IpAddr;

use cache::View;
use cache::selector::{Labels, matches};
use ipnet::IpNet;
use k8s_openapi::api::networking::v1 as networking;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::tiers::{Tiered, Warning};

/// Protocol numbers (IANA).
pub const TCP: u8 = 6;
pub const UDP: u8 = 17;
pub const SCTP: u8 = 132;

/// Every policy.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rules {
    pub policies: Vec<Policy>,
    /// Those of the Admin and the Baseline tier, in the order in which they are judged.
    pub tiers: Vec<Tiered>,
    /// What of the tiers could not be understood.
    pub warnings: Vec<Warning>,
    /// Distinct sorts of peers that rules name, and their canonical texts.
    pub terms: Vec<Term>,
    /// Distinct ranges of addresses that rules name.
    pub blocks: Vec<Block>,
}

/// One policy.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// `namespace/name`.
    pub name: String,
    pub namespace: String,
    /// The pods of the namespace that it is for.
    pub pods: LabelSelector,
    /// What may come in; `None` if the policy does not say.
    pub ingress: Option<Vec<Rule>>,
    pub egress: Option<Vec<Rule>>,
}

/// What may be opened: to (or from) any of the peers, by any of the ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// `None` for everybody.
    pub peers: Option<Vec<Peer>>,
    /// `None` for any protocol.
    pub ports: Option<Vec<Port>>,
}

/// A sort of peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// Index in [`Rules::terms`].
    Term(usize),
    /// Index in [`Rules::blocks`].
    Block(usize),
}

/// Ports of one protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Port {
    Range {
        protocol: u8,
        first: u16,
        last: u16,
    },
    /// What the pod that is connected to calls by this name.
    Named {
        protocol: u8,
        name: String,
    },
}

/// A sort of peers that labels choose.
#[derive(Clone, Debug, PartialEq)]
pub struct Term {
    pub whom: Whom,
    /// Says it all, the same for equal terms.
    pub text: String,
}

/// Whom a term is about.
#[derive(Clone, Debug, PartialEq)]
pub enum Whom {
    Pods(Pods),
    /// Every address of nodes with such labels.
    Nodes(LabelSelector),
}

/// Pods of some namespaces.
#[derive(Clone, Debug, PartialEq)]
pub struct Pods {
    pub namespaces: Namespaces,
    pub pods: LabelSelector,
}

/// Namespaces of a term.
#[derive(Clone, Debug, PartialEq)]
pub enum Namespaces {
    One(String),
    Matching(LabelSelector),
}

/// Addresses of a prefix without some.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    pub net: IpNet,
    pub except: Vec<IpNet>,
    /// Says it all, the same for equal blocks.
    pub text: String,
}

impl Whom {
    /// The same for equal ones.
    fn text(&self) -> String {
        match self {
            Whom::Pods(Pods { namespaces: Namespaces::One(name), pods }) => {
                format!("pods {} of {name}", canonical(pods))
            }
            Whom::Pods(Pods { namespaces: Namespaces::Matching(selector), pods }) => {
                format!("pods {} of namespaces {}", canonical(pods), canonical(selector))
            }
            Whom::Nodes(selector) => format!("nodes {}", canonical(selector)),
        }
    }
}

impl Pods {
    /// Whether a pod is one of them.
    pub fn matches(&self, namespace: &str, namespace_labels: Option<&Labels>, labels: Option<&Labels>) -> bool {
        let home = match &self.namespaces {
            Namespaces::One(name) => name == namespace,
            Namespaces::Matching(selector) => matches(selector, namespace_labels),
        };
        home && matches(&self.pods, labels)
    }
}

impl Block {
    /// Whether an address is in it.
    pub fn contains(&self, ip: IpAddr) -> bool {
        self.net.contains(&ip) && !self.except.iter().any(|except| except.contains(&ip))
    }

    /// Whether every address of a prefix is in it; the prefix is never wider than one of the block's own that it overlaps.
    pub fn contains_all(&self, net: &IpNet) -> bool {
        self.net.contains(net) && !self.except.iter().any(|except| except.contains(net))
    }
}

impl Rules {
    /// Reads the View's policies.
    pub fn read(view: &View) -> Rules {
        let mut rules = Rules::default();
        let mut index = Index::default();
        for policy in view.all::<networking::NetworkPolicy>() {
            let parsed = rules.policy(&policy, &mut index);
            rules.policies.push(parsed);
        }
        rules.read_tiers(view, &mut index);
        rules
    }

    /// Whether a rule's peers are chosen among the nodes.
    pub fn name_nodes(&self) -> bool {
        self.terms.iter().any(|term| matches!(term.whom, Whom::Nodes(_)))
    }

    fn policy(&mut self, policy: &networking::NetworkPolicy, index: &mut Index) -> Policy {
        let key = cache::key_of(&policy.metadata);
        let spec = policy.spec.clone().unwrap_or_default();
        // Without types: ingress, and egress if it has rules of it.
        let types = spec.policy_types.filter(|types| !types.is_empty()).unwrap_or_else(|| {
            let egress = spec.egress.as_ref().is_some_and(|rules| !rules.is_empty());
            let both = ["Ingress", "Egress"];
            both.into_iter().take(if egress { 2 } else { 1 }).map(str::to_owned).collect()
        });
        let has = |name: &str| types.iter().any(|one| one == name);
        let namespace = key.namespace.as_str();
        let ingress = has("Ingress").then(|| {
            let rules = spec.ingress.iter().flatten();
            rules.map(|rule| self.rule(namespace, rule.from.as_deref(), rule.ports.as_deref(), index)).collect()
        });
        let egress = has("Egress").then(|| {
            let rules = spec.egress.iter().flatten();
            rules.map(|rule| self.rule(namespace, rule.to.as_deref(), rule.ports.as_deref(), index)).collect()
        });
        let pods = spec.pod_selector.clone().unwrap_or_default();
        Policy { name: key.to_string(), namespace: key.namespace.clone(), pods, ingress, egress }
    }

    /// A list that is empty says nothing, as one that is absent.
    fn rule(
        &mut self,
        namespace: &str,
        peers: Option<&[networking::NetworkPolicyPeer]>,
        ports: Option<&[networking::NetworkPolicyPort]>,
        index: &mut Index,
    ) -> Rule {
        let peers = peers.filter(|peers| !peers.is_empty());
        let ports = ports.filter(|ports| !ports.is_empty());
        Rule {
            peers: peers.map(|peers| peers.iter().filter_map(|peer| self.peer(namespace, peer, index)).collect()),
            ports: ports.map(|ports| ports.iter().filter_map(port).collect()),
        }
    }

    /// A peer that makes no sense is nobody.
    fn peer(&mut self, namespace: &str, peer: &networking::NetworkPolicyPeer, index: &mut Index) -> Option<Peer> {
        if let Some(block) = &peer.ip_block {
            let except: Option<Vec<IpNet>> = block.except.iter().flatten().map(|text| net(text)).collect();
            let (net, mut except) = (net(&block.cidr)?, except?);
            except.sort();
            except.dedup();
            return Some(self.block(net, except, index));
        }
        let namespaces = match (&peer.namespace_selector, &peer.pod_selector) {
            (Some(selector), _) => Namespaces::Matching(selector.clone()),
            (None, Some(_)) => Namespaces::One(namespace.to_owned()),
            (None, None) => return None,
        };
        let pods = peer.pod_selector.clone().unwrap_or_default();
        Some(self.term(Whom::Pods(Pods { namespaces, pods }), index))
    }

    /// The number of a range of addresses; `except` is sorted.
    pub(super) fn block(&mut self, net: IpNet, except: Vec<IpNet>, index: &mut Index) -> Peer {
        let text = format!("{net} except {except:?}");
        let next = self.blocks.len();
        let number = *index.blocks.entry(text.clone()).or_insert(next);
        if number == next {
            self.blocks.push(Block { net, except, text });
        }
        Peer::Block(number)
    }

    /// The number of a sort of peers.
    pub(super) fn term(&mut self, whom: Whom, index: &mut Index) -> Peer {
        let text = whom.text();
        let next = self.terms.len();
        let number = *index.terms.entry(text.clone()).or_insert(next);
        if number == next {
            self.terms.push(Term { whom, text });
        }
        Peer::Term(number)
    }

    /// Names of ports that rules of egress use, with their protocols.
    pub fn names_outward(&self) -> impl Iterator<Item = (&str, u8)> {
        let tiers = self.tiers.iter().flat_map(|policy| &policy.egress).map(|ranked| &ranked.rule);
        self.policies.iter().flat_map(|policy| policy.egress.iter().flatten()).chain(tiers).flat_map(named)
    }
}

/// The names of ports in a rule.
pub fn named(rule: &Rule) -> impl Iterator<Item = (&str, u8)> {
    rule.ports.iter().flatten().filter_map(|port| match port {
        Port::Named { protocol, name } => Some((name.as_str(), *protocol)),
        Port::Range { .. } => None,
    })
}

/// Protocol number of a name; TCP where there is none.
pub fn protocol(name: Option<&str>) -> Option<u8> {
    match name {
        None | Some("TCP" | "") => Some(TCP),
        Some("UDP") => Some(UDP),
        Some("SCTP") => Some(SCTP),
        Some(_) => None,
    }
}

/// Which terms and blocks there are already, by their texts.
#[derive(Default)]
pub(super) struct Index {
    terms: BTreeMap<String, usize>,
    blocks: BTreeMap<String, usize>,
}

/// A port that makes no sense is none.
fn port(port: &networking::NetworkPolicyPort) -> Option<Port> {
    let protocol = protocol(port.protocol.as_deref())?;
    match &port.port {
        None => Some(Port::Range { protocol, first: 0, last: u16::MAX }),
        Some(IntOrString::String(name)) => Some(Port::Named { protocol, name: name.clone() }),
        Some(IntOrString::Int(first)) => {
            let (first, last) = (u16::try_from(*first).ok()?, u16::try_from(port.end_port.unwrap_or(*first)).ok()?);
            (first <= last).then_some(Port::Range { protocol, first, last })
        }
    }
}

/// A prefix, or an address alone.
pub(super) fn net(text: &str) -> Option<IpNet> {
    text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from)).map(|net| net.trunc())
}

/// A selector's text, the same for equal ones.
fn canonical(selector: &LabelSelector) -> String {
    serde_json::to_string(selector).expect("a selector is strings in lists and maps")
}
