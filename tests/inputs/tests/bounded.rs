//! Every entry point with its seeds and a fixed number of mutations of them: the same in each run.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use inputs::{Mutator, TARGETS};

/// Mutations of each target that answers in microseconds, and of the others.
const QUICK: usize = 20_000;
const SLOW: usize = 1000;
/// As many times more with `--long`.
const LONG: usize = 100;
/// No input is worth more time than this, unoptimised and beside other tests.
const LIMIT: Duration = Duration::from_secs(10);

#[test]
fn entry_points_survive_mutated_inputs() {
    let factor = if std::env::var_os("GANNET_TEST_LONG").is_some() { LONG } else { 1 };
    let mut faults = Vec::new();
    for (number, target) in TARGETS.iter().enumerate() {
        let mut mutator = Mutator::new(0x9e37_79b9 + number as u64);
        let count = factor * if target.quick { QUICK } else { SLOW };
        let mutated = std::iter::from_fn(|| Some(mutator.draw(target.seeds))).take(count);
        let started = process::instant();
        for input in target.seeds.iter().map(|seed| seed.to_vec()).chain(mutated) {
            let before = process::instant();
            if catch_unwind(AssertUnwindSafe(|| (target.run)(&input))).is_err() {
                faults.push(format!("{}: {:?}", target.name, String::from_utf8_lossy(&input)));
                break;
            }
            assert!(before.elapsed() < LIMIT, "{}: {:?} takes too long", target.name, String::from_utf8_lossy(&input));
        }
        eprintln!("{}: {count} inputs in {:?}", target.name, started.elapsed());
    }
    assert!(faults.is_empty(), "{} targets have faults:\n{}", faults.len(), faults.join("\n"));
}
