//! What the layer-4 balancer (`gannet lb`) shares with user space.
//!
//! [`map::VIPS`] is an open-addressed table in an array that user space maps into its memory and writes without a
//! call: a reader probes [`PROBES`] rows from [`row_of`] on and stops at the first that was never used. A row becomes
//! valid with the store of its state byte, which comes last, and what may change in a live row ([`Vip::ring`]) is one
//! aligned word, so that no reader sees half a change.

use crate::{Addr, Be16};

/// Names of the maps.
pub mod map {
    pub const CONFIG: &str = "LB_CONFIG";
    pub const VIPS: &str = "LB_VIPS";
    pub const SLOTS: &str = "LB_SLOTS";
    pub const BACKENDS: &str = "LB_BACKENDS";
    pub const CHANGED: &str = "LB_CHANGED";
    pub const FLOWS: &str = "LB_FLOWS";
    pub const FRAGMENTS: &str = "LB_FRAGMENTS";
    pub const GATES: &str = "LB_GATES";
    pub const TRAFFIC: &str = "LB_TRAFFIC";
    /// All of them, for a loader that needs none.
    pub const ALL: [&str; 9] = [CONFIG, VIPS, SLOTS, BACKENDS, CHANGED, FLOWS, FRAGMENTS, GATES, TRAFFIC];
}

/// The XDP program.
pub const PROGRAM: &str = "balance";
/// The same for frames of several pages.
pub const PROGRAM_FRAGS: &str = "balance_frags";

/// Rows of [`map::VIPS`] (ARRAY, mapped); a power of two, so that 10,000 addresses fill a third.
pub const MAX_ROWS: u32 = 32_768;
/// Rows that a reader looks at.
pub const PROBES: u32 = 8;
/// Elements of [`map::SLOTS`] (ARRAY, mapped) unless the loader asks for more. Each holds [`SLOTS_AN_ELEMENT`] slots,
/// because the elements of a mapped array are multiples of eight bytes.
pub const MAX_SLOTS: u32 = 131_072;
/// Slots of one element.
pub const SLOTS_AN_ELEMENT: u32 = 2;
/// Elements of [`map::BACKENDS`] (ARRAY, mapped); index 0 is never a backend, and a slot has 16 bits for one.
pub const MAX_BACKENDS: u32 = 65_536;
/// Elements of [`map::CHANGED`] and [`map::TRAFFIC`]: the numbers of virtual addresses.
pub const MAX_VIPS: u32 = 16_384;
/// Entries of [`map::FLOWS`] (LRU_HASH) unless the loader asks for more.
pub const MAX_FLOWS: u32 = 65_536;
/// Entries of [`map::FRAGMENTS`] (LRU_HASH).
pub const MAX_FRAGMENTS: u32 = 16_384;

/// One virtual address and port; a row of [`map::VIPS`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Vip {
    pub addr: Addr,
    pub port: Be16,
    pub proto: u8,
    /// `VIP_*` bits; 0: never used.
    pub state: u8,
    /// Index into [`map::CHANGED`] and [`map::TRAFFIC`].
    pub number: u32,
    /// Slots `low half .. low half + high half` of [`map::SLOTS`].
    pub ring: u64,
}

/// The row was used once; probing goes on.
pub const VIP_USED: u8 = 1;
/// The row is valid.
pub const VIP_LIVE: u8 = 2;
/// The client's port does not choose the backend (session affinity).
pub const VIP_BY_CLIENT: u8 = 4;

impl Vip {
    /// [`Vip::ring`] of `len` slots from `base` on.
    #[inline(always)]
    pub const fn pack_ring(base: u32, len: u32) -> u64 {
        base as u64 | (len as u64) << 32
    }
}

/// First row to probe for an address and port.
#[inline(always)]
pub fn row_of(addr: &Addr, port: Be16, proto: u8) -> u32 {
    let words = &addr.0;
    let low = words[2] as u64 ^ (words[3] as u64) << 32;
    let high = words[0] as u64 ^ (words[1] as u64) << 32;
    let mixed = (low ^ (port.0 as u64) << 8 ^ proto as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)
        ^ high.wrapping_mul(0xc2b2_ae3d_27d4_eb4f);
    ((mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 40) as u32
}

/// A slot of a ring: the backend that new flows take, and the one that flows from before the last change have; 0
/// for none.
#[inline(always)]
pub const fn slot(current: u16, previous: u16) -> u32 {
    current as u32 | (previous as u32) << 16
}

/// A server behind virtual addresses; an element of [`map::BACKENDS`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backend {
    pub addr: Addr,
    /// One's complement sum of the words of the outer IPv4 header that are the same for every packet to it; see
    /// [`outer_sum`].
    pub sum: u32,
    /// `BACKEND_*` of the crate root; 0: free.
    pub flags: u8,
    pub pad: [u8; 11],
}

/// The outer IPv4 header's constant part, words in memory order: version and length, no fragments, time to live and
/// protocol, addresses. The type of service and the length are added a packet.
pub const fn outer_sum(src: &Addr, dst: &Addr) -> u32 {
    let words = [OUTER_FIRST, 0, src.0[3], dst.0[3]];
    let mut sum = 0_u64;
    let mut i = 0;
    while i < words.len() {
        sum += words[i] as u64;
        i += 1;
    }
    sum = (sum & 0xffff_ffff) + (sum >> 32);
    ((sum & 0xffff_ffff) + (sum >> 32)) as u32
}

/// Version 4, five words of header, no type of service, no length yet.
pub const OUTER_FIRST: u32 = u32::from_ne_bytes([0x45, 0, 0, 0]);
/// Time to live of the outer header.
pub const OUTER_TTL: u8 = 64;

/// The only value of [`map::CONFIG`] (ARRAY of one).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// Source of outer headers by family; ANY if there is none.
    pub source4: Addr,
    pub source6: Addr,
    /// Ethernet header of what is sent: the gateway's address, then our own.
    pub gateway_mac: [u8; 6],
    pub own_mac: [u8; 6],
    /// Largest outer packet, from the IP header on, in bytes.
    pub mtu: u32,
    /// Seed of the hash that picks slots: the same on all balancers of an address.
    pub seed: u32,
    /// 1 once everything is written.
    pub ready: u32,
    /// Seconds that a test run takes for the clock's.
    pub test_now_s: u32,
    /// New records a second and CPU; above it flows of changing slots are left without one.
    pub gate_per_s: u32,
}

/// Elements of [`map::GATES`] (PERCPU_ARRAY): records made, and packets that were too large answered.
pub const GATES: u32 = 2;
/// As above.
pub const GATE_RECORDS: u32 = 0;
pub const GATE_ANSWERS: u32 = 1;
/// Packets that were too large and are answered, a second and CPU: as many as the kernel's own limit for all errors
/// (`net.ipv4.icmp_msgs_per_sec`).
pub const ANSWERS_PER_S: u32 = 1_000;

/// One CPU's element of [`map::GATES`]: how many in a second.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gate {
    pub second: u32,
    pub made: u32,
}

/// One CPU's element of [`map::TRAFFIC`]: what was sent on for a virtual address, without outer headers.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    pub packets: u64,
    pub bytes: u64,
}

const _: () = {
    assert!(size_of::<Vip>() == 32);
    assert!(size_of::<Backend>() == 32);
    assert!(size_of::<Config>() == 64);
    assert!(MAX_ROWS.is_power_of_two());
};
