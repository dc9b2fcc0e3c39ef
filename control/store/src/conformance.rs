//! One suite for every engine: what [`Backend`] promises, case by case, and a random comparison with a naive model.

mod cases;
mod model;

use std::sync::Arc;

use crate::{Backend, Config};

/// Makes a fresh, empty store.
pub(crate) type Make<'a> = &'a dyn Fn(Config) -> Arc<dyn Backend>;

/// Runs every case, each on a store of its own, and names the one that fails.
pub(crate) fn check(make: Make<'_>) {
    for (name, case) in cases::CASES {
        eprintln!("case {name}");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(case(make));
    }
    model::check(make);
}

#[test]
fn memory_conforms() {
    check(&crate::memory_with);
}

#[test]
fn embedded_conforms() {
    let dir = tempfile::tempdir().unwrap();
    let count = std::cell::Cell::new(0);
    check(&|config| {
        count.set(count.get() + 1);
        crate::embedded_with(&dir.path().join(format!("{}.redb", count.get())), config).unwrap()
    });
}
