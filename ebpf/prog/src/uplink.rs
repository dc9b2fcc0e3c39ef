//! The XDP hook of the uplink. See `packet::uplink`.

use core::mem::size_of;

use abi::{
    Addr, Counter, IPPROTO_UDP, UplinkRun,
    event::{EVENT_DROP, EVENT_FLOW, HOOK_UPLINK},
};
use aya_ebpf::{
    bindings::{bpf_fib_lookup, xdp_action, xdp_md},
    helpers::{bpf_fib_lookup as look_up, bpf_xdp_adjust_head, bpf_xdp_get_buff_len},
    macros::{map, xdp},
    maps::Array,
    programs::XdpContext,
};
use packet::{
    Buffer as _, Scratch, Steps, Tables as _, nat,
    parse::{self, L3},
    pipeline::{self, First, Origin},
    uplink::{self, Wire},
    verdict::Fate,
    vxlan::OUTER,
};

use crate::{
    balance, event, is_test_run,
    maps::SCRATCH,
    steps::{borrowed, first, lend, number, open},
    tables::Maps,
    xdp::Xdp,
};

/// AF_INET and AF_INET6 (include/linux/socket.h).
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

#[map]
static UPLINK_RUN: Array<UplinkRun> = Array::with_max_entries(1, 0);

/// Not for frames of several pages: in the stack (6.18) such programs get a copy of the packet, of which tcx then sees no headers. A driver whose
/// frames are larger refuses this one, and tcx has them all.
#[xdp]
pub fn uplink(ctx: XdpContext) -> u32 {
    run(ctx.ctx)
}

/// Measured in place of [`uplink`]: each run makes the packet one of another flow, sends it on and takes the outer headers off, so that
/// one buffer serves any number of runs.
#[xdp]
pub fn uplink_bench(ctx: XdpContext) -> u32 {
    let mut frame = Xdp::new(ctx.ctx);
    if balance::next_flow(&mut frame).is_none() {
        return xdp_action::XDP_ABORTED;
    }
    let action = run(ctx.ctx);
    if action == xdp_action::XDP_TX && undo(&mut frame).is_none() {
        return xdp_action::XDP_ABORTED;
    }
    action
}

/// What [`uplink_bench`] does around it, to be taken off.
#[xdp]
pub fn uplink_base(ctx: XdpContext) -> u32 {
    let mut frame = Xdp::new(ctx.ctx);
    let done =
        balance::next_flow(&mut frame).is_some() && Wire::push(&mut frame).is_some() && undo(&mut frame).is_some();
    if done { xdp_action::XDP_TX } else { xdp_action::XDP_ABORTED }
}

/// Makes the packet again what the client sent, but for what [`balance::next_flow`] writes.
#[inline(always)]
fn undo(frame: &mut Xdp) -> Option<()> {
    let mac = Maps { now_s: 0 }.config()?.uplink_mac;
    frame.pull()?;
    nat::ethernet(frame, mac, [2, 0, 0, 0, 0, 1])?;
    frame.set_byte(L3 + 8, 64)?;
    frame.set_half(L3 + 22, 80_u16.to_be())
}

#[inline(always)]
fn run(ctx: *mut xdp_md) -> u32 {
    let maps = Maps { now_s: given().map_or(0, |run| run.now_s) };
    let Some(scratch) = SCRATCH.get_ptr_mut(0) else { return xdp_action::XDP_PASS };
    // SAFETY: as in `tc::open`: this program, too, runs to its end on its CPU, with bottom halves off.
    let scratch = unsafe { &mut *scratch };
    scratch.packet.tuple.proto = 0;
    match uplink::uplink(&mut Xdp::new(ctx), &maps, scratch) {
        Fate::Pass => xdp_action::XDP_PASS,
        Fate::Send => xdp_action::XDP_TX,
        Fate::Drop(reason) => {
            maps.count(reason);
            note(reason);
            lend(scratch);
            wire_report(ctx, event::what(EVENT_DROP, HOOK_UPLINK, reason as u32));
            xdp_action::XDP_DROP
        }
    }
}

/// The inputs of a test run.
#[inline(always)]
fn given() -> Option<UplinkRun> {
    if is_test_run() { UPLINK_RUN.get(0).copied() } else { None }
}

/// Leaves the reason of a drop where the differential test reads it.
#[inline(always)]
fn note(reason: Counter) {
    if is_test_run()
        && let Some(run) = UPLINK_RUN.get_ptr_mut(0)
    {
        // SAFETY: test runs are one at a time.
        unsafe { (*run).reason = reason as u32 };
    }
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn wire_parse(ctx: *mut xdp_md, from: usize) -> u32 {
    let Some(s) = borrowed() else { return 0 };
    parse::parse(&Xdp { ctx, from }, s) as u32
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn wire_rewrite(ctx: *mut xdp_md, from: usize) -> u32 {
    let Some(s) = borrowed() else { return 0 };
    pipeline::rewrite(&mut Xdp { ctx, from }, &Maps { now_s: 0 }, s) as u32
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn wire_choose(now_s: u32) -> u32 {
    let Some(s) = borrowed() else { return 3 };
    number(pipeline::choose(&Maps { now_s }, s, Origin::Uplink))
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn wire_report(ctx: *mut xdp_md, what: u32) -> u32 {
    let now_s = given().map_or_else(event::now_s, |run| run.now_s);
    // SAFETY: the context is valid for the whole program.
    let (ifindex, bytes) = unsafe { ((*ctx).ingress_ifindex, bpf_xdp_get_buff_len(ctx) as u32) };
    event::tell(what, now_s, ifindex, bytes) as u32
}

/// Asks the kernel's routes; the question and the answer are in the working memory.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn wire_next_hop(ctx: *mut xdp_md) -> u32 {
    let Some(s) = borrowed() else { return 0 };
    if let Some(run) = given() {
        (s.next_hop.to, s.next_hop.from) = (run.to, run.from);
        return run.reachable;
    }
    let Some(config) = (Maps { now_s: 0 }).config() else { return 0 };
    let (hop, uplink) = (&mut s.next_hop, config.uplink_ifindex);
    if hop.bytes > u16::MAX as usize {
        return 0;
    }
    // SAFETY: all zero is a valid question; the helper reads and writes it; the context is valid for the whole program.
    unsafe {
        let mut question: bpf_fib_lookup = core::mem::zeroed();
        question.l4_protocol = IPPROTO_UDP;
        question.__bindgen_anon_1.tot_len = hop.bytes as u16;
        question.ifindex = uplink;
        if hop.dst.is_v4() {
            question.family = AF_INET;
            question.__bindgen_anon_3.ipv4_src = v4(&hop.src);
            question.__bindgen_anon_4.ipv4_dst = v4(&hop.dst);
        } else {
            question.family = AF_INET6;
            question.__bindgen_anon_3.ipv6_src = hop.src.0;
            question.__bindgen_anon_4.ipv6_dst = hop.dst.0;
        }
        let size = size_of::<bpf_fib_lookup>() as i32;
        // Anything but 0 (BPF_FIB_LKUP_RET_SUCCESS) says why it cannot be sent from here.
        if look_up(ctx.cast(), &raw mut question, size, 0) != 0 || question.ifindex != uplink {
            return 0;
        }
        (hop.to, hop.from) = (question.dmac, question.smac);
    }
    1
}

#[inline(always)]
fn v4(addr: &Addr) -> u32 {
    addr.0[3]
}

impl Steps<Maps> for Xdp {
    #[inline(always)]
    fn parse(&mut self, s: &mut Scratch) -> bool {
        lend(s);
        wire_parse(self.ctx, self.from) != 0
    }

    #[inline(always)]
    fn rewrite(&mut self, _t: &Maps, s: &mut Scratch) -> bool {
        lend(s);
        wire_rewrite(self.ctx, self.from) != 0
    }

    // Fragments, and what is for no port of a Service, pass from here to tcx.
    #[inline(always)]
    fn is_local(&mut self, _t: &Maps, _s: &mut Scratch) -> bool {
        false
    }

    #[inline(always)]
    fn keep(&mut self, _t: &Maps, _slot: u32) -> bool {
        false
    }

    #[inline(always)]
    fn set_aside(&mut self) -> bool {
        false
    }

    #[inline(always)]
    fn send_again(&mut self, _t: &Maps, _slot: u32) -> bool {
        false
    }

    #[inline(always)]
    fn put_back(&mut self) -> bool {
        false
    }

    #[inline(always)]
    fn choose(&mut self, t: &Maps, s: &mut Scratch, _origin: Origin) -> First {
        lend(s);
        first(wire_choose(t.now_s))
    }

    #[inline(always)]
    fn open(&mut self, t: &Maps, s: &mut Scratch, _origin: Origin) -> First {
        let opened = open(t, s);
        if opened == First::Translate {
            wire_report(self.ctx, event::what(EVENT_FLOW, HOOK_UPLINK, 0));
        }
        opened
    }
}

impl Wire<Maps> for Xdp {
    #[inline(always)]
    fn view(&mut self, from: usize) {
        self.from = from;
    }

    #[inline(always)]
    fn push(&mut self) -> Option<()> {
        // SAFETY: the context is valid for the whole program; the helper checks the room.
        if unsafe { bpf_xdp_adjust_head(self.ctx, -(OUTER as i32)) } == 0 { Some(()) } else { None }
    }

    #[inline(always)]
    fn pull(&mut self) -> Option<()> {
        // SAFETY: as in `push`.
        if unsafe { bpf_xdp_adjust_head(self.ctx, OUTER as i32) } == 0 { Some(()) } else { None }
    }

    #[inline(always)]
    fn next_hop(&mut self, s: &mut Scratch) -> bool {
        lend(s);
        wire_next_hop(self.ctx) != 0
    }
}
