//! Which pod has which address, remembered over restarts in `network.json`. The kernel's tables are the truth about
//! what stands; the file adds who it is for, and where the circle of addresses stands.
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use serde::{Deserialize, Deserializer, Serialize};

use super::host_port::HostPort;

/// Why the file could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{what} {path}: {source}")]
    Io { what: &'static str, path: PathBuf, source: io::Error },
    #[error("encode {path}: {source}")]
    Encode { path: PathBuf, source: serde_json::Error },
}

/// The file's contents.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Leases {
    /// At most one of each family, that of `podIP` first. Files of nodes that had one family say one, as `podCidr`.
    #[serde(default, alias = "podCidr", deserialize_with = "one_or_many", skip_serializing_if = "Vec::is_empty")]
    pub pod_cidrs: Vec<IpNet>,
    /// The addresses handed out last, at most one of each family.
    #[serde(default, deserialize_with = "one_or_many", skip_serializing_if = "Vec::is_empty")]
    pub last: Vec<IpAddr>,
    /// By host-side interface.
    #[serde(default)]
    pub pods: BTreeMap<String, Lease>,
}

/// One attached pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Lease {
    /// At most one of each family, in the order of [`Leases::pod_cidrs`]. Files of nodes that had one family say one, as `ip`.
    #[serde(alias = "ip", deserialize_with = "one_or_many")]
    pub ips: Vec<IpAddr>,
    /// Empty when only the kernel remembers the pod.
    #[serde(default)]
    pub container_id: String,
    /// `namespace/name`: whose policy holds. Empty when only the kernel remembers the pod.
    #[serde(default)]
    pub pod: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub host_ports: Vec<HostPort>,
    /// Where the kernel's tables have the pod's policy.
    #[serde(default)]
    pub seat: u32,
    /// Most that the pod receives and sends, bits a second; 0: no limit.
    #[serde(default)]
    pub ingress_bits: u64,
    #[serde(default)]
    pub egress_bits: u64,
}

impl Lease {
    /// The limits as the kernel's tables take them.
    pub fn bandwidth(&self) -> kernel::Bandwidth {
        kernel::Bandwidth { ingress: self.ingress_bits, egress: self.egress_bits }
    }
}

impl Leases {
    /// Reads the file. Absent or unreadable contents give none: the kernel's tables say which addresses are in use.
    pub fn load(path: &Path) -> Result<Leases, Error> {
        let text = match fs::read(path) {
            Ok(text) => text,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Leases::default()),
            Err(source) => return Err(Error::Io { what: "read", path: path.into(), source }),
        };
        Ok(serde_json::from_slice(&text).unwrap_or_else(|e| {
            tracing::warn!(path = %path.display(), error = %e, "lease file is damaged; using the kernel's tables alone");
            Leases::default()
        }))
    }

    /// Replaces the file in one step.
    pub fn save(&self, path: &Path) -> Result<(), Error> {
        let fail = |what| move |source| Error::Io { what, path: path.to_owned(), source };
        let text = serde_json::to_vec_pretty(self).map_err(|source| Error::Encode { path: path.to_owned(), source })?;
        let next = path.with_extension("json.next");
        let mut file = File::create(&next).map_err(fail("create a new"))?;
        file.write_all(&text).and_then(|()| file.sync_data()).map_err(fail("write a new"))?;
        fs::rename(&next, path).map_err(fail("replace"))
    }

    /// Takes the kernel's word for which pods stand: others are dropped, unknown ones are taken up.
    pub fn reconcile(&mut self, attached: &[(String, Vec<IpAddr>, u32)]) {
        self.pods.retain(|name, _| attached.iter().any(|(other, ..)| other == name));
        for (name, addresses, seat) in attached {
            if addresses.is_empty() {
                continue;
            }
            let lease = self.pods.entry(name.clone()).or_insert_with(|| Lease {
                ips: addresses.clone(),
                container_id: String::new(),
                pod: String::new(),
                host_ports: Vec::new(),
                seat: *seat,
                ingress_bits: 0,
                egress_bits: 0,
            });
            let same = lease.ips.len() == addresses.len() && lease.ips.iter().all(|ip| addresses.contains(ip));
            if !same {
                lease.ips.clone_from(addresses);
            }
            lease.seat = *seat;
        }
    }

    /// The lowest seat that no pod has; `None` if all are taken.
    pub fn free_seat(&self) -> Option<u32> {
        let taken: BTreeSet<u32> = self.pods.values().map(|lease| lease.seat).collect();
        (1..datapath::policy::SEATS).find(|seat| !taken.contains(seat))
    }

    /// Whether a pod has the address.
    pub fn uses(&self, ip: IpAddr) -> bool {
        self.pods.values().any(|lease| lease.ips.contains(&ip))
    }
}

/// A list, or the one element that stood in its place before there were two families.
fn one_or_many<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either<T> {
        Many(Vec<T>),
        One(T),
    }
    Ok(match Either::deserialize(deserializer)? {
        Either::Many(list) => list,
        Either::One(one) => vec![one],
    })
}

#[cfg(test)]
mod tests;
