//! The table of Services: open addressing in an array that user space maps into its memory and writes without a call.
//!
//! A reader looks at the rows from [`home`] on, as many as the home row's [`reach`] says. What an entry leads to is one aligned word,
//! [`ServiceRow::value`], so that it changes at once; a row with none is free, and a row's key changes only while it is free and no
//! program that began when it was not still runs. Readers never see half a change.

use crate::{ServiceKey, ServiceValue};

/// Rows of [`crate::map::SERVICES`] (ARRAY, mapped); a power of two, twice as many as entries, so that rows are near their homes.
pub const SERVICE_ROWS: u32 = 2 * crate::MAX_SERVICES;
/// Longest way from an entry's home, in rows. Half full, a table of this size has entries some 30 rows away.
pub const SERVICE_REACH: u32 = 96;

/// One row.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServiceRow {
    pub key: ServiceKey,
    /// [`reach`] of the entries whose home this row is, and [`ServiceValue::affinity_s`] of the entry in it; see [`ServiceRow::rest`].
    pub rest: u32,
    /// [`ServiceRow::pack`]; 0: free.
    pub value: u64,
}

/// Bits of the fields of [`ServiceRow::value`], from the lowest on: number, first slot, slots, flags.
const ID_BITS: u32 = 18;
const BASE_BITS: u32 = 22;
const LEN_BITS: u32 = 17;
/// Most seconds of session affinity that an entry can have; the API allows a day.
pub const MAX_AFFINITY_S: u32 = (1 << (32 - ServiceRow::REACH_BITS)) - 1;

impl ServiceRow {
    /// The lowest bits of [`ServiceRow::rest`] are the reach.
    pub const REACH_BITS: u32 = 8;
    pub const REACH_MASK: u32 = (1 << ServiceRow::REACH_BITS) - 1;

    /// All of a value but its affinity in one word, which is never 0, because numbers are not.
    #[inline(always)]
    pub const fn pack(value: &ServiceValue) -> u64 {
        value.id as u64
            | (value.base as u64) << ID_BITS
            | (value.len as u64) << (ID_BITS + BASE_BITS)
            | (value.flags as u64) << (ID_BITS + BASE_BITS + LEN_BITS)
    }

    /// The value of a packed word.
    #[inline(always)]
    pub const fn unpack(word: u64, affinity_s: u32) -> ServiceValue {
        ServiceValue {
            id: word as u32 & ((1 << ID_BITS) - 1),
            base: (word >> ID_BITS) as u32 & ((1 << BASE_BITS) - 1),
            len: (word >> (ID_BITS + BASE_BITS)) as u32 & ((1 << LEN_BITS) - 1),
            affinity_s,
            flags: (word >> (ID_BITS + BASE_BITS + LEN_BITS)) as u32,
        }
    }

    /// [`ServiceRow::rest`] of a reach and an affinity.
    #[inline(always)]
    pub const fn rest(reach: u32, affinity_s: u32) -> u32 {
        reach & ServiceRow::REACH_MASK | affinity_s << ServiceRow::REACH_BITS
    }

    /// How many rows, from this one on, may hold an entry whose home this is; 0: there is none.
    #[inline(always)]
    pub const fn reach(&self) -> u32 {
        self.rest & ServiceRow::REACH_MASK
    }

    /// Session affinity of the entry in this row, in seconds; 0 for none.
    #[inline(always)]
    pub const fn affinity_s(&self) -> u32 {
        self.rest >> ServiceRow::REACH_BITS
    }

    /// The entry in this row; `None` if it is free.
    #[inline(always)]
    pub const fn entry(&self) -> Option<(ServiceKey, ServiceValue)> {
        if self.value == 0 { None } else { Some((self.key, ServiceRow::unpack(self.value, self.affinity_s()))) }
    }
}

/// The first row to look at for a key.
#[inline(always)]
pub fn home(key: &ServiceKey) -> u32 {
    let words = &key.addr.0;
    let low = words[2] as u64 ^ (words[3] as u64) << 32;
    let high = words[0] as u64 ^ (words[1] as u64) << 32;
    let rest = key.port.0 as u64 | (key.proto as u64) << 16 | (key.scope as u64) << 24;
    let mixed = (low ^ rest).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ high.wrapping_mul(0xc2b2_ae3d_27d4_eb4f);
    let mixed = (mixed ^ (mixed >> 29) ^ rest << 20).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (mixed >> 40) as u32 & (SERVICE_ROWS - 1)
}

const _: () = {
    assert!(size_of::<ServiceRow>() == 32);
    assert!(SERVICE_ROWS.is_power_of_two());
    assert!(SERVICE_REACH <= ServiceRow::REACH_MASK);
    assert!(crate::MAX_CONNECTS <= 1 << ID_BITS);
    assert!(crate::MAX_SLOTS < 1 << BASE_BITS);
};
