//! XDP on the uplink: Service traffic from outside whose backend is elsewhere, and its answers, without a socket buffer.
//!
//! An accelerator and nothing else: [`pipeline::from_uplink`] and [`pipeline::from_overlay`] do the same with the same functions and
//! tables, so either may handle any packet of a flow, and what is written here for a packet that then passes is what they would write.
//! Handled is what can be finished on the uplink: out again to another node (in VXLAN, whose headers are written here, over IPv4 or IPv6, or
//! as it is where pods are routed natively), or to the client.
//! All else passes as it came, namely
//! - what is for a local pod: its interface takes socket buffers (`bpf_redirect_peer`), and its policy is judged there;
//! - fragments and ICMP errors, which are rare, tagged frames, and packets of which the last hop is used up;
//! - whatever the kernel's routes do not send out by the uplink, to a neighbour that is known, within the path's MTU: the stack resolves
//!   the one and cuts or refuses the other.
//!
//! Neighbour entries are read here and refreshed only by the stack's own traffic: a node that changes its MAC without telling is found again
//! when the stack next talks to it.

use abi::{
    Addr, Config, Counter, IPPROTO_UDP, VXLAN_PORT,
    flow::{FLOW_DIRECT, FLOW_EXTERNAL},
};

use crate::{
    Scratch, Steps, Tables,
    conntrack::{self, Found},
    direct, edges,
    nat::{self, difference},
    parse::{Kind, L3, Packet, Part},
    pipeline::{First, Origin},
    route::{self, Hop},
    verdict::Fate,
    vxlan::{self, OUTER_V6},
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
    /// Makes the view begin behind the outer headers, of [`Scratch::outer`] bytes. The frame is as it was.
    fn view_inner(&mut self, s: &mut Scratch);
    /// Makes the view begin where the frame does.
    fn view_all(&mut self);
    /// Makes room for so many bytes before the frame.
    fn push(&mut self, bytes: usize) -> Option<()>;
    /// Takes so many bytes off its beginning.
    fn pull(&mut self, bytes: usize) -> Option<()>;
    /// [`vxlan::write`].
    #[inline(always)]
    fn wrap(&mut self, cfg: &Config, s: &mut Scratch, vni: u32, bytes: usize) -> bool {
        vxlan::write(self, cfg, s, vni, bytes).is_some()
    }
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
    s.outer = 0;
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
    let straight = if new { s.target.flags & FLOW_DIRECT != 0 } else { direct::is(&s.to) };
    if hop == Hop::Remote && (straight || !native) && !tunnelled {
        return encapsulate(b, t, cfg, s, new, straight);
    }
    if straight {
        return Fate::Pass;
    }
    let out = hop == Hop::Outside || hop == Hop::Node && own || native;
    // Through the tunnel come answers alone.
    let answers = !new && s.to.is_reply() && s.to.flags & FLOW_EXTERNAL != 0;
    if !out || tunnelled && !answers {
        return Fate::Pass;
    }
    s.next_hop.src = src;
    s.next_hop.dst = dst;
    s.next_hop.bytes = b.size().wrapping_sub(s.outer + L3);
    if !b.next_hop(s) || tunnelled && b.pull(s.outer).is_none() {
        return Fate::Pass;
    }
    b.view_all();
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
fn encapsulate<B: Wire<T>, T: Tables>(
    b: &mut B,
    t: &T,
    cfg: &Config,
    s: &mut Scratch,
    new: bool,
    straight: bool,
) -> Fate {
    let bytes = b.size();
    s.next_hop.dst = s.place.route.node;
    s.outer = vxlan::outer(!s.next_hop.dst.is_v4());
    s.next_hop.src = own(cfg, s.outer == OUTER_V6);
    s.next_hop.bytes = bytes.wrapping_add(s.outer).wrapping_sub(L3);
    if difference(&s.next_hop.src, &Addr::ANY) == 0 || !b.next_hop(s) || b.push(s.outer).is_none() {
        return Fate::Pass;
    }
    if new && b.open(t, s, Origin::Uplink) != First::Translate {
        return Fate::Drop(s.refused);
    }
    b.view_inner(s);
    let vni = if straight {
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
    b.view_all();
    if !b.wrap(cfg, s, vni, bytes) {
        return Fate::Drop(Counter::DropKernel);
    }
    t.count(Counter::Forwarded);
    Fate::Send
}

/// Turns to the packet inside of VXLAN, if it is one of the node that owns its source.
#[inline(always)]
fn enter<B: Wire<T>, T: Tables>(b: &mut B, t: &T, cfg: &Config, s: &mut Scratch) -> Option<()> {
    let vni = vxlan::network(b, &s.packet, cfg, b.size())?;
    s.next_hop.dst = s.packet.tuple.src;
    s.outer = vxlan::outer(s.packet.v6);
    if vni != cfg.vni {
        return None;
    }
    b.view_inner(s);
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

/// This node's address of a family. Word by word: to choose between two places makes a computed address (see [`route::is_own`]).
#[inline(always)]
fn own(cfg: &Config, v6: bool) -> Addr {
    let (six, four) = (0_u32.wrapping_sub(v6 as u32), (v6 as u32).wrapping_sub(1));
    let word = |i: usize| cfg.node6.0[i] & six | cfg.node4.0[i] & four;
    Addr([word(0), word(1), word(2), word(3)])
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
