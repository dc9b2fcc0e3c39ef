//! The reader of the programs' events.
use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use abi::event::Event;
use abi::map;
use aya::maps::{Map, MapData, MapError, RingBuf};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

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
            source: io::Error::other(source),
        })
    }

    /// Blocks until there may be a record, for at most `patience_ms`.
    pub fn wait(&self, patience_ms: u16) -> io::Result<()> {
        let mut readable = [PollFd::new(self.ring.as_fd(), PollFlags::POLLIN)];
        match poll(&mut readable, PollTimeout::from(patience_ms)) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// The next record; `None` until there is one.
    pub fn next_event(&mut self) -> Option<Event> {
        loop {
            let item = self.ring.next()?;
            if let Some(event) = event_of(&item) {
                return Some(event);
            }
        }
    }
}

/// A record from its bytes; `None` if they are too few.
pub fn event_of(bytes: &[u8]) -> Option<Event> {
    (bytes.len() >= size_of::<Event>()).then(|| table::read::<Event>(bytes, 0))
}
