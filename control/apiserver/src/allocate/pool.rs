//! Pools of numbers: which are taken, and the next that is free.

use ipnet::IpNet;
use std::{collections::BTreeSet, net::IpAddr, ops::RangeInclusive};

/// Addresses above the first that stay free for static use as long as others are left. Kubernetes: KEP-3070.
const STATIC_BAND_MIN: u128 = 16;
const STATIC_BAND_MAX: u128 = 256;
/// `.1` is the API server's, `.10` the cluster DNS's: never given out unasked.
const RESERVED_OFFSETS: [u128; 2] = [1, 10];
/// Addresses of a range that are used; more Services than that are a mistake.
const SIZE_LIMIT: u128 = 1 << 20;

/// ClusterIPs of one range.
pub(crate) struct IpPool {
    range: IpNet,
    base: u128,
    /// Offsets below this may be given out. The first (the network's address) and the last are not.
    size: u128,
    taken: BTreeSet<u128>,
}

/// ClusterIPs of every range, which may overlap.
#[derive(Default)]
pub(crate) struct IpPools {
    /// Each with whether addresses are still given out of it.
    ranges: Vec<(IpPool, bool)>,
}

/// nodePorts.
pub(crate) struct PortPool {
    pub(crate) range: RangeInclusive<u16>,
    taken: BTreeSet<u16>,
}

impl IpPool {
    pub(crate) fn new(range: IpNet) -> Option<Self> {
        let bits = u32::from(range.max_prefix_len() - range.prefix_len());
        let size = if bits >= 20 { SIZE_LIMIT } else { 1 << bits };
        (size >= 16).then(|| Self { range, base: number(range.network()), size: size - 1, taken: BTreeSet::new() })
    }

    pub(crate) fn is_v4(&self) -> bool {
        matches!(self.range, IpNet::V4(_))
    }

    pub(crate) fn range(&self) -> IpNet {
        self.range
    }

    pub(crate) fn contains(&self, ip: IpAddr) -> bool {
        self.offset(ip).is_some()
    }

    /// False if it is taken or out of range.
    pub(crate) fn take(&mut self, ip: IpAddr) -> bool {
        self.offset(ip).is_some_and(|offset| self.taken.insert(offset))
    }

    pub(crate) fn is_taken(&self, ip: IpAddr) -> bool {
        self.offset(ip).is_some_and(|offset| self.taken.contains(&offset))
    }

    /// Every address that is taken.
    pub(crate) fn taken(&self) -> impl Iterator<Item = IpAddr> {
        self.taken.iter().map(|offset| self.address(*offset))
    }

    /// Any free address: above the static band first, then in it. `seed` picks where the search begins.
    pub(crate) fn take_any(&mut self, seed: u64) -> Option<IpAddr> {
        let band = (self.size / 16).clamp(STATIC_BAND_MIN.min(self.size / 2), STATIC_BAND_MAX);
        let upper = self.size - band;
        let start = u128::from(seed) % upper;
        let offset = (0..upper)
            .map(|step| band + (start + step) % upper)
            .chain(1..band)
            .find(|offset| !RESERVED_OFFSETS.contains(offset) && !self.taken.contains(offset))?;
        self.taken.insert(offset);
        Some(self.address(offset))
    }

    pub(crate) fn give_back(&mut self, ip: IpAddr) {
        if let Some(offset) = self.offset(ip) {
            self.taken.remove(&offset);
        }
    }

    fn offset(&self, ip: IpAddr) -> Option<u128> {
        if !self.range.contains(&ip) {
            return None;
        }
        let offset = number(ip) - self.base;
        (offset > 0 && offset < self.size).then_some(offset)
    }

    fn address(&self, offset: u128) -> IpAddr {
        let number = self.base + offset;
        match self.range {
            IpNet::V4(_) => IpAddr::from(u32::try_from(number).expect("an IPv4 range stays below 2^32").to_be_bytes()),
            IpNet::V6(_) => IpAddr::from(number.to_be_bytes()),
        }
    }
}

impl IpPools {
    /// Serves these ranges from now on: what is taken stays so. A range that is going gives out nothing more.
    pub(crate) fn set(&mut self, ranges: &[(IpNet, bool)]) {
        let taken: BTreeSet<IpAddr> = self.ranges.iter().flat_map(|(pool, _)| pool.taken()).collect();
        self.ranges.retain(|(pool, _)| ranges.iter().any(|(range, _)| *range == pool.range()));
        for (range, open) in ranges {
            if let Some((_, known)) = self.ranges.iter_mut().find(|(pool, _)| pool.range() == *range) {
                *known = *open;
            } else if let Some(mut pool) = IpPool::new(*range) {
                for ip in &taken {
                    pool.take(*ip);
                }
                self.ranges.push((pool, *open));
            }
        }
    }

    /// The ranges that addresses are given out of, for messages.
    pub(crate) fn shown(&self) -> String {
        let shown: Vec<String> = self.open().map(|pool| pool.range().to_string()).collect();
        shown.join(",")
    }

    /// Whether there is a range of this family.
    pub(crate) fn has_family(&self, v4: bool) -> bool {
        self.open().any(|pool| pool.is_v4() == v4)
    }

    /// The family of the first range.
    pub(crate) fn prefers_v4(&self) -> bool {
        self.open().next().is_none_or(IpPool::is_v4)
    }

    pub(crate) fn contains(&self, ip: IpAddr) -> bool {
        self.open().any(|pool| pool.contains(ip))
    }

    /// False if it is taken or out of every range.
    pub(crate) fn take(&mut self, ip: IpAddr) -> bool {
        if self.ranges.iter().any(|(pool, _)| pool.is_taken(ip)) {
            return false;
        }
        let mut took = false;
        self.ranges.iter_mut().for_each(|(pool, _)| took |= pool.take(ip));
        took
    }

    /// Any free address of a family.
    pub(crate) fn take_any(&mut self, v4: bool, seed: u64) -> Option<IpAddr> {
        let found = self.ranges.iter_mut().filter(|(pool, open)| *open && pool.is_v4() == v4);
        let ip = found.filter_map(|(pool, _)| pool.take_any(seed)).next()?;
        for (pool, _) in &mut self.ranges {
            pool.take(ip);
        }
        Some(ip)
    }

    pub(crate) fn give_back(&mut self, ip: IpAddr) {
        self.ranges.iter_mut().for_each(|(pool, _)| pool.give_back(ip));
    }

    fn open(&self) -> impl Iterator<Item = &IpPool> {
        self.ranges.iter().filter(|(_, open)| *open).map(|(pool, _)| pool)
    }
}

impl PortPool {
    pub(crate) fn new(range: RangeInclusive<u16>) -> Self {
        Self { range, taken: BTreeSet::new() }
    }

    pub(crate) fn take(&mut self, port: u16) -> bool {
        self.range.contains(&port) && self.taken.insert(port)
    }

    pub(crate) fn take_any(&mut self, seed: u64) -> Option<u16> {
        let size = u64::try_from(self.range.len()).ok()?;
        let start = seed % size.max(1);
        let port = (0..size)
            .map(|step| self.range.start() + u16::try_from((start + step) % size).expect("within a u16 range"))
            .find(|port| !self.taken.contains(port))?;
        self.taken.insert(port);
        Some(port)
    }

    pub(crate) fn give_back(&mut self, port: u16) {
        self.taken.remove(&port);
    }
}

fn number(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => u128::from(u32::from(ip)),
        IpAddr::V6(ip) => u128::from(ip),
    }
}
