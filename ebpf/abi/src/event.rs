//! What the programs tell user space as it happens.

use crate::{Addr, Be16, FlowKey};

/// Bytes of [`crate::map::EVENTS`] (RINGBUF): about 9,000 records.
pub const EVENTS_BYTES: u32 = 1 << 20;
/// Gates before it, one for each `EVENT_*`, so that a storm of one kind does not hide the other.
pub const GATES: u32 = 4;

/// A packet was dropped, or a call refused, for [`Event::reason`].
pub const EVENT_DROP: u8 = 1;
/// A translated flow or connection began.
pub const EVENT_FLOW: u8 = 2;

/// [`Event::hook`]: the programs of [`crate::program`] in the order of its list.
pub const HOOK_FROM_POD: u8 = 1;
pub const HOOK_TO_POD: u8 = 2;
pub const HOOK_FROM_UPLINK: u8 = 3;
pub const HOOK_TO_UPLINK: u8 = 4;
pub const HOOK_FROM_OVERLAY: u8 = 5;
pub const HOOK_TO_OVERLAY: u8 = 6;
pub const HOOK_CONNECT: u8 = 7;
pub const HOOK_SENDMSG: u8 = 8;
pub const HOOK_UPLINK: u8 = 9;

/// A record of [`crate::map::EVENTS`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// CLOCK_MONOTONIC.
    pub time_ns: u64,
    /// Cookie of the caller's network namespace at socket hooks, else 0.
    pub netns: u64,
    /// As the packet came in. All zero if it could not be parsed; at socket hooks the source is [`Addr::ANY`].
    pub tuple: FlowKey,
    /// Where a flow goes instead.
    pub to: Addr,
    pub to_port: Be16,
    /// `EVENT_*`.
    pub kind: u8,
    /// `HOOK_*`.
    pub hook: u8,
    /// [`crate::Counter`] of a drop.
    pub reason: u32,
    /// Interface of the hook, 0 at socket hooks.
    pub ifindex: u32,
    /// Length of the packet with its Ethernet header, 0 at socket hooks.
    pub bytes: u32,
    /// Backend id, 0 for none.
    pub backend: u32,
    /// [`crate::ServiceValue::id`], 0 if not known.
    pub service: u32,
    pub tcp_flags: u8,
    pub pad: [u8; 7],
}

/// Value of the gates (PERCPU_ARRAY): how many records this CPU may still write in this second.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gate {
    /// Coarse monotonic seconds.
    pub second: u32,
    pub left: u32,
}

const _: () = {
    assert!(size_of::<Event>() == 104);
    assert!(size_of::<Gate>() == 8);
};
