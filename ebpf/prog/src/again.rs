//! Fragments that wait: their bytes, and how they come to their hook again. See `packet::fragment`.
//!
//! A first fragment lends its socket buffer: its own bytes are put aside, those of one that waited are written over them, and a clone goes
//! into the interface once more, where the kernel queues it behind the packet in hand; then its own bytes come back.

use core::{
    mem::size_of,
    ptr::{read_volatile, write_volatile},
};

use abi::{
    Addr, Hold,
    fragment::{AT_FROM_OVERLAY, HELD_BYTES, MAX_HOLDS},
};
use aya_ebpf::{
    bindings::{__sk_buff, BPF_F_INGRESS, BPF_F_RECOMPUTE_CSUM, bpf_fib_lookup},
    helpers::{
        bpf_clone_redirect, bpf_fib_lookup as look_up, bpf_skb_change_tail, bpf_skb_load_bytes, bpf_skb_store_bytes,
    },
};
use packet::{Buffer as _, parse::L3};

use crate::{
    access::opaque,
    is_test_run,
    maps::{ASIDE, HELD, HOLDS, Held},
    skb::Skb,
    steps::borrowed,
    tc::word,
};

/// Mark of a fragment that is at the overlay's hook again; its slot is in the low half.
const MARK: u32 = 0x6e74_0000;
/// AF_INET and AF_INET6 (include/linux/socket.h).
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
/// BPF_FIB_LKUP_RET_NOT_FWDED: the address is the node's own, or nobody's.
const NOT_FORWARDED: i64 = 4;

/// Copies the packet to a slot.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn hold_keep(skb: *mut __sk_buff, slot: u32) -> u32 {
    let Some(to) = HELD.get_ptr_mut(slot) else { return 0 };
    load(skb, to) as u32
}

/// Copies the packet aside.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn hold_aside(skb: *mut __sk_buff) -> u32 {
    let Some(to) = ASIDE.get_ptr_mut(0) else { return 0 };
    let Some(s) = borrowed() else { return 0 };
    s.aside = Skb(skb).size() as u32;
    load(skb, to) as u32
}

/// Makes the packet again what it was when it was put aside.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn hold_back(skb: *mut __sk_buff) -> u32 {
    let (Some(from), Some(s)) = (ASIDE.get_ptr(0), borrowed()) else { return 0 };
    store(skb, from, s.aside) as u32
}

/// Sends a copy of the packet with the bytes of a slot into the interface where the packet came in.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn hold_send(skb: *mut __sk_buff, slot: u32) -> u32 {
    let (Some(from), Some(hold)) = (HELD.get_ptr(slot), HOLDS.get_ptr(slot)) else { return 0 };
    // SAFETY: this program has swapped the slot's state, so nobody writes it.
    let (bytes, at) = unsafe { ((*hold).bytes, (*hold).key.at) };
    if !store(skb, from, bytes) {
        return 0;
    }
    if is_test_run() {
        return 1;
    }
    // SAFETY: the context is valid; the helper copies the packet.
    unsafe {
        let mark = read_volatile(&raw const (*skb).mark);
        if at == AT_FROM_OVERLAY {
            // The tunnel's own word on its sender does not survive the way.
            write_volatile(&raw mut (*skb).mark, MARK | slot);
        }
        let sent = bpf_clone_redirect(skb, read_volatile(&raw const (*skb).ifindex), BPF_F_INGRESS as u64);
        write_volatile(&raw mut (*skb).mark, mark);
        (sent == 0) as u32
    }
}

/// The sender of a fragment that waited at the overlay's hook. A packet of the network has it from the tunnel, without exception: the
/// device drops what it cannot give one to. So nobody comes here but by [`hold_send`].
#[inline(always)]
pub fn sender(skb: *mut __sk_buff) -> Option<(Addr, u32)> {
    // SAFETY: the context is valid for the whole program.
    let mark = unsafe { read_volatile(&raw const (*skb).mark) };
    if mark & !0xffff != MARK {
        return None;
    }
    // SAFETY: as above.
    unsafe { write_volatile(&raw mut (*skb).mark, 0) };
    let hold: &Hold = HOLDS.get(mark & 0xffff & (MAX_HOLDS - 1))?;
    // If another waits there by now and its sender is another, the check that follows finds that out.
    Some((hold.node, hold.vni))
}

/// Whether the kernel's routes keep the packet in hand: its destination is on an interface of this node.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn step_is_local(skb: *mut __sk_buff) -> u32 {
    if is_test_run() {
        return word(skb, 1);
    }
    let Some(s) = borrowed() else { return 0 };
    let (src, dst) = (&s.packet.tuple.src, &s.packet.tuple.dst);
    // SAFETY: all zero is a valid question; the helper reads and writes it; the context is valid for the whole program.
    unsafe {
        let mut question: bpf_fib_lookup = core::mem::zeroed();
        question.ifindex = read_volatile(&raw const (*skb).ifindex);
        if dst.is_v4() {
            question.family = AF_INET;
            question.__bindgen_anon_3.ipv4_src = src.0[3];
            question.__bindgen_anon_4.ipv4_dst = dst.0[3];
        } else {
            question.family = AF_INET6;
            question.__bindgen_anon_3.ipv6_src = src.0;
            question.__bindgen_anon_4.ipv6_dst = dst.0;
        }
        let size = size_of::<bpf_fib_lookup>() as i32;
        (look_up(skb.cast(), &raw mut question, size, 0) == NOT_FORWARDED) as u32
    }
}

/// Copies the whole packet. `false` if it is too large.
#[inline(always)]
fn load(skb: *mut __sk_buff, to: *mut Held) -> bool {
    // Not every kernel's verifier sees that a number is not 0; each sees that one more than any number is not.
    let before_last = opaque(Skb(skb).size().wrapping_sub(1));
    if before_last >= HELD_BYTES as usize {
        return false;
    }
    // SAFETY: so many bytes are in the element.
    unsafe { bpf_skb_load_bytes(skb.cast(), 0, to.cast(), before_last as u32 + 1) == 0 }
}

/// Gives the packet other bytes. The Ethernet header is not in what hardware has summed up.
#[inline(always)]
fn store(skb: *mut __sk_buff, from: *const Held, bytes: u32) -> bool {
    // As in `load`.
    let before_last = opaque((bytes as usize).wrapping_sub(L3 + 1));
    if before_last >= HELD_BYTES as usize - L3 {
        return false;
    }
    let rest = before_last as u32 + 1;
    // SAFETY: so many bytes are in the element; the context is valid.
    unsafe {
        let from: *const u8 = from.cast();
        bpf_skb_change_tail(skb, bytes, 0) == 0
            && bpf_skb_store_bytes(skb, 0, from.cast(), L3 as u32, 0) == 0
            && bpf_skb_store_bytes(skb, L3 as u32, from.add(L3).cast(), rest, BPF_F_RECOMPUTE_CSUM as u64) == 0
    }
}
