use abi::balance::{MAX_ROWS, PROBES, VIP_LIVE, Vip};
use abi::{Addr, Be16, IPPROTO_TCP};

use crate::balancer::*;

fn key(i: u32) -> VipKey {
    let [_, a, b, c] = i.to_be_bytes();
    VipKey { addr: Addr::v4([10, a, b, c]), port: Be16::new(80), proto: IPPROTO_TCP }
}

#[test]
fn ten_thousand_addresses_have_rows_where_readers_look() {
    let mut rows = Rows::default();
    let mut table = vec![Vip::default(); MAX_ROWS as usize];
    for i in 0..10_000 {
        let row = rows.take(key(i)).expect("a third of the table");
        table[row as usize] = vip(&key(i), i, 0, 0);
    }
    for i in 0..10_000 {
        let VipKey { addr, port, proto } = key(i);
        let first = abi::balance::row_of(&addr, port, proto);
        let mut probes = (0..PROBES).map(|probe| table[(first.wrapping_add(probe) & (MAX_ROWS - 1)) as usize]);
        let found = probes.find(|row| row.state & VIP_LIVE != 0 && row.addr == addr);
        assert_eq!(found.map(|row| row.number), Some(i));
    }
}

#[test]
fn a_row_is_taken_once_and_again_after_it_was_freed() {
    let mut rows = Rows::default();
    let row = rows.take(key(1)).expect("an empty table");
    assert_eq!(rows.take(key(1)), Ok(row));
    assert_eq!(rows.free(&key(1)), Some(row));
    assert_eq!(rows.free(&key(1)), None);
    assert_eq!(rows.take(key(1)), Ok(row));
}

#[test]
fn a_full_neighbourhood_is_an_error() {
    let mut rows = Rows::default();
    let refused = (0..MAX_ROWS * 2).filter(|i| rows.take(key(*i)).is_err()).count();
    assert!(refused >= MAX_ROWS as usize, "{refused}");
    assert!(rows.iter().all(|(key, row)| rows.get(key) == Some(row)));
}
