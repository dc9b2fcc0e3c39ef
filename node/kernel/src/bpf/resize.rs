//! A flow table of another size takes the place of the one that stands, and its connections go on.
//!
//! The new arrays are made in a folder beside the pins and get a copy of the living flows; then each changes its place with the one that is
//! pinned, and programs are loaded with them. When those have taken the old ones' place, what packets changed in the old table meanwhile is
//! copied as well. A process that ends anywhere in between leaves the folder, from which the next one goes on.

#[cfg(test)]
mod tests;

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::{fs, io};

use abi::{Config, flow, map};
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use packet::host::{Carried, carry};

use super::flow_table::FlowTable;
use super::object::{self, FLOW_TABLE, SHAPES};
use super::seen::now_s;
use super::table::Table;
use super::{Error, sys};

/// The folder beside the pins.
pub const FOLDER: &str = "resize";

/// Puts a table of 2^`wanted` records in the place of one of another size; returns which it is now: where there is no memory for another
/// one, that which stands.
pub fn begin(pins: &Path, wanted: u32) -> Result<u32, Error> {
    settle(pins)?;
    let folder = pins.join(FOLDER);
    let Some(standing) = bits(pins)? else { return Ok(wanted) };
    if standing == wanted {
        return Ok(wanted);
    }
    let beside = bits(&folder)?;
    if beside.is_some_and(|bits| bits != wanted) {
        copy(&folder, pins)?;
        remove(&folder)?;
    }
    if beside != Some(wanted)
        && let Err(error) = make(&folder, wanted)
    {
        remove(&folder)?;
        let (records, kept) = (flow::flow_records(wanted), flow::flow_records(standing));
        tracing::warn!(%error, "no flow table of {records} connections: the one of {kept} stays");
        return Ok(standing);
    }
    copy(pins, &folder)?;
    FLOW_TABLE.into_iter().try_for_each(|name| exchange(pins, &folder, name))?;
    Ok(wanted)
}

/// Once no program uses the old table any more: copies what it has that the new one has not, and removes it.
pub fn finish(pins: &Path) -> Result<(), Error> {
    let folder = pins.join(FOLDER);
    if !folder.exists() {
        return Ok(());
    }
    super::grace_period()?;
    let Carried { kept, lost } = copy(&folder, pins)?;
    remove(&folder)?;
    let records = bits(pins)?.map(flow::flow_records);
    if lost > 0 {
        tracing::warn!(
            records,
            kept,
            lost,
            "the flow table has another size, and not every connection found a place in it"
        );
    } else {
        tracing::info!(records, kept, "the flow table has another size");
    }
    Ok(())
}

/// Where a process ended while the arrays changed their places, the rest of them do. Arrays of which some were never made go.
fn settle(pins: &Path) -> Result<(), Error> {
    let folder = pins.join(FOLDER);
    if !folder.exists() {
        return Ok(());
    }
    let (here, there) = (sizes(pins)?, sizes(&folder)?);
    if there.contains(&None) {
        return remove(&folder);
    }
    for (name, size) in FLOW_TABLE.into_iter().zip(here) {
        // The first one leads.
        if size != here[0] {
            exchange(pins, &folder, name)?;
        }
    }
    Ok(())
}

/// New arrays, pinned in the folder.
fn make(folder: &Path, bits: u32) -> Result<(), Error> {
    fs::create_dir_all(folder).map_err(|source| Error::Directory { path: folder.to_owned(), source })?;
    for shape in SHAPES.iter().filter(|shape| FLOW_TABLE.contains(&shape.0)) {
        let (name, _, value, entries) = object::at_size(shape, bits);
        let made = sys::mappable_array(name, value, entries).and_then(|fd| sys::pin(fd.as_fd(), &folder.join(name)));
        made.map_err(|source| Error::Map { what: "make another", map: name, source })?;
    }
    Ok(())
}

/// Copies the flows of the table pinned in one folder into that of another. Nothing to copy if there is none.
fn copy(from: &Path, to: &Path) -> Result<Carried, Error> {
    // One of the two is the pins' own folder.
    let pins = if from.ends_with(FOLDER) { to } else { from };
    let config = match object::open_map(pins, map::CONFIG) {
        Ok(fd) => Table::<u32, Config>::new(map::CONFIG, fd).get(&0)?.unwrap_or_default(),
        Err(Error::Map { source, .. }) if source.kind() == io::ErrorKind::NotFound => Config::default(),
        Err(error) => return Err(error),
    };
    let (Some(old), Some(new)) = (bits(from)?, bits(to)?) else { return Ok(Carried::default()) };
    let old = FlowTable::open(from, old, config.seed)?;
    Ok(carry(&old, &FlowTable::open(to, new, config.seed)?, now_s()))
}

/// Lets two pins change their places, at once.
fn exchange(pins: &Path, folder: &Path, name: &'static str) -> Result<(), Error> {
    let paths: [PathBuf; 2] = [pins.join(name), folder.join(name)];
    let done = renameat2(AT_FDCWD, &paths[0], AT_FDCWD, &paths[1], RenameFlags::RENAME_EXCHANGE);
    done.map_err(|errno| Error::Map { what: "change the pin of", map: name, source: errno.into() })
}

fn remove(folder: &Path) -> Result<(), Error> {
    let fail = |source| Error::Directory { path: folder.to_owned(), source };
    for name in FLOW_TABLE {
        match fs::remove_file(folder.join(name)) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(fail(e)),
            Ok(()) | Err(_) => {}
        }
    }
    match fs::remove_dir(folder) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(fail(e)),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Logarithm of the records of the table pinned in a folder, by its first array.
fn bits(folder: &Path) -> Result<Option<u32>, Error> {
    Ok(sizes(folder)?[0])
}

/// The same by each of its arrays; `None` for one that is not there.
fn sizes(folder: &Path) -> Result<[Option<u32>; 3], Error> {
    let mut sizes = [None; 3];
    for (name, size) in FLOW_TABLE.into_iter().zip(&mut sizes) {
        let fd = match sys::get(&folder.join(name)) {
            Ok(fd) => fd,
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            Err(source) => return Err(Error::Map { what: "open the pin of", map: name, source }),
        };
        let info = sys::map_info(fd.as_fd()).map_err(|source| Error::Map { what: "inspect", map: name, source })?;
        let fits = |bits: &u32| {
            SHAPES.iter().any(|shape| shape.0 == name && object::at_size(shape, *bits).3 == info.max_entries)
        };
        *size = (flow::FLOW_BITS_MIN..=flow::FLOW_BITS_MAX).find(fits);
    }
    Ok(sizes)
}
