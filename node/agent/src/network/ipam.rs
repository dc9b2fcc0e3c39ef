//! Which address a pod gets: a circle over the node's pod range, so that an address that was just freed is not soon
//! somebody else's. Pure.
use std::net::{IpAddr, Ipv4Addr};

use ipnet::{IpNet, Ipv4Net};

use super::Error;

/// The range and where to look next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pool {
    range: Ipv4Net,
    last: Option<Ipv4Addr>,
}

impl Pool {
    /// A pool over an IPv4 range that continues after `last`.
    pub fn new(range: IpNet, last: Option<IpAddr>) -> Result<Pool, Error> {
        let IpNet::V4(v4) = range.trunc() else { return Err(Error::PodCidr(range)) };
        if v4.prefix_len() > 30 {
            return Err(Error::PodCidr(range));
        }
        let last = match last {
            Some(IpAddr::V4(ip)) if v4.contains(&ip) => Some(ip),
            Some(_) | None => None,
        };
        Ok(Pool { range: v4, last })
    }

    pub fn range(&self) -> IpNet {
        IpNet::V4(self.range)
    }

    /// Where the circle stands; to be remembered.
    pub fn last(&self) -> Option<IpAddr> {
        self.last.map(IpAddr::V4)
    }

    /// The next free address. Network, first (the usual gateway) and broadcast address are left out.
    pub fn take(&mut self, used: impl Fn(IpAddr) -> bool) -> Result<IpAddr, Error> {
        let first = u32::from(self.range.network()) + 2;
        let end = u32::from(self.range.broadcast());
        let from = self.last.map_or(first, |ip| u32::from(ip) + 1).clamp(first, end);
        let found = (from..end).chain(first..from).map(Ipv4Addr::from).find(|ip| !used(IpAddr::V4(*ip)));
        let ip = found.ok_or(Error::Exhausted((end - first) as usize, self.range()))?;
        self.last = Some(ip);
        Ok(IpAddr::V4(ip))
    }
}

#[cfg(test)]
mod tests;
