//! Socket-level balancing: a connection to a Service becomes one to a backend before its first packet exists.

use abi::{
    Addr, Backend, Be16, Config, IPPROTO_TCP, IPPROTO_UDP, ROUTE_SERVICE_RANGE, ROUTE_THIS_NODE, RouteValue,
    SCOPE_CLUSTER, SCOPE_NODE_PORT, SOCKET_ENTRIES, ServiceKey, ServiceValue, SocketEntry, SocketValue,
};

use crate::{Tables, service};

/// The address that a socket's user named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    pub addr: Addr,
    pub port: Be16,
    pub proto: u8,
}

/// What is asked about the socket only where it counts: most calls are for no Service.
pub trait Caller {
    /// Cookie of the socket's network namespace.
    fn netns(&self) -> u64;
    /// Any number, to choose a backend by.
    fn random(&self) -> u32;
}

/// A caller of which everything is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Given {
    pub netns: u64,
    pub random: u32,
}

impl Caller for Given {
    #[inline(always)]
    fn netns(&self) -> u64 {
        self.netns
    }

    #[inline(always)]
    fn random(&self) -> u32 {
        self.random
    }
}

/// What a socket remembers: the entry of its place in [`abi::map::PEERS`], and those of its storage.
#[derive(Clone, Copy, Debug, Default)]
pub struct Known<'a> {
    pub peer: Option<&'a SocketEntry>,
    pub more: Option<&'a SocketValue>,
}

/// What the hook is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// Not a Service, or not for this layer.
    Keep,
    /// The Service has no backend.
    Refuse,
    /// Go to the entry's backend, and remember the entry with the socket.
    Translate(SocketEntry),
    /// Go to the backend of an entry that the socket remembers.
    Again(SocketEntry),
}

/// connect(2). A connected UDP socket keeps the Service's address and is translated packet by packet, so that its backend can change
/// under it. The node's own sockets have such a path only to the range of virtual addresses; to other addresses they are translated
/// here.
#[inline(always)]
pub fn connect<T: Tables, C: Caller>(t: &T, caller: &C, call: &Call) -> Choice {
    let Some(cfg) = t.config() else { return Choice::Keep };
    if call.proto != IPPROTO_TCP && (call.proto != IPPROTO_UDP || can_be_packets(t, cfg, caller, call)) {
        return Choice::Keep;
    }
    let mut found = ServiceValue::default();
    if lookup(t, cfg, caller, call, &mut found) { choose(t, caller, call, &found, |_| true) } else { Choice::Keep }
}

/// Whether what a socket sends to an address of a Service passes a program that translates packets.
#[inline(always)]
fn can_be_packets<T: Tables, C: Caller>(t: &T, cfg: &Config, caller: &C, call: &Call) -> bool {
    let mut route = RouteValue::default();
    caller.netns() != cfg.node_cookie || t.route(&call.addr, &mut route) && route.kind == ROUTE_SERVICE_RANGE
}

/// sendmsg(2) with an address; a datagram to a Service that the socket remembers keeps its backend. If another Service that it remembers
/// has the same backend, answers would not tell the two apart: then the packets are translated instead.
#[inline(always)]
pub fn send<'a, T: Tables, C: Caller>(t: &T, caller: &C, call: &Call, known: impl FnOnce() -> Known<'a>) -> Choice {
    let Some(cfg) = t.config() else { return Choice::Keep };
    let mut found = ServiceValue::default();
    if call.proto != IPPROTO_UDP || !lookup(t, cfg, caller, call, &mut found) {
        return Choice::Keep;
    }
    let known = known();
    if let Some(entry) = known.peer
        && holds(t, entry, call)
    {
        return Choice::Again(*entry);
    }
    if let Some(more) = known.more {
        for entry in &more.entries {
            if holds(t, entry, call) {
                return Choice::Again(*entry);
            }
        }
    }
    choose(t, caller, call, &found, |backend| {
        let blurs = |entry: &SocketEntry| {
            let same_backend = entry.backend_port == backend.port && entry.backend == backend.addr;
            same_backend && (entry.service_port != call.port || entry.service != call.addr)
        };
        let mut apart = !known.peer.is_some_and(blurs);
        if let Some(more) = known.more {
            for entry in &more.entries {
                apart &= !blurs(entry);
            }
        }
        apart || !can_be_packets(t, cfg, caller, call)
    })
}

/// Whether an entry is for the Service of a call, and its backend still takes what is new.
#[inline(always)]
fn holds<T: Tables>(t: &T, entry: &SocketEntry, call: &Call) -> bool {
    let mut b = Backend::default();
    entry.service_port == call.port
        && entry.service == call.addr
        && t.backend(entry.backend_id, &mut b)
        && service::is_open(&b)
        && b.addr == entry.backend
        && b.port == entry.backend_port
}

/// The Service's address behind a peer's: for recvmsg(2) and getpeername(2).
#[inline(always)]
pub fn reveal(known: Known<'_>, addr: &Addr, port: Be16) -> Option<(Addr, Be16)> {
    if let Some(entry) = known.peer
        && entry.backend_port == port
        && entry.backend == *addr
    {
        return Some((entry.service, entry.service_port));
    }
    for entry in &known.more?.entries {
        if entry.backend_port == port && entry.backend == *addr {
            return Some((entry.service, entry.service_port));
        }
    }
    None
}

/// Whether a place that a socket has may take an entry: a connection has one peer, but datagrams may go to several Services.
#[inline(always)]
pub fn is_room(held: &SocketEntry, entry: &SocketEntry, proto: u8) -> bool {
    proto == IPPROTO_TCP
        || held.backend_port == Be16(0)
        || held.service_port == entry.service_port && held.service == entry.service
}

/// Writes an entry over the one for the same Service, else over the oldest.
#[inline(always)]
pub fn remember(known: &mut SocketValue, entry: &SocketEntry) {
    let mut index = 0;
    while index < SOCKET_ENTRIES {
        let old = &mut known.entries[index];
        if old.service_port == entry.service_port && old.service == entry.service {
            *old = *entry;
            return;
        }
        index += 1;
    }
    let index = known.next as usize % SOCKET_ENTRIES;
    known.entries[index] = *entry;
    known.next = known.next.wrapping_add(1);
}

#[inline(always)]
fn choose<T: Tables, C: Caller>(
    t: &T,
    caller: &C,
    call: &Call,
    found: &ServiceValue,
    suits: impl FnOnce(&Backend) -> bool,
) -> Choice {
    // A socket's own address is not chosen before its destination is; all sockets of a pod share its namespace. A backend is of one family.
    let netns = caller.netns();
    let mut client = Addr([netns as u32, (netns >> 32) as u32, call.addr.is_v4() as u32, 0]);
    let number = if found.len > 1 { caller.random() } else { 0 };
    let mut backend = Backend::default();
    let id = service::pick(t, found, &client, number, &mut backend);
    client.0[2] = 0;
    if id == 0 {
        return Choice::Refuse;
    }
    if !suits(&backend) {
        return Choice::Keep;
    }
    t.connected(found.id);
    t.open_edge(t.edge(&client, found.id));
    Choice::Translate(SocketEntry {
        backend: backend.addr,
        service: call.addr,
        backend_port: backend.port,
        service_port: call.port,
        backend_id: id,
    })
}

/// Finds the Service of an address. Of the addresses of this node, NodePorts are looked for before it is known that the address is one:
/// an address that is no Service's mostly has the port of none either, and the routes cost more to ask.
#[inline(always)]
fn lookup<T: Tables, C: Caller>(t: &T, cfg: &Config, caller: &C, call: &Call, found: &mut ServiceValue) -> bool {
    let mut key = ServiceKey { addr: call.addr, port: call.port, proto: call.proto, scope: SCOPE_CLUSTER };
    let loopback = is_loopback(&call.addr);
    if loopback {
        key.scope = SCOPE_NODE_PORT;
        // A pod's own loopback is not the node's.
        if caller.netns() != cfg.node_cookie {
            return false;
        }
    }
    if t.service(&key, found) {
        return true;
    }
    key.addr = Addr::any_like(&call.addr);
    key.scope = SCOPE_NODE_PORT;
    if !t.service(&key, found) {
        return false;
    }
    let mut route = RouteValue::default();
    loopback || t.route(&call.addr, &mut route) && route.kind == ROUTE_THIS_NODE
}

/// 127.0.0.0/8, ::1, and the unspecified addresses, which mean the same to connect(2).
#[inline(always)]
fn is_loopback(addr: &Addr) -> bool {
    if addr.is_v4() {
        return addr.0[3] == 0 || addr.v4_octets()[0] == 127;
    }
    addr.0[0] == 0 && addr.0[1] == 0 && addr.0[2] == 0 && (addr.0[3] == 0 || addr.0[3] == 1_u32.to_be())
}
