//! The rows that count who talks to which Service, and the search among them: a function of its own, because it is a loop that the
//! verifier should walk once.

use core::{
    arch::asm,
    mem::offset_of,
    ptr::{read_volatile, write_volatile},
};

use abi::{
    Addr,
    edge::{EDGE_BUSY, EdgeRow, Way},
};
use packet::{Edges, edges};

use crate::{
    access::compare_exchange,
    maps::{EDGES, TRAFFIC},
    tables::Maps,
};

/// An address as the verifier is to see it in a signature: so many bytes.
#[repr(C)]
pub struct AddrMemory([u32; 4]);

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn edge_find(client: *const AddrMemory, service: u32) -> u32 {
    // SAFETY: null, or the reference that `Edges::edge` was given.
    let Some(client) = (unsafe { client.cast::<Addr>().as_ref() }) else { return 0 };
    edges::find(&Maps { now_s: 0 }, client, service)
}

/// Adds to eight bytes that all CPUs share.
///
/// # Safety
/// `at` is eight aligned bytes of a map's value. This target has no atomic types.
#[inline(always)]
pub unsafe fn add(at: *mut u64, amount: u64) {
    // SAFETY: by the contract above.
    unsafe { asm!("lock *(u64 *)({0} + 0) += {1}", in(reg) at, in(reg) amount, options(nostack)) };
}

#[inline(always)]
fn row(index: u32) -> Option<*mut EdgeRow> {
    EDGES.get_ptr_mut(index)
}

impl Edges for Maps {
    #[inline(always)]
    fn edge_word(&self, index: u32) -> u64 {
        // SAFETY: the element lives as long as the program runs. Volatile, since others write it.
        row(index).map_or(EDGE_BUSY, |row| unsafe { read_volatile(&raw const (*row).word) })
    }

    #[inline(always)]
    fn edge_apart(&self, index: u32, client: &Addr) -> u32 {
        let Some(row) = row(index) else { return 1 };
        let (mut word, mut apart) = (0, 0);
        while word < 4 {
            // SAFETY: as above.
            apart |= unsafe { read_volatile(&raw const (*row).client.0[word]) } ^ client.0[word];
            word += 1;
        }
        apart
    }

    #[inline(always)]
    fn take_edge(&self, index: u32, client: &Addr, word: u64) -> bool {
        let Some(row) = row(index) else { return false };
        let at = row.cast::<u8>().wrapping_add(offset_of!(EdgeRow, word)).cast();
        // SAFETY: the word is eight aligned bytes of the element; who has put `EDGE_BUSY` there owns the row.
        unsafe {
            if compare_exchange(at, 0, EDGE_BUSY) != 0 {
                return false;
            }
            let mut index = 0;
            while index < 4 {
                write_volatile(&raw mut (*row).client.0[index], client.0[index]);
                index += 1;
            }
            write_volatile(at, word);
        }
        true
    }

    #[inline(always)]
    fn open_edge(&self, index: u32) {
        if let Some(row) = row(index) {
            // SAFETY: eight aligned bytes of the element.
            unsafe { add(row.cast::<u8>().wrapping_add(offset_of!(EdgeRow, connections)).cast(), 1) };
        }
    }

    #[inline(always)]
    fn pass_edge(&self, index: u32, way: u32, packets: u32, bytes: u32) {
        let Some(traffic) = TRAFFIC.get_ptr_mut(index) else { return };
        let way = traffic.cast::<Way>().wrapping_add(way as usize & 1);
        // SAFETY: the element has two ways; it is this CPU's own, and the hooks run with bottom halves off.
        unsafe {
            (*way).packets = (*way).packets.wrapping_add(packets as u64);
            (*way).bytes = (*way).bytes.wrapping_add(bytes as u64);
        }
    }

    #[inline(always)]
    fn edge(&self, client: &Addr, service: u32) -> u32 {
        edge_find((&raw const *client).cast(), service)
    }
}
