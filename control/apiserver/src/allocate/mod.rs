//! ClusterIPs and nodePorts. The pools are in memory, rebuilt from the stored Services at start; a number is taken
//! before the Service is written, and given back if the write does not happen.

mod pool;
mod service;

pub(crate) use service::carry_over;

use crate::{Error, storage};
use api::{FieldError, Status, meta};
use ipnet::IpNet;
use pool::{IpPool, PortPool};
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
    ips: IpPool,
    ports: PortPool,
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
        cidr: IpNet,
        ports: RangeInclusive<u16>,
    ) -> Result<Self, Error> {
        let mut pools = Pools { ips: IpPool::new(cidr).ok_or(Error::ServiceCidr(cidr))?, ports: PortPool::new(ports) };
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
        Ok(Self { pools: Mutex::new(pools) })
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

/// An invalid number.
fn refusal(field: String, value: impl Into<Value>, detail: String) -> FieldError {
    FieldError::invalid(field, value, detail)
}

#[cfg(test)]
mod tests;
