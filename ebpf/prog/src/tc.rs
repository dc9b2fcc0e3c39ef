//! The tcx hooks: each runs one function of `packet::pipeline` and does what the verdict says.

use core::{
    mem::size_of,
    ptr::{read_volatile, write_volatile},
};

use abi::{
    Addr, Counter,
    event::{
        EVENT_DROP, HOOK_FROM_OVERLAY, HOOK_FROM_POD, HOOK_FROM_UPLINK, HOOK_TO_OVERLAY, HOOK_TO_POD, HOOK_TO_UPLINK,
    },
};
use aya_ebpf::{
    bindings::{__sk_buff, BPF_F_TUNINFO_IPV6, BPF_F_ZERO_CSUM_TX, TC_ACT_OK, TC_ACT_SHOT, bpf_tunnel_key},
    helpers::{
        bpf_redirect, bpf_redirect_neigh, bpf_redirect_peer, bpf_skb_change_type, bpf_skb_get_tunnel_key,
        bpf_skb_set_tunnel_key,
    },
    macros::classifier,
    programs::TcContext,
};
use packet::{Scratch, Tables as _, Verdict, pipeline};

use crate::{again, event, is_test_run, maps::SCRATCH, skb::Skb, steps::step_report, tables::Maps};

/// tcx verdict: the next program, then the stack.
const NEXT: i32 = -1;
/// PACKET_HOST of include/uapi/linux/if_packet.h.
const PACKET_HOST: u32 = 0;
/// Time to live of the outer header.
const TUNNEL_TTL: u8 = 64;

#[classifier]
pub fn from_pod(ctx: TcContext) -> i32 {
    let skb = ctx.skb.skb;
    let (mut packet, maps) = (Skb(skb), clock(skb));
    let Some(scratch) = open(&packet) else { return refuse(skb, &maps, HOOK_FROM_POD) };
    let (given, ifindex) = (word(skb, 1), real_ifindex(skb));
    let ifindex = if is_test_run() { given } else { ifindex };
    let verdict = pipeline::from_pod(&mut packet, &maps, scratch, ifindex);
    act(skb, &maps, HOOK_FROM_POD, verdict)
}

#[classifier]
pub fn to_pod(ctx: TcContext) -> i32 {
    let skb = ctx.skb.skb;
    let (mut packet, maps) = (Skb(skb), clock(skb));
    let Some(scratch) = open(&packet) else { return refuse(skb, &maps, HOOK_TO_POD) };
    let verdict = pipeline::to_pod(&mut packet, &maps, scratch);
    act(skb, &maps, HOOK_TO_POD, verdict)
}

#[classifier]
pub fn from_uplink(ctx: TcContext) -> i32 {
    let skb = ctx.skb.skb;
    let (mut packet, maps) = (Skb(skb), clock(skb));
    let Some(scratch) = open(&packet) else { return refuse(skb, &maps, HOOK_FROM_UPLINK) };
    let verdict = pipeline::from_uplink(&mut packet, &maps, scratch);
    act(skb, &maps, HOOK_FROM_UPLINK, verdict)
}

#[classifier]
pub fn to_uplink(ctx: TcContext) -> i32 {
    let skb = ctx.skb.skb;
    let (mut packet, maps) = (Skb(skb), clock(skb));
    let Some(scratch) = open(&packet) else { return refuse(skb, &maps, HOOK_TO_UPLINK) };
    let verdict = pipeline::to_uplink(&mut packet, &maps, scratch);
    act(skb, &maps, HOOK_TO_UPLINK, verdict)
}

#[classifier]
pub fn from_overlay(ctx: TcContext) -> i32 {
    let skb = ctx.skb.skb;
    let (mut packet, maps) = (Skb(skb), clock(skb));
    // The inner frame is addressed to nobody in particular; from here on it is for this node.
    // SAFETY: the context is valid; the helper refuses types that it does not know.
    unsafe {
        if (*skb).pkt_type != PACKET_HOST {
            bpf_skb_change_type(skb, PACKET_HOST);
        }
    }
    let Some((node, vni)) = sender(skb).or_else(|| again::sender(skb)) else {
        event::forget();
        return drop(skb, &maps, HOOK_FROM_OVERLAY, Counter::DropOverlay);
    };
    let Some(scratch) = open(&packet) else { return refuse(skb, &maps, HOOK_FROM_OVERLAY) };
    let verdict = pipeline::from_overlay(&mut packet, &maps, scratch, &node, vni);
    act(skb, &maps, HOOK_FROM_OVERLAY, verdict)
}

#[classifier]
pub fn to_overlay(ctx: TcContext) -> i32 {
    let skb = ctx.skb.skb;
    let (mut packet, maps) = (Skb(skb), clock(skb));
    // What another program sent here has its key already.
    if !is_test_run() && sender(skb).is_some() {
        maps.count(Counter::Forwarded);
        return NEXT;
    }
    let Some(scratch) = open(&packet) else { return refuse(skb, &maps, HOOK_TO_OVERLAY) };
    let verdict = pipeline::to_overlay(&mut packet, &maps, scratch);
    act(skb, &maps, HOOK_TO_OVERLAY, verdict)
}

#[classifier]
pub fn empty(_ctx: TcContext) -> i32 {
    NEXT
}

/// The maps, with the clock of a test run.
#[inline(always)]
fn clock(skb: *mut __sk_buff) -> Maps {
    let given = word(skb, 0);
    Maps { now_s: if is_test_run() { given } else { 0 } }
}

/// A word of `skb->cb`: the inputs of a test run. Volatile, or the compiler reads one of two places through a computed address, which
/// the verifier does not allow for the context.
#[inline(always)]
pub fn word(skb: *mut __sk_buff, index: usize) -> u32 {
    // SAFETY: the context is valid for the whole program.
    unsafe { read_volatile(&raw const (*skb).cb[index]) }
}

#[inline(always)]
fn real_ifindex(skb: *mut __sk_buff) -> u32 {
    // SAFETY: the context is valid for the whole program.
    unsafe { read_volatile(&raw const (*skb).ifindex) }
}

/// Makes the headers readable and gives the working memory.
#[inline(always)]
fn open(packet: &Skb) -> Option<&'static mut Scratch> {
    if !packet.linear() {
        return None;
    }
    let scratch = SCRATCH.get_ptr_mut(0)?;
    // SAFETY: the element starts zeroed, which is a valid Scratch; only these programs write it, and each runs to its end on its CPU
    // before the next one starts there.
    let scratch = unsafe { &mut *scratch };
    // Until this packet is parsed, the tuple is not the one of the packet before.
    scratch.packet.tuple.proto = 0;
    Some(scratch)
}

/// Counts a drop and tells of it.
#[inline(always)]
fn drop(skb: *mut __sk_buff, maps: &Maps, hook: u8, reason: Counter) -> i32 {
    maps.count(reason);
    step_report(skb, event::what(EVENT_DROP, hook, reason as u32));
    TC_ACT_SHOT
}

/// A packet that could not be opened.
#[inline(always)]
fn refuse(skb: *mut __sk_buff, maps: &Maps, hook: u8) -> i32 {
    event::forget();
    drop(skb, maps, hook, Counter::DropKernel)
}

/// Does what the verdict says, and counts it. Counted in each arm, where the verdict is known: what it carries beside is undefined in the
/// others, which the verifier sees.
#[inline(always)]
fn act(skb: *mut __sk_buff, maps: &Maps, hook: u8, verdict: Verdict) -> i32 {
    // SAFETY: the context is valid; redirect helpers only note what the kernel does after the program.
    unsafe {
        match verdict {
            Verdict::Pass => {
                maps.count(verdict.counter());
                note(skb, 0, 0, 0, 0, NEXT)
            }
            Verdict::Drop(reason) => {
                let code = drop(skb, maps, hook, reason);
                note(skb, 1, reason as u32, 0, 0, code)
            }
            Verdict::Peer { ifindex } => {
                maps.count(verdict.counter());
                note(skb, 2, ifindex, 0, 0, bpf_redirect_peer(ifindex, 0) as i32)
            }
            Verdict::Redirect { ifindex } => {
                maps.count(verdict.counter());
                note(skb, 6, ifindex, 0, 0, bpf_redirect(ifindex, 0) as i32)
            }
            Verdict::Neigh { ifindex } => {
                maps.count(verdict.counter());
                note(skb, 3, ifindex, 0, 0, bpf_redirect_neigh(ifindex, core::ptr::null_mut(), 0, 0) as i32)
            }
            Verdict::Tunnel { ifindex, node, vni } => {
                if !set_key(skb, &node, vni) {
                    return drop(skb, maps, hook, Counter::DropKernel);
                }
                maps.count(verdict.counter());
                note(skb, 4, ifindex, node.0[3], vni, bpf_redirect(ifindex, 0) as i32)
            }
            Verdict::Key { node, vni } => {
                if !set_key(skb, &node, vni) {
                    return drop(skb, maps, hook, Counter::DropKernel);
                }
                maps.count(verdict.counter());
                note(skb, 5, 0, node.0[3], vni, NEXT)
            }
            Verdict::Hold => {
                maps.count(verdict.counter());
                note(skb, 7, 0, 0, 0, TC_ACT_SHOT)
            }
            Verdict::Answer { ifindex } => {
                maps.count(verdict.counter());
                note(skb, 8, ifindex, 0, 0, bpf_redirect(ifindex, 0) as i32)
            }
        }
    }
}

/// Leaves the verdict where the differential test reads it.
#[inline(always)]
unsafe fn note(skb: *mut __sk_buff, verdict: u32, a: u32, b: u32, c: u32, code: i32) -> i32 {
    if is_test_run() {
        // SAFETY: the context is valid, and `cb` is the program's to use. Volatile, or the zeroes become a memset of the context.
        unsafe {
            write_volatile(&raw mut (*skb).cb[0], verdict);
            write_volatile(&raw mut (*skb).cb[1], a);
            write_volatile(&raw mut (*skb).cb[2], b);
            write_volatile(&raw mut (*skb).cb[3], c);
        }
        return if code == NEXT { TC_ACT_OK } else { code };
    }
    code
}

/// Sets the outer destination.
#[inline(always)]
fn set_key(skb: *mut __sk_buff, node: &Addr, vni: u32) -> bool {
    // SAFETY: all zero is a valid key; the helper copies it.
    unsafe {
        let mut key: bpf_tunnel_key = core::mem::zeroed();
        key.tunnel_id = vni;
        key.tunnel_ttl = TUNNEL_TTL;
        // What is inside has checksums of its own (RFC 6935 section 5, RFC 6936 section 4.1, for IPv6).
        let mut flags = BPF_F_ZERO_CSUM_TX as u64;
        if node.is_v4() {
            key.__bindgen_anon_1.remote_ipv4 = u32::from_be(node.0[3]);
        } else {
            key.__bindgen_anon_1.remote_ipv6 = node.0;
            flags |= BPF_F_TUNINFO_IPV6 as u64;
        }
        bpf_skb_set_tunnel_key(skb, &raw mut key, size_of::<bpf_tunnel_key>() as u32, flags) == 0
    }
}

/// Who sent a packet through the tunnel, and its VNI; `None` if it has no tunnel metadata.
#[inline(always)]
fn sender(skb: *mut __sk_buff) -> Option<(Addr, u32)> {
    // SAFETY: all zero is a valid key; the helper fills it.
    unsafe {
        if is_test_run() {
            return Some((Addr([0, 0, 0xffff_u32.to_be(), word(skb, 1)]), word(skb, 2)));
        }
        let mut key: bpf_tunnel_key = core::mem::zeroed();
        let size = size_of::<bpf_tunnel_key>() as u32;
        if bpf_skb_get_tunnel_key(skb, &raw mut key, size, 0) == 0 {
            return Some((Addr::v4(key.__bindgen_anon_1.remote_ipv4.to_be_bytes()), key.tunnel_id));
        }
        if bpf_skb_get_tunnel_key(skb, &raw mut key, size, BPF_F_TUNINFO_IPV6 as u64) == 0 {
            return Some((Addr(key.__bindgen_anon_1.remote_ipv6), key.tunnel_id));
        }
        None
    }
}
