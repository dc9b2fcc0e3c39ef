//! Reads and writes of packet bytes as the verifier and Rust both allow them.
//!
//! They are assembly because packets are not aligned: to Rust a misaligned word does not exist, and byte by byte costs a
//! fifth of the whole program. The verifier checks bounds, and x86, arm64 and riscv64 allow them in packets.

use core::arch::asm;

/// Bound of every offset: headers with options, extensions and a quoted packet fit well below.
pub const MAX_OFFSET: usize = 0x3fff;

/// Hides where a value comes from, so that the one that was compared is the one that is used.
#[inline(always)]
pub fn opaque(p: usize) -> usize {
    let q: usize;
    // SAFETY: copies a register.
    unsafe { asm!("{0} = {1}", lateout(reg) q, in(reg) p, options(pure, nomem, nostack, preserves_flags)) };
    q
}

/// # Safety
/// The caller has compared `p + 1` with the packet's end.
#[inline(always)]
pub unsafe fn load1(p: usize) -> u64 {
    let v: u64;
    // SAFETY: by the contract above.
    unsafe { asm!("{0} = *(u8 *)({1} + 0)", out(reg) v, in(reg) p, options(readonly, nostack, preserves_flags)) };
    v
}

/// # Safety
/// The caller has compared `p + 2` with the packet's end.
#[inline(always)]
pub unsafe fn load2(p: usize) -> u64 {
    let v: u64;
    // SAFETY: by the contract above.
    unsafe { asm!("{0} = *(u16 *)({1} + 0)", out(reg) v, in(reg) p, options(readonly, nostack, preserves_flags)) };
    v
}

#[inline(always)]
unsafe fn load4(p: usize) -> u64 {
    let v: u64;
    // SAFETY: by the contract of `load_words`.
    unsafe { asm!("{0} = *(u32 *)({1} + 0)", out(reg) v, in(reg) p, options(readonly, nostack, preserves_flags)) };
    v
}

/// # Safety
/// The caller has compared `p + 4 * N` with the packet's end.
#[inline(always)]
pub unsafe fn load_words<const N: usize>(p: usize) -> [u32; N] {
    let mut words = [0; N];
    let mut i = 0;
    while i < N {
        // SAFETY: by the contract above.
        words[i] = unsafe { load4(p + 4 * i) } as u32;
        i += 1;
    }
    words
}

/// # Safety
/// As for [`load1`].
#[inline(always)]
pub unsafe fn store1(p: usize, value: u8) {
    // SAFETY: by the contract above.
    unsafe { asm!("*(u8 *)({0} + 0) = {1}", in(reg) p, in(reg) value as u64, options(nostack, preserves_flags)) };
}

/// # Safety
/// As for [`load2`].
#[inline(always)]
pub unsafe fn store2(p: usize, value: u16) {
    // SAFETY: by the contract above.
    unsafe { asm!("*(u16 *)({0} + 0) = {1}", in(reg) p, in(reg) value as u64, options(nostack, preserves_flags)) };
}

/// # Safety
/// As for [`load_words`].
#[inline(always)]
pub unsafe fn store_words<const N: usize>(p: usize, value: [u32; N]) {
    let mut i = 0;
    while i < N {
        // SAFETY: by the contract above.
        unsafe {
            asm!("*(u32 *)({0} + 0) = {1}", in(reg) p + 4 * i, in(reg) value[i] as u64, options(nostack, preserves_flags));
        }
        i += 1;
    }
}

/// Replaces eight bytes if they are still `before`; returns what they were. This target has no atomic types.
///
/// # Safety
/// `p` is eight aligned bytes of a map's value.
#[inline(always)]
pub unsafe fn compare_exchange(p: *mut u64, before: u64, after: u64) -> u64 {
    let was: u64;
    // SAFETY: by the contract above; r0 is the register that the instruction compares with and answers in.
    unsafe {
        asm!("r0 = cmpxchg_64({0} + 0, r0, {1})", in(reg) p, in(reg) after, inlateout("r0") before => was, options(nostack))
    };
    was
}
