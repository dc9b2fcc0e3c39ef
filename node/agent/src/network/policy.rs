//! Network policy on this node: whose policy stands on which seat, and keeping the kernel's tables at it.
use std::collections::BTreeMap;
use std::net::IpAddr;

use datapath::policy::{Compiler, Observed, diff, differences};
use datapath::{Difference, Epoch, State};
use kernel::Datapath;

use super::Error;
use super::lease::Leases;

/// The policy tables as they stand.
pub struct Guard {
    compiler: Compiler,
    observed: Observed,
    /// A write failed half way: what the tables hold must be read again.
    doubtful: bool,
}

impl Guard {
    /// Takes over what stands.
    pub fn open(datapath: &Datapath) -> Result<Guard, Error> {
        Ok(Guard { compiler: Compiler::default(), observed: datapath.observe_policy()?, doubtful: false })
    }

    /// Makes the fabric's policy live for the pods that have leases. Before the first fabric state what stands goes on: to know no policy
    /// is not to have none.
    pub fn commit(
        &mut self,
        datapath: &Datapath,
        state: &State,
        leases: &Leases,
        dns: Option<IpAddr>,
    ) -> Result<(), Error> {
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
            return Ok(());
        }
        self.doubtful = true;
        datapath.apply_policy(&steps)?;
        self.doubtful = false;
        self.observed.publish(desired);
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
        dns: Option<IpAddr>,
    ) -> Result<Vec<Difference>, Error> {
        let found = datapath.observe_policy()?;
        let seats = seats(state, leases);
        let desired = self.compiler.update(&state.policy, &seats, dns);
        let mut written = if self.doubtful { found.clone() } else { self.observed.clone() };
        written.banks[abi::bank(written.generation) as usize] = desired.bank.clone();
        let list = differences(&written, &found, &seats);
        if !list.is_empty() {
            self.observed = found;
            self.doubtful = false;
        }
        Ok(list)
    }
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
        let owner = state.policy.pods.iter().find(|(_, record)| record.ips.contains(&lease.ip));
        (owner.map_or_else(|| interface.clone(), |(name, _)| name.clone()), lease.seat)
    });
    named.collect()
}
