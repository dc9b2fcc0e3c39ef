//! One suite for every engine: what [`Backend`] promises, case by case, and a random comparison with a naive model.

mod cases;
mod model;

use std::sync::Arc;

use crate::{Backend, Config};

/// Makes a fresh, empty store.
pub(crate) type Make<'a> = &'a dyn Fn(Config) -> Arc<dyn Backend>;

/// Random histories for an engine that starts at once.
const RANDOM_CASES: u32 = 150;

/// Runs every case, each on a store of its own, and names the one that fails.
pub(crate) fn check(make: Make<'_>, random_cases: u32) {
    for (name, case) in cases::CASES {
        eprintln!("case {name}");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(case(make));
    }
    model::check(make, random_cases);
}

#[test]
fn memory_conforms() {
    check(&crate::memory_with, RANDOM_CASES);
}

#[test]
fn embedded_conforms() {
    let dir = tempfile::tempdir().unwrap();
    let count = std::cell::Cell::new(0);
    let make = |config| {
        count.set(count.get() + 1);
        crate::embedded_with(&dir.path().join(format!("{}.redb", count.get())), config).unwrap()
    };
    check(&make, RANDOM_CASES);
}
