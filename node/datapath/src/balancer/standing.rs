//! What the tables hold.

use std::collections::{BTreeMap, BTreeSet};

use abi::Addr;
use abi::balance::{Backend, MAX_BACKENDS, MAX_VIPS, VIP_BY_CLIENT, VIP_LIVE, Vip};

use super::free::{Numbers, Ranges};
use super::{Rows, VipKey};

/// The tables as read.
#[derive(Clone, Debug, Default)]
pub struct Content {
    /// Rows that were used once, with their index.
    pub rows: Vec<(u32, Vip)>,
    /// All slots; their number is the room that there is.
    pub slots: Vec<u32>,
    /// Backends that are not free, with their ids.
    pub backends: Vec<(u32, Backend)>,
    /// When the virtual address of each number last changed.
    pub changed_s: BTreeMap<u32, u32>,
}

/// A virtual address in the tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    pub row: u32,
    pub number: u32,
    pub base: u32,
    pub by_client: bool,
    pub changed_s: u32,
    /// Its ring, as in the table.
    pub slots: Vec<u32>,
    /// Backends that slots or records may name.
    pub named: BTreeSet<u32>,
}

/// What stands; its only writer is [`Standing::plan`].
#[derive(Clone, Debug)]
pub struct Standing {
    pub vips: BTreeMap<VipKey, Placed>,
    pub backends: BTreeMap<u32, Backend>,
    pub(super) id_of: BTreeMap<Addr, u32>,
    pub(super) rows: Rows,
    pub(super) ranges: Ranges,
    pub(super) numbers: Numbers,
    pub(super) ids: Numbers,
}

impl Standing {
    /// From what the tables hold. Records are not read, so every address whose slots remember a change may have records of
    /// any backend.
    pub fn recover(content: &Content) -> Standing {
        let mut vips = BTreeMap::new();
        let mut rows = Rows::default();
        let mut ranges = Ranges::new(content.slots.len() as u32);
        for (row, vip) in content.rows.iter().filter(|(_, vip)| vip.state & VIP_LIVE != 0) {
            let key = VipKey { addr: vip.addr, port: vip.port, proto: vip.proto };
            let (base, len) = (vip.ring as u32, (vip.ring >> 32) as u32);
            let range = base as usize..base as usize + len as usize;
            let slots = content.slots.get(range).unwrap_or_default().to_vec();
            ranges.take_at(base, len);
            rows.place(key, *row);
            let named = slots.iter().flat_map(|slot| [slot & 0xffff, slot >> 16]).filter(|id| *id != 0).collect();
            let changed_s = content.changed_s.get(&vip.number).copied().unwrap_or(0);
            let by_client = vip.state & VIP_BY_CLIENT != 0;
            vips.insert(key, Placed { row: *row, number: vip.number, base, by_client, changed_s, slots, named });
        }
        let backends: BTreeMap<u32, Backend> = content.backends.iter().copied().collect();
        for placed in vips.values_mut().filter(|placed: &&mut Placed| placed.remembers()) {
            placed.named.extend(backends.keys());
        }
        Standing {
            id_of: backends.iter().map(|(id, backend)| (backend.addr, *id)).collect(),
            numbers: Numbers::new(0, MAX_VIPS, &vips.values().map(|placed| placed.number).collect()),
            ids: Numbers::new(1, MAX_BACKENDS, &backends.keys().copied().collect()),
            vips,
            backends,
            rows,
            ranges,
        }
    }
}

impl Placed {
    /// Whether nothing of before the last change is left.
    pub(super) fn is_quiet(&self) -> bool {
        !self.remembers() && self.named.iter().eq(&self.slots.iter().copied().collect::<BTreeSet<u32>>())
    }

    /// Whether a slot remembers a change.
    pub fn remembers(&self) -> bool {
        self.slots.iter().any(|slot| slot >> 16 != 0)
    }
}
