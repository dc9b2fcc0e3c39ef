//! Fragments: the ports of a datagram, which only its first fragment carries, and fragments that wait for it.

use crate::{Addr, Be16};

/// Entries of [`crate::map::FRAGMENTS`] (LRU_HASH): datagrams whose later fragments may still come.
pub const MAX_FRAGMENTS: u32 = 8_192;

/// [`FragmentKey::at`] of the hooks that are no pod's; of a pod's hook it is the interface's number.
pub const AT_TO_POD: u32 = 0x8000_0001;
pub const AT_FROM_UPLINK: u32 = 0x8000_0002;
pub const AT_TO_UPLINK: u32 = 0x8000_0003;
pub const AT_FROM_OVERLAY: u32 = 0x8000_0004;
pub const AT_TO_OVERLAY: u32 = 0x8000_0005;

/// Key of [`crate::map::FRAGMENTS`]: one fragmented datagram as it stands in the packet (RFC 791 section 3.2, RFC 8200 section 4.5).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FragmentKey {
    pub src: Addr,
    pub dst: Addr,
    /// Identification as it lies in the header (IPv4: the low half).
    pub id: u32,
    /// Where it was seen, so that what somebody forges elsewhere lends no ports to it.
    pub at: u32,
    pub proto: u8,
    pub pad: [u8; 3],
}

/// Value of [`crate::map::FRAGMENTS`]: the ports that only the first fragment carries.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FragmentValue {
    pub sport: Be16,
    pub dport: Be16,
    /// When it was seen; another datagram may have the identification later.
    pub seen_s: u32,
}

/// Elements of [`crate::map::HOLD_ROWS`] (ARRAY of u64): the number of the row's next fragment in the low half, in the high half when the
/// last one came, in seconds.
pub const HOLD_ROWS: u32 = 8;
/// Fragments of a row: those of a datagram of 64 KiB at the least MTU of IPv6 (RFC 8200 section 5) fit.
pub const HOLD_WAYS: u32 = 64;
/// Elements of [`crate::map::HOLDS`] (ARRAY) and [`crate::map::HELD`] (ARRAY).
pub const MAX_HOLDS: u32 = HOLD_ROWS * HOLD_WAYS;
/// Bytes of an element of [`crate::map::HELD`]: a jumbo frame; what is larger cannot wait.
pub const HELD_BYTES: u32 = 9_216;

/// Element of [`crate::map::HOLDS`]: a fragment that waits for the first one of its datagram.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hold {
    /// `HOLD_*` in the two lowest bits, then the number in its row, in the high half the second in which it came.
    pub state: u64,
    pub key: FragmentKey,
    /// From the overlay: the node that sent it, and the network.
    pub node: Addr,
    pub vni: u32,
    /// Bytes of the frame in [`crate::map::HELD`].
    pub bytes: u32,
    pub pad: u32,
}

/// Nobody's.
pub const HOLD_FREE: u64 = 0;
/// Some packet's program reads or writes it.
pub const HOLD_BUSY: u64 = 1;
/// Waits.
pub const HOLD_WAITS: u64 = 2;
/// The bits of these.
pub const HOLD_KIND: u64 = 3;

/// [`Hold::state`].
#[inline(always)]
pub const fn hold_state(second: u32, number: u32, kind: u64) -> u64 {
    (second as u64) << 32 | ((number as u64) << 2 & 0xffff_fffc) | kind
}

const _: () = {
    assert!(size_of::<FragmentKey>() == 44);
    assert!(size_of::<FragmentValue>() == 8);
    assert!(size_of::<Hold>() == 80);
    assert!(MAX_HOLDS <= 0xffff);
};
