//! Events: a record for user space, if the gate lets it through.

use abi::{
    Counter, SocketEntry,
    event::{EVENT_DROP, EVENT_FLOW, Event, GATES as KINDS},
};
use aya_ebpf::{
    bindings::__sk_buff,
    helpers::{bpf_ktime_get_coarse_ns, bpf_ktime_get_ns},
    maps::ring_buf::RingBufEntry,
};
use packet::{
    Tables as _,
    socket::{Call, Caller},
};

use crate::{
    is_test_run,
    maps::{EVENTS, GATES, SCRATCH},
    tables::{Maps, seconds},
    tc::word,
};

/// Kind, hook and reason in one argument.
#[inline(always)]
pub const fn what(kind: u8, hook: u8, reason: u32) -> u32 {
    kind as u32 | (hook as u32) << 8 | reason << 16
}

/// The packet in hand was not parsed: its record is to have no tuple.
#[inline(always)]
pub fn forget() {
    if let Some(scratch) = SCRATCH.get_ptr_mut(0) {
        // SAFETY: as in `tc::open`.
        unsafe { (*scratch).packet.tuple.proto = 0 };
    }
}

/// Tells of the packet that this CPU's working memory describes.
#[inline(always)]
pub fn packet(skb: *mut __sk_buff, what: u32) -> bool {
    let now_s = if is_test_run() { word(skb, 0) } else { now_s() };
    // SAFETY: the context is valid for the whole program.
    let (ifindex, bytes) = unsafe { ((*skb).ifindex, (*skb).len) };
    tell(what, now_s, ifindex, bytes)
}

/// The same for a packet of so many bytes at an interface.
#[inline(always)]
pub fn tell(what: u32, now_s: u32, ifindex: u32, bytes: u32) -> bool {
    let Some(mut entry) = reserve(what, now_s) else { return false };
    let event: *mut Event = entry.as_mut_ptr();
    let Some(scratch) = SCRATCH.get_ptr_mut(0) else {
        entry.discard(0);
        return false;
    };
    // SAFETY: the record is this program's until it is submitted; the working memory is as in `tc::open`.
    unsafe {
        let scratch = &*scratch;
        (*event).ifindex = ifindex;
        (*event).bytes = bytes;
        if scratch.packet.tuple.proto != 0 {
            (*event).tuple = scratch.packet.tuple;
            (*event).tcp_flags = scratch.packet.tcp;
        }
        if what as u8 == EVENT_FLOW {
            (*event).to = scratch.to.dst;
            (*event).to_port = scratch.to.dport;
            (*event).backend = scratch.to.backend;
            if scratch.to.backend != 0 {
                (*event).service = scratch.service.id;
            }
        }
    }
    entry.submit(0);
    true
}

/// Tells of a socket call.
#[inline(always)]
pub fn call(what: u32, call: &Call, caller: &impl Caller, to: Option<&SocketEntry>) {
    let Some(mut entry) = reserve(what, now_s()) else { return };
    let event: *mut Event = entry.as_mut_ptr();
    // SAFETY: the record is this program's until it is submitted.
    unsafe {
        (*event).netns = caller.netns();
        (*event).tuple.dst = call.addr;
        (*event).tuple.dport = call.port;
        (*event).tuple.proto = call.proto;
        if let Some(to) = to {
            (*event).to = to.backend;
            (*event).to_port = to.backend_port;
            (*event).backend = to.backend_id;
        }
    }
    entry.submit(0);
}

#[inline(always)]
pub fn now_s() -> u32 {
    // SAFETY: the helper has no preconditions.
    seconds(unsafe { bpf_ktime_get_coarse_ns() })
}

/// A record with its head filled in and the rest zero, if this CPU may write one more in this second.
#[inline(always)]
fn reserve(what: u32, now_s: u32) -> Option<RingBufEntry<Event>> {
    let maps = Maps { now_s };
    let rate = maps.config()?.events_per_s;
    if rate == 0 {
        return None;
    }
    let gate = GATES.get_ptr_mut(what & 0xff)?;
    // SAFETY: the element is this CPU's own; a call that a packet interrupts may cost or give one record.
    unsafe {
        if (*gate).second != now_s {
            (*gate).second = now_s;
            (*gate).left = rate;
        }
        if (*gate).left == 0 {
            maps.count(Counter::EventSuppressed);
            return None;
        }
        (*gate).left -= 1;
    }
    let Some(mut entry) = EVENTS.reserve::<Event>(0) else {
        maps.count(Counter::EventLost);
        return None;
    };
    let event: *mut Event = entry.as_mut_ptr();
    // SAFETY: the record is this program's until it is submitted.
    unsafe {
        event.write(Event::default());
        (*event).time_ns = bpf_ktime_get_ns();
        (*event).kind = what as u8;
        (*event).hook = (what >> 8) as u8;
        (*event).reason = what >> 16;
    }
    Some(entry)
}

const _: () = assert!((EVENT_DROP as u32) < KINDS && (EVENT_FLOW as u32) < KINDS);
