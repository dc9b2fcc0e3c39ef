//! Incremental Internet checksums (RFC 1624), bit for bit as the kernel computes them (include/net/checksum.h).

use abi::Addr;

/// One's complement sum of two partial sums.
#[inline(always)]
pub fn add(a: u32, b: u32) -> u32 {
    let sum = a.wrapping_add(b);
    sum.wrapping_add((sum < a) as u32)
}

/// What replacing `old` by `new` adds to a sum.
#[inline(always)]
pub fn diff(old: u32, new: u32) -> u32 {
    add(!old, new)
}

/// The difference made by replacing one address by another; IPv4 addresses differ in the last word alone.
#[inline(always)]
pub fn diff_addr(old: &Addr, new: &Addr, v6: bool) -> u32 {
    let last = diff(old.0[3], new.0[3]);
    if !v6 {
        return last;
    }
    add(add(last, diff(old.0[0], new.0[0])), add(diff(old.0[1], new.0[1]), diff(old.0[2], new.0[2])))
}

/// Folds a partial sum to the 16 bits that are stored (complemented).
#[inline(always)]
pub fn fold(sum: u32) -> u16 {
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    !(sum as u16)
}

/// The stored checksum `field` after its data changed by `diff`.
#[inline(always)]
pub fn apply(field: u16, diff: u32) -> u16 {
    fold(add(diff, !(field as u32)))
}
