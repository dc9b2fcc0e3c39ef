//! The slots of frontends, as backends' numbers.
use std::collections::HashMap;
use std::sync::Arc;

use crate::desired::{BackendKey, Frontend, Spread};
use crate::maglev::{self, Member};

/// The rings of one plan. All ports of a Service with the same endpoints have the same ring, which is computed once.
#[derive(Debug, Default)]
pub(crate) struct Rings(HashMap<(u32, Vec<Member>), Arc<[u32]>>);

impl Rings {
    /// For each slot of a frontend a number; `ids` are those of its backends, in order.
    pub fn slots(&mut self, frontend: &Frontend, ids: &[u32]) -> Vec<u32> {
        let Spread::Ring { size, weights } = &frontend.spread else { return ids.to_vec() };
        let members = members(&frontend.backends, weights);
        let ring =
            self.0.entry((*size, members)).or_insert_with_key(|(size, members)| maglev::ring(members, *size).into());
        ring.iter().filter_map(|index| ids.get(*index as usize).copied()).collect()
    }
}

/// A backend's hash is that of its address, so that all nodes and all ports of a Service have the same ring; where an address comes twice
/// its port counts as well.
fn members(backends: &[BackendKey], weights: &[u32]) -> Vec<Member> {
    let twin = |i: usize, j: usize| backends.get(j).is_some_and(|other| other.addr == backends[i].addr);
    let hash = |(i, key): (usize, &BackendKey)| {
        let [a, b, c, d] = key.addr.0.map(|word| u64::from(u32::from_be(word)));
        let address = maglev::spread(maglev::spread(a << 32 | b) ^ (c << 32 | d));
        // Sorted by address, so that twins are neighbours.
        let is_twin = twin(i, i + 1) || i > 0 && twin(i, i - 1);
        if is_twin { maglev::spread(address ^ u64::from(key.port.get())) } else { address }
    };
    let hashes = backends.iter().enumerate().map(hash);
    hashes.zip(weights).map(|(hash, weight)| Member { hash, weight: *weight }).collect()
}
