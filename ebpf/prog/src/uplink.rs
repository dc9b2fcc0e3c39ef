//! The XDP hook of the uplink. See `packet::uplink`.

use core::mem::size_of;

use abi::{
    Addr, Config, Counter, IPPROTO_UDP, UplinkRun,
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
    Buffer as _, Scratch, Steps, Tables as _,
    parse::{self, ETH_IPV4, L3},
    pipeline::{self, First, Origin},
    uplink::{self, Wire},
    verdict::Fate,
    vxlan::{self, OUTER_V4},
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
/// Of the measurements: the frame before each run.
#[map]
static UPLINK_FRAME: Array<Image> = Array::with_max_entries(1, 0);

/// A frame to be made again.
#[repr(C)]
pub struct Image {
    /// Its first bytes, in which all headers are.
    head: [[u32; 8]; 4],
    /// Its length.
    bytes: u32,
    /// 0 if all packets are of one flow.
    flows: u32,
}

/// Not for frames of several pages: a driver whose frames are larger refuses it, and takes [`uplink_frags`].
#[xdp]
pub fn uplink(ctx: XdpContext) -> u32 {
    run(ctx.ctx)
}

/// The same where frames may have several pages. Headers are in the first, which is all that is looked at.
#[xdp(frags)]
pub fn uplink_frags(ctx: XdpContext) -> u32 {
    run(ctx.ctx)
}

/// Measured in place of [`uplink`]: each run makes the packet one of another flow, sends it on and makes it again what it was, so that one
/// buffer serves any number of runs.
#[xdp]
pub fn uplink_bench(ctx: XdpContext) -> u32 {
    if uplink_next(ctx.ctx) == 0 {
        return xdp_action::XDP_ABORTED;
    }
    let action = run(ctx.ctx);
    if action == xdp_action::XDP_TX && uplink_restore(ctx.ctx) == 0 {
        return xdp_action::XDP_ABORTED;
    }
    action
}

/// What [`uplink_bench`] does around it, to be taken off.
#[xdp]
pub fn uplink_base(ctx: XdpContext) -> u32 {
    let done = uplink_next(ctx.ctx) != 0
        && Wire::push(&mut Xdp::new(ctx.ctx), OUTER_V4).is_some()
        && uplink_restore(ctx.ctx) != 0;
    if done { xdp_action::XDP_TX } else { xdp_action::XDP_ABORTED }
}

/// Makes the packet one of the next flow, of its family, if there are several.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn uplink_next(ctx: *mut xdp_md) -> u32 {
    let (Some(image), mut frame) = (UPLINK_FRAME.get(0), Xdp::new(ctx)) else { return 0 };
    if image.flows == 0 {
        return 1;
    }
    if frame.half(12) == Some(ETH_IPV4) {
        return balance::next_flow(&mut frame).is_some() as u32;
    }
    let Some(flow) = balance::next_number() else { return 0 };
    // The last word of the source address, and its port.
    let named = frame.set_word(L3 + 20, flow.to_be()).is_some() && frame.set_half(L3 + 40, flow as u16).is_some();
    named as u32
}

/// Makes the packet again what the client sent, but for what [`uplink_next`] writes.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn uplink_restore(ctx: *mut xdp_md) -> u32 {
    let (Some(image), mut frame) = (UPLINK_FRAME.get(0), Xdp::new(ctx)) else { return 0 };
    let surplus = (frame.size() as u32).wrapping_sub(image.bytes) as i32;
    // SAFETY: the context is valid for the whole program; the helper checks the room.
    if surplus != 0 && unsafe { bpf_xdp_adjust_head(ctx, surplus) } != 0 {
        return 0;
    }
    let [a, b, c, d] = image.head;
    let restored = frame.set_words(0, a).is_some()
        && frame.set_words(32, b).is_some()
        && frame.set_words(64, c).is_some()
        && frame.set_words(96, d).is_some();
    restored as u32
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
extern "C" fn wire_wrap(ctx: *mut xdp_md, vni: u32, bytes: usize) -> u32 {
    let (Some(s), Some(config)) = (borrowed(), (Maps { now_s: 0 }).config()) else { return 0 };
    vxlan::write(&mut Xdp::new(ctx), config, s, vni, bytes).is_some() as u32
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
    fn view_inner(&mut self, s: &mut Scratch) {
        // Read again, so that to the verifier it is any number: with each of the two it would follow all of what comes after.
        lend(s);
        self.from = s.outer;
    }

    #[inline(always)]
    fn view_all(&mut self) {
        self.from = 0;
    }

    #[inline(always)]
    fn push(&mut self, bytes: usize) -> Option<()> {
        // SAFETY: the context is valid for the whole program; the helper checks the room.
        if unsafe { bpf_xdp_adjust_head(self.ctx, (bytes as i32).wrapping_neg()) } == 0 { Some(()) } else { None }
    }

    #[inline(always)]
    fn pull(&mut self, bytes: usize) -> Option<()> {
        // SAFETY: as in `push`.
        if unsafe { bpf_xdp_adjust_head(self.ctx, bytes as i32) } == 0 { Some(()) } else { None }
    }

    #[inline(always)]
    fn wrap(&mut self, _cfg: &Config, s: &mut Scratch, vni: u32, bytes: usize) -> bool {
        lend(s);
        wire_wrap(self.ctx, vni, bytes) != 0
    }

    #[inline(always)]
    fn next_hop(&mut self, s: &mut Scratch) -> bool {
        lend(s);
        wire_next_hop(self.ctx) != 0
    }
}
