//! The BPF object: hooks, maps, and the verifier-aware view of a packet. No decision is made here; see `packet`.
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]

mod access;
mod again;
mod balance;
mod edges;
mod event;
mod flow_run;
mod maps;
mod services;
mod skb;
mod sock;
mod steps;
mod tables;
mod tc;
mod uplink;
mod xdp;

/// fib and neighbour helpers are for GPL-compatible programs only.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

/// Set by the differential test only: the clock, the interface and the tunnel's sender come from `skb->cb`, and the verdict is
/// written there. The loader leaves it zero, and the verifier removes what depends on it.
#[unsafe(no_mangle)]
static TEST_RUN: u32 = 0;

/// Whether this is a test run.
#[inline(always)]
fn is_test_run() -> bool {
    // SAFETY: a static is valid for reads; volatile because the loader may replace the value in the object.
    unsafe { core::ptr::read_volatile(&raw const TEST_RUN) != 0 }
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
