//! Tables of network policy.

use crate::{Addr, Be16, MAX_PODS};

/// Entries of [`crate::map::SEATS`] (ARRAY): two banks for each local pod.
pub const MAX_SEATS: u32 = 2 * MAX_PODS;
/// Entries of [`crate::map::IDENTITIES`] (LPM_TRIE): both banks together.
pub const MAX_IDENTITIES: u32 = 262_144;
/// Entries of [`crate::map::RULES`] (LPM_TRIE): both banks together.
pub const MAX_RULES: u32 = 524_288;
/// Entries of [`crate::map::CONNECTIONS`] (LRU_HASH): live connections of the node's pods that have a policy.
pub const MAX_CONNECTIONS: u32 = 131_072;

/// The policy tables have two banks. The only value of [`crate::map::GENERATION`] (ARRAY of one u32) counts up by one with each change, and
/// its lowest bit says which bank programs read; the next change is written to the other one. So a policy epoch takes effect in one
/// write, for every pod and peer at once.
pub const fn bank(generation: u32) -> u32 {
    generation & 1
}

/// Value of [`crate::map::SEATS`], index = seat * 2 + bank. All zero: no policy selects the pod.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SeatValue {
    /// Whose rules in [`crate::map::RULES`] hold.
    pub ruleset: u32,
    /// `SEAT_*` bits.
    pub flags: u32,
}

/// What the rules do not allow into the pod is dropped.
pub const SEAT_INGRESS: u32 = 1;
/// What the rules do not allow out of the pod is dropped.
pub const SEAT_EGRESS: u32 = 2;

/// Key of [`crate::map::IDENTITIES`] (LPM trie): `prefix_len` is 32 plus the bits of the 16-byte form. The value (u32) is the number of the
/// class of peers that the address belongs to, 0 ([`IDENTITY_ANY`]) for none.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IdentityKey {
    pub prefix_len: u32,
    pub bank: u32,
    pub addr: Addr,
}

/// Rules of this identity hold for every peer that has no rule of its own for the packet.
pub const IDENTITY_ANY: u32 = 0;

/// Key of [`crate::map::RULES`] (LPM trie) of a `RULE_*` value (u32). `prefix_len` ends after `direction` for any protocol
/// ([`RULE_ANY_PROTOCOL`]), after `proto` for any port ([`RULE_ANY_PORT`]), or inside `port`: a range of ports is a few prefixes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleKey {
    pub prefix_len: u32,
    pub bank: u32,
    pub ruleset: u32,
    /// The peer's.
    pub identity: u32,
    /// `DIRECTION_*`.
    pub direction: u8,
    pub proto: u8,
    /// Where the connection is opened to, whichever side that is.
    pub port: Be16,
}

pub const RULE_ANY_PROTOCOL: u32 = 104;
pub const RULE_ANY_PORT: u32 = 112;
pub const RULE_ONE_PORT: u32 = 128;
pub const DIRECTION_INGRESS: u8 = 0;
pub const DIRECTION_EGRESS: u8 = 1;
pub const RULE_ALLOW: u32 = 1;
pub const RULE_DENY: u32 = 2;

/// Value of [`crate::map::CONNECTIONS`]: a connection of a pod that has a policy. The key is a [`crate::FlowKey`] with the pod as source and the peer's
/// own address, not a Service's, as destination.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Connection {
    /// The generation by which it was judged last.
    pub generation: u32,
    /// Coarse monotonic seconds of the last packet that refreshed the record.
    pub seen_s: u32,
    /// `CONNECTION_*` bits.
    pub flags: u32,
}

/// The pod opened it; else the peer did.
pub const CONNECTION_EGRESS: u32 = 1;
/// The policy of its generation denies it. Kept, so that its remaining packets are not taken for a new connection.
pub const CONNECTION_DENIED: u32 = 2;

const _: () = {
    assert!(size_of::<SeatValue>() == 8);
    assert!(size_of::<IdentityKey>() == 24);
    assert!(size_of::<RuleKey>() == 20);
    assert!(size_of::<Connection>() == 12);
};
