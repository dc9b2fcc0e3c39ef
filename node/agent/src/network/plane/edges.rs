//! Keeping the table of edges: rows of pods and Services that are no more come free again.
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use abi::ServiceKey;
use datapath::EdgeKeeper;
use kernel::bpf::Edges;

use super::{Error, Plane};

/// Between two looks; rows have time.
const LOOK: Duration = Duration::from_secs(60);

/// The table and what is remembered of it.
pub struct Keeping {
    edges: Edges,
    keeper: EdgeKeeper,
    looked: Option<tokio::time::Instant>,
}

/// Who has which numbers and addresses on this node.
#[derive(Clone, Debug, Default)]
pub struct Names {
    /// `namespace/name` of the frontends that were asked for; the node's own DNS is `dns`.
    pub services: BTreeMap<ServiceKey, String>,
    /// `namespace/name` of the node's pods.
    pub pods: BTreeMap<IpAddr, String>,
}

impl Keeping {
    pub fn new(edges: Edges) -> Keeping {
        Keeping { edges, keeper: EdgeKeeper::default(), looked: None }
    }
}

impl Plane {
    /// Looks at the table if it is time to.
    pub(super) fn keep_edges(&mut self) {
        let now = process::instant();
        if self.planner.state().epoch.0 == 0 || self.keeping.looked.is_some_and(|then| now - then < LOOK) {
            return;
        }
        let live: BTreeSet<u32> = self.planner.observed().services.values().map(|value| value.id).collect();
        let Keeping { edges, keeper, looked } = &mut self.keeping;
        *looked = Some(now);
        let kept = edges.activity().and_then(|rows| {
            let upkeep = keeper.look(&rows, u64::from(kernel::bpf::now_s()), |id| live.contains(&id));
            upkeep.rest.iter().for_each(|row| edges.rest(*row));
            upkeep.lost.iter().for_each(|row| edges.lose(*row));
            upkeep.free.iter().try_for_each(|(row, service)| edges.free(*row, *service))
        });
        if let Err(error) = kept {
            tracing::warn!(%error, "the counters of clients and Services cannot be kept");
        }
    }

    /// Lets the rows of addresses rest that another pod may have next.
    pub(super) fn rest_edges(&mut self, ips: &[IpAddr]) {
        let clients: Vec<_> = ips.iter().map(|ip| datapath::addr(*ip)).collect();
        self.keeping.edges.rest_clients(&clients);
    }

    /// Names for who looks.
    pub(super) fn names(&self, keys: &[ServiceKey]) -> Result<Names, Error> {
        let name = |key: &ServiceKey| {
            let service = &self.planner.owner(key)?.service;
            let own = service.namespace.is_empty();
            Some((*key, if own { service.name.to_string() } else { service.to_string() }))
        };
        let pods = self.leases.pods.values().filter(|lease| !lease.pod.is_empty());
        Ok(Names {
            services: keys.iter().filter_map(name).collect(),
            pods: pods.flat_map(|lease| lease.ips.iter().map(|ip| (*ip, lease.pod.clone()))).collect(),
        })
    }
}
