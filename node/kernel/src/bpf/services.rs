//! The table of Services in our memory; [`datapath::service_rows`] says which stores change it.
use std::io;
use std::mem::offset_of;
use std::os::fd::AsFd;
use std::path::Path;

use abi::service::{SERVICE_ROWS, ServiceRow};
use abi::{ServiceKey, ServiceValue, map};
use datapath::service_rows::{self, Store};

use super::{Error, Mapped, object};

/// The rows, shared with the programs that read them.
pub struct Services(Mapped<ServiceRow>);

impl Services {
    /// Maps the table.
    ///
    /// # Errors
    /// Those of mmap(2).
    pub fn new(map: impl AsFd) -> io::Result<Services> {
        Mapped::new(map, SERVICE_ROWS as usize).map(Services)
    }

    /// The entries with their rows, and rows with entries that no packet finds.
    pub fn entries(&self) -> (Vec<(u32, ServiceKey, ServiceValue)>, Vec<(u32, ServiceKey)>) {
        let rows = (0..SERVICE_ROWS).map(|row| (row, self.read(row)));
        service_rows::entries(rows, |row| self.read(row).reach())
    }

    /// Makes an entry stand in its row: one that stands already, or a row that is free and that no running program may have met
    /// under another key.
    pub fn put(&mut self, row: u32, key: &ServiceKey, value: &ServiceValue) {
        let stores = service_rows::put(|row| self.read(row), row, key, value);
        self.execute(&stores);
    }

    /// Takes the entry of a row away.
    pub fn delete(&mut self, row: u32) {
        let stores = service_rows::delete(|row| self.read(row), row);
        self.execute(&stores);
    }

    /// Plans name no row beyond the end.
    fn read(&self, row: u32) -> ServiceRow {
        self.0.get(row as usize).unwrap_or_default()
    }

    fn execute(&mut self, stores: &[Store]) {
        for store in stores {
            let at = store.row() as usize;
            let within = match store {
                Store::Key(row, key) => {
                    let free = ServiceRow { key: *key, ..self.read(*row) };
                    self.0.set(at, &free)
                }
                Store::Rest(_, rest) => self.0.set_half(at, offset_of!(ServiceRow, rest), *rest),
                Store::Value(_, value) => self.0.set_word(at, offset_of!(ServiceRow, value), *value),
            };
            debug_assert!(within, "{store:?}");
        }
    }
}

/// The pinned table.
pub(super) fn open(pins: &Path) -> Result<Services, Error> {
    let fail = |source| Error::Map { what: "map", map: map::SERVICES, source };
    Services::new(object::open_map(pins, map::SERVICES)?).map_err(fail)
}
