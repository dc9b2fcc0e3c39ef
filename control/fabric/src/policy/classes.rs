//! Classes: peers that no policy tells apart, numbered.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::IpAddr;

use ipnet::IpNet;

use super::names::number;
use super::pods::Facts;
use super::rules::Rules;

/// Prefix of the record of the nodes' DNS server.
const DNS: &str = "dns";

/// What a peer is to the policies.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Class {
    /// Terms that it matches, in order.
    pub terms: Vec<usize>,
    /// Blocks that it is in, in order.
    pub blocks: Vec<usize>,
    /// What it calls the ports that rules of egress name: name, protocol, number.
    pub ports: Vec<(String, u8, u16)>,
}

impl Class {
    /// Whether it is nothing to anybody.
    fn is_empty(&self) -> bool {
        self.terms.is_empty() && self.blocks.is_empty() && self.ports.is_empty()
    }

    /// Says it all, whatever else the policies name.
    fn text(&self, rules: &Rules) -> String {
        let mut text = String::new();
        let mut parts: Vec<&str> = self.terms.iter().map(|index| rules.terms[*index].text.as_str()).collect();
        parts.extend(self.blocks.iter().map(|index| rules.blocks[*index].text.as_str()));
        parts.sort_unstable();
        for part in parts {
            text.push_str(part);
            text.push('\n');
        }
        for (name, protocol, number) in &self.ports {
            writeln!(text, "{name}/{protocol} is {number}").expect("a String takes everything");
        }
        text
    }
}

/// Every class with its number.
#[derive(Debug, Default)]
pub struct Classes {
    pub numbers: BTreeMap<Class, u32>,
    /// The prefixes that blocks name, with their classes.
    prefixes: BTreeMap<IpNet, Class>,
    /// Names and protocols of ports that rules of egress name.
    names: BTreeSet<(String, u8)>,
}

impl Classes {
    /// Finds and numbers them.
    pub fn new<'a>(rules: &Rules, facts: impl Iterator<Item = &'a Facts>) -> Classes {
        let names = rules.names_outward().map(|(name, protocol)| (name.to_owned(), protocol)).collect();
        let nets: BTreeSet<IpNet> =
            rules.blocks.iter().flat_map(|block| block.except.iter().chain([&block.net])).copied().collect();
        let prefixes = nets.into_iter().map(|net| {
            let blocks = rules.blocks.iter().enumerate().filter(|(_, block)| block.contains_all(&net));
            (net, Class { blocks: blocks.map(|(index, _)| index).collect(), ..Class::default() })
        });
        let mut classes = Classes { numbers: BTreeMap::new(), prefixes: prefixes.collect(), names };
        let mut found: BTreeSet<Class> = classes.prefixes.values().cloned().collect();
        facts.for_each(|facts| found.extend(classes.of_all(facts, rules)));
        found.retain(|class| !class.is_empty());
        let found: Vec<(Class, String)> = found.into_iter().map(|class| (class.clone(), class.text(rules))).collect();
        let numbers = number(found.iter().map(|(_, text)| text.as_str()));
        classes.numbers = found.iter().map(|(class, text)| (class.clone(), numbers[text.as_str()])).collect();
        classes
    }

    /// The class of a pod at one of its addresses.
    fn of(&self, facts: &Facts, ip: Option<IpAddr>, rules: &Rules) -> Class {
        let named = facts.ports.iter().filter(|(name, protocol, _)| self.names.contains(&(name.clone(), *protocol)));
        Class { terms: facts.terms.clone(), ports: named.cloned().collect(), ..stranger(ip, rules) }
    }

    fn number(&self, class: &Class) -> u32 {
        self.numbers.get(class).copied().unwrap_or(0)
    }

    /// The classes of a pod or a node at each of its addresses, without those that are nothing to anybody.
    pub fn of_all(&self, facts: &Facts, rules: &Rules) -> Vec<Class> {
        let places = facts.ips.iter().copied().map(Some).chain(facts.is_dns.then_some(None));
        places.map(|ip| self.of(facts, ip, rules)).filter(|class| !class.is_empty()).collect()
    }

    /// Whether addresses that are nobody's are of this class.
    pub fn is_of_a_block(&self, class: &Class) -> bool {
        self.prefixes.values().any(|known| known == class)
    }

    /// The number of a prefix that a block names.
    pub fn block(&self, net: &IpNet) -> Option<u32> {
        self.prefixes.get(net).map(|class| self.number(class))
    }

    /// The numbers of the prefixes that blocks name, and of the nodes' DNS server.
    pub fn fixed<'a>(&self, rules: &Rules, facts: impl Iterator<Item = &'a Facts>) -> BTreeMap<String, u32> {
        let mut found: BTreeMap<String, u32> =
            self.prefixes.iter().map(|(net, class)| (net.to_string(), self.number(class))).collect();
        for facts in facts.filter(|facts| facts.is_dns) {
            let number = self.number(&self.of(facts, None, rules));
            if number != 0 {
                found.insert(DNS.to_owned(), number);
            }
        }
        found
    }

    /// The number of an address that somebody claims; `None` if that tells it from no stranger's. Of two pods with one address the one
    /// that goes is out of it, and two that stay are both nobody.
    pub fn at(&self, ip: IpAddr, mut claims: Vec<&Facts>, rules: &Rules) -> Option<u32> {
        if claims.len() > 1 {
            claims.retain(|facts| !facts.is_terminating);
        }
        let [owner] = claims.as_slice() else { return None };
        let class = self.of(owner, Some(ip), rules);
        (class != stranger(Some(ip), rules)).then(|| self.number(&class))
    }
}

/// The class of an address that is no pod's. The DNS server is a pod somewhere to the policies: of the blocks those have it that
/// have every address.
fn stranger(ip: Option<IpAddr>, rules: &Rules) -> Class {
    let blocks = rules.blocks.iter().enumerate().filter(|(_, block)| match ip {
        Some(ip) => block.contains(ip),
        None => block.net.prefix_len() == 0 && block.except.is_empty(),
    });
    Class { blocks: blocks.map(|(index, _)| index).collect(), ..Class::default() }
}
