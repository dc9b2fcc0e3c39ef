//! The open-addressed table of virtual addresses, as [`abi::balance`] lays it out.

use std::collections::BTreeMap;

use abi::balance::{MAX_ROWS, PROBES, VIP_LIVE, VIP_USED, Vip, row_of};
use abi::{Addr, Be16};

/// A virtual address, port and protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VipKey {
    pub addr: Addr,
    pub port: Be16,
    pub proto: u8,
}

/// All rows that a reader may look at are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no free row within {PROBES} of row {row}: the table has {MAX_ROWS} rows, {used} of them in use")]
pub struct Full {
    pub row: u32,
    pub used: usize,
}

/// Which row has which address.
#[derive(Clone, Debug, Default)]
pub struct Rows {
    row_of: BTreeMap<VipKey, u32>,
    key_at: BTreeMap<u32, VipKey>,
}

impl Rows {
    /// The row of an address that has one.
    pub fn get(&self, key: &VipKey) -> Option<u32> {
        self.row_of.get(key).copied()
    }

    /// The row of an address, which gets one if it has none.
    ///
    /// # Errors
    /// [`Full`]: others have all rows where a reader would look.
    pub fn take(&mut self, key: VipKey) -> Result<u32, Full> {
        if let Some(row) = self.get(&key) {
            return Ok(row);
        }
        let first = row_of(&key.addr, key.port, key.proto) & (MAX_ROWS - 1);
        let rows = (0..PROBES).map(|i| first.wrapping_add(i) & (MAX_ROWS - 1));
        let free = rows.into_iter().find(|row| !self.key_at.contains_key(row));
        let row = free.ok_or(Full { row: first, used: self.key_at.len() })?;
        self.key_at.insert(row, key);
        self.row_of.insert(key, row);
        Ok(row)
    }

    /// Gives an address the row that it has in the table.
    pub fn place(&mut self, key: VipKey, row: u32) {
        self.key_at.insert(row, key);
        self.row_of.insert(key, row);
    }

    /// Frees the row of an address and returns it. In the table it stays used, so that readers probe on.
    pub fn free(&mut self, key: &VipKey) -> Option<u32> {
        let row = self.row_of.remove(key)?;
        self.key_at.remove(&row);
        Some(row)
    }

    /// Every address with its row.
    pub fn iter(&self) -> impl Iterator<Item = (&VipKey, u32)> {
        self.row_of.iter().map(|(key, row)| (key, *row))
    }
}

/// The content of a live row.
pub fn vip(key: &VipKey, number: u32, ring: u64, bits: u8) -> Vip {
    Vip { addr: key.addr, port: key.port, proto: key.proto, state: VIP_USED | VIP_LIVE | bits, number, ring }
}
