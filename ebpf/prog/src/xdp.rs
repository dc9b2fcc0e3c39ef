//! A packet at an XDP hook, its linear part.

use aya_ebpf::{bindings::xdp_md, helpers::bpf_xdp_get_buff_len};
use packet::{Buffer, checksum, parse::L3};

use crate::access;

/// A frame, and the byte of it from which offsets count.
pub struct Xdp {
    pub ctx: *mut xdp_md,
    pub from: usize,
}

impl Xdp {
    /// The frame from its start.
    #[inline(always)]
    pub fn new(ctx: *mut xdp_md) -> Xdp {
        Xdp { ctx, from: 0 }
    }

    /// The address of `len` bytes at `off`.
    #[inline(always)]
    fn at(&self, off: usize, len: usize) -> Option<usize> {
        let off = access::opaque(self.from + off);
        if off > access::MAX_OFFSET {
            return None;
        }
        // SAFETY: the context is valid for the whole program.
        let (data, end) = unsafe { ((*self.ctx).data as usize, (*self.ctx).data_end as usize) };
        let p = access::opaque(data + off);
        if p + len > end { None } else { Some(p) }
    }

    /// What [`packet::balance::Frame::set_front`] does, with one look at the bounds.
    #[inline(always)]
    pub fn set_front_at_once<const N: usize>(
        &mut self,
        ethernet: [u32; 3],
        kind: u16,
        words: impl FnOnce(u16) -> [u32; N],
    ) -> Option<()> {
        let p = self.at(0, L3 + 4 * N + 2)?;
        // SAFETY: all below `L3 + 4 * N + 2` bytes at `p`.
        unsafe {
            let next = access::load2(p + L3 + 4 * N) as u16;
            access::store_words(p, ethernet);
            access::store2(p + 12, kind);
            access::store_words(p + L3, words(next));
        }
        Some(())
    }
}

impl Buffer for Xdp {
    #[inline(always)]
    fn size(&self) -> usize {
        // SAFETY: the context is valid for the whole program.
        unsafe { bpf_xdp_get_buff_len(self.ctx) as usize }
    }

    #[inline(always)]
    fn rest(&self) -> usize {
        self.size().wrapping_sub(self.from)
    }

    #[inline(always)]
    fn byte(&self, off: usize) -> Option<u8> {
        // SAFETY: in the packet.
        self.at(off, 1).map(|p| unsafe { access::load1(p) } as u8)
    }

    #[inline(always)]
    fn half(&self, off: usize) -> Option<u16> {
        // SAFETY: in the packet.
        self.at(off, 2).map(|p| unsafe { access::load2(p) } as u16)
    }

    #[inline(always)]
    fn words<const N: usize>(&self, off: usize) -> Option<[u32; N]> {
        let p = self.at(off, 4 * N)?;
        // SAFETY: `4 * N` bytes at `p` are in the packet.
        Some(unsafe { access::load_words(p) })
    }

    #[inline(always)]
    fn set_byte(&mut self, off: usize, value: u8) -> Option<()> {
        // SAFETY: in the packet.
        self.at(off, 1).map(|p| unsafe { access::store1(p, value) })
    }

    #[inline(always)]
    fn set_half(&mut self, off: usize, value: u16) -> Option<()> {
        // SAFETY: in the packet.
        self.at(off, 2).map(|p| unsafe { access::store2(p, value) })
    }

    #[inline(always)]
    fn set_words<const N: usize>(&mut self, off: usize, value: [u32; N]) -> Option<()> {
        let p = self.at(off, 4 * N)?;
        // SAFETY: `4 * N` bytes at `p` are in the packet.
        unsafe { access::store_words(p, value) };
        Some(())
    }

    /// What arrives has whole checksums: hardware has not taken any off yet. One difference after the other, as the kernel does it for a
    /// socket buffer, because two ways to the same sum may end in its two zeroes.
    #[inline(always)]
    fn fix_transport(&mut self, off: usize, pseudo: u32, rest: u32, udp: bool) -> Option<()> {
        let mut sum = self.half(off)?;
        if udp && sum == 0 {
            return Some(());
        }
        if pseudo != 0 {
            sum = fixed(sum, pseudo, udp);
        }
        if rest != 0 {
            sum = fixed(sum, rest, udp);
        }
        self.set_half(off, sum)
    }
}

/// RFC 768: a computed zero is sent as all ones.
#[inline(always)]
fn fixed(sum: u16, diff: u32, udp: bool) -> u16 {
    let sum = checksum::apply(sum, diff);
    if udp && sum == 0 { 0xffff } else { sum }
}
