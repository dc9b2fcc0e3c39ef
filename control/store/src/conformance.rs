//! One suite for every engine: what [`Backend`] promises, case by case, and a random comparison with a naive model.

mod cases;
mod model;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::{Backend, Config};

/// Makes a fresh, empty store.
pub(crate) type Make<'a> = &'a (dyn Fn(Config) -> Arc<dyn Backend> + Sync);

/// Cases at once: an engine with servers mostly waits for them to start.
const THREADS: usize = 5;

/// Random histories for an engine that starts at once.
const RANDOM_CASES: u32 = 150;

/// Runs every case, each on a store of its own, and names the one that fails.
pub(crate) fn check(make: Make<'_>, random_cases: u32) {
    std::thread::scope(|scope| {
        scope.spawn(|| model::check(make, random_cases));
        for thread in 0..THREADS {
            scope.spawn(move || {
                for (name, case) in cases::CASES.iter().skip(thread).step_by(THREADS) {
                    eprintln!("case {name}");
                    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                    runtime.block_on(case(make));
                }
            });
        }
    });
}

#[test]
fn memory_conforms() {
    check(&crate::memory_with, RANDOM_CASES);
}

#[test]
fn embedded_conforms() {
    let dir = tempfile::tempdir().unwrap();
    let count = AtomicUsize::new(0);
    let make = |config| {
        let path = dir.path().join(format!("{}.redb", count.fetch_add(1, Ordering::Relaxed)));
        crate::embedded_with(&path, config).unwrap()
    };
    check(&make, RANDOM_CASES);
}
