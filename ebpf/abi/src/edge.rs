//! Who talks to which Service: a row for each client and Service port, and what went by between them.
//!
//! The table is open-addressed: a pair is in one of the [`EDGE_REACH`] rows from its [`home`] on. The programs take free rows by compare and
//! swap; two that do so at once for one pair may take two, so who reads adds up rows that are alike. Only user space frees rows.

use crate::Addr;

/// Rows of [`crate::map::EDGES`] (ARRAY, mapped) and of [`crate::map::TRAFFIC`] (PERCPU_ARRAY); a power of two. Row 0 is nobody's: it
/// counts the connections that found no row.
pub const MAX_EDGES: u32 = 16_384;
/// Rows that are looked at for a pair before it counts among its Service's others.
pub const EDGE_REACH: u32 = 8;

/// Client of the row that counts whatever of a Service has no row of its own, because the table is full where it would be.
pub const CLIENT_OTHER: Addr = Addr::ANY;
/// Client of the row of everybody outside of the cluster: strangers' addresses are without number.
pub const CLIENT_OUTSIDE: Addr = Addr::ANY_V4;

/// A row.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EdgeRow {
    /// The client's address; of a socket's the cookie of its network namespace in the first two words, and zeroes; or `CLIENT_*`.
    pub client: Addr,
    /// [`edge_word`], [`EDGE_BUSY`], or [`EDGE_DEAD`] and what it was; 0: free.
    pub word: u64,
    /// Connections that were given a backend.
    pub connections: u64,
    /// What user space took over from rows that it freed; the packets since are in [`crate::map::TRAFFIC`].
    pub before: EdgeTraffic,
}

/// What went by, in frames as the hooks see them (a segmentation aggregate is as many as it has segments) and bytes from the IP header on.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EdgeTraffic {
    /// From the client to the Service, and back.
    pub ways: [Way; 2],
}

/// One direction.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Way {
    pub packets: u64,
    pub bytes: u64,
}

/// A program is writing the row.
pub const EDGE_BUSY: u64 = 1 << 33;
/// The pair is no more; the row rests until nothing can count there any longer.
pub const EDGE_DEAD: u64 = 1 << 34;

/// [`EdgeRow::word`] of a row in use.
#[inline(always)]
pub const fn edge_word(service: u32) -> u64 {
    1 << 32 | service as u64
}

/// The Service port's number ([`crate::ServiceValue::id`]) of a row in use or at rest; `None` for a free one.
#[inline(always)]
pub const fn edge_service(word: u64) -> Option<u32> {
    if word >> 32 & 1 != 0 { Some(word as u32) } else { None }
}

/// The first row of a pair.
#[inline(always)]
pub const fn home(client: &Addr, service: u32) -> u32 {
    let words = &client.0;
    let low = words[2] as u64 ^ (words[3] as u64) << 32;
    let high = words[0] as u64 ^ (words[1] as u64) << 32;
    let mixed = (low ^ service as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ high.wrapping_mul(0xc2b2_ae3d_27d4_eb4f);
    let mixed = (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (mixed >> 40) as u32 & (MAX_EDGES - 1)
}

const _: () = {
    assert!(size_of::<EdgeRow>() == 64);
    assert!(size_of::<EdgeTraffic>() == 32);
    assert!(MAX_EDGES.is_power_of_two() && MAX_EDGES <= 1 << 16);
};
