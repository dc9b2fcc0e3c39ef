//! One function a hook: a packet in, a verdict out.

use abi::{
    Addr, Be16, Config, Counter, IPPROTO_ICMP, IPPROTO_ICMPV6, IPPROTO_UDP, LIMIT_EGRESS, LIMIT_INGRESS,
    ROUTE_LOCAL_PODS, ROUTE_NATIVE, ROUTE_OVERLAY, ROUTE_SERVICE_RANGE, SCOPE_CLUSTER, SCOPE_EXTERNAL, SCOPE_NODE_PORT,
    SERVICE_RANGES, ServiceValue, VXLAN_PORT,
    edge::CLIENT_OUTSIDE,
    flow::{EDGE_SHIFT, FLOW_DIRECT, FLOW_EXTERNAL},
    fragment::{AT_FROM_OVERLAY, AT_FROM_UPLINK, AT_TO_OVERLAY, AT_TO_POD, AT_TO_UPLINK},
};

use crate::{
    Buffer, Scratch, Steps, Tables, Verdict,
    conntrack::{self, Found},
    direct, edges,
    fragment::{Ports, Waiting},
    icmp,
    nat::{self, difference},
    parse::{Kind, Packet, Part, Unparsed},
    policy,
    route::{self, Hop},
    service,
};

/// Where a packet came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    Pod,
    Uplink,
    Overlay,
    /// Another node's uplink, whose place this node takes ([`direct`]).
    Direct,
    /// This node's own stack.
    Stack,
}

/// What becomes of the first packet of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum First {
    /// To [`Scratch::target`], for which it needs a record.
    Translate,
    /// On to [`Scratch::place`] as it is.
    Plain,
    /// None of ours.
    Pass,
    /// For the reason in [`Scratch::refused`].
    Drop,
}

/// tcx ingress of the host side of a pod's veth: a packet that the pod sent.
#[inline(always)]
pub fn from_pod<B: Steps<T>, T: Tables>(b: &mut B, t: &T, s: &mut Scratch, ifindex: u32) -> Verdict {
    let Some(cfg) = t.config() else { return Verdict::Drop(Counter::DropNotReady) };
    if !t.veth(ifindex, &mut s.veth) {
        return Verdict::Drop(Counter::DropNotReady);
    }
    if !b.parse(s) {
        return Verdict::Drop(s.unparsed.counter());
    }
    let (p, veth) = (&s.packet, &s.veth);
    let own = if p.v6 { &veth.addr6 } else { &veth.addr4 };
    let [m0, m1, m2, m3, m4, m5] = veth.mac;
    let mac = (u16::from_ne_bytes([m0, m1]), u32::from_ne_bytes([m2, m3, m4, m5]));
    let (Some(high), Some(low)) = (b.half(6), b.word(8)) else { return Verdict::Drop(Counter::DropMalformed) };
    // Nobody's to begin with, whoever sends it: a starting IPv6 stack reports its groups before it has an address, and lies about nothing.
    if route::is_group(&p.tuple.dst, p.v6) {
        return Verdict::Drop(Counter::DropUnsupported);
    }
    if difference(&p.tuple.src, own) | (high ^ mac.0) as u32 | (low ^ mac.1) != 0 || difference(own, &Addr::ANY) == 0 {
        return Verdict::Drop(Counter::DropSpoofed);
    }
    if let Some(verdict) = settle(b, t, s, Origin::Pod, ifindex) {
        return verdict;
    }
    if s.veth.limits & LIMIT_EGRESS != 0 && !b.pay(t, s.veth.seat, true) {
        return Verdict::Drop(Counter::DropBandwidth);
    }
    forward(b, t, cfg, s, Origin::Pod)
}

/// tcx ingress of the uplink: a packet from outside, for the node, a Service, a masqueraded pod or a pod.
#[inline(always)]
pub fn from_uplink<B: Steps<T>, T: Tables>(b: &mut B, t: &T, s: &mut Scratch) -> Verdict {
    let Some(cfg) = t.config() else { return Verdict::Pass };
    // An interface in promiscuous mode sees others' frames; the stack drops them.
    if b.is_for_another(&cfg.uplink_mac) || !b.parse(s) || route::is_group(&s.packet.tuple.dst, s.packet.v6) {
        return Verdict::Pass;
    }
    if let Some(verdict) = settle(b, t, s, Origin::Uplink, AT_FROM_UPLINK) {
        return verdict;
    }
    // With the ports, which a fragment has only now.
    if is_underlay(&s.packet) {
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
    s.tunnel = (*node, vni);
    if vni == direct::vni(cfg) {
        if let Err(reason) = direct::accept(b, t, cfg, s, node) {
            return Verdict::Drop(reason);
        }
        return match settle(b, t, s, Origin::Direct, AT_FROM_OVERLAY) {
            Some(verdict) => verdict,
            None => forward(b, t, cfg, s, Origin::Direct),
        };
    }
    let (p, r) = (&s.packet, &mut s.sender);
    // One that is reached natively may not know yet that we are: its tunnel counts as well.
    let known = t.route(&p.tuple.src, r) && r.is_of_node() && difference(&r.node, node) == 0;
    if !known || vni != cfg.vni {
        return Verdict::Drop(Counter::DropOverlay);
    }
    if route::is_group(&p.tuple.dst, p.v6) {
        return Verdict::Drop(Counter::DropUnsupported);
    }
    if let Some(verdict) = settle(b, t, s, Origin::Overlay, AT_FROM_OVERLAY) {
        return verdict;
    }
    forward(b, t, cfg, s, Origin::Overlay)
}

/// tcx egress of the host side of a pod's veth: a packet of the node's own stack. Answers of backends on this node become
/// answers of the Service.
#[inline(always)]
pub fn to_pod<B: Steps<T>, T: Tables>(b: &mut B, t: &T, s: &mut Scratch) -> Verdict {
    if !b.parse(s) {
        // The stack may have forwarded it, and pieces too small to be judged could be put together by the pod (RFC 1858).
        return if s.unparsed == Unparsed::NotIp { Verdict::Pass } else { Verdict::Drop(Counter::DropMalformed) };
    }
    let whole = has_ports(b, t, s, AT_TO_POD);
    let translated = whole && answer(b, t, s);
    s.place.hop = if t.pod(&s.packet.tuple.dst, &mut s.place.pod) { Hop::Pod } else { Hop::Outside };
    if !whole && policy::is_guarded(t, s) {
        return Verdict::Drop(Counter::DropFragment);
    }
    if !policy::admit(b, t, s, Origin::Stack, translated) {
        return Verdict::Drop(s.refused);
    }
    if s.place.hop == Hop::Pod && s.place.pod.limits & LIMIT_INGRESS != 0 && !b.pay(t, s.place.pod.seat, false) {
        return Verdict::Drop(Counter::DropBandwidth);
    }
    Verdict::Pass
}

/// tcx egress of the uplink: answers of backends on this node; what processes of this node, outside the socket hooks' cgroup, send to a
/// Service; and pod packets that the node's stack let out.
#[inline(always)]
pub fn to_uplink<B: Steps<T>, T: Tables>(b: &mut B, t: &T, s: &mut Scratch) -> Verdict {
    let Some(cfg) = t.config() else { return Verdict::Pass };
    if !b.parse(s) || is_underlay(&s.packet) || route::is_group(&s.packet.tuple.dst, s.packet.v6) {
        return Verdict::Pass;
    }
    if s.packet.kind == Kind::Error {
        b.error(t, s);
        return Verdict::Pass;
    }
    if !has_ports(b, t, s, AT_TO_UPLINK) {
        return Verdict::Pass;
    }
    send_out(b, t, cfg, s)
}

/// What the node's stack sends to a Service, and its answers to translated flows, from the egress of a device.
#[inline(always)]
fn send_out<B: Steps<T>, T: Tables>(b: &mut B, t: &T, cfg: &Config, s: &mut Scratch) -> Verdict {
    match conntrack::find(t, s) {
        Found::Use => {}
        Found::Gone => return Verdict::Drop(Counter::DropBackendGone),
        Found::New => match first(b, t, s, Origin::Stack) {
            First::Translate => {}
            First::Plain | First::Pass => return Verdict::Pass,
            First::Drop => return Verdict::Drop(s.refused),
        },
    }
    if !b.rewrite(t, s) {
        return Verdict::Drop(Counter::DropUnsupported);
    }
    // The receiver of an answer, and of what is only masqueraded, is where the kernel's route led already.
    if s.to.is_reply() || s.to.backend == 0 {
        return Verdict::Pass;
    }
    route::find(t, &s.to.dst, &mut s.place);
    match route::send(b, t, cfg, s, true) {
        // From egress there is no way into another namespace but by the device in front of it.
        Verdict::Peer { ifindex } => Verdict::Redirect { ifindex },
        verdict @ (Verdict::Pass
        | Verdict::Drop(_)
        | Verdict::Redirect { .. }
        | Verdict::Neigh { .. }
        | Verdict::Tunnel { .. }
        | Verdict::Key { .. }
        | Verdict::Hold
        | Verdict::Answer { .. }) => verdict,
    }
}

/// tcx egress of the VXLAN device: a packet that the node's own stack routed there and that has no tunnel key yet. The stack's route
/// to the range of virtual addresses leads here as well, so that what no socket hook translated (a connected UDP socket's
/// datagrams, SCTP) needs no other route.
#[inline(always)]
pub fn to_overlay<B: Steps<T>, T: Tables>(b: &mut B, t: &T, s: &mut Scratch) -> Verdict {
    let Some(cfg) = t.config() else { return Verdict::Drop(Counter::DropNotReady) };
    if !b.parse(s) {
        return Verdict::Drop(s.unparsed.counter());
    }
    let r = &mut s.place.route;
    if !t.route(&s.packet.tuple.dst, r) {
        return Verdict::Drop(Counter::DropNoRoute);
    }
    if r.kind == ROUTE_SERVICE_RANGE {
        return to_service(b, t, cfg, s);
    }
    if !r.is_of_node() {
        return Verdict::Drop(Counter::DropNoRoute);
    }
    if has_ports(b, t, s, AT_TO_OVERLAY) {
        answer(b, t, s);
    }
    Verdict::Key { node: s.place.route.node, vni: cfg.vni }
}

/// A packet of the node's own stack to a virtual address, on the VXLAN device.
#[inline(always)]
fn to_service<B: Steps<T>, T: Tables>(b: &mut B, t: &T, cfg: &Config, s: &mut Scratch) -> Verdict {
    if s.packet.kind == Kind::Error {
        return Verdict::Drop(Counter::DropUnsupported);
    }
    if !has_ports(b, t, s, AT_TO_OVERLAY) {
        return Verdict::Drop(Counter::DropFragment);
    }
    match send_out(b, t, cfg, s) {
        Verdict::Pass => Verdict::Drop(Counter::DropNoBackend),
        Verdict::Tunnel { node, vni, .. } => Verdict::Key { node, vni },
        verdict @ (Verdict::Drop(_)
        | Verdict::Peer { .. }
        | Verdict::Redirect { .. }
        | Verdict::Neigh { .. }
        | Verdict::Key { .. }
        | Verdict::Hold
        | Verdict::Answer { .. }) => verdict,
    }
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
    conntrack::answered(t, s) && b.rewrite(t, s)
}

/// The common path of everything that comes in: translate, then send on.
#[inline(always)]
fn forward<B: Steps<T>, T: Tables>(b: &mut B, t: &T, cfg: &Config, s: &mut Scratch, origin: Origin) -> Verdict {
    // An error about a translated flow is rewritten there and then.
    let error = s.packet.kind == Kind::Error && b.error(t, s);
    if !error {
        match conntrack::find(t, s) {
            // The other node has chosen anew since.
            Found::Use if origin == Origin::Direct && !direct::is_same_backend(s) => {
                conntrack::forget(t, s);
                match first(b, t, s, origin) {
                    First::Translate => {}
                    First::Plain | First::Pass | First::Drop => return Verdict::Drop(s.refused),
                }
            }
            Found::Use => {}
            Found::Gone => return Verdict::Drop(Counter::DropBackendGone),
            Found::New => match first(b, t, s, origin) {
                First::Translate => {}
                First::Plain => {
                    if s.place.is_service_address() {
                        return at_service_address(b, t, cfg, s);
                    }
                    if !policy::admit(b, t, s, origin, false) {
                        return Verdict::Drop(s.refused);
                    }
                    return route::send(b, t, cfg, s, false);
                }
                First::Pass => return Verdict::Pass,
                First::Drop => return Verdict::Drop(s.refused),
            },
        }
    }
    if direct::is(&s.to) {
        return direct::send(b, t, cfg, s);
    }
    if !error && !b.rewrite(t, s) {
        return Verdict::Drop(Counter::DropUnsupported);
    }
    route::find(t, &s.to.dst, &mut s.place);
    if !policy::admit(b, t, s, origin, true) {
        return Verdict::Drop(s.refused);
    }
    let own = route::is_own(cfg, &s.to.src);
    route::send(b, t, cfg, s, own)
}

/// Whether a packet has its ports, at a hook that the node's stack sends to: what it sends itself comes in order.
#[inline(always)]
fn has_ports<B: Steps<T>, T: Tables>(b: &mut B, t: &T, s: &mut Scratch, at: u32) -> bool {
    s.packet.part == Part::Whole || b.ports(t, s, at) == Ports::Known
}

/// Gives a fragment that came in its ports; `None`: the packet has them. A later fragment that may need a translation, or a verdict, waits for
/// its first one.
#[inline(always)]
fn settle<B: Steps<T>, T: Tables>(b: &mut B, t: &T, s: &mut Scratch, origin: Origin, at: u32) -> Option<Verdict> {
    if s.packet.part == Part::Whole {
        return None;
    }
    match b.ports(t, s, at) {
        Ports::Known => return None,
        Ports::Lost => return Some(Verdict::Drop(Counter::DropKernel)),
        Ports::Unknown => {}
    }
    route::find(t, &s.packet.tuple.dst, &mut s.place);
    if s.place.hop == Hop::Outside && origin == Origin::Uplink && !s.place.is_service_address() {
        return Some(Verdict::Pass);
    }
    match b.hold(t, s) {
        Waiting::Known => None,
        Waiting::Held => Some(Verdict::Hold),
        // The node itself may be meant, and its stack puts datagrams together.
        Waiting::Refused if s.place.hop == Hop::Stack && matches!(origin, Origin::Uplink | Origin::Overlay) => {
            Some(Verdict::Pass)
        }
        Waiting::Refused => Some(Verdict::Drop(Counter::DropFragment)),
    }
}

/// From outside to a Service's load-balancer or external address, for none of its ports. The kernel's routes would send it back to where it
/// came from, and round it goes until its hops are used up; so echo requests are answered here, as the Service would be asked whether it
/// is there, and the rest is dropped. If the address is on an interface of this node, too, its stack has it.
#[inline(always)]
fn at_service_address<B: Steps<T>, T: Tables>(b: &mut B, t: &T, cfg: &Config, s: &mut Scratch) -> Verdict {
    if b.is_local(t, s) {
        return Verdict::Pass;
    }
    let proto = s.packet.tuple.proto;
    let icmp = proto == IPPROTO_ICMP && !s.packet.v6 || proto == IPPROTO_ICMPV6 && s.packet.v6;
    if icmp && icmp::answer(b, &s.packet).is_some() {
        return Verdict::Answer { ifindex: cfg.uplink_ifindex };
    }
    Verdict::Drop(Counter::DropNoPort)
}

/// The first packet of a flow: is it for a Service, and does its answer have to come back through here? If so, its records are made.
#[inline(always)]
fn first<B: Steps<T>, T: Tables>(b: &mut B, t: &T, s: &mut Scratch, origin: Origin) -> First {
    match b.choose(t, s, origin) {
        First::Translate => b.open(t, s, origin),
        other @ (First::Plain | First::Pass | First::Drop) => other,
    }
}

/// Makes the records of a flow whose [`Scratch::target`] is known.
#[inline(always)]
pub fn open<T: Tables>(t: &T, s: &mut Scratch) -> First {
    let service = s.target.service;
    let row = if service == 0 { 0 } else { t.edge(&s.target.client, service) };
    s.target.flags |= row << EDGE_SHIFT;
    if !conntrack::open(t, s) {
        return First::Drop;
    }
    if service != 0 {
        t.connected(service);
        t.open_edge(row);
    }
    First::Translate
}

/// Makes a packet what [`Scratch::to`] says, and counts it.
#[inline(always)]
pub fn rewrite<B: Buffer, T: Tables>(b: &mut B, t: &T, s: &mut Scratch) -> bool {
    let done = nat::rewrite(b, &s.packet, &s.to).is_some();
    if done {
        edges::count(b, t, &s.to);
    }
    done
}

/// The half of [`first`] that writes nothing but a client's affinity: where the flow is to go ([`Scratch::target`]), and where that is
/// ([`Scratch::place`]).
#[inline(always)]
pub fn choose<T: Tables>(t: &T, s: &mut Scratch, origin: Origin) -> First {
    s.refused = Counter::DropNotReady;
    s.target.service = 0;
    let Some(cfg) = t.config() else { return First::Drop };
    if origin == Origin::Direct {
        s.target.flags = FLOW_EXTERNAL;
        return First::Translate;
    }
    let p = &s.packet;
    s.target.dst = p.tuple.dst;
    s.target.dport = p.tuple.dport;
    s.target.backend = 0;
    s.target.snat = Addr::ANY;
    s.target.flags = 0;
    s.target.from_range = false;
    let mut origin = origin;
    if origin == Origin::Uplink && t.route(&p.tuple.src, &mut s.sender) {
        match s.sender.kind {
            // Pods of this node and virtual addresses do not come in from outside, nor do pods behind the overlay.
            ROUTE_LOCAL_PODS | ROUTE_SERVICE_RANGE | ROUTE_OVERLAY => {
                s.refused = Counter::DropSpoofed;
                return First::Drop;
            }
            // The uplink is to these what the overlay is to others.
            kind if kind & ROUTE_NATIVE != 0 => origin = Origin::Overlay,
            _ => {}
        }
    }
    route::find(t, &p.tuple.dst, &mut s.place);
    let is_service = lookup(t, p, s.place.hop, origin, &mut s.service);
    if origin == Origin::Stack && !is_service && !t.pod(&p.tuple.src, &mut s.place.pod) {
        return First::Pass;
    }
    if is_service && s.service.flags & SERVICE_RANGES != 0 {
        service::source(&mut s.source, &p.tuple, SCOPE_EXTERNAL);
        if !t.source(&s.source) {
            s.refused = Counter::DropSource;
            return First::Drop;
        }
    }
    if is_service {
        let number = service::number(t, &s.service, &p.tuple, cfg.seed);
        let id = service::pick(t, &s.service, &p.tuple.src, number, &mut s.backend);
        // Nothing here translates between families.
        if id == 0 || s.backend.addr.is_v4() == p.v6 {
            s.refused = Counter::DropNoBackend;
            return First::Drop;
        }
        s.target.dst = s.backend.addr;
        s.target.dport = s.backend.port;
        s.target.backend = id;
        s.target.service = s.service.id;
        s.target.client = if origin == Origin::Uplink { CLIENT_OUTSIDE } else { p.tuple.src };
        route::find(t, &s.target.dst, &mut s.place);
    }
    // What the node's stack has sent out does not come back in, and pods' packets to a native node are as they should be.
    if origin == Origin::Stack && (s.place.hop == Hop::Stack || !is_service && s.place.is_native()) {
        return First::Pass;
    }
    match source(s.place.hop, origin, is_service) {
        Source::None => {
            // Of datagrams any may be the first.
            let may_open = p.is_syn() || p.tuple.proto == IPPROTO_UDP && p.kind == Kind::Ports;
            let opens = origin == Origin::Pod && may_open;
            let lands = matches!(s.place.hop, Hop::Pod | Hop::Remote | Hop::Node | Hop::Stack);
            if !(opens && lands && conntrack::is_answer_taken(t, p, &mut s.key, &mut s.other)) {
                return plain(s, origin);
            }
        }
        Source::Keep => {
            if is_service && difference(&s.target.dst, &p.tuple.src) == 0 {
                // The pod is its own backend: it must not see itself as the client, or it would answer inside.
                s.target.snat = p.tuple.dst;
            }
        }
        Source::Node if is_service && direct::applies(t, cfg, s, origin) => s.target.flags = FLOW_DIRECT,
        Source::Node => {
            s.target.snat = if s.packet.v6 { cfg.node6 } else { cfg.node4 };
            s.target.from_range = true;
        }
    }
    if origin == Origin::Uplink || origin == Origin::Overlay {
        s.target.flags |= FLOW_EXTERNAL;
    }
    First::Translate
}

/// A packet that nothing translates.
#[inline(always)]
fn plain(s: &mut Scratch, origin: Origin) -> First {
    match (s.place.hop, origin) {
        (Hop::Outside, Origin::Uplink) if s.place.is_service_address() => First::Plain,
        // The uplink carries more than the cluster: what is none of ours goes its way.
        (Hop::Outside | Hop::Node, Origin::Uplink) | (_, Origin::Stack) => First::Pass,
        // Another node has no business sending what is not for us.
        (_, Origin::Direct) | (Hop::Outside | Hop::Node | Hop::Remote, Origin::Overlay) => {
            s.refused = Counter::DropNoRoute;
            First::Drop
        }
        (_, Origin::Pod | Origin::Uplink | Origin::Overlay) => First::Plain,
    }
}

/// The source address that a new flow gets.
enum Source {
    /// The flow needs no record at all.
    None,
    Keep,
    /// This node's, because the answer would not come back through here otherwise, where it has to be translated.
    Node,
}

#[inline(always)]
fn source(hop: Hop, origin: Origin, is_service: bool) -> Source {
    match (origin, hop) {
        (_, Hop::Service | Hop::NoPod) => Source::None,
        // The other node decided that this one translates.
        (Origin::Direct, _) => Source::Keep,
        (Origin::Stack, _) if is_service => Source::Keep,
        (Origin::Stack, _) | (Origin::Pod, Hop::Outside) | (Origin::Uplink, Hop::Remote) => Source::Node,
        // Nothing is translated, but the pod's answer must not be masqueraded.
        (Origin::Uplink, Hop::Pod) => Source::Keep,
        _ if !is_service => Source::None,
        (Origin::Pod, Hop::Pod | Hop::Remote | Hop::Node | Hop::Stack)
        | (Origin::Overlay, Hop::Pod)
        | (Origin::Uplink | Origin::Overlay, Hop::Stack) => Source::Keep,
        (Origin::Uplink, Hop::Node | Hop::Outside) | (Origin::Overlay, Hop::Remote | Hop::Node | Hop::Outside) => {
            Source::Node
        }
    }
}

/// Finds the Service that a packet is for, by where its address is and where it came from.
#[inline(always)]
fn lookup<T: Tables>(t: &T, p: &Packet, hop: Hop, origin: Origin, found: &mut ServiceValue) -> bool {
    if p.kind != Kind::Ports || p.tuple.dport == Be16(0) {
        return false;
    }
    match hop {
        Hop::Stack | Hop::Node | Hop::Outside if origin == Origin::Stack => return false,
        Hop::Pod | Hop::Remote | Hop::NoPod => return false,
        Hop::Stack => {
            let any = if p.v6 { Addr::ANY } else { Addr::ANY_V4 };
            if service::find(t, &any, &p.tuple, SCOPE_NODE_PORT, found) {
                return true;
            }
        }
        Hop::Node | Hop::Outside | Hop::Service => {}
    }
    if origin == Origin::Uplink && service::find(t, &p.tuple.dst, &p.tuple, SCOPE_EXTERNAL, found) {
        return true;
    }
    service::find(t, &p.tuple.dst, &p.tuple, SCOPE_CLUSTER, found)
}
