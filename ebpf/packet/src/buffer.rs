//! How the packet code sees the bytes of a packet.

/// A packet from its Ethernet header on. Words are in memory order: `u32::to_ne_bytes` gives the bytes as they travel.
///
/// Every access is checked; `None` means that the packet ends before. Implementations must not round or wrap offsets.
pub trait Buffer {
    /// Bytes of the whole packet, wherever offsets count from.
    fn size(&self) -> usize;
    /// The byte at `off`.
    fn byte(&self, off: usize) -> Option<u8>;
    /// The two bytes at `off`.
    fn half(&self, off: usize) -> Option<u16>;
    /// The `4 * N` bytes at `off`.
    fn words<const N: usize>(&self, off: usize) -> Option<[u32; N]>;
    /// Replaces the byte at `off`.
    fn set_byte(&mut self, off: usize, value: u8) -> Option<()>;
    /// Replaces the two bytes at `off`.
    fn set_half(&mut self, off: usize, value: u16) -> Option<()>;
    /// Replaces the `4 * N` bytes at `off`.
    fn set_words<const N: usize>(&mut self, off: usize, value: [u32; N]) -> Option<()>;
    /// Adjusts the transport checksum at `off` by two differences (see [`crate::checksum::diff`]): `pseudo` for what stands in
    /// the pseudo-header, `rest` for what the transport header holds. They are apart because a sender that leaves the
    /// sum to hardware has written the pseudo-header's part only. `udp`: zero means no checksum and stays zero.
    fn fix_transport(&mut self, off: usize, pseudo: u32, rest: u32, udp: bool) -> Option<()>;

    /// Whether the frame carried a VLAN tag that is not among its bytes any more (IEEE 802.1Q; drivers take it off).
    #[inline(always)]
    fn is_tagged(&self) -> bool {
        false
    }

    /// Whether the frame is addressed to another interface than the one with this MAC, where it came in: it is here only because that is
    /// promiscuous. A socket buffer says so itself.
    #[inline(always)]
    fn is_for_another(&self, own: &[u8; 6]) -> bool {
        self.is_addressed_otherwise(own)
    }

    /// The same by the frame's destination.
    #[inline(always)]
    fn is_addressed_otherwise(&self, own: &[u8; 6]) -> bool {
        let (Some(high), Some(low)) = (self.word(0), self.half(4)) else { return false };
        let [a, b, c, d, e, f] = *own;
        let apart = (high ^ u32::from_ne_bytes([a, b, c, d])) | (low ^ u16::from_ne_bytes([e, f])) as u32;
        // The lowest bit of the first byte: a group's.
        apart != 0 && high.to_ne_bytes()[0] & 1 == 0
    }

    /// Bytes of payload of each segment, if this is several segments of a stream under one header (GSO); else 0. The length of such a
    /// packet may be more than its field holds.
    #[inline(always)]
    fn segment(&self) -> usize {
        0
    }

    /// Packets that this one stands for: more than one if it is several segments under one header.
    #[inline(always)]
    fn segments(&self) -> u32 {
        1
    }

    /// Bytes from where offsets count from.
    #[inline(always)]
    fn rest(&self) -> usize {
        self.size()
    }

    /// The word at `off`.
    #[inline(always)]
    fn word(&self, off: usize) -> Option<u32> {
        let [word] = self.words::<1>(off)?;
        Some(word)
    }

    /// Replaces the word at `off`.
    #[inline(always)]
    fn set_word(&mut self, off: usize, value: u32) -> Option<()> {
        self.set_words::<1>(off, [value])
    }
}
