//! Where an address is, and how a packet gets there.

use abi::{
    Addr, Config, Counter, LIMIT_INGRESS, PodValue, ROUTE_LOCAL_PODS, ROUTE_NATIVE, ROUTE_NODE, ROUTE_OVERLAY,
    ROUTE_SERVICE_ADDRESS, ROUTE_SERVICE_RANGE, ROUTE_THIS_NODE, RouteValue,
};

use crate::{
    Buffer, Scratch, Steps, Tables, Verdict, nat,
    parse::{L3, Packet},
};

/// Where an address is, seen from this node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Hop {
    /// Outside the cluster.
    #[default]
    Outside,
    /// A pod of this node.
    Pod,
    /// A pod of another node.
    Remote,
    /// Another node itself.
    Node,
    /// This node.
    Stack,
    /// The range of virtual addresses.
    Service,
    /// Our own pod range, but no pod has it.
    NoPod,
}

/// A hop and what belongs to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    pub hop: Hop,
    /// For [`Hop::Pod`].
    pub pod: PodValue,
    /// For [`Hop::Remote`], [`Hop::Node`] and [`Hop::Outside`], for which its kind may be 0.
    pub route: RouteValue,
}

impl Place {
    /// Whether it is another node's, and no tunnel is needed.
    #[inline(always)]
    pub fn is_native(&self) -> bool {
        (self.hop == Hop::Remote || self.hop == Hop::Node) && self.route.kind & ROUTE_NATIVE != 0
    }

    /// Whether it is outside, and a Service's own.
    #[inline(always)]
    pub fn is_service_address(&self) -> bool {
        self.hop == Hop::Outside && self.route.kind == ROUTE_SERVICE_ADDRESS
    }
}

/// Finds where `dst` is.
#[inline(always)]
pub fn find<T: Tables>(t: &T, dst: &Addr, place: &mut Place) {
    place.hop = if t.pod(dst, &mut place.pod) {
        Hop::Pod
    } else if !t.route(dst, &mut place.route) {
        place.route.kind = 0;
        Hop::Outside
    } else if place.route.kind & !ROUTE_NATIVE == ROUTE_OVERLAY {
        Hop::Remote
    } else if place.route.kind & !ROUTE_NATIVE == ROUTE_NODE {
        Hop::Node
    } else if place.route.kind == ROUTE_THIS_NODE {
        Hop::Stack
    } else if place.route.kind == ROUTE_SERVICE_RANGE {
        Hop::Service
    } else if place.route.kind == ROUTE_LOCAL_PODS {
        Hop::NoPod
    } else {
        Hop::Outside
    };
}

/// Whether an address names no single host: multicast, the limited broadcast, the unspecified address.
#[inline(always)]
pub fn is_group(addr: &Addr, v6: bool) -> bool {
    if v6 {
        return addr.0[0].to_ne_bytes()[0] == 0xff || nat::difference(addr, &Addr::ANY) == 0;
    }
    let [first, ..] = addr.v4_octets();
    first >= 224 || first == 0
}

/// Whether an address is this node's, the one that it masquerades with. Both are compared: to choose one of them by the packet's family
/// makes a computed address of it, for which the verifier sees no bounds.
#[inline(always)]
pub fn is_own(cfg: &Config, addr: &Addr) -> bool {
    (nat::difference(addr, &cfg.node4) == 0) | (nat::difference(addr, &cfg.node6) == 0)
}

/// Sends a packet, already rewritten, to its place. `own`: its source is this node's address.
#[inline(always)]
pub fn send<B: Steps<T>, T: Tables>(b: &mut B, t: &T, cfg: &Config, s: &Scratch, own: bool) -> Verdict {
    let (p, place) = (&s.packet, &s.place);
    match place.hop {
        Hop::Stack => return Verdict::Pass,
        Hop::NoPod => return Verdict::Drop(Counter::DropNoPod),
        Hop::Service => return Verdict::Drop(Counter::DropNoBackend),
        Hop::Pod | Hop::Remote | Hop::Node | Hop::Outside => {}
    }
    let by_uplink = place.hop == Hop::Outside || place.hop == Hop::Node && own || place.is_native();
    if place.hop != Hop::Pod && !by_uplink && is_too_big(b, p, cfg) {
        // The stack's route leads to the same device, and the stack tells the sender of a smaller size (RFC 1191, RFC 8201).
        return Verdict::Pass;
    }
    if p.ttl <= 1 {
        return Verdict::Drop(Counter::DropTtl);
    }
    if nat::age(b, p).is_none() {
        return Verdict::Drop(Counter::DropMalformed);
    }
    if place.hop == Hop::Pod {
        if place.pod.limits & LIMIT_INGRESS != 0 && !b.pay(t, place.pod.seat, false) {
            return Verdict::Drop(Counter::DropBandwidth);
        }
        if nat::frame(b, &place.pod).is_none() {
            return Verdict::Drop(Counter::DropMalformed);
        }
        return Verdict::Peer { ifindex: place.pod.ifindex };
    }
    if by_uplink {
        return Verdict::Neigh { ifindex: cfg.uplink_ifindex };
    }
    Verdict::Tunnel { ifindex: cfg.overlay_ifindex, node: place.route.node, vni: cfg.vni }
}

/// Whether a packet, or each of the segments that it is made of, is larger than the VXLAN device takes.
#[inline(always)]
fn is_too_big<B: Buffer>(b: &B, p: &Packet, cfg: &Config) -> bool {
    if cfg.overlay_mtu == 0 {
        return false;
    }
    let segment = b.segment();
    // The largest TCP header (RFC 9293 section 3.1); one that is smaller may take the long way for nothing.
    let bytes = if segment == 0 { b.size() } else { p.l4 + 60 + segment };
    bytes > L3 + cfg.overlay_mtu as usize
}
