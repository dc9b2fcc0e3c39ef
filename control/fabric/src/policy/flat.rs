//! Tiers made flat: for one peer and direction, what each protocol and port comes to once every tier has spoken.
//!
//! A decision is made by the first rule that matches, so rules are told in order ([`Table::decide`]) and each takes what is still open.
//! What comes out ([`rules`]) is said in as few entries as the tables' look-up allows: a peer's own before everybody's, a protocol's
//! before any, a range's before all ports.

use super::rules::{SCTP, TCP, UDP};

const PROTOCOLS: [u8; 3] = [TCP, UDP, SCTP];

/// What is known of a connection so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// No rule of this tier has matched.
    Open,
    /// A rule of this tier has left it to the next one.
    Passed,
    Allow,
    Deny,
}

/// Ports as marks from each of these numbers up to the next one; the first is 0.
type Ports = Vec<(u16, Mark)>;

/// Every connection with one peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// Protocols without ports.
    other: Mark,
    ports: [Ports; 3],
}

/// Connections that a rule is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Region {
    /// Any protocol.
    Everything,
    Ports {
        protocol: u8,
        first: u16,
        last: u16,
    },
}

/// An entry: protocol (0 for any), first and last port, whether it denies.
pub type Entry = (u8, u16, u16, bool);

impl Table {
    /// The same for everything.
    pub fn all(mark: Mark) -> Table {
        Table { other: mark, ports: [vec![(0, mark)], vec![(0, mark)], vec![(0, mark)]] }
    }

    /// Marks what is open in the region.
    pub fn decide(&mut self, region: Region, mark: Mark) {
        match region {
            Region::Everything => self.replace(Mark::Open, mark),
            Region::Ports { protocol, first, last } => {
                if let Some(at) = PROTOCOLS.iter().position(|known| *known == protocol) {
                    let ports = &mut self.ports[at];
                    split(ports, first);
                    last.checked_add(1).into_iter().for_each(|after| split(ports, after));
                    let range =
                        ports.iter_mut().filter(|(from, known)| (first..=last).contains(from) && *known == Mark::Open);
                    range.for_each(|(_, known)| *known = mark);
                    ports.dedup_by_key(|(_, mark)| *mark);
                }
            }
        }
    }

    /// Marks everything anew that has a mark.
    pub fn replace(&mut self, old: Mark, new: Mark) {
        let marks = self.ports.iter_mut().flatten().map(|(_, mark)| mark);
        marks.chain([&mut self.other]).filter(|mark| **mark == old).for_each(|mark| *mark = new);
        self.ports.iter_mut().for_each(|ports| ports.dedup_by_key(|(_, mark)| *mark));
    }
}

/// The entries that make a peer's table out of what stands behind them: everybody's table, or nothing but denial.
pub fn rules(table: &Table, behind: &Table) -> Vec<Entry> {
    let mut fresh = vec![(0, 0, u16::MAX, table.other == Mark::Deny)];
    fresh.extend(each(table, |_| Some(table.other), behind));
    if table.other != behind.other {
        return fresh;
    }
    let over = each(table, |_| None, behind);
    if cost(&over) <= cost(&fresh) { over } else { fresh }
}

/// Entries of the protocols with ports, each over one mark for all ports, or over what stands behind.
fn each(table: &Table, base: impl Fn(usize) -> Option<Mark>, behind: &Table) -> Vec<Entry> {
    let best = |(at, protocol): (usize, &u8)| {
        let ports = &table.ports[at];
        let over = |base: &Ports, mut entries: Vec<Entry>| {
            entries.extend(differences(*protocol, ports, base));
            entries
        };
        let none = match base(at) {
            Some(mark) => over(&vec![(0, mark)], Vec::new()),
            None => over(&behind.ports[at], Vec::new()),
        };
        let all = |mark| over(&vec![(0, mark)], vec![(*protocol, 0, u16::MAX, mark == Mark::Deny)]);
        let choices = [none, all(Mark::Allow), all(Mark::Deny)];
        choices.into_iter().min_by_key(|entries| cost(entries)).unwrap_or_default()
    };
    PROTOCOLS.iter().enumerate().flat_map(best).collect()
}

/// Where two lists of marks differ, with the first one's.
fn differences(protocol: u8, ports: &Ports, base: &Ports) -> Vec<Entry> {
    let mut starts: Vec<u16> = ports.iter().chain(base).map(|(from, _)| *from).collect();
    starts.sort_unstable();
    starts.dedup();
    let mut entries: Vec<Entry> = Vec::new();
    for (place, first) in starts.iter().enumerate() {
        let last = starts.get(place + 1).map_or(u16::MAX, |next| next - 1);
        let mark = at(ports, *first);
        if mark == at(base, *first) {
            continue;
        }
        let deny = mark == Mark::Deny;
        match entries.last_mut() {
            Some(before) if before.2.checked_add(1) == Some(*first) && before.3 == deny => before.2 = last,
            _ => entries.push((protocol, *first, last, deny)),
        }
    }
    entries
}

fn at(ports: &Ports, port: u16) -> Mark {
    let after = ports.partition_point(|(from, _)| *from <= port);
    ports[after - 1].1
}

/// Lets a mark begin at a port.
fn split(ports: &mut Ports, port: u16) {
    let after = ports.partition_point(|(from, _)| *from <= port);
    let (from, mark) = ports[after - 1];
    if from != port {
        ports.insert(after, (port, mark));
    }
}

/// How many prefixes the entries are in the tables.
fn cost(entries: &[Entry]) -> u32 {
    let prefixes = |first: u16, last: u16| {
        let (mut from, end, mut count) = (u32::from(first), u32::from(last) + 1, 0);
        while from < end {
            from += 1 << from.trailing_zeros().min((end - from).ilog2());
            count += 1;
        }
        count
    };
    entries.iter().map(|(_, first, last, _)| prefixes(*first, *last)).sum()
}
