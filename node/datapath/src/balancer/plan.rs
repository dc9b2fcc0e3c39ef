//! From what stands to what should.

use std::collections::BTreeSet;

use abi::balance::{Backend, VIP_BY_CLIENT, VIP_USED, Vip, outer_sum, slot};
use abi::{Addr, BACKEND_ALIVE, IPPROTO_UDP};

use super::standing::{Placed, Standing};
use super::{Desired, Full, Server, Service, VipKey, vip};
use crate::maglev::{self, Member};

/// One store, or what must happen between stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Write {
    /// An element of the backends.
    Backend(u32, Backend),
    /// When the address of this number last changed.
    Changed(u32, u32),
    /// Counting for this number starts from nothing.
    ClearTraffic(u32),
    /// A slot of the rings.
    Slot(u32, u32),
    /// A row of the addresses, words from the first to the last.
    Row(u32, Vip),
    /// The ring of a live row, at once.
    Ring(u32, u64),
    /// Wait until every reader that runs has ended.
    Barrier,
    /// Delete the records of an address.
    Forget(VipKey),
}

/// Why a service could not be placed; it stays as it was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error(transparent)]
    Row(#[from] Full),
    #[error("no {len} slots in a row are free for its ring; start anew with room for more")]
    Slots { len: u32 },
    #[error("all numbers of virtual addresses are in use")]
    Numbers,
    #[error("all numbers of backends are in use; those of removed ones are free after the drain time")]
    Backends,
}

/// Writes in order, and what is not in them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    pub writes: Vec<Write>,
    pub faults: Vec<(VipKey, Fault)>,
}

/// What is free once readers have ended.
#[derive(Default)]
struct Later {
    ranges: Vec<(u32, u32)>,
    removed: Vec<(VipKey, Placed)>,
    drained: Vec<VipKey>,
}

impl Standing {
    /// The writes that make the tables what they should be. Slots forget what was before a change once `drain_s` seconds
    /// have passed since an address's last one; `now_s` is of the readers' clock.
    pub fn plan(&mut self, desired: &Desired, now_s: u32, drain_s: u32) -> Plan {
        let mut plan = Plan::default();
        let mut later = Later::default();
        // First, because a server that comes back to life for another address would be asked for this one again.
        let gone: Vec<VipKey> = self.vips.keys().filter(|key| !desired.services.contains_key(key)).copied().collect();
        for key in gone {
            let Some(placed) = self.vips.remove(&key) else { continue };
            plan.writes.push(Write::Row(placed.row, Vip { state: VIP_USED, ..placed.vip(&key) }));
            later.removed.push((key, placed));
        }
        for (key, service) in &desired.services {
            let placed = self
                .enlist(desired, service, &mut plan.writes)
                .and_then(|()| self.place(*key, service, now_s, &mut plan.writes, &mut later));
            if let Err(fault) = placed {
                plan.faults.push((*key, fault));
            }
        }
        self.judge(desired, &mut plan.writes);
        for (key, placed) in &mut self.vips {
            // Without a ring there is nobody to stay with.
            let is_over = placed.slots.is_empty() || now_s.wrapping_sub(placed.changed_s) >= drain_s;
            if is_over && !placed.is_quiet() {
                placed.forget(&mut plan.writes);
                later.drained.push(*key);
            }
        }
        self.release(desired, later, &mut plan.writes);
        plan
    }

    /// Gives every server a number.
    fn enlist(&mut self, desired: &Desired, service: &Service, writes: &mut Vec<Write>) -> Result<(), Fault> {
        for server in &service.servers {
            let sum = if server.addr.is_v4() { outer_sum(&desired.source4, &server.addr) } else { 0 };
            let (id, flags) = match self.id_of.get(&server.addr) {
                Some(id) => (*id, self.backends.get(id).map_or(BACKEND_ALIVE, |backend| backend.flags)),
                None => (self.ids.take().ok_or(Fault::Backends)?, BACKEND_ALIVE),
            };
            let backend = Backend { addr: server.addr, sum, flags, ..Backend::default() };
            self.put_backend(id, backend, writes);
        }
        let revived: Vec<u32> =
            usable(&service.servers).filter_map(|server| self.id_of.get(&server.addr).copied()).collect();
        for id in revived {
            self.set_alive(id, true, writes);
        }
        Ok(())
    }

    /// Who is usable nowhere is dead; who is listed nowhere stays as he is, because flows may still be his.
    fn judge(&mut self, desired: &Desired, writes: &mut Vec<Write>) {
        let services = || desired.services.values();
        let alive: BTreeSet<Addr> = services().flat_map(|service| usable(&service.servers)).map(|s| s.addr).collect();
        let listed: BTreeSet<Addr> = services().flat_map(|service| &service.servers).map(|s| s.addr).collect();
        for addr in listed.difference(&alive) {
            if let Some(id) = self.id_of.get(addr).copied() {
                self.set_alive(id, false, writes);
            }
        }
    }

    fn set_alive(&mut self, id: u32, alive: bool, writes: &mut Vec<Write>) {
        if let Some(backend) = self.backends.get(&id).copied() {
            self.put_backend(id, Backend { flags: if alive { BACKEND_ALIVE } else { 0 }, ..backend }, writes);
        }
    }

    fn put_backend(&mut self, id: u32, backend: Backend, writes: &mut Vec<Write>) {
        if self.backends.insert(id, backend) != Some(backend) {
            self.id_of.insert(backend.addr, id);
            writes.push(Write::Backend(id, backend));
        }
    }

    fn place(
        &mut self,
        key: VipKey,
        service: &Service,
        now_s: u32,
        writes: &mut Vec<Write>,
        later: &mut Later,
    ) -> Result<(), Fault> {
        let present = self.vips.get(&key).map_or(0, |placed| placed.slots.len() as u32);
        let ring = self.ring(service, present);
        let len = ring.len() as u32;
        let Some(mut placed) = self.vips.get(&key).cloned() else {
            let placed = self.add(key, service.by_client, &ring, writes)?;
            self.vips.insert(key, placed);
            return Ok(());
        };
        let stands = |(slot, id): (&u32, &u32)| slot & 0xffff == *id;
        if ring.len() != placed.slots.len() || !placed.slots.iter().zip(&ring).all(stands) {
            self.settle(&key, &mut placed, service, writes);
            let slots = self.carry(&placed, &ring);
            let moves = slots.len() != placed.slots.len();
            let base = if moves { self.ranges.take(len).ok_or(Fault::Slots { len })? } else { placed.base };
            placed.changed_s = now_s;
            writes.push(Write::Changed(placed.number, now_s));
            let same = |i: usize, value: &u32| !moves && placed.slots.get(i) == Some(value);
            let changed = slots.iter().enumerate().filter(|(i, value)| !same(*i, value));
            writes.extend(changed.map(|(i, value)| Write::Slot(base + i as u32, *value)));
            if moves {
                later.ranges.push((placed.base, placed.slots.len() as u32));
                writes.push(Write::Ring(placed.row, Vip::pack_ring(base, len)));
            }
            placed.named.extend(slots.iter().flat_map(|slot| [slot & 0xffff, slot >> 16]).filter(|id| *id != 0));
            (placed.base, placed.slots) = (base, slots);
        }
        if placed.by_client != service.by_client {
            placed.by_client = service.by_client;
            writes.push(Write::Row(placed.row, placed.vip(&key)));
        }
        self.vips.insert(key, placed);
        Ok(())
    }

    fn add(&mut self, key: VipKey, by_client: bool, ring: &[u32], writes: &mut Vec<Write>) -> Result<Placed, Fault> {
        let row = self.rows.take(key)?;
        let len = ring.len() as u32;
        let Some(number) = self.numbers.take() else {
            self.rows.free(&key);
            return Err(Fault::Numbers);
        };
        let Some(base) = self.ranges.take(len) else {
            self.rows.free(&key);
            self.numbers.give(number);
            return Err(Fault::Slots { len });
        };
        let slots: Vec<u32> = ring.iter().map(|id| slot(*id as u16, 0)).collect();
        let named = ring.iter().copied().collect();
        let placed = Placed { row, number, base, by_client, changed_s: 0, slots, named };
        writes.extend([Write::ClearTraffic(number), Write::Changed(number, 0)]);
        writes.extend(placed.slots.iter().enumerate().map(|(i, value)| Write::Slot(base + i as u32, *value)));
        let live = placed.vip(&key);
        writes.extend([Write::Row(row, Vip { state: VIP_USED, ..live }), Write::Row(row, live)]);
        Ok(placed)
    }

    /// The backend of each slot.
    fn ring(&self, service: &Service, present: u32) -> Vec<u32> {
        let members: Vec<(u32, Member)> = usable(&service.servers)
            .filter_map(|server| {
                let id = *self.id_of.get(&server.addr)?;
                Some((id, Member { hash: hash(&server.addr), weight: server.weight }))
            })
            .collect();
        // All servers count, so that one that fails for a while changes no size.
        let size = maglev::size(service.servers.len(), present);
        let ring = maglev::ring(&members.iter().map(|(_, member)| *member).collect::<Vec<_>>(), size);
        ring.into_iter().filter_map(|index| members.get(index as usize)).map(|(id, _)| *id).collect()
    }

    /// For a while after a change, datagrams without a record take what a slot remembers, and some of them begin a flow: it
    /// shall be no server that was removed before. The flows that he has still have records.
    fn settle(&self, key: &VipKey, placed: &mut Placed, service: &Service, writes: &mut Vec<Write>) {
        if key.proto != IPPROTO_UDP {
            return;
        }
        let listed: BTreeSet<u32> =
            service.servers.iter().filter_map(|server| self.id_of.get(&server.addr).copied()).collect();
        for (i, value) in placed.slots.iter_mut().enumerate() {
            let (current, previous) = (*value & 0xffff, *value >> 16);
            if previous != 0 && previous != current && !listed.contains(&previous) {
                *value = slot(current as u16, current as u16);
                writes.push(Write::Slot(placed.base + i as u32, *value));
            }
        }
    }

    /// The new ring's slots with what each remembers. A slot of a ring of another size remembers the one that had
    /// the middle of its share of flows.
    fn carry(&self, placed: &Placed, ring: &[u32]) -> Vec<u32> {
        let (len, before) = (ring.len() as u64, placed.slots.len() as u64);
        let remembered = |i: usize, new: u32| {
            let middle = (2 * i as u64 + 1) * before / (2 * len).max(1);
            let old = placed.slots.get(middle as usize).copied().unwrap_or(0);
            let (current, previous) = (old & 0xffff, old >> 16);
            // Who came after the first change has a record; who has none was there before it.
            let stays = self.backends.get(&previous).is_some_and(|backend| backend.flags & BACKEND_ALIVE != 0);
            if new == current || previous != 0 && stays { previous } else { current }
        };
        ring.iter().enumerate().map(|(i, id)| slot(*id as u16, remembered(i, *id) as u16)).collect()
    }

    /// Frees what readers cannot reach any more.
    fn release(&mut self, desired: &Desired, later: Later, writes: &mut Vec<Write>) {
        let listed: BTreeSet<Addr> =
            desired.services.values().flat_map(|service| &service.servers).map(|server| server.addr).collect();
        let named: BTreeSet<u32> = self.vips.values().flat_map(|placed| placed.named.iter().copied()).collect();
        let unused = |(id, backend): &(&u32, &Backend)| !named.contains(id) && !listed.contains(&backend.addr);
        let unused: Vec<(u32, Addr)> =
            self.backends.iter().filter(unused).map(|(id, backend)| (*id, backend.addr)).collect();
        if later.ranges.is_empty() && later.removed.is_empty() && later.drained.is_empty() && unused.is_empty() {
            return;
        }
        writes.push(Write::Barrier);
        for (start, len) in later.ranges {
            self.ranges.give(start, len);
        }
        for (key, placed) in later.removed {
            writes.push(Write::Forget(key));
            self.rows.free(&key);
            self.numbers.give(placed.number);
            self.ranges.give(placed.base, placed.slots.len() as u32);
        }
        writes.extend(later.drained.into_iter().map(Write::Forget));
        for (id, addr) in unused {
            self.backends.remove(&id);
            self.id_of.remove(&addr);
            self.ids.give(id);
            writes.push(Write::Backend(id, Backend::default()));
        }
    }
}

impl Placed {
    /// Its live row.
    fn vip(&self, key: &VipKey) -> Vip {
        let bits = if self.by_client { VIP_BY_CLIENT } else { 0 };
        vip(key, self.number, Vip::pack_ring(self.base, self.slots.len() as u32), bits)
    }

    fn forget(&mut self, writes: &mut Vec<Write>) {
        for (i, value) in self.slots.iter_mut().enumerate().filter(|(_, value)| **value >> 16 != 0) {
            *value &= 0xffff;
            writes.push(Write::Slot(self.base + i as u32, *value));
        }
        self.named = self.slots.iter().copied().collect();
    }
}

/// The servers that get flows.
fn usable(servers: &[Server]) -> impl Iterator<Item = &Server> {
    let any = servers.iter().any(|server| server.healthy && server.weight > 0);
    servers.iter().filter(move |server| server.weight > 0 && (server.healthy || !any))
}

/// Of an address, the same on every balancer.
fn hash(addr: &Addr) -> u64 {
    let [a, b, c, d] = addr.0.map(u64::from);
    maglev::spread((c | d << 32) ^ maglev::spread(a | b << 32))
}
