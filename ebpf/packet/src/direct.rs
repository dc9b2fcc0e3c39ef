//! Direct server return: a connection from outside whose backend runs on another node goes there untranslated, so that the backend's
//! policy sees the client and the answers need no way back through here.
//!
//! What the other node cannot know is the backend that was chosen. It is said where the overlay has room: the packet travels in a VXLAN
//! network of its own ([`vni`]), and its inner Ethernet addresses, which name nobody there, hold the backend's address
//! and port. The other node opens the flow as if the packet had come in by its own uplink. So one node alone translates, fragments and
//! errors go the same way, and two Services with one backend cannot collide here.
//!
//! Twelve bytes have no room for an IPv6 address and a port: the first seven bytes of a pod's address are those of its node's range
//! (which is a /64, or at least a /56), so the node knows them.
//!
//! Nodes that route natively have tunnels as well, and use them for this alone.

use abi::{Addr, Be16, Config, Counter, LB_DSR, ROUTE_NATIVE, ROUTE_NODE, flow::FLOW_DIRECT};

use crate::{
    Buffer, Flow, Scratch, Tables, Verdict, edges,
    nat::{self, difference},
    pipeline::Origin,
    route::{self, Hop},
};

/// First byte of an Ethernet address that nobody was given (IEEE 802, the locally administered bit).
const LOCAL_UNICAST: u8 = 2;

/// The VXLAN network of such packets.
#[inline(always)]
pub fn vni(cfg: &Config) -> u32 {
    cfg.vni.wrapping_add(1) & 0x00ff_ffff
}

/// Whether packets of the flow, in the direction of this record, go so.
#[inline(always)]
pub fn is(flow: &Flow) -> bool {
    flow.flags & FLOW_DIRECT != 0 && !flow.is_reply()
}

/// Whether a new connection to a Service, whose backend's place is known, is to go so. A client that belongs to the cluster is not
/// known to the backend's node as one from outside, so it is served as ever.
#[inline(always)]
pub fn applies<T: Tables>(t: &T, cfg: &Config, s: &mut Scratch, origin: Origin) -> bool {
    cfg.lb_mode == LB_DSR
        && origin == Origin::Uplink
        && s.place.hop == Hop::Remote
        && !t.route(&s.packet.tuple.src, &mut s.sender)
}

/// Names the backend of [`Scratch::to`] beside the packet.
#[inline(always)]
pub fn mark<B: Buffer>(b: &mut B, to: &Flow) -> Option<()> {
    b.set_word(0, to.dst.0[3])?;
    b.set_half(4, to.dport.0)?;
    if to.dst.is_v4() {
        return Some(());
    }
    // Some kernels refuse frames from no address (vxlan_set_mac), and a pod's may have these bytes zero.
    let [.., eighth] = to.dst.0[1].to_ne_bytes();
    b.set_half(6, u16::from_ne_bytes([LOCAL_UNICAST, eighth]))?;
    b.set_word(8, to.dst.0[2])
}

/// The backend that stands beside a packet, in [`Scratch::target`].
#[inline(always)]
fn named<B: Buffer>(b: &B, cfg: &Config, s: &mut Scratch) -> Option<()> {
    let (last, port) = (b.word(0)?, b.half(4)?);
    s.target.dport = Be16(port);
    s.target.dst = if s.packet.v6 {
        let ([_, eighth], third) = (b.half(6)?.to_ne_bytes(), b.word(8)?);
        let [fifth, sixth, seventh, _] = cfg.pods6.0[1].to_ne_bytes();
        Addr([cfg.pods6.0[0], u32::from_ne_bytes([fifth, sixth, seventh, eighth]), third, last])
    } else {
        Addr([0, 0, 0xffff_u32.to_be(), last])
    };
    Some(())
}

/// Sends a packet of such a flow, whose record is in [`Scratch::to`].
#[inline(always)]
pub fn send<B: Buffer, T: Tables>(b: &mut B, t: &T, cfg: &Config, s: &mut Scratch) -> Verdict {
    route::find(t, &s.to.dst, &mut s.place);
    if s.place.hop != Hop::Remote {
        return Verdict::Drop(Counter::DropNoRoute);
    }
    if s.packet.ttl <= 1 {
        return Verdict::Drop(Counter::DropTtl);
    }
    if nat::age(b, &s.packet).is_none() || mark(b, &s.to).is_none() {
        return Verdict::Drop(Counter::DropMalformed);
    }
    edges::count(b, t, &s.to);
    Verdict::Tunnel { ifindex: cfg.overlay_ifindex, node: s.place.route.node, vni: vni(cfg) }
}

/// Reads the backend that `node` names beside a packet of the overlay into [`Scratch::target`]. `Err` says why the packet is not taken:
/// the sender must be a node, the client from outside of the cluster, and the backend one of this node's pods.
#[inline(always)]
pub fn accept<B: Buffer, T: Tables>(b: &B, t: &T, cfg: &Config, s: &mut Scratch, node: &Addr) -> Result<(), Counter> {
    let r = &mut s.sender;
    let known = t.route(node, r) && r.kind & !ROUTE_NATIVE == ROUTE_NODE && difference(&r.node, node) == 0;
    if !known || t.route(&s.packet.tuple.src, r) {
        return Err(Counter::DropOverlay);
    }
    if named(b, cfg, s).is_none() {
        return Err(Counter::DropMalformed);
    }
    s.target.backend = 0;
    s.target.snat = Addr::ANY;
    s.target.from_range = false;
    if t.pod(&s.target.dst, &mut s.place.pod) { Ok(()) } else { Err(Counter::DropNoPod) }
}

/// Whether the record in [`Scratch::to`] leads to the backend in [`Scratch::target`].
#[inline(always)]
pub fn is_same_backend(s: &Scratch) -> bool {
    difference(&s.to.dst, &s.target.dst) | (s.to.dport.0 ^ s.target.dport.0) as u32 == 0
}
