//! The reader of the programs' events.
use std::os::fd::{AsRawFd, RawFd};
use std::path::Path;

use abi::event::Event;
use abi::map;
use aya::maps::{Map, MapData, MapError, RingBuf};

use super::{Error, table};

/// The reading end of [`map::EVENTS`]. There is one: a record that was read is gone.
pub struct Events {
    ring: RingBuf<MapData>,
}

impl Events {
    /// Opens the buffer pinned below `pin_dir` ([`super::Options::pin_dir`]).
    pub fn open(pin_dir: &Path) -> Result<Events, Error> {
        let path = pin_dir.join(abi::SCHEMA).join(map::EVENTS);
        let ring = MapData::from_pin(path).and_then(|data| RingBuf::try_from(Map::RingBuf(data)));
        ring.map(|ring| Events { ring }).map_err(|source: MapError| Error::Map {
            what: "open",
            map: map::EVENTS,
            source: std::io::Error::other(source),
        })
    }

    /// The next record; `None` until there is one, which the descriptor tells by becoming readable.
    pub fn next_event(&mut self) -> Option<Event> {
        loop {
            let item = self.ring.next()?;
            if let Some(event) = event_of(&item) {
                return Some(event);
            }
        }
    }
}

impl AsRawFd for Events {
    fn as_raw_fd(&self) -> RawFd {
        self.ring.as_raw_fd()
    }
}

/// A record from its bytes; `None` if they are too few.
pub fn event_of(bytes: &[u8]) -> Option<Event> {
    (bytes.len() >= size_of::<Event>()).then(|| table::read::<Event>(bytes, 0))
}
