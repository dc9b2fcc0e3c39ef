//! Which address a pod gets: a circle over the node's pod range, so that an address that was just freed is not soon
//! somebody else's. Pure.
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use super::Error;

/// Addresses of a range that are used: more than a node has pods, and few enough to be counted.
const SIZE_MAX: u128 = 1 << 20;
/// The network's own address and the first one, which is usually a gateway's, are left out.
const FIRST: u128 = 2;

/// The range and where to look next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pool {
    range: IpNet,
    /// Offset of the address that was handed out last.
    last: Option<u128>,
}

impl Pool {
    /// A pool over a range that continues after `last` if that is of the range.
    ///
    /// # Errors
    /// [`Error::PodCidr`] for a range of less than four addresses.
    pub fn new(range: IpNet, last: &[IpAddr]) -> Result<Pool, Error> {
        let range = range.trunc();
        if range.max_prefix_len() - range.prefix_len() < 2 {
            return Err(Error::PodCidr(range));
        }
        let last = last.iter().find(|ip| range.contains(*ip)).map(|ip| number(*ip) - number(range.network()));
        Ok(Pool { range, last })
    }

    /// Where addresses come from.
    pub fn range(&self) -> IpNet {
        self.range
    }

    /// Where the circle stands; to be remembered.
    pub fn last(&self) -> Option<IpAddr> {
        self.last.map(|offset| self.address(offset))
    }

    /// The next free address. Network, first (the usual gateway) and broadcast address are left out.
    ///
    /// # Errors
    /// [`Error::Exhausted`] if `used` has all of them.
    pub fn take(&mut self, used: impl Fn(IpAddr) -> bool) -> Result<IpAddr, Error> {
        let bits = u32::from(self.range.max_prefix_len() - self.range.prefix_len());
        let end = 1_u128.checked_shl(bits).map_or(SIZE_MAX, |size| size.min(SIZE_MAX)) - 1;
        let from = self.last.map_or(FIRST, |offset| offset + 1).clamp(FIRST, end);
        let found = (from..end).chain(FIRST..from).find(|offset| !used(self.address(*offset)));
        let offset = found.ok_or(Error::Exhausted(end - FIRST, self.range))?;
        self.last = Some(offset);
        Ok(self.address(offset))
    }

    fn address(&self, offset: u128) -> IpAddr {
        match self.range.network() {
            // The offset is within the range, so that nothing is cut off.
            IpAddr::V4(first) => IpAddr::V4(Ipv4Addr::from(u32::from(first).wrapping_add(offset as u32))),
            IpAddr::V6(first) => IpAddr::V6(Ipv6Addr::from(u128::from(first).wrapping_add(offset))),
        }
    }
}

fn number(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => u32::from(ip).into(),
        IpAddr::V6(ip) => ip.into(),
    }
}

#[cfg(test)]
mod tests;
