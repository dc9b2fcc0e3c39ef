//! A packet as the verifier wants it read: a bounded offset, a fresh pair of pointers and a compare at each access.

use core::ptr::read_volatile;

use aya_ebpf::{
    bindings::{__sk_buff, BPF_F_MARK_MANGLED_0, BPF_F_PSEUDO_HDR},
    helpers::{bpf_l4_csum_replace, bpf_skb_pull_data},
};
use packet::Buffer;

use crate::{
    access::{self, MAX_OFFSET, load1, load2, opaque},
    is_test_run,
};

/// PACKET_OTHERHOST of include/uapi/linux/if_packet.h.
const PACKET_OTHERHOST: u32 = 3;
/// Bytes that have to be in the linear part: Ethernet, two IP headers with options, ICMP and ports.
const LINEAR: u32 = 160;

/// A socket buffer at a tc hook.
pub struct Skb(pub *mut __sk_buff);

impl Skb {
    /// Makes the headers readable. A packet that is shorter than that is linear already.
    #[inline(always)]
    pub fn linear(&self) -> bool {
        // SAFETY: the context is valid for the whole program.
        let (len, data, end) = unsafe { ((*self.0).len, (*self.0).data as usize, (*self.0).data_end as usize) };
        let want = if len < LINEAR { len } else { LINEAR };
        if data + want as usize <= end {
            return true;
        }
        // SAFETY: `want` is at most the packet's length.
        unsafe { bpf_skb_pull_data(self.0, want) == 0 }
    }

    /// The address of `len` bytes at `off`.
    #[inline(always)]
    fn at(&self, off: usize, len: usize) -> Option<usize> {
        // Opaque, so that it is this value that is compared, and not one that the compiler derives it from.
        let off = opaque(off);
        if off > MAX_OFFSET {
            return None;
        }
        // SAFETY: the context is valid for the whole program.
        let (data, end) = unsafe { ((*self.0).data as usize, (*self.0).data_end as usize) };
        let p = opaque(data + off);
        if p + len > end { None } else { Some(p) }
    }
}

impl Buffer for Skb {
    #[inline(always)]
    fn size(&self) -> usize {
        // SAFETY: the context is valid for the whole program.
        unsafe { read_volatile(&raw const (*self.0).len) as usize }
    }

    #[inline(always)]
    fn is_tagged(&self) -> bool {
        // SAFETY: the context is valid for the whole program.
        unsafe { read_volatile(&raw const (*self.0).vlan_present) != 0 }
    }

    #[inline(always)]
    fn is_for_another(&self, own: &[u8; 6]) -> bool {
        if is_test_run() {
            return self.is_addressed_otherwise(own);
        }
        // SAFETY: the context is valid for the whole program.
        unsafe { read_volatile(&raw const (*self.0).pkt_type) == PACKET_OTHERHOST }
    }

    #[inline(always)]
    fn segment(&self) -> usize {
        // SAFETY: the context is valid for the whole program.
        unsafe { read_volatile(&raw const (*self.0).gso_size) as usize }
    }

    #[inline(always)]
    fn segments(&self) -> u32 {
        // SAFETY: the context is valid for the whole program.
        let segments = unsafe { read_volatile(&raw const (*self.0).gso_segs) };
        if segments == 0 { 1 } else { segments }
    }

    #[inline(always)]
    fn byte(&self, off: usize) -> Option<u8> {
        let p = self.at(off, 1)?;
        // SAFETY: one byte at `p` is in the packet.
        Some(unsafe { load1(p) } as u8)
    }

    #[inline(always)]
    fn half(&self, off: usize) -> Option<u16> {
        let p = self.at(off, 2)?;
        // SAFETY: two bytes at `p` are in the packet.
        Some(unsafe { load2(p) } as u16)
    }

    #[inline(always)]
    fn words<const N: usize>(&self, off: usize) -> Option<[u32; N]> {
        let p = self.at(off, 4 * N)?;
        // SAFETY: `4 * N` bytes at `p` are in the packet.
        Some(unsafe { access::load_words(p) })
    }

    #[inline(always)]
    fn set_byte(&mut self, off: usize, value: u8) -> Option<()> {
        let p = self.at(off, 1)?;
        // SAFETY: one byte at `p` is in the packet.
        unsafe { access::store1(p, value) };
        Some(())
    }

    #[inline(always)]
    fn set_half(&mut self, off: usize, value: u16) -> Option<()> {
        let p = self.at(off, 2)?;
        // SAFETY: two bytes at `p` are in the packet.
        unsafe { access::store2(p, value) };
        Some(())
    }

    #[inline(always)]
    fn set_words<const N: usize>(&mut self, off: usize, value: [u32; N]) -> Option<()> {
        let p = self.at(off, 4 * N)?;
        // SAFETY: `4 * N` bytes at `p` are in the packet.
        unsafe { access::store_words(p, value) };
        Some(())
    }

    #[inline(always)]
    fn fix_transport(&mut self, off: usize, pseudo: u32, rest: u32, udp: bool) -> Option<()> {
        let mangled = if udp { BPF_F_MARK_MANGLED_0 as u64 } else { 0 };
        // SAFETY: the helper checks the offset itself; a zero `from` with size bits zero means that `to` is a difference.
        unsafe {
            if pseudo != 0 {
                let flags = BPF_F_PSEUDO_HDR as u64 | mangled;
                if bpf_l4_csum_replace(self.0, off as u32, 0, pseudo as u64, flags) != 0 {
                    return None;
                }
            }
            if rest != 0 && bpf_l4_csum_replace(self.0, off as u32, 0, rest as u64, mangled) != 0 {
                return None;
            }
        }
        Some(())
    }
}
