//! The steps that are functions of their own. They are global, so the verifier takes each by itself, for any arguments.
//!
//! Each finds the working memory in its map by itself: a function's argument may be plain memory only, and kernels before 6.4 take
//! no key of a map from there.

use core::arch::asm;

use abi::{
    FlowKey,
    event::{EVENT_FLOW, HOOK_FROM_OVERLAY, HOOK_FROM_POD, HOOK_FROM_UPLINK, HOOK_TO_UPLINK},
    flow::FlowRecord,
    rate_index,
};
use aya_ebpf::bindings::__sk_buff;
use packet::{
    Flow, Scratch, Steps, bandwidth,
    conntrack::{self, Attempt},
    flows::{self, Made},
    fragment::{self, Ports, Waiting},
    icmp, parse,
    pipeline::{self, First, Origin},
    policy::{self, Direction},
};

use crate::{again, event, maps::SCRATCH, skb::Skb, tables::Maps};

/// Lends the working memory to the next step: the compiler must take it for changed by that.
#[inline(always)]
pub fn lend(s: &mut Scratch) {
    // SAFETY: copies a register to itself. That the address is seen here is what counts.
    unsafe { asm!("{0} = {0}", in(reg) &raw mut *s, options(nostack, preserves_flags)) };
}

/// The working memory that a caller lent.
#[inline(always)]
pub fn borrowed<'a>() -> Option<&'a mut Scratch> {
    let scratch = SCRATCH.get_ptr_mut(0)?;
    // SAFETY: as in `tc::open`; the callers below hold it exclusively, and leave it alone until the step returns.
    Some(unsafe { &mut *scratch })
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn step_parse(skb: *mut __sk_buff) -> u32 {
    let Some(s) = borrowed() else { return 0 };
    parse::parse(&Skb(skb), s) as u32
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn step_error(skb: *mut __sk_buff) -> u32 {
    let Some(s) = borrowed() else { return 0 };
    // An error refreshes nothing, so it needs no clock.
    icmp::error(&mut Skb(skb), &Maps { now_s: 0 }, s) as u32
}

/// A fragment's ports; `at` as in [`abi::FragmentKey`].
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn step_ports(skb: *mut __sk_buff, at: u32, now_s: u32) -> u32 {
    let Some(s) = borrowed() else { return 1 };
    match fragment::ports(&mut Skb(skb), &Maps { now_s }, s, at) {
        Ports::Known => 0,
        Ports::Unknown => 1,
        Ports::Lost => 2,
    }
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn step_hold(skb: *mut __sk_buff, now_s: u32) -> u32 {
    let Some(s) = borrowed() else { return 2 };
    match fragment::hold(&mut Skb(skb), &Maps { now_s }, s) {
        Waiting::Held => 0,
        Waiting::Known => 1,
        Waiting::Refused => 2,
    }
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn hold_take(slot: u32, now_s: u32) -> u32 {
    let Some(s) = borrowed() else { return 0 };
    fragment::take(&Maps { now_s }, s, slot, now_s) as u32
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn step_rewrite(skb: *mut __sk_buff) -> u32 {
    let Some(s) = borrowed() else { return 0 };
    pipeline::rewrite(&mut Skb(skb), &Maps { now_s: 0 }, s) as u32
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn step_choose(origin: u32, now_s: u32) -> u32 {
    let Some(s) = borrowed() else { return 3 };
    let origin = match origin {
        0 => Origin::Pod,
        1 => Origin::Uplink,
        2 => Origin::Overlay,
        3 => Origin::Stack,
        _ => Origin::Direct,
    };
    number(pipeline::choose(&Maps { now_s }, s, origin))
}

/// Tells user space of the packet in hand; `what` is of [`event::what`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn step_report(skb: *mut __sk_buff, what: u32) -> u32 {
    event::packet(skb, what) as u32
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn step_judge(direction: u32, now_s: u32) -> u32 {
    let Some(s) = borrowed() else { return 0 };
    let direction = if direction == 0 { Direction::Ingress } else { Direction::Egress };
    policy::judge(&Maps { now_s }, s, direction) as u32
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn step_pay(skb: *mut __sk_buff, index: u32, now_s: u32) -> u32 {
    bandwidth::admit(&Skb(skb), &Maps { now_s }, index >> 1, index & 1 != 0) as u32
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn step_open(now_s: u32) -> u32 {
    let Some(s) = borrowed() else { return 3 };
    number(pipeline::open(&Maps { now_s }, s))
}

/// [`pipeline::open`].
#[inline(always)]
pub fn open(t: &Maps, s: &mut Scratch) -> First {
    lend(s);
    first(step_open(t.now_s))
}

/// A step's answer as a number, and back.
#[inline(always)]
pub fn number(first: First) -> u32 {
    match first {
        First::Translate => 0,
        First::Plain => 1,
        First::Pass => 2,
        First::Drop => 3,
    }
}

/// As above.
#[inline(always)]
pub fn first(number: u32) -> First {
    match number {
        0 => First::Translate,
        1 => First::Plain,
        2 => First::Pass,
        _ => First::Drop,
    }
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn step_attempt(number: u32, now_s: u32) -> u32 {
    let Some(s) = borrowed() else { return 2 };
    match conntrack::attempt(&Maps { now_s }, s, number, now_s) {
        Attempt::Done => 0,
        Attempt::Next => 1,
        Attempt::Refused => 2,
    }
}

/// [`conntrack::attempt`].
#[inline(always)]
pub fn attempt(s: &mut Scratch, number: u32, now_s: u32) -> Attempt {
    lend(s);
    match step_attempt(number, now_s) {
        0 => Attempt::Done,
        1 => Attempt::Next,
        _ => Attempt::Refused,
    }
}

/// Memory of a value as the verifier is to see it in a signature: so many bytes.
#[repr(C)]
pub struct KeyMemory([u32; size_of::<FlowKey>() / 4]);
/// As above.
#[repr(C)]
pub struct FlowMemory([u64; size_of::<Flow>().div_ceil(8)]);
/// As above.
#[repr(C)]
pub struct DraftMemory([u32; size_of::<FlowRecord>() / 4]);

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn flow_look(key: *const KeyMemory, found: *mut FlowMemory) -> u32 {
    // SAFETY: null, or references that [`look`] was given.
    let (key, found) = unsafe { (key.cast::<FlowKey>().as_ref(), found.cast::<Flow>().as_mut()) };
    let (Some(key), Some(found)) = (key, found) else { return 0 };
    flows::look(&Maps { now_s: 0 }, key, found) as u32
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn flow_read(entry: u64, key: *const KeyMemory, found: *mut FlowMemory) -> u32 {
    // SAFETY: null, or references that [`read`] was given.
    let (key, found) = unsafe { (key.cast::<FlowKey>().as_ref(), found.cast::<Flow>().as_mut()) };
    let (Some(key), Some(found)) = (key, found) else { return 0 };
    flows::read(&Maps { now_s: 0 }, entry, key, found) as u32
}

/// [`flows::read`].
#[inline(always)]
pub fn read(entry: u64, key: &FlowKey, found: &mut Flow) -> bool {
    flow_read(entry, (&raw const *key).cast(), (&raw mut *found).cast()) != 0
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn flow_make(draft: *const DraftMemory, now_s: u32) -> u32 {
    // SAFETY: null, or the reference that [`make`] was given.
    let Some(draft) = (unsafe { draft.cast::<FlowRecord>().as_ref() }) else { return 4 };
    match flows::make(&Maps { now_s }, draft, now_s) {
        Made::New => 0,
        Made::Replaced => 1,
        Made::Taken => 2,
        Made::Known => 3,
        Made::Full => 4,
    }
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn flow_end(number: u32, state: u64) -> u32 {
    flows::end(&Maps { now_s: 0 }, number, state) as u32
}

#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn flow_claim(hash: u64, class: u64, now_s: u32) -> u32 {
    flows::make::claim(&Maps { now_s }, hash, class, now_s)
}

#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn flow_claim_line(line: u32, class: u64, now_s: u32) -> u64 {
    flows::make::claim_line(&Maps { now_s }, line, class, now_s)
}

#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn flow_rank(state: u64, now_s: u32) -> u32 {
    flows::make::rank(state, now_s)
}

#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn flow_take(number: u32, old: u64, class: u64, now_s: u32) -> u32 {
    flows::make::take(&Maps { now_s }, number, old, class, now_s) as u32
}

#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn flow_publish(hash: u64, number: u32, way: u32) -> u32 {
    flows::make::publish(&Maps { now_s: 0 }, hash, number, way) as u32
}

#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn flow_is_alone(key: *const KeyMemory, number: u32, now_s: u32) -> u32 {
    // SAFETY: null, or a reference.
    let Some(key) = (unsafe { key.cast::<FlowKey>().as_ref() }) else { return 0 };
    flows::make::is_alone(&Maps { now_s }, key, number, now_s) as u32
}

#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn flow_gives_way(entry: u64, key: *const KeyMemory, number: u32, now_s: u32) -> u32 {
    // SAFETY: null, or a reference.
    let Some(key) = (unsafe { key.cast::<FlowKey>().as_ref() }) else { return 0 };
    flows::make::gives_way(&Maps { now_s }, entry, key, number, now_s) as u32
}

/// [`flows::look`].
#[inline(always)]
pub fn look(key: &FlowKey, found: &mut Flow) -> bool {
    flow_look((&raw const *key).cast(), (&raw mut *found).cast()) != 0
}

/// [`flows::make`].
#[inline(always)]
pub fn make(draft: &FlowRecord, now_s: u32) -> Made {
    match flow_make((&raw const *draft).cast(), now_s) {
        0 => Made::New,
        1 => Made::Replaced,
        2 => Made::Taken,
        3 => Made::Known,
        _ => Made::Full,
    }
}

/// [`flows::end`].
#[inline(always)]
pub fn end(number: u32, state: u64) -> bool {
    flow_end(number, state) != 0
}

impl Steps<Maps> for Skb {
    #[inline(always)]
    fn parse(&mut self, s: &mut Scratch) -> bool {
        lend(s);
        step_parse(self.0) != 0
    }

    #[inline(always)]
    fn ports(&mut self, t: &Maps, s: &mut Scratch, at: u32) -> Ports {
        lend(s);
        match step_ports(self.0, at, t.now_s) {
            0 => Ports::Known,
            2 => Ports::Lost,
            _ => Ports::Unknown,
        }
    }

    #[inline(always)]
    fn hold(&mut self, t: &Maps, s: &mut Scratch) -> Waiting {
        lend(s);
        match step_hold(self.0, t.now_s) {
            0 => Waiting::Held,
            1 => Waiting::Known,
            _ => Waiting::Refused,
        }
    }

    #[inline(always)]
    fn take(&mut self, _t: &Maps, s: &mut Scratch, slot: u32, now_s: u32) -> bool {
        lend(s);
        hold_take(slot, now_s) != 0
    }

    #[inline(always)]
    fn is_local(&mut self, _t: &Maps, s: &mut Scratch) -> bool {
        lend(s);
        again::step_is_local(self.0) != 0
    }

    #[inline(always)]
    fn keep(&mut self, _t: &Maps, slot: u32) -> bool {
        again::hold_keep(self.0, slot) != 0
    }

    #[inline(always)]
    fn set_aside(&mut self) -> bool {
        again::hold_aside(self.0) != 0
    }

    #[inline(always)]
    fn send_again(&mut self, _t: &Maps, slot: u32) -> bool {
        again::hold_send(self.0, slot) != 0
    }

    #[inline(always)]
    fn put_back(&mut self) -> bool {
        again::hold_back(self.0) != 0
    }

    #[inline(always)]
    fn error(&mut self, _t: &Maps, s: &mut Scratch) -> bool {
        lend(s);
        step_error(self.0) != 0
    }

    #[inline(always)]
    fn rewrite(&mut self, _t: &Maps, s: &mut Scratch) -> bool {
        lend(s);
        step_rewrite(self.0) != 0
    }

    #[inline(always)]
    fn choose(&mut self, t: &Maps, s: &mut Scratch, origin: Origin) -> First {
        let origin = match origin {
            Origin::Pod => 0,
            Origin::Uplink => 1,
            Origin::Overlay => 2,
            Origin::Stack => 3,
            Origin::Direct => 4,
        };
        lend(s);
        first(step_choose(origin, t.now_s))
    }

    #[inline(always)]
    fn open(&mut self, t: &Maps, s: &mut Scratch, origin: Origin) -> First {
        let hook = match origin {
            Origin::Pod => HOOK_FROM_POD,
            Origin::Uplink => HOOK_FROM_UPLINK,
            Origin::Overlay | Origin::Direct => HOOK_FROM_OVERLAY,
            Origin::Stack => HOOK_TO_UPLINK,
        };
        let opened = open(t, s);
        if opened == First::Translate {
            step_report(self.0, event::what(EVENT_FLOW, hook, 0));
        }
        opened
    }

    #[inline(always)]
    fn pay(&mut self, t: &Maps, seat: u32, egress: bool) -> bool {
        step_pay(self.0, rate_index(seat, egress), t.now_s) != 0
    }

    #[inline(always)]
    fn judge(&mut self, t: &Maps, s: &mut Scratch, direction: Direction) -> bool {
        let direction = match direction {
            Direction::Ingress => 0,
            Direction::Egress => 1,
        };
        lend(s);
        step_judge(direction, t.now_s) != 0
    }
}
