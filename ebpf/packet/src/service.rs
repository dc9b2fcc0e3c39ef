//! Services: the entry of an address and port, and the backend of a new connection.

use abi::{
    Addr, AffinityKey, AffinityValue, BACKEND_ALIVE, BACKEND_DRAINING, BACKEND_GONE, BACKEND_LOCAL, Backend, FlowKey,
    SERVICE_MAGLEV, SERVICE_NEAR, SERVICE_RANDOM, ServiceKey, ServiceValue, Source,
    service::{SERVICE_REACH, SERVICE_ROWS, ServiceRow, home},
};

use crate::{Tables, nat::difference};

/// A row of the table of Services as a reader meets it: the words that may change under it are copies.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    pub key: &'a ServiceKey,
    /// [`ServiceRow::rest`] and [`ServiceRow::value`], each read once.
    pub rest: u32,
    pub value: u64,
}

impl<'a> From<&'a ServiceRow> for Row<'a> {
    fn from(row: &'a ServiceRow) -> Row<'a> {
        Row { key: &row.key, rest: row.rest, value: row.value }
    }
}

/// The table of Services as [`abi::service`] lays it out.
pub trait Rows {
    /// The row of a number; there are [`SERVICE_ROWS`].
    fn row(&self, index: u32) -> Option<Row<'_>>;
}

/// Looks an entry up among the rows that its home says may hold it.
#[inline(always)]
pub fn probe<R: Rows>(rows: &R, key: &ServiceKey, value: &mut ServiceValue) -> bool {
    let first = home(key);
    let Some(at_home) = rows.row(first) else { return false };
    let reach = at_home.rest & ServiceRow::REACH_MASK;
    let mut i = 0;
    while i < SERVICE_REACH {
        if i >= reach {
            return false;
        }
        let Some(row) = rows.row(first.wrapping_add(i) & (SERVICE_ROWS - 1)) else { return false };
        let ports = (row.key.port.0 ^ key.port.0) as u32;
        let kinds = (row.key.proto ^ key.proto) as u32 | (row.key.scope ^ key.scope) as u32;
        if difference(&row.key.addr, &key.addr) | ports | kinds == 0 && row.value != 0 {
            *value = ServiceRow::unpack(row.value, row.rest >> ServiceRow::REACH_BITS);
            return true;
        }
        i += 1;
    }
    false
}

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
    backend.flags & (BACKEND_ALIVE | BACKEND_DRAINING | BACKEND_GONE) == BACKEND_ALIVE
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
        && (service.flags & SERVICE_NEAR == 0 || backend.flags & BACKEND_LOCAL != 0)
    {
        if last.seen_s != now {
            t.keep_affinity(&key, &AffinityValue { backend: last.backend, seen_s: now });
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

/// What chooses the slot of a packet that opens a connection.
#[inline(always)]
pub fn number<T: Tables>(t: &T, service: &ServiceValue, tuple: &FlowKey, seed: u32) -> u32 {
    if service.flags & SERVICE_MAGLEV != 0 {
        // Without the node's own seed: other nodes that get the client's packets must choose the same.
        let ports = if service.affinity_s == 0 { crate::parse::join(tuple.sport, tuple.dport) } else { 0 };
        let h = digest(tuple, ports, 0);
        return (h ^ (h >> 32)) as u32;
    }
    let number = hash(tuple, seed);
    if service.flags & SERVICE_RANDOM != 0 { t.random(number) } else { number }
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
    digest(tuple, crate::parse::join(tuple.sport, tuple.dport), seed)
}

#[inline(always)]
fn digest(tuple: &FlowKey, ports: u32, seed: u32) -> u64 {
    let (s, d) = (&tuple.src.0, &tuple.dst.0);
    let mut h = seed as u64 | 0x9e37_79b9_0000_0000;
    h = mix(h, s[0], s[1]);
    h = mix(h, s[2], s[3]);
    h = mix(h, d[0], d[1]);
    h = mix(h, d[2], d[3]);
    mix(h, ports, tuple.proto as u32)
}

#[inline(always)]
fn mix(h: u64, a: u32, b: u32) -> u64 {
    // The multiplier of FxHash's successor; the shift brings the high bits, which it mixes best, down.
    let h = (h ^ (a as u64 | (b as u64) << 32)).wrapping_mul(0xf135_7aea_2e62_a9c5);
    h ^ (h >> 29)
}
