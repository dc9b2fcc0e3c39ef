//! Kernel settings below `/proc/sys/net`, which belong to the network namespace of the thread that writes them.
use std::path::{Path, PathBuf};
use std::{fs, io};

use crate::netns;

/// Why a setting could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{what} {path}: {source}")]
    Io { what: &'static str, path: PathBuf, source: io::Error },
    #[error(transparent)]
    Netns(#[from] netns::Error),
}

/// Writes settings in the calling thread's namespace. Names are paths relative to `/proc/sys/net`, for example
/// `("ipv4/ip_forward", "1")`. A setting that already has the value is left alone.
pub fn write_here<K: AsRef<str>, V: AsRef<str>>(settings: &[(K, V)]) -> Result<(), Error> {
    for (key, value) in settings {
        let path = Path::new("/proc/sys/net").join(key.as_ref());
        let value = value.as_ref();
        if fs::read_to_string(&path).is_ok_and(|now| now.trim() == value) {
            continue;
        }
        fs::write(&path, value).map_err(|source| Error::Io { what: "write", path, source })?;
    }
    Ok(())
}

/// Writes settings in the namespace at `netns`.
pub fn write_in<K: AsRef<str> + Sync, V: AsRef<str> + Sync>(netns: &Path, settings: &[(K, V)]) -> Result<(), Error> {
    netns::run_in(netns, || write_here(settings))?
}

/// Reads one setting of the calling thread's namespace.
pub fn read_here(key: &str) -> Result<String, Error> {
    let path = Path::new("/proc/sys/net").join(key);
    fs::read_to_string(&path).map(|text| text.trim().to_owned()).map_err(|source| Error::Io {
        what: "read",
        path,
        source,
    })
}
