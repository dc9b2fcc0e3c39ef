//! Network policy on this node: whose policy stands on which seat, and keeping the kernel's tables at it.
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use abi::bank;
use datapath::policy::{Compiler, Observed, diff, differences};
use datapath::{Difference, Epoch, State};
use kernel::Datapath;

use super::Error;
use super::events::{containerd, folders};
use super::lease::Leases;

/// The policy tables as they stand.
pub struct Guard {
    compiler: Compiler,
    observed: Observed,
    /// A write failed half way: what the tables hold must be read again.
    doubtful: bool,
    /// Seats of pods that may have connections: theirs had leases at the last commit.
    settled: BTreeSet<u32>,
    /// The state of the node's containerd, which says where pods' namespaces are bound.
    containerd: PathBuf,
}

impl Guard {
    /// Takes over what stands.
    pub fn open(datapath: &Datapath, leases: &Leases, data_dir: &Path) -> Result<Guard, Error> {
        Ok(Guard {
            compiler: Compiler::default(),
            observed: datapath.observe_policy()?,
            doubtful: false,
            settled: taken(leases),
            containerd: containerd(data_dir),
        })
    }

    /// Makes the fabric's policy live for the pods that have leases. Before the first fabric state what stands goes on: to know no policy
    /// is not to have none.
    pub fn commit(&mut self, datapath: &Datapath, state: &State, leases: &Leases, dns: &[IpAddr]) -> Result<(), Error> {
        if state.epoch == Epoch(0) {
            return Ok(());
        }
        if self.doubtful {
            self.observed = datapath.observe_policy()?;
            self.doubtful = false;
        }
        let desired = self.compiler.update(&state.policy, &seats(state, leases), dns);
        if !desired.refused.is_empty() {
            tracing::error!(rulesets = ?desired.refused, "policy tables are full; the pods of these rulesets are cut off");
        }
        let steps = diff(desired, &self.observed);
        if steps.is_empty() {
            self.settled = taken(leases);
            return Ok(());
        }
        let (before, shown) = (self.observed.generation, &self.observed.banks[bank(self.observed.generation) as usize]);
        let is_new = |seat: &u32| desired.bank.seats.contains_key(seat) && !shown.seats.contains_key(seat);
        let newly = leases.pods.values().filter(|lease| self.settled.contains(&lease.seat) && is_new(&lease.seat));
        let newly: BTreeSet<IpAddr> = newly.flat_map(|lease| lease.ips.iter().copied()).collect();
        remember(datapath, &self.containerd, &newly, before);
        self.doubtful = true;
        datapath.apply_policy(&steps)?;
        self.doubtful = false;
        self.observed.publish(desired);
        // Those that were opened meanwhile.
        remember(datapath, &self.containerd, &newly, before);
        self.settled = taken(leases);
        tracing::debug!(
            epoch = state.epoch.0,
            steps = steps.len(),
            generation = self.observed.generation,
            "policy live"
        );
        Ok(())
    }

    /// What differs between the kernel's tables and those that should stand. From then on the kernel's are believed: if anything differs, the
    /// next commit mends it.
    pub fn verify(
        &mut self,
        datapath: &Datapath,
        state: &State,
        leases: &Leases,
        dns: &[IpAddr],
    ) -> Result<Vec<Difference>, Error> {
        let found = datapath.observe_policy()?;
        let seats = seats(state, leases);
        let desired = self.compiler.update(&state.policy, &seats, dns);
        let mut written = if self.doubtful { found.clone() } else { self.observed.clone() };
        written.banks[bank(written.generation) as usize] = desired.bank.clone();
        let list = differences(&written, &found, &seats);
        if !list.is_empty() {
            self.observed = found;
            self.doubtful = false;
        }
        Ok(list)
    }
}

/// Tells the programs who opened the connections of pods that get their first policy, whose packets nobody has looked at so far. Without it a
/// connection goes on only if it could have been opened from either side.
fn remember(datapath: &Datapath, containerd: &Path, pods: &BTreeSet<IpAddr>, generation: u32) {
    if pods.is_empty() {
        return;
    }
    let found = folders(containerd).into_iter().flat_map(|folder| kernel::sockets::connections(&folder, pods));
    let found: Vec<_> = found.collect();
    match datapath.remember(&found, generation) {
        Ok(()) => tracing::debug!(pods = pods.len(), connections = found.len(), "first policy of pods that stand"),
        Err(error) => tracing::warn!(%error, "connections of pods with a first policy may be cut"),
    }
}

fn taken(leases: &Leases) -> BTreeSet<u32> {
    leases.pods.values().map(|lease| lease.seat).collect()
}

/// Whether the fabric has said what the pod's policy is: this pod's, not that of an earlier one of its name. An empty uid is not
/// compared.
pub fn is_known(state: &State, pod: &str, uid: &str) -> bool {
    state.policy.pods.get(pod).is_some_and(|record| uid.is_empty() || record.uid == uid)
}

/// Pods by name with their seats. A pod that only the kernel remembers is named by its address, or cut off.
fn seats(state: &State, leases: &Leases) -> BTreeMap<String, u32> {
    let named = leases.pods.iter().map(|(interface, lease)| {
        if !lease.pod.is_empty() {
            return (lease.pod.clone(), lease.seat);
        }
        let owner = state.policy.pods.iter().find(|(_, record)| lease.ips.iter().any(|ip| record.ips.contains(ip)));
        (owner.map_or_else(|| interface.clone(), |(name, _)| name.clone()), lease.seat)
    });
    named.collect()
}
