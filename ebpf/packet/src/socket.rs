//! Socket-level balancing: a connection to a Service becomes one to a backend before its first packet exists.

use abi::{
    Addr, Backend, Be16, Config, IPPROTO_TCP, IPPROTO_UDP, ROUTE_SERVICE_RANGE, ROUTE_THIS_NODE, RouteValue,
    SCOPE_CLUSTER, SCOPE_NODE_PORT, SOCKET_ENTRIES, ServiceKey, ServiceValue, SocketEntry, SocketValue,
};

use crate::{Tables, service};

/// A socket and the address that its user named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    pub addr: Addr,
    pub port: Be16,
    pub proto: u8,
    /// Cookie of the socket's network namespace.
    pub netns: u64,
    /// Any number, to choose a backend by.
    pub random: u32,
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
}

/// connect(2). A connected UDP socket keeps the Service's address and is translated packet by packet, so that its backend can change
/// under it. The node's own sockets have such a path only to the range of virtual addresses; to other addresses they are translated
/// here.
#[inline(always)]
pub fn connect<T: Tables>(t: &T, call: &Call) -> Choice {
    let Some(cfg) = t.config() else { return Choice::Keep };
    if call.proto == IPPROTO_TCP {
        return choose(t, cfg, call);
    }
    let mut route = RouteValue::default();
    let by_packet =
        call.netns != cfg.node_cookie || t.route(&call.addr, &mut route) && route.kind == ROUTE_SERVICE_RANGE;
    if call.proto != IPPROTO_UDP || by_packet { Choice::Keep } else { choose(t, cfg, call) }
}

/// sendmsg(2) with an address. `known`: what the socket remembers; a datagram to the same Service keeps its backend.
#[inline(always)]
pub fn send<T: Tables>(t: &T, call: &Call, known: Option<&SocketValue>) -> Choice {
    let Some(cfg) = t.config() else { return Choice::Keep };
    if call.proto != IPPROTO_UDP {
        return Choice::Keep;
    }
    let mut b = Backend::default();
    if let Some(known) = known {
        for entry in &known.entries {
            if entry.service_port == call.port
                && entry.service == call.addr
                && t.backend(entry.backend_id, &mut b)
                && service::is_open(&b)
                && b.addr == entry.backend
                && b.port == entry.backend_port
            {
                return Choice::Translate(*entry);
            }
        }
    }
    choose(t, cfg, call)
}

/// The Service's address behind a peer's: for recvmsg(2) and getpeername(2).
#[inline(always)]
pub fn reveal(known: &SocketValue, addr: &Addr, port: Be16) -> Option<(Addr, Be16)> {
    for entry in &known.entries {
        if entry.backend_port == port && entry.backend == *addr {
            return Some((entry.service, entry.service_port));
        }
    }
    None
}

/// Writes an entry in the place of the one for the same Service, else in the place of the oldest.
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
fn choose<T: Tables>(t: &T, cfg: &Config, call: &Call) -> Choice {
    let mut found = ServiceValue::default();
    if !lookup(t, cfg, call, &mut found) {
        return Choice::Keep;
    }
    // A socket's own address is not chosen before its destination is; all sockets of a pod share its namespace. A backend is of one family.
    let mut client = Addr([call.netns as u32, (call.netns >> 32) as u32, call.addr.is_v4() as u32, 0]);
    let mut backend = Backend::default();
    let id = service::pick(t, &found, &client, call.random, &mut backend);
    client.0[2] = 0;
    if id == 0 {
        return Choice::Refuse;
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

#[inline(always)]
fn lookup<T: Tables>(t: &T, cfg: &Config, call: &Call, found: &mut ServiceValue) -> bool {
    let mut key = ServiceKey { addr: call.addr, port: call.port, proto: call.proto, scope: SCOPE_CLUSTER };
    let loopback = is_loopback(&call.addr);
    if loopback {
        key.scope = SCOPE_NODE_PORT;
        // A pod's own loopback is not the node's.
        if call.netns != cfg.node_cookie {
            return false;
        }
    }
    if t.service(&key, found) {
        return true;
    }
    let here = loopback || {
        let mut route = RouteValue::default();
        t.route(&call.addr, &mut route) && route.kind == ROUTE_THIS_NODE
    };
    if !here {
        return false;
    }
    key.addr = Addr::any_like(&call.addr);
    key.scope = SCOPE_NODE_PORT;
    t.service(&key, found)
}

/// 127.0.0.0/8, ::1, and the unspecified addresses, which mean the same to connect(2).
#[inline(always)]
fn is_loopback(addr: &Addr) -> bool {
    if addr.is_v4() {
        return addr.0[3] == 0 || addr.v4_octets()[0] == 127;
    }
    addr.0[0] == 0 && addr.0[1] == 0 && addr.0[2] == 0 && (addr.0[3] == 0 || addr.0[3] == 1_u32.to_be())
}
