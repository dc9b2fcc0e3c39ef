//! Where an address is, and how a packet gets there.

use abi::{
    Addr, Config, Counter, PodValue, ROUTE_LOCAL_PODS, ROUTE_NODE, ROUTE_OVERLAY, ROUTE_SERVICE_RANGE, ROUTE_THIS_NODE,
};

use crate::{Buffer, Tables, Verdict, nat, parse::Packet};

/// Where an address is, seen from this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hop {
    /// A pod of this node.
    Pod(PodValue),
    /// A pod of the node at this address.
    Remote(Addr),
    /// Another node itself.
    Node(Addr),
    /// This node.
    Stack,
    /// Outside the cluster.
    Outside,
    /// The range of virtual addresses.
    Service,
    /// Our own pod range, but no pod has it.
    NoPod,
}

/// Finds where `dst` is.
#[inline(always)]
pub fn hop<T: Tables>(t: &T, dst: &Addr) -> Hop {
    if let Some(pod) = t.pod(dst) {
        return Hop::Pod(pod);
    }
    let Some(route) = t.route(dst) else { return Hop::Outside };
    if route.kind == ROUTE_OVERLAY {
        Hop::Remote(route.node)
    } else if route.kind == ROUTE_NODE {
        Hop::Node(route.node)
    } else if route.kind == ROUTE_THIS_NODE {
        Hop::Stack
    } else if route.kind == ROUTE_SERVICE_RANGE {
        Hop::Service
    } else if route.kind == ROUTE_LOCAL_PODS {
        Hop::NoPod
    } else {
        Hop::Outside
    }
}

/// Whether an address names no single host: multicast, the limited broadcast, the unspecified address.
#[inline(always)]
pub fn is_group(addr: &Addr, v6: bool) -> bool {
    if v6 {
        return addr.0[0].to_ne_bytes()[0] == 0xff || *addr == Addr::ANY;
    }
    let [first, ..] = addr.v4_octets();
    first >= 224 || first == 0
}

/// Sends a packet, already rewritten, to its hop. `own`: its source is this node's address.
#[inline(always)]
pub fn send<B: Buffer, T: Tables>(b: &mut B, t: &T, cfg: &Config, p: &Packet, hop: Hop, own: bool) -> Verdict {
    let verdict = match hop {
        Hop::Stack => {
            t.count(Counter::Passed);
            return Verdict::Pass;
        }
        Hop::NoPod => return Verdict::Drop(Counter::DropNoPod),
        Hop::Service => return Verdict::Drop(Counter::DropNoBackend),
        Hop::Pod(pod) => {
            if nat::frame(b, &pod).is_none() {
                return Verdict::Drop(Counter::DropMalformed);
            }
            Verdict::Peer { ifindex: pod.ifindex }
        }
        Hop::Node(_) if own => Verdict::Neigh { ifindex: cfg.uplink_ifindex },
        Hop::Remote(node) | Hop::Node(node) => Verdict::Tunnel { ifindex: cfg.overlay_ifindex, node, vni: cfg.vni },
        Hop::Outside => Verdict::Neigh { ifindex: cfg.uplink_ifindex },
    };
    if p.ttl <= 1 {
        return Verdict::Drop(Counter::DropTtl);
    }
    if nat::age(b, p).is_none() {
        return Verdict::Drop(Counter::DropMalformed);
    }
    match verdict {
        Verdict::Peer { .. } => t.count(Counter::Delivered),
        Verdict::Pass | Verdict::Drop(_) | Verdict::Neigh { .. } | Verdict::Tunnel { .. } | Verdict::Key { .. } => {
            t.count(Counter::Forwarded);
        }
    }
    verdict
}
