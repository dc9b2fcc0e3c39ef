//! One function a hook: a packet in, a verdict out.

use abi::{
    Addr, Be16, Config, Counter, FLOW_EXTERNAL, FLOW_REPLY, IPPROTO_UDP, ROUTE_NODE, ROUTE_OVERLAY, SCOPE_CLUSTER,
    SCOPE_EXTERNAL, SCOPE_NODE_PORT, ServiceValue, VXLAN_PORT,
};

use crate::{
    Scratch, Steps, Tables, Verdict,
    conntrack::{self, Found, Target},
    fragment, nat,
    parse::{Kind, Packet},
    route::{self, Hop},
    service,
};

/// Where a packet came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    Pod,
    Uplink,
    Overlay,
}

/// tcx ingress of the host side of a pod's veth: a packet that the pod sent.
#[inline(always)]
pub fn from_pod<B: Steps<T>, T: Tables>(b: &mut B, t: &T, s: &mut Scratch, ifindex: u32) -> Verdict {
    let (Some(cfg), Some(veth)) = (t.config(), t.veth(ifindex)) else { return Verdict::Drop(Counter::DropNotReady) };
    if !b.parse(s) {
        return Verdict::Drop(s.unparsed.counter());
    }
    let p = &s.packet;
    let own = if p.v6 { veth.addr6 } else { veth.addr4 };
    let [m0, m1, m2, m3, m4, m5] = veth.mac;
    let mac = (u16::from_ne_bytes([m0, m1]), u32::from_ne_bytes([m2, m3, m4, m5]));
    let (Some(high), Some(low)) = (b.half(6), b.word(8)) else { return Verdict::Drop(Counter::DropMalformed) };
    if p.tuple.src != own || own == Addr::ANY || (high, low) != mac {
        return Verdict::Drop(Counter::DropSpoofed);
    }
    if route::is_group(&p.tuple.dst, p.v6) {
        return Verdict::Drop(Counter::DropUnsupported);
    }
    forward(b, t, cfg, s, Origin::Pod)
}

/// tcx ingress of the uplink: a packet from outside, for the node, a Service, a masqueraded pod or a pod.
#[inline(always)]
pub fn from_uplink<B: Steps<T>, T: Tables>(b: &mut B, t: &T, s: &mut Scratch) -> Verdict {
    let Some(cfg) = t.config() else { return Verdict::Pass };
    if !b.parse(s) {
        return Verdict::Pass;
    }
    let p = &s.packet;
    if is_underlay(p) || route::is_group(&p.tuple.dst, p.v6) {
        return Verdict::Pass;
    }
    forward(b, t, cfg, s, Origin::Uplink)
}

/// tcx ingress of the VXLAN device: a packet of another node, which names itself by the tunnel key.
#[inline(always)]
pub fn from_overlay<B: Steps<T>, T: Tables>(b: &mut B, t: &T, s: &mut Scratch, node: &Addr, vni: u32) -> Verdict {
    let Some(cfg) = t.config() else { return Verdict::Drop(Counter::DropNotReady) };
    if !b.parse(s) {
        return Verdict::Drop(s.unparsed.counter());
    }
    let p = &s.packet;
    let known = match t.route(&p.tuple.src) {
        Some(r) => (r.kind == ROUTE_OVERLAY || r.kind == ROUTE_NODE) && r.node == *node,
        None => false,
    };
    if !known || vni != cfg.vni {
        return Verdict::Drop(Counter::DropOverlay);
    }
    if route::is_group(&p.tuple.dst, p.v6) {
        return Verdict::Drop(Counter::DropUnsupported);
    }
    forward(b, t, cfg, s, Origin::Overlay)
}

/// tcx egress of the host side of a pod's veth: a packet of the node's own stack. Answers of backends on this node become
/// answers of the Service.
#[inline(always)]
pub fn to_pod<B: Steps<T>, T: Tables>(b: &mut B, t: &T, s: &mut Scratch) -> Verdict {
    if !b.parse(s) {
        return Verdict::Pass;
    }
    t.count(Counter::Passed);
    answer(b, t, s);
    Verdict::Pass
}

/// tcx egress of the uplink: answers of backends on this node, and pod packets that the node's stack let out.
#[inline(always)]
pub fn to_uplink<B: Steps<T>, T: Tables>(b: &mut B, t: &T, s: &mut Scratch) -> Verdict {
    let Some(cfg) = t.config() else { return Verdict::Pass };
    if !b.parse(s) || is_underlay(&s.packet) || answer(b, t, s) {
        return Verdict::Pass;
    }
    let p = &s.packet;
    let node = if p.v6 { cfg.node6 } else { cfg.node4 };
    if p.tuple.src == node || p.kind == Kind::Error || t.pod(&p.tuple.src).is_none() {
        return Verdict::Pass;
    }
    match conntrack::find(t, s) {
        Found::Use => {}
        Found::Gone => return Verdict::Drop(Counter::DropBackendGone),
        Found::New => {
            let (dst, dport) = (s.packet.tuple.dst, s.packet.tuple.dport);
            s.target = Target { dst, dport, backend: 0, snat: node, flags: 0, from_range: true };
            if !b.open(t, s) {
                return Verdict::Drop(s.refused);
            }
        }
    }
    match nat::rewrite(b, &s.packet, &s.to) {
        Some(()) => Verdict::Pass,
        None => Verdict::Drop(Counter::DropUnsupported),
    }
}

/// tcx egress of the VXLAN device: a packet that the node's own stack routed there and that has no tunnel key yet.
#[inline(always)]
pub fn to_overlay<B: Steps<T>, T: Tables>(b: &mut B, t: &T, s: &mut Scratch) -> Verdict {
    let Some(cfg) = t.config() else { return Verdict::Drop(Counter::DropNotReady) };
    if !b.parse(s) {
        return Verdict::Drop(s.unparsed.counter());
    }
    let Some(r) = t.route(&s.packet.tuple.dst) else { return Verdict::Drop(Counter::DropNoRoute) };
    if r.kind != ROUTE_OVERLAY && r.kind != ROUTE_NODE {
        return Verdict::Drop(Counter::DropNoRoute);
    }
    answer(b, t, s);
    t.count(Counter::Forwarded);
    Verdict::Key { node: r.node, vni: cfg.vni }
}

/// VXLAN between the nodes, which no rule of ours concerns.
#[inline(always)]
fn is_underlay(p: &Packet) -> bool {
    p.tuple.proto == IPPROTO_UDP && p.tuple.dport == VXLAN_PORT
}

/// Rewrites an answer of a process on this node to a translated flow. The route stays, as the receiver does.
#[inline(always)]
fn answer<B: Steps<T>, T: Tables>(b: &mut B, t: &T, s: &mut Scratch) -> bool {
    if s.packet.kind == Kind::Error {
        return b.error(t, s);
    }
    fragment::complete(t, &mut s.packet).is_some()
        && t.flow(&s.packet.tuple, &mut s.to)
        && s.to.flags & FLOW_REPLY != 0
        && nat::rewrite(b, &s.packet, &s.to).is_some()
}

/// The common path of everything that comes in: translate, then send on.
#[inline(always)]
fn forward<B: Steps<T>, T: Tables>(b: &mut B, t: &T, cfg: &Config, s: &mut Scratch, origin: Origin) -> Verdict {
    if fragment::complete(t, &mut s.packet).is_none() {
        return orphan(t, &s.packet, origin);
    }
    let hop = if s.packet.kind == Kind::Error && b.error(t, s) {
        route::hop(t, &s.to.dst)
    } else {
        let hop = match conntrack::find(t, s) {
            Found::Use => route::hop(t, &s.to.dst),
            Found::Gone => return Verdict::Drop(Counter::DropBackendGone),
            Found::New => match first(b, t, cfg, s, origin) {
                First::Translate(hop) => hop,
                First::Plain(hop) => return route::send(b, t, cfg, &s.packet, hop, false),
                First::Verdict(verdict) => return verdict,
            },
        };
        if nat::rewrite(b, &s.packet, &s.to).is_none() {
            return Verdict::Drop(Counter::DropUnsupported);
        }
        hop
    };
    let own = s.to.src == if s.packet.v6 { cfg.node6 } else { cfg.node4 };
    route::send(b, t, cfg, &s.packet, hop, own)
}

/// A later fragment whose first one was not seen: it may need a translation that is not known.
#[inline(always)]
fn orphan<T: Tables>(t: &T, p: &Packet, origin: Origin) -> Verdict {
    match route::hop(t, &p.tuple.dst) {
        Hop::Stack if origin != Origin::Pod => Verdict::Pass,
        Hop::Outside if origin == Origin::Uplink => Verdict::Pass,
        Hop::Stack | Hop::Outside | Hop::Pod(_) | Hop::Remote(_) | Hop::Node(_) | Hop::Service | Hop::NoPod => {
            Verdict::Drop(Counter::DropFragment)
        }
    }
}

/// What becomes of a packet without a record.
enum First {
    /// Records were made, [`Scratch::to`] is one.
    Translate(Hop),
    /// On as it is.
    Plain(Hop),
    Verdict(Verdict),
}

/// The first packet of a flow: is it for a Service, and does its answer have to come back through here?
#[inline(always)]
fn first<B: Steps<T>, T: Tables>(b: &mut B, t: &T, cfg: &Config, s: &mut Scratch, origin: Origin) -> First {
    let p = &s.packet;
    let mut hop = route::hop(t, &p.tuple.dst);
    let node = if p.v6 { cfg.node6 } else { cfg.node4 };
    let target = &mut s.target;
    *target =
        Target { dst: p.tuple.dst, dport: p.tuple.dport, backend: 0, snat: Addr::ANY, flags: 0, from_range: false };
    let found = lookup(t, p, &hop, origin);
    if let Some(found) = found {
        let number = service::hash(&p.tuple, cfg.seed);
        let Some((id, backend)) = service::pick(t, &found, &p.tuple.src, number) else {
            return First::Verdict(Verdict::Drop(Counter::DropNoBackend));
        };
        // One NodePort entry serves both families, and nothing here translates between them.
        if backend.addr.is_v4() == p.v6 {
            return First::Verdict(Verdict::Drop(Counter::DropNoBackend));
        }
        target.dst = backend.addr;
        target.dport = backend.port;
        target.backend = id;
        hop = route::hop(t, &target.dst);
    }
    if !source(target, p, &hop, origin, &node, found.is_some()) {
        return plain(hop, origin);
    }
    if b.open(t, s) { First::Translate(hop) } else { First::Verdict(Verdict::Drop(s.refused)) }
}

/// A packet that nothing translates.
#[inline(always)]
fn plain(hop: Hop, origin: Origin) -> First {
    match (hop, origin) {
        // The uplink carries more than the cluster: what is none of ours goes its way.
        (Hop::Outside | Hop::Node(_), Origin::Uplink) => First::Verdict(Verdict::Pass),
        // Another node has no business sending what is not for us.
        (Hop::Outside | Hop::Node(_) | Hop::Remote(_), Origin::Overlay) => {
            First::Verdict(Verdict::Drop(Counter::DropNoRoute))
        }
        (
            Hop::Pod(_) | Hop::Remote(_) | Hop::Node(_) | Hop::Stack | Hop::Outside | Hop::Service | Hop::NoPod,
            Origin::Pod | Origin::Uplink | Origin::Overlay,
        ) => First::Plain(hop),
    }
}

/// Sets the source address that a new flow gets; `false` if the flow needs no record at all.
#[inline(always)]
fn source(target: &mut Target, p: &Packet, hop: &Hop, origin: Origin, node: &Addr, is_service: bool) -> bool {
    match (origin, hop) {
        (_, Hop::Service | Hop::NoPod) => false,
        (Origin::Pod, Hop::Outside) => {
            target.snat = *node;
            target.from_range = true;
            true
        }
        (Origin::Pod, Hop::Pod(_) | Hop::Remote(_) | Hop::Node(_) | Hop::Stack) => {
            if is_service && target.dst == p.tuple.src {
                // The pod is its own backend: it must not see itself as the client, or it would answer inside.
                target.snat = p.tuple.dst;
            }
            is_service
        }
        // Nothing is translated, but the pod's answer must not be masqueraded.
        (Origin::Uplink, Hop::Pod(_)) => {
            target.flags = FLOW_EXTERNAL;
            true
        }
        (Origin::Overlay, Hop::Pod(_)) | (Origin::Uplink | Origin::Overlay, Hop::Stack) => is_service,
        // The backend's answer would not come back through here, where it has to be translated.
        (Origin::Uplink, Hop::Remote(_)) => {
            target.snat = *node;
            target.from_range = true;
            target.flags = FLOW_EXTERNAL;
            true
        }
        (Origin::Uplink, Hop::Node(_) | Hop::Outside)
        | (Origin::Overlay, Hop::Remote(_) | Hop::Node(_) | Hop::Outside) => {
            target.snat = *node;
            target.from_range = true;
            target.flags = FLOW_EXTERNAL;
            is_service
        }
    }
}

/// The Service that a packet is for, by where its address is and where it came from.
#[inline(always)]
fn lookup<T: Tables>(t: &T, p: &Packet, hop: &Hop, origin: Origin) -> Option<ServiceValue> {
    if p.kind != Kind::Ports || p.tuple.dport == Be16(0) {
        return None;
    }
    match hop {
        Hop::Pod(_) | Hop::Remote(_) | Hop::NoPod => return None,
        Hop::Stack => {
            if let Some(found) = service::find(t, &Addr::ANY, &p.tuple, SCOPE_NODE_PORT) {
                return Some(found);
            }
        }
        Hop::Node(_) | Hop::Outside | Hop::Service => {}
    }
    if origin == Origin::Uplink
        && let Some(found) = service::find(t, &p.tuple.dst, &p.tuple, SCOPE_EXTERNAL)
    {
        return Some(found);
    }
    service::find(t, &p.tuple.dst, &p.tuple, SCOPE_CLUSTER)
}
