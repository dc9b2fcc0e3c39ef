//! Comparing the kernel's tables with those that should stand, and mending them.
use std::path::PathBuf;

use datapath::{Difference, Epoch};
use kernel::PodLink;

use super::{Error, Plane};

impl Plane {
    /// What differs between the kernel's tables and those that should stand, before the repair if there is one.
    pub(super) fn verify(&mut self, repair: bool) -> Result<Vec<Difference>, Error> {
        let state = self.planner.state();
        if state.epoch == Epoch(0) {
            return Err(Error::NoState);
        }
        let desired = datapath::compile(state, self.planner.local());
        self.sweep_now()?;
        let observed = self.datapath.observe()?;
        let mut found = datapath::differences(&datapath::diff(&desired, &observed), &desired, &observed);
        let services = !found.is_empty();
        let dns = self.dns_servers();
        let policy = self.guard.verify(&self.datapath, self.planner.state(), &self.leases, &dns)?;
        let policies = !policy.is_empty();
        found.extend(policy);
        found.extend(self.datapath.verify_pods(&self.standing(), repair)?);
        if repair && !found.is_empty() {
            tracing::warn!(count = found.len(), "tables differed and are mended");
            self.doubtful |= services;
            self.policy_stale |= policies;
            self.commit()?;
        }
        Ok(found)
    }

    /// The attached pods, as far as their table entries go.
    fn standing(&self) -> Vec<PodLink> {
        let pods = self.leases.pods.iter().map(|(name, lease)| PodLink {
            host_ifname: name.clone(),
            netns: PathBuf::new(),
            ifname: String::new(),
            addresses: lease.ips.clone(),
            seat: lease.seat,
            bandwidth: lease.bandwidth(),
        });
        pods.collect()
    }
}
