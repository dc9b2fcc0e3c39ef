//! Where entries of the table of Services stand, and the stores that change them. See [`abi::service`].
use std::collections::HashMap;

use abi::service::{SERVICE_REACH, SERVICE_ROWS, ServiceRow, home};
use abi::{ServiceKey, ServiceValue};

/// One store, or stores that no program can tell apart, because the row is free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Store {
    /// The key of a free row.
    Key(u32, ServiceKey),
    /// [`ServiceRow::rest`] of a row.
    Rest(u32, u32),
    /// [`ServiceRow::value`] of a row.
    Value(u32, u64),
}

impl Store {
    /// The row and what becomes of it.
    pub fn change(&self, row: &mut ServiceRow) {
        match *self {
            Store::Key(_, key) => row.key = key,
            Store::Rest(_, rest) => row.rest = rest,
            Store::Value(_, value) => row.value = value,
        }
    }

    /// The number of the row.
    pub fn row(&self) -> u32 {
        match *self {
            Store::Key(row, _) | Store::Rest(row, _) | Store::Value(row, _) => row,
        }
    }
}

/// The stores that make an entry stand in its row ([`Places`]), in order: the entry is reached before it is there, and one that is
/// there changes at once, but for the length of its affinity.
pub fn put(read: impl Fn(u32) -> ServiceRow, row: u32, key: &ServiceKey, value: &ServiceValue) -> Vec<Store> {
    let mut stores = Vec::with_capacity(4);
    let before = read(row);
    if before.key != *key {
        stores.push(Store::Key(row, *key));
    }
    let first = home(key);
    let reach = distance(first, row) + 1;
    let at_home = read(first);
    if at_home.reach() < reach && first != row {
        stores.push(Store::Rest(first, ServiceRow::rest(reach, at_home.affinity_s())));
    }
    let own_reach = if first == row { before.reach().max(reach) } else { before.reach() };
    let rest = ServiceRow::rest(own_reach, value.affinity_s.min(abi::service::MAX_AFFINITY_S));
    if before.rest != rest {
        stores.push(Store::Rest(row, rest));
    }
    if before.value != ServiceRow::pack(value) {
        stores.push(Store::Value(row, ServiceRow::pack(value)));
    }
    stores
}

/// The stores that take the entry of a row away, in order. Until programs that may have met it have ended, the row keeps its key.
pub fn delete(read: impl Fn(u32) -> ServiceRow, row: u32) -> Vec<Store> {
    let mut stores = vec![Store::Value(row, 0)];
    let first = home(&read(row).key);
    let at_home = read(first);
    let is_of = |i: &u32| {
        let at = nth(first, *i);
        let there = read(at);
        at != row && there.value != 0 && home(&there.key) == first
    };
    let reach = (0..at_home.reach().min(SERVICE_REACH)).rev().find(is_of).map_or(0, |last| last + 1);
    if reach != at_home.reach() {
        stores.push(Store::Rest(first, ServiceRow::rest(reach, at_home.affinity_s())));
    }
    stores
}

/// What a table holds: entries where a reader finds them, with their rows, and the rows of others.
pub fn entries(
    rows: impl Iterator<Item = (u32, ServiceRow)>,
    reach_at: impl Fn(u32) -> u32,
) -> (Vec<(u32, ServiceKey, ServiceValue)>, Vec<(u32, ServiceKey)>) {
    let mut found: HashMap<ServiceKey, (u32, ServiceValue)> = HashMap::new();
    let mut lost = Vec::new();
    for (row, content) in rows {
        let Some((key, value)) = content.entry() else { continue };
        let first = home(&key);
        if distance(first, row) >= reach_at(first).min(SERVICE_REACH) {
            lost.push((row, key));
            continue;
        }
        // Of two the one that is nearer counts.
        match found.get_mut(&key) {
            Some(other) if distance(first, other.0) < distance(first, row) => lost.push((row, key)),
            Some(other) => {
                lost.push((other.0, key));
                *other = (row, value);
            }
            None => _ = found.insert(key, (row, value)),
        }
    }
    (found.into_iter().map(|(key, (row, value))| (row, key, value)).collect(), lost)
}

/// A whole table of these entries; those that find no row are left out.
pub fn table(entries: impl IntoIterator<Item = (ServiceKey, ServiceValue)>) -> HashMap<u32, ServiceRow> {
    let mut places = Places::default();
    let mut rows: HashMap<u32, ServiceRow> = HashMap::new();
    for (key, value) in entries {
        let Some(row) = places.take(&key) else { continue };
        let stores = put(|row| rows.get(&row).copied().unwrap_or_default(), row, &key, &value);
        stores.iter().for_each(|store| store.change(rows.entry(store.row()).or_default()));
    }
    rows
}

/// Which key has which row. A row that was given up stays its key's until it is freed.
#[derive(Clone, Debug, Default)]
pub struct Places {
    rows: HashMap<ServiceKey, u32>,
    taken: Vec<bool>,
}

impl Places {
    /// A key that stands in a row, or stood and may still be met there.
    pub fn hold(&mut self, key: ServiceKey, row: u32) {
        self.rows.insert(key, row);
        self.set(row, true);
    }

    /// The row of a key, which gets the first free one near its home if it has none. `None`: there is none where readers look.
    pub fn take(&mut self, key: &ServiceKey) -> Option<u32> {
        if let Some(row) = self.rows.get(key) {
            return Some(*row);
        }
        let first = home(key);
        let free = |row: &u32| !self.taken.get(*row as usize).copied().unwrap_or(false);
        let row = (0..SERVICE_REACH).map(|i| nth(first, i)).find(free)?;
        self.hold(*key, row);
        Some(row)
    }

    /// No program meets the key in its row any more.
    pub fn free(&mut self, key: &ServiceKey) {
        if let Some(row) = self.rows.remove(key) {
            self.set(row, false);
        }
    }

    fn set(&mut self, row: u32, taken: bool) {
        if self.taken.is_empty() {
            self.taken.resize(SERVICE_ROWS as usize, false);
        }
        if let Some(place) = self.taken.get_mut(row as usize) {
            *place = taken;
        }
    }
}

/// The `i`th row to look at.
fn nth(home: u32, i: u32) -> u32 {
    home.wrapping_add(i) & (SERVICE_ROWS - 1)
}

/// Which row that is, seen from a home.
fn distance(home: u32, row: u32) -> u32 {
    row.wrapping_sub(home) & (SERVICE_ROWS - 1)
}
