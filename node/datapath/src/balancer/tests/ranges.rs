use std::collections::BTreeSet;

use proptest::prelude::*;

use crate::balancer::free::{Numbers, Ranges};

proptest! {
    #[test]
    fn taken_ranges_never_overlap_and_all_come_back(ops in prop::collection::vec((1_u32..40, any::<bool>()), 1..200)) {
        let mut ranges = Ranges::new(400);
        let mut taken: Vec<(u32, u32)> = Vec::new();
        for (len, give) in ops {
            if give && !taken.is_empty() {
                let (start, len) = taken.remove(len as usize % taken.len());
                ranges.give(start, len);
            } else if let Some(start) = ranges.take(len) {
                prop_assert!(start + len <= 400);
                prop_assert!(taken.iter().all(|(at, have)| start + len <= *at || at + have <= start));
                taken.push((start, len));
            }
        }
        for (start, len) in taken {
            ranges.give(start, len);
        }
        prop_assert_eq!(ranges.take(400), Some(0));
    }
}

#[test]
fn what_stands_is_taken_out() {
    let mut ranges = Ranges::new(100);
    ranges.take_at(10, 20);
    ranges.take_at(90, 10);
    assert_eq!(ranges.take(30), Some(30));
    assert_eq!(ranges.take(10), Some(0));
    assert_eq!(ranges.take(31), None);
}

#[test]
fn numbers_come_once() {
    let mut numbers = Numbers::new(1, 4, &BTreeSet::from([2]));
    assert_eq!([numbers.take(), numbers.take(), numbers.take()], [Some(1), Some(3), None]);
    numbers.give(2);
    assert_eq!(numbers.take(), Some(2));
}
