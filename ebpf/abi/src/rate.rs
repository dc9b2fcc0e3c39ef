//! Limits of pods' bandwidth.

use crate::MAX_PODS;

/// Entries of [`crate::map::RATES`] (ARRAY of [`Rate`], index by [`rate_index`]).
pub const MAX_RATES: u32 = 2 * MAX_PODS;
/// What the pod receives is limited.
pub const LIMIT_INGRESS: u32 = 1;
/// What the pod sends is limited.
pub const LIMIT_EGRESS: u32 = 2;
/// Times in [`Rate`] are nanoseconds with this many bits behind the point: at 40 Gbit/s a byte takes a fifth of a nanosecond.
pub const RATE_SCALE_BITS: u32 = 12;

/// A limit and how far it is used: a token bucket kept as the time at which it will be full again (the virtual scheduling form of
/// ITU-T I.371's generic cell rate algorithm).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rate {
    /// When the bucket will be full again, by the monotonic clock, which wraps in this form. Programs write it.
    pub full: u64,
    /// What one byte takes at this rate; 0: no limit.
    pub cost: u64,
    /// What a full bucket takes at this rate.
    pub burst: u64,
}

/// Slowest and fastest rate that can be told, bits a second.
const SLOWEST: u64 = 1_000;
const FASTEST: u64 = 1_000_000_000_000;
/// A bucket holds this many nanoseconds of the rate, so that TCP finds its pace,
const BURST_NS: u64 = 20_000_000;
/// and no less than this many bytes, so that aggregates of segments pass.
const BURST_BYTES: u64 = 4 * 65_536;

impl Rate {
    /// The limit of `bits` a second, held between a thousand and a million million; 0 is none.
    pub const fn of_bits(bits: u64) -> Rate {
        if bits == 0 {
            return Rate { full: 0, cost: 0, burst: 0 };
        }
        let bits = if bits < SLOWEST {
            SLOWEST
        } else if bits > FASTEST {
            FASTEST
        } else {
            bits
        };
        // 8 * 10^9 * 2^12 is below 2^45.
        let cost = (8_000_000_000 << RATE_SCALE_BITS) / bits;
        let (least, usual) = (cost * BURST_BYTES, BURST_NS << RATE_SCALE_BITS);
        Rate { full: 0, cost, burst: if least > usual { least } else { usual } }
    }
}

/// Where the limit of a pod on `seat` is.
pub const fn rate_index(seat: u32, egress: bool) -> u32 {
    seat.wrapping_mul(2) | egress as u32
}
