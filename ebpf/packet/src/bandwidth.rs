//! Limits of what a pod sends and receives: what is beyond is dropped, and TCP slows down.

use abi::{RATE_SCALE_BITS, Rate, rate_index};

use crate::{Buffer, Tables};

/// More than the largest packet (GSO_MAX_SIZE of include/linux/netdevice.h is 8 * 65,535).
const OVERDRAFT_BYTES: u64 = 1 << 20;
/// Times that a packet tries to pay before it goes free, because other CPUs pay at the same time.
const TRIES: u32 = 4;

/// Whether a packet of the pod on `seat` is within its limit, which it then has used up by so much.
#[inline(always)]
pub fn admit<B: Buffer, T: Tables>(b: &B, t: &T, seat: u32, egress: bool) -> bool {
    let index = rate_index(seat, egress);
    let mut rate = Rate::default();
    let now = t.now_ns();
    for _ in 0..TRIES {
        if !t.rate(index, &mut rate) || rate.cost == 0 {
            return true;
        }
        let Some(full) = pay(&rate, b.size() as u32, now) else { return false };
        if t.set_full(index, rate.full, full) {
            return true;
        }
    }
    true
}

/// When the bucket is full again once so many bytes are paid; `None` if it is empty already. A packet may overdraw it once, so that one
/// of any size passes in the end.
#[inline(always)]
pub fn pay(rate: &Rate, bytes: u32, now_ns: u64) -> Option<u64> {
    let (now, cost) = (now_ns << RATE_SCALE_BITS, rate.cost.wrapping_mul(bytes as u64));
    let ahead = rate.full.wrapping_sub(now);
    if ahead <= rate.burst {
        return Some(rate.full.wrapping_add(cost));
    }
    // Further ahead than any packet overdraws it is in the past: the clock in this form wraps within weeks.
    let most = rate.burst.wrapping_add(rate.cost.wrapping_mul(OVERDRAFT_BYTES));
    if ahead <= most { None } else { Some(now.wrapping_add(cost)) }
}

#[cfg(test)]
mod tests;
