//! SCTP's checksum: CRC32c over the whole packet (RFC 9260 section 6.8).
//!
//! A CRC is linear: what a change of the ports adds to it depends on the change and on how many bytes follow, and on none of those
//! bytes. So the change is carried over that many zero bytes, one power of two at a time.

use crate::{
    Buffer,
    parse::{L3, Packet, Part},
};

/// The Castagnoli polynomial, lowest power in the highest bit (RFC 9260 appendix A).
pub const POLYNOMIAL: u32 = 0x82f6_3b78;
/// Offset of the checksum in the header.
const CHECKSUM: usize = 8;
/// A packet's length has so many bits.
const LENGTH_BITS: usize = 16;
/// `SHIFTS[power][bit]`: what a bit of the register has become after `1 << power` zero bytes.
static SHIFTS: [[u32; 32]; LENGTH_BITS] = shifts();

/// Makes the checksum follow a change of the word with the ports. `None` if the packet ends before its header does, or is the first of
/// several fragments, which does not say how many bytes follow.
#[inline(always)]
pub fn fix<B: Buffer>(b: &mut B, p: &Packet, old: u32, new: u32) -> Option<()> {
    if p.part != Part::Whole {
        return None;
    }
    let sum = b.word(p.l4 + CHECKSUM)?;
    // Zero: a sender on this machine has left it to the device, which covers what it finds.
    if sum == 0 {
        return Some(());
    }
    let headers = (p.l4 - L3) as u32;
    let packet = if p.v6 { 40 + u16::from_be(b.half(L3 + 4)?) as u32 } else { u16::from_be(b.half(L3 + 2)?) as u32 };
    b.set_word(p.l4 + CHECKSUM, sum ^ difference(old, new, packet.wrapping_sub(headers)))
}

/// What replacing the first word of a packet of `len` bytes adds to its checksum, all as they lie in memory.
#[inline(always)]
pub fn difference(old: u32, new: u32, len: u32) -> u32 {
    // Four bytes that enter an empty register are the register, four zero bytes later.
    let mut register = u32::from_le(old ^ new);
    let mut power = 0;
    while power < LENGTH_BITS {
        // A choice without a branch, since each would double what the verifier follows.
        let on = ((len >> power) & 1).wrapping_neg();
        register ^= (register ^ shift(&SHIFTS[power], register)) & on;
        power += 1;
    }
    register.to_le()
}

#[inline(always)]
const fn shift(table: &[u32; 32], register: u32) -> u32 {
    let mut sum = 0;
    let mut bit = 0;
    while bit < 32 {
        sum ^= table[bit] & ((register >> bit) & 1).wrapping_neg();
        bit += 1;
    }
    sum
}

const fn shifts() -> [[u32; 32]; LENGTH_BITS] {
    let mut table = [[0; 32]; LENGTH_BITS];
    let mut bit = 0;
    while bit < 32 {
        let mut register: u32 = 1 << bit;
        let mut step = 0;
        while step < 8 {
            register = (register >> 1) ^ (POLYNOMIAL & (register & 1).wrapping_neg());
            step += 1;
        }
        table[0][bit] = register;
        bit += 1;
    }
    let mut power = 1;
    while power < LENGTH_BITS {
        let half = table[power - 1];
        let mut bit = 0;
        while bit < 32 {
            table[power][bit] = shift(&half, half[bit]);
            bit += 1;
        }
        power += 1;
    }
    table
}
