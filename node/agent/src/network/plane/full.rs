//! Tables that are full: what does not work then is said once, and again when it has changed.
use std::collections::BTreeSet;
use std::sync::Arc;

use abi::ServiceKey;
use datapath::Plan;

use super::Plane;
use crate::network::Full;

impl Plane {
    /// Logs frontends that have no place in the tables, or not the slots that they should have, and shows them in the status.
    pub(super) fn tell_of_full_tables(&mut self, plan: &Plan) {
        let refused: BTreeSet<ServiceKey> = plan.refused.iter().copied().collect();
        let flat = self.planner.flat().clone();
        let now: BTreeSet<ServiceKey> = refused.union(&flat).copied().collect();
        for key in now.difference(&self.told) {
            let service = self.planner.owner(key).map(|port| port.service.to_string()).unwrap_or_default();
            let (address, port) = (datapath::ip(key.addr), key.port.get());
            if refused.contains(key) {
                tracing::error!(service, %address, port, "no room in the service tables: see `gannet net maps`");
            } else {
                tracing::warn!(
                    service, %address, port,
                    "no room for a Maglev ring: endpoints have equal shares; a smaller gannet.io/maglev-size may fit"
                );
            }
        }
        if self.told != now {
            self.status.send_modify(|status| status.full = Arc::new(Full { refused, flat }));
            self.told = now;
        }
    }
}
