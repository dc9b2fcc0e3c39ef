//! What there is to see: the tables, and what the daemon knows besides.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use abi::Counter;
use abi::balance::VIP_LIVE;
use datapath::balancer::VipKey;
use kernel::bpf::{self, BalancerTables};
use serde::{Deserialize, Serialize};

use crate::config::Service;

/// What may happen to a packet for a virtual address instead of being sent on.
const DROPS: [(Counter, &str); 5] = [
    (Counter::DropNoBackend, "no-backend"),
    (Counter::DropTooBig, "too-big"),
    (Counter::DropFragment, "fragment"),
    (Counter::DropMalformed, "malformed"),
    (Counter::DropKernel, "kernel"),
];

/// The file below the daemon's directory in which it leaves what is not in the tables.
const STATE: &str = "state.json";

/// What the daemon knows besides the tables.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    pub interface: String,
    pub services: Vec<ServiceState>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceState {
    pub address: IpAddr,
    pub port: u16,
    pub protocol: String,
    pub backends: Vec<BackendState>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackendState {
    pub address: IpAddr,
    pub weight: u32,
    pub healthy: bool,
}

/// Everything at one time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    pub interface: String,
    pub services: Vec<ServiceReport>,
    /// Flows with a record.
    pub records: u64,
    /// Dropped packets by reason.
    pub drops: BTreeMap<String, u64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ServiceReport {
    #[serde(flatten)]
    pub state: ServiceState,
    /// Sent on, without outer headers.
    pub packets: u64,
    pub bytes: u64,
    /// Slots of the ring, and how many remember a change.
    pub slots: usize,
    pub changed: usize,
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("no balancer runs here: {path}: {source}")]
    State { path: PathBuf, source: io::Error },
    #[error("read {path}: {source}")]
    Json { path: PathBuf, source: serde_json::Error },
    #[error(transparent)]
    Kernel(#[from] bpf::Error),
}

impl State {
    /// Leaves it below `dir`, at once.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn save(&self, dir: &Path) -> io::Result<()> {
        let fresh = dir.join(format!("{STATE}.new"));
        fs::write(&fresh, serde_json::to_vec(self)?)?;
        fs::rename(fresh, dir.join(STATE))
    }

    /// What the last daemon left below `dir`.
    ///
    /// # Errors
    /// If there was none.
    pub fn load(dir: &Path) -> Result<State, Error> {
        let path = dir.join(STATE);
        let text = fs::read(&path).map_err(|source| Error::State { path: path.clone(), source })?;
        serde_json::from_slice(&text).map_err(|source| Error::Json { path, source })
    }

    /// Whether a backend was healthy; who is not in it is.
    pub fn is_healthy(&self, service: &Service, address: IpAddr) -> bool {
        let mut services = self.services.iter().filter(|state| state.is_of(&service.key()));
        !services.any(|state| state.backends.iter().any(|b| b.address == address && !b.healthy))
    }

    /// Removes it. Absent is fine.
    pub fn remove(dir: &Path) {
        if let Err(error) = fs::remove_file(dir.join(STATE)) {
            tracing::debug!(%error, "no state to remove");
        }
    }
}

impl ServiceState {
    /// Of a service of the configuration; `is_healthy` tells of its backends.
    pub fn new(service: &Service, is_healthy: impl Fn(IpAddr) -> bool) -> ServiceState {
        let backends = service.backends.iter();
        ServiceState {
            address: service.address,
            port: service.port,
            protocol: service.protocol.to_string(),
            backends: backends
                .map(|b| BackendState { address: b.address, weight: b.weight, healthy: is_healthy(b.address) })
                .collect(),
        }
    }

    fn is_of(&self, key: &VipKey) -> bool {
        let proto = if self.protocol == "UDP" { abi::IPPROTO_UDP } else { abi::IPPROTO_TCP };
        *key == VipKey { addr: datapath::addr(self.address), port: abi::Be16::new(self.port), proto }
    }
}

/// What the balancer of `dir` does.
///
/// # Errors
/// If none was started there, or without privileges.
pub fn read(dir: &Path) -> Result<Report, Error> {
    let state = State::load(dir)?;
    let tables = BalancerTables::open(&crate::daemon::pins(dir))?;
    let content = tables.content();
    let mut services = Vec::new();
    for state in state.services {
        let is_its = |vip: &abi::balance::Vip| {
            vip.state & VIP_LIVE != 0 && state.is_of(&VipKey { addr: vip.addr, port: vip.port, proto: vip.proto })
        };
        // One that found no room has no row.
        let Some((_, vip)) = content.rows.iter().find(|(_, vip)| is_its(vip)) else { continue };
        let traffic = tables.traffic(vip.number)?;
        let (base, len) = (vip.ring as u32 as usize, (vip.ring >> 32) as usize);
        let slots = content.slots.get(base..base + len).unwrap_or_default();
        let changed = slots.iter().filter(|slot| *slot >> 16 != 0).count();
        services.push(ServiceReport { state, packets: traffic.packets, bytes: traffic.bytes, slots: len, changed });
    }
    let mut drops = BTreeMap::new();
    for (counter, reason) in DROPS {
        drops.insert(reason.to_owned(), tables.counter(counter)?);
    }
    Ok(Report { interface: state.interface, services, records: tables.flows()?.len() as u64, drops })
}

impl Report {
    /// For people.
    pub fn text(&self) -> String {
        let mut out = String::new();
        // Writing to a String does not fail.
        let _ = writeln!(out, "{}: {} services, {} flows on record", self.interface, self.services.len(), self.records);
        for service in &self.services {
            let ServiceState { address, port, protocol, backends } = &service.state;
            let address = std::net::SocketAddr::new(*address, *port);
            let _ = writeln!(
                out,
                "{address} {protocol}: {} packets, {} bytes; {} of {} slots remember a change",
                service.packets, service.bytes, service.changed, service.slots
            );
            for backend in backends {
                let health = if backend.healthy { "healthy" } else { "unhealthy" };
                let _ = writeln!(out, "  {} weight {} {health}", backend.address, backend.weight);
            }
        }
        let drops: Vec<String> =
            self.drops.iter().filter(|(_, n)| **n > 0).map(|(reason, n)| format!("{reason} {n}")).collect();
        let _ = writeln!(out, "dropped: {}", if drops.is_empty() { "nothing".to_owned() } else { drops.join(", ") });
        out
    }
}

#[cfg(test)]
mod tests;
