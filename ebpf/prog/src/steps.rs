//! The steps that are functions of their own. They are global, so the verifier takes each by itself, for any arguments.
//!
//! Each finds the working memory in its map by itself: a function's argument may be plain memory only, and kernels before 6.4 take
//! no key of a map from there.

use core::arch::asm;

use abi::event::{EVENT_FLOW, HOOK_FROM_OVERLAY, HOOK_FROM_POD, HOOK_FROM_UPLINK, HOOK_TO_UPLINK};
use aya_ebpf::bindings::__sk_buff;
use packet::{
    Scratch, Steps, icmp, nat, parse,
    pipeline::{self, First, Origin},
    policy::{self, Direction},
};

use crate::{event, maps::SCRATCH, skb::Skb, tables::Maps};

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

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn step_rewrite(skb: *mut __sk_buff) -> u32 {
    let Some(s) = borrowed() else { return 0 };
    nat::rewrite(&mut Skb(skb), &s.packet, &s.to).is_some() as u32
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn step_first(origin: u32, now_s: u32) -> u32 {
    let Some(s) = borrowed() else { return 3 };
    let origin = match origin {
        0 => Origin::Pod,
        1 => Origin::Uplink,
        2 => Origin::Overlay,
        4 => Origin::Direct,
        _ => Origin::Stack,
    };
    match pipeline::first(&Maps { now_s }, s, origin) {
        First::Translate => 0,
        First::Plain => 1,
        First::Pass => 2,
        First::Drop => 3,
    }
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

impl Steps<Maps> for Skb {
    #[inline(always)]
    fn parse(&mut self, s: &mut Scratch) -> bool {
        lend(s);
        step_parse(self.0) != 0
    }

    #[inline(always)]
    fn error(&mut self, _t: &Maps, s: &mut Scratch) -> bool {
        lend(s);
        step_error(self.0) != 0
    }

    #[inline(always)]
    fn rewrite(&mut self, s: &mut Scratch) -> bool {
        lend(s);
        step_rewrite(self.0) != 0
    }

    #[inline(always)]
    fn first(&mut self, t: &Maps, s: &mut Scratch, origin: Origin) -> First {
        let (origin, hook) = match origin {
            Origin::Pod => (0, HOOK_FROM_POD),
            Origin::Uplink => (1, HOOK_FROM_UPLINK),
            Origin::Overlay => (2, HOOK_FROM_OVERLAY),
            Origin::Direct => (4, HOOK_FROM_OVERLAY),
            Origin::Stack => (3, HOOK_TO_UPLINK),
        };
        lend(s);
        match step_first(origin, t.now_s) {
            0 => {
                step_report(self.0, event::what(EVENT_FLOW, hook, 0));
                First::Translate
            }
            1 => First::Plain,
            2 => First::Pass,
            _ => First::Drop,
        }
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
