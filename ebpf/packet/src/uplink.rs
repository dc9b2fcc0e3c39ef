//! XDP on the uplink: Service traffic from outside whose backend is elsewhere, and its answers, without a socket buffer.
//!
//! An accelerator and nothing else: [`pipeline::from_uplink`] and [`pipeline::from_overlay`] do the same with the same functions and
//! tables, so either may handle any packet of a flow, and what is written here for a packet that then passes is what they would write.
//! Handled is what can be finished on the uplink: out again to another node (in VXLAN, whose headers are written here, or as it is where
//! pods are routed natively), or to the client.
//! All else passes as it came, namely
//! - what is for a local pod: its interface takes socket buffers (`bpf_redirect_peer`), and its policy is judged there;
//! - fragments and ICMP errors, which are rare, tagged frames, and packets of which the last hop is used up;
//! - whatever the kernel's routes do not send out by the uplink, to a neighbour that is known, within the path's MTU: the stack resolves
//!   the one and cuts or refuses the other.
//!
//! Neighbour entries are read here and refreshed only by the stack's own traffic: a node that changes its MAC without telling is found again
//! when the stack next talks to it.

use abi::{Addr, Config, Counter, IPPROTO_UDP, ROUTE_OVERLAY, VXLAN_PORT, flow::FLOW_EXTERNAL};

use crate::{
    Scratch, Steps, Tables,
    conntrack::{self, Found},
    direct, edges,
    nat::{self, difference},
    parse::{Kind, L3, Packet, Part},
    pipeline::{First, Origin},
    route::{self, Hop},
    verdict::Fate,
    vxlan::{self, OUTER},
};

/// A question to the kernel's routes, and the answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NextHop {
    pub src: Addr,
    pub dst: Addr,
    /// Bytes from the IP header on.
    pub bytes: usize,
    /// MACs of the neighbour and of the uplink.
    pub to: [u8; 6],
    pub from: [u8; 6],
}

/// A frame at the uplink. Offsets count from where the view begins.
pub trait Wire<T: Tables>: Steps<T> {
    /// Makes the view begin so many bytes after the frame's start. The frame is as it was.
    fn view(&mut self, from: usize);
    /// Makes room for the outer headers before the frame.
    fn push(&mut self) -> Option<()>;
    /// Takes the outer headers off.
    fn pull(&mut self) -> Option<()>;
    /// Asks the kernel's routes, as [`Scratch::next_hop`] says. `false` if it is not by the uplink, or the neighbour is not known, or the
    /// packet too large.
    fn next_hop(&mut self, s: &mut Scratch) -> bool;
}

/// One frame that came in by the uplink.
#[inline(always)]
pub fn uplink<B: Wire<T>, T: Tables>(b: &mut B, t: &T, s: &mut Scratch) -> Fate {
    let Some(cfg) = t.config() else { return Fate::Pass };
    // An interface in promiscuous mode sees others' frames.
    if !is_addressed(b, cfg) || !b.parse(s) || route::is_group(&s.packet.tuple.dst, s.packet.v6) {
        return Fate::Pass;
    }
    let tunnelled = s.packet.tuple.proto == IPPROTO_UDP && s.packet.tuple.dport == VXLAN_PORT;
    if tunnelled && enter(b, t, cfg, s).is_none() || !is_plain(&s.packet) {
        return Fate::Pass;
    }
    let mut new = false;
    match conntrack::find(t, s) {
        Found::Use => {}
        Found::New | Found::Gone if tunnelled => return Fate::Pass,
        Found::Gone => return Fate::Drop(Counter::DropBackendGone),
        Found::New => match b.choose(t, s, Origin::Uplink) {
            First::Translate => new = true,
            First::Plain | First::Pass => return Fate::Pass,
            First::Drop => return Fate::Drop(s.refused),
        },
    }
    let (src, dst) = if new { (s.target.snat, s.target.dst) } else { (s.to.src, s.to.dst) };
    route::find(t, &dst, &mut s.place);
    let (hop, own, native) = (s.place.hop, route::is_own(cfg, &src), s.place.is_native());
    if hop == Hop::Remote && !native && !tunnelled {
        return encapsulate(b, t, cfg, s, new);
    }
    let out = hop == Hop::Outside || hop == Hop::Node && own || native;
    // Through the tunnel come answers alone.
    let answers = !new && s.to.is_reply() && s.to.flags & FLOW_EXTERNAL != 0;
    if !out || tunnelled && !answers {
        return Fate::Pass;
    }
    s.next_hop.src = src;
    s.next_hop.dst = dst;
    s.next_hop.bytes = b.size().wrapping_sub(if tunnelled { OUTER + L3 } else { L3 });
    if !b.next_hop(s) || tunnelled && b.pull().is_none() {
        return Fate::Pass;
    }
    b.view(0);
    if new && b.open(t, s, Origin::Uplink) != First::Translate {
        return Fate::Drop(s.refused);
    }
    if !b.rewrite(t, s) {
        return Fate::Drop(Counter::DropUnsupported);
    }
    let (to, from) = (s.next_hop.to, s.next_hop.from);
    if nat::age(b, &s.packet).is_none() || nat::ethernet(b, to, from).is_none() {
        return Fate::Drop(Counter::DropMalformed);
    }
    t.count(Counter::Forwarded);
    Fate::Send
}

/// On to a backend of another node.
#[inline(always)]
fn encapsulate<B: Wire<T>, T: Tables>(b: &mut B, t: &T, cfg: &Config, s: &mut Scratch, new: bool) -> Fate {
    let node = s.place.route.node;
    let bytes = b.size();
    s.next_hop.src = cfg.node4;
    s.next_hop.dst = node;
    s.next_hop.bytes = bytes + OUTER - L3;
    if s.place.route.kind != ROUTE_OVERLAY || !node.is_v4() || !b.next_hop(s) || b.push().is_none() {
        return Fate::Pass;
    }
    if new && b.open(t, s, Origin::Uplink) != First::Translate {
        return Fate::Drop(s.refused);
    }
    b.view(OUTER);
    let vni = if direct::is(&s.to) {
        if direct::mark(b, &s.to).is_none() {
            return Fate::Drop(Counter::DropMalformed);
        }
        edges::count(b, t, &s.to);
        direct::vni(cfg)
    } else {
        if !b.rewrite(t, s) {
            return Fate::Drop(Counter::DropUnsupported);
        }
        cfg.vni
    };
    if nat::age(b, &s.packet).is_none() {
        return Fate::Drop(Counter::DropMalformed);
    }
    b.view(0);
    if vxlan::write(b, cfg, s, vni, bytes).is_none() {
        return Fate::Drop(Counter::DropKernel);
    }
    t.count(Counter::Forwarded);
    Fate::Send
}

/// Turns to the packet inside of VXLAN, if it is one of the node that owns its source.
#[inline(always)]
fn enter<B: Wire<T>, T: Tables>(b: &mut B, t: &T, cfg: &Config, s: &mut Scratch) -> Option<()> {
    let vni = vxlan::network(b, &s.packet, &cfg.node4, b.size())?;
    s.next_hop.dst = s.packet.tuple.src;
    if vni != cfg.vni {
        return None;
    }
    b.view(OUTER);
    if !b.parse(s) || route::is_group(&s.packet.tuple.dst, s.packet.v6) {
        return None;
    }
    let r = &mut s.sender;
    if t.route(&s.packet.tuple.src, r) && r.is_of_node() && difference(&r.node, &s.next_hop.dst) == 0 {
        Some(())
    } else {
        None
    }
}

/// Whether the frame is for this interface.
#[inline(always)]
fn is_addressed<B: Wire<T>, T: Tables>(b: &B, cfg: &Config) -> bool {
    let [a, c, d, e, f, g] = cfg.uplink_mac;
    let (Some(high), Some(low)) = (b.word(0), b.half(4)) else { return false };
    (high ^ u32::from_ne_bytes([a, c, d, e])) | (low ^ u16::from_ne_bytes([f, g])) as u32 == 0
}

/// Whether a packet is one of those that are handled: whole, no error, with a hop left. An opening segment that also ends is nobody's.
#[inline(always)]
fn is_plain(p: &Packet) -> bool {
    p.part == Part::Whole && p.kind != Kind::Error && p.ttl > 1 && !(p.is_syn() && p.is_closing())
}
