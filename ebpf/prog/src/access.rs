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

/// Word `I` from `p` on, if there are to be so many.
#[inline(always)]
unsafe fn load4<const I: usize, const N: usize>(p: usize, words: &mut [u32; N]) {
    if I < N {
        let v: u64;
        // SAFETY: by the contract of `load_words`. The offset is part of the instruction, which saves two.
        unsafe {
            asm!("{0} = *(u32 *)({1} + {2})", out(reg) v, in(reg) p, const 4 * I, options(readonly, nostack, preserves_flags))
        };
        words[I] = v as u32;
    }
}

/// The most words that are read or written at once.
const MAX_WORDS: usize = 10;

/// # Safety
/// The caller has compared `p + 4 * N` with the packet's end.
#[inline(always)]
pub unsafe fn load_words<const N: usize>(p: usize) -> [u32; N] {
    const { assert!(N <= MAX_WORDS) };
    let mut words = [0; N];
    // SAFETY: by the contract above.
    unsafe {
        load4::<0, N>(p, &mut words);
        load4::<1, N>(p, &mut words);
        load4::<2, N>(p, &mut words);
        load4::<3, N>(p, &mut words);
        load4::<4, N>(p, &mut words);
        load4::<5, N>(p, &mut words);
        load4::<6, N>(p, &mut words);
        load4::<7, N>(p, &mut words);
        load4::<8, N>(p, &mut words);
        load4::<9, N>(p, &mut words);
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

#[inline(always)]
unsafe fn store4<const I: usize, const N: usize>(p: usize, words: &[u32; N]) {
    if I < N {
        // SAFETY: by the contract of `store_words`.
        unsafe {
            asm!("*(u32 *)({0} + {2}) = {1}", in(reg) p, in(reg) words[I] as u64, const 4 * I, options(nostack, preserves_flags))
        };
    }
}

/// # Safety
/// As for [`load_words`].
#[inline(always)]
pub unsafe fn store_words<const N: usize>(p: usize, words: [u32; N]) {
    const { assert!(N <= MAX_WORDS) };
    // SAFETY: by the contract above.
    unsafe {
        store4::<0, N>(p, &words);
        store4::<1, N>(p, &words);
        store4::<2, N>(p, &words);
        store4::<3, N>(p, &words);
        store4::<4, N>(p, &words);
        store4::<5, N>(p, &words);
        store4::<6, N>(p, &words);
        store4::<7, N>(p, &words);
        store4::<8, N>(p, &words);
        store4::<9, N>(p, &words);
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
