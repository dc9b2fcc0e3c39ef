//! Services: the entry of an address and port, and the backend of a new connection.

use abi::{
    Addr, AffinityKey, AffinityValue, BACKEND_ALIVE, BACKEND_DRAINING, Backend, FlowKey, ServiceKey, ServiceValue,
    Source,
};

use crate::Tables;

/// Looks an address and port up in one scope (`SCOPE_*`).
#[inline(always)]
pub fn find<T: Tables>(t: &T, addr: &Addr, tuple: &FlowKey, scope: u8, value: &mut ServiceValue) -> bool {
    t.service(&ServiceKey { addr: *addr, port: tuple.dport, proto: tuple.proto, scope }, value)
}

/// Makes `source` the key of a packet's sender among those who may reach the Service that it is for.
#[inline(always)]
pub fn source(source: &mut Source, tuple: &FlowKey, scope: u8) {
    source.service.addr = tuple.dst;
    source.service.port = tuple.dport;
    source.service.proto = tuple.proto;
    source.service.scope = scope;
    source.client = tuple.src;
}

/// Whether a backend takes new connections.
#[inline(always)]
pub fn is_open(backend: &Backend) -> bool {
    backend.flags & (BACKEND_ALIVE | BACKEND_DRAINING) == BACKEND_ALIVE
}

/// Picks the backend of a new connection of `client`: the one it had if the Service wants that, else the slot that `number`
/// (a hash or a random number) falls into. Its id, and 0 if the Service has none.
#[inline(always)]
pub fn pick<T: Tables>(t: &T, service: &ServiceValue, client: &Addr, number: u32, backend: &mut Backend) -> u32 {
    if service.affinity_s == 0 {
        return slot(t, service, number, backend);
    }
    let key = AffinityKey { client: *client, service: service.id };
    let now = t.now_s();
    if let Some(last) = t.affinity(&key)
        && now.wrapping_sub(last.seen_s) <= service.affinity_s
        && t.backend(last.backend, backend)
        && is_open(backend)
    {
        if last.seen_s != now {
            t.set_affinity(&key, &AffinityValue { backend: last.backend, seen_s: now });
        }
        return last.backend;
    }
    let id = slot(t, service, number, backend);
    if id != 0 {
        t.set_affinity(&key, &AffinityValue { backend: id, seen_s: now });
    }
    id
}

#[inline(always)]
fn slot<T: Tables>(t: &T, service: &ServiceValue, number: u32, backend: &mut Backend) -> u32 {
    if service.len == 0 {
        return 0;
    }
    let index = (number as u64).wrapping_mul(service.len as u64) >> 32;
    let Some(id) = t.slot(service.base.wrapping_add(index as u32)) else { return 0 };
    if t.backend(id, backend) && backend.flags & BACKEND_ALIVE != 0 { id } else { 0 }
}

/// A number from the tuple, the same on every node with the same seed.
#[inline(always)]
pub fn hash(tuple: &FlowKey, seed: u32) -> u32 {
    let h = wide_hash(tuple, seed);
    (h ^ (h >> 32)) as u32
}

/// The same with all of its bits.
#[inline(always)]
pub fn wide_hash(tuple: &FlowKey, seed: u32) -> u64 {
    let (s, d) = (&tuple.src.0, &tuple.dst.0);
    let mut h = seed as u64 | 0x9e37_79b9_0000_0000;
    h = mix(h, s[0], s[1]);
    h = mix(h, s[2], s[3]);
    h = mix(h, d[0], d[1]);
    h = mix(h, d[2], d[3]);
    mix(h, crate::parse::join(tuple.sport, tuple.dport), tuple.proto as u32)
}

#[inline(always)]
fn mix(h: u64, a: u32, b: u32) -> u64 {
    // The multiplier of FxHash's successor; the shift brings the high bits, which it mixes best, down.
    let h = (h ^ (a as u64 | (b as u64) << 32)).wrapping_mul(0xf135_7aea_2e62_a9c5);
    h ^ (h >> 29)
}
