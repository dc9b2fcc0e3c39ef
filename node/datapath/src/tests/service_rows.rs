//! The table of Services is read while it is written: a reader between any two stores finds each entry as it was or as it will be.
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};

use abi::service::{SERVICE_ROWS, ServiceRow, home};
use abi::{Addr, Be16, MAX_SERVICES, ServiceKey, ServiceValue};
use packet::service::{Row, Rows, probe};
use proptest::prelude::*;

use crate::service_rows::{Places, Store, delete, entries, put, table};

/// A table in memory. Readers hold keys, which do not change under them.
#[derive(Default)]
struct Table {
    rows: RefCell<HashMap<u32, &'static ServiceRow>>,
    /// Stores that happen before each of a reader's looks, the next one last.
    coming: RefCell<Vec<Store>>,
    /// How many happen at each look.
    pace: Cell<usize>,
}

static FREE: ServiceRow =
    ServiceRow { key: ServiceKey { addr: Addr::ANY, port: Be16(0), proto: 0, scope: 0 }, rest: 0, value: 0 };

impl Table {
    fn read(&self, row: u32) -> ServiceRow {
        self.rows.borrow().get(&row).map_or(FREE, |row| **row)
    }

    fn store(&self, store: &Store) {
        let mut row = self.read(store.row());
        store.change(&mut row);
        // Leaked, so that a reader may go on holding what it saw.
        self.rows.borrow_mut().insert(store.row(), Box::leak(Box::new(row)));
    }

    fn find(&self, key: &ServiceKey) -> Option<ServiceValue> {
        let mut value = ServiceValue::default();
        probe(self, key, &mut value).then_some(value)
    }
}

impl Rows for Table {
    fn row(&self, index: u32) -> Option<Row<'_>> {
        for _ in 0..self.pace.get() {
            let next = self.coming.borrow_mut().pop();
            next.iter().for_each(|store| self.store(store));
        }
        (index < SERVICE_ROWS).then(|| self.rows.borrow().get(&index).map_or(Row::from(&FREE), |row| Row::from(*row)))
    }
}

/// Keys with few homes, some of them at the table's end.
fn crowd() -> Vec<ServiceKey> {
    let addr = |i: u8| Addr::v4([10, 96, i, 1]);
    let key = |port: u16, i: u8| ServiceKey { addr: addr(i), port: Be16::new(port), proto: 6, scope: 0 };
    let mut keys: Vec<ServiceKey> = (0..40).flat_map(|i| (1..=u16::MAX).map(move |port| key(port, i))).collect();
    keys.retain(|key| [7, 8, 10, SERVICE_ROWS - 1].contains(&home(key)));
    keys.truncate(24);
    keys
}

fn event() -> impl Strategy<Value = (usize, Option<(u32, u32)>, bool)> {
    (0_usize..24, prop::option::weighted(0.7, (1_u32..50, 0_u32..3)), prop::bool::ANY)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn readers_meet_old_or_new(events in prop::collection::vec(event(), 1..40), pace in 0_usize..3) {
        let keys = crowd();
        prop_assert_eq!(keys.len(), 24);
        let (table, mut places) = (Table::default(), Places::default());
        let mut wanted: BTreeMap<ServiceKey, ServiceValue> = BTreeMap::new();
        let mut dead: Vec<ServiceKey> = Vec::new();
        for (index, change, grace) in events {
            let key = keys[index];
            let old = wanted.get(&key).copied();
            let stores = match change {
                Some((base, affinity_s)) => {
                    let value = ServiceValue { id: index as u32 + 1, base, len: base % 5, affinity_s, flags: affinity_s };
                    dead.retain(|one| *one != key);
                    wanted.insert(key, value);
                    put(|row| table.read(row), places.take(&key).unwrap(), &key, &value)
                }
                None => {
                    let Some(_) = wanted.remove(&key) else { continue };
                    dead.push(key);
                    delete(|row| table.read(row), places.take(&key).unwrap())
                }
            };
            // Readers of each key run while the stores happen.
            for watched in &keys {
                let before = table.rows.borrow().clone();
                table.coming.replace(stores.iter().rev().copied().collect());
                table.pace.set(pace);
                let found = table.find(watched);
                let new = wanted.get(watched).copied();
                if watched == &key {
                    // Another length of affinity may be there a store before the rest.
                    let without = |value: Option<ServiceValue>| value.map(|v| ServiceValue { affinity_s: 0, ..v });
                    let known = [without(old), without(new)];
                    prop_assert!(known.contains(&without(found)), "{:?} is neither of {:?}", found, known);
                } else {
                    prop_assert_eq!(found, new, "{:?} while {:?} changed", watched, key);
                }
                table.pace.set(0);
                table.rows.replace(before);
            }
            stores.iter().for_each(|store| table.store(store));
            if grace {
                dead.drain(..).for_each(|key| places.free(&key));
            }
            let rows: Vec<(u32, ServiceRow)> = table.rows.borrow().iter().map(|(row, one)| (*row, **one)).collect();
            let (found, lost) = entries(rows.into_iter(), |row| table.read(row).reach());
            prop_assert_eq!(lost, vec![]);
            let found: BTreeMap<_, _> = found.into_iter().map(|(_, key, value)| (key, value)).collect();
            prop_assert_eq!(&found, &wanted);
        }
        // Where nothing is left, readers look at one row.
        for key in wanted.keys() {
            for store in delete(|row| table.read(row), places.take(key).unwrap()) {
                table.store(&store);
            }
        }
        prop_assert!(table.rows.borrow().values().all(|row| row.reach() == 0 && row.value == 0));
    }
}

#[test]
fn a_packed_value_is_itself() {
    for (id, base, len) in [(1, 0, 0), (abi::MAX_CONNECTS - 1, abi::MAX_SLOTS - 1, 65_521), (77, 3, 2)] {
        let value = ServiceValue { id, base, len, affinity_s: 86_400, flags: 0x7f };
        let row = ServiceRow { rest: ServiceRow::rest(96, 86_400), value: ServiceRow::pack(&value), ..FREE };
        assert_eq!(row.entry().unwrap().1, value);
        assert_eq!(row.reach(), 96);
    }
}

/// As many entries as there may be have rows where readers look, in the ways in which clusters number their Services.
#[test]
fn a_full_table_has_room_for_all() {
    let of = |i: u32, mask: u32| {
        let [_, a, b, c] = (i & mask).to_be_bytes();
        let (addr, port) = (Addr::v4([10, 96 + a, b, c]), Be16::new(80 + (i / (mask + 1)) as u16));
        ServiceKey { addr, port, proto: 6, scope: 0 }
    };
    for mask in [0x1_ffff, 0xffff, 0xff, 0x3] {
        let keys: Vec<ServiceKey> = (0..MAX_SERVICES).map(|i| of(i, mask)).collect();
        let rows = table(keys.iter().map(|key| (*key, ServiceValue { id: 1, ..ServiceValue::default() })));
        let live = rows.values().filter(|row| row.value != 0).count();
        let furthest = rows.values().map(ServiceRow::reach).max();
        assert_eq!(live, MAX_SERVICES as usize, "furthest {furthest:?}");
    }
}

/// Two entries of one key, and one beyond its home's reach, are found and named.
#[test]
fn strays_are_told_apart() {
    let key = ServiceKey { addr: Addr::v4([10, 96, 0, 1]), port: Be16::new(80), proto: 6, scope: 0 };
    let first = home(&key);
    let value = ServiceValue { id: 1, ..ServiceValue::default() };
    let row = |rest| ServiceRow { key, rest, value: ServiceRow::pack(&value) };
    let rows = [(first, row(2)), (first + 1, row(0)), (first + 5, row(0))];
    let reach = |at: u32| rows.iter().find(|(row, _)| *row == at).map_or(0, |(_, row)| row.reach());
    let (found, mut lost) = entries(rows.into_iter().rev(), reach);
    lost.sort();
    assert_eq!(found, [(first, key, value)]);
    assert_eq!(lost, [(first + 1, key), (first + 5, key)]);
}
