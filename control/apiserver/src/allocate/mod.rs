//! ClusterIPs and nodePorts. The pools are in memory, rebuilt from the stored Services at start; a number is taken
//! before the Service is written, and given back if the write does not happen.

pub(crate) mod addresses;
mod pool;
mod service;

pub(crate) use service::carry_over;

use crate::{
    Error,
    informed::{Kind, Snapshot},
    storage,
};
use api::{FieldError, Revision, Status, meta};
use ipnet::IpNet;
use pool::{IpPool, IpPools, PortPool};
use registry::Resource;
use serde_json::Value;
use std::{
    net::IpAddr,
    ops::RangeInclusive,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Both pools.
pub(crate) struct Allocators {
    pools: Mutex<Pools>,
}

struct Pools {
    ips: IpPools,
    ports: PortPool,
    /// The ranges that are served whatever objects say.
    own: Vec<IpNet>,
    /// The ServiceCIDRs that the ranges are of.
    followed: Revision,
}

/// Numbers taken for a write that is under way. Dropped without [`Reservation::keep`], they go back.
#[must_use = "dropping it gives the numbers back"]
pub(crate) struct Reservation<'a> {
    allocators: &'a Allocators,
    taken: Numbers,
    /// What the change no longer needs: given back once it is written.
    dropped: Numbers,
}

/// IPs and ports of one Service.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Numbers {
    pub(crate) ips: Vec<IpAddr>,
    pub(crate) ports: Vec<u16>,
}

impl Allocators {
    /// Reads what the stored Services hold.
    pub(crate) async fn restore(
        store: &dyn store::Backend,
        cidrs: &[IpNet],
        ports: RangeInclusive<u16>,
    ) -> Result<Self, Error> {
        if cidrs.is_empty() {
            return Err(Error::NoServiceCidr);
        }
        if let Some(cidr) = cidrs.iter().find(|cidr| IpPool::new(**cidr).is_none()) {
            return Err(Error::ServiceCidr(*cidr));
        }
        let own: Vec<IpNet> = cidrs.iter().map(IpNet::trunc).collect();
        let mut pools = Pools { ips: IpPools::default(), ports: PortPool::new(ports), own, followed: Revision(0) };
        let defined = store.list("/registry/networking.k8s.io/servicecidrs/", None, None, None).await?;
        let defined = defined.entries.iter().filter_map(|entry| storage::parse(&entry.value).ok());
        let ranges = ranges(&pools.own, defined.collect::<Vec<_>>().iter());
        pools.ips.set(&ranges);
        let listing = store.list(&storage::core_key("services", "", ""), None, None, None).await?;
        for entry in &listing.entries {
            let Ok(object) = storage::parse(&entry.value) else { continue };
            let numbers = service::numbers(&object);
            for ip in numbers.ips {
                if !pools.ips.take(ip) {
                    tracing::warn!(service = %meta::key(&object), %ip, "ClusterIP is used twice or out of range");
                }
            }
            for port in numbers.ports {
                if !pools.ports.take(port) {
                    tracing::warn!(service = %meta::key(&object), port, "nodePort is used twice or out of range");
                }
            }
        }
        let addresses = store.list(addresses::PREFIX, None, None, None).await?;
        for entry in &addresses.entries {
            if let Some(ip) = addresses::of_key(&entry.key) {
                pools.ips.take(ip);
            }
        }
        Ok(Self { pools: Mutex::new(pools) })
    }

    /// Gives out addresses of the ServiceCIDRs there are.
    pub(crate) fn follow(&self, snapshot: &Snapshot) {
        let changed = snapshot.changed(Kind::ServiceCidrs);
        let mut pools = self.lock();
        if pools.followed != changed {
            pools.followed = changed;
            let ranges = ranges(&pools.own, snapshot.all(Kind::ServiceCidrs).map(|object| &object.value));
            pools.ips.set(&ranges);
        }
    }

    /// Marks an address as taken by an object of its own.
    fn occupy(&self, ip: IpAddr) {
        self.lock().ips.take(ip);
    }

    /// Gives a Service that is about to be written the numbers it needs. Other kinds pass.
    pub(crate) fn reserve(
        &self,
        resource: &Resource,
        new: &mut Value,
        old: Option<&Value>,
    ) -> Result<Reservation<'_>, Status> {
        let mut reservation = Reservation { allocators: self, taken: Numbers::default(), dropped: Numbers::default() };
        if !is_service(resource) {
            return Ok(reservation);
        }
        let held = old.map(service::numbers).unwrap_or_default();
        let mut errors = Vec::new();
        {
            let mut pools = self.lock();
            service::allocate(&mut pools, new, &held, &mut reservation.taken, &mut errors);
        }
        if !errors.is_empty() {
            return Err(Status::invalid(&resource.gvk(), meta::name(new), errors));
        }
        let kept = service::numbers(new);
        reservation.dropped = Numbers {
            ips: held.ips.into_iter().filter(|ip| !kept.ips.contains(ip)).collect(),
            ports: held.ports.into_iter().filter(|port| !kept.ports.contains(port)).collect(),
        };
        Ok(reservation)
    }

    /// Gives back what a deleted Service held.
    pub(crate) fn release(&self, resource: &Resource, object: &Value) {
        if is_service(resource) {
            self.give_back(&service::numbers(object));
        }
    }

    fn give_back(&self, numbers: &Numbers) {
        let mut pools = self.lock();
        numbers.ips.iter().for_each(|ip| pools.ips.give_back(*ip));
        numbers.ports.iter().for_each(|port| pools.ports.give_back(*port));
    }

    fn lock(&self) -> MutexGuard<'_, Pools> {
        self.pools.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reservation<'_> {
    /// The write has happened.
    pub(crate) fn keep(mut self) {
        self.taken = std::mem::take(&mut self.dropped);
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        if self.taken != Numbers::default() {
            self.allocators.give_back(&self.taken);
        }
    }
}

fn is_service(resource: &Resource) -> bool {
    resource.group.is_empty() && resource.resource == "services"
}

/// The ranges of ServiceCIDRs, the server's own first, each with whether it is open.
fn ranges<'a>(own: &[IpNet], defined: impl Iterator<Item = &'a Value>) -> Vec<(IpNet, bool)> {
    let mut ranges: Vec<(IpNet, bool)> = own.iter().map(|range| (*range, true)).collect();
    for object in defined {
        let listed = object["spec"]["cidrs"].as_array().into_iter().flatten();
        for range in listed.filter_map(|range| range.as_str()?.parse::<IpNet>().ok()) {
            let open = !meta::is_deleting(object);
            match ranges.iter_mut().find(|(known, _)| *known == range) {
                Some((_, known)) => *known |= open,
                None => ranges.push((range, open)),
            }
        }
    }
    ranges
}

/// An invalid number.
fn refusal(field: String, value: impl Into<Value>, detail: String) -> FieldError {
    FieldError::invalid(field, value, detail)
}

#[cfg(test)]
mod tests;
